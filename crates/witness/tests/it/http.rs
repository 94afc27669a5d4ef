//! `add-checkpoint`, status by status in the order of the specification.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tlog_tiles::Hash;
use witness::Submission;

use crate::fixture::{Log, ORIGIN, Served, Tree, capture};

#[tokio::test]
async fn a_growing_log_is_cosigned_step_by_step() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1));
    let witness = Served::start(folder.path(), &[&log.vkey]).await;
    // The last submission does not grow the log: it only gets a fresh time.
    for (old, size) in [(0, 0), (0, 3), (3, 256), (256, 700), (700, 700)] {
        let submission = log.submission(old, &Tree::new("a", size));
        let answer = witness.add(&submission).await;
        assert!(
            witness.cosigned(&submission, &answer),
            "{old} to {size}: {}",
            answer.body
        );

        let path = format!("/{}/checkpoint", HEXLOWER.encode(&Sha256::digest(ORIGIN)));
        let last = witness.send("GET", &path, b"").await;
        assert_eq!(last.body, format!("{}{}", submission.checkpoint, answer.body));
    }
    witness.stop().await;
}

#[tokio::test]
async fn every_refusal_has_the_status_of_the_specification() {
    let (folder, log, stranger) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1), Log::new(ORIGIN, 2));
    let unknown = Log::new("remit.test/other", 1);
    let witness = Served::start(folder.path(), &[&log.vkey]).await;
    let (ten, twenty) = (Tree::new("a", 10), Tree::new("a", 20));
    let before = witness
        .send("GET", &format!("/{}/checkpoint", "0".repeat(64)), b"")
        .await;
    assert_eq!(before.status, 404);
    assert_eq!(witness.add(&log.submission(0, &ten)).await.status, 200);

    let good = log.submission(10, &twenty);
    let with = |change: fn(&mut Submission)| {
        let mut submission = good.clone();
        change(&mut submission);
        submission
    };
    for (name, submission, status) in [
        ("an unknown log", unknown.submission(10, &twenty), 404),
        ("another key of the same name", stranger.submission(10, &twenty), 403),
        (
            "a broken signature",
            with(|s| s.checkpoint = s.checkpoint.replacen("20\n", "21\n", 1)),
            403,
        ),
        ("not a note", with(|s| s.checkpoint = format!("{ORIGIN}\nno note")), 400),
        ("an old size above the new", log.submission(21, &twenty), 400),
        ("another old size", log.submission(9, &twenty), 409),
        ("as if nothing had been seen", log.submission(0, &twenty), 409),
        ("no proof", with(|s| s.proof.clear()), 422),
        (
            "a proof with a hash too many",
            with(|s| s.proof.push(Hash([0; 32]))),
            422,
        ),
        ("a proof with another hash", with(|s| s.proof[0].0[0] ^= 1), 422),
        ("another history", log.submission(10, &Tree::new("b", 20)), 422),
        (
            "another tree of the same size",
            log.submission(10, &Tree::new("b", 10)),
            409,
        ),
    ] {
        let answer = witness.add(&submission).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        // A size is given for an old size that is not the last: a fork is no reason to ask again.
        let has_size = answer.head.contains("content-type: text/x.tlog.size");
        assert_eq!(
            has_size,
            status == 409 && submission.old != 10,
            "{name}: {}",
            answer.head
        );
        assert_eq!(has_size, answer.body == "10\n", "{name}: {}", answer.body);
    }
    for (body, status) in [
        (&b"old 10\n"[..], 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (&[b'a'; 100_000], 413),
    ] {
        assert_eq!(witness.send("POST", "/add-checkpoint", body).await.status, status);
    }
    assert_eq!(witness.send("GET", "/add-checkpoint", b"").await.status, 405);
    // None of them changed the witness's state.
    let answer = witness.add(&good).await;
    assert!(witness.cosigned(&good, &answer), "{}", answer.body);
    witness.stop().await;
}

#[tokio::test]
async fn the_empty_tree_has_one_root_and_needs_no_proof() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1));
    let witness = Served::start(folder.path(), &[&log.vkey]).await;
    let mut submission = log.submission(0, &Tree::new("a", 5));
    submission.proof.push(Hash([0; 32]));
    assert_eq!(witness.add(&submission).await.status, 422);
    submission = Submission {
        old: 0,
        proof: Vec::new(),
        checkpoint: log.sign(0, Hash([1; 32])),
    };
    assert_eq!(witness.add(&submission).await.status, 422);
    witness.stop().await;
}

#[tokio::test]
async fn only_another_tree_of_the_same_size_is_called_another_history() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1));
    let (logged, _guard) = capture();
    let witness = Served::start(folder.path(), &[&log.vkey]).await;
    let alarms = || logged().matches("another history").count();
    assert_eq!(witness.add(&log.submission(0, &Tree::new("a", 10))).await.status, 200);
    let good = log.submission(10, &Tree::new("a", 20));
    let junk = |proof: Vec<Hash>| Submission { proof, ..good.clone() };
    for submission in [
        junk(Vec::new()),
        junk(vec![Hash([7; 32]); 5]),
        // Of another tree, which may be the log's fault or the proof's.
        log.submission(10, &Tree::new("b", 20)),
        log.submission(9, &Tree::new("b", 20)),
        log.submission(0, &Tree::new("a", 10)),
        Submission {
            proof: vec![Hash([7; 32])],
            ..log.submission(10, &Tree::new("a", 10))
        },
    ] {
        let answer = witness.add(&submission).await;
        assert!([409, 422].contains(&answer.status), "{}", answer.body);
        assert_eq!(alarms(), 0, "{}", logged());
    }
    // However it is submitted, and whatever the answer must be.
    for (n, (old, status)) in (1..).zip([(10, 409), (0, 409), (9, 409), (11, 400)]) {
        let fork = Submission {
            old,
            ..log.submission(10, &Tree::new("b", 10))
        };
        assert_eq!(witness.add(&fork).await.status, status);
        assert_eq!(alarms(), n, "{}", logged());
    }
    // Nobody else can raise it.
    let stranger = Log::new(ORIGIN, 2).submission(10, &Tree::new("b", 10));
    assert_eq!(witness.add(&stranger).await.status, 403);
    assert_eq!(alarms(), 4, "{}", logged());
    assert!(witness.cosigned(&good, &witness.add(&good).await));
    witness.stop().await;
}

/// Two histories at once: whichever comes first, the other is refused. Checking and storing must be
/// one atomic step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_concurrent_histories_one_is_cosigned() {
    for _ in 0..10 {
        let (folder, log) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1));
        let witness = Served::start(folder.path(), &[&log.vkey]).await;
        let histories = ["a", "b", "c", "d"].map(|name| log.submission(0, &Tree::new(name, 9)));
        let answers = tokio::join!(
            witness.add(&histories[0]),
            witness.add(&histories[1]),
            witness.add(&histories[2]),
            witness.add(&histories[3]),
        );
        let mut statuses = [answers.0.status, answers.1.status, answers.2.status, answers.3.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409]);
        witness.stop().await;
    }
}

#[tokio::test]
async fn both_keys_of_a_rotating_log_are_accepted() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), Log::new(ORIGIN, 1), Log::new(ORIGIN, 2));
    let witness = Served::start(folder.path(), &[&old.vkey, &new.vkey]).await;
    assert_eq!(witness.add(&old.submission(0, &Tree::new("a", 5))).await.status, 200);
    // The records continue: a new key does not start a new history.
    assert_eq!(witness.add(&new.submission(0, &Tree::new("b", 6))).await.status, 409);
    assert_eq!(witness.add(&new.submission(5, &Tree::new("a", 6))).await.status, 200);
    witness.stop().await;
}
