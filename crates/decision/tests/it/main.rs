//! Tests of the decision: its rules, files, answers and dependencies.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod calendar;
mod directory;
mod example;
mod facts;
mod purity;
mod random;
mod rules;
mod stories;
mod succession;
mod worlds;
