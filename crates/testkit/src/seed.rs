//! Seeds: the one place where tests take randomness that nobody chose.

/// The seed for a randomised test: the number in `REMIT_SEED`, or a random one.
///
/// It is printed, and test runners show what a failed test printed, so the failure can be had again.
///
/// # Panics
///
/// When `REMIT_SEED` is not a number: another seed than the one asked for would hide the failure.
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
