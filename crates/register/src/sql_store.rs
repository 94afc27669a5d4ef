//! The register in SQLite or PostgreSQL.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    event::{Detail, OperatorRegister},
    routing::LoadOperatorsResponse,
};
use async_trait::async_trait;
use journal::{Answers, Delivery, Draft, Earlier, Entropy, Head, Payload, RequestId, RoutingKind, Time};
use prost::Message as _;
use sql::{Db, Insert, Kind as Column, Row, Tx, Value};

use crate::{
    checked::Group,
    entry::{self, Entry, Validity, day_text},
    file::Mode,
    key::{Key, Kind},
    load::LoadSummary,
    store::{Activated, Activation, Error, Found, Load, RECORD, Store, Sweep, Version},
};

const LOADS: Insert = Insert::into(
    "operator_loads",
    &[
        ("load", Column::Int),
        ("state", Column::Text),
        ("touch_time", Column::Int),
    ],
);

const ENTRIES: Insert = Insert::into(
    "operator_entries",
    &[
        ("key", Column::Text),
        ("load", Column::Int),
        ("valid_from", Column::Text),
        ("valid_to", Column::Text),
        ("place", Column::Text),
        ("operator", Column::Text),
    ],
);

const VERSIONS: Insert = Insert::into(
    "operator_versions",
    &[
        ("version", Column::Int),
        ("load", Column::Int),
        ("digest", Column::Bytes),
        ("entries", Column::Int),
        ("load_time", Column::Int),
    ],
);

/// The version in force and the entries of some names, in one statement and so from one snapshot.
/// `CROSS JOIN` makes SQLite start with the few names instead of the loads.
const FIND: &str = "SELECT r.version, r.digest, r.entries, r.change_time, \
     f.key, f.version AS load_version, f.valid_from, f.valid_to, f.place, f.operator \
     FROM operator_register r LEFT JOIN \
     (SELECT e.key, l.version, e.valid_from, e.valid_to, e.place, e.operator \
      FROM operator_entries e CROSS JOIN operator_loads l \
      WHERE e.key = ANY($1) AND l.load = e.load AND l.state = 'LIVE') f ON TRUE \
     WHERE r.id = 1";

const LIST: &str = "SELECT DISTINCT e.key FROM operator_entries e CROSS JOIN operator_loads l \
     WHERE e.key > $1 AND e.key < $2 AND e.place <> '' AND l.load = e.load AND l.state = 'LIVE' \
     AND NOT EXISTS (SELECT 1 FROM operator_entries o JOIN operator_loads m ON m.load = o.load \
     WHERE o.key = e.key AND m.state = 'LIVE' AND m.version > l.version) \
     ORDER BY e.key LIMIT $3";

/// Names per look-up statement.
const NAMES: usize = 4_000;
/// Names per sweep transaction.
const SWEPT: i64 = 2_000;

/// A register in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlStore {
    db: Db,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("engine", &self.db.engine())
            .finish_non_exhaustive()
    }
}

impl SqlStore {
    /// A store in an open database.
    pub fn new(db: Db, entropy: Arc<dyn Entropy>) -> Self {
        Self { db, entropy }
    }

    async fn try_activate(
        &self,
        tx: &mut Tx,
        load: &Load,
        activation: &Activation,
        now: Time,
    ) -> Result<Activated, Error> {
        let row = tx
            .fetch_optional(
                "SELECT version, digest, entries, change_time, sequence, hash FROM operator_register WHERE id = 1 FOR UPDATE",
                vec![],
            )
            .await?
            .ok_or_else(missing)?;
        let mut answers = Answers::find(tx, &activation.request_id).await?;
        if let Some(earlier) = activation.request_id.as_ref().and_then(|id| answers.earlier(id)) {
            return Ok(Activated::Earlier(earlier));
        }
        let before = version(&row)?;
        if before.version != load.base.version {
            return Ok(Activated::Overtaken);
        }
        let head = Head {
            sequence: row.count("sequence", "sequence")?,
            hash: row.array("hash", "hash")?,
            time: before.time,
        };
        let next = before.version + 1;
        let change = self.change(&head, next, activation, now);
        let put = tx
            .execute(
                "UPDATE operator_loads SET state = 'LIVE', version = $2 WHERE load = $1 AND state = 'LOADING'",
                vec![load.id.into(), next.cast_signed().into()],
            )
            .await?;
        if put == 0 {
            return Err(Error::Raced(GIVEN_UP));
        }
        if activation.mode == Mode::Replace {
            tx.execute(
                "UPDATE operator_loads SET state = 'DEAD' WHERE state = 'LIVE' AND load <> $1",
                vec![load.id.into()],
            )
            .await?;
        }
        let after = Version {
            version: next,
            digest: activation.digest,
            entries: activation.entries,
            time: change.head.time,
        };
        let [number, entries, time] = [next.cast_signed(), after.entries.cast_signed(), after.time.0].map(Value::from);
        let row = [
            number.clone(),
            load.id.into(),
            after.digest.into(),
            entries.clone(),
            time.clone(),
        ];
        VERSIONS.rows(tx, vec![row]).await?;
        tx.execute(
            "UPDATE operator_register SET version = $1, digest = $2, entries = $3, change_time = $4, sequence = $5, \
             hash = $6 WHERE id = 1",
            vec![
                number,
                after.digest.into(),
                entries,
                time,
                change.head.sequence.cast_signed().into(),
                change.head.hash.into(),
            ],
        )
        .await?;
        // Only the log is notified: routing asks the register anew for each report.
        let payloads = vec![Payload::to("audit", change.with_detail().encode_to_vec())];
        journal::append(tx, vec![Delivery { change, payloads }]).await?;
        if let Some(id) = &activation.request_id {
            answers.add(id, first_answer(&activation.summary(after.clone())));
        }
        answers.keep(tx, now).await?;
        Ok(Activated::Done(after))
    }

    fn change(&self, head: &Head, version: u64, activation: &Activation, now: Time) -> journal::Change {
        let draft = Draft {
            source: "routing",
            record: RECORD,
            kind: RoutingKind::OperatorsLoaded.name(),
            caused_by: None,
            detail: Detail {
                from_state: (version - 1).to_string(),
                to_state: version.to_string(),
                actor: Some(activation.actor.clone()),
                version_digest: activation.digest.to_vec().into(),
                operator_register: Some(OperatorRegister {
                    version: version.cast_signed(),
                    replaced: activation.mode == Mode::Replace,
                    entry_count: activation.entries.cast_signed(),
                    added_count: activation.added.cast_signed(),
                    changed_count: activation.changed.cast_signed(),
                    removed_count: activation.removed.cast_signed(),
                }),
                ..Default::default()
            },
            traceparent: activation.traceparent.clone(),
        };
        draft.into_change(head, now, &*self.entropy)
    }
}

/// What a repeat is answered: the last message of the first load.
fn first_answer(summary: &LoadSummary) -> Vec<u8> {
    let response = LoadOperatorsResponse {
        result: Some(summary.to_proto()),
        ..Default::default()
    };
    response.encode_to_vec()
}

async fn try_answer(
    tx: &mut Tx,
    request: &RequestId,
    answer: &LoadSummary,
    now: Time,
) -> Result<Option<Earlier>, Error> {
    let mut answers = Answers::find(tx, [request]).await?;
    let earlier = answers.earlier(request);
    if earlier.is_none() {
        answers.add(request, first_answer(answer));
        answers.keep(tx, now).await?;
    }
    Ok(earlier)
}

const GIVEN_UP: &str = "the abandoned load";

async fn try_begin(tx: &mut Tx, now: Time) -> Result<Load, Error> {
    let row = tx
        .fetch_optional(
            "UPDATE operator_register SET last_load = last_load + 1 WHERE id = 1 \
             RETURNING version, digest, entries, change_time, last_load",
            vec![],
        )
        .await?
        .ok_or_else(missing)?;
    let load = Load {
        id: row.get("last_load")?,
        base: version(&row)?,
    };
    LOADS
        .rows(tx, vec![[load.id.into(), "LOADING".into(), now.0.into()]])
        .await?;
    Ok(load)
}

async fn try_add(tx: &mut Tx, load: &Load, groups: &[Group], now: Time) -> Result<(), Error> {
    let touched = tx
        .execute(
            "UPDATE operator_loads SET touch_time = $2 WHERE load = $1 AND state = 'LOADING'",
            vec![load.id.into(), now.0.into()],
        )
        .await?;
    if touched == 0 {
        return Err(Error::Raced(GIVEN_UP));
    }
    let mut rows: Vec<[Value; 6]> = Vec::with_capacity(groups.len());
    for Group { key, entries } in groups {
        let key = key.stored();
        if entries.is_empty() {
            let [from, to, place, operator] = [""; 4].map(Value::from);
            rows.push([key.clone().into(), load.id.into(), from, to, place, operator]);
        }
        rows.extend(entries.iter().map(|entry| {
            [
                key.clone().into(),
                load.id.into(),
                day_text(entry.validity.from).into(),
                day_text(entry.validity.to).into(),
                entry.place.to_string().into(),
                entry.operator.clone().into(),
            ]
        }));
    }
    ENTRIES.rows(tx, rows).await.map(drop)
}

async fn try_sweep(tx: &mut Tx, sweep: Option<&Sweep>, silent: Time) -> Result<Option<Sweep>, Error> {
    let Some(Sweep { loads, after }) = sweep else {
        tx.execute(
            "UPDATE operator_loads SET state = 'DEAD' WHERE state = 'LOADING' AND touch_time < $1",
            vec![silent.0.into()],
        )
        .await?;
        let dead = tx
            .fetch(
                "SELECT CAST(load AS TEXT) AS load FROM operator_loads WHERE state = 'DEAD'",
                vec![],
            )
            .await?;
        let loads = dead
            .iter()
            .map(|row| row.get("load"))
            .collect::<Result<Vec<String>, _>>()?;
        return Ok((!loads.is_empty()).then(|| Sweep {
            loads,
            after: String::new(),
        }));
    };
    let until = tx
        .fetch_optional(
            "SELECT key FROM operator_entries WHERE key > $1 ORDER BY key LIMIT 1 OFFSET $2",
            vec![after.as_str().into(), SWEPT.into()],
        )
        .await?;
    let Some(until) = until else {
        tx.execute(
            "DELETE FROM operator_entries WHERE key > $1 AND CAST(load AS TEXT) = ANY($2)",
            vec![after.as_str().into(), loads.clone().into()],
        )
        .await?;
        tx.execute(
            "UPDATE operator_loads SET state = 'SWEPT' WHERE CAST(load AS TEXT) = ANY($1)",
            vec![loads.clone().into()],
        )
        .await?;
        return Ok(None);
    };
    let until: String = until.get("key")?;
    tx.execute(
        "DELETE FROM operator_entries WHERE key > $1 AND key <= $2 AND CAST(load AS TEXT) = ANY($3)",
        vec![after.as_str().into(), until.as_str().into(), loads.clone().into()],
    )
    .await?;
    Ok(Some(Sweep {
        loads: loads.clone(),
        after: until,
    }))
}

fn missing() -> Error {
    damaged("missing")
}

fn damaged(problem: impl std::fmt::Display) -> Error {
    Error::Damaged {
        what: "operator register",
        problem: problem.to_string(),
    }
}

/// The version in a row of `operator_register`.
fn version(row: &Row) -> Result<Version, Error> {
    Ok(Version {
        version: row.count("version", "version")?,
        digest: row.array("digest", "digest")?,
        entries: row.count("entries", "number of entries")?,
        time: Time(row.get("change_time")?),
    })
}

/// For each name, the entries of the newest load, which may be a removal.
#[derive(Default)]
struct Newest(BTreeMap<Key, (u64, Vec<Entry>)>);

impl Newest {
    /// Adds a row of [`FIND`]; a row without a name has only the version.
    fn take(&mut self, row: &Row) -> Result<(), Error> {
        let Some(key) = row.get::<Option<String>>("key")? else {
            return Ok(());
        };
        let key = Key::from_stored(&key).ok_or_else(|| damaged(format!("`{key}` is not a name")))?;
        let version = row.count("load_version", "version")?;
        let (newest, entries) = self.0.entry(key.clone()).or_default();
        if version < *newest {
            return Ok(());
        }
        if version > *newest {
            *newest = version;
            entries.clear();
        }
        let place: String = row.get("place")?;
        if !place.is_empty() {
            let day = |column: &str| entry::day(&row.get::<String>(column)?).map_err(damaged);
            entries.push(Entry {
                key,
                validity: Validity {
                    from: day("valid_from")?,
                    to: day("valid_to")?,
                },
                place: place.parse().map_err(damaged)?,
                operator: row.get("operator")?,
            });
        }
        Ok(())
    }

    fn into_groups(self) -> Vec<Group> {
        let groups = self.0.into_iter().filter(|(_, (_, entries))| !entries.is_empty());
        let sorted = |(key, (_, mut entries)): (Key, (u64, Vec<Entry>))| {
            entries.sort_by_key(|entry| entry.validity);
            Group { key, entries }
        };
        groups.map(sorted).collect()
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn version(&self) -> Result<Version, Error> {
        Ok(self.find(Vec::new()).await?.version)
    }

    async fn find(&self, keys: Vec<Key>) -> Result<Found, Error> {
        let mut keys: Vec<String> = keys.iter().map(Key::stored).collect();
        keys.sort_unstable();
        keys.dedup();
        let rows = if keys.len() <= NAMES {
            self.db.fetch(FIND, vec![keys.into()]).await?
        } else {
            let mut snapshot = self.db.snapshot().await?;
            let mut rows = Vec::new();
            for keys in keys.chunks(NAMES) {
                rows.extend(snapshot.fetch(FIND, vec![keys.to_vec().into()]).await?);
            }
            rows
        };
        let mut newest = Newest::default();
        for row in &rows {
            newest.take(row)?;
        }
        Ok(Found {
            version: version(rows.first().ok_or_else(missing)?)?,
            groups: newest.into_groups(),
        })
    }

    async fn list(&self, kind: Option<Kind>, after: Option<&Key>, limit: u32) -> Result<Found, Error> {
        // A semicolon sorts directly after a colon.
        let (first, end) = match kind {
            Some(kind) => (format!("{}:", kind.as_str()), format!("{};", kind.as_str())),
            None => (String::new(), "z".to_owned()),
        };
        let after = after.map_or(first, Key::stored);
        let rows = self
            .db
            .fetch(LIST, vec![after.into(), end.into(), i64::from(limit).into()])
            .await?;
        let key = |row: &Row| {
            let key: String = row.get("key")?;
            Key::from_stored(&key).ok_or_else(|| damaged(format!("`{key}` is not a name")))
        };
        self.find(rows.iter().map(key).collect::<Result<_, _>>()?).await
    }

    async fn begin(&self, now: Time) -> Result<Load, Error> {
        sql::transact!(self.db, |tx| try_begin(&mut tx, now))
    }

    async fn add(&self, load: &Load, groups: &[Group], now: Time) -> Result<(), Error> {
        sql::transact!(self.db, |tx| try_add(&mut tx, load, groups, now))
    }

    async fn activate(&self, load: &Load, activation: Activation, now: Time) -> Result<Activated, Error> {
        sql::transact!(self.db, |tx| self.try_activate(&mut tx, load, &activation, now))
    }

    async fn earlier(&self, request: &RequestId) -> Result<Option<Earlier>, Error> {
        journal::earlier(&self.db, request).await
    }

    async fn answer(&self, request: &RequestId, answer: &LoadSummary, now: Time) -> Result<Option<Earlier>, Error> {
        sql::transact!(self.db, |tx| try_answer(&mut tx, request, answer, now))
    }

    async fn abandon(&self, load: &Load) -> Result<(), Error> {
        sql::transact!(self.db, |tx| tx.execute(
            "UPDATE operator_loads SET state = 'DEAD' WHERE load = $1 AND state = 'LOADING'",
            vec![load.id.into()],
        ))
        .map(drop)
    }

    async fn sweep(&self, sweep: Option<Sweep>, silent: Time) -> Result<Option<Sweep>, Error> {
        sql::transact!(self.db, |tx| try_sweep(&mut tx, sweep.as_ref(), silent))
    }
}
