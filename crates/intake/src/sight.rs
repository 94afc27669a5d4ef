//! Who may see what a report says, and who may learn what became of it. Routing decides, each time:
//! a copy here would lag behind its directory.

use std::collections::BTreeSet;

use api::routing::{
    CheckAccessRequest, CheckAccessResponse, CheckReportsRequest, check_access_request::Target,
    routing_inbound_service_client::RoutingInboundServiceClient,
};
use names::AgencyId;
use rpc::{Failure, Identity, client::Caller};

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

/// Those of these reports, by name, of which an agency must not learn what became. Asked of all at
/// once, whatever is known of them: the time of the answer tells nothing of any.
pub(crate) async fn hidden(
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
