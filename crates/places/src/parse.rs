//! Parses the territory file and validates it as a whole, so that later climbs cannot fail.

use std::fmt;
use std::sync::OnceLock;

use crate::TerritoryCode;
use crate::code::Level;
use crate::tree::{COLUMNS, Node, SUCCESSIONS, Standing, Tree};

/// The territory file has faults. Lists all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the territory file has {} fault(s):{}", faults.len(), lines(faults))]
pub struct TerritoriesError {
    /// The faults, ordered by line.
    pub faults: Vec<Fault>,
}

/// One fault in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// Position of the column in the row, from 1.
    pub column: usize,
    /// The problem and how to fix it.
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

/// Implements [`crate::Territories::parse`].
pub(crate) fn territories(csv: &str) -> Result<Tree, TerritoriesError> {
    let mut reader = Reader {
        csv,
        faults: Vec::new(),
        rows: Vec::new(),
    };
    if u32::try_from(csv.len()).is_err() {
        reader.fault(
            1,
            1,
            "the file is larger than 4 GiB; remove everything that is not a territory",
        );
    } else {
        reader.read();
    }
    // Linking needs all rows. With rows missing, every row below a faulty one would be reported,
    // too.
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

/// A well-formed row.
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
    /// Ordered by line; `nodes` sorts them by code.
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
        // Names are slices of the file's text, so quotes (RFC 4180) are refused instead of
        // unescaped. No name needs them.
        if let Some(column) = row.split(',').position(|field| field.contains('"')) {
            return self.fault(
                line,
                column + 1,
                "quotes are not supported; write the name without quotes and commas",
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
            self.fault(line, 6, "it ends before it begins; correct one of the two dates");
        }
        let successor = self.code(line, 7, successor, true);
        if successor.is_some() && valid_to.is_empty() {
            self.fault(
                line,
                6,
                "a territory with a successor needs its last day of validity; add it here",
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

    /// Sorts and links the rows.
    fn nodes(&mut self) -> Vec<Node> {
        // A stable sort, and fast on sorted rows like those of the shipped file.
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
                    "{} is already defined in line {}; remove one of the two",
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
                    format!(
                        "{} lies in {lacking}, which is missing from the file; add its row",
                        row.code
                    ),
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
                // The territory above may be abolished, too, and have a successor.
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
                let end = format!("more than {SUCCESSIONS} successors, or a cycle; use the code in force");
                fault(Some(row), 7, end);
            }
        }
        self.faults = faults;
        nodes
    }
}

/// Returns the territory that must exist for another to be placed in the tree: the county of a
/// township, otherwise the province. Not every county has a city above it.
fn needed(code: TerritoryCode) -> Option<TerritoryCode> {
    match code.level() {
        Level::Township => code.above().next(),
        Level::City | Level::County => code.above().take_while(|above| *above != TerritoryCode::ROOT).last(),
        Level::Nation | Level::Province => None,
    }
}

/// Offsets and line counts fit: files above 4 GiB are refused earlier.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Whether a text has the form of an ISO 8601 date. The date is informative only; nothing computes
/// with it.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
