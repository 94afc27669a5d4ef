//! HTTP client for servers that Remit does not run: public log files and witnesses. Plain `http`,
//! and `https` by rustls.
//!
//! Trusts the machine's certificate store (or `SSL_CERT_FILE` and `SSL_CERT_DIR`), and a PEM file
//! of further issuers for installations with a private one. No issuers are compiled in: a program
//! that verifies logs is used for years, longer than a list of issuers stays valid, and the
//! machine's administrator has already decided whom to trust. Nothing read with this client is
//! trusted because of its connection: checkpoints and cosignatures carry their own signatures. TLS
//! keeps eavesdroppers out and exposes a wrong address.
//!
//! An invalid certificate ends the request. There is no fallback to plain HTTP, and redirects are
//! not followed. `problem.rs` describes failures and remedies; `trust.rs` loads the trusted
//! issuers.

mod problem;
mod trust;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};

pub use problem::NoAnswer;
pub use trust::{CaFile, Trust};

/// An HTTP client. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    trust: Trust,
}

impl Client {
    /// A client that trusts `trust` and waits up to `connect_timeout` for a connection.
    pub fn new(trust: Trust, connect_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust.client_config())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Self {
            inner: legacy::Client::builder(TokioExecutor::new()).build(connector),
            trust,
        }
    }

    /// Sends a request to an absolute `http` or `https` URL and reads at most `most` bytes of body.
    /// Applies no time limit after connecting; the caller sets one.
    pub async fn send(&self, request: Request<Full<Bytes>>, most: usize) -> Result<Response<Bytes>, NoAnswer> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let answered = self.inner.request(request).await;
        let response = answered.map_err(|error| NoAnswer::new(&error, &host, &self.trust))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|error| NoAnswer::cut_off(&*error))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}
