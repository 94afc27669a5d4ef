//! The service of the operator register, and its part in routes.

use api::event::ChangeOutcome;
use api::routing::{Explanation, Facts, OperatorKind};
use api::routing::{
    GetOperatorRequest, ListOperatorsRequest, LoadMode, LoadOperatorsRequest, LoadOperatorsResponse, LoadProblem,
    LoadResult, LookupOperatorRequest, LookupOperatorResponse, OperatorFormat, OperatorSubject, OperatorsSpec,
    load_operators_request::Part, operator_service_client::OperatorServiceClient, operator_subject,
};
use decision::decide::decide;
use prost::Message as _;
use rpc::client::{Caller, connect};
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, HOUR, facts};
use crate::service::{Running, token};

testkit::on_each_backend!(
    p7_only_operators_load_and_partners_do_not_read,
    a_file_becomes_a_version_and_is_looked_up_and_paged,
    an_interrupted_load_changes_nothing,
    a_repeated_load_has_the_first_answer_and_undoes_nothing,
    all_faults_are_reported_and_nothing_is_stored,
    malformed_sequences_of_parts_are_refused,
    p6_a_route_by_the_register_is_decided_again_without_it,
    p7_only_the_owner_sees_the_matching_entry_and_nobody_the_lookup,
);

type Client = OperatorServiceClient<Caller>;

fn client(running: &Running, system: &str) -> Client {
    OperatorServiceClient::new(connect(&running.address, &token(system), None).unwrap())
}

fn part(part: Part) -> LoadOperatorsRequest {
    LoadOperatorsRequest { part: Some(part) }
}

fn spec(mode: LoadMode, size: usize) -> OperatorsSpec {
    OperatorsSpec {
        size_bytes: size as i64,
        format: OperatorFormat::Csv.into(),
        mode: mode.into(),
        ..OperatorsSpec::default()
    }
}

fn announce(mode: LoadMode, size: usize) -> LoadOperatorsRequest {
    part(Part::Spec(spec(mode, size)))
}

fn data(text: &str) -> LoadOperatorsRequest {
    part(Part::Data(text.to_owned().into()))
}

/// A file behind its announcement.
fn whole(mode: LoadMode, file: &str) -> Vec<LoadOperatorsRequest> {
    vec![announce(mode, file.len()), data(file)]
}

/// Sends parts, and returns the answers and the final status.
async fn send(
    mut client: Client,
    parts: Vec<LoadOperatorsRequest>,
) -> (Vec<LoadOperatorsResponse>, Result<(), Status>) {
    let mut answers = Vec::new();
    let mut stream = match client.load_operators(futures::stream::iter(parts)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (answers, Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, Ok(())),
            Err(status) => return (answers, Err(status)),
        }
    }
}

async fn load(running: &Running, mode: LoadMode, file: &str) -> Result<LoadResult, Status> {
    let parts = whole(mode, file);
    let (mut answers, ended) = send(client(running, "operator"), parts).await;
    ended?;
    Ok(answers.pop().unwrap().result.unwrap())
}

async fn version(running: &Running) -> i64 {
    let request = ListOperatorsRequest::default();
    let response = client(running, "operator").list_operators(request).await.unwrap();
    response.into_inner().version.unwrap().version
}

fn host(text: &str) -> Option<OperatorSubject> {
    Some(OperatorSubject {
        subject: Some(operator_subject::Subject::Host(text.to_owned())),
    })
}

async fn lookup(running: &Running, subject: Option<OperatorSubject>) -> Result<LookupOperatorResponse, Status> {
    let request = LookupOperatorRequest { subject, time: None };
    let response = client(running, "nanning").lookup_operator(request).await?;
    Ok(response.into_inner())
}

const FILE: &str = "kind,key,operator,place\n\
                    domain,wallet-verify-center.example,Example Wallet,350200\n\
                    app,cn.example.loan,,US\n\
                    domain,example.cn,Example Ltd,110000\n";

async fn p7_only_operators_load_and_partners_do_not_read(backend: Backend) {
    let running = Running::start(backend).await;
    for system in ["nanning", "intake", "audit"] {
        let parts = whole(LoadMode::Change, FILE);
        let refused = send(client(&running, system), parts).await.1.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{system}");
    }
    assert_eq!(version(&running).await, 0);
    for (system, may) in [("operator", true), ("nanning", true), ("intake", false)] {
        let code = |result: Result<(), Status>| result.map_or_else(|status| status.code(), |()| Code::Ok);
        let mut caller = client(&running, system);
        let listed = code(caller.list_operators(ListOperatorsRequest::default()).await.map(drop));
        let request = LookupOperatorRequest {
            subject: host("example.cn"),
            time: None,
        };
        let looked = code(caller.lookup_operator(request).await.map(drop));
        let name = "operators/domain~example.cn".to_owned();
        let got = code(caller.get_operator(GetOperatorRequest { name }).await.map(drop));
        let expected = match may {
            true => [Code::Ok, Code::Ok, Code::NotFound],
            false => [Code::PermissionDenied; 3],
        };
        assert_eq!([listed, looked, got], expected, "{system}");
    }
    running.finish().await;
}

async fn a_file_becomes_a_version_and_is_looked_up_and_paged(backend: Backend) {
    let running = Running::start(backend).await;
    let result = load(&running, LoadMode::Replace, FILE).await.unwrap();
    let loaded = result.version.unwrap();
    assert_eq!(
        (
            loaded.version,
            loaded.entry_count,
            loaded.digest.len(),
            result.added_count
        ),
        (1, 3, 32, 3)
    );

    let found = lookup(&running, host("https://Login.Wallet-Verify-Center.example:8443/x"))
        .await
        .unwrap();
    assert_eq!(found.version.unwrap(), loaded);
    let path: Vec<_> = found
        .path
        .iter()
        .map(|step| (step.key.as_str(), step.outcome.as_str()))
        .collect();
    assert_eq!(
        path,
        [
            ("login.wallet-verify-center.example", "not registered"),
            ("wallet-verify-center.example", "registered: 350200")
        ]
    );
    assert_eq!(
        found.registered_operator.unwrap().name,
        "operators/domain~wallet-verify-center.example"
    );
    assert_eq!(found.period.unwrap().organisation, "Example Wallet");
    let none = lookup(&running, host("nobody.example")).await.unwrap();
    assert_eq!(
        (none.path.len(), none.registered_operator, none.period),
        (1, None, None)
    );
    for subject in [
        None,
        host("192.0.2.7"),
        host("com.cn"),
        Some(OperatorSubject::default()),
    ] {
        let refused = lookup(&running, subject.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{subject:?}");
    }

    let mut caller = client(&running, "nanning");
    let name = |name: &str| GetOperatorRequest { name: name.to_owned() };
    let got = caller
        .get_operator(name("operators/app~cn.example.loan"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got.registered_operator.unwrap().kind(), OperatorKind::App);
    for (wrong, code) in [
        ("operators/app~other", Code::NotFound),
        ("operators/domain~com.cn", Code::InvalidArgument),
        ("app/other", Code::InvalidArgument),
    ] {
        assert_eq!(
            caller.get_operator(name(wrong)).await.unwrap_err().code(),
            code,
            "{wrong}"
        );
    }

    let mut page_token = String::new();
    let mut names = Vec::new();
    for _ in 0..3 {
        let request = ListOperatorsRequest {
            page_size: 1,
            page_token: page_token.clone(),
            kind: 0,
        };
        let page = caller.list_operators(request).await.unwrap().into_inner();
        names.extend(page.operators.into_iter().map(|operator| operator.key));
        page_token = page.next_page_token;
    }
    assert_eq!(names, ["cn.example.loan", "example.cn", "wallet-verify-center.example"]);
    assert_eq!(page_token, "");
    for (page_size, page_token, kind) in [(-1, "", 0), (1, "AAAA", 0), (1, "", 99)] {
        let request = ListOperatorsRequest {
            page_size,
            page_token: page_token.to_owned(),
            kind,
        };
        assert_eq!(
            caller.list_operators(request).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    running.finish().await;
}

async fn an_interrupted_load_changes_nothing(backend: Backend) {
    let running = Running::start(backend).await;
    load(&running, LoadMode::Replace, FILE).await.unwrap();
    // The stream ends as if it were whole, and something is missing; or there is more than was
    // announced.
    for (announced, file) in [
        (FILE.len() + 1, FILE),
        (9_999, "kind,key,place\napp,x,US\n"),
        (10, FILE),
    ] {
        let parts = vec![announce(LoadMode::Replace, announced), data(file)];
        let refused = send(client(&running, "operator"), parts).await.1.unwrap_err();
        let violation = refused.get_details_bad_request().unwrap().field_violations.remove(0);
        assert_eq!(violation.field, "spec.size_bytes");
    }

    // The connection breaks late in the upload.
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let mut caller = client(&running, "operator");
    sender.unbounded_send(announce(LoadMode::Replace, 10_000_000)).unwrap();
    sender.unbounded_send(data("kind,key,place\n")).unwrap();
    for i in 0..50_000 {
        sender.unbounded_send(data(&format!("domain,d{i}.cn,US\n"))).unwrap();
    }
    let mut stream = caller.load_operators(receiver).await.unwrap().into_inner();
    let progress = stream.message().await.unwrap().unwrap().progress.unwrap();
    assert!(progress.entry_count > 0);
    drop((stream, caller, sender));

    // The next load succeeds, and finds the register unchanged.
    assert_eq!(version(&running).await, 1);
    let result = load(&running, LoadMode::Change, "kind,key,place\napp,y,US\n")
        .await
        .unwrap();
    assert_eq!((result.version.unwrap().entry_count, result.added_count), (4, 1));
    running.finish().await;
}

async fn a_repeated_load_has_the_first_answer_and_undoes_nothing(backend: Backend) {
    let running = Running::start(backend).await;
    let send = async |n: u128, mode: LoadMode, file: &str| {
        let spec = OperatorsSpec {
            request_id: uuid::Uuid::from_u128(n).to_string(),
            ..spec(mode, file.len())
        };
        let parts = vec![part(Part::Spec(spec)), data(file)];
        let (mut answers, ended) = send(client(&running, "operator"), parts).await;
        ended.map(|()| answers.pop().unwrap().result.unwrap())
    };
    let first = send(1, LoadMode::Replace, FILE).await.unwrap();
    let unchanged = send(2, LoadMode::Replace, FILE).await.unwrap();
    assert!(!first.unchanged && unchanged.unchanged);
    let other = "kind,key,place\napp,y,US\n";
    load(&running, LoadMode::Replace, other).await.unwrap();
    assert_eq!(send(1, LoadMode::Replace, FILE).await.unwrap(), first);
    assert_eq!(send(2, LoadMode::Replace, FILE).await.unwrap(), unchanged);
    assert_eq!(version(&running).await, 2, "not loaded again");
    for (mode, file) in [(LoadMode::Replace, other), (LoadMode::Change, FILE)] {
        let refused = send(1, mode, file).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    }
    assert_eq!(version(&running).await, 2);
    running.finish().await;
}

async fn all_faults_are_reported_and_nothing_is_stored(backend: Backend) {
    let running = Running::start(backend).await;
    let wrong: String = (0..250).map(|i| format!("domain,d{i}.cn,999999\n")).collect();
    let file = format!("kind,key,place\n{wrong}domain,com.cn,US\napp,x,US\napp,x,JP\n");
    let parts = whole(LoadMode::Replace, &file);
    let (answers, ended) = send(client(&running, "operator"), parts).await;
    let problems: Vec<LoadProblem> = answers.into_iter().flat_map(|answer| answer.problems).collect();
    assert_eq!(problems.len(), 252);
    assert_eq!((problems[0].line, problems[0].column.as_str()), (2, "place"));
    assert_eq!((problems[251].line, problems[251].other_line), (254, 253));
    let refused = ended.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let first = refused.get_details_bad_request().unwrap().field_violations.remove(0);
    assert_eq!(first.field, "line 2, place");
    assert!(refused.message().contains("more"), "{}", refused.message());
    assert_eq!(version(&running).await, 0);
    let loads = "SELECT count(*) FROM operator_loads";
    assert_eq!(running.fixture.count(loads).await, 0, "it was not even begun");

    for (file, words) in [
        ("\n", "the file is empty"),
        ("kind,key\n", "the column place is missing"),
        ("kind,key,place,owner\n", "`owner` is not a column"),
    ] {
        let parts = whole(LoadMode::Replace, file);
        let (answers, ended) = send(client(&running, "operator"), parts).await;
        assert!(answers[0].problems[0].description.contains(words), "{answers:?}");
        assert_eq!(ended.unwrap_err().code(), Code::InvalidArgument);
    }
    running.finish().await;
}

async fn malformed_sequences_of_parts_are_refused(backend: Backend) {
    let running = Running::start(backend).await;
    let with = |change: fn(&mut OperatorsSpec)| {
        let mut spec = spec(LoadMode::Change, FILE.len());
        change(&mut spec);
        vec![part(Part::Spec(spec)), data(FILE)]
    };
    let long = "x".repeat((1 << 20) + 1);
    for (parts, field) in [
        (vec![], "spec"),
        (vec![data(FILE)], "spec"),
        (vec![LoadOperatorsRequest::default()], "part"),
        (with(|spec| spec.format = 0), "spec.format"),
        (with(|spec| spec.mode = 9), "spec.mode"),
        (with(|spec| spec.size_bytes = 0), "spec.size_bytes"),
        (with(|spec| spec.size_bytes = -1), "spec.size_bytes"),
        (with(|spec| spec.request_id = "1".to_owned()), "spec.request_id"),
        (
            vec![announce(LoadMode::Change, 9), announce(LoadMode::Change, 9)],
            "spec",
        ),
        (vec![announce(LoadMode::Change, 9), data("")], "data"),
        (whole(LoadMode::Change, &long), "data"),
    ] {
        let refused = send(client(&running, "operator"), parts).await.1.unwrap_err();
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
    assert_eq!(version(&running).await, 0);
    running.finish().await;
}

/// A report of a domain in Shanghai, as intake sends it.
fn phishing(fixture: &Fixture, domain: &str) -> (String, api::routing::ReportChange) {
    let places = [(api::event::ConnectingFactor::Server, "310000")];
    let mut facts = facts("fraud", &places);
    facts.subject_kinds = vec![api::intake::SubjectKind::Domain.into()];
    facts.accept_time = Some(fixture.now().to_proto());
    let (report, _, mut change) = fixture.accepted(facts);
    change.subjects = host(domain).into_iter().collect();
    (format!("reports/{report}"), change)
}

/// The stored facts and explanation of a report's case; both also as bytes.
async fn stored(fixture: &Fixture, report: &str) -> (Facts, Vec<u8>, Vec<u8>) {
    let id = report.strip_prefix("reports/").unwrap();
    let statement = "SELECT facts, explanation FROM cases JOIN case_reports ON case_id = id WHERE report = $1";
    let rows = fixture.rows(statement, vec![id.into()]).await;
    let facts: Vec<u8> = rows[0].get("facts").unwrap();
    (
        Facts::decode(facts.as_slice()).unwrap(),
        facts,
        rows[0].get("explanation").unwrap(),
    )
}

async fn p6_a_route_by_the_register_is_decided_again_without_it(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    load(&running, LoadMode::Replace, FILE).await.unwrap();
    let (report, change) = phishing(fixture, "login.wallet-verify-center.example");
    assert_eq!(running.route(vec![change]).await, [ChangeOutcome::Recorded]);

    // The register has changed: a new report goes elsewhere, the stored one is decided as before.
    load(
        &running,
        LoadMode::Replace,
        "kind,key,place\ndomain,wallet-verify-center.example,450100\n",
    )
    .await
    .unwrap();
    fixture.clock.advance(HOUR);
    let (later, change) = phishing(fixture, "login.wallet-verify-center.example");
    assert_eq!(running.route(vec![change]).await, [ChangeOutcome::Recorded]);
    for (report, lead, version) in [(&report, "police-350200", 1), (&later, "police-450100", 2)] {
        let (facts, _, explanation) = stored(fixture, report).await;
        let active = fixture.current.get();
        let again = decide(&facts, &active.rules, &active.directory);
        let mut explanation = Explanation::decode(explanation.as_slice()).unwrap();
        explanation.facts_digest.clear();
        explanation.facts_salt.clear();
        assert_eq!(again.explanation, explanation);
        assert!(
            again
                .explanation
                .summary
                .starts_with(&format!("{lead} leads (operator ")),
            "{again:?}"
        );
        let operator = &again.explanation.factors[0];
        let words = format!("by the operator register, version {version}; leads to {lead}");
        assert_eq!(
            (operator.factor(), operator.outcome.as_str()),
            (api::event::ConnectingFactor::Operator, words.as_str())
        );
        let answer = again.explanation.register_answer.unwrap();
        assert_eq!((answer.version, answer.asked_count), (version, 1));
        assert_eq!(
            answer.matches[0].registered_operator,
            "operators/domain~wallet-verify-center.example"
        );
    }

    // The explanation also says that the register has no entry.
    let (report, change) = phishing(fixture, "nobody.example");
    assert_eq!(running.route(vec![change]).await, [ChangeOutcome::Recorded]);
    let (facts, ..) = stored(fixture, &report).await;
    let active = fixture.current.get();
    let fallbacks = decide(&facts, &active.rules, &active.directory).explanation.fallbacks;
    let words = "the operator register, version 2, does not contain the subject";
    assert!(
        fallbacks.iter().any(|fallback| fallback.contains(words)),
        "{fallbacks:?}"
    );
    running.finish().await;
}

async fn p7_only_the_owner_sees_the_matching_entry_and_nobody_the_lookup(backend: Backend) {
    let running = Running::start(backend).await;
    let file = "kind,key,place\ndomain,wallet-verify-center.example,450100\n";
    load(&running, LoadMode::Replace, file).await.unwrap();
    let (report, mut change) = phishing(&running.fixture, "wang-wei.wallet-verify-center.example");
    // Nanning leads, Guangdong supports.
    for place in &mut change.facts.as_mut().unwrap().places {
        place.location = Some(api::intake::place::Location::Territory("territories/440600".to_owned()));
    }
    assert_eq!(running.route(vec![change]).await, [ChangeOutcome::Recorded]);
    let case = running.list("operator").await.remove(0).name;
    let matches = |case: api::routing::Case| case.explanation.unwrap().register_answer.unwrap().matches.len();
    assert_eq!(matches(running.get("nanning", &case).await.unwrap()), 1);
    for system in ["guangdong", "operator"] {
        let seen = running.get(system, &case).await.unwrap();
        let text = format!("{seen:?}");
        assert!(!text.contains("wallet-verify-center"), "{text}");
        assert_eq!(matches(seen), 0, "{system}");
    }
    // The host, which names a person, is stored nowhere.
    let (_, facts, explanation) = stored(&running.fixture, &report).await;
    let outbox = running.fixture.rows("SELECT payload FROM outbox", vec![]).await;
    let outbox = outbox.iter().map(|row| row.only::<Vec<u8>>().unwrap());
    for bytes in outbox.chain([facts, explanation]) {
        assert!(!String::from_utf8_lossy(&bytes).contains("wang-wei"));
    }
    running.finish().await;
}
