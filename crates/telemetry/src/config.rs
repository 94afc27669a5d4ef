//! Configuration of logs and traces.

use serde::{Deserialize, Serialize};

/// Logs and traces of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// URL of an OTLP collector that speaks gRPC, such as `http://collector:4317`. Unset or empty:
    /// no traces. The empty string lets an environment variable switch off what a file enables.
    ///
    /// The standard variable `OTEL_TRACES_SAMPLER` sets the sampling rate; all traces by default.
    pub endpoint: Option<String>,
    /// Format of log lines.
    pub format: Format,
    /// Filter of log lines, as `tracing` directives: `info`, `warn,routing=debug`. Traces are not
    /// affected.
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
            format: Format::default(),
            filter: "info".to_owned(),
        }
    }
}

impl Config {
    /// The endpoint, if traces are enabled.
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
                format: Format::Text,
                filter: "info".to_owned()
            }
        );
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = serde_json::from_str::<Config>(r#"{"endpiont": "http://localhost:4317"}"#).unwrap_err();
        assert!(error.to_string().contains("endpiont"), "{error}");
    }

    #[test]
    fn an_empty_endpoint_switches_traces_off() {
        let config: Config = serde_json::from_str(r#"{"endpoint": "", "format": "json"}"#).unwrap();
        assert_eq!(config.endpoint(), None);
        assert_eq!(config.format, Format::Json);
    }
}
