//! Deletes invisible rows: of loads that were replaced, abandoned, or left by a process that ended.

use std::{sync::Arc, time::Duration};

use journal::{Clock, Timekeeper};
use tokio_util::sync::CancellationToken;

use crate::store::{Error, Store};

/// Interval between sweeps.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// Maximum time without activity in a load. Each transaction counts as activity.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// Pause between portions, to let other writers in.
const PAUSE: Duration = Duration::from_millis(20);

/// Sweeps every ten minutes until `shutdown`, while the clock can be believed.
pub async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>, time: Timekeeper, shutdown: CancellationToken) {
    while tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
        if !time.is_believed().await {
            continue;
        }
        match step(&store, &*clock, &shutdown).await {
            Ok(portions) => tracing::debug!(portions, "swept the operator register"),
            Err(error) => tracing::warn!(%error, "sweeping the operator register failed"),
        }
    }
}

/// Sweeps everything due, until `shutdown`. Returns the number of portions.
pub async fn step(store: &Arc<dyn Store>, clock: &dyn Clock, shutdown: &CancellationToken) -> Result<u64, Error> {
    let silence = i64::try_from(SILENCE.as_secs()).unwrap_or(i64::MAX);
    let silent = clock.now().plus_seconds(-silence);
    let mut portions = 0;
    let mut sweep = None;
    loop {
        sweep = store.sweep(sweep, silent).await?;
        if sweep.is_none() || shutdown.is_cancelled() {
            return Ok(portions);
        }
        portions += 1;
        tokio::time::sleep(PAUSE).await;
    }
}
