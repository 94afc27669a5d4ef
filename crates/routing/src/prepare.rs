//! What has to hold before routing starts: the configuration is kept, and fits the cases that are open.

use std::collections::BTreeMap;

use journal::Time;
use sql::{Db, Tx};

use crate::{
    directory::{AgencyId, Directory},
    rules::RuleSet,
    store::{configurations, name, unknown_owners},
};

/// Cases that an error names at most.
const NAMED: u32 = 100;

/// Why routing does not start.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The database did not do it.
    #[error("keeping the configuration in routing's database")]
    Database(#[from] sql::Error),
    /// Open cases would have nobody: their owners are not in the directory.
    #[error(
        "open cases are owned by agencies that the directory does not have: {}{}; \
         keep each of them in the directory until its cases are handed on",
        listed(.owned),
        if *.more { "; and more" } else { "" }
    )]
    UnknownOwners {
        /// Resource names of cases, by owner.
        owned: BTreeMap<AgencyId, Vec<String>>,
        /// Whether there are more than are named.
        more: bool,
    },
}

fn listed(owned: &BTreeMap<AgencyId, Vec<String>>) -> String {
    let each: Vec<_> = owned
        .iter()
        .map(|(agency, cases)| format!("`{agency}` owns {}", cases.join(", ")))
        .collect();
    each.join("; ")
}

/// See [`Routing::prepare`](crate::Routing::prepare).
pub(crate) async fn prepare(db: &Db, directory: &Directory, rules: &RuleSet, now: Time) -> Result<(), PrepareError> {
    let unknown = sql::transact!(db, |tx| try_prepare(&mut tx, directory, rules, now))?;
    if unknown.is_empty() {
        return Ok(());
    }
    let more = unknown.len() > NAMED as usize;
    let mut owned: BTreeMap<AgencyId, Vec<String>> = BTreeMap::new();
    for (agency, case) in unknown.into_iter().take(NAMED as usize) {
        owned.entry(agency).or_default().push(name(case));
    }
    Err(PrepareError::UnknownOwners { owned, more })
}

/// Keeps the configuration, unless there are cases that it does not fit to, which it returns.
async fn try_prepare(
    tx: &mut Tx,
    directory: &Directory,
    rules: &RuleSet,
    now: Time,
) -> Result<Vec<(AgencyId, uuid::Uuid)>, sql::Error> {
    let unknown = unknown_owners(tx, directory, NAMED + 1).await?;
    if unknown.is_empty() {
        configurations::keep(tx, directory, rules, now).await?;
    }
    Ok(unknown)
}
