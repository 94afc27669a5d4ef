//! Rule sets: tables that turn facts into who leads, who supports and by when.
//!
//! Rows are tried in the order of their priorities and the first that matches wins; the last matches everything, so
//! that there is always an answer. Conditions are closed and typed (`rules/column.rs`): no expression language, nothing
//! that can fail, and everything that a table says can be compared with everything else that it says.
//!
//! People write YAML (`rules/yaml.rs`), machines send [`RuleTable`]; both are read by `rules/wire.rs` into the one model
//! here, and what is wrong is named with row and column. The model has one canonical encoding, whose SHA-256 names the rule
//! set: comments and the order in which things are written change nothing. `rules/table.rs` compiles it to bitmaps,
//! [`check`] looks for what was probably not meant.

pub mod check;
mod column;
mod factor;
mod table;
mod wire;
mod yaml;

use std::sync::{Arc, LazyLock};

use api::routing::{ClockNeed, RuleTable};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub use self::check::{Finding, Severity, Taxonomy};
pub use self::column::{Column, Condition, Flag, PlaceIs};
pub use self::factor::Factor;
pub use self::table::Matched;
use self::table::Table;
use crate::calendar::{ClockRule, Clocks, Unit};
use crate::directory::{AgencyId, ConfigError, Directory, Function};
use crate::facts::{Places, Situation};

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id, by which explanations name it.
    pub id: String,
    /// Its place in the order, lowest first.
    pub priority: u32,
    /// What must hold: at most one condition per column, ascending by column. None for the row that matches everything.
    pub conditions: Vec<Condition>,
    /// What it says.
    pub action: Action,
    /// Where it comes from: the law, or that it is ours.
    pub source: String,
}

impl Row {
    /// The subtrees of categories that it is for; empty for any.
    #[must_use]
    pub fn categories(&self) -> &[String] {
        match self.conditions.first() {
            Some(Condition::Category(subtrees)) => subtrees,
            _ => &[],
        }
    }
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
    /// Payments to be stopped at once.
    pub holds: Vec<HoldNeed>,
    /// Whether a second person has to look at the result.
    pub review: Review,
    /// Agencies with one of these functions take no part, though they have another one that is asked for.
    pub exclude: Vec<Function>,
    /// Whether the agency that received the report first keeps it, if one of the places leads to it.
    pub first_receiver_keeps: bool,
}

/// A request to stop a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldNeed {
    /// What the agency does that stops it.
    pub function: Function,
    /// By when it has to act: how many units.
    pub value: u32,
    /// The unit.
    pub unit: Unit,
}

/// Who has to look at a result besides the lead's officer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Review {
    /// Nobody.
    #[default]
    None,
    /// A second person, who is not the proposer.
    SecondPerson,
}

impl Review {
    /// The name in rule sets and explanations; empty for nobody.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::SecondPerson => "second-person",
        }
    }
}

/// An immutable rule table, compiled.
#[derive(Debug, Clone)]
pub struct RuleSet {
    id: String,
    /// Ascending by priority; the last matches everything.
    rows: Vec<Row>,
    last_resort: Vec<AgencyId>,
    canonical: Arc<[u8]>,
    digest: [u8; 32],
    table: Table,
}

impl PartialEq for RuleSet {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for RuleSet {}

/// The rule sets that Remit ships, by id, as they are written.
pub const SHIPPED: [(&str, &str); 2] = [
    ("ranked", include_str!("../../../deploy/config/rules/ranked.yaml")),
    (
        "first-receiver",
        include_str!("../../../deploy/config/rules/first-receiver.yaml"),
    ),
];

/// Faults of a rule set name it like this.
const FILE: &str = "the rule set";

impl RuleSet {
    /// Reads a rule set as people write it, as in `deploy/config/rules/ranked.yaml`, and checks it against the directory
    /// that it is used with.
    ///
    /// # Errors
    /// When the file is not of that shape, or with all its faults at once, each with row and column: unknown columns,
    /// words, functions, territories and agencies, ids and priorities used twice, rows that are never reached, no row that
    /// matches everything.
    pub fn parse(yaml: &str, directory: &Directory) -> Result<Self, ConfigError> {
        let written = yaml::read(yaml)?;
        Self::read(&written, directory).map_err(|findings| refused(&findings))
    }

    /// Reads a rule set as machines send it.
    ///
    /// # Errors
    /// As for [`RuleSet::parse`].
    pub fn from_table(table: RuleTable, directory: &Directory) -> Result<Self, ConfigError> {
        Self::read(&wire::Written::from(table), directory).map_err(|findings| refused(&findings))
    }

    /// Reads a rule set from its canonical bytes, or from any other encoding of a [`RuleTable`].
    ///
    /// # Errors
    /// As for [`RuleSet::parse`], and when the bytes are no such message.
    pub fn decode(bytes: &[u8], directory: &Directory) -> Result<Self, ConfigError> {
        let table = RuleTable::decode(bytes).map_err(|error| ConfigError::Faults {
            file: FILE,
            faults: vec![format!("these are not the bytes of a RuleTable: {error}")],
        })?;
        Self::from_table(table, directory)
    }

    /// Reads what was written; all errors that were found otherwise.
    fn read(written: &wire::Written, directory: &Directory) -> Result<Self, Vec<Finding>> {
        let read = wire::read(written, directory);
        match read.parts {
            Some(parts) if read.findings.is_empty() => Ok(Self::compile(parts, directory)),
            _ => Err(read.findings),
        }
    }

    fn compile(parts: wire::Parts, directory: &Directory) -> Self {
        let wire::Parts { id, rows, last_resort } = parts;
        let canonical = wire::write(&id, &rows, &last_resort).encode_to_vec();
        Self {
            table: Table::compile(&rows, directory.territories()),
            digest: Sha256::digest(&canonical).into(),
            canonical: canonical.into(),
            id,
            rows,
            last_resort,
        }
    }

    /// The rule set *ranked* that Remit ships, `deploy/config/rules/ranked.yaml`.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static RANKED: LazyLock<RuleSet> = LazyLock::new(|| shipped(0));
        &RANKED
    }

    /// The rule set *first-receiver* that Remit ships, `deploy/config/rules/first-receiver.yaml`.
    #[must_use]
    pub fn shipped_first_receiver() -> &'static Self {
        static FIRST_RECEIVER: LazyLock<RuleSet> = LazyLock::new(|| shipped(1));
        &FIRST_RECEIVER
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The canonical bytes: the encoded [`RuleTable`] in its one order.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The table as machines read it, in its canonical order.
    #[must_use]
    pub fn to_table(&self) -> RuleTable {
        wire::write(&self.id, &self.rows, &self.last_resort)
    }

    /// All rows in the order in which they are tried.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The columns that rows of this table have conditions in, in the order in which they are asked.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.table.columns()
    }

    /// The agencies that designate where no agency can be found, in the order in which they are asked; empty for the one of
    /// the directory.
    #[must_use]
    pub fn last_resort(&self) -> &[AgencyId] {
        &self.last_resort
    }

    /// The first row that matches. There always is one.
    #[must_use]
    pub(crate) fn find(&self, situation: &Situation<'_>, places: &Places<'_>, directory: &Directory) -> Matched {
        self.table.find(situation, places, directory.territories())
    }

    /// The row of a match.
    pub(crate) fn row(&self, matched: &Matched) -> &Row {
        // A match is made by this set, whose rows it counts.
        &self.rows[matched.row()]
    }
}

/// A clock's length as the contract has it.
pub(crate) fn clock_need(rule: ClockRule) -> ClockNeed {
    wire::clock_need(rule.value, rule.unit)
}

/// Reads a rule set as people write it into what machines send. Whether it can be used is not looked at.
///
/// # Errors
/// When the file is not of that shape, or has columns and words that cannot be sent.
pub fn read_table(yaml: &str) -> Result<RuleTable, ConfigError> {
    let written = yaml::read(yaml)?;
    match written.findings.as_slice() {
        [] => Ok(written.table),
        findings => Err(refused(findings)),
    }
}

fn shipped(at: usize) -> RuleSet {
    RuleSet::parse(SHIPPED[at].1, Directory::shipped()).expect("the shipped rule sets are read by a test of this crate")
}

fn refused(findings: &[Finding]) -> ConfigError {
    ConfigError::Faults {
        file: FILE,
        faults: findings.iter().map(ToString::to_string).collect(),
    }
}

/// Whether a category is the root of a subtree or below it: `fraud.loan` is within `fraud`, `fraudulent` is not.
pub(crate) fn within(category: &str, subtree: &str) -> bool {
    category
        .strip_prefix(subtree)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
