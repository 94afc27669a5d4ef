//! Whether this process may continue, and whether it is healthy.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Why appended entries could not be published.
#[derive(Debug)]
pub(crate) struct Behind {
    /// The problem, with its causes.
    pub problem: String,
    /// Whether only cosignatures are missing.
    pub for_want_of_witnesses: bool,
}

/// The state of this process's log, shared by the sequencer, the publisher and health.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Cancelled when this process must neither append nor sign any more. Only a restart recovers.
    pub halted: CancellationToken,
    /// Why the last publication failed, or why this process had to stop.
    behind: Mutex<Option<Behind>>,
    /// The witnesses that did not cosign the last checkpoint, and why, even if enough others did.
    silent: Mutex<String>,
}

impl Vitals {
    /// Stops all writing.
    pub fn halt(&self, reason: &(dyn std::error::Error + 'static)) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.halted.is_cancelled() {
            tracing::error!(reason, "the log is not written by this process any more");
            self.halted.cancel();
            *behind = Some(Behind {
                problem: telemetry::with_causes(reason),
                for_want_of_witnesses: false,
            });
        }
    }

    /// Records a failed or successful publication.
    pub fn set_behind(&self, behind: Option<Behind>) {
        let mut stored = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock: why this process had to stop stays.
        if !self.halted.is_cancelled() {
            *stored = behind;
        }
    }

    /// Records the witnesses that did not cosign.
    pub fn set_silent(&self, problems: String) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    /// Whether changes are appended and can be published. Missing witnesses are reported by the
    /// status, not here: an orchestrator that stops sending to an unhealthy log would stop appends
    /// because of a witness.
    pub fn is_well(&self) -> bool {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        !self.halted.is_cancelled() && behind.as_ref().is_none_or(|behind| behind.for_want_of_witnesses)
    }

    /// Why the newest checkpoint is not published, or no more will be; empty if all is well.
    pub fn unpublished(&self) -> String {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.as_ref().map(|behind| behind.problem.clone()).unwrap_or_default()
    }

    /// The witnesses that did not cosign the last checkpoint, and why; empty if all did.
    pub fn silent(&self) -> String {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
