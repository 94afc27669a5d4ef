//! The stored operator register on each engine: loads are atomic, and readers see one version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use api::event::ConnectingFactor;
use api::event::{Actor, Detail};
use api::intake::{Place, place};
use api::routing::{Facts, OperatorSubject, ReportChange, operator_match, operator_subject};
use async_trait::async_trait;
use decision::calendar::Calendars;
use journal::{Clock as _, Earlier, Entropy, RequestId, Time};
use places::Territories;
use prost::Message as _;
use register::answer::{complete, longest};
use register::checked::Group;
use register::file::{Format, Mode};
use register::key::{Key, Kind};
use register::load::{LoadError, LoadSummary, Loader, Request};
use register::store::{Activated, Activation, Error, Found, Load, RECORD, Store, Sweep, Version};
use register::{SqlStore, sweep};
use testkit::Backend;
use tokio_util::sync::CancellationToken;

use crate::fixture::{DAY, Fixture, HOUR};

testkit::on_each_backend!(
    p1_a_version_and_its_entry_in_the_log_are_one,
    readers_see_one_version_whole_while_another_is_loaded,
    changes_touch_the_names_that_they_name,
    what_is_loaded_already_is_no_new_version,
    what_contradicts_itself_is_refused_with_both_lines,
    only_looking_leaves_nothing,
    a_load_that_was_overtaken_changes_nothing,
    what_nobody_sees_is_swept,
    pages_go_through_the_register_in_order,
    the_longest_registered_name_that_holds_on_the_day_counts,
    p6_the_answer_is_a_fact_by_one_look_up_for_all_reports,
    a_report_costs_few_look_ups_whatever_its_hosts_are,
);

struct Register {
    fixture: Fixture,
    store: Arc<dyn Store>,
}

impl Register {
    async fn new(backend: Backend) -> Self {
        let fixture = Fixture::new(backend).await;
        let entropy = Arc::clone(&fixture.entropy) as Arc<dyn Entropy>;
        Self {
            store: Arc::new(SqlStore::new(fixture.db.clone(), entropy)),
            fixture,
        }
    }

    /// Loads a file in pieces of a few bytes.
    async fn load_as(&self, mode: Mode, validate_only: bool, file: &str) -> Result<LoadSummary, LoadError> {
        let request = Request {
            format: Format::Csv,
            mode,
            validate_only,
            actor: Actor {
                system: "operator".to_owned(),
                ..Actor::default()
            },
            traceparent: String::new(),
            request_id: None,
        };
        let mut loader = Loader::new(
            Arc::clone(&self.store),
            Arc::clone(&self.fixture.clock) as Arc<dyn journal::Clock>,
            CancellationToken::new(),
            Territories::shipped().clone(),
            request,
        );
        for piece in file.as_bytes().chunks(file.len() / 3 + 1) {
            loader = loader.piece(piece.to_vec()).await?;
        }
        loader.end(file.len() as i64, &mut |_| {}).await
    }

    async fn replace(&self, rows: &str) -> LoadSummary {
        self.load_as(Mode::Replace, false, &csv(rows)).await.unwrap()
    }

    async fn change(&self, rows: &str) -> LoadSummary {
        self.load_as(Mode::Change, false, &csv(rows)).await.unwrap()
    }

    /// The entries of names, in short form.
    async fn at(&self, names: &[&str]) -> Vec<String> {
        let keys = names.iter().map(|name| Key::from_stored(name).unwrap()).collect();
        shown(&self.store.find(keys).await.unwrap())
    }

    async fn whole(&self) -> Vec<String> {
        shown(&self.store.list(None, None, 1_000).await.unwrap())
    }

    async fn begin(&self) -> Load {
        self.store.begin(self.fixture.now()).await.unwrap()
    }
}

fn csv(rows: &str) -> String {
    format!("kind,key,place,valid_from,valid_to,operator,action\n{rows}")
}

/// Formats `domain:example.cn 350200`, with the days if there are any.
fn shown(found: &Found) -> Vec<String> {
    let entries = found.groups.iter().flat_map(|group| &group.entries);
    entries
        .map(|entry| {
            let period = entry.period();
            let days = [period.valid_from_date, period.valid_to_date]
                .map(|date| date.and_then(|date| api::day(&date)).map(|day| day.to_string()));
            let days = match days {
                [None, None] => String::new(),
                [from, to] => format!(" {}..{}", from.unwrap_or_default(), to.unwrap_or_default()),
            };
            format!("{} {}{days}", entry.key.stored(), entry.place)
        })
        .collect()
}

fn group(name: &str, place: &str) -> Group {
    let key = Key::from_stored(name).unwrap();
    let entry = register::entry::Entry {
        key: key.clone(),
        validity: register::entry::Validity::default(),
        place: place.parse().unwrap(),
        operator: String::new(),
    };
    Group {
        key,
        entries: vec![entry],
    }
}

fn activation(mode: Mode) -> Activation {
    Activation {
        mode,
        digest: [7; 32],
        entries: 1,
        added: 1,
        changed: 0,
        removed: 0,
        actor: Actor::default(),
        traceparent: String::new(),
        request_id: None,
    }
}

const TWO: &str = "domain,example.cn,350200,,,Example Ltd,\napp,cn.example.loan,US,,,,\n";

async fn p1_a_version_and_its_entry_in_the_log_are_one(backend: Backend) {
    let register = Register::new(backend).await;
    assert_eq!(register.store.version().await.unwrap(), Version::default());
    let first = register.replace(TWO).await;
    assert_eq!((first.version.version, first.version.entries, first.added), (1, 2, 2));
    register.fixture.clock.advance(HOUR);
    let second = register.change("domain,example.cn,,,,,remove\n").await;
    assert_eq!(register.store.version().await.unwrap(), second.version);
    assert_eq!(second.version.time, register.fixture.now());

    let rows = register
        .fixture
        .rows(
            "SELECT j.kind, j.sequence, o.payload FROM journal j JOIN outbox o ON o.record = j.record \
             AND o.consumer = 'audit' WHERE j.record = $1 AND o.position LIKE '%/0000000' || j.sequence || '/%' ORDER BY j.sequence",
            vec![RECORD.into()],
        )
        .await;
    assert_eq!(rows.len(), 2);
    for (row, outcome) in rows.iter().zip([&first, &second]) {
        assert_eq!(row.get::<String>("kind").unwrap(), "operators.loaded");
        assert_eq!(
            row.get::<i64>("sequence").unwrap(),
            outcome.version.version.cast_signed()
        );
        let change: Vec<u8> = row.get("payload").unwrap();
        let change = api::event::StateChange::decode(change.as_slice()).unwrap();
        let detail = Detail::decode(change.detail.unwrap().content).unwrap();
        assert_eq!(detail.version_digest.as_ref(), outcome.version.digest);
        assert_eq!(detail.actor.unwrap().system, "operator");
        let logged = detail.operator_register.unwrap();
        assert_eq!(
            (
                logged.version,
                logged.entry_count,
                logged.added_count,
                logged.removed_count
            ),
            (
                outcome.version.version.cast_signed(),
                outcome.version.entries.cast_signed(),
                outcome.added.cast_signed(),
                outcome.removed.cast_signed()
            )
        );
    }
    let others = "SELECT count(*) FROM outbox WHERE consumer <> 'audit'";
    assert_eq!(register.fixture.count(others).await, 0, "only the log is notified");

    // If the log cannot be written, there is no version either.
    register
        .fixture
        .execute("ALTER TABLE journal RENAME TO elsewhere")
        .await;
    let refused = register.load_as(Mode::Replace, false, &csv(TWO)).await;
    assert!(matches!(refused, Err(LoadError::Store(_))), "{refused:?}");
    assert_eq!(register.store.version().await.unwrap(), second.version);
    assert_eq!(register.whole().await, ["app:cn.example.loan US"]);
}

/// A register of `count` domains at one place.
fn domains(count: usize, place: &str) -> String {
    (0..count).map(|i| format!("domain,d{i}.cn,{place},,,,\n")).collect()
}

async fn readers_see_one_version_whole_while_another_is_loaded(backend: Backend) {
    let register = Arc::new(Register::new(backend).await);
    let count = 5_000;
    register.replace(&domains(count, "350200")).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (register, done) = (Arc::clone(&register), Arc::clone(&done));
        async move {
            let keys: Vec<Key> = (0..count)
                .step_by(100)
                .map(|i| Key::new(Kind::Domain, &format!("d{i}.cn")).unwrap())
                .collect();
            let mut seen = std::collections::BTreeSet::new();
            loop {
                // Checked once more after the load, when it must be the new version.
                let last = done.load(Ordering::SeqCst);
                let found = register.store.find(keys.clone()).await.unwrap();
                let place = ["", "350200", "110000"][usize::try_from(found.version.version).unwrap()];
                assert_eq!(found.groups.len(), keys.len());
                assert!(shown(&found).iter().all(|entry| entry.ends_with(place)), "{found:?}");
                seen.insert(found.version.version);
                if last {
                    return seen;
                }
            }
        }
    });
    let outcome = register.replace(&domains(count, "110000")).await;
    done.store(true, Ordering::SeqCst);
    assert_eq!(outcome.version.entries, count as u64);
    assert!(reader.await.unwrap().contains(&2));
}

async fn changes_touch_the_names_that_they_name(backend: Backend) {
    let register = Register::new(backend).await;
    // Also into an empty register.
    let first = register
        .change("domain,example.cn,350200,,,,\ndomain,a.example.cn,110000,,,,\napp,x,US,,,,\n")
        .await;
    assert_eq!((first.version.version, first.version.entries, first.added), (1, 3, 3));

    let second = register
        .change(
            "domain,example.cn,350200,,,,\n\
             domain,a.example.cn,120000,,2026-01-31,,\n\
             domain,a.example.cn,130000,2026-02-01,,,\n\
             app,x,,,,,remove\n\
             app,y,,,,,remove\n\
             platform,例,310000,,,,\n",
        )
        .await;
    assert_eq!((second.added, second.changed, second.removed), (1, 1, 1));
    assert_eq!((second.version.version, second.version.entries), (2, 4));
    let names = ["app:x", "domain:a.example.cn", "domain:example.cn", "platform:例"];
    let expected = [
        "domain:a.example.cn 120000 ..2026-01-31",
        "domain:a.example.cn 130000 2026-02-01..",
        "domain:example.cn 350200",
        "platform:例 310000",
    ];
    assert_eq!(register.at(&names).await, expected);
    assert_eq!(register.whole().await, expected);

    // A removed name comes back, and a replacement drops everything else.
    let third = register.change("app,x,JP,,,,\n").await;
    assert_eq!((third.added, third.version.entries), (1, 5));
    assert_eq!(register.at(&["app:x"]).await, ["app:x JP"]);
    let fourth = register.replace(TWO).await;
    assert_eq!((fourth.version.version, fourth.version.entries), (4, 2));
    assert_eq!(
        register.whole().await,
        ["app:cn.example.loan US", "domain:example.cn 350200"]
    );
    assert_eq!(
        register.at(&["app:x", "platform:例"]).await,
        [""; 0],
        "replaced entries are not found any more"
    );
    let live = "SELECT count(*) FROM operator_loads WHERE state = 'LIVE'";
    assert_eq!(register.fixture.count(live).await, 1);
    assert_eq!(
        register.fixture.count("SELECT count(*) FROM operator_versions").await,
        4
    );
}

async fn what_is_loaded_already_is_no_new_version(backend: Backend) {
    let register = Register::new(backend).await;
    let first = register.replace(TWO).await;
    // Written in another order and form, it is the same.
    let again = register
        .replace("app,CN.Example.Loan,US,,,,\n# a comment\ndomain,EXAMPLE.cn.,350200,,,Example Ltd,set\n")
        .await;
    assert!(again.unchanged);
    assert_eq!(again.version, first.version);
    let same = register
        .change("domain,example.cn,350200,,,Example Ltd,\napp,gone,,,,,remove\n")
        .await;
    assert!(same.unchanged);
    assert_eq!(same.version, first.version);
    assert_eq!(register.store.version().await.unwrap(), first.version);
    let logged = "SELECT count(*) FROM journal";
    assert_eq!(register.fixture.count(logged).await, 1);
    let other = register.change("domain,example.cn,350200,,,Another Ltd,\n").await;
    assert!(!other.unchanged, "the operator's name is content, too");
    assert_ne!(other.version.digest, first.version.digest);
}

async fn what_contradicts_itself_is_refused_with_both_lines(backend: Backend) {
    let register = Register::new(backend).await;
    let before = register.replace(TWO).await.version;
    let rows = "domain,example.cn,350200,,2026-03-01,,\n\
                domain,other.example.cn,350200,,,,\n\
                domain,Example.CN.,110000,2026-03-01,,,\n\
                app,x,US,2026-01-01,2026-12-31,,\n\
                app,x,US,2026-02-01,2026-02-28,,\n\
                app,x,US,2026-06-01,2026-06-30,,\n\
                app,x,US,2027-01-01,,,\n\
                app,y,US,,,,\n\
                app,y,,,,,remove\n\
                app,z,XX,,,,\n\
                app,v,,,,,remove\n\
                app,v,,,,,remove\n";
    for mode in [Mode::Change, Mode::Replace] {
        let Err(LoadError::Problems(problems)) = register.load_as(mode, false, &csv(rows)).await else {
            panic!("it contradicts itself")
        };
        let lines: Vec<_> = problems
            .iter()
            .map(|problem| (problem.line, problem.other_line))
            .collect();
        let expected: &[_] = match mode {
            Mode::Change => &[(4, 2), (6, 5), (7, 5), (10, 9), (11, 0), (13, 12)],
            // In a replacement, a removal itself is an error.
            Mode::Replace => &[(4, 2), (6, 5), (7, 5), (10, 0), (11, 0), (12, 0), (13, 0)],
        };
        assert_eq!(lines, expected, "{problems:#?}");
        assert!(
            problems[0]
                .description
                .contains("domain example.cn has another entry at the same time, on line 2")
        );
    }
    assert_eq!(register.store.version().await.unwrap(), before);
    assert_eq!(register.whole().await.len(), 2);

    // However many faults there are, a bounded number is reported.
    let twice = domains(3_000, "350200").repeat(2);
    let Err(LoadError::Problems(problems)) = register.load_as(Mode::Replace, false, &csv(&twice)).await else {
        panic!("each occurs twice")
    };
    assert_eq!(problems.len(), 1_000);
}

async fn only_looking_leaves_nothing(backend: Backend) {
    let register = Register::new(backend).await;
    let looked = register.load_as(Mode::Replace, true, &csv(TWO)).await.unwrap();
    assert_eq!((looked.version.version, looked.version.entries), (1, 2));
    assert_eq!(register.store.version().await.unwrap(), Version::default());
    let traces = "SELECT (SELECT count(*) FROM operator_entries) + (SELECT count(*) FROM operator_loads)";
    assert_eq!(register.fixture.count(traces).await, 0);
    let loaded = register.replace(TWO).await;
    assert_eq!(
        loaded.version.digest, looked.version.digest,
        "it reports the digest it would have"
    );
    let looked = register
        .load_as(Mode::Change, true, &csv("app,x,US,,,,\n"))
        .await
        .unwrap();
    assert_eq!(
        (looked.version.version, looked.version.entries, looked.added),
        (2, 3, 1)
    );
    assert_eq!(register.store.version().await.unwrap(), loaded.version);
    assert!(
        register
            .load_as(Mode::Change, true, &csv("app,x,XX,,,,\n"))
            .await
            .is_err()
    );
}

async fn a_load_that_was_overtaken_changes_nothing(backend: Backend) {
    let register = Register::new(backend).await;
    let (slow, fast) = (register.begin().await, register.begin().await);
    assert_ne!(slow.id, fast.id);
    for (load, place) in [(&slow, "350200"), (&fast, "110000")] {
        let now = register.fixture.now();
        register
            .store
            .add(load, &[group("domain:example.cn", place)], now)
            .await
            .unwrap();
    }
    let activate = |load: Load| {
        let (store, now) = (Arc::clone(&register.store), register.fixture.now());
        async move { store.activate(&load, activation(Mode::Change), now).await }
    };
    let Activated::Done(version) = activate(fast.clone()).await.unwrap() else {
        panic!("it is not in force");
    };
    assert_eq!(version.version, 1);
    assert_eq!(activate(slow.clone()).await.unwrap(), Activated::Overtaken);
    assert_eq!(register.at(&["domain:example.cn"]).await, ["domain:example.cn 110000"]);
    register.store.abandon(&slow).await.unwrap();
    assert_eq!(register.at(&["domain:example.cn"]).await, ["domain:example.cn 110000"]);
    // A load in force cannot be abandoned any more.
    register.store.abandon(&fast).await.unwrap();
    assert_eq!(register.at(&["domain:example.cn"]).await, ["domain:example.cn 110000"]);
}

async fn what_nobody_sees_is_swept(backend: Backend) {
    let register = Register::new(backend).await;
    let clock = Arc::clone(&register.fixture.clock);
    let rows = "SELECT count(*) FROM operator_entries";
    let swept = || async {
        sweep::step(&register.store, &*clock, &CancellationToken::new())
            .await
            .unwrap()
    };
    register.replace(&domains(4_500, "350200")).await;
    assert_eq!(swept().await, 0, "there is nothing to sweep");
    register.replace(&domains(100, "110000")).await;
    register.change("domain,d1.cn,,,,,remove\n").await;

    // One load is abandoned, the process of one has died, one is in progress.
    let (given_up, silent) = (register.begin().await, register.begin().await);
    let now = register.fixture.now();
    for load in [&given_up, &silent] {
        register
            .store
            .add(load, &[group("domain:d1.cn", "US")], now)
            .await
            .unwrap();
    }
    register.store.abandon(&given_up).await.unwrap();
    register.fixture.clock.advance(2 * HOUR);
    let under_way = register.begin().await;
    let now = register.fixture.now();
    register
        .store
        .add(&under_way, &[group("domain:d2.cn", "US")], now)
        .await
        .unwrap();
    assert_eq!(register.fixture.count(rows).await, 4_500 + 100 + 1 + 3);

    let before = register.whole().await;
    assert!(swept().await > 2, "in portions");
    assert_eq!(register.fixture.count(rows).await, 100 + 1 + 1);
    assert_eq!(register.whole().await, before);
    assert_eq!(before.len(), 99);

    // An abandoned load gets an error and cannot come into force.
    for load in [&given_up, &silent] {
        let late = register.store.add(load, &[group("domain:d3.cn", "US")], now).await;
        assert!(matches!(late, Err(Error::Raced(_))), "{late:?}");
        let late = register.store.activate(load, activation(Mode::Change), now).await;
        assert!(matches!(late, Err(Error::Raced(_))), "{late:?}");
    }
    assert_eq!(register.fixture.count(rows).await, 100 + 1 + 1);
    let activated = register
        .store
        .activate(&under_way, activation(Mode::Change), now)
        .await
        .unwrap();
    assert!(matches!(activated, Activated::Done(version) if version.version == 4));
    assert_eq!(register.at(&["domain:d2.cn"]).await, ["domain:d2.cn US"]);
    assert_eq!(swept().await, 0);
}

async fn pages_go_through_the_register_in_order(backend: Backend) {
    let register = Register::new(backend).await;
    register
        .replace("platform,z,US,,,,\napp,b,US,,2025-12-31,,\napp,b,JP,2026-01-01,,,\ndomain,b.cn,US,,,,\ndomain,a.cn,US,,,,\n")
        .await;
    register
        .change("domain,c.cn,US,,,,\napp,a,,,,,remove\ndomain,b.cn,,,,,remove\n")
        .await;
    let names = |found: &Found| found.groups.iter().map(|group| group.key.stored()).collect::<Vec<_>>();
    let mut after = None;
    let mut all = Vec::new();
    loop {
        let page = register.store.list(None, after.as_ref(), 2).await.unwrap();
        assert_eq!(page.version.version, 2);
        let Some(last) = page.groups.last() else { break };
        after = Some(last.key.clone());
        all.extend(names(&page));
    }
    assert_eq!(all, ["app:b", "domain:a.cn", "domain:c.cn", "platform:z"]);
    for (kind, expected) in [
        (Kind::App, &["app:b"][..]),
        (Kind::Domain, &["domain:a.cn", "domain:c.cn"]),
        (Kind::Platform, &["platform:z"]),
    ] {
        assert_eq!(
            names(&register.store.list(Some(kind), None, 9).await.unwrap()),
            expected
        );
    }
    let first = register.store.list(Some(Kind::App), None, 1).await.unwrap();
    assert_eq!(first.groups[0].entries.len(), 2, "a name comes with all its entries");
}

async fn the_longest_registered_name_that_holds_on_the_day_counts(backend: Backend) {
    let register = Register::new(backend).await;
    register
        .replace(
            "domain,example.com.cn,350200,,,,\n\
             domain,shop.example.com.cn,110000,2026-01-01,2026-06-30,,\n\
             domain,shop.example.com.cn,120000,2026-07-01,2026-12-31,,\n\
             domain,deep.shop.example.com.cn,130000,2027-01-01,,,\n",
        )
        .await;
    let names = |host: &str| {
        let subject = operator_subject::Subject::Host(host.to_owned());
        register::key::candidates(&OperatorSubject { subject: Some(subject) })
    };
    for (host, day, expected, tried) in [
        ("deep.shop.example.com.cn", "2026-06-30", Some("110000"), 2),
        ("deep.shop.example.com.cn", "2026-07-01", Some("120000"), 2),
        ("x.deep.shop.example.com.cn", "2027-01-01", Some("130000"), 2),
        ("shop.example.com.cn", "2025-12-31", Some("350200"), 2),
        ("workshop.example.com.cn", "2026-03-01", Some("350200"), 2),
        ("other.com.cn", "2026-03-01", None, 1),
        ("com.cn", "2026-03-01", None, 0),
    ] {
        let names = names(host);
        let found = register.store.find(names.clone()).await.unwrap();
        let (path, entry) = longest(names, &found, day.parse().unwrap());
        let place = entry.map(|entry| entry.place.to_string());
        assert_eq!(
            (place.as_deref(), path.len()),
            (expected, tried),
            "{host} {day}: {path:?}"
        );
    }
    let names = names("deep.shop.example.com.cn");
    let found = register.store.find(names.clone()).await.unwrap();
    let (path, _) = longest(names, &found, "2025-12-31".parse().unwrap());
    let told: Vec<_> = path.iter().map(|step| step.outcome.as_str()).collect();
    assert_eq!(
        told,
        [
            "registered from 2027-01-01 to now, but not for 2025-12-31",
            "registered from 2026-01-01 to 2026-06-30, and from 2026-07-01 to 2026-12-31, but not for 2025-12-31",
            "registered: 350200"
        ]
    );
}

/// Counts the register's look-ups.
/// Counts look-ups, and the names in them.
struct Counting(Arc<dyn Store>, AtomicUsize, AtomicUsize);

#[async_trait]
impl Store for Counting {
    async fn version(&self) -> Result<Version, Error> {
        self.0.version().await
    }
    async fn find(&self, keys: Vec<Key>) -> Result<Found, Error> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.2.fetch_add(keys.len(), Ordering::SeqCst);
        self.0.find(keys).await
    }
    async fn list(&self, kind: Option<Kind>, after: Option<&Key>, limit: u32) -> Result<Found, Error> {
        self.0.list(kind, after, limit).await
    }
    async fn begin(&self, now: Time) -> Result<Load, Error> {
        self.0.begin(now).await
    }
    async fn add(&self, load: &Load, groups: &[Group], now: Time) -> Result<(), Error> {
        self.0.add(load, groups, now).await
    }
    async fn activate(&self, load: &Load, activation: Activation, now: Time) -> Result<Activated, Error> {
        self.0.activate(load, activation, now).await
    }
    async fn earlier(&self, request: &RequestId) -> Result<Option<Earlier>, Error> {
        self.0.earlier(request).await
    }
    async fn answer(&self, request: &RequestId, answer: &LoadSummary, now: Time) -> Result<Option<Earlier>, Error> {
        self.0.answer(request, answer, now).await
    }
    async fn abandon(&self, load: &Load) -> Result<(), Error> {
        self.0.abandon(load).await
    }
    async fn sweep(&self, sweep: Option<Sweep>, silent: Time) -> Result<Option<Sweep>, Error> {
        self.0.sweep(sweep, silent).await
    }
}

async fn p6_the_answer_is_a_fact_by_one_look_up_for_all_reports(backend: Backend) {
    let register = Register::new(backend).await;
    let version = register
        .replace(
            "domain,example.cn,350200,,2026-03-01,,\n\
             domain,example.cn,110000,2026-03-02,,,\n\
             app,cn.example.loan,US,,,,\n\
             platform,示例视频,310000,,,,\n",
        )
        .await
        .version;
    let counting = Counting(Arc::clone(&register.store), AtomicUsize::new(0), AtomicUsize::new(0));
    let host = |text: &str| operator_subject::Subject::Host(text.to_owned());
    let platform = |text: &str| operator_subject::Subject::Platform(text.to_owned());
    let app = |text: &str| operator_subject::Subject::App(text.to_owned());
    let change = |subjects: Vec<operator_subject::Subject>, places: &[(ConnectingFactor, &str)], accepted: Time| {
        let place = |(factor, code): &(ConnectingFactor, &str)| Place {
            factor: (*factor).into(),
            location: Some(place::Location::Territory(format!("territories/{code}"))),
        };
        ReportChange {
            facts: Some(Facts {
                places: places.iter().map(place).collect(),
                accept_time: Some(accepted.to_proto()),
                ..Facts::default()
            }),
            subjects: subjects
                .into_iter()
                .map(|subject| OperatorSubject { subject: Some(subject) })
                .collect(),
            ..ReportChange::default()
        }
    };
    let today = register.fixture.clock.now();
    let server = [(ConnectingFactor::Server, "310000")];
    let mut changes = vec![
        change(vec![host("www.example.cn")], &server, today),
        // The previous day; in the calendar's zone it begins earlier than in UTC.
        change(vec![host("www.example.cn")], &[], today.plus_seconds(-DAY)),
        change(
            vec![
                host("nobody.example"),
                app("CN.example.loan"),
                host("example.cn"),
                host("x.example.cn"),
            ],
            &[],
            today,
        ),
        change(vec![platform("示例视频")], &[], today),
        change(vec![host("nobody.example")], &[], today),
        change(
            vec![host("example.cn")],
            &[(ConnectingFactor::Operator, "450100")],
            today,
        ),
        change(vec![host("192.0.2.7")], &[], today),
        change(vec![], &[], today),
    ];
    complete(&counting, &mut changes, Calendars::shipped(), today)
        .await
        .unwrap();
    assert_eq!(counting.1.load(Ordering::SeqCst), 1);

    let mut answers = Vec::new();
    for change in &changes {
        let facts = change.facts.as_ref().unwrap();
        assert_eq!(change.subjects, vec![], "subjects are not passed on");
        let location = |match_: &api::routing::OperatorMatch| match match_.location.clone().unwrap() {
            operator_match::Location::Territory(name) => name.replace("territories/", ""),
            operator_match::Location::RegionCode(code) => code,
        };
        let places: Vec<_> = facts
            .places
            .iter()
            .map(|place| (place.factor(), place.location.clone().unwrap()))
            .collect();
        assert!(places.is_sorted_by_key(|(factor, _)| *factor as i32));
        let operator = places.iter().find(|(factor, _)| *factor == ConnectingFactor::Operator);
        let operator = operator.map(|(_, location)| match location {
            place::Location::Territory(name) => name.replace("territories/", ""),
            place::Location::RegionCode(code) => code.clone(),
        });
        let told = facts.register_answer.as_ref().map(|answer| {
            assert_eq!((answer.version, answer.digest.as_ref()), (1, version.digest.as_slice()));
            let matches: Vec<_> = answer
                .matches
                .iter()
                .map(|one| format!("{} {}", one.registered_operator, location(one)))
                .collect();
            (answer.asked_count, matches.join(", "))
        });
        answers.push((operator, told));
    }
    let some = |place: &str, asked: i32, matches: &str| (Some(place.to_owned()), Some((asked, matches.to_owned())));
    assert_eq!(
        answers,
        [
            some("110000", 1, "operators/domain~example.cn 110000"),
            some("350200", 1, "operators/domain~example.cn 350200"),
            some(
                "US",
                4,
                "operators/app~cn.example.loan US, operators/domain~example.cn 110000"
            ),
            some("310000", 1, "operators/platform~示例视频 310000"),
            (None, Some((1, String::new()))),
            (Some("450100".to_owned()), None),
            (None, None),
            (None, None),
        ]
    );
    // Without names to look up, the register is not asked.
    complete(&counting, &mut changes, Calendars::shipped(), today)
        .await
        .unwrap();
    assert_eq!(counting.1.load(Ordering::SeqCst), 1);
}

async fn a_report_costs_few_look_ups_whatever_its_hosts_are(backend: Backend) {
    let register = Register::new(backend).await;
    register
        .replace(
            "domain,s7.cn,350200,,,,
             domain,4.5.6.7.8.s9.cn,310000,,,,
",
        )
        .await;
    let counting = Counting(Arc::clone(&register.store), AtomicUsize::new(0), AtomicUsize::new(0));
    // 50 hosts of the most labels that a name can have.
    let host = |n: usize| {
        let host = format!("{}1.2.3.4.5.6.7.8.s{n}.cn", "a.".repeat(110));
        OperatorSubject {
            subject: Some(operator_subject::Subject::Host(host)),
        }
    };
    let mut changes = [ReportChange {
        facts: Some(Facts::default()),
        subjects: (0..50).map(host).collect(),
        ..ReportChange::default()
    }];
    let today = register.fixture.clock.now();
    complete(&counting, &mut changes, Calendars::shipped(), today)
        .await
        .unwrap();
    assert_eq!(
        (counting.1.into_inner(), counting.2.into_inner()),
        (1, 50 * 6),
        "one look-up of six names for each subject"
    );
    // The deepest name that can be registered is found, and the shallowest.
    let [change] = changes;
    let answer = change.facts.unwrap().register_answer.unwrap();
    let found: Vec<_> = answer
        .matches
        .iter()
        .map(|found| found.registered_operator.as_str())
        .collect();
    assert_eq!(found, ["operators/domain~s7.cn", "operators/domain~4.5.6.7.8.s9.cn"]);
    // A deeper one would never be found.
    let file = csv("domain,3.4.5.6.7.8.s9.cn,310000,,,,\n");
    let Err(LoadError::Problems(problems)) = register.load_as(Mode::Change, false, &file).await else {
        panic!("it was loaded");
    };
    let told = format!("{problems:?}");
    assert!(told.contains("more than five labels below `s9.cn`"), "{told}");
}
