//! Contract of the log's storage: whole atomic use cases.

use std::{collections::BTreeSet, ops::Range};

use async_trait::async_trait;
use journal::{Earlier, Mark, RecordHead, RequestId, Time};
use uuid::Uuid;

use crate::{
    check::{Checked, Verdict},
    gap::{Gap, GapKind},
    producer::{Noted, Producer},
    read::Reader,
    tree::{PlacedTile, TileId, Tiles, TreeHead},
};

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer store has been opened on this database. This one never writes again.
    #[error("another process has taken over the log; this one must stop")]
    Fenced,
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sql::Error),
}

/// A gap's position in the order of listing.
pub type GapCursor = (GapKind, String);

/// How an operator unfreezes a producer.
#[derive(Clone, Debug)]
pub struct Unfreezing {
    /// The operator.
    pub actor: api::event::Actor,
    /// What was examined, and why the producer may continue.
    pub reason: String,
    /// For how many seconds further forks do not freeze it again.
    pub tolerate_seconds: i64,
    /// The producer as the operator saw it.
    pub etag: String,
    /// The caller's id for the request.
    pub request: Option<RequestId>,
}

/// The result of unfreezing a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfrozen {
    /// The producer, which is not frozen.
    Done(Box<Producer>),
    /// The log does not know the producer.
    Unknown,
    /// The producer has changed since the operator saw it.
    EtagMismatch,
    /// An earlier request has the id.
    Earlier(Earlier),
}

/// Identifies an entry.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// By its event.
    Event(Uuid),
    /// By its index.
    Index(u64),
}

/// An entry that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// The tile that contains its leaf hash, as wide as it is now. Proves nothing by itself.
    pub leaves: PlacedTile,
}

/// Stores one log. Of all stores open on one database, only the last one opened can write.
#[async_trait]
pub trait Store: Reader {
    /// Seals page tokens with the database's key.
    fn tokens(&self) -> rpc::page::Tokens;

    /// Judges the changes of all calls of a group, in order, and appends the new ones: entries,
    /// openings, tiles and head together or not at all. Returns a verdict for each change; refused
    /// changes leave nothing behind and do not keep others out. Changes with `Ok` are durable.
    ///
    /// `Fenced` if there was something to append and another store has taken over: nothing was
    /// appended.
    async fn append_calls(&self, group: &[&[Checked]]) -> Result<Vec<Vec<Verdict>>, StoreError>;

    /// [`Store::append_calls`] for owned calls.
    async fn append(&self, group: &[Vec<Checked>]) -> Result<Vec<Vec<Verdict>>, StoreError> {
        let calls: Vec<&[Checked]> = group.iter().map(|call| &**call).collect();
        self.append_calls(&calls).await
    }

    /// Compares a producer's mark with the log and stores it, from time to time also as an entry.
    /// `Fenced` if another store has taken over.
    async fn note_mark(&self, source: &str, mark: Mark) -> Result<Noted, StoreError>;

    /// Logs, and raises an alarm for, producers that did not reach their marks for too long. Call
    /// it periodically.
    async fn review(&self) -> Result<(), StoreError>;

    /// Unfreezes a producer and logs what was examined. A producer that is not frozen is returned
    /// unchanged, and nothing is logged unless forks are to be tolerated.
    async fn unfreeze(&self, source: &str, unfreezing: Unfreezing) -> Result<Unfrozen, StoreError>;

    /// The producers known to the log, by name.
    async fn producers(&self) -> Result<Vec<(String, Producer)>, sql::Error>;

    /// Up to `limit` gaps after a cursor, ordered by kind and key.
    async fn gaps(&self, after: Option<&GapCursor>, limit: u32) -> Result<Vec<Gap>, sql::Error>;

    /// The log's head. `Fenced` if another store has taken over: this one must not sign what that
    /// one appends.
    async fn head(&self) -> Result<TreeHead, StoreError>;

    /// [`Store::head`], to be signed: once this returns, nothing takes back what it covers, not even
    /// a standby that takes over.
    async fn kept_head(&self) -> Result<TreeHead, StoreError> {
        self.head().await
    }

    /// The tiles at these positions, as wide as they are now, without missing ones.
    async fn tiles(&self, places: BTreeSet<TileId>) -> Result<Tiles, sql::Error>;

    /// The entries at these indexes, in order. A missing one is an error: there are no holes below
    /// the head's size.
    async fn entries(&self, indexes: Range<u64>) -> Result<Vec<Vec<u8>>, sql::Error>;

    /// Those of these indexes, all below the head's size, whose entry or openings are missing, in
    /// order.
    async fn missing(&self, indexes: Range<u64>) -> Result<Vec<u64>, sql::Error>;

    /// An entry and the tile of its leaf, read together. `None` if the log has no such entry.
    async fn find(&self, which: Which) -> Result<Option<Found>, sql::Error>;

    /// The largest stored checkpoint.
    async fn newest_checkpoint(&self) -> Result<Option<String>, sql::Error>;

    /// Stores a checkpoint signed at `time`. Earlier ones of the same minute may be dropped.
    /// `Fenced` if another store has taken over: nothing was stored.
    async fn keep_checkpoint(&self, size: u64, note: &str, time: Time) -> Result<(), StoreError>;

    /// Up to `limit` records of services with their last changes, by name, after `after`. Records
    /// of the log itself are omitted.
    async fn record_heads(&self, after: &str, limit: u32) -> Result<Vec<RecordHead>, sql::Error>;

    /// Those of these records that the log knows, with their last changes.
    async fn record_heads_of(&self, records: Vec<String>) -> Result<Vec<RecordHead>, sql::Error>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), sql::Error>;

    /// Whether the database has no room.
    async fn is_full(&self) -> bool {
        false
    }

    /// Closes the database after running operations have ended.
    async fn close(&self);
}
