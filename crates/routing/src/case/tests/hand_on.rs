//! The verbs that give a case to another agency: who gets it, who sees it, under which clock, and
//! that it ends.

use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

fn decline(better: Option<&str>) -> Action {
    Action::Decline(Decline {
        reason: Reason::Place,
        better: better.map(id),
    })
}

fn transfer(to: &str) -> Action {
    Action::Transfer(Transfer {
        to: id(to),
        reason: Reason::Place,
        keep_supporting: false,
    })
}

fn escalate() -> Action {
    Action::Escalate(Escalate { reason: Reason::Level })
}

fn dispatch(to: &str) -> Action {
    Action::Dispatch(Dispatch {
        to: id(to),
        reason: Reason::Level,
    })
}

fn designate(agency: &str) -> Action {
    Action::Designate(Designate { agency: id(agency) })
}

/// The case after its owner acts.
fn after(case: &Case, action: &Action) -> Case {
    let by = case.owner().unwrap().to_string();
    act(2, case, &matter(&[]), &by, action)
        .unwrap_or_else(|refusal| panic!("{}: {refusal:?}", action.rule().name))
        .case
}

/// Why the owner may not act, in words.
fn refused(case: &Case, excluded: &[&str], action: &Action) -> String {
    let by = case.owner().unwrap().to_string();
    match act(2, case, &matter(excluded), &by, action) {
        Err(Refusal::WrongState { description, .. }) => description,
        Err(Refusal::Argument { field, description }) => format!("{field} {description}"),
        other => panic!("{}: {other:?}", action.rule().name),
    }
}

fn parties(case: &Case) -> Vec<(&str, Part)> {
    case.parties().map(|(agency, part)| (agency.as_str(), part)).collect()
}

/// The fourth story: the operator has moved from Nanning to Liuzhou.
#[test]
fn p4_a_declined_case_goes_to_the_common_superior_who_designates() {
    let case = assigned("police-450100", &["police-440000"]);
    let declined = after(&case, &decline(Some("police-450200")));
    assert_eq!(
        standing_of(&declined).1,
        "police-450000",
        "the common superior of Nanning and Liuzhou"
    );
    assert_eq!(declined.state(), State::AWAITING_DESIGNATION);
    assert_eq!(declined.duty().unwrap().origin, Origin::Declined(id("police-450100")));
    assert_eq!(declined.duty().unwrap().clock.rule, DESIGNATE);
    assert_eq!(
        parties(&declined),
        [
            ("police-450000", Part::Designating),
            ("police-440000", Part::Supporting)
        ],
        "who declined sees it no longer"
    );
    let designated = after(&declined, &designate("police-450200"));
    assert_eq!(
        standing_of(&designated),
        (State::ASSIGNED, "police-450200", 3, 26, vec!["police-440000"])
    );
    assert_eq!(
        refused(&designated, &[], &decline(None)),
        "the case is ASSIGNED, and a superior gave it to you: that cannot be declined; take it over, or hand it up \
         with a reason"
    );
    // Without a better agency, the lead's own superior designates; over provinces, the nation.
    assert_eq!(after(&case, &decline(None)).owner(), Some(&id("police-450000")));
    let far = after(&case, &decline(Some("police-510100")));
    assert_eq!(far.owner(), Some(&id("police-CN")));
    // No superior of the one is above the other, and nobody is above the nation.
    let top = assigned("police-CN", &[]);
    assert_eq!(after(&top, &decline(None)).owner(), Some(&id("conference-CN")));
}

/// Claims and disputes of stories: no desk of one province is above another's.
#[test]
fn p4_a_transferred_case_is_declined_to_the_lowest_common_superior() {
    for (from, to, superior) in [
        ("police-450100", "police-450200", "police-450000"),
        ("police-210200", "police-350200", "police-CN"),
    ] {
        let transferred = after(&assigned(from, &[]), &transfer(to));
        let declined = after(&transferred, &decline(Some(from)));
        assert_eq!(declined.owner(), Some(&id(superior)), "{from} → {to}");
        assert_eq!(
            parties(&declined),
            [(superior, Part::Designating)],
            "neither has it meanwhile"
        );
    }
}

#[test]
fn p7_a_transfer_moves_owner_clock_and_sight_and_the_giver_answers_until_it_is_taken_over() {
    let case = in_progress("police-450100", &["police-440000", "police-510100"]);
    let given = after(&case, &transfer("police-510100"));
    assert_eq!(
        standing_of(&given),
        (State::ASSIGNED, "police-510100", 3, 26, vec!["police-440000"]),
        "who supported it leads now, under a clock of its own"
    );
    assert_eq!(
        parties(&given),
        [
            ("police-510100", Part::Lead),
            ("police-440000", Part::Supporting),
            ("police-450100", Part::Giving)
        ]
    );
    let taken = after(&given, &Action::Acknowledge(Acknowledge));
    assert_eq!(
        parties(&taken),
        [("police-510100", Part::Lead), ("police-440000", Part::Supporting)]
    );
    // Two of a hundred hours were used before.
    assert_eq!(
        standing_of(&taken),
        (State::IN_PROGRESS, "police-510100", 4, 100, vec!["police-440000"])
    );
    assert_eq!(taken.duty().unwrap().clock.ledger.used, 2 * 3_600_000_000);
    // Whoever stays supports.
    let keep = Action::Transfer(Transfer {
        to: id("police-510100"),
        reason: Reason::BetterPlaced,
        keep_supporting: true,
    });
    let kept = after(&after(&case, &keep), &Action::Acknowledge(Acknowledge));
    assert!(kept.is_supported_by(&id("police-450100")) && kept.giver.is_none());
}

#[test]
fn p5_what_the_missed_clock_used_up_is_not_used_twice() {
    // The receiver takes it over and misses the result: its superior has the whole time again.
    let given = after(&in_progress("police-450100", &[]), &transfer("police-440300"));
    let taken = after(&given, &Action::Acknowledge(Acknowledge));
    let late = missed(&rules(1_000), &taken, &matter(&[]), 4).unwrap().case;
    assert_eq!(late.owner(), Some(&id("police-440000")));
    let taken = act(
        1_001,
        &late,
        &matter(&[]),
        "police-440000",
        &Action::Acknowledge(Acknowledge),
    );
    assert_eq!(standing_of(&taken.unwrap().case).3, 1_101);
}

#[test]
fn p4_what_came_from_another_agency_is_not_transferred_again() {
    let again = "the case is ASSIGNED, and it came to you from another agency: it cannot be transferred again, \
                 only handed up";
    let routed = assigned("police-450100", &[]);
    for came in [
        after(&routed, &transfer("police-440300")),
        after(&routed, &escalate()),
        after(&after(&routed, &decline(None)), &designate("police-450200")),
        missed(&rules(1_000), &routed, &matter(&[]), 1).unwrap().case,
    ] {
        assert_eq!(refused(&came, &[], &transfer("police-510100")), again);
    }
}

#[test]
fn p4_the_last_resort_has_the_last_word() {
    let top = after(&assigned("police-CN", &[]), &decline(None));
    let designated = after(&top, &designate("police-510100"));
    assert_eq!(
        refused(&designated, &[], &escalate()),
        "the case is ASSIGNED, and the last resort gave it to you: that is final; take it over"
    );
    assert!(refused(&designated, &[], &decline(None)).contains("cannot be declined"));
}

#[test]
fn p4_a_superior_designates_each_once_and_dispatches_to_none_that_led() {
    let declined = after(&assigned("police-450100", &[]), &decline(None));
    // The one that declined may be told to take it: that is what designation is for.
    let told = after(&declined, &designate("police-450100"));
    let back = after(&told, &escalate());
    assert_eq!(standing_of(&back).1, "police-450000");
    assert_eq!(
        refused(&back, &[], &dispatch("police-450100")),
        "agency has led the case before; keep it, or dispatch it to another unit"
    );
    let down = after(&back, &dispatch("police-450200"));
    assert_eq!(down.duty().unwrap().origin, Origin::Dispatched(id("police-450000")));
    assert!(down.is_supported_by(&id("police-450000")) && down.is_supported_by(&id("police-450100")));
    let up = after(&after(&down, &escalate()), &decline(None));
    assert_eq!(up.owner(), Some(&id("police-CN")), "handed on before: upward only");
    assert_eq!(
        refused(&up, &[], &designate("police-450100")),
        "agency was designated before, and the case came back; designate another"
    );
}

/// However a case comes back to an agency, what bound it binds it still.
#[test]
fn p4_what_binds_an_agency_binds_it_when_the_case_comes_back() {
    // The last resort designated a superior, which dispatched, and gets it back.
    let top = after(&assigned("police-CN", &[]), &decline(None));
    let down = after(&after(&top, &designate("police-450000")), &dispatch("police-450100"));
    let back = after(&down, &escalate());
    assert_eq!(back.owner(), Some(&id("police-450000")));
    assert!(refused(&back, &[], &decline(None)).contains("cannot be declined"));
    assert!(refused(&back, &[], &escalate()).contains("that is final"));
    // Who missed its clock led it, too.
    let late = missed(&rules(1_000), &assigned("police-450100", &[]), &matter(&[]), 1)
        .unwrap()
        .case;
    let again = act(1_001, &late, &matter(&[]), "police-450000", &dispatch("police-450100"));
    assert!(
        matches!(&again, Err(Refusal::Argument { description, .. }) if description.contains("has led the case before")),
        "{again:?}"
    );
}

#[test]
fn p5_nobody_gets_a_case_whose_time_has_run_out() {
    let case = in_progress("police-450100", &[]);
    let at = |hours: i64, case: &Case, action: &Action| {
        let by = case.owner().unwrap().to_string();
        act(hours, case, &matter(&[]), &by, action)
    };
    // Past the deadline it goes up, and nowhere else.
    let late = at(101, &case, &transfer("police-510100"));
    assert!(
        matches!(&late, Err(Refusal::WrongState { description, .. }) if description.contains("deadline has passed")),
        "{late:?}"
    );
    // In its last minutes the receiver has its last unit.
    let given = rules(0);
    let almost = Rules {
        now: Time(100 * 3_600_000_000 - 1),
        ..given
    };
    let given = almost.act(
        &case,
        &matter(&[]),
        &Party::Agency(id("police-450100")),
        &transfer("police-510100"),
    );
    let taken = at(110, &given.unwrap().case, &Action::Acknowledge(Acknowledge))
        .unwrap()
        .case;
    assert_eq!(standing_of(&taken).3, 111);
}

#[test]
fn p7_the_giver_keeps_its_part_when_it_would_be_asked_to_assist() {
    let asked = act(
        2,
        &in_progress("police-450000", &[]),
        &matter(&[]),
        "police-450000",
        &Action::RequestAssistance(RequestAssistance {
            of: id("police-450100"),
        }),
    );
    let given = after(&asked.unwrap().case, &transfer("police-440000"));
    let clock = &given.clocks[0];
    let passed = rules(1_000).clock_missed(&given, &matter(&[]), ClockKind::Assist, clock.generation);
    let passed = passed.unwrap().case;
    assert!(
        parties(&passed).contains(&("police-450000", Part::Giving)),
        "{:?}",
        parties(&passed)
    );
    assert!(passed.clocks.is_empty(), "it knows");
}

/// The top desk can decline to the last resort, who designates; it cannot make that one lead.
#[test]
fn p4_the_last_resort_is_not_made_to_lead() {
    let why = refused(&assigned("police-CN", &[]), &[], &escalate());
    assert!(why.contains("leads no case"), "{why}");
}

/// Everybody who must not get a case, by every door.
#[test]
fn p7_nobody_hands_a_case_to_one_that_must_not_have_it() {
    let lead = assigned("police-450000", &[]);
    let awaiting = after(&assigned("police-450100", &[]), &decline(None));
    let excluded = &["police-450200"];
    let none = "is no agency of the directory in force; `ListAgencies` has them";
    let other = "does not have the function `police`; `ListDesks` has those at a place";
    let kept_out = "is excluded from the case; name another agency";
    for (case, to, why) in [
        (&lead, "police-999999", none),
        (&lead, "content-regulator-450000", other),
        (&lead, "police-450200", kept_out),
        (&lead, "police-450000", "leads the case itself; name another agency"),
        (&awaiting, "police-999999", none),
        (&awaiting, "content-regulator-450000", other),
        (&awaiting, "police-450200", kept_out),
        (
            &awaiting,
            "police-510100",
            "is not under your agency; designate your own or one under it",
        ),
    ] {
        let doors: &[(&str, Action)] = match case.state() {
            State::AWAITING_DESIGNATION => &[("agency", designate(to))],
            _ => &[
                ("agency", transfer(to)),
                ("agency", dispatch(to)),
                ("better_agency", decline(Some(to))),
            ],
        };
        for (field, action) in doors {
            assert_eq!(
                refused(case, excluded, action),
                format!("{field} {why}"),
                "{}",
                action.rule().name
            );
        }
    }
    for (action, why) in [
        (
            transfer("police-450300"),
            "agency is under your agency; dispatch the case to it",
        ),
        (
            transfer("police-CN"),
            "agency is a superior of your agency; hand the case up",
        ),
        (
            dispatch("police-440000"),
            "agency is not under your agency; `TransferCase` hands a case to a peer",
        ),
        (
            decline(Some("police-450300")),
            "better_agency is under your agency; dispatch the case to it",
        ),
    ] {
        assert_eq!(refused(&lead, &[], &action), why);
    }
}

/// Whatever owners do, a case has one owner, a clock, parties each once, none of them excluded; and
/// it changes hands a bounded number of times.
#[test]
fn p4_p5_p7_random_ways_of_a_case_end() {
    let mut random = StdRng::seed_from_u64(testkit::seed());
    let police: Vec<&str> = Directory::shipped()
        .agencies()
        .map(|agency| agency.id.as_str())
        .filter(|id| id.starts_with("police-45") || id.starts_with("police-44") || *id == "police-CN")
        .chain(["content-regulator-450000", "conference-CN"])
        .collect();
    let mut longest = 0;
    for _ in 0..200 {
        let pick = |random: &mut StdRng| police[random.random_range(0..police.len())];
        let excluded = match random.random_bool(0.3) {
            true => vec!["police-450200"],
            false => vec![],
        };
        let matter = matter(&excluded);
        let mut case = assigned("police-450100", &["police-440000"]);
        let (mut hands, mut hours) = (0, 1);
        for _ in 0..400 {
            hours += random.random_range(0..3);
            let to = pick(&mut random);
            let action = match random.random_range(0..7) {
                0 => decline(random.random_bool(0.5).then_some(to)),
                1 => transfer(to),
                2 => escalate(),
                3 => dispatch(to),
                4 | 5 => designate(to),
                _ => Action::Acknowledge(Acknowledge),
            };
            let by = case.owner().unwrap().clone();
            let done = match random.random_bool(0.05) {
                true => {
                    let clock = &case.duty().unwrap().clock;
                    hours = hours.max(clock.due.0 / 3_600_000_000 + 1);
                    missed(&rules(hours), &case, &matter, clock.generation).expect("it is due")
                }
                false => match rules(hours).act(&case, &matter, &Party::Agency(by.clone()), &action) {
                    Ok(done) => done,
                    Err(_) => continue,
                },
            };
            let next = done.case;
            assert!(next.duty().unwrap().clock.due > rules(hours).now, "it runs: {next:?}");
            hands += u32::from(next.owner() != Some(&by));
            let duty = next.duty().expect("it is open");
            assert_eq!(duty.clock.owner, duty.owner);
            assert!(duty.clock.generation > case.generation || next.generation == case.generation);
            let all: Vec<_> = next.parties().map(|(agency, _)| agency).collect();
            assert_eq!(
                all.iter().collect::<BTreeSet<_>>().len(),
                all.len(),
                "each once: {all:?}"
            );
            for agency in all {
                assert!(!excluded.contains(&agency.as_str()), "{agency} is excluded");
            }
            if next.state() == State::ASSIGNED {
                let lead = Directory::shipped().agency(&duty.owner).unwrap();
                let escalated = matches!(duty.origin, Origin::Escalated(_));
                let police = lead.functions.iter().any(|function| function.as_str() == "police");
                assert!(police || escalated, "{} leads", duty.owner);
            }
            case = next;
        }
        longest = longest.max(hands);
    }
    // Each agency leads at most twice by a superior's word, and goes up from each at most twice.
    let bound = u32::try_from(6 * police.len()).unwrap();
    assert!(longest > 3 && longest < bound, "{longest} changes of hands, of {bound}");
}
