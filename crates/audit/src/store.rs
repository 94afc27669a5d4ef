//! What the log is kept in: whole atomic use cases, and nothing of how.

use std::{collections::BTreeSet, ops::Range};

use async_trait::async_trait;
use journal::Time;
use uuid::Uuid;

use crate::{
    check::{Checked, Verdict},
    tree::{TileId, Tiles, TreeHead},
};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another store has been opened on this database since. This one never writes again.
    #[error("another process has taken over the log; this one must stop")]
    Fenced,
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sql::Error),
}

/// Keeps one log. Of all stores that are open on one database, only the one that was opened last can write.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Judges the changes of all calls of a group, in order, and appends those that are new: entries, details, tiles, head and
    /// the records' heads together or not at all. Returns a verdict for each change; refused changes leave nothing behind and do
    /// not keep others out. What is `Ok` is durable.
    ///
    /// `Fenced` when there was something to append and another store has taken over: nothing was appended.
    async fn append(&self, group: &[Vec<Checked>]) -> Result<Vec<Vec<Verdict>>, StoreError>;

    /// How large the log is. `Fenced` when another store has taken over: what it appends is not this one's to sign.
    async fn head(&self) -> Result<TreeHead, StoreError>;

    /// The tiles in these places, as wide as they are now. Places where there is none are left out.
    async fn tiles(&self, places: BTreeSet<TileId>) -> Result<Tiles, sql::Error>;

    /// The entries at these indexes, in order. One that is missing is an error: below the head's size there are no holes.
    async fn entries(&self, indexes: Range<u64>) -> Result<Vec<Vec<u8>>, sql::Error>;

    /// Index and bytes of an event's entry.
    async fn find(&self, event_id: Uuid) -> Result<Option<(u64, Vec<u8>)>, sql::Error>;

    /// The largest checkpoint that was kept.
    async fn newest_checkpoint(&self) -> Result<Option<String>, sql::Error>;

    /// Keeps a checkpoint, signed at `time`. Earlier ones of the same minute may be forgotten. `Fenced` when another store has
    /// taken over: nothing was kept.
    async fn keep_checkpoint(&self, size: u64, note: &str, time: Time) -> Result<(), StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), sql::Error>;

    /// Lets the database go, once what is under way has ended.
    async fn close(&self);
}
