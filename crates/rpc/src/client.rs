//! Client channels with the caller's token and trace.

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::{Ascii, Binary, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{OFFICER, Officer};

/// A channel that identifies the caller in every request.
pub type Caller = InterceptedService<Channel, Attach>;

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
    /// The token contains characters that metadata cannot carry.
    #[error("the token has characters that a header cannot carry")]
    Token,
}

/// Creates a channel that connects on first use and reconnects as needed.
///
/// `deadline` limits every unary call.
pub fn connect(address: &str, token: &str, deadline: Option<Duration>) -> Result<Caller, ClientError> {
    connect_for(address, token, None, deadline)
}

/// Like [`connect`], for an officer who acts through the caller's system.
pub fn connect_for(
    address: &str,
    token: &str,
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
    let authorization = format!("Bearer {token}").parse().map_err(|_| ClientError::Token)?;
    let officer = officer.map(|officer| MetadataValue::from_bytes(officer.as_str().as_bytes()));
    Ok(InterceptedService::new(
        endpoint.connect_lazy(),
        Attach { authorization, officer },
    ))
}

/// Attaches the caller's token, the acting officer and the current trace to every request.
#[derive(Clone)]
pub struct Attach {
    authorization: MetadataValue<Ascii>,
    officer: Option<MetadataValue<Binary>>,
}

impl std::fmt::Debug for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attach")
    }
}

impl Interceptor for Attach {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.authorization.clone());
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
