//! Who may see a case no longer, by the directory in force.
//!
//! A directory may make an agency with a part in a case the successor of one that is excluded from
//! it. The part is taken at the next tick; until then every read and every command is judged here
//! as it will be after that.

use std::collections::{BTreeMap, BTreeSet};

use decision::directory::{AgencyId, Directory};
use journal::Time;
use sql::Error;
use uuid::Uuid;

use super::{
    SqlStore, StoredCase, Versions,
    exclusions::{self, Successions},
    rows,
};
use crate::case::{self, Case, Matter, Party, Sight};

impl SqlStore {
    /// The cases that an agency with a part in them may see by the directory in force.
    pub(super) async fn unbarred(&self, viewer: &Party, found: Vec<StoredCase>) -> Result<Vec<StoredCase>, Error> {
        let Party::Agency(agency) = viewer else {
            return Ok(found);
        };
        let directory = &self.current.get().directory;
        let found: Vec<_> = found
            .into_iter()
            .filter(|stored| !watches_no_longer(&stored.case, agency, directory))
            .collect();
        let ids: Vec<String> = found.iter().map(|stored| stored.id.to_string()).collect();
        if ids.is_empty() {
            return Ok(found);
        }
        let excluded = exclusions::of_cases(&self.db.fetch(exclusions::OF, vec![ids.into()]).await?)?;
        let mut excluded: BTreeMap<Uuid, BTreeSet<AgencyId>> = excluded
            .into_iter()
            .map(|(case, named)| (case, named.into_iter().collect()))
            .collect();
        let active = self.current.get();
        add_successors(self, excluded.values_mut().collect(), &active.directory).await?;
        excluded.retain(|_, named| is_excluded(agency, named, &active.directory));
        if excluded.is_empty() {
            return Ok(found);
        }
        let ids: Vec<String> = excluded.keys().map(Uuid::to_string).collect();
        let rows = self
            .db
            .fetch("SELECT id, matter FROM cases WHERE id = ANY($1)", vec![ids.into()])
            .await?;
        let mut matters = BTreeMap::new();
        for row in &rows {
            matters.insert(rows::uuid(row, "id")?, rows::matter(row)?);
        }
        let mut kept = Vec::with_capacity(found.len());
        for stored in found {
            let Some(named) = excluded.remove(&stored.id) else {
                kept.push(stored);
                continue;
            };
            let mut matter = matters
                .remove(&stored.id)
                .ok_or_else(|| rows::damaged("case", "it is missing"))?;
            matter.excluded.extend(named);
            if self.keeps_sight(&stored.case, stored.head.time, &matter, agency, &active.directory) {
                kept.push(stored);
            }
        }
        Ok(kept)
    }

    /// Whether an agency keeps its part in a case when the case follows a directory: it is not
    /// excluded, or is left as the only one that can own the case.
    pub(super) fn keeps_sight(
        &self,
        case: &Case,
        at: Time,
        matter: &Matter,
        agency: &AgencyId,
        directory: &Directory,
    ) -> bool {
        if watches_no_longer(case, agency, directory) {
            return false;
        }
        if !is_excluded(agency, &matter.excluded, directory) {
            return true;
        }
        let mut matter = matter.clone();
        exclusions::extend(&mut matter, directory);
        let rules = self.rules(directory, at);
        let mut case = case.clone();
        while let Some(transition) = rules.succeeded(&case, &matter) {
            case = transition.case;
        }
        case::sees(&case, &Party::Agency(agency.clone()), directory, Sight::Case)
    }
}

/// Whether an agency supervises a lead that a later directory has put under others.
fn watches_no_longer(case: &Case, agency: &AgencyId, directory: &Directory) -> bool {
    let is_above = |owner: &AgencyId| directory.is_under(owner, agency);
    let supervises = case.supervisor.as_ref() == Some(agency) && !case.is_supported_by(agency);
    supervises && !case.owner().is_some_and(is_above)
}

/// Whether an agency is excluded by a directory. Of one that the directory no longer has, nobody
/// knows any more what it was under.
fn is_excluded(agency: &AgencyId, excluded: &BTreeSet<AgencyId>, directory: &Directory) -> bool {
    let is_known = directory.agency(agency).is_some();
    !excluded.is_empty() && (!is_known || directory.is_excluded(agency, excluded))
}

/// Adds to all these exclusions the successors of those agencies that the directory in force no
/// longer has. Returns whether every agency is, or once was, in a directory.
pub(crate) async fn add_successors(
    versions: &dyn Versions,
    mut all: Vec<&mut BTreeSet<AgencyId>>,
    directory: &Directory,
) -> Result<bool, Error> {
    let mut successions = Successions::of(all.iter().map(|excluded| &**excluded), directory);
    while let Some(unknown) = successions.unknown() {
        successions.learn(versions.former(unknown).await?);
    }
    for excluded in &mut all {
        successions.follow(excluded);
    }
    Ok(successions.are_known())
}
