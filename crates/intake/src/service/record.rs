//! Recording changes of cases, as routing delivers them.

use api::{
    event::ChangeOutcome,
    intake::{ChangeResult, RecordCaseChangesRequest, RecordProgressRequest, RecordProgressResponse},
};
use journal::{Opened, Time, Unopened};
use rpc::Failure;

use super::Service;
use crate::{state, store::CaseNews};

/// Maximum number of changes per delivery, by the contract.
const DELIVERY: usize = 1_000;

impl Service {
    /// Records what became of reports, and answers for each change.
    pub(crate) async fn record(&self, request: RecordCaseChangesRequest) -> Result<Vec<ChangeResult>, Failure> {
        if request.changes.len() > DELIVERY {
            return Err(Failure::invalid(
                "changes",
                format!("has {}, more than {DELIVERY}", request.changes.len()),
            ));
        }
        let mut results = vec![ChangeResult::default(); request.changes.len()];
        let mut spans = Vec::new();
        let mut places = Vec::with_capacity(request.changes.len());
        let mut news = Vec::with_capacity(request.changes.len());
        for (place, change) in request.changes.into_iter().enumerate() {
            let logged = change.change.clone().unwrap_or_default();
            // One that cannot be read parks its own record, and not its neighbours'.
            let readable = Opened::of_change(&logged)
                .map_err(Unopened::outcome)
                .and_then(|entry| Ok((entry, state::of_case(change.state).ok_or(ChangeOutcome::UnknownState)?)));
            let (entry, state) = match readable {
                Ok(readable) => readable,
                Err(outcome) => {
                    results[place].set_outcome(outcome);
                    continue;
                }
            };
            let span = rpc::delivery::span("record case change", &logged.traceparent);
            let traceparent = span.in_scope(telemetry::traceparent);
            spans.push(span);
            places.push(place);
            news.push(CaseNews {
                entry,
                change,
                state,
                traceparent,
            });
        }
        let now = self.clock.now();
        let arrivals = self
            .writer
            .write(&self.store, |store| async move {
                store.record_case_changes(&news, now).await
            })
            .await?;
        for (place, arrival) in places.into_iter().zip(arrivals) {
            results[place].set_outcome(arrival.outcome());
        }
        Ok(results)
    }

    /// Records up to when everything has arrived, and gives the next moment to say it of. No change
    /// of a record: it wakes no relay.
    pub(crate) async fn record_progress(
        &self,
        request: &RecordProgressRequest,
    ) -> Result<RecordProgressResponse, Failure> {
        // Read before anything else: what is recorded from here on is not promised.
        let now = self.clock.now();
        if let Some(arrived) = &request.arrived_time {
            let arrived =
                Time::from_proto(arrived).ok_or_else(|| Failure::invalid("arrived_time", "is out of range"))?;
            self.store.record_progress(arrived, now).await?;
        }
        Ok(RecordProgressResponse {
            current_time: Some(now.to_proto()),
        })
    }
}
