//! `RecuseAgency`: an agency steps aside for a conflict of interest, and sees nothing of the case
//! any more.

use super::{
    Before, Case, Clock, Effect, Event, Matter, Origin, Part, Refusal, Rule, Rules, Stage, State, Transition,
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
            (Part::Supervising, LED),
            (Part::Supporting, OWNED),
            (Part::Receiving, &[State::RESOLVED]),
        ],
        // When the owner steps aside. With another party, only what runs against it ends.
        clocks: &[
            (&[State::ASSIGNED], ClockKind::Acknowledge, Effect::Stop),
            (&[State::IN_PROGRESS, State::IN_REVIEW], ClockKind::Result, Effect::Stop),
            (OWNED, ClockKind::Designate, Effect::Start),
            (&[State::ASSIGNED, State::IN_PROGRESS], ClockKind::Claim, Effect::Stop),
        ],
    };

    /// It is excluded, and all units under it. If one of them owned the case, a superior must
    /// designate.
    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, by } = before;
        let by = by.ok_or(Refusal::Unseen)?;
        let mut excluding = matter.clone();
        excluding.excluded.insert(by.clone());
        let event = Event::Recused { agency: by.clone() };
        let is_out = |agency: &AgencyId| rules.directory.is_excluded(agency, &excluding.excluded);
        let today = Some(rules.directory.day(rules.now));
        let mut others = rules.directory.agencies().filter(|agency| agency.is_active(today));
        if !others.any(|agency| !is_out(&agency.id) && rules.has_function(&agency.id, matter)) {
            return barred(case, "without your agency and those under it nobody could lead it");
        }
        let mut transition = match case.owner().filter(|owner| is_out(owner)) {
            Some(owner) => rules.owner_recused(case, &excluding, owner, event)?,
            None => Transition {
                event,
                case: case.clone(),
            },
        };
        // What was handed to it goes to its superior, or is handed over anew.
        let receives = |clock: &&Clock| clock.kind() == ClockKind::Receive && is_out(&clock.owner);
        if let Some(request) = transition.case.clocks.iter().find(receives).cloned() {
            transition = rules.referral_passed_on(&transition.case, &excluding, &request, transition.event);
        }
        let after = &mut transition.case;
        let owner = after.owner().cloned();
        after.supporting.retain(|supporter| !is_out(&supporter.agency));
        after
            .clocks
            .retain(|clock| !is_out(&clock.owner) || Some(&clock.owner) == owner.as_ref());
        after.giver.take_if(|giver| is_out(giver));
        after.supervisor.take_if(|supervisor| is_out(supervisor));
        if after.course.claimant.as_ref().is_some_and(is_out) {
            after.drop_claim();
        }
        Ok(transition)
    }
}

impl Rules<'_> {
    /// A deadline that has passed does not keep it.
    fn owner_recused(
        &self,
        case: &Case,
        excluding: &Matter,
        owner: &AgencyId,
        event: Event,
    ) -> Result<Transition, Refusal> {
        let Some(superior) = self.above(owner, excluding) else {
            return barred(case, "nobody else could decide who leads it");
        };
        let before = Before {
            case,
            matter: excluding,
            by: None,
        };
        let recused = (Origin::Recused(owner.clone()), event);
        self.given_to(Recuse::RULE, before, Stage::AwaitingDesignation, superior, recused)
    }
}
