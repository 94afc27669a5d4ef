//! Streams end when their caller's right does (its token, its certificate): a call is judged when
//! it begins, and one that stays open for hours is judged again and again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, response::Response};
use futures::{FutureExt as _, future::BoxFuture};
use http::HeaderMap;
use http_body::Frame;
use tonic::Status;

use crate::{
    Authenticate, Certificate, Failure, Identity, Presented,
    identity::{is_admitted, unidentified},
};

/// Interval between judgements of an open stream. A look at a table in memory.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);

/// What judges a stream again.
pub(crate) struct Judge {
    authenticate: Arc<dyn Authenticate>,
    headers: HeaderMap,
    certificate: Option<Arc<Certificate>>,
    caller: Identity,
    path: String,
}

impl Judge {
    pub(crate) fn new(
        authenticate: &Arc<dyn Authenticate>,
        headers: &HeaderMap,
        certificate: Option<Arc<Certificate>>,
        caller: &Identity,
        path: &str,
    ) -> Self {
        Self {
            authenticate: Arc::clone(authenticate),
            headers: headers.clone(),
            certificate,
            caller: caller.clone(),
            path: path.to_owned(),
        }
    }

    /// Why the stream ends, once it does: the caller is no longer who it was, has lost a role that
    /// it had, or, a service, is no longer on the list of those that may; or nobody can say it any
    /// more.
    fn end(&self) -> Option<Failure> {
        let presented = Presented {
            headers: &self.headers,
            certificate: self.certificate.as_deref(),
        };
        let Some(now) = self.authenticate.authenticate(&presented) else {
            return Some(unidentified(&*self.authenticate, &presented));
        };
        let stands = now.is_same(&self.caller)
            && self.caller.roles.within(now.roles) == self.caller.roles
            && is_admitted(&*self.authenticate, &now, &self.path, &presented);
        (!stands).then_some(Failure::Unauthenticated)
    }

    /// Completes when the right ends, with the refusal that says so.
    async fn revoked(self) -> Failure {
        loop {
            tokio::time::sleep(AGAIN).await;
            if let Some(end) = self.end() {
                return end;
            }
        }
    }

    /// The answer of a call with a stream, ended with a refusal when the right is gone: while the
    /// answer is awaited, as for uploads, and while it is sent.
    pub(crate) async fn watch<E>(self, answer: impl Future<Output = Result<Response, E>>) -> Result<Response, E> {
        let mut revoked = self.revoked().boxed();
        tokio::select! {
            biased;
            answer = answer => answer.map(|answer| answer.map(|body| Body::new(Watched { body, revoked: Some(revoked) }))),
            end = &mut revoked => Ok(Status::from(end).into_http()),
        }
    }
}

/// A body that ends when `revoked` does.
struct Watched {
    body: Body,
    /// `None` once it ended the body.
    revoked: Option<BoxFuture<'static, Failure>>,
}

impl http_body::Body for Watched {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(revoked) = &mut self.revoked else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(end) = revoked.poll_unpin(context) {
            self.revoked = None;
            let mut trailers = HeaderMap::new();
            // A message of ours fits into a header.
            let _ = Status::from(end).add_header(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.revoked.is_none() || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    };

    use http_body_util::BodyExt as _;
    use tokio::time::Instant;
    use tonic::Code;

    use super::*;
    use crate::Roles;

    /// Authenticates every request as one caller, which a test can change.
    struct Known(Mutex<Option<Identity>>);

    impl Authenticate for Known {
        fn authenticate(&self, _: &Presented<'_>) -> Option<Identity> {
            self.0.lock().unwrap().clone()
        }
    }

    const PATH: &str = "/remit.audit.v1.AuditService/WatchCheckpoints";

    /// Authenticates every request as routing, which is on the list as long as a test says.
    struct Listed(AtomicBool);

    impl Authenticate for Listed {
        fn authenticate(&self, _: &Presented<'_>) -> Option<Identity> {
            Some(routing())
        }

        fn admits_service(&self, own: &str, service: &str, _: &Presented<'_>) -> bool {
            assert_eq!((own, service), ("routing", "remit.audit.v1.AuditService"));
            self.0.load(Ordering::SeqCst)
        }
    }

    fn routing() -> Identity {
        Identity {
            system: "routing".to_owned(),
            roles: Roles::SERVICE,
            ..operator()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_stream_of_a_service_ends_when_it_leaves_the_list() {
        let listed = Arc::new(Listed(AtomicBool::new(true)));
        let authenticate: Arc<dyn Authenticate> = Arc::clone(&listed) as _;
        let judge = Judge::new(&authenticate, &HeaderMap::new(), None, &routing(), PATH);
        let silent = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        let answer = async { Ok::<_, std::io::Error>(Response::new(Body::from_stream(silent))) };
        let mut body = judge.watch(answer).await.unwrap().into_body();
        let hour = tokio::time::timeout(Duration::from_secs(3_600), body.frame()).await;
        assert!(hour.is_err(), "a stream of a service on the list stays open");
        listed.0.store(false, Ordering::SeqCst);
        let ended = tokio::time::timeout(2 * AGAIN, body.frame()).await;
        assert!(ended.expect("the stream ends").unwrap().unwrap().is_trailers());
    }

    fn operator() -> Identity {
        Identity {
            system: "operator".to_owned(),
            agency: None,
            roles: Roles::OPERATOR,
            officer: None,
            officer_key: crate::OfficerKey::default(),
            proof: crate::Proof::Token,
        }
    }

    /// Uses the shipped interval, in paused time.
    #[tokio::test(start_paused = true)]
    async fn an_open_stream_ends_within_seconds_of_its_token() {
        for changed in [
            None,
            Some(Identity {
                roles: Roles::AUDITOR,
                ..operator()
            }),
        ] {
            let known = Arc::new(Known(Mutex::new(Some(operator()))));
            let authenticate: Arc<dyn Authenticate> = Arc::clone(&known) as _;
            let judge = Judge::new(&authenticate, &HeaderMap::new(), None, &operator(), PATH);
            // Sends nothing, so nothing but the judge can end it.
            let silent = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
            let answer = async { Ok::<_, std::io::Error>(Response::new(Body::from_stream(silent))) };
            let mut body = judge.watch(answer).await.unwrap().into_body();

            let hour = tokio::time::timeout(Duration::from_secs(3_600), body.frame()).await;
            assert!(hour.is_err(), "a stream with a valid token stays open");
            *known.0.lock().unwrap() = changed;
            let from = Instant::now();
            let ended = tokio::time::timeout(Duration::from_secs(3_600), body.frame()).await;
            let last = ended
                .expect("the stream ends")
                .unwrap()
                .unwrap()
                .into_trailers()
                .unwrap();
            assert!(from.elapsed() <= Duration::from_secs(2), "{:?}", from.elapsed());
            assert_eq!(Status::from_header_map(&last).unwrap().code(), Code::Unauthenticated);
            assert!(body.frame().await.is_none());
        }
    }

    /// Notes that it was dropped, with the upload that owns it.
    struct Dropped(Arc<AtomicBool>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_ends_before_it_is_answered() {
        let known = Arc::new(Known(Mutex::new(None)));
        let authenticate: Arc<dyn Authenticate> = Arc::clone(&known) as _;
        let judge = Judge::new(&authenticate, &HeaderMap::new(), None, &operator(), PATH);
        let stopped = Arc::new(AtomicBool::new(false));
        let guard = Dropped(Arc::clone(&stopped));
        let upload = async move {
            let _guard = guard;
            std::future::pending::<Result<Response, std::io::Error>>().await
        };
        let ended = tokio::time::timeout(Duration::from_secs(3_600), judge.watch(upload)).await;
        let answer = ended.expect("the upload ends").unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(stopped.load(Ordering::SeqCst), "the upload goes on");
    }
}
