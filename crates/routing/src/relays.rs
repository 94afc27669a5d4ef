//! Delivery from routing's outbox to intake.

use api::intake::{
    CaseChange, RecordCaseChangesRequest, RecordProgressRequest,
    intake_inbound_service_client::IntakeInboundServiceClient,
};
use async_trait::async_trait;
use journal::{Deliver, Outcome, Time, Undelivered};
use rpc::{client::Caller, delivery};

/// Delivers changes of cases to intake. The payloads are encoded [`CaseChange`] messages.
#[derive(Clone, Debug)]
pub struct ToIntake(IntakeInboundServiceClient<Caller>);

impl ToIntake {
    /// Delivers over a channel.
    pub fn new(channel: Caller) -> Self {
        Self(IntakeInboundServiceClient::new(channel))
    }
}

#[async_trait]
impl Deliver for ToIntake {
    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
        let changes: Vec<CaseChange> = delivery::decode_payloads("intake", payloads)?;
        let response = self
            .0
            .clone()
            .record_case_changes(RecordCaseChangesRequest { changes })
            .await;
        let response = response.map_err(|status| delivery::undelivered("intake", &status))?;
        Ok(response
            .into_inner()
            .results
            .into_iter()
            .map(|result| delivery::outcome(result.outcome))
            .collect())
    }

    async fn progress(&self, arrived: Option<Time>) -> Result<Option<Time>, Undelivered> {
        let request = RecordProgressRequest {
            arrived_time: arrived.map(Time::to_proto),
        };
        let response = self.0.clone().record_progress(request).await;
        let response = response.map_err(|status| delivery::undelivered("intake", &status))?;
        Ok(response.into_inner().current_time.as_ref().and_then(Time::from_proto))
    }
}
