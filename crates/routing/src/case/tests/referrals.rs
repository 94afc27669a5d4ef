//! A suspected crime: handed over within a day, answered within three, and never let go.

use super::*;

/// The market regulator of Guangxi decided that it is a crime, in hour 0.
fn decided_crime() -> Case {
    let regulator = "market-regulator-450000";
    let case = Case {
        disposition: Some(Disposition {
            by: id(regulator),
            holder: id(regulator),
            ..proposed(DispositionKind::SuspectedCrime)
        }),
        ..open(
            Stage::InReview,
            rule(ClockKind::Result, 100),
            regulator,
            &["police-440000"],
            2,
        )
    };
    let approve = Action::Review(Review {
        approved: true,
        officer: "o-2".to_owned(),
        stood_in: false,
    });
    act(0, &case, &regulated(), regulator, &approve).unwrap().case
}

fn regulated() -> Matter {
    let mut matter = matter(&[]);
    matter.terms.as_mut().unwrap().function = Function::new("market-regulator").unwrap();
    matter
}

fn refer(to: &str) -> Action {
    Action::ReferCrime(ReferCrime { to: id(to) })
}

fn answer(taken: bool) -> Action {
    Action::AnswerReferral(AnswerReferral { taken })
}

fn done(hours: i64, case: &Case, by: &str, action: &Action) -> Case {
    act(hours, case, &regulated(), by, action)
        .unwrap_or_else(|refusal| panic!("{by}: {refusal:?}"))
        .case
}

fn referred() -> Case {
    done(1, &decided_crime(), "market-regulator-450000", &refer("police-450100"))
}

/// Kind, owner and due hour of the clocks beside the duty's.
fn clocks(case: &Case) -> Vec<(ClockKind, &str, i64)> {
    let clock = |clock: &'_ Clock| clock.due.0 / 3_600_000_000;
    case.clocks
        .iter()
        .map(|running| (running.kind(), running.owner.as_str(), clock(running)))
        .collect()
}

fn part(case: &Case, agency: &str) -> Option<Part> {
    case.parties()
        .find(|(id, _)| id.as_str() == agency)
        .map(|(_, part)| part)
}

fn refused(case: &Case, by: &str, action: &Action) -> String {
    format!("{:?}", act(2, case, &regulated(), by, action).unwrap_err())
}

#[test]
fn p5_a_crime_is_handed_over_within_a_day_and_answered_within_three() {
    let case = decided_crime();
    assert_eq!(clocks(&case), [(ClockKind::Refer, "market-regulator-450000", 24)]);
    let case = referred();
    let (kind, owner, due) = clocks(&case)[0];
    assert_eq!(
        (clocks(&case).len(), kind, owner),
        (1, ClockKind::Receive, "police-450100")
    );
    assert!((72..=97).contains(&due), "three days, counted from the next: {due}");
    assert_eq!(
        part(&case, "police-450100"),
        Some(Part::Informed),
        "it reads the papers"
    );
    assert_eq!(part(&case, "police-440000"), Some(Part::Supporting));
    let taken = done(5, &case, "police-450100", &answer(true));
    assert_eq!((taken.state(), clocks(&taken)), (State::RESOLVED, vec![]));
    assert_eq!(part(&taken, "police-450100"), Some(Part::Informed));
    let referral = taken.course.referral.as_ref().unwrap();
    assert_eq!(referral.taken, Some(rules(5).now));
    // Only then it closes in its time.
    let end = |case: &Case| {
        let clock = case.duty().unwrap().clock.clone();
        let late = rules(clock.due.0 / 3_600_000_000 + 1);
        late.clock_missed(case, &regulated(), clock.kind(), clock.generation)
            .unwrap()
    };
    assert_eq!(end(&taken).case.state(), State::CLOSED);
    for waits in [decided_crime(), referred()] {
        let again = end(&waits);
        assert_eq!(again.case.state(), State::RESOLVED);
        assert!(matches!(again.event, Event::ClockMissed { .. }));
    }
}

#[test]
fn p4_a_refused_crime_is_the_case_of_who_decided_again() {
    let refused = done(5, &referred(), "police-450100", &answer(false));
    let (state, owner, ..) = standing_of(&refused);
    assert_eq!((state, owner), (State::ASSIGNED, "market-regulator-450000"));
    assert_eq!(refused.duty().unwrap().origin, Origin::Refused(id("police-450100")));
    assert_eq!((clocks(&refused), &refused.disposition), (vec![], &None));
    assert_eq!(part(&refused, "police-450100"), None, "it sees it no longer");
    assert_eq!(part(&refused, "police-440000"), Some(Part::Supporting));
    assert_eq!(refused.course.referral, None);
}

#[test]
fn p5_what_is_late_is_owed_still() {
    let miss = |case: &Case, hours| {
        let clock = case.clocks[0].clone();
        let late = rules(hours);
        late.clock_missed(case, &regulated(), clock.kind(), clock.generation)
            .unwrap()
    };
    // By the superior, which sees the case for that, and hands it over; at the top again and again.
    let case = decided_crime();
    let again = miss(&case, 25).case;
    assert_eq!(clocks(&again), [(ClockKind::Refer, "market-regulator-CN", 49)]);
    assert!(again.clocks[0].generation > case.clocks[0].generation);
    assert_eq!(part(&again, "market-regulator-CN"), Some(Part::Supporting));
    let top = miss(&again, 50).case;
    let (_, owner, due) = clocks(&top)[0];
    assert_ne!(owner, "market-regulator-450000");
    assert!(due > 50);
    for by in ["market-regulator-CN", "market-regulator-450000"] {
        let done = done(26, &again, by, &refer("police-450100"));
        assert_eq!(clocks(&done)[0].0, ClockKind::Receive, "{by}");
        assert_eq!(part(&done, "market-regulator-CN"), None, "it has done that");
    }
    // The superior of the body answers for it, and reads what it needs.
    let case = referred();
    let passed = miss(&case, 200);
    assert!(matches!(&passed.event, Event::ClockMissed { missed } if missed.owner == id("police-450100")));
    let passed = passed.case;
    assert_eq!(clocks(&passed)[0].1, "police-450000");
    assert_eq!(part(&passed, "police-450000"), Some(Part::Informed));
    assert_eq!(part(&passed, "police-450100"), None, "who did not answer reads no more");
    let receivers = |by: &str| act(201, &passed, &regulated(), by, &answer(true));
    assert!(receivers("police-450100").is_err());
    let taken = receivers("police-450000").unwrap().case;
    assert_eq!(taken.course.referral.unwrap().to, id("police-450000"));
    // At the top, the same one.
    let top = done(1, &decided_crime(), "market-regulator-450000", &refer("police-CN"));
    assert_eq!(clocks(&miss(&top, 200).case)[0].1, "police-CN");
}

#[test]
fn p7_a_crime_goes_to_a_body_that_takes_crimes_and_may_see_it() {
    let regulator = "market-regulator-450000";
    let case = decided_crime();
    for (to, why) in [
        ("content-regulator-450000", "takes no crimes"),
        ("police-000000", "no agency of the directory"),
    ] {
        let refused = refused(&case, regulator, &refer(to));
        assert!(refused.contains(why), "{refused}");
    }
    let mut excluding = regulated();
    excluding.excluded.insert(id("police-450100"));
    let kept_out = act(2, &case, &excluding, regulator, &refer("police-450100"));
    assert!(format!("{kept_out:?}").contains("is excluded"), "{kept_out:?}");
    let twice = refused(&referred(), regulator, &refer("police-450200"));
    assert!(
        twice.contains("handed over already, to agencies/police-450100"),
        "{twice}"
    );
    // Officials: to the inspection.
    assert!(act(2, &case, &regulated(), regulator, &refer("inspection-450000")).is_ok());
    // Of another disposition, nothing is handed over; nor does a body that takes crimes itself.
    let other = in_state(State::RESOLVED);
    let why = format!(
        "{:?}",
        act(2, &other, &matter(&[]), "police-450100", &refer("police-450200"))
    );
    assert!(why.contains("hands no crime over"), "{why}");
    let own = Case {
        disposition: Some(proposed(DispositionKind::SuspectedCrime)),
        ..in_state(State::IN_REVIEW)
    };
    let approve = Action::Review(Review {
        approved: true,
        officer: "o-2".to_owned(),
        stood_in: false,
    });
    let own = act(0, &own, &matter(&[]), "police-450100", &approve).unwrap().case;
    assert_eq!(clocks(&own), []);
    let why = format!(
        "{:?}",
        act(2, &own, &matter(&[]), "police-450100", &refer("police-450200"))
    );
    assert!(why.contains("takes crimes itself"), "{why}");
    // Nobody else answers.
    let case = referred();
    for by in [regulator, "police-440000", "police-450200", "police-450000"] {
        assert!(act(2, &case, &regulated(), by, &answer(true)).is_err(), "{by}");
    }
}

#[test]
fn what_is_decided_no_longer_is_handed_over_no_longer() {
    let regulator = "market-regulator-450000";
    let review = Action::RequestReview(RequestReview {
        requester: event::ReviewRequester::Reporter,
        notice: None,
    });
    let reopen = Action::Reopen(Reopen {
        reason: event::ReopenReason::NewInformation,
    });
    for case in [decided_crime(), referred()] {
        for action in [&review, &reopen] {
            let after = done(2, &case, regulator, action);
            assert_eq!((clocks(&after), &after.course.referral), (vec![], &None));
            assert_eq!(part(&after, "police-450100"), None);
            assert_eq!(part(&after, "police-440000"), Some(Part::Supporting));
        }
    }
    // What was taken stays taken, and is not handed over again.
    let taken = done(3, &referred(), "police-450100", &answer(true));
    for action in [&review, &reopen] {
        let after = done(4, &taken, regulator, action);
        assert_eq!(after.course.referral, taken.course.referral);
        assert_eq!(part(&after, "police-450100"), Some(Part::Informed));
    }
    let mut again = done(4, &taken, regulator, &reopen);
    let clock = again.duty().unwrap().clock.clone();
    again.standing = Standing::Open(
        Stage::InReview,
        Duty {
            owner: id(regulator),
            origin: Origin::Routed,
            clock,
        },
    );
    again.disposition = Some(Disposition {
        by: id(regulator),
        holder: id(regulator),
        ..proposed(DispositionKind::SuspectedCrime)
    });
    let approve = Action::Review(Review {
        approved: true,
        officer: "o-2".to_owned(),
        stood_in: false,
    });
    assert_eq!(clocks(&done(5, &again, regulator, &approve)), []);
}

#[test]
fn p7_the_body_reads_what_is_handed_to_it_while_it_has_it() {
    let notes = |case: &Case, agency: &str| {
        let party = Party::Agency(id(agency));
        sees(case, &party, Directory::shipped(), Sight::Notes)
    };
    let case = referred();
    assert!(notes(&case, "police-450100") && !notes(&case, "police-440000"));
    assert!(notes(&done(2, &case, "police-450100", &answer(true)), "police-450100"));
    assert!(!notes(
        &done(2, &case, "police-450100", &answer(false)),
        "police-450100"
    ));
    // It answers once.
    let taken = done(2, &case, "police-450100", &answer(true));
    let why = refused(&taken, "police-450100", &answer(false));
    assert!(why.contains("has taken it already"), "{why}");
}

/// A body in a conflict of interest steps aside, and its superior has to answer.
#[test]
fn p7_a_body_steps_aside() {
    let recused = act(2, &referred(), &regulated(), "police-450100", &Action::Recuse(Recuse)).unwrap();
    assert_eq!(
        recused.event,
        Event::Recused {
            agency: id("police-450100")
        }
    );
    assert_eq!(recused.case.state(), State::RESOLVED);
    assert_eq!(clocks(&recused.case)[0].1, "police-450000");
    assert_eq!(part(&recused.case, "police-450100"), None);
}

/// A city's police that ended without a successor, under a superior that takes crimes, and one
/// under a superior that takes none.
fn ended() -> Directory {
    let name = "name: {zh: 甲, en: A}";
    let yaml = format!(
        "last_resort: top\nagencies:\n  - {{id: top, functions: [conference], territory: CN, {name}}}\n  \
         - {{id: market, functions: [market-regulator], territory: CN, {name}}}\n  \
         - {{id: police, functions: [police], territory: CN, {name}}}\n  \
         - {{id: city, functions: [police], territory: \"450100\", {name}, superior: police, valid_to: 2026-03-10}}\n  \
         - {{id: unit, functions: [police], territory: \"450200\", {name}, superior: market, valid_to: 2026-03-10}}\n"
    );
    Directory::parse(&yaml, Directory::shipped().territories()).unwrap()
}

#[test]
fn p4_of_a_body_that_ended_the_superior_answers_or_who_decided_names_another() {
    let directory = ended();
    let at = |day: i64| Rules {
        directory: &directory,
        calendars: Calendars::shipped(),
        // 2026-03-02 and later.
        now: Time(0).plus_seconds(1_772_413_200 + day * 24 * 3_600),
    };
    let mut case = decided_crime();
    case.supporting.clear();
    case.clocks.clear();
    let market = id("market");
    if let (Standing::Open(_, duty), Some(disposition)) = (&mut case.standing, &mut case.disposition) {
        duty.owner = market.clone();
        duty.clock = at(0).clock(&market, REVIEW, 3);
        disposition.holder = market.clone();
    }
    case.generation = 4;
    case.clocks.push(at(0).clock(&market, REFER, 4));
    // The agency that decided continues the body: it hands the crime over to another.
    let merged = |case: &Case| {
        let mut merged = case.clone();
        let clock = merged
            .clocks
            .iter()
            .position(|clock| clock.kind() == ClockKind::Receive)
            .unwrap();
        merged.clocks.remove(clock);
        at(6).referral_succeeded(&mut merged, &regulated());
        clocks(&merged)[0].0
    };
    for (body, kind, owner) in [
        ("city", ClockKind::Receive, "police"),
        ("unit", ClockKind::Refer, "market"),
    ] {
        let party = Party::Agency(market.clone());
        let referred = at(6).act(&case, &regulated(), &party, &refer(body)).unwrap().case;
        assert_eq!(merged(&referred), ClockKind::Refer);
        assert_eq!(at(7).succeeded(&referred, &regulated()), None, "it is there still");
        let passed = at(9).succeeded(&referred, &regulated()).unwrap();
        assert_eq!(passed.event, Event::ReferralPassedOn { of: id(body) });
        let running: Vec<_> = clocks(&passed.case)
            .into_iter()
            .map(|(kind, owner, _)| (kind, owner.to_owned()))
            .collect();
        assert_eq!(running, [(kind, owner.to_owned())]);
        let to = passed
            .case
            .course
            .referral
            .as_ref()
            .map(|referral| referral.to.as_str());
        assert_eq!(to, (kind == ClockKind::Receive).then_some("police"));
    }
}
