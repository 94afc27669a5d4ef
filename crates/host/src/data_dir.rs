//! The folder in which all three services in one process keep everything.
//!
//! * `lock`: held by the process that serves from it; names its process id.
//! * `intake.db`, `routing.db`, `audit.db`: the records.
//! * `evidence`: the files of evidence, unless the configuration names another folder.
//! * `receipt.key`, `log.key` and `log.vkey`, `log.checkpoint`: made at the first start, and not again when records are there that need
//!   them.
//! * `tokens.json`: who may call. Made at the first start; agencies that are new in the
//!   configured directory are added at a start, others by `remit token add`.
//! * `endpoints.json`: the addresses, while it is served from. What client commands find the servers and their tokens by.

use std::{
    collections::BTreeSet,
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use data_encoding::BASE64URL_NOPAD;
use journal::{Bytes32, Entropy};
use rpc::{Role, Token};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::config::{DatabaseUrl, Service};

/// Name of the operator among the callers.
pub const OPERATOR: &str = "operator";
/// The system whose token reads the log with its details.
pub const AUDITOR: &str = "auditor";

/// Where the three services are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Address of intake, such as `http://127.0.0.1:7301`.
    pub intake: String,
    /// Address of routing.
    pub routing: String,
    /// Address of audit.
    pub audit: String,
}

impl Endpoints {
    /// Address of a service.
    pub fn of(&self, service: Service) -> &str {
        match service {
            Service::Intake => &self.intake,
            Service::Routing => &self.routing,
            Service::Audit => &self.audit,
        }
    }
}

/// Paths in a data directory.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

impl Layout {
    /// Of a folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The seed of the log's key.
    pub fn log_key(&self) -> PathBuf {
        self.0.join("log.key")
    }

    /// The log's verifier key.
    pub fn log_vkey(&self) -> PathBuf {
        self.0.join("log.vkey")
    }

    /// The newest checkpoint, outside of the database.
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("log.checkpoint")
    }

    /// The tokens.
    pub fn tokens(&self) -> PathBuf {
        self.0.join("tokens.json")
    }

    /// The files of evidence.
    pub fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }

    fn receipt_key(&self) -> PathBuf {
        self.0.join("receipt.key")
    }

    fn endpoints(&self) -> PathBuf {
        self.0.join("endpoints.json")
    }

    fn database_file(&self, service: Service) -> PathBuf {
        self.0.join(format!("{service}.db"))
    }

    /// URL of a service's database in this folder.
    pub fn database(&self, service: Service) -> anyhow::Result<DatabaseUrl> {
        let path = std::path::absolute(self.database_file(service))?;
        let path = path
            .to_str()
            .context("the data directory's path is not UTF-8, which the database's URL has to be")?
            // What has a meaning in URLs.
            .replace('%', "%25")
            .replace('?', "%3F")
            .replace('#', "%23");
        DatabaseUrl::secret(format!("sqlite://{path}"))
    }

    /// The addresses of the instance that serves from here; `None` when none does.
    pub fn read_endpoints(&self) -> anyhow::Result<Option<Endpoints>> {
        read_json(&self.endpoints())
    }

    /// The tokens; `None` before the first start.
    pub fn read_tokens(&self) -> anyhow::Result<Option<Vec<Token>>> {
        read_json(&self.tokens())
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    serde_json::from_str(&text).with_context(|| format!("{} is not what Remit wrote", path.display()))
}

/// A data directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    layout: Layout,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is not there, and takes it for this process.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("making the data directory {}", folder.display()))?;
        let path = folder.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                bail!(
                    "the data directory {} is in use by {holder}; stop that, or name another with --data-dir",
                    folder.display()
                );
            }
            Err(error) => return Err(error).with_context(|| format!("locking {}", path.display())),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self {
            layout: Layout::new(folder),
            _lock: lock,
        })
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The file with the key of receipts, made when there is none yet. `database` is where intake keeps its records.
    pub fn receipt_key(&self, database: Option<&DatabaseUrl>, entropy: &dyn Entropy) -> anyhow::Result<PathBuf> {
        let path = self.layout.receipt_key();
        if !path.exists() {
            // Receipts that were given out could not be followed any more, and a new key would hide that.
            let records = self.layout.database_file(Service::Intake);
            if database == Some(&self.layout.database(Service::Intake)?) && records.exists() {
                bail!(
                    "{} is missing, and {} was written with it; put it back from a backup",
                    path.display(),
                    records.display()
                );
            }
            let mut key = [0; 32];
            entropy.fill(&mut key);
            write_private(&path, &key).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(path)
    }

    /// The tokens: the operator's, the auditor's, one for each of Remit's own services and for each of the agencies. Those that are missing
    /// are made.
    pub fn tokens(&self, agencies: &BTreeSet<String>, entropy: &dyn Entropy) -> anyhow::Result<Vec<Token>> {
        let path = self.layout.tokens();
        let mut tokens = self.layout.read_tokens()?.unwrap_or_default();
        let known: BTreeSet<String> = tokens.iter().map(|token| token.system.clone()).collect();
        let wanted = [(OPERATOR, Role::Operator), (AUDITOR, Role::Auditor)]
            .into_iter()
            .map(|(system, role)| (system.to_owned(), None, role))
            .chain(Service::ALL.map(|service| (service.name().to_owned(), None, Role::Service)))
            .chain(
                agencies
                    .iter()
                    .map(|agency| (format!("{agency}-desk"), Some(agency.clone()), Role::Agency)),
            );
        let before = tokens.len();
        for (system, agency, role) in wanted.filter(|(system, ..)| !known.contains(system)) {
            tokens.push(Token {
                token: secret(entropy),
                system,
                agency,
                role,
            });
        }
        if tokens.len() > before {
            write_tokens(&path, &tokens)?;
        }
        Ok(tokens)
    }

    /// Lets client commands find the servers.
    pub fn publish(&self, endpoints: &Endpoints) -> anyhow::Result<()> {
        let path = self.layout.endpoints();
        let mut text = serde_json::to_string_pretty(endpoints)?;
        text.push('\n');
        write_private(&path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
    }

    /// The servers are gone.
    pub fn unpublish(&self) {
        let path = self.layout.endpoints();
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the addresses cannot be removed");
        }
    }
}

/// Reads a key of 32 bytes.
pub fn read_key(path: &Path) -> anyhow::Result<Bytes32> {
    let bytes = std::fs::read(path).with_context(|| format!("reading the key {}", path.display()))?;
    match Bytes32::try_from(bytes) {
        Ok(key) => Ok(key),
        Err(bytes) => bail!("the key {} has {} bytes; it must have 32", path.display(), bytes.len()),
    }
}

/// A new token.
pub fn secret(entropy: &dyn Entropy) -> String {
    let mut secret = [0; 24];
    entropy.fill(&mut secret);
    BASE64URL_NOPAD.encode(&secret)
}

/// Writes a file of tokens. Whoever reads it has the old ones or the new.
pub fn write_tokens(path: &Path, tokens: &[Token]) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(tokens)?;
    text.push('\n');
    write_private(path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// Writes a file that only this user may read, durably and all at once.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    witness::file::replace_now(path, content, 0o600)
}
