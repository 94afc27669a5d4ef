//! `EscalateCase`: the lead hands the case up to its superior, with a reason, and supports it.

use super::{
    Before, Effect, Event, Origin, Part, Reason, Refusal, Rule, Rules, Stage, State, Supporter, Transition,
    hand_on::barred,
};
use decision::calendar::ClockKind;

const FROM: &[State] = &[State::ASSIGNED, State::IN_PROGRESS];

/// The lead hands the case up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalate {
    /// Why.
    pub reason: Reason,
}

impl Escalate {
    pub(super) const RULE: &Rule = &Rule {
        name: "escalate",
        doing: "hand it up to your superior",
        may: &[(Part::Lead, FROM)],
        clocks: &[
            (FROM, ClockKind::Acknowledge, Effect::Start),
            (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
            (FROM, ClockKind::Claim, Effect::Stop),
        ],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let duty = case.duty().ok_or(Refusal::Unseen)?;
        let by = &duty.owner;
        if rules.is_one_of(by, &case.course.final_lead) {
            return barred(case, "the last resort gave it to you: that is final; take it over");
        }
        let Some(superior) = rules.above_in(by, case, matter) else {
            return barred(
                case,
                "nobody is above your agency: take it over, or dispatch it to a unit under it",
            );
        };
        if !rules.has_function(superior, matter) {
            return barred(
                case,
                "above your agency is only the last resort, which leads no case: keep it, dispatch it to a unit under \
                 it, or decline what you have not taken over",
            );
        }
        let event = Event::HandedUp { reason: self.reason };
        let referred = (Origin::HandedUp(by.clone()), event);
        let mut transition = rules.handed(Self::RULE, before, Stage::Assigned, superior, referred)?;
        transition.case.supporting.push(Supporter::of(by.clone()));
        Ok(transition)
    }
}
