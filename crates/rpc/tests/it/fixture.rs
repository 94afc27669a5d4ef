//! A server with audit's inbound service, whose methods do nothing but take and wait; everybody may
//! call them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::audit::{
    AppendBatchesRequest, AppendBatchesResponse, AppendChangesRequest, AppendChangesResponse, RecordMarkRequest,
    RecordMarkResponse,
    audit_inbound_service_client::AuditInboundServiceClient,
    audit_inbound_service_server::{AuditInboundService, AuditInboundServiceServer},
};
use futures::{StreamExt as _, stream::BoxStream};
use rpc::{
    Authenticate, Limits, Roles, Server, Token, Tokens,
    access::{Kind, Method, Table},
    admin::Serving,
    client::Caller,
    tls::Tls,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

pub const APPEND_CHANGES: &str = "/remit.audit.v1.AuditInboundService/AppendChanges";
pub const APPEND_BATCHES: &str = "/remit.audit.v1.AuditInboundService/AppendBatches";

const ACCESS: &[Table] = &[Table {
    service: "remit.audit.v1.AuditInboundService",
    methods: &[
        Method::new("AppendChanges", &[Kind::Authenticated]),
        Method::new("AppendBatches", &[Kind::Authenticated]),
        Method::new("RecordMark", &[Kind::Authenticated]),
    ],
}];

struct Waiting(Arc<Semaphore>);

#[tonic::async_trait]
impl AuditInboundService for Waiting {
    type AppendBatchesStream = BoxStream<'static, Result<AppendBatchesResponse, Status>>;

    /// Holds its message until the gate is open, as if another service were asked.
    async fn append_changes(
        &self,
        request: Request<AppendChangesRequest>,
    ) -> Result<Response<AppendChangesResponse>, Status> {
        let _open = self.0.acquire().await;
        drop(request);
        Ok(Response::new(AppendChangesResponse::default()))
    }

    /// Answers each batch with nothing.
    async fn append_batches(
        &self,
        request: Request<Streaming<AppendBatchesRequest>>,
    ) -> Result<Response<Self::AppendBatchesStream>, Status> {
        let answers = request
            .into_inner()
            .map(|batch| batch.map(|_| AppendBatchesResponse::default()));
        Ok(Response::new(answers.boxed()))
    }

    async fn record_mark(&self, _: Request<RecordMarkRequest>) -> Result<Response<RecordMarkResponse>, Status> {
        Ok(Response::new(RecordMarkResponse::default()))
    }
}

/// The token of a system.
pub fn token(system: &str) -> String {
    format!("token-of-the-system-{system}")
}

pub struct Served {
    pub address: SocketAddr,
    /// Holds every `AppendChanges`; has no permits until a test adds some.
    pub gate: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Serves with these limits to the systems `a` to `h`, of partners, and `routing`, a service.
pub async fn serve(limits: Limits) -> Served {
    serve_under(limits, None).await
}

/// The same, under TLS.
pub async fn serve_under(limits: Limits, tls: Option<Arc<Tls>>) -> Served {
    serve_to(limits, tls, |tokens| Arc::new(tokens)).await
}

/// The same, with callers known by more than their tokens.
pub async fn serve_to(
    limits: Limits,
    tls: Option<Arc<Tls>>,
    identify: impl FnOnce(Tokens) -> Arc<dyn Authenticate>,
) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let gate = Arc::new(Semaphore::new(0));
    let systems = ["a", "b", "c", "d", "e", "f", "g", "h", "routing"];
    let tokens: Vec<_> = systems
        .iter()
        .map(|system| Token {
            token: token(system),
            system: (*system).to_owned(),
            agency: None,
            roles: match *system {
                "routing" => Roles::SERVICE,
                _ => Roles::PARTNER,
            },
        })
        .collect();
    let server = Server {
        service: "audit",
        limits,
        authenticate: identify(Tokens::new(&tokens).unwrap()),
        tls,
        reflection: false,
        access: ACCESS,
        health: Arc::new(|| Box::pin(async { true })),
        serving: Serving::of("audit"),
    };
    let service = AuditInboundServiceServer::new(Waiting(Arc::clone(&gate)));
    let routes = Routes::new(service.max_decoding_message_size(limits.message_bytes));
    tokio::spawn(server.serve(listener, routes, shutdown.clone()));
    Served {
        address,
        gate,
        shutdown,
    }
}

impl Served {
    /// A channel of its own for a system.
    pub fn channel(&self, system: &str) -> Caller {
        let address = format!("http://{}", self.address);
        rpc::client::connect(&address, &token(system), Some(Duration::from_secs(20))).unwrap()
    }

    pub fn client(&self, system: &str) -> AuditInboundServiceClient<Caller> {
        AuditInboundServiceClient::new(self.channel(system))
    }

    /// An ordinary call of a system, on a connection of its own.
    pub async fn call(&self, system: &str) -> Result<(), Status> {
        let answer = self.client(system).record_mark(RecordMarkRequest::default()).await;
        answer.map(drop)
    }
}
