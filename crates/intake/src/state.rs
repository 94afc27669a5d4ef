//! States of a report, and what a change of its case does to them.

use api::intake::ReportState;

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
const NAMES: [(State, &str, &str); 5] = [
    (State::Accepted, "ACCEPTED", "report.accepted"),
    (State::Routed, "ROUTED", "report.routed"),
    (State::Closed, "CLOSED", "report.closed"),
    (State::Advised, "ADVISED", "report.advised"),
    (State::Withdrawn, "WITHDRAWN", "report.withdrawn"),
];

impl State {
    /// The name that is stored and logged.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The kind of the change that leads here.
    pub fn kind(self) -> &'static str {
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

    /// The state that a report has when its case is in `case_state`, if that is a change. A withdrawn report stays withdrawn.
    pub fn follow(self, case_state: &str) -> Option<Self> {
        let next = match case_state {
            "ADVISED" => Self::Advised,
            "CLOSED" => Self::Closed,
            _ => Self::Routed,
        };
        (next != self && self != Self::Withdrawn).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_follows_its_case() {
        for (state, case, next) in [
            (State::Accepted, "ASSIGNED", Some(State::Routed)),
            (State::Accepted, "ADVISED", Some(State::Advised)),
            (State::Routed, "IN_PROGRESS", None),
            (State::Routed, "CLOSED", Some(State::Closed)),
            (State::Closed, "ASSIGNED", Some(State::Routed)),
            (State::Withdrawn, "ASSIGNED", None),
        ] {
            assert_eq!(state.follow(case), next, "{state:?} {case}");
        }
    }

    #[test]
    fn names_lead_back() {
        for (state, name, kind) in NAMES {
            assert_eq!((state.name(), state.kind()), (name, kind));
            assert_eq!(State::from_name(name), Some(state));
        }
    }
}
