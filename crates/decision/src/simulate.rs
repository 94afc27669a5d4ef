//! Simulation: the same facts decided by two rule sets, and the differences.
//!
//! Pure: the caller passes facts one by one. Only differing answers are put into words.

use std::collections::BTreeMap;

use api::routing::{AgencyBalance, RouteDifference, RouteEnd, SimulationSummary};

use crate::decide::{Ruling, Verdict, number, rule};
use crate::directory::{AgencyId, Directory};
use crate::facts::Situation;
use crate::rules::{Action, RuleSet};

/// A running simulation.
#[derive(Debug)]
pub struct Simulation<'a> {
    old: &'a RuleSet,
    new: &'a RuleSet,
    directory: &'a Directory,
    decided: u64,
    different: u64,
    erased: u64,
    balance: BTreeMap<&'a AgencyId, (u64, u64)>,
}

impl<'a> Simulation<'a> {
    /// A simulation of a proposed rule set against another, over one directory.
    #[must_use]
    pub const fn new(old: &'a RuleSet, new: &'a RuleSet, directory: &'a Directory) -> Self {
        Self {
            old,
            new,
            directory,
            decided: 0,
            different: 0,
            erased: 0,
            balance: BTreeMap::new(),
        }
    }

    /// Decides by both rule sets and calls `explain` if the answers differ: in lead or designating
    /// superior, in supporting agencies, or in the advice. Another row or factor with the same
    /// answer is not a difference.
    pub fn compare<T>(
        &mut self,
        situation: &Situation<'_>,
        told: impl FnOnce(&Ruling<'_>, &Ruling<'_>) -> T,
    ) -> Option<T> {
        self.decided += 1;
        let old = rule(situation, self.old, self.directory);
        let new = rule(situation, self.new, self.directory);
        if same(&old, &new) {
            return None;
        }
        self.different += 1;
        let (was, is) = (lead(&old), lead(&new));
        if was != is {
            // Use the directory's ids, which outlive the answers.
            let known = |id: Option<&AgencyId>| id.and_then(|id| self.directory.agency(id)).map(|agency| &agency.id);
            let (lost, gained) = (known(was), known(is));
            if let Some(agency) = lost {
                self.balance.entry(agency).or_default().1 += 1;
            }
            if let Some(agency) = gained {
                self.balance.entry(agency).or_default().0 += 1;
            }
        }
        Some(told(&old, &new))
    }

    /// Counts facts that were erased.
    pub const fn erased(&mut self) {
        self.erased += 1;
    }

    /// Number of decided facts.
    #[must_use]
    pub const fn decided(&self) -> u64 {
        self.decided
    }

    /// Number of differing answers.
    #[must_use]
    pub const fn different(&self) -> u64 {
        self.different
    }
}

impl Simulation<'_> {
    /// The totals.
    #[must_use]
    pub fn summary(&self) -> SimulationSummary {
        let mut agencies: Vec<AgencyBalance> = self
            .balance
            .iter()
            .map(|(agency, (gained, lost))| AgencyBalance {
                agency: agency.resource_name(),
                gained_count: count(*gained),
                lost_count: count(*lost),
            })
            .collect();
        // Sorted by id before, so that equals stay in that order.
        agencies.sort_by_key(|balance| std::cmp::Reverse(balance.gained_count + balance.lost_count));
        SimulationSummary {
            decided_count: count(self.decided),
            different_count: count(self.different),
            erased_count: count(self.erased),
            agencies,
            current_digest: self.old.digest().to_vec().into(),
            proposed_digest: self.new.digest().to_vec().into(),
            directory_digest: self.directory.digest().to_vec().into(),
        }
    }
}

/// Both answers, and why they differ. Of which facts, the caller adds.
#[must_use]
pub fn difference(old: &Ruling<'_>, new: &Ruling<'_>) -> RouteDifference {
    RouteDifference {
        current: Some(end(old)),
        proposed: Some(end(new)),
        reason: reason(old, new),
        ..RouteDifference::default()
    }
}

fn same(old: &Ruling<'_>, new: &Ruling<'_>) -> bool {
    let acts = match (old.outcome(), new.outcome()) {
        (Verdict::Lead { agency: was, .. }, Verdict::Lead { agency: is, .. }) => was.id == is.id,
        (Verdict::Designate(was), Verdict::Designate(is)) => was == is,
        (was @ Verdict::Advise { .. }, is @ Verdict::Advise { .. }) => was == is,
        _ => false,
    };
    // Each agency occurs once, so equal counts and one direction suffice.
    acts && old.supporters().count() == new.supporters().count()
        && new.supporters().all(|is| old.supporters().any(|was| was == is))
}

fn lead<'a>(ruling: &Ruling<'a>) -> Option<&'a AgencyId> {
    match ruling.outcome() {
        Verdict::Lead { agency, .. } => Some(&agency.id),
        _ => None,
    }
}

fn end(ruling: &Ruling<'_>) -> RouteEnd {
    let mut supporting: Vec<String> = ruling.supporters().map(AgencyId::resource_name).collect();
    supporting.sort();
    let agency = match ruling.outcome() {
        Verdict::Lead { agency, .. } => agency.id.resource_name(),
        Verdict::Designate(superior) => superior.resource_name(),
        Verdict::Advise { .. } => String::new(),
    };
    RouteEnd {
        agency,
        leads: lead(ruling).is_some(),
        factor: number(ruling.factor()),
        row: ruling.row().id.clone(),
        supporting,
    }
}

/// The part of the rules that makes the difference.
fn reason(old: &Ruling<'_>, new: &Ruling<'_>) -> String {
    let (was, is) = (old.row(), new.row());
    if was.id != is.id {
        return format!("row `{}` matches instead of `{}`", is.id, was.id);
    }
    let (Action::Lead(before), Action::Lead(after)) = (&was.action, &is.action) else {
        return format!("row `{}` has a different result", is.id);
    };
    let parts = [
        ("lead", before.function != after.function),
        ("factors", before.factors != after.factors),
        (
            "first_receiver",
            before.first_receiver_keeps != after.first_receiver_keeps,
        ),
        ("support", before.support != after.support),
        ("abroad", before.abroad != after.abroad),
        ("exclude", before.exclude != after.exclude),
        ("holds", before.holds != after.holds),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(part, _)| part)
        .collect();
    match parts.is_empty() {
        true => "the last resort differs".to_owned(),
        false => format!("row `{}` has a different {}", is.id, parts.join(", ")),
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
