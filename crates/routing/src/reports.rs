//! Calls of intake and audit: changes of reports, the first of which is routed, and access checks.

use std::{collections::BTreeSet, sync::Arc};

use api::{
    event::ChangeOutcome,
    intake::ChangeResult,
    routing::{
        CheckAccessRequest, CheckAccessResponse, ReportChange, RouteReportsRequest, check_access_request::Target,
    },
};
use decision::{
    calendar::Calendars,
    decide::decide,
    directory::{AgencyId, Directory},
    facts::agency_id,
};
use journal::{Clock, Opened, Unopened, Writer};
use rpc::{Failure, Violations};
use uuid::Uuid;

use crate::{
    active::Active,
    case::Party,
    store::{self, ReportNews, Route, Store, Versions},
};

/// Maximum number of changes per delivery, by the contract.
const DELIVERY: usize = 1_000;

/// The record of an access check.
enum Checked {
    Report(Uuid),
    Case(Uuid),
}

/// Takes reports, and checks access to them.
pub(crate) struct Reports {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) register: Arc<dyn register::store::Store>,
    pub(crate) calendars: Arc<Calendars>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Reports {
    /// Takes changes of reports, in each report's order, and opens the cases of new ones.
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
        // A malformed change is refused alone, which parks its own record only.
        let mut unreadable = Vec::with_capacity(request.changes.len());
        for change in request.changes {
            let traceparent = change.change.as_ref().map_or("", |change| change.traceparent.as_str());
            let span = rpc::delivery::span("route report", traceparent);
            let change = match self.follow_exclusions(change, &active.directory).await? {
                Ok(change) => change,
                Err(reason) => {
                    unreadable.push(Some(reason));
                    spans.push(span);
                    continue;
                }
            };
            match span.in_scope(|| decided(change, &active)) {
                Ok(decided) => {
                    news.push(decided);
                    unreadable.push(None);
                }
                Err(reason) => unreadable.push(Some(reason)),
            }
            spans.push(span);
        }
        let now = self.clock.now();
        let opening = self
            .writer
            .write(&self.store, |store| async move { store.open(&news, now).await });
        let arrivals = opening.await?;
        let mut arrivals = arrivals.into_iter();
        unreadable
            .into_iter()
            .map(|unreadable| {
                let outcome = match unreadable {
                    Some(outcome) => outcome,
                    // Never "recorded" without an answer: intake would forget the change.
                    None => arrivals.next().ok_or_else(unanswered)?.outcome(),
                };
                Ok(ChangeResult {
                    outcome: outcome.into(),
                })
            })
            .collect()
    }

    /// Adds the successors of excluded agencies that the directory in force no longer has: with
    /// them, it would pass over whom the report names. One that no directory has ever had is
    /// refused.
    async fn follow_exclusions(
        &self,
        mut change: ReportChange,
        directory: &Directory,
    ) -> Result<Result<ReportChange, ChangeOutcome>, Failure> {
        let Some(facts) = &mut change.facts else {
            return Ok(Ok(change));
        };
        let mut excluded: BTreeSet<AgencyId> = BTreeSet::new();
        for id in facts
            .excluded
            .iter()
            .chain(Some(&facts.complained_of).filter(|id| !id.is_empty()))
        {
            match agency_id(id) {
                Some(id) => drop(excluded.insert(id)),
                // Refused when the change is read.
                None => return Ok(Ok(change)),
            }
        }
        if !self.add_successors(&mut excluded, directory).await? {
            return Ok(Err(ChangeOutcome::UnknownAgency));
        }
        // As intake has them, ascending.
        facts.excluded = excluded.iter().map(AgencyId::resource_name).collect();
        Ok(Ok(change))
    }

    /// Adds the successors of those agencies that the directory in force no longer has. Returns
    /// whether every agency is, or once was, in a directory.
    async fn add_successors(
        &self,
        excluded: &mut BTreeSet<AgencyId>,
        directory: &Directory,
    ) -> Result<bool, store::Error> {
        let mut are_known = true;
        let mut checked: Vec<AgencyId> = excluded.iter().cloned().collect();
        loop {
            checked.retain(|id| directory.agency(id).is_none());
            if checked.is_empty() {
                return Ok(are_known);
            }
            let former = self
                .versions
                .former(checked.iter().map(ToString::to_string).collect())
                .await?;
            are_known &= former.len() == checked.len();
            let successors = former.into_values().flatten();
            checked = successors
                .filter(|successor| excluded.insert(successor.clone()))
                .collect();
        }
    }

    /// Whether what became of a report is hidden from an agency, by the directory in force.
    async fn is_hidden(&self, agency: &AgencyId, report: Uuid) -> Result<bool, store::Error> {
        let mut excluded = self.store.excluded(report).await?;
        if excluded.is_empty() {
            return Ok(false);
        }
        let active = self.versions.active();
        self.add_successors(&mut excluded, &active.directory).await?;
        Ok(active.directory.is_excluded(agency, &excluded))
    }

    /// Whether an agency may see the content of a report, or a case, and whether what became of the
    /// report is hidden from it.
    pub(crate) async fn check_access(&self, request: &CheckAccessRequest) -> Result<CheckAccessResponse, Failure> {
        let mut violations = Violations::new();
        let agency = violations.name("agency", names::AGENCY, &request.agency);
        let checked = match &request.target {
            Some(Target::Report(name)) => violations.name("report", names::REPORT, name).map(Checked::Report),
            Some(Target::CaseName(name)) => violations.name("case_name", names::CASE, name).map(Checked::Case),
            None => {
                violations.add("report", "is missing; name a report or a case");
                None
            }
        };
        let (agency, checked) = violations
            .finish(|| agency.zip(checked))
            .map_err(Failure::InvalidInput)?;
        Ok(match checked {
            Checked::Report(report) => {
                let hidden = self.is_hidden(&agency, report).await?;
                CheckAccessResponse {
                    // A part that the agency has not lost yet shows it nothing.
                    allowed: self.store.sees_content(&agency, report).await? && !hidden,
                    hidden,
                }
            }
            Checked::Case(case) => CheckAccessResponse {
                allowed: self.store.case(case, &Party::Agency(agency)).await?.is_some(),
                hidden: false,
            },
        })
    }
}

fn unanswered() -> Failure {
    Failure::from(store::Error::Damaged {
        what: "answer of the store",
        problem: "it has fewer arrivals than changes".to_owned(),
    })
}

/// Reads a change and decides the route of its report, or returns the reason for a refusal.
fn decided(change: ReportChange, active: &Active) -> Result<ReportNews, ChangeOutcome> {
    let entry = Opened::of_change(&change.change.unwrap_or_default()).map_err(Unopened::outcome)?;
    let report = names::REPORT.id(&entry.record).ok_or(ChangeOutcome::NotAReport)?;
    let route = match (entry.sequence, change.facts) {
        (1, None) => return Err(ChangeOutcome::NoFacts),
        // Without it, the agency to be kept out would see the case.
        (1, Some(facts)) if facts.excluded.iter().any(|name| agency_id(name).is_none()) => {
            return Err(ChangeOutcome::MalformedExclusion);
        }
        (1, Some(facts)) if names::Collection::CATEGORIES.id(&facts.category).is_none() => {
            return Err(ChangeOutcome::Malformed);
        }
        (1, Some(facts)) => Some(Route {
            decision: decide(&facts, &active.rules, &active.directory),
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
