//! `remit log verify`: reads and verifies the whole log.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use audit::{
    Trusted,
    verify::{Counted, Fault, FilesVerifier},
    with_statements,
};
use clap::Args;
use futures::StreamExt as _;
use journal::{Clock as _, SystemClock, Time};
use witness::foreign;

use super::{Context, KeyFrom, broken, source::Source};
use crate::{
    client::Failed,
    output::{self, Paint as _, Progress, field, good, line},
};

/// Interval between progress updates.
const SHOWN: Duration = Duration::from_millis(100);

/// Read the whole log and verify it
///
/// Reads the files of C2SP tlog-tiles from a server, from any web server with an exported folder,
/// or from the folder. Verifies the checkpoint's signature, every entry against its leaf hash,
/// every producer's marks against the entries before them, every tile and the root; of an auditor's
/// export also every record's chain and every detail against the entries' commitments; for a folder
/// also that it has nothing beyond its checkpoint. Requests nothing but files from a server. Prints
/// when the checkpoint was signed: an old one may be genuine but outdated.
///
/// The key is the one given, otherwise the data directory's, otherwise the folder's own, which only
/// proves that the folder is consistent in itself: compare it. Statements in a folder's own key
/// file count as far as trusted keys signed them.
///
/// Exits with 5 and names the first fault if a verification fails. Memory, with details: about 100
/// bytes per record.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log verify
  remit log verify https://log.example --key remit.example/log+1a2b3c4d+AZ…
  remit log verify https://log.intern --ca-file our-issuer.pem --key remit.example/log+1a2b3c4d+AZ…
  remit log verify /mnt/exported-log --key remit.example/log+1a2b3c4d+AZ…")]
pub struct Command {
    /// Address of the log, or an exported folder [default: the audit server]
    #[arg(value_name = "URL|DIR")]
    place: Option<String>,
    /// Require and verify details; details of a folder are verified in any case
    #[arg(long)]
    with_detail: bool,
}

impl Command {
    /// Runs the command.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let place = match self.place {
            Some(place) => place,
            None => {
                // Report a missing key first: it matters more than an unreachable server.
                context.needed_key()?;
                context.address()?
            }
        };
        let source = Source::named(&place, context.ca_file)?;
        let key = Key::of(&source, &context)?;
        let checkpoint = source.checkpoint().await?;
        let with_detail = self.with_detail || source.has_details();
        let started = Instant::now();
        let broken = |fault| key.broken(fault);
        let mut verifier = FilesVerifier::new(&checkpoint, &key.text, with_detail).map_err(broken)?;
        let signed_at = key.signed_at(&checkpoint)?;
        let progress = Progress::new(context.json());
        let checked = read(&source, &mut verifier, &progress).await;
        progress.clear();
        checked?;

        let (records, details) = (verifier.log().records(), verifier.details());
        let producers = verifier.log().producers().clone();
        let signed = verifier.finish().map_err(broken)?;
        let keys = key.listed();
        let root = data_encoding::BASE64.encode(&signed.root);
        let files = audit::tiles::count_files(signed.size, with_detail);
        if context.json() {
            let verified = serde_json::json!({
                "entries": signed.size, "records": with_detail.then_some(records),
                "producers": as_json(&producers), "details": with_detail.then_some(details), "files": files,
                "root": root, "signed_at": signed_at.map(|time| time.to_string()), "checkpoint": checkpoint, "key": key.text,
                "key_from": key.from.name(),
            });
            output::value(&verified)?;
            return Ok(());
        }
        line("the log is complete and valid".style(good()))?;
        field("entries", signed.size)?;
        for (place, (source, counted)) in producers.iter().enumerate() {
            field(if place == 0 { "producers" } else { "" }, marked(source, counted))?;
        }
        match with_detail {
            true => {
                field("records", format_args!("{records}, each entry the next of its record"))?;
                field(
                    "details",
                    format_args!("{details}, each matching its entry's commitment"),
                )?;
            }
            false => field("records", "not visible: only an export with details shows their chains")?,
        }
        field("files", format_args!("{files}, read in {:.1?}", started.elapsed()))?;
        field(
            "root",
            format_args!("{root}, rebuilt from the entries, matches the signature"),
        )?;
        field("signed", age(signed_at, SystemClock.now()))?;
        for (place, key) in keys.iter().enumerate() {
            field(if place == 0 { "key" } else { "or" }, key)?;
        }
        if key.from == KeyFrom::Folder {
            field(
                "",
                "it came with the folder: compare it with the key that you received elsewhere",
            )?;
        }
        Ok(())
    }
}

/// A producer's changes and marks, for people.
fn marked(source: &str, Counted { held, marked, marks }: &Counted) -> String {
    let changes = format!("{source}: {} changes", held.count);
    match (marked, source) {
        (Some((count, time)), _) => {
            let at = output::time(Some(&time.to_proto()));
            format!("{changes}; {marks} marks, each met; the newest, of {at}, counts {count}")
        }
        // Nobody else counts the log's own changes.
        (None, "audit") => changes,
        (None, _) => format!("{changes}, no mark yet"),
    }
}

fn as_json(producers: &BTreeMap<String, Counted>) -> serde_json::Value {
    let producer = |(source, counted): (&String, &Counted)| {
        let told = serde_json::json!({
            "changes": counted.held.count, "set_hash": data_encoding::HEXLOWER.encode(&counted.held.hash.to_bytes()),
            "marks": counted.marks, "marked_changes": counted.marked.map(|(count, _)| count),
            "marked_time": counted.marked.map(|(_, time)| time.to_string()),
        });
        (source.clone(), told)
    };
    producers.iter().map(producer).collect::<serde_json::Map<_, _>>().into()
}

/// The time of a checkpoint's signature, for people.
pub(super) fn age(signed_at: Option<Time>, now: Time) -> String {
    let Some(time) = signed_at else {
        return "at a time that no trusted key states".to_owned();
    };
    let at = output::time(Some(&time.to_proto()));
    match (now.0 - time.0).div_euclid(1_000_000) {
        // Signed times are whole seconds.
        seconds @ 0..120 => format!("{at}, {seconds} s ago"),
        120.. => format!("{at}, {}", output::distance(Some(&time.to_proto()), now)),
        _ => format!("{at}, which is in the future: one of the clocks is wrong"),
    }
}

/// The trusted key of a log, and its source.
pub(super) struct Key {
    /// A verifier key file.
    pub text: String,
    pub from: KeyFrom,
    /// A hint for failed verifications.
    hint: String,
}

impl Key {
    /// The given key, otherwise the data directory's, otherwise the folder's own. The folder's
    /// statements about key replacements are used in any case, as far as trusted keys signed them.
    pub fn of(source: &Source, context: &Context<'_>) -> anyhow::Result<Self> {
        let theirs = match source {
            Source::Web(_) => None,
            Source::Folder(folder) => {
                let key = foreign::read_in(folder, "vkey", foreign::SMALL);
                let key = key.with_context(|| format!("cannot read the key {}", folder.join("vkey").display()))?;
                // Non-UTF-8 bytes are no key anyway.
                key.map(|key| String::from_utf8_lossy(&key).into_owned())
            }
        };
        let (text, from) = match (context.key_and_origin()?, &theirs) {
            (Some(known), _) => known,
            (None, Some(theirs)) => (theirs.trim().to_owned(), KeyFrom::Folder),
            (None, None) => (context.needed_key()?, KeyFrom::Named),
        };
        let heard = theirs.map(|theirs| with_statements(&text, &theirs));
        let hint = match from {
            KeyFrom::DataDir => format!(
                " (using the key of the data directory {}; set another with --key or --key-file)",
                context.access.data_dir()?.display()
            ),
            KeyFrom::Named | KeyFrom::Folder => String::new(),
        };
        Ok(Self {
            // A damaged key file counts as a missing one.
            text: heard.filter(|heard| Trusted::parse(heard).is_ok()).unwrap_or(text),
            from,
            hint,
        })
    }

    /// The keys in the file, without its statements.
    fn listed(&self) -> Vec<&str> {
        let keys = self.text.split("\n\n").next().unwrap_or_default();
        keys.lines().map(str::trim).collect()
    }

    /// When a checkpoint was signed.
    fn signed_at(&self, checkpoint: &str) -> anyhow::Result<Option<Time>> {
        let signed = Trusted::parse(&self.text).and_then(|trusted| trusted.signed_at(checkpoint));
        Ok(signed.map_err(|error| broken(error.into()))?)
    }

    /// A fault as an error.
    pub fn broken(&self, fault: Fault) -> Failed {
        let is_of_key = matches!(fault, Fault::Checkpoint(_));
        match broken(fault) {
            Failed::Unverified(problem) if is_of_key => Failed::Unverified(format!("{problem}{}", self.hint)),
            failed => failed,
        }
    }
}

/// Reads all files into the verifier.
async fn read(source: &Source, verifier: &mut FilesVerifier, progress: &Progress) -> anyhow::Result<()> {
    let size = verifier.signed().size;
    if let Some(path) = source.beyond(size)? {
        return Err(broken(verifier.beyond(path)).into());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_begin_in_seconds() {
        let now = Time(1_795_305_600_000_000);
        for (seconds, expected) in [
            (0, ", 0 s ago"),
            (-12, ", 12 s ago"),
            (-119, ", 119 s ago"),
            (-7_200, ", 2 h ago"),
            (1, "one of the clocks is wrong"),
        ] {
            let said = age(Some(now.plus_seconds(seconds)), now);
            assert!(said.ends_with(expected), "{said}");
        }
        assert_eq!(age(None, now), "at a time that no trusted key states");
    }
}
