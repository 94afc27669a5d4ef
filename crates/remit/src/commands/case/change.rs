//! The changes of a case.
//!
//! Each is a variant of [`Change`] with its flags, and in [`Change::run`] its request and a word for
//! when it is done. Its answer stands in one of the lists of `shown!`, which say where answers have
//! the case.

use api::event::{
    AssistanceAnswer, ClaimAnswer, Disposition, DispositionEffect, DispositionKind, HandOverReason, PauseGround,
    ReferralAnswer, ReopenReason, ReviewRequester, ReviewVerdict, UrgentMeasure,
};
use api::routing::{
    AcknowledgeCaseRequest, AcknowledgeCaseResponse, AnswerAssistanceRequest, AnswerAssistanceResponse,
    AnswerClaimRequest, AnswerClaimResponse, AnswerReferralRequest, AnswerReferralResponse, AskReporterRequest,
    AskReporterResponse, AssignCaseRequest, AssignCaseResponse, BatchAcknowledgeCasesRequest, BatchAssignCasesRequest,
    BatchDeclineCasesRequest, BatchTransferCasesRequest, ClaimLeadRequest, ClaimLeadResponse, ClockNeed,
    DeclineCaseRequest, DeclineCaseResponse, DesignateAgencyRequest, DesignateAgencyResponse, DispatchCaseRequest,
    DispatchCaseResponse, EscalateCaseRequest, EscalateCaseResponse, HandOverPreview, PauseClockRequest,
    PauseClockResponse, ProposeDispositionRequest, ProposeDispositionResponse, ReclassifyCaseRequest,
    ReclassifyCaseResponse, RecordProgressRequest, RecordProgressResponse, RecordUrgentMeasureRequest,
    RecordUrgentMeasureResponse, RecuseAgencyRequest, RecuseAgencyResponse, ReferCrimeRequest, ReferCrimeResponse,
    ReopenCaseRequest, ReopenCaseResponse, RequestAssistanceRequest, RequestAssistanceResponse, RequestReviewRequest,
    RequestReviewResponse, ResumeClockRequest, ResumeClockResponse, ReviewDispositionRequest,
    ReviewDispositionResponse, ShareNarrativeRequest, ShareNarrativeResponse, SplitReportRequest, SplitReportResponse,
    SuperviseCaseRequest, SuperviseCaseResponse, TransferCaseRequest, TransferCaseResponse,
    assign_case_request::Assignee, case_service_client::CaseServiceClient, case_sight::Sight,
};
use clap::{
    Args, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use decision::calendar::Unit;
use jiff::Timestamp;
use journal::Time;
use prost::{Message, Name};
use tonic::{Response, Status};

use super::batch::{self, Cases, Which};
use crate::{
    client::{Failed, Target},
    output::{self, id, line, tell, tr},
};

/// A change of a case.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum Change {
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
    /// Ask another agency to assist; only the lead may
    #[command(after_help = "Example:\n  remit case request-assistance cases/0d9f… police-450200 --as police-450100")]
    RequestAssistance {
        #[command(flatten)]
        of: Of,
        /// The agency to ask
        agency: String,
        #[command(flatten)]
        remark: Remark,
    },
    /// Answer a request to assist; only the agency that was asked may
    #[command(after_help = "Example:\n  remit case answer-assistance cases/0d9f… provided --as police-450200")]
    AnswerAssistance {
        #[command(flatten)]
        of: Of,
        /// The answer
        answer: Answer,
        #[command(flatten)]
        remark: Remark,
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
    /// Record what was done so far, as the lead
    #[command(after_help = "\
Example:
  remit case progress cases/0d9f… --note 'asked the bank' --tell-reporter 'Your bank was asked.' --as police-450100")]
    Progress {
        #[command(flatten)]
        of: Of,
        /// What was done
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        told: TellReporter,
    },
    /// Ask the reporter something, as the lead: the receipt shows the question
    ///
    /// The answer is added to the report: `remit report show` has it, and `remit case watch` tells of
    /// it. The time for the result stands still meanwhile, as far as the rule set allows it.
    #[command(after_help = "\
Example:
  remit case ask cases/0d9f… --question 'When was it paid?' --days 7 --as police-450100")]
    Ask {
        #[command(flatten)]
        of: Of,
        /// The question, as the reporter is shown it
        #[arg(long, value_name = "TEXT")]
        question: String,
        /// Days that the reporter has to answer, 1 to 30 [default: 7]
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        days: i32,
        #[command(flatten)]
        remark: Remark,
    },
    /// Record a measure that could not wait, also before taking the case over
    #[command(
        after_help = "Example:\n  remit case urgent-measure cases/0d9f… evidence-secured --note 'pages saved' --as police-450100"
    )]
    UrgentMeasure {
        #[command(flatten)]
        of: Of,
        /// The measure
        #[arg(value_parser = choice(UrgentMeasure::as_str_name))]
        measure: UrgentMeasure,
        /// What was done, by whom
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
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
    /// Pause the time for the result, as the lead, on a ground that the rule set allows
    #[command(after_help = "\
Examples:
  remit case pause cases/0d9f… expert-opinion --note 'asked the laboratory' --as police-450100
  remit case pause cases/0d9f… hearing --until 2026-12-24T18:00:00+08:00 --note 'on the 24th' --as police-450100")]
    Pause {
        #[command(flatten)]
        of: Of,
        /// The ground
        #[arg(value_parser = choice(PauseGround::as_str_name))]
        ground: PauseGround,
        /// The latest end of the pause, in RFC 3339; without it, as long as the rule set allows
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// What it waits for
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Let a paused time for the result run again, as the lead
    #[command(after_help = "Example:\n  remit case resume cases/0d9f… --note 'the opinion came' --as police-450100")]
    Resume {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        remark: Remark,
    },
    /// Let a supporting agency read what the reports say, as the lead
    #[command(after_help = "\
Examples:
  remit case share cases/0d9f… police-440000 --note 'for the search of the server' --as police-450100
  remit case share cases/0d9f… police-440000 --end --note 'done' --as police-450100")]
    Share {
        #[command(flatten)]
        of: Of,
        /// The supporting agency
        agency: String,
        /// It may no longer read them, instead
        #[arg(long = "end")]
        withheld: bool,
        /// What it needs them for
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// End the link of a joined case to its main case, as the lead, before that is decided
    #[command(after_help = "\
Its report goes on in its own case, with its own dates, owner and clocks. `remit case show` has the joined cases.

Example:
  remit case split cases/0d9f… reports/7c1e… --note 'another seller' --as police-450100")]
    Split {
        #[command(flatten)]
        of: Of,
        /// The report of the joined case
        report: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        note: String,
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
    /// Assign cases to an officer of your agency, take them from the pool, or give them back
    ///
    /// Only your agency sees it. `remit case list --of NAME` has an officer's cases: piped into
    /// this, those of somebody who leaves are moved in one act.
    #[command(after_help = "\
Examples:
  remit case assign cases/0d9f… --take --officer o-1 --as police-450100
  remit case assign cases/0d9f… --to o-2 --officer o-1 --as police-450100
  remit case assign cases/0d9f… --pool --officer o-1 --as police-450100
  remit case list --of o-2 --as police-450100 \\
    | remit case assign --file - --to o-3 --from o-2 --officer o-1 --as police-450100")]
    Assign {
        #[command(flatten)]
        cases: Cases,
        /// The officer who is to have them, by name or pseudonym
        #[arg(long, value_name = "OFFICER", required_unless_present_any = ["take", "pool"])]
        to: Option<String>,
        /// You take them, unless another officer has them
        #[arg(long, conflicts_with_all = ["to", "pool"])]
        take: bool,
        /// Nobody has them any more: they go back into the pool
        #[arg(long, conflicts_with = "to")]
        pool: bool,
        /// Only those that this officer has now
        #[arg(long, value_name = "OFFICER", default_value = "", hide_default_value = true)]
        from: String,
    },
    /// Put a case under your supervision, as a superior of its lead
    #[command(after_help = "\
Examples:
  remit case supervise cases/0d9f… --note 'report weekly' --as police-450000
  remit case supervise cases/0d9f… --within '5 working-days' --note 'decide it' --as police-450000")]
    Supervise {
        #[command(flatten)]
        of: Of,
        /// The time that the lead has from now on, such as `5 working-days`; without it its clock runs on
        #[arg(long, value_name = "TIME", value_parser = need)]
        within: Option<ClockNeed>,
        /// What you expect of the lead
        #[arg(long, value_name = "TEXT")]
        note: String,
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
}

/// The case to change, with what every change takes.
#[derive(Args, Clone, Debug)]
pub(super) struct Of {
    /// The case's name, `cases/{id}`
    pub(super) name: String,
    /// Only if the case is still as it was shown with this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) etag: String,
    /// Request id, a UUID: repeated within 24 hours it has the first answer
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    pub(super) request_id: String,
}

/// What the officer adds.
#[derive(Args, Clone, Debug)]
pub(super) struct Remark {
    /// What you add, for the lead, its superior that must designate, and the giver
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) note: String,
}

/// What the reporter may be told.
#[derive(Args, Clone, Debug)]
pub(super) struct TellReporter {
    /// What the reporter may be told
    #[arg(
        long = "tell-reporter",
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reporter_text: String,
}

/// A choice of the contract, by its name there in lower case, without the name of the list.
pub(in crate::commands) fn choice<E>(name: fn(&E) -> &'static str) -> impl TypedValueParser<Value = E>
where
    E: TryFrom<i32> + Copy + Send + Sync + 'static,
{
    let word = move |choice: E, list: usize| name(&choice)[list..].to_ascii_lowercase().replace('_', "-");
    let list = E::try_from(0).map_or(0, |unset| name(&unset).len() - "UNSPECIFIED".len());
    let all = || (1..64).map_while(|number| E::try_from(number).ok());
    PossibleValuesParser::new(all().map(|choice| word(choice, list))).try_map(move |given| {
        all()
            .find(|choice| word(*choice, list) == given)
            .ok_or("is not a choice")
    })
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

/// One call for one case, or batches for several.
macro_rules! each {
    ($shown:ident, $client:ident, $word:ident, $cases:ident, $request:ident, $call:ident,
        $batch:ident($requests:ident)) => {
        match $cases.which()? {
            Which::One(of) => $shown.done($word, $client.$call($request(of)).await).await,
            Which::Many(many) => {
                batch::run($shown.routing, $shown.json, $word, many, async |some| {
                    let requests = some.into_iter().map(&$request).collect();
                    Ok($client.$batch($requests { requests }).await?.into_inner().results)
                })
                .await
            }
        }
    };
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

impl Change {
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
            Self::RequestAssistance {
                of,
                agency,
                remark: Remark { note },
            } => {
                let request = request!(of => RequestAssistanceRequest { agency: agency_name(&agency), note });
                shown
                    .done(tr("asked to assist"), client.request_assistance(request).await)
                    .await
            }
            Self::AnswerAssistance {
                of,
                answer,
                remark: Remark { note },
            } => {
                let request = request!(of => AnswerAssistanceRequest { answer: answer.wire(), note });
                shown
                    .done(tr("answered"), client.answer_assistance(request).await)
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
            Self::Progress {
                of,
                note,
                told: TellReporter { reporter_text },
            } => {
                let request = request!(of => RecordProgressRequest { note, reporter_text });
                shown
                    .done(tr("put on record"), client.record_progress(request).await)
                    .await
            }
            Self::Ask {
                of,
                question,
                days: answer_day_count,
                remark: Remark { note },
            } => {
                let request = request!(of => AskReporterRequest { question, answer_day_count, note });
                shown.done(tr("asked"), client.ask_reporter(request).await).await
            }
            Self::UrgentMeasure { of, measure, note } => {
                let request = request!(of => RecordUrgentMeasureRequest { measure: measure.into(), note });
                shown
                    .done(tr("put on record"), client.record_urgent_measure(request).await)
                    .await
            }
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
            Self::Pause {
                of,
                ground,
                until,
                note,
            } => {
                let until_time = until.map(|until| Time(until.as_microsecond()).to_proto());
                let request = request!(of => PauseClockRequest { ground: ground.into(), until_time, note });
                shown.done(tr("paused"), client.pause_clock(request).await).await
            }
            Self::Resume {
                of,
                remark: Remark { note },
            } => {
                let request = request!(of => ResumeClockRequest { note });
                shown
                    .done(tr("it runs again"), client.resume_clock(request).await)
                    .await
            }
            Self::Share {
                of,
                agency,
                withheld,
                note,
            } => {
                let agency = agency_name(&agency);
                let request = request!(of => ShareNarrativeRequest { agency, withheld, note });
                let word = if withheld { tr("shared no longer") } else { tr("shared") };
                shown.done(word, client.share_narrative(request).await).await
            }
            Self::Split { of, report, note } => {
                let report = format!("reports/{}", id(&report));
                let request = request!(of => SplitReportRequest { report, note });
                shown
                    .done(tr("joined no longer"), client.split_report(request).await)
                    .await
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
            Self::Assign {
                cases,
                to,
                take,
                pool,
                from: former_officer,
            } => {
                let (word, assignee) = match to {
                    Some(officer) => (tr("assigned to the officer"), Assignee::Officer(officer)),
                    None if take => (tr("taken from the pool"), Assignee::ActingOfficer(take)),
                    None => (tr("back in the pool"), Assignee::Pool(pool)),
                };
                let assignee = Some(assignee);
                let request = |of: Of| {
                    let (assignee, former_officer) = (assignee.clone(), former_officer.clone());
                    request!(of => AssignCaseRequest { assignee, former_officer })
                };
                each!(
                    shown,
                    client,
                    word,
                    cases,
                    request,
                    assign_case,
                    batch_assign_cases(BatchAssignCasesRequest)
                )
            }
            Self::Supervise { of, within, note } => {
                let request = request!(of => SuperviseCaseRequest { term: within, note });
                shown
                    .done(tr("under supervision"), client.supervise_case(request).await)
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

// Who makes these still sees it.
shown!(
    AcknowledgeCaseResponse, RequestAssistanceResponse, ClaimLeadResponse, RecordProgressResponse,
    RecordUrgentMeasureResponse, AskReporterResponse, ProposeDispositionResponse, ReviewDispositionResponse,
    ReopenCaseResponse, PauseClockResponse, ResumeClockResponse, SuperviseCaseResponse,
    ShareNarrativeResponse, SplitReportResponse, AssignCaseResponse, ReferCrimeResponse
    => |answered| Done {
        preview: None,
        sight: answered.current_case.map(Sight::CurrentCase),
    }
);
// Who answers may no longer see it.
shown!(AnswerAssistanceResponse, AnswerReferralResponse => |answered| Done {
    preview: None,
    sight: answered.sight.and_then(|sight| sight.sight),
});
// These can be asked what they would do, and may take it out of sight.
shown!(
    DeclineCaseResponse, TransferCaseResponse, EscalateCaseResponse, DispatchCaseResponse, DesignateAgencyResponse,
    AnswerClaimResponse, ReclassifyCaseResponse, RequestReviewResponse, RecuseAgencyResponse
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
