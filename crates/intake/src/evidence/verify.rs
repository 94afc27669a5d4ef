//! Compares every stored file with what was recorded when it was uploaded.

use journal::Time;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use uuid::Uuid;

use super::{Vault, name};
use crate::store::evidence::{EvidenceStore, StoredEvidence};

/// Rows per query.
const PAGE: u32 = 500;
/// Bytes per read.
const CHUNK: usize = 128 << 10;
/// Faults that are named; the rest are counted.
const NAMED: usize = 20;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files compared.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files that are missing or differ.
    pub wrong: u64,
    /// The first of them, each with its name and what is wrong.
    pub first: Vec<(String, String)>,
    /// Files that the database does not know: uploads that were never acknowledged, which upkeep
    /// removes, or what somebody put there.
    pub unknown: u64,
    /// The first of them.
    pub first_unknown: Vec<String>,
}

/// Reads every file that should be there and compares its length and SHA-256 with the recorded
/// ones; then looks for files that are not recorded, of those written before `settled`: a younger one
/// may be an upload that is about to be. Tells `progress` after each file. Changes nothing; intake
/// may be running.
pub async fn verify(
    store: &dyn EvidenceStore,
    vault: &dyn Vault,
    settled: Time,
    mut progress: impl FnMut(&Verified),
) -> Result<Verified, Unverified> {
    let mut verified = Verified::default();
    let mut after = Uuid::nil();
    loop {
        let files = store.files_after(after, PAGE).await?;
        let Some(last) = files.last() else { break };
        after = last.id;
        for file in &files {
            let problem = compare(file, vault, &mut verified.bytes).await;
            // It may have expired since its row was read.
            let problem = match problem {
                Some(_) if expired(store, file.id).await? => None,
                problem => problem,
            };
            verified.files += 1;
            if let Some(problem) = problem {
                verified.wrong += 1;
                if verified.first.len() < NAMED {
                    verified.first.push((name(file.id), problem));
                }
            }
            progress(&verified);
        }
    }
    let mut days = vault.days().await?;
    days.sort_unstable();
    for day in days {
        let mut files = vault.files(&day, settled).await?;
        files.sort_unstable();
        for page in files.chunks(PAGE as usize) {
            let kept = store.kept(page).await?;
            for file in page.iter().filter(|file| !kept.contains(file)) {
                verified.unknown += 1;
                if verified.first_unknown.len() < NAMED {
                    verified.first_unknown.push(name(*file));
                }
            }
        }
    }
    Ok(verified)
}

/// Why a comparison came to no end.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// The database failed.
    #[error("reading intake's database failed")]
    Store(#[from] sql::Error),
    /// The storage failed.
    #[error("listing the evidence files failed")]
    Storage(#[from] std::io::Error),
}

async fn expired(store: &dyn EvidenceStore, id: Uuid) -> Result<bool, sql::Error> {
    let now = store.evidence(id).await?;
    Ok(now.is_none_or(|now| now.state.is_gone()))
}

/// What is wrong with a stored file, in words.
async fn compare(recorded: &StoredEvidence, vault: &dyn Vault, bytes: &mut u64) -> Option<String> {
    let mut file = match vault.open(recorded.id).await {
        Ok(Some(file)) => file,
        Ok(None) => return Some("it is missing".to_owned()),
        Err(error) => return Some(format!("it cannot be opened: {error}")),
    };
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut data = Vec::with_capacity(CHUNK);
    loop {
        match file.read_buf(&mut data).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Some(format!("it cannot be read: {error}")),
        }
        size += data.len() as u64;
        *bytes += data.len() as u64;
        if size > recorded.size {
            return Some(format!("it is longer than the recorded {} bytes", recorded.size));
        }
        digest.update(&data);
        data.clear();
    }
    if size < recorded.size {
        return Some(format!("it has {size} bytes; {} are recorded", recorded.size));
    }
    (digest.finalize()[..] != recorded.sha256).then(|| "its SHA-256 is not the recorded one".to_owned())
}
