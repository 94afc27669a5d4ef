//! A witness's rules for submissions, in the order of C2SP tlog-witness. No I/O.

use journal::Bytes32;
use signed_note::{Note, NoteError, StandardVerifier, Verifier as _, VerifierError, VerifierList};
use tlog_tiles::{Checkpoint, EMPTY_HASH, Hash, check_tree};

use crate::submission::Submission;

/// A log known to the witness: its origin and its keys.
#[derive(Clone, Debug)]
pub struct KnownLog {
    origin: String,
    vkeys: Vec<String>,
}

impl KnownLog {
    /// Groups verifier keys into logs: keys with the same name belong to one log.
    pub fn all<'a>(vkeys: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, VerifierError> {
        let mut logs: Vec<Self> = Vec::new();
        for vkey in vkeys {
            let origin = StandardVerifier::new(vkey)?.name().to_owned();
            let vkey = vkey.to_owned();
            match logs.iter_mut().find(|log| log.origin == origin) {
                Some(log) if log.vkeys.contains(&vkey) => {}
                Some(log) => log.vkeys.push(vkey),
                None => logs.push(Self {
                    origin,
                    vkeys: vec![vkey],
                }),
            }
        }
        Ok(logs)
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Verifies a checkpoint. Returns its head and the note with only the signatures of the log's
    /// keys.
    pub fn open(&self, checkpoint: &str) -> Result<(Head, Note), SubmissionError> {
        let note = Note::from_bytes(checkpoint.as_bytes()).map_err(|_| SubmissionError::Malformed)?;
        let verifiers = self.vkeys.iter().filter_map(|vkey| StandardVerifier::new(vkey).ok());
        let verifiers = VerifierList::new(verifiers.map(|verifier| Box::new(verifier) as _).collect());
        let (verified, _) = note.verify(&verifiers).map_err(|error| match error {
            NoteError::MalformedNote => SubmissionError::Malformed,
            _ => SubmissionError::NotSigned,
        })?;
        let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| SubmissionError::Malformed)?;
        if checkpoint.origin() != self.origin {
            return Err(SubmissionError::UnknownLog);
        }
        let note = Note::new(note.text(), &verified).map_err(|_| SubmissionError::Malformed)?;
        let head = Head {
            size: checkpoint.size(),
            root: checkpoint.hash().0,
        };
        Ok((head, note))
    }
}

/// Size and root of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of leaves.
    pub size: u64,
    /// The RFC 6962 root.
    pub root: Bytes32,
}

impl Head {
    /// Whether both being signed proves that their log has two histories: only equal sizes with
    /// different roots do, without any further proof.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.size == other.size && self.root != other.root
    }
}

/// Why a checkpoint is not cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// The checkpoint is malformed.
    #[error("not a checkpoint")]
    Malformed,
    /// The witness does not know the log.
    #[error("this witness does not know the log")]
    UnknownLog,
    /// No key of the log signed the checkpoint.
    #[error("not signed by a key of the log")]
    NotSigned,
    /// The submitted old size exceeds the new one.
    #[error("the old size is larger than the checkpoint's")]
    Shrinks,
    /// The submitted old size differs from the witness's last size.
    #[error("the last checkpoint seen covers {0} entries")]
    Stale(u64),
    /// The log signed another tree of the size that the witness saw last.
    #[error("the log has another history: its last checkpoint seen has another root at the same size")]
    Forked,
    /// A tree without entries has another root than the one that it must have.
    #[error("the checkpoint covers no entries, but its root is not that of an empty tree")]
    EmptyRoot,
    /// The proof does not show that the checkpoint continues the last one. It does not show the
    /// opposite either: anyone can send a useless proof with a true checkpoint.
    #[error("the proof does not lead from the last checkpoint seen to this one")]
    Unproven,
}

/// The log that a checkpoint claims to be from. Not verified.
pub fn claimed_origin(checkpoint: &str) -> Option<&str> {
    checkpoint.split_once('\n').map(|(origin, _)| origin)
}

/// Checks whether a checkpoint with this head, which the log signed, may follow the last one.
pub fn judge(last: Option<Head>, head: Head, submission: &Submission) -> Result<(), SubmissionError> {
    if submission.old > head.size {
        return Err(SubmissionError::Shrinks);
    }
    let seen = last.map_or(0, |last| last.size);
    if submission.old != seen {
        return Err(SubmissionError::Stale(seen));
    }
    if head.size == 0 && head.root != EMPTY_HASH.0 {
        return Err(SubmissionError::EmptyRoot);
    }
    let proof = &submission.proof;
    let is_proven = match last {
        // Every tree extends the empty one, without proof.
        None => proof.is_empty(),
        Some(last) if last.size == 0 => proof.is_empty(),
        Some(last) if last.contradicts(&head) => return Err(SubmissionError::Forked),
        Some(last) if last.size == head.size => proof.is_empty(),
        Some(last) => check_tree(proof, head.size, Hash(head.root), last.size, Hash(last.root)).is_ok(),
    };
    match is_proven {
        true => Ok(()),
        false => Err(SubmissionError::Unproven),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_signed_heads_contradict_each_other_at_equal_sizes_only() {
        let head = |size, root| Head { size, root: [root; 32] };
        for (one, other, contradict) in [
            (head(5, 1), head(5, 2), true),
            (head(5, 1), head(5, 1), false),
            (head(5, 1), head(6, 2), false),
            (head(6, 1), head(5, 2), false),
            (head(0, 1), head(0, 2), true),
        ] {
            assert_eq!(one.contradicts(&other), contradict, "{one:?} {other:?}");
        }
    }
}
