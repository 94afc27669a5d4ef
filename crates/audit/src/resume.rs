//! The state that a log may resume from, and the states it refuses.
//!
//! A log that signed a tree must never sign one that does not contain it. The danger is a database
//! restored from a backup, which looks complete by itself. So a copy of the last checkpoint is kept
//! outside the database, and the log does not start without it or in contradiction to it.
//!
//! Witnesses, if configured, are asked for their last checkpoints, which count like the file. They
//! replace a missing file (in a cluster without a shared volume it disappears with each pod) if
//! enough of them answer that nothing can have been published without one of them.

use std::path::{Path, PathBuf};

use journal::{Entropy, Time};

use crate::{
    Config, Error, checkpoint::CheckpointError, file, key::LogKeys, prove, publisher::Published, scrub, store::Store,
    tree::TreeHead, witnesses::Witnesses,
};

/// Why the log must not continue. Each message states the finding and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The database has fewer entries than were signed.
    #[error(
        "the checkpoint in {place} covers {signed} entries, but the database has {held}: it was restored from a backup or \
         replaced. continuing would fork the log. restore a database that has all {signed} entries; `remit log recover` shows \
         the alternatives"
    )]
    RolledBack {
        /// Location of the checkpoint.
        place: Place,
        /// Number of signed entries.
        signed: u64,
        /// Number of entries in the database.
        held: u64,
    },
    /// The database has different entries than were signed.
    #[error(
        "the checkpoint in {place} covers {signed} entries, but its root differs from the database's tree at that \
         size: the database is a fork of the log, or another log's. restore the database that the checkpoint was signed from; \
         `remit log recover` shows the alternatives"
    )]
    Forked {
        /// Location of the checkpoint.
        place: Place,
        /// Number of signed entries.
        signed: u64,
    },
    /// Entries below the head are missing.
    #[error(
        "the database claims {held} entries, but entry {index} or its detail is missing: rows were \
         deleted. restore a database that has them; `remit log recover` shows the alternatives"
    )]
    EntriesMissing {
        /// Number of entries by the head.
        held: u64,
        /// The first missing one found.
        index: u64,
    },
    /// The copy outside the database is missing.
    #[error(
        "the log has been used ({held} entries), but its checkpoint file {} is missing: without it nobody can tell whether \
         the database is current. put the file back; if it is lost, use the newest checkpoint that a verifier has \
         kept, not an older one; `remit log recover` says how", path.display()
    )]
    FileMissing {
        /// Path of the file.
        path: PathBuf,
        /// Number of entries in the database.
        held: u64,
    },
    /// The key is missing.
    #[error(
        "the log has been used, but its key file {} is missing: a new key would make a log that nobody can check against the \
         old. put the key back", path.display()
    )]
    KeyMissing {
        /// Path of the key file.
        path: PathBuf,
    },
    /// The signing key is revoked.
    #[error(
        "the log's key {vkey} is revoked, and there is no other: the revocation was interrupted. run `remit log key revoke` \
         again"
    )]
    KeyRevoked {
        /// Its verifier key.
        vkey: String,
    },
    /// A checkpoint is not by this log's keys.
    #[error(
        "the checkpoint in {place} is not this log's: it is damaged, or the key or origin was changed. restore the \
         matching checkpoint, key and origin"
    )]
    NotOurs {
        /// Location of the checkpoint.
        place: Place,
        /// The cause.
        #[source]
        source: CheckpointError,
    },
}

/// Location of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file outside the database.
    File(PathBuf),
    /// The database.
    Database,
    /// A witness.
    Witness(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Database => f.write_str("the database"),
            Self::Witness(name) => write!(f, "the records of the witness {name}"),
        }
    }
}

/// Whether anything was ever logged or signed, as far as visible here.
pub(crate) async fn was_used(store: &dyn Store, config: &Config) -> Result<bool, Error> {
    Ok(store.head().await?.size > 0
        || store.newest_checkpoint().await?.is_some()
        || read_checkpoint(&config.checkpoint_file).await?.is_some())
}

/// Loads the log's keys and the last checkpoint to resume from; `None` for an unused log, which
/// gets a new key.
pub(crate) async fn resume(
    store: &dyn Store,
    config: &Config,
    witnesses: Option<&Witnesses>,
    entropy: &dyn Entropy,
) -> Result<(LogKeys, Option<Published>), Error> {
    let held = store.head().await?;
    let inside = store.newest_checkpoint().await?;
    let outside = read_checkpoint(&config.checkpoint_file).await?;
    let used = held.size > 0 || inside.is_some();
    let keys = match LogKeys::load(&config.origin, &config.key_file).await? {
        Some(keys) => keys,
        None if used || outside.is_some() => {
            return Err(Refused::KeyMissing {
                path: config.key_file.clone(),
            }
            .into());
        }
        None => LogKeys::create(&config.origin, &config.key_file, entropy).await?,
    };
    if keys.signs_with_a_revoked_key() {
        return Err(Refused::KeyRevoked { vkey: keys.vkey() }.into());
    }
    let seen = match witnesses {
        Some(witnesses) => seen(witnesses, &keys).await,
        None => Seen::default(),
    };
    if used && outside.is_none() && !seen.is_complete {
        return Err(Refused::FileMissing {
            path: config.checkpoint_file.clone(),
            held: held.size,
        }
        .into());
    }
    // The other entries are checked while the log runs.
    if let Some(index) = store.missing(scrub::newest(held.size)).await?.first() {
        let (held, index) = (held.size, *index);
        return Err(Refused::EntriesMissing { held, index }.into());
    }
    let mut last: Option<Published> = None;
    let own = [
        (Place::File(config.checkpoint_file.clone()), outside),
        (Place::Database, inside),
    ];
    let own = own.into_iter().filter_map(|(place, note)| Some((place, note?)));
    for (place, note) in own.chain(seen.notes) {
        let head = match keys.open_own(&note) {
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
        // A file behind the database was itself restored: the larger checkpoint counts.
        if last.as_ref().is_none_or(|last| last.head.size < head.size) {
            let time = Time(0);
            last = Some(Published { head, note, time });
        }
    }
    Ok((keys, last))
}

/// The witnesses' knowledge of this log.
#[derive(Default)]
struct Seen {
    /// The last checkpoint of each.
    notes: Vec<(Place, String)>,
    /// Whether everything published was seen by at least one of those who answered, so that they
    /// replace the file.
    is_complete: bool,
}

async fn seen(witnesses: &Witnesses, keys: &LogKeys) -> Seen {
    let answers = witnesses.seen().await;
    let answered: Vec<usize> = answers.iter().map(|(place, _)| *place).collect();
    let mut notes = Vec::new();
    for (place, note) in answers {
        let name = witnesses.name(place);
        match note {
            // The log's own signature decides whether it concerns this log: a witness alone cannot
            // stop it.
            Some(note) if keys.open_own(&note).is_ok() => notes.push((Place::Witness(name), note)),
            Some(_) => tracing::warn!(
                witness = name,
                "this witness's last checkpoint is not signed by this log's keys"
            ),
            None => {}
        }
    }
    let silent = |place: usize| !answered.contains(&place);
    let is_complete = witnesses.needed() && !notes.is_empty() && !witnesses.could_be_enough(silent);
    Seen { notes, is_complete }
}

/// The largest tree that this log's keys signed, as far as the file, the database and the witnesses
/// know, and its source. `None` if the file is missing and nothing replaces it.
///
/// # Errors
///
/// If the file or the database has a checkpoint that is not this log's.
pub(crate) async fn newest_signed(
    store: &dyn Store,
    config: &Config,
    witnesses: Option<&Witnesses>,
    keys: &LogKeys,
) -> Result<Option<(Place, TreeHead)>, Error> {
    let seen = match witnesses {
        Some(witnesses) => seen(witnesses, keys).await,
        None => Seen::default(),
    };
    let path = &config.checkpoint_file;
    let outside = read_checkpoint(path).await?;
    if outside.is_none() && !seen.is_complete {
        return Ok(None);
    }
    let own = [
        (Place::File(path.clone()), outside),
        (Place::Database, store.newest_checkpoint().await?),
    ];
    let own = own.into_iter().filter_map(|(place, note)| Some((place, note?)));
    let heads = own.chain(seen.notes).map(|(place, note)| match keys.open_own(&note) {
        Ok(head) => Ok((place, head)),
        Err(source) => Err(Refused::NotOurs { place, source }.into()),
    });
    let heads = heads.collect::<Result<Vec<_>, Error>>()?;
    Ok(heads.into_iter().max_by_key(|(_, head)| head.size))
}

async fn read_checkpoint(path: &Path) -> Result<Option<String>, Error> {
    let note = file::read(path)
        .await
        .map_err(Error::file("reading the checkpoint file", path))?;
    // Non-UTF-8 bytes do not open as a note anyway.
    Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
}
