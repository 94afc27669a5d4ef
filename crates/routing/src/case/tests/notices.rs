//! Notices to the affected side, what it says, and what may be decided when.

use api::event::{NoticeMeans, ReviewRequester, StatementAnswer, StatementKind};

use super::*;

const DAY: i64 = 24;

fn lead(hours: i64, case: &Case, action: &Action) -> Result<Transition, Refusal> {
    act(hours, case, &matter(&[]), "police-450100", action)
}

fn subject(hours: i64, case: &Case, notice: u64, action: &Action) -> Result<Transition, Refusal> {
    rules(hours).act(case, &matter(&[]), &Party::Subject(notice), action)
}

fn propose(kind: DispositionKind) -> Action {
    let note = proposed(kind).note;
    Action::Propose(Propose { what: what(kind), note })
}

fn approve() -> Action {
    Action::Review(Review {
        approved: true,
        officer: "o-2".to_owned(),
        stood_in: false,
    })
}

fn notify(means: NoticeMeans) -> NotifySubject {
    NotifySubject {
        again: None,
        recipient: "holder of the account".to_owned(),
        means,
        new_receipt: false,
        of_decision: false,
    }
}

/// Notice again to the first side.
fn again(of_decision: bool) -> NotifySubject {
    NotifySubject {
        again: Some(1),
        recipient: String::new(),
        of_decision,
        ..notify(NoticeMeans::Post)
    }
}

fn say(notice: u64, kind: StatementKind) -> Action {
    Action::SubmitStatement(SubmitStatement {
        notice,
        kind,
        through: None,
    })
}

fn answer(notice: u64, answer: StatementAnswer) -> Action {
    answer_all(notice, 1, answer)
}

fn answer_all(notice: u64, statements: u64, answer: StatementAnswer) -> Action {
    Action::AnswerStatement(AnswerStatement {
        notice,
        statements,
        answer,
    })
}

fn review_of(notice: u64) -> Action {
    Action::RequestReview(RequestReview {
        requester: ReviewRequester::Subject,
        notice: Some(notice),
    })
}

/// A penalty of 450100 in review since the first hour.
fn penalty() -> Case {
    let case = in_progress("police-450100", &[]);
    lead(1, &case, &propose(DispositionKind::Penalty)).unwrap().case
}

/// The same, with notice of it since the second hour.
fn with_notice(means: NoticeMeans) -> Case {
    lead(2, &penalty(), &Action::NotifySubject(notify(means))).unwrap().case
}

fn why(refused: Result<Transition, Refusal>) -> String {
    match refused {
        Err(Refusal::WrongState { description, .. }) => description,
        Err(Refusal::Argument { field, description }) => format!("{field} {description}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_penalty_is_decided_after_a_notice_and_the_time_to_answer_it() {
    assert!(why(lead(2, &penalty(), &approve())).contains("give notice first"));
    let case = with_notice(NoticeMeans::Post);
    // 1970-01-01 was a Thursday: five working days end with the Thursday after.
    let respond_by = case.course.notices[0].respond_by;
    assert_eq!(respond_by.to_string(), "1970-01-08T16:00:00Z");
    assert!(why(lead(3, &case, &approve())).contains("may state its view until 1970-01-08"));
    let at = |time: Time| time.0 / 3_600_000_000;
    assert!(lead(at(respond_by) - 1, &case, &approve()).is_err());
    assert!(lead(at(respond_by), &case, &approve()).is_ok());
    // What is announced counts as served after 30 days.
    let announced = with_notice(NoticeMeans::Announcement);
    assert!(announced.course.notices[0].respond_by >= respond_by.plus_seconds(29 * DAY * 3_600));
}

#[test]
fn what_needs_no_notice_is_decided_without_one_and_a_notice_given_binds() {
    for kind in [DispositionKind::SuspectedCrime, DispositionKind::Fabricated] {
        let case = in_progress("police-450100", &[]);
        let case = lead(1, &case, &propose(kind)).unwrap().case;
        assert!(lead(2, &case, &approve()).is_ok());
        let case = lead(2, &case, &Action::NotifySubject(notify(NoticeMeans::Post)))
            .unwrap()
            .case;
        assert!(why(lead(3, &case, &approve())).contains("may state its view until"));
    }
}

#[test]
fn what_the_affected_side_says_is_answered_before_anything_is_decided() {
    let case = with_notice(NoticeMeans::Electronic);
    let said = subject(3, &case, 1, &say(1, StatementKind::Statement)).unwrap();
    assert_eq!(
        said.event,
        Event::StatementSubmitted {
            number: 1,
            kind: StatementKind::Statement
        }
    );
    let case = said.case;
    assert_eq!(case.unanswered_since(), Some(rules(3).now));
    // However long it waits.
    for hours in [4, 40 * DAY] {
        assert!(why(lead(hours, &case, &approve())).contains("not answered"));
    }
    let answered = lead(5, &case, &answer(1, StatementAnswer::Considered)).unwrap().case;
    assert_eq!(answered.unanswered_since(), None);
    assert!(lead(6, &answered, &approve()).is_ok());
    assert!(why(lead(6, &answered, &answer(1, StatementAnswer::Considered))).contains("no statement"));
    // Another word, another answer.
    let again = subject(7, &answered, 1, &say(1, StatementKind::Statement))
        .unwrap()
        .case;
    assert!(lead(8, &again, &approve()).is_err());
}

#[test]
fn a_hearing_that_was_asked_for_is_held_or_refused_in_words() {
    let case = with_notice(NoticeMeans::Post);
    let asks = subject(3, &case, 1, &say(1, StatementKind::HearingRequested))
        .unwrap()
        .case;
    for kind in [StatementAnswer::Considered, StatementAnswer::Accepted] {
        assert!(why(lead(4, &asks, &answer(1, kind))).starts_with("answer"));
    }
    for kind in [StatementAnswer::Heard, StatementAnswer::HearingRefused] {
        let done = lead(4, &asks, &answer(1, kind)).unwrap().case;
        assert!(lead(5, &done, &approve()).is_ok());
        let other = subject(3, &case, 1, &say(1, StatementKind::Statement)).unwrap().case;
        assert!(why(lead(4, &other, &answer(1, kind))).starts_with("answer"));
    }
}

#[test]
fn who_waives_is_not_waited_for_and_others_are() {
    let case = with_notice(NoticeMeans::Post);
    let waived = subject(3, &case, 1, &say(1, StatementKind::Waived)).unwrap().case;
    assert!(lead(4, &waived, &approve()).is_ok());
    // A second side has its own time.
    let both = lead(4, &waived, &Action::NotifySubject(notify(NoticeMeans::Post)))
        .unwrap()
        .case;
    assert_eq!(both.course.notices.len(), 2);
    assert!(why(lead(5, &both, &approve())).contains("notice 2"));
    // A statement is not taken back by a waiver.
    let said = subject(5, &both, 2, &say(2, StatementKind::Statement)).unwrap().case;
    assert!(why(subject(6, &said, 2, &say(2, StatementKind::Waived))).contains("waits for its answer"));
}

#[test]
fn statements_are_bounded_and_reach_the_desk_after_a_return() {
    let mut case = with_notice(NoticeMeans::Post);
    for _ in 0..5 {
        case = subject(3, &case, 1, &say(1, StatementKind::Statement)).unwrap().case;
    }
    assert!(why(subject(3, &case, 1, &say(1, StatementKind::Statement))).contains("one too many"));
    let back = Action::Review(Review {
        approved: false,
        officer: "o-2".to_owned(),
        stood_in: false,
    });
    // Returning needs nobody's word.
    let returned = lead(4, &case, &back).unwrap().case;
    let case = with_notice(NoticeMeans::Post);
    let other = lead(4, &case, &back).unwrap().case;
    let said = subject(5, &other, 1, &say(1, StatementKind::Statement)).unwrap();
    assert_eq!(said.case.unanswered_since(), None, "nothing is proposed");
    // What is proposed anew has a notice of its own, to the same side.
    let proposed = lead(6, &returned, &propose(DispositionKind::Penalty)).unwrap().case;
    assert!(why(lead(400, &proposed, &approve())).contains("give notice first"));
    let notified = again(false);
    let done = lead(7, &proposed, &Action::NotifySubject(notified)).unwrap();
    assert!(matches!(
        done.event,
        Event::SubjectNotified {
            receipt: Receipt::Kept,
            number: 1,
            ..
        }
    ));
    let notice = &done.case.course.notices[0];
    assert_eq!(
        (notice.recipient.as_str(), notice.said),
        ("holder of the account", None)
    );
}

#[test]
fn arguments_of_a_notice_are_checked() {
    let case = penalty();
    let refused = |notify: NotifySubject| why(lead(2, &case, &Action::NotifySubject(notify)));
    let plain = notify(NoticeMeans::Post);
    let recipient = |recipient: &str| NotifySubject {
        recipient: recipient.to_owned(),
        ..plain.clone()
    };
    assert!(refused(recipient(" \u{200b}")).starts_with("recipient is required"));
    assert!(refused(recipient(&"人".repeat(201))).starts_with("recipient has 201 characters"));
    let again = NotifySubject {
        again: Some(1),
        ..plain.clone()
    };
    assert!(refused(again.clone()).starts_with("notice_number is 1, and the case has no such"));
    let unnamed = NotifySubject {
        recipient: " \u{200b}".to_owned(),
        ..again.clone()
    };
    assert!(refused(unnamed).starts_with("recipient is required"));
    let renewed = NotifySubject {
        new_receipt: true,
        ..plain.clone()
    };
    assert!(refused(renewed).starts_with("new_receipt"));
    let mut full = case.clone();
    for _ in 0..20 {
        full = lead(2, &full, &Action::NotifySubject(plain.clone())).unwrap().case;
    }
    assert!(why(lead(2, &full, &Action::NotifySubject(plain))).contains("20 notices"));
    assert!(why(lead(2, &full, &answer(21, StatementAnswer::Considered))).starts_with("notice_number"));
}

#[test]
fn p4_the_affected_side_asks_for_a_review_of_what_it_has_notice_of_and_the_superior_decides() {
    let case = with_notice(NoticeMeans::Post);
    let waived = subject(3, &case, 1, &say(1, StatementKind::Waived)).unwrap().case;
    let decided = lead(4, &waived, &approve()).unwrap().case;
    assert_eq!(decided.to_notify_since(), Some(rules(4).now));
    assert!(why(subject(5, &decided, 1, &review_of(1))).contains("no notice of the decision"));
    let told = lead(100 * DAY / 10, &decided, &Action::NotifySubject(again(true)))
        .unwrap()
        .case;
    assert_eq!(told.to_notify_since(), None);
    // It has the whole time from its notice on.
    let due = told.duty().unwrap().clock.due;
    assert!(due > decided.duty().unwrap().clock.due);
    assert_eq!(told.course.notices[0].respond_by, due);
    let asked = subject(11 * DAY, &told, 1, &review_of(1)).unwrap();
    assert_eq!(asked.case.owner(), Some(&id("police-450000")));
    assert!(matches!(
        asked.event,
        Event::ReviewRequested {
            notice: Some(1),
            requester: ReviewRequester::Subject,
            ..
        }
    ));
    assert!(why(subject(due.0 / 3_600_000_000 + 1, &told, 1, &review_of(1))).contains("time for a review has ended"));
    assert_eq!(
        subject(11 * DAY, &told, 2, &review_of(2)),
        Err(Refusal::Unseen),
        "no such notice"
    );
}

#[test]
fn a_notice_never_shortens_the_time_for_a_review() {
    let case = in_progress("police-450100", &[]);
    let of = |means| NotifySubject {
        of_decision: true,
        ..notify(means)
    };
    let decided = lead(1, &case, &propose(DispositionKind::Guidance)).unwrap().case;
    let announced = lead(2, &decided, &Action::NotifySubject(of(NoticeMeans::Announcement)))
        .unwrap()
        .case;
    let posted = lead(3, &announced, &Action::NotifySubject(of(NoticeMeans::Post)))
        .unwrap()
        .case;
    assert_eq!(posted.duty(), announced.duty());
    let due = |case: &Case| case.duty().unwrap().clock.due;
    assert!(due(&announced) > due(&decided).plus_seconds(29 * DAY * 3_600));
    assert!(why(lead(100 * DAY, &posted, &Action::NotifySubject(of(NoticeMeans::Post)))).contains("has ended"));
}

#[test]
fn p7_the_affected_side_sees_nothing_of_the_case() {
    let case = with_notice(NoticeMeans::Post);
    for sight in Sight::ALL {
        assert!(!sees(&case, &Party::Subject(1), Directory::shipped(), sight));
    }
    assert_eq!(
        rules(3).act(
            &case,
            &matter(&[]),
            &Party::Subject(2),
            &say(2, StatementKind::Statement)
        ),
        Err(Refusal::Unseen)
    );
    // What is burdened has notice; what is handed over as a crime has not.
    for (kind, told) in [
        (DispositionKind::Correction, true),
        (DispositionKind::SuspectedCrime, false),
    ] {
        let mut decided = in_state(State::RESOLVED);
        decided.disposition.as_mut().unwrap().what = what(kind);
        assert_eq!(decided.to_notify_since().is_some(), told, "{kind:?}");
    }
}

/// What it takes to leave a statement unanswered: none of it works.
#[test]
fn a_second_notice_takes_no_statement_away() {
    let case = with_notice(NoticeMeans::Post);
    let asks = subject(3, &case, 1, &say(1, StatementKind::HearingRequested))
        .unwrap()
        .case;
    let told = lead(4, &asks, &Action::NotifySubject(again(false))).unwrap().case;
    assert_eq!(told.course.notices[0].said, asks.course.notices[0].said);
    assert!(told.course.notices[0].respond_by >= asks.course.notices[0].respond_by);
    assert!(why(lead(40 * DAY, &told, &approve())).contains("not answered"));
    // A later word of the same side leaves it as it was: it asks to be heard, and since then.
    let both = subject(5, &told, 1, &say(1, StatementKind::Statement)).unwrap().case;
    let said = both.course.notices[0].said.unwrap();
    assert_eq!((said.kind, said.time), (StatementKind::HearingRequested, rules(3).now));
    // What came in after the officer read is not answered with it.
    let unread = why(lead(6, &both, &answer(1, StatementAnswer::Heard)));
    assert!(unread.starts_with("statement_count is 1, and 2 came in"), "{unread}");
    assert!(lead(6, &both, &answer_all(1, 2, StatementAnswer::Heard)).is_ok());
}

#[test]
fn who_decides_waives_nothing_for_the_side_that_it_decides_on() {
    let case = with_notice(NoticeMeans::Post);
    let waive = |through: &str| {
        let action = Action::SubmitStatement(SubmitStatement {
            notice: 1,
            kind: StatementKind::Waived,
            through: Some(id(through)),
        });
        subject(3, &case, 1, &action)
    };
    assert!(why(waive("police-450100")).contains("through the agency that decides"));
    assert!(waive("police-440000").is_ok());
}

/// A second proposal, though made at the same instant, is not what the side had its say in.
#[test]
fn a_new_proposal_brings_a_new_say() {
    let mut case = with_notice(NoticeMeans::Post);
    for _ in 0..5 {
        case = subject(2, &case, 1, &say(1, StatementKind::Statement)).unwrap().case;
    }
    let back = Action::Review(Review {
        approved: false,
        officer: "o-2".to_owned(),
        stood_in: false,
    });
    let case = lead(2, &case, &back).unwrap().case;
    let case = lead(2, &case, &propose(DispositionKind::Penalty)).unwrap().case;
    assert!(why(lead(400, &case, &approve())).contains("give notice first"));
    let case = lead(2, &case, &Action::NotifySubject(again(false))).unwrap().case;
    assert!(lead(2, &case, &approve()).is_err());
    assert!(subject(2, &case, 1, &say(1, StatementKind::Statement)).is_ok());
    // Of one proposal a side has notice a few times, and not without end.
    let mut often = case;
    for _ in 1..5 {
        often = lead(2, &often, &Action::NotifySubject(again(false))).unwrap().case;
    }
    assert!(why(lead(2, &often, &Action::NotifySubject(again(false)))).contains("5 times"));
}

#[test]
fn nobody_sanctions_under_another_name() {
    let case = in_progress("police-450100", &[]);
    for kind in [
        DispositionKind::HandedBack,
        DispositionKind::Fabricated,
        DispositionKind::Guidance,
    ] {
        let mut what = what(kind);
        what.effects = vec![DispositionEffect::Sanctioned.into()];
        let note = proposed(kind).note;
        let refused = why(lead(1, &case, &Action::Propose(Propose { what, note })));
        assert!(refused.contains("SANCTIONED"), "{refused}");
    }
}

/// A side that had notice of the proposal keeps its review until it has notice of the decision.
#[test]
fn p5_a_case_stays_open_until_every_side_knows_of_the_decision() {
    let case = with_notice(NoticeMeans::Post);
    let case = lead(2, &case, &Action::NotifySubject(notify(NoticeMeans::Post)))
        .unwrap()
        .case;
    let case = subject(3, &case, 1, &say(1, StatementKind::Waived)).unwrap().case;
    let case = subject(3, &case, 2, &say(2, StatementKind::Waived)).unwrap().case;
    let decided = lead(4, &case, &approve()).unwrap().case;
    let told = lead(5, &decided, &Action::NotifySubject(again(true))).unwrap().case;
    assert_eq!(told.to_notify_since(), Some(rules(4).now), "the second side is left");
    let generation = told.duty().unwrap().clock.generation;
    let late = missed(&rules(100 * DAY), &told, &matter(&[]), generation).unwrap();
    assert!(matches!(late.event, Event::ClockMissed { .. }));
    assert_eq!(late.case.state(), State::RESOLVED);
    assert!(late.case.duty().unwrap().clock.due > rules(100 * DAY).now);
    let second = NotifySubject {
        again: Some(2),
        ..again(true)
    };
    let both = lead(6, &told, &Action::NotifySubject(second)).unwrap().case;
    assert_eq!(both.to_notify_since(), None);
    let generation = both.duty().unwrap().clock.generation;
    let closed = missed(&rules(100 * DAY), &both, &matter(&[]), generation).unwrap();
    assert_eq!(closed.case.state(), State::CLOSED);
    // Who knows already gets no more time by being told again.
    let repeated = lead(30 * DAY, &both, &Action::NotifySubject(again(true))).unwrap().case;
    assert_eq!(repeated.duty(), both.duty());
}

#[test]
fn an_officer_says_what_the_notice_is_of() {
    let case = penalty();
    assert!(
        why(lead(
            2,
            &case,
            &Action::NotifySubject(NotifySubject {
                of_decision: true,
                ..notify(NoticeMeans::Post)
            })
        ))
        .starts_with("of_decision must not")
    );
    let decided = in_state(State::RESOLVED);
    assert!(
        why(lead(2, &decided, &Action::NotifySubject(notify(NoticeMeans::Post))))
            .starts_with("of_decision must be set")
    );
}
