//! Tests of the rules as a whole, and what the tests of the verbs share.

use std::fmt::Write as _;

use super::*;
use decision::{
    calendar::{ClockRule, Unit},
    rules::{Review, Terms},
};

pub(super) fn id(text: &str) -> AgencyId {
    AgencyId::new(text).unwrap()
}

fn rule(kind: ClockKind, value: u32) -> ClockRule {
    ClockRule {
        kind,
        value,
        unit: Unit::Hours,
    }
}

/// The shipped directory and calendars, hours after the beginning.
pub(super) fn rules(hours: i64) -> Rules<'static> {
    Rules {
        directory: Directory::shipped(),
        calendars: Calendars::shipped(),
        now: Time(0).plus_seconds(hours * 3_600),
    }
}

/// A day to acknowledge, a hundred hours for the result.
pub(super) fn matter(excluded: &[&str]) -> Matter {
    Matter {
        excluded: excluded.iter().map(|text| id(text)).collect(),
        last_resort: Vec::new(),
        terms: Some(Terms {
            clocks: Clocks {
                acknowledge: rule(ClockKind::Acknowledge, 24),
                result: rule(ClockKind::Result, 100),
            },
            review: Review::None,
            holds: Vec::new(),
            support: Vec::new(),
        }),
        supporting: Vec::new(),
    }
}

fn open(stage: Stage, clock: ClockRule, owner: &str, supporting: &[&str], generation: u64) -> Case {
    let owner = id(owner);
    Case {
        standing: Standing::Open(
            stage,
            Duty {
                clock: rules(0).clock(&owner, clock, generation),
                owner,
                origin: Origin::Routed,
            },
        ),
        supporting: supporting.iter().map(|text| id(text)).collect(),
        clocks: Vec::new(),
        generation,
    }
}

pub(super) fn assigned(owner: &str, supporting: &[&str]) -> Case {
    open(Stage::Assigned, rule(ClockKind::Acknowledge, 24), owner, supporting, 1)
}

pub(super) fn in_progress(owner: &str, supporting: &[&str]) -> Case {
    open(Stage::InProgress, rule(ClockKind::Result, 100), owner, supporting, 2)
}

fn ended(end: End, supporting: &[&str]) -> Case {
    Case {
        standing: Standing::Ended(end),
        ..assigned("police-450100", supporting)
    }
}

/// A case in a state, led by 450100 or before 450000 where it is open, supported by 440000.
fn in_state(state: State) -> Case {
    let supporting = &["police-440000"];
    match state {
        State::Open(Stage::AwaitingDesignation) => {
            open(Stage::AwaitingDesignation, DESIGNATE, "police-450000", supporting, 1)
        }
        State::Open(Stage::Assigned) => assigned("police-450100", supporting),
        State::Open(stage) => open(stage, rule(ClockKind::Result, 100), "police-450100", supporting, 2),
        State::Ended(end) => ended(end, supporting),
    }
}

pub(super) fn act(hours: i64, case: &Case, matter: &Matter, by: &str, action: &Action) -> Result<Transition, Refusal> {
    rules(hours).act(case, matter, &Party::Agency(id(by)), action)
}

/// State, owner, generation, due hour, supporting.
pub(super) fn told(case: &Case) -> (State, &str, u64, i64, Vec<&str>) {
    let duty = case.duty().unwrap();
    (
        case.state(),
        duty.owner.as_str(),
        duty.clock.generation,
        duty.clock.due.0 / 3_600_000_000,
        case.supporting.iter().map(AgencyId::as_str).collect(),
    )
}

/// A missed clock of the duty, of whichever kind it is.
fn missed(rules: &Rules<'_>, case: &Case, matter: &Matter, generation: u64) -> Option<Transition> {
    rules.clock_missed(case, matter, case.duty()?.clock.kind(), generation)
}

#[test]
fn names_lead_back() {
    for state in State::ALL {
        assert_eq!(State::from_name(state.name()), Some(state));
        assert_eq!(State::from_proto(state.to_proto()), Some(state));
        assert_eq!(in_state(state).state(), state);
    }
    assert_eq!(State::from_proto(CaseState::Unspecified), None);
    for part in Part::STORED {
        assert_eq!(Part::from_name(part.name()), Some(part));
    }
    for origin in [
        Origin::Routed,
        Origin::Escalated(id("police-CN")),
        Origin::Succeeded(id("police-CN")),
    ] {
        let (name, from) = origin.parts();
        assert_eq!(Origin::from_parts(name, from.cloned()), Some(origin));
    }
}

/// One of each action, with arguments that fit the cases of [`in_state`] where it is allowed.
fn actions() -> Vec<Action> {
    let all = vec![
        Action::Acknowledge(Acknowledge),
        Action::RequestAssistance(RequestAssistance {
            of: id("police-450200"),
        }),
        Action::AnswerAssistance(AnswerAssistance {
            answer: Answer::Provided,
        }),
    ];
    let named: Vec<_> = all.iter().map(|action| action.rule().name).collect();
    let known: Vec<_> = Action::RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(named, known, "an action is missing here");
    all
}

/// A caller with exactly this part in the cases of [`in_state`]; `None` where nobody has it.
fn caller(part: Part, state: State) -> Option<Party> {
    let agency = match (part, state) {
        (Part::Operator, _) => return Some(Party::Operator),
        (Part::Remit, _) | (Part::Lead | Part::Designating | Part::SuperiorOfLead, State::Ended(_)) => return None,
        (Part::Supporting, _) => "police-440000",
        (Part::Assisting, State::Ended(_)) => return None,
        (Part::Assisting, _) => "police-450300",
        (Part::Lead | Part::SuperiorOfLead, State::AWAITING_DESIGNATION) => return None,
        (Part::Lead, _) => "police-450100",
        (Part::SuperiorOfLead, _) => "police-450000",
        (Part::Designating, State::AWAITING_DESIGNATION) => "police-450000",
        (Part::Designating, _) => return None,
    };
    Some(Party::Agency(id(agency)))
}

/// The case before an action: one agency was asked to assist.
fn before(state: State) -> Case {
    let mut case = in_state(state);
    if state.is_open() {
        case.generation += 1;
        case.clocks
            .push(rules(0).clock(&id("police-450300"), ASSIST, case.generation));
        case.supporting.push(id("police-450300"));
    }
    case
}

/// Every cell of the table: each verb, by each part, in each state, is done or is refused with what would be possible.
#[test]
fn p7_every_verb_by_every_part_in_every_state_is_as_the_table_says() {
    let mut cells = 0;
    for action in actions() {
        for part in Part::ALL {
            for state in State::ALL {
                let Some(caller) = caller(part, state) else { continue };
                cells += 1;
                let case = before(state);
                let done = rules(1).act(&case, &matter(&[]), &caller, &action);
                let rule = action.rule();
                let cell = format!("{} by {part:?} in {}: {done:?}", rule.name, state.name());
                match done {
                    Ok(_) => assert!(rule.allows(part, state), "{cell}"),
                    Err(Refusal::Unseen) => assert!(!part.sees().contains(&Sight::Case), "{cell}"),
                    Err(Refusal::NotYours { description }) => {
                        assert!(!rule.may.iter().any(|(may, _)| *may == part), "{cell}");
                        assert!(description.contains(rule.may[0].0.name()), "{cell}");
                        assert!(description.contains("now"), "{cell}");
                    }
                    Err(Refusal::WrongState {
                        state: told,
                        description,
                    }) => {
                        assert!(!rule.allows(part, state) && told == state, "{cell}");
                        assert!(rule.may.iter().any(|(may, _)| *may == part), "{cell}");
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
        3 * (4 + 1 + 7 + 5 + 4 + 7),
        "lead, designating, supporting, asked, superior, operator"
    );
}

/// A stranger learns nothing, whatever it asks for and wherever the case stands.
#[test]
fn p7_a_stranger_sees_no_case() {
    for action in actions() {
        for state in State::ALL {
            for agency in ["police-450200", "police-CN", "conference-CN", "no-such-agency"] {
                let done = act(1, &before(state), &matter(&[]), agency, &action);
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

/// What a row says of a clock is what happens to it: started ones are new, stopped ones are gone, all others are as they were.
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
            Some(Effect::Pause) => panic!("{said}: nothing pauses a clock yet"),
        }
    }
}

#[test]
fn p5_every_transition_does_to_the_clocks_what_its_row_says() {
    for action in actions() {
        for state in State::ALL {
            for part in Part::ALL.into_iter().filter(|part| action.rule().allows(*part, state)) {
                let case = before(state);
                let caller = caller(part, state).unwrap();
                let done = rules(1).act(&case, &matter(&[]), &caller, &action).unwrap();
                assert_clocks(action.rule(), &case, &done.case);
            }
        }
    }
    for state in State::ALL.into_iter().filter(|state| state.is_open()) {
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

/// In each state in which a row starts a clock of the duty, it starts one.
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

#[test]
fn a_missed_request_for_assistance_goes_to_the_superior_and_the_lead_stays() {
    let case = in_progress("police-450100", &[]);
    let request = Action::RequestAssistance(RequestAssistance {
        of: id("police-440600"),
    });
    let request_of = |case: &Case, of: &str| {
        let request = Action::RequestAssistance(RequestAssistance { of: id(of) });
        act(1, case, &matter(&[]), "police-450100", &request).map(|done| done.case)
    };
    assert!(matches!(request, Action::RequestAssistance(_)));
    let mut case = request_of(&case, "police-440000").unwrap();
    let mut asked = Vec::new();
    for hours in [1_000, 2_000, 3_000, 4_000] {
        let [clock] = &case.clocks[..] else {
            panic!("{:?}", case.clocks)
        };
        assert_eq!(
            rules(2).clock_missed(&case, &matter(&[]), ClockKind::Assist, clock.generation),
            None,
            "not due"
        );
        let generation = clock.generation;
        let on = rules(hours)
            .clock_missed(&case, &matter(&[]), ClockKind::Assist, generation)
            .unwrap();
        assert_eq!(on.event.kind().name(), "case.clock-missed");
        assert_eq!(on.case.standing, case.standing);
        case = on.case;
        asked.push(case.clocks[0].owner.to_string());
    }
    assert_eq!(asked, ["police-CN", "conference-CN", "conference-CN", "conference-CN"]);
    // A superior that leads the case is not asked: it knows.
    let led_above = request_of(&in_progress("police-450100", &[]), "police-440000").unwrap();
    let Standing::Open(stage, duty) = led_above.standing.clone() else {
        panic!()
    };
    let led_above = Case {
        standing: Standing::Open(
            stage,
            Duty {
                owner: id("police-CN"),
                ..duty
            },
        ),
        ..led_above
    };
    let generation = led_above.clocks[0].generation;
    let ended = rules(1_000)
        .clock_missed(&led_above, &matter(&[]), ClockKind::Assist, generation)
        .unwrap();
    assert_eq!(
        (ended.case.clocks, ended.case.supporting),
        (vec![], vec![id("police-440000")])
    );
}

/// The tables as `docs/casework.md` has them.
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
                };
                Some(format!("{effect} {}", kind.as_str()))
            });
            effects.collect::<Vec<_>>().join(", ")
        });
        writeln!(text, "| {} | {} |", rule.name, cells.join(" | ")).unwrap();
    }
    text.push_str("\n## What each part sees\n\n| part | the case | content of its reports | who is excluded |\n|---|---|---|---|\n");
    for part in Part::ALL.into_iter().filter(|part| *part != Part::Remit) {
        let cells = [Sight::Case, Sight::Content, Sight::Exclusions].map(|sight| match part.sees().contains(&sight) {
            true => "yes",
            false => "",
        });
        writeln!(text, "| {} | {} |", part.name(), cells.join(" | ")).unwrap();
    }
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

#[test]
fn a_missed_clock_climbs_to_the_conference_which_keeps_it() {
    let mut case = assigned("police-450100", &["police-CN"]);
    let mut ladder = Vec::new();
    for generation in 1..=5 {
        let at = rules(1_000 * i64::try_from(generation).unwrap());
        let up = missed(&at, &case, &matter(&[]), generation).unwrap();
        case = up.case;
        ladder.push((up.event.kind().name(), told(&case).1.to_owned()));
    }
    let ladder: Vec<_> = ladder.iter().map(|(kind, owner)| (*kind, owner.as_str())).collect();
    assert_eq!(
        ladder,
        [
            ("case.escalated", "police-450000"),
            ("case.escalated", "police-CN"),
            ("case.escalated", "conference-CN"),
            ("case.clock-missed", "conference-CN"),
            ("case.clock-missed", "conference-CN"),
        ]
    );
    assert_eq!(
        told(&case),
        (
            State::ASSIGNED,
            "conference-CN",
            6,
            5_024,
            vec!["police-450100", "police-450000", "police-CN"]
        ),
        "who led supports, each once"
    );
}

#[test]
fn p4_the_ladder_ends_where_the_rule_set_that_routed_the_case_says() {
    // Who is no longer in the directory is passed over; the next of those named decides.
    let matter = Matter {
        last_resort: vec![id("joint-office-CN"), id("inspection-CN"), id("conference-CN")],
        ..matter(&[])
    };
    let mut case = assigned("police-450000", &[]);
    let mut ladder = Vec::new();
    for generation in 1..=3 {
        let at = rules(1_000 * i64::try_from(generation).unwrap());
        let up = missed(&at, &case, &matter, generation).unwrap();
        case = up.case;
        ladder.push((up.event.kind().name(), told(&case).1.to_owned()));
    }
    let ladder: Vec<_> = ladder.iter().map(|(kind, owner)| (*kind, owner.as_str())).collect();
    assert_eq!(
        ladder,
        [
            ("case.escalated", "police-CN"),
            ("case.escalated", "inspection-CN"),
            ("case.clock-missed", "inspection-CN"),
        ]
    );
}

#[test]
fn p4_an_excluded_last_resort_has_a_substitute() {
    let case = assigned("police-CN", &[]);
    let escalated = |matter: &Matter| {
        let next = missed(&rules(24), &case, matter, 1).unwrap().case;
        told(&next).1.to_owned()
    };
    let named = Matter {
        last_resort: vec![id("conference-CN"), id("inspection-CN")],
        ..matter(&["conference-CN"])
    };
    assert_eq!(escalated(&named), "inspection-CN");
    assert_eq!(
        escalated(&matter(&["conference-CN"])),
        "content-regulator-CN",
        "where no substitute is named, another unit at the top"
    );
}

/// The shipped directory, where Nanning's and Liuzhou's police ended in 1969 with these successors.
fn succeeded_by(nanning: &str, liuzhou: &str) -> Directory {
    let mut source = Directory::shipped().source().to_owned();
    for (agency, successor) in [("police-450100", nanning), ("police-450200", liuzhou)] {
        let line = source
            .lines()
            .find(|line| line.contains(&format!("id: {agency},")))
            .unwrap();
        let ends = format!("valid_to: 1969-12-31, successor: {successor}, superior:");
        source = source.replace(line, &line.replace("superior:", &ends));
    }
    Directory::parse(&source, Directory::shipped().territories()).unwrap()
}

#[test]
fn p4_successors_support_once_and_not_what_they_own_or_are_kept_out_of() {
    let today = jiff::civil::date(1970, 1, 1);
    let case = assigned("police-450100", &["police-450200", "police-450000", "police-440000"]);
    let succeeded = |nanning: &str, liuzhou: &str, excluded: &[&str]| {
        let directory = succeeded_by(nanning, liuzhou);
        let rules = Rules {
            directory: &directory,
            ..rules(1)
        };
        let after = rules.succeeded(&case, &matter(excluded), today).unwrap().case;
        let (_, owner, _, _, supporting) = told(&after);
        (owner.to_owned(), supporting.join(" "))
    };
    let expected = |owner: &str, supporting: &str| (owner.to_owned(), supporting.to_owned());
    assert_eq!(
        succeeded("police-450000", "police-450300", &[]),
        expected("police-450000", "police-450300 police-440000"),
        "who owns it now supports it no more"
    );
    assert_eq!(
        succeeded("police-450300", "police-450000", &[]),
        expected("police-450300", "police-450000 police-440000"),
        "once"
    );
    assert_eq!(
        succeeded("police-450000", "police-450300", &["police-450300"]),
        expected("police-450000", "police-440000"),
        "kept out"
    );
}

#[test]
fn the_climb_passes_excluded_units() {
    let case = assigned("police-450100", &[]);
    let next = missed(&rules(24), &case, &matter(&["police-CN"]), 1).unwrap().case;
    assert_eq!(
        told(&next).1,
        "conference-CN",
        "450000 stands under the excluded unit, too"
    );
}

#[test]
fn a_clock_ends_once_and_not_early() {
    let case = assigned("police-450100", &[]);
    assert_eq!(missed(&rules(23), &case, &matter(&[]), 1), None);
    assert_eq!(missed(&rules(24), &case, &matter(&[]), 2), None);
    let next = missed(&rules(24), &case, &matter(&[]), 1).unwrap().case;
    assert_eq!(
        missed(&rules(1_000), &next, &matter(&[]), 1),
        None,
        "another generation runs"
    );
}

#[test]
fn a_late_designation_goes_up_without_a_lead() {
    let case = open(Stage::AwaitingDesignation, DESIGNATE, "police-450000", &[], 1);
    let next = missed(&rules(10_000), &case, &matter(&[]), 1).unwrap().case;
    let (state, owner, generation, _, supporting) = told(&next);
    assert_eq!(
        (state, owner, generation, supporting.len()),
        (State::AWAITING_DESIGNATION, "police-CN", 2, 0)
    );
}
