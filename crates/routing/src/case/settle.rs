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
    /// Computes the provisional deadlines of a case again, by the calendars of this replica. `None`
    /// if that changes nothing, so that any number of replicas may do it.
    ///
    /// Only a deadline that is no longer provisional then is changed, and none that is not now. So
    /// each is settled at most once, by whichever replica first knows the holidays: two with
    /// different calendars cannot move it to and fro, and an older one takes nothing back.
    pub fn settled(&self, case: &Case) -> Option<Transition> {
        let Standing::Open(stage, duty) = &case.standing else {
            return None;
        };
        let again = |clock: &super::Clock| {
            let worktime = self.worktime(&clock.owner);
            let settled = clock.clone().settled(worktime);
            match clock.provisional && !settled.provisional {
                true => settled,
                false => clock.clone(),
            }
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
