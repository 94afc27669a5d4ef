//! The directory: which agency has which function at which territory, for which categories and when, and who is above whom.
//!
//! Immutable once loaded: `directory/file.rs` reads the file and writes one, `directory/check.rs` checks it whole, and
//! [`difference`] tells two of them apart and applies changes, [`view`] shows them in the words of the contract. [`Directory::locate`] is the one way from a place and a
//! function to an agency; the decision, the explanation and any later question use it, so that they cannot disagree.
//!
//! Days are those of China Standard Time ([`day`]). Nothing here looks at a clock: the day is a parameter, and in a decision
//! it is a fact, so that a route is decided again as it was.

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
use places::{Reading, Territories, TerritoryCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

pub use check::{Finding, LIMIT};

use crate::calendar::Hours;

/// A configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not YAML, or not of the expected shape; reading stops at the first such fault.
    #[error("{file} has not the expected shape")]
    Shape {
        /// Which file.
        file: &'static str,
        /// Where and why.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// It is larger than any such file needs to be; nothing of it was read.
    #[error("{file} has {} MB, more than {} MB: is it the right file?", bytes / 1_000_000, limit / 1_000_000)]
    TooLarge {
        /// Which file.
        file: &'static str,
        /// Its size.
        bytes: u64,
        /// The largest that is read.
        limit: u64,
    },
    /// It can be read, but says what cannot be; all faults are listed.
    #[error("{file} has {} fault(s):\n  {}", faults.len(), faults.join("\n  "))]
    Faults {
        /// Which file.
        file: &'static str,
        /// What is wrong, each with its line where it has one.
        faults: Vec<String>,
    },
}

/// Keys that a mapping must not have. Collected, not refused by serde, so that all are named at once.
pub(crate) type UnknownKeys = BTreeMap<String, IgnoredAny>;

/// Reads the shape of a file.
pub(crate) fn read_yaml<'de, T: Deserialize<'de>>(file: &'static str, yaml: &'de str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(yaml).map_err(|error| ConfigError::Shape {
        file,
        source: Box::new(error),
    })
}

/// The id of an agency, such as `police-320000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgencyId(String);

/// What an agency does, such as `police`. The list is open: a function exists when an agency has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function(String);

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id; write 1 to 63 letters, digits and hyphens")]
pub struct InvalidId(String);

fn id(text: &str) -> Result<String, InvalidId> {
    let good = (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if good {
        Ok(text.to_owned())
    } else {
        Err(InvalidId(text.to_owned()))
    }
}

impl AgencyId {
    /// Checks an id.
    ///
    /// # Errors
    /// When the text is no id.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        id(text).map(Self)
    }

    /// Reads a resource name, `agencies/{id}`.
    ///
    /// # Errors
    /// When the prefix is missing or what follows is no id.
    pub fn from_resource_name(name: &str) -> Result<Self, InvalidId> {
        Self::new(
            name.strip_prefix("agencies/")
                .ok_or_else(|| InvalidId(name.to_owned()))?,
        )
    }

    /// The resource name, `agencies/{id}`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("agencies/{}", self.0)
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Function {
    /// Checks a function's name.
    ///
    /// # Errors
    /// When the text is no name.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        id(text).map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The day of a moment, as the directory counts days: in China Standard Time, which all of the tree has.
#[must_use]
pub fn day(time: moment::Time) -> Date {
    let moment = Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX);
    Offset::constant(8).to_datetime(moment).date()
}

/// Which categories an agency takes: subtrees, without some of what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Takes {
    /// Roots of the subtrees; all categories when empty.
    pub only: Vec<String>,
    /// Roots of subtrees that it does not take.
    pub except: Vec<String>,
}

impl Takes {
    /// Whether it takes a category.
    #[must_use]
    pub fn takes(&self, category: &str) -> bool {
        let within = |subtrees: &[String]| subtrees.iter().any(|subtree| is_within(category, subtree));
        (self.only.is_empty() || within(&self.only)) && !within(&self.except)
    }
}

/// Whether a category is the root of a subtree or below it: `fraud.loan` is within `fraud`, `fraudulent` is not.
fn is_within(category: &str, subtree: &str) -> bool {
    category
        .strip_prefix(subtree)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// When a unit works, and how it is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desk {
    /// Id of the calendar of its working days, such as `CN`; empty for the main one of the service.
    pub calendar: String,
    /// Hours on working days; `None` when not told.
    pub hours: Option<Hours>,
    /// How to reach it, such as a telephone number; empty when not told. For people.
    pub contact: String,
}

/// A unit that cases can be given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Its id.
    pub id: AgencyId,
    /// What it does.
    pub functions: Vec<Function>,
    /// Where it does it.
    pub territory: TerritoryCode,
    /// Its name in Chinese.
    pub title_zh: String,
    /// Its name in English.
    pub title_en: String,
    /// The agency above it; none at the top.
    pub superior: Option<AgencyId>,
    /// The categories that it takes.
    pub takes: Takes,
    /// When and how it can be reached.
    pub desk: Desk,
    /// Its first day; since ever when absent.
    pub valid_from: Option<Date>,
    /// Its last day; for ever when absent.
    pub valid_to: Option<Date>,
    /// Who takes over what it has when it ends. Named before it ends.
    pub successor: Option<AgencyId>,
}

impl Agency {
    /// Whether it exists on a day; with no day, whether it has no end.
    #[must_use]
    pub fn is_active(&self, day: Option<Date>) -> bool {
        match day {
            Some(day) => self.valid_from.is_none_or(|from| from <= day) && self.valid_to.is_none_or(|to| day <= to),
            None => self.valid_to.is_none(),
        }
    }

    /// Whether its last day is before a day.
    #[must_use]
    pub fn has_ended(&self, day: Date) -> bool {
        self.valid_to.is_some_and(|to| to < day)
    }
}

/// What an agency is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// What it does.
    pub function: &'a Function,
    /// The category that it takes; any when absent.
    pub category: Option<&'a str>,
    /// The day on which it exists; when absent, it must have no end.
    pub day: Option<Date>,
    /// Who is kept out, with all units below.
    pub excluded: &'a BTreeSet<AgencyId>,
}

impl<'a> Search<'a> {
    /// For a function, whatever the category, with nobody kept out.
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

/// The answer of [`Directory::locate`], with the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<'a> {
    /// Abolished codes that were read as others, first the one asked for.
    pub via: Vec<TerritoryCode>,
    /// How the code was read; `None` when the tree does not have it.
    pub reading: Option<Reading>,
    /// The territories climbed, from the place up, the last being where the agency was found; up to the nation when
    /// none was. Empty when the tree does not have the place.
    pub climb: Vec<TerritoryCode>,
    /// Agencies of the function that were passed over as excluded.
    pub passed: Vec<&'a AgencyId>,
    /// The agency.
    pub agency: Option<&'a Agency>,
}

/// Who decides last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastResort<'a> {
    /// Who would, were nobody kept out.
    pub first: &'a AgencyId,
    /// Who does.
    pub designates: &'a AgencyId,
}

/// All agencies, over the tree of territories.
#[derive(Debug, Clone)]
pub struct Directory {
    territories: Territories,
    /// Ascending by id. Elsewhere an agency is its place here.
    agencies: Vec<Agency>,
    /// The place of each agency's superior.
    superiors: Vec<Option<u32>>,
    functions: HashMap<Function, u32>,
    /// By function and territory: the agencies, of which each category and day has one at most.
    desks: HashMap<(u32, TerritoryCode), Vec<u32>>,
    last_resort: AgencyId,
    source: Arc<str>,
    digest: [u8; 32],
}

impl Directory {
    /// Reads the agencies, as in `deploy/config/agencies.yaml`.
    ///
    /// # Errors
    /// When the file is larger than [`LIMIT`] or not of that shape, or with all its faults at once, each naming agency and
    /// field: unknown keys, ids and territories; a superior that is unknown, ends first, or is below its own unit; no superior
    /// below the nation; two agencies for one function and territory with overlapping categories and days; a successor that
    /// cannot take over.
    pub fn parse(agencies_yaml: &str, territories: &Territories) -> Result<Self, ConfigError> {
        let (agencies, last_resort) = file::read(agencies_yaml, territories)?;
        let directory = Self::build(agencies, last_resort, agencies_yaml.into(), territories.clone());
        Ok(directory)
    }

    /// Of agencies in ascending order of their ids, which were checked.
    fn build(agencies: Vec<Agency>, last_resort: AgencyId, source: Arc<str>, territories: Territories) -> Self {
        let place = |id: &AgencyId| {
            let found = agencies.binary_search_by(|agency| agency.id.cmp(id)).ok();
            found.and_then(|place| u32::try_from(place).ok())
        };
        let superiors = agencies
            .iter()
            .map(|agency| agency.superior.as_ref().and_then(place))
            .collect();
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
            functions,
            desks,
            last_resort,
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
            .expect("the shipped directory is read by a test of this crate")
        });
        &SHIPPED
    }

    /// SHA-256 over the digest of the file of territories and the bytes of the file of agencies.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The file of agencies, byte for byte. With [`Territories::source`] it is all that the digest is of.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The tree that the agencies stand in.
    #[must_use]
    pub const fn territories(&self) -> &Territories {
        &self.territories
    }

    /// The agency of that id.
    #[must_use]
    pub fn agency(&self, id: &AgencyId) -> Option<&Agency> {
        self.place(id).map(|place| &self.agencies[place])
    }

    /// All agencies, ascending by id.
    pub fn agencies(&self) -> impl Iterator<Item = &Agency> {
        self.agencies.iter()
    }

    /// Agencies whose ids come after one, ascending; all without one.
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

    /// Whether any agency has the function.
    #[must_use]
    pub fn has_function(&self, function: &Function) -> bool {
        self.functions.contains_key(function)
    }

    /// The conference that decides where there is nobody else (信访工作条例 24).
    #[must_use]
    pub const fn last_resort(&self) -> &AgencyId {
        &self.last_resort
    }

    /// The agency above; `None` at the top and for an unknown id.
    #[must_use]
    pub fn superior(&self, id: &AgencyId) -> Option<&Agency> {
        self.superiors[self.place(id)?].map(|place| &self.agencies[place as usize])
    }

    /// The agency and those above it, nearest first. Empty for an unknown id.
    pub fn chain(&self, id: &AgencyId) -> impl Iterator<Item = &Agency> {
        self.chain_from(self.place(id))
    }

    fn chain_from(&self, place: Option<usize>) -> impl Iterator<Item = &Agency> {
        // Ends: a file with a circle does not load.
        std::iter::successors(place, |place| self.superiors[*place].map(|above| above as usize))
            .map(|place| &self.agencies[place])
    }

    fn place(&self, id: &AgencyId) -> Option<usize> {
        self.agencies.binary_search_by(|agency| agency.id.cmp(id)).ok()
    }

    /// Whether `unit` is `superior` or stands under it.
    #[must_use]
    pub fn is_under(&self, unit: &AgencyId, superior: &AgencyId) -> bool {
        unit == superior || self.chain(unit).any(|above| above.id == *superior)
    }

    /// Whether an agency is kept out: it is excluded itself, or stands under a unit that is.
    #[must_use]
    pub fn is_excluded(&self, agency: &AgencyId, excluded: &BTreeSet<AgencyId>) -> bool {
        !excluded.is_empty()
            && (excluded.contains(agency) || self.chain(agency).any(|above| excluded.contains(&above.id)))
    }

    /// The lowest agency above both; where one is above the other, that one; where there is none, the last resort.
    #[must_use]
    pub fn lowest_common_superior(&self, a: &AgencyId, b: &AgencyId) -> &AgencyId {
        self.chain(a)
            .skip(usize::from(a == b))
            .find(|above| self.is_under(b, &above.id))
            .map_or(&self.last_resort, |above| &above.id)
    }

    /// Who designates where nobody else can: the first of those `named` that is not kept out, then the directory's
    /// conference, then any unit at the top. Where all of them are kept out it is the first all the same: never nobody.
    ///
    /// Of those named, who is no longer there or has a last day does not count: a case may be older than the directory.
    #[must_use]
    pub fn last_resort_of<'a>(&'a self, named: &'a [AgencyId], excluded: &BTreeSet<AgencyId>) -> LastResort<'a> {
        let stays = |id: &&AgencyId| self.agency(id).is_some_and(|agency| agency.valid_to.is_none());
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

    /// Who has what an agency had, on a day after it ended: its successor, or that one's when it ended, too. `None` while the
    /// agency exists, and for one that names no successor.
    #[must_use]
    pub fn heir(&self, id: &AgencyId, day: Date) -> Option<&Agency> {
        let mut at = self.agency(id)?;
        // Ends: a file where successions run in a circle does not load.
        while at.has_ended(day) {
            at = self.agency(at.successor.as_ref()?)?;
        }
        (at.id != *id).then_some(at)
    }

    /// Agencies that ended before a day.
    pub fn ended(&self, day: Date) -> impl Iterator<Item = &Agency> {
        self.agencies.iter().filter(move |agency| agency.has_ended(day))
    }

    /// Whether somebody always has what an agency has: it, its successor, or that one's. `false` for an unknown id.
    #[must_use]
    pub fn lasts(&self, id: &AgencyId) -> bool {
        let successor = |agency: &&Agency| agency.successor.as_ref().and_then(|successor| self.agency(successor));
        std::iter::successors(self.agency(id), successor).any(|agency| agency.valid_to.is_none())
    }

    /// The nearest agency that is looked for, from the place up, that is not kept out. The whole way is in the answer.
    #[must_use]
    pub fn locate(&self, search: &Search<'_>, place: TerritoryCode) -> Located<'_> {
        let mut located = Located {
            via: Vec::new(),
            reading: None,
            climb: Vec::new(),
            passed: Vec::new(),
            agency: None,
        };
        let Some(resolved) = self.territories.resolve(place) else {
            return located;
        };
        located.via = resolved.via;
        located.reading = Some(resolved.reading);
        let function = self.functions.get(search.function);
        located.climb.reserve_exact(5);
        for code in self.territories.ancestors(resolved.code) {
            located.climb.push(code);
            let at = function.and_then(|function| self.desk(*function, code, search));
            match at {
                Some(agency) if self.is_excluded(&agency.id, search.excluded) => located.passed.push(&agency.id),
                Some(agency) => {
                    located.agency = Some(agency);
                    break;
                }
                None => {}
            }
        }
        located
    }

    /// The one agency at a territory that is looked for, kept out or not.
    fn desk(&self, function: u32, territory: TerritoryCode, search: &Search<'_>) -> Option<&Agency> {
        self.desks
            .get(&(function, territory))?
            .iter()
            .map(|place| &self.agencies[*place as usize])
            .find(|agency| {
                agency.is_active(search.day) && search.category.is_none_or(|category| agency.takes.takes(category))
            })
    }
}

fn digest(territories: &Territories, agencies_yaml: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(territories.digest());
    hash.update(agencies_yaml);
    hash.finalize().into()
}
