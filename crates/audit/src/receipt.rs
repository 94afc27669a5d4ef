//! Receipts: one entry's proof as a file, which verifies without any server. No I/O.
//!
//! The form is C2SP `tlog-proof`. Its `extra` line carries the entry itself, so that the file says what it proves. It is not
//! authenticated by being there; it is what the proof is checked for. The checkpoint stands in it as it was published, the
//! witnesses' cosignatures included.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <the canonical entry, base64>
//! index <place in the log, decimal>
//! <hash, base64>                      as many as the path has, from the leaf's sibling upward
//!
//! <the checkpoint, verbatim>
//! ```

use std::fmt;

use data_encoding::BASE64;
use journal::{Bytes32, Entry};
use signed_note::Note;
use witness::Policy;

use crate::{
    checkpoint::{self, CheckpointError},
    tree::TreeHead,
    trust,
    verify::{Fault, leads_to},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A path has at most one hash for each level of a tree.
const LONGEST_PATH: usize = 64;

/// A proof that an entry is in the log that a checkpoint signs, as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The canonical entry.
    pub entry: Vec<u8>,
    /// Its index.
    pub index: u64,
    /// RFC 6962 audit path, leaf to root.
    pub path: Vec<Bytes32>,
    /// The signed note, with all signatures.
    pub checkpoint: String,
}

/// Why a file is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReceipt {
    /// It begins otherwise.
    #[error("it is no receipt: its first line is not `{FIRST_LINE}`")]
    FirstLine,
    /// There is no entry in it.
    #[error("line 2 has no entry: it must be `extra` and base64")]
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
        writeln!(f, "extra {}", BASE64.encode(&self.entry))?;
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
        let entry = line()
            .and_then(|line| line.strip_prefix("extra "))
            .ok_or(NotAReceipt::Extra)?;
        let entry = BASE64.decode(entry.as_bytes()).map_err(|_| NotAReceipt::Extra)?;
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
            index,
            path,
            checkpoint: rest.to_owned(),
        })
    }

    /// Verifies it with the log's key, which must come from elsewhere. Returns the entry, and the tree that the checkpoint signs.
    pub fn verify(&self, vkeys: &str) -> Result<(Entry, TreeHead), Fault> {
        self.proves(trust::open(&self.checkpoint, vkeys)?)
    }

    /// [`Receipt::verify`] with a policy that names logs: one of them must have signed. Whether enough witnesses did is another question.
    pub fn verify_by(&self, policy: &Policy) -> Result<(Entry, TreeHead), Fault> {
        let note = Note::from_bytes(self.checkpoint.as_bytes()).map_err(CheckpointError::from)?;
        if !policy.is_signed_by_a_log(&note) {
            return Err(CheckpointError::NotListed.into());
        }
        let (_, head) = checkpoint::text(&note)?;
        self.proves(head)
    }

    /// The entry, when it is in this tree.
    fn proves(&self, head: TreeHead) -> Result<(Entry, TreeHead), Fault> {
        let index = self.index;
        leads_to(&self.entry, index, &self.path, head)?;
        let entry = Entry::decode(&self.entry).map_err(|error| Fault::Entry {
            index,
            problem: error.into(),
        })?;
        Ok((entry, head))
    }
}
