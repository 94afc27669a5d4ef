//! The chain of each record, which shows gaps in an export with details alone.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use journal::{Bytes32, Opened};
use sha2::{Digest as _, Sha256};

use super::Problem;

/// Identifies a record: 128 bits of its name's SHA-256. A log has millions of records, whose names
/// would take most of the memory.
type Key = [u8; 16];

/// Sequence and hash of each record's last entry: 56 bytes each, in a table that is at least half
/// full once it is large.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains(HashMap<Key, (u64, Bytes32), BuildHasherDefault<FirstBytes>>);

impl Chains {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes an entry as the next of its record. A fault changes nothing.
    pub fn take(&mut self, entry: &Opened) -> Result<(), Problem> {
        let last = self.0.entry(key(&entry.record)).or_default();
        let (sequence, previous) = *last;
        let problem = if entry.sequence != sequence + 1 {
            Problem::Sequence {
                record: entry.record.clone(),
                expected: sequence + 1,
                found: entry.sequence,
            }
        } else if entry.previous != previous {
            Problem::Link {
                record: entry.record.clone(),
                after: sequence,
            }
        } else {
            *last = (entry.sequence, entry.hash);
            return Ok(());
        };
        if sequence == 0 {
            self.0.remove(&key(&entry.record));
        }
        Err(problem)
    }
}

fn key(record: &str) -> Key {
    let digest = Sha256::digest(record);
    std::array::from_fn(|i| digest[i])
}

/// Keys are digests: their first bytes are well distributed.
#[derive(Clone, Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        // Ignores the array's length, which is hashed first.
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
