//! `DesignateAgency`: the superior that must designate names the lead.

use super::{Before, Effect, Event, Origin, Part, Refusal, Rule, Rules, Stage, State, Transition, hand_on::unfit};
use decision::{calendar::ClockKind, directory::AgencyId};

/// Where a superior that supervises may designate.
const LED: &[State] = &[State::ASSIGNED, State::IN_PROGRESS];
const FROM: &[State] = &[State::AWAITING_DESIGNATION, State::ASSIGNED, State::IN_PROGRESS];

/// The superior designates the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designate {
    /// The agency that is to lead.
    pub agency: AgencyId,
}

impl Designate {
    pub(super) const RULE: &Rule = &Rule {
        name: "designate",
        doing: "designate the lead",
        may: &[
            (Part::Designating, &[State::AWAITING_DESIGNATION]),
            (Part::Supervising, LED),
        ],
        clocks: &[
            (&[State::AWAITING_DESIGNATION], ClockKind::Designate, Effect::Stop),
            (FROM, ClockKind::Acknowledge, Effect::Start),
            (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
            (LED, ClockKind::Claim, Effect::Stop),
        ],
    };

    /// A superior designates itself or a unit under it; the last resort designates any agency. Who
    /// supervises a lead may take the case from it, and designate each agency once.
    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, by } = before;
        let by = by.ok_or(Refusal::Unseen)?;
        let must = case.state() == State::AWAITING_DESIGNATION;
        let is_last = must && by == rules.last_resort(matter);
        rules.may_lead("agency", &self.agency, before)?;
        if !is_last && !rules.directory.is_under(&self.agency, by) {
            return unfit("agency", "is not under your agency; designate your own or one under it");
        }
        if !is_last && rules.is_one_of(&self.agency, &case.course.designated) {
            return unfit(
                "agency",
                "was designated before, and the case came back; designate another",
            );
        }
        let designated = (Origin::Designated(by.clone()), Event::Designated);
        rules.handed(Self::RULE, before, Stage::Assigned, &self.agency, designated)
    }
}
