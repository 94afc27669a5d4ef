//! Receiving events: each once, in its record's order.

use std::collections::BTreeMap;

use api::event::ChangeOutcome;
use sql::{Error, Insert, Kind, Tx};

use crate::{Bytes32, Opened};

/// A consumer's judgement of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next of its record, to be applied.
    New,
    /// Applied already.
    Repeated,
    /// Not to be applied.
    Refused(Discontinuity),
}

/// Why an event does not continue its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discontinuity {
    /// An earlier event of the record is missing.
    OutOfOrder,
    /// It does not link to the entry taken before it: the producer's past has changed.
    BrokenLink,
}

impl Arrival {
    /// As in the contract.
    pub fn outcome(self) -> ChangeOutcome {
        match self {
            Self::New | Self::Repeated => ChangeOutcome::Recorded,
            Self::Refused(Discontinuity::OutOfOrder) => ChangeOutcome::OutOfOrder,
            Self::Refused(Discontinuity::BrokenLink) => ChangeOutcome::BrokenLink,
        }
    }

    /// Judges an event by the sequence and hash of the record's last one; zeros before the first.
    pub fn at(&(sequence, head): &(u64, Bytes32), event: &Opened) -> Self {
        match event.sequence {
            n if n == sequence + 1 && event.previous == head => Self::New,
            n if n == sequence + 1 => Self::Refused(Discontinuity::BrokenLink),
            n if n == sequence && event.hash != head => Self::Refused(Discontinuity::BrokenLink),
            n if n <= sequence => Self::Repeated,
            _ => Self::Refused(Discontinuity::OutOfOrder),
        }
    }
}

/// The heads of a batch's records, locked for the transaction.
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
    /// Loads and locks the heads of records, in sorted order to avoid deadlocks.
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
                    row.get("record")?,
                    (
                        row.count("sequence", "inbox sequence")?,
                        row.array("hash", "inbox hash")?,
                    ),
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

    /// Marks an event as applied.
    pub fn advance(&mut self, event: &Opened) {
        self.advanced.insert(event.record.clone(), (event.sequence, event.hash));
    }

    /// Writes the heads that advanced.
    ///
    /// A record without a head cannot be locked. If another transaction has written it meanwhile,
    /// this one fails with [`Error::Collided`] and is retried.
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
            Err(Error::Collided("a record's head"))
        }
    }
}
