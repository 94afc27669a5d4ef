//! The command line of the one binary, as a library so that tests can use parts of it.
//!
//! What it starts is in `host`: `remit serve` and `remit demo` hand a configuration over. What it asks is asked over gRPC, or of
//! files by the crate that the servers use: `decision` for routes and directories, `audit` for logs.
//!
//! * `client.rs`: the caller's side: where the servers are, who calls, what a failure means.
//! * `output.rs`: what is printed.
//! * `examples.rs`: the stories that `remit demo` sends.
//! * `commands.rs` and below: one file per group of commands. `main.rs` only parses and dispatches.
//!
//! Invariants: a secret is never on a command line that we print. What a receipt or the log says is verified here, with a key that
//! did not come from the server that is asked.

pub mod client;
pub mod commands;
pub mod examples;
pub mod output;
