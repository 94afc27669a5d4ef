//! Receipts: one entry's proof as a file, which verifies without a server. No I/O.
//!
//! The form is C2SP `tlog-proof`. Its `extra` line has the entry itself, so that the file says what
//! it proves; and, for those who may know it, the opening of the entry's chain: its record,
//! sequence, link and kind, and no more. Neither is trusted for being there: the proof is checked
//! for the entry, and the chain against the entry's commitment. The checkpoint is the published one
//! with the witnesses' cosignatures.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>
//! index <index in the log, decimal>
//! <hash, base64>                      one per hash of the path, from the leaf's sibling upward
//!
//! <the checkpoint, verbatim>
//! ```
//!
//! `extra` encodes: the length of the canonical entry, 2 bytes big-endian; the entry; then, if its
//! chain is opened: the salt, 32 bytes; the chain.

use std::fmt;

use data_encoding::BASE64;
use journal::{Bytes32, Entry, Opened, Opens};
use signed_note::Note;
use witness::Policy;

use crate::{
    checkpoint::{self, CheckpointError},
    tiles::{put_entry, take_entry},
    tree::TreeHead,
    trust,
    verify::{Fault, Problem, leads_to},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A path has at most one hash per level of a tree.
const LONGEST_PATH: usize = 64;

/// A proof that an entry is in the log that a checkpoint signs, as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The canonical entry.
    pub entry: Vec<u8>,
    /// Opens its chain: the salt and the chain.
    pub chain: Option<(Bytes32, Vec<u8>)>,
    /// Its index.
    pub index: u64,
    /// RFC 6962 audit path, leaf to root.
    pub path: Vec<Bytes32>,
    /// The signed note, with all signatures.
    pub checkpoint: String,
}

/// The statement that a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The entry.
    pub entry: Entry,
    /// Which change it is, if the receipt opens it.
    pub opened: Option<Opened>,
    /// The tree that the checkpoint signs.
    pub head: TreeHead,
}

/// Why a file is not a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReceipt {
    /// Another first line.
    #[error("not a receipt: the first line is not `{FIRST_LINE}`")]
    FirstLine,
    /// The entry is missing.
    #[error("line 2 has no entry: it must be `extra` and the base64 of the entry after its length")]
    Extra,
    /// The index is missing.
    #[error("line 3 must be `index` and a decimal number")]
    Index,
    /// A line of the path is not a hash.
    #[error("line {0} is not the base64 of a hash of 32 bytes")]
    Hash(usize),
    /// The checkpoint is missing.
    #[error("it ends without a checkpoint")]
    Checkpoint,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        let mut extra = Vec::with_capacity(256);
        put_entry(&mut extra, &self.entry);
        if let Some((salt, chain)) = &self.chain {
            extra.extend_from_slice(salt);
            extra.extend_from_slice(chain);
        }
        writeln!(f, "extra {}", BASE64.encode(&extra))?;
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl Receipt {
    /// Parses a file. Formatting the result gives the same text.
    pub fn parse(text: &str) -> Result<Self, NotAReceipt> {
        let mut rest = text;
        let mut line = || {
            let (line, after) = rest.split_once('\n')?;
            rest = after;
            Some(line)
        };
        if line() != Some(FIRST_LINE) {
            return Err(NotAReceipt::FirstLine);
        }
        let extra = line()
            .and_then(|line| line.strip_prefix("extra "))
            .ok_or(NotAReceipt::Extra)?;
        let extra = BASE64.decode(extra.as_bytes()).map_err(|_| NotAReceipt::Extra)?;
        let mut rest_of_it = &extra[..];
        let entry = take_entry(&mut rest_of_it).ok_or(NotAReceipt::Extra)?.to_vec();
        let chain = match rest_of_it.split_first_chunk() {
            Some((salt, chain)) => Some((*salt, chain.to_vec())),
            None if rest_of_it.is_empty() => None,
            None => return Err(NotAReceipt::Extra),
        };
        let index = line()
            .and_then(|line| line.strip_prefix("index "))
            .ok_or(NotAReceipt::Index)?;
        let index = index
            .parse()
            .ok()
            .filter(|number: &u64| number.to_string() == index)
            .ok_or(NotAReceipt::Index)?;
        let mut path = Vec::new();
        loop {
            match line() {
                Some("") => break,
                Some(hash) => {
                    let decoded = BASE64
                        .decode(hash.as_bytes())
                        .ok()
                        .and_then(|hash| hash.try_into().ok());
                    let at = 4 + path.len();
                    path.push(
                        decoded
                            .filter(|_| path.len() < LONGEST_PATH)
                            .ok_or(NotAReceipt::Hash(at))?,
                    );
                }
                None => return Err(NotAReceipt::Checkpoint),
            }
        }
        if rest.is_empty() {
            return Err(NotAReceipt::Checkpoint);
        }
        Ok(Self {
            entry,
            chain,
            index,
            path,
            checkpoint: rest.to_owned(),
        })
    }

    /// Verifies it with the log's key, which must come from elsewhere, and returns what it proves.
    pub fn verify(&self, vkeys: &str) -> Result<Proved, Fault> {
        self.proves(trust::open(&self.checkpoint, vkeys)?)
    }

    /// [`Receipt::verify`] with a policy that lists logs: one of them must have signed. Does not
    /// check the witnesses.
    pub fn verify_by(&self, policy: &Policy) -> Result<Proved, Fault> {
        let note = Note::from_bytes(self.checkpoint.as_bytes()).map_err(CheckpointError::from)?;
        if !policy.is_signed_by_a_log(&note) {
            return Err(CheckpointError::NotListed.into());
        }
        let (_, head) = checkpoint::text(&note)?;
        self.proves(head)
    }

    /// What it proves, if its entry is in this tree.
    fn proves(&self, head: TreeHead) -> Result<Proved, Fault> {
        let index = self.index;
        leads_to(&self.entry, index, &self.path, head)?;
        let fault = |problem| Fault::Entry { index, problem };
        let entry = Entry::decode(&self.entry).map_err(|error| fault(error.into()))?;
        let opened = match &self.chain {
            Some((salt, content)) => {
                let opened = Opened::new(&self.entry, Opens { salt, content });
                Some(opened.map_err(|error| fault(Problem::Chain(error)))?)
            }
            None => None,
        };
        Ok(Proved { entry, opened, head })
    }
}
