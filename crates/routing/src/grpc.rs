//! `remit.routing.v1.CaseService`: decodes, calls, encodes.

use std::sync::Arc;

use api::{
    event::AssistanceAnswer,
    routing::{
        AcknowledgeCaseRequest, AcknowledgeCaseResponse, AnswerAssistanceRequest, AnswerAssistanceResponse, Case,
        CaseSight, CheckAccessRequest, CheckAccessResponse, CheckReportsRequest, CheckReportsResponse, GetCaseRequest,
        GetCaseResponse, ListCasesRequest, ListCasesResponse, PreviewRouteRequest, PreviewRouteResponse,
        RequestAssistanceRequest, RequestAssistanceResponse, RouteReportsRequest, RouteReportsResponse,
        WatchCasesRequest, WatchCasesResponse, case_service_server::CaseService, case_sight::Sight,
        routing_inbound_service_server::RoutingInboundService,
    },
};
use decision::directory::AgencyId;
use futures::{StreamExt as _, stream::BoxStream};
use prost::{Message, Name};
use rpc::{Failure, Violation, caller};
use tonic::{Request, Response, Status};

use crate::{
    case::{Acknowledge, Action, Answer, AnswerAssistance, Party, RequestAssistance},
    cases::{Cases, ChangeRequest, forgotten, watched},
    feed::Interrupted,
    reports::Reports,
    view,
};

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
    fn action(&self) -> Result<Action, Vec<Violation>>;

    fn respond(shown: Shown) -> Self::Response;
}

struct Common {
    name: String,
    etag: String,
    request_id: String,
}

/// The case after a change, as a response shows it.
struct Shown(CaseSight);

impl Shown {
    /// For verbs that cannot end the caller's sight.
    fn current_case(self) -> Option<Case> {
        match self.0.sight {
            Some(Sight::CurrentCase(case)) => Some(case),
            _ => None,
        }
    }

    /// For verbs that can.
    fn sight(self) -> Option<CaseSight> {
        Some(self.0)
    }
}

/// One line per verb: its request, its response and the field with the case, and its action.
macro_rules! verbs {
    ($($request:ident => $response:ident { $shown:ident }: $action:expr;)+) => {
        $(impl ChangeCase for $request {
            type Response = $response;

            fn take(&mut self) -> Common {
                Common {
                    name: std::mem::take(&mut self.name),
                    etag: std::mem::take(&mut self.etag),
                    request_id: std::mem::take(&mut self.request_id),
                }
            }

            fn action(&self) -> Result<Action, Vec<Violation>> {
                let action: fn(&Self) -> Result<Action, Vec<Violation>> = $action;
                action(self)
            }

            fn respond(shown: Shown) -> $response {
                $response { $shown: shown.$shown() }
            }
        })+
    };
}

verbs! {
    AcknowledgeCaseRequest => AcknowledgeCaseResponse { current_case }: |_| Ok(Action::Acknowledge(Acknowledge));
    RequestAssistanceRequest => RequestAssistanceResponse { current_case }: |asked| {
        let of = agency("agency", &asked.agency)?;
        Ok(Action::RequestAssistance(RequestAssistance { of }))
    };
    AnswerAssistanceRequest => AnswerAssistanceResponse { sight }: |asked| {
        let answer = answer("answer", asked.answer())?;
        Ok(Action::AnswerAssistance(AnswerAssistance { answer }))
    };
}

fn agency(field: &'static str, name: &str) -> Result<AgencyId, Vec<Violation>> {
    AgencyId::from_resource_name(name).map_err(|_| {
        let description = "must be the name of an agency, such as `agencies/{id}`";
        vec![Violation::new(field, description)]
    })
}

fn answer(field: &'static str, answer: AssistanceAnswer) -> Result<Answer, Vec<Violation>> {
    match answer {
        AssistanceAnswer::Provided => Ok(Answer::Provided),
        AssistanceAnswer::Unable => Ok(Answer::Unable),
        AssistanceAnswer::Unspecified => {
            let description = "must be one that this server knows: PROVIDED or UNABLE";
            Err(vec![Violation::new(field, description)])
        }
    }
}

impl Service {
    async fn act<R: ChangeCase>(&self, request: Request<R>) -> Result<Response<R::Response>, Status> {
        let caller = caller(&request)?.clone();
        let mut request = request.into_inner();
        let action = request.action();
        let Common { name, etag, request_id } = request.take();
        let change = ChangeRequest {
            method: R::NAME,
            content: request.encode_to_vec(),
            name,
            etag,
            request_id,
            action,
        };
        let sight = self.cases.act(&caller, change).await?;
        Ok(Response::new(R::respond(Shown(sight))))
    }
}

#[tonic::async_trait]
impl CaseService for Service {
    async fn get_case(&self, request: Request<GetCaseRequest>) -> Result<Response<GetCaseResponse>, Status> {
        let case = self.cases.get(caller(&request)?, &request.get_ref().name).await?;
        Ok(Response::new(GetCaseResponse {
            current_case: Some(case),
        }))
    }

    async fn list_cases(&self, request: Request<ListCasesRequest>) -> Result<Response<ListCasesResponse>, Status> {
        let listed = self.cases.list(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(listed))
    }

    type WatchCasesStream = BoxStream<'static, Result<WatchCasesResponse, Status>>;

    async fn watch_cases(
        &self,
        request: Request<WatchCasesRequest>,
    ) -> Result<Response<Self::WatchCasesStream>, Status> {
        let token = &request.get_ref().resume_token;
        let feed = self.cases.watch(caller(&request)?, token).await?;
        let (bound_to, seal) = (watched(feed.agency()), self.cases.tokens.seal().await?);
        let viewer = Party::Agency(feed.agency().clone());
        let versions = Arc::clone(&self.cases.versions);
        let messages = feed.into_stream().map(move |item| {
            let item = item.map_err(|interrupted| match interrupted {
                Interrupted::Forgotten => forgotten(),
                Interrupted::Store(error) => Failure::from(error),
            })?;
            let sight = match &item.case {
                Some(case) => view::sight(case, &viewer, &versions.active().directory),
                None => view::lost(item.id),
            };
            Ok(WatchCasesResponse {
                sight: Some(sight),
                kind: item.kind,
                resume_token: seal.encode(&bound_to, &item.position.to_string()),
            })
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn acknowledge_case(
        &self,
        request: Request<AcknowledgeCaseRequest>,
    ) -> Result<Response<AcknowledgeCaseResponse>, Status> {
        self.act(request).await
    }

    async fn request_assistance(
        &self,
        request: Request<RequestAssistanceRequest>,
    ) -> Result<Response<RequestAssistanceResponse>, Status> {
        self.act(request).await
    }

    async fn answer_assistance(
        &self,
        request: Request<AnswerAssistanceRequest>,
    ) -> Result<Response<AnswerAssistanceResponse>, Status> {
        self.act(request).await
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
