//! Appends the changes of one call. `batches.rs` appends those of a stream.

use api::{
    audit::{AppendChangesResponse, AppendResult},
    event::{ChangeOutcome, StateChange},
};
use rpc::Failure;
use tracing::Span;

use crate::{
    check::Verdict,
    sequencer::{AppendError, Sequencer},
    store::StoreError,
};

/// Maximum number of changes per batch or call.
const MOST_CHANGES: usize = 1_000;

/// Returns these changes unless they are none or too many.
pub(crate) fn of_lawful_size(changes: Vec<StateChange>) -> Result<Vec<StateChange>, Failure> {
    match (1..=MOST_CHANGES).contains(&changes.len()) {
        true => Ok(changes),
        false => Err(Failure::invalid("changes", format!("1 to {MOST_CHANGES} at once"))),
    }
}

/// Appends a service's changes, and answers for each.
pub(crate) async fn append(
    sequencer: &Sequencer,
    source: &str,
    changes: Vec<StateChange>,
) -> Result<AppendChangesResponse, Failure> {
    let changes = of_lawful_size(changes)?;
    let spans = spans(&changes);
    let verdicts = sequencer.append(source, changes).await?;
    end_spans(spans, &verdicts);
    Ok(AppendChangesResponse {
        results: verdicts.into_iter().map(result).collect(),
    })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => AppendError::Halted.into(),
            StoreError::Sql(error) => error.into(),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            // Another process has taken over, or an operator must act: a later call may find a
            // writer.
            AppendError::Halted => Self::Unavailable {
                what: "the writer of the log",
            },
            AppendError::Frozen(source) => Self::WrongState {
                record: names::Collection::PRODUCERS.of(source),
                state: "FROZEN",
                description:
                    "the producer is frozen: its past has changed. an operator examines `remit log gaps`, then lets it \
                              append again with `remit log unfreeze`"
                        .to_owned(),
            },
            AppendError::Commit(error) => error.into(),
        }
    }
}

pub(crate) fn result(verdict: Verdict) -> AppendResult {
    match verdict {
        Ok(index) => AppendResult {
            index: index.cast_signed(),
            outcome: ChangeOutcome::Recorded.into(),
        },
        Err(refusal) => AppendResult {
            index: 0,
            outcome: refusal.outcome().into(),
        },
    }
}

/// A span for each change with a trace context: one trace runs from the submitted report to the
/// log.
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

pub(crate) fn end_spans(spans: Vec<(usize, Span)>, verdicts: &[Verdict]) {
    for (i, span) in spans {
        match verdicts.get(i) {
            Some(Ok(index)) => span.record("index", index),
            Some(Err(refusal)) => span.record("refusal", tracing::field::display(refusal)),
            None => &span,
        };
        // A span that is never entered has no start.
        span.in_scope(|| {});
    }
}
