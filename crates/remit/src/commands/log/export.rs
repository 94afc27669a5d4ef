//! `remit log export`: copies the log to a folder that can be verified anywhere.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use api::audit::{ChangeFilter, ListChangesRequest, WatchChangesRequest, audit_service_client::AuditServiceClient};
use audit::{
    export::{ExportError, Folder},
    tiles::{Content, take_entry},
    verify::Fault,
};
use clap::Args;
use futures::StreamExt as _;
use journal::Openings;
use rpc::client::Caller;

use super::{Context, broken, source::Source};
use crate::{
    client::Failed,
    output::{self, Paint as _, Progress, field, good, line},
};

/// Interval between progress updates.
const SHOWN: Duration = Duration::from_millis(100);
/// Number of checks whether a reading is published, [`SHOWN`] apart.
const PUBLISHED: u32 = 50;

/// Bring a folder up to date with the log
///
/// The folder then contains the checkpoint, the files of C2SP tlog-tiles and the verifier key:
/// everything needed to verify it, or to serve it with any web server. Existing files are neither
/// fetched nor verified again, and an interrupted export resumes; `remit log verify` verifies the
/// folder. An export that fetches details is itself logged, with its purpose, before it is
/// answered. Exits with 5 if the server's files are not the log that it signed, or do not continue
/// the folder.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log export /mnt/log
  remit log export /mnt/log --server https://log.example --key remit.example/log+1a2b3c4d+AZ…
  remit log export /mnt/log-with-details --with-detail --purpose 'inspection 2027-3' --as auditor")]
pub struct Command {
    /// The folder; created if missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Include the details that entries commit to, for auditors: see --as
    #[arg(long, requires = "purpose")]
    with_detail: bool,
    /// Purpose of reading the details; logged
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
}

impl Command {
    /// Runs the command.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let key = context.needed_key()?;
        let address = context.address()?;
        let source = Source::named(&address, context.ca_file)?;
        let progress = Progress::new(context.json());
        let started = Instant::now();
        let (before, logged, signed) = loop {
            let checkpoint = source.checkpoint().await?;
            let open = Folder::open(&self.folder, &checkpoint, &key, self.with_detail);
            let folder = open.map_err(failed)?;
            let (before, found) = (folder.before(), folder.size());
            let fetched = match self.with_detail {
                true => self.fetch_details(folder, context, &source, &progress).await,
                false => fetch(folder, &source, &progress).await.map(|folder| (folder, None)),
            };
            progress.clear();
            let (folder, logged) = fetched?;
            match folder.finish() {
                Ok(signed) => break (before, logged, signed),
                // An interrupted export left files that are not the log's; they are deleted now.
                Err(ExportError::Fault(Fault::Root { .. })) if found > before => {}
                Err(ExportError::Fault(Fault::Root { size })) if before > 0 => {
                    let folder = self.folder.display();
                    let message = format!(
                        "the {before} entries of {folder} and the server's further entries do not give the signed \
                         root of {size}: the folder or the server has a different history. `remit log verify \
                         {folder}` with the verifier key of its day shows whether it is the folder"
                    );
                    return Err(Failed::Unverified(message).into());
                }
                Err(error) => return Err(failed(error)),
            }
        };
        if context.json() {
            let exported = serde_json::json!({
                "folder": self.folder, "entries": signed.size, "new": signed.size - before, "with_detail": self.with_detail,
                "root": data_encoding::BASE64.encode(&signed.root), "reading": logged,
            });
            output::value(&exported)?;
            return Ok(());
        }
        let folder = self.folder.display();
        line(format_args!("{} {folder}", "exported to".style(good())))?;
        field(
            "entries",
            format_args!("{}, {} of them new", signed.size, signed.size - before),
        )?;
        if let Some(reading) = logged {
            field("logged as", format_args!("{reading}, with its purpose"))?;
        }
        field("took", format_args!("{:.1?}", started.elapsed()))?;
        field(
            "verify it",
            format_args!(
                "remit log verify {folder} --key {}",
                key.lines().next().unwrap_or_default()
            ),
        )?;
        Ok(())
    }

    /// Fetches entries and details under one reading. Exports up to a checkpoint that covers the
    /// reading's own entry: `remit log recover` needs everything that was signed, so an export
    /// without that entry would be useless to it.
    async fn fetch_details(
        &self,
        mut folder: Folder,
        context: Context<'_>,
        source: &Source,
        progress: &Progress,
    ) -> anyhow::Result<(Folder, Option<String>)> {
        let mut logged = None;
        if folder.size() == folder.target().size {
            return Ok((folder, logged));
        }
        let audit = context.audit()?;
        let mut client = AuditServiceClient::new(audit.channel.clone());
        let request = WatchChangesRequest {
            start_index: folder.size().cast_signed(),
            with_detail: true,
            purpose: self.purpose.clone().unwrap_or_default(),
            ..WatchChangesRequest::default()
        };
        let stream = client.watch_changes(request).await;
        let mut stream = stream.map_err(Failed::call(&audit.address))?.into_inner();
        while folder.size() < folder.target().size {
            let message = stream.message().await.map_err(Failed::call(&audit.address))?;
            let from = folder.size();
            let message = message.ok_or_else(|| {
                let size = folder.target().size;
                Failed::Unverified(format!("the server has {from} entries but signed {size}"))
            })?;
            if logged.is_none() {
                if published(&mut client, &message.reading).await? {
                    folder.aim(&source.checkpoint().await?).map_err(failed)?;
                }
                logged = Some(message.reading);
            }
            let left = folder.target().size - from;
            for change in message.changes.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                let openings = change.chain.as_ref().zip(change.detail.as_ref());
                let openings = openings.map(|(chain, detail)| Openings {
                    chain: chain.into(),
                    detail: detail.into(),
                });
                folder.push(&change.entry, openings).map_err(failed)?;
            }
            progress.show(format_args!("{} of {} entries", folder.size(), folder.target().size));
        }
        Ok((folder, logged))
    }
}

/// Waits until a checkpoint covers a reading's entry. `false` on timeout: the log may lack
/// witnesses.
async fn published(client: &mut AuditServiceClient<Caller>, reading: &str) -> anyhow::Result<bool> {
    for _ in 0..PUBLISHED {
        let request = ListChangesRequest {
            filter: Some(ChangeFilter {
                record: reading.to_owned(),
                ..ChangeFilter::default()
            }),
            ..ListChangesRequest::default()
        };
        let listed = client.list_changes(request).await.map_err(Failed::call("audit"))?;
        if !listed.into_inner().changes.is_empty() {
            return Ok(true);
        }
        tokio::time::sleep(SHOWN).await;
    }
    Ok(false)
}

/// Fetches the entry bundles as files.
async fn fetch(mut folder: Folder, source: &Source, progress: &Progress) -> anyhow::Result<Folder> {
    let size = folder.target().size;
    let first = folder.size() / 256;
    let wanted =
        audit::tiles::files(size, false).filter(move |path| path.content == Content::Entries && path.n >= first);
    let mut bundles = source.files(wanted);
    let mut shown = Instant::now();
    while let Some((path, bytes)) = bundles.next().await {
        let index = folder.size();
        let bytes = bytes?.ok_or_else(|| broken(Fault::Missing { path, index, size }))?;
        let mut rest = &bytes[..];
        for at in 0..path.width {
            let entry = take_entry(&mut rest).ok_or_else(|| {
                broken(Fault::Form {
                    path,
                    index: path.n * 256 + u64::from(at),
                    problem: "ends inside this entry",
                })
            })?;
            // The folder already has part of the first bundle.
            if path.n * 256 + u64::from(at) == folder.size() {
                folder.push(entry, None).map_err(failed)?;
            }
        }
        if shown.elapsed() >= SHOWN {
            progress.show(format_args!("{} of {size} entries", folder.size()));
            shown = Instant::now();
        }
    }
    Ok(folder)
}

/// Distinguishes faults of the log from write errors.
fn failed(error: ExportError) -> anyhow::Error {
    match error {
        ExportError::Fault(fault) => broken(fault).into(),
        ExportError::Damaged { .. } | ExportError::OtherLog { .. } | ExportError::Behind { .. } => {
            Failed::Unverified(error.to_string()).into()
        }
        ExportError::Details { .. } | ExportError::Busy { .. } => Failed::Usage(error.to_string()).into(),
        error @ ExportError::File { .. } => error.into(),
    }
}
