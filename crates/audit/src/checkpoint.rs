//! The signed head of the log, in C2SP `tlog-checkpoint` form: the origin, the size and the root, signed as a note.

use journal::Bytes32;
use signed_note::{Note, NoteError, StandardVerifier, Verifier as _, VerifierError, VerifierList};
use tlog_tiles::{Checkpoint, Hash};

use crate::{key::LogKey, tree::TreeHead};

/// Why a checkpoint cannot be made or is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The verifier key is not one.
    #[error("the verifier key cannot be read; it looks like ORIGIN+12345678+BASE64")]
    VerifierKey(#[source] VerifierError),
    /// The note is not one, or the key did not sign it.
    #[error("the note is not signed by the log's key")]
    Note(#[from] NoteError),
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

/// Signs the head of a log.
pub(crate) fn sign(head: &TreeHead, key: &LogKey) -> Result<String, CheckpointError> {
    let text = Checkpoint::new(key.origin(), head.size, Hash(head.root), "").map_err(|_| CheckpointError::Text)?;
    let mut note = Note::new(&text.to_bytes(), &[])?;
    note.add_sigs(&[key])?;
    String::from_utf8(note.to_bytes()).map_err(|_| CheckpointError::Text)
}

/// The head that a checkpoint signs, when the key that `vkey` names signed it. Signatures of others are not looked at.
pub fn open(note: &str, vkey: &str) -> Result<TreeHead, CheckpointError> {
    let verifier = StandardVerifier::new(vkey).map_err(CheckpointError::VerifierKey)?;
    let expected = verifier.name().to_owned();
    let note = Note::from_bytes(note.as_bytes())?;
    note.verify(&VerifierList::new(vec![Box::new(verifier)]))?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| CheckpointError::Text)?;
    // One key may sign for several logs: a checkpoint of another one proves nothing about this.
    if checkpoint.origin() != expected {
        return Err(CheckpointError::Origin {
            found: checkpoint.origin().to_owned(),
            expected,
        });
    }
    let Hash(root): Hash = *checkpoint.hash();
    Ok(TreeHead {
        size: checkpoint.size(),
        root: Bytes32::from(root),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: TreeHead = TreeHead {
        size: 923_748,
        root: [7; 32],
    };

    #[test]
    fn a_signed_head_opens_with_its_key_only() {
        let key = LogKey::new("remit.test/log", &[1; 32]);
        let note = sign(&HEAD, &key).unwrap();
        assert!(
            note.starts_with(
                "remit.test/log\n923748\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n— remit.test/log "
            )
        );
        assert_eq!(open(&note, &key.vkey()).unwrap(), HEAD);
        for other in [
            LogKey::new("remit.test/log", &[2; 32]),
            LogKey::new("remit.test/other", &[1; 32]),
        ] {
            assert!(matches!(open(&note, &other.vkey()), Err(CheckpointError::Note(_))));
        }
        assert!(matches!(open(&note, "garbage"), Err(CheckpointError::VerifierKey(_))));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let key = LogKey::new("remit.test/log", &[1; 32]);
        let note = sign(&HEAD, &key).unwrap().into_bytes();
        for i in 0..note.len() {
            let mut flipped = note.clone();
            flipped[i] ^= 1;
            // Not text at all is noticed earlier.
            let Ok(flipped) = String::from_utf8(flipped) else {
                continue;
            };
            assert!(open(&flipped, &key.vkey()).is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_log_by_the_same_key_is_refused() {
        let key = LogKey::new("remit.test/log", &[1; 32]);
        let text = Checkpoint::new("remit.test/other", 1, Hash([0; 32]), "").unwrap();
        let mut note = Note::new(&text.to_bytes(), &[]).unwrap();
        note.add_sigs(&[&key]).unwrap();
        let note = String::from_utf8(note.to_bytes()).unwrap();
        assert!(matches!(open(&note, &key.vkey()), Err(CheckpointError::Origin { .. })));
    }
}
