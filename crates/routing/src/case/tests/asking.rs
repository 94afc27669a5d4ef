//! Questions to the reporter, what reporters say, and withdrawals.

use api::event::PauseGround;
use decision::rules::PauseNeed;
use uuid::Uuid;

use super::*;

fn ask(days: u32) -> Action {
    Action::AskReporter(AskReporter {
        text: "When was it paid?".to_owned(),
        days,
    })
}

fn asked(hours: i64, case: &Case) -> Result<Transition, Refusal> {
    act(hours, case, &matter(&[]), "police-450100", &ask(7))
}

fn why(refused: Result<Transition, Refusal>) -> String {
    match refused {
        Err(Refusal::Argument { field, description }) => format!("{field} {description}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p5_without_a_ground_a_question_stops_no_clock_and_one_is_open_at_a_time() {
    let case = in_progress("police-450100", &["police-440000"]);
    let done = asked(1, &case).unwrap();
    assert_eq!(done.event, Event::QuestionAsked { number: 1 });
    assert_eq!(done.case.duty(), case.duty());
    let open = done.case.course.question.clone().unwrap();
    assert_eq!(
        (open.number, open.asked, open.answer_by),
        (1, rules(1).now, rules(1 + 7 * 24).now)
    );
    assert!(why(asked(7 * 24, &done.case)).contains("question 1 is open until"));
    // Its time has passed: the case goes on, and another can be asked.
    let again = asked(1 + 7 * 24, &done.case).unwrap();
    assert_eq!(again.case.course.question.unwrap().number, 2);
    for days in [0, 31] {
        let refused = act(1, &case, &matter(&[]), "police-450100", &ask(days));
        assert!(why(refused).starts_with("answer_day_count"), "{days}");
    }
    for days in [1, 30] {
        assert!(act(1, &case, &matter(&[]), "police-450100", &ask(days)).is_ok());
    }
}

#[test]
fn questions_are_bounded() {
    let mut case = in_progress("police-450100", &[]);
    for number in 1..=20 {
        case = asked(1, &case).unwrap().case;
        let said = Said::Answer { number };
        case = rules(1).said(&case, Uuid::nil(), said).unwrap().case;
        assert_eq!(case.course.question, None);
    }
    assert!(why(asked(1, &case)).contains("one too many"));
}

#[test]
fn what_a_reporter_says_reaches_whoever_has_the_case_and_moves_nothing() {
    let by = Uuid::from_u128(7);
    for state in State::ALL {
        let case = in_state(state);
        let said = rules(1).said(&case, by, Said::More);
        if state == State::ADVISED {
            assert_eq!(said, None);
            continue;
        }
        let said = said.unwrap();
        assert_eq!(said.event, Event::InformationAdded { by }, "{}", state.name());
        assert_eq!(said.case, case, "{}: a stranger's word opens no case", state.name());
    }
}

#[test]
fn an_answer_is_one_while_its_question_is_open_and_information_otherwise() {
    let by = Uuid::from_u128(7);
    let open = asked(1, &in_progress("police-450100", &[])).unwrap().case;
    let answer = |number| Said::Answer { number };
    let done = rules(2).said(&open, by, answer(1)).unwrap();
    assert_eq!(done.event, Event::QuestionAnswered { number: 1, by });
    assert_eq!(done.case.course.question, None);
    for (case, number) in [(&open, 2), (&done.case, 1)] {
        let said = rules(2).said(case, by, answer(number)).unwrap();
        assert_eq!(said.event, Event::InformationAdded { by });
        assert_eq!(said.case, *case);
    }
    // It goes with the case, and ends when that is decided.
    let up = Action::Escalate(Escalate { reason: Reason::Level });
    let up = act(2, &open, &matter(&[]), "police-450100", &up).unwrap().case;
    assert_eq!(up.course.question, open.course.question);
    let propose = Action::Propose(Propose {
        what: what(DispositionKind::Guidance),
        note: CaseNote::default(),
    });
    let decided = act(2, &open, &matter(&[]), "police-450100", &propose).unwrap().case;
    assert_eq!((decided.state(), decided.course.question), (State::RESOLVED, None));
}

#[test]
fn p4_a_report_is_withdrawn_before_it_is_taken_over_and_later_the_lead_decides() {
    let by = Uuid::from_u128(7);
    for state in State::ALL {
        let case = in_state(state);
        for ends in [true, false] {
            let said = rules(1).said(&case, by, Said::Withdraw { ends });
            let untaken = matches!(state, State::AWAITING_DESIGNATION | State::ASSIGNED);
            let told = format!("{} {ends} {said:?}", state.name());
            match state {
                State::ADVISED => assert_eq!(said, None),
                State::RESOLVED | State::CLOSED => {
                    let said = said.unwrap();
                    assert_eq!(said.event, Event::WithdrawalRequested { by }, "{told}");
                    let mut after = case.clone();
                    after.course.withdrawal_requested = true;
                    assert_eq!(said.case, after, "{told}");
                }
                _ if ends && untaken => {
                    let said = said.unwrap();
                    assert_eq!(said.event, Event::Withdrawn { by }, "{told}");
                    assert_eq!(
                        (said.case.state(), said.case.all_clocks().count()),
                        (State::CLOSED, 0),
                        "{told}"
                    );
                    let disposition = said.case.disposition.unwrap();
                    assert_eq!(disposition.what.kind(), DispositionKind::Withdrawn);
                    assert_eq!(Some(&disposition.holder), case.owner(), "it can open the case again");
                    assert!(disposition.decided.is_some());
                }
                _ => {
                    let said = said.unwrap();
                    assert_eq!(said.event, Event::WithdrawalRequested { by }, "{told}");
                    assert_eq!(
                        (said.case.standing, said.case.clocks),
                        (case.standing.clone(), case.clocks.clone())
                    );
                    assert!(said.case.course.withdrawal_requested);
                }
            }
        }
    }
}

#[test]
fn a_case_is_disposed_of_as_withdrawn_only_if_its_reporter_asked_for_it() {
    let propose = Action::Propose(Propose {
        what: event::Disposition {
            effects: vec![DispositionEffect::None.into()],
            ..what(DispositionKind::Withdrawn)
        },
        note: CaseNote::default(),
    });
    let case = in_progress("police-450100", &[]);
    let propose = |case: &Case| act(1, case, &matter(&[]), "police-450100", &propose);
    assert!(why(propose(&case)).starts_with("disposition.kind"));
    let said = Said::Withdraw { ends: true };
    let asked = rules(1).said(&case, Uuid::nil(), said).unwrap().case;
    assert_eq!(asked.state(), State::IN_PROGRESS);
    assert_eq!(propose(&asked).unwrap().case.state(), State::RESOLVED);
}

#[test]
fn p5_where_the_rule_set_allows_it_the_time_waits_for_the_answer_within_its_bound() {
    let mut matter = matter(&[]);
    matter.terms.as_mut().unwrap().pauses = vec![PauseNeed {
        ground: PauseGround::WaitingForReporter,
        functions: Vec::new(),
        value: 10 * 24,
        unit: Unit::Hours,
        source: "ours".to_owned(),
    }];
    let case = in_progress("police-450100", &[]);
    let ask = |hours, case: &Case, days| act(hours, case, &matter, "police-450100", &ask(days)).unwrap().case;
    let until = |case: &Case| case.duty().unwrap().clock.ledger.paused.map(|paused| paused.until);
    let open = ask(1, &case, 7);
    assert_eq!(until(&open), Some(rules(1 + 7 * 24).now), "the answer's time");
    // It was used for an hour, and stood still for two.
    let answered = rules(3)
        .said(&open, Uuid::nil(), Said::Answer { number: 1 })
        .unwrap()
        .case;
    assert_eq!(until(&answered), None);
    assert_eq!(answered.duty().unwrap().clock.due, rules(100 + 2).now);
    // What nobody asked for resumes nothing, nor does it end another pause.
    let said = rules(3).said(&open, Uuid::nil(), Said::More).unwrap().case;
    assert_eq!(until(&said), until(&open));
    // No longer than the rule set allows in all.
    let long = ask(4, &answered, 30);
    assert_eq!(until(&long), Some(rules(4 + 10 * 24 - 2).now));
    let late = rules(5)
        .said(&long, Uuid::nil(), Said::Answer { number: 2 })
        .unwrap()
        .case;
    assert_eq!(until(&late), None);
}
