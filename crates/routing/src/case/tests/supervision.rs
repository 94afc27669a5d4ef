//! Pauses, reminders and supervision.

use super::*;
use decision::rules::Span;

/// The terms of [`matter`], with a last term of 10 hours under supervision.
fn supervised(excluded: &[&str]) -> Matter {
    let mut matter = matter(excluded);
    matter.terms.as_mut().unwrap().supervision = Some((10, Unit::Hours));
    matter
}

fn hearing(until: Option<i64>) -> Action {
    Action::PauseClock(PauseClock {
        ground: PauseGround::Hearing,
        until: until.map(|hours| Time(0).plus_seconds(hours * 3_600)),
    })
}

fn lead(hours: i64, case: &Case, action: &Action) -> Result<Case, Refusal> {
    act(hours, case, &matter(&[]), "police-450100", action).map(|done| done.case)
}

fn supervise(term: Option<Span>) -> Action {
    Action::Supervise(Supervise { term })
}

fn by(agency: &str, hours: i64, case: &Case, term: Option<u32>) -> Result<Case, Refusal> {
    let term = term.map(|hours| (hours, Unit::Hours));
    act(hours, case, &matter(&[]), agency, &supervise(term)).map(|done| done.case)
}

/// What a refusal says.
fn said<T: std::fmt::Debug>(refused: Result<T, Refusal>) -> String {
    match refused.unwrap_err() {
        Refusal::Argument { field, description } => format!("{field}: {description}"),
        Refusal::NotYours { description } | Refusal::WrongState { description, .. } => description,
        Refusal::Unseen => "unseen".to_owned(),
    }
}

/// Hour of the end of the owner's clock.
fn due(case: &Case) -> i64 {
    standing_of(case).3
}

#[test]
fn p5_a_pause_is_bounded_and_ends_by_itself() {
    let case = in_progress("police-450100", &[]);
    let paused = lead(10, &case, &hearing(None)).unwrap();
    assert_eq!(due(&paused), 58, "48 hours at most");
    assert_eq!(paused.generation, case.generation);
    let generation = paused.generation;
    assert_eq!(missed(&rules(57), &paused, &matter(&[]), generation), None);
    let ended = missed(&rules(60), &paused, &matter(&[]), generation).unwrap();
    assert_eq!(
        ended.event,
        Event::ClockResumed {
            ground: PauseGround::Hearing
        }
    );
    assert_eq!(
        due(&ended.case),
        148,
        "90 hours are left from its bound on, however late it is seen"
    );
    assert_eq!(ended.case.state(), State::IN_PROGRESS);
    // Once: it runs now.
    assert_eq!(missed(&rules(61), &ended.case, &matter(&[]), generation), None);
}

#[test]
fn p5_all_pauses_on_a_ground_share_its_bound() {
    let case = in_progress("police-450100", &[]);
    let mut case = lead(10, &case, &hearing(Some(30))).unwrap();
    assert_eq!(due(&case), 30);
    case = lead(30, &case, &Action::ResumeClock(ResumeClock)).unwrap();
    assert_eq!(due(&case), 120);
    assert_eq!(
        said(lead(40, &case, &hearing(Some(69)))),
        "until_time: is later than 48 hours in all allow, or than the answer; name no time to have what is left"
    );
    case = lead(40, &case, &hearing(None)).unwrap();
    assert_eq!(due(&case), 68, "28 of 48 hours were left");
    case = lead(68, &case, &Action::ResumeClock(ResumeClock)).unwrap();
    assert_eq!(
        said(lead(70, &case, &hearing(None))),
        "ground: has taken the 48 hours that the rule set allows for it"
    );
}

#[test]
fn a_pause_without_right_is_refused() {
    let case = in_progress("police-450100", &[]);
    let opinion = Action::PauseClock(PauseClock {
        ground: PauseGround::ExpertOpinion,
        until: None,
    });
    assert_eq!(
        said(lead(10, &case, &opinion)),
        "ground: is none that the rule set allows for it; it allows hearing"
    );
    let mut none = matter(&[]);
    none.terms.as_mut().unwrap().pauses.clear();
    let refused = act(10, &case, &none, "police-450100", &opinion);
    assert!(said(refused).ends_with("it allows no pauses"));
    assert_eq!(
        said(lead(10, &case, &hearing(Some(10)))),
        "until_time: has passed; name a later time, or none"
    );
    assert_eq!(
        said(lead(100, &case, &hearing(None))),
        "the case is IN_PROGRESS, and its deadline has passed"
    );
    assert_eq!(
        said(lead(10, &case, &Action::ResumeClock(ResumeClock))),
        "the case is IN_PROGRESS, and its time is not paused"
    );
    let paused = lead(10, &case, &hearing(None)).unwrap();
    assert_eq!(
        said(lead(11, &paused, &hearing(None))),
        "the case is IN_PROGRESS, and its time is paused already; resume it first"
    );
    let watched = Case {
        supervisor: Some(id("police-450000")),
        ..case
    };
    assert_eq!(
        said(lead(10, &watched, &hearing(None))),
        "the case is IN_PROGRESS, and under supervision its time is not paused"
    );
}

#[test]
fn p5_time_that_stood_still_is_not_used_when_the_case_goes_on() {
    let case = in_progress("police-450100", &[]);
    let paused = lead(10, &case, &hearing(None)).unwrap();
    let up = lead(40, &paused, &Action::Escalate(Escalate { reason: Reason::Level })).unwrap();
    assert_eq!(up.course.result_used, 10 * 3_600_000_000);
}

#[test]
fn p5_the_rungs_of_a_clock_come_once_each_and_in_order() {
    let case = in_progress("police-450100", &[]);
    let matter = supervised(&[]);
    let at = rules(10_000);
    let mut case = case;
    let mut rungs = Vec::new();
    // Nothing ran for long: each rung is told all the same.
    while let Some(done) = at.clock_due(
        &case,
        &matter,
        case.duty().unwrap().clock.kind(),
        case.duty().unwrap().clock.generation,
    ) {
        rungs.push((done.event.kind().name(), done.case.owner().unwrap().to_string()));
        case = done.case;
        assert!(rungs.len() < 9, "{rungs:?}");
    }
    let owner = "police-450100".to_owned();
    assert_eq!(
        rungs,
        [("case.deadline-reminded", owner.clone()), ("case.supervised", owner),],
        "the last term begins now"
    );
    assert_eq!(case.supervisor, Some(id("police-450000")));
    assert_eq!(due(&case), 10_010);
    let generation = case.generation;
    let reminded = rules(10_009)
        .clock_due(&case, &matter, ClockKind::Result, generation)
        .unwrap();
    assert_eq!(reminded.event.kind().name(), "case.deadline-reminded");
    let up = rules(10_011)
        .clock_due(&reminded.case, &matter, ClockKind::Result, generation)
        .unwrap();
    assert_eq!(up.event.kind().name(), "case.escalated");
    assert_eq!(
        standing_of(&up.case),
        (
            State::ASSIGNED,
            "police-450000",
            generation + 1,
            10_035,
            vec!["police-450100"]
        )
    );
    assert_eq!(up.case.supervisor, None, "it leads the case itself");
    assert_eq!(up.case.course.result_used, 0, "with the whole time");
}

#[test]
fn a_reminder_changes_nothing_else() {
    let case = in_progress("police-450100", &[]);
    assert_eq!(rules(74).clock_due(&case, &matter(&[]), ClockKind::Result, 2), None);
    let done = rules(76).clock_due(&case, &matter(&[]), ClockKind::Result, 2).unwrap();
    assert!(matches!(done.event, Event::Reminded { .. }));
    let mut quiet = case.clone();
    let Standing::Open(_, duty) = &mut quiet.standing else {
        panic!()
    };
    duty.clock = duty.clock.clone().with_reminder();
    assert_eq!(done.case, quiet);
    assert_eq!(
        rules(99).clock_due(&done.case, &matter(&[]), ClockKind::Result, 2),
        None
    );
    let late = rules(100).clock_due(&done.case, &matter(&[]), ClockKind::Result, 2);
    assert_eq!(
        late.unwrap().event.kind().name(),
        "case.escalated",
        "no term: the superior has it"
    );
}

#[test]
fn p5_a_review_is_late_like_other_work_and_goes_on_under_supervision() {
    let case = in_state(State::IN_REVIEW);
    let done = missed(&rules(101), &case, &supervised(&[]), 2).unwrap();
    assert_eq!((done.case.state(), due(&done.case)), (State::IN_REVIEW, 111));
    assert_eq!(done.case.disposition, case.disposition);
    let assigned = assigned("police-450100", &[]);
    let up = missed(&rules(101), &assigned, &supervised(&[]), 1).unwrap();
    assert_eq!(
        up.event.kind().name(),
        "case.escalated",
        "nobody works on it: the superior has it"
    );
}

#[test]
fn a_superior_supervises_and_shortens_the_time() {
    let case = in_progress("police-450100", &["police-440000"]);
    let watched = by("police-CN", 10, &case, None).unwrap();
    assert_eq!(
        (watched.supervisor.clone(), due(&watched)),
        (Some(id("police-CN")), 100)
    );
    assert_eq!(watched.generation, case.generation);
    assert_eq!(
        said(by("police-CN", 11, &watched, None)),
        "the case is IN_PROGRESS, and your agency supervises it; set a term to shorten its time"
    );
    // Another is not told who does.
    assert_eq!(
        said(by("police-450000", 11, &watched, None)),
        "the case is IN_PROGRESS, and your agency cannot supervise it: one above it does, or its own decision of it was \
         reviewed"
    );
    for (term, case) in [(5, &watched), (500, &watched), (5, &case)] {
        assert_eq!(
            said(by("police-450000", 11, case, Some(term))),
            "term: is for a superior that supervises the case already; supervise it first"
        );
    }
    assert_eq!(
        said(by("police-CN", 11, &watched, Some(89))),
        "term: ends no earlier than its time does now; name a shorter one"
    );
    let shortened = by("police-CN", 11, &watched, Some(5)).unwrap();
    assert_eq!((due(&shortened), shortened.generation), (16, case.generation + 1));
    assert_eq!(due(&by("police-CN", 12, &shortened, Some(2)).unwrap()), 14);
    // The supervisor has it if the lead is late again, without another term.
    let up = missed(&rules(16), &shortened, &supervised(&[]), shortened.generation).unwrap();
    assert_eq!(standing_of(&up.case).1, "police-CN");
    // Others do not.
    for other in ["police-440000", "police-450200", "conference-CN"] {
        assert!(by(other, 11, &case, None).is_err(), "{other}");
    }
    assert_eq!(said(by("police-450200", 11, &case, None)), "unseen");
    let paused = lead(10, &case, &hearing(None)).unwrap();
    let watched = by("police-450000", 11, &paused, None).unwrap();
    assert_eq!(
        said(by("police-450000", 11, &watched, Some(5))),
        "the case is IN_PROGRESS, and its time is paused; supervise it without a term, or when it runs again"
    );
    let reviewed = Case {
        course: Course {
            reviewed: vec![id("police-450000")],
            ..Course::default()
        },
        ..case
    };
    assert!(said(by("police-450000", 11, &reviewed, None)).contains("cannot supervise it"));
}

#[test]
fn time_under_supervision_is_none_of_the_rows() {
    let case = in_progress("police-450100", &[]);
    let watched = by("police-450000", 1, &case, None).unwrap();
    let watched = by("police-450000", 20, &watched, Some(50)).unwrap();
    assert_eq!(watched.course.result_used, 20 * 3_600_000_000);
    let up = lead(60, &watched, &Action::Escalate(Escalate { reason: Reason::Level })).unwrap();
    assert_eq!(
        up.course.result_used,
        20 * 3_600_000_000,
        "40 hours of the term do not count"
    );
    assert_eq!(up.supervisor, None, "the supervisor leads it");
}

#[test]
fn p4_a_supervisor_designates_another_lead_once_each() {
    let case = by("police-450000", 10, &in_progress("police-450100", &[]), None).unwrap();
    let designate = |hours, case: &Case, agency: &str| {
        let action = Action::Designate(Designate { agency: id(agency) });
        act(hours, case, &matter(&[]), "police-450000", &action).map(|done| done.case)
    };
    let moved = designate(11, &case, "police-450200").unwrap();
    assert_eq!(standing_of(&moved).1, "police-450200");
    assert_eq!(moved.supervisor, Some(id("police-450000")), "it goes on watching");
    assert_eq!(
        said(designate(12, &moved, "police-450200")),
        "agency: leads the case itself; name another agency"
    );
    let moved = designate(12, &moved, "police-450300").unwrap();
    assert!(said(designate(13, &moved, "police-450200")).contains("was designated before"));
    assert!(said(designate(13, &moved, "police-440300")).contains("is not under your agency"));
    let own = designate(13, &moved, "police-450000").unwrap();
    assert_eq!((standing_of(&own).1, own.supervisor.clone()), ("police-450000", None));
}

#[test]
fn p4_a_supervisor_stays_only_above_the_lead() {
    let case = by(
        "police-450000",
        10,
        &in_progress("police-450100", &["police-450000"]),
        None,
    )
    .unwrap();
    assert_eq!(
        case.supporting,
        [Supporter::of(id("police-450000"))],
        "it goes on supporting"
    );
    let parties: Vec<_> = case
        .parties()
        .map(|(agency, part)| (agency.to_string(), part))
        .collect();
    assert_eq!(
        parties,
        [
            ("police-450100".to_owned(), Part::Lead),
            ("police-450000".to_owned(), Part::Supervising),
        ]
    );
    // To another province: its superior no longer watches.
    let moved = lead(
        11,
        &case,
        &Action::Transfer(Transfer {
            to: id("police-440300"),
            reason: Reason::Place,
            keep_supporting: false,
        }),
    );
    let moved = moved.unwrap();
    assert_eq!((moved.supervisor, moved.supporting.len()), (None, 1));
    let propose = Action::Propose(Propose {
        what: what(DispositionKind::Guidance),
        note: CaseNote::default(),
    });
    let resolved = lead(11, &case, &propose).unwrap();
    assert_eq!((resolved.state(), resolved.supervisor), (State::RESOLVED, None));
    // Excluded since, it watches no longer.
    let excluding = matter(&["police-450000"]);
    let after = rules(12).succeeded(&case, &excluding).unwrap().case;
    assert_eq!(after.supervisor, None);
    // It steps aside, and those under it.
    let aside = act(12, &case, &matter(&[]), "police-450000", &Action::Recuse(Recuse)).unwrap();
    assert_eq!(
        (aside.case.owner(), &aside.case.supervisor),
        (Some(&id("police-CN")), &None)
    );
}

#[test]
fn p7_a_superior_sees_a_case_only_once_it_supervises() {
    let case = in_progress("police-450100", &[]);
    let superior = Party::Agency(id("police-450000"));
    let sees = |case: &Case, sight| sees(case, &superior, Directory::shipped(), sight);
    for sight in Sight::ALL {
        assert_eq!(sees(&case, sight), sight == Sight::Outline, "{sight:?}");
    }
    let watched = by("police-450000", 10, &case, None).unwrap();
    assert!(sees(&watched, Sight::Case) && sees(&watched, Sight::Notes) && sees(&watched, Sight::Exclusions));
    assert!(!sees(&watched, Sight::Content), "not what the reports say");
}

#[test]
fn p5_at_the_top_a_late_lead_has_no_last_term() {
    let mut case = in_progress("police-CN", &[]);
    let matter = supervised(&[]);
    let mut ladder = Vec::new();
    for hours in 1..6 {
        let at = rules(hours * 1_000);
        let (kind, generation) = (case.duty().unwrap().clock.kind(), case.generation);
        let done = at.clock_missed(&case, &matter, kind, generation).unwrap();
        ladder.push((done.event.kind().name(), done.case.owner().unwrap().to_string()));
        assert_eq!(done.case.supervisor, None);
        case = done.case;
    }
    assert_eq!(ladder[0], ("case.escalated", "conference-CN".to_owned()));
    assert_eq!(ladder[4], ("case.clock-missed", "conference-CN".to_owned()));
}

#[test]
fn p5_supervision_gives_nobody_the_whole_time_again() {
    let used = |case: &Case, hours| {
        let up = lead(hours, case, &Action::Escalate(Escalate { reason: Reason::Level })).unwrap();
        up.course.result_used / 3_600_000_000
    };
    let case = in_progress("police-450100", &[]);
    let watched = by("police-450000", 10, &case, None).unwrap();
    assert_eq!(used(&watched, 90), 90, "the row's clock runs on");
    let shortened = by("police-450000", 30, &watched, Some(20)).unwrap();
    assert_eq!(used(&shortened, 45), 30);
    let again = by("police-450000", 40, &shortened, Some(2)).unwrap();
    assert_eq!(used(&again, 41), 30, "a second term is none of it either");
    // Whoever put the case under others: the term stays one.
    let alone = Case {
        supervisor: None,
        ..again
    };
    assert_eq!(used(&alone, 41), 30);
    let late = missed(&rules(43), &alone, &supervised(&[]), alone.generation).unwrap();
    assert_eq!(late.event.kind().name(), "case.escalated", "no second last term");
}

#[test]
fn p5_a_watched_lead_has_its_last_term() {
    let case = by("police-450000", 10, &in_progress("police-450100", &[]), None).unwrap();
    let late = missed(&rules(101), &case, &supervised(&[]), case.generation).unwrap();
    assert_eq!(late.event.kind().name(), "case.supervised");
    let up = missed(&rules(112), &late.case, &supervised(&[]), late.case.generation).unwrap();
    assert_eq!(up.event.kind().name(), "case.escalated");
}

#[test]
fn p4_a_late_lead_goes_to_a_superior_that_may_have_it() {
    // Supervised by one that is no superior of it, as after another directory.
    let case = Case {
        supervisor: Some(id("police-440000")),
        ..in_progress("police-450100", &[])
    };
    let up = missed(&rules(101), &case, &matter(&[]), 2).unwrap();
    assert_eq!(standing_of(&up.case).1, "police-450000");
    let case = by("police-450000", 10, &in_progress("police-450100", &[]), None).unwrap();
    let up = missed(&rules(101), &case, &matter(&["police-450000"]), 2).unwrap();
    assert_ne!(standing_of(&up.case).1, "police-450000", "it is excluded since");
}

#[test]
fn a_pause_for_the_reporter_waits_for_an_answer() {
    let mut terms = matter(&[]);
    terms.terms.as_mut().unwrap().pauses[0].ground = PauseGround::WaitingForReporter;
    let waiting = Action::PauseClock(PauseClock {
        ground: PauseGround::WaitingForReporter,
        until: None,
    });
    let act =
        |hours, case: &Case, action: &Action| act(hours, case, &terms, "police-450100", action).map(|done| done.case);
    let case = in_progress("police-450100", &[]);
    assert_eq!(
        said(act(1, &case, &waiting)),
        "ground: waits for an answer, and no question is open; ask the reporter first"
    );
    let ask = Action::AskReporter(AskReporter {
        text: "which bank?".to_owned(),
        days: 1,
    });
    let asked = act(1, &case, &ask).unwrap();
    let resumed = act(2, &asked, &Action::ResumeClock(ResumeClock)).unwrap();
    let paused = act(2, &resumed, &waiting).unwrap();
    assert_eq!(due(&paused), 25, "until the answer is due");
    let answer = |number| Said::Answer { number };
    let more = rules(5).said(&paused, uuid::Uuid::nil(), Said::More).unwrap();
    assert_eq!(more.case.standing, paused.standing, "whoever has the receipt");
    let answered = rules(5).said(&paused, uuid::Uuid::nil(), answer(1)).unwrap();
    assert_eq!((due(&answered.case), answered.case.course.question), (104, None));
}

#[test]
fn p5_a_clock_is_paused_a_bounded_number_of_times() {
    let mut terms = matter(&[]);
    terms.terms.as_mut().unwrap().pauses[0].unit = Unit::CalendarDays;
    let mut case = in_progress("police-450100", &[]);
    let mut times = 0;
    while let Ok(paused) = act(1, &case, &terms, "police-450100", &hearing(None)) {
        case = act(
            1,
            &paused.case,
            &terms,
            "police-450100",
            &Action::ResumeClock(ResumeClock),
        )
        .unwrap()
        .case;
        times += 1;
        assert!(times < 50);
    }
    assert_eq!(times, 20);
}

#[test]
fn p5_a_bound_in_days_is_used_up() {
    let mut terms = matter(&[]);
    terms.terms.as_mut().unwrap().pauses[0].unit = Unit::CalendarDays;
    terms.terms.as_mut().unwrap().pauses[0].value = 2;
    let act =
        |hours, case: &Case, action: &Action| act(hours, case, &terms, "police-450100", action).map(|done| done.case);
    let paused = act(10, &in_progress("police-450100", &[]), &hearing(None)).unwrap();
    let resumed = act(60, &paused, &Action::ResumeClock(ResumeClock)).unwrap();
    assert_eq!(
        said(act(61, &resumed, &hearing(None))),
        "ground: has taken the 2 calendar-days that the rule set allows for it"
    );
}

#[test]
fn a_paused_case_is_on_no_list_of_what_is_due() {
    let lists = |case: &Case| -> Vec<&'static str> { Worklist::of(case).map(|(_, row, _)| row.name).collect() };
    let case = in_progress("police-450100", &[]);
    assert_eq!(lists(&case), ["due", "pool"]);
    assert_eq!(lists(&lead(10, &case, &hearing(None)).unwrap()), [] as [&str; 0]);
}

#[test]
fn who_takes_over_a_clock_is_reminded_of_it() {
    let clock = in_progress("police-450100", &[]).duty().unwrap().clock.clone();
    let worktime = Calendars::shipped().worktime(None);
    let taken = clock
        .clone()
        .with_reminder()
        .taken_over(id("police-450200"), 9, worktime);
    assert_eq!((taken.remind, taken.due), (clock.remind, clock.due));
    // Late in its time: at three quarters of what is left.
    let mut late = clock;
    late.ledger.used = 80 * 3_600_000_000;
    let late = late.taken_over(id("police-450200"), 9, worktime);
    assert_eq!(late.remind, Some(Time(0).plus_seconds(15 * 3_600)));
}
