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

use crate::fixture::{NOW, acceptance, acceptance_from, case_news, open, prepared};

testkit::on_each_backend!(
    p2_delivers_each_record_in_its_order,
    p2_a_refused_event_parks_its_own_record_only,
    p2_one_event_that_no_consumer_can_read_does_not_stop_the_others,
    an_unreachable_consumer_loses_nothing,
    one_relay_delivers_at_a_time,
    an_honest_report_overtakes_another_senders_flood,
    many_senders_do_not_wait_for_a_flood,
    an_urgent_report_overtakes_its_own_senders_flood,
    an_urgent_flood_does_not_hold_up_the_others,
    p2_a_parked_record_does_not_hold_up_its_lane,
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
    fn takes_turns(&self) -> bool {
        true
    }

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

/// A sender's flood, and the reports of others that came after it.
struct Flood {
    consumer: Arc<Consumer>,
    relay: Relay,
    late: BTreeSet<String>,
}

impl Flood {
    async fn new(backend: &Backend, flood: (&str, bool), late: &[(&str, bool)]) -> Self {
        let (db, store, entropy) = open(backend.url()).await;
        for _ in 0..6 {
            let (caller, is_urgent) = flood;
            let reports: Vec<_> = (0..250)
                .map(|_| acceptance_from(&*entropy, caller, is_urgent))
                .collect();
            store.accept(&prepared(&reports)).await.unwrap();
        }
        let late: Vec<_> = late
            .iter()
            .map(|(caller, is_urgent)| acceptance_from(&*entropy, caller, *is_urgent))
            .collect();
        store.accept(&prepared(&late)).await.unwrap();
        let consumer = Arc::new(Consumer::default());
        Self {
            relay: relay(&db, &consumer, &Arc::new(ManualClock::at(NOW)), "a"),
            consumer,
            late: late.iter().map(|late| intake::store::name(late.report)).collect(),
        }
    }

    /// Delivers once. Returns how many reports of the flood went, and how many of the late ones.
    async fn step(&self) -> (usize, usize) {
        self.relay.step(&mut Time(i64::MIN)).await.unwrap();
        let taken = std::mem::take(&mut *self.consumer.taken.lock().unwrap());
        let late = taken.iter().filter(|entry| self.late.contains(&entry.record)).count();
        (taken.len() - late, late)
    }
}

async fn an_honest_report_overtakes_another_senders_flood(backend: Backend) {
    let flood = Flood::new(&backend, ("platform", false), &[("hotline", false)]).await;
    assert_eq!(flood.step().await, (256, 1));
}

/// However many senders there are, each has its turn, and the flood its own.
async fn many_senders_do_not_wait_for_a_flood(backend: Backend) {
    let late: Vec<String> = (0..100).map(|sender| format!("hotline-{sender}")).collect();
    let late: Vec<_> = late.iter().map(|sender| (sender.as_str(), false)).collect();
    let flood = Flood::new(&backend, ("platform", false), &late).await;
    let (mut of_flood, mut of_late) = (0, 0);
    while of_late < late.len() {
        let (more_of_flood, more_of_late) = flood.step().await;
        assert!(more_of_late > 0);
        (of_flood, of_late) = (of_flood + more_of_flood, of_late + more_of_late);
    }
    assert!(of_flood < 250, "the others waited for {of_flood} of the flood");
    assert_eq!(of_flood + drain(&flood.relay).await, 1_500);
}

async fn an_urgent_report_overtakes_its_own_senders_flood(backend: Backend) {
    let flood = Flood::new(&backend, ("platform", false), &[("platform", true), ("hotline", true)]).await;
    assert_eq!(flood.step().await, (510, 2));
}

async fn an_urgent_flood_does_not_hold_up_the_others(backend: Backend) {
    let late = [("hotline", false), ("hotline", true), ("platform", false)];
    let flood = Flood::new(&backend, ("platform", true), &late).await;
    let (of_flood, of_late) = flood.step().await;
    assert_eq!(of_late, 3);
    assert!(of_flood >= 256, "{of_flood}");
}

async fn p2_a_parked_record_does_not_hold_up_its_lane(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let reports: Vec<_> = (0..3).map(|_| acceptance_from(&*entropy, "hotline", true)).collect();
    store.accept(&prepared(&reports)).await.unwrap();
    let bad = &reports[0];
    let mut head = Head::default();
    let news = case_news(&*entropy, "cases/1", &mut head, &[bad.report], CaseState::Assigned);
    store.record_case_changes(&[news], NOW).await.unwrap();
    let consumer = Arc::new(Consumer::default());
    let clock = Arc::new(ManualClock::at(NOW));
    let relay = relay(&db, &consumer, &clock, "a");
    let bad = intake::store::name(bad.report);
    consumer.refused.lock().unwrap().insert(bad.clone());
    assert_eq!(drain(&relay).await, 2);
    consumer.refused.lock().unwrap().clear();
    clock.advance(61);
    assert_eq!(drain(&relay).await, 2);
    let taken = consumer.taken.lock().unwrap();
    let of_bad = taken.iter().filter(|entry| entry.record == bad);
    assert_eq!(of_bad.map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2]);
}
