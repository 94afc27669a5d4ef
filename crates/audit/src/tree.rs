//! The Merkle tree of RFC 6962: growth, and computations from its tiles. No I/O.
//!
//! Stored as C2SP `tlog-tiles` of height 8: a tile has up to 256 hashes of one level, and all
//! hashes in between are computed from them. Appending needs only the [`Edge`]: the partial tile of
//! each level.
//!
//! Tiles come from a database and prove nothing by themselves. Each use compares its result with a
//! known root: [`Edge::open`] with the head's; whoever asks a [`Question`], with the signed one.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use journal::Bytes32;
use tlog_tiles::{
    EMPTY_HASH, Error, HASH_SIZE, Hash, HashReader, Tile, node_hash, prove_record, prove_tree, tree_hash,
};

/// Height of tiles.
pub(crate) const HEIGHT: u8 = 8;
/// Bits of a tile's database key for its index in its level: one byte less than an entry index,
/// because a tile has 256 hashes.
const PLACE_BITS: u32 = 56;
/// Bytes of a full tile.
pub(crate) const TILE_BYTES: usize = HASH_SIZE << HEIGHT;

/// A tree: its size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of entries.
    pub size: u64,
    /// The RFC 6962 root hash.
    pub root: Bytes32,
}

impl TreeHead {
    /// The empty tree.
    pub const EMPTY: Self = Self {
        size: 0,
        root: EMPTY_HASH.0,
    };
}

/// Position of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Its level; level 0 holds leaf hashes.
    pub level: u8,
    /// Its index in the level, from the left.
    pub n: u64,
}

impl TileId {
    /// The tile that contains an entry's leaf.
    pub fn of_leaf(index: u64) -> Self {
        Self {
            level: 0,
            n: index >> HEIGHT,
        }
    }

    /// Whether a log can have this tile.
    pub(crate) fn can_be(&self) -> bool {
        self.n >> PLACE_BITS == 0
    }

    /// The position as one number that keeps tiles of a level together; only if it [can
    /// be](Self::can_be).
    pub fn place(self) -> i64 {
        (i64::from(self.level) << PLACE_BITS) | self.n.cast_signed()
    }

    /// The position from that number; `None` if negative.
    pub fn in_place(place: i64) -> Option<Self> {
        Some(Self {
            level: u8::try_from(place >> PLACE_BITS).ok()?,
            n: place.cast_unsigned() & ((1 << PLACE_BITS) - 1),
        })
    }

    fn of(tile: Tile) -> Self {
        Self {
            level: tile.level(),
            n: tile.level_index(),
        }
    }
}

/// A tile's position and its hashes, 32 bytes each.
pub type PlacedTile = (TileId, Vec<u8>);

/// Tiles by position. A tile may be wider than needed: tiles grow to the right and never change
/// otherwise.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<TileId, Vec<u8>>);

impl Tiles {
    /// Removes and returns a tile.
    pub fn take(&mut self, id: &TileId) -> Option<Vec<u8>> {
        self.0.remove(id)
    }
}

impl Extend<PlacedTile> for Tiles {
    fn extend<I: IntoIterator<Item = PlacedTile>>(&mut self, tiles: I) {
        self.0.extend(tiles);
    }
}

impl IntoIterator for Tiles {
    type Item = PlacedTile;
    type IntoIter = std::collections::btree_map::IntoIter<TileId, Vec<u8>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<PlacedTile> for Tiles {
    fn from_iter<I: IntoIterator<Item = PlacedTile>>(tiles: I) -> Self {
        Self(tiles.into_iter().collect())
    }
}

impl HashReader for Tiles {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        indexes
            .iter()
            .map(|&index| {
                let tile = Tile::from_index(HEIGHT, index);
                tile.hash_at_index(self.0.get(&TileId::of(tile)).ok_or(Error::IndexesNotInTree)?, index)
            })
            .collect()
    }
}

/// The tiles that answers need, and how many bytes of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeededTiles(BTreeMap<TileId, usize>);

impl NeededTiles {
    /// Their positions.
    pub fn places(&self) -> BTreeSet<TileId> {
        self.0.keys().copied().collect()
    }

    /// Removes a tile.
    pub(crate) fn remove(&mut self, id: &TileId) {
        self.0.remove(id);
    }

    /// Keeps only the tiles selected by `keep`, which gets the position and the number of bytes.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&TileId, usize) -> bool) {
        self.0.retain(|id, bytes| keep(id, *bytes));
    }

    fn add(&mut self, id: TileId, bytes: usize) {
        let wanted = self.0.entry(id).or_default();
        *wanted = bytes.max(*wanted);
    }
}

impl FromIterator<(TileId, usize)> for NeededTiles {
    fn from_iter<I: IntoIterator<Item = (TileId, usize)>>(tiles: I) -> Self {
        let mut wanted = Self::default();
        tiles.into_iter().for_each(|(id, bytes)| wanted.add(id, bytes));
        wanted
    }
}

/// A reader that returns nothing but records which tiles were requested.
#[derive(Default)]
struct Asked(RefCell<NeededTiles>);

impl HashReader for Asked {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let mut wanted = self.0.borrow_mut();
        for &index in indexes {
            // As narrow as possible.
            let tile = Tile::from_index(HEIGHT, index);
            let bytes = usize::try_from(tile.width()).map_or(usize::MAX, |width| width * HASH_SIZE);
            wanted.add(TileId::of(tile), bytes);
        }
        Ok(vec![Hash::default(); indexes.len()])
    }
}

/// A question about a tree of `size` entries.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// The audit path of an entry.
    Inclusion {
        /// Size of the tree.
        size: u64,
        /// Index of the entry.
        index: u64,
    },
    /// The proof that the tree begins with the tree of the first `old` entries.
    Consistency {
        /// Size of the tree.
        size: u64,
        /// Size of the earlier tree, at least 1.
        old: u64,
    },
    /// The root of the tree of the first `size` entries, at least 1.
    Root {
        /// Size of the tree.
        size: u64,
    },
}

impl Question {
    /// The tiles that the answer needs.
    pub fn tiles(&self) -> Result<NeededTiles, Error> {
        all_tiles(&[*self])
    }

    /// The answer, as trustworthy as the tiles.
    pub fn answer(&self, tiles: &impl HashReader) -> Result<Vec<Hash>, Error> {
        match *self {
            Self::Inclusion { size, index } => prove_record(size, index, tiles),
            Self::Consistency { size, old } => prove_tree(size, old, tiles),
            Self::Root { size } => Ok(vec![tree_hash(size, tiles)?]),
        }
    }
}

/// The tiles that the answers to all questions need.
pub(crate) fn all_tiles(questions: &[Question]) -> Result<NeededTiles, Error> {
    let asked = Asked::default();
    for question in questions {
        question.answer(&asked)?;
    }
    Ok(asked.0.into_inner())
}

/// The right edge of a tree: everything needed for appending.
#[derive(Clone, Debug)]
pub struct Edge {
    head: TreeHead,
    /// The partial tile of each level.
    tiles: Tiles,
}

impl Edge {
    /// The edge of the empty tree.
    pub fn empty() -> Self {
        Self {
            head: TreeHead::EMPTY,
            tiles: Tiles::default(),
        }
    }

    /// Positions of the partial tiles of a tree of `size` entries.
    pub fn places(size: u64) -> BTreeSet<TileId> {
        edge(size).map(|(id, _)| id).collect()
    }

    /// Builds the edge from its tiles, which must give the head's root.
    pub fn open(head: TreeHead, Tiles(mut stored): Tiles) -> Result<Self, Error> {
        let mut tiles = Tiles::default();
        for (id, bytes) in edge(head.size) {
            let mut hashes = stored.remove(&id).unwrap_or_default();
            if hashes.len() < bytes {
                return Err(Error::InvalidTile);
            }
            hashes.truncate(bytes);
            tiles.0.insert(id, hashes);
        }
        match tree_hash(head.size, &tiles)?.0 == head.root {
            true => Ok(Self { head, tiles }),
            false => Err(Error::InconsistentTile),
        }
    }

    /// The head of the edge's tree.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// The partial tile of each level.
    pub fn tiles(&self) -> impl Iterator<Item = (TileId, &[u8])> {
        self.tiles.0.iter().map(|(id, hashes)| (*id, &hashes[..]))
    }

    /// Appends leaf hashes. Returns the new edge, and the new and changed tiles.
    pub fn grow(&self, leaves: &[Bytes32]) -> Result<(Self, Vec<PlacedTile>), Error> {
        let Tiles(mut open) = self.tiles.clone();
        let mut full = BTreeMap::new();
        let mut size = self.head.size;
        for leaf in leaves {
            let mut hash = Hash(*leaf);
            for level in 0.. {
                let id = TileId {
                    level,
                    n: size >> HEIGHT >> (HEIGHT * level),
                };
                let tile = open.entry(id).or_insert_with(|| Vec::with_capacity(TILE_BYTES));
                tile.extend_from_slice(&hash.0);
                if tile.len() < TILE_BYTES {
                    break;
                }
                hash = root_of(tile);
                full.extend(open.remove_entry(&id));
            }
            size += 1;
        }
        let tiles = Tiles(open);
        let root = tree_hash(size, &tiles)?.0;
        let grown = Tile::new_tiles(HEIGHT, self.head.size, size)
            .into_iter()
            .map(TileId::of)
            .filter_map(|id| {
                full.remove(&id)
                    .or_else(|| tiles.0.get(&id).cloned())
                    .map(|hashes| (id, hashes))
            })
            .collect();
        Ok((
            Self {
                head: TreeHead { size, root },
                tiles,
            },
            grown,
        ))
    }
}

/// The partial tiles and the number of bytes of each.
fn edge(size: u64) -> impl Iterator<Item = (TileId, usize)> {
    (0..u64::BITS / u32::from(HEIGHT))
        .zip(0_u8..)
        .map(move |(shift, level)| {
            let hashes = size >> (shift * u32::from(HEIGHT));
            // Lossless: it is below 256.
            let width = usize::try_from(hashes % (1 << HEIGHT)).unwrap_or(0);
            (
                TileId {
                    level,
                    n: hashes >> HEIGHT,
                },
                width * HASH_SIZE,
            )
        })
        .filter(|(_, bytes)| *bytes > 0)
}

/// The hash above a full tile.
fn root_of(tile: &[u8]) -> Hash {
    let mut hashes: Vec<Hash> = tile.as_chunks().0.iter().copied().map(Hash).collect();
    while hashes.len() > 1 {
        hashes = hashes
            .as_chunks()
            .0
            .iter()
            .map(|[left, right]| node_hash(*left, *right))
            .collect();
    }
    hashes.first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tlog_tiles::{check_record, check_tree, record_hash};

    use super::*;

    /// RFC 6962 §2.1, verbatim.
    fn root_by_definition(leaves: &[Bytes32]) -> Bytes32 {
        match leaves {
            [] => EMPTY_HASH.0,
            [leaf] => *leaf,
            leaves => {
                let k = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(k);
                node_hash(Hash(root_by_definition(left)), Hash(root_by_definition(right))).0
            }
        }
    }

    fn leaves(n: u64) -> Vec<Bytes32> {
        (0..n).map(|i| record_hash(&i.to_be_bytes()).0).collect()
    }

    /// A tree grown in steps, and all its tiles.
    fn grown(leaves: &[Bytes32], steps: &[usize]) -> (Edge, Tiles) {
        let (mut edge, mut tiles) = (Edge::empty(), Tiles::default());
        let mut rest = leaves;
        for step in steps.iter().cycle() {
            let (now, later) = rest.split_at((*step).min(rest.len()));
            let (next, new) = edge.grow(now).unwrap();
            assert_eq!(next.head().size - edge.head().size, now.len() as u64);
            edge = next;
            tiles.0.extend(new);
            rest = later;
            if rest.is_empty() {
                return (edge, tiles);
            }
        }
        unreachable!("steps are not empty")
    }

    /// The test tree of the Certificate Transparency project, which other implementations also use.
    #[test]
    fn the_roots_match_certificate_transparency() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let entries = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut edge = Edge::empty();
        for (entry, root) in entries.iter().zip(roots) {
            edge = edge.grow(&[record_hash(&hex(entry)).0]).unwrap().0;
            assert_eq!(edge.head().root.to_vec(), hex(root));
        }
    }

    #[test]
    fn the_root_matches_the_definition_for_all_steps() {
        for size in [0, 1, 2, 3, 255, 256, 257, 511, 512, 700] {
            let leaves = leaves(size);
            for steps in [&[1_000][..], &[1, 255, 256, 257]] {
                let (edge, _) = grown(&leaves, steps);
                assert_eq!(
                    edge.head(),
                    TreeHead {
                        size,
                        root: root_by_definition(&leaves)
                    },
                    "{size} by {steps:?}"
                );
            }
        }
    }

    #[test]
    fn tiles_have_the_layout_of_the_standard() {
        let leaves = leaves(65_536 + 256 + 3);
        let (edge, tiles) = grown(&leaves, &[999]);
        assert_eq!(edge.head().root, root_by_definition(&leaves));
        let widths: Vec<_> = tiles.0.iter().filter(|(id, _)| id.level > 0 || id.n > 255).collect();
        let widths: Vec<_> = widths
            .iter()
            .map(|(id, hashes)| (id.level, id.n, hashes.len() / HASH_SIZE))
            .collect();
        assert_eq!(widths, [(0, 256, 256), (0, 257, 3), (1, 0, 256), (1, 1, 1), (2, 0, 1)]);
        assert_eq!(tiles.0[&TileId { level: 0, n: 7 }], leaves[7 * 256..8 * 256].concat());
        assert_eq!(
            tiles.0[&TileId { level: 1, n: 0 }][32..64],
            root_by_definition(&leaves[256..512])
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn an_edge_opens_from_any_later_state_and_from_no_other_tiles(size in 1_u64..1_500, more in 0_u64..600, flip: u16) {
            let leaves = leaves(size + more);
            let (edge, mut tiles) = grown(&leaves[..usize::try_from(size).unwrap()], &[77]);
            let (_, later) = grown(&leaves, &[300]);
            let of = |tiles: &Tiles| Tiles(Edge::places(size).into_iter().map(|id| (id, tiles.0[&id].clone())).collect());
            prop_assert_eq!(Edge::open(edge.head(), of(&later)).unwrap().grow(&leaves).unwrap().0.head(), edge.grow(&leaves).unwrap().0.head());

            let places: Vec<_> = Edge::places(size).into_iter().collect();
            let tile = tiles.0.get_mut(&places[usize::from(flip) % places.len()]).unwrap();
            let at = usize::from(flip) % tile.len();
            tile[at] ^= 1;
            prop_assert!(Edge::open(edge.head(), of(&tiles)).is_err());
        }

        #[test]
        fn answers_from_later_tiles_prove_earlier_trees(size in 1_u64..1_500, more in 0_u64..600, at: u64) {
            let leaves = leaves(size + more);
            let (_, tiles) = grown(&leaves, &[500]);
            let root = |n: u64| Hash(root_by_definition(&leaves[..usize::try_from(n).unwrap()]));
            let answer = |question: Question| {
                let wanted = question.tiles().unwrap();
                // No wider than stated.
                let narrow = |(id, bytes): (&TileId, &usize)| (*id, tiles.0[id][..*bytes].to_vec());
                question.answer(&wanted.0.iter().map(narrow).collect::<Tiles>()).unwrap()
            };
            let index = at % size;
            let path = answer(Question::Inclusion { size, index });
            let leaf = Hash(leaves[usize::try_from(index).unwrap()]);
            prop_assert!(check_record(&path, size, root(size), index, leaf).is_ok());

            let proof = answer(Question::Consistency { size, old: index + 1 });
            prop_assert!(check_tree(&proof, size, root(size), index + 1, root(index + 1)).is_ok());
        }
    }
}
