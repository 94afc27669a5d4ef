//! The reference: a bare tonic server that only answers the same message.

use std::{pin::Pin, sync::Arc};

use api::intake::{
    AddInformationRequest, AddInformationResponse, AnswerQuestionRequest, AnswerQuestionResponse,
    BatchSubmitReportsRequest, BatchSubmitReportsResponse, CheckReceiptRequest, CheckReceiptResponse,
    ConfirmReportsRequest, ConfirmReportsResponse, GetReportRequest, GetReportResponse, ListReportsRequest,
    ListReportsResponse, ListUnconfirmedSendersRequest, ListUnconfirmedSendersResponse, RequestReviewRequest,
    RequestReviewResponse, RevealReporterRequest, RevealReporterResponse, SubmitReportRequest, SubmitReportResponse,
    SubmitReportsRequest, SubmitReportsResponse, SubmittedReport, WatchReportsRequest, WatchReportsResponse,
    WithdrawReportRequest, WithdrawReportResponse,
    intake_service_server::{IntakeService, IntakeServiceServer},
    submitted_report,
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes, transport::server::TcpIncoming};

struct Echo;

#[tonic::async_trait]
impl IntakeService for Echo {
    async fn submit_report(
        &self,
        request: Request<SubmitReportRequest>,
    ) -> Result<Response<SubmitReportResponse>, Status> {
        Ok(Response::new(SubmitReportResponse {
            report: request.into_inner().report,
            receipt: String::new(),
            preview: None,
        }))
    }

    async fn batch_submit_reports(
        &self,
        _: Request<BatchSubmitReportsRequest>,
    ) -> Result<Response<BatchSubmitReportsResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    type SubmitReportsStream = Pin<Box<dyn Stream<Item = Result<SubmitReportsResponse, Status>> + Send>>;

    async fn submit_reports(
        &self,
        requests: Request<Streaming<SubmitReportsRequest>>,
    ) -> Result<Response<Self::SubmitReportsStream>, Status> {
        let echoed = requests.into_inner().map(|message| {
            let response = SubmitReportResponse {
                report: message?.request.unwrap_or_default().report,
                receipt: String::new(),
                preview: None,
            };
            Ok(SubmitReportsResponse {
                result: Some(SubmittedReport {
                    result: Some(submitted_report::Result::Response(response)),
                    known: false,
                }),
            })
        });
        Ok(Response::new(Box::pin(echoed)))
    }

    async fn get_report(&self, _: Request<GetReportRequest>) -> Result<Response<GetReportResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn list_reports(&self, _: Request<ListReportsRequest>) -> Result<Response<ListReportsResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    type WatchReportsStream = Pin<Box<dyn Stream<Item = Result<WatchReportsResponse, Status>> + Send>>;

    async fn watch_reports(
        &self,
        _: Request<WatchReportsRequest>,
    ) -> Result<Response<Self::WatchReportsStream>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn confirm_reports(
        &self,
        _: Request<ConfirmReportsRequest>,
    ) -> Result<Response<ConfirmReportsResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn list_unconfirmed_senders(
        &self,
        _: Request<ListUnconfirmedSendersRequest>,
    ) -> Result<Response<ListUnconfirmedSendersResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn check_receipt(&self, _: Request<CheckReceiptRequest>) -> Result<Response<CheckReceiptResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn add_information(
        &self,
        _: Request<AddInformationRequest>,
    ) -> Result<Response<AddInformationResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn answer_question(
        &self,
        _: Request<AnswerQuestionRequest>,
    ) -> Result<Response<AnswerQuestionResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn request_review(
        &self,
        _: Request<RequestReviewRequest>,
    ) -> Result<Response<RequestReviewResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn withdraw_report(
        &self,
        _: Request<WithdrawReportRequest>,
    ) -> Result<Response<WithdrawReportResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }

    async fn reveal_reporter(
        &self,
        _: Request<RevealReporterRequest>,
    ) -> Result<Response<RevealReporterResponse>, Status> {
        Err(Status::unimplemented("the reference echoes only"))
    }
}

/// Like [`serve`], behind the layers of Remit's servers.
pub async fn serve_behind_stack(token: &str, shutdown: &CancellationToken) -> anyhow::Result<String> {
    let server = crate::submit::server("echo", token, Arc::new(|| Box::pin(async { true })))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let routes = Routes::new(IntakeServiceServer::new(Echo));
    tokio::spawn(server.serve(listener, routes, shutdown.clone()));
    Ok(address)
}

/// Serves on a free port until the process ends. Returns the address.
pub async fn serve() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(IntakeServiceServer::new(Echo))
            .serve_with_incoming(incoming),
    );
    Ok(address)
}
