//! Client-side verification that the log contains a receipt's changes.

use api::{
    audit::{GetInclusionProofRequest, audit_service_client::AuditServiceClient},
    error::ErrorReason,
    intake::LogReference,
};
use journal::{Bytes32, Opened};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::client::{Failed, Target};

/// A log entry verified by this client.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    /// Index of the entry.
    pub index: u64,
    /// Size of the checkpoint.
    pub size: u64,
}

/// The log's answer about a change.
#[derive(Clone, Debug)]
pub enum Logged {
    /// The proof is valid.
    Proven(Proven),
    /// Not logged yet.
    NotYet,
    /// The log's answer is invalid.
    Wrong(String),
}

/// Requests the proof of a change from audit and verifies it with the log's key against intake's
/// copy of the entry.
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
        Err(status) if status.code() == Code::NotFound => {
            let info = status.get_details_error_info();
            let nowhere = info.is_some_and(|info| info.reason == rpc::reason(ErrorReason::NotLogged));
            return Ok(match nowhere && change.logged {
                true => Logged::Wrong("audit confirmed it, and the log does not have it".to_owned()),
                false => Logged::NotYet,
            });
        }
        Err(status) => return Err(Failed::call(&audit.address)(status)),
    };
    let hashes: Option<Vec<Bytes32>> = proof.path.iter().map(|hash| Bytes32::try_from(&**hash).ok()).collect();
    let (Some(path), Ok(index)) = (hashes, u64::try_from(proof.index)) else {
        return Ok(Logged::Wrong("the proof is malformed".to_owned()));
    };
    // Intake's entry, not audit's: the entry shown to the reporter must be in the log.
    match audit::verify::verify_inclusion(&change.entry, index, &path, &proof.checkpoint, vkey) {
        Ok(head) => Ok(Logged::Proven(Proven { index, size: head.size })),
        Err(fault) => Ok(Logged::Wrong(with_causes(&fault))),
    }
}

/// Opens the chain of a report's changes and verifies it: all are of one record, and each continues
/// the previous one.
pub fn chained(changes: &[LogReference]) -> Result<Vec<Opened>, String> {
    let mut opened: Vec<Opened> = Vec::with_capacity(changes.len());
    for change in changes {
        let wrong = |problem: &dyn std::fmt::Display| format!("event {}: {problem}", change.event_id);
        let chain = change.chain.clone().unwrap_or_default();
        let next = Opened::new(&change.entry, (&chain).into()).map_err(|error| wrong(&error))?;
        if next.event_id.to_string() != change.event_id || next.kind != change.kind {
            return Err(wrong(&"it is not the change that it is said to be"));
        }
        let (record, sequence, hash) = opened.last().map_or((&*next.record, 0, [0; 32]), |last| {
            (&*last.record, last.sequence, last.hash)
        });
        if (&*next.record, next.sequence, next.previous) != (record, sequence + 1, hash) {
            return Err(wrong(&"it does not continue the previous change"));
        }
        opened.push(next);
    }
    Ok(opened)
}

/// An error with its causes, in one line.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
