//! Group commit: simultaneous commands of many callers share one durable transaction.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use sql::Error;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::metrics::OfCommits;

/// Why a command was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The queue is full. Nothing was done.
    #[error("too many changes wait to be committed")]
    Overloaded,
    /// The service is stopping. Nothing was done.
    #[error("the service is stopping")]
    Stopping,
    /// The transaction failed. Nothing was done, unless the connection was lost during the commit.
    #[error("the transaction failed")]
    Failed(#[source] Arc<Error>),
}

/// A command, its caller, and since when it waits.
type Waiting<I, O> = ((I, oneshot::Sender<Result<O, CommitError>>), Instant);

/// Queues commands and commits them in groups.
///
/// A group is made of the commands that arrived during the previous commit, so a single caller
/// waits for nobody. Under load a group also waits a moment for the callers that were just
/// answered. A failed group is run again member by member, so that a failing member never fails its
/// neighbours.
#[derive(Debug)]
pub struct Committer<I, O> {
    queue: mpsc::Sender<Waiting<I, O>>,
}

impl<I, O> Clone for Committer<I, O> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

/// Size of a group after which the next one waits for company.
const LARGE: usize = 16;
/// Longest wait in all, and for the next command.
const LINGER: Duration = Duration::from_millis(2);
const GAP: Duration = Duration::from_micros(200);
/// Longest queue; beyond it callers are refused.
const QUEUE: usize = 4_096;

impl<I: Send + Sync + 'static, O: Send + 'static> Committer<I, O> {
    /// See [`Writer::committer`](crate::Writer::committer).
    pub(crate) fn start<A>(metrics: OfCommits, lanes: usize, most: usize, apply: A) -> Self
    where
        A: Fn(Arc<Vec<I>>) -> BoxFuture<'static, Result<Vec<O>, Error>> + Send + Sync + 'static,
    {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let apply = Arc::new(apply);
        let runtime = tokio::runtime::Handle::current();
        for _ in 0..lanes {
            let lane = lane(metrics, Arc::clone(&waiting), most, Arc::clone(&apply));
            let runtime = runtime.clone();
            // A thread, because as a task each step of the transaction would queue behind the
            // requests that wait for it.
            std::thread::spawn(move || runtime.block_on(lane));
        }
        Self { queue }
    }

    /// Commits a command. When this returns `Ok`, it is durable.
    ///
    /// It is committed even if the caller goes away.
    pub async fn commit(&self, command: I) -> Result<O, CommitError> {
        self.submit(command)?.await
    }

    /// Like [`Committer::submit`], but waits for room in the queue: for callers that bound how many
    /// of theirs wait.
    pub async fn submit_in_turn(
        &self,
        command: I,
    ) -> Result<impl Future<Output = Result<O, CommitError>> + use<I, O>, CommitError> {
        let (answer, answered) = oneshot::channel();
        let room = self.queue.reserve().await.map_err(|_| CommitError::Stopping)?;
        room.send(((command, answer), Instant::now()));
        Ok(async move { answered.await.unwrap_or(Err(CommitError::Stopping)) })
    }

    /// Queues a command behind those submitted before it, and returns the pending answer.
    pub fn submit(&self, command: I) -> Result<impl Future<Output = Result<O, CommitError>> + use<I, O>, CommitError> {
        let (answer, answered) = oneshot::channel();
        let waiting = ((command, answer), Instant::now());
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommitError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => CommitError::Stopping,
        })?;
        Ok(async move { answered.await.unwrap_or(Err(CommitError::Stopping)) })
    }
}

async fn lane<I, O, A>(
    metrics: OfCommits,
    waiting: Arc<Mutex<mpsc::Receiver<Waiting<I, O>>>>,
    most: usize,
    apply: Arc<A>,
) where
    A: Fn(Arc<Vec<I>>) -> BoxFuture<'static, Result<Vec<O>, Error>>,
{
    let mut last = 0;
    loop {
        let mut group = Vec::new();
        let mut queue = waiting.lock().await;
        if queue.recv_many(&mut group, most).await == 0 {
            return;
        }
        if last >= LARGE {
            linger(&mut queue, &mut group, most);
        }
        drop(queue);
        last = group.len();
        let begun = Instant::now();
        let group = group.into_iter().map(|(waiting, since)| {
            metrics.waited(begun.duration_since(since));
            waiting
        });
        let (commands, callers): (Vec<_>, Vec<_>) = group.unzip();
        let commands = Arc::new(commands);
        let outcome = attempt(&*apply, Arc::clone(&commands)).await;
        metrics.ended(commands.len(), begun.elapsed(), outcome.is_ok());
        match outcome {
            Ok(answers) => {
                debug_assert_eq!(answers.len(), callers.len());
                for (caller, answer) in callers.into_iter().zip(answers) {
                    // The caller may be gone.
                    let _ = caller.send(Ok(answer));
                }
            }
            Err(error) => one_by_one(commands, callers, error, &*apply).await,
        }
    }
}

/// Gives the callers that were just answered a moment to come back: one large commit costs less
/// than two.
///
/// Sleeps the lane's own thread: a runtime's timer would wake it a millisecond too late.
fn linger<T>(queue: &mut mpsc::Receiver<T>, group: &mut Vec<T>, most: usize) {
    let begun = Instant::now();
    while group.len() < most && begun.elapsed() < LINGER {
        std::thread::sleep(GAP);
        let before = group.len();
        while group.len() < most
            && let Ok(command) = queue.try_recv()
        {
            group.push(command);
        }
        if group.len() == before {
            return;
        }
    }
}

/// Runs a transaction. A panic counts as a failure, and the lane goes on.
async fn attempt<I, O, A>(apply: &A, commands: Arc<Vec<I>>) -> Result<Vec<O>, Error>
where
    A: Fn(Arc<Vec<I>>) -> BoxFuture<'static, Result<Vec<O>, Error>>,
{
    let outcome = AssertUnwindSafe(async { apply(commands).await }).catch_unwind().await;
    outcome.unwrap_or_else(|_| {
        Err(Error::Damaged {
            what: "transaction",
            problem: "it panicked; the log has the place".to_owned(),
        })
    })
}

async fn one_by_one<I, O, A>(
    commands: Arc<Vec<I>>,
    callers: Vec<oneshot::Sender<Result<O, CommitError>>>,
    error: Error,
    apply: &A,
) where
    A: Fn(Arc<Vec<I>>) -> BoxFuture<'static, Result<Vec<O>, Error>>,
{
    let commands = match Arc::try_unwrap(commands) {
        // During an outage every member would fail too, each after a wait of its own.
        Ok(commands) if commands.len() > 1 && !error.is_outage() => commands,
        // A single command, or a group that `apply` still holds and that cannot be taken apart.
        _ => {
            let error = Arc::new(error);
            for caller in callers {
                let _ = caller.send(Err(CommitError::Failed(Arc::clone(&error))));
            }
            return;
        }
    };
    tracing::warn!(%error, members = commands.len(), "a group commit failed and is run member by member");
    for (command, caller) in commands.into_iter().zip(callers) {
        if caller.is_closed() {
            continue;
        }
        let answer = match attempt(apply, Arc::new(vec![command])).await {
            Ok(mut answers) => answers.pop().ok_or(CommitError::Stopping),
            Err(error) => Err(CommitError::Failed(Arc::new(error))),
        };
        let _ = caller.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn unmeasured() -> OfCommits {
        OfCommits(telemetry::metrics::Service::named(""), crate::Commands::Others)
    }

    /// Doubles the numbers of a group, and fails if one of them is odd.
    fn doubling(calls: Arc<AtomicUsize>) -> Committer<u32, u32> {
        Committer::start(unmeasured(), 1, 256, move |group: Arc<Vec<u32>>| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                assert!(!group.contains(&666), "a command that makes the transaction panic");
                match group.iter().any(|n| n % 2 == 1) {
                    true => Err(Error::Injected("because a number is odd")),
                    false => Ok(group.iter().map(|n| n * 2).collect()),
                }
            }
            .boxed()
        })
    }

    #[tokio::test]
    async fn one_failing_member_never_fails_its_neighbours() {
        let calls = Arc::new(AtomicUsize::new(0));
        let committer = doubling(Arc::clone(&calls));
        let answers = futures::future::join_all([2, 3, 4, 6].map(|n| committer.commit(n))).await;
        assert_eq!(
            answers
                .iter()
                .map(|answer| answer.as_ref().ok().copied())
                .collect::<Vec<_>>(),
            [Some(4), None, Some(8), Some(12)]
        );
        assert!(calls.load(Ordering::SeqCst) <= 6, "the group, then each member once");
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_command_and_the_lane_goes_on() {
        let committer = doubling(Arc::default());
        assert!(committer.commit(666).await.is_err());
        assert_eq!(committer.commit(2).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_a_commit() {
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, turn) = (Arc::clone(&calls), Arc::new(tokio::sync::Semaphore::new(0)));
        let door = Arc::clone(&turn);
        let committer = Committer::start(unmeasured(), 1, 256, move |group: Arc<Vec<u32>>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let door = Arc::clone(&door);
            async move {
                let _open = door.acquire().await;
                Ok(group.to_vec())
            }
            .boxed()
        });
        // During the first transaction the others queue up.
        let answers: Vec<_> = (0..100).map(|n| committer.submit(n).unwrap()).collect();
        turn.add_permits(1);
        for (n, answer) in (0..).zip(answers) {
            assert_eq!(answer.await.unwrap(), n);
        }
        let calls = calls.load(Ordering::SeqCst);
        assert!(calls <= 2, "{calls} commits for 100 callers");
    }
}
