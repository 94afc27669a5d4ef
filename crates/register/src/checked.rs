//! Rows of a file against each other: names with their entries, or what contradicts what.

use std::io;

use journal::Bytes32;
use sha2::{Digest as _, Sha256};

use crate::{
    entry::{Entry, day_text},
    file::{Mode, Problem, Row},
    key::Key,
    sorted::Merge,
};

/// Entries of one name at most: it and they are held in memory.
const PERIODS: usize = 1_000;

/// A name with all its entries, or with none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub key: Key,
    /// Its entries, earliest first; none to remove it.
    pub entries: Vec<Entry>,
}

/// Gives names in their order.
#[derive(Debug)]
pub struct Checked {
    rows: Merge,
}

impl Checked {
    /// Of sorted rows.
    pub fn new(rows: Merge) -> Self {
        Self { rows }
    }

    /// The next names, with about so many entries, and whether there may be more. What contradicts itself goes to `problems` in
    /// place of its name.
    pub fn next_groups(&mut self, entries: usize, problems: &mut Vec<Problem>) -> io::Result<(Vec<Group>, bool)> {
        let mut groups = Vec::new();
        let mut count = 0;
        while count < entries {
            let Some(first) = self.rows.next_row()? else {
                return Ok((groups, false));
            };
            let key = first.key.clone();
            let mut group = Gathered::default();
            group.take(first);
            while let Some(row) = self.rows.next_row_of(&key)? {
                group.take(row);
            }
            count += 1 + group.entries.len();
            if group.problems.is_empty() {
                let entries = group.entries;
                groups.push(Group { key, entries });
            } else {
                problems.extend(group.problems);
            }
        }
        Ok((groups, true))
    }
}

/// The rows of one name.
#[derive(Default)]
struct Gathered {
    entries: Vec<Entry>,
    /// Line of the entry that holds longest, which is the last of `reach`.
    reach: Option<(Entry, u64)>,
    removed: Option<u64>,
    problems: Vec<Problem>,
}

impl Gathered {
    fn take(&mut self, row: Row) {
        let (key, line) = (row.key.clone(), row.line);
        let Some((place, operator)) = row.operated else {
            let other = self.removed.or(self.reach.as_ref().map(|(_, line)| *line));
            if let Some(other) = other {
                self.contradicts(
                    other,
                    line,
                    &format!("{key} is removed on this line, and stands on line {{}} too"),
                );
            }
            self.removed.get_or_insert(line);
            return;
        };
        let entry = Entry {
            key: row.key,
            validity: row.validity,
            place,
            operator,
        };
        if let Some(other) = self.removed {
            self.contradicts(
                line,
                other,
                &format!("{key} is removed on this line, and stands on line {{}} too"),
            );
        }
        match &self.reach {
            // Rows come by their first day: whoever overlaps an earlier one overlaps the one that reaches furthest.
            Some((other, at)) if other.validity.overlaps(&entry.validity) => {
                let words =
                    format!("{key} has another entry at the same time, on line {{}}; end one before the other begins");
                self.contradicts(*at, line, &words);
            }
            _ => {}
        }
        let until = |entry: &Entry| (entry.validity.to.is_none(), entry.validity.to);
        if self
            .reach
            .as_ref()
            .is_none_or(|(reach, _)| until(reach) < until(&entry))
        {
            self.reach = Some((entry.clone(), line));
        }
        if self.entries.len() < PERIODS {
            self.entries.push(entry);
        } else if self.problems.is_empty() {
            let words = format!("{key} has more than {PERIODS} entries");
            self.problems.push(Problem::at(line, "key", words));
        }
    }

    /// Two lines, named by the later one; `{}` in the words stands for the other.
    fn contradicts(&mut self, a: u64, b: u64, words: &str) {
        let (other_line, line) = (a.min(b), a.max(b));
        self.problems.push(Problem {
            line,
            other_line,
            column: "key",
            description: words.replace("{}", &other_line.to_string()),
        });
    }
}

/// The digest of a register's content, taken in the order of names.
#[derive(Clone, Debug)]
pub struct Digest(Sha256);

impl Digest {
    /// Of a whole register, or of changes to one with a digest.
    pub fn new(mode: Mode, base: &Bytes32) -> Self {
        Self(match mode {
            Mode::Replace => Sha256::new().chain_update(b"remit-operators-v1\n"),
            Mode::Change => Sha256::new()
                .chain_update(b"remit-operators-change-v1\n")
                .chain_update(base),
        })
    }

    /// Takes the next name.
    pub fn take(&mut self, group: &Group) {
        // No name has a tab or a line break.
        let mut line = |parts: &[&str]| {
            for part in parts {
                self.0.update(part);
                self.0.update(b"\t");
            }
            self.0.update(b"\n");
        };
        let key = group.key.stored();
        if group.entries.is_empty() {
            line(&[&key, "removed"]);
        }
        for entry in &group.entries {
            let (from, to) = (day_text(entry.validity.from), day_text(entry.validity.to));
            line(&[&key, &from, &to, &entry.place.to_string(), &entry.operator]);
        }
    }

    /// The digest.
    pub fn finish(self) -> Bytes32 {
        self.0.finalize().into()
    }
}
