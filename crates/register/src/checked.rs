//! Validates a file's rows against each other: groups them by name, or reports contradictions.

use std::io;

use journal::Bytes32;
use sha2::{Digest as _, Sha256};

use crate::{
    entry::{Entry, day_text},
    file::{Mode, Problem, Row},
    key::Key,
    sorted::Merge,
};

/// Maximum number of entries per name: all of them are held in memory.
const PERIODS: usize = 1_000;

/// A name with all its entries, or with none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub key: Key,
    /// Its entries, earliest first; empty to remove it.
    pub entries: Vec<Entry>,
}

/// Yields names in order.
#[derive(Debug)]
pub struct Checked {
    rows: Merge,
}

impl Checked {
    /// Validates sorted rows.
    pub fn new(rows: Merge) -> Self {
        Self { rows }
    }

    /// Returns the next names, with about `entries` entries in total, and whether there may be
    /// more. Contradictory names are reported in `problems` instead.
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
    /// The entry that lasts longest, with its line.
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
                    &format!("{key} is removed on this line, but also occurs on line {{}}"),
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
                &format!("{key} is removed on this line, but also occurs on line {{}}"),
            );
        }
        match &self.reach {
            // Rows are ordered by first day: an entry that overlaps any earlier one overlaps the
            // one that lasts longest.
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

    /// Reports two contradictory lines at the later one; `{}` in `words` stands for the other.
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

/// The digest of a register's content, taken in order of names.
#[derive(Clone, Debug)]
pub struct Digest(Sha256);

impl Digest {
    /// The digest of a whole register, or of changes to one with the digest `base`.
    pub fn new(mode: Mode, base: &Bytes32) -> Self {
        Self(match mode {
            Mode::Replace => Sha256::new().chain_update(b"remit-operators-v1\n"),
            Mode::Change => Sha256::new()
                .chain_update(b"remit-operators-change-v1\n")
                .chain_update(base),
        })
    }

    /// Adds the next name.
    pub fn take(&mut self, group: &Group) {
        // Names contain no tabs or line breaks.
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

    /// Returns the digest.
    pub fn finish(self) -> Bytes32 {
        self.0.finalize().into()
    }
}
