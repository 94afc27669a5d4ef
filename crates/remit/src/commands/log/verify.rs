//! `remit log verify`: reads the whole log and checks all of it.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use audit::{
    Trusted,
    verify::{Fault, FilesVerifier},
    with_statements,
};
use clap::Args;
use futures::StreamExt as _;
use journal::{Clock as _, SystemClock, Time};
use owo_colors::OwoColorize as _;

use super::{Context, KeyFrom, broken, source::Source};
use crate::{
    client::Failed,
    output::{self, Progress, field, good, line},
};

/// How often progress is shown.
const SHOWN: Duration = Duration::from_millis(100);

/// Read the whole log and verify it
///
/// Reads the files of C2SP tlog-tiles: from a server, from any web server that has an exported folder, or from the folder. The
/// checkpoint's signature, every entry against its leaf hash and its record's chain, every tile, and the root are checked, and
/// every detail against its commitment where an auditor's export has them; of a folder also that it has nothing beyond its
/// checkpoint. Nothing is asked of a server but the files. When the checkpoint was signed is printed: an old one may be true, and
/// not the newest.
///
/// The key is the one that is named, else that of the data directory, else the folder's own, which proves only that the folder fits
/// to itself: compare it. What a folder's own key file says of keys is heard as far as believed keys signed it.
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
    /// Verify the details too, and that there are any; a folder that has details is verified with them in any case
    #[arg(long)]
    with_detail: bool,
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
        let signed = verifier.finish().map_err(broken)?;
        let keys = key.listed();
        let root = data_encoding::BASE64.encode(&signed.root);
        let files = audit::tiles::count_files(signed.size, with_detail);
        if context.json() {
            let verified = serde_json::json!({
                "entries": signed.size, "records": records, "details": with_detail.then_some(details), "files": files,
                "root": root, "signed_at": signed_at.map(|time| time.to_string()), "checkpoint": checkpoint, "key": key.text,
                "key_from": key.from.name(),
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
        field("signed", age(signed_at, SystemClock.now()))?;
        for (place, key) in keys.iter().enumerate() {
            field(if place == 0 { "key" } else { "or" }, key)?;
        }
        if key.from == KeyFrom::Folder {
            field(
                "",
                "it came with the folder: compare it with the key that you were given elsewhere",
            )?;
        }
        Ok(())
    }
}

/// When a checkpoint was signed, for people.
pub(super) fn age(signed_at: Option<Time>, now: Time) -> String {
    let Some(time) = signed_at else {
        return "at a time that no believed key says".to_owned();
    };
    let at = output::time(Some(&time.to_proto()));
    match (now.0 - time.0).div_euclid(1_000_000) {
        // Times are signed in whole seconds.
        seconds @ 0..120 => format!("{at}, {seconds} s ago"),
        120.. => format!("{at}, {}", output::distance(Some(&time.to_proto()), now)),
        _ => format!("{at}, which is yet to come: one of the clocks is wrong"),
    }
}

/// The key to believe of a log, and why.
pub(super) struct Key {
    /// A verifier key file.
    pub text: String,
    pub from: KeyFrom,
    /// What help there is when it does not verify.
    hint: String,
}

impl Key {
    /// The one that is named, else that of the data directory, else what the folder itself says. Which keys took whose places is heard
    /// from the folder in any case: it counts as far as believed keys signed it.
    pub fn of(source: &Source, context: &Context<'_>) -> anyhow::Result<Self> {
        let theirs = match source {
            Source::Web(_) => None,
            Source::Folder(folder) => match std::fs::read_to_string(folder.join("vkey")) {
                Ok(key) => Some(key),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("the key {} cannot be read", folder.join("vkey").display()));
                }
            },
        };
        let (text, from) = match (context.key_and_origin()?, &theirs) {
            (Some(known), _) => known,
            (None, Some(theirs)) => (theirs.trim().to_owned(), KeyFrom::Folder),
            (None, None) => (context.needed_key()?, KeyFrom::Named),
        };
        let heard = theirs.map(|theirs| with_statements(&text, &theirs));
        let hint = match from {
            KeyFrom::DataDir => format!(
                " (by the key of the data directory {}; --key or --key-file names another)",
                context.access.data_dir.display()
            ),
            KeyFrom::Named | KeyFrom::Folder => String::new(),
        };
        Ok(Self {
            // What somebody has damaged says no more than what is not there.
            text: heard.filter(|heard| Trusted::parse(heard).is_ok()).unwrap_or(text),
            from,
            hint,
        })
    }

    /// The keys that stand in it, without what they say of each other.
    fn listed(&self) -> Vec<&str> {
        let keys = self.text.split("\n\n").next().unwrap_or_default();
        keys.lines().map(str::trim).collect()
    }

    /// When a checkpoint was signed.
    fn signed_at(&self, checkpoint: &str) -> anyhow::Result<Option<Time>> {
        let signed = Trusted::parse(&self.text).and_then(|trusted| trusted.signed_at(checkpoint));
        Ok(signed.map_err(|error| broken(error.into()))?)
    }

    /// What does not hold.
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
    fn ages_are_said_in_seconds_at_first() {
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
        assert_eq!(age(None, now), "at a time that no believed key says");
    }
}
