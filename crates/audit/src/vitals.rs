//! Whether this process may go on, and whether it is well.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// What was appended and could not be published.
#[derive(Debug)]
pub(crate) struct Behind {
    /// Why, with its causes.
    pub problem: String,
    /// Whether nothing but cosignatures is wanting.
    pub for_want_of_witnesses: bool,
}

/// The state of this process's log, as the sequencer, the publisher and health share it.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Cancelled when this process must neither append nor sign any more. There is no way back but a restart.
    pub halted: CancellationToken,
    /// Why what was appended could not be published when it was last tried, or why this process had to stop.
    behind: Mutex<Option<Behind>>,
    /// The witnesses that did not cosign the last checkpoint, and why, though enough others may have.
    silent: Mutex<String>,
}

impl Vitals {
    /// Ends all writing.
    pub fn halt(&self, reason: &(dyn std::error::Error + 'static)) {
        if !self.halted.is_cancelled() {
            tracing::error!(reason, "the log is not written by this process any more");
            self.halted.cancel();
            *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = Some(Behind {
                problem: telemetry::with_causes(reason),
                for_want_of_witnesses: false,
            });
        }
    }

    /// Notes why publishing failed, or that it worked.
    pub fn set_behind(&self, behind: Option<Behind>) {
        if self.halted.is_cancelled() {
            return;
        }
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    /// Notes which witnesses did not cosign.
    pub fn set_silent(&self, problems: String) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    /// Whether changes are appended and can be published. Want of witnesses is told by the status, not here: whoever stops
    /// sending changes to a log that is not well would stop appending for the sake of a witness.
    pub fn is_well(&self) -> bool {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        !self.halted.is_cancelled() && behind.as_ref().is_none_or(|behind| behind.for_want_of_witnesses)
    }

    /// Why the newest checkpoint is not published, or none will be any more; empty when all is well.
    pub fn unpublished(&self) -> String {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.as_ref().map(|behind| behind.problem.clone()).unwrap_or_default()
    }

    /// The witnesses that did not cosign the last checkpoint, and why; empty when all did.
    pub fn silent(&self) -> String {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
