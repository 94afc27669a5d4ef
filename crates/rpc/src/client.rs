//! Channels that name the caller and carry its trace.

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// A channel on which every request names its caller.
pub type Caller = InterceptedService<Channel, Attach>;

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("`{address}` is not the address of a server; write it like http://127.0.0.1:7301")]
    Address {
        /// What was given.
        address: String,
        /// Why it is none.
        #[source]
        source: tonic::transport::Error,
    },
    /// The token has characters that metadata cannot carry.
    #[error("the token has characters that a header cannot carry")]
    Token,
}

/// Opens a channel that connects when it is first used, and again whenever it has to.
///
/// `deadline` bounds every unary call.
pub fn connect(address: &str, token: &str, deadline: Option<Duration>) -> Result<Caller, ClientError> {
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
    Ok(InterceptedService::new(
        endpoint.connect_lazy(),
        Attach { authorization },
    ))
}

/// Attaches the caller's token and the current trace to every request.
#[derive(Clone)]
pub struct Attach {
    authorization: MetadataValue<Ascii>,
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
        let traceparent = telemetry::traceparent();
        if let Ok(value) = traceparent.parse()
            && !traceparent.is_empty()
        {
            request.metadata_mut().insert("traceparent", value);
        }
        Ok(request)
    }
}
