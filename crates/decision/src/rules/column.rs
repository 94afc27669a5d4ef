//! Columns: what rows can require of facts.

use std::{borrow::Cow, fmt};

use api::intake::{ReporterRelation, SubjectKind, VictimKind};
use places::{Country, TerritoryCode};

use crate::factor::Factor;

/// A yes-or-no property of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// The act is a publication about someone.
    Publication,
}

impl Flag {
    /// All flags.
    pub const ALL: [Self; 1] = [Self::Publication];

    /// The name in rule sets.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publication => "publication",
        }
    }
}

/// A column of the table. Columns are evaluated in this order, and a row's first failure is
/// reported by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// The category.
    Category,
    /// The place of a factor.
    Place(Factor),
    /// The loss.
    Loss,
    /// The age of the loss at acceptance.
    LossAge,
    /// Whether the category is urgent.
    Urgent,
    /// A flag.
    Flag(Flag),
    /// The kinds of the subjects.
    SubjectKind,
    /// The reporter's relation to the act.
    ReporterRelation,
    /// The kind of victim.
    VictimKind,
    /// A detail, by its path.
    Detail(String),
}

impl Column {
    /// The name in rule sets.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Category => "category".into(),
            Self::Place(factor) => factor.as_str().into(),
            Self::Loss => "loss".into(),
            Self::LossAge => "loss_age".into(),
            Self::Urgent => "urgent".into(),
            Self::Flag(flag) => flag.as_str().into(),
            Self::SubjectKind => "subject_kind".into(),
            Self::ReporterRelation => "reporter_relation".into(),
            Self::VictimKind => "victim_kind".into(),
            Self::Detail(path) => format!("details.{path}").into(),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A condition on one column. Lists are ascending, without duplicates and not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The category is one of these or below one.
    Category(Vec<String>),
    /// A place meets the description.
    Place(Factor, PlaceIs),
    /// The loss is in this currency, at least the second value and less than the third, in minor
    /// units.
    Loss(String, i64, Option<i64>),
    /// The time of the loss is known and at most this many seconds ago.
    LossAge(i64),
    /// The category is urgent, or is not.
    Urgent(bool),
    /// A flag is set, or is not.
    Flag(Flag, bool),
    /// At least one subject is of one of these kinds.
    SubjectKind(Vec<SubjectKind>),
    /// The reporter's relation is one of these.
    ReporterRelation(Vec<ReporterRelation>),
    /// The victim is of one of these kinds.
    VictimKind(Vec<VictimKind>),
    /// The detail at this path has one of these values.
    Detail(String, Vec<String>),
}

/// Allowed places; any alternative suffices, and at least one is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlaceIs {
    /// In one of these territories.
    pub within: Vec<TerritoryCode>,
    /// In one of these countries outside the tree.
    pub countries: Vec<Country>,
    /// In any country outside the tree.
    pub abroad: bool,
    /// The report has no usable place of this factor.
    pub absent: bool,
}

impl Condition {
    /// The column of the condition.
    #[must_use]
    pub fn column(&self) -> Column {
        match self {
            Self::Category(_) => Column::Category,
            Self::Place(factor, _) => Column::Place(*factor),
            Self::Loss(..) => Column::Loss,
            Self::LossAge(_) => Column::LossAge,
            Self::Urgent(_) => Column::Urgent,
            Self::Flag(flag, _) => Column::Flag(*flag),
            Self::SubjectKind(_) => Column::SubjectKind,
            Self::ReporterRelation(_) => Column::ReporterRelation,
            Self::VictimKind(_) => Column::VictimKind,
            Self::Detail(path, _) => Column::Detail(path.clone()),
        }
    }
}
