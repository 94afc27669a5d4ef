//! The tree of territories.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use crate::TerritoryCode;
use crate::parse::{self, TerritoriesError};

/// The tree of territories: the nation, its provinces, cities and counties, and the abolished codes that people still
/// write, each with its successor.
///
/// Immutable, and cheap to clone. Names are ranges of the file's text, which is kept once.
#[derive(Debug, Clone)]
pub struct Territories {
    pub(crate) source: Arc<str>,
    /// Ascending by code.
    pub(crate) nodes: Arc<[Node]>,
}

/// One row of the file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) code: TerritoryCode,
    pub(crate) successor: Option<TerritoryCode>,
    pub(crate) name_zh: Range<u32>,
    pub(crate) name_en: Range<u32>,
    pub(crate) pinyin: Range<u32>,
    /// Empty while the territory exists.
    pub(crate) valid_to: Range<u32>,
}

/// What the tree knows of one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Territory<'a> {
    /// The code.
    pub code: TerritoryCode,
    /// The name in Chinese.
    pub name_zh: &'a str,
    /// The name in English.
    pub name_en: &'a str,
    /// The name in pinyin without tones.
    pub pinyin: &'a str,
    /// The last day (ISO 8601) on which the code was in force; `None` while it is.
    pub valid_to: Option<&'a str>,
    /// The code that took the place of an abolished one.
    pub successor: Option<TerritoryCode>,
}

/// A code after its successors were followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The code to use: in force, or abolished without a successor.
    pub code: TerritoryCode,
    /// The abolished codes that led there, the one asked for first; empty when that is in force.
    pub via: Vec<TerritoryCode>,
}

/// Steps from successor to successor at most. Loading refuses longer chains, so none is cut short.
pub(crate) const SUCCESSIONS: usize = 8;

impl Territories {
    /// Reads the tree from CSV with the columns `code,name_zh,name_en,pinyin,valid_to,successor`; lines that begin
    /// with `#` are comments.
    ///
    /// # Errors
    /// All faults of the file at once, each with its line and column and what to do.
    pub fn parse(csv: &str) -> Result<Self, TerritoriesError> {
        parse::territories(csv)
    }

    /// The tree that Remit ships, `deploy/config/territories.csv`.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Territories> = LazyLock::new(|| {
            Territories::parse(include_str!("../../../deploy/config/territories.csv"))
                .expect("the shipped tree is read by a test of this crate")
        });
        &SHIPPED
    }

    /// The text that the tree was read from, byte for byte: the part of the directory's digest that covers places.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the tree knows of a code, in force or abolished; `None` when it has no such code.
    #[must_use]
    pub fn get(&self, code: TerritoryCode) -> Option<Territory<'_>> {
        self.node(code).map(|node| self.territory(node))
    }

    /// All territories, ascending by code, abolished ones included.
    pub fn iter(&self) -> impl Iterator<Item = Territory<'_>> {
        self.nodes.iter().map(|node| self.territory(node))
    }

    /// The names of a territory, in Chinese and in English.
    #[must_use]
    pub fn name(&self, code: TerritoryCode) -> Option<(&str, &str)> {
        self.get(code).map(|territory| (territory.name_zh, territory.name_en))
    }

    /// Follows the successors of an abolished code to the code in force; `None` when the tree has no such code.
    #[must_use]
    pub fn resolve(&self, code: TerritoryCode) -> Option<Resolved> {
        let mut node = self.node(code)?;
        let mut via = Vec::new();
        while let Some(successor) = node.successor.and_then(|successor| self.node(successor)) {
            if via.len() == SUCCESSIONS {
                break;
            }
            via.push(node.code);
            node = successor;
        }
        Some(Resolved { code: node.code, via })
    }

    /// A territory and those that it lies in, nearest first, the nation last. Levels that the tree does not have, and
    /// abolished ones, are left out. Empty when the tree has no such code.
    pub fn ancestors(&self, code: TerritoryCode) -> impl Iterator<Item = TerritoryCode> + '_ {
        let known = self.node(code).is_some();
        let in_force = |code: &TerritoryCode| self.node(*code).is_some_and(|node| node.valid_to.is_empty());
        known
            .then_some(code)
            .into_iter()
            .chain(code.above().filter(move |above| known && in_force(above)))
    }

    /// Whether `node` is `ancestor` or lies in it.
    #[must_use]
    pub fn contains(&self, ancestor: TerritoryCode, node: TerritoryCode) -> bool {
        self.ancestors(node).any(|above| above == ancestor)
    }

    /// The smallest territory in which both lie; `None` when the tree lacks one of them.
    #[must_use]
    pub fn lowest_common(&self, a: TerritoryCode, b: TerritoryCode) -> Option<TerritoryCode> {
        self.ancestors(a).find(|&above| self.contains(above, b))
    }

    fn node(&self, code: TerritoryCode) -> Option<&Node> {
        self.nodes
            .binary_search_by_key(&code, |node| node.code)
            .ok()
            .and_then(|at| self.nodes.get(at))
    }

    fn text(&self, range: &Range<u32>) -> &str {
        self.source
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default()
    }

    fn territory(&self, node: &Node) -> Territory<'_> {
        let valid_to = self.text(&node.valid_to);
        Territory {
            code: node.code,
            name_zh: self.text(&node.name_zh),
            name_en: self.text(&node.name_en),
            pinyin: self.text(&node.pinyin),
            valid_to: (!valid_to.is_empty()).then_some(valid_to),
            successor: node.successor,
        }
    }
}
