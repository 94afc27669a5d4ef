//! A witness's records: the last cosigned checkpoint of each log, and its key. Stored in a folder.
//!
//! * `witness.key`, `witness.vkey`: created at the first start.
//! * `logs/HASH`: the last cosigned checkpoint of the log whose origin has this SHA-256, with the
//!   log's signature and ours.
//! * `lock`: held by the running process.
//!
//! Never restore `logs` from a backup: with an older record the witness would vouch for a second
//! history. For the same reason it does not start with a key but without records.

use std::{
    collections::HashMap,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::HEXLOWER;
use journal::{Bytes32, Clock, Entropy};
use sha2::{Digest as _, Sha256};
use signed_note::{Note, VerifierError};
use tlog_tiles::Checkpoint;
use tokio::sync::Mutex;

use crate::{
    cosignature::Cosigner,
    file,
    judge::{Head, KnownLog, SubmissionError, claimed_origin, judge},
    submission::Submission,
};

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name is invalid.
    #[error(
        "the name `{0}` must not be empty or contain spaces or a plus sign; use a form like witness.example.org/w1"
    )]
    Name(String),
    /// No log is configured.
    #[error("no log is configured: pass each log's verifier key, as printed by `remit log key`")]
    NoLogs,
    /// A log's verifier key is malformed.
    #[error("malformed verifier key of a log; it has the form ORIGIN+12345678+BASE64")]
    LogKey(#[source] VerifierError),
    /// Another process holds the folder's lock.
    #[error("{} is in use by another witness", .0.display())]
    InUse(PathBuf),
    /// The key exists, but the records are missing.
    #[error(
        "{} is missing, but the witness has a key, so it has cosigned before: without the records it might cosign a second history. \
         put the latest state of the folder back; if it is lost, start a new witness with a new name in an empty folder and tell \
         the users of this one", .0.display()
    )]
    RecordsMissing(PathBuf),
    /// The records exist, but the key is missing.
    #[error("{} is missing, but records of logs exist: put the key back", .0.display())]
    KeyMissing(PathBuf),
    /// The witness had a different name before.
    #[error("{} contains `{found}`, the key of another name; this name gives `{expected}`. start with the former name", path.display())]
    Renamed {
        /// The file.
        path: PathBuf,
        /// Its content.
        found: String,
        /// The expected content.
        expected: String,
    },
    /// A record was not written by this witness.
    #[error("{} is damaged: it is not a checkpoint cosigned by this witness. restore its latest state", .0.display())]
    Damaged(PathBuf),
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The last cosigned checkpoint of a log.
struct Seen {
    head: Head,
    note: String,
}

struct Page {
    log: KnownLog,
    path: PathBuf,
    last: Mutex<Option<Seen>>,
}

/// A witness's records. Locked for this process while it exists.
pub struct Book {
    cosigner: Cosigner,
    pages: HashMap<String, Page>,
    clock: Arc<dyn Clock>,
    _lock: File,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book")
            .field("cosigner", &self.cosigner)
            .field("logs", &self.pages.len())
            .finish_non_exhaustive()
    }
}

impl Book {
    /// Opens the folder for the logs of these verifier keys. Creates the folder and a key at the
    /// first start.
    pub async fn open(
        folder: &Path,
        name: &str,
        vkeys: &[String],
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, OpenError> {
        if !signed_note::is_key_name_valid(name) || name.contains(char::is_control) {
            return Err(OpenError::Name(name.to_owned()));
        }
        let logs = KnownLog::all(vkeys.iter().map(String::as_str)).map_err(OpenError::LogKey)?;
        if logs.is_empty() {
            return Err(OpenError::NoLogs);
        }
        let lock = lock(folder)?;
        let cosigner = identity(folder, name, entropy).await?;
        let mut pages = HashMap::new();
        for log in logs {
            let path = folder.join("logs").join(hash(log.origin()));
            let last = Mutex::new(read(&path, &cosigner, log.origin()).await?);
            pages.insert(log.origin().to_owned(), Page { log, path, last });
        }
        Ok(Self {
            cosigner,
            pages,
            clock,
            _lock: lock,
        })
    }

    /// The witness's verifier key.
    pub fn vkey(&self) -> String {
        self.cosigner.key().vkey()
    }

    /// The origins of the known logs.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.pages.keys().map(String::as_str)
    }

    /// Cosigns a checkpoint if it may follow the last one. On return it is durable.
    ///
    /// Returns the signature line. Not cancellation safe: see [`crate::Server`].
    pub async fn add(&self, submission: &Submission) -> Result<String, AddError> {
        let origin = claimed_origin(&submission.checkpoint).ok_or(SubmissionError::Malformed)?;
        let page = self.pages.get(origin).ok_or(SubmissionError::UnknownLog)?;
        // Held until the checkpoint is stored: two submissions that follow the same checkpoint must
        // not both be cosigned.
        let mut last = page.last.lock().await;
        let (head, note) = page.log.open(&submission.checkpoint)?;
        // Whatever else is wrong with the submission: the log itself signed both.
        if let Some(last) = last.as_ref().filter(|last| last.head.contradicts(&head)) {
            let (checkpoint, seen) = (&submission.checkpoint, &last.note);
            tracing::error!(
                origin,
                checkpoint,
                seen,
                "the log shows another history than before: keep both checkpoints, they prove it"
            );
        }
        judge(last.as_ref().map(|last| last.head), head, submission)?;
        let signature = self.cosigner.sign(note.text(), self.clock.now());
        let signature = signature.map_err(|_| SubmissionError::Malformed)?;
        let line = String::from_utf8_lossy(&signature.to_bytes()).into_owned();
        let note = format!("{}{line}", String::from_utf8_lossy(&note.to_bytes()));
        file::replace(&page.path, note.clone().into_bytes(), 0o644)
            .await
            .map_err(AddError::Keep)?;
        *last = Some(Seen { head, note });
        Ok(line)
    }

    /// The last cosigned checkpoint of the log whose origin has this hash; `None` before the first.
    pub async fn last(&self, origin_hash: &str) -> Option<String> {
        let page = self.pages.iter().find(|(origin, _)| hash(origin) == origin_hash)?.1;
        page.last.lock().await.as_ref().map(|last| last.note.clone())
    }
}

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] SubmissionError),
    /// Storing it failed.
    #[error("storing the checkpoint failed")]
    Keep(#[source] io::Error),
}

/// A log's origin as hexadecimal digits, safe for paths.
fn hash(origin: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(origin))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::File { doing, path, source }
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("making the folder", folder))?;
    let path = folder.join("lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let lock = lock.map_err(failed("opening", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("locking", &path)(error)),
    }
}

/// Loads the key. Creates it if neither a key nor a record exists.
async fn identity(folder: &Path, name: &str, entropy: &dyn Entropy) -> Result<Cosigner, OpenError> {
    let (key, logs) = (folder.join("witness.key"), folder.join("logs"));
    let seed = file::read(&key).await.map_err(failed("reading", &key))?;
    let records = match std::fs::read_dir(&logs) {
        Ok(records) => Some(records.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("reading", &logs)(error)),
    };
    let seed: Bytes32 = match (seed, records) {
        (Some(_), None) => return Err(OpenError::RecordsMissing(logs)),
        (Some(seed), Some(_)) => seed.try_into().map_err(|_| OpenError::Damaged(key))?,
        (None, Some(1..)) => return Err(OpenError::KeyMissing(key)),
        (None, _) => {
            // The folder first: a crash in between leaves no key, so nothing was signed under the
            // name.
            if records.is_none() {
                DirBuilder::new()
                    .mode(0o700)
                    .create(&logs)
                    .map_err(failed("making", &logs))?;
            }
            let mut seed = [0; 32];
            entropy.fill(&mut seed);
            let written = file::replace(&key, seed.to_vec(), 0o600).await;
            written.map_err(failed("writing", &key))?;
            seed
        }
    };
    let cosigner = Cosigner::new(name, &seed);
    let (path, expected) = (folder.join("witness.vkey"), cosigner.key().vkey());
    match file::read(&path).await.map_err(failed("reading", &path))? {
        Some(found) if found.trim_ascii() == expected.as_bytes() => {}
        Some(found) => {
            let found = String::from_utf8_lossy(&found).trim().to_owned();
            return Err(OpenError::Renamed { path, found, expected });
        }
        None => {
            let written = file::replace(&path, format!("{expected}\n").into_bytes(), 0o644).await;
            written.map_err(failed("writing", &path))?;
        }
    }
    Ok(cosigner)
}

/// Reads the last cosigned checkpoint of a log. It must carry our cosignature: anything else was
/// put there by somebody else.
async fn read(path: &Path, cosigner: &Cosigner, origin: &str) -> Result<Option<Seen>, OpenError> {
    let Some(bytes) = file::read(path).await.map_err(failed("reading", path))? else {
        return Ok(None);
    };
    let parse = || {
        let note = Note::from_bytes(&bytes).ok()?;
        cosigner.key().find(&note).ok()??;
        let checkpoint = Checkpoint::from_bytes(note.text()).ok()?;
        let head = Head {
            size: checkpoint.size(),
            root: checkpoint.hash().0,
        };
        let note = String::from_utf8(bytes.clone()).ok()?;
        (checkpoint.origin() == origin).then_some(Seen { head, note })
    };
    parse().map(Some).ok_or_else(|| OpenError::Damaged(path.to_owned()))
}
