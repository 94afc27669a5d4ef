//! The active pair: one version of the directory and one of the rule set, as this process knows it.
//!
//! Versions are immutable and identified by digest ([`store::versions`](crate::store::versions)).
//! The database says which are active. A process decides by its [`Current`] snapshot without
//! asking. A transaction that opens a case or gives it to another agency compares the snapshot with
//! the database, and takes the newer pair after a switch.

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

/// The kinds of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionKind {
    /// A directory: agencies over a tree of territories.
    Directory,
    /// A rule set.
    RuleSet,
}

impl VersionKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Directory, Self::RuleSet];

    /// Its stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::RuleSet => "rule-set",
        }
    }

    /// The record whose changes are the creation and activation of versions of this kind.
    #[must_use]
    pub const fn record(self) -> &'static str {
        match self {
            Self::Directory => "directory/versions",
            Self::RuleSet => "ruleSets/versions",
        }
    }

    /// The kind of change of a new version.
    pub(crate) const fn created(self) -> RoutingKind {
        match self {
            Self::Directory => RoutingKind::DirectoryCreated,
            Self::RuleSet => RoutingKind::RuleSetCreated,
        }
    }

    /// The kind of change of a proposal to switch.
    pub(crate) const fn proposed(self) -> RoutingKind {
        match self {
            Self::Directory => RoutingKind::DirectoryProposed,
            Self::RuleSet => RoutingKind::RuleSetProposed,
        }
    }

    /// The kind of change of a switch.
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

/// The digests of a pair.
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

/// A directory, and a rule set read against it. To propose a version, make the pair that would be
/// active with it.
#[derive(Clone)]
pub struct Active {
    /// The directory.
    pub directory: Arc<Directory>,
    /// The rule set, read against that directory.
    pub rules: Arc<RuleSet>,
    /// Grows with every change of either; 0 if the pair was never active.
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
    /// A pair whose rule set was read against the directory.
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

    /// The functions that the rule set uses, in ascending order.
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

    /// Proposes another directory with the same rule set.
    ///
    /// # Errors
    /// If the rule set contradicts the directory, for example by a function that no agency has.
    pub fn with_directory(&self, directory: Arc<Directory>) -> Result<Self, ConfigError> {
        let rules = RuleSet::decode(self.rules.canonical(), &directory)?;
        Ok(Self::new(directory, Arc::new(rules)))
    }

    /// Proposes another rule set, in its written form, over the same directory.
    ///
    /// # Errors
    /// If it is malformed, or contradicts the directory.
    pub fn with_rules(&self, source: &str) -> Result<Self, ConfigError> {
        let rules = RuleSet::parse(source, &self.directory)?;
        Ok(Self::new(Arc::clone(&self.directory), Arc::new(rules)))
    }
}

/// The active pair as this process knows it.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Active>>);

impl Current {
    /// Starts with the active pair.
    #[must_use]
    pub fn new(active: Active) -> Self {
        Self(RwLock::new(Arc::new(active)))
    }

    /// The active pair. Take it once per request, so that the answer is consistent.
    #[must_use]
    pub fn get(&self) -> Arc<Active> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the known pair by one read from the database, unless it is older.
    pub(crate) fn advance(&self, active: &Arc<Active>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if active.generation > known.generation {
            *known = Arc::clone(active);
        }
    }
}

/// Poll interval for switches by other replicas. Until then, this one shows the former version but
/// opens no case by it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Takes over switches by other replicas, until `shutdown`.
pub(crate) async fn follow(versions: Arc<dyn Versions>, shutdown: CancellationToken) {
    while tokio::time::timeout(INTERVAL, shutdown.cancelled()).await.is_err() {
        match versions.refresh().await {
            Ok(false) => {}
            Ok(true) => tracing::info!(active = ?versions.active(), "another replica switched the active versions"),
            Err(error) => tracing::warn!(%error, "cannot read the active versions"),
        }
    }
}
