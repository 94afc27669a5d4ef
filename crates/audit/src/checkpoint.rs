//! The signed head of the log, in C2SP `tlog-checkpoint` form: the origin, the size and the root, signed as a note.
//!
//! Each of the log's keys signs twice: the plain signature of a note, which every verifier knows, and a timestamped one
//! (`cosignature/v1`, as witnesses make), so that it can be seen how old a checkpoint is that did not have to grow.

use journal::Time;
use signed_note::{Note, NoteError, Signer, VerifierError};
use tlog_tiles::{Checkpoint, Hash};

use crate::{key::LogKey, tree::TreeHead, trust::Trusted};

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

/// The head that a checkpoint signs, when a key signed it that `vkeys` says is to be believed: a verifier key, or the content
/// of a verifier key file. Signatures of others are not looked at.
pub fn open(note: &str, vkeys: &str) -> Result<TreeHead, CheckpointError> {
    Trusted::parse(vkeys)?.open(note)
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: TreeHead = TreeHead {
        size: 923_748,
        root: [7; 32],
    };
    const NOW: Time = Time(1_795_305_600_000_000);

    fn key(n: u8) -> LogKey {
        LogKey::new("remit.test/log", &[n; 32])
    }

    #[test]
    fn a_signed_head_opens_with_its_key_only() {
        let note = sign(&HEAD, &[key(1)], NOW).unwrap();
        assert!(
            note.starts_with(
                "remit.test/log\n923748\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n— remit.test/log "
            )
        );
        assert_eq!(open(&note, &key(1).vkey()).unwrap(), HEAD);
        for other in [key(2), LogKey::new("remit.test/other", &[1; 32])] {
            assert!(matches!(open(&note, &other.vkey()), Err(CheckpointError::Note(_))));
        }
        assert!(matches!(open(&note, "garbage"), Err(CheckpointError::VerifierKey(_))));
    }

    #[test]
    fn each_of_two_keys_is_enough_and_each_says_when() {
        let note = sign(&HEAD, &[key(2), key(1)], NOW).unwrap();
        for n in [1, 2] {
            assert_eq!(open(&note, &key(n).vkey()).unwrap(), HEAD);
            let parsed = Note::from_bytes(note.as_bytes()).unwrap();
            let found = key(n).timestamper().key().find(&parsed).unwrap().unwrap();
            assert_eq!(found.time, 1_795_305_600);
        }
        assert!(open(&note, &key(3).vkey()).is_err());
    }

    #[test]
    fn every_flipped_byte_of_what_the_key_signed_is_noticed() {
        let note = sign(&HEAD, &[key(1)], NOW).unwrap();
        // What follows the first signature is of other types, which verifiers leave aside where they do not know them.
        let end = note.match_indices('\n').nth(4).unwrap().0;
        for i in 0..note.len() {
            let mut flipped = note.clone().into_bytes();
            flipped[i] ^= 1;
            // Not text at all is noticed earlier.
            let Ok(flipped) = String::from_utf8(flipped) else {
                continue;
            };
            if let Ok(head) = open(&flipped, &key(1).vkey()) {
                assert!(i > end && head == HEAD, "byte {i}");
            }
        }
    }

    #[test]
    fn a_checkpoint_of_another_log_by_the_same_key_is_refused() {
        let text = Checkpoint::new("remit.test/other", 1, Hash([0; 32]), "").unwrap();
        let mut note = Note::new(&text.to_bytes(), &[]).unwrap();
        note.add_sigs(&[&key(1)]).unwrap();
        let note = String::from_utf8(note.to_bytes()).unwrap();
        assert!(matches!(
            open(&note, &key(1).vkey()),
            Err(CheckpointError::Origin { .. })
        ));
    }
}
