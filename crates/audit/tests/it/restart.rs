//! What a start continues from, and what it refuses.

use std::time::{Duration, Instant};

use audit::{Config, SqlStore, Store, open_checkpoint};
use testkit::Backend;

use crate::fixture::{Files, Producer, Served, call, execute, refused, start};

testkit::on_each_backend!(
    a_log_goes_on_where_it_stopped,
    stopping_publishes_what_the_interval_held_back,
    growth_that_a_crash_left_unpublished_is_published,
    a_checkpoint_that_a_crash_left_in_the_file_alone_is_kept,
    a_stale_file_is_brought_up_to_date,
    an_emptied_database_is_refused,
    another_log_s_database_is_refused,
    a_missing_checkpoint_file_is_refused,
    a_missing_or_other_key_is_refused,
    a_damaged_checkpoint_file_is_refused,
    growth_is_published_within_a_second,
);

/// A database on the same engine.
fn another(backend: &Backend) -> Backend {
    if backend.url().starts_with("sqlite") {
        Backend::sqlite()
    } else {
        Backend::postgres().unwrap()
    }
}

/// Runs the log until this many more entries are published.
async fn run(files: &Files, database: &str, intake: &mut Producer, entries: usize) {
    let log = Served::start(files.config(database)).await;
    log.append(&intake.many(entries)).await;
    log.stop().await;
}

fn file_size(files: &Files) -> u64 {
    let vkey = std::fs::read_to_string(files.key().with_file_name("log.vkey")).unwrap();
    open_checkpoint(&std::fs::read_to_string(files.checkpoint()).unwrap(), vkey.trim_end())
        .unwrap()
        .size
}

async fn a_log_goes_on_where_it_stopped(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    for size in [4, 8, 12] {
        run(&files, backend.url(), &mut intake, 4).await;
        assert_eq!(file_size(&files), size);
    }
    let log = Served::start(files.config(backend.url())).await;
    let results = log.append(&intake.many(1)).await;
    assert_eq!(results[0].index, 12);
    log.stop().await;
}

async fn stopping_publishes_what_the_interval_held_back(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let mut config = files.config(backend.url());
    config.checkpoint_interval_ms = 3_600_000;
    let log = Served::start(config).await;
    log.append(&intake.many(1)).await;
    // At once, because nothing was published before.
    log.published(1).await;
    log.append(&intake.many(1)).await;
    assert_eq!(log.audit.published().borrow().head.size, 1);
    log.stop().await;
    assert_eq!(file_size(&files), 2);
}

async fn growth_that_a_crash_left_unpublished_is_published(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    run(&files, backend.url(), &mut intake, 2).await;
    let store = SqlStore::open(backend.url()).await.unwrap();
    store.append(&[call(&intake.many(3))]).await.unwrap();
    assert_eq!(file_size(&files), 2);

    let audit = start(files.config(backend.url())).await.unwrap();
    assert_eq!(audit.published().borrow().head.size, 5);
    assert_eq!(file_size(&files), 5);
    audit.stop().await;
}

async fn a_checkpoint_that_a_crash_left_in_the_file_alone_is_kept(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    run(&files, backend.url(), &mut intake, 2).await;
    execute(backend.url(), "DELETE FROM checkpoints").await;
    start(files.config(backend.url())).await.unwrap().stop().await;
    let store = SqlStore::open(backend.url()).await.unwrap();
    assert_eq!(
        store.newest_checkpoint().await.unwrap(),
        Some(std::fs::read_to_string(files.checkpoint()).unwrap())
    );
}

async fn a_stale_file_is_brought_up_to_date(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    run(&files, backend.url(), &mut intake, 2).await;
    let stale = std::fs::read(files.checkpoint()).unwrap();
    run(&files, backend.url(), &mut intake, 3).await;
    std::fs::write(files.checkpoint(), stale).unwrap();
    start(files.config(backend.url())).await.unwrap().stop().await;
    assert_eq!(file_size(&files), 5);
}

async fn an_emptied_database_is_refused(backend: Backend) {
    let (files, mut intake, empty) = (Files::new(), Producer::intake(), another(&backend));
    run(&files, backend.url(), &mut intake, 4).await;
    let error = refused(files.config(empty.url())).await;
    assert!(error.contains("covers 4 entries, but the database has 0"), "{error}");
    assert!(error.contains("`remit log recover`"), "{error}");
    assert!(
        error.contains(files.checkpoint().to_str().unwrap()) && error.contains("restore a database"),
        "{error}"
    );
    // The attempt changed nothing.
    assert_eq!(file_size(&files), 4);
    run(&files, backend.url(), &mut intake, 1).await;
}

/// A real restore: the earlier file, after the log has grown.
#[test]
fn a_restored_backup_is_refused() {
    testkit::backend::run(async {
        let (backend, files, mut intake) = (Backend::sqlite(), Files::new(), Producer::intake());
        let database = backend.url().strip_prefix("sqlite://").unwrap();
        run(&files, backend.url(), &mut intake, 300).await;
        let backup = std::fs::read(database).unwrap();
        run(&files, backend.url(), &mut intake, 5).await;

        std::fs::write(database, &backup).unwrap();
        let error = refused(files.config(backend.url())).await;
        assert!(
            error.contains("covers 305 entries, but the database has 300"),
            "{error}"
        );

        // Even after the restored database has outgrown the checkpoint with other entries.
        let store = SqlStore::open(backend.url()).await.unwrap();
        store
            .append(&[call(&Producer::new("intake", 9).many_from("other", 10))])
            .await
            .unwrap();
        store.close().await;
        let error = refused(files.config(backend.url())).await;
        assert!(error.contains("covers 305 entries, but its root differs"), "{error}");
    });
}

async fn another_log_s_database_is_refused(backend: Backend) {
    let (files, other, mut stranger) = (Files::new(), another(&backend), Producer::new("intake", 5));
    run(&files, backend.url(), &mut Producer::intake(), 4).await;
    // As large as the checkpoint, then larger.
    for entries in [4, 3] {
        let store = SqlStore::open(other.url()).await.unwrap();
        store.append(&[call(&stranger.many(entries))]).await.unwrap();
        store.close().await;
        let error = refused(files.config(other.url())).await;
        assert!(error.contains("covers 4 entries, but its root differs"), "{error}");
        assert!(error.contains("`remit log recover`"), "{error}");
    }
}

async fn a_missing_checkpoint_file_is_refused(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    // Even before the first entry: a checkpoint was signed.
    for entries in [0, 3] {
        let log = Served::start(files.config(backend.url())).await;
        if entries > 0 {
            log.append(&intake.many(entries)).await;
        }
        log.stop().await;
        let note = std::fs::read(files.checkpoint()).unwrap();
        std::fs::remove_file(files.checkpoint()).unwrap();
        let error = refused(files.config(backend.url())).await;
        assert!(
            error.contains(&format!("({entries} entries)")) && error.contains("is missing"),
            "{error}"
        );
        assert!(!files.checkpoint().exists());
        std::fs::write(files.checkpoint(), note).unwrap();
    }
    start(files.config(backend.url())).await.unwrap().stop().await;
}

async fn a_missing_or_other_key_is_refused(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    run(&files, backend.url(), &mut intake, 3).await;
    let seed = std::fs::read(files.key()).unwrap();

    std::fs::remove_file(files.key()).unwrap();
    let error = refused(files.config(backend.url())).await;
    assert!(error.contains("key file") && error.contains("is missing"), "{error}");
    assert!(!files.key().exists(), "no new key is made for a used log");

    std::fs::write(files.key(), [9; 32]).unwrap();
    assert!(refused(files.config(backend.url())).await.contains("is not this log's"));

    std::fs::write(files.key(), seed).unwrap();
    let mut renamed = files.config(backend.url());
    renamed.origin = "remit.test/renamed".to_owned();
    assert!(refused(renamed).await.contains("is not this log's"));
    start(files.config(backend.url())).await.unwrap().stop().await;
}

async fn a_damaged_checkpoint_file_is_refused(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    run(&files, backend.url(), &mut intake, 3).await;
    let note = std::fs::read(files.checkpoint()).unwrap();
    for damage in [&b""[..], b"\xff\xfe", &note[..note.len() - 2]] {
        std::fs::write(files.checkpoint(), damage).unwrap();
        assert!(refused(files.config(backend.url())).await.contains("is not this log's"));
    }
}

#[tokio::test]
async fn an_origin_that_cannot_name_a_log_is_refused() {
    let (backend, files) = (Backend::sqlite(), Files::new());
    for origin in ["", "two words", "a+b", "a\nb"] {
        let mut config = files.config(backend.url());
        origin.clone_into(&mut config.origin);
        assert!(matches!(start(config).await, Err(audit::Error::Origin(found)) if found == origin));
    }
}

/// With the configured defaults unless given. The median of nine growths, each just after a
/// checkpoint and so with the longest wait: a pause of the machine is not the publisher's fault.
async fn growth_is_published_within_a_second(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let mut config = files.config(backend.url());
    let default: Config = serde_json::from_str(r#"{"database": "", "key_file": "", "checkpoint_file": ""}"#).unwrap();
    config.checkpoint_interval_ms = default.checkpoint_interval_ms;
    let log = Served::start(config).await;
    let mut waits = Vec::new();
    for size in 1..=9 {
        log.append(&intake.many(1)).await;
        let grown = Instant::now();
        log.published(size).await;
        waits.push(grown.elapsed());
    }
    log.stop().await;
    waits.sort();
    assert!(waits[4] < Duration::from_secs(1), "{waits:?}");
}

#[test]
fn the_config_has_defaults_and_refuses_unknown_keys() {
    let config = |text: &str| serde_json::from_str::<Config>(text);
    let given =
        r#"{"database": "postgres://remit:hunter2@db/audit", "key_file": "log.key", "checkpoint_file": "checkpoint""#;
    let full = config(&format!("{given}}}")).unwrap();
    assert_eq!(
        (full.origin.as_str(), full.checkpoint_interval_ms),
        ("remit.local/log", 200)
    );
    assert!(!format!("{full:?}").contains("hunter2"));
    assert!(
        config(&format!("{given}, \"intervall\": 1}}"))
            .unwrap_err()
            .to_string()
            .contains("intervall")
    );
}
