//! Batches of changes as callers send them: `AppendBatches`, a stream of which each is answered in its turn, and what it shares
//! with `AppendChanges`, which is one.

use api::{
    audit::{AppendBatchesRequest, AppendBatchesResponse, AppendResult},
    event::StateChange,
};
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rpc::Failure;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use tracing::Span;

use crate::{check::Verdict, sequencer::Sequencer};

/// Changes in one batch, or in one call.
const MOST_CHANGES: usize = 1_000;
/// Batches of one stream that are checked ahead of the one that is being written: enough to fill the next commit, and few enough
/// that one stream does not fill the queue.
const AHEAD: usize = 8;

type Answer = BoxFuture<'static, Result<AppendBatchesResponse, Status>>;

/// These changes, when they are neither none nor too many.
pub(crate) fn of_lawful_size(changes: Vec<StateChange>) -> Result<Vec<StateChange>, Failure> {
    match (1..=MOST_CHANGES).contains(&changes.len()) {
        true => Ok(changes),
        false => Err(Failure::invalid("changes", format!("1 to {MOST_CHANGES} at once"))),
    }
}

/// Appends the batches of a stream in their order. The first error is the last answer.
pub(crate) fn append(
    sequencer: Sequencer,
    source: String,
    batches: Streaming<AppendBatchesRequest>,
) -> BoxStream<'static, Result<AppendBatchesResponse, Status>> {
    let (answers, coming) = mpsc::channel(AHEAD);
    // On a task of its own: it checks the next batches while answers are being sent. It ends with the stream, or when nobody
    // takes its answers any more.
    tokio::spawn(read(sequencer, source, batches, answers));
    let coming = stream::unfold(coming, |mut coming: mpsc::Receiver<Answer>| async move {
        let answer = coming.recv().await?.await;
        if answer.is_err() {
            // What was sent behind it must not be appended when this was not; what is in the queue already is repeated.
            coming.close();
        }
        Some((answer, coming))
    });
    coming.boxed()
}

async fn read(
    sequencer: Sequencer,
    source: String,
    mut batches: Streaming<AppendBatchesRequest>,
    answers: mpsc::Sender<Answer>,
) {
    // The place for the answer comes first: without one, nothing more is read, and flow control slows the sender.
    while let Ok(place) = answers.reserve().await {
        let batch = match batches.message().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(status) => return place.send(failed(status)),
        };
        match enqueue(&sequencer, &source, batch).await {
            Ok(answer) => place.send(answer),
            Err(status) => return place.send(failed(status)),
        }
    }
}

/// Puts a batch in the queue, and returns its answer to come.
async fn enqueue(sequencer: &Sequencer, source: &str, batch: AppendBatchesRequest) -> Result<Answer, Status> {
    let changes = of_lawful_size(batch.changes)?;
    let spans = spans(&changes);
    let verdicts = sequencer.enqueue(source, changes).await.map_err(Failure::from)?;
    Ok(Box::pin(async move {
        let verdicts = verdicts.await.map_err(Failure::from)?;
        end_spans(spans, &verdicts);
        Ok(AppendBatchesResponse {
            results: verdicts.into_iter().map(result).collect(),
        })
    }))
}

fn failed(status: Status) -> Answer {
    Box::pin(async move { Err(status) })
}

/// The answer to one change.
pub(crate) fn result(verdict: Verdict) -> AppendResult {
    match verdict {
        Ok(index) => AppendResult {
            index: index.cast_signed(),
            refusal: String::new(),
        },
        Err(refusal) => AppendResult {
            index: 0,
            refusal: refusal.reason().to_owned(),
        },
    }
}

/// A span for each change whose cause was traced: one trace runs from the submitted report to the log.
pub(crate) fn spans(changes: &[StateChange]) -> Vec<(usize, Span)> {
    if !telemetry::enabled() {
        return Vec::new();
    }
    let traced = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| !change.traceparent.is_empty());
    traced
        .map(|(i, change)| {
            let empty = tracing::field::Empty;
            let span = tracing::info_span!("append", remit.service = "audit", index = empty, refusal = empty);
            telemetry::continue_from(&span, &change.traceparent);
            (i, span)
        })
        .collect()
}

/// Ends the spans of changes, with what came of each.
pub(crate) fn end_spans(spans: Vec<(usize, Span)>, verdicts: &[Verdict]) {
    for (i, span) in spans {
        match verdicts.get(i) {
            Some(Ok(index)) => span.record("index", index),
            Some(Err(refusal)) => span.record("refusal", refusal.reason()),
            None => &span,
        };
        // A span that was never entered has no beginning.
        span.in_scope(|| {});
    }
}
