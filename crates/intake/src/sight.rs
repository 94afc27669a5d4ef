//! Who may see what a report says, and who may learn what became of it. Routing decides, each time:
//! a copy here would lag behind its directory.

use std::collections::BTreeSet;

use api::{
    intake::CaseChange,
    routing::{
        CheckAccessRequest, CheckAccessResponse, CheckReportsRequest, check_access_request::Target,
        routing_inbound_service_client::RoutingInboundServiceClient,
    },
};
use names::AgencyId;
use rpc::{Failure, Identity, client::Caller};
use uuid::Uuid;

use crate::store;

/// Reports that routing is asked about at once.
pub(crate) const BLOCK: u32 = 1_000;

/// Whether the caller's agency may see a report's content.
pub(crate) async fn may_see(
    routing: &RoutingInboundServiceClient<Caller>,
    caller: &Identity,
    report: &str,
) -> Result<bool, Failure> {
    // Only an agency's token gives access to the agency's cases.
    match caller.acts_for() {
        Some(agency) => Ok(ask(routing, agency, report).await?.allowed),
        None => Ok(false),
    }
}

/// Whether an agency must not learn what became of a report. Without an answer of routing there is
/// none: the caller repeats the request.
pub(crate) async fn is_hidden(
    routing: &RoutingInboundServiceClient<Caller>,
    agency: &AgencyId,
    report: &str,
) -> Result<bool, Failure> {
    Ok(ask(routing, agency, report).await?.hidden)
}

/// The names of those of these reports, each with its case as routing last told of it, of which
/// their sender, if it has an agency, must not learn what became. Asked of all, whatever is known
/// of them: the time of the answer tells nothing of any.
pub(crate) async fn hidden_of(
    routing: &RoutingInboundServiceClient<Caller>,
    agency: Option<&AgencyId>,
    reports: &[(Uuid, Option<&CaseChange>)],
) -> Result<BTreeSet<String>, Failure> {
    let Some(agency) = agency else {
        return Ok(BTreeSet::new());
    };
    let mut found = BTreeSet::new();
    for block in reports.chunks(BLOCK as usize) {
        let named = block.iter().map(|(report, _)| store::name(*report)).collect();
        found.append(&mut hidden(routing, agency, named).await?);
    }
    let were = reports.iter().filter(|(_, case)| was_hidden(agency, *case));
    found.extend(were.map(|(report, _)| store::name(*report)));
    Ok(found)
}

/// Whether routing has told that an agency must not learn what became of a report. It may have
/// decided otherwise since: this only adds to its present answer.
pub(crate) fn was_hidden(agency: &AgencyId, case: Option<&CaseChange>) -> bool {
    case.is_some_and(|case| {
        let mut hidden = case.hidden_from.iter();
        hidden.any(|name| names::AGENCY.id(name).as_ref() == Some(agency))
    })
}

async fn hidden(
    routing: &RoutingInboundServiceClient<Caller>,
    agency: &AgencyId,
    reports: Vec<String>,
) -> Result<BTreeSet<String>, Failure> {
    if reports.is_empty() {
        return Ok(BTreeSet::new());
    }
    let request = CheckReportsRequest {
        agency: agency.resource_name(),
        reports,
    };
    match routing.clone().check_reports(request).await {
        Ok(response) => Ok(response.into_inner().hidden_reports.into_iter().collect()),
        Err(error) => Err(unanswered(&error)),
    }
}

async fn ask(
    routing: &RoutingInboundServiceClient<Caller>,
    agency: &AgencyId,
    report: &str,
) -> Result<CheckAccessResponse, Failure> {
    let request = CheckAccessRequest {
        target: Some(Target::Report(report.to_owned())),
        agency: agency.resource_name(),
    };
    match routing.clone().check_access(request).await {
        Ok(response) => Ok(response.into_inner()),
        Err(error) => Err(unanswered(&error)),
    }
}

fn unanswered(error: &tonic::Status) -> Failure {
    tracing::warn!(%error, "access cannot be checked");
    Failure::Unavailable { what: "routing" }
}
