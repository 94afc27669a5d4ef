//! What decides now: one version of the directory with one of the rule set, as this process knows them.
//!
//! Versions are immutable and known by their digests ([`store::versions`](crate::store::versions)); which of them is active
//! stands in the database. A process decides by its [`Current`] snapshot, without asking; whoever opens a case or hands it on
//! compares the snapshot with the database in the transaction, and takes the newer when there was a switch.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use data_encoding::HEXLOWER;
use decision::{
    directory::{ConfigError, Directory, Function},
    rules::{Action, RuleSet},
};
use journal::{Bytes32, RoutingKind};
use tokio_util::sync::CancellationToken;

use crate::store::Versions;

/// The kinds of what is kept in versions, one of each active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionKind {
    /// A directory: the agencies, over a tree of territories.
    Directory,
    /// A rule set.
    RuleSet,
}

impl VersionKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Directory, Self::RuleSet];

    /// The name that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::RuleSet => "rule-set",
        }
    }

    /// The record whose changes are the versions created and activated. One record per kind: an id of each version in the
    /// entries' clear header would tell whoever has the file what is in force.
    #[must_use]
    pub const fn record(self) -> &'static str {
        match self {
            Self::Directory => "directory/versions",
            Self::RuleSet => "ruleSets/versions",
        }
    }

    /// The kind of change that a new version is.
    pub(crate) const fn created(self) -> RoutingKind {
        match self {
            Self::Directory => RoutingKind::DirectoryCreated,
            Self::RuleSet => RoutingKind::RuleSetCreated,
        }
    }

    /// The kind of change that a switch is.
    pub(crate) const fn activated(self) -> RoutingKind {
        match self {
            Self::Directory => RoutingKind::DirectoryActivated,
            Self::RuleSet => RoutingKind::RuleSetActivated,
        }
    }
}

impl fmt::Display for VersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::RuleSet => "rule set",
        })
    }
}

/// The digests of what decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of the directory.
    pub directory: Bytes32,
    /// Of the rule set.
    pub rules: Bytes32,
}

impl Digests {
    /// The digest of a kind.
    #[must_use]
    pub const fn of(&self, kind: VersionKind) -> Bytes32 {
        match kind {
            VersionKind::Directory => self.directory,
            VersionKind::RuleSet => self.rules,
        }
    }
}

/// A directory, and a rule set that goes with it. A version is proposed by making the pair that would decide then.
#[derive(Clone)]
pub struct Active {
    /// The directory.
    pub directory: Arc<Directory>,
    /// The rule set, read against that directory.
    pub rules: Arc<RuleSet>,
    /// Grows with every change of either; 0 for what was never active.
    pub(crate) generation: u64,
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digests = self.digests();
        f.debug_struct("Active")
            .field("directory", &HEXLOWER.encode(&digests.directory))
            .field("rules", &HEXLOWER.encode(&digests.rules))
            .field("generation", &self.generation)
            .finish()
    }
}

impl Active {
    /// Of a rule set that was read against the directory.
    #[must_use]
    pub fn new(directory: Arc<Directory>, rules: Arc<RuleSet>) -> Self {
        Self {
            directory,
            rules,
            generation: 0,
        }
    }

    /// The digests.
    #[must_use]
    pub fn digests(&self) -> Digests {
        Digests {
            directory: self.directory.digest(),
            rules: self.rules.digest(),
        }
    }

    /// The functions that the rule set uses, ascending.
    #[must_use]
    pub fn functions(&self) -> Vec<Function> {
        let leads = self.rules.rows().iter().filter_map(|row| match &row.action {
            Action::Lead(lead) => Some(lead),
            Action::Advise { .. } => None,
        });
        let functions: BTreeSet<&Function> = leads
            .flat_map(|lead| {
                let holds = lead.holds.iter().map(|hold| &hold.function);
                std::iter::once(&lead.function)
                    .chain(&lead.support)
                    .chain(&lead.abroad)
                    .chain(holds)
            })
            .collect();
        functions.into_iter().cloned().collect()
    }

    /// Proposes another directory under the same rule set.
    ///
    /// # Errors
    /// When the rule set does not go with it, such as one that names a function which nobody has there.
    pub fn with_directory(&self, directory: Arc<Directory>) -> Result<Self, ConfigError> {
        let rules = RuleSet::decode(self.rules.canonical(), &directory)?;
        Ok(Self::new(directory, Arc::new(rules)))
    }

    /// Proposes another rule set, read as people write it, over the same directory.
    ///
    /// # Errors
    /// When it is no rule set, or does not go with the directory.
    pub fn with_rules(&self, source: &str) -> Result<Self, ConfigError> {
        let rules = RuleSet::parse(source, &self.directory)?;
        Ok(Self::new(Arc::clone(&self.directory), Arc::new(rules)))
    }
}

/// What decides, as this process knows it.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Active>>);

impl Current {
    /// Begins with what is active.
    #[must_use]
    pub fn new(active: Active) -> Self {
        Self(RwLock::new(Arc::new(active)))
    }

    /// What decides. A request takes it once, so that its answer is of one piece.
    #[must_use]
    pub fn get(&self) -> Arc<Active> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what was read from the database, unless a newer one is known already.
    pub(crate) fn advance(&self, active: &Arc<Active>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if active.generation > known.generation {
            *known = Arc::clone(active);
        }
    }
}

/// Poll interval for another replica's switch. Until then this one shows the former version, but
/// opens no case by it.
const LOOK: Duration = Duration::from_secs(1);

/// Looks every second until `shutdown` whether there was a switch.
pub(crate) async fn follow(versions: Arc<dyn Versions>, shutdown: CancellationToken) {
    while tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
        match versions.refresh().await {
            Ok(false) => {}
            Ok(true) => tracing::info!(active = ?versions.active(), "what decides was switched"),
            Err(error) => tracing::warn!(%error, "what decides cannot be looked at now"),
        }
    }
}
