//! Closing: the time in which a review can be requested has ended.

use super::{Case, Effect, End, Event, Part, Rule, Rules, Standing, State, Transition};
use decision::calendar::ClockKind;

pub(super) const RULE: &Rule = &Rule {
    name: "close",
    doing: "close it",
    may: &[(Part::Remit, &[State::RESOLVED])],
    clocks: &[(&[State::RESOLVED], ClockKind::Review, Effect::Stop)],
};

impl Rules<'_> {
    /// Closes a resolved case.
    pub(super) fn closed(&self, case: &Case) -> Option<Transition> {
        Some(Transition {
            event: Event::Closed,
            case: Case {
                standing: Standing::Ended(End::Closed),
                clocks: Vec::new(),
                ..case.clone()
            },
        })
    }
}
