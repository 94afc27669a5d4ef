//! What a sender sent, by its index.

use journal::Time;
use sql::{Error, Row};
use uuid::Uuid;

use super::{
    Sender, Sent, SentReport, SqlStore, external,
    sql_store::{case_view, parse_id, parse_state},
};

macro_rules! sent {
    ($owner:literal) => {
        concat!(
            "SELECT id, accept_time, state, case_view, external_key FROM standings WHERE id IN ( \
               SELECT id FROM reports WHERE ",
            $owner,
            " AND id >= $2 AND id < $3 AND accept_time >= $4 AND accept_time < $5 ORDER BY id DESC LIMIT $6) \
             ORDER BY id DESC"
        )
    };
}

const OF_AGENCY: &str = sent!("agency = $1");
const OF_SYSTEM: &str = sent!("caller = $1 AND agency IS NULL");
/// A key has its owner in it.
const OF_EXTERNAL_KEY: &str = sent!("external_key = $1");

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
        // What `Sender::owns` says. Each walks one index to the end of the page.
        let (statement, owner) = match (&sent.by, &sent.external_id) {
            (by, Some(id)) => (OF_EXTERNAL_KEY, external::key(by, id)),
            (
                Sender {
                    agency: Some(agency), ..
                },
                None,
            ) => (OF_AGENCY, agency.as_str().to_owned()),
            (Sender { system, agency: None }, None) => (OF_SYSTEM, system.clone()),
        };
        let values = vec![
            owner.into(),
            first.into(),
            below.into(),
            sent.start.unwrap_or(Time(i64::MIN)).0.into(),
            sent.end.unwrap_or(Time(i64::MAX)).0.into(),
            i64::from(limit).into(),
        ];
        let rows = self.db.fetch(statement, values).await?;
        rows.iter().map(row).collect()
    }
}

fn row(row: &Row) -> Result<SentReport, Error> {
    Ok(SentReport {
        report: parse_id(&row.get::<String>("id")?)?,
        accept_time: Time(row.get("accept_time")?),
        state: parse_state(row)?,
        case: case_view(row)?,
        external_id: external::id(row)?,
    })
}

/// The least id that a report of this millisecond can have.
fn least_id(time: Time) -> Uuid {
    let millis = u64::try_from(time.0 / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}
