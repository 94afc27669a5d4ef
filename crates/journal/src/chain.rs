//! The contents of a change's two commitments: the chain and the detail.
//!
//! A commitment is SHA-256(domain ‖ salt ‖ content). The domain is `remit-chain-v1` or
//! `remit-detail-v1`; the salt is 32 random bytes of this commitment alone. So a chain can be
//! opened without its detail, and guesses (names of records, small numbers, kinds) cannot be tried
//! against an entry.
//!
//! The content of a detail is an encoded `remit.event.v1.Detail`. The content of a chain is
//! canonical bytes:
//!
//! | bytes | field |
//! |---|---|
//! | 1 + n | record: a resource name, such as `reports/6f1d…`; characters `a-z`, `A-Z`, `0-9`, `-`, `_`, `.`, `/` |
//! | 8 | sequence of this change within the record, from 1, big-endian |
//! | 32 | hash of the record's previous entry; zeros for the first |
//! | 1 + n | kind, such as `report.accepted`; characters `a-z`, `0-9`, `-`, `.` |

use api::event::{ChangeOutcome, Opening, StateChange};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    Bytes32, Time,
    bytes::{Malformed, Rest, put_text},
    entry::{Content, Entry, entry_hash},
};

/// A change's place in the life of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Resource name of the record that changed.
    pub record: String,
    /// Which change of the record this is, from 1.
    pub sequence: u64,
    /// Hash of the record's previous entry; zeros for the first.
    pub previous: Bytes32,
    /// The kind of change.
    pub kind: String,
}

impl Chain {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        chain_bytes(&self.record, self.sequence, &self.previous, &self.kind)
    }

    /// Reads canonical bytes. Whatever decodes encodes to the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(bytes);
        let record = rest.text("record", in_record)?;
        let sequence = u64::from_be_bytes(rest.array("sequence")?);
        let previous: Bytes32 = rest.array("previous hash")?;
        let kind = rest.text("kind", in_kind)?;
        rest.end()?;
        if sequence == 0 || (sequence == 1) != (previous == [0; 32]) {
            return Err(Malformed::Link);
        }
        Ok(Self {
            record,
            sequence,
            previous,
            kind,
        })
    }
}

/// The canonical bytes of a chain.
pub(crate) fn chain_bytes(record: &str, sequence: u64, previous: &Bytes32, kind: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(42 + record.len() + kind.len());
    put_text(&mut bytes, record);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(previous);
    put_text(&mut bytes, kind);
    bytes
}

/// Whether a record's name may have this character.
pub(crate) fn in_record(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/')
}

/// Whether a kind may have this character.
pub(crate) fn in_kind(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')
}

/// The commitment to a chain that stands in an entry.
pub fn chain_commitment(salt: &Bytes32, chain: &[u8]) -> Bytes32 {
    commitment(b"remit-chain-v1", salt, chain)
}

/// The commitment to a detail that stands in an entry.
pub fn detail_commitment(salt: &Bytes32, detail: &[u8]) -> Bytes32 {
    commitment(b"remit-detail-v1", salt, detail)
}

fn commitment(domain: &[u8], salt: &Bytes32, content: &[u8]) -> Bytes32 {
    Sha256::new()
        .chain_update(domain)
        .chain_update(salt)
        .chain_update(content)
        .finalize()
        .into()
}

/// The openings of a change, as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Openings<'a> {
    /// Opens the chain.
    pub chain: Opens<'a>,
    /// Opens the detail.
    pub detail: Opens<'a>,
}

/// Opens one commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opens<'a> {
    /// The salt: valid with 32 bytes only.
    pub salt: &'a [u8],
    /// The committed content.
    pub content: &'a [u8],
}

impl<'a> From<&'a Opening> for Opens<'a> {
    fn from(opening: &'a Opening) -> Self {
        Self {
            salt: &opening.salt,
            content: &opening.content,
        }
    }
}

impl Opens<'_> {
    /// Whether it opens a chain commitment.
    pub fn is_chain_of(self, commitment: &Bytes32) -> bool {
        Bytes32::try_from(self.salt).is_ok_and(|salt| chain_commitment(&salt, self.content) == *commitment)
    }

    /// Whether it opens a detail commitment.
    pub fn is_detail_of(self, commitment: &Bytes32) -> bool {
        Bytes32::try_from(self.salt).is_ok_and(|salt| detail_commitment(&salt, self.content) == *commitment)
    }

    /// Converts to a message.
    pub fn to_message(self) -> Opening {
        Opening {
            salt: self.salt.to_vec().into(),
            content: self.content.to_vec().into(),
        }
    }
}

/// A change whose chain was opened. Only [`Opened::new`] makes one, so record, sequence, link and
/// kind are never believed without being compared with the entry's commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Id of the event.
    pub event_id: Uuid,
    /// The producer, such as `intake`.
    pub source: String,
    /// When it was made.
    pub time: Time,
    /// Resource name of the record that changed.
    pub record: String,
    /// Which change of the record this is, from 1.
    pub sequence: u64,
    /// Hash of the record's previous entry; zeros for the first.
    pub previous: Bytes32,
    /// The kind of change.
    pub kind: String,
    /// Hash of the entry.
    pub hash: Bytes32,
    /// Commitment to the detail.
    pub detail: Bytes32,
}

/// Why the chain of an entry cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It is not a canonical entry.
    #[error("malformed: {0}")]
    Entry(#[source] Malformed),
    /// It is a producer's mark.
    #[error("it is a mark, and no change")]
    Mark,
    /// The opening does not match its commitment.
    #[error("its chain is not what it commits to")]
    Commitment,
    /// The committed content is not a chain.
    #[error("its chain is malformed: {0}")]
    Chain(#[source] Malformed),
}

impl Unopened {
    /// As in the contract.
    pub fn outcome(self) -> ChangeOutcome {
        match self {
            Self::Entry(_) | Self::Mark | Self::Chain(_) => ChangeOutcome::Malformed,
            Self::Commitment => ChangeOutcome::CommitmentMismatch,
        }
    }
}

impl Opened {
    /// Opens the chain of an entry.
    pub fn new(entry: &[u8], chain: Opens<'_>) -> Result<Self, Unopened> {
        let hash = entry_hash(entry);
        Self::of(Entry::decode(entry).map_err(Unopened::Entry)?, hash, chain)
    }

    /// Opens the chain that came with a change.
    pub fn of_change(change: &StateChange) -> Result<Self, Unopened> {
        let none = Opening::default();
        Self::new(&change.entry, change.chain.as_ref().unwrap_or(&none).into())
    }

    /// [`Opened::new`] for an entry that is decoded already and hashes to `hash`.
    pub fn of(entry: Entry, hash: Bytes32, chain: Opens<'_>) -> Result<Self, Unopened> {
        let opening = chain;
        let Content::Change { chain, detail } = entry.content else {
            return Err(Unopened::Mark);
        };
        if !opening.is_chain_of(&chain) {
            return Err(Unopened::Commitment);
        }
        let Chain {
            record,
            sequence,
            previous,
            kind,
        } = Chain::decode(opening.content).map_err(Unopened::Chain)?;
        Ok(Self {
            event_id: entry.id,
            source: entry.source,
            time: entry.time,
            record,
            sequence,
            previous,
            kind,
            hash,
            detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Chain {
        Chain {
            record: "reports/6f1d2c3b-4a59-4687-8776-665544332211".to_owned(),
            sequence: 2,
            previous: [9; 32],
            kind: "report.routed".to_owned(),
        }
    }

    /// Built by hand, independently of the encoder.
    #[test]
    fn the_layout_is_what_the_table_says() {
        let by_hand = [
            &[44][..],
            b"reports/6f1d2c3b-4a59-4687-8776-665544332211",
            &2_u64.to_be_bytes(),
            &[9; 32],
            &[13],
            b"report.routed",
        ]
        .concat();
        assert_eq!(sample().encode(), by_hand);
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(Chain::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(Chain::decode(&[&bytes[..], &[0]].concat()), Err(Malformed::Trailing(1)));
    }

    /// In the two domains, the same salt and content give different commitments.
    #[test]
    fn chain_and_detail_are_apart() {
        assert_ne!(chain_commitment(&[1; 32], b"x"), detail_commitment(&[1; 32], b"x"));
    }

    #[test]
    fn p2_a_chain_is_believed_only_as_the_entry_commits_to_it() {
        let (salt, content) = ([3; 32], sample().encode());
        let entry = Entry {
            id: Uuid::from_u128(0x7000_8000_0000_0000_0001),
            time: Time(5),
            source: "intake".to_owned(),
            content: Content::Change {
                chain: chain_commitment(&salt, &content),
                detail: [0; 32],
            },
        };
        let opened = |salt: &[u8], content: &[u8]| Opened::new(&entry.encode(), Opens { salt, content });
        let right = opened(&salt, &content).unwrap();
        assert_eq!(
            (&*right.record, right.sequence, &*right.kind),
            (&*sample().record, 2, "report.routed")
        );
        for at in 0..salt.len() + content.len() {
            let mut bytes = [&salt[..], &content].concat();
            bytes[at] ^= 1;
            let (salt, content) = bytes.split_at(salt.len());
            assert_eq!(opened(salt, content), Err(Unopened::Commitment), "byte {at}");
        }
        assert_eq!(opened(&[], &[]), Err(Unopened::Commitment));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(flip in 0_usize..150, bit in 0_u8..8) {
            let mut bytes = sample().encode();
            let at = flip % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(chain) = Chain::decode(&bytes) {
                prop_assert_eq!(chain.encode(), bytes);
            }
        }
    }
}
