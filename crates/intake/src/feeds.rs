//! Upkeep of senders' feeds: forgets what is older than it is kept, and measures what nobody has
//! confirmed. While the machine's clock is in doubt, nothing is forgotten.

use std::{sync::Arc, time::Duration};

use journal::{Clock, Timekeeper};
use tokio_util::sync::CancellationToken;

use crate::{metrics, service, store::Store};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// Maximum number of changes forgotten per transaction.
const CHUNK: u32 = 1_000;

/// The upkeep task.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time: Timekeeper,
}

impl Upkeep {
    /// Runs until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.look(&shutdown).await {
                tracing::warn!(%error, "old news of senders' feeds cannot be forgotten now");
            }
            if tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    async fn look(&self, shutdown: &CancellationToken) -> Result<(), sql::Error> {
        let now = self.clock.now();
        metrics::unconfirmed(&self.store.unconfirmed_tally().await?, now);
        if !self.time.is_believed().await {
            return Ok(());
        }
        let before = now.plus_seconds(-service::FEEDS_KEPT);
        // Others write in between.
        while self.store.forget_feeds(before, CHUNK).await? >= u64::from(CHUNK) && !shutdown.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
