//! Checks, on the caller's side, that the log holds what a receipt was answered with.

use api::{
    audit::{GetInclusionProofRequest, audit_service_client::AuditServiceClient},
    intake::LogReference,
};
use journal::Bytes32;
use tonic::Code;

use crate::client::{Failed, Target};

/// An entry that is in the log, proven by ourselves.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    /// Its index.
    pub index: u64,
    /// How many entries the checkpoint signs.
    pub size: u64,
}

/// What the log says of a change.
#[derive(Clone, Debug)]
pub enum Logged {
    /// It is in the log.
    Proven(Proven),
    /// Not yet.
    NotYet,
    /// What the log answered does not hold.
    Wrong(String),
}

/// Asks audit for the proof of a change, and verifies it with the log's key against the entry that intake gave.
pub async fn check(audit: &Target, vkey: &str, change: &LogReference) -> Result<Logged, Failed> {
    let request = GetInclusionProofRequest {
        event_id: change.event_id.clone(),
        ..GetInclusionProofRequest::default()
    };
    let response = AuditServiceClient::new(audit.channel.clone())
        .get_inclusion_proof(request)
        .await;
    let proof = match response {
        Ok(response) => response.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(Logged::NotYet),
        Err(status) => return Err(Failed::call(&audit.address)(status)),
    };
    let hashes: Option<Vec<Bytes32>> = proof.path.iter().map(|hash| Bytes32::try_from(&**hash).ok()).collect();
    let (Some(path), Ok(index)) = (hashes, u64::try_from(proof.index)) else {
        return Ok(Logged::Wrong("the proof is malformed".to_owned()));
    };
    // Intake's entry, not audit's: what the reporter was shown is what has to be in the log.
    match audit::verify::verify_inclusion(&change.entry, index, &path, &proof.checkpoint, vkey) {
        Ok(head) => Ok(Logged::Proven(Proven { index, size: head.size })),
        Err(fault) => Ok(Logged::Wrong(with_causes(&fault))),
    }
}

/// An error with its causes, on one line.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
