//! States of a report, and what a change of its case does to them.

use api::{event::CaseState, intake::ReportState};
use journal::IntakeKind;

/// Where a report stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Recorded, not yet with an agency.
    Accepted,
    /// An agency leads the case.
    Routed,
    /// The case has ended.
    Closed,
    /// No agency can act on it.
    Advised,
    /// Withdrawn by the reporter.
    Withdrawn,
}

/// State, stored name, and the kind of the change that leads there.
const NAMES: [(State, &str, IntakeKind); 5] = [
    (State::Accepted, "ACCEPTED", IntakeKind::ReportAccepted),
    (State::Routed, "ROUTED", IntakeKind::ReportRouted),
    (State::Closed, "CLOSED", IntakeKind::ReportClosed),
    (State::Advised, "ADVISED", IntakeKind::ReportAdvised),
    (State::Withdrawn, "WITHDRAWN", IntakeKind::ReportWithdrawn),
];

impl State {
    /// The name that is stored and logged.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The kind of the change that leads here.
    pub fn kind(self) -> IntakeKind {
        NAMES[self as usize].2
    }

    /// From the stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, stored, _)| *stored == name)
            .map(|(state, ..)| *state)
    }

    /// As in the contract.
    pub fn to_proto(self) -> ReportState {
        match self {
            Self::Accepted => ReportState::Accepted,
            Self::Routed => ReportState::Routed,
            Self::Closed => ReportState::Closed,
            Self::Advised => ReportState::Advised,
            Self::Withdrawn => ReportState::Withdrawn,
        }
    }

    /// From the contract; `None` for none.
    pub fn from_proto(state: ReportState) -> Option<Self> {
        let mut all = NAMES.iter().map(|(known, ..)| *known);
        all.find(|known| known.to_proto() == state)
    }

    /// The state that a report takes on when its case is in `case`, if that is a change. One that
    /// closed because the reporter withdrew leaves it withdrawn, until it is opened again.
    pub fn follow(self, case: CaseState, is_withdrawn: bool) -> Option<Self> {
        let next = match case {
            CaseState::Advised => Self::Advised,
            CaseState::Closed if is_withdrawn => Self::Withdrawn,
            CaseState::Closed => Self::Closed,
            CaseState::AwaitingDesignation
            | CaseState::Assigned
            | CaseState::InProgress
            | CaseState::InReview
            | CaseState::Resolved => Self::Routed,
            CaseState::Unspecified => return None,
        };
        let can_follow = self != Self::Withdrawn || next == Self::Routed;
        (next != self && can_follow).then_some(next)
    }
}

/// A case's state as delivered; `None` for one that this version does not know.
pub fn of_case(state: i32) -> Option<CaseState> {
    CaseState::try_from(state)
        .ok()
        .filter(|state| *state != CaseState::Unspecified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_follows_its_case() {
        for (state, case, next) in [
            (State::Accepted, CaseState::Assigned, Some(State::Routed)),
            (State::Accepted, CaseState::AwaitingDesignation, Some(State::Routed)),
            (State::Accepted, CaseState::Advised, Some(State::Advised)),
            (State::Routed, CaseState::InProgress, None),
            (State::Routed, CaseState::Resolved, None),
            (State::Routed, CaseState::Closed, Some(State::Closed)),
            (State::Closed, CaseState::Assigned, Some(State::Routed)),
            (State::Withdrawn, CaseState::Assigned, Some(State::Routed)),
            (State::Withdrawn, CaseState::Closed, None),
        ] {
            assert_eq!(state.follow(case, false), next, "{state:?} {case:?}");
        }
        for (state, case, next) in [
            (State::Accepted, CaseState::Closed, Some(State::Withdrawn)),
            (State::Routed, CaseState::Closed, Some(State::Withdrawn)),
            (State::Routed, CaseState::Resolved, None),
            (State::Withdrawn, CaseState::Closed, None),
        ] {
            assert_eq!(state.follow(case, true), next, "{state:?} {case:?}");
        }
    }

    #[test]
    fn a_case_state_that_is_not_known_is_none() {
        for number in [0, 8, -1] {
            assert_eq!(of_case(number), None, "{number}");
        }
        assert_eq!(of_case(CaseState::Advised.into()), Some(CaseState::Advised));
    }

    #[test]
    fn names_lead_back() {
        for (state, name, kind) in NAMES {
            assert_eq!((state.name(), state.kind()), (name, kind));
            assert_eq!(State::from_name(name), Some(state));
            assert_eq!(State::from_proto(state.to_proto()), Some(state));
        }
    }
}
