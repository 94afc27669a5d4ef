//! Connections: accepted, counted, and ended.
//!
//! A listener accepts as long as there are descriptors, and looks again shortly when there are
//! none. Every connection is kept in one table. When that is full, the oldest connection that nobody
//! has called on with a token makes room, so that strangers who only hold connections open keep
//! nobody out; the table is locked when a connection comes, is first called on, and ends, and never
//! for a call.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::pki_types::UnixTime;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};

use crate::{
    Failure, Limits,
    certificate::Certificate,
    frames::Frames,
    limits::Limit,
    metrics,
    paced::{PART, Streams},
    shares::network,
    tls::Tls,
    wire::Wire,
};

/// The connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    service: &'static str,
    limits: Limits,
    next: AtomicU64,
    table: Mutex<Table>,
    /// Handshakes that failed.
    failed: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Table {
    /// By their number, which grows.
    open: HashMap<u64, Entry>,
    /// Numbers of those that nobody has called on with a token.
    unknown: BTreeSet<u64>,
    peers: HashMap<IpAddr, Peer>,
    callers: HashMap<String, usize>,
    /// Those that callers other than our own services call on.
    called: usize,
}

#[derive(Debug, Default)]
struct Peer {
    open: usize,
    called: usize,
    unknown: BTreeSet<u64>,
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    caller: Option<String>,
    is_service: bool,
    end: CancellationToken,
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.open.remove(&number)?;
        self.unknown.remove(&number);
        let called = usize::from(entry.caller.is_some() && !entry.is_service);
        self.called -= called;
        if let Some(peer) = self.peers.get_mut(&entry.peer) {
            peer.open -= 1;
            peer.called -= called;
            peer.unknown.remove(&number);
            if peer.open == 0 {
                self.peers.remove(&entry.peer);
            }
        }
        if let Some(caller) = &entry.caller
            && let Some(open) = self.callers.get_mut(caller)
        {
            *open -= 1;
            if *open == 0 {
                self.callers.remove(caller);
            }
        }
        Some(entry)
    }
}

impl Connections {
    pub(crate) fn new(service: &'static str, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            service,
            limits,
            next: AtomicU64::new(0),
            table: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.table().open.len()
    }

    /// Enters a new connection.
    ///
    /// # Errors
    /// The limit, when there is no room, and none can be made.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Arc<Link>, Limit> {
        let peer = network(peer);
        let mut table = self.table();
        let of_peer = table.peers.get(&peer);
        let leaves = match of_peer {
            Some(of_peer) if of_peer.open >= self.limits.connections_per_peer => {
                Some((Limit::ConnectionsPerPeer, of_peer.unknown.first().copied()))
            }
            _ if table.open.len() >= self.limits.connections => {
                Some((Limit::Connections, table.unknown.first().copied()))
            }
            _ => None,
        };
        if let Some((limit, oldest)) = leaves {
            metrics::limited(self.service, limit);
            let left = oldest.and_then(|oldest| table.remove(oldest)).ok_or(limit)?;
            left.end.cancel();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let end = CancellationToken::new();
        let entry = Entry {
            peer,
            caller: None,
            is_service: false,
            end: end.clone(),
        };
        table.open.insert(number, entry);
        table.unknown.insert(number);
        let of_peer = table.peers.entry(peer).or_default();
        of_peer.open += 1;
        of_peer.unknown.insert(number);
        Ok(Arc::new(Link {
            connections: Arc::clone(self),
            number,
            peer,
            end,
            leaving: CancellationToken::new(),
            caller: OnceLock::new(),
            certificate: OnceLock::new(),
            begun: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            quiet_since: Mutex::new(Instant::now()),
        }))
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    connections: Arc<Connections>,
    number: u64,
    peer: IpAddr,
    end: CancellationToken,
    /// Ends it after what runs on it.
    leaving: CancellationToken,
    /// The first caller that called on it with a token.
    caller: OnceLock<()>,
    /// What the peer showed in the handshake.
    certificate: OnceLock<Arc<Certificate>>,
    /// Whether the peer has said what it speaks.
    begun: AtomicBool,
    /// Calls whose answer has not ended.
    running: AtomicUsize,
    /// Probes whose answer has not ended.
    probes: AtomicUsize,
    quiet_since: Mutex<Instant>,
}

impl Link {
    /// Ends it, with all that runs on it.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    /// Takes no more requests; what runs on it runs on, and the peer is told.
    pub(crate) fn leave(&self) {
        self.leaving.cancel();
    }

    /// Where it comes from: the network.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The certificate that the peer showed, whose chain was verified then.
    pub(crate) fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.get()
    }

    /// A caller with a token calls on it.
    ///
    /// # Errors
    /// When the caller has too many connections.
    pub(crate) fn called_by(&self, system: &str, is_service: bool) -> Result<(), Failure> {
        if self.caller.get().is_some() {
            return Ok(());
        }
        let connections = &self.connections;
        let mut table = connections.table();
        let Table {
            open,
            unknown,
            peers,
            callers,
            called,
        } = &mut *table;
        // It made room for another meanwhile, and ends.
        let entry = open.get_mut(&self.number).ok_or(Failure::Overloaded)?;
        if entry.caller.is_none() {
            let limits = &connections.limits;
            let others = callers.get(system).copied().unwrap_or_default();
            let of_peer = peers.get(&entry.peer).map_or(0, |peer| peer.called);
            // These make no room for others, so some are left to probes and our own services.
            let over = match is_service {
                true => None,
                false if others >= limits.connections_per_caller => Some(Limit::ConnectionsPerCaller),
                false if of_peer >= most(limits.connections_per_peer) => Some(Limit::ConnectionsPerPeer),
                false if *called >= most(limits.connections) => Some(Limit::Connections),
                false => None,
            };
            if let Some(limit) = over {
                metrics::limited(connections.service, limit);
                return Err(Failure::Overloaded);
            }
            *callers.entry(system.to_owned()).or_default() += 1;
            *called += usize::from(!is_service);
            entry.caller = Some(system.to_owned());
            entry.is_service = is_service;
            unknown.remove(&self.number);
            if let Some(peer) = peers.get_mut(&entry.peer) {
                peer.called += usize::from(!is_service);
                peer.unknown.remove(&self.number);
            }
        }
        let _ = self.caller.set(());
        Ok(())
    }

    /// A probe, as long as this is kept.
    ///
    /// # Errors
    /// When too many wait on this connection. Those on others are no reason to refuse one.
    pub(crate) fn probe(self: &Arc<Self>) -> Result<Probe, Failure> {
        let more = |probes: usize| (probes < PROBES).then_some(probes + 1);
        let taken = self.probes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        match taken {
            Ok(_) => Ok(Probe(Arc::clone(self))),
            Err(_) => Err(Failure::Overloaded),
        }
    }

    /// A call runs on it as long as this is kept.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.running.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Since when nothing runs on it.
    fn quiet_for(&self) -> Duration {
        match self.running.load(Ordering::Relaxed) {
            0 => self
                .quiet_since
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .elapsed(),
            _ => Duration::ZERO,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connections.table().remove(self.number);
    }
}

/// How many of so many connections callers other than our own services have.
fn most(connections: usize) -> usize {
    connections - connections / 4
}

/// Probes of one connection at once.
const PROBES: usize = 4;

/// A probe on a connection.
#[derive(Debug)]
pub(crate) struct Probe(Arc<Link>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that runs on a connection.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Link>);

impl Busy {
    /// The connection.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shortest time between two log lines about one kind of trouble.
const QUIET: Duration = Duration::from_secs(10);
/// How long a listener waits at first, and at most, when it cannot accept.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Tells of trouble in few lines.
#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl Told {
    /// How many there were, when it is time for a line.
    fn count(&mut self) -> Option<u64> {
        self.since += 1;
        if self.last.is_some_and(|last| last.elapsed() < QUIET) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.since))
    }
}

/// What a listener speaks.
#[derive(Clone, Debug)]
pub(crate) struct Speaks {
    /// HTTP/1.1, too.
    pub(crate) http1: bool,
    /// Only under TLS.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Accepts connections and serves them until `shutdown`: then the listener is closed, running calls
/// end, and what is left after `grace` is dropped.
pub(crate) async fn serve<S>(
    listener: TcpListener,
    connections: Arc<Connections>,
    speaks: Speaks,
    service: S,
    shutdown: CancellationToken,
    grace: Duration,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let (tasks, kill) = (TaskTracker::new(), CancellationToken::new());
    let builder = Arc::new(builder(connections.service, connections.limits, speaks.http1));
    let (mut refused, mut failed, mut pause) = (Told::default(), Told::default(), PAUSES.0);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one(&error) => continue,
            Err(error) => {
                metrics::limited(connections.service, Limit::Descriptors);
                if let Some(times) = failed.count() {
                    let service = connections.service;
                    let open = connections.open();
                    tracing::error!(service, %error, open, times, "cannot accept connections; waiting for room");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
                continue;
            }
        };
        pause = PAUSES.0;
        match connections.enter(peer.ip()) {
            Ok(link) => {
                let one = one(
                    stream,
                    speaks.clone(),
                    link,
                    Arc::clone(&builder),
                    service.clone(),
                    shutdown.clone(),
                    kill.clone(),
                );
                tasks.spawn(one);
            }
            Err(limit) => {
                if let Some(times) = refused.count() {
                    tell_refused(connections.service, limit, peer, times);
                }
            }
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
        kill.cancel();
        tasks.wait().await;
    }
}

fn tell_refused(service: &'static str, limit: Limit, peer: SocketAddr, times: u64) {
    use telemetry::metrics::Label as _;
    let limit = limit.value();
    tracing::warn!(service, limit, peer = %peer.ip(), times, "refused connections");
}

/// Whether it is about the one connection, and not about the listener.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::Interrupted | Kind::TimedOut
    )
}

/// Bytes that a connection may send before they are read.
const WINDOW: u32 = 256 << 10;

fn builder(service: &'static str, limits: Limits, http1: bool) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams(service));
    if !http1 {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.streams_per_connection)
        // What came and was not asked for yet is in nobody's account.
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        // What went and was not taken yet: a part of an answer.
        .max_send_buf_size(PART)
        // Detects peers that disappeared.
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Serves one connection to its end.
async fn one<S>(
    stream: TcpStream,
    speaks: Speaks,
    link: Arc<Link>,
    builder: Arc<auto::Builder<Streams>>,
    service: S,
    shutdown: CancellationToken,
    kill: CancellationToken,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let (limits, name) = (link.connections.limits, link.connections.service);
    // Answers are small and waited for; that a system cannot, it says itself.
    let _ = stream.set_nodelay(true);
    let mut handshake = std::pin::pin!(sleep(limits.handshake));
    let wire = match speaks.tls {
        None => Wire::Plain(stream),
        Some(tls) => tokio::select! {
            biased;
            () = link.end.cancelled() => return,
            () = kill.cancelled() => return,
            () = shutdown.cancelled() => return,
            wire = secured(stream, &tls, speaks.http1, &link) => match wire {
                Some(wire) => wire,
                None => return,
            },
            () = &mut handshake => {
                metrics::limited(name, Limit::Handshake);
                return;
            }
        },
    };
    let with = Arc::clone(&link);
    let service = service.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&with));
        request.map(Body::new)
    });
    let io = Io::new(wire, Arc::clone(&link));
    let serving = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let age = sleep(longest(limits, link.number, link.certificate(), now()));
    let idle = sleep(limits.connection_idle);
    let (mut age, mut idle) = (std::pin::pin!(age), std::pin::pin!(idle));
    let (mut has_begun, mut is_leaving) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = link.end.cancelled() => return,
            () = kill.cancelled() => return,
            served = serving.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(service = name, error, "a connection failed");
                }
                return;
            }
            () = &mut handshake, if !has_begun => {
                if !link.begun.load(Ordering::Relaxed) {
                    metrics::limited(name, Limit::Handshake);
                    return;
                }
                has_begun = true;
            }
            () = shutdown.cancelled(), if !is_leaving => {
                serving.as_mut().graceful_shutdown();
                is_leaving = true;
            }
            () = link.leaving.cancelled(), if !is_leaving => {
                serving.as_mut().graceful_shutdown();
                is_leaving = true;
            }
            () = &mut age, if !is_leaving => {
                serving.as_mut().graceful_shutdown();
                is_leaving = true;
            }
            () = &mut idle => {
                let quiet = link.quiet_for();
                match quiet >= limits.connection_idle {
                    // It was told before, and stays.
                    true if is_leaving => return,
                    true => {
                        serving.as_mut().graceful_shutdown();
                        is_leaving = true;
                        idle.as_mut().reset(Instant::now() + limits.handshake);
                    }
                    false => idle.as_mut().reset(Instant::now() + (limits.connection_idle - quiet)),
                }
            }
        }
    }
}

/// The time that certificates are judged by, in seconds since 1970.
fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// How long a connection takes requests: to its age, and not past the end of its certificate.
fn longest(limits: Limits, number: u64, certificate: Option<&Arc<Certificate>>, now: i64) -> Duration {
    // Those that came together do not leave together.
    let spread = limits.connection_age / 100 * u32::try_from(number % 16).unwrap_or(0);
    let age = limits.connection_age.saturating_sub(spread);
    let left = certificate.map(|certificate| u64::try_from(certificate.not_after() - now).unwrap_or(0));
    left.map_or(age, |left| age.min(Duration::from_secs(left)))
}

/// A connection after its TLS handshake; none where that failed.
async fn secured(stream: TcpStream, tls: &Tls, with_files: bool, link: &Link) -> Option<Wire> {
    let config = tls.server(with_files)?;
    match Wire::accept(stream, config).await {
        Ok(wire) => {
            if let Some(certificate) = wire.certificate() {
                let _ = link.certificate.set(Arc::new(certificate));
            }
            Some(wire)
        }
        Err(error) => {
            let service = link.connections.service;
            metrics::handshake_failed(service);
            let mut failed = link.connections.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(times) = failed.count() {
                tracing::warn!(service, peer = %link.peer, %error, times, "TLS handshakes fail");
            }
            None
        }
    }
}

/// A connection's bytes: frames are counted, and a peer that takes no bytes is not waited for.
struct Io {
    stream: Wire,
    frames: Frames,
    link: Arc<Link>,
    /// Until when bytes that cannot be written are waited for.
    stuck: Option<Pin<Box<Sleep>>>,
}

/// GOAWAY with ENHANCE_YOUR_CALM, of which the peer may learn.
const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];

impl Io {
    fn new(stream: Wire, link: Arc<Link>) -> Self {
        Self {
            stream,
            frames: Frames::new(link.connections.limits.control_frames_per_second),
            link,
            stuck: None,
        }
    }

    /// Notes what became of a write.
    fn written(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let written = self.waited(context, written);
        if let Poll::Ready(Ok(bytes)) = written {
            self.frames.wrote(bytes);
        }
        written
    }

    /// What became of a write, a flush (under TLS it writes what was kept) or an end, which is not
    /// waited for without end.
    fn waited<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(done) => {
                self.stuck = None;
                Poll::Ready(done)
            }
            Poll::Pending => {
                let stall = self.link.connections.limits.stall;
                let until = || Box::pin(sleep_until(Instant::now() + stall));
                if self.stuck.get_or_insert_with(until).as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                metrics::limited(self.link.connections.service, Limit::Stall);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        std::task::ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if this.frames.came(&buffer.filled()[before..]).is_err() {
            metrics::limited(this.link.connections.service, Limit::ControlFrames);
            // Whatever was being written, this connection is over.
            let _ = Pin::new(&mut this.stream).poll_write(context, &GO_AWAY);
            let _ = Pin::new(&mut this.stream).poll_flush(context);
            return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
        }
        if this.frames.has_begun() {
            this.link.begun.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.waited(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.waited(context, ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HTTP/1 writes a part before it asks for the next.
    #[tokio::test]
    async fn large_files_are_read_whole_over_http_1() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let limits = Limits::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(async move || {
            let pace = (limits.stall, limits.bytes_per_second);
            let body = Body::from(vec![7; 1 << 20]);
            Response::new(Body::new(crate::paced::Leaving::new(
                body,
                pace,
                "test",
                None,
                (None, None),
            )))
        });
        let shutdown = CancellationToken::new();
        let connections = Connections::new("test", limits);
        let speaks = Speaks { http1: true, tls: None };
        tokio::spawn(serve(listener, connections, speaks, router, shutdown, Duration::ZERO));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let get = b"GET / HTTP/1.1\r\nhost: log\r\nconnection: close\r\n\r\n";
        stream.write_all(get).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(&vec![7; 1 << 20]), "{}", answer.len());
    }

    #[test]
    fn a_connection_ends_with_its_age_and_with_its_certificate() {
        let limits = Limits::default();
        let (pem, _) = testkit::tls::Issuer::new()
            .unwrap()
            .leaf(&["a.remit"], 2020..2040)
            .unwrap();
        let certificate = Arc::new(Certificate::from_pem(pem.as_bytes()).unwrap());
        let end = certificate.not_after();
        let age = limits.connection_age;
        for (left, expected) in [
            (1_000_000, age),
            (7, Duration::from_secs(7)),
            (0, Duration::ZERO),
            (-9, Duration::ZERO),
        ] {
            assert_eq!(longest(limits, 0, Some(&certificate), end - left), expected, "{left}");
        }
        assert_eq!(longest(limits, 0, None, end), age);
        assert_eq!(longest(limits, 15, None, end), age - age / 100 * 15);
    }

    #[test]
    fn callers_leave_a_quarter_to_strangers_and_services() {
        for (limits, limit) in [
            (
                Limits {
                    connections: 8,
                    ..Limits::default()
                },
                "in all",
            ),
            (
                Limits {
                    connections_per_peer: 8,
                    ..Limits::default()
                },
                "of an address",
            ),
        ] {
            let connections = Connections::new("test", limits);
            let peer = IpAddr::from([192, 0, 2, 7]);
            let mut kept = Vec::new();
            let mut refused = 0;
            for number in 0..8 {
                let link = connections.enter(peer).unwrap();
                refused += usize::from(link.called_by(&format!("desk-{number}"), false).is_err());
                kept.push(link);
            }
            assert_eq!(refused, 2, "{limit}");
            // A stranger finds room, and so do services, each in the place of a stranger.
            kept.push(connections.enter(peer).unwrap());
            for _ in 0..2 {
                let link = connections.enter(peer).unwrap();
                link.called_by("routing", true).unwrap();
                kept.push(link);
            }
            assert_eq!(connections.open(), 8, "{limit}");
            drop(kept);
            let table = connections.table();
            assert_eq!((table.called, table.peers.len(), table.callers.len()), (0, 0, 0));
        }
    }
}
