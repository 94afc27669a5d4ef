//! Delivery from intake's outbox to routing.

use api::routing::{ReportChange, RouteReportsRequest, routing_inbound_service_client::RoutingInboundServiceClient};
use async_trait::async_trait;
use journal::{Deliver, Outcome, Undelivered};
use rpc::{client::Caller, delivery};

/// Delivers changes of reports to routing. The payloads are encoded [`ReportChange`] messages.
#[derive(Clone, Debug)]
pub struct ToRouting(RoutingInboundServiceClient<Caller>);

impl ToRouting {
    /// Delivers over a channel.
    pub fn new(channel: Caller) -> Self {
        Self(RoutingInboundServiceClient::new(channel))
    }
}

#[async_trait]
impl Deliver for ToRouting {
    /// A route costs routing look-ups: a sender of many reports waits for itself.
    fn takes_turns(&self) -> bool {
        true
    }

    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
        let changes: Vec<ReportChange> = delivery::decode_payloads("routing", payloads)?;
        let response = self.0.clone().route_reports(RouteReportsRequest { changes }).await;
        let response = response.map_err(|status| delivery::undelivered("routing", &status))?;
        Ok(response
            .into_inner()
            .results
            .into_iter()
            .map(|result| delivery::outcome(result.outcome))
            .collect())
    }
}
