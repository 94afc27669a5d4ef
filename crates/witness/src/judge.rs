//! What a witness makes of a submission: the rules of C2SP tlog-witness, in their order. No I/O.

use journal::Bytes32;
use signed_note::{Note, NoteError, StandardVerifier, Verifier as _, VerifierError, VerifierList};
use tlog_tiles::{Checkpoint, EMPTY_HASH, Hash, check_tree};

use crate::submission::Submission;

/// A log that the witness knows: its origin and the keys that it may sign with.
#[derive(Clone, Debug)]
pub struct KnownLog {
    origin: String,
    vkeys: Vec<String>,
}

impl KnownLog {
    /// The logs of these verifier keys: keys of one name are keys of one log.
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

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The head that a checkpoint signs, and the note with the signatures that count: those of the log's keys.
    pub fn open(&self, checkpoint: &str) -> Result<(Head, Note), Refusal> {
        let note = Note::from_bytes(checkpoint.as_bytes()).map_err(|_| Refusal::Malformed)?;
        let verifiers = self.vkeys.iter().filter_map(|vkey| StandardVerifier::new(vkey).ok());
        let verifiers = VerifierList::new(verifiers.map(|verifier| Box::new(verifier) as _).collect());
        let (verified, _) = note.verify(&verifiers).map_err(|error| match error {
            NoteError::MalformedNote => Refusal::Malformed,
            _ => Refusal::NotSigned,
        })?;
        let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| Refusal::Malformed)?;
        if checkpoint.origin() != self.origin {
            return Err(Refusal::UnknownLog);
        }
        let note = Note::new(note.text(), &verified).map_err(|_| Refusal::Malformed)?;
        let head = Head {
            size: checkpoint.size(),
            root: checkpoint.hash().0,
        };
        Ok((head, note))
    }
}

/// A tree: how large it is, and its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// The RFC 6962 root.
    pub root: Bytes32,
}

/// Why nothing is cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("not a checkpoint")]
    Malformed,
    /// The witness does not know the log.
    #[error("the log is not known to this witness")]
    UnknownLog,
    /// None of the log's keys signed it.
    #[error("not signed by a key of the log")]
    NotSigned,
    /// The log says that it was larger before.
    #[error("the old size is larger than the checkpoint's")]
    Shrinks,
    /// The witness saw another size last.
    #[error("the last checkpoint that was seen covers {0} entries")]
    Stale(u64),
    /// The log shows another tree than it did before.
    #[error("the checkpoint is not consistent with what was seen before")]
    Inconsistent,
}

/// Which log a checkpoint says that it is of. Says nothing of whether it is.
pub fn claimed_origin(checkpoint: &str) -> Option<&str> {
    checkpoint.split_once('\n').map(|(origin, _)| origin)
}

/// Whether a checkpoint may follow the one that was seen last: its head and the note to cosign.
pub fn judge(log: &KnownLog, last: Option<Head>, submission: &Submission) -> Result<(Head, Note), Refusal> {
    let (head, note) = log.open(&submission.checkpoint)?;
    if submission.old > head.size {
        return Err(Refusal::Shrinks);
    }
    let seen = last.map_or(0, |last| last.size);
    if submission.old != seen {
        return Err(Refusal::Stale(seen));
    }
    let empty_is_empty = head.size > 0 || head.root == EMPTY_HASH.0;
    let consistent = match last {
        // Every tree begins with the one without leaves, and that needs no proof.
        None => submission.proof.is_empty(),
        Some(last) if last.size == 0 => submission.proof.is_empty(),
        Some(last) if last.size == head.size => submission.proof.is_empty() && last.root == head.root,
        Some(last) => check_tree(
            &submission.proof,
            head.size,
            Hash(head.root),
            last.size,
            Hash(last.root),
        )
        .is_ok(),
    };
    match empty_is_empty && consistent {
        true => Ok((head, note)),
        false => Err(Refusal::Inconsistent),
    }
}
