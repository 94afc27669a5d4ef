//! The feeds: for each agency the changes of its cases, in the order of commits.

use std::collections::{BTreeMap, BTreeSet};

use journal::Time;
use sql::{Error, Insert, Kind, Tx};
use uuid::Uuid;

use super::rows;

const FEED: Insert = Insert::into(
    "feed",
    &[
        ("agency", Kind::Text),
        ("position", Kind::Int),
        ("case_id", Kind::Text),
        ("kind", Kind::Text),
        ("change_time", Kind::Int),
    ],
);

const FORGOTTEN: Insert = Insert::into("feed_forgotten", &[("agency", Kind::Text), ("position", Kind::Int)]).then(
    "ON CONFLICT (agency) DO UPDATE SET position = excluded.position \
     WHERE excluded.position > feed_forgotten.position",
);

/// A change to add to feeds.
pub(super) struct News {
    pub(super) case: Uuid,
    pub(super) kind: &'static str,
    pub(super) time: Time,
    /// The agencies that see the case before or after it, by the directory in force.
    pub(super) audience: BTreeSet<String>,
}

/// Gives each change its position and adds it to the feeds of its audience.
///
/// Call it last in the transaction. It locks the row of the head until the commit, so positions are
/// given out in the order of commits without gaps: a reader of one has missed none below it.
pub(super) async fn feed(tx: &mut Tx, news: Vec<News>) -> Result<(), Error> {
    if news.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(news.len()).map_err(|error| rows::damaged("batch", error))?;
    let head: i64 = tx
        .fetch_optional(
            "UPDATE feed_head SET position = position + $1 WHERE id = 1 RETURNING position",
            vec![count.into()],
        )
        .await?
        .ok_or_else(|| rows::damaged("feed head", "it is missing"))?
        .get("position")?;
    let rows = news
        .into_iter()
        .zip(head - count + 1..)
        .flat_map(|(news, position)| {
            news.audience.into_iter().map(move |agency| {
                [
                    agency.into(),
                    position.into(),
                    news.case.to_string().into(),
                    news.kind.into(),
                    news.time.0.into(),
                ]
            })
        })
        .collect();
    FEED.rows(tx, rows).await.map(drop)
}

/// Deletes the oldest changes, and records the last position deleted for each agency.
pub(super) async fn forget_feed(tx: &mut Tx, before: Time, limit: u32) -> Result<u64, Error> {
    let gone = tx
        .fetch(
            "WITH old AS MATERIALIZED (SELECT agency, position FROM feed WHERE change_time < $1 \
             ORDER BY change_time LIMIT $2 FOR UPDATE SKIP LOCKED) \
             DELETE FROM feed WHERE (agency, position) IN (SELECT agency, position FROM old) \
             RETURNING agency, position",
            vec![before.0.into(), i64::from(limit).into()],
        )
        .await?;
    let mut forgotten: BTreeMap<String, i64> = BTreeMap::new();
    for row in &gone {
        let position: i64 = row.get("position")?;
        let last = forgotten.entry(row.get("agency")?).or_default();
        *last = position.max(*last);
    }
    let rows = forgotten
        .into_iter()
        .map(|(agency, position)| [agency.into(), position.into()])
        .collect();
    FORGOTTEN.rows(tx, rows).await?;
    Ok(gone.len() as u64)
}
