//! A producer: a service that appends to the log. What the log holds of it, whether it is frozen,
//! and its standing against its marks. No I/O.
//!
//! A mark (`journal::Mark`) comes from the one relay that delivers to audit, between two
//! deliveries. Then a healthy log holds at least the events that the mark calls delivered, because
//! audit acknowledged them, and at most those that it calls committed, because no others can have
//! been delivered. A contradiction is *lost*, *different* or *ahead*, until a later mark ends it.
//! What was committed and does not arrive within [`PATIENCE`] is *late*.
//!
//! When a mark agrees with the log, the log's holdings are also logged as a mark entry, in the
//! clear: from then on, the log cannot drop anything of that source without every verifier noticing
//! it by counting. One is logged if there was progress since the last one, at most every
//! [`MARK_INTERVAL`]; later events are covered by the next.
//!
//! One lawful history looks like *ahead*: a replica that paused between reading its mark and
//! sending it, while another one delivered more. The next mark ends it; so findings are shown at
//! once, and raise an alarm only if they last.

use data_encoding::HEXLOWER;
use journal::{EventSet, Mark, Time};
use sha2::{Digest as _, Sha256};

/// Maximum time that events may be undelivered, or a contradiction may last, before an alarm, in
/// seconds.
pub const PATIENCE: i64 = 30;
/// Minimum interval between marks in the log, in seconds.
pub const MARK_INTERVAL: i64 = 60;

/// The result of a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The log's standing against it.
    pub standing: Standing,
    /// Whether the producer's newest mark in the log says as much, so that it need not be repeated.
    pub is_logged: bool,
}

/// The log's standing against a producer's newest mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// No mark yet.
    #[default]
    Unknown,
    /// The log holds what the mark says, or the rest may still arrive.
    Complete,
    /// Events are undelivered for too long.
    Late,
    /// The log lacks events that it acknowledged.
    Lost,
    /// As many events as the mark says, but different ones.
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

    /// Its name in the database and in the log.
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

    /// Parses a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.name() == name)
    }

    /// Whether it is no reason for an alarm.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Unknown | Self::Complete)
    }
}

/// A service that appends to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producer {
    /// The events that the log holds of it.
    pub held: EventSet,
    /// When it was frozen; `None` if it is not.
    pub frozen: Option<Time>,
    /// End of the period in which forks do not freeze it.
    pub tolerated_until: Option<Time>,
    /// Number of security events logged about it.
    pub incidents: u64,
    /// The newest mark.
    pub mark: Option<Mark>,
    /// The standing when that mark arrived: never [`Standing::Late`].
    pub found: Standing,
    /// Committed events of the oldest mark that the log has not reached, and its time of arrival.
    pub awaited: Option<(u64, Time)>,
    /// The current standing.
    pub standing: Standing,
    /// Start of the current standing.
    pub standing_since: Time,
    /// The standing logged last.
    pub logged: Standing,
    /// Number of events of its newest mark in the log, and the mark's time.
    pub marked: Option<(u64, Time)>,
}

impl Producer {
    /// Stands for the freeze, or its absence, that somebody saw: changes with each freeze,
    /// unfreezing and security event.
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

    /// The set to log as a mark now: what the log holds, if the producer confirms it and it is due.
    pub fn to_be_marked(&self, now: Time) -> Option<EventSet> {
        let delivered = self.mark?.delivered;
        // Also due if the clock was set back.
        let is_due = |(_, time): (u64, Time)| time.plus_seconds(MARK_INTERVAL) <= now || now < time;
        let is_progress = delivered.count > self.marked.map_or(0, |(count, _)| count);
        (delivered == self.held && is_progress && self.marked.is_none_or(is_due)).then_some(delivered)
    }

    /// Whether the newest mark in the log says as much as the producer's.
    pub fn is_marked(&self) -> bool {
        let said = self.mark.map_or(0, |mark| mark.committed);
        self.marked.map_or(0, |(count, _)| count) >= said
    }

    /// Updates the standing after appends or the passing of time.
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
        // If the clock was set back, a start in the future becomes now.
        self.standing_since = self.standing_since.min(now);
        if let Some((_, since)) = &mut self.awaited {
            *since = (*since).min(now);
        }
    }

    /// The standing to log now, which raises an alarm unless it is well again.
    pub fn to_be_logged(&self, now: Time) -> Option<Standing> {
        if self.standing.is_well() {
            return (!self.logged.is_well()).then_some(Standing::Complete);
        }
        let lasts = self.standing_since.plus_seconds(PATIENCE) <= now;
        (self.standing != self.logged && lasts).then_some(self.standing)
    }

    /// Whether a fork freezes it: not if it is frozen already, or an operator expects forks.
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
    fn a_mark_is_compared_with_the_log() {
        let few = |n| events(0..n);
        let others = events(100..105);
        for (held, mark, expected) in [
            (few(0), mark(few(0), few(0)), Standing::Complete),
            (few(5), mark(few(5), few(5)), Standing::Complete),
            // Some are undelivered, or delivered with a lost answer.
            (few(5), mark(few(5), few(9)), Standing::Complete),
            (few(7), mark(few(5), few(9)), Standing::Complete),
            (few(9), mark(few(5), few(9)), Standing::Complete),
            // The tail is missing, or everything.
            (few(4), mark(few(5), few(5)), Standing::Lost),
            (few(0), mark(few(5), few(9)), Standing::Lost),
            // Different events: visible where the counts are equal.
            (others, mark(few(5), few(9)), Standing::Different),
            (others, mark(few(3), few(5)), Standing::Different),
            (few(9), mark(few(5), few(8)), Standing::Ahead),
            (few(1), mark(few(0), few(0)), Standing::Ahead),
        ] {
            let mut producer = holding(held);
            producer.take(mark, T);
            assert_eq!(producer.standing, expected, "{held:?} against {mark:?}");
        }
        // Without the sum of the committed events, only the counts are compared.
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
    fn overdue_events_are_late_however_many_marks_arrive() {
        let mut producer = holding(events(0..5));
        for second in 0..PATIENCE {
            // Something is always undelivered, but nothing for long.
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
    fn a_lasting_contradiction_raises_one_alarm() {
        let mut producer = holding(events(0..4));
        producer.take(mark(events(0..5), events(0..5)), T);
        assert_eq!((producer.standing, producer.to_be_logged(T)), (Standing::Lost, None));
        let later = T.plus_seconds(PATIENCE);
        producer.review(later);
        assert_eq!(producer.to_be_logged(later), Some(Standing::Lost));
        producer.logged = Standing::Lost;
        assert_eq!(producer.to_be_logged(later.plus_seconds(3_600)), None);
        // Later events do not replace lost ones.
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
    fn marks_are_logged_on_confirmed_progress_at_intervals() {
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
        // Nothing was sent; and events beyond the mark, which the producer has not confirmed.
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
    fn names_round_trip() {
        for standing in Standing::ALL {
            assert_eq!(Standing::from_name(standing.name()), Some(standing));
        }
    }
}
