//! What a request meets on its way in, one function each; [`Gated`] has their order.

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
    future::{BoxFuture, Either, ready},
};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use telemetry::conventions;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::{
    Authenticate, Certificate, DOMAIN, Failure, Identity, Limits, OFFICER, Officer, Presented, Proof, Role,
    access::{self, Method, Methods},
    connections::{Link, Probe},
    failure::{self, Violation},
    identity::is_admitted,
    metadata,
    metrics::{self, Call},
    paced::{Arriving, Leaving, Open},
    refusals::Refusals,
    revoked::Judge,
    shares::{Account, Lease, Permit, Shares, What},
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

/// The caller that a request's token names, as far as the gate has looked.
#[derive(Clone, Debug)]
struct Known(Option<Identity>);

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
            return async move {
                missing.await;
                request.extensions_mut().insert(Prepared);
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

/// Reasons that only errors of the transport have.
#[cfg(test)]
pub(crate) const REASONS: [ErrorReason; 4] = [
    ErrorReason::MessageTooLarge,
    ErrorReason::MalformedMessage,
    ErrorReason::Unimplemented,
    ErrorReason::Transport,
];

/// Gives every error that has none the reason that errors of ours have: those that the transport
/// and the shared services make, whether they come instead of an answer or end its stream.
fn explain(limits: Limits, response: Response) -> Response {
    if let Some(status) = without_reason(response.headers()) {
        return explained(limits, &status).into_http();
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| match frame.into_trailers() {
            Ok(trailers) => http_body::Frame::trailers(explain_trailers(limits, trailers)),
            Err(frame) => frame,
        }))
    })
}

fn explain_trailers(limits: Limits, mut trailers: HeaderMap) -> HeaderMap {
    if let Some(status) = without_reason(&trailers) {
        let mut explained_trailers = HeaderMap::new();
        // Fails only for a message that a header cannot carry; then the error goes as it is.
        if explained(limits, &status).add_header(&mut explained_trailers).is_ok() {
            trailers.extend(explained_trailers);
        }
    }
    trailers
}

/// The error in headers or trailers, when it says no reason.
fn without_reason(headers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    (status.code() != Code::Ok && status.get_details_error_info().is_none()).then_some(status)
}

fn explained(limits: Limits, status: &Status) -> Status {
    // The codec refuses texts by their fields, as methods refuse what else is wrong with them.
    if let Some(bad) = status.get_details_bad_request() {
        let violations = bad.field_violations.into_iter();
        let violations = violations.map(|bad| Violation::new(bad.field, bad.description));
        return Failure::InvalidInput(violations.collect()).into();
    }
    let limit = limits.message_bytes;
    let mut metadata = HashMap::new();
    let (code, reason, message) = match status.code() {
        Code::OutOfRange => {
            metadata.insert("limit_bytes".to_owned(), limit.to_string());
            (
                Code::InvalidArgument,
                ErrorReason::MessageTooLarge,
                format!("the message is larger than the limit of {limit} bytes"),
            )
        }
        Code::Unimplemented => (
            Code::Unimplemented,
            ErrorReason::Unimplemented,
            "this server has no such method".to_owned(),
        ),
        Code::Internal | Code::InvalidArgument => (
            Code::InvalidArgument,
            ErrorReason::MalformedMessage,
            format!("the request cannot be decoded: {}", status.message()),
        ),
        code => (code, ErrorReason::Transport, status.message().to_owned()),
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(failure::reason(reason), DOMAIN, metadata);
    Status::with_error_details(code, message, details)
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

/// The place that a request has until its answer has ended.
#[derive(Debug)]
pub(crate) enum Held {
    /// Of its caller's share.
    Share(#[expect(dead_code, reason = "kept to be dropped")] Permit),
    /// Of its connection's probes.
    Probe(#[expect(dead_code, reason = "kept to be dropped")] Option<Probe>),
}

/// What a request has of its caller's share.
struct Share {
    account: Account,
    /// None for callers without a token, who are refused at once.
    permit: Option<Held>,
    /// Whether it is a probe, whose body is a few bytes.
    is_probe: bool,
    /// Whether there is a stream in either direction.
    is_stream: bool,
    /// Whether the caller sends one.
    takes_stream: bool,
    /// Whether the sender may be silent between messages: it may wait for answers.
    may_rest: bool,
    is_service: bool,
}

/// The certificate that was shown on a request's connection.
fn certificate(request: &Request) -> Option<Arc<Certificate>> {
    request.extensions().get::<Arc<Link>>()?.certificate().cloned()
}

/// What was missing to identify the caller was waited for once.
#[derive(Clone, Copy, Debug)]
struct Prepared;

impl Gate {
    /// What has to be waited for before a caller can be identified: a key that an issuer may have.
    fn prepare(&self, request: &Request) -> Option<BoxFuture<'static, ()>> {
        if !is_grpc(request) || request.extensions().get::<Prepared>().is_some() {
            return None;
        }
        let headers = request.headers();
        self.authenticate.prepare(&Presented::headers(headers))
    }

    /// Refuses at once what would have to wait: a queue that grows helps nobody.
    fn share(
        &self,
        method: Option<&Method>,
        link: Option<&Arc<Link>>,
        request: &mut Request,
    ) -> Result<Share, Rejection> {
        let refused = |failure| Rejection::Refused(failure, "too many requests at once; try again");
        let peer = link.map(|link| link.peer());
        let is_grpc = is_grpc(request);
        let is_public = method.is_some_and(Method::is_public);
        let path = request.uri().path();
        let is_stream = is_grpc && (access::is_stream(path) || is_public);
        // A probe that is refused for the load of others would have a healthy process restarted, and
        // its load fall on the rest. So it takes nothing that others take.
        let is_probe = is_grpc && path == "/grpc.health.v1.Health/Check";
        let takes_stream = is_grpc && (access::takes_stream(path) || (is_public && !is_probe));
        let may_rest = takes_stream && !method.is_some_and(|method| method.is_upload);
        let shown = certificate(request);
        let presented = Presented {
            headers: request.headers(),
            certificate: shown.as_deref(),
        };
        let caller = match is_grpc && !is_public {
            true => self.authenticate.authenticate(&presented),
            false => None,
        };
        // A service's token without its certificate opens nothing, and no lane of the services
        // either.
        let counted = caller
            .as_ref()
            .filter(|caller| is_admitted(&*self.authenticate, caller, path, &presented));
        if let (Some(caller), Some(link)) = (counted, link) {
            let is_service = caller.role == Role::Service;
            link.called_by(&caller.system, is_service).map_err(refused)?;
        }
        let account = self.shares.of(counted, peer);
        // Without a token it is refused before its body is read.
        let is_refused = is_grpc && !is_public && counted.is_none();
        let permit = match is_stream {
            _ if is_probe => Some(Held::Probe(link.map(Link::probe).transpose().map_err(refused)?)),
            _ if is_refused => None,
            true => Some(Held::Share(account.permit(What::Streams).map_err(refused)?)),
            false => Some(Held::Share(account.permit(What::Calls).map_err(refused)?)),
        };
        let is_service = counted.is_some_and(|caller| caller.role == Role::Service);
        if is_grpc && !is_public {
            request.extensions_mut().insert(Known(caller));
        }
        Ok(Share {
            account,
            permit,
            is_probe,
            is_stream: is_stream && !is_probe,
            takes_stream,
            may_rest,
            is_service,
        })
    }
}

impl Share {
    /// The request with a body that is paid for.
    fn paced(&self, limits: Limits, lease: &Arc<Lease>, request: Request) -> Request {
        if self.is_probe {
            return request.map(|body| Body::new(Arriving::probe(body, limits, self.account.service())));
        }
        let wait = (limits.body_wait, limits.bytes_per_second);
        let service = self.account.service();
        let kind = (self.takes_stream, self.may_rest);
        request.map(|body| Body::new(Arriving::new(body, Arc::clone(lease), service, wait, kind)))
    }

    /// What is kept until the answer has ended.
    fn open(self, limits: Limits, purse: Arc<Lease>) -> (Option<Open>, Option<Held>) {
        let open = self.is_stream.then(|| Open {
            purse,
            unread: self.account.lease(),
            until: (!self.is_service).then(|| Box::pin(tokio::time::sleep(limits.stream))),
        });
        (open, self.permit)
    }
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

/// Finds out who calls and whether it may, before any service sees the request.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) methods: Arc<Methods>,
}

impl<S> Layer<S> for Access {
    type Service = Permitted<S>;

    fn layer(&self, inner: S) -> Permitted<S> {
        let access = self.clone();
        Permitted { access, inner }
    }
}

/// A service whose methods are called only by those that its tables name.
#[derive(Clone)]
pub(crate) struct Permitted<S> {
    access: Access,
    inner: S,
}

impl Access {
    /// Adds the caller and the method's row to a request, or refuses it.
    /// Returns what watches over the call when it has a stream.
    fn admit(&self, request: &mut Request) -> Result<Option<Judge>, Box<Response>> {
        // Whoever does not speak gRPC and came this far asks for a file that there is not.
        if !is_grpc(request) {
            return Err(Box::new(not_found()));
        }
        let method = self.methods.get(request.uri().path());
        if method.is_some_and(Method::is_public) {
            return Ok(None);
        }
        let known = request.extensions_mut().remove::<Known>();
        let shown = certificate(request);
        let presented = Presented {
            headers: request.headers(),
            certificate: shown.as_deref(),
        };
        let mut caller = known
            .map_or_else(|| self.authenticate.authenticate(&presented), |known| known.0)
            .ok_or_else(|| Box::new(refuse(Failure::Unauthenticated)))?;
        caller.officer = acting(&caller, request.headers()).map_err(|failure| Box::new(refuse(failure)))?;
        match method {
            Some(_) if !is_admitted(&*self.authenticate, &caller, request.uri().path(), &presented) => {
                let description = "the certificate of this connection is not that of the service that the token is of, \
                                   or that service may not call this one";
                Err(Box::new(refuse(Failure::denied(description, &caller.system))))
            }
            Some(method) if method.admits(Some(&caller)) => {
                let path = request.uri().path();
                let judge = access::is_stream(path)
                    .then(|| Judge::new(&self.authenticate, request.headers(), shown.clone(), &caller, path));
                if let Some(trouble) = self.authenticate.trouble() {
                    request.extensions_mut().insert(UnreadTokens(trouble));
                }
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(method);
                Ok(judge)
            }
            Some(method) => Err(Box::new(refuse(access::denied(method, &caller)))),
            None if access::is_in_contract(request.uri().path()) => {
                let description = "nobody may call this method here: it has no row in the table of access";
                Err(Box::new(refuse(Failure::denied(description, &caller.system))))
            }
            // `explain` finds the words.
            None => Err(Box::new(Status::unimplemented("").into_http())),
        }
    }
}

/// The officer who acts: by a signed token where the caller has one, otherwise by metadata, whose
/// system answers for it.
fn acting(caller: &Identity, headers: &HeaderMap) -> Result<Option<Officer>, Failure> {
    let said = metadata::officer(headers)?;
    match (caller.proof, &caller.officer, said) {
        (Proof::Token | Proof::Certificate, _, said) => Ok(said),
        (Proof::Signed { .. }, signed, None) => Ok(signed.clone()),
        (Proof::Signed { .. }, Some(signed), Some(said)) if *signed == said => Ok(Some(said)),
        (Proof::Signed { .. }, ..) => {
            let problem = "names an officer who does not stand in the signed token; leave it out";
            Err(Failure::InvalidInput(vec![Violation::new(OFFICER, problem)]))
        }
    }
}

/// Why the tokens of callers could not be read again.
#[derive(Clone, Debug)]
pub(crate) struct UnreadTokens(pub(crate) String);

impl<S> Service<Request> for Permitted<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.access.admit(&mut request) {
            Ok(None) => Either::Left(self.inner.call(request)),
            Ok(Some(judge)) => Either::Right(judge.watch(self.inner.call(request)).boxed()),
            Err(refusal) => Either::Right(ready(Ok(*refusal)).boxed()),
        }
    }
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

/// For those who do not speak gRPC.
fn not_found() -> Response {
    use axum::response::IntoResponse as _;
    let headers = [(http::header::CACHE_CONTROL, "no-store")];
    (http::StatusCode::NOT_FOUND, headers, "there is nothing here\n").into_response()
}

fn refuse(failure: Failure) -> Response {
    Status::from(failure).into_http::<Body>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(authenticate: Arc<dyn Authenticate>) -> Gate {
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

    /// Knows everybody as the service routing, which is on the list or not.
    struct Listed(bool);

    impl Authenticate for Listed {
        fn authenticate(&self, _: &Presented<'_>) -> Option<Identity> {
            Some(Identity {
                system: "routing".to_owned(),
                agency: None,
                role: Role::Service,
                officer: None,
                officer_key: crate::OfficerKey::default(),
                proof: Proof::Token,
            })
        }

        fn admits_service(&self, _: &str, _: &str, _: &Presented<'_>) -> bool {
            self.0
        }
    }

    #[test]
    fn a_services_token_without_its_certificate_has_no_place_among_the_services() {
        for is_listed in [true, false] {
            let gate = open(Arc::new(Listed(is_listed)));
            let mut request = http::Request::post("/remit.audit.v1.AuditInboundService/RecordMark")
                .header("content-type", "application/grpc")
                .body(Body::empty())
                .unwrap();
            let Ok(share) = gate.share(None, None, &mut request) else {
                panic!("there is room")
            };
            assert_eq!((share.is_service, share.permit.is_some()), (is_listed, is_listed));
        }
    }

    /// Rows for two methods of the contract. Its other methods have none.
    const TABLES: &[access::Table] = &[access::Table {
        service: "remit.audit.v1.AuditService",
        methods: &[
            Method::new("GetCheckpoint", &[access::Kind::Auditor]),
            Method::new("ListGaps", &[access::Kind::Operator]),
        ],
    }];

    #[tokio::test]
    async fn p7_no_handler_is_called_without_a_row_that_admits_the_caller() {
        use std::sync::atomic::{AtomicBool, Ordering};
        use tower::ServiceExt as _;
        let token = crate::Token {
            token: "0123456789abcdefghij".to_owned(),
            system: "inspection".to_owned(),
            agency: None,
            role: Role::Auditor,
        };
        let authenticate: Arc<dyn Authenticate> = Arc::new(crate::Tokens::new(&[token]).unwrap());
        for (path, token, expected) in [
            (
                "/remit.audit.v1.AuditService/GetCheckpoint",
                "0123456789abcdefghij",
                None,
            ),
            (
                "/remit.audit.v1.AuditService/GetCheckpoint",
                "another",
                Some(Code::Unauthenticated),
            ),
            (
                "/remit.audit.v1.AuditService/ListGaps",
                "0123456789abcdefghij",
                Some(Code::PermissionDenied),
            ),
            // In the contract, but without a row.
            (
                "/remit.audit.v1.AuditService/ListChanges",
                "0123456789abcdefghij",
                Some(Code::PermissionDenied),
            ),
            (
                "/remit.audit.v1.AuditService/ListSecrets",
                "0123456789abcdefghij",
                Some(Code::Unimplemented),
            ),
            (
                "/another.Service/Method",
                "0123456789abcdefghij",
                Some(Code::Unimplemented),
            ),
            ("/another.Service/Method", "another", Some(Code::Unauthenticated)),
            ("/grpc.health.v1.Health/Check", "", None),
        ] {
            let called = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&called);
            // Every path has a handler, so only the access table refuses.
            let handler = move || async move { seen.store(true, Ordering::SeqCst) };
            let router = axum::Router::new().fallback(handler).layer(Access {
                authenticate: Arc::clone(&authenticate),
                methods: Arc::new(Methods::new(TABLES)),
            });
            let request = http::Request::post(path)
                .header("content-type", "application/grpc")
                .header("authorization", format!("Bearer {token}"))
                .body(Body::empty())
                .unwrap();
            let response = router.oneshot(request).await.unwrap();
            let code = Status::from_header_map(response.headers()).map(|status| status.code());
            assert_eq!(
                (code, called.load(Ordering::SeqCst)),
                (expected, expected.is_none()),
                "{path} {token}"
            );
        }
    }

    /// Bad metadata is refused before a token is looked up or a handler is called.
    #[tokio::test]
    async fn metadata_that_cannot_be_read_is_refused_and_not_taken_for_nothing() {
        use tower::ServiceExt as _;
        let token = |token: &str| crate::Token {
            token: token.to_owned(),
            system: token.to_owned(),
            agency: Some("police-450100".to_owned()),
            role: Role::Auditor,
        };
        let known = [token("0123456789abcdefghij"), token("another-0123456789abc")];
        let (first, second) = ("Bearer 0123456789abcdefghij", "Bearer another-0123456789abc");
        for (sent, expected) in [
            (&[("authorization", first.as_bytes())][..], Ok(None)),
            (
                &[("authorization", first.as_bytes()), (OFFICER, b"546L6K2m5a6Y")],
                Ok(Some("王警官")),
            ),
            (
                &[
                    ("authorization", first.as_bytes()),
                    ("authorization", second.as_bytes()),
                ],
                Err("authorization"),
            ),
            (&[("authorization", first.as_bytes()), (OFFICER, b"")], Err(OFFICER)),
            (
                &[("authorization", first.as_bytes()), (OFFICER, "王警官".as_bytes())],
                Err(OFFICER),
            ),
            (
                &[("authorization", first.as_bytes()), (OFFICER, b"YQ"), (OFFICER, b"Yg")],
                Err(OFFICER),
            ),
            (
                &[("authorization", first.as_bytes()), ("remit-officer", b"o-17")],
                Err("remit-officer"),
            ),
        ] {
            let acting = Arc::new(std::sync::Mutex::new(None));
            let seen = Arc::clone(&acting);
            let handler = move |request: Request| async move {
                let caller = request.extensions().get::<Identity>().cloned();
                *seen.lock().unwrap() = Some(caller.and_then(|caller| caller.officer));
            };
            let tokens: Arc<dyn Authenticate> = Arc::new(crate::Tokens::new(&known).unwrap());
            let router = axum::Router::new()
                .fallback(handler)
                .layer(Access {
                    authenticate: Arc::clone(&tokens),
                    methods: Arc::new(Methods::new(TABLES)),
                })
                .layer(open(tokens));
            let mut request = http::Request::post("/remit.audit.v1.AuditService/GetCheckpoint")
                .header("content-type", "application/grpc");
            for (key, value) in sent {
                request = request.header(*key, *value);
            }
            let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let status = Status::from_header_map(response.headers());
            let acted = acting.lock().unwrap().take();
            match expected {
                Ok(officer) => {
                    let officer = officer.map(|name| Officer::new(name).unwrap());
                    assert!(status.is_none(), "{sent:?}: {status:?}");
                    assert_eq!(acted, Some(officer), "{sent:?}");
                }
                Err(field) => {
                    let status = status.unwrap();
                    assert_eq!(status.code(), Code::InvalidArgument, "{sent:?}");
                    let reason = status.get_details_error_info().unwrap().reason;
                    assert_eq!(reason, failure::reason(ErrorReason::InvalidInput));
                    let violations = status.get_details_bad_request().unwrap().field_violations;
                    assert_eq!((violations[0].field.as_str(), acted), (field, None), "{sent:?}");
                }
            }
        }
    }

    #[test]
    fn an_officer_stands_in_the_signed_token_where_there_is_one() {
        let officer = |name: &str| Officer::new(name).unwrap();
        for (proof, signed, said, expected) in [
            (Proof::Token, None, Some("o-17"), Some(Some("o-17"))),
            (Proof::Certificate, None, Some("o-17"), Some(Some("o-17"))),
            (Proof::Token, None, None, Some(None)),
            (Proof::Signed { until: 1 }, Some("o-17"), None, Some(Some("o-17"))),
            (
                Proof::Signed { until: 1 },
                Some("o-17"),
                Some("o-17"),
                Some(Some("o-17")),
            ),
            (Proof::Signed { until: 1 }, None, None, Some(None)),
            (Proof::Signed { until: 1 }, Some("o-17"), Some("o-18"), None),
            (Proof::Signed { until: 1 }, None, Some("o-18"), None),
        ] {
            let caller = Identity {
                system: "desk".to_owned(),
                agency: None,
                role: Role::Partner,
                officer: signed.map(officer),
                officer_key: crate::OfficerKey::default(),
                proof,
            };
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                let said = data_encoding::BASE64.encode(said.as_bytes());
                headers.insert(OFFICER, said.parse().unwrap());
            }
            let acts = acting(&caller, &headers).ok();
            let expected = expected.map(|expected| expected.map(officer));
            assert_eq!(acts, expected, "{proof:?} {signed:?} {said:?}");
        }
    }

    #[test]
    fn errors_of_the_transport_are_as_the_catalogue_says() {
        let limits = Limits::default();
        for (code, expected) in [
            (Code::OutOfRange, ErrorReason::MessageTooLarge),
            (Code::Internal, ErrorReason::MalformedMessage),
            (Code::Unimplemented, ErrorReason::Unimplemented),
            (Code::Unknown, ErrorReason::Transport),
        ] {
            let status = explained(limits, &Status::new(code, "cut"));
            let reason = status.get_details_error_info().unwrap().reason;
            assert_eq!(reason, failure::reason(expected));
            assert_eq!(
                failure::tests::told(&status),
                failure::tests::catalogued(expected),
                "{reason}"
            );
        }
    }

    /// Whether they come instead of an answer, or end a stream.
    #[test]
    fn texts_that_the_codec_refuses_are_told_by_their_fields() {
        let details = ErrorDetails::with_bad_request_violation("report.subjects[3].value", "has a line break");
        let refused = Status::with_error_details(Code::InvalidArgument, "texts", details);
        let mut trailers = HeaderMap::new();
        refused.add_header(&mut trailers).unwrap();
        for headers in [
            explain(Limits::default(), refused.into_http()).headers().clone(),
            explain_trailers(Limits::default(), trailers),
        ] {
            let status = Status::from_header_map(&headers).unwrap();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_INPUT");
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations[0].field, "report.subjects[3].value");
            assert_eq!(violations[0].description, "has a line break");
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
}
