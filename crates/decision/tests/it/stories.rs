//! The sixteen stories under both shipped rule sets, and further requirements on answers.

use api::event::{ClockUnit, ConnectingFactor};
use api::intake::{Place, ReporterRelation, SubjectKind, VictimKind, place::Location};
use api::routing::{ClockNeed, Facts, OperatorSubject, factor_tried, operator_subject};
use decision::calendar::Unit;
use decision::decide::{Decision, Destination, decide, rule, without_excluded};
use decision::directory::{AgencyId, Directory};
use decision::factor::Factor;
use decision::facts::Situation;
use decision::rules::{Column, RuleSet};

fn factor(name: &str) -> ConnectingFactor {
    match name {
        "operator" => ConnectingFactor::Operator,
        "server" => ConnectingFactor::Server,
        "transaction" => ConnectingFactor::Transaction,
        "victim" => ConnectingFactor::Victim,
        "suspect" => ConnectingFactor::Suspect,
        other => panic!("no factor {other}"),
    }
}

/// Facts with places written as `operator 450100` or `server US`.
fn facts(category: &str, places: &[&str]) -> Facts {
    let place = |text: &&str| {
        let (name, code) = text.split_once(' ').expect("a factor and a place");
        let location = match code.len() {
            2 => Location::RegionCode(code.to_owned()),
            _ => Location::Territory(format!("territories/{code}")),
        };
        Place {
            factor: factor(name).into(),
            location: Some(location),
        }
    };
    Facts {
        category: format!("categories/{category}"),
        places: places.iter().map(place).collect(),
        ..Facts::default()
    }
}

/// One story, or one half of one.
struct Story {
    name: &'static str,
    facts: Facts,
    /// The answer of *ranked*: the lead with its factor, and the supporting agencies.
    ranked: (&'static str, &'static [&'static str]),
    /// The answer of *first-receiver*.
    first_receiver: (&'static str, &'static [&'static str]),
    /// The note of *first-receiver* about the receiver.
    says: &'static str,
}

fn story(name: &'static str, facts: Facts, answer: (&'static str, &'static [&'static str])) -> Story {
    Story {
        name,
        facts,
        ranked: answer,
        first_receiver: answer,
        says: "",
    }
}

fn received_by(agency: &str, facts: Facts) -> Facts {
    Facts {
        received_by: format!("agencies/{agency}"),
        ..facts
    }
}

/// Facts of a report about a domain, completed by the example register.
fn by_register(host: &str, facts: Facts) -> Facts {
    let mut facts = Facts {
        subject_kinds: vec![SubjectKind::Domain.into()],
        ..facts
    };
    let subject = OperatorSubject {
        subject: Some(operator_subject::Subject::Host(host.to_owned())),
    };
    register::answer::answer(
        &mut facts,
        &[subject],
        &crate::example::example(),
        "2026-03-02".parse().unwrap(),
    );
    facts
}

/// The sixteen stories. In story 6 the example register gives the operator.
fn stories() -> Vec<Story> {
    let centre = "content-regulator-CN";
    let of_publication = |category, places: &[&str]| Facts {
        victim_kind: VictimKind::Organisation.into(),
        publication: true,
        ..facts(category, places)
    };
    let insult = |relation: ReporterRelation, places: &[&str]| Facts {
        reporter_relation: relation.into(),
        publication: true,
        victim_kind: VictimKind::Person.into(),
        ..received_by(centre, facts("insult-defamation", places))
    };
    let both_places = ["suspect 320300", "victim 510100"];
    vec![
        Story {
            says: "received first by content-regulator-CN, to which no place leads",
            ..story(
                "1",
                Facts {
                    loss_currency_code: "CNY".to_owned(),
                    loss_minor_units: 12_800_000,
                    loss_age_seconds: Some(7_200),
                    subject_kinds: vec![SubjectKind::App.into(), SubjectKind::BankAccount.into()],
                    ..received_by(centre, facts("fraud.investment", &["victim 510100"]))
                },
                ("police-510100 by victim", &["payment-stop-510000"]),
            )
        },
        Story {
            says: "received first by police-320000, to which no place leads",
            ..story(
                "2",
                received_by(
                    "police-320000",
                    of_publication("extortion.paid-removal", &["operator 130100", "victim 320200"]),
                ),
                ("police-130000 by operator", &["content-regulator-130000"]),
            )
        },
        story(
            "3",
            received_by(
                "police-110000",
                of_publication("extortion.news", &["operator 110000", "victim 411300"]),
            ),
            ("police-110000 by operator", &["press-regulator-110000"]),
        ),
        Story {
            first_receiver: ("police-440000 by server", &["police-450100"]),
            says: "received first by police-440000, to which server leads: it keeps the report",
            ..story(
                "4",
                received_by(
                    "police-440000",
                    facts("gambling", &["operator 450100", "server 440600"]),
                ),
                ("police-450100 by operator", &["police-440000"]),
            )
        },
        Story {
            says: "received first by content-regulator-CN, to which no place leads",
            ..story(
                "5",
                received_by(centre, facts("fraud.loan", &["server US", "victim 520100"])),
                ("police-CN by victim", &["partner-hotline-abroad"]),
            )
        },
        Story {
            first_receiver: ("police-210200 by victim", &["police-350200", "police-310000"]),
            says: "received first by police-210200, to which victim leads",
            ..story(
                "6",
                by_register(
                    "login.wallet-verify-center.example",
                    received_by("police-210200", facts("fraud", &["server 310000", "victim 210200"])),
                ),
                ("police-350200 by operator", &["police-310000"]),
            )
        },
        Story {
            first_receiver: ("police-320000 by victim", &["police-320300", "police-110000"]),
            says: "received first by police-320000, to which victim leads",
            ..story(
                "7",
                received_by(
                    "police-320000",
                    facts(
                        "threat-to-person",
                        &["operator 110000", "victim 320500", "suspect 320300"],
                    ),
                ),
                ("police-320300 by suspect", &["police-110000"]),
            )
        },
        story(
            "8",
            received_by(centre, facts("personal-data", &["server 330100"])),
            ("police-330100 by server", &["content-regulator-330000"]),
        ),
        story(
            "9",
            Facts {
                excluded: vec!["agencies/police-130400".to_owned()],
                complained_of: "agencies/police-130400".to_owned(),
                ..received_by("police-130400", facts("official-misconduct", &["suspect 130400"]))
            },
            ("inspection-130000 by complained-of", &[]),
        ),
        story(
            "10",
            received_by(centre, facts("malware", &[])),
            ("police-CN by default", &[]),
        ),
        Story {
            first_receiver: ("market-regulator-330000 by operator", &["market-regulator-350000"]),
            says: "received first by market-regulator-330000, to which operator leads",
            ..story(
                "11",
                received_by(
                    "market-regulator-330000",
                    facts("consumer-harm", &["operator 330100", "suspect 350500"]),
                ),
                ("market-regulator-350000 by suspect", &["market-regulator-330000"]),
            )
        },
        story(
            "12 bystander",
            insult(ReporterRelation::Bystander, &both_places),
            ("advised", &[]),
        ),
        story(
            "12 victim, suspect known",
            insult(ReporterRelation::Victim, &both_places),
            ("police-320300 by suspect", &[]),
        ),
        story(
            "12 victim",
            insult(ReporterRelation::Victim, &["victim 510100"]),
            ("police-510100 by victim", &[]),
        ),
        story(
            "13",
            received_by(centre, facts("child-sexual-abuse-material", &["server 320700"])),
            ("police-320000 by server", &["content-regulator-320000"]),
        ),
        story(
            "13 abroad",
            received_by(centre, facts("child-sexual-abuse-material", &["server NL"])),
            ("police-CN by default", &["partner-hotline-abroad"]),
        ),
        story(
            "14",
            received_by(centre, facts("fraud.shopping", &["victim 320504"])),
            ("police-320000 by victim", &[]),
        ),
        story(
            "15",
            received_by(centre, facts("drugs", &["server 420100"])),
            ("police-420100 by server", &[]),
        ),
        story(
            "16",
            received_by(centre, facts("platform-duty", &["operator 440300"])),
            ("content-regulator-440000 by operator", &[]),
        ),
    ]
}

#[test]
fn both_shipped_sets_answer_the_sixteen_stories() {
    let stories = stories();
    let told: std::collections::BTreeSet<&str> = stories
        .iter()
        .filter_map(|story| story.name.split(' ').next())
        .collect();
    assert_eq!(told.len(), 16);
    for story in &stories {
        for (rules, (lead, supporting)) in [
            (RuleSet::shipped(), story.ranked),
            (RuleSet::shipped_first_receiver(), story.first_receiver),
        ] {
            let decision = decide(&story.facts, rules, Directory::shipped());
            let name = format!("story {} by {}", story.name, rules.id());
            assert_eq!(
                answer(&decision),
                (lead.to_owned(), owned(supporting)),
                "{name}: {:#?}",
                decision.explanation
            );
        }
        let decision = decide(&story.facts, RuleSet::shipped_first_receiver(), Directory::shipped());
        if !story.says.is_empty() {
            says(&decision, story.says);
        }
    }
}

/// The lead with its factor, and the supporting agencies.
fn answer(decision: &Decision) -> (String, Vec<String>) {
    let lead = match &decision.outcome {
        Destination::Lead {
            agency,
            factor: Some(factor),
        } => format!("{agency} by {factor}"),
        Destination::Lead { agency, factor: None } => format!("{agency} by default"),
        Destination::Advise { .. } => "advised".to_owned(),
        Destination::Designate { superior } => format!("{superior} designates"),
    };
    let supporting = decision.supporting.iter().map(|(agency, _)| agency.to_string());
    (lead, supporting.collect())
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn route(facts: &Facts) -> Decision {
    decide(facts, RuleSet::shipped(), Directory::shipped())
}

/// Checks lead, factor and supporters: `police-450100 by operator` and `["police-440000"]`.
#[track_caller]
fn check(facts: &Facts, lead: &str, supporting: &[&str]) -> Decision {
    let decision = route(facts);
    assert_eq!(
        answer(&decision),
        (lead.to_owned(), owned(supporting)),
        "{:#?}",
        decision.explanation
    );
    decision
}

#[track_caller]
fn says(decision: &Decision, words: &str) {
    let said = decision
        .explanation
        .fallbacks
        .iter()
        .any(|fallback| fallback.contains(words));
    assert!(said, "{words}: {:#?}", decision.explanation.fallbacks);
}

/// The factors tried, with their results.
fn tried(decision: &Decision) -> Vec<(&str, &str)> {
    decision
        .explanation
        .factors
        .iter()
        .map(|tried| {
            let factor = Factor::from_wire(tried.factor).expect("a factor");
            (factor.as_str(), tried.outcome.as_str())
        })
        .collect()
}

#[test]
fn story_1_investment_fraud() {
    let mut facts = facts("fraud.investment", &["victim 510100"]);
    facts.loss_currency_code = "CNY".to_owned();
    facts.loss_minor_units = 12_800_000;
    facts.loss_age_seconds = Some(7_200);
    facts.subject_kinds = vec![SubjectKind::App.into(), SubjectKind::BankAccount.into()];
    facts.received_by = "agencies/content-regulator-CN".to_owned();
    let decision = check(&facts, "police-510100 by victim", &["payment-stop-510000"]);
    let absent = "the report names no such place";
    assert_eq!(
        tried(&decision),
        [
            ("operator", absent),
            ("server", absent),
            ("transaction", absent),
            ("victim", "leads to police-510100")
        ]
    );
    let hold = &decision.explanation.holds[0];
    assert_eq!(
        (hold.agency.as_str(), &hold.clock),
        (
            "agencies/payment-stop-510000",
            &Some(ClockNeed {
                value: 30,
                unit: ClockUnit::Minutes.into()
            })
        )
    );
    assert_eq!(decision.explanation.row, "fraud-fresh-loss");
    says(&decision, "the operator was not looked up");
    says(&decision, "received first by content-regulator-CN");
    assert_eq!(
        decision
            .terms
            .map(|terms| (terms.clocks.acknowledge.value, terms.clocks.acknowledge.unit)),
        Some((24, Unit::Hours))
    );
}

#[test]
fn story_2_paid_removal() {
    let mut facts = facts("extortion.paid-removal", &["operator 130100", "victim 320200"]);
    facts.victim_kind = VictimKind::Organisation.into();
    facts.publication = true;
    let decision = check(&facts, "police-130000 by operator", &["content-regulator-130000"]);
    assert_eq!(
        decision.explanation.factors[0].climb,
        ["territories/130100", "territories/130000"]
    );
    let said = (
        "victim",
        "does not count: an organisation complains about a publication",
    );
    assert!(tried(&decision).contains(&said));
}

#[test]
fn the_home_police_of_an_organisation_never_lead_against_a_publication() {
    let mut facts = facts("extortion.paid-removal", &["victim 320100"]);
    facts.received_by = "agencies/police-320100".to_owned();
    check(&facts, "police-320100 by victim", &["content-regulator-320000"]);
    facts.publication = true;
    for kind in [VictimKind::Organisation, VictimKind::PublicBody] {
        facts.victim_kind = kind.into();
        let decision = check(&facts, "police-CN by default", &[]);
        let ruled_out = tried(&decision)
            .iter()
            .filter(|(_, outcome)| outcome.starts_with("does not count: "))
            .count();
        assert_eq!(ruled_out, 2, "the victim's place and that of the receiver");
    }
}

#[test]
fn story_3_news_extortion() {
    let mut facts = facts("extortion.news", &["operator 110000", "victim 411300"]);
    facts.victim_kind = VictimKind::Organisation.into();
    facts.publication = true;
    check(&facts, "police-110000 by operator", &["press-regulator-110000"]);
}

#[test]
fn story_4_gambling_site() {
    let decision = check(
        &facts("gambling", &["operator 450100", "server 440600"]),
        "police-450100 by operator",
        &["police-440000"],
    );
    assert_eq!(
        decision.explanation.summary,
        "police-450100 leads (operator 450100); police-440000 supports (server 440600 → 440000)"
    );
}

#[test]
fn story_5_fake_loan_app_abroad() {
    let mut facts = facts("fraud.loan", &["server US", "victim 520100"]);
    facts.received_by = "agencies/content-regulator-CN".to_owned();
    let decision = check(&facts, "police-CN by victim", &["partner-hotline-abroad"]);
    let victim = decision.explanation.factors.last().expect("tried");
    assert_eq!(
        victim.climb,
        ["territories/520100", "territories/520000", "territories/CN"]
    );
    assert!(tried(&decision).contains(&(
        "server",
        "US is outside the tree of territories: no agency there can lead"
    )));
}

#[test]
fn story_6_phishing_domain() {
    let places = || facts("fraud", &["server 310000", "victim 210200"]);
    let known = by_register("login.wallet-verify-center.example", places());
    let decision = check(&known, "police-350200 by operator", &["police-310000"]);
    assert_eq!(
        tried(&decision)[0],
        (
            "operator",
            "by the operator register, version 1; leads to police-350200"
        )
    );
    let answer = decision.explanation.register_answer.as_ref().unwrap();
    assert_eq!(
        answer.matches[0].registered_operator,
        "operators/domain~wallet-verify-center.example"
    );
    assert!(
        without_excluded(decision.explanation)
            .register_answer
            .unwrap()
            .matches
            .is_empty()
    );

    let decision = check(&by_register("other.example", places()), "police-310000 by server", &[]);
    says(
        &decision,
        "the operator register, version 1, does not contain the subject",
    );
    let mut unnamed = places();
    unnamed.subject_kinds = vec![SubjectKind::Url.into()];
    let decision = check(&unnamed, "police-310000 by server", &[]);
    says(&decision, "the operator was not looked up: no subject has a name");
}

#[test]
fn story_7_threats() {
    let facts = facts(
        "threat-to-person",
        &["operator 110000", "victim 320500", "suspect 320300"],
    );
    check(&facts, "police-320300 by suspect", &["police-110000"]);
}

#[test]
fn story_8_personal_data_market() {
    check(
        &facts("personal-data", &["server 330100"]),
        "police-330100 by server",
        &["content-regulator-330000"],
    );
}

#[test]
fn story_9_official() {
    let mut facts = facts("official-misconduct", &["suspect 130400"]);
    facts.excluded = vec!["agencies/police-130400".to_owned()];
    facts.received_by = "agencies/police-130400".to_owned();
    facts.complained_of = "agencies/police-130400".to_owned();
    let decision = check(&facts, "inspection-130000 by complained-of", &[]);
    assert_eq!(decision.explanation.excluded, ["agencies/police-130400"]);
    let fallbacks = decision.explanation.fallbacks.join(" ");
    assert!(
        !fallbacks.contains("police-130400"),
        "who handed it in is not told: {fallbacks}"
    );
}

#[test]
fn story_10_nowhere() {
    let decision = check(&facts("malware", &[]), "police-CN by default", &[]);
    says(&decision, "police-CN leads as the national default");
    assert_eq!(decision.explanation.factor(), ConnectingFactor::Unspecified);
    let decision = check(&facts("something.else", &[]), "police-CN by default", &[]);
    says(&decision, "the row for all other reports decided");
}

#[test]
fn story_11_seller() {
    let facts = facts("consumer-harm", &["operator 330100", "suspect 350500"]);
    let decision = check(
        &facts,
        "market-regulator-350000 by suspect",
        &["market-regulator-330000"],
    );
    assert_eq!(
        decision
            .terms
            .map(|terms| (terms.clocks.acknowledge.value, terms.clocks.acknowledge.unit)),
        Some((7, Unit::WorkingDays))
    );
}

#[test]
fn story_12_insult() {
    let mut facts = facts("insult-defamation", &["suspect 320300", "victim 510100"]);
    // Who leaves the field out may be the victim, and is routed: see below.
    for relation in [ReporterRelation::Bystander, ReporterRelation::Organisation] {
        facts.reporter_relation = relation.into();
        let decision = route(&facts);
        assert!(
            matches!(&decision.outcome, Destination::Advise { zh, en } if zh.contains("自诉") && en.contains("court"))
        );
        assert_eq!((decision.terms, decision.supporting), (None, vec![]));
    }
    facts.reporter_relation = ReporterRelation::Victim.into();
    check(&facts, "police-320300 by suspect", &[]);
    facts.places.retain(|place| place.factor() == ConnectingFactor::Victim);
    check(&facts, "police-510100 by victim", &[]);
}

#[test]
fn story_13_child_sexual_abuse_material() {
    let category = "child-sexual-abuse-material";
    check(
        &facts(category, &["server 320700"]),
        "police-320000 by server",
        &["content-regulator-320000"],
    );
    check(
        &facts(category, &["server NL"]),
        "police-CN by default",
        &["partner-hotline-abroad"],
    );
}

#[test]
fn story_14_abolished_code() {
    let decision = check(
        &facts("fraud.shopping", &["victim 320504"]),
        "police-320000 by victim",
        &[],
    );
    let victim = decision.explanation.factors.last().expect("tried");
    assert_eq!(
        (&victim.place, victim.climb.join(" ").as_str()),
        (
            &Some(factor_tried::Place::Territory("territories/320504".to_owned())),
            "territories/320508 territories/320500 territories/320000"
        )
    );
    says(
        &decision,
        "victim: 320504 is abolished, resolved to its successor 320508",
    );
    assert_eq!(
        decision.explanation.summary,
        "police-320000 leads (victim 320504 → 320508 → 320500 → 320000)"
    );
}

#[test]
fn a_code_that_is_not_simply_in_force_is_explained() {
    for (place, words) in [
        (
            "341402",
            "victim: 341402 is abolished, resolved to its successor 340181, under another city",
        ),
        (
            "440582",
            "victim: 440582 is abolished, resolved to its successor 440513; parts of it went to 440514",
        ),
        (
            "640222",
            "victim: 640222 is abolished and was divided among 640104, 640221, resolved to 640000, which holds them",
        ),
        (
            "110200",
            "victim: 110200 is abolished without a single successor, resolved to 110000, in which it lies",
        ),
        (
            "500105001",
            "victim: 500105001 is abolished without a single successor, resolved to 500105, in which it lay; \
             500105 is abolished, resolved to its successor 500157",
        ),
        (
            "469025",
            "victim: 469025 is read as it stands today; the code was once that of what is 469021 now",
        ),
    ] {
        let facts = facts("fraud", &[&format!("victim {place}")]);
        let decision = route(&facts);
        says(&decision, words);
    }
}

#[test]
fn nobody_but_the_platforms_domicile_keeps_a_consumers_report_by_receiving_it() {
    // 投诉举报办法 27. The seller is in Fujian, the platform in Zhejiang, the buyer in Sichuan.
    let places = ["operator 330100", "suspect 350500", "victim 510100"];
    let route = |category: &str, receiver: &str| {
        let facts = received_by(receiver, facts(category, &places));
        let decision = decide(&facts, RuleSet::shipped_first_receiver(), Directory::shipped());
        (answer(&decision).0, decision)
    };
    for category in ["consumer-harm", "counterfeit"] {
        let (lead, _) = route(category, "market-regulator-330000");
        assert_eq!(lead, "market-regulator-330000 by operator", "{category}");
        let (lead, decision) = route(category, "market-regulator-510000");
        assert_eq!(lead, "market-regulator-350000 by suspect", "{category}");
        says(
            &decision,
            "received first by market-regulator-510000, to which no place leads as operator",
        );
    }
    // Elsewhere any place counts.
    let (lead, _) = route("pyramid-selling", "market-regulator-510000");
    assert_eq!(lead, "market-regulator-510000 by victim");
}

#[test]
fn a_receiver_that_cannot_keep_is_explained() {
    let route = |facts: &Facts| decide(facts, RuleSet::shipped_first_receiver(), Directory::shipped());
    let mut facts = received_by("police-510100", facts("fraud.investment", &["victim 510100"]));
    assert_eq!(answer(&route(&facts)).0, "police-510100 by victim");
    facts.excluded = vec!["agencies/police-510100".to_owned()];
    let explanation = route(&facts).explanation;
    let words = "received first by police-510100, which is excluded: it cannot keep the report";
    assert!(
        explanation.exclusions.iter().any(|said| said.contains(words)),
        "{explanation:#?}"
    );
    // Only the owner may know.
    assert!(!format!("{:?}", explanation.fallbacks).contains("excluded"));
    assert!(!format!("{:?}", without_excluded(explanation)).contains("which is excluded"));
    facts.excluded.clear();
    facts.received_by = "agencies/nobody-1".to_owned();
    for rules in [RuleSet::shipped_first_receiver(), RuleSet::shipped()] {
        let decision = decide(&facts, rules, Directory::shipped());
        says(
            &decision,
            "received first by `agencies/nobody-1`, which is not in the directory",
        );
    }
}

#[test]
fn a_decision_that_only_designates_sets_no_clock_of_a_lead() {
    let mut facts = facts("fraud.investment", &["victim 510100"]);
    facts.excluded = vec!["agencies/police-CN".to_owned()];
    let situation = Situation::from(&facts);
    let answer = rule(&situation, RuleSet::shipped(), Directory::shipped()).to_proto();
    assert_eq!(
        (answer.lead.as_str(), answer.designating.as_str()),
        ("", "agencies/conference-CN")
    );
    assert_eq!((answer.acknowledge, answer.result), (None, None));
    // The case keeps the row's terms for the lead that will be designated.
    assert!(decide(&facts, RuleSet::shipped(), Directory::shipped()).terms.is_some());
    facts.excluded.clear();
    let situation = Situation::from(&facts);
    let answer = rule(&situation, RuleSet::shipped(), Directory::shipped()).to_proto();
    assert!(answer.acknowledge.is_some() && answer.result.is_some());
}

#[test]
fn p4_when_all_last_resorts_are_excluded_the_first_unit_at_the_top_designates() {
    let directory = Directory::shipped();
    let designates = |excluded: &[&str]| {
        let mut facts = facts("fraud.investment", &["victim 510100"]);
        facts.excluded = excluded.iter().map(|id| format!("agencies/{id}")).collect();
        match decide(&facts, RuleSet::shipped(), directory).outcome {
            Destination::Designate { superior } => superior.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(designates(&["police-CN"]), "conference-CN");
    // The rule set's own: the conference, then the inspection body.
    assert_eq!(designates(&["police-CN", "conference-CN"]), "inspection-CN");
    // Then by id.
    let mut excluded = vec!["police-CN", "conference-CN", "inspection-CN"];
    for next in ["content-regulator-CN", "market-regulator-CN", "partner-hotline-abroad"] {
        assert_eq!(designates(&excluded), next);
        excluded.push(next);
    }
    let tops: Vec<_> = directory
        .agencies()
        .filter(|agency| agency.superior.is_none())
        .collect();
    let all: Vec<_> = tops.iter().map(|agency| agency.id.as_str()).collect();
    assert_eq!(designates(&all), "conference-CN", "it designates anyway");
    // Who begins later, or ends, does not stand in.
    let later = directory.source().replace(
        "{id: content-regulator-CN,",
        "{id: content-regulator-CN, valid_from: 2020-01-01,",
    );
    let later = Directory::parse(&later, directory.territories()).expect("a directory");
    let excluded = ["police-CN", "conference-CN"]
        .map(|id| AgencyId::new(id).unwrap())
        .into();
    let resort = later.last_resort_of(&[], &excluded);
    assert_eq!(resort.designates.as_str(), "inspection-CN");
}

#[test]
fn nobody_supports_a_case_of_officials_unasked() {
    // 监察法 74: nothing of the report spreads before the inspection body asks.
    for rules in [RuleSet::shipped(), RuleSet::shipped_first_receiver()] {
        let facts = facts(
            "official-misconduct",
            &["suspect 130400", "operator 330100", "server 440100"],
        );
        let decision = decide(&facts, rules, Directory::shipped());
        assert_eq!(answer(&decision).1, owned(&[]), "{:#?}", decision.explanation);
    }
}

#[test]
fn an_insult_is_routed_where_the_victim_may_be_reporting() {
    let insult = |relation: ReporterRelation, victim: VictimKind, consequence: &str| {
        let mut facts = Facts {
            reporter_relation: relation.into(),
            victim_kind: victim.into(),
            ..facts("insult-defamation", &["suspect 320300"])
        };
        if !consequence.is_empty() {
            facts.details.insert("consequence".to_owned(), consequence.to_owned());
        }
        route(&facts)
    };
    let (bystander, nobody) = (ReporterRelation::Bystander, ReporterRelation::Unspecified);
    let organisation = ReporterRelation::Organisation;
    let police = "police-320300 by suspect";
    for (relation, victim, consequence) in [
        // The field is left out: it may be the victim.
        (nobody, VictimKind::Unspecified, ""),
        (nobody, VictimKind::Person, ""),
        (ReporterRelation::Victim, VictimKind::Person, ""),
        (ReporterRelation::Representative, VictimKind::Unspecified, ""),
        // A hotline or a school, for a person.
        (organisation, VictimKind::Person, ""),
        // 刑法 246(2): prosecuted without the victim's complaint, whoever reports.
        (bystander, VictimKind::Person, "several-victims"),
        (bystander, VictimKind::Unspecified, "suicide-or-breakdown"),
    ] {
        let decision = insult(relation, victim, consequence);
        assert_eq!(answer(&decision).0, police, "{relation:?} {victim:?} {consequence}");
    }
    for (relation, victim, consequence) in [
        (bystander, VictimKind::Person, ""),
        (bystander, VictimKind::Person, "none"),
        // About an organisation: a civil matter.
        (nobody, VictimKind::Organisation, ""),
        (organisation, VictimKind::Organisation, ""),
        (organisation, VictimKind::PublicBody, ""),
        (organisation, VictimKind::Unspecified, ""),
    ] {
        let decision = insult(relation, victim, consequence);
        let advised = matches!(decision.outcome, Destination::Advise { .. });
        assert!(advised, "{relation:?} {victim:?} {consequence}: {:?}", decision.outcome);
    }
}

#[test]
fn story_15_drug_sale() {
    let mut facts = facts("drugs", &["server 420100"]);
    facts.subject_kinds = vec![SubjectKind::App.into()];
    let decision = check(&facts, "police-420100 by server", &[]);
    says(&decision, "each report of the same subject has its own case");
}

#[test]
fn story_16_platform_ignores_reports() {
    check(
        &facts("platform-duty", &["operator 440300"]),
        "content-regulator-440000 by operator",
        &[],
    );
}

#[test]
fn exclusion_covers_the_units_below_and_the_climb_skips_them() {
    let mut facts = facts("gambling", &["operator 450100", "server 440600"]);
    facts.excluded = vec!["agencies/police-450000".to_owned()];
    let decision = check(&facts, "police-CN by operator", &["police-440000"]);
    assert_eq!(
        decision.explanation.factors[0].passed,
        ["agencies/police-450100", "agencies/police-450000"]
    );
    facts.excluded = vec!["agencies/police-440000".to_owned()];
    check(&facts, "police-450100 by operator", &["police-CN"]);
}

#[test]
fn the_conference_designates_if_nobody_is_left() {
    let mut facts = facts("gambling", &["operator 450100", "server US"]);
    facts.excluded = vec!["agencies/police-CN".to_owned()];
    let decision = route(&facts);
    assert!(matches!(&decision.outcome, Destination::Designate { superior } if superior.as_str() == "conference-CN"));
    assert_eq!(decision.supporting, vec![]);
    // The conference has a substitute; if that is excluded, too, any other unit at the top; finally
    // the conference.
    for (excluded, designates) in [
        ("conference-CN", "inspection-CN"),
        ("inspection-CN", "content-regulator-CN"),
    ] {
        facts.excluded.push(format!("agencies/{excluded}"));
        let decision = route(&facts);
        assert_eq!(answer(&decision).0, format!("{designates} designates"));
        assert!(
            decision
                .explanation
                .exclusions
                .iter()
                .any(|words| words.contains("conference-CN is excluded itself")),
            "{:#?}",
            decision.explanation
        );
    }
    let tops = Directory::shipped()
        .agencies()
        .filter(|agency| agency.superior.is_none());
    facts.excluded.extend(tops.map(|agency| agency.id.resource_name()));
    assert_eq!(answer(&route(&facts)).0, "conference-CN designates");
}

#[test]
fn unusable_input_is_skipped_and_reported() {
    let mut facts = facts("gambling", &["operator 999999", "server XX", "victim CN"]);
    facts.excluded = vec!["agencies/no such".to_owned()];
    let decision = check(&facts, "police-CN by victim", &[]);
    says(&decision, "operator: the tree has no territory 999999");
    says(&decision, "server: `XX` is malformed");
    let exclusions = decision.explanation.exclusions.join(" ");
    assert!(
        exclusions.contains("excluded agency `agencies/no such` is not in the directory"),
        "{exclusions}"
    );
}

#[test]
fn the_receiver_gives_the_place_last() {
    let mut facts = facts("gambling", &[]);
    facts.received_by = "agencies/police-450300".to_owned();
    check(&facts, "police-450300 by received", &[]);
    facts.received_by = "agencies/content-regulator-450000".to_owned();
    check(&facts, "police-450000 by received", &[]);
    facts.received_by = "agencies/content-regulator-CN".to_owned();
    check(&facts, "police-CN by default", &[]);
}

#[test]
fn one_agency_supports_once_with_all_reasons() {
    let facts = facts(
        "threat-to-person",
        &["operator 440600", "server 440000", "suspect 320300"],
    );
    let decision = check(&facts, "police-320300 by suspect", &["police-440000"]);
    assert_eq!(decision.supporting[0].1, "operator 440600 → 440000; server 440000");
}

#[test]
fn skipped_rows_name_the_first_column_that_failed() {
    let mut facts = facts("fraud.loan", &["victim 520100"]);
    facts.loss_age_seconds = Some(73 * 3_600);
    let situation = Situation::from(&facts);
    let ruling = rule(&situation, RuleSet::shipped(), Directory::shipped());
    let misses: Vec<(&str, &Column)> = ruling
        .misses()
        .into_iter()
        .map(|(row, column)| (row.id.as_str(), column))
        .collect();
    assert_eq!(ruling.row().id, "fraud");
    let passed = RuleSet::shipped()
        .rows()
        .iter()
        .take_while(|row| row.id != "fraud")
        .count();
    assert_eq!(misses.len(), passed, "every row before the one that matched");
    assert_eq!(misses.last(), Some(&("fraud-fresh-loss", &Column::LossAge)));
    assert!(
        misses[..passed - 1]
            .iter()
            .all(|(_, column)| **column == Column::Category),
        "{misses:?}"
    );
    let stored = decide(&facts, RuleSet::shipped(), Directory::shipped())
        .explanation
        .failed_columns;
    assert_eq!(stored.len(), passed + 1);
    assert_eq!(stored.last(), Some(&0));
}

#[test]
fn the_agency_complained_of_is_not_revealed_by_its_place() {
    let mut facts = facts("official-misconduct", &[]);
    facts.excluded = vec!["agencies/police-130400".to_owned()];
    facts.complained_of = "agencies/police-130400".to_owned();
    let explanation = check(&facts, "inspection-130000 by complained-of", &[]).explanation;
    assert_eq!(
        explanation.factors[0].climb,
        ["territories/130400", "territories/130000"],
        "the owner is told"
    );
    let shown = format!("{:?}", without_excluded(explanation));
    assert!(!shown.contains("1304"), "{shown}");
}
