//! Rows as boxes: for each column, the classes of values that satisfy the row (`table.rs`).
//!
//! What rows take from each other is computed exactly, by subtracting boxes from boxes.

use super::table::{Classes, all_classes};
use super::{Column, Row};

/// Limit on the pieces a box may be split into. Beyond it, the remainder counts as non-empty.
const PIECES: usize = 1_000;

/// Subtracts a box from boxes; `None` if there are too many pieces.
pub(super) fn take_out(from: Vec<RowBox>, by: &[Set]) -> Option<Vec<RowBox>> {
    let mut left = Vec::with_capacity(from.len());
    for mut piece in from {
        if !meet(&piece, by) {
            left.push(piece);
            continue;
        }
        for column in 0..piece.len() {
            let outside = piece[column].without(&by[column]);
            if !outside.is_empty() {
                let mut part = piece.clone();
                part[column] = outside;
                left.push(part);
            }
            piece[column] = piece[column].and(&by[column]);
        }
    }
    (left.len() <= PIECES).then_some(left)
}

pub(super) fn meet(one: &[Set], other: &[Set]) -> bool {
    one.iter().zip(other).all(|(one, other)| one.meets(other))
}

fn contains(wide: &[Set], narrow: &[Set]) -> bool {
    wide.iter()
        .zip(narrow)
        .all(|(wide, narrow)| narrow.without(wide).is_empty())
}

/// The classes that satisfy a row, by column.
pub(super) type RowBox = Vec<Set>;

fn row_box(classes: &[(Column, Classes)], row: &Row) -> RowBox {
    let of_column = |(column, classes): &(Column, Classes)| {
        let condition = row.conditions.iter().find(|condition| condition.column() == *column);
        let satisfied = |class: &usize| condition.is_none_or(|condition| classes.satisfies(*class, condition));
        Set::of(classes.count(), (0..classes.count()).filter(satisfied))
    };
    classes.iter().map(of_column).collect()
}

/// The boxes of all rows.
pub(super) struct Boxes {
    pub(super) classes: Vec<(Column, Classes)>,
    pub(super) boxes: Vec<RowBox>,
}

impl Boxes {
    /// The boxes of rows in order of priority.
    pub(super) fn new(rows: &[Row]) -> Self {
        let classes = all_classes(rows);
        Self {
            boxes: rows.iter().map(|row| row_box(&classes, row)).collect(),
            classes,
        }
    }

    /// The earlier rows that together cover a row; empty if something is left for it.
    pub(super) fn taking(&self, at: usize) -> Vec<usize> {
        let own = &self.boxes[at];
        let meeting = || (0..at).filter(|other| meet(own, &self.boxes[*other]));
        if let Some(one) = meeting().find(|other| contains(&self.boxes[*other], own)) {
            return vec![one];
        }
        let left = meeting().try_fold(vec![own.clone()], |left, other| take_out(left, &self.boxes[other]));
        match left {
            Some(left) if left.is_empty() => meeting().collect(),
            _ => Vec::new(),
        }
    }

    /// How a piece differs from the whole, in words: one value for each narrower column.
    pub(super) fn words(&self, piece: &RowBox, whole: &RowBox, category: Option<usize>) -> String {
        let narrower = (0..piece.len()).filter(|at| Some(*at) != category && piece[*at] != whole[*at]);
        let words = narrower.filter_map(|at| {
            let (column, classes) = &self.classes[at];
            piece[at]
                .first()
                .map(|class| format!("{column} is {}", classes.words(class)))
        });
        words.collect::<Vec<_>>().join(" and ")
    }
}

/// A set of classes of one column. All sets of a column have the same length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set(Vec<u64>);

impl Set {
    /// A set of some of `count` classes.
    pub(super) fn of(count: usize, classes: impl Iterator<Item = usize>) -> Self {
        let mut words = vec![0; count.div_ceil(64)];
        for class in classes {
            words[class / 64] |= 1 << (class % 64);
        }
        Self(words)
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(one, two)| one & two != 0)
    }

    fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, two)| one & two).collect())
    }

    fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, two)| one & !two).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn first(&self) -> Option<usize> {
        let (at, word) = self.0.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(at * 64 + word.trailing_zeros() as usize)
    }
}
