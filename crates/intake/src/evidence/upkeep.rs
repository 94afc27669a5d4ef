//! Upkeep of evidence: expires files that no report referred to in time, and removes files whose
//! upload was never acknowledged. While the machine's clock is in doubt, nothing is removed.

use std::{io, sync::Arc, time::Duration};

use journal::{Clock, Time, Timekeeper, Writer};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Vault, vault};
use crate::{
    metrics,
    store::evidence::{EvidenceStore, uploaded_before},
};

/// Interval between checks for expired files.
const LOOK: Duration = Duration::from_secs(60);
/// Number of such checks between sweeps for unknown files.
const SWEEP: u32 = 60;
/// Seconds after the last write when an upload counts as abandoned.
const STALE: i64 = 60 * 60;
/// Files per query.
const PAGE: usize = 500;
/// Maximum number of files without a row that crashes can explain; beyond it, the rows are missing.
const CREDIBLE: usize = 1_000;

/// The upkeep task.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) store: Arc<dyn EvidenceStore>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time: Timekeeper,
    pub(crate) writer: Writer,
}

/// Why upkeep failed. It is retried.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the database: {0}")]
    Store(#[from] sql::Error),
    #[error("the evidence storage: {0}")]
    Vault(#[from] io::Error),
}

impl Upkeep {
    /// Runs until `shutdown`. Starts with what an earlier run left.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut looks = 0;
        loop {
            self.poll(&mut looks).await;
            self.measure().await;
            if tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Removes what is due, if the clock can be believed. `looks` counts how often it could.
    async fn poll(&self, looks: &mut u32) {
        if !self.time.is_believed().await {
            return;
        }
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "expiring evidence failed");
        }
        if looks.is_multiple_of(SWEEP)
            && let Err(error) = self.sweep(*looks == 0).await
        {
            tracing::warn!(%error, "searching for unknown files failed");
        }
        *looks += 1;
    }

    /// Measures what is left, also while nothing may be removed.
    async fn measure(&self) {
        let now = self.clock.now();
        // What cannot be read keeps its number; the next look tries again.
        if let Ok(tally) = self.store.tally(now).await {
            metrics::looked(&tally, self.vault.free().await.ok(), now);
        }
    }

    /// Expires due evidence and removes the files of expired evidence.
    async fn look(&self) -> Result<(), Failed> {
        loop {
            let now = self.clock.now();
            let expired = self.store.expire(uploaded_before(now), now).await?;
            if expired == 0 {
                break;
            }
            self.writer.committed();
        }
        loop {
            let mut removed = Vec::new();
            for file in self.store.unremoved().await? {
                match self.vault.remove(file).await {
                    Ok(()) => removed.push(file),
                    Err(error) => tracing::warn!(%error, "removing an expired file failed"),
                }
            }
            if removed.is_empty() {
                break;
            }
            self.store.removed(&removed).await?;
        }
        loop {
            let now = self.clock.now();
            let before = uploaded_before(now);
            // One that runs goes on, however long ago its first try began.
            let forgotten = self.store.forget_partials(before, now.plus_seconds(-STALE)).await?;
            if forgotten.is_empty() {
                return Ok(());
            }
            for file in forgotten {
                // What is left here, the sweep finds.
                self.vault.discard(file).await?;
            }
        }
    }

    /// Removes leftovers of broken-off uploads, and files whose row was never written. At start for
    /// all days; later for the last two, because earlier ones have been checked.
    async fn sweep(&self, at_start: bool) -> Result<(), Failed> {
        let now = self.clock.now();
        let before = now.plus_seconds(-STALE);
        let torn = self
            .vault
            .remove_unfinished(before, &self.store.partials().await?)
            .await?;
        if torn > 0 {
            tracing::info!(files = torn, "removed leftovers of broken-off uploads");
        }
        let since = vault::day_of(now.plus_seconds(-24 * 60 * 60));
        let mut unknown = Vec::new();
        for day in self.vault.days().await? {
            if at_start || day >= since {
                self.find_unknown(&day, before, &mut unknown).await?;
            }
        }
        if unknown.len() > CREDIBLE {
            // As after a restore from a backup: perhaps the rows can still be recovered.
            tracing::error!(
                files = unknown.len(),
                "many evidence files are unknown to the database; none is removed: is this the right database?"
            );
            return Ok(());
        }
        for file in &unknown {
            self.vault.remove(*file).await?;
        }
        if !unknown.is_empty() {
            tracing::info!(
                files = unknown.len(),
                "removed evidence files whose upload was never acknowledged"
            );
        }
        Ok(())
    }

    async fn find_unknown(&self, day: &str, before: Time, unknown: &mut Vec<Uuid>) -> Result<(), Failed> {
        let files = self.vault.files(day, before).await?;
        for page in files.chunks(PAGE) {
            let kept = self.store.kept(page).await?;
            unknown.extend(page.iter().filter(|file| !kept.contains(file)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use api::event::Actor;
    use journal::{ManualClock, SeededEntropy, ordered_id};
    use testkit::Backend;

    use super::*;
    use crate::{
        Intake,
        evidence::{Folder, State},
        store::{Sender, SqlStore, evidence::Upload},
    };

    /// 2026-11-22 00:00 UTC.
    const NOW: Time = Time(1_795_305_600_000_000);

    #[tokio::test]
    async fn more_files_without_rows_than_crashes_leave_are_kept() {
        let backend = Backend::sqlite();
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).await.unwrap();
        let entropy = Arc::new(SeededEntropy::new(1));
        let db = Intake::open(backend.url()).await.unwrap();
        let upkeep = Upkeep {
            store: Arc::new(SqlStore::new(db.clone(), Arc::clone(&entropy) as _)),
            vault: Arc::new(folder.clone()),
            clock: Arc::new(ManualClock::at(NOW)),
            time: Timekeeper::new(db.clone(), Arc::new(ManualClock::at(NOW)), None),
            writer: Writer::new([]),
        };
        let old = SystemTime::UNIX_EPOCH + Duration::from_micros(NOW.plus_seconds(-2 * STALE).0.unsigned_abs());
        for _ in 0..=CREDIBLE {
            let id = ordered_id(NOW, &*entropy);
            folder.begin(id).await.unwrap().finish().await.unwrap();
        }
        let day = root.path().join(vault::day_of(NOW));
        let files = || std::fs::read_dir(&day).unwrap().map(|file| file.unwrap().path());
        for file in files() {
            std::fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        upkeep.sweep(true).await.unwrap();
        assert_eq!(files().count(), CREDIBLE + 1);
        let one = files().next().unwrap();
        std::fs::remove_file(one).unwrap();
        upkeep.sweep(false).await.unwrap();
        assert_eq!(files().count(), 0);
    }

    #[tokio::test]
    async fn p5_a_clock_in_doubt_removes_no_file_until_it_is_accepted() {
        const DAY: i64 = 86_400;
        let backend = Backend::sqlite();
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).await.unwrap();
        let entropy = Arc::new(SeededEntropy::new(1));
        let db = Intake::open(backend.url()).await.unwrap();
        let store = Arc::new(SqlStore::new(db.clone(), Arc::clone(&entropy) as _));
        let (recorded, unknown) = (ordered_id(NOW, &*entropy), ordered_id(NOW, &*entropy));
        for id in [recorded, unknown] {
            folder.begin(id).await.unwrap().finish().await.unwrap();
        }
        let upload = Upload {
            id: recorded,
            sender: Sender {
                system: "hotline".to_owned(),
                agency: None,
            },
            request: None,
            size: 0,
            sha256: [0; 32],
            declared_type: "text/plain".to_owned(),
            sniffed_type: "text/plain",
            actor: Actor::default(),
            commitment_key: [5; 32],
            traceparent: String::new(),
        };
        store.record_upload(&upload, NOW).await.unwrap();
        let day = root.path().join(vault::day_of(NOW));
        let files = || std::fs::read_dir(&day).unwrap().count();
        let clock = Arc::new(ManualClock::at(NOW));
        let upkeep = |accepted| Upkeep {
            store: Arc::clone(&store) as _,
            vault: Arc::new(folder.clone()),
            clock: Arc::clone(&clock) as _,
            time: Timekeeper::new(db.clone(), Arc::clone(&clock) as _, accepted),
            writer: Writer::new([]),
        };
        assert!(upkeep(None).time.is_believed().await);
        // Years, so that the files are old by their own times, too.
        clock.advance(1_000 * DAY);
        let (held, mut looks) = (upkeep(None), 0);
        for _ in 0..3 {
            held.poll(&mut looks).await;
        }
        assert_eq!((files(), looks), (2, 0));
        let accepted = upkeep(Some(clock.now().plus_seconds(DAY)));
        accepted.poll(&mut looks).await;
        assert_eq!((files(), looks), (0, 1));
        let expired = store.evidence(recorded).await.unwrap().unwrap();
        assert_eq!(expired.state, State::Expired);
        held.poll(&mut looks).await;
        let changes = journal::changes_of(&db, &format!("evidence/{recorded}"), "audit")
            .await
            .unwrap();
        let kinds: Vec<_> = changes.iter().map(|change| change.kind.as_str()).collect();
        assert_eq!(kinds, ["evidence.uploaded", "evidence.expired"]);
    }
}
