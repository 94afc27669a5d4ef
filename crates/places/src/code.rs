//! Codes of territories.

use std::fmt;
use std::str::FromStr;

/// The code of a territory: six digits as in GB/T 2260, or `CN` for the nation.
///
/// That a code is well formed does not mean that the tree has it: ask [`crate::Territories::get`]. Kept as a number,
/// since the tree has thousands of them; the nation is 0, so that it sorts first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TerritoryCode(u32);

/// A text that is no territory code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a territory code; write the six digits of GB/T 2260, or CN for the nation")]
pub struct InvalidCode(String);

impl TerritoryCode {
    /// The nation.
    pub const ROOT: Self = Self(0);

    /// Reads a resource name, `territories/{code}`.
    ///
    /// # Errors
    /// When the prefix is missing or what follows is no code.
    pub fn from_resource_name(name: &str) -> Result<Self, InvalidCode> {
        name.strip_prefix("territories/")
            .ok_or_else(|| InvalidCode(name.to_owned()))?
            .parse()
    }

    /// The resource name, `territories/{code}`.
    #[must_use]
    pub fn resource_name(self) -> String {
        format!("territories/{self}")
    }

    /// The codes above this one by its form alone, nearest first, ending with the nation: each pair of digits is one
    /// level (GB/T 2260), and the level above has zeros in its place.
    pub(crate) fn above(self) -> impl Iterator<Item = Self> {
        let Self(code) = self;
        let city = code / 100 * 100;
        let province = code / 10_000 * 10_000;
        let mut below = code;
        [city, province, 0]
            .into_iter()
            .filter(move |&level| std::mem::replace(&mut below, level) != level)
            .map(Self)
    }
}

impl FromStr for TerritoryCode {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let invalid = || InvalidCode(text.to_owned());
        if text == "CN" {
            return Ok(Self::ROOT);
        }
        if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        // A code below 110000 names no province, and 000000 would be mistaken for the nation.
        text.parse()
            .ok()
            .filter(|&code| code >= 110_000)
            .map(Self)
            .ok_or_else(invalid)
    }
}

impl fmt::Display for TerritoryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOT {
            f.write_str("CN")
        } else {
            write!(f, "{:06}", self.0)
        }
    }
}

impl fmt::Debug for TerritoryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
