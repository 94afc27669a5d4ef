//! Hosting of services in this process: configuration, data directory, start and stop.
//!
//! * `config.rs`: the configuration: defaults, file, environment, flags.
//! * `input.rs`: input files, read with a size limit.
//! * `check.rs`: what a start needs, checked before anything is opened.
//! * `secrets.rs`: files that only this user may read.
//! * `reference.rs`: directory, taxonomy, rules, calendar: built in, or from files.
//! * `data_dir.rs`: the data directory of an instance: lock, keys, tokens, addresses.
//! * `backup.rs`: copies of all that an instance keeps, made while it serves.
//! * `databases.rs`: the services' databases, opened without a service.
//! * `token_file.rs`: the file of the callers' tokens, changed by one at a time.
//! * `tokens.rs`: the callers' tokens, reloaded when the token file changes.
//! * `certificates.rs`: the files of TLS, read again when they change.
//! * `callers.rs`, `issuers.rs`: callers by certificate, and by tokens that issuers sign.
//! * `running.rs`: one service, as in a cluster: its database, its listener, its channels to the
//!   others.
//! * `admin.rs`: the process's listener for metrics and health.
//! * `instance.rs`: all three over one data directory, each started as it would be alone.
//!
//! Invalid input is reported as [`Unusable`] before any port is opened.
//!
//! Invariants: the printed configuration contains no secret. A key is created once, and never again
//! when records depend on another. A server's caller binds its listener, so that port 0 works.
//! Nothing here knows a command line or prints.

mod admin;
pub mod backup;
mod callers;
mod certificates;
mod check;
pub mod config;
pub mod data_dir;
pub mod databases;
pub mod input;
pub mod instance;
mod issuers;
pub mod reference;
pub mod running;
pub mod secrets;
pub mod token_file;
pub mod tokens;

pub use check::check;

/// Invalid configuration or input: the user's mistake, not a failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);
