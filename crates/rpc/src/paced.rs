//! Bodies in both directions: paid for, and not waited for without end.
//!
//! A sender has some patience of ours, which waiting uses up and bytes earn again; a reader likewise.
//! A body that stalls ends its own stream, not its connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use api::cost::{PURSE, Purse};
use axum::body::Body;
use bytes::Bytes;
use futures::task::AtomicWaker;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use crate::{
    Failure, Limits,
    connections::{Busy, Link},
    failure::Violation,
    layers::Held,
    limits::Limit,
    metrics,
    shares::Lease,
};

/// How long somebody is still waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    left: Duration,
    most: Duration,
    bytes_per_second: u32,
}

impl Patience {
    fn new(most: Duration, bytes_per_second: u32) -> Self {
        Self {
            left: most,
            most,
            bytes_per_second,
        }
    }

    fn worth(&self, bytes: usize) -> Duration {
        let nanoseconds = (bytes as u128).saturating_mul(1_000_000_000) / u128::from(self.bytes_per_second.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Somebody was waited for, and bytes came, or went.
    fn after(&mut self, waited: Duration, bytes: usize) {
        let left = self.left.saturating_add(self.worth(bytes)).saturating_sub(waited);
        self.left = left.min(self.most);
    }
}

/// Where the messages of a stream end: five bytes are a message's head, the last four its length.
#[derive(Debug, Default)]
struct Messages {
    head: [u8; 5],
    have: usize,
    /// Bytes of the message still to come.
    left: usize,
    /// Bytes that came of a message that is not whole.
    partial: usize,
    /// Whether one has become whole since it was asked last.
    is_whole: bool,
}

impl Messages {
    fn came(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                self.partial += skipped;
                bytes = &bytes[skipped..];
            } else {
                self.head[self.have] = first;
                self.have += 1;
                self.partial += 1;
                bytes = rest;
                if self.have < self.head.len() {
                    continue;
                }
                let [_, a, b, c, d] = self.head;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.have = 0;
            }
            if self.left == 0 {
                self.partial = 0;
                self.is_whole = true;
            }
        }
    }

    /// The bytes to keep, when messages have become whole since: whoever asks for more has got them.
    fn kept(&mut self) -> Option<usize> {
        std::mem::take(&mut self.is_whole).then_some(self.partial)
    }
}

/// Bytes that a probe may send: the name of a service.
const PROBE: usize = 1 << 10;
/// How long a probe's body is waited for.
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// What pays for the bytes of a body.
enum Pays {
    Lease(Arc<Lease>),
    /// Nobody: they are a probe's, which has so many left.
    Nobody(usize),
}

impl Pays {
    fn more(&mut self, bytes: usize) -> Result<(), Failure> {
        match self {
            Self::Lease(lease) => lease.more(bytes),
            Self::Nobody(left) => {
                *left = left.checked_sub(bytes).ok_or_else(|| {
                    let text = format!("a health check of more than {PROBE} bytes; send the name of a service");
                    Failure::InvalidInput(vec![Violation::new("service", text)])
                })?;
                Ok(())
            }
        }
    }

    fn keep(&self, bytes: usize) {
        if let Self::Lease(lease) = self {
            lease.keep(bytes);
        }
    }
}

/// The body of a request.
pub(crate) struct Arriving {
    body: Body,
    pays: Pays,
    service: &'static str,
    patience: Patience,
    /// Whether the sender may be silent between messages, however long.
    may_rest: bool,
    /// Since when the sender is waited for, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// For streams of messages, each of which is gone when the next is asked for.
    messages: Option<Messages>,
    is_over: bool,
}

impl Arriving {
    /// `wait` is how long a silent sender is waited for, and the rate that earns more; of a stream
    /// whose sender `may_rest`, within a message.
    pub(crate) fn new(
        body: Body,
        lease: Arc<Lease>,
        service: &'static str,
        wait: (Duration, u32),
        (is_stream, may_rest): (bool, bool),
    ) -> Self {
        Self {
            body,
            pays: Pays::Lease(lease),
            service,
            patience: Patience::new(wait.0, wait.1),
            may_rest,
            waiting: None,
            messages: is_stream.then(Messages::default),
            is_over: false,
        }
    }

    /// The body of a probe, which takes no share that others could have taken.
    pub(crate) fn probe(body: Body, limits: Limits, service: &'static str) -> Self {
        let wait = limits.body_wait.min(PROBE_WAIT);
        Self {
            body,
            pays: Pays::Nobody(PROBE),
            service,
            patience: Patience::new(wait, limits.bytes_per_second),
            may_rest: false,
            waiting: None,
            messages: None,
            is_over: false,
        }
    }

    fn end(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_over = true;
        Poll::Ready(Some(Err(axum::Error::new(Status::from(failure)))))
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Some(kept) = this.messages.as_mut().and_then(Messages::kept) {
            this.pays.keep(kept);
        }
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                if this.may_rest && this.messages.as_ref().is_some_and(|messages| messages.partial == 0) {
                    return Poll::Pending;
                }
                let now = Instant::now();
                let left = this.patience.left;
                let (_, until) = this
                    .waiting
                    .get_or_insert_with(|| (now, Box::pin(sleep_until(now + left))));
                if until.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                metrics::limited(this.service, Limit::BodyWait);
                return this.end(Failure::DeadlineExceeded);
            }
        };
        let waited = this
            .waiting
            .take()
            .map(|(since, _)| since.elapsed())
            .unwrap_or_default();
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.patience.after(waited, data.len());
            if let Some(messages) = &mut this.messages {
                messages.came(data);
            }
            if let Err(failure) = this.pays.more(data.len()) {
                return this.end(failure);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that are handed over at once. What was handed over is out of our hands until the peer
/// takes it: HTTP/2 keeps it for as long as the peer's window is small.
pub(crate) const PART: usize = 64 << 10;

/// The body of an answer: a call is over, and its permit returned, when this is.
pub(crate) struct Leaving {
    body: Body,
    rest: Option<Bytes>,
    patience: Patience,
    /// Since when the reader is waited for, and how many bytes it had not taken then.
    handed: Option<(Instant, usize)>,
    stall: Arc<Stall>,
    /// For streams: what is read of the request, and what is written.
    stream: Option<Open>,
    service: &'static str,
    held: Kept,
}

/// What is kept until the last byte of an answer is taken.
type Kept = Arc<(Option<Held>, Option<Busy>)>;

/// A stream of answers.
pub(crate) struct Open {
    /// What decodes its requests pays from this.
    pub(crate) purse: Arc<Lease>,
    /// Bytes of answers that the reader has not taken.
    pub(crate) unread: Arc<Lease>,
    /// When it has to end; never for our own services.
    pub(crate) until: Option<Pin<Box<Sleep>>>,
}

impl Leaving {
    pub(crate) fn new(
        body: Body,
        (stall, bytes_per_second): (Duration, u32),
        service: &'static str,
        stream: Option<Open>,
        held: (Option<Held>, Option<Busy>),
    ) -> Self {
        let on = STALL.try_with(Arc::clone).unwrap_or_default();
        if let Some(busy) = &held.1 {
            // An answer has one task, which is asked for no other.
            let _ = on.link.set(Arc::downgrade(busy.link()));
        }
        Self {
            body,
            rest: None,
            patience: Patience::new(stall, bytes_per_second),
            handed: None,
            stall: on,
            stream,
            service,
            held: Arc::new(held),
        }
    }

    /// Hands a part over, and waits for the reader from now on.
    fn hand(&mut self, mut data: Bytes) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let part = match data.len() > PART {
            true => {
                let part = data.split_to(PART);
                self.rest = Some(data);
                part
            }
            false => data,
        };
        if let Some(open) = &self.stream
            && let Err(failure) = open.unread.more(part.len())
        {
            return self.last(failure);
        }
        if part.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let untaken = self.stall.hand(part.len());
        let since = self.handed.map_or_else(Instant::now, |(since, _)| since);
        self.wait(since, untaken);
        let part = Part {
            bytes: part,
            stall: Arc::clone(&self.stall),
            _unread: self.stream.as_ref().map(|open| Arc::clone(&open.unread)),
            _held: Arc::clone(&self.held),
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(part)))))
    }

    /// Waits for the reader to take so many bytes.
    fn wait(&mut self, since: Instant, untaken: usize) {
        self.handed = Some((since, untaken));
        let until = since + self.patience.left + self.patience.worth(untaken);
        self.stall.wait(Some(until));
    }

    /// Sees what the reader took. Returns what it did not.
    fn look(&mut self) -> usize {
        let untaken = self.stall.untaken();
        let Some((since, handed)) = self.handed else {
            return untaken;
        };
        if untaken < handed {
            self.patience.after(since.elapsed(), handed - untaken);
            if let Some(open) = &self.stream {
                open.unread.keep(untaken);
            }
            match untaken {
                0 => {
                    self.handed = None;
                    self.stall.wait(None);
                }
                _ => self.wait(Instant::now(), untaken),
            }
        }
        untaken
    }

    /// Ends a stream with a failure.
    fn last(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.body = Body::empty();
        self.rest = None;
        let mut trailers = HeaderMap::new();
        // A message of ours fits into a header.
        let _ = Status::from(failure).add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.stall.waker.register(context.waker());
        // Asked for more, which does not mean that what was handed over is taken.
        if this.look() >= PART {
            return Poll::Pending;
        }
        if let Some(rest) = this.rest.take() {
            return this.hand(rest);
        }
        if let Some(until) = this.stream.as_mut().and_then(|open| open.until.as_mut())
            && until.as_mut().poll(context).is_ready()
        {
            if let Some(open) = &mut this.stream {
                open.until = None;
            }
            metrics::limited(this.service, Limit::StreamAge);
            return this.last(Failure::StreamEnded);
        }
        let body = &mut this.body;
        let polled = match &this.stream {
            Some(open) => {
                let purse: Arc<dyn Purse> = Arc::clone(&open.purse) as _;
                PURSE.sync_scope(purse, || Pin::new(body).poll_frame(context))
            }
            None => Pin::new(body).poll_frame(context),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => this.hand(data),
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            // Asked for only before the first part.
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

tokio::task_local! {
    /// The stream that a task serves.
    static STALL: Arc<Stall>;
}

/// A part that was handed over, until HTTP/2 has written it or dropped it with its stream.
struct Part {
    bytes: Bytes,
    stall: Arc<Stall>,
    _unread: Option<Arc<Lease>>,
    _held: Kept,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.stall.take(self.bytes.len());
    }
}

/// What a reader has not taken of an answer.
#[derive(Debug, Default)]
struct Stall {
    /// Until when it may take nothing, and how many bytes it has not taken; `None` while it has all
    /// that there is.
    state: Mutex<(Option<Instant>, usize)>,
    waker: AtomicWaker,
    link: OnceLock<Weak<Link>>,
}

impl Stall {
    fn state(&self) -> std::sync::MutexGuard<'_, (Option<Instant>, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, until: Option<Instant>) {
        self.state().0 = until;
    }

    fn until(&self) -> Option<Instant> {
        self.state().0
    }

    fn untaken(&self) -> usize {
        self.state().1
    }

    fn hand(&self, bytes: usize) -> usize {
        let mut state = self.state();
        state.1 += bytes;
        state.1
    }

    fn take(&self, bytes: usize) {
        self.state().1 -= bytes;
        self.waker.wake();
    }
}

/// Runs the streams of HTTP/2 connections, each as a task that ends when its reader stalls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams(pub(crate) &'static str);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, serving: F) {
        let (stall, service) = (Arc::<Stall>::default(), self.0);
        tokio::spawn(STALL.scope(Arc::clone(&stall), async move {
            let mut serving = std::pin::pin!(serving);
            let mut timer: Option<Pin<Box<Sleep>>> = None;
            let mut is_served = false;
            std::future::poll_fn(|context| {
                is_served = is_served || serving.as_mut().poll(context).is_ready();
                if is_served {
                    // The last bytes are with HTTP/2, and nobody else sees whether they are taken.
                    stall.waker.register(context.waker());
                    if stall.untaken() == 0 {
                        return Poll::Ready(());
                    }
                }
                let Some(until) = stall.until() else {
                    timer = None;
                    return Poll::Pending;
                };
                let timer = match &mut timer {
                    Some(timer) => {
                        timer.as_mut().reset(until);
                        timer
                    }
                    None => timer.insert(Box::pin(sleep_until(until))),
                };
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                // Dropped, the stream is reset. One that is out of our hands ends with its connection.
                metrics::limited(service, Limit::Stall);
                if is_served && let Some(link) = stall.link.get().and_then(Weak::upgrade) {
                    link.end();
                }
                Poll::Ready(())
            })
            .await;
        }));
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{
        Limits,
        shares::{Account, Shares, What},
    };

    fn account(limits: &Limits) -> (Arc<Shares>, Account) {
        let shares = Shares::new("test", limits);
        let account = shares.of(
            Some(&crate::Identity {
                system: "desk".to_owned(),
                agency: None,
                roles: crate::Roles::PARTNER,
                officer: None,
                officer_key: crate::OfficerKey::default(),
                proof: crate::Proof::Token,
            }),
            None,
        );
        (shares, account)
    }

    /// One byte after each of these pauses, then silence.
    fn dripping(pause: Duration, bytes: usize) -> Body {
        let drops = stream::unfold(0, move |sent| async move {
            if sent == bytes {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(pause).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"a")), sent + 1))
        });
        Body::from_stream(drops)
    }

    async fn reason(mut body: Body) -> (Duration, String) {
        let from = Instant::now();
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let status = Status::from_error(Box::new(error));
                    let info = status.get_details_error_info().expect("its reason");
                    return (from.elapsed(), info.reason);
                }
                None => panic!("it ended well"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_is_silent_or_drips_is_not_waited_for() {
        let limits = Limits::default();
        for (pause, bytes) in [
            (Duration::ZERO, 0),
            (Duration::from_secs(1), 10_000),
            (Duration::from_secs(9), 9),
        ] {
            let (shares, account) = account(&limits);
            let wait = (limits.body_wait, limits.bytes_per_second);
            let body = Arriving::new(dripping(pause, bytes), account.lease(), "test", wait, (false, false));
            let (took, reason) = reason(Body::new(body)).await;
            assert_eq!(reason, "DEADLINE_EXCEEDED");
            assert!(took <= limits.body_wait * 2, "{took:?}");
            assert_eq!(shares.taken(What::Bytes), 0);
        }
    }

    #[test]
    fn every_byte_earns_its_time() {
        let patience = Patience::new(Duration::from_secs(10), 1 << 20);
        assert_eq!(patience.worth(1), Duration::from_nanos(953));
        assert_eq!(patience.worth(1 << 20), Duration::from_secs(1));
        let slowest = Patience::new(Duration::from_secs(10), 0);
        assert_eq!(slowest.worth(usize::MAX), Duration::from_nanos(u64::MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_sender_above_the_rate_is_waited_for() {
        let limits = Limits::default();
        let (_, account) = account(&limits);
        let parts = stream::iter(0..600).then(|_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; 1_100]))
        });
        let wait = (limits.body_wait, limits.bytes_per_second);
        let body = Arriving::new(Body::from_stream(parts), account.lease(), "test", wait, (false, false));
        assert_eq!(Body::new(body).collect().await.unwrap().to_bytes().len(), 660_000);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_paid_for_as_they_come_and_messages_of_a_stream_one_by_one() {
        let limits = Limits {
            in_flight_bytes_per_caller: 1_000,
            ..Limits::default()
        };
        let message = [&[0, 0, 0, 1, 144][..], &[7; 400]].concat();
        for (is_stream, messages, passes) in [(false, 2, true), (false, 3, false), (true, 300, true)] {
            let (shares, account) = account(&limits);
            let bytes = message.repeat(messages);
            let parts: Vec<_> = bytes
                .chunks(37)
                .map(|part| Ok::<_, std::io::Error>(Bytes::copy_from_slice(part)))
                .collect();
            // What comes after the end of one message belongs to the next.
            let mut body = Body::new(Arriving::new(
                Body::from_stream(stream::iter(parts)),
                account.lease(),
                "test",
                (limits.body_wait, limits.bytes_per_second),
                (is_stream, is_stream),
            ));
            let mut most = 0;
            let passed = loop {
                match body.frame().await {
                    Some(Ok(_)) => most = shares.taken(What::Bytes).max(most),
                    Some(Err(error)) => {
                        let status = Status::from_error(Box::new(error));
                        assert!(status.get_details_retry_info().is_some());
                        break false;
                    }
                    None => break true,
                }
            };
            assert_eq!(passed, passes, "{is_stream} {messages}");
            assert!(most <= 1_000);
            drop(body);
            assert_eq!(shares.taken(What::Bytes), 0);
        }
    }

    /// Serves an answer as HTTP/2 does, to a reader that takes a part after each of these pauses,
    /// and then none.
    async fn read(answer: &'static [usize], pauses: &'static [u64]) -> (usize, Duration) {
        let limits = Limits::default();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let from = Instant::now();
        let serving = async move {
            let parts = stream::iter(answer).map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![0; *size])));
            let mut body = Leaving::new(
                Body::from_stream(parts),
                (limits.stall, limits.bytes_per_second),
                "test",
                None,
                (None, None),
            );
            let mut pauses = pauses.iter();
            while let Some(Ok(frame)) = body.frame().await {
                match pauses.next() {
                    Some(pause) => tokio::time::sleep(Duration::from_secs(*pause)).await,
                    None => std::future::pending().await,
                }
                let _ = sender.send(frame.into_data().unwrap().len()).await;
            }
        };
        hyper::rt::Executor::execute(&Streams("test"), serving);
        let mut taken = 0;
        while let Some(bytes) = receiver.recv().await {
            taken += bytes;
        }
        (taken, from.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_ends_its_stream() {
        let (taken, took) = read(&[100], &[]).await;
        assert_eq!(taken, 0);
        assert!(took < Duration::from_secs(31), "{took:?}");
        // In parts of a bounded size, each of which has its time.
        let (taken, took) = read(&[1 << 20], &[20, 20, 20]).await;
        assert_eq!(taken, 3 * PART);
        assert!(took < Duration::from_secs(60 + 30 + 65), "{took:?}");
        // A drop now and then is too slow.
        let (taken, _) = read(&[1; 1_000], &[5; 1_000]).await;
        assert!(taken < 10, "{taken}");
        let (taken, _) = read(&[8 << 10; 1_000], &[7; 1_000]).await;
        assert_eq!(taken, 1_000 * (8 << 10), "above the rate");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_its_age_with_a_word_and_unread_answers_are_bounded() {
        let limits = Limits {
            in_flight_bytes_per_caller: 100_000,
            ..Limits::default()
        };
        let (shares, account) = account(&limits);
        let open = |until| Open {
            purse: account.lease(),
            unread: account.lease(),
            until,
        };
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let until = Some(Box::pin(sleep_until(Instant::now() + limits.stream)));
        let pace = (limits.stall, limits.bytes_per_second);
        let mut body = Leaving::new(silent, pace, "test", Some(open(until)), (None, None));
        let from = Instant::now();
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(from.elapsed().as_secs(), limits.stream.as_secs());
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.get_details_retry_info().is_some());
        assert!(body.frame().await.is_none());

        let answer = || Body::from(vec![0; 1 << 20]);
        let mut first = Leaving::new(answer(), pace, "test", Some(open(None)), (None, None));
        let mut second = Leaving::new(answer(), pace, "test", Some(open(None)), (None, None));
        assert!(first.frame().await.unwrap().unwrap().is_data());
        assert!(second.frame().await.unwrap().unwrap().is_trailers(), "no room");
        for _ in 0..15 {
            assert!(first.frame().await.unwrap().unwrap().is_data());
            assert!(shares.taken(What::Bytes) <= PART);
        }
        assert!(first.frame().await.is_none());
        assert_eq!(shares.taken(What::Bytes), 0);
    }
}
