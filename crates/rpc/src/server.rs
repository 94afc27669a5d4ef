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
