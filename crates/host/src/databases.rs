//! The services' databases by themselves: opened without a service.

use std::path::Path;

use sql::{Db, Error, Schema};

use crate::{
    Unusable,
    config::{Config, DatabaseUrl, Service},
    data_dir::Layout,
    secrets::private_database,
};

/// The parts of a service's database.
pub fn schemas(service: Service) -> &'static [Schema] {
    match service {
        Service::Intake => intake::SCHEMAS,
        Service::Routing => routing::SCHEMAS,
        Service::Audit => audit::SCHEMAS,
    }
}

/// The URL of a service's database: that of the configuration, or in its data directory.
pub fn url(service: Service, config: &Config) -> anyhow::Result<DatabaseUrl> {
    match config.database(service)? {
        Some(url) => Ok(url),
        None => Layout::new(&config.data_dir).database(service),
    }
}

/// Opens a service's database to be read. Nothing is created or changed.
///
/// # Errors
/// Also if there is none, it is another service's, or its schema is not this version's.
pub async fn open_to_read(service: Service, config: &Config) -> anyhow::Result<Db> {
    let url = url(service, config)?;
    there(service, &url)?;
    let opened = Db::open_to_read(url.expose(), schemas(service)).await;
    opened.map_err(|error| explained(service, error))
}

/// The changes that a service's database lacks. Nothing is created or changed.
pub async fn pending(service: Service, config: &Config) -> anyhow::Result<Vec<&'static str>> {
    let url = url(service, config)?;
    there(service, &url)?;
    let pending = Db::pending(url.expose(), schemas(service)).await;
    pending.map_err(|error| explained(service, error))
}

/// Brings a service's database up to date, and returns the changes that it lacked.
pub async fn migrate(service: Service, config: &Config) -> anyhow::Result<Vec<&'static str>> {
    let lacked = pending(service, config).await?;
    if !lacked.is_empty() {
        let url = url(service, config)?;
        if let Some(file) = url.file() {
            private_database(&file)?;
        }
        let opened = Db::open(url.expose(), schemas(service)).await;
        opened.map_err(|error| explained(service, error))?.close().await;
    }
    Ok(lacked)
}

/// Refuses a database that is another service's or of a newer version. A missing one is made later.
pub(crate) async fn judged(service: Service, url: &DatabaseUrl) -> anyhow::Result<()> {
    let pending = Db::pending(url.expose(), schemas(service)).await;
    pending.map(drop).map_err(|error| explained(service, error))
}

/// A missing SQLite file is not an empty database.
fn there(service: Service, url: &DatabaseUrl) -> anyhow::Result<()> {
    match url.file() {
        Some(file) if !is_file(&file) => Err(Unusable(format!(
            "{} does not exist: name the data directory with --data-dir, or the configuration with --config; the first start \
             of {service} makes it",
            file.display()
        ))
        .into()),
        _ => Ok(()),
    }
}

fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file())
}

/// Names the service whose database was opened as another's.
pub(crate) fn explained(service: Service, error: Error) -> anyhow::Error {
    if let Error::Foreign { url, found, .. } = &error {
        let has = |other: &Service| {
            let changes = schemas(*other).iter().flat_map(|schema| schema.changes);
            changes.clone().any(|(description, ..)| description == found)
        };
        if let Some(owner) = Service::ALL.iter().find(|other| **other != service && has(other)) {
            return Unusable(format!(
                "`{url}` is {owner}'s database, and {service} was asked to open it: set `{service}.database` to its own"
            ))
            .into();
        }
    }
    error.into()
}
