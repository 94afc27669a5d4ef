//! `AppendBatches`: a stream of batches, answered in order.

use api::audit::{AppendBatchesRequest, AppendBatchesResponse};
use futures::{
    Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rpc::Failure;
use tokio::sync::mpsc;

use crate::{
    appending::{end_spans, of_lawful_size, result, spans},
    sequencer::Sequencer,
};

/// Batches of one stream that are checked ahead: enough to fill the next commit, and few enough
/// that one stream does not fill the queue.
const AHEAD: usize = 8;

type Answer = BoxFuture<'static, Result<AppendBatchesResponse, Failure>>;

/// Appends the batches of a stream in order. An error ends it.
pub(crate) fn append(
    sequencer: Sequencer,
    source: String,
    batches: impl Stream<Item = Result<AppendBatchesRequest, Failure>> + Unpin + Send + 'static,
) -> BoxStream<'static, Result<AppendBatchesResponse, Failure>> {
    let (answers, coming) = mpsc::channel(AHEAD);
    // On a task of its own, which checks the next batches while answers are sent. It ends with the
    // stream, or when its answers are no longer read.
    tokio::spawn(read(sequencer, source, batches, answers));
    let coming = stream::unfold(coming, |mut coming: mpsc::Receiver<Answer>| async move {
        let answer = coming.recv().await?.await;
        if answer.is_err() {
            // Later batches must not be appended if this one was not; those already queued will be
            // repeated.
            coming.close();
        }
        Some((answer, coming))
    });
    coming.boxed()
}

async fn read(
    sequencer: Sequencer,
    source: String,
    mut batches: impl Stream<Item = Result<AppendBatchesRequest, Failure>> + Unpin,
    answers: mpsc::Sender<Answer>,
) {
    // Reserve room for the answer first: without it nothing more is read, and flow control slows
    // the sender.
    while let Ok(place) = answers.reserve().await {
        let batch = match batches.next().await {
            Some(Ok(batch)) => batch,
            None => return,
            Some(Err(failure)) => return place.send(failed(failure)),
        };
        match enqueue(&sequencer, &source, batch).await {
            Ok(answer) => place.send(answer),
            Err(failure) => return place.send(failed(failure)),
        }
    }
}

/// Queues a batch, and returns its future answer.
async fn enqueue(sequencer: &Sequencer, source: &str, batch: AppendBatchesRequest) -> Result<Answer, Failure> {
    let changes = of_lawful_size(batch.changes)?;
    let spans = spans(&changes);
    let verdicts = sequencer.enqueue(source, changes).await?;
    Ok(Box::pin(async move {
        let verdicts = verdicts.await?;
        end_spans(spans, &verdicts);
        Ok(AppendBatchesResponse {
            results: verdicts.into_iter().map(result).collect(),
        })
    }))
}

fn failed(failure: Failure) -> Answer {
    Box::pin(async move { Err(failure) })
}
