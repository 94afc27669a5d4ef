//! What a log says of its own keys: that one took the place of another, or that one is not to be believed any more.
//!
//! A statement is a signed note, as checkpoints are. Its first line has spaces, which the origin of a log never has: neither
//! can be taken for the other. The text is
//!
//! ```text
//! remit log key statement v1
//! ORIGIN
//! replaced VKEY by VKEY            or:  revoked VKEY at SIZE ROOT
//! time SECONDS
//! reason TEXT                      where something is revoked
//! ```
//!
//! `SIZE ROOT` is the last tree that the log stands by: whatever else the key signed may be by whoever stole it.

use data_encoding::BASE64;
use signed_note::{Note, Signer, StandardVerifier, Verifier as _, VerifierList};

use crate::{checkpoint::CheckpointError, tree::TreeHead};

const HEADER: &str = "remit log key statement v1";

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// From now on the log signs with another key.
    Replaced {
        /// Verifier key of the one before.
        old: String,
        /// Verifier key of the one after.
        new: String,
    },
    /// Somebody else may have the key.
    Revoked {
        /// Its verifier key.
        key: String,
        /// The last tree signed with it that the log stands by.
        last: TreeHead,
        /// Why.
        reason: String,
    },
}

/// A statement with its signatures, which nobody has checked yet.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What is said.
    pub said: Said,
    /// When, in seconds since 1970.
    pub time: u64,
    note: String,
}

impl Statement {
    /// Signs a statement.
    pub(crate) fn sign(origin: &str, said: &Said, time: u64, signers: &[&dyn Signer]) -> Result<Self, CheckpointError> {
        let line = match said {
            Said::Replaced { old, new } => format!("replaced {old} by {new}\ntime {time}\n"),
            Said::Revoked { key, last, reason } => format!(
                "revoked {key} at {} {}\ntime {time}\nreason {reason}\n",
                last.size,
                BASE64.encode(&last.root)
            ),
        };
        let mut note = Note::new(format!("{HEADER}\n{origin}\n{line}").as_bytes(), &[])?;
        note.add_sigs(signers)?;
        let note = String::from_utf8(note.to_bytes()).map_err(|_| CheckpointError::Statement)?;
        // What cannot be read back must not be written.
        Self::parse(origin, &note).ok_or(CheckpointError::Statement)
    }

    /// Reads the note of a statement; `None` when it is none of this log.
    pub(crate) fn parse(origin: &str, note: &str) -> Option<Self> {
        let parsed = Note::from_bytes(note.as_bytes()).ok()?;
        let text = std::str::from_utf8(parsed.text()).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEADER || lines.next()? != origin {
            return None;
        }
        let (what, time) = (lines.next()?, lines.next()?.strip_prefix("time ")?.parse().ok()?);
        let said = match *what.split(' ').collect::<Vec<_>>().as_slice() {
            ["replaced", old, "by", new] => Said::Replaced {
                old: old.to_owned(),
                new: new.to_owned(),
            },
            ["revoked", key, "at", size, root] => Said::Revoked {
                key: key.to_owned(),
                last: TreeHead {
                    size: size.parse().ok()?,
                    root: BASE64.decode(root.as_bytes()).ok()?.try_into().ok()?,
                },
                reason: lines.next()?.strip_prefix("reason ")?.to_owned(),
            },
            _ => return None,
        };
        let vkeys: &[&str] = match &said {
            Said::Replaced { old, new } => &[old, new],
            Said::Revoked { key, .. } => &[key],
        };
        let ours = |vkey: &&str| StandardVerifier::new(vkey).is_ok_and(|key| key.name() == origin);
        (lines.next().is_none() && vkeys.iter().all(ours)).then(|| Self {
            said,
            time,
            note: note.to_owned(),
        })
    }

    /// The signed note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Whether this key signed it.
    pub(crate) fn is_signed_by(&self, vkey: &str) -> bool {
        let (Ok(note), Ok(key)) = (Note::from_bytes(self.note.as_bytes()), StandardVerifier::new(vkey)) else {
            return false;
        };
        note.verify(&VerifierList::new(vec![Box::new(key)])).is_ok()
    }
}
