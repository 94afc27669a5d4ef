//! What a start may go on from, and when it must not.
//!
//! A log that once signed a tree must never sign one that does not contain it. The danger is a database that was restored
//! from a backup: by itself it looks whole. So a copy of the last checkpoint lives outside of it, and without that copy, or
//! against it, nothing starts.
//!
//! Witnesses, where there are any, are asked what they saw last, and count like the file. They stand in for a file that is gone
//! (in a cluster without a shared volume it goes with each pod) when so many answer that nothing can have been published
//! without one of them.

use std::path::{Path, PathBuf};

use journal::{Entropy, Time};

use crate::{
    Config, Error, checkpoint::CheckpointError, file, key::LogKeys, prove, publisher::Published, scrub, store::Store,
    tree::TreeHead, witnesses::Witnesses,
};

/// Why the log must not go on. Each says what was found, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Fewer entries than were signed.
    #[error(
        "the checkpoint in {place} covers {signed} entries, but the database holds {held}: it was restored from a backup or \
         replaced. going on would fork the log. restore a database that holds all {signed} entries; `remit log recover` says \
         what else can be done"
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
         size: the database is a fork of the log, or another log's. restore the database that the checkpoint was signed from; \
         `remit log recover` says what else can be done"
    )]
    Forked {
        /// Where the checkpoint is.
        place: Place,
        /// Entries that were signed.
        signed: u64,
    },
    /// The head says more than there is.
    #[error(
        "the database says that the log has {held} entries, but entry {index}, or its detail, is missing: rows were \
         deleted. restore a database that holds them; `remit log recover` says what else can be done"
    )]
    EntriesMissing {
        /// Entries that there should be.
        held: u64,
        /// The first that is missing of those that were looked for.
        index: u64,
    },
    /// The copy outside of the database is gone.
    #[error(
        "the log has been used ({held} entries), but its checkpoint file {} is missing: without it nobody can tell whether \
         the database is the newest. put the file back; when it is lost, put the newest checkpoint there that a verifier has \
         kept, not an older one; `remit log recover` says how", path.display()
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
    /// The key that would sign is revoked.
    #[error(
        "the log's key {vkey} is revoked, and no other is there: the revocation was interrupted. run `remit log key revoke` \
         again"
    )]
    KeyRevoked {
        /// Its verifier key.
        vkey: String,
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
    /// At a witness.
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

/// Whether anything was ever logged or signed, as far as can be seen here.
pub(crate) async fn was_used(store: &dyn Store, config: &Config) -> Result<bool, Error> {
    Ok(store.head().await?.size > 0
        || store.newest_checkpoint().await?.is_some()
        || read_checkpoint(&config.checkpoint_file).await?.is_some())
}

/// The log's keys, and the last checkpoint to go on from; none when the log was never used, for which a key is made.
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
    // The others are looked for once it runs.
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
        // A file that is behind the database was restored itself: the larger one counts.
        if last.as_ref().is_none_or(|last| last.head.size < head.size) {
            let time = Time(0);
            last = Some(Published { head, note, time });
        }
    }
    Ok((keys, last))
}

/// What witnesses know of this log.
#[derive(Default)]
struct Seen {
    /// What each saw last.
    notes: Vec<(Place, String)>,
    /// Whether nothing can have become public that none of those who answered has seen: then they stand in for the file.
    is_complete: bool,
}

async fn seen(witnesses: &Witnesses, keys: &LogKeys) -> Seen {
    let answers = witnesses.seen().await;
    let answered: Vec<usize> = answers.iter().map(|(place, _)| *place).collect();
    let mut notes = Vec::new();
    for (place, note) in answers {
        let name = witnesses.name(place);
        match note {
            // Whether it says anything of this log is for the log's own signature to say: a witness alone cannot stop it.
            Some(note) if keys.open_own(&note).is_ok() => notes.push((Place::Witness(name), note)),
            Some(_) => tracing::warn!(witness = name, "what this witness saw last is not by this log's keys"),
            None => {}
        }
    }
    let silent = |place: usize| !answered.contains(&place);
    let is_complete = witnesses.needed() && !notes.is_empty() && !witnesses.could_be_enough(silent);
    Seen { notes, is_complete }
}

/// The largest tree that this log's keys ever signed, as far as file, database and witnesses know, and who knows it; `None` when the file is missing
/// and nothing stands in for it.
///
/// # Errors
/// When the file or the database has a checkpoint that is not this log's.
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
    // What is not text does not open as a note either.
    Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
}
