//! A full disk, entries that are too large, and a clock that is set back.

use std::sync::Arc;

use api::{
    audit::{
        AppendChangesRequest, GetCheckpointRequest, GetInclusionProofRequest, ListChangesRequest, ListGapsRequest,
    },
    event::{ChangeOutcome, Opening, StateChange},
};
use audit::{AppendRefusal, Audit, SqlStore, verify::LogVerifier};
use journal::{Entry, ManualClock, SeededEntropy};
use sql::{Db, Engine};
use testkit::Backend;
use tonic::Code;

use crate::{
    fixture::{Files, NOW, Producer, Served, altered, decoded},
    grpc::reason,
    store::rows,
};

testkit::on_each_backend!(
    p1_a_full_disk_acknowledges_nothing_and_is_recovered_from,
    a_clock_that_is_set_back_stops_nothing,
    what_is_too_large_is_refused_by_itself,
);

/// Fills the disk for this database, or frees space again.
///
/// SQLite may not grow its file any further, as on a full disk. PostgreSQL fails with its full-disk
/// error at commit, the latest possible moment.
async fn set_full(db: &Db, full: bool) {
    let statements: &[&'static str] = match (db.engine(), full) {
        (Engine::Sqlite, true) => &["PRAGMA max_page_count = 1"],
        (Engine::Sqlite, false) => &["PRAGMA max_page_count = 1073741823"],
        (Engine::Postgres, true) => &[
            "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$",
            "CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON openings DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION full_disk()",
        ],
        (Engine::Postgres, false) => &["DROP TRIGGER full_disk ON openings"],
    };
    for statement in statements {
        let mut tx = db.begin().await.unwrap();
        tx.fetch(statement, Vec::new()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn p1_a_full_disk_acknowledges_nothing_and_is_recovered_from(backend: Backend) {
    let (files, clock) = (Files::new(), Arc::new(ManualClock::at(NOW)));
    let entropy = Arc::new(SeededEntropy::new(7));
    let db = Db::open(backend.url(), audit::SCHEMAS).await.unwrap();
    let store = SqlStore::over(db.clone(), clock.clone(), entropy.clone())
        .await
        .unwrap();
    let audit = Audit::start_over(Arc::new(store), files.config(backend.url()), clock, entropy)
        .await
        .unwrap();
    let log = Served::serve(audit).await;
    let mut intake = Producer::intake();
    let first = intake.many(30);
    log.append(&first).await;
    let note = log.published(30).await;

    set_full(&db, true).await;
    // More than the remaining space in the file.
    let changes = intake.many_from("more", 600);
    for _ in 0..3 {
        let request = AppendChangesRequest {
            changes: changes.clone(),
        };
        let status = log.inbound("intake").append_changes(request).await.unwrap_err();
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::ResourceExhausted, "STORAGE_FULL"),
            "{status:?}"
        );
    }
    let mut inspector = log.client("inspector");
    let listed = inspector
        .list_changes(ListChangesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.changes.len(), 30);
    let event_id = decoded(&first[7]).event_id.to_string();
    let proof = inspector
        .get_inclusion_proof(GetInclusionProofRequest {
            event_id,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((proof.index, &*proof.checkpoint), (7, &*note));
    assert_eq!(
        inspector
            .get_checkpoint(GetCheckpointRequest {})
            .await
            .unwrap()
            .into_inner()
            .checkpoint,
        note
    );

    // Space is all it needs; no restart.
    set_full(&db, false).await;
    let indexes: Vec<_> = log
        .append(&changes)
        .await
        .into_iter()
        .map(|result| result.index)
        .collect();
    assert_eq!(indexes, (30..630).collect::<Vec<_>>());
    let note = log.published(630).await;
    let request = ListChangesRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let mut verifier = LogVerifier::new();
    for change in inspector.list_changes(request).await.unwrap().into_inner().changes {
        verifier.push(change.index.cast_unsigned(), &change.entry).unwrap();
    }
    verifier.finish(&note, log.audit.vkey()).unwrap();
    while !(log.audit.health())().await {
        tokio::task::yield_now().await;
    }
    log.stop().await;
}

async fn a_clock_that_is_set_back_stops_nothing(backend: Backend) {
    let (files, clock) = (Files::new(), Arc::new(ManualClock::at(NOW)));
    let entropy = Arc::new(SeededEntropy::new(7));
    let audit = Audit::start(files.config(backend.url()), clock.clone(), entropy)
        .await
        .unwrap();
    let log = Served::serve(audit).await;
    let mut intake = Producer::intake();
    let first = intake.next("reports/a");
    log.append(std::slice::from_ref(&first)).await;
    let _missing = intake.next("reports/b");
    let late = intake.next("reports/b");
    log.append(std::slice::from_ref(&late)).await;
    let reused = |kind: &str| altered(&first, |chain| kind.clone_into(&mut chain.kind));
    log.append(&[reused("report.one")]).await;
    log.published(2).await;

    clock.advance(-3_600);
    assert_eq!(log.append(&[intake.next("reports/c")]).await[0].index, 2);
    log.append(&[Producer::new("intake", 9).next("reports/a")]).await;
    log.published(4).await;
    let listed = log
        .client("inspector")
        .list_gaps(ListGapsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.gaps.len(), 3);
    assert!(
        listed
            .gaps
            .iter()
            .all(|gap| gap.age.is_some_and(|age| age.seconds >= 0 && age.nanos >= 0))
    );
    assert!((log.audit.health())().await);
    log.stop().await;

    // An entry has the clock's time even if the record had a later one.
    let mut times = Vec::new();
    for row in rows(
        &backend,
        "SELECT entry FROM entries JOIN openings USING (idx) WHERE record = 'producers/intake' ORDER BY idx",
    )
    .await
    {
        times.push(Entry::decode(&row.only::<Vec<u8>>().unwrap()).unwrap().time);
    }
    assert_eq!(times, [NOW, NOW.plus_seconds(-3_600)]);
    // It also starts on that clock.
    let audit = Audit::start(files.config(backend.url()), clock, Arc::new(SeededEntropy::new(8)))
        .await
        .unwrap();
    assert_eq!(audit.published().borrow().head.size, 4);
    audit.stop().await;
}

async fn what_is_too_large_is_refused_by_itself(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    let sound = intake.next("reports/a");
    let entry = StateChange {
        entry: vec![1; journal::ENTRY_BYTES + 1].into(),
        ..sound.clone()
    };
    let detail = StateChange {
        detail: Some(Opening {
            content: vec![0; journal::DETAIL_BYTES + 1].into(),
            ..Opening::default()
        }),
        ..sound.clone()
    };
    let results = log.append(&[sound, entry.clone(), detail]).await;
    let outcomes: Vec<_> = results.iter().map(api::audit::AppendResult::outcome).collect();
    assert_eq!(
        outcomes,
        [
            ChangeOutcome::Recorded,
            ChangeOutcome::TooLarge,
            ChangeOutcome::TooLarge
        ]
    );
    // At the limit it is read and found to be malformed.
    let at = StateChange {
        entry: entry.entry.slice(1..),
        ..entry
    };
    assert_eq!(audit::check("intake", at).unwrap_err(), AppendRefusal::Malformed);
    log.stop().await;
}
