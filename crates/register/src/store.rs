//! The stored register: what it promises. `sql_store.rs` keeps it, in SQLite or PostgreSQL.

use api::{event::Actor, routing::OperatorRegisterVersion};
use async_trait::async_trait;
use journal::{Bytes32, Time};

use crate::{
    checked::Group,
    entry::Entry,
    file::Mode,
    key::{Key, Kind},
};

/// What the database did not do.
pub type Error = ::sql::Error;

/// The register's part of routing's database.
pub const SCHEMA: ::sql::Schema = ::sql::Schema {
    base: 2_501,
    changes: &[(
        "operator register",
        include_str!("../migrations/sqlite/0001_operators.sql"),
        include_str!("../migrations/postgres/0001_operators.sql"),
    )],
};

/// The record in the log whose changes are the register's versions.
pub const RECORD: &str = "operators/versions";

/// A version of the register.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Counts the loads that changed the register; 0 before the first.
    pub version: u64,
    /// Digest of its content; zeros before the first.
    pub digest: Bytes32,
    /// Entries that it has.
    pub entries: u64,
    /// When it was loaded.
    pub time: Time,
}

impl Version {
    /// As in the contract.
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

/// What the register has under some names, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The version that was read.
    pub version: Version,
    /// The entries, by name, earliest first. Names that it does not have are left out.
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

/// A load that is under way. Nobody sees its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its number among loads.
    pub id: i64,
    /// The version that it was begun on.
    pub base: Version,
}

/// What a load puts into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Whether it replaces the register or changes it.
    pub mode: Mode,
    /// Digest of the register after it.
    pub digest: Bytes32,
    /// Entries of the register after it.
    pub entries: u64,
    /// Names added; of a replacement all.
    pub added: u64,
    /// Names whose entries were changed.
    pub changed: u64,
    /// Names removed.
    pub removed: u64,
    /// Who loads, as it is logged.
    pub actor: Actor,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// How far a sweep is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub(super) loads: Vec<String>,
    pub(super) after: String,
}

/// The stored register. Each method is one atomic use case.
///
/// A load is written in many transactions, so that reports are taken in between, and seen by nobody until [`Store::activate`], which
/// is one small one. A load that is not heard of for an hour is given up, and its rows are swept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The version in force.
    async fn version(&self) -> Result<Version, Error>;

    /// What the register has under these names, all at one moment. One statement per few thousand names.
    async fn find(&self, keys: Vec<Key>) -> Result<Found, Error>;

    /// The names after a given one, of one kind or of all, at most `limit`, with their entries.
    async fn list(&self, kind: Option<Kind>, after: Option<&Key>, limit: u32) -> Result<Found, Error>;

    /// Begins a load on the version in force.
    async fn begin(&self, now: Time) -> Result<Load, Error>;

    /// Adds names to a load, each with all its entries, or with none to remove it; ascending by name.
    ///
    /// # Errors
    /// [`Error::Raced`] when the load was given up meanwhile.
    async fn add(&self, load: &Load, groups: &[Group], now: Time) -> Result<(), Error>;

    /// Puts a load into force and logs that, in one durable transaction. Whoever reads sees the version before or the one
    /// after. `None` when another load was put into force since this one was begun; nothing changes then.
    async fn activate(&self, load: &Load, activation: Activation, now: Time) -> Result<Option<Version>, Error>;

    /// Gives a load up: its rows are swept.
    async fn abandon(&self, load: &Load) -> Result<(), Error>;

    /// Deletes rows that nobody can see any more: of loads that were replaced or given up, or of which nothing was heard since
    /// `silent`. The first call, with nothing, finds out which; each other one deletes a portion and goes on where the one
    /// before ended, until there is nothing to go on with.
    async fn sweep(&self, sweep: Option<Sweep>, silent: Time) -> Result<Option<Sweep>, Error>;
}
