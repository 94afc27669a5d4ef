//! Comparing and counting for operators: the records' last changes as each side has them, and the
//! backlog in between.

use std::collections::BTreeMap;

use sql::{Db, Error, Row};

use crate::{Bytes32, Time};

/// A record and its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// Resource name of the record.
    pub record: String,
    /// Sequence of its last change; 0 if it has changes but no state.
    pub sequence: u64,
    /// Hash of its last change's entry.
    pub hash: Bytes32,
    /// Number of changes not yet delivered to audit; 0 unless asked for.
    pub undelivered: u64,
}

/// The table with the state of one kind of record. All statements return the columns `id`,
/// `sequence` and `hash`.
#[derive(Clone, Copy, Debug)]
pub struct StateTable {
    /// Prefix of the records' names, such as `reports/`.
    pub prefix: &'static str,
    /// Selects the records with the ids in the list `$1`.
    pub named: &'static str,
    /// Selects up to `$2` records after the id `$1`, in the order of ids, whose last change is
    /// missing from `journal`. There should be none.
    pub unjournaled: &'static str,
}

/// A page of a service's records after a cursor (empty: from the first), and the cursor for the
/// next page; `None` after the last.
///
/// Records with changes come first, each with its state; then states whose change is missing.
pub async fn state_heads(
    db: &Db,
    tables: &[StateTable],
    cursor: &str,
    limit: u32,
) -> Result<(Vec<RecordHead>, Option<String>), Error> {
    let mut stage = match cursor.split_once(' ') {
        None => {
            let rows = db
                .fetch(
                    "SELECT record FROM journal WHERE sequence = 1 AND record > $1 ORDER BY record LIMIT $2",
                    vec![cursor.into(), i64::from(limit).into()],
                )
                .await?;
            let records = rows
                .iter()
                .map(|row| row.get("record"))
                .collect::<Result<Vec<String>, _>>()?;
            if let Some(last) = records.last().cloned() {
                return Ok((states_of(db, tables, records).await?, Some(last)));
            }
            0
        }
        Some((stage, _)) => stage.parse().unwrap_or(usize::MAX),
    };
    let mut after = cursor.split_once(' ').map_or("", |(_, after)| after);
    while let Some(table) = tables.get(stage) {
        let rows = db
            .fetch(table.unjournaled, vec![after.into(), i64::from(limit).into()])
            .await?;
        let heads = rows
            .iter()
            .map(|row| head(table.prefix, row))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(id) = heads.last().and_then(|last| last.record.strip_prefix(table.prefix)) {
            let cursor = format!("{stage} {id}");
            return Ok((heads, Some(cursor)));
        }
        stage += 1;
        after = "";
    }
    Ok((Vec::new(), None))
}

/// Those of the given records that the service has, each with its number of changes not yet
/// delivered to audit.
pub async fn state_heads_of(db: &Db, tables: &[StateTable], records: Vec<String>) -> Result<Vec<RecordHead>, Error> {
    let mut heads = states_of(db, tables, records.clone()).await?;
    let rows = db
        .fetch(
            "SELECT record, count(*) AS undelivered FROM outbox WHERE consumer = 'audit' AND record = ANY($1) \
             GROUP BY record",
            vec![records.into()],
        )
        .await?;
    for row in &rows {
        let record: String = row.get("record")?;
        let undelivered = row.count("undelivered", "number of undelivered changes")?;
        for head in heads.iter_mut().filter(|head| head.record == record) {
            head.undelivered = undelivered;
        }
    }
    Ok(heads)
}

/// The heads of records as their states have them. For a kind of record without a table the journal
/// decides; for one with a table, a record with changes but no state has sequence 0.
async fn states_of(db: &Db, tables: &[StateTable], records: Vec<String>) -> Result<Vec<RecordHead>, Error> {
    let rows = db
        .fetch(
            "SELECT record, sequence, entry FROM journal WHERE record = ANY($1) AND sequence = \
             (SELECT max(later.sequence) FROM journal AS later WHERE later.record = journal.record)",
            vec![records.clone().into()],
        )
        .await?;
    let mut heads = BTreeMap::new();
    for row in &rows {
        let (record, entry): (String, Vec<u8>) = (row.get("record")?, row.get("entry")?);
        let (sequence, hash) = match tables.iter().any(|table| record.starts_with(table.prefix)) {
            true => (0, [0; 32]),
            false => (row.count("sequence", "sequence")?, crate::entry_hash(&entry)),
        };
        let undelivered = 0;
        heads.insert(
            record.clone(),
            RecordHead {
                record,
                sequence,
                hash,
                undelivered,
            },
        );
    }
    for table in tables {
        let named: Vec<String> = records
            .iter()
            .filter_map(|record| Some(record.strip_prefix(table.prefix)?.to_owned()))
            .collect();
        if named.is_empty() {
            continue;
        }
        for row in &db.fetch(table.named, vec![named.into()]).await? {
            let head = head(table.prefix, row)?;
            heads.insert(head.record.clone(), head);
        }
    }
    Ok(heads.into_values().collect())
}

fn head(prefix: &str, row: &Row) -> Result<RecordHead, Error> {
    Ok(RecordHead {
        record: format!("{prefix}{}", row.get::<String>("id")?),
        sequence: row.count("sequence", "sequence")?,
        hash: row.array("hash", "hash")?,
        undelivered: 0,
    })
}

/// A consumer's backlog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Number of undelivered changes.
    pub waiting: u64,
    /// Time of the oldest.
    pub oldest: Option<Time>,
    /// Number of parked records: their next change was refused.
    pub parked: u64,
    /// The first parked record, and the reason.
    pub first_parked: Option<(String, String)>,
}

/// Reads a consumer's backlog.
pub async fn backlog(db: &Db, consumer: &str) -> Result<Backlog, Error> {
    let row = db
        .fetch_optional(
            "SELECT count(*) AS waiting, min(position) AS oldest FROM outbox WHERE consumer = $1",
            vec![consumer.into()],
        )
        .await?;
    let mut backlog = Backlog::default();
    if let Some(row) = row {
        backlog.waiting = row.count("waiting", "number of undelivered changes")?;
        let oldest: Option<String> = row.get("oldest")?;
        backlog.oldest = oldest.as_deref().and_then(crate::outbox::time_of);
    }
    let rows = db
        .fetch(
            "SELECT record, reason, (SELECT count(*) FROM outbox_parked WHERE consumer = $1) AS parked FROM outbox_parked \
             WHERE consumer = $1 ORDER BY since, record LIMIT 1",
            vec![consumer.into()],
        )
        .await?;
    if let Some(row) = rows.first() {
        backlog.parked = row.count("parked", "number of parked records")?;
        backlog.first_parked = Some((row.get("record")?, row.get("reason")?));
    }
    Ok(backlog)
}
