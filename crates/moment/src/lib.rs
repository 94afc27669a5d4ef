//! An instant, as stored, compared and formatted throughout Remit.
//!
//! A crate of its own, so that code that computes with times needs nothing more: it imports neither
//! a transport nor a database, and cannot read the clock. `journal`'s `Clock` can.

/// An instant: microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// The instant this many seconds later, or earlier if negative.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Converts to a protobuf timestamp.
    pub fn to_proto(self) -> prost_types::Timestamp {
        let nanos = i32::try_from(self.0.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
        prost_types::Timestamp {
            seconds: self.0.div_euclid(1_000_000),
            nanos,
        }
    }

    /// Converts from a protobuf timestamp, truncating to microseconds. `None` outside the years 1
    /// to 9999, protobuf's range.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_even_before_1970() {
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
