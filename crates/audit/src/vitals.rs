//! Whether this process may go on, and whether it is well.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The state of this process's log, as the sequencer, the publisher and health share it.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Cancelled when this process must neither append nor sign any more. There is no way back but a restart.
    pub halted: CancellationToken,
    /// Whether what was appended could not be published when it was last tried.
    behind: AtomicBool,
}

impl Vitals {
    /// Ends all writing.
    pub fn halt(&self, reason: &(dyn std::error::Error + 'static)) {
        if !self.halted.is_cancelled() {
            tracing::error!(reason, "the log is not written by this process any more");
            self.halted.cancel();
        }
    }

    /// Notes whether publishing worked.
    pub fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Relaxed);
    }

    /// Whether changes are appended and published.
    pub fn is_well(&self) -> bool {
        !self.halted.is_cancelled() && !self.behind.load(Ordering::Relaxed)
    }
}
