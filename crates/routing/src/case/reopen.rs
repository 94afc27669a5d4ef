//! `ReopenCase`: the agency that decided opens the case again.

use api::event::ReopenReason;

use super::{
    Before, Case, Duty, Effect, Event, Origin, Part, Refusal, Rule, Rules, Stage, Standing, State, Transition,
};
use decision::calendar::ClockKind;

const FROM: &[State] = &[State::RESOLVED, State::CLOSED];

/// The agency that decided opens the case again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reopen {
    /// Why.
    pub reason: ReopenReason,
}

impl Reopen {
    pub(super) const RULE: &Rule = &Rule {
        name: "reopen",
        doing: "open it again",
        may: &[(Part::Lead, &[State::RESOLVED]), (Part::Deciding, &[State::CLOSED])],
        clocks: &[
            (&[State::RESOLVED], ClockKind::Review, Effect::Stop),
            (FROM, ClockKind::Acknowledge, Effect::Start),
        ],
    };

    /// It leads the case as if it came to it anew, with the whole time for a result.
    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let (Some(disposition), Some(terms)) = (&case.disposition, &matter.terms) else {
            return Err(Refusal::Unseen);
        };
        let owner = &disposition.holder;
        let generation = case.generation + 1;
        let mut after = Case {
            standing: Standing::Open(
                Stage::Assigned,
                Duty {
                    clock: rules.clock(owner, terms.clocks.acknowledge, generation),
                    owner: owner.clone(),
                    origin: Origin::Reopened(owner.clone()),
                },
            ),
            disposition: None,
            generation,
            ..case.clone()
        };
        after.course.result_used = 0;
        after.drop_referral();
        Ok(Transition {
            event: Event::Reopened {
                reason: self.reason,
                what: disposition.what.clone(),
            },
            case: after,
        })
    }
}
