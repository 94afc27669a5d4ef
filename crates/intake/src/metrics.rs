//! What intake measures: reports by category, and evidence. No label says who sent something.

use std::time::Duration;

use journal::Time;
use rpc::Failure;
use telemetry::metrics::{Counter, Histogram, Known, Label, LabelInfo, Level, Values};

use crate::{
    category::Categories,
    store::{UnconfirmedTally, evidence::Tally},
};

/// Boundaries for sizes of files in bytes, from a text to a video.
const FILE_SIZES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

telemetry::instruments! {
    /// The instruments of intake.
    pub struct Instruments {
        /// Submitted reports, by category and what became of them. A repeated request counts again.
        reports: Counter<(Category, Outcome)> = ("remit.reports", "{report}"),
        /// Sizes of the evidence files that were taken in; their sum is its volume.
        evidence: Histogram<()> = ("remit.evidence.size", "By", FILE_SIZES),
        /// Senders that have confirmed what became of their reports before, and have not confirmed
        /// all of it now.
        unconfirmed: Level<()> = ("remit.reports.unconfirmed.senders", "{sender}"),
        /// Time since the first of what they have not confirmed was recorded.
        unconfirmed_age: Level<()> = ("remit.reports.unconfirmed.age", "s"),
        /// Files that no report refers to yet.
        unattached: Level<()> = ("remit.evidence.unattached", "{file}"),
        /// Files that should have been removed by now.
        overdue: Level<()> = ("remit.evidence.overdue", "{file}"),
        /// Time since the first of them should have been removed.
        overdue_age: Level<()> = ("remit.evidence.overdue.age", "s"),
        /// Bytes free where evidence is stored, the reserve included.
        free: Level<()> = ("remit.evidence.free", "By"),
    }
}

/// Most categories that are told apart.
const MOST: usize = 1_024;
static KNOWN: Known = Known::new(MOST);

/// The category of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Category(&'static str);

impl Label for Category {
    const INFO: LabelInfo = LabelInfo {
        key: "remit.category",
        values: Values::AtMost(MOST, "ids of the categories in `files.categories`"),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

telemetry::label! {
    /// What became of a submitted report.
    pub enum Outcome("remit.submission") {
        /// It was accepted, now or by an earlier request with the same id.
        Accepted = "accepted",
        /// It was only to be validated, and is valid.
        Validated = "validated",
        /// It is not as it must be.
        Invalid = "invalid",
        /// Its sender may not do so.
        Denied = "denied",
        /// It was not taken now; a repeat may be.
        Postponed = "postponed",
        /// It failed for a reason of ours.
        Failed = "failed",
    }
}

/// The categories that reports can have.
pub(crate) fn learn(categories: &Categories) {
    KNOWN.learn(categories.iter().map(|category| category.id.as_str()));
}

/// A report of this category was submitted.
pub(crate) fn submitted(category: &str, validate_only: bool, failure: Option<&Failure>) {
    let category = Category(KNOWN.get(names::Collection::CATEGORIES.id(category).unwrap_or_default()));
    let outcome = match failure {
        None if validate_only => Outcome::Validated,
        None => Outcome::Accepted,
        Some(Failure::InvalidInput(_) | Failure::RequestIdReused | Failure::ExternalIdReused { .. }) => {
            Outcome::Invalid
        }
        Some(Failure::Denied { .. } | Failure::Unauthenticated) => Outcome::Denied,
        Some(Failure::Overloaded | Failure::StorageFull | Failure::DeadlineExceeded | Failure::Unavailable { .. }) => {
            Outcome::Postponed
        }
        Some(_) => Outcome::Failed,
    };
    Instruments::get().reports.add(1, (category, outcome));
}

/// A file of this size was taken in.
pub(crate) fn stored(bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "files are smaller than 2^53 bytes")]
    Instruments::get().evidence.record(bytes as f64, ());
}

/// What waits in the evidence storage, and what is free there.
pub(crate) fn looked(tally: &Tally, free: Option<u64>, now: Time) {
    let this = Instruments::get();
    this.unattached.set(tally.unattached, ());
    this.overdue.set(tally.overdue, ());
    match tally.overdue_since {
        Some(since) => this.overdue_age.age(between(since, now), ()),
        None => this.overdue_age.forget(()),
    }
    match free {
        Some(free) => this.free.set(free, ()),
        None => this.free.forget(()),
    }
}

/// What senders have not confirmed.
pub(crate) fn unconfirmed(tally: &UnconfirmedTally, now: Time) {
    let this = Instruments::get();
    this.unconfirmed.set(tally.senders, ());
    match tally.since {
        Some(since) => this.unconfirmed_age.age(between(since, now), ()),
        None => this.unconfirmed_age.forget(()),
    }
}

fn between(earlier: Time, later: Time) -> Duration {
    Duration::from_micros(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Categories come from requests, and everything may stand there.
    #[test]
    fn random_categories_make_no_series() {
        let categories = Categories::shipped().unwrap();
        learn(&categories);
        assert!(categories.iter().count() < MOST);
        let known = categories.iter().next().unwrap().id.clone();
        let mut names = vec![format!("categories/{known}"), known, String::new()];
        names.extend((0..1_000).map(|number| format!("categories/{number:x}.é{number}")));
        for name in &names {
            submitted(name, false, Some(&Failure::invalid("report.category", "unknown")));
        }
        let text = telemetry::metrics::text().unwrap();
        let series: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("remit_reports_total{"))
            .collect();
        assert_eq!(series.len(), 2, "{series:?}");
        let others = series
            .iter()
            .find(|line| line.contains("remit_category=\"_OTHER\""))
            .unwrap();
        // An id without its collection is no name of a category.
        assert!(others.ends_with(" 1002"), "{others}");
    }
}
