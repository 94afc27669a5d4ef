//! Recovery of a log that must not continue: completes an older database if the missing entries can
//! be proven.
//!
//! The only modifying operation is [`Recovery::append`]: entries missing from the database, taken
//! from an export with details. Entries behind its end, as in a restored backup, are accepted if
//! together with the existing ones they give exactly the signed root; deleted entries, if they are
//! leaves of the log's tree. Then they are the original entries in the original order, byte for
//! byte. Anything else is refused before any row is written.

use std::{collections::BTreeSet, sync::Arc};

use api::event::Opening;
use journal::{Bytes32, Clock, Entropy, Openings};

use crate::{
    Config, Error,
    check::Leaf,
    checkpoint::CheckpointError,
    key::LogKeys,
    prove::{self, Prover},
    resume::{self, Refused},
    scrub,
    sql_store::SqlStore,
    store::{Store, StoreError},
    tree::{Edge, TreeHead},
};

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The number of entries is wrong.
    #[error("{found} entries were given, but {missing} are missing")]
    Count {
        /// Number of given entries.
        found: u64,
        /// Number of missing entries.
        missing: u64,
    },
    /// The entries are not the signed ones.
    #[error(
        "with these entries the log's root would differ from the signed one: they are not the missing entries, or not in order"
    )]
    Unproven,
    /// An entry differs from the deleted one.
    #[error("entry {0} differs from the deleted one in the log's tree")]
    NotIt(u64),
    /// An entry is damaged, or its detail does not match its commitment.
    #[error("entry {0} is damaged, or its detail does not match its commitment")]
    Entry(u64),
    /// The database's tiles are damaged.
    #[error("the database's own tree is damaged; restore another backup")]
    Tree(#[source] tlog_tiles::Error),
    /// The store failed.
    #[error("appending the entries failed")]
    Store(#[from] StoreError),
}

/// An entry with its salt and detail.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The canonical entry.
    pub entry: Vec<u8>,
    /// Opens its chain and its detail; `None` for a mark.
    pub openings: Option<(Opening, Opening)>,
}

/// A stopped log and the heads that were signed.
pub struct Recovery {
    store: Arc<SqlStore>,
    keys: LogKeys,
    held: TreeHead,
    signed: TreeHead,
    missing: BTreeSet<u64>,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery")
            .field("held", &self.held)
            .field("signed", &self.signed)
            .finish_non_exhaustive()
    }
}

/// Says why a log does not start, without starting it; `None` if it would start. Changes nothing,
/// except that other processes with the database open are fenced.
///
/// # Errors
///
/// If the database or a file cannot be read.
pub async fn diagnose(config: &Config, entropy: &dyn Entropy) -> Result<Option<Refused>, Error> {
    let witnesses = crate::witnesses(config).await?;
    let store = SqlStore::open(&config.database).await?;
    // An unused log needs no recovery, and no key must be created for it here.
    let diagnosis = match LogKeys::load(&config.origin, &config.key_file).await? {
        None if !resume::was_used(&store, config).await? => Ok(None),
        _ => match resume::resume(&store, config, witnesses.as_ref(), entropy).await {
            Ok(_) => {
                // A start checks only the newest entries.
                let held = store.head().await?.size;
                let index = deleted(&store, held, 1).await?.first().copied();
                Ok(index.map(|index| Refused::EntriesMissing { held, index }))
            }
            Err(Error::Refused(refused)) => Ok(Some(refused)),
            Err(error) => Err(error),
        },
    };
    store.close().await;
    diagnosis
}

impl Recovery {
    /// Opens a log whose database has fewer entries than were signed.
    ///
    /// # Errors
    ///
    /// If the key, the checkpoint file or the database cannot be read, a checkpoint is not by this
    /// log's keys, or the file is missing and no witnesses replace it.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        let keys = LogKeys::load(&config.origin, &config.key_file).await?;
        let keys = keys.ok_or_else(|| Refused::KeyMissing {
            path: config.key_file.clone(),
        })?;
        let witnesses = crate::witnesses(config).await?;
        let store = SqlStore::open_with(&config.database, clock, entropy).await?;
        let held = store.head().await?;
        let signed = resume::newest_signed(&store, config, witnesses.as_ref(), &keys).await?;
        let (place, signed) = signed.ok_or_else(|| Refused::FileMissing {
            path: config.checkpoint_file.clone(),
            held: held.size,
        })?;
        let store = Arc::new(store);
        if signed.size <= held.size && !prove::extends(&*store, signed, held).await? {
            let signed = signed.size;
            return Err(Refused::Forked { place, signed }.into());
        }
        let mut missing = deleted(&*store, held.size, MOST).await?;
        missing.extend(held.size..signed.size);
        Ok(Self {
            store,
            keys,
            held,
            signed,
            missing,
        })
    }

    /// The size of an export, from its checkpoint.
    ///
    /// Accepts checkpoints signed by any of the log's keys: appended entries are proven by the root
    /// signed last, and an export from before a rotation or revocation may be all there is.
    ///
    /// # Errors
    ///
    /// If none of the log's keys signed it.
    pub fn size_of(&self, checkpoint: &str) -> Result<u64, CheckpointError> {
        self.keys.open_own(checkpoint).map(|head| head.size)
    }

    /// The indexes of the signed entries that the database lacks, or whose details it lacks. Of
    /// entries deleted from its middle, at least the newest 1,000,000.
    pub fn missing(&self) -> &BTreeSet<u64> {
        &self.missing
    }

    /// Inserts the missing entries, in the order of [`Recovery::missing`], if they are proven to be
    /// the original ones.
    pub async fn append(&self, entries: Vec<Whole>) -> Result<(), RecoverError> {
        let (found, missing) = (entries.len() as u64, self.missing.len() as u64);
        if found != missing {
            return Err(RecoverError::Count { found, missing });
        }
        let mut checked = Vec::with_capacity(entries.len());
        for (&index, whole) in self.missing.iter().zip(entries) {
            let openings = whole.openings.as_ref().map(|(chain, detail)| Openings {
                chain: chain.into(),
                detail: detail.into(),
            });
            let leaf = Leaf::whole(whole.entry, openings).map_err(|_| RecoverError::Entry(index))?;
            checked.push((index, leaf));
        }
        let behind = checked.partition_point(|(index, _)| *index < self.held.size);
        let (deleted, tail) = checked.split_at(behind);
        let prover = Prover::new(Arc::clone(&self.store) as Arc<dyn Store>);
        for (index, leaf) in deleted {
            let is_proven = prover.holds(self.held, *index, leaf.hash()).await;
            if !is_proven.map_err(StoreError::from)? {
                return Err(RecoverError::NotIt(*index));
            }
        }
        if !tail.is_empty() {
            self.check_tail(tail).await?;
        }
        // In groups, in order: after a crash in between, fewer are missing, with the same proof.
        for group in deleted.chunks(GROUP) {
            self.store.put_back(group).await?;
        }
        for group in tail.chunks(GROUP) {
            let group: Vec<&Leaf> = group.iter().map(|(_, leaf)| leaf).collect();
            self.store.append_proven(&group).await?;
        }
        match tail.is_empty() || self.store.head().await? == self.signed {
            true => Ok(()),
            false => Err(RecoverError::Unproven),
        }
    }

    /// Checks that these entries, appended to the existing ones, give the signed root.
    async fn check_tail(&self, tail: &[(u64, Leaf)]) -> Result<(), RecoverError> {
        let tiles = self.store.tiles(Edge::places(self.held.size)).await;
        let tiles = tiles.map_err(StoreError::from)?;
        let edge = Edge::open(self.held, tiles).map_err(RecoverError::Tree)?;
        let leaves: Vec<Bytes32> = tail.iter().map(|(_, leaf)| leaf.hash()).collect();
        let (grown, _) = edge.grow(&leaves).map_err(RecoverError::Tree)?;
        match grown.head() == self.signed {
            true => Ok(()),
            false => Err(RecoverError::Unproven),
        }
    }

    /// Closes the database.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Entries per transaction.
const GROUP: usize = 1_000;
/// Maximum number of deleted entries to find and restore at once.
const MOST: usize = 1_000_000;

/// The indexes below `held` whose rows are missing: all, or the newest as soon as there are
/// `enough`.
async fn deleted(store: &dyn Store, held: u64, enough: usize) -> Result<BTreeSet<u64>, StoreError> {
    let mut deleted = BTreeSet::new();
    for part in scrub::parts(held) {
        deleted.extend(store.missing(part).await?);
        if deleted.len() >= enough {
            break;
        }
    }
    Ok(deleted)
}
