//! `RecuseAgency`: an agency steps aside for a conflict of interest, and sees nothing of the case
//! any more.

use super::{
    Before, Case, Effect, Event, Matter, Origin, Part, Refusal, Rule, Rules, Stage, Standing, State, Transition,
    hand_on::barred,
};
use decision::{calendar::ClockKind, directory::AgencyId};

const LED: &[State] = &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW];
const OWNED: &[State] = &[
    State::AWAITING_DESIGNATION,
    State::ASSIGNED,
    State::IN_PROGRESS,
    State::IN_REVIEW,
];

/// The agency steps aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recuse;

impl Recuse {
    pub(super) const RULE: &Rule = &Rule {
        name: "recuse",
        doing: "step aside",
        may: &[
            (Part::Lead, LED),
            (Part::Designating, &[State::AWAITING_DESIGNATION]),
            (Part::Giving, &[State::ASSIGNED]),
            (Part::Supporting, State::OPEN),
        ],
        // When the owner steps aside. Nothing starts or ends with another party.
        clocks: &[
            (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Stop),
            (&[State::IN_PROGRESS, State::IN_REVIEW], ClockKind::Result, Effect::Stop),
            (OWNED, ClockKind::Designate, Effect::Start),
        ],
    };

    /// It is excluded, and all units under it. If it owned the case, the superior must designate.
    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, by } = before;
        let by = by.ok_or(Refusal::Unseen)?;
        let mut excluding = matter.clone();
        excluding.excluded.insert(by.clone());
        let event = Event::Recused { agency: by.clone() };
        let mut transition = match case.owner() == Some(by) {
            true => rules.owner_recused(case, &excluding, by, event)?,
            false => Transition {
                event,
                case: case.clone(),
            },
        };
        let after = &mut transition.case;
        let is_out = |agency: &AgencyId| rules.directory.is_excluded(agency, &excluding.excluded);
        let owner = after.owner().cloned();
        after.supporting.retain(|supporter| !is_out(&supporter.agency));
        after
            .clocks
            .retain(|clock| !is_out(&clock.owner) || Some(&clock.owner) == owner.as_ref());
        after.giver = after.giver.take().filter(|giver| !is_out(giver));
        if after.course.claimant.as_ref().is_some_and(is_out) {
            after.drop_claim();
        }
        Ok(transition)
    }
}

impl Rules<'_> {
    fn owner_recused(
        &self,
        case: &Case,
        excluding: &Matter,
        by: &AgencyId,
        event: Event,
    ) -> Result<Transition, Refusal> {
        let Some(superior) = self.above(by, excluding) else {
            return barred(case, "nobody else could decide who leads it");
        };
        let before = Before {
            case,
            matter: excluding,
            by: Some(by),
        };
        let recused = (Origin::Recused(by.clone()), event);
        match &case.standing {
            // A deadline that has passed does not keep it.
            Standing::Open(..) => self.handed(Recuse::RULE, before, Stage::AwaitingDesignation, superior, recused),
            Standing::Ended(_) => Err(Refusal::Unseen),
        }
    }
}
