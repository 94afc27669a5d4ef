//! Tests of the server over real connections.

#![allow(clippy::unwrap_used, reason = "tests, and the helpers of tests")]

mod attacks;
mod fixture;
mod raw;
mod tls;
