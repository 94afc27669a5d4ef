//! Tiles that one proof after the other is made from, in memory. No I/O.
//!
//! Every proof leads from one tile of leaves up to the same few tiles above: those are kept, and the last, unfinished ones of each
//! level. What is kept proves nothing, as what is stored: each proof is checked against the signed root before anyone sees it.

use std::sync::{Mutex, PoisonError};

use hashlink::LruCache;

use crate::tree::{TILE_BYTES, TileId, Tiles, Wanted};

/// How many are kept: 8 MiB, which is what 60,000,000 entries have above their leaves. Of a larger log, those asked for last.
const KEPT: usize = 1_024;

/// The kept tiles.
#[derive(Debug)]
pub(crate) struct TileCache(Mutex<LruCache<TileId, Vec<u8>>>);

impl TileCache {
    pub fn new() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }

    /// Moves what is kept, and wide enough, from what is wanted to the tiles.
    pub fn find(&self, wanted: &mut Wanted, tiles: &mut Tiles) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(|id, bytes| match kept.get(id).filter(|tile| tile.len() >= bytes) {
            Some(tile) => {
                tiles.insert(*id, tile.clone());
                false
            }
            None => true,
        });
    }

    /// Keeps those of the tiles that other proofs are likely to need.
    pub fn keep(&self, tiles: &Tiles) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, tile) in tiles
            .iter()
            .filter(|(id, tile)| id.level > 0 || tile.len() < TILE_BYTES)
        {
            kept.insert(id, tile.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOVE: TileId = TileId { level: 1, n: 3 };
    const LEAVES: TileId = TileId { level: 0, n: 3 };
    const LAST: TileId = TileId { level: 0, n: 4 };

    #[test]
    fn what_is_kept_is_not_asked_for_unless_it_is_too_narrow() {
        let cache = TileCache::new();
        let read = [(ABOVE, vec![1; 64]), (LEAVES, vec![2; TILE_BYTES]), (LAST, vec![3; 64])];
        cache.keep(&read.clone().into_iter().collect());

        let mut tiles = Tiles::default();
        let mut wanted: Wanted = [(ABOVE, 32), (LEAVES, 32), (LAST, 96)].into_iter().collect();
        cache.find(&mut wanted, &mut tiles);
        assert_eq!(wanted, [(LEAVES, 32), (LAST, 96)].into_iter().collect());
        assert_eq!(tiles.iter().collect::<Vec<_>>(), [(ABOVE, &[1; 64][..])]);

        cache.keep(&[(LAST, vec![3; 96])].into_iter().collect());
        cache.find(&mut wanted, &mut tiles);
        assert_eq!(wanted, [(LEAVES, 32)].into_iter().collect());
    }

    #[test]
    fn no_more_are_kept_than_fit() {
        let cache = TileCache::new();
        for n in 0..3 * KEPT as u64 {
            cache.keep(&[(TileId { level: 1, n }, vec![0; 32])].into_iter().collect());
        }
        assert_eq!(cache.0.lock().unwrap().len(), KEPT);
    }
}
