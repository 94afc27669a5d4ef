//! Closing: the time in which a review can be requested has ended.

use super::{Case, Effect, End, Event, Part, Rule, Rules, Standing, State, Transition};
use decision::calendar::ClockKind;

pub(super) const RULE: &Rule = &Rule {
    name: "close",
    doing: "close it",
    may: &[(Part::Remit, &[State::RESOLVED])],
    clocks: &[
        (&[State::RESOLVED], ClockKind::Review, Effect::Stop),
        (&[State::RESOLVED], ClockKind::Assist, Effect::Stop),
    ],
};

impl Rules<'_> {
    /// Closes a resolved case. Requests for assistance end with it.
    pub(super) fn closed(&self, case: &Case) -> Option<Transition> {
        let by = case.owner()?.clone();
        let mut disposition = case.disposition.clone()?;
        disposition.by = by;
        Some(Transition {
            event: Event::Closed,
            case: Case {
                standing: Standing::Ended(End::Closed),
                disposition: Some(disposition),
                clocks: Vec::new(),
                ..case.clone()
            },
        })
    }
}
