//! The directory of agencies: functions, territories, categories, periods and superiors.
//!
//! Immutable once loaded. `directory/file.rs` reads and writes the file, `directory/check.rs`
//! validates it as a whole, [`difference`] compares two directories and applies changes, [`view`]
//! converts to contract messages. [`Directory::locate`] is the only way from a place and a function
//! to an agency; the decision, its explanation and all other queries use it, so that they cannot
//! disagree.
//!
//! Days are counted in one zone ([`Directory::zone`]), by which agencies and territories begin and
//! end. Nothing here reads the clock: the day is a parameter, and in a decision the instant of
//! acceptance is a fact, so that a replay gives the same route.

mod check;
pub mod difference;
mod file;
pub mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
pub use names::{AgencyId, InvalidId};
use places::{OnDay, Reading, Territories, TerritoryCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

pub use check::{Finding, LIMIT};

use crate::calendar::Hours;
use crate::category::is_within;
use crate::facts::Situation;

/// A configuration file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not YAML or has a different structure. Parsing stops at the first such fault.
    #[error("{file} does not have the expected structure")]
    Shape {
        /// The file.
        file: &'static str,
        /// The position and the problem.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// The file is larger than any such file needs to be, and was not read.
    #[error("{file} has {} MB, more than {} MB: is it the right file?", bytes / 1_000_000, limit / 1_000_000)]
    TooLarge {
        /// The file.
        file: &'static str,
        /// Its size.
        bytes: u64,
        /// The maximum size.
        limit: u64,
    },
    /// The file has invalid content; lists all faults.
    #[error("{file} has {} fault(s):\n  {}", faults.len(), faults.join("\n  "))]
    Faults {
        /// The file.
        file: &'static str,
        /// The faults, with lines where known.
        faults: Vec<String>,
    },
}

/// Name of the directory's file in errors.
const FILE: &str = "the agency file";

/// Unknown keys of a mapping. Collected instead of refused by serde, so that all are reported at
/// once.
pub(crate) type UnknownKeys = BTreeMap<String, IgnoredAny>;

/// Parses a file's structure.
pub(crate) fn read_yaml<'de, T: Deserialize<'de>>(file: &'static str, yaml: &'de str) -> Result<T, ConfigError> {
    handwritten::read(yaml).map_err(|error| unreadable(file, error))
}

/// A file that cannot be read.
pub(crate) fn unreadable(file: &'static str, error: handwritten::Error) -> ConfigError {
    match error {
        handwritten::Error::Shape(source) => ConfigError::Shape { file, source },
        handwritten::Error::Empty(faults) => ConfigError::Faults { file, faults },
    }
}

/// A function of agencies, such as `police`. The list is open: a function exists if an agency has
/// it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function(String);

impl Function {
    /// Parses a function's name.
    ///
    /// # Errors
    ///
    /// If the text is not a name.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        names::word(text).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The categories that an agency accepts: subtrees, except some of their subtrees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Takes {
    /// Roots of the accepted subtrees; all categories if empty.
    pub only: Vec<String>,
    /// Roots of the excepted subtrees.
    pub except: Vec<String>,
}

impl Takes {
    /// Whether the agency accepts a category.
    #[must_use]
    pub fn takes(&self, category: &str) -> bool {
        let within = |subtrees: &[String]| subtrees.iter().any(|subtree| is_within(category, subtree));
        (self.only.is_empty() || within(&self.only)) && !within(&self.except)
    }
}

/// Calendar, hours and contact of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desk {
    /// Id of its calendar, such as `CN`; empty for the service's main calendar.
    pub calendar: String,
    /// Hours on working days; `None` if unknown.
    pub hours: Option<Hours>,
    /// Contact for people, such as a telephone number; empty if unknown.
    pub contact: String,
}

/// A unit that can be given cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Id of the agency.
    pub id: AgencyId,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Its territory.
    pub territory: TerritoryCode,
    /// Its Chinese name.
    pub title_zh: String,
    /// Its English name.
    pub title_en: String,
    /// The agency above; `None` at the top.
    pub superior: Option<AgencyId>,
    /// The categories that it accepts.
    pub takes: Takes,
    /// Calendar, hours and contact.
    pub desk: Desk,
    /// Its first day; unlimited if `None`.
    pub valid_from: Option<Date>,
    /// Its last day; unlimited if `None`.
    pub valid_to: Option<Date>,
    /// The agency that takes over its cases when it ends. Set before it ends.
    pub successor: Option<AgencyId>,
}

impl Agency {
    /// Whether it exists on `day`; for `None`, whether it has no last day.
    #[must_use]
    pub fn is_active(&self, day: Option<Date>) -> bool {
        match day {
            Some(day) => self.valid_from.is_none_or(|from| from <= day) && self.valid_to.is_none_or(|to| day <= to),
            None => self.valid_to.is_none(),
        }
    }

    /// Whether its last day is before `day`; for `None`, whether it has a last day.
    #[must_use]
    pub fn has_ended(&self, day: Option<Date>) -> bool {
        self.valid_to.is_some_and(|to| day.is_none_or(|day| to < day))
    }
}

/// Criteria for finding an agency.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// Its function.
    pub function: &'a Function,
    /// A category that it accepts; any if `None`.
    pub category: Option<&'a str>,
    /// A day on which it exists; if `None`, it must have no last day.
    pub day: Option<Date>,
    /// Agencies that are excluded, as by [`Directory::is_excluded`].
    pub excluded: &'a BTreeSet<AgencyId>,
}

impl<'a> Search<'a> {
    /// Criteria with only a function: any category, nobody excluded.
    #[must_use]
    pub const fn of(function: &'a Function) -> Self {
        static NOBODY: BTreeSet<AgencyId> = BTreeSet::new();
        Self {
            function,
            category: None,
            day: None,
            excluded: &NOBODY,
        }
    }
}

/// The result of [`Directory::locate`], with the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<'a> {
    /// Abolished codes on the way, the requested one first.
    pub via: Vec<TerritoryCode>,
    /// How the code was resolved; `None` if the tree does not have it.
    pub reading: Option<Reading>,
    /// The territories climbed, from the place up to the agency's, or to the nation if none was
    /// found. Empty if the tree does not have the place.
    pub climb: Vec<TerritoryCode>,
    /// Agencies with the function that were passed over because they are excluded.
    pub passed: Vec<&'a AgencyId>,
    /// Agencies with the function that had ended, without those that are excluded.
    pub ended: Vec<Ended<'a>>,
    /// The agency found.
    pub agency: Option<&'a Agency>,
}

/// An agency that had ended, and that no other agency at its territory has replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The agency.
    pub agency: &'a Agency,
    /// The agency that continues its function; `None` if there is none.
    pub heir: Option<&'a Agency>,
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agency, heir } = self;
        write!(f, "{} ended", agency.id)?;
        if let Some(last) = agency.valid_to {
            write!(f, " on {last}")?;
        }
        match heir {
            Some(heir) => write!(f, ", and {} continues it", heir.id),
            None => write!(f, ", and nobody continues it"),
        }
    }
}

/// The last resort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastResort<'a> {
    /// The agency that would designate if nobody were excluded.
    pub first: &'a AgencyId,
    /// The agency that designates.
    pub designates: &'a AgencyId,
}

/// All agencies, over the tree of territories.
#[derive(Debug, Clone)]
pub struct Directory {
    territories: Territories,
    /// Ascending by id. Other fields refer to agencies by index.
    agencies: Vec<Agency>,
    /// Index of each agency's superior.
    superiors: Vec<Option<u32>>,
    /// Indexes of the agencies that name each agency as their successor.
    predecessors: HashMap<u32, Vec<u32>>,
    functions: HashMap<Function, u32>,
    /// Agencies by function and territory; for each category and day at most one.
    desks: HashMap<(u32, TerritoryCode), Vec<u32>>,
    last_resort: AgencyId,
    /// In which days are counted.
    zone: Offset,
    source: Arc<str>,
    digest: [u8; 32],
}

impl Directory {
    /// Parses the agency file, as in `deploy/config/agencies.yaml`.
    ///
    /// # Errors
    ///
    /// If the file is larger than [`LIMIT`] or has a different structure; otherwise all its faults
    /// at once, with agency and field: unknown keys, ids and territories; a superior that is
    /// unknown, ends first, or is below its own unit; a missing superior below the nation; two
    /// agencies for one function and territory with overlapping categories and days; a successor
    /// that cannot take over.
    pub fn parse(agencies_yaml: &str, territories: &Territories) -> Result<Self, ConfigError> {
        let whole = file::read(agencies_yaml, territories)?;
        let directory = Self::build(whole, agencies_yaml.into(), territories.clone());
        Ok(directory)
    }

    /// Builds a directory from validated agencies, ascending by id.
    fn build(whole: file::Whole, source: Arc<str>, territories: Territories) -> Self {
        let file::Whole {
            agencies,
            last_resort,
            zone,
        } = whole;
        let place = |id: &AgencyId| {
            let found = agencies.binary_search_by(|agency| agency.id.cmp(id)).ok();
            found.and_then(|place| u32::try_from(place).ok())
        };
        let superiors = agencies
            .iter()
            .map(|agency| agency.superior.as_ref().and_then(place))
            .collect();
        let mut predecessors: HashMap<u32, Vec<u32>> = HashMap::new();
        for (agency, at) in agencies.iter().zip(0..) {
            if let Some(successor) = agency.successor.as_ref().and_then(place) {
                predecessors.entry(successor).or_default().push(at);
            }
        }
        let mut functions: HashMap<Function, u32> = HashMap::new();
        let mut desks: HashMap<(u32, TerritoryCode), Vec<u32>> = HashMap::with_capacity(agencies.len());
        for (agency, place) in agencies.iter().zip(0..) {
            for function in &agency.functions {
                let next = u32::try_from(functions.len()).unwrap_or(u32::MAX);
                let function = *functions.entry(function.clone()).or_insert(next);
                desks.entry((function, agency.territory)).or_default().push(place);
            }
        }
        let digest = digest(&territories, &source);
        Self {
            territories,
            agencies,
            superiors,
            predecessors,
            functions,
            desks,
            last_resort,
            zone,
            source,
            digest,
        }
    }

    /// The directory that Remit ships, `deploy/config/agencies.yaml` over the shipped tree.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Directory> = LazyLock::new(|| {
            Directory::parse(
                include_str!("../../../deploy/config/agencies.yaml"),
                Territories::shipped(),
            )
            .expect("a test of this crate parses the shipped directory")
        });
        &SHIPPED
    }

    /// SHA-256 over the territory file's digest and the bytes of the agency file.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The agency file, byte for byte. Together with [`Territories::source`] it is the input of the
    /// digest.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The tree of territories.
    #[must_use]
    pub const fn territories(&self) -> &Territories {
        &self.territories
    }

    /// The zone in which the deployment counts days: whether an agency or a territory is in force
    /// "today" is asked of this alone. The main calendar has the same one
    /// ([`Calendars::check`](crate::calendar::Calendars::check)).
    #[must_use]
    pub const fn zone(&self) -> Offset {
        self.zone
    }

    /// The day of an instant.
    #[must_use]
    pub fn day(&self, time: moment::Time) -> Date {
        let moment = Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX);
        self.zone.to_datetime(moment).date()
    }

    /// The day on which a report was accepted.
    pub(crate) fn day_of(&self, situation: &Situation<'_>) -> Option<Date> {
        situation.accepted.map(|accepted| self.day(accepted))
    }

    /// The tree as it stands on a day; for `None`, without everything that has a last day.
    #[must_use]
    pub fn tree_on(&self, day: Option<Date>) -> OnDay<'_> {
        self.territories.on(day.unwrap_or(Date::MAX))
    }

    /// The agency with an id.
    #[must_use]
    pub fn agency(&self, id: &AgencyId) -> Option<&Agency> {
        self.place(id).map(|place| &self.agencies[place])
    }

    /// All agencies, ascending by id.
    pub fn agencies(&self) -> impl Iterator<Item = &Agency> {
        self.agencies.iter()
    }

    /// Agencies with ids greater than `id`, ascending; all if `None`.
    pub fn after(&self, id: Option<&AgencyId>) -> impl Iterator<Item = &Agency> {
        let start = id.map_or(0, |id| self.agencies.partition_point(|agency| agency.id <= *id));
        self.agencies.iter().skip(start)
    }

    /// The functions that agencies have, ascending.
    #[must_use]
    pub fn functions(&self) -> Vec<&Function> {
        let mut functions: Vec<_> = self.functions.keys().collect();
        functions.sort();
        functions
    }

    /// Whether any agency has a function.
    #[must_use]
    pub fn has_function(&self, function: &Function) -> bool {
        self.functions.contains_key(function)
    }

    /// The conference that decides when nobody else can (信访工作条例 24).
    #[must_use]
    pub const fn last_resort(&self) -> &AgencyId {
        &self.last_resort
    }

    /// The agency above; `None` at the top and for unknown ids.
    #[must_use]
    pub fn superior(&self, id: &AgencyId) -> Option<&Agency> {
        self.superiors[self.place(id)?].map(|place| &self.agencies[place as usize])
    }

    /// The agency and those above it, nearest first. Empty for unknown ids.
    pub fn chain(&self, id: &AgencyId) -> impl Iterator<Item = &Agency> {
        self.chain_from(self.place(id))
    }

    fn chain_from(&self, place: Option<usize>) -> impl Iterator<Item = &Agency> {
        // Terminates: a file with a cycle does not load.
        std::iter::successors(place, |place| self.superiors[*place].map(|above| above as usize))
            .map(|place| &self.agencies[place])
    }

    fn place(&self, id: &AgencyId) -> Option<usize> {
        self.agencies.binary_search_by(|agency| agency.id.cmp(id)).ok()
    }

    /// Whether `unit` equals `superior` or is below it.
    #[must_use]
    pub fn is_under(&self, unit: &AgencyId, superior: &AgencyId) -> bool {
        unit == superior || self.chain(unit).any(|above| above.id == *superior)
    }

    /// Whether an agency is excluded: itself, through a unit above it, or as the successor of one
    /// that is, over any number of such steps.
    ///
    /// A successor is excluded from the day on which the directory names it, not only from the end
    /// of its predecessor: it will have that one's staff and files while the case is open.
    #[must_use]
    pub fn is_excluded(&self, agency: &AgencyId, excluded: &BTreeSet<AgencyId>) -> bool {
        if excluded.is_empty() || excluded.contains(agency) {
            return !excluded.is_empty();
        }
        // An agency may be both below another and its predecessor: visit each once.
        let mut reached: Vec<u32> = Vec::new();
        let mut seen: BTreeSet<u32> = BTreeSet::new();
        reached.extend(self.place(agency).and_then(|place| u32::try_from(place).ok()));
        while let Some(place) = reached.pop() {
            if !seen.insert(place) {
                continue;
            }
            if excluded.contains(&self.agencies[place as usize].id) {
                return true;
            }
            reached.extend(self.superiors[place as usize]);
            reached.extend(self.predecessors.get(&place).into_iter().flatten());
        }
        false
    }

    /// The successors that [`Directory::is_excluded`] adds to excluded agencies. Kept with a case,
    /// they stay excluded when a later directory no longer has the agencies that they succeeded.
    #[must_use]
    pub fn excluded_successors(&self, excluded: &BTreeSet<AgencyId>) -> BTreeSet<AgencyId> {
        if excluded.is_empty() {
            return BTreeSet::new();
        }
        let ending = self.agencies.iter().filter(|agency| agency.successor.is_some());
        ending
            .filter(|agency| self.is_excluded(&agency.id, excluded))
            .filter_map(|agency| agency.successor.clone())
            .collect()
    }

    /// The lowest agency above both; if one is above the other, that one; if there is none, the
    /// last resort.
    #[must_use]
    pub fn lowest_common_superior(&self, a: &AgencyId, b: &AgencyId) -> &AgencyId {
        self.chain(a)
            .skip(usize::from(a == b))
            .find(|above| self.is_under(b, &above.id))
            .map_or(&self.last_resort, |above| &above.id)
    }

    /// Who designates if nobody else can: the first of `named` that is not excluded, then the
    /// directory's conference, then the first by id of the units without a superior and without
    /// first and last day. If all are excluded, the first of `named`, or the conference, anyway:
    /// never nobody.
    ///
    /// Agencies of `named` that no longer exist or have a last day do not count: a case may be
    /// older than the directory.
    #[must_use]
    pub fn last_resort_of<'a>(&'a self, named: &'a [AgencyId], excluded: &BTreeSet<AgencyId>) -> LastResort<'a> {
        let stays = |id: &&AgencyId| {
            let agency = self.agency(id);
            agency.is_some_and(|agency| agency.valid_from.is_none() && agency.valid_to.is_none())
        };
        let resorts = || named.iter().filter(stays).chain([&self.last_resort]);
        let tops = self.agencies().filter(|agency| agency.superior.is_none());
        let first = resorts().next().unwrap_or(&self.last_resort);
        let designates = resorts()
            .chain(tops.map(|agency| &agency.id).filter(stays))
            .find(|id| !self.is_excluded(id, excluded));
        LastResort {
            first,
            designates: designates.unwrap_or(first),
        }
    }

    /// Who continues an agency that has ended on `day`: its successor, or that one's successor if
    /// it has ended, too. `None` while the agency exists, and without a successor.
    #[must_use]
    pub fn heir(&self, id: &AgencyId, day: Option<Date>) -> Option<&Agency> {
        let mut at = self.agency(id)?;
        // Terminates: a file with a cycle of successors does not load.
        while at.has_ended(day) {
            at = self.agency(at.successor.as_ref()?)?;
        }
        (at.id != *id).then_some(at)
    }

    /// Agencies that ended before a day.
    pub fn ended(&self, day: Date) -> impl Iterator<Item = &Agency> {
        self.agencies.iter().filter(move |agency| agency.has_ended(Some(day)))
    }

    /// Whether an agency's cases always have an owner: the agency, its successor, or that one's.
    /// `false` for unknown ids.
    #[must_use]
    pub fn lasts(&self, id: &AgencyId) -> bool {
        let successor = |agency: &&Agency| agency.successor.as_ref().and_then(|successor| self.agency(successor));
        std::iter::successors(self.agency(id), successor).any(|agency| agency.valid_to.is_none())
    }

    /// Finds the nearest agency that meets the criteria and is not excluded, climbing from the
    /// place. Returns the whole path.
    ///
    /// Where an agency has ended, the agency that continues it is found in its place, wherever that
    /// one is (信访工作条例 24(2)).
    #[must_use]
    pub fn locate(&self, search: &Search<'_>, place: TerritoryCode) -> Located<'_> {
        let mut located = Located {
            via: Vec::new(),
            reading: None,
            climb: Vec::new(),
            passed: Vec::new(),
            ended: Vec::new(),
            agency: None,
        };
        let tree = self.tree_on(search.day);
        let Some(resolved) = tree.resolve(place) else {
            return located;
        };
        located.via = resolved.via;
        located.reading = Some(resolved.reading);
        let function = self.functions.get(search.function);
        located.climb.reserve_exact(5);
        for code in tree.ancestors(resolved.code) {
            located.climb.push(code);
            let Some(desk) = function.and_then(|function| self.desk(*function, code, search)) else {
                continue;
            };
            let (agency, ended) = match desk {
                At::Agency(agency) => (Some(agency), None),
                At::Ended(ended) => (ended.heir, Some(ended)),
            };
            let about = agency.or(ended.map(|ended| ended.agency));
            if let Some(excluded) = about.filter(|agency| self.is_excluded(&agency.id, search.excluded)) {
                located.passed.push(&excluded.id);
                continue;
            }
            located.ended.extend(ended);
            located.agency = agency;
            if agency.is_some() {
                break;
            }
        }
        located
    }

    /// What is at a territory that meets the criteria, excluded or not.
    fn desk(&self, function: u32, territory: TerritoryCode, search: &Search<'_>) -> Option<At<'_>> {
        let desks = self.desks.get(&(function, territory))?;
        let agencies = || desks.iter().map(|place| &self.agencies[*place as usize]);
        let takes = |agency: &&Agency| search.category.is_none_or(|category| agency.takes.takes(category));
        if let Some(agency) = agencies().filter(takes).find(|agency| agency.is_active(search.day)) {
            return Some(At::Agency(agency));
        }
        let ended = agencies().filter(takes).filter(|agency| agency.has_ended(search.day));
        let agency = ended.max_by_key(|agency| agency.valid_to)?;
        let heir = self.heir(&agency.id, search.day).filter(takes);
        let heir = heir.filter(|heir| heir.is_active(search.day) && heir.functions.contains(search.function));
        Some(At::Ended(Ended { agency, heir }))
    }
}

/// What a search finds at a territory.
#[derive(Debug, Clone, Copy)]
enum At<'a> {
    /// An agency that exists.
    Agency(&'a Agency),
    /// None any more.
    Ended(Ended<'a>),
}

fn digest(territories: &Territories, agencies_yaml: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(territories.digest());
    hash.update(agencies_yaml);
    hash.finalize().into()
}
