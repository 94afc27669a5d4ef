//! The tree of territories.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::TerritoryCode;
use crate::parse::{self, COLUMNS, TerritoriesError};

/// The tree of territories: the nation, its provinces, cities, counties and townships, and the abolished codes that people
/// still write, each with where it is read now.
///
/// Immutable, and cheap to clone. Names stay in the file's text, which is kept once.
#[derive(Debug, Clone)]
pub struct Territories(Arc<Tree>);

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) source: Box<str>,
    /// Ascending; beside the nodes, so that finding a code touches few cache lines.
    pub(crate) codes: Box<[TerritoryCode]>,
    /// In the order of the codes.
    pub(crate) nodes: Box<[Node]>,
    pub(crate) digest: OnceLock<[u8; 32]>,
}

/// One row of the file. Others are named by their place among the nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// Where the row begins in the text.
    pub(crate) row: u32,
    /// The nearest territory above that is in force; of the nation itself.
    pub(crate) parent: u32,
    /// Of an abolished one: where to read it, which may be abolished, too. Else itself.
    pub(crate) next: u32,
    pub(crate) standing: Standing,
}

/// Whether a code is in force, and how it is read if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    InForce,
    Succeeded,
    /// Abolished, and nobody can say with certainty what took its place: read as what it lay in.
    Dissolved,
}

/// What the tree knows of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Territory<'a> {
    /// The code.
    pub code: TerritoryCode,
    /// The name in Chinese.
    pub name_zh: &'a str,
    /// The name in English. Of a township whose row has none: the pinyin, with its last word in English.
    pub name_en: Cow<'a, str>,
    /// The name in pinyin without tones.
    pub pinyin: &'a str,
    /// The first day (ISO 8601) on which the code was certainly in force; `None` when that is before 2003, or not known.
    pub valid_from: Option<&'a str>,
    /// The last day (ISO 8601) on which the code was certainly in force; `None` while it is.
    pub valid_to: Option<&'a str>,
    /// The code that took the place of an abolished one, where that is certain.
    pub successor: Option<TerritoryCode>,
}

/// How a code was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// As it is: it is in force.
    InForce,
    /// As what took its place.
    Successor,
    /// As the territory that it lay in: what took its place is not certain, at one step at least.
    Parent,
}

/// A code after it was read as one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The code to use; it is in force.
    pub code: TerritoryCode,
    /// The abolished codes that led there, the one asked for first; empty when that is in force.
    pub via: Vec<TerritoryCode>,
    /// How.
    pub reading: Reading,
}

/// Steps from an abolished code to one in force at most. Loading refuses longer ways, so none is cut short.
pub(crate) const SUCCESSIONS: usize = 8;

/// Last words of a township's pinyin, in English.
const GENERIC: [(&str, &str); 10] = [
    ("Jiedao", "Subdistrict"),
    ("Jiedaobanshichu", "Subdistrict"),
    ("Zhen", "Town"),
    ("Xiang", "Township"),
    ("Sumu", "Sumu"),
    ("Nongchang", "Farm"),
    ("Linchang", "Forest Farm"),
    ("Muchang", "Pasture"),
    ("Kaifaqu", "Development Zone"),
    ("Guanliqu", "Administrative Zone"),
];

impl Territories {
    /// Reads the tree from CSV with the columns `code,name_zh,name_en,pinyin,valid_from,valid_to,successor`; lines that
    /// begin with `#` are comments.
    ///
    /// # Errors
    /// All faults of the file at once, each with its line and column and what to do.
    pub fn parse(csv: &str) -> Result<Self, TerritoriesError> {
        parse::territories(csv).map(|tree| Self(Arc::new(tree)))
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

    /// The text that the tree was read from, byte for byte.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// SHA-256 of the text: the part of the directory's digest that covers places.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *self.0.digest.get_or_init(|| Sha256::digest(self.source()).into())
    }

    /// How many codes the tree has, abolished ones included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.nodes.len()
    }

    /// What the tree knows of a code, in force or abolished; `None` when it has no such code.
    #[must_use]
    pub fn get(&self, code: TerritoryCode) -> Option<Territory<'_>> {
        self.place(code).map(|place| self.territory(place))
    }

    /// All territories, ascending by code, abolished ones included.
    pub fn iter(&self) -> impl Iterator<Item = Territory<'_>> {
        (0..self.0.nodes.len()).map(|place| self.territory(place))
    }

    /// Territories whose codes come after one, ascending, abolished ones included; all without one.
    pub fn after(&self, code: Option<TerritoryCode>) -> impl Iterator<Item = Territory<'_>> {
        let start = code.map_or(0, |code| self.0.codes.partition_point(|known| *known <= code));
        (start..self.0.nodes.len()).map(|place| self.territory(place))
    }

    /// The names of a territory, in Chinese and in English.
    #[must_use]
    pub fn name(&self, code: TerritoryCode) -> Option<(&str, Cow<'_, str>)> {
        self.get(code).map(|territory| (territory.name_zh, territory.name_en))
    }

    /// Whether a code is in force.
    #[must_use]
    pub fn in_force(&self, code: TerritoryCode) -> bool {
        self.place(code)
            .is_some_and(|place| self.node(place).standing == Standing::InForce)
    }

    /// Reads a code as one in force: through its successors, or where those are not certain as the territory that it lay in.
    /// `None` when the tree has no such code, because there never was one.
    #[must_use]
    pub fn resolve(&self, code: TerritoryCode) -> Option<Resolved> {
        let mut place = self.place(code)?;
        let (mut via, mut reading) = (Vec::new(), Reading::InForce);
        for _ in 0..=SUCCESSIONS {
            let node = self.node(place);
            reading = match node.standing {
                Standing::InForce => break,
                Standing::Succeeded => reading.max(Reading::Successor),
                Standing::Dissolved => Reading::Parent,
            };
            via.push(self.0.codes[place]);
            place = node.next as usize;
        }
        Some(Resolved {
            code: self.0.codes[place],
            via,
            reading,
        })
    }

    /// A territory and those that it lies in, nearest first, the nation last. Levels that the tree does not have, and
    /// abolished ones, are left out. Empty when the tree has no such code.
    pub fn ancestors(&self, code: TerritoryCode) -> impl Iterator<Item = TerritoryCode> + '_ {
        let above = |&place: &usize| Some(self.node(place).parent as usize).filter(|parent| *parent != place);
        std::iter::successors(self.place(code), above).map(|place| self.0.codes[place])
    }

    /// The territory above; `None` for the nation, and for a code that the tree does not have.
    #[must_use]
    pub fn parent(&self, code: TerritoryCode) -> Option<TerritoryCode> {
        self.ancestors(code).nth(1)
    }

    /// Territories in force right below one, ascending.
    pub fn children(&self, code: TerritoryCode) -> impl Iterator<Item = Territory<'_>> {
        let own = self.place(code);
        let under = move |place: &usize| {
            let node = self.node(*place);
            Some(node.parent as usize) == own && Some(*place) != own && node.standing == Standing::InForce
        };
        // Codes below another follow it: a subtree is one run.
        own.into_iter()
            .flat_map(move |own| own + 1..self.0.nodes.len())
            .take_while(move |&place| self.0.codes[place].is_within(code))
            .filter(under)
            .map(|place| self.territory(place))
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

    fn place(&self, code: TerritoryCode) -> Option<usize> {
        self.0.codes.binary_search(&code).ok()
    }

    fn node(&self, place: usize) -> Node {
        self.0.nodes[place]
    }

    fn territory(&self, place: usize) -> Territory<'_> {
        let row = self.0.source.get(self.node(place).row as usize..).unwrap_or_default();
        let row = row.split(['\n', '\r']).next().unwrap_or_default();
        let mut fields = row.split(',').chain(std::iter::repeat(""));
        let [_, name_zh, name_en, pinyin, valid_from, valid_to, successor]: [&str; COLUMNS.len()] =
            std::array::from_fn(|_| fields.next().unwrap_or_default());
        Territory {
            code: self.0.codes[place],
            name_zh,
            name_en: if name_en.is_empty() {
                english(pinyin)
            } else {
                name_en.into()
            },
            pinyin,
            valid_from: (!valid_from.is_empty()).then_some(valid_from),
            valid_to: (!valid_to.is_empty()).then_some(valid_to),
            successor: successor.parse().ok(),
        }
    }
}

/// `Donghuamen Jiedao` as `Donghuamen Subdistrict`.
fn english(pinyin: &str) -> Cow<'_, str> {
    pinyin
        .rsplit_once(' ')
        .and_then(|(own, generic)| {
            let (_, english) = GENERIC.iter().find(|(word, _)| *word == generic)?;
            Some(Cow::Owned(format!("{own} {english}")))
        })
        .unwrap_or(Cow::Borrowed(pinyin))
}
