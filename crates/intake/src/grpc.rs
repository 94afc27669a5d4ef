//! `remit.intake.v1.IntakeService`: decodes, calls, encodes.

use std::sync::Arc;

use api::{
    event::Detail,
    intake::{
        ChangeResult, CheckReceiptRequest, CheckReceiptResponse, GetReportRequest, GetReportResponse, LogReference,
        RecordCaseChangesRequest, RecordCaseChangesResponse, Report, RevealReporterRequest, RevealReporterResponse,
        SubmitReportRequest, SubmitReportResponse, intake_service_server::IntakeService,
    },
    routing::case_service_client::CaseServiceClient,
};
use journal::{Arrival, Clock, Committer, Draft, Entropy, Entry, Head, Time, entry_hash, keyed_hash, ordered_id, seal};
use prost::Message as _;
use rpc::{Failure, Identity, Role, Violation, caller, client::Caller};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    category::Categories,
    directory::Directory,
    evidence::{self, Unattachable},
    reading,
    receipt::Receipts,
    reveal, sight,
    state::{self, State},
    store::{
        self, Acceptance, Accepted, CaseNews, Prepared, Reveal, Store, StoredReport,
        evidence::{Attachment, EvidenceStore, Unattachables},
    },
    submission,
};

/// Changes in one delivery at most, as the contract says.
const DELIVERY: usize = 1_000;

/// The service.
pub(crate) struct Service {
    pub(crate) categories: Arc<Categories>,
    pub(crate) directory: Directory,
    pub(crate) receipts: Receipts,
    pub(crate) fingerprint_key: journal::Bytes32,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) acceptances: Committer<Prepared, Accepted>,
    pub(crate) readings: Committer<journal::Rows, ()>,
    pub(crate) wake: Arc<dyn Fn() + Send + Sync>,
    pub(crate) routing: CaseServiceClient<Caller>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Service {
    async fn submit(&self, caller: &Identity, request: SubmitReportRequest) -> Result<SubmitReportResponse, Failure> {
        let now = self.clock.now();
        let validate_only = request.validate_only;
        let known = self.directory.known_for(request.report.as_ref()).await;
        let mut submission = submission::check(request, &self.categories, &known, caller.agency.as_deref(), now)
            .map_err(Failure::InvalidInput)?;
        if known.is_unsure() {
            return Err(Failure::Unavailable { what: "routing" });
        }
        if validate_only {
            self.attachable(caller, &submission.evidence, now).await?;
            return Ok(SubmitReportResponse::default());
        }
        let evidence = std::mem::take(&mut submission.evidence);
        let acceptance = self.acceptance(caller, submission, now);
        let accepted = match evidence.is_empty() {
            true => self.acceptances.commit(acceptance.into()).await?,
            false => self.accept_with(caller, acceptance, evidence, now).await?,
        };
        match accepted {
            Accepted::RequestIdReused => Err(Failure::RequestIdReused),
            Accepted::Report { report, accept_time } => Ok(SubmitReportResponse {
                report: Some(Report {
                    name: store::name(report),
                    state: State::Accepted.to_proto().into(),
                    accept_time: Some(accept_time.to_proto()),
                    ..Default::default()
                }),
                receipt: self.receipts.code(report),
            }),
        }
    }

    fn acceptance(&self, caller: &Identity, submission: submission::Submission, now: Time) -> Acceptance {
        let report = ordered_id(now, &*self.entropy);
        let content = submission.report.encode_to_vec();
        let mut commitment_key = [0; 32];
        self.entropy.fill(&mut commitment_key);
        let draft = Draft {
            source: "intake",
            record: &store::name(report),
            kind: State::Accepted.kind().name(),
            caused_by: None,
            detail: Detail {
                to_state: State::Accepted.name().to_owned(),
                actor: Some(caller.actor(report.as_bytes())),
                content_commitment: keyed_hash(&commitment_key, "content-v1", &content).to_vec().into(),
                ..Default::default()
            },
            traceparent: telemetry::traceparent(),
        };
        Acceptance {
            report,
            caller: caller.system.clone(),
            agency: caller.agency.clone(),
            request_id: submission.request_id,
            fingerprint: keyed_hash(&self.fingerprint_key, "fingerprint-v1", &content),
            receipt_hash: self.receipts.lookup(&self.receipts.code(report)).hash,
            commitment_key,
            content,
            change: seal(draft, &Head::default(), now, &*self.entropy),
            facts: submission.facts,
            subjects: submission.subjects,
        }
    }

    /// Like a commit of `acceptances`, for a report that names evidence: one transaction attaches that too, or nothing is recorded.
    async fn accept_with(
        &self,
        caller: &Identity,
        acceptance: Acceptance,
        evidence: Vec<Uuid>,
        now: Time,
    ) -> Result<Accepted, Failure> {
        let files = evidence.into_iter().map(|id| (id, caller.actor(id.as_bytes())));
        let attachment = Attachment {
            files: files.collect(),
            sender: evidence::sender(caller),
            accepted_by: acceptance.change.event_id,
            traceparent: telemetry::traceparent(),
        };
        let (store, report) = (Arc::clone(&self.evidence), Prepared::from(acceptance));
        let accepting = async move { store.accept_with(&report, &attachment, now).await };
        let accepted = journal::uncancelled(accepting).await?;
        (self.wake)();
        accepted.map_err(not_attachable)
    }

    async fn attachable(&self, caller: &Identity, evidence: &[Uuid], now: Time) -> Result<(), Failure> {
        if evidence.is_empty() {
            return Ok(());
        }
        let sender = evidence::sender(caller);
        match self.evidence.unattachable(evidence, &sender, now).await? {
            none if none.is_empty() => Ok(()),
            some => Err(not_attachable(some)),
        }
    }

    async fn get(&self, caller: &Identity, request: &GetReportRequest) -> Result<GetReportResponse, Failure> {
        let wanted = reading::check(request).map_err(Failure::InvalidInput)?;
        let name = store::name(wanted.report);
        let stored = self.store.report(wanted.report).await?;
        let sent = stored.as_ref().is_some_and(|stored| is_sender(caller, stored));
        // Asked also when there is no such report: neither the answer nor its time tells that.
        let leads = !sent && self.may_see(caller, &name).await?;
        let stored = stored
            .filter(|_| sent || leads)
            .ok_or(Failure::NotFound { what: "report" })?;
        let mut report =
            Report::decode(stored.content.as_slice()).map_err(|error| Failure::Internal(Box::new(error)))?;
        // Who reports is shown on a purpose and a reason of its own: not here.
        if let Some(reporter) = &mut report.reporter {
            reporter.display_name.clear();
            reporter.contact.clear();
        }
        report.name = name;
        report.accept_time = Some(stored.accept_time.to_proto());
        report.state = shown_state(caller, &stored).to_proto().into();
        let reading = wanted.begin(caller, self.clock.now(), &*self.entropy, telemetry::traceparent());
        let logged_as = reading.record.clone();
        // Recorded before it is shown; a caller who goes away meanwhile has been shown it as far as the log knows.
        self.readings.commit(store::reading_rows(reading)).await?;
        Ok(GetReportResponse {
            report: Some(report),
            reading: logged_as,
        })
    }

    async fn reveal(
        &self,
        caller: &Identity,
        request: &RevealReporterRequest,
    ) -> Result<RevealReporterResponse, Failure> {
        let wanted = reveal::check(request).map_err(Failure::InvalidInput)?;
        // Asked also when there is no such report, as in `get`.
        let allowed = caller.role == Role::Operator || self.may_see(caller, &store::name(wanted.report)).await?;
        if !allowed {
            return Err(Failure::NotFound { what: "report" });
        }
        let mut commitment_key = [0; 32];
        self.entropy.fill(&mut commitment_key);
        let reveal = Reveal {
            report: wanted.report,
            purpose: wanted.purpose,
            justification: wanted.justification,
            system: caller.system.clone(),
            agency: caller.agency.clone(),
            actor: caller.actor(wanted.report.as_bytes()),
            commitment_key,
            traceparent: telemetry::traceparent(),
        };
        let (store, now) = (Arc::clone(&self.store), self.clock.now());
        // Recorded before it is shown; a caller who goes away meanwhile has been shown it as far as the log knows.
        let revealed = journal::uncancelled(async move { store.reveal(&reveal, now).await }).await?;
        let (stored, change) = revealed.ok_or(Failure::NotFound { what: "report" })?;
        (self.wake)();
        let report = Report::decode(stored.content.as_slice()).map_err(|error| Failure::Internal(Box::new(error)))?;
        Ok(RevealReporterResponse {
            reporter: report.reporter,
            change: Some(LogReference {
                entry: change.entry,
                event_id: change.event_id.to_string(),
                kind: change.kind.to_owned(),
                change_time: Some(change.head.time.to_proto()),
                logged: false,
            }),
        })
    }

    async fn may_see(&self, caller: &Identity, report: &str) -> Result<bool, Failure> {
        sight::may_see(&self.routing, caller, report).await
    }

    async fn check_receipt(&self, caller: &Identity, receipt: &str) -> Result<CheckReceiptResponse, Failure> {
        let stored = self
            .store
            .report_by_receipt(self.receipts.lookup(receipt))
            .await?
            .ok_or(Failure::NotFound { what: "receipt" })?;
        let hidden = is_hidden_from(caller, &stored);
        let mut changes = self.store.changes(stored.report).await?;
        if hidden {
            changes.truncate(1);
        }
        let case = stored.case.clone().filter(|_| !hidden).unwrap_or_default();
        Ok(CheckReceiptResponse {
            state: shown_state(caller, &stored).to_proto().into(),
            accept_time: Some(stored.accept_time.to_proto()),
            agency: case.lead,
            agency_title_zh: case.lead_title_zh,
            agency_title_en: case.lead_title_en,
            acknowledged: case.acknowledged,
            as_of_time: Some(if hidden { stored.accept_time } else { stored.known_time }.to_proto()),
            changes: changes
                .into_iter()
                .map(|change| LogReference {
                    entry: change.entry.into(),
                    event_id: change.event_id,
                    kind: change.kind,
                    change_time: Some(change.time.to_proto()),
                    logged: change.delivered,
                })
                .collect(),
            advice: case.advice,
        })
    }

    async fn record(&self, request: RecordCaseChangesRequest) -> Result<Vec<ChangeResult>, Failure> {
        if request.changes.len() > DELIVERY {
            return Err(Failure::invalid(
                "changes",
                format!("has {}, more than {DELIVERY}", request.changes.len()),
            ));
        }
        let mut results = vec![ChangeResult::default(); request.changes.len()];
        let mut spans = Vec::new();
        let mut places = Vec::with_capacity(request.changes.len());
        let mut news = Vec::with_capacity(request.changes.len());
        for (place, change) in request.changes.into_iter().enumerate() {
            let logged = change.change.clone().unwrap_or_default();
            // One that cannot be read parks its own record, and not its neighbours'.
            let (entry, state) = match (Entry::decode(&logged.entry), state::case_state(&change.state)) {
                (Ok(entry), Some(state)) => (entry, state),
                (Err(_), _) => {
                    results[place].refusal = "MALFORMED_ENTRY".to_owned();
                    continue;
                }
                (Ok(_), None) => {
                    results[place].refusal = "UNKNOWN_CASE_STATE".to_owned();
                    continue;
                }
            };
            let span = rpc::delivery::span("record case change", &logged.traceparent);
            let traceparent = span.in_scope(telemetry::traceparent);
            spans.push(span);
            places.push(place);
            news.push(CaseNews {
                hash: entry_hash(&logged.entry),
                entry,
                change,
                state,
                traceparent,
            });
        }
        let (store, now) = (Arc::clone(&self.store), self.clock.now());
        let arrivals = journal::uncancelled(async move { store.record_case_changes(&news, now).await }).await?;
        (self.wake)();
        for (place, arrival) in places.into_iter().zip(arrivals) {
            results[place].refusal = match arrival {
                Arrival::New | Arrival::Repeated => String::new(),
                Arrival::Refused(refusal) => refusal.reason().to_owned(),
            };
        }
        Ok(results)
    }
}

fn not_attachable(files: Unattachables) -> Failure {
    let violation = |(i, why): (usize, Unattachable)| Violation::new(format!("report.evidence[{i}]"), why.words());
    Failure::InvalidInput(files.into_iter().map(violation).collect())
}

/// Whether the caller sent this report.
fn is_sender(caller: &Identity, stored: &StoredReport) -> bool {
    caller.system == stored.caller || (caller.agency.is_some() && caller.agency == stored.agency)
}

/// Whether the caller's agency must not learn what became of a report: it keeps to what it knew when it sent it in.
fn is_hidden_from(caller: &Identity, stored: &StoredReport) -> bool {
    let (Some(agency), Some(case)) = (&caller.agency, &stored.case) else {
        return false;
    };
    case.hidden_from
        .iter()
        .any(|name| name.strip_prefix("agencies/") == Some(agency))
}

fn shown_state(caller: &Identity, stored: &StoredReport) -> State {
    if is_hidden_from(caller, stored) {
        State::Accepted
    } else {
        stored.state
    }
}

#[tonic::async_trait]
impl IntakeService for Service {
    async fn submit_report(
        &self,
        request: Request<SubmitReportRequest>,
    ) -> Result<Response<SubmitReportResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(self.submit(&caller, request.into_inner()).await?))
    }

    async fn get_report(&self, request: Request<GetReportRequest>) -> Result<Response<GetReportResponse>, Status> {
        let response = self.get(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(response))
    }

    async fn check_receipt(
        &self,
        request: Request<CheckReceiptRequest>,
    ) -> Result<Response<CheckReceiptResponse>, Status> {
        Ok(Response::new(
            self.check_receipt(caller(&request)?, &request.get_ref().receipt)
                .await?,
        ))
    }

    async fn reveal_reporter(
        &self,
        request: Request<RevealReporterRequest>,
    ) -> Result<Response<RevealReporterResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(self.reveal(&caller, request.get_ref()).await?))
    }

    async fn record_case_changes(
        &self,
        request: Request<RecordCaseChangesRequest>,
    ) -> Result<Response<RecordCaseChangesResponse>, Status> {
        let results = self.record(request.into_inner()).await?;
        Ok(Response::new(RecordCaseChangesResponse { results }))
    }
}
