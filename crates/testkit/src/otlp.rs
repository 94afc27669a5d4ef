//! An in-process trace collector, to see what a process under test really sends.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// An OTLP gRPC receiver on a free loopback port. Keeps every span until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    endpoint: String,
    spans: watch::Receiver<Vec<Span>>,
    _server: AbortOnDropHandle<Result<(), tonic::transport::Error>>,
}

/// The expected spans did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("not among the {} spans received within {waited:?}: {}", received.len(), received.join(", "))]
pub struct NotReceived {
    /// How long the test waited.
    pub waited: Duration,
    /// Names of the received spans.
    pub received: Vec<String>,
}

impl Receiver {
    /// Starts receiving. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (keep, spans) = watch::channel(Vec::new());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Collector { spans: keep }))
            .serve_with_incoming(TcpIncoming::from(listener));
        Ok(Self {
            endpoint,
            spans,
            _server: AbortOnDropHandle::new(tokio::spawn(server)),
        })
    }

    /// The OTLP endpoint to configure: `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans received so far, in order of arrival: a span is sent when it ends, so children
    /// come before parents.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.borrow().clone()
    }

    /// Waits until `find` returns something for the received spans, and returns that.
    ///
    /// # Errors
    ///
    /// [`NotReceived`] on timeout.
    pub async fn wait_for<T>(
        &self,
        mut find: impl FnMut(&[Span]) -> Option<T>,
        timeout: Duration,
    ) -> Result<T, NotReceived> {
        let mut spans = self.spans.clone();
        let mut found = None;
        let looked = spans.wait_for(|spans| {
            found = find(spans);
            found.is_some()
        });
        // A timeout or the server's end is not a match; only `found` counts.
        let _ = tokio::time::timeout(timeout, looked).await;
        found.ok_or_else(|| NotReceived {
            waited: timeout,
            received: self.spans.borrow().iter().map(|span| span.name.clone()).collect(),
        })
    }
}

/// A received span. Ids are lower-case hexadecimal, as in a `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    name: String,
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    service_name: String,
    attributes: Vec<(String, String)>,
}

impl Span {
    /// Name of the span.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of its trace.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// Id of the span.
    #[must_use]
    pub fn span_id(&self) -> &str {
        &self.span_id
    }

    /// Id of its parent; empty for the root of a trace.
    #[must_use]
    pub fn parent_span_id(&self) -> &str {
        &self.parent_span_id
    }

    /// The `service.name` of the sending process.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// Its scalar attributes as text; lists, maps and bytes are omitted.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of one attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes().find(|(own, _)| *own == key).map(|(_, value)| value)
    }
}

/// The gRPC service behind a [`Receiver`].
struct Collector {
    spans: watch::Sender<Vec<Span>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = Vec::new();
        for from_process in request.into_inner().resource_spans {
            let resource = readable(from_process.resource.unwrap_or_default().attributes);
            let service_name = resource
                .into_iter()
                .find(|(key, _)| key == "service.name")
                .map(|(_, value)| value)
                .unwrap_or_default();
            received.extend(
                from_process
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans)
                    .map(|span| Span {
                        name: span.name,
                        trace_id: hex(&span.trace_id),
                        span_id: hex(&span.span_id),
                        parent_span_id: hex(&span.parent_span_id),
                        service_name: service_name.clone(),
                        attributes: readable(span.attributes),
                    }),
            );
        }
        self.spans.send_modify(|spans| spans.extend(received));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Scalar attributes as text.
fn readable(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    attributes
        .into_iter()
        .filter_map(|KeyValue { key, value, .. }| {
            let value = match value?.value? {
                Value::StringValue(text) => text,
                Value::BoolValue(truth) => truth.to_string(),
                Value::IntValue(number) => number.to_string(),
                Value::DoubleValue(number) => number.to_string(),
                _ => return None,
            };
            Some((key, value))
        })
        .collect()
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
