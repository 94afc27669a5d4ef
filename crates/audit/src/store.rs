//! What the log is kept in: whole atomic use cases, and nothing of how.

use std::{collections::BTreeSet, ops::Range};

use async_trait::async_trait;
use journal::{Mark, RecordHead, Time};
use uuid::Uuid;

use crate::{
    check::{Checked, Verdict},
    gap::{Gap, GapKind},
    producer::{Producer, Standing},
    read::Reader,
    tree::{PlacedTile, TileId, Tiles, TreeHead},
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

/// A gap's place in the order in which gaps are listed.
pub type GapCursor = (GapKind, String);

/// How an operator lets a producer append again.
#[derive(Clone, Debug)]
pub struct Unfreezing {
    /// Who.
    pub actor: api::event::Actor,
    /// What was examined, and why it may go on.
    pub reason: String,
    /// For how many seconds further forks do not freeze it again.
    pub tolerate_seconds: i64,
}

/// Which entry is meant.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// That of an event.
    Event(Uuid),
    /// The one at an index.
    Index(u64),
}

/// An entry that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// The tile of leaf hashes that it is in, as wide as it is now. Proves nothing by itself.
    pub leaves: PlacedTile,
}

/// Keeps one log. Of all stores that are open on one database, only the one that was opened last can write.
#[async_trait]
pub trait Store: Reader {
    /// Judges the changes of all calls of a group, in order, and appends those that are new: entries, details, tiles, head and
    /// the records' heads together or not at all. Returns a verdict for each change; refused changes leave nothing behind and do
    /// not keep others out. What is `Ok` is durable.
    ///
    /// `Fenced` when there was something to append and another store has taken over: nothing was appended.
    async fn append_calls(&self, group: &[&[Checked]]) -> Result<Vec<Vec<Verdict>>, StoreError>;

    /// [`Store::append_calls`] of calls that somebody owns.
    async fn append(&self, group: &[Vec<Checked>]) -> Result<Vec<Vec<Verdict>>, StoreError> {
        let calls: Vec<&[Checked]> = group.iter().map(|call| &**call).collect();
        self.append_calls(&calls).await
    }

    /// Compares a producer's mark with what the log holds of it, and keeps it. `Fenced` when another store has taken over.
    async fn note_mark(&self, source: &str, mark: Mark) -> Result<Standing, StoreError>;

    /// Logs, and raises an alarm about, producers whose marks have not been reached for too long. To be called now and then.
    async fn review(&self) -> Result<(), StoreError>;

    /// Lets a producer append again, with what was examined as a change in the log. `None` when the log knows no such producer;
    /// one that is not frozen is returned as it is, and nothing is logged unless forks shall be tolerated.
    async fn unfreeze(&self, source: &str, unfreezing: Unfreezing) -> Result<Option<Producer>, StoreError>;

    /// The producers that the log knows, by name.
    async fn producers(&self) -> Result<Vec<(String, Producer)>, sql::Error>;

    /// Changes that are kept out, in the order of kind and key, at most `limit`, from behind a cursor.
    async fn gaps(&self, after: Option<&GapCursor>, limit: u32) -> Result<Vec<Gap>, sql::Error>;

    /// How large the log is. `Fenced` when another store has taken over: what it appends is not this one's to sign.
    async fn head(&self) -> Result<TreeHead, StoreError>;

    /// The tiles in these places, as wide as they are now. Places where there is none are left out.
    async fn tiles(&self, places: BTreeSet<TileId>) -> Result<Tiles, sql::Error>;

    /// The entries at these indexes, in order. One that is missing is an error: below the head's size there are no holes.
    async fn entries(&self, indexes: Range<u64>) -> Result<Vec<Vec<u8>>, sql::Error>;

    /// Those of these indexes, all below the head's size, whose entry or detail is not there, in order.
    async fn missing(&self, indexes: Range<u64>) -> Result<Vec<u64>, sql::Error>;

    /// An entry and the tile of its leaf, which are read together. `None` when the log has no such entry.
    async fn find(&self, which: Which) -> Result<Option<Found>, sql::Error>;

    /// The largest checkpoint that was kept.
    async fn newest_checkpoint(&self) -> Result<Option<String>, sql::Error>;

    /// Keeps a checkpoint, signed at `time`. Earlier ones of the same minute may be forgotten. `Fenced` when another store has
    /// taken over: nothing was kept.
    async fn keep_checkpoint(&self, size: u64, note: &str, time: Time) -> Result<(), StoreError>;

    /// The services' records with their last changes, by name, behind a name, at most `limit`. What the log itself logs is no
    /// service's record.
    async fn record_heads(&self, after: &str, limit: u32) -> Result<Vec<RecordHead>, sql::Error>;

    /// Those of these records that the log knows, with their last changes.
    async fn record_heads_of(&self, records: Vec<String>) -> Result<Vec<RecordHead>, sql::Error>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), sql::Error>;

    /// Lets the database go, once what is under way has ended.
    async fn close(&self);
}
