//! What the log measures: its growth, its checkpoints, and what its producers did wrong.
//!
//! Only the process that writes the log has these; one that was fenced forgets them.

use std::{sync::Weak, time::Duration};

use journal::Time;
use telemetry::{
    conventions::OTHER,
    metrics::{Counter, Histogram, Label, LabelInfo, Level, SECONDS, SERVICES, Values},
};

use crate::{
    check::{AppendRefusal, Verdict},
    gap::Gap,
    producer::{Producer, Standing},
    vitals::Vitals,
};

telemetry::instruments! {
    /// The instruments of the log.
    pub struct Instruments {
        /// Changes that producers sent, by what became of them.
        changes: Counter<(Source, Outcome)> = ("remit.log.changes", "{change}"),
        /// Durable entries, when the log was last looked at to be published.
        size: Level<()> = ("remit.log.size", "{entry}"),
        /// Entries that the newest published checkpoint covers.
        published: Level<()> = ("remit.log.published.size", "{entry}"),
        /// Time since the newest checkpoint was signed and published; a quiet log is signed again too.
        checkpoint_age: Level<()> = ("remit.log.checkpoint.age", "s"),
        /// Time to sign, have cosigned and publish a checkpoint.
        publish_time: Histogram<(Publication,)> = ("remit.log.publish.time", "s", SECONDS),
        /// Witnesses that did not cosign the last checkpoint, even if enough others did.
        silent: Level<()> = ("remit.log.witnesses.silent", "{witness}"),
        /// Whether this process writes the log and may sign it: 1, or 0 once it had to stop.
        writes: Level<()> = ("remit.log.writes", "{process}"),
        /// Gaps that no operator has examined, counted up to 1,000.
        gaps: Level<()> = ("remit.log.gaps", "{gap}"),
        /// Time since the first of them was found.
        gaps_age: Level<()> = ("remit.log.gaps.age", "s"),
        /// Whether the producer is frozen because its past has changed: 1, or 0.
        frozen: Level<(Source,)> = ("remit.log.producer.frozen", "{producer}"),
        /// Whether the producer's events arrive late: 1, or 0.
        late: Level<(Source,)> = ("remit.log.producer.late", "{producer}"),
        /// Whether the log lacks events of the producer, or has others than the producer: 1, or 0.
        lost: Level<(Source,)> = ("remit.log.producer.lost", "{producer}"),
    }
}

/// A producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(&'static str);

impl Label for Source {
    const INFO: LabelInfo = LabelInfo {
        key: "remit.producer",
        values: Values::Of(|| SERVICES.into_iter().chain([OTHER]).collect()),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

impl Source {
    fn named(name: &str) -> Self {
        Self(SERVICES.into_iter().find(|known| *known == name).unwrap_or(OTHER))
    }
}

telemetry::label! {
    /// What became of a change.
    pub enum Outcome("remit.verdict") {
        /// It is in the log.
        Recorded = "recorded",
        /// Refused: it was too large.
        TooLarge = "too-large",
        /// Refused: it was not canonical.
        Malformed = "malformed",
        /// Refused: it was another's.
        WrongSource = "wrong-source",
        /// Refused: it did not match its commitments.
        CommitmentMismatch = "commitment-mismatch",
        /// Refused until an earlier one has come.
        OutOfOrder = "out-of-order",
        /// Refused: it did not continue its record.
        BrokenLink = "broken-link",
        /// Refused: its id had been used.
        EventIdReused = "event-id-reused",
        /// Refused: its producer is frozen.
        Frozen = "frozen",
    }
}

telemetry::label! {
    /// How an attempt to publish ended.
    pub enum Publication("remit.publication") {
        /// A checkpoint is published.
        Published = "published",
        /// It is not, and will be tried again.
        Failed = "failed",
    }
}

impl From<&Verdict> for Outcome {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Ok(_) => Self::Recorded,
            Err(AppendRefusal::TooLarge) => Self::TooLarge,
            Err(AppendRefusal::Malformed) => Self::Malformed,
            Err(AppendRefusal::WrongSource) => Self::WrongSource,
            Err(AppendRefusal::CommitmentMismatch) => Self::CommitmentMismatch,
            Err(AppendRefusal::OutOfOrder) => Self::OutOfOrder,
            Err(AppendRefusal::BrokenLink) => Self::BrokenLink,
            Err(AppendRefusal::EventIdReused) => Self::EventIdReused,
            Err(AppendRefusal::Frozen) => Self::Frozen,
        }
    }
}

/// A producer's changes were judged.
pub(crate) fn judged<'a>(source: &str, verdicts: impl IntoIterator<Item = &'a Verdict>) {
    let (changes, source) = (&Instruments::get().changes, Source::named(source));
    let mut recorded = 0;
    for verdict in verdicts {
        match Outcome::from(verdict) {
            Outcome::Recorded => recorded += 1,
            refused => changes.add(1, (source, refused)),
        }
    }
    if recorded > 0 {
        changes.add(recorded, (source, Outcome::Recorded));
    }
}

/// Shows whether this process writes the log, as long as it has one.
pub(crate) fn watch(vitals: Weak<Vitals>) {
    let writes = move || Some(f64::from(u8::from(!vitals.upgrade()?.halted.is_cancelled())));
    Instruments::get().writes.watch((), writes);
}

/// The log has this many entries.
pub(crate) fn grown(size: u64) {
    Instruments::get().size.set(size, ());
}

/// The newest checkpoint covers this many, and was published so long ago.
pub(crate) fn published(size: u64, ago: Duration) {
    let this = Instruments::get();
    this.published.set(size, ());
    this.checkpoint_age.age(ago, ());
}

/// An attempt to publish took this long.
pub(crate) fn attempted(took: Duration, is_published: bool) {
    let publication = match is_published {
        true => Publication::Published,
        false => Publication::Failed,
    };
    Instruments::get().publish_time.took(took, (publication,));
}

/// So many witnesses did not cosign.
pub(crate) fn silent(witnesses: usize) {
    Instruments::get().silent.set(witnesses as u64, ());
}

/// This process publishes no more.
pub(crate) fn rests() {
    let this = Instruments::get();
    for level in [&this.size, &this.published, &this.checkpoint_age, &this.silent] {
        level.forget(());
    }
}

/// What operators must examine.
pub(crate) fn reviewed(gaps: &[Gap], producers: &[(String, Producer)], now: Time) {
    let this = Instruments::get();
    let open: Vec<_> = gaps.iter().filter(|gap| gap.examined.is_none()).collect();
    this.gaps.set(open.len() as u64, ());
    match open.iter().map(|gap| gap.since).min() {
        Some(since) => this.gaps_age.age(since_then(since, now), ()),
        None => this.gaps_age.forget(()),
    }
    for (name, producer) in producers {
        let labels = (Source::named(name),);
        let standing = producer.standing;
        this.frozen.set(producer.frozen.is_some().into(), labels);
        this.late.set((standing == Standing::Late).into(), labels);
        let is_lost = matches!(standing, Standing::Lost | Standing::Different | Standing::Ahead);
        this.lost.set(is_lost.into(), labels);
    }
}

/// This process reviews no more.
pub(crate) fn reviews_no_more() {
    let this = Instruments::get();
    this.gaps.forget(());
    this.gaps_age.forget(());
    for name in SERVICES.into_iter().chain([OTHER]) {
        for level in [&this.frozen, &this.late, &this.lost] {
            level.forget((Source(name),));
        }
    }
}

/// Time since; none if the clock went back.
pub(crate) fn since_then(then: Time, now: Time) -> Duration {
    Duration::from_micros(u64::try_from(now.0.saturating_sub(then.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::GapKind;

    /// One test, because the process has one log.
    #[test]
    fn what_operators_must_examine_is_measured_until_another_process_does_it() {
        const NOW: Time = Time(1_795_305_600_000_000);
        let number = |series: &str| {
            let text = telemetry::metrics::text().unwrap();
            text.lines()
                .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse::<f64>().ok())
        };
        let gap = |seconds: i64, examined| Gap {
            kind: GapKind::Fork,
            key: "reports/a".to_owned(),
            source: "intake".to_owned(),
            record: "reports/a".to_owned(),
            first_sequence: 1,
            last_sequence: 1,
            event_id: String::new(),
            since: NOW.plus_seconds(-seconds),
            attempts: 1,
            examined,
        };
        let producer = |name: &str, standing, frozen| {
            let producer = Producer {
                standing,
                frozen,
                ..Producer::default()
            };
            (name.to_owned(), producer)
        };
        let gaps = [gap(60, None), gap(100, None), gap(5_000, Some(NOW))];
        // A name that no service has is somebody's own word.
        let producers = [
            producer("intake", Standing::Different, Some(NOW)),
            producer("routing", Standing::Late, None),
            producer("CANARY", Standing::Complete, None),
        ];
        reviewed(&gaps, &producers, NOW);
        assert_eq!(
            number("remit_log_gaps"),
            Some(2.0),
            "what was examined is no gap any more"
        );
        assert!((100.0..200.0).contains(&number("remit_log_gaps_age_seconds").unwrap()));
        for (metric, producer, expected) in [
            ("frozen", "intake", 1.0),
            ("lost", "intake", 1.0),
            ("late", "intake", 0.0),
            ("frozen", "routing", 0.0),
            ("late", "routing", 1.0),
            ("lost", "routing", 0.0),
            ("lost", OTHER, 0.0),
        ] {
            let series = format!("remit_log_producer_{metric}{{remit_producer=\"{producer}\"}}");
            assert_eq!(number(&series), Some(expected), "{series}");
        }
        assert!(!telemetry::metrics::text().unwrap().contains("CANARY"));
        judged("intake", &[Ok(1), Ok(2), Err(AppendRefusal::BrokenLink)]);
        let changes = |verdict: &str| {
            number(&format!(
                "remit_log_changes_total{{remit_producer=\"intake\",remit_verdict=\"{verdict}\"}}"
            ))
        };
        assert_eq!((changes("recorded"), changes("broken-link")), (Some(2.0), Some(1.0)));

        reviewed(&[], &producers, NOW);
        assert_eq!(
            (number("remit_log_gaps"), number("remit_log_gaps_age_seconds")),
            (Some(0.0), None)
        );
        reviews_no_more();
        assert_eq!(number("remit_log_gaps"), None);
        assert_eq!(number("remit_log_producer_frozen{remit_producer=\"intake\"}"), None);
    }
}
