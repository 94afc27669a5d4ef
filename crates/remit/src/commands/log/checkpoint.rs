//! `remit log checkpoint`: the signed head.

use super::{broken, get_checkpoint};
use crate::{
    client::Target,
    output::{self, line},
};

/// Prints the newest checkpoint, verified where the key is known.
pub(super) async fn run(audit: &Target, key: Option<&str>, json: bool) -> anyhow::Result<()> {
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
