//! A log of 10,000,000 entries: proofs from it on both databases, and the verification of all of it from a folder.
//!
//! It is made by a seeded generator, four changes to a record, straight into the folder's files and the database's tables: through the
//! service it would take much longer. `REMIT_BENCH_ENTRIES` makes the log smaller or larger; 10,000,000 entries take 12 GB of disk
//! meanwhile, and some minutes.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc, time::Instant};

use anyhow::Context as _;
use api::audit::{GetCheckpointRequest, GetConsistencyProofRequest, GetInclusionProofRequest};
use audit::{
    Audit, Config, Edge, SCHEMAS,
    tiles::{Content, TilePath, files, put_entry},
    verify::FilesVerifier,
};
use hdrhistogram::Histogram;
use journal::{Bytes32, Entry, SystemClock, SystemEntropy, Time, entry_hash};
use rpc::Role;
use sql::{Db, Insert, Kind};
use tempfile::TempDir;
use testkit::Backend;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::append;

const ENTRIES: u64 = 10_000_000;
/// Changes of one record.
const LIFE: u64 = 4;
/// Records whose changes lie between each other.
const SIDE_BY_SIDE: u64 = 1_000;
/// Proofs of each kind that are asked for, one after the other.
const PROOFS: u64 = 5_000;

const ROWS_AT_ONCE: usize = 20_000;

const TILES: Insert = Insert::into(
    "tiles",
    &[("level", Kind::Int), ("n", Kind::Int), ("hashes", Kind::Bytes)],
)
.then("ON CONFLICT (level, n) DO UPDATE SET hashes = excluded.hashes");
const ROWS: Insert = Insert::into(
    "entries",
    &[
        ("idx", Kind::Int),
        ("event_id", Kind::Text),
        ("record", Kind::Text),
        ("sequence", Kind::Int),
        ("kind", Kind::Text),
        ("time", Kind::Int),
        ("entry", Kind::Bytes),
    ],
);
const DETAILS: Insert = Insert::into(
    "details",
    &[("idx", Kind::Int), ("salt", Kind::Bytes), ("detail", Kind::Bytes)],
);

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
            "origin": "remit.bench/log",
            "key_file": folder.path().join("log.key"),
            "checkpoint_file": folder.path().join("checkpoint"),
        }))?;
        // Makes key, tables and the first checkpoint.
        start(&config).await?.stop().await;
        let started = Instant::now();
        // The files are the same whatever the database.
        let files = signed.is_none().then(|| exported.path());
        generate(backend.url(), files, entries).await?;
        // Gigabytes are on their way to the disk still; what is measured next is not that.
        anyhow::ensure!(Command::new("sync").status()?.success(), "`sync` failed");
        println!("  {name:<10}   made in {:.1?}", started.elapsed());
        let audit = start(&config).await?;
        prove(&audit, entries).await?;
        let published = audit.published().borrow().note.clone();
        signed.get_or_insert((published, audit.vkey().to_owned()));
        audit.stop().await;
    }
    let (note, vkey) = signed.context("there is SQLite everywhere")?;
    verify(exported.path(), &note, &vkey)
}

async fn start(config: &Config) -> anyhow::Result<Audit> {
    Ok(Audit::start(config.clone(), Arc::new(SystemClock), Arc::new(SystemEntropy)).await?)
}

/// The next index that is asked for: spread over the log, and the same in each run.
fn asked(i: u64, entries: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries
}

/// Makes the entries, and what leads from them to the root.
async fn generate(database: &str, folder: Option<&Path>, entries: u64) -> anyhow::Result<()> {
    let db = Db::open(database, SCHEMAS).await?;
    let mut last: BTreeMap<u64, Bytes32> = BTreeMap::new();
    let mut edge = Edge::empty();
    let write = |path: TilePath, bytes: &[u8]| -> anyhow::Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        let file = folder.join(path.to_string());
        std::fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        Ok(std::fs::write(file, bytes)?)
    };
    let (mut tiles, mut rows, mut details) = (Vec::new(), Vec::new(), Vec::new());
    let mut index = 0;
    for bundle in files(entries, false).filter(|file| file.content == Content::Entries) {
        let (mut bytes, mut leaves) = (Vec::new(), Vec::new());
        for _ in 0..bundle.width {
            // A thousand records live side by side, each through its changes.
            let (block, place) = (index / (SIDE_BY_SIDE * LIFE), index % SIDE_BY_SIDE);
            let record = block * SIDE_BY_SIDE + place;
            let sequence = index / SIDE_BY_SIDE % LIFE + 1;
            let mut commitment = [7; 32];
            commitment[..8].copy_from_slice(&index.to_be_bytes());
            let entry = Entry {
                event_id: event(index),
                source: "routing".to_owned(),
                record: format!("cases/{}", Uuid::from_u128(u128::from(record) << 64 | 2)),
                sequence,
                previous: last.remove(&record).unwrap_or_default(),
                caused_by: None,
                kind: "case.acknowledged".to_owned(),
                time: Time(1_795_305_600_000_000 + index.cast_signed()),
                commitment,
            };
            let encoded = entry.encode();
            let hash = entry_hash(&encoded);
            if sequence < LIFE {
                last.insert(record, hash);
            }
            put_entry(&mut bytes, &encoded);
            rows.push([
                index.cast_signed().into(),
                entry.event_id.to_string().into(),
                entry.record.into(),
                sequence.cast_signed().into(),
                entry.kind.into(),
                entry.time.0.into(),
                encoded.into(),
            ]);
            details.push([index.cast_signed().into(), [7; 32].into(), vec![7; 80].into()]);
            leaves.push(hash);
            index += 1;
        }
        write(bundle, &bytes)?;
        let (grown, new) = edge.grow(&leaves)?;
        edge = grown;
        for (id, hashes) in new {
            let width = u16::try_from(hashes.len() / 32)?;
            let path = TilePath {
                content: Content::Hashes(id.level),
                n: id.n,
                width,
            };
            // Partial tiles of the levels above come again and again: only the last counts.
            if path.is_full() || index == entries {
                write(path, &hashes)?;
                tiles.push([i64::from(id.level).into(), id.n.cast_signed().into(), hashes.into()]);
            }
        }
        if rows.len() >= ROWS_AT_ONCE || index == entries {
            let mut tx = db.begin().await?;
            TILES.rows(&mut tx, std::mem::take(&mut tiles)).await?;
            ROWS.rows(&mut tx, std::mem::take(&mut rows)).await?;
            DETAILS.rows(&mut tx, std::mem::take(&mut details)).await?;
            tx.commit().await?;
        }
    }
    let mut tx = db.begin().await?;
    let open: Vec<_> = edge
        .tiles()
        .map(|(id, hashes)| [i64::from(id.level).into(), id.n.cast_signed().into(), hashes.into()])
        .collect();
    for (id, hashes) in edge.tiles() {
        let (content, width) = (Content::Hashes(id.level), u16::try_from(hashes.len() / 32)?);
        write(
            TilePath {
                content,
                n: id.n,
                width,
            },
            hashes,
        )?;
    }
    TILES.rows(&mut tx, open).await?;
    let head = edge.head();
    let values = vec![head.size.cast_signed().into(), head.root.into()];
    tx.execute("UPDATE head SET size = $1, root = $2", values).await?;
    tx.commit().await?;
    db.close().await;
    Ok(())
}

/// The event of an entry.
fn event(index: u64) -> Uuid {
    Uuid::from_u128(u128::from(index) << 64 | 1)
}

/// Asks for proofs by gRPC, one after the other.
async fn prove(audit: &Audit, entries: u64) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let (address, serving) = append::serve(audit, "inspector", Role::Operator, &shutdown).await?;
    let mut client = append::client(&address)?;
    let before = memory()?;
    let (mut inclusion, mut consistency) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    // What a call that reads one row costs here and now: the reference.
    let mut bare = Histogram::<u64>::new(3)?;
    let health = audit.health();
    for i in 0..PROOFS {
        let started = Instant::now();
        client.get_checkpoint(GetCheckpointRequest {}).await?;
        health().await;
        bare.record(u64::try_from(started.elapsed().as_micros())?)?;
        let index = asked(i, entries);
        // As an auditor asks, and as the owner of a receipt does.
        let request = match i % 2 {
            0 => GetInclusionProofRequest {
                index: Some(index.cast_signed()),
                ..GetInclusionProofRequest::default()
            },
            _ => GetInclusionProofRequest {
                event_id: event(index).to_string(),
                ..GetInclusionProofRequest::default()
            },
        };
        let started = Instant::now();
        client.get_inclusion_proof(request).await?;
        inclusion.record(u64::try_from(started.elapsed().as_micros())?)?;
        let request = GetConsistencyProofRequest {
            old_size: index.cast_signed() + 1,
            new_size: 0,
        };
        let started = Instant::now();
        client.get_consistency_proof(request).await?;
        consistency.record(u64::try_from(started.elapsed().as_micros())?)?;
    }
    let reference = ("a checkpoint by gRPC, and `SELECT 1`", bare);
    for (name, latency) in [
        reference,
        ("inclusion proof by gRPC", inclusion),
        ("consistency proof by gRPC", consistency),
    ] {
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0;
        println!("  {name:<36}   p50 {:.2} ms   p99 {:.2} ms", ms(0.5), ms(0.99));
    }
    println!("  memory before {before} kB, after {} kB", memory()?);
    shutdown.cancel();
    serving.await??;
    Ok(())
}

/// Verifies all files, reading on one thread and verifying on another; beside it, the bare hashing of as many blocks.
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
    let before = memory()?;
    for (path, bytes) in receive {
        verifier.take(path, &bytes, |_, _| ())?;
    }
    reading.join().ok().context("the reader ends")??;
    let records = verifier.log().records();
    let after = memory()?;
    verifier.finish()?;
    let rate = entries as f64 / started.elapsed().as_secs_f64();

    let started = Instant::now();
    // An entry of 190 bytes is four blocks, and each gives one inner hash of two.
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
        after.saturating_sub(before)
    );
    Ok(())
}

/// What this process holds in memory, in kB.
fn memory() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line
        .and_then(|line| line.split_whitespace().next())
        .context("a process has memory")?;
    Ok(kb.parse()?)
}
