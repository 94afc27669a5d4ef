//! The compiled table: for each value of a column, the rows it leaves, as bitmaps.
//!
//! The values of each column fall into classes that the table's rows do not distinguish: the loss
//! into bands between the rows' bounds, a territory into the nearest one that a row refers to, and
//! so on. Each class has a bitmap of the rows that it satisfies, with one bit per row in order of
//! priority. A decision looks up one class per column, ANDs the bitmaps, and takes the first bit.
//! The remainder after each column is kept: a row's first failed column is the first one in whose
//! remainder it is missing.
//!
//! The finite number of classes is also the basis of [`super::check`], which compares rows class by
//! class.

use api::intake::{ReporterRelation, SubjectKind, VictimKind};
use places::{Country, OnDay, TerritoryCode};

use super::names::{kind_name, relation_name, victim_name};
use super::{Column, Condition, Flag, PlaceIs, Row};
use crate::category::is_within;
use crate::factor::Factor;
use crate::facts::{Given, Places, Situation};

/// Rows per word.
const WORD: usize = u64::BITS as usize;

/// All columns in which the table has conditions.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Words per bitmap.
    words: usize,
    /// Ascending.
    columns: Vec<Indexed>,
    /// The bitmaps of all columns, class by class.
    bits: Vec<u64>,
}

/// A column and the start of its bitmaps.
#[derive(Debug, Clone)]
struct Indexed {
    column: Column,
    classes: Classes,
    first: usize,
}

/// The matching row, and the data to say why earlier rows did not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    row: usize,
    words: usize,
    /// The rows left after each column.
    left: Vec<u64>,
}

impl Matched {
    /// Index of the row, from 0.
    #[must_use]
    pub const fn row(&self) -> usize {
        self.row
    }

    /// For each row up to the matching one, the number of the first column that failed, from 1 in
    /// the order of [`super::RuleSet::columns`]; 0 for the matching row.
    pub fn failed(&self) -> Vec<u8> {
        let mut failed = vec![0; self.row + 1];
        let mut held = vec![u64::MAX; self.words];
        for (column, left) in self.left.chunks_exact(self.words).enumerate() {
            let number = u8::try_from(column + 1).unwrap_or(u8::MAX);
            for (word, (held, left)) in held.iter_mut().zip(left).enumerate() {
                // Each row is lost once: the remainders only shrink.
                let mut lost = *held & !left;
                *held = *left;
                while lost != 0 {
                    let row = word * WORD + lost.trailing_zeros() as usize;
                    lost &= lost - 1;
                    match failed.get_mut(row) {
                        Some(failed) => *failed = number,
                        None => break,
                    }
                }
            }
        }
        failed
    }
}

impl Table {
    pub(super) fn compile(rows: &[Row]) -> Self {
        let words = rows.len().div_ceil(WORD);
        let mut table = Self {
            words,
            columns: Vec::new(),
            bits: Vec::new(),
        };
        for (column, classes) in all_classes(rows) {
            let first = table.bits.len();
            let count = classes.count();
            table.bits.resize(first + count * words, 0);
            for (at, row) in rows.iter().enumerate() {
                let condition = row.conditions.iter().find(|condition| condition.column() == column);
                for class in 0..count {
                    if condition.is_none_or(|condition| classes.satisfies(class, condition)) {
                        table.bits[first + class * words + at / WORD] |= 1 << (at % WORD);
                    }
                }
            }
            table.columns.push(Indexed { column, classes, first });
        }
        table
    }

    pub(super) fn columns(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.columns.iter().map(|indexed| &indexed.column)
    }

    pub(super) fn find(&self, situation: &Situation<'_>, places: &Places<'_>, tree: OnDay<'_>) -> Matched {
        let words = self.words;
        let mut left: Vec<u64> = Vec::with_capacity(self.columns.len() * words);
        for indexed in &self.columns {
            let from = indexed.first + indexed.classes.class_of(situation, places, tree) * words;
            let before = left.len().checked_sub(words);
            left.extend_from_slice(&self.bits[from..from + words]);
            if let Some(before) = before {
                let (earlier, now) = left.split_at_mut(before + words);
                for (word, earlier) in now.iter_mut().zip(&earlier[before..]) {
                    *word &= earlier;
                }
            }
        }
        // Only a table of one row has no columns, and the last row satisfies every class of every
        // column.
        let last = left.len().saturating_sub(words);
        let row = left[last..]
            .iter()
            .enumerate()
            .find(|(_, word)| **word != 0)
            .map_or(0, |(at, word)| at * WORD + word.trailing_zeros() as usize);
        Matched { row, words, left }
    }
}

/// The classes of every column in which the rows have conditions, ascending by column.
pub(super) fn all_classes(rows: &[Row]) -> Vec<(Column, Classes)> {
    let mut columns: Vec<Column> = rows
        .iter()
        .flat_map(|row| &row.conditions)
        .map(Condition::column)
        .collect();
    columns.sort();
    columns.dedup();
    columns
        .into_iter()
        .map(|column| {
            let classes = Classes::of(&column, rows);
            (column, classes)
        })
        .collect()
}

/// The classes of a column's values. Class 0 holds absent values and values that no row refers to.
#[derive(Debug, Clone)]
pub(super) enum Classes {
    /// Subtrees that rows refer to, ascending.
    Category(Vec<String>),
    Place {
        factor: Factor,
        /// Ascending.
        territories: Vec<TerritoryCode>,
        /// Ascending.
        countries: Vec<Country>,
    },
    /// Bounds by currency, ascending; the classes of one currency follow those of the previous one.
    Loss(Vec<(String, Vec<i64>)>),
    /// Bounds, ascending.
    LossAge(Vec<i64>),
    Urgent,
    Flag(Flag),
    /// Kinds that rows refer to. A class is a set of them: those of the facts.
    SubjectKind(Vec<SubjectKind>),
    ReporterRelation,
    VictimKind,
    /// Values that rows refer to, ascending.
    Detail(String, Vec<String>),
}

/// Places that rows refer to are class [`NAMED`] and above.
const ABSENT: usize = 0;
const ELSEWHERE: usize = 1;
const ABROAD: usize = 2;
const NAMED: usize = 3;

impl Classes {
    fn of(column: &Column, rows: &[Row]) -> Self {
        let conditions = || {
            rows.iter()
                .flat_map(|row| &row.conditions)
                .filter(|condition| condition.column() == *column)
        };
        match column {
            Column::Category => Self::Category(sorted(conditions().flat_map(|condition| match condition {
                Condition::Category(subtrees) => subtrees.clone(),
                _ => Vec::new(),
            }))),
            Column::Place(factor) => {
                let places = || {
                    conditions().filter_map(|condition| match condition {
                        Condition::Place(_, place) => Some(place),
                        _ => None,
                    })
                };
                Self::Place {
                    factor: *factor,
                    territories: sorted(places().flat_map(|place| place.within.iter().copied())),
                    countries: sorted(places().flat_map(|place| place.countries.iter().copied())),
                }
            }
            Column::Loss => {
                let bands: Vec<_> = conditions()
                    .filter_map(|condition| match condition {
                        Condition::Loss(currency, from, below) => Some((currency, *from, *below)),
                        _ => None,
                    })
                    .collect();
                let currencies = sorted(bands.iter().map(|(currency, ..)| (*currency).clone()));
                Self::Loss(
                    currencies
                        .into_iter()
                        .map(|currency| {
                            let of_currency = bands.iter().filter(|(other, ..)| **other == currency);
                            let bounds = of_currency.flat_map(|(_, from, below)| [Some(*from), *below]);
                            let bounds = sorted(bounds.flatten());
                            (currency, bounds)
                        })
                        .collect(),
                )
            }
            Column::LossAge => Self::LossAge(sorted(conditions().filter_map(|condition| match condition {
                Condition::LossAge(at_most) => Some(*at_most),
                _ => None,
            }))),
            Column::Urgent => Self::Urgent,
            Column::Flag(flag) => Self::Flag(*flag),
            Column::SubjectKind => {
                let mut kinds: Vec<SubjectKind> = Vec::new();
                for condition in conditions() {
                    if let Condition::SubjectKind(named) = condition {
                        kinds.extend(
                            named
                                .iter()
                                .filter(|kind| !kinds.contains(kind))
                                .copied()
                                .collect::<Vec<_>>(),
                        );
                    }
                }
                Self::SubjectKind(kinds)
            }
            Column::ReporterRelation => Self::ReporterRelation,
            Column::VictimKind => Self::VictimKind,
            Column::Detail(path) => {
                let values = conditions().flat_map(|condition| match condition {
                    Condition::Detail(_, values) => values.clone(),
                    _ => Vec::new(),
                });
                Self::Detail(path.clone(), sorted(values))
            }
        }
    }

    /// Number of classes.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Category(named) => 1 + named.len(),
            Self::Place {
                territories, countries, ..
            } => NAMED + territories.len() + countries.len(),
            Self::Loss(currencies) => 1 + currencies.iter().map(|(_, bounds)| bounds.len()).sum::<usize>(),
            Self::LossAge(bounds) => 1 + bounds.len(),
            Self::Urgent | Self::Flag(_) => 2,
            Self::SubjectKind(kinds) => 1 << kinds.len(),
            Self::ReporterRelation => RELATIONS.len(),
            Self::VictimKind => VICTIMS.len(),
            Self::Detail(_, values) => 1 + values.len(),
        }
    }

    /// The class of the facts.
    fn class_of(&self, situation: &Situation<'_>, places: &Places<'_>, tree: OnDay<'_>) -> usize {
        match self {
            Self::Category(named) => category_class(named, situation.category),
            Self::Place {
                factor,
                territories,
                countries,
            } => place_class(places.get(*factor), territories, countries, tree),
            Self::Loss(currencies) => {
                let mut before = 0;
                for (currency, bounds) in currencies {
                    if currency == situation.loss_currency {
                        let band = bounds.partition_point(|bound| *bound <= situation.loss_minor_units);
                        return if band == 0 { 0 } else { before + band };
                    }
                    before += bounds.len();
                }
                0
            }
            // Class n: at most as old as the n-th bound from the end.
            Self::LossAge(bounds) => situation
                .loss_age_seconds
                .map_or(0, |age| bounds.len() - bounds.partition_point(|bound| *bound < age)),
            Self::Urgent => usize::from(situation.urgent),
            Self::Flag(Flag::Publication) => usize::from(situation.publication),
            Self::SubjectKind(kinds) => kinds
                .iter()
                .enumerate()
                .filter(|(_, kind)| situation.subject_kinds.contains(kind))
                .map(|(at, _)| 1 << at)
                .sum(),
            Self::ReporterRelation => situation.reporter_relation as usize,
            Self::VictimKind => situation.victim_kind as usize,
            Self::Detail(path, values) => situation
                .detail(path)
                .and_then(|value| values.binary_search_by(|known| known.as_str().cmp(value)).ok())
                .map_or(0, |at| at + 1),
        }
    }

    /// Whether a condition of this column holds for the values of a class.
    pub(super) fn satisfies(&self, class: usize, condition: &Condition) -> bool {
        match (self, condition) {
            (Self::Category(named), Condition::Category(subtrees)) => class
                .checked_sub(1)
                .is_some_and(|at| subtrees.iter().any(|subtree| is_within(&named[at], subtree))),
            (
                Self::Place {
                    territories, countries, ..
                },
                Condition::Place(_, place),
            ) => place_holds(class, territories, countries, place),
            (Self::Loss(currencies), Condition::Loss(currency, from, below)) => {
                let mut first = 1;
                for (known, bounds) in currencies {
                    if let Some(low) = class.checked_sub(first).and_then(|at| bounds.get(at)) {
                        return known == currency && low >= from && below.is_none_or(|below| *low < below);
                    }
                    first += bounds.len();
                }
                false
            }
            (Self::LossAge(bounds), Condition::LossAge(at_most)) => {
                class > 0 && bounds[bounds.len() - class] <= *at_most
            }
            (Self::Urgent, Condition::Urgent(set)) | (Self::Flag(_), Condition::Flag(_, set)) => {
                class == usize::from(*set)
            }
            (Self::SubjectKind(kinds), Condition::SubjectKind(wanted)) => kinds
                .iter()
                .enumerate()
                .any(|(at, kind)| class >> at & 1 == 1 && wanted.contains(kind)),
            (Self::ReporterRelation, Condition::ReporterRelation(wanted)) => wanted.contains(&RELATIONS[class]),
            (Self::VictimKind, Condition::VictimKind(wanted)) => wanted.contains(&VICTIMS[class]),
            (Self::Detail(_, values), Condition::Detail(_, wanted)) => {
                class.checked_sub(1).is_some_and(|at| wanted.contains(&values[at]))
            }
            // Conditions are only evaluated on their own column's classes.
            _ => false,
        }
    }

    /// The values of a class, in words.
    pub(super) fn words(&self, class: usize) -> String {
        match self {
            Self::Category(named) => class.checked_sub(1).map_or("any other", |at| &named[at]).to_owned(),
            Self::Place {
                territories, countries, ..
            } => match class {
                ABSENT => "absent".to_owned(),
                ELSEWHERE => "in any other territory".to_owned(),
                ABROAD => "in any other country".to_owned(),
                _ => match territories.get(class - NAMED) {
                    Some(code) => format!("in {code}"),
                    None => format!("in {}", countries[class - NAMED - territories.len()]),
                },
            },
            Self::Loss(currencies) => {
                let bounds = currencies.iter().flat_map(|(currency, bounds)| {
                    bounds.iter().map(move |bound| format!("{currency} {bound} or more"))
                });
                class
                    .checked_sub(1)
                    .and_then(|at| bounds.into_iter().nth(at))
                    .unwrap_or_else(|| "none, or less".to_owned())
            }
            Self::LossAge(bounds) => match class {
                0 => "unknown, or longer ago".to_owned(),
                _ => format!("at most {} seconds", bounds[bounds.len() - class]),
            },
            Self::Urgent | Self::Flag(_) => (class == 1).to_string(),
            Self::SubjectKind(kinds) => {
                let named = kinds.iter().enumerate().filter(|(at, _)| class >> at & 1 == 1);
                let named: Vec<_> = named.map(|(_, kind)| kind_name(*kind)).collect();
                if named.is_empty() {
                    "any other".to_owned()
                } else {
                    named.join(" and ")
                }
            }
            Self::ReporterRelation => relation_name(RELATIONS[class]).to_owned(),
            Self::VictimKind => victim_name(VICTIMS[class]).to_owned(),
            Self::Detail(_, values) => class.checked_sub(1).map_or("any other", |at| &values[at]).to_owned(),
        }
    }
}

/// By number in the contract.
const RELATIONS: [ReporterRelation; 5] = [
    ReporterRelation::Unspecified,
    ReporterRelation::Victim,
    ReporterRelation::Representative,
    ReporterRelation::Bystander,
    ReporterRelation::Organisation,
];

/// By number in the contract.
const VICTIMS: [VictimKind; 4] = [
    VictimKind::Unspecified,
    VictimKind::Person,
    VictimKind::Organisation,
    VictimKind::PublicBody,
];

/// The nearest subtree that contains the category.
pub(super) fn category_class(named: &[String], category: &str) -> usize {
    let mut subtree = category;
    loop {
        if let Ok(at) = named.binary_search_by(|known| known.as_str().cmp(subtree)) {
            return at + 1;
        }
        match subtree.rsplit_once('.') {
            Some((above, _)) => subtree = above,
            None => return 0,
        }
    }
}

/// The nearest territory that contains a place, or its country.
fn place_class(given: Given<'_>, territories: &[TerritoryCode], countries: &[Country], tree: OnDay<'_>) -> usize {
    match given {
        Given::Absent | Given::RuledOut(_) | Given::Nationwide | Given::Unreadable(_) => ABSENT,
        Given::Abroad(country) => countries
            .binary_search(&country)
            .map_or(ABROAD, |at| NAMED + territories.len() + at),
        Given::Territory(code) => {
            let Some(resolved) = tree.resolve(code) else {
                return ABSENT;
            };
            tree.ancestors(resolved.code)
                .find_map(|above| territories.binary_search(&above).ok())
                .map_or(ELSEWHERE, |at| NAMED + at)
        }
    }
}

fn place_holds(class: usize, territories: &[TerritoryCode], countries: &[Country], place: &PlaceIs) -> bool {
    match class {
        ABSENT => place.absent,
        // Every place that a row refers to has its own class.
        ELSEWHERE => false,
        ABROAD => place.abroad,
        _ => match territories.get(class - NAMED) {
            Some(code) => place.within.iter().any(|wide| code.is_within(*wide)),
            None => place.abroad || place.countries.contains(&countries[class - NAMED - territories.len()]),
        },
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values.dedup();
    values
}
