//! `remit migrate`: bring the databases up to date, or list what they lack.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::{config::Service, databases};

use super::config::{Settings, Which};
use crate::{
    client::Failed,
    output::{self, Paint as _, field, good, strong},
};

/// Bring the services' databases up to date, or list what they lack
///
/// Every start does it, too: this is for whoever wants it done, or seen, before. It opens the
/// databases of the configuration, or of the data directory. A database of another service or of a
/// newer version is refused, and nothing in it is changed. Services may be running: a change of the
/// schema leaves the version before it working.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes:
  0  the databases are up to date, or are now
  1  --check: changes are missing; otherwise: a database could not be changed
  2  a database is another service's, or was written by a newer version of Remit
  4  a database cannot be opened
  2  invalid command line or configuration

Examples:
  remit migrate --check --data-dir /var/lib/remit
  remit migrate routing --config /etc/remit/remit.yaml")]
pub struct Command {
    /// Whose database
    #[arg(value_enum, default_value = "all")]
    which: Which,
    /// Only list what is missing, and change nothing
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Data directory; goes before the variable REMIT_DATA_DIR and the configuration file [default:
    /// data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load_in(self.data_dir.as_deref())?;
        let services = match self.which.service() {
            Some(service) => vec![service],
            None => Service::ALL.to_vec(),
        };
        let mut missing = Vec::new();
        for service in services {
            let found = match self.check {
                true => databases::pending(service, &config).await,
                false => databases::migrate(service, &config).await,
            };
            missing.push((service, found.with_context(|| format!("{service}'s database"))?));
        }
        let lacks = missing.iter().any(|(_, changes)| !changes.is_empty());
        if self.json {
            let services: Vec<_> = missing
                .iter()
                .map(|(service, changes)| serde_json::json!({ "service": service.name(), "changes": changes }))
                .collect();
            output::value(&serde_json::json!({ "applied": !self.check, "services": services }))?;
        } else {
            for (service, changes) in &missing {
                let text = match (changes.as_slice(), self.check) {
                    ([], _) => "up to date".style(good()).to_string(),
                    (changes, true) => format!("{} {}", "lacks:".style(strong()), changes.join(", ")),
                    (changes, false) => format!("{} {}", "changed:".style(strong()), changes.join(", ")),
                };
                field(service.name(), text)?;
            }
        }
        match self.check && lacks {
            true => Err(Failed::Watched(1).into()),
            false => Ok(()),
        }
    }
}
