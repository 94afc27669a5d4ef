//! Telemetry of the process: log lines on stderr and, if a collector is configured, traces over
//! OTLP.
//!
//! The rest of the workspace uses only the `tracing` macros; OpenTelemetry is known to this crate
//! alone.
//!
//! * `config.rs`: the configuration.
//! * `export.rs`: the provider, its resource attributes and the selection of spans.
//! * `context.rs`: trace context across a hop, or stored with an event and resumed later.
//! * this file: installing all of it at start and flushing at the end.
//!
//! # One provider per process
//!
//! `remit serve all` runs three services in one process and `remit serve intake` runs one, and one
//! dashboard should read both. So the resource names the program (`service.name` is `remit`), and
//! the attribute [`SERVICE`] on each service's root spans names the service: `intake`, `routing` or
//! `audit`. A provider per service would need a subscriber per task, which `tracing` does not have,
//! and would lose every span begun in shared code.
//!
//! # Invariants
//!
//! * Tracing never fails or delays a request: spans are exported in batches in the background, a
//!   full queue drops them, and a malformed `traceparent` counts as none.
//! * The log filter does not affect traces: a process run at `warn` still sends complete ones.
//! * The exporter's own traffic is never traced, so exporting cannot feed itself.
//! * Nothing here touches OpenTelemetry's global provider or propagator.

mod config;
mod context;
mod export;

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

pub use config::{Config, Format};
pub use context::{continue_from, traceparent};

/// Span attribute that names the service a span belongs to: `intake`, `routing` or `audit`.
pub const SERVICE: &str = "remit.service";

/// How long [`Guard::shutdown`] waits for the collector to accept the last spans. An unavailable
/// collector must not delay the end of the process beyond the grace period of orchestrators (30 s,
/// most of it for requests).
pub const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Whether this process sends traces; see [`enabled`].
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Why telemetry could not be set up or shut down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is unusable.
    #[error("{0}")]
    Filter(String),
    /// The OTLP endpoint is unusable. Only its form is checked at start; it is not contacted.
    #[error("setting up the export of traces to `{endpoint}`")]
    Exporter {
        /// The endpoint as configured.
        endpoint: String,
        /// The problem with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// An endpoint is configured, but [`init`] was called outside a Tokio runtime.
    #[error("exporting traces needs a Tokio runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// The process already has a subscriber.
    #[error("installing the log subscriber")]
    Install(#[source] tracing_subscriber::util::TryInitError),
    /// The last spans did not reach the collector within [`FLUSH_LIMIT`].
    #[error("sending the last spans to the collector")]
    Flush(#[source] opentelemetry_sdk::error::OTelSdkError),
}

/// Keeps telemetry running. Dropping it also flushes, but blocks the thread: prefer
/// [`Guard::shutdown`].
#[derive(Debug)]
#[must_use = "dropping the guard ends the export of traces"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

/// Installs the process's subscriber: log lines to stderr as configured and, if an endpoint is set,
/// traces to its collector with the resource name `service_name`.
///
/// Call it once, inside a Tokio runtime that outlives the guard: the export connection runs on it.
///
/// The collector need not be running: spans wait in a bounded queue, and export failures are
/// logged.
///
/// # Errors
///
/// [`Error::Filter`], [`Error::Exporter`] or [`Error::NoRuntime`] for an invalid configuration, and
/// [`Error::Install`] if a subscriber is already installed. Nothing is installed then.
pub fn init(config: &Config, service_name: &str) -> Result<Guard, Error> {
    let filter = config.parsed_filter().map_err(Error::Filter)?;
    let provider = match config.endpoint() {
        Some(endpoint) => {
            // The connection spawns its driver when it is created and would panic without a
            // runtime.
            tokio::runtime::Handle::try_current().map_err(Error::NoRuntime)?;
            Some(
                export::provider(endpoint, service_name).map_err(|source| Error::Exporter {
                    endpoint: endpoint.to_owned(),
                    source,
                })?,
            )
        }
        None => None,
    };
    let guard = Guard { provider };

    tracing_subscriber::registry()
        .with(log_lines(config.format).with_filter(filter))
        .with(guard.provider.as_ref().map(export::layer))
        .try_init()
        .map_err(Error::Install)?;
    ENABLED.store(guard.provider.is_some(), Ordering::Relaxed);
    Ok(guard)
}

/// Whether this process sends traces. Lets callers skip work that only traces would show.
#[must_use]
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

impl Guard {
    /// Sends the remaining spans, for at most [`FLUSH_LIMIT`]. Logging continues afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Flush`] on timeout; unsent spans are lost. A collector that refuses spans is not an
    /// error here: like every failed export, it is only logged.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        ENABLED.store(false, Ordering::Relaxed);
        let Some(provider) = self.provider.take() else {
            return Ok(());
        };
        // The flush blocks, and its connection is driven by the very threads it would block.
        match tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_LIMIT)).await {
            Ok(flushed) => flushed.map_err(Error::Flush),
            Err(died) => std::panic::resume_unwind(died.into_panic()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            ENABLED.store(false, Ordering::Relaxed);
            if let Err(error) = provider.shutdown_with_timeout(FLUSH_LIMIT) {
                tracing::warn!(%error, "the last spans did not reach the collector");
            }
        }
    }
}

/// The layer that writes log lines to stderr, leaving stdout to a command's output.
fn log_lines(format: Format) -> Box<dyn Layer<Registry> + Send + Sync> {
    match format {
        Format::Text => fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(wants_colour())
            .boxed(),
        Format::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr)
            .boxed(),
    }
}

/// Whether to use colours: only on a terminal, and unless `NO_COLOR` is set (no-color.org).
fn wants_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
/// Formats an error with its causes, for the log line where it is handled. Skips causes whose text
/// an error already includes.
#[must_use]
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Cause;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot write")]
        Silent(#[source] Cause),
        #[error("cannot write: {0}")]
        Telling(#[source] Cause),
    }

    #[test]
    fn a_cause_is_shown_once() {
        for error in [Outer::Silent(Cause), Outer::Telling(Cause)] {
            assert_eq!(with_causes(&error), "cannot write: the disk is full");
        }
    }
}
