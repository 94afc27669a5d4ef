//! The changes of a case.
//!
//! Each is a variant of [`Change`] with its flags, and in [`Change::run`] its request and a word for
//! when it is done. Its answer stands in one of the lists of `shown!`, which say where answers have
//! the case.

use api::event::{AssistanceAnswer, HandOverReason};
use api::routing::{
    AcknowledgeCaseRequest, AcknowledgeCaseResponse, AnswerAssistanceRequest, AnswerAssistanceResponse,
    DeclineCaseRequest, DeclineCaseResponse, DesignateAgencyRequest, DesignateAgencyResponse, DispatchCaseRequest,
    DispatchCaseResponse, EscalateCaseRequest, EscalateCaseResponse, HandOverPreview, RequestAssistanceRequest,
    RequestAssistanceResponse, TransferCaseRequest, TransferCaseResponse, case_service_client::CaseServiceClient,
    case_sight::Sight,
};
use clap::{Args, Subcommand, ValueEnum};
use prost::{Message, Name};
use tonic::{Response, Status};

use crate::{
    client::{Failed, Target},
    output::{self, id, line, tell, tr},
};

/// A change of a case.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Change {
    /// Acknowledge a case, as its lead agency
    #[command(after_help = "Example:\n  remit case acknowledge cases/0d9f… --as police-510100")]
    Acknowledge {
        #[command(flatten)]
        of: Of,
    },
    /// Decline a case, as its lead agency: a superior designates another
    #[command(after_help = "\
Examples:
  remit case decline cases/0d9f… --reason place --as police-450100
  remit case decline cases/0d9f… --reason place --better police-450200 --preview --as police-450100")]
    Decline {
        #[command(flatten)]
        of: Of,
        /// Why
        #[arg(long)]
        reason: Reason,
        /// The agency that should lead it, if you know
        #[arg(long, value_name = "AGENCY")]
        better: Option<String>,
        #[command(flatten)]
        preview: Preview,
    },
    /// Transfer a case to another agency with the same function, as its lead agency
    #[command(after_help = "\
Examples:
  remit case transfer cases/0d9f… police-510100 --reason place --preview --as police-450100
  remit case transfer cases/0d9f… police-510100 --reason better-placed --keep-supporting --as police-450100")]
    Transfer {
        #[command(flatten)]
        of: Of,
        /// The agency that is to lead it
        agency: String,
        /// Why
        #[arg(long)]
        reason: Reason,
        /// Stay, as a supporting agency
        #[arg(long)]
        keep_supporting: bool,
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
        preview: Preview,
    },
    /// Ask another agency to assist; only the lead may
    #[command(after_help = "Example:\n  remit case request-assistance cases/0d9f… police-450200 --as police-450100")]
    RequestAssistance {
        #[command(flatten)]
        of: Of,
        /// The agency to ask
        agency: String,
    },
    /// Answer a request to assist; only the agency that was asked may
    #[command(after_help = "Example:\n  remit case answer-assistance cases/0d9f… provided --as police-450200")]
    AnswerAssistance {
        #[command(flatten)]
        of: Of,
        /// The answer
        answer: Answer,
    },
}

/// The case to change, with what every change takes.
#[derive(Args, Clone, Debug)]
pub(super) struct Of {
    /// The case's name, `cases/{id}`
    name: String,
    /// Only if the case is still as it was shown with this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Request id, a UUID: repeated within 24 hours it has the first answer
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// Whether a change is only to be shown.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Preview {
    /// Only show who would get it, under which clocks, and who would no longer see it
    #[arg(long = "preview")]
    validate_only: bool,
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

/// An answer to a request to assist.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum Answer {
    /// It assisted
    Provided,
    /// It cannot
    Unable,
}

impl Answer {
    fn wire(self) -> i32 {
        let answer = match self {
            Self::Provided => AssistanceAnswer::Provided,
            Self::Unable => AssistanceAnswer::Unable,
        };
        answer.into()
    }
}

/// A request, with the fields that every change has.
macro_rules! request {
    ($of:ident => $request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        let Of { name, etag, request_id } = $of;
        $request { name, etag, request_id, $($field $(: $value)?),* }
    }};
}

impl Change {
    /// Makes the change and shows the case, or shows what it would be.
    pub(super) async fn run(self, routing: &Target, json: bool) -> anyhow::Result<()> {
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let shown = Shown { routing, json };
        match self {
            Self::Acknowledge { of } => {
                let request = request!(of => AcknowledgeCaseRequest {});
                shown
                    .done(tr("taken over"), client.acknowledge_case(request).await)
                    .await
            }
            Self::Decline {
                of,
                reason,
                better,
                preview: Preview { validate_only },
            } => {
                let better_agency = better.as_deref().map(agency_name).unwrap_or_default();
                let request =
                    request!(of => DeclineCaseRequest { reason: reason.wire(), better_agency, validate_only });
                shown.done(tr("declined"), client.decline_case(request).await).await
            }
            Self::Transfer {
                of,
                agency,
                reason,
                keep_supporting,
                preview: Preview { validate_only },
            } => {
                let (agency, reason) = (agency_name(&agency), reason.wire());
                let request = request!(of => TransferCaseRequest { agency, reason, keep_supporting, validate_only });
                shown.done(tr("transferred"), client.transfer_case(request).await).await
            }
            Self::Escalate {
                of,
                reason,
                preview: Preview { validate_only },
            } => {
                let request = request!(of => EscalateCaseRequest { reason: reason.wire(), validate_only });
                shown.done(tr("handed up"), client.escalate_case(request).await).await
            }
            Self::Dispatch {
                of,
                agency,
                reason,
                preview: Preview { validate_only },
            } => {
                let (agency, reason) = (agency_name(&agency), reason.wire());
                let request = request!(of => DispatchCaseRequest { agency, reason, validate_only });
                shown.done(tr("handed down"), client.dispatch_case(request).await).await
            }
            Self::Designate {
                of,
                agency,
                preview: Preview { validate_only },
            } => {
                let request = request!(of => DesignateAgencyRequest { agency: agency_name(&agency), validate_only });
                shown
                    .done(tr("designated"), client.designate_agency(request).await)
                    .await
            }
            Self::RequestAssistance { of, agency } => {
                let request = request!(of => RequestAssistanceRequest { agency: agency_name(&agency) });
                shown
                    .done(tr("asked to assist"), client.request_assistance(request).await)
                    .await
            }
            Self::AnswerAssistance { of, answer } => {
                let request = request!(of => AnswerAssistanceRequest { answer: answer.wire() });
                shown
                    .done(tr("answered"), client.answer_assistance(request).await)
                    .await
            }
        }
    }
}

/// The resource name of an agency given by name or id.
fn agency_name(agency: &str) -> String {
    format!("agencies/{}", id(agency))
}

/// What a change came to.
#[derive(Debug, Default)]
struct Done {
    /// What it would do, where it was only to be shown.
    preview: Option<HandOverPreview>,
    /// The case as the caller sees it now.
    sight: Option<Sight>,
}

/// Where the answers of changes show the case.
macro_rules! shown {
    ($($answer:ident),* => |$answered:ident| $done:expr) => {
        $(impl From<$answer> for Done {
            fn from($answered: $answer) -> Self {
                $done
            }
        })*
    };
}

// Who makes these leads the case, and still sees it.
shown!(AcknowledgeCaseResponse, RequestAssistanceResponse => |answered| Done {
    preview: None,
    sight: answered.current_case.map(Sight::CurrentCase),
});
// Who answers may no longer see it.
shown!(AnswerAssistanceResponse => |answered| Done {
    preview: None,
    sight: answered.sight.and_then(|sight| sight.sight),
});
// These can be asked what they would do, and may take it out of sight.
shown!(
    DeclineCaseResponse, TransferCaseResponse, EscalateCaseResponse, DispatchCaseResponse, DesignateAgencyResponse
    => |answered| Done {
        preview: answered.preview,
        sight: answered.sight.and_then(|sight| sight.sight),
    }
);

/// How an answer is shown.
struct Shown<'a> {
    routing: &'a Target,
    json: bool,
}

impl Shown<'_> {
    /// Shows the answer of a change, after the word for what was done.
    async fn done<A>(&self, word: &str, answer: Result<Response<A>, Status>) -> anyhow::Result<()>
    where
        A: Message + Name + Into<Done>,
    {
        let answer = answer.map_err(Failed::call(&self.routing.address))?.into_inner();
        if self.json {
            return output::json(&answer);
        }
        let done = answer.into();
        if let Some(preview) = &done.preview {
            return output::case::preview(preview);
        }
        line(word)?;
        line("")?;
        match &done.sight {
            Some(Sight::CurrentCase(case)) => super::print(self.routing, case).await,
            Some(Sight::LostCase(name)) => Ok(line(tell("{0} is no longer yours to see", &[name]))?),
            None => Ok(()),
        }
    }
}
