//! The signed head of the log in C2SP `tlog-checkpoint` form: origin, size and root, signed as a
//! note.
//!
//! Each of the log's keys signs twice: the plain signature of a note, which every verifier knows,
//! and a timestamped one (`cosignature/v1`, as witnesses make), which shows the age of a checkpoint
//! of a log that did not grow.

use journal::Time;
use signed_note::{Note, NoteError, Signer, VerifierError};
use tlog_tiles::{Checkpoint, Hash};

use crate::{log_key::LogKey, tree::TreeHead};

/// Why a checkpoint cannot be signed or is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The verifier key is malformed.
    #[error("malformed verifier key; it has the form ORIGIN+12345678+BASE64")]
    VerifierKey(#[source] VerifierError),
    /// There is no verifier key.
    #[error("no verifier key; it has the form ORIGIN+12345678+BASE64")]
    NoKey,
    /// A statement on the verifier keys is malformed.
    #[error("malformed statement on the verifier keys: the file is damaged, or of a later version of Remit")]
    Statement,
    /// The note is malformed, or not signed by the key.
    #[error("the note is not signed by the log's key")]
    Note(#[from] NoteError),
    /// Only a revoked key signed it.
    #[error(
        "the checkpoint of {size} entries is signed by the revoked key {key} alone: the log stands by the tree of {last} \
         entries and no other that this key signed. ask for a checkpoint by the key that took its place"
    )]
    Revoked {
        /// Verifier key of the revoked key.
        key: String,
        /// Number of entries covered by the checkpoint.
        size: u64,
        /// Number of entries of the last trusted tree.
        last: u64,
    },
    /// Only a replaced key signed it.
    #[error(
        "the note is signed by the key {key}, which was replaced, and by none that signs now. if it is of before: verify it with \
         the verifier key of its day, or ask for a new one"
    )]
    Replaced {
        /// Verifier key of the replaced key.
        key: String,
    },
    /// None of the logs in the policy signed it.
    #[error("the checkpoint is not signed by any log of the policy")]
    NotListed,
    /// The signed text is not a checkpoint.
    #[error("the signed text is not a checkpoint")]
    Text,
    /// Checkpoint and key belong to different logs.
    #[error("the checkpoint is of the log `{found}`, but the key of `{expected}`")]
    Origin {
        /// The checkpoint's log.
        found: String,
        /// The key's log.
        expected: String,
    },
}

/// Signs the head of a log with each of these keys, at least one.
pub(crate) fn sign(head: &TreeHead, keys: &[LogKey], now: Time) -> Result<String, CheckpointError> {
    let origin = keys.first().ok_or(CheckpointError::NoKey)?.origin();
    let text = Checkpoint::new(origin, head.size, Hash(head.root), "").map_err(|_| CheckpointError::Text)?;
    let text = text.to_bytes();
    let mut note = Note::new(&text, &[])?;
    note.add_sigs(&keys.iter().map(|key| key as &dyn Signer).collect::<Vec<_>>())?;
    let mut note = String::from_utf8(note.to_bytes()).map_err(|_| CheckpointError::Text)?;
    for key in keys {
        let timestamped = key.timestamper().sign(&text, now)?;
        note += &String::from_utf8_lossy(&timestamped.to_bytes());
    }
    Ok(note)
}

/// Reads the origin and the head of a checkpoint without verifying it: for comparison with trusted
/// data.
pub(crate) fn read(note: &str) -> Result<(String, TreeHead), CheckpointError> {
    text(&Note::from_bytes(note.as_bytes())?)
}

/// Reads the text of a checkpoint's note.
pub(crate) fn text(note: &Note) -> Result<(String, TreeHead), CheckpointError> {
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| CheckpointError::Text)?;
    let (size, Hash(root)) = (checkpoint.size(), *checkpoint.hash());
    Ok((checkpoint.origin().to_owned(), TreeHead { size, root }))
}
