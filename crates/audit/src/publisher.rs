//! Signs the log's head and makes it public.
//!
//! In this order: the head must extend what was signed last; the note is written outside the database, then inside it, then
//! announced. Nobody has seen a checkpoint that a crash can take back. A crash after the first write leaves a file that is
//! ahead of the table, which the next start understands; the other order could leave a used log without a file, which it must
//! refuse.

use std::{path::PathBuf, sync::Arc, time::Duration};

use journal::Clock;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint::{self, CheckpointError},
    file,
    key::LogKey,
    prove,
    store::{Store, StoreError},
    tree::TreeHead,
    vitals::Vitals,
};

/// A checkpoint that can be relied on: it is on disk in two places.
#[derive(Clone, Debug)]
pub struct Published {
    /// What it signs.
    pub head: TreeHead,
    /// The signed note.
    pub note: String,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database's tree does not begin with the tree that was signed last.
    #[error(
        "the tree of {size} entries does not begin with the tree of {signed} that was signed: the database was changed"
    )]
    Inconsistent {
        /// Entries that were signed.
        signed: u64,
        /// Entries that there are.
        size: u64,
    },
    /// Somebody else has published more.
    #[error("{} has a checkpoint of {found} entries, more than the {size} of this process: another one writes it", path.display())]
    Overtaken {
        /// The checkpoint file.
        path: PathBuf,
        /// Entries that it covers.
        found: u64,
        /// Entries that were to be published.
        size: u64,
    },
    /// It could not be signed.
    #[error("cannot sign the log's head")]
    Sign(#[source] CheckpointError),
    /// The checkpoint file could not be read or written.
    #[error("cannot keep the checkpoint in {}", path.display())]
    File {
        /// The checkpoint file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl PublishError {
    /// Whether trying again cannot help, and going on would harm.
    fn is_final(&self) -> bool {
        match self {
            Self::Store(StoreError::Sql(_)) | Self::File { .. } => false,
            Self::Store(StoreError::Fenced) | Self::Inconsistent { .. } | Self::Overtaken { .. } | Self::Sign(_) => {
                true
            }
        }
    }
}

/// Publishes checkpoints.
pub(crate) struct Publisher {
    store: Arc<dyn Store>,
    key: LogKey,
    file: PathBuf,
    clock: Arc<dyn Clock>,
    published: watch::Sender<Published>,
}

impl Publisher {
    /// Goes on from the last checkpoint, or signs the log without entries as the first. Then publishes what was appended since.
    pub async fn start(
        store: Arc<dyn Store>,
        key: LogKey,
        file: PathBuf,
        clock: Arc<dyn Clock>,
        last: Option<Published>,
    ) -> Result<Self, PublishError> {
        let first = match last {
            Some(last) => last,
            None => signed(TreeHead::EMPTY, &key)?,
        };
        let publisher = Self {
            store,
            key,
            file,
            clock,
            published: watch::Sender::new(first.clone()),
        };
        // What a crash kept in one place only is now in both.
        publisher.keep(first).await?;
        publisher.publish().await?;
        Ok(publisher)
    }

    /// The newest checkpoint, now and whenever there is a newer one.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Publishes what `grown` tells of, at once but no more often than every `interval`, until `stop`; then once more.
    pub async fn run(self, interval: Duration, grown: Arc<Notify>, vitals: Arc<Vitals>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = grown.notified() => {}
                () = stop.cancelled() => break,
                () = vitals.halted.cancelled() => return,
            }
            match self.publish().await {
                Ok(()) => vitals.set_behind(false),
                Err(error) if error.is_final() => return vitals.halt(&error),
                Err(error) => {
                    vitals.set_behind(true);
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot publish a checkpoint; trying again"
                    );
                    grown.notify_one();
                }
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = self.publish().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot publish the last checkpoint; the next start does"
            );
        }
    }

    /// Publishes the head when it is not yet.
    async fn publish(&self) -> Result<(), PublishError> {
        let last = self.published.borrow().head;
        let head = self.store.head().await?;
        if head == last {
            return Ok(());
        }
        if !prove::extends(&*self.store, last, head)
            .await
            .map_err(StoreError::from)?
        {
            return Err(PublishError::Inconsistent {
                signed: last.size,
                size: head.size,
            });
        }
        self.keep(signed(head, &self.key)?).await
    }

    async fn keep(&self, new: Published) -> Result<(), PublishError> {
        let failed = |source| PublishError::File {
            path: self.file.clone(),
            source,
        };
        let found = file::read(&self.file).await.map_err(failed)?;
        let found = found.map(|note| String::from_utf8_lossy(&note).into_owned());
        if found.as_deref() != Some(&*new.note) {
            // The fence is in the database; the file has only this.
            let there = found
                .and_then(|note| checkpoint::open(&note, &self.key.vkey()).ok())
                .map_or(0, |head| head.size);
            if there > new.head.size {
                return Err(PublishError::Overtaken {
                    path: self.file.clone(),
                    found: there,
                    size: new.head.size,
                });
            }
            file::replace(&self.file, new.note.clone().into_bytes(), 0o644)
                .await
                .map_err(failed)?;
        }
        self.store
            .keep_checkpoint(new.head.size, &new.note, self.clock.now())
            .await?;
        self.published.send_replace(new);
        Ok(())
    }
}

fn signed(head: TreeHead, key: &LogKey) -> Result<Published, PublishError> {
    let note = checkpoint::sign(&head, key).map_err(PublishError::Sign)?;
    Ok(Published { head, note })
}
