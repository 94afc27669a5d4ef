//! Up to when intake knows what happened: a relay's reports, the stored time, and what a receipt
//! shows.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    event::CaseState,
    intake::{CheckReceiptRequest, CheckReceiptResponse, RecordCaseChangesRequest, RecordProgressRequest, ReportState},
};
use async_trait::async_trait;
use intake::store::Store as _;
use journal::{
    Clock, Deliver, Head, ManualClock, Outcome, Progress, Relay, SeededEntropy, SqlOutbox, Time, Undelivered,
};
use rpc::Limits;
use testkit::Backend;
use tokio::{sync::Notify, time::Instant};

use crate::fixture::{NOW, Served, acceptance, case_news, entropy, good, open, prepared, serve};

testkit::on_each_backend!(
    what_waits_or_is_parked_holds_the_moment_back,
    what_comes_after_the_moment_does_not_hold_it_back_for_ever,
    a_moment_is_kept_and_goes_back_with_the_clock_only,
);

/// A consumer with its own clock, which keeps what it receives.
struct Consumer {
    clock: ManualClock,
    refuses: Mutex<bool>,
    down: Mutex<bool>,
    told: Mutex<Vec<Option<Time>>>,
}

impl Consumer {
    /// Received since the last look.
    fn told(&self) -> Vec<Option<Time>> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

#[async_trait]
impl Deliver for Consumer {
    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
        let refuses = *self.refuses.lock().unwrap();
        let answer = |_: &Vec<u8>| match refuses {
            true => Outcome::Refused("no".to_owned()),
            false => Outcome::Taken,
        };
        Ok(payloads.iter().map(answer).collect())
    }

    async fn progress(&self, arrived: Option<Time>) -> Result<Option<Time>, Undelivered> {
        if *self.down.lock().unwrap() {
            return Err(Undelivered {
                consumer: "routing",
                problem: "down".to_owned(),
                because_of_events: false,
            });
        }
        self.told.lock().unwrap().push(arrived);
        Ok(Some(self.clock.now()))
    }
}

fn relay(db: &sql::Db, owner: &str) -> (Relay, Arc<Consumer>) {
    let consumer = Arc::new(Consumer {
        clock: ManualClock::at(Time(7_000_000)),
        refuses: Mutex::new(false),
        down: Mutex::new(false),
        told: Mutex::new(Vec::new()),
    });
    let relay = Relay {
        outbox: Arc::new(SqlOutbox(db.clone())),
        consumer: "routing",
        way: Arc::clone(&consumer) as Arc<dyn Deliver>,
        clock: Arc::new(ManualClock::at(NOW)),
        entropy: Arc::new(SeededEntropy::new(1)),
        owner: owner.to_owned(),
        wake: Arc::new(Notify::new()),
    };
    (relay, consumer)
}

async fn what_waits_or_is_parked_holds_the_moment_back(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let (relay, consumer) = relay(&db, "a");
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let report = || [acceptance(&*entropy, None, 1)];
    store.accept(&prepared(&report())).await.unwrap();

    let mut progress = Progress::default();
    progress.report(&relay, after(0)).await;
    assert_eq!(consumer.told(), [None], "it asks first");
    consumer.clock.advance(3);
    progress.report(&relay, after(2)).await;
    assert_eq!(consumer.told(), [], "one waits");
    relay.step(&mut Time(i64::MIN)).await.unwrap();
    progress.report(&relay, after(3)).await;
    progress.report(&relay, after(3)).await;
    assert_eq!(consumer.told(), [Some(Time(7_000_000))], "the moment before, once");
    // Nothing happens, and it continues, but not all the time.
    progress.report(&relay, after(4)).await;
    assert_eq!(consumer.told(), []);
    progress.report(&relay, after(5)).await;
    assert_eq!(consumer.told(), [Some(Time(10_000_000))]);

    *consumer.refuses.lock().unwrap() = true;
    store.accept(&prepared(&report())).await.unwrap();
    relay.step(&mut Time(i64::MIN)).await.unwrap();
    progress.report(&relay, after(7)).await;
    assert_eq!(
        consumer.told(),
        [Some(Time(10_000_000))],
        "it came later than the question"
    );
    for seconds in [9, 20] {
        progress.report(&relay, after(seconds)).await;
        assert_eq!(consumer.told(), [], "parked is not arrived");
    }

    // Another replica, or the same after a restart, knows no moment and asks for one.
    let mut other = Progress::default();
    other.report(&relay, after(21)).await;
    assert_eq!(consumer.told(), [None]);
    other.report(&relay, after(23)).await;
    assert_eq!(consumer.told(), []);

    // An absent consumer is told afterwards, of a moment that it gives then.
    execute(&db, "DELETE FROM outbox WHERE consumer = 'routing'", Vec::new()).await;
    *consumer.down.lock().unwrap() = true;
    other.report(&relay, after(25)).await;
    *consumer.down.lock().unwrap() = false;
    consumer.clock.advance(60);
    other.report(&relay, after(27)).await;
    other.report(&relay, after(29)).await;
    assert_eq!(consumer.told(), [None, Some(Time(70_000_000))]);
}

/// Under load something always waits; after a clock was set back, the new sorts before the old.
async fn what_comes_after_the_moment_does_not_hold_it_back_for_ever(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let (relay, consumer) = relay(&db, "a");
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    store
        .accept(&prepared(&[acceptance(&*entropy, None, 1)]))
        .await
        .unwrap();
    let mut progress = Progress::default();
    progress.report(&relay, after(0)).await;
    relay.step(&mut Time(i64::MIN)).await.unwrap();
    let early = "INSERT INTO outbox (consumer, position, record, payload) VALUES ('routing', '0', 'reports/x', $1)";
    execute(&db, early, vec![vec![0_u8].into()]).await;
    progress.report(&relay, after(29)).await;
    assert_eq!(consumer.told(), [None]);
    progress.report(&relay, after(31)).await;
    let late = "UPDATE outbox SET position = 'z' WHERE consumer = 'routing'";
    execute(&db, late, Vec::new()).await;
    progress.report(&relay, after(33)).await;
    assert_eq!(consumer.told(), [None, Some(Time(7_000_000))]);
}

async fn a_moment_is_kept_and_goes_back_with_the_clock_only(backend: Backend) {
    let (db, store, _) = open(backend.url()).await;
    assert_eq!(store.progress(NOW).await.unwrap(), None);
    let at = |seconds| NOW.plus_seconds(seconds);
    for (arrived, now, kept) in [
        (at(-5), at(0), Some(at(-5))),
        // An overtaken answer of another replica.
        (at(-9), at(0), Some(at(-5))),
        (at(-1), at(1), Some(at(-1))),
        // Not yet: it was given before the clock was set back.
        (at(9), at(2), Some(at(-1))),
        // The clock is set back, and the stored time lies ahead.
        (at(-100), at(-98), Some(at(-100))),
    ] {
        store.record_progress(arrived, now).await.unwrap();
        assert_eq!(store.progress(now).await.unwrap(), kept, "{arrived}");
    }
    let reopened = intake::Intake::open(backend.url()).await.unwrap();
    let store = intake::store::SqlStore::new(reopened, entropy());
    assert_eq!(
        store.progress(at(0)).await.unwrap(),
        Some(at(-100)),
        "a restart forgets nothing"
    );
    // A time ahead is forgotten, and not believed when it comes without word from routing.
    assert_eq!(store.progress(at(-101)).await.unwrap(), None);
    assert_eq!(store.progress(at(0)).await.unwrap(), None);
    db.close().await;
}

async fn execute(db: &sql::Db, statement: &'static str, values: Vec<sql::Value>) {
    let mut tx = db.begin().await.unwrap();
    tx.execute(statement, values).await.unwrap();
    tx.commit().await.unwrap();
}

async fn check(served: &Served, system: &str, receipt: &str) -> CheckReceiptResponse {
    let request = CheckReceiptRequest {
        receipt: receipt.to_owned(),
    };
    served.client(system).check_receipt(request).await.unwrap().into_inner()
}

/// Routing's part, played like its relay.
async fn say(served: &Served, arrived: Option<prost_types::Timestamp>) -> Option<prost_types::Timestamp> {
    let request = RecordProgressRequest { arrived_time: arrived };
    let response = served.inbound("routing").record_progress(request).await.unwrap();
    response.into_inner().current_time
}

#[tokio::test]
async fn a_receipt_says_up_to_when_it_is_complete_and_whether_that_is_long_ago() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let clock = &served.site.clock;
    let submitted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let as_of = async || {
        let shown = check(&served, "platform", &submitted.receipt).await;
        (Time::from_proto(&shown.as_of_time.unwrap()).unwrap(), shown.outdated)
    };
    assert_eq!(as_of().await, (NOW, false));
    // Nothing happens, and that is known.
    let mut moment = say(&served, None).await;
    for round in 1..=3 {
        clock.advance(40);
        moment = say(&served, moment).await;
        assert_eq!(as_of().await, (NOW.plus_seconds(40 * (round - 1)), false), "{round}");
    }
    // Routing is away: the time stays, and after a minute the receipt says so.
    clock.advance(20);
    assert_eq!(as_of().await, (NOW.plus_seconds(80), false));
    clock.advance(1);
    assert_eq!(as_of().await, (NOW.plus_seconds(80), true));
    // An arrived change is known; whether there are others is not.
    let id = names::REPORT.id(&submitted.report.unwrap().name).unwrap();
    let news = case_news(&*entropy(), "cases/a", &mut Head::default(), &[id], CaseState::Assigned);
    let request = RecordCaseChangesRequest {
        changes: vec![news.change],
    };
    served.inbound("routing").record_case_changes(request).await.unwrap();
    assert_eq!(as_of().await, (NOW.plus_seconds(80), true));
    // It is back.
    say(&served, moment).await;
    assert_eq!(as_of().await, (NOW.plus_seconds(120), false));
    // The clock is set back by an hour: the earlier statement no longer holds.
    clock.advance(-3_600 - 141);
    assert_eq!(as_of().await.0, NOW, "when the report, and its change, were recorded");
    clock.advance(3_600 + 180);
    assert_eq!(as_of().await, (NOW, true), "nobody has said it again");
}

/// Routing's clock may be ahead of ours: until then every answer would look current.
#[tokio::test]
async fn a_change_from_a_clock_that_is_ahead_does_not_make_a_receipt_current() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    served.site.clock.advance(-3_600);
    let submitted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let id = names::REPORT.id(&submitted.report.unwrap().name).unwrap();
    let news = case_news(&*entropy(), "cases/a", &mut Head::default(), &[id], CaseState::Assigned);
    let request = RecordCaseChangesRequest {
        changes: vec![news.change],
    };
    served.inbound("routing").record_case_changes(request).await.unwrap();
    let shown = check(&served, "platform", &submitted.receipt).await;
    assert_eq!(shown.state(), ReportState::Routed);
    assert_eq!(shown.as_of_time, Some(NOW.plus_seconds(-3_600).to_proto()));
}

/// Neither time shows that its sender is excluded.
#[tokio::test]
async fn p7_a_hidden_report_is_as_current_as_one_that_is_not_routed() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let clock = &served.site.clock;
    // Its case changes after its acceptance.
    clock.advance(-20);
    let hidden = served
        .client("handan")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let unrouted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let id = names::REPORT.id(&hidden.report.unwrap().name).unwrap();
    let moment = say(&served, None).await;
    clock.advance(10);
    let news = case_news(&*entropy(), "cases/a", &mut Head::default(), &[id], CaseState::Assigned);
    let request = RecordCaseChangesRequest {
        changes: vec![news.change],
    };
    served.inbound("routing").record_case_changes(request).await.unwrap();
    let moment_after = say(&served, moment).await;
    for moment in [None, moment_after] {
        say(&served, moment).await;
        let [hidden, unrouted] = [&hidden.receipt, &unrouted.receipt];
        let [hidden, unrouted] = [
            check(&served, "platform", hidden).await,
            check(&served, "platform", unrouted).await,
        ];
        assert_eq!(hidden.state(), ReportState::Accepted);
        assert_eq!(
            (hidden.as_of_time, hidden.outdated),
            (unrouted.as_of_time, unrouted.outdated)
        );
        clock.advance(90);
    }
}

/// What arrives while a receipt is read: the answer need not show it, but shows nothing that routing
/// was not asked about, and does not say that it is complete up to then.
#[tokio::test]
async fn p7_a_receipt_shows_and_claims_nothing_that_arrives_while_it_is_read() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let first = say(&served, None).await;
    let arrived = {
        served.site.clock.advance(40);
        say(&served, first).await
    };
    assert_eq!(arrived, Some(NOW.plus_seconds(40).to_proto()));
    let id = names::REPORT.id(&submitted.report.unwrap().name).unwrap();
    let news = case_news(&*entropy(), "cases/a", &mut Head::default(), &[id], CaseState::Assigned);
    let mut routing = served.inbound("routing");
    served.routing.meanwhile(async move {
        let changes = vec![news.change];
        let recorded = routing.record_case_changes(RecordCaseChangesRequest { changes }).await;
        recorded.unwrap();
        let progress = RecordProgressRequest { arrived_time: arrived };
        routing.record_progress(progress).await.unwrap();
    });
    let shown = check(&served, "hotline", &submitted.receipt).await;
    assert_eq!((shown.state(), shown.changes.len()), (ReportState::Accepted, 1));
    assert_eq!(
        shown.as_of_time,
        Some(NOW.to_proto()),
        "and not up to what is not shown"
    );
    let later = check(&served, "hotline", &submitted.receipt).await;
    assert_eq!((later.state(), later.changes.len()), (ReportState::Routed, 2));
    assert_eq!(later.as_of_time, Some(NOW.plus_seconds(40).to_proto()));
}
