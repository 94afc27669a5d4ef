//! Calendars and deadlines: from a clock's rule to the instant at which it ends.
//!
//! Each agency has its [`Worktime`]: its calendar ([`Calendars`]) and the [`Hours`] of its desk.
//!
//! Clocks in days: the day on which the clock starts does not count, and the clock ends at 24:00 of
//! its last day in the calendar's local time. A clock in working days ends when the desk closes on
//! that day, if the agency has desk hours (民法典 201, 203; from memory, to be checked). Calendar days
//! are not moved off holidays: write a limit that must not end on one in working days. Minutes and
//! hours run from the instant of the start. Working hours run while the desk is open, and all of
//! each working day if the agency has no desk hours.

mod budget;
mod days;
mod hours;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

pub use budget::{Run, due_after, remind_at, total, used};
pub use days::{Calendar, Calendars};
pub(crate) use days::{day, offset, offset_text};
pub use hours::{Hours, InvalidHours};

/// The event that a clock waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockKind {
    /// The agency acknowledges the case.
    Acknowledge,
    /// The agency that acknowledged it comes to a result.
    Result,
    /// The superior designates an agency.
    Designate,
    /// The agency that was asked to assist answers.
    Assist,
    /// The time in which a review can be requested ends.
    Review,
    /// The lead answers an agency that claims the lead.
    Claim,
    /// The agency that decided so hands a suspected crime over.
    Refer,
    /// The body that it was handed to answers.
    Receive,
}

impl ClockKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Acknowledge,
        Self::Result,
        Self::Designate,
        Self::Assist,
        Self::Review,
        Self::Claim,
        Self::Refer,
        Self::Receive,
    ];

    /// The name in rule sets, contract and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Result => "result",
            Self::Designate => "designate",
            Self::Assist => "assist",
            Self::Review => "review",
            Self::Claim => "claim",
            Self::Refer => "refer",
            Self::Receive => "receive",
        }
    }

    /// Whether an agency owes something by its end. Of the others, only time has to pass.
    #[must_use]
    pub const fn is_owed(self) -> bool {
        !matches!(self, Self::Review)
    }

    /// Whether it runs against whoever has the case. One of these always runs while a case is open.
    #[must_use]
    pub const fn is_of_the_duty(self) -> bool {
        !matches!(self, Self::Assist | Self::Claim | Self::Refer | Self::Receive)
    }

    /// Parses a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The unit that a clock counts in.
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
    /// Hours in which the agency's desk is open.
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

    /// Parses a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == name)
    }
}

/// A time limit, independent of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockRule {
    /// The event it waits for.
    pub kind: ClockKind,
    /// Number of units.
    pub value: u32,
    /// The unit.
    pub unit: Unit,
}

/// The clocks for an agency's work on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clocks {
    /// Time until the lead must acknowledge the case.
    pub acknowledge: ClockRule,
    /// Time from then until it must come to a result.
    pub result: ClockRule,
}

/// The end of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The instant at which the clock expires. 24:00 of a day is 00:00 of the next.
    pub at: Timestamp,
    /// The last local day in time: the date to show.
    pub last_day: Date,
    /// Whether a counted day lies in a year whose holidays are not published, so that the end may
    /// still move.
    pub provisional: bool,
}

/// When an agency works.
#[derive(Debug, Clone, Copy)]
pub struct Worktime<'a> {
    /// Its working days.
    pub calendar: &'a Calendar,
    /// Its hours on working days; the whole day if `None`.
    pub hours: Option<&'a Hours>,
}

/// Computes the end of a clock that starts at `start`. Saturates at the end of representable time.
#[must_use]
pub fn due(start: Timestamp, rule: ClockRule, worktime: Worktime<'_>) -> Due {
    due_after(start, rule, 0, worktime)
}

fn calendar_days(start: Timestamp, days: usize, calendar: &Calendar) -> Due {
    let last = days_after(calendar.date(start)).take(days).last();
    let last_day = last.unwrap_or_else(|| calendar.date(start));
    Due {
        at: calendar.end_of(last_day),
        last_day,
        provisional: false,
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

/// No days means the day of the start.
fn working_days(start: Timestamp, days: usize, worktime: Worktime<'_>) -> Due {
    let Worktime { calendar, hours } = worktime;
    let mut provisional = false;
    let last = days_after(calendar.date(start))
        .inspect(|day| provisional |= !calendar.is_published(*day))
        .filter(|day| calendar.is_working_day(*day))
        .take(days)
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

fn working_hours(start: Timestamp, mut left: SignedDuration, worktime: Worktime<'_>) -> Due {
    let Worktime { calendar, hours } = worktime;
    let hours = hours.unwrap_or_else(|| Hours::whole_day());
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

/// The days after a day, ascending.
fn days_after(day: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(day.tomorrow().ok(), |day| day.tomorrow().ok())
}
