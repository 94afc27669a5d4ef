//! Countries outside the tree.

use std::fmt;
use std::str::FromStr;

/// A country or area outside the tree of territories, by its ISO 3166-1 alpha-2 code.
///
/// `HK`, `MO` and `TW` count as such codes: the shipped tree has no territories for them, so
/// reports refer to them this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(&'static str);

/// An invalid country code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountryError {
    /// ISO 3166-1 has no such code.
    #[error("`{0}` is not a country code; write two capital letters as in ISO 3166-1, such as US")]
    Unknown(String),
    /// The code of the tree's own root.
    #[error("CN is the root of the tree; use a territory, such as territories/CN")]
    InsideTree,
}

impl Country {
    /// The two-letter code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Country {
    type Err = CountryError;

    fn from_str(text: &str) -> Result<Self, CountryError> {
        match rust_iso3166::from_alpha2(text) {
            Some(country) if country.alpha2 == "CN" => Err(CountryError::InsideTree),
            Some(country) => Ok(Self(country.alpha2)),
            None => Err(CountryError::Unknown(text.to_owned())),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
