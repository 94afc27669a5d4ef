//! Audit: an RFC 6962 log of every state change, which outsiders can verify.
//!
//! Purpose: nobody, operators included, can change, drop or reorder what happened to a report
//! without being noticed. Each change of each record is an entry; the entries form one Merkle tree;
//! its head is signed, and whoever has seen one signed head can hold the log to it. An entry says
//! neither which record changed nor how: it commits to both, and audit stores the openings of these
//! commitments beside the log. Marks between the changes state how many of a producer's changes
//! there are, for everybody to count.
//!
//! How changes flow in:
//!
//! 1. `grpc.rs` decodes `AppendChanges`, which only intake and routing may call. `batches.rs` does
//!    the same for a stream of batches.
//! 2. `sequencer.rs` checks each change by itself (`check.rs`) on the caller's task, and hands the
//!    changes of concurrent calls to the store as one group.
//! 3. `store.rs` is the store's contract, `sql_store.rs` its implementation for both engines: one
//!    transaction judges the group against the records' chains and the known event ids
//!    (`judge.rs`), assigns indexes from the head row, and writes entries, openings, tiles and
//!    head. The new tiles are computed from the tree's right edge (`tree.rs`).
//! 4. `publisher.rs` signs the new head (`checkpoint.rs`, with the keys of `key.rs`, each a
//!    `log_key.rs`), has the witnesses of the configured policy cosign it (`witnesses.rs`, over
//!    HTTP or TLS by `https`), and publishes it.
//!
//! What is missing: a change whose predecessor never arrived is kept out and listed (`gap.rs`). A
//! producer whose past has changed is frozen until an operator has examined it. Producers report
//! their progress by marks, which are compared with the log (`producer.rs`). Security events and
//! standings of producers are entries, too, of the record `producers/{source}`; `oversight.rs`
//! shows them.
//!
//! How it is read: `access.rs` is the table of who may call what. Lists end at the newest published
//! checkpoint. Proofs (`prove.rs`) are computed from tiles, of which the upper ones stay in memory
//! (`tile_cache.rs`), and are checked against the signed root before they are returned. `http.rs`
//! serves the log as files in C2SP `tlog-tiles` form (`tiles.rs`). `verify.rs` is the other side:
//! it needs those files and the verifier key, and nothing of the server. `trust.rs` decides which
//! keys to trust when some were replaced or revoked, from the log's statements on its keys
//! (`statement.rs`).
//!
//! `read.rs` finds entries (`reading.rs` serves them, `read_sql.rs` reads them); `disclosure.rs`
//! decides who gets their details. A reading of details is an entry, too, of the record
//! `readings/{id}`, and durable before the details are shown. Intake's readings of reports are
//! records of that collection as well; the entry's kind tells them apart, and `check.rs` keeps them
//! apart. For offline use: `export.rs` brings a folder up to date, `receipt.rs` is one proof as a
//! file, `stats.rs` computes figures from an export with details.
//!
//! How it starts: `resume.rs` compares the database with the checkpoint kept outside of it
//! (`file.rs`), and refuses to continue what would be a fork; `recover.rs` is the way out.
//! `metrics.rs` says what is measured; `vitals.rs` knows whether this process may still write;
//! `scrub.rs` checks that all entries still exist, and stops it otherwise.
//!
//! Invariants:
//!
//! * An index is assigned once, from the head row and never from a database sequence: there are no
//!   holes.
//! * Of all processes that have the database open, only the last one to open it writes: its epoch
//!   is in the condition of the one statement that moves the head. The others notice, and stop.
//! * Nothing is signed that does not contain everything signed before, and nothing is published
//!   that is not on disk in two places.
//! * What is read from `tiles` is trusted only once it gave a root known from elsewhere.
//! * The log tells no secrets, and nobody can follow a record in it: the openings of the entries'
//!   commitments are in a table of their own, and one place decides who gets them
//!   (`disclosure.rs`).
//! * A mark in the log equals the count and sum of its source's entries before it.
//! * `check.rs`, `judge.rs`, `gap.rs`, `producer.rs`, `disclosure.rs`, `tree.rs`, `tile_cache.rs`,
//!   `tiles.rs`, `checkpoint.rs` and `verify.rs` do no I/O. Only `grpc.rs`, `batches.rs`,
//!   `oversight.rs` and this file know the contract, only `http.rs`, `witnesses.rs` and this file
//!   HTTP, only `sql_store` tables.

mod access;
mod appending;
mod batches;
mod check;
mod checkpoint;
mod disclosure;
pub mod export;
mod gap;
mod grpc;
mod http;
mod judge;
mod key;
mod log_key;
mod metrics;
mod oversight;
mod producer;
mod prove;
mod publisher;
mod read;
mod read_sql;
mod reading;
pub mod receipt;
pub mod recover;
mod resume;
mod scrub;
mod sequencer;
mod sql_store;
pub mod statement;
pub mod stats;
mod status;
mod store;
mod tile_cache;
pub mod tiles;
mod tree;
mod trust;
pub mod verify;
mod vitals;
mod witnesses;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::witness::{Policy, PolicyError, file, foreign};
use api::audit::{audit_inbound_service_server::AuditInboundServiceServer, audit_service_server::AuditServiceServer};
use futures::{FutureExt as _, future::BoxFuture};
use journal::{Clock, Entropy, Time, Writer};
use prove::Prover;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use witnesses::Witnesses;

pub use access::{ACCESS, FILES};
pub use check::{AppendRefusal, Checked, Leaf, MarkEntry, Verdict, check};
pub use checkpoint::CheckpointError;
pub use gap::{Gap, GapKind};
pub use key::{KeyState, LogKeys};
pub use metrics::Instruments;
pub use producer::{Noted, Producer, Standing};
pub use publisher::{PublishError, Published};
pub use read::{Part, Read, Reader, RoutingsSight, Sight};
pub use resume::{Place, Refused};
pub use scrub::EntryMissing;
pub use sql_store::{SCHEMAS, SqlStore, newest_checkpoint};
pub use status::Status;
pub use store::{Found, GapCursor, Store, StoreError, Unfreezing, Unfrozen, Which};
pub use tree::{Edge, PlacedTile, TileId, Tiles, TreeHead};
pub use trust::{Trusted, open as open_checkpoint, with_statements};

/// What an operator sets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the log is kept: `sqlite://PATH` or `postgres://USER@HOST/NAME`.
    pub database: String,
    /// The log's name, unique in the world and permanent, such as `example.org/log`. Part of
    /// checkpoints and keys.
    #[serde(default = "default_origin")]
    pub origin: String,
    /// The seed of the key that signs checkpoints: 32 bytes, created at the first start.
    pub key_file: PathBuf,
    /// The newest checkpoint's copy outside the database. Never restore it from a backup together
    /// with the database.
    pub checkpoint_file: PathBuf,
    /// Checkpoints are published at most this often, in milliseconds.
    #[serde(default = "default_interval")]
    pub checkpoint_interval_ms: u64,
    /// A log that does not grow is signed again after this long, in milliseconds.
    #[serde(default = "default_refresh")]
    pub checkpoint_refresh_ms: u64,
    /// C2SP tlog-policy file: the witnesses that are asked to cosign checkpoints, and the quorum
    /// required for publishing one. Without it, none are asked.
    #[serde(default)]
    pub witness_policy_file: Option<PathBuf>,
    /// Time limit for each witness, in milliseconds.
    #[serde(default = "default_patience")]
    pub witness_timeout_ms: u64,
    /// PEM file of certificate issuers trusted for witnesses, in addition to the machine's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// The name of a log whose operator did not name it. For trials: it is not unique, and a log's name
/// is permanent.
pub const DEFAULT_ORIGIN: &str = "remit.local/log";

fn default_origin() -> String {
    DEFAULT_ORIGIN.to_owned()
}

fn default_interval() -> u64 {
    200
}

fn default_refresh() -> u64 {
    60_000
}

fn default_patience() -> u64 {
    2_000
}

impl std::fmt::Debug for Config {
    /// Without the database's URL, which may contain a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("origin", &self.origin)
            .field("key_file", &self.key_file)
            .field("checkpoint_file", &self.checkpoint_file)
            .field("checkpoint_interval_ms", &self.checkpoint_interval_ms)
            .field("checkpoint_refresh_ms", &self.checkpoint_refresh_ms)
            .field("witness_policy_file", &self.witness_policy_file)
            .field("witness_timeout_ms", &self.witness_timeout_ms)
            .finish_non_exhaustive()
    }
}

/// Why the log did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The origin is not a valid log name.
    #[error(
        "the log's origin `{0}` must not be empty or contain spaces or a plus sign; use a form like example.org/log"
    )]
    Origin(String),
    /// The log has no name of its own, but witnesses identify logs by name.
    #[error(
        "`log.origin` is not set: every unnamed log is called `{DEFAULT_ORIGIN}`, and a witness takes all of them for the \
         same log. name it, for example example.org/log. a log that has entries keeps its name: start a new one for witnesses"
    )]
    Unnamed,
    /// The database failed.
    #[error("the log's database")]
    Database(#[from] sql::Error),
    /// Continuing would break a promise.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The key file does not hold a key.
    #[error("the log's key file {} has {bytes} bytes instead of a seed of 32", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The file with the statements on the keys is damaged.
    #[error(
        "{} is damaged: it has the log's statements on its keys, and without one of them a revoked key might be trusted again. \
         put it back", path.display()
    )]
    Statements {
        /// The file.
        path: PathBuf,
    },
    /// Signing a statement failed.
    #[error("cannot sign a statement on the log's keys")]
    Say(#[source] CheckpointError),
    /// A key is being replaced already.
    #[error("a rotation is in progress: both keys sign. finish it first, when verifiers have the new key")]
    Rotating,
    /// No key is being replaced.
    #[error("no rotation is in progress: one key signs")]
    NotRotating,
    /// The policy is unusable.
    #[error("the witness policy {}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        #[source]
        source: PolicyError,
    },
    /// The file of certificate issuers is unusable.
    #[error(transparent)]
    CaFile(#[from] https::CaFile),
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Publishing failed.
    #[error("the first checkpoint of this start was not published")]
    Publish(#[from] PublishError),
    /// Another process took over during the start.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// A running log.
pub struct Audit {
    store: Arc<dyn Store>,
    sequencer: sequencer::Sequencer,
    published: watch::Receiver<Published>,
    publishing: JoinHandle<()>,
    stop: DropGuard,
    vitals: Arc<vitals::Vitals>,
    vkey: String,
    verifier_key_file: String,
    refresh: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    writer: Writer,
}

/// The witnesses of the configured policy. Those without an address can never suffice.
async fn witnesses(config: &Config) -> Result<Option<Witnesses>, Error> {
    let Some(path) = &config.witness_policy_file else {
        return Ok(None);
    };
    if config.origin == DEFAULT_ORIGIN {
        return Err(Error::Unnamed);
    }
    let text = foreign::read(path, foreign::SMALL).map_err(Error::file("reading the witness policy", path))?;
    let policy = Policy::parse(&text).map_err(|source| Error::Policy {
        path: path.clone(),
        source,
    })?;
    let asked = |place: usize| {
        policy
            .witnesses()
            .get(place)
            .is_some_and(|witness| witness.url.is_some() && witness.key.is_some())
    };
    if !policy.is_met(asked) {
        let problem = "too few witnesses for the quorum have an address and a key of a supported type (timestamped \
                       Ed25519): write `witness NAME VKEY URL`"
            .to_owned();
        return Err(Error::Policy {
            path: path.clone(),
            source: PolicyError { line: 0, problem },
        });
    }
    let patience = Duration::from_millis(config.witness_timeout_ms);
    let trust = https::Trust::load(config.ca_file.as_deref(), "`log.ca_file`")?;
    let client = https::Client::new(trust, patience);
    Ok(Some(Witnesses::new(policy, &config.origin, client, patience)))
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit")
            .field("vkey", &self.vkey)
            .field("vitals", &self.vitals)
            .finish_non_exhaustive()
    }
}

/// Checks what a start reads besides its database: the log's name, the key file if there is one,
/// the witness policy, the certificate file.
///
/// # Errors
/// Those with which [`Audit::start`] would refuse them.
pub async fn check_config(config: &Config) -> Result<(), Error> {
    named(config)?;
    witnesses(config).await?;
    LogKeys::load(&config.origin, &config.key_file).await?;
    Ok(())
}

fn named(config: &Config) -> Result<(), Error> {
    // With the last one, a checkpoint could be read as a cosignature by the same key.
    match !signed_note::is_key_name_valid(&config.origin)
        || config.origin.contains(char::is_control)
        || config.origin == "cosignature/v1"
    {
        true => Err(Error::Origin(config.origin.clone())),
        false => Ok(()),
    }
}

impl Audit {
    /// Opens the log, taking it over from any other process, and starts publishing checkpoints.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        named(&config)?;
        let store = SqlStore::open_with(&config.database, Arc::clone(&clock), Arc::clone(&entropy)).await?;
        Self::start_over(Arc::new(store), config, clock, entropy).await
    }

    /// [`Audit::start`] over another store, for fault injection. The configured database is not
    /// opened.
    pub async fn start_over(
        store: Arc<dyn Store>,
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let witnesses = witnesses(&config).await?;
        let (keys, last) = resume::resume(&*store, &config, witnesses.as_ref(), &*entropy).await?;
        keys.offer_vkey().await;
        let (vkey, verifier_key_file) = (keys.vkey(), keys.verifier_key_file());
        let vitals = Arc::new(vitals::Vitals::default());
        metrics::watch(Arc::downgrade(&vitals));
        let dependencies = publisher::Dependencies {
            store: Arc::clone(&store),
            keys,
            file: config.checkpoint_file,
            witnesses,
            clock: Arc::clone(&clock),
            vitals: Arc::clone(&vitals),
        };
        let publisher = publisher::Publisher::start(dependencies, last).await?;

        let (grown, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let published = publisher.published();
        let interval = Duration::from_millis(config.checkpoint_interval_ms);
        let refresh = Duration::from_millis(config.checkpoint_refresh_ms);
        let publishing = tokio::spawn(publisher.run(interval, refresh, Arc::clone(&grown), stop.clone()));
        let writer = Writer::new([grown]).of("audit");
        let sequencer = sequencer::Sequencer::start(Arc::clone(&store), &writer, Arc::clone(&vitals));
        let reviewing = review(Arc::clone(&store), writer.clone(), Arc::clone(&clock), stop.clone());
        tokio::spawn(journal::supervised("review of producers", stop.clone(), reviewing));
        let scrubbing = scrub::scrub(Arc::clone(&store), Arc::clone(&vitals), stop.clone());
        tokio::spawn(journal::supervised("scrubbing", stop.clone(), scrubbing));
        Ok(Self {
            store,
            sequencer,
            clock,
            entropy,
            writer,
            published,
            publishing,
            stop: stop.drop_guard(),
            vitals,
            vkey,
            verifier_key_file,
            refresh,
        })
    }

    /// The gRPC services, for messages of at most this many bytes. Without `sight`, no agency sees
    /// details.
    pub fn routes(&self, message_bytes: usize, sight: Option<Arc<dyn Sight>>) -> Routes {
        let service = grpc::Grpc {
            sequencer: self.sequencer.clone(),
            reading: reading::Reading {
                store: Arc::clone(&self.store),
                tokens: self.store.tokens(),
                prover: Arc::new(Prover::new(Arc::clone(&self.store))),
                published: self.published.clone(),
                sight,
                sequencer: self.sequencer.clone(),
                clock: Arc::clone(&self.clock),
                entropy: Arc::clone(&self.entropy),
            },
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            writer: self.writer.clone(),
        };
        let operations = Arc::new(status::Operations {
            store: Arc::clone(&self.store),
            published: self.published.clone(),
            vitals: Arc::clone(&self.vitals),
            clock: Arc::clone(&self.clock),
            refresh: self.refresh,
        });
        let service = Arc::new(service);
        let inbound =
            AuditInboundServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(message_bytes);
        Routes::new(AuditServiceServer::from_arc(service).max_decoding_message_size(message_bytes))
            .add_service(inbound)
            .add_service(rpc::operations::server(operations, self.store.tokens(), ACCESS))
    }

    /// The log's files over plain HTTP. Public: no authentication.
    pub fn files(&self) -> axum::Router {
        http::router(
            Arc::clone(&self.store),
            self.published.clone(),
            Arc::clone(&self.vitals),
        )
    }

    /// Whether the database answers and has room, this process writes the log, and appended entries are
    /// published.
    pub fn health(&self) -> rpc::HealthCheck {
        let (store, vitals) = (Arc::clone(&self.store), Arc::clone(&self.vitals));
        Arc::new(move || {
            let (store, vitals) = (Arc::clone(&store), Arc::clone(&vitals));
            async move { vitals.is_well() && !store.is_full().await && store.ping().await.is_ok() }.boxed()
        })
    }

    /// Verifier key of the newest of the log's keys, in C2SP `signed-note` form: `origin+id+key`.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// Content of the verifier key file ([`Trusted`]): everything a verifier needs of the log's
    /// keys.
    pub fn verifier_key_file(&self) -> &str {
        &self.verifier_key_file
    }

    /// The log's status.
    pub async fn status(&self) -> Result<Status, StoreError> {
        status::status(&*self.store, &self.published, &self.vitals).await
    }

    /// The newest published checkpoint, and updates whenever there is a newer one.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    /// Publishes appended entries and closes the database. Call it after serving has ended.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.publishing.await {
            tracing::error!(%error, "the publisher panicked");
        }
        self.store.close().await;
    }
}

/// Poll interval for producers whose marks have not been reached.
const REVIEW: Duration = Duration::from_secs(5);

/// Reviews the producers' standings periodically, until `stop`.
fn review(
    store: Arc<dyn Store>,
    writer: Writer,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> impl Fn() -> BoxFuture<'static, ()> {
    move || {
        let (store, writer, stop) = (Arc::clone(&store), writer.clone(), stop.clone());
        let clock = Arc::clone(&clock);
        async move {
            while tokio::time::timeout(REVIEW, stop.cancelled()).await.is_err() {
                match store.review().await {
                    Ok(()) => {
                        writer.committed();
                        measure(&*store, clock.now()).await;
                    }
                    // The process that has taken over does it.
                    Err(StoreError::Fenced) => break,
                    Err(StoreError::Sql(error)) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "reviewing producers failed");
                    }
                }
            }
            metrics::reviews_no_more();
        }
        .boxed()
    }
}

/// Measures what operators must examine. What cannot be read is measured the next time.
async fn measure(store: &dyn Store, now: Time) {
    if let (Ok(gaps), Ok(producers)) = (store.gaps(None, status::GAPS).await, store.producers().await) {
        metrics::reviewed(&gaps, &producers, now);
    }
}
