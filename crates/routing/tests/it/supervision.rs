//! Pauses, reminders and supervision in the store.

use std::sync::Arc;

use api::event::{Detail, PauseGround, StateChange};
use decision::{
    calendar::{ClockKind, Unit},
    directory::Directory,
};
use journal::{Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Action, PauseClock, ResumeClock, ShareNarrative, State, Supervise};
use routing::store::versions::{Activated, Activation, Versions as _};
use routing::store::{Acted, Command, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, HOUR, agency, agency_viewer, by, command, gambling, shipped, standing};

testkit::on_each_backend!(
    p5_a_pause_outlasts_a_restart_and_ends_by_itself,
    p5_each_rung_is_recorded_once_with_two_replicas,
    p7_a_supervisor_sees_the_case_from_then_on_and_not_its_reports,
    p7_a_supporting_agency_reads_what_the_lead_shares,
    p4_a_supporting_supervisor_goes_on_supporting,
    p7_another_directory_ends_the_sight_of_a_supervisor,
);

async fn taken_over(fixture: &Fixture) -> Uuid {
    let case = fixture.open(&[gambling()]).await[0];
    assert!(matches!(fixture.act(by(case, "police-450100")).await, Acted::Done(_)));
    case
}

fn pause(case: Uuid) -> Command {
    let opinion = PauseClock {
        ground: PauseGround::ExpertOpinion,
        until: None,
    };
    command(case, "police-450100", Action::PauseClock(opinion))
}

fn supervise(case: Uuid, by: &str, hours: Option<u32>) -> Command {
    let term = hours.map(|hours| (hours, Unit::Hours));
    command(case, by, Action::Supervise(Supervise { term }))
}

async fn last_detail(fixture: &Fixture) -> Detail {
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("audit", fixture.now(), 1_000).await.unwrap();
    let last = StateChange::decode(told.last().unwrap().payload.as_slice()).unwrap();
    Detail::decode(last.detail.unwrap().content).unwrap()
}

async fn p5_a_pause_outlasts_a_restart_and_ends_by_itself(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let due = fixture.case(case).await.case.duty().unwrap().clock.due;
    fixture.clock.advance(DAY);
    let Acted::Done(_) = fixture.act(pause(case)).await else {
        panic!()
    };
    let paused = fixture.case(case).await;
    let detail = last_detail(&fixture).await;
    assert_eq!(detail.pause_ground(), PauseGround::ExpertOpinion);
    assert_eq!(detail.clocks[0].pause_ground(), PauseGround::ExpertOpinion);
    // Another replica reads the same from the database.
    let other = fixture.replica().await;
    let read = other
        .case(case, &routing::case::Party::Operator)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.case, paused.case);
    fixture.assert_promises().await;
    let ticker = fixture.ticker(&other);
    fixture.clock.advance(59 * DAY);
    assert_eq!(ticker.step().await.unwrap(), 0, "nothing runs");
    fixture.clock.advance(2 * DAY);
    assert_eq!(ticker.step().await.unwrap(), 1);
    assert_eq!(ticker.step().await.unwrap(), 0);
    let resumed = fixture.case(case).await;
    assert_eq!(standing(&resumed), (State::IN_PROGRESS, Some("police-450100")));
    let ledger = &resumed.case.duty().unwrap().clock.ledger;
    assert_eq!((ledger.used, ledger.pauses.len()), (1, 1));
    assert_eq!(ledger.pauses[0].ground, PauseGround::ExpertOpinion);
    assert_eq!(
        resumed.case.duty().unwrap().clock.due,
        due.plus_seconds(61 * DAY),
        "from the day of the pause to the end of the sixtieth day after it"
    );
    let again = fixture.act(pause(case)).await;
    assert!(
        matches!(
            &again,
            Acted::Refused(routing::case::Refusal::Argument { field: "ground", .. })
        ),
        "{again:?}"
    );
    let resume = command(case, "police-450100", Action::ResumeClock(ResumeClock));
    assert!(matches!(fixture.act(resume).await, Acted::Refused(_)));
    assert_eq!(
        fixture.all_kinds(case).await,
        [
            "case.opened",
            "case.acknowledged",
            "case.clock-paused",
            "case.clock-resumed"
        ]
    );
    fixture.assert_promises().await;
}

async fn p5_each_rung_is_recorded_once_with_two_replicas(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&vec![gambling(); 10]).await;
    for case in &cases {
        fixture.act(by(*case, "police-450100")).await;
    }
    let other = fixture.replica().await;
    let (one, two) = (fixture.ticker(&fixture.store), fixture.ticker(&other));
    // In time; after the end, and long after nothing ran.
    for days in [25, 10, 60] {
        fixture.clock.advance(days * DAY);
        let (a, b) = (one.clone(), two.clone());
        let (a, b) = tokio::join!(
            tokio::spawn(async move { a.step().await }),
            tokio::spawn(async move { b.step().await })
        );
        // What each left to the other is done by now, or is found at the next look.
        let done = a.unwrap().unwrap() + b.unwrap().unwrap() + one.step().await.unwrap();
        assert_eq!(done, 10, "after {days} days");
        fixture.assert_promises().await;
    }
    for case in cases {
        assert_eq!(
            fixture.all_kinds(case).await,
            [
                "case.opened",
                "case.acknowledged",
                "case.deadline-reminded",
                "case.supervised",
                "case.deadline-reminded",
                "case.escalated"
            ]
        );
        let stored = fixture.case(case).await;
        assert_eq!(standing(&stored), (State::ASSIGNED, Some("police-450000")));
        let history = &stored.history;
        let supervised = history.iter().find(|step| step.kind == "case.supervised").unwrap();
        assert_eq!(supervised.supervisor, "agencies/police-450000");
        assert_eq!(supervised.missed_clock.as_ref().unwrap().generation, 2);
    }
}

async fn p7_a_supervisor_sees_the_case_from_then_on_and_not_its_reports(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let report = fixture.case(case).await.reports[0];
    let superior = agency_viewer("police-450000");
    let seen = async || {
        let listed = fixture
            .store
            .cases(&superior, None, None, 10)
            .await
            .unwrap()
            .items
            .len();
        let read = fixture.store.case(case, &superior).await.unwrap().is_some();
        (listed, read, fixture.feed("police-450000", 0).await.len())
    };
    assert_eq!(seen().await, (0, false, 0));
    // A stranger is told that there is no such case.
    assert_eq!(
        fixture.act(supervise(case, "police-450200", None)).await,
        Acted::NotFound
    );
    let supporting = fixture.act(supervise(case, "police-440000", None)).await;
    assert!(matches!(supporting, Acted::Refused(_)), "{supporting:?}");
    assert_eq!(
        fixture.act(supervise(Uuid::nil(), "police-450000", None)).await,
        Acted::NotFound
    );
    let probe = Command {
        etag: "1-00".to_owned(),
        ..supervise(case, "police-450000", None)
    };
    assert_eq!(
        fixture.act(probe).await,
        Acted::NotFound,
        "an etag tells nothing either"
    );
    for (term, changes) in [(None, 1), (Some(48), 2)] {
        assert!(matches!(
            fixture.act(supervise(case, "police-450000", term)).await,
            Acted::Done(_)
        ));
        assert_eq!(seen().await, (1, true, changes));
    }
    let content = fixture.store.sees_content(&agency("police-450000"), report).await;
    assert!(!content.unwrap());
    let stored = fixture.case(case).await;
    let clock = &stored.case.duty().unwrap().clock;
    assert_eq!(
        (clock.kind(), clock.due),
        (ClockKind::Result, fixture.now().plus_seconds(48 * HOUR))
    );
    let detail = last_detail(&fixture).await;
    assert_eq!(
        (detail.supervisor.as_str(), detail.missed_clock),
        ("agencies/police-450000", None)
    );
    fixture.assert_promises().await;
    // It leads elsewhere: the superior no longer sees it.
    let transfer = Action::Transfer(routing::case::Transfer {
        to: agency("police-440300"),
        reason: routing::case::Reason::Place,
        keep_supporting: false,
    });
    let moved = fixture.act(command(case, "police-450100", transfer)).await;
    assert!(matches!(moved, Acted::Done(_)), "{moved:?}");
    assert!(fixture.store.case(case, &superior).await.unwrap().is_none());
    fixture.assert_promises().await;
}

async fn p7_a_supporting_agency_reads_what_the_lead_shares(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let report = fixture.case(case).await.reports[0];
    let reads = async || {
        fixture
            .store
            .sees_content(&agency("police-440000"), report)
            .await
            .unwrap()
    };
    assert!(!reads().await);
    for shared in [true, false] {
        let share = Action::ShareNarrative(ShareNarrative {
            with: agency("police-440000"),
            shared,
        });
        let done = fixture.act(command(case, "police-450100", share)).await;
        assert!(matches!(done, Acted::Done(_)), "{done:?}");
        assert_eq!(reads().await, shared);
        assert_eq!(last_detail(&fixture).await.shared_with, "agencies/police-440000");
        assert_eq!(fixture.case(case).await.case.supporting[0].informed, shared);
        fixture.assert_promises().await;
    }
}

async fn p4_a_supporting_supervisor_goes_on_supporting(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let request = Action::RequestAssistance(routing::case::RequestAssistance {
        of: agency("police-450000"),
    });
    assert!(matches!(
        fixture.act(command(case, "police-450100", request)).await,
        Acted::Done(_)
    ));
    let asked = fixture.case(case).await.case;
    let done = fixture.act(supervise(case, "police-450000", None)).await;
    assert!(matches!(done, Acted::Done(_)), "{done:?}");
    let stored = fixture.case(case).await.case;
    assert_eq!(stored.supervisor, Some(agency("police-450000")));
    assert_eq!(stored.clocks, asked.clocks, "it is still to answer");
    let find = |case: &routing::case::Case| {
        let mut supporting = case.supporting.iter();
        supporting.find(|of| of.agency == agency("police-450000")).cloned()
    };
    assert_eq!(find(&stored), find(&asked));
    fixture.assert_promises().await;
}

async fn p7_another_directory_ends_the_sight_of_a_supervisor(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let done = fixture.act(supervise(case, "police-450000", None)).await;
    assert!(matches!(done, Acted::Done(_)), "{done:?}");
    let superior = agency_viewer("police-450000");
    let sees = async || fixture.store.case(case, &superior).await.unwrap().is_some();
    assert!(sees().await);
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.settle().await.unwrap(), 0, "it is above the lead");
    let source = Directory::shipped().source().replace(
        "en: Nanning network-police desk}, superior: police-450000}",
        "en: Nanning network-police desk}, superior: police-CN}",
    );
    let directory = Directory::parse(&source, Directory::shipped().territories()).unwrap();
    let activation = Activation {
        seen: fixture.store.active().digests(),
        next: shipped().with_directory(Arc::new(directory)).unwrap(),
        hand: crate::fixture::first(),
        difference: Default::default(),
        purpose: String::new(),
        actor: Default::default(),
        traceparent: String::new(),
        request: None,
    };
    let activated = crate::fixture::activate(&*fixture.store, activation, fixture.now()).await;
    assert!(matches!(activated, Activated::Done(_)), "{activated:?}");
    // At once, and for good at the next tick.
    assert!(!sees().await);
    assert_eq!(ticker.settle().await.unwrap(), 1);
    assert_eq!(ticker.settle().await.unwrap(), 0);
    let stored = fixture.case(case).await;
    assert_eq!(stored.case.supervisor, None);
    assert_eq!(stored.history.last().unwrap().kind, "case.supervision-ended");
    let told = fixture.feed("police-450000", 0).await;
    assert!(told.iter().all(|item| item.case.is_none()), "it has lost it");
    assert_eq!(
        fixture
            .count("SELECT count(*) FROM case_lists WHERE agency = 'police-450000'")
            .await,
        0
    );
    fixture.assert_promises().await;
}
