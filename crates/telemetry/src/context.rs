//! Trace context across a hop: a request to another service, or an event stored now and delivered
//! later.
//!
//! The format is `traceparent` of W3C Trace Context (<https://www.w3.org/TR/trace-context/>),
//! version 00. `tracestate` is not propagated: it is vendor-specific, and callers could fill the
//! column at will.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header name, and the only key in a [`Carrier`].
const TRACEPARENT: &str = "traceparent";

/// Returns the W3C `traceparent` of the innermost traced span entered on this thread.
///
/// Empty if nothing is traced or the trace is not sampled. Does not allocate then, so it is cheap
/// to call for every event.
#[must_use]
pub fn traceparent() -> String {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        if span.is_valid() && span.is_sampled() {
            format!("00-{}-{}-01", span.trace_id(), span.span_id())
        } else {
            String::new()
        }
    })
}

/// Makes `span` a child of the span in `traceparent`, in the same trace.
///
/// Call it before `span` is first entered: a running span keeps its parent. Does nothing if
/// `traceparent` is empty or malformed (it comes from strangers, and the specification requires
/// this) or if `span` is not traced.
pub fn continue_from(span: &tracing::Span, traceparent: &str) {
    if traceparent.is_empty() || span.is_disabled() {
        return;
    }
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(traceparent));
    if parent.has_active_span() {
        // Fails only in the cases listed above, in which there is nothing to continue.
        let _ = span.set_parent(parent);
    }
}

/// A single `traceparent` as the propagator's input.
struct Carrier<'a>(&'a str);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::SpanId;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// An exporter that stores its spans.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    /// Runs `body` traced with `sampler` and returns the ended spans, in the order they ended.
    fn traced(sampler: Sampler, body: impl FnOnce()) -> Vec<SpanData> {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_simple_exporter(kept.clone())
            .build();
        let subscriber = tracing_subscriber::registry().with(crate::export::span_layer(&provider));
        tracing::subscriber::with_default(subscriber, body);
        std::mem::take(&mut kept.0.lock().unwrap())
    }

    /// A traceparent as another service would send it.
    const STRANGER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_span_continued_across_a_hop_shares_the_trace_and_names_its_parent() {
        let mut carried = String::new();
        let spans = traced(Sampler::AlwaysOn, || {
            info_span!("submit").in_scope(|| carried = traceparent());
            // The submitting span has ended and another is open: only the stored string leads back.
            info_span!("unrelated").in_scope(|| {
                let route = info_span!("route");
                continue_from(&route, &carried);
                route.in_scope(|| {});
            });
        });
        let [submit, route, unrelated] = &spans[..] else {
            panic!("{spans:?}")
        };
        let sent = &submit.span_context;
        assert_eq!(carried, format!("00-{}-{}-01", sent.trace_id(), sent.span_id()));
        assert_eq!(route.span_context.trace_id(), sent.trace_id());
        assert_eq!(route.parent_span_id, sent.span_id());
        assert_ne!(unrelated.span_context.trace_id(), sent.trace_id());
    }

    #[test]
    fn an_external_trace_is_continued() {
        let spans = traced(Sampler::AlwaysOn, || {
            let span = info_span!("submit");
            continue_from(&span, STRANGER);
            span.in_scope(|| assert_eq!(traceparent()[..35], STRANGER[..35]));
        });
        assert_eq!(spans[0].parent_span_id.to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn a_malformed_traceparent_is_ignored() {
        for malformed in [
            "",
            "nonsense",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-é-ü-01",
        ] {
            let spans = traced(Sampler::AlwaysOn, || {
                let span = info_span!("submit");
                continue_from(&span, malformed);
                span.in_scope(|| {});
            });
            assert_eq!(spans.len(), 1, "{malformed}");
            assert_eq!(spans[0].parent_span_id, SpanId::INVALID, "{malformed}");
        }
    }

    #[test]
    fn an_untraced_span_passes_on_its_parent() {
        let spans = traced(Sampler::AlwaysOn, || {
            info_span!("submit").in_scope(|| {
                let around = traceparent();
                tracing::debug_span!("detail").in_scope(|| assert_eq!(traceparent(), around));
            });
        });
        assert_eq!(spans.len(), 1);
    }

    #[test]
    fn untraced_code_has_no_traceparent() {
        assert_eq!(traceparent(), "");
        info_span!("submit").in_scope(|| assert_eq!(traceparent(), ""));
        traced(Sampler::AlwaysOff, || {
            info_span!("submit").in_scope(|| assert_eq!(traceparent(), ""));
        });
        let unsampled = STRANGER.replace("-01", "-00");
        let spans = traced(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)), || {
            let span = info_span!("submit");
            continue_from(&span, &unsampled);
            span.in_scope(|| assert_eq!(traceparent(), ""));
        });
        assert!(spans.is_empty(), "the caller's decision not to sample is respected");
    }

    #[test]
    fn export_traffic_is_not_traced() {
        let spans = traced(Sampler::AlwaysOn, || {
            info_span!(target: "h2::client", "send").in_scope(|| {});
            info_span!(target: "tonic::transport", "send").in_scope(|| {});
        });
        assert!(spans.is_empty(), "{spans:?}");
    }
}
