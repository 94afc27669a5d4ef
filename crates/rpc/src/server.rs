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

/// Whether a service can do its work: its database answers.
pub type HealthCheck = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// What all servers have in common.
#[derive(Clone)]
pub struct Server {
    /// Name of the service in traces, such as `intake`.
    pub service: &'static str,
    /// What it takes at most.
    pub limits: Limits,
    /// Who decides who calls.
    pub authenticate: Arc<dyn Authenticate>,
    /// Whether reflection is served.
    pub reflection: bool,
    /// Who may call which method of its gRPC services. Health reports these services by their full names.
    pub access: &'static [Table],
    /// Whether they can do their work.
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

/// How often health is looked at.
const HEALTH: Duration = Duration::from_secs(2);
/// How long requests that are under way may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

impl Server {
    /// Serves the routes on a listener that the caller bound, until `shutdown`: then health turns, new work is refused, and
    /// what is under way ends.
    pub async fn serve(
        self,
        listener: TcpListener,
        routes: Routes,
        shutdown: CancellationToken,
    ) -> Result<(), transport::Error> {
        self.serve_with_files(listener, routes, None, shutdown).await
    }

    /// Like [`Server::serve`], and on the same listener files for everybody, by HTTP/1.1 and HTTP/2. They are limited like
    /// everything else, but whoever asks for them is not asked who it is.
    pub async fn serve_with_files(
        self,
        listener: TcpListener,
        routes: Routes,
        files: Option<axum::Router>,
        shutdown: CancellationToken,
    ) -> Result<(), transport::Error> {
        let accept_http1 = files.is_some();
        let (reporter, health) = tonic_health::server::health_reporter();
        // Known by name from the first moment, serving from when the database has answered.
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
            // The descriptors were made by our own build: if they do not decode, a test of `api` fails first.
            match tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(api::DESCRIPTORS)
                .build_v1()
            {
                Ok(reflection) => routes = routes.add_service(reflection),
                Err(error) => tracing::error!(%error, "reflection is not served"),
            }
        }

        let methods = Arc::new(Methods::new(self.access));
        let gate = layers::Gate {
            service: self.service,
            limits: self.limits,
            methods: Arc::clone(&methods),
            running: Arc::new(Semaphore::new(self.limits.concurrency)),
        };
        // The last layer added is the first that a request meets.
        let router = routes
            .prepare()
            .into_axum_router()
            .layer(layers::Access {
                authenticate: self.authenticate,
                methods,
            })
            // Past the question who calls, and inside all limits.
            .merge(files.unwrap_or_default())
            .layer(gate);

        let stopped = shutdown.clone();
        let serving = transport::Server::builder()
            .accept_http1(accept_http1)
            .http2_max_header_list_size(self.limits.header_bytes)
            .max_concurrent_streams(self.limits.streams_per_connection)
            // Peers that went away without a word are noticed.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .tcp_nodelay(true)
            .add_routes(Routes::from(router))
            .serve_with_incoming_shutdown(incoming(listener), shutdown.cancelled_owned());
        tokio::select! {
            served = serving => served,
            // Watchers keep their streams open for ever: after the grace period they are cut.
            () = async { stopped.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }
}

/// What health is asked for: each service, and all together.
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
