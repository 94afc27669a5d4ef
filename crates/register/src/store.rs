//! Contract of the stored register. `sql_store.rs` implements it for SQLite and PostgreSQL.

use api::{event::Actor, routing::OperatorRegisterVersion};
use async_trait::async_trait;
use journal::{Bytes32, Earlier, RequestId, Time};

use crate::{
    checked::Group,
    entry::Entry,
    file::Mode,
    key::{Key, Kind},
    load::LoadSummary,
};

/// A failed database operation.
pub type Error = ::sql::Error;

/// The register's part of routing's schema.
pub const SCHEMA: ::sql::Schema = ::sql::Schema {
    base: 2_501,
    changes: &[(
        "operator register",
        include_str!("../migrations/sqlite/0001_operators.sql"),
        include_str!("../migrations/postgres/0001_operators.sql"),
    )],
};

/// The log record whose changes are the register's versions.
pub const RECORD: &str = "operators/versions";

/// A version of the register.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Number of loads that changed the register; 0 before the first.
    pub version: u64,
    /// Digest of the content; zeros before the first load.
    pub digest: Bytes32,
    /// Number of entries.
    pub entries: u64,
    /// Time of the load.
    pub time: Time,
}

impl Version {
    /// Converts to a contract message.
    pub fn to_proto(&self) -> OperatorRegisterVersion {
        OperatorRegisterVersion {
            version: self.version.cast_signed(),
            digest: match self.version {
                0 => Default::default(),
                _ => self.digest.to_vec().into(),
            },
            entry_count: self.entries.cast_signed(),
            load_time: (self.version > 0).then(|| self.time.to_proto()),
        }
    }
}

/// The register's entries for some names, from one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The version that was read.
    pub version: Version,
    /// The entries by name, earliest first, without unknown names.
    pub groups: Vec<Group>,
}

impl Found {
    /// The entries of a name, earliest first.
    pub fn of(&self, key: &Key) -> &[Entry] {
        self.groups
            .binary_search_by(|group| group.key.cmp(key))
            .ok()
            .and_then(|at| self.groups.get(at))
            .map_or(&[], |group| &group.entries)
    }
}

/// A load in progress, whose rows nobody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its number.
    pub id: i64,
    /// The version that it is based on.
    pub base: Version,
}

/// The data needed to put a load in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Whether it replaces or changes the register.
    pub mode: Mode,
    /// Digest of the register afterwards.
    pub digest: Bytes32,
    /// Number of entries afterwards.
    pub entries: u64,
    /// Names added; all names of a replacement.
    pub added: u64,
    /// Names with changed entries.
    pub changed: u64,
    /// Names removed.
    pub removed: u64,
    /// Who loads, for the log.
    pub actor: Actor,
    /// Trace context to continue.
    pub traceparent: String,
    /// The caller's id for the request.
    pub request_id: Option<RequestId>,
}

impl Activation {
    /// The effect of the load that made this version.
    pub(crate) fn summary(&self, version: Version) -> LoadSummary {
        LoadSummary {
            version,
            added: self.added,
            changed: self.changed,
            removed: self.removed,
            unchanged: false,
        }
    }
}

/// What became of a load that was to be put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// It is in force.
    Done(Version),
    /// Another load came into force since this one began. Nothing was written.
    Overtaken,
    /// An earlier request has the id. Nothing was written.
    Earlier(Earlier),
}

/// Progress of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub(super) loads: Vec<String>,
    pub(super) after: String,
}

/// The stored register. Each method is one atomic use case.
///
/// A load is written in many transactions, so that reports are accepted in between, and invisible
/// until [`Store::activate`], one small transaction. A load without activity for an hour is
/// abandoned, and its rows are swept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The version in force.
    async fn version(&self) -> Result<Version, Error>;

    /// The entries of these names, from one snapshot. One statement per few thousand names.
    async fn find(&self, keys: Vec<Key>) -> Result<Found, Error>;

    /// Up to `limit` names greater than `after`, of one kind or all, with their entries.
    async fn list(&self, kind: Option<Kind>, after: Option<&Key>, limit: u32) -> Result<Found, Error>;

    /// Begins a load based on the version in force.
    async fn begin(&self, now: Time) -> Result<Load, Error>;

    /// Adds names to a load, ascending, each with all its entries, or with none to remove it.
    ///
    /// # Errors
    ///
    /// [`Error::Raced`] if the load was abandoned meanwhile.
    async fn add(&self, load: &Load, groups: &[Group], now: Time) -> Result<(), Error>;

    /// Puts a load in force and logs it, in one durable transaction. Readers see the old version or
    /// the new one.
    async fn activate(&self, load: &Load, activation: Activation, now: Time) -> Result<Activated, Error>;

    /// What an earlier request with this id leads to; `None` if there was none.
    async fn earlier(&self, request: &RequestId) -> Result<Option<Earlier>, Error>;

    /// Keeps the first answer to a request that changes nothing, unless an earlier request has the
    /// id.
    async fn answer(&self, request: &RequestId, answer: &LoadSummary, now: Time) -> Result<Option<Earlier>, Error>;

    /// Abandons a load; its rows will be swept.
    async fn abandon(&self, load: &Load) -> Result<(), Error>;

    /// Deletes invisible rows: of loads that were replaced or abandoned, or without activity since
    /// `silent`. The first call, with `None`, finds them; each further call deletes a portion and
    /// continues where the last one stopped. `None` when done.
    async fn sweep(&self, sweep: Option<Sweep>, silent: Time) -> Result<Option<Sweep>, Error>;
}
