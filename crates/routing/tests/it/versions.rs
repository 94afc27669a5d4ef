//! Versions of directory and rule set: stored, switched by a logged change, and compared in every
//! transaction that depends on them.

use std::sync::Arc;

use api::event::{Actor, Detail, StateChange};
use api::routing::Facts;
use decision::decide::decide;
use decision::directory::Directory;
use decision::rules::RuleSet;
use journal::{Opened, Outbox as _, SqlOutbox};
use places::Territories;
use prost::Message as _;
use routing::Routing;
use routing::active::{Active, VersionKind};
use routing::store::versions::{Activated, Activation, Created, NewVersion, Versions};
use routing::store::{SqlStore, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{Fixture, HOUR, activate, agency, agency_viewer, by, first, gambling, official, shipped};

testkit::on_each_backend!(
    p6_a_route_is_decided_again_after_a_switch,
    p6_a_switch_between_decision_and_opening_decides_again,
    p6_contents_are_stored_once_and_checked,
    p6_every_version_and_every_switch_is_listed,
    p4_a_switch_that_would_leave_an_open_case_without_owner_is_refused,
    p4_a_switch_and_an_opening_at_the_same_time_leave_no_case_without_owner,
    p4_a_case_is_handed_up_by_the_active_directory,
    p4_an_ending_agency_hands_its_cases_to_its_successor,
    p4_an_end_without_successor_is_refused_while_there_are_open_cases,
    p4_an_excluded_successor_does_not_get_the_case,
    p4_cases_of_an_ended_agency_without_successor_go_to_its_superior,
    p4_the_ladder_ends_by_the_rule_set_that_routed_the_case,
    p1_a_switch_and_its_change_are_written_together_or_not_at_all,
    p2_switches_are_one_chain_delivered_to_audit,
    configuration_gives_the_first_pair_and_replaces_none,
    a_proposal_made_before_another_switch_is_outdated,
);

/// Another tree, another agency in place of police-450100, another rule set.
fn replaced() -> Active {
    let tree = format!("{}# changed\n", Territories::shipped().source());
    let agencies = Directory::shipped().source().replace("police-450100", "police-nanning");
    let directory = Directory::parse(&agencies, &Territories::parse(&tree).unwrap()).unwrap();
    let rules = decision::rules::SHIPPED[0].1.replace("row: gambling", "row: betting");
    let rules = RuleSet::parse(&rules, &directory).unwrap();
    assert_ne!(rules.digest(), RuleSet::shipped().digest());
    Active::new(Arc::new(directory), Arc::new(rules))
}

/// The shipped agencies, with a remark.
fn remarked(remark: &str) -> Directory {
    let agencies = format!("{}# {remark}\n", Directory::shipped().source());
    Directory::parse(&agencies, Territories::shipped()).unwrap()
}

fn operator() -> Actor {
    Actor {
        system: "operator-1".to_owned(),
        ..Default::default()
    }
}

async fn switch(fixture: &Fixture, store: &SqlStore, next: Active) -> Activated {
    let activation = Activation {
        next,
        seen: store.active().digests(),
        hand: first(),
        difference: Default::default(),
        purpose: String::new(),
        actor: operator(),
        traceparent: String::new(),
        request: None,
    };
    activate(store, activation, fixture.now()).await
}

async fn switched(fixture: &Fixture, next: Active) {
    let activated = switch(fixture, &fixture.store, next).await;
    assert!(matches!(activated, Activated::Done(_)), "{activated:?}");
}

/// Decides a stored case again from stored data alone, and compares.
async fn replay(fixture: &Fixture, case: Uuid) {
    let values = vec![case.to_string().into()];
    let rows = fixture.rows("SELECT facts FROM cases WHERE id = $1", values).await;
    let facts: Vec<u8> = rows[0].only().unwrap();
    let facts = Facts::decode(facts.as_slice()).unwrap();
    let mut explanation = fixture.case(case).await.opening.unwrap().explanation;
    let directory = fixture.store.directory(&explanation.directory_digest).await;
    let directory = directory.unwrap().unwrap();
    let rules = fixture.store.rule_set(&explanation.rule_set_digest, &directory).await;
    // The stored explanation commits to the facts.
    explanation.facts_digest.clear();
    explanation.facts_salt.clear();
    assert_eq!(
        decide(&facts, &rules.unwrap().unwrap(), &directory).explanation,
        explanation
    );
}

async fn p6_a_route_is_decided_again_after_a_switch(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let before = fixture.open(&[gambling(), official()]).await;
    // Its open case would prevent the change of its name.
    fixture.clock.advance(25 * HOUR);
    fixture.ticker(&fixture.store).step().await.unwrap();

    let next = replaced();
    switched(&fixture, next.clone()).await;
    let decision = decide(&gambling(), &next.rules, &next.directory);
    let after = fixture.open_as(&gambling(), decision).await;
    let explanation = fixture.case(after).await.opening.unwrap().explanation;
    assert_eq!(explanation.row, "betting");
    assert!(explanation.summary.starts_with("police-nanning leads"));

    for case in before.into_iter().chain([after]) {
        replay(&fixture, case).await;
    }
}

async fn p6_a_switch_between_decision_and_opening_decides_again(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    // Decided by the shipped pair, on this replica and on another that does not know of the switch.
    let other = fixture.replica().await;
    let (ours, theirs) = (fixture.arrival(&gambling()), fixture.arrival(&gambling()));
    let next = replaced();
    switched(&fixture, next.clone()).await;
    assert_eq!(other.active().digests(), shipped().digests());
    fixture
        .store
        .open(std::slice::from_ref(&ours), fixture.now())
        .await
        .unwrap();
    other.open(std::slice::from_ref(&theirs), fixture.now()).await.unwrap();
    for report in [ours.report, theirs.report] {
        let case = fixture.case_of(report).await;
        let explanation = fixture.case(case).await.opening.unwrap().explanation;
        assert_eq!(explanation.row, "betting");
        assert_eq!(explanation.directory_digest, next.digests().directory[..]);
        assert_eq!(explanation.rule_set_digest, next.digests().rules[..]);
        replay(&fixture, case).await;
    }
    assert_eq!(
        other.active().digests(),
        next.digests(),
        "it has heard of the switch now"
    );
}

async fn p6_contents_are_stored_once_and_checked(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let count = "SELECT count(*) FROM versions";
    assert_eq!(
        fixture.count(count).await,
        3,
        "the tree, the directory and the rule set"
    );
    // Directories share an equal tree.
    let other = remarked("changed");
    let version = NewVersion {
        proposed: shipped().with_directory(Arc::new(other.clone())).unwrap(),
        kind: VersionKind::Directory,
        actor: operator(),
        traceparent: String::new(),
        request: None,
    };
    assert_eq!(
        fixture.store.create(&version, fixture.now()).await.unwrap(),
        Created::Done
    );
    let again = fixture.store.create(&version, fixture.now()).await.unwrap();
    assert_eq!(again, Created::Unchanged, "it is kept");
    assert_eq!(fixture.count(count).await, 4);
    assert_eq!(fixture.store.active().digests(), shipped().digests());

    let digest = other.digest();
    let loaded = fixture.store.directory(&digest).await.unwrap().unwrap();
    assert_eq!((loaded.digest(), loaded.source()), (digest, other.source()));
    assert_eq!(
        fixture
            .store
            .source(VersionKind::Directory, &digest)
            .await
            .unwrap()
            .unwrap(),
        other.source().as_bytes()
    );
    assert!(fixture.store.directory(&[7; 32]).await.unwrap().is_none());
    let rules = RuleSet::shipped().digest();
    assert!(fixture.store.directory(&rules).await.unwrap().is_none(), "a rule set");
    fixture
        .execute("UPDATE versions SET content = (SELECT content FROM versions WHERE kind = 'territories') WHERE kind = 'rule-set'")
        .await;
    assert!(fixture.store.rule_set(&rules, Directory::shipped()).await.is_err());
}

async fn p6_every_version_and_every_switch_is_listed(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    for remark in ["a", "b", "a"] {
        fixture.clock.advance(HOUR);
        let next = shipped().with_directory(Arc::new(remarked(remark))).unwrap();
        switched(&fixture, next).await;
    }
    let versions = fixture.store.versions(VersionKind::Directory, None, 10).await.unwrap();
    let digests: Vec<_> = versions.iter().map(|version| version.digest).collect();
    let [a, b] = ["a", "b"].map(|remark| remarked(remark).digest());
    let first = shipped().digests().directory;
    assert_eq!(digests, [b, a, first]);
    let makers: Vec<_> = versions.iter().map(|version| version.created_by.as_str()).collect();
    assert_eq!(makers, ["operator-1", "operator-1", "routing"]);
    let page = fixture
        .store
        .versions(VersionKind::Directory, Some((versions[0].create_time, b)), 1)
        .await
        .unwrap();
    assert_eq!(page, versions[1..2]);

    let past = fixture
        .store
        .activations(VersionKind::Directory, None, 10)
        .await
        .unwrap();
    let digests: Vec<_> = past.iter().map(|past| (past.sequence, past.digest)).collect();
    assert_eq!(digests, [(4, a), (3, b), (2, a), (1, first)]);
    let page = fixture
        .store
        .activations(VersionKind::Directory, Some(3), 1)
        .await
        .unwrap();
    assert_eq!(page, past[2..3]);
    let rules = fixture.store.activations(VersionKind::RuleSet, None, 10).await.unwrap();
    assert_eq!(rules.len(), 1);
}

async fn p4_a_switch_that_would_leave_an_open_case_without_owner_is_refused(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), gambling(), official()]).await;
    fixture.act(by(cases[1], "police-450100")).await;
    let written = "SELECT (SELECT count(*) FROM versions) + (SELECT count(*) FROM activations)";
    let before = fixture.count(written).await;
    let refused = switch(&fixture, &fixture.store, replaced()).await;
    let Activated::Ownerless(ownerless) = refused else {
        panic!("{refused:?}")
    };
    assert!(!ownerless.more);
    let mut named: Vec<_> = ownerless.cases.iter().map(|(_, case)| *case).collect();
    named.sort();
    let mut owned = cases[..2].to_vec();
    owned.sort();
    assert_eq!(named, owned);
    assert!(
        ownerless
            .cases
            .iter()
            .all(|(agency, _)| agency.as_str() == "police-450100")
    );
    assert_eq!(fixture.count(written).await, before, "nothing is written");

    // A supporting agency has no duty: the cases are handed up, and the directory may change.
    for days in [200, 30] {
        fixture.clock.advance(days * 24 * HOUR);
        fixture.ticker(&fixture.store).step().await.unwrap();
    }
    switched(&fixture, replaced()).await;
}

async fn p4_a_switch_and_an_opening_at_the_same_time_leave_no_case_without_owner(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let other = fixture.replica().await;
    let next = replaced();
    let batch: Vec<_> = (0..50).map(|_| fixture.arrival(&gambling())).collect();
    let opening = async {
        for news in batch.chunks(5) {
            other.open(news, fixture.now()).await.unwrap();
        }
    };
    let ((), activated) = futures::join!(opening, switch(&fixture, &fixture.store, next.clone()));
    fixture.store.refresh().await.unwrap();
    let active = fixture.store.active();
    let owners = fixture
        .rows(
            "SELECT DISTINCT agency FROM case_parties WHERE part IN ('lead', 'designating')",
            vec![],
        )
        .await;
    for row in owners {
        let owner = agency(&row.only::<String>().unwrap());
        assert!(active.directory.agency(&owner).is_some(), "{owner}, {activated:?}");
    }
    match activated {
        Activated::Done(_) => assert_eq!(active.digests(), next.digests()),
        Activated::Ownerless(_) => assert_eq!(active.digests(), shipped().digests()),
        unexpected => panic!("{unexpected:?}"),
    }
}

async fn p4_a_case_is_handed_up_by_the_active_directory(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let other = fixture.replica().await;
    // The region's desk has another name now; the other replica does not know.
    let agencies = Directory::shipped().source().replace("police-450000", "police-guangxi");
    let directory = Directory::parse(&agencies, Territories::shipped()).unwrap();
    switched(&fixture, shipped().with_directory(Arc::new(directory)).unwrap()).await;
    fixture.clock.advance(25 * HOUR);
    assert_eq!(fixture.ticker(&other).step().await.unwrap(), 1);
    let owner = fixture.case(case).await.case.duty().unwrap().clone().owner;
    assert!(fixture.store.active().directory.agency(&owner).is_some(), "{owner}");
}

async fn p1_a_switch_and_its_change_are_written_together_or_not_at_all(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let everything = "SELECT (SELECT count(*) FROM versions) + (SELECT count(*) FROM activations) \
         + (SELECT CAST(sum(sequence) AS BIGINT) FROM active_versions) \
         + (SELECT count(*) FROM journal) + (SELECT count(*) FROM outbox)";
    let before = fixture.count(everything).await;
    let tables = [
        (
            "ALTER TABLE activations RENAME TO gone",
            "ALTER TABLE gone RENAME TO activations",
        ),
        (
            "ALTER TABLE journal RENAME TO gone",
            "ALTER TABLE gone RENAME TO journal",
        ),
        ("ALTER TABLE outbox RENAME TO gone", "ALTER TABLE gone RENAME TO outbox"),
    ];
    for (away, back) in tables {
        fixture.execute(away).await;
        let activation = Activation {
            next: replaced(),
            seen: shipped().digests(),
            hand: first(),
            difference: Default::default(),
            purpose: String::new(),
            actor: operator(),
            traceparent: String::new(),
            request: None,
        };
        assert!(
            fixture.store.activate(&activation, fixture.now()).await.is_err(),
            "{away}"
        );
        fixture.execute(back).await;
        assert_eq!(fixture.count(everything).await, before, "{away}");
        assert_eq!(fixture.store.active().digests(), shipped().digests());
    }
    switched(&fixture, replaced()).await;
}

async fn p2_switches_are_one_chain_delivered_to_audit(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let version = NewVersion {
        proposed: shipped().with_directory(Arc::new(remarked("a"))).unwrap(),
        kind: VersionKind::Directory,
        actor: operator(),
        traceparent: String::new(),
        request: None,
    };
    assert_eq!(
        fixture.store.create(&version, fixture.now()).await.unwrap(),
        Created::Done
    );
    switched(&fixture, version.proposed.clone()).await;
    let outbox = SqlOutbox(fixture.db.clone());
    assert!(outbox.pending("intake", fixture.now(), 100).await.unwrap().is_empty());
    let pending = outbox.pending("audit", fixture.now(), 100).await.unwrap();
    let changes: Vec<_> = pending
        .iter()
        .map(|pending| StateChange::decode(pending.payload.as_slice()).unwrap())
        .filter_map(|change| {
            let entry = Opened::of_change(&change).unwrap();
            let detail = Detail::decode(change.detail.unwrap().content).unwrap();
            (entry.record == "directory/versions").then_some((entry, detail))
        })
        .collect();
    let told: Vec<_> = changes
        .iter()
        .map(|(entry, detail)| (entry.sequence, entry.kind.as_str(), detail.version_digest.to_vec()))
        .collect();
    let (first, second) = (shipped().digests().directory.to_vec(), remarked("a").digest().to_vec());
    assert_eq!(
        told,
        [
            (1, "directory.activated", first),
            (2, "directory.created", second.clone()),
            (3, "directory.activated", second),
        ]
    );
    assert_eq!(changes[2].1.actor, Some(operator()));
}

async fn configuration_gives_the_first_pair_and_replaces_none(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let entries = "SELECT count(*) FROM journal";
    assert_eq!(fixture.count(entries).await, 2, "one for each kind");
    let again = Routing::prepare(&fixture.db, replaced(), &*fixture.clock, &*fixture.entropy).await;
    assert_eq!(again.unwrap().get().digests(), shipped().digests());
    assert_eq!(fixture.count(entries).await, 2);
    assert_eq!(fixture.count("SELECT count(*) FROM versions").await, 3);

    // After a switch, every start finds the new pair, whatever is configured.
    switched(&fixture, replaced()).await;
    for configured in [shipped(), replaced()] {
        let again = Routing::prepare(&fixture.db, configured, &*fixture.clock, &*fixture.entropy).await;
        assert_eq!(again.unwrap().get().digests(), replaced().digests());
    }
}

async fn a_proposal_made_before_another_switch_is_outdated(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let other = fixture.replica().await;
    let next = |remark| shipped().with_directory(Arc::new(remarked(remark))).unwrap();
    switched(&fixture, next("a")).await;
    let activated = switch(&fixture, &other, next("b")).await;
    assert!(matches!(activated, Activated::Outdated), "{activated:?}");
    // It knows of the other switch now, and may propose again.
    assert_eq!(other.active().digests(), next("a").digests());
    let activated = switch(&fixture, &other, next("a")).await;
    assert!(matches!(activated, Activated::Unchanged), "{activated:?}");
    let activated = switch(&fixture, &other, next("b")).await;
    assert!(matches!(activated, Activated::Done(_)), "{activated:?}");
    assert!(fixture.store.refresh().await.unwrap());
    assert!(!fixture.store.refresh().await.unwrap());
    assert_eq!(fixture.store.active().digests(), next("b").digests());
}

/// The shipped agencies and some more; one ends on a day and names a successor.
fn ending(agency: &str, rest: &str, added: &str) -> Active {
    let source = Directory::shipped().source();
    let line = source
        .lines()
        .find(|line| line.contains(&format!("id: {agency},")))
        .unwrap();
    let ended = line.replace("superior:", &format!("{rest}, superior:"));
    let agencies = format!("{}{added}", source.replace(line, &ended));
    let directory = Directory::parse(&agencies, Territories::shipped()).unwrap();
    shipped().with_directory(Arc::new(directory)).unwrap()
}

const NEW: &str = "  - {id: nanning-new, functions: [police], territory: '450100', valid_from: 2026-04-01, \
                   name: {zh: 新, en: New}, superior: police-450000}\n";
const ENDS: &str = "valid_to: 2026-03-31, successor: nanning-new";

async fn p4_an_ending_agency_hands_its_cases_to_its_successor(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), gambling()]).await;
    fixture.act(by(cases[1], "police-450100")).await;
    let ticker = fixture.ticker(&fixture.store);
    // It names its successor first, and keeps its cases to the end of its last day.
    switched(&fixture, ending("police-450100", ENDS, NEW)).await;
    fixture.clock.advance(29 * 24 * HOUR + 14 * HOUR);
    assert_eq!(Directory::shipped().day(fixture.now()).to_string(), "2026-03-31");
    assert_eq!(ticker.succeed().await.unwrap(), 0);
    let before = [fixture.case(cases[0]).await, fixture.case(cases[1]).await];
    fixture.clock.advance(2 * HOUR);
    assert_eq!(ticker.succeed().await.unwrap(), 2);
    assert_eq!(ticker.succeed().await.unwrap(), 0);
    for (id, before) in cases.iter().zip(before) {
        let after = fixture.case(*id).await;
        let (old, new) = (before.case.duty().unwrap().clone(), after.case.duty().unwrap().clone());
        assert_eq!(
            (old.owner.as_str(), new.owner.as_str()),
            ("police-450100", "nanning-new")
        );
        assert_eq!(
            (old.clock.due, old.clock.generation + 1),
            (new.clock.due, new.clock.generation)
        );
        assert_eq!(before.case.state(), after.case.state());
        assert_eq!(fixture.kinds(*id).await.last().unwrap(), "case.succeeded");
        let lost = fixture.store.case(*id, &agency_viewer("police-450100")).await.unwrap();
        assert!(lost.is_none(), "who has ended sees nothing");
        assert!(
            fixture
                .store
                .case(*id, &agency_viewer("nanning-new"))
                .await
                .unwrap()
                .is_some()
        );
    }
    // A new report goes to the successor at once, and the ended one may leave the directory now.
    let (report, sealed, _) = fixture.accepted(gambling());
    let facts = Facts {
        accept_time: Some(fixture.now().to_proto()),
        ..gambling()
    };
    let active = fixture.store.active();
    let decision = decide(&facts, &active.rules, &active.directory);
    let news = crate::fixture::news(report, &sealed, Some((facts, decision)));
    fixture.store.open(&[news], fixture.now()).await.unwrap();
    let case = fixture.case_of(report).await;
    assert_eq!(
        fixture.case(case).await.case.duty().unwrap().clone().owner.as_str(),
        "nanning-new"
    );
    let gone = active.directory.with_changes("remove: [police-450100]").unwrap();
    switched(&fixture, active.with_directory(Arc::new(gone)).unwrap()).await;
}

async fn p4_an_end_without_successor_is_refused_while_there_are_open_cases(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let refused = switch(
        &fixture,
        &fixture.store,
        ending("police-450100", "valid_to: 2026-03-31", ""),
    )
    .await;
    let Activated::Ownerless(ownerless) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(ownerless.cases, [(agency("police-450100"), case)]);
    // An agency without cases may end; the answer mentions it.
    switched(&fixture, ending("police-350500", "valid_to: 2026-03-31", "")).await;
}

async fn p4_an_excluded_successor_does_not_get_the_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let facts = Facts {
        excluded: vec!["agencies/nanning-new".to_owned()],
        ..gambling()
    };
    switched(&fixture, ending("police-450100", ENDS, NEW)).await;
    let active = fixture.store.active();
    let mut decision = decide(&gambling(), &active.rules, &active.directory);
    decision.outcome = decision::decide::Destination::Lead {
        agency: agency("police-450100"),
        factor: None,
    };
    let case = fixture.open_as(&facts, decision).await;
    fixture.clock.advance(31 * 24 * HOUR);
    assert_eq!(fixture.ticker(&fixture.store).succeed().await.unwrap(), 1);
    let after = fixture.case(case).await.case;
    assert_eq!(after.state(), routing::case::State::AWAITING_DESIGNATION);
    assert_eq!(after.duty().unwrap().owner.as_str(), "police-450000");
}

async fn p4_cases_of_an_ended_agency_without_successor_go_to_its_superior(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    // Without open cases, the agency may end. The cases come later.
    switched(&fixture, ending("police-450100", "valid_to: 2026-03-31", "")).await;
    let until = |facts: Facts| Facts {
        accept_time: Some(fixture.now().to_proto()),
        ..facts
    };
    let active = fixture.store.active();
    let decided = |facts: &Facts| decide(facts, &active.rules, &active.directory);
    let led = until(gambling());
    let led = fixture.open_as(&led, decided(&led)).await;
    let supported = until(crate::fixture::facts(
        "gambling",
        &[
            (api::event::ConnectingFactor::Operator, "440300"),
            (api::event::ConnectingFactor::Server, "450100"),
        ],
    ));
    let supported = fixture.open_as(&supported, decided(&supported)).await;
    let before = fixture.case(supported).await.case;
    assert!(before.supporting().eq([&agency("police-450100")]), "{before:?}");
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.succeed().await.unwrap(), 0);

    fixture.clock.advance(31 * 24 * HOUR);
    assert_eq!(ticker.succeed().await.unwrap(), 2);
    assert_eq!(ticker.succeed().await.unwrap(), 0, "and no more");
    let after = fixture.case(led).await.case;
    assert_eq!(after.state(), routing::case::State::AWAITING_DESIGNATION);
    assert_eq!(after.duty().unwrap().owner.as_str(), "police-450000");
    let after = fixture.case(supported).await.case;
    assert_eq!(after.duty().unwrap().owner.as_str(), "police-440300");
    assert_eq!(after.supporting, []);
    for case in [led, supported] {
        let seen = fixture.store.case(case, &agency_viewer("police-450100")).await.unwrap();
        assert!(seen.is_none(), "who has ended sees nothing");
    }
}

async fn p4_the_ladder_ends_by_the_rule_set_that_routed_the_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let named = |resort: &str| {
        let rules = decision::rules::SHIPPED[0]
            .1
            .replace("[conference-CN, inspection-CN]", resort);
        shipped().with_rules(&rules).unwrap()
    };
    switched(&fixture, named("[inspection-CN]")).await;
    let before = fixture.open(&[gambling()]).await[0];
    switched(&fixture, named("[press-regulator-CN]")).await;
    let after = fixture.open(&[gambling()]).await[0];
    switched(&fixture, shipped()).await;
    let ticker = fixture.ticker(&fixture.store);
    for _ in 0..4 {
        fixture.clock.advance(25 * HOUR);
        ticker.step().await.unwrap();
    }
    for (case, last) in [(before, "inspection-CN"), (after, "press-regulator-CN")] {
        assert_eq!(
            fixture.case(case).await.case.duty().unwrap().clone().owner.as_str(),
            last
        );
        assert_eq!(
            fixture.kinds(case).await[3..],
            ["case.escalated", "case.clock-missed"],
            "there it ends"
        );
    }
    fixture.assert_promises().await;
}
