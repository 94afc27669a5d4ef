//! Metrics: what crates measure, and the process's readers of it.
//!
//! A crate declares its instruments in one place, with [`instruments!`](crate::instruments), and
//! measures through them: `Instruments::get().commands.record(8.0, (service,))`. Names of metrics
//! occur nowhere else. The same declarations are printed into `docs/metrics.md`.
//!
//! * `label.rs`: labels and their values.
//! * `instrument.rs`: the kinds of instruments, and how one is declared.
//! * `runtime.rs`: what the process itself measures.
//! * this file: the readers.
//!
//! # Invariants
//!
//! * The number of time series is bounded by construction: a value of a label is one of a closed
//!   set or of a [`Known`] one, never text from a request. Agencies, systems and records are no
//!   labels.
//! * Measuring never waits: it is arithmetic in memory, whatever the collector and the scraper do.
//! * What is read on a scrape was computed before, by the tick that had the number anyway. An age
//!   grows by itself from there, so that a tick that hangs shows as an age, not as health.

mod instrument;
mod label;
mod runtime;

use std::sync::{LazyLock, OnceLock};

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};

#[doc(hidden)]
pub use instrument::buckets;
pub use instrument::{Counter, Description, Histogram, Instrument, Kind, Level, Shape, Total};
pub use label::{Known, Label, LabelInfo, Labels, SERVICES, Service, Values};
pub use runtime::Instruments as RuntimeInstruments;

/// Content type of [`text`].
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Boundaries for durations in seconds, from a commit's to a day's lag.
pub const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0,
];
/// Boundaries for durations in seconds, from a minute's to a month's: what agencies take.
pub const DEADLINES: &[f64] = &[
    60.0,
    600.0,
    1_800.0,
    3_600.0,
    14_400.0,
    43_200.0,
    86_400.0,
    172_800.0,
    259_200.0,
    604_800.0,
    1_296_000.0,
    2_592_000.0,
];
/// Boundaries for the sizes of batches.
pub const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What reads the process's metrics. There is one for the life of the process, also before and
/// without [`init`](crate::init).
struct Readers {
    provider: SdkMeterProvider,
    scraped: prometheus::Registry,
}

static READERS: OnceLock<Readers> = OnceLock::new();

impl Readers {
    fn new(resource: Resource, exporter: Option<MetricExporter>) -> Self {
        let scraped = prometheus::Registry::new();
        let builder = SdkMeterProvider::builder().with_resource(resource);
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(scraped.clone())
            // All instruments have one scope, whose name tells nothing.
            .scope_info_enabled(false)
            .build();
        let builder = match reader {
            Ok(reader) => builder.with_reader(reader),
            // Only a registry that has this reader already refuses it, and ours is new.
            Err(error) => {
                tracing::error!(%error, "metrics cannot be scraped");
                builder
            }
        };
        let builder = match exporter {
            Some(exporter) => builder.with_periodic_exporter(exporter),
            None => builder,
        };
        Self {
            provider: builder.build(),
            scraped,
        }
    }

    fn get() -> &'static Self {
        READERS.get_or_init(|| Self::new(crate::export::resource("remit"), None))
    }
}

/// Sends metrics to a collector, too. Returns the provider to shut down at the end; `None` if
/// something was measured before.
pub(crate) fn export(resource: Resource, exporter: MetricExporter) -> Option<SdkMeterProvider> {
    let mut provider = None;
    READERS.get_or_init(|| {
        let readers = Readers::new(resource, Some(exporter));
        provider = Some(readers.provider.clone());
        readers
    });
    provider
}

/// The meter of all instruments.
#[doc(hidden)]
pub fn meter() -> &'static Meter {
    static METER: LazyLock<Meter> = LazyLock::new(|| Readers::get().provider.meter("remit"));
    &METER
}

/// All metrics in Prometheus' text format, whose content type is [`TEXT`].
///
/// # Errors
///
/// The reason, if they cannot be written.
pub fn text() -> Result<String, String> {
    RuntimeInstruments::watch();
    prometheus::TextEncoder::new()
        .encode_to_string(&Readers::get().scraped.gather())
        .map_err(|error| error.to_string())
}

/// Declarations as a Markdown table, for `docs/metrics.md`.
#[must_use]
pub fn markdown(instruments: &[Description]) -> String {
    let mut text =
        "| metric | in Prometheus | kind | unit | labels | what it tells |\n|---|---|---|---|---|---|\n".to_owned();
    for instrument in instruments {
        let labels: Vec<_> = instrument
            .labels
            .iter()
            .map(|label| format!("`{}`", label.key))
            .collect();
        text.push_str(&format!(
            "| `{}` | `{}` | {} | `{}` | {} | {} |\n",
            instrument.name,
            instrument.prometheus_name(),
            instrument.kind,
            instrument.unit,
            labels.join(", "),
            instrument.description(),
        ));
    }
    text
}

/// The labels of all these, with their values, as a Markdown table.
#[must_use]
pub fn markdown_labels(instruments: &[Description]) -> String {
    let mut labels: Vec<_> = instruments.iter().flat_map(|instrument| instrument.labels).collect();
    labels.sort_by_key(|label| label.key);
    labels.dedup_by_key(|label| label.key);
    let mut text = "| label | in Prometheus | values |\n|---|---|---|\n".to_owned();
    for label in labels {
        let values = match label.values {
            Values::Of(values) => values()
                .iter()
                .map(|value| format!("`{value}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Values::AtMost(most, what) => format!("{what}; at most {most}, others are `{}`", crate::conventions::OTHER),
        };
        text.push_str(&format!(
            "| `{}` | `{}` | {values} |\n",
            label.key,
            label.key.replace('.', "_")
        ));
    }
    text
}

#[cfg(test)]
mod tests;
