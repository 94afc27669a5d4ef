//! The agencies and territories that reports may refer to: those known at start, and those of
//! directories applied later.
//!
//! A directory is applied at routing, which is authoritative. Intake asks routing about unknown
//! names and remembers the answers. So it accepts reports while routing is down; only a report with
//! a name still unknown to intake has to wait.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use api::{
    intake::{Report, place::Location},
    routing::{GetAgencyRequest, GetTerritoryRequest, directory_service_client::DirectoryServiceClient},
};
use async_trait::async_trait;
use futures::future::join_all;
use names::{AgencyId, Collection};
use places::{Territories, TerritoryCode};
use rpc::client::Caller;
use tonic::{Code, Status};

/// Maximum number of unknown names per report: as many as a report has places and agencies.
const ASKED: usize = 16;

/// The directory in force.
#[async_trait]
pub trait InForce: Send + Sync + 'static {
    /// Whether it has an agency or a territory with this resource name; `None` if it does not
    /// answer.
    async fn has(&self, name: &str) -> Option<bool>;
}

/// Routing's directory in force.
#[derive(Debug)]
pub struct Routings(pub Caller);

#[async_trait]
impl InForce for Routings {
    async fn has(&self, name: &str) -> Option<bool> {
        let mut routing = DirectoryServiceClient::new(self.0.clone());
        let name = name.to_owned();
        let answer: Result<(), Status> = match is_agency(&name) {
            true => routing.get_agency(GetAgencyRequest { name }).await.map(drop),
            false => routing.get_territory(GetTerritoryRequest { name }).await.map(drop),
        };
        match answer {
            Ok(()) => Some(true),
            Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => Some(false),
            Err(status) => {
                tracing::warn!(%status, "routing does not answer about the directory");
                None
            }
        }
    }
}

/// The names that reports may refer to.
pub struct Directory {
    territories: Territories,
    agencies: Arc<BTreeSet<String>>,
    /// Resource names beyond those two.
    learned: RwLock<Arc<BTreeSet<String>>>,
    in_force: Arc<dyn InForce>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

/// The names known at one moment.
#[derive(Clone, Debug)]
pub struct Known {
    territories: Territories,
    agencies: Arc<BTreeSet<String>>,
    learned: Arc<BTreeSet<String>>,
    /// Whether a name is in `learned` for this report only, because routing did not answer.
    unsure: bool,
}

impl Known {
    /// A tree and agencies, and nothing else.
    pub fn only(territories: Territories, agencies: BTreeSet<String>) -> Self {
        Self {
            territories,
            agencies: Arc::new(agencies),
            learned: Arc::default(),
            unsure: false,
        }
    }

    /// Whether a name of the report was accepted only because routing did not answer.
    pub fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// The id of a known agency, by its resource name.
    pub(crate) fn agency<'n>(&self, name: &'n str) -> Option<&'n str> {
        let id = Collection::AGENCIES.id(name)?;
        (self.agencies.contains(id) || self.learned.contains(name)).then_some(id)
    }

    /// Whether a territory with this resource name exists, in force or abolished.
    pub(crate) fn territory(&self, name: &str) -> bool {
        let code = TerritoryCode::from_resource_name(name).ok();
        code.is_some_and(|code| self.territories.get(code).is_some() || self.learned.contains(name))
    }

    /// Well-formed but unknown names in a report.
    fn strange<'r>(&self, report: &'r Report) -> BTreeSet<&'r str> {
        let agencies = std::iter::once(&report.complained_of)
            .chain(&report.keep_from)
            .filter(|name| is_agency(name) && self.agency(name).is_none());
        let territories = report.places.iter().filter_map(|place| match &place.location {
            Some(Location::Territory(name)) => Some(name),
            _ => None,
        });
        let territories =
            territories.filter(|name| TerritoryCode::from_resource_name(name).is_ok() && !self.territory(name));
        agencies.chain(territories).take(ASKED).map(String::as_str).collect()
    }
}

/// Whether a name has the form of an agency's name.
fn is_agency(name: &str) -> bool {
    names::AGENCY.id(name).is_some()
}

impl Directory {
    /// Starts with a tree and ids of agencies.
    pub fn new(territories: Territories, agencies: Arc<BTreeSet<String>>, in_force: Arc<dyn InForce>) -> Self {
        Self {
            territories,
            agencies,
            learned: RwLock::default(),
            in_force,
        }
    }

    /// The known names, after asking routing about unknown names in a report, if there are any.
    ///
    /// If routing does not answer, the name is accepted and the result is unsure: other violations
    /// can still be reported.
    pub async fn known_for(&self, report: Option<&Report>) -> Known {
        let mut known = self.known();
        let strange = report.map(|report| known.strange(report)).unwrap_or_default();
        if strange.is_empty() {
            return known;
        }
        let answers = join_all(strange.iter().map(|name| self.in_force.has(name))).await;
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut passed: BTreeSet<String> = BTreeSet::new();
        for (name, answer) in strange.into_iter().zip(answers) {
            match answer {
                Some(true) => drop(found.insert(name.to_owned())),
                Some(false) => {}
                None => drop(passed.insert(name.to_owned())),
            }
        }
        self.learn(found);
        known = self.known();
        known.unsure = !passed.is_empty();
        if known.unsure {
            Arc::make_mut(&mut known.learned).append(&mut passed);
        }
        known
    }

    /// Whether an agency is known, after asking routing if it is not; `None` if routing does not
    /// answer.
    pub(crate) async fn has_agency(&self, id: &AgencyId) -> Option<bool> {
        let name = id.resource_name();
        if self.known().agency(&name).is_some() {
            return Some(true);
        }
        let has = self.in_force.has(&name).await?;
        self.learn(has.then_some(name).into_iter().collect());
        Some(has)
    }

    fn known(&self) -> Known {
        Known {
            territories: self.territories.clone(),
            agencies: Arc::clone(&self.agencies),
            learned: Arc::clone(&self.learned.read().unwrap_or_else(PoisonError::into_inner)),
            unsure: false,
        }
    }

    fn learn(&self, mut found: BTreeSet<String>) {
        if found.is_empty() {
            return;
        }
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut learned).append(&mut found);
    }
}
