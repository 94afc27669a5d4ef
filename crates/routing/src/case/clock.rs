//! A clock: its budget, the amount used, and the end, which follows from both.

use api::event::PauseGround;
use journal::Time;

use super::instant;
use decision::{
    calendar::{self, ClockKind, ClockRule, Unit, Worktime},
    directory::AgencyId,
};
use jiff::Timestamp;

/// A deadline of a case for one agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// What has to happen, and the time limit.
    pub rule: ClockRule,
    /// The agency that has to act.
    pub owner: AgencyId,
    /// Number of its setting among all clocks of the case. Each generation ends at most once.
    pub generation: u64,
    /// The use of its budget.
    pub ledger: Ledger,
    /// When it ends; while paused, the latest end of the pause. Derived, and stored for queries.
    pub due: Time,
    /// Whether the end may still move, because it lies in a year whose holidays are not published.
    pub provisional: bool,
    /// Whether a superior set it, or lateness did, instead of the row that routed the case.
    pub is_term: bool,
    /// Whether its owner was reminded of it.
    pub reminded: bool,
    /// When its owner is reminded. `None` once that is done, while it is paused, and if nobody owes
    /// anything or no time is left for it. Derived.
    pub remind: Option<Time>,
}

/// The use of a clock's budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Amount used before `since`: days of a clock in days, microseconds of any other.
    pub used: i64,
    /// When it was started, paused or resumed last.
    pub since: Time,
    /// The current pause; `None` while it runs.
    pub paused: Option<Paused>,
    /// The past pauses, in order.
    pub pauses: Vec<Pause>,
}

/// A pause that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Its ground.
    pub ground: PauseGround,
    /// Its latest end.
    pub until: Time,
}

/// A period in which a clock did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// Its ground.
    pub ground: PauseGround,
}

impl Clock {
    /// Starts a clock with its whole budget.
    #[must_use]
    pub fn start(owner: AgencyId, rule: ClockRule, generation: u64, now: Time, worktime: Worktime<'_>) -> Self {
        let ledger = Ledger {
            used: 0,
            since: now,
            paused: None,
            pauses: Vec::new(),
        };
        Self {
            rule,
            owner,
            generation,
            ledger,
            due: now,
            provisional: false,
            is_term: false,
            reminded: false,
            remind: None,
        }
        .settled(worktime)
    }

    /// What has to happen.
    #[must_use]
    pub const fn kind(&self) -> ClockKind {
        self.rule.kind
    }

    /// The same clock with another owner, who is reminded anew; its end stays.
    #[must_use]
    pub fn taken_over(self, owner: AgencyId, generation: u64, worktime: Worktime<'_>) -> Self {
        let remind = Self {
            reminded: false,
            ..self.clone()
        }
        .settled(worktime)
        .remind;
        Self {
            owner,
            generation,
            reminded: false,
            remind: remind.filter(|remind| *remind < self.due),
            ..self
        }
    }

    /// When something happens next: its owner is reminded, or it ends.
    #[must_use]
    pub fn next(&self) -> Time {
        self.remind.map_or(self.due, |remind| remind.min(self.due))
    }

    /// It, after its owner was reminded.
    #[must_use]
    pub fn with_reminder(self) -> Self {
        Self {
            reminded: true,
            remind: None,
            ..self
        }
    }

    /// Pauses it. A paused clock does not change.
    #[must_use]
    pub fn pause(mut self, now: Time, paused: Paused, worktime: Worktime<'_>) -> Self {
        if self.ledger.paused.is_none() {
            self.ledger.used = self.used(now, worktime);
            self.ledger.since = now;
            self.ledger.paused = Some(paused);
        }
        self.settled(worktime)
    }

    /// How much of its budget is used by now, as in [`Ledger::used`].
    #[must_use]
    pub fn used(&self, now: Time, worktime: Worktime<'_>) -> i64 {
        if self.ledger.paused.is_some() {
            return self.ledger.used;
        }
        let run = calendar::Run {
            paused: self.ledger.pauses.last().map(|pause| instant(pause.start)),
            from: instant(self.ledger.since),
            to: instant(now),
        };
        self.ledger.used + calendar::used(run, self.rule.unit, worktime)
    }

    /// Resumes it with the rest of its budget. A running clock does not change.
    #[must_use]
    pub fn resume(mut self, now: Time, worktime: Worktime<'_>) -> Self {
        if let Some(Paused { ground, .. }) = self.ledger.paused.take() {
            let start = self.ledger.since;
            self.ledger.pauses.push(Pause {
                start,
                end: now,
                ground,
            });
            self.ledger.since = now;
        }
        self.settled(worktime)
    }

    /// How much all pauses on a ground have taken, in a unit, as in [`Ledger::used`].
    #[must_use]
    pub fn paused_for(&self, ground: PauseGround, unit: Unit, worktime: Worktime<'_>) -> i64 {
        let pauses = self.ledger.pauses.iter().filter(|pause| pause.ground == ground);
        let taken = |pause: &Pause| {
            let run = calendar::Run {
                paused: None,
                from: instant(pause.start),
                to: instant(pause.end),
            };
            calendar::used(run, unit, worktime)
        };
        pauses.map(taken).sum()
    }

    /// Derives the end and the reminder from budget and ledger.
    pub(super) fn settled(mut self, worktime: Worktime<'_>) -> Self {
        let (since, used) = (instant(self.ledger.since), self.ledger.used);
        (self.due, self.provisional, self.remind) = match self.ledger.paused {
            Some(Paused { until, .. }) => (until, false, None),
            None => {
                let due = calendar::due_after(since, self.rule, used, worktime);
                let reminds = !self.reminded && self.kind().is_owed();
                let remind = calendar::remind_at(since, self.rule, used, worktime).filter(|_| reminds);
                let time = |at: Timestamp| Time(at.as_microsecond());
                (time(due.at), due.provisional, remind.map(time))
            }
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use decision::{calendar::Calendars, directory::Directory};

    const HOUR: i64 = 3_600_000_000;

    fn worktime() -> Worktime<'static> {
        let agency = Directory::shipped().agency(&AgencyId::new("police-450100").unwrap());
        Calendars::shipped().worktime(agency)
    }

    fn started(unit: Unit, value: u32, at: i64) -> Clock {
        let rule = ClockRule {
            kind: ClockKind::Result,
            value,
            unit,
        };
        Clock::start(AgencyId::new("police-450100").unwrap(), rule, 1, Time(at), worktime())
    }

    fn hearing(until: Time) -> Paused {
        Paused {
            ground: PauseGround::Hearing,
            until,
        }
    }

    /// 2026-03-02 09:00 in Beijing, a Monday.
    fn monday() -> i64 {
        let monday: Timestamp = "2026-03-02T09:00:00+08:00".parse().unwrap();
        monday.as_microsecond()
    }

    fn day(time: Time) -> String {
        let offset = jiff::tz::Offset::constant(8);
        // 24:00 of a day is shown as that day.
        offset.to_datetime(instant(Time(time.0 - 1))).date().to_string()
    }

    #[test]
    fn a_pause_on_one_day_changes_no_deadline_in_days() {
        let clock = started(Unit::WorkingDays, 5, monday());
        assert_eq!(day(clock.due), "2026-03-09");
        let at = |hours: i64| Time(monday() + hours * HOUR);
        let paused = clock.clone().pause(at(49), hearing(at(200)), worktime());
        assert_eq!(
            (paused.due, paused.ledger.used),
            (at(200), 2),
            "a pause is bounded itself"
        );
        let resumed = paused.clone().resume(at(51), worktime());
        assert_eq!((resumed.due, resumed.ledger.pauses.len()), (clock.due, 1));
        // From Wednesday to the Wednesday after: five working days later.
        let resumed = paused.resume(at(49 + 7 * 24), worktime());
        assert_eq!(day(resumed.due), "2026-03-16");
    }

    #[test]
    fn pausing_twice_is_pausing_once() {
        let clock = started(Unit::Hours, 24, monday());
        let at = |hours: i64| Time(monday() + hours * HOUR);
        let paused = clock.pause(at(1), hearing(at(10)), worktime());
        assert_eq!(paused.clone().pause(at(2), hearing(at(20)), worktime()), paused);
        let resumed = paused.resume(at(3), worktime());
        assert_eq!(resumed.clone().resume(at(4), worktime()), resumed);
    }

    #[test]
    fn reminders_come_when_three_quarters_are_used_while_the_desk_is_open() {
        let hours = |text: &str| {
            let time: Timestamp = text.parse().unwrap();
            Some(Time(time.as_microsecond()))
        };
        // Hours elapse at night, too.
        assert_eq!(
            started(Unit::Hours, 24, monday()).remind,
            hours("2026-03-03T03:00:00+08:00")
        );
        // Monday, and five working days of seven: the Monday after, told on Tuesday when it opens.
        let days = started(Unit::WorkingDays, 7, monday());
        assert_eq!(days.remind, hours("2026-03-10T00:00:00+08:00"));
        // Three of four calendar days, on the day after.
        assert_eq!(
            started(Unit::CalendarDays, 4, monday()).remind,
            hours("2026-03-06T00:00:00+08:00")
        );
        assert_eq!(
            started(Unit::WorkingDays, 1, monday()).remind,
            None,
            "no time is left for one"
        );
        let at = |hours: i64| Time(monday() + hours * HOUR);
        let paused = days.clone().pause(at(24), hearing(at(48)), worktime());
        assert_eq!((paused.remind, paused.next()), (None, at(48)));
        let resumed = paused.resume(at(48), worktime());
        assert!(resumed.remind > days.remind && resumed.next() < resumed.due);
        let reminded = resumed.with_reminder();
        assert_eq!((reminded.remind, reminded.next()), (None, reminded.due));
        let again = reminded
            .pause(at(72), hearing(at(96)), worktime())
            .resume(at(96), worktime());
        assert_eq!(again.remind, None, "once for a clock");
    }

    #[test]
    fn pauses_are_counted_by_ground() {
        let clock = started(Unit::CalendarDays, 30, monday());
        let at = |hours: i64| Time(monday() + hours * HOUR);
        let clock = clock
            .pause(at(24), hearing(at(240)), worktime())
            .resume(at(72), worktime());
        let opinion = Paused {
            ground: PauseGround::ExpertOpinion,
            until: at(900),
        };
        let clock = clock.pause(at(96), opinion, worktime()).resume(at(120), worktime());
        let clock = clock
            .pause(at(240), hearing(at(900)), worktime())
            .resume(at(264), worktime());
        let taken = |ground, unit| clock.paused_for(ground, unit, worktime());
        assert_eq!(taken(PauseGround::Hearing, Unit::CalendarDays), 3);
        assert_eq!(taken(PauseGround::Hearing, Unit::Hours), 72 * HOUR);
        assert_eq!(taken(PauseGround::ExpertOpinion, Unit::CalendarDays), 1);
        assert_eq!(taken(PauseGround::Announcement, Unit::CalendarDays), 0);
    }

    proptest! {
        /// The end follows from the budget and the pauses alone; the amount used never shrinks.
        #[test]
        fn p5_due_is_a_fold_over_the_pauses(
            unit in prop_oneof![Just(Unit::Minutes), Just(Unit::Hours)],
            value in 1_u32..500,
            steps in proptest::collection::vec((0_i64..40, 0_i64..40), 0..8),
        ) {
            let mut clock = started(unit, value, monday());
            let (mut now, mut paused, mut used) = (monday(), 0, 0);
            let budget = i64::from(value) * if unit == Unit::Hours { HOUR } else { HOUR / 60 };
            for (runs, stands) in steps {
                now += runs * HOUR / 7;
                // It has run out by then: nothing is left to be paused.
                if now - monday() - paused > budget {
                    break;
                }
                clock = clock.pause(Time(now), hearing(Time(i64::MAX)), worktime());
                prop_assert!(clock.ledger.used >= used);
                used = clock.ledger.used;
                now += stands * HOUR / 7;
                paused += stands * HOUR / 7;
                clock = clock.resume(Time(now), worktime());
            }
            prop_assert_eq!(clock.due.0, monday() + budget + paused);
            let sum: i64 = clock.ledger.pauses.iter().map(|pause| pause.end.0 - pause.start.0).sum();
            prop_assert_eq!(sum, paused);
        }

        /// However often and whenever a clock in days is paused and resumed: it ends, and not
        /// before it would have without pauses.
        #[test]
        fn p5_a_clock_in_days_ends_however_it_is_paused(
            unit in prop_oneof![Just(Unit::CalendarDays), Just(Unit::WorkingDays)],
            value in 0_u32..12,
            start in 0_i64..(14 * 24),
            steps in proptest::collection::vec((1_i64..12 * 60, 1_i64..7 * 24 * 60), 1..6),
        ) {
            const MINUTE: i64 = HOUR / 60;
            let plain = started(unit, value, monday() + start * HOUR);
            let mut clock = plain.clone();
            let mut now = clock.ledger.since.0;
            let mut long_pauses = 0;
            for (runs, stands) in steps.into_iter().cycle() {
                if clock.due.0 <= now + runs * MINUTE {
                    break;
                }
                now += runs * MINUTE;
                let paused = instant(Time(now));
                clock = clock.pause(Time(now), hearing(Time(i64::MAX)), worktime());
                now += stands * MINUTE;
                clock = clock.resume(Time(now), worktime());
                let calendar = worktime().calendar;
                let (first, last) = (calendar.date(paused), calendar.date(instant(Time(now))));
                let days = std::iter::successors(first.tomorrow().ok(), |day| day.tomorrow().ok());
                let counts = |day| unit == Unit::CalendarDays || calendar.is_working_day(day);
                long_pauses += u32::from(days.take_while(|day| *day <= last).any(counts));
                prop_assert!(long_pauses <= value + 2, "{:?}", clock.ledger);
                prop_assert!(clock.ledger.pauses.len() < 10_000, "{:?}", clock.ledger.used);
            }
            prop_assert!(clock.due >= plain.due, "{:?} {:?}", clock, plain.due);
        }

        /// A pause moves the end of a clock in days by the days from its begin to its end.
        #[test]
        fn p5_days_count_once_and_pauses_do_not(
            value in 1_u32..40,
            runs in 0_i64..200,
            stands in 0_i64..2_000,
        ) {
            let plain = started(Unit::CalendarDays, value, monday());
            let (from, to) = (monday() + runs * HOUR, monday() + (runs + stands) * HOUR);
            prop_assume!(from < plain.due.0);
            let resumed = plain.clone().pause(Time(from), hearing(Time(i64::MAX)), worktime()).resume(Time(to), worktime());
            // 09:00 in Beijing: fifteen hours to midnight.
            let date = |at: i64| (at - monday() + 9 * HOUR).div_euclid(24 * HOUR);
            prop_assert_eq!(resumed.due.0, plain.due.0 + (date(to) - date(from)) * 24 * HOUR);
        }
    }
}
