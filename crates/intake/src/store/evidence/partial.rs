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

/// What became of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is noted; the file that was noted before, if that is another, is no longer needed.
    Noted(Option<Uuid>),
    /// The caller has as many as it may have.
    Full,
    /// Another upload with this id has taken over, or came to its end.
    TakenOver,
}

const ONE: &str = "SELECT file, fingerprint, received, begin_time FROM uploads \
                   WHERE caller = $1 AND request_id = $2";

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
        Ok(partial.filter(|partial| now < partial.expire_time()))
    }

    pub(super) async fn try_keep_partial(
        &self,
        tx: &mut Tx,
        caller: &str,
        id: Uuid,
        partial: &Partial,
        is_first: bool,
    ) -> Result<Kept, Error> {
        let locked = tx
            .fetch_optional(
                "SELECT file, fingerprint, received, begin_time FROM uploads \
                 WHERE caller = $1 AND request_id = $2 FOR UPDATE",
                vec![caller.into(), id.into()],
            )
            .await?;
        let noted = locked.as_ref().map(read).transpose()?;
        let is_own = noted.is_some_and(|noted| noted.file == partial.file);
        if !is_first && !is_own {
            return Ok(Kept::TakenOver);
        }
        if noted.is_none() {
            let others = tx
                .fetch_optional(
                    "SELECT count(*) AS others FROM uploads WHERE caller = $1",
                    vec![caller.into()],
                )
                .await?;
            if others.map_or(Ok(0), |row| row.get::<i64>("others"))? >= UPLOADS_PER_CALLER {
                return Ok(Kept::Full);
            }
        }
        // Since the first try: going on again and again keeps nothing for ever.
        let begin_time = noted.map_or(partial.begin_time, |noted| noted.begin_time);
        tx.execute(
            "INSERT INTO uploads (caller, request_id, fingerprint, file, received, begin_time) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (caller, request_id) DO UPDATE SET \
             fingerprint = excluded.fingerprint, file = excluded.file, received = excluded.received",
            vec![
                caller.into(),
                id.into(),
                partial.fingerprint.into(),
                partial.file.into(),
                partial.received.cast_signed().into(),
                begin_time.0.into(),
            ],
        )
        .await?;
        Ok(Kept::Noted(noted.map(|noted| noted.file).filter(|_| !is_own)))
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

    pub(super) async fn try_forget_partials(&self, tx: &mut Tx, before: Time) -> Result<Vec<Uuid>, Error> {
        let gone = tx
            .fetch(
                "DELETE FROM uploads WHERE (caller, request_id) IN (SELECT caller, request_id FROM uploads \
                 WHERE begin_time <= $1 ORDER BY begin_time LIMIT 100) RETURNING file",
                vec![before.0.into()],
            )
            .await?;
        gone.iter().map(|row| parse_id(&row.get::<String>("file")?)).collect()
    }

    pub(super) async fn all_partials(&self) -> Result<BTreeSet<Uuid>, Error> {
        let rows = self.db.fetch("SELECT file FROM uploads", Vec::new()).await?;
        rows.iter().map(|row| parse_id(&row.get::<String>("file")?)).collect()
    }
}
