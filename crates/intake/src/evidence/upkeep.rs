//! Letting go: files that no report named in time, and files that were acknowledged to nobody.

use std::{io, sync::Arc, time::Duration};

use journal::{Clock, Time};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Vault, vault};
use crate::{
    REQUEST_ID_WINDOW,
    store::evidence::{EvidenceStore, uploaded_before},
};

/// Time between two looks for files to let go.
const LOOK: Duration = Duration::from_secs(60);
/// Looks until files that nobody knows of are looked for again.
const SWEEP: u32 = 60;
/// A file that was last written to longer ago is not being uploaded any more, in seconds.
const STALE: i64 = 60 * 60;
/// Files asked for at once.
const PAGE: usize = 500;
/// More files without a row than crashes leave: then it is the rows that are missing.
const CREDIBLE: usize = 1_000;

/// What lets go.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) store: Arc<dyn EvidenceStore>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Tells relays that there is something to deliver.
    pub(crate) wake: Arc<dyn Fn() + Send + Sync>,
}

/// Why something could not be let go now. It is tried again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the database: {0}")]
    Store(#[from] sql::Error),
    #[error("the place for evidence: {0}")]
    Vault(#[from] io::Error),
}

impl Upkeep {
    /// Runs until `shutdown`. What an earlier run left is the first that is looked for.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut looks = 0;
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "evidence cannot be let go now");
            }
            if looks % SWEEP == 0
                && let Err(error) = self.sweep(looks == 0).await
            {
                tracing::warn!(%error, "files that nobody knows of cannot be looked for now");
            }
            looks += 1;
            if tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Lets expire what is due, and removes the files of what has expired, now or before.
    async fn look(&self) -> Result<(), Failed> {
        loop {
            let (store, now) = (Arc::clone(&self.store), self.clock.now());
            let expiring = async move { store.expire(uploaded_before(now), now).await };
            if journal::uncancelled(expiring).await? == 0 {
                break;
            }
            (self.wake)();
        }
        loop {
            let mut removed = Vec::new();
            for file in self.store.unremoved().await? {
                match self.vault.remove(file).await {
                    Ok(()) => removed.push(file),
                    Err(error) => tracing::warn!(%error, "an expired file cannot be removed now"),
                }
            }
            if removed.is_empty() {
                break;
            }
            let store = Arc::clone(&self.store);
            journal::uncancelled(async move { store.removed(&removed).await }).await?;
        }
        let (store, now) = (Arc::clone(&self.store), self.clock.now());
        let window = i64::try_from(REQUEST_ID_WINDOW.as_secs()).unwrap_or(i64::MAX);
        let before = now.plus_seconds(-window);
        journal::uncancelled(async move { store.forget_upload_requests(before).await }).await?;
        Ok(())
    }

    /// Removes what uploads left that broke off, and files whose row was never written. At a start of all days; later of the last
    /// two, as whatever was before has been looked at.
    async fn sweep(&self, at_start: bool) -> Result<(), Failed> {
        let now = self.clock.now();
        let before = now.plus_seconds(-STALE);
        let torn = self.vault.remove_unfinished(before).await?;
        if torn > 0 {
            tracing::info!(files = torn, "removed what was left of uploads that broke off");
        }
        let since = vault::day_of(now.plus_seconds(-24 * 60 * 60));
        let mut unknown = Vec::new();
        for day in self.vault.days().await? {
            if at_start || day >= since {
                self.find_unknown(&day, before, &mut unknown).await?;
            }
        }
        if unknown.len() > CREDIBLE {
            // As after a restore from a backup: what the rows were is perhaps still to be found out.
            tracing::error!(
                files = unknown.len(),
                "there are many files of evidence that the database does not know; none is removed: is it the right database?"
            );
            return Ok(());
        }
        for file in &unknown {
            self.vault.remove(*file).await?;
        }
        if !unknown.is_empty() {
            tracing::info!(
                files = unknown.len(),
                "removed files of evidence that were acknowledged to nobody"
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

    use journal::{ManualClock, SeededEntropy, ordered_id};
    use testkit::Backend;

    use super::*;
    use crate::{Intake, evidence::Folder, store::SqlStore};

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
            store: Arc::new(SqlStore::new(db, Arc::clone(&entropy) as _)),
            vault: Arc::new(folder.clone()),
            clock: Arc::new(ManualClock::at(NOW)),
            wake: Arc::new(|| {}),
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
}
