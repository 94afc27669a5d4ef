//! What a request meets on its way in, one function each. Their order is in `server.rs`.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue};
use tokio::sync::Semaphore;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::Instrument as _;

use crate::{Authenticate, DOMAIN, Failure};

/// What a server takes at most. Nothing is unlimited.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Requests that run at once; more are refused with `RESOURCE_EXHAUSTED`.
    pub concurrency: usize,
    /// Streams of one connection.
    pub streams_per_connection: u32,
    /// Bytes of a request's headers.
    pub header_bytes: u32,
    /// Longest time that one request may take, whatever deadline it names. Open streams are not bound by it.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 4 << 20,
            concurrency: 1_024,
            streams_per_connection: 256,
            header_bytes: 16 << 10,
            deadline: Duration::from_secs(30),
        }
    }
}

/// Continues the caller's trace, so that one trace runs through all services.
pub(crate) async fn trace(State(service): State<&'static str>, request: Request, next: Next) -> Response {
    if !telemetry::enabled() || !is_grpc(&request) || is_unauthenticated_path(request.uri().path()) {
        return next.run(request).await;
    }
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let span = tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        { telemetry::SERVICE } = service
    );
    if let Some(parent) = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
    {
        telemetry::continue_from(&span, parent);
    }
    next.run(request).instrument(span).await
}

/// Gives errors that the transport made by itself the words that every error of ours has.
pub(crate) async fn explain(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return response;
    }
    let (code, reason, message) = match status.code() {
        Code::OutOfRange => (
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            format!("the message is larger than the limit of {} bytes", limits.message_bytes),
        ),
        Code::Unimplemented => (
            Code::Unimplemented,
            "UNIMPLEMENTED",
            "this server has no such method".to_owned(),
        ),
        Code::Internal | Code::InvalidArgument => (
            Code::InvalidArgument,
            "MALFORMED_MESSAGE",
            format!("the request cannot be decoded: {}", status.message()),
        ),
        code => (code, "TRANSPORT", status.message().to_owned()),
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, std::collections::HashMap::<String, String>::new());
    Status::with_error_details(code, message, details).into_http()
}

/// Refuses at once what would have to wait: a queue that grows helps nobody.
pub(crate) async fn shed(State(running): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    // A probe that is refused for load would have a healthy process restarted, and its load fall on the others.
    if request.uri().path().starts_with("/grpc.health.v1.") {
        return next.run(request).await;
    }
    let is_grpc = is_grpc(&request);
    match running.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) if is_grpc => refuse(Failure::Overloaded),
        Err(_) => refuse_plainly("too many requests at once; try again"),
    }
}

/// Ends a request at its deadline, or at the server's own when it names none or a longer one.
pub(crate) async fn deadline(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let deadline = match timeout(request.headers()) {
        Ok(timeout) => timeout.map_or(limits.deadline, |timeout| timeout.min(limits.deadline)),
        Err(failure) => return refuse(failure),
    };
    if deadline.is_zero() {
        // Nothing is begun that nobody waits for.
        return refuse(Failure::DeadlineExceeded);
    }
    let is_grpc = is_grpc(&request);
    // A little before the transport's own timer, whose error has no words.
    let deadline = deadline.saturating_sub((deadline / 20).min(Duration::from_millis(5)));
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) if is_grpc => refuse(Failure::DeadlineExceeded),
        Err(_) => refuse_plainly("it took too long; try again"),
    }
}

/// Finds out who calls, before any service sees the request.
pub(crate) async fn authenticate(
    State(authenticate): State<Arc<dyn Authenticate>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !is_unauthenticated_path(request.uri().path()) {
        match authenticate.authenticate(request.headers()) {
            Some(identity) => request.extensions_mut().insert(identity),
            None => return refuse(Failure::Unauthenticated),
        };
    }
    next.run(request).await
}

/// Health and, where it is switched on, reflection tell nothing that needs a caller.
fn is_unauthenticated_path(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.")
}

/// Others ask for files, and do not understand a gRPC status.
fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// For those who do not speak gRPC.
fn refuse_plainly(text: &'static str) -> Response {
    use axum::response::IntoResponse as _;
    let headers = [
        (http::header::RETRY_AFTER, "1"),
        (http::header::CACHE_CONTROL, "no-store"),
    ];
    (http::StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
}

fn refuse(failure: Failure) -> Response {
    Status::from(failure).into_http::<Body>()
}

/// The deadline that a request names: `grpc-timeout`, at most eight digits and a unit. A malformed one is an error of the
/// caller, not the absence of a deadline.
fn timeout(headers: &HeaderMap<HeaderValue>) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let malformed = || {
        Failure::invalid(
            "grpc-timeout",
            "one to eight digits and a unit out of H, M, S, m, u, n, such as `500m`",
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(malformed)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|c| c.is_ascii_digit()) {
        return Err(malformed());
    }
    let number: u64 = number.parse().map_err(|_| malformed())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(malformed()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request with this deadline gets from a server that would take an hour, and whether anything was begun.
    async fn answer(timeout: &str) -> (Status, bool) {
        use std::sync::atomic::{AtomicBool, Ordering};
        use tower::ServiceExt as _;
        let begun = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&begun);
        let slow = axum::routing::post(move || async move {
            seen.store(true, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        });
        let router = axum::Router::new()
            .route("/slow", slow)
            .layer(axum::middleware::from_fn_with_state(Limits::default(), deadline));
        let request = http::Request::post("/slow")
            .header("grpc-timeout", timeout)
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        (
            Status::from_header_map(response.headers()).unwrap(),
            begun.load(Ordering::SeqCst),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_deadline_begins_nothing_and_a_running_one_ends_the_request() {
        for (timeout, code, begins) in [
            ("0n", Code::DeadlineExceeded, false),
            ("soon", Code::InvalidArgument, false),
            ("20m", Code::DeadlineExceeded, true),
            ("99999999H", Code::DeadlineExceeded, true),
        ] {
            let (status, begun) = answer(timeout).await;
            assert_eq!((status.code(), begun), (code, begins), "{timeout}");
            assert!(status.get_details_error_info().is_some(), "{timeout}");
        }
    }

    #[test]
    fn deadlines_are_read_or_refused() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().unwrap());
            timeout(&headers).map_err(|_| ())
        };
        for (value, expected) in [
            ("500m", Ok(Some(Duration::from_millis(500)))),
            ("0n", Ok(Some(Duration::ZERO))),
            ("99999999H", Ok(Some(Duration::from_secs(99_999_999 * 3_600)))),
            ("100000000S", Err(())),
            ("10", Err(())),
            ("S", Err(())),
            ("-1S", Err(())),
            ("1 S", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
        assert_eq!(timeout(&HeaderMap::new()).map_err(|_| ()), Ok(None));
    }
}
