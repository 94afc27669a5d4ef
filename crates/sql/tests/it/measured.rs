//! What is measured of a database.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use sql::{Batch, Db, Engine, Error, Insert, Kind, Schema, Then, transact};
use testkit::{Backend, on_each_backend};

on_each_backend!(
    pools_are_measured_from_when_they_are_asked_to_until_they_close,
    what_counts_once_it_is_durable_counts_once_and_only_then,
);

const SCHEMAS: &[Schema] = &[Schema {
    base: 1,
    changes: &[(
        "numbers",
        "CREATE TABLE numbers (n INTEGER NOT NULL PRIMARY KEY)",
        "CREATE TABLE numbers (n BIGINT NOT NULL PRIMARY KEY)",
    )],
}];

const NUMBERS: Insert = Insert::into("numbers", &[("n", Kind::Int)]);

async fn what_counts_once_it_is_durable_counts_once_and_only_then(backend: Backend) {
    let db = Db::open(backend.url(), SCHEMAS).await.unwrap();
    let counted = Arc::new(AtomicU32::new(0));
    let count = || {
        let counted = Arc::clone(&counted);
        Then::new(move || _ = counted.fetch_add(1, Ordering::SeqCst))
    };
    let counted = || counted.load(Ordering::SeqCst);
    let row = |n: i64| [sql::Value::Int(n)];

    // Dropped, rolled back, failed: nothing happened.
    let mut tx = db.begin().await.unwrap();
    tx.then(count());
    drop(tx);
    let mut tx = db.begin().await.unwrap();
    tx.then(count());
    tx.rollback().await;
    let failed: Result<(), Error> = transact!(&db, |tx| async {
        tx.then(count());
        Err(Error::Injected("by the test"))
    });
    failed.unwrap_err();
    assert_eq!(counted(), 0);

    // Committed, in each way to write.
    transact!(&db, |tx| async {
        tx.then(count());
        tx.execute("INSERT INTO numbers (n) VALUES ($1)", vec![1.into()]).await
    })
    .unwrap();
    assert_eq!(counted(), 1);
    let (two, three) = (row(2), row(3));
    let batch = |row| Batch::default().with(&NUMBERS, [row]).then(count());
    db.write(&batch(&two)).await.unwrap();
    assert_eq!(counted(), 2);
    transact!(&db, |tx| tx.write(&batch(&three))).unwrap();
    assert_eq!(counted(), 3);

    // A batch that is refused.
    db.write(&batch(&two)).await.unwrap_err();
    assert_eq!(counted(), 3);
    db.close().await;
}

/// The numbers of a metric, by its labels.
fn numbers(metric: &str, service: &str) -> Vec<(String, f64)> {
    let text = telemetry::metrics::text().unwrap();
    let start = format!("{metric}{{");
    let lines = text
        .lines()
        .filter(|line| line.starts_with(&start) && line.contains(service));
    lines
        .map(|line| {
            let (labels, number) = line.rsplit_once(' ').unwrap();
            (labels.to_owned(), number.parse().unwrap())
        })
        .collect()
}

async fn pools_are_measured_from_when_they_are_asked_to_until_they_close(backend: Backend) {
    let db = Db::open(backend.url(), &[]).await.unwrap();
    // Both engines run in one process.
    let (service, pool) = match db.engine() {
        Engine::Sqlite => ("intake", "writer"),
        Engine::Postgres => ("audit", "shared"),
    };
    let of_pool = |metric: &str, also: &str| {
        let found = numbers(metric, service);
        let pool = format!("db_client_connection_pool_name=\"{pool}\"");
        let mut found = found
            .into_iter()
            .filter(|(labels, _)| labels.contains(&pool) && labels.contains(also));
        found.next().map(|(_, number)| number)
    };
    assert_eq!(of_pool("db_client_connection_max", ""), None);
    db.measure(service);
    // A second name changes nothing.
    db.measure("routing");
    assert!(numbers("db_client_connection_max", "routing").is_empty());
    // A task may still roll back what the opening looked at; its connection is in use until then.
    let used = || of_pool("db_client_connection_count", "\"used\"");
    let rolled_back = async {
        while used() != Some(0.0) {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, rolled_back)
        .await
        .expect("a connection is kept");
    let tx = db.begin().await.unwrap();
    assert_eq!(used(), Some(1.0));
    assert!(of_pool("db_client_connection_max", "").unwrap() >= 1.0);
    assert_eq!(of_pool("db_client_connection_pending_requests", ""), Some(0.0));
    tx.rollback().await;
    assert_eq!(used(), Some(0.0));
    assert!(of_pool("db_client_connection_wait_time_seconds_count", "").unwrap() >= 1.0);
    assert_eq!(numbers("remit_db_full", service)[0].1, 0.0);
    db.close().await;
    drop(db);
    assert_eq!(
        of_pool("db_client_connection_max", ""),
        None,
        "what is closed has no numbers"
    );
    assert!(numbers("remit_db_full", service).is_empty());
}
