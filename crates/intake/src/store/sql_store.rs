//! The store in SQLite or PostgreSQL: one transaction per use case.

use std::sync::Arc;

use api::intake::{CaseChange, ReceiptStep};
use async_trait::async_trait;
use journal::{Arrival, Entropy, Logged, Time};
use names::AgencyId;
use prost::Message as _;
use sql::{Db, Error, Row};
use uuid::Uuid;

use super::{
    Accepted, Added, Addition, CaseNews, External, Prepared, Reveal, Revealed, Sender, Sent, SentReport, Store,
    StoredReport, StoredSupplement, Told, Unconfirmed, UnconfirmedTally, Withdrawal, Withdrawn, accept::record_missing,
    feed, name,
};
use crate::{receipt::Lookup, state::State};

/// Maximum number of answers forgotten per transaction.
const FORGOTTEN: u32 = 1_000;

/// A store in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlStore {
    pub(super) db: Db,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("engine", &self.db.engine())
            .finish_non_exhaustive()
    }
}

impl SqlStore {
    /// A store in an open database.
    pub fn new(db: Db, entropy: Arc<dyn Entropy>) -> Self {
        Self { db, entropy }
    }
}

pub(super) fn parse_id(id: &str) -> Result<Uuid, Error> {
    Uuid::parse_str(id).map_err(|error| Error::Damaged {
        what: "report id",
        problem: error.to_string(),
    })
}

/// The agency of a sender, where it has one.
pub(super) fn agency(row: &Row) -> Result<Option<AgencyId>, Error> {
    let id: Option<String> = row.get("agency")?;
    let id = id.as_deref().map(AgencyId::new).transpose();
    id.map_err(|error| Error::Damaged {
        what: "agency",
        problem: error.to_string(),
    })
}

pub(super) fn parse_state(row: &Row) -> Result<State, Error> {
    let name: String = row.get("state")?;
    State::from_name(&name).ok_or(Error::Damaged {
        what: "report state",
        problem: name,
    })
}

/// The case of a row of `standings`.
pub(super) fn case_view(row: &Row) -> Result<Option<CaseChange>, Error> {
    let case: Option<Vec<u8>> = row.get("case_view")?;
    case_of(case.as_deref())
}

/// The case as it is stored with a report.
pub(super) fn case_of(case: Option<&[u8]>) -> Result<Option<CaseChange>, Error> {
    let case = case.map(CaseChange::decode).transpose();
    case.map_err(|error| Error::Damaged {
        what: "case view",
        problem: error.to_string(),
    })
}

/// Reads a row of `standings`.
pub(super) fn stored(row: &Row) -> Result<StoredReport, Error> {
    Ok(StoredReport {
        report: parse_id(&row.get::<String>("id")?)?,
        sender: Sender {
            system: row.get("caller")?,
            agency: agency(row)?,
        },
        content: row.get("content")?,
        accept_time: Time(row.get("accept_time")?),
        state: parse_state(row)?,
        known_time: Time(row.get("known_time")?),
        case: case_view(row)?,
    })
}

#[async_trait]
impl Store for SqlStore {
    async fn accept(&self, batch: &[Prepared]) -> Result<Vec<Accepted>, Error> {
        match self.accept_new(batch).await {
            Ok(()) => Ok(batch.iter().map(Prepared::accepted).collect()),
            Err(error) if error.is_unique_violation() => {
                let earlier = sql::transact!(self.db, |tx| record_missing(&mut tx, batch))?;
                let answers = batch.iter().zip(earlier);
                Ok(answers
                    .map(|(report, earlier)| earlier.unwrap_or_else(|| report.accepted()))
                    .collect())
            }
            Err(error) => Err(error),
        }
    }

    async fn known(&self, external: &External) -> Result<Option<Accepted>, Error> {
        self.known_external(external).await
    }

    async fn record_case_changes(&self, news: &[CaseNews], now: Time) -> Result<Vec<Arrival>, Error> {
        sql::transact!(self.db, |tx| self.try_record(&mut tx, news, now))
    }

    async fn record_progress(&self, arrived: Time, now: Time) -> Result<(), Error> {
        if arrived > now {
            return Ok(());
        }
        sql::transact!(self.db, |tx| tx.execute(
            "INSERT INTO progress (service, arrived_time) VALUES ('routing', $1) \
             ON CONFLICT (service) DO UPDATE SET arrived_time = excluded.arrived_time \
             WHERE progress.arrived_time < excluded.arrived_time OR progress.arrived_time > $2",
            vec![arrived.0.into(), now.0.into()],
        ))?;
        Ok(())
    }

    async fn progress(&self, now: Time) -> Result<Option<Time>, Error> {
        const ARRIVED: &str = "SELECT arrived_time FROM progress WHERE service = 'routing'";
        let row = self.db.fetch_optional(ARRIVED, Vec::new()).await?;
        let arrived = row.map(|row| row.get("arrived_time").map(Time)).transpose()?;
        if arrived.is_some_and(|arrived| arrived > now) {
            // Otherwise it would count again once the clock reaches it, even if routing has been
            // silent since.
            sql::transact!(self.db, |tx| tx.execute(
                "DELETE FROM progress WHERE service = 'routing' AND arrived_time > $1",
                vec![now.0.into()],
            ))?;
            return Ok(None);
        }
        Ok(arrived)
    }

    async fn report(&self, report: Uuid) -> Result<Option<StoredReport>, Error> {
        let row = self
            .db
            .fetch_optional(
                "SELECT id, caller, agency, content, accept_time, state, known_time, case_view \
                 FROM standings WHERE id = $1",
                vec![report.into()],
            )
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn sent(&self, sent: &Sent, before: Option<Uuid>, limit: u32) -> Result<Vec<SentReport>, Error> {
        self.sent_by(sent, before, limit).await
    }

    async fn feed(&self, owner: &Sender, after: u64, limit: u32) -> Result<Vec<Told>, Error> {
        self.feed_of(owner, after, limit).await
    }

    async fn feed_begins(&self, owner: &Sender, since: Time) -> Result<u64, Error> {
        self.feed_begin(owner, since).await
    }

    async fn feed_head(&self, owner: &Sender) -> Result<u64, Error> {
        self.head_of(owner).await
    }

    async fn confirm(&self, owner: &Sender, position: u64, now: Time) -> Result<(), Error> {
        self.confirm_up_to(owner, position, now).await
    }

    async fn unconfirmed(&self, after: Option<&str>, limit: u32) -> Result<Vec<Unconfirmed>, Error> {
        self.unconfirmed_after(after, limit).await
    }

    async fn unconfirmed_tally(&self) -> Result<UnconfirmedTally, Error> {
        self.tally_unconfirmed().await
    }

    async fn forget_feeds(&self, before: Time, limit: u32) -> Result<u64, Error> {
        sql::transact!(self.db, |tx| feed::forget(&mut tx, before, limit))
    }

    async fn reveal(&self, reveal: &Reveal, now: Time) -> Result<Revealed, Error> {
        self.reveal_once(reveal, now).await
    }

    async fn add(&self, addition: &Addition, now: Time) -> Result<Added, Error> {
        self.add_once(addition, now).await
    }

    async fn supplements(&self, report: Uuid) -> Result<Vec<StoredSupplement>, Error> {
        self.supplements_of(report).await
    }

    async fn is_answered(&self, report: Uuid, question: i64) -> Result<bool, Error> {
        self.is_answered_in(report, question).await
    }

    async fn withdraw(&self, withdrawal: &Withdrawal, now: Time) -> Result<Withdrawn, Error> {
        self.withdraw_once(withdrawal, now).await
    }

    async fn record_readings(&self, readings: &[journal::Rows]) -> Result<(), Error> {
        self.write_readings(readings).await
    }

    async fn report_by_receipt(&self, receipt: Lookup) -> Result<Option<StoredReport>, Error> {
        let (first, last) = receipt.ids;
        let row = self
            .db
            .fetch_optional(
                "SELECT id, caller, agency, content, accept_time, state, known_time, case_view \
                 FROM standings \
                 WHERE id BETWEEN $1 AND $2 AND receipt_hash = $3",
                vec![first.into(), last.into(), receipt.hash.into()],
            )
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn changes(&self, report: Uuid) -> Result<Vec<Logged>, Error> {
        journal::changes_of(&self.db, &name(report), "audit").await
    }

    async fn steps(&self, report: Uuid) -> Result<Vec<ReceiptStep>, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT step FROM report_steps WHERE report = $1 ORDER BY change_time, record, sequence",
                vec![report.into()],
            )
            .await?;
        let step = |row: &Row| {
            let step: Vec<u8> = row.get("step")?;
            ReceiptStep::decode(step.as_slice()).map_err(|error| Error::Damaged {
                what: "step of a report",
                problem: error.to_string(),
            })
        };
        rows.iter().map(step).collect()
    }

    async fn forget_requests(&self, before: Time) -> Result<u64, Error> {
        sql::transact!(self.db, |tx| journal::forget_requests(&mut tx, before, FORGOTTEN))
    }

    async fn probe(&self, now: Time) -> Result<(), Error> {
        sql::transact!(self.db, |tx| tx.execute(
            "INSERT INTO probe (id, probe_time) VALUES (1, $1) \
             ON CONFLICT (id) DO UPDATE SET probe_time = excluded.probe_time",
            vec![now.0.into()],
        ))
        .map(drop)
    }
}
