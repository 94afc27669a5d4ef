//! One entry of the register: what is operated from where, and when.

use std::{fmt, str::FromStr};

use api::routing::{OperatorPeriod, operator_match, operator_period};
use jiff::civil::Date;
use places::{Country, Territories, TerritoryCode};

use crate::key::{Key, shown};

/// Maximum number of characters in an operator's name.
const OPERATOR: usize = 200;

/// The place of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A territory of the tree, possibly abolished since.
    Territory(TerritoryCode),
    /// A country outside the tree.
    Country(Country),
}

impl Place {
    /// Parses a place that is in the tree, or a country outside it.
    pub fn new(text: &str, territories: &Territories) -> Result<Self, InvalidEntry> {
        let place: Self = text.parse()?;
        match place {
            Self::Territory(code) if territories.get(code).is_none() => Err(InvalidEntry::UnknownTerritory(code)),
            place => Ok(place),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Territory(code) => code.fmt(f),
            Self::Country(country) => country.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        if let Ok(code) = text.parse() {
            return Ok(Self::Territory(code));
        }
        text.parse()
            .map(Self::Country)
            .map_err(|_| InvalidEntry::Place(shown(text)))
    }
}

impl From<Place> for operator_period::Location {
    fn from(place: Place) -> Self {
        match place {
            Place::Territory(code) => Self::Territory(code.resource_name()),
            Place::Country(country) => Self::RegionCode(country.to_string()),
        }
    }
}

impl From<Place> for operator_match::Location {
    fn from(place: Place) -> Self {
        match place {
            Place::Territory(code) => Self::Territory(code.resource_name()),
            Place::Country(country) => Self::RegionCode(country.to_string()),
        }
    }
}

impl From<Place> for api::intake::place::Location {
    fn from(place: Place) -> Self {
        match place {
            Place::Territory(code) => Self::Territory(code.resource_name()),
            Place::Country(country) => Self::RegionCode(country.to_string()),
        }
    }
}

/// Why an entry is invalid. The text follows the name of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// Neither a code nor a country.
    #[error(
        "`{0}` is not a place; use a territory code of the tree, such as 350200, or an ISO 3166-1 country outside it, such as US"
    )]
    Place(String),
    /// A code that was never in the tree.
    #[error("the tree has no territory {0}, neither in force nor abolished")]
    UnknownTerritory(TerritoryCode),
    /// Not a date.
    #[error("`{0}` is not a date; the form is 2026-03-01, or empty")]
    Date(String),
    /// The entry ends before it begins.
    #[error("{to} is before valid_from, {from}")]
    Ends {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
    /// The operator's name is too long.
    #[error("has {0} characters, more than {OPERATOR}")]
    Long(usize),
    /// The operator's name contains a control character.
    #[error("has a control character")]
    Character,
}

/// The validity of an entry: from the first to the last day, inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Validity {
    /// The first day; unlimited if `None`.
    pub from: Option<Date>,
    /// The last day; unlimited if `None`.
    pub to: Option<Date>,
}

impl Validity {
    /// Whether the entry is valid on a day.
    pub fn holds(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }

    /// Whether both are valid on some day.
    pub fn overlaps(&self, other: &Self) -> bool {
        let begins_in_time = |a: &Self, b: &Self| match (a.from, b.to) {
            (Some(from), Some(to)) => from <= to,
            _ => true,
        };
        begins_in_time(self, other) && begins_in_time(other, self)
    }
}

/// Parses a date; `None` if empty.
pub fn day(text: &str) -> Result<Option<Date>, InvalidEntry> {
    if text.is_empty() {
        return Ok(None);
    }
    // The parser accepts other forms of ISO 8601, too; one form is enough.
    let form = text.len() == 10 && text.bytes().all(|c| c.is_ascii_digit() || c == b'-');
    let date = text.parse().ok().filter(|_| form);
    date.map(Some).ok_or_else(|| InvalidEntry::Date(shown(text)))
}

/// Formats a date; empty for `None`.
pub fn day_text(day: Option<Date>) -> String {
    day.map(|day| day.to_string()).unwrap_or_default()
}

/// Parses the name of an operator.
pub fn operator(text: &str) -> Result<&str, InvalidEntry> {
    let text = text.trim();
    match text.chars().count() {
        length if length > OPERATOR => Err(InvalidEntry::Long(length)),
        _ if api::text::control(text, api::text::Form::Line).is_some() => Err(InvalidEntry::Character),
        _ => Ok(text),
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name that it is for.
    pub key: Key,
    /// Its validity.
    pub validity: Validity,
    /// The operator's place.
    pub place: Place,
    /// Name of the operating organisation, or empty.
    pub operator: String,
}

impl Entry {
    /// Converts to a contract message, without the name.
    pub fn period(&self) -> OperatorPeriod {
        OperatorPeriod {
            organisation: self.operator.clone(),
            location: Some(self.place.into()),
            valid_from_date: self.validity.from.map(api::date),
            valid_to_date: self.validity.to.map(api::date),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validity(from: &str, to: &str) -> Validity {
        Validity {
            from: day(from).unwrap(),
            to: day(to).unwrap(),
        }
    }

    #[test]
    fn both_ends_are_inclusive() {
        let march = validity("2026-03-01", "2026-03-31");
        for (date, holds) in [
            ("2026-02-28", false),
            ("2026-03-01", true),
            ("2026-03-31", true),
            ("2026-04-01", false),
        ] {
            assert_eq!(march.holds(date.parse().unwrap()), holds, "{date}");
        }
        assert!(Validity::default().holds("0001-01-01".parse().unwrap()));
    }

    #[test]
    fn overlaps_share_a_day() {
        let march = validity("2026-03-01", "2026-03-31");
        for (from, to, overlaps) in [
            ("", "", true),
            ("", "2026-02-28", false),
            ("", "2026-03-01", true),
            ("2026-03-31", "", true),
            ("2026-04-01", "", false),
            ("2026-03-10", "2026-03-10", true),
        ] {
            let other = validity(from, to);
            assert_eq!(march.overlaps(&other), overlaps, "{from} to {to}");
            assert_eq!(other.overlaps(&march), overlaps, "{from} to {to}");
        }
    }

    #[test]
    fn places_are_in_the_tree_abolished_or_a_country_outside() {
        let tree = Territories::shipped();
        for text in ["350200", "CN", "320504", "US", "HK"] {
            assert_eq!(Place::new(text, tree).unwrap().to_string(), text);
        }
        let unknown = Place::new("999999", tree).unwrap_err();
        assert!(matches!(unknown, InvalidEntry::UnknownTerritory(_)), "{unknown}");
        for text in ["XX", "us", "", "35", "Xiamen", "territories/350200"] {
            assert_eq!(Place::new(text, tree), Err(InvalidEntry::Place(text.to_owned())));
        }
    }

    #[test]
    fn dates_have_one_form() {
        for text in [
            "2026-13-01",
            "2026-02-30",
            "20260301",
            "1.3.2026",
            "2026-3-1",
            "-02026-03-1",
            "2026-03-01T00",
        ] {
            assert_eq!(day(text), Err(InvalidEntry::Date(text.to_owned())));
        }
    }
}
