//! Measures the decision: `cargo run --release -p decision --example figures [FOLDER]`.
//!
//! Writes to FOLDER what `benches/zen` needs for the same decisions in another engine.
//!
//! Prints the median of single decisions, with the explanation as numbers and in words; the rate of
//! a simulation over a file of a million facts, including reading; and the time to read and compile
//! both shipped rule sets. Examines ten thousand random worlds.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement ends where something is wrong"
)]

mod table;
#[path = "../../tests/it/worlds.rs"]
mod worlds;

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use api::routing::Facts;
use decision::decide::{decide, rule};
use decision::directory::Directory;
use decision::facts::{FactsLine, Situation};
use decision::rules::{RuleSet, SHIPPED};
use decision::simulate::Simulation;
use serde_json::json;

/// The allocator of `remit` itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of random worlds examined.
const WORLDS: u64 = 10_000;
/// Number of facts in the simulation's file.
const FILE: usize = 1_000_000;

fn main() {
    let directory = Directory::shipped();
    let rules = table::rule_set();
    let reports = table::reports(2_000, 1);
    let facts: Vec<Facts> = reports
        .iter()
        .map(|report| rpc::json::parse(&report.json()).unwrap())
        .collect();
    println!(
        "{} rows of 4 conditions, {} kinds of facts, one core",
        table::ROWS,
        facts.len()
    );
    let explained = median(&facts, |facts| {
        black_box(rule(&Situation::from(facts), &rules, directory));
    });
    line("decision with explanation", &explained);
    let rows_alone = table::rows_alone();
    let row = median(&facts, |facts| {
        black_box(rule(&Situation::from(facts), &rows_alone, directory));
    });
    line("  of it the row, and why no other", &row);
    if let Some(folder) = std::env::args().nth(1) {
        let medians = json!({"explained": explained[0], "row": row[0]});
        hand_over(Path::new(&folder), &reports, &facts, [&rules, &rows_alone], &medians);
    }
    line(
        "  and its words, digest of the facts",
        &median(&facts, |facts| {
            black_box(decide(facts, &rules, directory));
        }),
    );
    line(
        "shipped set ranked",
        &median(&facts, |facts| {
            black_box(rule(&Situation::from(facts), RuleSet::shipped(), directory));
        }),
    );
    line(
        "shipped set first-receiver",
        &median(&facts, |facts| {
            black_box(rule(
                &Situation::from(facts),
                RuleSet::shipped_first_receiver(),
                directory,
            ));
        }),
    );

    let started = Instant::now();
    for (_, yaml) in SHIPPED {
        black_box(RuleSet::parse(yaml, directory).unwrap());
    }
    println!(
        "both shipped sets read, checked and compiled: {:.1?}",
        started.elapsed()
    );

    simulation(directory);

    let seed = testkit::seed();
    let started = Instant::now();
    worlds::examine(WORLDS, seed);
    println!(
        "{WORLDS} random worlds from seed {seed}: each decision deterministic, one owner or a named superior, nobody \
         excluded, replays equal, columns as evaluated plainly; {:.1?}",
        started.elapsed()
    );
}

/// Median and 99th percentile of single calls, in nanoseconds, after a warm-up round.
fn median(facts: &[Facts], mut call: impl FnMut(&Facts)) -> [u64; 2] {
    let mut taken: Vec<u64> = Vec::with_capacity(facts.len() * 50);
    for round in 0..51 {
        for facts in facts {
            let started = Instant::now();
            call(facts);
            if round > 0 {
                taken.push(u64::try_from(started.elapsed().as_nanos()).unwrap());
            }
        }
    }
    taken.sort_unstable();
    [taken[taken.len() / 2], taken[taken.len() * 99 / 100]]
}

fn line(what: &str, [median, p99]: &[u64; 2]) {
    println!(
        "{what:<40} median {:>6.2} µs   p99 {:>6.2} µs",
        *median as f64 / 1e3,
        *p99 as f64 / 1e3
    );
}

/// Writes the input for another engine: the rows, the columns' inputs for each of the facts, the
/// matching rows, and the medians for comparison.
fn hand_over(
    folder: &Path,
    reports: &[table::Report],
    facts: &[Facts],
    [rules, rows_alone]: [&RuleSet; 2],
    medians: &serde_json::Value,
) {
    let rows: Vec<_> = table::rows()
        .iter()
        .map(|row| {
            json!({
                "category": row.category, "urgent": row.urgent, "lossFrom": row.loss_from, "relation": row.relation,
            })
        })
        .collect();
    let mut lines = String::new();
    for (report, facts) in reports.iter().zip(facts) {
        let found = [rules, rows_alone].map(|rules| {
            rule(&Situation::from(facts), rules, Directory::shipped())
                .row()
                .id
                .clone()
        });
        assert_eq!(found[0], found[1]);
        let situation = json!({
            "category": report.category, "urgent": report.urgent, "loss": report.loss, "relation": report.relation,
        });
        let line = json!({"situation": situation, "row": found[0]});
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("rows.json"), json!(rows).to_string()).unwrap();
    std::fs::write(folder.join("facts.ndjson"), lines).unwrap();
    std::fs::write(folder.join("medians.json"), medians.to_string()).unwrap();
}

/// As `remit route simulate --summary`: line by line from a file.
fn simulation(directory: &Directory) {
    let path = std::env::temp_dir().join(format!("remit-figures-{}.ndjson", std::process::id()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for report in table::reports(FILE, 2) {
        writeln!(file, "{}", report.json()).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    let started = Instant::now();
    let mut reader = BufReader::with_capacity(1 << 20, std::fs::File::open(&path).unwrap());
    let mut simulation = Simulation::new(RuleSet::shipped(), RuleSet::shipped_first_receiver(), directory);
    let mut read = Duration::ZERO;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        let facts = FactsLine::parse(&line).unwrap();
        simulation.compare(&facts.situation(), |_, _| ());
        line.clear();
    }
    let taken = started.elapsed();
    // Reading alone, to know its share.
    let reading = Instant::now();
    let mut reader = BufReader::with_capacity(1 << 20, std::fs::File::open(&path).unwrap());
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        black_box(FactsLine::parse(&line).unwrap().situation());
        line.clear();
    }
    read += reading.elapsed();
    std::fs::remove_file(&path).unwrap();
    let summary = simulation.summary();
    println!(
        "simulation of {FILE} facts ({} MB), ranked against first-receiver: {:.0}/s, {} differ; reading alone {:.0}/s",
        size / 1_000_000,
        FILE as f64 / taken.as_secs_f64(),
        summary.different_count,
        FILE as f64 / read.as_secs_f64()
    );
}
