//! `remit.routing.v1.CaseService`: decodes, calls, encodes.

use std::sync::Arc;

use api::{
    intake::ChangeResult,
    routing::{
        AcknowledgeCaseRequest, AcknowledgeCaseResponse, Case, CheckAccessRequest, CheckAccessResponse, GetCaseRequest,
        GetCaseResponse, ListCasesRequest, ListCasesResponse, ReportChange, RouteReportsRequest, RouteReportsResponse,
        WatchCasesRequest, WatchCasesResponse, case_service_server::CaseService,
    },
};
use futures::{StreamExt as _, stream::BoxStream};
use journal::{Arrival, Clock, Committer, Entry, Time, entry_hash};
use rpc::{AgencyCaller, Failure, Identity, Role, Violation, caller, page};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    active::Active,
    calendar::Calendars,
    decide,
    directory::AgencyId,
    feed::{Feed, Interrupted},
    state::State,
    store::{self, Acknowledged, Acknowledgement, Cursor, ReportNews, RequestId, Route, Store, Versions, Viewer},
    upkeep::FEED_WINDOW,
    view,
};

/// Changes in one delivery at most, as the contract says.
const DELIVERY: usize = 1_000;

/// The service.
pub(crate) struct Service {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) register: Arc<dyn register::store::Store>,
    pub(crate) calendars: Arc<Calendars>,
    pub(crate) acknowledgements: Committer<Acknowledgement, Acknowledged>,
    pub(crate) wake: Arc<dyn Fn() + Send + Sync>,
    /// Changes after each commit of this process.
    pub(crate) commits: watch::Receiver<()>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutdown: CancellationToken,
}

impl Service {
    async fn route(&self, mut request: RouteReportsRequest) -> Result<Vec<ChangeResult>, Failure> {
        if request.changes.len() > DELIVERY {
            return Err(Failure::invalid(
                "changes",
                format!("has {}, more than {DELIVERY}", request.changes.len()),
            ));
        }
        register::answer::complete(&*self.register, &mut request.changes, &self.calendars, self.clock.now()).await?;
        let active = self.versions.active();
        let mut spans = Vec::new();
        let mut news = Vec::with_capacity(request.changes.len());
        // What cannot be read is refused by itself, so that it parks its own record only.
        let mut unreadable = Vec::with_capacity(request.changes.len());
        for change in request.changes {
            let traceparent = change.change.as_ref().map_or("", |change| change.traceparent.as_str());
            let span = rpc::delivery::span("route report", traceparent);
            match span.in_scope(|| decided(change, &active)) {
                Ok(decided) => {
                    news.push(decided);
                    unreadable.push(None);
                }
                Err(reason) => unreadable.push(Some(reason)),
            }
            spans.push(span);
        }
        let (store, now) = (Arc::clone(&self.store), self.clock.now());
        let arrivals = journal::uncancelled(async move { store.open(&news, now).await }).await?;
        (self.wake)();
        let mut arrivals = arrivals.into_iter();
        Ok(unreadable
            .into_iter()
            .map(|unreadable| {
                let refusal = match unreadable {
                    Some(reason) => reason,
                    None => match arrivals.next() {
                        Some(Arrival::Refused(refusal)) => refusal.reason(),
                        _ => "",
                    },
                };
                ChangeResult {
                    refusal: refusal.to_owned(),
                }
            })
            .collect())
    }

    async fn check_access(&self, request: &CheckAccessRequest) -> Result<bool, Failure> {
        let mut violations = Vec::new();
        let report = id(&request.report, "reports/");
        let case = id(&request.case_name, "cases/");
        if report.is_none() && (request.case_name.is_empty() || !request.report.is_empty()) {
            violations.push(Violation::new(
                "report",
                "must be the name of a report, such as `reports/{uuid}`",
            ));
        } else if case.is_none() && !request.case_name.is_empty() {
            violations.push(Violation::new("case", CASE_NAME));
        }
        let agency = AgencyId::from_resource_name(&request.agency).ok();
        if agency.is_none() {
            violations.push(Violation::new(
                "agency",
                "must be the name of an agency, such as `agencies/{id}`",
            ));
        }
        match (report, case, agency) {
            _ if !violations.is_empty() => Err(Failure::InvalidInput(violations)),
            (Some(report), None, Some(agency)) => Ok(self.store.leads(&agency, report).await?),
            (None, Some(case), Some(agency)) => Ok(self.store.case(case, &Viewer::Agency(agency)).await?.is_some()),
            // Of both at once neither is said.
            _ => Err(Failure::invalid("case", "name a report or a case, not both")),
        }
    }

    async fn get(&self, caller: &Identity, name: &str) -> Result<Case, Failure> {
        let viewer = viewer(caller)?;
        let id = id(name, "cases/").ok_or_else(|| Failure::invalid("name", CASE_NAME))?;
        let stored = self.store.case(id, &viewer).await?;
        let stored = stored.ok_or(Failure::NotFound { what: "case" })?;
        Ok(view::case(&stored, &viewer, &self.versions.active().directory))
    }

    async fn list(&self, caller: &Identity, request: &ListCasesRequest) -> Result<ListCasesResponse, Failure> {
        let viewer = viewer(caller)?;
        let mut violations = Vec::new();
        let size = valid(page::size(request.page_size), &mut violations)?;
        let state = State::from_proto(request.state());
        if request.state != 0 && state.is_none() {
            violations.push(Violation::new("state", "is not one that this server knows"));
        }
        let filter = match &viewer {
            Viewer::Agency(agency) => format!("ListCases agency={agency} state={}", request.state),
            Viewer::Operator => format!("ListCases operator state={}", request.state),
        };
        let after = page::decode(&filter, &request.page_token).and_then(|token| {
            let read = |text: String| cursor(&text).ok_or_else(|| Failure::invalid("page_token", "cannot be read"));
            token.map(read).transpose()
        });
        let (Some(size), Some(after), true) = (size, valid(after, &mut violations)?, violations.is_empty()) else {
            return Err(Failure::InvalidInput(violations));
        };
        let mut found = self.store.cases(&viewer, state, after, size + 1).await?;
        let next_page_token = page::cut(&mut found, size, &filter, |last| {
            format!("{}/{}", last.open_time.0, last.id)
        });
        let directory = &self.versions.active().directory;
        Ok(ListCasesResponse {
            cases: found.iter().map(|stored| view::outline(stored, directory)).collect(),
            next_page_token,
        })
    }

    async fn watch(&self, caller: &Identity, resume_token: &str) -> Result<Feed, Failure> {
        let agency = own_agency(caller)?;
        let position = page::decode(&watched(&agency), resume_token)
            .ok()
            .and_then(|cursor| cursor.map_or(Some(0), |text| text.parse().ok()))
            .ok_or_else(|| {
                let description = "is not one that this server gave to this agency; start again with an empty one";
                Failure::invalid("resume_token", description)
            })?;
        // An empty one starts with whatever is there.
        if !resume_token.is_empty() && !self.store.feed_reaches(&agency, position).await? {
            return Err(forgotten());
        }
        Ok(Feed::new(
            Arc::clone(&self.store),
            agency,
            position,
            self.commits.clone(),
            self.shutdown.clone(),
        ))
    }

    async fn acknowledge(&self, caller: &Identity, request: AcknowledgeCaseRequest) -> Result<Case, Failure> {
        let agency = own_agency(caller)?;
        let mut violations = Vec::new();
        let case = id(&request.name, "cases/").unwrap_or_else(|| {
            violations.push(Violation::new("name", CASE_NAME));
            Uuid::nil()
        });
        let request_id = match request.request_id.as_str() {
            "" => None,
            text => Uuid::parse_str(text)
                .inspect_err(|_| violations.push(Violation::new("request_id", "must be a UUID, or empty")))
                .ok(),
        };
        if !violations.is_empty() {
            return Err(Failure::InvalidInput(violations));
        }
        let fingerprint = Sha256::new()
            .chain_update(b"remit-acknowledge-v1")
            .chain_update(case.as_bytes())
            .chain_update(&request.etag);
        let command = Acknowledgement {
            case,
            agency,
            etag: request.etag,
            request: request_id.map(|id| RequestId {
                caller: caller.system.clone(),
                id,
                fingerprint: fingerprint.finalize().into(),
            }),
            actor: caller.actor(case.as_bytes()),
            traceparent: telemetry::traceparent(),
        };
        match self.acknowledgements.commit(command).await? {
            Acknowledged::Case(case) => Ok(*case),
            Acknowledged::NotFound => Err(Failure::NotFound { what: "case" }),
            Acknowledged::NotLead => Err(Failure::denied("only the lead takes a case over", &caller.system)),
            Acknowledged::EtagMismatch => Err(Failure::EtagMismatch),
            Acknowledged::RequestIdReused => Err(Failure::RequestIdReused),
            Acknowledged::WrongState(state) => Err(Failure::WrongState {
                record: store::name(case),
                state: state.name(),
                description: format!("the case is {}; it can be taken over while ASSIGNED", state.name()),
            }),
        }
    }
}

/// Reads a change and decides where its report goes, or says why the change cannot be taken.
fn decided(change: ReportChange, active: &Active) -> Result<ReportNews, &'static str> {
    let bytes = change.change.unwrap_or_default().entry;
    let entry = Entry::decode(&bytes).map_err(|_| "MALFORMED_ENTRY")?;
    let report = entry
        .record
        .strip_prefix("reports/")
        .and_then(|id| Uuid::parse_str(id).ok())
        .filter(|id| store::report_name(*id) == entry.record)
        .ok_or("NOT_A_REPORT")?;
    let route = match (entry.sequence, change.facts) {
        (1, None) => return Err("NO_FACTS"),
        (1, Some(facts)) => Some(Route {
            decision: decide::decide(&facts, &active.rules, &active.directory),
            facts,
        }),
        _ => None,
    };
    Ok(ReportNews {
        hash: entry_hash(&bytes),
        entry,
        report,
        route,
        traceparent: telemetry::traceparent(),
    })
}

const CASE_NAME: &str = "must be the name of a case, such as `cases/{uuid}`";

/// The id in a resource name.
fn id(name: &str, prefix: &str) -> Option<Uuid> {
    Uuid::parse_str(name.strip_prefix(prefix)?).ok()
}

fn cursor(text: &str) -> Option<Cursor> {
    let (time, id) = text.split_once('/')?;
    Some(Cursor {
        open_time: Time(time.parse().ok()?),
        id: Uuid::parse_str(id).ok()?,
    })
}

/// What is right, or what is wrong with it among the other violations.
fn valid<T>(checked: Result<T, Failure>, violations: &mut Vec<Violation>) -> Result<Option<T>, Failure> {
    match checked {
        Ok(value) => Ok(Some(value)),
        Err(Failure::InvalidInput(more)) => {
            violations.extend(more);
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// A feed cannot go on: it is too old, or the database was restored to a time before it.
fn forgotten() -> Failure {
    let days = FEED_WINDOW.as_secs() / (24 * 60 * 60);
    Failure::invalid(
        "resume_token",
        format!("is older than the {days} days that are kept, or not of this database; start again with an empty one"),
    )
}

/// What resume tokens of an agency are bound to.
fn watched(agency: &AgencyId) -> String {
    format!("WatchCases agency={agency}")
}

fn own_agency(caller: &Identity) -> Result<AgencyId, Failure> {
    AgencyId::new(AgencyCaller::from_identity(caller)?.agency)
        .map_err(|_| Failure::denied("its token names an agency that cannot be", &caller.system))
}

pub(crate) fn viewer(caller: &Identity) -> Result<Viewer, Failure> {
    match caller.role {
        Role::Operator => Ok(Viewer::Operator),
        Role::Agency => own_agency(caller).map(Viewer::Agency),
        Role::Auditor | Role::Partner | Role::Service => Err(rpc::unlisted()),
    }
}

#[tonic::async_trait]
impl CaseService for Service {
    async fn route_reports(
        &self,
        request: Request<RouteReportsRequest>,
    ) -> Result<Response<RouteReportsResponse>, Status> {
        let results = self.route(request.into_inner()).await?;
        Ok(Response::new(RouteReportsResponse { results }))
    }

    async fn check_access(
        &self,
        request: Request<CheckAccessRequest>,
    ) -> Result<Response<CheckAccessResponse>, Status> {
        let allowed = self.check_access(request.get_ref()).await?;
        Ok(Response::new(CheckAccessResponse { allowed }))
    }

    async fn get_case(&self, request: Request<GetCaseRequest>) -> Result<Response<GetCaseResponse>, Status> {
        let case = self.get(caller(&request)?, &request.get_ref().name).await?;
        Ok(Response::new(GetCaseResponse { case: Some(case) }))
    }

    async fn list_cases(&self, request: Request<ListCasesRequest>) -> Result<Response<ListCasesResponse>, Status> {
        Ok(Response::new(self.list(caller(&request)?, request.get_ref()).await?))
    }

    type WatchCasesStream = BoxStream<'static, Result<WatchCasesResponse, Status>>;

    async fn watch_cases(
        &self,
        request: Request<WatchCasesRequest>,
    ) -> Result<Response<Self::WatchCasesStream>, Status> {
        let feed = self.watch(caller(&request)?, &request.get_ref().resume_token).await?;
        let bound_to = watched(feed.agency());
        let viewer = Viewer::Agency(feed.agency().clone());
        let versions = Arc::clone(&self.versions);
        let messages = feed.into_stream().map(move |item| {
            let item = item.map_err(|interrupted| match interrupted {
                Interrupted::Forgotten => forgotten(),
                Interrupted::Store(error) => Failure::from(error),
            })?;
            let lost = || Case {
                name: store::name(item.id),
                ..Default::default()
            };
            Ok(WatchCasesResponse {
                case: Some(
                    item.case
                        .as_ref()
                        .map_or_else(lost, |case| view::case(case, &viewer, &versions.active().directory)),
                ),
                kind: item.kind,
                resume_token: page::encode(&bound_to, &item.position.to_string()),
            })
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn acknowledge_case(
        &self,
        request: Request<AcknowledgeCaseRequest>,
    ) -> Result<Response<AcknowledgeCaseResponse>, Status> {
        let caller = caller(&request)?.clone();
        let case = self.acknowledge(&caller, request.into_inner()).await?;
        Ok(Response::new(AcknowledgeCaseResponse { case: Some(case) }))
    }
}
