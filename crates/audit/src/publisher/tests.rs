//! A quiet log, at the intervals that are shipped. Time is paused and advances only for timers, so
//! hours pass at once; the store is in memory, because a database works beside the runtime, which
//! then would not know that it is busy.

use std::{collections::BTreeSet, ops::Range, sync::Mutex};

use async_trait::async_trait;
use journal::{Mark, RecordHead, SeededEntropy};
use sql::Error as SqlError;
use witness::{Cosigner, Policy};

use super::*;
use crate::{
    Audit, Config,
    check::{Checked, Verdict},
    gap::Gap,
    producer::{Noted, Producer},
    read::{Part, Read, Reader},
    store::{Found, GapCursor, Unfreezing, Unfrozen, Which},
    tree::{Edge, TileId, Tiles},
};

/// 2026-11-21 21:20 UTC.
const NOW: Time = Time(1_795_305_600_000_000);
/// `remit status` calls a log late whose checkpoint is older, in seconds.
const LATE: u64 = 180;

/// A clock that goes with the runtime's time.
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Time {
        NOW.plus_seconds(self.0.elapsed().as_secs().cast_signed())
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A log that nobody appends to.
struct Quiet {
    edge: Edge,
    /// Sizes of the checkpoints that were stored.
    stored: Mutex<Vec<u64>>,
}

impl Quiet {
    fn with(leaves: &[journal::Bytes32]) -> Arc<Self> {
        let (edge, _) = Edge::empty().grow(leaves).unwrap();
        Arc::new(Self {
            edge,
            stored: Mutex::default(),
        })
    }
}

#[async_trait]
impl Reader for Quiet {
    async fn read(&self, _: Part<'_>) -> Result<Vec<Read>, SqlError> {
        unreachable!("nobody reads")
    }
}

#[async_trait]
impl Store for Quiet {
    fn tokens(&self) -> rpc::page::Tokens {
        unreachable!("nothing is served")
    }
    async fn append_calls(&self, _: &[&[Checked]]) -> Result<Vec<Vec<Verdict>>, StoreError> {
        unreachable!("nobody appends")
    }
    async fn note_mark(&self, _: &str, _: Mark) -> Result<Noted, StoreError> {
        unreachable!("there are no producers")
    }
    async fn review(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn unfreeze(&self, _: &str, _: Unfreezing) -> Result<Unfrozen, StoreError> {
        Ok(Unfrozen::Unknown)
    }
    async fn producers(&self) -> Result<Vec<(String, Producer)>, SqlError> {
        Ok(Vec::new())
    }
    async fn gaps(&self, _: Option<&GapCursor>, _: u32) -> Result<Vec<Gap>, SqlError> {
        Ok(Vec::new())
    }
    async fn head(&self) -> Result<TreeHead, StoreError> {
        Ok(self.edge.head())
    }
    async fn tiles(&self, _: BTreeSet<TileId>) -> Result<Tiles, SqlError> {
        Ok(self.edge.tiles().map(|(id, hashes)| (id, hashes.to_vec())).collect())
    }
    async fn entries(&self, _: Range<u64>) -> Result<Vec<Vec<u8>>, SqlError> {
        unreachable!("nobody reads")
    }
    async fn missing(&self, _: Range<u64>) -> Result<Vec<u64>, SqlError> {
        Ok(Vec::new())
    }
    async fn find(&self, _: Which) -> Result<Option<Found>, SqlError> {
        Ok(None)
    }
    async fn newest_checkpoint(&self) -> Result<Option<String>, SqlError> {
        Ok(None)
    }
    async fn keep_checkpoint(&self, size: u64, _: &str, _: Time) -> Result<(), StoreError> {
        self.stored.lock().unwrap().push(size);
        Ok(())
    }
    async fn record_heads(&self, _: &str, _: u32) -> Result<Vec<RecordHead>, SqlError> {
        Ok(Vec::new())
    }
    async fn record_heads_of(&self, _: Vec<String>) -> Result<Vec<RecordHead>, SqlError> {
        Ok(Vec::new())
    }
    async fn ping(&self) -> Result<(), SqlError> {
        Ok(())
    }
    async fn close(&self) {}
}

/// The shipped configuration.
fn config(folder: &std::path::Path) -> Config {
    let required = serde_json::json!({
        "database": "sqlite::memory:",
        "key_file": folder.join("log.key"),
        "checkpoint_file": folder.join("checkpoint"),
    });
    serde_json::from_value(required).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_log_is_signed_again_before_it_counts_as_late() {
    let folder = tempfile::tempdir().unwrap();
    let (store, clock) = (Quiet::with(&[]), Arc::new(RuntimeClock(Instant::now())));
    let (config, entropy) = (config(folder.path()), Arc::new(SeededEntropy::new(7)));
    let refresh = config.checkpoint_refresh_ms / 1_000;
    assert!(refresh + super::super::REVIEW.as_secs() < LATE, "shipped intervals");
    let audit = Audit::start_over(store.clone(), config, clock.clone(), entropy)
        .await
        .unwrap();
    let published = audit.published();
    let mut oldest = 0;
    for _ in 0..3_600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        oldest = oldest.max((clock.now().0 - published.borrow().time.0) / 1_000_000);
    }
    assert!(oldest <= refresh.cast_signed() + 1, "{oldest} s old");
    // And not more often than that, although the review of producers notifies every few seconds.
    let stored = store.stored.lock().unwrap().len();
    assert!((55..=62).contains(&stored), "signed {stored} times in an hour");
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_could_not_be_signed_again_says_so_until_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (store, clock) = (Quiet::with(&[[7; 32]]), Arc::new(RuntimeClock(Instant::now())));
    let config = config(folder.path());
    let keys = LogKeys::create(&config.origin, &config.key_file, &SeededEntropy::new(7))
        .await
        .unwrap();
    // A witness that cosigned the last checkpoint, and is gone.
    let witness = Cosigner::new("witness.test/w1", &[1; 32]);
    let policy = format!("witness w1 {} http://127.0.0.1:1\nquorum w1\n", witness.key().vkey());
    let client = https::Client::new(https::Trust::load(None, "none").unwrap(), Duration::from_secs(2));
    let policy = Policy::parse(policy).unwrap();
    let witnesses = Witnesses::new(policy, &config.origin, client, Duration::from_secs(2));
    let vitals = Arc::new(Vitals::default());
    let dependencies = Dependencies {
        store,
        keys,
        file: config.checkpoint_file,
        witnesses: Some(witnesses),
        clock,
        vitals: Arc::clone(&vitals),
    };
    let mut last = signed(dependencies.store.head().await.unwrap(), &dependencies).unwrap();
    let text = signed_note::Note::from_bytes(last.note.as_bytes()).unwrap();
    let cosignature = witness.sign(text.text(), NOW).unwrap();
    last.note += &String::from_utf8(cosignature.to_bytes()).unwrap();

    let publisher = Publisher::start(dependencies, Some(last)).await.unwrap();
    assert_eq!(vitals.unpublished(), "", "it is public");
    let (interval, refresh) = (config.checkpoint_interval_ms, config.checkpoint_refresh_ms);
    let (grown, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let running = publisher.run(
        Duration::from_millis(interval),
        Duration::from_millis(refresh),
        Arc::clone(&grown),
        stop.clone(),
    );
    let running = tokio::spawn(running);
    tokio::time::sleep(Duration::from_millis(refresh + 5_000)).await;
    for second in 0..600 {
        assert!(
            vitals.unpublished().contains("not enough witnesses"),
            "after {second} s"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second % 5 == 0 {
            grown.notify_one();
        }
    }
    stop.cancel();
    running.await.unwrap();
}
