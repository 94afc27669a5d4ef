//! What a store remembers of the log between two appends, instead of asking the database again.

use std::collections::{BTreeMap, HashMap};

use sql::{Error, Tx};

use super::{TILE, damaged, gaps, no_head, producers};
use crate::{
    judge::RecordHead,
    producer::Producer,
    tree::{Edge, TreeHead},
};

/// Maximum number of heads in each of two generations: recent ones are found, and memory does not
/// grow with the log.
const RECENT: usize = 32_768;

/// Valid as long as the head is where this store left it, because only one store writes.
#[derive(Debug)]
pub(super) struct Memory {
    pub state: State,
    pub recent: Recent,
}

impl Memory {
    /// Nothing is known, or not any more.
    pub fn unread() -> Self {
        Self {
            state: State {
                edge: Edge::empty(),
                producers: BTreeMap::new(),
                has_gaps: false,
                is_read: false,
            },
            recent: Recent::default(),
        }
    }
}

/// The log as the last append of this store left it.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub edge: Edge,
    pub producers: BTreeMap<String, Producer>,
    /// Whether any change is kept out.
    pub has_gaps: bool,
    /// Whether this was read, and nothing has failed since.
    pub is_read: bool,
}

impl State {
    /// Whether this is the state of the log with this head.
    pub fn is_at(&self, head: TreeHead) -> bool {
        self.is_read && self.edge.head() == head
    }

    /// Reads it, while the head is locked.
    pub async fn read(tx: &mut Tx, head: TreeHead) -> Result<Self, Error> {
        Ok(Self {
            edge: read_edge(tx, head).await?,
            producers: producers::read(producers::From::Tx(tx)).await?,
            has_gaps: gaps::any(tx).await?,
            is_read: true,
        })
    }
}

/// The head row, locked.
pub(super) struct Locked {
    pub head: TreeHead,
    pub epoch: i64,
}

/// Locks the head row. Only its holder appends: what it reads afterwards does not change until the
/// commit.
pub(super) async fn lock_head(tx: &mut Tx) -> Result<Locked, Error> {
    let row = tx
        .fetch_optional("SELECT size, root, epoch FROM head WHERE id = 1 FOR UPDATE", Vec::new())
        .await?;
    let row = row.ok_or_else(no_head)?;
    let head = TreeHead {
        size: row.count("size", "log size")?,
        root: row.array("root", "log root")?,
    };
    Ok(Locked {
        head,
        epoch: row.get("epoch")?,
    })
}

async fn read_edge(tx: &mut Tx, head: TreeHead) -> Result<Edge, Error> {
    let mut tiles = Vec::new();
    for id in Edge::places(head.size) {
        if let Some(row) = tx.fetch_optional(TILE, vec![id.place().into()]).await? {
            tiles.push((id, row.get("hashes")?));
        }
    }
    Edge::open(head, tiles.into_iter().collect()).map_err(|error| damaged(&error))
}

/// Heads of records that were appended to recently.
#[derive(Debug, Default)]
pub(super) struct Recent {
    young: HashMap<String, RecordHead>,
    old: HashMap<String, RecordHead>,
}

impl Recent {
    pub fn get(&self, record: &str) -> Option<RecordHead> {
        self.young.get(record).or_else(|| self.old.get(record)).copied()
    }

    pub fn put(&mut self, record: String, head: RecordHead) {
        if self.young.len() >= RECENT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(record, head);
    }

    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_newest_head_is_the_one_that_is_found() {
        let mut recent = Recent::default();
        recent.put("reports/a".to_owned(), (1, [1; 32]));
        for i in 0..RECENT {
            recent.put(format!("reports/{i}"), (1, [0; 32]));
        }
        assert_eq!(recent.get("reports/a"), Some((1, [1; 32])), "in the old generation");
        recent.put("reports/a".to_owned(), (2, [2; 32]));
        assert_eq!(recent.get("reports/a"), Some((2, [2; 32])));
        for i in 0..3 * RECENT {
            recent.put(format!("cases/{i}"), (1, [0; 32]));
        }
        assert_eq!(recent.get("reports/a"), None);
        assert!(recent.young.len() + recent.old.len() <= 2 * RECENT);
    }
}
