//! `AuditService`: decodes, calls, encodes.

use std::sync::Arc;

use api::audit::{
    AppendBatchesRequest, AppendBatchesResponse, AppendChangesRequest, AppendChangesResponse, GetCheckpointRequest,
    GetCheckpointResponse, GetConsistencyProofRequest, GetConsistencyProofResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, ListChangesRequest, ListChangesResponse, ListGapsRequest, ListGapsResponse,
    RecordMarkRequest, RecordMarkResponse, UnfreezeProducerRequest, UnfreezeProducerResponse, WatchChangesRequest,
    WatchChangesResponse, audit_inbound_service_server::AuditInboundService, audit_service_server::AuditService,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use journal::{Clock, Writer};
use rpc::{Failure, access};
use tonic::{Request, Response, Status, Streaming};

use crate::{appending, batches, oversight, reading::Reading, sequencer::Sequencer, store::Store};

/// The service.
pub(crate) struct Grpc {
    pub sequencer: Sequencer,
    pub store: Arc<dyn Store>,
    pub reading: Reading,
    pub clock: Arc<dyn Clock>,
    pub writer: Writer,
}

#[tonic::async_trait]
impl AuditService for Grpc {
    async fn list_gaps(&self, request: Request<ListGapsRequest>) -> Result<Response<ListGapsResponse>, Status> {
        let listed = oversight::list(
            &*self.store,
            &self.reading.tokens.seal().await?,
            request.into_inner(),
            self.clock.now(),
        )
        .await?;
        Ok(Response::new(listed))
    }

    async fn unfreeze_producer(
        &self,
        request: Request<UnfreezeProducerRequest>,
    ) -> Result<Response<UnfreezeProducerResponse>, Status> {
        let caller = rpc::caller(&request)?;
        let unfrozen = oversight::unfreeze(&self.store, &self.writer, request.get_ref(), caller, self.clock.now());
        Ok(Response::new(unfrozen.await?))
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

    type WatchChangesStream = BoxStream<'static, Result<WatchChangesResponse, Status>>;

    async fn watch_changes(
        &self,
        request: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        if request.get_ref().with_detail {
            access::require(&request)?;
        }
        let caller = rpc::caller(&request)?.clone();
        let changes = self.reading.watch(caller, request.into_inner()).await?;
        Ok(Response::new(changes.map_err(Status::from).boxed()))
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

#[tonic::async_trait]
impl AuditInboundService for Grpc {
    async fn append_changes(
        &self,
        request: Request<AppendChangesRequest>,
    ) -> Result<Response<AppendChangesResponse>, Status> {
        let caller = rpc::caller(&request)?;
        let source = caller.system.clone();
        let changes = request.into_inner().changes;
        Ok(Response::new(
            appending::append(&self.sequencer, &source, changes).await?,
        ))
    }

    type AppendBatchesStream = BoxStream<'static, Result<AppendBatchesResponse, Status>>;

    async fn append_batches(
        &self,
        request: Request<Streaming<AppendBatchesRequest>>,
    ) -> Result<Response<Self::AppendBatchesStream>, Status> {
        let caller = rpc::caller(&request)?;
        let source = caller.system.clone();
        let batches = request.into_inner().map_err(Failure::transport);
        let answers = batches::append(self.sequencer.clone(), source, batches);
        Ok(Response::new(answers.map_err(Status::from).boxed()))
    }

    async fn record_mark(&self, request: Request<RecordMarkRequest>) -> Result<Response<RecordMarkResponse>, Status> {
        let caller = rpc::caller(&request)?;
        let mark = oversight::mark(request.get_ref())?;
        let noted = oversight::note(&self.store, &self.writer, &caller.system, mark).await?;
        Ok(Response::new(noted))
    }
}
