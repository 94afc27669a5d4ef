//! Calls of intake and audit: changes of reports, the first of which is routed, and access checks.

use std::{collections::BTreeSet, sync::Arc};

use api::{
    event::ChangeOutcome,
    intake::{ChangeResult, RoutePreview},
    routing::{
        CheckAccessRequest, CheckAccessResponse, CheckReportsRequest, CheckReportsResponse, Facts, PreviewRouteRequest,
        ReportChange, RouteReportsRequest, check_access_request::Target,
    },
};
use bytes::Bytes;
use decision::{decide::decide, directory::AgencyId, facts::agency_id};
use journal::{Arrival, Bytes32, Clock, IntakeKind, Opened, Unopened, Writer};
use rpc::{Failure, Violations};
use uuid::Uuid;

use crate::{
    active::Active,
    case::{Party, Rules, Said},
    completion::{self, Completion},
    metrics,
    store::{self, ReportNews, Route, Store, Versions},
    view,
};

/// Maximum number of changes per delivery, by the contract.
const DELIVERY: usize = 1_000;

/// Maximum number of subjects per report, by the contract.
const SUBJECT_KEYS: usize = 50;

/// The record of an access check.
enum Checked {
    Report(Uuid),
    Case(Uuid),
}

/// Takes reports, and checks access to them.
pub(crate) struct Reports {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) completion: Completion,
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
        self.completion.ask_register(&mut request.changes).await?;
        let active = self.versions.active();
        let mut spans = Vec::new();
        let mut news = Vec::with_capacity(request.changes.len());
        // A malformed change is refused alone, which parks its own record only.
        let mut unreadable = Vec::with_capacity(request.changes.len());
        for mut change in request.changes {
            let traceparent = change.change.as_ref().map_or("", |change| change.traceparent.as_str());
            let span = rpc::delivery::span("route report", traceparent);
            if let Some(facts) = &mut change.facts
                && let Err(reason) = self.completion.follow_exclusions(facts, &active.directory).await?
            {
                unreadable.push(Some(reason));
                spans.push(span);
                continue;
            }
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
        let news = Arc::new(news);
        let taken = Arc::clone(&news);
        let opening = self
            .writer
            .write(&self.store, |store| async move { store.open(&taken, now).await });
        let arrivals = opening.await?;
        for (news, _) in news
            .iter()
            .zip(&arrivals)
            .filter(|(_, arrival)| **arrival == Arrival::New)
        {
            if let Some(route) = &news.route {
                metrics::routed(&route.decision);
            }
        }
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

    /// The route that a report would have if it were submitted now, and who would see what. Reads
    /// no case: what is asked of a report that would join one tells nothing of it.
    pub(crate) async fn preview(&self, request: PreviewRouteRequest) -> Result<RoutePreview, Failure> {
        let facts = request.facts.ok_or_else(|| Failure::invalid("facts", "is missing"))?;
        let active = self.versions.active();
        let completed = self
            .completion
            .preview(facts, request.subjects, &active.directory)
            .await?;
        let facts = completed
            .and_then(readable)
            .map_err(|outcome| Failure::invalid("facts", completion::refused(outcome)))?;
        let decision = decide(&facts, &active.rules, &active.directory);
        let rules = Rules {
            directory: &active.directory,
            calendars: &self.completion.calendars,
            now: self.clock.now(),
        };
        let opened = rules.open(&decision).case;
        let excluded = facts.excluded.iter().filter_map(|name| agency_id(name)).collect();
        Ok(match agency_id(&facts.received_by) {
            // As later: an excluded sender is told nothing of what follows.
            Some(sender) if active.directory.is_excluded(&sender, &excluded) => RoutePreview {
                withheld: true,
                ..RoutePreview::default()
            },
            _ => view::preview(&opened, view::advice(&decision), &active.directory),
        })
    }

    /// Those of the reports of which what became is hidden from an agency, by the directory in
    /// force.
    async fn hidden(&self, agency: &AgencyId, reports: &[Uuid]) -> Result<BTreeSet<Uuid>, store::Error> {
        let mut excluded = self.store.excluded(reports).await?;
        let active = self.versions.active();
        self.completion
            .add_successors(excluded.values_mut().collect(), &active.directory)
            .await?;
        // Of an agency that the directory no longer has, nobody knows any more what it was under.
        let is_known = active.directory.agency(agency).is_some();
        excluded.retain(|_, excluded| !is_known || active.directory.is_excluded(agency, excluded));
        Ok(excluded.into_keys().collect())
    }

    /// Those of the reports of which what became is hidden from an agency.
    pub(crate) async fn check_reports(&self, request: &CheckReportsRequest) -> Result<CheckReportsResponse, Failure> {
        let mut violations = Violations::new();
        let agency = violations.name("agency", names::AGENCY, &request.agency);
        if request.reports.len() > DELIVERY {
            violations.add(
                "reports",
                format!("has {}, more than {DELIVERY}", request.reports.len()),
            );
        }
        let reports = request.reports.iter().take(DELIVERY).enumerate();
        let reports: Vec<_> = reports
            .filter_map(|(i, name)| violations.name(format_args!("reports[{i}]"), names::REPORT, name))
            .collect();
        let agency = violations.finish(|| agency).map_err(Failure::InvalidInput)?;
        let hidden = self.hidden(&agency, &reports).await?;
        Ok(CheckReportsResponse {
            hidden_reports: hidden.into_iter().map(store::report_name).collect(),
        })
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
                let hidden = self.hidden(&agency, &[report]).await?.contains(&report);
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

/// Facts that a route can be decided by, or the reason for a refusal.
fn readable(facts: Facts) -> Result<Facts, ChangeOutcome> {
    // Without it, the agency to be kept out would see the case.
    if facts.excluded.iter().any(|name| agency_id(name).is_none()) {
        return Err(ChangeOutcome::MalformedExclusion);
    }
    match names::Collection::CATEGORIES.id(&facts.category) {
        Some(_) => Ok(facts),
        None => Err(ChangeOutcome::Malformed),
    }
}

/// Reads a change and decides the route of its report, or returns the reason for a refusal.
fn decided(change: ReportChange, active: &Active) -> Result<ReportNews, ChangeOutcome> {
    let entry = Opened::of_change(&change.change.unwrap_or_default()).map_err(Unopened::outcome)?;
    let report = names::REPORT.id(&entry.record).ok_or(ChangeOutcome::NotAReport)?;
    let route = match (entry.sequence, change.facts) {
        (1, None) => return Err(ChangeOutcome::NoFacts),
        (1, Some(facts)) => {
            let facts = readable(facts)?;
            Some(Route {
                decision: decide(&facts, &active.rules, &active.directory),
                facts,
                subject_keys: subject_keys(&change.subject_keys)?,
            })
        }
        _ => None,
    };
    let said = said(&entry.kind, change.question_number);
    Ok(ReportNews {
        said,
        entry,
        report,
        route,
        traceparent: telemetry::traceparent(),
    })
}

/// Keyed hashes of subjects, or the reason for a refusal.
fn subject_keys(keys: &[Bytes]) -> Result<Vec<Bytes32>, ChangeOutcome> {
    if keys.len() > SUBJECT_KEYS {
        return Err(ChangeOutcome::Malformed);
    }
    let keys = keys.iter().map(|key| Bytes32::try_from(&key[..]));
    keys.collect::<Result<_, _>>().map_err(|_| ChangeOutcome::Malformed)
}

/// What a reporter says by a change of the report, if it says anything.
fn said(kind: &str, question_number: i64) -> Option<Said> {
    if kind == IntakeKind::ReportSupplemented.name() {
        Some(Said::More)
    } else if kind == IntakeKind::WithdrawalRequested.name() {
        // The store knows whether the case can end with it.
        Some(Said::Withdraw { ends: true })
    } else if kind == IntakeKind::ReviewRequested.name() {
        Some(Said::Review)
    } else if kind == IntakeKind::ReportAnswered.name() {
        // An answer to what nobody can have asked is still said.
        let number = u64::try_from(question_number);
        Some(number.map_or(Said::More, |number| Said::Answer { number }))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_reporter_says_is_dropped() {
        let answered = IntakeKind::ReportAnswered.name();
        for (kind, number, expected) in [
            (answered, 3, Some(Said::Answer { number: 3 })),
            (answered, -1, Some(Said::More)),
            (IntakeKind::ReportSupplemented.name(), -1, Some(Said::More)),
            (IntakeKind::ReviewRequested.name(), 0, Some(Said::Review)),
            (
                IntakeKind::WithdrawalRequested.name(),
                0,
                Some(Said::Withdraw { ends: true }),
            ),
            (IntakeKind::ReportRouted.name(), 0, None),
        ] {
            assert_eq!(said(kind, number), expected, "{kind} {number}");
        }
    }
}
