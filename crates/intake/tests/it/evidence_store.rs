//! The contract of `EvidenceStore`, on each backend.

use std::{collections::BTreeSet, sync::Arc};

use api::event::Actor;
use api::event::{Detail, StateChange};
use intake::{
    evidence::{State, Unattachable, name},
    store::{
        Accepted, Prepared, Sender, SqlStore, Store as _,
        evidence::{Attachment, Download, EvidenceStore as _, Tally, Upload, Uploaded},
    },
};
use journal::{Entropy, Opened, Time, entry_hash};
use prost::Message as _;
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{NOW, acceptance, count, open};

testkit::on_each_backend!(
    p1_evidence_and_its_event_are_recorded_together,
    a_repeated_upload_gets_the_first_answer,
    p1_a_report_takes_its_evidence_with_it_or_is_not_recorded,
    p1_evidence_that_cannot_be_attached_leaves_nothing,
    a_repeated_report_has_its_evidence_already,
    one_of_those_that_race_for_a_file_gets_it,
    p2_the_chain_of_a_file_is_unbroken,
    p7_a_download_is_a_change_and_keeps_its_words_here,
    p1_what_no_report_named_expires_once,
    request_ids_of_uploads_are_forgotten_after_their_window,
);

const DAY: i64 = 24 * 60 * 60;

fn hotline() -> Sender {
    Sender {
        system: "hotline".to_owned(),
        agency: names::AgencyId::new("content-regulator-CN").ok(),
    }
}

pub fn upload(entropy: &dyn Entropy, request_id: Option<u128>, hash: u8) -> Upload {
    Upload {
        id: journal::ordered_id(NOW, entropy),
        sender: hotline(),
        request: request_id.map(|id| (Uuid::from_u128(id), [hash; 32])),
        size: 7,
        sha256: [hash; 32],
        declared_type: "text/plain".to_owned(),
        sniffed_type: "application/octet-stream",
        actor: Actor::default(),
        commitment_key: [5; 32],
        traceparent: String::new(),
    }
}

async fn uploaded(store: &SqlStore, entropy: &dyn Entropy) -> Uuid {
    let upload = upload(entropy, None, 1);
    store.record_upload(&upload, NOW).await.unwrap();
    upload.id
}

/// A report that names files.
fn naming(entropy: &dyn Entropy, request_id: Option<u128>, files: &[Uuid]) -> (Prepared, Attachment) {
    let acceptance = acceptance(entropy, request_id, 1);
    let attachment = Attachment {
        files: files.iter().map(|id| (*id, Actor::default())).collect(),
        sender: hotline(),
        accepted_by: acceptance.change.event_id,
        traceparent: String::new(),
    };
    (acceptance.into(), attachment)
}

fn download(id: Uuid) -> Download {
    Download {
        id,
        purpose: "handle-report",
        justification: "to read the contract".to_owned(),
        by: hotline(),
        actor: Actor::default(),
        commitment_key: [5; 32],
        traceparent: String::new(),
    }
}

async fn kinds(db: &sql::Db, id: Uuid) -> Vec<String> {
    let changes = journal::changes_of(db, &name(id), "audit").await.unwrap();
    changes.into_iter().map(|change| change.kind).collect()
}

async fn rows(db: &sql::Db) -> i64 {
    count(
        db,
        "SELECT (SELECT count(*) FROM reports) + (SELECT count(*) FROM evidence) + (SELECT count(*) FROM journal) + \
         (SELECT count(*) FROM outbox)",
    )
    .await
}

async fn p1_evidence_and_its_event_are_recorded_together(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let upload = upload(&*entropy, None, 1);
    let Uploaded::Evidence(stored) = store.record_upload(&upload, NOW).await.unwrap() else {
        panic!("it is new");
    };
    assert_eq!(store.evidence(upload.id).await.unwrap().as_ref(), Some(&stored));
    assert_eq!(
        (stored.state, stored.upload_time, stored.report),
        (State::Uploaded, NOW, None)
    );
    assert_eq!(stored.sha256, [1; 32]);
    assert_eq!(kinds(&db, upload.id).await, ["evidence.uploaded"]);
    assert_eq!(
        count(&db, "SELECT count(*) FROM outbox WHERE consumer = 'audit'").await,
        1
    );
    assert_eq!(
        count(&db, "SELECT count(*) FROM outbox").await,
        1,
        "routing is not told"
    );

    // The connection broke after the commit: recording the same upload again leaves one row.
    let again = store.record_upload(&upload, NOW.plus_seconds(1)).await.unwrap();
    assert_eq!(again, Uploaded::Evidence(stored));
    assert_eq!(rows(&db).await, 3);
    assert_eq!(store.evidence(Uuid::from_u128(7)).await.unwrap(), None);
}

async fn a_repeated_upload_gets_the_first_answer(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let first = upload(&*entropy, Some(7), 1);
    let answer = store.record_upload(&first, NOW).await.unwrap();
    let repeat = upload(&*entropy, Some(7), 1);
    assert_eq!(store.record_upload(&repeat, NOW).await.unwrap(), answer);
    let other = upload(&*entropy, Some(7), 2);
    assert_eq!(
        store.record_upload(&other, NOW).await.unwrap(),
        Uploaded::RequestIdReused
    );
    assert_eq!(rows(&db).await, 3);
    let mut elsewhere = upload(&*entropy, Some(7), 2);
    elsewhere.sender.system = "bank".to_owned();
    assert!(matches!(
        store.record_upload(&elsewhere, NOW).await.unwrap(),
        Uploaded::Evidence(stored) if stored.id == elsewhere.id
    ));
}

async fn p1_a_report_takes_its_evidence_with_it_or_is_not_recorded(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let files = [uploaded(&store, &*entropy).await, uploaded(&store, &*entropy).await];
    let (report, attachment) = naming(&*entropy, None, &files);
    let Ok(Accepted::Report { report: id, .. }) = store.accept_with(&report, &attachment, NOW).await.unwrap() else {
        panic!("it is accepted");
    };
    assert!(store.report(id).await.unwrap().is_some());
    for file in files {
        let stored = store.evidence(file).await.unwrap().unwrap();
        assert_eq!((stored.state, stored.report), (State::Attached, Some(id)));
        let changes = journal::changes_of(&db, &name(file), "audit").await.unwrap();
        assert_eq!(changes[1].kind, "evidence.attached");
        let rows = db.fetch(
            "SELECT payload FROM outbox WHERE consumer = 'audit' AND record = $1",
            vec![name(file).into()],
        );
        let causes: Vec<_> = rows
            .await
            .unwrap()
            .iter()
            .map(|row| StateChange::decode(&*row.get::<Vec<u8>>("payload").unwrap()).unwrap())
            .filter(|change| change.entry == changes[1].entry)
            .map(|change| Detail::decode(change.detail.unwrap().content).unwrap().caused_by)
            .collect();
        assert_eq!(causes, [attachment.accepted_by.to_string()]);
    }
    assert_eq!(
        count(&db, "SELECT count(*) FROM outbox WHERE consumer = 'routing'").await,
        1,
        "of the report alone"
    );

    // Its event exists already, so the journal refuses it after everything else was written.
    let file = uploaded(&store, &*entropy).await;
    let mut broken = acceptance(&*entropy, None, 1);
    let sound = acceptance(&*entropy, None, 1);
    broken.change = sound.change.clone();
    store.accept(&[sound.into()]).await.unwrap();
    let before = rows(&db).await;
    let (_, attachment) = naming(&*entropy, None, &[file]);
    let report = broken.report;
    store.accept_with(&broken.into(), &attachment, NOW).await.unwrap_err();
    assert_eq!(rows(&db).await, before);
    assert!(store.report(report).await.unwrap().is_none());
    assert_eq!(store.evidence(file).await.unwrap().unwrap().state, State::Uploaded);
}

async fn p1_evidence_that_cannot_be_attached_leaves_nothing(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let good = uploaded(&store, &*entropy).await;
    let others = Upload {
        sender: Sender {
            system: "bank".to_owned(),
            agency: None,
        },
        ..upload(&*entropy, None, 1)
    };
    store.record_upload(&others, NOW).await.unwrap();
    let attached = uploaded(&store, &*entropy).await;
    let (report, attachment) = naming(&*entropy, None, &[attached]);
    store.accept_with(&report, &attachment, NOW).await.unwrap().unwrap();
    let due = upload(&*entropy, None, 1);
    store.record_upload(&due, NOW.plus_seconds(-DAY)).await.unwrap();
    let expired = upload(&*entropy, None, 1);
    store.record_upload(&expired, NOW.plus_seconds(-2 * DAY)).await.unwrap();
    assert_eq!(store.expire(NOW.plus_seconds(-2 * DAY), NOW).await.unwrap(), 1);

    let files = [good, Uuid::from_u128(7), others.id, attached, due.id, expired.id];
    let wrong = vec![
        (1, Unattachable::Unknown),
        (2, Unattachable::Unknown),
        (3, Unattachable::Attached),
        (4, Unattachable::Expired),
        (5, Unattachable::Expired),
    ];
    assert_eq!(store.unattachable(&files, &hotline(), NOW).await.unwrap(), wrong);
    let before = rows(&db).await;
    let (report, attachment) = naming(&*entropy, Some(7), &files);
    assert_eq!(store.accept_with(&report, &attachment, NOW).await.unwrap(), Err(wrong));
    assert_eq!(rows(&db).await, before);
    assert_eq!(store.evidence(good).await.unwrap().unwrap().state, State::Uploaded);

    // Another system of the same agency is the same sender.
    let (report, mut attachment) = naming(&*entropy, None, &[good]);
    attachment.sender.system = "hotline-archive".to_owned();
    assert!(store.accept_with(&report, &attachment, NOW).await.unwrap().is_ok());
}

async fn a_repeated_report_has_its_evidence_already(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let file = uploaded(&store, &*entropy).await;
    let (report, attachment) = naming(&*entropy, Some(7), &[file]);
    let first = store.accept_with(&report, &attachment, NOW).await.unwrap().unwrap();
    let before = rows(&db).await;
    let (repeat, repeated) = naming(&*entropy, Some(7), &[file]);
    assert_eq!(store.accept_with(&repeat, &repeated, NOW).await.unwrap(), Ok(first));
    // Committed although it seemed to fail: the same acceptance is tried again, also without a
    // request id.
    assert_eq!(store.accept_with(&report, &attachment, NOW).await.unwrap(), Ok(first));
    let other = uploaded(&store, &*entropy).await;
    let before = before + 3;
    let (mut acceptance, mut attachment) = (acceptance(&*entropy, Some(7), 2), repeated);
    acceptance.content = b"other".to_vec();
    attachment.files = vec![(other, Actor::default())];
    assert_eq!(
        store.accept_with(&acceptance.into(), &attachment, NOW).await.unwrap(),
        Ok(Accepted::RequestIdReused)
    );
    assert_eq!(rows(&db).await, before);
    assert_eq!(store.evidence(other).await.unwrap().unwrap().state, State::Uploaded);
}

async fn one_of_those_that_race_for_a_file_gets_it(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let store = Arc::new(store);
    for request_id in [None, Some(7)] {
        let file = uploaded(&store, &*entropy).await;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (store, (report, attachment)) = (Arc::clone(&store), naming(&*entropy, request_id, &[file]));
                tokio::spawn(async move { store.accept_with(&report, &attachment, NOW).await.unwrap() })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let refused = answers
            .iter()
            .filter(|answer| **answer == Err(vec![(0, Unattachable::Attached)]));
        match request_id {
            None => assert_eq!(refused.count(), 7, "{answers:?}"),
            // They are one report, which has the file.
            Some(_) => assert!(
                answers[0].is_ok() && answers.iter().all(|answer| *answer == answers[0]),
                "{answers:?}"
            ),
        }
        assert_eq!(kinds(&db, file).await.len(), 2);
    }
    assert_eq!(count(&db, "SELECT count(*) FROM reports").await, 2);
}

async fn p2_the_chain_of_a_file_is_unbroken(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let file = uploaded(&store, &*entropy).await;
    // The machine's clock goes back an hour: the record's times do not.
    store
        .record_download(&download(file), NOW.plus_seconds(-3_600))
        .await
        .unwrap()
        .unwrap();
    let (report, attachment) = naming(&*entropy, None, &[file]);
    store
        .accept_with(&report, &attachment, NOW.plus_seconds(-3_600))
        .await
        .unwrap()
        .unwrap();
    store.record_download(&download(file), NOW).await.unwrap().unwrap();
    let changes = journal::changes_of(&db, &name(file), "audit").await.unwrap();
    let kinds: Vec<_> = changes.iter().map(|change| change.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "evidence.uploaded",
            "evidence.downloaded",
            "evidence.attached",
            "evidence.downloaded"
        ]
    );
    let (mut previous, mut time) = ([0; 32], Time(0));
    for (change, sequence) in changes.iter().zip(1..) {
        let entry = Opened::new(&change.entry, (&change.chain).into()).unwrap();
        assert_eq!((entry.sequence, entry.previous), (sequence, previous));
        assert!(change.time >= time, "the record's time, whatever the clock says");
        (previous, time) = (entry_hash(&change.entry), change.time);
    }
    let row = db
        .fetch("SELECT sequence, hash FROM evidence", Vec::new())
        .await
        .unwrap();
    assert_eq!(
        (
            row[0].count("sequence", "sequence").unwrap(),
            row[0].array("hash", "hash").unwrap()
        ),
        (4, previous)
    );
}

async fn p7_a_download_is_a_change_and_keeps_its_words_here(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    assert!(
        store
            .record_download(&download(Uuid::from_u128(7)), NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(rows(&db).await, 0, "one that is not there leaves nothing behind");
    let file = uploaded(&store, &*entropy).await;
    let (stored, change) = store.record_download(&download(file), NOW).await.unwrap().unwrap();
    assert_eq!(
        (stored.id, stored.state, change.head.sequence),
        (file, State::Uploaded, 2)
    );
    assert_eq!(kinds(&db, file).await, ["evidence.uploaded", "evidence.downloaded"]);
    let words = "SELECT count(*) FROM evidence_downloads WHERE justification = 'to read the contract' AND sequence = 2";
    assert_eq!(count(&db, words).await, 1);

    store.expire(NOW, NOW).await.unwrap();
    let before = rows(&db).await;
    assert!(store.record_download(&download(file), NOW).await.unwrap().is_none());
    assert_eq!(rows(&db).await, before, "nor does one that has expired");
}

async fn p1_what_no_report_named_expires_once(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let old = upload(&*entropy, Some(7), 1);
    store.record_upload(&old, NOW).await.unwrap();
    let attached = uploaded(&store, &*entropy).await;
    let (report, attachment) = naming(&*entropy, None, &[attached]);
    store.accept_with(&report, &attachment, NOW).await.unwrap().unwrap();
    let young = upload(&*entropy, None, 1);
    store.record_upload(&young, NOW.plus_seconds(1)).await.unwrap();

    let later = NOW.plus_seconds(DAY);
    let tally = |unattached, overdue, overdue_since| Tally {
        unattached,
        overdue,
        overdue_since,
    };
    assert_eq!(store.tally(NOW).await.unwrap(), tally(2, 0, None));
    assert_eq!(
        store.tally(later.plus_seconds(9)).await.unwrap(),
        tally(2, 2, Some(later))
    );
    assert_eq!(store.expire(NOW, later).await.unwrap(), 1);
    assert_eq!(store.expire(NOW, later).await.unwrap(), 0);
    assert_eq!(kinds(&db, old.id).await, ["evidence.uploaded", "evidence.expired"]);
    assert_eq!(store.evidence(old.id).await.unwrap().unwrap().state, State::Expired);
    for id in [attached, young.id] {
        assert_ne!(store.evidence(id).await.unwrap().unwrap().state, State::Expired);
    }
    let all = [old.id, attached, young.id, Uuid::from_u128(7)];
    assert_eq!(store.kept(&all).await.unwrap(), BTreeSet::from([attached, young.id]));
    // Its file stays until its removal is recorded.
    assert_eq!(store.unremoved().await.unwrap(), [old.id]);
    assert_eq!(store.tally(later).await.unwrap(), tally(1, 1, Some(later)));
    store.removed(&[old.id]).await.unwrap();
    assert_eq!(store.tally(later).await.unwrap(), tally(1, 0, None));
    assert!(store.unremoved().await.unwrap().is_empty());
    // An expired upload is no answer to a repeat; the new file is the answer from then on.
    let again = upload(&*entropy, Some(7), 1);
    for upload in [&again, &upload(&*entropy, Some(7), 1)] {
        assert!(matches!(
            store.record_upload(upload, later).await.unwrap(),
            Uploaded::Evidence(stored) if stored.id == again.id
        ));
    }
}

async fn request_ids_of_uploads_are_forgotten_after_their_window(backend: Backend) {
    let (_, store, entropy) = open(backend.url()).await;
    store.record_upload(&upload(&*entropy, Some(7), 1), NOW).await.unwrap();
    assert_eq!(store.forget_requests(NOW).await.unwrap(), 0, "still inside");
    assert_eq!(store.forget_requests(NOW.plus_seconds(1)).await.unwrap(), 1);
    let other = upload(&*entropy, Some(7), 2);
    assert!(matches!(
        store.record_upload(&other, NOW).await.unwrap(),
        Uploaded::Evidence(stored) if stored.id == other.id
    ));
}
