//! Reads the log in the database.

use async_trait::async_trait;
use sql::{Error, Row, Value};

use crate::{
    read::{Part, Read, Reader},
    sql_store::SqlStore,
};

const ENTRIES: &str = "SELECT idx, entry FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3";
const WITH_DETAIL: &str = "SELECT e.idx, e.entry, d.salt, d.detail FROM entries e LEFT JOIN details d ON d.idx = e.idx \
     WHERE e.idx >= $1 AND e.idx < $2 ORDER BY e.idx LIMIT $3";
// By sequence, which is the order of the index; of one record it is that of the log too.
const OF_RECORD: &str =
    "SELECT idx, entry FROM entries WHERE idx >= $1 AND idx < $2 AND record = $4 ORDER BY sequence LIMIT $3";
const OF_RECORD_WITH_DETAIL: &str = "SELECT e.idx, e.entry, d.salt, d.detail FROM entries e \
     LEFT JOIN details d ON d.idx = e.idx WHERE e.idx >= $1 AND e.idx < $2 AND e.record = $4 ORDER BY e.sequence LIMIT $3";

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
            read.push(one(row, part.with_detail)?);
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

fn one(row: &Row, with_detail: bool) -> Result<Read, Error> {
    let detail = match with_detail {
        true => Some((row.array(2, "salt")?, row.get(3)?)),
        false => None,
    };
    Ok(Read {
        index: row.count(0, "log index")?,
        entry: row.get(1)?,
        detail,
    })
}
