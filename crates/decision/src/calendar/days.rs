//! Which days are worked: calendars, each known by its id.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Worktime;
use super::hours::DAY;
use crate::directory::{Agency, ConfigError, Directory};

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

    fn read(file: File, faults: &mut Vec<String>) -> Option<Self> {
        let before = faults.len();
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

    /// The moment of a time of day, in minutes since midnight, at most 24:00.
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

    /// Whether the day is worked: Monday to Friday without holidays, and make-up working days.
    #[must_use]
    pub fn is_working_day(&self, day: Date) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        self.working_days.contains(&day) || !weekend && !self.holidays.contains(&day)
    }
}

/// The calendars that agencies name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendars {
    /// That of agencies that name none.
    main: Calendar,
    others: Vec<Calendar>,
}

impl Calendars {
    /// Reads a file like `deploy/config/calendar-CN.yaml`. It may have several calendars, as documents with `---` between them: the
    /// first is that of agencies that name none.
    ///
    /// # Errors
    /// When the file is not of that shape, or with all its faults at once.
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
                    "calendar `{}`: the id stands twice; give each its own",
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
                faults: vec!["it has no calendar; write one, as in deploy/config/calendar-CN.yaml".to_owned()],
            }),
        }
    }

    /// The calendar that Remit ships, `deploy/config/calendar-CN.yaml`.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Calendars> = LazyLock::new(|| {
            Calendars::parse(include_str!("../../../../deploy/config/calendar-CN.yaml"))
                .expect("the shipped calendar is read by a test of this crate")
        });
        &SHIPPED
    }

    /// The calendar of agencies that name none.
    #[must_use]
    pub const fn main(&self) -> &Calendar {
        &self.main
    }

    /// The calendar of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Calendar> {
        std::iter::once(&self.main)
            .chain(&self.others)
            .find(|calendar| calendar.id == id)
    }

    /// When an agency works. One that is not in the directory, or whose calendar is not here, works by the main calendar.
    #[must_use]
    pub fn worktime<'a>(&'a self, agency: Option<&'a Agency>) -> Worktime<'a> {
        let desk = agency.map(|agency| &agency.desk);
        let named = desk.and_then(|desk| self.get(&desk.calendar));
        Worktime {
            calendar: named.unwrap_or(&self.main),
            hours: desk.and_then(|desk| desk.hours.as_ref()),
        }
    }

    /// Whether every agency of a directory names a calendar that is here.
    ///
    /// # Errors
    /// With each that does not.
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
                    "agency `{}`: there is no calendar `{}`, but {}; add it to the service's `files.calendar`, or name another",
                    agency.id,
                    agency.desk.calendar,
                    known.join(", "),
                )
            })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::Faults {
                file: "the file of agencies",
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
