//! `ReviewDisposition`: a second person at the lead approves or returns a proposed disposition.

use super::{
    Before, Case, Effect, Event, Part, Refusal, Rule, Rules, Stage, Standing, State, Transition,
    disposition::SecondPerson,
};
use decision::calendar::ClockKind;

/// A second person approves or returns the proposed disposition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Whether it is approved. Otherwise it goes back to the proposer.
    pub approved: bool,
    /// The reviewing officer.
    pub officer: String,
    /// Whether that officer and the proposer acted in each other's stead since the proposal.
    pub stood_in: bool,
}

impl Review {
    pub(super) const RULE: &Rule = &Rule {
        name: "review",
        doing: "review the proposed disposition",
        may: &[(Part::Lead, &[State::IN_REVIEW])],
        // When it is returned, the result's clock goes on.
        clocks: &[
            (&[State::IN_REVIEW], ClockKind::Result, Effect::Stop),
            (&[State::IN_REVIEW], ClockKind::Assist, Effect::Stop),
            (&[State::IN_REVIEW], ClockKind::Review, Effect::Start),
        ],
    };

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let case = before.case;
        let (Standing::Open(_, duty), Some(proposed)) = (&case.standing, &case.disposition) else {
            return Err(Refusal::Unseen);
        };
        let what = proposed.what.clone();
        // The same check for both: who may not approve may not return it either.
        let reviewer = SecondPerson {
            officer: &self.officer,
            stood_in: self.stood_in,
        };
        rules.second_person(before, proposed, Some(reviewer))?;
        match self.approved {
            true => Ok(Transition {
                event: Event::Resolved(what),
                case: rules.resolved(Self::RULE, before, proposed.clone(), Some(reviewer))?,
            }),
            false => Ok(Transition {
                event: Event::Returned(what),
                case: Case {
                    standing: Standing::Open(Stage::InProgress, duty.clone()),
                    disposition: None,
                    ..case.clone()
                },
            }),
        }
    }
}
