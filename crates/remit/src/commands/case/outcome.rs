//! The changes of how a case ends.

use api::{
    event::{
        Disposition, DispositionEffect, DispositionKind, ReferralAnswer, ReopenReason, ReviewRequester, ReviewVerdict,
    },
    routing::{
        AnswerReferralRequest, ProposeDispositionRequest, ReferCrimeRequest, ReopenCaseRequest, RequestReviewRequest,
        ReviewDispositionRequest, case_service_client::CaseServiceClient,
    },
};
use clap::Subcommand;

use super::change::{Of, Preview, Remark, Shown, TellReporter, agency_name, choice, request};
use crate::{client::Target, output::tr};

/// The changes of how a case ends.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Outcome {
    /// Propose how to dispose of a case, as the lead; major kinds then need a second officer
    #[command(after_help = "\
Examples:
  remit case propose cases/0d9f… penalty --effect sanctioned --basis '网络安全法 68' --reasons '…' --officer o-1 \\
    --as content-110000
  remit case propose cases/0d9f… no-offence --effect none --basis '行政处罚法 57' --reasons '…' --officer o-1 \\
    --as police-450100")]
    Propose {
        #[command(flatten)]
        of: Of,
        /// The kind of disposition
        #[arg(value_parser = choice(DispositionKind::as_str_name))]
        kind: DispositionKind,
        /// What it effects; several, or `none`
        #[arg(long = "effect", required = true, value_parser = choice(DispositionEffect::as_str_name))]
        effects: Vec<DispositionEffect>,
        /// Law and article
        #[arg(long = "basis", value_name = "TEXT")]
        legal_basis: String,
        /// The reasons, for the lead, its superior that must designate, and the giver
        #[arg(long, value_name = "TEXT")]
        reasons: String,
        #[command(flatten)]
        told: TellReporter,
        /// What the affected side may be told
        #[arg(
            long = "tell-subject",
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        subject_text: String,
    },
    /// Approve or return a proposed disposition, as another officer of the lead
    #[command(after_help = "\
Examples:
  remit case review cases/0d9f… approved --officer o-2 --as content-110000
  remit case review cases/0d9f… returned --note 'the hearing is missing' --officer o-2 --as content-110000")]
    Review {
        #[command(flatten)]
        of: Of,
        /// The verdict
        #[arg(value_parser = choice(ReviewVerdict::as_str_name))]
        verdict: ReviewVerdict,
        #[command(flatten)]
        remark: Remark,
    },
    /// Hand a suspected crime over, as the agency that decided so
    #[command(after_help = "\
The agency has the function police or inspection. It reads what the reports say, and has three days to answer.

Example:
  remit case refer cases/0d9f… police-450100 --note 'file 12, disk sealed' --as market-regulator-450000")]
    Refer {
        #[command(flatten)]
        of: Of,
        /// The body that is to take it
        agency: String,
        /// What is handed over
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Answer to a suspected crime that was handed to your agency
    #[command(
        after_help = "Example:\n  remit case answer-referral cases/0d9f… refused --note 'below the threshold' --as police-450100"
    )]
    AnswerReferral {
        #[command(flatten)]
        of: Of,
        /// The answer
        #[arg(value_parser = choice(ReferralAnswer::as_str_name))]
        answer: ReferralAnswer,
        #[command(flatten)]
        remark: Remark,
    },
    /// Pass on a request for a review of a disposition: the superior decides anew
    #[command(
        after_help = "Example:\n  remit case request-review cases/0d9f… subject --note 'the account is not theirs' --as content-110000"
    )]
    RequestReview {
        #[command(flatten)]
        of: Of,
        /// Who asks for it
        #[arg(value_parser = choice(ReviewRequester::as_str_name))]
        requester: ReviewRequester,
        /// What the requester says
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        preview: Preview,
    },
    /// Open a decided case again, as the agency that decided it
    #[command(
        after_help = "Example:\n  remit case reopen cases/0d9f… new-information --note 'screenshots came' --as police-450100"
    )]
    Reopen {
        #[command(flatten)]
        of: Of,
        /// Why
        #[arg(value_parser = choice(ReopenReason::as_str_name))]
        reason: ReopenReason,
        /// What the officer adds
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

impl Outcome {
    /// Makes the change and shows the case, or shows what it would be.
    pub(super) async fn run(self, routing: &Target, json: bool) -> anyhow::Result<()> {
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let shown = Shown { routing, json };
        match self {
            Self::Propose {
                of,
                kind,
                effects,
                legal_basis,
                reasons,
                told: TellReporter { reporter_text },
                subject_text,
            } => {
                let disposition = Some(Disposition {
                    kind: kind.into(),
                    effects: effects.into_iter().map(i32::from).collect(),
                    legal_basis,
                });
                let request = request!(of => ProposeDispositionRequest {
                    disposition, reasons, reporter_text, subject_text,
                });
                shown
                    .done(tr("proposed"), client.propose_disposition(request).await)
                    .await
            }
            Self::Review {
                of,
                verdict,
                remark: Remark { note },
            } => {
                let request = request!(of => ReviewDispositionRequest { verdict: verdict.into(), note });
                shown
                    .done(tr("reviewed"), client.review_disposition(request).await)
                    .await
            }
            Self::Refer { of, agency, note } => {
                let agency = agency_name(&agency);
                let request = request!(of => ReferCrimeRequest { agency, note });
                shown
                    .done(
                        tr("handed over as a suspected crime"),
                        client.refer_crime(request).await,
                    )
                    .await
            }
            Self::AnswerReferral {
                of,
                answer,
                remark: Remark { note },
            } => {
                let request = request!(of => AnswerReferralRequest { answer: answer.into(), note });
                shown.done(tr("answered"), client.answer_referral(request).await).await
            }
            Self::RequestReview {
                of,
                requester,
                note,
                preview: Preview { validate_only },
            } => {
                let request = request!(of => RequestReviewRequest { requester: requester.into(), note, validate_only });
                shown
                    .done(tr("passed on to the superior"), client.request_review(request).await)
                    .await
            }
            Self::Reopen { of, reason, note } => {
                let request = request!(of => ReopenCaseRequest { reason: reason.into(), note });
                shown.done(tr("open again"), client.reopen_case(request).await).await
            }
        }
    }
}
