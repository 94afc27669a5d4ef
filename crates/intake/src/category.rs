//! The taxonomy: reportable categories, their legal bases, the interests they protect, and what a
//! report of each needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use api::text::{Form, called, control};
use handwritten::{Location, Spanned, place};
use serde::Deserialize;

/// An interest that a category may protect. The list is closed: "public order", opinions and rumour
/// as such are not on it, and a category that protects none of these does not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interest {
    /// Property.
    Property,
    /// Safety of a person.
    PersonalSafety,
    /// Minors, and consent.
    MinorsAndConsent,
    /// Dignity.
    Dignity,
    /// Personal data.
    PersonalData,
    /// Computer systems.
    Systems,
    /// Consumers.
    Consumers,
    /// Public safety: weapons and drugs.
    PublicSafety,
    /// Integrity of officials.
    OfficialIntegrity,
}

/// Urgency of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Handled in the ordinary time.
    Routine,
    /// Handled before others.
    Urgent,
}

/// Whether a report must have a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Required.
    Required,
    /// Optional.
    Optional,
}

/// Whether evidence files are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Accepted.
    Accepted,
    /// Refused, because possession is the offence.
    Refused,
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// A law that makes the act reportable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegalBasis {
    /// Its title.
    pub law: String,
    /// Its articles.
    pub articles: String,
    /// The version that was read.
    pub version: String,
    /// Remarks, such as that it was replaced.
    pub note: Option<String>,
}

/// The format of a detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetailKind {
    /// Any text.
    Text,
    /// A web address.
    Url,
    /// A telephone number in E.164 form.
    Phone,
    /// An account number.
    Account,
    /// RFC 3339 with time zone; not in the future, unless the detail says so.
    Timestamp,
    /// An integer.
    Integer,
    /// One of the choices.
    Choice,
}

/// A detail of a category.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// Its path, such as `payment.paid_at`.
    pub path: String,
    /// Its format.
    pub kind: DetailKind,
    /// Whether it is required.
    pub required: bool,
    /// Its label.
    pub title: Text,
    /// Whether a time may lie in the future, for kind `timestamp`.
    #[serde(default)]
    pub future: bool,
    /// The choices, for kind `choice`.
    #[serde(default)]
    pub choices: Vec<String>,
}

/// A node of the taxonomy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// Its id, such as `fraud.investment`.
    pub id: String,
    /// Its name.
    pub title: Text,
    /// Its legal bases; at least one.
    pub legal_basis: Vec<LegalBasis>,
    /// The interests that it protects; at least one.
    pub protects: Vec<Interest>,
    /// Its urgency.
    pub urgency: Urgency,
    /// Whether a narrative is required.
    pub narrative: Need,
    /// Whether evidence is accepted.
    pub evidence: Evidence,
    /// The reason if evidence is refused.
    #[serde(default)]
    pub evidence_refusal: Option<Text>,
    /// Whether the act is a publication about someone.
    #[serde(default)]
    pub publication: bool,
    /// Minimum number of subjects.
    #[serde(default)]
    pub subjects: usize,
    /// Its details.
    #[serde(default)]
    pub details: Vec<Detail>,
    /// Retention after the end of the case, in days.
    pub retention_days: u32,
}

/// Why a category file does not load.
#[derive(Debug, thiserror::Error)]
pub enum CategoriesError {
    /// Not YAML of the expected structure. The text names line, column and field.
    #[error("category file: {0}")]
    Malformed(String),
    /// The categories violate rules; lists all faults.
    #[error("category file: {}", .0.join("; "))]
    Unlawful(Vec<String>),
}

/// The taxonomy.
#[derive(Clone, Debug)]
pub struct Categories {
    by_id: BTreeMap<String, Category>,
    choice_titles: BTreeMap<String, Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    categories: Vec<Spanned<Category>>,
    /// Labels of choices, by value: a value is called the same wherever it can be chosen.
    #[serde(default)]
    choice_titles: BTreeMap<String, Text>,
}

/// The built-in taxonomy.
const SHIPPED: &str = include_str!("../../../deploy/config/categories.yaml");

impl Categories {
    /// Loads the built-in taxonomy.
    pub fn shipped() -> Result<Self, CategoriesError> {
        Self::parse(SHIPPED)
    }

    /// Parses and validates a category file. If a category lacks a legal basis or a protected
    /// interest, the whole file is refused.
    pub fn parse(yaml: &str) -> Result<Self, CategoriesError> {
        let file: File = handwritten::read(yaml).map_err(|error| CategoriesError::Malformed(error.to_string()))?;
        let mut faults = Vec::new();
        let mut categories = BTreeMap::new();
        for Spanned {
            value: category,
            referenced: at,
            ..
        } in file.categories
        {
            check(at, &category, &mut faults);
            if let Some(twice) = categories.insert(category.id.clone(), category) {
                faults.push(format!("{}: category `{}` occurs twice", place(at), twice.id));
            }
        }
        if categories.is_empty() {
            faults.push("it has no categories".to_owned());
        }
        let details = || categories.values().flat_map(|category| &category.details);
        for value in file.choice_titles.keys() {
            if !details().any(|detail| detail.choices.contains(value)) {
                faults.push(format!(
                    "`choice_titles` has `{value}`, which no detail has as a choice"
                ));
            }
        }
        if faults.is_empty() {
            Ok(Self {
                by_id: categories,
                choice_titles: file.choice_titles,
            })
        } else {
            Err(CategoriesError::Unlawful(faults))
        }
    }

    /// The category with an id.
    pub fn get(&self, id: &str) -> Option<&Category> {
        self.by_id.get(id)
    }

    /// All categories, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Category> {
        self.by_id.values()
    }

    /// The categories with an id behind this one, by id; all for `None`.
    pub fn after(&self, id: Option<&str>) -> impl Iterator<Item = &Category> {
        let after = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id
            .range::<str, _>((after, Bound::Unbounded))
            .map(|(_, category)| category)
    }

    /// The label of a choice; `None` if the file has none.
    pub fn choice_title(&self, value: &str) -> Option<&Text> {
        self.choice_titles.get(value)
    }
}

fn check(at: Location, category: &Category, faults: &mut Vec<String>) {
    let mut fault = |text: String| faults.push(format!("{}: category `{}` {text}", place(at), category.id));
    let is_id = |id: &str| {
        !id.is_empty()
            && id.split('.').all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
            })
    };
    if !is_id(&category.id) {
        fault("must have an id of lower-case words, joined by dots".to_owned());
    }
    if category.legal_basis.is_empty() {
        fault("cites no law: name in `legal_basis` what makes the act reportable".to_owned());
    }
    for basis in &category.legal_basis {
        if basis.law.trim().is_empty() || basis.articles.trim().is_empty() {
            fault("cites a law without title or articles".to_owned());
        }
    }
    let labels = category.details.iter().map(|detail| &detail.title);
    let titles = labels.chain([&category.title]).flat_map(|title| [&title.zh, &title.en]);
    let laws = category
        .legal_basis
        .iter()
        .flat_map(|basis| [&basis.law, &basis.articles]);
    if let Some(refused) = titles.chain(laws).find_map(|text| control(text, Form::Line)) {
        fault(format!("has {} in a title or a law; remove it", called(refused)));
    }
    if category.protects.is_empty() {
        fault("names no protected interest in `protects`".to_owned());
    }
    if category.evidence == Evidence::Refused && category.evidence_refusal.is_none() {
        fault("refuses evidence without a reason in `evidence_refusal`".to_owned());
    }
    let mut paths = BTreeSet::new();
    for detail in &category.details {
        if !is_id(&detail.path) || !paths.insert(&detail.path) {
            fault(format!(
                "has a detail `{}` whose path is malformed or occurs twice",
                detail.path
            ));
        }
        if (detail.kind == DetailKind::Choice) == detail.choices.is_empty() {
            fault(format!(
                "has a detail `{}`: kind `choice` requires choices, and other kinds forbid them",
                detail.path
            ));
        }
        if detail.future && detail.kind != DetailKind::Timestamp {
            fault(format!(
                "has a detail `{}`: only kind `timestamp` may lie in the future",
                detail.path
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "
categories:
  - id: gambling
    title: {zh: 网络赌博, en: Online gambling}
    legal_basis:
      - {law: 刑法, articles: '303', version: '2023-12-29'}
    protects: [property]
    urgency: routine
    narrative: optional
    evidence: accepted
    retention_days: 730
";

    #[test]
    fn the_shipped_taxonomy_loads() {
        let categories = Categories::shipped().unwrap();
        assert!(categories.iter().count() >= 29);
        assert_eq!(
            categories.get("child-sexual-abuse-material").unwrap().evidence,
            Evidence::Refused
        );
    }

    #[test]
    fn every_shipped_choice_has_a_label() {
        let categories = Categories::shipped().unwrap();
        let details = categories.iter().flat_map(|category| &category.details);
        let unnamed: Vec<_> = details
            .flat_map(|detail| &detail.choices)
            .filter(|choice| categories.choice_title(choice).is_none())
            .collect();
        assert!(unnamed.is_empty(), "{unnamed:?}");
    }

    #[test]
    fn a_category_without_law_or_interest_does_not_load() {
        Categories::parse(ONE).unwrap();
        for (from, to, expected) in [
            (
                "legal_basis:\n      - {law: 刑法, articles: '303', version: '2023-12-29'}",
                "legal_basis: []",
                "cites no law",
            ),
            ("law: 刑法", "law: ''", "cites a law without title"),
            (
                "law: 刑法",
                "law: \"刑\\n法\"",
                "has a line break (U+000A) in a title or a law",
            ),
            (
                "en: Online gambling",
                "en: \"Online\\tgambling\"",
                "in a title or a law",
            ),
            (
                "en: Online gambling",
                "en: \"Online\\e gambling\"",
                "control character (U+001B)",
            ),
            ("protects: [property]", "protects: []", "names no protected interest"),
            ("protects: [property]", "protects: [public-order]", "public-order"),
            ("    protects: [property]\n", "", "protects"),
            ("id: gambling", "id: Gambling!", "must have an id"),
            (
                "evidence: accepted",
                "evidence: refused",
                "refuses evidence without a reason",
            ),
            ("urgency: routine", "urgency: routine\n    ethnicity: true", "ethnicity"),
            ("categories:", "categories: []\nnone:", "none"),
            (
                "categories:",
                "choice_titles: {cash: {zh: 现金, en: Cash}}\ncategories:",
                "`choice_titles` has `cash`, which no detail has",
            ),
            (
                "urgency: routine",
                "urgency: routine\n    evidence_refusal:",
                "line 9, column 5: `evidence_refusal` has no value",
            ),
            (
                "urgency: routine",
                "urgency: routine\n    details: ~",
                "line 9, column 5: `details` has no value",
            ),
            (
                "retention_days: 730",
                "retention_days: 730\n    details: [{path: a, kind: integer, future: true, required: false, title: {zh: 甲, en: a}}]",
                "only kind `timestamp`",
            ),
        ] {
            assert!(ONE.contains(from), "{from}");
            let error = Categories::parse(&ONE.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        let twice = format!("{ONE}{}", ONE.replace("categories:\n", ""));
        assert!(
            Categories::parse(&twice)
                .unwrap_err()
                .to_string()
                .contains("occurs twice")
        );
    }
}
