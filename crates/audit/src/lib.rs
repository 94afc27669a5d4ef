//! Audit: an RFC 6962 log of every state change, that outsiders can verify.
//!
//! What it is for: nobody, operators included, can change, drop or reorder what happened to a report without it showing. Each
//! change of each record is an entry; the entries form one Merkle tree; its head is signed, and everyone who has seen one
//! signed head can hold the log to it.
//!
//! How changes flow in:
//!
//! 1. `grpc.rs` decodes `AppendChanges`, which only intake and routing may call.
//! 2. `sequencer.rs` has each change checked by itself (`check.rs`) on the caller's task, and hands what calls arrive
//!    together to the store as one group.
//! 3. `store.rs` says what a store promises; `sql_store.rs` keeps it, for both engines: one transaction judges the group
//!    against the records' chains and the known event ids (`check.rs`), gives out indexes from the head row, and writes entries,
//!    details, tiles and head. The new tiles come from the tree's right edge (`tree.rs`).
//! 4. `publisher.rs` signs the new head (`checkpoint.rs`, with the key of `key.rs`) and publishes it.
//!
//! How it is read: lists end where the newest published checkpoint does; proofs (`prove.rs`) are computed from tiles and
//! checked against the signed root before they leave. `http.rs` serves the log as files, named and encoded as C2SP `tlog-tiles` has
//! it (`tiles.rs`). `verify.rs` is for the other side: it needs those files and the verifier key, and nothing of the server.
//!
//! How it starts: `resume.rs` compares the database with the checkpoint that is kept outside of it (`file.rs`), and refuses what
//! would be a fork. `vitals.rs` knows whether this process may still write.
//!
//! Invariants:
//!
//! * An index is given out once, from the head row, and never from a database sequence: there are no holes.
//! * Of all processes that have the database open, only the last that opened it writes: its epoch is in the condition of the one
//!   statement that moves the head. The others notice, and stop.
//! * Nothing is signed that does not contain everything signed before, and nothing is published that is not on disk in two places.
//! * What was read from `tiles` is believed only after it gave a root that is known otherwise.
//! * The log tells no secrets: details are in a table of their own, and no method here returns them.
//! * `check.rs`, `tree.rs`, `tiles.rs`, `checkpoint.rs` and `verify.rs` do no I/O. Only `grpc.rs` and this file know of tonic, only
//!   `http.rs` and this file of axum, only `sql_store.rs` of tables.

mod check;
mod checkpoint;
mod file;
mod grpc;
mod http;
mod key;
mod prove;
mod publisher;
mod resume;
mod sequencer;
mod sql_store;
mod store;
pub mod tiles;
mod tree;
pub mod verify;
mod vitals;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::audit::audit_service_server::AuditServiceServer;
use futures::FutureExt as _;
use journal::{Clock, Entropy};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

pub use check::{Checked, Refusal, Verdict, check};
pub use checkpoint::{CheckpointError, open as open_checkpoint};
pub use publisher::{PublishError, Published};
pub use resume::{Place, Refused};
pub use sql_store::{SCHEMAS, SqlStore};
pub use store::{Store, StoreError};
pub use tree::{TileId, Tiles, TreeHead};

/// Full names of the gRPC services.
pub const NAMES: &[&str] = &["remit.audit.v1.AuditService"];

/// What an operator sets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the log is kept: `sqlite://PATH` or `postgres://USER@HOST/NAME`.
    pub database: String,
    /// The log's name, unique in the world and for ever, like `example.org/log`. Checkpoints and keys carry it.
    #[serde(default = "default_origin")]
    pub origin: String,
    /// The seed of the key that signs checkpoints: 32 bytes, made at the first start.
    pub key_file: PathBuf,
    /// Where the newest checkpoint is kept outside of the database. Never restore it from a backup together with the database.
    pub checkpoint_file: PathBuf,
    /// Checkpoints are published at most this often, in milliseconds.
    #[serde(default = "default_interval")]
    pub checkpoint_interval_ms: u64,
}

fn default_origin() -> String {
    "remit.local/log".to_owned()
}

fn default_interval() -> u64 {
    200
}

impl std::fmt::Debug for Config {
    /// Without the database's URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("origin", &self.origin)
            .field("key_file", &self.key_file)
            .field("checkpoint_file", &self.checkpoint_file)
            .field("checkpoint_interval_ms", &self.checkpoint_interval_ms)
            .finish_non_exhaustive()
    }
}

/// Why the log did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The origin cannot be the name of a log.
    #[error("the log's origin `{0}` must not be empty, nor have spaces or a plus sign; write it like example.org/log")]
    Origin(String),
    /// The database failed.
    #[error("the log's database")]
    Database(#[from] sql::Error),
    /// Going on would break what was promised.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The key file does not hold a key.
    #[error("the log's key file {} holds {bytes} bytes instead of a seed of 32", path.display())]
    Key {
        /// Where it is.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it was not.
        #[source]
        source: std::io::Error,
    },
    /// Nothing could be published.
    #[error("the first checkpoint of this start was not published")]
    Publish(#[from] PublishError),
    /// Another process took over while this one started.
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

/// A log that runs.
pub struct Audit {
    store: Arc<dyn Store>,
    sequencer: sequencer::Sequencer,
    published: watch::Receiver<Published>,
    publishing: JoinHandle<()>,
    stop: DropGuard,
    vitals: Arc<vitals::Vitals>,
    vkey: String,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit")
            .field("vkey", &self.vkey)
            .field("vitals", &self.vitals)
            .finish_non_exhaustive()
    }
}

impl Audit {
    /// Opens the log, taking it over from whoever had it open, and starts publishing checkpoints.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        if !signed_note::is_key_name_valid(&config.origin) || config.origin.contains(char::is_control) {
            return Err(Error::Origin(config.origin));
        }
        let store: Arc<dyn Store> = Arc::new(SqlStore::open(&config.database).await?);
        let (key, last) = resume::resume(&*store, &config, &*entropy).await?;
        key.write_vkey(&config.key_file).await;
        let vkey = key.vkey();
        let publisher =
            publisher::Publisher::start(Arc::clone(&store), key, config.checkpoint_file, clock, last).await?;

        let (grown, vitals) = (Arc::new(Notify::new()), Arc::new(vitals::Vitals::default()));
        let stop = CancellationToken::new();
        let published = publisher.published();
        let interval = Duration::from_millis(config.checkpoint_interval_ms);
        let publishing = tokio::spawn(publisher.run(interval, Arc::clone(&grown), Arc::clone(&vitals), stop.clone()));
        let sequencer = sequencer::Sequencer::start(Arc::clone(&store), grown, Arc::clone(&vitals));
        Ok(Self {
            store,
            sequencer,
            published,
            publishing,
            stop: stop.drop_guard(),
            vitals,
            vkey,
        })
    }

    /// The gRPC service, for messages of at most this many bytes.
    pub fn routes(&self, message_bytes: usize) -> Routes {
        let service = grpc::Grpc {
            sequencer: self.sequencer.clone(),
            store: Arc::clone(&self.store),
            published: self.published.clone(),
        };
        Routes::new(AuditServiceServer::new(service).max_decoding_message_size(message_bytes))
    }

    /// The log's files over plain HTTP. Public: no caller is known there.
    pub fn files(&self) -> axum::Router {
        http::router(Arc::clone(&self.store), self.published.clone())
    }

    /// Whether the database answers, this process writes the log, and what it appended is published.
    pub fn health(&self) -> rpc::HealthCheck {
        let (store, vitals) = (Arc::clone(&self.store), Arc::clone(&self.vitals));
        Arc::new(move || {
            let (store, vitals) = (Arc::clone(&store), Arc::clone(&vitals));
            async move { vitals.is_well() && store.ping().await.is_ok() }.boxed()
        })
    }

    /// The log's verifier key, as C2SP `signed-note` writes it: `origin+id+key`.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// The newest published checkpoint, now and whenever there is a newer one.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    /// Publishes what was appended and lets the database go. To be called when nothing is served any more.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.publishing.await {
            tracing::error!(%error, "the publisher ended badly");
        }
        self.store.close().await;
    }
}
