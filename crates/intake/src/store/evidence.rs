//! What a store of evidence keeps and does: what was uploaded, where each file stands, who was
//! given it.

mod partial;
mod rows;

pub use partial::{Begun, Kept, Partial, UPLOADS_PER_CALLER};
pub(super) use rows::{judge_locked, lock};

use std::collections::BTreeSet;

use api::event::Actor;
use async_trait::async_trait;
use journal::{Bytes32, Change, Time};
use sql::Error;
use uuid::Uuid;

use super::{Accepted, Prepared, Sender};
use crate::evidence::{State, UNATTACHED, Unattachable};

/// A file that is on disk, on its way into the store.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: Uuid,
    /// Who uploads it.
    pub sender: Sender,
    /// The sender's id for the request, and the keyed hash of length, SHA-256 and declared type
    /// that tells a repeat from other content.
    pub request: Option<(Uuid, Bytes32)>,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Bytes32,
    /// What it is, as the sender said.
    pub declared_type: String,
    /// What it looks like.
    pub sniffed_type: &'static str,
    /// Who uploads it, as it is logged.
    pub actor: Actor,
    /// Key of the commitment to the hash.
    pub commitment_key: Bytes32,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// Recorded now, or by an earlier request with this id and these bytes.
    Evidence(StoredEvidence),
    /// The request id stands for other bytes. Nothing was recorded.
    RequestIdReused,
    /// The sender's file with these bytes was refused. Nothing was recorded.
    Refused,
}

/// A file as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvidence {
    /// Its id.
    pub id: Uuid,
    /// Who uploaded it.
    pub sender: Sender,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Bytes32,
    /// What it is, as the sender said.
    pub declared_type: String,
    /// What it looks like.
    pub sniffed_type: String,
    /// When it was recorded.
    pub upload_time: Time,
    /// Where it stands.
    pub state: State,
    /// Id of the report that it is attached to.
    pub report: Option<Uuid>,
}

impl StoredEvidence {
    /// When it can no longer be attached.
    pub fn expire_time(&self) -> Time {
        self.upload_time
            .plus_seconds(i64::try_from(UNATTACHED.as_secs()).unwrap_or(i64::MAX))
    }

    /// Whether a report of this sender can have it.
    fn attachable(&self, sender: &Sender, now: Time) -> Result<(), Unattachable> {
        match self.state {
            _ if !sender.owns(&self.sender) => Err(Unattachable::Unknown),
            State::Attached => Err(Unattachable::Attached),
            State::Refused => Err(Unattachable::Refused),
            State::Uploaded if now < self.expire_time() => Ok(()),
            // Whether or not upkeep has expired it yet.
            State::Uploaded | State::Expired => Err(Unattachable::Expired),
        }
    }
}

/// The evidence that a report names.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Ids of the files, in the order of the report, each with who sends it, as its record logs
    /// that.
    pub files: Vec<(Uuid, Actor)>,
    /// Who sends the report.
    pub sender: Sender,
    /// The event by which the report is accepted.
    pub accepted_by: Uuid,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// Files that a report cannot have, by their place in it, and why.
pub type Unattachables = Vec<(usize, Unattachable)>;

/// A request for a file, that was found to be allowed.
#[derive(Clone, Debug)]
pub struct Download {
    /// Id of the file.
    pub id: Uuid,
    /// What it is needed for, from the closed list, such as `handle-report`.
    pub purpose: &'static str,
    /// Why, in words.
    pub justification: String,
    /// Who asks.
    pub by: Sender,
    /// Who asks, as it is logged.
    pub actor: Actor,
    /// Key of the commitment to the justification.
    pub commitment_key: Bytes32,
    /// Trace context to go on with.
    pub traceparent: String,
}

/// Figures about evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files not attached to a report.
    pub unattached: u64,
    /// Expired files that still exist.
    pub overdue: u64,
    /// When the first of them expired.
    pub overdue_since: Option<Time>,
}

/// The stored side of evidence. Each method is one atomic use case; what changes a file's state is
/// durable when it returns.
#[async_trait]
pub trait EvidenceStore: Send + Sync + 'static {
    /// Records a file that is on disk, with its first change.
    ///
    /// One whose sender and request id are there already is not recorded: the answer is the earlier
    /// one when the keyed hashes agree, else [`Uploaded::RequestIdReused`]. An earlier one that has
    /// expired is no answer: the file is recorded in its place. Bytes of which the sender's file
    /// was refused are not recorded again.
    async fn record_upload(&self, upload: &Upload, now: Time) -> Result<Uploaded, Error>;

    /// What has arrived of an upload that broke off; `None` if nothing has, or it began too long
    /// ago.
    async fn partial(&self, caller: &str, request_id: Uuid, now: Time) -> Result<Option<Partial>, Error>;

    /// Makes an upload the one of its id: no other notes anything of that from now on. What has
    /// arrived of the same announcement stays noted; what is noted of another does not.
    async fn begin_partial(&self, caller: &str, request_id: Uuid, partial: &Partial) -> Result<Begun, Error>;

    /// Notes how much of an upload is durable, if it is the one of its id.
    async fn keep_partial(&self, caller: &str, request_id: Uuid, partial: &Partial, now: Time) -> Result<Kept, Error>;

    /// Ends an upload, if it is the one of its id: what is noted is forgotten if it is useless, or
    /// nothing has arrived. Returns the file of what was forgotten.
    async fn give_up_partial(
        &self,
        caller: &str,
        request_id: Uuid,
        writer: Uuid,
        is_useless: bool,
    ) -> Result<Option<Uuid>, Error>;

    /// Forgets what was noted of an upload, and returns the file of it.
    async fn forget_partial(&self, caller: &str, request_id: Uuid) -> Result<Option<Uuid>, Error>;

    /// Forgets what was noted of uploads that began before a moment and were not heard of since
    /// another; a hundred at most. Returns their files.
    async fn forget_partials(&self, before: Time, silent_since: Time) -> Result<Vec<Uuid>, Error>;

    /// The files of all that is noted of uploads.
    async fn partials(&self) -> Result<BTreeSet<Uuid>, Error>;

    /// A file, or `None`.
    async fn evidence(&self, id: Uuid) -> Result<Option<StoredEvidence>, Error>;

    /// Which of these files a report of this sender could not have now, by their place, and why.
    async fn unattachable(&self, files: &[Uuid], sender: &Sender, now: Time) -> Result<Unattachables, Error>;

    /// Records a report as [`Store::accept`](super::Store::accept) does, and makes files part of
    /// it, each with a change of its own; or, when one of them cannot be, records nothing. A repeat
    /// of an earlier request gets the earlier report, which has the files.
    async fn accept_with(
        &self,
        report: &Prepared,
        attachment: &Attachment,
        now: Time,
    ) -> Result<Result<Accepted, Unattachables>, Error>;

    /// Records that a file is given out, and returns it; `None` when there is none, or its file is
    /// gone.
    async fn record_download(&self, download: &Download, now: Time) -> Result<Option<(StoredEvidence, Change)>, Error>;

    /// Lets files expire that were uploaded at this time or before and that no report has named; a
    /// hundred at most. Returns how many.
    async fn expire(&self, before: Time, now: Time) -> Result<usize, Error>;

    /// Refuses those of these files that the sender owns and no report has, and every other one of
    /// the sender with the same bytes that no report has. Returns the files to remove.
    async fn refuse(&self, files: &[(Uuid, Actor)], sender: &Sender, now: Time) -> Result<Vec<Uuid>, Error>;

    /// Files that have expired or were refused and may still be there, a hundred at most.
    async fn unremoved(&self) -> Result<Vec<Uuid>, Error>;

    /// Notes that expired files are gone.
    async fn removed(&self, files: &[Uuid]) -> Result<(), Error>;

    /// Files that should be there, in the order of their ids, after one, at most `limit`.
    async fn files_after(&self, after: Uuid, limit: u32) -> Result<Vec<StoredEvidence>, Error>;

    /// Those of these ids that are of files which should be there.
    async fn kept(&self, files: &[Uuid]) -> Result<BTreeSet<Uuid>, Error>;

    /// Bytes of the files that a system has uploaded and that no report names.
    async fn unattached_bytes(&self, system: &str) -> Result<u64, Error>;

    /// Figures about evidence.
    async fn tally(&self, now: Time) -> Result<Tally, Error>;
}

/// The upload time before which unattached files are due to expire.
pub(crate) fn uploaded_before(now: Time) -> Time {
    now.plus_seconds(-i64::try_from(UNATTACHED.as_secs()).unwrap_or(i64::MAX))
}
