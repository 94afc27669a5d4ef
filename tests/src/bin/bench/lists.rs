//! Lists of an agency with 200,000 cases: pages at the start and far on, by state and by worklist,
//! and the counts.
//!
//! The reference is a statement that reads nothing.

use std::{sync::Arc, time::Instant};

use api::{event::Disposition, routing::CaseDisposition};
use decision::{
    calendar::Calendars,
    directory::{AgencyId, Directory},
    rules::{RuleSet, Taxonomy},
};
use hdrhistogram::Histogram;
use journal::{Clock as _, SystemClock, SystemEntropy, ordered_id};
use prost::Message as _;
use routing::{
    Routing,
    active::Active,
    case::{Party, State, Worklist},
    store::{Cursor, Listing, SqlStore, Store as _},
};
use sql::{Db, Insert, Kind, Value, transact};
use testkit::Backend;

/// Half of them are closed.
const CASES: i64 = 200_000;
const CHUNK: i64 = 4_000;
const PAGE: u32 = 100;
/// The page that is far on.
const FAR: usize = 999;
const SAMPLES: usize = 500;

const AGENCY: &str = "police-450100";

const COLUMNS: [Insert; 4] = [
    Insert::into(
        "cases",
        &[
            ("id", Kind::Text),
            ("category", Kind::Text),
            ("urgent", Kind::Int),
            ("open_time", Kind::Int),
            ("facts", Kind::Bytes),
            ("explanation", Kind::Bytes),
            ("matter", Kind::Bytes),
        ],
    ),
    Insert::into(
        "case_states",
        &[
            ("case_id", Kind::Text),
            ("state", Kind::Text),
            ("origin", Kind::Text),
            ("course", Kind::Bytes),
            ("disposition", Kind::Bytes),
            ("generation", Kind::Int),
            ("sequence", Kind::Int),
            ("hash", Kind::Bytes),
            ("change_time", Kind::Int),
        ],
    ),
    Insert::into(
        "case_parties",
        &[
            ("case_id", Kind::Text),
            ("agency", Kind::Text),
            ("part", Kind::Text),
            ("by_request", Kind::Int),
            ("place", Kind::Int),
            ("open_time", Kind::Int),
        ],
    ),
    Insert::into(
        "case_clocks",
        &[
            ("case_id", Kind::Text),
            ("kind", Kind::Text),
            ("owner", Kind::Text),
            ("generation", Kind::Int),
            ("unit", Kind::Text),
            ("budget", Kind::Int),
            ("used", Kind::Int),
            ("since", Kind::Int),
            ("pauses", Kind::Bytes),
            ("due", Kind::Int),
            ("provisional", Kind::Int),
            ("reminded", Kind::Int),
            ("next", Kind::Int),
        ],
    ),
];

/// Measures on both databases.
pub async fn run() -> anyhow::Result<()> {
    println!("\nLists of an agency with {CASES} cases, half of them closed; pages of {PAGE}");
    for (name, backend) in [
        ("SQLite", (|| Some(Backend::sqlite())) as fn() -> Option<Backend>),
        ("PostgreSQL", Backend::postgres),
    ] {
        if let Some(backend) = backend() {
            on(name, &backend).await?;
        }
    }
    Ok(())
}

async fn on(name: &str, backend: &Backend) -> anyhow::Result<()> {
    let db = Routing::open(backend.url()).await?;
    let active = Active::new(
        Arc::new(Directory::shipped().clone()),
        Arc::new(RuleSet::shipped().clone()),
    );
    for first in (0..CASES).step_by(usize::try_from(CHUNK)?) {
        transact!(db, |tx| fill(&mut tx, first))?;
    }
    let started = Instant::now();
    // Makes the lists, as after a change of their rules.
    let current = Routing::prepare(&db, active, &SystemClock, &SystemEntropy).await?;
    println!("  {name:<10} lists of all made anew in {:.1?}", started.elapsed());
    let store = SqlStore::new(
        db.clone(),
        Arc::new(current),
        Arc::new(Calendars::shipped().clone()),
        Arc::new(Taxonomy::shipped()),
        Arc::new(SystemEntropy),
    );
    let agency = AgencyId::new(AGENCY).map_err(|_| anyhow::anyhow!("no id"))?;
    let viewer = Party::Agency(agency.clone());
    let now = SystemClock.now();
    for (what, listing) in [
        ("all", None),
        ("closed", Some(Listing::State(State::CLOSED))),
        ("due next", Some(Listing::Worklist(Worklist::Due, now))),
        ("overdue", Some(Listing::Worklist(Worklist::Overdue, now))),
    ] {
        let mut far = None;
        for _ in 0..FAR {
            far = store.cases(&viewer, listing, far, PAGE).await?.next;
            anyhow::ensure!(far.is_some(), "{what} has fewer pages");
        }
        for (place, after) in [("first page", None), ("page 1,000", far)] {
            let times = pages(&store, &viewer, listing, after).await?;
            println!(
                "  {name:<10} {what:<9} {place:<11} {}   `SELECT 1`  {}",
                line(&times),
                line(&bare(&db).await?)
            );
        }
    }
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..SAMPLES / 5 {
        let started = Instant::now();
        store.count(&agency, now, 10_001).await?;
        times.record(u64::try_from(started.elapsed().as_nanos())?)?;
    }
    println!("  {name:<10} counts of all worklists   {}", line(&times));
    db.close().await;
    Ok(())
}

async fn pages(
    store: &SqlStore,
    viewer: &Party,
    listing: Option<Listing>,
    after: Option<Cursor>,
) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    for _ in 0..SAMPLES {
        let started = Instant::now();
        let page = store.cases(viewer, listing, after, PAGE).await?;
        times.record(u64::try_from(started.elapsed().as_nanos())?)?;
        anyhow::ensure!(page.items.len() == PAGE as usize, "a page is full");
    }
    Ok(times)
}

async fn bare(db: &Db) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    for _ in 0..SAMPLES {
        let started = Instant::now();
        db.ping().await?;
        times.record(u64::try_from(started.elapsed().as_nanos())?)?;
    }
    Ok(times)
}

#[allow(clippy::cast_precision_loss, reason = "figures are rounded for people")]
fn line(times: &Histogram<u64>) -> String {
    let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1e6;
    format!("p50 {:>6.2} ms   p99 {:>6.2} ms", millis(0.5), millis(0.99))
}

async fn fill(tx: &mut sql::Tx, first: i64) -> Result<(), sql::Error> {
    let now = SystemClock.now();
    let (mut cases, mut states, mut parties, mut clocks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let nothing = || Value::Bytes(Vec::new());
    let decided = CaseDisposition {
        disposition: Some(Disposition::default()),
        agency: format!("agencies/{AGENCY}"),
        holder: format!("agencies/{AGENCY}"),
        propose_time: Some(now.to_proto()),
        decide_time: Some(now.to_proto()),
        ..CaseDisposition::default()
    };
    let decided = Value::Bytes(decided.encode_to_vec());
    let int = Value::Int;
    for number in first..first + CHUNK {
        let id = Value::from(ordered_id(now, &SystemEntropy));
        // In no order, and the clocks have run out.
        let apart = number.wrapping_mul(2_654_435_761) % (90 * 86_400_000_000);
        let (opened, due) = (
            now.0 - 100 * 86_400_000_000 + apart,
            now.0 - 95 * 86_400_000_000 + apart,
        );
        let is_closed = number % 2 == 0;
        cases.push([
            id.clone(),
            "gambling".into(),
            int(0),
            int(opened),
            nothing(),
            nothing(),
            nothing(),
        ]);
        let (state, part) = if is_closed {
            ("CLOSED", "deciding")
        } else {
            ("IN_PROGRESS", "lead")
        };
        let origin = if is_closed {
            Value::Null(Kind::Text)
        } else {
            "routed".into()
        };
        states.push([
            id.clone(),
            state.into(),
            origin,
            nothing(),
            if is_closed {
                decided.clone()
            } else {
                Value::Null(Kind::Bytes)
            },
            int(2),
            int(2),
            Value::Hash([7; 32]),
            int(opened),
        ]);
        parties.push([id.clone(), AGENCY.into(), part.into(), int(0), int(0), int(opened)]);
        if !is_closed {
            clocks.push([
                id,
                "result".into(),
                AGENCY.into(),
                int(2),
                "calendar-days".into(),
                int(30),
                int(0),
                int(opened),
                nothing(),
                int(due),
                int(0),
                int(0),
                int(due),
            ]);
        }
    }
    let [of_cases, of_states, of_parties, of_clocks] = COLUMNS;
    of_cases.rows(tx, cases).await?;
    of_states.rows(tx, states).await?;
    of_parties.rows(tx, parties).await?;
    of_clocks.rows(tx, clocks).await.map(drop)
}
