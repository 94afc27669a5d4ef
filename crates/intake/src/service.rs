//! What intake does with reports: one file per use case, over its dependencies, who calls, and the
//! request. No transport.

mod bulk;
mod categories;
mod follow;
mod list;
mod read;
mod record;
mod repeat;
mod reveal;
mod submit;
mod supplement;
mod watch;
mod withdraw;

use std::{collections::BTreeSet, sync::Arc};

pub(crate) use bulk::Turns;
pub(crate) use watch::KEPT as FEEDS_KEPT;

use api::routing::routing_inbound_service_client::RoutingInboundServiceClient;
use futures::future::try_join_all;
use journal::{Clock, Committer, Entropy, Writer};
use names::AgencyId;
use rpc::{Failure, Identity, client::Caller};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    category::Categories,
    directory::Directory,
    evidence::Forbid,
    receipt::Receipts,
    sight::{self, was_hidden},
    state::State,
    store::{self, Accepted, Prepared, Sender, Store, StoredReport, evidence::EvidenceStore},
};

/// Intake's use cases. Clones share all that they have.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) categories: Arc<Categories>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) receipts: Receipts,
    pub(crate) fingerprint_key: journal::Bytes32,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) forbid: Forbid,
    pub(crate) acceptances: Committer<Prepared, Accepted>,
    pub(crate) readings: Committer<journal::Rows, ()>,
    pub(crate) writer: Writer,
    pub(crate) routing: RoutingInboundServiceClient<Caller>,
    pub(crate) turns: Arc<Turns>,
    /// Previews of routes that are asked for at once: they go in the lane of Remit's services, of
    /// which those that only look must leave most.
    pub(crate) previews: Arc<Semaphore>,
    pub(crate) open_feeds: rpc::feed::OpenFeeds,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tokens: rpc::page::Tokens,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Service {
    async fn may_see(&self, caller: &Identity, report: &str) -> Result<bool, Failure> {
        sight::may_see(&self.routing, caller, report).await
    }

    /// Whether one of these agencies must not learn what became of a report. Asks of each, whatever
    /// the answers: neither the time nor an outage of routing tells which it is.
    async fn is_hidden(
        &self,
        agencies: impl IntoIterator<Item = &AgencyId>,
        stored: &StoredReport,
    ) -> Result<bool, Failure> {
        let agencies: BTreeSet<&AgencyId> = agencies.into_iter().collect();
        let name = store::name(stored.report);
        let asked = agencies
            .iter()
            .map(|agency| sight::is_hidden(&self.routing, agency, &name));
        let now = try_join_all(asked).await?;
        Ok(now.contains(&true) || agencies.iter().any(|agency| was_hidden(agency, stored.case.as_ref())))
    }
}

/// The caller as somebody who sends something in.
pub(crate) fn sender(caller: &Identity) -> Sender {
    Sender {
        system: caller.system.clone(),
        agency: caller.agency.clone(),
    }
}

/// The state that a report is shown in. Whoever is excluded keeps to what it knew when the report
/// was sent.
fn shown_state(stored: State, is_hidden: bool) -> State {
    match is_hidden {
        true => State::Accepted,
        false => stored,
    }
}
