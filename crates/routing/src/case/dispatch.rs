//! `DispatchCase`: the lead hands the case down to a unit under it, and supports it.

use super::{
    Before, Effect, Event, Origin, Part, Reason, Refusal, Rule, Rules, Stage, State, Supporter, Transition,
    hand_on::{barred, unfit},
};
use decision::{calendar::ClockKind, directory::AgencyId};

const FROM: &[State] = &[State::ASSIGNED, State::IN_PROGRESS];

/// The lead hands the case down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The unit, under the lead.
    pub to: AgencyId,
    /// Why.
    pub reason: Reason,
}

impl Dispatch {
    pub(super) const RULE: &Rule = &Rule {
        name: "dispatch",
        doing: "dispatch it to a unit under your agency",
        may: &[(Part::Lead, FROM)],
        clocks: &[
            (FROM, ClockKind::Acknowledge, Effect::Start),
            (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
        ],
    };

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let case = before.case;
        if case.course.claimant.is_some() {
            return barred(case, "another agency claims to lead it: answer the claim first");
        }
        let duty = case.duty().ok_or(Refusal::Unseen)?;
        let by = &duty.owner;
        rules.may_lead("agency", &self.to, before)?;
        if !rules.directory.is_under(&self.to, by) {
            return unfit(
                "agency",
                "is not under your agency; `TransferCase` hands a case to a peer",
            );
        }
        if rules.is_one_of(&self.to, &case.course.led) {
            return unfit(
                "agency",
                "has led the case before; keep it, or dispatch it to another unit",
            );
        }
        let event = Event::Dispatched { reason: self.reason };
        let dispatched = (Origin::Dispatched(by.clone()), event);
        let mut transition = rules.handed(Self::RULE, before, Stage::Assigned, &self.to, dispatched)?;
        transition.case.supporting.push(Supporter::of(by.clone()));
        Ok(transition)
    }
}
