//! Provisional deadlines: computed again once the holidays of their year are known.

use super::{Case, Duty, Event, Part, Rule, Rules, Standing, State, Transition};

/// Holidays were published, and a deadline is settled by them.
pub(super) const RULE: &Rule = &Rule {
    name: "settle-deadline",
    doing: "compute a provisional deadline again",
    may: &[(Part::Remit, State::OPEN)],
    // The clocks run on, each in its generation.
    clocks: &[],
};

impl Rules<'_> {
    /// Computes the provisional deadlines of a case again, by the calendars of today. `None` if
    /// that changes nothing, so that any number of replicas may do it. A deadline that is no longer
    /// provisional is not touched: a replica with an older calendar takes nothing back.
    pub fn settled(&self, case: &Case) -> Option<Transition> {
        let Standing::Open(stage, duty) = &case.standing else {
            return None;
        };
        let again = |clock: &super::Clock| match clock.provisional {
            true => clock
                .clone()
                .settled(self.calendars.worktime(self.directory.agency(&clock.owner))),
            false => clock.clone(),
        };
        let after = Case {
            standing: Standing::Open(
                *stage,
                Duty {
                    clock: again(&duty.clock),
                    ..duty.clone()
                },
            ),
            clocks: case.clocks.iter().map(again).collect(),
            ..case.clone()
        };
        (after != *case).then_some(Transition {
            event: Event::DeadlineSettled,
            case: after,
        })
    }
}
