//! Claims to lead a case, and agencies that step aside.

use std::collections::BTreeSet;

use super::*;

fn claim(hours: i64, case: &Case, by: &str) -> Result<Transition, Refusal> {
    let claim = Action::ClaimLead(ClaimLead { reason: Reason::Place });
    act(hours, case, &matter(&[]), by, &claim)
}

fn answer(hours: i64, case: &Case, agreed: bool) -> Result<Transition, Refusal> {
    let by = case.owner().unwrap().to_string();
    let answer = Action::AnswerClaim(AnswerClaim { agreed });
    act(hours, case, &matter(&[]), &by, &answer)
}

fn refused<T: std::fmt::Debug>(done: Result<T, Refusal>) -> String {
    match done {
        Err(Refusal::WrongState { description, .. } | Refusal::NotYours { description }) => description,
        Err(Refusal::Argument { field, description }) => format!("{field} {description}"),
        other => panic!("{other:?}"),
    }
}

fn parties(case: &Case) -> Vec<(&str, Part)> {
    case.parties().map(|(agency, part)| (agency.as_str(), part)).collect()
}

#[test]
fn p4_who_cannot_assist_claims_no_lead() {
    let ask = Action::RequestAssistance(RequestAssistance {
        of: id("police-450200"),
    });
    let asked = act(
        2,
        &in_progress("police-450100", &[]),
        &matter(&[]),
        "police-450100",
        &ask,
    )
    .unwrap()
    .case;
    let claimed = claim(2, &asked, "police-450200").unwrap().case;
    let unable = Action::AnswerAssistance(AnswerAssistance { answer: Answer::Unable });
    let after = act(3, &claimed, &matter(&[]), "police-450200", &unable).unwrap().case;
    assert_eq!(
        (&after.course.claimant, after.clocks.len(), after.supporting.len()),
        (&None, 0, 0)
    );
}

/// The sixth story: Xiamen claims what Dalian leads, and Dalian disagrees.
#[test]
fn p4_a_disputed_claim_goes_to_the_lowest_common_superior() {
    let case = in_progress("police-210200", &["police-350200"]);
    let claimed = claim(2, &case, "police-350200").unwrap().case;
    assert_eq!(claimed.duty(), case.duty(), "the lead goes on");
    let clock = &claimed.clocks[0];
    assert_eq!((clock.rule, clock.owner.as_str()), (CLAIM, "police-210200"));
    let disputed = answer(3, &claimed, false).unwrap().case;
    assert_eq!(
        parties(&disputed),
        [
            ("police-CN", Part::Designating),
            ("police-350200", Part::Supporting),
            ("police-210200", Part::Supporting)
        ]
    );
    assert_eq!(disputed.duty().unwrap().origin, Origin::Disputed(id("police-210200")));
    assert!(!disputed.is_claimed_by(&id("police-350200")));
    let designate = Action::Designate(Designate {
        agency: id("police-350200"),
    });
    let designated = act(4, &disputed, &matter(&[]), "police-CN", &designate).unwrap().case;
    assert_eq!(
        parties(&designated),
        [("police-350200", Part::Lead), ("police-210200", Part::Supporting)]
    );
    // A superior decided: nobody claims it any more.
    let again = refused(claim(5, &designated, "police-210200"));
    assert!(again.contains("settled already"), "{again}");
}

#[test]
fn p4_who_claimed_a_case_leads_it_and_cannot_decline() {
    let case = in_progress("police-450100", &["police-450200", "police-440000"]);
    let claimed = claim(2, &case, "police-450200").unwrap().case;
    let agreed = answer(3, &claimed, true).unwrap().case;
    assert_eq!(
        standing_of(&agreed),
        (
            State::ASSIGNED,
            "police-450200",
            4,
            27,
            vec!["police-440000", "police-450100"]
        )
    );
    assert_eq!(agreed.clocks, []);
    let decline = Action::Decline(Decline {
        reason: Reason::Place,
        better: None,
    });
    let declined = refused(act(4, &agreed, &matter(&[]), "police-450200", &decline));
    assert!(declined.contains("your agency claimed it"), "{declined}");
    let back = refused(claim(4, &agreed, "police-450100"));
    assert!(back.contains("settled already"), "{back}");
}

#[test]
fn p5_a_claim_that_is_not_answered_in_time_is_disputed() {
    let case = in_progress("police-450100", &["police-450200"]);
    let claimed = claim(2, &case, "police-450200").unwrap().case;
    let clock = &claimed.clocks[0];
    let at = |now: Time| Rules { now, ..rules(0) };
    let missed = |now| at(now).clock_missed(&claimed, &matter(&[]), ClockKind::Claim, clock.generation);
    assert_eq!(missed(Time(clock.due.0 - 1)), None);
    // The time for the result has not run out here.
    let mut claimed = claimed.clone();
    if let Standing::Open(_, duty) = &mut claimed.standing {
        duty.clock = rules(0).clock(&duty.owner, rule(ClockKind::Result, 100_000), 2);
    }
    let generation = claimed.clocks[0].generation;
    let due = claimed.clocks[0].due;
    let done = at(due)
        .clock_missed(&claimed, &matter(&[]), ClockKind::Claim, generation)
        .unwrap();
    assert!(matches!(done.event, Event::ClaimDisputed { .. }), "{:?}", done.event);
    assert_eq!(
        (done.case.state(), done.case.owner()),
        (State::AWAITING_DESIGNATION, Some(&id("police-450000")))
    );
    assert_eq!(done.case.clocks, []);
    // Where the lead's own time has run out as well, the claim ends; the superior has the case next.
    let mut late = claimed;
    if let Standing::Open(_, duty) = &mut late.standing {
        duty.clock.due = due;
    }
    let done = at(due)
        .clock_missed(&late, &matter(&[]), ClockKind::Claim, generation)
        .unwrap();
    assert_eq!((done.case.course.claimant, done.case.clocks.len()), (None, 0));
}

#[test]
fn who_may_claim() {
    let case = in_progress("police-450100", &["police-450200", "content-450000", "police-440000"]);
    let claimed = claim(2, &case, "police-450200").unwrap().case;
    let second = refused(claim(2, &claimed, "police-440000"));
    assert!(second.contains("agencies/police-450200 claims it already"), "{second}");
    let other = refused(claim(2, &case, "content-450000"));
    assert!(other.contains("function"), "{other}");
    assert_eq!(claim(2, &case, "police-450300"), Err(Refusal::Unseen));
    let none = refused(answer(2, &case, true));
    assert!(none.contains("nobody claims"), "{none}");
    // The claim is answered before the case is decided, and ends with any other change of the lead.
    let propose = Action::Propose(Propose {
        what: what(DispositionKind::Guidance),
        note: CaseNote::default(),
    });
    let open = refused(act(2, &claimed, &matter(&[]), "police-450100", &propose));
    assert!(open.contains("answer the claim first"), "{open}");
    let up = Action::Escalate(Escalate { reason: Reason::Level });
    let up = act(2, &claimed, &matter(&[]), "police-450100", &up).unwrap().case;
    assert_eq!((&up.course.claimant, up.clocks.len()), (&None, 0));
    let clock = claimed.duty().unwrap().clock.clone();
    let late = rules(10_000).clock_missed(&claimed, &matter(&[]), clock.kind(), clock.generation);
    let late = late.unwrap().case;
    assert_eq!((&late.course.claimant, late.clocks.len()), (&None, 0));
    // An agency that led it does not claim it back.
    for action in [
        Action::Transfer(Transfer {
            to: id("police-510100"),
            reason: Reason::Place,
            keep_supporting: false,
        }),
        Action::Dispatch(Dispatch {
            to: id("police-450300"),
            reason: Reason::Level,
        }),
    ] {
        let open = refused(act(2, &claimed, &matter(&[]), "police-450100", &action));
        assert!(open.contains("answer the claim first"), "{open}");
    }
    // Above the last resort nobody could decide about a claim.
    let last = refused(claim(
        2,
        &in_progress("conference-CN", &["police-450200"]),
        "police-450200",
    ));
    assert!(last.contains("nobody is above its lead"), "{last}");
    let back = refused(claim(3, &up, "police-450100"));
    assert!(back.contains("led it before"), "{back}");
}

fn recuse(case: &Case, by: &str) -> Case {
    let done = act(2, case, &matter(&[]), by, &Action::Recuse(Recuse)).unwrap();
    assert_eq!(done.event, Event::Recused { agency: id(by) });
    done.case
}

#[test]
fn p4_a_lead_that_steps_aside_leaves_the_case_to_its_superior() {
    for case in [
        assigned("police-450000", &["police-450100"]),
        in_progress("police-450000", &[]),
    ] {
        let after = recuse(&case, "police-450000");
        assert_eq!(
            parties(&after),
            [("police-CN", Part::Designating)],
            "units under it as well"
        );
        assert_eq!(after.duty().unwrap().origin, Origin::Recused(id("police-450000")));
        assert_eq!(after.duty().unwrap().clock.rule, DESIGNATE);
    }
}

/// A lead under the agency that steps aside would be excluded with it: it leaves the case as well,
/// whether its time has run out or not.
#[test]
fn p4_a_superior_that_steps_aside_takes_the_lead_under_it_along() {
    let case = in_progress("police-450100", &["police-450000", "police-440000"]);
    for hours in [2, 10_000] {
        let done = act(hours, &case, &matter(&[]), "police-450000", &Action::Recuse(Recuse))
            .unwrap()
            .case;
        assert_eq!(
            parties(&done),
            [("police-CN", Part::Designating), ("police-440000", Part::Supporting)],
            "after {hours} hours"
        );
        assert_eq!(done.duty().unwrap().origin, Origin::Recused(id("police-450100")));
    }
}

#[test]
fn p7_a_supporting_agency_that_steps_aside_has_no_part_any_more() {
    let case = in_progress("police-450100", &["police-440000", "police-440300", "police-450200"]);
    let claimed = claim(2, &case, "police-440300").unwrap().case;
    let after = recuse(&claimed, "police-440000");
    assert_eq!(
        parties(&after),
        [("police-450100", Part::Lead), ("police-450200", Part::Supporting)]
    );
    assert_eq!(after.course.claimant, None, "it was under the one that stepped aside");
    assert_eq!(after.duty(), claimed.duty());
    let mut given = assigned("police-450200", &[]);
    given.giver = Some(id("police-450100"));
    assert_eq!(recuse(&given, "police-450100").giver, None);
}

/// Nobody is left who could lead it: it is refused, and the case keeps its owner.
#[test]
fn p4_the_only_ones_that_could_lead_cannot_step_aside() {
    // All police are under the nation.
    for case in [
        in_progress("police-CN", &[]),
        in_progress("police-450100", &["police-CN"]),
    ] {
        let done = act(2, &case, &matter(&[]), "police-CN", &Action::Recuse(Recuse));
        assert!(refused(done).contains("nobody could lead it"));
    }
}

/// The last resort leaves a case to its substitute.
#[test]
fn p4_the_last_resort_steps_aside_for_its_substitute() {
    let case = open(Stage::AwaitingDesignation, DESIGNATE, "conference-CN", &[], 1);
    let last = Directory::shipped().last_resort_of(&[], &BTreeSet::from([id("conference-CN")]));
    let done = act(2, &case, &matter(&[]), "conference-CN", &Action::Recuse(Recuse));
    assert_ne!(last.designates, &id("conference-CN"));
    assert_eq!(done.unwrap().case.owner(), Some(last.designates));
}
