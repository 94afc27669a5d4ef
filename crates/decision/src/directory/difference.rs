//! What differs between two directories, and directories made by changes.

use std::collections::BTreeSet;

use places::{Territories, TerritoryCode};

use super::{Agency, AgencyId, ConfigError, Directory, file};

/// One difference of a new directory from an old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// An agency that the old one does not have.
    Added(AgencyId),
    /// An agency that the new one does not have.
    Removed(AgencyId),
    /// A field of an agency.
    Changed {
        /// The agency.
        agency: AgencyId,
        /// The field, as in the file.
        field: &'static str,
        /// As written in the old one; empty when it was not.
        before: String,
        /// As written in the new one; empty when it is not.
        after: String,
    },
    /// Another conference decides last.
    LastResort {
        /// In the old one.
        before: AgencyId,
        /// In the new one.
        after: AgencyId,
    },
    /// A territory that only one of them has, or that they have otherwise.
    Territory(TerritoryCode),
}

impl Directory {
    /// How this directory differs from an older one: territories first, then the last resort, then agencies ascending by id.
    #[must_use]
    pub fn differences(&self, old: &Self) -> Vec<Difference> {
        let mut differences: Vec<_> = territories(&old.territories, &self.territories)
            .into_iter()
            .map(Difference::Territory)
            .collect();
        if old.last_resort != self.last_resort {
            differences.push(Difference::LastResort {
                before: old.last_resort.clone(),
                after: self.last_resort.clone(),
            });
        }
        let ids: BTreeSet<&AgencyId> = old.agencies().chain(self.agencies()).map(|agency| &agency.id).collect();
        for id in ids {
            match (old.agency(id), self.agency(id)) {
                (Some(before), Some(after)) if before != after => changed(before, after, &mut differences),
                (None, Some(_)) => differences.push(Difference::Added(id.clone())),
                (Some(_), None) => differences.push(Difference::Removed(id.clone())),
                _ => {}
            }
        }
        differences
    }

    /// The directory that changes make of this one: a file with `put` (agencies added, or replaced as a whole), `remove` (ids),
    /// or `last_resort`, over the same tree.
    ///
    /// # Errors
    /// When the changes cannot be read, or what they make is no directory: with all faults.
    pub fn with_changes(&self, changes_yaml: &str) -> Result<Self, ConfigError> {
        let whole = file::merge(
            changes_yaml,
            self.agencies.clone(),
            &self.last_resort,
            &self.territories,
        )?;
        Self::parse(&whole, &self.territories)
    }
}

fn changed(before: &Agency, after: &Agency, differences: &mut Vec<Difference>) {
    let (old, new) = (file::fields(before), file::fields(after));
    let value = |fields: &[(&'static str, String)], key| {
        let found = fields.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut keys: Vec<&'static str> = Vec::new();
    for (key, _) in old.iter().chain(&new) {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    for field in keys {
        let (before, after_value) = (value(&old, field), value(&new, field));
        if before != after_value {
            differences.push(Difference::Changed {
                agency: after.id.clone(),
                field,
                before,
                after: after_value,
            });
        }
    }
}

/// Codes that two trees do not have alike, ascending.
fn territories(old: &Territories, new: &Territories) -> Vec<TerritoryCode> {
    if old.digest() == new.digest() {
        return Vec::new();
    }
    let differs = |code: TerritoryCode| old.get(code) != new.get(code);
    let codes: BTreeSet<_> = old.iter().chain(new.iter()).map(|territory| territory.code).collect();
    codes.into_iter().filter(|code| differs(*code)).collect()
}
