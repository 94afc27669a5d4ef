//! `remit report import`: a file of reports, submitted as a stream.

mod csv;
mod source;
mod state;
mod xarf;

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::Seek as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use api::{
    google::rpc::Status as Refusal,
    intake::{
        EvidenceSpec, PreviewedPart, SubmitReportRequest, SubmitReportResponse, SubmitReportsRequest,
        SubmitReportsResponse, SubmittedReport, UploadEvidenceRequest, evidence_service_client::EvidenceServiceClient,
        intake_service_client::IntakeServiceClient, submitted_report::Result as Became, upload_evidence_request::Part,
    },
};
use clap::{Args, ValueEnum};
use host::input;
use prost::Message as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use self::{
    source::{Attached, Fault, Found, Item, Numbered},
    state::{Counts, Log, State, Written},
};
use crate::{
    client::{Failed, Target},
    output::{self, Paint as _, Progress, bad, dim, field, good, line, tell, tr},
};

/// Forms of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One report or request in the JSON form of the contract on each line
    Ndjson,
    /// The same as an array, or one behind the other
    Json,
    /// A table, with a mapping
    Csv,
    /// XARF, version 4: one message or an array
    Xarf,
}

/// What to import, and how.
#[derive(Args, Clone, Debug)]
pub(super) struct Import {
    /// The file, in UTF-8
    file: PathBuf,
    /// Its format [default: by its ending: `.ndjson`, `.jsonl`, `.json`, `.csv`]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Of a table, the YAML file that says which column is which field
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Only validate, and say where the reports would go; nothing is recorded
    #[arg(long)]
    dry_run: bool,
    /// File for what was refused, with every violation; a new one
    /// [default: FILE.rejects.ndjson, of a dry run FILE.dry-run.rejects.ndjson]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// File for the names and receipts of the reports, a new one; whoever has a receipt can follow
    /// its report
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    receipts: Option<PathBuf>,
    /// File that says how far the import has come [default: FILE.import]
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    progress: Option<PathBuf>,
}

/// Reports that were read and have no outcome yet, and their bytes.
const WINDOW: usize = 1_024;
const WINDOW_BYTES: usize = 8 << 20;
/// Reports that are read ahead of that.
const AHEAD: usize = 16;
/// Between two notes of how far it is.
const NOTE: Duration = Duration::from_secs(1);
/// Bytes of a mapping.
const MAPPING: u64 = 1 << 20;

/// What changes when somebody writes to a file.
fn seen(file: &File) -> std::io::Result<(u64, Option<std::time::SystemTime>)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}

/// A file beside another.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl Import {
    fn format(&self) -> anyhow::Result<Format> {
        let ending = self.file.extension().and_then(|ending| ending.to_str());
        let by_name = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("ndjson" | "jsonl") => Some(Format::Ndjson),
            Some("json") => Some(Format::Json),
            Some("csv") => Some(Format::Csv),
            _ => None,
        };
        let format = self.format.or(by_name).ok_or_else(|| {
            let name = self.file.display();
            Failed::Usage(format!(
                "{name}: its format cannot be told by its ending; name it with --format"
            ))
        })?;
        match (format, &self.mapping) {
            (Format::Csv, None) => {
                Err(Failed::Usage("a table needs --mapping: which column is which field".to_owned()).into())
            }
            (Format::Csv, _) | (_, None) => Ok(format),
            (_, Some(_)) => Err(Failed::Usage("--mapping is of tables (--format csv)".to_owned()).into()),
        }
    }

    /// Imports; `intake` is whom to call, and who calls.
    pub(super) async fn run(
        self,
        intake: impl FnOnce() -> anyhow::Result<(Target, String)>,
        json: bool,
    ) -> anyhow::Result<()> {
        let format = self.format()?;
        let mapping = self
            .mapping
            .as_deref()
            .map(|path| input::text(path, MAPPING))
            .transpose()?;
        let parsed = mapping.as_deref().map(|text| {
            serde_saphyr::from_str(text).map_err(|error| Failed::Usage(format!("the mapping cannot be read: {error}")))
        });
        let parsed = parsed.transpose()?;
        let name = self.file.display().to_string();
        let mut file = File::open(&self.file).map_err(|error| Failed::Usage(format!("{name}: {error}")))?;
        // It is read twice: once to know it, once to submit what it says.
        if !file.metadata()?.is_file() {
            return Err(Failed::Usage(format!("{name} is no regular file")).into());
        }
        if file.try_lock().is_err() {
            return Err(Failed::Usage(format!("{name} is being imported already")).into());
        }
        let as_it_was = seen(&file)?;
        let sha256 = source::looked_through(&self.file, &mut file)?;
        let parsed = parsed.unwrap_or_default();
        // The same file, whatever has its name by now.
        if format == Format::Csv {
            file.rewind()?;
            source::whole_table(file.try_clone()?, &parsed)?;
        }
        file.rewind()?;
        let mut reports = Numbered::new(source::open(file.try_clone()?, format, &parsed)?);
        let progress_file = self.progress.clone().unwrap_or_else(|| beside(&self.file, ".import"));
        let rejects = self.rejects.clone().unwrap_or_else(|| {
            let ending = match self.dry_run {
                true => ".dry-run.rejects.ndjson",
                false => ".rejects.ndjson",
            };
            beside(&self.file, ending)
        });
        state::apart(&[
            ("the file", Some(&self.file)),
            ("the mapping", self.mapping.as_deref()),
            ("--progress", Some(&progress_file)),
            ("--rejects", Some(&rejects)),
            ("--receipts", self.receipts.as_deref()),
        ])?;
        let (intake, caller) = intake()?;
        let begun = State {
            sha256,
            mapping_sha256: mapping
                .map(|text| data_encoding::HEXLOWER.encode(&Sha256::digest(text)))
                .unwrap_or_default(),
            format: format!("{format:?}").to_lowercase(),
            server: intake.address.clone(),
            caller,
            rejects: Written::nothing(rejects),
            receipts: self.receipts.clone().map(Written::nothing),
            ..State::default()
        };
        let state = match self.dry_run {
            true => begun,
            false => begun.resumed(&progress_file)?,
        };
        let resumed = state.done;
        if state.finished {
            output::aside(tell("imported before: {0} says so", &[&progress_file.display()]));
            return told(&state, &Outcome::default(), json, false, None);
        }
        if resumed > 0 {
            output::aside(tell("going on behind the first {0} reports", &[&resumed]));
        }
        for _ in 0..resumed {
            reports.next()?;
        }
        let receipts = state.receipts.clone();
        let mut run = Run {
            rejects: Log::resume(state.rejects.clone(), "--rejects")?,
            receipts: receipts
                .map(|receipts| Log::resume(receipts, "--receipts"))
                .transpose()?,
            progress_file: (!self.dry_run).then_some(progress_file),
            progress: Progress::new(json),
            outcome: Outcome::default(),
            begun: Instant::now(),
            noted: Instant::now(),
            this_run: 0,
            dry_run: self.dry_run,
            noted_state: state.clone(),
            state,
            intake,
        };
        let (items, ahead) = mpsc::channel(AHEAD);
        let reader = tokio::task::spawn_blocking(move || {
            while let Some(item) = reports.next()? {
                if items.blocking_send(item).is_err() {
                    break;
                }
            }
            anyhow::Ok(())
        });
        let submitted = run.submit(ahead).await;
        run.progress.clear();
        // What has an outcome is noted, whatever came then.
        let read = reader.await.context("the file was not read to its end")?;
        let is_as_it_was = seen(&file).is_ok_and(|now| now == as_it_was);
        let kept = run.note(submitted.is_ok() && read.is_ok() && is_as_it_was);
        submitted?;
        read.with_context(|| name.clone())?;
        kept?;
        if !is_as_it_was {
            return Err(Failed::Usage(format!("{name} was changed while it was imported")).into());
        }
        let took = run.begun.elapsed();
        let refused = run.state.sum().refused;
        if refused > 0 {
            output::aside(tell("what was refused, and why: {0}", &[&run.rejects.path().display()]));
        }
        let rate = (run.this_run > 0).then_some((run.this_run, took));
        told(&run.state, &run.outcome, json, run.dry_run, rate)
    }
}

/// Where reports would go, by agency; of a dry run.
#[derive(Debug, Default)]
struct Outcome {
    leads: BTreeMap<String, u64>,
}

/// Prints what became of the reports.
fn told(
    state: &State,
    outcome: &Outcome,
    json: bool,
    dry_run: bool,
    rate: Option<(u64, Duration)>,
) -> anyhow::Result<()> {
    let sum = state.sum();
    if json {
        output::value(&json!({
            "sha256": state.sha256, "reports": state.done, "accepted": sum.accepted, "known": sum.known,
            "refused": sum.refused, "categories": state.categories, "leads": outcome.leads, "dryRun": dry_run,
        }))?;
    } else {
        let accepted = match dry_run {
            true => tr("valid"),
            false => tr("taken in"),
        };
        let width = state
            .categories
            .keys()
            .map(|name| output::columns(name))
            .max()
            .unwrap_or_default()
            .max(12);
        let row = |name: &str, counts: Counts| {
            let name = output::padded(name, width);
            format!(
                "{name}  {:<12}  {:<12}  {}",
                counts.accepted, counts.known, counts.refused
            )
        };
        let head = [accepted, tr("known before"), tr("refused")].map(|word| output::padded(word, 12));
        line(format_args!("{}  {}", output::padded(tr("category"), width), head.join("  ")).style(dim()))?;
        for (name, counts) in &state.categories {
            line(row(name, *counts))?;
        }
        line(row(tr("in all"), sum))?;
        for (agency, count) in &outcome.leads {
            field("would go to", format_args!("{}  {count}", output::id(agency)))?;
        }
        if let Some((count, took)) = rate {
            let tenths = took.as_millis().max(1) / 100;
            let rate = u128::from(count) * 1_000 / took.as_millis().max(1);
            let took = format!("{}.{}", tenths / 10, tenths % 10);
            line(tell("{0} reports in {1} s, {2} a second", &[&count, &took, &rate]).style(dim()))?;
        }
        match (sum.refused, dry_run) {
            (0, true) => line(tr("all of it is valid; nothing was recorded").style(good()))?,
            (0, false) => line(tr("all of it is recorded").style(good()))?,
            (count, _) => line(tell("{0} reports were refused", &[&count]).style(bad()))?,
        }
    }
    match sum.refused {
        0 => Ok(()),
        _ => Err(Failed::Told.into()),
    }
}

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

struct Run {
    intake: Target,
    state: State,
    /// As it was noted last.
    noted_state: State,
    rejects: Log,
    receipts: Option<Log>,
    progress_file: Option<PathBuf>,
    progress: Progress,
    outcome: Outcome,
    begun: Instant,
    noted: Instant,
    this_run: u64,
    dry_run: bool,
}

/// Tries without any progress, before it is given up.
const TRIES: u32 = 12;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Run {
    /// Submits what is read, over as many streams as it takes.
    async fn submit(&mut self, mut ahead: mpsc::Receiver<Item>) -> anyhow::Result<()> {
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
            if !can_be_repeated(&status) || tries > TRIES {
                let failed = Failed::call(&self.intake.address)(status);
                let context = "the import stopped; run the same command again to go on where it was";
                return Err(anyhow::Error::new(failed).context(context));
            }
            let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
            let pause = told.unwrap_or(Duration::from_millis(200)) * 2_u32.pow(tries.min(6) - 1);
            sleep(pause.min(LONGEST_PAUSE)).await;
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
                Err(status) if can_be_repeated(&status) && tries < TRIES => {
                    tries += 1;
                    sleep((Duration::from_millis(200) * 2_u32.pow(tries.min(6))).min(LONGEST_PAUSE)).await;
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
    fn note(&mut self, finished: bool) -> anyhow::Result<()> {
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

/// Whether a repeat can help.
fn can_be_repeated(status: &Status) -> bool {
    let is_told = status
        .get_details_retry_info()
        .is_some_and(|info| info.retry_delay.is_some());
    let may_be_done = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::ResourceExhausted
    );
    is_told || may_be_done
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
