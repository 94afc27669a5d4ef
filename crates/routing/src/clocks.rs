//! Ends clocks that have run out, and hands on what ended agencies had.
//!
//! Any number of replicas look; the store ends each generation of a clock once. What was missed while nothing ran is found
//! at the first look after.

use std::{sync::Arc, time::Duration};

use journal::{Clock, Writer};
use tokio_util::sync::CancellationToken;

use crate::store::{Error, MissedClock, Store};

/// Poll interval.
const LOOK: Duration = Duration::from_secs(1);
/// Clocks that one transaction ends at most.
const BATCH: u32 = 256;

/// Looks for clocks that have run out.
#[derive(Clone)]
pub struct Ticker {
    /// Where the clocks are.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Is told of each commit.
    pub writer: Writer,
}

impl std::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticker").finish_non_exhaustive()
    }
}

impl Ticker {
    /// Looks every second until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            match self.step().await {
                Ok(0) => {}
                Ok(ended) => tracing::info!(ended, "clocks missed, cases handed up"),
                Err(error) => tracing::warn!(%error, "clocks cannot be looked at now"),
            }
            match self.succeed().await {
                Ok(0) => {}
                Ok(handed) => tracing::info!(handed, "agencies ended, cases handed to their successors"),
                Err(error) => tracing::warn!(%error, "ended agencies cannot be looked at now"),
            }
            if tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Ends every clock that has run out by now, and returns how many.
    pub async fn step(&self) -> Result<usize, Error> {
        let mut total = 0;
        loop {
            let now = self.clock.now();
            let missed = self.store.missed(now, BATCH).await?;
            if missed.is_empty() {
                return Ok(total);
            }
            let ended = match self.store.hand_up(&missed, now).await {
                Ok(ended) => ended,
                Err(error) => self.one_by_one(&missed, error).await?,
            };
            total += ended;
            if ended > 0 {
                self.writer.committed();
            }
            // Nothing ended: others hold the rest, and end it or leave it to the next look.
            if ended == 0 || missed.len() < BATCH as usize {
                return Ok(total);
            }
        }
    }

    /// Hands everything that ended agencies have to their successors, and returns how many cases that were.
    pub async fn succeed(&self) -> Result<usize, Error> {
        let mut total = 0;
        loop {
            let (store, now) = (Arc::clone(&self.store), self.clock.now());
            let handed = journal::uncancelled(async move { store.succeed(now, BATCH).await }).await?;
            total += handed;
            if handed > 0 {
                self.writer.committed();
            }
            if handed < BATCH as usize {
                return Ok(total);
            }
        }
    }

    /// A case that cannot be handed up never keeps the others from it.
    async fn one_by_one(&self, missed: &[MissedClock], error: Error) -> Result<usize, Error> {
        if missed.len() == 1 {
            return Err(error);
        }
        tracing::warn!(%error, members = missed.len(), "missed clocks are ended one by one");
        let mut total = 0;
        for clock in missed {
            match self.store.hand_up(std::slice::from_ref(clock), self.clock.now()).await {
                Ok(ended) => total += ended,
                Err(error) => tracing::error!(case = %clock.case, %error, "a missed clock cannot be ended"),
            }
        }
        Ok(total)
    }
}
