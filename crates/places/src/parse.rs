//! Reads the tree from its file and checks it whole, so that climbing it later cannot fail.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::TerritoryCode;
use crate::territories::{Node, SUCCESSIONS, Territories};

const COLUMNS: [&str; 6] = ["code", "name_zh", "name_en", "pinyin", "valid_to", "successor"];

/// The file has faults; all of them are listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file of territories has {} fault(s):{}", faults.len(), lines(faults))]
pub struct TerritoriesError {
    /// The faults, in the order of the lines.
    pub faults: Vec<Fault>,
}

/// One fault of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column's place in the row, from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = COLUMNS.get(self.column.saturating_sub(1)).unwrap_or(&"after the last");
        write!(
            f,
            "line {}, column {} ({name}): {}",
            self.line, self.column, self.problem
        )
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// See [`Territories::parse`].
pub(crate) fn territories(csv: &str) -> Result<Territories, TerritoriesError> {
    let mut reader = Reader {
        csv,
        faults: Vec::new(),
        rows: BTreeMap::new(),
    };
    if u32::try_from(csv.len()).is_err() {
        reader.fault(1, 1, "the file is larger than 4 GiB; leave out what is not a territory");
    } else {
        reader.read();
        reader.check();
    }
    let Reader { mut faults, rows, .. } = reader;
    if faults.is_empty() {
        let nodes = rows.into_values().map(|(_, node)| node).collect();
        return Ok(Territories {
            source: csv.into(),
            nodes,
        });
    }
    faults.sort();
    Err(TerritoriesError { faults })
}

struct Reader<'a> {
    csv: &'a str,
    faults: Vec<Fault>,
    /// By code, with the line.
    rows: BTreeMap<TerritoryCode, (usize, Node)>,
}

impl<'a> Reader<'a> {
    fn fault(&mut self, line: usize, column: usize, problem: impl Into<String>) {
        self.faults.push(Fault {
            line,
            column,
            problem: problem.into(),
        });
    }

    fn read(&mut self) {
        let mut header = false;
        let mut start = 0;
        for (number, raw) in self.csv.split_inclusive('\n').enumerate() {
            let (line, row) = (number + 1, raw.trim_end_matches(['\n', '\r']));
            let at = start;
            start += raw.len();
            if row.is_empty() || row.starts_with('#') {
            } else if header {
                self.row(line, at, row);
            } else if row.split(',').eq(COLUMNS) {
                header = true;
            } else {
                return self.fault(
                    line,
                    1,
                    format!("the first row must name the columns: {}", COLUMNS.join(",")),
                );
            }
        }
        if !header {
            self.fault(
                1,
                1,
                format!("the file is empty; begin with the row {}", COLUMNS.join(",")),
            );
        }
    }

    fn row(&mut self, line: usize, start: usize, row: &'a str) {
        // Fields are ranges of the text, so quoting (RFC 4180) is refused instead of undone: no name needs it.
        if let Some(column) = row.split(',').position(|field| field.contains('"')) {
            return self.fault(
                line,
                column + 1,
                "quotes are not read; write the name without quotes and commas",
            );
        }
        let mut at = start;
        let fields: Vec<(&str, Range<u32>)> = row
            .split(',')
            .map(|field| {
                let from = at;
                at += field.len() + 1;
                (field, offset(from)..offset(from + field.len()))
            })
            .collect();
        let count = fields.len();
        let Ok([code, name_zh, name_en, pinyin, valid_to, successor]) = <[_; 6]>::try_from(fields) else {
            return self.fault(
                line,
                count.min(7),
                format!("the row has {count} fields; write {}", COLUMNS.len()),
            );
        };
        let before = self.faults.len();
        for (column, (name, _)) in [(2, &name_zh), (3, &name_en)] {
            if name.trim().is_empty() {
                self.fault(line, column, "the name is missing; write one");
            }
        }
        if !valid_to.0.is_empty() && !is_date(valid_to.0) {
            self.fault(
                line,
                5,
                format!("`{}` is not a date; write it as 2012-12-31, or nothing", valid_to.0),
            );
        }
        let successor = self.code(line, 6, successor.0, true);
        if successor.is_some() && valid_to.0.is_empty() {
            self.fault(
                line,
                5,
                "a territory with a successor needs the last day on which it existed; write it here",
            );
        }
        let Some(code) = self.code(line, 1, code.0, false) else {
            return;
        };
        if let Some((first, _)) = self.rows.get(&code) {
            let problem = format!("{code} stands in line {first} already; remove one of the two");
            return self.fault(line, 1, problem);
        }
        if self.faults.len() == before {
            let node = Node {
                code,
                successor,
                name_zh: name_zh.1,
                name_en: name_en.1,
                pinyin: pinyin.1,
                valid_to: valid_to.1,
            };
            self.rows.insert(code, (line, node));
        }
    }

    fn code(&mut self, line: usize, column: usize, text: &str, optional: bool) -> Option<TerritoryCode> {
        if optional && text.is_empty() {
            return None;
        }
        text.parse()
            .map_err(|error: crate::InvalidCode| self.fault(line, column, error.to_string()))
            .ok()
    }

    /// Checks what needs all rows. Skipped while rows are missing: every row under a faulty one would be named too.
    fn check(&mut self) {
        if !self.faults.is_empty() {
            return;
        }
        let mut faults = Vec::new();
        let mut fault = |line: usize, column, problem| faults.push(Fault { line, column, problem });
        let in_force = |code| self.rows.get(&code).is_some_and(|(_, node)| node.valid_to.is_empty());
        if !in_force(TerritoryCode::ROOT) {
            fault(1, 1, "the nation is missing; add a row that begins with CN".to_owned());
        }
        for (line, node) in self.rows.values() {
            // The last level by the code's form but one is the province.
            let levels: Vec<_> = node.code.above().collect();
            if let [.., province, _root] = levels[..]
                && node.valid_to.is_empty()
                && !in_force(province)
            {
                fault(
                    *line,
                    1,
                    format!("{} lies in {province}, which the file lacks; add its row", node.code),
                );
            }
            let mut next = node.successor;
            let mut steps = 0;
            while let Some(code) = next {
                steps += 1;
                next = match self.rows.get(&code) {
                    None => {
                        fault(
                            *line,
                            6,
                            format!("the successor {code} is not in the file; add its row or name another"),
                        );
                        None
                    }
                    Some(_) if steps > SUCCESSIONS => {
                        let end = format!("more than {SUCCESSIONS} successors, or a circle; name the code in force");
                        fault(*line, 6, end);
                        None
                    }
                    Some((_, node)) => node.successor,
                };
            }
        }
        self.faults = faults;
    }
}

/// Offsets fit: files above 4 GiB were refused before.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Whether a text has the form of an ISO 8601 date. The day is for people; nothing computes with it.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
