//! `remit.routing.v1.NoticeService`: decodes, calls, encodes.

use std::sync::Arc;

use api::routing::{
    CheckNoticeRequest, CheckNoticeResponse, RequestDecisionReviewRequest, RequestDecisionReviewResponse,
    SubmitStatementRequest, SubmitStatementResponse, notice_service_server::NoticeService,
};
use rpc::caller;
use tonic::{Request, Response, Status};

use crate::grpc;

/// The gRPC service.
pub(crate) struct Service(pub(crate) Arc<grpc::Service>);

#[tonic::async_trait]
impl NoticeService for Service {
    async fn check_notice(
        &self,
        request: Request<CheckNoticeRequest>,
    ) -> Result<Response<CheckNoticeResponse>, Status> {
        let notice = self.0.cases.check_notice(&request.get_ref().receipt).await?;
        Ok(Response::new(CheckNoticeResponse { notice: Some(notice) }))
    }

    async fn submit_statement(
        &self,
        request: Request<SubmitStatementRequest>,
    ) -> Result<Response<SubmitStatementResponse>, Status> {
        let caller = caller(&request)?.clone();
        let notice = self.0.cases.submit_statement(&caller, request.get_ref()).await?;
        Ok(Response::new(SubmitStatementResponse { notice: Some(notice) }))
    }

    async fn request_decision_review(
        &self,
        request: Request<RequestDecisionReviewRequest>,
    ) -> Result<Response<RequestDecisionReviewResponse>, Status> {
        let caller = caller(&request)?.clone();
        let notice = self.0.cases.request_decision_review(&caller, request.get_ref()).await?;
        Ok(Response::new(RequestDecisionReviewResponse { notice: Some(notice) }))
    }
}
