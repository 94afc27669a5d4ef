//! Making a change's canonical bytes from its draft and the record's head.

use api::event::{Detail, Opening, StateChange};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use prost::Message as _;
use sha2::Sha256;
use uuid::Uuid;

use crate::{
    Bytes32, Content, Entropy, Entry, Time,
    bytes::TEXT_BYTES,
    chain::{chain_bytes, chain_commitment, detail_commitment, in_kind, in_record},
    entry::{ENTRY_BYTES, entry_hash, entry_id},
};

/// Largest detail in bytes: it has to fit into a message to audit.
pub const DETAIL_BYTES: usize = 1 << 20;

/// The end of a record's chain of changes. Kept in the record's own row, and locked with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Sequence of the last change; 0 before the first.
    pub sequence: u64,
    /// Hash of the last entry; zeros before the first.
    pub hash: Bytes32,
    /// Time of the last change as the record has it: the next is never earlier, whatever the
    /// machine's clock says. Entries have the clock's time: one that was moved up to an earlier
    /// change's would tell which that is.
    pub time: Time,
}

/// A change before its bytes are made.
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
    /// The detail.
    pub detail: Detail,
    /// Trace context of the request; empty if there is none.
    pub traceparent: String,
}

/// A change whose bytes are made, once and for all.
#[derive(Clone, Debug)]
pub struct Change {
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
    pub(crate) chain_salt: Bytes32,
    chain: Bytes,
    detail_salt: Bytes32,
    detail: Bytes,
    traceparent: String,
}

impl Draft<'_> {
    /// Makes the bytes of the record's next change.
    pub fn into_change(self, head: &Head, now: Time, entropy: &dyn Entropy) -> Change {
        // Both salts, drawn together.
        let mut random = [0; 64];
        entropy.fill(&mut random);
        let (chain_salt, detail_salt): (Bytes32, Bytes32) = (part(&random, 0), part(&random, 32));
        let event_id = entry_id(now, entropy);
        let mut detail = self.detail;
        detail.caused_by = self.caused_by.map(|event| event.to_string()).unwrap_or_default();
        let detail = detail.encode_to_vec();
        let sequence = head.sequence + 1;
        let chain = chain_bytes(self.record, sequence, &head.hash, self.kind);
        let entry = Entry {
            id: event_id,
            time: now,
            source: self.source.to_owned(),
            content: Content::Change {
                chain: chain_commitment(&chain_salt, &chain),
                detail: detail_commitment(&detail_salt, &detail),
            },
        }
        .encode();
        Change {
            event_id,
            record: self.record.to_owned(),
            kind: self.kind,
            head: Head {
                sequence,
                hash: entry_hash(&entry),
                time: now.max(head.time),
            },
            entry: entry.into(),
            chain_salt,
            chain: chain.into(),
            detail_salt,
            detail: detail.into(),
            traceparent: self.traceparent,
        }
    }
}

/// The bytes from `at` on.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

/// HMAC-SHA-256 of data under a key. The domain separates uses: the same data in another domain has
/// another hash.
pub fn keyed_hash(key: &Bytes32, domain: &str, data: &[u8]) -> Bytes32 {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(domain.as_bytes());
    mac.update(&[0]);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Why a change can never be logged: no consumer would take it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unloggable {
    /// The record's name or the kind has a character that entries do not allow.
    #[error("{field} `{text}` has a character that an entry may not have")]
    Character {
        /// Which.
        field: &'static str,
        /// All of it.
        text: String,
    },
    /// The record's name or the kind has no fitting length.
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

impl Change {
    /// Checks that the log takes it. Called before it is written: once written together with a
    /// state, it cannot be taken back.
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

    /// For audit: with chain and detail.
    pub fn with_detail(&self) -> StateChange {
        StateChange {
            detail: Some(Opening {
                salt: Bytes::copy_from_slice(&self.detail_salt),
                content: self.detail.clone(),
            }),
            ..self.without_detail()
        }
    }

    /// For other consumers: with the chain alone.
    pub fn without_detail(&self) -> StateChange {
        StateChange {
            entry: self.entry.clone(),
            chain: Some(self.chain()),
            detail: None,
            traceparent: self.traceparent.clone(),
        }
    }

    /// Opens its chain.
    pub fn chain(&self) -> Opening {
        Opening {
            salt: Bytes::copy_from_slice(&self.chain_salt),
            content: self.chain.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    fn draft(record: &str) -> Draft<'_> {
        Draft {
            source: "intake",
            record,
            kind: "report.accepted",
            caused_by: None,
            detail: Detail::default(),
            traceparent: String::new(),
        }
    }

    fn change(record: &str, purpose: usize) -> Change {
        let mut draft = draft(record);
        draft.detail.purpose = "x".repeat(purpose);
        draft.into_change(&Head::default(), Time(0), &SeededEntropy::new(1))
    }

    #[test]
    fn what_no_log_takes_is_refused_where_it_is_made() {
        let name = |bytes: usize| format!("reports/{}", "a".repeat(bytes - "reports/".len()));
        assert_eq!(change(&name(255), 1_000_000).fits(), Ok(()));
        for (change, expected) in [
            (
                change(&name(256), 0),
                format!("record `{}…` has 256 bytes; an entry takes 1 to 255", &name(256)[..40]),
            ),
            (
                change("", 0),
                "record `…` has 0 bytes; an entry takes 1 to 255".to_owned(),
            ),
            (
                change("reports/举报", 0),
                "record `reports/举报` has a character that an entry may not have".to_owned(),
            ),
            (
                Change {
                    kind: "report.clock_missed",
                    ..change("reports/1", 0)
                },
                "kind `report.clock_missed` has a character that an entry may not have".to_owned(),
            ),
            (
                change("reports/1", DETAIL_BYTES),
                format!(
                    "the detail of the change of reports/1 has {} bytes; the log takes at most {DETAIL_BYTES}",
                    DETAIL_BYTES + 4
                ),
            ),
            (
                Change {
                    entry: vec![0; ENTRY_BYTES + 1].into(),
                    ..change("reports/1", 0)
                },
                "the entry for reports/1 has 65536 bytes; the log takes at most 65535".to_owned(),
            ),
        ] {
            assert_eq!(change.fits().unwrap_err().to_string(), expected);
        }
    }

    /// None of the texts that a producer chooses is in the entry.
    #[test]
    fn p3_entries_of_one_source_are_equally_long() {
        for (record, purpose) in [("r", 0), (&*"r".repeat(255), 0), ("reports/1", 100_000)] {
            assert_eq!(change(record, purpose).entry.len(), 91 + "intake".len());
        }
        const { assert!(91 + TEXT_BYTES <= ENTRY_BYTES) };
    }

    #[test]
    fn the_cause_is_in_the_detail() {
        let cause = Uuid::from_u128(7);
        let draft = Draft {
            caused_by: Some(cause),
            ..draft("reports/1")
        };
        let change = draft.into_change(&Head::default(), Time(0), &SeededEntropy::new(2));
        let detail = Detail::decode(change.with_detail().detail.unwrap().content).unwrap();
        assert_eq!(detail.caused_by, cause.to_string());
    }

    /// Moved up to the record's last time, it would tell which record it belongs to.
    #[test]
    fn p3_the_time_of_an_entry_is_the_clocks_whatever_the_records_is() {
        let head = Head {
            time: Time(3_600_000_000),
            ..change("reports/1", 0).head
        };
        let second = draft("reports/1").into_change(&head, Time(5_000_000), &SeededEntropy::new(2));
        assert_eq!(Entry::decode(&second.entry).unwrap().time, Time(5_000_000));
        assert_eq!(second.head.time, head.time);
    }

    /// Microseconds would identify the transaction, and so tie its entries to each other.
    #[test]
    fn p3_the_time_of_an_entry_is_in_whole_seconds() {
        for (now, entry) in [
            (1_795_305_600_999_999, 1_795_305_600_000_000),
            (1_795_305_600_000_000, 1_795_305_600_000_000),
            (-1, 0),
        ] {
            let change = draft("reports/1").into_change(&Head::default(), Time(now), &SeededEntropy::new(2));
            assert_eq!(Entry::decode(&change.entry).unwrap().time, Time(entry));
        }
    }
}
