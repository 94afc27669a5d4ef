//! Checks that logged entries still exist: deleted rows show in no signature until somebody
//! requests them.
//!
//! Checks the newest entries at start and ten times a second, and all others in turn. If one is
//! missing, this process stops appending and signing: every further signature would promise what it
//! cannot show.

use std::{ops::Range, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tokio_util::sync::CancellationToken;

use crate::{
    store::{Store, StoreError},
    vitals::Vitals,
};

/// Entries per check while nothing waits.
const AT_ONCE: u64 = 100_000;
/// Entries per check beside calls, which wait the fraction of a millisecond that it takes.
const BESIDE: u64 = 1_000;
/// Number of newest entries in every check.
const NEWEST: u64 = 100;
const PAUSE: Duration = Duration::from_millis(100);
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Rows were deleted.
#[derive(Debug, thiserror::Error)]
#[error(
    "entry {index} of the log, or its detail, is missing from the database: rows were deleted. nothing is appended or signed \
     any more. stop the service; `remit log recover` shows what to do"
)]
pub struct EntryMissing {
    /// The first missing one found.
    pub index: u64,
}

/// The newest indexes of a log of `size` entries, as many as one check covers.
pub(crate) fn newest(size: u64) -> Range<u64> {
    size.saturating_sub(AT_ONCE)..size
}

/// All indexes of a log in parts of one check each, newest first.
pub(crate) fn parts(size: u64) -> impl Iterator<Item = Range<u64>> {
    let ends = std::iter::successors(Some(size), |end| end.checked_sub(AT_ONCE));
    ends.map(newest).filter(|part| !part.is_empty())
}

/// Checks one part after the other until `stop`.
pub(crate) fn scrub(
    store: Arc<dyn Store>,
    vitals: Arc<Vitals>,
    stop: CancellationToken,
) -> impl Fn() -> BoxFuture<'static, ()> {
    move || {
        let (store, vitals, stop) = (Arc::clone(&store), Arc::clone(&vitals), stop.clone());
        async move {
            let (mut end, mut pause) = (0, PAUSE);
            while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
                match look(&*store, &mut end).await {
                    Ok(None) => pause = PAUSE,
                    Ok(Some(missing)) => return vitals.halt(&missing),
                    // The process that has taken over does the checks.
                    Err(StoreError::Fenced) => return,
                    Err(StoreError::Sql(error)) => {
                        pause = AFTER_FAILURE;
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "checking for missing entries failed"
                        );
                    }
                }
            }
        }
        .boxed()
    }
}

/// Checks the newest entries and the part that ends at `end`, and moves `end` to the next part.
async fn look(store: &dyn Store, end: &mut u64) -> Result<Option<EntryMissing>, StoreError> {
    let size = store.head().await?.size;
    let to = if *end == 0 { size } else { (*end).min(size) };
    let part = to.saturating_sub(BESIDE)..to;
    for indexes in [size.saturating_sub(NEWEST)..size, part.clone()] {
        if let Some(index) = store.missing(indexes).await?.first() {
            return Ok(Some(EntryMissing { index: *index }));
        }
    }
    *end = part.start;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_cover_the_log() {
        assert_eq!(parts(0).count(), 0);
        for size in [1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE, 3 * AT_ONCE + 7] {
            let mut end = size;
            for part in parts(size) {
                assert_eq!(part.end, end, "of {size}");
                assert!(part.end - part.start <= AT_ONCE);
                end = part.start;
            }
            assert_eq!(end, 0, "of {size}");
        }
    }
}
