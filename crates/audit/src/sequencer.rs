//! Gives changes their places in the log: those of concurrent calls together, in one transaction.
//!
//! There is one lane, because there is one head row: a second would wait for the first with a transaction open.

use std::sync::Arc;

use api::event::StateChange;
use futures::FutureExt as _;
use journal::{CommitError, Committer};
use tokio::sync::Notify;

use crate::{
    check::{Checked, Verdict, check},
    store::{Store, StoreError},
    vitals::Vitals,
};

/// Why nothing is known to have been appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// This process must not write any more.
    #[error("this process does not write the log any more")]
    Halted,
    /// The transaction did not happen, or did not answer.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Calls that one commit takes at most; each brings up to a thousand changes.
const CALLS: usize = 64;

type Calls = Committer<Vec<Checked>, Result<Vec<Verdict>, Fenced>>;

/// Another process has taken over.
struct Fenced;

/// The one way into the log.
#[derive(Clone)]
pub(crate) struct Sequencer {
    calls: Calls,
    vitals: Arc<Vitals>,
}

impl Sequencer {
    /// `grown` is told after each commit that may have appended something.
    pub fn start(store: Arc<dyn Store>, grown: Arc<Notify>, vitals: Arc<Vitals>) -> Self {
        let fenced = Arc::clone(&vitals);
        let calls = Calls::start(1, CALLS, move |group: Arc<Vec<Vec<Checked>>>| {
            let (store, grown, vitals) = (Arc::clone(&store), Arc::clone(&grown), Arc::clone(&fenced));
            async move {
                match store.append(&group).await {
                    Ok(verdicts) => {
                        grown.notify_one();
                        Ok(verdicts.into_iter().map(Ok).collect())
                    }
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
        Self { calls, vitals }
    }

    /// Checks and appends what the service `source` submits. Returns a verdict for each change, in order; what is `Ok` is durable.
    pub async fn append(&self, source: &str, changes: Vec<StateChange>) -> Result<Vec<Verdict>, AppendError> {
        if self.vitals.halted.is_cancelled() {
            return Err(AppendError::Halted);
        }
        let mut sound = Vec::with_capacity(changes.len());
        let checked: Vec<_> = changes
            .into_iter()
            .map(|change| check(source, change).map(|checked| sound.push(checked)))
            .collect();
        let mut placed = self
            .calls
            .commit(sound)
            .await?
            .map_err(|Fenced| AppendError::Halted)?
            .into_iter();
        // The committer answers each call with as many verdicts as it had changes.
        checked
            .into_iter()
            .map(|checked| match checked {
                Ok(()) => placed.next().ok_or(AppendError::Commit(CommitError::Stopping)),
                Err(refusal) => Ok(Err(refusal)),
            })
            .collect()
    }
}
