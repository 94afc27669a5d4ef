//! Reads entries from the database.

use api::event::Opening;
use async_trait::async_trait;
use journal::Chain;
use sql::{Error, Row, Value};

use crate::{
    read::{Part, Read, Reader},
    sql_store::SqlStore,
};

// Columns that were not requested are not read.
const ENTRIES: &str = "SELECT idx, entry FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3";
const WITH_DETAIL: &str = "SELECT e.idx, e.entry, o.record, o.sequence, o.previous, o.kind, o.chain_salt, o.detail_salt, \
     o.detail FROM entries e LEFT JOIN openings o ON o.idx = e.idx WHERE e.idx >= $1 AND e.idx < $2 ORDER BY e.idx LIMIT $3";
// Ordered by sequence, as the index is; within one record that is the log order, too.
const OF_RECORD: &str = "SELECT e.idx, e.entry, o.record, o.sequence, o.previous, o.kind, o.chain_salt \
     FROM openings o JOIN entries e ON e.idx = o.idx WHERE o.idx >= $1 AND o.idx < $2 AND o.record = $4 \
     ORDER BY o.sequence LIMIT $3";
const OF_RECORD_WITH_DETAIL: &str = "SELECT e.idx, e.entry, o.record, o.sequence, o.previous, o.kind, o.chain_salt, \
     o.detail_salt, o.detail FROM openings o JOIN entries e ON e.idx = o.idx WHERE o.idx >= $1 AND o.idx < $2 \
     AND o.record = $4 ORDER BY o.sequence LIMIT $3";

#[async_trait]
impl Reader for SqlStore {
    async fn read(&self, part: Part<'_>) -> Result<Vec<Read>, Error> {
        let statement = match (part.record, part.with_detail) {
            (None, false) => ENTRIES,
            (None, true) => WITH_DETAIL,
            (Some(_), false) => OF_RECORD,
            (Some(_), true) => OF_RECORD_WITH_DETAIL,
        };
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let mut values = vec![number(part.indexes.start), number(part.indexes.end), number(part.limit)];
        values.extend(part.record.map(Value::from));
        let rows = self.db().fetch(statement, values).await?;
        let mut read = Vec::with_capacity(rows.len());
        for row in &rows {
            read.push(one(row, part.record.is_some(), part.with_detail)?);
        }
        if part.record.is_none() {
            let expected = part.indexes.end.saturating_sub(part.indexes.start).min(part.limit);
            let whole = (part.indexes.start..)
                .zip(&read)
                .all(|(index, read)| read.index == index);
            if !whole || read.len() as u64 != expected {
                let Part { indexes, .. } = part;
                return Err(Error::Damaged {
                    what: "log",
                    problem: format!("an entry from {} to {} is missing", indexes.start, indexes.end),
                });
            }
        }
        Ok(read)
    }
}

fn one(row: &Row, of_record: bool, with_detail: bool) -> Result<Read, Error> {
    let is_change = (of_record || with_detail) && row.get::<Option<String>>("record")?.is_some();
    let chain = match is_change {
        true => Some(Opening {
            salt: row.get::<Vec<u8>>("chain_salt")?.into(),
            content: Chain {
                record: row.get("record")?,
                sequence: row.count("sequence", "sequence")?,
                previous: row.array("previous", "previous hash")?,
                kind: row.get("kind")?,
            }
            .encode()
            .into(),
        }),
        false => None,
    };
    let detail = match is_change && with_detail {
        true => Some(Opening {
            salt: row.get::<Vec<u8>>("detail_salt")?.into(),
            content: row.get::<Vec<u8>>("detail")?.into(),
        }),
        false => None,
    };
    Ok(Read {
        index: row.count("idx", "log index")?,
        entry: row.get("entry")?,
        chain,
        detail,
    })
}
