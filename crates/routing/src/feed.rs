//! An agency's feed: the changes of its cases after a position, and then each new one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use decision::directory::AgencyId;
use futures::Stream;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::store::{Error, FeedItem, Store};

/// Poll interval while this process commits nothing: other replicas' commits do not wake it.
const IDLE: Duration = Duration::from_millis(500);
/// Minimum interval between two reads under load. A change after a quiet time is sent at once.
const GAP: Duration = Duration::from_millis(50);
/// Maximum number of changes per read.
const BATCH: u32 = 128;
/// Maximum number of open feeds of one agency, and of all: each reads twice a second while nothing
/// happens.
const PER_AGENCY: usize = 32;
const IN_ALL: usize = 1_024;

/// Why a feed ended.
#[derive(Debug)]
pub enum Interrupted {
    /// Changes it had not read yet were deleted.
    Forgotten,
    /// The store failed.
    Store(Error),
}

/// Counts the open feeds of this process.
#[derive(Clone, Debug, Default)]
pub struct OpenFeeds(Arc<Mutex<BTreeMap<AgencyId, usize>>>);

impl OpenFeeds {
    /// Admits one more feed of an agency; `None` above a limit.
    pub fn admit(&self, agency: AgencyId) -> Option<Admission> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&agency).copied().unwrap_or_default();
        if own >= PER_AGENCY || all >= IN_ALL {
            return None;
        }
        open.insert(agency.clone(), own + 1);
        let open = self.clone();
        Some(Admission { agency, open })
    }
}

/// Counts as an open feed until dropped.
#[derive(Debug)]
pub struct Admission {
    agency: AgencyId,
    open: OpenFeeds,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.agency) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(open.remove(&self.agency)),
        }
    }
}

/// The changes of the cases that an agency sees or saw.
pub struct Feed {
    store: Arc<dyn Store>,
    admission: Admission,
    after: u64,
    items: VecDeque<FeedItem>,
    /// Time of the last read; `None` before the first, and while there is more to read.
    last_read: Option<Instant>,
    commits: watch::Receiver<()>,
    shutdown: CancellationToken,
    failed: bool,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("agency", self.agency())
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// The feed after a position. `commits` changes after each commit of this process.
    pub fn new(
        store: Arc<dyn Store>,
        admission: Admission,
        after: u64,
        commits: watch::Receiver<()>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            admission,
            after,
            items: VecDeque::new(),
            last_read: None,
            commits,
            shutdown,
            failed: false,
        }
    }

    /// The agency.
    pub fn agency(&self) -> &AgencyId {
        &self.admission.agency
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
            if let Some(item) = self.items.pop_front() {
                self.after = item.position;
                return Some(Ok(item));
            }
            if let Some(last_read) = self.last_read {
                let shutdown = self.shutdown.clone();
                shutdown.run_until_cancelled(self.next_read(last_read)).await??;
            }
            // Before the read: a commit during it wakes the next wait.
            self.commits.borrow_and_update();
            let now = Instant::now();
            let interrupted = match self.store.feed(self.agency(), self.after, BATCH).await {
                Ok(Some(items)) => {
                    // After a full batch there may be more, which needs no wait.
                    self.last_read = (items.len() < BATCH as usize).then_some(now);
                    self.items = items.into();
                    continue;
                }
                Ok(None) => Interrupted::Forgotten,
                Err(error) => Interrupted::Store(error),
            };
            self.failed = true;
            return Some(Err(interrupted));
        }
    }

    /// Waits until the next read is due. `None` if there will be no more commits.
    async fn next_read(&mut self, last_read: Instant) -> Option<()> {
        tokio::select! {
            committed = self.commits.changed() => committed.ok()?,
            () = tokio::time::sleep(IDLE) => {}
        }
        tokio::time::sleep_until(last_read + GAP).await;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_feeds_are_limited_per_agency_and_in_all() {
        let feeds = OpenFeeds::default();
        let agency = |i: usize| AgencyId::new(&format!("police-{i}")).unwrap();
        let mut admitted = Vec::new();
        for i in 0..IN_ALL / PER_AGENCY {
            admitted.extend((0..PER_AGENCY).map(|_| feeds.admit(agency(i)).unwrap()));
            if i == 0 {
                assert!(feeds.admit(agency(0)).is_none(), "one more than an agency may have");
            }
        }
        assert!(feeds.admit(agency(1_000)).is_none(), "one more than all may have");
        admitted.pop();
        admitted.push(feeds.admit(agency(1_000)).unwrap());
        assert!(feeds.admit(agency(1_001)).is_none());
        drop(admitted);
        assert!(feeds.0.lock().unwrap().is_empty(), "nothing is kept of closed feeds");
    }
}
