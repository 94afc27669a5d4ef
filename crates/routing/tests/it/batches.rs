//! Batches: many cases in one call, each answered for itself.

use api::event::{CaseState, HandOverReason};
use api::routing::{
    AcknowledgeCaseRequest, BatchAcknowledgeCasesRequest, BatchDeclineCasesRequest, BatchTransferCasesRequest,
    BatchedCase, DeclineCaseRequest, TransferCaseRequest, batched_case::Result as Became, case_sight::Sight,
};
use prost::Message as _;
use routing::case::State;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::{Fixture, gambling, official};
use crate::service::{Running, refused};

testkit::on_each_backend!(
    each_case_of_a_batch_is_answered_as_if_it_were_alone,
    a_repeated_batch_has_the_first_answers,
    a_batch_is_refused_as_a_whole_only_for_what_it_is_as_a_whole,
    p7_a_batch_shows_no_more_than_single_calls,
    a_preview_of_a_batch_changes_nothing,
);

fn name(case: Uuid) -> String {
    format!("cases/{case}")
}

fn acknowledge(name: impl Into<String>, request_id: &str) -> AcknowledgeCaseRequest {
    AcknowledgeCaseRequest {
        name: name.into(),
        request_id: request_id.to_owned(),
        ..AcknowledgeCaseRequest::default()
    }
}

async fn acknowledged(
    running: &Running,
    system: &str,
    requests: Vec<AcknowledgeCaseRequest>,
) -> Result<Vec<BatchedCase>, Status> {
    let request = BatchAcknowledgeCasesRequest { requests };
    let answer = running.caller(system).batch_acknowledge_cases(request).await?;
    Ok(answer.into_inner().results)
}

/// The error of a case of a batch, as the single call would have it.
fn error(case: &BatchedCase) -> Status {
    let Some(Became::Error(error)) = &case.result else {
        panic!("{case:?}")
    };
    let details = error.encode_to_vec().into();
    Status::with_details(Code::from_i32(error.code), error.message.clone(), details)
}

/// What the details of an error say.
fn details(status: &Status) -> (String, std::collections::BTreeMap<String, String>, String) {
    let info = status.get_details_error_info().unwrap();
    let more = (
        status.get_details_bad_request(),
        status.get_details_precondition_failure(),
    );
    (info.reason, info.metadata.into_iter().collect(), format!("{more:?}"))
}

fn shown(case: &BatchedCase) -> &api::routing::Case {
    let Some(Became::Sight(sight)) = &case.result else {
        panic!("{case:?}")
    };
    let Some(Sight::CurrentCase(shown)) = &sight.sight else {
        panic!("{case:?}")
    };
    shown
}

async fn each_case_of_a_batch_is_answered_as_if_it_were_alone(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running
        .fixture
        .open(&[gambling(), gambling(), official(), gambling()])
        .await;
    running.acknowledge("nanning", &name(cases[1]), "", "").await.unwrap();
    let stale = AcknowledgeCaseRequest {
        etag: "1-0000000000000000".to_owned(),
        ..acknowledge(name(cases[3]), "")
    };
    let requests = vec![
        acknowledge(name(cases[0]), ""),
        acknowledge(name(cases[1]), ""),
        acknowledge(name(cases[2]), ""),
        acknowledge("no name", ""),
        stale,
        acknowledge(name(Uuid::nil()), "not a UUID"),
    ];
    let results = acknowledged(&running, "nanning", requests.clone()).await.unwrap();
    let names: Vec<_> = results.iter().map(|result| &result.name).collect();
    let asked: Vec<_> = requests.iter().map(|request| &request.name).collect();
    assert_eq!(names, asked, "one answer each, in order");
    assert_eq!(shown(&results[0]).state(), CaseState::InProgress);
    assert!(shown(&results[0]).explanation.is_none(), "as in lists");
    for (index, code) in [
        (1, Code::FailedPrecondition),
        (2, Code::NotFound),
        (3, Code::InvalidArgument),
        (4, Code::Aborted),
        (5, Code::InvalidArgument),
    ] {
        let single = running
            .caller("nanning")
            .acknowledge_case(requests[index].clone())
            .await;
        let (single, batched) = (single.unwrap_err(), error(&results[index]));
        assert_eq!((batched.code(), batched.message()), (code, single.message()), "{index}");
        assert_eq!(details(&batched), details(&single), "{index}");
    }
    let violations = error(&results[5]).get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "request_id", "the path in its request");
    for (case, state) in [(0, State::IN_PROGRESS), (2, State::ASSIGNED), (3, State::ASSIGNED)] {
        assert_eq!(running.fixture.case(cases[case]).await.case.state(), state);
    }
    running.fixture.assert_promises().await;
    running.finish().await;
}

async fn a_repeated_batch_has_the_first_answers(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running.fixture.open(&vec![gambling(); 300]).await;
    let id = |index: usize| Uuid::from_u128(index as u128 + 1).to_string();
    let requests: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| acknowledge(name(*case), &id(index)))
        .collect();
    let first = acknowledged(&running, "nanning", requests.clone()).await.unwrap();
    assert!(
        first
            .iter()
            .all(|result| shown(result).state() == CaseState::InProgress)
    );
    assert_eq!(acknowledged(&running, "nanning", requests).await.unwrap(), first);
    // A single call with such an id is a repeat, too; another case with it is not.
    let single = running
        .acknowledge("nanning", &name(cases[0]), "", &id(0))
        .await
        .unwrap();
    assert_eq!(single.etag, shown(&first[0]).etag);
    let other = acknowledged(&running, "nanning", vec![acknowledge(name(cases[1]), &id(0))]).await;
    assert_eq!(error(&other.unwrap()[0]).code(), Code::AlreadyExists);
    let acknowledged = "SELECT count(*) FROM journal WHERE kind = 'case.acknowledged'";
    assert_eq!(running.fixture.count(acknowledged).await, 300, "each once");
    running.fixture.assert_promises().await;
    running.finish().await;
}

async fn a_batch_is_refused_as_a_whole_only_for_what_it_is_as_a_whole(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running.fixture.open(&[gambling(), gambling()]).await;
    let fields = |status: Status| {
        let bad = status.get_details_bad_request().unwrap().field_violations;
        bad.into_iter().map(|bad| bad.field).collect::<Vec<_>>()
    };
    let whole = async |requests: Vec<AcknowledgeCaseRequest>| {
        let answer = acknowledged(&running, "nanning", requests).await;
        fields(refused(answer, Code::InvalidArgument, "INVALID_INPUT"))
    };
    assert_eq!(whole(vec![]).await, ["requests"]);
    let many = |count: usize| {
        (0..count)
            .map(|i| acknowledge(name(Uuid::from_u128(i as u128)), ""))
            .collect()
    };
    assert_eq!(whole(many(501)).await, ["requests"]);
    let twice = [0, 1, 0, 1, 0].map(|index: usize| acknowledge(name(cases[index]), ""));
    let doubled = ["requests[2].name", "requests[3].name", "requests[4].name"];
    assert_eq!(whole(twice.to_vec()).await, doubled);
    for case in &cases {
        assert_eq!(
            running.fixture.case(*case).await.case.state(),
            State::ASSIGNED,
            "nothing was done"
        );
    }
    let mut most: Vec<_> = many(499);
    most.push(acknowledge(name(cases[0]), ""));
    let results = acknowledged(&running, "nanning", most).await.unwrap();
    let refused = results
        .iter()
        .filter(|result| matches!(result.result, Some(Became::Error(_))));
    assert_eq!((results.len(), refused.count()), (500, 499));
    assert_eq!(shown(&results[499]).state(), CaseState::InProgress);
    // For the other verbs as well.
    let declines = BatchDeclineCasesRequest::default();
    let answer = running.caller("nanning").batch_decline_cases(declines).await;
    assert_eq!(fields(answer.unwrap_err()), ["requests"]);
    let transfers = BatchTransferCasesRequest::default();
    let answer = running.caller("nanning").batch_transfer_cases(transfers).await;
    assert_eq!(fields(answer.unwrap_err()), ["requests"]);
    running.finish().await;
}

async fn p7_a_batch_shows_no_more_than_single_calls(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running.fixture.open(&[gambling(), official()]).await;
    let requests: Vec<_> = [cases[0], cases[1], Uuid::nil()]
        .map(|case| acknowledge(name(case), ""))
        .to_vec();
    // A superior that sees the one only, an excluded agency, and anybody else: all else is as if
    // there were no such case.
    for (system, seen) in [("guangxi", 1), ("handan", 0), ("guangdong", 1)] {
        let results = acknowledged(&running, system, requests.clone()).await.unwrap();
        let nothing = error(&results[2]);
        for result in &results[seen..2] {
            let told = error(result);
            assert_eq!(
                (told.code(), told.message()),
                (nothing.code(), nothing.message()),
                "{system}"
            );
            assert_eq!(told.details(), nothing.details(), "{system}");
        }
        if seen == 1 {
            assert_eq!(error(&results[0]).code(), Code::PermissionDenied, "{system}");
        }
    }
    // What a decline takes out of sight is gone from its answer and from the answer to its repeat.
    let decline = |case: Uuid| DeclineCaseRequest {
        name: name(case),
        reason: HandOverReason::Place.into(),
        request_id: Uuid::from_u128(9).to_string(),
        ..DeclineCaseRequest::default()
    };
    let lost = Became::Sight(api::routing::CaseSight {
        sight: Some(Sight::LostCase(name(cases[0]))),
    });
    for _ in 0..2 {
        let request = BatchDeclineCasesRequest {
            requests: vec![decline(cases[0])],
        };
        let answer = running.caller("nanning").batch_decline_cases(request).await;
        assert_eq!(answer.unwrap().into_inner().results[0].result, Some(lost.clone()));
    }
    running.finish().await;
}

async fn a_preview_of_a_batch_changes_nothing(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running.fixture.open(&[gambling(), gambling(), official()]).await;
    let transfer = |case: Uuid, validate_only: bool| TransferCaseRequest {
        name: name(case),
        agency: "agencies/police-510100".to_owned(),
        reason: HandOverReason::Place.into(),
        validate_only,
        ..TransferCaseRequest::default()
    };
    let run = async |validate_only: bool| {
        let request = BatchTransferCasesRequest {
            requests: cases.iter().map(|case| transfer(*case, validate_only)).collect(),
        };
        let answer = running.caller("nanning").batch_transfer_cases(request).await;
        answer.unwrap().into_inner().results
    };
    let previewed = run(true).await;
    for result in &previewed[..2] {
        let Some(Became::Preview(preview)) = &result.result else {
            panic!("{result:?}")
        };
        assert_eq!(preview.lead, "agencies/police-510100");
    }
    assert_eq!(error(&previewed[2]).code(), Code::NotFound);
    let changed = "SELECT count(*) FROM journal WHERE kind = 'case.transferred'";
    assert_eq!(running.fixture.count(changed).await, 0);
    let done = run(false).await;
    for (result, case) in done[..2].iter().zip(&cases) {
        assert_eq!(shown(result).lead, "agencies/police-510100");
        assert_eq!(moved(&running.fixture, *case).await, "police-510100");
    }
    assert_eq!(error(&done[2]).code(), Code::NotFound);
    running.fixture.assert_promises().await;
    running.finish().await;
}

async fn moved(fixture: &Fixture, case: Uuid) -> String {
    fixture.case(case).await.case.owner().unwrap().to_string()
}
