//! Evidence's use cases: upload, metadata, download. No transport.

use std::sync::Arc;

use api::{
    intake::{DownloadEvidenceRequest, DownloadHeader, Evidence, GetUploadRequest, GetUploadResponse, LogReference},
    routing::routing_inbound_service_client::RoutingInboundServiceClient,
};
use journal::{Bytes32, Clock, Entropy, Writer, keyed_hash, ordered_id};
use rpc::{Failure, Identity, Violations, client::Caller};
use uuid::Uuid;

use super::{
    Limits, Room, State, Vault, check, download,
    download::Outgoing,
    name,
    slots::Slots,
    upload::{self, Messages, Received, Receiving},
};
use crate::{
    category::Categories,
    metrics,
    service::sender,
    sight::may_see,
    store::{
        self,
        evidence::{Download, EvidenceStore, StoredEvidence, Upload, Uploaded},
    },
};

/// Evidence's use cases.
pub(crate) struct Service {
    store: Arc<dyn EvidenceStore>,
    categories: Arc<Categories>,
    vault: Arc<dyn Vault>,
    room: Room,
    pub(crate) limits: Limits,
    fingerprint_key: Bytes32,
    writer: Writer,
    routing: RoutingInboundServiceClient<Caller>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    uploads: Slots,
    downloads: Slots,
}

impl Service {
    #[expect(clippy::too_many_arguments, reason = "each is a dependency")]
    pub(crate) fn new(
        store: Arc<dyn EvidenceStore>,
        categories: Arc<Categories>,
        vault: Arc<dyn Vault>,
        room: Room,
        limits: Limits,
        fingerprint_key: Bytes32,
        writer: Writer,
        routing: RoutingInboundServiceClient<Caller>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            store,
            categories,
            vault,
            room,
            limits,
            fingerprint_key,
            writer,
            routing,
            clock,
            entropy,
            uploads: Slots::new(limits),
            downloads: Slots::new(limits),
        }
    }

    /// Takes a file in, and answers when file and row are durable.
    pub(crate) async fn upload(&self, caller: &Identity, messages: impl Messages) -> Result<StoredEvidence, Failure> {
        let _slot = self.uploads.take(&caller.system)?;
        let unattached = self.store.unattached_bytes(&caller.system).await?;
        let id = ordered_id(self.clock.now(), &*self.entropy);
        let receiving = Receiving {
            store: &self.store,
            vault: &self.vault,
            categories: &self.categories,
            room: &self.room,
            limits: self.limits,
            key: self.fingerprint_key,
            caller: &caller.system,
            clock: &self.clock,
        };
        let Received {
            announced,
            sha256,
            sniffed_type,
            file,
        } = receiving.receive(messages, id, unattached).await?;
        let mut asked = [announced.size.to_be_bytes().as_slice(), &sha256].concat();
        asked.extend_from_slice(announced.media_type.as_bytes());
        let fingerprint = keyed_hash(&self.fingerprint_key, "upload-fingerprint-v1", &asked);
        let upload = Upload {
            id,
            sender: sender(caller),
            request: announced.request_id.map(|id| (id, fingerprint)),
            size: announced.size,
            sha256,
            declared_type: announced.media_type,
            sniffed_type,
            actor: caller.actor(id.as_bytes()),
            commitment_key: self.key(),
            traceparent: telemetry::traceparent(),
        };
        let (vault, now) = (Arc::clone(&self.vault), self.clock.now());
        // The file, then its row, and nothing in between that a caller who goes away could stop.
        let recording = |store: Arc<dyn EvidenceStore>| async move {
            file.finish().await.map_err(upload::unwritten)?;
            let uploaded = store.record_upload(&upload, now).await?;
            // What broke off before is no longer needed; upkeep forgets it if that fails.
            if let Some((request_id, _)) = upload.request {
                match store.forget_partial(&upload.sender.system, request_id).await {
                    // Its own, if it was noted, has moved.
                    Ok(Some(file)) if file != id => {
                        let _ = vault.discard(file).await;
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "an upload that broke off cannot be forgotten now"),
                }
            }
            // If that fails, it is unknown whether the row exists, so the file stays: upkeep
            // decides.
            let is_new = matches!(&uploaded, Uploaded::Evidence(stored) if stored.id == id);
            if !is_new && let Err(error) = vault.remove(id).await {
                tracing::warn!(%error, "a file that was uploaded again cannot be removed now");
            }
            Ok::<_, Failure>(uploaded)
        };
        match self.writer.write(&self.store, recording).await? {
            Uploaded::Evidence(stored) => {
                if stored.id == id {
                    metrics::stored(stored.size);
                }
                Ok(stored)
            }
            Uploaded::RequestIdReused => Err(Failure::RequestIdReused),
            Uploaded::Refused => Err(Failure::invalid("spec.sha256", super::REFUSED)),
        }
    }

    /// How much has arrived of an upload of the caller's that broke off.
    pub(crate) async fn get_upload(
        &self,
        caller: &Identity,
        request: &GetUploadRequest,
    ) -> Result<GetUploadResponse, Failure> {
        let mut violations = Violations::new();
        let id = violations.request_id("request_id", &request.request_id);
        if request.request_id.is_empty() {
            violations.add("request_id", "is required");
        }
        let id = violations.finish(|| id)?;
        let partial = self.store.partial(&caller.system, id, self.clock.now()).await?;
        let partial = partial.ok_or(Failure::NotFound { what: "upload" })?;
        Ok(GetUploadResponse {
            received_size_bytes: partial.received.cast_signed(),
            expire_time: Some(partial.expire_time().to_proto()),
        })
    }

    /// A file, for those who may know of it.
    pub(crate) async fn get(&self, caller: &Identity, id: Uuid) -> Result<StoredEvidence, Failure> {
        let stored = self.store.evidence(id).await?;
        let is_own = |stored: &StoredEvidence| sender(caller).owns(&stored.sender);
        self.shown(caller, id, stored, is_own).await
    }

    /// Opens a file for who may have it, once it is durable to whom it is given and for what.
    pub(super) async fn download(
        &self,
        caller: &Identity,
        request: &DownloadEvidenceRequest,
    ) -> Result<Outgoing, Failure> {
        let valid = check::download(request)?;
        let slot = self.downloads.take(&caller.system)?;
        let stored = self.store.evidence(valid.id).await?;
        let is_own = |stored: &StoredEvidence| stored.sender == sender(caller);
        let own = stored.as_ref().is_some_and(is_own);
        let stored = self.shown(caller, valid.id, stored, is_own).await?;
        let record = name(valid.id);
        let expired = || Failure::WrongState {
            record: record.clone(),
            state: "EXPIRED",
            description: "it has expired: no report named it in time, and its file is gone".to_owned(),
        };
        if stored.state == State::Refused {
            return Err(Failure::WrongState {
                record,
                state: "REFUSED",
                description: format!("it {}", super::REFUSED),
            });
        }
        if stored.state == State::Expired {
            return Err(expired());
        }
        // Opened first: that it is given out is not logged when there is nothing to give.
        let file = match self.vault.open(valid.id).await {
            Ok(Some(file)) => file,
            Ok(None) => return Err(download::damaged(&stored, "it is not there")),
            Err(error) => return Err(download::damaged(&stored, &format!("it cannot be opened: {error}"))),
        };
        let download = Download {
            id: valid.id,
            purpose: valid.purpose,
            justification: valid.justification,
            by: sender(caller),
            actor: caller.actor(valid.id.as_bytes()),
            commitment_key: self.key(),
            traceparent: telemetry::traceparent(),
        };
        let now = self.clock.now();
        // Recorded before it is sent; a caller who goes away meanwhile has been given it as far as
        // the log knows.
        let recorded = self
            .writer
            .write(&self.store, |store| async move {
                store.record_download(&download, now).await
            })
            .await?;
        let (stored, change) = recorded.ok_or_else(expired)?;
        let header = DownloadHeader {
            evidence: Some(message(&stored)),
            change: Some(LogReference {
                // The chain of a file tells how often it was given out, and the entry before: not
                // for its sender to know.
                chain: (!own).then(|| change.chain()),
                entry: change.entry,
                event_id: change.event_id.to_string(),
                kind: change.kind.to_owned(),
                change_time: Some(change.head.time.to_proto()),
                logged: false,
            }),
        };
        Ok(Outgoing {
            stored,
            header,
            file,
            slot,
        })
    }

    /// The file, when it is the caller's own or its report's case is the caller's agency's.
    async fn shown(
        &self,
        caller: &Identity,
        id: Uuid,
        stored: Option<StoredEvidence>,
        is_own: impl Fn(&StoredEvidence) -> bool,
    ) -> Result<StoredEvidence, Failure> {
        let own = stored.as_ref().is_some_and(is_own);
        let report = stored.as_ref().and_then(|stored| stored.report);
        // Asked also when there is no file, or no report: neither the answer nor its time tells
        // that.
        let sees = own || may_see(&self.routing, caller, &store::name(report.unwrap_or(id))).await?;
        stored
            .filter(|stored| own || (sees && stored.report.is_some()))
            .ok_or(Failure::NotFound { what: "evidence" })
    }

    fn key(&self) -> Bytes32 {
        let mut key = [0; 32];
        self.entropy.fill(&mut key);
        key
    }
}

/// A file as callers are told of it.
pub(super) fn message(stored: &StoredEvidence) -> Evidence {
    Evidence {
        name: name(stored.id),
        state: stored.state.to_proto().into(),
        size_bytes: stored.size.cast_signed(),
        sha256: stored.sha256.to_vec().into(),
        media_type: stored.declared_type.clone(),
        sniffed_media_type: stored.sniffed_type.clone(),
        upload_time: Some(stored.upload_time.to_proto()),
        expire_time: matches!(stored.state, State::Uploaded | State::Expired).then(|| stored.expire_time().to_proto()),
        report: stored.report.map(store::name).unwrap_or_default(),
    }
}
