//! Rule sets: tables from facts to lead, supporting agencies and clocks.
//!
//! Rows are tried by priority and the first match wins; the last row matches everything, so that
//! there is always an answer. Conditions are closed and typed (`rules/column.rs`): there is no
//! expression language, nothing can fail, and everything in a table can be compared with everything
//! else.
//!
//! People write YAML (`rules/yaml.rs`), machines send [`RuleTable`]; `rules/wire.rs` reads both
//! into the model here and reports faults with row and column. The model has one canonical
//! encoding, whose SHA-256 identifies the rule set: comments and order of writing do not matter.
//! `rules/table.rs` compiles it to bitmaps, [`check`] looks for likely mistakes.

mod boxes;
pub mod check;
mod column;
mod finding;
mod names;
mod pause;
mod table;
mod terms;
mod wire;
mod yaml;

use std::sync::{Arc, LazyLock};

use api::routing::{ReviewNeed, RuleTable};
use places::OnDay;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub use self::check::Taxonomy;
pub use self::column::{Column, Condition, Flag, PlaceIs};
pub use self::finding::{Finding, Severity};
pub use self::pause::PauseNeed;
pub use self::table::Matched;
use self::table::Table;
pub use self::terms::Terms;
pub use self::wire::span;
use crate::calendar::{Clocks, Unit};
use crate::directory::{AgencyId, ConfigError, Directory, Function};
use crate::factor::Factor;
use crate::facts::{Places, Situation};

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Id of the row, used in explanations.
    pub id: String,
    /// Its priority; the lowest is tried first.
    pub priority: u32,
    /// Conditions that must all hold: at most one per column, ascending by column. Empty for the
    /// catch-all row.
    pub conditions: Vec<Condition>,
    /// The result of the row.
    pub action: Action,
    /// Its source: the law, or that it is ours.
    pub source: String,
}

impl Row {
    /// The category subtrees that it applies to; empty for all.
    #[must_use]
    pub fn categories(&self) -> &[String] {
        match self.conditions.first() {
            Some(Condition::Category(subtrees)) => subtrees,
            _ => &[],
        }
    }
}

/// The result of a row.
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

/// How to find the lead and the supporting agencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// Function of the lead.
    pub function: Function,
    /// The places to try, in order, each once.
    pub factors: Vec<Factor>,
    /// Functions that support at the place that gave the lead.
    pub support: Vec<Function>,
    /// Functions that support if the operator or the server is abroad, found at the nation.
    pub abroad: Vec<Function>,
    /// Clocks for acknowledgement and result.
    pub clocks: Clocks,
    /// Payments to stop at once.
    pub holds: Vec<HoldNeed>,
    /// Whether a second person must review the result.
    pub review: Review,
    /// Agencies with one of these functions take no part, even if they have a requested one.
    pub exclude: Vec<Function>,
    /// Whether the agency that received the report first keeps it, if one of the places leads to
    /// it.
    pub first_receiver_keeps: bool,
    /// The factors whose places count for that; any if empty.
    pub first_receiver_factors: Vec<Factor>,
    /// Whether the lead function's agencies at the operator's and the server's place support.
    pub place_support: bool,
}

/// A length of time: how many, and of what.
pub type Span = (u32, Unit);

/// A request to stop a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldNeed {
    /// Function of the agency that stops it.
    pub function: Function,
    /// Time limit, in units.
    pub value: u32,
    /// The unit.
    pub unit: Unit,
}

/// Who must review a result besides the lead's officer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Review {
    /// Nobody.
    #[default]
    None,
    /// A second person, who is not the proposer.
    SecondPerson,
}

impl Review {
    /// The name in rule sets and explanations; empty for none.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::SecondPerson => "second-person",
        }
    }

    /// As in the contract.
    #[must_use]
    pub const fn to_proto(self) -> ReviewNeed {
        match self {
            Self::None => ReviewNeed::None,
            Self::SecondPerson => ReviewNeed::SecondPerson,
        }
    }

    /// From the contract; `None` when it is not set.
    #[must_use]
    pub const fn from_proto(need: ReviewNeed) -> Option<Self> {
        match need {
            ReviewNeed::Unspecified => None,
            ReviewNeed::None => Some(Self::None),
            ReviewNeed::SecondPerson => Some(Self::SecondPerson),
        }
    }
}

impl HoldNeed {
    /// As in the contract.
    #[must_use]
    pub fn to_proto(&self) -> api::routing::HoldNeed {
        api::routing::HoldNeed {
            agency_function: self.function.to_string(),
            clock: Some(wire::clock_need(self.value, self.unit)),
        }
    }
}

/// An immutable rule table, compiled.
#[derive(Debug, Clone)]
pub struct RuleSet {
    parts: wire::Parts,
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

/// The rule sets that Remit ships, by id, in YAML.
pub const SHIPPED: [(&str, &str); 2] = [
    ("ranked", include_str!("../../../deploy/config/rules/ranked.yaml")),
    (
        "first-receiver",
        include_str!("../../../deploy/config/rules/first-receiver.yaml"),
    ),
];

/// Name of a rule set in messages.
const FILE: &str = "the rule set";

impl RuleSet {
    /// Parses a rule set in YAML, as in `deploy/config/rules/ranked.yaml`, and validates it against
    /// a directory.
    ///
    /// # Errors
    ///
    /// If the file has a different structure; otherwise all its faults at once, with row and
    /// column: unknown columns, values, functions, territories and agencies, duplicate ids and
    /// priorities, unreachable rows, a missing catch-all row.
    pub fn parse(yaml: &str, directory: &Directory) -> Result<Self, ConfigError> {
        let written = yaml::read(yaml)?;
        Self::read(&written, directory).map_err(|findings| refused(&findings))
    }

    /// Parses a rule set from a message.
    ///
    /// # Errors
    /// As for [`RuleSet::parse`].
    pub fn from_table(table: RuleTable, directory: &Directory) -> Result<Self, ConfigError> {
        Self::read(&wire::Written::from(table), directory).map_err(|findings| refused(&findings))
    }

    /// Parses a rule set from its canonical bytes or any other encoding of a [`RuleTable`].
    ///
    /// # Errors
    ///
    /// As for [`RuleSet::parse`], and if the bytes are not such a message.
    pub fn decode(bytes: &[u8], directory: &Directory) -> Result<Self, ConfigError> {
        let table = RuleTable::decode(bytes).map_err(|error| ConfigError::Faults {
            file: FILE,
            faults: vec![format!("these are not the bytes of a RuleTable: {error}")],
        })?;
        Self::from_table(table, directory)
    }

    /// Reads a written table; on failure returns all errors.
    fn read(written: &wire::Written, directory: &Directory) -> Result<Self, Vec<Finding>> {
        let read = wire::read(written, directory);
        match read.parts {
            Some(parts) if read.findings.is_empty() => Ok(Self::compile(parts)),
            _ => Err(read.findings),
        }
    }

    fn compile(parts: wire::Parts) -> Self {
        let canonical = parts.write().encode_to_vec();
        Self {
            table: Table::compile(&parts.rows),
            digest: Sha256::digest(&canonical).into(),
            canonical: canonical.into(),
            parts,
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

    /// Id of the rule set.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.parts.id
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The canonical bytes: the encoded [`RuleTable`] in canonical order.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The table as a message, in canonical order.
    #[must_use]
    pub fn to_table(&self) -> RuleTable {
        self.parts.write()
    }

    /// All rows, in order of priority.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.parts.rows
    }

    /// The columns in which this table has conditions, in the order they are evaluated.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.table.columns()
    }

    /// Agencies that designate if no agency is found, in order; empty for the directory's.
    #[must_use]
    pub fn last_resort(&self) -> &[AgencyId] {
        &self.parts.last_resort
    }

    /// The grounds on which leads with a function may pause the time for the result.
    pub fn pauses<'a>(&'a self, function: &'a Function) -> impl Iterator<Item = &'a PauseNeed> {
        self.parts.pauses.iter().filter(|pause| pause.is_for(function))
    }

    /// Time for a late lead under its superior's supervision; `None` if the superior has the case at
    /// once.
    #[must_use]
    pub const fn supervision(&self) -> Option<Span> {
        self.parts.supervision
    }

    /// Finds the first matching row. There always is one.
    #[must_use]
    pub(crate) fn find(&self, situation: &Situation<'_>, places: &Places<'_>, tree: OnDay<'_>) -> Matched {
        self.table.find(situation, places, tree)
    }

    /// The row of a match.
    pub(crate) fn row(&self, matched: &Matched) -> &Row {
        // The match was made by this set, so the index is valid.
        &self.parts.rows[matched.row()]
    }
}

/// Converts a rule set from YAML to a message without validating it.
///
/// # Errors
///
/// If the file has a different structure, or columns and values that the message cannot express.
pub fn read_table(yaml: &str) -> Result<RuleTable, ConfigError> {
    let written = yaml::read(yaml)?;
    match written.findings.as_slice() {
        [] => Ok(written.table),
        findings => Err(refused(findings)),
    }
}

fn shipped(at: usize) -> RuleSet {
    RuleSet::parse(SHIPPED[at].1, Directory::shipped()).expect("a test of this crate parses the shipped rule sets")
}

fn refused(findings: &[Finding]) -> ConfigError {
    ConfigError::Faults {
        file: FILE,
        faults: findings.iter().map(ToString::to_string).collect(),
    }
}
