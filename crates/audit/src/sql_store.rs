//! The log in a database: SQLite or PostgreSQL.
//!
//! Appending is one transaction with as many statements for a thousand changes as for one. It locks the head row, so what it
//! reads after that stands still, judges, and moves the head *before it writes anything else*: a fenced store finds its epoch
//! gone there, and has written nothing that a commit could keep.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use async_trait::async_trait;
use journal::{Inbox, Time};
use sql::{Db, Error, Insert, Kind, Schema, Tx, transact};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    check::{Checked, Judge, Placed, Verdict},
    store::{Store, StoreError},
    tree::{Edge, TileId, Tiles, TreeHead},
};

/// What the log's database holds. The records' heads are in the journal's `inbox`: taking changes in is what it is for.
pub const SCHEMAS: &[Schema] = &[
    journal::SCHEMA,
    Schema {
        base: 2_001,
        changes: &[(
            "entries, details, tiles, head and checkpoints",
            include_str!("../migrations/sqlite/0001_audit.sql"),
            include_str!("../migrations/postgres/0001_audit.sql"),
        )],
    },
];

const ENTRIES: Insert = Insert::into(
    "entries",
    &[
        ("idx", Kind::Int),
        ("event_id", Kind::Text),
        ("record", Kind::Text),
        ("sequence", Kind::Int),
        ("kind", Kind::Text),
        ("time", Kind::Int),
        ("entry", Kind::Bytes),
    ],
);

const DETAILS: Insert = Insert::into(
    "details",
    &[("idx", Kind::Int), ("salt", Kind::Bytes), ("detail", Kind::Bytes)],
);

const TILES: Insert = Insert::into(
    "tiles",
    &[("level", Kind::Int), ("n", Kind::Int), ("hashes", Kind::Bytes)],
)
.then("ON CONFLICT (level, n) DO UPDATE SET hashes = excluded.hashes");

/// Of each minute that has passed, one checkpoint is kept.
const KEPT_EVERY: i64 = 60_000_000;

/// A log in a database.
#[derive(Debug)]
pub struct SqlStore {
    db: Db,
    epoch: i64,
    /// The tree's edge after the last append of this store: used again when the head is still there, else read anew.
    edge: Mutex<Edge>,
}

impl SqlStore {
    /// Opens the log in the database that a URL names and takes it over: whatever store was open on it before is fenced.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let db = Db::open(url, SCHEMAS).await?;
        let epoch = transact!(db, |tx| next_epoch(&mut tx))?;
        Ok(Self {
            db,
            epoch,
            edge: Mutex::new(Edge::empty()),
        })
    }

    async fn try_append(&self, tx: &mut Tx, edge: &Edge, group: &[Vec<Checked>]) -> Result<Appended, Error> {
        let changes = || group.iter().flatten();
        let head = lock_head(tx).await?;
        let mut judge = Judge {
            inbox: Inbox::load(tx, changes().map(|change| change.entry.record.clone()).collect()).await?,
            known: known(tx, changes()).await?,
            next: head.size,
        };
        let placed: Vec<_> = changes().map(|change| (judge.place(change), change)).collect();
        let new = || {
            placed.iter().filter_map(|(placed, change)| match placed {
                Placed::New(index) => Some((index.cast_signed(), *change)),
                _ => None,
            })
        };
        let leaves: Vec<_> = new().map(|(_, change)| change.hash).collect();
        let verdicts = || placed.iter().map(|(placed, _)| Verdict::from(*placed)).collect();
        if leaves.is_empty() {
            return Ok(Appended::Done(verdicts(), None));
        }

        let reloaded;
        let edge = if edge.head() == head {
            edge
        } else {
            reloaded = load_edge(tx, head).await?;
            &reloaded
        };
        let (grown, tiles) = edge.grow(&leaves).map_err(|error| damaged(&error))?;
        if !self.move_head(tx, head, grown.head()).await? {
            return Ok(Appended::Fenced);
        }
        ENTRIES
            .rows(tx, new().map(|(index, change)| entry_row(index, change)).collect())
            .await?;
        let details = new().map(|(index, change)| [index.into(), change.salt[..].into(), change.detail[..].into()]);
        DETAILS.rows(tx, details.collect()).await?;
        let tiles = tiles
            .into_iter()
            .map(|(id, hashes)| [i64::from(id.level).into(), id.n.cast_signed().into(), hashes.into()]);
        TILES.rows(tx, tiles.collect()).await?;
        judge.inbox.save(tx).await?;
        Ok(Appended::Done(verdicts(), Some(grown)))
    }

    /// Moves the head on. `false` when it is no longer this store's to move.
    async fn move_head(&self, tx: &mut Tx, from: TreeHead, to: TreeHead) -> Result<bool, Error> {
        let moved = tx
            .execute(
                "UPDATE head SET size = $1, root = $2 WHERE id = 1 AND epoch = $3 AND size = $4",
                vec![
                    to.size.cast_signed().into(),
                    to.root.into(),
                    self.epoch.into(),
                    from.size.cast_signed().into(),
                ],
            )
            .await?;
        Ok(moved == 1)
    }

    /// `false` when this store is fenced, and nothing was written.
    async fn try_keep(&self, tx: &mut Tx, size: u64, note: &str, time: Time) -> Result<bool, Error> {
        let size = size.cast_signed();
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

/// What came of an append.
enum Appended {
    /// The verdicts and, when something was appended, the tree's new edge.
    Done(Vec<Verdict>, Option<Edge>),
    /// This store is fenced, and nothing was written.
    Fenced,
}

#[async_trait]
impl Store for SqlStore {
    async fn append(&self, group: &[Vec<Checked>]) -> Result<Vec<Vec<Verdict>>, StoreError> {
        let mut edge = self.edge.lock().await;
        let (verdicts, grown) = match transact!(self.db, |tx| self.try_append(&mut tx, &edge, group))? {
            Appended::Done(verdicts, grown) => (verdicts, grown),
            Appended::Fenced => return Err(StoreError::Fenced),
        };
        if let Some(grown) = grown {
            *edge = grown;
        }
        let mut verdicts = verdicts.into_iter();
        Ok(group
            .iter()
            .map(|changes| verdicts.by_ref().take(changes.len()).collect())
            .collect())
    }

    async fn head(&self) -> Result<TreeHead, StoreError> {
        let row = self
            .db
            .fetch_optional("SELECT size, root, epoch FROM head WHERE id = 1", Vec::new())
            .await?;
        let row = row.ok_or_else(no_head)?;
        match row.get::<i64>(2)? == self.epoch {
            true => Ok(TreeHead {
                size: row.count(0, "log size")?,
                root: row.array(1, "log root")?,
            }),
            false => Err(StoreError::Fenced),
        }
    }

    async fn tiles(&self, places: BTreeSet<TileId>) -> Result<Tiles, Error> {
        let mut tx = self.db.snapshot().await?;
        let mut tiles = Vec::with_capacity(places.len());
        // A proof reads one or two tiles of each level: a statement for each costs less than one that is never prepared.
        for id in places {
            if let Some(row) = tx
                .fetch_optional(TILE, vec![i64::from(id.level).into(), id.n.cast_signed().into()])
                .await?
            {
                tiles.push((id, row.get(0)?));
            }
        }
        Ok(tiles.into_iter().collect())
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
            if row.count(0, "log index")? != expected {
                return Err(missing(expected));
            }
            entries.push(row.get(1)?);
        }
        match indexes.start.saturating_add(rows.len() as u64) {
            next if next < indexes.end => Err(missing(next)),
            _ => Ok(entries),
        }
    }

    async fn find(&self, event_id: Uuid) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let row = self
            .db
            .fetch_optional(
                "SELECT idx, entry FROM entries WHERE event_id = $1",
                vec![event_id.to_string().into()],
            )
            .await?;
        row.map(|row| Ok((row.count(0, "log index")?, row.get(1)?))).transpose()
    }

    async fn newest_checkpoint(&self) -> Result<Option<String>, Error> {
        let row = self
            .db
            .fetch_optional("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1", Vec::new())
            .await?;
        row.map(|row| row.get(0)).transpose()
    }

    async fn keep_checkpoint(&self, size: u64, note: &str, time: Time) -> Result<(), StoreError> {
        match transact!(self.db, |tx| self.try_keep(&mut tx, size, note, time))? {
            true => Ok(()),
            false => Err(StoreError::Fenced),
        }
    }

    async fn ping(&self) -> Result<(), Error> {
        self.db.ping().await
    }

    async fn close(&self) {
        self.db.close().await;
    }
}

const TILE: &str = "SELECT hashes FROM tiles WHERE level = $1 AND n = $2";

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
    row.ok_or_else(no_head)?.get(0)
}

/// Whoever holds this row appends: what is read after it does not change before the commit.
async fn lock_head(tx: &mut Tx) -> Result<TreeHead, Error> {
    let row = tx
        .fetch_optional("SELECT size, root FROM head WHERE id = 1 FOR UPDATE", Vec::new())
        .await?;
    let row = row.ok_or_else(no_head)?;
    Ok(TreeHead {
        size: row.count(0, "log size")?,
        root: row.array(1, "log root")?,
    })
}

async fn load_edge(tx: &mut Tx, head: TreeHead) -> Result<Edge, Error> {
    let mut tiles = Vec::new();
    for id in Edge::places(head.size) {
        if let Some(row) = tx
            .fetch_optional(TILE, vec![i64::from(id.level).into(), id.n.cast_signed().into()])
            .await?
        {
            tiles.push((id, row.get(0)?));
        }
    }
    Edge::open(head, tiles.into_iter().collect()).map_err(|error| damaged(&error))
}

/// What is logged under the event ids of these changes.
async fn known<'a>(
    tx: &mut Tx,
    changes: impl Iterator<Item = &'a Checked>,
) -> Result<HashMap<Uuid, (u64, journal::Bytes32)>, Error> {
    let ids: Vec<String> = changes.map(|change| change.entry.event_id.to_string()).collect();
    let rows = tx
        .fetch(
            "SELECT event_id, idx, entry FROM entries WHERE event_id = ANY($1)",
            vec![ids.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get(0)?;
            let id = id.parse().map_err(|_| Error::Damaged {
                what: "event id",
                problem: format!("`{id}` is none"),
            })?;
            let entry: Vec<u8> = row.get(2)?;
            Ok((id, (row.count(1, "log index")?, journal::entry_hash(&entry))))
        })
        .collect()
}

fn entry_row(index: i64, change: &Checked) -> [sql::Value; 7] {
    let entry = &change.entry;
    [
        index.into(),
        entry.event_id.to_string().into(),
        entry.record.as_str().into(),
        entry.sequence.cast_signed().into(),
        entry.kind.as_str().into(),
        entry.time.0.into(),
        change.bytes[..].into(),
    ]
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
