//! Consistency of a directory as a whole. Every fault names agency and field.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::civil::Date;
use places::{Territories, TerritoryCode};

use super::{Agency, AgencyId, ConfigError, Directory, FILE, Function, Takes};
use crate::category::is_within;

/// Maximum size of an agency or territory file, in bytes. The whole country with ten thousand desks
/// takes three million.
pub const LIMIT: u64 = 16 << 20;

/// Refuses a file by its size before reading it.
pub(super) fn size(bytes: u64) -> Result<(), ConfigError> {
    match bytes <= LIMIT {
        true => Ok(()),
        false => Err(ConfigError::TooLarge {
            file: FILE,
            bytes,
            limit: LIMIT,
        }),
    }
}

/// A warning for whoever applies a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No agency is found for a function from these territories and all below them.
    Unreached {
        /// The function.
        function: Function,
        /// The highest such territories.
        territories: Vec<TerritoryCode>,
    },
    /// Between these territories and the nation, only agencies with some categories or with a last
    /// day exist.
    PartlyReached {
        /// The function.
        function: Function,
        /// The highest such territories.
        territories: Vec<TerritoryCode>,
    },
    /// An agency ends without a successor: its remaining cases then go to its superior for
    /// designation.
    EndsWithoutSuccessor {
        /// The agency.
        agency: AgencyId,
        /// Its last day.
        valid_to: Date,
    },
}

/// Validates all agencies together and sorts them by id.
pub(super) fn whole(
    agencies: &mut [Agency],
    last_resort: Option<&AgencyId>,
    territories: &Territories,
    faults: &mut Vec<String>,
) {
    agencies.sort_by(|a, b| a.id.cmp(&b.id));
    let agencies = &*agencies;
    for pair in agencies.windows(2) {
        if let [first, second] = pair
            && first.id == second.id
        {
            faults.push(format!(
                "agency `{}`: the id is used twice; give each agency its own",
                second.id
            ));
        }
    }
    let mut known: HashMap<&AgencyId, &Agency> = HashMap::with_capacity(agencies.len());
    for agency in agencies {
        known.entry(&agency.id).or_insert(agency);
    }
    for agency in agencies {
        let at = format!("agency `{}`", agency.id);
        if let (Some(from), Some(to)) = (agency.valid_from, agency.valid_to)
            && to < from
        {
            faults.push(format!("{at}: valid_to: it ends on {to}, before it begins on {from}"));
        }
        superior(&at, agency, &known, faults);
        successor(&at, agency, &known, faults);
    }
    desks(agencies, territories, faults);
    match last_resort.map(|id| (id, known.get(id))) {
        Some((id, None)) => faults.push(format!(
            "last_resort: the agency `{id}` does not exist; use the conference that decides last"
        )),
        Some((id, Some(agency))) if agency.valid_to.is_some() || agency.valid_from.is_some() => {
            faults.push(format!(
                "last_resort: `{id}` has a first or last day; the conference must always exist"
            ));
        }
        _ => {}
    }
}

fn superior(at: &str, agency: &Agency, known: &HashMap<&AgencyId, &Agency>, faults: &mut Vec<String>) {
    let Some(id) = &agency.superior else {
        if agency.territory != TerritoryCode::ROOT {
            faults.push(format!(
                "{at}: superior: missing for an agency below the nation; add the agency above it"
            ));
        }
        return;
    };
    let Some(superior) = known.get(id) else {
        faults.push(format!(
            "{at}: superior: the agency `{id}` does not exist; add it, or remove the key"
        ));
        return;
    };
    let ends_first = match (superior.valid_to, agency.valid_to) {
        (Some(superior), Some(unit)) => superior < unit,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if let (Some(to), true) = (superior.valid_to, ends_first) {
        faults.push(format!(
            "{at}: superior: `{id}` ends on {to}, before this agency; use one that does not"
        ));
    }
    // Each agency on a cycle is reported, agencies below it are not: fixing the cycle fixes them.
    let mut way = vec![&agency.id];
    let mut next = Some(id);
    while let Some(above) = next {
        if *above == agency.id {
            let way: Vec<_> = way.iter().map(|id| id.as_str()).collect();
            faults.push(format!(
                "{at}: superior: the agency is above itself ({} → {}); use a higher superior",
                way.join(" → "),
                agency.id
            ));
            return;
        }
        if way.contains(&above) {
            return;
        }
        way.push(above);
        next = known.get(above).and_then(|above| above.superior.as_ref());
    }
}

fn successor(at: &str, agency: &Agency, known: &HashMap<&AgencyId, &Agency>, faults: &mut Vec<String>) {
    let Some(id) = &agency.successor else { return };
    let Some(to) = agency.valid_to else {
        faults.push(format!(
            "{at}: successor: the agency has no last day; add valid_to or remove the successor"
        ));
        return;
    };
    let Some(successor) = known.get(id) else {
        faults.push(format!(
            "{at}: successor: the agency `{id}` does not exist; add it first"
        ));
        return;
    };
    if successor.valid_to.is_some_and(|end| end <= to) {
        faults.push(format!(
            "{at}: successor: `{id}` ends no later than this agency; use one that exists after {to}"
        ));
    }
    let next = to.tomorrow().unwrap_or(to);
    if successor.valid_from.is_some_and(|from| next < from) {
        faults.push(format!(
            "{at}: successor: `{id}` begins after {next}: the cases would have no owner in between"
        ));
    }
    if let Some(missing) = agency
        .functions
        .iter()
        .find(|function| !successor.functions.contains(function))
    {
        faults.push(format!(
            "{at}: successor: `{id}` lacks the function `{missing}`; use one that has all of them"
        ));
    }
}

/// No two agencies may match the same query.
fn desks(agencies: &[Agency], territories: &Territories, faults: &mut Vec<String>) {
    let mut desks: BTreeMap<(&Function, TerritoryCode), Vec<&Agency>> = BTreeMap::new();
    for agency in agencies {
        for function in &agency.functions {
            let others = desks.entry((function, agency.territory)).or_default();
            for other in others.iter() {
                if let Some(category) = overlap(&agency.takes, &other.takes)
                    && together(agency, other)
                {
                    let name = territories.name(agency.territory).map(|(zh, _)| zh).unwrap_or_default();
                    faults.push(format!(
                        "agency `{}`: functions, categories: `{}` also has the function `{function}` at {} {name}, for {}; \
                         remove one, or divide categories or days between them",
                        agency.id,
                        other.id,
                        agency.territory,
                        category.unwrap_or("all categories"),
                    ));
                }
            }
            others.push(agency);
        }
    }
}

/// Whether both exist on some day.
fn together(a: &Agency, b: &Agency) -> bool {
    let begins_before_end = |a: &Agency, b: &Agency| match (a.valid_from, b.valid_to) {
        (Some(from), Some(to)) => from <= to,
        _ => true,
    };
    begins_before_end(a, b) && begins_before_end(b, a)
}

/// A subtree that both accept, `Some(None)` for all categories; `None` if there is no overlap.
fn overlap<'a>(a: &'a Takes, b: &'a Takes) -> Option<Option<&'a str>> {
    let subtrees = |takes: &'a Takes| -> Vec<Option<&'a str>> {
        match takes.only.is_empty() {
            true => vec![None],
            false => takes.only.iter().map(|subtree| Some(subtree.as_str())).collect(),
        }
    };
    let left_out = |subtree: &str| {
        a.except
            .iter()
            .chain(&b.except)
            .any(|except| is_within(subtree, except))
    };
    for x in subtrees(a) {
        for y in subtrees(b) {
            let both = match (x, y) {
                (None, None) => return Some(None),
                (None, Some(one)) | (Some(one), None) => one,
                (Some(x), Some(y)) if is_within(x, y) => x,
                (Some(x), Some(y)) if is_within(y, x) => y,
                _ => continue,
            };
            if !left_out(both) {
                return Some(Some(both));
            }
        }
    }
    None
}

impl Directory {
    /// Warnings for whoever applies this directory, for the functions that a rule set uses:
    /// territories that reach no agency, and agencies that end without a successor.
    #[must_use]
    pub fn findings<'a>(&self, functions: impl IntoIterator<Item = &'a Function>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for function in functions {
            let (none, partly) = self.unreached(function);
            if !none.is_empty() {
                findings.push(Finding::Unreached {
                    function: function.clone(),
                    territories: none,
                });
            }
            if !partly.is_empty() {
                findings.push(Finding::PartlyReached {
                    function: function.clone(),
                    territories: partly,
                });
            }
        }
        for agency in self.agencies() {
            if let (Some(valid_to), None) = (agency.valid_to, &agency.successor) {
                findings.push(Finding::EndsWithoutSuccessor {
                    agency: agency.id.clone(),
                    valid_to,
                });
            }
        }
        findings
    }

    /// The highest territories that reach no agency with a function, and those that do not reach
    /// one for all categories and days.
    fn unreached(&self, function: &Function) -> (Vec<TerritoryCode>, Vec<TerritoryCode>) {
        #[derive(Clone, Copy, PartialEq, PartialOrd)]
        enum Reach {
            None,
            Partly,
            Always,
        }
        let function = self.functions.get(function).copied();
        let own = |code| {
            let places = function.and_then(|function| self.desks.get(&(function, code)));
            let agencies = places
                .into_iter()
                .flatten()
                .map(|place| &self.agencies[*place as usize]);
            agencies.fold(Reach::None, |reach, agency| {
                let all = agency.takes == Takes::default() && agency.valid_to.is_none() && agency.valid_from.is_none();
                let this = if all { Reach::Always } else { Reach::Partly };
                if this > reach { this } else { reach }
            })
        };
        // Territories with an agency somewhere below; the territories below them are reported
        // separately.
        // Without what has a last day, like the agencies.
        let tree = self.tree_on(None);
        let above = |code| tree.ancestors(code).skip(1);
        let desks = self.desks.keys().filter(|(of, _)| Some(*of) == function);
        let parted: HashSet<TerritoryCode> = desks.flat_map(|(_, code)| above(*code)).collect();
        let mut reached: HashMap<TerritoryCode, Reach> = HashMap::new();
        let (mut none, mut partly) = (Vec::new(), Vec::new());
        // Ascending by code: parents come first.
        for territory in self
            .territories
            .iter()
            .filter(|territory| tree.in_force(territory.code))
        {
            let above = tree.parent(territory.code);
            let inherited = above
                .and_then(|above| reached.get(&above))
                .copied()
                .unwrap_or(Reach::None);
            let own = own(territory.code);
            let reach = if own > inherited { own } else { inherited };
            let told = inherited == reach && above.is_some_and(|above| !parted.contains(&above));
            match reach {
                Reach::None if !told => none.push(territory.code),
                Reach::Partly if !told => partly.push(territory.code),
                _ => {}
            }
            reached.insert(territory.code, reach);
        }
        (none, partly)
    }
}
