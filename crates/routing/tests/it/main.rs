//! Tests of routing: of its rules without server or database, of its store on each engine, of its service in process.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bench;
mod calendar;
mod cases;
mod clocks;
mod directory;
mod directory_service;
mod facts;
mod feed;
mod operators;
mod random;
mod register;
mod rule_sets;
mod rules;
mod service;
mod sight;
mod stories;
mod versions;
mod worlds;
