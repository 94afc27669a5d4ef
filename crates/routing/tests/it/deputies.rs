//! Deputies of officers: whose cases they have, what they may not review; and the cases of one who
//! leaves, moved by one call.

use std::{collections::BTreeSet, time::Duration};

use api::event::{Detail, DispositionKind, StateChange};
use api::routing::{
    AcknowledgeCaseRequest, AppointDeputyRequest, AssignCaseRequest, CountWorklistsRequest, Deputy, EndDeputyRequest,
    ListCasesRequest, ListDeputiesRequest, MoveCasesRequest, MoveCasesResponse, ProposeDispositionRequest,
    ReviewDispositionRequest, Worklist as Wire, assign_case_request::Assignee as To, batched_case::Result as Became,
    case_service_client::CaseServiceClient, case_sight::Sight, move_cases_request::Assignee as MoveTo,
};
use journal::{Outbox as _, SqlOutbox, Time};
use prost::Message as _;
use rpc::{
    Officer,
    client::{Bearer, Caller, connect_for},
};
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::{DAY, HOUR, agency, gambling};
use crate::service::{Running, refused, token};

testkit::on_each_backend!(
    p7_a_deputy_has_the_cases_of_the_officer_for_the_time,
    who_acts_for_another_reviews_nothing_of_the_others,
    p1_a_deputy_is_logged_and_appointed_once,
    a_deputy_that_cannot_be_is_refused,
    all_cases_of_a_leaver_are_moved_by_one_call_at_a_time,
);

fn client(running: &Running, system: &str, officer: &str) -> CaseServiceClient<Caller> {
    let officer = Officer::new(officer).unwrap();
    let channel = connect_for(
        &running.address,
        &Bearer::new(&token(system)).unwrap(),
        Some(&officer),
        Some(Duration::from_secs(20)),
    );
    CaseServiceClient::new(channel.unwrap())
}

fn appointment(running: &Running, officer: &str, deputy: &str, from: i64, until: i64) -> AppointDeputyRequest {
    let now = running.fixture.now();
    AppointDeputyRequest {
        officer: officer.to_owned(),
        deputy: deputy.to_owned(),
        begin_time: Some(now.plus_seconds(from).to_proto()),
        end_time: Some(now.plus_seconds(until).to_proto()),
        request_id: String::new(),
    }
}

async fn appointed(running: &Running, officer: &str, deputy: &str, from: i64, until: i64) -> Deputy {
    let request = appointment(running, officer, deputy, from, until);
    let answer = client(running, "nanning", "o-9").appoint_deputy(request).await;
    answer.unwrap().into_inner().appointed_deputy.unwrap()
}

async fn assign(running: &Running, case: Uuid, officer: &str) {
    let request = AssignCaseRequest {
        name: format!("cases/{case}"),
        assignee: Some(To::Officer(officer.to_owned())),
        ..AssignCaseRequest::default()
    };
    client(running, "nanning", "o-9").assign_case(request).await.unwrap();
}

/// The cases that an officer has by lists, which are also counted.
async fn has(running: &Running, officer: &str) -> BTreeSet<String> {
    let mut nanning = running.caller("nanning");
    let mut listed = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = ListCasesRequest {
            officer: officer.to_owned(),
            page_size: 1,
            page_token,
            ..ListCasesRequest::default()
        };
        let page = nanning.list_cases(request).await.unwrap().into_inner();
        listed.extend(page.cases.into_iter().map(|case| case.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let request = CountWorklistsRequest {
        officer: officer.to_owned(),
        ..CountWorklistsRequest::default()
    };
    let counts = nanning.count_worklists(request).await.unwrap().into_inner().counts;
    let count = counts.iter().find(|count| count.worklist() == Wire::Assigned).unwrap();
    assert_eq!(usize::try_from(count.case_count).unwrap(), listed.len(), "{officer}");
    listed
}

fn fields(status: &Status) -> Vec<String> {
    let bad = status.get_details_bad_request().unwrap().field_violations;
    bad.into_iter().map(|bad| bad.field).collect()
}

async fn p7_a_deputy_has_the_cases_of_the_officer_for_the_time(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running.fixture.open(&[gambling(), gambling(), gambling()]).await;
    for (case, officer) in cases.iter().zip(["o-1", "o-2", "o-3"]) {
        assign(&running, *case, officer).await;
    }
    let of = |places: &[usize]| {
        places
            .iter()
            .map(|at| format!("cases/{}", cases[*at]))
            .collect::<BTreeSet<_>>()
    };
    appointed(&running, "o-1", "o-2", HOUR, 3 * HOUR).await;
    let second = appointed(&running, "o-2", "o-3", 2 * HOUR, 4 * HOUR).await;
    let all = async || {
        (
            has(&running, "o-1").await,
            has(&running, "o-2").await,
            has(&running, "o-3").await,
        )
    };
    assert_eq!(all().await, (of(&[0]), of(&[1]), of(&[2])), "not begun");
    running.fixture.clock.advance(HOUR);
    assert_eq!(all().await, (of(&[0]), of(&[0, 1]), of(&[2])));
    running.fixture.clock.advance(HOUR);
    assert_eq!(
        all().await,
        (of(&[0]), of(&[0, 1]), of(&[0, 1, 2])),
        "a deputy of a deputy stands in for both"
    );
    assert_eq!(has(&running, "Ｏ-2").await, of(&[0, 1]), "whatever the spelling");
    // Another agency's officers of that name have nothing of it.
    let request = ListCasesRequest {
        officer: "o-2".to_owned(),
        ..ListCasesRequest::default()
    };
    let other = running
        .caller("guangdong")
        .list_cases(request)
        .await
        .unwrap()
        .into_inner();
    assert!(other.cases.is_empty());
    let list = |page_token: &str| ListDeputiesRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
    };
    let mut nanning = running.caller("nanning");
    let first = nanning.list_deputies(list("")).await.unwrap().into_inner();
    let next = nanning
        .list_deputies(list(&first.next_page_token))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((first.deputies.len(), next.next_page_token.as_str()), (1, ""));
    // Two of one moment come in any order, each once.
    let both: BTreeSet<_> = [first.deputies, next.deputies]
        .concat()
        .into_iter()
        .map(|of| of.name)
        .collect();
    assert!(both.len() == 2 && both.contains(&second.name), "{both:?}");
    let others = running
        .caller("guangdong")
        .list_deputies(list(""))
        .await
        .unwrap()
        .into_inner();
    assert!(others.deputies.is_empty(), "each agency its own");
    // The one ends by its time, the other because somebody ends it.
    running.fixture.clock.advance(HOUR);
    assert_eq!(all().await, (of(&[0]), of(&[1]), of(&[1, 2])));
    let end = EndDeputyRequest {
        name: second.name.clone(),
    };
    let stranger = client(&running, "guangdong", "o-9").end_deputy(end.clone()).await;
    refused(stranger, Code::NotFound, "NOT_FOUND");
    let mut desk = client(&running, "nanning", "o-9");
    let ended = desk
        .end_deputy(end.clone())
        .await
        .unwrap()
        .into_inner()
        .ended_deputy
        .unwrap();
    assert_eq!(ended.end_time, Some(running.fixture.now().to_proto()));
    assert_eq!(all().await, (of(&[0]), of(&[1]), of(&[2])));
    refused(desk.end_deputy(end).await, Code::FailedPrecondition, "WRONG_STATE");
    let left = nanning.list_deputies(list("")).await.unwrap().into_inner();
    assert!(left.deputies.is_empty());
    running.finish().await;
}

async fn who_acts_for_another_reviews_nothing_of_the_others(backend: Backend) {
    let running = Running::start(backend).await;
    let case = running.fixture.open(&[gambling()]).await[0];
    let name = format!("cases/{case}");
    let acknowledge = AcknowledgeCaseRequest {
        name: name.clone(),
        ..AcknowledgeCaseRequest::default()
    };
    client(&running, "nanning", "o-1")
        .acknowledge_case(acknowledge)
        .await
        .unwrap();
    let propose = async |officer: &str| {
        let request = ProposeDispositionRequest {
            name: name.clone(),
            disposition: Some(api::event::Disposition {
                kind: DispositionKind::SuspectedCrime.into(),
                effects: vec![api::event::DispositionEffect::None.into()],
                legal_basis: "刑法 303".to_owned(),
            }),
            reasons: "an organised game".to_owned(),
            ..ProposeDispositionRequest::default()
        };
        client(&running, "nanning", officer)
            .propose_disposition(request)
            .await
            .unwrap();
    };
    let review = async |officer: &str, approved: bool| {
        let request = ReviewDispositionRequest {
            name: name.clone(),
            verdict: if approved { 1 } else { 2 },
            note: "the list is missing".to_owned(),
            ..ReviewDispositionRequest::default()
        };
        client(&running, "nanning", officer).review_disposition(request).await
    };
    appointed(&running, "o-1", "o-2", 0, HOUR).await;
    appointed(&running, "o-2", "o-3", 0, 2 * HOUR).await;
    // Neither the deputy what the officer proposed, nor the deputy's deputy, nor the reverse; and
    // not once the time has ended either.
    for (proposer, barred) in [("o-1", ["o-2", "o-3"]), ("o-3", ["o-1", "o-2"])] {
        propose(proposer).await;
        for officer in barred {
            for approved in [true, false] {
                let status = refused(review(officer, approved).await, Code::PermissionDenied, "DENIED");
                assert!(status.message().contains("in each other's stead"), "{status:?}");
            }
        }
        review("o-9", false).await.unwrap();
    }
    propose("o-1").await;
    running.fixture.clock.advance(3 * HOUR);
    refused(review("o-2", true).await, Code::PermissionDenied, "DENIED");
    review("o-9", false).await.unwrap();
    // What is proposed after that is proposed by two who are apart.
    propose("o-1").await;
    running.fixture.clock.advance(HOUR);
    review("o-2", true).await.unwrap();
    running.fixture.assert_promises().await;
    running.finish().await;
}

async fn p1_a_deputy_is_logged_and_appointed_once(backend: Backend) {
    let running = Running::start(backend).await;
    let request = AppointDeputyRequest {
        request_id: Uuid::from_u128(7).to_string(),
        ..appointment(&running, "o-1", "o-2", 0, DAY)
    };
    let mut desk = client(&running, "nanning", "o-9");
    let first = desk.appoint_deputy(request.clone()).await.unwrap().into_inner();
    running.fixture.clock.advance(60);
    let again = desk.appoint_deputy(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = AppointDeputyRequest {
        deputy: "o-3".to_owned(),
        ..request
    };
    refused(
        desk.appoint_deputy(other).await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    let deputy = first.appointed_deputy.unwrap();
    assert_eq!((deputy.appointer.as_str(), deputy.officer.as_str()), ("o-9", "o-1"));
    let end = EndDeputyRequest {
        name: deputy.name.clone(),
    };
    desk.end_deputy(end).await.unwrap();
    let outbox = SqlOutbox(running.fixture.db.clone());
    let told = outbox.pending("audit", running.fixture.now(), 1_000).await.unwrap();
    let logged: Vec<_> = told.iter().filter(|told| told.record == deputy.name).collect();
    assert_eq!(logged.len(), 2, "appointed once, ended once, in one chain");
    let details = logged.iter().map(|told| {
        for name in ["o-1", "o-2", "o-9"] {
            let is_named = told.payload.windows(name.len()).any(|bytes| bytes == name.as_bytes());
            assert!(!is_named, "no name is logged");
        }
        let change = StateChange::decode(told.payload.as_slice()).unwrap();
        Detail::decode(change.detail.unwrap().content).unwrap()
    });
    let details: Vec<_> = details.collect();
    let deputyship = details[0].deputyship.clone().unwrap();
    assert_eq!(deputyship.end_time, deputy.end_time);
    assert!(!deputyship.officer_commitment.is_empty());
    assert_ne!(deputyship.officer_commitment, deputyship.deputy_commitment);
    assert_eq!(details[1].actor.as_ref().unwrap().agency, "agencies/police-450100");
    let told = outbox.pending("intake", running.fixture.now(), 1_000).await.unwrap();
    assert!(told.iter().all(|told| !told.record.starts_with("deputies/")));
    running.finish().await;
}

async fn a_deputy_that_cannot_be_is_refused(backend: Backend) {
    let running = Running::start(backend).await;
    let mut desk = client(&running, "nanning", "o-9");
    let good = appointment(&running, "o-1", "o-2", 0, DAY);
    for (wrong, expected) in [
        (AppointDeputyRequest::default(), vec!["officer", "deputy", "end_time"]),
        (
            AppointDeputyRequest {
                deputy: "O-1".to_owned(),
                ..good.clone()
            },
            vec!["deputy"],
        ),
        (
            AppointDeputyRequest {
                end_time: Some(Time(0).to_proto()),
                ..good.clone()
            },
            vec!["end_time"],
        ),
        (appointment(&running, "o-1", "o-2", 0, 367 * DAY), vec!["end_time"]),
        (
            AppointDeputyRequest {
                request_id: "seven".to_owned(),
                ..good.clone()
            },
            vec!["request_id"],
        ),
    ] {
        let status = refused(desk.appoint_deputy(wrong).await, Code::InvalidArgument, "INVALID_INPUT");
        assert_eq!(fields(&status), expected);
    }
    let nobody = running.caller("nanning").appoint_deputy(good.clone()).await;
    let status = refused(nobody, Code::InvalidArgument, "INVALID_INPUT");
    assert_eq!(fields(&status), ["remit-officer-bin"]);
    desk.appoint_deputy(good.clone()).await.unwrap();
    let status = refused(desk.appoint_deputy(good).await, Code::InvalidArgument, "INVALID_INPUT");
    assert_eq!(fields(&status), ["deputy"], "once");
    for name in ["deputies/7", "cases/0", ""] {
        let end = EndDeputyRequest { name: name.to_owned() };
        refused(desk.end_deputy(end).await, Code::InvalidArgument, "INVALID_INPUT");
    }
    running.finish().await;
}

async fn all_cases_of_a_leaver_are_moved_by_one_call_at_a_time(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running.fixture.open(&vec![gambling(); 5]).await;
    for case in &cases[..4] {
        assign(&running, *case, "o-2").await;
    }
    assign(&running, cases[4], "o-4").await;
    let names = |cases: &[Uuid]| {
        cases
            .iter()
            .map(|case| format!("cases/{case}"))
            .collect::<BTreeSet<_>>()
    };
    let request = MoveCasesRequest {
        former_officer: "Ｏ-2".to_owned(),
        assignee: Some(MoveTo::Officer("o-3".to_owned())),
        page_size: 3,
        ..MoveCasesRequest::default()
    };
    let mut desk = client(&running, "nanning", "o-9");
    let named = |answer: &MoveCasesResponse| {
        let names = answer.results.iter().map(|result| result.name.clone());
        names.collect::<BTreeSet<_>>()
    };
    // A preview shows them, as they are, and moves none.
    let preview = MoveCasesRequest {
        validate_only: true,
        ..request.clone()
    };
    let shown = desk.move_cases(preview.clone()).await.unwrap().into_inner();
    for result in &shown.results {
        let Some(Became::Sight(sight)) = &result.result else {
            panic!("{result:?}")
        };
        let Some(Sight::CurrentCase(case)) = &sight.sight else {
            panic!("{result:?}")
        };
        assert_eq!(case.assignment.as_ref().unwrap().officer, "o-2");
    }
    let rest = MoveCasesRequest {
        page_token: shown.next_page_token.clone(),
        ..preview.clone()
    };
    let rest = desk.move_cases(rest).await.unwrap().into_inner();
    assert_eq!((shown.results.len(), rest.results.len()), (3, 1));
    assert_eq!(&named(&shown) | &named(&rest), names(&cases[..4]));
    assert_eq!(has(&running, "o-2").await, names(&cases[..4]));
    // A token of the one is none of the other, nor of another officer's.
    let officer = Some(MoveTo::Officer("o-8".to_owned()));
    for wrong in [
        MoveCasesRequest {
            page_token: shown.next_page_token.clone(),
            ..request.clone()
        },
        MoveCasesRequest {
            page_token: shown.next_page_token,
            assignee: officer,
            ..preview
        },
        MoveCasesRequest {
            assignee: Some(MoveTo::Officer("o-2".to_owned())),
            ..request.clone()
        },
        MoveCasesRequest {
            assignee: None,
            ..request.clone()
        },
        MoveCasesRequest {
            former_officer: String::new(),
            ..request.clone()
        },
    ] {
        refused(desk.move_cases(wrong).await, Code::InvalidArgument, "INVALID_INPUT");
    }
    let first = desk.move_cases(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.results.len(), 3);
    assert_eq!(has(&running, "o-3").await, named(&first));
    // Interrupted here, it goes on from the beginning as well as with the token.
    let left = desk.move_cases(request.clone()).await.unwrap().into_inner();
    assert_eq!((left.results.len(), left.next_page_token.as_str()), (1, ""));
    let done = MoveCasesRequest {
        page_token: first.next_page_token,
        ..request.clone()
    };
    assert!(desk.move_cases(done).await.unwrap().into_inner().results.is_empty());
    assert_eq!(has(&running, "o-2").await, names(&[]));
    assert_eq!(has(&running, "o-3").await, names(&cases[..4]));
    assert_eq!(has(&running, "o-4").await, names(&cases[4..]), "nobody else's");
    let pool = MoveCasesRequest {
        former_officer: "o-3".to_owned(),
        assignee: Some(MoveTo::Pool(true)),
        ..MoveCasesRequest::default()
    };
    let back = desk.move_cases(pool).await.unwrap().into_inner();
    assert_eq!((named(&back), back.next_page_token.as_str()), (names(&cases[..4]), ""));
    assert_eq!(has(&running, "o-3").await, names(&[]));
    for case in &cases[..4] {
        let stored = running.fixture.case(*case).await;
        assert_eq!(stored.case.officer_at(&agency("police-450100")), None);
    }
    running.fixture.assert_promises().await;
    running.finish().await;
}
