//! Proofs from `remit serve audit`, compared with calls that read one entry or nothing, and with
//! bare threads that wake each other.
//!
//! The last comparison tells machines apart: a virtual machine that gives up its processor when
//! idle gets it back late, and every call makes a processor wait for another. So everything is
//! measured twice: on the machine as it is, and with the processors kept awake as `cyclictest` and
//! tuned's latency profiles do, by the kernel's `/dev/cpu_dma_latency`, which requires root.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Stdio},
    time::Instant,
};

use anyhow::Context as _;
use api::audit::{
    GetCheckpointRequest, GetConsistencyProofRequest, GetInclusionProofRequest, ListChangesRequest,
    audit_service_client::AuditServiceClient,
};
use hdrhistogram::Histogram;
use host::token_file::TokenFile;
use rpc::{Roles, Token, client::Caller};

use super::generate::event;
use crate::{append, memory};

/// The log's name and the files in its folder.
pub const ORIGIN: &str = "remit.bench/log";
pub const KEY: &str = "log.key";
pub const CHECKPOINT: &str = "checkpoint";

/// Kernel interface for the maximum wake-up latency, in microseconds.
const AWAKE: &str = "/dev/cpu_dma_latency";
/// Calls of each kind.
const CALLS: u64 = 5_000;

/// Serves a database's log, measures proofs, and returns the checkpoint they lead to.
pub fn run(database: &str, folder: &Path, entries: u64) -> anyhow::Result<String> {
    let server = Server::start(database, folder)?;
    let before = memory::resident(&server.id())?;
    println!("  the machine as it is");
    let checkpoint = server.called_by(|client| ask(client, 0, entries))?;
    // The setting lasts until the file is closed.
    match keep_awake() {
        Ok(_awake) => {
            println!("  its processors kept awake");
            server.called_by(|client| ask(client, 2 * CALLS, entries))?;
        }
        Err(error) => println!("  its processors cannot be kept awake: {AWAKE}: {error}"),
    }
    let after = memory::resident(&server.id())?;
    println!("  the server held {before} kB before, {after} kB after");
    Ok(checkpoint)
}

/// Requests zero wake-up latency from the kernel until the file is closed.
fn keep_awake() -> std::io::Result<File> {
    let mut file = File::options().write(true).open(AWAKE)?;
    file.write_all(&0_i32.to_ne_bytes())?;
    Ok(file)
}

/// Calls for indexes that no earlier call used: those would be cached.
async fn ask(mut client: AuditServiceClient<Caller>, from: u64, entries: u64) -> anyhow::Result<String> {
    let mut checkpoint = String::new();
    let new = || Histogram::<u64>::new(3);
    let mut latencies = [new()?, new()?, new()?, new()?, new()?];
    let mut partner = Partner::start()?;
    for i in from..from + CALLS {
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

        // Alternates between an auditor's request and a receipt owner's.
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
        println!("    {name:<26} p50 {median:.2} ms   p99 {p99:.2} ms   p99.9 {p999:.2} ms");
    }
    Ok(checkpoint)
}

fn note(latency: &mut Histogram<u64>, started: Instant) -> anyhow::Result<()> {
    Ok(latency.record(u64::try_from(started.elapsed().as_micros())?)?)
}

/// The i-th requested index: spread over the log, the same in each run.
fn asked(i: u64, entries: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % entries
}

/// A thread that only replies. Measures the machine's wake-up time, as often as a reading call
/// needs it.
struct Partner(UnixStream);

impl Partner {
    fn start() -> std::io::Result<Self> {
        let (ours, mut theirs) = UnixStream::pair()?;
        std::thread::spawn(move || {
            let mut byte = [0];
            while theirs.read_exact(&mut byte).is_ok() && theirs.write_all(&byte).is_ok() {}
        });
        Ok(Self(ours))
    }

    fn there_and_back(&mut self) -> std::io::Result<()> {
        self.0.write_all(&[0])?;
        self.0.read_exact(&mut [0])
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
        tests::process::write_secret(&url, database.as_ref())?;
        let token = Token {
            token: append::TOKEN.to_owned(),
            system: "inspector".to_owned(),
            agency: None,
            roles: Roles::OPERATOR,
        };
        TokenFile::hold(&tokens)?.write(&[token])?;
        let mut child = tests::process::program()
            .args(["serve", "audit", "--listen", "127.0.0.1:0"])
            .env("REMIT_AUDIT_DATABASE_FILE", url)
            .env("REMIT_TOKENS_FILE", tokens)
            .env("REMIT_LOG_ORIGIN", ORIGIN)
            .env("REMIT_LOG_KEY_FILE", folder.join(KEY))
            .env("REMIT_LOG_CHECKPOINT_FILE", folder.join(CHECKPOINT))
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

    /// Runs one client on one thread, as most clients do: a runtime with several wakes more threads
    /// than it needs.
    fn called_by<T: Send, F: Future<Output = anyhow::Result<T>>>(
        &self,
        work: impl FnOnce(AuditServiceClient<Caller>) -> F + Send,
    ) -> anyhow::Result<T> {
        let client = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { work(append::client(&self.address)?).await })
        };
        let done = std::thread::scope(|scope| scope.spawn(client).join());
        done.map_err(|_| anyhow::anyhow!("the client panicked"))?
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
