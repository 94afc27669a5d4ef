//! Agencies that end: who continues them gets their new reports, and is excluded where they are.

use std::collections::BTreeSet;

use api::event::ConnectingFactor;
use api::intake::{Place, place::Location};
use api::routing::{Explanation, Facts};
use decision::decide::{Decision, Destination, decide, without_excluded};
use decision::directory::{AgencyId, Directory, Function, view};
use decision::rules::RuleSet;
use places::TerritoryCode;

fn id(text: &str) -> AgencyId {
    AgencyId::new(text).unwrap()
}

/// The shipped directory, where some agencies end: with their last day, and perhaps a successor.
fn ending(ends: &[(&str, &str, &str)]) -> Directory {
    let mut source = Directory::shipped().source().to_owned();
    for (agency, last_day, successor) in ends {
        let line = source
            .lines()
            .find(|line| line.contains(&format!("id: {agency},")))
            .unwrap();
        let successor = match *successor {
            "" => String::new(),
            successor => format!("successor: {successor}, "),
        };
        let ends = format!("valid_to: {last_day}, {successor}superior:");
        source = source.replace(line, &line.replace("superior:", &ends));
    }
    Directory::parse(&source, Directory::shipped().territories()).unwrap()
}

/// Facts on 2026-03-02, with a place written as `operator 450100`.
fn facts(category: &str, place: &str) -> Facts {
    let accepted: jiff::Timestamp = "2026-03-02T09:00:00+08:00".parse().unwrap();
    let places = place.split_once(' ').map(|(factor, code)| Place {
        factor: match factor {
            "operator" => ConnectingFactor::Operator,
            "victim" => ConnectingFactor::Victim,
            other => panic!("no factor {other}"),
        }
        .into(),
        location: Some(Location::Territory(format!("territories/{code}"))),
    });
    Facts {
        category: format!("categories/{category}"),
        places: places.into_iter().collect(),
        accept_time: Some(moment::Time(accepted.as_microsecond()).to_proto()),
        ..Facts::default()
    }
}

fn route(facts: &Facts, directory: &Directory) -> Decision {
    let rules = RuleSet::parse(decision::rules::SHIPPED[0].1, directory).unwrap();
    decide(facts, &rules, directory)
}

#[track_caller]
fn check(facts: &Facts, directory: &Directory, lead: &str) -> Explanation {
    let decision = route(facts, directory);
    let agency = match &decision.outcome {
        Destination::Lead { agency, .. } => agency,
        Destination::Designate { superior } => superior,
        Destination::Advise { .. } => panic!("{decision:#?}"),
    };
    assert_eq!(agency.as_str(), lead, "{:#?}", decision.explanation);
    decision.explanation
}

const GONE: &str = "2026-02-28";
const STAYS: &str = "2026-12-31";

#[test]
fn who_continues_an_agency_gets_its_new_reports_and_the_explanation_says_so() {
    let gambling = facts("gambling", "operator 450100");
    // Today, later, and over two steps.
    let directory = ending(&[("police-450100", STAYS, "police-450200")]);
    let explanation = check(&gambling, &directory, "police-450100");
    assert!(
        !explanation.fallbacks.iter().any(|words| words.contains("ended")),
        "{explanation:#?}"
    );
    let directory = ending(&[("police-450100", GONE, "police-450200")]);
    let explanation = check(&gambling, &directory, "police-450200");
    let words = "police-450100 ended on 2026-02-28, and police-450200 continues it";
    assert!(
        explanation.fallbacks.iter().any(|told| told == words),
        "{explanation:#?}"
    );
    let directory = ending(&[
        ("police-450100", "2026-02-27", "police-450200"),
        ("police-450200", GONE, "police-440300"),
    ]);
    check(&gambling, &directory, "police-440300");
    // Nobody continues it: it climbs, and says why.
    let directory = ending(&[("police-450100", GONE, "")]);
    let explanation = check(&gambling, &directory, "police-450000");
    let words = "police-450100 ended on 2026-02-28, and nobody continues it";
    assert!(
        explanation.fallbacks.iter().any(|told| told == words),
        "{explanation:#?}"
    );
    // The same where a place is asked for.
    let located = |directory: &Directory| {
        let police = Function::new("police").unwrap();
        let place: TerritoryCode = "450100".parse().unwrap();
        view::located(directory, &police, None, "2026-03-02".parse().unwrap(), place)
    };
    let found = located(&ending(&[("police-450100", GONE, "police-450200")]));
    assert_eq!(found.agency.unwrap().name, "agencies/police-450200");
    assert_eq!(
        found.outcome,
        "police-450100 ended on 2026-02-28, and police-450200 continues it;  leads to police-450200"
    );
}

#[test]
fn a_new_agency_at_the_place_comes_before_the_successor() {
    let source = ending(&[("police-450100", GONE, "police-450200")]).source().replace(
        "  - {id: police-450200,",
        "  - {id: police-nanning, functions: [police], territory: '450100', name: {zh: 甲, en: A}, \
         superior: police-450000, valid_from: 2026-03-01}\n  - {id: police-450200,",
    );
    let directory = Directory::parse(&source, Directory::shipped().territories()).unwrap();
    let explanation = check(&facts("gambling", "operator 450100"), &directory, "police-nanning");
    assert!(
        !explanation.fallbacks.iter().any(|words| words.contains("ended")),
        "{explanation:#?}"
    );
}

#[test]
fn p7_whoever_succeeds_an_excluded_unit_is_excluded_with_all_under_it() {
    let chain = ending(&[
        ("police-130400", "2026-02-27", "police-130300"),
        ("police-130300", GONE, "police-450000"),
    ]);
    let named = BTreeSet::from([id("police-130400")]);
    let kept_out = |directory: &Directory, agency: &str| directory.is_excluded(&id(agency), &named);
    for agency in ["police-130400", "police-130300", "police-450000", "police-450100"] {
        assert!(kept_out(&chain, agency), "{agency}");
    }
    for agency in [
        "police-130000",
        "police-130200",
        "police-CN",
        "police-440000",
        "no-such-agency",
    ] {
        assert!(!kept_out(&chain, agency), "{agency}");
    }
    // From the day on which it is announced.
    assert!(kept_out(
        &ending(&[("police-130400", STAYS, "police-130300")]),
        "police-130300"
    ));
    assert!(!kept_out(Directory::shipped(), "police-130300"));
    // A unit under an excluded one ends: who succeeds it is excluded, too.
    let above = BTreeSet::from([id("police-130000")]);
    let below = ending(&[("police-130400", GONE, "police-450200")]);
    assert!(below.is_excluded(&id("police-450200"), &above) && !below.is_excluded(&id("police-450100"), &above));
    assert_eq!(below.excluded_successors(&above), BTreeSet::from([id("police-450200")]));
    // Its superior succeeds it: the way up leads back, and ends.
    let superior = ending(&[("police-130400", GONE, "police-130000")]);
    assert!(kept_out(&superior, "police-130000") && kept_out(&superior, "police-130200"));
    assert!(!kept_out(&superior, "police-CN"));
}

#[test]
fn p7_a_decision_passes_successors_of_the_excluded_over_and_tells_the_owner_only() {
    let directory = ending(&[("police-450100", GONE, "police-450200")]);
    let facts = Facts {
        excluded: vec!["agencies/police-450100".to_owned()],
        ..facts("gambling", "operator 450100")
    };
    let explanation = check(&facts, &directory, "police-450000");
    let words = "police-450200 is excluded, too: it succeeds police-450100";
    assert!(
        explanation.exclusions.iter().any(|told| told == words),
        "{explanation:#?}"
    );
    assert_eq!(
        explanation.excluded,
        ["agencies/police-450100", "agencies/police-450200"]
    );
    let shown = format!("{:?}", without_excluded(explanation));
    assert!(
        !shown.contains("police-450100") && !shown.contains("police-450200"),
        "{shown}"
    );
    // One that ended without a successor tells nothing either.
    let directory = ending(&[("police-450100", GONE, "")]);
    let shown = format!("{:?}", without_excluded(check(&facts, &directory, "police-450000")));
    assert!(!shown.contains("police-450100"), "{shown}");
}

#[test]
fn a_complaint_about_a_unit_that_ended_is_led_above_its_heir() {
    // Handan's desk was merged into that of a city in another province.
    let directory = ending(&[("police-130400", GONE, "police-450200")]);
    let facts = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        complained_of: "agencies/police-130400".to_owned(),
        ..facts("official-misconduct", "")
    };
    check(&facts, Directory::shipped(), "inspection-130000");
    let explanation = check(&facts, &directory, "inspection-450000");
    let words = "complained of: police-130400 ended on 2026-02-28, and police-450200 continues it: decided as if \
                 police-450200 were complained of";
    assert!(
        explanation.exclusions.iter().any(|told| told == words),
        "{explanation:#?}"
    );
    let shown = format!("{:?}", without_excluded(explanation));
    assert!(!shown.contains("1304") && !shown.contains("4502"), "{shown}");
    // Without an heir, where it was.
    check(&facts, &ending(&[("police-130400", GONE, "")]), "inspection-130000");
    // What stood over it ended as well: its name would tell the place.
    let directory = ending(&[
        ("police-130400", GONE, ""),
        ("inspection-130000", GONE, "inspection-110000"),
    ]);
    let explanation = check(&facts, &directory, "inspection-110000");
    assert!(
        explanation
            .exclusions
            .iter()
            .any(|told| told.contains("inspection-130000 ended")),
        "{explanation:#?}"
    );
    assert!(!format!("{:?}", without_excluded(explanation)).contains("130000"));
}

#[test]
fn who_continues_the_receiver_keeps_what_it_received() {
    let directory = ending(&[("police-450100", GONE, "police-450200")]);
    let rules = RuleSet::parse(decision::rules::SHIPPED[1].1, &directory).unwrap();
    let mut facts = facts("gambling", "victim 450100");
    facts.places.push(Place {
        factor: ConnectingFactor::Operator.into(),
        location: Some(Location::Territory("territories/440000".to_owned())),
    });
    facts.received_by = "agencies/police-450100".to_owned();
    let decision = decide(&facts, &rules, &directory);
    assert!(
        matches!(&decision.outcome, Destination::Lead { agency, .. } if agency.as_str() == "police-450200"),
        "{decision:#?}"
    );
    let said = decision.explanation.fallbacks.join("\n");
    assert!(
        said.contains("received first: police-450100 ended on 2026-02-28"),
        "{said}"
    );
}
