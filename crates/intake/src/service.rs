//! What intake does with reports: one file per use case, over its dependencies, who calls, and the
//! request. No transport.

mod follow;
mod read;
mod record;
mod reveal;
mod submit;

use std::sync::Arc;

use api::routing::routing_inbound_service_client::RoutingInboundServiceClient;
use journal::{Clock, Committer, Entropy, Writer};
use names::AgencyId;
use rpc::{Failure, Identity, client::Caller};

use crate::{
    category::Categories,
    directory::Directory,
    receipt::Receipts,
    sight,
    state::State,
    store::{Accepted, Prepared, Store, StoredReport, evidence::EvidenceStore},
};

/// Intake's use cases.
pub(crate) struct Service {
    pub(crate) categories: Arc<Categories>,
    pub(crate) directory: Directory,
    pub(crate) receipts: Receipts,
    pub(crate) fingerprint_key: journal::Bytes32,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) acceptances: Committer<Prepared, Accepted>,
    pub(crate) readings: Committer<journal::Rows, ()>,
    pub(crate) writer: Writer,
    pub(crate) routing: RoutingInboundServiceClient<Caller>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Service {
    async fn may_see(&self, caller: &Identity, report: &str) -> Result<bool, Failure> {
        sight::may_see(&self.routing, caller, report).await
    }
}

/// Whether the caller sent this report.
fn is_sender(caller: &Identity, stored: &StoredReport) -> bool {
    caller.system == stored.caller || (caller.agency.is_some() && caller.agency == stored.agency)
}

/// Whether the caller's agency must not learn what became of a report: it keeps to what it knew
/// when it sent it in.
fn is_hidden_from(caller: &Identity, stored: &StoredReport) -> bool {
    caller.agency.as_ref().is_some_and(|agency| is_hidden(agency, stored))
}

/// Whether an agency must not learn what became of a report.
fn is_hidden(agency: &AgencyId, stored: &StoredReport) -> bool {
    stored.case.as_ref().is_some_and(|case| {
        let mut hidden = case.hidden_from.iter();
        hidden.any(|name| names::AGENCY.id(name).as_ref() == Some(agency))
    })
}

fn shown_state(caller: &Identity, stored: &StoredReport) -> State {
    if is_hidden_from(caller, stored) {
        State::Accepted
    } else {
        stored.state
    }
}
