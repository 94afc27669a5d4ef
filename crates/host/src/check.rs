//! What a start needs of its configuration, checked before anything is opened: by every start, and
//! by `remit config check`, which only does this.

use anyhow::Context as _;
use rpc::{Systems, Token};

use crate::{
    Unusable, callers, certificates,
    config::{Config, Service, variable},
    data_dir::{Layout, read_key},
    reference::Reference,
    secrets::private,
    token_file::{self, own_token},
    tokens,
};

/// What a check has read, for the start that follows.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) reference: Reference,
    /// The tokens of the file that the configuration names.
    pub(crate) tokens: Option<Vec<Token>>,
}

/// Checks the configuration of a single service, or of all three over one data directory.
///
/// # Errors
///
/// What a start would be refused for, with the key.
pub async fn check(service: Option<Service>, config: &Config) -> anyhow::Result<()> {
    let checked = match service {
        Some(service) => alone(service, config).await?,
        None => all(config).await?,
    };
    // A start makes those that the data directory lacks.
    if let (None, None) = (&checked.tokens, service)
        && let Some(kept) = Layout::new(&config.data_dir).read_tokens()?
    {
        let table = tokens::table(&kept)?;
        callers::check(config, table.systems())?;
        for service in Service::ALL {
            if kept.iter().any(|token| token.system == service.name()) {
                own_token(&kept, service)?;
            }
        }
    }
    Ok(())
}

/// The check of a single service.
pub(crate) async fn alone(service: Service, config: &Config) -> anyhow::Result<Checked> {
    refuse_missing(service, config)?;
    let checked = common(&[service], config).await?;
    // Audit calls routing only, and only where that has an address.
    if (service != Service::Audit || config.routing.address.is_some())
        && let Some(tokens) = &checked.tokens
    {
        own_token(tokens, service)?;
    }
    config.database(service)?;
    Ok(checked)
}

/// The check of all three.
pub(crate) async fn all(config: &Config) -> anyhow::Result<Checked> {
    let own = Layout::new(&config.data_dir);
    for secret in own.secrets() {
        private(&secret)?;
    }
    for service in Service::ALL {
        config.database(service)?;
    }
    let checked = common(&Service::ALL, config).await?;
    if let Some(tokens) = &checked.tokens {
        for service in Service::ALL {
            own_token(tokens, service)?;
        }
    }
    Ok(checked)
}

/// Services may share one configuration: each checks the secrets that it reads, and needs no other.
async fn common(services: &[Service], config: &Config) -> anyhow::Result<Checked> {
    config.refuse_plaintext(services)?;
    certificates::read(config)?;
    let read_by = |service, file| services.contains(&service).then_some(file).and_then(Option::as_ref);
    let receipt_key = read_by(Service::Intake, &config.receipt_key_file);
    for (key, secret) in [
        ("tokens_file", config.tokens_file.as_ref()),
        ("callers_key_file", config.callers_key_file.as_ref()),
        ("receipt_key_file", receipt_key),
        ("log.key_file", read_by(Service::Audit, &config.log.key_file)),
    ] {
        if let Some(secret) = secret {
            private(secret).with_context(|| format!("`{key}`"))?;
        }
    }
    if let Some(key) = receipt_key {
        read_key(key).context("`receipt_key_file`")?;
    }
    let tokens = match &config.tokens_file {
        Some(file) => {
            let tokens = token_file::read(file).context("`tokens_file`")?;
            let table = tokens::table(&tokens).with_context(|| format!("`tokens_file`, {}", file.display()))?;
            callers::check(config, table.systems())?;
            Some(tokens)
        }
        None => {
            callers::check(config, &Systems::new())?;
            None
        }
    };
    if services.contains(&Service::Audit) {
        let own = Layout::new(&config.data_dir);
        let log = &config.log;
        let parts = audit::Config {
            // Neither is opened.
            database: String::new(),
            checkpoint_file: log.checkpoint_file.clone().unwrap_or_else(|| own.checkpoint()),
            key_file: log.key_file.clone().unwrap_or_else(|| own.log_key()),
            origin: log.origin.clone(),
            checkpoint_interval_ms: log.checkpoint_interval_ms,
            checkpoint_refresh_ms: log.checkpoint_refresh_ms,
            witness_policy_file: log.witness_policy_file.clone(),
            witness_timeout_ms: log.witness_timeout_ms,
            ca_file: log.ca_file.clone(),
        };
        audit::check_config(&parts).await.context("`log`")?;
    }
    let reference = Reference::load(&config.files).map_err(|error| Unusable(format!("{error:#}")))?;
    Ok(Checked { reference, tokens })
}

/// Reports all missing settings of a single service at once.
fn refuse_missing(service: Service, config: &Config) -> anyhow::Result<()> {
    let endpoint = config.endpoint(service);
    let mut needed = vec![
        (
            format!("{service}.database"),
            endpoint.database.is_some() || endpoint.database_file.is_some(),
        ),
        ("tokens_file".to_owned(), config.tokens_file.is_some()),
    ];
    for peer in Service::ALL {
        if service != Service::Audit && peer != service {
            needed.push((format!("{peer}.address"), config.endpoint(peer).address.is_some()));
        }
    }
    match service {
        Service::Intake => {
            needed.push(("receipt_key_file".to_owned(), config.receipt_key_file.is_some()));
            needed.push(("evidence.folder".to_owned(), config.evidence.folder.is_some()));
        }
        Service::Routing => {}
        Service::Audit => {
            needed.push(("log.key_file".to_owned(), config.log.key_file.is_some()));
            needed.push(("log.checkpoint_file".to_owned(), config.log.checkpoint_file.is_some()));
        }
    }
    let missing: Vec<_> = needed
        .iter()
        .filter(|(_, is_set)| !is_set)
        .map(|(key, _)| format!("\n  `{key}`, or the environment variable {}", variable(key)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Unusable(format!("{service} lacks configuration:{}", missing.concat())).into())
}
