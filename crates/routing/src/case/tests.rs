//! Fixtures of the rules' tests. `matrix.rs` tries every verb by every part in every state,
//! `hand_on.rs` the verbs that give a case to another agency, `asking.rs` what reporters are
//! asked and say, `notices.rs` what the affected side has notice of and says, `claims.rs` claims
//! to lead it and agencies that step aside, `disposition.rs` how it is disposed of, `ladder.rs`
//! Remit's own actions, `referrals.rs` suspected crimes, `refiling.rs` other categories,
//! `supervision.rs` pauses and supervision.

mod asking;
mod claims;
mod disposition;
mod hand_on;
mod ladder;
mod matrix;
mod model;
mod notices;
mod referrals;
mod refiling;
mod supervision;

use api::{
    event::{self, DispositionEffect, DispositionKind, HandOverReason, PauseGround},
    routing::CaseNote,
};

use super::*;
use decision::{
    calendar::{ClockRule, Unit},
    directory::Function,
    rules::{self, PauseNeed, Terms},
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

/// The shipped directory and calendars, at a number of hours after 1970.
pub(super) fn rules(hours: i64) -> Rules<'static> {
    Rules {
        directory: Directory::shipped(),
        calendars: Calendars::shipped(),
        now: Time(0).plus_seconds(hours * 3_600),
    }
}

/// Limits: a day to acknowledge, a hundred hours for the result.
pub(super) fn matter(excluded: &[&str]) -> Matter {
    Matter {
        excluded: excluded.iter().map(|text| id(text)).collect(),
        last_resort: Vec::new(),
        terms: Some(Terms {
            function: Function::new("police").unwrap(),
            clocks: Clocks {
                acknowledge: rule(ClockKind::Acknowledge, 24),
                result: rule(ClockKind::Result, 100),
            },
            review: rules::Review::None,
            holds: Vec::new(),
            support: Vec::new(),
            pauses: vec![PauseNeed {
                ground: PauseGround::Hearing,
                functions: Vec::new(),
                value: 48,
                unit: Unit::Hours,
                source: "ours".to_owned(),
            }],
            supervision: None,
        }),
        category: "fraud.investment".to_owned(),
    }
}

/// A disposition of a kind, with one effect.
pub(super) fn what(kind: DispositionKind) -> event::Disposition {
    event::Disposition {
        kind: kind.into(),
        effects: vec![DispositionEffect::Corrected.into()],
        legal_basis: "治安管理处罚法 51".to_owned(),
    }
}

/// One that the officer `o-1` of 450100 proposed.
pub(super) fn proposed(kind: DispositionKind) -> Disposition {
    Disposition {
        what: what(kind),
        by: id("police-450100"),
        holder: id("police-450100"),
        note: CaseNote {
            text: "because".to_owned(),
            officer: "o-1".to_owned(),
            ..CaseNote::default()
        },
        propose_time: Time(0),
        decided: None,
    }
}

fn decided() -> Disposition {
    let decided = Decided {
        time: Time(0),
        reviewer: None,
    };
    Disposition {
        decided: Some(decided),
        ..proposed(DispositionKind::Guidance)
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
        supporting: supporting.iter().map(|text| Supporter::of(id(text))).collect(),
        clocks: Vec::new(),
        giver: None,
        supervisor: None,
        course: Course::default(),
        disposition: None,
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
        disposition: (end == End::Closed).then(decided),
        ..assigned("police-450100", supporting)
    }
}

/// A case in a state, supported by 440000. If open, it is led by 450100 or before 450000.
fn in_state(state: State) -> Case {
    let supporting = &["police-440000"];
    match state {
        State::Open(Stage::AwaitingDesignation) => {
            open(Stage::AwaitingDesignation, DESIGNATE, "police-450000", supporting, 1)
        }
        State::Open(Stage::Assigned) => assigned("police-450100", supporting),
        State::Open(Stage::InReview) => Case {
            disposition: Some(proposed(DispositionKind::Guidance)),
            ..open(
                Stage::InReview,
                rule(ClockKind::Result, 100),
                "police-450100",
                supporting,
                2,
            )
        },
        State::Open(Stage::Resolved) => Case {
            disposition: Some(decided()),
            ..open(Stage::Resolved, REVIEW, "police-450100", supporting, 3)
        },
        State::Open(stage) => open(stage, rule(ClockKind::Result, 100), "police-450100", supporting, 2),
        State::Ended(end) => ended(end, supporting),
    }
}

pub(super) fn act(hours: i64, case: &Case, matter: &Matter, by: &str, action: &Action) -> Result<Transition, Refusal> {
    rules(hours).act(case, matter, &Party::Agency(id(by)), action)
}

/// State, owner, generation, due hour, supporting.
pub(super) fn standing_of(case: &Case) -> (State, &str, u64, i64, Vec<&str>) {
    let duty = case.duty().unwrap();
    (
        case.state(),
        duty.owner.as_str(),
        duty.clock.generation,
        duty.clock.due.0 / 3_600_000_000,
        case.supporting().map(AgencyId::as_str).collect(),
    )
}

/// The transition when the duty's clock is missed.
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
    for reason in Reason::ALL {
        assert_eq!(Reason::from_proto(reason.to_proto()), Some(reason));
    }
    assert_eq!(Reason::from_proto(HandOverReason::Unspecified), None);
    for part in Part::STORED {
        assert_eq!(Part::from_name(part.name()), Some(part));
    }
    for origin in [
        Origin::Routed,
        Origin::Escalated(id("police-CN")),
        Origin::Succeeded(id("police-CN")),
        Origin::Transferred(id("police-CN")),
        Origin::Declined(id("police-CN")),
        Origin::Designated(id("police-CN")),
        Origin::HandedUp(id("police-CN")),
        Origin::Dispatched(id("police-CN")),
        Origin::Claimed(id("police-CN")),
        Origin::Disputed(id("police-CN")),
        Origin::Review(id("police-CN")),
        Origin::Reopened(id("police-CN")),
        Origin::Recused(id("police-CN")),
        Origin::Reclassified(id("police-CN")),
        Origin::Refused(id("police-CN")),
    ] {
        let (name, from) = origin.parts();
        assert_eq!(Origin::from_parts(name, from.cloned()), Some(origin));
    }
}
