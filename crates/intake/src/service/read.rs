//! Reading a report's content.

use api::intake::{GetReportRequest, GetReportResponse, Report};
use prost::Message as _;
use rpc::{Failure, Identity};

use super::{Service, sender, shown_state};
use crate::{reading, store};

impl Service {
    /// Shows a report's content, once it is durable that it is read.
    pub(crate) async fn get(
        &self,
        caller: &Identity,
        request: &GetReportRequest,
    ) -> Result<GetReportResponse, Failure> {
        let valid = reading::check(request)?;
        let name = store::name(valid.report);
        let stored = self.store.report(valid.report).await?;
        let sent = stored
            .as_ref()
            .is_some_and(|stored| sender(caller).owns(&stored.sender));
        // Asked also when there is no such report: neither the answer nor its time tells that.
        let leads = self.may_see(caller, &name).await?;
        let stored = stored
            .filter(|_| sent || leads)
            .ok_or(Failure::NotFound { what: "report" })?;
        let mut report =
            Report::decode(stored.content.as_slice()).map_err(|error| Failure::Internal(Box::new(error)))?;
        // Who reports is shown on a purpose and a reason of its own: not here.
        if let Some(reporter) = &mut report.reporter {
            reporter.display_name.clear();
            reporter.contact.clear();
        }
        let added = self.store.supplements(valid.report).await?;
        // Others may have added what its sender must not know.
        let shown = added
            .into_iter()
            .filter(|added| leads || sender(caller).owns(&added.sender));
        report.supplements = shown.map(|added| added.shown()).collect::<Result<_, _>>()?;
        report.name = name;
        report.accept_time = Some(stored.accept_time.to_proto());
        let state = shown_state(stored.state, self.is_hidden(&caller.agency, &stored).await?);
        report.state = state.to_proto().into();
        let reading = valid.begin(caller, self.clock.now(), &*self.entropy, telemetry::traceparent());
        let logged_as = reading.record.clone();
        // Recorded before it is shown; a caller who goes away meanwhile has been shown it as far as
        // the log knows.
        self.readings.commit(store::reading_rows(reading)).await?;
        Ok(GetReportResponse {
            report: Some(report),
            reading: logged_as,
        })
    }
}
