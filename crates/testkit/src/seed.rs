//! Seeds: the only source of random numbers in tests.

/// Returns the seed for a randomised test: the number in `REMIT_SEED`, or a random one.
///
/// Prints it. Test runners show the output of failed tests, so the failure can be reproduced.
///
/// # Panics
///
/// If `REMIT_SEED` is not a number: a different seed would hide the failure.
#[must_use]
pub fn seed() -> u64 {
    let seed = match std::env::var("REMIT_SEED") {
        Ok(given) => given
            .parse()
            .unwrap_or_else(|_| panic!("REMIT_SEED is `{given}`, which is not a number")),
        Err(_) => rand::random(),
    };
    eprintln!("seed {seed}: repeat with REMIT_SEED={seed}");
    seed
}
