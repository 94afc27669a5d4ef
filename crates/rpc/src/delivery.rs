//! Delivery from a service's outbox to audit.

use api::{
    audit::{
        AppendChangesRequest, EventSet, RecordMarkRequest, Standing,
        audit_inbound_service_client::AuditInboundServiceClient,
    },
    error::ErrorReason,
    event::{ChangeOutcome, StateChange},
};
use async_trait::async_trait;
use journal::{Bytes32, Deliver, Mark, Outcome, Undelivered, entry_hash};
use prost::Message as _;
use tonic_types::StatusExt as _;

use crate::{client::Caller, failure};

/// Delivers changes to audit. The payloads are encoded [`StateChange`] messages.
#[derive(Clone, Debug)]
pub struct ToAudit(AuditInboundServiceClient<Caller>);

impl ToAudit {
    /// Delivers over a channel.
    pub fn new(channel: Caller) -> Self {
        Self(AuditInboundServiceClient::new(channel))
    }
}

/// Decodes the payloads in an outbox for `consumer`.
pub fn decode_payloads<M: prost::Message + Default>(
    consumer: &'static str,
    payloads: &[Vec<u8>],
) -> Result<Vec<M>, Undelivered> {
    payloads
        .iter()
        .map(|payload| M::decode(payload.as_slice()))
        .collect::<Result<_, _>>()
        .map_err(|error| Undelivered {
            consumer,
            problem: format!("a stored message does not decode: {error}"),
            because_of_events: true,
        })
}

/// Converts a consumer's answer for the relay. An outcome that this version does not know is no
/// acceptance.
pub fn outcome(outcome: i32) -> Outcome {
    match ChangeOutcome::try_from(outcome) {
        Ok(ChangeOutcome::Recorded) => Outcome::Taken,
        Ok(known) => Outcome::Refused(known.as_str_name().trim_start_matches("CHANGE_OUTCOME_").to_owned()),
        Err(_) => Outcome::Refused(format!("outcome {outcome}, which this version does not know")),
    }
}

/// Converts a failed delivery for the relay.
pub fn undelivered(consumer: &'static str, status: &tonic::Status) -> Undelivered {
    let too_large = status
        .get_details_error_info()
        .is_some_and(|info| info.reason == failure::reason(ErrorReason::MessageTooLarge));
    Undelivered {
        consumer,
        problem: format!("{:?}: {}", status.code(), status.message()),
        because_of_events: too_large || status.code() == tonic::Code::InvalidArgument,
    }
}

#[async_trait]
impl Deliver for ToAudit {
    async fn deliver(&self, payloads: &[Vec<u8>]) -> Result<Vec<Outcome>, Undelivered> {
        let changes: Vec<StateChange> = decode_payloads("audit", payloads)?;
        let response = self.0.clone().append_changes(AppendChangesRequest { changes }).await;
        let response = response.map_err(|status| undelivered("audit", &status))?;
        Ok(response
            .into_inner()
            .results
            .into_iter()
            .map(|result| outcome(result.outcome))
            .collect())
    }

    fn entry_hash(&self, payload: &[u8]) -> Option<Bytes32> {
        // A payload that does not decode is refused at delivery and never counted.
        StateChange::decode(payload)
            .ok()
            .map(|change| entry_hash(&change.entry))
    }

    async fn mark(&self, mark: &Mark) -> Result<bool, Undelivered> {
        let set = |count: u64, hash: Option<Bytes32>| EventSet {
            count: count.cast_signed(),
            hash: hash.map(|hash| hash.to_vec().into()).unwrap_or_default(),
        };
        let request = RecordMarkRequest {
            delivered: Some(set(mark.delivered.count, Some(mark.delivered.hash.to_bytes()))),
            committed: Some(set(mark.committed, mark.committed_hash.map(journal::SetHash::to_bytes))),
        };
        let response = self.0.clone().record_mark(request).await;
        let response = response.map_err(|status| undelivered("audit", &status))?;
        let response = response.into_inner();
        Ok(response.standing() == Standing::Complete && response.logged)
    }
}

/// A span for processing an event, in the trace that the event began in; disabled if nothing is
/// traced.
pub fn span(name: &'static str, traceparent: &str) -> tracing::Span {
    if !telemetry::enabled() || traceparent.is_empty() {
        return tracing::Span::none();
    }
    let span = tracing::info_span!("event", otel.name = name, otel.kind = "consumer");
    telemetry::continue_from(&span, traceparent);
    span
}
