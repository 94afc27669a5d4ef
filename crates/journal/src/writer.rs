//! Writes of a service: each on a task of its own, with a notification after each commit.
//!
//! A cancelled call is dropped wherever it waits. The database comes to no harm: a dropped
//! transaction is rolled back, and its connection is repaired before its next use. But a call may
//! be dropped after its `COMMIT` was sent: then the change is durable, and nobody would notify
//! relays and watchers, or do what the store does after a commit, such as switching this process to
//! a new version. So a write that has begun runs to its end.

use std::{sync::Arc, time::Instant};

use futures::future::BoxFuture;
use sql::Error;
use telemetry::metrics::Service;
use tokio::sync::{Notify, watch};

use crate::{
    Commands, Committer,
    metrics::{self, OfCommits},
};

/// Runs the writes of a service.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Followers>, Service);

#[derive(Debug)]
struct Followers {
    woken: Vec<Arc<Notify>>,
    commits: watch::Sender<()>,
}

impl Writer {
    /// Notifies these after each commit: relays, for instance.
    pub fn new(woken: impl IntoIterator<Item = Arc<Notify>>) -> Self {
        let followers = Arc::new(Followers {
            woken: woken.into_iter().collect(),
            commits: watch::Sender::new(()),
        });
        Self(followers, Service::named(""))
    }

    /// The service that its writes are measured for.
    #[must_use]
    pub fn of(self, service: &str) -> Self {
        Self(self.0, Service::named(service))
    }

    /// Runs a write of a store to its end, even if the caller goes away, and notifies of the
    /// commit.
    ///
    /// Retrying is up to the store ([`sql::transact`]), which knows what a transaction consists of.
    ///
    /// # Errors
    /// Those of the write; also if it panics, with the place in the log.
    pub async fn write<S, T, E, F>(&self, store: &Arc<S>, work: impl FnOnce(Arc<S>) -> F) -> Result<T, E>
    where
        S: ?Sized,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (work, writer) = (work(Arc::clone(store)), self.clone());
        let written = tokio::spawn(async move {
            let begun = Instant::now();
            let outcome = work.await;
            metrics::wrote(writer.1, begun.elapsed(), outcome.is_ok());
            // Also after a failure: the commit may have succeeded and its answer been lost.
            writer.committed();
            outcome
        });
        written.await.unwrap_or_else(|_| {
            Err(E::from(Error::Damaged {
                what: "task",
                problem: "it was stopped or panicked".to_owned(),
            }))
        })
    }

    /// Starts a group commit: `lanes` threads that run `apply` on groups of at most `most` commands
    /// and notify after each group. `apply` commits one transaction and answers each command, in
    /// order. The threads end when the last handle is dropped and the queue is empty.
    ///
    /// `what` names the commands in metrics.
    pub fn committer<I, O, A>(&self, what: Commands, lanes: usize, most: usize, apply: A) -> Committer<I, O>
    where
        I: Send + Sync + 'static,
        O: Send + 'static,
        A: Fn(Arc<Vec<I>>) -> BoxFuture<'static, Result<Vec<O>, Error>> + Send + Sync + 'static,
    {
        let writer = self.clone();
        Committer::start(OfCommits(self.1, what), lanes, most, move |group| {
            let (applied, writer) = (apply(group), writer.clone());
            Box::pin(async move {
                let outcome = applied.await;
                writer.committed();
                outcome
            })
        })
    }

    /// Notifies of a possible commit that this writer did not run.
    pub fn committed(&self) {
        for woken in &self.0.woken {
            woken.notify_one();
        }
        self.0.commits.send_replace(());
    }

    /// Changes after each commit of this process.
    pub fn commits(&self) -> watch::Receiver<()> {
        self.0.commits.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::FutureExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    fn writer() -> (Writer, Arc<Notify>) {
        let relay = Arc::new(Notify::new());
        (Writer::new([Arc::clone(&relay)]), relay)
    }

    #[tokio::test]
    async fn a_write_whose_caller_went_away_is_run_to_its_end_and_told_of() {
        let (writer, relay) = writer();
        let (store, begun, proceed) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(Notify::new()),
            Arc::new(Semaphore::new(0)),
        );
        let mut commits = writer.commits();
        let call = writer.write(&store, |store| {
            let (begun, proceed) = (Arc::clone(&begun), Arc::clone(&proceed));
            async move {
                begun.notify_one();
                let _go = proceed.acquire().await;
                store.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Error>(())
            }
        });
        // The caller gives up while the write is under way.
        tokio::select! {
            _ = call => panic!("nothing let it proceed"),
            () = begun.notified() => {}
        }
        proceed.add_permits(1);
        relay.notified().await;
        commits.changed().await.unwrap();
        assert_eq!(store.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn failures_and_panics_reach_the_caller_and_a_failure_is_told_of() {
        let (writer, relay) = writer();
        let store = Arc::new(());
        let failed = writer.write(&store, |_| async { Err::<(), _>(Error::Injected("after applying")) });
        assert!(matches!(failed.await, Err(Error::Injected(_))));
        relay.notified().await;
        let panicked = writer.write(&store, |_| async {
            assert!(Arc::strong_count(&Arc::new(())) > 1, "always");
            Ok::<_, Error>(())
        });
        assert!(matches!(panicked.await, Err(Error::Damaged { what: "task", .. })));
    }

    #[tokio::test]
    async fn each_group_is_told_of_before_its_members_are_answered() {
        let (writer, relay) = writer();
        let mut commits = writer.commits();
        let committer = writer.committer(Commands::Others, 1, 8, |group: Arc<Vec<u32>>| {
            async move { Ok(group.to_vec()) }.boxed()
        });
        assert_eq!(committer.commit(7).await.unwrap(), 7);
        assert!(commits.has_changed().unwrap());
        commits.mark_unchanged();
        relay.notified().await;
    }
}
