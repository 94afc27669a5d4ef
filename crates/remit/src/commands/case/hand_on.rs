//! The changes that take a case over and hand it on.

use api::{
    event::{ClaimAnswer, HandOverReason},
    routing::{
        AcknowledgeCaseRequest, AnswerClaimRequest, BatchAcknowledgeCasesRequest, BatchDeclineCasesRequest,
        BatchTransferCasesRequest, ClaimLeadRequest, ClockNeed, DeclineCaseRequest, DesignateAgencyRequest,
        DispatchCaseRequest, EscalateCaseRequest, ReclassifyCaseRequest, RecuseAgencyRequest, SuperviseCaseRequest,
        TransferCaseRequest, case_service_client::CaseServiceClient,
    },
};
use clap::{Subcommand, ValueEnum};
use decision::calendar::Unit;

use super::{
    batch::{self, Cases, Which},
    change::{Of, Preview, Remark, Shown, agency_name, choice, each, request},
};
use crate::{
    client::{Failed, Target},
    output::{id, tr},
};

/// The changes that take a case over and hand it on.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum HandOn {
    /// Acknowledge cases, as their lead agency
    #[command(after_help = "\
Examples:
  remit case acknowledge cases/0d9f… --as police-510100
  remit case list --worklist not-accepted --as police-510100 | remit case acknowledge --file - --as police-510100")]
    Acknowledge {
        #[command(flatten)]
        cases: Cases,
    },
    /// Decline cases, as their lead agency: a superior designates another
    #[command(after_help = "\
Examples:
  remit case decline cases/0d9f… --reason place --as police-450100
  remit case decline cases/0d9f… --reason place --better police-450200 --preview --as police-450100")]
    Decline {
        #[command(flatten)]
        cases: Cases,
        /// Why
        #[arg(long)]
        reason: Reason,
        /// The agency that should lead it, if you know
        #[arg(long, value_name = "AGENCY")]
        better: Option<String>,
        #[command(flatten)]
        remark: Remark,
        #[command(flatten)]
        preview: Preview,
    },
    /// Transfer cases to another agency with the same function, as their lead agency
    #[command(after_help = "\
Without --to, the agency stands after the case.

Examples:
  remit case transfer cases/0d9f… police-510100 --reason place --preview --as police-450100
  remit case transfer --to police-510100 --reason better-placed cases/0d9f… cases/1c02… --as police-450100")]
    Transfer {
        #[command(flatten)]
        cases: Cases,
        /// The agency that is to lead them
        #[arg(long, value_name = "AGENCY", required_unless_present = "names")]
        to: Option<String>,
        /// Why
        #[arg(long)]
        reason: Reason,
        /// Stay, as a supporting agency
        #[arg(long)]
        keep_supporting: bool,
        #[command(flatten)]
        remark: Remark,
        #[command(flatten)]
        preview: Preview,
    },
    /// Hand a case up to your superior, as its lead agency
    #[command(after_help = "Example:\n  remit case escalate cases/0d9f… --reason level --as police-450100")]
    Escalate {
        #[command(flatten)]
        of: Of,
        /// Why
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        remark: Remark,
        #[command(flatten)]
        preview: Preview,
    },
    /// Hand a case down to a unit under your agency, as its lead agency
    #[command(
        after_help = "Example:\n  remit case dispatch cases/0d9f… police-450200 --reason level --as police-450000"
    )]
    Dispatch {
        #[command(flatten)]
        of: Of,
        /// The unit that is to lead it
        agency: String,
        /// Why
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        remark: Remark,
        #[command(flatten)]
        preview: Preview,
    },
    /// Designate the lead of a case, as the superior that must
    #[command(after_help = "Example:\n  remit case designate cases/0d9f… police-450200 --as police-450000")]
    Designate {
        #[command(flatten)]
        of: Of,
        /// The agency that is to lead it
        agency: String,
        #[command(flatten)]
        remark: Remark,
        #[command(flatten)]
        preview: Preview,
    },
    /// Claim the lead, as a supporting agency
    #[command(after_help = "Example:\n  remit case claim cases/0d9f… --reason place --as police-350200")]
    Claim {
        #[command(flatten)]
        of: Of,
        /// Why
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        remark: Remark,
    },
    /// Answer a claim, as the lead: agree, or dispute it before the common superior
    #[command(after_help = "Example:\n  remit case answer-claim cases/0d9f… disputed --as police-210200")]
    AnswerClaim {
        #[command(flatten)]
        of: Of,
        /// The answer
        #[arg(value_parser = choice(ClaimAnswer::as_str_name))]
        answer: ClaimAnswer,
        #[command(flatten)]
        remark: Remark,
        #[command(flatten)]
        preview: Preview,
    },
    /// File a case under another category, as its lead or the superior that must designate
    #[command(after_help = "\
It is routed anew, by the same facts: `--preview` shows where it would go, and why. `remit category list` has
the categories.

Example:
  remit case reclassify cases/0d9f… fraud.loan --note 'a loan, no investment' --preview --as police-450100")]
    Reclassify {
        #[command(flatten)]
        of: Of,
        /// The category
        category: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        preview: Preview,
    },
    /// Step aside for a conflict of interest: your agency sees nothing of the case any more
    #[command(after_help = "Example:\n  remit case recuse cases/0d9f… --preview --as police-450100")]
    Recuse {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        remark: Remark,
        #[command(flatten)]
        preview: Preview,
    },
    /// Put a case under your supervision, as a superior of its lead
    #[command(after_help = "\
Examples:
  remit case supervise cases/0d9f… --note 'report weekly' --as police-450000
  remit case supervise cases/0d9f… --within '5 working-days' --note 'decide it' --as police-450000")]
    Supervise {
        #[command(flatten)]
        of: Of,
        /// The time that the lead has from now on, such as `5 working-days`; without it its clock
        /// runs on
        #[arg(long, value_name = "TIME", value_parser = need)]
        within: Option<ClockNeed>,
        /// What you expect of the lead
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

impl HandOn {
    /// Makes the change and shows the case, or shows what it would be.
    pub(super) async fn run(self, routing: &Target, json: bool) -> anyhow::Result<()> {
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let shown = Shown { routing, json };
        match self {
            Self::Acknowledge { cases } => {
                let word = tr("taken over");
                let request = |of: Of| request!(of => AcknowledgeCaseRequest {});
                each!(
                    shown,
                    client,
                    word,
                    cases,
                    request,
                    acknowledge_case,
                    batch_acknowledge_cases(BatchAcknowledgeCasesRequest)
                )
            }
            Self::Decline {
                cases,
                reason,
                better,
                remark: Remark { note },
                preview: Preview { validate_only },
            } => {
                let better_agency = better.as_deref().map(agency_name).unwrap_or_default();
                let request = |of: Of| {
                    let (better_agency, note) = (better_agency.clone(), note.clone());
                    request!(of => DeclineCaseRequest { reason: reason.wire(), better_agency, note, validate_only })
                };
                let word = tr("declined");
                each!(
                    shown,
                    client,
                    word,
                    cases,
                    request,
                    decline_case,
                    batch_decline_cases(BatchDeclineCasesRequest)
                )
            }
            Self::Transfer {
                mut cases,
                to,
                reason,
                keep_supporting,
                remark: Remark { note },
                preview: Preview { validate_only },
            } => {
                let (agency, reason) = (agency_name(&receiver(&mut cases, to)?), reason.wire());
                let request = |of: Of| {
                    let (agency, note) = (agency.clone(), note.clone());
                    request!(of => TransferCaseRequest { agency, reason, keep_supporting, note, validate_only })
                };
                let word = tr("transferred");
                each!(
                    shown,
                    client,
                    word,
                    cases,
                    request,
                    transfer_case,
                    batch_transfer_cases(BatchTransferCasesRequest)
                )
            }
            Self::Escalate {
                of,
                reason,
                remark: Remark { note },
                preview: Preview { validate_only },
            } => {
                let request = request!(of => EscalateCaseRequest { reason: reason.wire(), note, validate_only });
                shown.done(tr("handed up"), client.escalate_case(request).await).await
            }
            Self::Dispatch {
                of,
                agency,
                reason,
                remark: Remark { note },
                preview: Preview { validate_only },
            } => {
                let (agency, reason) = (agency_name(&agency), reason.wire());
                let request = request!(of => DispatchCaseRequest { agency, reason, note, validate_only });
                shown.done(tr("handed down"), client.dispatch_case(request).await).await
            }
            Self::Designate {
                of,
                agency,
                remark: Remark { note },
                preview: Preview { validate_only },
            } => {
                let request =
                    request!(of => DesignateAgencyRequest { agency: agency_name(&agency), note, validate_only });
                shown
                    .done(tr("designated"), client.designate_agency(request).await)
                    .await
            }
            Self::Claim {
                of,
                reason,
                remark: Remark { note },
            } => {
                let request = request!(of => ClaimLeadRequest { reason: reason.wire(), note });
                shown.done(tr("claimed"), client.claim_lead(request).await).await
            }
            Self::AnswerClaim {
                of,
                answer,
                remark: Remark { note },
                preview: Preview { validate_only },
            } => {
                let request = request!(of => AnswerClaimRequest { answer: answer.into(), note, validate_only });
                shown.done(tr("answered"), client.answer_claim(request).await).await
            }
            Self::Reclassify {
                of,
                category,
                note,
                preview: Preview { validate_only },
            } => {
                let category = format!("categories/{}", id(&category));
                let request = request!(of => ReclassifyCaseRequest { category, note, validate_only });
                shown
                    .done(
                        tr("filed under another category"),
                        client.reclassify_case(request).await,
                    )
                    .await
            }
            Self::Recuse {
                of,
                remark: Remark { note },
                preview: Preview { validate_only },
            } => {
                let request = request!(of => RecuseAgencyRequest { note, validate_only });
                shown
                    .done(tr("stepped aside"), client.recuse_agency(request).await)
                    .await
            }
            Self::Supervise { of, within, note } => {
                let request = request!(of => SuperviseCaseRequest { term: within, note });
                shown
                    .done(tr("under supervision"), client.supervise_case(request).await)
                    .await
            }
        }
    }
}

/// Why a case is handed on.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum Reason {
    /// The place that the rules go by is in another agency's territory
    Place,
    /// The matter is another function's
    Matter,
    /// The matter is for a higher or a lower level
    Level,
    /// Another agency handles the same matter already
    HandledElsewhere,
    /// The agency is in a conflict of interest
    ConflictOfInterest,
    /// Persons, evidence or effects are where another agency can act better
    BetterPlaced,
}

impl Reason {
    fn wire(self) -> i32 {
        let reason = match self {
            Self::Place => HandOverReason::Place,
            Self::Matter => HandOverReason::Matter,
            Self::Level => HandOverReason::Level,
            Self::HandledElsewhere => HandOverReason::HandledElsewhere,
            Self::ConflictOfInterest => HandOverReason::ConflictOfInterest,
            Self::BetterPlaced => HandOverReason::BetterPlaced,
        };
        reason.into()
    }
}

/// Who is to get the cases: as named by `--to`, or after the only case.
fn receiver(cases: &mut Cases, to: Option<String>) -> Result<String, Failed> {
    match (to, cases.names.as_slice()) {
        (Some(to), _) => Ok(to),
        (None, [_, _]) => Ok(cases.names.remove(1)),
        (None, _) => Err(Failed::Usage(
            "name the receiver: `--to AGENCY`, or the agency after the only case".to_owned(),
        )),
    }
}

/// A length of time, such as `5 working-days`.
fn need(text: &str) -> Result<ClockNeed, String> {
    let parsed = text.trim().split_once(' ').and_then(|(value, unit)| {
        let value = value.parse().ok().filter(|value| *value > 0)?;
        let unit = Unit::from_name(unit.trim())?;
        Some(ClockNeed {
            value,
            unit: unit.to_proto().into(),
        })
    });
    let units = Unit::ALL.map(Unit::as_str).join(", ");
    parsed.ok_or_else(|| format!("write a number and one of {units}, such as '5 working-days'"))
}
