//! The data directory of three services in one process.
//!
//! * `lock`: locked by the serving process; contains its process id.
//! * `intake.db`, `routing.db`, `audit.db`: the records.
//! * `evidence`: the evidence files, unless the configuration sets another folder.
//! * `receipt.key`, `log.key` and `log.vkey`, `log.checkpoint`: created at the first start, and
//!   never again once records depend on them.
//! * `tokens.json`: the callers' tokens. Created at the first start; each start adds new agencies
//!   of the configured directory, `remit token add` adds others. `tokens.json.lock` is locked while
//!   it is changed.
//! * `restoring`: a backup that is being restored; nothing is started from a directory that has it.
//! * `endpoints.json`: the addresses and the zone, while the instance is serving. Client commands
//!   use it to find the servers, and print times in its zone.

use std::{
    collections::BTreeSet,
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use journal::{Bytes32, Entropy};
use rpc::Token;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use witness::foreign;

use crate::{
    config::{DatabaseUrl, Service},
    input,
    secrets::private,
    token_file::{self, TokenFile},
};

/// Maximum size of the file with the addresses.
const SMALL: u64 = 1 << 20;

/// Name of the folder in which a backup is prepared that is being restored.
pub(crate) const RESTORING: &str = "restoring";

/// Name of the operator as a caller.
pub const OPERATOR: &str = "operator";
/// The system whose token reads the log with its details.
pub const AUDITOR: &str = "auditor";

/// Addresses of the three services, and what people who ask them need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Address of intake, such as `http://127.0.0.1:7301`.
    pub intake: String,
    /// Address of routing.
    pub routing: String,
    /// Address of audit.
    pub audit: String,
    /// The zone in which the instance counts days and deadlines: seconds east of UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset_seconds: Option<i32>,
    /// The authorities of its certificates, where it serves TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The name in its certificates, where that is not the host of the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
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
    /// The layout of a folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Path of the folder.
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

    /// The newest checkpoint, outside the database.
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("log.checkpoint")
    }

    /// The token file.
    pub fn tokens(&self) -> PathBuf {
        self.0.join("tokens.json")
    }

    /// The folder of evidence files.
    pub fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }

    /// The files that only this user may read.
    pub(crate) fn secrets(&self) -> Vec<PathBuf> {
        let mut secrets = vec![self.tokens(), self.receipt_key(), self.log_key()];
        secrets.extend(Service::ALL.map(|service| self.database_file(service)));
        secrets
    }

    /// The key of receipts.
    pub(crate) fn receipt_key(&self) -> PathBuf {
        self.0.join("receipt.key")
    }

    /// Where a backup is prepared that is being restored.
    pub(crate) fn restoring(&self) -> PathBuf {
        self.0.join(RESTORING)
    }

    fn endpoints(&self) -> PathBuf {
        self.0.join("endpoints.json")
    }

    fn database_file(&self, service: Service) -> PathBuf {
        self.0.join(format!("{service}.db"))
    }

    /// URL of a service's database in this folder.
    pub fn database(&self, service: Service) -> anyhow::Result<DatabaseUrl> {
        DatabaseUrl::of_file(&std::path::absolute(self.database_file(service))?)
    }

    /// The addresses of the instance serving from here; `None` if none is.
    pub fn read_endpoints(&self) -> anyhow::Result<Option<Endpoints>> {
        let path = self.endpoints();
        // A link whose target is gone, or a folder that cannot be entered, is not "none".
        if let Err(error) = std::fs::symlink_metadata(&path)
            && error.kind() == ErrorKind::NotFound
        {
            return Ok(None);
        }
        serde_json::from_str(&input::text(&path, SMALL)?).with_context(|| format!("{} is damaged", path.display()))
    }

    /// The tokens; `None` before the first start.
    pub fn read_tokens(&self) -> anyhow::Result<Option<Vec<Token>>> {
        token_file::read_if_there(&self.tokens())
    }
}

/// A data directory, locked for this process until dropped.
#[derive(Debug)]
pub struct DataDir {
    layout: Layout,
    _lock: File,
}

impl DataDir {
    /// Creates the folder if missing, and locks it for this process.
    ///
    /// # Errors
    ///
    /// Also if a restore into it did not end: what is there is of no one moment.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let data_dir = Self::open_to_restore(folder)?;
        let restoring = data_dir.layout.restoring();
        match restoring.exists() {
            true => bail!(
                "a backup was being restored into {}, and that did not end: remove everything in it but log.checkpoint, and \
                 restore again",
                folder.display()
            ),
            false => Ok(data_dir),
        }
    }

    /// Creates the folder if missing, and locks it for this process, whatever is in it.
    pub(crate) fn open_to_restore(folder: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("creating the data directory {}", folder.display()))?;
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
                    "the data directory {} is in use by {holder}; stop that, or choose another with --data-dir",
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

    /// Paths in the data directory.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The file with the receipt key, created if missing. `database` is intake's database.
    pub fn receipt_key(&self, database: Option<&DatabaseUrl>, entropy: &dyn Entropy) -> anyhow::Result<PathBuf> {
        let path = self.layout.receipt_key();
        if !path.exists() {
            // A new key would make issued receipts unusable without any error.
            let records = self.layout.database_file(Service::Intake);
            if database == Some(&self.layout.database(Service::Intake)?) && records.exists() {
                bail!(
                    "{} is missing, but {} was written with it; put it back from a backup",
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

    /// The tokens of the operator, the auditor, Remit's own services and the agencies. Creates
    /// missing ones.
    pub fn tokens(&self, agencies: &BTreeSet<String>, entropy: &dyn Entropy) -> anyhow::Result<Vec<Token>> {
        let file = TokenFile::hold(&self.layout.tokens())?;
        let kept = file.read()?;
        // New tokens would lock out every caller, and nobody would know why.
        if let (None, Some(records)) = (&kept, self.records()) {
            bail!(
                "{} is missing, but {} was written with it; put it back from a backup, or run `remit token renew` to make \
                 new tokens for everybody",
                self.layout.tokens().display(),
                records.display()
            );
        }
        let is_first = kept.is_none();
        let mut tokens = kept.unwrap_or_default();
        let added = token_file::complete(&mut tokens, agencies, entropy);
        if !added.is_empty() {
            file.write(&tokens)?;
            if !is_first {
                let systems = added.join(", ");
                tracing::warn!(systems, "made tokens for systems that had none in the token file");
            }
        }
        Ok(tokens)
    }

    /// A database with records, if there is one.
    fn records(&self) -> Option<PathBuf> {
        let databases = Service::ALL.map(|service| self.layout.database_file(service));
        databases
            .into_iter()
            .chain([self.layout.checkpoint()])
            .find(|file| std::fs::metadata(file).is_ok_and(|file| file.len() > 0))
    }

    /// Makes new tokens for everybody, where the file of an instance with records is lost.
    ///
    /// # Errors
    ///
    /// If the file exists: its tokens are changed one by one.
    pub fn renew_tokens(&self, agencies: &BTreeSet<String>, entropy: &dyn Entropy) -> anyhow::Result<Vec<Token>> {
        token_file::renew(&self.layout.tokens(), agencies, entropy)
    }

    /// Publishes the addresses for client commands.
    pub fn publish(&self, endpoints: &Endpoints) -> anyhow::Result<()> {
        let path = self.layout.endpoints();
        let mut text = serde_json::to_string_pretty(endpoints)?;
        text.push('\n');
        write_private(&path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
    }

    /// Removes the published addresses.
    pub fn unpublish(&self) {
        let path = self.layout.endpoints();
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the addresses");
        }
    }
}

/// Reads a 32-byte key.
pub fn read_key(path: &Path) -> anyhow::Result<Bytes32> {
    private(path)?;
    let bytes = foreign::read(path, foreign::SMALL).with_context(|| format!("reading the key {}", path.display()))?;
    match Bytes32::try_from(bytes) {
        Ok(key) => Ok(key),
        Err(bytes) => bail!("the key {} has {} bytes; it must have 32", path.display(), bytes.len()),
    }
}

/// Writes a file readable only by this user, durably and atomically.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    witness::file::replace_now(path, content, 0o600)
}
