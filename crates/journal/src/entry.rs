//! The canonical entry, version 1: what the log's leaves are made of.
//!
//! These bytes are final. Log bytes cannot be migrated, so a later version gets another first byte and this one stays
//! readable. All numbers are big-endian; texts are ASCII behind one byte of length, 1 to 255.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, `01` |
//! | 16 | event id, a UUID |
//! | 1 + n | source: the producer, such as `intake`; characters `a-z`, `0-9`, `-` |
//! | 1 + n | record: a resource name, such as `reports/6f1d…`; characters `a-z`, `A-Z`, `0-9`, `-`, `_`, `.`, `/` |
//! | 8 | sequence of this change within the record, from 1 |
//! | 32 | hash of the record's previous entry; zeros for the first |
//! | 16 | id of the event that caused this one, perhaps of another record; zeros when none did |
//! | 1 + n | kind, such as `report.accepted`; characters `a-z`, `0-9`, `-`, `.` |
//! | 8 | time, microseconds since 1970-01-01 UTC, signed |
//! | 32 | commitment: SHA-256(`remit-detail-v1` ‖ salt (32 bytes) ‖ detail) |
//!
//! Nothing follows. The hash of an entry is its RFC 6962 leaf hash: SHA-256(`00` ‖ entry).
//! Test vectors for other languages: `crates/journal/vectors/entry-v1.json`.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Bytes32, Time};

/// The fields of a canonical entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Id of the event.
    pub event_id: Uuid,
    /// The producer, such as `intake`.
    pub source: String,
    /// Resource name of the record that changed.
    pub record: String,
    /// Which change of the record this is, from 1.
    pub sequence: u64,
    /// Hash of the record's previous entry; zeros for the first.
    pub previous: Bytes32,
    /// The event that caused this one.
    pub caused_by: Option<Uuid>,
    /// The kind of change.
    pub kind: String,
    /// When it happened.
    pub time: Time,
    /// Salted commitment to the detail.
    pub commitment: Bytes32,
}

/// Why bytes are not a canonical entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEntry {
    /// The first byte is not 1.
    #[error("version {0} is unknown")]
    Version(u8),
    /// The bytes end inside a field.
    #[error("it ends inside {0}")]
    Truncated(&'static str),
    /// A text is empty or has a character that it may not have.
    #[error("{0} is empty or has a character that it may not have")]
    Text(&'static str),
    /// The sequence is 0, or the link does not fit to it.
    #[error("the first change has a link, or a later one has none")]
    Link,
    /// Bytes follow the last field.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
}

const VERSION: u8 = 1;

/// Bytes of an entry at most: C2SP `tlog-tiles` gives it two bytes of length in an entry bundle.
pub const ENTRY_BYTES: usize = 65_535;
/// Bytes of a detail at most, so that it fits into a message to audit.
pub const DETAIL_BYTES: usize = 1 << 20;
/// Bytes of a text in an entry at most.
pub(crate) const TEXT_BYTES: usize = 255;

impl Entry {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(117 + self.source.len() + self.record.len() + self.kind.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(self.event_id.as_bytes());
        put_text(&mut bytes, &self.source);
        put_text(&mut bytes, &self.record);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.previous);
        bytes.extend_from_slice(self.caused_by.unwrap_or(Uuid::nil()).as_bytes());
        put_text(&mut bytes, &self.kind);
        bytes.extend_from_slice(&self.time.0.to_be_bytes());
        bytes.extend_from_slice(&self.commitment);
        bytes
    }

    /// Reads canonical bytes. Whatever decodes encodes to the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedEntry> {
        let mut rest = Rest(bytes);
        let [version] = rest.array("version")?;
        if version != VERSION {
            return Err(MalformedEntry::Version(version));
        }
        let event_id = Uuid::from_bytes(rest.array("event id")?);
        let source = rest.text("source", in_source)?;
        let record = rest.text("record", in_record)?;
        let sequence = u64::from_be_bytes(rest.array("sequence")?);
        let previous: Bytes32 = rest.array("previous hash")?;
        let caused_by = Some(Uuid::from_bytes(rest.array("cause")?)).filter(|id| !id.is_nil());
        let kind = rest.text("kind", in_kind)?;
        let time = Time(i64::from_be_bytes(rest.array("time")?));
        let commitment = rest.array("commitment")?;
        if !rest.0.is_empty() {
            return Err(MalformedEntry::Trailing(rest.0.len()));
        }
        if sequence == 0 || (sequence == 1) != (previous == [0; 32]) {
            return Err(MalformedEntry::Link);
        }
        Ok(Self {
            event_id,
            source,
            record,
            sequence,
            previous,
            caused_by,
            kind,
            time,
            commitment,
        })
    }
}

/// Whether a source may have this character.
pub(crate) fn in_source(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

/// Whether a record's name may have this character.
pub(crate) fn in_record(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/')
}

/// Whether a kind may have this character.
pub(crate) fn in_kind(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')
}

/// RFC 6962 leaf hash of an entry's bytes.
pub fn entry_hash(entry: &[u8]) -> Bytes32 {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// Texts are made by Remit itself; one that is too long is cut here, and the change refused before it is written
/// ([`append`](crate::append)).
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(TEXT_BYTES)];
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(text);
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MalformedEntry> {
        let (array, rest) = self.0.split_first_chunk().ok_or(MalformedEntry::Truncated(field))?;
        self.0 = rest;
        Ok(*array)
    }

    fn text(&mut self, field: &'static str, allowed: fn(u8) -> bool) -> Result<String, MalformedEntry> {
        let [length] = self.array(field)?;
        let (text, rest) = self
            .0
            .split_at_checked(usize::from(length))
            .ok_or(MalformedEntry::Truncated(field))?;
        if text.is_empty() || !text.iter().copied().all(allowed) {
            return Err(MalformedEntry::Text(field));
        }
        self.0 = rest;
        Ok(text.iter().map(|&c| char::from(c)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commitment;

    fn sample() -> Entry {
        Entry {
            event_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
            source: "intake".to_owned(),
            record: "reports/6f1d2c3b-4a59-4687-8776-665544332211".to_owned(),
            sequence: 1,
            previous: [0; 32],
            caused_by: None,
            kind: "report.accepted".to_owned(),
            time: Time(1_795_305_600_123_456),
            commitment: commitment(&[7; 32], b"detail"),
        }
    }

    /// The vectors are what other languages check themselves against: they may be added to, never changed.
    #[test]
    fn the_published_vectors_hold() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../vectors/entry-v1.json")).unwrap();
        let hex = |value: &serde_json::Value| {
            data_encoding::HEXLOWER
                .decode(value.as_str().unwrap().as_bytes())
                .unwrap()
        };
        let valid = vectors["valid"].as_array().unwrap();
        assert!(valid.len() >= 3);
        for vector in valid {
            let bytes = hex(&vector["entry"]);
            let entry = Entry::decode(&bytes).unwrap();
            assert_eq!(entry.encode(), bytes);
            assert_eq!(entry_hash(&bytes).to_vec(), hex(&vector["hash"]));
            assert_eq!(entry.event_id.to_string(), vector["event_id"].as_str().unwrap());
            assert_eq!(entry.source, vector["source"].as_str().unwrap());
            assert_eq!(entry.record, vector["record"].as_str().unwrap());
            assert_eq!(entry.sequence, vector["sequence"].as_u64().unwrap());
            assert_eq!(entry.previous.to_vec(), hex(&vector["previous"]));
            assert_eq!(
                entry.caused_by.map(|id| id.to_string()).as_deref(),
                vector["caused_by"].as_str()
            );
            assert_eq!(entry.kind, vector["kind"].as_str().unwrap());
            assert_eq!(entry.time.0, vector["time"].as_i64().unwrap());
            let salt: Bytes32 = hex(&vector["salt"]).try_into().unwrap();
            assert_eq!(entry.commitment, commitment(&salt, &hex(&vector["detail"])));
        }
        for vector in vectors["malformed"].as_array().unwrap() {
            let error = Entry::decode(&hex(&vector["entry"])).unwrap_err();
            assert_eq!(error.to_string(), vector["error"].as_str().unwrap());
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(
            Entry::decode(&[&bytes[..], &[0]].concat()),
            Err(MalformedEntry::Trailing(1))
        );
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(flip in 0_usize..150, bit in 0_u8..8) {
            let mut bytes = sample().encode();
            let at = flip % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes);
            }
        }
    }
}
