//! What the changes of a case share: what each takes, and how its answer is shown.
//!
//! Each change is a variant of an enum with its flags, and in `run` of that its request and a word
//! for when it is done: in `hand_on.rs`, `work.rs`, `outcome.rs`. Its answer stands in one of the
//! lists of
//! `shown!`, which say where answers have the case.

use api::routing::{
    AcknowledgeCaseResponse, AnswerAssistanceResponse, AnswerClaimResponse, AnswerReferralResponse,
    AskReporterResponse, AssignCaseResponse, ClaimLeadResponse, DeclineCaseResponse, DesignateAgencyResponse,
    DispatchCaseResponse, EscalateCaseResponse, HandOverPreview, PauseClockResponse, ProposeDispositionResponse,
    ReclassifyCaseResponse, RecordProgressResponse, RecordUrgentMeasureResponse, RecuseAgencyResponse,
    ReferCrimeResponse, ReopenCaseResponse, RequestAssistanceResponse, RequestReviewResponse, ResumeClockResponse,
    ReviewDispositionResponse, ShareNarrativeResponse, SplitReportResponse, SuperviseCaseResponse,
    TransferCaseResponse, case_sight::Sight,
};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use prost::{Message, Name};
use tonic::{Response, Status};

use crate::{
    client::{Failed, Target},
    output::{self, id, line, tell},
};

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

/// Whether a change is only to be shown.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Preview {
    /// Only show who would get it, under which clocks, and who would no longer see it
    #[arg(long = "preview")]
    pub(super) validate_only: bool,
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
    pub(super) reporter_text: String,
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

pub(super) use {each, request};

/// The resource name of an agency given by name or id.
pub(super) fn agency_name(agency: &str) -> String {
    format!("agencies/{}", id(agency))
}

/// What a change came to.
#[derive(Debug, Default)]
pub(super) struct Done {
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
pub(super) struct Shown<'a> {
    pub(super) routing: &'a Target,
    pub(super) json: bool,
}

impl Shown<'_> {
    /// Shows the answer of a change, after the word for what was done.
    pub(super) async fn done<A>(&self, word: &str, answer: Result<Response<A>, Status>) -> anyhow::Result<()>
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
