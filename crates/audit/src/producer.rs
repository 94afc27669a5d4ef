//! What the log knows of a service that appends to it: what it holds of it, whether it is frozen, and how it stands to the
//! producer's high-water marks. No I/O.
//!
//! A mark (`journal::Mark`) comes from the one relay that delivers to audit, between two deliveries. When it comes, a healthy log
//! holds at least what the mark calls delivered, because audit has acknowledged that, and at most what it calls committed, because
//! nothing else can have been delivered. What contradicts this is *lost*, *different* or *ahead*, and stays so until a later mark
//! does not. What was committed and does not come within [`PATIENCE`] is *late*.
//!
//! What the log holds of a producer when a mark says the same is also an entry, in the clear: a mark for everybody, from which on the
//! log can drop nothing of that source without every verifier counting it. One is logged when the producer has come farther since the last
//! one, at most every [`MARKED_EVERY`]; what comes after it is for the next.
//!
//! One lawful history looks like *ahead*: a replica that was paused between reading its mark and sending it, while another one
//! delivered more. The next mark ends it; so whatever is found is reported at once, and raises an alarm when it has lasted.

use data_encoding::HEXLOWER;
use journal::{EventSet, Mark, Time};
use sha2::{Digest as _, Sha256};

/// How long events may wait with their producer, and how long a contradiction may last, before it is an alarm, in seconds.
pub const PATIENCE: i64 = 30;
/// How far apart marks in the log are at least, in seconds.
pub const MARKED_EVERY: i64 = 60;

/// What came of a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// How the log stands to it.
    pub standing: Standing,
    /// Whether the log's newest mark of the producer says as much, so that there is no need to say it again.
    pub is_logged: bool,
}

/// How the log stands to a producer's newest mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// There is no mark yet.
    #[default]
    Unknown,
    /// The log holds what the mark says, or what it lacks may still come.
    Complete,
    /// Events wait with the producer for longer than they should.
    Late,
    /// The log lacks events that it acknowledged.
    Lost,
    /// As many events as the mark says, and not the same ones.
    Different,
    /// The log holds events that the producer does not know.
    Ahead,
}

impl Standing {
    const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Complete,
        Self::Late,
        Self::Lost,
        Self::Different,
        Self::Ahead,
    ];

    /// As it is stored and logged.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Complete => "COMPLETE",
            Self::Late => "LATE",
            Self::Lost => "LOST",
            Self::Different => "DIFFERENT",
            Self::Ahead => "AHEAD",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.name() == name)
    }

    /// Whether there is nothing to worry about.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Unknown | Self::Complete)
    }
}

/// A service that appends to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producer {
    /// What the log holds of it.
    pub held: EventSet,
    /// Since when nothing of it is taken.
    pub frozen: Option<Time>,
    /// Until when forks are refused without freezing it.
    pub tolerated_until: Option<Time>,
    /// How many security events were logged about it.
    pub incidents: u64,
    /// The newest mark.
    pub mark: Option<Mark>,
    /// How the log stood to that mark when it came: never [`Standing::Late`].
    pub found: Standing,
    /// How many events the oldest mark that the log has not reached said were committed, and when it came.
    pub awaited: Option<(u64, Time)>,
    /// How the log stands, and since when.
    pub standing: Standing,
    /// Since when.
    pub standing_since: Time,
    /// The standing that was logged last.
    pub logged: Standing,
    /// How many events its newest mark in the log counts, and when that was logged.
    pub marked: Option<(u64, Time)>,
}

impl Producer {
    /// Stands for the freeze, or its absence, that somebody saw: changes with each freeze, unfreezing and security event.
    pub fn etag(&self, source: &str) -> String {
        let frozen = self.frozen.map_or(i64::MIN, |time| time.0);
        let digest = Sha256::new()
            .chain_update(b"remit-producer-v1")
            .chain_update(frozen.to_be_bytes())
            .chain_update(self.incidents.to_be_bytes())
            .chain_update(source);
        HEXLOWER.encode(&digest.finalize()[..16])
    }

    /// Takes a new mark.
    pub fn take(&mut self, mark: Mark, now: Time) {
        let held = self.held;
        let same = |count: u64, hash| held.count != count || held.hash == hash;
        self.found = if held.count < mark.delivered.count {
            Standing::Lost
        } else if held.count > mark.committed {
            Standing::Ahead
        } else if !same(mark.delivered.count, mark.delivered.hash)
            || !same(mark.committed, mark.committed_hash.unwrap_or(held.hash))
        {
            Standing::Different
        } else {
            Standing::Complete
        };
        self.mark = Some(mark);
        if self.awaited.is_none() && held.count < mark.committed {
            self.awaited = Some((mark.committed, now));
        }
        self.review(now);
    }

    /// What is to be logged as a mark now: what the log holds, when the producer says the same of what it delivered.
    pub fn to_be_marked(&self, now: Time) -> Option<EventSet> {
        let delivered = self.mark?.delivered;
        // The clock may have been set back since.
        let is_due = |(_, time): (u64, Time)| time.plus_seconds(MARKED_EVERY) <= now || now < time;
        let is_progress = delivered.count > self.marked.map_or(0, |(count, _)| count);
        (delivered == self.held && is_progress && self.marked.is_none_or(is_due)).then_some(delivered)
    }

    /// Whether the log's newest mark says as much as the producer's.
    pub fn is_marked(&self) -> bool {
        let said = self.mark.map_or(0, |mark| mark.committed);
        self.marked.map_or(0, |(count, _)| count) >= said
    }

    /// Looks again: after more was appended, or as time passes.
    pub fn review(&mut self, now: Time) {
        if self.awaited.is_some_and(|(count, _)| self.held.count >= count) {
            self.awaited = None;
        }
        let (standing, since) = match self.awaited {
            Some((_, since)) if self.found.is_well() && since.plus_seconds(PATIENCE) <= now => (Standing::Late, since),
            _ => (self.found, now),
        };
        if standing != self.standing {
            (self.standing, self.standing_since) = (standing, since);
        }
        // The clock was set back: what began in the future begins now.
        self.standing_since = self.standing_since.min(now);
        if let Some((_, since)) = &mut self.awaited {
            *since = (*since).min(now);
        }
    }

    /// The standing that has to be logged, and raises an alarm unless all is well again.
    pub fn to_be_logged(&self, now: Time) -> Option<Standing> {
        if self.standing.is_well() {
            return (!self.logged.is_well()).then_some(Standing::Complete);
        }
        let lasts = self.standing_since.plus_seconds(PATIENCE) <= now;
        (self.standing != self.logged && lasts).then_some(self.standing)
    }

    /// Whether a fork freezes it: unless it is frozen already, or an operator said that there will be more of them.
    pub fn freezes(&self, now: Time) -> bool {
        self.frozen.is_none() && self.tolerated_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Time = Time(1_795_305_600_000_000);

    fn events(range: std::ops::Range<u8>) -> EventSet {
        let mut set = EventSet::default();
        set.extend(&range.map(|n| [n; 32]).collect::<Vec<_>>());
        set
    }

    fn mark(delivered: EventSet, committed: EventSet) -> Mark {
        Mark {
            delivered,
            committed: committed.count,
            committed_hash: Some(committed.hash),
        }
    }

    fn holding(held: EventSet) -> Producer {
        Producer {
            held,
            ..Producer::default()
        }
    }

    #[test]
    fn a_mark_is_compared_with_what_is_held() {
        let few = |n| events(0..n);
        let others = events(100..105);
        for (held, mark, expected) in [
            (few(0), mark(few(0), few(0)), Standing::Complete),
            (few(5), mark(few(5), few(5)), Standing::Complete),
            // Some wait; some of those have come, and their answer was lost.
            (few(5), mark(few(5), few(9)), Standing::Complete),
            (few(7), mark(few(5), few(9)), Standing::Complete),
            (few(9), mark(few(5), few(9)), Standing::Complete),
            // The tail is gone, or everything.
            (few(4), mark(few(5), few(5)), Standing::Lost),
            (few(0), mark(few(5), few(9)), Standing::Lost),
            // One was taken for another: seen where the counts meet.
            (others, mark(few(5), few(9)), Standing::Different),
            (others, mark(few(3), few(5)), Standing::Different),
            (few(9), mark(few(5), few(8)), Standing::Ahead),
            (few(1), mark(few(0), few(0)), Standing::Ahead),
        ] {
            let mut producer = holding(held);
            producer.take(mark, T);
            assert_eq!(producer.standing, expected, "{held:?} against {mark:?}");
        }
        // Without the sum of what waits, only the counts are compared.
        let mut producer = holding(others);
        producer.take(
            Mark {
                committed_hash: None,
                ..mark(few(3), few(5))
            },
            T,
        );
        assert_eq!(producer.standing, Standing::Complete);
    }

    #[test]
    fn what_does_not_come_in_time_is_late_however_many_marks_come() {
        let mut producer = holding(events(0..5));
        for second in 0..PATIENCE {
            // Always something waits, but never the same for long.
            let n = u8::try_from(second).unwrap() + 5;
            producer.held = events(0..n);
            producer.take(mark(events(0..n), events(0..n + 2)), T.plus_seconds(second));
            assert_eq!(producer.standing, Standing::Complete);
        }
        let now = T.plus_seconds(PATIENCE);
        let stuck = producer.held;
        let mut waiting = now;
        while waiting < now.plus_seconds(PATIENCE) {
            producer.take(mark(stuck, events(0..90)), waiting);
            waiting = waiting.plus_seconds(2);
        }
        producer.review(waiting);
        assert_eq!(producer.standing, Standing::Late);
        assert!(producer.to_be_logged(waiting).is_some());
        producer.logged = Standing::Late;

        producer.held = events(0..90);
        producer.review(waiting);
        assert_eq!(producer.standing, Standing::Complete);
        assert_eq!(producer.to_be_logged(waiting), Some(Standing::Complete));
    }

    #[test]
    fn an_alarm_is_raised_once_it_lasts_and_only_once() {
        let mut producer = holding(events(0..4));
        producer.take(mark(events(0..5), events(0..5)), T);
        assert_eq!((producer.standing, producer.to_be_logged(T)), (Standing::Lost, None));
        let later = T.plus_seconds(PATIENCE);
        producer.review(later);
        assert_eq!(producer.to_be_logged(later), Some(Standing::Lost));
        producer.logged = Standing::Lost;
        assert_eq!(producer.to_be_logged(later.plus_seconds(3_600)), None);
        // What comes later does not make good what was lost.
        producer.held = events(0..5);
        producer.review(later);
        assert_eq!(producer.standing, Standing::Lost);
    }

    #[test]
    fn a_clock_that_is_set_back_delays_an_alarm_by_no_more_than_its_patience() {
        let mut producer = holding(events(0..4));
        producer.take(mark(events(0..4), events(0..5)), T);
        let back = T.plus_seconds(-3_600);
        producer.review(back);
        producer.review(back.plus_seconds(PATIENCE));
        assert_eq!(producer.standing, Standing::Late);
        assert!(producer.standing_since <= back);
    }

    #[test]
    fn marks_are_logged_on_progress_that_the_producer_confirms_and_not_often() {
        let mut producer = holding(events(0..5));
        let said = |producer: &mut Producer, mark: Mark, now: Time| {
            producer.take(mark, now);
            let set = producer.to_be_marked(now);
            if let Some(set) = set {
                producer.marked = Some((set.count, now));
            }
            (set.map(|set| set.count), producer.is_marked())
        };
        let set = |n| events(0..n);
        // Nothing was sent, and the producer's word is missing: what is held beyond it may be the last answer's.
        assert_eq!(said(&mut holding(set(0)), mark(set(0), set(0)), T), (None, true));
        assert_eq!(said(&mut producer, mark(set(4), set(5)), T), (None, false));
        assert_eq!(said(&mut producer, mark(events(1..6), events(1..6)), T), (None, false));
        assert_eq!(said(&mut producer, mark(set(5), set(5)), T), (Some(5), true));
        assert_eq!(
            said(&mut producer, mark(set(5), set(5)), T.plus_seconds(3_600)),
            (None, true)
        );
        producer.marked = Some((5, T));
        producer.held = set(7);
        assert_eq!(
            said(&mut producer, mark(set(7), set(7)), T.plus_seconds(59)),
            (None, false)
        );
        assert_eq!(
            said(&mut producer, mark(set(7), set(7)), T.plus_seconds(60)),
            (Some(7), true)
        );
        producer.held = set(8);
        assert_eq!(
            said(&mut producer, mark(set(8), set(8)), T),
            (Some(8), true),
            "the clock was set back"
        );
    }

    #[test]
    fn names_are_read_back() {
        for standing in Standing::ALL {
            assert_eq!(Standing::from_name(standing.name()), Some(standing));
        }
    }
}
