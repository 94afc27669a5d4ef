//! Intake alone: durable submissions per second, with its consumers stopped.

use std::{sync::Arc, time::Duration};

use intake::{
    Dependencies, Intake,
    category::Categories,
    evidence::{self, Folder},
};
use places::Territories;
use rpc::{Limits, Roles, Server, Token, Tokens};
use testkit::Backend;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const TOKEN: &str = "the-token-of-the-bench";

/// Serves an intake whose consumers are unreachable. Returns its address and token.
pub async fn serve(backend: &Backend, shutdown: &CancellationToken) -> anyhow::Result<(String, &'static str)> {
    let nowhere = || rpc::client::connect("http://127.0.0.1:9", TOKEN, Some(Duration::from_secs(1)));
    let parts = Dependencies {
        db: Intake::open(backend.url()).await?,
        categories: Arc::new(Categories::shipped()?),
        territories: Territories::shipped(),
        agencies: Arc::default(),
        in_force: Arc::new(intake::directory::Routings(nowhere()?)),
        // No evidence is uploaded.
        vault: Arc::new(Folder::open(&std::env::temp_dir().join("remit-bench-evidence")).await?),
        evidence: evidence::Limits::default(),
        receipt_key: [1; 32],
        routing: nowhere()?,
        audit: nowhere()?,
        replica: "bench".to_owned(),
        accept_time_up_to: None,
        clock: Arc::new(journal::SystemClock),
        entropy: Arc::new(journal::SystemEntropy),
    };
    let intake = Intake::start(parts, shutdown);
    let server = server("intake", TOKEN, intake.health())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (routes, _background) = intake.into_routes(Limits::default().message_bytes);
    tokio::spawn(server.serve(listener, routes, shutdown.clone()));
    Ok((address, TOKEN))
}

/// A server with Remit's usual layers, for callers with the token.
pub fn server(service: &'static str, token: &str, health: rpc::HealthCheck) -> anyhow::Result<Server> {
    let token = Token {
        token: token.to_owned(),
        system: "bench".to_owned(),
        agency: None,
        roles: Roles::OPERATOR,
    };
    Ok(Server {
        service,
        limits: Limits::default(),
        authenticate: Arc::new(Tokens::new(&[token])?),
        tls: None,
        reflection: false,
        access: intake::ACCESS,
        health,
        serving: rpc::admin::Serving::of(service),
    })
}
