//! Validated values: once parsed, they are valid.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use journal::Time;
use serde::{Deserialize, Serialize};

/// URL of a database. Displayed without its password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// A URL from a file that only the service reads, or from code; it may contain a password.
    pub fn secret(url: impl Into<String>) -> anyhow::Result<Self> {
        let url = url.into();
        match url.split_once("://") {
            Some(("sqlite" | "postgres" | "postgresql", _)) => Ok(Self(url)),
            _ => bail!("not a database URL; use sqlite://FILE or postgres://USER@HOST/NAME"),
        }
    }

    /// The URL including its password.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is an SQLite file.
    pub fn is_sqlite(&self) -> bool {
        self.0.starts_with("sqlite:")
    }

    /// The file of an SQLite database; `None` for a server, or a database in memory.
    pub fn file(&self) -> Option<PathBuf> {
        let path = self.0.strip_prefix("sqlite://")?;
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let path = percent_decoded(path)?;
        (!path.is_empty() && path != ":memory:").then(|| path.into())
    }

    /// The URL with a relative file beside others in a folder.
    pub(super) fn beside(&self, folder: &Path) -> anyhow::Result<Self> {
        let Some(file) = self.file().filter(|file| file.is_relative()) else {
            return Ok(self.clone());
        };
        let (_, after) = self
            .0
            .split_once('?')
            .map_or((&*self.0, ""), |(path, _)| (path, &self.0[path.len()..]));
        Ok(Self(format!("{}{after}", Self::of_file(&folder.join(file))?.0)))
    }

    /// The URL of an SQLite file.
    pub fn of_file(file: &Path) -> anyhow::Result<Self> {
        let path = file
            .to_str()
            .context("a path must be UTF-8 for the database's URL")?
            // Escape characters with a meaning in URLs.
            .replace('%', "%25")
            .replace('?', "%3F")
            .replace('#', "%23");
        Self::secret(format!("sqlite://{path}"))
    }

    /// The parts before and after the password, if there is one.
    fn around_password(&self) -> Option<(&str, &str)> {
        let (scheme, rest) = self.0.split_once("://")?;
        if scheme == "sqlite" {
            return None;
        }
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        if let Some((user, password)) = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
            let start = scheme.len() + 3 + user.len() + 1;
            return Some((&self.0[..start], &self.0[start + password.len()..]));
        }
        let start = self.0.find("password=")? + "password=".len();
        let end = self.0[start..].find('&').map_or(self.0.len(), |end| start + end);
        Some((&self.0[..start], &self.0[end..]))
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = anyhow::Error;

    fn try_from(url: String) -> anyhow::Result<Self> {
        let url = Self::secret(url)?;
        if url.around_password().is_some() {
            bail!("passwords are not allowed here; put the whole URL into a file and set that as `database_file`");
        }
        Ok(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.around_password() {
            Some((before, after)) => write!(f, "{before}***{after}"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = after;
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// A point in time, such as `2026-11-28T09:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(Time);

impl TryFrom<String> for Moment {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Self(Time(time.as_microsecond()))),
            Err(_) => bail!("not a time; the form is 2026-11-28T09:00:00Z, or with an offset such as +08:00"),
        }
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.0.to_string()
    }
}

impl From<Moment> for Time {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

/// Address of a server, such as `http://intake:7301`, or `https://intake:7301` for TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

impl Address {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl TryFrom<String> for Address {
    type Error = anyhow::Error;

    fn try_from(address: String) -> anyhow::Result<Self> {
        let host = address
            .strip_prefix("http://")
            .or_else(|| address.strip_prefix("https://"));
        match host {
            Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(Self(address)),
            _ => bail!("not a server address; the form is http://intake:7301, or https://intake:7301 for TLS"),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}
