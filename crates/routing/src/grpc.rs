//! `remit.routing.v1.CaseService`: decodes, calls, encodes.

use std::sync::Arc;

use api::{
    event::{AssistanceAnswer, HandOverReason},
    routing::{
        AcknowledgeCaseRequest, AcknowledgeCaseResponse, AnswerAssistanceRequest, AnswerAssistanceResponse, Case,
        CaseSight, CheckAccessRequest, CheckAccessResponse, CheckReportsRequest, CheckReportsResponse,
        DeclineCaseRequest, DeclineCaseResponse, DesignateAgencyRequest, DesignateAgencyResponse, DispatchCaseRequest,
        DispatchCaseResponse, EscalateCaseRequest, EscalateCaseResponse, GetCaseRequest, GetCaseResponse,
        HandOverPreview, ListCasesRequest, ListCasesResponse, PreviewRouteRequest, PreviewRouteResponse,
        RequestAssistanceRequest, RequestAssistanceResponse, RouteReportsRequest, RouteReportsResponse,
        TransferCaseRequest, TransferCaseResponse, WatchCasesRequest, WatchCasesResponse,
        case_service_server::CaseService, case_sight::Sight, routing_inbound_service_server::RoutingInboundService,
    },
};
use decision::directory::AgencyId;
use futures::{StreamExt as _, stream::BoxStream};
use prost::{Message, Name};
use rpc::{Failure, Violation, caller};
use tonic::{Request, Response, Status};

use crate::{
    case::{
        Acknowledge, Action, Answer, AnswerAssistance, Decline, Designate, Dispatch, Escalate, Party, Reason,
        RequestAssistance, Transfer,
    },
    cases::{Answered, Cases, ChangeRequest, forgotten, watched},
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
}

impl From<Answered> for Shown {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Changed(sight) => Self {
                sight: Some(*sight),
                preview: None,
            },
            Answered::Previewed(preview) => Self {
                sight: None,
                preview: Some(preview),
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

    /// For verbs that hand the case on.
    fn preview(&mut self) -> Option<HandOverPreview> {
        self.preview.take()
    }
}

/// Whether a verb with these fields in its response can be asked to show only what it would do.
macro_rules! validate_only {
    ($request:ident, $shown:ident, $preview:ident) => {
        $request.validate_only
    };
    ($request:ident, $shown:ident) => {{
        let _ = $request;
        false
    }};
}

/// One line per verb: its request, its response and the fields with the case, and its action.
macro_rules! verbs {
    ($($request:ident => $response:ident { $($shown:ident),+ }: $action:expr;)+) => {
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

            fn validate_only(&self) -> bool {
                let request = self;
                validate_only!(request, $($shown),+)
            }

            fn respond(mut shown: Shown) -> $response {
                $response { $($shown: shown.$shown()),+ }
            }
        })+
    };
}

verbs! {
    AcknowledgeCaseRequest => AcknowledgeCaseResponse { current_case }: |_| Ok(Action::Acknowledge(Acknowledge));
    DeclineCaseRequest => DeclineCaseResponse { sight, preview }: |asked| {
        let better = match asked.better_agency.is_empty() {
            true => Ok(None),
            false => agency("better_agency", &asked.better_agency).map(Some),
        };
        let (better, reason) = both(better, reason(asked.reason()))?;
        Ok(Action::Decline(Decline { reason, better }))
    };
    TransferCaseRequest => TransferCaseResponse { sight, preview }: |asked| {
        let (to, reason) = receiver(&asked.agency, asked.reason())?;
        Ok(Action::Transfer(Transfer { to, reason, keep_supporting: asked.keep_supporting }))
    };
    EscalateCaseRequest => EscalateCaseResponse { sight, preview }: |asked| {
        Ok(Action::Escalate(Escalate { reason: reason(asked.reason())? }))
    };
    DispatchCaseRequest => DispatchCaseResponse { sight, preview }: |asked| {
        let (to, reason) = receiver(&asked.agency, asked.reason())?;
        Ok(Action::Dispatch(Dispatch { to, reason }))
    };
    DesignateAgencyRequest => DesignateAgencyResponse { sight, preview }: |asked| {
        let agency = agency("agency", &asked.agency)?;
        Ok(Action::Designate(Designate { agency }))
    };
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

fn reason(reason: HandOverReason) -> Result<Reason, Vec<Violation>> {
    Reason::from_proto(reason).ok_or_else(|| {
        let known: Vec<_> = Reason::ALL.iter().map(|known| known.to_proto().as_str_name()).collect();
        let description = format!("must be one that this server knows: {}", known.join(", "));
        vec![Violation::new("reason", description)]
    })
}

/// The agency that is to lead, and why, or both violations.
fn receiver(name: &str, why: HandOverReason) -> Result<(AgencyId, Reason), Vec<Violation>> {
    both(agency("agency", name), reason(why))
}

/// Two arguments, or the violations of both.
fn both<A, B>(first: Result<A, Vec<Violation>>, second: Result<B, Vec<Violation>>) -> Result<(A, B), Vec<Violation>> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok((first, second)),
        (first, second) => Err([first.err(), second.err()].into_iter().flatten().flatten().collect()),
    }
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
        let (action, validate_only) = (request.action(), request.validate_only());
        let Common { name, etag, request_id } = request.take();
        let change = ChangeRequest {
            method: R::NAME,
            content: request.encode_to_vec(),
            name,
            etag,
            request_id,
            action,
            validate_only,
        };
        let answered = self.cases.act(&caller, change).await?;
        Ok(Response::new(R::respond(answered.into())))
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

    async fn decline_case(
        &self,
        request: Request<DeclineCaseRequest>,
    ) -> Result<Response<DeclineCaseResponse>, Status> {
        self.act(request).await
    }

    async fn transfer_case(
        &self,
        request: Request<TransferCaseRequest>,
    ) -> Result<Response<TransferCaseResponse>, Status> {
        self.act(request).await
    }

    async fn escalate_case(
        &self,
        request: Request<EscalateCaseRequest>,
    ) -> Result<Response<EscalateCaseResponse>, Status> {
        self.act(request).await
    }

    async fn dispatch_case(
        &self,
        request: Request<DispatchCaseRequest>,
    ) -> Result<Response<DispatchCaseResponse>, Status> {
        self.act(request).await
    }

    async fn designate_agency(
        &self,
        request: Request<DesignateAgencyRequest>,
    ) -> Result<Response<DesignateAgencyResponse>, Status> {
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
