//! Rule sets over gRPC: create, check, simulate, activate; explain and replay routes.

use std::time::Duration;

use api::event::{Detail, StateChange};
use api::routing::rule_set_service_client::RuleSetServiceClient;
use api::routing::simulate_rule_set_response::Update;
use api::routing::{
    ActivateRuleSetRequest, ApproveRuleSetRequest, CheckRuleSetRequest, CreateRuleSetRequest, ExplainRouteRequest,
    Facts, GetRuleSetRequest, ListRuleSetsRequest, OperatorSubject, ReplayResult, ReplayRouteRequest,
    ReplayRouteResponse, RuleCondition, RuleSet, RuleTable, Severity, SimulateRuleSetRequest, SimulationSummary,
    check_rule_set_request::Target, operator_subject,
};
use decision::rules;
use prost::Message as _;
use routing::store::versions::Versions as _;
use rpc::client::{Caller, connect};
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{gambling, official};
use crate::service::{Running, acting, token};

type Client = RuleSetServiceClient<Caller>;

testkit::on_each_backend!(
    a_rule_set_is_stored_once_and_listed,
    findings_name_row_and_column,
    p6_activation_needs_a_finished_simulation_and_cases_in_flight_keep_their_route,
    a_repeated_request_has_the_first_answer_and_undoes_nothing,
    p2_an_override_is_logged_with_its_reason,
    an_abandoned_simulation_does_not_count,
    p6_a_replay_says_whether_all_agrees,
    p7_a_replay_shows_excluded_units_to_the_owner_only,
    routes_are_explained_and_nothing_is_stored,
    p7_an_explanation_follows_former_agencies_as_submission_does,
    rule_sets_are_for_operators,
);

fn client(running: &Running, system: &str) -> Client {
    RuleSetServiceClient::new(connect(&running.address, &token(system), Some(Duration::from_secs(60))).unwrap())
}

fn first_receiver() -> RuleTable {
    rules::RuleSet::shipped_first_receiver().to_table()
}

async fn create(running: &Running, table: RuleTable) -> Result<RuleSet, Status> {
    let rule_set = Some(RuleSet {
        table: Some(table),
        ..RuleSet::default()
    });
    let request = CreateRuleSetRequest {
        rule_set,
        ..CreateRuleSetRequest::default()
    };
    let answer = client(running, "operator").create_rule_set(request).await?;
    Ok(answer.into_inner().rule_set.unwrap())
}

async fn activate(running: &Running, name: &str, override_reason: &str) -> Result<RuleSet, Status> {
    let request = ActivateRuleSetRequest {
        name: name.to_owned(),
        override_reason: override_reason.to_owned(),
        request_id: String::new(),
    };
    let mut operator = client(running, "operator");
    let answer = operator.activate_rule_set(acting(request, "o-1")).await?.into_inner();
    let rule_set = answer.rule_set.unwrap();
    if !answer.proposed {
        return Ok(rule_set);
    }
    assert!(!rule_set.active);
    let request = ApproveRuleSetRequest {
        name: rule_set.name,
        ..ApproveRuleSetRequest::default()
    };
    let mut other = client(running, "operator-second");
    let answer = other.approve_rule_set(acting(request, "o-2")).await?;
    Ok(answer.into_inner().rule_set.unwrap())
}

/// All differences of a simulation, and its summary.
async fn simulate(running: &Running, name: &str) -> (Vec<Update>, SimulationSummary) {
    simulate_as(running, "operator", name).await
}

async fn simulate_as(running: &Running, system: &str, name: &str) -> (Vec<Update>, SimulationSummary) {
    let request = SimulateRuleSetRequest { name: name.to_owned() };
    let mut stream = client(running, system)
        .simulate_rule_set(request)
        .await
        .unwrap()
        .into_inner();
    let mut events = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        events.push(message.update.unwrap());
    }
    match events.pop() {
        Some(Update::Summary(summary)) => (events, summary),
        other => panic!("the last is {other:?}"),
    }
}

async fn replay(running: &Running, system: &str, name: &str) -> Result<ReplayRouteResponse, Status> {
    let request = ReplayRouteRequest {
        name: name.to_owned(),
        ..ReplayRouteRequest::default()
    };
    client(running, system)
        .replay_route(request)
        .await
        .map(tonic::Response::into_inner)
}

/// Story 4, received by Guangdong.
fn received_by_guangdong() -> Facts {
    Facts {
        received_by: "agencies/police-440000".to_owned(),
        ..gambling()
    }
}

async fn a_rule_set_is_stored_once_and_listed(backend: Backend) {
    let running = Running::start(backend).await;
    let mut operator = client(&running, "operator");
    let request = |validate_only| CreateRuleSetRequest {
        rule_set: Some(RuleSet {
            table: Some(first_receiver()),
            ..RuleSet::default()
        }),
        validate_only,
        ..CreateRuleSetRequest::default()
    };
    let list = async || {
        let listed = client(&running, "operator")
            .list_rule_sets(ListRuleSetsRequest::default())
            .await;
        let rule_sets = listed.unwrap().into_inner().rule_sets;
        rule_sets
            .into_iter()
            .map(|one| (one.table_id, one.active))
            .collect::<Vec<_>>()
    };
    let checked = operator.create_rule_set(request(true)).await.unwrap().into_inner();
    assert_eq!(checked.findings, []);
    assert_eq!(list().await, [("ranked".to_owned(), true)], "only checked");

    let kept = operator
        .create_rule_set(request(false))
        .await
        .unwrap()
        .into_inner()
        .rule_set
        .unwrap();
    let again = operator
        .create_rule_set(request(false))
        .await
        .unwrap()
        .into_inner()
        .rule_set
        .unwrap();
    assert_eq!(kept.name, again.name);
    assert_eq!(kept.digest, rules::RuleSet::shipped_first_receiver().digest().to_vec());
    running.fixture.clock.advance(1);
    let mut names = list().await;
    names.sort();
    assert_eq!(
        names,
        [("first-receiver".to_owned(), false), ("ranked".to_owned(), true)]
    );

    let get = GetRuleSetRequest {
        name: kept.name.clone(),
    };
    let got = operator.get_rule_set(get).await.unwrap().into_inner().rule_set.unwrap();
    assert_eq!(got.table, Some(first_receiver()));
    let active = GetRuleSetRequest {
        name: "ruleSets/active".to_owned(),
    };
    let active = operator
        .get_rule_set(active)
        .await
        .unwrap()
        .into_inner()
        .rule_set
        .unwrap();
    assert_eq!((active.table_id.as_str(), active.active), ("ranked", true));

    let page = ListRuleSetsRequest {
        page_size: 1,
        ..Default::default()
    };
    let first = operator.list_rule_sets(page).await.unwrap().into_inner();
    assert_eq!(first.rule_sets.len(), 1);
    let page = ListRuleSetsRequest {
        page_size: 1,
        page_token: first.next_page_token,
    };
    let second = operator.list_rule_sets(page).await.unwrap().into_inner();
    assert_eq!((second.rule_sets.len(), second.next_page_token.as_str()), (1, ""));
    assert_ne!(first.rule_sets[0].name, second.rule_sets[0].name);
    for (name, code) in [
        (format!("ruleSets/{}", "0".repeat(64)), Code::NotFound),
        ("ruleSets/x".to_owned(), Code::InvalidArgument),
    ] {
        assert_eq!(
            operator
                .get_rule_set(GetRuleSetRequest { name })
                .await
                .unwrap_err()
                .code(),
            code
        );
    }
    running.finish().await;
}

async fn findings_name_row_and_column(backend: Backend) {
    let running = Running::start(backend).await;
    let mut table = first_receiver();
    // A column of a later version arrives as a condition without one.
    table.rows[0].conditions.push(RuleCondition::default());
    table.rows[1].priority = table.rows[2].priority;
    table.rows.pop();
    let refused = create(&running, table.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused
        .get_error_details()
        .bad_request()
        .unwrap()
        .field_violations
        .clone();
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert!(
        fields.contains(&"rule_set.table.rows[child-sexual-abuse-material].conditions[1]"),
        "{fields:?}"
    );
    let mut operator = client(&running, "operator");
    let check = CheckRuleSetRequest {
        target: Some(Target::Table(table)),
    };
    let found = operator.check_rule_set(check).await.unwrap().into_inner().findings;
    assert!(
        found
            .iter()
            .all(|finding| finding.severity() == Severity::Error && !finding.column.is_empty())
    );

    let mut table = first_receiver();
    table.rows.retain(|row| row.id != "gambling");
    let gap = table.clone();
    let check = CheckRuleSetRequest {
        target: Some(Target::Table(gap)),
    };
    let found = operator.check_rule_set(check).await.unwrap().into_inner().findings;
    assert!(
        found
            .iter()
            .any(|finding| finding.column == "category" && finding.message.contains("a gap")),
        "{found:?}"
    );
    let kept = create(&running, table).await.unwrap();
    let check = CheckRuleSetRequest {
        target: Some(Target::Name(kept.name)),
    };
    assert_eq!(
        operator.check_rule_set(check).await.unwrap().into_inner().findings,
        found
    );

    let mut table = first_receiver();
    if let Some(api::routing::rule_condition::Column::Category(category)) = &mut table.rows[0].conditions[0].column {
        category.categories = vec!["categories/piracy".to_owned()];
    }
    assert!(
        create(&running, table)
            .await
            .unwrap_err()
            .message()
            .contains("category"),
        "unknown to the taxonomy"
    );
    let nothing = CheckRuleSetRequest { target: None };
    assert_eq!(
        operator.check_rule_set(nothing).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let nothing = CreateRuleSetRequest::default();
    assert_eq!(
        operator.create_rule_set(nothing).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    running.finish().await;
}

async fn p6_activation_needs_a_finished_simulation_and_cases_in_flight_keep_their_route(backend: Backend) {
    let running = Running::start(backend).await;
    running.report(received_by_guangdong()).await;
    running.report(official()).await;
    let before = running.list("operator").await;
    let name = create(&running, first_receiver()).await.unwrap().name;
    let refused = activate(&running, &name, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);

    // Who makes rule sets and nothing else learns how many cases differ, and not which.
    let (events, counted) = simulate_as(&running, "only-rules-editor", &name).await;
    assert!(
        events.iter().all(|event| matches!(event, Update::Progress(_))),
        "{events:?}"
    );
    let (events, summary) = simulate(&running, &name).await;
    assert_eq!(counted, summary);
    let differences: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Update::Difference(difference) => Some(difference),
            _ => None,
        })
        .collect();
    assert_eq!(
        (summary.decided_count, summary.different_count, differences.len()),
        (2, 1, 1)
    );
    let (old, new) = (
        differences[0].current.as_ref().unwrap(),
        differences[0].proposed.as_ref().unwrap(),
    );
    assert_eq!(
        (old.agency.as_str(), new.agency.as_str()),
        ("agencies/police-450100", "agencies/police-440000")
    );
    assert_eq!(differences[0].reason, "row `gambling` has a different first_receiver");
    let balance: Vec<_> = summary
        .agencies
        .iter()
        .map(|balance| (balance.agency.as_str(), balance.gained_count, balance.lost_count))
        .collect();
    assert_eq!(
        balance,
        [("agencies/police-440000", 1, 0), ("agencies/police-450100", 0, 1)]
    );
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Update::Progress(progress) if progress.decided_count == 2))
    );
    assert_eq!(running.list("operator").await, before, "nothing changes");

    assert!(activate(&running, &name, "").await.unwrap().active);
    assert!(
        activate(&running, &name, "").await.unwrap().active,
        "again changes nothing"
    );
    assert_eq!(
        running.list("operator").await,
        before,
        "cases in flight keep their route"
    );
    running.report(received_by_guangdong()).await;
    let leads: Vec<_> = running
        .list("operator")
        .await
        .into_iter()
        .map(|case| (case.name, case.lead))
        .collect();
    let newest = leads
        .iter()
        .find(|(name, _)| before.iter().all(|case| case.name != *name))
        .unwrap();
    assert_eq!(newest.1, "agencies/police-440000");
    for (name, _) in &leads {
        let replayed = replay(&running, "operator", name).await.unwrap();
        assert_eq!(replayed.result(), ReplayResult::Agrees, "{:?}", replayed.checks);
    }
    // A simulation against another rule set no longer counts.
    let ranked = format!(
        "ruleSets/{}",
        data_encoding::HEXLOWER.encode(&rules::RuleSet::shipped().digest())
    );
    assert_eq!(
        activate(&running, &ranked, "").await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    running.finish().await;
}

async fn a_repeated_request_has_the_first_answer_and_undoes_nothing(backend: Backend) {
    let running = Running::start(backend).await;
    let mut operator = client(&running, "operator");
    let id = |n: u128| uuid::Uuid::from_u128(n).to_string();
    let creating = |n, table: RuleTable| CreateRuleSetRequest {
        rule_set: Some(RuleSet {
            table: Some(table),
            ..RuleSet::default()
        }),
        request_id: id(n),
        ..CreateRuleSetRequest::default()
    };
    let created = operator
        .create_rule_set(creating(1, first_receiver()))
        .await
        .unwrap()
        .into_inner();
    running.fixture.clock.advance(60);
    let again = operator
        .create_rule_set(creating(1, first_receiver()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, created, "the time included");
    let ranked = rules::RuleSet::shipped().to_table();
    let refused = operator.create_rule_set(creating(1, ranked)).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);

    let (other, first) = (
        created.rule_set.unwrap().name,
        running.fixture.store.active().digests().rules,
    );
    let first = format!("ruleSets/{}", data_encoding::HEXLOWER.encode(&first));
    let activating = |n, name: &str| ActivateRuleSetRequest {
        name: name.to_owned(),
        override_reason: "order of the ministry".to_owned(),
        request_id: id(n),
    };
    let unchanged = operator
        .activate_rule_set(activating(2, &first))
        .await
        .unwrap()
        .into_inner();
    let activated = operator
        .activate_rule_set(activating(3, &other))
        .await
        .unwrap()
        .into_inner();
    let repeated = operator
        .activate_rule_set(activating(2, &first))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(repeated, unchanged);
    let active = || names::RULE_SET.of(names::Digest(running.fixture.store.active().digests().rules));
    assert_eq!(active(), other, "the repeat did not switch back");
    activate(&running, &first, "order of the ministry").await.unwrap();
    let repeated = operator
        .activate_rule_set(activating(3, &other))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((repeated, active()), (activated, first.clone()));
    // The ids of one caller are of all its calls.
    for request in [activating(3, &first), activating(1, &other)] {
        let refused = operator.activate_rule_set(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    }
    let malformed = ActivateRuleSetRequest {
        request_id: "1".to_owned(),
        ..activating(4, &first)
    };
    let refused = operator.activate_rule_set(malformed).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    running.finish().await;
}

async fn p2_an_override_is_logged_with_its_reason(backend: Backend) {
    let running = Running::start(backend).await;
    let name = create(&running, first_receiver()).await.unwrap().name;
    let long = activate(&running, &name, &"x".repeat(501)).await.unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument);
    activate(&running, &name, "order of the ministry, today").await.unwrap();
    let rows = running
        .fixture
        .rows(
            "SELECT payload FROM outbox WHERE record = 'ruleSets/versions' AND consumer = 'audit'",
            vec![],
        )
        .await;
    let purposes: Vec<String> = rows
        .iter()
        .map(|row| StateChange::decode(row.only::<Vec<u8>>().unwrap().as_slice()).unwrap())
        .map(|change| Detail::decode(change.detail.unwrap().content).unwrap().purpose)
        .collect();
    assert!(
        purposes.contains(&"without a simulation: order of the ministry, today".to_owned()),
        "{purposes:?}"
    );
    running.finish().await;
}

async fn an_abandoned_simulation_does_not_count(backend: Backend) {
    let running = Running::start(backend).await;
    // More than the transport buffers for a slow reader.
    running.fixture.open(&vec![received_by_guangdong(); 1_200]).await;
    let name = create(&running, first_receiver()).await.unwrap().name;
    let request = SimulateRuleSetRequest { name: name.clone() };
    let mut stream = client(&running, "operator")
        .simulate_rule_set(request)
        .await
        .unwrap()
        .into_inner();
    assert!(stream.message().await.unwrap().is_some());
    drop(stream);
    assert_eq!(
        activate(&running, &name, "").await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert_eq!(running.fixture.count("SELECT count(*) FROM simulations").await, 0);
    let (_, summary) = simulate(&running, &name).await;
    assert_eq!((summary.decided_count, summary.different_count), (1_200, 1_200));
    assert_eq!(running.fixture.count("SELECT decided FROM simulations").await, 1_200);
    running.finish().await;
}

async fn p6_a_replay_says_whether_all_agrees(backend: Backend) {
    let running = Running::start(backend).await;
    let mut names = Vec::new();
    for _ in 0..4 {
        running.report(received_by_guangdong()).await;
        let listed = running.list("operator").await;
        names.push(
            listed
                .into_iter()
                .map(|case| case.name)
                .find(|name| !names.contains(name))
                .unwrap(),
        );
    }
    let ids: Vec<String> = names.iter().map(|name| name.replace("cases/", "")).collect();
    let whole = replay(&running, "nanning", &names[0]).await.unwrap();
    assert_eq!(whole.result(), ReplayResult::Agrees, "{:?}", whole.checks);
    assert_eq!(whole.decision.unwrap().lead, "agencies/police-450100");

    let other = Facts {
        urgent: true,
        ..received_by_guangdong()
    };
    let set = |column: &str, id: &str, bytes: Vec<u8>| {
        let statement = match column {
            "facts" => "UPDATE cases SET facts = $2 WHERE id = $1",
            _ => "UPDATE case_openings SET detail = $2 WHERE case_id = $1",
        };
        (statement, vec![sql::Value::from(id.to_owned()), bytes.into()])
    };
    for (statement, values) in [
        set("facts", &ids[1], other.encode_to_vec()),
        set("facts", &ids[2], Vec::new()),
        set("detail", &ids[3], b"\x0a\x01x".to_vec()),
    ] {
        sql::transact!(running.fixture.db, |tx| tx.execute(statement, values.clone())).unwrap();
    }
    let failed = async |name: &str| {
        let replayed = replay(&running, "operator", name).await.unwrap();
        let failed = replayed
            .checks
            .iter()
            .filter(|check| !check.agrees)
            .map(|check| check.subject.clone());
        (replayed.result(), failed.collect::<Vec<_>>())
    };
    let facts = failed(&names[1]).await;
    assert_eq!(facts.0, ReplayResult::Differs);
    assert!(facts.1.contains(&"facts".to_owned()), "{facts:?}");
    assert_eq!(failed(&names[2]).await, (ReplayResult::Erased, vec![]));
    let logged = failed(&names[3]).await;
    assert_eq!(logged.0, ReplayResult::Differs);
    assert!(logged.1.contains(&"logged commitment".to_owned()), "{logged:?}");
    running.fixture.execute("DELETE FROM case_openings").await;
    let status = replay(&running, "operator", &names[0]).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "the case is there: {status:?}");
    // A simulation skips erased facts, and counts them.
    let name = create(&running, first_receiver()).await.unwrap().name;
    let (_, summary) = simulate(&running, &name).await;
    assert_eq!((summary.decided_count, summary.erased_count), (3, 1));

    for (name, code) in [
        ("cases/x", Code::InvalidArgument),
        ("cases/00000000-0000-7000-8000-000000000000", Code::NotFound),
    ] {
        assert_eq!(replay(&running, "operator", name).await.unwrap_err().code(), code);
    }
    assert_eq!(
        replay(&running, "guangxi", &names[0]).await.unwrap_err().code(),
        Code::NotFound,
        "not its case"
    );
    running.finish().await;
}

async fn p7_a_replay_shows_excluded_units_to_the_owner_only(backend: Backend) {
    let running = Running::start(backend).await;
    let facts = Facts {
        excluded: vec!["agencies/police-450100".to_owned()],
        ..gambling()
    };
    running.report(facts).await;
    let name = running.list("operator").await.remove(0).name;
    let owner = format!("{:?}", replay(&running, "guangxi", &name).await.unwrap());
    assert!(owner.contains("police-450100"));
    for other in ["operator", "guangdong"] {
        let replayed = replay(&running, other, &name).await.unwrap();
        assert_eq!(replayed.result(), ReplayResult::Agrees);
        assert!(
            !format!("{replayed:?}").contains("police-450100"),
            "{other}: {replayed:?}"
        );
        assert!(replayed.decision.unwrap().explanation.unwrap().facts_digest.is_empty());
    }
    running.finish().await;
}

async fn routes_are_explained_and_nothing_is_stored(backend: Backend) {
    let running = Running::start(backend).await;
    let name = create(&running, first_receiver()).await.unwrap().name;
    let kept = running.fixture.count("SELECT count(*) FROM journal").await;
    let mut operator = client(&running, "operator");
    for (rule_set, lead) in [
        ("", "agencies/police-450100"),
        (name.as_str(), "agencies/police-440000"),
    ] {
        let request = ExplainRouteRequest {
            facts: Some(received_by_guangdong()),
            rule_set: rule_set.to_owned(),
            ..ExplainRouteRequest::default()
        };
        let decision = operator
            .explain_route(request)
            .await
            .unwrap()
            .into_inner()
            .decision
            .unwrap();
        assert_eq!(decision.lead, lead);
        assert!(!api::text_in(&decision.lead_titles, "zh").is_empty());
        assert!(
            decision.misses.iter().all(|miss| miss.column == "category"),
            "{:?}",
            decision.misses
        );
        assert_eq!(decision.acknowledge.unwrap().value, 24);
    }
    let none = operator
        .explain_route(ExplainRouteRequest::default())
        .await
        .unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
    assert_eq!(running.fixture.count("SELECT count(*) FROM journal").await, kept);
    assert_eq!(running.fixture.count("SELECT count(*) FROM cases").await, 0);
    running.finish().await;
}

/// With subjects and without: as for a report that is submitted, whoever succeeded an agency that
/// the directory in force no longer has is excluded.
async fn p7_an_explanation_follows_former_agencies_as_submission_does(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    fixture
        .apply(&[("police-130400", "valid_to: 2026-03-01, successor: police-450100")])
        .await;
    fixture.apply(&[("police-130400", "")]).await;
    let explain = async |excluded: &str, complained_of: &str, subjects: Vec<OperatorSubject>| {
        let facts = Facts {
            excluded: excluded.split_whitespace().map(str::to_owned).collect(),
            complained_of: complained_of.to_owned(),
            ..gambling()
        };
        let request = ExplainRouteRequest {
            facts: Some(facts),
            subjects,
            ..ExplainRouteRequest::default()
        };
        let answer = client(&running, "operator").explain_route(request).await?;
        Ok::<_, Status>(answer.into_inner().decision.unwrap().lead)
    };
    let subject = || OperatorSubject {
        subject: Some(operator_subject::Subject::Host("shop.example.cn".to_owned())),
    };
    let former = "agencies/police-130400";
    for subjects in [vec![], vec![subject()]] {
        assert_eq!(
            explain("", "", subjects.clone()).await.unwrap(),
            "agencies/police-450100"
        );
        for (excluded, complained_of) in [(former, ""), ("", former)] {
            let lead = explain(excluded, complained_of, subjects.clone()).await.unwrap();
            assert_ne!(lead, "agencies/police-450100", "{excluded} {complained_of}");
        }
        let unknown = explain("agencies/police-999999", "", subjects).await.unwrap_err();
        assert_eq!(unknown.code(), Code::InvalidArgument);
    }
    // As many as a report has, and no more.
    assert!(explain("", "", vec![subject(); 50]).await.is_ok());
    let many = explain("", "", vec![subject(); 51]).await.unwrap_err();
    assert_eq!(many.code(), Code::InvalidArgument);
    running.finish().await;
}

async fn rule_sets_are_for_operators(backend: Backend) {
    let running = Running::start(backend).await;
    for system in ["nanning", "intake"] {
        let mut client = client(&running, system);
        let codes = [
            client.create_rule_set(CreateRuleSetRequest::default()).await.map(drop),
            client.list_rule_sets(ListRuleSetsRequest::default()).await.map(drop),
            client.get_rule_set(GetRuleSetRequest::default()).await.map(drop),
            client.check_rule_set(CheckRuleSetRequest::default()).await.map(drop),
            client.explain_route(ExplainRouteRequest::default()).await.map(drop),
            client
                .simulate_rule_set(SimulateRuleSetRequest::default())
                .await
                .map(drop),
            client
                .activate_rule_set(ActivateRuleSetRequest::default())
                .await
                .map(drop),
        ]
        .map(|answer| answer.unwrap_err().code());
        assert_eq!(codes, [Code::PermissionDenied; 7], "{system}");
    }
    running.finish().await;
}
