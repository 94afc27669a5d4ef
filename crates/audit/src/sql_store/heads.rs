//! The last change of each record in the log.

use std::collections::{HashMap, HashSet};

use journal::{Entry, Head, RecordHead as LastChange};
use names::Collection;
use sql::{Db, Engine, Error, Tx};

use crate::{check::READ, judge::RecordHead};

/// Up to `limit` records of services after a name, by name: all but those of the log itself.
pub(super) async fn after(db: &Db, after: &str, limit: u32) -> Result<Vec<LastChange>, Error> {
    let own = Collection::PRODUCERS.of('%');
    let rows = db
        .fetch(
            "SELECT record FROM openings WHERE sequence = 1 AND record > $1 AND record NOT LIKE $4 \
             AND kind <> $3 ORDER BY record LIMIT $2",
            vec![after.into(), i64::from(limit).into(), READ.into(), own.into()],
        )
        .await?;
    let records = rows.iter().map(|row| row.get("record"));
    of(db, records.collect::<Result<_, _>>()?).await
}

/// Those of these records that the log knows, by name.
pub(super) async fn of(db: &Db, records: Vec<String>) -> Result<Vec<LastChange>, Error> {
    let rows = db
        .fetch(
            "SELECT openings.record, openings.sequence, entries.entry FROM openings \
             JOIN entries ON entries.idx = openings.idx WHERE openings.record = ANY($1) AND openings.sequence = \
             (SELECT max(later.sequence) FROM openings AS later WHERE later.record = openings.record) \
             ORDER BY openings.record",
            vec![records.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(LastChange {
                record: row.get("record")?,
                sequence: row.count("sequence", "sequence")?,
                hash: journal::entry_hash(&row.get::<Vec<u8>>("entry")?),
                undelivered: 0,
            })
        })
        .collect()
}

/// Looks up the heads of records.
pub(super) async fn find_heads<'a>(
    tx: &mut Tx,
    heads: &mut HashMap<&'a str, RecordHead>,
    records: &HashSet<&'a str>,
) -> Result<(), Error> {
    const SQLITE: &str = "SELECT last.record, last.sequence, entries.entry FROM json_each($1) AS wanted \
         JOIN openings AS last ON last.record = wanted.value AND last.sequence = \
         (SELECT max(openings.sequence) FROM openings WHERE openings.record = wanted.value) \
         JOIN entries ON entries.idx = last.idx";
    const POSTGRES: &str = "SELECT wanted.record, last.sequence, entries.entry FROM UNNEST($1::TEXT[]) AS wanted (record) \
         CROSS JOIN LATERAL (SELECT sequence, idx FROM openings WHERE openings.record = wanted.record \
         ORDER BY sequence DESC LIMIT 1) AS last JOIN entries ON entries.idx = last.idx";
    if records.is_empty() {
        return Ok(());
    }
    let statement = match tx.engine() {
        Engine::Sqlite => SQLITE,
        Engine::Postgres => POSTGRES,
    };
    let wanted: Vec<String> = records.iter().map(|record| (*record).to_owned()).collect();
    for row in tx.fetch(statement, vec![wanted.into()]).await? {
        let (record, entry): (String, Vec<u8>) = (row.get("record")?, row.get("entry")?);
        if let Some(record) = records.get(&*record) {
            heads.insert(
                record,
                (row.count("sequence", "sequence")?, journal::entry_hash(&entry)),
            );
        }
    }
    Ok(())
}

/// The head of a record that the log continues itself.
pub(super) async fn last_of(tx: &mut Tx, record: &str) -> Result<Head, Error> {
    let row = tx
        .fetch_optional(
            "SELECT entries.entry, openings.sequence FROM openings JOIN entries ON entries.idx = openings.idx \
             WHERE openings.record = $1 ORDER BY openings.sequence DESC LIMIT 1",
            vec![record.into()],
        )
        .await?;
    let Some(row) = row else { return Ok(Head::default()) };
    let bytes: Vec<u8> = row.get("entry")?;
    let entry = Entry::decode(&bytes).map_err(|error| Error::Damaged {
        what: "entry",
        problem: error.to_string(),
    })?;
    Ok(Head {
        sequence: row.count("sequence", "sequence")?,
        hash: journal::entry_hash(&bytes),
        time: entry.time,
    })
}
