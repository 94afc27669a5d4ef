//! The tables of the journal, and writing to them inside a service's transaction.

use std::sync::Arc;

use api::event::Opening;
use sql::{Batch, Db, Error, Insert, Kind, Schema, Then, Tx, Value};

use crate::{Change, Time, Unloggable, chain::chain_bytes, entry_hash, metrics};

/// The journal's part of a producer's database.
pub const SCHEMA: Schema = Schema {
    base: 1_001,
    changes: &[
        (
            "journal, outbox and inbox",
            include_str!("../migrations/sqlite/0001_journal.sql"),
            include_str!("../migrations/postgres/0001_journal.sql"),
        ),
        (
            "the key of page tokens",
            include_str!("../migrations/sqlite/0002_token_keys.sql"),
            include_str!("../migrations/postgres/0002_token_keys.sql"),
        ),
        (
            "first answers to requests",
            include_str!("../migrations/sqlite/0003_requests.sql"),
            include_str!("../migrations/postgres/0003_requests.sql"),
        ),
        (
            "lanes of the outbox",
            include_str!("../migrations/sqlite/0004_lanes.sql"),
            include_str!("../migrations/postgres/0004_lanes.sql"),
        ),
        (
            "the time mark",
            include_str!("../migrations/sqlite/0005_time_mark.sql"),
            include_str!("../migrations/postgres/0005_time_mark.sql"),
        ),
    ],
};

/// A change on its way to its consumers.
#[derive(Debug)]
pub struct Delivery {
    /// The change.
    pub change: Change,
    /// The message for each consumer.
    pub payloads: Vec<Payload>,
}

/// The encoded message for one consumer.
#[derive(Debug)]
pub struct Payload {
    consumer: &'static str,
    bytes: Vec<u8>,
    lane: Option<Lane>,
}

impl Payload {
    /// A message for a consumer that takes events by age.
    pub fn to(consumer: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            consumer,
            bytes,
            lane: None,
        }
    }

    /// The same message for a consumer that [takes turns](crate::Deliver::takes_turns).
    #[must_use]
    pub fn in_lane(self, lane: Lane) -> Self {
        Self {
            lane: Some(lane),
            ..self
        }
    }
}

/// The lane in which an event waits for a consumer that takes turns. All changes of a record wait
/// in one lane, which keeps their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Whether it is one of the lanes that get most turns.
    pub is_urgent: bool,
    /// Who the event comes from; not empty.
    pub sender: Arc<str>,
}

const JOURNAL: Insert = Insert::into(
    "journal",
    &[
        ("record", Kind::Text),
        ("sequence", Kind::Int),
        ("event_id", Kind::Text),
        ("kind", Kind::Text),
        ("time", Kind::Int),
        ("entry", Kind::Bytes),
        ("chain_salt", Kind::Bytes),
    ],
);

const OUTBOX: Insert = Insert::into(
    "outbox",
    &[
        ("consumer", Kind::Text),
        ("position", Kind::Text),
        ("record", Kind::Text),
        ("payload", Kind::Bytes),
        ("urgent", Kind::Int),
        ("lane", Kind::Text),
    ],
);

/// The rows of one change: in the journal, and in the outbox for each consumer.
#[derive(Clone, Debug)]
pub struct Rows {
    journal: [Value; 7],
    outbox: Vec<[Value; 6]>,
    /// The kind of change, as in `journal`.
    kind: &'static str,
    /// Why it must not be written.
    unloggable: Option<Unloggable>,
}

impl Delivery {
    /// Converts to rows, ahead of the transaction that writes them.
    pub fn into_rows(self) -> Rows {
        let Self { change, payloads } = self;
        let unloggable = change.fits().err();
        let position: Arc<str> = position(change.head.time, change.head.sequence, &change.event_id.to_string()).into();
        let record: Arc<str> = change.record.into();
        let outbox = payloads
            .into_iter()
            .map(|payload| {
                let (is_urgent, lane) = match payload.lane {
                    Some(lane) => (lane.is_urgent, lane.sender.into()),
                    None => (false, Value::Word("")),
                };
                [
                    Value::Word(payload.consumer),
                    Arc::clone(&position).into(),
                    Arc::clone(&record).into(),
                    payload.bytes.into(),
                    is_urgent.into(),
                    lane,
                ]
            })
            .collect();
        let journal = [
            record.into(),
            change.head.sequence.cast_signed().into(),
            change.event_id.into(),
            Value::Word(change.kind),
            change.head.time.0.into(),
            // Not copied if the payloads, which have copies of their own, held the only others.
            Vec::from(change.entry).into(),
            change.chain_salt.into(),
        ];
        Rows {
            journal,
            outbox,
            kind: change.kind,
            unloggable,
        }
    }
}

/// Writes changes and their deliveries, in the transaction that writes their state.
pub async fn append(tx: &mut Tx, deliveries: Vec<Delivery>) -> Result<(), Error> {
    let rows: Vec<Rows> = deliveries.into_iter().map(Delivery::into_rows).collect();
    tx.write(&append_to(Batch::default(), &rows.iter().collect::<Vec<_>>())?)
        .await
}

/// Adds changes and their deliveries to the batch that writes their state. Once they are durable,
/// they are counted by kind.
///
/// Fails for a change that no log takes ([`Change::fits`](crate::Change::fits)), so that its state
/// is not written either.
pub fn append_to<'a>(batch: Batch<'a>, changes: &[&'a Rows]) -> Result<Batch<'a>, Error> {
    if let Some(unloggable) = changes.iter().find_map(|rows| rows.unloggable.as_ref()) {
        return Err(Error::Damaged {
            what: "change",
            problem: unloggable.to_string(),
        });
    }
    let kinds: Vec<_> = changes.iter().map(|rows| rows.kind).collect();
    Ok(batch
        .then(Then::new(move || metrics::changed(&kinds)))
        .with(&JOURNAL, changes.iter().map(|rows| rows.journal.as_slice()))
        .with(
            &OUTBOX,
            changes.iter().flat_map(|rows| &rows.outbox).map(<[Value; 6]>::as_slice),
        ))
}

/// Position in the order of delivery: a text that sorts by time, then by sequence, then by random
/// id.
fn position(time: Time, sequence: u64, event_id: &str) -> String {
    // Flipping the sign bit makes times before 1970 sort first.
    format!("{:016x}/{sequence:08x}/{event_id}", time.0.cast_unsigned() ^ (1 << 63))
}

/// The time of a position.
pub(crate) fn time_of(position: &str) -> Option<Time> {
    let time = u64::from_str_radix(position.get(..16)?, 16).ok()?;
    Some(Time((time ^ (1 << 63)).cast_signed()))
}

/// One change of a record, as its producer keeps it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Id of the event.
    pub event_id: String,
    /// The kind of change.
    pub kind: String,
    /// Its time.
    pub time: Time,
    /// The canonical entry.
    pub entry: Vec<u8>,
    /// Opens its chain.
    pub chain: Opening,
    /// Whether the consumer has taken it.
    pub delivered: bool,
}

/// A record's changes, first to last, and whether a consumer has taken each.
pub async fn changes_of(db: &Db, record: &str, consumer: &str) -> Result<Vec<Logged>, Error> {
    let rows = db
        .fetch(
            "SELECT event_id, kind, time, entry, sequence, chain_salt FROM journal WHERE record = $1 ORDER BY sequence",
            vec![record.into()],
        )
        .await?;
    let mut previous = [0; 32];
    let mut changes = rows
        .iter()
        .map(|row| {
            let (event_id, kind, time): (String, String, _) =
                (row.get("event_id")?, row.get("kind")?, Time(row.get("time")?));
            let (entry, sequence): (Vec<u8>, _) = (row.get("entry")?, row.count("sequence", "sequence")?);
            // Rebuilt from this row and the hash of the one before.
            let chain = Opening {
                salt: row.get::<Vec<u8>>("chain_salt")?.into(),
                content: chain_bytes(record, sequence, &previous, &kind).into(),
            };
            previous = entry_hash(&entry);
            let position = position(time, sequence, &event_id);
            let change = Logged {
                event_id,
                kind,
                time,
                entry,
                chain,
                delivered: true,
            };
            Ok((position, change))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    // The outbox is read after the journal: a change delivered in between shows as delivered.
    let positions: Vec<String> = changes.iter().map(|(position, _)| position.clone()).collect();
    for row in db
        .fetch(
            "SELECT position FROM outbox WHERE consumer = $1 AND position = ANY($2)",
            vec![consumer.into(), positions.into()],
        )
        .await?
    {
        let waiting: String = row.get("position")?;
        for (_, change) in changes.iter_mut().filter(|(position, _)| *position == waiting) {
            change.delivered = false;
        }
    }
    Ok(changes.into_iter().map(|(_, change)| change).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_sort_by_time_then_sequence() {
        let positions = [
            position(Time(-5), 1, "f"),
            position(Time(0), 2, "e"),
            position(Time(7), 9, "d"),
            position(Time(7), 10, "a"),
            position(Time(7), 10, "b"),
            position(Time(1_795_305_600_123_456), 1, "a"),
        ];
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(
            positions.map(|position| time_of(&position).unwrap().0),
            [-5, 0, 7, 7, 7, 1_795_305_600_123_456]
        );
    }
}
