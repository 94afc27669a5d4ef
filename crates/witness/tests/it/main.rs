//! The witness as logs use it: over HTTP, and across restarts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod fixture;
mod http;
mod restart;
