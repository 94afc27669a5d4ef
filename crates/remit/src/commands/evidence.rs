//! `remit evidence`: upload, show and download evidence files.

use std::{
    io::{ErrorKind, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use api::intake::{
    DownloadEvidenceRequest, DownloadHeader, DownloadPurpose, Evidence, EvidenceSpec, EvidenceState,
    GetEvidenceRequest, GetUploadRequest, UploadEvidenceRequest, UploadEvidenceResponse, download_evidence_response,
    evidence_service_client::EvidenceServiceClient, upload_evidence_request::Part,
};
use bytes::BytesMut;
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::HEXLOWER;
use futures::{Stream, StreamExt as _, stream};
use host::{config::Service, data_dir::Layout, databases};
use intake::{
    evidence::{self, Folder},
    store::SqlStore,
};
use journal::{Clock as _, SystemClock, SystemEntropy};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

use tonic::{Code, Status};

use super::config::Settings;
use crate::{
    client::{Access, FIRST_PAUSE, Failed, IntakeServer, REPEATS, Target, can_be_repeated, pause},
    output::{self, Paint as _, Progress, dim, field, line, strong},
};

/// Bytes per message.
const CHUNK: usize = 256 << 10;

/// Upload, show, download and verify evidence
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: IntakeServer,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Upload a file, to be attached to a report in its field `evidence`
    ///
    /// It is kept for 24 hours until the same sender submits the report. The file's own name is not
    /// sent.
    #[command(after_help = "\
Example:
  remit evidence upload screenshot.png --as police-440000")]
    Upload {
        /// The file
        file: PathBuf,
        /// Its media type, such as image/png; the server also detects the type itself
        #[arg(long, value_name = "TYPE", default_value = "")]
        media_type: String,
        /// Category of the report that it is for, such as gambling; one that takes no files refuses
        /// it
        #[arg(long, value_name = "CATEGORY", default_value = "", hide_default_value = true)]
        category: String,
        /// Request id, a UUID: repeated within 24 hours it goes on where the upload broke off, or
        /// returns the same evidence
        #[arg(long, value_name = "UUID", default_value = "")]
        request_id: String,
    },
    /// Show the metadata of a file
    ///
    /// Visible to the sender's system and agency and to the lead agency of the report's case; for
    /// others the evidence does not exist.
    #[command(after_help = "Example:\n  remit evidence show evidence/0d9f… --as police-510100")]
    Show {
        /// Its name, `evidence/{id}`
        name: String,
    },
    /// Download a file
    ///
    /// For the system that uploaded it and the lead agency of the report's case. The download is
    /// itself recorded as a change of the evidence, with its purpose, before anything is sent. The
    /// received bytes are verified against the hash recorded at upload; FILE is created only if
    /// they match. Nothing opens or runs the file: it may be anything.
    #[command(after_help = "\
Example:
  remit evidence download evidence/0d9f… --purpose handle-report --justification 'to read the contract' \\
    --out contract.bin --as police-510100")]
    Download {
        /// Its name, `evidence/{id}`
        name: String,
        /// Purpose of the download
        #[arg(long, value_enum)]
        purpose: Purpose,
        /// Justification in words, 10 to 500 characters; kept by intake, never in the log
        #[arg(long, value_name = "TEXT")]
        justification: String,
        /// Output file, which must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Compare every stored file with the length and SHA-256 that were recorded at upload
    ///
    /// Runs where intake runs: it reads intake's database and the evidence folder itself, as the
    /// configuration or the data directory gives them, and changes neither: a database of another
    /// version or service, or a folder that is another's, is refused. Intake may be serving. Exits
    /// with 5 if a file is missing or differs, and names the first of them. Files that the database
    /// does not know are told, too.
    #[command(after_help = "\
Examples:
  remit evidence verify --data-dir /var/lib/remit
  remit evidence verify --config /etc/remit/remit.yaml")]
    Verify(Settings),
}

/// Purpose of a download.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Purpose {
    /// To handle the report it is attached to
    HandleReport,
    /// To verify that it is genuine
    VerifyEvidence,
    /// To protect a person whom it shows or names
    ProtectPerson,
    /// A court, prosecutor or other authority requests it by law
    LegalRequest,
    /// To review how the report was handled
    ReviewHandling,
    /// To compare the upload with the sender's own file
    CheckUpload,
}

impl From<Purpose> for DownloadPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::HandleReport => Self::HandleReport,
            Purpose::VerifyEvidence => Self::VerifyEvidence,
            Purpose::ProtectPerson => Self::ProtectPerson,
            Purpose::LegalRequest => Self::LegalRequest,
            Purpose::ReviewHandling => Self::ReviewHandling,
            Purpose::CheckUpload => Self::CheckUpload,
        }
    }
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let (access, server, json) = (&self.access, self.server.address(), self.access.json);
        match self.action {
            Action::Upload {
                file,
                media_type,
                category,
                request_id,
            } => {
                // Report problems with the file first: that needs no server.
                let (opened, sha256, size) = open(&file).await?;
                let spec = EvidenceSpec {
                    size_bytes: i64::try_from(size)?,
                    media_type,
                    sha256: sha256.to_vec().into(),
                    // So that it can go on where it breaks off.
                    request_id: match request_id.as_str() {
                        "" => journal::random_id(&SystemEntropy).to_string(),
                        _ => request_id,
                    },
                    category: named_category(&category),
                    ..EvidenceSpec::default()
                };
                upload(&access.stream(Service::Intake, server)?, opened, spec, json).await
            }
            Action::Show { name } => {
                let intake = access.target(Service::Intake, server)?;
                let response = EvidenceServiceClient::new(intake.channel)
                    .get_evidence(GetEvidenceRequest { name })
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print(&response.evidence.unwrap_or_default())
            }
            Action::Verify(settings) => verify(&settings, access).await,
            Action::Download {
                name,
                purpose,
                justification,
                out,
            } => {
                let part = part_of(&out)?;
                let intake = access.stream(Service::Intake, server)?;
                let request = DownloadEvidenceRequest {
                    name,
                    purpose: DownloadPurpose::from(purpose).into(),
                    justification,
                };
                let header = download(&intake, request, part, &out, json).await?;
                if json {
                    return output::json(&header);
                }
                print_downloaded(&header, &out)
            }
        }
    }
}

/// Opens a file and returns it, rewound, with its SHA-256 and length.
async fn open(path: &Path) -> anyhow::Result<(File, [u8; 32], u64)> {
    let unusable = |problem: String| Failed::Usage(format!("{} cannot be uploaded: {problem}", path.display()));
    let failed = |error: std::io::Error| unusable(error.to_string());
    let mut file = File::open(path).await.map_err(failed)?;
    if !file.metadata().await.map_err(failed)?.is_file() {
        return Err(unusable("it is not a file".to_owned()).into());
    }
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut data = BytesMut::with_capacity(CHUNK);
    while file.read_buf(&mut data).await.map_err(failed)? > 0 {
        size += data.len() as u64;
        digest.update(&data);
        data.clear();
    }
    file.rewind().await.map_err(failed)?;
    Ok((file, digest.finalize().into(), size))
}

/// The resource name of a category, given by it or by its id; empty for none.
fn named_category(category: &str) -> String {
    match category {
        "" => String::new(),
        name if name.starts_with("categories/") => name.to_owned(),
        id => format!("categories/{id}"),
    }
}

/// Uploads a file; one that breaks off goes on where it was.
async fn upload(intake: &Target, file: File, spec: EvidenceSpec, json: bool) -> anyhow::Result<()> {
    let failed = Failed::call(&intake.address);
    let request_id = spec.request_id.clone();
    let sent = send(intake, file, spec, json).await;
    let response = sent.map_err(|problem| match problem {
        Unsent::Refused(status) => {
            if can_be_repeated(&status) {
                output::aside(format_args!("go on where it was with --request-id {request_id}"));
            }
            failed(status).into()
        }
        Unsent::Unreadable(error) => anyhow::Error::new(error).context("the file cannot be read"),
    })?;
    if json {
        return output::json(&response);
    }
    let evidence = response.evidence.unwrap_or_default();
    print(&evidence)?;
    line("")?;
    let named = format!("\"evidence\": [\"{}\"]", evidence.name);
    line(format_args!("{} {named}", "reference it in the report:".style(dim())))?;
    Ok(())
}

/// Why a file was not uploaded.
enum Unsent {
    Refused(Status),
    Unreadable(std::io::Error),
}

impl From<std::io::Error> for Unsent {
    fn from(error: std::io::Error) -> Self {
        Self::Unreadable(error)
    }
}

async fn send(
    intake: &Target,
    mut file: File,
    mut spec: EvidenceSpec,
    json: bool,
) -> Result<UploadEvidenceResponse, Unsent> {
    let size = spec.size_bytes.cast_unsigned();
    let mut client = EvidenceServiceClient::new(intake.channel.clone());
    spec.offset_bytes = arrived(intake, &spec.request_id).await.map_err(Unsent::Refused)?;
    let mut tries = 0;
    loop {
        let offset = spec.offset_bytes.cast_unsigned();
        if offset > 0 {
            output::aside(format_args!("going on behind {}", mebibytes(offset)));
        }
        file.seek(SeekFrom::Start(offset)).await?;
        let first = UploadEvidenceRequest {
            part: Some(Part::Spec(spec.clone())),
        };
        let rest = chunks(file.try_clone().await?, offset, size, Progress::new(json));
        let status = match client.upload_evidence(stream::iter([first]).chain(rest)).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        // What had arrived may be gone by now.
        let is_gone = status.code() == Code::InvalidArgument && offset > 0;
        if tries >= REPEATS || !(is_gone || can_be_repeated(&status)) {
            return Err(Unsent::Refused(status));
        }
        tries += 1;
        pause(FIRST_PAUSE, tries).await;
        match arrived(intake, &spec.request_id).await {
            _ if is_gone => spec.offset_bytes = 0,
            Ok(arrived) => {
                if arrived > spec.offset_bytes {
                    tries = 0;
                }
                spec.offset_bytes = arrived;
            }
            Err(status) if can_be_repeated(&status) => {}
            Err(status) => return Err(Unsent::Refused(status)),
        }
    }
}

/// How much of an upload has arrived: nothing, if the server has nothing of it.
async fn arrived(intake: &Target, request_id: &str) -> Result<i64, Status> {
    let request = GetUploadRequest {
        request_id: request_id.to_owned(),
    };
    let answer = EvidenceServiceClient::new(intake.channel.clone())
        .get_upload(request)
        .await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().received_size_bytes),
        Err(status) if status.code() == Code::NotFound => Ok(0),
        Err(status) => Err(status),
    }
}

/// The rest of a file as messages, behind so many bytes. Ends early if the file cannot be read to
/// its end: the server then receives fewer bytes than announced, and refuses the upload.
fn chunks(file: File, offset: u64, size: u64, progress: Progress) -> impl Stream<Item = UploadEvidenceRequest> {
    stream::unfold(
        (file, offset, progress),
        move |(mut file, mut sent, progress)| async move {
            let mut data = BytesMut::with_capacity(CHUNK);
            let read = file.read_buf(&mut data).await;
            if !matches!(read, Ok(1..)) {
                progress.clear();
                return None;
            }
            sent += data.len() as u64;
            progress.show(format_args!("{} of {}", mebibytes(sent), mebibytes(size)));
            let message = UploadEvidenceRequest {
                part: Some(Part::Data(data.freeze())),
            };
            Some((message, (file, sent, progress)))
        },
    )
}

/// A temporary file beside the output file, renamed once it is complete. Readable only by this
/// user.
fn part_of(out: &Path) -> anyhow::Result<NamedTempFile> {
    if out.try_exists().is_ok_and(|there| there) {
        return Err(Failed::Usage(format!("{} already exists; choose another file", out.display())).into());
    }
    let folder = out
        .parent()
        .filter(|folder| *folder != Path::new(""))
        .unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder)
        .map_err(|error| Failed::Usage(format!("{} cannot be written: {error}", out.display())).into())
}

async fn download(
    intake: &Target,
    request: DownloadEvidenceRequest,
    part: NamedTempFile,
    out: &Path,
    json: bool,
) -> anyhow::Result<DownloadHeader> {
    let mut messages = EvidenceServiceClient::new(intake.channel.clone())
        .download_evidence(request)
        .await
        .map_err(Failed::call(&intake.address))?
        .into_inner();
    let mut file = File::from_std(part.as_file().try_clone()?);
    let unwritten = || format!("writing {}", out.display());
    let progress = Progress::new(json);
    let (mut header, mut digest, mut received) = (None, Sha256::new(), 0);
    while let Some(message) = messages.message().await.map_err(Failed::call(&intake.address))? {
        match message.part {
            Some(download_evidence_response::Part::Header(first)) => header = Some(first),
            Some(download_evidence_response::Part::Data(data)) => {
                digest.update(&data);
                received += data.len() as u64;
                progress.show(mebibytes(received));
                file.write_all(&data).await.with_context(unwritten)?;
            }
            None => {}
        }
    }
    progress.clear();
    let Some(header) = header else {
        bail!("the server at {} sent no header", intake.address);
    };
    let evidence = header.evidence.clone().unwrap_or_default();
    if digest.finalize()[..] != evidence.sha256[..] {
        let message = format!(
            "the received file differs from the recorded {}; it was discarded",
            evidence.name
        );
        return Err(Failed::Unverified(message).into());
    }
    file.flush().await.with_context(unwritten)?;
    file.sync_all().await.with_context(unwritten)?;
    part.persist_noclobber(out).map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => {
            Failed::Usage(format!("{} already exists; choose another file", out.display())).into()
        }
        _ => anyhow::Error::new(error.error).context(unwritten()),
    })?;
    Ok(header)
}

async fn verify(settings: &Settings, access: &Access) -> anyhow::Result<()> {
    let mut settings = settings.clone();
    let variable = std::env::var_os("REMIT_CONFIG").map(PathBuf::from);
    let config_by_flag = settings.config.is_some() && settings.config != variable;
    if access.context_by_flag() {
        if config_by_flag {
            let problem = "--context and --config say in two ways which files are meant: give one of them";
            return Err(Failed::Usage(problem.to_owned()).into());
        }
        settings.config = None;
    }
    let chosen = match access.given_data_dir() {
        // A flag, or the variable, which the configuration has, too, unless a flag sets the key.
        Some(folder) => Some(folder.to_owned()).filter(|_| !settings.sets("data_dir")),
        // A context in use is for those who name no configuration.
        None if settings.config.is_some() || settings.sets("data_dir") => None,
        None => access.data_dir_of_context()?,
    };
    let config = settings.load_in(chosen.as_deref())?;
    let folder = config.evidence.folder.clone();
    let folder = folder.unwrap_or_else(|| Layout::new(&config.data_dir).evidence());
    if !folder.is_dir() {
        let problem = format!(
            "{} is no folder; name the data directory with --data-dir, or the configuration with --config",
            folder.display()
        );
        return Err(Failed::Usage(problem).into());
    }
    let db = databases::open_to_read(Service::Intake, &config)
        .await
        .map_err(|error| Failed::Usage(format!("{error:#}")))?;
    let store = SqlStore::new(db.clone(), Arc::new(SystemEntropy));
    let vault = Folder::to_read(&folder);
    if let Some(problem) = intake::shared::problem(&db, &vault).await? {
        return Err(Failed::Usage(format!("{}: {problem}", folder.display())).into());
    }
    // An upload is recorded within the hour after which it counts as abandoned.
    let settled = SystemClock.now().plus_seconds(-3_600);
    let progress = Progress::new(access.json);
    let verified = evidence::verify(&store, &vault, settled, |so_far| {
        progress.show(format_args!(
            "{} files, {}, {} wrong",
            so_far.files,
            mebibytes(so_far.bytes),
            so_far.wrong
        ));
    })
    .await;
    progress.clear();
    db.close().await;
    let verified = verified?;
    if access.json {
        let wrong: Vec<_> = verified
            .first
            .iter()
            .map(|(name, problem)| serde_json::json!({ "name": name, "problem": problem }))
            .collect();
        let result = serde_json::json!({
            "files": verified.files, "bytes": verified.bytes, "wrong": verified.wrong, "first": wrong,
            "unknown": verified.unknown, "firstUnknown": verified.first_unknown,
        });
        output::value(&result)?;
    } else {
        for (name, problem) in &verified.first {
            field(name, problem)?;
        }
        field(
            "compared",
            format_args!("{} files, {}", verified.files, mebibytes(verified.bytes)),
        )?;
        if verified.unknown > 0 {
            let names = verified.first_unknown.join(", ");
            field(
                "unknown",
                format_args!("{} files that the database does not have: {names}", verified.unknown),
            )?;
        }
    }
    match verified.wrong {
        0 => Ok(()),
        wrong => {
            let message = format!(
                "{wrong} of {} stored files are missing or differ from what was recorded",
                verified.files
            );
            Err(Failed::Unverified(message).into())
        }
    }
}

fn print(evidence: &Evidence) -> anyhow::Result<()> {
    line(evidence.name.style(strong()))?;
    field("state", state(evidence.state()))?;
    field("size", format_args!("{} bytes", evidence.size_bytes))?;
    field("sha-256", HEXLOWER.encode(&evidence.sha256))?;
    let said = match evidence.media_type.as_str() {
        "" => "nothing".style(dim()).to_string(),
        said => said.to_owned(),
    };
    field("said to be", said)?;
    field("looks like", &evidence.sniffed_media_type)?;
    field("uploaded", output::time(evidence.upload_time.as_ref()))?;
    if evidence.expire_time.is_some() {
        field("expires", output::time(evidence.expire_time.as_ref()))?;
    }
    if !evidence.report.is_empty() {
        field("report", &evidence.report)?;
    }
    Ok(())
}

fn print_downloaded(header: &DownloadHeader, out: &Path) -> anyhow::Result<()> {
    print(&header.evidence.clone().unwrap_or_default())?;
    if let Some(change) = &header.change {
        let time = output::time(change.change_time.as_ref());
        field("recorded", format_args!("{time} as event {}", change.event_id))?;
    }
    field("written to", format_args!("{} (verified)", out.display()))?;
    Ok(())
}

fn state(state: EvidenceState) -> &'static str {
    match state {
        EvidenceState::Unspecified => "unknown",
        EvidenceState::Uploaded => "uploaded: not attached to a report yet",
        EvidenceState::Attached => "attached: part of a report",
        EvidenceState::Expired => "expired: no report referred to it in time, and the file was deleted",
        EvidenceState::Refused => "refused: a report named it whose category takes no files, and it was deleted",
    }
}

/// A number of bytes for progress output.
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
