//! Proofs from `remit serve audit`, beside the calls that read one entry, or nothing, and beside bare threads that wake each other.
//!
//! The last is what tells machines apart. A virtual one that lends its processors away as soon as they idle gets them back late: set
//! Linux's `haltpoll` parameter `guest_halt_poll_ns` to its default of 200000 where it was set to 0, and measure again.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Instant,
};

use anyhow::Context as _;
use api::audit::{GetCheckpointRequest, GetConsistencyProofRequest, GetInclusionProofRequest, ListChangesRequest};
use hdrhistogram::Histogram;
use remit::data_dir::write_tokens;
use rpc::{Role, Token};

use super::generate::event;
use crate::{append, memory};

/// The log's name, and its files in the folder.
pub const ORIGIN: &str = "remit.bench/log";
pub const KEY: &str = "log.key";
pub const CHECKPOINT: &str = "checkpoint";

/// Calls of each kind.
const CALLS: u64 = 5_000;

/// Serves the log of a database and asks for proofs; returns the checkpoint that they lead to.
pub fn run(database: &str, folder: &Path, entries: u64) -> anyhow::Result<String> {
    let server = Server::start(database, folder)?;
    // A client on one thread, as most are: a runtime of several wakes more threads than it needs.
    let client = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask(&server, entries))
    };
    let asked = std::thread::scope(|scope| scope.spawn(client).join());
    asked.map_err(|_| anyhow::anyhow!("the client panicked"))?
}

async fn ask(server: &Server, entries: u64) -> anyhow::Result<String> {
    let mut client = append::client(&server.address)?;
    let mut checkpoint = client
        .get_checkpoint(GetCheckpointRequest {})
        .await?
        .into_inner()
        .checkpoint;
    let before = memory::resident(&server.id())?;
    let new = || Histogram::<u64>::new(3);
    let mut latencies = [new()?, new()?, new()?, new()?, new()?];
    let partner = Partner::start();
    for i in 0..CALLS {
        let index = asked(i, entries);
        let [changes, bare, one_entry, inclusion, consistency] = &mut latencies;

        let started = Instant::now();
        partner.there_and_back()?;
        partner.there_and_back()?;
        note(changes, started)?;

        let started = Instant::now();
        checkpoint = client
            .get_checkpoint(GetCheckpointRequest {})
            .await?
            .into_inner()
            .checkpoint;
        note(bare, started)?;

        let request = ListChangesRequest {
            start_index: asked(i + CALLS, entries).cast_signed(),
            page_size: 1,
            ..ListChangesRequest::default()
        };
        let started = Instant::now();
        let page = client.list_changes(request).await?.into_inner();
        note(one_entry, started)?;
        anyhow::ensure!(page.changes.len() == 1, "{} changes instead of 1", page.changes.len());

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
        note(inclusion, started)?;

        let request = GetConsistencyProofRequest {
            old_size: index.cast_signed() + 1,
            new_size: 0,
        };
        let started = Instant::now();
        client.get_consistency_proof(request).await?;
        note(consistency, started)?;
    }
    let names = [
        "4 changes of thread",
        "a checkpoint, from memory",
        "one entry",
        "an inclusion proof",
        "a consistency proof",
    ];
    for (name, latency) in names.into_iter().zip(&latencies) {
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let [median, p99, p999] = [0.5, 0.99, 0.999].map(ms);
        println!("  {name:<28} p50 {median:.2} ms   p99 {p99:.2} ms   p99.9 {p999:.2} ms");
    }
    println!(
        "  the server held {before} kB before, {} kB after",
        memory::resident(&server.id())?
    );
    Ok(checkpoint)
}

fn note(latency: &mut Histogram<u64>, started: Instant) -> anyhow::Result<()> {
    Ok(latency.record(u64::try_from(started.elapsed().as_micros())?)?)
}

/// The next index that is asked for: spread over the log, and the same in each run.
fn asked(i: u64, entries: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries
}

/// A thread that answers and does nothing else: what the machine takes to wake one, as often as a call does that reads.
struct Partner {
    to: SyncSender<()>,
    from: Receiver<()>,
}

impl Partner {
    fn start() -> Self {
        let ((to, asked), (answer, from)) = (sync_channel(1), sync_channel(1));
        std::thread::spawn(move || asked.iter().try_for_each(|()| answer.send(())));
        Self { to, from }
    }

    fn there_and_back(&self) -> anyhow::Result<()> {
        self.to.send(())?;
        Ok(self.from.recv()?)
    }
}

/// A running `remit serve audit`. Killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(database: &str, folder: &Path) -> anyhow::Result<Self> {
        let (url, tokens) = (folder.join("audit.url"), folder.join("tokens.json"));
        std::fs::write(&url, database)?;
        let token = Token {
            token: append::TOKEN.to_owned(),
            system: "inspector".to_owned(),
            agency: None,
            role: Role::Operator,
        };
        write_tokens(&tokens, &[token])?;
        let mut child = Command::new(tests::process::binary())
            .args(["serve", "audit", "--listen", "127.0.0.1:0"])
            .env("REMIT_AUDIT_DATABASE_FILE", url)
            .env("REMIT_TOKENS_FILE", tokens)
            .env("REMIT_LOG_ORIGIN", ORIGIN)
            .env("REMIT_LOG_KEY_FILE", folder.join(KEY))
            .env("REMIT_LOG_CHECKPOINT_FILE", folder.join(CHECKPOINT))
            // Known to nobody but the bench.
            .env_remove("REMIT_BENCH_ENTRIES")
            .env("REMIT_TELEMETRY_FILTER", "warn")
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it is piped")?;
        let mut server = Self {
            child,
            address: String::new(),
        };
        for line in BufReader::new(stdout).lines() {
            if let Some((_, address)) = line?.split_once("audit serves at ") {
                address.clone_into(&mut server.address);
                return Ok(server);
            }
        }
        anyhow::bail!("`remit serve audit` ended: {:?}", server.child.wait()?)
    }

    fn id(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
