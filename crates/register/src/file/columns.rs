//! Columns of a register file, and parsing of comma-separated lines.

use std::borrow::Cow;

use serde::Deserialize;

use super::LINE;
use crate::key::shown;

/// The names of the columns.
const COLUMNS: [&str; 7] = [KIND, KEY, OPERATOR, PLACE, VALID_FROM, VALID_TO, ACTION];
pub(super) const KIND: &str = "kind";
pub(super) const KEY: &str = "key";
pub(super) const OPERATOR: &str = "operator";
pub(super) const PLACE: &str = "place";
pub(super) const VALID_FROM: &str = "valid_from";
pub(super) const VALID_TO: &str = "valid_to";
pub(super) const ACTION: &str = "action";
/// Required columns.
const NEEDED: [&str; 3] = [KIND, KEY, PLACE];

/// The fields of a line, by column.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) operator: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) place: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) valid_from: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) valid_to: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) action: Cow<'a, str>,
}

/// The columns of a file of comma-separated values, and its line parser.
#[derive(Debug)]
pub(super) struct Csv {
    columns: Vec<&'static str>,
    core: csv_core::Reader,
    /// The fields of the last line, concatenated, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Csv {
    /// Parses the first line of a file; on failure returns all its faults.
    pub(super) fn by_header(line: &str) -> Result<Self, Vec<String>> {
        let mut csv = Self {
            columns: Vec::new(),
            core: csv_core::Reader::new(),
            // Unquoting never makes a line longer.
            text: vec![0; LINE + 1],
            ends: vec![0; 64],
        };
        let count = csv.split(line).map_err(|words| vec![words])?;
        let mut faults = Vec::new();
        for field in 0..count {
            let name = csv.field(field).trim();
            match COLUMNS.into_iter().find(|column| *column == name) {
                None => faults.push(format!(
                    "`{}` is not a column; the columns are {}",
                    shown(name),
                    COLUMNS.join(", ")
                )),
                Some(column) if csv.columns.contains(&column) => {
                    faults.push(format!("the column {column} occurs twice"));
                }
                Some(column) => csv.columns.push(column),
            }
        }
        for column in NEEDED.into_iter().filter(|column| !csv.columns.contains(column)) {
            faults.push(format!(
                "the column {column} is missing; the first line must name the columns"
            ));
        }
        if faults.is_empty() { Ok(csv) } else { Err(faults) }
    }

    /// Splits a line and returns its number of fields.
    fn split(&mut self, line: &str) -> Result<usize, String> {
        use csv_core::ReadRecordResult::{End, InputEmpty, OutputEndsFull, OutputFull, Record};
        self.core.reset();
        let (result, _, written, count) = self.core.read_record(line.as_bytes(), &mut self.text, &mut self.ends);
        let result = match result {
            InputEmpty => {
                let (text, ends) = (&mut self.text[written..], &mut self.ends[count..]);
                let (result, _, _, more) = self.core.read_record(b"\n", text, ends);
                (result, count + more)
            }
            result => (result, count),
        };
        match result {
            (Record | End, count) => Ok(count),
            (InputEmpty, _) => Err("a quotation mark is not closed on this line".to_owned()),
            (OutputFull | OutputEndsFull, _) => Err("the line has more than 64 fields".to_owned()),
        }
    }

    /// A field of the last line.
    fn field(&self, field: usize) -> &str {
        let start = field.checked_sub(1).and_then(|before| self.ends.get(before));
        let end = self.ends.get(field).copied().unwrap_or_default();
        let bytes = self
            .text
            .get(start.copied().unwrap_or_default()..end)
            .unwrap_or_default();
        // Removing quotes keeps valid UTF-8 valid.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(super) fn fields(&mut self, line: &str) -> Result<Fields<'_>, String> {
        let count = self.split(line)?;
        if count != self.columns.len() {
            let columns = self.columns.len();
            return Err(format!("has {count} fields, but the first line names {columns}"));
        }
        let mut fields = Fields::default();
        for (i, column) in self.columns.iter().enumerate() {
            let field = Cow::Borrowed(self.field(i));
            match *column {
                KIND => fields.kind = field,
                KEY => fields.key = field,
                OPERATOR => fields.operator = field,
                PLACE => fields.place = field,
                VALID_FROM => fields.valid_from = field,
                VALID_TO => fields.valid_to = field,
                _ => fields.action = field,
            }
        }
        Ok(fields)
    }
}
