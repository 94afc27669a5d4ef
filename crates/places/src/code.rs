//! Territory codes.

use std::fmt;
use std::str::FromStr;

use names::{Collection, Id, Name};

/// The code of a territory: six digits as in GB/T 2260, nine for a township (its county's six and
/// three of its own), or `CN` for the nation.
///
/// A well-formed code is not necessarily in the tree: see [`crate::Territories::get`]. Stored as a
/// nine-digit number because the tree has tens of thousands of them; the nation is 0 and sorts
/// first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TerritoryCode(u32);

/// Names of territories.
pub const TERRITORY: Name<TerritoryCode> = Name::new(Collection::TERRITORIES);

impl Id for TerritoryCode {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A text that is not a territory code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a territory code; write the six digits of GB/T 2260, nine for a township, or CN for the nation")]
pub struct InvalidCode(String);

impl TerritoryCode {
    /// The nation.
    pub const ROOT: Self = Self(0);

    /// Parses a resource name, `territories/{code}`.
    ///
    /// # Errors
    /// If the prefix is missing or the rest is not a code.
    pub fn from_resource_name(name: &str) -> Result<Self, InvalidCode> {
        TERRITORY.id(name).ok_or_else(|| InvalidCode(name.to_owned()))
    }

    /// The resource name, `territories/{code}`.
    #[must_use]
    pub fn resource_name(self) -> String {
        TERRITORY.of(self)
    }

    /// The code's level, derived from its digits.
    #[must_use]
    pub const fn level(self) -> Level {
        let Self(code) = self;
        match code {
            0 => Level::Nation,
            _ if !code.is_multiple_of(1_000) => Level::Township,
            _ if !code.is_multiple_of(100_000) => Level::County,
            _ if !code.is_multiple_of(10_000_000) => Level::City,
            _ => Level::Province,
        }
    }

    /// Whether this code equals `other` or lies below it, derived from the digits.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self == other || self.above().any(|above| above == other)
    }

    /// The codes above this one, derived from its digits, nearest first, ending with the nation.
    /// Each pair of digits is one level (GB/T 2260), a township's three digits are the lowest; a
    /// code has zeros for the levels below it.
    pub(crate) fn above(self) -> impl Iterator<Item = Self> {
        let Self(code) = self;
        let county = code / 1_000 * 1_000;
        let city = code / 100_000 * 100_000;
        let province = code / 10_000_000 * 10_000_000;
        let mut below = code;
        [county, city, province, 0]
            .into_iter()
            .filter(move |&level| std::mem::replace(&mut below, level) != level)
            .map(Self)
    }
}

/// Level of a territory below the nation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The nation.
    Nation,
    /// A province, an autonomous region or a municipality.
    Province,
    /// A city or a prefecture.
    City,
    /// A county, a district or a city of that rank.
    County,
    /// A township, a town or a subdistrict.
    Township,
}

impl Level {
    /// The level in lower case, such as `province`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nation => "nation",
            Self::Province => "province",
            Self::City => "city",
            Self::County => "county",
            Self::Township => "township",
        }
    }
}

impl FromStr for TerritoryCode {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let invalid = || InvalidCode(text.to_owned());
        if text == "CN" {
            return Ok(Self::ROOT);
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let code: Option<u32> = text.parse().ok();
        let code = match text.len() {
            6 => code.map(|code| code * 1_000),
            // Nine digits that end in zeros would be a second spelling of a county.
            9 => code.filter(|code| !code.is_multiple_of(1_000)),
            _ => None,
        };
        // Codes below 110000 name no province, and 000000 would be mistaken for the nation.
        code.filter(|&code| code >= 110_000_000).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for TerritoryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; 9];
        let mut left = self.0;
        for digit in digits.iter_mut().rev() {
            *digit += (left % 10) as u8;
            left /= 10;
        }
        let shown = match self.level() {
            Level::Nation => return f.write_str("CN"),
            Level::Township => &digits[..],
            Level::Province | Level::City | Level::County => &digits[..6],
        };
        f.write_str(str::from_utf8(shown).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TerritoryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
