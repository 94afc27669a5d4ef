//! The HTTP client for what strangers serve: a log's public files, and witnesses. `http` as it is, `https` by rustls.
//!
//! Trusted are the issuers that the machine trusts (its own store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name), and besides them those of a file, for
//! whoever runs an issuer of their own. None are compiled in: a program that verifies logs is kept for years, longer than a list of issuers is good for,
//! and who runs the machine has said already whom it trusts. Nothing that is read with this client is believed for its connection: checkpoints and
//! cosignatures bear signatures of their own. TLS keeps apart who may listen, and makes a wrong address show.
//!
//! A certificate that does not hold ends the request; nothing falls back to plain HTTP, and redirects are not followed. What was wrong with it, and what to do, is said
//! by `problem.rs`; `trust.rs` knows whose certificates hold.

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

/// A client. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    trust: Trust,
}

impl Client {
    /// With whom it trusts, and how long it waits for a connection.
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

    /// Sends a request to an absolute `http` or `https` address, and reads the answer whole, `most` bytes of it. How long that may take is the caller's
    /// to say.
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
