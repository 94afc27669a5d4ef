//! High-water marks: a producer's progress, without a list of its events.
//!
//! A set of events is identified by its size and by the sum of its entries' hashes, as big-endian
//! numbers modulo 2^256 (the additive multiset hash of Clarke, Devadas, van Dijk, Gassend and Suh,
//! ASIACRYPT 2003, without their key). The order does not matter, and adding or removing an event
//! is cheap.
//!
//! It lets two honest parties notice that they hold different events, whether one was lost, doubled
//! or changed. It proves nothing: whoever can choose many entries can find, with much work
//! (Wagner's generalised birthday attack), two sets with one sum; but whoever can do that at a
//! producer can send any mark. The Merkle tree protects against tampering. Libraries that would
//! resist the attack cost a curve operation, or two kilobytes of state and a long hash, for every
//! event.

use crate::Bytes32;

/// A set of events: its size and its sum of hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSet {
    /// Number of events.
    pub count: u64,
    /// The sum of the hashes of their entries.
    pub hash: SetHash,
}

impl EventSet {
    /// Adds an event, by the hash of its entry. Adding one twice makes another set.
    pub fn add(&mut self, entry_hash: &Bytes32) {
        self.count += 1;
        self.hash.add(entry_hash);
    }
}

impl<'a> Extend<&'a Bytes32> for EventSet {
    fn extend<I: IntoIterator<Item = &'a Bytes32>>(&mut self, entry_hashes: I) {
        for hash in entry_hashes {
            self.add(hash);
        }
    }
}

/// A sum of hashes modulo 2^256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetHash(Bytes32);

impl SetHash {
    /// Its 32 bytes, big-endian.
    pub fn to_bytes(self) -> Bytes32 {
        self.0
    }

    /// From its 32 bytes, big-endian.
    pub fn from_bytes(bytes: Bytes32) -> Self {
        Self(bytes)
    }

    fn add(&mut self, other: &Bytes32) {
        let mut carry = false;
        // From the last eight bytes, the least significant, to the first.
        for (sum, other) in self.0.as_chunks_mut::<8>().0.iter_mut().zip(other.as_chunks().0).rev() {
            let (added, first) = u64::from_be_bytes(*sum).overflowing_add(u64::from_be_bytes(*other));
            let (added, second) = added.overflowing_add(u64::from(carry));
            *sum = added.to_be_bytes();
            carry = first || second;
        }
    }
}

/// A producer's progress in delivering to one consumer, at one moment of its database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The events that the consumer acknowledged; they are no longer in the outbox.
    pub delivered: EventSet,
    /// Number of committed events, delivered or not.
    pub committed: u64,
    /// Sum of the hashes of the committed events; `None` if the backlog was too long to compute it.
    pub committed_hash: Option<SetHash>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(hashes: &[Bytes32]) -> EventSet {
        let mut set = EventSet::default();
        set.extend(hashes);
        set
    }

    #[test]
    fn sums_carry_and_wrap_around() {
        let number = |last: u8| {
            let mut bytes = [0; 32];
            bytes[31] = last;
            bytes
        };
        assert_eq!(of(&[number(255), number(2)]).hash.to_bytes()[30..], [1, 1]);
        let all_ones = [0xff; 32];
        assert_eq!(of(&[all_ones, number(1)]).hash, SetHash::default());
        // The count tells it from the empty set.
        assert_ne!(of(&[all_ones, number(1)]), EventSet::default());
    }

    proptest! {
        #[test]
        fn the_order_is_nothing_and_every_event_counts(mut hashes: Vec<Bytes32>, at: usize, bit in 0_usize..256) {
            let set = of(&hashes);
            hashes.reverse();
            prop_assert_eq!(of(&hashes), set);
            if let Some(at) = at.checked_rem(hashes.len()) {
                let mut changed = hashes.clone();
                changed[at][bit / 8] ^= 1 << (bit % 8);
                prop_assert_ne!(of(&changed).hash, set.hash);
                changed.remove(at);
                prop_assert_ne!(of(&changed), set);
            }
        }
    }
}
