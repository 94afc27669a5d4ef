//! A server: the stack, health, reflection, graceful stop.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport};

use crate::{
    Authenticate, Limits,
    access::{Methods, Table},
    layers,
};

/// Whether a service can work: its database responds.
pub type HealthCheck = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Settings shared by all servers.
#[derive(Clone)]
pub struct Server {
    /// Name of the service in traces, such as `intake`.
    pub service: &'static str,
    /// Its limits.
    pub limits: Limits,
    /// Identifies callers.
    pub authenticate: Arc<dyn Authenticate>,
    /// Whether to serve reflection.
    pub reflection: bool,
    /// Access tables of its gRPC services. Health reports these services by their full names.
    pub access: &'static [Table],
    /// Whether the services can work.
    pub health: HealthCheck,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("service", &self.service)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Interval between health checks.
const HEALTH: Duration = Duration::from_secs(2);
/// Time for running requests to end after a stop.
const GRACE: Duration = Duration::from_secs(10);

impl Server {
    /// Serves the routes on `listener` until `shutdown`: then health turns, new work is refused,
    /// and running work ends.
    pub async fn serve(
        self,
        listener: TcpListener,
        routes: Routes,
        shutdown: CancellationToken,
    ) -> Result<(), transport::Error> {
        self.serve_with_files(listener, routes, None, shutdown).await
    }

    /// Like [`Server::serve`], with public files on the same listener, over HTTP/1.1 and HTTP/2.
    /// All limits apply to them, but no authentication.
    pub async fn serve_with_files(
        self,
        listener: TcpListener,
        routes: Routes,
        files: Option<axum::Router>,
        shutdown: CancellationToken,
    ) -> Result<(), transport::Error> {
        let accept_http1 = files.is_some();
        let (reporter, health) = tonic_health::server::health_reporter();
        // Known to health from the start; serving once the database has responded.
        for name in names(self.access) {
            reporter
                .set_service_status(name, tonic_health::ServingStatus::NotServing)
                .await;
        }
        tokio::spawn(report_health(
            reporter,
            self.access,
            Arc::clone(&self.health),
            shutdown.clone(),
        ));

        let mut routes = routes.add_service(health);
        if self.reflection {
            // Our own build made the descriptors: if they do not decode, a test of `api` fails
            // first.
            match tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(api::DESCRIPTORS)
                .build_v1()
            {
                Ok(reflection) => routes = routes.add_service(reflection),
                Err(error) => tracing::error!(%error, "cannot serve reflection"),
            }
        }

        let methods = Arc::new(Methods::new(self.access));
        let gate = layers::Gate {
            service: self.service,
            limits: self.limits,
            methods: Arc::clone(&methods),
            running: Arc::new(Semaphore::new(self.limits.concurrency)),
        };
        // The last layer added is the first that a request passes.
        let router = routes
            .prepare()
            .into_axum_router()
            .layer(layers::Access {
                authenticate: self.authenticate,
                methods,
            })
            // Public files: no authentication, but all limits apply.
            .merge(files.unwrap_or_default())
            .layer(gate);

        let stopped = shutdown.clone();
        let serving = transport::Server::builder()
            .accept_http1(accept_http1)
            .http2_max_header_list_size(self.limits.header_bytes)
            .max_concurrent_streams(self.limits.streams_per_connection)
            // Detects peers that disappeared.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .tcp_nodelay(true)
            .add_routes(Routes::from(router))
            .serve_with_incoming_shutdown(incoming(listener), shutdown.cancelled_owned());
        tokio::select! {
            served = serving => served,
            // Health watchers keep their streams open for ever: they are cut after the grace
            // period.
            () = async { stopped.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }
}

/// Names for health: each service, and all together.
fn names(access: &'static [Table]) -> impl Iterator<Item = &'static str> {
    access.iter().map(|table| table.service).chain([""])
}

fn incoming(listener: TcpListener) -> transport::server::TcpIncoming {
    transport::server::TcpIncoming::from(listener).with_nodelay(Some(true))
}

async fn report_health(
    reporter: tonic_health::server::HealthReporter,
    access: &'static [Table],
    healthy: HealthCheck,
    shutdown: CancellationToken,
) {
    use tonic_health::ServingStatus;
    loop {
        let status = match !shutdown.is_cancelled() && healthy().await {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in names(access) {
            reporter.set_service_status(name, status).await;
        }
        if shutdown.is_cancelled() {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(HEALTH) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use prost::Message as _;
    use tonic::{Code, Status};
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    use tonic_types::StatusExt as _;
    use tower::{Service as _, ServiceExt as _};

    use super::*;

    fn message(request: MessageRequest) -> Vec<u8> {
        let request = ServerReflectionRequest {
            message_request: Some(request),
            ..Default::default()
        };
        let request = request.encode_to_vec();
        let length = u32::try_from(request.len()).unwrap().to_be_bytes();
        [&[0], &length[..], &request].concat()
    }

    /// The first request is answered, so that headers are sent; the second one fails in the library
    /// that serves it. Read without a gRPC client, which would hide where the status stood.
    #[tokio::test]
    async fn an_error_that_ends_a_stream_after_its_headers_has_a_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let server = Server {
            service: "test",
            limits: Limits::default(),
            authenticate: Arc::new(crate::Tokens::default()),
            reflection: true,
            access: &[],
            health: Arc::new(|| Box::pin(async { true })),
        };
        let serving = tokio::spawn(server.serve(listener, Routes::default(), shutdown.clone()));

        let sent = [
            message(MessageRequest::ListServices(String::new())),
            message(MessageRequest::FileContainingSymbol("no.such.Symbol".to_owned())),
        ];
        let request = http::Request::post("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(Full::new(sent.concat().into())))
            .unwrap();
        let mut channel = transport::Endpoint::from_shared(address)
            .unwrap()
            .connect()
            .await
            .unwrap();
        let response = channel.ready().await.unwrap().call(request).await.unwrap();
        assert!(
            Status::from_header_map(response.headers()).is_none(),
            "headers are sent before"
        );

        let body = response.into_body().collect().await.unwrap();
        let status = Status::from_header_map(body.trailers().unwrap()).unwrap();
        assert_eq!(
            (status.code(), status.message()),
            (Code::NotFound, "symbol 'no.such.Symbol' not found")
        );
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("TRANSPORT", crate::DOMAIN)
        );
        assert!(!body.to_bytes().is_empty(), "an answer came before");
        shutdown.cancel();
        drop(channel);
        serving.await.unwrap().unwrap();
    }
}
