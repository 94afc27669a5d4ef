//! The admin listener of a process: metrics for Prometheus and health over HTTP, for those who run
//! it. Nothing on it tells content, but it asks nobody who he is: it belongs on an address that
//! only they reach.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport;

use crate::{
    Limits,
    connections::{self, Connections, Speaks},
};

/// Connections, and requests of one that are answered at once; a scraper has one of each.
const CONNECTIONS: usize = 32;
const AT_ONCE: u32 = 4;

/// Whether a service can work, as its health says.
#[derive(Clone)]
pub struct Serving(Arc<AtomicBool>, &'static str);

impl Serving {
    /// Of a service that cannot work yet.
    #[must_use]
    pub fn of(service: &'static str) -> Self {
        Self(Arc::default(), service)
    }

    pub(crate) fn set(&self, can: bool) {
        self.0.store(can, Ordering::Relaxed);
        crate::metrics::serving(self.1, Some(can));
    }

    pub(crate) fn stopped(&self) {
        self.0.store(false, Ordering::Relaxed);
        crate::metrics::serving(self.1, None);
    }

    /// Whether it can work.
    #[must_use]
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serving({}: {})", self.1, self.is())
    }
}

/// Serves `/metrics` and `/healthz` on `listener` until `shutdown`.
///
/// # Errors
///
/// If the listener cannot be served on.
pub async fn serve(
    listener: TcpListener,
    services: Vec<Serving>,
    shutdown: CancellationToken,
) -> Result<(), transport::Error> {
    let router = Router::new()
        .route("/metrics", get(async || metrics()))
        .route("/healthz", get(async move || health(&services)))
        .fallback(async || plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n".to_owned()));
    // A scraper's connection stays open between scrapes; nothing on it is worth waiting for.
    let grace = Duration::from_millis(100);
    let limits = Limits {
        streams_per_connection: AT_ONCE,
        ..Limits::default().with_connections(CONNECTIONS)
    };
    let open = Connections::new("admin", limits);
    let speaks = Speaks { http1: true, tls: None };
    connections::serve(listener, open, speaks, router, shutdown, grace).await;
    Ok(())
}

/// In Prometheus' text format, whatever the scraper would like: it is what all of them read.
fn metrics() -> Response {
    match telemetry::metrics::text() {
        Ok(text) => ([(header::CONTENT_TYPE, telemetry::metrics::TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(error, "metrics cannot be written");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "metrics cannot be written; the log says why\n".to_owned(),
            )
        }
    }
}

/// 200 when every service can work, otherwise 503 with those that cannot.
fn health(services: &[Serving]) -> Response {
    let cannot: Vec<_> = services
        .iter()
        .filter(|serving| !serving.is())
        .map(|serving| serving.1)
        .collect();
    match cannot.is_empty() {
        true => plain(StatusCode::OK, "serving\n".to_owned()),
        false => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not serving: {}\n", cannot.join(", ")),
        ),
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};

    use super::*;

    /// Status, content type and text of an answer.
    async fn ask(address: &str, path: &str, accept: &str) -> (StatusCode, String, String) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let request = http::Request::get(format!("http://{address}{path}")).header(header::ACCEPT, accept);
        let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let kind = head
            .headers
            .get(header::CONTENT_TYPE)
            .map(|kind| kind.to_str().unwrap().to_owned());
        (
            head.status,
            kind.unwrap_or_default(),
            String::from_utf8(text.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn metrics_are_scraped_and_health_follows_the_services() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = CancellationToken::new();
        let (intake, audit) = (Serving::of("intake"), Serving::of("audit"));
        let serving = tokio::spawn(serve(listener, vec![intake.clone(), audit.clone()], shutdown.clone()));
        intake.set(true);
        let absurd = "a".repeat(4_000);
        for accept in [
            "*/*",
            "application/openmetrics-text;version=1.0.0",
            "text/html",
            "q=;;,\u{7f}",
            &absurd,
        ] {
            let accept = accept.replace('\u{7f}', "");
            let (status, kind, text) = ask(&address, "/metrics", &accept).await;
            assert_eq!(
                (status, kind.as_str()),
                (StatusCode::OK, telemetry::metrics::TEXT),
                "{accept}"
            );
            assert!(
                text.contains("remit_service_serving{remit_service=\"intake\"} 1\n"),
                "{text}"
            );
        }
        let (status, _, text) = ask(&address, "/healthz", "*/*").await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "not serving: audit\n")
        );
        audit.set(true);
        let (status, _, text) = ask(&address, "/healthz", "*/*").await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "serving\n"));
        intake.set(false);
        assert_eq!(
            ask(&address, "/healthz", "*/*").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(ask(&address, "/", "*/*").await.0, StatusCode::NOT_FOUND);
        intake.stopped();
        let (_, _, text) = ask(&address, "/metrics", "*/*").await;
        assert!(
            !text.contains("remit_service_serving{remit_service=\"intake\"}"),
            "{text}"
        );
        shutdown.cancel();
        serving.await.unwrap().unwrap();
    }
}
