//! Changes of a case, as they are logged.

use api::event::{AssistanceAnswer, Detail};
use journal::RoutingKind;

use super::{Answer, Clock};
use decision::directory::AgencyId;

/// A change of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was opened, and an agency has to act.
    Opened,
    /// It ended at once, with advice.
    Advised,
    /// Its lead acknowledged it.
    Acknowledged,
    /// An agency was asked to assist.
    AssistanceRequested {
        /// The agency.
        of: AgencyId,
    },
    /// An agency that was asked to assist answered.
    AssistanceAnswered {
        /// The agency.
        by: AgencyId,
        /// Its answer.
        answer: Answer,
    },
    /// An agency that was asked to assist ended without a successor: its superior is asked instead.
    AssistancePassedOn {
        /// The agency that ended.
        of: AgencyId,
    },
    /// The owner's clock ran out: the superior owns the case.
    Escalated {
        /// The missed clock.
        missed: Clock,
    },
    /// A clock ran out, without a change of owner.
    ClockMissed {
        /// The missed clock.
        missed: Clock,
    },
    /// Successors or superiors took the places of agencies that ended.
    Succeeded,
}

impl Event {
    /// The kind in the log.
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

    /// Fills in the detail's fields that are specific to this change.
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
