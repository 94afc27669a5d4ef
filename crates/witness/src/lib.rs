//! A witness: sees every checkpoint of a log before the public does, and cosigns it only if the log
//! grew without changing what it showed before.
//!
//! Why: a log's own signature does not stop its operator from showing different trees to different
//! people. Whoever requires the cosignatures of enough witnesses on a checkpoint gets the tree that
//! all of them saw.
//!
//! The protocols are C2SP's, so that other logs can use this witness, and Remit's log can use
//! others' witnesses:
//!
//! * `cosignature.rs`: `cosignature/v1`, a timestamped Ed25519 signature on a checkpoint
//!   (tlog-cosignature).
//! * `submission.rs`: the body of `add-checkpoint`, encoded by the log and decoded by the witness
//!   (tlog-witness).
//! * `policy.rs`: the witnesses, and how many of them suffice (tlog-policy).
//! * `judge.rs`: the rules for a submission, without I/O.
//! * `book.rs`: the last checkpoint of each log, durable before any response; `file.rs`: atomic
//!   file replacement.
//! * `foreign.rs`: files that somebody else may have made, read with care.
//! * `server.rs`: the HTTP interface.
//!
//! Invariants: only checkpoints consistent with the last cosigned one are cosigned; a cosigned
//! checkpoint is durable before the response; checking and storing are one atomic step per log. A
//! witness that lost its records does not start again under its old name. `judge.rs`,
//! `submission.rs`, `policy.rs` and `cosignature.rs` do no I/O; only `server.rs` knows HTTP.

mod book;
mod cosignature;
pub mod file;
pub mod foreign;
mod judge;
mod policy;
mod server;
mod submission;

pub use book::{Book, OpenError};
pub use cosignature::{Cosignature, Cosigner, CosignerKey, KeyError};
pub use judge::{Head, KnownLog, SubmissionError};
pub use policy::{Policy, PolicyError, Witness};
pub use server::Server;
pub use submission::{BodyError, SIZE_TYPE, Submission};
