//! Sequences changes in the log: those of concurrent calls together, in one transaction.
//!
//! There is one lane, because there is one head row: a second lane would wait for the first with an
//! open transaction.
//!
//! The queue is bounded in bytes. A call that finds no room is refused at once
//! ([`Sequencer::append`]); a stream waits for room ([`Sequencer::enqueue`]) without reading on, so
//! that flow control slows its sender.

use std::sync::Arc;

use api::event::StateChange;
use futures::FutureExt as _;
use journal::{CommitError, Committer, Writer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::{
    check::{AppendRefusal, Checked, Verdict, check},
    metrics,
    store::{Store, StoreError},
    vitals::Vitals,
};

/// Why an append failed or its outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// This process must not write any more.
    #[error("this process no longer writes the log")]
    Halted,
    /// The producer's past has changed. Its changes are refused until an operator has examined it.
    #[error("the producer `{0}` is frozen")]
    Frozen(String),
    /// The transaction failed or did not answer.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Maximum number of calls per commit; each has up to a thousand changes.
const CALLS: usize = 64;
/// Maximum size of queued and running changes, in bytes.
const QUEUE_BYTES: u32 = 64 << 20;
/// Overhead of a change in the queue, in bytes.
const CHANGE_BYTES: usize = 512;

type Calls = Committer<Call, Result<Vec<Verdict>, Fenced>>;

/// A call's valid changes, and the room they occupy in the queue until answered.
struct Call {
    changes: Vec<Checked>,
    _room: OwnedSemaphorePermit,
}

/// Another process has taken over.
struct Fenced;

/// The only way into the log.
#[derive(Clone)]
pub(crate) struct Sequencer {
    calls: Calls,
    room: Arc<Semaphore>,
    vitals: Arc<Vitals>,
}

impl Sequencer {
    /// `writer` tells of each commit.
    pub fn start(store: Arc<dyn Store>, writer: &Writer, vitals: Arc<Vitals>) -> Self {
        let fenced = Arc::clone(&vitals);
        let calls = writer.committer(journal::Commands::Entries, 1, CALLS, move |group: Arc<Vec<Call>>| {
            let (store, vitals) = (Arc::clone(&store), Arc::clone(&fenced));
            async move {
                let changes: Vec<&[Checked]> = group.iter().map(|call| &*call.changes).collect();
                match store.append_calls(&changes).await {
                    Ok(verdicts) => Ok(verdicts.into_iter().map(Ok).collect()),
                    // An answer like any other, and not a failure: run again, it would be the same.
                    Err(StoreError::Fenced) => {
                        vitals.halt(&StoreError::Fenced);
                        Ok(group.iter().map(|_| Err(Fenced)).collect())
                    }
                    Err(StoreError::Sql(error)) => Err(error),
                }
            }
            .boxed()
        });
        let room = Arc::new(Semaphore::new(QUEUE_BYTES as usize));
        Self { calls, room, vitals }
    }

    /// Checks and appends changes from the service `source`. Returns a verdict for each change, in
    /// order; those with `Ok` are durable.
    ///
    /// [`CommitError::Overloaded`] if the queue is full.
    pub async fn append(&self, source: &str, changes: Vec<StateChange>) -> Result<Vec<Verdict>, AppendError> {
        let checked = CheckedCall::of(source, changes);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(checked.bytes())
            .map_err(|error| match error {
                TryAcquireError::NoPermits => CommitError::Overloaded,
                TryAcquireError::Closed => CommitError::Stopping,
            })?;
        self.submit(source, checked, room)?.await
    }

    /// Like [`Sequencer::append`], but waits for room, and returns once the changes are queued:
    /// later calls come behind them. The returned future gives the verdicts.
    pub async fn enqueue(
        &self,
        source: &str,
        changes: Vec<StateChange>,
    ) -> Result<impl Future<Output = Result<Vec<Verdict>, AppendError>> + use<>, AppendError> {
        let checked = CheckedCall::of(source, changes);
        let room = Arc::clone(&self.room).acquire_many_owned(checked.bytes()).await;
        self.submit(source, checked, room.map_err(|_| CommitError::Stopping)?)
    }

    fn submit(
        &self,
        source: &str,
        CheckedCall { checks, sound }: CheckedCall,
        room: OwnedSemaphorePermit,
    ) -> Result<impl Future<Output = Result<Vec<Verdict>, AppendError>> + use<>, AppendError> {
        if self.vitals.halted.is_cancelled() {
            return Err(AppendError::Halted);
        }
        let placed = self.calls.submit(Call {
            changes: sound,
            _room: room,
        })?;
        let source = source.to_owned();
        Ok(async move {
            let placed = placed.await?.map_err(|Fenced| AppendError::Halted)?;
            let refused: Vec<Verdict> = checks.iter().filter_map(|checked| checked.err().map(Err)).collect();
            metrics::judged(&source, placed.iter().chain(&refused));
            let mut placed = placed.into_iter();
            checks
                .into_iter()
                .map(|checked| match checked {
                    // The committer returns one verdict per valid change.
                    Ok(()) => match placed.next() {
                        Some(Err(AppendRefusal::Frozen)) => Err(AppendError::Frozen(source.clone())),
                        Some(verdict) => Ok(verdict),
                        None => Err(CommitError::Stopping.into()),
                    },
                    Err(refusal) => Ok(Err(refusal)),
                })
                .collect()
        })
    }
}

/// A call whose changes were checked individually.
struct CheckedCall {
    /// Which changes are valid, in the call's order.
    checks: Vec<Result<(), AppendRefusal>>,
    sound: Vec<Checked>,
}

impl CheckedCall {
    fn of(source: &str, changes: Vec<StateChange>) -> Self {
        let mut sound = Vec::with_capacity(changes.len());
        let checks = changes
            .into_iter()
            .map(|change| check(source, change).map(|checked| sound.push(checked)))
            .collect();
        Self { checks, sound }
    }

    /// The room it occupies in the queue; at most the whole queue.
    fn bytes(&self) -> u32 {
        let bytes: usize = self.sound.iter().map(|change| change.size() + CHANGE_BYTES).sum();
        u32::try_from(bytes).unwrap_or(u32::MAX).min(QUEUE_BYTES)
    }
}
