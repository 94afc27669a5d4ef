//! `remit log recover`: why the log does not start, and the legitimate ways out.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use audit::{
    Refused,
    recover::{Recovery, Whole, diagnose},
    tiles::{self, Content},
};
use clap::Args;
use host::{
    config::{Config, Service},
    data_dir::DataDir,
    running::audit_config,
};
use journal::{SystemClock, SystemEntropy};

use super::{Context, source::Source};
use crate::{
    client::Failed,
    commands::{config::Settings, proof::with_causes},
    output::{Paint as _, Progress, good, line, strong},
};

/// Explain why the log does not start and what to do, and restore missing entries where that can be
/// proven
///
/// The log must be stopped. Without --from nothing is changed. With it, entries missing from the
/// database, because it is a restored backup or because rows were deleted, are restored from an
/// export with details, if together with the database they give exactly the root that was signed
/// last: then they are the original entries, byte for byte. Nothing else is ever inserted. A log
/// without such an export or a newer backup must be closed, and a new one started under another
/// origin: the command says how.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit log recover
  remit log recover --from /mnt/auditor/export")]
pub(super) struct Command {
    /// An export with details that has the missing entries: a folder, or an http:// address
    #[arg(long, value_name = "DIR|URL")]
    from: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Maximum number of restored entries; for more, restore a backup.
const MOST: usize = 1_000_000;

impl Command {
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let mut config = self.settings.load(Vec::new())?;
        // A running log would lose its lease and stop.
        let _held = match config.log.key_file {
            None => Some(DataDir::open(&context.access.data_dir()?)?),
            Some(_) => None,
        };
        let layout = context.access.layout()?;
        if config.audit.database.is_none() && config.audit.database_file.is_none() {
            config.audit.database = Some(layout.database(Service::Audit)?);
        }
        config.log.key_file.get_or_insert_with(|| layout.log_key());
        config.log.checkpoint_file.get_or_insert_with(|| layout.checkpoint());
        let config = audit(&config)?;
        let Some(refused) = diagnose(&config, &SystemEntropy).await? else {
            line("the log matches its signed root: it starts".style(good()))?;
            return Ok(());
        };
        if let Some(from) = &self.from {
            return append(&config, from, context.json()).await;
        }
        line("the log does not start".style(strong()))?;
        line(&refused)?;
        line("")?;
        for way in ways(&refused) {
            line(format_args!("  * {way}"))?;
        }
        Err(Failed::Told.into())
    }
}

fn audit(config: &Config) -> anyhow::Result<audit::Config> {
    let database = config.database(Service::Audit)?;
    audit_config(config, Config::need("audit.database", database.as_ref())?)
}

/// The legitimate ways out. Each keeps every issued signature true.
fn ways(refused: &Refused) -> Vec<&'static str> {
    const NEWER: &str = "restore a backup of audit's database at least as new as the checkpoint; with continuous \
                         archiving, restore its last moment. Never match an older database with an older checkpoint file";
    const PROVEN: &str = "if an export with details has the missing entries: `remit log recover --from DIR`. It restores \
                          them if they give exactly the signed root";
    const CLOSE: &str = "if signed entries are lost for good, close this log: keep its key, checkpoint file and database, \
                         unchanged, for the holders of its receipts, and announce the date of closing. Start a new \
                         log in an empty database with another `log.origin`, key and checkpoint file, and publish its \
                         verifier key together with this one's. The same origin and key must never sign again: that would be \
                         a fork";
    const FILE: &str = "put the checkpoint file back. If it is lost, use the newest checkpoint of all witnesses, mirrors and exports; \
                        an older one is not enough";
    const WITNESSES: &str = "with `log.witness_policy_file` set, witnesses replace the file if enough of them answer";
    match refused {
        Refused::RolledBack { .. } | Refused::EntriesMissing { .. } => vec![NEWER, PROVEN, CLOSE],
        Refused::Forked { .. } => vec![NEWER, CLOSE],
        Refused::FileMissing { .. } => vec![FILE, WITNESSES, CLOSE],
        Refused::KeyMissing { .. } => vec![
            "put the key back from your store of secrets",
            "if it is lost, nobody can sign for this log any more",
            CLOSE,
        ],
        Refused::KeyRevoked { .. } => vec!["run `remit log key revoke` again, with the same reason"],
        Refused::NotOurs { .. } => vec![
            "put back the checkpoint file, key and `log.origin` that belong together",
            FILE,
        ],
    }
}

async fn append(config: &audit::Config, from: &str, json: bool) -> anyhow::Result<()> {
    let recovery = Recovery::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    let missing = recovery.missing();
    let count = missing.len();
    let Some(last) = missing.last() else {
        bail!("no entries are missing; run it without --from");
    };
    if count > MOST {
        bail!("{count} entries are missing, more than {MOST}; restore a newer backup first");
    }
    let source = Source::named(from, None)?;
    let note = source.checkpoint().await?;
    let there = recovery
        .size_of(&note)
        .map_err(|error| Failed::Unverified(format!("{from}: {}", with_causes(&error))))?;
    if there <= *last {
        let message = format!("{from} has {there} entries, but entry {last} is missing: it is too old");
        return Err(Failed::Unverified(message).into());
    }
    let progress = Progress::new(json);
    let mut entries = Vec::new();
    let mut wholes = Vec::new();
    for path in tiles::files(there, true) {
        let is_wanted = matches!(path.content, Content::Entries | Content::Details);
        let start = path.start().unwrap_or(u64::MAX);
        let end = start.saturating_add(u64::from(path.width));
        if !is_wanted || missing.range(start..end).next().is_none() {
            continue;
        }
        let absent = || Failed::Unverified(format!("{from} has no {path}; an export with details is needed"));
        let bytes = source.file(path).await?.ok_or_else(absent)?;
        let (mut rest, mut index) = (bytes.as_slice(), start);
        let damaged = || Failed::Unverified(format!("{from}: {path} is damaged; nothing was changed"));
        while !rest.is_empty() {
            if path.content == Content::Entries {
                let entry = tiles::take_entry(&mut rest).ok_or_else(damaged)?;
                entries.push((index, entry.to_vec()));
            } else {
                let openings = tiles::take_openings(&mut rest).ok_or_else(damaged)?;
                let at = entries.iter().position(|(at, _)| *at == index).ok_or_else(damaged)?;
                let (_, entry) = entries.swap_remove(at);
                if missing.contains(&index) {
                    wholes.push(Whole {
                        entry,
                        openings: openings.map(|all| (all.chain.to_message(), all.detail.to_message())),
                    });
                }
            }
            index += 1;
        }
        progress.show(format_args!("{} of {count} entries read", wholes.len()));
    }
    progress.clear();
    recovery
        .append(wholes)
        .await
        .map_err(|error| Failed::Unverified(error.to_string()))
        .context("nothing was changed")?;
    recovery.close().await;
    line(format!("{count} entries restored; the log matches its signed root and starts").style(good()))?;
    Ok(())
}
