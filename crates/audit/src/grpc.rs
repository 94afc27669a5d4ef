//! `AuditService`: decodes, calls, encodes.

use std::sync::Arc;

use api::{
    audit::{
        AppendChangesRequest, AppendChangesResponse, AppendResult, GetCheckpointRequest, GetCheckpointResponse,
        GetInclusionProofRequest, GetInclusionProofResponse, ListChangesRequest, ListChangesResponse, LoggedChange,
        audit_service_server::AuditService,
    },
    event::StateChange,
};
use bytes::Bytes;
use rpc::{Failure, Violation, page};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tracing::Span;
use uuid::Uuid;

use crate::{
    check::{SERVICES, Verdict},
    prove,
    publisher::Published,
    sequencer::{AppendError, Sequencer},
    store::Store,
};

/// Changes that one call may append.
const MOST_CHANGES: usize = 1_000;
/// What page tokens of `ListChanges` are bound to: it has no filter.
const FILTER: &str = "changes";

/// The service.
pub(crate) struct Grpc {
    pub sequencer: Sequencer,
    pub store: Arc<dyn Store>,
    pub published: watch::Receiver<Published>,
}

#[tonic::async_trait]
impl AuditService for Grpc {
    async fn append_changes(
        &self,
        request: Request<AppendChangesRequest>,
    ) -> Result<Response<AppendChangesResponse>, Status> {
        let caller = rpc::caller(&request)?;
        caller.require_service(&SERVICES)?;
        let source = caller.system.clone();
        let changes = request.into_inner().changes;
        if !(1..=MOST_CHANGES).contains(&changes.len()) {
            return Err(Failure::invalid("changes", format!("1 to {MOST_CHANGES} at once")).into());
        }
        let spans = spans(&changes);
        let verdicts = self.sequencer.append(&source, changes).await.map_err(Failure::from)?;
        end_spans(spans, &verdicts);
        Ok(Response::new(AppendChangesResponse {
            results: verdicts.into_iter().map(result).collect(),
        }))
    }

    async fn list_changes(
        &self,
        request: Request<ListChangesRequest>,
    ) -> Result<Response<ListChangesResponse>, Status> {
        rpc::caller(&request)?;
        let (start, size) = page(&request.into_inner())?;
        let end = self.published.borrow().head.size;
        let indexes = start.min(end)..start.saturating_add(size).min(end);
        let next_page_token = if indexes.end < end {
            page::encode(FILTER, &indexes.end.to_string())
        } else {
            String::new()
        };
        let entries = self.store.entries(indexes.clone()).await.map_err(Failure::from)?;
        let changes = indexes
            .zip(entries)
            .map(|(index, entry)| LoggedChange {
                index: index.cast_signed(),
                entry: entry.into(),
            })
            .collect();
        Ok(Response::new(ListChangesResponse {
            changes,
            next_page_token,
        }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        rpc::caller(&request)?;
        let checkpoint = self.published.borrow().note.clone();
        Ok(Response::new(GetCheckpointResponse { checkpoint }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Result<Response<GetInclusionProofResponse>, Status> {
        rpc::caller(&request)?;
        let event_id: Uuid = request
            .get_ref()
            .event_id
            .parse()
            .map_err(|_| Failure::invalid("event_id", "must be the UUID of an event"))?;
        let Published { head, note, .. } = self.published.borrow().clone();
        let proof = prove::inclusion(&*self.store, head, event_id)
            .await
            .map_err(Failure::from)?;
        let proof = proof.ok_or(Failure::NotYetLogged)?;
        Ok(Response::new(GetInclusionProofResponse {
            index: proof.index.cast_signed(),
            checkpoint: note,
            path: proof.path.into_iter().map(Bytes::from_owner).collect(),
            entry: proof.entry.into(),
        }))
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            // Another process has taken over, or an operator has to look: either way a later call finds one that writes.
            AppendError::Halted => Self::Unavailable {
                what: "the writer of the log",
            },
            AppendError::Commit(error) => error.into(),
        }
    }
}

fn result(verdict: Verdict) -> AppendResult {
    match verdict {
        Ok(index) => AppendResult {
            index: index.cast_signed(),
            refusal: String::new(),
        },
        Err(refusal) => AppendResult {
            index: 0,
            refusal: refusal.reason().to_owned(),
        },
    }
}

/// Where a page starts and how long it is; or all that is wrong with the request.
fn page(request: &ListChangesRequest) -> Result<(u64, u64), Failure> {
    let mut violations = Vec::new();
    let size = noted(page::size(request.page_size), &mut violations)?;
    let token = noted(page::decode(FILTER, &request.page_token), &mut violations)?;
    let start = match token {
        // A token that passes was made above.
        Some(cursor) => cursor
            .parse()
            .map_err(|_| Failure::invalid("page_token", "start without one"))?,
        None => u64::try_from(request.start_index).unwrap_or_else(|_| {
            violations.push(Violation::new("start_index", "must not be negative"));
            0
        }),
    };
    match violations.is_empty() {
        true => Ok((start, u64::from(size))),
        false => Err(Failure::InvalidInput(violations)),
    }
}

/// Keeps what is wrong with a field, so that the others are looked at too.
fn noted<T: Default>(parsed: Result<T, Failure>, violations: &mut Vec<Violation>) -> Result<T, Failure> {
    match parsed {
        Err(Failure::InvalidInput(found)) => {
            violations.extend(found);
            Ok(T::default())
        }
        other => other,
    }
}

/// A span for each change whose cause was traced: one trace runs from the submitted report to the log.
fn spans(changes: &[StateChange]) -> Vec<(usize, Span)> {
    if !telemetry::enabled() {
        return Vec::new();
    }
    let traced = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| !change.traceparent.is_empty());
    traced
        .map(|(i, change)| {
            let empty = tracing::field::Empty;
            let span = tracing::info_span!("append", remit.service = "audit", index = empty, refusal = empty);
            telemetry::continue_from(&span, &change.traceparent);
            (i, span)
        })
        .collect()
}

fn end_spans(spans: Vec<(usize, Span)>, verdicts: &[Verdict]) {
    for (i, span) in spans {
        match verdicts.get(i) {
            Some(Ok(index)) => span.record("index", index),
            Some(Err(refusal)) => span.record("refusal", refusal.reason()),
            None => &span,
        };
        // A span that was never entered has no beginning.
        span.in_scope(|| {});
    }
}
