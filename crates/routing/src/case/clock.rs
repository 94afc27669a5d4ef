//! A clock: its budget, the amount used, and the end, which follows from both.

use journal::Time;

use super::instant;
use decision::{
    calendar::{self, ClockKind, ClockRule, Worktime},
    directory::AgencyId,
};

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
}

/// The use of a clock's budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Amount used before `since`: days of a clock in days, microseconds of any other.
    pub used: i64,
    /// When it was started, paused or resumed last.
    pub since: Time,
    /// The latest end of the current pause; `None` while it runs.
    pub paused_until: Option<Time>,
    /// The past pauses, in order.
    pub pauses: Vec<Pause>,
}

/// A period in which a clock did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
}

impl Clock {
    /// Starts a clock with its whole budget.
    #[must_use]
    pub fn start(owner: AgencyId, rule: ClockRule, generation: u64, now: Time, worktime: Worktime<'_>) -> Self {
        let ledger = Ledger {
            used: 0,
            since: now,
            paused_until: None,
            pauses: Vec::new(),
        };
        Self {
            rule,
            owner,
            generation,
            ledger,
            due: now,
            provisional: false,
        }
        .settled(worktime)
    }

    /// What has to happen.
    #[must_use]
    pub const fn kind(&self) -> ClockKind {
        self.rule.kind
    }

    /// Pauses it, until `until` at the latest. A paused clock does not change.
    #[must_use]
    pub fn pause(mut self, now: Time, until: Time, worktime: Worktime<'_>) -> Self {
        if self.ledger.paused_until.is_none() {
            self.ledger.used = self.used(now, worktime);
            self.ledger.since = now;
            self.ledger.paused_until = Some(until);
        }
        self.settled(worktime)
    }

    /// How much of its budget is used by now, as in [`Ledger::used`].
    #[must_use]
    pub fn used(&self, now: Time, worktime: Worktime<'_>) -> i64 {
        if self.ledger.paused_until.is_some() {
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
        if self.ledger.paused_until.take().is_some() {
            let start = self.ledger.since;
            self.ledger.pauses.push(Pause { start, end: now });
            self.ledger.since = now;
        }
        self.settled(worktime)
    }

    /// Derives the end from budget and ledger.
    pub(super) fn settled(mut self, worktime: Worktime<'_>) -> Self {
        (self.due, self.provisional) = match self.ledger.paused_until {
            Some(until) => (until, false),
            None => {
                let due = calendar::due_after(instant(self.ledger.since), self.rule, self.ledger.used, worktime);
                (Time(due.at.as_microsecond()), due.provisional)
            }
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use decision::{
        calendar::{Calendars, Unit},
        directory::Directory,
    };

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

    /// 2026-03-02 09:00 in Beijing, a Monday.
    fn monday() -> i64 {
        let monday: jiff::Timestamp = "2026-03-02T09:00:00+08:00".parse().unwrap();
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
        let paused = clock.clone().pause(at(49), at(200), worktime());
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
        let paused = clock.pause(at(1), at(10), worktime());
        assert_eq!(paused.clone().pause(at(2), at(20), worktime()), paused);
        let resumed = paused.resume(at(3), worktime());
        assert_eq!(resumed.clone().resume(at(4), worktime()), resumed);
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
                clock = clock.pause(Time(now), Time(i64::MAX), worktime());
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
                clock = clock.pause(Time(now), Time(i64::MAX), worktime());
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
            let resumed = plain.clone().pause(Time(from), Time(i64::MAX), worktime()).resume(Time(to), worktime());
            // 09:00 in Beijing: fifteen hours to midnight.
            let date = |at: i64| (at - monday() + 9 * HOUR).div_euclid(24 * HOUR);
            prop_assert_eq!(resumed.due.0, plain.due.0 + (date(to) - date(from)) * 24 * HOUR);
        }
    }
}
