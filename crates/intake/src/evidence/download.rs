//! Sends a file, hashing it on the way and comparing the hash with the recorded one.

use api::intake::{DownloadEvidenceResponse, DownloadHeader, download_evidence_response::Part};
use bytes::{Bytes, BytesMut};
use rpc::Failure;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
    time::timeout,
};

use super::{Limits, slots::Slot};
use crate::store::evidence::StoredEvidence;

/// Bytes per message.
const CHUNK: usize = 128 << 10;

pub(super) type Answers = mpsc::Sender<Result<DownloadEvidenceResponse, Failure>>;

/// A file being sent to a caller.
pub(super) struct Outgoing {
    pub(super) stored: StoredEvidence,
    pub(super) header: DownloadHeader,
    pub(super) file: Box<dyn AsyncRead + Send + Unpin>,
    /// One of the concurrent downloads.
    pub(super) slot: Slot,
}

/// Why sending stopped.
enum Stopped {
    /// The caller has gone or reads nothing.
    Caller,
    Failed(Failure),
}

impl Outgoing {
    /// Sends the file until the end, or until the caller stops reading.
    pub(super) async fn send(mut self, answers: Answers, limits: Limits) {
        match self.parts(&answers, limits).await {
            Ok(()) | Err(Stopped::Caller) => {}
            Err(Stopped::Failed(failure)) => {
                let _ = timeout(limits.idle, answers.send(Err(failure))).await;
            }
        }
        drop(self.slot);
    }

    async fn parts(&mut self, answers: &Answers, limits: Limits) -> Result<(), Stopped> {
        let send = async |part| {
            let message = DownloadEvidenceResponse { part: Some(part) };
            match timeout(limits.idle, answers.send(Ok(message))).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Stopped::Caller),
            }
        };
        send(Part::Header(self.header.clone())).await?;
        let mut digest = Sha256::new();
        let mut size = 0;
        loop {
            let data = self.read().await.map_err(Stopped::Failed)?;
            if data.is_empty() {
                break;
            }
            size += data.len() as u64;
            if size > self.stored.size {
                return Err(Stopped::Failed(damaged(&self.stored, "it is longer")));
            }
            digest.update(&data);
            send(Part::Data(data)).await?;
        }
        if size < self.stored.size {
            return Err(Stopped::Failed(damaged(&self.stored, "it is shorter")));
        }
        if digest.finalize()[..] != self.stored.sha256 {
            return Err(Stopped::Failed(damaged(&self.stored, "its bytes differ")));
        }
        Ok(())
    }

    /// The next bytes; empty at the end.
    async fn read(&mut self) -> Result<Bytes, Failure> {
        let mut data = BytesMut::with_capacity(CHUNK);
        match self.file.read_buf(&mut data).await {
            Ok(_) => Ok(data.freeze()),
            Err(error) => Err(damaged(&self.stored, &format!("reading failed: {error}"))),
        }
    }
}

/// The stored file differs from the uploaded one. Logged as an error, because somebody must
/// investigate.
pub(super) fn damaged(stored: &StoredEvidence, problem: &str) -> Failure {
    let record = super::name(stored.id);
    tracing::error!(record, problem, "a stored file differs from the uploaded one");
    Failure::Damaged { record }
}
