//! Missing and contradictory changes: gaps, forks, reused event ids, unmet marks.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use api::{
    audit::{
        AppendChangesRequest, EventSet, Gap, GapKind, ListGapsRequest, ListGapsResponse, Producer as ProducerMessage,
        RecordMarkRequest, Standing, UnfreezeProducerRequest,
    },
    event::{ChangeOutcome, Detail, StateChange},
    operations::GetStatusRequest,
};
use audit::{AppendRefusal, SqlStore, Store, Unfreezing, Unfrozen};
use journal::{ManualClock, Mark, Opened, Opens, SeededEntropy};
use prost::Message as _;
use testkit::Backend;
use tonic::Code;

use crate::{
    fixture::{Files, NOW, Producer, Served, altered, decoded},
    grpc::{fields, reason},
    store::{append, verify, whole_rows},
};

testkit::on_each_backend!(
    p2_a_gap_is_listed_until_it_is_filled,
    p2_an_event_id_that_is_used_again_is_logged_once,
    p2_a_fork_freezes_its_producer_until_it_is_examined,
    p2_a_restored_producer_is_frozen_whatever_it_goes_on_with,
    p2_forks_that_were_announced_do_not_freeze,
    p2_a_freeze_outlives_a_restart,
    p2_a_lost_tail_shows_against_the_mark,
    p2_a_mark_that_the_log_reaches_is_no_news,
    a_frozen_producer_is_told_so_and_an_operator_lets_it_go_on,
    p2_a_freeze_that_nobody_examined_is_not_lifted,
    gaps_are_listed_page_by_page,
    a_sequence_beyond_all_numbers_hides_nothing,
);

/// A log on a clock that stands still until moved.
async fn open(backend: &Backend) -> (SqlStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW));
    // Another seed for each start: the log's own entries have ids too.
    static STARTS: AtomicU64 = AtomicU64::new(1_000);
    let entropy = Arc::new(SeededEntropy::new(STARTS.fetch_add(1, Ordering::SeqCst)));
    let store = SqlStore::open_with(backend.url(), Arc::<ManualClock>::clone(&clock), entropy).await;
    (store.unwrap(), clock)
}

async fn producer(store: &SqlStore, source: &str) -> audit::Producer {
    let producers = store.producers().await.unwrap();
    producers.into_iter().find(|(name, _)| name == source).unwrap().1
}

async fn gaps(store: &SqlStore) -> Vec<audit::Gap> {
    store.gaps(None, 1_000).await.unwrap()
}

/// The log's own entries about a producer: kinds and details, checked against their commitments.
async fn told(backend: &Backend, source: &str) -> Vec<(String, Detail)> {
    let mut told = Vec::new();
    for (entry, openings) in whole_rows(backend).await {
        let Some((chain, detail)) = openings else { continue };
        let change = Opened::new(&entry, (&chain).into()).unwrap();
        if change.record != format!("producers/{source}") {
            continue;
        }
        assert_eq!((&*change.source, change.sequence), ("audit", told.len() as u64 + 1));
        assert!(Opens::from(&detail).is_detail_of(&change.detail));
        told.push((change.kind, Detail::decode(&*detail.content).unwrap()));
    }
    told
}

async fn kinds(backend: &Backend, source: &str) -> Vec<String> {
    told(backend, source).await.into_iter().map(|(kind, _)| kind).collect()
}

async fn p2_a_gap_is_listed_until_it_is_filled(backend: Backend) {
    let (store, clock) = open(&backend).await;
    let mut intake = Producer::intake();
    let a: Vec<_> = (0..5).map(|_| intake.next("reports/a")).collect();
    // A gap filled by a later change of the group is not a gap.
    assert_eq!(
        append(&store, &[a[1].clone(), a[0].clone()]).await,
        [Err(AppendRefusal::OutOfOrder), Ok(0)]
    );
    assert_eq!(gaps(&store).await, []);

    for _ in 0..2 {
        clock.advance(60);
        assert_eq!(append(&store, &a[2..3]).await, [Err(AppendRefusal::OutOfOrder)]);
    }
    assert_eq!(append(&store, &a[4..]).await, [Err(AppendRefusal::OutOfOrder)]);
    let listed = gaps(&store).await;
    let [gap] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(
        (gap.kind, &*gap.record, &*gap.source),
        (audit::GapKind::Missing, "reports/a", "intake")
    );
    assert_eq!((gap.first_sequence, gap.last_sequence), (2, 4));
    assert_eq!((gap.since, gap.attempts), (NOW.plus_seconds(60), 3));
    assert_eq!(gap.event_id, decoded(&a[2]).event_id.to_string());

    // It closes with its last missing change, not before.
    assert_eq!(append(&store, &a[1..3]).await, [Ok(1), Ok(2)]);
    assert_eq!(gaps(&store).await.len(), 1);
    assert_eq!(append(&store, &a[3..]).await, [Ok(3), Ok(4)]);
    assert_eq!(gaps(&store).await, []);
    assert_eq!(kinds(&backend, "intake").await, [""; 0], "a gap is no security event");
    assert_eq!(verify(&store).await, 5);
}

async fn p2_an_event_id_that_is_used_again_is_logged_once(backend: Backend) {
    let (store, _) = open(&backend).await;
    let mut intake = Producer::intake();
    let first = intake.next("reports/a");
    assert_eq!(append(&store, std::slice::from_ref(&first)).await, [Ok(0)]);
    let again = altered(&first, |chain| chain.kind = "report.withdrawn".to_owned());
    for _ in 0..3 {
        assert_eq!(
            append(&store, std::slice::from_ref(&again)).await,
            [Err(AppendRefusal::EventIdReused)]
        );
    }
    let told = told(&backend, "intake").await;
    let [(kind, detail)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(kind, "producer.event-id-reused");
    let incident = detail.incident.as_ref().unwrap();
    assert_eq!(
        (&*incident.producer, &*incident.record),
        ("producers/intake", "reports/a")
    );
    assert_eq!(incident.event_id, decoded(&first).event_id.to_string());
    assert_eq!(incident.entry_hash, journal::entry_hash(&again.entry).to_vec());

    let listed = gaps(&store).await;
    assert_eq!(
        (listed.len(), listed[0].kind, listed[0].attempts),
        (1, audit::GapKind::EventIdReused, 3)
    );
    let intake_now = producer(&store, "intake").await;
    assert_eq!(
        (intake_now.incidents, intake_now.frozen),
        (1, None),
        "counted, and not frozen for it"
    );
    // Nor for a record without other changes.
    let elsewhere = altered(&first, |chain| chain.record = "reports/b".to_owned());
    assert_eq!(append(&store, &[elsewhere]).await, [Err(AppendRefusal::EventIdReused)]);
    assert_eq!(append(&store, &[first, intake.next("reports/a")]).await, [Ok(0), Ok(2)]);
    assert_eq!(verify(&store).await, 3);
}

fn examined() -> Unfreezing {
    Unfreezing {
        actor: api::event::Actor {
            system: "operator".to_owned(),
            ..Default::default()
        },
        reason: "the newest database is back".to_owned(),
        tolerate_seconds: 0,
        etag: String::new(),
        request: None,
    }
}

/// Unfreezes intake with its present etag.
async fn unfreeze(store: &SqlStore, unfreezing: Unfreezing) -> audit::Producer {
    let etag = producer(store, "intake").await.etag("intake");
    let unfreezing = Unfreezing { etag, ..unfreezing };
    match store.unfreeze("intake", unfreezing).await.unwrap() {
        Unfrozen::Done(producer) => *producer,
        other => panic!("{other:?}"),
    }
}

async fn p2_a_fork_freezes_its_producer_until_it_is_examined(backend: Backend) {
    let (store, clock) = open(&backend).await;
    let (mut intake, mut routing) = (Producer::intake(), Producer::new("routing", 2));
    let a: Vec<_> = (0..3).map(|_| intake.next("reports/a")).collect();
    assert_eq!(append(&store, &a).await, [Ok(0), Ok(1), Ok(2)]);

    // Sequence 2 again with another event; another record of the same group comes too late.
    intake.rewind(&a[0]);
    let (fork, b) = (intake.next("reports/a"), intake.next("reports/b"));
    assert_eq!(
        append(&store, &[fork.clone(), b.clone()]).await,
        [Err(AppendRefusal::BrokenLink), Err(AppendRefusal::Frozen)]
    );
    assert_eq!(producer(&store, "intake").await.frozen, Some(NOW));
    clock.advance(5);
    // None of it is appended, and the incident is logged once. Repeats of logged changes still get
    // their index, and other producers continue.
    assert_eq!(
        append(&store, &[b.clone(), fork.clone()]).await,
        [Err(AppendRefusal::Frozen); 2]
    );
    assert_eq!(append(&store, &a[..2]).await, [Ok(0), Ok(1)]);
    assert_eq!(append(&store, &[routing.next("cases/1")]).await, [Ok(4)]);
    let listed = gaps(&store).await;
    assert_eq!((listed.len(), listed[0].kind), (1, audit::GapKind::Fork));
    assert_eq!((listed[0].first_sequence, listed[0].examined), (2, None));

    let unfrozen = unfreeze(&store, examined()).await;
    assert_eq!(unfrozen.frozen, None);
    // The fork stays out without another freeze; everything else continues.
    assert_eq!(
        append(&store, &[fork, b]).await,
        [Err(AppendRefusal::BrokenLink), Ok(6)]
    );
    assert_eq!(producer(&store, "intake").await.frozen, None);
    assert_eq!(gaps(&store).await[0].examined, Some(NOW.plus_seconds(5)));
    let told = told(&backend, "intake").await;
    let [(frozen, what), (unfrozen, why)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&**frozen, &**unfrozen), ("producer.frozen", "producer.unfrozen"));
    assert_eq!((&*what.from_state, &*what.to_state), ("NORMAL", "FROZEN"));
    assert_eq!((&*why.from_state, &*why.to_state), ("FROZEN", "NORMAL"));
    assert_eq!(why.purpose, "the newest database is back");

    // With the producer's own past restored, its record continues and is no longer in dispute.
    intake.rewind(&a[2]);
    assert_eq!(append(&store, &[intake.next("reports/a")]).await, [Ok(7)]);
    assert_eq!(gaps(&store).await, []);
    assert_eq!(verify(&store).await, 8);
}

/// However a producer continues after its database was restored, the first contradictory change
/// freezes it.
async fn p2_a_restored_producer_is_frozen_whatever_it_goes_on_with(backend: Backend) {
    let (store, _) = open(&backend).await;
    for (i, goes_on) in [0, 1, 2, 3].into_iter().enumerate() {
        let mut intake = Producer::new("intake", 10 + i as u64);
        let record = format!("reports/{i}");
        let a: Vec<_> = (0..3).map(|_| intake.next(&record)).collect();
        assert!(append(&store, &a).await.iter().all(Result::is_ok));
        let fork = match goes_on {
            // The last change again, one in the middle, and the first.
            0 | 1 => {
                intake.rewind(&a[1 - goes_on]);
                intake.next(&record)
            }
            2 => Producer::new("intake", 20).next(&record),
            // The next change, linked to another predecessor than the log's.
            _ => altered(&intake.next(&record), |chain| chain.previous[7] ^= 1),
        };
        assert_eq!(
            append(&store, &[fork]).await,
            [Err(AppendRefusal::BrokenLink)],
            "{goes_on}"
        );
        assert!(producer(&store, "intake").await.frozen.is_some(), "{goes_on}");
        unfreeze(&store, examined()).await;
    }
    assert_eq!(producer(&store, "intake").await.incidents, 4);
    assert_eq!(verify(&store).await, 4 * (3 + 2));
}

async fn p2_forks_that_were_announced_do_not_freeze(backend: Backend) {
    let (store, clock) = open(&backend).await;
    let mut intake = Producer::intake();
    let first: Vec<_> = (0..3).map(|i| intake.next(&format!("reports/{i}"))).collect();
    append(&store, &first).await;
    let mut restored = Producer::new("intake", 9);
    let forks: Vec<_> = (0..3).map(|i| restored.next(&format!("reports/{i}"))).collect();
    append(&store, &forks[..1]).await;
    let tolerating = Unfreezing {
        tolerate_seconds: 3_600,
        ..examined()
    };
    unfreeze(&store, tolerating).await;
    assert_eq!(
        append(&store, &[forks[1].clone(), restored.next("reports/new")]).await,
        [Err(AppendRefusal::BrokenLink), Ok(5)]
    );
    clock.advance(3_601);
    assert_eq!(append(&store, &forks[1..2]).await, [Err(AppendRefusal::BrokenLink)]);
    assert_eq!(producer(&store, "intake").await.frozen, None, "that one is known");
    assert_eq!(append(&store, &forks[2..]).await, [Err(AppendRefusal::BrokenLink)]);
    assert!(producer(&store, "intake").await.frozen.is_some());
    assert_eq!(
        kinds(&backend, "intake").await,
        [
            "producer.frozen",
            "producer.unfrozen",
            "producer.fork-refused",
            "producer.frozen"
        ]
    );
}

async fn p2_a_freeze_outlives_a_restart(backend: Backend) {
    let (store, _) = open(&backend).await;
    let mut intake = Producer::intake();
    append(&store, &[intake.next("reports/a")]).await;
    append(&store, &[Producer::new("intake", 9).next("reports/a")]).await;
    let (store, _) = open(&backend).await;
    assert_eq!(
        append(&store, &[intake.next("reports/b")]).await,
        [Err(AppendRefusal::Frozen)]
    );
    unfreeze(&store, examined()).await;
    let (store, _) = open(&backend).await;
    assert_eq!(append(&store, &[intake.next("reports/c")]).await, [Ok(3)]);
}

/// The mark of a producer that had all of these acknowledged.
fn mark(changes: &[StateChange]) -> Mark {
    let mut delivered = journal::EventSet::default();
    delivered.extend(
        &changes
            .iter()
            .map(|change| journal::entry_hash(&change.entry))
            .collect::<Vec<_>>(),
    );
    Mark {
        delivered,
        committed: delivered.count,
        committed_hash: Some(delivered.hash),
    }
}

/// Lost as with a restored older database, whose own counts are older too. Rows deleted beneath the
/// counts show in the tree, not in marks.
async fn p2_a_lost_tail_shows_against_the_mark(backend: Backend) {
    let (store, clock) = open(&backend).await;
    let changes = Producer::intake().many(9);
    append(&store, &changes[..6]).await;
    // The producer says that audit acknowledged nine: three are gone.
    let standing = store.note_mark("intake", mark(&changes)).await.unwrap().standing;
    assert_eq!(standing, audit::Standing::Lost);
    store.review().await.unwrap();
    assert_eq!(kinds(&backend, "intake").await, [""; 0], "not before it has lasted");
    clock.advance(31);
    for _ in 0..2 {
        store.review().await.unwrap();
    }
    let told_then = told(&backend, "intake").await;
    let [(kind, detail)] = &told_then[..] else {
        panic!("{told_then:?}")
    };
    assert_eq!((&**kind, &*detail.to_state), ("producer.mark-missed", "LOST"));
    let incident = detail.incident.as_ref().unwrap();
    assert_eq!((incident.held_count, incident.committed_count), (6, 9));

    // It survives a restart, and ends with a satisfied mark.
    let (store, clock) = open(&backend).await;
    clock.advance(60);
    assert_eq!(producer(&store, "intake").await.standing, audit::Standing::Lost);
    append(&store, &changes[6..]).await;
    let standing = store.note_mark("intake", mark(&changes)).await.unwrap().standing;
    assert_eq!(standing, audit::Standing::Complete);
    assert_eq!(
        kinds(&backend, "intake").await,
        ["producer.mark-missed", "producer.mark-reached"]
    );
    assert_eq!(verify(&store).await, 9 + 2 + 1, "and its mark");
}

async fn p2_a_mark_that_the_log_reaches_is_no_news(backend: Backend) {
    let (store, clock) = open(&backend).await;
    let changes = Producer::intake().many(300);
    let mut head = 0;
    for n in (50..=300).step_by(50) {
        append(&store, &changes[n - 50..n]).await;
        let mut mark = mark(&changes[..n]);
        // Further changes wait, and come with the next append.
        mark.committed = (n as u64 + 20).min(300);
        mark.committed_hash = None;
        assert_eq!(
            store.note_mark("intake", mark).await.unwrap().standing,
            audit::Standing::Complete
        );
        clock.advance(20);
        store.review().await.unwrap();
        let size = store.head().await.unwrap().size;
        // Marks are logged at most once a minute, the first at once.
        let marks = u64::from([50, 200].contains(&n));
        assert_eq!(
            size,
            head + 50 + marks,
            "{n}: a mark that is no news does not make the log grow"
        );
        head = size;
    }
    // The same number but other changes: one was delivered twice here and never there.
    let mut other = changes.clone();
    other[7] = other[8].clone();
    let standing = store.note_mark("intake", mark(&other)).await.unwrap().standing;
    assert_eq!(standing, audit::Standing::Different);
    // The producer's database was restored.
    let standing = store.note_mark("intake", mark(&changes[..200])).await.unwrap().standing;
    assert_eq!(standing, audit::Standing::Ahead);
    // A waiting change that never comes.
    let mut waiting = mark(&changes);
    waiting.committed = 301;
    waiting.committed_hash = None;
    assert_eq!(
        store.note_mark("intake", waiting).await.unwrap().standing,
        audit::Standing::Complete
    );
    clock.advance(31);
    assert_eq!(
        store.note_mark("intake", waiting).await.unwrap().standing,
        audit::Standing::Late
    );
}

async fn list(log: &Served, request: ListGapsRequest) -> ListGapsResponse {
    log.client("inspector").list_gaps(request).await.unwrap().into_inner()
}

async fn a_frozen_producer_is_told_so_and_an_operator_lets_it_go_on(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    log.append(&[intake.next("reports/a")]).await;
    let fork = Producer::new("intake", 9).next("reports/a");
    assert_eq!(
        log.append(std::slice::from_ref(&fork)).await[0].outcome(),
        ChangeOutcome::BrokenLink
    );

    let changes = vec![intake.next("reports/b")];
    let mut client = log.inbound("intake");
    let status = client
        .append_changes(AppendChangesRequest {
            changes: changes.clone(),
        })
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::FailedPrecondition, "WRONG_STATE")
    );
    assert!(status.message().contains("remit log unfreeze"), "{status:?}");

    let listed = list(&log, ListGapsRequest::default()).await;
    let [
        Gap {
            record,
            producer,
            event_id,
            ..
        },
    ] = &listed.gaps[..]
    else {
        panic!("{listed:?}")
    };
    assert_eq!(listed.gaps[0].kind(), GapKind::Fork);
    assert_eq!(
        (&**record, &**producer, event_id),
        ("reports/a", "producers/intake", &decoded(&fork).event_id.to_string())
    );
    let [
        ProducerMessage {
            name,
            freeze_time,
            etag,
            ..
        },
    ] = &listed.producers[..]
    else {
        panic!("{listed:?}")
    };
    assert_eq!((&**name, *freeze_time), ("producers/intake", Some(NOW.to_proto())));

    let request = UnfreezeProducerRequest {
        name: "producers/intake".to_owned(),
        reason: "examined".to_owned(),
        etag: etag.clone(),
        ..UnfreezeProducerRequest::default()
    };
    let status = log
        .client("intake")
        .unfreeze_producer(request.clone())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "not by itself");
    let mut inspector = log.client("inspector");
    let long = "x".repeat(1_001);
    for (name, why, tolerate, wrong) in [
        ("producers/audit", "why", 0, &["name"][..]),
        ("intake", " ", 0, &["name", "reason"]),
        ("producers/intake", &long, 31 * 24 * 3_600, &["reason", "tolerate"]),
        ("producers/intake", "why", -1, &["tolerate"]),
    ] {
        let request = UnfreezeProducerRequest {
            name: name.to_owned(),
            reason: why.to_owned(),
            tolerate: Some(prost_types::Duration {
                seconds: tolerate,
                nanos: 0,
            }),
            ..request.clone()
        };
        let status = inspector.unfreeze_producer(request).await.unwrap_err();
        assert_eq!(fields(&status), wrong);
    }
    let unseen = UnfreezeProducerRequest {
        etag: String::new(),
        request_id: "1".to_owned(),
        ..request.clone()
    };
    let status = inspector.unfreeze_producer(unseen).await.unwrap_err();
    assert_eq!(fields(&status), ["etag", "request_id"]);
    let unknown = UnfreezeProducerRequest {
        name: "producers/routing".to_owned(),
        ..request.clone()
    };
    assert_eq!(
        inspector.unfreeze_producer(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
    let producer = inspector
        .unfreeze_producer(request)
        .await
        .unwrap()
        .into_inner()
        .producer
        .unwrap();
    assert_eq!((producer.freeze_time, producer.security_event_count), (None, 1));
    assert_eq!(log.append(&changes).await[0].index, 3);
    // The log's own entries are signed like all others.
    log.published(4).await;
    log.stop().await;
}

/// The operator examined one freeze. Neither that request nor its repeat lifts another.
async fn p2_a_freeze_that_nobody_examined_is_not_lifted(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    log.append(&[intake.next("reports/a"), intake.next("reports/b")]).await;
    let mut restored = Producer::new("intake", 9);
    log.append(&[restored.next("reports/a")]).await;
    let seen = async || list(&log, ListGapsRequest::default()).await.producers.remove(0);
    let first = seen().await;
    assert!(first.freeze_time.is_some());
    let mut inspector = log.client("inspector");
    let request = |etag: &str, id: u128| UnfreezeProducerRequest {
        name: "producers/intake".to_owned(),
        reason: "examined".to_owned(),
        etag: etag.to_owned(),
        request_id: uuid::Uuid::from_u128(id).to_string(),
        ..UnfreezeProducerRequest::default()
    };
    let answered = inspector
        .unfreeze_producer(request(&first.etag, 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(seen().await.freeze_time, None);
    // The answer is lost, and then the producer's past changes again.
    log.append(&[restored.next("reports/b")]).await;
    let second = seen().await;
    assert!(second.freeze_time.is_some() && second.etag != first.etag, "{second:?}");
    let repeated = inspector
        .unfreeze_producer(request(&first.etag, 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(repeated, answered, "the first answer");
    let refused = inspector.unfreeze_producer(request(&first.etag, 2)).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::Aborted, "ETAG_MISMATCH"));
    let refused = inspector.unfreeze_producer(request(&second.etag, 1)).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*reason(&refused)),
        (Code::AlreadyExists, "REQUEST_ID_REUSED")
    );
    assert_eq!(seen().await, second, "still frozen");
    inspector.unfreeze_producer(request(&second.etag, 3)).await.unwrap();
    assert_eq!(seen().await.freeze_time, None);
    log.stop().await;
}

async fn gaps_are_listed_page_by_page(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    let late: Vec<_> = (0..5)
        .map(|i| {
            let record = format!("reports/{i}");
            let _missing = intake.next(&record);
            intake.next(&record)
        })
        .collect();
    log.append(&late).await;
    let mut request = ListGapsRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = list(&log, request.clone()).await;
        assert_eq!(page.producers.is_empty(), !request.page_token.is_empty());
        pages.push(page.gaps.into_iter().map(|gap| gap.record).collect::<Vec<_>>());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(
        pages,
        [
            vec!["reports/0", "reports/1"],
            vec!["reports/2", "reports/3"],
            vec!["reports/4"]
        ]
    );
    let garbage = ListGapsRequest {
        page_token: "garbage".to_owned(),
        page_size: -1,
    };
    let status = log.client("inspector").list_gaps(garbage).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let set = |count| {
        Some(EventSet {
            count,
            hash: vec![0; 32].into(),
        })
    };
    let request = RecordMarkRequest {
        delivered: set(7),
        committed: set(7),
    };
    let status = log.inbound("inspector").record_mark(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let response = log.inbound("intake").record_mark(request).await.unwrap().into_inner();
    assert_eq!(response.standing(), Standing::Lost);
    let producers = list(&log, ListGapsRequest::default()).await.producers;
    let intake = producers
        .iter()
        .find(|producer| producer.name == "producers/intake")
        .unwrap();
    assert_eq!(
        (
            intake.standing(),
            intake.delivered_count,
            intake.held.as_ref().unwrap().count
        ),
        (Standing::Lost, 7, 0)
    );
    log.stop().await;
}

/// One change with a huge sequence, from a faulty producer: gaps and status keep answering.
async fn a_sequence_beyond_all_numbers_hides_nothing(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let change = Producer::intake().next("reports/a");
    let at = |sequence| altered(&change, |chain| (chain.sequence, chain.previous) = (sequence, [7; 32]));
    const LAST: u64 = i64::MAX.cast_unsigned();
    for (sequence, outcome) in [
        (u64::MAX, ChangeOutcome::Malformed),
        (LAST + 1, ChangeOutcome::Malformed),
        (LAST, ChangeOutcome::OutOfOrder),
        (7, ChangeOutcome::OutOfOrder),
    ] {
        assert_eq!(log.append(&[at(sequence)]).await[0].outcome(), outcome, "{sequence}");
        let listed = log.client("inspector").list_gaps(ListGapsRequest::default()).await;
        let listed = listed.unwrap().into_inner().gaps;
        let expected = (outcome == ChangeOutcome::OutOfOrder).then_some((1, i64::MAX - 1));
        let found = listed.iter().map(|gap| (gap.first_sequence, gap.last_sequence));
        assert_eq!(found.collect::<Vec<_>>(), Vec::from_iter(expected), "{sequence}");
        let status = log.operations("inspector").get_status(GetStatusRequest {}).await;
        let status = status.unwrap().into_inner().log.unwrap();
        assert_eq!(status.gap_count, i64::from(expected.is_some()), "{sequence}");
    }
    log.stop().await;
}
