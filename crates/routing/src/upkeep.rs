//! Deletes what is kept for a limited time: request ids, and changes in feeds. While the machine's
//! clock is in doubt, nothing is deleted.

use std::{sync::Arc, time::Duration};

pub use journal::REQUEST_ID_WINDOW;
use journal::{Clock, Time, Timekeeper, Writer};
use tokio_util::sync::CancellationToken;

use crate::store::{Error, Store};

/// Retention of changes in feeds: until then, an agency can resume after any change it was sent.
pub const FEED_WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Interval between deletions.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Maximum number of rows deleted by one transaction: others wait for its locks, in SQLite for all
/// of it.
const CHUNK: u32 = 1_000;

/// Deletes what is older than its window.
#[derive(Clone)]
pub struct Upkeep {
    /// The store to delete from.
    pub store: Arc<dyn Store>,
    /// Runs the deletions.
    pub writer: Writer,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Tells whether that time can be believed.
    pub time: Timekeeper,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}

impl Upkeep {
    /// Deletes at once and then every ten minutes, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            self.poll(&shutdown).await;
            if tokio::time::timeout(INTERVAL, shutdown.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Deletes what is due, if the clock can be believed.
    pub async fn poll(&self, shutdown: &CancellationToken) {
        if !self.time.is_believed().await {
            return;
        }
        match self.step(shutdown).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "deleted old request ids and changes in feeds"),
            Err(error) => tracing::warn!(%error, "cannot delete old request ids or changes in feeds"),
        }
    }

    /// Deletes everything older than its window, or as much as it can before `shutdown`, and
    /// returns the number of rows.
    ///
    /// # Errors
    /// The first of the store. A failure of one kind of row does not keep the other.
    pub async fn step(&self, shutdown: &CancellationToken) -> Result<u64, Error> {
        let before = self.before(REQUEST_ID_WINDOW);
        let requests = self.in_chunks(shutdown, move |store| async move {
            store.forget_requests(before, CHUNK).await
        });
        let requests = requests.await;
        let before = self.before(FEED_WINDOW);
        let changes = self.in_chunks(
            shutdown,
            move |store| async move { store.forget_feed(before, CHUNK).await },
        );
        let changes = changes.await;
        Ok(requests? + changes?)
    }

    fn before(&self, window: Duration) -> Time {
        let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        self.clock.now().plus_seconds(-seconds)
    }

    async fn in_chunks<F>(
        &self,
        shutdown: &CancellationToken,
        delete: impl Fn(Arc<dyn Store>) -> F,
    ) -> Result<u64, Error>
    where
        F: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        let mut total = 0;
        loop {
            let deleted = self.writer.write(&self.store, &delete).await?;
            total += deleted;
            if deleted < u64::from(CHUNK) || shutdown.is_cancelled() {
                return Ok(total);
            }
        }
    }
}
