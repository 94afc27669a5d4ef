//! `remit evidence`: upload a file, look at what is known of one, download one.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use api::intake::{
    DownloadEvidenceRequest, DownloadHeader, DownloadPurpose, Evidence, EvidenceSpec, EvidenceState,
    GetEvidenceRequest, UploadEvidenceRequest, download_evidence_response,
    evidence_service_client::EvidenceServiceClient, upload_evidence_request::Part,
};
use bytes::BytesMut;
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::HEXLOWER;
use futures::{Stream, StreamExt as _, stream};
use host::config::Service;
use owo_colors::OwoColorize as _;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

use crate::{
    client::{Access, Failed, IntakeServer, Target},
    output::{self, Progress, dim, field, line, strong},
};

/// Bytes of a file in one message.
const CHUNK: usize = 256 << 10;

/// Upload evidence and download it
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
    /// Upload a file, to be named in a report's `evidence`
    ///
    /// It waits 24 hours for the report, which the same sender has to send. The file's own name is not sent.
    #[command(after_help = "\
Example:
  remit evidence upload screenshot.png --as police-440000")]
    Upload {
        /// The file
        file: PathBuf,
        /// What it is, such as image/png; the server also looks by itself what it looks like
        #[arg(long, value_name = "TYPE", default_value = "")]
        media_type: String,
        /// Request id, a UUID: sent again with the same one within 24 hours, it is the same evidence
        #[arg(long, value_name = "UUID", default_value = "")]
        request_id: String,
    },
    /// Show what is known of a file, without its content
    ///
    /// Shown to the sender's system and agency, and to the agency that leads the report's case; for anyone else there is no such
    /// evidence.
    #[command(after_help = "Example:\n  remit evidence show evidence/0d9f… --as police-510100")]
    Show {
        /// Its name, `evidence/{id}`
        name: String,
    },
    /// Download a file
    ///
    /// To the system that uploaded it, and to the agency that leads the report's case. The request is itself recorded as a change
    /// of the evidence, with its purpose, before anything is sent. What was received is held against the hash that was
    /// recorded at its upload; FILE is there only when it is that. Nothing opens or runs it: it may be anything.
    #[command(after_help = "\
Example:
  remit evidence download evidence/0d9f… --purpose handle-report --justification 'to read the contract' \\
    --out contract.bin --as police-510100")]
    Download {
        /// Its name, `evidence/{id}`
        name: String,
        /// What it is needed for
        #[arg(long, value_enum)]
        purpose: Purpose,
        /// Why, in words: 10 to 500 characters; kept by intake, never in the log
        #[arg(long, value_name = "TEXT")]
        justification: String,
        /// The file to write, which must not be there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// What a file is needed for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Purpose {
    /// To handle the report that it is attached to
    HandleReport,
    /// To find out whether it is genuine
    VerifyEvidence,
    /// To keep somebody whom it shows or names from harm
    ProtectPerson,
    /// A court, a prosecutor or another body asks, and the law says that it must be given
    LegalRequest,
    /// To review how the report was handled
    ReviewHandling,
    /// To hold what the sender uploaded against its own
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
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let (access, server, json) = (&self.access, self.server.address(), self.access.json);
        match self.action {
            Action::Upload {
                file,
                media_type,
                request_id,
            } => {
                // What is wrong with the file is said first: that needs no server.
                let (opened, sha256, size) = open(&file).await?;
                let spec = EvidenceSpec {
                    size_bytes: i64::try_from(size)?,
                    media_type,
                    sha256: sha256.to_vec().into(),
                    request_id,
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

/// A file, from its beginning, with its SHA-256 and its length.
async fn open(path: &Path) -> anyhow::Result<(File, [u8; 32], u64)> {
    let unusable = |problem: String| Failed::Usage(format!("{} cannot be uploaded: {problem}", path.display()));
    let failed = |error: std::io::Error| unusable(error.to_string());
    let mut file = File::open(path).await.map_err(failed)?;
    if !file.metadata().await.map_err(failed)?.is_file() {
        return Err(unusable("it is no file".to_owned()).into());
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

async fn upload(intake: &Target, file: File, spec: EvidenceSpec, json: bool) -> anyhow::Result<()> {
    let size = spec.size_bytes.cast_unsigned();
    let first = UploadEvidenceRequest {
        part: Some(Part::Spec(spec)),
    };
    let messages = stream::iter([first]).chain(chunks(file, size, Progress::new(json)));
    let response = EvidenceServiceClient::new(intake.channel.clone())
        .upload_evidence(messages)
        .await
        .map_err(Failed::call(&intake.address))?
        .into_inner();
    if json {
        return output::json(&response);
    }
    let evidence = response.evidence.unwrap_or_default();
    print(&evidence)?;
    line("")?;
    let named = format!("\"evidence\": [\"{}\"]", evidence.name);
    line(format_args!("{} {named}", "name it in the report:".style(dim())))?;
    Ok(())
}

/// A file as messages. They end where it cannot be read any further: then fewer bytes came than announced, which is refused.
fn chunks(file: File, size: u64, progress: Progress) -> impl Stream<Item = UploadEvidenceRequest> {
    stream::unfold((file, 0, progress), move |(mut file, mut sent, progress)| async move {
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
    })
}

/// A file beside the one to be written, which has its name when it is whole. Nobody else can read it.
fn part_of(out: &Path) -> anyhow::Result<NamedTempFile> {
    if out.try_exists().is_ok_and(|there| there) {
        return Err(Failed::Usage(format!("{} is there already; name another file", out.display())).into());
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
            "what was received is not what was recorded as {}; it is not kept",
            evidence.name
        );
        return Err(Failed::Unverified(message).into());
    }
    file.flush().await.with_context(unwritten)?;
    file.sync_all().await.with_context(unwritten)?;
    part.persist_noclobber(out).map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => {
            Failed::Usage(format!("{} is there already; name another file", out.display())).into()
        }
        _ => anyhow::Error::new(error.error).context(unwritten()),
    })?;
    Ok(header)
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
    field("written to", format_args!("{}, and verified", out.display()))?;
    Ok(())
}

fn state(state: EvidenceState) -> &'static str {
    match state {
        EvidenceState::Unspecified => "unknown",
        EvidenceState::Uploaded => "uploaded: no report has named it yet",
        EvidenceState::Attached => "attached: part of a report",
        EvidenceState::Expired => "expired: no report named it in time, and the file is gone",
    }
}

/// A number of bytes, for those who wait.
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
