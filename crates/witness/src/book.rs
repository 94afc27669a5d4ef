//! What a witness saw last of each log, and the key that it cosigns with: a folder.
//!
//! * `witness.key`, `witness.vkey`: made at the first start.
//! * `logs/HASH`: the last checkpoint that was cosigned of the log whose origin has this SHA-256, with the log's signature and ours.
//! * `lock`: held by the process that runs.
//!
//! Never restore `logs` from a backup: an older record makes the witness vouch for a second history. For the same reason
//! nothing starts with a key and without records.

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
    judge::{Head, KnownLog, Refusal, claimed_origin, judge},
    submission::Submission,
};

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name cannot be one.
    #[error("the name `{0}` must not be empty, nor have spaces or a plus sign; write it like witness.example.org/w1")]
    Name(String),
    /// No log to see.
    #[error("no log is known: name the verifier key of each, as `remit log key` prints it")]
    NoLogs,
    /// A log's key is none.
    #[error("the verifier key of a log cannot be read; it looks like ORIGIN+12345678+BASE64")]
    LogKey(#[source] VerifierError),
    /// Another process has the folder.
    #[error("{} is in use by another witness", .0.display())]
    InUse(PathBuf),
    /// The key is there, and what was seen is not.
    #[error(
        "{} is missing, but the witness has a key and so has cosigned: without the records it would cosign a second history. \
         put the folder back as it was last; if it is lost, begin a new witness with a new name in an empty folder, and tell \
         those who rely on this one", .0.display()
    )]
    RecordsMissing(PathBuf),
    /// What was seen is there, and the key is not.
    #[error("{} is missing, but there are records of logs: put the key back", .0.display())]
    KeyMissing(PathBuf),
    /// The witness had another name before.
    #[error("{} holds the key of another name, `{found}`; this would be `{expected}`. start with the name of before", path.display())]
    Renamed {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it would hold.
        expected: String,
    },
    /// A record is not what this witness wrote.
    #[error("{} is damaged: it is not a checkpoint that this witness cosigned. put it back as it was last", .0.display())]
    Damaged(PathBuf),
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it was not.
        #[source]
        source: io::Error,
    },
}

/// What was cosigned last of a log.
struct Seen {
    head: Head,
    note: String,
}

struct Page {
    log: KnownLog,
    path: PathBuf,
    last: Mutex<Option<Seen>>,
}

/// The records of a witness, which belong to this process while it is there.
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
    /// Opens the folder, for the logs of these verifier keys. At the first start it is made, with a key.
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

    /// The logs that are known, by origin.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.pages.keys().map(String::as_str)
    }

    /// Cosigns a checkpoint, if it may follow the last one, and keeps it. When this returns, it is on disk.
    ///
    /// Returns the signature line. Not to be dropped before it has ended: see [`crate::Server`].
    pub async fn add(&self, submission: &Submission) -> Result<String, AddError> {
        let origin = claimed_origin(&submission.checkpoint).ok_or(Refusal::Malformed)?;
        let page = self.pages.get(origin).ok_or(Refusal::UnknownLog)?;
        // Until it is kept: two submissions that both follow the same one must not both be cosigned.
        let mut last = page.last.lock().await;
        let judged = judge(&page.log, last.as_ref().map(|last| last.head), submission);
        let (head, note) = judged.inspect_err(|refusal| {
            if *refusal == Refusal::Inconsistent {
                // Proof of misbehaviour, if it is one: signed by the log itself.
                let (checkpoint, seen) = (&submission.checkpoint, last.as_ref().map(|last| &last.note));
                tracing::error!(origin, checkpoint, seen, "the log shows another history than before");
            }
        })?;
        let signature = self.cosigner.sign(note.text(), self.clock.now());
        let signature = signature.map_err(|_| Refusal::Malformed)?;
        let line = String::from_utf8_lossy(&signature.to_bytes()).into_owned();
        let note = format!("{}{line}", String::from_utf8_lossy(&note.to_bytes()));
        file::replace(&page.path, note.clone().into_bytes(), 0o644)
            .await
            .map_err(AddError::Keep)?;
        *last = Some(Seen { head, note });
        Ok(line)
    }

    /// The last checkpoint that was cosigned of the log whose origin has this hash; `None` before the first.
    pub async fn last(&self, origin_hash: &str) -> Option<String> {
        let page = self.pages.iter().find(|(origin, _)| hash(origin) == origin_hash)?.1;
        page.last.lock().await.as_ref().map(|last| last.note.clone())
    }
}

/// Why nothing was cosigned.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be kept.
    #[error("the checkpoint could not be kept")]
    Keep(#[source] io::Error),
}

/// The name of a log where only hexadecimal digits can stand.
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

/// The key, made when neither it nor a record is there.
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
            // First the folder: a crash in between leaves no key, and so no name that has signed.
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

/// What was cosigned last of a log. It must bear our name: whatever else lies there was put by somebody else.
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
