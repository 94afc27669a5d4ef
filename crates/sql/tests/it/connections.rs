//! Connections are reused without a test: what must never go wrong because of that.

use std::{collections::BTreeMap, path::Path, time::Duration};

use sql::{Db, Engine, Error, Schema, transact};
use testkit::{Backend, on_each_backend};

const SCHEMAS: &[Schema] = &[Schema {
    base: 1,
    changes: &[(
        "numbers",
        "CREATE TABLE numbers (n INTEGER NOT NULL PRIMARY KEY)",
        "CREATE TABLE numbers (n BIGINT NOT NULL PRIMARY KEY)",
    )],
}];

async fn open(backend: &Backend) -> Db {
    Db::open(backend.url(), SCHEMAS).await.unwrap()
}

async fn put(db: &Db, n: i64) -> Result<u64, Error> {
    transact!(db, |tx| tx
        .execute("INSERT INTO numbers (n) VALUES ($1)", vec![n.into()]))
}

async fn numbers(db: &Db) -> Vec<i64> {
    let rows = db.fetch("SELECT n FROM numbers ORDER BY n", Vec::new()).await.unwrap();
    rows.iter().map(|row| row.get("n").unwrap()).collect()
}

on_each_backend!(
    a_dropped_transaction_leaves_nothing_and_frees_its_locks,
    a_failed_statement_does_not_spoil_the_next,
    an_unread_answer_is_never_mistaken_for_the_next_one,
    an_abandoned_statement_blocks_nobody,
    close_waits_for_running_transactions_then_refuses_new_ones,
    an_ended_snapshot_does_not_leak_into_the_next,
);

async fn a_dropped_transaction_leaves_nothing_and_frees_its_locks(backend: Backend) {
    let (db, other) = (open(&backend).await, open(&backend).await);
    for n in 0..40 {
        let mut tx = db.begin().await.unwrap();
        tx.execute("INSERT INTO numbers (n) VALUES ($1)", vec![n.into()])
            .await
            .unwrap();
        match n % 2 {
            0 => drop(tx),
            // Dropped on a thread without a runtime to roll it back.
            _ => std::thread::spawn(|| drop(tx)).join().unwrap(),
        }
        // Waits only for the end of the first transaction, even if its connection is never used
        // again.
        for (db, n) in [(&other, n), (&db, 100 + n)] {
            let put = tokio::time::timeout(Duration::from_secs(4), put(db, n)).await;
            assert_eq!(put.unwrap().unwrap(), 1);
        }
    }
    assert_eq!(numbers(&db).await, (0..40).chain(100..140).collect::<Vec<_>>());
}

async fn a_failed_statement_does_not_spoil_the_next(backend: Backend) {
    let db = open(&backend).await;
    put(&db, 1).await.unwrap();
    for n in 2..6 {
        assert!(put(&db, 1).await.unwrap_err().is_unique_violation());
        assert!(db.fetch("SELECT nothing FROM nowhere", Vec::new()).await.is_err());
        put(&db, n).await.unwrap();
    }
    assert_eq!(numbers(&db).await, (1..6).collect::<Vec<_>>());
}

async fn an_unread_answer_is_never_mistaken_for_the_next_one(backend: Backend) {
    let db = open(&backend).await;
    for n in 0..20 {
        put(&db, n).await.unwrap();
    }
    // Enough rows for many network packets.
    let many =
        "WITH RECURSIVE many (n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM many WHERE n < 20000) SELECT n FROM many";
    for i in 0..40 {
        let cut = tokio::time::timeout(Duration::from_micros(i * 150), db.fetch(many, Vec::new()));
        if let Ok(rows) = cut.await {
            assert_eq!(rows.unwrap().len(), 19_001);
        }
        let found = db
            .fetch_optional("SELECT n FROM numbers WHERE n = $1", vec![5.into()])
            .await;
        assert_eq!(found.unwrap().unwrap().get::<i64>("n").unwrap(), 5);
        assert_eq!(numbers(&db).await.len(), 20);
    }
}

async fn an_abandoned_statement_blocks_nobody(backend: Backend) {
    let db = open(&backend).await;
    let long = match db.engine() {
        Engine::Sqlite => {
            "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 30000000) SELECT COUNT(*) FROM many"
        }
        Engine::Postgres => "SELECT CAST(pg_sleep(4) AS TEXT)",
    };
    db.ping().await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(50), db.fetch(long, Vec::new())).await;
    assert!(given_up.is_err());
    let next = tokio::time::timeout(Duration::from_secs(1), db.ping()).await;
    next.expect("another connection answers").unwrap();
}

async fn close_waits_for_running_transactions_then_refuses_new_ones(backend: Backend) {
    let db = open(&backend).await;
    let mut tx = db.begin().await.unwrap();
    tx.execute("INSERT INTO numbers (n) VALUES ($1)", vec![1.into()])
        .await
        .unwrap();
    let closing = tokio::spawn({
        let db = db.clone();
        async move { db.close().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!closing.is_finished());
    tx.commit().await.unwrap();
    closing.await.unwrap();
    assert!(db.ping().await.unwrap_err().is_outage());
    assert_eq!(numbers(&open(&backend).await).await, [1]);
}

async fn an_ended_snapshot_does_not_leak_into_the_next(backend: Backend) {
    let db = open(&backend).await;
    for n in 0..40 {
        let mut snapshot = db.snapshot().await.unwrap();
        let before = snapshot.fetch("SELECT n FROM numbers", Vec::new()).await.unwrap();
        put(&db, n).await.unwrap();
        let after = snapshot.fetch("SELECT n FROM numbers", Vec::new()).await.unwrap();
        assert_eq!((before.len() as i64, after.len() as i64), (n, n));
        drop(snapshot);
        assert_eq!(numbers(&db).await.len() as i64, n + 1);
    }
}

/// The server's message when an operator or a fail-over ends sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_ended_by_the_server_fail_once_and_are_replaced() {
    let Some(backend) = Backend::postgres() else { return };
    let (db, operator) = (open(&backend).await, open(&backend).await);
    assert_eq!(db.engine(), Engine::Postgres);
    let end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    for i in 0..4 {
        use_five(&db).await;
        assert_eq!(operator.fetch(end_all, Vec::new()).await.unwrap().len(), 5);
        // All five were used a moment ago, so they are assumed alive. The first failure shows that
        // the others are dead, too.
        let failed = match i % 2 {
            0 => db.ping().await,
            _ => db.begin().await.map(drop),
        };
        assert!(failed.is_err_and(|error| error.is_outage()));
        use_five(&db).await;
    }
    // Idle for a while: tested before use, so the caller sees no error.
    operator.fetch(end_all, Vec::new()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    use_five(&db).await;
}

/// Uses five connections at once.
async fn use_five(db: &Db) {
    let mut transactions = Vec::new();
    for _ in 0..5 {
        transactions.push(db.begin().await.unwrap());
    }
    for tx in transactions {
        tx.commit().await.unwrap();
    }
}

/// The names and contents of what lies beside an SQLite file, and of itself.
fn files(backend: &Backend) -> BTreeMap<String, Vec<u8>> {
    let file = backend.url().strip_prefix("sqlite://").unwrap();
    let folder = std::fs::read_dir(Path::new(file).parent().unwrap()).unwrap();
    let files = folder.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    files.collect()
}

/// Whether it was stopped, is served, or was killed.
#[tokio::test]
async fn whoever_reads_an_sqlite_file_leaves_it_as_it_was() {
    let (stopped, killed) = (Backend::sqlite(), Backend::sqlite());
    let db = open(&stopped).await;
    put(&db, 1).await.unwrap();
    let served = files(&stopped);
    assert!(served.contains_key("remit.db-wal") && served.contains_key("remit.db-shm"));
    // As a process that is killed leaves it: what was committed lies in the log.
    let file = killed.url().strip_prefix("sqlite://").unwrap();
    for (name, content) in &served {
        std::fs::write(Path::new(file).with_file_name(name), content).unwrap();
    }
    let read = async |backend: &Backend| {
        assert_eq!(Db::pending(backend.url(), SCHEMAS).await.unwrap(), [""; 0]);
        let reading = Db::open_to_read(backend.url(), SCHEMAS).await.unwrap();
        let numbers = numbers(&reading).await;
        let written = put(&reading, 3).await;
        assert!(written.is_err(), "it is opened to be read");
        reading.close().await;
        numbers
    };
    assert_eq!(read(&stopped).await, [1], "served");
    let beside = files(&stopped);
    assert_eq!(beside.keys().collect::<Vec<_>>(), served.keys().collect::<Vec<_>>());
    assert_eq!(beside["remit.db"], served["remit.db"]);
    put(&db, 2).await.unwrap();
    assert_eq!(read(&stopped).await, [1, 2]);
    db.close().await;
    let before = files(&stopped);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["remit.db"]);
    assert_eq!(read(&stopped).await, [1, 2], "stopped");
    assert!(files(&stopped) == before, "{:?}", files(&stopped).keys());
    assert_eq!(read(&killed).await, [1], "killed");
    let after = files(&killed);
    assert_eq!(after.keys().collect::<Vec<_>>(), served.keys().collect::<Vec<_>>());
    assert!(after["remit.db"] == served["remit.db"] && after["remit.db-wal"] == served["remit.db-wal"]);
}
