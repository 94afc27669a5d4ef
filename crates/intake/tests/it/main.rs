//! Intake from outside: the store's contract on each backend, the relay, and the service over gRPC.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod access;
mod bad_input;
mod bulk;
mod categories;
mod directory;
mod evidence;
mod evidence_store;
mod external_id;
mod fixture;
mod list;
mod marks;
mod progress;
mod relay;
mod service;
mod shared;
mod store;
mod supplement;
mod watch;
