//! The binary from outside, and the instance from inside.

#![allow(clippy::unwrap_used, reason = "tests, and the helpers of tests")]

mod cli;
mod config;
mod data_dir;
mod directory;
mod instance;
mod process;
mod route;
mod rule_sets;

use std::time::{Duration, Instant};

/// Asks again until the answer is there; the work behind it has no end that could be waited for from here.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
