//! The log's statements about its own keys: that one key replaced another, or that a key is
//! revoked.
//!
//! A statement is a signed note, like a checkpoint. Its first line contains spaces, which a log's
//! origin never does, so that the two cannot be confused. The text is
//!
//! ```text
//! remit log key statement v1
//! ORIGIN
//! replaced VKEY by VKEY            or:  revoked VKEY at SIZE ROOT
//! time SECONDS
//! reason TEXT                      where something is revoked
//! ```
//!
//! `SIZE ROOT` is the last tree that the log stands by: everything else signed by the key may be a
//! thief's.

use data_encoding::BASE64;
use signed_note::{Note, Signer, StandardVerifier, Verifier as _, VerifierList};

use crate::{checkpoint::CheckpointError, tree::TreeHead};

const HEADER: &str = "remit log key statement v1";

/// The content of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The log signs with another key from now on.
    Replaced {
        /// Verifier key of the old one.
        old: String,
        /// Verifier key of the new one.
        new: String,
    },
    /// Somebody else may have the key.
    Revoked {
        /// Its verifier key.
        key: String,
        /// The last tree signed with it that the log stands by.
        last: TreeHead,
        /// The reason.
        reason: String,
    },
}

/// A statement with its unverified signatures.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its content.
    pub said: Said,
    /// Its time, in seconds since 1970.
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
        // Refuse to write a statement that does not parse.
        Self::parse(origin, &note).ok_or(CheckpointError::Statement)
    }

    /// Parses the note of a statement; `None` if it is not one of this log.
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

    /// Whether a key signed the statement.
    pub(crate) fn is_signed_by(&self, vkey: &str) -> bool {
        let (Ok(note), Ok(key)) = (Note::from_bytes(self.note.as_bytes()), StandardVerifier::new(vkey)) else {
            return false;
        };
        note.verify(&VerifierList::new(vec![Box::new(key)])).is_ok()
    }
}
