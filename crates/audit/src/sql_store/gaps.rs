//! The table of changes that are kept out of the log.

use std::collections::HashSet;

use journal::Time;
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};

use crate::{
    gap::{Finding, Gap, GapKind},
    store::GapCursor,
};

const GAPS: Insert = Insert::into(
    "gaps",
    &[
        ("kind", Kind::Text),
        ("key", Kind::Text),
        ("source", Kind::Text),
        ("record", Kind::Text),
        ("first_sequence", Kind::Int),
        ("last_sequence", Kind::Int),
        ("event_id", Kind::Text),
        ("since", Kind::Int),
        ("attempts", Kind::Int),
    ],
)
.then(
    // Names the first event; the gap is as wide as the farthest change kept out shows.
    "ON CONFLICT (kind, key) DO UPDATE SET attempts = gaps.attempts + 1, first_sequence = excluded.first_sequence, \
     last_sequence = CASE WHEN excluded.last_sequence > gaps.last_sequence THEN excluded.last_sequence \
     ELSE gaps.last_sequence END RETURNING kind, key, attempts",
);

/// Records findings, counting repeated ones, and returns the new ones.
pub(super) async fn note(tx: &mut Tx, found: Vec<Finding>, now: Time) -> Result<Vec<Finding>, Error> {
    let rows = found
        .iter()
        .map(|finding| {
            [
                finding.kind.name().into(),
                finding.key().into(),
                finding.source.as_str().into(),
                finding.record.as_str().into(),
                finding.first_sequence.cast_signed().into(),
                finding.last_sequence.cast_signed().into(),
                finding.event_id.to_string().into(),
                now.0.into(),
                1.into(),
            ]
        })
        .collect();
    let mut new = HashSet::new();
    for row in GAPS.rows(tx, rows).await? {
        if row.get::<i64>("attempts")? == 1 {
            new.insert((row.get::<String>("kind")?, row.get::<String>("key")?));
        }
    }
    let is_new = |finding: &Finding| new.contains(&(finding.kind.name().to_owned(), finding.key()));
    Ok(found.into_iter().filter(is_new).collect())
}

/// Deletes the gaps that records have since filled, and returns whether any are left.
pub(super) async fn close(tx: &mut Tx, advanced: Vec<String>) -> Result<bool, Error> {
    tx.execute(
        "DELETE FROM gaps WHERE record = ANY($1) AND kind <> 'EVENT_ID_REUSED' AND last_sequence <= \
         (SELECT max(openings.sequence) FROM openings WHERE openings.record = gaps.record)",
        vec![advanced.into()],
    )
    .await?;
    any(tx).await
}

/// Whether any change is kept out.
pub(super) async fn any(tx: &mut Tx) -> Result<bool, Error> {
    Ok(tx
        .fetch_optional("SELECT attempts FROM gaps LIMIT 1", Vec::new())
        .await?
        .is_some())
}

/// Those of these records that have a known fork.
pub(super) async fn disputed(tx: &mut Tx, records: Vec<String>) -> Result<HashSet<String>, Error> {
    tx.fetch(
        "SELECT key FROM gaps WHERE kind = 'FORK' AND key = ANY($1)",
        vec![records.into()],
    )
    .await?
    .iter()
    .map(|row| row.get("key"))
    .collect()
}

/// Records that an operator has examined the signs of a producer's changed past.
pub(super) async fn examine(tx: &mut Tx, source: &str, now: Time) -> Result<(), Error> {
    tx.execute(
        "UPDATE gaps SET examined = $2 WHERE source = $1 AND kind <> 'MISSING' AND examined IS NULL",
        vec![source.into(), now.0.into()],
    )
    .await?;
    Ok(())
}

/// A page of gaps.
pub(super) async fn list(db: &Db, after: Option<&GapCursor>, limit: u32) -> Result<Vec<Gap>, Error> {
    let (kind, key) = after.map_or(("", ""), |(kind, key)| (kind.name(), key));
    db.fetch(
        "SELECT kind, key, source, record, first_sequence, last_sequence, event_id, since, attempts, examined FROM gaps \
         WHERE kind > $1 OR (kind = $1 AND key > $2) ORDER BY kind, key LIMIT $3",
        vec![kind.into(), key.into(), Value::Int(limit.into())],
    )
    .await?
    .iter()
    .map(gap)
    .collect()
}

fn gap(row: &Row) -> Result<Gap, Error> {
    let kind: String = row.get("kind")?;
    Ok(Gap {
        kind: GapKind::from_name(&kind).ok_or_else(|| Error::Damaged {
            what: "kind of a gap",
            problem: format!("`{kind}` is unknown"),
        })?,
        key: row.get("key")?,
        source: row.get("source")?,
        record: row.get("record")?,
        first_sequence: row.count("first_sequence", "sequence")?,
        last_sequence: row.count("last_sequence", "sequence")?,
        event_id: row.get("event_id")?,
        since: Time(row.get("since")?),
        attempts: row.count("attempts", "attempts")?,
        examined: row.get::<Option<i64>>("examined")?.map(Time),
    })
}
