//! Tests of the decision: of its rules, its files and its answers, and of what it is not built on.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod calendar;
mod directory;
mod example;
mod facts;
mod purity;
mod random;
mod rules;
mod stories;
mod worlds;
