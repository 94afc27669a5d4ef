//! `remit serve`: run the services until interrupted.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use host::{
    config::{self, Config, Override, Service},
    data_dir::Layout,
    instance::Instance,
    running::{Options, Running},
};
use rustix::fs::Mode;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::Settings;
use crate::output::{Paint as _, dim, line, strong};

/// Run the services
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand, Clone, Debug)]
enum Which {
    /// Run all three services in this process
    ///
    /// Keeps records, keys and tokens in one data directory, created at the first start.
    #[command(after_help = "\
Examples:
  remit serve all
  remit serve all --data-dir /var/lib/remit --intake-listen 0.0.0.0:7301")]
    All(All),
    /// Run intake alone, as in a cluster
    #[command(after_help = EXAMPLE_ALONE)]
    Intake(Alone),
    /// Run routing alone, as in a cluster
    #[command(after_help = EXAMPLE_ALONE)]
    Routing(Alone),
    /// Run audit alone, as in a cluster
    #[command(after_help = EXAMPLE_ALONE)]
    Audit(Alone),
}

const EXAMPLE_ALONE: &str = "\
Needs in the configuration: the service's database, tokens_file, the addresses of the other two services (not audit),
and receipt_key_file and evidence.folder (intake) or log.key_file and log.checkpoint_file (audit). `remit config show` lists all keys.

Example:
  remit serve intake --config /etc/remit/remit.yaml --listen 0.0.0.0:7301";

/// Options for running all three services.
#[derive(Args, Clone, Debug)]
pub struct All {
    #[command(flatten)]
    settings: Settings,
    /// Data directory; goes before the variable REMIT_DATA_DIR and the configuration file [default:
    /// data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address that intake listens on; port 0 for any free one [default: 127.0.0.1:7301]
    #[arg(long, value_name = "ADDRESS")]
    intake_listen: Option<SocketAddr>,
    /// Address that routing listens on [default: 127.0.0.1:7302]
    #[arg(long, value_name = "ADDRESS")]
    routing_listen: Option<SocketAddr>,
    /// Address that audit listens on [default: 127.0.0.1:7303]
    #[arg(long, value_name = "ADDRESS")]
    audit_listen: Option<SocketAddr>,
    /// Serve gRPC reflection
    #[arg(long)]
    reflection: bool,
}

/// Options for running one service.
#[derive(Args, Clone, Debug)]
struct Alone {
    #[command(flatten)]
    settings: Settings,
    /// Address to listen on [default: 127.0.0.1, port 7301, 7302 or 7303]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Serve gRPC reflection
    #[arg(long)]
    reflection: bool,
}

impl All {
    /// Whether the log filter is set explicitly.
    pub fn says_what_is_logged(&self) -> bool {
        let key = "telemetry.filter";
        let variable = config::variable(key);
        self.settings.config.is_some()
            || std::env::var_os(variable).is_some()
            || self.settings.set.iter().any(|set| set.starts_with(key))
    }

    /// The configuration with these flags.
    pub fn load(&self) -> anyhow::Result<Config> {
        let mut flags = Vec::new();
        if let Some(data_dir) = &self.data_dir {
            flags.push(Override::flag("--data-dir", "data_dir", &data_dir.display()));
        }
        for (service, listen) in
            Service::ALL
                .into_iter()
                .zip([self.intake_listen, self.routing_listen, self.audit_listen])
        {
            if let Some(listen) = listen {
                let flag = format!("--{service}-listen");
                flags.push(Override::flag(&flag, format!("{service}.listen"), &listen));
            }
        }
        if self.reflection {
            flags.push(Override::flag("--reflection", "reflection", &true));
        }
        self.settings.load(flags)
    }
}

impl Command {
    /// Runs the command until interrupted.
    pub async fn run(self) -> anyhow::Result<()> {
        let (service, alone) = match self.which {
            Which::All(all) => {
                let config = all.load()?;
                return with_telemetry(&config.telemetry.clone(), async move {
                    let own = Layout::new(&config.data_dir).log_key();
                    warn_unnamed(&config, config.log.key_file.as_ref().unwrap_or(&own));
                    let instance = start(config).await?;
                    // Before it says that it serves: who reads that may stop it at once.
                    let signals = Signals::new()?;
                    // Nobody has to read it, so a closed stdout is no error.
                    let _ = announce(&instance).and_then(|()| suggest(&instance));
                    until_interrupted(instance, signals, async { Ok(()) }).await
                })
                .await;
            }
            Which::Intake(alone) => (Service::Intake, alone),
            Which::Routing(alone) => (Service::Routing, alone),
            Which::Audit(alone) => (Service::Audit, alone),
        };
        let mut flags = Vec::new();
        if let Some(listen) = alone.listen {
            flags.push(Override::flag("--listen", format!("{service}.listen"), &listen));
        }
        if alone.reflection {
            flags.push(Override::flag("--reflection", "reflection", &true));
        }
        let config = alone.settings.load(flags)?;
        with_telemetry(&config.telemetry.clone(), async move {
            if let (Service::Audit, Some(key_file)) = (service, &config.log.key_file) {
                warn_unnamed(&config, key_file);
            }
            let mut running = Running::alone(service, Options::new(config)).await?;
            let mut signals = Signals::new()?;
            let _ = line(format_args!("{service} serves at {}", running.address));
            if let Some(admin) = running.admin() {
                let _ = line(format_args!("metrics and health at {admin}"));
            }
            let ended = tokio::select! {
                () = signals.next() => Ok(()),
                error = running.ended() => Err(error),
            };
            signals.exit_on_next();
            running.stop().await;
            ended
        })
        .await
    }
}

/// Runs a server with log lines, traces and metrics.
pub async fn with_telemetry(
    telemetry: &telemetry::Config,
    serving: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    private_files();
    let guard = telemetry::init(telemetry, "remit").context("`telemetry`")?;
    log_panics();
    if std::env::var_os("RUST_LOG").is_some() {
        tracing::warn!("RUST_LOG has no effect; use `telemetry.filter` or REMIT_TELEMETRY_FILTER");
    }
    let served = serving.await;
    if let Err(error) = guard.shutdown().await {
        tracing::warn!(%error, "the last telemetry was not sent");
    }
    served
}

/// Warns before the first start, when the log can still get a name of its own.
fn warn_unnamed(config: &Config, key_file: &Path) {
    if config.log.origin == audit::DEFAULT_ORIGIN && !key_file.exists() {
        tracing::warn!(
            origin = config.log.origin,
            "`log.origin` is not set, and this is the log's first start: it gets the default name and keeps it for \
             ever. except for trials, stop it, set log.origin to a name like example.org/log, and start with an empty data \
             directory"
        );
    }
}

/// Files that a server creates, databases included, are accessible only to its user.
fn private_files() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Starts all three services.
pub async fn start(config: Config) -> anyhow::Result<Instance> {
    Instance::start(Options::new(config)).await
}

/// Serves until a signal arrives or a service cannot continue, and runs `work` meanwhile. Returns
/// the work's result.
pub async fn until_interrupted(
    mut instance: Instance,
    mut signals: Signals,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut done = Ok(());
    let working = async {
        done = work.await;
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        error = instance.ended() => Err(error),
        () = working => Ok(()),
    };
    let _ = line("stopping; interrupt again to stop at once".style(dim()));
    signals.exit_on_next();
    instance.stop().await;
    ended.and(done)
}

/// Signals that end a server.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on: an earlier signal ends the process at once.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The first signal stops gracefully, the second at once.
    pub(super) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(1);
        });
    }
}

/// Logs panics, too: in a cluster nobody reads raw stderr.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("of no text");
        tracing::error!(location, message, "panic");
    }));
}

/// Prints what is running.
pub fn announce(instance: &Instance) -> std::io::Result<()> {
    let layout = instance.layout();
    let agencies = instance.tokens.iter().filter(|token| token.agency.is_some()).count();
    line("Remit is running.".style(strong()))?;
    line("")?;
    for service in Service::ALL {
        line(format_args!(
            "  {:9} {}",
            service.name(),
            instance.endpoints.of(service)
        ))?;
    }
    if let Some(admin) = instance.admin() {
        line(format_args!("  {:9} {admin}", "admin"))?;
    }
    line(format_args!("  {:9} {}", "data", layout.folder().display()))?;
    line(format_args!(
        "  {:9} {}: of the operator, the auditor and {agencies} agencies; call as one of them with --as",
        "tokens",
        layout.tokens().display()
    ))?;
    line(format_args!("  {:9} {}", "log key", instance.vkey))?;
    line("")
}

/// Prints next steps.
fn suggest(instance: &Instance) -> std::io::Result<()> {
    let (remit, data_dir) = (own_name(), data_dir_flag(instance.layout().folder()));
    line("Try, in another terminal:")?;
    for (what, command) in [
        ("submit and follow the example stories", "demo"),
        ("as the operator: verify the whole log", "log verify"),
        ("as an agency: list its cases", "case list --as police-510100"),
    ] {
        line(format_args!("  {}", format!("# {what}").style(dim())))?;
        line(format_args!("  {remit} {command}{data_dir}"))?;
    }
    line("")
}

/// The flag for a data directory; empty for the default.
pub fn data_dir_flag(folder: &Path) -> String {
    if folder == Path::new("data") {
        String::new()
    } else {
        format!(" --data-dir {}", quoted(folder))
    }
}

/// The name this program was called by, quoted for a shell.
pub fn own_name() -> String {
    std::env::args_os()
        .next()
        .map_or_else(|| "remit".to_owned(), |name| quoted(Path::new(&name)))
}

/// A path quoted for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
