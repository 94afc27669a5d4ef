//! `remit log checkpoint`: the signed head.

use audit::Trusted;
use clap::Args;
use journal::{Clock as _, SystemClock};

use super::{Context, broken, get_checkpoint, verify::age};
use crate::output;

/// Print the newest checkpoint: the log's signed head
///
/// A C2SP tlog-checkpoint. Verifies its signature if the log's key is known, and prints its age on
/// standard error; exits with 5 if the signature is invalid.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  remit log checkpoint")]
pub struct Command {}

impl Command {
    /// Runs the command.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let response = get_checkpoint(&context.audit()?).await?;
        let signed_at = match context.key()? {
            None => None,
            Some(key) => {
                let opened = Trusted::parse(&key).and_then(|trusted| {
                    trusted.open(&response.checkpoint)?;
                    trusted.signed_at(&response.checkpoint)
                });
                Some(opened.map_err(|error| broken(error.into()))?)
            }
        };
        if context.json() {
            return output::json(&response);
        }
        output::document(response.checkpoint.as_bytes())?;
        if let Some(signed_at) = signed_at {
            output::aside(format_args!("verified; signed {}", age(signed_at, SystemClock.now())));
        }
        Ok(())
    }
}
