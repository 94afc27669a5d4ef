//! One service in this process.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use audit::Audit;
use intake::{Intake, evidence::Folder};
use journal::{Background, Clock, Entropy, SystemClock, SystemEntropy};
use routing::{Routing, active::Active};
use rpc::{
    Authenticate, HealthCheck, Server, Token,
    admin::Serving,
    client::Caller,
    tls::{Tls, Trusting},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    admin::{Admin, Bound},
    callers::Identities,
    certificates,
    check::{self, Checked},
    config::{Config, DatabaseUrl, Service},
    data_dir::read_key,
    databases::{self, explained},
    reference::Reference,
    secrets::private_database,
    tokens::Followed,
};
use rustix::process::{Resource, getrlimit};

/// Parameters for starting services.
#[derive(Clone)]
pub struct Options {
    /// The configuration. Databases default to SQLite files in the data directory.
    pub config: Config,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Source of randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Options with the machine's clock and randomness.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// State shared by the services of one process.
pub(crate) struct Common {
    options: Options,
    reference: Reference,
    pub(crate) tokens: Vec<Token>,
    followed: Arc<Followed>,
    tls: Option<Arc<Tls>>,
    identities: Arc<Identities>,
    limits: rpc::Limits,
}

impl Common {
    /// Creates the state of so many servers with tokens from a file, which is watched for changes.
    pub(crate) fn new(
        options: Options,
        reference: Reference,
        tokens_file: &Path,
        tokens: Vec<Token>,
        servers: usize,
    ) -> anyhow::Result<Self> {
        let followed = Followed::new(tokens_file, &tokens)?;
        let tls = certificates::follow(&options.config)?;
        let clock = Arc::clone(&options.clock);
        let identities = Identities::new(&options.config, Arc::clone(&followed), tls.clone(), clock)?;
        Ok(Self {
            limits: limits(&options.config, servers),
            tls,
            identities,
            options,
            reference,
            tokens,
            followed,
        })
    }

    /// The TLS that the services serve under.
    fn served_tls(&self) -> Option<Arc<Tls>> {
        let certificate = self.options.config.tls.certificate_file.as_ref();
        certificate.and(self.tls.clone())
    }

    /// The channel from one service to another.
    fn way(&self, from: Service, to: Service) -> anyhow::Result<Caller> {
        let endpoint = self.options.config.endpoint(to);
        let address = Config::need(&format!("{to}.address"), endpoint.address.as_ref())?;
        let own = self.followed.own(from, &self.tokens)?;
        let trusting = self.tls.as_ref().map(Trusting::like);
        let trusting = match (trusting, &endpoint.server_name) {
            (Some(trusting), Some(name)) => Some(trusting.named(name)?),
            (trusting, _) => trusting,
        };
        let channel = rpc::client::connect_over(address.as_str(), trusting.as_ref(), &own, None, Some(PATIENCE));
        Ok(channel?)
    }

    /// Name of this replica. A database that only one process can open needs no unique name.
    fn replica(&self, database: &DatabaseUrl) -> String {
        match &self.options.config.replica {
            Some(replica) => replica.clone(),
            None if database.is_sqlite() => "local".to_owned(),
            None => {
                let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
                format!("{host}-{}", std::process::id())
            }
        }
    }
}

/// Files that a process keeps for itself: databases, evidence, its own connections.
const RESERVED: usize = 256;

/// The limits of each server of this process: the files that it may open are shared by them.
fn limits(config: &Config, servers: usize) -> rpc::Limits {
    let limits = config.limits.to_rpc();
    let Some(files) = getrlimit(Resource::Nofile).current else {
        return limits;
    };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let shared = files.saturating_sub(RESERVED.min(files / 2)) / servers;
    if shared < limits.connections {
        tracing::info!(
            files,
            connections = shared,
            configured = limits.connections,
            "fewer connections than `limits.connections`, for the files that the process may open"
        );
    }
    limits.with_connections(shared)
}

/// Time limit for calls between services.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running service.
#[derive(Debug)]
pub struct Running {
    /// The service.
    pub service: Service,
    /// Its address.
    pub address: String,
    /// Stops relays and upkeep.
    upkeep: CancellationToken,
    /// Stops the server.
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    /// Whether it can work.
    pub(crate) health: Serving,
    /// The process's, where this is its only service.
    admin: Admin,
    ending: Ending,
}

/// What to stop after the server.
#[derive(Debug)]
enum Ending {
    Background(Background),
    Audit(Box<Audit>),
}

impl Running {
    /// Starts a single service, as in a cluster, with a complete configuration.
    pub async fn alone(service: Service, options: Options) -> anyhow::Result<Self> {
        let Checked { reference, tokens } = check::alone(service, &options.config).await?;
        let tokens_file = Config::need("tokens_file", options.config.tokens_file.as_ref())?.clone();
        let tokens = tokens.unwrap_or_default();
        let admin = Bound::new(&options.config).await?;
        let listener = bind(&options.config, service).await?;
        let common = Common::new(options, reference, &tokens_file, tokens, 1)?;
        let mut running = Self::start(service, listener, &common).await?;
        running.admin = admin.serve(vec![running.health.clone()])?;
        Ok(running)
    }

    /// Address of the process's metrics and health, if they are served.
    pub fn admin(&self) -> Option<&str> {
        self.admin.address.as_deref()
    }

    /// Starts a service on a listener that the caller bound.
    pub(crate) async fn start(service: Service, listener: TcpListener, common: &Common) -> anyhow::Result<Self> {
        let config = &common.options.config;
        let database = config.database(service)?;
        let database = Config::need(&format!("{service}.database"), database.as_ref())?;
        if let Some(file) = database.file() {
            private_database(&file)?;
        }
        let (upkeep, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let (clock, entropy) = (Arc::clone(&common.options.clock), Arc::clone(&common.options.entropy));
        let accept_time_up_to = config.accept_time_up_to.map(Into::into);
        let message_bytes = config.limits.message_bytes;
        let opening = || format!("opening {service}'s database {database}");
        let mut files = None;
        let (routes, health, access, ending): (Routes, HealthCheck, _, _) = match service {
            Service::Intake => {
                let receipt_key = Config::need("receipt_key_file", config.receipt_key_file.as_ref())?;
                let folder = Config::need("evidence.folder", config.evidence.folder.as_ref())?;
                let vault = Folder::open(folder).await.context("`evidence.folder`")?;
                let db = Intake::open(database.expose()).await;
                let db = db.map_err(|error| explained(service, error)).with_context(opening)?;
                let key = read_key(receipt_key)?;
                let shared = intake::shared::check(&db, &key, &vault, &entropy).await;
                shared.with_context(|| {
                    format!(
                        "intake cannot start with {} and {}",
                        receipt_key.display(),
                        folder.display()
                    )
                })?;
                let parts = intake::Dependencies {
                    receipt_key: key,
                    vault: Arc::new(vault),
                    evidence: config.evidence.limits(),
                    db,
                    categories: Arc::clone(&common.reference.categories),
                    territories: common.reference.territories,
                    agencies: Arc::new(common.reference.agencies()),
                    in_force: Arc::new(intake::directory::Routings(common.way(service, Service::Routing)?)),
                    routing: common.way(service, Service::Routing)?,
                    audit: common.way(service, Service::Audit)?,
                    replica: common.replica(database),
                    clock,
                    accept_time_up_to,
                    entropy,
                };
                let intake = Intake::start(parts, &upkeep);
                let health = intake.health();
                let (routes, background) = intake.into_routes(message_bytes);
                (routes, health, intake::ACCESS, Ending::Background(background))
            }
            Service::Routing => {
                let db = Routing::open(database.expose()).await;
                let db = db.map_err(|error| explained(service, error)).with_context(opening)?;
                let Reference { directory, rules, .. } = &common.reference;
                let configured = Active::new(Arc::clone(directory), Arc::clone(rules));
                let current = Routing::prepare(&db, configured, &*clock, &*entropy).await;
                let current = Arc::new(current.context("loading routing's rule set and directory")?);
                let dependencies = routing::Dependencies {
                    db,
                    current,
                    calendars: Arc::clone(&common.reference.calendars),
                    taxonomy: Arc::clone(&common.reference.taxonomy),
                    intake: common.way(service, Service::Intake)?,
                    audit: common.way(service, Service::Audit)?,
                    replica: common.replica(database),
                    clock,
                    accept_time_up_to,
                    entropy,
                };
                let routing = Routing::start(dependencies, &upkeep);
                let health = routing.health();
                let (routes, background) = routing.into_routes(message_bytes);
                (routes, health, routing::ACCESS, Ending::Background(background))
            }
            Service::Audit => {
                // Names whose database it is, if it is another service's.
                databases::judged(service, database).await.with_context(opening)?;
                let audit = Audit::start(audit_config(config, database)?, clock, entropy).await;
                let audit = audit.context("starting the log")?;
                // Without routing, audit shows agencies no details but does everything else.
                let sight = match config.routing.address {
                    Some(_) => {
                        let way = common.way(service, Service::Routing)?;
                        Some(Arc::new(audit::RoutingsSight(way)) as Arc<dyn audit::Sight>)
                    }
                    None => None,
                };
                let (routes, health) = (audit.routes(message_bytes, sight), audit.health());
                files = Some(audit.files());
                (routes, health, audit::ACCESS, Ending::Audit(Box::new(audit)))
            }
        };
        let address = address(&listener, common.served_tls().is_some())?;
        let serving = Serving::of(service.name());
        let server = Server {
            service: service.name(),
            limits: common.limits,
            authenticate: Arc::clone(&common.identities) as Arc<dyn Authenticate>,
            tls: common.served_tls(),
            reflection: config.reflection,
            access,
            health,
            serving: serving.clone(),
        };
        tracing::info!(%service, address, %database, "serving");
        Ok(Self {
            service,
            address,
            upkeep,
            serving: tokio::spawn(server.serve_with_files(listener, routes, files, shutdown.clone())),
            shutdown,
            health: serving,
            admin: Admin::default(),
            ending,
        })
    }

    /// The log's verifier key; audit only.
    pub fn vkey(&self) -> Option<&str> {
        match &self.ending {
            Ending::Audit(audit) => Some(audit.vkey()),
            Ending::Background(_) => None,
        }
    }

    /// Waits until the server ends, which only happens if it cannot continue.
    pub async fn ended(&mut self) -> anyhow::Error {
        let ended = (&mut self.serving).await;
        let service = self.service;
        match ended {
            Ok(Ok(())) => anyhow!("{service} ended"),
            Ok(Err(error)) => anyhow::Error::new(error).context(format!("{service} cannot serve")),
            Err(error) => anyhow::Error::new(error).context(format!("{service} panicked")),
        }
    }

    /// Stops gracefully: refuses new work, completes running work, and closes the database.
    pub async fn stop(self) {
        self.upkeep.cancel();
        self.shutdown.cancel();
        let service = self.service;
        // If it ended before, `ended` has reported that.
        if !self.serving.is_finished()
            && let Err(error) = self.serving.await
        {
            tracing::error!(%service, %error, "the server panicked");
        }
        match self.ending {
            Ending::Background(background) => background.finish().await,
            Ending::Audit(audit) => audit.stop().await,
        }
        self.admin.stop().await;
        tracing::info!(%service, "stopped");
    }
}

/// Audit's part of the configuration.
///
/// # Errors
///
/// If a required setting is missing.
pub fn audit_config(config: &Config, database: &DatabaseUrl) -> anyhow::Result<audit::Config> {
    Ok(audit::Config {
        database: database.expose().to_owned(),
        origin: config.log.origin.clone(),
        key_file: Config::need("log.key_file", config.log.key_file.as_ref())?.clone(),
        checkpoint_file: Config::need("log.checkpoint_file", config.log.checkpoint_file.as_ref())?.clone(),
        checkpoint_interval_ms: config.log.checkpoint_interval_ms,
        checkpoint_refresh_ms: config.log.checkpoint_refresh_ms,
        witness_policy_file: config.log.witness_policy_file.clone(),
        witness_timeout_ms: config.log.witness_timeout_ms,
        ca_file: config.log.ca_file.clone(),
    })
}

/// Binds the configured address.
pub(crate) async fn bind(config: &Config, service: Service) -> anyhow::Result<TcpListener> {
    let listen = config.listen(service);
    TcpListener::bind(listen)
        .await
        .with_context(|| format!("{service} cannot listen on {listen}; set another address with `{service}.listen` in the configuration, or a flag"))
}

/// The address of a listener for callers on this machine.
pub(crate) fn address(listener: &TcpListener, is_tls: bool) -> anyhow::Result<String> {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if is_tls { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}
