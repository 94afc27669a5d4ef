use std::sync::Arc;

use sqlx::{
    Decode, Postgres, Row as _, Sqlite, Type,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};
use uuid::Uuid;

use crate::Error;

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TEXT.
    Text,
    /// BIGINT on PostgreSQL, INTEGER on SQLite.
    Int,
    /// BYTEA on PostgreSQL, BLOB on SQLite.
    Bytes,
}

/// A statement parameter, of a type that both engines share.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL. PostgreSQL needs its type.
    Null(Kind),
    /// Text, shared because ids and names occur in several rows of one transaction.
    Text(Arc<str>),
    /// Text from a constant.
    Word(&'static str),
    /// An integer. Times are microseconds since 1970 UTC.
    Int(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A hash or a key, without a heap allocation: rows have several.
    Hash([u8; 32]),
    /// Texts for one lookup: `column = ANY($1)`.
    Texts(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<[u8; 32]> for Value {
    fn from(hash: [u8; 32]) -> Self {
        Self::Hash(hash)
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Self::Text((&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).into())
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl Value {
    /// Text, or NULL.
    pub fn text_or_null(text: Option<impl Into<Arc<str>>>) -> Self {
        text.map_or(Self::Null(Kind::Text), |text| Self::Text(text.into()))
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Word(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Hash(hash) => Some(hash),
            _ => None,
        }
    }
}

/// Binds values for SQLite. A list of texts becomes a JSON array for `json_each`.
pub(crate) fn sqlite_arguments(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    use sqlx::Arguments as _;
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Null(_) => arguments.add(None::<i64>),
            Value::Text(text) => arguments.add(text),
            Value::Word(text) => arguments.add(text),
            Value::Int(int) => arguments.add(int),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Hash(hash) => arguments.add(hash.as_slice()),
            Value::Texts(texts) => arguments.add(json_array(&texts)),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

pub(crate) fn postgres_arguments(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
    use sqlx::Arguments as _;
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Null(Kind::Text) => arguments.add(None::<String>),
            Value::Null(Kind::Int) => arguments.add(None::<i64>),
            Value::Null(Kind::Bytes) => arguments.add(None::<Vec<u8>>),
            Value::Text(text) => arguments.add(&*text),
            Value::Word(text) => arguments.add(text),
            Value::Int(int) => arguments.add(int),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Hash(hash) => arguments.add(hash.as_slice()),
            Value::Texts(texts) => arguments.add(texts),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Any text must survive, although current callers only pass ids, digests and names.
fn json_array(texts: &[String]) -> String {
    use std::fmt::Write as _;
    let mut json = String::with_capacity(2 + texts.iter().map(|text| text.len() + 3).sum::<usize>());
    json.push('[');
    for (i, text) in texts.iter().enumerate() {
        json.push_str(if i == 0 { "\"" } else { ",\"" });
        for c in text.chars() {
            match c {
                '"' => json.push_str("\\\""),
                '\\' => json.push_str("\\\\"),
                c if (c as u32) < 0x20 => {
                    // Writing to a string cannot fail.
                    let _ = write!(json, "\\u{:04x}", c as u32);
                }
                c => json.push(c),
            }
        }
        json.push('"');
    }
    json.push(']');
    json
}

/// A row of a result.
#[derive(Debug)]
pub struct Row {
    pub(crate) inner: Inner,
    /// The statement that returned it, or the table of a bulk insert.
    pub(crate) from: &'static str,
}

#[derive(Debug)]
pub(crate) enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A column type that both engines share.
pub trait FromColumn:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> + Send
{
}

impl FromColumn for String {}
impl FromColumn for i64 {}
impl FromColumn for Vec<u8> {}
impl FromColumn for Option<String> {}
impl FromColumn for Option<i64> {}
impl FromColumn for Option<Vec<u8>> {}

impl Row {
    pub(crate) fn new(inner: Inner, from: &'static str) -> Self {
        Self { inner, from }
    }

    /// The value of a column by its name: a position breaks silently if two columns of one type are
    /// swapped.
    pub fn get<T: FromColumn>(&self, column: &str) -> Result<T, Error> {
        match &self.inner {
            Inner::Sqlite(row) => row.try_get(column),
            Inner::Postgres(row) => row.try_get(column),
        }
        .map_err(|source| Error::decode(&column, self.from, source))
    }

    /// The value of the only column.
    pub fn only<T: FromColumn>(&self) -> Result<T, Error> {
        let columns = match &self.inner {
            Inner::Sqlite(row) => row.len(),
            Inner::Postgres(row) => row.len(),
        };
        if columns != 1 {
            return Err(Error::Damaged {
                what: "row of one column",
                problem: format!("it has {columns}"),
            });
        }
        match &self.inner {
            Inner::Sqlite(row) => row.try_get(0_usize),
            Inner::Postgres(row) => row.try_get(0_usize),
        }
        .map_err(|source| Error::decode(&0, self.from, source))
    }

    /// A column of exactly `N` bytes.
    pub fn array<const N: usize>(&self, column: &str, what: &'static str) -> Result<[u8; N], Error> {
        let bytes: Vec<u8> = self.get(column)?;
        bytes.try_into().map_err(|bytes: Vec<u8>| Error::Damaged {
            what,
            problem: format!("{} bytes instead of {N}", bytes.len()),
        })
    }

    /// A column that holds a count.
    pub fn count(&self, column: &str, what: &'static str) -> Result<u64, Error> {
        let int: i64 = self.get(column)?;
        u64::try_from(int).map_err(|_| Error::Damaged {
            what,
            problem: format!("{int} is negative"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_array_keeps_every_text_whole() {
        let texts = ["a", "with \"quotes\" and \\", "line\nbreak\u{1}", "举报"].map(str::to_owned);
        assert_eq!(
            json_array(&texts),
            "[\"a\",\"with \\\"quotes\\\" and \\\\\",\"line\\u000abreak\\u0001\",\"举报\"]"
        );
        assert_eq!(json_array(&[]), "[]");
    }
}
