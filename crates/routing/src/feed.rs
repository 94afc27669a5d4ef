//! Following an agency's cases: what happened after a position, and then what happens.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::Stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    directory::AgencyId,
    store::{Error, FeedItem, Store},
};

/// How often is looked when this process commits nothing: other replicas' commits do not wake it.
const IDLE: Duration = Duration::from_millis(500);
/// Changes that are read at once.
const BATCH: u32 = 128;

/// The changes of the cases that an agency sees or saw.
pub struct Feed {
    store: Arc<dyn Store>,
    agency: AgencyId,
    after: u64,
    read: VecDeque<FeedItem>,
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
    pub fn into_stream(self) -> impl Stream<Item = Result<FeedItem, Error>> + Send {
        futures::stream::unfold(self, |mut feed| async move { Some((feed.next().await?, feed)) })
    }

    async fn next(&mut self) -> Option<Result<FeedItem, Error>> {
        loop {
            if self.failed || self.shutdown.is_cancelled() {
                return None;
            }
            if let Some(item) = self.read.pop_front() {
                self.after = item.position;
                return Some(Ok(item));
            }
            // Before the read: a commit during it wakes the wait below.
            self.commits.borrow_and_update();
            match self.store.feed(&self.agency, self.after, BATCH).await {
                Ok(items) => self.read = items.into(),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
            if self.read.is_empty() {
                tokio::select! {
                    () = self.shutdown.cancelled() => return None,
                    committed = self.commits.changed() => committed.ok()?,
                    () = tokio::time::sleep(IDLE) => {}
                }
            }
        }
    }
}
