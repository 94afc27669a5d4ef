//! Reads the tree from its file and checks it whole, so that climbing it later cannot fail.

use std::fmt;
use std::sync::OnceLock;

use crate::TerritoryCode;
use crate::code::Level;
use crate::territories::{Node, SUCCESSIONS, Standing, Tree};

pub(crate) const COLUMNS: [&str; 7] = [
    "code",
    "name_zh",
    "name_en",
    "pinyin",
    "valid_from",
    "valid_to",
    "successor",
];

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

/// See [`crate::Territories::parse`].
pub(crate) fn territories(csv: &str) -> Result<Tree, TerritoriesError> {
    let mut reader = Reader {
        csv,
        faults: Vec::new(),
        rows: Vec::new(),
    };
    if u32::try_from(csv.len()).is_err() {
        reader.fault(1, 1, "the file is larger than 4 GiB; leave out what is not a territory");
    } else {
        reader.read();
    }
    // The nodes need all rows. While rows are missing, every row under a faulty one would be named too.
    let nodes = match reader.faults.is_empty() {
        true => reader.nodes(),
        false => Vec::new(),
    };
    let Reader { mut faults, rows, .. } = reader;
    if faults.is_empty() {
        return Ok(Tree {
            source: csv.into(),
            codes: rows.iter().map(|row| row.code).collect(),
            nodes: nodes.into(),
            digest: OnceLock::new(),
        });
    }
    faults.sort();
    Err(TerritoriesError { faults })
}

/// A row that can be read.
struct Row {
    code: TerritoryCode,
    line: u32,
    start: u32,
    in_force: bool,
    successor: Option<TerritoryCode>,
}

struct Reader<'a> {
    csv: &'a str,
    faults: Vec<Fault>,
    /// In the order of the lines, and then of the codes.
    rows: Vec<Row>,
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

    fn row(&mut self, line: usize, start: usize, row: &str) {
        // Names stay in the text, so quoting (RFC 4180) is refused instead of undone: no name needs it.
        if let Some(column) = row.split(',').position(|field| field.contains('"')) {
            return self.fault(
                line,
                column + 1,
                "quotes are not read; write the name without quotes and commas",
            );
        }
        let mut fields = [""; COLUMNS.len()];
        let mut count = 0;
        for field in row.split(',') {
            if let Some(place) = fields.get_mut(count) {
                *place = field;
            }
            count += 1;
        }
        if count != COLUMNS.len() {
            return self.fault(
                line,
                count.min(COLUMNS.len() + 1),
                format!("the row has {count} fields; write {}", COLUMNS.len()),
            );
        }
        let [code, name_zh, name_en, pinyin, valid_from, valid_to, successor] = fields;
        let before = self.faults.len();
        let code = self.code(line, 1, code, false);
        if name_zh.trim().is_empty() {
            self.fault(line, 2, "the name is missing; write one");
        }
        let needs_english = code.is_none_or(|code| code.level() != Level::Township) || pinyin.is_empty();
        if name_en.trim().is_empty() && needs_english {
            self.fault(line, 3, "the name is missing; write one");
        }
        for (column, day) in [(5, valid_from), (6, valid_to)] {
            if !day.is_empty() && !is_date(day) {
                self.fault(
                    line,
                    column,
                    format!("`{day}` is not a date; write it as 2012-12-31, or nothing"),
                );
            }
        }
        if !valid_to.is_empty() && valid_to < valid_from {
            self.fault(line, 6, "it ended before it began; mend one of the two days");
        }
        let successor = self.code(line, 7, successor, true);
        if successor.is_some() && valid_to.is_empty() {
            self.fault(
                line,
                6,
                "a territory with a successor needs the last day on which it existed; write it here",
            );
        }
        if let Some(code) = code
            && self.faults.len() == before
        {
            self.rows.push(Row {
                code,
                line: offset(line),
                start: offset(start),
                in_force: valid_to.is_empty(),
                successor,
            });
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

    /// Puts the rows in order, and links them: what needs all of them.
    fn nodes(&mut self) -> Vec<Node> {
        // A stable sort, and a quick one on rows that are in order, as those of the shipped file are.
        self.rows.sort_by_key(|row| row.code);
        let rows = &self.rows;
        let mut faults = Vec::new();
        let mut fault = |row: Option<&Row>, column, problem| {
            let line = row.map_or(1, |row| row.line as usize);
            faults.push(Fault { line, column, problem });
        };
        for pair in rows.windows(2) {
            if let [first, second] = pair
                && first.code == second.code
            {
                let problem = format!(
                    "{} stands in line {} already; remove one of the two",
                    first.code, first.line
                );
                fault(Some(second), 1, problem);
            }
        }
        let find = |code: TerritoryCode| rows.binary_search_by_key(&code, |row| row.code).ok();
        let is_in_force = |place: &usize| rows[*place].in_force;
        if find(TerritoryCode::ROOT).filter(is_in_force).is_none() {
            fault(
                None,
                1,
                "the nation is missing; add a row that begins with CN".to_owned(),
            );
        }
        let mut nodes = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            let above = |find_in: &dyn Fn(&usize) -> bool| row.code.above().filter_map(find).find(find_in);
            let parent = above(&is_in_force).unwrap_or(place);
            if let Some(lacking) = needed(row.code).filter(|needed| find(*needed).filter(is_in_force).is_none())
                && row.in_force
            {
                fault(
                    Some(row),
                    1,
                    format!("{} lies in {lacking}, which the file lacks; add its row", row.code),
                );
            }
            let successor = row.successor.map(|code| (code, find(code)));
            if let Some((code, None)) = successor {
                let problem = format!("the successor {code} is not in the file; add its row or name another");
                fault(Some(row), 7, problem);
            }
            let (next, standing) = match (row.in_force, successor) {
                (true, _) => (place, Standing::InForce),
                (false, Some((_, next))) => (next.unwrap_or(place), Standing::Succeeded),
                // What it lay in may be abolished, too, and have a successor of its own.
                (false, None) => (above(&|_| true).unwrap_or(place), Standing::Dissolved),
            };
            nodes.push(Node {
                row: row.start,
                parent: offset(parent),
                next: offset(next),
                standing,
            });
        }
        for (row, node) in rows.iter().zip(&nodes) {
            let mut at = node;
            let mut steps = 0;
            while at.standing != Standing::InForce && steps <= SUCCESSIONS {
                at = &nodes[at.next as usize];
                steps += 1;
            }
            if steps > SUCCESSIONS && row.successor.is_none_or(|code| find(code).is_some()) {
                let end = format!("more than {SUCCESSIONS} successors, or a circle; name the code in force");
                fault(Some(row), 7, end);
            }
        }
        self.faults = faults;
        nodes
    }
}

/// The territory without which another has no place in the tree: a township's county, else the province. Cities between a
/// county and its province are not everywhere.
fn needed(code: TerritoryCode) -> Option<TerritoryCode> {
    match code.level() {
        Level::Township => code.above().next(),
        Level::City | Level::County => code.above().take_while(|above| *above != TerritoryCode::ROOT).last(),
        Level::Nation | Level::Province => None,
    }
}

/// Offsets and counts of lines fit: files above 4 GiB were refused before.
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
