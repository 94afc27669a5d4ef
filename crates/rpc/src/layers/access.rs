//! The layer that asks the table of access whether a caller may call.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Either, ready},
};
use tonic::Status;
use tower::{Layer, Service};

use super::{
    identified::{Known, acting, certificate},
    is_grpc, refuse,
};
use crate::{
    Authenticate, Failure, Presented,
    access::{self, Method, Methods},
    identity::{is_admitted, unidentified},
    revoked::Judge,
};

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
            .ok_or_else(|| Box::new(refuse(unidentified(&*self.authenticate, &presented))))?;
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

/// For those who do not speak gRPC.
fn not_found() -> Response {
    use axum::response::IntoResponse as _;
    let headers = [(http::header::CACHE_CONTROL, "no-store")];
    (http::StatusCode::NOT_FOUND, headers, "there is nothing here\n").into_response()
}

#[cfg(test)]
mod tests {
    use api::error::ErrorReason;
    use axum::body::Body;
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{Identity, OFFICER, Officer, Roles, failure, layers::tests::open};

    /// Rows for two methods of the contract. Its other methods have none.
    const TABLES: &[access::Table] = &[access::Table {
        service: "remit.audit.v1.AuditService",
        methods: &[
            Method::new("GetCheckpoint", &[access::AUDITOR]),
            Method::new("ListGaps", &[access::OPERATOR]),
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
            roles: Roles::AUDITOR,
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
            agency: None,
            roles: Roles::AUDITOR,
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
}
