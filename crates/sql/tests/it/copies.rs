//! Copies of databases in use.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    options
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .busy_timeout(std::time::Duration::from_secs(20))
        .connect()
        .await
        .unwrap()
}

async fn run(connection: &mut SqliteConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}

async fn number(connection: &mut SqliteConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_copies_are_of_one_moment_while_others_write() {
    const DATABASES: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let originals: Vec<_> = (0..DATABASES).map(|i| folder.path().join(format!("{i}.db"))).collect();
    let mut writers = Vec::new();
    for file in &originals {
        let mut connection = open(file).await;
        run(
            &mut connection,
            "PRAGMA synchronous = OFF; CREATE TABLE steps (step INTEGER PRIMARY KEY)",
        )
        .await;
        writers.push(connection);
    }
    let stop = AtomicBool::new(false);
    // Each step is written to one database after the other: none may be ahead by more than one.
    let write = async {
        while !stop.load(Ordering::Relaxed) {
            for connection in &mut writers {
                run(connection, "INSERT INTO steps DEFAULT VALUES").await;
            }
        }
    };
    let copy = async {
        let mut last = -1;
        for round in 0..20 {
            let copies: Vec<_> = (0..DATABASES)
                .map(|i| folder.path().join(format!("{round}.{i}.copy")))
                .collect();
            let pairs = originals
                .iter()
                .zip(&copies)
                .map(|(from, to)| (from.as_path(), to.as_path()));
            sql::copy_sqlite(&pairs.collect::<Vec<_>>()).await.unwrap();
            let mut steps = Vec::new();
            for file in &copies {
                let mut connection = open(file).await;
                steps.push(number(&mut connection, "SELECT count(*) FROM steps").await);
                connection.close().await.unwrap();
            }
            let ahead = steps[0] - steps[DATABASES - 1];
            assert!(steps.is_sorted_by(|a, b| a >= b) && ahead <= 1, "{steps:?}");
            assert!(steps[0] > last, "nothing was written between two copies: {steps:?}");
            last = steps[0];
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, copy);
}

#[tokio::test]
async fn a_copy_has_everything_and_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut original = open(&at("original.db")).await;
    run(
        &mut original,
        "CREATE TABLE child (id TEXT NOT NULL PRIMARY KEY, parent TEXT REFERENCES parent (id)) WITHOUT ROWID;
         CREATE TABLE \"parent\" (id TEXT NOT NULL PRIMARY KEY, bytes BLOB, number INTEGER CHECK (number > 1));
         CREATE UNIQUE INDEX by_number ON parent (number) WHERE number IS NOT NULL;
         CREATE TRIGGER kept BEFORE DELETE ON parent BEGIN SELECT RAISE(ABORT, 'kept'); END;
         INSERT INTO parent VALUES ('a', x'00ff', 7), ('b', NULL, NULL);
         INSERT INTO child VALUES ('c', 'a')",
    )
    .await;
    let (from, to) = (at("original.db"), at("copy.db"));
    sql::copy_sqlite(&[(&from, &to)]).await.unwrap();
    let mut copy = open(&to).await;
    for query in [
        "SELECT group_concat(sql, ';' ORDER BY type, name) FROM sqlite_schema",
        "SELECT group_concat(id || hex(bytes) || coalesce(number, '-') ORDER BY id) FROM parent",
        "SELECT group_concat(id || parent) FROM child",
    ] {
        let read = async |connection: &mut SqliteConnection| -> String {
            sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
        };
        assert_eq!(read(&mut copy).await, read(&mut original).await);
    }
    // What is there is not written over, whatever it is.
    let error = sql::copy_sqlite(&[(&from, &to)]).await.unwrap_err();
    assert!(matches!(error, sql::Error::Open { .. }), "{error:?}");
    assert_eq!(number(&mut copy, "SELECT count(*) FROM parent").await, 2);
    let missing = at("missing.db");
    assert!(sql::copy_sqlite(&[(&missing, &at("of-nothing.db"))]).await.is_err());
    assert!(!missing.exists());
}
