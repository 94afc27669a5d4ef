//! Waiting for another process.

use std::time::{Duration, Instant};

/// Polls until there is an answer; panics with `what` after 20 s. For work in another process,
/// whose end cannot be awaited here.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
