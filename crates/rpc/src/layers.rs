//! What a request meets on its way in, one function each; [`Gated`] has their order.
//!
//! * `layers/identified.rs`: who calls.
//! * `layers/share.rs`: its caller's share.
//! * `layers/access.rs`: whether it may.
//! * `layers/explained.rs`: words for errors that have none.

mod access;
mod explained;
mod identified;
mod share;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use api::{
    cost::{PURSE, Purse},
    error::ErrorReason,
};
use axum::{body::Body, extract::Request, response::Response};
use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use telemetry::conventions;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};
use tracing::Instrument as _;

#[cfg(test)]
pub(crate) use self::explained::REASONS;
pub(crate) use self::{
    access::{Access, UnreadTokens},
    share::Held,
};
use self::{
    explained::explain,
    identified::{Prepared, certificate},
};
use crate::{
    Authenticate, DOMAIN, Failure, Limits,
    access::{Method, Methods},
    connections::Link,
    failure, metadata,
    metrics::{self, Call},
    paced::Leaving,
    refusals::Refusals,
    shares::Shares,
};

/// What every request meets before it is asked who sent it.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) service: &'static str,
    pub(crate) limits: Limits,
    pub(crate) methods: Arc<Methods>,
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) shares: Arc<Shares>,
    pub(crate) refusals: Arc<Refusals>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        let gate = self.clone();
        Gated { gate, inner }
    }
}

/// A service behind the [`Gate`].
#[derive(Clone, Debug)]
pub(crate) struct Gated<S> {
    gate: Gate,
    inner: S,
}

/// The stack, top to bottom in the order in which a request meets it. One layer, because every
/// layer that axum puts around others copies them for each request.
impl<S> Service<Request> for Gated<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if let Some(missing) = self.gate.prepare(&request) {
            // Routers are always ready, so a copy is.
            let mut this = self.clone();
            let method = self.gate.methods.get(request.uri().path());
            // What cannot be read of the deadline is refused below.
            let longest = deadline(self.gate.limits, method, &request).unwrap_or_default();
            return async move {
                let begun = Instant::now();
                let _ = tokio::time::timeout(longest, missing).await;
                request.extensions_mut().insert(Prepared(begun));
                this.call(request).await
            }
            .boxed();
        }
        let limits = self.gate.limits;
        // Outermost, so that refusals are in the trace too.
        let method = self.gate.methods.get(request.uri().path());
        let span = trace(self.gate.service, method, &request);
        let is_grpc = is_grpc(&request);
        let is_measured = is_grpc && !method.is_some_and(Method::is_public);
        let measured = is_measured.then(|| Call::received(self.gate.service, request.uri().path()));
        let token = request.headers().get(http::header::AUTHORIZATION).cloned();
        let refusals = Arc::clone(&self.gate.refusals);
        let link = request.extensions().get::<Arc<Link>>().cloned();
        let shown = certificate(&request);
        // Every call would be refused that comes on it, and a new one may have a new certificate.
        if let (Some(link), Some(shown)) = (&link, &shown)
            && !self.gate.authenticate.believes(shown)
        {
            link.leave();
        }
        let busy = link.as_ref().map(Link::busy);
        let admitted = readable(&request)
            .and_then(|()| uncompressed(&request))
            .and_then(|()| self.gate.share(method, link.as_ref(), &mut request))
            .and_then(|share| Ok((share, deadline(limits, method, &request)?)));
        let service = self.gate.service;
        let answer = match admitted {
            Ok((share, deadline)) => {
                let lease = share.account.lease();
                let purse: Arc<dyn Purse> = Arc::clone(&lease) as _;
                let request = share.paced(limits, &lease, request);
                let answer = PURSE.scope(purse, self.inner.call(request));
                async move {
                    let response = match tokio::time::timeout(deadline, answer).await {
                        Ok(Ok(response)) if is_grpc => explain(limits, response),
                        Ok(Ok(response)) => response,
                        Err(_) => late(Failure::DeadlineExceeded).respond(is_grpc),
                    };
                    refusals.note(method, &response, token.as_ref(), shown.as_deref());
                    let pace = (limits.stall, limits.bytes_per_second);
                    let (open, permit) = share.open(limits, lease);
                    let held = (permit, busy);
                    let response = response.map(|body| Body::new(Leaving::new(body, pace, service, open, held)));
                    // Outside, so that what a limit ends is measured as it ended.
                    Ok(measure(measured, response))
                }
                .boxed()
            }
            Err(rejection) => {
                let response = rejection.respond(is_grpc);
                refusals.note(method, &response, token.as_ref(), shown.as_deref());
                ready(Ok(measure(measured, response))).boxed()
            }
        };
        match span {
            Some(span) => answer.instrument(span).boxed(),
            None => answer,
        }
    }
}

/// A request that is turned away: the failure for gRPC clients, the text for other HTTP clients.
enum Rejection {
    Refused(Failure, &'static str),
    /// The encoding of its messages.
    Compressed(&'static str),
}

impl Rejection {
    fn respond(self, is_grpc: bool) -> Response {
        match (self, is_grpc) {
            (Self::Refused(failure, _), true) => refuse(failure),
            (Self::Refused(_, text), false) => refuse_plainly(text),
            (Self::Compressed(encoding), _) => refuse_compressed(encoding),
        }
    }
}

/// Measures a call to the end of its answer.
fn measure(call: Option<Call>, response: Response) -> Response {
    match call {
        Some(call) => call.answered(response).map(Body::new),
        None => response,
    }
}

/// Continues the caller's trace, so that one trace runs through all services.
fn trace(service: &'static str, method: Option<&Method>, request: &Request) -> Option<tracing::Span> {
    // Health and reflection are asked all the time, and tell nothing.
    if !telemetry::enabled() || !is_grpc(request) || method.is_some_and(Method::is_public) {
        return None;
    }
    // Not the path itself, in which a stranger may write anything.
    let method = metrics::method(request.uri().path());
    let span = tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "server",
        { conventions::RPC_SYSTEM } = conventions::GRPC,
        { conventions::RPC_METHOD } = method,
        { telemetry::SERVICE } = service
    );
    if let Some(parent) = metadata::traceparent(request.headers()) {
        telemetry::continue_from(&span, parent);
    }
    Some(span)
}

/// Refuses metadata that would have to be guessed at.
fn readable(request: &Request) -> Result<(), Rejection> {
    match is_grpc(request) {
        true => metadata::check(request.headers())
            .map_err(|failure| Rejection::Refused(failure, "the headers of the request cannot be read")),
        false => Ok(()),
    }
}

/// Refuses compressed requests by name. What they inflate to would have to be bounded for each of a
/// stream's messages, and texts of a few kilobytes gain little.
fn uncompressed(request: &Request) -> Result<(), Rejection> {
    let encoding = request.headers().get("grpc-encoding").map(http::HeaderValue::as_bytes);
    match encoding {
        None | Some(b"identity") => Ok(()),
        Some(_) if !is_grpc(request) => Ok(()),
        Some(b"gzip") => Err(Rejection::Compressed("gzip")),
        Some(b"deflate") => Err(Rejection::Compressed("deflate")),
        Some(b"zstd") => Err(Rejection::Compressed("zstd")),
        Some(b"snappy") => Err(Rejection::Compressed("snappy")),
        Some(_) => Err(Rejection::Compressed("another encoding")),
    }
}

/// As gRPC's specification of compression asks: `UNIMPLEMENTED`, with what is accepted.
fn refuse_compressed(encoding: &str) -> Response {
    let mut details = ErrorDetails::new();
    let metadata = HashMap::from([("encoding".to_owned(), encoding.to_owned())]);
    details.set_error_info(failure::reason(ErrorReason::Unimplemented), DOMAIN, metadata);
    let message = format!(
        "messages compressed with {encoding} are not accepted; send them uncompressed (grpc-encoding: identity)"
    );
    let status = Status::with_error_details(Code::Unimplemented, message, details);
    let mut response = status.into_http();
    let accepted = http::HeaderValue::from_static("identity");
    response.headers_mut().insert("grpc-accept-encoding", accepted);
    response
}

/// How long a request may take: until its deadline, or the server's own when it names none or a
/// longer one.
fn deadline(limits: Limits, method: Option<&Method>, request: &Request) -> Result<Duration, Rejection> {
    let longest = match method.is_some_and(|method| method.is_upload) {
        true => limits.upload,
        false => limits.deadline,
    };
    let deadline = match metadata::timeout(request.headers()).map_err(late)? {
        Some(timeout) => timeout.min(longest),
        None => longest,
    };
    // What was waited for to know the caller is of its time, too.
    let waited = request.extensions().get::<Prepared>();
    let deadline = deadline.saturating_sub(waited.map_or(Duration::ZERO, |Prepared(begun)| begun.elapsed()));
    if deadline.is_zero() {
        // Nothing is begun that nobody waits for.
        return Err(late(Failure::DeadlineExceeded));
    }
    // A little before the caller's own timer, whose error has no words.
    Ok(deadline.saturating_sub((deadline / 20).min(Duration::from_millis(5))))
}

fn late(failure: Failure) -> Rejection {
    Rejection::Refused(failure, "it took too long; try again")
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn open(authenticate: Arc<dyn Authenticate>) -> Gate {
        Gate {
            service: "test",
            limits: Limits::default(),
            methods: Arc::new(Methods::new(&[])),
            authenticate: Arc::clone(&authenticate),
            shares: Shares::new("test", &Limits::default()),
            refusals: Arc::new(Refusals::new("test", authenticate)),
        }
    }

    /// Sends a request with this deadline to a handler that takes an hour. Returns the answer and
    /// whether the handler was called.
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
            .layer(open(Arc::new(crate::Tokens::default())));
        let request = http::Request::post("/slow")
            .header("content-type", "application/grpc")
            .header("grpc-timeout", timeout)
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
    fn the_longest_time_is_that_of_the_method() {
        let limits = Limits::default();
        let (unary, upload) = (Method::new("Unary", &[]), Method::new("Upload", &[]).upload());
        for (method, timeout, expected) in [
            (&unary, "1M", limits.deadline),
            (&upload, "1M", Duration::from_secs(60)),
            (&upload, "99999999H", limits.upload),
        ] {
            let request = http::Request::post("/")
                .header("grpc-timeout", timeout)
                .body(Body::empty())
                .unwrap();
            let Ok(deadline) = deadline(limits, Some(method), &request) else {
                panic!("{method:?} is refused")
            };
            assert_eq!(deadline, expected - Duration::from_millis(5), "{method:?} {timeout}");
        }
    }

    /// Cannot say who calls: what knows it is gone, or takes its time.
    struct Gone;

    impl Authenticate for Gone {
        fn authenticate(&self, _: &crate::Presented<'_>) -> Option<crate::Identity> {
            None
        }

        fn prepare(&self, _: &crate::Presented<'_>) -> Option<BoxFuture<'static, ()>> {
            Some(std::future::pending().boxed())
        }

        fn undecided(&self, _: &crate::Presented<'_>) -> Option<&'static str> {
            Some("the issuer of the token")
        }
    }

    /// It is waited for as long as the caller waits; who is not known then is refused, though not
    /// as if it were known to be nobody.
    #[tokio::test(start_paused = true)]
    async fn what_says_who_calls_is_waited_for_within_the_deadline_and_missed_by_name() {
        use tower::ServiceExt as _;
        let ask = async |timeout: &str| {
            let gone: Arc<dyn Authenticate> = Arc::new(Gone);
            let router = axum::Router::new()
                .fallback(|| async {})
                .layer(Access {
                    authenticate: Arc::clone(&gone),
                    methods: Arc::new(Methods::new(&[])),
                })
                .layer(open(gone));
            let request = http::Request::post("/remit.audit.v1.AuditService/GetCheckpoint")
                .header("content-type", "application/grpc")
                .header("authorization", "Bearer a.b.c")
                .header("grpc-timeout", timeout)
                .body(Body::empty())
                .unwrap();
            let begun = Instant::now();
            let response = router.oneshot(request).await.unwrap();
            (Status::from_header_map(response.headers()).unwrap(), begun.elapsed())
        };
        for (timeout, longest) in [("200m", 200), ("99999999H", 60_000)] {
            let (status, waited) = ask(timeout).await;
            assert_eq!(status.code(), Code::Unavailable, "{timeout}: {status}");
            assert!(status.message().contains("the issuer of the token"), "{status}");
            assert!(status.get_details_retry_info().is_some());
            assert!(waited <= Duration::from_millis(longest), "{timeout}: {waited:?}");
        }
    }
}
