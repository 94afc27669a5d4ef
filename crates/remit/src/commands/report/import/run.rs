//! Submits what an import read, over as many streams as it takes, and counts what became of it.

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use api::{
    google::rpc::Status as Refusal,
    intake::{
        EvidenceSpec, PreviewedPart, SubmitReportRequest, SubmitReportResponse, SubmitReportsRequest,
        SubmitReportsResponse, SubmittedReport, UploadEvidenceRequest, evidence_service_client::EvidenceServiceClient,
        intake_service_client::IntakeServiceClient, submitted_report::Result as Became, upload_evidence_request::Part,
    },
};
use prost::Message as _;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::{
    Outcome,
    source::{Attached, Fault, Found, Item},
    state::{Counts, Log, State},
};
use crate::{
    client::{FIRST_PAUSE, Failed, REPEATS, Target, can_be_repeated, pause},
    output::{Progress, tell},
};

/// Reports that were read and have no outcome yet, and their bytes.
const WINDOW: usize = 1_024;
const WINDOW_BYTES: usize = 8 << 20;
/// Between two notes of how far it is.
const NOTE: Duration = Duration::from_secs(1);

/// A report that was read and has no outcome yet.
struct Waiting {
    number: u64,
    line: u64,
    category: String,
    external_id: String,
    bytes: usize,
    to_do: ToDo,
}

/// What there is to do about a report.
enum ToDo {
    Submit(Box<SubmitReportRequest>),
    /// Nothing: it cannot be read, or a file of it is refused.
    Refuse(Vec<Fault>),
}

/// What became of a report, as far as this side has to do with it.
enum Answer {
    Recorded(Box<SubmitReportResponse>, bool),
    Refused(Refusal),
}

/// An import at work.
pub(super) struct Run {
    pub(super) intake: Target,
    pub(super) state: State,
    /// As it was noted last.
    pub(super) noted_state: State,
    pub(super) rejects: Log,
    pub(super) receipts: Option<Log>,
    pub(super) progress_file: Option<PathBuf>,
    pub(super) progress: Progress,
    pub(super) outcome: Outcome,
    pub(super) begun: Instant,
    pub(super) noted: Instant,
    pub(super) this_run: u64,
    pub(super) dry_run: bool,
}

impl Run {
    /// Submits what is read, over as many streams as it takes.
    pub(super) async fn submit(&mut self, mut ahead: mpsc::Receiver<Item>) -> anyhow::Result<()> {
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let (mut is_read, mut tries) = (false, 0);
        // The highest number that was sent.
        let mut sent_up_to = 0;
        loop {
            let before = self.state.done;
            let ended = self
                .stream(&mut ahead, &mut waiting, &mut is_read, &mut sent_up_to)
                .await?;
            if self.state.done > before {
                tries = 0;
            }
            let Err(status) = ended else {
                return Ok(());
            };
            if is_about_a_message(&status) && waiting.front().is_some_and(|first| first.number <= sent_up_to) {
                // It is about the message behind the last answer, and ended the stream.
                if let Some(first) = waiting.pop_front() {
                    let refusal = Refusal::decode(status.details())
                        .ok()
                        .filter(|refusal| refusal.code != 0);
                    let refusal = refusal.unwrap_or_else(|| Refusal {
                        code: status.code().into(),
                        message: status.message().to_owned(),
                        details: Vec::new(),
                    });
                    self.ended(&first, &Answer::Refused(refusal))?;
                }
                continue;
            }
            tries += 1;
            if !can_be_repeated(&status) || tries > REPEATS {
                let failed = Failed::call(&self.intake.address)(status);
                let context = "the import stopped; run the same command again to go on where it was";
                return Err(anyhow::Error::new(failed).context(context));
            }
            let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
            pause(told.unwrap_or(FIRST_PAUSE), tries.min(6) - 1).await;
        }
    }

    /// Goes on with one stream. Returns the error that ended it, if not everything has an outcome.
    async fn stream(
        &mut self,
        ahead: &mut mpsc::Receiver<Item>,
        waiting: &mut VecDeque<Waiting>,
        is_read: &mut bool,
        sent_up_to: &mut u64,
    ) -> anyhow::Result<Result<(), Status>> {
        let (sender, messages) = mpsc::channel::<SubmitReportsRequest>(64);
        let mut sender = Some(sender);
        let messages = futures::stream::unfold(messages, async |mut messages| {
            let message = messages.recv().await?;
            Some((message, messages))
        });
        let opened = IntakeServiceClient::new(self.intake.channel.clone())
            .submit_reports(messages)
            .await;
        let mut answers: Streaming<SubmitReportsResponse> = match opened {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        // Of those that wait, how many this stream was given.
        let mut given = 0_usize;
        loop {
            // What is not submitted needs no answer.
            let is_submitted = |one: &Waiting| matches!(one.to_do, ToDo::Submit(_));
            while waiting.front().is_some_and(|first| !is_submitted(first)) {
                if let Some(first) = waiting.pop_front() {
                    self.not_submitted(&first)?;
                    given = given.saturating_sub(1);
                }
            }
            while waiting.get(given).is_some_and(|next| !is_submitted(next)) {
                given += 1;
            }
            if *is_read && given >= waiting.len() {
                sender = None;
            }
            let bytes: usize = waiting.iter().map(|one| one.bytes).sum();
            let has_room = waiting.len() < WINDOW && bytes < WINDOW_BYTES;
            let room = async {
                match &sender {
                    Some(sender) if given < waiting.len() => sender.reserve().await.ok(),
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = answers.message() => {
                    let answer = match answer {
                        Ok(Some(SubmitReportsResponse { result: Some(SubmittedReport { result: Some(result), known }) })) => {
                            match result {
                                Became::Response(response) => Answer::Recorded(Box::new(response), known),
                                Became::Error(error) => Answer::Refused(error),
                            }
                        }
                        Ok(Some(_)) => return Ok(Err(Status::internal("the server answered with nothing"))),
                        Ok(None) if waiting.is_empty() && *is_read => return Ok(Ok(())),
                        Ok(None) => return Ok(Err(Status::unavailable("the stream ended before its results"))),
                        Err(status) => return Ok(Err(status)),
                    };
                    // One that a repeat can help is submitted again, and with it what is behind it;
                    // what says nothing of the report is no outcome of it.
                    if let Answer::Refused(refusal) = &answer {
                        let status = status_of(refusal);
                        if can_be_repeated(&status) || !is_outcome(status.code()) {
                            return Ok(Err(status));
                        }
                    }
                    let Some(first) = waiting.pop_front() else {
                        return Ok(Err(Status::internal("the server answered for a report that was not sent")));
                    };
                    given = given.saturating_sub(1);
                    self.ended(&first, &answer)?;
                }
                Some(room) = room => {
                    if let Some(Waiting { number, to_do: ToDo::Submit(request), .. }) = waiting.get(given) {
                        *sent_up_to = (*sent_up_to).max(*number);
                        room.send(SubmitReportsRequest { request: Some((**request).clone()) });
                    }
                    given += 1;
                }
                item = ahead.recv(), if has_room && !*is_read => match item {
                    Some(item) => waiting.push_back(self.taken(item).await?),
                    None => *is_read = true,
                },
            }
        }
    }

    /// A report with its files uploaded.
    async fn taken(&mut self, item: Item) -> anyhow::Result<Waiting> {
        let Item { number, line, read } = item;
        let (mut category, mut external_id, mut bytes) = (String::new(), String::new(), 0);
        let to_do = match read {
            Ok(Found { mut request, files }) => {
                request.validate_only = self.dry_run;
                bytes = request.encoded_len();
                if let Some(report) = &request.report {
                    (category, external_id) = (report.category.clone(), report.external_id.clone());
                }
                match files.is_empty() || self.dry_run {
                    true => ToDo::Submit(Box::new(request)),
                    false => self.upload(request, files).await?,
                }
            }
            Err(faults) => ToDo::Refuse(faults),
        };
        Ok(Waiting {
            number,
            line,
            category,
            external_id,
            bytes: bytes + 256,
            to_do,
        })
    }

    /// Makes a call until it is answered, or a repeat does not help.
    async fn repeated<T>(&self, call: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
        let mut tries = 0;
        loop {
            match call().await {
                Err(status) if can_be_repeated(&status) && tries < REPEATS => {
                    tries += 1;
                    pause(FIRST_PAUSE, tries).await;
                }
                answered => return answered,
            }
        }
    }

    /// Uploads the files of a report, and names them in it: the same ones again, if that was done
    /// before.
    async fn upload(&self, mut request: SubmitReportRequest, files: Vec<Attached>) -> anyhow::Result<ToDo> {
        let mut faults = Vec::new();
        for file in files {
            let spec = EvidenceSpec {
                size_bytes: i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
                media_type: file.media_type,
                request_id: file.request_id.to_string(),
                category: request
                    .report
                    .as_ref()
                    .map(|report| report.category.clone())
                    .unwrap_or_default(),
                ..EvidenceSpec::default()
            };
            let parts = std::iter::once(Part::Spec(spec)).chain(
                (0..file.bytes.len())
                    .step_by(1 << 20)
                    .map(|at| Part::Data(file.bytes.slice(at..file.bytes.len().min(at + (1 << 20))))),
            );
            let parts: Vec<_> = parts.map(|part| UploadEvidenceRequest { part: Some(part) }).collect();
            let uploaded = self
                .repeated(async || {
                    EvidenceServiceClient::new(self.intake.channel.clone())
                        .upload_evidence(futures::stream::iter(parts.clone()))
                        .await
                })
                .await;
            match uploaded {
                Ok(uploaded) => {
                    let name = uploaded.into_inner().evidence.map(|evidence| evidence.name);
                    request.report.get_or_insert_default().evidence.extend(name);
                }
                Err(status) if matches!(status.code(), Code::InvalidArgument | Code::AlreadyExists) => {
                    let bad = status
                        .get_details_bad_request()
                        .into_iter()
                        .flat_map(|bad| bad.field_violations);
                    let words: Vec<_> = bad.map(|bad| format!("{} {}", bad.field, bad.description)).collect();
                    let words = if words.is_empty() {
                        status.message().to_owned()
                    } else {
                        words.join("; ")
                    };
                    faults.push(Fault::new(file.field, words));
                }
                Err(status) => return Err(Failed::call(&self.intake.address)(status).into()),
            }
        }
        Ok(match faults.is_empty() {
            true => ToDo::Submit(Box::new(request)),
            false => ToDo::Refuse(faults),
        })
    }

    /// One has its outcome.
    fn ended(&mut self, one: &Waiting, answer: &Answer) -> anyhow::Result<()> {
        let counts = match answer {
            Answer::Recorded(response, known) => {
                if let Some(preview) = &response.preview {
                    let lead = preview
                        .parties
                        .iter()
                        .find(|party| party.part() != PreviewedPart::Supporting);
                    let lead = lead.map_or("-", |lead| lead.agency.as_str());
                    *self.outcome.leads.entry(lead.to_owned()).or_default() += 1;
                }
                if let (Some(receipts), Some(report)) = (&mut self.receipts, &response.report) {
                    receipts.line(&json!({
                        "line": one.line, "externalId": one.external_id, "report": report.name,
                        "receipt": response.receipt, "known": known,
                    }));
                }
                match known {
                    true => Counts {
                        known: 1,
                        ..Counts::default()
                    },
                    false => Counts {
                        accepted: 1,
                        ..Counts::default()
                    },
                }
            }
            Answer::Refused(refusal) => {
                let status = status_of(refusal);
                let bad = status
                    .get_details_bad_request()
                    .into_iter()
                    .flat_map(|bad| bad.field_violations);
                let faults: Vec<_> = bad.map(|bad| Fault::new(bad.field, bad.description)).collect();
                let info = status.get_details_error_info();
                let reason = info.as_ref().map(|info| info.reason.clone()).unwrap_or_default();
                self.reject(one, &reason, &refusal.message, &faults);
                Counts {
                    refused: 1,
                    ..Counts::default()
                }
            }
        };
        self.state.count(&one.category, counts);
        self.counted()
    }

    /// One has its outcome without being submitted.
    fn not_submitted(&mut self, one: &Waiting) -> anyhow::Result<()> {
        let ToDo::Refuse(faults) = &one.to_do else {
            return Ok(());
        };
        self.reject(one, "UNREADABLE", "it cannot be read as a report", faults);
        let counts = Counts {
            refused: 1,
            ..Counts::default()
        };
        self.state.count(&one.category, counts);
        self.counted()
    }

    fn reject(&mut self, one: &Waiting, reason: &str, message: &str, faults: &[Fault]) {
        self.rejects.line(&json!({
            "number": one.number, "line": one.line, "externalId": one.external_id, "category": one.category,
            "reason": reason, "message": message, "violations": faults,
        }));
    }

    fn counted(&mut self) -> anyhow::Result<()> {
        self.state.done += 1;
        self.this_run += 1;
        if self.noted.elapsed() >= NOTE {
            self.note(false)?;
            let sum = self.state.sum();
            let rate = u128::from(self.this_run) * 1_000 / self.begun.elapsed().as_millis().max(1);
            self.progress.show(tell(
                "{0} reports: {1} recorded, {2} known before, {3} refused; {4} a second …",
                &[&self.state.done, &sum.accepted, &sum.known, &sum.refused, &rate],
            ));
        }
        Ok(())
    }

    /// Notes how far it is: first which files are its own, then what was said of the reports, then
    /// that it was.
    pub(super) fn note(&mut self, finished: bool) -> anyhow::Result<()> {
        let mut is_begun = self.rejects.begin()?;
        if let Some(receipts) = &mut self.receipts {
            is_begun |= receipts.begin()?;
        }
        if is_begun && let Some(path) = &self.progress_file {
            let mut begun = self.noted_state.clone();
            begun.rejects = self.rejects.written().clone();
            begun.receipts = self.receipts.as_ref().map(|receipts| receipts.written().clone());
            begun.save(path)?;
        }
        self.state.rejects = self.rejects.sync()?;
        if let Some(receipts) = &mut self.receipts {
            self.state.receipts = Some(receipts.sync()?);
        }
        self.state.finished = finished;
        self.noted = Instant::now();
        self.noted_state = self.state.clone();
        match &self.progress_file {
            Some(path) => self.state.save(path),
            None => Ok(()),
        }
    }
}

fn status_of(refusal: &Refusal) -> Status {
    let details = refusal.encode_to_vec().into();
    Status::with_details(Code::from_i32(refusal.code), refusal.message.clone(), details)
}

/// Whether an error is what became of a report: it, or what has its id, is refused. Others are
/// about the caller, or the server.
fn is_outcome(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition
    )
}

/// Whether the error that ended a stream is about the message behind the last answer.
fn is_about_a_message(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    let is_of_messages = |reason: &str| matches!(reason, "MESSAGE_TOO_LARGE" | "MALFORMED_MESSAGE" | "INVALID_INPUT");
    status.code() == Code::InvalidArgument && reason.is_some_and(|reason| is_of_messages(&reason))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn what_is_about_the_caller_or_the_server_is_no_outcome_of_a_report() {
        let outcomes = (0..17).map(Code::from_i32).filter(|code| is_outcome(*code));
        assert_eq!(
            outcomes.collect::<Vec<_>>(),
            [Code::InvalidArgument, Code::AlreadyExists, Code::FailedPrecondition]
        );
        for (code, reason, expected) in [
            (Code::InvalidArgument, "MESSAGE_TOO_LARGE", true),
            (Code::InvalidArgument, "INVALID_INPUT", true),
            (Code::InvalidArgument, "TRANSPORT", false),
            (Code::PermissionDenied, "INVALID_INPUT", false),
        ] {
            let mut details = ErrorDetails::new();
            details.set_error_info(reason, "remit.internal", HashMap::new());
            let status = Status::with_error_details(code, "refused", details);
            assert_eq!(is_about_a_message(&status), expected, "{code:?} {reason}");
        }
        assert!(!is_about_a_message(&Status::invalid_argument("from a proxy")));
    }
}
