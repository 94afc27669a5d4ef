//! Intake: takes reports in, and tells reporters what became of them.
//!
//! How a report flows: `grpc.rs` takes the request, and `service.rs` has a file for each use case;
//! `submission.rs` checks it against the taxonomy (`category.rs`) and `directory.rs`, and turns it
//! into a report and the facts it is routed by, or into all that is wrong with it; `store.rs`
//! writes it, its first change and what is to be delivered of it in one transaction, grouped with
//! others; only then the caller gets its receipt (`receipt.rs`). Many reports in one call take the
//! same way beside each other (`service/bulk.rs`). Relays carry the change to routing
//! (`relays.rs`) and to audit. Changes of the case come back as `RecordCaseChanges`; the report's
//! state (`state.rs`) follows. Evidence is uploaded before, and attached in the transaction that
//! records the report (`evidence.rs` says how). Who may call what stands in `access.rs`; whether a
//! caller may see what a report says or learn what became of it, `sight.rs` asks. What can be
//! reported, and what a form has to ask, `CategoryService` tells anyone with a token. What is added
//! to a report later (`supplement.rs`) takes the same way to routing: as a change, without its text.
//!
//! What each call shows of a report, and to whom:
//!
//! | call | shows | to | purpose and record |
//! |---|---|---|---|
//! | `GetReport` | its content and what was added, without the reporter's name and contact; of what was added, to who sent it, its own | who sent it; the agency that leads its case | a purpose of a list; a change of `readings/{id}` (`reading.rs`) |
//! | `RevealReporter` | name and contact | the agency that leads its case; operators | a purpose and why; a change of the report, which its reporter sees (`reveal.rs`) |
//! | `CheckReceipt` | state, agency, advice, the agency's question, and the public entries of its changes | whoever has the receipt | none: nothing that the report says |
//! | `AddInformation`, `AnswerQuestion`, `RequestReview`, `WithdrawReport` | when it was recorded, and what follows | whoever has the receipt; the first also who sent it | none: nothing that the report says |
//! | `DownloadEvidence` | a file | the system that uploaded it; the agency that leads its report's case | a purpose and why; a change of the evidence (`evidence.rs`) |
//! | `GetEvidence` | its hash, length and types | the same, and the uploader's agency | none: nothing that the file says |
//! | `WatchReports` | name, the sender's own id, state, agency and outcome of reports, as each changes | who sent them | none: nothing that a report says |
//! | `ListReports` | name, state, time and the sender's own id of reports | who sent them | none: nothing else that a report says |
//! | `SubmitReport`, `BatchSubmitReports`, `SubmitReports` | name, state and receipt | who sent it | none: nothing that the report says |
//!
//! Routing is sent the facts, and audit what its details say: neither holds personal data.
//!
//! Invariants: invalid input leaves nothing behind. The facts hold no personal data. A receipt is
//! stored only as a keyed hash, and an unknown one is looked up like any other. Content is shown
//! only to who sent it and to whom routing names, asked each time, and only once it is durable that
//! it is read. What became of a report is shown to nobody whom routing names as excluded, asked
//! each time as well; while routing does not answer, nobody with an agency is told. A report that
//! is not there, or not for the caller, is answered alike, and leaves nothing. `submission.rs`,
//! `category.rs`, `receipt.rs`, `reading.rs`, `reveal.rs` and `state.rs` import neither tonic nor
//! sqlx.

mod access;
pub mod category;
pub mod directory;
pub mod evidence;
mod feeds;
mod grpc;
mod metrics;
mod operations;
mod outcome;
pub mod reading;
pub mod receipt;
mod relays;
pub mod reveal;
mod service;
pub mod shared;
mod sight;
pub mod state;
pub mod store;
mod subject;
pub mod submission;
mod supplement;

pub use access::ACCESS;
pub use metrics::Instruments;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::{
    intake::{
        category_service_server::CategoryServiceServer, evidence_service_server::EvidenceServiceServer,
        intake_inbound_service_server::IntakeInboundServiceServer, intake_service_server::IntakeServiceServer,
    },
    routing::routing_inbound_service_client::RoutingInboundServiceClient,
};
use category::Categories;
use directory::{Directory, InForce};
use evidence::Vault;
use futures::FutureExt as _;
pub use journal::REQUEST_ID_WINDOW;
use journal::{Background, Bytes32, Clock, Commands, Entropy, Time, Timekeeper};
use places::Territories;
use receipt::Receipts;
use rpc::{client::Caller, delivery::ToAudit};
use sql::Db;
use store::{SqlStore, Store, evidence::EvidenceStore};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Maximum number of reports per commit.
const ACCEPTANCES: usize = 256;
/// Routes that are previewed at once.
const PREVIEWS: usize = 16;
/// Maximum number of readings per commit.
const READINGS: usize = 256;
const PRUNE: Duration = Duration::from_secs(10 * 60);

/// Intake's dependencies.
pub struct Dependencies {
    /// Its database.
    pub db: Db,
    /// The taxonomy.
    pub categories: Arc<Categories>,
    /// The tree of territories.
    pub territories: &'static Territories,
    /// Ids of the agencies that a report may complain about or keep out. Those of directories
    /// applied later are asked for.
    pub agencies: Arc<BTreeSet<String>>,
    /// The directory in force.
    pub in_force: Arc<dyn InForce>,
    /// Storage of evidence files.
    pub vault: Arc<dyn Vault>,
    /// Limits on evidence.
    pub evidence: evidence::Limits,
    /// Key of receipts and request fingerprints.
    pub receipt_key: Bytes32,
    /// Channel to routing.
    pub routing: Caller,
    /// Channel to audit.
    pub audit: Caller,
    /// Name of this replica, unique among replicas.
    pub replica: String,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// The time up to which the operator accepts a clock that is far ahead ([`Timekeeper`]).
    pub accept_time_up_to: Option<Time>,
    /// Source of randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dependencies")
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

/// A running intake.
pub struct Intake {
    service: service::Service,
    evidence: evidence::Service,
    operations: Arc<operations::Operations>,
    tokens: rpc::page::Tokens,
    background: Background,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

/// The schema of intake's database.
pub const SCHEMAS: &[sql::Schema] = &[journal::SCHEMA, store::SCHEMA];

impl Intake {
    /// Opens intake's database and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Db, sql::Error> {
        Db::open(url, SCHEMAS).await
    }

    /// Starts relays and upkeep, which run until `shutdown`.
    pub fn start(parts: Dependencies, shutdown: &CancellationToken) -> Self {
        let store = SqlStore::new(parts.db.clone(), Arc::clone(&parts.entropy));
        Self::start_with(Arc::new(store), parts, shutdown)
    }

    /// Like [`Intake::start`], over another store, for faults.
    pub fn start_with<S: Store + EvidenceStore>(
        stored: Arc<S>,
        parts: Dependencies,
        shutdown: &CancellationToken,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::clone(&stored) as _;
        let evidence_store: Arc<dyn EvidenceStore> = stored;
        let Dependencies {
            db,
            categories,
            territories,
            agencies,
            in_force,
            vault,
            evidence,
            receipt_key,
            routing,
            audit,
            replica,
            clock,
            accept_time_up_to,
            entropy,
        } = parts;
        metrics::learn(&categories);
        let tokens = rpc::page::Tokens::of(&db);
        let room = evidence::Room::new(Arc::clone(&vault), evidence.reserve_bytes);
        let time = Timekeeper::new(db.clone(), Arc::clone(&clock), accept_time_up_to);
        let operations = Arc::new(operations::Operations {
            db: db.clone(),
            vault: Arc::clone(&vault),
            room: room.clone(),
            evidence: Arc::clone(&evidence_store),
            clock: Arc::clone(&clock),
            time: time.clone(),
        });
        let mut background = Background::new("intake", db.clone(), shutdown.clone());
        let [to_routing, to_audit] = store::CONSUMERS;
        let writer = background.relays(
            [
                (to_routing, Arc::new(relays::ToRouting::new(routing.clone()))),
                (to_audit, Arc::new(ToAudit::new(audit))),
            ],
            &replica,
            &clock,
            &entropy,
        );
        background.run("request ids", {
            let (store, clock, time) = (Arc::clone(&store), Arc::clone(&clock), time.clone());
            move |shutdown| forget_requests(Arc::clone(&store), Arc::clone(&clock), time.clone(), shutdown)
        });
        let upkeep = evidence::Upkeep {
            store: Arc::clone(&evidence_store),
            vault: Arc::clone(&vault),
            clock: Arc::clone(&clock),
            time: time.clone(),
            writer: writer.clone(),
        };
        background.run("evidence", move |shutdown| upkeep.clone().run(shutdown));
        let feeds = feeds::Upkeep {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            time: time.clone(),
        };
        background.run("feeds", move |shutdown| feeds.clone().run(shutdown));
        let accepting = Arc::clone(&store);
        let acceptances = writer.committer(
            Commands::Reports,
            db.writers(),
            ACCEPTANCES,
            move |batch: Arc<Vec<store::Prepared>>| {
                let store = Arc::clone(&accepting);
                async move { store.accept(&batch).await }.boxed()
            },
        );
        let reading = Arc::clone(&store);
        let readings = writer.committer(
            Commands::Readings,
            db.writers(),
            READINGS,
            move |batch: Arc<Vec<journal::Rows>>| {
                let store = Arc::clone(&reading);
                async move {
                    store.record_readings(&batch).await?;
                    Ok(vec![(); batch.len()])
                }
                .boxed()
            },
        );
        let routing = RoutingInboundServiceClient::new(routing);
        let evidence = evidence::Service::new(
            Arc::clone(&evidence_store),
            Arc::clone(&categories),
            Arc::clone(&vault),
            room,
            evidence,
            receipt_key,
            writer.clone(),
            routing.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        let service = service::Service {
            categories,
            directory: Arc::new(Directory::new(territories.clone(), agencies, in_force)),
            receipts: Receipts::new(receipt_key),
            fingerprint_key: receipt_key,
            store,
            evidence: Arc::clone(&evidence_store),
            forbid: evidence::Forbid {
                store: evidence_store,
                vault,
                writer: writer.clone(),
                clock: Arc::clone(&clock),
            },
            acceptances,
            readings,
            writer,
            routing,
            turns: Arc::default(),
            previews: Arc::new(Semaphore::new(PREVIEWS)),
            open_feeds: rpc::feed::OpenFeeds::default(),
            shutdown: shutdown.clone(),
            tokens: tokens.clone(),
            clock,
            entropy,
        };
        Self {
            service,
            evidence,
            operations,
            tokens,
            background,
        }
    }

    /// Whether intake can do its work: its database can be written to. Not whether its clock is in
    /// doubt: reports are accepted then, too.
    pub fn health(&self) -> rpc::HealthCheck {
        let (store, clock) = (Arc::clone(&self.service.store), Arc::clone(&self.service.clock));
        let (was_well, db) = (Arc::new(AtomicBool::new(true)), self.operations.db.clone());
        Arc::new(move || {
            let (store, now, was_well) = (Arc::clone(&store), clock.now(), Arc::clone(&was_well));
            let db = db.clone();
            async move {
                let probe = store.probe(now).await;
                // The probe changes a row, for which there may be room still.
                let is_full = db.is_full().await;
                // What a retry can help is load, which health is not about.
                let is_load = |error: &sql::Error| error.is_transient() && !error.is_outage();
                let is_well = probe.as_ref().err().is_none_or(is_load);
                // Once for each change, and not with every look.
                if was_well.swap(is_well, Ordering::SeqCst) != is_well {
                    match probe {
                        Err(error) if !is_well => tracing::error!(%error, "intake cannot write to its database"),
                        _ => tracing::info!("intake can write to its database again"),
                    }
                }
                is_well && !is_full
            }
            .boxed()
        })
    }

    /// The gRPC services, and the background tasks to finish after them.
    pub fn into_routes(self, message_bytes: usize) -> (Routes, Background) {
        let service = Arc::new(self.service);
        let inbound =
            IntakeInboundServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(message_bytes);
        let categories = CategoryServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(message_bytes);
        let service = IntakeServiceServer::from_arc(service).max_decoding_message_size(message_bytes);
        let evidence = EvidenceServiceServer::new(self.evidence).max_decoding_message_size(message_bytes);
        let operations = rpc::operations::server(self.operations, self.tokens, ACCESS);
        (
            Routes::new(service)
                .add_service(inbound)
                .add_service(evidence)
                .add_service(categories)
                .add_service(operations),
            self.background,
        )
    }
}

async fn forget_requests(store: Arc<dyn Store>, clock: Arc<dyn Clock>, time: Timekeeper, shutdown: CancellationToken) {
    let window = i64::try_from(REQUEST_ID_WINDOW.as_secs()).unwrap_or(i64::MAX);
    let mut pause = PRUNE;
    while tokio::time::timeout(pause, shutdown.cancelled()).await.is_err() {
        if !time.is_believed().await {
            pause = PRUNE;
            continue;
        }
        let before = clock.now().plus_seconds(-window);
        pause = match store.forget_requests(before).await {
            Ok(0) => PRUNE,
            // There may be more: continue soon, and let others write in between.
            Ok(_) => Duration::from_millis(100),
            Err(error) => {
                tracing::warn!(%error, "request ids cannot be forgotten now");
                PRUNE
            }
        };
    }
}
