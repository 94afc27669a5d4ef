//! Who may see what a report says.

use api::routing::{CheckAccessRequest, case_service_client::CaseServiceClient};
use rpc::{Failure, Identity, Role, client::Caller};

/// Whether the caller is of those who send reports in.
pub(crate) fn may_send(caller: &Identity) -> bool {
    !matches!(caller.role, Role::Service | Role::Auditor)
}

/// Whether the caller's agency may see a report's content. Routing decides, now: no copy here could lag behind.
pub(crate) async fn may_see(
    routing: &CaseServiceClient<Caller>,
    caller: &Identity,
    report: &str,
) -> Result<bool, Failure> {
    // What a token of another role says of an agency gives it no case.
    let Ok(agency) = caller.require_agency() else {
        return Ok(false);
    };
    let request = CheckAccessRequest {
        report: report.to_owned(),
        agency: format!("agencies/{agency}"),
        ..CheckAccessRequest::default()
    };
    match routing.clone().check_access(request).await {
        Ok(response) => Ok(response.into_inner().allowed),
        Err(error) => {
            tracing::warn!(%error, "access cannot be checked");
            Err(Failure::Unavailable { what: "routing" })
        }
    }
}
