//! `remit.routing.v1.CaseService`: decodes, calls, encodes.

use std::sync::Arc;

use api::{
    event::{
        AssistanceAnswer, ClaimAnswer, Disposition, DispositionEffect, DispositionKind, HandOverReason, NoticeMeans,
        PauseGround, ReferralAnswer, ReopenReason, ReviewRequester, ReviewVerdict, StatementAnswer, UrgentMeasure,
    },
    routing::{
        AcknowledgeCaseRequest, AcknowledgeCaseResponse, AnswerAssistanceRequest, AnswerAssistanceResponse,
        AnswerClaimRequest, AnswerClaimResponse, AnswerReferralRequest, AnswerReferralResponse, AnswerStatementRequest,
        AnswerStatementResponse, AskReporterRequest, AskReporterResponse, AssignCaseRequest, AssignCaseResponse,
        BatchAcknowledgeCasesRequest, BatchAcknowledgeCasesResponse, BatchAssignCasesRequest, BatchAssignCasesResponse,
        BatchDeclineCasesRequest, BatchDeclineCasesResponse, BatchTransferCasesRequest, BatchTransferCasesResponse,
        BatchedCase, Case, CaseNote, CaseSight, CheckAccessRequest, CheckAccessResponse, CheckReportsRequest,
        CheckReportsResponse, ClaimLeadRequest, ClaimLeadResponse, ClockNeed, CountWorklistsRequest,
        CountWorklistsResponse, DeclineCaseRequest, DeclineCaseResponse, DesignateAgencyRequest,
        DesignateAgencyResponse, DispatchCaseRequest, DispatchCaseResponse, EscalateCaseRequest, EscalateCaseResponse,
        GetCaseRequest, GetCaseResponse, HandOverPreview, ListCasesRequest, ListCasesResponse, ListUndeliveredRequest,
        ListUndeliveredResponse, NotifySubjectRequest, NotifySubjectResponse, PauseClockRequest, PauseClockResponse,
        PreviewRouteRequest, PreviewRouteResponse, ProposeDispositionRequest, ProposeDispositionResponse,
        ReclassifyCaseRequest, ReclassifyCaseResponse, RecordProgressRequest, RecordProgressResponse,
        RecordUrgentMeasureRequest, RecordUrgentMeasureResponse, RecuseAgencyRequest, RecuseAgencyResponse,
        ReferCrimeRequest, ReferCrimeResponse, ReopenCaseRequest, ReopenCaseResponse, RequestAssistanceRequest,
        RequestAssistanceResponse, RequestReviewRequest, RequestReviewResponse, ResumeClockRequest,
        ResumeClockResponse, ReviewDispositionRequest, ReviewDispositionResponse, RouteReportsRequest,
        RouteReportsResponse, ShareNarrativeRequest, ShareNarrativeResponse, SplitReportRequest, SplitReportResponse,
        SuperviseCaseRequest, SuperviseCaseResponse, TransferCaseRequest, TransferCaseResponse, WatchCasesRequest,
        WatchCasesResponse, assign_case_request::Assignee as WireAssignee, batched_case::Result as BatchedResult,
        case_service_server::CaseService, case_sight::Sight, routing_inbound_service_server::RoutingInboundService,
    },
};
use decision::{
    directory::AgencyId,
    rules::{self, Span},
};
use futures::{StreamExt as _, stream::BoxStream};
use journal::Time;
use prost::{Message, Name};
use rpc::{Failure, Identity, Officer, Violation, caller};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    case::{
        ANSWER_DAYS, Acknowledge, Action, Answer, AnswerAssistance, AnswerClaim, AnswerReferral, AnswerStatement,
        AskReporter, Assign, Assignee, ClaimLead, Decline, Designate, Dispatch, Escalate, Membership, NotifySubject,
        Party, PauseClock, Propose, Reason, Reclassify, RecordProgress, RecordUrgentMeasure, Recuse, ReferCrime,
        Refiled, Reopen, RequestAssistance, RequestReview, ResumeClock, Review, ShareNarrative, SplitReport, Supervise,
        Transfer,
    },
    cases::{Answered, Cases, ChangeRequest, check_count, forgotten, watched},
    feed::Interrupted,
    reports::Reports,
    store::Given,
    view,
};

/// The gRPC service.
pub(crate) struct Service {
    pub(crate) cases: Cases,
    pub(crate) reports: Reports,
}

/// A request message of a verb.
trait ChangeCase: Message + Name + Default {
    type Response;

    /// The fields common to all: name of the case, etag, request id.
    fn take(&mut self) -> Common;

    /// The verb with its arguments, or their violations.
    fn action(&self, officer: Option<&Officer>) -> Result<Action, Vec<Violation>>;

    /// What the officer writes, or the violations.
    fn note(&self, officer: Option<&Officer>) -> Result<CaseNote, Vec<Violation>>;

    /// Whether only to show what it would do.
    fn validate_only(&self) -> bool;

    fn respond(shown: Shown) -> Self::Response;
}

struct Common {
    name: String,
    etag: String,
    request_id: String,
}

/// What a response shows: the case after a change, or what the change would do.
struct Shown {
    sight: Option<CaseSight>,
    preview: Option<HandOverPreview>,
    given: Option<Given>,
}

impl From<Answered> for Shown {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Changed(sight) => Self {
                sight: Some(*sight),
                preview: None,
                given: None,
            },
            Answered::Notified(sight, given) => Self {
                sight: Some(*sight),
                preview: None,
                given: Some(given),
            },
            Answered::Previewed(preview) => Self {
                sight: None,
                preview: Some(*preview),
                given: None,
            },
        }
    }
}

impl Shown {
    /// For verbs that cannot end the caller's sight.
    fn current_case(&mut self) -> Option<Case> {
        match self.sight.take()?.sight {
            Some(Sight::CurrentCase(case)) => Some(case),
            _ => None,
        }
    }

    /// For verbs that can.
    fn sight(&mut self) -> Option<CaseSight> {
        self.sight.take()
    }

    /// For a notice to the affected side: its number.
    fn notice_number(&mut self) -> i64 {
        self.given.as_ref().map_or(0, |given| given.notice.cast_signed())
    }

    /// For a notice to the affected side, after its number.
    fn receipt(&mut self) -> String {
        self.given.take().map(|given| given.receipt).unwrap_or_default()
    }

    /// For verbs that hand the case on.
    fn preview(&mut self) -> Option<HandOverPreview> {
        self.preview.take()
    }
}

/// Whether a verb with these fields in its response can be asked to show only what it would do.
macro_rules! validate_only {
    ($request:ident, $shown:ident, $preview:ident) => {
        $request.validate_only
    };
    ($request:ident, $shown:ident $(, $number:ident, $receipt:ident)?) => {{
        let _ = $request;
        false
    }};
}

/// Maximum characters of what an officer writes.
const LONGEST_NOTE: usize = 2_000;

/// Maximum characters of a legal basis.
const LONGEST_BASIS: usize = 200;

/// Maximum number of effects.
const MOST_EFFECTS: usize = 16;

/// One line per verb: its request with the fields that the officer writes, its response and the
/// fields with the case, and its action.
macro_rules! verbs {
    ($($request:ident ($($written:ident),*) => $response:ident { $($shown:ident),+ }: $action:expr;)+) => {
        $(impl ChangeCase for $request {
            type Response = $response;

            fn take(&mut self) -> Common {
                Common {
                    name: std::mem::take(&mut self.name),
                    etag: std::mem::take(&mut self.etag),
                    request_id: std::mem::take(&mut self.request_id),
                }
            }

            fn action(&self, officer: Option<&Officer>) -> Result<Action, Vec<Violation>> {
                let action: fn(&Self, Option<&Officer>) -> Result<Action, Vec<Violation>> = $action;
                action(self, officer)
            }

            fn note(&self, officer: Option<&Officer>) -> Result<CaseNote, Vec<Violation>> {
                noted(&[$((stringify!($written), self.$written.as_str())),*], officer)
            }

            fn validate_only(&self) -> bool {
                let request = self;
                validate_only!(request, $($shown),+)
            }

            fn respond(mut shown: Shown) -> $response {
                $response { $($shown: shown.$shown()),+ }
            }
        })+
    };
}

verbs! {
    AcknowledgeCaseRequest () => AcknowledgeCaseResponse { current_case }: |_, _| Ok(Action::Acknowledge(Acknowledge));
    DeclineCaseRequest (note) => DeclineCaseResponse { sight, preview }: |asked, _| {
        let better = match asked.better_agency.is_empty() {
            true => Ok(None),
            false => agency("better_agency", &asked.better_agency).map(Some),
        };
        let (better, reason) = both(better, reason(asked.reason()))?;
        Ok(Action::Decline(Decline { reason, better }))
    };
    TransferCaseRequest (note) => TransferCaseResponse { sight, preview }: |asked, _| {
        let (to, reason) = receiver(&asked.agency, asked.reason())?;
        Ok(Action::Transfer(Transfer { to, reason, keep_supporting: asked.keep_supporting }))
    };
    EscalateCaseRequest (note) => EscalateCaseResponse { sight, preview }: |asked, _| {
        Ok(Action::Escalate(Escalate { reason: reason(asked.reason())? }))
    };
    DispatchCaseRequest (note) => DispatchCaseResponse { sight, preview }: |asked, _| {
        let (to, reason) = receiver(&asked.agency, asked.reason())?;
        Ok(Action::Dispatch(Dispatch { to, reason }))
    };
    DesignateAgencyRequest (note) => DesignateAgencyResponse { sight, preview }: |asked, _| {
        let agency = agency("agency", &asked.agency)?;
        Ok(Action::Designate(Designate { agency }))
    };
    ReclassifyCaseRequest (note) => ReclassifyCaseResponse { sight, preview }: |asked, _| {
        let (category, ()) = both(category("category", &asked.category), written("note", &asked.note))?;
        // The store knows what follows.
        Ok(Action::Reclassify(Reclassify { category, refiled: Refiled::NoCategory }))
    };
    RequestAssistanceRequest (note) => RequestAssistanceResponse { current_case }: |asked, _| {
        let of = agency("agency", &asked.agency)?;
        Ok(Action::RequestAssistance(RequestAssistance { of }))
    };
    AnswerAssistanceRequest (note) => AnswerAssistanceResponse { sight }: |asked, _| {
        let answer = answer("answer", asked.answer())?;
        Ok(Action::AnswerAssistance(AnswerAssistance { answer }))
    };
    ClaimLeadRequest (note) => ClaimLeadResponse { current_case }: |asked, _| {
        Ok(Action::ClaimLead(ClaimLead { reason: reason(asked.reason())? }))
    };
    AnswerClaimRequest (note) => AnswerClaimResponse { sight, preview }: |asked, _| {
        let answer = known("answer", asked.answer(), ClaimAnswer::Unspecified, ClaimAnswer::as_str_name)?;
        Ok(Action::AnswerClaim(AnswerClaim { agreed: answer == ClaimAnswer::Agreed }))
    };
    RecordProgressRequest (note, reporter_text) => RecordProgressResponse { current_case }: |asked, _| {
        written("note", &asked.note)?;
        Ok(Action::RecordProgress(RecordProgress))
    };
    RecordUrgentMeasureRequest (note) => RecordUrgentMeasureResponse { current_case }: |asked, _| {
        let measure = known("measure", asked.measure(), UrgentMeasure::Unspecified, UrgentMeasure::as_str_name);
        let (measure, ()) = both(measure, written("note", &asked.note))?;
        Ok(Action::RecordUrgentMeasure(RecordUrgentMeasure { measure }))
    };
    AskReporterRequest (question, note) => AskReporterResponse { current_case }: |asked, _| {
        written("question", &asked.question)?;
        let days = match asked.answer_day_count {
            0 => ANSWER_DAYS,
            days => u32::try_from(days).unwrap_or_default(),
        };
        Ok(Action::AskReporter(AskReporter { text: asked.question.clone(), days }))
    };
    ProposeDispositionRequest (reasons, reporter_text, subject_text) => ProposeDispositionResponse { current_case }:
    |asked, officer| {
        let what = disposition(asked.disposition.as_ref());
        let ((what, officer), ()) = both(both(what, acting(officer)), written("reasons", &asked.reasons))?;
        let note = CaseNote {
            text: asked.reasons.clone(),
            reporter_text: asked.reporter_text.clone(),
            subject_text: asked.subject_text.clone(),
            officer,
        };
        Ok(Action::Propose(Propose { what, note }))
    };
    ReviewDispositionRequest (note) => ReviewDispositionResponse { current_case }: |asked, officer| {
        let verdict = known("verdict", asked.verdict(), ReviewVerdict::Unspecified, ReviewVerdict::as_str_name);
        let reasons = match asked.verdict() {
            ReviewVerdict::Returned => written("note", &asked.note),
            _ => Ok(()),
        };
        let ((verdict, officer), ()) = both(both(verdict, acting(officer)), reasons)?;
        Ok(Action::Review(Review { approved: verdict == ReviewVerdict::Approved, officer }))
    };
    ReferCrimeRequest (note) => ReferCrimeResponse { current_case }: |asked, _| {
        let (to, ()) = both(agency("agency", &asked.agency), written("note", &asked.note))?;
        Ok(Action::ReferCrime(ReferCrime { to }))
    };
    AnswerReferralRequest (note) => AnswerReferralResponse { sight }: |asked, _| {
        let answer = known("answer", asked.answer(), ReferralAnswer::Unspecified, ReferralAnswer::as_str_name);
        let reasons = match asked.answer() {
            ReferralAnswer::Refused => written("note", &asked.note),
            _ => Ok(()),
        };
        let (answer, ()) = both(answer, reasons)?;
        Ok(Action::AnswerReferral(AnswerReferral { taken: answer == ReferralAnswer::Taken }))
    };
    RequestReviewRequest (note) => RequestReviewResponse { sight, preview }: |asked, _| {
        let requester = known("requester", asked.requester(), ReviewRequester::Unspecified, ReviewRequester::as_str_name);
        let (requester, ()) = both(requester, written("note", &asked.note))?;
        Ok(Action::RequestReview(RequestReview { requester, notice: None }))
    };
    NotifySubjectRequest (note, subject_text) => NotifySubjectResponse { current_case, notice_number, receipt }:
    |asked, _| {
        let means = known("means", asked.means(), NoticeMeans::Unspecified, NoticeMeans::as_str_name);
        let again = match asked.notice_number {
            0 => Ok(None),
            number => notice("notice_number", number).map(Some),
        };
        let ((means, again), ()) = both(both(means, again), written("subject_text", &asked.subject_text))?;
        Ok(Action::NotifySubject(NotifySubject {
            again,
            recipient: asked.recipient.clone(),
            means,
            new_receipt: asked.new_receipt,
            of_decision: asked.of_decision,
        }))
    };
    AnswerStatementRequest (note, subject_text) => AnswerStatementResponse { current_case }: |asked, _| {
        let answer = known("answer", asked.answer(), StatementAnswer::Unspecified, StatementAnswer::as_str_name);
        let number = notice("notice_number", asked.notice_number);
        let ((answer, notice), ()) = both(both(answer, number), written("subject_text", &asked.subject_text))?;
        let statements = u64::try_from(asked.statement_count).unwrap_or_default();
        Ok(Action::AnswerStatement(AnswerStatement { notice, statements, answer }))
    };
    ReopenCaseRequest (note) => ReopenCaseResponse { current_case }: |asked, _| {
        let reason = known("reason", asked.reason(), ReopenReason::Unspecified, ReopenReason::as_str_name);
        let (reason, ()) = both(reason, written("note", &asked.note))?;
        Ok(Action::Reopen(Reopen { reason }))
    };
    RecuseAgencyRequest (note) => RecuseAgencyResponse { sight, preview }: |_, _| Ok(Action::Recuse(Recuse));
    PauseClockRequest (note) => PauseClockResponse { current_case }: |asked, _| {
        let ground = known("ground", asked.ground(), PauseGround::Unspecified, PauseGround::as_str_name);
        let until = until("until_time", asked.until_time.as_ref().map(Time::from_proto));
        let ((ground, until), ()) = both(both(ground, until), written("note", &asked.note))?;
        Ok(Action::PauseClock(PauseClock { ground, until }))
    };
    ResumeClockRequest (note) => ResumeClockResponse { current_case }: |_, _| Ok(Action::ResumeClock(ResumeClock));
    ShareNarrativeRequest (note) => ShareNarrativeResponse { current_case }: |asked, _| {
        let (with, ()) = both(agency("agency", &asked.agency), written("note", &asked.note))?;
        Ok(Action::ShareNarrative(ShareNarrative { with, shared: !asked.withheld }))
    };
    SplitReportRequest (note) => SplitReportResponse { current_case }: |asked, _| {
        let (report, ()) = both(report("report", &asked.report), written("note", &asked.note))?;
        // The store knows where it is.
        Ok(Action::SplitReport(SplitReport { report, found: Membership::None }))
    };
    AssignCaseRequest () => AssignCaseResponse { current_case }: |asked, officer| {
        let to = assignee(asked.assignee.as_ref());
        let former = match asked.former_officer.as_str() {
            "" => Ok(None),
            former => named("former_officer", former).map(Some),
        };
        let ((to, former), by) = both(both(to, former), assigning(officer))?;
        Ok(Action::Assign(Assign { to, former, by, commitment: Vec::new() }))
    };
    SuperviseCaseRequest (note) => SuperviseCaseResponse { current_case }: |asked, _| {
        let (term, ()) = both(term("term", asked.term.as_ref()), written("note", &asked.note))?;
        Ok(Action::Supervise(Supervise { term }))
    };
}

/// A choice that is set. Its name in the error is one of those that the server knows.
fn known<E>(field: &'static str, choice: E, unset: E, name: fn(&E) -> &'static str) -> Result<E, Vec<Violation>>
where
    E: TryFrom<i32> + PartialEq + Copy,
{
    if choice != unset {
        return Ok(choice);
    }
    let known: Vec<_> = (1..=2)
        .filter_map(|number| E::try_from(number).ok())
        .map(|known| name(&known))
        .collect();
    let description = format!(
        "must be set to one that this server knows, such as {}",
        known.join(" or ")
    );
    Err(vec![Violation::new(field, description)])
}

/// The number of a notice.
fn notice(field: &'static str, number: i64) -> Result<u64, Vec<Violation>> {
    let positive = u64::try_from(number).ok().filter(|number| *number != 0);
    positive.ok_or_else(|| {
        let description = "must be the number of a notice, from 1, as the case shows it";
        vec![Violation::new(field, description)]
    })
}

/// A time that was read, if there is one.
fn until(field: &'static str, time: Option<Option<Time>>) -> Result<Option<Time>, Vec<Violation>> {
    let out_of_range = || vec![Violation::new(field, "is not a time between the years 1 and 9999")];
    time.map(|time| time.ok_or_else(out_of_range)).transpose()
}

/// A length of time, if there is one.
fn term(field: &'static str, term: Option<&ClockNeed>) -> Result<Option<Span>, Vec<Violation>> {
    let Some(term) = term else { return Ok(None) };
    match rules::span(term) {
        Some(span) => Ok(Some(span)),
        None => {
            let description = "must have a unit that this server knows, and a value from 1 to a year in hours";
            Err(vec![Violation::new(field, description)])
        }
    }
}

/// What an officer wrote in these fields of a request, each with its name.
fn noted(written: &[(&'static str, &str)], officer: Option<&Officer>) -> Result<CaseNote, Vec<Violation>> {
    let too_long = |(field, text): &(&'static str, &str)| within(field, text, LONGEST_NOTE).err();
    let violations: Vec<_> = written.iter().filter_map(too_long).collect();
    if !violations.is_empty() {
        return Err(violations);
    }
    let mut note = CaseNote::default();
    for (field, text) in written {
        let place = match *field {
            "reporter_text" | "question" => &mut note.reporter_text,
            "subject_text" => &mut note.subject_text,
            _ => &mut note.text,
        };
        (*text).clone_into(place);
    }
    if note != CaseNote::default() {
        note.officer = officer.map(|officer| officer.as_str().to_owned()).unwrap_or_default();
    }
    Ok(note)
}

/// Checks that an officer wrote something.
fn written(field: &'static str, text: &str) -> Result<(), Vec<Violation>> {
    match names::text::visible(text).trim().is_empty() {
        true => Err(vec![Violation::new(field, "is required")]),
        false => Ok(()),
    }
}

/// Checks a text's length.
fn within(field: &'static str, text: &str, longest: usize) -> Result<(), Violation> {
    match text.chars().count() {
        length if length > longest => {
            let description = format!("has {length} characters, more than {longest}");
            Err(Violation::new(field, description))
        }
        _ => Ok(()),
    }
}

/// The name of the officer who acts.
fn acting(officer: Option<&Officer>) -> Result<String, Vec<Violation>> {
    let name = officer.map(|officer| officer.as_str().to_owned());
    name.ok_or_else(|| {
        let description = "is required: an officer answers for a disposition; send the name or pseudonym as metadata";
        vec![Violation::new("remit-officer-bin", description)]
    })
}

/// The name of the officer who assigns a case.
fn assigning(officer: Option<&Officer>) -> Result<String, Vec<Violation>> {
    let name = officer.map(|officer| officer.as_str().to_owned());
    name.ok_or_else(|| {
        let description = "is required: a person assigns a case, and takes it; send the name or pseudonym as metadata";
        vec![Violation::new("remit-officer-bin", description)]
    })
}

/// An officer who is named in a field, in canonical form.
fn named(field: &'static str, name: &str) -> Result<String, Vec<Violation>> {
    match Officer::new(name) {
        Ok(officer) => Ok(officer.as_str().to_owned()),
        Err(invalid) => Err(vec![Violation::new(field, invalid.to_string())]),
    }
}

/// Who is to have a case.
fn assignee(assignee: Option<&WireAssignee>) -> Result<Assignee, Vec<Violation>> {
    match assignee {
        Some(WireAssignee::Officer(name)) => named("officer", name).map(Assignee::Officer),
        Some(WireAssignee::ActingOfficer(true)) => Ok(Assignee::Acting),
        Some(WireAssignee::Pool(true)) => Ok(Assignee::Pool),
        Some(WireAssignee::ActingOfficer(false) | WireAssignee::Pool(false)) | None => {
            let description = "is required: set `officer`, or set `acting_officer` or `pool` to true";
            Err(vec![Violation::new("assignee", description)])
        }
    }
}

/// A disposition that is complete, or its violations.
fn disposition(what: Option<&Disposition>) -> Result<Disposition, Vec<Violation>> {
    let what = what.cloned().unwrap_or_default();
    let kind = known(
        "disposition.kind",
        what.kind(),
        DispositionKind::Unspecified,
        DispositionKind::as_str_name,
    );
    let mut violations = kind.err().unwrap_or_default();
    if what.effects.is_empty() {
        let description = "is required; `DISPOSITION_EFFECT_NONE` if nothing changes";
        violations.push(Violation::new("disposition.effects", description));
    }
    if what.effects.len() > MOST_EFFECTS {
        let description = format!("has {} effects, more than {MOST_EFFECTS}", what.effects.len());
        violations.push(Violation::new("disposition.effects", description));
    }
    for (index, effect) in what.effects.iter().enumerate().take(MOST_EFFECTS) {
        if DispositionEffect::try_from(*effect).is_ok_and(|effect| effect != DispositionEffect::Unspecified) {
            continue;
        }
        let field = format!("disposition.effects[{index}]");
        violations.push(Violation::new(field, "is not one that this server knows"));
    }
    violations.extend(
        written("disposition.legal_basis", &what.legal_basis)
            .err()
            .unwrap_or_default(),
    );
    violations.extend(within("disposition.legal_basis", &what.legal_basis, LONGEST_BASIS).err());
    match violations.is_empty() {
        true => Ok(what),
        false => Err(violations),
    }
}

fn agency(field: &'static str, name: &str) -> Result<AgencyId, Vec<Violation>> {
    AgencyId::from_resource_name(name).map_err(|_| {
        let description = "must be the name of an agency, such as `agencies/{id}`";
        vec![Violation::new(field, description)]
    })
}

fn category(field: &'static str, name: &str) -> Result<String, Vec<Violation>> {
    let id = names::Collection::CATEGORIES.id(name);
    id.map(ToOwned::to_owned).ok_or_else(|| {
        let description = "must be the name of a category, such as `categories/{id}`";
        vec![Violation::new(field, description)]
    })
}

fn report(field: &'static str, name: &str) -> Result<Uuid, Vec<Violation>> {
    names::REPORT.id(name).ok_or_else(|| {
        let description = "must be the name of a report, such as `reports/{id}`";
        vec![Violation::new(field, description)]
    })
}

fn reason(reason: HandOverReason) -> Result<Reason, Vec<Violation>> {
    Reason::from_proto(reason).ok_or_else(|| {
        let known: Vec<_> = Reason::ALL.iter().map(|known| known.to_proto().as_str_name()).collect();
        let description = format!("must be one that this server knows: {}", known.join(", "));
        vec![Violation::new("reason", description)]
    })
}

/// The agency that is to lead, and why, or both violations.
fn receiver(name: &str, why: HandOverReason) -> Result<(AgencyId, Reason), Vec<Violation>> {
    both(agency("agency", name), reason(why))
}

/// Two arguments, or the violations of both.
fn both<A, B>(first: Result<A, Vec<Violation>>, second: Result<B, Vec<Violation>>) -> Result<(A, B), Vec<Violation>> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok((first, second)),
        (first, second) => Err([first.err(), second.err()].into_iter().flatten().flatten().collect()),
    }
}

fn answer(field: &'static str, answer: AssistanceAnswer) -> Result<Answer, Vec<Violation>> {
    match answer {
        AssistanceAnswer::Provided => Ok(Answer::Provided),
        AssistanceAnswer::Unable => Ok(Answer::Unable),
        AssistanceAnswer::Unspecified => {
            let description = "must be one that this server knows: PROVIDED or UNABLE";
            Err(vec![Violation::new(field, description)])
        }
    }
}

/// What a request asks for.
fn change<R: ChangeCase>(mut request: R, officer: Option<&Officer>) -> ChangeRequest {
    let (action, note) = match both(request.action(officer), request.note(officer)) {
        Ok((action, note)) => (Ok(action), note),
        Err(violations) => (Err(violations), CaseNote::default()),
    };
    let validate_only = request.validate_only();
    let Common { name, etag, request_id } = request.take();
    ChangeRequest {
        method: R::NAME,
        content: request.encode_to_vec(),
        name,
        etag,
        request_id,
        action,
        note,
        validate_only,
    }
}

impl Service {
    async fn act<R: ChangeCase>(&self, request: Request<R>) -> Result<Response<R::Response>, Status> {
        let caller = caller(&request)?.clone();
        let change = change(request.into_inner(), caller.officer.as_ref());
        let answered = self.cases.act(&caller, change).await?;
        Ok(Response::new(R::respond(answered.into())))
    }

    /// Each request of a batch, by itself.
    async fn act_each<R: ChangeCase>(&self, caller: &Identity, requests: Vec<R>) -> Result<Vec<BatchedCase>, Status> {
        check_count(requests.len())?;
        let changes = requests
            .into_iter()
            .map(|request| change(request, caller.officer.as_ref()));
        let answers = self.cases.act_each(caller, changes.collect()).await?;
        let batched = |(name, answer): (String, Result<Answered, Failure>)| BatchedCase {
            name,
            result: Some(match answer {
                Ok(Answered::Changed(sight) | Answered::Notified(sight, _)) => BatchedResult::Sight(*sight),
                Ok(Answered::Previewed(preview)) => BatchedResult::Preview(*preview),
                Err(failure) => BatchedResult::Error(failure.into()),
            }),
        };
        Ok(answers.into_iter().map(batched).collect())
    }
}

#[tonic::async_trait]
impl CaseService for Service {
    async fn get_case(&self, request: Request<GetCaseRequest>) -> Result<Response<GetCaseResponse>, Status> {
        let case = self.cases.get(caller(&request)?, &request.get_ref().name).await?;
        Ok(Response::new(GetCaseResponse {
            current_case: Some(case),
        }))
    }

    async fn list_cases(&self, request: Request<ListCasesRequest>) -> Result<Response<ListCasesResponse>, Status> {
        let listed = self.cases.list(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(listed))
    }

    async fn count_worklists(
        &self,
        request: Request<CountWorklistsRequest>,
    ) -> Result<Response<CountWorklistsResponse>, Status> {
        let counts = self.cases.count(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(counts))
    }

    async fn list_undelivered(
        &self,
        request: Request<ListUndeliveredRequest>,
    ) -> Result<Response<ListUndeliveredResponse>, Status> {
        let undelivered = self.cases.undelivered(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(undelivered))
    }

    type WatchCasesStream = BoxStream<'static, Result<WatchCasesResponse, Status>>;

    async fn watch_cases(
        &self,
        request: Request<WatchCasesRequest>,
    ) -> Result<Response<Self::WatchCasesStream>, Status> {
        let token = &request.get_ref().resume_token;
        let feed = self.cases.watch(caller(&request)?, token).await?;
        let (bound_to, seal) = (watched(feed.agency()), self.cases.tokens.seal().await?);
        let viewer = Party::Agency(feed.agency().clone());
        let versions = Arc::clone(&self.cases.versions);
        let messages = feed.into_stream().map(move |item| {
            let item = item.map_err(|interrupted| match interrupted {
                Interrupted::Forgotten => forgotten(),
                Interrupted::Store(error) => Failure::from(error),
            })?;
            let sight = match &item.case {
                Some(case) => view::sight(case, &viewer, &versions.active().directory),
                None => view::lost(item.id),
            };
            Ok(WatchCasesResponse {
                sight: Some(sight),
                kind: item.kind,
                resume_token: seal.encode(&bound_to, &item.position.to_string()),
            })
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn acknowledge_case(
        &self,
        request: Request<AcknowledgeCaseRequest>,
    ) -> Result<Response<AcknowledgeCaseResponse>, Status> {
        self.act(request).await
    }

    async fn batch_acknowledge_cases(
        &self,
        request: Request<BatchAcknowledgeCasesRequest>,
    ) -> Result<Response<BatchAcknowledgeCasesResponse>, Status> {
        let caller = caller(&request)?.clone();
        let results = self.act_each(&caller, request.into_inner().requests).await?;
        Ok(Response::new(BatchAcknowledgeCasesResponse { results }))
    }

    async fn batch_decline_cases(
        &self,
        request: Request<BatchDeclineCasesRequest>,
    ) -> Result<Response<BatchDeclineCasesResponse>, Status> {
        let caller = caller(&request)?.clone();
        let results = self.act_each(&caller, request.into_inner().requests).await?;
        Ok(Response::new(BatchDeclineCasesResponse { results }))
    }

    async fn batch_transfer_cases(
        &self,
        request: Request<BatchTransferCasesRequest>,
    ) -> Result<Response<BatchTransferCasesResponse>, Status> {
        let caller = caller(&request)?.clone();
        let results = self.act_each(&caller, request.into_inner().requests).await?;
        Ok(Response::new(BatchTransferCasesResponse { results }))
    }

    async fn decline_case(
        &self,
        request: Request<DeclineCaseRequest>,
    ) -> Result<Response<DeclineCaseResponse>, Status> {
        self.act(request).await
    }

    async fn transfer_case(
        &self,
        request: Request<TransferCaseRequest>,
    ) -> Result<Response<TransferCaseResponse>, Status> {
        self.act(request).await
    }

    async fn escalate_case(
        &self,
        request: Request<EscalateCaseRequest>,
    ) -> Result<Response<EscalateCaseResponse>, Status> {
        self.act(request).await
    }

    async fn dispatch_case(
        &self,
        request: Request<DispatchCaseRequest>,
    ) -> Result<Response<DispatchCaseResponse>, Status> {
        self.act(request).await
    }

    async fn designate_agency(
        &self,
        request: Request<DesignateAgencyRequest>,
    ) -> Result<Response<DesignateAgencyResponse>, Status> {
        self.act(request).await
    }

    async fn reclassify_case(
        &self,
        request: Request<ReclassifyCaseRequest>,
    ) -> Result<Response<ReclassifyCaseResponse>, Status> {
        self.act(request).await
    }

    async fn request_assistance(
        &self,
        request: Request<RequestAssistanceRequest>,
    ) -> Result<Response<RequestAssistanceResponse>, Status> {
        self.act(request).await
    }

    async fn answer_assistance(
        &self,
        request: Request<AnswerAssistanceRequest>,
    ) -> Result<Response<AnswerAssistanceResponse>, Status> {
        self.act(request).await
    }

    async fn claim_lead(&self, request: Request<ClaimLeadRequest>) -> Result<Response<ClaimLeadResponse>, Status> {
        self.act(request).await
    }

    async fn answer_claim(
        &self,
        request: Request<AnswerClaimRequest>,
    ) -> Result<Response<AnswerClaimResponse>, Status> {
        self.act(request).await
    }

    async fn record_progress(
        &self,
        request: Request<RecordProgressRequest>,
    ) -> Result<Response<RecordProgressResponse>, Status> {
        self.act(request).await
    }

    async fn record_urgent_measure(
        &self,
        request: Request<RecordUrgentMeasureRequest>,
    ) -> Result<Response<RecordUrgentMeasureResponse>, Status> {
        self.act(request).await
    }

    async fn ask_reporter(
        &self,
        request: Request<AskReporterRequest>,
    ) -> Result<Response<AskReporterResponse>, Status> {
        self.act(request).await
    }

    async fn propose_disposition(
        &self,
        request: Request<ProposeDispositionRequest>,
    ) -> Result<Response<ProposeDispositionResponse>, Status> {
        self.act(request).await
    }

    async fn review_disposition(
        &self,
        request: Request<ReviewDispositionRequest>,
    ) -> Result<Response<ReviewDispositionResponse>, Status> {
        self.act(request).await
    }

    async fn refer_crime(&self, request: Request<ReferCrimeRequest>) -> Result<Response<ReferCrimeResponse>, Status> {
        self.act(request).await
    }

    async fn answer_referral(
        &self,
        request: Request<AnswerReferralRequest>,
    ) -> Result<Response<AnswerReferralResponse>, Status> {
        self.act(request).await
    }

    async fn request_review(
        &self,
        request: Request<RequestReviewRequest>,
    ) -> Result<Response<RequestReviewResponse>, Status> {
        self.act(request).await
    }

    async fn notify_subject(
        &self,
        request: Request<NotifySubjectRequest>,
    ) -> Result<Response<NotifySubjectResponse>, Status> {
        self.act(request).await
    }

    async fn answer_statement(
        &self,
        request: Request<AnswerStatementRequest>,
    ) -> Result<Response<AnswerStatementResponse>, Status> {
        self.act(request).await
    }

    async fn reopen_case(&self, request: Request<ReopenCaseRequest>) -> Result<Response<ReopenCaseResponse>, Status> {
        self.act(request).await
    }

    async fn recuse_agency(
        &self,
        request: Request<RecuseAgencyRequest>,
    ) -> Result<Response<RecuseAgencyResponse>, Status> {
        self.act(request).await
    }

    async fn pause_clock(&self, request: Request<PauseClockRequest>) -> Result<Response<PauseClockResponse>, Status> {
        self.act(request).await
    }

    async fn resume_clock(
        &self,
        request: Request<ResumeClockRequest>,
    ) -> Result<Response<ResumeClockResponse>, Status> {
        self.act(request).await
    }

    async fn share_narrative(
        &self,
        request: Request<ShareNarrativeRequest>,
    ) -> Result<Response<ShareNarrativeResponse>, Status> {
        self.act(request).await
    }

    async fn split_report(
        &self,
        request: Request<SplitReportRequest>,
    ) -> Result<Response<SplitReportResponse>, Status> {
        self.act(request).await
    }

    async fn assign_case(&self, request: Request<AssignCaseRequest>) -> Result<Response<AssignCaseResponse>, Status> {
        self.act(request).await
    }

    async fn batch_assign_cases(
        &self,
        request: Request<BatchAssignCasesRequest>,
    ) -> Result<Response<BatchAssignCasesResponse>, Status> {
        let caller = caller(&request)?.clone();
        let results = self.act_each(&caller, request.into_inner().requests).await?;
        Ok(Response::new(BatchAssignCasesResponse { results }))
    }

    async fn supervise_case(
        &self,
        request: Request<SuperviseCaseRequest>,
    ) -> Result<Response<SuperviseCaseResponse>, Status> {
        self.act(request).await
    }
}

#[tonic::async_trait]
impl RoutingInboundService for Service {
    async fn route_reports(
        &self,
        request: Request<RouteReportsRequest>,
    ) -> Result<Response<RouteReportsResponse>, Status> {
        let results = self.reports.take(request.into_inner()).await?;
        Ok(Response::new(RouteReportsResponse { results }))
    }

    async fn check_access(
        &self,
        request: Request<CheckAccessRequest>,
    ) -> Result<Response<CheckAccessResponse>, Status> {
        Ok(Response::new(self.reports.check_access(request.get_ref()).await?))
    }

    async fn check_reports(
        &self,
        request: Request<CheckReportsRequest>,
    ) -> Result<Response<CheckReportsResponse>, Status> {
        Ok(Response::new(self.reports.check_reports(request.get_ref()).await?))
    }

    async fn preview_route(
        &self,
        request: Request<PreviewRouteRequest>,
    ) -> Result<Response<PreviewRouteResponse>, Status> {
        let preview = self.reports.preview(request.into_inner()).await?;
        Ok(Response::new(PreviewRouteResponse { preview: Some(preview) }))
    }
}
