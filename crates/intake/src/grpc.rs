//! `remit.intake.v1.IntakeService` and `CategoryService`: decode, call, encode.

use api::intake::{
    AddInformationRequest, AddInformationResponse, AnswerQuestionRequest, AnswerQuestionResponse,
    BatchSubmitReportsRequest, BatchSubmitReportsResponse, CheckReceiptRequest, CheckReceiptResponse,
    ConfirmReportsRequest, ConfirmReportsResponse, GetCategoryRequest, GetCategoryResponse, GetReportRequest,
    GetReportResponse, ListCategoriesRequest, ListCategoriesResponse, ListReportsRequest, ListReportsResponse,
    ListUnconfirmedSendersRequest, ListUnconfirmedSendersResponse, RecordCaseChangesRequest, RecordCaseChangesResponse,
    RecordProgressRequest, RecordProgressResponse, RequestReviewRequest, RequestReviewResponse, RevealReporterRequest,
    RevealReporterResponse, SubmitReportRequest, SubmitReportResponse, SubmitReportsRequest, SubmitReportsResponse,
    WatchReportsRequest, WatchReportsResponse, WithdrawReportRequest, WithdrawReportResponse,
    category_service_server::CategoryService, intake_inbound_service_server::IntakeInboundService,
    intake_service_server::IntakeService,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use rpc::caller;
use tonic::{Request, Response, Status, Streaming};

use crate::service::Service;

#[tonic::async_trait]
impl IntakeService for Service {
    async fn submit_report(
        &self,
        request: Request<SubmitReportRequest>,
    ) -> Result<Response<SubmitReportResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(self.submit(&caller, request.into_inner()).await?))
    }

    async fn batch_submit_reports(
        &self,
        request: Request<BatchSubmitReportsRequest>,
    ) -> Result<Response<BatchSubmitReportsResponse>, Status> {
        let caller = caller(&request)?.clone();
        let results = self.submit_each(&caller, request.into_inner().requests).await?;
        Ok(Response::new(BatchSubmitReportsResponse { results }))
    }

    type SubmitReportsStream = BoxStream<'static, Result<SubmitReportsResponse, Status>>;

    async fn submit_reports(
        &self,
        request: Request<Streaming<SubmitReportsRequest>>,
    ) -> Result<Response<Self::SubmitReportsStream>, Status> {
        let caller = caller(&request)?.clone();
        let results = self.submit_stream(caller, request.into_inner());
        let results = results.map_ok(|result| SubmitReportsResponse { result: Some(result) });
        Ok(Response::new(results.boxed()))
    }

    async fn get_report(&self, request: Request<GetReportRequest>) -> Result<Response<GetReportResponse>, Status> {
        let response = self.get(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(response))
    }

    async fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> Result<Response<ListReportsResponse>, Status> {
        let response = self.list(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(response))
    }

    type WatchReportsStream = BoxStream<'static, Result<WatchReportsResponse, Status>>;

    async fn watch_reports(
        &self,
        request: Request<WatchReportsRequest>,
    ) -> Result<Response<Self::WatchReportsStream>, Status> {
        let told = self.watch(caller(&request)?, &request.get_ref().resume_token).await?;
        Ok(Response::new(told.map_err(Status::from).boxed()))
    }

    async fn confirm_reports(
        &self,
        request: Request<ConfirmReportsRequest>,
    ) -> Result<Response<ConfirmReportsResponse>, Status> {
        let response = self.confirm(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(response))
    }

    async fn list_unconfirmed_senders(
        &self,
        request: Request<ListUnconfirmedSendersRequest>,
    ) -> Result<Response<ListUnconfirmedSendersResponse>, Status> {
        Ok(Response::new(self.unconfirmed(request.get_ref()).await?))
    }

    async fn check_receipt(
        &self,
        request: Request<CheckReceiptRequest>,
    ) -> Result<Response<CheckReceiptResponse>, Status> {
        Ok(Response::new(
            self.check_receipt(caller(&request)?, &request.get_ref().receipt)
                .await?,
        ))
    }

    async fn add_information(
        &self,
        request: Request<AddInformationRequest>,
    ) -> Result<Response<AddInformationResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(
            self.add_information(&caller, request.into_inner()).await?,
        ))
    }

    async fn answer_question(
        &self,
        request: Request<AnswerQuestionRequest>,
    ) -> Result<Response<AnswerQuestionResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(
            self.answer_question(&caller, request.into_inner()).await?,
        ))
    }

    async fn request_review(
        &self,
        request: Request<RequestReviewRequest>,
    ) -> Result<Response<RequestReviewResponse>, Status> {
        let caller = caller(&request)?.clone();
        let answer = self.request_review(&caller, request.get_ref()).await?;
        Ok(Response::new(answer))
    }

    async fn withdraw_report(
        &self,
        request: Request<WithdrawReportRequest>,
    ) -> Result<Response<WithdrawReportResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(self.withdraw(&caller, request.get_ref()).await?))
    }

    async fn reveal_reporter(
        &self,
        request: Request<RevealReporterRequest>,
    ) -> Result<Response<RevealReporterResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(self.reveal(&caller, request.get_ref()).await?))
    }
}

#[tonic::async_trait]
impl CategoryService for Service {
    async fn list_categories(
        &self,
        request: Request<ListCategoriesRequest>,
    ) -> Result<Response<ListCategoriesResponse>, Status> {
        Ok(Response::new(self.list_categories(request.get_ref()).await?))
    }

    async fn get_category(
        &self,
        request: Request<GetCategoryRequest>,
    ) -> Result<Response<GetCategoryResponse>, Status> {
        let category = Some(self.category(&request.get_ref().name)?);
        Ok(Response::new(GetCategoryResponse { category }))
    }
}

#[tonic::async_trait]
impl IntakeInboundService for Service {
    async fn record_case_changes(
        &self,
        request: Request<RecordCaseChangesRequest>,
    ) -> Result<Response<RecordCaseChangesResponse>, Status> {
        let results = self.record(request.into_inner()).await?;
        Ok(Response::new(RecordCaseChangesResponse { results }))
    }

    async fn record_progress(
        &self,
        request: Request<RecordProgressRequest>,
    ) -> Result<Response<RecordProgressResponse>, Status> {
        Ok(Response::new(self.record_progress(request.get_ref()).await?))
    }
}
