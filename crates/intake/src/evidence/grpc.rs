//! `remit.intake.v1.EvidenceService`: decodes, calls, encodes.

use api::intake::{
    DownloadEvidenceRequest, DownloadEvidenceResponse, GetEvidenceRequest, GetEvidenceResponse, GetUploadRequest,
    GetUploadResponse, UploadEvidenceRequest, UploadEvidenceResponse, evidence_service_server::EvidenceService,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use rpc::{Failure, caller};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    check,
    service::{Service, message},
};

/// Messages of a download that wait for the caller to take them.
const AHEAD: usize = 2;

#[tonic::async_trait]
impl EvidenceService for Service {
    async fn upload_evidence(
        &self,
        request: Request<Streaming<UploadEvidenceRequest>>,
    ) -> Result<Response<UploadEvidenceResponse>, Status> {
        let caller = caller(&request)?.clone();
        let stored = self
            .upload(&caller, request.into_inner().map_err(Failure::transport))
            .await?;
        let evidence = Some(message(&stored));
        Ok(Response::new(UploadEvidenceResponse { evidence }))
    }

    async fn get_upload(&self, request: Request<GetUploadRequest>) -> Result<Response<GetUploadResponse>, Status> {
        let response = self.get_upload(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(response))
    }

    async fn get_evidence(
        &self,
        request: Request<GetEvidenceRequest>,
    ) -> Result<Response<GetEvidenceResponse>, Status> {
        let id = check::named(&request.get_ref().name)?;
        let stored = self.get(caller(&request)?, id).await?;
        let evidence = Some(message(&stored));
        Ok(Response::new(GetEvidenceResponse { evidence }))
    }

    type DownloadEvidenceStream = BoxStream<'static, Result<DownloadEvidenceResponse, Status>>;

    async fn download_evidence(
        &self,
        request: Request<DownloadEvidenceRequest>,
    ) -> Result<Response<Self::DownloadEvidenceStream>, Status> {
        let outgoing = self.download(caller(&request)?, request.get_ref()).await?;
        let (answers, messages) = mpsc::channel(AHEAD);
        tokio::spawn(outgoing.send(answers, self.limits));
        let messages = ReceiverStream::new(messages).map_err(Status::from);
        Ok(Response::new(messages.boxed()))
    }
}
