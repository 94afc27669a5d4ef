//! What servers and clients measure of calls.
//!
//! A call ends with the trailers of its answer, with its failure, or when whoever waits for it goes
//! away, which is `CANCELLED`. Health and reflection are asked all the time and are not measured.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Instant,
};

use api::error::ErrorReason;
use http::HeaderMap;
use http_body::Frame;
use telemetry::{
    conventions::{self, OTHER},
    metrics::{Counter, Histogram, Label, LabelInfo, Level, Service, Values},
};
use tonic::{Code, Status};

use crate::{
    access,
    connections::Connections,
    failure,
    limits::Limit,
    shares::{Shares, What},
};

telemetry::instruments! {
    /// The instruments of servers and clients.
    pub struct Instruments {
        /// Time from a call's arrival at a server to the end of the answer. For streams that is their whole life.
        server: Histogram<(Service, System, Method, Answer, Failed)> =
            (conventions::RPC_SERVER_DURATION, "s", conventions::CALLS),
        /// Time from a call to another server to the end of the answer.
        client: Histogram<(System, Method, Answer, Failed)> =
            (conventions::RPC_CLIENT_DURATION, "s", conventions::CALLS),
        /// Calls of callers whose answer has not ended; streams are not among them, nor Remit's own.
        running: Level<(Service,)> = ("remit.rpc.running", "{call}"),
        /// Calls that may run at once (`limits.concurrency`).
        limit: Level<(Service,)> = ("remit.rpc.limit", "{call}"),
        /// Streams of callers that are open.
        streams: Level<(Service,)> = ("remit.rpc.streams", "{stream}"),
        /// Bytes of callers' requests that are held, as they came and decoded, and of streams that are not read.
        in_flight: Level<(Service,)> = ("remit.rpc.in_flight", "By"),
        /// Connections that are open.
        connections: Level<(Service,)> = ("remit.rpc.connections", "{connection}"),
        /// How often a limit was reached, by the limit (docs/limits.md).
        limited: Counter<(Service, Limit)> = ("remit.rpc.limited", "{time}"),
        /// Calls that were refused for who called, when, or how much, by the reason told: among them
        /// those over a limit or a quota.
        refused: Counter<(Service, Reason)> = ("remit.rpc.refused", "{call}"),
        /// TLS handshakes that failed: of peers that speak something else, or do not believe us, or whom we do not believe.
        handshakes_failed: Counter<(Service,)> = ("remit.tls.handshakes.failed", "{handshake}"),
        /// When the certificate that the process shows ends, and when the last of the authorities does that it believes;
        /// in seconds since 1970.
        not_after: Level<(Certificate,)> = ("remit.tls.certificate.not_after", "s"),
        /// Whether a file of TLS was changed and cannot be used, so that what was read before still goes: 1, or 0.
        stale: Level<(Certificate,)> = ("remit.tls.stale", "{file}"),
        /// Time since the keys of issuers of signed tokens were fetched, of the issuer that was silent longest.
        issuer_keys_age: Level<()> = ("remit.issuer.keys.age", "s"),
        /// Whether the service can work, as it says: 1, or 0.
        serving: Level<(Service,)> = ("remit.service.serving", "{service}"),
    }
}

telemetry::label! {
    /// The RPC system; there is one.
    pub enum System(conventions::RPC_SYSTEM) {
        /// gRPC.
        Grpc = conventions::GRPC,
    }
}

telemetry::label! {
    /// What of TLS is meant.
    pub enum Certificate("remit.certificate") {
        /// The certificate that the process shows.
        Own = "own",
        /// The authorities of the servers that it calls.
        Authorities = "authorities",
        /// The authorities of the callers that show a certificate.
        CallersAuthorities = "callers_authorities",
    }
}

/// Says when a certificate ends, and that its files are usable.
pub fn certificate_ends(certificate: Certificate, not_after: i64) {
    let this = Instruments::get();
    this.not_after
        .set(u64::try_from(not_after).unwrap_or(0), (certificate,));
    this.stale.set(0, (certificate,));
}

/// Says that new files of a certificate cannot be used.
pub fn certificate_is_stale(certificate: Certificate) {
    Instruments::get().stale.set(1, (certificate,));
}

/// Shows the age of issuers' keys, in seconds, as long as `read` has one.
pub fn watch_issuers(read: impl Fn() -> Option<f64> + Send + Sync + 'static) {
    Instruments::get().issuer_keys_age.watch((), read);
}

/// Counts a TLS handshake that failed.
pub(crate) fn handshake_failed(service: &'static str) {
    Instruments::get().handshakes_failed.add(1, (Service::named(service),));
}

/// The method of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(&'static str);

/// Most methods of the contract, with those that every server has.
const METHODS: usize = 512;

impl Label for Method {
    const INFO: LabelInfo = LabelInfo {
        key: conventions::RPC_METHOD,
        values: Values::AtMost(
            METHODS,
            "methods of the contract, such as `remit.intake.v1.IntakeService/SubmitReport`",
        ),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

/// All methods that there are, by path.
static PATHS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let own = api::POOL.services().flat_map(|service| {
        let methods: Vec<_> = service.methods().collect();
        methods
            .into_iter()
            .map(move |method| format!("{}/{}", service.full_name(), method.name()))
    });
    let shared = access::SHARED.iter().flat_map(|table| {
        let methods = table.methods.iter();
        methods.map(move |method| format!("{}/{}", table.service, method.name))
    });
    own.chain(shared).map(|name| (format!("/{name}"), name)).collect()
});

impl Method {
    /// Of a path, which may be anything.
    fn of(path: &str) -> Self {
        Self(PATHS.get(path).map_or(OTHER, String::as_str))
    }
}

/// The name of a path's method, or `_OTHER` where there is none of that path.
pub(crate) fn method(path: &str) -> &'static str {
    Method::of(path).value()
}

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer(&'static str);

impl Label for Answer {
    const INFO: LabelInfo = LabelInfo {
        key: conventions::RPC_STATUS,
        values: Values::Of(codes),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

/// What failed: the status, where it is a failure in the eyes of who measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failed(&'static str);

impl Label for Failed {
    const INFO: LabelInfo = LabelInfo {
        key: conventions::ERROR_TYPE,
        values: Values::Of(codes),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

/// Highest number of a status code.
const LAST: i32 = Code::Unauthenticated as i32;

fn codes() -> Vec<&'static str> {
    (0..=LAST).map(|code| name(Code::from_i32(code))).collect()
}

/// As the specification of gRPC spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The reason of an error, of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Label for Reason {
    const INFO: LabelInfo = LabelInfo {
        key: "remit.reason",
        values: Values::AtMost(256, "reasons of the catalogue of errors, such as `OVERLOADED`"),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

impl Reason {
    fn named(name: &str) -> Self {
        let known = ErrorReason::from_str_name(&format!("ERROR_REASON_{name}"));
        Self(known.map_or(OTHER, failure::reason))
    }
}

/// Counts a refused call.
pub(crate) fn refused(service: &'static str, reason: &str) {
    Instruments::get()
        .refused
        .add(1, (Service::named(service), Reason::named(reason)));
}

/// Counts that a limit was reached.
pub(crate) fn limited(service: &'static str, limit: Limit) {
    Instruments::get().limited.add(1, (Service::named(service), limit));
}

/// Shows what is taken of a server, as long as it runs.
#[expect(clippy::cast_precision_loss, reason = "numbers of calls and bytes")]
pub(crate) fn watch(
    service: &'static str,
    limit: usize,
    shares: &std::sync::Arc<Shares>,
    connections: &std::sync::Arc<Connections>,
) {
    let (this, labels) = (Instruments::get(), (Service::named(service),));
    this.limit.set(limit as u64, labels);
    for (level, what) in [
        (&this.running, What::Calls),
        (&this.streams, What::Streams),
        (&this.in_flight, What::Bytes),
    ] {
        let shares = std::sync::Arc::downgrade(shares);
        level.watch(labels, move || Some(shares.upgrade()?.taken(what) as f64));
    }
    let connections = std::sync::Arc::downgrade(connections);
    this.connections
        .watch(labels, move || Some(connections.upgrade()?.open() as f64));
}

/// Says whether a service can work; `None` once it has stopped.
pub(crate) fn serving(service: &'static str, can: Option<bool>) {
    let (this, labels) = (Instruments::get(), (Service::named(service),));
    match can {
        Some(can) => this.serving.set(can.into(), labels),
        None => this.serving.forget(labels),
    }
}

/// A call that is measured: until [`Call::ended`], or until it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    begun: Instant,
    /// The service that answers; `None` where we ask.
    server: Option<&'static str>,
    method: Method,
    has_ended: bool,
}

impl Call {
    /// A call that a server received.
    pub(crate) fn received(service: &'static str, path: &str) -> Self {
        Self::begin(Some(service), path)
    }

    /// A call to another server.
    pub(crate) fn made(path: &str) -> Self {
        Self::begin(None, path)
    }

    fn begin(server: Option<&'static str>, path: &str) -> Self {
        Self {
            begun: Instant::now(),
            server,
            method: Method::of(path),
            has_ended: false,
        }
    }

    /// The call has ended with this.
    pub(crate) fn ended(mut self, code: Code) {
        self.record(code);
    }

    fn record(&mut self, code: Code) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let this = Instruments::get();
        let took = self.begun.elapsed();
        let failed = |is_failure| Failed(if is_failure { name(code) } else { "" });
        match self.server {
            Some(service) => {
                let labels = (
                    Service::named(service),
                    System::Grpc,
                    self.method,
                    Answer(name(code)),
                    failed(is_fault(code)),
                );
                this.server.took(took, labels);
            }
            None => {
                let labels = (System::Grpc, self.method, Answer(name(code)), failed(code != Code::Ok));
                this.client.took(took, labels);
            }
        }
    }

    /// The call goes on with an answer's body, unless its headers end it.
    pub(crate) fn answered<B>(self, response: http::Response<B>) -> http::Response<Measured<B>> {
        let call = match Status::from_header_map(response.headers()) {
            Some(status) => {
                self.ended(status.code());
                None
            }
            None => Some(self),
        };
        response.map(|body| Measured { body, call })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.record(Code::Cancelled);
    }
}

/// What the conventions count as a failure of a server.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The body of an answer, whose trailers end the call.
#[derive(Debug)]
pub(crate) struct Measured<B> {
    body: B,
    /// `None` once it has ended.
    call: Option<Call>,
}

impl<B: http_body::Body + Unpin> http_body::Body for Measured<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let code = match &polled {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(frame))) => frame.trailers_ref().map(ended_with),
            // The connection broke, or the answer ended without a status.
            Poll::Ready(Some(Err(_))) => Some(Code::Unavailable),
            Poll::Ready(None) => Some(Code::Unknown),
        };
        if let Some(code) = code
            && let Some(call) = self.call.take()
        {
            call.ended(code);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn ended_with(trailers: &HeaderMap) -> Code {
    Status::from_header_map(trailers).map_or(Code::Unknown, |status| status.code())
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    /// The values of `key` among the series of a metric that have all these labels.
    fn seen(metric: &str, labels: &[&str], key: &str) -> Vec<String> {
        let text = telemetry::metrics::text().unwrap();
        let key = format!("{key}=\"");
        let lines = text
            .lines()
            .filter(|line| line.starts_with(metric) && labels.iter().all(|label| line.contains(label)));
        lines
            .filter_map(|line| {
                let value = line.split_once(&key)?.1;
                Some(value.split_once('"')?.0.to_owned())
            })
            .collect()
    }

    #[test]
    fn the_contract_has_no_more_methods_than_the_label_allows() {
        assert!(PATHS.len() <= METHODS, "{}", PATHS.len());
        let reasons = (0..1_000).filter(|number| ErrorReason::try_from(*number).is_ok());
        assert!(reasons.count() <= 256);
    }

    /// Paths, codes and reasons from strangers make no series of their own.
    #[test]
    fn random_calls_make_a_bounded_number_of_series() {
        let known = "/remit.intake.v1.IntakeService/SubmitReport";
        for number in 0..3_000 {
            let path = match number % 3 {
                0 => format!("/remit.intake.v1.IntakeService/Submit{number}"),
                1 => format!("/{number}/é"),
                _ => known.to_owned(),
            };
            Call::received("audit", &path).ended(Code::from_i32(number));
            Call::made(&path).ended(Code::from_i32(-number));
            refused("audit", &format!("REASON_{number}"));
            refused("audit", "OVERLOADED");
        }
        let distinct = |metric: &str, key: &str| {
            let seen = seen(metric, &[], key);
            seen.into_iter().collect::<std::collections::BTreeSet<_>>()
        };
        for metric in [
            "rpc_server_call_duration_seconds_count",
            "rpc_client_call_duration_seconds_count",
        ] {
            let methods = distinct(metric, "rpc_method");
            let unknown: Vec<_> = methods
                .iter()
                .filter(|method| !PATHS.contains_key(&format!("/{method}")))
                .collect();
            assert_eq!(unknown, [OTHER], "{metric}");
            let codes = distinct(metric, "rpc_status_code");
            assert!(
                codes.iter().all(|code| super::codes().contains(&code.as_str())),
                "{codes:?}"
            );
        }
        let reasons = distinct("remit_rpc_refused_total", "remit_reason");
        assert_eq!(reasons.into_iter().collect::<Vec<_>>(), ["OVERLOADED", OTHER]);
    }

    /// Bodies that end in each way, with the status that is measured.
    #[tokio::test]
    async fn a_call_ends_with_its_trailers_and_otherwise_says_why_not() {
        let path = "/remit.intake.v1.IntakeService/GetReport";
        let measured = async |frames: Vec<Result<Frame<bytes::Bytes>, std::io::Error>>, read: usize| {
            let body = StreamBody::new(futures::stream::iter(frames));
            let mut body = Call::received("intake", path)
                .answered(http::Response::new(body))
                .into_body();
            for _ in 0..read {
                let _ = body.frame().await;
            }
        };
        let trailers = |status: &Status| {
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers).unwrap();
            Ok(Frame::trailers(trailers))
        };
        let data = || Ok(Frame::data(bytes::Bytes::from_static(b"data")));
        measured(vec![data(), trailers(&Status::new(Code::Ok, ""))], 2).await;
        measured(vec![data(), trailers(&Status::aborted("etag"))], 2).await;
        measured(vec![data(), Err(std::io::Error::other("reset"))], 2).await;
        measured(vec![data()], 2).await;
        measured(vec![data(), data()], 1).await;
        let full = http::Response::new(Full::new(bytes::Bytes::new()));
        let mut refused = full.clone();
        Status::internal("").add_header(refused.headers_mut()).unwrap();
        drop(Call::received("intake", path).answered(refused));

        let metric = "rpc_server_call_duration_seconds_count";
        let mut codes = seen(metric, &["GetReport"], "rpc_status_code");
        codes.sort();
        assert_eq!(
            codes,
            ["ABORTED", "CANCELLED", "INTERNAL", "OK", "UNAVAILABLE", "UNKNOWN"]
        );
        let mut faults = seen(metric, &["GetReport"], "error_type");
        faults.sort();
        assert_eq!(
            faults,
            ["INTERNAL", "UNAVAILABLE", "UNKNOWN"],
            "what the caller does is no fault of ours"
        );
    }
}
