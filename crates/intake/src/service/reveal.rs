//! Revealing a reporter.

use api::intake::{LogReference, Report, RevealReporterRequest, RevealReporterResponse};
use journal::keyed_hash;
use prost::Message as _;
use rpc::{Failure, Identity};

use super::Service;
use crate::{
    reveal,
    store::{self, Reveal, Revealed},
};

impl Service {
    /// Shows who reports, once it is durable to whom and for what.
    pub(crate) async fn reveal(
        &self,
        caller: &Identity,
        request: &RevealReporterRequest,
    ) -> Result<RevealReporterResponse, Failure> {
        let valid = reveal::check(request)?;
        // Asked also when there is no such report, as in `get`.
        if !self.may_see(caller, &store::name(valid.report)).await? {
            return Err(Failure::NotFound { what: "report" });
        }
        let mut commitment_key = [0; 32];
        self.entropy.fill(&mut commitment_key);
        // Who asks is part of what is asked: another officer's repeat must be a record of its own.
        let officer = caller.officer.as_ref().map(rpc::Officer::as_str).unwrap_or_default();
        let asked = [request.name.as_str(), valid.purpose, &valid.justification, officer].join("\0");
        let fingerprint = keyed_hash(&self.fingerprint_key, "reveal-fingerprint-v1", asked.as_bytes());
        let reveal = Reveal {
            report: valid.report,
            purpose: valid.purpose,
            justification: valid.justification,
            system: caller.system.clone(),
            agency: caller.agency.clone(),
            actor: caller.actor(valid.report.as_bytes()),
            commitment_key,
            traceparent: telemetry::traceparent(),
            request: valid.request_id.map(|id| (id, fingerprint)),
        };
        let now = self.clock.now();
        // Recorded before it is shown; a caller who goes away meanwhile has been shown it as far as
        // the log knows.
        let revealed = self
            .writer
            .write(&self.store, |store| async move { store.reveal(&reveal, now).await })
            .await?;
        let (stored, change) = match revealed {
            Revealed::NotFound => return Err(Failure::NotFound { what: "report" }),
            Revealed::RequestIdReused => return Err(Failure::RequestIdReused),
            Revealed::Report(stored, change) => (stored, change),
        };
        let report = Report::decode(stored.content.as_slice()).map_err(|error| Failure::Internal(Box::new(error)))?;
        Ok(RevealReporterResponse {
            reporter: report.reporter,
            change: Some(LogReference {
                chain: Some(change.chain),
                entry: change.entry.into(),
                event_id: change.event_id,
                kind: change.kind,
                change_time: Some(change.time.to_proto()),
                logged: change.delivered,
            }),
        })
    }
}
