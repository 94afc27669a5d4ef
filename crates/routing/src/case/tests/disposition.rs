//! How a case is disposed of: the second person, the way to a resolved case, closing, reviews, and
//! opening again.

use api::event::{ReopenReason, ReviewRequester};
use proptest::prelude::*;

use super::{super::disposition::SecondPerson, *};

fn propose(kind: DispositionKind, officer: &str) -> Action {
    let note = CaseNote {
        officer: officer.to_owned(),
        ..proposed(kind).note
    };
    Action::Propose(Propose { what: what(kind), note })
}

fn review(approved: bool, officer: &str) -> Action {
    Action::Review(Review {
        approved,
        officer: officer.to_owned(),
        stood_in: false,
    })
}

fn request_review() -> Action {
    Action::RequestReview(RequestReview {
        notice: None,
        requester: ReviewRequester::Subject,
    })
}

fn reopen() -> Action {
    Action::Reopen(Reopen {
        reason: ReopenReason::NewInformation,
    })
}

fn by_lead(hours: i64, case: &Case, action: &Action) -> Result<Transition, Refusal> {
    let by = case.owner().unwrap().to_string();
    act(hours, case, &matter(&[]), &by, action)
}

fn after(case: &Case, action: &Action) -> Case {
    by_lead(2, case, action)
        .unwrap_or_else(|refusal| panic!("{refusal:?}"))
        .case
}

fn minor() -> Case {
    after(
        &in_progress("police-450100", &["police-440000"]),
        &propose(DispositionKind::Guidance, "o-1"),
    )
}

#[test]
fn a_minor_disposition_is_decided_at_once() {
    let case = minor();
    let (state, lead, generation, _, supporting) = standing_of(&case);
    assert_eq!(
        (state, lead, generation, supporting),
        (State::RESOLVED, "police-450100", 3, vec!["police-440000"])
    );
    assert_eq!(case.duty().unwrap().clock.rule, REVIEW);
    let disposition = case.disposition.unwrap();
    assert_eq!(disposition.decided.unwrap().reviewer, None);
    assert_eq!(disposition.by, id("police-450100"));
}

/// As in the third story: returned once with reasons, then approved.
#[test]
fn a_major_disposition_needs_a_second_person() {
    let case = in_progress("police-450100", &[]);
    let waiting = after(&case, &propose(DispositionKind::SuspectedCrime, "o-1"));
    assert_eq!(waiting.state(), State::IN_REVIEW);
    assert_eq!(waiting.duty(), case.duty(), "the time for the result runs on");
    assert_eq!(waiting.disposition.as_ref().unwrap().decided, None);
    let returned = after(&waiting, &review(false, "o-2"));
    assert_eq!((returned.state(), &returned.disposition), (State::IN_PROGRESS, &None));
    assert_eq!(returned.duty(), case.duty());
    let again = after(&returned, &propose(DispositionKind::SuspectedCrime, "o-1"));
    let approved = after(&again, &review(true, "o-2"));
    assert_eq!(approved.state(), State::RESOLVED);
    let decided = approved.disposition.unwrap().decided.unwrap();
    assert_eq!(decided.reviewer.as_deref(), Some("o-2"));
}

#[test]
fn the_row_that_routed_a_case_may_ask_for_a_second_person() {
    let mut strict = matter(&[]);
    strict.terms.as_mut().unwrap().review = rules::Review::SecondPerson;
    let case = in_progress("police-450100", &[]);
    let done = act(
        2,
        &case,
        &strict,
        "police-450100",
        &propose(DispositionKind::Guidance, "o-1"),
    );
    assert_eq!(done.unwrap().case.state(), State::IN_REVIEW);
    // One without terms is not decided by one person either.
    strict.terms = None;
    assert!(proposed(DispositionKind::Guidance).needs_second_person(&strict));
}

/// Approving and returning are both refused, however the name is written.
#[test]
fn the_proposer_is_no_second_person() {
    let case = in_progress("police-450100", &[]);
    for (proposer, reviewer) in [
        ("o-1", "o-1"),
        ("o-1", "O-1"),
        ("o-1", "o -1"),
        ("o-1", "ｏ－１"),
        ("王 警官", "王警官"),
        ("Łukasz", "łukasz"),
    ] {
        let waiting = after(&case, &propose(DispositionKind::SuspectedCrime, proposer));
        for approved in [true, false] {
            let refused = by_lead(3, &waiting, &review(approved, reviewer));
            assert!(
                matches!(&refused, Err(Refusal::NotYours { description }) if description.contains("another officer")),
                "{proposer} {reviewer}: {refused:?}"
            );
        }
    }
    let waiting = after(&case, &propose(DispositionKind::SuspectedCrime, "o-1"));
    assert!(by_lead(3, &waiting, &review(true, "o-10")).is_ok());
}

/// The one function that resolves refuses by itself, whoever calls it.
#[test]
fn nothing_resolves_a_major_case_without_a_second_person() {
    let (case, matter) = (in_progress("police-450100", &[]), matter(&[]));
    let before = Before {
        case: &case,
        matter: &matter,
        by: None,
    };
    let resolve = |kind, reviewer: Option<&str>| {
        let reviewer = reviewer.map(|officer| SecondPerson {
            officer,
            stood_in: officer == "o-3",
        });
        rules(2).resolved(Propose::RULE, before, proposed(kind), reviewer)
    };
    let refused = resolve(DispositionKind::SuspectedCrime, None);
    assert!(
        matches!(&refused, Err(Refusal::WrongState { description, .. }) if description.contains("second person")),
        "{refused:?}"
    );
    for no_other in ["o-1", "o-3"] {
        assert!(
            resolve(DispositionKind::SuspectedCrime, Some(no_other)).is_err(),
            "{no_other}"
        );
    }
    assert!(resolve(DispositionKind::SuspectedCrime, Some("o-2")).is_ok());
    assert!(resolve(DispositionKind::Guidance, None).is_ok());
}

/// Every kind, with and without the row's need: a proposal resolves what needs nobody else.
#[test]
fn only_a_second_person_resolves_a_major_case() {
    let kinds: Vec<_> = (1..64)
        .filter_map(|number| DispositionKind::try_from(number).ok())
        .collect();
    assert_eq!(kinds.len(), 14);
    for kind in kinds {
        for by_row in [rules::Review::None, rules::Review::SecondPerson] {
            let mut matter = matter(&[]);
            matter.category = "consumer-harm".to_owned();
            matter.terms.as_mut().unwrap().review = by_row;
            let mut case = in_progress("police-450100", &[]);
            case.course.withdrawal_requested = true;
            let done = act(2, &case, &matter, "police-450100", &propose(kind, "o-1"))
                .unwrap()
                .case;
            let needs = done.state() == State::IN_REVIEW;
            let is_major = [
                DispositionKind::Penalty,
                DispositionKind::SuspectedCrime,
                DispositionKind::HandedBack,
                DispositionKind::Fabricated,
            ]
            .contains(&kind);
            assert_eq!(needs, is_major || by_row == rules::Review::SecondPerson, "{kind:?}");
            if !needs {
                assert_eq!(done.state(), State::RESOLVED);
            }
        }
    }
}

#[test]
fn a_disposition_is_checked_before_it_is_taken() {
    let case = in_progress("police-450100", &[]);
    let with = |effects: &[DispositionEffect], kind: DispositionKind| {
        let what = event::Disposition {
            effects: effects.iter().map(|effect| (*effect).into()).collect(),
            ..what(kind)
        };
        Action::Propose(Propose {
            what,
            note: proposed(kind).note,
        })
    };
    let guidance = DispositionKind::Guidance;
    for (effects, kind, field, words) in [
        (&[][..], guidance, "disposition.effects", "is required"),
        (
            &[DispositionEffect::Removed, DispositionEffect::Removed],
            guidance,
            "disposition.effects",
            "twice",
        ),
        (
            &[DispositionEffect::None, DispositionEffect::Removed],
            guidance,
            "disposition.effects",
            "stands alone",
        ),
        (
            &[DispositionEffect::Sanctioned],
            DispositionKind::NoOffence,
            "disposition.effects",
            "goes with a penalty",
        ),
        (
            &[DispositionEffect::None],
            DispositionKind::Mediated,
            "disposition.kind",
            "consumer-harm",
        ),
    ] {
        match by_lead(2, &case, &with(effects, kind)) {
            Err(Refusal::Argument {
                field: named,
                description,
            }) => assert!(named == field && description.contains(words), "{named} {description}"),
            other => panic!("{other:?}"),
        }
    }
    let mut own = matter(&[]);
    own.category = "consumer-harm".to_owned();
    let mediated = with(&[DispositionEffect::None], DispositionKind::Mediated);
    assert!(act(2, &case, &own, "police-450100", &mediated).is_ok());
}

/// Nobody has to assist any more, and who saw the case for that alone sees it no longer.
#[test]
fn p7_a_decision_ends_requests_for_assistance() {
    let ask = |of: &str| Action::RequestAssistance(RequestAssistance { of: id(of) });
    let case = after(&in_progress("police-450100", &["police-440000"]), &ask("police-450200"));
    let case = after(&case, &ask("police-440000"));
    let decided = after(&case, &propose(DispositionKind::Guidance, "o-1"));
    assert!(decided.supporting().eq([&id("police-440000")]));
    assert_eq!(decided.clocks, []);
}

#[test]
fn p5_a_resolved_case_closes_when_the_time_for_a_review_ends() {
    let case = minor();
    let due = case.duty().unwrap().clock.due;
    let at = |now: Time| Rules { now, ..rules(0) };
    let clock = |now: Time| at(now).clock_missed(&case, &matter(&[]), ClockKind::Review, 3);
    assert_eq!(clock(Time(due.0 - 1)), None);
    let closed = clock(due).unwrap();
    assert_eq!((closed.event, closed.case.state()), (Event::Closed, State::CLOSED));
    let parties: Vec<_> = closed
        .case
        .parties()
        .map(|(agency, part)| (agency.as_str(), part))
        .collect();
    assert_eq!(
        parties,
        [("police-450100", Part::Deciding), ("police-440000", Part::Supporting)],
        "who decided still sees it"
    );
    assert_eq!(closed.case.all_clocks().count(), 0);
    assert_eq!(
        at(due).clock_missed(&closed.case, &matter(&[]), ClockKind::Review, 3),
        None,
        "once"
    );
}

/// The third story: the account's holder asks for a review, which goes to the nation.
#[test]
fn p4_a_review_goes_to_the_superior_and_never_back() {
    let mut case = minor();
    case.course.result_used = 99;
    let up = by_lead(3, &case, &request_review()).unwrap();
    assert_eq!(up.case.course.result_used, 0, "it has the whole time");
    assert_eq!(
        standing_of(&up.case),
        (
            State::ASSIGNED,
            "police-450000",
            4,
            27,
            vec!["police-440000", "police-450100"]
        )
    );
    assert_eq!(up.case.duty().unwrap().origin, Origin::Review(id("police-450100")));
    assert_eq!(up.case.disposition, None);
    let dispatch = |to: &str| {
        Action::Dispatch(Dispatch {
            to: id(to),
            reason: Reason::Level,
        })
    };
    let back = by_lead(4, &up.case, &dispatch("police-450100"));
    assert!(matches!(back, Err(Refusal::Argument { .. })), "{back:?}");
    // Nor by the last resort, whatever the way there.
    let conference = Case {
        standing: open(Stage::AwaitingDesignation, DESIGNATE, "conference-CN", &[], 5).standing,
        ..up.case.clone()
    };
    let designate = |agency: &str| Action::Designate(Designate { agency: id(agency) });
    let back = act(
        4,
        &conference,
        &matter(&[]),
        "conference-CN",
        &designate("police-450100"),
    );
    assert!(
        matches!(&back, Err(Refusal::Argument { description, .. }) if description.contains("review")),
        "{back:?}"
    );
    assert!(
        act(
            4,
            &conference,
            &matter(&[]),
            "conference-CN",
            &designate("police-440300")
        )
        .is_ok()
    );
    // Nor by climbing: from a unit under another branch it goes past the agency that was reviewed.
    let mut below = assigned("police-450200", &[]);
    below.course.reviewed = vec![id("police-450000")];
    let late = rules(10_000)
        .clock_missed(&below, &matter(&[]), ClockKind::Acknowledge, 1)
        .unwrap()
        .case;
    let handed = after(&below, &Action::Escalate(Escalate { reason: Reason::Level }));
    for above in [late, handed] {
        assert_eq!(above.owner(), Some(&id("police-CN")));
    }
    // The superior decides anew; a further review goes up again, and above the nation nobody decides.
    let taken = after(&up.case, &Action::Acknowledge(Acknowledge));
    let decided = after(&taken, &propose(DispositionKind::NoOffence, "s-1"));
    let up = after(&decided, &request_review());
    assert_eq!(up.owner(), Some(&id("police-CN")));
    let decided = after(
        &after(&up, &Action::Acknowledge(Acknowledge)),
        &propose(DispositionKind::NoOffence, "n-1"),
    );
    let refused = by_lead(3, &decided, &request_review());
    assert!(
        matches!(&refused, Err(Refusal::WrongState { description, .. }) if description.contains("remedies")),
        "{refused:?}"
    );
}

#[test]
fn a_review_is_requested_in_its_time_only() {
    let case = minor();
    let late = by_lead(24 * 70, &case, &request_review());
    assert!(
        matches!(&late, Err(Refusal::WrongState { description, .. }) if description.contains("has ended")),
        "{late:?}"
    );
}

/// The fifth story: what a reporter adds after closing may open the case again.
#[test]
fn p5_a_case_is_opened_again_with_the_whole_time() {
    let mut used = minor();
    used.course.result_used = 99;
    let closed = rules(24 * 100)
        .clock_missed(&used, &matter(&[]), ClockKind::Review, 3)
        .unwrap()
        .case;
    for (case, by) in [(&used, "police-450100"), (&closed, "police-450100")] {
        let again = act(5, case, &matter(&[]), by, &reopen()).unwrap().case;
        assert_eq!(standing_of(&again), (State::ASSIGNED, by, 4, 29, vec!["police-440000"]));
        assert_eq!((again.disposition, again.course.result_used), (None, 0));
    }
    let other = act(5, &closed, &matter(&[]), "police-440000", &reopen());
    assert!(matches!(other, Err(Refusal::NotYours { .. })), "{other:?}");
    assert_eq!(
        act(5, &closed, &matter(&[]), "police-450000", &reopen()),
        Err(Refusal::Unseen)
    );
}

proptest! {
    /// Whatever officers do in whatever order: a case is resolved with a decided disposition, of a
    /// major kind only by two people, and in no other state is one decided.
    #[test]
    fn a_resolved_case_has_a_decision_by_two_people_where_it_needs_them(
        steps in proptest::collection::vec((0_usize..7, 0_usize..3, 1_i32..15), 1..40),
    ) {
        let officers = ["o-1", "O -1", "o-2"];
        let mut matter = matter(&[]);
        matter.category = "consumer-harm".to_owned();
        let mut case = assigned("police-450100", &["police-440000"]);
        for (verb, officer, kind) in steps {
            let kind = DispositionKind::try_from(kind).unwrap();
            let action = match verb {
                0 => Action::Acknowledge(Acknowledge),
                1 | 2 => propose(kind, officers[officer]),
                3 | 4 => review(verb == 3, officers[officer]),
                5 => reopen(),
                _ => request_review(),
            };
            let Some(by) = case.owner().map(ToString::to_string) else { break };
            if let Ok(transition) = act(1, &case, &matter, &by, &action) {
                case = transition.case;
            }
            let decided = case.disposition.as_ref().and_then(|disposition| disposition.decided.as_ref());
            prop_assert_eq!(decided.is_some(), case.state() == State::RESOLVED);
            prop_assert_eq!(case.disposition.is_some(), matches!(case.state(), State::RESOLVED | State::IN_REVIEW));
            if let (Some(decided), Some(disposition)) = (decided, &case.disposition)
                && disposition.needs_second_person(&matter)
            {
                let reviewer = decided.reviewer.as_deref().unwrap_or_default();
                let pair = [disposition.note.officer.as_str(), reviewer].map(|name| name == "o-2");
                prop_assert!(!reviewer.is_empty() && pair[0] != pair[1], "{:?}", disposition);
            }
        }
    }
}
