//! Receives a file: hashed and counted as it arrives, and on disk before the sender is answered.
//! What arrives of one with a request id is noted now and then, and when it breaks off, so that
//! another one goes on there.

use std::sync::Arc;

use api::intake::{EvidenceSpec, UploadEvidenceRequest};
use bytes::BytesMut;
use futures::Stream;
use journal::{Bytes32, Clock, keyed_hash};
use rpc::{Failure, upload::Upload};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use uuid::Uuid;

use super::{
    Limits, Room, Unfinished, Vault,
    check::{self, Announced},
    forbid,
};
use crate::{
    category::Categories,
    store::evidence::{Begun, EvidenceStore, Kept, Partial},
};

/// Bytes of a file's beginning used to detect its type.
const BEGINNING: usize = 8 << 10;
/// Bytes after which it is noted how much has arrived.
const NOTE: u64 = 8 << 20;
/// Bytes that are read at once of what arrived before.
const CHUNK: usize = 256 << 10;

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

/// Where files are received to.
pub(super) struct Receiving<'r> {
    pub(super) store: &'r Arc<dyn EvidenceStore>,
    pub(super) vault: &'r Arc<dyn Vault>,
    pub(super) categories: &'r Categories,
    pub(super) room: &'r Room,
    pub(super) limits: Limits,
    /// Key of fingerprints of announcements.
    pub(super) key: Bytes32,
    /// Who sends it.
    pub(super) caller: &'r str,
    pub(super) clock: &'r Arc<dyn Clock>,
}

impl Receiving<'_> {
    /// Takes the messages of an upload, and has the vault write what they bring. `unattached` are
    /// the bytes of the sender's files that no report names.
    pub(super) async fn receive(
        &self,
        messages: impl Messages,
        id: Uuid,
        unattached: u64,
    ) -> Result<Received, Failure> {
        let (spec, mut upload) = Upload::begin(messages, self.limits.idle).await?;
        self.forget_forbidden(&spec).await?;
        let announced = check::announced(spec, self.limits.file_bytes, self.categories)?;
        let fingerprint = self.fingerprint(&announced);
        let now = self.clock.now();
        let earlier = match announced.request_id {
            Some(request_id) => self.store.partial(self.caller, request_id, now).await?,
            None => None,
        };
        let earlier = earlier.filter(|earlier| earlier.fingerprint == fingerprint);
        let arrived = earlier.map_or(0, |earlier| earlier.received);
        if announced.offset > arrived {
            let description = format!("is more than has arrived of this file with this request id: {arrived}");
            return Err(Failure::invalid("spec.offset_bytes", description));
        }
        let quota = self.limits.unattached_bytes_per_caller;
        // What it goes on with is counted already.
        if announced.size > quota.saturating_sub(unattached.saturating_sub(arrived)) {
            return Err(Failure::QuotaReached { bytes: quota });
        }
        let _taken = self.room.take(announced.size).await?;
        let mut hashed = Hashed::default();
        let mut arriving = Arriving {
            file: Some(self.vault.begin(id).await.map_err(unwritten)?),
            store: Arc::clone(self.store),
            vault: Arc::clone(self.vault),
            clock: Arc::clone(self.clock),
            caller: self.caller.to_owned(),
            request_id: announced.request_id,
            partial: Partial {
                file: id,
                fingerprint,
                received: 0,
                begin_time: now,
            },
            noted: 0,
            is_lost: false,
        };
        let earlier = arriving.begin().await?;
        if announced.offset > 0 {
            let copied = match earlier {
                Some(earlier) => {
                    self.copy(earlier.file, announced.offset, &mut arriving, &mut hashed)
                        .await?
                }
                None => false,
            };
            if !copied {
                arriving.forget().await?;
                return Err(Failure::invalid(
                    "spec.offset_bytes",
                    "is of bytes that are gone; upload the file from its beginning",
                ));
            }
        }
        while let Some(data) = upload.next(announced.size - announced.offset).await? {
            hashed.update(&data);
            arriving.write(data).await?;
        }
        let sha256 = hashed.digest.finalize().into();
        if announced.sha256.is_some_and(|announced| announced != sha256) {
            // Going on behind it would come to the same.
            arriving.forget().await?;
            return Err(Failure::invalid(
                "spec.sha256",
                "is not that of the bytes that came; upload them again",
            ));
        }
        let file = arriving.file.take().ok_or(Failure::DeadlineExceeded)?;
        Ok(Received {
            announced,
            sha256,
            sniffed_type: sniff(&hashed.beginning),
            file,
        })
    }

    /// What arrived before it was known for what, does not stay.
    async fn forget_forbidden(&self, spec: &EvidenceSpec) -> Result<(), Failure> {
        let category = names::Collection::CATEGORIES.id(&spec.category);
        let category = category.and_then(|id| self.categories.get(id));
        let is_refused = category.is_some_and(|category| forbid::refusal("", category).is_some());
        if let (true, Ok(request_id)) = (is_refused, Uuid::parse_str(&spec.request_id))
            && let Some(file) = self.store.forget_partial(self.caller, request_id).await?
        {
            self.vault.discard(file).await.map_err(unwritten)?;
        }
        Ok(())
    }

    fn fingerprint(&self, announced: &Announced) -> Bytes32 {
        let mut said = announced.size.to_be_bytes().to_vec();
        said.extend(announced.sha256.unwrap_or_default());
        said.push(announced.sha256.is_some().into());
        said.extend(announced.media_type.as_bytes());
        keyed_hash(&self.key, "announcement-fingerprint-v1", &said)
    }

    /// Begins a file with what arrived before: hashed again, as what is on disk is what counts.
    /// Whether that was there.
    async fn copy(
        &self,
        earlier: Uuid,
        offset: u64,
        arriving: &mut Arriving,
        hashed: &mut Hashed,
    ) -> Result<bool, Failure> {
        let Some(kept) = self.vault.open_kept(earlier).await.map_err(unwritten)? else {
            return Ok(false);
        };
        let mut kept = kept.take(offset);
        let mut copied = 0;
        while copied < offset {
            let mut data = BytesMut::with_capacity(CHUNK);
            if kept.read_buf(&mut data).await.map_err(unwritten)? == 0 {
                return Ok(false);
            }
            copied += data.len() as u64;
            hashed.update(&data);
            arriving.append(data.freeze()).await?;
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Hashed {
    digest: Sha256,
    beginning: Vec<u8>,
}

impl Hashed {
    fn update(&mut self, data: &[u8]) {
        self.digest.update(data);
        let missing = BEGINNING.saturating_sub(self.beginning.len());
        self.beginning.extend_from_slice(&data[..missing.min(data.len())]);
    }
}

/// A file that arrives. Dropped before its end, what arrived is kept if it has a request id.
struct Arriving {
    file: Option<Box<dyn Unfinished>>,
    store: Arc<dyn EvidenceStore>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    caller: String,
    request_id: Option<Uuid>,
    partial: Partial,
    /// Bytes that are noted, of this try or of one before: fewer are not noted.
    noted: u64,
    /// Whether nothing is to be kept of it.
    is_lost: bool,
}

impl Arriving {
    /// Makes it the one of its request id. Returns what has arrived before.
    async fn begin(&mut self) -> Result<Option<Partial>, Failure> {
        let Some(request_id) = self.request_id else {
            return Ok(None);
        };
        let begun = self
            .store
            .begin_partial(&self.caller, request_id, &self.partial)
            .await?;
        match begun {
            Begun::Begun { earlier, stale } => {
                self.noted = earlier.map_or(0, |earlier| earlier.received);
                if let Some(stale) = stale {
                    self.vault.discard(stale).await.map_err(unwritten)?;
                }
                Ok(earlier)
            }
            // It goes on, and is kept no more than one without a request id.
            Begun::Full => {
                self.is_lost = true;
                Ok(None)
            }
        }
    }

    async fn append(&mut self, data: bytes::Bytes) -> Result<(), Failure> {
        let length = data.len() as u64;
        let file = self.file.as_mut().ok_or(Failure::DeadlineExceeded)?;
        file.write(data).await.map_err(unwritten)?;
        self.partial.received += length;
        Ok(())
    }

    async fn write(&mut self, data: bytes::Bytes) -> Result<(), Failure> {
        self.append(data).await?;
        if self.request_id.is_some() && !self.is_lost && self.partial.received.saturating_sub(self.noted) >= NOTE {
            self.note().await?;
        }
        Ok(())
    }

    /// Notes what has arrived, once it is durable.
    async fn note(&mut self) -> Result<(), Failure> {
        let (Some(file), Some(request_id)) = (self.file.as_mut(), self.request_id) else {
            return Ok(());
        };
        file.keep().await.map_err(unwritten)?;
        let kept = self
            .store
            .keep_partial(&self.caller, request_id, &self.partial, self.clock.now())
            .await?;
        match kept {
            Kept::Noted(earlier) => {
                self.noted = self.partial.received;
                if let Some(earlier) = earlier {
                    self.vault.discard(earlier).await.map_err(unwritten)?;
                }
            }
            Kept::TakenOver => {
                self.lose().await?;
                return Err(Failure::EtagMismatch);
            }
        }
        Ok(())
    }

    async fn lose(&mut self) -> Result<(), Failure> {
        self.is_lost = true;
        self.vault.discard(self.partial.file).await.map_err(unwritten)
    }

    /// Forgets what is noted of it, by whichever try: going on there would come to the same.
    async fn forget(&mut self) -> Result<(), Failure> {
        if let (Some(request_id), false) = (self.request_id, self.is_lost) {
            let (store, own) = (Arc::clone(&self.store), self.partial.file);
            let earlier = store.give_up_partial(&self.caller, request_id, own, true).await?;
            if let Some(earlier) = earlier.filter(|earlier| *earlier != own) {
                self.vault.discard(earlier).await.map_err(unwritten)?;
            }
        }
        self.lose().await
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let (Some(request_id), false) = (self.request_id, self.is_lost) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut kept = Self {
            file: Some(file),
            store: Arc::clone(&self.store),
            vault: Arc::clone(&self.vault),
            clock: Arc::clone(&self.clock),
            caller: std::mem::take(&mut self.caller),
            request_id: self.request_id,
            partial: self.partial,
            noted: self.noted,
            // Once: dropped by a runtime that ends, it would be spawned again without end.
            is_lost: true,
        };
        // Whoever was cut off waits for nothing.
        runtime.spawn(async move {
            let ended = match kept.partial.received > kept.noted {
                true => kept.note().await,
                false => kept
                    .store
                    .give_up_partial(&kept.caller, request_id, kept.partial.file, false)
                    .await
                    .map(drop)
                    .map_err(Failure::from),
            };
            if let Err(failure) = ended {
                tracing::debug!(?failure, "of an upload that broke off, the last part is not kept");
            }
            // Once, whatever came of it.
            drop(kept.file.take());
        });
    }
}

/// A file could not be written.
pub(super) fn unwritten(error: std::io::Error) -> Failure {
    Failure::unwritten("writing evidence", error)
}

/// Detects a file's type by its first bytes.
fn sniff(beginning: &[u8]) -> &'static str {
    infer::get(beginning).map_or("application/octet-stream", |kind| kind.mime_type())
}
