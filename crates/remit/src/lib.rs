//! The command line of `remit`, as a library so that tests can use parts of it.
//!
//! Services are started by `host`: `remit serve` and `remit demo` pass it a configuration. Queries
//! go over gRPC, or to files through the crates that the servers use: `decision` for routes and
//! directories, `audit` for logs.
//!
//! * `cli.rs`: the whole command line, and exit codes.
//! * `precedence.rs`: which of several ways to say one thing counts: flags, variables, contexts.
//! * `usage.rs`: how a command line that cannot be read is told.
//! * `client.rs`: the client side: server addresses, the caller's identity, the meaning of
//!   failures.
//! * `context.rs`: the clusters that somebody works with, by name.
//! * `output.rs` and below: output; how a case and an explanation are told.
//! * `examples.rs`: the stories that `remit demo` submits.
//! * `commands.rs` and below: one file per group of commands.
//!
//! Invariants: no command line that we print contains a secret. Receipts and the log are verified
//! here, with a key that did not come from the queried server.

pub mod cli;
pub mod client;
pub mod commands;
pub mod context;
pub mod examples;
pub mod output;
pub mod precedence;
pub mod usage;
