//! Streams of batches, and the queue that they share with calls.

use std::time::Duration;

use api::{
    audit::{AppendBatchesRequest, AppendBatchesResponse, AppendChangesRequest, ListChangesRequest},
    event::{ChangeOutcome, StateChange},
};
use audit::verify::LogVerifier;
use journal::{Draft, Head, SeededEntropy};
use testkit::Backend;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming, codegen::tokio_stream::wrappers::ReceiverStream};
use tonic_types::StatusExt as _;

use crate::{
    fixture::{Files, NOW, Producer, Served},
    grpc::{fields, reason},
};

testkit::on_each_backend!(
    p2_batches_are_appended_and_answered_in_their_order,
    p2_a_batch_that_cannot_be_taken_ends_the_stream_behind_it,
    a_full_queue_refuses_calls_and_slows_streams,
);

type Batches = (mpsc::Sender<AppendBatchesRequest>, Streaming<AppendBatchesResponse>);

/// Opens a stream as this system.
async fn stream(log: &Served, system: &str) -> Result<Batches, Status> {
    let (send, batches) = mpsc::channel(1);
    let answers = log.inbound(system).append_batches(ReceiverStream::new(batches)).await?;
    Ok((send, answers.into_inner()))
}

fn batch(changes: &[StateChange]) -> AppendBatchesRequest {
    AppendBatchesRequest {
        changes: changes.to_vec(),
    }
}

/// Index, or why not, of each change of a batch.
fn results(answer: AppendBatchesResponse) -> Vec<Result<i64, ChangeOutcome>> {
    let result = |result: api::audit::AppendResult| match result.outcome() {
        ChangeOutcome::Recorded => Ok(result.index),
        refusal => Err(refusal),
    };
    answer.results.into_iter().map(result).collect()
}

async fn verified(log: &Served, size: u64) {
    let note = log.published(size).await;
    let request = ListChangesRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let listed = log
        .client("inspector")
        .list_changes(request)
        .await
        .unwrap()
        .into_inner();
    let mut verifier = LogVerifier::new();
    for change in listed.changes {
        verifier.push(change.index.cast_unsigned(), &change.entry).unwrap();
    }
    assert_eq!(verifier.finish(&note, log.audit.vkey()).unwrap().size, size);
}

async fn p2_batches_are_appended_and_answered_in_their_order(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    // Each batch continues the records of the one before it, so none may overtake another.
    let changes: Vec<_> = (0..300).map(|i| intake.next(&format!("reports/{}", i % 10))).collect();
    let (send, mut answers) = stream(&log, "intake").await.unwrap();
    let sent = changes.clone();
    let sending = tokio::spawn(async move {
        for batch in sent.chunks(10) {
            send.send(AppendBatchesRequest {
                changes: batch.to_vec(),
            })
            .await
            .unwrap();
        }
        // The last ones repeated, and one too early.
        let _missing = intake.next("reports/0");
        let again = [&sent[290..], &[intake.next("reports/0")]].concat();
        send.send(AppendBatchesRequest { changes: again }).await.unwrap();
    });
    for i in 0..30 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(results(answer), (10 * i..10 * i + 10).map(Ok).collect::<Vec<_>>());
    }
    let last: Vec<_> = (290..300).map(Ok).chain([Err(ChangeOutcome::OutOfOrder)]).collect();
    assert_eq!(results(answers.message().await.unwrap().unwrap()), last);
    assert_eq!(answers.message().await.unwrap(), None);
    sending.await.unwrap();
    verified(&log, 300).await;
    log.stop().await;
}

async fn p2_a_batch_that_cannot_be_taken_ends_the_stream_behind_it(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    assert_eq!(
        stream(&log, "inspector").await.unwrap_err().code(),
        Code::PermissionDenied
    );

    let changes = Producer::intake().many(3);
    let (send, mut answers) = stream(&log, "intake").await.unwrap();
    send.send(batch(&changes[..1])).await.unwrap();
    send.send(batch(&[])).await.unwrap();
    let _ = send.send(batch(&changes[1..])).await;
    assert_eq!(results(answers.message().await.unwrap().unwrap()), [Ok(0)]);
    let status = answers.message().await.unwrap_err();
    assert_eq!(
        (status.code(), fields(&status)),
        (Code::InvalidArgument, vec!["changes".to_owned()])
    );
    // Unanswered changes are sent again.
    let (send, mut answers) = stream(&log, "intake").await.unwrap();
    send.send(batch(&changes)).await.unwrap();
    drop(send);
    assert_eq!(results(answers.message().await.unwrap().unwrap()), [0, 1, 2].map(Ok));
    assert_eq!(answers.message().await.unwrap(), None);
    log.stop().await;
}

/// A call of the maximum message size.
fn large(i: usize) -> Vec<StateChange> {
    let entropy = SeededEntropy::new(1_000 + i as u64);
    let change = |j| {
        let detail = api::event::Detail {
            purpose: "x".repeat(1_000_000),
            ..Default::default()
        };
        let draft = Draft {
            source: "intake",
            record: &format!("reports/{i}-{j}"),
            kind: "report.changed",
            caused_by: None,
            detail,
            traceparent: String::new(),
        };
        draft.into_change(&Head::default(), NOW, &entropy).with_detail()
    };
    (0..4).map(change).collect()
}

async fn a_full_queue_refuses_calls_and_slows_streams(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    log.append(&[Producer::new("intake", 3).next("reports/first")]).await;
    // A transaction holds the lock that every append needs.
    let db = sql::Db::open(backend.url(), audit::SCHEMAS).await.unwrap();
    let mut blocking = db.begin().await.unwrap();
    blocking
        .fetch("SELECT size FROM head FOR UPDATE", Vec::new())
        .await
        .unwrap();

    // 64 MiB fit: sixteen calls of 4 MB and a little more.
    let mut waiting = Vec::new();
    let refused = loop {
        let (mut client, changes) = (log.inbound("intake"), large(waiting.len()));
        let mut call = tokio::spawn(async move { client.append_changes(AppendChangesRequest { changes }).await });
        match tokio::time::timeout(Duration::from_millis(500), &mut call).await {
            Ok(answer) => break answer.unwrap().unwrap_err(),
            Err(_) => waiting.push(call),
        }
        assert!(waiting.len() < 20, "nothing is refused");
    };
    assert_eq!(
        (refused.code(), &*reason(&refused)),
        (Code::ResourceExhausted, "OVERLOADED")
    );
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!((14..=16).contains(&waiting.len()), "{} calls wait", waiting.len());

    // A stream is not refused; it waits.
    let (send, mut answers) = stream(&log, "intake").await.unwrap();
    send.send(AppendBatchesRequest { changes: large(100) }).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), answers.message())
            .await
            .is_err()
    );

    blocking.rollback().await;
    let mut indexes = Vec::new();
    for call in waiting {
        indexes.extend(
            call.await
                .unwrap()
                .unwrap()
                .into_inner()
                .results
                .into_iter()
                .map(|result| result.index),
        );
    }
    indexes.extend(
        results(answers.message().await.unwrap().unwrap())
            .into_iter()
            .map(Result::unwrap),
    );
    indexes.sort_unstable();
    assert_eq!(indexes, (1..=indexes.len()).map(|i| i as i64).collect::<Vec<_>>());
    log.stop().await;
}
