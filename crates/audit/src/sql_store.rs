//! The log in a database: SQLite or PostgreSQL.
//!
//! `append.rs` judges changes and appends them, `restore.rs` puts back proven entries, and both
//! write with `write.rs`. `state.rs` remembers the log between two appends; `heads.rs`,
//! `producers.rs` and `gaps.rs` are the last changes of records, the producers, and what is kept
//! out. This file opens and reads.

mod append;
mod gaps;
mod heads;
mod producers;
mod restore;
mod state;
mod write;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use async_trait::async_trait;
use journal::{Clock, Entropy, Mark, RecordHead, SystemClock, SystemEntropy, Time};
use sql::{Db, Engine, Error, Row, Schema, Tx, transact};
use tokio::sync::Mutex;

use self::state::Memory;
use crate::{
    check::{Checked, Verdict},
    gap::Gap,
    producer::{Noted, Producer},
    store::{Found, GapCursor, Store, StoreError, Unfreezing, Unfrozen, Which},
    tree::{TileId, Tiles, TreeHead},
};

/// The schema of the log's database. The journal's tables are not used: the heads of records are
/// their last entries.
pub const SCHEMAS: &[Schema] = &[
    journal::SCHEMA,
    Schema {
        base: 2_001,
        changes: &[
            (
                "entries, openings, tiles, head and checkpoints",
                include_str!("../migrations/sqlite/0001_audit.sql"),
                include_str!("../migrations/postgres/0001_audit.sql"),
            ),
            (
                "producers, marks and gaps",
                include_str!("../migrations/sqlite/0002_producers.sql"),
                include_str!("../migrations/postgres/0002_producers.sql"),
            ),
        ],
    },
];

/// Of each past minute, one checkpoint is kept.
const KEPT_EVERY: i64 = 60_000_000;

/// A log in a database.
pub struct SqlStore {
    db: Db,
    epoch: i64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The log after this store's last append: reused if the head is unchanged, otherwise read
    /// again.
    memory: Mutex<Memory>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("engine", &self.db.engine())
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// The checkpoint signed last, as a log's database has it.
pub async fn newest_checkpoint(db: &Db) -> Result<Option<String>, Error> {
    let newest = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1";
    let row = db.fetch_optional(newest, Vec::new()).await?;
    row.map(|row| row.get("note")).transpose()
}

impl SqlStore {
    /// Opens the log in the database at a URL and takes it over: stores opened on it before are
    /// fenced.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::open_with(url, Arc::new(SystemClock), Arc::new(SystemEntropy)).await
    }

    /// [`SqlStore::open`] with a clock and randomness for the log's own entries.
    pub async fn open_with(url: &str, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        Self::over(Db::open(url, SCHEMAS).await?, clock, entropy).await
    }

    /// [`SqlStore::open_with`] over an open database that has the [`SCHEMAS`].
    pub async fn over(db: Db, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        db.measure("audit");
        let epoch = transact!(db, |tx| next_epoch(&mut tx))?;
        Ok(Self {
            db,
            epoch,
            clock,
            entropy,
            memory: Mutex::new(Memory::unread()),
        })
    }

    /// The database, for reads.
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    fn read_head(&self, row: Option<Row>) -> Result<TreeHead, StoreError> {
        let row = row.ok_or_else(no_head)?;
        match row.get::<i64>("epoch")? == self.epoch {
            true => Ok(TreeHead {
                size: row.count("size", "log size")?,
                root: row.array("root", "log root")?,
            }),
            false => Err(StoreError::Fenced),
        }
    }

    /// `false` if this store is fenced, and nothing was written.
    async fn try_keep(&self, tx: &mut Tx, size: u64, note: &str, time: Time) -> Result<bool, Error> {
        let size = size.cast_signed();
        // Never back: otherwise a clock that is set back would delete those of past minutes.
        let row = tx
            .fetch_optional("SELECT time FROM checkpoints ORDER BY time DESC LIMIT 1", Vec::new())
            .await?;
        let newest = row.map(|row| row.get("time")).transpose()?.map_or(time, Time);
        let time = time.max(newest);
        let kept = tx
            .execute(
                "INSERT INTO checkpoints (size, note, time) SELECT $1, $2, $3 FROM head WHERE id = 1 AND epoch = $4 \
                 ON CONFLICT (size) DO UPDATE SET note = excluded.note",
                vec![size.into(), note.into(), time.0.into(), self.epoch.into()],
            )
            .await?;
        if kept == 0 {
            return Ok(false);
        }
        let minute = time.0 - time.0.rem_euclid(KEPT_EVERY);
        tx.execute(
            "DELETE FROM checkpoints WHERE time >= $1 AND size < $2",
            vec![minute.into(), size.into()],
        )
        .await?;
        Ok(true)
    }
}

#[async_trait]
impl Store for SqlStore {
    fn tokens(&self) -> rpc::page::Tokens {
        rpc::page::Tokens::of(&self.db)
    }

    async fn append_calls(&self, group: &[&[Checked]]) -> Result<Vec<Vec<Verdict>>, StoreError> {
        let mut verdicts = self.append_group(group).await?.into_iter();
        Ok(group
            .iter()
            .map(|changes| verdicts.by_ref().take(changes.len()).collect())
            .collect())
    }

    async fn note_mark(&self, source: &str, mark: Mark) -> Result<Noted, StoreError> {
        self.take_mark(source, mark).await
    }

    async fn review(&self) -> Result<(), StoreError> {
        self.review_producers().await
    }

    async fn unfreeze(&self, source: &str, unfreezing: Unfreezing) -> Result<Unfrozen, StoreError> {
        self.unfreeze_producer(source, unfreezing).await
    }

    async fn producers(&self) -> Result<Vec<(String, Producer)>, Error> {
        let mut snapshot = self.db.snapshot().await?;
        let producers = producers::read(producers::From::Snapshot(&mut snapshot)).await?;
        Ok(producers.into_iter().collect())
    }

    async fn gaps(&self, after: Option<&GapCursor>, limit: u32) -> Result<Vec<Gap>, Error> {
        gaps::list(&self.db, after, limit).await
    }

    async fn head(&self) -> Result<TreeHead, StoreError> {
        self.read_head(self.db.fetch_optional(HEAD, Vec::new()).await?)
    }

    async fn kept_head(&self) -> Result<TreeHead, StoreError> {
        match self.db.engine() {
            Engine::Sqlite => self.head().await,
            // A commit makes durable what it has seen.
            Engine::Postgres => self.read_head(transact!(self.db, |tx| tx.fetch_optional(HEAD, Vec::new()))?),
        }
    }

    async fn tiles(&self, mut places: BTreeSet<TileId>) -> Result<Tiles, Error> {
        places.retain(TileId::can_be);
        if places.is_empty() {
            return Ok(Tiles::default());
        }
        // Most proofs need only one.
        if let (1, Some(id)) = (places.len(), places.first()) {
            let row = self.db.fetch_optional(TILE, vec![id.place().into()]).await?;
            let tile = row.map(|row| Ok((*id, row.get("hashes")?)));
            return tile.into_iter().collect();
        }
        let statement = match self.db.engine() {
            Engine::Sqlite => TILES_SQLITE,
            Engine::Postgres => TILES_POSTGRES,
        };
        let places: Vec<String> = places.iter().map(|id| id.place().to_string()).collect();
        let rows = self.db.fetch(statement, vec![places.into()]).await?;
        rows.iter()
            .map(|row| {
                let place: i64 = row.get("place")?;
                let id = TileId::in_place(place).ok_or_else(|| Error::Damaged {
                    what: "place of a tile",
                    problem: format!("{place} is negative"),
                })?;
                Ok((id, row.get("hashes")?))
            })
            .collect()
    }

    async fn entries(&self, indexes: Range<u64>) -> Result<Vec<Vec<u8>>, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT idx, entry FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx",
                vec![indexes.start.cast_signed().into(), indexes.end.cast_signed().into()],
            )
            .await?;
        let mut entries = Vec::with_capacity(rows.len());
        for (row, expected) in rows.iter().zip(indexes.clone()) {
            if row.count("idx", "log index")? != expected {
                return Err(missing(expected));
            }
            entries.push(row.get("entry")?);
        }
        match indexes.start.saturating_add(rows.len() as u64) {
            next if next < indexes.end => Err(missing(next)),
            _ => Ok(entries),
        }
    }

    async fn missing(&self, indexes: Range<u64>) -> Result<Vec<u64>, Error> {
        let values = || vec![indexes.start.cast_signed().into(), indexes.end.cast_signed().into()];
        // Counting is much cheaper than listing, and nearly always enough.
        let counted = self.db.fetch_optional(COUNT_WHOLE, values()).await?;
        let counted = counted.map(|row| row.count("whole", "number of entries")).transpose()?;
        if counted == Some(indexes.end.saturating_sub(indexes.start)) {
            return Ok(Vec::new());
        }
        let rows = self.db.fetch(LIST_WHOLE, values()).await?;
        let whole: Result<BTreeSet<u64>, Error> = rows.iter().map(|row| row.count("idx", "log index")).collect();
        let whole = whole?;
        Ok(indexes.filter(|index| !whole.contains(index)).collect())
    }

    async fn find(&self, which: Which) -> Result<Option<Found>, Error> {
        let row = match which {
            Which::Event(event_id) => {
                let values = vec![event_id.to_string().into()];
                self.db.fetch_optional(ENTRY_OF_EVENT, values).await?
            }
            Which::Index(index) => {
                let values = vec![index.cast_signed().into()];
                self.db.fetch_optional(ENTRY_AT_INDEX, values).await?
            }
        };
        let found = |row: Row| {
            let index = row.count("idx", "log index")?;
            let id = TileId::of_leaf(index);
            let hashes = row.get::<Option<Vec<u8>>>("hashes")?.unwrap_or_default();
            Ok(Found {
                index,
                entry: row.get("entry")?,
                leaves: (id, hashes),
            })
        };
        row.map(found).transpose()
    }

    async fn newest_checkpoint(&self) -> Result<Option<String>, Error> {
        newest_checkpoint(&self.db).await
    }

    async fn keep_checkpoint(&self, size: u64, note: &str, time: Time) -> Result<(), StoreError> {
        match transact!(self.db, |tx| self.try_keep(&mut tx, size, note, time))? {
            true => Ok(()),
            false => Err(StoreError::Fenced),
        }
    }

    async fn record_heads(&self, after: &str, limit: u32) -> Result<Vec<RecordHead>, Error> {
        heads::after(&self.db, after, limit).await
    }

    async fn record_heads_of(&self, records: Vec<String>) -> Result<Vec<RecordHead>, Error> {
        heads::of(&self.db, records).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.db.ping().await
    }

    async fn is_full(&self) -> bool {
        self.db.is_full().await
    }

    async fn close(&self) {
        self.db.close().await;
    }
}

const HEAD: &str = "SELECT size, root, epoch FROM head WHERE id = 1";

const TILE: &str = "SELECT hashes FROM tiles WHERE place = $1";

/// Entries that exist with their openings.
const COUNT_WHOLE: &str = "SELECT COUNT(*) AS whole FROM entries JOIN openings ON openings.idx = entries.idx \
     WHERE entries.idx >= $1 AND entries.idx < $2";
const LIST_WHOLE: &str = "SELECT entries.idx FROM entries JOIN openings ON openings.idx = entries.idx \
     WHERE entries.idx >= $1 AND entries.idx < $2";

/// Entries with the tiles of their leaves, which are of level 0.
const ENTRY_OF_EVENT: &str = "SELECT entries.idx, entries.entry, tiles.hashes FROM entries \
     LEFT JOIN tiles ON tiles.place = entries.idx >> 8 WHERE entries.event_id = $1";
const ENTRY_AT_INDEX: &str = "SELECT entries.idx, entries.entry, tiles.hashes FROM entries \
     LEFT JOIN tiles ON tiles.place = entries.idx >> 8 WHERE entries.idx = $1";

/// Tiles by places, in one statement: one snapshot and one round trip.
const TILES_SQLITE: &str = "SELECT tiles.place, tiles.hashes FROM json_each($1) AS wanted \
     JOIN tiles ON tiles.place = CAST(wanted.value AS INTEGER)";
const TILES_POSTGRES: &str = "SELECT tiles.place, tiles.hashes FROM UNNEST($1::TEXT[]) AS wanted (place) \
     JOIN tiles ON tiles.place = wanted.place::BIGINT";

async fn next_epoch(tx: &mut Tx) -> Result<i64, Error> {
    tx.execute(
        "INSERT INTO head (id, size, root, epoch) VALUES (1, 0, $1, 0) ON CONFLICT (id) DO NOTHING",
        vec![TreeHead::EMPTY.root.into()],
    )
    .await?;
    let row = tx
        .fetch_optional(
            "UPDATE head SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch",
            Vec::new(),
        )
        .await?;
    row.ok_or_else(no_head)?.get("epoch")
}

fn no_head() -> Error {
    Error::Damaged {
        what: "log",
        problem: "it has no head".to_owned(),
    }
}

fn missing(index: u64) -> Error {
    Error::Damaged {
        what: "log",
        problem: format!("entry {index} is missing"),
    }
}

fn damaged(error: &tlog_tiles::Error) -> Error {
    Error::Damaged {
        what: "tree",
        problem: format!("its tiles do not give its root: {error}"),
    }
}
