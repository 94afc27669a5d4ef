//! Who sees what: promise 7 in the store.

use std::collections::BTreeSet;

use api::intake::CaseChange;
use api::routing::Facts;
use futures::future::join_all;
use journal::{Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Party, State};
use routing::store::{Acted, Listing, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, HOUR, agency, agency_viewer, by, gambling, official};

testkit::on_each_backend!(
    p7_an_agency_sees_its_own_cases_only,
    p7_the_excluded_see_nothing_at_any_time,
    p7_who_comes_to_succeed_an_excluded_unit_loses_sight_for_good,
    p7_a_page_behind_many_barred_cases_ends_soon_and_says_where_to_go_on,
    p7_of_a_case_that_an_agency_is_barred_from_its_feed_tells_the_loss_only,
    p7_content_is_for_the_lead,
    p7_a_part_that_sees_nothing_is_shown_nothing,
    pages_go_on_where_they_ended,
    the_feed_is_without_gaps_and_in_the_order_of_commits,
    a_position_waits_for_the_commit_of_the_one_before,
    a_feed_goes_on_without_loss_or_repeat,
);

async fn listed(fixture: &Fixture, viewer: &Party) -> BTreeSet<Uuid> {
    let found = fixture.store.cases(viewer, None, None, 1_000).await.unwrap().items;
    found.iter().map(|case| case.id).collect()
}

/// What an agency sees by each of the three ways, which must agree.
async fn seen(fixture: &Fixture, id: &str) -> BTreeSet<Uuid> {
    let viewer = agency_viewer(id);
    let listed = listed(fixture, &viewer).await;
    for case in self::listed(fixture, &Party::Operator).await {
        let got = fixture.store.case(case, &viewer).await.unwrap().is_some();
        assert_eq!(got, listed.contains(&case), "{id} {case}");
    }
    let watched: BTreeSet<_> = fixture.feed(id, 0).await.iter().map(|item| item.id).collect();
    assert_eq!(watched, listed, "{id}");
    listed
}

async fn p7_an_agency_sees_its_own_cases_only(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), official(), gambling()]).await;
    let [first, second, third] = cases[..] else { panic!() };
    for (id, expected) in [
        ("police-450100", vec![first, third]),
        ("police-440000", vec![first, third]),
        ("inspection-130000", vec![second]),
        ("police-450000", vec![]),
        ("police-CN", vec![]),
        ("conference-CN", vec![]),
        ("no-such-agency", vec![]),
    ] {
        assert_eq!(seen(&fixture, id).await, expected.into_iter().collect(), "{id}");
    }
    assert_eq!(listed(&fixture, &Party::Operator).await.len(), 3);
    // With the lead goes the sight, to the superior and to no one else.
    fixture.clock.advance(25 * HOUR);
    fixture.ticker(&fixture.store).step().await.unwrap();
    assert_eq!(seen(&fixture, "police-450000").await, BTreeSet::from([first, third]));
    assert_eq!(seen(&fixture, "police-450100").await, BTreeSet::from([first, third]));
    assert_eq!(seen(&fixture, "police-CN").await, BTreeSet::new());
}

async fn p7_the_excluded_see_nothing_at_any_time(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[official()]).await[0];
    let report = fixture.case(case).await.reports[0];
    for _ in 0..4 {
        let seen = seen(&fixture, "police-130400").await;
        assert_eq!(seen, BTreeSet::new());
        assert_eq!(fixture.feed("police-130400", 0).await.len(), 0);
        assert!(
            !fixture
                .store
                .sees_content(&agency("police-130400"), report)
                .await
                .unwrap()
        );
        fixture.clock.advance(200 * 24 * HOUR);
        fixture.ticker(&fixture.store).step().await.unwrap();
    }
}

async fn p7_who_comes_to_succeed_an_excluded_unit_loses_sight_for_good(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let facts = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let cases = fixture.open(&[facts.clone(), facts, gambling()]).await;
    let [led, supported, other] = cases[..] else { panic!() };
    let report = fixture.case(led).await.reports[0];
    assert!(seen(&fixture, "police-440000").await.contains(&supported));
    // Announced for later: both who lead and who support are to continue an excluded unit.
    fixture
        .apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-450100")])
        .await;
    // At once, and not only with the next tick, every door follows the directory in force.
    let viewer = agency_viewer("police-450100");
    for case in [led, supported] {
        assert!(fixture.store.case(case, &viewer).await.unwrap().is_none());
        assert!(matches!(fixture.act(by(case, "police-450100")).await, Acted::NotFound));
        // Not for others.
        let viewer = agency_viewer("police-440000");
        assert!(fixture.store.case(case, &viewer).await.unwrap().is_some());
    }
    assert_eq!(listed(&fixture, &viewer).await, BTreeSet::from([other]));
    let page = fixture.store.cases(&viewer, None, None, 1).await.unwrap();
    assert_eq!(page.next, None);
    assert_eq!(
        page.items.iter().map(|case| case.id).collect::<Vec<_>>(),
        [other],
        "a page is full"
    );
    let feed = fixture.feed("police-450100", 0).await;
    let shown: Vec<_> = feed
        .iter()
        .filter_map(|item| item.case.as_ref())
        .map(|case| case.id)
        .collect();
    assert_eq!((feed.len(), shown), (3, vec![other]));
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.succeed().await.unwrap(), 2);
    assert_eq!(ticker.succeed().await.unwrap(), 0);
    // That it has lost them, once each.
    let lost = fixture.feed("police-450100", 0).await.split_off(feed.len());
    let lost: Vec<_> = lost.iter().map(|item| (item.id, item.case.is_some())).collect();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert_eq!(
        BTreeSet::from_iter(lost),
        BTreeSet::from([(led, false), (supported, false)])
    );
    for case in [led, supported] {
        let viewer = agency_viewer("police-450100");
        assert!(fixture.store.case(case, &viewer).await.unwrap().is_none());
        assert_eq!(fixture.case(case).await.case.state(), State::AWAITING_DESIGNATION);
    }
    assert!(
        !fixture
            .store
            .sees_content(&agency("police-450100"), report)
            .await
            .unwrap()
    );
    assert_eq!(
        listed(&fixture, &agency_viewer("police-450100")).await,
        BTreeSet::from([other])
    );
    // Intake is told whom to keep it from.
    let told = SqlOutbox(fixture.db.clone())
        .pending("intake", fixture.now(), 20)
        .await
        .unwrap();
    let hidden = told.iter().filter(|told| {
        let change = CaseChange::decode(told.payload.as_slice()).unwrap();
        change.hidden_from == ["agencies/police-130400", "agencies/police-450100"]
    });
    assert_eq!(hidden.count(), 2);
    // A later directory no longer has the unit, and names other successors: neither gives anything
    // back.
    fixture.apply(&[("police-130400", "")]).await;
    assert_eq!(ticker.succeed().await.unwrap(), 0);
    fixture.clock.advance(400 * DAY);
    ticker.step().await.unwrap();
    let again = fixture.apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-440000")]);
    again.await;
    assert_eq!(ticker.succeed().await.unwrap(), 2);
    for id in ["police-450100", "police-440000"] {
        assert_eq!(
            listed(&fixture, &agency_viewer(id)).await,
            BTreeSet::from([other]),
            "{id}"
        );
    }
    fixture.assert_promises().await;
}

async fn p7_a_page_behind_many_barred_cases_ends_soon_and_says_where_to_go_on(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let oldest = fixture.open(&[gambling()]).await[0];
    let barring = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    for _ in 0..10 {
        fixture.clock.advance(1);
        let news: Vec<_> = (0..310).map(|_| fixture.arrival(&barring)).collect();
        fixture.store.open(&news, fixture.now()).await.unwrap();
    }
    fixture.clock.advance(1);
    let newest = fixture.open(&[gambling()]).await[0];
    fixture
        .apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-450100")])
        .await;
    let pages = async |viewer: &str, size| {
        let (viewer, mut pages, mut after) = (agency_viewer(viewer), Vec::new(), None);
        loop {
            let page = fixture.store.cases(&viewer, None, after, size).await.unwrap();
            after = page.next;
            pages.push(page.items.iter().map(|case| case.id).collect::<Vec<_>>());
            if after.is_none() {
                return pages;
            }
        }
    };
    // It read as many as it may, and neither stopped for good nor read on to the end.
    assert_eq!(pages("police-450100", 2).await, [vec![newest], vec![oldest]]);
    let whole = pages("police-440000", 1_000).await;
    assert!(whole.iter().map(Vec::len).eq([1_000, 1_000, 1_000, 102]));
}

/// From the directory that bars it on, until it loses its part at the next tick.
async fn p7_of_a_case_that_an_agency_is_barred_from_its_feed_tells_the_loss_only(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let facts = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let cases = fixture.open(&[facts.clone(), facts, gambling()]).await;
    let [taken, late, other] = cases[..] else { panic!() };
    let told = async |id: &str| {
        let feed = fixture.feed(id, 0).await.into_iter();
        let told = feed.map(|item| (item.id, item.kind, item.case.is_some()));
        told.collect::<Vec<_>>()
    };
    let opened = |case: Uuid, seen| (case, "case.opened".to_owned(), seen);
    let acknowledged = |case: Uuid, seen| (case, "case.acknowledged".to_owned(), seen);
    // A supporting agency is to continue the excluded unit.
    let successor = "valid_to: 2026-12-31, successor: police-440000";
    fixture.apply(&[("police-130400", successor)]).await;
    for case in [taken, other] {
        assert!(matches!(fixture.act(by(case, "police-450100")).await, Acted::Done(_)));
    }
    // Time acts, too: the lead misses the clock, and the case goes up.
    let later = fixture.now().plus_seconds(3 * DAY);
    let missed = fixture.store.missed(later, None, 10).await.unwrap().items;
    let missed: Vec<_> = missed.into_iter().filter(|missed| missed.case == late).collect();
    assert_eq!(fixture.store.hand_up(&missed, later).await.unwrap(), 1);
    let before = [
        opened(taken, false),
        opened(late, false),
        opened(other, true),
        acknowledged(other, true),
    ];
    assert_eq!(told("police-440000").await, before);
    let lead = told("police-450100").await;
    assert!(lead.contains(&acknowledged(taken, true)), "{lead:?}");
    assert!(lead.iter().filter(|(id, ..)| *id == late).count() > 1, "{lead:?}");
    fixture.ticker(&fixture.store).succeed().await.unwrap();
    let lost = told("police-440000").await.split_off(before.len());
    assert_eq!(lost.len(), 2, "once each: {lost:?}");
    let lost = lost.into_iter().map(|(id, _, seen)| (id, seen));
    assert_eq!(
        BTreeSet::from_iter(lost),
        BTreeSet::from([(taken, false), (late, false)])
    );
}

async fn p7_content_is_for_the_lead(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), gambling()]).await;
    let report = fixture.case(cases[0]).await.reports[0];
    let leads = async |id: &str| fixture.store.sees_content(&agency(id), report).await.unwrap();
    assert!(leads("police-450100").await);
    assert!(!leads("police-440000").await, "it supports");
    assert!(!leads("police-450000").await);
    fixture.clock.advance(25 * HOUR);
    fixture.ticker(&fixture.store).step().await.unwrap();
    assert!(leads("police-450000").await);
    assert!(!leads("police-450100").await, "it led");
}

/// A part of a newer release, of which this one does not know what it sees.
async fn p7_a_part_that_sees_nothing_is_shown_nothing(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let report = fixture.case(case).await.reports[0];
    for statement in [
        "INSERT INTO case_parties (case_id, agency, part, by_request, supports, place, open_time) \
         SELECT case_id, 'police-CN', 'observing', 0, 0, 9, open_time FROM case_parties WHERE part = 'lead'",
        "INSERT INTO feed (agency, position, case_id, kind, change_time) \
         SELECT 'police-CN', position, case_id, kind, change_time FROM feed WHERE agency = 'police-450100'",
    ] {
        fixture.execute(statement).await;
    }
    let viewer = agency_viewer("police-CN");
    assert!(fixture.store.case(case, &viewer).await.unwrap().is_none());
    assert_eq!(listed(&fixture, &viewer).await, BTreeSet::new());
    let feed = fixture.feed("police-CN", 0).await;
    assert_eq!(feed.iter().map(|item| item.case.is_some()).collect::<Vec<_>>(), [false]);
    assert!(!fixture.store.sees_content(&agency("police-CN"), report).await.unwrap());
}

async fn pages_go_on_where_they_ended(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.extend(fixture.open(&vec![gambling(); 3]).await);
        fixture.clock.advance(HOUR);
    }
    fixture.open(&[official()]).await;
    fixture.act(by(opened[4], "police-450100")).await;
    let viewer = agency_viewer("police-450100");
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.store.cases(&viewer, None, after, 4).await.unwrap();
        after = page.next;
        pages.push(page.items);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 3]);
    let shown: Vec<_> = pages.into_iter().flatten().collect();
    assert!(
        shown.is_sorted_by(|a, b| (a.open_time, a.id) > (b.open_time, b.id)),
        "newest first"
    );
    let ids: BTreeSet<_> = shown.iter().map(|case| case.id).collect();
    assert_eq!(ids, opened.iter().copied().collect());
    assert!(
        shown
            .iter()
            .all(|case| case.reports.len() == 1 && case.opening.is_none())
    );
    let taken = fixture
        .store
        .cases(&viewer, Some(Listing::State(State::IN_PROGRESS)), None, 10)
        .await
        .unwrap()
        .items;
    assert_eq!(taken.iter().map(|case| case.id).collect::<Vec<_>>(), [opened[4]]);
}

async fn the_feed_is_without_gaps_and_in_the_order_of_commits(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let other = fixture.replica().await;
    let writers = (0..8).map(|i| {
        let batch: Vec<_> = (0..5).map(|_| fixture.arrival(&gambling())).collect();
        let (store, now) = (
            if i % 2 == 0 {
                fixture.store.clone()
            } else {
                other.clone()
            },
            fixture.now(),
        );
        async move {
            tokio::spawn(async move { store.open(&batch, now).await })
                .await
                .unwrap()
                .unwrap()
        }
    });
    // A reader goes along: what it has read up to, nothing comes in below.
    let reader = {
        let store = fixture.replica().await;
        tokio::spawn(async move {
            let mut read: Vec<u64> = Vec::new();
            while read.len() < 40 {
                let after = read.last().copied().unwrap_or(0);
                let items = store.feed(&agency("police-440000"), after, 7).await.unwrap().unwrap();
                read.extend(items.iter().map(|item| item.position));
                tokio::task::yield_now().await;
            }
            read
        })
    };
    join_all(writers).await;
    assert_eq!(reader.await.unwrap(), (1..=40).collect::<Vec<_>>());
}

async fn a_position_waits_for_the_commit_of_the_one_before(backend: Backend) {
    if backend.url().starts_with("sqlite:") {
        return; // One writer: there is no other transaction to overtake.
    }
    let fixture = Fixture::new(backend).await;
    let mut slow = fixture.db.begin().await.unwrap();
    for statement in [
        "UPDATE feed_head SET position = position + 1 WHERE id = 1",
        "INSERT INTO feed (agency, position, case_id, kind, change_time) \
         VALUES ('police-440000', 1, '00000000-0000-0000-0000-000000000000', 'case.opened', 0)",
    ] {
        slow.execute(statement, vec![]).await.unwrap();
    }
    let (store, arrival, now) = (fixture.store.clone(), fixture.arrival(&gambling()), fixture.now());
    let quick = tokio::spawn(async move { store.open(&[arrival], now).await });
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                   WHERE NOT granted AND datname = current_database()";
    while fixture.count(waiting).await == 0 {
        assert!(
            !quick.is_finished(),
            "it was given a position above one that is not committed"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.feed("police-440000", 0).await.len(), 0);
    slow.commit().await.unwrap();
    quick.await.unwrap().unwrap();
    let positions: Vec<_> = fixture
        .feed("police-440000", 0)
        .await
        .iter()
        .map(|item| item.position)
        .collect();
    assert_eq!(positions, [1, 2]);
}

async fn a_feed_goes_on_without_loss_or_repeat(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let first = fixture.feed("police-440000", 0).await;
    fixture.open(&[official()]).await;
    fixture.act(by(case, "police-450100")).await;
    fixture.open(&[gambling()]).await;
    let rest = fixture.feed("police-440000", first[0].position).await;
    let kinds: Vec<_> = first
        .iter()
        .chain(&rest)
        .map(|item| (item.position, item.kind.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [(1, "case.opened"), (3, "case.acknowledged"), (4, "case.opened")]
    );
    assert_eq!(rest[0].case.as_ref().unwrap().case.state(), State::IN_PROGRESS);
    assert_eq!(fixture.feed("police-440000", 4).await.len(), 0);
}
