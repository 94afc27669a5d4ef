//! Python for tests of partners' clients, which are rarely written in Rust.
//!
//! `make setup` creates the environment from `tests/python/requirements.txt`.

use std::{io::Write as _, path::PathBuf, sync::Once};

/// If set (and not to `0`), a test that needs Python fails where it is not set up.
pub const REQUIRE_VARIABLE: &str = "REMIT_REQUIRE_PYTHON";

/// Returns the environment's interpreter; `None` if there is none, which is reported once per
/// process.
///
/// # Panics
///
/// If there is none although `REMIT_REQUIRE_PYTHON` is set.
#[must_use]
pub fn interpreter() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let environment = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/python");
    let environment = PathBuf::from(environment);
    // The last step of the setup creates this file: a partial environment does not count.
    if environment.join("ready").is_file() {
        return Some(environment.join("bin/python"));
    }
    assert!(
        !required(),
        "{REQUIRE_VARIABLE} is set, but Python is not set up: run `make setup`"
    );
    SAID.call_once(|| {
        // Written to stderr directly: the test harness hides the output of passing tests.
        let _ = writeln!(
            std::io::stderr(),
            "*** NOT TESTED WITH PYTHON, which `make setup` sets up ***"
        );
    });
    None
}

fn required() -> bool {
    std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| !["", "0"].contains(&value.as_str()))
}
