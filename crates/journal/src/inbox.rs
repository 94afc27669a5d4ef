//! Taking events in: once each, in each record's order.

use std::collections::BTreeMap;

use sql::{Error, Insert, Kind, Tx};

use crate::{Bytes32, Opened};

/// What a consumer makes of an event that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next of its record: to be applied.
    New,
    /// Already applied: nothing to do.
    Repeated,
    /// Not applied, and why.
    Refused(Refusal),
}

/// Why an event is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An earlier event of the record is missing.
    OutOfOrder,
    /// It does not continue the entry that was taken before it: the producer's past has changed.
    BrokenLink,
}

impl Refusal {
    /// As it goes over the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Self::OutOfOrder => "OUT_OF_ORDER",
            Self::BrokenLink => "BROKEN_LINK",
        }
    }
}

impl Arrival {
    /// Of an event, where the record's last one has this sequence and this hash: zeros before the first.
    pub fn at(&(sequence, head): &(u64, Bytes32), event: &Opened) -> Self {
        match event.sequence {
            n if n == sequence + 1 && event.previous == head => Self::New,
            n if n == sequence + 1 => Self::Refused(Refusal::BrokenLink),
            n if n == sequence && event.hash != head => Self::Refused(Refusal::BrokenLink),
            n if n <= sequence => Self::Repeated,
            _ => Self::Refused(Refusal::OutOfOrder),
        }
    }
}

/// The heads of the records that a batch of events is about, locked for the transaction.
#[derive(Debug)]
pub struct Inbox {
    heads: BTreeMap<String, (u64, Bytes32)>,
    advanced: BTreeMap<String, (u64, Bytes32)>,
}

const HEADS: Insert = Insert::into(
    "inbox",
    &[("record", Kind::Text), ("sequence", Kind::Int), ("hash", Kind::Bytes)],
)
.then(
    "ON CONFLICT (record) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash \
         WHERE inbox.sequence < excluded.sequence RETURNING record",
);

impl Inbox {
    /// Loads and locks the heads of these records, in sorted order so that two batches cannot wait for each other.
    pub async fn load(tx: &mut Tx, mut records: Vec<String>) -> Result<Self, Error> {
        records.sort_unstable();
        records.dedup();
        let rows = tx
            .fetch(
                "SELECT record, sequence, hash FROM inbox WHERE record = ANY($1) ORDER BY record FOR UPDATE",
                vec![records.into()],
            )
            .await?;
        let heads = rows
            .iter()
            .map(|row| {
                Ok((
                    row.get(0)?,
                    (row.count(1, "inbox sequence")?, row.array(2, "inbox hash")?),
                ))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            heads,
            advanced: BTreeMap::new(),
        })
    }

    /// Judges an event.
    pub fn check(&self, event: &Opened) -> Arrival {
        let head = self
            .advanced
            .get(&event.record)
            .or_else(|| self.heads.get(&event.record));
        Arrival::at(&head.copied().unwrap_or_default(), event)
    }

    /// Notes that an event was applied.
    pub fn advance(&mut self, event: &Opened) {
        self.advanced.insert(event.record.clone(), (event.sequence, event.hash));
    }

    /// Writes the heads that advanced.
    ///
    /// A record that had no head could not be locked: when another transaction has written it meanwhile, this one fails with
    /// [`Error::Raced`] and is run again, on what the other left.
    pub async fn save(self, tx: &mut Tx) -> Result<(), Error> {
        let rows: Vec<_> = self
            .advanced
            .into_iter()
            .map(|(record, (sequence, hash))| [record.into(), sequence.cast_signed().into(), hash.into()])
            .collect();
        let advanced = rows.len();
        if HEADS.rows(tx, rows).await?.len() == advanced {
            Ok(())
        } else {
            Err(Error::Raced("a record's head"))
        }
    }
}
