//! Telemetry of the process: log lines on stderr, metrics to be scraped and, if a collector is
//! configured, traces, metrics and log lines over OTLP.
//!
//! The rest of the workspace uses only the `tracing` macros and the instruments of [`metrics`];
//! OpenTelemetry is known to this crate alone.
//!
//! * `config.rs`: the configuration.
//! * `export.rs`: the providers, their resource attributes and the selection of spans and lines.
//! * `context.rs`: trace context across a hop, or stored with an event and resumed later.
//! * `lines.rs`: log lines on stderr.
//! * `metrics.rs`: instruments, and the readers of them.
//! * `conventions.rs`: OpenTelemetry's names that still move.
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
//! * Telemetry never fails or delays a request: spans and lines are exported in batches in the
//!   background, a full queue drops them, and a malformed `traceparent` counts as none. A collector
//!   that hangs costs no more than one that is gone.
//! * The log filter does not affect traces: a process run at `warn` still sends complete ones.
//! * The exporter's own traffic is never traced, so exporting cannot feed itself.
//! * Nothing here touches OpenTelemetry's global provider or propagator.

mod config;
mod context;
pub mod conventions;
mod export;
mod lines;
pub mod metrics;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
    #[error("setting up the export to `{endpoint}`")]
    Exporter {
        /// The endpoint as configured.
        endpoint: String,
        /// The problem with it.
        source: ExporterBuildError,
    },
    /// An endpoint is configured, but [`init`] was called outside a Tokio runtime.
    #[error("exporting telemetry needs a Tokio runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// The process already has a subscriber.
    #[error("installing the log subscriber")]
    Install(#[source] tracing_subscriber::util::TryInitError),
    /// The last spans, lines or metrics did not reach the collector within [`FLUSH_LIMIT`].
    #[error("sending the last telemetry to the collector")]
    Flush(#[source] OTelSdkError),
}

/// Keeps telemetry running. Dropping it also flushes, but blocks the thread: prefer
/// [`Guard::shutdown`].
#[derive(Debug)]
#[must_use = "dropping the guard ends the export"]
pub struct Guard(Providers);

/// What sends to the collector.
#[derive(Debug, Default)]
struct Providers {
    spans: Option<SdkTracerProvider>,
    lines: Option<SdkLoggerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Installs the process's subscriber: log lines to stderr as configured and, if an endpoint is set,
/// traces, log lines and metrics to its collector with the resource name `service_name`.
///
/// Call it once, before anything is measured, inside a Tokio runtime that outlives the guard: the
/// export connections run on it.
///
/// The collector need not be running: spans and lines wait in bounded queues, metrics are sums, and
/// export failures are logged.
///
/// # Errors
///
/// [`Error::Filter`], [`Error::Exporter`] or [`Error::NoRuntime`] for an invalid configuration, and
/// [`Error::Install`] if a subscriber is already installed. Nothing is installed then.
pub fn init(config: &Config, service_name: &str) -> Result<Guard, Error> {
    let filter = || config.parsed_filter().map_err(Error::Filter);
    let mut providers = Providers::default();
    let mut meter = None;
    if let Some(endpoint) = config.endpoint() {
        // The connections spawn their drivers when they are created and would panic without a
        // runtime.
        tokio::runtime::Handle::try_current().map_err(Error::NoRuntime)?;
        let unusable = |source| Error::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        };
        let resource = export::resource(service_name);
        if config.traces {
            providers.spans = Some(export::spans(endpoint, resource.clone()).map_err(unusable)?);
        }
        if config.logs {
            providers.lines = Some(export::lines(endpoint, resource.clone()).map_err(unusable)?);
        }
        if config.metrics {
            meter = Some((resource, export::metrics(endpoint).map_err(unusable)?));
        }
    }
    let exported_lines = match &providers.lines {
        Some(provider) => Some(export::line_layer(provider, filter()?)),
        None => None,
    };

    tracing_subscriber::registry()
        .with(lines::stderr(config.format).with_filter(filter()?))
        .with(providers.spans.as_ref().map(export::span_layer))
        .with(exported_lines)
        .try_init()
        .map_err(Error::Install)?;
    ENABLED.store(providers.spans.is_some(), Ordering::Relaxed);
    if let Some((resource, exporter)) = meter {
        providers.metrics = metrics::export(resource, exporter);
        if providers.metrics.is_none() {
            tracing::warn!("metrics were measured before the collector was known, and are not sent to it");
        }
    }
    Ok(Guard(providers))
}

/// Whether this process sends traces. Lets callers skip work that only traces would show.
#[must_use]
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

impl Guard {
    /// Sends what is left, for at most [`FLUSH_LIMIT`]. Logging continues afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Flush`] on timeout; what is unsent is lost. A collector that refuses it is not an
    /// error here: like every failed export, it is only logged.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        // The flush blocks, and its connections are driven by the very threads it would block.
        match tokio::task::spawn_blocking(move || self.0.shutdown()).await {
            Ok(flushed) => flushed.map_err(Error::Flush),
            Err(died) => std::panic::resume_unwind(died.into_panic()),
        }
    }
}

impl Providers {
    /// Flushes all at once, so that the limit holds for all together.
    fn shutdown(&mut self) -> Result<(), OTelSdkError> {
        ENABLED.store(false, Ordering::Relaxed);
        let Self { spans, lines, metrics } = std::mem::take(self);
        std::thread::scope(|scope| {
            let endings = [
                spans.map(|spans| scope.spawn(move || spans.shutdown_with_timeout(FLUSH_LIMIT))),
                lines.map(|lines| scope.spawn(move || lines.shutdown_with_timeout(FLUSH_LIMIT))),
                metrics.map(|metrics| scope.spawn(move || metrics.shutdown_with_timeout(FLUSH_LIMIT))),
            ];
            let ended = |thread: std::thread::ScopedJoinHandle<'_, Result<(), OTelSdkError>>| match thread.join() {
                Ok(ended) => ended,
                Err(died) => std::panic::resume_unwind(died),
            };
            // All are waited for; the first failure is told.
            let ended: Vec<_> = endings.into_iter().flatten().map(ended).collect();
            ended.into_iter().collect()
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last telemetry did not reach the collector");
        }
    }
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
