//! Room for evidence: part of the disk is reserved, so that files do not stop what else needs it,
//! such as a database on the same disk.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rpc::Failure;

use super::Vault;

/// Admits uploads while the reserve stays free.
#[derive(Clone)]
pub(crate) struct Room {
    vault: Arc<dyn Vault>,
    reserve: u64,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bytes that running uploads have announced.
    announced: AtomicU64,
    /// Whether the last look found no room, to log the change once.
    is_full: AtomicBool,
    /// Bytes of the file that was refused last; 0 once there was room for it.
    refused: AtomicU64,
}

/// Room that an upload takes while it runs.
pub(super) struct Taken {
    state: Arc<State>,
    bytes: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.state.announced.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl Room {
    /// Room in a vault of which so many bytes stay free.
    pub(crate) fn new(vault: Arc<dyn Vault>, reserve: u64) -> Self {
        Self {
            vault,
            reserve,
            state: Arc::default(),
        }
    }

    /// Takes room for a file, or refuses it. Counts what running uploads announced as not yet
    /// written: at worst a file is refused that would have fitted.
    pub(super) async fn take(&self, bytes: u64) -> Result<Taken, Failure> {
        let before = self.state.announced.fetch_add(bytes, Ordering::SeqCst);
        let taken = Taken {
            state: Arc::clone(&self.state),
            bytes,
        };
        let free = self.free().await?;
        let needed = self.reserve.saturating_add(bytes);
        if free < needed {
            self.state.refused.store(bytes, Ordering::SeqCst);
            self.note(free, true);
            return Err(Failure::StorageFull);
        }
        // No operator has to make room: running uploads end.
        if free < needed.saturating_add(before) {
            return Err(Failure::Overloaded);
        }
        Ok(taken)
    }

    /// What keeps files from being taken, in words; `None` if there is room.
    pub(crate) async fn problem(&self) -> Result<Option<String>, Failure> {
        let free = self.free().await?;
        // As full as for the last upload: "there is room" must not be said of less than that needs.
        let refused = self.state.refused.load(Ordering::SeqCst);
        let is_full = free <= self.reserve.saturating_add(refused.saturating_sub(1));
        if !is_full {
            self.state.refused.store(0, Ordering::SeqCst);
        }
        self.note(free, is_full);
        Ok(is_full.then(|| {
            format!(
                "uploads are refused: {free} bytes are free, and {} stay reserved (`evidence.reserve_bytes`); make room",
                self.reserve
            )
        }))
    }

    async fn free(&self) -> Result<u64, Failure> {
        self.vault.free().await.map_err(super::upload::unwritten)
    }

    fn note(&self, free: u64, is_full: bool) {
        if self.state.is_full.swap(is_full, Ordering::SeqCst) == is_full {
            return;
        }
        let reserved = self.reserve;
        match is_full {
            true => tracing::error!(free, reserved, "there is no room for evidence: uploads are refused"),
            false => tracing::info!(free, reserved, "there is room for evidence again"),
        }
    }
}
