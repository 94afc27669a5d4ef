//! The directory: which agency has which function at which territory, and who is above whom.
//!
//! Immutable once loaded. [`Directory::locate`] is the one way from a place and a function to an agency; the decision,
//! the explanation and any later question use it, so that they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use places::{Territories, TerritoryCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;
use sha2::{Digest as _, Sha256};

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
}

/// The answer of [`Directory::locate`], with the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<'a> {
    /// Abolished codes that were read through their successors, first the one asked for.
    pub via: Vec<TerritoryCode>,
    /// The territories climbed, from the place up, the last being where the agency was found; up to the nation when
    /// none was. Empty when the tree does not have the place.
    pub climb: Vec<TerritoryCode>,
    /// Agencies of the function that were passed over as excluded.
    pub passed: Vec<&'a AgencyId>,
    /// The agency.
    pub agency: Option<&'a Agency>,
}

/// All agencies, over the tree of territories.
#[derive(Debug, Clone)]
pub struct Directory {
    territories: Territories,
    agencies: BTreeMap<AgencyId, Agency>,
    desks: BTreeMap<Function, BTreeMap<TerritoryCode, AgencyId>>,
    last_resort: AgencyId,
    source: Arc<str>,
    digest: [u8; 32],
}

impl Directory {
    /// Reads the agencies, as in `deploy/config/agencies.yaml`.
    ///
    /// # Errors
    /// When the file is not of that shape, or with all its faults at once: unknown keys, ids and territories, two
    /// agencies for one function and territory, a superior that is unknown or below its own unit.
    pub fn parse(agencies_yaml: &str, territories: &Territories) -> Result<Self, ConfigError> {
        let file: File = read_yaml(FILE, agencies_yaml)?;
        let mut loader = Loader {
            territories,
            agencies: BTreeMap::new(),
            desks: BTreeMap::new(),
            faults: Vec::new(),
        };
        for entry in file.agencies {
            loader.add(entry.referenced.line(), entry.value);
        }
        loader.check_superiors();
        let last_resort = loader.last_resort(&file.last_resort);
        match last_resort {
            Some(last_resort) if loader.faults.is_empty() => Ok(Self {
                territories: territories.clone(),
                agencies: loader.agencies,
                desks: loader.desks,
                last_resort,
                source: agencies_yaml.into(),
                digest: digest(territories, agencies_yaml),
            }),
            _ => Err(ConfigError::Faults {
                file: FILE,
                faults: loader.faults,
            }),
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
        self.agencies.get(id)
    }

    /// All agencies, ascending by id.
    pub fn agencies(&self) -> impl Iterator<Item = &Agency> {
        self.agencies.values()
    }

    /// Whether any agency has the function.
    #[must_use]
    pub fn has_function(&self, function: &Function) -> bool {
        self.desks.contains_key(function)
    }

    /// The conference that decides where there is nobody else (信访工作条例 24).
    #[must_use]
    pub const fn last_resort(&self) -> &AgencyId {
        &self.last_resort
    }

    /// The agency above; `None` at the top and for an unknown id.
    #[must_use]
    pub fn superior(&self, id: &AgencyId) -> Option<&Agency> {
        self.agency(id)?
            .superior
            .as_ref()
            .and_then(|superior| self.agency(superior))
    }

    /// The agency and those above it, nearest first. Empty for an unknown id.
    pub fn chain(&self, id: &AgencyId) -> impl Iterator<Item = &Agency> {
        // Ends: a file with a circle does not load.
        std::iter::successors(self.agency(id), |agency| self.superior(&agency.id))
    }

    /// Whether `unit` is `superior` or stands under it.
    #[must_use]
    pub fn is_under(&self, unit: &AgencyId, superior: &AgencyId) -> bool {
        unit == superior || self.chain(unit).any(|above| above.id == *superior)
    }

    /// Whether an agency is kept out: it is excluded itself, or stands under a unit that is.
    #[must_use]
    pub fn is_excluded(&self, agency: &AgencyId, excluded: &BTreeSet<AgencyId>) -> bool {
        excluded.contains(agency) || self.chain(agency).any(|above| excluded.contains(&above.id))
    }

    /// The lowest agency above both; where one is above the other, that one; where there is none, the last resort.
    #[must_use]
    pub fn lowest_common_superior(&self, a: &AgencyId, b: &AgencyId) -> &AgencyId {
        self.chain(a)
            .skip(usize::from(a == b))
            .find(|above| self.is_under(b, &above.id))
            .map_or(&self.last_resort, |above| &above.id)
    }

    /// The nearest agency of a function, from the place up, that is not kept out. The whole way is in the answer.
    #[must_use]
    pub fn locate(&self, function: &Function, place: TerritoryCode, excluded: &BTreeSet<AgencyId>) -> Located<'_> {
        let mut located = Located {
            via: Vec::new(),
            climb: Vec::new(),
            passed: Vec::new(),
            agency: None,
        };
        let Some(resolved) = self.territories.resolve(place) else {
            return located;
        };
        located.via = resolved.via;
        let desks = self.desks.get(function);
        for code in self.territories.ancestors(resolved.code) {
            located.climb.push(code);
            match desks.and_then(|desks| desks.get(&code)).and_then(|id| self.agency(id)) {
                Some(agency) if self.is_excluded(&agency.id, excluded) => located.passed.push(&agency.id),
                Some(agency) => {
                    located.agency = Some(agency);
                    break;
                }
                None => {}
            }
        }
        located
    }
}

fn digest(territories: &Territories, agencies_yaml: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(territories.digest());
    hash.update(agencies_yaml);
    hash.finalize().into()
}

const FILE: &str = "the file of agencies";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    last_resort: String,
    agencies: Vec<Spanned<Entry>>,
}

/// One agency as written. What is missing is read as empty and named with the other faults.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    id: String,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    territory: String,
    #[serde(default)]
    name: Name,
    superior: Option<String>,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    zh: String,
    en: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

struct Loader<'a> {
    territories: &'a Territories,
    agencies: BTreeMap<AgencyId, Agency>,
    desks: BTreeMap<Function, BTreeMap<TerritoryCode, AgencyId>>,
    faults: Vec<String>,
}

impl Loader<'_> {
    fn add(&mut self, line: u64, entry: Entry) {
        let at = format!("line {line}, agency `{}`", entry.id);
        for key in entry.unknown.keys().chain(entry.name.unknown.keys()) {
            self.faults.push(format!("{at}: unknown key `{key}`; remove it"));
        }
        if entry.name.zh.trim().is_empty() || entry.name.en.trim().is_empty() {
            self.faults
                .push(format!("{at}: a name is missing; write `name: {{zh: …, en: …}}`"));
        }
        let territory = self.territory(&at, &entry.territory);
        let functions = self.functions(&at, &entry.functions);
        let superior = entry
            .superior
            .as_deref()
            .and_then(|superior| self.take(&at, AgencyId::new(superior)));
        let Some(id) = self.take(&at, AgencyId::new(&entry.id)) else {
            return;
        };
        let Some(territory) = territory else { return };
        if self.agencies.contains_key(&id) {
            return self
                .faults
                .push(format!("{at}: the id is used twice; give each agency its own"));
        }
        for function in &functions {
            let desks = self.desks.entry(function.clone()).or_default();
            if let Some(other) = desks.insert(territory, id.clone()) {
                let problem = format!("{at}: `{other}` has the function `{function}` at {territory} too; leave one");
                self.faults.push(problem);
            }
        }
        let Name {
            zh: title_zh,
            en: title_en,
            ..
        } = entry.name;
        self.agencies.insert(
            id.clone(),
            Agency {
                id,
                functions,
                territory,
                title_zh,
                title_en,
                superior,
            },
        );
    }

    fn take<T>(&mut self, at: &str, parsed: Result<T, InvalidId>) -> Option<T> {
        parsed.map_err(|error| self.faults.push(format!("{at}: {error}"))).ok()
    }

    fn functions(&mut self, at: &str, functions: &[String]) -> Vec<Function> {
        if functions.is_empty() {
            self.faults
                .push(format!("{at}: it has no function; write `functions: […]`"));
        }
        functions
            .iter()
            .filter_map(|function| self.take(at, Function::new(function)))
            .collect()
    }

    fn territory(&mut self, at: &str, text: &str) -> Option<TerritoryCode> {
        let found = match text.parse().map(|code| self.territories.get(code)) {
            Err(error) => Err(error.to_string()),
            Ok(None) => Err(format!(
                "the tree has no territory {text}; add it there or write another"
            )),
            Ok(Some(territory)) => match territory.successor {
                Some(successor) => Err(format!(
                    "territory {text} is abolished; write its successor {successor}"
                )),
                None => Ok(territory.code),
            },
        };
        found
            .map_err(|problem| self.faults.push(format!("{at}: {problem}")))
            .ok()
    }

    fn check_superiors(&mut self) {
        for agency in self.agencies.values() {
            let mut next = agency.superior.as_ref();
            for _ in 0..=self.agencies.len() {
                let Some(superior) = next else { break };
                if *superior == agency.id {
                    self.faults.push(format!(
                        "agency `{}` is above itself; name a superior higher up",
                        agency.id
                    ));
                    break;
                }
                next = self
                    .agencies
                    .get(superior)
                    .and_then(|superior| superior.superior.as_ref());
            }
            if let Some(superior) = agency
                .superior
                .as_ref()
                .filter(|superior| !self.agencies.contains_key(superior))
            {
                let problem = format!(
                    "agency `{}`: there is no superior `{superior}`; add it or write null",
                    agency.id
                );
                self.faults.push(problem);
            }
        }
    }

    fn last_resort(&mut self, text: &str) -> Option<AgencyId> {
        let id = self.take("last_resort", AgencyId::new(text))?;
        if !self.agencies.contains_key(&id) {
            self.faults.push(format!(
                "last_resort: there is no agency `{id}`; name the conference that decides last"
            ));
            return None;
        }
        Some(id)
    }
}
