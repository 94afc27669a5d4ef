//! The tree of territories.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use crate::TerritoryCode;
use crate::parse::{self, TerritoriesError};
use crate::tree::{COLUMNS, Node, Onward, SUCCESSIONS, Tree};

/// The tree of territories: the nation, its provinces, cities, counties and townships, and
/// abolished codes still in use, each with the code that replaces it.
///
/// Which codes are in force depends on the day: [`Territories::on`]. Immutable and cheap to clone.
/// Names are slices of the file's text, which is held once.
#[derive(Debug, Clone)]
pub struct Territories(Arc<Tree>);

/// The data of one territory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Territory<'a> {
    /// The code.
    pub code: TerritoryCode,
    /// The name in Chinese.
    pub name_zh: &'a str,
    /// The name in English. For a township without one: the pinyin with its last word translated.
    pub name_en: Cow<'a, str>,
    /// The name in pinyin without tones.
    pub pinyin: &'a str,
    /// The first day on which the code is certainly in force; `None` if before 2003 or unknown.
    pub valid_from: Option<Date>,
    /// The last day on which the code is certainly in force; `None` without a known end. A township
    /// ends with its county.
    pub valid_to: Option<Date>,
    /// What continues a code that ends: its successor, or, where that has a higher level, the
    /// territory that it lay in.
    pub successor: Option<TerritoryCode>,
    /// Codes that parts of it went to.
    pub parts: Vec<TerritoryCode>,
    /// The code that an earlier unit with this code has now.
    pub formerly: Option<TerritoryCode>,
}

/// How a code was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// The code itself is in force.
    InForce,
    /// Through successors.
    Successor,
    /// To the smallest territory that holds the parts that it was divided into, in at least one
    /// step.
    Divided,
    /// To the territory above, because no single successor is known, in at least one step.
    Parent,
    /// To the territory above, because the code comes into force on a later day.
    NotYet,
}

/// A code resolved to one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The code to use, which is in force.
    pub code: TerritoryCode,
    /// The codes on the way that are not in force, the requested one first; empty if that is.
    pub via: Vec<TerritoryCode>,
    /// How the code was resolved.
    pub reading: Reading,
}

/// Generic last words of township names in pinyin, with their English equivalents.
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
    /// Parses the tree from CSV with the columns
    /// `code,name_zh,name_en,pinyin,valid_from,valid_to,successor,parts,formerly`; rows may leave
    /// out the last two. Lines that begin with `#` are comments.
    ///
    /// # Errors
    /// All faults of the file at once, each with line, column and fix.
    pub fn parse(csv: &str) -> Result<Self, TerritoriesError> {
        parse::territories(csv).map(|tree| Self(Arc::new(tree)))
    }

    /// The tree that Remit ships, `deploy/config/territories.csv`.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Territories> = LazyLock::new(|| {
            Territories::parse(include_str!("../../../deploy/config/territories.csv"))
                .expect("a test of this crate parses the shipped tree")
        });
        &SHIPPED
    }

    /// The source text, byte for byte.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// SHA-256 of the text. Covers the places in the directory's digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *self.0.digest.get_or_init(|| Sha256::digest(self.source()).into())
    }

    /// Number of codes, abolished ones included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.nodes.len()
    }

    /// The territory with a code, in force or abolished; `None` if the tree has no such code.
    #[must_use]
    pub fn get(&self, code: TerritoryCode) -> Option<Territory<'_>> {
        self.place(code).map(|place| self.territory(place))
    }

    /// All territories, ascending by code, abolished ones included.
    pub fn iter(&self) -> impl Iterator<Item = Territory<'_>> {
        (0..self.0.nodes.len()).map(|place| self.territory(place))
    }

    /// Territories with codes greater than `code`, ascending, abolished ones included; all if
    /// `None`.
    pub fn after(&self, code: Option<TerritoryCode>) -> impl Iterator<Item = Territory<'_>> {
        let start = code.map_or(0, |code| self.0.codes.partition_point(|known| *known <= code));
        (start..self.0.nodes.len()).map(|place| self.territory(place))
    }

    /// The Chinese and the English name of a territory.
    #[must_use]
    pub fn name(&self, code: TerritoryCode) -> Option<(&str, Cow<'_, str>)> {
        self.get(code).map(|territory| (territory.name_zh, territory.name_en))
    }

    /// The tree as it stands on a day.
    #[must_use]
    pub const fn on(&self, day: Date) -> OnDay<'_> {
        OnDay { tree: self, day }
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
        let [_, name_zh, name_en, pinyin, _, _, successor, parts, formerly]: [&str; COLUMNS.len()] =
            std::array::from_fn(|_| fields.next().unwrap_or_default());
        let node = self.node(place);
        Territory {
            code: self.0.codes[place],
            name_zh,
            name_en: if name_en.is_empty() {
                english(pinyin)
            } else {
                name_en.into()
            },
            pinyin,
            valid_from: Some(node.from).filter(|from| *from != Date::MIN),
            valid_to: Some(node.to).filter(|_| node.ends()),
            successor: successor.parse().ok(),
            parts: parts.split(' ').filter_map(|part| part.parse().ok()).collect(),
            formerly: formerly.parse().ok(),
        }
    }
}

/// The tree on one day. Codes that end later, or begin earlier, are in force.
#[derive(Debug, Clone, Copy)]
pub struct OnDay<'a> {
    tree: &'a Territories,
    day: Date,
}

impl<'a> OnDay<'a> {
    /// The whole tree, of all days.
    #[must_use]
    pub const fn territories(self) -> &'a Territories {
        self.tree
    }

    /// Whether a code is in force.
    #[must_use]
    pub fn in_force(self, code: TerritoryCode) -> bool {
        self.tree.place(code).is_some_and(|place| self.holds(place))
    }

    /// Resolves a code to one in force: through its successors, or, where those are uncertain, to
    /// the territory above. `None` if the code is not in the tree: then it never existed.
    #[must_use]
    pub fn resolve(self, code: TerritoryCode) -> Option<Resolved> {
        let mut place = self.tree.place(code)?;
        let (mut via, mut reading) = (Vec::new(), Reading::InForce);
        for _ in 0..=SUCCESSIONS {
            if self.holds(place) {
                break;
            }
            via.push(self.tree.0.codes[place]);
            let (next, how) = self.step(place);
            reading = reading.max(how);
            place = next;
        }
        Some(Resolved {
            code: self.tree.0.codes[place],
            via,
            reading,
        })
    }

    /// What a code that is not in force is read as next, which may not be in force either, and how;
    /// `None` for a code in force, and for one that is not in the tree.
    #[must_use]
    pub fn onward(self, code: TerritoryCode) -> Option<(TerritoryCode, Reading)> {
        let place = self.tree.place(code).filter(|place| !self.holds(*place))?;
        let (next, how) = self.step(place);
        Some((self.tree.0.codes[next], how))
    }

    /// The next step from a code that is not in force.
    fn step(self, place: usize) -> (usize, Reading) {
        let node = self.tree.node(place);
        match node.onward {
            // Announced: what it will be made of is not said, and lies in what is above it.
            _ if self.day < node.from => (self.above(place), Reading::NotYet),
            Onward::Successor => (node.next as usize, Reading::Successor),
            Onward::Divided => (node.next as usize, Reading::Divided),
            Onward::Above => (node.next as usize, Reading::Parent),
        }
    }

    /// A territory and those above it in force, nearest first, the nation last, without missing
    /// levels. Empty if the tree has no such code.
    pub fn ancestors(self, code: TerritoryCode) -> impl Iterator<Item = TerritoryCode> + 'a {
        let above = move |&place: &usize| Some(self.above(place)).filter(|above| *above != place);
        std::iter::successors(self.tree.place(code), above).map(move |place| self.tree.0.codes[place])
    }

    /// The territory above; `None` for the nation and for unknown codes.
    #[must_use]
    pub fn parent(self, code: TerritoryCode) -> Option<TerritoryCode> {
        self.ancestors(code).nth(1)
    }

    /// Territories in force directly below one, ascending.
    pub fn children(self, code: TerritoryCode) -> impl Iterator<Item = Territory<'a>> {
        let own = self.tree.place(code);
        let under = move |place: &usize| Some(self.above(*place)) == own && Some(*place) != own && self.holds(*place);
        // A subtree is contiguous: the codes below another follow it.
        own.into_iter()
            .flat_map(move |own| own + 1..self.tree.0.nodes.len())
            .take_while(move |&place| self.tree.0.codes[place].is_within(code))
            .filter(under)
            .map(move |place| self.tree.territory(place))
    }

    /// Whether `node` equals `ancestor` or lies below it.
    #[must_use]
    pub fn contains(self, ancestor: TerritoryCode, node: TerritoryCode) -> bool {
        self.ancestors(node).any(|above| above == ancestor)
    }

    /// The smallest territory that contains both; `None` if the tree lacks one of them.
    #[must_use]
    pub fn lowest_common(self, a: TerritoryCode, b: TerritoryCode) -> Option<TerritoryCode> {
        self.ancestors(a).find(|&above| self.contains(above, b))
    }

    fn holds(self, place: usize) -> bool {
        self.tree.node(place).in_force(self.day)
    }

    /// The nearest territory above that is in force; the nation's own.
    fn above(self, place: usize) -> usize {
        let mut above = self.tree.node(place).above as usize;
        // Terminates: the nation is always in force.
        while !self.holds(above) {
            above = self.tree.node(above).above as usize;
        }
        above
    }
}

/// Translates `Donghuamen Jiedao` to `Donghuamen Subdistrict`.
fn english(pinyin: &str) -> Cow<'_, str> {
    pinyin
        .rsplit_once(' ')
        .and_then(|(own, generic)| {
            let (_, english) = GENERIC.iter().find(|(word, _)| *word == generic)?;
            Some(Cow::Owned(format!("{own} {english}")))
        })
        .unwrap_or(Cow::Borrowed(pinyin))
}
