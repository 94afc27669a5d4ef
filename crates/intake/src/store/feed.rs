//! Senders' feeds: what became of each sender's reports, in the order of commits.

use std::collections::BTreeMap;

use api::intake::{CaseChange, Outcome, ReportNews};
use journal::Time;
use prost::Message as _;
use sql::{Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{
    Sender, SqlStore, external, name,
    sql_store::{case_of, parse_id},
};
use crate::state::State;

/// Something that became of a report, as its feed has it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its place in the sender's feed.
    pub position: u64,
    /// When it was recorded.
    pub record_time: Time,
    /// Id of the report.
    pub report: Uuid,
    /// The case as routing last told of it.
    pub case: Option<CaseChange>,
    /// What the sender is told.
    pub news: ReportNews,
}

/// A sender that has not confirmed all of its feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Who it is.
    pub owner: String,
    /// How much it has not confirmed; [`MOST_COUNTED`] stands for more, too.
    pub count: u64,
    /// When the first of it was recorded; `None` if all of it was deleted since.
    pub since: Option<Time>,
    /// When it last confirmed anything.
    pub confirm_time: Option<Time>,
}

/// What senders that confirm have not confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnconfirmedTally {
    /// How many senders.
    pub senders: u64,
    /// When the oldest of it was recorded.
    pub since: Option<Time>,
}

/// Outcomes that are counted for one sender.
pub const MOST_COUNTED: u64 = 1_000;

/// What is added to feeds.
pub(super) struct Item {
    pub(super) owner: String,
    pub(super) report: Uuid,
    pub(super) news: ReportNews,
}

const FEED: Insert = Insert::into(
    "report_feed",
    &[
        ("owner", Kind::Text),
        ("position", Kind::Int),
        ("report", Kind::Text),
        ("record_time", Kind::Int),
        ("news", Kind::Bytes),
    ],
);

const FEEDS: Insert = Insert::into("report_feeds", &[("owner", Kind::Text), ("position", Kind::Int)]).then(
    "ON CONFLICT (owner) DO UPDATE SET position = report_feeds.position + excluded.position \
     RETURNING owner, position",
);

/// What its sender is told when a report's state or outcome is another than before; `None` if
/// neither is.
pub(super) fn news(
    before: (State, Option<&[u8]>),
    after: State,
    kind: &str,
    time: Time,
    case: &CaseChange,
) -> Result<Option<ReportNews>, Error> {
    let (state, case_before) = before;
    if state == after {
        let was = case_of(case_before)?.and_then(|case| case.outcome);
        if decided(was.as_ref()) == decided(case.outcome.as_ref()) {
            return Ok(None);
        }
    }
    Ok(Some(ReportNews {
        state: after.to_proto().into(),
        kind: match state == after {
            true => kind.to_owned(),
            // Not the case's: that a report joined a case is nobody's to know.
            false => after.kind().name().to_owned(),
        },
        change_time: Some(time.to_proto()),
        agency: case.lead.clone(),
        agency_titles: case.lead_titles.clone(),
        advice: case.advice.clone(),
        outcome: case.outcome.clone().map(|outcome| Outcome {
            // To the reporter, and with the receipt.
            text: String::new(),
            ..outcome
        }),
        ..ReportNews::default()
    }))
}

/// What tells one decision from another: not what can be done about it, which time changes.
fn decided(outcome: Option<&Outcome>) -> Option<(i32, &[i32], Option<Time>, &str)> {
    let outcome = outcome?;
    let time = outcome.decide_time.as_ref().and_then(Time::from_proto);
    Some((outcome.kind, &outcome.effects, time, &outcome.agency))
}

/// Adds to feeds.
///
/// Call it last in the transaction. It locks each feed's row until the commit, in one order, so
/// positions are given out in the order of commits without gaps: a reader of one has missed none
/// below it.
pub(super) async fn feed(tx: &mut Tx, items: Vec<Item>, now: Time) -> Result<(), Error> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for item in &items {
        *counts.entry(item.owner.clone()).or_default() += 1;
    }
    let heads = counts
        .iter()
        .map(|(owner, count)| [owner.clone().into(), (*count).into()]);
    let heads = FEEDS.rows(tx, heads.collect()).await?;
    let mut next = heads
        .iter()
        .map(|row| {
            let owner: String = row.get("owner")?;
            let added = counts.get(&owner).copied().unwrap_or_default();
            let head: i64 = row.get("position")?;
            Ok((owner, head - added + 1))
        })
        .collect::<Result<BTreeMap<String, i64>, Error>>()?;
    let rows = items
        .into_iter()
        .map(|item| {
            let position = next.get_mut(&item.owner).ok_or(Error::Damaged {
                what: "feed",
                problem: "it has no head".to_owned(),
            })?;
            let row: [Value; 5] = [
                item.owner.into(),
                (*position).into(),
                item.report.into(),
                now.0.into(),
                item.news.encode_to_vec().into(),
            ];
            *position += 1;
            Ok(row)
        })
        .collect::<Result<Vec<_>, Error>>()?;
    FEED.rows(tx, rows).await.map(drop)
}

/// A position as stored. No stored one is so large; a caller's may be.
fn stored(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn time(row: &Row, column: &str) -> Result<Option<Time>, Error> {
    Ok(row.get::<Option<i64>>(column)?.map(Time))
}

impl SqlStore {
    pub(super) async fn feed_of(&self, owner: &Sender, after: u64, limit: u32) -> Result<Vec<Told>, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT position, report_feed.report, record_time, news, external_key, case_view FROM report_feed \
                 JOIN reports ON reports.id = report_feed.report \
                 LEFT JOIN report_states ON report_states.report = report_feed.report \
                 WHERE owner = $1 AND position > $2 ORDER BY position LIMIT $3",
                vec![owner.owner().into(), stored(after).into(), i64::from(limit).into()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let report = parse_id(&row.get::<String>("report")?)?;
                let news: Vec<u8> = row.get("news")?;
                let news = ReportNews::decode(news.as_slice()).map_err(|error| Error::Damaged {
                    what: "news of a report",
                    problem: error.to_string(),
                })?;
                let case: Option<Vec<u8>> = row.get("case_view")?;
                Ok(Told {
                    position: row.count("position", "position")?,
                    record_time: Time(row.get("record_time")?),
                    report,
                    case: case_of(case.as_deref())?,
                    news: ReportNews {
                        report: name(report),
                        external_id: external::id(row)?,
                        ..news
                    },
                })
            })
            .collect()
    }

    pub(super) async fn feed_begin(&self, owner: &Sender, since: Time) -> Result<u64, Error> {
        let row = self
            .db
            .fetch_optional(
                "SELECT position FROM report_feed WHERE owner = $1 AND record_time >= $2 ORDER BY position LIMIT 1",
                vec![owner.owner().into(), since.0.into()],
            )
            .await?;
        match row {
            Some(row) => Ok(row.count("position", "position")?.saturating_sub(1)),
            None => self.head_of(owner).await,
        }
    }

    pub(super) async fn head_of(&self, owner: &Sender) -> Result<u64, Error> {
        let row = self
            .db
            .fetch_optional(
                "SELECT position FROM report_feeds WHERE owner = $1",
                vec![owner.owner().into()],
            )
            .await?;
        row.map_or(Ok(0), |row| row.count("position", "position"))
    }

    /// Writes one row, whether or not anything is new, and whether or not there is any news:
    /// neither an answer nor its time tells.
    pub(super) async fn confirm_up_to(&self, owner: &Sender, position: u64, now: Time) -> Result<(), Error> {
        let values = || vec![owner.owner().into(), stored(position).into(), now.0.into()];
        sql::transact!(self.db, |tx| tx.execute(
            "INSERT INTO report_feeds (owner, position, confirmed, confirm_time) VALUES ($1, 0, 0, $3) \
             ON CONFLICT (owner) DO UPDATE SET confirm_time = excluded.confirm_time, confirmed = \
             CASE WHEN report_feeds.confirmed < $2 AND report_feeds.position >= $2 THEN $2 \
             ELSE report_feeds.confirmed END",
            values(),
        ))
        .map(drop)
    }

    pub(super) async fn unconfirmed_after(&self, after: Option<&str>, limit: u32) -> Result<Vec<Unconfirmed>, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT owner, confirm_time, \
                 (SELECT COUNT(*) FROM (SELECT 1 FROM report_feed WHERE report_feed.owner = report_feeds.owner \
                   AND report_feed.position > confirmed LIMIT $3) AS behind) AS behind, \
                 (SELECT record_time FROM report_feed WHERE report_feed.owner = report_feeds.owner \
                   AND report_feed.position > confirmed ORDER BY report_feed.position LIMIT 1) AS since \
                 FROM report_feeds WHERE position > confirmed AND owner > $1 ORDER BY owner LIMIT $2",
                vec![
                    after.unwrap_or_default().to_owned().into(),
                    i64::from(limit).into(),
                    stored(MOST_COUNTED).into(),
                ],
            )
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(Unconfirmed {
                owner: row.get("owner")?,
                count: row.count("behind", "count")?,
                since: time(row, "since")?,
                confirm_time: time(row, "confirm_time")?,
            });
        }
        Ok(found)
    }

    pub(super) async fn tally_unconfirmed(&self) -> Result<UnconfirmedTally, Error> {
        let row = self
            .db
            .fetch_optional(
                "SELECT COUNT(since) AS senders, MIN(since) AS since FROM (SELECT \
                 (SELECT record_time FROM report_feed WHERE report_feed.owner = report_feeds.owner \
                   AND report_feed.position > confirmed ORDER BY report_feed.position LIMIT 1) AS since \
                 FROM report_feeds WHERE position > confirmed AND confirm_time IS NOT NULL) AS behind",
                Vec::new(),
            )
            .await?;
        match row {
            None => Ok(UnconfirmedTally::default()),
            Some(row) => Ok(UnconfirmedTally {
                senders: row.count("senders", "count")?,
                since: time(&row, "since")?,
            }),
        }
    }
}

/// Deletes the oldest of all feeds.
pub(super) async fn forget(tx: &mut Tx, before: Time, limit: u32) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM report_feed WHERE (owner, position) IN (SELECT owner, position FROM report_feed \
         WHERE record_time < $1 ORDER BY record_time LIMIT $2)",
        vec![before.0.into(), i64::from(limit).into()],
    )
    .await
}

#[cfg(test)]
mod tests {
    use api::{event::DispositionKind, google::r#type::LocalizedText};

    use super::*;

    fn case(outcome: Option<Outcome>) -> CaseChange {
        CaseChange {
            lead: "agencies/police-CN".to_owned(),
            lead_titles: vec![LocalizedText::default()],
            reporter_text: "for the reporter".to_owned(),
            outcome,
            ..CaseChange::default()
        }
    }

    #[test]
    fn each_state_and_each_outcome_is_news_once() {
        let decided = |kind: DispositionKind, second: i64| Outcome {
            kind: kind.into(),
            text: "for the reporter".to_owned(),
            decide_time: Some(Time(second * 1_000_000).to_proto()),
            ..Outcome::default()
        };
        let open = case(None);
        let penalty = case(Some(decided(DispositionKind::Penalty, 1)));
        let closing = case(Some(Outcome {
            reviewable: true,
            ..decided(DispositionKind::Penalty, 1)
        }));
        let again = case(Some(decided(DispositionKind::Penalty, 2)));
        let told = |before: (State, Option<&CaseChange>), after, case: &CaseChange| {
            let seen = before.1.map(prost::Message::encode_to_vec);
            news((before.0, seen.as_deref()), after, "case.something", Time(7), case).unwrap()
        };
        for (before, after, case, kind) in [
            ((State::Accepted, None), State::Routed, &open, Some("report.routed")),
            ((State::Routed, Some(&open)), State::Routed, &open, None),
            (
                (State::Routed, Some(&open)),
                State::Routed,
                &penalty,
                Some("case.something"),
            ),
            ((State::Routed, Some(&penalty)), State::Routed, &penalty, None),
            ((State::Routed, Some(&penalty)), State::Routed, &closing, None),
            (
                (State::Routed, Some(&penalty)),
                State::Routed,
                &again,
                Some("case.something"),
            ),
            (
                (State::Routed, Some(&penalty)),
                State::Routed,
                &open,
                Some("case.something"),
            ),
            (
                (State::Routed, Some(&penalty)),
                State::Closed,
                &penalty,
                Some("report.closed"),
            ),
            (
                (State::Closed, Some(&penalty)),
                State::Routed,
                &open,
                Some("report.routed"),
            ),
        ] {
            let told = told(before, after, case);
            assert_eq!(
                told.as_ref().map(|news| news.kind.as_str()),
                kind,
                "{before:?} {after:?}"
            );
            let Some(told) = told else { continue };
            assert_eq!(told.state(), after.to_proto());
            assert_eq!(told.outcome.is_some(), case.outcome.is_some());
            let text = format!("{told:?}");
            assert!(!text.contains("for the reporter"), "{text}");
        }
    }
}
