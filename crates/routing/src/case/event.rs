//! Changes of a case, as they are logged.

use std::sync::Arc;

use api::{
    event::{
        self, AssistanceAnswer, Detail, HandOverReason, NoticeMeans, PauseGround, ReferralAnswer, ReopenReason,
        ReviewRequester, StatementAnswer, StatementKind, UrgentMeasure,
    },
    routing::CaseStep,
};
use journal::{RoutingKind, Time};
use uuid::Uuid;

use super::{Answer, Case, Clock, Filing, Reason, Receipt};
use decision::directory::AgencyId;

/// A change of a case.
#[derive(Clone, Debug, PartialEq)]
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
    /// The lead lets a supporting agency read what the reports say, or no longer.
    NarrativeShared {
        /// The agency.
        with: AgencyId,
        /// Whether it may from now on.
        shared: bool,
    },
    /// The owner of a clock was reminded of it.
    Reminded {
        /// The clock, before.
        of: Clock,
    },
    /// A superior supervises the case.
    Supervised {
        /// The superior.
        by: AgencyId,
        /// The clock that was missed; `None` if the superior chose to.
        missed: Option<Clock>,
    },
    /// A supervisor is no superior of the lead any more.
    SupervisionEnded {
        /// The supervisor.
        by: AgencyId,
    },
    /// The time for the result was paused.
    ClockPaused {
        /// Why.
        ground: PauseGround,
    },
    /// It runs again.
    ClockResumed {
        /// Why it was paused.
        ground: PauseGround,
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
    /// Its owner filed it under another category.
    Reclassified {
        /// Id of the category before.
        from: String,
        /// The new route.
        filing: Arc<Filing>,
    },
    /// A supporting agency claims the lead.
    LeadClaimed {
        /// The agency.
        by: AgencyId,
        /// Why.
        reason: Reason,
    },
    /// Its lead agreed to a claim.
    ClaimAgreed {
        /// The agency that claimed it.
        by: AgencyId,
    },
    /// A claim was disputed, or not answered in time: a superior designates.
    ClaimDisputed {
        /// The agency that claimed it.
        by: AgencyId,
    },
    /// An agency stepped aside.
    Recused {
        /// The agency, which is excluded from now on.
        agency: AgencyId,
    },
    /// Its lead recorded what was done.
    ProgressRecorded,
    /// Its lead ended the link of a joined case. For the log it is progress, since supporting agencies
    /// read kinds there, and must not learn that another reported the same.
    ReportSplit {
        /// The report of that case.
        report: Uuid,
    },
    /// Its lead asked the reporter something.
    QuestionAsked {
        /// The question.
        number: u64,
    },
    /// The reporter answered.
    QuestionAnswered {
        /// The question.
        number: u64,
        /// The report.
        by: Uuid,
    },
    /// The reporter withdrew, and the case ended.
    Withdrawn {
        /// The report.
        by: Uuid,
    },
    /// The reporter asked to withdraw.
    WithdrawalRequested {
        /// The report.
        by: Uuid,
    },
    /// The reporter added information.
    InformationAdded {
        /// The report.
        by: Uuid,
    },
    /// Whoever has it took a measure that could not wait.
    MeasureTaken(UrgentMeasure),
    /// A disposition waits for a second person.
    Proposed(event::Disposition),
    /// The second person returned it.
    Returned(event::Disposition),
    /// It is decided.
    Resolved(event::Disposition),
    /// The agency that decided so handed a suspected crime over.
    CrimeReferred {
        /// To whom.
        to: AgencyId,
    },
    /// The body answered.
    ReferralAnswered {
        /// The body.
        by: AgencyId,
        /// Its answer.
        answer: ReferralAnswer,
    },
    /// The body ended without a successor: its superior is to answer instead.
    ReferralPassedOn {
        /// The body that ended.
        of: AgencyId,
    },
    /// The affected side has notice of a disposition.
    SubjectNotified {
        /// The number of the notice.
        number: u64,
        /// How it was served.
        means: NoticeMeans,
        /// Whether it is decided, and not proposed.
        of_decision: bool,
        /// The disposition.
        what: event::Disposition,
        /// Its receipt.
        receipt: Receipt,
    },
    /// The affected side stated its view.
    StatementSubmitted {
        /// The number of the notice.
        number: u64,
        /// What it said.
        kind: StatementKind,
    },
    /// The lead answered it.
    StatementAnswered {
        /// The number of the notice.
        number: u64,
        /// The answer.
        answer: StatementAnswer,
    },
    /// The time for a review has ended.
    Closed,
    /// A review was requested: a superior decides anew.
    ReviewRequested {
        /// Who asks for it.
        requester: ReviewRequester,
        /// What was decided.
        what: event::Disposition,
        /// The notice by whose receipt it is asked for, if so.
        notice: Option<u64>,
    },
    /// The agency that decided opened it again.
    Reopened {
        /// Why.
        reason: ReopenReason,
        /// What was decided.
        what: event::Disposition,
    },
    /// Successors or superiors took the places of agencies that ended.
    Succeeded,
    /// An agency assigned it to one of its officers, or to nobody. Only the agency knows of it: it
    /// is no change of the case's chain, and no step of its history.
    Assigned {
        /// The agency.
        at: AgencyId,
        /// Commits to the officer; empty for the pool.
        commitment: Vec<u8>,
    },
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
            Self::NarrativeShared { shared: true, .. } => RoutingKind::NarrativeShared,
            Self::NarrativeShared { shared: false, .. } => RoutingKind::NarrativeWithheld,
            Self::Reminded { .. } => RoutingKind::DeadlineReminded,
            Self::Supervised { .. } => RoutingKind::CaseSupervised,
            Self::SupervisionEnded { .. } => RoutingKind::SupervisionEnded,
            Self::ClockPaused { .. } => RoutingKind::ClockPaused,
            Self::ClockResumed { .. } => RoutingKind::ClockResumed,
            Self::DeadlineSettled => RoutingKind::DeadlineSettled,
            Self::Declined { .. } => RoutingKind::CaseDeclined,
            Self::Transferred { .. } => RoutingKind::CaseTransferred,
            Self::HandedUp { .. } => RoutingKind::CaseHandedUp,
            Self::Dispatched { .. } => RoutingKind::CaseDispatched,
            Self::Designated => RoutingKind::AgencyDesignated,
            Self::Reclassified { .. } => RoutingKind::CaseReclassified,
            Self::LeadClaimed { .. } => RoutingKind::LeadClaimed,
            Self::ClaimAgreed { .. } => RoutingKind::ClaimAgreed,
            Self::ClaimDisputed { .. } => RoutingKind::ClaimDisputed,
            Self::Recused { .. } => RoutingKind::AgencyRecused,
            Self::ProgressRecorded | Self::ReportSplit { .. } => RoutingKind::ProgressRecorded,
            Self::QuestionAsked { .. } => RoutingKind::QuestionAsked,
            Self::QuestionAnswered { .. } => RoutingKind::QuestionAnswered,
            Self::InformationAdded { .. } => RoutingKind::InformationAdded,
            Self::Withdrawn { .. } => RoutingKind::CaseWithdrawn,
            Self::WithdrawalRequested { .. } => RoutingKind::WithdrawalRequested,
            Self::MeasureTaken(_) => RoutingKind::MeasureTaken,
            Self::Proposed(_) => RoutingKind::DispositionProposed,
            Self::Returned(_) => RoutingKind::DispositionReturned,
            Self::Resolved(_) => RoutingKind::CaseResolved,
            Self::CrimeReferred { .. } => RoutingKind::CrimeReferred,
            Self::ReferralAnswered {
                answer: ReferralAnswer::Taken,
                ..
            } => RoutingKind::CrimeTaken,
            Self::ReferralAnswered { .. } => RoutingKind::CrimeRefused,
            Self::ReferralPassedOn { .. } => RoutingKind::ReferralPassedOn,
            Self::SubjectNotified { .. } => RoutingKind::SubjectNotified,
            Self::StatementSubmitted { .. } => RoutingKind::StatementSubmitted,
            Self::StatementAnswered { .. } => RoutingKind::StatementAnswered,
            Self::Closed => RoutingKind::CaseClosed,
            Self::ReviewRequested { .. } => RoutingKind::ReviewRequested,
            Self::Reopened { .. } => RoutingKind::CaseReopened,
            Self::Succeeded => RoutingKind::CaseSucceeded,
            Self::Assigned { .. } => RoutingKind::CaseAssigned,
        }
    }

    /// Why the case was handed on, for its reporter, too. A claim is between agencies.
    pub(crate) const fn reason(&self) -> HandOverReason {
        match self {
            Self::Declined { reason, .. }
            | Self::Transferred { reason }
            | Self::HandedUp { reason }
            | Self::Dispatched { reason } => reason.to_proto(),
            _ => HandOverReason::Unspecified,
        }
    }

    /// The report whose reporter made the change: no other is told of it.
    pub(crate) const fn told_by(&self) -> Option<Uuid> {
        match self {
            Self::QuestionAnswered { by, .. }
            | Self::InformationAdded { by }
            | Self::Withdrawn { by }
            | Self::WithdrawalRequested { by } => Some(*by),
            _ => None,
        }
    }

    /// Resource name of the category that the change filed the case under; empty for other changes.
    pub(crate) fn category(&self) -> String {
        match self {
            Self::Reclassified { filing, .. } => names::Collection::CATEGORIES.of(&filing.category),
            _ => String::new(),
        }
    }

    /// Whether the affected side made the change, through whatever system: no agency knows of it yet.
    pub(crate) const fn is_of_subject(&self) -> bool {
        matches!(
            self,
            Self::StatementSubmitted { .. } | Self::ReviewRequested { notice: Some(_), .. }
        )
    }

    /// The agency whose own affair the change is, if it is one's.
    pub(crate) const fn inside(&self) -> Option<&AgencyId> {
        match self {
            Self::Assigned { at, .. } => Some(at),
            _ => None,
        }
    }

    /// The step in the case's history. `None` for its opening, which the case itself tells, and for
    /// what is an agency's own affair.
    pub(crate) fn step(&self, before: &Case, after: &Case, time: Time) -> Option<CaseStep> {
        if matches!(self, Self::Opened | Self::Advised | Self::Assigned { .. }) {
            return None;
        }
        let name = |owner: Option<&AgencyId>| owner.map(AgencyId::resource_name).unwrap_or_default();
        let mut detail = Detail::default();
        self.fill(&mut detail);
        Some(CaseStep {
            time: Some(time.to_proto()),
            kind: self.kind().name().to_owned(),
            owner: name(after.owner()),
            former_owner: name(before.owner().filter(|owner| after.owner() != Some(owner))),
            missed_clock: detail.missed_clock,
            assistant: detail.assistant,
            reason: detail.reason,
            better_agency: detail.better_agency,
            disposition: detail.disposition,
            reopen_reason: detail.reopen_reason,
            review_requester: detail.review_requester,
            claimant: detail.claimant,
            urgent_measure: detail.urgent_measure,
            recused_agency: detail.recused_agency,
            told_by: detail.told_by,
            question_number: detail.question_number,
            pause_ground: detail.pause_ground,
            supervisor: detail.supervisor,
            shared_with: detail.shared_with,
            reminded_clock: detail.reminded_clock,
            split_report: match self {
                Self::ReportSplit { report } => names::REPORT.of(*report),
                _ => String::new(),
            },
            notice_number: detail.notice_number,
            notice_means: detail.notice_means,
            statement: detail.statement,
            statement_answer: detail.statement_answer,
            category: detail.to_category,
            receiving_agency: detail.receiving_agency,
            note: None,
        })
    }

    /// Fills in the detail's fields that are specific to this change.
    pub fn fill(&self, detail: &mut Detail) {
        match self {
            Self::Opened
            | Self::Advised
            | Self::Acknowledged
            | Self::DeadlineSettled
            | Self::Designated
            | Self::ProgressRecorded
            | Self::ReportSplit { .. }
            | Self::Closed
            | Self::Succeeded => {}
            Self::Assigned { commitment, .. } => detail.assignee_commitment = commitment.clone().into(),
            Self::NarrativeShared { with, .. } => detail.shared_with = with.resource_name(),
            Self::Reminded { of } => detail.reminded_clock = Some(crate::view::clock(of)),
            Self::Reclassified { from, .. } => {
                detail.from_category = names::Collection::CATEGORIES.of(from);
                detail.to_category = self.category();
            }
            Self::Supervised { by, missed } => {
                detail.supervisor = by.resource_name();
                detail.missed_clock = missed.as_ref().map(crate::view::clock);
            }
            Self::SupervisionEnded { by } => detail.supervisor = by.resource_name(),
            Self::ClockPaused { ground } | Self::ClockResumed { ground } => detail.pause_ground = (*ground).into(),
            Self::Recused { agency } => detail.recused_agency = agency.resource_name(),
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
            Self::Declined { better, .. } => {
                detail.reason = self.reason().into();
                detail.better_agency = better.as_ref().map(AgencyId::resource_name).unwrap_or_default();
            }
            Self::Transferred { .. } | Self::HandedUp { .. } | Self::Dispatched { .. } => {
                detail.reason = self.reason().into();
            }
            Self::LeadClaimed { by, reason } => {
                detail.claimant = by.resource_name();
                detail.reason = reason.to_proto().into();
            }
            Self::ClaimAgreed { by } | Self::ClaimDisputed { by } => detail.claimant = by.resource_name(),
            Self::QuestionAsked { number } => detail.question_number = number.cast_signed(),
            Self::QuestionAnswered { number, by } => {
                detail.question_number = number.cast_signed();
                detail.told_by = names::REPORT.of(*by);
            }
            Self::InformationAdded { by } | Self::Withdrawn { by } | Self::WithdrawalRequested { by } => {
                detail.told_by = names::REPORT.of(*by);
            }
            Self::CrimeReferred { to: agency }
            | Self::ReferralAnswered { by: agency, .. }
            | Self::ReferralPassedOn { of: agency } => {
                detail.receiving_agency = agency.resource_name();
                if let Self::ReferralAnswered { answer, .. } = self {
                    detail.referral_answer = (*answer).into();
                }
            }
            Self::MeasureTaken(measure) => detail.urgent_measure = (*measure).into(),
            Self::Proposed(what) | Self::Returned(what) | Self::Resolved(what) => {
                detail.disposition = Some(what.clone());
            }
            Self::ReviewRequested {
                requester,
                what,
                notice,
            } => {
                detail.review_requester = (*requester).into();
                detail.disposition = Some(what.clone());
                detail.notice_number = notice.unwrap_or_default().cast_signed();
            }
            Self::SubjectNotified {
                number, means, what, ..
            } => {
                detail.notice_number = number.cast_signed();
                detail.notice_means = (*means).into();
                detail.disposition = Some(what.clone());
            }
            Self::StatementSubmitted { number, kind } => {
                detail.notice_number = number.cast_signed();
                detail.statement = (*kind).into();
            }
            Self::StatementAnswered { number, answer } => {
                detail.notice_number = number.cast_signed();
                detail.statement_answer = (*answer).into();
            }
            Self::Reopened { reason, what } => {
                detail.reopen_reason = (*reason).into();
                detail.disposition = Some(what.clone());
            }
        }
    }
}
