//! What intake tells its operators.

use std::sync::Arc;

use api::operations::{EvidenceStatus, GetStatusResponse};
use async_trait::async_trait;
use journal::{Clock, RecordHead, StateTable, Time};
use rpc::{
    Failure,
    operations::{self, Operated},
};
use sql::Db;

use crate::store::{self, evidence::EvidenceStore};

/// Reports, evidence, and where they stand.
const STATES: &[StateTable] = &[
    StateTable {
        prefix: "reports/",
        named: "SELECT id, sequence, hash FROM standings WHERE id = ANY($1)",
        unjournaled: "SELECT id, sequence, hash FROM standings WHERE id > $1 AND NOT EXISTS (\
                      SELECT 1 FROM journal WHERE record = 'reports/' || id AND journal.sequence = standings.sequence) \
                      ORDER BY id LIMIT $2",
    },
    StateTable {
        prefix: "evidence/",
        named: "SELECT id, sequence, hash FROM evidence WHERE id = ANY($1)",
        unjournaled: "SELECT id, sequence, hash FROM evidence WHERE id > $1 AND NOT EXISTS (\
                      SELECT 1 FROM journal WHERE record = 'evidence/' || id AND journal.sequence = evidence.sequence) \
                      ORDER BY id LIMIT $2",
    },
];

pub(crate) struct Operations {
    pub(crate) db: Db,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Operated for Operations {
    async fn status(&self) -> Result<GetStatusResponse, Failure> {
        let now = self.clock.now();
        let evidence = self.evidence.tally(now).await?;
        Ok(GetStatusResponse {
            service: "intake".to_owned(),
            time: Some(now.to_proto()),
            backlogs: operations::backlogs(&self.db, &store::CONSUMERS).await?,
            evidence: Some(EvidenceStatus {
                unattached_count: evidence.unattached.cast_signed(),
                overdue_count: evidence.overdue.cast_signed(),
                overdue_since_time: evidence.overdue_since.map(Time::to_proto),
            }),
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
