//! Every verb by every part in every state, and the printed tables.

use std::{fmt::Write as _, sync::Arc};

use api::event::{
    NoticeMeans, PauseGround, ReopenReason, ReviewRequester, StatementAnswer, StatementKind, UrgentMeasure,
};

use decision::decide::{Decision, Destination};

use super::*;

/// One of each action, with arguments that are valid for the cases of [`in_state`].
fn actions() -> Vec<Action> {
    let all = vec![
        Action::Acknowledge(Acknowledge),
        Action::Decline(Decline {
            reason: Reason::Place,
            better: None,
        }),
        Action::Transfer(Transfer {
            to: id("police-440300"),
            reason: Reason::Place,
            keep_supporting: false,
        }),
        Action::Escalate(Escalate { reason: Reason::Level }),
        Action::Dispatch(Dispatch {
            to: id("police-450100"),
            reason: Reason::Level,
        }),
        Action::Designate(Designate {
            agency: id("police-450100"),
        }),
        Action::Reclassify(Reclassify {
            category: "consumer-harm".to_owned(),
            refiled: Refiled::Filed(Arc::new(Filing {
                category: "consumer-harm".to_owned(),
                decision: Decision {
                    outcome: Destination::Lead {
                        agency: id("police-440300"),
                        factor: None,
                    },
                    supporting: Vec::new(),
                    terms: matter(&[]).terms,
                    explanation: Default::default(),
                },
                last_resort: Vec::new(),
            })),
        }),
        Action::RequestAssistance(RequestAssistance {
            of: id("police-450200"),
        }),
        Action::AnswerAssistance(AnswerAssistance {
            answer: Answer::Provided,
        }),
        Action::ClaimLead(ClaimLead { reason: Reason::Place }),
        Action::AnswerClaim(AnswerClaim { agreed: true }),
        Action::RecordProgress(RecordProgress),
        Action::RecordUrgentMeasure(RecordUrgentMeasure {
            measure: UrgentMeasure::EvidenceSecured,
        }),
        Action::AskReporter(AskReporter {
            text: "When was it paid?".to_owned(),
            days: 7,
        }),
        Action::Propose(Propose {
            what: what(DispositionKind::Guidance),
            note: CaseNote::default(),
        }),
        Action::Review(Review {
            approved: true,
            officer: "o-2".to_owned(),
            stood_in: false,
        }),
        Action::ReferCrime(ReferCrime {
            to: id("police-450200"),
        }),
        Action::AnswerReferral(AnswerReferral { taken: false }),
        Action::RequestReview(RequestReview {
            requester: ReviewRequester::Reporter,
            notice: None,
        }),
        Action::NotifySubject(NotifySubject {
            again: None,
            recipient: "holder of the account".to_owned(),
            means: NoticeMeans::Post,
            new_receipt: false,
            of_decision: false,
        }),
        Action::SubmitStatement(SubmitStatement {
            notice: 1,
            kind: StatementKind::Statement,
            through: None,
        }),
        Action::AnswerStatement(AnswerStatement {
            notice: 1,
            statements: 1,
            answer: StatementAnswer::Considered,
        }),
        Action::Reopen(Reopen {
            reason: ReopenReason::NewInformation,
        }),
        Action::Recuse(Recuse),
        Action::PauseClock(PauseClock {
            ground: PauseGround::Hearing,
            until: None,
        }),
        Action::ResumeClock(ResumeClock),
        Action::Supervise(Supervise {
            term: Some((5, Unit::Hours)),
        }),
        Action::ShareNarrative(ShareNarrative {
            with: id("police-440000"),
            shared: true,
        }),
        Action::SplitReport(SplitReport {
            report: uuid::Uuid::from_u128(7),
            found: Membership::Joined(uuid::Uuid::from_u128(8)),
        }),
        Action::Assign(Assign {
            to: Assignee::Acting,
            former: None,
            by: "o-1".to_owned(),
            commitment: Vec::new(),
        }),
    ];
    let named: Vec<_> = all.iter().map(|action| action.rule().name).collect();
    let known: Vec<_> = Action::RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(named, known, "an action is missing here");
    all
}

/// A caller with only this part in the cases of [`in_state`]; `None` if no caller has it.
fn caller(part: Part, state: State) -> Option<Party> {
    let agency = match (part, state) {
        (Part::Operator, _) => return Some(Party::Operator),
        (Part::Subject, _) => return Some(Party::Subject(1)),
        (Part::Remit, _) | (Part::Lead | Part::Designating | Part::SuperiorOfLead, State::Ended(_)) => return None,
        (Part::Deciding, State::CLOSED) => "police-450000",
        (Part::Deciding, _) => return None,
        (Part::Supporting | Part::Informed, _) => "police-440000",
        (Part::Assisting, State::Ended(_)) => return None,
        (Part::Assisting, _) => "police-450300",
        (Part::Lead, State::AWAITING_DESIGNATION) => return None,
        (Part::Lead, _) => "police-450000",
        (Part::Supervising, State::ASSIGNED | State::IN_PROGRESS | State::IN_REVIEW) => "police-450000",
        (Part::Supervising, _) => return None,
        (Part::SuperiorOfLead, _) => "police-CN",
        (Part::Referring, State::RESOLVED) => "police-370100",
        (Part::Referring, _) => return None,
        (Part::Receiving, State::RESOLVED) => "police-450200",
        (Part::Receiving, _) => return None,
        (Part::Giving, State::ASSIGNED) => "police-370100",
        (Part::Giving, _) => return None,
        (Part::Designating, State::AWAITING_DESIGNATION) => "police-450000",
        (Part::Designating, _) => return None,
    };
    Some(Party::Agency(id(agency)))
}

/// All parts of that caller: who is asked to assist, or to take a crime, also supports.
fn parts_of(part: Part) -> &'static [Part] {
    match part {
        Part::Assisting => &[Part::Assisting, Part::Supporting],
        Part::Referring => &[Part::Referring, Part::Supporting],
        Part::Receiving => &[Part::Receiving, Part::Informed, Part::Supporting],
        Part::Lead => &[Part::Lead],
        Part::Supporting => &[Part::Supporting],
        Part::Informed => &[Part::Informed, Part::Supporting],
        Part::Giving => &[Part::Giving],
        Part::Designating => &[Part::Designating],
        Part::Deciding => &[Part::Deciding],
        Part::Supervising => &[Part::Supervising, Part::SuperiorOfLead],
        Part::SuperiorOfLead => &[Part::SuperiorOfLead],
        Part::Subject => &[Part::Subject],
        Part::Operator => &[Part::Operator],
        Part::Remit => &[Part::Remit],
    }
}

/// The case of [`before`] in which an action can succeed: to answer a claim, there must be one. Nobody
/// supervises it.
fn ready(state: State, action: &Action) -> Case {
    ready_for(Part::Lead, state, action)
}

/// The action as the part may use it in the state: who does not see the case sets no term.
fn fitting(part: Part, state: State, action: &Action) -> Action {
    match action {
        Action::NotifySubject(notify) => Action::NotifySubject(NotifySubject {
            of_decision: state == State::RESOLVED,
            ..notify.clone()
        }),
        Action::Supervise(_) if part != Part::Supervising => Action::Supervise(Supervise { term: None }),
        Action::RequestReview(_) if part == Part::Subject => Action::RequestReview(RequestReview {
            requester: ReviewRequester::Subject,
            notice: Some(1),
        }),
        action => action.clone(),
    }
}

/// The case of [`ready`]; if the part is that, supervised by 450000 and led by 450200.
fn ready_for(part: Part, state: State, action: &Action) -> Case {
    let mut case = before(state);
    if part == Part::Informed {
        case.supporting[0].informed = true;
    }
    if let Standing::Open(_, duty) = &mut case.standing
        && part == Part::Supervising
    {
        case.supervisor = Some(id("police-450000"));
        duty.owner = id("police-450200");
        duty.clock.owner = id("police-450200");
    }
    if let Standing::Open(_, duty) = &mut case.standing
        && matches!(action, Action::ResumeClock(_))
        && duty.clock.kind() == ClockKind::Result
    {
        let paused = Paused {
            ground: PauseGround::Hearing,
            until: Time(0).plus_seconds(90 * 3_600),
        };
        let worktime = Calendars::shipped().worktime(Directory::shipped().agency(&duty.owner));
        duty.clock = duty.clock.clone().pause(Time(0), paused, worktime);
    }
    if part == Part::Subject || matches!(action, Action::AnswerStatement(_)) {
        let asks = matches!(action, Action::AnswerStatement(_));
        case.course.notices.push(Notice {
            number: 1,
            recipient: "holder of the account".to_owned(),
            of_decision: matches!(action, Action::RequestReview(_)),
            proposal: 0,
            times: 1,
            agency: id("police-450000"),
            means: NoticeMeans::Post,
            time: Time(0),
            respond_by: Time(0).plus_seconds(3_600),
            said: asks.then_some(Statement {
                kind: StatementKind::Statement,
                time: Time(0),
                answered: false,
            }),
            statements: u64::from(asks),
        });
    }
    if let Some(disposition) = &mut case.disposition
        && state == State::RESOLVED
        && (part == Part::Receiving || matches!(action, Action::ReferCrime(_)))
    {
        disposition.what.kind = DispositionKind::SuspectedCrime.into();
        if matches!(action, Action::ReferCrime(_)) {
            disposition.holder = id("market-regulator-450000");
        }
    }
    if part == Part::Referring {
        case.generation += 1;
        case.clocks
            .push(rules(0).clock(&id("police-370100"), REFER, case.generation));
        case.supporting.push(Supporter::asked(id("police-370100")));
    }
    if part == Part::Receiving {
        case.generation += 1;
        case.clocks
            .push(rules(0).clock(&id("police-450200"), RECEIVE, case.generation));
        case.supporting.push(Supporter {
            informed: true,
            ..Supporter::asked(id("police-450200"))
        });
        case.course.referral = Some(Referral {
            to: id("police-450200"),
            time: Time(0),
            taken: None,
        });
    }
    if matches!(action, Action::AnswerClaim(_)) && AnswerClaim::RULE.allows(Part::Lead, state) {
        case.generation += 1;
        case.course.claimant = Some(id("police-440000"));
        case.clocks
            .push(rules(0).clock(&id("police-450000"), CLAIM, case.generation));
    }
    case
}

/// A case in a state. If open, it is led by, or before, 450000, which has units under it; and 450300
/// was asked to assist. One that nobody took over yet was given by 370100. A closed one was decided
/// by 450000.
fn before(state: State) -> Case {
    let mut case = in_state(state);
    if let Some(disposition) = &mut case.disposition {
        disposition.holder = id("police-450000");
    }
    if let Standing::Open(stage, duty) = &mut case.standing {
        duty.owner = id("police-450000");
        duty.clock.owner = id("police-450000");
        case.giver = (*stage == Stage::Assigned).then(|| id("police-370100"));
    }
    if state.is_open() {
        case.generation += 1;
        case.clocks
            .push(rules(0).clock(&id("police-450300"), ASSIST, case.generation));
        case.supporting.push(Supporter::asked(id("police-450300")));
    }
    case
}

/// Who may use which verb in which states, stated once more: a wrong row in a verb's file is found
/// here.
const ALLOWED: &[(&str, Part, &[State])] = &[
    ("acknowledge", Part::Lead, &[State::ASSIGNED]),
    ("decline", Part::Lead, &[State::ASSIGNED]),
    ("transfer", Part::Lead, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("escalate", Part::Lead, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("dispatch", Part::Lead, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("designate", Part::Designating, &[State::AWAITING_DESIGNATION]),
    ("reclassify", Part::Lead, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("reclassify", Part::Designating, &[State::AWAITING_DESIGNATION]),
    (
        "request-assistance",
        Part::Lead,
        &[State::IN_PROGRESS, State::IN_REVIEW],
    ),
    (
        "answer-assistance",
        Part::Assisting,
        &[
            State::AWAITING_DESIGNATION,
            State::ASSIGNED,
            State::IN_PROGRESS,
            State::IN_REVIEW,
            State::RESOLVED,
        ],
    ),
    ("claim", Part::Supporting, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("answer-claim", Part::Lead, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("record-progress", Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW]),
    (
        "record-urgent-measure",
        Part::Lead,
        &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW],
    ),
    ("record-urgent-measure", Part::Giving, &[State::ASSIGNED]),
    (
        "record-urgent-measure",
        Part::Designating,
        &[State::AWAITING_DESIGNATION],
    ),
    ("ask-reporter", Part::Lead, &[State::IN_PROGRESS]),
    ("propose", Part::Lead, &[State::IN_PROGRESS]),
    ("review", Part::Lead, &[State::IN_REVIEW]),
    ("refer", Part::Lead, &[State::RESOLVED]),
    ("refer", Part::Referring, &[State::RESOLVED]),
    ("recuse", Part::Receiving, &[State::RESOLVED]),
    ("reclassify", Part::Supervising, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("answer-referral", Part::Receiving, &[State::RESOLVED]),
    ("request-review", Part::Lead, &[State::RESOLVED]),
    ("request-review", Part::Subject, &[State::RESOLVED]),
    ("notify", Part::Lead, &[State::IN_REVIEW, State::RESOLVED]),
    ("submit-statement", Part::Subject, State::OPEN),
    ("answer-statement", Part::Lead, &[State::IN_REVIEW]),
    ("reopen", Part::Lead, &[State::RESOLVED]),
    ("reopen", Part::Deciding, &[State::CLOSED]),
    (
        "recuse",
        Part::Lead,
        &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW],
    ),
    ("recuse", Part::Giving, &[State::ASSIGNED]),
    ("recuse", Part::Designating, &[State::AWAITING_DESIGNATION]),
    (
        "recuse",
        Part::Supervising,
        &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW],
    ),
    ("designate", Part::Supervising, &[State::ASSIGNED, State::IN_PROGRESS]),
    ("share", Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW]),
    ("split", Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW]),
    (
        "assign",
        Part::Lead,
        &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW, State::RESOLVED],
    ),
    ("assign", Part::Supporting, State::OPEN),
    ("assign", Part::Designating, &[State::AWAITING_DESIGNATION]),
    ("pause", Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW]),
    ("resume", Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW]),
    (
        "supervise",
        Part::SuperiorOfLead,
        &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW],
    ),
    (
        "supervise",
        Part::Supervising,
        &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW],
    ),
    (
        "recuse",
        Part::Supporting,
        &[
            State::AWAITING_DESIGNATION,
            State::ASSIGNED,
            State::IN_PROGRESS,
            State::IN_REVIEW,
        ],
    ),
];

fn is_allowed(rule: &Rule, part: Part, state: State) -> bool {
    let mut rows = ALLOWED.iter();
    rows.any(|(name, may, states)| *name == rule.name && parts_of(part).contains(may) && states.contains(&state))
}

/// Each verb, by each part, in each state is applied or refused, as the table says; a refusal names
/// what is possible.
#[test]
fn p7_every_verb_by_every_part_in_every_state_is_as_the_table_says() {
    let mut cells = 0;
    for action in actions() {
        for part in Part::ALL {
            for state in State::ALL {
                let Some(caller) = caller(part, state) else { continue };
                cells += 1;
                let case = ready_for(part, state, &action);
                let action = fitting(part, state, &action);
                let done = rules(1).act(&case, &matter(&[]), &caller, &action);
                let rule = action.rule();
                let cell = format!("{} by {part:?} in {}: {done:?}", rule.name, state.name());
                match done {
                    Ok(_) => assert!(is_allowed(rule, part, state), "{cell}"),
                    Err(_) if is_allowed(rule, part, state) => panic!("{cell}"),
                    Err(Refusal::Unseen) => assert!(!part.knows(), "{cell}"),
                    Err(Refusal::NotYours { description }) => {
                        assert!(!rule.may.iter().any(|(may, _)| parts_of(part).contains(may)), "{cell}");
                        assert!(description.contains(rule.may[0].0.noun()), "{cell}");
                        assert!(description.contains("now"), "{cell}");
                    }
                    Err(Refusal::WrongState {
                        state: told,
                        description,
                    }) => {
                        assert_eq!(told, state, "{cell}");
                        assert!(rule.may.iter().any(|(may, _)| parts_of(part).contains(may)), "{cell}");
                        assert!(
                            description.contains(state.name()) && description.contains("now"),
                            "{cell}"
                        );
                    }
                    Err(Refusal::Argument { .. }) => panic!("{cell}"),
                }
            }
        }
    }
    assert_eq!(
        cells,
        30 * (4 + 1 + 7 + 7 + 5 + 1 + 1 + 1 + 1 + 3 + 5 + 7 + 7),
        "lead, designating, supporting, informed, asked, receiving, referring, giving, deciding, supervising, superior, affected side, operator"
    );
}

/// An agency without a part is told that there is no such case.
#[test]
fn p7_a_stranger_sees_no_case() {
    for action in actions() {
        for state in State::ALL {
            for agency in ["police-450200", "police-370000", "conference-CN", "no-such-agency"] {
                let done = act(1, &ready(state, &action), &matter(&[]), agency, &action);
                assert_eq!(done, Err(Refusal::Unseen), "{} {agency}", action.rule().name);
            }
        }
    }
}

/// Clocks by kind and owner, with the generation.
fn running(case: &Case) -> Vec<(ClockKind, String, u64)> {
    let clock = |clock: &Clock| (clock.kind(), clock.owner.to_string(), clock.generation);
    case.all_clocks().map(clock).collect()
}

/// The clocks change as the row says: started ones are new, stopped ones are gone, others are kept.
fn assert_clocks(rule: &Rule, before: &Case, after: &Case) {
    let (was, is) = (running(before), running(after));
    for kind in ClockKind::ALL {
        let of = |clocks: &[(ClockKind, String, u64)]| -> Vec<(String, u64)> {
            let of = clocks.iter().filter(|(other, ..)| *other == kind);
            of.map(|(_, owner, generation)| (owner.clone(), *generation)).collect()
        };
        let (was, is) = (of(&was), of(&is));
        let said = format!("{} in {}: {kind:?} {was:?} → {is:?}", rule.name, before.state().name());
        match rule.effect(before.state(), kind) {
            None => assert_eq!(was, is, "{said}"),
            Some(Effect::Start) => assert!(
                is.iter().any(|(_, generation)| *generation > before.generation),
                "{said}"
            ),
            Some(Effect::Stop) => assert!(is.len() < was.len() || was.is_empty(), "{said}"),
            Some(effect @ (Effect::Pause | Effect::Resume)) => {
                assert_eq!(was, is, "{said}");
                let is_paused = |case: &Case| case.duty().is_some_and(|duty| duty.clock.ledger.paused.is_some());
                assert_eq!(is_paused(after), effect == Effect::Pause, "{said}");
                assert_ne!(is_paused(before), is_paused(after), "{said}");
            }
        }
    }
}

#[test]
fn p5_every_transition_does_to_the_clocks_what_its_row_says() {
    for action in actions() {
        for state in State::ALL {
            for part in Part::ALL.into_iter().filter(|part| action.rule().allows(*part, state)) {
                let mut case = ready_for(part, state, &action);
                let action = fitting(part, state, &action);
                let caller = caller(part, state).unwrap();
                // The unit under the owner that was asked to assist steps aside with it.
                if action == Action::Recuse(Recuse) && ![Part::Supporting, Part::Receiving].contains(&part) {
                    case.clocks.clear();
                }
                let done = rules(1).act(&case, &matter(&[]), &caller, &action).unwrap();
                match [Part::Supporting, Part::Giving, Part::Receiving].contains(&part) {
                    // Who steps aside and does not own the case changes no clock of the owner.
                    true if action == Action::Recuse(Recuse) => assert_eq!(done.case.duty(), case.duty()),
                    _ if action == Action::Supervise(Supervise { term: None }) => {
                        assert_eq!(done.case.duty(), case.duty());
                    }
                    _ => assert_clocks(action.rule(), &case, &done.case),
                }
            }
        }
    }
    let case = in_state(State::RESOLVED);
    let closed = missed(&rules(10_000), &case, &matter(&[]), case.generation).unwrap();
    assert_clocks(close::RULE, &case, &closed.case);
    for state in [State::ASSIGNED, State::IN_PROGRESS] {
        let claimed = ready(state, &Action::AnswerClaim(AnswerClaim { agreed: true }));
        let disputed = rules(1).act(
            &claimed,
            &matter(&[]),
            &Party::Agency(id("police-450000")),
            &Action::AnswerClaim(AnswerClaim { agreed: false }),
        );
        assert_clocks(claim::DISPUTE, &claimed, &disputed.unwrap().case);
    }
    for state in State::ALL
        .into_iter()
        .filter(|state| hand_up::RULE.allows(Part::Remit, *state))
    {
        let case = in_state(state);
        let up = missed(&rules(10_000), &case, &matter(&[]), case.generation).unwrap();
        assert_clocks(hand_up::RULE, &case, &up.case);
        let mut last = case.clone();
        let Standing::Open(_, duty) = &mut last.standing else {
            panic!()
        };
        duty.owner = id("conference-CN");
        duty.clock.owner = id("conference-CN");
        let again = missed(&rules(10_000), &last, &matter(&[]), last.generation).unwrap();
        assert_clocks(hand_up::REPEAT, &last, &again.case);
        let mut asked = case.clone();
        asked.generation += 1;
        asked
            .clocks
            .push(rules(0).clock(&id("police-440000"), ASSIST, asked.generation));
        let on = rules(10_000)
            .clock_missed(&asked, &matter(&[]), ClockKind::Assist, asked.generation)
            .unwrap();
        assert_clocks(hand_up::PASS_ON, &asked, &on.case);
    }
}

/// In each state a row starts at most one clock of the duty.
#[test]
fn p5_a_row_starts_at_most_one_clock_of_the_duty() {
    for rule in Rule::all() {
        for state in State::ALL {
            let started: Vec<_> = ClockKind::ALL
                .into_iter()
                .filter(|kind| kind.is_of_the_duty() && rule.effect(state, *kind) == Some(Effect::Start))
                .collect();
            assert!(started.len() <= 1, "{} in {}: {started:?}", rule.name, state.name());
            assert_eq!(rule.starts(state), started.first().copied());
        }
    }
}

/// The content of `docs/casework.md`.
fn printed() -> String {
    let mut text = String::from(
        "# Casework: who may do what, and what it does to the clocks\n\n\
         Printed from the rules by a test of the crate `routing`; `UPDATE=1 cargo test -p routing casework` writes it anew.\n\n\
         ## Who may do what in which state\n\n\
         A cell names the parts that may. Everybody else is refused, and told what would be possible; an agency without a part is told \
         that there is no such case.\n\n",
    );
    let header = |text: &mut String, first: &str| {
        let names: Vec<_> = State::ALL.iter().map(|state| format!("`{}`", state.name())).collect();
        writeln!(
            text,
            "| {first} | {} |\n|{}",
            names.join(" | "),
            "---|".repeat(names.len() + 1)
        )
        .unwrap();
    };
    header(&mut text, "verb");
    for rule in Rule::all() {
        let cells = State::ALL.map(|state| {
            let parts: Vec<_> = Part::ALL.into_iter().filter(|part| rule.allows(*part, state)).collect();
            parts.into_iter().map(Part::name).collect::<Vec<_>>().join(", ")
        });
        writeln!(text, "| {} | {} |", rule.name, cells.join(" | ")).unwrap();
    }
    text.push_str("\n## What it does to the clocks\n\nClocks that are not named go on as they are. For `open`, the state is the one that the case opens in.\n\n");
    header(&mut text, "verb");
    for rule in Rule::all() {
        let cells = State::ALL.map(|state| {
            let effects = ClockKind::ALL.into_iter().filter_map(|kind| {
                let effect = match rule.effect(state, kind)? {
                    Effect::Start => "start",
                    Effect::Stop => "stop",
                    Effect::Pause => "pause",
                    Effect::Resume => "resume",
                };
                Some(format!("{effect} {}", kind.as_str()))
            });
            effects.collect::<Vec<_>>().join(", ")
        });
        writeln!(text, "| {} | {} |", rule.name, cells.join(" | ")).unwrap();
    }
    text.push_str(
        "\nA clock that runs against the new owner of a case ends with the change. Where an owner ends without a successor that may see the case, \
         `succeed` starts `designate` against the superior. `propose` changes no clock where a second person is needed, nor does `review` when \
         it returns a disposition, nor `supervise` without a term. Where another than the owner steps aside by `recuse`, only clocks against it and units under it end. `answer-claim` stands for agreeing; disputing is \
         `dispute-claim`. `ask-reporter` pauses the time for the result where the rule set allows `waiting-for-reporter`, and the answer resumes it. `notify` starts the time for a review anew, with 30 days more after an announcement, and never shortens it; `submit-statement`, and `request-review` of the affected side, are what that side says by the receipt of its notice. `add-information`, `answer-question`, `withdraw` and `request-withdrawal` are what the reporter says, by the receipt; `withdraw` ends the case, unless its category is urgent or anybody is excluded. `assign` is an agency's own affair: nobody else is shown it, and for nobody else the case has changed.\n",
    );
    text.push_str("\n## What each part sees\n\n| part | its outline | the case | content of its reports | who is excluded | what officers write |\n|---|---|---|---|---|---|\n");
    for part in Part::ALL.into_iter().filter(|part| *part != Part::Remit) {
        let cells = Sight::ALL.map(|sight| match part.sees().contains(&sight) {
            true => "yes",
            false => "",
        });
        writeln!(text, "| {} | {} |", part.name(), cells.join(" | ")).unwrap();
    }
    text.push_str("\nThe outline is what a superior has on the lists of open cases below it: name, category, state, owner, and the clock under which that must act. It is not told of changes, and a superior that the reporter keeps out has not even that.\n");
    text.push_str("\n## Clocks\n\n| clock | runs until | set by |\n|---|---|---|\n");
    for (kind, until, by) in [
        (
            ClockKind::Acknowledge,
            "the lead takes the case over",
            "the row that routed the case",
        ),
        (
            ClockKind::Result,
            "the lead comes to a result",
            "the row that routed the case",
        ),
        (
            ClockKind::Designate,
            "the superior designates a lead",
            "10 working days (网信部门行政执法程序规定 13)",
        ),
        (
            ClockKind::Assist,
            "the agency that was asked answers",
            "5 working days (ours: no rule was found that gives a figure)",
        ),
        (
            ClockKind::Review,
            "the time for a review has ended, and the case closes",
            "60 calendar days (行政复议法 20)",
        ),
        (
            ClockKind::Claim,
            "the lead answers a claim",
            "7 working days (市场监督管理行政处罚程序规定)",
        ),
    ] {
        writeln!(text, "| {} | {until} | {by} |", kind.as_str()).unwrap();
    }
    text
}

#[test]
fn casework_is_printed_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/casework.md");
    let printed = printed();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        kept, printed,
        "docs/casework.md differs from the rules; UPDATE=1 writes it anew"
    );
}
