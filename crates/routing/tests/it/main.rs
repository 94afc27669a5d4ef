//! Tests of routing: of its rules without server or database, of its store on each engine, of its service in process.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod access;
mod assistance;
mod cases;
mod clocks;
mod directory_service;
mod faults;
mod feed;
mod fixture;
mod operators;
mod rule_sets;
mod service;
mod sight;
mod versions;
