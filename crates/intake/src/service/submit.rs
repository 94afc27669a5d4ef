//! Submitting a report.

use std::collections::BTreeSet;

use api::{
    event::Detail,
    intake::{Report, RoutePreview, SubmitReportRequest, SubmitReportResponse},
    routing::PreviewRouteRequest,
};
use futures::{FutureExt as _, future::BoxFuture};
use journal::{Bytes32, CommitError, Draft, Head, Time, keyed_hash, ordered_id};
use prost::Message as _;
use rpc::{Failure, Identity, Violation};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{Service, sender};
use crate::{
    evidence::Unattachable,
    metrics,
    state::State,
    store::{
        self, Acceptance, Accepted, External, Prepared,
        evidence::{Attachment, Unattachables},
    },
    submission,
};

/// What became of a submitted report.
#[derive(Debug)]
pub(crate) struct Submitted {
    /// The answer.
    pub(crate) response: SubmitReportResponse,
    /// Whether it was recorded before.
    pub(crate) known: bool,
}

/// What is done where many wait for a commit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue {
    /// A single report is refused, and submitted again later.
    Refuse,
    /// One of many waits: they are counted ([`Turns`](super::Turns)).
    Wait,
}

/// A submission that is checked, and queued where it can be: what is begun in an order is recorded
/// in it.
pub(crate) struct Begun {
    category: String,
    validate_only: bool,
    next: Result<Next, Failure>,
}

/// What is left to do.
enum Next {
    /// To wait for the commit of the report with this id; with what it says, if the sender's own id
    /// may be of a report that says the same.
    Queued(Uuid, Option<Vec<u8>>, BoxFuture<'static, Result<Accepted, CommitError>>),
    /// To record it with its evidence.
    Attach(Box<Acceptance>, Vec<Uuid>, Time),
    /// To say what would become of it.
    Validate(Box<submission::Submission>, Time),
}

impl Service {
    /// Checks a report, and records it unless it is only to be validated.
    pub(crate) async fn submit(
        &self,
        caller: &Identity,
        request: SubmitReportRequest,
    ) -> Result<SubmitReportResponse, Failure> {
        let begun = self.begin(caller, request, Queue::Refuse).await;
        Ok(self.finish(caller, begun).await?.response)
    }

    /// The first half of [`Service::submit`].
    pub(crate) async fn begin(&self, caller: &Identity, request: SubmitReportRequest, queue: Queue) -> Begun {
        Begun {
            category: request
                .report
                .as_ref()
                .map(|report| report.category.clone())
                .unwrap_or_default(),
            validate_only: request.validate_only,
            next: self.try_begin(caller, request, queue).await,
        }
    }

    /// The second.
    pub(crate) async fn finish(&self, caller: &Identity, begun: Begun) -> Result<Submitted, Failure> {
        let submitted = match begun.next {
            Ok(next) => self.try_finish(caller, next).await,
            Err(failure) => Err(failure),
        };
        metrics::submitted(&begun.category, begun.validate_only, submitted.as_ref().err());
        submitted
    }

    async fn try_begin(&self, caller: &Identity, request: SubmitReportRequest, queue: Queue) -> Result<Next, Failure> {
        self.check_sender(caller).await?;
        let now = self.clock.now();
        let validate_only = request.validate_only;
        // A preview changes nothing: it is refused, and the files stay until a report is submitted.
        if let (Some(report), false) = (&request.report, validate_only) {
            let category = names::Collection::CATEGORIES.id(&report.category);
            let category = category.and_then(|id| self.categories.get(id));
            self.forbid.named(caller, category, &report.evidence).await?;
        }
        let known = self.directory.known_for(request.report.as_ref()).await;
        let mut submission = submission::check(request, &self.categories, &known, caller.agency.as_ref(), now)?;
        if known.is_unsure() {
            return Err(Failure::Unavailable { what: "routing" });
        }
        if validate_only {
            return Ok(Next::Validate(Box::new(submission), now));
        }
        let evidence = std::mem::take(&mut submission.evidence);
        let acceptance = self.acceptance(caller, submission, now);
        let report = acceptance.report;
        let content = acceptance.external.is_some().then(|| acceptance.content.clone());
        Ok(match (evidence.is_empty(), queue) {
            (false, _) => Next::Attach(Box::new(acceptance), evidence, now),
            (true, Queue::Refuse) => Next::Queued(report, content, self.acceptances.submit(acceptance.into())?.boxed()),
            (true, Queue::Wait) => {
                let queued = self.acceptances.submit_in_turn(acceptance.into()).await?;
                Next::Queued(report, content, queued.boxed())
            }
        })
    }

    async fn try_finish(&self, caller: &Identity, next: Next) -> Result<Submitted, Failure> {
        let (own, content, accepted) = match next {
            Next::Queued(own, content, committed) => (own, content, committed.await?),
            Next::Attach(acceptance, evidence, now) => (
                acceptance.report,
                Some(acceptance.content.clone()),
                self.accept_with(caller, *acceptance, evidence, now).await?,
            ),
            Next::Validate(submission, now) => return self.validate(caller, *submission, now).await,
        };
        let accepted = match (accepted, content) {
            (Accepted::ExternalIdReused { report }, Some(content)) => self.repeated(report, &content).await?,
            (accepted, _) => accepted,
        };
        match accepted {
            Accepted::RequestIdReused => Err(Failure::RequestIdReused),
            Accepted::ExternalIdReused { report } => Err(reused(report)),
            Accepted::Report { report, accept_time } => Ok(Submitted {
                response: SubmitReportResponse {
                    report: Some(Report {
                        name: store::name(report),
                        state: State::Accepted.to_proto().into(),
                        accept_time: Some(accept_time.to_proto()),
                        ..Default::default()
                    }),
                    receipt: self.receipts.code(report),
                    preview: None,
                },
                known: report != own,
            }),
        }
    }

    /// What recording it would find, and where it would go.
    async fn validate(
        &self,
        caller: &Identity,
        submission: submission::Submission,
        now: Time,
    ) -> Result<Submitted, Failure> {
        let known = self.is_known(caller, &submission.report).await?;
        if !known {
            self.attachable(caller, &submission.evidence, now).await?;
        }
        let preview = self.preview(submission).await?;
        let response = SubmitReportResponse {
            preview,
            ..SubmitReportResponse::default()
        };
        Ok(Submitted { response, known })
    }

    /// Where the report would go, decided by routing as if it were submitted. `None` if routing
    /// cannot be asked: the report is valid all the same.
    async fn preview(&self, submission: submission::Submission) -> Result<Option<RoutePreview>, Failure> {
        let request = PreviewRouteRequest {
            facts: Some(submission.facts),
            subjects: submission.subjects,
        };
        // It waits within the deadline of its call, which counts to its caller's share.
        let Ok(_turn) = self.previews.acquire().await else {
            return Ok(None);
        };
        match self.routing.clone().preview_route(request).await {
            Ok(response) => Ok(response.into_inner().preview),
            // Submitted, it would be accepted and then never routed.
            Err(error) if error.code() == Code::InvalidArgument => {
                let refused = error.get_details_bad_request().map(|refused| refused.field_violations);
                let first = refused.into_iter().flatten().next();
                let why = first.map(|refused| refused.description);
                Err(Failure::invalid(
                    "report",
                    why.unwrap_or_else(|| error.message().to_owned()),
                ))
            }
            Err(error) => {
                tracing::warn!(%error, "a route cannot be previewed");
                Ok(None)
            }
        }
    }

    /// Refuses a caller whose token names an agency that no directory has: a typing error there
    /// would give the report a receiver that is nowhere, and let nobody see what it sent.
    async fn check_sender(&self, caller: &Identity) -> Result<(), Failure> {
        let Some(agency) = &caller.agency else { return Ok(()) };
        match self.directory.has_agency(agency).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::denied(
                format!(
                    "the agency of its token, `{agency}`, is not in the directory; the operator gives out another token"
                ),
                &caller.system,
            )),
            None => Err(Failure::Unavailable { what: "routing" }),
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
            request: submission.request_id.map(|id| (id, self.fingerprint(&content))),
            external: self.external(caller, &submission.report.external_id, &content),
            receipt_hash: self.receipts.lookup(&self.receipts.code(report)).hash,
            commitment_key,
            content,
            change: draft.into_change(&Head::default(), now, &*self.entropy),
            facts: submission.facts,
            subjects: submission.subjects,
            subject_keys: self.subject_keys(&submission.subject_keys),
        }
    }

    fn fingerprint(&self, content: &[u8]) -> Bytes32 {
        keyed_hash(&self.fingerprint_key, "fingerprint-v1", content)
    }

    /// The sender's own id of a report, if it gave one.
    fn external(&self, caller: &Identity, id: &str, content: &[u8]) -> Option<External> {
        (!id.is_empty()).then(|| External::new(&sender(caller), id, self.fingerprint(content)))
    }

    /// Whether the sender has sent this report with its external id. One that has been given to
    /// another report is refused, as recording it would be.
    async fn is_known(&self, caller: &Identity, report: &Report) -> Result<bool, Failure> {
        let report_bytes = report.encode_to_vec();
        let Some(external) = self.external(caller, &report.external_id, &report_bytes) else {
            return Ok(false);
        };
        let found = match self.store.known(&external).await? {
            Some(Accepted::ExternalIdReused { report }) => Some(self.repeated(report, &report_bytes).await?),
            found => found,
        };
        match found {
            Some(Accepted::ExternalIdReused { report }) => Err(reused(report)),
            found => Ok(found.is_some()),
        }
    }

    /// Hashes of subjects under a key that never leaves intake: routing can tell that they are
    /// equal, and nobody there can look for a subject.
    fn subject_keys(&self, keys: &BTreeSet<String>) -> Vec<Bytes32> {
        let hash = |key: &String| keyed_hash(&self.fingerprint_key, "subject-v1", key.as_bytes());
        let mut hashes: Vec<_> = keys.iter().map(hash).collect();
        // Their order would tell that of the subjects.
        hashes.sort_unstable();
        hashes
    }

    /// Like a commit of `acceptances`, for a report that names evidence: one transaction attaches
    /// that too, or nothing is recorded.
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
            sender: sender(caller),
            accepted_by: acceptance.change.event_id,
            traceparent: telemetry::traceparent(),
        };
        let report = Prepared::from(acceptance);
        let accepted = self
            .writer
            .write(&self.evidence, |store| async move {
                store.accept_with(&report, &attachment, now).await
            })
            .await?;
        accepted.map_err(not_attachable)
    }

    async fn attachable(&self, caller: &Identity, evidence: &[Uuid], now: Time) -> Result<(), Failure> {
        if evidence.is_empty() {
            return Ok(());
        }
        let sender = sender(caller);
        match self.evidence.unattachable(evidence, &sender, now).await? {
            none if none.is_empty() => Ok(()),
            some => Err(not_attachable(some)),
        }
    }
}

fn reused(report: Uuid) -> Failure {
    Failure::ExternalIdReused {
        report: store::name(report),
    }
}

fn not_attachable(files: Unattachables) -> Failure {
    let violation = |(i, why): (usize, Unattachable)| Violation::new(format!("report.evidence[{i}]"), why.words());
    Failure::InvalidInput(files.into_iter().map(violation).collect())
}
