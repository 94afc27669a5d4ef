//! `remit log key`: the log's signing keys.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use audit::{KeyState, LogKeys, open_checkpoint};
use clap::{Args, Subcommand};
use host::{config::Config, data_dir::DataDir};
use journal::{Clock as _, SystemClock, SystemEntropy};
use witness::foreign;

use super::Context;
use crate::{
    client::{Access, Failed},
    commands::config::Settings,
    output::{self, Paint as _, bad, dim, field, good, line},
};

/// Print the log's verifier key; generate, rotate and revoke keys
///
/// Works on the key files, on the log's machine. Changes take effect at the log's next start.
#[derive(Args, Clone, Debug)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Generate the first key of a log
    ///
    /// Not needed before `remit serve`, which generates one; for keys generated elsewhere than on
    /// the log's machine. Never replaces an existing key.
    #[command(
        after_help = "Example:\n  remit log key generate --set log.origin=remit.example/log --set log.key_file=log.key"
    )]
    Generate,
    /// Print the verifier key file, for verifiers and witnesses
    ///
    /// One verifier key per line, newest first; two during a rotation. Then the log's statements
    /// about replaced and revoked keys, as signed notes.
    #[command(after_help = "Example:\n  remit log key file > log.vkey")]
    File,
    /// List all keys and their states
    Show,
    /// Replace the signing key by a new one
    ///
    /// From the next start both keys sign, and verifiers with either accept the log. When verifiers
    /// and witnesses have the new key, run the command with --finish: the old key is destroyed.
    /// Holders of only the old verifier key can still follow, through the old key's statement in
    /// `remit log key file`.
    #[command(after_help = "\
Example:
  remit log key rotate            # then restart the log, and distribute the new verifier key
  remit log key rotate --finish   # later; then restart the log again")]
    Rotate {
        /// End the overlap: destroy the old key
        #[arg(long)]
        finish: bool,
    },
    /// Revoke the signing keys because somebody else may have them
    ///
    /// The log must be stopped. Creates a new key, and a statement that the log stands by the tree
    /// of its last checkpoint and by no other tree signed by the revoked keys. First make sure that
    /// the last checkpoint is yours: compare it with a witness or an export. Then restart the log,
    /// give the new verifier key file to verifiers and witnesses by a channel that does not depend
    /// on the log, and tell holders of older receipts to fetch new ones.
    #[command(after_help = "Example:\n  remit log key revoke --reason 'the disk was stolen on 1 May'")]
    Revoke {
        /// Reason, for verifiers to read; one line
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Command {
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let access = context.access;
        let config = self.settings.load(Vec::new())?;
        let layout = access.layout()?;
        let path = config.log.key_file.clone().unwrap_or_else(|| layout.log_key());
        let origin = &config.log.origin;
        let entropy = SystemEntropy;
        match self.action {
            None if access.json => {
                let key = serde_json::json!({ "verifierKey": load(origin, &path).await?.vkey() });
                output::value(&key)?;
            }
            None => line(load(origin, &path).await?.vkey())?,
            Some(Action::File) => output::document(load(origin, &path).await?.verifier_key_file().as_bytes())?,
            Some(Action::Show) => show(&load(origin, &path).await?, &config, access)?,
            Some(Action::Generate) => {
                if LogKeys::load(origin, &path).await?.is_some() {
                    bail!(
                        "{} already contains a key; `remit log key rotate` replaces it without breaking the log",
                        path.display()
                    );
                }
                let keys = LogKeys::create(origin, &path, &entropy).await?;
                field("key", format_args!("{} (keep it secret)", path.display()))?;
                field("verifier key", keys.vkey())?;
            }
            Some(Action::Rotate { finish }) => {
                let mut keys = load(origin, &path).await?;
                if finish {
                    keys.finish().await?;
                    line("the old key is destroyed; restart the log to stop signing with it")?;
                } else {
                    keys.rotate(&entropy, SystemClock.now()).await?;
                    line("restart the log to sign with both keys")?;
                }
                show(&keys, &config, access)?;
            }
            Some(Action::Revoke { reason }) => revoke(&config, access, &path, &reason).await?,
        }
        Ok(())
    }
}

async fn load(origin: &str, path: &Path) -> anyhow::Result<LogKeys> {
    refuse_other_name(origin, &path.with_extension("vkey"))?;
    let keys = LogKeys::load(origin, path).await?;
    keys.ok_or_else(|| {
        let message = format!(
            "no log key at {}; set it with --data-dir or log.key_file",
            path.display()
        );
        Failed::NotFound(message).into()
    })
}

/// Reads one of the log's small files; `None` if there is none.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match foreign::read_text(path, foreign::SMALL) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The same seed under another name is another key, which no verifier has.
fn refuse_other_name(origin: &str, vkey: &Path) -> anyhow::Result<()> {
    let known = read(vkey)?.unwrap_or_default();
    match known.split_once('+') {
        Some((name, _)) if name != origin => {
            let message = format!(
                "{} belongs to the log `{name}`, but `log.origin` is `{origin}`: use the log's own configuration, or \
                 --set log.origin={name}",
                vkey.display()
            );
            Err(Failed::Usage(message).into())
        }
        _ => Ok(()),
    }
}

async fn revoke(config: &Config, access: &Access, path: &Path, reason: &str) -> anyhow::Result<()> {
    if reason.trim().is_empty() || reason.contains(char::is_control) {
        return Err(Failed::Usage("--reason must be one line of text".to_owned()).into());
    }
    // A running log would go on signing with the revoked key.
    let _held = match config.log.key_file {
        None => Some(DataDir::open(&access.data_dir()?)?),
        Some(_) => None,
    };
    let mut keys = load(&config.log.origin, path).await?;
    let checkpoint = checkpoint_file(config, access)?;
    let note = read(&checkpoint)?.ok_or_else(|| {
        let message = format!(
            "there is no checkpoint at {}: the log has signed none yet",
            checkpoint.display()
        );
        Failed::NotFound(message)
    })?;
    let last = keys
        .open_earlier(&note)
        .with_context(|| format!("{} is not a checkpoint of this log", checkpoint.display()))?;
    keys.revoke(last, reason.trim(), &SystemEntropy, SystemClock.now())
        .await?;
    field("stands by", format_args!("the tree of {} entries", last.size))?;
    show(&keys, config, access)?;
    line("")?;
    line("Now:")?;
    line("  1. start the log; it signs with the new key")?;
    line(
        "  2. give the output of `remit log key file` to verifiers and witnesses, by a channel that does not depend on the log",
    )?;
    line("  3. tell holders of older receipts to fetch new ones")?;
    Ok(())
}

fn checkpoint_file(config: &Config, access: &Access) -> anyhow::Result<PathBuf> {
    match &config.log.checkpoint_file {
        Some(file) => Ok(file.clone()),
        None => Ok(access.layout()?.checkpoint()),
    }
}

fn show(keys: &LogKeys, config: &Config, access: &Access) -> anyhow::Result<()> {
    // A running log signs with the keys that signed its last checkpoint.
    let last = read(&checkpoint_file(config, access)?)?;
    let signed_last = |vkey: &str| last.as_ref().map(|note| open_checkpoint(note, vkey).is_ok());
    let all = keys.all();
    if access.json {
        let all: Vec<_> = all
            .iter()
            .map(|(vkey, state)| serde_json::json!({ "verifierKey": vkey, "state": words(state, signed_last(vkey)) }))
            .collect();
        output::value(&all)?;
        return Ok(());
    }
    for (vkey, state) in &all {
        let words = words(state, signed_last(vkey));
        let words = match state {
            KeyState::Signing => words.style(good()).to_string(),
            KeyState::Leaving | KeyState::Replaced => words.style(dim()).to_string(),
            KeyState::Revoked { .. } => words.style(bad()).to_string(),
        };
        line(format_args!("{vkey}  {words}"))?;
    }
    Ok(())
}

/// A key's state in words; `signed_last` tells whether it signed the log's last checkpoint, if
/// there is one.
fn words(state: &KeyState, signed_last: Option<bool>) -> String {
    match (state, signed_last) {
        (KeyState::Signing, Some(false)) => "signs from the log's next start".to_owned(),
        (KeyState::Signing, _) => "signs".to_owned(),
        (KeyState::Leaving, _) => "also signs, until the rotation is finished".to_owned(),
        (KeyState::Replaced, Some(true)) => "replaced; stops signing at the log's next start".to_owned(),
        (KeyState::Replaced, _) => "replaced".to_owned(),
        (KeyState::Revoked { last, reason }, _) => {
            format!("revoked; the log stands by its tree of {last} entries: {reason}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_reported_as_signing_before_it_signs() {
        for (state, signed_last, expected) in [
            (KeyState::Signing, None, "signs"),
            (KeyState::Signing, Some(true), "signs"),
            (KeyState::Signing, Some(false), "signs from the log's next start"),
            (KeyState::Replaced, Some(false), "replaced"),
            (KeyState::Replaced, None, "replaced"),
            (
                KeyState::Replaced,
                Some(true),
                "replaced; stops signing at the log's next start",
            ),
        ] {
            assert_eq!(words(&state, signed_last), expected, "{state:?}");
        }
    }
}
