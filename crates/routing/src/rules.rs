//! Rule sets: tables that turn facts into who leads, who supports and by when.
//!
//! Rows are tried in the order of their priorities and the first that matches wins; the last matches everything, so
//! that there is always an answer. Conditions are closed and typed: no expression language, nothing that can fail.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use api::intake::{ConnectingFactor, ReporterRelation};
use api::routing::Facts;
use serde::Deserialize;
use serde_saphyr::Spanned;
use sha2::{Digest as _, Sha256};

use crate::calendar::{ClockKind, ClockRule, Clocks, Unit};
use crate::directory::{ConfigError, Directory, Function, UnknownKeys, read_yaml};

/// A place that ties a report to a territory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// Where the operator of the service is.
    Operator,
    /// Where the server stands.
    Server,
    /// Where the money was paid or the contract performed.
    Transaction,
    /// Where the victim was harmed.
    Victim,
    /// Where the person or the business complained of is.
    Suspect,
    /// Where the agency is that received the report first.
    Received,
}

impl Factor {
    /// All factors.
    pub const ALL: [Self; 6] = [
        Self::Operator,
        Self::Server,
        Self::Transaction,
        Self::Victim,
        Self::Suspect,
        Self::Received,
    ];

    /// The name in rule sets, contract and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Server => "server",
            Self::Transaction => "transaction",
            Self::Victim => "victim",
            Self::Suspect => "suspect",
            Self::Received => "received",
        }
    }

    /// The factor of a place of a report; `None` for one that this version does not know.
    #[must_use]
    pub const fn from_proto(factor: ConnectingFactor) -> Option<Self> {
        match factor {
            ConnectingFactor::Unspecified => None,
            ConnectingFactor::Operator => Some(Self::Operator),
            ConnectingFactor::Server => Some(Self::Server),
            ConnectingFactor::Transaction => Some(Self::Transaction),
            ConnectingFactor::Victim => Some(Self::Victim),
            ConnectingFactor::Suspect => Some(Self::Suspect),
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id, by which explanations name it.
    pub id: String,
    /// Its place in the order, lowest first.
    pub priority: u32,
    /// The category that it is for, with all below it; any when absent.
    pub category: Option<String>,
    /// The relations of reporters that it is for; any when empty.
    pub reporter_relation: Vec<ReporterRelation>,
    /// What it says.
    pub action: Action,
    /// Where it comes from: the law, or that it is ours.
    pub source: String,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// An agency leads.
    Lead(Lead),
    /// No agency can act; the reporter is told who can.
    Advise {
        /// The advice in Chinese.
        zh: String,
        /// The advice in English.
        en: String,
    },
}

/// How the lead and those who support are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// What the lead does.
    pub function: Function,
    /// The places to try, in order, each once.
    pub factors: Vec<Factor>,
    /// Functions that support, at the place that gave the lead.
    pub support: Vec<Function>,
    /// Functions that support where the operator or the server is abroad, found at the nation.
    pub abroad: Vec<Function>,
    /// By when the lead takes the case over, and by when it comes to a result.
    pub clocks: Clocks,
}

impl Row {
    fn matches(&self, category: &str, relation: ReporterRelation) -> bool {
        self.category.as_deref().is_none_or(|subtree| within(category, subtree))
            && (self.reporter_relation.is_empty() || self.reporter_relation.contains(&relation))
    }

    /// Whether every report that `later` matches is matched by this row.
    fn covers(&self, later: &Self) -> bool {
        let category = match (self.category.as_deref(), later.category.as_deref()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(subtree), Some(category)) => within(category, subtree),
        };
        let relations = &self.reporter_relation;
        category
            && (relations.is_empty()
                || !later.reporter_relation.is_empty()
                    && later.reporter_relation.iter().all(|one| relations.contains(one)))
    }
}

/// Whether a category is the root of a subtree or below it: `fraud.loan` is within `fraud`, `fraudulent` is not.
fn within(category: &str, subtree: &str) -> bool {
    category
        .strip_prefix(subtree)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// An immutable rule table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    id: String,
    /// Ascending by priority, without the last.
    rows: Vec<Row>,
    /// The last, which matches everything.
    catch_all: Row,
    source: Arc<str>,
    digest: [u8; 32],
}

impl RuleSet {
    /// Reads a rule set, as in `deploy/config/rules.yaml`, and checks it against the directory that it is used with.
    ///
    /// # Errors
    /// When the file is not of that shape, or with all its faults at once: unknown keys, factors and functions, ids
    /// and priorities used twice, rows that are never reached, no row that matches everything.
    pub fn parse(yaml: &str, directory: &Directory) -> Result<Self, ConfigError> {
        let file: File = read_yaml(FILE, yaml)?;
        let mut checker = Checker {
            directory,
            faults: Vec::new(),
        };
        if !is_id(&file.id) {
            checker.faults.push(format!(
                "id: `{}` is no id; write small letters, digits and hyphens",
                file.id
            ));
        }
        let written = file.rows.len();
        let mut rows: Vec<Row> = file
            .rows
            .into_iter()
            .filter_map(|entry| checker.row(entry.referenced.line(), entry.value))
            .collect();
        rows.sort_by_key(|row| row.priority);
        checker.order(&rows, rows.len() == written);
        match rows.pop() {
            Some(catch_all) if checker.faults.is_empty() => Ok(Self {
                id: file.id,
                rows,
                catch_all,
                source: yaml.into(),
                digest: Sha256::digest(yaml).into(),
            }),
            _ => Err(ConfigError::Faults {
                file: FILE,
                faults: checker.faults,
            }),
        }
    }

    /// The rule set *ranked* that Remit ships, `deploy/config/rules.yaml`.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<RuleSet> = LazyLock::new(|| {
            RuleSet::parse(include_str!("../../../deploy/config/rules.yaml"), Directory::shipped())
                .expect("the shipped rule set is read by a test of this crate")
        });
        &SHIPPED
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the file's bytes.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The file, byte for byte.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All rows in the order in which they are tried.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain([&self.catch_all])
    }

    /// The row that matches everything.
    #[must_use]
    pub const fn catch_all(&self) -> &Row {
        &self.catch_all
    }

    /// The first row that matches. There always is one.
    #[must_use]
    pub fn row_for(&self, facts: &Facts) -> &Row {
        let relation = facts.reporter_relation();
        self.rows
            .iter()
            .find(|row| row.matches(&facts.category, relation))
            .unwrap_or(&self.catch_all)
    }
}

const FILE: &str = "the rule set";

/// Longest clock that a row may set: a year, in hours. Longer ones are slips of the pen.
const LONGEST_CLOCK: u32 = 366 * 24;

/// The clocks that a row sets. By when a superior designates is the same for all (`state.rs`).
const ROW_CLOCKS: [&str; 2] = [ClockKind::Acknowledge.as_str(), ClockKind::Result.as_str()];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    rows: Vec<Spanned<RowEntry>>,
}

/// One row as written. Words are kept as text, so that every wrong one is named, not only the first.
#[derive(Deserialize)]
struct RowEntry {
    #[serde(default)]
    row: String,
    priority: Option<u32>,
    category: Option<String>,
    #[serde(default)]
    when: WhenEntry,
    lead: Option<String>,
    advise: Option<AdviceEntry>,
    #[serde(default)]
    factors: Vec<String>,
    #[serde(default)]
    support: Vec<String>,
    #[serde(default)]
    abroad: Vec<String>,
    #[serde(default)]
    clocks: BTreeMap<String, ClockEntry>,
    #[serde(default)]
    source: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
struct WhenEntry {
    reporter_relation: Option<Vec<String>>,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Deserialize)]
struct AdviceEntry {
    #[serde(default)]
    zh: String,
    #[serde(default)]
    en: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Deserialize)]
struct ClockEntry {
    #[serde(default)]
    value: u32,
    #[serde(default)]
    unit: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

struct Checker<'a> {
    directory: &'a Directory,
    faults: Vec<String>,
}

impl Checker<'_> {
    fn row(&mut self, line: u64, entry: RowEntry) -> Option<Row> {
        let at = format!("line {line}, row `{}`", entry.row);
        let advice = entry.advise.as_ref().map(|advice| &advice.unknown);
        let clocks = entry.clocks.values().map(|clock| &clock.unknown);
        for key in [&entry.unknown, &entry.when.unknown]
            .into_iter()
            .chain(advice)
            .chain(clocks)
            .flat_map(BTreeMap::keys)
        {
            self.faults.push(format!("{at}: unknown key `{key}`; remove it"));
        }
        if !is_id(&entry.row) {
            self.faults
                .push(format!("{at}: that is no id; write small letters, digits and hyphens"));
        }
        if entry.source.trim().is_empty() {
            self.faults.push(format!(
                "{at}: `source` is missing; write the law, or that the rule is ours"
            ));
        }
        if let Some(category) = entry
            .category
            .as_deref()
            .filter(|category| !category.split('.').all(is_id))
        {
            self.faults
                .push(format!("{at}: `{category}` is no category; write ids between dots"));
        }
        if entry.priority.is_none() {
            self.faults
                .push(format!("{at}: `priority` is missing; write a number, lowest first"));
        }
        let reporter_relation = self.relations(&at, entry.when.reporter_relation.as_deref());
        let action = match (&entry.lead, &entry.advise) {
            (Some(lead), None) => self.lead(&at, lead, &entry).map(Action::Lead),
            (None, Some(advice)) => self.advice(&at, advice, &entry),
            _ => {
                self.faults.push(format!("{at}: write either `lead` or `advise`"));
                None
            }
        };
        let (action, priority) = (action?, entry.priority?);
        Some(Row {
            id: entry.row,
            priority,
            category: entry.category,
            reporter_relation,
            action,
            source: entry.source,
        })
    }

    fn relations(&mut self, at: &str, names: Option<&[String]>) -> Vec<ReporterRelation> {
        let Some(names) = names else { return Vec::new() };
        if names.is_empty() {
            self.faults.push(format!(
                "{at}: an empty `reporter_relation` matches nothing; name one or remove the key"
            ));
        }
        let relation = |name: &str| match name {
            "unspecified" => Ok(ReporterRelation::Unspecified),
            "victim" => Ok(ReporterRelation::Victim),
            "representative" => Ok(ReporterRelation::Representative),
            "bystander" => Ok(ReporterRelation::Bystander),
            "organisation" => Ok(ReporterRelation::Organisation),
            _ => Err("a relation; write unspecified, victim, representative, bystander or organisation"),
        };
        self.words(at, names, relation)
    }

    fn lead(&mut self, at: &str, lead: &str, entry: &RowEntry) -> Option<Lead> {
        let factor = |name: &str| {
            Factor::ALL
                .into_iter()
                .find(|factor| factor.as_str() == name)
                .ok_or("a factor; write operator, server, transaction, victim, suspect or received")
        };
        let factors = self.words(at, &entry.factors, factor);
        if entry.factors.is_empty() {
            self.faults
                .push(format!("{at}: `factors` is missing; write the places to try, in order"));
        }
        let function = self.function(at, lead);
        let support = entry
            .support
            .iter()
            .filter_map(|name| self.function(at, name))
            .collect();
        let abroad = entry.abroad.iter().filter_map(|name| self.function(at, name)).collect();
        for kind in entry.clocks.keys().filter(|kind| !ROW_CLOCKS.contains(&kind.as_str())) {
            self.faults.push(format!(
                "{at}: there is no clock `{kind}`; write {}",
                ROW_CLOCKS.join(" and ")
            ));
        }
        let acknowledge = self.clock(at, ClockKind::Acknowledge, &entry.clocks);
        let result = self.clock(at, ClockKind::Result, &entry.clocks);
        Some(Lead {
            function: function?,
            factors,
            support,
            abroad,
            clocks: Clocks {
                acknowledge: acknowledge?,
                result: result?,
            },
        })
    }

    fn advice(&mut self, at: &str, advice: &AdviceEntry, entry: &RowEntry) -> Option<Action> {
        if advice.zh.trim().is_empty() || advice.en.trim().is_empty() {
            self.faults
                .push(format!("{at}: the advice is missing; write `advise: {{zh: …, en: …}}`"));
            return None;
        }
        if !(entry.factors.is_empty() && entry.support.is_empty() && entry.abroad.is_empty() && entry.clocks.is_empty())
        {
            self.faults.push(format!(
                "{at}: a row that advises has no factors, support, abroad or clocks; remove them"
            ));
        }
        Some(Action::Advise {
            zh: advice.zh.trim().to_owned(),
            en: advice.en.trim().to_owned(),
        })
    }

    /// Reads words of a closed list, each at most once.
    fn words<T: PartialEq>(
        &mut self,
        at: &str,
        names: &[String],
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let mut words = Vec::new();
        for name in names {
            match read(name) {
                Err(expected) => self.faults.push(format!("{at}: `{name}` is not {expected}")),
                Ok(word) if words.contains(&word) => {
                    self.faults.push(format!("{at}: `{name}` stands twice; remove one"));
                }
                Ok(word) => words.push(word),
            }
        }
        words
    }

    fn function(&mut self, at: &str, name: &str) -> Option<Function> {
        match Function::new(name) {
            Ok(function) if self.directory.has_function(&function) => Some(function),
            _ => {
                self.faults.push(format!(
                    "{at}: no agency has the function `{name}`; add one or write another"
                ));
                None
            }
        }
    }

    fn clock(&mut self, at: &str, kind: ClockKind, clocks: &BTreeMap<String, ClockEntry>) -> Option<ClockRule> {
        let name = kind.as_str();
        let Some(clock) = clocks.get(name) else {
            self.faults.push(format!(
                "{at}: the clock `{name}` is missing; every open case needs one"
            ));
            return None;
        };
        match Unit::from_name(&clock.unit) {
            Some(unit) if (1..=LONGEST_CLOCK).contains(&clock.value) => Some(ClockRule {
                kind,
                value: clock.value,
                unit,
            }),
            _ => {
                let expected = "write `{value: 24, unit: hours}`, or calendar-days or working-days";
                self.faults
                    .push(format!("{at}: the clock `{name}` cannot be read; {expected}"));
                None
            }
        }
    }

    /// Checks rows against each other; they are in the order in which they are tried. When some could not be read, the
    /// one that matches everything may be among them, and is not missed.
    fn order(&mut self, rows: &[Row], complete: bool) {
        for (at, row) in rows.iter().enumerate() {
            let (earlier, rest) = rows.split_at(at);
            for later in rest.iter().skip(1) {
                if later.priority == row.priority {
                    let both = format!("rows `{}` and `{}`", row.id, later.id);
                    self.faults
                        .push(format!("{both} have the priority {}; give each its own", row.priority));
                }
                if later.id == row.id {
                    self.faults
                        .push(format!("row `{}` stands twice; give each row its own id", row.id));
                }
            }
            if let Some(first) = earlier.iter().find(|first| first.covers(row)) {
                let both = format!("row `{}` is never reached: `{}`", row.id, first.id);
                self.faults
                    .push(format!("{both} takes all of it; remove one or change the priorities"));
            }
        }
        if complete
            && !rows
                .last()
                .is_some_and(|row| row.category.is_none() && row.reporter_relation.is_empty())
        {
            self.faults
                .push("the last row must match everything: write one without `category` and `when`".to_owned());
        }
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
