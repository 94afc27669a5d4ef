//! What can be done when the log must not go on: an older database made whole again, where what is missing can be proven.
//!
//! The one way that changes anything is [`Recovery::append`]: entries that the database lacks, from an export with details.
//! Those behind its end, as in a restored backup, are taken when, together with what it holds, they give exactly the root that was
//! signed; those whose rows were deleted, when they are the leaves of its tree. Then they are what was there, in its order, byte for
//! byte. Anything else is refused before a row is written.

use std::{collections::BTreeSet, sync::Arc};

use api::event::StateChange;
use journal::{Bytes32, Clock, Entropy, Entry};

use crate::{
    Config, Error,
    check::{Checked, check},
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
    /// Not as many as are missing.
    #[error("{found} entries were given, and {missing} are missing")]
    Count {
        /// Entries that were given.
        found: u64,
        /// Entries that are missing.
        missing: u64,
    },
    /// They are not what was signed.
    #[error(
        "with these entries the log would have another root than was signed: they are not what is missing, or not in order"
    )]
    Unproven,
    /// One is another than the one that was deleted.
    #[error("entry {0} is not what was deleted: the log's tree has another there")]
    NotIt(u64),
    /// One is not an entry with what it commits to.
    #[error("entry {0} is damaged, or what it commits to is not with it")]
    Entry(u64),
    /// The tree's tiles are not what they should be.
    #[error("the database's own tree is damaged; restore another backup")]
    Tree(#[source] tlog_tiles::Error),
    /// The store did not take them.
    #[error("the entries could not be appended")]
    Store(#[from] StoreError),
}

/// An entry, with what it commits to.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The canonical entry.
    pub entry: Vec<u8>,
    /// The salt of the commitment.
    pub salt: Bytes32,
    /// The encoded detail.
    pub detail: Vec<u8>,
}

/// A log that does not run, and what was signed of it.
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

/// Says why a log does not start, without starting it: `None` when it would. Nothing is changed, but that whoever has the
/// database open is fenced.
///
/// # Errors
/// When that cannot be said: the database or a file cannot be read.
pub async fn diagnose(config: &Config, entropy: &dyn Entropy) -> Result<Option<Refused>, Error> {
    let witnesses = crate::witnesses(config).await?;
    let store = SqlStore::open(&config.database).await?;
    // A log that was never used has nothing to recover, and no key is made for it here.
    let diagnosis = match LogKeys::load(&config.origin, &config.key_file).await? {
        None if !resume::was_used(&store, config).await? => Ok(None),
        _ => match resume::resume(&store, config, witnesses.as_ref(), entropy).await {
            Ok(_) => {
                // A start looks for the newest only.
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
    /// Opens a log whose database holds less than was signed.
    ///
    /// # Errors
    /// When key, checkpoint file or database cannot be read, a checkpoint is not by this log's keys, or the file is missing and no
    /// witnesses stand in for it.
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

    /// Entries that an export has, by its checkpoint.
    ///
    /// Whichever of the log's keys ever signed that: what is appended is proven by the root that was signed last, and an export of
    /// before a key was replaced or revoked may be all there is.
    ///
    /// # Errors
    /// When none of them did.
    pub fn size_of(&self, checkpoint: &str) -> Result<u64, CheckpointError> {
        self.keys.open_own(checkpoint).map(|head| head.size)
    }

    /// The indexes of the entries that were signed and are not in the database, or not with their details. Of those that were
    /// deleted from its middle, the newest 1,000,000 at least.
    pub fn missing(&self) -> &BTreeSet<u64> {
        &self.missing
    }

    /// Puts in what is missing, in the order of [`Recovery::missing`], when it is proven to be that.
    pub async fn append(&self, entries: Vec<Whole>) -> Result<(), RecoverError> {
        let (found, missing) = (entries.len() as u64, self.missing.len() as u64);
        if found != missing {
            return Err(RecoverError::Count { found, missing });
        }
        let mut checked = Vec::with_capacity(entries.len());
        for (&index, whole) in self.missing.iter().zip(entries) {
            let source = Entry::decode(&whole.entry)
                .map_err(|_| RecoverError::Entry(index))?
                .source;
            let change = StateChange {
                entry: whole.entry.into(),
                salt: whole.salt.to_vec().into(),
                detail: whole.detail.into(),
                traceparent: String::new(),
            };
            checked.push((index, check(&source, change).map_err(|_| RecoverError::Entry(index))?));
        }
        let behind = checked.partition_point(|(index, _)| *index < self.held.size);
        let (deleted, tail) = checked.split_at(behind);
        let prover = Prover::new(Arc::clone(&self.store) as Arc<dyn Store>);
        for (index, change) in deleted {
            let is_proven = prover.holds(self.held, *index, change.hash).await;
            if !is_proven.map_err(StoreError::from)? {
                return Err(RecoverError::NotIt(*index));
            }
        }
        if !tail.is_empty() {
            self.check_tail(tail).await?;
        }
        // In groups, in order: a crash in between leaves fewer to put in, by the same proof.
        for group in deleted.chunks(GROUP) {
            self.store.put_back(group).await?;
        }
        for group in tail.chunks(GROUP) {
            let group: Vec<&Checked> = group.iter().map(|(_, change)| change).collect();
            self.store.append_proven(&group).await?;
        }
        match tail.is_empty() || self.store.head().await? == self.signed {
            true => Ok(()),
            false => Err(RecoverError::Unproven),
        }
    }

    /// Whether these entries, behind those that are held, give what was signed.
    async fn check_tail(&self, tail: &[(u64, Checked)]) -> Result<(), RecoverError> {
        let tiles = self.store.tiles(Edge::places(self.held.size)).await;
        let tiles = tiles.map_err(StoreError::from)?;
        let edge = Edge::open(self.held, tiles).map_err(RecoverError::Tree)?;
        let leaves: Vec<Bytes32> = tail.iter().map(|(_, change)| change.hash).collect();
        let (grown, _) = edge.grow(&leaves).map_err(RecoverError::Tree)?;
        match grown.head() == self.signed {
            true => Ok(()),
            false => Err(RecoverError::Unproven),
        }
    }

    /// Lets the database go.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Entries of one transaction.
const GROUP: usize = 1_000;
/// Deleted entries that are told and put back at once.
const MOST: usize = 1_000_000;

/// The indexes of a log of `held` entries whose rows are not there: all, or the newest as soon as they are `enough`.
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
