//! `DeclineCase`: the lead does not take the case over, and says why. A superior designates.

use super::{
    Before, Effect, Event, Origin, Part, Reason, Refusal, Rule, Rules, Stage, State, Transition,
    hand_on::{Given, barred, unfit},
};
use decision::{calendar::ClockKind, directory::AgencyId};

/// The lead declines the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    /// Why.
    pub reason: Reason,
    /// The agency that should lead it, if the lead knows.
    pub better: Option<AgencyId>,
}

impl Decline {
    pub(super) const RULE: &Rule = &Rule {
        name: "decline",
        doing: "decline it",
        may: &[(Part::Lead, &[State::ASSIGNED])],
        clocks: &[
            (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Stop),
            (&[State::ASSIGNED], ClockKind::Designate, Effect::Start),
            (&[State::ASSIGNED], ClockKind::Claim, Effect::Stop),
        ],
    };

    /// The lowest common superior of the lead and the better agency designates; of a transferred
    /// case, that of the lead and the agency that transferred it.
    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let duty = case.duty().ok_or(Refusal::Unseen)?;
        let by = &duty.owner;
        let course = &case.course;
        if course.given == Some(Given::BySuperior) || rules.is_one_of(by, &course.designated) {
            return barred(
                case,
                "a superior gave it to you: that cannot be declined; take it over, or hand it up with a reason",
            );
        }
        if course.given == Some(Given::ByClaim) {
            return barred(case, "your agency claimed it: that cannot be declined; take it over");
        }
        if let Some(better) = &self.better {
            rules.may_lead("better_agency", better, before)?;
            if rules.directory.is_under(better, by) {
                return unfit("better_agency", "is under your agency; dispatch the case to it");
            }
        }
        let superior = match (&course.given, &self.better) {
            (Some(Given::ByPeer(other)), _) => rules.between(by, other, matter),
            (None, Some(other)) if !course.is_handed_on() => rules.between(by, other, matter),
            // Handed on before, it is declined upward only.
            _ => rules.above_in(by, case, matter),
        };
        let Some(superior) = superior else {
            return barred(
                case,
                "nobody is above your agency: take it over, or dispatch it to a unit under it",
            );
        };
        let event = Event::Declined {
            reason: self.reason,
            better: self.better.clone(),
        };
        let declined = (Origin::Declined(by.clone()), event);
        rules.handed(Self::RULE, before, Stage::AwaitingDesignation, superior, declined)
    }
}
