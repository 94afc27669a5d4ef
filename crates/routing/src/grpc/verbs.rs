//! The verbs: how the request of each becomes an action, and its answer a response.

use api::{
    event::{
        ClaimAnswer, NoticeMeans, PauseGround, ReferralAnswer, ReopenReason, ReviewRequester, ReviewVerdict,
        StatementAnswer, UrgentMeasure,
    },
    routing::{
        AcknowledgeCaseRequest, AcknowledgeCaseResponse, AnswerAssistanceRequest, AnswerAssistanceResponse,
        AnswerClaimRequest, AnswerClaimResponse, AnswerReferralRequest, AnswerReferralResponse, AnswerStatementRequest,
        AnswerStatementResponse, AnswerSupervisionRequest, AnswerSupervisionResponse, AppointDeputyRequest,
        AppointDeputyResponse, AskReporterRequest, AskReporterResponse, AssignCaseRequest, AssignCaseResponse,
        BatchAcknowledgeCasesRequest, BatchAcknowledgeCasesResponse, BatchAssignCasesRequest, BatchAssignCasesResponse,
        BatchDeclineCasesRequest, BatchDeclineCasesResponse, BatchTransferCasesRequest, BatchTransferCasesResponse,
        CaseNote, ClaimLeadRequest, ClaimLeadResponse, CountWorklistsRequest, CountWorklistsResponse,
        DeclineCaseRequest, DeclineCaseResponse, DesignateAgencyRequest, DesignateAgencyResponse, DispatchCaseRequest,
        DispatchCaseResponse, EndDeputyRequest, EndDeputyResponse, EndSupervisionRequest, EndSupervisionResponse,
        EscalateCaseRequest, EscalateCaseResponse, GetCaseRequest, GetCaseResponse, ListCasesRequest,
        ListCasesResponse, ListDeputiesRequest, ListDeputiesResponse, ListSupervisionsRequest,
        ListSupervisionsResponse, ListUndeliveredRequest, ListUndeliveredResponse, MoveCasesRequest, MoveCasesResponse,
        NotifySubjectRequest, NotifySubjectResponse, PauseClockRequest, PauseClockResponse, ProposeDispositionRequest,
        ProposeDispositionResponse, ReclassifyCaseRequest, ReclassifyCaseResponse, RecordProgressRequest,
        RecordProgressResponse, RecordUrgentMeasureRequest, RecordUrgentMeasureResponse, RecuseAgencyRequest,
        RecuseAgencyResponse, ReferCrimeRequest, ReferCrimeResponse, ReopenCaseRequest, ReopenCaseResponse,
        RequestAssistanceRequest, RequestAssistanceResponse, RequestReviewRequest, RequestReviewResponse,
        ResumeClockRequest, ResumeClockResponse, ReviewDispositionRequest, ReviewDispositionResponse,
        ShareNarrativeRequest, ShareNarrativeResponse, SplitReportRequest, SplitReportResponse, SuperviseAgencyRequest,
        SuperviseAgencyResponse, SuperviseCaseRequest, SuperviseCaseResponse, TransferCaseRequest,
        TransferCaseResponse, WatchCasesRequest, WatchCasesResponse, case_service_server::CaseService,
    },
};
use futures::stream::BoxStream;
use journal::Time;
use rpc::{Officer, Violation, caller};
use tonic::{Request, Response, Status};

use super::{
    ChangeCase, Common, Service, Shown,
    arguments::{
        acting, agency, answer, assignee, assigning, both, category, disposition, known, named, noted, notice, reason,
        receiver, report, term, until, written,
    },
};
use crate::case::{
    ANSWER_DAYS, Acknowledge, Action, AnswerAssistance, AnswerClaim, AnswerReferral, AnswerStatement, AskReporter,
    Assign, ClaimLead, Decline, Designate, Dispatch, Escalate, Membership, NotifySubject, PauseClock, Propose,
    Reclassify, RecordProgress, RecordUrgentMeasure, Recuse, ReferCrime, Refiled, Reopen, RequestAssistance,
    RequestReview, ResumeClock, Review, ShareNarrative, SplitReport, Supervise, Transfer,
};

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
/// The service: one line per verb, with its call and perhaps a batch of it, its request with the
/// fields that the officer writes, its response with the fields that have the case, and its action.
macro_rules! verbs {
    ($($call:ident $(& $batch:ident($batched:ident => $results:ident))?
        $request:ident ($($written:ident),*) => $response:ident { $($shown:ident),+ }: $action:expr;)+) => {
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

        #[tonic::async_trait]
        impl CaseService for Service {
            $(
                async fn $call(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                    self.act(request).await
                }

                $(async fn $batch(&self, request: Request<$batched>) -> Result<Response<$results>, Status> {
                    let caller = caller(&request)?.clone();
                    let results = self.act_each(&caller, request.into_inner().requests).await?;
                    Ok(Response::new($results { results }))
                })?
            )+

            async fn get_case(&self, request: Request<GetCaseRequest>) -> Result<Response<GetCaseResponse>, Status> {
                self.get(request).await
            }

            async fn list_cases(
                &self,
                request: Request<ListCasesRequest>,
            ) -> Result<Response<ListCasesResponse>, Status> {
                self.list(request).await
            }

            async fn count_worklists(
                &self,
                request: Request<CountWorklistsRequest>,
            ) -> Result<Response<CountWorklistsResponse>, Status> {
                self.count(request).await
            }

            async fn list_undelivered(
                &self,
                request: Request<ListUndeliveredRequest>,
            ) -> Result<Response<ListUndeliveredResponse>, Status> {
                self.undelivered(request).await
            }

            async fn move_cases(
                &self,
                request: Request<MoveCasesRequest>,
            ) -> Result<Response<MoveCasesResponse>, Status> {
                let moved = self.cases.move_cases(caller(&request)?, request.get_ref()).await?;
                Ok(Response::new(moved))
            }

            async fn appoint_deputy(
                &self,
                request: Request<AppointDeputyRequest>,
            ) -> Result<Response<AppointDeputyResponse>, Status> {
                let caller = caller(&request)?.clone();
                let deputy = self.cases.appoint(&caller, request.into_inner()).await?;
                Ok(Response::new(AppointDeputyResponse {
                    appointed_deputy: Some(deputy),
                }))
            }

            async fn end_deputy(
                &self,
                request: Request<EndDeputyRequest>,
            ) -> Result<Response<EndDeputyResponse>, Status> {
                let deputy = self.cases.end_deputy(caller(&request)?, request.get_ref()).await?;
                Ok(Response::new(EndDeputyResponse {
                    ended_deputy: Some(deputy),
                }))
            }

            async fn list_deputies(
                &self,
                request: Request<ListDeputiesRequest>,
            ) -> Result<Response<ListDeputiesResponse>, Status> {
                let listed = self.cases.list_deputies(caller(&request)?, request.get_ref()).await?;
                Ok(Response::new(listed))
            }

            async fn supervise_agency(
                &self,
                request: Request<SuperviseAgencyRequest>,
            ) -> Result<Response<SuperviseAgencyResponse>, Status> {
                let caller = caller(&request)?.clone();
                let begun = self.cases.supervise_agency(&caller, request.into_inner()).await?;
                Ok(Response::new(SuperviseAgencyResponse {
                    begun_supervision: Some(begun),
                }))
            }

            async fn answer_supervision(
                &self,
                request: Request<AnswerSupervisionRequest>,
            ) -> Result<Response<AnswerSupervisionResponse>, Status> {
                let caller = caller(&request)?.clone();
                let answered = self.cases.answer_supervision(&caller, request.into_inner()).await?;
                Ok(Response::new(AnswerSupervisionResponse {
                    answered_supervision: Some(answered),
                }))
            }

            async fn end_supervision(
                &self,
                request: Request<EndSupervisionRequest>,
            ) -> Result<Response<EndSupervisionResponse>, Status> {
                let caller = caller(&request)?.clone();
                let ended = self.cases.end_supervision(&caller, request.into_inner()).await?;
                Ok(Response::new(EndSupervisionResponse {
                    ended_supervision: Some(ended),
                }))
            }

            async fn list_supervisions(
                &self,
                request: Request<ListSupervisionsRequest>,
            ) -> Result<Response<ListSupervisionsResponse>, Status> {
                let listed = self.cases.list_supervisions(caller(&request)?, request.get_ref()).await?;
                Ok(Response::new(listed))
            }

            type WatchCasesStream = BoxStream<'static, Result<WatchCasesResponse, Status>>;

            async fn watch_cases(
                &self,
                request: Request<WatchCasesRequest>,
            ) -> Result<Response<Self::WatchCasesStream>, Status> {
                self.watch(request).await
            }
        }
    };
}

verbs! {
    acknowledge_case & batch_acknowledge_cases(BatchAcknowledgeCasesRequest => BatchAcknowledgeCasesResponse)
    AcknowledgeCaseRequest () => AcknowledgeCaseResponse { current_case }: |_, _| Ok(Action::Acknowledge(Acknowledge));
    decline_case & batch_decline_cases(BatchDeclineCasesRequest => BatchDeclineCasesResponse)
    DeclineCaseRequest (note) => DeclineCaseResponse { sight, preview }: |asked, _| {
        let better = match asked.better_agency.is_empty() {
            true => Ok(None),
            false => agency("better_agency", &asked.better_agency).map(Some),
        };
        let (better, reason) = both(better, reason(asked.reason()))?;
        Ok(Action::Decline(Decline { reason, better }))
    };
    transfer_case & batch_transfer_cases(BatchTransferCasesRequest => BatchTransferCasesResponse)
    TransferCaseRequest (note) => TransferCaseResponse { sight, preview }: |asked, _| {
        let (to, reason) = receiver(&asked.agency, asked.reason())?;
        Ok(Action::Transfer(Transfer { to, reason, keep_supporting: asked.keep_supporting }))
    };
    escalate_case
    EscalateCaseRequest (note) => EscalateCaseResponse { sight, preview }: |asked, _| {
        Ok(Action::Escalate(Escalate { reason: reason(asked.reason())? }))
    };
    dispatch_case
    DispatchCaseRequest (note) => DispatchCaseResponse { sight, preview }: |asked, _| {
        let (to, reason) = receiver(&asked.agency, asked.reason())?;
        Ok(Action::Dispatch(Dispatch { to, reason }))
    };
    designate_agency
    DesignateAgencyRequest (note) => DesignateAgencyResponse { sight, preview }: |asked, _| {
        let agency = agency("agency", &asked.agency)?;
        Ok(Action::Designate(Designate { agency }))
    };
    reclassify_case
    ReclassifyCaseRequest (note) => ReclassifyCaseResponse { sight, preview }: |asked, _| {
        let (category, ()) = both(category("category", &asked.category), written("note", &asked.note))?;
        // The store knows what follows.
        Ok(Action::Reclassify(Reclassify { category, refiled: Refiled::NoCategory }))
    };
    request_assistance
    RequestAssistanceRequest (note) => RequestAssistanceResponse { current_case }: |asked, _| {
        let of = agency("agency", &asked.agency)?;
        Ok(Action::RequestAssistance(RequestAssistance { of }))
    };
    answer_assistance
    AnswerAssistanceRequest (note) => AnswerAssistanceResponse { sight }: |asked, _| {
        let answer = answer("answer", asked.answer())?;
        Ok(Action::AnswerAssistance(AnswerAssistance { answer }))
    };
    claim_lead
    ClaimLeadRequest (note) => ClaimLeadResponse { current_case }: |asked, _| {
        Ok(Action::ClaimLead(ClaimLead { reason: reason(asked.reason())? }))
    };
    answer_claim
    AnswerClaimRequest (note) => AnswerClaimResponse { sight, preview }: |asked, _| {
        let answer = known("answer", asked.answer(), ClaimAnswer::Unspecified, ClaimAnswer::as_str_name)?;
        Ok(Action::AnswerClaim(AnswerClaim { agreed: answer == ClaimAnswer::Agreed }))
    };
    record_progress
    RecordProgressRequest (note, reporter_text) => RecordProgressResponse { current_case }: |asked, _| {
        written("note", &asked.note)?;
        Ok(Action::RecordProgress(RecordProgress))
    };
    record_urgent_measure
    RecordUrgentMeasureRequest (note) => RecordUrgentMeasureResponse { current_case }: |asked, _| {
        let measure = known("measure", asked.measure(), UrgentMeasure::Unspecified, UrgentMeasure::as_str_name);
        let (measure, ()) = both(measure, written("note", &asked.note))?;
        Ok(Action::RecordUrgentMeasure(RecordUrgentMeasure { measure }))
    };
    ask_reporter
    AskReporterRequest (question, note) => AskReporterResponse { current_case }: |asked, _| {
        written("question", &asked.question)?;
        let days = match asked.answer_day_count {
            0 => ANSWER_DAYS,
            days => u32::try_from(days).unwrap_or_default(),
        };
        Ok(Action::AskReporter(AskReporter { text: asked.question.clone(), days }))
    };
    propose_disposition
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
    review_disposition
    ReviewDispositionRequest (note) => ReviewDispositionResponse { current_case }: |asked, officer| {
        let verdict = known("verdict", asked.verdict(), ReviewVerdict::Unspecified, ReviewVerdict::as_str_name);
        let reasons = match asked.verdict() {
            ReviewVerdict::Returned => written("note", &asked.note),
            _ => Ok(()),
        };
        let ((verdict, officer), ()) = both(both(verdict, acting(officer)), reasons)?;
        Ok(Action::Review(Review {
            approved: verdict == ReviewVerdict::Approved,
            officer,
            // The store knows.
            stood_in: false,
        }))
    };
    refer_crime
    ReferCrimeRequest (note) => ReferCrimeResponse { current_case }: |asked, _| {
        let (to, ()) = both(agency("agency", &asked.agency), written("note", &asked.note))?;
        Ok(Action::ReferCrime(ReferCrime { to }))
    };
    answer_referral
    AnswerReferralRequest (note) => AnswerReferralResponse { sight }: |asked, _| {
        let answer = known("answer", asked.answer(), ReferralAnswer::Unspecified, ReferralAnswer::as_str_name);
        let reasons = match asked.answer() {
            ReferralAnswer::Refused => written("note", &asked.note),
            _ => Ok(()),
        };
        let (answer, ()) = both(answer, reasons)?;
        Ok(Action::AnswerReferral(AnswerReferral { taken: answer == ReferralAnswer::Taken }))
    };
    request_review
    RequestReviewRequest (note) => RequestReviewResponse { sight, preview }: |asked, _| {
        let requester = known("requester", asked.requester(), ReviewRequester::Unspecified, ReviewRequester::as_str_name);
        let (requester, ()) = both(requester, written("note", &asked.note))?;
        Ok(Action::RequestReview(RequestReview { requester, notice: None }))
    };
    notify_subject
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
    answer_statement
    AnswerStatementRequest (note, subject_text) => AnswerStatementResponse { current_case }: |asked, _| {
        let answer = known("answer", asked.answer(), StatementAnswer::Unspecified, StatementAnswer::as_str_name);
        let number = notice("notice_number", asked.notice_number);
        let ((answer, notice), ()) = both(both(answer, number), written("subject_text", &asked.subject_text))?;
        let statements = u64::try_from(asked.statement_count).unwrap_or_default();
        Ok(Action::AnswerStatement(AnswerStatement { notice, statements, answer }))
    };
    reopen_case
    ReopenCaseRequest (note) => ReopenCaseResponse { current_case }: |asked, _| {
        let reason = known("reason", asked.reason(), ReopenReason::Unspecified, ReopenReason::as_str_name);
        let (reason, ()) = both(reason, written("note", &asked.note))?;
        Ok(Action::Reopen(Reopen { reason }))
    };
    recuse_agency
    RecuseAgencyRequest (note) => RecuseAgencyResponse { sight, preview }: |_, _| Ok(Action::Recuse(Recuse));
    pause_clock
    PauseClockRequest (note) => PauseClockResponse { current_case }: |asked, _| {
        let ground = known("ground", asked.ground(), PauseGround::Unspecified, PauseGround::as_str_name);
        let until = until("until_time", asked.until_time.as_ref().map(Time::from_proto));
        let ((ground, until), ()) = both(both(ground, until), written("note", &asked.note))?;
        Ok(Action::PauseClock(PauseClock { ground, until }))
    };
    resume_clock
    ResumeClockRequest (note) => ResumeClockResponse { current_case }: |_, _| Ok(Action::ResumeClock(ResumeClock));
    share_narrative
    ShareNarrativeRequest (note) => ShareNarrativeResponse { current_case }: |asked, _| {
        let (with, ()) = both(agency("agency", &asked.agency), written("note", &asked.note))?;
        Ok(Action::ShareNarrative(ShareNarrative { with, shared: !asked.withheld }))
    };
    split_report
    SplitReportRequest (note) => SplitReportResponse { current_case }: |asked, _| {
        let (report, ()) = both(report("report", &asked.report), written("note", &asked.note))?;
        // The store knows where it is.
        Ok(Action::SplitReport(SplitReport { report, found: Membership::None }))
    };
    assign_case & batch_assign_cases(BatchAssignCasesRequest => BatchAssignCasesResponse)
    AssignCaseRequest () => AssignCaseResponse { current_case }: |asked, officer| {
        let to = assignee(asked.assignee.as_ref());
        let former = match asked.former_officer.as_str() {
            "" => Ok(None),
            former => named("former_officer", former).map(Some),
        };
        let ((to, former), by) = both(both(to, former), assigning(officer))?;
        Ok(Action::Assign(Assign { to, former, by, commitment: Vec::new() }))
    };
    supervise_case
    SuperviseCaseRequest (note) => SuperviseCaseResponse { current_case }: |asked, _| {
        let (term, ()) = both(term("term", asked.term.as_ref()), written("note", &asked.note))?;
        Ok(Action::Supervise(Supervise { term }))
    };
}
