//! Receipts: one entry's proof as a file, which verifies without any server. No I/O.
//!
//! The form is C2SP `tlog-proof`. Its `extra` line carries the entry itself, so that the file says what it proves; and, where whoever has
//! it may know, what opens the entry's chain: its record, sequence, link and kind, and no more. Neither is
//! authenticated by being there; the entry is what the proof is checked for, and the chain is what the entry commits to. The checkpoint stands in it as it was published, the
//! witnesses' cosignatures included.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <in base64: the length of the canonical entry, 2 bytes big-endian; the entry; then, where its chain is opened: the salt, 32 bytes; the chain>
//! index <place in the log, decimal>
//! <hash, base64>                      as many as the path has, from the leaf's sibling upward
//!
//! <the checkpoint, verbatim>
//! ```

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
/// A path has at most one hash for each level of a tree.
const LONGEST_PATH: usize = 64;

/// A proof that an entry is in the log that a checkpoint signs, as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The canonical entry.
    pub entry: Vec<u8>,
    /// Opens its chain: the salt, and the chain.
    pub chain: Option<(Bytes32, Vec<u8>)>,
    /// Its index.
    pub index: u64,
    /// RFC 6962 audit path, leaf to root.
    pub path: Vec<Bytes32>,
    /// The signed note, with all signatures.
    pub checkpoint: String,
}

/// What a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The entry.
    pub entry: Entry,
    /// Which change it is, where the receipt opens that.
    pub opened: Option<Opened>,
    /// The tree that the checkpoint signs.
    pub head: TreeHead,
}

/// Why a file is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReceipt {
    /// It begins otherwise.
    #[error("it is no receipt: its first line is not `{FIRST_LINE}`")]
    FirstLine,
    /// There is no entry in it.
    #[error("line 2 has no entry: it must be `extra` and base64 of the entry behind its length")]
    Extra,
    /// It names no place in the log.
    #[error("line 3 must be `index` and a decimal number")]
    Index,
    /// A line of the path is no hash.
    #[error("line {0} is no hash of 32 bytes in base64")]
    Hash(usize),
    /// No checkpoint follows.
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
    /// Reads a file. What is read is written the same again.
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

    /// Verifies it with the log's key, which must come from elsewhere. Returns what it proves.
    pub fn verify(&self, vkeys: &str) -> Result<Proved, Fault> {
        self.proves(trust::open(&self.checkpoint, vkeys)?)
    }

    /// [`Receipt::verify`] with a policy that names logs: one of them must have signed. Whether enough witnesses did is another question.
    pub fn verify_by(&self, policy: &Policy) -> Result<Proved, Fault> {
        let note = Note::from_bytes(self.checkpoint.as_bytes()).map_err(CheckpointError::from)?;
        if !policy.is_signed_by_a_log(&note) {
            return Err(CheckpointError::NotListed.into());
        }
        let (_, head) = checkpoint::text(&note)?;
        self.proves(head)
    }

    /// What it proves, when its entry is in this tree.
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
