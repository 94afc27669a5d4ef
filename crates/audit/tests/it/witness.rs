//! The log and its witnesses, each a server of its own: what is published and what is withheld.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use audit::{
    Config, SqlStore, Store, open_checkpoint,
    recover::{Recovery, Whole},
};
use axum::http::StatusCode;
use journal::{ManualClock, SeededEntropy};
use signed_note::Note;
use tempfile::TempDir;
use testkit::{
    Backend,
    tls::{Front, Issuer},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use witness::{Book, Cosigner, Policy, Server};

use crate::fixture::{Files, NOW, ORIGIN, Producer, Served, TestKey, call, execute, refused, start};

testkit::on_each_backend!(
    checkpoints_bear_the_cosignatures_of_a_quorum,
    without_a_quorum_nothing_is_published_and_appending_goes_on,
    a_witness_that_was_away_catches_up,
    a_witness_is_asked_over_tls_when_its_issuer_is_trusted,
    a_rewritten_log_is_cosigned_by_nobody,
    a_restored_database_is_refused_for_what_a_witness_saw,
    a_copy_that_a_witness_has_overtaken_says_so,
    witnesses_stand_in_for_a_lost_checkpoint_file,
    what_only_a_witness_saw_is_appended_too,
);

/// A witness that can stop and come back at the same address.
struct Away {
    folder: TempDir,
    seed: u64,
    name: String,
    address: SocketAddr,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Away {
    async fn new(n: u8, log: &str) -> Self {
        let mut witness = Self {
            folder: tempfile::tempdir().unwrap(),
            seed: u64::from(n),
            name: format!("witness.test/w{n}"),
            address: "127.0.0.1:0".parse().unwrap(),
            running: None,
        };
        witness.start(log).await;
        witness
    }

    async fn start(&mut self, log: &str) {
        let (clock, entropy) = (Arc::new(ManualClock::at(NOW)), SeededEntropy::new(self.seed));
        let keys = [log.to_owned()];
        let book = Book::open(self.folder.path(), &self.name, &keys, clock, &entropy);
        let book = book.await.unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = Server::new(book).serve(listener, stop.clone());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        self.running = Some((stop, serving));
    }

    async fn stop(&mut self) {
        let (stop, serving) = self.running.take().unwrap();
        stop.cancel();
        serving.await.unwrap();
    }

    fn line(&self, n: usize) -> String {
        let vkey = std::fs::read_to_string(self.folder.path().join("witness.vkey")).unwrap();
        format!("witness w{n} {} http://{}\n", vkey.trim(), self.address)
    }
}

/// Another database of the same engine.
fn another(backend: &Backend) -> Backend {
    match backend.url().starts_with("sqlite") {
        true => Backend::sqlite(),
        false => Backend::postgres().unwrap(),
    }
}

/// A log whose key exists before its witnesses.
async fn log_key(files: &Files) -> String {
    let (path, entropy) = (files.key(), SeededEntropy::new(7));
    let keys = audit::LogKeys::create("remit.test/log", &path, &entropy).await;
    keys.unwrap().vkey()
}

fn configure(files: &Files, database: &str, witnesses: &[Away], quorum: &str) -> Config {
    let path = files.key().with_file_name("policy");
    let lines: String = witnesses
        .iter()
        .enumerate()
        .map(|(n, witness)| witness.line(n))
        .collect();
    let names: Vec<_> = (0..witnesses.len()).map(|n| format!("w{n}")).collect();
    std::fs::write(
        &path,
        format!("{lines}group enough {quorum} {}\nquorum enough\n", names.join(" ")),
    )
    .unwrap();
    Config {
        witness_policy_file: Some(path),
        witness_timeout_ms: 1_000,
        ..files.config(database)
    }
}

fn policy(config: &Config) -> Policy {
    Policy::parse(std::fs::read(config.witness_policy_file.as_ref().unwrap()).unwrap()).unwrap()
}

fn is_met(config: &Config, note: &str) -> bool {
    policy(config).is_met_by(&Note::from_bytes(note.as_bytes()).unwrap())
}

async fn checkpoints_bear_the_cosignatures_of_a_quorum(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let witnesses = [Away::new(0, &vkey).await, Away::new(1, &vkey).await];
    let config = configure(&files, backend.url(), &witnesses, "all");
    let log = Served::start(config.clone()).await;
    for size in [3, 6, 300] {
        let held = log.audit.published().borrow().head.size;
        log.append(&intake.many(size - usize::try_from(held).unwrap())).await;
        let note = log.published(size as u64).await;
        assert!(is_met(&config, &note), "{note}");
        assert_eq!(open_checkpoint(&note, &vkey).unwrap().size, size as u64);
        assert!(
            !is_met(&config, note.rsplit_once('\u{2014}').unwrap().0),
            "both are needed"
        );
    }
    log.stop().await;
}

async fn without_a_quorum_nothing_is_published_and_appending_goes_on(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let mut witnesses = [
        Away::new(0, &vkey).await,
        Away::new(1, &vkey).await,
        Away::new(2, &vkey).await,
    ];
    let config = configure(&files, backend.url(), &witnesses, "2");
    let log = Served::start(config.clone()).await;
    log.append(&intake.many(3)).await;
    log.published(3).await;

    // One away: enough are left.
    witnesses[0].stop().await;
    log.append(&intake.many(3)).await;
    assert!(is_met(&config, &log.published(6).await));

    // Two away: what was published last stays, and changes are taken as before.
    witnesses[1].stop().await;
    log.append(&intake.many(3)).await;
    let vitals = log.audit.status().await.unwrap();
    let mut unpublished = vitals.unpublished;
    while unpublished.is_empty() {
        tokio::task::yield_now().await;
        unpublished = log.audit.status().await.unwrap().unpublished;
    }
    assert!(unpublished.contains("not enough witnesses"), "{unpublished}");
    let results = log.append(&intake.many(2)).await;
    assert_eq!(results[1].index, 10);
    assert_eq!(log.audit.published().borrow().head.size, 6);
    assert!((log.audit.health())().await, "what can be appended to is well");
    // Signed it is, and never to be taken back.
    let file = std::fs::read_to_string(files.checkpoint()).unwrap();
    assert!(open_checkpoint(&file, &vkey).unwrap().size >= 9);

    // A restart neither needs them nor publishes without them.
    log.stop().await;
    let log = Served::start(config.clone()).await;
    assert_eq!(log.audit.published().borrow().head.size, 6);

    witnesses[1].start(&vkey).await;
    let note = log.published(11).await;
    assert!(is_met(&config, &note));
    log.stop().await;
}

async fn a_witness_is_asked_over_tls_when_its_issuer_is_trusted(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let witnesses = [Away::new(0, &vkey).await];
    let issuer = Issuer::new().unwrap();
    let front = Front::start(witnesses[0].address, &issuer, &["localhost"], 2020..2090);
    let front = front.await.unwrap();
    let plain = configure(&files, backend.url(), &witnesses, "all");
    let path = plain.witness_policy_file.as_ref().unwrap();
    let address = format!("http://{}", witnesses[0].address);
    let over_tls = std::fs::read_to_string(path).unwrap();
    let over_tls = over_tls.replace(&address, &format!("https://localhost:{}", front.address.port()));
    std::fs::write(path, over_tls).unwrap();
    let trusting = Config {
        ca_file: Some(issuer.file().to_owned()),
        ..plain.clone()
    };

    let log = Served::start(trusting.clone()).await;
    log.append(&intake.many(3)).await;
    let published = tokio::time::timeout(Duration::from_secs(30), log.published(3)).await;
    assert!(is_met(&trusting, &published.expect("it is cosigned")));
    log.stop().await;

    // Its issuer is not trusted any more: nothing is published, and it is said why and what to do.
    let log = Served::start(plain).await;
    log.append(&intake.many(3)).await;
    let mut unpublished = String::new();
    while unpublished.is_empty() {
        tokio::task::yield_now().await;
        unpublished = log.audit.status().await.unwrap().unpublished;
    }
    let silent = log.audit.status().await.unwrap().silent;
    let said = format!("{unpublished} {silent}");
    assert!(said.contains("certificate") && said.contains("`log.ca_file`"), "{said}");
    assert_eq!(log.audit.published().borrow().head.size, 3);
    log.stop().await;

    let log = Served::start(trusting.clone()).await;
    assert!(is_met(&trusting, &log.published(6).await));
    log.stop().await;
    let nothing = Config {
        ca_file: Some(files.key().with_file_name("policy")),
        ..trusting
    };
    let error = start(nothing).await.unwrap_err().to_string();
    assert!(
        error.contains("policy cannot be used as a file of certificate authorities"),
        "{error}"
    );
}

async fn a_witness_that_was_away_catches_up(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let mut witnesses = [Away::new(0, &vkey).await, Away::new(1, &vkey).await];
    let config = configure(&files, backend.url(), &witnesses, "any");
    let log = Served::start(config.clone()).await;
    log.append(&intake.many(3)).await;
    log.published(3).await;
    witnesses[1].stop().await;
    log.append(&intake.many(300)).await;
    log.published(303).await;
    // From here only the one that was away can make a quorum: it is 300 entries behind, and says so
    // with a conflict.
    witnesses[0].stop().await;
    witnesses[1].start(&vkey).await;
    log.append(&intake.many(1)).await;
    let note = log.published(304).await;
    let parsed = Note::from_bytes(note.as_bytes()).unwrap();
    let by: Vec<_> = policy(&config)
        .cosignatures(&parsed)
        .unwrap()
        .into_iter()
        .map(|(by, _)| by)
        .collect();
    assert_eq!(by, [1]);
    log.stop().await;
}

/// An operator who has the keys, the database and the checkpoint file, and writes another history:
/// nobody cosigns it.
async fn a_rewritten_log_is_cosigned_by_nobody(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let witnesses = [Away::new(0, &vkey).await];
    let config = configure(&files, backend.url(), &witnesses, "all");
    let log = Served::start(config.clone()).await;
    log.append(&intake.many(10)).await;
    log.published(10).await;
    log.stop().await;

    for statement in [
        "DELETE FROM entries",
        "DELETE FROM openings",
        "DELETE FROM tiles",
        "DELETE FROM checkpoints",
        "DELETE FROM inbox",
        "UPDATE head SET size = 0",
    ] {
        execute(backend.url(), statement).await;
    }
    let root = match backend.url().starts_with("sqlite") {
        true => "UPDATE head SET root = x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
        false => "UPDATE head SET root = '\\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
    };
    execute(backend.url(), root).await;
    std::fs::remove_file(files.checkpoint()).unwrap();
    start(files.config(backend.url())).await.unwrap().stop().await;
    let store = SqlStore::open(backend.url()).await.unwrap();
    store
        .append(&[call(&Producer::new("intake", 9).many_from("other", 12))])
        .await
        .unwrap();
    store.close().await;

    // With the witness in sight it does not even start.
    let error = refused(config.clone()).await;
    assert!(
        error.contains("witness w0 covers 10 entries, but its root differs"),
        "{error}"
    );
    // Started where the witness cannot be seen, it signs what it likes, for nobody.
    let alone = files.config(backend.url());
    start(alone).await.unwrap().stop().await;
    let forged = std::fs::read_to_string(files.checkpoint()).unwrap();
    assert_eq!(open_checkpoint(&forged, &vkey).unwrap().size, 12, "the key signs it");
    assert!(!is_met(&config, &forged));
    let submission = |old, proof| {
        witness::Submission {
            old,
            proof,
            checkpoint: forged.clone(),
        }
        .encode()
    };
    let question = audit_question(&backend, 10, 12).await;
    for (body, status) in [
        (submission(0, Vec::new()), 409),
        (submission(10, Vec::new()), 422),
        // Its own tiles' best proof.
        (submission(10, question), 422),
    ] {
        assert_eq!(post(witnesses[0].address, &body).await, status);
    }
}

/// Two databases with one key: the second starts while the witness is away, so nothing stops it.
async fn a_copy_that_a_witness_has_overtaken_says_so(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let mut witnesses = [Away::new(0, &vkey).await];
    let config = configure(&files, backend.url(), &witnesses, "all");
    let log = Served::start(config.clone()).await;
    log.append(&intake.many(10)).await;
    log.published(10).await;
    log.stop().await;

    let other = another(&backend);
    std::fs::remove_file(files.checkpoint()).unwrap();
    witnesses[0].stop().await;
    let copy = Served::start(Config {
        database: other.url().to_owned(),
        ..config
    })
    .await;
    witnesses[0].start(&vkey).await;
    copy.append(&Producer::intake().many(3)).await;
    let silent = loop {
        let status = copy.audit.status().await.unwrap();
        if status.silent.contains("10 entries") {
            break status.silent;
        }
        tokio::task::yield_now().await;
    };
    assert!(
        silent.contains("shows this log's checkpoint of 10 entries, more than the existing 3"),
        "{silent}"
    );
    assert_eq!(copy.audit.published().borrow().head.size, 0);
    copy.stop().await;
}

/// A witness says anything: that proves nothing, and it is asked again.
#[tokio::test]
async fn what_a_witness_says_of_sizes_is_no_proof() {
    let (backend, files) = (Backend::sqlite(), Files::new());
    let vkey = log_key(&files).await;
    let honest = Away::new(0, &vkey).await;
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    // Not of this log, and larger than any.
    let forged = TestKey::new(ORIGIN, 9).sign(ORIGIN, u64::MAX >> 1, [7; 32]);
    let routes = axum::Router::new().route(
        "/add-checkpoint",
        axum::routing::post(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { (StatusCode::CONFLICT, format!("{}\n", u64::MAX)) }
        }),
    );
    let key = Cosigner::new("witness.test/junk", &[3; 32]);
    let note = Note::from_bytes(forged.as_bytes()).unwrap();
    let cosignature = key.sign(note.text(), NOW).unwrap().to_bytes();
    let shown = forged + &String::from_utf8(cosignature).unwrap();
    let routes = routes.route(
        "/{origin_hash}/checkpoint",
        axum::routing::get(move || async move { shown }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });

    let policy = files.key().with_file_name("policy");
    let junk = format!("witness junk {} http://{address}\n", key.key().vkey());
    let lines = format!("{junk}{}group both all junk w0\nquorum both\n", honest.line(0));
    std::fs::write(&policy, lines).unwrap();
    let config = Config {
        witness_policy_file: Some(policy),
        ..files.config(backend.url())
    };
    let (log, mut intake) = (Served::start(config).await, Producer::intake());
    let thrice = async {
        while asked.load(Ordering::SeqCst) < 3 {
            log.append(&intake.many(1)).await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, thrice).await.expect("it is asked again");
    let silent = log.audit.status().await.unwrap().silent;
    assert_eq!(
        silent
            .matches("junk: it says that it has seen 18446744073709551615 entries")
            .count(),
        1
    );
    assert!(silent.contains("shows no checkpoint that proves it"), "{silent}");
    log.stop().await;
    serving.abort();
}

async fn a_restored_database_is_refused_for_what_a_witness_saw(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let witnesses = [Away::new(0, &vkey).await];
    let config = configure(&files, backend.url(), &witnesses, "all");
    let log = Served::start(config.clone()).await;
    log.append(&intake.many(10)).await;
    log.published(10).await;
    log.stop().await;
    // The database of another day and the checkpoint file of that day: only the witness was not
    // restored.
    let other = another(&backend);
    std::fs::remove_file(files.checkpoint()).unwrap();
    let mut early = Producer::intake();
    start(files.config(other.url())).await.unwrap().stop().await;
    let store = SqlStore::open(other.url()).await.unwrap();
    store.append(&[call(&early.many(7))]).await.unwrap();
    store.close().await;
    let restored = Config {
        database: other.url().to_owned(),
        ..config
    };
    let error = refused(restored).await;
    assert!(
        error.contains("witness w0 covers 10 entries, but the database has 7"),
        "{error}"
    );
}

async fn witnesses_stand_in_for_a_lost_checkpoint_file(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let mut witnesses = [
        Away::new(0, &vkey).await,
        Away::new(1, &vkey).await,
        Away::new(2, &vkey).await,
    ];
    let config = configure(&files, backend.url(), &witnesses, "2");
    let log = Served::start(config.clone()).await;
    log.append(&intake.many(10)).await;
    log.published(10).await;
    log.stop().await;
    std::fs::remove_file(files.checkpoint()).unwrap();

    // The two that are silent could have cosigned more than the third knows of.
    witnesses[0].stop().await;
    witnesses[1].stop().await;
    assert!(refused(config.clone()).await.contains("is missing"));
    // Of any two that must have cosigned, one answers.
    witnesses[0].start(&vkey).await;
    let log = Served::start(config).await;
    assert_eq!(log.audit.published().borrow().head.size, 10);
    assert_eq!(
        open_checkpoint(&std::fs::read_to_string(files.checkpoint()).unwrap(), &vkey)
            .unwrap()
            .size,
        10
    );
    log.stop().await;
}

/// Database and checkpoint file are of another day, or the file is lost. What was signed since, the
/// witness knows.
async fn what_only_a_witness_saw_is_appended_too(backend: Backend) {
    let (files, mut intake) = (Files::new(), Producer::intake());
    let vkey = log_key(&files).await;
    let witnesses = [Away::new(0, &vkey).await];
    let newer = match backend.url().starts_with("sqlite") {
        true => Backend::sqlite(),
        false => Backend::postgres().unwrap(),
    };
    let changes = intake.many(10);
    let config = configure(&files, newer.url(), &witnesses, "all");
    let log = Served::start(config.clone()).await;
    log.append(&changes[..7]).await;
    log.published(7).await;
    let of_the_day = std::fs::read(files.checkpoint()).unwrap();
    log.append(&changes[7..]).await;
    log.published(10).await;
    log.stop().await;

    let store = SqlStore::open(backend.url()).await.unwrap();
    store.append(&[call(&changes[..7])]).await.unwrap();
    store.close().await;
    let config = Config {
        database: backend.url().to_owned(),
        ..config
    };
    let recovery = async || {
        let (clock, entropy) = (Arc::new(ManualClock::at(NOW)), Arc::new(SeededEntropy::new(8)));
        Recovery::open(&config, clock, entropy).await.unwrap()
    };
    std::fs::remove_file(files.checkpoint()).unwrap();
    let lost = recovery().await;
    assert!(lost.missing().iter().copied().eq(7..10));
    lost.close().await;
    std::fs::write(files.checkpoint(), of_the_day).unwrap();
    let behind = recovery().await;
    assert!(behind.missing().iter().copied().eq(7..10));
    let whole = |change: &api::event::StateChange| Whole {
        entry: change.entry.to_vec(),
        openings: change.chain.clone().zip(change.detail.clone()),
    };
    behind.append(changes[7..].iter().map(whole).collect()).await.unwrap();
    behind.close().await;
    let log = Served::start(config.clone()).await;
    assert_eq!(log.audit.published().borrow().head.size, 10);
    log.stop().await;
}

#[tokio::test]
async fn a_quiet_log_is_signed_again_with_a_new_time() {
    let (backend, files) = (Backend::sqlite(), Files::new());
    let clock = Arc::new(ManualClock::at(NOW));
    let config = Config {
        checkpoint_refresh_ms: 10,
        ..files.config(backend.url())
    };
    let audit = audit::Audit::start(config, Arc::clone(&clock) as _, Arc::new(SeededEntropy::new(7)))
        .await
        .unwrap();
    let mut published = audit.published();
    let first = published.borrow_and_update().clone();
    clock.advance(100);
    let later = published
        .wait_for(|published| published.time > first.time)
        .await
        .unwrap()
        .clone();
    assert_eq!(later.head, first.head);
    assert_ne!(later.note, first.note, "the time is signed");
    assert_eq!(open_checkpoint(&later.note, audit.vkey()).unwrap(), later.head);
    audit.stop().await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_met_is_refused() {
    let (backend, files) = (Backend::sqlite(), Files::new());
    let vkey = log_key(&files).await;
    let mut witness = Away::new(0, &vkey).await;
    let config = configure(&files, backend.url(), &[], "all");
    let error = start(config.clone()).await.unwrap_err();
    assert!(matches!(error, audit::Error::Policy { .. }), "{error}");
    let line = witness.line(0);
    let without_address = line.rsplit_once(' ').unwrap().0;
    std::fs::write(
        config.witness_policy_file.as_ref().unwrap(),
        format!("{without_address}\nquorum w0\n"),
    )
    .unwrap();
    assert!(matches!(start(config).await, Err(audit::Error::Policy { .. })));
    witness.stop().await;
}

/// A proof as the database's own tiles give it.
async fn audit_question(backend: &Backend, old: u64, size: u64) -> Vec<tlog_tiles::Hash> {
    let store = SqlStore::open(backend.url()).await.unwrap();
    let tiles = store
        .tiles([audit::TileId { level: 0, n: 0 }].into_iter().collect())
        .await
        .unwrap();
    store.close().await;
    tlog_tiles::prove_tree(size, old, &tiles).unwrap()
}

/// Sends by hand, and returns the status.
async fn post(address: SocketAddr, body: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
