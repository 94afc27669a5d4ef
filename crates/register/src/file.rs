//! A register file: from bytes, as they arrive, to rows and faults.
//!
//! Each line is a record. Only one line is held in memory, and faults are reported by line.

mod columns;

use columns::{ACTION, Csv, Fields, KEY, KIND, OPERATOR, PLACE, VALID_FROM, VALID_TO};
use places::Territories;

use crate::{
    entry::{self, Place, Validity},
    key::{Key, Kind, shown},
};

/// Maximum length of a line, in bytes.
pub const LINE: usize = 8_192;
/// Maximum number of reported faults. Reading stops after the last one.
pub const PROBLEMS: usize = 1_000;
/// Maximum number of entries in a file.
const ROWS: u64 = 10_000_000;

/// Format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values; the first line names the columns.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

/// How a file is applied to the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The file is the whole register.
    Replace,
    /// Each name in the file gets the file's entries; other names stay.
    Change,
}

/// A fault in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; 0 for the whole file.
    pub line: u64,
    /// The other line involved, or 0.
    pub other_line: u64,
    /// The column; empty for the whole line.
    pub column: &'static str,
    /// The problem and how to fix it. Follows the column's name.
    pub description: String,
}

impl Problem {
    pub(super) fn at(line: u64, column: &'static str, description: impl Into<String>) -> Self {
        Self {
            line,
            other_line: 0,
            column,
            description: description.into(),
        }
    }

    /// A fault of the whole file.
    pub fn of_file(description: impl Into<String>) -> Self {
        Self::at(0, "", description)
    }
}

/// A valid line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The name.
    pub key: Key,
    /// Its validity.
    pub validity: Validity,
    /// The line, from 1.
    pub line: u64,
    /// The operator's place and name; `None` to remove the name from the register.
    pub operated: Option<(Place, String)>,
}

/// Reads a file in pieces.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    mode: Mode,
    territories: Territories,
    /// The beginning of an incomplete line.
    begun: Vec<u8>,
    /// Whether the incomplete line is already too long.
    cut: bool,
    line: u64,
    csv: Option<Csv>,
    rows: u64,
    problems: Vec<Problem>,
    stopped: bool,
}

impl Reader {
    /// A reader for places of this tree.
    pub fn new(format: Format, mode: Mode, territories: Territories) -> Self {
        Self {
            format,
            mode,
            territories,
            begun: Vec::new(),
            cut: false,
            line: 0,
            csv: None,
            rows: 0,
            problems: Vec::new(),
            stopped: false,
        }
    }

    /// Number of rows read so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether there are so many faults that reading on is useless.
    pub fn has_enough(&self) -> bool {
        self.stopped || self.problems.len() >= PROBLEMS || self.rows > ROWS
    }

    /// The faults found so far.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Reads a piece of the file and passes its rows to `take`.
    pub fn feed<E>(&mut self, mut piece: &[u8], take: &mut impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            piece = rest;
            if self.begun.is_empty() && !self.cut {
                self.line(line, take)?;
            } else {
                self.begin(line);
                self.end(take)?;
            }
            if self.has_enough() {
                return Ok(());
            }
        }
        self.begin(piece);
        Ok(())
    }

    /// Reads the end of the file.
    pub fn finish<E>(&mut self, take: &mut impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        if !self.begun.is_empty() || self.cut {
            self.end(take)?;
        }
        if self.rows > ROWS {
            let words = format!("the file has more than {ROWS} entries");
            self.problems.push(Problem::of_file(words));
        } else if self.rows == 0 && self.problems.is_empty() {
            let words = match (self.format, &self.csv) {
                (Format::Csv, None) => {
                    "the file is empty; its first line must name the columns: kind,key,operator,place,…"
                }
                _ => "the file has no entries; to remove names from the register, remove each of them",
            };
            self.problems.push(Problem::of_file(words));
        }
        Ok(())
    }

    /// Keeps the beginning of a line, unless it is too long already.
    fn begin(&mut self, part: &[u8]) {
        if self.begun.len() + part.len() > LINE + 1 {
            self.cut = true;
            self.begun.clear();
        } else if !self.cut {
            self.begun.extend_from_slice(part);
        }
    }

    fn end<E>(&mut self, take: &mut impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.begun);
        if std::mem::take(&mut self.cut) {
            self.line += 1;
            self.too_long();
            return Ok(());
        }
        let taken = self.line(&line, take);
        self.begun = line;
        self.begun.clear();
        taken
    }

    fn too_long(&mut self) {
        let problem = Problem::at(self.line, "", format!("the line has more than {LINE} bytes"));
        self.problems.push(problem);
    }

    fn line<E>(&mut self, line: &[u8], take: &mut impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        self.line += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE {
            self.too_long();
            return Ok(());
        }
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(error) => {
                let words = format!("byte {} is not UTF-8; save the file as UTF-8", error.valid_up_to() + 1);
                self.problems.push(Problem::at(self.line, "", words));
                return Ok(());
            }
        };
        // Spreadsheets begin UTF-8 with a byte order mark.
        let line = if self.line == 1 {
            line.strip_prefix('\u{feff}').unwrap_or(line)
        } else {
            line
        };
        if line.trim().is_empty() {
            return Ok(());
        }
        let fields = match self.format {
            Format::Ndjson => match serde_json::from_str::<Fields<'_>>(line) {
                Ok(fields) => Ok(fields),
                Err(error) => Err(vec![Problem::at(self.line, "", json_problem(&error))]),
            },
            Format::Csv if line.starts_with('#') => return Ok(()),
            Format::Csv => match &mut self.csv {
                Some(csv) => csv
                    .fields(line)
                    .map_err(|words| vec![Problem::at(self.line, "", words)]),
                None => match Csv::by_header(line) {
                    Ok(csv) => {
                        self.csv = Some(csv);
                        return Ok(());
                    }
                    Err(words) => {
                        let all = words.into_iter().map(|words| Problem::at(self.line, "", words));
                        self.problems.extend(all);
                        // The rest is unreadable.
                        self.stopped = true;
                        return Ok(());
                    }
                },
            },
        };
        match fields.and_then(|fields| row(&fields, self.line, self.mode, &self.territories)) {
            Ok(row) => {
                self.rows += 1;
                take(row)?;
            }
            Err(problems) => self.problems.extend(problems),
        }
        Ok(())
    }
}

/// The problem with a line of JSON, without serde's line number, which is always 1.
fn json_problem(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let words = words.strip_suffix(&place).unwrap_or(&words);
    format!(
        "is not a JSON object with the members of an entry: {words} (column {})",
        error.column()
    )
}

/// Parses the fields of a line, or finds all faults in them.
fn row(fields: &Fields<'_>, line: u64, mode: Mode, territories: &Territories) -> Result<Row, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut fault = |column, words: &dyn std::fmt::Display| problems.push(Problem::at(line, column, words.to_string()));
    let kind = fields.kind.trim().parse::<Kind>();
    let key = match kind {
        Ok(kind) => Key::new(kind, &fields.key).map_err(|error| fault(KEY, &error)).ok(),
        Err(error) => {
            fault(KIND, &error);
            None
        }
    };
    let removes = match fields.action.trim() {
        "" | "set" => false,
        "remove" if mode == Mode::Replace => {
            fault(
                ACTION,
                &"is remove, but a file that replaces the register removes nothing by name",
            );
            true
        }
        "remove" => true,
        other => {
            let words = format!("`{}` is not an action; use set or remove", shown(other));
            fault(ACTION, &words);
            false
        }
    };
    let mut validity = Validity::default();
    let mut operated = None;
    if !removes {
        let from = entry::day(fields.valid_from.trim()).map_err(|error| fault(VALID_FROM, &error));
        let to = entry::day(fields.valid_to.trim()).map_err(|error| fault(VALID_TO, &error));
        if let (Ok(from), Ok(to)) = (from, to) {
            validity = Validity { from, to };
            if let (Some(from), Some(to)) = (from, to)
                && to < from
            {
                fault(VALID_TO, &entry::InvalidEntry::Ends { from, to });
            }
        }
        let operator = entry::operator(&fields.operator).map_err(|error| fault(OPERATOR, &error));
        let place = Place::new(fields.place.trim(), territories).map_err(|error| fault(PLACE, &error));
        if let (Ok(operator), Ok(place)) = (operator, place) {
            operated = Some((place, operator.to_owned()));
        }
    }
    match key {
        Some(key) if problems.is_empty() => Ok(Row {
            key,
            validity,
            line,
            operated,
        }),
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file in pieces of a size. Returns its rows in short form, and its faults as `line
    /// column: words`.
    fn read_in(size: usize, format: Format, mode: Mode, file: &[u8]) -> (Vec<String>, Vec<String>) {
        let mut reader = Reader::new(format, mode, Territories::shipped().clone());
        let mut rows = Vec::new();
        let mut take = |row: Row| {
            let Validity { from, to } = row.validity;
            let (place, operator) = row.operated.map_or_else(
                || ("removed".to_owned(), String::new()),
                |(place, operator)| (place.to_string(), operator),
            );
            let days = format!("{}..{}", entry::day_text(from), entry::day_text(to));
            rows.push(
                format!("{} {} {place} {days} {operator}", row.line, row.key.stored())
                    .trim_end()
                    .to_owned(),
            );
            Ok::<_, std::convert::Infallible>(())
        };
        for piece in file.chunks(size) {
            if !reader.has_enough() {
                reader.feed(piece, &mut take).unwrap();
            }
        }
        reader.finish(&mut take).unwrap();
        let problems = reader.problems().iter();
        let problems = problems.map(|problem| format!("{} {}: {}", problem.line, problem.column, problem.description));
        (rows, problems.collect())
    }

    /// Reads a file as a whole, and checks that pieces of any size give the same result.
    fn read(format: Format, mode: Mode, file: &[u8]) -> (Vec<String>, Vec<String>) {
        let whole = read_in(file.len().max(1), format, mode, file);
        for size in [1, 2, 7, 4_096] {
            assert_eq!(read_in(size, format, mode, file), whole, "pieces of {size}");
        }
        whole
    }

    #[track_caller]
    fn reads(format: Format, file: &str, expected: &[&str]) {
        assert_eq!(
            read(format, Mode::Change, file.as_bytes()),
            (expected.iter().map(|row| (*row).to_owned()).collect(), vec![])
        );
    }

    /// Compares the beginning of each fault.
    #[track_caller]
    fn faults(format: Format, mode: Mode, file: &[u8], expected: &[&str]) {
        let (_, problems) = read(format, mode, file);
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem} is not {expected}");
        }
    }

    #[test]
    fn comma_separated_values_are_read_in_any_order_of_columns() {
        let file = "\u{feff}key,kind,operator,place,valid_to,valid_from\r\n\
                    # a comment\r\n\
                    \r\n\
                    Shop.例子.cn.,domain,\"Beispiel, \"\"die\"\" Firma\",350200,,2026-01-01\r\n\
                    cn.example.loan,app,,US,2026-12-31,\r\n\
                    示例视频,platform,,320504,,";
        let expected = [
            "4 domain:shop.xn--fsqu00a.cn 350200 2026-01-01.. Beispiel, \"die\" Firma",
            "5 app:cn.example.loan US ..2026-12-31",
            "6 platform:示例视频 320504 ..",
        ];
        reads(Format::Csv, file, &expected);
    }

    /// Which spreadsheets write.
    #[test]
    fn a_byte_order_mark_begins_either_format() {
        let json = "\u{feff}{\"kind\": \"domain\", \"key\": \"example.cn\", \"place\": \"350200\"}\n";
        reads(Format::Ndjson, json, &["1 domain:example.cn 350200 .."]);
        let csv = "\u{feff}kind,key,place\ndomain,example.cn,350200\n";
        reads(Format::Csv, csv, &["2 domain:example.cn 350200 .."]);
        let quoted = "\u{feff}\"kind\",\"key\",\"place\"\ndomain,example.cn,350200\n";
        reads(Format::Csv, quoted, &["2 domain:example.cn 350200 .."]);
        let comment = "\u{feff}# ours\nkind,key,place\ndomain,example.cn,350200\n";
        reads(Format::Csv, comment, &["3 domain:example.cn 350200 .."]);
    }

    #[test]
    fn json_is_read_line_by_line() {
        let file = r#"{"kind": "domain", "key": "example.cn", "place": "350200", "operator": "\u4f8b子"}

{"action": "remove", "key": "example.com", "kind": "domain"}
"#;
        reads(
            Format::Ndjson,
            file,
            &["1 domain:example.cn 350200 .. 例子", "3 domain:example.com removed .."],
        );
    }

    #[test]
    fn all_faults_are_reported_by_line_and_column() {
        let file = "kind,key,place,valid_from,valid_to,operator,action\n\
                    domain,example.cn,999999,,,,\n\
                    domain,exa mple.cn,350200,,,,\n\
                    domain,com.cn,350200,,,,\n\
                    site,example.cn,350200,,,,\n\
                    domain,,Xiamen,2026-02-30,tomorrow,,drop\n\
                    domain,example.cn,350200,2026-03-01,2026-02-28,,\n\
                    domain,example.cn,350200\n\
                    domain,\"example.cn,350200,,,,\n\
                    domain,good.example.cn,350200,,,,\n";
        let expected = [
            "2 place: the tree has no territory 999999",
            "3 key: `exa mple.cn` is not a domain name",
            "4 key: `com.cn` is a public suffix",
            "5 kind: `site` is not a kind",
            "6 key: is missing",
            "6 action: `drop` is not an action",
            "6 valid_from: `2026-02-30` is not a date",
            "6 valid_to: `tomorrow` is not a date",
            "6 place: `Xiamen` is not a place",
            "7 valid_to: 2026-02-28 is before valid_from, 2026-03-01",
            "8 : has 3 fields, but the first line names 7",
            "9 : a quotation mark is not closed",
        ];
        faults(Format::Csv, Mode::Change, file.as_bytes(), &expected);
        assert_eq!(
            read(Format::Csv, Mode::Change, file.as_bytes()).0.len(),
            1,
            "the last line is valid"
        );

        let file = r#"{"kind": "domain", "key": "example.cn", "place": "999999"}
{"kind": "domain", "key": "example.cn", "place": "350200", "owner": "x"}
{"kind": "domain", "place": "350200"}
["domain"]
{"kind": "domain", "key": 7, "place": "350200"}
{"kind": "#;
        let expected = [
            "1 place: the tree has no territory 999999",
            "2 : is not a JSON object with the members of an entry: unknown field `owner`, expected one of",
            "3 : is not a JSON object with the members of an entry: missing field `key`",
            "4 : is not",
            "5 : is not a JSON object with the members of an entry: invalid type: integer `7`",
            "6 : is not a JSON object with the members of an entry: EOF",
        ];
        faults(Format::Ndjson, Mode::Change, file.as_bytes(), &expected);
    }

    #[test]
    fn the_header_must_name_the_columns() {
        for (header, expected) in [
            ("kind,key", &["1 : the column place is missing"][..]),
            (
                "kind,key,place,owner,key",
                &[
                    "1 : `owner` is not a column; the columns are kind, key,",
                    "1 : the column key occurs twice",
                ],
            ),
            ("\"kind", &["1 : a quotation mark is not closed"]),
            (&",".repeat(64), &["1 : the line has more than 64 fields"]),
        ] {
            // The rest is not read: every line would be faulty.
            let file = format!("{header}\ndomain,com.cn\ndomain,com.cn\n");
            faults(Format::Csv, Mode::Change, file.as_bytes(), expected);
        }
    }

    #[test]
    fn an_empty_file_and_one_without_entries_are_refused() {
        for (format, file, expected) in [
            (Format::Csv, "", "0 : the file is empty"),
            (Format::Csv, "\n# nothing\n", "0 : the file is empty"),
            (Format::Csv, "kind,key,place\n", "0 : the file has no entries"),
            (Format::Ndjson, "", "0 : the file has no entries"),
        ] {
            for mode in [Mode::Replace, Mode::Change] {
                faults(format, mode, file.as_bytes(), &[expected]);
            }
        }
    }

    #[test]
    fn a_replacement_removes_nothing_by_name() {
        let file = b"kind,key,place,action\ndomain,example.cn,,remove\n";
        faults(Format::Csv, Mode::Replace, file, &["2 action: is remove"]);
    }

    #[test]
    fn invalid_utf_8_and_overlong_lines_are_reported_by_line() {
        let mut file = b"kind,key,place\ndomain,ex\xffample.cn,350200\n".to_vec();
        file.extend_from_slice("x".repeat(LINE + 1).as_bytes());
        file.extend_from_slice(b"\ndomain,good.example.cn,350200\n");
        file.extend_from_slice("y".repeat(100 * LINE).as_bytes());
        let expected = [
            "2 : byte 10 is not UTF-8",
            "3 : the line has more than 8192 bytes",
            "5 : the line has more than 8192 bytes",
        ];
        faults(Format::Csv, Mode::Change, &file, &expected);
        assert_eq!(read(Format::Csv, Mode::Change, &file).0.len(), 1);

        let longest = format!("kind,key,place\n#{}\ndomain,example.cn,US\n", "x".repeat(LINE - 1));
        reads(Format::Csv, &longest, &["3 domain:example.cn US .."]);
    }

    #[test]
    fn memory_and_number_of_faults_are_bounded() {
        let mut reader = Reader::new(Format::Csv, Mode::Change, Territories::shipped().clone());
        let mut take = |_: Row| Ok::<_, std::convert::Infallible>(());
        for _ in 0..1_000 {
            reader.feed(&[b'x'; 10_000], &mut take).unwrap();
            assert!(reader.begun.capacity() <= 4 * LINE, "{}", reader.begun.capacity());
        }
        reader.feed(b"\nkind,key,place\n", &mut take).unwrap();
        let piece = "domain,com.cn,350200\n".repeat(100);
        let mut fed = 0;
        while !reader.has_enough() {
            reader.feed(piece.as_bytes(), &mut take).unwrap();
            fed += 1;
        }
        reader.finish(&mut take).unwrap();
        assert_eq!((reader.problems().len(), fed), (PROBLEMS, 10));
    }
}
