//! Facts from a line of JSON equal those of the contract.

use api::event::ConnectingFactor;
use api::intake::{Place, ReporterRelation, SubjectKind, VictimKind, place::Location};
use api::routing::{Facts, OperatorAnswer, OperatorMatch, operator_match};
use decision::decide::rule;
use decision::directory::Directory;
use decision::facts::{FactsLine, Situation};
use decision::rules::RuleSet;

/// Sets every field: one unknown to the line parser fails here.
fn all() -> Facts {
    let place = |factor: ConnectingFactor, location| Place {
        factor: factor.into(),
        location: Some(location),
    };
    Facts {
        category: "categories/gambling".to_owned(),
        urgent: true,
        subject_kinds: vec![SubjectKind::Url.into(), SubjectKind::BankAccount.into()],
        places: vec![
            place(
                ConnectingFactor::Operator,
                Location::Territory("territories/450100".to_owned()),
            ),
            place(ConnectingFactor::Server, Location::RegionCode("US".to_owned())),
            place(
                ConnectingFactor::Victim,
                Location::Territory("\u{6570}\"\\x".to_owned()),
            ),
            place(
                ConnectingFactor::Unspecified,
                Location::Territory("territories/CN".to_owned()),
            ),
        ],
        loss_currency_code: "CNY".to_owned(),
        loss_minor_units: 9_007_199_254_740_993,
        loss_age_seconds: Some(0),
        victim_kind: VictimKind::PublicBody.into(),
        reporter_relation: ReporterRelation::Bystander.into(),
        publication: true,
        received_by: "agencies/police-440000".to_owned(),
        excluded: vec!["agencies/police-130400".to_owned(), "agencies/police-130000".to_owned()],
        details: [("deposit.channel", "card"), ("a", "线")]
            .map(|(path, value)| (path.to_owned(), value.to_owned()))
            .into(),
        accept_time: Some(moment::Time(1_800_000_000_000_000).to_proto()),
        complained_of: "agencies/police-130400".to_owned(),
        register_answer: Some(OperatorAnswer {
            version: 9_007_199_254_740_993,
            digest: vec![0, 255, 62, 63].into(),
            asked_count: 3,
            matches: [
                operator_match::Location::Territory("territories/450100".to_owned()),
                operator_match::Location::RegionCode("US".to_owned()),
            ]
            .map(|location| OperatorMatch {
                registered_operator: "operators/platform~线 \"x\"".to_owned(),
                location: Some(location),
            })
            .into(),
        }),
    }
}

#[test]
fn a_line_equals_the_contracts_message() {
    for facts in [all(), Facts::default()] {
        let json = rpc::json::value(&facts).unwrap().to_string();
        let line = FactsLine::parse(json.as_bytes()).unwrap();
        assert_eq!(
            format!("{:?}", line.situation()),
            format!("{:?}", Situation::from(&facts)),
            "{json}"
        );
        let (rules, directory) = (RuleSet::shipped(), Directory::shipped());
        assert_eq!(
            rule(&line.situation(), rules, directory).decision(),
            rule(&Situation::from(&facts), rules, directory).decision()
        );
    }
}

#[test]
fn alternative_spellings_are_accepted() {
    let line = br#"{"loss_minor_units": 12, "lossAgeSeconds": "7", "victim_kind": 1,
        "places": [{"factor": 4, "territory": "territories/510100"}], "details": {"a": "b"}}"#;
    let line = FactsLine::parse(line).unwrap();
    let situation = line.situation();
    assert_eq!((situation.loss_minor_units, situation.loss_age_seconds), (12, Some(7)));
    assert_eq!(situation.victim_kind, VictimKind::Person);
    assert_eq!(situation.details, [("a", "b")]);
}

#[test]
fn invalid_lines_are_refused() {
    for (line, part) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "not a list"),
        ("{} {}", "trailing"),
        (r#"{"categroy": "x"}"#, "categroy"),
        (r#"{"category": 7}"#, "a string"),
        (r#"{"victimKind": "VICTIM_KIND_MARTIAN"}"#, "VICTIM_KIND_MARTIAN"),
        (r#"{"places": [{"factor": 77}]}"#, "77"),
        (r#"{"lossMinorUnits": "much"}"#, "invalid digit"),
        (r#"{"places": [{"territory": "x", "planet": "y"}]}"#, "planet"),
    ] {
        let error = FactsLine::parse(line.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn a_name_that_occurs_twice_in_a_line_is_refused() {
    for line in [
        r#"{"category": "categories/gambling", "category": "categories/fraud"}"#,
        r#"{"details": {"means": "threats", "means": "violence"}}"#,
        r#"{"urgent": true, "urgent": false}"#,
    ] {
        assert!(FactsLine::parse(line.as_bytes()).is_err(), "{line}");
    }
}
