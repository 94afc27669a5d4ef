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
    fixture::gambling,
    service::{Running, acting, refused, token},
};

testkit::on_each_backend!(
    p7_two_people_put_a_version_in_force_and_the_difference_is_logged,
    one_person_is_enough_until_the_first_case,
    a_proposal_ends_with_the_version_that_it_was_compared_with,
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

fn rules(running: &Running) -> RuleSetServiceClient<Caller> {
    RuleSetServiceClient::new(connect(&running.address, &token("operator"), None).unwrap())
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
    let mut directory = running.directory("operator");

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
    let mut table = RuleSet::shipped_first_receiver().to_table();
    table.rows[0].id = "other".to_owned();
    let create = api::routing::CreateRuleSetRequest {
        rule_set: Some(api::routing::RuleSet {
            table: Some(table),
            ..Default::default()
        }),
        ..Default::default()
    };
    let created = rules(&running).create_rule_set(create).await.unwrap().into_inner();
    let name = created.rule_set.unwrap().name;
    let activate = ActivateRuleSetRequest {
        name: name.clone(),
        override_reason: "order of the ministry".to_owned(),
        ..Default::default()
    };
    let approve = |officer: &str| {
        let request = ApproveRuleSetRequest {
            name: name.clone(),
            ..Default::default()
        };
        acting(request, officer)
    };
    let early = rules(&running).approve_rule_set(approve("o-2")).await;
    refused(early, Code::FailedPrecondition, "WRONG_STATE");
    let proposed = rules(&running)
        .activate_rule_set(acting(activate, "o-1"))
        .await
        .unwrap()
        .into_inner();
    assert!(proposed.proposed && !proposed.rule_set.unwrap().active);
    let same = rules(&running).approve_rule_set(approve("O-1")).await;
    refused(same, Code::PermissionDenied, "DENIED");
    let approved = rules(&running)
        .approve_rule_set(approve("o-2"))
        .await
        .unwrap()
        .into_inner();
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

/// A proposal replaces the one before, and goes with what it was compared with.
async fn a_proposal_ends_with_the_version_that_it_was_compared_with(backend: Backend) {
    let running = Running::start(backend).await;
    running.fixture.open(&[gambling()]).await;
    let mut directory = running.directory("operator");
    let old = propose(&running, Some("o-1"), changes(), GUSU).await.unwrap();
    let new = propose(&running, Some("o-1"), changes(), OTHER).await.unwrap();
    let replaced = directory.approve_directory(acting(approving(&old.etag), "o-2")).await;
    refused(replaced, Code::FailedPrecondition, "WRONG_STATE");
    directory
        .approve_directory(acting(approving(&new.etag), "o-2"))
        .await
        .unwrap();
    let gone = directory.approve_directory(acting(approving(&new.etag), "o-2")).await;
    refused(gone, Code::FailedPrecondition, "WRONG_STATE");
    running.finish().await;
}
