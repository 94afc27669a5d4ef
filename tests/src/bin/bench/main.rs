//! Measures Remit's performance. Each figure is printed beside a reference from the same run,
//! because machines differ. `make bench` runs it on a release build.

#![allow(clippy::cast_precision_loss, reason = "figures are rounded for people")]

mod append;
mod directory;
mod echo;
mod lists;
mod load;
mod log;
mod memory;
mod operators;
mod submit;
mod whole;

use std::time::{Duration, Instant};

use load::{ordered_request_id, random_request_id};
use tempfile::TempDir;
use testkit::Backend;
use tests::process::{Databases, Process};
use tokio_util::sync::CancellationToken;

/// The allocator of `remit`, for the references too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLERS: usize = 64;
const DURATION: Duration = Duration::from_secs(10);
/// The rate that a small node must sustain, per second.
const SUSTAINED: u32 = 2_000;

/// The sections. With names on the command line, only those run.
const SECTIONS: [&str; 8] = [
    "start",
    "directory",
    "submit",
    "append",
    "operators",
    "lists",
    "log",
    "whole",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = chosen.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        anyhow::bail!("no section is called `{unknown}`; there are {}", SECTIONS.join(", "));
    }
    for section in SECTIONS {
        if !chosen.is_empty() && !chosen.iter().any(|name| name == section) {
            continue;
        }
        match section {
            "start" => start_up().await?,
            "directory" => directory::run()?,
            "submit" => submit().await?,
            "append" => append::run().await?,
            "operators" => operators::run().await?,
            "lists" => lists::run().await?,
            "log" => log::run().await?,
            "whole" => whole_way().await?,
            _ => unreachable!("every section is listed"),
        }
    }
    Ok(())
}

/// Intake alone, compared with a bare server that answers the same message. The machine's speed
/// varies during the run, so the bare server is measured before and after each, and their mean is
/// the reference.
async fn submit() -> anyhow::Result<()> {
    println!("\nSubmitReport, {CALLERS} callers, durable, consumers stopped; {DURATION:?} each");
    let echo = echo::serve().await?;
    let mut before = bare_echo(&echo).await?;
    for (name, backend) in [
        ("SQLite", (|| Some(Backend::sqlite())) as fn() -> Option<Backend>),
        ("PostgreSQL", Backend::postgres),
    ] {
        for (ids, request_id) in [
            ("request ids of version 7", ordered_request_id as fn() -> String),
            ("random request ids", random_request_id),
        ] {
            let Some(backend) = backend() else { continue };
            let shutdown = CancellationToken::new();
            let (address, token) = submit::serve(&backend, &shutdown).await?;
            let measured = load::submit(&address, token, CALLERS, DURATION, request_id).await?;
            shutdown.cancel();
            println!("  {name:<16}  {}   {ids}", measured.line());
            let after = bare_echo(&echo).await?;
            println!(
                "  {:16}  {:.2} × the echo before and after",
                "",
                measured.rate / f64::midpoint(before, after)
            );
            before = after;
        }
    }
    let shutdown = CancellationToken::new();
    let stack = echo::serve_behind_stack(submit::TOKEN, &shutdown).await?;
    let behind = load::submit(&stack, submit::TOKEN, CALLERS, DURATION, ordered_request_id).await?;
    println!("  echo behind ours  {}", behind.line());
    shutdown.cancel();
    Ok(())
}

async fn bare_echo(address: &str) -> anyhow::Result<f64> {
    let bare = load::submit(address, "nobody-looks-at-it", CALLERS, DURATION, ordered_request_id).await?;
    println!("  bare tonic echo   {}", bare.line());
    Ok(bare.rate)
}

/// All three services in a process of their own.
async fn whole_way() -> anyhow::Result<()> {
    println!("\nThe whole way: submitted, routed, logged, published; server, client and database on this machine");
    for (name, databases) in [
        ("SQLite", Some(Databases::Sqlite)),
        ("PostgreSQL", Databases::postgres()),
    ] {
        let Some(databases) = databases else { continue };
        let folder = TempDir::with_prefix("remit-bench-")?;
        let process = Process::start(folder.path(), &databases, &[]);
        let paced = whole::run(&process, CALLERS, Some(SUSTAINED), DURATION).await?;
        println!("  {name:<11} at {SUSTAINED}/s   {}", paced.line());
        let fastest = whole::run(&process, CALLERS, None, DURATION).await?;
        println!("  {name:<11} flat out  {}", fastest.line());
    }
    Ok(())
}

/// Time from the start of the process to the first answer, and its idle memory.
async fn start_up() -> anyhow::Result<()> {
    let folder = TempDir::with_prefix("remit-bench-")?;
    for which in ["first", "second"] {
        let started = Instant::now();
        let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
        process
            .audit()
            .get_checkpoint(api::audit::GetCheckpointRequest {})
            .await?;
        let taken = started.elapsed();
        tokio::time::sleep(Duration::from_secs(3)).await;
        println!(
            "{which} start to first answer {taken:.0?}, idle {} kB",
            memory::resident(&process.id().to_string())?
        );
    }
    let size = std::fs::metadata(tests::process::binary())?.len();
    println!("binary {:.1} MB", size as f64 / 1e6);
    Ok(())
}
