//! Working days: calendars, identified by id.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Worktime;
use super::hours::DAY;
use crate::directory::{Agency, ConfigError, Directory};

/// A calendar of working days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    id: String,
    offset: Offset,
    years: BTreeSet<i16>,
    holidays: BTreeSet<Date>,
    working_days: BTreeSet<Date>,
}

impl Calendar {
    /// The local date at an instant.
    #[must_use]
    pub fn date(&self, at: Timestamp) -> Date {
        self.offset.to_datetime(at).date()
    }

    fn read(file: File, faults: &mut Vec<String>) -> Option<Self> {
        let before = faults.len();
        let offset = offset(&file.utc_offset);
        if offset.is_none() {
            faults.push(format!(
                "utc_offset: `{}` is not an offset; the form is +08:00",
                file.utc_offset
            ));
        }
        let years: BTreeSet<i16> = file.years.into_iter().collect();
        let mut dates = |key: &str, texts: &[String]| -> BTreeSet<Date> {
            let mut dates = BTreeSet::new();
            for text in texts {
                match text.parse::<Date>() {
                    Err(_) => faults.push(format!("{key}: `{text}` is not a date; the form is 2026-01-01")),
                    Ok(date) if !years.contains(&date.year()) => {
                        faults.push(format!("{key}: the year of {date} is missing from `years`; add it"));
                    }
                    Ok(date) if !dates.insert(date) => faults.push(format!("{key}: {date} occurs twice; remove one")),
                    Ok(_) => {}
                }
            }
            dates
        };
        let holidays = dates("holidays", &file.holidays);
        let working_days = dates("working_days", &file.working_days);
        for date in holidays.intersection(&working_days) {
            faults.push(format!("{date} is both a holiday and a working day; remove one"));
        }
        for fault in &mut faults[before..] {
            *fault = format!("calendar `{}`: {fault}", file.id);
        }
        Some(Self {
            id: file.id,
            offset: offset?,
            years,
            holidays,
            working_days,
        })
        .filter(|_| faults.len() == before)
    }

    /// The calendar's id, such as `CN`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The instant of a local time of day, in minutes since midnight, at most 24:00.
    pub(super) fn at(&self, day: Date, minutes: u16) -> Timestamp {
        let midnight = self.offset.to_timestamp(day.to_datetime(Time::midnight()));
        midnight
            .and_then(|midnight| midnight.checked_add(SignedDuration::from_mins(minutes.into())))
            .unwrap_or(Timestamp::MAX)
    }

    /// 24:00 of a day.
    pub(super) fn end_of(&self, day: Date) -> Timestamp {
        self.at(day, DAY)
    }

    /// Whether the holidays of the day's year are published.
    #[must_use]
    pub fn is_published(&self, day: Date) -> bool {
        self.years.contains(&day.year())
    }

    /// Whether a day is a working day: Monday to Friday except holidays, and make-up working days.
    #[must_use]
    pub fn is_working_day(&self, day: Date) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        self.working_days.contains(&day) || !weekend && !self.holidays.contains(&day)
    }
}

/// The calendars that agencies refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendars {
    /// For agencies without a calendar of their own.
    main: Calendar,
    others: Vec<Calendar>,
}

impl Calendars {
    /// Parses a file like `deploy/config/calendar-CN.yaml`. It may contain several calendars, as
    /// documents separated by `---`; the first is for agencies without a calendar of their own.
    ///
    /// # Errors
    ///
    /// If the file has a different structure; otherwise all its faults at once.
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        let files: Vec<File> = serde_saphyr::from_multiple(yaml).map_err(|error| ConfigError::Shape {
            file: FILE,
            source: Box::new(error),
        })?;
        let mut faults = Vec::new();
        let mut calendars: Vec<Calendar> = Vec::new();
        for file in files {
            if calendars.iter().any(|calendar| calendar.id == file.id) {
                faults.push(format!(
                    "calendar `{}`: the id is used twice; give each calendar its own",
                    file.id
                ));
            }
            calendars.extend(Calendar::read(file, &mut faults));
        }
        if !faults.is_empty() {
            return Err(ConfigError::Faults { file: FILE, faults });
        }
        let mut calendars = calendars.into_iter();
        match calendars.next() {
            Some(main) => Ok(Self {
                main,
                others: calendars.collect(),
            }),
            None => Err(ConfigError::Faults {
                file: FILE,
                faults: vec!["it has no calendar; add one as in deploy/config/calendar-CN.yaml".to_owned()],
            }),
        }
    }

    /// The calendar that Remit ships, `deploy/config/calendar-CN.yaml`.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Calendars> = LazyLock::new(|| {
            Calendars::parse(include_str!("../../../../deploy/config/calendar-CN.yaml"))
                .expect("a test of this crate parses the shipped calendar")
        });
        &SHIPPED
    }

    /// The calendar of agencies without one of their own.
    #[must_use]
    pub const fn main(&self) -> &Calendar {
        &self.main
    }

    /// The calendar with an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Calendar> {
        std::iter::once(&self.main)
            .chain(&self.others)
            .find(|calendar| calendar.id == id)
    }

    /// An agency's working time. An unknown agency, or one with an unknown calendar, works by the
    /// main calendar.
    #[must_use]
    pub fn worktime<'a>(&'a self, agency: Option<&'a Agency>) -> Worktime<'a> {
        let desk = agency.map(|agency| &agency.desk);
        let named = desk.and_then(|desk| self.get(&desk.calendar));
        Worktime {
            calendar: named.unwrap_or(&self.main),
            hours: desk.and_then(|desk| desk.hours.as_ref()),
        }
    }

    /// Checks that every calendar referred to by the directory exists.
    ///
    /// # Errors
    ///
    /// All missing ones.
    pub fn check(&self, directory: &Directory) -> Result<(), ConfigError> {
        let unknown = |agency: &&Agency| !agency.desk.calendar.is_empty() && self.get(&agency.desk.calendar).is_none();
        let known: Vec<_> = std::iter::once(&self.main)
            .chain(&self.others)
            .map(Calendar::id)
            .collect();
        let faults: Vec<String> = directory
            .agencies()
            .filter(unknown)
            .map(|agency| {
                format!(
                    "agency `{}`: the calendar `{}` does not exist, only {}; add it to the service's `files.calendar`, or choose another",
                    agency.id,
                    agency.desk.calendar,
                    known.join(", "),
                )
            })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::Faults {
                file: "the agency file",
                faults,
            }),
        }
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

/// Parses `+08:00`. Only fixed offsets: deadlines must not depend on the installed time zone
/// database.
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
