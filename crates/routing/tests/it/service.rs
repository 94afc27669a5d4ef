//! The service in process, behind the stack that all servers have.

use std::sync::Arc;
use std::time::Duration;

use api::event::{CaseState, ChangeOutcome};
use api::routing::{
    AcknowledgeCaseRequest, CheckAccessRequest, CheckAccessResponse, CheckReportsRequest, GetCaseRequest,
    ListCasesRequest, ReportChange, RouteReportsRequest, WatchCasesRequest, WatchCasesResponse,
    case_service_client::CaseServiceClient, case_sight, check_access_request::Target,
    directory_service_client::DirectoryServiceClient, routing_inbound_service_client::RoutingInboundServiceClient,
};
use api::routing::{Case, Facts};
use journal::{Background, Writer};
use routing::{Dependencies, Routing, store::Store};
use rpc::client::{Caller, connect};
use rpc::{Limits, Roles, Server, Token, Tokens};
use testkit::Backend;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, gambling, official};

testkit::on_each_backend!(
    callers_are_limited_to_their_own_methods,
    a_report_becomes_a_case_visible_to_its_agencies,
    a_malformed_change_is_refused_alone,
    an_agency_has_so_many_open_feeds_and_no_more,
    p7_an_agency_that_only_a_former_directory_has_excludes_its_successors,
    p7_what_became_of_a_report_is_hidden_by_the_directory_in_force,
    p7_what_is_hidden_stays_hidden_when_the_directory_forgets_why,
    p7_lists_are_bound_to_caller_and_filter,
    p7_only_the_owner_sees_who_is_excluded,
    a_case_is_acknowledged_once,
    watching_continues_after_a_resume_token,
    a_resume_token_with_a_gap_after_it_is_refused,
    shutdown_ends_watching,
);

const DEADLINE: Duration = Duration::from_secs(20);

/// A running server and its callers.
pub struct Running {
    pub fixture: Fixture,
    pub address: String,
    shutdown: CancellationToken,
    pub health: rpc::HealthCheck,
    server: JoinHandle<()>,
    background: Background,
}

pub type Client = CaseServiceClient<Caller>;

/// Callers: the system, its agency, its role.
const CALLERS: [(&str, Option<&str>, Roles); 14] = [
    ("routing", None, Roles::SERVICE),
    ("relay", None, Roles::SERVICE),
    ("auditor", None, Roles::AUDITOR),
    ("platform", None, Roles::PARTNER),
    ("intake", None, Roles::SERVICE),
    ("audit", None, Roles::SERVICE),
    ("operator", None, Roles::OPERATOR),
    ("operator-second", None, Roles::OPERATOR),
    ("nanning", Some("police-450100"), Roles::AGENCY),
    ("nanning-second", Some("police-450100"), Roles::AGENCY),
    ("guangdong", Some("police-440000"), Roles::AGENCY),
    ("guangxi", Some("police-450000"), Roles::AGENCY),
    ("handan", Some("police-130400"), Roles::AGENCY),
    ("inspection", Some("inspection-130000"), Roles::AGENCY),
];

pub fn token(system: &str) -> String {
    format!("token-of-{system}-000000")
}

/// A caller for each role, with that role alone.
fn single() -> impl Iterator<Item = (String, Option<&'static str>, Roles)> {
    rpc::Role::ALL.into_iter().map(|role| {
        let agency = Roles::CASEWORK.has(role).then_some("police-450100");
        (format!("only-{role}"), agency, Roles::of(&[role]))
    })
}

/// All callers with their tokens.
pub fn callers() -> impl Iterator<Item = (rpc::Identity, String)> {
    let known = CALLERS
        .into_iter()
        .map(|(system, agency, roles)| (system.to_owned(), agency, roles));
    known.chain(single()).map(|(system, agency, roles)| {
        let identity = rpc::Identity {
            system: system.clone(),
            agency: agency.map(|id| names::AgencyId::new(id).unwrap()),
            roles,
            officer: None,
            officer_key: rpc::OfficerKey::default(),
            proof: rpc::Proof::Token,
        };
        (identity, token(&system))
    })
}

impl Running {
    pub async fn start(backend: Backend) -> Self {
        let fixture = Fixture::new(backend).await;
        let store = Arc::clone(&fixture.store) as Arc<dyn Store>;
        Self::start_over(fixture, store).await
    }

    /// Over another store on the fixture's database.
    pub async fn start_over(fixture: Fixture, store: Arc<dyn Store>) -> Self {
        let shutdown = CancellationToken::new();
        // Nobody listens there: deliveries wait.
        let nobody = || connect("http://127.0.0.1:1", "nobody", Some(Duration::from_secs(1))).unwrap();
        let dependencies = Dependencies {
            db: fixture.db.clone(),
            current: Arc::clone(&fixture.current),
            calendars: Arc::new(decision::calendar::Calendars::shipped().clone()),
            taxonomy: Arc::new(decision::rules::Taxonomy::shipped()),
            intake: nobody(),
            audit: nobody(),
            replica: "test".to_owned(),
            clock: fixture.clock.clone(),
            accept_time_up_to: None,
            entropy: fixture.entropy.clone(),
        };
        let tokens: Vec<Token> = callers()
            .map(|(caller, token)| Token {
                token,
                system: caller.system,
                agency: caller.agency.map(|agency| agency.to_string()),
                roles: caller.roles,
            })
            .collect();
        let (versions, simulations) = (Arc::clone(&fixture.store), Arc::clone(&fixture.store));
        let routing = Routing::start_with(store, versions, simulations, dependencies, &shutdown);
        let health = routing.health();
        let server = Server {
            service: "routing",
            limits: Limits::default(),
            authenticate: Arc::new(Tokens::new(&tokens).unwrap()),
            tls: None,
            reflection: false,
            access: routing::ACCESS,
            health: Arc::clone(&health),
            serving: rpc::admin::Serving::of("routing"),
        };
        let (routes, background) = routing.into_routes(4 << 20);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = shutdown.clone();
        let server = tokio::spawn(async move { server.serve(listener, routes, stop).await.unwrap() });
        Self {
            fixture,
            address,
            shutdown,
            health,
            server,
            background,
        }
    }

    pub fn caller(&self, system: &str) -> Client {
        CaseServiceClient::new(connect(&self.address, &token(system), Some(DEADLINE)).unwrap())
    }

    pub fn directory(&self, system: &str) -> DirectoryServiceClient<Caller> {
        DirectoryServiceClient::new(connect(&self.address, &token(system), Some(DEADLINE)).unwrap())
    }

    fn inbound(&self, system: &str) -> RoutingInboundServiceClient<Caller> {
        RoutingInboundServiceClient::new(connect(&self.address, &token(system), Some(DEADLINE)).unwrap())
    }

    /// A client without a deadline, which would end streams.
    fn watcher(&self, system: &str) -> Client {
        CaseServiceClient::new(connect(&self.address, &token(system), None).unwrap())
    }

    pub async fn finish(self) {
        self.shutdown.cancel();
        self.server.await.unwrap();
        self.background.finish().await;
    }

    pub async fn route(&self, changes: Vec<ReportChange>) -> Vec<ChangeOutcome> {
        self.try_route(changes).await.unwrap()
    }

    pub async fn try_route(&self, changes: Vec<ReportChange>) -> Result<Vec<ChangeOutcome>, Status> {
        let request = RouteReportsRequest { changes };
        let response = self.inbound("intake").route_reports(request).await?;
        let results = response.into_inner().results;
        Ok(results.into_iter().map(|result| result.outcome()).collect())
    }

    /// Routes one report and returns its name.
    pub(crate) async fn report(&self, facts: Facts) -> String {
        let (report, _, change) = self.fixture.accepted(facts);
        assert_eq!(self.route(vec![change]).await, [ChangeOutcome::Recorded]);
        format!("reports/{report}")
    }

    pub async fn list(&self, system: &str) -> Vec<Case> {
        let response = self.caller(system).list_cases(ListCasesRequest::default()).await;
        response.unwrap().into_inner().cases
    }

    async fn page(&self, system: &str, page_token: &str, state: i32) -> Result<(Vec<Case>, String), Status> {
        let request = ListCasesRequest {
            page_size: 2,
            page_token: page_token.to_owned(),
            state,
            ..ListCasesRequest::default()
        };
        let response = self.caller(system).list_cases(request).await?.into_inner();
        Ok((response.cases, response.next_page_token))
    }

    async fn access(&self, report: &str, agency: &str) -> Result<bool, Status> {
        Ok(self.check_access(report, agency).await?.allowed)
    }

    async fn check_access(&self, name: &str, agency: &str) -> Result<CheckAccessResponse, Status> {
        let target = match name.starts_with("cases/") {
            true => Target::CaseName(name.to_owned()),
            false => Target::Report(name.to_owned()),
        };
        let request = CheckAccessRequest {
            target: Some(target),
            agency: agency.to_owned(),
        };
        let answer = self.inbound("intake").check_access(request).await?.into_inner();
        // Asked of many reports, the answer is the same: no list tells more than the report.
        if name.starts_with("reports/") {
            let request = CheckReportsRequest {
                agency: agency.to_owned(),
                reports: vec![format!("reports/{}", Uuid::nil()), name.to_owned()],
            };
            let many = self.inbound("intake").check_reports(request).await?.into_inner();
            let hidden: &[String] = match answer.hidden {
                true => &[name.to_owned()],
                false => &[],
            };
            assert_eq!(many.hidden_reports, hidden, "{name} {agency}");
        }
        Ok(answer)
    }

    pub async fn get(&self, system: &str, name: &str) -> Result<Case, Status> {
        let request = GetCaseRequest { name: name.to_owned() };
        let response = self.caller(system).get_case(request).await?;
        Ok(response.into_inner().current_case.unwrap())
    }

    pub async fn acknowledge(&self, system: &str, name: &str, etag: &str, request_id: &str) -> Result<Case, Status> {
        let request = AcknowledgeCaseRequest {
            name: name.to_owned(),
            etag: etag.to_owned(),
            request_id: request_id.to_owned(),
        };
        let response = self.caller(system).acknowledge_case(request).await?;
        Ok(response.into_inner().current_case.unwrap())
    }

    pub async fn watch(&self, system: &str, resume_token: &str) -> Result<Streaming<WatchCasesResponse>, Status> {
        let request = WatchCasesRequest {
            resume_token: resume_token.to_owned(),
        };
        Ok(self.watcher(system).watch_cases(request).await?.into_inner())
    }
}

/// The case in a message.
fn seen(message: &WatchCasesResponse) -> &Case {
    match &message.sight.as_ref().unwrap().sight {
        Some(case_sight::Sight::CurrentCase(case)) => case,
        other => panic!("{other:?}"),
    }
}

pub async fn next(stream: &mut Streaming<WatchCasesResponse>) -> WatchCasesResponse {
    let message = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap();
    message.unwrap().unwrap()
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = outcome.expect_err(reason);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    status
}

async fn callers_are_limited_to_their_own_methods(backend: Backend) {
    let running = Running::start(backend).await;
    let denied = (Code::PermissionDenied, "DENIED");
    for system in ["audit", "operator", "nanning"] {
        let mut client = running.inbound(system);
        let routed = client.route_reports(RouteReportsRequest::default()).await;
        refused(routed, denied.0, denied.1);
        let checked = client.check_access(CheckAccessRequest::default()).await;
        match system {
            // Audit shows details of reports to agencies that see them.
            "audit" => refused(checked, Code::InvalidArgument, "INVALID_INPUT"),
            _ => refused(checked, denied.0, denied.1),
        };
    }
    for system in ["intake", "audit", "auditor"] {
        refused(running.get(system, "cases/x").await, denied.0, denied.1);
        refused(running.page(system, "", 0).await, denied.0, denied.1);
    }
    for system in ["intake", "operator", "platform"] {
        refused(running.watch(system, "").await, denied.0, denied.1);
        refused(running.acknowledge(system, "cases/x", "", "").await, denied.0, denied.1);
    }
    let mut stranger =
        CaseServiceClient::new(connect(&running.address, "no-token-of-anyone-0", Some(DEADLINE)).unwrap());
    let unknown = stranger.list_cases(ListCasesRequest::default()).await;
    refused(unknown, Code::Unauthenticated, "UNAUTHENTICATED");
    running.finish().await;
}

async fn a_report_becomes_a_case_visible_to_its_agencies(backend: Backend) {
    let running = Running::start(backend).await;
    let report = running.report(gambling()).await;
    let complaint = running.report(official()).await;

    let cases = running.list("nanning").await;
    let [case] = &cases[..] else { panic!("{cases:?}") };
    assert_eq!(
        (case.state(), case.lead.as_str(), api::text_in(&case.lead_titles, "en")),
        (
            CaseState::Assigned,
            "agencies/police-450100",
            "Nanning network-police desk"
        )
    );
    assert_eq!(case.reports, std::slice::from_ref(&report));
    assert_eq!(case.category, "categories/gambling");
    assert_eq!(case.supporting, ["agencies/police-440000"]);
    assert_eq!(case.explanation, None, "lists are short");
    assert_eq!(case.clocks[0].kind(), api::event::ClockKind::Acknowledge);
    for system in ["nanning", "guangdong", "operator"] {
        let got = running.get(system, &case.name).await.unwrap();
        assert_eq!(got.explanation.as_ref().unwrap().row, "gambling", "{system}");
        assert_eq!(
            got.terms.as_ref().unwrap().acknowledge.as_ref().unwrap().value,
            24,
            "{system}"
        );
        let short = Case {
            explanation: None,
            terms: None,
            ..got
        };
        assert_eq!(&short, case, "{system}");
    }
    for system in ["handan", "inspection"] {
        refused(running.get(system, &case.name).await, Code::NotFound, "NOT_FOUND");
    }
    assert_eq!(running.list("handan").await, []);
    let complained = running.list("inspection").await.remove(0);
    let hidden = refused(
        running.get("handan", &complained.name).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    let absent = running.get("handan", &format!("cases/{}", Uuid::nil())).await;
    assert_eq!(
        hidden.message(),
        refused(absent, Code::NotFound, "NOT_FOUND").message(),
        "as if it did not exist"
    );

    let all = running.list("operator").await;
    assert_eq!(all.len(), 2);
    assert!(
        all.iter()
            .all(|case| case.explanation.is_none() && !case.lead.is_empty())
    );

    for (report, agency, allowed) in [
        (&report, "agencies/police-450100", true),
        (&report, "agencies/police-440000", false),
        (&complaint, "agencies/police-130400", false),
        (&complaint, "agencies/inspection-130000", true),
        (&format!("reports/{}", Uuid::nil()), "agencies/inspection-130000", false),
    ] {
        assert_eq!(running.access(report, agency).await.unwrap(), allowed, "{agency}");
    }
    let status = refused(running.access("x", "y").await, Code::InvalidArgument, "INVALID_INPUT");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), 2);
    running.finish().await;
}

async fn a_malformed_change_is_refused_alone(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    let (report, first, good) = fixture.accepted(gambling());
    let second = ReportChange {
        change: Some(fixture.change(report, "report.routed", &first.head).without_detail()),
        ..ReportChange::default()
    };
    let exclusion = Facts {
        excluded: vec![
            "agencies/police-130400".to_owned(),
            "agencies/the police here".to_owned(),
        ],
        ..gambling()
    };
    let mut without_facts = fixture.accepted(gambling()).2;
    without_facts.facts = None;
    let mut other_record = fixture.accepted(gambling()).2;
    let draft = journal::Draft {
        source: "intake",
        record: "persons/1",
        kind: "person.made",
        caused_by: None,
        detail: api::event::Detail::default(),
        traceparent: String::new(),
    };
    let sealed = draft.into_change(&journal::Head::default(), fixture.now(), &*fixture.entropy);
    other_record.change = Some(sealed.without_detail());
    let naming = |excluded: &str, complained_of: &str| {
        let facts = Facts {
            excluded: vec![excluded.to_owned()],
            complained_of: complained_of.to_owned(),
            ..gambling()
        };
        fixture.accepted(facts).2
    };
    let changes = vec![
        naming("agencies/police-450101", ""),
        naming("no such", ""),
        naming("agencies/police-450200", "agencies/police-450101"),
        ReportChange::default(),
        good.clone(),
        without_facts,
        second,
        other_record,
        good,
        fixture.accepted(official()).2,
        fixture.accepted(exclusion).2,
    ];
    assert_eq!(
        running.route(changes).await,
        [
            ChangeOutcome::UnknownAgency,
            ChangeOutcome::MalformedExclusion,
            ChangeOutcome::UnknownAgency,
            ChangeOutcome::Malformed,
            ChangeOutcome::Recorded,
            ChangeOutcome::NoFacts,
            ChangeOutcome::Recorded,
            ChangeOutcome::NotAReport,
            ChangeOutcome::Recorded,
            ChangeOutcome::Recorded,
            ChangeOutcome::MalformedExclusion
        ]
    );
    assert_eq!(running.list("operator").await.len(), 2);
    let many = RouteReportsRequest {
        changes: vec![ReportChange::default(); 1_001],
    };
    refused(
        running.inbound("intake").route_reports(many).await,
        Code::InvalidArgument,
        "INVALID_INPUT",
    );
    running.finish().await;
}

/// A report is older than the directory, or intake has not heard of it.
async fn p7_an_agency_that_only_a_former_directory_has_excludes_its_successors(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    // Two steps, each forgotten by a later directory.
    fixture
        .apply(&[("police-130400", "valid_to: 2026-03-01, successor: police-130300")])
        .await;
    fixture
        .apply(&[
            ("police-130400", ""),
            ("police-130300", "valid_to: 2026-03-01, successor: police-450100"),
        ])
        .await;
    fixture.apply(&[("police-130400", ""), ("police-130300", "")]).await;
    let facts = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    assert_eq!(
        running.route(vec![fixture.accepted(facts).2]).await,
        [ChangeOutcome::Recorded]
    );
    let case = running.list("operator").await.remove(0);
    assert_eq!(case.lead, "agencies/police-450000");
}

/// Before any change of the case: the answer follows the directory in force at once.
async fn p7_what_became_of_a_report_is_hidden_by_the_directory_in_force(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    let facts = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let (id, _, change) = fixture.accepted(facts);
    let report = format!("reports/{id}");
    let answers = async |agency: &str| {
        let answer = running
            .check_access(&report, &format!("agencies/{agency}"))
            .await
            .unwrap();
        (answer.allowed, answer.hidden)
    };
    assert_eq!(answers("police-130400").await, (false, false), "it has no case yet");
    assert_eq!(running.route(vec![change]).await, [ChangeOutcome::Recorded]);
    for (agency, answer) in [
        ("police-130400", (false, true)),
        ("police-450100", (true, false)),
        ("police-CN", (false, false)),
    ] {
        assert_eq!(answers(agency).await, answer, "{agency}");
    }
    let case = running.list("operator").await.remove(0).name;
    let sees_case = async || {
        let got = running.get("nanning", &case).await.is_ok();
        let answer = running.check_access(&case, "agencies/police-450100").await.unwrap();
        assert_eq!(
            (answer.allowed, running.list("nanning").await.len()),
            (got, usize::from(got))
        );
        got
    };
    assert!(sees_case().await);
    // Its lead is to succeed the excluded agency.
    fixture
        .apply(&[("police-130400", "valid_to: 2026-03-01, successor: police-450100")])
        .await;
    assert_eq!(answers("police-450100").await, (false, true));
    assert!(!sees_case().await);
    // A later directory has forgotten the excluded agency, and with it the succession.
    fixture.apply(&[("police-130400", "")]).await;
    for agency in ["police-130400", "police-450100"] {
        assert_eq!(answers(agency).await, (false, true), "{agency}");
    }
    assert!(!sees_case().await);
    running.finish().await;
}

/// Who was excluded stays so, whatever a later directory has forgotten.
async fn p7_what_is_hidden_stays_hidden_when_the_directory_forgets_why(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    let excluding = async |agency: &str| {
        let facts = Facts {
            excluded: vec![format!("agencies/{agency}")],
            ..gambling()
        };
        let (id, _, change) = fixture.accepted(facts);
        assert_eq!(running.route(vec![change]).await, [ChangeOutcome::Recorded]);
        format!("reports/{id}")
    };
    let hidden = async |report: &str, agency: &str| {
        let answer = running.check_access(report, &format!("agencies/{agency}")).await;
        answer.unwrap().hidden
    };
    // Excluded through the unit above it, which a directory without it no longer tells.
    let report = excluding("police-320000").await;
    assert!(hidden(&report, "police-320300").await && !hidden(&report, "police-510100").await);
    fixture.apply(&[("police-320300", "")]).await;
    assert!(hidden(&report, "police-320300").await && !hidden(&report, "police-510100").await);

    // Excluded as the successor that one directory named, and the next does not.
    let report = excluding("police-130400").await;
    fixture
        .apply(&[("police-130400", "valid_to: 2026-03-01, successor: police-450100")])
        .await;
    fixture.ticker(&fixture.store).succeed().await.unwrap();
    fixture.apply(&[]).await;
    assert!(hidden(&report, "police-450100").await && !hidden(&report, "police-510100").await);
    running.finish().await;
}

async fn p7_lists_are_bound_to_caller_and_filter(backend: Backend) {
    let running = Running::start(backend).await;
    for _ in 0..5 {
        running.report(gambling()).await;
    }
    running.report(official()).await;
    let (first, token) = running.page("nanning", "", 0).await.unwrap();
    let (second, next) = running.page("nanning-second", &token, 0).await.unwrap();
    let (third, end) = running.page("nanning", &next, 0).await.unwrap();
    assert_eq!((first.len(), second.len(), third.len(), end.as_str()), (2, 2, 1, ""));
    let (one, end) = running.page("inspection", "", 0).await.unwrap();
    assert_eq!((one.len(), end.as_str()), (1, ""), "no sign of others' cases");
    let assigned = CaseState::Assigned.into();
    for (system, token, state) in [
        ("guangdong", token.as_str(), 0),
        ("operator", token.as_str(), 0),
        ("nanning", token.as_str(), assigned),
        ("nanning", "garbage", 0),
        ("nanning", "!", 0),
    ] {
        let page = running.page(system, token, state).await;
        refused(page, Code::InvalidArgument, "INVALID_INPUT");
    }
    refused(
        running.page("nanning", "", 99).await,
        Code::InvalidArgument,
        "INVALID_INPUT",
    );
    let request = ListCasesRequest {
        page_size: -1,
        page_token: "garbage".to_owned(),
        state: 99,
        ..ListCasesRequest::default()
    };
    let all = running.caller("nanning").list_cases(request).await;
    let violations = refused(all, Code::InvalidArgument, "INVALID_INPUT")
        .get_details_bad_request()
        .unwrap()
        .field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["page_size", "state", "page_token"], "all at once");
    let (filtered, _) = running.page("nanning", "", CaseState::InProgress.into()).await.unwrap();
    assert_eq!(filtered, []);
    running.finish().await;
}

async fn p7_only_the_owner_sees_who_is_excluded(backend: Backend) {
    let running = Running::start(backend).await;
    let facts = Facts {
        excluded: vec!["agencies/police-450100".to_owned()],
        ..gambling()
    };
    running.report(facts).await;
    let name = running.list("operator").await.remove(0).name;
    let lead = running.get("guangxi", &name).await.unwrap();
    let whole = lead.explanation.clone().unwrap();
    assert_eq!(lead.lead, "agencies/police-450000");
    assert_eq!(whole.excluded, ["agencies/police-450100"]);
    assert_eq!(whole.factors[0].passed, ["agencies/police-450100"]);
    assert!(whole.exclusions.iter().any(|words| words.contains("passed over")));
    let mut watched = running.watch("guangdong", "").await.unwrap();
    let taken = running.acknowledge("guangxi", &name, "", "").await.unwrap();
    assert_eq!(taken.explanation.as_ref(), Some(&whole));
    for (who, case) in [
        ("supporting", running.get("guangdong", &name).await.unwrap()),
        ("supporting, watching", seen(&next(&mut watched).await).clone()),
        ("operator", running.get("operator", &name).await.unwrap()),
    ] {
        let shown = case.explanation.as_ref().unwrap();
        assert_eq!(
            (shown.summary.as_str(), shown.factors[0].agency.as_str()),
            (whole.summary.as_str(), "agencies/police-450000"),
            "{who} is told why"
        );
        let text = format!("{case:?}");
        for word in ["police-450100", "passed over"] {
            assert!(!text.contains(word), "{who} sees {word}: {text}");
        }
        assert!(
            shown.facts_digest.is_empty() && shown.facts_salt.is_empty(),
            "{who} could try lists against it"
        );
    }
    running.finish().await;
}

async fn a_case_is_acknowledged_once(backend: Backend) {
    let running = Running::start(backend).await;
    running.report(gambling()).await;
    running.report(gambling()).await;
    let cases = running.list("nanning").await;
    let (name, etag) = (cases[0].name.as_str(), cases[0].etag.as_str());
    let request_id = Uuid::from_u128(17).to_string();

    let denied = running.acknowledge("guangdong", name, "", "").await;
    refused(denied, Code::PermissionDenied, "DENIED");
    let superior = running.acknowledge("guangxi", name, "", "").await;
    refused(superior, Code::PermissionDenied, "DENIED");
    let hidden = running.acknowledge("handan", name, "", "").await;
    refused(hidden, Code::NotFound, "NOT_FOUND");
    let stale = running.acknowledge("nanning", name, "1-0000000000000000", "").await;
    refused(stale, Code::Aborted, "ETAG_MISMATCH");
    let malformed = running.acknowledge("nanning", "x", "", "y").await;
    let status = refused(malformed, Code::InvalidArgument, "INVALID_INPUT");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), 2);

    let taken = running.acknowledge("nanning", name, etag, &request_id).await.unwrap();
    assert_eq!(taken.state(), CaseState::InProgress);
    assert_ne!(taken.etag, etag);
    assert_eq!(running.get("nanning", name).await.unwrap(), taken);
    let again = running.acknowledge("nanning", name, etag, &request_id).await.unwrap();
    assert_eq!(again, taken, "a repeat gets the first answer");
    for (name, etag) in [(name, ""), (cases[1].name.as_str(), etag)] {
        let reused = running.acknowledge("nanning", name, etag, &request_id).await;
        refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    let late = running.acknowledge("nanning", name, "", "").await;
    let status = refused(late, Code::FailedPrecondition, "WRONG_STATE");
    let violations = status.get_details_precondition_failure().unwrap().violations;
    assert_eq!(
        (violations[0].r#type.as_str(), violations[0].subject.as_str()),
        ("STATE", name)
    );

    let together =
        futures::future::join_all((0..8).map(|_| running.acknowledge("nanning", &cases[1].name, "", ""))).await;
    assert_eq!(together.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    running.finish().await;
}

async fn watching_continues_after_a_resume_token(backend: Backend) {
    let running = Running::start(backend).await;
    running.report(gambling()).await;
    let mut stream = running.watch("guangdong", "").await.unwrap();
    let opened = next(&mut stream).await;
    let name = seen(&opened).name.clone();
    assert_eq!(opened.kind, "case.opened");
    // While the stream is open: another agency's case, which it does not get, and a change of its
    // own.
    running.report(official()).await;
    running.acknowledge("nanning", &name, "", "").await.unwrap();
    let taken = next(&mut stream).await;
    assert_eq!(
        (taken.kind.as_str(), seen(&taken).state()),
        ("case.acknowledged", CaseState::InProgress)
    );
    drop(stream);

    running.report(gambling()).await;
    let mut resumed = running.watch("guangdong", &taken.resume_token).await.unwrap();
    assert_eq!(next(&mut resumed).await.kind, "case.opened");
    let mut from_first = running.watch("guangdong", &opened.resume_token).await.unwrap();
    let kinds = [next(&mut from_first).await, next(&mut from_first).await].map(|message| message.kind);
    assert_eq!(kinds, ["case.acknowledged", "case.opened"]);
    // Another process commits: nothing wakes this one, but it still gets the change.
    let replica = running.fixture.replica().await;
    let arrival = running.fixture.arrival(&gambling());
    Store::open(&*replica, &[arrival], running.fixture.now()).await.unwrap();
    assert_eq!(next(&mut resumed).await.kind, "case.opened");

    for (system, token) in [("nanning", taken.resume_token.as_str()), ("guangdong", "garbage")] {
        let status = refused(
            running.watch(system, token).await,
            Code::InvalidArgument,
            "INVALID_INPUT",
        );
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "resume_token");
    }
    let mut excluded = running.watch("handan", "").await.unwrap();
    running.shutdown.cancel();
    let told = tokio::time::timeout(DEADLINE, excluded.message()).await.unwrap();
    assert!(
        !matches!(told, Ok(Some(_))),
        "the excluded agency gets nothing: {told:?}"
    );
    running.finish().await;
}

async fn a_resume_token_with_a_gap_after_it_is_refused(backend: Backend) {
    let running = Running::start(backend).await;
    for _ in 0..3 {
        running.report(gambling()).await;
    }
    let mut stream = running.watch("guangdong", "").await.unwrap();
    let first = next(&mut stream).await.resume_token;
    let second = next(&mut stream).await.resume_token;
    let mut slow = running.watch("guangdong", &first).await.unwrap();
    next(&mut slow).await;

    let fixture = &running.fixture;
    fixture.clock.advance(31 * DAY);
    running.report(gambling()).await;
    let upkeep = routing::upkeep::Upkeep {
        store: fixture.store.clone(),
        writer: Writer::new([]),
        clock: fixture.clock.clone(),
        time: fixture.time(None),
    };
    assert_eq!(upkeep.step(&running.shutdown).await.unwrap(), 6, "of two agencies");
    let mut anew = running.watch("guangdong", "").await.unwrap();
    let fourth = next(&mut anew).await;
    assert_eq!(fourth.kind, "case.opened");
    let mut resumed = running.watch("guangdong", &fourth.resume_token).await.unwrap();
    // As after a restore: tokens beyond the end of the feed.
    let seal = rpc::page::Tokens::of(&running.fixture.db).seal().await.unwrap();
    let ahead = seal.encode("WatchCases agency=police-440000", "5");
    let far = seal.encode("WatchCases agency=police-440000", &u64::MAX.to_string());
    for token in [&first, &second, &ahead, &far] {
        let status = refused(
            running.watch("guangdong", token).await,
            Code::InvalidArgument,
            "INVALID_INPUT",
        );
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "resume_token");
        assert!(
            violations[0].description.ends_with("start again with an empty one"),
            "{violations:?}"
        );
    }
    running.report(gambling()).await;
    assert_eq!(next(&mut resumed).await.kind, "case.opened");
    running.finish().await;
}

async fn shutdown_ends_watching(backend: Backend) {
    let running = Running::start(backend).await;
    let mut stream = running.watch("guangdong", "").await.unwrap();
    running.shutdown.cancel();
    let last = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap();
    assert!(matches!(last, Ok(None)), "{last:?}");
    // Long before the end of the grace period.
    tokio::time::timeout(Duration::from_secs(5), running.finish())
        .await
        .unwrap();
}

/// Each of them reads twice a second while nothing happens.
async fn an_agency_has_so_many_open_feeds_and_no_more(backend: Backend) {
    let running = Running::start(backend).await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(running.watch("nanning", "").await.unwrap());
    }
    // Of another system of the same agency, too; not of another agency.
    for system in ["nanning", "nanning-second"] {
        let denied = running.watch(system, "").await;
        refused(denied.map(drop), Code::ResourceExhausted, "OVERLOADED");
    }
    running.watch("guangdong", "").await.unwrap();
    drop(open);
    running.finish().await;
}

/// A request in an officer's name.
pub fn acting<T>(message: T, officer: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let officer = tonic::metadata::MetadataValue::from_bytes(officer.as_bytes());
    request.metadata_mut().insert_bin(rpc::OFFICER, officer);
    request
}
