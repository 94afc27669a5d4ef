//! Evidence: files that are uploaded first and attached to a report by name when it is submitted.
//!
//! How a file flows: `grpc.rs` takes the stream; `check.rs` reads what it says will come, or all that is wrong with that;
//! `upload.rs` hashes the bytes as they arrive and has a [`Vault`] (`vault.rs`) keep them under a name of ours. When the file is on
//! disk, `../store/evidence.rs` writes its row and its first change in one transaction, and only then the sender is answered. A
//! report that names it takes it over in the transaction that records the report. `download.rs` gives it out, after the
//! change that says to whom and for what is durable, and hashes what it sends. `upkeep.rs` lets go what no report named in time.
//!
//! Invariants: a row's file is on disk, under its id, until the row says that it expired. A file without a row was acknowledged
//! to nobody, and is removed. No file is held in memory whole, opened by anything but a copy, or named by its sender.
//! The hash stands in the row alone: in no entry, no detail, no log line. `check.rs` and this file import neither tonic nor sqlx.
//!
//! The only vault is a [`Folder`]: several replicas of intake need one that all of them see, a volume that is mounted by
//! each. An object store would be another implementation of the trait; there is none yet. Files are as private as the
//! folder is, which only the user that serves can read; they are not encrypted.

mod check;
mod download;
mod grpc;
mod upkeep;
mod upload;
mod vault;

use std::time::Duration;

use api::intake::EvidenceState;
use journal::IntakeKind;
use uuid::Uuid;

pub use check::id;
pub(crate) use grpc::{Service, sender};
pub(crate) use upkeep::Upkeep;
pub use vault::{Folder, FolderError, Unfinished, Vault};

/// For how long a file waits to be named by a report.
pub const UNATTACHED: Duration = Duration::from_secs(24 * 60 * 60);
/// Files that a report names at most, as the contract says.
pub const PER_REPORT: usize = 20;

/// What is taken at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Longest time that an upload or a download stands still.
    pub idle: Duration,
    /// Uploads, and downloads, that one replica has under way at once.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 100 << 20,
            idle: Duration::from_secs(30),
            streams: 64,
        }
    }
}

/// Resource name of a file.
pub fn name(id: Uuid) -> String {
    format!("evidence/{id}")
}

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Recorded, and waiting to be named by a report.
    Uploaded,
    /// Part of a report.
    Attached,
    /// Named by no report in time.
    Expired,
}

/// State, stored name, and the kind of the change that leads there.
const NAMES: [(State, &str, IntakeKind); 3] = [
    (State::Uploaded, "UPLOADED", IntakeKind::EvidenceUploaded),
    (State::Attached, "ATTACHED", IntakeKind::EvidenceAttached),
    (State::Expired, "EXPIRED", IntakeKind::EvidenceExpired),
];

impl State {
    /// The name that is stored and logged.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The kind of the change that leads here.
    pub fn kind(self) -> IntakeKind {
        NAMES[self as usize].2
    }

    /// From the stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, stored, _)| *stored == name)
            .map(|(state, ..)| *state)
    }

    /// As in the contract.
    pub fn to_proto(self) -> EvidenceState {
        match self {
            Self::Uploaded => EvidenceState::Uploaded,
            Self::Attached => EvidenceState::Attached,
            Self::Expired => EvidenceState::Expired,
        }
    }
}

/// Why a report cannot have a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unattachable {
    /// There is none of this name that the sender of the report uploaded.
    Unknown,
    /// No report named it in time.
    Expired,
    /// Another report has it.
    Attached,
}

impl Unattachable {
    /// In words, for who sent the report. Others' files are not told from those that are not there.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "is no evidence that this sender uploaded",
            Self::Expired => "has expired: evidence waits 24 hours for its report; upload it again",
            Self::Attached => "is part of another report; upload it again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (state, name, kind) in NAMES {
            assert_eq!((state.name(), state.kind()), (name, kind));
            assert_eq!(State::from_name(name), Some(state));
        }
    }
}
