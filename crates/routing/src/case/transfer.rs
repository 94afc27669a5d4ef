//! `TransferCase`: the lead hands the case to another agency with the same function, once.

use super::{
    Before, Effect, Event, Origin, Part, Reason, Refusal, Rule, Rules, Stage, State, Supporter, Transition,
    hand_on::{barred, unfit},
};
use decision::{calendar::ClockKind, directory::AgencyId};

const FROM: &[State] = &[State::ASSIGNED, State::IN_PROGRESS];

/// The lead hands the case to another agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The receiver.
    pub to: AgencyId,
    /// Why.
    pub reason: Reason,
    /// Whether the former lead stays as a supporting agency.
    pub keep_supporting: bool,
}

impl Transfer {
    pub(super) const RULE: &Rule = &Rule {
        name: "transfer",
        doing: "transfer it to another agency",
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
        if case.course.is_handed_on() {
            return barred(
                case,
                "it came to you from another agency: it cannot be transferred again, only handed up",
            );
        }
        rules.may_lead("agency", &self.to, before)?;
        if rules.directory.is_under(&self.to, by) {
            return unfit("agency", "is under your agency; dispatch the case to it");
        }
        if rules.directory.is_under(by, &self.to) {
            return unfit("agency", "is a superior of your agency; hand the case up");
        }
        let event = Event::Transferred { reason: self.reason };
        let transferred = (Origin::Transferred(by.clone()), event);
        let mut transition = rules.handed(Self::RULE, before, Stage::Assigned, &self.to, transferred)?;
        match self.keep_supporting {
            true => transition.case.supporting.push(Supporter::of(by.clone())),
            // It answers for the case until the receiver takes it over.
            false => transition.case.giver = Some(by.clone()),
        }
        Ok(transition)
    }
}
