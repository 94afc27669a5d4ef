//! The one binary, as a library so that tests and benches can start it in their own process.
//!
//! * `config.rs`: what an operator sets: defaults, file, environment, flags.
//! * `reference.rs`: directory, taxonomy, rules, calendar: built in, or from files.
//! * `data_dir.rs`: the folder of an instance: lock, keys, tokens, addresses.
//! * `instance.rs`, `running.rs`: services in this process: [`instance::Instance`] is all three, [`running::Running`] is one.
//! * `client.rs`: the caller's side: where the servers are, who calls, what a failure means.
//! * `tokens.rs`: who may call, as the file of tokens says now.
//! * `input.rs`, `output.rs`: what is read and what is printed.
//! * `examples.rs`: the stories that `remit demo` sends.
//! * `commands.rs` and below: one file per group of commands. `main.rs` only parses and dispatches.
//!
//! Invariants: a secret is never on a command line that we print, nor in the configuration as printed. A key is made once, and
//! never again over records that were made with another. What a receipt or the log says is verified here, with a key that
//! did not come from the server that is asked.

pub mod client;
pub mod commands;
pub mod config;
pub mod data_dir;
pub mod examples;
pub mod input;
pub mod instance;
pub mod output;
pub mod reference;
pub mod running;
pub mod tokens;
