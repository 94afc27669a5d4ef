//! `ProposeDisposition`: the lead proposes how to dispose of the case.

use api::{event, routing::CaseNote};

use super::{
    Before, Case, Disposition, Effect, Event, Part, Refusal, Rule, Rules, Stage, Standing, State, Transition,
    disposition::check, hand_on::barred,
};
use decision::calendar::ClockKind;

/// The lead proposes how to dispose of the case.
#[derive(Clone, Debug, PartialEq)]
pub struct Propose {
    /// The disposition.
    pub what: event::Disposition,
    /// Its reasons, what may be told, and the officer who proposes it.
    pub note: CaseNote,
}

impl Propose {
    pub(super) const RULE: &Rule = &Rule {
        name: "propose",
        doing: "propose a disposition",
        may: &[(Part::Lead, &[State::IN_PROGRESS])],
        // For a disposition that needs a second person, the result's clock goes on.
        clocks: &[
            (&[State::IN_PROGRESS], ClockKind::Result, Effect::Stop),
            (&[State::IN_PROGRESS], ClockKind::Assist, Effect::Stop),
            (&[State::IN_PROGRESS], ClockKind::Review, Effect::Start),
        ],
    };

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let Standing::Open(_, duty) = &case.standing else {
            return Err(Refusal::Unseen);
        };
        check(&self.what, case, matter)?;
        if case.course.claimant.is_some() {
            return barred(case, "another agency claims to lead it: answer the claim first");
        }
        let proposed = Disposition {
            what: self.what.clone(),
            by: duty.owner.clone(),
            holder: duty.owner.clone(),
            note: self.note.clone(),
            propose_time: rules.now,
            decided: None,
        };
        let mut case = case.clone();
        case.course.proposals += 1;
        let before = Before { case: &case, ..before };
        if !proposed.needs_second_person(matter) {
            return Ok(Transition {
                event: Event::Resolved(proposed.what.clone()),
                case: rules.resolved(Self::RULE, before, proposed, None)?,
            });
        }
        Ok(Transition {
            event: Event::Proposed(proposed.what.clone()),
            case: Case {
                standing: Standing::Open(Stage::InReview, duty.clone()),
                disposition: Some(proposed),
                ..case
            },
        })
    }
}
