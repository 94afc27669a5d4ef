//! What a start may go on from, and when it must not.
//!
//! A log that once signed a tree must never sign one that does not contain it. The danger is a database that was restored
//! from a backup: by itself it looks whole. So a copy of the last checkpoint lives outside of it, and without that copy, or
//! against it, nothing starts.

use std::path::{Path, PathBuf};

use journal::Entropy;

use crate::{
    Config, Error,
    checkpoint::{self, CheckpointError},
    file,
    key::LogKey,
    prove,
    publisher::Published,
    store::Store,
};

/// Why the log must not go on. Each says what was found, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Fewer entries than were signed.
    #[error(
        "the checkpoint in {place} covers {signed} entries, but the database holds {held}: it was restored from a backup or \
         replaced. going on would fork the log. restore a database that holds all {signed} entries"
    )]
    RolledBack {
        /// Where the checkpoint is.
        place: Place,
        /// Entries that were signed.
        signed: u64,
        /// Entries that there are.
        held: u64,
    },
    /// Other entries than were signed.
    #[error(
        "the checkpoint in {place} covers {signed} entries, and its root differs from the tree that the database holds at that \
         size: the database is a fork of the log, or another log's. restore the database that the checkpoint was signed from"
    )]
    Forked {
        /// Where the checkpoint is.
        place: Place,
        /// Entries that were signed.
        signed: u64,
    },
    /// The copy outside of the database is gone.
    #[error(
        "the log has been used ({held} entries), but its checkpoint file {} is missing: without it nobody can tell whether \
         the database is the newest. put the file back; when it is lost, put the newest checkpoint there that a verifier has \
         kept, not an older one", path.display()
    )]
    FileMissing {
        /// Where it should be.
        path: PathBuf,
        /// Entries that there are.
        held: u64,
    },
    /// The key is gone.
    #[error(
        "the log has been used, but its key file {} is missing: a new key would make a log that nobody can check against the \
         old. put the key back", path.display()
    )]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A checkpoint is not by this log's key.
    #[error(
        "the checkpoint in {place} is not this log's: it is damaged, or key or origin have been changed. put back the \
         checkpoint, key and origin that belong together"
    )]
    NotOurs {
        /// Where the checkpoint is.
        place: Place,
        /// Why.
        #[source]
        source: CheckpointError,
    },
}

/// Where a checkpoint was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file outside of the database.
    File(PathBuf),
    /// In the database.
    Database,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Database => f.write_str("the database"),
        }
    }
}

/// The log's key, and the last checkpoint to go on from; none when the log was never used, for which a key is made.
pub(crate) async fn resume(
    store: &dyn Store,
    config: &Config,
    entropy: &dyn Entropy,
) -> Result<(LogKey, Option<Published>), Error> {
    let held = store.head().await?;
    let inside = store.newest_checkpoint().await?;
    let outside = read_checkpoint(&config.checkpoint_file).await?;
    let used = held.size > 0 || inside.is_some();
    if used && outside.is_none() {
        return Err(Refused::FileMissing {
            path: config.checkpoint_file.clone(),
            held: held.size,
        }
        .into());
    }
    let key = match LogKey::load(&config.origin, &config.key_file).await? {
        Some(key) => key,
        None if used || outside.is_some() => {
            return Err(Refused::KeyMissing {
                path: config.key_file.clone(),
            }
            .into());
        }
        None => LogKey::create(&config.origin, &config.key_file, entropy).await?,
    };
    let mut last: Option<Published> = None;
    for (place, note) in [
        (Place::File(config.checkpoint_file.clone()), outside),
        (Place::Database, inside),
    ] {
        let Some(note) = note else { continue };
        let head = match checkpoint::open(&note, &key.vkey()) {
            Ok(head) => head,
            Err(source) => return Err(Refused::NotOurs { place, source }.into()),
        };
        if head.size > held.size {
            return Err(Refused::RolledBack {
                place,
                signed: head.size,
                held: held.size,
            }
            .into());
        }
        if !prove::extends(store, head, held).await? {
            return Err(Refused::Forked {
                place,
                signed: head.size,
            }
            .into());
        }
        // A file that is behind the database was restored itself: the larger one counts.
        if last.as_ref().is_none_or(|last| last.head.size < head.size) {
            last = Some(Published { head, note });
        }
    }
    Ok((key, last))
}

async fn read_checkpoint(path: &Path) -> Result<Option<String>, Error> {
    let note = file::read(path)
        .await
        .map_err(Error::file("reading the checkpoint file", path))?;
    // What is not text does not open as a note either.
    Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
}
