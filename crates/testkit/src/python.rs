//! Python for tests that play a partner's client, which is rarely written in Rust.
//!
//! The environment is the one that `make setup` makes from `tests/python/requirements.txt`.

use std::{io::Write as _, path::PathBuf, sync::Once};

/// When set (and not to `0`), a test that needs Python fails where it is not set up.
pub const REQUIRE_VARIABLE: &str = "REMIT_REQUIRE_PYTHON";

/// The interpreter of the environment; nothing where there is none, which is said aloud once per process.
///
/// # Panics
///
/// When there is none though `REMIT_REQUIRE_PYTHON` is set.
#[must_use]
pub fn interpreter() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let environment = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/python");
    let environment = PathBuf::from(environment);
    // The last step of making it leaves this file: half an environment is none.
    if environment.join("ready").is_file() {
        return Some(environment.join("bin/python"));
    }
    assert!(
        !required(),
        "{REQUIRE_VARIABLE} is set, but Python is not set up: run `make setup`"
    );
    SAID.call_once(|| {
        // Past the test harness, which swallows what passing tests print.
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
