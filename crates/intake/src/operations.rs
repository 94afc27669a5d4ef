//! What intake tells its operators.

use std::sync::Arc;

use api::operations::{EvidenceStatus, GetStatusResponse};
use async_trait::async_trait;
use journal::{Clock, RecordHead, StateTable, Time, Timekeeper};
use rpc::{
    Failure,
    operations::{self, Operated},
};
use sql::Db;

use crate::{
    evidence::{Room, Vault},
    shared,
    store::{self, evidence::EvidenceStore},
};

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
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) room: Room,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time: Timekeeper,
}

#[async_trait]
impl Operated for Operations {
    async fn status(&self) -> Result<GetStatusResponse, Failure> {
        let now = self.clock.now();
        let evidence = self.evidence.tally(now).await?;
        // Beside the status of everything else, which must not fail with the storage.
        let foreign = shared::problem(&self.db, &*self.vault).await;
        let foreign = foreign.unwrap_or_else(|error| Some(telemetry::with_causes(&error)));
        let full = match self.room.problem().await {
            Ok(problem) => problem,
            Err(_) => Some("the free space of the evidence storage cannot be read".to_owned()),
        };
        Ok(GetStatusResponse {
            service: "intake".to_owned(),
            time: Some(now.to_proto()),
            backlogs: operations::backlogs(&self.db, &store::CONSUMERS).await?,
            clock_fault: operations::clock_fault(&self.time).await?,
            evidence: Some(EvidenceStatus {
                unattached_count: evidence.unattached.cast_signed(),
                overdue_count: evidence.overdue.cast_signed(),
                overdue_since_time: evidence.overdue_since.map(Time::to_proto),
                storage_fault: foreign.unwrap_or_default(),
                refusal: full.unwrap_or_default(),
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
