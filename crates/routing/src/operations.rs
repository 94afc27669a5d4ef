//! Status of routing, for operators.

use std::sync::Arc;

use api::operations::{CaseStatus, GetStatusResponse};
use async_trait::async_trait;
use journal::{Clock, RecordHead, StateTable, Time, Timekeeper};
use rpc::{
    Failure,
    operations::{self, Operated},
};
use sql::Db;

use crate::{metrics, store};

/// The heads of cases. Those of other records are compared in the journal.
const STATES: &[StateTable] = &[StateTable {
    prefix: "cases/",
    named: "SELECT case_id AS id, sequence, hash FROM case_states WHERE case_id = ANY($1)",
    unjournaled: "SELECT case_id AS id, sequence, hash FROM case_states WHERE case_id > $1 AND NOT EXISTS (\
                  SELECT 1 FROM journal WHERE record = 'cases/' || case_id AND journal.sequence = case_states.sequence) \
                  ORDER BY case_id LIMIT $2",
}];

pub(crate) struct Operations {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time: Timekeeper,
}

impl Operations {
    async fn cases(&self, now: Time) -> Result<CaseStatus, Failure> {
        let row = self
            .db
            .fetch_optional(
                "SELECT (SELECT count(*) FROM case_states WHERE state NOT IN ('CLOSED', 'ADVISED')) AS open, \
                 (SELECT count(*) FROM case_states WHERE state = 'AWAITING_DESIGNATION') AS awaiting, \
                 count(*) AS overdue, min(due) AS overdue_since FROM case_clocks WHERE next <= $1 AND due <= $1",
                vec![now.0.into()],
            )
            .await?;
        let Some(row) = row else {
            return Ok(CaseStatus::default());
        };
        let since: Option<i64> = row.get("overdue_since")?;
        let (unread, unread_since) = metrics::unread(&self.db).await?;
        Ok(CaseStatus {
            open_count: row.get("open")?,
            awaiting_designation_count: row.get("awaiting")?,
            overdue_count: row.get("overdue")?,
            overdue_since_time: since.map(|since| Time(since).to_proto()),
            unread_count: unread.cast_signed(),
            unread_since_time: unread_since.map(Time::to_proto),
        })
    }
}

#[async_trait]
impl Operated for Operations {
    async fn status(&self) -> Result<GetStatusResponse, Failure> {
        let now = self.clock.now();
        Ok(GetStatusResponse {
            service: "routing".to_owned(),
            time: Some(now.to_proto()),
            backlogs: operations::backlogs(&self.db, &store::CONSUMERS).await?,
            cases: Some(self.cases(now).await?),
            clock_fault: operations::clock_fault(&self.time).await?,
            ..Default::default()
        })
    }

    async fn heads(&self, cursor: &str, limit: u32) -> Result<(Vec<RecordHead>, Option<String>), Failure> {
        Ok(journal::state_heads(&self.db, STATES, cursor, limit).await?)
    }

    async fn heads_of(&self, records: Vec<String>) -> Result<Vec<RecordHead>, Failure> {
        Ok(journal::state_heads_of(&self.db, STATES, records).await?)
    }
}
