//! Sources of time and randomness, which are parameters everywhere else.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use moment::Time;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Time;

    /// The time that has passed since some moment, whatever the clock is set to. Only differences
    /// mean something.
    fn steady(&self) -> Duration;

    /// Whether it follows real time, so that it can be compared with another machine's.
    fn is_real(&self) -> bool {
        true
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    fn now(&self) -> Time {
        Time(jiff::Timestamp::now().as_microsecond())
    }

    fn steady(&self) -> Duration {
        // While the machine sleeps, too: the clock then goes on.
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        Duration::try_from(rustix::time::clock_gettime(id)).unwrap_or_default()
    }
}

/// A clock that stands still until it is set, for tests and replays.
#[derive(Debug)]
pub struct ManualClock {
    time: AtomicI64,
    /// Microseconds that it ran.
    steady: AtomicU64,
}

impl ManualClock {
    /// A clock at this time.
    pub fn at(time: Time) -> Self {
        Self {
            time: AtomicI64::new(time.0),
            steady: AtomicU64::new(0),
        }
    }

    /// Lets time pass; if negative, sets the clock back.
    pub fn advance(&self, seconds: i64) {
        let passed = u64::try_from(seconds).unwrap_or(0);
        self.steady.fetch_add(passed * 1_000_000, Ordering::SeqCst);
        self.set_forward(seconds);
    }

    /// Sets the clock forward, or back if negative, while no time passes.
    pub fn set_forward(&self, seconds: i64) {
        self.time.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.time.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        Duration::from_micros(self.steady.load(Ordering::SeqCst))
    }

    fn is_real(&self) -> bool {
        false
    }
}

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The machine's randomness, through a generator per thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Reproducible bytes from a seed. For tests only: whoever knows the seed knows every key and salt.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<rand::rngs::StdRng>);

impl SeededEntropy {
    /// Bytes from a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(rand::rngs::StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// A random id (UUID version 4).
pub fn random_id(entropy: &dyn Entropy) -> Uuid {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// An id that sorts by time (UUID version 7), for records.
///
/// New rows are then adjacent in every index, and index pages are most of what a commit writes. The
/// time in the id is when the record began, which whoever may see the record is shown anyway; the
/// other 74 bits are random, and knowing a record's name gives no access to it. The ids of entries
/// say the second only ([`entry_id`](crate::entry_id)).
pub fn ordered_id(time: Time, entropy: &dyn Entropy) -> Uuid {
    let mut bytes = [0; 10];
    entropy.fill(&mut bytes);
    let millis = u64::try_from(time.0 / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}
