//! Working days: calendars, identified by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use handwritten::{Spanned, place};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Worktime;
use super::hours::DAY;
use crate::directory::{Agency, ConfigError, Directory, unreadable};

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
        let id = &file.id.value;
        let mut fault = |at: &Spanned<String>, problem: String| faults.push(placed(at, id, &problem));
        if id.trim().is_empty() {
            fault(&file.id, "the id is missing; write one such as CN".to_owned());
        }
        let offset = offset(&file.utc_offset.value);
        if offset.is_none() {
            let problem = format!(
                "utc_offset: `{}` is not an offset; the form is +08:00",
                file.utc_offset.value
            );
            fault(&file.utc_offset, problem);
        }
        let years: BTreeSet<i16> = file.years.into_iter().collect();
        let mut days: BTreeMap<Date, &str> = BTreeMap::new();
        let mut dates = |key: &'static str, texts: &[Spanned<String>]| -> BTreeSet<Date> {
            let mut dates = BTreeSet::new();
            for text in texts {
                let date = match day(&text.value) {
                    None => {
                        let problem = format!("{key}: `{}` is not a date; the form is 2026-01-01", text.value);
                        fault(text, problem);
                        continue;
                    }
                    Some(date) if !years.contains(&date.year()) => {
                        let problem = format!("{key}: the year of {date} is missing from `years`; add it");
                        fault(text, problem);
                        continue;
                    }
                    Some(date) => date,
                };
                match days.insert(date, key) {
                    None => {}
                    Some(other) if other == key => fault(text, format!("{key}: {date} occurs twice; remove one")),
                    Some(_) => fault(
                        text,
                        format!("{key}: {date} is both a holiday and a working day; remove one"),
                    ),
                }
                dates.insert(date);
            }
            dates
        };
        let holidays = dates("holidays", &file.holidays);
        let working_days = dates("working_days", &file.working_days);
        Some(Self {
            offset: offset?,
            years,
            holidays,
            working_days,
            id: file.id.value,
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

    /// Whether it is settled if a day is worked: its year's holidays are published, and in its last
    /// days those of the next year, too, because a New Year's holiday begins or is made up for in
    /// December (2018-12-31 was off by the notice for 2019, and 2018-12-29, a Saturday, was
    /// worked).
    #[must_use]
    pub fn is_published(&self, day: Date) -> bool {
        let year = day.year();
        let by_next_notice = day.month() == 12 && day.day() >= FIRST_DAY_OF_NEXT_NOTICE;
        self.years.contains(&year) && (!by_next_notice || self.years.contains(&(year + 1)))
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
        let files: Vec<File> = handwritten::read_documents(yaml).map_err(|error| unreadable(FILE, error))?;
        let mut faults = Vec::new();
        let mut calendars: Vec<Calendar> = Vec::new();
        for file in files {
            if calendars.iter().any(|calendar| calendar.id == file.id.value) {
                let problem = "the id is used twice; give each calendar its own";
                faults.push(placed(&file.id, &file.id.value, problem));
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

    /// Checks that every calendar referred to by the directory exists, and that both count days in
    /// one zone, so that "today" is one day everywhere.
    ///
    /// # Errors
    ///
    /// All missing ones, and another zone.
    pub fn check(&self, directory: &Directory) -> Result<(), ConfigError> {
        let unknown = |agency: &&Agency| !agency.desk.calendar.is_empty() && self.get(&agency.desk.calendar).is_none();
        let known: Vec<_> = std::iter::once(&self.main)
            .chain(&self.others)
            .map(Calendar::id)
            .collect();
        let (zone, own) = (directory.zone(), self.main.offset);
        let another = (zone != own).then(|| {
            format!(
                "utc_offset: the directory counts days in {}, the main calendar `{}` in {}; give both the same",
                offset_text(zone),
                self.main.id,
                offset_text(own)
            )
        });
        let missing = directory
            .agencies()
            .filter(unknown)
            .map(|agency| {
                format!(
                    "agency `{}`: the calendar `{}` does not exist, only {}; add it to the service's `files.calendar`, or choose another",
                    agency.id,
                    agency.desk.calendar,
                    known.join(", "),
                )
            });
        let faults: Vec<String> = another.into_iter().chain(missing).collect();
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
    id: Spanned<String>,
    utc_offset: Spanned<String>,
    years: Vec<i16>,
    holidays: Vec<Spanned<String>>,
    working_days: Vec<Spanned<String>>,
}

/// A fault with its place in the file.
fn placed(at: &Spanned<String>, calendar: &str, problem: &str) -> String {
    format!("{}: calendar `{calendar}`: {problem}", place(at.referenced))
}

/// The first day of December that the notice for the next year is known to have changed is the
/// 29th; a few days more, because nothing keeps a later notice from an earlier one.
const FIRST_DAY_OF_NEXT_NOTICE: i8 = 26;

/// Parses `2026-01-01`, and no other spelling of a day: the library would cut a time and a zone.
pub(crate) fn day(text: &str) -> Option<Date> {
    text.parse().ok().filter(|day: &Date| day.to_string() == text)
}

/// Writes `+08:00`.
pub(crate) fn offset_text(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// Parses `+08:00`. Only fixed offsets: deadlines must not depend on the installed time zone
/// database.
pub(crate) fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = if let Some(rest) = text.strip_prefix('+') {
        (1, rest)
    } else {
        (-1, text.strip_prefix('-')?)
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i32>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes).filter(|minutes| *minutes < 60)?);
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}
