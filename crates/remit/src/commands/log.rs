//! `remit log`: the signed head of the log, and the verification of all of it.

use api::audit::{GetCheckpointRequest, ListChangesRequest, LoggedChange, audit_service_client::AuditServiceClient};
use audit::{
    CheckpointError,
    verify::{Fault, LogVerifier},
};
use clap::{Args, Subcommand};
use owo_colors::OwoColorize as _;

use super::proof::with_causes;
use crate::{
    client::{Access, Failed, Target},
    config::Service,
    output::{self, Progress, field, good, line},
};

/// Check the log that every change is recorded in
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
}

#[derive(Subcommand, Clone, Copy, Debug)]
enum Action {
    /// Print the newest checkpoint: the log's signed head
    ///
    /// A C2SP tlog-checkpoint. Its signature is verified where the log's key is known; exits with 5 when it does not hold.
    #[command(after_help = "Example:\n  remit log checkpoint")]
    Checkpoint,
    /// Read the whole log and verify it
    ///
    /// Every entry is fetched and checked against the record's chain, the root is rebuilt from the entries and compared
    /// with the signed one. Exits with 5 and names the first fault when something does not hold.
    #[command(after_help = "\
Examples:
  remit log verify
  remit log verify --server http://audit.example:7303 --key remit.example/log+1a2b3c4d+AZ…")]
    Verify,
}

impl Command {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let (access, json) = (&self.access, self.access.json);
        let audit = access.target(Service::Audit, self.server.as_deref())?;
        let key = access.vkey(self.key.as_deref())?;
        match self.action {
            Action::Checkpoint => checkpoint(&audit, key.as_deref(), json).await,
            Action::Verify => {
                let key = key.ok_or_else(|| {
                    Failed::Usage("no key of the log; name it with --key or REMIT_LOG_KEY".to_owned())
                })?;
                verify(&audit, &key, json).await
            }
        }
    }
}

/// What does not hold; a key that is none is a mistake of ours and says nothing of the log.
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

async fn checkpoint(audit: &Target, key: Option<&str>, json: bool) -> anyhow::Result<()> {
    let response = get_checkpoint(audit).await?;
    if let Some(key) = key {
        audit::open_checkpoint(&response.checkpoint, key).map_err(|error| broken(error.into()))?;
    }
    if json {
        return output::json(&response);
    }
    line(response.checkpoint.trim_end())?;
    Ok(())
}

async fn verify(audit: &Target, key: &str, json: bool) -> anyhow::Result<()> {
    // First the head, then what it signs: the log may grow meanwhile.
    let checkpoint = get_checkpoint(audit).await?.checkpoint;
    let signed = audit::open_checkpoint(&checkpoint, key).map_err(|error| broken(error.into()))?;
    let progress = Progress::new(json);
    let mut verifier = LogVerifier::new();
    let checked = read(audit, signed.size, &mut verifier, &progress).await;
    progress.clear();
    checked?;
    verifier.finish(&checkpoint, key).map_err(broken)?;
    if json {
        let root = data_encoding::BASE64.encode(&signed.root);
        let verified = serde_json::json!({
            "entries": signed.size, "records": verifier.records(), "root": root, "checkpoint": checkpoint,
        });
        line(serde_json::to_string_pretty(&verified)?)?;
        return Ok(());
    }
    line("the log is whole".style(good()))?;
    field("entries", format_args!("{}, each the next of its record", signed.size))?;
    field("records", verifier.records())?;
    field(
        "root",
        format_args!(
            "{}, rebuilt from the entries, as signed",
            data_encoding::BASE64.encode(&signed.root)
        ),
    )?;
    field("key", key)?;
    Ok(())
}

/// Reads the first `size` entries into the verifier.
async fn read(audit: &Target, size: u64, verifier: &mut LogVerifier, progress: &Progress) -> anyhow::Result<()> {
    let mut page_token = String::new();
    while verifier.size() < size {
        let request = ListChangesRequest {
            page_size: 1_000,
            page_token,
            start_index: 0,
        };
        let page = AuditServiceClient::new(audit.channel.clone())
            .list_changes(request)
            .await
            .map_err(Failed::call(&audit.address))?
            .into_inner();
        for LoggedChange { index, entry } in page.changes {
            if verifier.size() == size {
                break;
            }
            let index =
                u64::try_from(index).map_err(|_| Failed::Unverified(format!("an entry has the index {index}")))?;
            verifier.push(index, &entry).map_err(broken)?;
        }
        progress.show(format_args!("{} of {size} entries", verifier.size()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            // What is missing shows when the count is compared with the signed one.
            break;
        }
    }
    Ok(())
}
