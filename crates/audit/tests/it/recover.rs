//! An older database is completed as far as the missing entries can be proven.

use std::sync::Arc;

use api::{audit::AppendChangesRequest, event::ChangeOutcome};
use audit::{
    Config, Error, LogKeys, Refused, SqlStore, Store, TreeHead, Unfreezing, Unfrozen,
    recover::{RecoverError, Recovery, Whole, diagnose},
};
use journal::{ManualClock, SeededEntropy};
use testkit::Backend;

use crate::{
    fixture::{Files, NOW, ORIGIN, Producer, Served, TestKey, call, execute, start},
    store::whole_rows,
};

testkit::on_each_backend!(
    what_is_proven_to_be_missing_is_appended_and_the_log_goes_on,
    nothing_else_is_appended,
    an_export_by_a_key_of_before_is_as_good,
    what_a_backup_says_of_producers_does_not_come_between,
    what_stands_in_the_way_is_said_without_a_start,
    p2_what_was_deleted_is_put_back_when_it_is_proven,
    p2_nothing_grows_over_rows_that_were_deleted,
    p2_rows_that_are_deleted_show_without_being_asked_for,
);

async fn recovery(config: &Config) -> Recovery {
    let (clock, entropy) = (Arc::new(ManualClock::at(NOW)), Arc::new(SeededEntropy::new(8)));
    Recovery::open(config, clock, entropy).await.unwrap()
}

async fn diagnosis(config: &Config) -> Option<Refused> {
    diagnose(config, &SeededEntropy::new(8)).await.unwrap()
}

fn whole(change: &api::event::StateChange) -> Whole {
    Whole {
        entry: change.entry.to_vec(),
        openings: change.chain.clone().zip(change.detail.clone()),
    }
}

/// Changes a byte.
fn flip(bytes: Option<&mut bytes::Bytes>) {
    let bytes = bytes.unwrap();
    let mut flipped = bytes.to_vec();
    flipped[0] ^= 1;
    *bytes = flipped.into();
}

/// A log of 300 signed entries whose database is an older one with the first 280; and the missing
/// 20.
async fn restored(backend: &Backend, files: &Files) -> (Config, Vec<Whole>) {
    let mut intake = Producer::intake();
    let changes = intake.many(300);
    let newer = match backend.url().starts_with("sqlite") {
        true => Backend::sqlite(),
        false => Backend::postgres().unwrap(),
    };
    let log = Served::start(files.config(newer.url())).await;
    log.append(&changes).await;
    log.published(300).await;
    log.stop().await;
    let store = SqlStore::open(backend.url()).await.unwrap();
    store.append(&[call(&changes[..280])]).await.unwrap();
    store.close().await;
    (files.config(backend.url()), changes[280..].iter().map(whole).collect())
}

async fn what_is_proven_to_be_missing_is_appended_and_the_log_goes_on(backend: Backend) {
    let files = Files::new();
    let (config, tail) = restored(&backend, &files).await;
    assert!(matches!(
        diagnosis(&config).await,
        Some(Refused::RolledBack {
            signed: 300,
            held: 280,
            ..
        })
    ));
    let recovery = recovery(&config).await;
    assert!(recovery.missing().iter().copied().eq(280..300));
    recovery.append(tail).await.unwrap();
    recovery.close().await;
    assert!(diagnosis(&config).await.is_none());
    let log = Served::start(config).await;
    assert_eq!(log.audit.published().borrow().head.size, 300);
    let results = log.append(&Producer::new("intake", 4).many_from("more", 1)).await;
    assert_eq!(results[0].index, 300);
    log.stop().await;
}

async fn nothing_else_is_appended(backend: Backend) {
    let files = Files::new();
    let (config, tail) = restored(&backend, &files).await;
    let with = |change: fn(&mut Vec<Whole>)| {
        let mut tail = tail.clone();
        change(&mut tail);
        tail
    };
    let recovery = recovery(&config).await;
    for (name, tail) in [
        ("one too few", with(|tail| drop(tail.pop()))),
        ("one twice", with(|tail| tail[1] = tail[0].clone())),
        ("two in each other's place", with(|tail| tail.swap(3, 4))),
        ("a flipped byte of an entry", with(|tail| tail[9].entry[30] ^= 1)),
        (
            "another detail",
            with(|tail| flip(tail[9].openings.as_mut().map(|(_, detail)| &mut detail.content))),
        ),
        (
            "another chain",
            with(|tail| flip(tail[9].openings.as_mut().map(|(chain, _)| &mut chain.content))),
        ),
        ("nothing behind it", with(|tail| tail[9].openings = None)),
        (
            "another salt",
            with(|tail| flip(tail[9].openings.as_mut().map(|(_, detail)| &mut detail.salt))),
        ),
        ("other entries", {
            let others = Producer::new("intake", 9).many_from("other", 20);
            others.iter().map(whole).collect()
        }),
    ] {
        let error = recovery.append(tail).await.unwrap_err();
        assert!(!matches!(error, RecoverError::Store(_)), "{name}: {error}");
        assert!(recovery.missing().iter().copied().eq(280..300), "{name}");
    }
    recovery.close().await;
    let store = SqlStore::open(backend.url()).await.unwrap();
    assert_eq!(store.head().await.unwrap().size, 280);
    store.close().await;
}

/// Rows in the middle, at the end, and details alone: a start that checks only the end would
/// continue without them.
async fn p2_what_was_deleted_is_put_back_when_it_is_proven(backend: Backend) {
    let files = Files::new();
    let config = files.config(backend.url());
    let changes = Producer::intake().many(700);
    let log = Served::start(config.clone()).await;
    log.append(&changes).await;
    log.published(700).await;
    log.stop().await;
    for (name, statements, gone) in [
        (
            "of the middle",
            &["DELETE FROM entries WHERE idx BETWEEN 250 AND 260"][..],
            (250..=260).collect::<Vec<u64>>(),
        ),
        (
            "before the last",
            &["DELETE FROM entries WHERE idx >= 600 AND idx < 699"],
            (600..699).collect(),
        ),
        (
            "the last",
            &[
                "DELETE FROM entries WHERE idx >= 600",
                "DELETE FROM openings WHERE idx >= 600",
            ],
            (600..700).collect(),
        ),
        (
            "of details",
            &["DELETE FROM openings WHERE idx IN (0, 699)"],
            vec![0, 699],
        ),
    ] {
        for statement in statements {
            execute(backend.url(), statement).await;
        }
        let refused = start(config.clone()).await.unwrap_err();
        assert!(
            matches!(refused, Error::Refused(Refused::EntriesMissing { held: 700, index }) if index == gone[0]),
            "{name}: {refused}"
        );
        assert!(
            matches!(diagnosis(&config).await, Some(Refused::EntriesMissing { held: 700, index }) if index == gone[0]),
            "{name}"
        );

        let recovery = recovery(&config).await;
        assert!(recovery.missing().iter().eq(&gone), "{name}");
        let lost: Vec<Whole> = gone
            .iter()
            .map(|index| whole(&changes[usize::try_from(*index).unwrap()]))
            .collect();
        let mut swapped = lost.clone();
        swapped.swap(0, 1);
        let error = recovery.append(swapped).await.unwrap_err();
        assert!(
            matches!(error, RecoverError::NotIt(index) if index == gone[0]),
            "{name}: {error}"
        );
        recovery.append(lost).await.unwrap();
        recovery.close().await;
        assert!(diagnosis(&config).await.is_none(), "{name}");
    }
    let log = Served::start(config).await;
    assert_eq!(whole_rows(&backend).await.len(), 700);
    let results = log.append(&Producer::new("intake", 4).many_from("more", 1)).await;
    assert_eq!(results[0].index, 700);
    log.stop().await;
}

async fn p2_nothing_grows_over_rows_that_were_deleted(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    log.append(&intake.many(300)).await;
    log.published(300).await;
    execute(backend.url(), "DELETE FROM entries WHERE idx >= 200").await;
    // Appended or not: depends on whether the scrubber notices first.
    let changes = vec![intake.next("reports/more")];
    let appended = log
        .inbound("intake")
        .append_changes(AppendChangesRequest { changes })
        .await;
    if let Err(status) = appended {
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    }
    assert!(!log.settled(301).await);
    assert_eq!(log.audit.published().borrow().head.size, 300);
    let status = log.audit.status().await.unwrap();
    // The last one for the publisher; for the scrubber the first one, of the newest hundred if the
    // change was appended.
    assert!(
        ["entry 299 of the log", "entry 200 of the log", "entry 201 of the log"]
            .iter()
            .any(|entry| status.unpublished.contains(entry)),
        "{}",
        status.unpublished
    );
    assert!(!status.writes);
    log.stop().await;
}

async fn p2_rows_that_are_deleted_show_without_being_asked_for(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    for changes in [intake.many(1_000), intake.many(100)] {
        log.append(&changes).await;
    }
    log.published(1_100).await;
    // Neither among the newest nor the last, and the entry stays.
    execute(backend.url(), "DELETE FROM openings WHERE idx = 17").await;
    assert!(!log.settled(1_101).await);
    let status = log.audit.status().await.unwrap();
    assert!(
        status.unpublished.contains("entry 17 of the log"),
        "{}",
        status.unpublished
    );
    let changes = vec![Producer::new("intake", 4).next("reports/more")];
    let refused = log
        .inbound("intake")
        .append_changes(AppendChangesRequest { changes })
        .await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unavailable);
    log.stop().await;
}

/// Appended entries are proven by the root; the export's checkpoint only gives its size.
async fn an_export_by_a_key_of_before_is_as_good(backend: Backend) {
    let files = Files::new();
    let (config, _) = restored(&backend, &files).await;
    let exported = std::fs::read_to_string(files.checkpoint()).unwrap();
    let entropy = SeededEntropy::new(9);
    let mut keys = LogKeys::load(ORIGIN, &files.key()).await.unwrap().unwrap();
    keys.rotate(&entropy, NOW).await.unwrap();
    keys.finish().await.unwrap();
    for is_revoked in [false, true] {
        if is_revoked {
            let last = TreeHead {
                size: 300,
                root: [7; 32],
            };
            keys.revoke(last, "the disk was stolen", &entropy, NOW).await.unwrap();
        }
        let recovery = recovery(&config).await;
        assert_eq!(recovery.size_of(&exported).unwrap(), 300);
        let strangers = TestKey::new(ORIGIN, 4).sign(ORIGIN, 300, [7; 32]);
        assert!(recovery.size_of(&strangers).is_err());
        recovery.close().await;
    }
}

/// At the backup's time intake was frozen and behind its mark: entries that the log would add about
/// that are not among the signed ones. That an operator examined it is.
async fn what_a_backup_says_of_producers_does_not_come_between(backend: Backend) {
    let (files, clock) = (Files::new(), Arc::new(ManualClock::at(NOW)));
    let newer = match backend.url().starts_with("sqlite") {
        true => Backend::sqlite(),
        false => Backend::postgres().unwrap(),
    };
    let mut intake = Producer::intake();
    let changes = intake.many(2_600);
    let mut others = Producer::new("intake", 9);
    let fork = others.many(2_600).into_iter().nth(3).unwrap();
    let behind = journal::Mark {
        committed: 2_600,
        ..journal::Mark::default()
    };
    start(files.config(newer.url())).await.unwrap().stop().await;
    let mut rows = Vec::new();
    for (backend, is_backup) in [(&newer, false), (&backend, true)] {
        let (clock, entropy) = (clock.clone(), Arc::new(SeededEntropy::new(7)));
        let store = SqlStore::open_with(backend.url(), clock, entropy).await.unwrap();
        store.append(&[call(&changes[..280])]).await.unwrap();
        store.append(&[call(std::slice::from_ref(&fork))]).await.unwrap();
        store.note_mark("intake", behind).await.unwrap();
        if is_backup {
            store.close().await;
            break;
        }
        let examined = Unfreezing {
            actor: api::event::Actor::default(),
            reason: "examined".to_owned(),
            tolerate_seconds: 0,
            etag: store.producers().await.unwrap()[0].1.etag("intake"),
            request: None,
        };
        let unfrozen = store.unfreeze("intake", examined).await.unwrap();
        assert!(matches!(unfrozen, Unfrozen::Done(_)), "{unfrozen:?}");
        for changes in changes[280..].chunks(1_000) {
            store.append(&[call(changes)]).await.unwrap();
        }
        let size = store.head().await.unwrap().size;
        assert_eq!(size, 2_602, "frozen and unfrozen are entries too");
        rows = wholes(backend).await.split_off(281);
        store.close().await;
    }
    let log = Served::start(files.config(newer.url())).await;
    log.published(2_602).await;
    log.stop().await;

    clock.advance(3_600);
    let config = files.config(backend.url());
    let recovery = Recovery::open(&config, clock.clone(), Arc::new(SeededEntropy::new(8)))
        .await
        .unwrap();
    assert!(recovery.missing().iter().copied().eq(281..2_602));
    recovery.append(rows).await.unwrap();
    recovery.close().await;
    assert!(diagnosis(&config).await.is_none());
    let store = SqlStore::open(backend.url()).await.unwrap();
    let (name, producer) = store.producers().await.unwrap().remove(0);
    assert_eq!((&*name, producer.held.count, producer.frozen), ("intake", 2_600, None));
    store.close().await;
    let log = Served::start(config).await;
    let results = log.append(&Producer::new("intake", 4).many_from("more", 1)).await;
    assert_eq!(results[0].outcome(), ChangeOutcome::Recorded);
    log.stop().await;
}

/// All entries of a log with their openings.
async fn wholes(backend: &Backend) -> Vec<Whole> {
    let whole = |(entry, openings)| Whole { entry, openings };
    whole_rows(backend).await.into_iter().map(whole).collect()
}

async fn what_stands_in_the_way_is_said_without_a_start(backend: Backend) {
    let files = Files::new();
    let config = files.config(backend.url());
    assert!(diagnosis(&config).await.is_none());
    assert!(!files.key().exists(), "no key is made for it");
    start(config.clone()).await.unwrap().stop().await;
    assert!(diagnosis(&config).await.is_none());
    let note = std::fs::read(files.checkpoint()).unwrap();
    std::fs::remove_file(files.checkpoint()).unwrap();
    assert!(matches!(diagnosis(&config).await, Some(Refused::FileMissing { .. })));
    assert!(!files.checkpoint().exists());
    std::fs::write(files.checkpoint(), b"damaged").unwrap();
    assert!(matches!(diagnosis(&config).await, Some(Refused::NotOurs { .. })));
    std::fs::write(files.checkpoint(), note).unwrap();
    std::fs::remove_file(files.key()).unwrap();
    assert!(matches!(diagnosis(&config).await, Some(Refused::KeyMissing { .. })));
}
