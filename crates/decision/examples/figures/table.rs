//! The table measured: 200 rows of 4 conditions, and facts for it.
//!
//! `benches/zen` takes them from here, so that both engines decide the same.

use decision::directory::Directory;
use decision::rules::{RuleSet, Taxonomy};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Number of rows before the last.
pub const ROWS: usize = 200;

/// The conditions of one row.
pub struct Row {
    pub category: String,
    pub urgent: bool,
    /// In minor units.
    pub loss_from: i64,
    pub relation: &'static str,
}

/// Relations as named in rule sets and in the contract.
pub const RELATIONS: [(&str, &str); 4] = [
    ("victim", "REPORTER_RELATION_VICTIM"),
    ("representative", "REPORTER_RELATION_REPRESENTATIVE"),
    ("bystander", "REPORTER_RELATION_BYSTANDER"),
    ("organisation", "REPORTER_RELATION_ORGANISATION"),
];

/// The rows in order of priority. Each pair of category and relation occurs with falling loss
/// bounds, so that no row is covered by an earlier one.
pub fn rows() -> Vec<Row> {
    let taxonomy = Taxonomy::shipped();
    let categories: Vec<&str> = taxonomy.ids().filter(|id| *id != "fraud").collect();
    (0..ROWS)
        .map(|at| Row {
            category: categories[at % categories.len()].to_owned(),
            urgent: at / categories.len() % 2 == 1,
            loss_from: 1_000_000 - 1_000 * i64::try_from(at).unwrap_or(0),
            relation: RELATIONS[at / categories.len() / 2 % 4].0,
        })
        .collect()
}

/// The rows' action with a search for an agency, as in the shipped sets.
const LEADS: &str = "lead: police, factors: [operator, server, transaction, victim, suspect, received], abroad: [partner-hotline], \
                     clocks: {acknowledge: {value: 24, unit: hours}, result: {value: 30, unit: calendar-days}}, source: ours";
/// The rows' action if only the row is of interest.
const ADVISES: &str = "advise: {zh: 无, en: none}, source: ours";

/// The rule set of these rows.
pub fn rule_set() -> RuleSet {
    with(LEADS)
}

/// The same rows without a search for an agency.
pub fn rows_alone() -> RuleSet {
    with(ADVISES)
}

fn with(says: &str) -> RuleSet {
    use std::fmt::Write as _;
    let mut yaml = "id: figures\nrows:\n".to_owned();
    for (at, row) in rows().iter().enumerate() {
        let _ = writeln!(
            yaml,
            "  - {{row: row-{at}, priority: {}, category: {}, when: {{urgent: {}, loss: {{currency: CNY, from: {}}}, \
             reporter_relation: [{}]}}, {says}}}",
            at + 1,
            row.category,
            row.urgent,
            row.loss_from,
            row.relation
        );
    }
    let _ = writeln!(yaml, "  - {{row: last, priority: 1000, {says}}}");
    RuleSet::parse(&yaml, Directory::shipped()).expect("the table is good")
}

/// The facts of one report.
pub struct Report {
    pub category: String,
    pub urgent: bool,
    pub loss: i64,
    /// Named as in rule sets.
    pub relation: &'static str,
    /// Codes of the operator's, the server's and the victim's place; each may be missing.
    pub places: [Option<String>; 3],
    pub received_by: Option<String>,
}

/// Reports: half of them match a row, half only the last.
pub fn reports(count: usize, seed: u64) -> Vec<Report> {
    let mut random = StdRng::seed_from_u64(seed);
    let rows = rows();
    let directory = Directory::shipped();
    let codes: Vec<String> = directory
        .territories()
        .iter()
        .filter(|territory| territory.valid_to.is_none())
        .map(|territory| territory.code.to_string())
        .collect();
    let agencies: Vec<String> = directory.agencies().map(|agency| agency.id.to_string()).collect();
    (0..count)
        .map(|_| {
            let row = &rows[random.random_range(0..rows.len())];
            let mut place = || {
                let code = codes[random.random_range(0..codes.len())].clone();
                random.random_bool(0.6).then_some(code)
            };
            let places = [place(), place(), place()];
            Report {
                category: row.category.clone(),
                urgent: row.urgent,
                loss: match random.random_bool(0.5) {
                    true => row.loss_from + 10,
                    false => 0,
                },
                relation: row.relation,
                places,
                received_by: random
                    .random_bool(0.5)
                    .then(|| agencies[random.random_range(0..agencies.len())].clone()),
            }
        })
        .collect()
}

impl Report {
    /// The facts in JSON.
    pub fn json(&self) -> String {
        let factors = ["OPERATOR", "SERVER", "VICTIM"];
        let places = factors.iter().zip(&self.places).filter_map(|(factor, code)| {
            let code = code.as_ref()?;
            Some(format!(
                r#"{{"factor":"CONNECTING_FACTOR_{factor}","territory":"territories/{code}"}}"#
            ))
        });
        let relation = RELATIONS.iter().find(|(name, _)| *name == self.relation);
        let received = self
            .received_by
            .as_ref()
            .map(|id| format!(r#","receivedBy":"agencies/{id}""#));
        format!(
            r#"{{"category":"categories/{}","urgent":{},"subjectKinds":["SUBJECT_KIND_URL"],"places":[{}],"lossCurrencyCode":"CNY","lossMinorUnits":"{}","reporterRelation":"{}"{}}}"#,
            self.category,
            self.urgent,
            places.collect::<Vec<_>>().join(","),
            self.loss,
            relation.map_or("", |(_, wire)| wire),
            received.unwrap_or_default()
        )
    }
}
