//! Tests of the configuration, the data directory, and services in this process.

#![allow(clippy::unwrap_used, reason = "tests, and the helpers of tests")]

mod access;
mod config;
mod data_dir;
mod instance;
mod limits;
mod metrics;
mod monitoring;
mod preview;
mod threats;
