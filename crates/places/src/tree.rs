//! The tree in memory: the file's text, and its rows as nodes.

use std::sync::OnceLock;

use crate::TerritoryCode;

/// The columns of the file.
pub(crate) const COLUMNS: [&str; 7] = [
    "code",
    "name_zh",
    "name_en",
    "pinyin",
    "valid_from",
    "valid_to",
    "successor",
];

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
    /// The nearest territory above that is in force; for the nation, itself.
    pub(crate) parent: u32,
    /// For an abolished code: the node to read instead, which may be abolished, too. Otherwise
    /// itself.
    pub(crate) next: u32,
    pub(crate) standing: Standing,
}

/// Whether a code is in force and, if not, how it resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    InForce,
    Succeeded,
    /// Abolished without a certain successor: resolves to the territory above.
    Dissolved,
}
