//! Ends clocks that have run out, hands on what ended agencies had, computes provisional deadlines
//! again when holidays are published, and lets joined cases follow their main cases.
//!
//! Any number of replicas poll; the store ends each generation of a clock once. What ran out while
//! nothing ran is found by the next poll. Each poll reads page by page to the end, so that cases
//! which cannot be changed hide none behind them. While the machine's clock is in doubt, nothing
//! happens.

use std::{fmt, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use journal::{Bytes32, Clock, Time, Timekeeper, Writer};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics,
    store::{Error, Store, Versions},
};

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time after which provisional deadlines are computed again without any other reason.
const SETTLE_SECONDS: i64 = 3_600;
/// Maximum number of clocks or cases per transaction.
const BATCH: u32 = 256;

/// Polls for clocks that have run out and agencies that have ended.
#[derive(Clone)]
pub struct Ticker {
    /// The cases.
    pub store: Arc<dyn Store>,
    /// The directory in force.
    pub versions: Arc<dyn Versions>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Tells whether that time can be believed.
    pub time: Timekeeper,
    /// Runs the writes.
    pub writer: Writer,
}

/// What was settled last: in which directory, and when.
pub type Settled = Option<(Bytes32, Time)>;

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").finish_non_exhaustive()
    }
}

impl Ticker {
    /// Polls until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut settled = None;
        loop {
            self.poll(&mut settled).await;
            if tokio::time::timeout(POLL_INTERVAL, shutdown.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Does everything that is due by the clock, if that can be believed. Successions do not wait:
    /// an agency that a directory excludes sees its cases no longer, so others must have them.
    pub async fn poll(&self, settled: &mut Settled) {
        if !self.time.is_believed().await {
            if let Some(last_run) = self.time.last_run().await {
                self.succeed_and_tell(last_run.min(self.clock.now())).await;
            }
            return;
        }
        // Before clocks end: a deadline may be later by a holiday that is known now, and what was
        // decided is decided in time.
        self.settle_when_due(settled).await;
        match self.follow().await {
            Ok(0) => {}
            Ok(followed) => tracing::info!(followed, "joined cases changed as their main cases"),
            Err(error) => tracing::warn!(%error, "joined cases cannot be read"),
        }
        match self.step().await {
            Ok(0) => metrics::swept(0),
            Ok(ended) => {
                metrics::swept(ended);
                tracing::info!(ended, "deadlines reminded of, pauses ended, or cases handed up");
            }
            Err(error) => tracing::warn!(%error, "missed clocks cannot be read"),
        }
        self.succeed_and_tell(self.clock.now()).await;
    }

    /// Lets who oversees which case follow the directory in force.
    pub async fn oversee(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let of = after.clone();
            let made = |store: Arc<dyn Store>| async move { store.oversee(of, BATCH).await };
            after = self.writer.write(&self.store, made).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Lets them see what replicas of an earlier version changed, too.
    pub async fn oversee_late(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let of = after.clone();
            let made = |store: Arc<dyn Store>| async move { store.oversee_late(of, BATCH).await };
            after = self.writer.write(&self.store, made).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn succeed_and_tell(&self, now: Time) {
        match self.succeed_at(now).await {
            Ok(0) => {}
            Ok(handed) => tracing::info!(handed, "agencies ended, cases handed to their successors"),
            Err(error) => tracing::warn!(%error, "cases of ended agencies cannot be read"),
        }
    }

    /// Ends every clock that has run out by now, and returns how many.
    pub async fn step(&self) -> Result<usize, Error> {
        let (mut ended, mut after) = (0, None);
        loop {
            let page = self.store.missed(self.clock.now(), after, BATCH).await?;
            ended += self
                .apply(page.items, |store, missed, now| {
                    async move { store.hand_up(&missed, now).await }.boxed()
                })
                .await?;
            after = page.next;
            if after.is_none() {
                return Ok(ended);
            }
        }
    }

    /// Applies to joined cases what happened to their main cases, and returns how many changed.
    pub async fn follow(&self) -> Result<usize, Error> {
        let (mut followed, mut after) = (0, None);
        loop {
            let page = self.store.following(self.clock.now(), after, BATCH).await?;
            followed += self
                .apply(page.items, |store, cases, now| {
                    async move { store.follow(&cases, now).await }.boxed()
                })
                .await?;
            after = page.next;
            if after.is_none() {
                return Ok(followed);
            }
        }
    }

    /// Lets superiors see what is below them, which is a look where nothing is to do; and computes
    /// provisional deadlines again: at start, since a new calendar takes one; in another directory,
    /// whose agencies may have other calendars; and after a while, for clocks that a replica with
    /// an older calendar has started since.
    async fn settle_when_due(&self, last: &mut Settled) {
        if let Err(error) = self.oversee().await {
            tracing::warn!(%error, "open cases cannot be read for those above their owners");
        }
        let (directory, now) = (self.versions.active().directory.digest(), self.clock.now());
        if last.is_some_and(|(known, at)| known == directory && now < at.plus_seconds(SETTLE_SECONDS)) {
            return;
        }
        if let Err(error) = self.oversee_late().await {
            return tracing::warn!(%error, "open cases cannot be read for those above their owners");
        }
        match self.settle().await {
            Ok(0) => {}
            Ok(settled) => tracing::info!(settled, "holidays published, provisional deadlines computed again"),
            // Not noted as done: the next poll tries again.
            Err(error) => return tracing::warn!(%error, "provisional deadlines cannot be read"),
        }
        *last = Some((directory, now));
    }

    /// Computes all provisional deadlines again, and returns how many cases that changed.
    pub async fn settle(&self) -> Result<usize, Error> {
        let (mut settled, mut after) = (0, None);
        loop {
            let page = self.store.provisional(after, BATCH).await?;
            settled += self
                .apply(page.items, |store, cases, now| {
                    async move { store.settle(&cases, now).await }.boxed()
                })
                .await?;
            after = page.next;
            if after.is_none() {
                return Ok(settled);
            }
        }
    }

    /// Hands on everything that agencies have that ended, or may see a case no longer, and returns
    /// how many cases that were.
    pub async fn succeed(&self) -> Result<usize, Error> {
        self.succeed_at(self.clock.now()).await
    }

    async fn succeed_at(&self, now: Time) -> Result<usize, Error> {
        let (mut handed, mut after) = (0, None);
        loop {
            let page = self.store.successions(now, after, BATCH).await?;
            handed += self
                .apply(page.items, move |store, cases, _| {
                    async move { store.succeed(&cases, now).await }.boxed()
                })
                .await?;
            after = page.next;
            if after.is_none() {
                return Ok(handed);
            }
        }
    }

    /// Writes all in one transaction, or, if that fails, each in its own: one that cannot be
    /// written never keeps the others back. Returns how many were written.
    async fn apply<T>(
        &self,
        items: Vec<T>,
        write: impl Fn(Arc<dyn Store>, Vec<T>, Time) -> BoxFuture<'static, Result<usize, Error>>,
    ) -> Result<usize, Error>
    where
        T: Clone + fmt::Debug + Send + 'static,
    {
        if items.is_empty() {
            return Ok(0);
        }
        let write = |items: Vec<T>| {
            self.writer
                .write(&self.store, |store| write(store, items, self.clock.now()))
        };
        let error = match write(items.clone()).await {
            Ok(written) => return Ok(written),
            Err(error) => error,
        };
        // Not each in turn while there is no database.
        if self.store.ping().await.is_err() {
            return Err(error);
        }
        tracing::warn!(%error, members = items.len(), "a batch failed: its members are written one by one");
        let mut total = 0;
        for item in items {
            match write(vec![item.clone()]).await {
                Ok(written) => total += written,
                Err(error) => tracing::error!(?item, %error, "a case cannot be changed"),
            }
        }
        Ok(total)
    }
}
