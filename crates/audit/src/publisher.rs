//! Signs the log's head and publishes it.
//!
//! The order: the head must be durable and extend the last signed one; the note is written
//! outside the database, then shown to the witnesses, if any; with enough cosignatures it is
//! stored in the database, then announced. So nobody, witnesses included, sees a checkpoint that
//! a crash can take back. A crash after the first write leaves a file ahead of the table, which
//! the next start understands; the reverse order could leave a used log without a file, which a
//! start must refuse.
//!
//! A log that does not grow is signed again periodically, so that readers can distinguish a quiet
//! log from a withheld checkpoint.

use std::{path::PathBuf, sync::Arc, time::Duration};

use journal::{Clock, Time};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint::{self, CheckpointError},
    file,
    key::LogKeys,
    metrics, prove,
    scrub::EntryMissing,
    store::{Store, StoreError},
    tree::TreeHead,
    vitals::{Behind, Vitals},
    witnesses::{Cosigned, NoCosignature, Witnesses},
};

/// A dependable checkpoint: on disk in two places, with enough cosignatures.
#[derive(Clone, Debug)]
pub struct Published {
    /// The signed head.
    pub head: TreeHead,
    /// The signed note.
    pub note: String,
    /// When it was signed; the minimum time if another process signed it.
    pub time: Time,
}

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database's tree does not extend the last signed one.
    #[error("the tree of {size} entries does not extend the signed tree of {signed}: the database was changed")]
    Inconsistent {
        /// Size of the signed tree.
        signed: u64,
        /// Size of the database's tree.
        size: u64,
    },
    /// Another process has published more.
    #[error("{} has a checkpoint of {found} entries, more than the {size} of this process: another process writes it", path.display())]
    Overtaken {
        /// The checkpoint file.
        path: PathBuf,
        /// Entries it covers.
        found: u64,
        /// Entries to be published.
        size: u64,
    },
    /// Too few witnesses cosigned the checkpoint.
    #[error("not enough witnesses cosigned the checkpoint of {size} entries: {problems}")]
    Unwitnessed {
        /// Entries it covers.
        size: u64,
        /// The missing witnesses, and why.
        problems: String,
    },
    /// A signed entry is missing.
    #[error(transparent)]
    EntryMissing(#[from] EntryMissing),
    /// Signing failed.
    #[error("cannot sign the log's head")]
    Sign(#[source] CheckpointError),
    /// The checkpoint file cannot be read or written.
    #[error("cannot store the checkpoint in {}", path.display())]
    File {
        /// The checkpoint file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl PublishError {
    /// Whether a retry cannot help, and continuing would do harm.
    fn is_final(&self) -> bool {
        match self {
            Self::Store(StoreError::Sql(_)) | Self::File { .. } | Self::Unwitnessed { .. } => false,
            Self::Store(StoreError::Fenced)
            | Self::Inconsistent { .. }
            | Self::Overtaken { .. }
            | Self::EntryMissing(_)
            | Self::Sign(_) => true,
        }
    }
}

/// What a publisher depends on.
pub(crate) struct Dependencies {
    pub store: Arc<dyn Store>,
    pub keys: LogKeys,
    pub file: PathBuf,
    pub witnesses: Option<Witnesses>,
    pub clock: Arc<dyn Clock>,
    pub vitals: Arc<Vitals>,
}

/// Publishes checkpoints.
pub(crate) struct Publisher {
    dependencies: Dependencies,
    /// The largest head ever signed, published or not: later heads must extend it.
    signed: TreeHead,
    published: watch::Sender<Published>,
    /// When the newest checkpoint was published.
    published_at: Instant,
}

/// Pause before a retry, unless the interval is longer.
const RETRY: Duration = Duration::from_secs(1);

impl Publisher {
    /// Resumes from the last checkpoint, or signs the empty log as the first. Then publishes what
    /// was appended since.
    ///
    /// Starts even if witnesses are missing, with the last published checkpoint: appending must not
    /// depend on them.
    pub async fn start(dependencies: Dependencies, last: Option<Published>) -> Result<Self, PublishError> {
        let first = match last.clone() {
            Some(last) => last,
            None => signed(TreeHead::EMPTY, &dependencies)?,
        };
        let mut publisher = Self {
            signed: first.head,
            published: watch::Sender::new(first.clone()),
            published_at: Instant::now(),
            dependencies,
        };
        let now = publisher.dependencies.clock.now();
        metrics::published(first.head.size, metrics::since_then(first.time, now));
        // A checkpoint that a crash left in one place is now stored in both. The empty tree makes
        // no claim.
        if publisher.is_public(&first) || first.head == TreeHead::EMPTY {
            publisher.keep(first).await?;
        } else if let Some(note) = publisher
            .dependencies
            .store
            .newest_checkpoint()
            .await
            .map_err(StoreError::from)?
            && let Ok(head) = publisher.dependencies.keys.open_own(&note)
        {
            // The newest was signed, but never published.
            publisher.published.send_replace(Published {
                head,
                note,
                ..Published::default()
            });
        }
        match publisher.publish(false).await {
            Err(error @ PublishError::Unwitnessed { .. }) => publisher.failed(&error),
            other => other?,
        }
        Ok(publisher)
    }

    /// The newest checkpoint, and updates whenever there is a newer one.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Publishes on notification by `grown`, immediately but at most once per `interval`, until
    /// `stop`; then once more. Signs the head again once its checkpoint is older than `refresh`,
    /// however often `grown` notifies without growth.
    pub async fn run(self, interval: Duration, refresh: Duration, grown: Arc<Notify>, stop: CancellationToken) {
        self.publish_until(interval, refresh, grown, stop).await;
        metrics::rests();
    }

    async fn publish_until(
        mut self,
        interval: Duration,
        refresh: Duration,
        grown: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let vitals = Arc::clone(&self.dependencies.vitals);
        let mut retries = !vitals.unpublished().is_empty();
        loop {
            let wake = match retries {
                true => Instant::now() + RETRY,
                false => self.published_at + refresh,
            };
            tokio::select! {
                () = grown.notified() => {}
                () = tokio::time::sleep_until(wake) => {}
                () = stop.cancelled() => break,
                () = vitals.halted.cancelled() => return,
            }
            let is_old = self.published_at.elapsed() >= refresh;
            let done = self.publish(is_old).await;
            retries = done.is_err();
            match done {
                Ok(()) => vitals.set_behind(None),
                Err(error) if error.is_final() => return vitals.halt(&error),
                Err(error) => self.failed(&error),
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = self.publish(false).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot publish the last checkpoint; the next start will"
            );
        }
    }

    fn failed(&self, error: &PublishError) {
        self.dependencies.vitals.set_behind(Some(Behind {
            problem: telemetry::with_causes(error),
            for_want_of_witnesses: matches!(error, PublishError::Unwitnessed { .. }),
        }));
        tracing::error!(
            error = error as &dyn std::error::Error,
            "cannot publish a checkpoint; retrying"
        );
    }

    /// Publishes the head unless it is already published. `again` signs and publishes it even then.
    async fn publish(&mut self, again: bool) -> Result<(), PublishError> {
        let head = self.dependencies.store.head().await?;
        metrics::grown(head.size);
        let is_published = head == self.published.borrow().head && self.published.borrow().time > Time(0);
        match is_published && !again {
            true => Ok(()),
            false => {
                let begun = Instant::now();
                let head = self.dependencies.store.kept_head().await?;
                let done = self.sign_and_publish(head).await;
                metrics::attempted(begun.elapsed(), done.is_ok());
                done
            }
        }
    }

    async fn sign_and_publish(&mut self, head: TreeHead) -> Result<(), PublishError> {
        let extends = prove::extends(&*self.dependencies.store, self.signed, head).await;
        if !extends.map_err(StoreError::from)? {
            return Err(PublishError::Inconsistent {
                signed: self.signed.size,
                size: head.size,
            });
        }
        // The last signed entry: whoever deletes the newest rows deletes it, and nothing may be
        // appended over the gap.
        let last = self.signed.size.saturating_sub(1)..self.signed.size;
        let missing = self.dependencies.store.missing(last).await.map_err(StoreError::from)?;
        if let Some(index) = missing.first() {
            return Err(EntryMissing { index: *index }.into());
        }
        let mut new = signed(head, &self.dependencies)?;
        if self.dependencies.witnesses.is_none() {
            self.signed = head;
            return self.keep(new).await;
        }
        self.keep_outside(&new).await?;
        self.signed = head;
        let Some(witnesses) = &self.dependencies.witnesses else {
            return Ok(());
        };
        let signed_size = |note: &str| self.dependencies.keys.open_own(note).ok().map(|head| head.size);
        let cosigned = witnesses
            .cosign(&self.dependencies.store, head, &new.note, &signed_size)
            .await;
        for (witness, problem) in &cosigned.problems {
            // This log signed more than exists.
            if matches!(problem, NoCosignature::Ahead { .. }) {
                tracing::error!(witness, %problem, "THE DATABASE IS AN OLDER COPY OF THE LOG");
            } else {
                tracing::warn!(witness, %problem, "no cosignature");
            }
        }
        self.dependencies.vitals.set_silent(problems(&cosigned));
        metrics::silent(cosigned.problems.len());
        if !witnesses.are_enough(&cosigned) && head != TreeHead::EMPTY {
            return Err(PublishError::Unwitnessed {
                size: head.size,
                problems: problems(&cosigned),
            });
        }
        for signature in cosigned.signatures.values() {
            new.note += &String::from_utf8_lossy(&signature.to_bytes());
        }
        self.keep(new).await
    }

    /// Whether a checkpoint may be published: it has enough cosignatures.
    fn is_public(&self, checkpoint: &Published) -> bool {
        let witnesses = self.dependencies.witnesses.as_ref();
        witnesses.is_none_or(|witnesses| witnesses.have_cosigned(&checkpoint.note))
    }

    async fn keep_outside(&self, new: &Published) -> Result<(), PublishError> {
        let path = &self.dependencies.file;
        let failed = |source| PublishError::File {
            path: path.clone(),
            source,
        };
        let found = file::read(path).await.map_err(failed)?;
        let found = found.map(|note| String::from_utf8_lossy(&note).into_owned());
        if found.as_deref() == Some(&*new.note) {
            return Ok(());
        }
        // The fence is in the database; this is the file's only protection.
        let there = found.and_then(|note| self.dependencies.keys.open_own(&note).ok());
        let there = there.map_or(0, |head| head.size);
        if there > new.head.size {
            return Err(PublishError::Overtaken {
                path: path.clone(),
                found: there,
                size: new.head.size,
            });
        }
        file::replace(path, new.note.clone().into_bytes(), 0o644)
            .await
            .map_err(failed)
    }

    async fn keep(&mut self, new: Published) -> Result<(), PublishError> {
        self.keep_outside(&new).await?;
        self.dependencies
            .store
            .keep_checkpoint(new.head.size, &new.note, self.dependencies.clock.now())
            .await?;
        metrics::published(new.head.size, Duration::ZERO);
        self.published.send_replace(new);
        self.published_at = Instant::now();
        Ok(())
    }
}

impl Default for Published {
    fn default() -> Self {
        Self {
            head: TreeHead::EMPTY,
            note: String::new(),
            time: Time(0),
        }
    }
}

fn signed(head: TreeHead, dependencies: &Dependencies) -> Result<Published, PublishError> {
    let time = dependencies.clock.now();
    let note = checkpoint::sign(&head, dependencies.keys.signing(), time).map_err(PublishError::Sign)?;
    Ok(Published { head, note, time })
}

fn problems(cosigned: &Cosigned) -> String {
    let problems: Vec<_> = cosigned
        .problems
        .iter()
        .map(|(name, problem)| format!("{name}: {problem}"))
        .collect();
    problems.join("; ")
}

#[cfg(test)]
mod tests;
