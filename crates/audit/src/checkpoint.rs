//! The signed head of the log, in C2SP `tlog-checkpoint` form: the origin, the size and the root, signed as a note.
//!
//! Each of the log's keys signs twice: the plain signature of a note, which every verifier knows, and a timestamped one
//! (`cosignature/v1`, as witnesses make), so that it can be seen how old a checkpoint is that did not have to grow.

use journal::Time;
use signed_note::{Note, NoteError, Signer, VerifierError};
use tlog_tiles::{Checkpoint, Hash};

use crate::{log_key::LogKey, tree::TreeHead};

/// Why a checkpoint cannot be made or is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The verifier key is not one.
    #[error("the verifier key cannot be read; it looks like ORIGIN+12345678+BASE64")]
    VerifierKey(#[source] VerifierError),
    /// There is no verifier key.
    #[error("there is no verifier key; one looks like ORIGIN+12345678+BASE64")]
    NoKey,
    /// What stands beside the verifier keys is no statement on them.
    #[error("a statement beside the verifier keys cannot be read: the file is damaged, or of a later version of Remit")]
    Statement,
    /// The note is not one, or the key did not sign it.
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
        /// Entries that the checkpoint covers.
        size: u64,
        /// Entries of the last tree that is believed.
        last: u64,
    },
    /// Only a key signed it that another took the place of.
    #[error(
        "the note is signed by the key {key}, which was replaced, and by none that signs now. if it is of before: verify it with \
         the verifier key of its day, or ask for a new one"
    )]
    Replaced {
        /// Verifier key of the replaced key.
        key: String,
    },
    /// The policy names logs, and this is by none of them.
    #[error("the checkpoint is not signed by any of the logs that the policy names")]
    NotListed,
    /// What was signed is not a checkpoint.
    #[error("the signed text is not a checkpoint")]
    Text,
    /// The checkpoint names another log than the key does.
    #[error("the checkpoint is of `{found}`, and the key of `{expected}`")]
    Origin {
        /// The log that the checkpoint names.
        found: String,
        /// The log that the key names.
        expected: String,
    },
}

/// Signs the head of a log with each of these keys, of which there is at least one.
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

/// The origin and the head that a checkpoint names, whoever signed it: for what is held against something that is known otherwise.
pub(crate) fn read(note: &str) -> Result<(String, TreeHead), CheckpointError> {
    text(&Note::from_bytes(note.as_bytes())?)
}

/// What stands in the text of a note that is a checkpoint.
pub(crate) fn text(note: &Note) -> Result<(String, TreeHead), CheckpointError> {
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| CheckpointError::Text)?;
    let (size, Hash(root)) = (checkpoint.size(), *checkpoint.hash());
    Ok((checkpoint.origin().to_owned(), TreeHead { size, root }))
}
