//! The last change of each record, as the log has it.

use journal::RecordHead;
use names::Collection;
use sql::{Db, Error};

use crate::check::READ;

/// Records of the services, by name, behind a name: all but what the log itself is the source of.
pub(super) async fn after(db: &Db, after: &str, limit: u32) -> Result<Vec<RecordHead>, Error> {
    let rows = db
        .fetch(
            "SELECT record FROM openings WHERE sequence = 1 AND record > $1 AND record NOT LIKE $4 \
             AND kind <> $3 ORDER BY record LIMIT $2",
            vec![
                after.into(),
                i64::from(limit).into(),
                READ.into(),
                Collection::PRODUCERS.of('%').into(),
            ],
        )
        .await?;
    of(db, rows.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?).await
}

/// Those of these records that the log knows, by name.
pub(super) async fn of(db: &Db, records: Vec<String>) -> Result<Vec<RecordHead>, Error> {
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
            Ok(RecordHead {
                record: row.get(0)?,
                sequence: row.count(1, "sequence")?,
                hash: journal::entry_hash(&row.get::<Vec<u8>>(2)?),
                undelivered: 0,
            })
        })
        .collect()
}
