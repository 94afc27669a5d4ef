//! `remit witness`: cosigns logs that only grow.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use audit::{DEFAULT_ORIGIN, Trusted};
use clap::{Args, Subcommand};
use host::secrets::private;
use journal::{SystemClock, SystemEntropy};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use witness::{Book, OpenError, Server, foreign};

use super::{
    config::Settings,
    serve::{Signals, with_telemetry},
};
use crate::{
    client::Failed,
    output::{self, Paint as _, field, line, strong},
};

/// Run a witness: it cosigns checkpoints of logs that never change what they showed before
///
/// A witness speaks C2SP tlog-witness. Somebody other than the log's operator runs it, on another
/// machine. It stores one checkpoint per log and none of the log's content.
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Serve until interrupted
    ///
    /// Creates the key and the records at the first start. Never restore the folder from a backup:
    /// a witness that forgets what it saw vouches for a second history. For connections from
    /// elsewhere, put a TLS proxy in front of it.
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
        /// Folder with the witness's key
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
struct Serve {
    /// Folder for key and records
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The witness's name, unique in the world and permanent, such as witness.example.org/w1
    #[arg(long)]
    name: String,
    /// Verifier key of a log to cosign, as printed by `remit log key`; may be repeated
    #[arg(long = "log-key", value_name = "KEY")]
    log_keys: Vec<String>,
    /// File with the verifier keys of one log, such as its log.vkey; may be repeated
    #[arg(long = "log-key-file", value_name = "FILE")]
    log_key_files: Vec<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7304")]
    listen: SocketAddr,
    #[command(flatten)]
    settings: Settings,
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Serve(serve) => serve.run().await,
            Action::Key { dir, json } => {
                let path = dir.join("witness.vkey");
                let key = foreign::read_text(&path, foreign::SMALL)
                    .with_context(|| format!("no witness in {}: cannot read {}", dir.display(), path.display()))?;
                match json {
                    true => output::value(&serde_json::json!({ "key": key.trim_end() })),
                    false => Ok(line(key.trim_end())?),
                }
            }
        }
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(Vec::new())?;
        let mut keys = self.log_keys.clone();
        for file in &self.log_key_files {
            let text =
                foreign::read_text(file, foreign::SMALL).with_context(|| format!("reading {}", file.display()))?;
            let trusted =
                Trusted::parse(&text).map_err(|error| Failed::Usage(format!("{}: {error}", file.display())))?;
            keys.extend_from_slice(trusted.keys());
        }
        if keys.iter().any(|key| key.split('+').next() == Some(DEFAULT_ORIGIN)) {
            let message = format!(
                "a key belongs to the log `{DEFAULT_ORIGIN}`, the default name of every log: a witness would take all \
                 of them for the same log. use a log with a name of its own (`log.origin`)"
            );
            return Err(Failed::Usage(message).into());
        }
        private(&self.dir.join("witness.key"))?;
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
            let mut signals = Signals::new()?;
            // Nobody has to read it, so a closed stdout is no error.
            let _ = line(format_args!("witness serves at http://{address}").style(strong()))
                .and_then(|()| field("key", book.vkey()))
                .and_then(|()| field("logs", origins.join(", ")));
            let shutdown = CancellationToken::new();
            let serving = tokio::spawn(Server::new(book).serve(listener, shutdown.clone()));
            signals.next().await;
            signals.exit_on_next();
            shutdown.cancel();
            serving.await??;
            Ok(())
        })
        .await
    }
}
