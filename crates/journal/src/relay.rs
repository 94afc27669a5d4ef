//! The relay: delivers a producer's outbox to one consumer, in each record's order, at least once.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use sql::{Db, Error, Insert, Kind, Row, Tx};
use telemetry::metrics::Service;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Bytes32, Clock, Entropy, EventSet, Mark, SetHash, Time, Waiting,
    metrics::{COUNTED, OfRelay},
    outbox::time_of,
    progress::Progress,
    turns,
};

/// An undelivered event.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its place in the order of delivery.
    pub position: String,
    /// Resource name of its record.
    pub record: String,
    /// The encoded message for the consumer.
    pub payload: Vec<u8>,
    /// Hash of its entry, if the consumer gets marks: counted on delivery.
    pub hash: Option<Bytes32>,
}

/// A consumer's answer to one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken, now or earlier.
    Taken,
    /// Refused, with the reason. Its record is parked.
    Refused(String),
}

/// The consumer could not be reached, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{consumer} did not take the events: {problem}")]
pub struct Undelivered {
    /// Who.
    pub consumer: &'static str,
    /// Why.
    pub problem: String,
    /// Whether the events themselves are the reason, for instance unreadable or too many: fewer may
    /// pass.
    pub because_of_events: bool,
}

/// The way to a consumer.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Delivers payloads and returns one outcome for each, in order.
    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered>;

    /// Whether the consumer takes turns between the lanes of its events, instead of the oldest
    /// first. All its payloads then have a lane.
    fn takes_turns(&self) -> bool {
        false
    }

    /// Hash of the entry in a payload, for marks; `None` if the consumer gets none.
    fn entry_hash(&self, _payload: &[u8]) -> Option<Bytes32> {
        None
    }

    /// Reports that every event recorded before `arrived` was taken. `arrived` is a time that the
    /// consumer returned earlier, by its own clock. Returns the next one; `None` if the consumer
    /// does not want to know.
    async fn progress(&self, _arrived: Option<Time>) -> Result<Option<Time>, Undelivered> {
        Ok(None)
    }

    /// Sends the producer's progress. Returns whether the consumer agrees and need not be told
    /// again.
    async fn mark(&self, _mark: &Mark) -> Result<bool, Undelivered> {
        Ok(true)
    }
}

/// Function from a payload to the hash of its entry.
pub type EntryHash<'a> = &'a (dyn Fn(&[u8]) -> Option<Bytes32> + Send + Sync);

/// Size of a consumer's backlog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Number of undelivered events.
    pub waiting: u64,
    /// Number of parked records.
    pub parked: u64,
}

/// The stored side of a relay.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Takes or renews the right to deliver to a consumer until a time. `false` while another owner
    /// has it.
    async fn lease(&self, consumer: &str, owner: &str, now: Time, until: Time) -> Result<bool, Error>;
    /// Undelivered events, oldest first, at most `limit`; those of parked records only once they
    /// are due.
    async fn pending(&self, consumer: &str, now: Time, limit: u32) -> Result<Vec<Pending>, Error>;
    /// Like `pending`, by turns between the lanes, of each the oldest first.
    async fn pending_by_turns(
        &self,
        consumer: &str,
        now: Time,
        limit: u32,
        entropy: &dyn Entropy,
    ) -> Result<Vec<Pending>, Error>;
    /// Deletes taken events, adds their hashes to the delivered set, and parks the records of
    /// refused ones. An event that is gone already is not counted again.
    async fn settle(&self, consumer: &str, settled: &[(Pending, Outcome)], now: Time) -> Result<(), Error>;
    /// Progress of delivery to a consumer: the acknowledged and the undelivered events at one
    /// moment. Undelivered events are hashed with `entry_hash`.
    async fn mark(&self, consumer: &str, entry_hash: EntryHash<'_>) -> Result<Mark, Error>;
    /// The last undelivered position, parked or not; `None` if all is delivered.
    async fn last_position(&self, consumer: &str) -> Result<Option<String>, Error>;
    /// Whether everything up to a position is delivered, parked events included.
    async fn is_delivered(&self, consumer: &str, until: Option<&str>) -> Result<bool, Error>;
    /// Size of the backlog.
    async fn status(&self, consumer: &str) -> Result<OutboxStatus, Error>;
    /// What waits for a consumer, of everything at most `most` counted.
    async fn waiting(&self, consumer: &str, most: u32) -> Result<Waiting, Error>;
    /// The service whose outbox it is.
    fn service(&self) -> Service;
}

/// An outbox in a service's own database.
#[derive(Clone, Debug)]
pub struct SqlOutbox(pub Db);

const PARKED: Insert = Insert::into(
    "outbox_parked",
    &[
        ("consumer", Kind::Text),
        ("record", Kind::Text),
        ("since", Kind::Int),
        ("attempts", Kind::Int),
        ("retry_time", Kind::Int),
        ("reason", Kind::Text),
    ],
)
.then(
    "ON CONFLICT (consumer, record) DO UPDATE SET attempts = outbox_parked.attempts + 1, \
     retry_time = excluded.since + (excluded.retry_time - excluded.since) * \
     (CASE WHEN outbox_parked.attempts < 60 THEN outbox_parked.attempts + 1 ELSE 60 END), reason = excluded.reason",
);

/// A parked record is retried after this long, then after twice, three times, … as long, at most an
/// hour.
const PARKED_SECONDS: i64 = 60;
pub(crate) const LONGEST_PARKED_SECONDS: i64 = 60 * PARKED_SECONDS;

#[async_trait]
impl Outbox for SqlOutbox {
    async fn lease(&self, consumer: &str, owner: &str, now: Time, until: Time) -> Result<bool, Error> {
        let taken = sql::transact!(self.0, |tx| tx.fetch(
            "INSERT INTO relay_leases (consumer, owner, until_time) VALUES ($1, $2, $3) \
             ON CONFLICT (consumer) DO UPDATE SET owner = excluded.owner, until_time = excluded.until_time \
             WHERE relay_leases.owner = excluded.owner OR relay_leases.until_time < $4 \
                 OR relay_leases.until_time > $5 RETURNING owner",
            vec![
                consumer.into(),
                owner.into(),
                until.0.into(),
                now.0.into(),
                // A clock that was far ahead wrote it; it would last until then.
                now.plus_seconds(2 * LEASE_SECONDS).0.into(),
            ],
        ))?;
        Ok(!taken.is_empty())
    }

    async fn pending(&self, consumer: &str, now: Time, limit: u32) -> Result<Vec<Pending>, Error> {
        self.0
            .fetch(
                "SELECT position, record, payload FROM outbox WHERE consumer = $1 AND NOT EXISTS (\
                 SELECT 1 FROM outbox_parked WHERE outbox_parked.consumer = outbox.consumer \
                 AND outbox_parked.record = outbox.record AND outbox_parked.retry_time > $2 \
                 AND outbox_parked.retry_time <= $3) ORDER BY position LIMIT $4",
                vec![
                    consumer.into(),
                    now.0.into(),
                    // Later than any retry: the clock was set back since.
                    now.plus_seconds(LONGEST_PARKED_SECONDS).0.into(),
                    i64::from(limit).into(),
                ],
            )
            .await?
            .iter()
            .map(pending)
            .collect()
    }

    async fn pending_by_turns(
        &self,
        consumer: &str,
        now: Time,
        limit: u32,
        entropy: &dyn Entropy,
    ) -> Result<Vec<Pending>, Error> {
        turns::pending(&self.0, consumer, now, limit as usize, entropy).await
    }

    async fn settle(&self, consumer: &str, settled: &[(Pending, Outcome)], now: Time) -> Result<(), Error> {
        let mut taken = Vec::new();
        let mut hashes = HashMap::new();
        let mut freed = Vec::new();
        let mut parked = std::collections::BTreeMap::new();
        for (pending, outcome) in settled {
            match outcome {
                Outcome::Taken => {
                    taken.push(pending.position.clone());
                    hashes.extend(pending.hash.map(|hash| (pending.position.clone(), hash)));
                    freed.push(pending.record.clone());
                }
                // Events after a refused one are refused because of it: keep the first reason.
                Outcome::Refused(reason) => {
                    parked.entry(pending.record.clone()).or_insert_with(|| reason.clone());
                }
            }
        }
        freed.retain(|record| !parked.contains_key(record));
        sql::transact!(self.0, |tx| async {
            forget(&mut tx, consumer, taken.clone(), &hashes).await?;
            tx.execute(
                "DELETE FROM outbox_parked WHERE consumer = $1 AND record = ANY($2)",
                vec![consumer.into(), freed.clone().into()],
            )
            .await?;
            let rows = parked
                .iter()
                .map(|(record, reason)| {
                    [
                        consumer.into(),
                        record.as_str().into(),
                        now.0.into(),
                        1.into(),
                        now.plus_seconds(PARKED_SECONDS).0.into(),
                        reason.as_str().into(),
                    ]
                })
                .collect();
            PARKED.rows(&mut tx, rows).await?;
            Ok::<_, Error>(())
        })
    }

    async fn mark(&self, consumer: &str, entry_hash: EntryHash<'_>) -> Result<Mark, Error> {
        // One snapshot, in which an event is either delivered or undelivered, and one whose
        // transaction ends later is neither, whatever its id and time.
        let mut snapshot = self.0.snapshot().await?;
        let row = snapshot.fetch_optional(DELIVERED, vec![consumer.into()]).await?;
        let delivered = row.map_or_else(|| Ok(EventSet::default()), |row| event_set(&row))?;
        let row = snapshot
            .fetch_optional(
                "SELECT count(*) AS waiting FROM outbox WHERE consumer = $1",
                vec![consumer.into()],
            )
            .await?;
        let waiting = row.map_or(Ok(0), |row| row.count("waiting", "number of undelivered events"))?;
        let mut committed_hash = None;
        if waiting <= HASHED {
            let mut committed = delivered;
            let rows = snapshot
                .fetch("SELECT payload FROM outbox WHERE consumer = $1", vec![consumer.into()])
                .await?;
            for row in rows {
                let payload: Vec<u8> = row.get("payload")?;
                committed.extend(entry_hash(&payload).as_ref());
            }
            // The sum is complete only if every event has a hash.
            committed_hash = (committed.count == delivered.count + waiting).then_some(committed.hash);
        }
        Ok(Mark {
            delivered,
            committed: delivered.count + waiting,
            committed_hash,
        })
    }

    async fn last_position(&self, consumer: &str) -> Result<Option<String>, Error> {
        const LAST: &str = "SELECT position FROM outbox WHERE consumer = $1 ORDER BY position DESC LIMIT 1";
        let row = self.0.fetch_optional(LAST, vec![consumer.into()]).await?;
        row.map(|row| row.only()).transpose()
    }

    async fn is_delivered(&self, consumer: &str, until: Option<&str>) -> Result<bool, Error> {
        const WAITING: &str = "SELECT position FROM outbox WHERE consumer = $1 AND position <= $2 LIMIT 1";
        let Some(until) = until else { return Ok(true) };
        let row = self
            .0
            .fetch_optional(WAITING, vec![consumer.into(), until.into()])
            .await?;
        Ok(row.is_none())
    }

    async fn status(&self, consumer: &str) -> Result<OutboxStatus, Error> {
        let row = self
            .0
            .fetch(
                "SELECT (SELECT count(*) FROM outbox WHERE consumer = $1) AS waiting, \
                 (SELECT count(*) FROM outbox_parked WHERE consumer = $1) AS parked",
                vec![consumer.into()],
            )
            .await?;
        let row = row.first().ok_or(Error::Damaged {
            what: "count",
            problem: "no row".to_owned(),
        })?;
        Ok(OutboxStatus {
            waiting: row.count("waiting", "number of undelivered events")?,
            parked: row.count("parked", "number of parked records")?,
        })
    }

    async fn waiting(&self, consumer: &str, most: u32) -> Result<Waiting, Error> {
        let counted = "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE consumer = $1 LIMIT $2) AS counted) AS waiting, \
                       (SELECT count(*) FROM (SELECT 1 FROM outbox_parked WHERE consumer = $1 LIMIT $2) AS counted) AS parked, \
                       (SELECT position FROM outbox WHERE consumer = $1 ORDER BY position LIMIT 1) AS oldest";
        let values = vec![consumer.into(), i64::from(most).into()];
        let Some(row) = self.0.fetch_optional(counted, values).await? else {
            return Ok(Waiting::default());
        };
        let oldest: Option<String> = row.get("oldest")?;
        Ok(Waiting {
            events: row.count("waiting", "number of undelivered events")?,
            oldest: oldest.as_deref().and_then(time_of),
            parked: row.count("parked", "number of parked records")?,
        })
    }

    fn service(&self) -> Service {
        self.0.service()
    }
}

/// Reads an undelivered event.
pub(crate) fn pending(row: &Row) -> Result<Pending, Error> {
    Ok(Pending {
        position: row.get("position")?,
        record: row.get("record")?,
        payload: row.get("payload")?,
        hash: None,
    })
}

const DELIVERED: &str = "SELECT events, set_hash FROM outbox_delivered WHERE consumer = $1";
/// Longest backlog that is hashed for a mark.
const HASHED: u64 = 1_000;

fn event_set(row: &Row) -> Result<EventSet, Error> {
    Ok(EventSet {
        count: row.count("events", "number of events")?,
        hash: SetHash::from_bytes(row.array("set_hash", "sum of hashes")?),
    })
}

/// Deletes events that a consumer has taken, and adds the hashes of those deleted to the delivered
/// set.
async fn forget(
    tx: &mut Tx,
    consumer: &str,
    taken: Vec<String>,
    hashes: &HashMap<String, Bytes32>,
) -> Result<(), Error> {
    const FORGET: &str = "DELETE FROM outbox WHERE consumer = $1 AND position = ANY($2)";
    const FORGET_AND_TELL: &str = "DELETE FROM outbox WHERE consumer = $1 AND position = ANY($2) RETURNING position";
    if hashes.is_empty() {
        tx.execute(FORGET, vec![consumer.into(), taken.into()]).await?;
        return Ok(());
    }
    // Of two relays that deliver the same events, the row's lock lets the second see the first's
    // deletions.
    tx.execute(
        "INSERT INTO outbox_delivered (consumer, events, set_hash) VALUES ($1, 0, $2) ON CONFLICT (consumer) DO NOTHING",
        vec![consumer.into(), SetHash::default().to_bytes().into()],
    )
    .await?;
    const LOCKED: &str = "SELECT events, set_hash FROM outbox_delivered WHERE consumer = $1 FOR UPDATE";
    let row = tx.fetch_optional(LOCKED, vec![consumer.into()]).await?;
    let mut delivered = row.map_or_else(|| Ok(EventSet::default()), |row| event_set(&row))?;
    let before = delivered.count;
    for row in tx.fetch(FORGET_AND_TELL, vec![consumer.into(), taken.into()]).await? {
        delivered.extend(hashes.get(&row.get::<String>("position")?));
    }
    if delivered.count > before {
        tx.execute(
            "UPDATE outbox_delivered SET events = $2, set_hash = $3 WHERE consumer = $1",
            vec![
                consumer.into(),
                delivered.count.cast_signed().into(),
                delivered.hash.to_bytes().into(),
            ],
        )
        .await?;
    }
    Ok(())
}

/// Delivers to one consumer.
#[derive(Clone)]
pub struct Relay {
    /// The stored side.
    pub outbox: Arc<dyn Outbox>,
    /// The consumer.
    pub consumer: &'static str,
    /// The way there.
    pub way: Arc<dyn Deliver>,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Source of the order in which records' events are mixed.
    pub entropy: Arc<dyn Entropy>,
    /// Name of this replica, unlike those of others. A process that restarts under its old name
    /// goes on at once.
    pub owner: String,
    /// Notified after each commit with events for the consumer.
    pub wake: Arc<Notify>,
}

/// Largest number of events in a delivery.
const BATCH: u32 = 512;
/// Largest delivery in bytes, well below the limit of servers.
const BATCH_BYTES: usize = 1 << 20;
/// Length of a lease, which is renewed after half that time.
const LEASE_SECONDS: i64 = 10;
/// Poll interval of an idle relay: another replica's commit does not wake it.
const IDLE: Duration = Duration::from_millis(500);
/// Shortest time between the starts of small deliveries: each costs both sides a commit, however
/// little it carries. The first after a pause goes at once.
const CADENCE: Duration = Duration::from_millis(20);
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// Interval between looks at what waits, for metrics.
const MEASURE: Duration = Duration::from_secs(5);
/// Poll interval for a new mark to send.
const MARK: Duration = Duration::from_secs(2);
/// Longest time that a stopping relay spends on its last mark.
const LAST_MARK: Duration = Duration::from_secs(2);

/// State of a relay's marks.
#[derive(Debug, Default)]
struct Marks {
    /// Time of the last look.
    looked: Option<Instant>,
    /// The mark that the consumer has agreed to.
    known: Option<Mark>,
}

impl Marks {
    fn are_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.duration_since(looked) >= MARK)
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("consumer", &self.consumer)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Relay {
    /// Delivers until `shutdown`. A delivery under way is finished, and a last mark is sent.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut leased_until = Time(i64::MIN);
        let mut back_off = FIRST_BACK_OFF;
        let mut marks = Marks::default();
        let mut progress = Progress::default();
        let metrics = OfRelay::new(self.outbox.service(), self.consumer);
        let mut measured = None;
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            let delivered = self.step(&mut leased_until).await;
            self.measure(metrics, &mut measured, leased_until).await;
            if delivered.is_ok() && self.leads(leased_until) && marks.are_due(begun) {
                self.say(&mut marks).await;
            }
            if delivered.is_ok() && self.leads(leased_until) {
                progress.report(&self, begun).await;
            }
            let wait = match delivered {
                Ok(0) => IDLE,
                Ok(taken) => {
                    back_off = FIRST_BACK_OFF;
                    if taken < BATCH as usize / 2 {
                        tokio::time::sleep_until(begun + CADENCE).await;
                    }
                    continue;
                }
                Err(problem) => {
                    metrics.failed();
                    tracing::warn!(consumer = self.consumer, problem, "events wait");
                    let wait = back_off;
                    back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                    // A notification would not help: wait, unless the service stops.
                    let _ = tokio::time::timeout(wait, shutdown.cancelled()).await;
                    continue;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if self.leads(leased_until) {
            // A stopping service does not wait for a consumer that has stopped.
            let _ = tokio::time::timeout(LAST_MARK, self.say(&mut marks)).await;
        }
        metrics.rests();
    }

    /// Measures what waits, every few seconds, also while nothing can be delivered. Only the replica
    /// that delivers does: the others' numbers would be as old as their last delivery.
    async fn measure(&self, metrics: OfRelay, measured: &mut Option<Instant>, leased_until: Time) {
        if !self.leads(leased_until) {
            metrics.rests();
            *measured = None;
            return;
        }
        if measured.is_some_and(|measured| measured.elapsed() < MEASURE) {
            return;
        }
        *measured = Some(Instant::now());
        // A number that cannot be read keeps its age, which grows; the delivery says why.
        if let Ok(waiting) = self.outbox.waiting(self.consumer, COUNTED).await {
            metrics.waits(&waiting, self.clock.now());
        }
    }

    /// Whether this relay holds the lease, as far as it knows.
    fn leads(&self, leased_until: Time) -> bool {
        self.clock.now() < leased_until
    }

    /// Sends a mark, unless the consumer has agreed to it already.
    async fn say(&self, marks: &mut Marks) {
        marks.looked = Some(Instant::now());
        let way = Arc::clone(&self.way);
        if let Err(problem) = self.try_say(marks, &move |payload| way.entry_hash(payload)).await {
            tracing::warn!(consumer = self.consumer, problem, "a high-water mark was not sent");
        }
    }

    async fn try_say(&self, marks: &mut Marks, entry_hash: EntryHash<'_>) -> Result<(), String> {
        let mark = self
            .outbox
            .mark(self.consumer, entry_hash)
            .await
            .map_err(|error| telemetry::with_causes(&error))?;
        if marks.known == Some(mark) {
            return Ok(());
        }
        let agreed = self.way.mark(&mark).await.map_err(|error| error.to_string())?;
        // A mark that the consumer does not agree to is sent again: it believes the second.
        marks.known = agreed.then_some(mark);
        Ok(())
    }

    /// Delivers one batch and returns how many events were taken.
    pub async fn step(&self, leased_until: &mut Time) -> Result<usize, String> {
        let now = self.clock.now();
        // A lease that ends later than a new one would was taken before the clock was set back.
        let is_from_the_future = *leased_until > now.plus_seconds(LEASE_SECONDS);
        if now.plus_seconds(LEASE_SECONDS / 2) >= *leased_until || is_from_the_future {
            let until = now.plus_seconds(LEASE_SECONDS);
            if !self
                .outbox
                .lease(self.consumer, &self.owner, now, until)
                .await
                .map_err(|error| telemetry::with_causes(&error))?
            {
                return Ok(0);
            }
            *leased_until = until;
        }
        let pending = match self.way.takes_turns() {
            true => {
                let entropy = &*self.entropy;
                self.outbox.pending_by_turns(self.consumer, now, BATCH, entropy).await
            }
            false => self.outbox.pending(self.consumer, now, BATCH).await,
        };
        let mut pending = pending.map_err(|error| telemetry::with_causes(&error))?;
        if pending.is_empty() {
            return Ok(0);
        }
        pending.truncate(fitting(&pending));
        let mut pending = mixed(pending, &*self.entropy);
        for event in &mut pending {
            event.hash = self.way.entry_hash(&event.payload);
        }
        let payloads = pending
            .iter_mut()
            .map(|event| std::mem::take(&mut event.payload))
            .collect();
        let outcomes = self.deliver(payloads).await.map_err(|error| error.to_string())?;
        let settled: Vec<_> = pending.into_iter().zip(outcomes).collect();
        for (event, outcome) in &settled {
            if let Outcome::Refused(reason) = outcome {
                tracing::error!(
                    consumer = self.consumer,
                    record = event.record,
                    reason,
                    "event refused, record parked"
                );
            }
        }
        let now = self.clock.now();
        self.outbox
            .settle(self.consumer, &settled, now)
            .await
            .map_err(|error| telemetry::with_causes(&error))?;
        let metrics = OfRelay::new(self.outbox.service(), self.consumer);
        let taken = settled.iter().filter(|(_, outcome)| *outcome == Outcome::Taken);
        let mut number = 0;
        for (event, _) in taken {
            number += 1;
            if let Some(time) = time_of(&event.position) {
                metrics.took(time, now);
            }
        }
        metrics.delivered(number as u64, (settled.len() - number) as u64);
        Ok(number)
    }

    /// Delivers a batch. If its events are the reason that it fails, it is halved until the culprit
    /// is alone: that one is refused, and the others go on.
    async fn deliver(&self, payloads: Vec<Vec<u8>>) -> Result<Vec<Outcome>, Undelivered> {
        let mut outcomes = Vec::with_capacity(payloads.len());
        let mut waiting = vec![payloads];
        while let Some(mut batch) = waiting.pop() {
            match self.way.deliver(&batch).await {
                Ok(taken) if taken.len() == batch.len() => outcomes.extend(taken),
                Ok(taken) => {
                    let problem = format!("it answered {} of {} events", taken.len(), batch.len());
                    return Err(Undelivered {
                        consumer: self.consumer,
                        problem,
                        because_of_events: false,
                    });
                }
                Err(error) if error.because_of_events && batch.len() == 1 => {
                    outcomes.push(Outcome::Refused(error.problem));
                }
                Err(error) if error.because_of_events => {
                    let rest = batch.split_off(batch.len() / 2);
                    waiting.extend([rest, batch]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcomes)
    }
}

/// How many of these events go into one delivery: at least one.
fn fitting(pending: &[Pending]) -> usize {
    let mut bytes = 0;
    let fits = pending.iter().take_while(|event| {
        bytes += event.payload.len();
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

/// Mixes the records of a batch at random, each record's events in their order.
///
/// The log has the order of delivery, and the log is public: were it the order of commits, the
/// changes of one transaction would stand side by side, and the later changes of records behind the
/// first ones.
fn mixed(pending: Vec<Pending>, entropy: &dyn Entropy) -> Vec<Pending> {
    let mut events: HashMap<Arc<str>, VecDeque<Pending>> = HashMap::new();
    let mut turns = Vec::with_capacity(pending.len());
    for event in pending {
        let record: Arc<str> = event.record.as_str().into();
        turns.push(Arc::clone(&record));
        events.entry(record).or_default().push_back(event);
    }
    shuffle(&mut turns, entropy);
    let next = |record| events.get_mut(&record).and_then(VecDeque::pop_front);
    turns.into_iter().filter_map(next).collect()
}

/// Fisher and Yates: each order is as likely as another.
pub(crate) fn shuffle<T>(items: &mut [T], entropy: &dyn Entropy) {
    let mut random = vec![0; 8 * items.len()];
    entropy.fill(&mut random);
    for (last, random) in (1..items.len()).rev().zip(random.as_chunks().0) {
        let any = u64::from_be_bytes(*random) % (last as u64 + 1);
        items.swap(last, usize::try_from(any).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::SeededEntropy;

    testkit::on_each_backend!(what_waits_is_measured_by_the_replica_that_delivers);

    /// A consumer that takes nothing, or all but one record's.
    #[derive(Default)]
    struct Consumer(std::sync::atomic::AtomicBool);

    #[async_trait]
    impl Deliver for Consumer {
        async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
            if !self.0.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(Undelivered {
                    consumer: "routing",
                    problem: "down".to_owned(),
                    because_of_events: false,
                });
            }
            let answer = |payload: &Vec<u8>| match payload.as_slice() {
                b"bad" => Outcome::Refused("OUT_OF_ORDER".to_owned()),
                _ => Outcome::Taken,
            };
            Ok(payloads.iter().map(answer).collect())
        }
    }

    async fn what_waits_is_measured_by_the_replica_that_delivers(backend: testkit::Backend) {
        const NOW: Time = Time(1_795_305_600_000_000);
        let db = Db::open(backend.url(), &[crate::SCHEMA]).await.unwrap();
        // Both engines run in one process.
        let service = match db.engine() {
            sql::Engine::Sqlite => "intake",
            sql::Engine::Postgres => "audit",
        };
        db.measure(service);
        let number = |metric: &str| {
            let text = telemetry::metrics::text().unwrap();
            let labels = format!("{metric}{{remit_consumer=\"routing\",remit_service=\"{service}\"}} ");
            text.lines()
                .find_map(|line| line.strip_prefix(&labels)?.parse::<f64>().ok())
        };
        let consumer = Arc::new(Consumer::default());
        let relay = |owner: &str| Relay {
            outbox: Arc::new(SqlOutbox(db.clone())),
            consumer: "routing",
            way: Arc::clone(&consumer) as _,
            clock: Arc::new(crate::ManualClock::at(NOW)),
            entropy: Arc::new(SeededEntropy::new(1)),
            owner: owner.to_owned(),
            wake: Arc::default(),
        };
        let (first, second) = (relay("a"), relay("b"));
        let insert = "INSERT INTO outbox (consumer, position, record, payload) VALUES ('routing', $1, $1, $2)";
        for (seconds, payload) in [(100, "good"), (50, "bad"), (10, "good")] {
            let time = NOW.plus_seconds(-seconds).0.cast_unsigned() ^ (1 << 63);
            let position = format!("{time:016x}/00000001/a");
            let values = || vec![position.as_str().into(), payload.as_bytes().to_vec().into()];
            sql::transact!(&db, |tx| tx.execute(insert, values())).unwrap();
        }
        let metrics = OfRelay::new(first.outbox.service(), "routing");

        // The consumer is down: what waits is known all the same, and grows older.
        let (mut leased, mut measured) = (Time(i64::MIN), None);
        first.step(&mut leased).await.unwrap_err();
        first.measure(metrics, &mut measured, leased).await;
        assert_eq!(number("remit_outbox_depth"), Some(3.0));
        assert!(number("remit_outbox_age_seconds").unwrap() >= 100.0);
        assert_eq!(
            first.outbox.waiting("routing", 2).await.unwrap().events,
            2,
            "the count is bounded"
        );

        // Taken, but for one.
        consumer.0.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(first.step(&mut leased).await, Ok(2));
        first.measure(metrics, &mut None, leased).await;
        assert_eq!(number("remit_outbox_depth"), Some(1.0));
        assert_eq!(number("remit_outbox_parked"), Some(1.0));
        assert!((50.0..100.0).contains(&number("remit_outbox_age_seconds").unwrap()));
        assert_eq!(number("remit_relay_lag_seconds_count"), Some(2.0));
        assert_eq!(number("remit_relay_lag_seconds_sum"), Some(110.0));

        // Another replica has no part in it, and this one neither once its lease is over.
        let mut others = Time(i64::MIN);
        assert_eq!(second.step(&mut others).await, Ok(0));
        second.measure(metrics, &mut None, others).await;
        assert_eq!(number("remit_outbox_depth"), None);
        first.measure(metrics, &mut None, leased).await;
        assert_eq!(number("remit_outbox_depth"), Some(1.0));
        first.measure(metrics, &mut None, Time(i64::MIN)).await;
        assert_eq!(number("remit_outbox_age_seconds"), None);
        db.close().await;
    }

    fn pending(records: &[&str]) -> Vec<Pending> {
        let event = |(n, record): (usize, &&str)| Pending {
            position: n.to_string(),
            record: (*record).to_owned(),
            payload: Vec::new(),
            hash: None,
        };
        records.iter().enumerate().map(event).collect()
    }

    fn orders(records: &[&str]) -> BTreeMap<String, u32> {
        let entropy = SeededEntropy::new(7);
        let mut orders = BTreeMap::new();
        for _ in 0..6_000 {
            let mixed = mixed(pending(records), &entropy);
            let order = mixed.iter().map(|event| event.position.as_str()).collect();
            *orders.entry(order).or_default() += 1;
        }
        orders
    }

    #[test]
    fn a_batch_is_mixed_and_each_records_events_keep_their_order() {
        // Three records have six orders, equally likely: counts within five standard deviations.
        let found = orders(&["a", "b", "c"]);
        assert_eq!(found.len(), 6);
        assert!(found.values().all(|count| (856..=1_144).contains(count)), "{found:?}");
        // Events 0, 1 and 3 belong to one record.
        let found: BTreeSet<_> = orders(&["a", "a", "b", "a"]).into_keys().collect();
        assert_eq!(found, ["0123", "0132", "0213", "2013"].map(str::to_owned).into());
        assert!(mixed(Vec::new(), &SeededEntropy::new(1)).is_empty());
    }
}
