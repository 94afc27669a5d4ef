//! Opens a case from a decision.

use super::{
    Case, Course, Duty, Effect, End, Event, Origin, Part, Rule, Rules, Stage, Standing, State, Supporter, Transition,
};
use decision::{
    calendar::{ClockKind, ClockRule, Unit},
    decide::{Decision, Destination},
};

/// Time limit for a superior to designate: 10 working days, as for cyberspace offices
/// (网信部门行政执法程序规定 13).
pub const DESIGNATE: ClockRule = ClockRule {
    kind: ClockKind::Designate,
    value: 10,
    unit: Unit::WorkingDays,
};

pub(super) const RULE: &Rule = &Rule {
    name: "open",
    doing: "open it",
    // There is no case before it, hence no state.
    may: &[(Part::Remit, &[])],
    clocks: &[
        (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Start),
        (&[State::AWAITING_DESIGNATION], ClockKind::Designate, Effect::Start),
    ],
};

impl Rules<'_> {
    /// Opens the case that a decision asks for.
    pub fn open(&self, decision: &Decision) -> Transition {
        let duty = |owner, clock| Duty {
            clock: self.clock(owner, clock, 1),
            owner: owner.clone(),
            origin: Origin::Routed,
        };
        let (event, standing) = match (&decision.outcome, &decision.terms) {
            (Destination::Lead { agency, .. }, Some(terms)) => {
                let duty = duty(agency, terms.clocks.acknowledge);
                (Event::Opened, Standing::Open(Stage::Assigned, duty))
            }
            (Destination::Designate { superior }, Some(_)) => {
                let duty = duty(superior, DESIGNATE);
                (Event::Opened, Standing::Open(Stage::AwaitingDesignation, duty))
            }
            // A decision has no terms exactly when it advises.
            (Destination::Advise { .. }, _) | (_, None) => (Event::Advised, Standing::Ended(End::Advised)),
        };
        Transition {
            event,
            case: Case {
                generation: u64::from(matches!(standing, Standing::Open(..))),
                standing,
                supporting: decision
                    .supporting
                    .iter()
                    .map(|(agency, _)| Supporter::of(agency.clone()))
                    .collect(),
                clocks: Vec::new(),
                giver: None,
                supervisor: None,
                course: Course::default(),
                disposition: None,
            },
        }
    }
}
