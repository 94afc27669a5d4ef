//! What a sender sent, by its index.

use journal::Time;
use names::AgencyId;
use sql::{Error, Row, Value};
use uuid::Uuid;

use super::{
    Sent, SentReport, SqlStore,
    sql_store::{case_view, parse_id, parse_state},
};

impl SqlStore {
    pub(super) async fn sent_by(
        &self,
        sent: &Sent,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<SentReport>, Error> {
        // Ids begin with the millisecond of `accept_time`, so a range of one is a range of the
        // other; the time is compared as well, for the rest of the millisecond.
        let first = sent.start.map_or(Uuid::nil(), least_id);
        let end = sent.end.map_or(Uuid::max(), |end| least_id(end.plus_seconds(1)));
        let below = before.map_or(end, |before| before.min(end));
        let values = vec![
            sent.system.as_str().into(),
            Value::text_or_null(sent.agency.as_ref().map(AgencyId::as_str)),
            first.into(),
            below.into(),
            sent.start.unwrap_or(Time(i64::MIN)).0.into(),
            sent.end.unwrap_or(Time(i64::MAX)).0.into(),
            i64::from(limit).into(),
        ];
        // Each part walks one index to its end of the page: with `OR`, all reports of the sender
        // would be read and sorted.
        let rows = self
            .db
            .fetch(
                "SELECT id, accept_time, state, case_view FROM standings WHERE id IN ( \
                   SELECT id FROM (SELECT id FROM reports WHERE caller = $1 AND id >= $3 AND id < $4 \
                     AND accept_time >= $5 AND accept_time < $6 ORDER BY id DESC LIMIT $7) AS of_system \
                   UNION \
                   SELECT id FROM (SELECT id FROM reports WHERE agency = $2 AND id >= $3 AND id < $4 \
                     AND accept_time >= $5 AND accept_time < $6 ORDER BY id DESC LIMIT $7) AS of_agency) \
                 ORDER BY id DESC LIMIT $7",
                values,
            )
            .await?;
        rows.iter().map(row).collect()
    }
}

fn row(row: &Row) -> Result<SentReport, Error> {
    Ok(SentReport {
        report: parse_id(&row.get::<String>("id")?)?,
        accept_time: Time(row.get("accept_time")?),
        state: parse_state(row)?,
        case: case_view(row)?,
    })
}

/// The least id that a report of this millisecond can have.
fn least_id(time: Time) -> Uuid {
    let millis = u64::try_from(time.0 / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}
