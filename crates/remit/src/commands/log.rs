//! `remit log`: the log of all changes. One file per subcommand.

mod checkpoint;
mod export;
mod gaps;
mod key;
mod kinds;
mod receipt;
mod reconcile;
mod recover;
mod show;
mod source;
mod stats;
mod trace;
mod unfreeze;
mod verify;

use std::path::{Path, PathBuf};

use api::audit::{GetCheckpointRequest, audit_service_client::AuditServiceClient};
use audit::{CheckpointError, verify::Fault, with_statements};
use clap::{Args, Subcommand};
use host::config::Service;
use witness::foreign;

use super::proof::with_causes;
use crate::client::{Access, Failed, Target};

/// Verify and manage the log of all changes
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    /// Address of audit, such as http://127.0.0.1:7303
    #[arg(
        long,
        global = true,
        env = "REMIT_AUDIT",
        value_name = "URL",
        help_heading = "Connection"
    )]
    server: Option<String>,
    /// The log's verifier key [default: log.vkey of the data directory]
    #[arg(long, global = true, env = "REMIT_LOG_KEY", value_name = "KEY")]
    key: Option<String>,
    /// File with the log's verifier key and its statements about its keys, as printed by `remit log
    /// key file`. With --key, only the key of --key is trusted, and the file's statements lead from
    /// an old key to its replacement
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

// Each type documents its subcommand.
#[derive(Subcommand, Clone, Debug)]
enum Action {
    Checkpoint(checkpoint::Command),
    Verify(verify::Command),
    Gaps(gaps::Command),
    Unfreeze(unfreeze::Command),
    Export(export::Command),
    Show(show::Command),
    Trace(trace::Command),
    Stats(stats::Command),
    Receipt(receipt::Give),
    VerifyReceipt(receipt::Verify),
    Key(key::Command),
    Reconcile(reconcile::Command),
    Recover(recover::Command),
}

/// State shared by all subcommands.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    access: &'a Access,
    server: Option<&'a str>,
    key: Option<&'a str>,
    ca_file: Option<&'a Path>,
    key_file: Option<&'a Path>,
}

/// Source of a verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFrom {
    /// Given on the command line.
    Named,
    /// From the data directory.
    DataDir,
    /// From the folder to verify; proves nothing by itself.
    Folder,
}

impl KeyFrom {
    fn name(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::DataDir => "data_dir",
            Self::Folder => "folder",
        }
    }
}

impl Context<'_> {
    /// The audit server.
    fn audit(&self) -> anyhow::Result<Target> {
        self.access.target(Service::Audit, self.server)
    }

    /// Address of the log's public files, at audit or at any web server. They need no token.
    fn address(&self) -> anyhow::Result<String> {
        match self.server {
            Some(server) if server.starts_with("https://") => Ok(server.to_owned()),
            server => self.access.address(Service::Audit, server),
        }
    }

    /// The log's verifier key, if known.
    fn key(&self) -> anyhow::Result<Option<String>> {
        Ok(self.key_and_origin()?.map(|(key, _)| key))
    }

    /// The log's verifier key and its source, if known.
    fn key_and_origin(&self) -> anyhow::Result<Option<(String, KeyFrom)>> {
        if let Some(key) = self.key
            && !key.contains('+')
            && Path::new(key).is_file()
        {
            return Err(Failed::Usage(format!("--key: {key} is a file; use --key-file for it")).into());
        }
        let read = |file: &Path| {
            let read = foreign::read_text(file, foreign::SMALL);
            read.map_err(|error| Failed::Usage(format!("--key-file: {} cannot be read: {error}", file.display())))
        };
        Ok(match (self.key, self.key_file) {
            (Some(key), None) => Some((key.trim().to_owned(), KeyFrom::Named)),
            (Some(key), Some(file)) => Some((with_statements(key, &read(file)?), KeyFrom::Named)),
            (None, Some(file)) => Some((read(file)?.trim().to_owned(), KeyFrom::Named)),
            (None, None) => self.access.vkey(None)?.map(|key| (key, KeyFrom::DataDir)),
        })
    }

    /// The log's verifier key, or an error.
    fn needed_key(&self) -> anyhow::Result<String> {
        let missing = || Failed::Usage("no log key; set it with --key, --key-file or REMIT_LOG_KEY".to_owned());
        Ok(self.key()?.ok_or_else(missing)?)
    }

    fn json(&self) -> bool {
        self.access.json
    }
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let ca_file = self.access.ca_file()?;
        let context = Context {
            access: &self.access,
            server: self.server.as_deref(),
            key: self.key.as_deref(),
            ca_file: ca_file.as_deref(),
            key_file: self.key_file.as_deref(),
        };
        match self.action {
            Action::Checkpoint(command) => command.run(context).await,
            Action::Verify(command) => command.run(context).await,
            Action::Gaps(command) => command.run(context).await,
            Action::Unfreeze(command) => command.run(context).await,
            Action::Export(command) => command.run(context).await,
            Action::Show(command) => command.run(context).await,
            Action::Trace(command) => command.run(context).await,
            Action::Stats(command) => command.run(context).await,
            Action::Receipt(command) => command.run(context).await,
            Action::VerifyReceipt(command) => command.run(context),
            Action::Key(command) => command.run(context).await,
            Action::Reconcile(command) => command.run(context).await,
            Action::Recover(command) => command.run(context).await,
        }
    }
}

/// A fault as an error. A malformed key is a usage error and says nothing about the log.
fn broken(fault: Fault) -> Failed {
    match fault {
        Fault::Checkpoint(error @ CheckpointError::VerifierKey(_)) => Failed::Usage(with_causes(&error)),
        fault => Failed::Unverified(with_causes(&fault)),
    }
}

async fn get_checkpoint(audit: &Target) -> Result<api::audit::GetCheckpointResponse, Failed> {
    let response = AuditServiceClient::new(audit.channel.clone())
        .get_checkpoint(GetCheckpointRequest {})
        .await;
    Ok(response.map_err(Failed::call(&audit.address))?.into_inner())
}
