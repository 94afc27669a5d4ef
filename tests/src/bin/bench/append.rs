//! Audit alone: durable appends through gRPC, compared with the machine's limits.
//!
//! Server, client and database share the machine. The references are the database's own bulk insert
//! of the same bytes, a server that only answers the same message, and the disk's sync rate.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use api::{
    audit::{
        AppendBatchesRequest, AppendBatchesResponse, AppendChangesRequest, AppendChangesResponse, AppendResult,
        audit_inbound_service_client::AuditInboundServiceClient, audit_service_client::AuditServiceClient,
    },
    event::{Actor, ChangeOutcome, Clock, Detail, StateChange},
};
use audit::{Audit, Config};
use hdrhistogram::Histogram;
use journal::{Draft, Head, SystemEntropy, Time};
use rpc::{Limits, Roles, Server, Token, Tokens, client::Caller};
use sql::{Db, Insert, Kind, transact};
use tempfile::TempDir;
use testkit::Backend;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tonic::codegen::{BoxFuture, tokio_stream::wrappers::ReceiverStream};

/// Token of all callers of the bench.
pub const TOKEN: &str = "the-token-of-the-bench";
/// Changes per batch of the stream.
const BATCH: usize = 1_000;
/// Changes appended by the stream.
const STREAMED: usize = 300_000;
/// Changes per record.
const PER_RECORD: usize = 3;
const CALLERS: usize = 64;
/// Changes appended by the callers.
const CALLED: usize = 60_000;
/// The rate at which latency is measured, and the number of changes sent at it.
const RATE: usize = 5_000;
const PACED: usize = 25_000;

/// Measures everything on both databases.
pub async fn run() -> anyhow::Result<()> {
    println!("\nAppending to the log, durable; client, server and database on this machine");
    println!("  disk                     {:>7.0} syncs/s of 4 KiB appended", syncs()?);
    for (name, backend) in [("SQLite", Some(Backend::sqlite())), ("PostgreSQL", Backend::postgres())] {
        let Some(backend) = backend else { continue };
        on(name, &backend).await?;
    }
    Ok(())
}

async fn on(name: &str, backend: &Backend) -> anyhow::Result<()> {
    let reference = match backend.url().starts_with("sqlite") {
        true => Backend::sqlite(),
        false => Backend::postgres().context("there was one before")?,
    };
    let changes = sealed("streamed", STREAMED, PER_RECORD);
    let inserted = bulk_insert(&reference, &changes).await?;
    let log = Log::start(backend).await?;
    let streamed = stream(&log, changes).await?;
    println!(
        "  {name:<10} batched stream  {streamed:>7.0}/s, {:.2} × the database's own bulk insert of the same bytes ({inserted:.0}/s)",
        streamed / inserted
    );
    // The machine's speed varies during the run: the reference is measured before and after.
    let before = echo().await?;
    let called = unary(&log, sealed("called", CALLED, PER_RECORD), None).await?;
    let after = echo().await?;
    println!("  bare echo  {CALLERS} callers      {}", before.line());
    println!("  {name:<10} {CALLERS} callers      {}", called.line());
    println!(
        "  bare echo  {CALLERS} callers      {}   of the two: {:.2} ×",
        after.line(),
        called.rate / f64::midpoint(before.rate, after.rate)
    );
    let paced = unary(&log, sealed("paced", PACED, PER_RECORD), Some(RATE)).await?;
    println!("  {name:<10} at {RATE}/s       {}", paced.line());
    log.stop().await;
    Ok(())
}

/// Changes of about real size, alternating over `n / per_record` records.
pub fn sealed(prefix: &str, n: usize, per_record: usize) -> Vec<StateChange> {
    let (entropy, mut heads) = (SystemEntropy, HashMap::new());
    let records = n / per_record;
    let start = 1_795_305_600_000_000_i64;
    (0..n)
        .map(|i| {
            let record = format!("reports/{prefix}-{:028}", i % records);
            let head: &mut Head = heads.entry(record.clone()).or_default();
            let draft = Draft {
                source: "intake",
                record: &record,
                kind: "report.accepted",
                caused_by: None,
                detail: detail(),
                traceparent: String::new(),
            };
            // As if they were made at 10,000/s.
            let time = Time(start + i64::try_from(100 * i).unwrap_or_default());
            let sealed = draft.into_change(head, time, &entropy);
            *head = sealed.head;
            sealed.with_detail()
        })
        .collect()
}

fn detail() -> Detail {
    Detail {
        from_state: "ACCEPTED".to_owned(),
        to_state: "ROUTED".to_owned(),
        actor: Some(Actor {
            agency: "agencies/police-510100".to_owned(),
            system: "police-510100-desk".to_owned(),
            officer_commitment: vec![7; 32].into(),
        }),
        content_commitment: vec![9; 32].into(),
        clocks: vec![Clock {
            kind: api::event::ClockKind::Acknowledge.into(),
            generation: 1,
            owner: "agencies/police-510100".to_owned(),
            due_time: Some(Time(1_795_305_600_000_000).to_proto()),
            budget_count: 24,
            unit: api::event::ClockUnit::Hours.into(),
            ..Clock::default()
        }],
        ..Detail::default()
    }
}

/// A served log.
pub struct Log {
    audit: Audit,
    address: String,
    shutdown: CancellationToken,
    _folder: TempDir,
}

/// Serves a log to one caller until `shutdown`. Returns its address and its background work.
pub async fn serve(
    audit: &Audit,
    system: &str,
    roles: Roles,
    shutdown: &CancellationToken,
) -> anyhow::Result<(String, JoinHandle<Result<(), tonic::transport::Error>>)> {
    let token = Token {
        token: TOKEN.to_owned(),
        system: system.to_owned(),
        agency: None,
        roles,
    };
    let server = Server {
        service: "audit",
        limits: Limits::default(),
        authenticate: Arc::new(Tokens::new(&[token])?),
        tls: None,
        reflection: false,
        access: audit::ACCESS,
        health: audit.health(),
        serving: rpc::admin::Serving::of("audit"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let routes = audit.routes(Limits::default().message_bytes, None);
    let serving = tokio::spawn(server.serve(listener, routes, shutdown.clone()));
    Ok((address, serving))
}

impl Log {
    pub async fn start(backend: &Backend) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("remit-bench-")?;
        let config: Config = serde_json::from_value(serde_json::json!({
            "database": backend.url(),
            "origin": "remit.bench/log",
            "key_file": folder.path().join("log.key"),
            "checkpoint_file": folder.path().join("checkpoint"),
        }))?;
        let audit = Audit::start(config, Arc::new(journal::SystemClock), Arc::new(SystemEntropy)).await?;
        let shutdown = CancellationToken::new();
        let (address, _serving) = serve(&audit, "intake", Roles::SERVICE, &shutdown).await?;
        Ok(Self {
            audit,
            address,
            shutdown,
            _folder: folder,
        })
    }

    fn client(&self) -> anyhow::Result<AuditInboundServiceClient<Caller>> {
        inbound(&self.address)
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.audit.stop().await;
    }
}

pub fn client(address: &str) -> anyhow::Result<AuditServiceClient<Caller>> {
    Ok(AuditServiceClient::new(rpc::client::connect(address, TOKEN, None)?))
}

/// A client of what only Remit's own services call.
fn inbound(address: &str) -> anyhow::Result<AuditInboundServiceClient<Caller>> {
    Ok(AuditInboundServiceClient::new(rpc::client::connect(
        address, TOKEN, None,
    )?))
}

/// Appends all changes on one stream. Returns changes per second.
pub async fn stream(log: &Log, changes: Vec<StateChange>) -> anyhow::Result<f64> {
    let mut client = log.client()?;
    let n = changes.len();
    let mut batches = Vec::with_capacity(n.div_ceil(BATCH));
    let mut changes = changes.into_iter();
    while changes.len() > 0 {
        let changes = changes.by_ref().take(BATCH).collect();
        batches.push(AppendBatchesRequest { changes });
    }
    let (send, receive) = mpsc::channel(2);
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        for batch in batches {
            if send.send(batch).await.is_err() {
                return;
            }
        }
    });
    let mut answers = client.append_batches(ReceiverStream::new(receive)).await?.into_inner();
    let mut next = 0;
    while let Some(AppendBatchesResponse { results }) = answers.message().await? {
        for result in results {
            anyhow::ensure!(
                result.outcome() == ChangeOutcome::Recorded && result.index == next,
                "{result:?} for {next}"
            );
            next += 1;
        }
    }
    let taken = started.elapsed();
    anyhow::ensure!(usize::try_from(next)? == n, "{next} of {n} changes were answered");
    sending.await?;
    Ok(n as f64 / taken.as_secs_f64())
}

/// Appends the changes one by one from many callers, at a rate or as fast as they are answered.
pub async fn unary(log: &Log, changes: Vec<StateChange>, rate: Option<usize>) -> anyhow::Result<super::load::Measured> {
    call(&log.address, changes, rate).await
}

async fn call(address: &str, changes: Vec<StateChange>, rate: Option<usize>) -> anyhow::Result<super::load::Measured> {
    let clients: Vec<_> = (0..4).map(|_| inbound(address)).collect::<Result<_, _>>()?;
    let records = changes.len() / PER_RECORD;
    // Each record's changes go to one caller, so that they arrive in order.
    let mut shares: Vec<Vec<StateChange>> = vec![Vec::new(); CALLERS];
    for (i, change) in changes.into_iter().enumerate() {
        shares[i % records % CALLERS].push(change);
    }
    let (started, slots) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for (caller, share) in shares.into_iter().enumerate() {
        let (mut client, slots) = (clients[caller % clients.len()].clone(), Arc::clone(&slots));
        tasks.spawn(async move {
            let mut latency = Histogram::<u64>::new(3)?;
            for change in share {
                let mut due = Instant::now();
                if let Some(rate) = rate {
                    let slot = slots.fetch_add(1, Ordering::Relaxed);
                    // Measured from the due time, not from when a caller was free.
                    due = started + Duration::from_secs_f64(slot as f64 / rate as f64);
                    tokio::time::sleep_until(due.into()).await;
                }
                let request = AppendChangesRequest { changes: vec![change] };
                let answer = client.append_changes(request).await?.into_inner();
                let outcome = answer.results.first().context("a result for a change")?.outcome();
                anyhow::ensure!(outcome == ChangeOutcome::Recorded, "{outcome:?}");
                latency.record(u64::try_from(due.elapsed().as_micros())?)?;
            }
            anyhow::Ok(latency)
        });
    }
    let mut latency = Histogram::<u64>::new(3)?;
    while let Some(task) = tasks.join_next().await {
        latency.add(task??)?;
    }
    Ok(super::load::Measured {
        rate: latency.len() as f64 / started.elapsed().as_secs_f64(),
        latency,
    })
}

/// The database's own bulk insert of the same bytes, with as many rows per transaction as a batch
/// has changes. Rows per second.
async fn bulk_insert(backend: &Backend, changes: &[StateChange]) -> anyhow::Result<f64> {
    const BARE: Insert = Insert::into("bare", &[("idx", Kind::Int), ("bytes", Kind::Bytes)]);
    let db = Db::open(backend.url(), &[]).await?;
    let blob = match backend.url().starts_with("sqlite") {
        true => "CREATE TABLE bare (idx INTEGER NOT NULL PRIMARY KEY, bytes BLOB NOT NULL)",
        false => "CREATE TABLE bare (idx BIGINT NOT NULL PRIMARY KEY, bytes BYTEA NOT NULL)",
    };
    transact!(db, |tx| tx.execute(blob, Vec::new()))?;
    let rows: Vec<(i64, Vec<u8>)> = (0..)
        .zip(changes)
        .map(|(i, change)| {
            let opening = |opening: &Option<api::event::Opening>| {
                let opening = opening.clone().unwrap_or_default();
                [opening.salt, opening.content].concat()
            };
            (
                i,
                [&change.entry[..], &opening(&change.chain), &opening(&change.detail)].concat(),
            )
        })
        .collect();
    let started = Instant::now();
    for batch in rows.chunks(BATCH) {
        let rows = || {
            batch
                .iter()
                .map(|(i, bytes)| [(*i).into(), bytes.clone().into()])
                .collect()
        };
        transact!(db, |tx| BARE.rows(&mut tx, rows()))?;
    }
    let rate = rows.len() as f64 / started.elapsed().as_secs_f64();
    db.close().await;
    Ok(rate)
}

/// Appends and syncs blocks. Returns syncs per second.
fn syncs() -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile()?;
    let block = [7; 4_096];
    let (started, mut n) = (Instant::now(), 0_u32);
    while started.elapsed() < Duration::from_secs(2) {
        file.write_all(&block)?;
        file.sync_data()?;
        n += 1;
    }
    Ok(f64::from(n) / started.elapsed().as_secs_f64())
}

/// The same calls to a server that only replies.
async fn echo() -> anyhow::Result<super::load::Measured> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(Echo)
            .serve_with_incoming(incoming),
    );
    call(&address, sealed("echoed", CALLED, PER_RECORD), None).await
}

/// One method of audit's service, by hand: the generated server would require all of them.
#[derive(Clone)]
struct Echo;

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "remit.audit.v1.AuditInboundService";
}

impl tonic::codegen::Service<tonic::codegen::http::Request<tonic::body::Body>> for Echo {
    type Response = tonic::codegen::http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::codegen::http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let codec = tonic_prost::ProstCodec::default();
            Ok(tonic::server::Grpc::new(codec).unary(Answer, request).await)
        })
    }
}

struct Answer;

impl tonic::server::UnaryService<AppendChangesRequest> for Answer {
    type Response = AppendChangesResponse;
    type Future = BoxFuture<tonic::Response<AppendChangesResponse>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<AppendChangesRequest>) -> Self::Future {
        let results = request
            .into_inner()
            .changes
            .iter()
            .map(|_| AppendResult {
                index: 0,
                outcome: ChangeOutcome::Recorded.into(),
            })
            .collect();
        Box::pin(async move { Ok(tonic::Response::new(AppendChangesResponse { results })) })
    }
}
