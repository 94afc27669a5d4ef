//! The kit under test: that it takes away what it made, and says what it could not do.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod backends;
mod runner;
