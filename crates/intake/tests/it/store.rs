//! The contract of `Store`, on each backend.

use std::sync::Arc;

use api::event::CaseState;
use intake::{
    receipt::Lookup,
    state::State,
    store::{Accepted, Revealed, Store as _},
};
use journal::{Arrival, Discontinuity, Head, entry_hash};
use testkit::Backend;

use crate::fixture::{NOW, acceptance, case_news, count, open, prepared};

testkit::on_each_backend!(
    p7_a_reveal_is_a_change_of_the_report_and_keeps_its_words_here,
    a_repeated_reveal_is_recorded_once,
    p1_a_report_and_its_event_are_recorded_together,
    p1_a_transaction_that_fails_leaves_nothing,
    p1_a_commit_that_only_seemed_to_fail_is_recognised,
    a_repeated_request_gets_the_first_answer,
    a_repeat_inside_one_batch_is_found,
    callers_that_race_with_one_request_id_get_one_report,
    request_ids_are_forgotten_after_their_window,
    p2_case_changes_are_taken_once_and_in_order,
    p2_a_refused_change_keeps_its_neighbours,
    p2_every_chain_is_unbroken,
    a_reopened_database_has_everything,
);

async fn p1_a_report_and_its_event_are_recorded_together(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let batch: Vec<_> = (0..300).map(|_| acceptance(&*entropy, None, 1)).collect();
    let accepted = store.accept(&prepared(&batch)).await.unwrap();
    assert_eq!(accepted.len(), 300);
    for (acceptance, accepted) in batch.iter().zip(accepted) {
        assert_eq!(
            accepted,
            Accepted::Report {
                report: acceptance.report,
                accept_time: NOW
            }
        );
        let changes = store.changes(acceptance.report).await.unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].entry, acceptance.change.entry);
        assert!(!changes[0].delivered, "nobody has delivered it yet");
        let stored = store.report(acceptance.report).await.unwrap().unwrap();
        assert_eq!(
            (stored.state, stored.content.as_slice()),
            (State::Accepted, b"content".as_slice())
        );
        assert!(
            store
                .report_by_receipt(Lookup {
                    ids: (acceptance.report, acceptance.report),
                    hash: acceptance.receipt_hash
                })
                .await
                .unwrap()
                .is_some()
        );
    }
    assert_eq!(
        count(&db, "SELECT count(*) FROM outbox WHERE consumer = 'routing'").await,
        300
    );
    assert_eq!(
        count(&db, "SELECT count(*) FROM outbox WHERE consumer = 'audit'").await,
        300
    );
    assert!(
        store
            .report_by_receipt(Lookup {
                ids: (batch[0].report, batch[299].report),
                hash: [0; 32]
            })
            .await
            .unwrap()
            .is_none()
    );
}

async fn p1_a_transaction_that_fails_leaves_nothing(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let good = acceptance(&*entropy, None, 1);
    // Its event exists already under another report: the journal refuses it after the report was
    // written.
    let mut bad = acceptance(&*entropy, None, 1);
    bad.change = good.change.clone();
    store.accept(&prepared(std::slice::from_ref(&good))).await.unwrap();
    store.accept(&prepared(std::slice::from_ref(&bad))).await.unwrap_err();
    assert!(store.report(bad.report).await.unwrap().is_none());
    for table in [
        "SELECT count(*) FROM reports",
        "SELECT count(*) FROM standings",
        "SELECT count(*) FROM journal",
    ] {
        assert_eq!(count(&db, table).await, 1, "{table}");
    }
}

async fn a_repeated_request_gets_the_first_answer(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let first = acceptance(&*entropy, Some(7), 1);
    let repeat = acceptance(&*entropy, Some(7), 1);
    let other = acceptance(&*entropy, Some(7), 2);
    let mut elsewhere = acceptance(&*entropy, Some(7), 2);
    elsewhere.caller = "bank".to_owned();
    let expected = Accepted::Report {
        report: first.report,
        accept_time: NOW,
    };
    assert_eq!(store.accept(&prepared(&[first])).await.unwrap(), [expected]);
    assert_eq!(store.accept(&prepared(&[repeat])).await.unwrap(), [expected]);
    assert_eq!(
        store.accept(&prepared(&[other])).await.unwrap(),
        [Accepted::RequestIdReused]
    );
    assert_eq!(count(&db, "SELECT count(*) FROM journal").await, 1);
    let report = elsewhere.report;
    assert_eq!(
        store.accept(&prepared(&[elsewhere])).await.unwrap(),
        [Accepted::Report {
            report,
            accept_time: NOW
        }]
    );
}

async fn a_repeat_inside_one_batch_is_found(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let batch = [
        acceptance(&*entropy, Some(7), 1),
        acceptance(&*entropy, Some(7), 1),
        acceptance(&*entropy, Some(8), 1),
        acceptance(&*entropy, Some(7), 2),
    ];
    let accepted = store.accept(&prepared(&batch)).await.unwrap();
    let seven = accepted[0];
    assert!(matches!(seven, Accepted::Report { .. }));
    assert_eq!(accepted[1], seven);
    assert_eq!(
        accepted[2],
        Accepted::Report {
            report: batch[2].report,
            accept_time: NOW
        }
    );
    assert_eq!(accepted[3], Accepted::RequestIdReused);
    assert_eq!(count(&db, "SELECT count(*) FROM reports").await, 2);
}

async fn callers_that_race_with_one_request_id_get_one_report(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, batch) = (
                Arc::clone(&store),
                [acceptance(&*entropy, Some(7), 1), acceptance(&*entropy, Some(8), 1)],
            );
            tokio::spawn(async move { store.accept(&prepared(&batch)).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(count(&db, "SELECT count(*) FROM reports").await, 2);
    assert_eq!(count(&db, "SELECT count(*) FROM journal").await, 2);
}

async fn request_ids_are_forgotten_after_their_window(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    store
        .accept(&prepared(&[acceptance(&*entropy, Some(7), 1)]))
        .await
        .unwrap();
    assert_eq!(store.forget_requests(NOW).await.unwrap(), 0, "still inside");
    assert_eq!(store.forget_requests(NOW.plus_seconds(1)).await.unwrap(), 1);
    assert!(matches!(
        store
            .accept(&prepared(&[acceptance(&*entropy, Some(7), 2)]))
            .await
            .unwrap()[..],
        [Accepted::Report { .. }]
    ));
    assert_eq!(count(&db, "SELECT count(*) FROM reports").await, 2);
}

async fn p2_case_changes_are_taken_once_and_in_order(backend: Backend) {
    let (_, store, entropy) = open(backend.url()).await;
    let report = acceptance(&*entropy, None, 1);
    let id = report.report;
    store.accept(&prepared(&[report])).await.unwrap();
    let mut head = Head::default();
    let opened = case_news(&*entropy, "cases/a", &mut head, &[id], CaseState::Assigned);
    let acknowledged = case_news(&*entropy, "cases/a", &mut head, &[id], CaseState::InProgress);

    let take = async |news| store.record_case_changes(&[news], NOW).await.unwrap()[0];
    assert_eq!(
        take(acknowledged.clone()).await,
        Arrival::Refused(Discontinuity::OutOfOrder)
    );
    assert_eq!(take(opened.clone()).await, Arrival::New);
    assert_eq!(take(opened.clone()).await, Arrival::Repeated);
    assert_eq!(take(acknowledged.clone()).await, Arrival::New);
    assert_eq!(take(opened).await, Arrival::Repeated);
    assert_eq!(take(acknowledged).await, Arrival::Repeated);

    let stored = store.report(id).await.unwrap().unwrap();
    assert_eq!(stored.state, State::Routed);
    let case = stored.case.unwrap();
    assert!(case.acknowledged);
    assert_eq!(case.lead, "agencies/police-450100");
    let kinds: Vec<_> = store
        .changes(id)
        .await
        .unwrap()
        .into_iter()
        .map(|change| change.kind)
        .collect();
    assert_eq!(
        kinds,
        ["report.accepted", "report.routed"],
        "one change of the report, however often it was told"
    );
}

async fn p2_a_refused_change_keeps_its_neighbours(backend: Backend) {
    let (_, store, entropy) = open(backend.url()).await;
    let reports: Vec<_> = (0..3).map(|_| acceptance(&*entropy, None, 1)).collect();
    let ids: Vec<_> = reports.iter().map(|report| report.report).collect();
    store.accept(&prepared(&reports)).await.unwrap();
    let first = case_news(
        &*entropy,
        "cases/a",
        &mut Head::default(),
        &ids[..1],
        CaseState::Assigned,
    );
    let mut skipped = Head {
        sequence: 4,
        hash: [1; 32],
        time: NOW,
    };
    let gap = case_news(&*entropy, "cases/b", &mut skipped, &ids[1..2], CaseState::Assigned);
    let third = case_news(
        &*entropy,
        "cases/c",
        &mut Head::default(),
        &ids[2..],
        CaseState::Advised,
    );
    // Another past of a known case: its sequence continues, its link does not.
    let mut forked = Head {
        sequence: 1,
        hash: [1; 32],
        time: NOW,
    };
    let fork = case_news(&*entropy, "cases/a", &mut forked, &ids[..1], CaseState::Closed);

    let arrivals = store
        .record_case_changes(&[first, gap, third, fork], NOW)
        .await
        .unwrap();
    assert_eq!(
        arrivals,
        [
            Arrival::New,
            Arrival::Refused(Discontinuity::OutOfOrder),
            Arrival::New,
            Arrival::Refused(Discontinuity::BrokenLink)
        ]
    );
    let mut states = Vec::new();
    for id in ids {
        states.push(store.report(id).await.unwrap().unwrap().state);
    }
    assert_eq!(states, [State::Routed, State::Accepted, State::Advised]);
}

async fn p2_every_chain_is_unbroken(backend: Backend) {
    let (_, store, entropy) = open(backend.url()).await;
    let report = acceptance(&*entropy, None, 1);
    let id = report.report;
    store.accept(&prepared(&[report])).await.unwrap();
    let mut head = Head::default();
    // The machine's clock goes back an hour: the record's times do not.
    for (state, now) in [
        (CaseState::Assigned, NOW),
        (CaseState::Closed, NOW.plus_seconds(-3_600)),
        (CaseState::Assigned, NOW),
    ] {
        let news = case_news(&*entropy, "cases/a", &mut head, &[id], state);
        assert_eq!(store.record_case_changes(&[news], now).await.unwrap(), [Arrival::New]);
    }
    let changes = store.changes(id).await.unwrap();
    assert_eq!(changes.len(), 4);
    let mut previous = [0; 32];
    let mut time = changes[0].time;
    for (change, sequence) in changes.iter().zip(1..) {
        // Rebuilt from the rows, it matches the entry's commitment.
        let entry = journal::Opened::new(&change.entry, (&change.chain).into()).unwrap();
        assert_eq!((entry.sequence, entry.previous), (sequence, previous));
        assert!(change.time >= time, "the record's time, whatever the clock says");
        (previous, time) = (entry_hash(&change.entry), change.time);
    }
}

async fn a_reopened_database_has_everything(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let report = acceptance(&*entropy, Some(7), 1);
    let id = report.report;
    store.accept(&prepared(&[report])).await.unwrap();
    db.close().await;
    let (_, store, entropy) = open(backend.url()).await;
    assert!(store.report(id).await.unwrap().is_some());
    assert_eq!(
        store
            .accept(&prepared(&[acceptance(&*entropy, Some(7), 1)]))
            .await
            .unwrap(),
        [Accepted::Report {
            report: id,
            accept_time: NOW
        }]
    );
}

async fn p1_a_commit_that_only_seemed_to_fail_is_recognised(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    // The connection broke after the commit: the same acceptance is tried again, with and without a
    // request id.
    for request_id in [None, Some(7)] {
        let batch = [acceptance(&*entropy, request_id, 1)];
        let first = store.accept(&prepared(&batch)).await.unwrap();
        assert_eq!(store.accept(&prepared(&batch)).await.unwrap(), first);
    }
    assert_eq!(count(&db, "SELECT count(*) FROM journal").await, 2);
}

async fn a_repeated_reveal_is_recorded_once(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let (first, second) = (acceptance(&*entropy, None, 1), acceptance(&*entropy, None, 2));
    let ids = [first.report, second.report];
    store.accept(&prepared(&[first, second])).await.unwrap();
    let reveal = |report, fingerprint: u8, system: &str| intake::store::Reveal {
        report,
        purpose: "contact-reporter",
        justification: "to ask for the invoice".to_owned(),
        system: system.to_owned(),
        agency: names::AgencyId::new("police-450100").ok(),
        actor: api::event::Actor::default(),
        commitment_key: [5; 32],
        traceparent: String::new(),
        request: Some((uuid::Uuid::from_u128(9), [fingerprint; 32])),
    };
    let asked = reveal(ids[0], 1, "desk");
    let (once, twice) = tokio::join!(store.reveal(&asked, NOW), store.reveal(&asked, NOW));
    let entry = |revealed| match revealed {
        Revealed::Report(_, change) => change.entry,
        other => panic!("{other:?}"),
    };
    assert_eq!(entry(once.unwrap()), entry(twice.unwrap()));
    assert_eq!(count(&db, "SELECT count(*) FROM reveals").await, 1);
    // The same id for another report, or by another caller.
    for other in [reveal(ids[0], 2, "desk"), reveal(ids[1], 3, "desk")] {
        let refused = store.reveal(&other, NOW).await.unwrap();
        assert!(matches!(refused, Revealed::RequestIdReused), "{refused:?}");
    }
    entry(store.reveal(&reveal(ids[0], 1, "another"), NOW).await.unwrap());
    assert_eq!(count(&db, "SELECT count(*) FROM reveals").await, 2);
    // After its window it is a new request.
    store.forget_requests(NOW.plus_seconds(1)).await.unwrap();
    entry(store.reveal(&asked, NOW).await.unwrap());
    assert_eq!(count(&db, "SELECT count(*) FROM reveals").await, 3);
}

async fn p7_a_reveal_is_a_change_of_the_report_and_keeps_its_words_here(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let accepted = acceptance(&*entropy, None, 1);
    let id = accepted.report;
    store.accept(&prepared(&[accepted])).await.unwrap();
    let reveal = |report| intake::store::Reveal {
        report,
        purpose: "contact-reporter",
        justification: "to ask for the invoice".to_owned(),
        system: "desk".to_owned(),
        agency: names::AgencyId::new("police-450100").ok(),
        actor: api::event::Actor::default(),
        commitment_key: [5; 32],
        traceparent: String::new(),
        request: None,
    };
    // A missing one leaves nothing behind.
    let nowhere = store.reveal(&reveal(uuid::Uuid::from_u128(7)), NOW).await;
    assert!(matches!(nowhere.unwrap(), Revealed::NotFound));
    assert_eq!(count(&db, "SELECT count(*) FROM reveals").await, 0);

    for sequence in 2..=3 {
        let Revealed::Report(report, change) = store.reveal(&reveal(id), NOW).await.unwrap() else {
            panic!("it is there")
        };
        let opened = journal::Opened::new(&change.entry, (&change.chain).into()).unwrap();
        assert_eq!((report.report, opened.sequence), (id, sequence));
        assert_eq!(report.state, State::Accepted, "the state stays");
    }
    let kinds: Vec<_> = store
        .changes(id)
        .await
        .unwrap()
        .into_iter()
        .map(|change| change.kind)
        .collect();
    assert_eq!(kinds, ["report.accepted", "report.revealed", "report.revealed"]);
    assert_eq!(
        count(
            &db,
            "SELECT count(*) FROM reveals WHERE justification = 'to ask for the invoice'"
        )
        .await,
        2
    );
    // For routing, which needs the sequence, and for audit.
    assert_eq!(count(&db, "SELECT count(*) FROM outbox").await, 6);
}
