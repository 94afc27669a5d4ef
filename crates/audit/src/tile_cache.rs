//! In-memory cache of tiles that many proofs need. No I/O.
//!
//! Every proof leads from a tile of leaves up to the same few tiles above: those are cached, and
//! the partial ones of each level, with all hashes computed from them. Like stored tiles, cached
//! ones prove nothing: each proof is checked against the signed root before it leaves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use hashlink::LruCache;
use tlog_tiles::{Error, HASH_SIZE, Hash, HashReader, node_hash, split_stored_hash_index};

use crate::tree::{HEIGHT, NeededTiles, TileId};

/// Capacity: 16 MiB, enough for the tiles above 60,000,000 entries. Larger logs keep the most
/// recently used ones.
const KEPT: usize = 1_024;

/// A tile with all hashes inside: its own, then those of pairs, and so on, up to below the hash in
/// the next level's tile.
#[derive(Debug)]
pub(crate) struct Pyramid(Vec<Vec<Hash>>);

impl Pyramid {
    /// From a tile's bytes.
    pub fn new(tile: &[u8]) -> Self {
        let (hashes, _) = tile.as_chunks::<HASH_SIZE>();
        let mut row: Vec<Hash> = hashes.iter().copied().map(Hash).collect();
        let mut rows = Vec::with_capacity(HEIGHT.into());
        for _ in 0..HEIGHT {
            let (pairs, _) = row.as_chunks::<2>();
            let above = pairs.iter().map(|[left, right]| node_hash(*left, *right)).collect();
            rows.push(std::mem::replace(&mut row, above));
        }
        Self(rows)
    }

    fn width(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    fn is_full(&self) -> bool {
        self.width() == 1 << HEIGHT
    }
}

/// The tiles needed for some answers.
#[derive(Debug, Default)]
pub(crate) struct Gathered(BTreeMap<TileId, Arc<Pyramid>>);

impl Gathered {
    pub fn put(&mut self, id: TileId, tile: Arc<Pyramid>) {
        self.0.insert(id, tile);
    }
}

impl HashReader for Gathered {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let find = |index| {
            let (level, n) = split_stored_hash_index(index);
            let (height, below) = (level % HEIGHT, HEIGHT - level % HEIGHT);
            let id = TileId {
                level: level / HEIGHT,
                n: n >> below,
            };
            let place = usize::try_from(n & ((1 << below) - 1)).ok()?;
            let row = self.0.get(&id)?.0.get(usize::from(height))?;
            row.get(place).copied()
        };
        indexes
            .iter()
            .map(|index| find(*index).ok_or(Error::IndexesNotInTree))
            .collect()
    }
}

/// The cache.
#[derive(Debug)]
pub(crate) struct TileCache(Mutex<LruCache<TileId, Arc<Pyramid>>>);

impl TileCache {
    pub fn new() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }

    /// Moves tiles that are cached and wide enough from `wanted` to `there`.
    pub fn find(&self, wanted: &mut NeededTiles, there: &mut Gathered) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(
            |id, bytes| match kept.get(id).filter(|tile| tile.width() * HASH_SIZE >= bytes) {
                Some(tile) => {
                    there.put(*id, Arc::clone(tile));
                    false
                }
                None => true,
            },
        );
    }

    /// Caches a tile that other proofs are likely to need.
    pub fn keep(&self, id: TileId, tile: &Arc<Pyramid>) {
        if id.level > 0 || !tile.is_full() {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(id, Arc::clone(tile));
        }
    }
}

#[cfg(test)]
mod tests {
    use tlog_tiles::{Tile, stored_hash_index};

    use super::*;

    const ABOVE: TileId = TileId { level: 1, n: 3 };
    const LEAVES: TileId = TileId { level: 0, n: 3 };
    const LAST: TileId = TileId { level: 0, n: 4 };

    fn tile(hashes: u8) -> Arc<Pyramid> {
        let bytes: Vec<u8> = (1..=hashes).flat_map(|byte| [byte; HASH_SIZE]).collect();
        Arc::new(Pyramid::new(&bytes))
    }

    #[test]
    fn cached_tiles_are_reused_unless_too_narrow() {
        let cache = TileCache::new();
        let full = Arc::new(Pyramid::new(&[2; HASH_SIZE << HEIGHT]));
        for (id, tile) in [(ABOVE, tile(2)), (LEAVES, full), (LAST, tile(2))] {
            cache.keep(id, &tile);
        }

        let mut there = Gathered::default();
        let mut wanted: NeededTiles = [(ABOVE, 32), (LEAVES, 32), (LAST, 96)].into_iter().collect();
        cache.find(&mut wanted, &mut there);
        assert_eq!(wanted, [(LEAVES, 32), (LAST, 96)].into_iter().collect());
        assert_eq!(there.0.keys().collect::<Vec<_>>(), [&ABOVE]);

        cache.keep(LAST, &tile(3));
        cache.find(&mut wanted, &mut there);
        assert_eq!(wanted, [(LEAVES, 32)].into_iter().collect());
    }

    #[test]
    fn the_capacity_is_bounded() {
        let cache = TileCache::new();
        for n in 0..3 * KEPT as u64 {
            cache.keep(TileId { level: 1, n }, &tile(1));
        }
        assert_eq!(cache.0.lock().unwrap().len(), KEPT);
    }

    #[test]
    fn hashes_inside_a_tile_match_the_library() {
        for width in [1_usize, 2, 3, 100, 255, 256] {
            for level in [0, 1] {
                let bytes: Vec<u8> = (0..width).flat_map(|place| entry(place, level)).collect();
                let n = 5;
                let mut there = Gathered::default();
                there.put(TileId { level, n }, Arc::new(Pyramid::new(&bytes)));
                for height in 0..HEIGHT {
                    for place in 0..1_u64 << (HEIGHT - height) {
                        let index = stored_hash_index(level * HEIGHT + height, (n << (HEIGHT - height)) + place);
                        let expected = Tile::from_index(HEIGHT, index).hash_at_index(&bytes, index);
                        let found = there.read_hashes(&[index]);
                        assert_eq!(
                            found.ok(),
                            expected.ok().map(|hash| vec![hash]),
                            "{width} {level} {height} {place}"
                        );
                    }
                }
                let elsewhere = stored_hash_index(level * HEIGHT, (n + 1) << HEIGHT);
                assert!(there.read_hashes(&[elsewhere]).is_err());
            }
        }
    }

    fn entry(place: usize, level: u8) -> [u8; HASH_SIZE] {
        let mut hash = [level; HASH_SIZE];
        hash[..8].copy_from_slice(&place.to_be_bytes());
        hash
    }
}
