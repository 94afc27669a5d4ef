//! The exclusions of cases: those of the opening, and since then successors and agencies that stepped
//! aside. Those of closed cases stay.
//!
//! A later directory may name successors of excluded agencies, and a still later one may lack the
//! agencies they succeeded. So what each directory adds is stored.

use std::collections::{BTreeMap, BTreeSet};

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

/// Adds to the exclusions of all these cases the successors that a directory names, and those that
/// former directories named of agencies that it no longer has.
pub(super) async fn follow<'m>(
    tx: &mut Tx,
    cases: impl Iterator<Item = &'m mut Matter>,
    directory: &Directory,
) -> Result<(), Error> {
    let mut cases: Vec<_> = cases.collect();
    let mut successions = Successions::of(cases.iter().map(|matter| &matter.excluded), directory);
    while let Some(unknown) = successions.unknown() {
        successions.learn(former_in(tx, unknown).await?);
    }
    for matter in &mut cases {
        successions.follow(&mut matter.excluded);
        extend(matter, directory);
    }
    Ok(())
}

/// The agencies that a directory no longer has and somebody excludes, with the successors that they
/// had last. For any number of exclusions at once: what is looked up are agencies, a few names
/// again and again, and not each exclusion by itself.
pub(super) struct Successions<'d> {
    directory: &'d Directory,
    /// `None` for agencies without a successor, and for those that no directory ever had.
    successors: BTreeMap<AgencyId, Option<AgencyId>>,
    unknown: BTreeSet<AgencyId>,
    /// Whether every agency is, or once was, in a directory.
    are_known: bool,
}

impl<'d> Successions<'d> {
    pub(super) fn of<'e>(all: impl Iterator<Item = &'e BTreeSet<AgencyId>>, directory: &'d Directory) -> Self {
        let mut new = Self {
            directory,
            successors: BTreeMap::new(),
            unknown: BTreeSet::new(),
            are_known: true,
        };
        all.flatten().for_each(|id| new.meet(id));
        new
    }

    fn meet(&mut self, id: &AgencyId) {
        if self.directory.agency(id).is_none() && !self.successors.contains_key(id) {
            self.unknown.insert(id.clone());
        }
    }

    /// The agencies to look up next; `None` when all are known.
    pub(super) fn unknown(&self) -> Option<Vec<String>> {
        let ids: Vec<_> = self.unknown.iter().map(ToString::to_string).collect();
        (!ids.is_empty()).then_some(ids)
    }

    /// Takes what was found of the unknown ones.
    pub(super) fn learn(&mut self, mut former: BTreeMap<AgencyId, Option<AgencyId>>) {
        let asked = std::mem::take(&mut self.unknown);
        let mut next = Vec::new();
        for id in asked {
            let found = former.remove(&id);
            self.are_known &= found.is_some();
            let successor = found.flatten();
            next.extend(successor.clone());
            self.successors.insert(id, successor);
        }
        next.iter().for_each(|id| self.meet(id));
    }

    pub(super) fn follow(&self, excluded: &mut BTreeSet<AgencyId>) {
        let mut from: Vec<AgencyId> = excluded.iter().cloned().collect();
        while let Some(id) = from.pop() {
            if let Some(Some(successor)) = self.successors.get(&id)
                && excluded.insert(successor.clone())
            {
                from.push(successor.clone());
            }
        }
    }

    pub(super) fn are_known(&self) -> bool {
        self.are_known
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> BTreeSet<AgencyId> {
        ids.iter().map(|id| AgencyId::new(id).unwrap()).collect()
    }

    #[test]
    fn a_thousand_exclusions_are_followed_with_one_look_up_for_each_link() {
        let directory = Directory::shipped();
        // Of a chain of four that ended, of one without a successor, and of one in force.
        let chain = ["gone-1", "gone-2", "gone-3", "police-110000"];
        let former = |asked: &str| match chain.iter().position(|id| *id == asked) {
            Some(at) => Some(Some(AgencyId::new(chain[at + 1]).unwrap())),
            None if asked == "heirless" => Some(None),
            None => None,
        };
        let mut all: Vec<BTreeSet<AgencyId>> = (0..1_000)
            .map(|i| match i % 3 {
                0 => ids(&["gone-1", "police-CN"]),
                1 => ids(&["gone-2", "heirless"]),
                _ => ids(&["police-310000"]),
            })
            .collect();
        let mut successions = Successions::of(all.iter(), directory);
        let mut look_ups = Vec::new();
        while let Some(unknown) = successions.unknown() {
            let found = unknown
                .iter()
                .filter_map(|id| Some((AgencyId::new(id).unwrap(), former(id)?)));
            successions.learn(found.collect());
            look_ups.push(unknown);
        }
        assert_eq!(look_ups, [vec!["gone-1", "gone-2", "heirless"], vec!["gone-3"]]);
        assert!(successions.are_known());
        for (i, excluded) in all.iter_mut().enumerate() {
            successions.follow(excluded);
            let expected = match i % 3 {
                0 => ids(&["gone-1", "gone-2", "gone-3", "police-110000", "police-CN"]),
                1 => ids(&["gone-2", "gone-3", "heirless", "police-110000"]),
                _ => ids(&["police-310000"]),
            };
            assert_eq!(*excluded, expected, "{i}");
        }
        // One that no directory ever had, and a circle.
        let mut odd = ids(&["never", "round"]);
        let mut successions = Successions::of([&odd].into_iter(), directory);
        while let Some(unknown) = successions.unknown() {
            assert!(successions.are_known());
            let round = AgencyId::new("round").unwrap();
            assert_eq!(unknown, ["never", "round"]);
            successions.learn([(round.clone(), Some(round))].into());
        }
        successions.follow(&mut odd);
        assert!(!successions.are_known());
        assert_eq!(odd, ids(&["never", "round"]));
    }
}
