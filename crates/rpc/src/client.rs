//! Client channels with the caller's token and trace.

use std::{
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use tonic::{
    Code, Request, Status,
    body::Body,
    metadata::{Ascii, Binary, MetadataMap, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use tower::Service;

use crate::{OFFICER, Officer, metrics::Call, tls::Trusting, wire::Dial};

/// A channel that identifies the caller in every request, and measures it.
pub type Caller = InterceptedService<Measuring, Attach>;

/// Why a channel could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is invalid.
    #[error("`{address}` is not a server address; the form is http://127.0.0.1:7301")]
    Address {
        /// The address.
        address: String,
        /// The cause.
        #[source]
        source: tonic::transport::Error,
    },
    /// An address under TLS, without authorities to believe.
    #[error("`{0}` is reached over TLS, and there are no certificate authorities to believe")]
    Trust(String),
    /// The token contains characters that metadata cannot carry.
    #[error("the token has characters that a header cannot carry")]
    Token,
}

/// The token that a caller calls with, if it calls with one. Replaced, it goes for all channels
/// that have it.
#[derive(Clone)]
pub struct Bearer(Arc<RwLock<Option<MetadataValue<Ascii>>>>);

impl Bearer {
    /// Calls with this token from now on.
    ///
    /// # Errors
    ///
    /// [`ClientError::Token`].
    pub fn new(token: &str) -> Result<Self, ClientError> {
        Ok(Self(Arc::new(RwLock::new(Some(authorization(token)?)))))
    }

    /// Calls without a token: a certificate says who calls.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// Replaces the token: calls that begin from now on have the new one.
    ///
    /// # Errors
    ///
    /// [`ClientError::Token`]; the old one stays.
    pub fn replace(&self, token: &str) -> Result<(), ClientError> {
        let authorization = authorization(token)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(authorization);
        Ok(())
    }

    /// Attaches the token that goes now to a request.
    pub fn attach(&self, metadata: &mut MetadataMap) {
        let authorization = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(authorization) = authorization {
            metadata.insert("authorization", authorization);
        }
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer")
    }
}

fn authorization(token: &str) -> Result<MetadataValue<Ascii>, ClientError> {
    format!("Bearer {token}").parse().map_err(|_| ClientError::Token)
}

/// Creates a channel that connects on first use and reconnects as needed.
///
/// `deadline` limits every unary call.
pub fn connect(address: &str, token: &str, deadline: Option<Duration>) -> Result<Caller, ClientError> {
    connect_for(address, &Bearer::new(token)?, None, deadline)
}

/// Like [`connect`], with a token that may be replaced, and for an officer who acts through the
/// caller's system.
pub fn connect_for(
    address: &str,
    bearer: &Bearer,
    officer: Option<&Officer>,
    deadline: Option<Duration>,
) -> Result<Caller, ClientError> {
    connect_over(address, None, bearer, officer, deadline)
}

/// Like [`connect_for`], over TLS where the address is one of `https`.
pub fn connect_over(
    address: &str,
    trusting: Option<&Trusting>,
    bearer: &Bearer,
    officer: Option<&Officer>,
    deadline: Option<Duration>,
) -> Result<Caller, ClientError> {
    let invalid = |source| ClientError::Address {
        address: address.to_owned(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(invalid)?
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    if let Some(deadline) = deadline {
        endpoint = endpoint.timeout(deadline);
    }
    let officer = officer.map(|officer| MetadataValue::from_bytes(officer.as_str().as_bytes()));
    let channel = channel(&endpoint, trusting).ok_or_else(|| ClientError::Trust(address.to_owned()))?;
    Ok(InterceptedService::new(
        Measuring(channel),
        Attach {
            bearer: bearer.clone(),
            officer,
        },
    ))
}

/// A channel to an endpoint; none where it is under TLS and nobody is believed.
#[must_use]
pub fn channel(endpoint: &Endpoint, trusting: Option<&Trusting>) -> Option<Channel> {
    match (endpoint.uri().scheme_str(), trusting) {
        (Some("https"), Some(trusting)) => Some(endpoint.connect_with_connector_lazy(Dial(trusting.clone()))),
        (Some("https"), None) => None,
        _ => Some(endpoint.connect_lazy()),
    }
}

/// A channel that measures each call, to the end of its answer.
#[derive(Clone, Debug)]
pub struct Measuring(Channel);

impl Service<http::Request<Body>> for Measuring {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = Call::made(request.uri().path());
        let asked = self.0.call(request);
        async move {
            match asked.await {
                Ok(response) => Ok(call.answered(response).map(Body::new)),
                Err(error) => {
                    call.ended(failed(&error));
                    Err(error)
                }
            }
        }
        .boxed()
    }
}

/// The status that a call without an answer ends with.
fn failed(error: &tonic::transport::Error) -> Code {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return Code::DeadlineExceeded;
        }
        cause = error.source();
    }
    Code::Unavailable
}

/// Attaches the caller's token, the acting officer and the current trace to every request.
#[derive(Clone)]
pub struct Attach {
    bearer: Bearer,
    officer: Option<MetadataValue<Binary>>,
}

impl std::fmt::Debug for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attach")
    }
}

impl Interceptor for Attach {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        self.bearer.attach(request.metadata_mut());
        if let Some(officer) = &self.officer {
            request.metadata_mut().insert_bin(OFFICER, officer.clone());
        }
        let traceparent = telemetry::traceparent();
        if let Ok(value) = traceparent.parse()
            && !traceparent.is_empty()
        {
            request.metadata_mut().insert("traceparent", value);
        }
        Ok(request)
    }
}
