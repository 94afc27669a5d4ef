//! Configuration of logs, traces and metrics.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Logs, traces and metrics of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// URL of an OTLP collector that speaks gRPC, such as `http://collector:4317`. Unset or empty:
    /// nothing is sent. The empty string lets an environment variable switch off what a file
    /// enables.
    ///
    /// The standard variables set how much: `OTEL_TRACES_SAMPLER` the sampling rate, all traces by
    /// default, and `OTEL_METRIC_EXPORT_INTERVAL` the milliseconds between metrics, a minute by
    /// default.
    pub endpoint: Option<String>,
    /// Whether the collector gets traces.
    pub traces: bool,
    /// Whether the collector gets metrics.
    pub metrics: bool,
    /// Whether the collector gets the log lines that `filter` lets pass, too.
    pub logs: bool,
    /// Format of log lines.
    pub format: Format,
    /// Filter of log lines, as `tracing` directives: `info`, `warn,routing=debug`. One directive is
    /// a level alone, which counts for all that the others do not name. Traces are not affected.
    pub filter: String,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            traces: true,
            metrics: true,
            logs: true,
            format: Format::default(),
            filter: "info".to_owned(),
        }
    }
}

/// The levels of log lines, from none to all.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Config {
    /// Refuses what would silence lines that nobody asked to silence: to `tracing`, a word that is
    /// no level names a crate, and a filter without a level shows nothing of the other crates.
    ///
    /// # Errors
    ///
    /// The key and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        self.parsed_filter().map(|_| ())
    }

    pub(crate) fn parsed_filter(&self) -> Result<EnvFilter, String> {
        let filter = &self.filter;
        let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
        let directives = || filter.split(',').map(str::trim);
        let levels = LEVELS.join(", ");
        for directive in directives() {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            if !is_level(level) {
                let of = if level == directive {
                    String::new()
                } else {
                    format!(" in `{directive}`")
                };
                return Err(format!(
                    "`telemetry.filter`: `{level}`{of} is no level; use one of {levels}, as in `info` or `warn,routing=debug`"
                ));
            }
        }
        if !directives().any(is_level) {
            return Err(format!(
                "`telemetry.filter`: `{filter}` would silence everything that it does not name; add a level for \
                 the rest, as in `info,{filter}`"
            ));
        }
        EnvFilter::builder()
            .parse(directives().collect::<Vec<_>>().join(","))
            .map_err(|error| format!("`telemetry.filter`: {error}"))
    }

    /// The endpoint, if there is a collector.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_default() {
        let config: Config = serde_json::from_str("{}").unwrap();
        assert_eq!(
            config,
            Config {
                endpoint: None,
                traces: true,
                metrics: true,
                logs: true,
                format: Format::Text,
                filter: "info".to_owned()
            }
        );
    }

    #[test]
    fn a_filter_that_would_silence_lines_is_refused() {
        let check = |filter: &str| {
            let filter = filter.to_owned();
            Config {
                filter,
                ..Config::default()
            }
            .check()
        };
        for good in ["info", "WARN", "off", "warn,routing=debug", " info , sqlx::query=off"] {
            check(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for (filter, expected) in [
            ("lots", "`lots` is no level"),
            ("", "`` is no level"),
            ("inof", "`inof` is no level"),
            ("info,", "`` is no level"),
            ("info,routing", "`routing` is no level"),
            ("info,routing=loud", "`loud` in `routing=loud` is no level"),
            ("info,routing=", "`` in `routing=` is no level"),
            ("routing=debug", "add a level for the rest, as in `info,routing=debug`"),
        ] {
            let error = check(filter).unwrap_err();
            assert!(
                error.starts_with("`telemetry.filter`") && error.contains(expected),
                "{filter}: {error}"
            );
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<Config>(r#"{"endpiont": "http://localhost:4317"}"#).unwrap_err();
        assert!(error.to_string().contains("endpiont"), "{error}");
    }

    #[test]
    fn an_empty_endpoint_switches_the_collector_off() {
        let config: Config = serde_json::from_str(r#"{"endpoint": "", "format": "json"}"#).unwrap();
        assert_eq!(config.endpoint(), None);
        assert_eq!(config.format, Format::Json);
    }
}
