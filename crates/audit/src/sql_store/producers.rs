//! The tables of producers and their marks, and changes of producers.

use std::collections::BTreeMap;

use api::audit::UnfreezeProducerResponse;
use journal::{EventSet, Mark, SetHash, Time};
use prost::Message as _;
use sql::{Error, Insert, Kind, Row, Snapshot, Tx, Value};

use super::{SqlStore, append::Own, gaps};
use crate::{
    gap::OwnChange,
    oversight::producer_message,
    producer::{Noted, Producer, Standing},
    store::{StoreError, Unfreezing, Unfrozen},
};

pub(super) const PRODUCERS: Insert = Insert::into(
    "producers",
    &[
        ("source", Kind::Text),
        ("events", Kind::Int),
        ("set_hash", Kind::Bytes),
        ("frozen", Kind::Int),
        ("tolerated_until", Kind::Int),
        ("incidents", Kind::Int),
    ],
)
.then(
    "ON CONFLICT (source) DO UPDATE SET events = excluded.events, set_hash = excluded.set_hash, \
     frozen = excluded.frozen, tolerated_until = excluded.tolerated_until, incidents = excluded.incidents",
);

pub(super) const MARKS: Insert = Insert::into(
    "marks",
    &[
        ("source", Kind::Text),
        ("delivered", Kind::Int),
        ("delivered_hash", Kind::Bytes),
        ("committed", Kind::Int),
        ("committed_hash", Kind::Bytes),
        ("found", Kind::Text),
        ("awaited", Kind::Int),
        ("awaited_since", Kind::Int),
        ("standing", Kind::Text),
        ("standing_since", Kind::Int),
        ("logged", Kind::Text),
        ("marked", Kind::Int),
        ("marked_time", Kind::Int),
    ],
)
.then(
    "ON CONFLICT (source) DO UPDATE SET delivered = excluded.delivered, delivered_hash = excluded.delivered_hash, \
     committed = excluded.committed, committed_hash = excluded.committed_hash, found = excluded.found, \
     awaited = excluded.awaited, awaited_since = excluded.awaited_since, standing = excluded.standing, \
     standing_since = excluded.standing_since, logged = excluded.logged, \
     marked = excluded.marked, marked_time = excluded.marked_time",
);

/// The rows of producers and marks that differ from the tables.
pub(super) fn rows(
    before: &BTreeMap<String, Producer>,
    now: &BTreeMap<String, Producer>,
) -> (Vec<[Value; 6]>, Vec<[Value; 13]>) {
    // Without what an append changes, so that the row of the mark is rarely written.
    let mark = |producer: &Producer| Producer {
        held: EventSet::default(),
        frozen: None,
        tolerated_until: None,
        incidents: 0,
        ..producer.clone()
    };
    let changed = || {
        now.iter()
            .filter(|(source, producer)| before.get(*source) != Some(producer))
    };
    let producers = changed().map(|(source, producer)| producer_row(source, producer));
    let marks = changed()
        .filter(|(source, producer)| before.get(*source).map(mark) != Some(mark(producer)))
        .filter_map(|(source, producer)| Some(mark_row(source, producer, &producer.mark?)));
    (producers.collect(), marks.collect())
}

fn producer_row(source: &str, producer: &Producer) -> [Value; 6] {
    [
        source.into(),
        producer.held.count.cast_signed().into(),
        producer.held.hash.to_bytes().into(),
        time_or_null(producer.frozen),
        time_or_null(producer.tolerated_until),
        producer.incidents.cast_signed().into(),
    ]
}

fn mark_row(source: &str, producer: &Producer, mark: &Mark) -> [Value; 13] {
    let committed_hash = mark.committed_hash.map(SetHash::to_bytes);
    [
        source.into(),
        mark.delivered.count.cast_signed().into(),
        mark.delivered.hash.to_bytes().into(),
        mark.committed.cast_signed().into(),
        committed_hash.map_or(Value::Null(Kind::Bytes), Value::from),
        producer.found.name().into(),
        producer
            .awaited
            .map_or(Value::Null(Kind::Int), |(count, _)| count.cast_signed().into()),
        time_or_null(producer.awaited.map(|(_, since)| since)),
        producer.standing.name().into(),
        producer.standing_since.0.into(),
        producer.logged.name().into(),
        producer
            .marked
            .map_or(Value::Null(Kind::Int), |(count, _)| count.cast_signed().into()),
        time_or_null(producer.marked.map(|(_, time)| time)),
    ]
}

fn time_or_null(time: Option<Time>) -> Value {
    time.map_or(Value::Null(Kind::Int), |time| time.0.into())
}

/// Source of reads.
pub(super) enum From<'a> {
    Tx(&'a mut Tx),
    Snapshot(&'a mut Snapshot),
}

/// All producers.
pub(super) async fn read(from: From<'_>) -> Result<BTreeMap<String, Producer>, Error> {
    const ALL: &str = "SELECT producers.source, events, set_hash, frozen, tolerated_until, incidents, delivered, \
         delivered_hash, committed, committed_hash, found, awaited, awaited_since, standing, standing_since, logged, \
         marked, marked_time FROM producers LEFT JOIN marks ON marks.source = producers.source";
    let rows = match from {
        From::Tx(tx) => tx.fetch(ALL, Vec::new()).await?,
        From::Snapshot(snapshot) => snapshot.fetch(ALL, Vec::new()).await?,
    };
    rows.iter()
        .map(|row| Ok((row.get("source")?, producer(row)?)))
        .collect()
}

fn producer(row: &Row) -> Result<Producer, Error> {
    let mut producer = Producer {
        held: EventSet {
            count: row.count("events", "count of events")?,
            hash: SetHash::from_bytes(row.array("set_hash", "sum of hashes")?),
        },
        frozen: row.get::<Option<i64>>("frozen")?.map(Time),
        tolerated_until: row.get::<Option<i64>>("tolerated_until")?.map(Time),
        incidents: row.count("incidents", "count of incidents")?,
        ..Producer::default()
    };
    if row.get::<Option<i64>>("delivered")?.is_some() {
        let committed_hash: Option<Vec<u8>> = row.get("committed_hash")?;
        producer.mark = Some(Mark {
            delivered: EventSet {
                count: row.count("delivered", "count of events")?,
                hash: SetHash::from_bytes(row.array("delivered_hash", "sum of hashes")?),
            },
            committed: row.count("committed", "count of events")?,
            committed_hash: match committed_hash {
                Some(_) => Some(SetHash::from_bytes(row.array("committed_hash", "sum of hashes")?)),
                None => None,
            },
        });
        producer.found = standing(row, "found")?;
        producer.awaited = match (
            row.get::<Option<i64>>("awaited")?,
            row.get::<Option<i64>>("awaited_since")?,
        ) {
            (Some(_), Some(since)) => Some((row.count("awaited", "count of events")?, Time(since))),
            _ => None,
        };
        producer.standing = standing(row, "standing")?;
        producer.standing_since = Time(row.get("standing_since")?);
        producer.logged = standing(row, "logged")?;
        producer.marked = match (
            row.get::<Option<i64>>("marked")?,
            row.get::<Option<i64>>("marked_time")?,
        ) {
            (Some(_), Some(time)) => Some((row.count("marked", "count of events")?, Time(time))),
            _ => None,
        };
    }
    Ok(producer)
}

fn standing(row: &Row, column: &'static str) -> Result<Standing, Error> {
    let name: String = row.get(column)?;
    Standing::from_name(&name).ok_or_else(|| Error::Damaged {
        what: "standing of a producer",
        problem: format!("`{name}` is unknown"),
    })
}

impl SqlStore {
    pub(super) async fn take_mark(&self, source: &str, mark: Mark) -> Result<Noted, StoreError> {
        let mut noted = Noted::default();
        self.change_producers(|producers, now| {
            let producer = producers.entry(source.to_owned()).or_default();
            producer.take(mark, now);
            let set = producer.to_be_marked(now);
            if let Some(set) = set {
                producer.marked = Some((set.count, now));
            }
            noted = Noted {
                standing: producer.standing,
                is_logged: producer.is_marked(),
            };
            Own {
                changes: Vec::new(),
                mark: set.map(|set| (source.to_owned(), set)),
            }
        })
        .await?;
        Ok(noted)
    }

    pub(super) async fn review_producers(&self) -> Result<(), StoreError> {
        // Called every few seconds: without a transaction unless there is something to log.
        let now = self.clock.now();
        let mut producers = self.memory.lock().await.state.producers.clone();
        producers.values_mut().for_each(|producer| producer.review(now));
        if producers.values().all(|producer| producer.to_be_logged(now).is_none()) {
            return Ok(());
        }
        self.change_producers(|_, _| Own::default()).await
    }

    pub(super) async fn unfreeze_producer(&self, source: &str, unfreezing: Unfreezing) -> Result<Unfrozen, StoreError> {
        let mut unfrozen = Unfrozen::Unknown;
        let request = unfreezing.request.as_ref();
        self.change_for(request, |producers, now, earlier| {
            if let Some(earlier) = earlier {
                unfrozen = Unfrozen::Earlier(earlier);
                return (Own::default(), None);
            }
            let Some(producer) = producers.get_mut(source) else {
                return (Own::default(), None);
            };
            if producer.etag(source) != unfreezing.etag {
                unfrozen = Unfrozen::EtagMismatch;
                return (Own::default(), None);
            }
            let was_frozen = producer.frozen.take().is_some();
            if unfreezing.tolerate_seconds > 0 {
                producer.tolerated_until = Some(now.plus_seconds(unfreezing.tolerate_seconds));
            }
            let answer = UnfreezeProducerResponse {
                producer: Some(producer_message(source, producer, now)),
            };
            unfrozen = Unfrozen::Done(Box::new(producer.clone()));
            let changes = match was_frozen || unfreezing.tolerate_seconds > 0 {
                true => vec![OwnChange::unfrozen(
                    source,
                    unfreezing.actor.clone(),
                    unfreezing.reason.clone(),
                )],
                false => Vec::new(),
            };
            (Own { changes, mark: None }, Some(answer.encode_to_vec()))
        })
        .await?;
        Ok(unfrozen)
    }
}

/// Applies the side effects of an own change.
pub(super) async fn follow(tx: &mut Tx, change: &OwnChange, now: Time) -> Result<(), Error> {
    if change.kind == OwnChange::UNFROZEN {
        gaps::examine(tx, &change.source, now).await?;
    }
    Ok(())
}
