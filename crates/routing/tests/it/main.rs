//! Tests of routing: the store on each engine, and the service in process.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod access;
mod agency_supervisions;
mod assistance;
mod batches;
mod below;
mod cases;
mod clocks;
mod deputies;
mod directory_service;
mod faults;
mod feed;
mod fixture;
mod hand_on;
mod joining;
mod lists;
mod notices;
mod observer;
mod officers;
mod operators;
mod outcomes;
mod referrals;
mod refiling;
mod reporters;
mod rule_sets;
mod service;
mod sight;
mod supervision;
mod two_people;
mod versions;
