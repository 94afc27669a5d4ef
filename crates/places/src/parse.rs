//! Parses the territory file and validates it as a whole, so that later climbs cannot fail.

use std::fmt;
use std::sync::OnceLock;

use jiff::civil::Date;

use crate::TerritoryCode;
use crate::code::Level;
use crate::tree::{COLUMNS, Node, OPTIONAL, Onward, SUCCESSIONS, Tree};

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
    from: Date,
    to: Date,
    successor: Option<TerritoryCode>,
    parts: Vec<TerritoryCode>,
    formerly: Option<TerritoryCode>,
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
        let fewest = COLUMNS.len() - OPTIONAL;
        if !(fewest..=COLUMNS.len()).contains(&count) {
            return self.fault(
                line,
                count.min(COLUMNS.len() + 1),
                format!("the row has {count} fields; write {fewest} to {}", COLUMNS.len()),
            );
        }
        let [
            code,
            name_zh,
            name_en,
            pinyin,
            valid_from,
            valid_to,
            successor,
            parts,
            formerly,
        ] = fields;
        let before = self.faults.len();
        let code = self.code(line, 1, code, false);
        if name_zh.trim().is_empty() {
            self.fault(line, 2, "the name is missing; write one");
        }
        let needs_english = code.is_none_or(|code| code.level() != Level::Township) || pinyin.is_empty();
        if name_en.trim().is_empty() && needs_english {
            self.fault(line, 3, "the name is missing; write one");
        }
        let from = self.day(line, 5, valid_from).unwrap_or(Date::MIN);
        let to = self.day(line, 6, valid_to).unwrap_or(Date::MAX);
        if to < from {
            self.fault(line, 6, "it ends before it begins; correct one of the two dates");
        }
        let successor = self.code(line, 7, successor, true);
        let parts: Vec<_> = parts
            .split(' ')
            .filter_map(|part| self.code(line, 8, part, true))
            .collect();
        if (successor.is_some() || !parts.is_empty()) && valid_to.is_empty() {
            self.fault(
                line,
                6,
                "a territory with a successor or parts needs its last day of validity; add it here",
            );
        }
        let formerly = self.code(line, 9, formerly, true);
        let mut named: Vec<_> = parts.iter().chain(&successor).chain(&code).collect();
        named.sort();
        if named.windows(2).any(|pair| pair[0] == pair[1]) {
            self.fault(line, 8, "it names a code twice, or itself; remove one");
        }
        if formerly.is_some() && formerly == code {
            self.fault(line, 9, "it names itself; name the code that the earlier unit has now");
        }
        if let Some(code) = code
            && self.faults.len() == before
        {
            self.rows.push(Row {
                code,
                line: offset(line),
                start: offset(start),
                from,
                to,
                successor,
                parts,
                formerly,
            });
        }
    }

    fn day(&mut self, line: usize, column: usize, text: &str) -> Option<Date> {
        if text.is_empty() {
            return None;
        }
        // One spelling: the library would cut a time and a zone.
        let day = text.parse().ok().filter(|day: &Date| day.to_string() == text);
        if day.is_none() {
            let problem = format!("`{text}` is not a date; write it as 2012-12-31, or nothing");
            self.fault(line, column, problem);
        }
        day
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
        match find(TerritoryCode::ROOT).map(|place| &rows[place]) {
            None => fault(
                None,
                1,
                "the nation is missing; add a row that begins with CN".to_owned(),
            ),
            Some(nation) if (nation.from, nation.to) != (Date::MIN, Date::MAX) => fault(
                Some(nation),
                if nation.to == Date::MAX { 5 } else { 6 },
                "the nation is always in force; remove the date".to_owned(),
            ),
            Some(_) => {}
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            let above = row.code.above().find_map(find).unwrap_or(place);
            let needed = needed(row.code).map(|needed| (needed, find(needed)));
            if let Some((lacking, None)) = needed {
                fault(
                    Some(row),
                    1,
                    format!(
                        "{} lies in {lacking}, which is missing from the file; add its row",
                        row.code
                    ),
                );
            }
            // Codes above another are smaller, so that their nodes are there already.
            let end = needed
                .and_then(|(_, needed)| nodes.get(needed?))
                .map(|needed| needed.to);
            let to = match row.code {
                TerritoryCode::ROOT => Date::MAX,
                _ => row.to.min(end.unwrap_or(Date::MAX)),
            };
            for (column, code) in std::iter::empty()
                .chain(row.successor.map(|code| (7, code)))
                .chain(row.parts.iter().map(|code| (8, *code)))
                .chain(row.formerly.map(|code| (9, code)))
            {
                if find(code).is_none() {
                    let problem = format!("{code} is not in the file; add its row or name another");
                    fault(Some(row), column, problem);
                }
            }
            let (next, onward) = match row.successor {
                _ if to == Date::MAX => (Some(place), Onward::Above),
                Some(successor) if successor.level() < row.code.level() => (find(successor), Onward::Above),
                Some(successor) => (find(successor), Onward::Successor),
                None if row.parts.is_empty() => (Some(above), Onward::Above),
                None => (find(holding(&row.parts, &find)), Onward::Divided),
            };
            nodes.push(Node {
                row: row.start,
                above: offset(above),
                next: offset(next.unwrap_or(place)),
                onward,
                from: row.from,
                to,
            });
        }
        for (row, node) in rows.iter().zip(&nodes) {
            let mut at = node;
            let mut steps = 0;
            while at.ends() && steps <= SUCCESSIONS {
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

/// The smallest territory of the file that holds all of these, by their digits.
fn holding(parts: &[TerritoryCode], find: &impl Fn(TerritoryCode) -> Option<usize>) -> TerritoryCode {
    let holds = |above: &TerritoryCode| parts.iter().all(|part| part.is_within(*above));
    let mut above = parts.first().into_iter().flat_map(|first| first.above());
    above
        .find(|above| holds(above) && find(*above).is_some())
        .unwrap_or(TerritoryCode::ROOT)
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
