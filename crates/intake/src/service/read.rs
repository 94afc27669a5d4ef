//! Reading a report's content.

use std::collections::BTreeSet;

use api::intake::{GetReportRequest, GetReportResponse, Report};
use futures::future::try_join_all;
use names::AgencyId;
use prost::Message as _;
use rpc::{Failure, Identity};

use super::{Service, sender, shown_state};
use crate::{
    reading,
    store::{self, StoredReport, StoredSupplement},
};

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
        // The sender's own; it may tell more of the sender than the report does.
        if !sent {
            report.external_id.clear();
        }
        let added = self.store.supplements(valid.report).await?;
        // Others may have added what its sender must not know.
        let shown: Vec<_> = added
            .into_iter()
            .filter(|added| leads || sender(caller).owns(&added.sender))
            .collect();
        report.supplements = shown.iter().map(StoredSupplement::shown).collect::<Result<_, _>>()?;
        // An excluded sender is not told that it is.
        if leads {
            let senders = shown.iter().filter_map(|added| added.sender.agency.as_ref());
            let excluded = self.excluded(senders.collect(), &stored).await?;
            for (added, shown) in shown.iter().zip(&mut report.supplements) {
                let agency = added.sender.agency.as_ref();
                shown.sender_excluded = agency.is_some_and(|agency| excluded.contains(agency));
            }
        }
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

    /// Those of these agencies from which what became of a report is hidden.
    async fn excluded<'a>(
        &self,
        agencies: BTreeSet<&'a AgencyId>,
        stored: &StoredReport,
    ) -> Result<BTreeSet<&'a AgencyId>, Failure> {
        let asked = agencies
            .into_iter()
            .map(|agency| async move { Ok::<_, Failure>((agency, self.is_hidden([agency], stored).await?)) });
        let asked = try_join_all(asked).await?;
        Ok(asked
            .into_iter()
            .filter_map(|(agency, hidden)| hidden.then_some(agency))
            .collect())
    }
}
