//! Export of spans, metrics and log lines: the destination and the selection.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::LookupSpan;

/// Crates that the exporter itself uses. Tracing them would create a span per export, which would
/// be exported in turn.
const TRANSPORT: [&str; 6] = ["h2", "hyper", "hyper_util", "opentelemetry", "tonic", "tower"];

/// What every signal says of the process.
pub(crate) fn resource(service_name: &str) -> Resource {
    Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A provider that sends batches of spans to the collector at `endpoint`. Connects when the first
/// span is due.
pub(crate) fn spans(endpoint: &str, resource: Resource) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// A provider that sends batches of log lines there.
pub(crate) fn lines(endpoint: &str, resource: Resource) -> Result<SdkLoggerProvider, ExporterBuildError> {
    let exporter = LogExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    Ok(SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// What sends metrics there.
pub(crate) fn metrics(endpoint: &str) -> Result<MetricExporter, ExporterBuildError> {
    MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()
}

/// Leaves out what the exporter itself does: nothing, at no level.
fn ours(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level)
        .with_targets(TRANSPORT.map(|target| (target, LevelFilter::OFF)))
}

/// The layer that exports `tracing` spans of level `info` and above, with their events, through
/// `provider`.
pub(crate) fn span_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("remit"))
        // Source lines, thread names and idle times cost on every poll of every span, and nobody
        // looks for them in a trace.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(ours(LevelFilter::INFO))
}

/// The layer that exports log lines through `provider`: those that `filter` lets pass, with the
/// trace and the span that they belong to.
pub(crate) fn line_layer<S, F>(provider: &SdkLoggerProvider, filter: F) -> impl Layer<S> + use<S, F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    F: Filter<S> + Send + Sync + 'static,
{
    OpenTelemetryTracingBridge::new(provider).with_filter(filter.and(ours(LevelFilter::TRACE)))
}
