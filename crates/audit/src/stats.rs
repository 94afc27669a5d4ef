//! Computes figures from entries and their details alone, so that whoever has an auditor's export
//! can recompute published ones. No I/O.
//!
//! * An agency's *changes* are those that it made of reports and cases. Its *readings* are counted
//!   separately.
//! * The *time to acknowledge* runs from the acceptance of the report that opened a case to the
//!   first acknowledgement by an agency. It counts for that agency, once per case.
//! * The *time to a result* runs from the same acceptance to the case's first resolution, or its
//!   closing without one. It counts for the agency that acknowledged last before that.
//! * The *median* of n times is the ⌈n/2⌉-th, the *p90* the ⌈0.9 n⌉-th in order (nearest rank): a
//!   time that really occurred.
//!
//! Times are those of the entries, days are UTC.

use std::collections::{BTreeMap, HashMap, HashSet};

use api::event::Detail;
use journal::{IntakeKind, Opened, RoutingKind, Time};
use names::Collection;
use uuid::Uuid;

// The kinds that count.
const REPORT_ACCEPTED: &str = IntakeKind::ReportAccepted.name();
const CASE_OPENED: &str = RoutingKind::CaseOpened.name();
const CASE_ACKNOWLEDGED: &str = RoutingKind::CaseAcknowledged.name();

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// The figures so far.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Changes.
    pub entries: u64,
    /// Entries of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Entries of each day, by days since 1970-01-01 UTC.
    pub days: BTreeMap<i64, u64>,
    /// By resource name.
    pub agencies: BTreeMap<String, Agency>,
    /// When each report was accepted, by the event of the acceptance.
    accepted: HashMap<Uuid, Time>,
    cases: HashMap<String, Case>,
}

/// The figures of an agency.
#[derive(Clone, Debug, Default)]
pub struct Agency {
    /// Its changes of reports and cases.
    pub changes: u64,
    /// Its readings of reports and of the log's details.
    pub readings: u64,
    /// Times to acknowledge, of the cases that it acknowledged.
    pub to_acknowledge: Times,
    /// Times to a result, of the cases that it led to one.
    pub to_result: Times,
}

#[derive(Clone, Debug)]
struct Case {
    accepted: Time,
    /// The agencies that acknowledged, and the last one.
    acknowledged: HashSet<String>,
    leads: Option<String>,
    has_result: bool,
}

/// A set of durations.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<i64>);

impl Times {
    /// Their number.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The median, in microseconds; `None` if there are none.
    pub fn median(&self) -> Option<i64> {
        self.rank(50)
    }

    /// The 90th percentile, in microseconds; `None` if there are none.
    pub fn p90(&self) -> Option<i64> {
        self.rank(90)
    }

    fn rank(&self, percent: usize) -> Option<i64> {
        let mut times = self.0.clone();
        times.sort_unstable();
        let rank = (times.len() * percent).div_ceil(100);
        times.get(rank.checked_sub(1)?).copied()
    }
}

impl Stats {
    /// Counts the next change of the log.
    pub fn add(&mut self, entry: &Opened, detail: &Detail) {
        self.entries += 1;
        *self.kinds.entry(entry.kind.clone()).or_default() += 1;
        *self.days.entry(entry.time.0.div_euclid(DAY)).or_default() += 1;
        let by = detail
            .actor
            .as_ref()
            .map(|actor| actor.agency.clone())
            .unwrap_or_default();
        if !by.is_empty() {
            let agency = self.agencies.entry(by.clone()).or_default();
            match Collection::READINGS.id(&entry.record).is_some() {
                true => agency.readings += 1,
                false => agency.changes += 1,
            }
        }
        match entry.kind.as_str() {
            REPORT_ACCEPTED => {
                self.accepted.insert(entry.event_id, entry.time);
            }
            CASE_OPENED => self.open(entry, detail),
            CASE_ACKNOWLEDGED => self.acknowledge(entry, by),
            _ => {}
        }
        if ["RESOLVED", "CLOSED"].contains(&detail.to_state.as_str()) {
            self.result(entry);
        }
    }

    fn open(&mut self, entry: &Opened, detail: &Detail) {
        let cause: Option<Uuid> = detail.caused_by.parse().ok();
        let accepted = cause.and_then(|event| self.accepted.get(&event)).copied();
        let case = Case {
            // A part of a log may lack the report: then count from the case's own opening.
            accepted: accepted.unwrap_or(entry.time),
            acknowledged: HashSet::new(),
            leads: None,
            has_result: false,
        };
        self.cases.insert(entry.record.clone(), case);
    }

    fn acknowledge(&mut self, entry: &Opened, by: String) {
        let Some(case) = self.cases.get_mut(&entry.record).filter(|_| !by.is_empty()) else {
            return;
        };
        if case.acknowledged.insert(by.clone()) {
            let taken = entry.time.0.saturating_sub(case.accepted.0);
            self.agencies
                .entry(by.clone())
                .or_default()
                .to_acknowledge
                .0
                .push(taken);
        }
        case.leads = Some(by);
    }

    fn result(&mut self, entry: &Opened) {
        let Some(case) = self.cases.get_mut(&entry.record).filter(|case| !case.has_result) else {
            return;
        };
        case.has_result = true;
        if let Some(agency) = &case.leads {
            let taken = entry.time.0.saturating_sub(case.accepted.0);
            self.agencies.entry(agency.clone()).or_default().to_result.0.push(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use api::event::Actor;
    use proptest::prelude::*;

    use super::*;

    const START: Time = Time(1_795_305_600_000_000);

    /// An entry: minutes from the start, record, kind, actor, state afterwards, and the numbers of
    /// the event and of its cause.
    type Told = (i64, &'static str, &'static str, &'static str, &'static str, u128, u128);

    fn told(story: &[Told]) -> Stats {
        let mut stats = Stats::default();
        for (minute, record, kind, agency, to_state, event, cause) in story {
            let entry = Opened {
                event_id: Uuid::from_u128(*event),
                source: "routing".to_owned(),
                record: (*record).to_owned(),
                sequence: 1,
                previous: [0; 32],
                kind: (*kind).to_owned(),
                time: START.plus_seconds(minute * 60),
                hash: [0; 32],
                detail: [0; 32],
            };
            let detail = Detail {
                to_state: (*to_state).to_owned(),
                caused_by: match cause {
                    0 => String::new(),
                    cause => Uuid::from_u128(*cause).to_string(),
                },
                actor: Some(Actor {
                    agency: (*agency).to_owned(),
                    ..Actor::default()
                }),
                ..Detail::default()
            };
            stats.add(&entry, &detail);
        }
        stats
    }

    #[test]
    fn figures_come_from_the_entries() {
        let stats = told(&[
            (0, "reports/a", "report.accepted", "", "ACCEPTED", 1, 0),
            (1, "cases/a", "case.opened", "", "ASSIGNED", 2, 1),
            (5, "reports/b", "report.accepted", "", "ACCEPTED", 3, 0),
            (6, "cases/b", "case.opened", "", "ASSIGNED", 4, 3),
            (30, "cases/a", "case.acknowledged", "agencies/x", "IN_PROGRESS", 5, 0),
            // Handed on and acknowledged by another; then again by the first, which counts once.
            (40, "cases/a", "case.acknowledged", "agencies/y", "IN_PROGRESS", 6, 0),
            (45, "cases/b", "case.acknowledged", "agencies/x", "IN_PROGRESS", 7, 0),
            (46, "cases/b", "case.acknowledged", "agencies/x", "IN_PROGRESS", 8, 0),
            (1_500, "cases/a", "case.resolved", "agencies/y", "RESOLVED", 9, 0),
            // Closing a resolved case is no second result.
            (1_600, "cases/a", "case.closed", "", "CLOSED", 10, 0),
            // Readings are no changes.
            (1_601, "readings/a", "report.read", "agencies/x", "", 11, 0),
            (1_602, "readings/b", "details.read", "agencies/x", "", 12, 0),
        ]);
        assert_eq!(stats.entries, 12);
        assert_eq!(stats.kinds["case.acknowledged"], 4);
        assert_eq!(stats.days.values().copied().collect::<Vec<_>>(), [8, 4]);
        let minutes = |time: Option<i64>| time.map(|time| time / 60_000_000);
        let (x, y) = (&stats.agencies["agencies/x"], &stats.agencies["agencies/y"]);
        assert_eq!((x.changes, y.changes), (3, 2));
        assert_eq!((x.readings, y.readings), (2, 0));
        assert_eq!(x.to_acknowledge.count(), 2);
        assert_eq!(
            (minutes(x.to_acknowledge.median()), minutes(x.to_acknowledge.p90())),
            (Some(30), Some(40))
        );
        assert_eq!(minutes(y.to_acknowledge.median()), Some(40));
        assert_eq!((x.to_result.count(), minutes(y.to_result.median())), (0, Some(1_500)));
    }

    #[test]
    fn ranks_are_the_nearest() {
        for (n, median, p90) in [(1, 1, 1), (2, 1, 2), (10, 5, 9), (11, 6, 10), (100, 50, 90)] {
            let times = Times((1..=n).rev().collect());
            assert_eq!((times.median(), times.p90()), (Some(median), Some(p90)), "{n}");
        }
        assert_eq!(Times::default().median(), None);
    }

    /// A case's history: when its report was accepted, who acknowledged when, and its states.
    type Life = (i64, Vec<(i64, u8)>, Vec<(i64, bool)>);

    const AGENCIES: [&str; 4] = ["agencies/a", "agencies/b", "agencies/c", "agencies/d"];

    /// The figures of some cases, straight from their definition.
    fn by_definition(lives: &[Life], agency: &str, result: bool) -> Vec<i64> {
        let mut times = Vec::new();
        for (accepted, acknowledged, ended) in lives {
            let mine = |(_, who): &&(i64, u8)| AGENCIES[usize::from(*who)] == agency;
            let end = ended.iter().map(|(minute, _)| *minute).min();
            let taken = match result {
                false => acknowledged.iter().filter(mine).map(|(minute, _)| *minute).min(),
                true => {
                    let before = acknowledged
                        .iter()
                        .filter(|(minute, _)| end.is_some_and(|end| *minute < end));
                    before.max().filter(mine).and(end)
                }
            };
            times.extend(taken.map(|minute| (minute - accepted) * 60_000_000));
        }
        times.sort_unstable();
        times
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// The figures do not depend on the order of the cases' entries.
        #[test]
        fn figures_are_what_their_definitions_say(
            lives in prop::collection::vec(
                (0_i64..50, prop::collection::vec((0_i64..400, 0_u8..4), 0..5), prop::collection::vec((0_i64..400, any::<bool>()), 0..3)),
                1..12,
            ),
        ) {
            // No two moments of one case are equal: their order would be undefined.
            let lives: Vec<Life> = lives
                .into_iter()
                .map(|(accepted, mut acknowledged, mut ended)| {
                    for (place, minute) in acknowledged.iter_mut().map(|(minute, _)| minute).chain(ended.iter_mut().map(|(minute, _)| minute)).enumerate() {
                        *minute = 100 + *minute * 10 + place as i64;
                    }
                    (accepted, acknowledged, ended)
                })
                .collect();
            let names: Vec<_> = (0..lives.len()).map(|i| (format!("reports/{i}"), format!("cases/{i}"))).collect();
            let mut story: Vec<Told> = Vec::new();
            // Names live as long as the test.
            let leaked: Vec<(&'static str, &'static str)> =
                names.into_iter().map(|(report, case)| (&*report.leak(), &*case.leak())).collect();
            for (i, (accepted, acknowledged, ended)) in lives.iter().enumerate() {
                let (report, case) = leaked[i];
                let event = i as u128 + 1;
                story.push((*accepted, report, "report.accepted", "", "ACCEPTED", event, 0));
                story.push((*accepted + 50, case, "case.opened", "", "ASSIGNED", event + 1_000, event));
                for (minute, who) in acknowledged {
                    story.push((*minute, case, "case.acknowledged", AGENCIES[usize::from(*who)], "IN_PROGRESS", 9_999, 0));
                }
                for (minute, resolved) in ended {
                    let (kind, state) = if *resolved { ("case.resolved", "RESOLVED") } else { ("case.closed", "CLOSED") };
                    story.push((*minute, case, kind, "", state, 9_999, 0));
                    // A closed report is no result of a case.
                    story.push((*minute, report, "report.closed", "", "CLOSED", 9_999, 0));
                }
            }
            story.sort_by_key(|told| told.0);
            let stats = told(&story);
            for agency in AGENCIES {
                let counted = stats.agencies.get(agency).cloned().unwrap_or_default();
                for (times, result) in [(&counted.to_acknowledge, false), (&counted.to_result, true)] {
                    let expected = by_definition(&lives, agency, result);
                    let rank = |share: f64| {
                        let rank = (expected.len() as f64 * share).ceil() as usize;
                        rank.checked_sub(1).map(|rank| expected[rank])
                    };
                    prop_assert_eq!(times.count(), expected.len());
                    prop_assert_eq!(times.median(), rank(0.5));
                    prop_assert_eq!(times.p90(), rank(0.9));
                }
            }
        }
    }
}
