//! The operator register: load time and memory for a million entries, and look-up time among them.
//!
//! The references are the database's own bulk insert of the same rows, sorted and checked, in one
//! transaction, and a statement that reads nothing.

use std::{
    collections::BTreeSet,
    io::{BufWriter, Read as _, Seek as _, Write as _},
    sync::Arc,
    time::Instant,
};

use api::{
    event::Actor,
    routing::{OperatorSubject, operator_subject::Subject},
};
use hdrhistogram::Histogram;
use places::Territories;
use register::{
    SqlStore,
    file::{Format, Mode},
    key::{Key, candidates},
    load::{Loader, Request},
    store::Store,
};
use routing::Routing;
use sql::{Insert, Kind, Value, transact};
use testkit::Backend;
use tokio_util::sync::CancellationToken;

use crate::memory;

const ENTRIES: u32 = 1_000_000;
const LOOK_UPS: u32 = 20_000;
/// Reports per delivery.
const DELIVERY: u32 = 1_000;

const ROWS: Insert = Insert::into(
    "operator_entries",
    &[
        ("key", Kind::Text),
        ("load", Kind::Int),
        ("valid_from", Kind::Text),
        ("valid_to", Kind::Text),
        ("place", Kind::Text),
        ("operator", Kind::Text),
    ],
);

/// Measures everything on both databases.
pub async fn run() -> anyhow::Result<()> {
    println!("\nThe operator register, {ENTRIES} entries in no order");
    let mut file = csv()?;
    for (name, engine) in [("SQLite", Some(Backend::sqlite as fn() -> _)), ("PostgreSQL", None)] {
        let backend = || engine.map(|sqlite| sqlite()).or_else(Backend::postgres);
        let (Some(backend), Some(reference)) = (backend(), backend()) else {
            continue;
        };
        let inserted = bulk_insert(&reference).await?;
        on(name, &backend, &mut file, inserted).await?;
    }
    Ok(())
}

/// A domain that does not exist otherwise; in no order.
fn domain(i: u32) -> String {
    format!("site-{:08x}.example.cn", i.wrapping_mul(2_654_435_761))
}

fn csv() -> anyhow::Result<std::fs::File> {
    let mut file = BufWriter::new(tempfile::tempfile()?);
    writeln!(file, "kind,key,place,operator,valid_from")?;
    for i in 0..ENTRIES {
        writeln!(file, "domain,{},350200,Operator number {i},2026-01-01", domain(i))?;
    }
    Ok(file.into_inner()?)
}

/// Entries per second.
async fn bulk_insert(backend: &Backend) -> anyhow::Result<f64> {
    let db = Routing::open(backend.url()).await?;
    let names: BTreeSet<String> = (0..ENTRIES).map(domain).collect();
    let names: Vec<String> = names.into_iter().collect();
    let started = Instant::now();
    transact!(db, |tx| insert(&mut tx, &names))?;
    let rate = f64::from(ENTRIES) / started.elapsed().as_secs_f64();
    db.close().await;
    Ok(rate)
}

async fn insert(tx: &mut sql::Tx, names: &[String]) -> Result<(), sql::Error> {
    for names in names.chunks(4_096) {
        let row = |name: &String| {
            let key = format!("domain:{name}");
            let operator = "Operator number 123456";
            [
                key.into(),
                1_i64.into(),
                "2026-01-01".into(),
                "".into(),
                "350200".into(),
                operator.into(),
            ]
        };
        let rows: Vec<[Value; 6]> = names.iter().map(row).collect();
        ROWS.rows(tx, rows).await?;
    }
    Ok(())
}

async fn on(name: &str, backend: &Backend, file: &mut std::fs::File, inserted: f64) -> anyhow::Result<()> {
    let db = Routing::open(backend.url()).await?;
    let store: Arc<dyn Store> = Arc::new(SqlStore::new(db.clone(), Arc::new(journal::SystemEntropy)));
    let before = memory::resident("self")?;
    memory::forget_peak()?;
    let started = Instant::now();
    let entries = load(&store, file).await?;
    let rate = entries as f64 / started.elapsed().as_secs_f64();
    let peak = memory::peak()? - before;
    println!(
        "  {name:<10} load      {rate:>7.0}/s, {:.2} × the database's own bulk insert of the same rows, sorted ({inserted:.0}/s); {} MB more at the peak",
        rate / inserted,
        peak / 1_000
    );

    let mut bare = Histogram::<u64>::new(3)?;
    let mut found = Histogram::<u64>::new(3)?;
    for i in 0..LOOK_UPS {
        // Every other one exists, one label below a registered name.
        let subject = Subject::Host(format!("www.login.{}", domain(i.wrapping_mul(97) % (2 * ENTRIES))));
        let names = candidates(&OperatorSubject { subject: Some(subject) });
        let started = Instant::now();
        store.find(names).await?;
        found.record(u64::try_from(started.elapsed().as_nanos())?)?;
        let started = Instant::now();
        db.ping().await?;
        bare.record(u64::try_from(started.elapsed().as_nanos())?)?;
    }
    let line = |times: &Histogram<u64>| {
        let micros = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
        format!("p50 {:>5.0} µs   p99 {:>5.0} µs", micros(0.5), micros(0.99))
    };
    println!("  {name:<10} look-up   {}   `SELECT 1`  {}", line(&found), line(&bare));
    let names: Vec<Key> = (0..DELIVERY)
        .flat_map(|i| {
            let subject = Some(Subject::Host(format!("www.login.{}", domain(i))));
            candidates(&OperatorSubject { subject })
        })
        .collect();
    let started = Instant::now();
    store.find(names).await?;
    let each = started.elapsed() / DELIVERY;
    println!("  {name:<10} look-up of {DELIVERY} reports at once   {each:.1?} each");
    db.close().await;
    Ok(())
}

async fn load(store: &Arc<dyn Store>, file: &mut std::fs::File) -> anyhow::Result<u64> {
    let request = Request {
        format: Format::Csv,
        mode: Mode::Replace,
        validate_only: false,
        actor: Actor::default(),
        traceparent: String::new(),
        request_id: None,
    };
    let mut loader = Loader::new(
        Arc::clone(store),
        Arc::new(journal::SystemClock),
        CancellationToken::new(),
        Territories::shipped().clone(),
        request,
    );
    file.rewind()?;
    let mut bytes = 0;
    loop {
        let mut piece = vec![0; 256 << 10];
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        bytes += read;
        piece.truncate(read);
        loader = loader.piece(piece).await?;
    }
    let outcome = loader.end(i64::try_from(bytes)?, &mut |_| {}).await?;
    Ok(outcome.version.entries)
}
