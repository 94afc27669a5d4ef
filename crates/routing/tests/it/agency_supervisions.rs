//! Agencies under the supervision of a superior: who begins, answers and ends one, and who is shown
//! it.

use api::event::{Detail, StateChange};
use api::routing::{
    AgencySupervision, AnswerSupervisionRequest, EndSupervisionRequest, ListSupervisionsRequest, SuperviseAgencyRequest,
};
use journal::{Outbox as _, SqlOutbox};
use prost::Message as _;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::DAY;
use crate::service::{Running, refused};

testkit::on_each_backend!(
    p7_a_supervision_is_begun_by_a_superior_and_shown_to_both_alone,
    p1_each_step_of_a_supervision_is_logged_once,
    a_supervision_that_cannot_be_is_refused,
);

fn demand(running: &Running, agency: &str, days: i64) -> SuperviseAgencyRequest {
    SuperviseAgencyRequest {
        agency: format!("agencies/{agency}"),
        demand: "take cases over within a day".to_owned(),
        correct_by_time: Some(running.fixture.now().plus_seconds(days * DAY).to_proto()),
        request_id: String::new(),
    }
}

async fn begun(running: &Running, days: i64) -> AgencySupervision {
    let request = demand(running, "police-450100", days);
    let answer = running.caller("guangxi").supervise_agency(request).await;
    answer.unwrap().into_inner().begun_supervision.unwrap()
}

/// What a caller is shown, by pages of one.
async fn shown(running: &Running, system: &str) -> Vec<AgencySupervision> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSupervisionsRequest {
            page_size: 1,
            page_token,
        };
        let page = running
            .caller(system)
            .list_supervisions(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.supervisions.len() <= 1);
        all.extend(page.supervisions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn answer(of: &AgencySupervision) -> AnswerSupervisionRequest {
    AnswerSupervisionRequest {
        name: of.name.clone(),
        answer: "two more officers since Monday".to_owned(),
        request_id: String::new(),
    }
}

fn end(of: &AgencySupervision) -> EndSupervisionRequest {
    EndSupervisionRequest {
        name: of.name.clone(),
        corrected: true,
        note: "seen".to_owned(),
        request_id: String::new(),
    }
}

async fn p7_a_supervision_is_begun_by_a_superior_and_shown_to_both_alone(backend: Backend) {
    let running = Running::start(backend).await;
    let first = begun(&running, 10).await;
    running.fixture.clock.advance(60);
    let second = begun(&running, 20).await;
    assert_eq!(
        (first.supervisor.as_str(), first.agency.as_str()),
        ("agencies/police-450000", "agencies/police-450100")
    );
    for system in ["guangxi", "nanning", "nanning-second"] {
        assert_eq!(
            shown(&running, system).await,
            [first.clone(), second.clone()],
            "{system}"
        );
    }
    for system in ["guangdong", "handan", "inspection"] {
        assert_eq!(shown(&running, system).await, [], "{system}");
        // As if there were none.
        let tried = running.caller(system).answer_supervision(answer(&first)).await;
        refused(tried, Code::NotFound, "NOT_FOUND");
        let tried = running.caller(system).end_supervision(end(&first)).await;
        refused(tried, Code::NotFound, "NOT_FOUND");
    }
    // Neither side does what is the other's.
    let tried = running.caller("guangxi").answer_supervision(answer(&first)).await;
    refused(tried, Code::PermissionDenied, "DENIED");
    let tried = running.caller("nanning").end_supervision(end(&first)).await;
    refused(tried, Code::PermissionDenied, "DENIED");
    running.fixture.clock.advance(DAY);
    let answered = running.caller("nanning").answer_supervision(answer(&first)).await;
    let answered = answered.unwrap().into_inner().answered_supervision.unwrap();
    assert_eq!(answered.answer, "two more officers since Monday");
    assert_eq!(answered.answer_time, Some(running.fixture.now().to_proto()));
    let again = running.caller("nanning").answer_supervision(answer(&first)).await;
    refused(again, Code::FailedPrecondition, "WRONG_STATE");
    let ended = running.caller("guangxi").end_supervision(end(&first)).await;
    let ended = ended.unwrap().into_inner().ended_supervision.unwrap();
    assert!(ended.corrected && ended.end_time.is_some());
    assert_eq!(shown(&running, "nanning").await, [ended, second.clone()]);
    let again = running.caller("guangxi").end_supervision(end(&first)).await;
    refused(again, Code::FailedPrecondition, "WRONG_STATE");
    // One that was not answered is ended, too.
    running.caller("guangxi").end_supervision(end(&second)).await.unwrap();
    let late = running.caller("nanning").answer_supervision(answer(&second)).await;
    refused(late, Code::FailedPrecondition, "WRONG_STATE");
    running.finish().await;
}

async fn p1_each_step_of_a_supervision_is_logged_once(backend: Backend) {
    let running = Running::start(backend).await;
    let request = SuperviseAgencyRequest {
        request_id: Uuid::from_u128(7).to_string(),
        ..demand(&running, "police-450100", 10)
    };
    let mut guangxi = running.caller("guangxi");
    let first = guangxi.supervise_agency(request.clone()).await.unwrap().into_inner();
    running.fixture.clock.advance(60);
    let again = guangxi.supervise_agency(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = SuperviseAgencyRequest {
        demand: "something else".to_owned(),
        ..request
    };
    refused(
        guangxi.supervise_agency(other).await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    let of = first.begun_supervision.unwrap();
    let answer = AnswerSupervisionRequest {
        request_id: Uuid::from_u128(8).to_string(),
        ..answer(&of)
    };
    let mut nanning = running.caller("nanning");
    let answered = nanning.answer_supervision(answer.clone()).await.unwrap().into_inner();
    assert_eq!(nanning.answer_supervision(answer).await.unwrap().into_inner(), answered);
    guangxi.end_supervision(end(&of)).await.unwrap();
    let outbox = SqlOutbox(running.fixture.db.clone());
    let told = outbox.pending("audit", running.fixture.now(), 1_000).await.unwrap();
    let logged: Vec<_> = told.iter().filter(|told| told.record == of.name).collect();
    let details = logged.iter().map(|told| {
        for text in ["take cases over", "two more officers", "seen"] {
            let is_there = told.payload.windows(text.len()).any(|bytes| bytes == text.as_bytes());
            assert!(!is_there, "{text}");
        }
        let change = StateChange::decode(told.payload.as_slice()).unwrap();
        Detail::decode(change.detail.unwrap().content).unwrap()
    });
    let details: Vec<_> = details.collect();
    let states: Vec<_> = details
        .iter()
        .map(|detail| (detail.from_state.as_str(), detail.to_state.as_str()))
        .collect();
    assert_eq!(states, [("", "OPEN"), ("OPEN", "ANSWERED"), ("ANSWERED", "ENDED")]);
    for detail in &details {
        assert_eq!(detail.supervised_agency, "agencies/police-450100");
        assert_eq!(detail.correct_by_time, of.correct_by_time);
        assert!(!detail.content_commitment.is_empty());
    }
    assert_eq!(details[1].actor.as_ref().unwrap().agency, "agencies/police-450100");
    running.finish().await;
}

async fn a_supervision_that_cannot_be_is_refused(backend: Backend) {
    let running = Running::start(backend).await;
    let fields = |status: &Status| {
        let bad = status.get_details_bad_request().unwrap().field_violations;
        bad.into_iter().map(|bad| bad.field).collect::<Vec<_>>()
    };
    let good = demand(&running, "police-450100", 10);
    for (wrong, expected) in [
        (
            SuperviseAgencyRequest::default(),
            vec!["agency", "demand", "correct_by_time"],
        ),
        (demand(&running, "police-440000", 10), vec!["agency"]),
        (demand(&running, "police-450000", 10), vec!["agency"]),
        (demand(&running, "police-CN", 10), vec!["agency"]),
        (demand(&running, "police-450100", 0), vec!["correct_by_time"]),
        (demand(&running, "police-450100", 367), vec!["correct_by_time"]),
        (
            SuperviseAgencyRequest {
                demand: "字".repeat(2_001),
                request_id: "seven".to_owned(),
                ..good.clone()
            },
            vec!["demand", "request_id"],
        ),
    ] {
        let answer = running.caller("guangxi").supervise_agency(wrong).await;
        let status = refused(answer, Code::InvalidArgument, "INVALID_INPUT");
        assert_eq!(fields(&status), expected);
    }
    for _ in 0..20 {
        running.caller("guangxi").supervise_agency(good.clone()).await.unwrap();
    }
    let more = running.caller("guangxi").supervise_agency(good.clone()).await;
    let status = refused(more, Code::InvalidArgument, "INVALID_INPUT");
    assert_eq!(fields(&status), ["agency"]);
    let of = shown(&running, "guangxi").await.remove(0);
    running.caller("guangxi").end_supervision(end(&of)).await.unwrap();
    running.caller("guangxi").supervise_agency(good).await.unwrap();
    running.finish().await;
}
