//! `remit report import`: a file of reports, submitted as a stream.

mod csv;
mod run;
mod source;
mod state;
mod xarf;

use std::{
    collections::BTreeMap,
    fs::File,
    io::Seek as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use host::input;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{sync::mpsc, time::Instant};

use self::{
    run::Run,
    source::Numbered,
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
    /// [default: FILE.rejects.ndjson, of a dry run FILE.dry-run.rejects.ndjson, of the next one
    /// FILE.dry-run-2.rejects.ndjson]
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

/// Reports that are read ahead of that.
const AHEAD: usize = 16;
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

/// Dry runs whose lists are kept beside a file.
const DRY_RUNS: usize = 1_000;

/// The list of a dry run: a new one for each, as none is written over.
fn free_dry_run(file: &Path) -> PathBuf {
    let first = beside(file, ".dry-run.rejects.ndjson");
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    let later = (2..DRY_RUNS).map(|number| beside(file, &format!(".dry-run-{number}.rejects.ndjson")));
    std::iter::once(first.clone())
        .chain(later)
        .find(is_free)
        .unwrap_or(first)
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
        let rejects = self.rejects.clone().unwrap_or_else(|| match self.dry_run {
            true => free_dry_run(&self.file),
            false => beside(&self.file, ".rejects.ndjson"),
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
