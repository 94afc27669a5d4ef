//! Support for the end-to-end tests and the benchmarks: real `remit` processes and their clients.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "test equipment: one that cannot go on should stop"
)]

pub mod process;
