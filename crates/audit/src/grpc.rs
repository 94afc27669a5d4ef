//! `AuditService`: decodes, calls, encodes.

use std::sync::Arc;

use api::audit::{
    AppendBatchesRequest, AppendBatchesResponse, AppendChangesRequest, AppendChangesResponse, GetCheckpointRequest,
    GetCheckpointResponse, GetConsistencyProofRequest, GetConsistencyProofResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, ListChangesRequest, ListChangesResponse, ListGapsRequest, ListGapsResponse,
    RecordMarkRequest, RecordMarkResponse, UnfreezeProducerRequest, UnfreezeProducerResponse, WatchChangesRequest,
    audit_service_server::AuditService,
};
use futures::stream::BoxStream;
use journal::Clock;
use rpc::{Failure, access};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    batches::{self, end_spans, result, spans},
    oversight,
    read_grpc::{Changes, Reading},
    sequencer::{AppendError, Sequencer},
    store::{Store, StoreError},
};

/// The service.
pub(crate) struct Grpc {
    pub sequencer: Sequencer,
    pub store: Arc<dyn Store>,
    pub reading: Reading,
    pub clock: Arc<dyn Clock>,
    /// Told when something was appended.
    pub grown: Arc<Notify>,
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
        let (source, batches) = (caller.system.clone(), request.into_inner());
        Ok(Response::new(batches::append(self.sequencer.clone(), source, batches)))
    }

    async fn record_mark(&self, request: Request<RecordMarkRequest>) -> Result<Response<RecordMarkResponse>, Status> {
        let caller = rpc::caller(&request)?;
        let mark = oversight::mark(request.get_ref())?;
        let (store, source) = (Arc::clone(&self.store), caller.system.clone());
        let standing = uncancelled(async move { store.note_mark(&source, mark).await }).await?;
        let standing = oversight::standing(standing).into();
        Ok(Response::new(RecordMarkResponse { standing }))
    }

    async fn list_gaps(&self, request: Request<ListGapsRequest>) -> Result<Response<ListGapsResponse>, Status> {
        let listed = oversight::list(&*self.store, request.into_inner(), self.clock.now()).await?;
        Ok(Response::new(listed))
    }

    async fn unfreeze_producer(
        &self,
        request: Request<UnfreezeProducerRequest>,
    ) -> Result<Response<UnfreezeProducerResponse>, Status> {
        let caller = rpc::caller(&request)?;
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
        if request.get_ref().with_detail {
            access::require(&request)?;
        }
        let caller = rpc::caller(&request)?.clone();
        Ok(Response::new(self.reading.list(&caller, request.into_inner()).await?))
    }

    type WatchChangesStream = Changes;

    async fn watch_changes(
        &self,
        request: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        if request.get_ref().with_detail {
            access::require(&request)?;
        }
        let caller = rpc::caller(&request)?.clone();
        Ok(Response::new(self.reading.watch(caller, request.into_inner()).await?))
    }

    async fn get_checkpoint(
        &self,
        _: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let checkpoint = self.reading.published.borrow().note.clone();
        Ok(Response::new(GetCheckpointResponse { checkpoint }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Result<Response<GetInclusionProofResponse>, Status> {
        Ok(Response::new(self.reading.inclusion(request.get_ref()).await?))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        Ok(Response::new(self.reading.consistency(request.get_ref()).await?))
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
                state: "FROZEN",
                description:
                    "the producer is frozen: its past has changed. an operator examines `remit log gaps`, then lets it \
                              append again with `remit log unfreeze`"
                        .to_owned(),
            },
            AppendError::Commit(error) => error.into(),
        }
    }
}
