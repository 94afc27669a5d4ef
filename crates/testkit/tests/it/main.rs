//! Tests of the kit itself: it removes what it created and reports what it skipped.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod backends;
mod runner;
