//! Changes that are kept out of the log, and the findings from them. No I/O.

use api::event::{Detail, Incident};
use journal::{AuditKind, Bytes32, Time};
use names::Collection;
use uuid::Uuid;

use crate::producer::{Producer, Standing};

/// Why a change is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapKind {
    /// Changes before it are missing.
    Missing,
    /// Another event has its place, or it continues an entry that the log does not have.
    Fork,
    /// Its event id was logged with other bytes.
    EventIdReused,
}

impl GapKind {
    const ALL: [Self; 3] = [Self::Missing, Self::Fork, Self::EventIdReused];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Fork => "FORK",
            Self::EventIdReused => "EVENT_ID_REUSED",
        }
    }

    /// Parses a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A fault beyond a single change.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub kind: GapKind,
    pub source: String,
    pub record: String,
    pub first_sequence: u64,
    pub last_sequence: u64,
    /// The event that is kept out.
    pub event_id: Uuid,
    pub sequence: u64,
    pub hash: Bytes32,
}

impl Finding {
    /// The key of its listing: a record has one gap and one fork, however many changes follow.
    pub fn key(&self) -> String {
        match self.kind {
            GapKind::Missing | GapKind::Fork => self.record.clone(),
            GapKind::EventIdReused => self.event_id.to_string(),
        }
    }
}

/// A listed change that is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub kind: GapKind,
    /// The key of the listing: the record, or the reused event id.
    pub key: String,
    /// The producer.
    pub source: String,
    /// Resource name of the record.
    pub record: String,
    /// The first missing or disputed sequence.
    pub first_sequence: u64,
    /// The last one.
    pub last_sequence: u64,
    /// The event that is kept out.
    pub event_id: String,
    /// When it was first kept out.
    pub since: Time,
    /// How often it arrived.
    pub attempts: u64,
    /// When an operator examined it.
    pub examined: Option<Time>,
}

/// A change of a producer's state, logged as a change of `producers/{source}`.
#[derive(Clone, Debug)]
pub(crate) struct OwnChange {
    pub source: String,
    pub kind: &'static str,
    pub detail: Detail,
}

const NORMAL: &str = "NORMAL";
const FROZEN: &str = "FROZEN";

impl OwnChange {
    pub const UNFROZEN: &'static str = AuditKind::ProducerUnfrozen.name();
    const FROZEN: &'static str = AuditKind::ProducerFrozen.name();
    const FORK_REFUSED: &'static str = AuditKind::ForkRefused.name();
    const EVENT_ID_REUSED: &'static str = AuditKind::EventIdReused.name();
    const REACHED: &'static str = AuditKind::MarkReached.name();

    /// Whether it freezes the producer.
    pub fn freezes(&self) -> bool {
        self.kind == Self::FROZEN
    }

    /// Applies a logged change to its producer.
    pub fn happened(kind: &str, time: Time, producer: &mut Producer) {
        match kind {
            Self::FROZEN => producer.frozen = Some(time),
            Self::UNFROZEN => producer.frozen = None,
            _ => {}
        }
        if [Self::FROZEN, Self::FORK_REFUSED, Self::EVENT_ID_REUSED].contains(&kind) {
            producer.incidents += 1;
        }
    }

    /// Tells operators: an alarm, unless a fault ended.
    pub fn tell(&self) {
        let Self { source, kind, detail } = self;
        if [Self::UNFROZEN, Self::REACHED].contains(kind) {
            return tracing::info!(source, kind, "a producer is well again");
        }
        let incident = detail.incident.clone().unwrap_or_default();
        tracing::error!(
            source,
            kind,
            record = incident.record,
            event_id = incident.event_id,
            state = detail.to_state,
            "security event: see `remit log gaps`"
        );
    }

    /// A fork, or a reused event id. `freezes` if it freezes the producer.
    pub fn security_event(finding: &Finding, freezes: bool, frozen: bool) -> Self {
        let kind = match (finding.kind, freezes) {
            (GapKind::EventIdReused, _) => Self::EVENT_ID_REUSED,
            (_, true) => Self::FROZEN,
            (_, false) => Self::FORK_REFUSED,
        };
        let state = |frozen| if frozen { FROZEN } else { NORMAL }.to_owned();
        Self {
            source: finding.source.clone(),
            kind,
            detail: Detail {
                from_state: state(frozen && !freezes),
                to_state: state(frozen),
                incident: Some(Incident {
                    producer: Collection::PRODUCERS.of(&finding.source),
                    event_id: finding.event_id.to_string(),
                    record: finding.record.clone(),
                    sequence: finding.sequence.cast_signed(),
                    entry_hash: finding.hash.to_vec().into(),
                    ..Incident::default()
                }),
                ..Detail::default()
            },
        }
    }

    /// An operator unfreezes a producer.
    pub fn unfrozen(source: &str, actor: api::event::Actor, reason: String) -> Self {
        Self {
            source: source.to_owned(),
            kind: Self::UNFROZEN,
            detail: Detail {
                from_state: FROZEN.to_owned(),
                to_state: NORMAL.to_owned(),
                actor: Some(actor),
                purpose: reason,
                ..Detail::default()
            },
        }
    }

    /// A lasting change of the log's standing against a producer's mark.
    pub fn standing(source: &str, producer: &Producer, standing: Standing) -> Self {
        let mark = producer.mark.unwrap_or_default();
        Self {
            source: source.to_owned(),
            kind: match standing.is_well() {
                true => Self::REACHED,
                false => AuditKind::MarkMissed.name(),
            },
            detail: Detail {
                from_state: producer.logged.name().to_owned(),
                to_state: standing.name().to_owned(),
                incident: Some(Incident {
                    producer: Collection::PRODUCERS.of(source),
                    held_count: producer.held.count.cast_signed(),
                    committed_count: mark.committed.cast_signed(),
                    ..Incident::default()
                }),
                ..Detail::default()
            },
        }
    }
}
