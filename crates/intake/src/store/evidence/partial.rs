//! Uploads that broke off, and how much of each has arrived.

use std::collections::BTreeSet;

use journal::{Bytes32, Time};
use sql::{Error, Row, Tx};
use uuid::Uuid;

use crate::{
    evidence::UNATTACHED,
    store::{SqlStore, sql_store::parse_id},
};

/// Uploads of one caller of which something is kept.
pub const UPLOADS_PER_CALLER: i64 = 64;

/// What has arrived of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The id under which it lies where files arrive.
    pub file: Uuid,
    /// Keyed hash of the announcement.
    pub fingerprint: Bytes32,
    /// Bytes from the beginning that are durable.
    pub received: u64,
    /// When the first try began.
    pub begin_time: Time,
}

impl Partial {
    /// Until when it is kept.
    pub fn expire_time(&self) -> Time {
        self.begin_time
            .plus_seconds(i64::try_from(UNATTACHED.as_secs()).unwrap_or(i64::MAX))
    }
}

/// What an upload that begins finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is the one of its id now.
    Begun {
        /// What has arrived of it before.
        earlier: Option<Partial>,
        /// A file that was noted of another announcement, or too long ago.
        stale: Option<Uuid>,
    },
    /// The caller has as many as it may have: nothing can be noted of it.
    Full,
}

/// What became of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is noted; the file that was noted before, if that is another, is no longer needed.
    Noted(Option<Uuid>),
    /// Another upload with this id has begun, or came to its end, or its file is not wanted.
    TakenOver,
}

const ONE: &str = "SELECT file, fingerprint, received, begin_time FROM uploads \
                   WHERE caller = $1 AND request_id = $2";
const LOCKED: &str = "SELECT file, fingerprint, received, begin_time FROM uploads \
                      WHERE caller = $1 AND request_id = $2 FOR UPDATE";
const OWN_LOCKED: &str = "SELECT file, fingerprint, received, begin_time FROM uploads \
                          WHERE caller = $1 AND request_id = $2 AND writer = $3 FOR UPDATE";

fn read(row: &Row) -> Result<Partial, Error> {
    Ok(Partial {
        file: parse_id(&row.get::<String>("file")?)?,
        fingerprint: row.array("fingerprint", "fingerprint")?,
        received: row.count("received", "received")?,
        begin_time: Time(row.get("begin_time")?),
    })
}

impl SqlStore {
    pub(super) async fn partial_of(&self, caller: &str, id: Uuid, now: Time) -> Result<Option<Partial>, Error> {
        let row = self.db.fetch_optional(ONE, vec![caller.into(), id.into()]).await?;
        let partial = row.as_ref().map(read).transpose()?;
        Ok(partial.filter(|partial| partial.received > 0 && now < partial.expire_time()))
    }

    pub(super) async fn try_begin_partial(
        &self,
        tx: &mut Tx,
        caller: &str,
        id: Uuid,
        partial: &Partial,
    ) -> Result<Begun, Error> {
        let found = tx.fetch_optional(LOCKED, vec![caller.into(), id.into()]).await?;
        let found = found.as_ref().map(read).transpose()?;
        let is_same =
            |found: &Partial| found.fingerprint == partial.fingerprint && partial.begin_time < found.expire_time();
        if found.is_none() {
            let others = tx
                .fetch_optional(
                    "SELECT count(*) AS others FROM uploads WHERE caller = $1",
                    vec![caller.into()],
                )
                .await?;
            if others.map_or(Ok(0), |row| row.get::<i64>("others"))? >= UPLOADS_PER_CALLER {
                return Ok(Begun::Full);
            }
        }
        if found.as_ref().is_some_and(is_same) {
            // Since the first try: going on again and again keeps nothing for ever.
            tx.execute(
                "UPDATE uploads SET writer = $3, note_time = $4 WHERE caller = $1 AND request_id = $2",
                vec![
                    caller.into(),
                    id.into(),
                    partial.file.into(),
                    partial.begin_time.0.into(),
                ],
            )
            .await?;
            return Ok(Begun::Begun {
                earlier: found.filter(|found| found.received > 0),
                stale: None,
            });
        }
        tx.execute(
            "INSERT INTO uploads (caller, request_id, fingerprint, file, received, begin_time, writer, note_time) \
             VALUES ($1, $2, $3, $4, 0, $5, $6, $7) ON CONFLICT (caller, request_id) DO UPDATE SET \
             fingerprint = excluded.fingerprint, file = excluded.file, received = 0, \
             begin_time = excluded.begin_time, writer = excluded.writer, note_time = excluded.note_time",
            vec![
                caller.into(),
                id.into(),
                partial.fingerprint.into(),
                partial.file.into(),
                partial.begin_time.0.into(),
                partial.file.into(),
                partial.begin_time.0.into(),
            ],
        )
        .await?;
        Ok(Begun::Begun {
            earlier: None,
            stale: found.filter(|found| found.received > 0).map(|found| found.file),
        })
    }

    pub(super) async fn try_keep_partial(
        &self,
        tx: &mut Tx,
        caller: &str,
        id: Uuid,
        partial: &Partial,
        now: Time,
    ) -> Result<Kept, Error> {
        let own = vec![caller.into(), id.into(), partial.file.into()];
        let Some(noted) = tx.fetch_optional(OWN_LOCKED, own).await? else {
            return Ok(Kept::TakenOver);
        };
        let noted = read(&noted)?;
        tx.execute(
            "UPDATE uploads SET file = $3, received = $4, note_time = $5 WHERE caller = $1 AND request_id = $2",
            vec![
                caller.into(),
                id.into(),
                partial.file.into(),
                partial.received.cast_signed().into(),
                now.0.into(),
            ],
        )
        .await?;
        // Of one of which nothing is noted, the file is its own affair.
        let earlier = Some(noted).filter(|noted| noted.received > 0 && noted.file != partial.file);
        Ok(Kept::Noted(earlier.map(|earlier| earlier.file)))
    }

    pub(super) async fn try_give_up_partial(
        &self,
        tx: &mut Tx,
        caller: &str,
        id: Uuid,
        writer: Uuid,
        is_useless: bool,
    ) -> Result<Option<Uuid>, Error> {
        let gone = tx
            .fetch_optional(
                "DELETE FROM uploads WHERE caller = $1 AND request_id = $2 AND writer = $3 AND received <= $4 \
                 RETURNING file",
                vec![
                    caller.into(),
                    id.into(),
                    writer.into(),
                    if is_useless { i64::MAX } else { 0 }.into(),
                ],
            )
            .await?;
        gone.map(|row| parse_id(&row.get::<String>("file")?)).transpose()
    }

    pub(super) async fn try_forget_partial(&self, tx: &mut Tx, caller: &str, id: Uuid) -> Result<Option<Uuid>, Error> {
        let gone = tx
            .fetch_optional(
                "DELETE FROM uploads WHERE caller = $1 AND request_id = $2 RETURNING file",
                vec![caller.into(), id.into()],
            )
            .await?;
        gone.map(|row| parse_id(&row.get::<String>("file")?)).transpose()
    }

    pub(super) async fn try_forget_partials(
        &self,
        tx: &mut Tx,
        before: Time,
        silent_since: Time,
    ) -> Result<Vec<Uuid>, Error> {
        let gone = tx
            .fetch(
                "DELETE FROM uploads WHERE (caller, request_id) IN (SELECT caller, request_id FROM uploads \
                 WHERE begin_time <= $1 AND note_time <= $2 ORDER BY begin_time LIMIT 100) RETURNING file",
                vec![before.0.into(), silent_since.0.into()],
            )
            .await?;
        gone.iter().map(|row| parse_id(&row.get::<String>("file")?)).collect()
    }

    pub(super) async fn all_partials(&self) -> Result<BTreeSet<Uuid>, Error> {
        let rows = self.db.fetch("SELECT file FROM uploads", Vec::new()).await?;
        rows.iter().map(|row| parse_id(&row.get::<String>("file")?)).collect()
    }
}
