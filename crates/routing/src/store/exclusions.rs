//! The exclusions of open cases: those of the opening, and successors since.
//!
//! A later directory may name successors of excluded agencies, and a still later one may lack the
//! agencies they succeeded. So what each directory adds is stored.

use std::collections::BTreeMap;

use sql::{Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{rows, versions::former_in};
use crate::case::Matter;
use decision::directory::{AgencyId, Directory};

pub(super) const EXCLUSIONS: Insert = Insert::into(
    "case_exclusions",
    &[
        ("case_id", Kind::Text),
        ("agency", Kind::Text),
        ("directory", Kind::Bytes),
    ],
);

/// Adds the successors that a directory names.
pub(super) fn extend(matter: &mut Matter, directory: &Directory) {
    let successors = directory.excluded_successors(&matter.excluded);
    matter.excluded.extend(successors);
}

/// Adds the successors that a directory names, and those that former directories named of agencies
/// that it no longer has.
pub(super) async fn follow(tx: &mut Tx, matter: &mut Matter, directory: &Directory) -> Result<(), Error> {
    let mut gone: Vec<AgencyId> = matter.excluded.iter().cloned().collect();
    loop {
        gone.retain(|id| directory.agency(id).is_none());
        if gone.is_empty() {
            break;
        }
        let former = former_in(tx, gone.iter().map(ToString::to_string).collect()).await?;
        let successors = former.into_values().flatten();
        gone = successors
            .filter(|successor| matter.excluded.insert(successor.clone()))
            .collect();
    }
    extend(matter, directory);
    Ok(())
}

/// The rows of a case, whose exclusions a directory followed.
pub(super) fn rows(case: Uuid, matter: &Matter, directory: &Directory) -> impl Iterator<Item = [Value; 3]> {
    let digest = directory.digest();
    let row = move |agency: &AgencyId| [case.into(), agency.as_str().into(), digest.into()];
    matter.excluded.iter().map(row)
}

/// Writes the rows of open cases anew.
pub(super) async fn replace(tx: &mut Tx, followed: &[(Uuid, Matter)], directory: &Directory) -> Result<(), Error> {
    let excluding = || followed.iter().filter(|(_, matter)| !matter.excluded.is_empty());
    let ids: Vec<String> = excluding().map(|(case, _)| case.to_string()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    tx.execute("DELETE FROM case_exclusions WHERE case_id = ANY($1)", vec![ids.into()])
        .await?;
    let rows = excluding().flat_map(|(case, matter)| rows(*case, matter, directory));
    EXCLUSIONS.rows(tx, rows.collect::<Vec<_>>()).await?;
    Ok(())
}

/// Who is excluded from each of these cases.
pub(super) async fn of(tx: &mut Tx, cases: Vec<String>) -> Result<BTreeMap<Uuid, Vec<AgencyId>>, Error> {
    of_cases(&tx.fetch(OF, vec![cases.into()]).await?)
}

pub(super) const OF: &str = "SELECT case_id, agency FROM case_exclusions WHERE case_id = ANY($1)";

/// Reads the rows of [`OF`].
pub(super) fn of_cases(rows: &[Row]) -> Result<BTreeMap<Uuid, Vec<AgencyId>>, Error> {
    let mut excluded: BTreeMap<Uuid, Vec<AgencyId>> = BTreeMap::new();
    for row in rows {
        let agency = rows::agency(&row.get::<String>("agency")?)?;
        excluded.entry(rows::uuid(row, "case_id")?).or_default().push(agency);
    }
    Ok(excluded)
}
