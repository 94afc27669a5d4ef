//! All three services in this process: start and stop.
//!
//! Listeners are bound before the servers start, so that port 0 works and a started instance can be
//! called at once.

use anyhow::bail;
use rpc::Token;

use crate::{
    Unusable,
    admin::{Admin, Bound},
    check::{self, Checked},
    config::Service,
    data_dir::{DataDir, Endpoints, Layout},
    running::{Common, Options, Running, address, bind},
    token_file::find_token,
};

/// All three services, over one data directory.
#[derive(Debug)]
pub struct Instance {
    /// Addresses of the services.
    pub endpoints: Endpoints,
    /// The accepted tokens.
    pub tokens: Vec<Token>,
    /// The log's verifier key.
    pub vkey: String,
    data_dir: DataDir,
    admin: Admin,
    /// Intake, routing and audit.
    running: [Running; 3],
}

impl Instance {
    /// Starts the services. On return they are serving.
    pub async fn start(mut options: Options) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&options.config.data_dir)?;
        let layout = data_dir.layout();
        let Checked { reference, tokens } = check::all(&options.config).await?;
        let (tokens_file, tokens) = match (&options.config.tokens_file, tokens) {
            (Some(file), Some(tokens)) => (file.clone(), tokens),
            _ => {
                let tokens = data_dir.tokens(&reference.agencies(), &*options.entropy)?;
                (layout.tokens(), tokens)
            }
        };

        // From here on each service starts as it would alone, with a complete configuration.
        let config = &mut options.config;
        let admin = Bound::new(config).await?;
        let mut listeners = Vec::with_capacity(3);
        let is_tls = config.tls.certificate_file.is_some();
        if is_tls && config.tls.ca_file.is_none() {
            return Err(Unusable(
                "`tls.certificate_file` is set, and `tls.ca_file` is not: the services call each other under TLS, too, and \
                 need the authority of that certificate"
                    .to_owned(),
            )
            .into());
        }
        let own_name = config.own_name()?;
        for service in Service::ALL {
            let listener = bind(config, service).await?;
            let endpoint = config.endpoint_mut(service);
            endpoint.address = Some(address(&listener, is_tls)?.try_into()?);
            // The certificate need not name the loopback.
            if endpoint.server_name.is_none() {
                endpoint.server_name.clone_from(&own_name);
            }
            if endpoint.database.is_none() && endpoint.database_file.is_none() {
                endpoint.database = Some(layout.database(service)?);
            }
            listeners.push(listener);
        }
        if config.receipt_key_file.is_none() {
            let file = data_dir.receipt_key(config.intake.database.as_ref(), &*options.entropy)?;
            config.receipt_key_file = Some(file);
        }
        config.evidence.folder.get_or_insert_with(|| layout.evidence());
        config.log.key_file.get_or_insert_with(|| layout.log_key());
        config.log.checkpoint_file.get_or_insert_with(|| layout.checkpoint());

        let zone = reference.directory.zone();
        let ca_file = config.tls.ca_file.clone();
        let common = Common::new(options, reference, &tokens_file, tokens, Service::ALL.len())?;
        let mut starts = listeners
            .into_iter()
            .zip(Service::ALL)
            .map(|(listener, service)| Running::start(service, listener, &common));
        let (Some(intake), Some(routing), Some(audit)) = (starts.next(), starts.next(), starts.next()) else {
            bail!("expected three services");
        };
        let (intake, routing, audit) = tokio::try_join!(intake, routing, audit)?;
        let endpoints = Endpoints {
            intake: intake.address.clone(),
            routing: routing.address.clone(),
            audit: audit.address.clone(),
            utc_offset_seconds: Some(zone.seconds()),
            ca_file: ca_file.filter(|_| is_tls).map(std::path::absolute).transpose()?,
            server_name: own_name,
        };
        data_dir.publish(&endpoints)?;
        let services = [&intake, &routing, &audit].map(|running| running.health.clone());
        let admin = admin.serve(services.to_vec())?;
        Ok(Self {
            admin,
            endpoints,
            vkey: audit.vkey().unwrap_or_default().to_owned(),
            tokens: common.tokens,
            data_dir,
            running: [intake, routing, audit],
        })
    }

    /// Paths of the data directory.
    pub fn layout(&self) -> &Layout {
        self.data_dir.layout()
    }

    /// Address of metrics and health, if they are served.
    pub fn admin(&self) -> Option<&str> {
        self.admin.address.as_deref()
    }

    /// The token of `operator`, `auditor`, or an agency by its id.
    pub fn token(&self, who: &str) -> Option<&str> {
        find_token(&self.tokens, who)
    }

    /// Waits until a service ends, which only happens if it cannot continue.
    pub async fn ended(&mut self) -> anyhow::Error {
        let [intake, routing, audit] = &mut self.running;
        tokio::select! {
            error = intake.ended() => error,
            error = routing.ended() => error,
            error = audit.ended() => error,
        }
    }

    /// Stops gracefully: refuses new work, completes running work, and closes the databases.
    pub async fn stop(self) {
        self.data_dir.unpublish();
        let [intake, routing, audit] = self.running;
        // Audit last: the others may still be delivering changes.
        tokio::join!(intake.stop(), routing.stop());
        audit.stop().await;
        self.admin.stop().await;
    }
}
