//! Decides which changes are the next of their records, and what the others show. No I/O.

use std::collections::{BTreeMap, HashMap, HashSet};

use journal::{Arrival, Bytes32, Time};
use uuid::Uuid;

use crate::{
    check::{AppendRefusal, Checked, OWN, Verdict},
    gap::{Finding, GapKind},
    producer::Producer,
};

/// Sequence and hash of a record's last entry; zeros before the first.
pub(crate) type RecordHead = (u64, Bytes32);

/// Judges changes in order, each against the log with those before it.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    /// Heads of the records involved, if the log has any.
    pub heads: HashMap<&'a str, RecordHead>,
    /// Index and hash of the entries logged under the event ids involved.
    pub known: HashMap<Uuid, (u64, Bytes32)>,
    /// The producers involved.
    pub producers: BTreeMap<String, Producer>,
    /// Records with a known fork, which does not freeze the producer again.
    pub disputed: HashSet<String>,
    /// The next free index.
    pub next: u64,
    /// Faults beyond a single change.
    pub findings: Vec<Finding>,
    /// The current time.
    pub now: Time,
}

/// The judgement on a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// Append it at this index.
    New(u64),
    /// It is at this index already.
    Repeated(u64),
    /// Refuse it.
    Refused(AppendRefusal),
}

impl<'a> Judge<'a> {
    pub fn place(&mut self, change: &'a Checked) -> Placed {
        let entry = &change.entry;
        if let Some((index, hash)) = self.known.get(&entry.event_id) {
            if *hash == entry.hash {
                return Placed::Repeated(*index);
            }
            let head = self.head(&entry.record);
            self.find(GapKind::EventIdReused, change, head);
            return Placed::Refused(AppendRefusal::EventIdReused);
        }
        // The log is not its own producer: it is never frozen, and has no deliveries to lose.
        let is_own = entry.source == OWN;
        if !is_own && self.producer(&entry.source).frozen.is_some() {
            return Placed::Refused(AppendRefusal::Frozen);
        }
        let head = self.head(&entry.record);
        match Arrival::at(&head, entry) {
            Arrival::New => {
                let index = self.next;
                self.next += 1;
                self.heads.insert(&entry.record, (entry.sequence, entry.hash));
                self.known.insert(entry.event_id, (index, entry.hash));
                if !is_own {
                    self.producer(&entry.source).held.add(&entry.hash);
                }
                Placed::New(index)
            }
            Arrival::Refused(journal::Discontinuity::OutOfOrder) => {
                self.find(GapKind::Missing, change, head);
                Placed::Refused(AppendRefusal::OutOfOrder)
            }
            // Another event has its place (this one would be known), or it continues an entry that
            // the log does not have.
            Arrival::Repeated | Arrival::Refused(journal::Discontinuity::BrokenLink) => {
                self.find(GapKind::Fork, change, head);
                let now = self.now;
                let is_news = !self.disputed.contains(&entry.record);
                let producer = self.producer(&entry.source);
                if is_news && producer.freezes(now) {
                    producer.frozen = Some(now);
                }
                Placed::Refused(AppendRefusal::BrokenLink)
            }
        }
    }

    /// Whether all changes are the next of their records, so that nothing else must be looked up to
    /// append them.
    pub fn all_follow(&self, changes: impl Iterator<Item = &'a Checked>) -> bool {
        let mut heads: HashMap<&str, RecordHead> = HashMap::new();
        let mut changes = changes;
        changes.all(|change| {
            let entry = &change.entry;
            let head = heads.get(&*entry.record).copied();
            let head = head.unwrap_or_else(|| self.head(&entry.record));
            heads.insert(&entry.record, (entry.sequence, entry.hash));
            let is_free = |producer: &Producer| producer.frozen.is_none();
            Arrival::at(&head, entry) == Arrival::New && self.producers.get(&entry.source).is_none_or(is_free)
        })
    }

    fn head(&self, record: &str) -> RecordHead {
        self.heads.get(record).copied().unwrap_or_default()
    }

    fn producer(&mut self, source: &str) -> &mut Producer {
        if !self.producers.contains_key(source) {
            self.producers.insert(source.to_owned(), Producer::default());
        }
        self.producers.entry(source.to_owned()).or_default()
    }

    fn find(&mut self, kind: GapKind, change: &Checked, (sequence, _): RecordHead) {
        let entry = &change.entry;
        let (first_sequence, last_sequence) = match kind {
            GapKind::Missing => (sequence + 1, entry.sequence - 1),
            GapKind::Fork | GapKind::EventIdReused => (entry.sequence, entry.sequence),
        };
        self.findings.push(Finding {
            kind,
            source: entry.source.clone(),
            record: entry.record.clone(),
            first_sequence,
            last_sequence,
            event_id: entry.event_id,
            sequence: entry.sequence,
            hash: entry.hash,
        });
    }

    /// The faults left after all changes were placed: each once, without gaps that a later change
    /// of the group filled.
    pub fn findings(&self) -> Vec<Finding> {
        let mut seen = HashSet::new();
        self.findings
            .iter()
            .filter(|finding| match finding.kind {
                GapKind::Missing => self.head(&finding.record).0 < finding.last_sequence,
                GapKind::Fork | GapKind::EventIdReused => true,
            })
            .filter(|finding| seen.insert((finding.kind, finding.key())))
            .cloned()
            .collect()
    }
}

impl From<Placed> for Verdict {
    fn from(placed: Placed) -> Self {
        match placed {
            Placed::New(index) | Placed::Repeated(index) => Ok(index),
            Placed::Refused(refusal) => Err(refusal),
        }
    }
}
