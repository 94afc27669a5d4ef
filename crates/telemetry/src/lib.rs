//! What the process says about itself: log lines on stderr and, when a collector is configured, traces over OTLP.
//!
//! Everything else in the workspace uses the `tracing` macros and nothing more; only this crate knows OpenTelemetry.
//!
//! * `config.rs`: what an operator sets.
//! * `export.rs`: the provider, what it calls this process, and which spans it gets.
//! * `context.rs`: a trace carried across a hop, or stored with an event and taken up again later.
//! * this file: putting them in place at start, flushing at the end.
//!
//! # One provider per process
//!
//! `remit serve all` runs three services in one process and `remit serve intake` runs one, and the same dashboard
//! should read both. So the resource names the program (`service.name` is `remit`), and the attribute
//! [`SERVICE`] on each span that a service begins names the service: `intake`, `routing` or `audit`. A provider per
//! service would need a subscriber per task, which `tracing` does not have, and would lose every span begun in shared
//! code.
//!
//! # Invariants
//!
//! * Tracing never fails or delays a request: spans are batched off the request's path, a full queue drops them, and
//!   a malformed `traceparent` is as good as none.
//! * The log filter does not thin the traces: a process run at `warn` still sends complete ones.
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
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use config::{Config, Format};
pub use context::{continue_from, traceparent};

/// The span attribute that tells which service a span belongs to: `intake`, `routing` or `audit`.
pub const SERVICE: &str = "remit.service";

/// How long [`Guard::shutdown`] waits for the collector to take the last spans. A collector that is down must not
/// keep a process from ending within the grace period that orchestrators give it (30 s, most of it for requests).
pub const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Whether this process sends traces; see [`enabled`].
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Why telemetry could not be set up or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter does not parse.
    #[error("parsing the log filter `{filter}`")]
    Filter {
        /// The filter as configured.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP endpoint cannot be used. It is not contacted at start: only its form is checked.
    #[error("setting up the export of traces to `{endpoint}`")]
    Exporter {
        /// The endpoint as configured.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// An endpoint is set, but [`init`] was called where no Tokio runtime runs.
    #[error("exporting traces needs a Tokio runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// This process has a subscriber already.
    #[error("installing the log subscriber")]
    Install(#[source] tracing_subscriber::util::TryInitError),
    /// The last spans did not reach the collector within [`FLUSH_LIMIT`].
    #[error("sending the last spans to the collector")]
    Flush(#[source] opentelemetry_sdk::error::OTelSdkError),
}

/// Keeps telemetry going. Dropping it flushes too, but blocks the thread: prefer [`Guard::shutdown`].
#[derive(Debug)]
#[must_use = "dropping the guard ends the export of traces"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

/// Installs the subscriber of this process: log lines to stderr as `config` says and, when an endpoint is set, traces
/// to the collector there under the resource name `service_name`.
///
/// Call it once, inside the Tokio runtime that will outlive the guard: the export connection lives on it.
///
/// The collector need not be up: spans wait in a bounded queue, and export failures are logged.
///
/// # Errors
///
/// [`Error::Filter`], [`Error::Exporter`] or [`Error::NoRuntime`] for a configuration that cannot work, and
/// [`Error::Install`] when a subscriber is in place already. Nothing is installed then.
pub fn init(config: &Config, service_name: &str) -> Result<Guard, Error> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| Error::Filter {
            filter: config.filter.clone(),
            source,
        })?;
    let provider = match config.endpoint() {
        Some(endpoint) => {
            // The connection spawns its driver when it is made and would panic without a runtime.
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

/// Whether this process sends traces, so that callers can skip work that only a trace would show.
#[must_use]
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

impl Guard {
    /// Sends the spans that still wait, for at most [`FLUSH_LIMIT`]. Log lines go on being written afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Flush`] when the time ran out; what was not sent is lost. A collector that refuses is not an error here:
    /// like every failed export it is only logged.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        ENABLED.store(false, Ordering::Relaxed);
        let Some(provider) = self.provider.take() else {
            return Ok(());
        };
        // The flush blocks, and the connection it waits for is driven by the very threads it would block.
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

/// The layer that writes log lines to stderr, which leaves stdout to what a command prints.
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

/// Colours only where a person reads, and not where they asked for none (`NO_COLOR`, no-color.org).
fn wants_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
/// An error with its causes, for the log line of the one who handles it. A cause that an error tells already is not told again.
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
    fn a_cause_is_told_once() {
        for error in [Outer::Silent(Cause), Outer::Telling(Cause)] {
            assert_eq!(with_causes(&error), "cannot write: the disk is full");
        }
    }
}
