//! `remit health`: whether a process on this machine can work, for those who restart it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::bail;
use clap::Args;
use host::config::{Config, Service};
use https::Trust;
use rpc::tls::Trusting;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::config::{Settings, Which};
use crate::{client::Failed, output};

/// Ask a process on this machine whether it can work
///
/// Reads the configuration that the process was started with, and asks its admin listener
/// (`admin.listen`), or else each service's own health (`grpc.health.v1`) at the address that it
/// listens on. Needs no token. Made for container health checks and for units; whether anything is
/// late or lost, `remit status` says.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes:
  0  it can work
  1  it says that it cannot
  4  it does not answer

Examples:
  remit health                                          all three services of one process
  remit health intake --config /etc/remit/remit.yaml")]
pub struct Command {
    /// What the process serves
    #[arg(value_enum, default_value = "all")]
    which: Which,
    /// Longest time to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    timeout_ms: u64,
    #[command(flatten)]
    settings: Settings,
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(Vec::new())?;
        let patience = Duration::from_millis(self.timeout_ms);
        let services = match self.which.service() {
            Some(service) => vec![service],
            None => Service::ALL.to_vec(),
        };
        let asking = async {
            match config.admin.listen {
                Some(listen) => ask_admin(here(listen)).await,
                None => {
                    let trusting = trusting(&config)?;
                    for service in services {
                        ask(service, here(config.listen(service)), trusting.as_ref()).await?;
                    }
                    Ok(())
                }
            }
        };
        match tokio::time::timeout(patience, asking).await {
            Ok(answer) => answer?,
            Err(_) => bail!(silent(format!("no answer within {patience:?}"))),
        }
        Ok(output::line("serving")?)
    }
}

/// The address at which this machine reaches one that a process listens on.
fn here(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

fn silent(message: String) -> Failed {
    Failed::Unreachable {
        message,
        help: "does the process run, with this configuration?".to_owned(),
    }
}

/// Most that is read of an answer.
const ANSWER: u64 = 4 << 10;

async fn ask_admin(address: SocketAddr) -> anyhow::Result<()> {
    let unreachable = |error: std::io::Error| silent(format!("{address}: {error}"));
    let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(unreachable)?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER)
        .read_to_end(&mut answer)
        .await
        .map_err(unreachable)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => bail!("{}", text.trim()),
        _ => bail!("{address} is no admin listener of Remit"),
    }
}

/// How the process is asked that serves under TLS: it has to show the certificate of its
/// configuration, or one of the same name.
fn trusting(config: &Config) -> anyhow::Result<Option<Trusting>> {
    let Some(name) = config.own_name()? else {
        return Ok(None);
    };
    let trust = Trust::load(config.tls.ca_file.as_deref(), "`tls.ca_file`")?;
    Ok(Some(Trusting::roots(trust.roots()).named(&name)?))
}

async fn ask(service: Service, address: SocketAddr, trusting: Option<&Trusting>) -> anyhow::Result<()> {
    let unreachable = |error: String| silent(format!("{service} at {address}: {error}"));
    let scheme = if trusting.is_some() { "https" } else { "http" };
    let endpoint = tonic::transport::Endpoint::from_shared(format!("{scheme}://{address}"))?;
    let Some(channel) = rpc::client::channel(&endpoint, trusting) else {
        bail!("{service} serves TLS, and no authority is known");
    };
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    let answer = answer.map_err(|status| unreachable(telemetry::with_causes(&status)))?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        _ => bail!("not serving: {service}"),
    }
}
