//! An in-process collector, to see what a process under test really sends; and one that hangs.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// An OTLP gRPC receiver on a free loopback port. Keeps everything until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    endpoint: String,
    spans: watch::Receiver<Vec<Span>>,
    lines: watch::Receiver<Vec<Line>>,
    metrics: watch::Receiver<Vec<String>>,
    /// All requests as they came.
    all: Arc<Mutex<String>>,
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
        let (keep_spans, spans) = watch::channel(Vec::new());
        let (keep_lines, lines) = watch::channel(Vec::new());
        let (keep_metrics, metrics) = watch::channel(Vec::new());
        let all = Arc::default();
        let collector = Collector {
            spans: keep_spans,
            lines: keep_lines,
            metrics: keep_metrics,
            all: Arc::clone(&all),
        };
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(LogsServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector))
            .serve_with_incoming(TcpIncoming::from(listener));
        Ok(Self {
            endpoint,
            spans,
            lines,
            metrics,
            all,
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

    /// The log lines received so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.lines.borrow().clone()
    }

    /// Names of the metrics received so far, each as often as it came.
    #[must_use]
    pub fn metrics(&self) -> Vec<String> {
        self.metrics.borrow().clone()
    }

    /// Everything received so far as text, to look for what must not be in it.
    #[must_use]
    pub fn text(&self) -> String {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// A received log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its message.
    pub message: String,
    /// Id of the trace that it belongs to; empty for none.
    pub trace_id: String,
    /// Id of the span; empty for none.
    pub span_id: String,
}

/// A collector that accepts connections and never answers.
#[derive(Debug)]
pub struct Hanging {
    endpoint: String,
    accepted: watch::Receiver<usize>,
    _server: AbortOnDropHandle<()>,
}

impl Hanging {
    /// Starts accepting. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (count, accepted) = watch::channel(0);
        let server = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
                count.send_replace(open.len());
            }
        });
        Ok(Self {
            endpoint,
            accepted,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// The OTLP endpoint to configure: `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Waits until a process has connected.
    pub async fn connected(&self) {
        // Fails only once nothing is accepted any more.
        let _ = self.accepted.clone().wait_for(|accepted| *accepted > 0).await;
    }
}

/// The gRPC services behind a [`Receiver`].
#[derive(Clone)]
struct Collector {
    spans: watch::Sender<Vec<Span>>,
    lines: watch::Sender<Vec<Line>>,
    metrics: watch::Sender<Vec<String>>,
    all: Arc<Mutex<String>>,
}

impl Collector {
    fn keep(&self, request: &impl std::fmt::Debug) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_str(&format!("{request:?}\n"));
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let request = request.into_inner();
        self.keep(&request);
        let scopes = request.resource_logs.into_iter().flat_map(|from| from.scope_logs);
        let lines = scopes.flat_map(|scope| scope.log_records).map(|line| Line {
            message: match line.body.and_then(|body| body.value) {
                Some(Value::StringValue(text)) => text,
                _ => String::new(),
            },
            trace_id: hex(&line.trace_id),
            span_id: hex(&line.span_id),
        });
        self.lines.send_modify(|kept| kept.extend(lines));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let request = request.into_inner();
        self.keep(&request);
        let scopes = request.resource_metrics.into_iter().flat_map(|from| from.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.metrics.send_modify(|kept| kept.extend(names));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        self.keep(&request);
        let mut received = Vec::new();
        for from_process in request.resource_spans {
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
