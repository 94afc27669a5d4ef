//! Closing: the time in which a review can be requested has ended.

use super::{Case, Duty, Effect, End, Event, Part, Rule, Rules, Standing, State, Transition, disposition::REVIEW};
use decision::calendar::ClockKind;

pub(super) const RULE: &Rule = &Rule {
    name: "close",
    doing: "close it",
    may: &[(Part::Remit, &[State::RESOLVED])],
    clocks: &[(&[State::RESOLVED], ClockKind::Review, Effect::Stop)],
};

impl Rules<'_> {
    /// Closes a resolved case. One of whose decision a side has no notice that had it of the proposal
    /// stays resolved, so that the side keeps its review: the time runs again, and was missed. So
    /// does one whose crime is not handed over, or not taken.
    pub(super) fn closed(&self, case: &Case) -> Option<Transition> {
        let waits = case.leaves_untold() || case.is_referring();
        if let (true, Standing::Open(stage, duty)) = (waits, &case.standing) {
            let generation = case.generation + 1;
            let missed = duty.clock.clone();
            let clock = self.clock(&duty.owner, REVIEW, generation);
            return Some(Transition {
                event: Event::ClockMissed { missed },
                case: Case {
                    standing: Standing::Open(*stage, Duty { clock, ..duty.clone() }),
                    generation,
                    ..case.clone()
                },
            });
        }
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
