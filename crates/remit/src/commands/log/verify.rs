//! `remit log verify`: reads the whole log and checks all of it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use audit::verify::FilesVerifier;
use clap::Args;
use futures::StreamExt as _;
use owo_colors::OwoColorize as _;

use super::{Context, broken, source::Source};
use crate::output::{Progress, field, good, line};

/// How often progress is shown.
const SHOWN: Duration = Duration::from_millis(100);

/// Read the whole log and verify it
///
/// Reads the files of C2SP tlog-tiles: from a server, from any web server that has an exported folder, or from the folder. The
/// checkpoint's signature, every entry against its leaf hash and its record's chain, every tile, and the root are checked, and
/// every detail against its commitment where an auditor's export has them. Nothing is asked of a server but the files.
///
/// Exits with 5 and names the first fault when something does not hold. Memory: about 100 bytes for each record.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log verify
  remit log verify https://log.example --key remit.example/log+1a2b3c4d+AZ…
  remit log verify https://log.intern --ca-file our-issuer.pem --key remit.example/log+1a2b3c4d+AZ…
  remit log verify /mnt/exported-log --key remit.example/log+1a2b3c4d+AZ…")]
pub struct Command {
    /// An address of the log, or a folder that was exported [default: the audit server]
    #[arg(value_name = "URL|DIR")]
    place: Option<String>,
}

impl Command {
    /// Does it.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let place = match self.place {
            Some(place) => place,
            None => {
                // Said first: that nothing can be verified matters more than that nothing answers.
                context.needed_key()?;
                context.address()?
            }
        };
        let source = Source::named(&place, context.ca_file)?;
        let (key, key_is_theirs) = key(&source, &context)?;
        let checkpoint = source.checkpoint().await?;
        let with_detail = matches!(&source, Source::Folder(folder) if folder.join("detail").is_dir());
        let started = Instant::now();
        let mut verifier = FilesVerifier::new(&checkpoint, &key, with_detail).map_err(broken)?;
        let progress = Progress::new(context.json());
        let checked = read(&source, &mut verifier, &progress).await;
        progress.clear();
        checked?;

        let (records, details) = (verifier.log().records(), verifier.details());
        let signed = verifier.finish().map_err(broken)?;
        let root = data_encoding::BASE64.encode(&signed.root);
        let files = audit::tiles::count_files(signed.size, with_detail);
        if context.json() {
            let verified = serde_json::json!({
                "entries": signed.size, "records": records, "details": with_detail.then_some(details), "files": files,
                "root": root, "checkpoint": checkpoint, "key": key,
            });
            line(serde_json::to_string_pretty(&verified)?)?;
            return Ok(());
        }
        line("the log is whole".style(good()))?;
        field("entries", format_args!("{}, each the next of its record", signed.size))?;
        field("records", records)?;
        if with_detail {
            field("details", format_args!("{details}, each what its entry commits to"))?;
        }
        field("files", format_args!("{files}, read in {:.1?}", started.elapsed()))?;
        field("root", format_args!("{root}, rebuilt from the entries, as signed"))?;
        // The keys without what they say of each other.
        let keys = key.split("\n\n").next().unwrap_or_default();
        for (place, key) in keys.lines().enumerate() {
            field(if place == 0 { "key" } else { "or" }, key)?;
        }
        if key_is_theirs {
            field(
                "",
                "it came with the folder: compare it with the key that you were given elsewhere",
            )?;
        }
        Ok(())
    }
}

/// The key to believe, and whether it is only what the folder itself says.
pub(super) fn key(source: &Source, context: &Context<'_>) -> anyhow::Result<(String, bool)> {
    match (source, context.key) {
        (Source::Folder(folder), None) => {
            let file = folder.join("vkey");
            match std::fs::read_to_string(&file) {
                Ok(key) => Ok((key.trim().to_owned(), true)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((context.needed_key()?, false)),
                Err(error) => Err(error).with_context(|| format!("the key {} cannot be read", file.display())),
            }
        }
        _ => Ok((context.needed_key()?, false)),
    }
}

/// Reads all files into the verifier.
async fn read(source: &Source, verifier: &mut FilesVerifier, progress: &Progress) -> anyhow::Result<()> {
    let size = verifier.signed().size;
    let mut files = source.files(verifier.files());
    let mut shown = Instant::now();
    while let Some((path, bytes)) = files.next().await {
        let bytes = bytes?.ok_or_else(|| broken(verifier.missing(path)))?;
        verifier.take(path, &bytes, |_, _| ()).map_err(broken)?;
        if shown.elapsed() >= SHOWN {
            let verified = verifier.log().size();
            progress.show(format_args!(
                "{verified} of {size} entries ({} %)",
                verified * 100 / size.max(1)
            ));
            shown = Instant::now();
        }
    }
    Ok(())
}
