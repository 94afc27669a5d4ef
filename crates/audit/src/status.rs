//! Whether the log is late, and why.

use journal::Time;
use tokio::sync::watch;

use crate::{
    publisher::Published,
    store::{Store, StoreError},
    vitals::Vitals,
};

/// How the log is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Entries that are durable.
    pub size: u64,
    /// Entries that the newest published checkpoint covers.
    pub published: u64,
    /// When that checkpoint was signed.
    pub signed: Time,
    /// Why what is beyond it is not published; empty when it is, or will be in a moment.
    pub unpublished: String,
    /// The witnesses that did not cosign it, and why; empty when all did.
    pub silent: String,
    /// Whether this process writes the log.
    pub writes: bool,
}

pub(crate) async fn status(
    store: &dyn Store,
    published: &watch::Receiver<Published>,
    vitals: &Vitals,
) -> Result<Status, StoreError> {
    let (size, writes) = match store.head().await {
        Ok(head) => (head.size, !vitals.halted.is_cancelled()),
        Err(StoreError::Fenced) => (published.borrow().head.size, false),
        Err(error) => return Err(error),
    };
    let published = published.borrow().clone();
    Ok(Status {
        size,
        published: published.head.size,
        signed: published.time,
        unpublished: vitals.unpublished(),
        silent: vitals.silent(),
        writes,
    })
}
