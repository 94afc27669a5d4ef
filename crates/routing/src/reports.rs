//! What intake hands over: changes of reports, of which the first of each is routed; and who sees what of them.

use std::sync::Arc;

use api::{
    intake::ChangeResult,
    routing::{CheckAccessRequest, ReportChange, RouteReportsRequest, check_access_request::Target},
};
use decision::{calendar::Calendars, decide, directory::AgencyId};
use journal::{Arrival, Clock, Opened, Unopened};
use rpc::Failure;
use uuid::Uuid;

use crate::{
    active::Active,
    case::Party,
    cases::{CASE_NAME, id},
    store::{self, ReportNews, Route, Store, Versions},
};

/// Changes in one delivery at most, as the contract says.
const DELIVERY: usize = 1_000;

/// Takes reports, and answers for the sight of them.
pub(crate) struct Reports {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) register: Arc<dyn register::store::Store>,
    pub(crate) calendars: Arc<Calendars>,
    pub(crate) wake: Arc<dyn Fn() + Send + Sync>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Reports {
    /// Takes changes of reports, in each report's order, and opens the cases of those that are new.
    pub(crate) async fn take(&self, mut request: RouteReportsRequest) -> Result<Vec<ChangeResult>, Failure> {
        if request.changes.len() > DELIVERY {
            return Err(Failure::invalid(
                "changes",
                format!("has {}, more than {DELIVERY}", request.changes.len()),
            ));
        }
        register::answer::complete(&*self.register, &mut request.changes, &self.calendars, self.clock.now()).await?;
        let active = self.versions.active();
        let mut spans = Vec::new();
        let mut news = Vec::with_capacity(request.changes.len());
        // What cannot be read is refused by itself, so that it parks its own record only.
        let mut unreadable = Vec::with_capacity(request.changes.len());
        for change in request.changes {
            let traceparent = change.change.as_ref().map_or("", |change| change.traceparent.as_str());
            let span = rpc::delivery::span("route report", traceparent);
            match span.in_scope(|| decided(change, &active)) {
                Ok(decided) => {
                    news.push(decided);
                    unreadable.push(None);
                }
                Err(reason) => unreadable.push(Some(reason)),
            }
            spans.push(span);
        }
        let (store, now) = (Arc::clone(&self.store), self.clock.now());
        let arrivals = journal::uncancelled(async move { store.open(&news, now).await }).await?;
        (self.wake)();
        let mut arrivals = arrivals.into_iter();
        Ok(unreadable
            .into_iter()
            .map(|unreadable| {
                let refusal = match unreadable {
                    Some(reason) => reason,
                    None => match arrivals.next() {
                        Some(Arrival::Refused(refusal)) => refusal.reason(),
                        _ => "",
                    },
                };
                ChangeResult {
                    refusal: refusal.to_owned(),
                }
            })
            .collect())
    }

    /// Whether an agency may see a report's content, or a case.
    pub(crate) async fn check_access(&self, request: &CheckAccessRequest) -> Result<bool, Failure> {
        let Ok(agency) = AgencyId::from_resource_name(&request.agency) else {
            let expected = "must be the name of an agency, such as `agencies/{id}`";
            return Err(Failure::invalid("agency", expected));
        };
        match &request.target {
            Some(Target::Report(name)) => {
                let expected = "must be the name of a report, such as `reports/{uuid}`";
                let report = id(name, "reports/").ok_or_else(|| Failure::invalid("report", expected))?;
                Ok(self.store.sees_content(&agency, report).await?)
            }
            Some(Target::CaseName(name)) => {
                let case = id(name, "cases/").ok_or_else(|| Failure::invalid("case_name", CASE_NAME))?;
                Ok(self.store.case(case, &Party::Agency(agency)).await?.is_some())
            }
            None => Err(Failure::invalid("report", "is missing; name a report or a case")),
        }
    }
}

/// Reads a change and decides where its report goes, or says why the change cannot be taken.
fn decided(change: ReportChange, active: &Active) -> Result<ReportNews, &'static str> {
    let entry = Opened::of_change(&change.change.unwrap_or_default()).map_err(Unopened::reason)?;
    let report = entry
        .record
        .strip_prefix("reports/")
        .and_then(|id| Uuid::parse_str(id).ok())
        .filter(|id| store::report_name(*id) == entry.record)
        .ok_or("NOT_A_REPORT")?;
    let route = match (entry.sequence, change.facts) {
        (1, None) => return Err("NO_FACTS"),
        (1, Some(facts)) => Some(Route {
            decision: decide::decide(&facts, &active.rules, &active.directory),
            facts,
        }),
        _ => None,
    };
    Ok(ReportNews {
        entry,
        report,
        route,
        traceparent: telemetry::traceparent(),
    })
}
