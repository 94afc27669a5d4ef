//! The relay over intake's outbox, on each backend: order per record, parking, delivery at least
//! once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use api::{event::CaseState, routing::ReportChange};
use async_trait::async_trait;
use intake::store::Store as _;
use journal::{
    Clock, Deliver, Head, ManualClock, Opened, Outbox as _, OutboxStatus, Outcome, Relay, SeededEntropy, SqlOutbox,
    Time, Undelivered,
};
use prost::Message as _;
use testkit::Backend;
use tokio::sync::Notify;

use crate::fixture::{NOW, acceptance, case_news, open, prepared};

testkit::on_each_backend!(
    p2_delivers_each_record_in_its_order,
    p2_a_refused_event_parks_its_own_record_only,
    p2_one_event_that_no_consumer_can_read_does_not_stop_the_others,
    an_unreachable_consumer_loses_nothing,
    one_relay_delivers_at_a_time,
);

/// A consumer that keeps accepted changes, and refuses or fails as told.
#[derive(Default)]
struct Consumer {
    taken: Mutex<Vec<Opened>>,
    refused: Mutex<BTreeSet<String>>,
    down: Mutex<bool>,
    unreadable: Mutex<Option<String>>,
}

#[async_trait]
impl Deliver for Consumer {
    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
        if *self.down.lock().unwrap() {
            return Err(Undelivered {
                consumer: "routing",
                problem: "down".to_owned(),
                because_of_events: false,
            });
        }
        let unreadable = self.unreadable.lock().unwrap().clone();
        let name = |payload: &[u8]| {
            let change = ReportChange::decode(payload).unwrap().change.unwrap();
            Opened::of_change(&change).unwrap().record
        };
        if unreadable.is_some_and(|record| payloads.iter().any(|payload| name(payload) == record)) {
            return Err(Undelivered {
                consumer: "routing",
                problem: "MESSAGE_TOO_LARGE".to_owned(),
                because_of_events: true,
            });
        }
        let refused = self.refused.lock().unwrap().clone();
        let mut taken = self.taken.lock().unwrap();
        Ok(payloads
            .iter()
            .map(|payload| {
                let change = ReportChange::decode(payload.as_slice()).unwrap().change.unwrap();
                let entry = Opened::of_change(&change).unwrap();
                if refused.contains(&entry.record) {
                    return Outcome::Refused("OUT_OF_ORDER".to_owned());
                }
                taken.push(entry);
                Outcome::Taken
            })
            .collect())
    }
}

fn relay(db: &sql::Db, consumer: &Arc<Consumer>, clock: &Arc<ManualClock>, owner: &str) -> Relay {
    Relay {
        outbox: Arc::new(SqlOutbox(db.clone())),
        consumer: "routing",
        way: Arc::clone(consumer) as Arc<dyn Deliver>,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        entropy: Arc::new(SeededEntropy::new(1)),
        owner: owner.to_owned(),
        wake: Arc::new(Notify::new()),
    }
}

async fn drain(relay: &Relay) -> usize {
    let mut leased = Time(i64::MIN);
    let mut all = 0;
    loop {
        match relay.step(&mut leased).await.unwrap() {
            0 => return all,
            n => all += n,
        }
    }
}

async fn p2_delivers_each_record_in_its_order(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let reports: Vec<_> = (0..400).map(|_| acceptance(&*entropy, None, 1)).collect();
    store.accept(&prepared(&reports)).await.unwrap();
    for (i, report) in reports.iter().enumerate() {
        let mut head = Head::default();
        let news: Vec<_> = [CaseState::Assigned, CaseState::Closed, CaseState::Assigned]
            .map(|state| case_news(&*entropy, &format!("cases/{i}"), &mut head, &[report.report], state))
            .into();
        store.record_case_changes(&news, NOW).await.unwrap();
    }
    let consumer = Arc::new(Consumer::default());
    let clock = Arc::new(ManualClock::at(NOW));
    assert_eq!(drain(&relay(&db, &consumer, &clock, "a")).await, 1_600);
    let mut sequences: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for entry in consumer.taken.lock().unwrap().iter() {
        sequences.entry(entry.record.clone()).or_default().push(entry.sequence);
    }
    assert_eq!(sequences.len(), 400);
    assert!(sequences.values().all(|sequence| *sequence == [1, 2, 3, 4]));
    assert!(
        store
            .changes(reports[0].report)
            .await
            .unwrap()
            .iter()
            .all(|change| !change.delivered),
        "audit is another consumer"
    );
}

async fn p2_a_refused_event_parks_its_own_record_only(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let reports: Vec<_> = (0..5).map(|_| acceptance(&*entropy, None, 1)).collect();
    store.accept(&prepared(&reports)).await.unwrap();
    let consumer = Arc::new(Consumer::default());
    let clock = Arc::new(ManualClock::at(NOW));
    let relay = relay(&db, &consumer, &clock, "a");
    let bad = intake::store::name(reports[2].report);
    consumer.refused.lock().unwrap().insert(bad.clone());
    assert_eq!(drain(&relay).await, 4);
    let outbox = SqlOutbox(db.clone());
    assert_eq!(
        outbox.status("routing").await.unwrap(),
        OutboxStatus { waiting: 1, parked: 1 }
    );

    // Later changes continue; the parked record is not retried before its time.
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    assert_eq!(drain(&relay).await, 1);
    consumer.refused.lock().unwrap().clear();
    assert_eq!(drain(&relay).await, 0);
    clock.advance(61);
    assert_eq!(drain(&relay).await, 1);
    assert_eq!(consumer.taken.lock().unwrap().last().unwrap().record, bad);
    assert_eq!(outbox.status("routing").await.unwrap(), OutboxStatus::default());
}

async fn an_unreachable_consumer_loses_nothing(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    let consumer = Arc::new(Consumer::default());
    let relay = relay(&db, &consumer, &Arc::new(ManualClock::at(NOW)), "a");
    *consumer.down.lock().unwrap() = true;
    let mut leased = Time(i64::MIN);
    assert!(relay.step(&mut leased).await.unwrap_err().contains("down"));
    *consumer.down.lock().unwrap() = false;
    assert_eq!(relay.step(&mut leased).await.unwrap(), 1);
}

async fn one_relay_delivers_at_a_time(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    let consumer = Arc::new(Consumer::default());
    let clock = Arc::new(ManualClock::at(NOW));
    let (first, second) = (relay(&db, &consumer, &clock, "a"), relay(&db, &consumer, &clock, "b"));
    *consumer.down.lock().unwrap() = true;
    let mut leased = Time(i64::MIN);
    first.step(&mut leased).await.unwrap_err();
    *consumer.down.lock().unwrap() = false;
    assert_eq!(
        second.step(&mut Time(i64::MIN)).await.unwrap(),
        0,
        "the first has the lease"
    );
    // It vanished without a word: when its lease runs out, the other takes over.
    clock.advance(11);
    assert_eq!(second.step(&mut Time(i64::MIN)).await.unwrap(), 1);
}

async fn p2_one_event_that_no_consumer_can_read_does_not_stop_the_others(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let reports: Vec<_> = (0..100).map(|_| acceptance(&*entropy, None, 1)).collect();
    store.accept(&prepared(&reports)).await.unwrap();
    let consumer = Arc::new(Consumer::default());
    *consumer.unreadable.lock().unwrap() = Some(intake::store::name(reports[37].report));
    let relay = relay(&db, &consumer, &Arc::new(ManualClock::at(NOW)), "a");
    assert_eq!(drain(&relay).await, 99);
    assert_eq!(
        SqlOutbox(db).status("routing").await.unwrap(),
        OutboxStatus { waiting: 1, parked: 1 }
    );
}
