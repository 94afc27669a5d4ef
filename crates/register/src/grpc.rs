//! `remit.routing.v1.OperatorService`: decodes, calls, encodes.

use std::{sync::Arc, time::Duration};

use api::routing::{
    GetOperatorRequest, GetOperatorResponse, ListOperatorsRequest, ListOperatorsResponse, LoadMode,
    LoadOperatorsHeader, LoadOperatorsRequest, LoadOperatorsResponse, LoadProblem, LoadProgress, LoadResult,
    LookupOperatorRequest, LookupOperatorResponse, Operator, OperatorFormat, load_operators_request::Part,
    operator_service_server::OperatorService, operator_subject,
};
use decision::calendar::Calendars;
use futures::{StreamExt as _, stream::BoxStream};
use journal::{Clock, Time};
use places::Territories;
use rpc::{
    Failure, Identity, Violation,
    access::{Kind as Caller, Method, Table},
    caller, page,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    answer::{day, longest},
    checked::Group,
    file::{Format, Mode, Problem},
    key::{Key, Kind, candidates},
    load::{self, LoadError, LoadSummary, Loader},
    store::{Found, Store},
};

/// Callers that may read the register.
const READERS: &[Caller] = &[Caller::Agency, Caller::Operator];

/// The callers of each method.
pub const ACCESS: Table = Table {
    service: "remit.routing.v1.OperatorService",
    methods: &[
        Method::new("LoadOperators", &[Caller::Operator]),
        Method::new("LookupOperator", READERS),
        Method::new("ListOperators", READERS),
        Method::new("GetOperator", READERS),
    ],
};

/// Maximum size of a chunk, in bytes, as in the contract.
const CHUNK: usize = 1 << 20;
/// How long to wait for the next part of a load.
const PATIENCE: Duration = Duration::from_secs(60);
/// Faults per response.
const TOLD: usize = 100;
/// Concurrent loads per replica: each uses memory and temporary files.
const LOADS: usize = 2;
/// Entries between two progress responses.
const STEP: u64 = 20_000;

/// Returns the tree of territories in force.
pub type InForce = Arc<dyn Fn() -> Territories + Send + Sync>;

/// The gRPC service.
pub struct Service {
    store: Arc<dyn Store>,
    /// Returns the tree that a load's places must be in.
    tree: InForce,
    calendars: Arc<Calendars>,
    clock: Arc<dyn Clock>,
    /// Wakes the relays.
    wake: Arc<dyn Fn() + Send + Sync>,
    shutdown: CancellationToken,
    loads: Arc<Semaphore>,
}

type Answers = mpsc::Sender<Result<LoadOperatorsResponse, Status>>;

impl Service {
    /// Creates the service. `tree` returns the tree of territories in force, `wake` wakes the
    /// relays.
    pub fn new(
        store: Arc<dyn Store>,
        tree: InForce,
        calendars: Arc<Calendars>,
        clock: Arc<dyn Clock>,
        wake: Arc<dyn Fn() + Send + Sync>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            tree,
            calendars,
            clock,
            wake,
            shutdown,
            loads: Arc::new(Semaphore::new(LOADS)),
        }
    }

    fn lookup_names(&self, request: &LookupOperatorRequest) -> Result<(Vec<Key>, Time), Failure> {
        let mut violations = Vec::new();
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
            violations.push(Violation::new(field, words));
        }
        let time = match &request.time {
            None => Some(self.clock.now()),
            Some(time) => Time::from_proto(time),
        };
        if time.is_none() {
            violations.push(Violation::new("time", "is out of range"));
        }
        match time {
            Some(time) if violations.is_empty() => Ok((names, time)),
            _ => Err(Failure::InvalidInput(violations)),
        }
    }

    async fn lookup(&self, request: &LookupOperatorRequest) -> Result<LookupOperatorResponse, Failure> {
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

    async fn list(&self, request: &ListOperatorsRequest) -> Result<ListOperatorsResponse, Failure> {
        let mut violations = Vec::new();
        let mut note = |failure| match failure {
            Failure::InvalidInput(more) => violations.extend(more),
            other => tracing::debug!(?other, "not a violation"),
        };
        let size = page::size(request.page_size).map_err(&mut note).unwrap_or_default();
        let kind = Kind::from_proto(request.kind());
        if request.kind != 0 && kind.is_none() {
            note(Failure::invalid("kind", "is not one that this server knows"));
        }
        let filter = format!("ListOperators kind={}", request.kind);
        let after = page::decode(&filter, &request.page_token)
            .map_err(&mut note)
            .ok()
            .flatten();
        if !violations.is_empty() {
            return Err(Failure::InvalidInput(violations));
        }
        let after = after.as_deref().and_then(Key::from_stored);
        let Found { version, mut groups } = self.store.list(kind, after.as_ref(), size + 1).await?;
        Ok(ListOperatorsResponse {
            next_page_token: page::cut(&mut groups, size, &filter, |last| last.key.stored()),
            operators: groups.iter().map(operator).collect(),
            version: Some(version.to_proto()),
        })
    }

    async fn get(&self, name: &str) -> Result<Operator, Failure> {
        let key = Key::from_resource_name(name).map_err(|_| {
            let words = "must be `operators/{kind}~{key}`, such as `operators/domain~example.cn`";
            Failure::invalid("name", words)
        })?;
        let found = self.store.find(vec![key]).await?;
        let group = found.groups.first().ok_or(Failure::NotFound { what: "operator" })?;
        Ok(operator(group))
    }

    fn loader(&self, header: &LoadOperatorsHeader, caller: &Identity) -> Result<Loader, Failure> {
        let mut violations = Vec::new();
        let format = match header.format() {
            OperatorFormat::Csv => Some(Format::Csv),
            OperatorFormat::Ndjson => Some(Format::Ndjson),
            OperatorFormat::Unspecified => None,
        };
        if format.is_none() {
            violations.push(Violation::new("header.format", "is missing or unknown"));
        }
        let mode = match header.mode() {
            LoadMode::Replace => Some(Mode::Replace),
            LoadMode::Change => Some(Mode::Change),
            LoadMode::Unspecified => None,
        };
        if mode.is_none() {
            violations.push(Violation::new("header.mode", "is missing or unknown"));
        }
        let (Some(format), Some(mode)) = (format, mode) else {
            return Err(Failure::InvalidInput(violations));
        };
        let request = load::Request {
            format,
            mode,
            validate_only: header.validate_only,
            actor: caller.actor(crate::store::RECORD.as_bytes()),
            traceparent: telemetry::traceparent(),
        };
        Ok(Loader::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.shutdown.clone(),
            (self.tree)(),
            request,
        ))
    }
}

/// Reads the parts of a load and responds with progress, faults and the result.
async fn load(
    mut loader: Loader,
    mut parts: Streaming<LoadOperatorsRequest>,
    answers: &Answers,
) -> Result<(), Failure> {
    let mut told = 0;
    let announced = loop {
        if loader.has_enough() {
            break 0;
        }
        match next(&mut parts).await? {
            Part::Chunk(chunk) if chunk.len() > CHUNK => {
                return Err(Failure::invalid(
                    "chunk",
                    format!("has {} bytes, more than {CHUNK}", chunk.len()),
                ));
            }
            Part::Chunk(chunk) => loader = loader.piece(chunk).await.map_err(failure)?,
            Part::Header(_) => return Err(Failure::invalid("header", "occurs twice; a load has only one")),
            Part::End(end) => break end.bytes,
        }
        let (bytes, entries) = loader.progress();
        if entries >= told + STEP {
            told = entries;
            tell(answers, bytes, entries, 0);
        }
    };
    let (bytes, entries) = loader.progress();
    let mut told = 0;
    let mut written = |written| {
        if written >= told + STEP {
            told = written;
            tell(answers, bytes, entries, written);
        }
    };
    match loader.end(announced, &mut written).await {
        Ok(outcome) => {
            let result = LoadOperatorsResponse {
                result: Some(result(&outcome)),
                ..Default::default()
            };
            // A client that has gone away finds the version in the register.
            let _ = answers.send(Ok(result)).await;
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

/// Sends progress, which is for people only: dropped if the client reads too slowly.
fn tell(answers: &Answers, bytes: u64, entries: u64, written: u64) {
    let progress = LoadProgress {
        bytes: bytes.cast_signed(),
        entry_count: entries.cast_signed(),
        written_count: written.cast_signed(),
    };
    let answer = LoadOperatorsResponse {
        progress: Some(progress),
        ..Default::default()
    };
    let _ = answers.try_send(Ok(answer));
}

/// The next part. The end of the stream is not a part: a broken connection may look the same.
async fn next(parts: &mut Streaming<LoadOperatorsRequest>) -> Result<Part, Failure> {
    let missing = || {
        Failure::invalid(
            "end",
            "is missing: the stream ended before the file did; nothing was loaded",
        )
    };
    match tokio::time::timeout(PATIENCE, parts.message()).await {
        Err(_) => Err(Failure::DeadlineExceeded),
        Ok(Err(status)) => {
            tracing::info!(%status, "a load was interrupted; nothing was loaded");
            Err(missing())
        }
        Ok(Ok(None)) => Err(missing()),
        Ok(Ok(Some(message))) => message
            .part
            .ok_or_else(|| Failure::invalid("part", "is missing; send a header, chunks and an end")),
    }
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Problems(problems) => Failure::InvalidInput(problems.iter().map(violation).collect()),
        LoadError::Cut { .. } => Failure::invalid("end.bytes", error.to_string()),
        LoadError::Overtaken => Failure::EtagMismatch,
        LoadError::Stopping => Failure::Unavailable { what: "this service" },
        LoadError::Sorting(_) => Failure::Internal(Box::new(error)),
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

fn result(outcome: &LoadSummary) -> LoadResult {
    let mut version = outcome.version.to_proto();
    if outcome.version.time == Time::default() {
        version.load_time = None;
    }
    LoadResult {
        version: Some(version),
        added_count: outcome.added.cast_signed(),
        changed_count: outcome.changed.cast_signed(),
        removed_count: outcome.removed.cast_signed(),
        unchanged: outcome.unchanged,
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

#[tonic::async_trait]
impl OperatorService for Service {
    type LoadOperatorsStream = BoxStream<'static, Result<LoadOperatorsResponse, Status>>;

    async fn load_operators(
        &self,
        request: Request<Streaming<LoadOperatorsRequest>>,
    ) -> Result<Response<Self::LoadOperatorsStream>, Status> {
        let caller = caller(&request)?.clone();
        let permit = Arc::clone(&self.loads).try_acquire_owned();
        let permit = permit.map_err(|_| Failure::Overloaded)?;
        let mut parts = request.into_inner();
        let Part::Header(header) = next(&mut parts).await? else {
            return Err(Failure::invalid("header", "is missing; a load begins with one").into());
        };
        let loader = self.loader(&header, &caller)?;
        let (answers, mut answered) = mpsc::channel(16);
        let wake = Arc::clone(&self.wake);
        // On a task of its own, so that nobody cancels it in the middle of a statement.
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(failure) = load(loader, parts, &answers).await {
                let _ = answers.send(Err(failure.into())).await;
            }
            wake();
        });
        let answers = futures::stream::poll_fn(move |context| answered.poll_recv(context));
        Ok(Response::new(answers.boxed()))
    }

    async fn lookup_operator(
        &self,
        request: Request<LookupOperatorRequest>,
    ) -> Result<Response<LookupOperatorResponse>, Status> {
        Ok(Response::new(self.lookup(request.get_ref()).await?))
    }

    async fn list_operators(
        &self,
        request: Request<ListOperatorsRequest>,
    ) -> Result<Response<ListOperatorsResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref()).await?))
    }

    async fn get_operator(
        &self,
        request: Request<GetOperatorRequest>,
    ) -> Result<Response<GetOperatorResponse>, Status> {
        let operator = self.get(&request.get_ref().name).await?;
        Ok(Response::new(GetOperatorResponse {
            registered_operator: Some(operator),
        }))
    }
}
