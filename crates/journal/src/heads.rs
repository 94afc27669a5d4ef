//! What operators compare and count: the records' last changes, as each side has them, and what waits in between.

use std::collections::BTreeMap;

use sql::{Db, Error, Row};

use crate::{Bytes32, Time};

/// A record and its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// Resource name of the record.
    pub record: String,
    /// Sequence of its last change; 0 where changes are there and the state is not.
    pub sequence: u64,
    /// Hash of its last change's entry.
    pub hash: Bytes32,
    /// Changes that audit has not taken yet, where that was asked for.
    pub undelivered: u64,
}

/// Where a service keeps the state of one kind of record. All statements give the record's id, its sequence and its hash.
#[derive(Clone, Copy, Debug)]
pub struct StateTable {
    /// What the records' names begin with, such as `reports/`.
    pub prefix: &'static str,
    /// The records with the ids `$1`, a list.
    pub named: &'static str,
    /// Up to `$2` records, in the order of their ids, after the id `$1`, whose last change is not in `journal`. There should be
    /// none.
    pub unjournaled: &'static str,
}

/// A page of the records that a service has, after the cursor of the page before (empty: from the first), and the cursor for
/// the next page; `None` after the last.
///
/// First all that have changes, each with what its state says; then states whose change is missing.
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
            let records = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<String>, _>>()?;
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

/// Those of these records that a service has, with how much of each waits for audit.
pub async fn state_heads_of(db: &Db, tables: &[StateTable], records: Vec<String>) -> Result<Vec<RecordHead>, Error> {
    let mut heads = states_of(db, tables, records.clone()).await?;
    let rows = db
        .fetch(
            "SELECT record, count(*) FROM outbox WHERE consumer = 'audit' AND record = ANY($1) GROUP BY record",
            vec![records.into()],
        )
        .await?;
    for row in &rows {
        let record: String = row.get(0)?;
        let undelivered = row.count(1, "count")?;
        for head in heads.iter_mut().filter(|head| head.record == record) {
            head.undelivered = undelivered;
        }
    }
    Ok(heads)
}

/// What the states say of these records. Of a kind without a table the journal's word is taken; of a kind with one, a record
/// with changes and no state has sequence 0.
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
        let (record, entry): (String, Vec<u8>) = (row.get(0)?, row.get(2)?);
        let (sequence, hash) = match tables.iter().any(|table| record.starts_with(table.prefix)) {
            true => (0, [0; 32]),
            false => (row.count(1, "sequence")?, crate::entry_hash(&entry)),
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
        record: format!("{prefix}{}", row.get::<String>(0)?),
        sequence: row.count(1, "sequence")?,
        hash: row.array(2, "hash")?,
        undelivered: 0,
    })
}

/// What waits for a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Changes that wait.
    pub waiting: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Time>,
    /// Records whose next change was refused.
    pub parked: u64,
    /// The first of them, and why.
    pub first_parked: Option<(String, String)>,
}

/// Counts what waits for a consumer.
pub async fn backlog(db: &Db, consumer: &str) -> Result<Backlog, Error> {
    let row = db
        .fetch_optional(
            "SELECT count(*), min(position) FROM outbox WHERE consumer = $1",
            vec![consumer.into()],
        )
        .await?;
    let mut backlog = Backlog::default();
    if let Some(row) = row {
        backlog.waiting = row.count(0, "count")?;
        let oldest: Option<String> = row.get(1)?;
        backlog.oldest = oldest.as_deref().and_then(crate::outbox::time_of);
    }
    let rows = db
        .fetch(
            "SELECT record, reason, (SELECT count(*) FROM outbox_parked WHERE consumer = $1) FROM outbox_parked \
             WHERE consumer = $1 ORDER BY since, record LIMIT 1",
            vec![consumer.into()],
        )
        .await?;
    if let Some(row) = rows.first() {
        backlog.parked = row.count(2, "count")?;
        backlog.first_parked = Some((row.get(0)?, row.get(1)?));
    }
    Ok(backlog)
}
