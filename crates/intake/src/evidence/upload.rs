//! Receives a file: hashed and counted as it arrives, and on disk before the sender is answered.

use api::intake::UploadEvidenceRequest;
use futures::Stream;
use journal::Bytes32;
use rpc::{Failure, upload::Upload};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::category::Categories;

use super::{
    Limits, Room, Unfinished, Vault,
    check::{self, Announced},
};

/// Bytes of a file's beginning used to detect its type.
const BEGINNING: usize = 8 << 10;

/// A completely received file.
pub(super) struct Received {
    pub(super) announced: Announced,
    pub(super) sha256: Bytes32,
    /// The detected type.
    pub(super) sniffed_type: &'static str,
    /// The file, to be finished.
    pub(super) file: Box<dyn Unfinished>,
}

/// The messages of an upload, as they come.
pub(crate) trait Messages: Stream<Item = Result<UploadEvidenceRequest, Failure>> + Unpin + Send {}

impl<S: Stream<Item = Result<UploadEvidenceRequest, Failure>> + Unpin + Send> Messages for S {}

/// Takes the messages of an upload, and has the vault write what they bring. `unattached` are the
/// bytes of the sender's files that no report names.
pub(super) async fn receive(
    messages: impl Messages,
    categories: &Categories,
    vault: &dyn Vault,
    id: Uuid,
    room: &Room,
    unattached: u64,
    limits: Limits,
) -> Result<Received, Failure> {
    let (spec, mut upload) = Upload::begin(messages, limits.idle).await?;
    let announced = check::announced(spec, limits.file_bytes, categories)?;
    let quota = limits.unattached_bytes_per_caller;
    if announced.size > quota.saturating_sub(unattached) {
        return Err(Failure::QuotaReached { bytes: quota });
    }
    let _taken = room.take(announced.size).await?;
    let mut file = vault.begin(id).await.map_err(unwritten)?;
    let mut digest = Sha256::new();
    let mut beginning = Vec::new();
    while let Some(data) = upload.next(announced.size).await? {
        digest.update(&data);
        let missing = BEGINNING.saturating_sub(beginning.len());
        beginning.extend_from_slice(&data[..missing.min(data.len())]);
        file.write(data).await.map_err(unwritten)?;
    }
    let sha256 = digest.finalize().into();
    if announced.sha256.is_some_and(|announced| announced != sha256) {
        return Err(Failure::invalid(
            "spec.sha256",
            "is not that of the bytes that came; upload them again",
        ));
    }
    Ok(Received {
        announced,
        sha256,
        sniffed_type: sniff(&beginning),
        file,
    })
}

/// A file could not be written.
pub(super) fn unwritten(error: std::io::Error) -> Failure {
    Failure::unwritten("writing evidence", error)
}

/// Detects a file's type by its first bytes.
fn sniff(beginning: &[u8]) -> &'static str {
    infer::get(beginning).map_or("application/octet-stream", |kind| kind.mime_type())
}
