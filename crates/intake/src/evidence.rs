//! Evidence: files that are uploaded first and attached to a report by name when it is submitted.
//!
//! How a file flows: `grpc.rs`, for `service.rs`, receives the stream; `check.rs` validates its
//! announcement; `upload.rs` hashes the bytes as they arrive and writes them to a [`Vault`]
//! (`vault.rs`) under a name of ours, if `room.rs` finds room for it. When the file is on disk,
//! `../store/evidence.rs` writes its row and its first change in one transaction, and only then is
//! the sender answered. A report that refers to it attaches it in the transaction that records the
//! report. `download.rs` sends it, after the change with recipient and purpose is durable, and
//! hashes what it sends. `upkeep.rs` expires files that no report referred to in time. A file that
//! is named for a category that takes none is deleted at once, and its hash stays (`forbid.rs`).
//! `verify.rs` compares every stored file with its row.
//!
//! Of an upload with a request id that breaks off, what arrived stays for a day where files arrive
//! (`../store/evidence/partial.rs`), and another one begins with a copy of it: two never write one
//! file, and only the last that began notes what has arrived.
//!
//! Invariants: a row's file is on disk under its id until the row says that it expired. A file
//! without a row was never acknowledged and is removed. No file is held in memory as a whole,
//! opened except for copying, or named by its sender. The hash is in the row only: in no entry,
//! detail or log line. `check.rs` and this file import neither tonic nor sqlx.
//!
//! The only vault is a [`Folder`]. Several replicas of intake need a shared one, a volume mounted
//! by each. An object store would be another implementation of the trait; there is none yet. Files
//! are as private as the folder, which only the service's user can read; they are not encrypted.

mod check;
mod download;
pub(crate) mod forbid;
mod grpc;
mod room;
mod service;
mod slots;
mod upkeep;
mod upload;
mod vault;
mod verify;

use std::time::Duration;

use api::intake::EvidenceState;
use journal::IntakeKind;
use uuid::Uuid;

pub(crate) use forbid::Forbid;
pub(crate) use room::Room;
pub(crate) use service::Service;
pub(crate) use upkeep::Upkeep;
pub use vault::{Folder, FolderError, Unfinished, Vault};
pub use verify::{Verified, verify};

/// How long a file is kept without a report.
pub const UNATTACHED: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of files per report, as in the contract.
pub const PER_REPORT: usize = 20;

/// Limits on evidence.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes per file.
    pub file_bytes: u64,
    /// Maximum time without progress in an upload or a download.
    pub idle: Duration,
    /// Maximum number of concurrent uploads per replica, and of downloads.
    pub streams: usize,
    /// The same, of one caller.
    pub streams_per_caller: usize,
    /// Bytes of one caller's files that no report names yet.
    pub unattached_bytes_per_caller: u64,
    /// Bytes of the storage that stay free.
    pub reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 100 << 20,
            idle: Duration::from_secs(30),
            streams: 64,
            streams_per_caller: 16,
            unattached_bytes_per_caller: 10 << 30,
            reserve_bytes: 1 << 30,
        }
    }
}

/// Resource name of a file.
pub fn name(id: Uuid) -> String {
    names::EVIDENCE.of(id)
}

/// State of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Recorded, without a report.
    Uploaded,
    /// Part of a report.
    Attached,
    /// Not attached to a report in time.
    Expired,
    /// Named by a report whose category takes no files.
    Refused,
}

/// State, stored name, and the kind of the change that leads to it.
const NAMES: [(State, &str, IntakeKind); 4] = [
    (State::Uploaded, "UPLOADED", IntakeKind::EvidenceUploaded),
    (State::Attached, "ATTACHED", IntakeKind::EvidenceAttached),
    (State::Expired, "EXPIRED", IntakeKind::EvidenceExpired),
    (State::Refused, "REFUSED", IntakeKind::EvidenceRefused),
];

impl State {
    /// The stored and logged name.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The kind of the change that leads to the state.
    pub fn kind(self) -> IntakeKind {
        NAMES[self as usize].2
    }

    /// Whether its file is gone, or about to go.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Expired | Self::Refused)
    }

    /// Parses a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, stored, _)| *stored == name)
            .map(|(state, ..)| *state)
    }

    /// Converts to the contract's enum.
    pub fn to_proto(self) -> EvidenceState {
        match self {
            Self::Uploaded => EvidenceState::Uploaded,
            Self::Attached => EvidenceState::Attached,
            Self::Expired => EvidenceState::Expired,
            Self::Refused => EvidenceState::Refused,
        }
    }
}

/// What is said of bytes that were refused.
pub(crate) const REFUSED: &str =
    "was named for a category that takes no files, and is deleted: send its SHA-256 and where it is, and no copy";

/// Why a file cannot be attached to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unattachable {
    /// The report's sender uploaded no file with this name.
    Unknown,
    /// No report referred to it in time.
    Expired,
    /// It belongs to another report.
    Attached,
    /// Its bytes were named for a category that takes no files.
    Refused,
}

impl Unattachable {
    /// The reason, for the report's sender. Others' files cannot be told from missing ones.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "is not evidence uploaded by this sender",
            Self::Expired => "has expired: evidence is kept for 24 hours without a report; upload it again",
            Self::Attached => "is part of another report; upload it again",
            Self::Refused => REFUSED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (state, name, kind) in NAMES {
            assert_eq!((state.name(), state.kind()), (name, kind));
            assert_eq!(State::from_name(name), Some(state));
        }
    }
}
