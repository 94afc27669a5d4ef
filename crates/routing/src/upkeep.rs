//! Forgets what is kept for a time only: request ids, and changes in feeds.

use std::{sync::Arc, time::Duration};

pub use journal::REQUEST_ID_WINDOW;
use journal::{Clock, Time};
use tokio_util::sync::CancellationToken;

use crate::store::{Error, Store};

/// How long an agency can go on after a change that it was told of.
pub const FEED_WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Poll interval.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// Rows that one transaction deletes at most: others wait for its locks, in SQLite for all of it.
const CHUNK: u32 = 1_000;

/// Forgets what is older than its window.
#[derive(Clone)]
pub struct Upkeep {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}

impl Upkeep {
    /// Looks every ten minutes until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        while tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
            match self.step(&shutdown).await {
                Ok(forgotten) => tracing::debug!(forgotten, "old request ids and changes in feeds forgotten"),
                Err(error) => tracing::warn!(%error, "what is old cannot be forgotten now"),
            }
        }
    }

    /// Forgets everything that is older than its window by now, or what it gets to before `shutdown`; returns how much.
    pub async fn step(&self, shutdown: &CancellationToken) -> Result<u64, Error> {
        let requests = self.before(REQUEST_ID_WINDOW);
        let requests = self.in_chunks(shutdown, move |store| async move {
            store.forget_requests(requests, CHUNK).await
        });
        let requests = requests.await?;
        let changes = self.before(FEED_WINDOW);
        let changes = self.in_chunks(
            shutdown,
            move |store| async move { store.forget_feed(changes, CHUNK).await },
        );
        Ok(requests + changes.await?)
    }

    fn before(&self, window: Duration) -> Time {
        let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        self.clock.now().plus_seconds(-seconds)
    }

    async fn in_chunks<F>(
        &self,
        shutdown: &CancellationToken,
        forget: impl Fn(Arc<dyn Store>) -> F,
    ) -> Result<u64, Error>
    where
        F: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        let mut total = 0;
        loop {
            let forgotten = journal::uncancelled(forget(Arc::clone(&self.store))).await?;
            total += forgotten;
            if forgotten < u64::from(CHUNK) || shutdown.is_cancelled() {
                return Ok(total);
            }
        }
    }
}
