//! The contract of a store, on each engine.

use std::{collections::BTreeSet, slice::from_ref, sync::Arc};

use api::event::Opening;
use audit::{
    AppendRefusal, Part, Reader as _, SqlStore, Store, StoreError, TileId, Verdict, Which, verify::LogVerifier,
};
use journal::{Chain, Openings, Time, entry_hash};
use testkit::Backend;
use tokio_util::sync::CancellationToken;

use crate::fixture::{CANARY, NOW, Producer, altered, call, checked, decoded, execute};

testkit::on_each_backend!(
    p2_each_change_once,
    p2_a_gap_is_kept_out,
    p2_one_bad_member_keeps_its_neighbours,
    p3_entries_hold_no_detail,
    the_tree_is_the_entries_whatever_the_groups,
    p2_an_older_store_is_fenced,
    p2_a_takeover_in_full_flight_loses_and_doubles_nothing,
    damaged_tiles_are_not_built_upon,
    of_each_minute_the_last_checkpoint_is_kept,
    a_clock_that_is_set_back_has_no_checkpoint_forgotten,
);

async fn open(backend: &Backend) -> SqlStore {
    SqlStore::open(backend.url()).await.unwrap()
}

pub async fn append(store: &SqlStore, changes: &[api::event::StateChange]) -> Vec<Verdict> {
    store.append(&[call(changes)]).await.unwrap().remove(0)
}

/// The database, opened directly.
pub async fn rows(backend: &Backend, statement: &'static str) -> Vec<sql::Row> {
    sql::Db::open(backend.url(), audit::SCHEMAS)
        .await
        .unwrap()
        .fetch(statement, Vec::new())
        .await
        .unwrap()
}

/// An entry and the openings of its chain and detail.
pub type Whole = (Vec<u8>, Option<(Opening, Opening)>);

/// All entries with their openings, as stored.
pub async fn whole_rows(backend: &Backend) -> Vec<Whole> {
    let all = "SELECT entry, record, sequence, previous, kind, chain_salt, detail_salt, detail \
               FROM entries JOIN openings USING (idx) ORDER BY idx";
    let whole = |row: &sql::Row| {
        let bytes = |column| bytes::Bytes::from(row.get::<Vec<u8>>(column).unwrap());
        let record: Option<String> = row.get("record").unwrap();
        let openings = record.map(|record| {
            let chain = Chain {
                record,
                sequence: row.count("sequence", "sequence").unwrap(),
                previous: row.array("previous", "previous").unwrap(),
                kind: row.get("kind").unwrap(),
            };
            let chain = Opening {
                salt: bytes("chain_salt"),
                content: chain.encode().into(),
            };
            let detail = Opening {
                salt: bytes("detail_salt"),
                content: bytes("detail"),
            };
            (chain, detail)
        });
        (row.get("entry").unwrap(), openings)
    };
    rows(backend, all).await.iter().map(whole).collect()
}

/// Checks the whole log as an auditor would, against its head.
pub async fn verify(store: &SqlStore) -> u64 {
    let head = store.head().await.unwrap();
    let all = Part {
        indexes: 0..head.size,
        record: None,
        with_detail: true,
        limit: head.size,
    };
    let mut verifier = LogVerifier::new();
    for read in store.read(all).await.unwrap() {
        let openings = read.chain.as_ref().zip(read.detail.as_ref());
        let openings = openings.map(|(chain, detail)| Openings {
            chain: chain.into(),
            detail: detail.into(),
        });
        verifier.push_opened(read.index, &read.entry, openings).unwrap();
    }
    assert_eq!(verifier.head(), head);
    head.size
}

async fn p2_each_change_once(backend: Backend) {
    let store = open(&backend).await;
    let mut intake = Producer::intake();
    let (a, b) = (
        [intake.next("reports/a"), intake.next("reports/a")],
        intake.next("reports/b"),
    );
    assert_eq!(append(&store, &a).await, [Ok(0), Ok(1)]);

    // Again: alone, among new ones, and twice in one group.
    assert_eq!(append(&store, &a).await, [Ok(0), Ok(1)]);
    let group = [call(&[a[1].clone(), b.clone()]), call(&[b.clone(), a[0].clone()])];
    assert_eq!(store.append(&group).await.unwrap(), [[Ok(1), Ok(2)], [Ok(2), Ok(0)]]);

    // The same id for another event, of the same record or of another.
    for record in ["reports/a", "reports/c"] {
        let other = altered(&a[0], |chain| {
            record.clone_into(&mut chain.record);
            chain.kind = "report.withdrawn".to_owned();
        });
        assert_eq!(append(&store, &[other]).await, [Err(AppendRefusal::EventIdReused)]);
    }
    // And the entry that reports it.
    assert_eq!(verify(&store).await, 3 + 1);
    let found = store.find(Which::Event(decoded(&b).event_id)).await.unwrap().unwrap();
    assert_eq!((found.index, &found.entry[..]), (2, &b.entry[..]));
    assert_eq!(found.leaves.0, TileId { level: 0, n: 0 });
    assert_eq!(found.leaves.1[2 * 32..3 * 32], entry_hash(&b.entry));
    assert_eq!(store.find(Which::Index(2)).await.unwrap(), Some(found));
    assert_eq!(store.find(Which::Index(4)).await.unwrap(), None);
}

async fn p2_a_gap_is_kept_out(backend: Backend) {
    let store = open(&backend).await;
    let mut intake = Producer::intake();
    let a: Vec<_> = (0..4).map(|_| intake.next("reports/a")).collect();
    assert_eq!(
        append(&store, &[a[1].clone(), a[0].clone(), a[2].clone()]).await,
        [Err(AppendRefusal::OutOfOrder), Ok(0), Err(AppendRefusal::OutOfOrder)]
    );
    assert_eq!(append(&store, &a[3..]).await, [Err(AppendRefusal::OutOfOrder)]);
    assert_eq!(append(&store, &a).await, [Ok(0), Ok(1), Ok(2), Ok(3)]);
    assert_eq!(verify(&store).await, 4);
}

async fn p2_one_bad_member_keeps_its_neighbours(backend: Backend) {
    let store = open(&backend).await;
    let mut intake = Producer::intake();
    let _missing = intake.next("reports/bad");
    let bad = intake.next("reports/bad");
    let good: Vec<_> = (0..4).map(|i| intake.next(&format!("reports/{i}"))).collect();
    let group = [
        call(&good[..1]),
        call(from_ref(&bad)),
        call(&[good[1].clone(), bad, good[2].clone()]),
        call(&[]),
        call(&good[3..]),
    ];
    assert_eq!(
        store.append(&group).await.unwrap(),
        [
            vec![Ok(0)],
            vec![Err(AppendRefusal::OutOfOrder)],
            vec![Ok(1), Err(AppendRefusal::OutOfOrder), Ok(2)],
            vec![],
            vec![Ok(3)]
        ]
    );
    assert_eq!(verify(&store).await, 4);
}

async fn p3_entries_hold_no_detail(backend: Backend) {
    let store = open(&backend).await;
    let changes = Producer::intake().many(9);
    append(&store, &changes).await;
    store.keep_checkpoint(9, "note", NOW).await.unwrap();

    let canaries: Vec<Vec<u8>> = changes
        .iter()
        .flat_map(|change| [change.chain.clone().unwrap(), change.detail.clone().unwrap()])
        .flat_map(|opening| [opening.salt.to_vec(), opening.content.to_vec()])
        .chain(["reports/", "report.changed", CANARY].map(|text| text.as_bytes().to_vec()))
        .collect();
    let finds = |text: &[u8]| {
        canaries
            .iter()
            .any(|canary| text.windows(canary.len()).any(|window| window == canary))
    };
    let mut seen = 0;
    for row in rows(&backend, "SELECT event_id, entry FROM entries").await {
        let texts = [
            row.get::<String>("event_id").unwrap().into_bytes(),
            row.get("entry").unwrap(),
        ];
        assert!(!texts.iter().any(|text| finds(text)));
        seen += 1;
    }
    for row in rows(&backend, "SELECT hashes FROM tiles UNION ALL SELECT root FROM head").await {
        assert!(!finds(&row.only::<Vec<u8>>().unwrap()));
        seen += 1;
    }
    assert_eq!(seen, 9 + 2);
    // The canary was there.
    let details = rows(&backend, "SELECT detail FROM openings").await;
    assert!(details.len() == 9 && details.iter().all(|row| finds(&row.only::<Vec<u8>>().unwrap())));
}

async fn the_tree_is_the_entries_whatever_the_groups(backend: Backend) {
    let mut store = open(&backend).await;
    let mut intake = Producer::intake();
    let mut size = 0;
    for step in [1, 2, 252, 1, 1, 255, 300, 3] {
        let verdicts = append(&store, &intake.many(step)).await;
        assert_eq!(verdicts, (size..).take(step).map(Ok).collect::<Vec<_>>());
        size += step as u64;
        // Every second group is appended by a store that must first read the tree's edge.
        if size % 2 == 0 {
            store = open(&backend).await;
        }
    }
    assert_eq!(verify(&store).await, size);
    let widths = rows(
        &backend,
        "SELECT place >> 56 AS level, place & 255 AS n, CAST(LENGTH(hashes) / 32 AS BIGINT) AS width FROM tiles \
         ORDER BY place",
    )
    .await;
    let widths: Vec<[i64; 3]> = widths
        .iter()
        .map(|row| ["level", "n", "width"].map(|column| row.get(column).unwrap()))
        .collect();
    assert_eq!(widths, [[0, 0, 256], [0, 1, 256], [0, 2, 256], [0, 3, 47], [1, 0, 3]]);

    for beyond in [814..816, 900..901] {
        assert!(store.entries(beyond).await.is_err());
    }
    execute(backend.url(), "DELETE FROM entries WHERE idx = 7").await;
    let error = store.entries(5..9).await.unwrap_err();
    assert_eq!(error.to_string(), "stored log is damaged: entry 7 is missing");
}

async fn p2_an_older_store_is_fenced(backend: Backend) {
    let older = open(&backend).await;
    let mut intake = Producer::intake();
    let changes = intake.many(5);
    append(&older, &changes).await;

    let newer = open(&backend).await;
    let more = intake.many(3);
    assert!(matches!(older.append(&[call(&more)]).await, Err(StoreError::Fenced)));
    assert!(matches!(older.head().await, Err(StoreError::Fenced)));
    assert!(matches!(
        older.keep_checkpoint(5, "note", NOW).await,
        Err(StoreError::Fenced)
    ));
    assert_eq!(newer.newest_checkpoint().await.unwrap(), None);
    // It may still repeat its earlier answers.
    assert_eq!(append(&older, &changes).await, [0, 1, 2, 3, 4].map(Ok));

    assert_eq!(append(&newer, &more).await, [5, 6, 7].map(Ok));
    assert!(matches!(
        older.append(&[call(&intake.many(1))]).await,
        Err(StoreError::Fenced)
    ));
    assert_eq!(verify(&newer).await, 8);
}

async fn p2_a_takeover_in_full_flight_loses_and_doubles_nothing(backend: Backend) {
    let older = Arc::new(open(&backend).await);
    let enough = CancellationToken::new();
    let writing = tokio::spawn({
        let (older, enough) = (Arc::clone(&older), enough.clone());
        let mut intake = Producer::intake();
        async move {
            let mut logged = Vec::new();
            loop {
                let last = enough.is_cancelled();
                let change = intake.next("reports/a");
                match older.append(&[vec![checked(&change)]]).await {
                    Ok(verdicts) => logged.push((verdicts[0][0].unwrap(), change)),
                    Err(StoreError::Fenced) => return (logged, intake, change),
                    Err(StoreError::Sql(error)) => panic!("{error:?}"),
                }
                assert!(!last, "the older store was never fenced");
            }
        }
    });
    // Once the older one has started.
    while older.head().await.unwrap().size < 3 {
        tokio::task::yield_now().await;
    }
    let newer = open(&backend).await;
    let mut routing = Producer::new("routing", 2);
    let mut logged = Vec::new();
    for i in 0..10 {
        let change = routing.next(&format!("cases/{i}"));
        logged.push((append(&newer, from_ref(&change)).await[0].unwrap(), change));
    }
    enough.cancel();
    let (others, mut intake, refused) = writing.await.unwrap();
    // The newer store appends what the older one could not.
    for change in [refused, intake.next("reports/a")] {
        logged.push((append(&newer, from_ref(&change)).await[0].unwrap(), change));
    }

    let all: Vec<_> = others.into_iter().chain(logged).collect();
    let indexes: BTreeSet<_> = all.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, (0..all.len() as u64).collect());
    assert_eq!(verify(&newer).await, all.len() as u64);
    for (index, change) in all {
        assert_eq!(newer.entries(index..index + 1).await.unwrap(), [change.entry.to_vec()]);
    }
}

async fn damaged_tiles_are_not_built_upon(backend: Backend) {
    let mut intake = Producer::intake();
    append(&open(&backend).await, &intake.many(3)).await;
    execute(
        backend.url(),
        "UPDATE tiles SET hashes = (SELECT root || root || root FROM head)",
    )
    .await;
    let error = open(&backend).await.append(&[call(&intake.many(1))]).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Sql(sql::Error::Damaged { what: "tree", .. })),
        "{error}"
    );
    assert_eq!(open(&backend).await.head().await.unwrap().size, 3);
}

async fn of_each_minute_the_last_checkpoint_is_kept(backend: Backend) {
    let store = open(&backend).await;
    for (size, second) in [(0, 0), (1, 1), (2, 59), (3, 60), (4, 119), (5, 120), (5, 121)] {
        let time = Time(NOW.0 - NOW.0.rem_euclid(60_000_000)).plus_seconds(second);
        store
            .keep_checkpoint(size, &format!("note {size}"), time)
            .await
            .unwrap();
        assert_eq!(store.newest_checkpoint().await.unwrap(), Some(format!("note {size}")));
    }
    let kept = rows(&backend, "SELECT size FROM checkpoints ORDER BY size").await;
    assert_eq!(
        kept.iter().map(|row| row.only().unwrap()).collect::<Vec<i64>>(),
        [2, 4, 5]
    );
}

async fn a_clock_that_is_set_back_has_no_checkpoint_forgotten(backend: Backend) {
    let store = open(&backend).await;
    for (size, minute) in [(1, 0), (2, 1), (3, 2), (4, -58), (5, -57)] {
        let time = NOW.plus_seconds(60 * minute);
        store.keep_checkpoint(size, "note", time).await.unwrap();
    }
    let kept = rows(&backend, "SELECT size FROM checkpoints ORDER BY size").await;
    let kept: Vec<i64> = kept.iter().map(|row| row.only().unwrap()).collect();
    // Each past minute has its own; the two after the clock went back count towards the last.
    assert_eq!(kept, [1, 2, 5]);
}
