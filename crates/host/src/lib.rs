//! Services in this process: what an operator sets, where an instance keeps its things, and their start and stop.
//!
//! * `config.rs`: what an operator sets: defaults, file, environment, flags.
//! * `input.rs`: files that somebody names, read no further than such a file is long.
//! * `reference.rs`: directory, taxonomy, rules, calendar: built in, or from files.
//! * `data_dir.rs`: the folder of an instance: lock, keys, tokens, addresses.
//! * `tokens.rs`: who may call, as the file of tokens says now.
//! * `running.rs`: one service, as in a cluster: its database, its listener, the way to the others.
//! * `instance.rs`: all three over one data directory, each started as it would be alone.
//!
//! What is set wrongly is told as [`Unusable`], before anything is listened on.
//!
//! Invariants: a secret is not in the configuration as printed. A key is made once, and never again over records that were made
//! with another. Listeners are bound by the caller of a server, never by it, so that port 0 can be asked for. Nothing here knows
//! a command line, nor prints.

pub mod config;
pub mod data_dir;
pub mod input;
pub mod instance;
pub mod reference;
pub mod running;
pub mod tokens;

/// What somebody set, named or handed in cannot be used: a mistake of theirs, and not a failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);
