//! Following an agency's cases: what happened after a position, and then what happens.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use decision::directory::AgencyId;
use futures::Stream;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::store::{Error, FeedItem, Store};

/// Poll interval while this process commits nothing: other replicas' commits do not wake it.
const IDLE: Duration = Duration::from_millis(500);
/// Shortest interval between two reads under load. A change after a quiet time is told at once.
const GAP: Duration = Duration::from_millis(50);
/// Changes that are read at once.
const BATCH: u32 = 128;

/// Why a feed ended.
#[derive(Debug)]
pub enum Interrupted {
    /// Changes that it had not read yet were forgotten.
    Forgotten,
    /// They cannot be read.
    Store(Error),
}

/// The changes of the cases that an agency sees or saw.
pub struct Feed {
    store: Arc<dyn Store>,
    agency: AgencyId,
    after: u64,
    read: VecDeque<FeedItem>,
    /// When it was last looked; `None` while there is more to read, and before the first look.
    looked: Option<Instant>,
    commits: watch::Receiver<()>,
    shutdown: CancellationToken,
    failed: bool,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("agency", &self.agency)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// After a position; `commits` changes after each commit of this process.
    pub fn new(
        store: Arc<dyn Store>,
        agency: AgencyId,
        after: u64,
        commits: watch::Receiver<()>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            agency,
            after,
            read: VecDeque::new(),
            looked: None,
            commits,
            shutdown,
            failed: false,
        }
    }

    /// Whose it is.
    pub fn agency(&self) -> &AgencyId {
        &self.agency
    }

    /// Each change once, in the order of commits. Ends at the shutdown, or after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<FeedItem, Interrupted>> + Send {
        futures::stream::unfold(self, |mut feed| async move { Some((feed.next().await?, feed)) })
    }

    async fn next(&mut self) -> Option<Result<FeedItem, Interrupted>> {
        loop {
            if self.failed || self.shutdown.is_cancelled() {
                return None;
            }
            if let Some(item) = self.read.pop_front() {
                self.after = item.position;
                return Some(Ok(item));
            }
            if let Some(looked) = self.looked {
                let shutdown = self.shutdown.clone();
                shutdown.run_until_cancelled(self.something(looked)).await??;
            }
            // Before the read: a commit during it wakes the next wait.
            self.commits.borrow_and_update();
            let now = Instant::now();
            let interrupted = match self.store.feed(&self.agency, self.after, BATCH).await {
                Ok(Some(items)) => {
                    // Full: there may be more, which needs no wait.
                    self.looked = (items.len() < BATCH as usize).then_some(now);
                    self.read = items.into();
                    continue;
                }
                Ok(None) => Interrupted::Forgotten,
                Err(error) => Interrupted::Store(error),
            };
            self.failed = true;
            return Some(Err(interrupted));
        }
    }

    /// Waits until it is worth looking again. `None` when nothing will be committed any more.
    async fn something(&mut self, looked: Instant) -> Option<()> {
        tokio::select! {
            committed = self.commits.changed() => committed.ok()?,
            () = tokio::time::sleep(IDLE) => {}
        }
        tokio::time::sleep_until(looked + GAP).await;
        Some(())
    }
}
