//! High-water marks over intake's outbox, on each backend: a relay's report of its progress.

use std::sync::{Arc, Mutex};

use api::event::StateChange;
use async_trait::async_trait;
use intake::store::Store as _;
use journal::{
    Bytes32, Clock, Deliver, EventSet, ManualClock, Mark, Outbox as _, Outcome, Relay, SeededEntropy, SqlOutbox, Time,
    Undelivered, entry_hash,
};
use prost::Message as _;
use testkit::Backend;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::fixture::{NOW, acceptance, open, prepared};

testkit::on_each_backend!(
    p2_a_mark_is_what_was_delivered_and_what_waits,
    p2_a_late_commit_is_in_the_next_mark,
    p2_two_relays_count_an_event_once,
    p1_a_change_that_fits_no_log_is_not_written,
    marks_are_sent_when_they_change_and_at_the_end,
    a_clock_that_is_set_back_neither_stops_a_relay_nor_parks_for_longer,
);

/// An audit that keeps the hashes of accepted changes, and the marks.
#[derive(Default)]
struct Audit {
    taken: Mutex<Vec<Bytes32>>,
    refuses: Mutex<bool>,
    marks: Mutex<Vec<Mark>>,
    marked: Notify,
}

fn hash(payload: &[u8]) -> Option<Bytes32> {
    Some(entry_hash(&StateChange::decode(payload).ok()?.entry))
}

#[async_trait]
impl Deliver for Audit {
    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
        if *self.refuses.lock().unwrap() {
            return Ok(payloads
                .iter()
                .map(|_| Outcome::Refused("MALFORMED".to_owned()))
                .collect());
        }
        self.taken
            .lock()
            .unwrap()
            .extend(payloads.iter().filter_map(|payload| hash(payload)));
        Ok(payloads.iter().map(|_| Outcome::Taken).collect())
    }

    fn entry_hash(&self, payload: &[u8]) -> Option<Bytes32> {
        hash(payload)
    }

    async fn mark(&self, mark: &Mark) -> Result<bool, Undelivered> {
        self.marks.lock().unwrap().push(*mark);
        self.marked.notify_one();
        Ok(true)
    }
}

impl Audit {
    fn set(&self) -> EventSet {
        let mut set = EventSet::default();
        set.extend(&*self.taken.lock().unwrap());
        set
    }
}

fn relay(db: &sql::Db, audit: &Arc<Audit>, clock: &Arc<ManualClock>, owner: &str) -> Relay {
    Relay {
        outbox: Arc::new(SqlOutbox(db.clone())),
        consumer: "audit",
        way: Arc::clone(audit) as Arc<dyn Deliver>,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        entropy: Arc::new(SeededEntropy::new(1)),
        owner: owner.to_owned(),
        wake: Arc::new(Notify::new()),
    }
}

async fn mark(db: &sql::Db) -> Mark {
    SqlOutbox(db.clone()).mark("audit", &hash).await.unwrap()
}

async fn p2_a_mark_is_what_was_delivered_and_what_waits(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let (audit, clock) = (Arc::new(Audit::default()), Arc::new(ManualClock::at(NOW)));
    let relay = relay(&db, &audit, &clock, "a");
    assert_eq!(
        mark(&db).await,
        Mark {
            committed_hash: Some(EventSet::default().hash),
            ..Mark::default()
        }
    );
    for round in 1..=3 {
        let reports: Vec<_> = (0..7).map(|_| acceptance(&*entropy, None, 1)).collect();
        store.accept(&prepared(&reports)).await.unwrap();
        let before = mark(&db).await;
        assert_eq!((before.delivered, before.committed), (audit.set(), 7 * round));
        assert_eq!(relay.step(&mut Time(i64::MIN)).await.unwrap(), 7);
        let after = mark(&db).await;
        // Waiting changes were in the sum already.
        assert_eq!(after.committed_hash, before.committed_hash);
        assert_eq!((after.delivered, after.committed), (audit.set(), 7 * round));
        assert_eq!(after.committed_hash, Some(after.delivered.hash));
    }
    // A refused change stays and is still owed.
    *audit.refuses.lock().unwrap() = true;
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    assert_eq!(relay.step(&mut Time(i64::MIN)).await.unwrap(), 0);
    let owed = mark(&db).await;
    assert_eq!((owed.delivered.count, owed.committed), (21, 22));
}

/// PostgreSQL assigns positions before commit: a late transaction is in the next mark, not behind
/// this one.
async fn p2_a_late_commit_is_in_the_next_mark(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let (audit, clock) = (Arc::new(Audit::default()), Arc::new(ManualClock::at(NOW)));
    let relay = relay(&db, &audit, &clock, "a");
    let early = "INSERT INTO outbox (consumer, position, record, payload) \
                 SELECT consumer, '0' || position, record, payload FROM outbox WHERE consumer = 'audit'";
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    // A transaction with a position before all others, which has not ended.
    let mut late = db.begin().await.unwrap();
    assert_eq!(late.execute(early, Vec::new()).await.unwrap(), 1);
    assert_eq!(mark(&db).await.committed, 1);
    if backend.url().starts_with("postgres") {
        // If another can write meanwhile, the relay moves past that position.
        assert_eq!(relay.step(&mut Time(i64::MIN)).await.unwrap(), 1);
    }
    let before = mark(&db).await;
    assert_eq!(before.committed, 1);
    late.commit().await.unwrap();
    assert_eq!(mark(&db).await.committed, 2);
    while relay.step(&mut Time(i64::MIN)).await.unwrap() > 0 {}
    let all = mark(&db).await;
    assert_eq!((all.delivered, all.committed), (audit.set(), 2));
}

async fn p1_a_change_that_fits_no_log_is_not_written(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let mut large = acceptance(&*entropy, None, 1);
    large.change.entry = vec![0; journal::ENTRY_BYTES + 1].into();
    let name = large.report;
    let error = store.accept(&prepared(&[large])).await.unwrap_err().to_string();
    assert!(error.contains("65536 bytes; the log takes at most 65535"), "{error}");
    assert!(store.report(name).await.unwrap().is_none());
    assert_eq!(mark(&db).await.committed, 0);
}

async fn p2_two_relays_count_an_event_once(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let reports: Vec<_> = (0..20).map(|_| acceptance(&*entropy, None, 1)).collect();
    store.accept(&prepared(&reports)).await.unwrap();
    let outbox = SqlOutbox(db.clone());
    let mut pending = outbox.pending("audit", NOW, 100).await.unwrap();
    for event in &mut pending {
        event.hash = hash(&event.payload);
    }
    let settled: Vec<_> = pending.into_iter().map(|event| (event, Outcome::Taken)).collect();
    // Both believe they hold the lease, and both deliver some of the same changes.
    let (first, second) = (&settled[..15], &settled[5..]);
    let (first, second) = tokio::join!(outbox.settle("audit", first, NOW), outbox.settle("audit", second, NOW));
    first.and(second).unwrap();
    let mut all = EventSet::default();
    all.extend(&settled.iter().filter_map(|(event, _)| event.hash).collect::<Vec<_>>());
    let mark = mark(&db).await;
    assert_eq!((mark.delivered, mark.committed), (all, 20));
}

async fn marks_are_sent_when_they_change_and_at_the_end(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let (audit, clock) = (Arc::new(Audit::default()), Arc::new(ManualClock::at(NOW)));
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    let (first, shutdown) = (relay(&db, &audit, &clock, "a"), CancellationToken::new());
    let running = tokio::spawn(first.run(shutdown.clone()));
    // After the first delivery, and not again at the end, because it is known.
    audit.marked.notified().await;
    shutdown.cancel();
    running.await.unwrap();
    let marks = std::mem::take(&mut *audit.marks.lock().unwrap());
    assert_eq!((marks.len(), marks[0].delivered.count), (1, 1), "{marks:?}");

    let (relay, shutdown) = (relay(&db, &audit, &clock, "a"), CancellationToken::new());
    let wake = Arc::clone(&relay.wake);
    let running = tokio::spawn(relay.run(shutdown.clone()));
    // A start reports its state.
    audit.marked.notified().await;
    // Anything unreported at the end is reported then.
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    wake.notify_one();
    while audit.taken.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let marks = audit.marks.lock().unwrap().clone();
    assert_eq!(marks.last().unwrap().delivered, audit.set());
    assert_eq!(marks.len(), 2, "{marks:?}");
}

async fn a_clock_that_is_set_back_neither_stops_a_relay_nor_parks_for_longer(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let (audit, clock) = (Arc::new(Audit::default()), Arc::new(ManualClock::at(NOW)));
    let (first, second) = (relay(&db, &audit, &clock, "a"), relay(&db, &audit, &clock, "b"));
    let mut leased = Time(i64::MIN);
    *audit.refuses.lock().unwrap() = true;
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    assert_eq!(first.step(&mut leased).await.unwrap(), 0, "refused, and parked");
    *audit.refuses.lock().unwrap() = false;

    clock.advance(-2 * 3_600);
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    // The parked one too: it is postponed to a time that no clock reads now.
    assert_eq!(first.step(&mut leased).await.unwrap(), 2);
    assert!(leased <= NOW.plus_seconds(-2 * 3_600 + 10), "the lease is one of now");
    // A vanished one is replaced within the length of a lease.
    clock.advance(11);
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    assert_eq!(second.step(&mut Time(i64::MIN)).await.unwrap(), 1);
}
