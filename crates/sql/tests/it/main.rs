//! Connections, transactions and rows, on both engines.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod connections;
mod copies;
mod errors;
mod measured;
mod rows;
mod sessions;
