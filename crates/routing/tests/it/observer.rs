//! The observer of joined cases: who reports something to find out whether others did. It sees the
//! public log (source, time and length of each entry) and what its own receipts show, of which
//! intake is told no more than routing tells it.
//!
//! Two worlds side by side, with one agency that does the same in both: in the one somebody reported
//! the same before, in the other something else.

use api::event::{CaseState, ClockKind};
use api::intake::CaseChange;
use journal::Time;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use routing::case::State;
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{Fixture, by, gambling};
use crate::joining::{about, decide, guidance};

testkit::on_each_backend!(p7_an_observer_of_the_log_and_two_receipts_does_no_better_than_chance);

const LEAD: &str = "police-450100";
const ROUNDS: u64 = 60;
/// By how much the best guess from a gap may differ from chance in this sample: the statistic of
/// Kolmogorov and Smirnov, which is exceeded once in 700,000 runs if the gaps are the same.
const CHANCE: f64 = 0.48;

/// A case as the observer sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// Of each change: its length in the log, the state, whether it is taken over, the kind of clock
    /// that runs, and what it is told.
    steps: Vec<(usize, i32, bool, Option<ClockKind>, String)>,
    /// When they happened, in the whole seconds of the log, and when something is due; from the start
    /// of the round.
    times: Vec<(i64, Option<i64>)>,
}

/// What the observer sees in one world, but for the others' cases.
struct World {
    cases: [Uuid; 3],
}

impl World {
    /// Somebody reports, and then the observer does, twice.
    async fn report(fixture: &Fixture, subjects: [u8; 3], at: &[i64; 3], start: Time) -> Self {
        let mut cases = [Uuid::nil(); 3];
        for ((case, subject), at) in cases.iter_mut().zip(subjects).zip(at) {
            let now = start.plus_seconds(*at);
            let mut news = about(fixture, &gambling(), &[]);
            let mut key = [subject; 32];
            key[..8].copy_from_slice(&start.0.to_be_bytes());
            news.route.as_mut().unwrap().subject_keys = vec![key];
            let report = news.report;
            routing::store::Store::open(&*fixture.store, &[news], now)
                .await
                .unwrap();
            *case = fixture.case_of(report).await;
        }
        Self { cases }
    }

    async fn seen(&self, fixture: &Fixture, told: &[CaseChange], start: Time) -> Vec<Seen> {
        let mut all = Vec::new();
        for case in self.cases {
            let name = format!("cases/{case}");
            let rows = fixture
                .rows(
                    "SELECT entry, time FROM journal WHERE record = $1 ORDER BY sequence",
                    vec![name.as_str().into()],
                )
                .await;
            let told = told.iter().filter(|told| record(told) == name);
            let (mut steps, mut times) = (Vec::new(), Vec::new());
            for (row, told) in rows.iter().zip(told) {
                let entry: Vec<u8> = row.get("entry").unwrap();
                let time = record_time(told);
                let outcome = told.outcome.clone().map(|outcome| outcome.text).unwrap_or_default();
                let clock = match told.state() {
                    CaseState::Assigned => Some(ClockKind::Acknowledge),
                    CaseState::InProgress => Some(ClockKind::Result),
                    _ => None,
                };
                steps.push((entry.len(), told.state, told.acknowledged, clock, outcome));
                let due = told.due_time.as_ref().and_then(Time::from_proto);
                times.push((
                    (time.0 - start.0) / 1_000_000,
                    due.map(|due| (due.0 - start.0) / 1_000_000),
                ));
            }
            all.push(Seen { steps, times });
        }
        all
    }
}

/// To the next whole second: the ticker looks once in each.
fn wait_until(fixture: &Fixture, time: Time) {
    let micros = time.0 - fixture.now().0;
    fixture.clock.advance((micros + 999_999).div_euclid(1_000_000).max(0));
}

fn record(told: &CaseChange) -> String {
    journal::Opened::of_change(told.change.as_ref().unwrap())
        .unwrap()
        .record
}

fn record_time(told: &CaseChange) -> Time {
    journal::Opened::of_change(told.change.as_ref().unwrap()).unwrap().time
}

/// The greatest difference between the distributions of two samples: how much better than chance
/// the best guess by one threshold is, twice.
fn difference(one: &[i64], other: &[i64]) -> f64 {
    let share = |sample: &[i64], limit: i64| {
        let below = sample.iter().filter(|value| **value <= limit).count();
        below as f64 / sample.len() as f64
    };
    let limits = one.iter().chain(other);
    limits
        .map(|limit| (share(one, *limit) - share(other, *limit)).abs())
        .fold(0.0, f64::max)
}

async fn p7_an_observer_of_the_log_and_two_receipts_does_no_better_than_chance(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut random = StdRng::seed_from_u64(testkit::seed());
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = fixture.now();
        let mut at = [0; 3].map(|_: i64| random.random_range(0..3_600));
        at.sort_unstable();
        let joined = World::report(&fixture, [1, 1, 1], &at, start).await;
        let apart = World::report(&fixture, [2, 3, 3], &at, start).await;
        // The agency takes each over when it comes to it, and decides one matter after the other.
        let mut taken = [0; 3].map(|_: i64| random.random_range(3_600..7_200));
        taken.sort_unstable();
        for (i, at) in taken.iter().enumerate() {
            wait_until(&fixture, start.plus_seconds(*at));
            for world in [&joined, &apart] {
                fixture.done(by(world.cases[i], LEAD)).await;
            }
        }
        wait_until(&fixture, start.plus_seconds(10_000));
        fixture.done(decide(joined.cases[0], guidance())).await;
        fixture.done(decide(apart.cases[0], guidance())).await;
        // At the pace in which joined cases follow.
        let even: f64 = 1.0 - random.random::<f64>();
        let mut next = Some(Time(fixture.now().0 + (-even.ln() * 180_000_000.0) as i64));
        loop {
            let due = "SELECT min(follow_time) AS due FROM case_links";
            let due: Option<i64> = fixture.rows(due, vec![]).await[0].get("due").unwrap();
            let (due, own) = (due.map(Time), next);
            let Some(time) = due.into_iter().chain(own).min() else {
                break;
            };
            wait_until(&fixture, time);
            if own == Some(time) {
                next = None;
                fixture.done(decide(apart.cases[1], guidance())).await;
            }
            fixture.ticker(&fixture.store).follow().await.unwrap();
        }
        for case in joined.cases.iter().chain(&apart.cases) {
            assert_eq!(fixture.case(*case).await.case.state(), State::RESOLVED);
        }
        rounds.push((start, joined, apart));
        // Past this round, at the same hour of a day.
        wait_until(&fixture, start.plus_seconds(14 * 24 * 3_600));
    }
    let told = fixture.all_told().await;
    let (mut first, mut second) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for (start, joined, apart) in &rounds {
        let (joined, apart) = (
            joined.seen(&fixture, &told, *start).await,
            apart.seen(&fixture, &told, *start).await,
        );
        for (one, other) in joined.iter().zip(&apart) {
            // Kinds, lengths and number of entries, and all that is told, are the same in each; and
            // the times of all steps before the decision, and what is due then.
            assert_eq!(one.steps, other.steps);
            assert_eq!(one.times.len(), 3);
            assert_eq!(one.times[..2], other.times[..2]);
        }
        for (world, seen) in [joined, apart].iter().enumerate() {
            let decided: Vec<i64> = seen.iter().map(|case| case.times[2].0).collect();
            assert!(decided.is_sorted(), "the order of decisions would tell: {decided:?}");
            first[world].push(decided[1] - decided[0]);
            second[world].push(decided[2] - decided[1]);
        }
    }
    for [joined, apart] in [first, second] {
        let better = difference(&joined, &apart);
        assert!(better < CHANCE, "{better}: {joined:?} {apart:?}");
    }
}
