//! Differences between two directories, and directories derived by changes.

use std::collections::BTreeSet;

use places::{Territories, TerritoryCode};

use super::{Agency, AgencyId, ConfigError, Directory, file};
use crate::calendar;

/// One difference between a new and an old directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// An agency that only the new one has.
    Added(AgencyId),
    /// An agency that only the old one has.
    Removed(AgencyId),
    /// A field of an agency.
    Changed {
        /// The agency.
        agency: AgencyId,
        /// The field, named as in the file.
        field: &'static str,
        /// Its old value as written; empty if absent.
        before: String,
        /// Its new value as written; empty if absent.
        after: String,
    },
    /// The last resort changed.
    LastResort {
        /// The old one.
        before: AgencyId,
        /// The new one.
        after: AgencyId,
    },
    /// The zone in which days are counted changed.
    Zone {
        /// The old one, as written.
        before: String,
        /// The new one, as written.
        after: String,
    },
    /// A territory that only one of them has, or that differs.
    Territory(TerritoryCode),
}

impl Directory {
    /// The differences from an older directory: the last resort and the zone first, then agencies
    /// by id, and territories last. Lists are cut at their end, and of territories there are
    /// thousands.
    #[must_use]
    pub fn differences(&self, old: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        if old.last_resort != self.last_resort {
            differences.push(Difference::LastResort {
                before: old.last_resort.clone(),
                after: self.last_resort.clone(),
            });
        }
        if old.zone != self.zone {
            differences.push(Difference::Zone {
                before: calendar::offset_text(old.zone),
                after: calendar::offset_text(self.zone),
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
        let territories = territories(&old.territories, &self.territories).into_iter();
        differences.extend(territories.map(Difference::Territory));
        differences
    }

    /// Applies a file of changes to this directory: `put` (agencies added, or replaced as a whole),
    /// `remove` (ids), `last_resort` and `utc_offset`, over the same tree.
    ///
    /// # Errors
    ///
    /// If the changes are malformed or the result is not a valid directory: all faults.
    pub fn with_changes(&self, changes_yaml: &str) -> Result<Self, ConfigError> {
        let whole = file::merge(
            changes_yaml,
            self.agencies.clone(),
            &self.last_resort,
            self.zone,
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

/// Codes that differ between two trees, ascending.
fn territories(old: &Territories, new: &Territories) -> Vec<TerritoryCode> {
    if old.digest() == new.digest() {
        return Vec::new();
    }
    let differs = |code: TerritoryCode| old.get(code) != new.get(code);
    let codes: BTreeSet<_> = old.iter().chain(new.iter()).map(|territory| territory.code).collect();
    codes.into_iter().filter(|code| differs(*code)).collect()
}
