//! `remit config`: show the effective configuration.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use host::config::{self, Config, Override};

use crate::{client::Failed, output::line};

/// Show the configuration
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
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
  remit config show --config remit.yaml --set limits.concurrency=256")]
    Show(Settings),
}

impl Command {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let Action::Show(settings) = self.action;
        let config = settings.load(Vec::new())?;
        line(config.to_yaml()?.trim_end())?;
        Ok(())
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
