//! End-to-end tests: real processes, real sockets, real files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod clients;
mod crash;
mod evidence;
mod integrate;
mod log_commands;
mod metrics;
mod oidc;
mod operations;
mod papers;
mod privacy;
mod stories;
mod trace;
mod whole;
