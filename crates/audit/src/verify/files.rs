//! Verifies a log file by file, as served over HTTP or exported to a folder.

use journal::{Bytes32, Entry};
use tlog_tiles::{Hash, record_hash};

use super::{Fault, LogVerifier};
use crate::{
    tiles::{Content, TilePath, WIDTH, files, take_entry, take_openings},
    tree::TreeHead,
    trust,
};

/// Size of a hash, in bytes.
const HASH: usize = 32;

/// Verifies all files of the log signed by a checkpoint. They must come in the order of
/// [`FilesVerifier::files`]: then the first fault is reported, and memory stays small: 256 entries
/// and what [`LogVerifier`] needs.
#[derive(Clone, Debug)]
pub struct FilesVerifier {
    signed: TreeHead,
    with_detail: bool,
    log: LogVerifier,
    /// The last leaf tile, until the entries are compared with it.
    leaves: Vec<u8>,
    /// For each level above, the computed hashes that no tile has been compared with yet.
    above: [Vec<u8>; 8],
    /// The entries of the last bundle with their hashes, until their openings are checked.
    unopened: Vec<(Entry, Bytes32)>,
    details: u64,
}

impl FilesVerifier {
    /// Opens the checkpoint, trusting only the keys of `vkey`.
    pub fn new(checkpoint: &str, vkey: &str, with_detail: bool) -> Result<Self, Fault> {
        let signed = trust::open(checkpoint, vkey)?;
        // The empty log has one root.
        if signed.size == 0 && signed != TreeHead::EMPTY {
            return Err(Fault::EmptyRoot);
        }
        Ok(Self {
            signed,
            with_detail,
            log: LogVerifier::new(),
            leaves: Vec::new(),
            above: std::array::from_fn(|_| Vec::new()),
            unopened: Vec::new(),
            details: 0,
        })
    }

    /// The signed head.
    pub fn signed(&self) -> TreeHead {
        self.signed
    }

    /// The files to pass to [`FilesVerifier::take`], in order.
    pub fn files(&self) -> impl Iterator<Item = TilePath> + Send + use<> {
        files(self.signed.size, self.with_detail)
    }

    /// The entries verified so far.
    pub fn log(&self) -> &LogVerifier {
        &self.log
    }

    /// Number of details verified.
    pub fn details(&self) -> u64 {
        self.details
    }

    /// The fault that a file is missing.
    pub fn missing(&self, path: TilePath) -> Fault {
        Fault::Missing {
            path,
            index: path.start().unwrap_or(self.signed.size),
            size: self.signed.size,
        }
    }

    /// The fault that a file exists for entries that the checkpoint does not cover.
    pub fn beyond(&self, path: TilePath) -> Fault {
        let size = self.signed.size;
        Fault::Beyond {
            path,
            index: path.start().map_or(size, |start| start.max(size)),
            size,
        }
    }

    /// Takes the next file. `each` gets the index and bytes of each valid entry.
    pub fn take(&mut self, path: TilePath, bytes: &[u8], each: impl FnMut(u64, &[u8])) -> Result<(), Fault> {
        match path.content {
            Content::Hashes(0) => {
                self.is_wide_enough(path, bytes)?;
                bytes.clone_into(&mut self.leaves);
                Ok(())
            }
            Content::Hashes(level) => self.take_hashes(path, level, bytes),
            Content::Entries => self.take_entries(path, bytes, each),
            Content::Details => self.take_details(path, bytes),
        }
    }

    fn is_wide_enough(&self, path: TilePath, bytes: &[u8]) -> Result<(), Fault> {
        match bytes.len() == usize::from(path.width) * HASH {
            true => Ok(()),
            false => Err(Fault::Form {
                path,
                index: path.start().unwrap_or(self.signed.size),
                problem: "does not have 32 bytes per hash",
            }),
        }
    }

    fn take_entries(&mut self, path: TilePath, bytes: &[u8], mut each: impl FnMut(u64, &[u8])) -> Result<(), Fault> {
        let mut rest = bytes;
        self.unopened.clear();
        let tile = TilePath {
            content: Content::Hashes(0),
            ..path
        };
        let leaves = std::mem::take(&mut self.leaves);
        for expected in leaves.chunks(HASH) {
            let index = self.log.size();
            let entry = take_entry(&mut rest).ok_or(Fault::Form {
                path,
                index,
                problem: "ends within this entry",
            })?;
            let leaf = record_hash(entry);
            // First of all, so that the changed entry is named, not a later one.
            if leaf.0[..] != *expected {
                return Err(Fault::Leaf { path: tile, index });
            }
            let above = &mut self.above;
            let decoded = self.log.take(entry, leaf, |level, Hash(hash)| {
                if let (1.., Some(hashes)) = (level, above.get_mut(usize::from(level))) {
                    hashes.extend_from_slice(&hash);
                }
            });
            let decoded = decoded.map_err(|problem| Fault::Entry { index, problem })?;
            if self.with_detail {
                self.unopened.push((decoded, leaf.0));
            }
            each(index, entry);
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(Fault::Form {
                path,
                index: self.log.size(),
                problem: "continues after its last entry",
            }),
        }
    }

    fn take_details(&mut self, path: TilePath, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        let unopened = std::mem::take(&mut self.unopened);
        let mut index = self.log.size() - unopened.len() as u64;
        for (entry, leaf) in unopened {
            let openings = take_openings(&mut rest).ok_or(Fault::Form {
                path,
                index,
                problem: "ends within the detail of this entry",
            })?;
            let opened = self.log.open(entry, leaf, openings);
            opened.map_err(|problem| Fault::Entry { index, problem })?;
            index += 1;
            self.details += u64::from(openings.is_some());
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(Fault::Form {
                path,
                index,
                problem: "continues after its last detail",
            }),
        }
    }

    fn take_hashes(&mut self, path: TilePath, level: u8, bytes: &[u8]) -> Result<(), Fault> {
        self.is_wide_enough(path, bytes)?;
        let hashes = self
            .above
            .get_mut(usize::from(level))
            .map(std::mem::take)
            .unwrap_or_default();
        debug_assert_eq!(hashes.len(), bytes.len(), "{path} does not come in order");
        let differs = hashes
            .chunks(HASH)
            .zip(bytes.chunks(HASH))
            .position(|(computed, read)| computed != read);
        let Some(at) = differs else { return Ok(()) };
        let index = (path.n * u64::from(WIDTH) + at as u64) << (8 * u32::from(level));
        Err(Fault::Node { path, index })
    }

    /// After all files: compares the entries with the signed head.
    pub fn finish(self) -> Result<TreeHead, Fault> {
        self.log.ends_as(self.signed)
    }
}
