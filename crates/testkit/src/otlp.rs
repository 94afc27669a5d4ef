//! A collector of traces in the test's own process, to see what a process under test really sends.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// An OTLP gRPC receiver on a free loopback port, which keeps every span until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    endpoint: String,
    spans: watch::Receiver<Vec<Span>>,
    _server: AbortOnDropHandle<Result<(), tonic::transport::Error>>,
}

/// What was looked for did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("not among the {} spans received within {waited:?}: {}", received.len(), received.join(", "))]
pub struct NotReceived {
    /// How long was waited.
    pub waited: Duration,
    /// The names of the spans that did come.
    pub received: Vec<String>,
}

impl Receiver {
    /// Starts receiving. Must be called in a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When no port can be had.
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

    /// What to configure as the OTLP endpoint: `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans received so far, in the order they came: a span comes when it ends, so children before parents.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.borrow().clone()
    }

    /// Waits until `find` finds what it looks for among all the spans received, and returns that.
    ///
    /// # Errors
    ///
    /// [`NotReceived`] when it did not within `timeout`.
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
        // Neither the time running out nor the server's end is a find; what counts is whether there was one.
        let _ = tokio::time::timeout(timeout, looked).await;
        found.ok_or_else(|| NotReceived {
            waited: timeout,
            received: self.spans.borrow().iter().map(|span| span.name.clone()).collect(),
        })
    }
}

/// A span as it was received. Ids are lower-case hexadecimal, as in a `traceparent`.
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
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// Its own id.
    #[must_use]
    pub fn span_id(&self) -> &str {
        &self.span_id
    }

    /// The span it is a child of; empty for the root of a trace.
    #[must_use]
    pub fn parent_span_id(&self) -> &str {
        &self.parent_span_id
    }

    /// The `service.name` of the process that sent it.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// Its attributes, scalars in their usual notation (lists, maps and bytes are left out).
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// One attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes().find(|(own, _)| *own == key).map(|(_, value)| value)
    }
}

/// The service behind a [`Receiver`].
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
