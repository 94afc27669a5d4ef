//! Tests of the operator register: of its store on each engine, and of what it answers.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod fixture;
mod store;
