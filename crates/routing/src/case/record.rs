//! `RecordProgress` and `RecordUrgentMeasure`: what was done, without a change of state.

use api::event::UrgentMeasure;

use super::{Before, Event, Part, Refusal, Rule, Rules, State, Transition};

/// The lead records what was done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordProgress;

impl RecordProgress {
    pub(super) const RULE: &Rule = &Rule {
        name: "record-progress",
        doing: "record progress",
        may: &[(Part::Lead, &[State::IN_PROGRESS, State::IN_REVIEW])],
        clocks: &[],
    };

    pub(super) fn apply(self, _rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        Ok(Transition {
            event: Event::ProgressRecorded,
            case: before.case.clone(),
        })
    }
}

/// Whoever has the case records a measure that could not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordUrgentMeasure {
    /// The measure.
    pub measure: UrgentMeasure,
}

impl RecordUrgentMeasure {
    /// Who has a case may act before it is settled who is competent.
    pub(super) const RULE: &Rule = &Rule {
        name: "record-urgent-measure",
        doing: "record an urgent measure",
        may: &[
            (Part::Lead, &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW]),
            (Part::Giving, &[State::ASSIGNED]),
            (Part::Designating, &[State::AWAITING_DESIGNATION]),
        ],
        clocks: &[],
    };

    pub(super) fn apply(self, _rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        Ok(Transition {
            event: Event::MeasureTaken(self.measure),
            case: before.case.clone(),
        })
    }
}
