//! A case that is filed under another category: where it goes, what it takes along, and that it
//! ends.

use std::sync::Arc;

use decision::decide::{Decision, Destination};

use super::*;

/// Terms of the other category: half a day to acknowledge, ten days for the result.
fn other_terms(function: &str) -> Terms {
    let mut terms = matter(&[]).terms.unwrap();
    terms.function = Function::new(function).unwrap();
    terms.clocks = Clocks {
        acknowledge: rule(ClockKind::Acknowledge, 12),
        result: ClockRule {
            kind: ClockKind::Result,
            value: 10,
            unit: Unit::CalendarDays,
        },
    };
    terms
}

fn leads(agency: &str) -> Destination {
    Destination::Lead {
        agency: id(agency),
        factor: None,
    }
}

fn filed(category: &str, outcome: Destination, supporting: &[&str]) -> Action {
    let terms = match &outcome {
        Destination::Advise { .. } => None,
        _ => Some(other_terms("market-regulator")),
    };
    let filing = Filing {
        category: category.to_owned(),
        decision: Decision {
            outcome,
            supporting: supporting.iter().map(|agency| (id(agency), String::new())).collect(),
            terms,
            explanation: Default::default(),
        },
        last_resort: Vec::new(),
    };
    reclassify(Refiled::Filed(Arc::new(filing)))
}

fn reclassify(refiled: Refiled) -> Action {
    Action::Reclassify(Reclassify {
        category: "consumer-harm".to_owned(),
        refiled,
    })
}

fn to_market() -> Action {
    filed("consumer-harm", leads("market-regulator-450000"), &["police-450100"])
}

fn refused(hours: i64, case: &Case, excluded: &[&str], action: &Action) -> String {
    let by = case.owner().unwrap().to_string();
    match act(hours, case, &matter(excluded), &by, action) {
        Err(Refusal::WrongState { description, .. }) => description,
        Err(Refusal::Argument { field, description }) => format!("{field} {description}"),
        other => panic!("{other:?}"),
    }
}

fn done(hours: i64, case: &Case, action: &Action) -> (Case, Matter) {
    let before = matter(&[]);
    let by = case.owner().unwrap().to_string();
    let done = act(hours, case, &before, &by, action).unwrap();
    let after = before.after(&done.event);
    (done.case, after)
}

fn parties(case: &Case) -> Vec<(&str, Part)> {
    case.parties().map(|(agency, part)| (agency.as_str(), part)).collect()
}

#[test]
fn p4_p5_p7_a_refiled_case_goes_where_its_new_route_leads() {
    let (after, refiled) = done(
        2,
        &assigned("police-450100", &["police-440000"]),
        &filed(
            "consumer-harm",
            leads("market-regulator-450000"),
            &["content-regulator-450000"],
        ),
    );
    assert_eq!(after.state(), State::ASSIGNED);
    let duty = after.duty().unwrap();
    assert_eq!(duty.origin, Origin::Reclassified(id("police-450100")));
    // By the other category's time, in a generation of its own.
    assert_eq!((duty.clock.generation, duty.clock.due.0 / 3_600_000_000), (2, 14));
    assert_eq!(
        parties(&after),
        [
            ("market-regulator-450000", Part::Lead),
            ("content-regulator-450000", Part::Supporting),
            ("police-450100", Part::Giving),
        ],
        "who supported by the old route sees it no longer; who had it answers until it is taken over"
    );
    assert_eq!(refiled.category, "consumer-harm");
    assert_eq!(refiled.terms.unwrap().function.as_str(), "market-regulator");
    assert_eq!(after.course.former_categories, ["fraud.investment"]);
    // Without an agency, a superior designates.
    let superior = Destination::Designate {
        superior: id("market-regulator-CN"),
    };
    let (after, _) = done(
        2,
        &in_progress("police-450100", &[]),
        &filed("consumer-harm", superior, &[]),
    );
    assert_eq!(
        parties(&after),
        [("market-regulator-CN", Part::Designating)],
        "like a case that was declined"
    );
    assert_eq!(after.duty().unwrap().clock.rule, DESIGNATE);
    // The superior that must designate may file it, too.
    let (after, _) = done(2, &in_state(State::AWAITING_DESIGNATION), &to_market());
    assert_eq!(
        parties(&after),
        [
            ("market-regulator-450000", Part::Lead),
            ("police-450100", Part::Supporting)
        ]
    );
    // An excluded agency is passed over, whatever the route says.
    let case = assigned("police-450100", &[]);
    let excluded = matter(&["market-regulator-450000"]);
    let passed = act(2, &case, &excluded, "police-450100", &to_market()).unwrap().case;
    assert_eq!(passed.state(), State::AWAITING_DESIGNATION);
    assert_ne!(passed.owner(), Some(&id("market-regulator-450000")));
}

#[test]
fn p5_with_the_same_lead_only_its_terms_change() {
    let keeps = filed("consumer-harm", leads("police-450100"), &[]);
    // The sooner of two deadlines to acknowledge.
    let (after, _) = done(2, &assigned("police-450100", &[]), &keeps);
    assert_eq!(standing_of(&after), (State::ASSIGNED, "police-450100", 2, 14, vec![]));
    assert_eq!(after.duty().unwrap().origin, Origin::Routed);
    let (after, _) = done(20, &assigned("police-450100", &[]), &keeps);
    assert_eq!(standing_of(&after), (State::ASSIGNED, "police-450100", 1, 24, vec![]));
    // Half of a hundred hours is half of ten days.
    let case = in_progress("police-450100", &["police-440000"]);
    let (after, _) = done(50, &case, &keeps);
    let clock = &after.duty().unwrap().clock;
    assert_eq!(
        (after.state(), clock.generation, clock.ledger.used),
        (State::IN_PROGRESS, 3, 5)
    );
    // Elsewhere, too: the next lead has the other half.
    let (after, _) = done(50, &case, &to_market());
    assert_eq!(after.course.result_used, 5);
    // Of a time that is nearly over, a unit is left.
    let (after, _) = done(99, &case, &keeps);
    assert_eq!(after.duty().unwrap().clock.ledger.used, 9);
}

#[test]
fn who_was_asked_to_assist_still_supports() {
    let case = in_progress("police-450100", &[]);
    let asked = Action::RequestAssistance(RequestAssistance {
        of: id("police-440000"),
    });
    let (case, _) = done(1, &case, &asked);
    let (after, _) = done(2, &case, &filed("consumer-harm", leads("market-regulator-450000"), &[]));
    assert!(after.is_supported_by(&id("police-440000")));
    assert!(after.clocks.iter().any(|clock| clock.owner == id("police-440000")));
    // Not by its request, where the route names it.
    let (after, _) = done(
        2,
        &case,
        &filed("consumer-harm", leads("market-regulator-450000"), &["police-440000"]),
    );
    let supporting: Vec<_> = after.supporting.iter().map(|supporter| supporter.by_request).collect();
    assert_eq!(supporting, [false]);
}

#[test]
fn p4_a_case_does_not_come_back_to_a_category() {
    let case = assigned("police-450100", &[]);
    let refiled = |categories: &[&str]| Case {
        course: Course {
            former_categories: categories.iter().map(|id| (*id).to_owned()).collect(),
            ..Course::default()
        },
        ..case.clone()
    };
    let advises = Destination::Advise {
        zh: "甲".to_owned(),
        en: "A".to_owned(),
    };
    for (case, action, why) in [
        (
            &case,
            filed("fraud.investment", leads("police-450200"), &[]),
            "category is the one that it is filed under; name another",
        ),
        (
            &refiled(&["consumer-harm"]),
            to_market(),
            "category is one that it was filed under before; name another, or hand it on",
        ),
        (
            &refiled(&["a", "b", "c"]),
            to_market(),
            "the case is ASSIGNED, and it was filed under another category 3 times: hand it on, or decide it",
        ),
        (
            &case,
            reclassify(Refiled::NoCategory),
            "category is no category; `ListCategories` has them",
        ),
        (
            &case,
            reclassify(Refiled::Erased),
            "the case is ASSIGNED, and what it was routed by is erased: it cannot be routed anew",
        ),
        (
            &case,
            filed("consumer-harm", advises, &[]),
            "category is one under which no agency acts on such a report: propose `OUTSIDE_ANY_REMIT` instead",
        ),
    ] {
        assert_eq!(refused(2, case, &[], &action), why);
    }
    let twice = refiled(&["a", "b"]);
    assert!(act(2, &twice, &matter(&[]), "police-450100", &to_market()).is_ok());
}

/// Nobody is rid of a case by it that cannot be declined.
#[test]
fn p4_what_a_superior_gave_stays_or_goes_up() {
    let given = |course: Course| Case {
        course,
        ..assigned("police-450100", &[])
    };
    let by_superior = given(Course {
        given: Some(Given::BySuperior),
        ..Course::default()
    });
    let designated = given(Course {
        designated: vec![id("police-450100")],
        ..Course::default()
    });
    for case in [&by_superior, &designated] {
        let why = refused(2, case, &[], &to_market());
        assert!(why.contains("hand it up, and the superior can file it"), "{why}");
        // With the same lead, it only has other terms.
        let keeps = filed("consumer-harm", leads("police-450100"), &[]);
        assert!(act(2, case, &matter(&[]), "police-450100", &keeps).is_ok());
    }
    let claimed = given(Course {
        claimant: Some(id("police-440000")),
        ..Course::default()
    });
    let reviewed = given(Course {
        reviewed: vec![id("police-450200")],
        ..Course::default()
    });
    let mut paused = in_progress("police-450100", &[]);
    let watched = Case {
        supervisor: Some(id("police-450000")),
        ..in_progress("police-450100", &[])
    };
    let mut late = in_progress("police-450100", &[]);
    let mut term = in_progress("police-450100", &[]);
    if let Standing::Open(_, duty) = &mut paused.standing {
        duty.clock.ledger.paused = Some(Paused {
            ground: PauseGround::Hearing,
            until: Time(0).plus_seconds(90 * 3_600),
        });
    }
    if let Standing::Open(_, duty) = &mut late.standing {
        duty.clock.due = Time(0).plus_seconds(3_600);
    }
    if let Standing::Open(_, duty) = &mut term.standing {
        duty.clock.is_term = true;
    }
    for (case, why) in [
        (&claimed, "answer the claim first"),
        (&reviewed, "is under review"),
        (&paused, "resume it first"),
        (&late, "its deadline has passed"),
        (&term, "a superior set the term"),
        (&watched, "a superior supervises it"),
    ] {
        for action in [&to_market(), &filed("consumer-harm", leads("police-450100"), &[])] {
            let refused = refused(2, case, &[], action);
            assert!(refused.contains(why), "{refused}");
        }
    }
}

#[test]
fn a_supervisor_files_what_its_lead_may_not() {
    let watched = Case {
        supervisor: Some(id("police-450000")),
        ..in_progress("police-450100", &[])
    };
    let after = act(2, &watched, &matter(&[]), "police-450000", &to_market())
        .unwrap()
        .case;
    assert_eq!(after.owner(), Some(&id("market-regulator-450000")));
    // The receiver declines to whom both are under, like what was transferred.
    let given = Some(Given::ByPeer(id("police-450100")));
    assert_eq!(after.course.given, given);
}

/// Pauses count against their bounds, whatever the case is filed under.
#[test]
fn p5_pauses_stay_with_the_time_that_they_stopped() {
    let mut case = in_progress("police-450100", &[]);
    if let Standing::Open(_, duty) = &mut case.standing {
        duty.clock.ledger.pauses.push(Pause {
            start: Time(0),
            end: Time(0).plus_seconds(3_600),
            ground: PauseGround::Hearing,
        });
    }
    let (after, _) = done(2, &case, &filed("consumer-harm", leads("police-450100"), &[]));
    assert_eq!(after.duty().unwrap().clock.ledger.pauses.len(), 1);
}
