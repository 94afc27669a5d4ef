//! Two people put a directory or a rule set in force.

use api::{
    event::{Detail, StateChange},
    routing::{
        ActivateRuleSetRequest, ApplyDirectoryResponse, ApproveDirectoryRequest, ApproveRuleSetRequest, DirectorySpec,
        rule_set_service_client::RuleSetServiceClient,
    },
};
use decision::rules::RuleSet;
use journal::{Opened, Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::store::versions::Versions as _;
use rpc::client::{Caller, connect};
use testkit::Backend;
use tonic::{Code, Status};

use crate::{
    directory_service::{GUSU, changes, parts},
    fixture::{gambling, official},
    service::{Running, acting, refused, token},
};

testkit::on_each_backend!(
    p7_two_people_put_a_version_in_force_and_the_difference_is_logged,
    one_person_is_enough_until_the_first_case,
    a_proposal_ends_with_the_pair_that_it_was_compared_with,
    p7_two_names_by_one_token_are_one_person,
    a_repeat_by_another_officer_is_another_request,
    p7_a_look_is_refused_as_the_approval_is_and_names_cases_to_those_who_may_see_them,
);

const OTHER: &str = "put:\n  - {id: police-320509, functions: [police], territory: '320509', \
                     name: {zh: 吴江, en: Wujiang desk}, superior: police-320000}\n";

async fn propose(
    running: &Running,
    officer: Option<&str>,
    spec: DirectorySpec,
    file: &str,
) -> Result<ApplyDirectoryResponse, Status> {
    let parts = futures::stream::iter(parts(spec, file));
    let request = match officer {
        Some(officer) => acting(parts, officer),
        None => tonic::Request::new(parts),
    };
    let answer = running.directory("operator").apply_directory(request).await?;
    Ok(answer.into_inner())
}

fn approving(etag: &str) -> ApproveDirectoryRequest {
    ApproveDirectoryRequest {
        etag: etag.to_owned(),
        ..ApproveDirectoryRequest::default()
    }
}

fn rules_of(running: &Running, system: &str) -> RuleSetServiceClient<Caller> {
    RuleSetServiceClient::new(connect(&running.address, &token(system), None).unwrap())
}

fn rules(running: &Running) -> RuleSetServiceClient<Caller> {
    rules_of(running, "operator")
}

/// Stores a rule set, and proposes it without a simulation.
async fn propose_rules(running: &Running, officer: &str) -> String {
    let mut table = RuleSet::shipped_first_receiver().to_table();
    table.rows[0].id = "other".to_owned();
    let create = api::routing::CreateRuleSetRequest {
        rule_set: Some(api::routing::RuleSet {
            table: Some(table),
            ..Default::default()
        }),
        ..Default::default()
    };
    let created = rules(running).create_rule_set(create).await.unwrap().into_inner();
    let name = created.rule_set.unwrap().name;
    let activate = ActivateRuleSetRequest {
        name: name.clone(),
        override_reason: "order of the ministry".to_owned(),
        ..Default::default()
    };
    let proposed = rules(running).activate_rule_set(acting(activate, officer)).await;
    let proposed = proposed.unwrap().into_inner();
    assert!(proposed.proposed && !proposed.rule_set.unwrap().active);
    name
}

fn approving_rules(name: &str) -> ApproveRuleSetRequest {
    ApproveRuleSetRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

/// The kinds of the changes of a record, and their details.
async fn logged(running: &Running, record: &str) -> Vec<(String, String, Detail)> {
    let outbox = SqlOutbox(running.fixture.db.clone());
    let pending = outbox.pending("audit", running.fixture.now(), 100).await.unwrap();
    let mut changes = Vec::new();
    for pending in pending {
        let change = StateChange::decode(pending.payload.as_slice()).unwrap();
        let entry = Opened::of_change(&change).unwrap();
        if entry.record == record {
            let detail = Detail::decode(change.detail.unwrap().content).unwrap();
            changes.push((entry.kind, entry.event_id.to_string(), detail));
        }
    }
    changes
}

async fn p7_two_people_put_a_version_in_force_and_the_difference_is_logged(backend: Backend) {
    let running = Running::start(backend).await;
    running.fixture.open(&[gambling()]).await;
    let before = running.fixture.store.active().digests();
    let mut directory = running.directory("operator-second");

    // The first is a person, and the second another one, however the name is written and whichever
    // system sends it.
    let nameless = propose(&running, None, changes(), GUSU).await;
    refused(nameless, Code::InvalidArgument, "INVALID_INPUT");
    let proposed = propose(&running, Some("Zoe Wang"), changes(), GUSU).await.unwrap();
    assert!(proposed.proposed && !proposed.applied, "{proposed:?}");
    assert_eq!(running.fixture.store.active().digests(), before, "not in force yet");
    let nameless = directory.approve_directory(approving(&proposed.etag)).await;
    refused(nameless, Code::InvalidArgument, "INVALID_INPUT");
    for same in ["Zoe Wang", "zoe  wang", "ＺＯＥ ＷＡＮＧ"] {
        for system in ["operator", "only-directory-editor"] {
            let request = acting(approving(&proposed.etag), same);
            let answer = running.directory(system).approve_directory(request).await;
            refused(answer, Code::PermissionDenied, "DENIED");
        }
    }
    let other = acting(approving(&"0".repeat(64)), "o-2");
    refused(
        directory.approve_directory(other).await,
        Code::FailedPrecondition,
        "WRONG_STATE",
    );
    assert_eq!(running.fixture.store.active().digests(), before);

    // What the second sees is what the first was told.
    let look = ApproveDirectoryRequest {
        validate_only: true,
        ..ApproveDirectoryRequest::default()
    };
    let seen = directory.approve_directory(look).await.unwrap().into_inner();
    assert_eq!((&seen.etag, seen.applied), (&proposed.etag, false));
    assert_eq!(seen.differences, proposed.differences);
    assert_eq!(seen.proposed_by, "operator");
    let request = ApproveDirectoryRequest {
        request_id: uuid::Uuid::from_u128(7).to_string(),
        ..approving(&proposed.etag)
    };
    let approved = directory
        .approve_directory(acting(request.clone(), "o-2"))
        .await
        .unwrap();
    assert!(approved.get_ref().applied);
    let again = directory.approve_directory(acting(request, "o-2")).await.unwrap();
    assert_eq!(again.into_inner(), approved.into_inner());
    let active = running.fixture.store.active();
    assert!(active.digests().directory != before.directory && active.directory.source().contains("Gusu desk"));

    // Likewise a rule set.
    let unknown = format!("ruleSets/{}", "0".repeat(64));
    let request = acting(approving_rules(&unknown), "o-2");
    let early = rules(&running).approve_rule_set(request).await;
    refused(early, Code::FailedPrecondition, "WRONG_STATE");
    let name = propose_rules(&running, "o-1").await;
    let approve = |officer: &str| acting(approving_rules(&name), officer);
    let mut second = rules_of(&running, "operator-second");
    let same = second.approve_rule_set(approve("O-1")).await;
    refused(same, Code::PermissionDenied, "DENIED");
    let approved = second.approve_rule_set(approve("o-2")).await.unwrap().into_inner();
    assert!(approved.rule_set.unwrap().active);
    let told = approved.difference.unwrap();
    assert!(told.lines.contains(&"added row other".to_owned()), "{told:?}");

    // Both steps are in the log, the second caused by the first, with what differs.
    for (record, kinds, line) in [
        (
            "directory/versions",
            ["directory.proposed", "directory.activated"],
            "added agencies/police-320508",
        ),
        (
            "ruleSets/versions",
            ["rule-set.proposed", "rule-set.activated"],
            "added row other",
        ),
    ] {
        let changes = logged(&running, record).await;
        let [.., first, second] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert_eq!([first.0.as_str(), second.0.as_str()], kinds);
        assert_eq!(second.2.caused_by, first.1);
        for (kind, _, detail) in [first, second] {
            let difference = detail.version_difference.clone().unwrap();
            assert!(
                difference.lines.iter().any(|found| found == line),
                "{kind}: {difference:?}"
            );
            assert!(!detail.actor.clone().unwrap().officer_commitment.is_empty(), "{kind}");
        }
        assert_eq!(first.2.from_state, first.2.to_state, "nothing came into force by it");
    }
    let changes = logged(&running, "ruleSets/versions").await;
    assert_eq!(
        changes.last().unwrap().2.purpose,
        "without a simulation: order of the ministry"
    );
    running.finish().await;
}

async fn one_person_is_enough_until_the_first_case(backend: Backend) {
    let running = Running::start(backend).await;
    let first = propose(&running, None, changes(), GUSU).await.unwrap();
    assert!(first.applied && !first.proposed, "{first:?}");
    running.fixture.open(&[gambling()]).await;
    let second = propose(&running, Some("o-1"), changes(), OTHER).await.unwrap();
    assert!(second.proposed && !second.applied, "{second:?}");
    running.finish().await;
}

/// A proposal replaces the one before, and goes with the pair that it was compared with.
async fn a_proposal_ends_with_the_pair_that_it_was_compared_with(backend: Backend) {
    let running = Running::start(backend).await;
    running.fixture.open(&[gambling()]).await;
    let mut directory = running.directory("operator-second");
    let old = propose(&running, Some("o-1"), changes(), GUSU).await.unwrap();
    let new = propose(&running, Some("o-1"), changes(), OTHER).await.unwrap();
    let replaced = directory.approve_directory(acting(approving(&old.etag), "o-2")).await;
    refused(replaced, Code::FailedPrecondition, "WRONG_STATE");

    // It is of the pair that it says, and of no other.
    for statement in [
        "UPDATE version_proposals SET against_directory = digest",
        "UPDATE version_proposals SET against_rules = digest",
    ] {
        running.fixture.execute(statement).await;
        let other = directory.approve_directory(acting(approving(&new.etag), "o-2")).await;
        refused(other, Code::FailedPrecondition, "WRONG_STATE");
        propose(&running, Some("o-1"), changes(), OTHER).await.unwrap();
    }

    // A switch of the other kind ends it, too.
    let name = propose_rules(&running, "o-1").await;
    let mut rules = rules_of(&running, "operator-second");
    rules
        .approve_rule_set(acting(approving_rules(&name), "o-2"))
        .await
        .unwrap();
    let gone = directory.approve_directory(acting(approving(&new.etag), "o-2")).await;
    refused(gone, Code::FailedPrecondition, "WRONG_STATE");

    propose(&running, Some("o-1"), changes(), OTHER).await.unwrap();
    directory
        .approve_directory(acting(approving(&new.etag), "o-2"))
        .await
        .unwrap();
    let gone = directory.approve_directory(acting(approving(&new.etag), "o-2")).await;
    refused(gone, Code::FailedPrecondition, "WRONG_STATE");
    running.finish().await;
}

/// Who holds a token can write any name beside it.
async fn p7_two_names_by_one_token_are_one_person(backend: Backend) {
    let running = Running::start(backend).await;
    running.fixture.open(&[gambling()]).await;
    let before = running.fixture.store.active().digests();
    let proposed = propose(&running, Some("o-1"), changes(), GUSU).await.unwrap();
    let name = propose_rules(&running, "o-1").await;
    let mut directory = running.directory("operator");
    let directory = directory
        .approve_directory(acting(approving(&proposed.etag), "o-2"))
        .await;
    let set = rules(&running)
        .approve_rule_set(acting(approving_rules(&name), "o-2"))
        .await;
    let refusals = [
        refused(directory, Code::PermissionDenied, "DENIED"),
        refused(set, Code::PermissionDenied, "DENIED"),
    ];
    for refusal in refusals {
        let told = refusal.message();
        assert!(
            told.contains("names both officers itself") && told.contains("remit token add"),
            "{told}"
        );
    }
    assert_eq!(running.fixture.store.active().digests(), before);
    running.finish().await;
}

async fn a_repeat_by_another_officer_is_another_request(backend: Backend) {
    let running = Running::start(backend).await;
    running.fixture.open(&[gambling()]).await;
    let spec = |number| DirectorySpec {
        request_id: uuid::Uuid::from_u128(number).to_string(),
        ..changes()
    };
    let first = propose(&running, Some("o-1"), spec(1), GUSU).await.unwrap();
    let again = propose(&running, Some("O-1"), spec(1), GUSU).await.unwrap();
    assert_eq!(again, first);
    let other = propose(&running, Some("o-3"), spec(1), GUSU).await;
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");

    let mut directory = running.directory("operator-second");
    let request = ApproveDirectoryRequest {
        request_id: uuid::Uuid::from_u128(2).to_string(),
        ..approving(&first.etag)
    };
    directory
        .approve_directory(acting(request.clone(), "o-2"))
        .await
        .unwrap();
    let other = directory.approve_directory(acting(request, "o-1")).await;
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");

    let name = propose_rules(&running, "o-1").await;
    let mut rules = rules_of(&running, "operator-second");
    let request = ApproveRuleSetRequest {
        request_id: uuid::Uuid::from_u128(3).to_string(),
        ..approving_rules(&name)
    };
    rules.approve_rule_set(acting(request.clone(), "o-2")).await.unwrap();
    let other = rules.approve_rule_set(acting(request, "o-1")).await;
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");
    running.finish().await;
}

async fn p7_a_look_is_refused_as_the_approval_is_and_names_cases_to_those_who_may_see_them(backend: Backend) {
    let running = Running::start(backend).await;
    running.fixture.open(&[official()]).await;
    let remove = "remove: [police-450100]\n";
    let proposed = propose(&running, Some("o-1"), changes(), remove).await.unwrap();
    let look = |etag: &str| ApproveDirectoryRequest {
        validate_only: true,
        ..approving(etag)
    };
    // Nobody in particular looks; the warnings are there, as the first had them.
    let mut second = running.directory("operator-second");
    let seen = second.approve_directory(look(&proposed.etag)).await.unwrap();
    let seen = seen.into_inner();
    assert_eq!(
        (&seen.findings, &seen.differences),
        (&proposed.findings, &proposed.differences)
    );
    let second_looks = second.approve_directory(acting(look(&proposed.etag), "o-2")).await;
    assert!(!second_looks.unwrap().into_inner().applied);
    for (system, officer) in [("operator-second", "O-1"), ("operator", "o-2")] {
        let request = acting(look(&proposed.etag), officer);
        let answer = running.directory(system).approve_directory(request).await;
        refused(answer, Code::PermissionDenied, "DENIED");
    }

    let case = running.fixture.open(&[gambling()]).await[0];
    let case = format!("cases/{case}");
    for request in [look(&proposed.etag), approving(&proposed.etag)] {
        for (system, names_cases) in [("operator-second", true), ("only-directory-editor", false)] {
            let request = acting(request.clone(), "o-2");
            let answer = running.directory(system).approve_directory(request).await;
            let status = refused(answer, Code::FailedPrecondition, "WRONG_STATE");
            let told = status.message();
            assert!(told.contains("would lose their owner: `police-450100` owns "), "{told}");
            assert_eq!(told.contains(&case), names_cases, "{told}");
            assert_eq!(told.contains("owns 1;"), !names_cases, "{told}");
        }
    }
    for (system, name) in [("operator", case.as_str()), ("only-directory-editor", "")] {
        let spec = DirectorySpec {
            validate_only: true,
            ..changes()
        };
        let sent = acting(futures::stream::iter(parts(spec, remove)), "o-1");
        let tried = running.directory(system).apply_directory(sent).await.unwrap();
        let [only] = tried.get_ref().ownerless.as_slice() else {
            panic!("{tried:?}")
        };
        assert_eq!(
            (only.case_name.as_str(), only.owner.as_str()),
            (name, "agencies/police-450100")
        );
    }

    // Of a rule set the reason is shown for which no simulation was waited for.
    let name = propose_rules(&running, "o-1").await;
    let look = ApproveRuleSetRequest {
        validate_only: true,
        ..approving_rules(&name)
    };
    let mut rules = rules_of(&running, "operator-second");
    let seen = rules.approve_rule_set(look.clone()).await.unwrap().into_inner();
    assert_eq!(seen.purpose, "without a simulation: order of the ministry");
    assert!(!seen.rule_set.unwrap().active);
    let same = rules.approve_rule_set(acting(look, "o-1")).await;
    refused(same, Code::PermissionDenied, "DENIED");
    running.finish().await;
}
