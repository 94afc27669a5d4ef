//! `remit log`: the log that every change is recorded in, one file per subcommand.

mod checkpoint;
mod verify;

use api::audit::{GetCheckpointRequest, audit_service_client::AuditServiceClient};
use audit::{CheckpointError, verify::Fault};
use clap::{Args, Subcommand};

use super::proof::with_causes;
use crate::{
    client::{Access, Failed, Target},
    config::Service,
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
            Action::Checkpoint => checkpoint::run(&audit, key.as_deref(), json).await,
            Action::Verify => {
                let key = key.ok_or_else(|| {
                    Failed::Usage("no key of the log; name it with --key or REMIT_LOG_KEY".to_owned())
                })?;
                verify::run(&audit, &key, json).await
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
