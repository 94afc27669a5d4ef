//! Many reports in one call: batches and streams.

use std::{sync::atomic::Ordering, time::Duration};

use api::intake::{
    BatchSubmitReportsRequest, SubmitReportRequest, SubmitReportsRequest, SubmittedReport,
    submitted_report::Result as Became,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use rpc::Limits;
use testkit::Backend;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use tower::Service as _;
use uuid::Uuid;

use crate::fixture::{Served, count, good, serve, token};

testkit::on_each_backend!(
    each_report_of_a_batch_is_answered_for_itself_and_in_order,
    a_stream_is_answered_in_order_and_its_reports_share_commits,
    p1_a_commit_that_fails_fails_no_neighbour_of_a_stream,
    p1_a_broken_stream_is_resumed_without_doubles_and_without_loss,
);

/// A report of its own, with what it is known by.
fn report(number: usize) -> SubmitReportRequest {
    let mut request = good();
    request.report.as_mut().unwrap().narrative = format!("number {number}");
    request.request_id = Uuid::from_u128(0x7000 + number as u128).to_string();
    request
}

fn message(request: SubmitReportRequest) -> SubmitReportsRequest {
    SubmitReportsRequest { request: Some(request) }
}

/// The name of the recorded report, or the reason and the fields of the refusal.
fn told(result: &SubmittedReport) -> Result<String, (String, Vec<String>)> {
    match result.result.as_ref().unwrap() {
        Became::Response(response) => Ok(response.report.as_ref().unwrap().name.clone()),
        Became::Error(error) => {
            let status = Status::with_details(
                Code::from_i32(error.code),
                error.message.clone(),
                error.encode_to_vec().into(),
            );
            let reason = status.get_details_error_info().unwrap().reason;
            let fields = status
                .get_details_bad_request()
                .into_iter()
                .flat_map(|bad| bad.field_violations);
            Err((reason, fields.map(|violation| violation.field).collect()))
        }
    }
}

fn bad() -> SubmitReportRequest {
    let mut request = good();
    let report = request.report.as_mut().unwrap();
    report.category = "categories/nothing".to_owned();
    report.language_code = "!".to_owned();
    request
}

fn with_nul() -> SubmitReportRequest {
    let mut request = good();
    request.report.as_mut().unwrap().narrative.push('\0');
    request
}

async fn batch(
    served: &Served,
    system: &str,
    requests: Vec<SubmitReportRequest>,
) -> Result<Vec<SubmittedReport>, Status> {
    let request = BatchSubmitReportsRequest { requests };
    let answer = served.client(system).batch_submit_reports(request).await?;
    Ok(answer.into_inner().results)
}

async fn each_report_of_a_batch_is_answered_for_itself_and_in_order(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut named = good();
    named.report.as_mut().unwrap().external_id = "A-1".to_owned();
    let mut other = named.clone();
    other.report.as_mut().unwrap().narrative.push('!');
    let only = SubmitReportRequest {
        validate_only: true,
        ..report(3)
    };
    let requests = vec![
        report(1),
        bad(),
        with_nul(),
        named.clone(),
        report(1),
        other,
        SubmitReportRequest::default(),
        SubmitReportRequest {
            request_id: report(1).request_id,
            ..report(2)
        },
        only,
        named,
        report(2),
    ];
    let results = batch(&served, "hotline", requests.clone()).await.unwrap();
    let expected = |fields: &[&str]| {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Err(("INVALID_INPUT".to_owned(), fields))
    };
    let refused = |reason: &str| Err((reason.to_owned(), Vec::new()));
    assert_eq!(results.len(), requests.len());
    let (first, named, last) = (told(&results[0]), told(&results[3]), told(&results[10]));
    assert!(first.is_ok() && named.is_ok() && last.is_ok() && first != named && first != last);
    assert_eq!(
        told(&results[1]),
        expected(&["report.category", "report.language_code"])
    );
    assert_eq!(told(&results[2]), expected(&["report.narrative"]));
    assert_eq!((told(&results[4]), told(&results[9])), (first.clone(), named.clone()));
    assert_eq!(told(&results[5]), refused("EXTERNAL_ID_REUSED"));
    assert_eq!(told(&results[6]), expected(&["report"]));
    assert_eq!(told(&results[7]), refused("REQUEST_ID_REUSED"));
    let Some(Became::Response(only)) = &results[8].result else {
        panic!("it is valid")
    };
    assert_eq!((only.report.as_ref(), only.receipt.as_str()), (None, ""));
    let known: Vec<bool> = results.iter().map(|result| result.known).collect();
    assert_eq!(known, (0..11).map(|i| i == 4 || i == 9).collect::<Vec<_>>());
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 3);
    // Again: the same answers, and nothing more is recorded.
    let again = batch(&served, "hotline", requests).await.unwrap();
    for (result, again) in results.iter().zip(&again) {
        assert_eq!(told_or_valid(result), told_or_valid(again));
        assert_eq!(
            again.known,
            matches!(&again.result, Some(Became::Response(response)) if response.report.is_some())
        );
    }
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 3);
    for requests in [Vec::new(), vec![report(9); 101]] {
        let status = batch(&served, "hotline", requests).await.unwrap_err();
        let bad = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((bad.len(), bad[0].field.as_str()), (1, "requests"));
    }
    assert_eq!(
        batch(&served, "hotline", (100..200).map(report).collect())
            .await
            .unwrap()
            .len(),
        100
    );
}

fn told_or_valid(result: &SubmittedReport) -> Option<Result<String, (String, Vec<String>)>> {
    match &result.result {
        Some(Became::Response(response)) if response.report.is_none() => None,
        _ => Some(told(result)),
    }
}

async fn open(served: &Served, messages: Vec<SubmitReportsRequest>) -> Streaming<api::intake::SubmitReportsResponse> {
    let answer = served.client("hotline").submit_reports(stream::iter(messages)).await;
    answer.unwrap().into_inner()
}

/// All results, and the error that ended the stream.
async fn results(served: &Served, messages: Vec<SubmitReportsRequest>) -> (Vec<SubmittedReport>, Option<Status>) {
    let mut answers = open(served, messages).await;
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => all.push(answer.result.unwrap()),
            Err(status) => return (all, Some(status)),
        }
    }
    (all, None)
}

async fn a_stream_is_answered_in_order_and_its_reports_share_commits(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let spoiled = |number: usize| match number % 50 {
        7 => bad(),
        8 => with_nul(),
        9 => report(number - 9),
        _ => report(number),
    };
    let messages = (0..1_000).map(spoiled).map(message).collect();
    let (all, error) = results(&served, messages).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(all.len(), 1_000);
    for (number, result) in all.iter().enumerate() {
        match number % 50 {
            7 | 8 => assert_eq!(told(result).unwrap_err().0, "INVALID_INPUT", "{number}"),
            9 => assert_eq!((told(result), result.known), (told(&all[number - 9]), true), "{number}"),
            _ => {
                let name = told(result).unwrap();
                assert!(!result.known);
                let read = served.get("hotline", &name, api::intake::ReadPurpose::CheckSubmission);
                if number % 97 == 0 {
                    let read = read.await.unwrap().report.unwrap();
                    assert_eq!(read.narrative, format!("number {number}"));
                }
            }
        }
    }
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 940);
    // How many share one is a figure of the benchmark: it goes by the machine.
    let commits = served.faults.accepts.load(Ordering::SeqCst);
    assert!(commits < 940, "{commits} commits of 940 reports");
}

async fn p1_a_commit_that_fails_fails_no_neighbour_of_a_stream(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    // With one of them no commit succeeds, whatever group it is in.
    *served.faults.unwelcome.lock().unwrap() = Some("unwelcome-42".to_owned());
    let mut requests: Vec<_> = (0..100).map(report).collect();
    requests[42].report.as_mut().unwrap().external_id = "unwelcome-42".to_owned();
    let (all, error) = results(&served, requests.into_iter().map(message).collect()).await;
    assert!(error.is_none(), "{error:?}");
    let failed: Vec<_> = all.iter().filter_map(|result| told(result).err()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(told(&all[42]).unwrap_err().0, "INTERNAL");
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 99);
}

async fn p1_a_broken_stream_is_resumed_without_doubles_and_without_loss(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let all = |numbers: std::ops::Range<usize>| numbers.map(report).map(message).collect::<Vec<_>>();
    let mut answers = open(&served, all(0..600)).await;
    for _ in 0..40 {
        answers.next().await.unwrap().unwrap();
    }
    // The connection is gone: what was at work may be recorded, and nobody was told.
    drop(answers);
    let (resumed, error) = results(&served, all(0..600)).await;
    assert!(error.is_none(), "{error:?}");
    assert!(
        resumed[..40].iter().all(|result| result.known),
        "what was answered is there"
    );
    let mut names: Vec<_> = resumed.iter().map(|result| told(result).unwrap()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 600);
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 600);
    assert_eq!(count(&served.db, "SELECT count(*) FROM journal").await, 600);
}

/// Sends frames as they are, and returns the number of results and the status at the end.
async fn raw(served: &Served, frames: mpsc::Receiver<Bytes>) -> (usize, Status) {
    let mut channel = rpc::client::connect(&served.address, &token("hotline"), None).unwrap();
    let frames = ReceiverStream::new(frames).map(|bytes| Ok::<_, Status>(http_body::Frame::data(bytes)));
    let request = http::Request::post("/remit.intake.v1.IntakeService/SubmitReports")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(StreamBody::new(frames)))
        .unwrap();
    futures::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let response = channel.call(request).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    let status = Status::from_header_map(collected.trailers().unwrap()).unwrap();
    let mut bytes = collected.to_bytes();
    let mut results = 0;
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let _ = bytes.split_to(5 + length);
        results += 1;
    }
    (results, status)
}

fn framed(request: SubmitReportRequest) -> Vec<u8> {
    let message = message(request).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

#[tokio::test]
async fn p1_a_stream_that_stops_within_a_report_leaves_nothing_of_it() {
    let backend = Backend::sqlite();
    let limits = Limits {
        body_wait: Duration::from_millis(300),
        ..Limits::default()
    };
    let served = serve(backend.url(), limits).await;
    // Once its end comes in the middle, once nothing more.
    for ends in [true, false] {
        let (sender, frames) = mpsc::channel(8);
        let whole = framed(report(if ends { 1 } else { 2 }));
        sender.send(whole.clone().into()).await.unwrap();
        let half = framed(report(9));
        sender.send(half[..half.len() / 2].to_vec().into()).await.unwrap();
        let kept = (!ends).then_some(sender);
        let (results, status) = raw(&served, frames).await;
        assert_eq!(results, 1, "{status:?}");
        assert_ne!(status.code(), Code::Ok);
        if !ends {
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        }
        drop(kept);
    }
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 2);
}

/// Silence between reports is the sender's own business, for longer than a body may pause.
#[tokio::test]
async fn a_sender_may_rest_between_reports() {
    let backend = Backend::sqlite();
    let limits = Limits {
        body_wait: Duration::from_millis(50),
        ..Limits::default()
    };
    let served = serve(backend.url(), limits).await;
    let (sender, messages) = mpsc::channel(1);
    let answer = served
        .client("hotline")
        .submit_reports(ReceiverStream::new(messages))
        .await;
    let mut answers = answer.unwrap().into_inner();
    for number in 0..3 {
        sender.send(message(report(number))).await.unwrap();
        told(answers.next().await.unwrap().unwrap().result.as_ref().unwrap()).unwrap();
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    drop(sender);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_report_over_the_bound_is_refused_by_name_behind_those_before_it() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut large = report(2);
    large.report.as_mut().unwrap().narrative = "x".repeat(10 << 20);
    let mut listed = report(2);
    listed.report.as_mut().unwrap().subjects = vec![api::intake::Subject::default(); 200_000];
    for too_much in [large, listed] {
        let messages = [report(0), report(1), too_much, report(3)].map(message).into();
        let (all, error) = results(&served, messages).await;
        assert_eq!(all.iter().filter_map(|result| told(result).ok()).count(), 2);
        let error = error.unwrap();
        assert_eq!(
            (error.code(), error.get_details_error_info().unwrap().reason.as_str()),
            (Code::InvalidArgument, "MESSAGE_TOO_LARGE")
        );
    }
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 2);
    // What is only wrong is refused for itself.
    let mut many = report(4);
    many.report.as_mut().unwrap().subjects = vec![good().report.unwrap().subjects.remove(0); 51];
    let mut long = report(5);
    let detail = ("deposit.channel".to_owned(), "x".repeat(1 << 20));
    long.report.as_mut().unwrap().details = [detail].into();
    let (all, error) = results(&served, [many, long, report(6)].map(message).into()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(told(&all[0]).unwrap_err().1, ["report.subjects"]);
    assert!(
        told(&all[1])
            .unwrap_err()
            .1
            .iter()
            .all(|field| field == "report.details[deposit.channel]")
    );
    told(&all[2]).unwrap();
}

/// What is at work is the caller's until it is answered, so that many streams take no more than
/// one.
#[tokio::test]
async fn reports_at_work_are_paid_for_and_more_are_not_taken() {
    let backend = Backend::sqlite();
    let limits = Limits {
        in_flight_bytes_per_caller: 1 << 20,
        decoded_bytes: 1 << 19,
        message_bytes: 1 << 19,
        ..Limits::default()
    };
    let served = serve(backend.url(), limits).await;
    let large = |number| {
        let mut request = report(number);
        request.report.as_mut().unwrap().narrative = "x".repeat(20_000);
        request
    };
    let closed = served.faults.gate.write().await;
    let streams: Vec<_> = stream::iter(0..4)
        .then(|number| open(&served, (0..100).map(|i| message(large(100 * number + i))).collect()))
        .collect()
        .await;
    // They take all that the caller may have, and not more.
    let only = SubmitReportRequest {
        validate_only: true,
        ..large(0)
    };
    let mut client = served.client("hotline");
    let refused = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match client.submit_report(only.clone()).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(status) => return status,
            }
        }
    });
    assert_eq!(refused.await.unwrap().code(), Code::ResourceExhausted);
    // Another caller is not concerned.
    served.client("platform").submit_report(only.clone()).await.unwrap();
    drop(closed);
    let mut recorded = 0;
    for mut answers in streams {
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => {
                    told(answer.result.as_ref().unwrap()).unwrap();
                    recorded += 1;
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                    break;
                }
            }
        }
    }
    assert!(recorded > 0);
    assert!(count(&served.db, "SELECT count(*) FROM reports").await >= recorded);
    client.submit_report(only).await.unwrap();
}

/// A large report is paid for once: with the shipped limits it has an answer, as has what is behind
/// it, and two streams of such do not wait for each other.
#[tokio::test]
async fn large_reports_keep_nothing_behind_them_from_an_answer() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let large = |number, bytes: usize| {
        let mut request = report(number);
        request.report.as_mut().unwrap().narrative = "x".repeat(bytes);
        message(request)
    };
    let (size, most) = ((7 << 20) / 2, Duration::from_secs(20));
    let messages = vec![message(report(1)), large(2, size), large(3, size), message(report(4))];
    let (all, error) = tokio::time::timeout(most, results(&served, messages)).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    let told_of: Vec<_> = all.iter().map(|result| told(result).is_ok()).collect();
    assert_eq!(told_of, [true, false, false, true]);
    assert_eq!(told(&all[1]).unwrap_err().1, ["report.narrative"]);

    // Both are at work, and neither is answered before the other came.
    let size = (5 << 20) / 2;
    let both = ["a", "b"].map(|_| results(&served, vec![large(5, size), message(report(6))]));
    for (all, error) in tokio::time::timeout(most, futures::future::join_all(both))
        .await
        .unwrap()
    {
        assert!(error.is_none(), "{error:?}");
        assert_eq!(all.len(), 2);
    }
}

#[tokio::test]
async fn p7_only_senders_submit_many() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    for system in ["inspector", "relay", "audit"] {
        let status = batch(&served, system, vec![good()]).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{system}");
        let messages = stream::iter([message(good())]);
        let answer = served.client(system).submit_reports(messages).await;
        assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied, "{system}");
    }
    // Each in its own name: an agency that no directory has is told so for each.
    let results = batch(&served, "nanning", vec![report(1), report(2)]).await.unwrap();
    assert!(results.iter().all(|result| told(result).unwrap_err().0 == "DENIED"));
}
