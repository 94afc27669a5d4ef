//! Who may see what a report says.

use api::routing::{
    CheckAccessRequest, check_access_request::Target, routing_inbound_service_client::RoutingInboundServiceClient,
};
use rpc::{Failure, Identity, client::Caller};

/// Whether the caller's agency may see a report's content. Routing decides, now: no copy here could
/// lag behind.
pub(crate) async fn may_see(
    routing: &RoutingInboundServiceClient<Caller>,
    caller: &Identity,
    report: &str,
) -> Result<bool, Failure> {
    // What a token of another role says of an agency gives it no case.
    let Some(agency) = caller.acts_for() else {
        return Ok(false);
    };
    let request = CheckAccessRequest {
        target: Some(Target::Report(report.to_owned())),
        agency: agency.resource_name(),
    };
    match routing.clone().check_access(request).await {
        Ok(response) => Ok(response.into_inner().allowed),
        Err(error) => {
            tracing::warn!(%error, "access cannot be checked");
            Err(Failure::Unavailable { what: "routing" })
        }
    }
}
