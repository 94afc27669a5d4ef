//! The state that a witness resumes from, and the states it refuses.

use witness::OpenError;

use crate::fixture::{Log, NAME, ORIGIN, Served, Tree, open};

#[tokio::test]
async fn a_witness_remembers_across_restarts() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1));
    let witness = Served::start(folder.path(), &[&log.vkey]).await;
    let vkey = witness.vkey.clone();
    assert_eq!(witness.add(&log.submission(0, &Tree::new("a", 5))).await.status, 200);
    witness.stop().await;

    let witness = Served::start(folder.path(), &[&log.vkey]).await;
    assert_eq!(witness.vkey, vkey);
    assert_eq!(witness.add(&log.submission(0, &Tree::new("b", 9))).await.status, 409);
    assert_eq!(witness.add(&log.submission(5, &Tree::new("b", 9))).await.status, 422);
    assert_eq!(witness.add(&log.submission(5, &Tree::new("a", 9))).await.status, 200);
    witness.stop().await;
}

#[tokio::test]
async fn a_folder_with_missing_state_is_refused() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1));
    let (path, keys) = (folder.path(), [log.vkey.as_str()]);
    let witness = Served::start(path, &keys).await;
    assert_eq!(witness.add(&log.submission(0, &Tree::new("a", 5))).await.status, 200);
    assert!(matches!(open(path, NAME, &keys).await, Err(OpenError::InUse(_))));
    witness.stop().await;

    // The records are missing.
    std::fs::rename(path.join("logs"), path.join("away")).unwrap();
    let error = open(path, NAME, &keys).await.unwrap_err();
    assert!(matches!(error, OpenError::RecordsMissing(_)), "{error}");
    std::fs::rename(path.join("away"), path.join("logs")).unwrap();

    // The key is missing.
    std::fs::rename(path.join("witness.key"), path.join("away")).unwrap();
    let error = open(path, NAME, &keys).await.unwrap_err();
    assert!(matches!(error, OpenError::KeyMissing(_)), "{error}");
    std::fs::rename(path.join("away"), path.join("witness.key")).unwrap();

    // The record is somebody else's, of another log, or damaged.
    let record = std::fs::read_dir(path.join("logs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let note = std::fs::read_to_string(&record).unwrap();
    for damage in [
        log.sign(5, Tree::new("a", 5).root()),
        note.replacen("5\n", "4\n", 1),
        note[..note.len() - 9].to_owned(),
        String::new(),
    ] {
        std::fs::write(&record, damage).unwrap();
        let error = open(path, NAME, &keys).await.unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    }
    std::fs::write(&record, note).unwrap();

    assert!(matches!(
        open(path, "witness.test/w2", &keys).await,
        Err(OpenError::Renamed { .. })
    ));
    assert!(matches!(open(path, "two words", &keys).await, Err(OpenError::Name(_))));
    assert!(matches!(open(path, NAME, &[]).await, Err(OpenError::NoLogs)));
    assert!(matches!(open(path, NAME, &["a"]).await, Err(OpenError::LogKey(_))));
    open(path, NAME, &keys).await.unwrap();
}
