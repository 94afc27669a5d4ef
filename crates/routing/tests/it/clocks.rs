//! Clocks that run out: each generation once, up to the conference, and always another one running.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::routing::Facts;
use decision::calendar::ClockKind;
use decision::decide::Destination;
use decision::directory::{AgencyId, Directory};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use routing::case::{Refusal, State};
use routing::clocks::Ticker;
use routing::store::versions::{Activated, Activation, Versions as _};
use routing::store::{Acted, MissedClock, Store as _};
use testkit::Backend;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, HOUR, agency, by, decided, facts, gambling, official, standing};
use crate::service::Running;

testkit::on_each_backend!(
    p4_exactly_one_owner_whatever_happens,
    p5_every_open_case_has_a_running_clock_up_to_the_conference,
    p5_each_generation_ends_once_with_two_replicas,
    p5_a_generation_that_ended_ends_nothing_more,
    p5_a_clock_that_was_met_is_not_missed,
    p5_a_late_designation_goes_up,
    p5_a_clock_in_working_time_counts_by_its_owners_desk,
    p5_one_case_that_cannot_be_handed_up_keeps_no_other_from_it,
    p5_a_page_of_cases_that_cannot_be_changed_keeps_no_other_from_it,
    p4_the_database_allows_one_owner_only,
    p5_a_provisional_deadline_is_settled_once_when_holidays_are_published,
    p5_a_history_says_why_its_owner_has_a_case,
    p5_a_clock_in_doubt_ends_nothing_and_once_accepted_each_clock_once,
    p5_a_clock_in_doubt_deletes_nothing,
);

async fn p4_exactly_one_owner_whatever_happens(backend: Backend) {
    use api::event::ConnectingFactor::{Operator, Server, Suspect, Victim};
    let fixture = Fixture::new(backend).await;
    let mut rng = StdRng::seed_from_u64(testkit::seed());
    let agencies: Vec<String> = Directory::shipped()
        .agencies()
        .map(|agency| agency.id.to_string())
        .collect();
    let mut cases = Vec::new();
    for _ in 0..60 {
        match rng.random_range(0..4) {
            0 => {
                let batch: Vec<Facts> = (0..rng.random_range(1..4))
                    .map(|_| {
                        let category = [
                            "gambling",
                            "official-misconduct",
                            "insult-defamation",
                            "consumer-harm",
                            "malware",
                        ];
                        let codes = ["450100", "130400", "440600", "510100", "320504", "CN"];
                        let mut places = Vec::new();
                        for factor in [Operator, Server, Victim, Suspect] {
                            if rng.random() {
                                places.push((factor, codes[rng.random_range(0..codes.len())]));
                            }
                        }
                        let tops = [
                            "police-CN",
                            "police-450000",
                            "inspection-CN",
                            "market-regulator-CN",
                            "conference-CN",
                        ];
                        let excluded = tops
                            .iter()
                            .filter(|_| rng.random_bool(0.2))
                            .map(|id| format!("agencies/{id}"))
                            .collect();
                        Facts {
                            excluded,
                            ..facts(category[rng.random_range(0..category.len())], &places)
                        }
                    })
                    .collect();
                cases.extend(fixture.open(&batch).await);
            }
            1 if !cases.is_empty() => {
                let case = cases[rng.random_range(0..cases.len())];
                let stored = fixture.case(case).await;
                let caller = match stored.case.duty() {
                    Some(duty) if rng.random() => duty.owner.to_string(),
                    _ => agencies[rng.random_range(0..agencies.len())].clone(),
                };
                fixture.act(by(case, &caller)).await;
            }
            2 => fixture.clock.advance(rng.random_range(0..20 * DAY)),
            _ => {
                fixture.ticker(&fixture.store).step().await.unwrap();
                assert_eq!(due(&fixture).await, [], "none is left over");
            }
        }
        fixture.assert_promises().await;
    }
}

async fn p5_every_open_case_has_a_running_clock_up_to_the_conference(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.step().await.unwrap(), 0, "nothing is due");
    fixture.clock.advance(18 * HOUR - 1);
    assert_eq!(ticker.step().await.unwrap(), 0, "a second to the reminder");
    fixture.clock.advance(1);
    assert_eq!(ticker.step().await.unwrap(), 1);
    assert_eq!(fixture.all_kinds(case).await, ["case.opened", "case.deadline-reminded"]);
    fixture.clock.advance(6 * HOUR - 1);
    assert_eq!(ticker.step().await.unwrap(), 0, "a second is left");
    let mut ladder = Vec::new();
    for _ in 0..5 {
        fixture.clock.advance(24 * HOUR);
        assert_eq!(ticker.step().await.unwrap(), 1);
        assert_eq!(ticker.step().await.unwrap(), 0, "once");
        let stored = fixture.case(case).await;
        let (state, owner) = standing(&stored);
        assert_eq!(state, State::ASSIGNED);
        ladder.push(owner.unwrap().to_owned());
        fixture.assert_promises().await;
    }
    assert_eq!(
        ladder,
        [
            "police-450000",
            "police-CN",
            "conference-CN",
            "conference-CN",
            "conference-CN"
        ]
    );
    assert_eq!(
        fixture.kinds(case).await,
        [
            "case.opened",
            "case.escalated",
            "case.escalated",
            "case.escalated",
            "case.clock-missed",
            "case.clock-missed"
        ]
    );
    let stored = fixture.case(case).await;
    let supporting: BTreeSet<_> = stored.case.supporting().map(AgencyId::as_str).collect();
    assert_eq!(
        supporting,
        BTreeSet::from(["police-440000", "police-450100", "police-450000", "police-CN"]),
        "who led before goes on seeing it"
    );
    assert!(matches!(fixture.act(by(case, "conference-CN")).await, Acted::Done(_)));
}

async fn due(fixture: &Fixture) -> Vec<MissedClock> {
    fixture.store.missed(fixture.now(), None, 10).await.unwrap().items
}

fn missed(case: Uuid, generation: u64) -> MissedClock {
    let kind = ClockKind::Acknowledge;
    MissedClock { case, kind, generation }
}

async fn p5_each_generation_ends_once_with_two_replicas(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&vec![gambling(); 40]).await;
    let other = fixture.replica().await;
    let (one, two) = (fixture.ticker(&fixture.store), fixture.ticker(&other));
    let mut ended = 0;
    for _ in 0..3 {
        fixture.clock.advance(25 * HOUR);
        let (a, b) = tokio::join!(
            tokio::spawn({
                let one = one.clone();
                async move { one.step().await }
            }),
            tokio::spawn({
                let two = two.clone();
                async move { two.step().await }
            })
        );
        // What each left to the other is done by now, or is found at the next look.
        ended += a.unwrap().unwrap() + b.unwrap().unwrap() + one.step().await.unwrap();
    }
    assert_eq!(ended, 120);
    for case in cases {
        assert_eq!(
            fixture.kinds(case).await,
            ["case.opened", "case.escalated", "case.escalated", "case.escalated"]
        );
    }
    fixture.assert_promises().await;
}

async fn p5_a_generation_that_ended_ends_nothing_more(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    fixture.clock.advance(25 * HOUR);
    let seen = due(&fixture).await;
    assert_eq!(seen, [missed(case, 1)]);
    assert_eq!(fixture.store.hand_up(&seen, fixture.now()).await.unwrap(), 1);
    // A replica that slept since it looked: by now the next generation is due, too, but that one it
    // has not seen.
    fixture.clock.advance(25 * HOUR);
    assert_eq!(fixture.store.hand_up(&seen, fixture.now()).await.unwrap(), 0);
    assert_eq!(fixture.kinds(case).await, ["case.opened", "case.escalated"]);
    let seen = due(&fixture).await;
    assert_eq!(seen, [missed(case, 2)]);
    assert_eq!(fixture.store.hand_up(&seen, fixture.now()).await.unwrap(), 1);
}

async fn p5_a_clock_that_was_met_is_not_missed(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[official()]).await[0];
    fixture.clock.advance(2 * DAY);
    fixture.act(by(case, "inspection-130000")).await;
    fixture.clock.advance(30 * DAY);
    assert_eq!(
        fixture.ticker(&fixture.store).step().await.unwrap(),
        0,
        "90 days for the result"
    );
    fixture.clock.advance(70 * DAY);
    assert_eq!(fixture.ticker(&fixture.store).step().await.unwrap(), 1);
    let stored = fixture.case(case).await;
    assert_eq!(standing(&stored), (State::IN_PROGRESS, Some("inspection-130000")));
    assert_eq!(stored.case.supervisor, Some(agency("inspection-CN")));
    // Ten working days under supervision.
    fixture.clock.advance(20 * DAY);
    assert_eq!(fixture.ticker(&fixture.store).step().await.unwrap(), 1);
    let stored = fixture.case(case).await;
    assert_eq!(standing(&stored), (State::ASSIGNED, Some("inspection-CN")));
    fixture.assert_promises().await;
}

async fn p5_a_late_designation_goes_up(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut decision = decided(&gambling());
    decision.outcome = Destination::Designate {
        superior: agency("police-450000"),
    };
    decision.supporting.clear();
    let case = fixture.open_as(&gambling(), decision).await;
    assert!(matches!(
        fixture.act(by(case, "police-450000")).await,
        Acted::Refused(Refusal::NotYours { .. })
    ));
    assert!(
        !fixture
            .store
            .sees_content(&agency("police-450000"), fixture.case(case).await.reports[0])
            .await
            .unwrap(),
        "who designates does not lead"
    );
    let mut owners = Vec::new();
    for _ in 0..3 {
        fixture.assert_promises().await;
        fixture.clock.advance(30 * DAY);
        assert_eq!(fixture.ticker(&fixture.store).step().await.unwrap(), 1);
        let stored = fixture.case(case).await;
        assert_eq!(stored.case.state(), State::AWAITING_DESIGNATION);
        owners.push(standing(&stored).1.unwrap().to_owned());
    }
    assert_eq!(owners, ["police-CN", "conference-CN", "conference-CN"]);
    // Who had to designate and did not, has lost it: it is told so, and no more.
    let lost = fixture.feed("police-450000", 0).await;
    let told: Vec<_> = lost
        .iter()
        .map(|item| (item.kind.as_str(), item.case.is_some()))
        .collect();
    assert_eq!(
        told,
        [
            ("case.opened", false),
            ("case.deadline-reminded", false),
            ("case.escalated", false)
        ]
    );
}

async fn p5_one_case_that_cannot_be_handed_up_keeps_no_other_from_it(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&vec![gambling(); 3]).await;
    sql::transact!(fixture.db, |tx| tx.execute(
        "UPDATE case_states SET state = 'NO SUCH STATE' WHERE case_id = $1",
        vec![cases[1].to_string().into()],
    ))
    .unwrap();
    fixture.clock.advance(25 * HOUR);
    assert_eq!(fixture.ticker(&fixture.store).step().await.unwrap(), 2);
    for (case, changes) in cases.into_iter().zip([2, 1, 2]) {
        assert_eq!(fixture.kinds(case).await.len(), changes);
    }
}

/// As many as one transaction takes.
const PAGE: usize = 256;

async fn p5_a_page_of_cases_that_cannot_be_changed_keeps_no_other_from_it(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let ticker = fixture.ticker(&fixture.store);
    let damaged = fixture.open(&vec![gambling(); PAGE]).await;
    fixture.clock.advance(1);
    let whole = fixture.open(&[gambling()]).await[0];
    let ids: Vec<String> = damaged.iter().map(Uuid::to_string).collect();
    let damage = async |statement: &'static str| {
        sql::transact!(fixture.db, |tx| tx.execute(statement, vec![ids.clone().into()])).unwrap();
    };
    damage("UPDATE case_states SET state = 'NO SUCH STATE' WHERE case_id = ANY($1)").await;
    fixture.clock.advance(25 * HOUR);
    assert_eq!(ticker.step().await.unwrap(), 1);
    assert_eq!(fixture.kinds(whole).await, ["case.opened", "case.escalated"]);
    // Clocks that cannot be read at all.
    damage("UPDATE case_clocks SET kind = 'no-such-kind' WHERE case_id = ANY($1)").await;
    fixture.clock.advance(25 * HOUR);
    assert_eq!(ticker.step().await.unwrap(), 1);
    assert_eq!(fixture.kinds(whole).await.len(), 3);
    // The same when an agency ends: all of them have a part in it.
    fixture
        .apply(&[("police-450100", "valid_to: 2026-03-04, successor: police-450200")])
        .await;
    fixture.clock.advance(2 * DAY);
    assert_eq!(ticker.succeed().await.unwrap(), 1);
    let kinds = fixture.kinds(whole).await;
    assert_eq!(kinds.last().map(String::as_str), Some("case.succeeded"));
}

/// A case whose lead has 30 working days for the result, taken over in the middle of December.
async fn p5_a_provisional_deadline_is_settled_once_when_holidays_are_published(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let december: jiff::Timestamp = "2026-12-14T09:00:00+08:00".parse().unwrap();
    let until = (december.as_microsecond() - fixture.now().0) / 1_000_000;
    fixture.clock.advance(until);
    let mut cases = Vec::new();
    for _ in 0..3 {
        let mut decision = decided(&gambling());
        decision.outcome = Destination::Designate {
            superior: agency("police-450000"),
        };
        decision.supporting.clear();
        cases.push(fixture.open_as(&gambling(), decision).await);
    }
    // Ten working days to designate: to 2026-12-28, by holidays that are not published.
    let clock = |stored: &routing::store::StoredCase| stored.case.duty().unwrap().clock.clone();
    let before = clock(&fixture.case(cases[0]).await);
    assert!(before.provisional);
    let old = fixture.ticker(&fixture.store);
    assert_eq!(old.settle().await.unwrap(), 0, "the calendar is the same");
    assert_eq!(fixture.kinds(cases[0]).await, ["case.opened"]);

    // A replica whose calendar has another holiday, but not the new year either, computes another
    // end, which is as provisional: were it written, the two would move it to and fro.
    let other = fixture.with_calendar("\"2026-10-07\"\n", "\"2026-10-07\"\n  - \"2026-12-16\"\n");
    for _ in 0..2 {
        assert_eq!(fixture.ticker(&other).settle().await.unwrap(), 0);
        assert_eq!(old.settle().await.unwrap(), 0);
    }
    assert_eq!(fixture.kinds(cases[0]).await, ["case.opened"]);

    // The new year is known: two replicas at once, page by page, and again.
    let (one, two) = (fixture.with_year(2027), fixture.with_year(2027));
    let page = one.provisional(None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.next.is_some()), (2, true));
    let rest = one.provisional(page.next, 2).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    let (first, second) = (fixture.ticker(&one), fixture.ticker(&two));
    let (first, second) = tokio::join!(first.settle(), second.settle());
    let again = fixture.ticker(&one).settle().await.unwrap();
    assert_eq!(first.unwrap() + second.unwrap() + again, 3);
    for case in &cases {
        let stored = fixture.case(*case).await;
        let after = clock(&stored);
        assert!(!after.provisional);
        assert_eq!(
            (after.generation, after.ledger.since),
            (before.generation, before.ledger.since)
        );
        assert_eq!(fixture.kinds(*case).await, ["case.opened", "case.deadline-settled"]);
        assert_eq!(stored.history.last().unwrap().kind, "case.deadline-settled");
    }
    // An older replica takes nothing back.
    assert_eq!(old.settle().await.unwrap(), 0);
    assert!(fixture.store.provisional(None, 10).await.unwrap().items.is_empty());
    fixture.assert_promises().await;
}

async fn p5_a_history_says_why_its_owner_has_a_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let viewer = by(case, "police-450100").by;
    let history = async || fixture.store.case(case, &viewer).await.unwrap().unwrap().history;
    assert!(history().await.is_empty());
    fixture.clock.advance(2 * DAY);
    assert_eq!(fixture.ticker(&fixture.store).step().await.unwrap(), 1);
    // The former lead still supports, and reads why.
    let steps = history().await;
    assert_eq!(steps[0].kind, "case.deadline-reminded");
    let reminded = steps[0].reminded_clock.as_ref().unwrap();
    assert_eq!(reminded.owner, "agencies/police-450100");
    let step = &steps[1];
    assert_eq!(
        (
            steps.len(),
            step.kind.as_str(),
            step.owner.as_str(),
            step.former_owner.as_str()
        ),
        (2, "case.escalated", "agencies/police-450000", "agencies/police-450100")
    );
    let missed = step.missed_clock.as_ref().unwrap();
    assert_eq!(missed.owner, "agencies/police-450100");
    assert_eq!(missed.kind(), api::event::ClockKind::Acknowledge);
    assert!(matches!(fixture.act(by(case, "police-450000")).await, Acted::Done(_)));
    let kinds: Vec<_> = history().await.into_iter().map(|step| step.kind).collect();
    assert_eq!(kinds, ["case.deadline-reminded", "case.escalated", "case.acknowledged"]);
}

async fn p4_the_database_allows_one_owner_only(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    for part in ["lead", "designating", "supporting"] {
        let added = sql::transact!(fixture.db, |tx| tx.execute(
            "INSERT INTO case_parties (case_id, agency, part, by_request, supports, place, open_time) \
             VALUES ($1, 'police-CN', $2, 0, 0, 9, 0)",
            vec![case.to_string().into(), part.into()],
        ));
        assert_eq!(added.is_ok(), part == "supporting", "{part}: {added:?}");
    }
}

async fn p5_a_clock_in_working_time_counts_by_its_owners_desk(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let source = Directory::shipped().source().replace(
        "zh: 南宁市公安局网安支队举报受理点, en: Nanning network-police desk}",
        "zh: 南, en: N}, hours: '08:00-18:00'",
    );
    let directory = Directory::parse(&source, Directory::shipped().territories()).unwrap();
    let rules = decision::rules::SHIPPED[0].1.replace(
        "acknowledge: {value: 24, unit: hours}",
        "acknowledge: {value: 4, unit: working-hours}",
    );
    let next = crate::fixture::shipped()
        .with_directory(Arc::new(directory))
        .unwrap()
        .with_rules(&rules)
        .unwrap();
    let activation = Activation {
        seen: fixture.store.active().digests(),
        next,
        hand: crate::fixture::first(),
        difference: Default::default(),
        purpose: String::new(),
        actor: Default::default(),
        traceparent: String::new(),
        request: None,
    };
    let activated = crate::fixture::activate(&*fixture.store, activation, fixture.now()).await;
    assert!(matches!(activated, Activated::Done(_)), "{activated:?}");
    // Monday 17:00: an hour on that day, and three on the next.
    fixture.clock.advance(8 * HOUR);
    let case = fixture.open(&[gambling()]).await[0];
    let ticker = fixture.ticker(&fixture.store);
    fixture.clock.advance(17 * HOUR - 1);
    assert_eq!(ticker.step().await.unwrap(), 0, "Tuesday, a second before 10:00");
    fixture.clock.advance(1);
    assert_eq!(ticker.step().await.unwrap(), 1, "three of four hours are used");
    fixture.clock.advance(HOUR - 1);
    assert_eq!(ticker.step().await.unwrap(), 0, "a second before 11:00");
    fixture.clock.advance(1);
    assert_eq!(ticker.step().await.unwrap(), 1);
    // The superior tells no hours: all of a working day counts.
    let stored = fixture.case(case).await;
    assert_eq!(standing(&stored), (State::ASSIGNED, Some("police-450000")));
    assert_eq!(
        stored.case.duty().unwrap().clock.due,
        fixture.now().plus_seconds(4 * HOUR)
    );
}

/// The machine's clock jumps three days ahead: nothing happens until the operator accepts it.
async fn p5_a_clock_in_doubt_ends_nothing_and_once_accepted_each_clock_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&vec![gambling(); 19]).await;
    let other = fixture.replica().await;
    let (one, two) = (fixture.ticker(&fixture.store), fixture.ticker(&other));
    let poll_both = async |one: &Ticker, two: &Ticker| {
        let (mut first, mut second) = (None, None);
        tokio::join!(one.poll(&mut first), two.poll(&mut second));
        // What each left to the other is done by now, or is found at the next look.
        one.poll(&mut first).await;
    };
    let kinds = async || {
        let mut kinds = BTreeSet::new();
        for case in &cases {
            kinds.insert(fixture.kinds(*case).await.join(" "));
        }
        kinds.into_iter().collect::<Vec<_>>()
    };
    poll_both(&one, &two).await;
    fixture.clock.advance(3 * DAY);
    for _ in 0..3 {
        poll_both(&one, &two).await;
    }
    assert_eq!(
        fixture.store.missed(fixture.now(), None, 99).await.unwrap().items.len(),
        19
    );
    assert_eq!(kinds().await, ["case.opened"]);
    let accepted = Some(fixture.now().plus_seconds(HOUR));
    let with = |ticker: &Ticker| Ticker {
        time: fixture.time(accepted),
        ..ticker.clone()
    };
    poll_both(&with(&one), &with(&two)).await;
    assert_eq!(kinds().await, ["case.opened case.escalated"]);
    // The others, which nobody told, believe it now too.
    poll_both(&one, &two).await;
    assert_eq!(kinds().await, ["case.opened case.escalated"]);
    fixture.assert_promises().await;
}

async fn p5_a_clock_in_doubt_deletes_nothing(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    running.report(gambling()).await;
    let feed = async || {
        let rows = fixture.db.fetch("SELECT position FROM feed", Vec::new()).await;
        rows.unwrap().len()
    };
    let upkeep = |accepted| routing::upkeep::Upkeep {
        store: fixture.store.clone(),
        writer: journal::Writer::new([]),
        clock: fixture.clock.clone(),
        time: fixture.time(accepted),
    };
    let before = feed().await;
    assert!(before > 0);
    fixture.clock.advance(31 * DAY);
    upkeep(None).poll(&CancellationToken::new()).await;
    assert_eq!(feed().await, before);
    assert!((running.health)().await, "calls are answered all the same");
    upkeep(Some(fixture.now())).poll(&CancellationToken::new()).await;
    assert!(feed().await < before);
}
