//! Changes of a case, as they are logged.

use api::{
    event::{AssistanceAnswer, Detail, HandOverReason},
    routing::CaseStep,
};
use journal::{RoutingKind, Time};

use super::{Answer, Case, Clock, Reason};
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
    /// Holidays were published: a provisional deadline is another one, or the same for good.
    DeadlineSettled,
    /// Its lead declined it: a superior designates.
    Declined {
        /// Why.
        reason: Reason,
        /// The agency that should lead it, by its word.
        better: Option<AgencyId>,
    },
    /// Its lead transferred it.
    Transferred {
        /// Why.
        reason: Reason,
    },
    /// Its lead handed it up.
    HandedUp {
        /// Why.
        reason: Reason,
    },
    /// Its lead handed it down.
    Dispatched {
        /// Why.
        reason: Reason,
    },
    /// A superior designated its lead.
    Designated,
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
            Self::DeadlineSettled => RoutingKind::DeadlineSettled,
            Self::Declined { .. } => RoutingKind::CaseDeclined,
            Self::Transferred { .. } => RoutingKind::CaseTransferred,
            Self::HandedUp { .. } => RoutingKind::CaseHandedUp,
            Self::Dispatched { .. } => RoutingKind::CaseDispatched,
            Self::Designated => RoutingKind::AgencyDesignated,
            Self::Succeeded => RoutingKind::CaseSucceeded,
        }
    }

    /// The step in the case's history. `None` for its opening, which the case itself tells.
    pub(crate) fn step(&self, before: &Case, after: &Case, time: Time) -> Option<CaseStep> {
        let name = |owner: Option<&AgencyId>| owner.map(AgencyId::resource_name).unwrap_or_default();
        let mut step = CaseStep {
            time: Some(time.to_proto()),
            kind: self.kind().name().to_owned(),
            owner: name(after.owner()),
            former_owner: name(before.owner().filter(|owner| after.owner() != Some(owner))),
            ..CaseStep::default()
        };
        match self {
            Self::Opened | Self::Advised => return None,
            Self::Acknowledged | Self::DeadlineSettled | Self::Designated | Self::Succeeded => {}
            Self::AssistanceRequested { of } | Self::AssistancePassedOn { of } => step.assistant = of.resource_name(),
            Self::AssistanceAnswered { by, .. } => step.assistant = by.resource_name(),
            Self::Escalated { missed } | Self::ClockMissed { missed } => {
                step.missed_clock = Some(crate::view::clock(missed));
            }
            Self::Declined { .. } | Self::Transferred { .. } | Self::HandedUp { .. } | Self::Dispatched { .. } => {
                step.reason = self.reason().into();
                step.better_agency = self.better_agency();
            }
        }
        Some(step)
    }

    /// Fills in the detail's fields that are specific to this change.
    pub fn fill(&self, detail: &mut Detail) {
        match self {
            Self::Opened
            | Self::Advised
            | Self::Acknowledged
            | Self::DeadlineSettled
            | Self::Designated
            | Self::Succeeded => {}
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
            Self::Declined { .. } | Self::Transferred { .. } | Self::HandedUp { .. } | Self::Dispatched { .. } => {
                detail.reason = self.reason().into();
                detail.better_agency = self.better_agency();
            }
        }
    }

    /// Why the case was handed on.
    const fn reason(&self) -> HandOverReason {
        match self {
            Self::Declined { reason, .. }
            | Self::Transferred { reason }
            | Self::HandedUp { reason }
            | Self::Dispatched { reason } => reason.to_proto(),
            _ => HandOverReason::Unspecified,
        }
    }

    /// Resource name of the agency that should lead, by the word of the one that declined.
    fn better_agency(&self) -> String {
        match self {
            Self::Declined {
                better: Some(better), ..
            } => better.resource_name(),
            _ => String::new(),
        }
    }
}
