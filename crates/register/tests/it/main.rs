//! Tests of the operator register: the store on each engine, and the answers.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod fixture;
mod store;
