//! What an outsider checks, with nothing but entries, a checkpoint and the log's verifier key. No I/O, and none of the
//! server's own code but the formats.

use std::collections::HashMap;

use journal::{Bytes32, Entry, MalformedEntry};
use tlog_tiles::{EMPTY_HASH, Hash, check_record, node_hash, record_hash};

use crate::{
    checkpoint::{self, CheckpointError},
    tree::TreeHead,
};

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The checkpoint is not to be trusted.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] CheckpointError),
    /// The proof proves nothing.
    #[error("entry {index} is not proven: its path does not lead to the root of the signed {size} entries")]
    Proof {
        /// Index of the entry.
        index: u64,
        /// Entries that the checkpoint covers.
        size: u64,
    },
    /// An entry is wrong by itself, or does not follow those before it.
    #[error("entry {index}: {problem}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Not as many entries as were signed.
    #[error("the log has {found} entries, and {size} were signed")]
    Size {
        /// Entries that there are.
        found: u64,
        /// Entries that the checkpoint covers.
        size: u64,
    },
    /// Not the entries that were signed.
    #[error("the {size} entries do not give the signed root: at least one is not what was signed")]
    Root {
        /// How many entries.
        size: u64,
    },
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not the next.
    #[error("it stands where {expected} should")]
    Index {
        /// The next index.
        expected: u64,
    },
    /// It is not a canonical entry.
    #[error("malformed: {0}")]
    Malformed(#[from] MalformedEntry),
    /// A change of the record is missing, or is there twice.
    #[error("change {found} of {record} stands where change {expected} should")]
    Sequence {
        /// Resource name of the record.
        record: String,
        /// The record's next sequence.
        expected: u64,
        /// The entry's sequence.
        found: u64,
    },
    /// It does not continue the record's last entry.
    #[error("it does not continue change {after} of {record}, which is not what was linked to")]
    Link {
        /// Resource name of the record.
        record: String,
        /// Sequence of the change before.
        after: u64,
    },
}

/// Verifies that an entry stands at an index of the log that a checkpoint signs. Returns what the checkpoint signs.
///
/// `path` is the RFC 6962 audit path, leaf to root. `vkey` is the log's verifier key, which must come from elsewhere than the proof.
pub fn verify_inclusion(
    entry: &[u8],
    index: u64,
    path: &[Bytes32],
    checkpoint: &str,
    vkey: &str,
) -> Result<TreeHead, Fault> {
    let head = checkpoint::open(checkpoint, vkey)?;
    let path = path.iter().copied().map(Hash).collect();
    check_record(&path, head.size, Hash(head.root), index, record_hash(entry))
        .map_err(|_| Fault::Proof { index, size: head.size })?;
    Ok(head)
}

/// Verifies a whole log, entry by entry from the first.
///
/// A change of an entry is noticed where the record's next entry links to it, else by the root; what was taken out or moved,
/// where the first gap shows. Memory grows with the number of records, not of entries.
#[derive(Clone, Debug, Default)]
pub struct LogVerifier {
    tree: Frontier,
    /// Of each record, sequence and hash of its last entry.
    records: HashMap<String, (u64, Bytes32)>,
}

impl LogVerifier {
    /// Before the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries were taken.
    pub fn size(&self) -> u64 {
        self.tree.size
    }

    /// How many records they are about.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Takes the next entry. After a fault the verifier has not moved.
    pub fn push(&mut self, index: u64, bytes: &[u8]) -> Result<(), Fault> {
        let fault = |problem| Fault::Entry { index, problem };
        if index != self.tree.size {
            return Err(fault(Problem::Index {
                expected: self.tree.size,
            }));
        }
        let entry = Entry::decode(bytes).map_err(|error| fault(error.into()))?;
        let (sequence, hash) = self.records.get(&entry.record).copied().unwrap_or_default();
        if entry.sequence != sequence + 1 {
            let (record, expected, found) = (entry.record, sequence + 1, entry.sequence);
            return Err(fault(Problem::Sequence {
                record,
                expected,
                found,
            }));
        }
        if entry.previous != hash {
            return Err(fault(Problem::Link {
                record: entry.record,
                after: sequence,
            }));
        }
        let Hash(hash) = record_hash(bytes);
        self.records.insert(entry.record, (entry.sequence, hash));
        self.tree.push(Hash(hash));
        Ok(())
    }

    /// The tree of the entries that were taken.
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.tree.size,
            root: self.tree.root().0,
        }
    }

    /// Compares what was taken with what the log's key signed.
    pub fn finish(&self, checkpoint: &str, vkey: &str) -> Result<TreeHead, Fault> {
        let signed = checkpoint::open(checkpoint, vkey)?;
        let found = self.head();
        if found.size != signed.size {
            return Err(Fault::Size {
                found: found.size,
                size: signed.size,
            });
        }
        if found.root != signed.root {
            return Err(Fault::Root { size: signed.size });
        }
        Ok(signed)
    }
}

/// A tree as the roots of its largest full subtrees, left to right: one for each bit of its size.
#[derive(Clone, Debug, Default)]
struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Like adding one in binary: each trailing 1 is a subtree that the new one completes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(left, hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    fn root(&self) -> Hash {
        self.roots
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(left, right))
            .unwrap_or(EMPTY_HASH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Edge;

    #[test]
    fn the_verifiers_root_is_the_servers() {
        let (mut frontier, mut edge) = (Frontier::default(), Edge::empty());
        for i in 0..1_100_u32 {
            assert_eq!((frontier.size, frontier.root().0), (edge.head().size, edge.head().root));
            let leaf = record_hash(&i.to_be_bytes());
            frontier.push(leaf);
            edge = edge.grow(&[leaf.0]).unwrap().0;
        }
    }
}
