//! The canonical entry, version 1: the log's leaves.
//!
//! These bytes are final. Log bytes cannot be migrated, so a later version gets another first byte
//! and this one stays readable. All numbers are big-endian; texts are ASCII behind one byte of
//! length, 1 to 255.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, `01` |
//! | 1 | type: `01` a change, `02` a mark |
//! | 16 | entry id, a UUID (version 7) of the time below, else random; a change's event id |
//! | 8 | time, seconds since 1970-01-01 UTC, less than 2^48 / 1000 |
//! | 1 + n | source: the producer, such as `intake`; characters `a-z`, `0-9`, `-` |
//!
//! A change ends with two commitments, each under a salt of its own (`chain.rs`):
//!
//! | bytes | field |
//! |---|---|
//! | 32 | chain commitment: record, sequence, link and kind |
//! | 32 | detail commitment: the cause and all else |
//!
//! A mark says how many changes of its source the log holds before it, and which:
//!
//! | bytes | field |
//! |---|---|
//! | 8 | number of changes |
//! | 32 | sum of the hashes of their entries, modulo 2^256 (`mark.rs`) |
//!
//! Nothing follows. The hash of an entry is its RFC 6962 leaf hash: SHA-256(`00` ‖ entry).
//!
//! All changes of one source are equally long, their salts are random, and nothing in an entry
//! repeats in another but the source and the second: without the openings nobody can tell whether
//! two changes are of one record. The time is the clock's when the change was made, whatever the
//! record's earlier times are, and in whole seconds: changes of one transaction share their
//! microsecond, which would tie them together.
//!
//! The id begins with that same second in milliseconds, as version 7 has it, and says no more of
//! the time; its other 74 bits are random. So new ids are adjacent in every index of ids: index
//! pages are most of what a commit writes.
//!
//! Test vectors for other languages: `crates/journal/vectors/entry-v1.json`.

use sha2::{Digest as _, Sha256};
use uuid::{Uuid, Variant};

use crate::{
    Bytes32, Entropy, EventSet, SetHash, Time,
    bytes::{Malformed, Rest, put_text},
    ordered_id,
};

/// The fields of a canonical entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Id of the entry, made by [`entry_id`]; of a change it is the event id.
    pub id: Uuid,
    /// When it was made, in whole seconds: encoding rounds down, and a clock before 1970 is at
    /// 1970.
    pub time: Time,
    /// The producer, such as `intake`.
    pub source: String,
    /// Its content.
    pub content: Content,
}

/// The content of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A change of a record, committed to.
    Change {
        /// Salted commitment to record, sequence, link and kind.
        chain: Bytes32,
        /// Salted commitment to the detail.
        detail: Bytes32,
    },
    /// The set of the source's changes before it in the log.
    Mark(EventSet),
}

const VERSION: u8 = 1;
const CHANGE: u8 = 1;
const MARK: u8 = 2;
/// In microseconds.
const SECOND: i64 = 1_000_000;
/// The last second whose milliseconds have 48 bits.
const LAST_SECOND: i64 = ((1 << 48) - 1) / 1_000;

/// Bytes of an entry at most: its length has two bytes in an entry bundle of C2SP `tlog-tiles`.
pub const ENTRY_BYTES: usize = 65_535;
/// Largest size of an entry without its source, in bytes.
const FIXED: usize = 1 + 1 + 16 + 8 + 1 + 32 + 32;

/// The seconds that an entry says of a time.
fn seconds(time: Time) -> i64 {
    time.0.div_euclid(SECOND).clamp(0, LAST_SECOND)
}

/// The id of an entry that is made now: whoever reads it learns the second, which the entry says,
/// and no more.
pub fn entry_id(now: Time, entropy: &dyn Entropy) -> Uuid {
    ordered_id(Time(seconds(now) * SECOND), entropy)
}

impl Entry {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.source.len());
        bytes.push(VERSION);
        bytes.push(match self.content {
            Content::Change { .. } => CHANGE,
            Content::Mark(_) => MARK,
        });
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&seconds(self.time).to_be_bytes());
        put_text(&mut bytes, &self.source);
        match &self.content {
            Content::Change { chain, detail } => {
                bytes.extend_from_slice(chain);
                bytes.extend_from_slice(detail);
            }
            Content::Mark(set) => {
                bytes.extend_from_slice(&set.count.to_be_bytes());
                bytes.extend_from_slice(&set.hash.to_bytes());
            }
        }
        bytes
    }

    /// Reads canonical bytes. Whatever decodes encodes to the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(bytes);
        let [version] = rest.array("version")?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let [kind] = rest.array("type")?;
        if ![CHANGE, MARK].contains(&kind) {
            return Err(Malformed::Type(kind));
        }
        let id = Uuid::from_bytes(rest.array("entry id")?);
        let seconds = i64::from_be_bytes(rest.array("time")?);
        if !(0..=LAST_SECOND).contains(&seconds) {
            return Err(Malformed::Time);
        }
        let of_its_second = id.as_bytes()[..6] == (seconds * 1_000).to_be_bytes()[2..];
        if id.get_version_num() != 7 || id.get_variant() != Variant::RFC4122 || !of_its_second {
            return Err(Malformed::Id);
        }
        let time = Time(seconds * SECOND);
        let source = rest.text("source", in_source)?;
        let content = match kind {
            MARK => Content::Mark(EventSet {
                count: u64::from_be_bytes(rest.array("count")?),
                hash: SetHash::from_bytes(rest.array("sum of hashes")?),
            }),
            _ => Content::Change {
                chain: rest.array("chain commitment")?,
                detail: rest.array("detail commitment")?,
            },
        };
        rest.end()?;
        Ok(Self {
            id,
            time,
            source,
            content,
        })
    }
}

/// Whether a source may have this character.
pub(crate) fn in_source(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

/// RFC 6962 leaf hash of an entry's bytes.
pub fn entry_hash(entry: &[u8]) -> Bytes32 {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Chain, Opened, Opens, chain_commitment, detail_commitment};

    fn sample() -> Entry {
        Entry {
            id: Uuid::from_u128(0x01a2_008d_7400_7000_8000_0000_0000_0001),
            time: Time(1_795_305_600_000_000),
            source: "intake".to_owned(),
            content: Content::Change {
                chain: chain_commitment(&[6; 32], b"chain"),
                detail: detail_commitment(&[7; 32], b"detail"),
            },
        }
    }

    fn mark() -> Entry {
        let mut set = EventSet::default();
        set.add(&[0x11; 32]);
        set.add(&[0x22; 32]);
        Entry {
            content: Content::Mark(set),
            ..sample()
        }
    }

    /// Built by hand, independently of the encoder.
    #[test]
    fn the_layout_is_what_the_table_says() {
        let hash = |parts: &[&[u8]]| -> Vec<u8> { Sha256::digest(parts.concat()).to_vec() };
        let head = |kind: u8| {
            [
                &[1, kind][..],
                &[1, 0xa2, 0, 0x8d, 0x74, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1],
                &1_795_305_600_i64.to_be_bytes(),
                &[6],
                b"intake",
            ]
            .concat()
        };
        let change = [
            head(1),
            hash(&[b"remit-chain-v1", &[6; 32], b"chain"]),
            hash(&[b"remit-detail-v1", &[7; 32], b"detail"]),
        ];
        assert_eq!(sample().encode(), change.concat());
        assert_eq!(sample().encode().len(), 91 + "intake".len());
        let mark_bytes = [head(2), 2_u64.to_be_bytes().to_vec(), vec![0x33; 32]];
        assert_eq!(mark().encode(), mark_bytes.concat());
        assert_eq!(
            entry_hash(&mark().encode()).to_vec(),
            hash(&[&[0], &mark_bytes.concat()])
        );
    }

    /// Another program makes the vectors, and verifiers in other languages are checked against them.
    /// Add to them, but never change them.
    #[test]
    fn the_published_vectors_hold() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../vectors/entry-v1.json")).unwrap();
        let hex = |value: &serde_json::Value| {
            let text = value.as_str().unwrap().as_bytes();
            data_encoding::HEXLOWER.decode(text).unwrap()
        };
        let array = |value: &serde_json::Value| -> Bytes32 { hex(value).try_into().unwrap() };
        let list = |name: &str| vectors[name].as_array().unwrap().clone();
        let header = |vector: &serde_json::Value, entry: &Entry, bytes: &[u8]| {
            assert_eq!(entry.encode(), bytes);
            assert_eq!(entry_hash(bytes), array(&vector["hash"]));
            assert_eq!(entry.id.to_string(), vector["entry_id"].as_str().unwrap());
            assert_eq!(entry.source, vector["source"].as_str().unwrap());
            assert_eq!(entry.time.0, vector["time"].as_i64().unwrap() * SECOND);
        };
        assert!(list("changes").len() >= 5 && list("marks").len() >= 3);
        for vector in list("changes") {
            let bytes = hex(&vector["entry"]);
            let entry = Entry::decode(&bytes).unwrap();
            header(&vector, &entry, &bytes);
            let (salt, content) = (hex(&vector["chain_salt"]), hex(&vector["chain"]));
            let chain = Opens {
                salt: &salt,
                content: &content,
            };
            let opened = Opened::new(&bytes, chain).unwrap();
            assert_eq!(Chain::decode(&content).unwrap().encode(), content);
            assert_eq!(opened.record, vector["record"].as_str().unwrap());
            assert_eq!(opened.sequence, vector["sequence"].as_u64().unwrap());
            assert_eq!(opened.previous, array(&vector["previous"]));
            assert_eq!(opened.kind, vector["kind"].as_str().unwrap());
            let (salt, content) = (hex(&vector["detail_salt"]), hex(&vector["detail"]));
            let detail = Opens {
                salt: &salt,
                content: &content,
            };
            assert!(detail.is_detail_of(&opened.detail));
        }
        for vector in list("marks") {
            let bytes = hex(&vector["entry"]);
            let entry = Entry::decode(&bytes).unwrap();
            header(&vector, &entry, &bytes);
            let mut set = EventSet::default();
            for hash in vector["hashes"].as_array().unwrap() {
                set.add(&array(hash));
            }
            assert_eq!(
                (set.count, set.hash.to_bytes()),
                (vector["count"].as_u64().unwrap(), array(&vector["set_hash"]))
            );
            assert_eq!(entry.content, Content::Mark(set));
        }
        for vector in list("malformed_entries") {
            let error = Entry::decode(&hex(&vector["entry"])).unwrap_err();
            assert_eq!(
                error.to_string(),
                vector["error"].as_str().unwrap(),
                "{}",
                vector["name"]
            );
        }
        for vector in list("malformed_chains") {
            let error = Chain::decode(&hex(&vector["chain"])).unwrap_err();
            assert_eq!(
                error.to_string(),
                vector["error"].as_str().unwrap(),
                "{}",
                vector["name"]
            );
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        for entry in [sample(), mark()] {
            let bytes = entry.encode();
            for end in 0..bytes.len() {
                assert!(Entry::decode(&bytes[..end]).is_err(), "cut at {end}");
            }
            assert_eq!(Entry::decode(&[&bytes[..], &[0]].concat()), Err(Malformed::Trailing(1)));
        }
    }

    /// A finer time in ids would tie the entries of one transaction to each other.
    #[test]
    fn p3_an_id_tells_the_second_and_no_more() {
        let good = sample().encode();
        for (at, to) in [(8, 0x40), (10, 0xc0), (7, good[7] + 1), (2, 2)] {
            let mut bytes = good.clone();
            bytes[at] = to;
            assert_eq!(Entry::decode(&bytes), Err(Malformed::Id), "byte {at}");
        }
        let entropy = crate::SeededEntropy::new(3);
        let second = 1_795_305_600_000_000_i64;
        let at = |micros| entry_id(Time(second + micros), &entropy);
        let prefix = |id: Uuid| id.as_bytes()[..6].to_vec();
        assert_eq!(prefix(at(0)), prefix(at(999_999)));
        assert!(at(0) != at(0) && prefix(at(0)) < prefix(at(1_000_000)));
    }

    #[test]
    fn what_is_encoded_decodes_at_any_time_of_the_clock() {
        let entropy = crate::SeededEntropy::new(4);
        for (now, said) in [
            (i64::MIN, 0),
            (-1, 0),
            (SECOND - 1, 0),
            (SECOND, SECOND),
            (i64::MAX, LAST_SECOND * SECOND),
        ] {
            let entry = Entry {
                id: entry_id(Time(now), &entropy),
                time: Time(now),
                ..sample()
            };
            assert_eq!(Entry::decode(&entry.encode()).unwrap().time, Time(said), "{now}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(flip in 0_usize..150, bit in 0_u8..8, is_mark: bool) {
            let mut bytes = if is_mark { mark() } else { sample() }.encode();
            let at = flip % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes);
            }
        }
    }
}
