//! Checks on a submitted change before it gets a place in the log. No I/O.
//!
//! There are two steps. [`check`] looks at a change by itself, before the transaction and on the
//! caller's task: it does the hashing. `judge.rs` compares it with the log, inside the transaction.

use api::event::{ChangeOutcome, Opening, StateChange};
use bytes::Bytes;
use journal::{AuditKind, Bytes32, Content, Entry, EventSet, Opened, Openings, Time, Unopened};
use names::Collection;
use uuid::Uuid;

/// The log itself as a source of entries.
pub(crate) const OWN: &str = "audit";
/// Kind of the only change of a reading of the log's details.
pub(crate) const READ: &str = AuditKind::DetailsRead.name();

/// The services that may append.
pub const SERVICES: [&str; 2] = [INTAKE, ROUTING];

const INTAKE: &str = "intake";
const ROUTING: &str = "routing";
/// Record of the directory's versions.
const DIRECTORY: &str = "directory/versions";

/// The largest sequence that the database's numbers hold.
const MAX_SEQUENCE: u64 = i64::MAX.cast_unsigned();

/// Why a change is not logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AppendRefusal {
    /// Its entry or its detail is too large.
    #[error("its entry or its detail is too large")]
    TooLarge,
    /// The entry is not canonical.
    #[error("its entry is not canonical")]
    Malformed,
    /// The entry's source is not the caller, or its record is not the source's.
    #[error("its source is not the caller, or its record is not one of the source's")]
    WrongSource,
    /// Chain or detail do not match the entry's commitments.
    #[error("its chain or its detail does not match the entry's commitments")]
    CommitmentMismatch,
    /// An earlier change of the record is missing.
    #[error("an earlier change of its record is missing")]
    OutOfOrder,
    /// It does not continue the record's last entry, or another event has its place: the producer's
    /// past has changed.
    #[error("it does not continue the last entry of its record")]
    BrokenLink,
    /// Its event id was logged with other bytes.
    #[error("its event id was logged with other bytes")]
    EventIdReused,
    /// Its producer is frozen until an operator has examined it. Fails the whole call, because the
    /// change may be valid.
    #[error("its producer is frozen")]
    Frozen,
}

impl AppendRefusal {
    /// As in the contract; a frozen producer's whole call fails, so that no outcome says it.
    pub fn outcome(self) -> ChangeOutcome {
        match self {
            Self::TooLarge => ChangeOutcome::TooLarge,
            Self::Malformed => ChangeOutcome::Malformed,
            Self::WrongSource => ChangeOutcome::WrongSource,
            Self::CommitmentMismatch => ChangeOutcome::CommitmentMismatch,
            Self::OutOfOrder => ChangeOutcome::OutOfOrder,
            Self::BrokenLink => ChangeOutcome::BrokenLink,
            Self::EventIdReused => ChangeOutcome::EventIdReused,
            Self::Frozen => ChangeOutcome::Unspecified,
        }
    }
}

impl From<journal::Discontinuity> for AppendRefusal {
    fn from(refusal: journal::Discontinuity) -> Self {
        match refusal {
            journal::Discontinuity::OutOfOrder => Self::OutOfOrder,
            journal::Discontinuity::BrokenLink => Self::BrokenLink,
        }
    }
}

/// The index of a change in the log, from this or an earlier call; or why it is not logged.
pub type Verdict = Result<u64, AppendRefusal>;

/// A change that is valid by itself.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) entry: Opened,
    pub(crate) bytes: Bytes,
    pub(crate) chain_salt: Bytes,
    pub(crate) detail: Opening,
}

impl Checked {
    /// Its size in the database, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.entry.record.len() + self.entry.kind.len() + self.detail.content.len() + 3 * 32
    }
}

/// Checks a change by itself. `source` is the service that submits it.
pub fn check(source: &str, change: StateChange) -> Result<Checked, AppendRefusal> {
    let StateChange {
        entry: bytes,
        chain,
        detail,
        traceparent: _,
    } = change;
    let (chain, detail) = (chain.unwrap_or_default(), detail.unwrap_or_default());
    if bytes.len() > journal::ENTRY_BYTES || detail.content.len() > journal::DETAIL_BYTES {
        return Err(AppendRefusal::TooLarge);
    }
    let entry = Opened::new(&bytes, (&chain).into()).map_err(|unopened| match unopened {
        Unopened::Commitment => AppendRefusal::CommitmentMismatch,
        Unopened::Entry(_) | Unopened::Mark | Unopened::Chain(_) => AppendRefusal::Malformed,
    })?;
    if entry.sequence > MAX_SEQUENCE {
        return Err(AppendRefusal::Malformed);
    }
    if entry.source != source || !owns(source, &entry) {
        return Err(AppendRefusal::WrongSource);
    }
    if !journal::Opens::from(&detail).is_detail_of(&entry.detail) {
        return Err(AppendRefusal::CommitmentMismatch);
    }
    Ok(Checked {
        entry,
        bytes,
        chain_salt: chain.salt,
        detail,
    })
}

/// A producer's mark as an entry: in the clear, so without openings.
#[derive(Clone, Debug)]
pub struct MarkEntry {
    pub(crate) id: Uuid,
    pub(crate) time: Time,
    pub(crate) source: String,
    pub(crate) set: EventSet,
    pub(crate) hash: Bytes32,
    pub(crate) bytes: Bytes,
}

impl MarkEntry {
    /// The entry that states what the log holds of a source.
    ///
    /// Audit writes it, where it is true. It cannot forge one: everybody who has the entries before
    /// it counts them, and a mark that differs is a fault of the log for every verifier.
    pub(crate) fn new(source: &str, set: EventSet, id: Uuid, time: Time) -> Self {
        let entry = Entry {
            id,
            time,
            source: source.to_owned(),
            content: Content::Mark(set),
        };
        let bytes = entry.encode();
        Self {
            id,
            time,
            source: entry.source,
            set,
            hash: journal::entry_hash(&bytes),
            bytes: bytes.into(),
        }
    }
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub enum Leaf {
    /// A change.
    Change(Box<Checked>),
    /// A mark.
    Mark(MarkEntry),
}

impl Leaf {
    /// A logged entry with the openings of its commitments; a mark has none.
    pub(crate) fn whole(bytes: Vec<u8>, openings: Option<Openings<'_>>) -> Result<Self, AppendRefusal> {
        let entry = Entry::decode(&bytes).map_err(|_| AppendRefusal::Malformed)?;
        match (entry.content, openings) {
            (Content::Mark(set), None) => Ok(Self::Mark(MarkEntry::new(&entry.source, set, entry.id, entry.time))),
            (Content::Change { .. }, Some(openings)) => {
                let change = StateChange {
                    entry: bytes.into(),
                    chain: Some(openings.chain.to_message()),
                    detail: Some(openings.detail.to_message()),
                    traceparent: String::new(),
                };
                Ok(Self::Change(Box::new(check(&entry.source, change)?)))
            }
            _ => Err(AppendRefusal::CommitmentMismatch),
        }
    }

    pub(crate) fn hash(&self) -> Bytes32 {
        match self {
            Self::Change(change) => change.entry.hash,
            Self::Mark(mark) => mark.hash,
        }
    }
}

/// Whether a source may log this change: it is of a record of its own.
fn owns(source: &str, entry: &Opened) -> bool {
    let is_of = |collection: Collection| collection.id(&entry.record).is_some();
    let is_reading = is_of(Collection::READINGS);
    let is_own_record = match source {
        INTAKE => is_reading || is_of(Collection::REPORTS) || is_of(Collection::EVIDENCE),
        ROUTING => {
            is_of(Collection::CASES)
                || is_of(Collection::ASSIGNMENTS)
                || is_of(Collection::DEPUTIES)
                || is_of(Collection::SUPERVISIONS)
                || is_of(Collection::RULE_SETS)
                || is_of(Collection::OPERATORS)
                || entry.record == DIRECTORY
        }
        // Not by a call: security events of producers, and readings of details.
        OWN => is_reading || is_of(Collection::PRODUCERS),
        _ => false,
    };
    // Two sources log readings. Nobody may continue one, because it may be the other's; the kind
    // tells whose it is.
    let is_whole = !is_reading || entry.sequence == 1;
    let is_own_kind = (entry.kind == READ) == (source == OWN && is_reading);
    is_own_record && is_whole && is_own_kind
}

#[cfg(test)]
mod tests {
    use journal::{Draft, Head, SeededEntropy, Time};

    use super::*;

    fn change(source: &'static str, record: &str) -> StateChange {
        change_of("report.accepted", &Head::default(), source, record)
    }

    fn change_of(kind: &'static str, head: &Head, source: &'static str, record: &str) -> StateChange {
        let detail = api::event::Detail {
            to_state: "ACCEPTED".to_owned(),
            ..Default::default()
        };
        let draft = Draft {
            source,
            record,
            kind,
            caused_by: None,
            detail,
            traceparent: String::new(),
        };
        draft
            .into_change(head, Time(1_795_305_600_000_000), &SeededEntropy::new(1))
            .with_detail()
    }

    #[test]
    fn a_sound_change_passes() {
        for (source, record) in [
            ("intake", "reports/1"),
            ("intake", "readings/1"),
            ("intake", "evidence/1"),
            ("routing", "cases/1"),
            ("routing", "assignments/1"),
            ("routing", "deputies/1"),
            ("routing", "supervisions/1"),
            ("routing", "ruleSets/2027"),
            ("routing", "directory/versions"),
            ("routing", "operators/versions"),
        ] {
            let checked = check(source, change(source, record)).unwrap();
            assert_eq!(checked.entry.hash, journal::entry_hash(&checked.bytes));
        }
    }

    #[test]
    fn a_service_logs_its_own_records_only() {
        for (caller, source, record) in [
            ("routing", "intake", "reports/1"),
            ("intake", "routing", "cases/1"),
            ("intake", "intake", "cases/1"),
            ("routing", "routing", "reports/1"),
            ("routing", "routing", "evidence/1"),
            ("intake", "intake", "reports/"),
            ("audit", "audit", "reports/1"),
            ("routing", "routing", "readings/1"),
            ("routing", "routing", "directory/2027"),
            ("routing", "routing", "directoryX/versions"),
            ("intake", "intake", "readings"),
            ("intake", "intake", "reportsX/1"),
            ("audit", "audit", "producers/"),
            ("intake", "intake", "readings/"),
            ("intake", "audit", "readings/1"),
            ("routing", "audit", "producers/intake"),
        ] {
            let refusal = check(caller, change(source, record)).unwrap_err();
            assert_eq!(refusal, AppendRefusal::WrongSource, "{caller} {source} {record}");
        }
    }

    #[test]
    fn p2_a_reading_is_its_makers_alone() {
        let first = Head::default();
        let taken = Head {
            sequence: 1,
            hash: [7; 32],
            ..first
        };
        let verdict = |kind, head, source| check(source, change_of(kind, head, source, "readings/1")).map(drop);
        assert_eq!(verdict("report.read", &first, "intake"), Ok(()));
        assert_eq!(verdict(READ, &first, OWN), Ok(()));
        for (kind, head, source) in [
            // Nobody goes on with a reading: it may be the other's.
            ("report.read", &taken, "intake"),
            (READ, &taken, OWN),
            // What audit's are is not looked for with the services' records: no service hides among
            // them.
            (READ, &first, "intake"),
            ("report.read", &first, OWN),
        ] {
            assert_eq!(
                verdict(kind, head, source),
                Err(AppendRefusal::WrongSource),
                "{kind} {source}"
            );
        }
        let elsewhere = change_of(READ, &first, "intake", "reports/1");
        assert_eq!(check("intake", elsewhere).unwrap_err(), AppendRefusal::WrongSource);
    }

    #[test]
    fn sequences_are_what_the_database_can_count() {
        let verdict = |sequence: u64| {
            let head = Head {
                sequence: sequence - 1,
                hash: [7; 32],
                ..Head::default()
            };
            check("intake", change_of("report.accepted", &head, "intake", "reports/1")).map(drop)
        };
        for (sequence, expected) in [
            (2, Ok(())),
            (MAX_SEQUENCE, Ok(())),
            (MAX_SEQUENCE + 1, Err(AppendRefusal::Malformed)),
            (u64::MAX, Err(AppendRefusal::Malformed)),
        ] {
            assert_eq!(verdict(sequence), expected, "{sequence}");
        }
    }

    #[test]
    fn every_flipped_byte_of_an_opening_is_noticed() {
        type Part = fn(&mut StateChange) -> &mut Option<Opening>;
        let sound = change("intake", "reports/1");
        let parts: [Part; 2] = [|change| &mut change.chain, |change| &mut change.detail];
        for part in parts {
            let opening = part(&mut sound.clone()).clone().unwrap();
            let with = |opening: Option<Opening>| {
                let mut change = sound.clone();
                *part(&mut change) = opening;
                check("intake", change).unwrap_err()
            };
            for i in 0..opening.salt.len() + opening.content.len() {
                let mut bytes = [&opening.salt[..], &opening.content[..]].concat();
                bytes[i] ^= 1;
                let (salt, content) = bytes.split_at(opening.salt.len());
                let flipped = Opening {
                    salt: Bytes::copy_from_slice(salt),
                    content: Bytes::copy_from_slice(content),
                };
                assert_eq!(with(Some(flipped)), AppendRefusal::CommitmentMismatch, "byte {i}");
            }
            let short = Opening {
                salt: opening.salt.slice(1..),
                ..opening
            };
            assert_eq!(with(Some(short)), AppendRefusal::CommitmentMismatch);
            assert_eq!(with(None), AppendRefusal::CommitmentMismatch);
        }
        let swapped = StateChange {
            chain: sound.detail.clone(),
            detail: sound.chain.clone(),
            ..sound
        };
        assert_eq!(check("intake", swapped).unwrap_err(), AppendRefusal::CommitmentMismatch);
    }

    #[test]
    fn what_does_not_decode_is_malformed() {
        let sound = change("intake", "reports/1");
        let cut = StateChange {
            entry: sound.entry.slice(..sound.entry.len() - 1),
            ..sound.clone()
        };
        // A service says how far it has come by a call: its marks are the log's to write.
        let id = journal::entry_id(Time(0), &SeededEntropy::new(1));
        let mark = StateChange {
            entry: MarkEntry::new("intake", EventSet::default(), id, Time(0)).bytes,
            ..sound
        };
        assert!(Entry::decode(&mark.entry).is_ok());
        for malformed in [StateChange::default(), cut, mark] {
            assert_eq!(check("intake", malformed).unwrap_err(), AppendRefusal::Malformed);
        }
    }
}
