//! Errors in rule sets, and likely mistakes.
//!
//! A row is a box (`boxes.rs`). So a row that several others cover together is found, too, and a
//! gap is the part of a category that remains after subtracting every row but the last.

use std::collections::BTreeMap;

use api::intake::VictimKind;
use api::routing::{Facts, RuleTable};
use places::TerritoryCode;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::boxes::{Boxes, Set, meet, take_out};
use super::finding::{Finding, Severity};
use super::table::{Classes, category_class};
use super::wire::Written;
use super::{Action, Column, Condition, Flag, Row, RuleSet, yaml};
use crate::category::is_within;
use crate::directory::{ConfigError, Directory, Search, read_yaml};
use crate::factor::Factor;

/// The parts of the taxonomy that rows refer to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Taxonomy {
    categories: Vec<Category>,
}

/// A category. Ignores keys that rows do not refer to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Category {
    id: String,
    #[serde(default)]
    urgency: String,
    #[serde(default)]
    publication: bool,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Detail {
    path: String,
    kind: String,
    #[serde(default)]
    choices: Vec<String>,
}

/// The taxonomy file; ignores its other keys.
#[derive(Deserialize)]
struct Whole {
    #[serde(flatten)]
    taxonomy: Taxonomy,
    #[serde(flatten)]
    _rest: BTreeMap<String, IgnoredAny>,
}

impl Taxonomy {
    /// Parses a category file, such as `deploy/config/categories.yaml`. Intake validates it.
    ///
    /// # Errors
    ///
    /// If it has no list of categories with ids.
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        read_yaml::<Whole>("the file of categories", yaml).map(|whole| whole.taxonomy)
    }

    /// The taxonomy that Remit ships, `deploy/config/categories.yaml`.
    #[must_use]
    pub fn shipped() -> Self {
        Self::parse(include_str!("../../../../deploy/config/categories.yaml"))
            .expect("a test of this crate parses the shipped taxonomy")
    }

    /// The facts of a report, as they would be if it had been filed under another category: without
    /// the details that this one does not have. `None` if no category has the id.
    #[must_use]
    pub fn refile(&self, facts: &Facts, category: &str) -> Option<Facts> {
        let found = self.categories.iter().find(|known| known.id == category)?;
        let is_detail = |path: &String, value: &String| {
            let mut details = found.details.iter();
            details.any(|detail| detail.path == *path && detail.allows(value))
        };
        let mut facts = facts.clone();
        facts.category = names::Collection::CATEGORIES.of(&found.id);
        facts.urgent = found.urgency == "urgent";
        facts.publication = found.publication;
        facts.details.retain(|path, value| is_detail(path, value));
        Some(facts)
    }

    /// Ids of the categories.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.categories.iter().map(|category| category.id.as_str())
    }
}

/// Checks a rule set in YAML.
///
/// # Errors
///
/// If the file does not have the structure of a rule set.
pub fn check_yaml(yaml: &str, directory: &Directory, taxonomy: &Taxonomy) -> Result<Vec<Finding>, ConfigError> {
    let written = yaml::read(yaml)?;
    let lines: BTreeMap<String, u64> = written
        .table
        .rows
        .iter()
        .map(|row| row.id.clone())
        .zip(written.lines.iter().copied())
        .collect();
    let mut findings = check_written(&written, directory, taxonomy);
    for finding in &mut findings {
        finding.line = finding.line.or_else(|| lines.get(&finding.row).copied());
    }
    Ok(findings)
}

/// Checks a rule set from a message.
#[must_use]
pub fn check_table(table: RuleTable, directory: &Directory, taxonomy: &Taxonomy) -> Vec<Finding> {
    check_written(&Written::from(table), directory, taxonomy)
}

fn check_written(written: &Written, directory: &Directory, taxonomy: &Taxonomy) -> Vec<Finding> {
    match RuleSet::read(written, directory) {
        Ok(rules) => check(&rules, directory, taxonomy),
        Err(findings) => findings,
    }
}

/// Checks a valid rule set against the taxonomy, and its rows against each other.
#[must_use]
pub fn check(rules: &RuleSet, directory: &Directory, taxonomy: &Taxonomy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in rules.rows() {
        let mut find = |severity, column: String, message: String| {
            findings.push(Finding {
                severity,
                line: None,
                row: row.id.clone(),
                column,
                message,
            });
        };
        check_row(row, taxonomy, &mut find);
        check_places(row, directory, taxonomy, &mut find);
        if let Action::Lead(lead) = &row.action {
            let nation = directory.locate(&Search::of(&lead.function), TerritoryCode::ROOT);
            if nation.agency.is_none() {
                let message = format!(
                    "there is no `{}` agency at the nation: facts without a place that leads to one go to the last resort",
                    lead.function
                );
                find(Severity::Warning, "lead".to_owned(), message);
            }
        }
    }
    let boxes = Boxes::new(rules.rows());
    boxes.overlaps(rules.rows(), &mut findings);
    boxes.gaps(rules.rows(), taxonomy, &mut findings);
    findings
}

/// Checks that everything a row refers to is in the taxonomy and can occur together.
fn check_row(row: &Row, taxonomy: &Taxonomy, report: &mut impl FnMut(Severity, String, String)) {
    let sound = std::cell::Cell::new(true);
    let mut find = |severity, column, message| {
        sound.set(false);
        report(severity, column, message);
    };
    let subtrees = row.categories();
    for subtree in subtrees {
        if !taxonomy.ids().any(|category| is_within(category, subtree)) {
            let message = format!("the category `{subtree}` does not exist; use another, or add it to the taxonomy");
            find(Severity::Error, Column::Category.to_string(), message);
        }
    }
    let mine = categories_of(row, taxonomy);
    for condition in &row.conditions {
        let column = condition.column().to_string();
        match condition {
            Condition::Urgent(urgent) if !mine.iter().any(|category| (category.urgency == "urgent") == *urgent) => {
                let what = if *urgent {
                    "none of its categories is urgent"
                } else {
                    "all its categories are urgent"
                };
                find(Severity::Error, column, never(what));
            }
            Condition::Flag(Flag::Publication, set) if !mine.iter().any(|category| category.publication == *set) => {
                let what = if *set {
                    "none of its categories is a publication"
                } else {
                    "all its categories are publications"
                };
                find(Severity::Error, column, never(what));
            }
            Condition::Detail(path, values) => {
                let details: Vec<&Detail> = mine
                    .iter()
                    .flat_map(|category| &category.details)
                    .filter(|detail| detail.path == *path)
                    .collect();
                if details.is_empty() {
                    let message = format!("none of its categories has the detail `{path}`; use another");
                    find(Severity::Error, column, message);
                } else if !details
                    .iter()
                    .any(|detail| matches!(detail.kind.as_str(), "choice" | "integer"))
                {
                    let message = format!("the detail `{path}` is not of kind choice or integer, so it is not a fact");
                    find(Severity::Error, column, message);
                } else {
                    for value in values {
                        if !details.iter().any(|detail| detail.allows(value)) {
                            let message = format!("`{value}` is not a value of the detail `{path}`; use another");
                            find(Severity::Error, column.clone(), message);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    // Each condition holds for one of the categories, but is there one for which all hold?
    if sound.get() && !mine.is_empty() && !mine.iter().any(|category| category.can_meet(row)) {
        let message = never("none of its categories meets all of its conditions");
        find(Severity::Error, String::new(), message);
    }
}

/// The categories that a row is for.
fn categories_of<'a>(row: &Row, taxonomy: &'a Taxonomy) -> Vec<&'a Category> {
    let subtrees = row.categories();
    let is_mine =
        |category: &&Category| subtrees.is_empty() || subtrees.iter().any(|subtree| is_within(&category.id, subtree));
    taxonomy.categories.iter().filter(is_mine).collect()
}

fn never(what: &str) -> String {
    format!("it can never match: {what}")
}

impl Detail {
    /// Whether a report can have this value, as the facts write it.
    fn allows(&self, value: &String) -> bool {
        match self.kind.as_str() {
            "choice" => self.choices.contains(value),
            "integer" => value.parse::<i64>().is_ok_and(|number| number.to_string() == *value),
            _ => false,
        }
    }
}

impl Category {
    /// Whether a report of the category can meet all conditions of a row that the category settles.
    fn can_meet(&self, row: &Row) -> bool {
        row.conditions.iter().all(|condition| match condition {
            Condition::Urgent(urgent) => (self.urgency == "urgent") == *urgent,
            Condition::Flag(Flag::Publication, set) => self.publication == *set,
            Condition::Detail(path, values) => {
                let mut details = self.details.iter().filter(|detail| detail.path == *path);
                details.any(|detail| values.iter().any(|value| detail.allows(value)))
            }
            _ => true,
        })
    }
}

/// Checks that places can be what a row requires of them.
fn check_places(
    row: &Row,
    directory: &Directory,
    taxonomy: &Taxonomy,
    find: &mut impl FnMut(Severity, String, String),
) {
    let tree = directory.territories();
    let about_critics = only_publications_about_bodies(row, taxonomy);
    for condition in &row.conditions {
        let Condition::Place(factor, place) = condition else {
            continue;
        };
        let column = factor.as_str();
        let mut find = |severity, message: String| find(severity, column.to_owned(), message);
        let of_an_agency = matches!(factor, Factor::Received | Factor::ComplainedOf);
        let abroad = place.abroad || !place.countries.is_empty();
        if about_critics && matches!(factor, Factor::Victim | Factor::Received) {
            if !place.absent {
                let what =
                    "where an organisation or a public body complains about a publication, this place is no factor";
                find(Severity::Error, never(what));
            }
            continue;
        }
        for code in &place.within {
            let ended = tree.get(*code).and_then(|territory| territory.valid_to);
            if let Some(last) = ended {
                let message = format!(
                    "nothing matches {code} after {last}, when it ended; remove it, since the territory that it is read \
                     as is named, too"
                );
                find(Severity::Warning, message);
            } else if of_an_agency && !directory.agencies().any(|agency| agency.territory.is_within(*code)) {
                let message =
                    format!("no agency of the directory is in {code}, so none can match; add one, or remove it");
                find(Severity::Warning, message);
            }
        }
        if !of_an_agency {
            continue;
        }
        match (abroad, place.absent || !place.within.is_empty()) {
            (false, _) => {}
            (true, false) => find(
                Severity::Error,
                never("it is the place of an agency, and no agency is abroad"),
            ),
            (true, true) => find(
                Severity::Warning,
                "it is the place of an agency, and no agency is abroad; remove `abroad` and `countries`".to_owned(),
            ),
        }
    }
}

/// Whether every report that a row takes is a publication that an organisation or a public body
/// complains about, so that the places of victim and receiver do not count.
fn only_publications_about_bodies(row: &Row, taxonomy: &Taxonomy) -> bool {
    let is_publication = row
        .conditions
        .iter()
        .any(|condition| matches!(condition, Condition::Flag(Flag::Publication, true)));
    let mine = categories_of(row, taxonomy);
    let publications = is_publication || !mine.is_empty() && mine.iter().all(|category| category.publication);
    let by_bodies = row.conditions.iter().any(|condition| match condition {
        Condition::VictimKind(kinds) => kinds
            .iter()
            .all(|kind| matches!(kind, VictimKind::Organisation | VictimKind::PublicBody)),
        _ => false,
    });
    publications && by_bodies
}

impl Boxes {
    /// Finds overlapping rows with the same result: one of them, or part of it, is redundant. The
    /// last row overlaps all others and is exempt.
    fn overlaps(&self, rows: &[Row], findings: &mut Vec<Finding>) {
        let last = rows.len().saturating_sub(1);
        for (at, row) in rows[..last].iter().enumerate() {
            for (later, other) in rows[..last].iter().enumerate().skip(at + 1) {
                let (one, two) = (&self.boxes[at], &self.boxes[later]);
                if row.action != other.action || !meet(one, two) {
                    continue;
                }
                let differs = one.iter().zip(two).position(|(one, two)| one != two);
                let column = differs.map(|at| self.classes[at].0.to_string()).unwrap_or_default();
                findings.push(Finding {
                    severity: Severity::Warning,
                    line: None,
                    row: row.id.clone(),
                    column,
                    message: format!(
                        "it overlaps with row `{}`, which has the same result; merge them or separate them here",
                        other.id
                    ),
                });
            }
        }
    }

    /// Categories that are partly left to the last row.
    fn gaps(&self, rows: &[Row], taxonomy: &Taxonomy, findings: &mut Vec<Finding>) {
        let Some((last, others)) = self.boxes.split_last() else {
            return;
        };
        let gap = |findings: &mut Vec<Finding>, message| {
            findings.push(Finding {
                severity: Severity::Warning,
                line: None,
                row: rows.last().map(|row| row.id.clone()).unwrap_or_default(),
                column: Column::Category.to_string(),
                message,
            });
        };
        for category in taxonomy.ids() {
            let mut whole = last.clone();
            let at = self.classes.iter().position(|(column, _)| *column == Column::Category);
            if let Some(at) = at
                && let Classes::Category(named) = &self.classes[at].1
            {
                let class = category_class(named, category);
                whole[at] = Set::of(self.classes[at].1.count(), [class].into_iter());
            }
            let left = others
                .iter()
                .try_fold(vec![whole.clone()], |left, by| take_out(left, by));
            let Some(piece) = left.as_ref().and_then(|left| left.first()) else {
                continue;
            };
            let where_ = self.words(piece, &whole, at);
            let message = match where_.is_empty() {
                true => format!("a gap: only this row covers `{category}`; add a row for it"),
                false => format!("a gap: only this row covers `{category}` where {where_}; add a row for it"),
            };
            gap(findings, message);
        }
    }
}
