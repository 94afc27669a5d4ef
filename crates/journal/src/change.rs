//! Sealing a change: from what happened to canonical bytes, against the record's head.

use api::event::{Detail, StateChange};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    Bytes32, Entropy, Entry, Time,
    entry::{DETAIL_BYTES, ENTRY_BYTES, TEXT_BYTES, entry_hash, in_kind, in_record},
    source::ordered_id,
};

/// Where a record's chain of changes stands. Kept in the record's own row, and locked with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Sequence of the last change; 0 before the first.
    pub sequence: u64,
    /// Hash of the last entry; zeros before the first.
    pub hash: Bytes32,
    /// Time of the last change. The next is never earlier, whatever the machine's clock says.
    pub time: Time,
}

/// A change before it is sealed.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// The producer, such as `intake`.
    pub source: &'static str,
    /// Resource name of the record.
    pub record: &'a str,
    /// The kind of change, such as `report.accepted`.
    pub kind: &'static str,
    /// The event that caused it.
    pub caused_by: Option<Uuid>,
    /// What happened.
    pub detail: Detail,
    /// Trace context of the request that asked for it; empty when there is none.
    pub traceparent: String,
}

/// A change whose bytes are made, once and for all.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Id of the event.
    pub event_id: Uuid,
    /// Resource name of the record.
    pub record: String,
    /// The kind of change.
    pub kind: &'static str,
    /// The record's head after it.
    pub head: Head,
    /// The canonical entry.
    pub entry: Bytes,
    salt: Bytes32,
    detail: Bytes,
    traceparent: String,
}

/// Seals a change as the next of its record.
pub fn seal(draft: Draft<'_>, head: &Head, now: Time, entropy: &dyn Entropy) -> Sealed {
    let time = now.max(head.time);
    let mut salt = [0; 32];
    entropy.fill(&mut salt);
    let detail = draft.detail.encode_to_vec();
    let event_id = ordered_id(time, entropy);
    let entry = Entry {
        event_id,
        source: draft.source.to_owned(),
        record: draft.record.to_owned(),
        sequence: head.sequence + 1,
        previous: head.hash,
        caused_by: draft.caused_by,
        kind: draft.kind.to_owned(),
        time,
        commitment: commitment(&salt, &detail),
    }
    .encode();
    Sealed {
        event_id,
        record: draft.record.to_owned(),
        kind: draft.kind,
        head: Head {
            sequence: head.sequence + 1,
            hash: entry_hash(&entry),
            time,
        },
        entry: entry.into(),
        salt,
        detail: detail.into(),
        traceparent: draft.traceparent,
    }
}

/// The salted commitment to a detail that stands in an entry.
pub fn commitment(salt: &Bytes32, detail: &[u8]) -> Bytes32 {
    Sha256::new()
        .chain_update(b"remit-detail-v1")
        .chain_update(salt)
        .chain_update(detail)
        .finalize()
        .into()
}

/// HMAC-SHA-256 under a key, of data that belongs to a domain: the same data elsewhere gives another hash.
pub fn keyed_hash(key: &Bytes32, domain: &str, data: &[u8]) -> Bytes32 {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(domain.as_bytes());
    mac.update(&[0]);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Why a change cannot be logged, ever: no consumer would take it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unloggable {
    /// Its record's name or its kind has a character that an entry may not have.
    #[error("{field} `{text}` has a character that an entry may not have")]
    Character {
        /// Which.
        field: &'static str,
        /// All of it.
        text: String,
    },
    /// Its record's name or its kind does not fit into an entry.
    #[error("{field} `{start}…` has {bytes} bytes; an entry takes 1 to {TEXT_BYTES}")]
    Text {
        /// Which.
        field: &'static str,
        /// How it begins.
        start: String,
        /// How long it is.
        bytes: usize,
    },
    /// Its entry is larger than the log takes.
    #[error("the entry for {record} has {bytes} bytes; the log takes at most {ENTRY_BYTES}")]
    Entry {
        /// Resource name of the record.
        record: String,
        /// How large it is.
        bytes: usize,
    },
    /// Its detail is larger than the log takes.
    #[error("the detail of the change of {record} has {bytes} bytes; the log takes at most {DETAIL_BYTES}")]
    Detail {
        /// Resource name of the record.
        record: String,
        /// How large it is.
        bytes: usize,
    },
}

impl Sealed {
    /// Whether the log takes it. Asked before it is written: what was written with a state can never be taken back.
    pub fn fits(&self) -> Result<(), Unloggable> {
        for (field, text, is_lawful) in [
            ("record", &*self.record, self.record.bytes().all(in_record)),
            ("kind", self.kind, self.kind.bytes().all(in_kind)),
        ] {
            if !(1..=TEXT_BYTES).contains(&text.len()) {
                let (start, bytes) = (text.chars().take(40).collect(), text.len());
                return Err(Unloggable::Text { field, start, bytes });
            }
            if !is_lawful {
                let text = text.to_owned();
                return Err(Unloggable::Character { field, text });
            }
        }
        let record = || self.record.clone();
        match (self.entry.len(), self.detail.len()) {
            (bytes, _) if bytes > ENTRY_BYTES => Err(Unloggable::Entry {
                record: record(),
                bytes,
            }),
            (_, bytes) if bytes > DETAIL_BYTES => Err(Unloggable::Detail {
                record: record(),
                bytes,
            }),
            _ => Ok(()),
        }
    }

    /// For audit: with salt and detail.
    pub fn with_detail(&self) -> StateChange {
        self.message(Bytes::copy_from_slice(&self.salt), self.detail.clone())
    }

    /// For other consumers: the entry alone.
    pub fn without_detail(&self) -> StateChange {
        self.message(Bytes::new(), Bytes::new())
    }

    fn message(&self, salt: Bytes, detail: Bytes) -> StateChange {
        StateChange {
            entry: self.entry.clone(),
            salt,
            detail,
            traceparent: self.traceparent.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    fn sealed(record: &str, purpose: usize) -> Sealed {
        let draft = Draft {
            source: "intake",
            record,
            kind: "report.accepted",
            caused_by: None,
            detail: Detail {
                purpose: "x".repeat(purpose),
                ..Detail::default()
            },
            traceparent: String::new(),
        };
        seal(draft, &Head::default(), Time(0), &SeededEntropy::new(1))
    }

    #[test]
    fn what_no_log_takes_is_refused_where_it_is_made() {
        let name = |bytes: usize| format!("reports/{}", "a".repeat(bytes - "reports/".len()));
        assert_eq!(sealed(&name(255), 1_000_000).fits(), Ok(()));
        for (change, expected) in [
            (
                sealed(&name(256), 0),
                format!("record `{}…` has 256 bytes; an entry takes 1 to 255", &name(256)[..40]),
            ),
            (
                sealed("", 0),
                "record `…` has 0 bytes; an entry takes 1 to 255".to_owned(),
            ),
            (
                sealed("reports/举报", 0),
                "record `reports/举报` has a character that an entry may not have".to_owned(),
            ),
            (
                Sealed {
                    kind: "report.clock_missed",
                    ..sealed("reports/1", 0)
                },
                "kind `report.clock_missed` has a character that an entry may not have".to_owned(),
            ),
            (
                sealed("reports/1", DETAIL_BYTES),
                format!(
                    "the detail of the change of reports/1 has {} bytes; the log takes at most {DETAIL_BYTES}",
                    DETAIL_BYTES + 4
                ),
            ),
            (
                Sealed {
                    entry: vec![0; ENTRY_BYTES + 1].into(),
                    ..sealed("reports/1", 0)
                },
                "the entry for reports/1 has 65536 bytes; the log takes at most 65535".to_owned(),
            ),
        ] {
            assert_eq!(change.fits().unwrap_err().to_string(), expected);
        }
    }

    /// The longest texts and no detail: version 1 cannot come near the limit, whatever a producer does.
    #[test]
    fn entries_of_version_1_are_far_below_the_limit() {
        assert!(sealed(&"r".repeat(255), 0).entry.len() <= 117 + 3 * 255);
        const { assert!(117 + 3 * 255 <= ENTRY_BYTES) };
    }

    #[test]
    fn a_records_times_never_go_back() {
        let first = sealed("reports/1", 0);
        let head = Head {
            time: Time(3_600_000_000),
            ..first.head
        };
        let draft = Draft {
            source: "intake",
            record: "reports/1",
            kind: "report.routed",
            caused_by: None,
            detail: Detail::default(),
            traceparent: String::new(),
        };
        assert_eq!(seal(draft, &head, Time(0), &SeededEntropy::new(2)).head.time, head.time);
    }
}
