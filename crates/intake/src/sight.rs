//! Who may see what a report says, and who may learn what became of it. Routing decides, each time:
//! a copy here would lag behind its directory.

use api::routing::{
    CheckAccessRequest, CheckAccessResponse, check_access_request::Target,
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
        Err(error) => {
            tracing::warn!(%error, "access cannot be checked");
            Err(Failure::Unavailable { what: "routing" })
        }
    }
}
