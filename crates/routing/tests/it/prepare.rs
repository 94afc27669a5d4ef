//! What has to hold before routing starts.

use std::sync::Arc;

use api::routing::Facts;
use places::Territories;
use prost::Message as _;
use routing::decide::decide;
use routing::directory::Directory;
use routing::rules::RuleSet;
use routing::store::{Store as _, configurations};
use routing::{PrepareError, Routing};
use sql::Db;
use testkit::Backend;
use uuid::Uuid;

use crate::bench::{Bench, HOUR, by, gambling, news, official};

testkit::on_each_backend!(
    p6_a_route_is_decided_again_after_the_files_were_replaced,
    p6_what_is_kept_is_kept_once_and_checked,
    p4_a_directory_without_the_owner_of_an_open_case_does_not_start,
);

/// Files that say otherwise: another tree, another owner for what police-450100 had, another rule set.
fn replaced() -> (Directory, RuleSet) {
    let tree = format!("{}# changed\n", Territories::shipped().source());
    let agencies = Directory::shipped().source().replace("police-450100", "police-nanning");
    let directory = Directory::parse(&agencies, &Territories::parse(&tree).unwrap()).unwrap();
    let rules = RuleSet::shipped().source().replace("row: gambling", "row: betting");
    let rules = RuleSet::parse(&rules, &directory).unwrap();
    assert_ne!(rules.digest(), RuleSet::shipped().digest());
    (directory, rules)
}

async fn prepare(bench: &Bench, directory: &Directory, rules: &RuleSet) -> Result<(), PrepareError> {
    Routing::prepare(&bench.db, directory, rules, &*bench.clock).await
}

/// Decides a stored case again, from what is stored alone, and compares.
async fn replay(db: &Db, bench: &Bench, case: Uuid) {
    let values = vec![case.to_string().into()];
    let rows = db.fetch("SELECT facts FROM cases WHERE id = $1", values).await.unwrap();
    let facts: Vec<u8> = rows[0].get(0).unwrap();
    let facts = Facts::decode(facts.as_slice()).unwrap();
    let explanation = bench.case(case).await.explanation.unwrap();
    let directory = configurations::directory(db, &explanation.directory_digest).await;
    let directory = directory.unwrap().unwrap();
    let rules = configurations::rule_set(db, &explanation.rule_set_digest, &directory).await;
    assert_eq!(
        decide(&facts, &rules.unwrap().unwrap(), &directory).explanation,
        explanation
    );
}

async fn p6_a_route_is_decided_again_after_the_files_were_replaced(backend: Backend) {
    let bench = Bench::new(backend).await;
    prepare(&bench, Directory::shipped(), RuleSet::shipped()).await.unwrap();
    let before = bench.open(&[gambling(), official()]).await;
    // What it leads would hinder the change of its name.
    bench.clock.advance(25 * HOUR);
    bench.ticker(&bench.store).step().await.unwrap();

    let (directory, rules) = replaced();
    prepare(&bench, &directory, &rules).await.unwrap();
    let decision = decide(&gambling(), &rules, &directory);
    let (report, sealed, _) = bench.accepted(gambling());
    let arrival = news(report, &sealed, Some((gambling(), decision)));
    bench.store.open(&[arrival], bench.now()).await.unwrap();
    let after = bench.case_of(report).await;
    let explanation = bench.case(after).await.explanation.unwrap();
    assert_eq!(explanation.row, "betting");
    assert!(explanation.summary.starts_with("police-nanning leads"));

    for case in before.into_iter().chain([after]) {
        replay(&bench.db, &bench, case).await;
    }
}

async fn p6_what_is_kept_is_kept_once_and_checked(backend: Backend) {
    let bench = Bench::new(backend).await;
    let count = "SELECT count(*) FROM configurations";
    let start = bench.now();
    for _ in 0..3 {
        prepare(&bench, Directory::shipped(), RuleSet::shipped()).await.unwrap();
        bench.clock.advance(HOUR);
    }
    assert_eq!(bench.count(count).await, 3, "the tree, the directory and the rule set");
    assert_eq!(bench.count("SELECT max(first_time) FROM configurations").await, start.0);
    // A tree that is the same is shared.
    let agencies = format!("{}# changed\n", Directory::shipped().source());
    let other = Directory::parse(&agencies, Territories::shipped()).unwrap();
    prepare(&bench, &other, RuleSet::shipped()).await.unwrap();
    assert_eq!(bench.count(count).await, 4);

    let digest = other.digest();
    let loaded = configurations::directory(&bench.db, &digest).await.unwrap().unwrap();
    assert_eq!((loaded.digest(), loaded.source()), (digest, agencies.as_str()));
    assert!(configurations::directory(&bench.db, &[7; 32]).await.unwrap().is_none());
    let rules = RuleSet::shipped().digest();
    assert!(
        configurations::directory(&bench.db, &rules).await.unwrap().is_none(),
        "it is a rule set"
    );
    bench
        .execute("UPDATE configurations SET content = (SELECT content FROM configurations WHERE kind = 'territories') WHERE kind = 'rule-set'")
        .await;
    let damaged = configurations::rule_set(&bench.db, &rules, Directory::shipped()).await;
    assert!(damaged.is_err());
}

async fn p4_a_directory_without_the_owner_of_an_open_case_does_not_start(backend: Backend) {
    let bench = Bench::new(backend).await;
    let cases = bench.open(&[gambling(), gambling(), official()]).await;
    bench.acknowledge(by(cases[1], "police-450100")).await;
    let (directory, rules) = replaced();
    let kept = "SELECT count(*) FROM configurations";
    let refused = prepare(&bench, &directory, &rules).await.unwrap_err();
    let PrepareError::UnknownOwners { owned, more } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!((owned.len(), *more), (1, false));
    let said = refused.to_string();
    assert!(said.contains("`police-450100` owns cases/"), "{said}");
    for (case, named) in cases.iter().zip([true, true, false]) {
        assert_eq!(said.contains(&case.to_string()), named, "{said}");
    }
    assert_eq!(bench.count(kept).await, 0, "nothing is kept");

    // Who only supports owes nothing: the case goes up, and the directory may change.
    let shipped = Arc::new(Directory::shipped().clone());
    bench.clock.advance(200 * 24 * HOUR);
    bench.ticker(&bench.store).step().await.unwrap();
    prepare(&bench, &directory, &rules).await.unwrap();
    prepare(&bench, &shipped, RuleSet::shipped()).await.unwrap();
    assert_eq!(bench.count(kept).await, 6);
}
