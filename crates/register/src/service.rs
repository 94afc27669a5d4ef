//! What is done with the register: loaded, asked, listed. No transport.

use std::{sync::Arc, time::Duration};

use api::routing::{
    ListOperatorsRequest, ListOperatorsResponse, LoadMode, LoadOperatorsRequest, LoadOperatorsResponse, LoadProblem,
    LoadProgress, LookupOperatorRequest, LookupOperatorResponse, Operator, OperatorFormat, OperatorsSpec,
    operator_subject,
};
use decision::calendar::Calendars;
use futures::Stream;
use journal::{Clock, Earlier, Time, Writer};
use places::Territories;
use rpc::{Failure, Identity, Violation, Violations, page, upload::Upload};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{day, longest},
    checked::Group,
    file::{Format, Mode, Problem},
    key::{Key, Kind, candidates},
    load::{self, LoadError, Loader},
    store::{Found, Store},
};

/// Bytes of a chunk at most, as the contract says.
const CHUNK: usize = 1 << 20;
/// Bytes of a file at most, as the contract says: some forty million names.
const FILE: u64 = 4 << 30;
/// How long the next part of a load is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Faults in one answer.
const TOLD: usize = 100;
/// Loads that one replica takes at the same time: each holds memory and temporary files.
const LOADS: usize = 2;
/// Entries between two answers that tell of progress.
const STEP: u64 = 20_000;

/// Gives the tree of territories in force.
pub type InForce = Arc<dyn Fn() -> Territories + Send + Sync>;

/// The register's use cases.
pub struct Service {
    store: Arc<dyn Store>,
    /// Places of a load are read by it.
    tree: InForce,
    calendars: Arc<Calendars>,
    clock: Arc<dyn Clock>,
    writer: Writer,
    tokens: page::Tokens,
    shutdown: CancellationToken,
    loads: Arc<Semaphore>,
}

type Answers = mpsc::Sender<Result<LoadOperatorsResponse, Failure>>;

/// The messages of a load, as they come.
pub trait Parts: Stream<Item = Result<LoadOperatorsRequest, Failure>> + Unpin + Send + 'static {}

impl<S: Stream<Item = Result<LoadOperatorsRequest, Failure>> + Unpin + Send + 'static> Parts for S {}

impl Service {
    /// Over a store. `tree` gives the tree of territories in force.
    pub fn new(
        store: Arc<dyn Store>,
        tree: InForce,
        calendars: Arc<Calendars>,
        clock: Arc<dyn Clock>,
        writer: Writer,
        tokens: page::Tokens,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            tree,
            calendars,
            clock,
            writer,
            tokens,
            shutdown,
            loads: Arc::new(Semaphore::new(LOADS)),
        }
    }

    fn lookup_names(&self, request: &LookupOperatorRequest) -> Result<(Vec<Key>, Time), Failure> {
        let mut violations = Violations::new();
        let names = request.subject.as_ref().map(candidates).unwrap_or_default();
        if names.is_empty() {
            let (field, words) = match request.subject.as_ref().and_then(|subject| subject.subject.as_ref()) {
                None => ("subject", "is missing; name a host, an app or a platform"),
                Some(operator_subject::Subject::Host(_)) => (
                    "subject.host",
                    "is not below a registrable domain; the register has names such as `shop.example.cn`, not addresses in numbers",
                ),
                Some(operator_subject::Subject::App(_)) => ("subject.app", "is not a name of 1 to 200 characters"),
                Some(operator_subject::Subject::Platform(_)) => {
                    ("subject.platform", "is not a name of 1 to 200 characters")
                }
            };
            violations.add(field, words);
        }
        let time = match &request.time {
            None => Some(self.clock.now()),
            Some(time) => violations.check("time", Time::from_proto(time), "is out of range"),
        };
        Ok(violations.finish(|| Some((names, time?)))?)
    }

    pub(crate) async fn lookup(&self, request: &LookupOperatorRequest) -> Result<LookupOperatorResponse, Failure> {
        let (names, time) = self.lookup_names(request)?;
        let found = self.store.find(names.clone()).await?;
        let (path, entry) = longest(names, &found, day(time, &self.calendars));
        let group = entry.and_then(|entry| found.groups.iter().find(|group| group.key == entry.key));
        Ok(LookupOperatorResponse {
            version: Some(found.version.to_proto()),
            path: path.iter().map(crate::answer::Step::to_proto).collect(),
            registered_operator: group.map(operator),
            period: entry.map(crate::entry::Entry::period),
        })
    }

    pub(crate) async fn list(&self, request: &ListOperatorsRequest) -> Result<ListOperatorsResponse, Failure> {
        let seal = self.tokens.seal().await?;
        let mut violations = Violations::new();
        let size = violations.note(page::size(request.page_size))?;
        let kind = Kind::from_proto(request.kind());
        if request.kind != 0 && kind.is_none() {
            violations.add("kind", "is not one that this server knows");
        }
        let filter = format!("ListOperators kind={}", request.kind);
        let after = violations.note(seal.decode(&filter, &request.page_token))?;
        let (size, after) = violations.finish(|| Some((size?, after?)))?;
        let after = after.as_deref().and_then(Key::from_stored);
        let Found { version, mut groups } = self.store.list(kind, after.as_ref(), size + 1).await?;
        Ok(ListOperatorsResponse {
            next_page_token: seal.cut(&mut groups, size, &filter, |last| last.key.stored()),
            operators: groups.iter().map(operator).collect(),
            version: Some(version.to_proto()),
        })
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Operator, Failure> {
        let key = Key::from_resource_name(name).map_err(|_| {
            let words = "must be `operators/{kind}~{key}`, such as `operators/domain~example.cn`";
            Failure::invalid("name", words)
        })?;
        let found = self.store.find(vec![key]).await?;
        let group = found.groups.first().ok_or(Failure::NotFound { what: "operator" })?;
        Ok(operator(group))
    }

    /// Begins a load, and returns what there is to tell of it.
    pub(crate) async fn load(
        &self,
        caller: &Identity,
        parts: impl Parts,
    ) -> Result<mpsc::Receiver<Result<LoadOperatorsResponse, Failure>>, Failure> {
        let permit = Arc::clone(&self.loads).try_acquire_owned();
        let permit = permit.map_err(|_| Failure::Overloaded)?;
        let (spec, upload) = Upload::begin(parts, PATIENCE).await?;
        let (loader, announced) = self.loader(&spec, caller)?;
        let (answers, answered) = mpsc::channel(16);
        let writer = self.writer.clone();
        // On a task of its own: whoever goes away does not keep the version that is then in force
        // from being told of.
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(failure) = receive(loader, upload, announced, &answers).await {
                let _ = answers.send(Err(failure)).await;
            }
            writer.committed();
        });
        Ok(answered)
    }

    /// What reads a load, and how many bytes come.
    fn loader(&self, spec: &OperatorsSpec, caller: &Identity) -> Result<(Loader, u64), Failure> {
        let mut violations = Violations::new();
        let size = u64::try_from(spec.size_bytes).unwrap_or(0);
        let fault = match size {
            0 => "is missing; say how long the file is",
            _ => "is more than 4 GiB (4,294,967,296 bytes); load it in parts",
        };
        let size = (1..=FILE).contains(&size).then_some(size);
        let size = violations.check("spec.size_bytes", size, fault);
        let format = match spec.format() {
            OperatorFormat::Csv => Some(Format::Csv),
            OperatorFormat::Ndjson => Some(Format::Ndjson),
            OperatorFormat::Unspecified => None,
        };
        let format = violations.check("spec.format", format, "is missing or unknown");
        let mode = match spec.mode() {
            LoadMode::Replace => Some(Mode::Replace),
            LoadMode::Change => Some(Mode::Change),
            LoadMode::Unspecified => None,
        };
        let mode = violations.check("spec.mode", mode, "is missing or unknown");
        let request_id = violations.request_id("spec.request_id", &spec.request_id);
        let (size, format, mode) = violations.finish(|| Some((size?, format?, mode?)))?;
        let request = load::Request {
            format,
            mode,
            validate_only: spec.validate_only,
            actor: caller.actor(crate::store::RECORD.as_bytes()),
            traceparent: telemetry::traceparent(),
            request_id: request_id.map(|id| (caller.system.clone(), id)),
        };
        let loader = Loader::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.shutdown.clone(),
            (self.tree)(),
            request,
        );
        Ok((loader, size))
    }
}

/// Takes the parts of a load as they come, and answers with progress, faults and the result.
async fn receive<M: Parts>(
    mut loader: Loader,
    mut upload: Upload<M>,
    announced: u64,
    answers: &Answers,
) -> Result<(), Failure> {
    let mut told = 0;
    while !loader.has_enough() {
        let Some(data) = upload.next(announced).await? else {
            break;
        };
        if data.len() > CHUNK {
            let description = format!("has {} bytes, more than {CHUNK}", data.len());
            return Err(Failure::invalid("data", description));
        }
        loader = loader.piece(data).await.map_err(failure)?;
        let (bytes, entries) = loader.progress();
        if entries >= told + STEP {
            told = entries;
            tell(answers, bytes, entries, 0);
        }
    }
    let (bytes, entries) = loader.progress();
    let mut told = 0;
    let mut written = |written| {
        if written >= told + STEP {
            told = written;
            tell(answers, bytes, entries, written);
        }
    };
    match loader.end(announced.cast_signed(), &mut written).await {
        Ok(outcome) => {
            let result = LoadOperatorsResponse {
                result: Some(outcome.to_proto()),
                ..Default::default()
            };
            // Whoever went away meanwhile finds the version in the register.
            let _ = answers.send(Ok(result)).await;
            Ok(())
        }
        Err(LoadError::Earlier(earlier)) => {
            let answer = rpc::first_answer(&earlier)?;
            let _ = answers.send(Ok(answer)).await;
            Ok(())
        }
        Err(LoadError::Problems(problems)) => {
            for problems in problems.chunks(TOLD) {
                let problems = problems.iter().map(problem).collect();
                let answer = LoadOperatorsResponse {
                    problems,
                    ..Default::default()
                };
                let _ = answers.send(Ok(answer)).await;
            }
            let violations = problems.iter().map(violation).collect();
            Err(Failure::InvalidInput(violations))
        }
        Err(error) => Err(failure(error)),
    }
}

/// Progress is for people: what they do not take in time is left out.
fn tell(answers: &Answers, bytes: u64, entries: u64, written: u64) {
    let progress = LoadProgress {
        read_bytes: bytes.cast_signed(),
        entry_count: entries.cast_signed(),
        written_count: written.cast_signed(),
    };
    let answer = LoadOperatorsResponse {
        progress: Some(progress),
        ..Default::default()
    };
    let _ = answers.try_send(Ok(answer));
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Problems(problems) => Failure::InvalidInput(problems.iter().map(violation).collect()),
        LoadError::Cut { .. } => Failure::invalid("spec.size_bytes", error.to_string()),
        LoadError::Earlier(Earlier::OtherContent) => Failure::RequestIdReused,
        LoadError::Earlier(Earlier::Answered(_)) => Failure::Internal(Box::new(error)),
        LoadError::Overtaken => Failure::EtagMismatch,
        LoadError::Stopping => Failure::Unavailable { what: "this service" },
        LoadError::Sorting(error) => Failure::unwritten("sorting in temporary files (TMPDIR)", error),
        LoadError::Store(error) => error.into(),
    }
}

fn violation(problem: &Problem) -> Violation {
    let field = match (problem.line, problem.column) {
        (0, _) => "file".to_owned(),
        (line, "") => format!("line {line}"),
        (line, column) => format!("line {line}, {column}"),
    };
    Violation::new(field, problem.description.as_str())
}

fn problem(problem: &Problem) -> LoadProblem {
    LoadProblem {
        line: problem.line.cast_signed(),
        other_line: problem.other_line.cast_signed(),
        column: problem.column.to_owned(),
        description: problem.description.clone(),
    }
}

fn operator(group: &Group) -> Operator {
    Operator {
        name: group.key.resource_name(),
        kind: group.key.kind().to_proto().into(),
        key: group.key.name().to_owned(),
        periods: group.entries.iter().map(crate::entry::Entry::period).collect(),
    }
}
