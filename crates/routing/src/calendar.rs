//! Calendars and deadlines: from a clock's rule to the instant at which it ends.
//!
//! The rule, for days of either kind: the day on which the clock starts does not count, and the clock ends at 24:00 of
//! its last day by the calendar's local time, as civil law counts (民法典 201, 203; from memory, to be checked). Minutes and
//! hours run from the instant of the start. Calendar days are not moved off holidays: a limit that must not end on one is
//! written in working days.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::directory::{ConfigError, read_yaml};

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
}

impl Unit {
    /// All units.
    pub const ALL: [Self; 4] = [Self::Minutes, Self::Hours, Self::CalendarDays, Self::WorkingDays];

    /// The name in rule sets.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::CalendarDays => "calendar-days",
            Self::WorkingDays => "working-days",
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
    /// The end: at this instant the clock has run out. For days this is 24:00, that is 00:00 of the next day.
    pub at: Timestamp,
    /// The last local day on which the matter can be done in time: the date to show.
    pub last_day: Date,
    /// Whether a day was counted in a year whose holidays are not published, so that the end may still move.
    pub provisional: bool,
}

/// Which days are worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    id: String,
    offset: Offset,
    years: BTreeSet<i16>,
    holidays: BTreeSet<Date>,
    working_days: BTreeSet<Date>,
}

impl Calendar {
    /// The day that it is here at a moment.
    #[must_use]
    pub fn date(&self, at: Timestamp) -> Date {
        self.offset.to_datetime(at).date()
    }

    /// Reads a calendar, as in `deploy/config/calendar-CN.yaml`.
    ///
    /// # Errors
    /// When the file is not of that shape, or with all its faults at once.
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        let file: File = read_yaml(FILE, yaml)?;
        let mut faults = Vec::new();
        let offset = offset(&file.utc_offset);
        if offset.is_none() {
            faults.push(format!(
                "utc_offset: `{}` is no offset; write it as +08:00",
                file.utc_offset
            ));
        }
        let years: BTreeSet<i16> = file.years.into_iter().collect();
        let mut dates = |key: &str, texts: &[String]| -> BTreeSet<Date> {
            let mut dates = BTreeSet::new();
            for text in texts {
                match text.parse::<Date>() {
                    Err(_) => faults.push(format!("{key}: `{text}` is no date; write it as 2026-01-01")),
                    Ok(date) if !years.contains(&date.year()) => {
                        faults.push(format!(
                            "{key}: {date} is of a year that is not published; add it to `years`"
                        ));
                    }
                    Ok(date) if !dates.insert(date) => faults.push(format!("{key}: {date} stands twice; remove one")),
                    Ok(_) => {}
                }
            }
            dates
        };
        let holidays = dates("holidays", &file.holidays);
        let working_days = dates("working_days", &file.working_days);
        for date in holidays.intersection(&working_days) {
            faults.push(format!("{date} is a holiday and a working day; remove one"));
        }
        match offset {
            Some(offset) if faults.is_empty() => Ok(Self {
                id: file.id,
                offset,
                years,
                holidays,
                working_days,
            }),
            _ => Err(ConfigError::Faults { file: FILE, faults }),
        }
    }

    /// The calendar that Remit ships, `deploy/config/calendar-CN.yaml`.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Calendar> = LazyLock::new(|| {
            Calendar::parse(include_str!("../../../deploy/config/calendar-CN.yaml"))
                .expect("the shipped calendar is read by a test of this crate")
        });
        &SHIPPED
    }

    /// The calendar's id, such as `CN`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the holidays of the day's year are published.
    #[must_use]
    pub fn is_published(&self, day: Date) -> bool {
        self.years.contains(&day.year())
    }

    /// Whether the day is worked: Monday to Friday without holidays, and make-up working days.
    #[must_use]
    pub fn is_working_day(&self, day: Date) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        self.working_days.contains(&day) || !weekend && !self.holidays.contains(&day)
    }
}

/// When a clock ends that starts at `start`. Past the end of the time line it ends there.
#[must_use]
pub fn due(start: Timestamp, rule: ClockRule, calendar: &Calendar) -> Due {
    let local = |at| calendar.offset.to_datetime(at).date();
    match rule.unit {
        Unit::Minutes | Unit::Hours => {
            let elapsed = match rule.unit {
                Unit::Minutes => SignedDuration::from_mins(rule.value.into()),
                _ => SignedDuration::from_hours(rule.value.into()),
            };
            let at = start.checked_add(elapsed).unwrap_or(Timestamp::MAX);
            Due {
                at,
                last_day: local(at),
                provisional: false,
            }
        }
        Unit::CalendarDays => end_of(
            days_after(local(start)).take(rule.value as usize).last(),
            start,
            false,
            calendar,
        ),
        Unit::WorkingDays => {
            let mut provisional = false;
            let last = days_after(local(start))
                .inspect(|day| provisional |= !calendar.is_published(*day))
                .filter(|day| calendar.is_working_day(*day))
                .take(rule.value as usize)
                .last();
            end_of(last, start, provisional, calendar)
        }
    }
}

/// The days after one, in order.
fn days_after(day: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(day.tomorrow().ok(), |day| day.tomorrow().ok())
}

/// The end of the last day; of the start's own day when there is none, which a rule of no days means.
fn end_of(last: Option<Date>, start: Timestamp, provisional: bool, calendar: &Calendar) -> Due {
    let last_day = last.unwrap_or_else(|| calendar.offset.to_datetime(start).date());
    let midnight = last_day
        .tomorrow()
        .ok()
        .and_then(|next| calendar.offset.to_timestamp(next.to_datetime(Time::midnight())).ok());
    Due {
        at: midnight.unwrap_or(Timestamp::MAX),
        last_day,
        provisional,
    }
}

const FILE: &str = "the calendar";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    utc_offset: String,
    years: Vec<i16>,
    holidays: Vec<String>,
    working_days: Vec<String>,
}

/// Reads `+08:00`. Only fixed offsets: a deadline must not depend on which time zone database is installed.
fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = if let Some(rest) = text.strip_prefix('+') {
        (1, rest)
    } else {
        (-1, text.strip_prefix('-')?)
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}
