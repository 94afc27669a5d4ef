//! Whether a directory holds together: what no single entry shows. Every fault names agency and field.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::civil::Date;
use places::{Territories, TerritoryCode};

use super::{Agency, AgencyId, ConfigError, Directory, Function, Takes, file::FILE, is_within};

/// Bytes that a file of agencies, or of territories, has at most. The whole country with ten thousand desks has three million.
pub const LIMIT: u64 = 16 << 20;

/// Refuses a file by its size, before anything of it is read.
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

/// Something that is allowed, and that whoever applies a directory should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Cases of a function that come from these territories, and from all below, find no agency.
    Unreached {
        /// The function.
        function: Function,
        /// The highest such territories.
        territories: Vec<TerritoryCode>,
    },
    /// Only agencies with some categories, or with an end, are left between these territories and the nation.
    PartlyReached {
        /// The function.
        function: Function,
        /// The highest such territories.
        territories: Vec<TerritoryCode>,
    },
    /// An agency ends, and nobody takes over what it has: what it still has then goes before its superior, to designate.
    EndsWithoutSuccessor {
        /// The agency.
        agency: AgencyId,
        /// Its last day.
        valid_to: Date,
    },
}

/// Checks all agencies together, and puts them in ascending order of their ids.
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
            "last_resort: there is no agency `{id}`; name the conference that decides last"
        )),
        Some((id, Some(agency))) if agency.valid_to.is_some() || agency.valid_from.is_some() => {
            faults.push(format!(
                "last_resort: `{id}` has a first or a last day; the conference is always there"
            ));
        }
        _ => {}
    }
}

fn superior(at: &str, agency: &Agency, known: &HashMap<&AgencyId, &Agency>, faults: &mut Vec<String>) {
    let Some(id) = &agency.superior else {
        if agency.territory != TerritoryCode::ROOT {
            faults.push(format!(
                "{at}: superior: it has none, though it stands below the nation; name the agency above it"
            ));
        }
        return;
    };
    let Some(superior) = known.get(id) else {
        faults.push(format!(
            "{at}: superior: there is no agency `{id}`; add it or write null"
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
            "{at}: superior: `{id}` ends on {to}, before this agency does; name who is above it then"
        ));
    }
    // Each agency on the circle is named, whoever hangs below it is not: mending the circle mends them.
    let mut way = vec![&agency.id];
    let mut next = Some(id);
    while let Some(above) = next {
        if *above == agency.id {
            let way: Vec<_> = way.iter().map(|id| id.as_str()).collect();
            faults.push(format!(
                "{at}: superior: it is above itself ({} → {}); name a superior higher up",
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
            "{at}: successor: it has no last day; write valid_to, or leave the successor out"
        ));
        return;
    };
    let Some(successor) = known.get(id) else {
        faults.push(format!("{at}: successor: there is no agency `{id}`; add it first"));
        return;
    };
    if successor.valid_to.is_some_and(|end| end <= to) {
        faults.push(format!(
            "{at}: successor: `{id}` ends no later than this agency; name who is there after {to}"
        ));
    }
    let next = to.tomorrow().unwrap_or(to);
    if successor.valid_from.is_some_and(|from| next < from) {
        faults.push(format!(
            "{at}: successor: `{id}` begins after {next}: nobody would have the cases in between"
        ));
    }
    if let Some(missing) = agency
        .functions
        .iter()
        .find(|function| !successor.functions.contains(function))
    {
        faults.push(format!(
            "{at}: successor: `{id}` does not have the function `{missing}`; name one that has all of them"
        ));
    }
}

/// No two agencies may answer the same question.
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
                        "agency `{}`: functions, categories: `{}` has the function `{function}` at {} {name} too, for {}; \
                         leave one, or part categories or days between them",
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

/// Whether there is a day on which both exist.
fn together(a: &Agency, b: &Agency) -> bool {
    let begins_before_end = |a: &Agency, b: &Agency| match (a.valid_from, b.valid_to) {
        (Some(from), Some(to)) => from <= to,
        _ => true,
    };
    begins_before_end(a, b) && begins_before_end(b, a)
}

/// A subtree that both take, `Some(None)` for all categories; `None` when there is no such.
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
    /// What whoever applies this directory should know, where a rule set uses these functions: territories that reach no
    /// agency, and agencies that end without a successor.
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

    /// The highest territories that reach no agency of a function, and those that reach none for all categories and for ever.
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
        // Territories with an agency somewhere below: of those, what is below is told by itself.
        let above = |code| self.territories.ancestors(code).skip(1);
        let desks = self.desks.keys().filter(|(of, _)| Some(*of) == function);
        let parted: HashSet<TerritoryCode> = desks.flat_map(|(_, code)| above(*code)).collect();
        let mut reached: HashMap<TerritoryCode, Reach> = HashMap::new();
        let (mut none, mut partly) = (Vec::new(), Vec::new());
        // Ascending by code: what is above comes first.
        for territory in self.territories.iter().filter(|territory| territory.valid_to.is_none()) {
            let above = self.territories.parent(territory.code);
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
