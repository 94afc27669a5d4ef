//! What the log is told of a change of a case.

use api::event::{AssistanceAnswer, Detail};
use journal::RoutingKind;

use super::{Answer, Clock};
use decision::directory::AgencyId;

/// What happened to a case. Knows its kind, and fills the detail with what only it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was opened, and somebody has to act.
    Opened,
    /// It ended at once, with advice.
    Advised,
    /// Its lead took it over.
    Acknowledged,
    /// An agency was asked to assist.
    AssistanceRequested {
        /// Which.
        of: AgencyId,
    },
    /// An agency that was asked to assist answered.
    AssistanceAnswered {
        /// Which.
        by: AgencyId,
        /// What it answered.
        answer: Answer,
    },
    /// An agency that was asked to assist ended, and nobody continues it: its superior is asked.
    AssistancePassedOn {
        /// Which ended.
        of: AgencyId,
    },
    /// A clock of its owner ran out: the superior has it.
    Escalated {
        /// The clock, as it was.
        missed: Clock,
    },
    /// A clock ran out, and is set again.
    ClockMissed {
        /// The clock, as it was.
        missed: Clock,
    },
    /// Successors took the places of agencies that ended.
    Succeeded,
}

impl Event {
    /// The kind, as it is logged.
    #[must_use]
    pub const fn kind(&self) -> RoutingKind {
        match self {
            Self::Opened => RoutingKind::CaseOpened,
            Self::Advised => RoutingKind::CaseAdvised,
            Self::Acknowledged => RoutingKind::CaseAcknowledged,
            Self::AssistanceRequested { .. } => RoutingKind::AssistanceRequested,
            Self::AssistanceAnswered { .. } => RoutingKind::AssistanceAnswered,
            Self::AssistancePassedOn { .. } => RoutingKind::AssistancePassedOn,
            Self::Escalated { .. } => RoutingKind::CaseEscalated,
            Self::ClockMissed { .. } => RoutingKind::ClockMissed,
            Self::Succeeded => RoutingKind::CaseSucceeded,
        }
    }

    /// Tells the detail what only this change knows.
    pub fn fill(&self, detail: &mut Detail) {
        match self {
            Self::Opened | Self::Advised | Self::Acknowledged | Self::Succeeded => {}
            Self::AssistanceRequested { of } | Self::AssistancePassedOn { of } => {
                detail.assistant = of.resource_name();
            }
            Self::AssistanceAnswered { by, answer } => {
                detail.assistant = by.resource_name();
                detail.assistance_answer = AssistanceAnswer::from(*answer).into();
            }
            Self::Escalated { missed } | Self::ClockMissed { missed } => {
                detail.missed_clock = Some(crate::view::clock(missed));
            }
        }
    }
}
