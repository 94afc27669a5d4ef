//! `remit log checkpoint`: the signed head.

use clap::Args;

use super::{Context, broken, get_checkpoint};
use crate::output::{self, line};

/// Print the newest checkpoint: the log's signed head
///
/// A C2SP tlog-checkpoint. Its signature is verified where the log's key is known; exits with 5 when it does not hold.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  remit log checkpoint")]
pub struct Command {}

impl Command {
    /// Does it.
    pub(super) async fn run(self, context: Context<'_>) -> anyhow::Result<()> {
        let response = get_checkpoint(&context.audit()?).await?;
        if let Some(key) = context.key()? {
            audit::open_checkpoint(&response.checkpoint, &key).map_err(|error| broken(error.into()))?;
        }
        if context.json() {
            return output::json(&response);
        }
        line(response.checkpoint.trim_end())?;
        Ok(())
    }
}
