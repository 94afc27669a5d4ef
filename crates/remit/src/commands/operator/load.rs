//! `remit operator load`: uploads a file in pieces, with progress, and prints all its faults.

use std::{
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use api::routing::{
    LoadMode, LoadOperatorsRequest, LoadOperatorsResponse, LoadProblem, LoadProgress, LoadResult, OperatorFormat,
    OperatorsSpec, load_operators_request::Part, operator_service_client::OperatorServiceClient,
};
use bytes::{Bytes, BytesMut};
use clap::{Args, ValueEnum};
use futures::{Stream, StreamExt as _};
use host::config::Service;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _};

use crate::{
    client::{Access, Failed, Target},
    output::{self, Paint as _, Progress, dim, field, good, line},
};

/// Bytes per piece; the server accepts up to 1 MiB.
const PIECE: usize = 256 << 10;
/// Bytes of a file at most; the server takes no more.
const LARGEST: u64 = 4 << 30;

/// Load a file into the register, completely or not at all
///
/// Without --replace, each name in the file gets the file's entries from then on, or none if its
/// action is `remove`; all other names stay. Columns (or members of the JSON objects): kind
/// (domain, app, platform), key, place (territory code, or country by ISO 3166-1), and optionally
/// operator (an organisation; leave it empty for natural persons), valid_from, valid_to (first and
/// last day), action (set, remove). Faults are reported by line, and then nothing is loaded.
/// Reports routed meanwhile use the previous register.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit operator load deploy/examples/operators.csv --validate-only
  remit operator load operators.csv --replace
  zcat changes.ndjson.gz | remit operator load - --format ndjson")]
pub struct Command {
    /// The file; `-` for standard input
    file: PathBuf,
    /// Format [default: by extension, .ndjson or .jsonl, otherwise csv]
    #[arg(long)]
    format: Option<Format>,
    /// The file is the whole register: remove all names that are not in it
    #[arg(long)]
    replace: bool,
    /// Only check the file and print the effect
    #[arg(long)]
    validate_only: bool,
    /// Request id, a UUID: repeated with the same file within 24 hours it has the first answer
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    request_id: String,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Format {
    Csv,
    Ndjson,
}

/// A file to upload.
pub struct File {
    /// Its name in messages.
    pub name: String,
    /// Its content.
    pub content: Pin<Box<dyn AsyncRead + Send>>,
    /// Its size in bytes.
    pub size: u64,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("name", &self.name).finish_non_exhaustive()
    }
}

impl File {
    async fn open(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            let stdin = std::io::stdin().as_fd().try_clone_to_owned();
            let stdin = std::fs::File::from(stdin.context("cannot read standard input")?);
            return Self::spooled("standard input".to_owned(), tokio::fs::File::from_std(stdin)).await;
        }
        let name = path.display().to_string();
        let file = tokio::fs::File::open(path).await;
        let file = file.map_err(|error| Failed::Usage(format!("cannot read {name}: {error}")))?;
        let metadata = file.metadata().await.with_context(|| name.clone())?;
        if metadata.is_dir() {
            return Err(Failed::Usage(format!("{name} is a folder")).into());
        }
        match metadata.is_file() {
            true => Ok(Self {
                size: metadata.len(),
                content: Box::pin(file),
                name,
            }),
            false => Self::spooled(name, file).await,
        }
    }

    /// A file whose end is not known before it is reached: its size is announced before it is sent.
    async fn spooled(name: String, from: impl AsyncRead + Unpin) -> anyhow::Result<Self> {
        let file = tempfile::tempfile().context("cannot make a temporary file (TMPDIR)")?;
        let mut file = tokio::fs::File::from_std(file);
        let size = tokio::io::copy(&mut from.take(LARGEST + 1), &mut file).await;
        let size = size.with_context(|| format!("cannot read {name}; nothing was loaded"))?;
        if size > LARGEST {
            let message = format!("{name} has more than 4 GiB: load it in parts; nothing was loaded");
            return Err(Failed::Usage(message).into());
        }
        file.rewind().await?;
        Ok(Self {
            name,
            content: Box::pin(file),
            size,
        })
    }
}

impl Command {
    pub(super) async fn run(self, access: &Access, server: Option<&str>) -> anyhow::Result<()> {
        let file = File::open(&self.file).await?;
        let by_name = match self.file.extension().and_then(|end| end.to_str()) {
            Some("ndjson" | "jsonl") => Format::Ndjson,
            _ => Format::Csv,
        };
        let spec = OperatorsSpec {
            size_bytes: 0,
            format: match self.format.unwrap_or(by_name) {
                Format::Csv => OperatorFormat::Csv,
                Format::Ndjson => OperatorFormat::Ndjson,
            }
            .into(),
            mode: match self.replace {
                true => LoadMode::Replace,
                false => LoadMode::Change,
            }
            .into(),
            validate_only: self.validate_only,
            request_id: self.request_id.clone(),
        };
        let routing = access.stream(Service::Routing, server)?;
        let result = load(&routing, spec, file, access.json).await?;
        if access.json {
            return output::json(&LoadOperatorsResponse {
                result: Some(result),
                ..Default::default()
            });
        }
        print_result(&result, self.replace, self.validate_only)
    }
}

/// Loads a file. Faults are printed line by line and returned as an error.
pub async fn load(routing: &Target, spec: OperatorsSpec, file: File, json: bool) -> anyhow::Result<LoadResult> {
    let File { name, content, size } = file;
    let spec = OperatorsSpec {
        size_bytes: i64::try_from(size).context("the file is too large")?,
        ..spec
    };
    let unread = Arc::new(Mutex::new(None));
    let parts = parts(spec, content, Arc::clone(&unread));
    let progress = Progress::new(json);
    let mut problems = Vec::new();
    let outcome = receive(routing, parts, size, &progress, &mut problems).await;
    progress.clear();
    // The server only sees that the file ended early.
    if let Some(error) = unread.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(anyhow::Error::new(error).context(format!("cannot read {name}; nothing was loaded")));
    }
    if problems.is_empty() {
        return outcome;
    }
    let count = problems.len();
    if json {
        output::json(&LoadOperatorsResponse {
            problems,
            ..Default::default()
        })?;
    } else {
        for problem in &problems {
            line(described(&name, problem))?;
        }
    }
    let message = match count {
        1 => format!("{name}: 1 fault; nothing was loaded"),
        1_000.. => format!("{name}: {count} or more faults; nothing was loaded"),
        _ => format!("{name}: {count} faults; nothing was loaded"),
    };
    Err(Failed::Usage(message).into())
}

async fn receive(
    routing: &Target,
    parts: impl Stream<Item = LoadOperatorsRequest> + Send + 'static,
    size: u64,
    progress: &Progress,
    problems: &mut Vec<LoadProblem>,
) -> anyhow::Result<LoadResult> {
    let failed = Failed::call(&routing.address);
    let answers = OperatorServiceClient::new(routing.channel.clone())
        .load_operators(parts)
        .await;
    let mut answers = answers.map_err(&failed)?.into_inner();
    let mut result = None;
    while let Some(answer) = answers.message().await.map_err(&failed)? {
        if let Some(step) = answer.progress {
            progress.show(shown(&step, size));
        }
        problems.extend(answer.problems);
        result = answer.result.or(result);
    }
    result.context("the server ended the load without a result")
}

/// The announcement, and the file in pieces; fewer than announced if it cannot be read completely.
fn parts(
    spec: OperatorsSpec,
    content: Pin<Box<dyn AsyncRead + Send>>,
    unread: Arc<Mutex<Option<std::io::Error>>>,
) -> impl Stream<Item = LoadOperatorsRequest> + Send + 'static {
    let part = |part| LoadOperatorsRequest { part: Some(part) };
    let data = futures::stream::unfold(content, move |mut content| {
        let unread = Arc::clone(&unread);
        async move {
            match piece(&mut content).await {
                Ok(piece) if piece.is_empty() => None,
                Ok(piece) => Some((part(Part::Data(piece)), content)),
                Err(error) => {
                    *unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    None
                }
            }
        }
    });
    futures::stream::once(std::future::ready(part(Part::Spec(spec)))).chain(data)
}

/// The next piece; empty at the end.
async fn piece(content: &mut Pin<Box<dyn AsyncRead + Send>>) -> std::io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(PIECE);
    while piece.len() < PIECE && content.read_buf(&mut piece).await? > 0 {}
    Ok(piece.freeze())
}

fn shown(progress: &LoadProgress, size: u64) -> String {
    let LoadProgress {
        read_bytes,
        entry_count: entries,
        written_count: written,
    } = progress;
    if *written > 0 {
        return format!("checked and written: {written} of {entries} entries …");
    }
    let percent = u64::try_from(*read_bytes).unwrap_or(0).saturating_mul(100) / size.max(1);
    format!("read: {entries} entries, {percent} % of the file …")
}

/// Formats a fault as `operators.csv:17: place: …`, a form that editors can jump to.
fn described(file: &str, problem: &LoadProblem) -> String {
    let at = match problem.line {
        0 => String::new(),
        line => format!(":{line}"),
    };
    let column = match problem.column.as_str() {
        "" => String::new(),
        column => format!("{column}: "),
    };
    format!("{file}{at}: {column}{}", problem.description)
}

fn print_result(result: &LoadResult, replace: bool, validate_only: bool) -> anyhow::Result<()> {
    let version = result.version.clone().unwrap_or_default();
    let loaded = match (result.unchanged, validate_only) {
        (true, _) => "nothing to do: the register is already up to date",
        (false, true) => "the file is valid; nothing was loaded",
        (false, false) => "loaded",
    };
    line(loaded.style(good()))?;
    let would_be = if validate_only && !result.unchanged {
        "would be "
    } else {
        ""
    };
    field(
        "version",
        format_args!("{would_be}{}, {} entries", version.version, version.entry_count),
    )?;
    if !result.unchanged {
        match replace {
            true => field(
                "names",
                format_args!("{}, replacing all previous ones", result.added_count),
            )?,
            false => field(
                "names",
                format_args!(
                    "{} added, {} changed, {} removed",
                    result.added_count, result.changed_count, result.removed_count
                ),
            )?,
        }
    }
    field("digest", data_encoding::HEXLOWER.encode(&version.digest).style(dim()))?;
    Ok(())
}
