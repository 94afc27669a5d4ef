//! `AppendBatches`: a stream of batches, each answered in its turn.

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

/// Batches of one stream that are checked ahead of the one that is being written: enough to fill the next commit, and few enough
/// that one stream does not fill the queue.
const AHEAD: usize = 8;

type Answer = BoxFuture<'static, Result<AppendBatchesResponse, Failure>>;

/// Appends the batches of a stream in their order. The first error is the last answer.
pub(crate) fn append(
    sequencer: Sequencer,
    source: String,
    batches: impl Stream<Item = Result<AppendBatchesRequest, Failure>> + Unpin + Send + 'static,
) -> BoxStream<'static, Result<AppendBatchesResponse, Failure>> {
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
    mut batches: impl Stream<Item = Result<AppendBatchesRequest, Failure>> + Unpin,
    answers: mpsc::Sender<Answer>,
) {
    // The place for the answer comes first: without one, nothing more is read, and flow control slows the sender.
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

/// Puts a batch in the queue, and returns its answer to come.
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
