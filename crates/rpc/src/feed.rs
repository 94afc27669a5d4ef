//! Feeds: what happened after a position, and then each new thing, for as long as somebody reads.
//!
//! A service gives a [`Source`], which reads from its store; here stands when it is read, how many
//! feeds are open, and how one ends.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::Stream;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// Poll interval while this process commits nothing: other replicas' commits do not wake it.
const IDLE: Duration = Duration::from_millis(500);
/// Minimum interval between two reads under load. A change after a quiet time is sent at once.
const GAP: Duration = Duration::from_millis(50);
/// Maximum number of changes per read.
pub const BATCH: u32 = 128;
/// Maximum number of open feeds of one reader, and of all: each reads twice a second while nothing
/// happens.
const PER_READER: usize = 32;
const IN_ALL: usize = 1_024;

/// What was read; `None` where some of it was deleted since.
pub type Read<S> = Result<Option<Vec<(u64, <S as Source>::Item)>>, <S as Source>::Error>;

/// Where a feed is read from.
pub trait Source: Sized + Send + 'static {
    /// Something that happened.
    type Item: Send;
    /// Why it could not be read.
    type Error: Send;

    /// What happened after a position, in the order of commits, at most `limit`, each with its own
    /// position; `None` if some of it was deleted since.
    fn read(&mut self, after: u64, limit: u32) -> impl Future<Output = Read<Self>> + Send;
}

/// Why a feed ended.
#[derive(Debug)]
pub enum Interrupted<E> {
    /// Changes it had not read yet were deleted.
    Forgotten,
    /// Its source failed.
    Source(E),
}

/// Counts the open feeds of this process, by reader.
#[derive(Clone, Debug, Default)]
pub struct OpenFeeds(Arc<Mutex<BTreeMap<String, usize>>>);

impl OpenFeeds {
    /// Admits one more feed of a reader; `None` above a limit.
    pub fn admit(&self, reader: &str) -> Option<Admission> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(reader).copied().unwrap_or_default();
        if own >= PER_READER || all >= IN_ALL {
            return None;
        }
        open.insert(reader.to_owned(), own + 1);
        Some(Admission {
            reader: reader.to_owned(),
            open: self.clone(),
        })
    }
}

/// Counts as an open feed until dropped.
#[derive(Debug)]
pub struct Admission {
    reader: String,
    open: OpenFeeds,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.reader) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(open.remove(&self.reader)),
        }
    }
}

/// An open feed.
pub struct Feed<S: Source> {
    source: S,
    admission: Admission,
    after: u64,
    items: VecDeque<(u64, S::Item)>,
    /// Time of the last read; `None` before the first, and while there is more to read.
    last_read: Option<Instant>,
    commits: watch::Receiver<()>,
    shutdown: CancellationToken,
    failed: bool,
}

impl<S: Source> std::fmt::Debug for Feed<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("reader", &self.admission.reader)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl<S: Source> Feed<S> {
    /// The feed after a position. `commits` changes after each commit of this process.
    pub fn new(
        source: S,
        admission: Admission,
        after: u64,
        commits: watch::Receiver<()>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            source,
            admission,
            after,
            items: VecDeque::new(),
            last_read: None,
            commits,
            shutdown,
            failed: false,
        }
    }

    /// Where it is read from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Each change once with its position, in the order of commits. Ends at the shutdown, or after
    /// an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<(u64, S::Item), Interrupted<S::Error>>> + Send {
        futures::stream::unfold(self, |mut feed| async move { Some((feed.next().await?, feed)) })
    }

    /// The next of [`Self::into_stream`]. Nothing is lost when it is dropped before it is done.
    pub async fn next(&mut self) -> Option<Result<(u64, S::Item), Interrupted<S::Error>>> {
        loop {
            if self.failed || self.shutdown.is_cancelled() {
                return None;
            }
            if let Some((position, item)) = self.items.pop_front() {
                self.after = position;
                return Some(Ok((position, item)));
            }
            if let Some(last_read) = self.last_read {
                let shutdown = self.shutdown.clone();
                shutdown.run_until_cancelled(self.next_read(last_read)).await??;
            }
            // Before the read: a commit during it wakes the next wait.
            self.commits.borrow_and_update();
            let now = Instant::now();
            let interrupted = match self.source.read(self.after, BATCH).await {
                Ok(Some(items)) => {
                    // After a full batch there may be more, which needs no wait.
                    self.last_read = (items.len() < BATCH as usize).then_some(now);
                    self.items = items.into();
                    continue;
                }
                Ok(None) => Interrupted::Forgotten,
                Err(error) => Interrupted::Source(error),
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
    fn open_feeds_are_limited_per_reader_and_in_all() {
        let feeds = OpenFeeds::default();
        let reader = |i: usize| format!("police-{i}");
        let mut admitted = Vec::new();
        for i in 0..IN_ALL / PER_READER {
            admitted.extend((0..PER_READER).map(|_| feeds.admit(&reader(i)).unwrap()));
            if i == 0 {
                assert!(feeds.admit(&reader(0)).is_none(), "one more than a reader may have");
            }
        }
        assert!(feeds.admit(&reader(1_000)).is_none(), "one more than all may have");
        admitted.pop();
        admitted.push(feeds.admit(&reader(1_000)).unwrap());
        assert!(feeds.admit(&reader(1_001)).is_none());
        drop(admitted);
        assert!(feeds.0.lock().unwrap().is_empty(), "nothing is kept of closed feeds");
    }
}
