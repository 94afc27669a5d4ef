//! `AuditService`: decodes, calls, encodes.

use std::sync::Arc;

use api::{
    audit::{
        AppendBatchesRequest, AppendBatchesResponse, AppendChangesRequest, AppendChangesResponse, AppendResult,
        GetCheckpointRequest, GetCheckpointResponse, GetInclusionProofRequest, GetInclusionProofResponse,
        ListChangesRequest, ListChangesResponse, ListGapsRequest, ListGapsResponse, LoggedChange, RecordMarkRequest,
        RecordMarkResponse, UnfreezeProducerRequest, UnfreezeProducerResponse, audit_service_server::AuditService,
    },
    event::StateChange,
};
use bytes::Bytes;
use futures::stream::BoxStream;
use journal::Clock;
use rpc::{Failure, Identity, Role, Violation, page};
use tokio::sync::{Notify, watch};
use tonic::{Request, Response, Status, Streaming};
use tracing::Span;
use uuid::Uuid;

use crate::{
    batches,
    check::{SERVICES, Verdict},
    oversight, prove,
    publisher::Published,
    sequencer::{AppendError, Sequencer},
    store::{Store, StoreError},
};

/// What page tokens of `ListChanges` are bound to: it has no filter.
const FILTER: &str = "changes";

/// The service.
pub(crate) struct Grpc {
    pub sequencer: Sequencer,
    pub store: Arc<dyn Store>,
    pub published: watch::Receiver<Published>,
    pub clock: Arc<dyn Clock>,
    /// Told when something was appended.
    pub grown: Arc<Notify>,
}

/// Operators see what is missing, and the services what concerns them all.
fn require_overseer(caller: &Identity) -> Result<(), Failure> {
    match caller.role {
        Role::Operator | Role::Service => Ok(()),
        Role::Agency | Role::Partner => Err(Failure::denied("only operators may see this", &caller.system)),
    }
}

/// Runs a write on a task of its own, which a caller that goes away does not stop in the middle.
async fn uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::spawn(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(StoreError::Fenced)) => Err(AppendError::Halted.into()),
        Ok(Err(StoreError::Sql(error))) => Err(error.into()),
        Err(panic) => Err(Failure::Internal(Box::new(panic))),
    }
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
        let changes = batches::of_lawful_size(request.into_inner().changes)?;
        let spans = spans(&changes);
        let verdicts = self.sequencer.append(&source, changes).await.map_err(Failure::from)?;
        end_spans(spans, &verdicts);
        Ok(Response::new(AppendChangesResponse {
            results: verdicts.into_iter().map(result).collect(),
        }))
    }

    type AppendBatchesStream = BoxStream<'static, Result<AppendBatchesResponse, Status>>;

    async fn append_batches(
        &self,
        request: Request<Streaming<AppendBatchesRequest>>,
    ) -> Result<Response<Self::AppendBatchesStream>, Status> {
        let caller = rpc::caller(&request)?;
        caller.require_service(&SERVICES)?;
        let (source, batches) = (caller.system.clone(), request.into_inner());
        Ok(Response::new(batches::append(self.sequencer.clone(), source, batches)))
    }

    async fn record_mark(&self, request: Request<RecordMarkRequest>) -> Result<Response<RecordMarkResponse>, Status> {
        let caller = rpc::caller(&request)?;
        caller.require_service(&SERVICES)?;
        let mark = oversight::mark(request.get_ref())?;
        let (store, source) = (Arc::clone(&self.store), caller.system.clone());
        let standing = uncancelled(async move { store.note_mark(&source, mark).await }).await?;
        let standing = oversight::standing(standing).into();
        Ok(Response::new(RecordMarkResponse { standing }))
    }

    async fn list_gaps(&self, request: Request<ListGapsRequest>) -> Result<Response<ListGapsResponse>, Status> {
        let caller = rpc::caller(&request)?;
        require_overseer(caller)?;
        let listed = oversight::list(&*self.store, request.into_inner(), self.clock.now()).await?;
        Ok(Response::new(listed))
    }

    async fn unfreeze_producer(
        &self,
        request: Request<UnfreezeProducerRequest>,
    ) -> Result<Response<UnfreezeProducerResponse>, Status> {
        let caller = rpc::caller(&request)?;
        if caller.role != Role::Operator {
            return Err(Failure::denied("only an operator may do this", &caller.system).into());
        }
        let actor = caller.actor(&[]);
        let (source, unfreezing) = oversight::unfreezing(request.get_ref(), actor)?;
        let (store, name) = (Arc::clone(&self.store), source.clone());
        let producer = uncancelled(async move { store.unfreeze(&name, unfreezing).await }).await?;
        let producer = producer.ok_or(Failure::NotFound { what: "producer" })?;
        self.grown.notify_one();
        Ok(Response::new(UnfreezeProducerResponse {
            producer: Some(oversight::producer_message(&source, &producer, self.clock.now())),
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
            AppendError::Frozen(source) => Self::WrongState {
                record: format!("producers/{source}"),
                description:
                    "the producer is frozen: its past has changed. an operator examines `remit log gaps`, then lets it \
                              append again with `remit log unfreeze`"
                        .to_owned(),
            },
            AppendError::Commit(error) => error.into(),
        }
    }
}

pub(crate) fn result(verdict: Verdict) -> AppendResult {
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
pub(crate) fn spans(changes: &[StateChange]) -> Vec<(usize, Span)> {
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

pub(crate) fn end_spans(spans: Vec<(usize, Span)>, verdicts: &[Verdict]) {
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
