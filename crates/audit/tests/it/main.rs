//! The log from outside: the store's contract on each engine, refused starts, faults that verifiers
//! find, and the service.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod batches;
mod export;
mod faults;
mod files;
mod fixture;
mod forged;
mod gaps;
mod grpc;
mod http;
mod observer;
mod proofs;
mod reading;
mod recover;
mod restart;
mod store;
mod tamper;
mod vectors;
mod verify;
mod witness;
