//! Uploads or downloads that run at once, in all and of one caller.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rpc::Failure;

use super::Limits;

/// Those that run.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    all: usize,
    of_one: usize,
    /// By the caller's system.
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            all: limits.streams,
            of_one: limits.streams_per_caller,
            taken: Arc::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one, as long as it is kept.
    pub(super) fn take(&self, system: &str) -> Result<Slot, Failure> {
        let mut taken = self.taken();
        let of_one = taken.get(system).copied().unwrap_or_default();
        if of_one >= self.of_one || taken.values().sum::<usize>() >= self.all {
            return Err(Failure::Overloaded);
        }
        taken.insert(system.to_owned(), of_one + 1);
        Ok(Slot {
            slots: self.clone(),
            system: system.to_owned(),
        })
    }
}

/// One that runs.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    system: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        if let Some(of_one) = taken.get_mut(&self.system) {
            *of_one -= 1;
            if *of_one == 0 {
                taken.remove(&self.system);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_some_and_all_together_no_more() {
        let slots = Slots::new(Limits {
            streams: 5,
            streams_per_caller: 2,
            ..Limits::default()
        });
        let take = |system| slots.take(system).ok();
        let first: Vec<_> = (0..10).filter_map(|_| take("first")).collect();
        let second: Vec<_> = (0..10).filter_map(|_| take("second")).collect();
        let third: Vec<_> = (0..10).filter_map(|_| take("third")).collect();
        assert_eq!((first.len(), second.len(), third.len()), (2, 2, 1));
        drop((first, second, third));
        assert!(slots.taken().is_empty());
        assert!(take("first").is_some());
    }
}
