//! `remit witness`: lend a name to logs that only grow.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use audit::{DEFAULT_ORIGIN, Trusted};
use clap::{Args, Subcommand};
use journal::{SystemClock, SystemEntropy};
use owo_colors::OwoColorize as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use witness::{Book, OpenError, Server};

use super::{
    config::Settings,
    serve::{Signals, with_telemetry},
};
use crate::{
    client::Failed,
    output::{field, line, strong},
};

/// Run a witness: it cosigns the checkpoints of logs that never change what they showed before
///
/// A witness speaks C2SP tlog-witness and is run by somebody else than the log, on another machine. It keeps one checkpoint
/// of each log and nothing of what is in it.
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Serve until interrupted
    ///
    /// The key and the records are made at the first start. Never restore the folder from a backup: a witness that forgets
    /// what it saw vouches for a second history. Put a proxy that speaks TLS in front of it where others connect to it.
    #[command(after_help = "\
Example:
  remit witness serve --dir /var/lib/witness --name witness.example.org/w1 --log-key-file log.vkey

The log's operator then adds the line that this prints to the policy that `log.witness_policy_file` names:
  witness w1 witness.example.org/w1+1a2b3c4d+B… http://witness.example.org:7304
  quorum w1")]
    Serve(Serve),
    /// Print the witness's verifier key
    #[command(after_help = "Example:\n  remit witness key --dir /var/lib/witness")]
    Key {
        /// Where the witness keeps its key
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Args, Clone, Debug)]
struct Serve {
    /// Where key and records are kept
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The witness's name, unique in the world and for ever, such as witness.example.org/w1
    #[arg(long)]
    name: String,
    /// Verifier key of a log to cosign, as `remit log key` prints it; may be repeated
    #[arg(long = "log-key", value_name = "KEY")]
    log_keys: Vec<String>,
    /// File with the verifier keys of one log, such as its log.vkey; may be repeated
    #[arg(long = "log-key-file", value_name = "FILE")]
    log_key_files: Vec<PathBuf>,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7304")]
    listen: SocketAddr,
    #[command(flatten)]
    settings: Settings,
}

impl Command {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Serve(serve) => serve.run().await,
            Action::Key { dir } => {
                let path = dir.join("witness.vkey");
                let key = std::fs::read_to_string(&path).with_context(|| {
                    format!(
                        "there is no witness in {}: cannot read {}",
                        dir.display(),
                        path.display()
                    )
                })?;
                line(key.trim_end())?;
                Ok(())
            }
        }
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(Vec::new())?;
        let mut keys = self.log_keys.clone();
        for file in &self.log_key_files {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            let trusted =
                Trusted::parse(&text).map_err(|error| Failed::Usage(format!("{}: {error}", file.display())))?;
            keys.extend_from_slice(trusted.keys());
        }
        if keys.iter().any(|key| key.split('+').next() == Some(DEFAULT_ORIGIN)) {
            let message = format!(
                "a key is of the log `{DEFAULT_ORIGIN}`, as every log is called whose operator has not named it: a witness would take all \
                 of them for one. ask for the key of a log with a name of its own (`log.origin`)"
            );
            return Err(Failed::Usage(message).into());
        }
        with_telemetry(&config.telemetry, async move {
            let book = Book::open(&self.dir, &self.name, &keys, Arc::new(SystemClock), &SystemEntropy).await;
            let book = book.map_err(|error| match error {
                OpenError::Name(_) | OpenError::NoLogs | OpenError::LogKey(_) => {
                    anyhow::Error::new(Failed::Usage(error.to_string()))
                }
                error => error.into(),
            })?;
            let listener = TcpListener::bind(self.listen)
                .await
                .with_context(|| format!("the witness cannot listen on {}", self.listen))?;
            let address = listener.local_addr()?;
            let mut origins: Vec<&str> = book.origins().collect();
            origins.sort_unstable();
            // Nobody has to read it.
            let _ = line(format_args!("witness serves at http://{address}").style(strong()))
                .and_then(|()| field("key", book.vkey()))
                .and_then(|()| field("logs", origins.join(", ")));
            let shutdown = CancellationToken::new();
            let serving = tokio::spawn(Server::new(book).serve(listener, shutdown.clone()));
            let mut signals = Signals::new()?;
            signals.next().await;
            signals.exit_on_next();
            shutdown.cancel();
            serving.await??;
            Ok(())
        })
        .await
    }
}
