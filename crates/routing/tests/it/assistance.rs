//! Assistance in the store: several clocks on one case, several verbs in one commit, and sight that
//! is lost by an answer.

use api::event::{AssistanceAnswer, ClockKind, Detail, StateChange};
use api::routing::{Facts, case_sight::Sight};
use journal::{Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Action, Answer, AnswerAssistance, Party, RequestAssistance, State};
use routing::store::{Acted, Command, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, agency, agency_viewer, by, command, gambling, request, standing};

testkit::on_each_backend!(
    p5_several_clocks_run_at_once_and_each_is_missed_by_itself,
    p7_an_answer_can_end_the_sight_of_the_case,
    p7_a_part_without_the_request_outlasts_it,
    p5_a_request_whose_agency_ends_is_passed_on,
    p7_an_exclusion_outlasts_the_directory_that_made_it,
    verbs_on_one_case_share_a_commit_in_their_order,
);

fn ask(case: Uuid, of: &str) -> Command {
    command(
        case,
        "police-450100",
        Action::RequestAssistance(RequestAssistance { of: agency(of) }),
    )
}

fn answer(case: Uuid, from: &str, answer: Answer) -> Command {
    command(case, from, Action::AnswerAssistance(AnswerAssistance { answer }))
}

async fn taken_over(fixture: &Fixture) -> Uuid {
    let case = fixture.open(&[gambling()]).await[0];
    assert!(matches!(fixture.act(by(case, "police-450100")).await, Acted::Done(_)));
    case
}

async fn p5_several_clocks_run_at_once_and_each_is_missed_by_itself(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    assert!(matches!(fixture.act(ask(case, "police-440300")).await, Acted::Done(_)));
    let asked = fixture.case(case).await;
    assert_eq!(asked.case.all_clocks().count(), 2);
    fixture.assert_promises().await;
    // Five working days and more: the request goes up, the case does not.
    fixture.clock.advance(9 * DAY);
    assert_eq!(fixture.ticker(&fixture.store).step().await.unwrap(), 1);
    let passed = fixture.case(case).await;
    assert_eq!(standing(&passed), (State::IN_PROGRESS, Some("police-450100")));
    assert_eq!(passed.case.duty(), asked.case.duty(), "the lead's clock is as it was");
    assert_eq!(passed.case.clocks[0].owner, agency("police-440000"));
    fixture.assert_promises().await;
    // What the log is told names the clock, and its generation.
    let told = SqlOutbox(fixture.db.clone())
        .pending("audit", fixture.now(), 10)
        .await
        .unwrap();
    let last = StateChange::decode(told.last().unwrap().payload.as_slice()).unwrap();
    let detail = Detail::decode(last.detail.unwrap().content).unwrap();
    let missed = detail.missed_clock.unwrap();
    assert_eq!(
        (
            missed.kind(),
            missed.generation,
            missed.owner.as_str(),
            detail.clocks.len()
        ),
        (ClockKind::Assist, 3, "agencies/police-440300", 2)
    );
    assert_eq!(
        fixture.kinds(case).await,
        [
            "case.opened",
            "case.acknowledged",
            "case.assistance-requested",
            "case.clock-missed"
        ]
    );
    // The lead's own clock, thirty days: the case goes up, and the request stays with whoever has
    // it now.
    for days in [30, 20] {
        fixture.clock.advance(days * DAY);
        while fixture.ticker(&fixture.store).step().await.unwrap() > 0 {
            fixture.assert_promises().await;
        }
    }
    let escalated = fixture.case(case).await;
    assert_eq!(standing(&escalated).1, Some("police-450000"));
    assert_eq!(escalated.case.all_clocks().count(), 2);
}

async fn p7_an_answer_can_end_the_sight_of_the_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    assert!(matches!(fixture.act(ask(case, "police-440300")).await, Acted::Done(_)));
    let viewer = agency_viewer("police-440300");
    let report = fixture.case(case).await.reports[0];
    assert!(fixture.store.case(case, &viewer).await.unwrap().is_some());
    assert!(
        !fixture
            .store
            .sees_content(&agency("police-440300"), report)
            .await
            .unwrap()
    );
    let unable = request(answer(case, "police-440300", Answer::Unable), 1, 1);
    let first = fixture.act(unable.clone()).await;
    let Acted::Done(sight) = &first else {
        panic!("{first:?}")
    };
    assert_eq!(
        sight.sight,
        Some(Sight::LostCase(format!("cases/{case}"))),
        "nothing but the name"
    );
    assert_eq!(fixture.act(unable).await, first, "a repeat learns no more");
    assert!(fixture.store.case(case, &viewer).await.unwrap().is_none());
    assert_eq!(
        fixture.store.cases(&viewer, None, None, 10).await.unwrap().items.len(),
        0
    );
    let feed = fixture.feed("police-440300", 0).await;
    assert!(
        feed.iter().all(|item| item.case.is_none()) && feed.len() == 2,
        "{feed:?}"
    );
    assert_eq!(
        fixture.act(answer(case, "police-440300", Answer::Provided)).await,
        Acted::NotFound
    );
    fixture.assert_promises().await;
}

async fn p7_a_part_without_the_request_outlasts_it(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let done = async |command| {
        let acted = fixture.act(command).await;
        assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
        fixture.assert_promises().await;
    };
    let sees = async |id: &str| fixture.store.case(case, &agency_viewer(id)).await.unwrap().is_some();
    // Named by the route.
    done(ask(case, "police-440000")).await;
    done(answer(case, "police-440000", Answer::Unable)).await;
    assert!(sees("police-440000").await);
    // Assisted once, and cannot again.
    done(ask(case, "police-440300")).await;
    done(answer(case, "police-440300", Answer::Provided)).await;
    done(ask(case, "police-440300")).await;
    done(answer(case, "police-440300", Answer::Unable)).await;
    assert!(sees("police-440300").await);
    // Asked, continued by another, and cannot.
    done(ask(case, "police-450200")).await;
    fixture
        .apply(&[("police-450200", "valid_to: 2026-03-02, successor: police-450300")])
        .await;
    fixture.clock.advance(DAY);
    assert_eq!(fixture.ticker(&fixture.store).succeed().await.unwrap(), 1);
    assert!(sees("police-450300").await && !sees("police-450200").await);
    done(answer(case, "police-450300", Answer::Unable)).await;
    assert!(!sees("police-450300").await);
    // Led before.
    fixture.clock.advance(40 * DAY);
    for state in [State::IN_PROGRESS, State::ASSIGNED] {
        fixture.ticker(&fixture.store).step().await.unwrap();
        assert_eq!(fixture.case(case).await.case.state(), state, "first under supervision");
        fixture.clock.advance(20 * DAY);
    }
    done(by(case, "police-450000")).await;
    let request = Action::RequestAssistance(RequestAssistance {
        of: agency("police-450100"),
    });
    done(command(case, "police-450000", request)).await;
    done(answer(case, "police-450100", Answer::Unable)).await;
    assert!(sees("police-450100").await);
}

async fn p5_a_request_whose_agency_ends_is_passed_on(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    assert!(matches!(fixture.act(ask(case, "police-440300")).await, Acted::Done(_)));
    fixture.apply(&[("police-440300", "valid_to: 2026-03-02")]).await;
    fixture.clock.advance(DAY);
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.succeed().await.unwrap(), 1);
    assert_eq!(ticker.succeed().await.unwrap(), 0);
    let after = fixture.case(case).await;
    assert_eq!(after.case.clocks[0].owner, agency("police-440000"));
    assert_eq!(
        fixture.kinds(case).await[2..],
        [
            "case.assistance-requested",
            "case.assistance-passed-on",
            "case.succeeded"
        ]
    );
    let told = SqlOutbox(fixture.db.clone())
        .pending("audit", fixture.now(), 20)
        .await
        .unwrap();
    let details = told.iter().filter_map(|told| {
        let change = StateChange::decode(told.payload.as_slice()).unwrap();
        Detail::decode(change.detail?.content).ok()
    });
    let passed_on: Vec<_> = details
        .filter(|detail| detail.assistant == "agencies/police-440300" && detail.clocks.len() == 2)
        .map(|detail| detail.clocks[1].owner.clone())
        .collect();
    assert_eq!(passed_on, ["agencies/police-440300", "agencies/police-440000"]);
    fixture.assert_promises().await;
}

async fn p7_an_exclusion_outlasts_the_directory_that_made_it(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let facts = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let case = fixture.open(&[facts]).await[0];
    assert!(matches!(fixture.act(by(case, "police-450100")).await, Acted::Done(_)));
    // The supporting agency is to continue the excluded one, which a later directory no longer has.
    fixture
        .apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-440000")])
        .await;
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.succeed().await.unwrap(), 1);
    fixture.apply(&[("police-130400", "")]).await;
    assert_eq!(ticker.succeed().await.unwrap(), 0);
    for asked in ["police-440000", "police-440300"] {
        let refused = fixture.act(ask(case, asked)).await;
        assert!(matches!(refused, Acted::Refused(_)), "{asked}: {refused:?}");
    }
    assert!(matches!(fixture.act(ask(case, "police-450200")).await, Acted::Done(_)));
}

async fn verbs_on_one_case_share_a_commit_in_their_order(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let group = [
        ask(case, "police-440300"),
        by(case, "police-450100"),
        ask(case, "police-440300"),
        ask(case, "police-450200"),
        ask(case, "police-450200"),
        answer(case, "police-440300", Answer::Unable),
    ];
    let acted = fixture.store.act(&group, fixture.now()).await.unwrap();
    let done: Vec<_> = acted.iter().map(|acted| matches!(acted, Acted::Done(_))).collect();
    assert_eq!(done, [false, true, true, true, false, true], "{acted:?}");
    let stored = fixture.case(case).await;
    assert_eq!((stored.head.sequence, stored.case.generation), (5, 4));
    let parties: Vec<_> = stored.case.parties().map(|(agency, _)| agency.as_str()).collect();
    assert_eq!(parties, ["police-450100", "police-440000", "police-450200"]);
    assert_eq!(
        fixture.kinds(case).await,
        [
            "case.opened",
            "case.acknowledged",
            "case.assistance-requested",
            "case.assistance-requested",
            "case.assistance-answered"
        ]
    );
    let answered = fixture.store.case(case, &Party::Operator).await.unwrap().unwrap();
    assert_eq!(answered.case, stored.case);
    let kinds: Vec<_> = fixture
        .feed("police-440300", 0)
        .await
        .into_iter()
        .map(|item| item.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            "case.assistance-requested",
            "case.assistance-requested",
            "case.assistance-answered"
        ]
    );
    assert_eq!(AssistanceAnswer::from(Answer::Unable), AssistanceAnswer::Unable);
    fixture.assert_promises().await;
}
