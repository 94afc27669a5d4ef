//! The binary from outside.

#![allow(clippy::unwrap_used, reason = "tests, and the helpers of tests")]

mod cli;
mod contexts;
mod databases;
mod directory;
mod flags;
mod flood;
mod import;
mod people;
mod process;
mod route;
mod rule_sets;
mod tls;
