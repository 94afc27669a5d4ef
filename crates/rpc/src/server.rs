//! A server: the stack, health, reflection, graceful stop.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use prost_reflect::FileDescriptor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport};

use crate::{
    Authenticate, Limits,
    access::{Methods, SHARED, Table},
    admin::Serving,
    connections::{self, Connections, Speaks},
    layers, metrics,
    refusals::Refusals,
    shares::Shares,
    tls::Tls,
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
    /// The TLS that it serves under; plain without.
    pub tls: Option<Arc<Tls>>,
    /// Whether to serve reflection.
    pub reflection: bool,
    /// Access tables of its gRPC services. Health reports these services by their full names.
    pub access: &'static [Table],
    /// Whether the services can work.
    pub health: HealthCheck,
    /// Says it to the process's admin listener.
    pub serving: Serving,
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
        let speaks = Speaks {
            http1: files.is_some(),
            tls: self.tls.clone(),
        };
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
            self.serving,
            shutdown.clone(),
        ));

        let mut routes = routes.add_service(health);
        if self.reflection {
            // Our own build made the descriptors: if they do not decode, a test of `api` fails
            // first.
            let descriptors = descriptors(self.access);
            let builder = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(&descriptors)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
            let served = self.access.iter().chain(SHARED).map(|table| table.service);
            match served
                .fold(builder, tonic_reflection::server::Builder::with_service_name)
                .build_v1()
            {
                Ok(reflection) => routes = routes.add_service(reflection),
                Err(error) => tracing::error!(%error, "cannot serve reflection"),
            }
        }

        let methods = Arc::new(Methods::new(self.access));
        let refusals = Arc::new(Refusals::new(self.service, Arc::clone(&self.authenticate)));
        tokio::spawn(Arc::clone(&refusals).tell(shutdown.clone()));
        let gate = layers::Gate {
            service: self.service,
            limits: self.limits,
            methods: Arc::clone(&methods),
            authenticate: Arc::clone(&self.authenticate),
            shares: Shares::new(self.service, &self.limits),
            refusals,
        };
        let open = Connections::new(self.service, self.limits);
        metrics::watch(self.service, self.limits.concurrency, &gate.shares, &open);
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

        // Health watchers keep their streams open for ever: they are cut after the grace period.
        connections::serve(listener, open, speaks, router, shutdown, GRACE).await;
        Ok(())
    }
}

/// The files of the contract that describe these services, as an encoded set: what reflection tells
/// of. Services of other ports may be in them where they are referred to, but are not listed.
fn descriptors(access: &[Table]) -> Vec<u8> {
    fn add(file: &FileDescriptor, names: &mut HashSet<String>, set: &mut Vec<u8>) {
        if names.insert(file.name().to_owned()) {
            for imported in file.dependencies() {
                add(&imported, names, set);
            }
            // `repeated FileDescriptorProto file = 1`, with all options as they stand.
            prost::encoding::bytes::encode(1, &file.encode_to_vec(), set);
        }
    }
    let (mut names, mut set) = (HashSet::new(), Vec::new());
    for service in access
        .iter()
        .filter_map(|table| api::POOL.get_service_by_name(table.service))
    {
        add(&service.parent_file(), &mut names, &mut set);
    }
    set
}

/// Names for health: each service, and all together.
fn names(access: &'static [Table]) -> impl Iterator<Item = &'static str> {
    access.iter().map(|table| table.service).chain([""])
}

async fn report_health(
    reporter: tonic_health::server::HealthReporter,
    access: &'static [Table],
    healthy: HealthCheck,
    serving: Serving,
    shutdown: CancellationToken,
) {
    use tonic_health::ServingStatus;
    loop {
        let can = !shutdown.is_cancelled() && healthy().await;
        let status = match can {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        serving.set(can);
        for name in names(access) {
            reporter.set_service_status(name, status).await;
        }
        if shutdown.is_cancelled() {
            serving.stopped();
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
    use tokio::task::JoinHandle;
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

    /// Starts a server without services of its own. Returns a channel to it, the token that stops it,
    /// and its task.
    async fn served(
        reflection: bool,
        access: &'static [Table],
    ) -> (
        transport::Channel,
        CancellationToken,
        JoinHandle<Result<(), transport::Error>>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let server = Server {
            service: "test",
            limits: Limits::default(),
            authenticate: Arc::new(crate::Tokens::default()),
            tls: None,
            reflection,
            access,
            health: Arc::new(|| Box::pin(async { true })),
            serving: Serving::of("test"),
        };
        let serving = tokio::spawn(server.serve(listener, Routes::default(), shutdown.clone()));
        let endpoint = transport::Endpoint::from_shared(address).unwrap();
        (endpoint.connect().await.unwrap(), shutdown, serving)
    }

    /// The services that reflection lists on a server with these tables. Checks its health, too.
    async fn listed(access: &'static [Table]) -> Vec<String> {
        use tonic_reflection::pb::v1::{
            server_reflection_client::ServerReflectionClient, server_reflection_response::MessageResponse,
        };
        let (channel, shutdown, serving) = served(true, access).await;
        let mut listed = Vec::new();
        {
            let ask = async |request| {
                let request = ServerReflectionRequest {
                    message_request: Some(request),
                    ..Default::default()
                };
                let answers = ServerReflectionClient::new(channel.clone())
                    .server_reflection_info(futures::stream::iter([request]))
                    .await;
                answers
                    .unwrap()
                    .into_inner()
                    .message()
                    .await
                    .map(|answer| answer.unwrap().message_response)
            };
            let Ok(Some(MessageResponse::ListServicesResponse(services))) =
                ask(MessageRequest::ListServices(String::new())).await
            else {
                panic!("no services")
            };
            for service in services.service {
                // For each, reflection also returns the file, which a caller needs.
                let file = ask(MessageRequest::FileContainingSymbol(service.name.clone())).await;
                assert!(
                    matches!(file, Ok(Some(MessageResponse::FileDescriptorResponse(_)))),
                    "{}",
                    service.name
                );
                listed.push(service.name);
            }
            let other = ask(MessageRequest::FileContainingSymbol(
                "remit.audit.v1.AuditService".to_owned(),
            ))
            .await;
            assert!(other.is_err(), "another port's");
        }
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        for (service, known) in [
            ("", true),
            ("remit.intake.v1.IntakeService", true),
            ("remit.audit.v1.AuditService", false),
        ] {
            let asked = tonic_health::pb::HealthCheckRequest {
                service: service.to_owned(),
            };
            assert_eq!(health.check(asked).await.is_ok(), known, "{service}");
        }
        drop(health);
        shutdown.cancel();
        serving.await.unwrap().unwrap();
        listed.sort();
        listed
    }

    #[tokio::test]
    async fn reflection_and_health_tell_of_the_ports_own_services_only() {
        static ACCESS: [Table; 1] = [Table {
            service: "remit.intake.v1.IntakeService",
            methods: &[],
        }];
        let expected = [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "remit.intake.v1.IntakeService",
        ];
        assert_eq!(listed(&ACCESS).await, expected);
    }

    /// Without a gRPC client, which sends only the encodings that it was built with.
    #[tokio::test]
    async fn compressed_requests_are_refused_by_name() {
        for (encoding, named) in [
            ("gzip", "gzip"),
            ("zstd", "zstd"),
            ("br", "another encoding"),
            ("identity", ""),
        ] {
            let (mut channel, shutdown, serving) = served(false, &[]).await;
            let request = http::Request::post("/grpc.health.v1.Health/Check")
                .header("content-type", "application/grpc")
                .header("grpc-encoding", encoding)
                .header("te", "trailers")
                .body(tonic::body::Body::new(Full::new(vec![0, 0, 0, 0, 0].into())))
                .unwrap();
            let response = channel.ready().await.unwrap().call(request).await.unwrap();
            let status = Status::from_header_map(response.headers());
            match named {
                "" => assert!(status.is_none(), "{status:?}"),
                named => {
                    let status = status.unwrap();
                    assert_eq!(status.code(), Code::Unimplemented, "{encoding}");
                    assert!(
                        status.message().contains(named) && status.message().contains("identity"),
                        "{status}"
                    );
                    assert_eq!(response.headers()["grpc-accept-encoding"], "identity");
                    assert_eq!(status.get_details_error_info().unwrap().reason, "UNIMPLEMENTED");
                }
            }
            shutdown.cancel();
            drop((channel, response));
            serving.await.unwrap().unwrap();
        }
    }

    /// The first request is answered, so headers are sent. The second one fails in the library that
    /// serves reflection. Without a gRPC client, which would hide where the status stood.
    #[tokio::test]
    async fn an_error_that_ends_a_stream_after_its_headers_has_a_reason() {
        let (mut channel, shutdown, serving) = served(true, &[]).await;

        let sent = [
            message(MessageRequest::ListServices(String::new())),
            message(MessageRequest::FileContainingSymbol("no.such.Symbol".to_owned())),
        ];
        let request = http::Request::post("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(Full::new(sent.concat().into())))
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
