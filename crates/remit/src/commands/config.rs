//! `remit config`: show and check the effective configuration.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use host::config::{self, Config, Override, Service};

use crate::{client::Failed, output};

/// Show and check the configuration
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Print the effective configuration as YAML
    ///
    /// Defaults, then the file, then the environment, then flags. The environment variable for the
    /// key `intake.listen` is REMIT_INTAKE_LISTEN. Secrets are in files named by the configuration,
    /// so none is printed.
    #[command(after_help = "\
Examples:
  remit config show
  remit config show --json
  remit config show --config remit.yaml --set limits.concurrency=256")]
    Show(Settings),
    /// Check the configuration as a start would, without starting
    ///
    /// Reads every file that it names, and refuses what `remit serve` would refuse: unknown keys
    /// and variables, values out of range, missing settings, unusable reference data and tokens,
    /// secrets that others can read.
    #[command(after_help = "\
Examples:
  remit config check --config remit.yaml
  remit config check intake --config /etc/remit/remit.yaml")]
    Check {
        /// What it is for: one service, or all three in one process
        #[arg(value_enum, default_value = "all")]
        which: Which,
        #[command(flatten)]
        settings: Settings,
    },
}

/// What a configuration is for.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Which {
    /// All three.
    All,
    /// Intake.
    Intake,
    /// Routing.
    Routing,
    /// Audit.
    Audit,
}

impl Which {
    /// The one service; `None` for all.
    pub fn service(self) -> Option<Service> {
        match self {
            Self::All => None,
            Self::Intake => Some(Service::Intake),
            Self::Routing => Some(Service::Routing),
            Self::Audit => Some(Service::Audit),
        }
    }
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Show(settings) => {
                let config = settings.load(Vec::new())?;
                match self.json {
                    true => output::value(&config.effective()),
                    false => Ok(output::document(config.to_yaml()?.as_bytes())?),
                }
            }
            Action::Check { which, settings } => {
                let config = settings.load(Vec::new())?;
                host::check(which.service(), &config)
                    .await
                    .map_err(|error| Failed::Usage(format!("{error:#}")))?;
                match self.json {
                    true => output::value(&serde_json::json!({ "usable": true })),
                    false => Ok(output::line("the configuration is usable")?),
                }
            }
        }
    }
}

/// Flags that set the configuration of servers.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// Configuration file (YAML)
    #[arg(long, global = true, env = "REMIT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set any configuration key, such as intake.listen=127.0.0.1:8301; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Settings {
    /// Whether `--set` sets a key.
    pub fn sets(&self, key: &str) -> bool {
        let keys = self.set.iter().filter_map(|set| set.split_once('='));
        keys.into_iter().any(|(set, _)| set == key)
    }

    /// Loads the configuration, with a data directory that a flag names.
    pub fn load_in(&self, data_dir: Option<&Path>) -> anyhow::Result<Config> {
        let flag = data_dir.map(|folder| Override::flag("--data-dir", "data_dir", &folder.display()));
        self.load(flag.into_iter().collect())
    }

    /// Loads the configuration, with these flags and `flags` on top.
    pub fn load(&self, flags: Vec<Override>) -> anyhow::Result<Config> {
        let mut overrides = Vec::new();
        for set in &self.set {
            let Some((key, value)) = set.split_once('=') else {
                bail!(Failed::Usage(format!("--set {set}: the form is KEY=VALUE")));
            };
            overrides.push(Override::flag("--set", key, &value));
        }
        overrides.extend(flags);
        Config::load(self.config.as_deref(), config::environment(), overrides)
            .map_err(|error| Failed::Usage(format!("{error:#}")).into())
    }
}
