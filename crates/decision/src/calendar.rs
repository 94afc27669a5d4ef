//! Calendars and deadlines: from a clock's rule to the instant at which it ends.
//!
//! Each agency has its [`Worktime`]: the calendar that it names ([`Calendars`]), and the [`Hours`] of its desk.
//!
//! The rule, for days of either kind: the day on which the clock starts does not count, and the clock ends at 24:00 of
//! its last day by the calendar's local time; a clock in working days, where the agency tells the hours of its desk, when the desk
//! closes on that day, as civil law counts (民法典 201, 203; from memory, to be checked). Calendar days are not moved off
//! holidays: a limit that must not end on one is written in working days. Minutes and hours run from the instant of the start;
//! working hours run while the desk is open, and on all of a working day where the agency tells no hours.

mod days;
mod hours;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

pub use days::{Calendar, Calendars};
pub use hours::{Hours, InvalidHours};

/// What a clock waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockKind {
    /// The agency takes the case over.
    Acknowledge,
    /// The agency that took it over comes to a result.
    Result,
    /// The superior names an agency.
    Designate,
}

impl ClockKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Acknowledge, Self::Result, Self::Designate];

    /// The name in rule sets, contract and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Result => "result",
            Self::Designate => "designate",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// In what a clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Elapsed minutes.
    Minutes,
    /// Elapsed hours.
    Hours,
    /// Days of any kind.
    CalendarDays,
    /// Days on which the agency works.
    WorkingDays,
    /// Hours in which its desk is open.
    WorkingHours,
}

impl Unit {
    /// All units.
    pub const ALL: [Self; 5] = [
        Self::Minutes,
        Self::Hours,
        Self::CalendarDays,
        Self::WorkingDays,
        Self::WorkingHours,
    ];

    /// The name in rule sets.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::CalendarDays => "calendar-days",
            Self::WorkingDays => "working-days",
            Self::WorkingHours => "working-hours",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == name)
    }
}

/// A deadline before it is known when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockRule {
    /// What it waits for.
    pub kind: ClockKind,
    /// How many units.
    pub value: u32,
    /// The unit.
    pub unit: Unit,
}

/// The clocks that an agency's work on a case runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clocks {
    /// By when the lead takes the case over.
    pub acknowledge: ClockRule,
    /// By when it comes to a result then.
    pub result: ClockRule,
}

/// When a clock ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The end: at this instant the clock has run out. 24:00 of a day is 00:00 of the next.
    pub at: Timestamp,
    /// The last local day on which the matter can be done in time: the date to show.
    pub last_day: Date,
    /// Whether a day was counted in a year whose holidays are not published, so that the end may still move.
    pub provisional: bool,
}

/// When an agency works.
#[derive(Debug, Clone, Copy)]
pub struct Worktime<'a> {
    /// Which days.
    pub calendar: &'a Calendar,
    /// At what hours of such a day; all of it when it does not tell.
    pub hours: Option<&'a Hours>,
}

/// When a clock ends that starts at `start`. Past the end of the time line it ends there.
#[must_use]
pub fn due(start: Timestamp, rule: ClockRule, worktime: Worktime<'_>) -> Due {
    let calendar = worktime.calendar;
    match rule.unit {
        Unit::Minutes => elapsed(start, SignedDuration::from_mins(rule.value.into()), calendar),
        Unit::Hours => elapsed(start, SignedDuration::from_hours(rule.value.into()), calendar),
        Unit::CalendarDays => {
            let last = days_after(calendar.date(start)).take(rule.value as usize).last();
            let last_day = last.unwrap_or_else(|| calendar.date(start));
            Due {
                at: calendar.end_of(last_day),
                last_day,
                provisional: false,
            }
        }
        Unit::WorkingDays => working_days(start, rule.value, worktime),
        Unit::WorkingHours => working_hours(start, rule.value, worktime),
    }
}

fn elapsed(start: Timestamp, elapsed: SignedDuration, calendar: &Calendar) -> Due {
    let at = start.checked_add(elapsed).unwrap_or(Timestamp::MAX);
    Due {
        at,
        last_day: calendar.date(at),
        provisional: false,
    }
}

/// A rule of no days means the day of the start.
fn working_days(start: Timestamp, value: u32, worktime: Worktime<'_>) -> Due {
    let Worktime { calendar, hours } = worktime;
    let mut provisional = false;
    let last = days_after(calendar.date(start))
        .inspect(|day| provisional |= !calendar.is_published(*day))
        .filter(|day| calendar.is_working_day(*day))
        .take(value as usize)
        .last();
    let last_day = last.unwrap_or_else(|| calendar.date(start));
    Due {
        at: match hours {
            Some(hours) => calendar.at(last_day, hours.close()),
            None => calendar.end_of(last_day),
        },
        last_day,
        provisional,
    }
}

fn working_hours(start: Timestamp, value: u32, worktime: Worktime<'_>) -> Due {
    let Worktime { calendar, hours } = worktime;
    let hours = hours.unwrap_or_else(|| Hours::whole_day());
    let mut left = SignedDuration::from_hours(value.into());
    let mut provisional = false;
    let first = calendar.date(start);
    for day in std::iter::once(first).chain(days_after(first)) {
        provisional |= !calendar.is_published(day);
        if !calendar.is_working_day(day) {
            continue;
        }
        for (opens, closes) in hours.spans() {
            let (opens, closes) = (calendar.at(day, opens).max(start), calendar.at(day, closes));
            let open = closes.duration_since(opens);
            if open >= left {
                return Due {
                    at: opens.checked_add(left).unwrap_or(Timestamp::MAX),
                    last_day: day,
                    provisional,
                };
            }
            left -= open.max(SignedDuration::ZERO);
        }
    }
    Due {
        at: Timestamp::MAX,
        last_day: Date::MAX,
        provisional: true,
    }
}

/// The days after one, in order.
fn days_after(day: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(day.tomorrow().ok(), |day| day.tomorrow().ok())
}
