//! Where time and randomness come from: parameters everywhere else.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

/// A moment: microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// This many seconds later, or earlier when negative.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// As a protobuf timestamp.
    pub fn to_proto(self) -> prost_types::Timestamp {
        let nanos = i32::try_from(self.0.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
        prost_types::Timestamp {
            seconds: self.0.div_euclid(1_000_000),
            nanos,
        }
    }

    /// From a protobuf timestamp; what lies below a microsecond is cut off. `None` outside the years 1 to 9999, as
    /// protobuf has it.
    pub fn from_proto(time: &prost_types::Timestamp) -> Option<Self> {
        let nanos = i64::from(time.nanos);
        if !(0..1_000_000_000).contains(&nanos) || !(-62_135_596_800..=253_402_300_799).contains(&time.seconds) {
            return None;
        }
        time.seconds
            .checked_mul(1_000_000)?
            .checked_add(nanos / 1_000)
            .map(Self)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    fn now(&self) -> Time {
        Time(jiff::Timestamp::now().as_microsecond())
    }
}

/// A clock that stands still until it is set, for tests and replays.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Stands at this moment.
    pub fn at(time: Time) -> Self {
        Self(AtomicI64::new(time.0))
    }

    /// Moves on, or back when negative.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

/// Gives random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with bytes that nobody can guess.
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

/// Repeatable bytes from a seed. For tests only: whoever knows the seed knows every key and salt.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<rand::rngs::StdRng>);

impl SeededEntropy {
    /// From a seed.
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

/// An id that sorts by time (UUID version 7), for records and events.
///
/// New rows then lie beside each other in every index, which is most of what a commit writes. The time in it is no secret, as
/// it stands in the log's entries; the other 74 bits are random, and nobody gets a record for knowing its name.
pub fn ordered_id(time: Time, entropy: &dyn Entropy) -> Uuid {
    let mut bytes = [0; 10];
    entropy.fill(&mut bytes);
    let millis = u64::try_from(time.0 / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire_also_before_1970() {
        for time in [0, 1, 999_999, 1_000_000, -1, -1_000_001, 1_795_305_600_123_456] {
            assert_eq!(Time::from_proto(&Time(time).to_proto()), Some(Time(time)));
        }
        assert_eq!(
            Time::from_proto(&prost_types::Timestamp { seconds: 0, nanos: -1 }),
            None
        );
        assert_eq!(
            Time::from_proto(&prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0
            }),
            None
        );
    }
}
