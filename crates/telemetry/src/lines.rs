//! Log lines on stderr, which leaves stdout to a command's output. A line of a traced request says
//! which trace and span it belongs to, so that one leads to the other.

use std::{fmt, io::IsTerminal as _};

use opentelemetry::{Context, trace::TraceContextExt as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer, Registry,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{self, Writer},
        layer,
    },
    registry::LookupSpan,
};

use crate::Format;

/// The layer that writes log lines.
pub(crate) fn stderr(format: Format) -> Box<dyn Layer<Registry> + Send + Sync> {
    written(format, wants_colour(), std::io::stderr)
}

fn written<W>(format: Format, ansi: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    match format {
        Format::Text => layer()
            .with_writer(writer)
            .with_ansi(ansi)
            .event_format(Traced {
                inner: format::format(),
                is_json: false,
            })
            .boxed(),
        Format::Json => layer()
            .json()
            .with_writer(writer)
            .event_format(Traced {
                inner: format::format().json().flatten_event(true),
                is_json: true,
            })
            .boxed(),
    }
}

/// Whether to use colours: only on a terminal, and unless `NO_COLOR` is set (no-color.org).
fn wants_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A format whose lines also have `trace_id` and `span_id`, named as in OpenTelemetry's log model.
struct Traced<F> {
    inner: F,
    /// Whether a line is a JSON object, or words.
    is_json: bool,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some((trace, span)) = current() else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        let own = Writer::new(&mut line);
        self.inner.format_event(context, own, event)?;
        match (self.is_json, line.strip_prefix('{')) {
            (true, Some(rest)) => write!(writer, r#"{{"trace_id":"{trace}","span_id":"{span}",{rest}"#),
            _ => writeln!(
                writer,
                "{} trace_id={trace} span_id={span}",
                line.trim_end_matches('\n')
            ),
        }
    }
}

/// Trace and span of what runs on this thread now.
fn current() -> Option<(String, String)> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_valid()
            .then(|| (span.trace_id().to_string(), span.span_id().to_string()))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A line written in a traced span, and one outside; and the span's `traceparent`.
    fn lines(format: Format) -> (String, [String; 2]) {
        let kept = Written::default();
        let writer = kept.clone();
        let provider = SdkTracerProvider::builder().build();
        let subscriber = tracing_subscriber::registry()
            .with(written(format, false, move || writer.clone()))
            .with(crate::export::span_layer(&provider));
        let mut traceparent = String::new();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("submit").in_scope(|| {
                traceparent = crate::traceparent();
                tracing::info!(answer = 42, "inside");
            });
            tracing::info!("outside");
        });
        let text = String::from_utf8(std::mem::take(&mut *kept.0.lock().unwrap())).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        (traceparent, [lines.next().unwrap(), lines.next().unwrap()])
    }

    #[test]
    fn a_line_of_a_traced_request_names_trace_and_span() {
        let (traceparent, [inside, outside]) = lines(Format::Text);
        let parts: Vec<_> = traceparent.split('-').collect();
        let expected = format!(" trace_id={} span_id={}", parts[1], parts[2]);
        assert!(inside.ends_with(&expected) && inside.contains("answer=42"), "{inside}");
        assert!(outside.ends_with("outside"), "{outside}");
    }

    #[test]
    fn a_json_line_has_them_as_fields() {
        let (traceparent, [inside, outside]) = lines(Format::Json);
        let parts: Vec<_> = traceparent.split('-').collect();
        let line: serde_json::Value = serde_json::from_str(&inside).unwrap();
        assert_eq!(
            (&line["trace_id"], &line["span_id"]),
            (&parts[1].into(), &parts[2].into())
        );
        assert_eq!((&line["answer"], &line["message"]), (&42.into(), &"inside".into()));
        let line: serde_json::Value = serde_json::from_str(&outside).unwrap();
        assert!(line.get("trace_id").is_none(), "{outside}");
    }
}
