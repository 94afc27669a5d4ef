//! `remit.routing.v1.CaseService`: decodes, calls, encodes.
//!
//! `grpc/verbs.rs` has the verbs, `grpc/arguments.rs` what their fields mean.

pub(crate) mod arguments;
mod verbs;

use std::sync::Arc;

use api::routing::{
    BatchedCase, Case, CaseNote, CaseSight, CheckAccessRequest, CheckAccessResponse, CheckReportsRequest,
    CheckReportsResponse, CountWorklistsRequest, CountWorklistsResponse, GetCaseRequest, GetCaseResponse,
    HandOverPreview, ListCasesRequest, ListCasesResponse, ListUndeliveredRequest, ListUndeliveredResponse,
    PreviewRouteRequest, PreviewRouteResponse, RouteReportsRequest, RouteReportsResponse, WatchCasesRequest,
    WatchCasesResponse, case_sight::Sight, routing_inbound_service_server::RoutingInboundService,
};
use futures::{StreamExt as _, stream::BoxStream};
use prost::{Message, Name};
use rpc::{Failure, Identity, Officer, Violation, caller};
use tonic::{Request, Response, Status};

use self::arguments::both;
use crate::{
    case::{Action, Party},
    cases::{Answered, Cases, ChangeRequest, check_count, forgotten, watched},
    feed::Interrupted,
    officers::batched,
    reports::Reports,
    store::Given,
    view,
};

/// What a watcher receives.
type Watching = BoxStream<'static, Result<WatchCasesResponse, Status>>;

/// The gRPC service.
pub(crate) struct Service {
    pub(crate) cases: Cases,
    pub(crate) reports: Reports,
}

/// A request message of a verb.
trait ChangeCase: Message + Name + Default {
    type Response;

    /// The fields common to all: name of the case, etag, request id.
    fn take(&mut self) -> Common;

    /// The verb with its arguments, or their violations.
    fn action(&self, officer: Option<&Officer>) -> Result<Action, Vec<Violation>>;

    /// What the officer writes, or the violations.
    fn note(&self, officer: Option<&Officer>) -> Result<CaseNote, Vec<Violation>>;

    /// Whether only to show what it would do.
    fn validate_only(&self) -> bool;

    fn respond(shown: Shown) -> Self::Response;
}

struct Common {
    name: String,
    etag: String,
    request_id: String,
}

/// What a response shows: the case after a change, or what the change would do.
struct Shown {
    sight: Option<CaseSight>,
    preview: Option<HandOverPreview>,
    given: Option<Given>,
}

impl From<Answered> for Shown {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Changed(sight) => Self {
                sight: Some(*sight),
                preview: None,
                given: None,
            },
            Answered::Notified(sight, given) => Self {
                sight: Some(*sight),
                preview: None,
                given: Some(given),
            },
            Answered::Previewed(preview) => Self {
                sight: None,
                preview: Some(*preview),
                given: None,
            },
        }
    }
}

impl Shown {
    /// For verbs that cannot end the caller's sight.
    fn current_case(&mut self) -> Option<Case> {
        match self.sight.take()?.sight {
            Some(Sight::CurrentCase(case)) => Some(case),
            _ => None,
        }
    }

    /// For verbs that can.
    fn sight(&mut self) -> Option<CaseSight> {
        self.sight.take()
    }

    /// For a notice to the affected side: its number.
    fn notice_number(&mut self) -> i64 {
        self.given.as_ref().map_or(0, |given| given.notice.cast_signed())
    }

    /// For a notice to the affected side, after its number.
    fn receipt(&mut self) -> String {
        self.given.take().map(|given| given.receipt).unwrap_or_default()
    }

    /// For verbs that hand the case on.
    fn preview(&mut self) -> Option<HandOverPreview> {
        self.preview.take()
    }
}
/// What a request asks for.
fn change<R: ChangeCase>(mut request: R, officer: Option<&Officer>) -> ChangeRequest {
    let (action, note) = match both(request.action(officer), request.note(officer)) {
        Ok((action, note)) => (Ok(action), note),
        Err(violations) => (Err(violations), CaseNote::default()),
    };
    let validate_only = request.validate_only();
    let Common { name, etag, request_id } = request.take();
    ChangeRequest {
        method: R::NAME,
        content: request.encode_to_vec(),
        name,
        etag,
        request_id,
        action,
        note,
        validate_only,
    }
}

impl Service {
    async fn act<R: ChangeCase>(&self, request: Request<R>) -> Result<Response<R::Response>, Status> {
        let caller = caller(&request)?.clone();
        let change = change(request.into_inner(), caller.officer.as_ref());
        let answered = self.cases.act(&caller, change).await?;
        Ok(Response::new(R::respond(answered.into())))
    }

    /// Each request of a batch, by itself.
    async fn act_each<R: ChangeCase>(&self, caller: &Identity, requests: Vec<R>) -> Result<Vec<BatchedCase>, Status> {
        check_count(requests.len())?;
        let changes = requests
            .into_iter()
            .map(|request| change(request, caller.officer.as_ref()));
        let answers = self.cases.act_each(caller, changes.collect()).await?;
        Ok(answers.into_iter().map(batched).collect())
    }

    async fn get(&self, request: Request<GetCaseRequest>) -> Result<Response<GetCaseResponse>, Status> {
        let case = self.cases.get(caller(&request)?, &request.get_ref().name).await?;
        Ok(Response::new(GetCaseResponse {
            current_case: Some(case),
        }))
    }

    async fn list(&self, request: Request<ListCasesRequest>) -> Result<Response<ListCasesResponse>, Status> {
        let listed = self.cases.list(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(listed))
    }

    async fn count(&self, request: Request<CountWorklistsRequest>) -> Result<Response<CountWorklistsResponse>, Status> {
        let counts = self.cases.count(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(counts))
    }

    async fn undelivered(
        &self,
        request: Request<ListUndeliveredRequest>,
    ) -> Result<Response<ListUndeliveredResponse>, Status> {
        let undelivered = self.cases.undelivered(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(undelivered))
    }

    async fn watch(&self, request: Request<WatchCasesRequest>) -> Result<Response<Watching>, Status> {
        let token = &request.get_ref().resume_token;
        let feed = self.cases.watch(caller(&request)?, token).await?;
        let (bound_to, seal) = (watched(&feed.source().agency), self.cases.tokens.seal().await?);
        let viewer = Party::Agency(feed.source().agency.clone());
        let versions = Arc::clone(&self.cases.versions);
        let messages = feed.into_stream().map(move |item| {
            let (position, item) = item.map_err(|interrupted| match interrupted {
                Interrupted::Forgotten => forgotten(),
                Interrupted::Source(error) => Failure::from(error),
            })?;
            let sight = match &item.case {
                Some(case) => view::sight(case, &viewer, &versions.active().directory),
                None => view::lost(item.id),
            };
            Ok(WatchCasesResponse {
                sight: Some(sight),
                kind: item.kind,
                resume_token: seal.encode(&bound_to, &position.to_string()),
            })
        });
        Ok(Response::new(messages.boxed()))
    }
}

#[tonic::async_trait]
impl RoutingInboundService for Service {
    async fn route_reports(
        &self,
        request: Request<RouteReportsRequest>,
    ) -> Result<Response<RouteReportsResponse>, Status> {
        let results = self.reports.take(request.into_inner()).await?;
        Ok(Response::new(RouteReportsResponse { results }))
    }

    async fn check_access(
        &self,
        request: Request<CheckAccessRequest>,
    ) -> Result<Response<CheckAccessResponse>, Status> {
        Ok(Response::new(self.reports.check_access(request.get_ref()).await?))
    }

    async fn check_reports(
        &self,
        request: Request<CheckReportsRequest>,
    ) -> Result<Response<CheckReportsResponse>, Status> {
        Ok(Response::new(self.reports.check_reports(request.get_ref()).await?))
    }

    async fn preview_route(
        &self,
        request: Request<PreviewRouteRequest>,
    ) -> Result<Response<PreviewRouteResponse>, Status> {
        let preview = self.reports.preview(request.into_inner()).await?;
        Ok(Response::new(PreviewRouteResponse { preview: Some(preview) }))
    }
}
