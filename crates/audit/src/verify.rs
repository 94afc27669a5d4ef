//! The outsiders' verifier: needs only entries, a checkpoint and the log's verifier key. No I/O,
//! and none of the server's code but the formats.
//!
//! * [`verify_inclusion`], [`verify_consistency`]: one proof.
//! * [`LogVerifier`]: all entries in order, as a list returns them. Each producer's marks must
//!   equal the entries before them (`verify/producers.rs`); with openings, each record's chain must
//!   be complete (`verify/chain.rs`).
//! * [`FilesVerifier`]: all files of a log, as named by [`tiles`](crate::tiles)
//!   (`verify/files.rs`).
//!
//! Nothing that was read is trusted for agreeing with something else that was read: each hash of
//! each tile is compared with one computed from the entries, and their root with the signed one.

mod chain;
mod files;
mod producers;

use std::collections::BTreeMap;

use journal::{Bytes32, Content, Entry, Malformed, Opened, Openings, Unopened};
use tlog_tiles::{EMPTY_HASH, Hash, check_record, check_tree, node_hash, record_hash};

use self::{chain::Chains, producers::Producers};
pub use self::{files::FilesVerifier, producers::Counted};
use crate::{checkpoint::CheckpointError, tiles::TilePath, tree::TreeHead, trust};

/// A fault of the log.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The checkpoint is not trusted.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not verify.
    #[error("entry {index} is not proven: its path does not lead to the root of the {size} signed entries")]
    Proof {
        /// Index of the entry.
        index: u64,
        /// Number of entries covered by the checkpoint.
        size: u64,
    },
    /// Two trees of equal size have different roots.
    #[error("two different logs of {size} entries are signed: the log has two histories")]
    Fork {
        /// Number of entries of both.
        size: u64,
    },
    /// The proof does not lead from the earlier tree to the later one.
    #[error("it is not proven that the log of {new} entries begins with the log of {old} entries")]
    Consistency {
        /// Number of entries of the earlier log.
        old: u64,
        /// Number of entries of the later one.
        new: u64,
    },
    /// A file is missing.
    #[error("entry {index}: {path} is missing, but the checkpoint covers {size} entries")]
    Missing {
        /// The file.
        path: TilePath,
        /// The first entry in or below it.
        index: u64,
        /// Number of entries covered by the checkpoint.
        size: u64,
    },
    /// A file exists that the checkpoint does not cover.
    #[error(
        "entry {index}: {path} exists, but the checkpoint covers {size} entries: the checkpoint is older than the files, or an \
         export was interrupted and must be resumed"
    )]
    Beyond {
        /// The file.
        path: TilePath,
        /// The first entry in or below it that is not covered.
        index: u64,
        /// Number of entries covered by the checkpoint.
        size: u64,
    },
    /// A file is malformed.
    #[error("entry {index}: {path} {problem}")]
    Form {
        /// The file.
        path: TilePath,
        /// The entry where it is malformed.
        index: u64,
        /// The problem.
        problem: &'static str,
    },
    /// A hash is not that of its entry.
    #[error(
        "entry {index}: {path} has another hash than the entry gives: the entry was changed or moved, or the tile was"
    )]
    Leaf {
        /// The tile.
        path: TilePath,
        /// The entry.
        index: u64,
    },
    /// A hash is not that of the entries below it.
    #[error("entry {index}: {path} has another hash than the entries from {index} on give: the tile was changed")]
    Node {
        /// The tile.
        path: TilePath,
        /// The first of the entries below the hash.
        index: u64,
    },
    /// An entry is wrong by itself, or does not follow those before it.
    #[error("entry {index}: {problem}")]
    Entry {
        /// Its index.
        index: u64,
        /// The problem.
        problem: Problem,
    },
    /// The number of entries is not the signed one.
    #[error("the log has {found} entries, but {size} were signed")]
    Size {
        /// Number of existing entries.
        found: u64,
        /// Number of entries covered by the checkpoint.
        size: u64,
    },
    /// The entries are not the signed ones.
    #[error("the {size} entries do not give the signed root: at least one is not what was signed")]
    Root {
        /// Number of entries.
        size: u64,
    },
    /// The root of the empty log is wrong.
    #[error("the checkpoint covers no entries, but its root is not that of an empty log: there is no such log")]
    EmptyRoot,
}

/// The fault of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not the next one.
    #[error("it is in the place of entry {expected}")]
    Index {
        /// The next index.
        expected: u64,
    },
    /// It is not canonical.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A change of the record is missing or repeated.
    #[error("change {found} of {record} is in the place of change {expected}")]
    Sequence {
        /// Resource name of the record.
        record: String,
        /// The record's next sequence.
        expected: u64,
        /// The entry's sequence.
        found: u64,
    },
    /// It does not continue the record's last entry.
    #[error("it does not continue change {after} of {record}: it links to another one")]
    Link {
        /// Resource name of the record.
        record: String,
        /// Sequence of the change before.
        after: u64,
    },
    /// Its chain does not open.
    #[error(transparent)]
    Chain(Unopened),
    /// Its detail does not match its commitment.
    #[error("its detail does not match its commitment")]
    Detail,
    /// A mark has openings, or a change has none.
    #[error("{0}")]
    Openings(&'static str),
    /// A producer's mark differs from the changes before it.
    #[error("the mark of {source_name} counts {said} changes, but {}", counted(*said, *found))]
    Mark {
        /// The producer.
        source_name: String,
        /// Number of changes that the mark states.
        said: u64,
        /// Number of changes before it.
        found: u64,
    },
}

fn counted(said: u64, found: u64) -> String {
    match said == found {
        true => "those before it are different ones".to_owned(),
        false => format!("{found} precede it"),
    }
}

/// Verifies that an entry is at an index of the log signed by a checkpoint. Returns the signed
/// head.
///
/// `path` is the RFC 6962 audit path, leaf to root. `vkey` is the log's verifier key, which must
/// come from elsewhere than the proof.
pub fn verify_inclusion(
    entry: &[u8],
    index: u64,
    path: &[Bytes32],
    checkpoint: &str,
    vkey: &str,
) -> Result<TreeHead, Fault> {
    let head = trust::open(checkpoint, vkey)?;
    leads_to(entry, index, path, head)?;
    Ok(head)
}

/// Whether a path leads from an entry to the root of a tree.
pub(crate) fn leads_to(entry: &[u8], index: u64, path: &[Bytes32], head: TreeHead) -> Result<(), Fault> {
    let path = path.iter().copied().map(Hash).collect();
    check_record(&path, head.size, Hash(head.root), index, record_hash(entry))
        .map_err(|_| Fault::Proof { index, size: head.size })
}

/// Verifies that the log of `new` entries begins with the log of `old` entries, so that it only
/// grew.
///
/// `proof` is the RFC 6962 consistency proof. Both heads must come from checkpoints that were
/// opened with the log's key. [`Fault::Fork`] proves that the log has two histories;
/// [`Fault::Consistency`] does not, because the fault may be the proof's.
pub fn verify_consistency(proof: &[Bytes32], old: TreeHead, new: TreeHead) -> Result<(), Fault> {
    if old.size == new.size && old.root != new.root {
        return Err(Fault::Fork { size: old.size });
    }
    let is_proven = match old.size {
        0 => old == TreeHead::EMPTY && proof.is_empty(),
        size if size == new.size => proof.is_empty(),
        size if size > new.size => false,
        _ => {
            let proof = proof.iter().copied().map(Hash).collect();
            check_tree(&proof, new.size, Hash(new.root), old.size, Hash(old.root)).is_ok()
        }
    };
    match is_proven {
        true => Ok(()),
        false => Err(Fault::Consistency {
            old: old.size,
            new: new.size,
        }),
    }
}

/// Verifies a whole log, entry by entry from the first.
///
/// From entries alone, a changed, missing, repeated or moved one is noticed by its producer's next
/// mark, otherwise by the root. With openings, each entry must also be the next of its record;
/// memory then grows with the number of records, not of entries: 65 to 130 bytes for each.
#[derive(Clone, Debug, Default)]
pub struct LogVerifier {
    tree: Frontier,
    producers: Producers,
    records: Chains,
}

impl LogVerifier {
    /// Before the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries taken.
    pub fn size(&self) -> u64 {
        self.tree.size
    }

    /// Number of their records, as far as chains were opened.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// The changes of each source, and those confirmed by its newest mark.
    pub fn producers(&self) -> &BTreeMap<String, Counted> {
        &self.producers.0
    }

    /// Takes the next entry. A fault leaves the verifier unchanged.
    pub fn push(&mut self, index: u64, bytes: &[u8]) -> Result<(), Fault> {
        let fault = |problem| Fault::Entry { index, problem };
        self.is_next(index)?;
        self.take(bytes, record_hash(bytes), |_, _| ()).map_err(fault)?;
        Ok(())
    }

    /// Takes the next entry with its openings; a mark has none. A fault leaves the verifier
    /// unchanged.
    pub fn push_opened(&mut self, index: u64, bytes: &[u8], openings: Option<Openings<'_>>) -> Result<(), Fault> {
        let fault = |problem| Fault::Entry { index, problem };
        self.is_next(index)?;
        let leaf = record_hash(bytes);
        let entry = Entry::decode(bytes).map_err(|error| fault(error.into()))?;
        self.open(entry, leaf.0, openings).map_err(fault)?;
        // Only a mark can still fail here, and it has no openings.
        self.take(bytes, leaf, |_, _| ()).map_err(fault)?;
        Ok(())
    }

    fn is_next(&self, index: u64) -> Result<(), Fault> {
        let expected = self.tree.size;
        let problem = Problem::Index { expected };
        match index == expected {
            true => Ok(()),
            false => Err(Fault::Entry { index, problem }),
        }
    }

    /// Takes the next entry, whose leaf hash is known. `roots` gets each completed hash of a tile
    /// with its level.
    fn take(&mut self, bytes: &[u8], leaf: Hash, roots: impl FnMut(u8, Hash)) -> Result<Entry, Problem> {
        let entry = Entry::decode(bytes)?;
        self.producers.take(&entry, leaf.0)?;
        self.tree.push(leaf, roots);
        Ok(entry)
    }

    /// Takes an entry's openings: its chain must be the next of its record.
    fn open(&mut self, entry: Entry, leaf: Bytes32, openings: Option<Openings<'_>>) -> Result<(), Problem> {
        match (entry.content, openings) {
            (Content::Mark(_), None) => Ok(()),
            (Content::Mark(_), Some(_)) => Err(Problem::Openings("it is a mark, but has openings")),
            (Content::Change { .. }, None) => Err(Problem::Openings("its openings are missing")),
            (Content::Change { .. }, Some(openings)) => {
                let opened = Opened::of(entry, leaf, openings.chain).map_err(Problem::Chain)?;
                if !openings.detail.is_detail_of(&opened.detail) {
                    return Err(Problem::Detail);
                }
                self.records.take(&opened)
            }
        }
    }

    /// The tree of the entries taken.
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.tree.size,
            root: self.tree.root().0,
        }
    }

    /// Compares the entries taken with the head signed by the log's key.
    pub fn finish(&self, checkpoint: &str, vkey: &str) -> Result<TreeHead, Fault> {
        self.ends_as(trust::open(checkpoint, vkey)?)
    }

    fn ends_as(&self, signed: TreeHead) -> Result<TreeHead, Fault> {
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

/// A tree as the roots of its largest full subtrees, left to right: one per bit of its size.
#[derive(Clone, Debug, Default)]
struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// `roots` gets each completed hash of a tile with its level.
    fn push(&mut self, leaf: Hash, mut roots: impl FnMut(u8, Hash)) {
        let mut hash = leaf;
        roots(0, hash);
        // Like adding one in binary: each trailing 1 is a subtree that the new one completes.
        for (height, level) in (1..=self.size.trailing_ones()).zip(1_u8..) {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(left, hash);
            }
            if height % 8 == 0 {
                roots(level / 8, hash);
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
            frontier.push(leaf, |_, _| ());
            edge = edge.grow(&[leaf.0]).unwrap().0;
        }
    }
}
