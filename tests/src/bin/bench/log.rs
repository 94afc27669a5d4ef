//! A log of 10,000,000 entries: proofs from it on both databases, and verification of all of it
//! from a folder.
//!
//! The log is the same in each run, with four changes per record (`generate.rs`).
//! `REMIT_BENCH_ENTRIES` changes its size; 10,000,000 entries need 12 GB of disk and some minutes.
//! The proofs come from `remit serve audit` in a process of its own, for a client on one thread,
//! one call after the other (`proofs.rs`).

mod generate;
mod proofs;

use std::{path::Path, process::Command, sync::Arc, time::Instant};

use anyhow::Context as _;
use audit::{Audit, Config, verify::FilesVerifier};
use journal::{SystemClock, SystemEntropy, entry_hash};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use testkit::Backend;

use crate::memory;

const ENTRIES: u64 = 10_000_000;

/// Runs the section.
pub async fn run() -> anyhow::Result<()> {
    let entries = match std::env::var("REMIT_BENCH_ENTRIES") {
        Ok(entries) => entries.parse().context("REMIT_BENCH_ENTRIES")?,
        Err(_) => ENTRIES,
    };
    println!("\nA log of {entries} entries");
    let exported = TempDir::with_prefix("remit-bench-")?;
    let mut signed = None;
    for (name, backend) in [
        ("SQLite", (|| Some(Backend::sqlite())) as fn() -> Option<Backend>),
        ("PostgreSQL", Backend::postgres),
    ] {
        let Some(backend) = backend() else { continue };
        let folder = TempDir::with_prefix("remit-bench-")?;
        let config: Config = serde_json::from_value(serde_json::json!({
            "database": backend.url(),
            "origin": proofs::ORIGIN,
            "key_file": folder.path().join(proofs::KEY),
            "checkpoint_file": folder.path().join(proofs::CHECKPOINT),
        }))?;
        // Creates the key, the tables and the first checkpoint.
        let audit = Audit::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
        let vkey = audit.vkey().to_owned();
        audit.stop().await;
        let started = Instant::now();
        // The files do not depend on the database.
        let files = signed.is_none().then(|| exported.path());
        generate::generate(backend.url(), files, entries).await?;
        // Keeps out of the next measurement what the database still does about ten million new
        // rows, and gigabytes not yet written back.
        if backend.url().starts_with("postgres") {
            settle(backend.url()).await?;
        }
        anyhow::ensure!(Command::new("sync").status()?.success(), "`sync` failed");
        println!("  {name:<10}   made in {:.1?}", started.elapsed());
        let note = proofs::run(backend.url(), folder.path(), entries)?;
        signed.get_or_insert((note, vkey));
    }
    let (note, vkey) = signed.context("there is SQLite everywhere")?;
    verify(exported.path(), &note, &vkey)
}

/// Makes PostgreSQL do its pending work now: vacuum and write back the new rows. `pgbench` does the
/// same.
async fn settle(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        connection.execute(statement).await?;
    }
    Ok(connection.close().await?)
}

/// Verifies all files, reading on one thread and verifying on another. The reference is bare
/// hashing of as many blocks.
fn verify(folder: &Path, note: &str, vkey: &str) -> anyhow::Result<()> {
    let mut verifier = FilesVerifier::new(note, vkey, false)?;
    let entries = verifier.signed().size;
    let (send, receive) = std::sync::mpsc::sync_channel(64);
    let (paths, folder) = (verifier.files(), folder.to_owned());
    let started = Instant::now();
    let reading = std::thread::spawn(move || {
        for path in paths {
            let bytes = std::fs::read(folder.join(path.to_string()))?;
            if send.send((path, bytes)).is_err() {
                break;
            }
        }
        std::io::Result::Ok(())
    });
    let before = memory::resident("self")?;
    for (path, bytes) in receive {
        verifier.take(path, &bytes, |_, _| ())?;
    }
    reading.join().ok().context("the reader ends")??;
    let records = verifier.log().records();
    let after = memory::resident("self")?;
    verifier.finish()?;
    let rate = entries as f64 / started.elapsed().as_secs_f64();

    let started = Instant::now();
    // An entry of 190 bytes has four blocks, and the inner hash above it has two.
    let (leaf, node) = ([7; 190], [7; 64]);
    let hashes = entries.min(1_000_000);
    for _ in 0..hashes {
        std::hint::black_box(entry_hash(std::hint::black_box(&leaf)));
        std::hint::black_box(entry_hash(std::hint::black_box(&node)));
    }
    let bare = hashes as f64 / started.elapsed().as_secs_f64();
    println!(
        "  verified from its folder {rate:>9.0} entries/s   {:.2} × bare SHA-256 ({bare:.0}/s)   {records} records, {} kB more memory",
        rate / bare,
        after - before
    );
    Ok(())
}
