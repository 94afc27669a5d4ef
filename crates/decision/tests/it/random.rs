//! Properties that hold for all facts.

use std::collections::BTreeSet;

use api::event::ConnectingFactor;
use api::intake::{Place, place::Location};
use api::routing::Facts;
use decision::decide::{Destination, decide, without_excluded};
use decision::directory::{AgencyId, Directory};
use decision::factor::Factor;
use decision::rules::RuleSet;
use proptest::prelude::*;
use prost::Message as _;

fn agency() -> impl Strategy<Value = String> {
    let ids: Vec<String> = Directory::shipped()
        .agencies()
        .map(|agency| agency.id.to_string())
        .collect();
    // Those at the top, so that whole functions are often excluded, and a name that is not an
    // agency.
    let tops = [
        "police-CN",
        "conference-CN",
        "partner-hotline-abroad",
        "inspection-CN",
        "market-regulator-CN",
    ];
    prop_oneof![
        4 => proptest::sample::select(ids).prop_map(|id| format!("agencies/{id}")),
        2 => proptest::sample::select(tops.to_vec()).prop_map(|id| format!("agencies/{id}")),
        1 => ".{0,8}",
    ]
}

fn category() -> impl Strategy<Value = String> {
    let rows: Vec<String> = RuleSet::shipped()
        .rows()
        .iter()
        .flat_map(|row| row.categories().to_vec())
        .collect();
    prop_oneof![
        4 => proptest::sample::select(rows).prop_map(|id| format!("categories/{id}")),
        1 => "(categories/)?[a-z.-]{0,12}",
    ]
}

fn place() -> impl Strategy<Value = Place> {
    let codes: Vec<String> = Directory::shipped()
        .territories()
        .iter()
        .map(|territory| territory.code.resource_name())
        .collect();
    let location = prop_oneof![
        6 => proptest::sample::select(codes).prop_map(|code| Some(Location::Territory(code))),
        1 => "(territories/)?[0-9]{0,7}".prop_map(|code| Some(Location::Territory(code))),
        1 => "US|NL|HK|CN|us|.{0,3}".prop_map(|country| Some(Location::RegionCode(country))),
        1 => Just(None),
    ];
    (-1..8_i32, location).prop_map(|(factor, location)| Place { factor, location })
}

prop_compose! {
    fn any_facts()(
        category in category(),
        places in proptest::collection::vec(place(), 0..7),
        excluded in proptest::collection::vec(agency(), 0..4),
        (received_by, complained_of) in (agency(), agency()),
        kinds in proptest::collection::vec(-1..10_i32, 0..3),
        (loss_minor_units, loss_age_seconds) in any::<(i64, Option<i64>)>(),
        (victim_kind, reporter_relation, publication) in (-1..6_i32, -1..6_i32, any::<bool>()),
        details in proptest::collection::btree_map("[a-z.]{1,6}", ".{0,6}", 0..3),
    ) -> Facts {
        Facts {
            category, places, excluded, received_by, subject_kinds: kinds, loss_minor_units, loss_age_seconds,
            victim_kind, reporter_relation, publication, details, complained_of, ..Facts::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_facts_give_the_same_decision_byte_for_byte(facts in any_facts()) {
        let directory = Directory::shipped();
        let first = decide(&facts, RuleSet::shipped(), directory);
        let stored = Facts::decode(facts.encode_to_vec().as_slice()).expect("decodes");
        let second = decide(&stored, RuleSet::shipped(), directory);
        prop_assert_eq!(first.explanation.encode_to_vec(), second.explanation.encode_to_vec());
        prop_assert_eq!(first, second);
    }

    #[test]
    fn p7_who_does_not_own_a_case_is_told_nobody_excluded(facts in any_facts()) {
        let directory = Directory::shipped();
        let decision = decide(&facts, RuleSet::shipped(), directory);
        let excluded: BTreeSet<AgencyId> = facts.excluded.iter().filter_map(|name| AgencyId::from_resource_name(name).ok()).collect();
        let shown = without_excluded(decision.explanation.clone());
        prop_assert!(shown.excluded.is_empty() && shown.facts_digest.is_empty() && shown.facts_salt.is_empty());
        // A superior that designates although everybody at the top is excluded may be named, as the
        // designator.
        let designates = |id: &AgencyId| matches!(&decision.outcome, Destination::Designate { superior } if superior == id);
        let text = format!("{shown:?}");
        for agency in directory.agencies().filter(|agency| directory.is_excluded(&agency.id, &excluded)) {
            prop_assert!(designates(&agency.id) || !text.contains(agency.id.as_str()), "{} in {}", agency.id, text);
        }
        prop_assert!(!text.contains("excluded agency") && !text.contains("passed over"), "{}", text);
        if facts.excluded.is_empty() && decision.explanation.factors.iter().all(|tried| tried.factor() != ConnectingFactor::ComplainedOf) {
            prop_assert_eq!(shown, api::routing::Explanation { facts_digest: Default::default(), ..decision.explanation });
        }
    }

    #[test]
    fn promise_4_there_is_one_owner_and_it_is_never_an_excluded_one(facts in any_facts()) {
        let directory = Directory::shipped();
        let decision = decide(&facts, RuleSet::shipped(), directory);
        let excluded: BTreeSet<AgencyId> =
            facts.excluded.iter().filter_map(|name| AgencyId::from_resource_name(name).ok()).filter(|id| directory.agency(id).is_some()).collect();
        let kept_out = |id: &AgencyId| excluded.iter().any(|unit| directory.is_under(id, unit));
        let supporters: BTreeSet<_> = decision.supporting.iter().map(|(id, _)| id).collect();
        prop_assert_eq!(supporters.len(), decision.supporting.len(), "each once");
        for (supporter, reason) in &decision.supporting {
            prop_assert!(!kept_out(supporter), "{} supports", supporter);
            prop_assert!(!reason.is_empty());
        }
        match &decision.outcome {
            Destination::Lead { agency, factor } => {
                prop_assert!(!kept_out(agency), "{} leads", agency);
                prop_assert!(directory.agency(agency).is_some());
                prop_assert!(!supporters.contains(agency));
                prop_assert_eq!(*factor, Factor::from_wire(decision.explanation.factor));
            }
            Destination::Designate { superior } => {
                let tops = directory.agencies().filter(|agency| agency.superior.is_none());
                let nobody = tops.into_iter().all(|agency| kept_out(&agency.id));
                prop_assert!(!kept_out(superior) || nobody, "{} designates", superior);
                prop_assert!(supporters.is_empty());
            }
            Destination::Advise { zh, en } => {
                prop_assert!(!zh.is_empty() && !en.is_empty() && supporters.is_empty());
            }
        }
        prop_assert_eq!(decision.terms.is_none(), matches!(decision.outcome, Destination::Advise { .. }));
        prop_assert!(!decision.explanation.summary.is_empty() && !decision.explanation.summary.contains('\n'));
    }
}

/// `cargo run --release -p decision --example figures` examines many more.
#[test]
fn p4_p6_in_random_worlds_there_is_one_owner_and_replays_are_equal() {
    let worlds = std::env::var("REMIT_WORLDS").ok().and_then(|count| count.parse().ok());
    crate::worlds::examine(worlds.unwrap_or(200), testkit::seed());
}
