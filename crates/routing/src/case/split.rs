//! `SplitReport`: the lead ends the link of a joined case.

use uuid::Uuid;

use super::{Before, Event, Part, Refusal, Rule, Rules, State, Transition, hand_on::unfit};

/// The lead ends the link of the case of a report to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitReport {
    /// The report.
    pub report: Uuid,
    /// Where it is, as the store knows and the caller may see.
    pub found: Membership,
}

/// How a report belongs to a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It does not, or not as far as the caller may see.
    None,
    /// The case is its own.
    Own,
    /// Its own case is joined to the case.
    Joined(Uuid),
}

impl SplitReport {
    /// Before it is decided: what is decided is applied to what is joined. Those are the states in
    /// which progress is recorded, which is what others see of it.
    pub(super) const RULE: &Rule = &Rule {
        name: "split",
        doing: "end the link of a joined case",
        may: &[(Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW])],
        clocks: &[],
    };

    pub(super) fn apply(self, _rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        match self.found {
            Membership::Joined(_) => Ok(Transition {
                event: Event::ReportSplit { report: self.report },
                case: before.case.clone(),
            }),
            Membership::Own => unfit(
                "report",
                "is the case's own: without it, the case would have no report; name that of a joined case",
            ),
            Membership::None => unfit("report", "is not joined to the case; `GetCase` has those that are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{
        Action,
        tests::{act, in_progress, matter},
    };

    #[test]
    fn only_what_is_joined_is_split_and_the_case_stays_as_it_is() {
        let case = in_progress("police-450100", &["police-440000"]);
        let report = Uuid::from_u128(7);
        let split = |found| {
            let action = Action::SplitReport(SplitReport { report, found });
            act(2, &case, &matter(&[]), "police-450100", &action)
        };
        let done = split(Membership::Joined(Uuid::from_u128(8))).unwrap();
        assert_eq!((done.event, &done.case), (Event::ReportSplit { report }, &case));
        for (found, fault) in [
            (Membership::Own, "would have no report"),
            (Membership::None, "is not joined"),
        ] {
            let refused = format!("{:?}", split(found).unwrap_err());
            assert!(refused.contains(fault), "{refused}");
        }
    }
}
