//! A witness: sees every checkpoint of a log before the public does, and lends its name only to a log that grows and never
//! changes what it showed before.
//!
//! Why: a log's own signature does not keep its operator from showing one tree to one and another to others. Who believes a
//! checkpoint only with the names of enough witnesses believes what they all saw.
//!
//! What is spoken is C2SP, so that other logs can use this witness and Remit's log others' witnesses:
//!
//! * `cosignature.rs`: `cosignature/v1`, a timestamped Ed25519 signature on a checkpoint (tlog-cosignature).
//! * `submission.rs`: the body of `add-checkpoint`, as the log writes it and the witness reads it (tlog-witness).
//! * `policy.rs`: which witnesses there are, and how many of them are enough (tlog-policy).
//! * `judge.rs`: what a witness does with a submission: the rules, without I/O.
//! * `book.rs`: what was seen last of each log, on disk before anything is answered; and `file.rs`, how.
//! * `server.rs`: the HTTP interface.
//!
//! Invariants: nothing is cosigned that is not consistent with what was cosigned before; what was cosigned is on disk before
//! it is answered; checking and keeping are one step for each log. A witness whose records are gone does not start over
//! under its old name. `judge.rs`, `submission.rs`, `policy.rs` and `cosignature.rs` do no I/O; only `server.rs` knows of HTTP.

mod book;
mod cosignature;
pub mod file;
mod judge;
mod policy;
mod server;
mod submission;

pub use book::{Book, OpenError};
pub use cosignature::{Cosignature, Cosigner, CosignerKey, KeyError};
pub use judge::{Head, KnownLog, Refusal};
pub use policy::{Policy, PolicyError, Witness};
pub use server::Server;
pub use submission::{Malformed, SIZE_TYPE, Submission};
