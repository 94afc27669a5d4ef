//! The tree in memory: the file's text, and its rows as nodes.

use std::sync::OnceLock;

use jiff::civil::Date;

use crate::TerritoryCode;

/// The columns of the file.
pub(crate) const COLUMNS: [&str; 9] = [
    "code",
    "name_zh",
    "name_en",
    "pinyin",
    "valid_from",
    "valid_to",
    "successor",
    "parts",
    "formerly",
];

/// Columns at the end that a row may leave out, as almost all do.
pub(crate) const OPTIONAL: usize = 2;

/// Maximum number of steps from an abolished code to one in force. Longer paths fail to load, so
/// none is cut short.
pub(crate) const SUCCESSIONS: usize = 8;

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) source: Box<str>,
    /// Ascending. Separate from the nodes, so that a look-up touches few cache lines.
    pub(crate) codes: Box<[TerritoryCode]>,
    /// Ordered by code.
    pub(crate) nodes: Box<[Node]>,
    pub(crate) digest: OnceLock<[u8; 32]>,
}

/// One row of the file. References to other nodes are indexes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// Offset of the row in the text.
    pub(crate) row: u32,
    /// The nearest territory above by its digits, whether in force or not; for the nation, itself.
    pub(crate) above: u32,
    /// After its end: the node to read instead, which may have ended, too. Otherwise itself.
    pub(crate) next: u32,
    /// What `next` is.
    pub(crate) onward: Onward,
    /// The first day; the earliest there is if it is unknown.
    pub(crate) from: Date,
    /// The last day, or that of the territory it cannot be without; the latest there is if none is
    /// known.
    pub(crate) to: Date,
}

impl Node {
    pub(crate) fn in_force(&self, day: Date) -> bool {
        self.from <= day && day <= self.to
    }

    /// Whether an end is known.
    pub(crate) fn ends(&self) -> bool {
        self.to != Date::MAX
    }
}

/// How a code that ended is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onward {
    /// As its successor.
    Successor,
    /// As the smallest territory that holds all its parts.
    Divided,
    /// As the territory that it lay in.
    Above,
}
