//! Backups of an instance on SQLite files, made while it serves.
//!
//! A backup is a folder with the layout of a data directory and a list of its files with their
//! digests, `backup.json`, which is written last. The three databases are of one moment
//! ([`sql::copy_sqlite`]): what one service has delivered, the others have received. Evidence is
//! copied before and after that moment, so that every file is there whose record is.
//!
//! The newest checkpoint is left out: whatever is restored together with the database cannot tell
//! that the database is old. It is kept elsewhere, and [`restore`] takes it from there.
//!
//! Invariants: a folder under its own name is a whole backup, whose evidence is what was uploaded.
//! A list names only what a backup can have, and all that it must. A data directory in which a
//! restore did not end is not started from.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions},
    io::{Error, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use audit::LogKeys;
use data_encoding::HEXLOWER;
use intake::evidence::Folder;
use journal::{Clock, SystemEntropy};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sql::Db;
use witness::foreign;

use crate::{
    Unusable,
    config::{Config, DatabaseUrl, Service},
    data_dir::{DataDir, Layout, RESTORING},
    databases,
};

/// The list of a backup's files.
const LIST: &str = "backup.json";
/// Bytes of the list at most: some five million files.
const LARGEST_LIST: u64 = 1 << 30;
const EVIDENCE: &str = "evidence";
/// The name of the evidence folder's marker.
const MARKER: &str = "marker";
/// What a backup must have besides the databases, and what else it may have.
const REQUIRED: [&str; 3] = ["tokens.json", "receipt.key", "log.key"];
const OPTIONAL: [&str; 4] = ["log.key.old", "log.keys", "log.vkey", "callers.key"];
/// What may be in a data directory that a backup is restored into.
const MAY_BE_THERE: [&str; 3] = ["lock", "log.checkpoint", RESTORING];

/// A backup: when it was made, and of what it consists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The version of this format.
    format: u32,
    /// The version of Remit that made it.
    pub remit: String,
    /// All databases are as they were then, or a moment later (RFC 3339).
    pub time: String,
    /// Entries under the checkpoint that the log had signed last; none before the first.
    pub signed: Option<u64>,
    /// Each file by its path in the folder.
    files: BTreeMap<String, Content>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    bytes: u64,
    sha256: String,
}

impl Backup {
    /// Number of files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|content| content.bytes).sum()
    }
}

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Evidence files.
    Evidence,
    /// The databases.
    Databases,
    /// Nothing: the copies are compared with what they should be.
    Comparing,
}

/// Why a folder is not a whole backup.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a whole backup: {problem}", .folder.display())]
pub struct Damaged {
    folder: PathBuf,
    problem: String,
}

/// A backup and the digest of its list. Whoever can change the files can change the list, but not a
/// digest that is kept elsewhere.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The backup.
    pub backup: Backup,
    /// SHA-256 of its list, in hexadecimal digits.
    pub sha256: String,
}

/// Backs up an instance to a new folder. `told` hears what is done.
///
/// # Errors
///
/// If a database is not an SQLite file, the folder exists, something of the instance is missing, or
/// something cannot be read or written. Nothing is then left.
pub async fn create(
    config: &Config,
    to: &Path,
    clock: &dyn Clock,
    told: &(dyn Fn(Step) + Sync),
) -> anyhow::Result<Listed> {
    let databases = database_files(config)?;
    if to.exists() {
        return Err(Unusable(format!("{} exists: a backup is a new folder", to.display())).into());
    }
    let part = beside(to, ".part")?;
    new_folder(&part).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Unusable(format!(
            "{} is left of a backup that was killed: remove it, if none is running",
            part.display()
        ))
        .into(),
        _ => anyhow::Error::new(error).context(format!("making {}", part.display())),
    })?;
    let made = fill(config, &databases, &part, clock, told).await.and_then(|listed| {
        std::fs::rename(&part, to).with_context(|| format!("naming {}", to.display()))?;
        synced(to).with_context(|| format!("writing {} to disk", to.display()))?;
        Ok(listed)
    });
    if made.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_dir_all(&part);
    }
    made
}

/// The databases, which must all be files.
fn database_files(config: &Config) -> anyhow::Result<Vec<PathBuf>> {
    let file = |service: Service| {
        let file = databases::url(service, config)?.file().ok_or_else(|| {
            Unusable(format!(
                "{service}'s database is no SQLite file: back it up with the tools of PostgreSQL, all three to one moment"
            ))
        })?;
        match file.is_file() {
            true => Ok(file),
            false => Err(Unusable(format!(
                "{} does not exist: name the data directory with --data-dir, or the configuration with --config",
                file.display()
            ))
            .into()),
        }
    };
    Service::ALL.into_iter().map(file).collect()
}

/// The name of a service's database in a backup.
fn database_name(service: Service) -> String {
    format!("{service}.db")
}

/// Copies everything into a folder, and lists it.
async fn fill(
    config: &Config,
    databases: &[PathBuf],
    part: &Path,
    clock: &dyn Clock,
    told: &(dyn Fn(Step) + Sync),
) -> anyhow::Result<Listed> {
    let layout = Layout::new(&config.data_dir);
    let evidence = config.evidence.folder.clone().unwrap_or_else(|| layout.evidence());
    let mut files = BTreeMap::new();
    told(Step::Evidence);
    copy_evidence(&evidence, part, &mut files)?;
    told(Step::Databases);
    let copies = Service::ALL.map(|service| part.join(database_name(service)));
    let pairs: Vec<_> = databases
        .iter()
        .zip(&copies)
        .map(|(from, to)| (from.as_path(), to.as_path()))
        .collect();
    let time = clock.now().to_string();
    let copied = sql::copy_sqlite(&pairs).await;
    copied.map_err(|error| anyhow::anyhow!("copying the databases: {error:?}"))?;
    for (service, copy) in Service::ALL.into_iter().zip(&copies) {
        files.insert(database_name(service), content(copy, None, None)?);
    }
    told(Step::Evidence);
    copy_evidence(&evidence, part, &mut files)?;
    for (name, from) in secrets(config, &layout) {
        match copy(&from, &part.join(name)) {
            Ok(content) => drop(files.insert(name.to_owned(), content)),
            Err(error) if error.kind() == ErrorKind::NotFound && OPTIONAL.contains(&name) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Unusable(format!(
                    "{} does not exist: name the configuration that says where it is, with --config",
                    from.display()
                ))
                .into());
            }
            Err(error) => return Err(error).with_context(|| format!("copying {}", from.display())),
        }
    }
    told(Step::Comparing);
    let signed = complete(part, clock).await?;
    let backup = Backup {
        format: 1,
        remit: env!("CARGO_PKG_VERSION").to_owned(),
        time,
        signed,
        files,
    };
    let mut list = serde_json::to_vec_pretty(&backup)?;
    list.push(b'\n');
    created(&part.join(LIST))
        .and_then(|mut file| file.write_all(&list))
        .context("writing the list of files")?;
    synced(part).with_context(|| format!("writing {} to disk", part.display()))?;
    Ok(Listed {
        backup,
        sha256: HEXLOWER.encode(&Sha256::digest(&list)),
    })
}

/// Compares the copied evidence with what the copied database says of it; returns the size of the
/// last signed tree.
async fn complete(part: &Path, clock: &dyn Clock) -> anyhow::Result<Option<u64>> {
    let url = |service| DatabaseUrl::of_file(&std::path::absolute(part.join(database_name(service)))?);
    let intake = Db::open_to_read(url(Service::Intake)?.expose(), databases::schemas(Service::Intake)).await?;
    let vault = Folder::to_read(&part.join(EVIDENCE));
    if let Some(problem) = intake::shared::problem(&intake, &vault).await? {
        return Err(Unusable(problem).into());
    }
    let store = intake::store::SqlStore::new(intake.clone(), Arc::new(SystemEntropy));
    let verified = intake::evidence::verify(&store, &vault, clock.now(), |_| ()).await?;
    intake.close().await;
    if let Some((name, problem)) = verified.first.first() {
        bail!(
            "{name} {problem}, and {} files in all are not what was uploaded: `remit evidence verify` lists them; what was \
             erased in this moment is no fault, and the next backup is without it",
            verified.wrong
        );
    }
    let audit = Db::open_to_read(url(Service::Audit)?.expose(), databases::schemas(Service::Audit)).await?;
    let newest = audit::newest_checkpoint(&audit).await?;
    audit.close().await;
    newest.as_deref().map(signed_entries).transpose()
}

/// The entries that a checkpoint covers: its second line.
fn signed_entries(note: &str) -> anyhow::Result<u64> {
    let size = note.lines().nth(1).and_then(|line| line.parse().ok());
    size.context("it is not a checkpoint of a log")
}

/// Compares a backup with the list of its files, and the list with its digest, if that is known.
///
/// # Errors
///
/// [`Damaged`], with the first file that is missing, differs, or is not of it.
pub fn verify(folder: &Path, sha256: Option<&str>) -> anyhow::Result<Listed> {
    let listed = list(folder)?;
    let damaged = |problem: String| Damaged {
        folder: folder.to_owned(),
        problem,
    };
    if let Some(expected) = sha256.filter(|expected| !expected.eq_ignore_ascii_case(&listed.sha256)) {
        return Err(damaged(format!("{LIST} has the digest {}, not {expected}", listed.sha256)).into());
    }
    for (path, expected) in &listed.backup.files {
        match content(&folder.join(path), None, Some(expected.bytes)) {
            Ok(found) if found == *expected => {}
            Ok(_) => return Err(damaged(format!("{path} has other content than when it was made")).into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(damaged(format!("{path} is missing")).into());
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Err(damaged(format!("{path} is not a regular file")).into());
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", folder.join(path).display())),
        }
    }
    for path in all_files(folder).with_context(|| format!("reading {}", folder.display()))? {
        if path != LIST && !listed.backup.files.contains_key(&path) {
            return Err(damaged(format!("{path} is not of it")).into());
        }
    }
    Ok(listed)
}

/// Puts a backup into a data directory that has nothing but, at most, the newest checkpoint, which
/// is given otherwise.
///
/// # Errors
///
/// If the backup is damaged, the directory has records or is in use, the checkpoint is older than
/// the backup, or something cannot be written. Until everything is copied, nothing in the directory
/// changes; a directory in which the rest did not end is not started from, and restored into again.
pub fn restore(folder: &Path, into: &Path, checkpoint: Option<&Path>, sha256: Option<&str>) -> anyhow::Result<Listed> {
    let listed = verify(folder, sha256)?;
    let data_dir = DataDir::open_to_restore(into)?;
    let layout = data_dir.layout();
    for entry in std::fs::read_dir(into).with_context(|| format!("reading {}", into.display()))? {
        let name = entry?.file_name();
        if !MAY_BE_THERE.iter().any(|known| name == *known) {
            let problem = format!(
                "{} exists: a backup is restored into a directory that has nothing but, at most, log.checkpoint",
                into.join(name).display()
            );
            return Err(Unusable(problem).into());
        }
    }
    let newest = newest(&layout.checkpoint(), checkpoint, &listed.backup)?;
    let prepared = layout.restoring();
    match std::fs::remove_dir_all(&prepared) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", prepared.display()));
        }
        _ => {}
    }
    let copied = prepare(&listed.backup, folder, &prepared);
    if copied.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_dir_all(&prepared);
        copied?;
    }
    if let Some(newest) = newest {
        witness::file::replace_now(&layout.checkpoint(), &newest, 0o600).context("writing the checkpoint")?;
    }
    for entry in std::fs::read_dir(&prepared)? {
        let entry = entry?;
        std::fs::rename(entry.path(), into.join(entry.file_name()))?;
    }
    synced(into)?;
    // From here on it is a data directory like any other.
    std::fs::remove_dir(&prepared)?;
    synced(into)?;
    Ok(listed)
}

/// The checkpoint to put beside the databases; `None` if it is there, or nobody has one.
fn newest(there: &Path, given: Option<&Path>, backup: &Backup) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(file) = given.or(Some(there).filter(|there| there.exists())) else {
        return Ok(None);
    };
    if given.is_some() && there.exists() {
        let problem = format!(
            "{} exists: give no other checkpoint, unless you move that one away",
            there.display()
        );
        return Err(Unusable(problem).into());
    }
    let note = foreign::read_text(file, foreign::SMALL).with_context(|| format!("reading {}", file.display()))?;
    let signed = signed_entries(&note).map_err(|error| Unusable(format!("{}: {error}", file.display())))?;
    if backup.signed.is_some_and(|last| signed < last) {
        let problem = format!(
            "the checkpoint {} covers {signed} entries and is older than the backup, which has one of {}: it is not the newest. \
             Ask witnesses, and whoever verifies the log, for theirs",
            file.display(),
            backup.signed.unwrap_or_default()
        );
        return Err(Unusable(problem).into());
    }
    Ok(given.map(|_| note.into_bytes()))
}

/// Copies all files of a backup, and compares them with the list once more.
fn prepare(backup: &Backup, folder: &Path, prepared: &Path) -> anyhow::Result<()> {
    new_folder(prepared)?;
    for (path, expected) in &backup.files {
        let to = prepared.join(path);
        if let Some(parent) = to.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        if copy(&folder.join(path), &to).with_context(|| format!("copying {path}"))? != *expected {
            bail!("{path} was changed while it was restored");
        }
    }
    synced(prepared)?;
    Ok(())
}

/// The keys and tokens of an instance, with their names in a backup.
fn secrets(config: &Config, layout: &Layout) -> Vec<(&'static str, PathBuf)> {
    let or = |configured: &Option<PathBuf>, own: PathBuf| configured.clone().unwrap_or(own);
    let mut secrets = vec![
        ("tokens.json", or(&config.tokens_file, layout.tokens())),
        ("receipt.key", or(&config.receipt_key_file, layout.receipt_key())),
    ];
    secrets.extend(LogKeys::files(&or(&config.log.key_file, layout.log_key())));
    secrets.extend(config.callers_key_file.clone().map(|file| ("callers.key", file)));
    secrets
}

/// Copies the evidence that the backup does not have: the marker, and the folders of days.
fn copy_evidence(evidence: &Path, part: &Path, files: &mut BTreeMap<String, Content>) -> anyhow::Result<()> {
    let found = all_files(evidence).with_context(|| format!("reading {}", evidence.display()))?;
    let kept = |path: &String| {
        path == MARKER
            || path
                .split_once('/')
                .is_some_and(|(day, _)| day.parse::<jiff::civil::Date>().is_ok())
    };
    for path in found.into_iter().filter(kept) {
        let name = format!("{EVIDENCE}/{path}");
        if files.contains_key(&name) {
            continue;
        }
        let to = part.join(&name);
        if let Some(parent) = to.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        match copy(&evidence.join(&path), &to) {
            Ok(content) => drop(files.insert(name, content)),
            // Erased meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("copying {}", evidence.join(&path).display())),
        }
    }
    Ok(())
}

/// What is below a folder and no folder, by the paths from there. Links are not followed, and
/// folders that vanish or may not be read are passed over: who needs a file of one will miss it.
fn all_files(folder: &Path) -> Result<Vec<String>, Error> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = folders.pop() {
        let is_top = below.as_os_str().is_empty();
        let entries = match std::fs::read_dir(folder.join(&below)) {
            Ok(entries) => entries,
            Err(error) if !is_top && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = below.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => folders.push(name),
                false => found.push(name.to_string_lossy().into_owned()),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the list. It names all that a backup must have, and nothing that one cannot have.
fn list(folder: &Path) -> anyhow::Result<Listed> {
    if !folder.is_dir() {
        return Err(Unusable(format!("{} is not a folder", folder.display())).into());
    }
    let damaged = |problem: String| Damaged {
        folder: folder.to_owned(),
        problem,
    };
    let read = foreign::read_in(folder, LIST, LARGEST_LIST).with_context(|| format!("reading {}", folder.display()))?;
    let read = read.ok_or_else(|| damaged(format!("it has no {LIST}, which is written last")))?;
    let backup: Backup = serde_json::from_slice(&read).map_err(|error| damaged(format!("{LIST}: {error}")))?;
    if backup.format != 1 {
        let problem = format!("its format is {}, which this version does not know", backup.format);
        return Err(damaged(problem).into());
    }
    let databases = Service::ALL.map(database_name);
    let required = || databases.iter().map(String::as_str).chain(REQUIRED);
    if let Some(missing) = required().find(|name| !backup.files.contains_key(*name)) {
        return Err(damaged(format!("{LIST} does not name {missing}")).into());
    }
    let is_evidence = |path: &str| {
        let path = Path::new(path).strip_prefix(EVIDENCE);
        path.is_ok_and(|path| path.components().all(|part| matches!(part, Component::Normal(_))))
    };
    let is_known = |path: &str| required().chain(OPTIONAL).any(|known| known == path) || is_evidence(path);
    match backup.files.keys().find(|path| !is_known(path)) {
        Some(path) => Err(damaged(format!("{LIST} names {path}, which no backup has")).into()),
        None => Ok(Listed {
            backup,
            sha256: HEXLOWER.encode(&Sha256::digest(&read)),
        }),
    }
}

fn copy(from: &Path, to: &Path) -> Result<Content, Error> {
    let copied = created(to).and_then(|file| content(from, Some(file), None));
    if copied.is_err() {
        // A file that cannot be copied is none of the backup's.
        let _ = std::fs::remove_file(to);
    }
    copied
}

/// Reads a regular file, at most a byte more than it should have, and writes it to another, if
/// there is one.
fn content(from: &Path, mut to: Option<File>, expected: Option<u64>) -> Result<Content, Error> {
    // Opening a pipe must not wait for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(from)?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut file = file.take(expected.map_or(u64::MAX, |bytes| bytes.saturating_add(1)));
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        digest.update(&piece[..read]);
        if let Some(to) = &mut to {
            to.write_all(&piece[..read])?;
        }
    }
    Ok(Content {
        bytes,
        sha256: HEXLOWER.encode(&digest.finalize()),
    })
}

/// A new file that only this user reads.
fn created(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn new_folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Puts everything on the file system of a folder on disk: one call for any number of files.
fn synced(folder: &Path) -> Result<(), Error> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// A path with more at its end.
fn beside(path: &Path, more: &str) -> anyhow::Result<PathBuf> {
    let mut name = path
        .file_name()
        .with_context(|| format!("{} is no name of a folder", path.display()))?
        .to_owned();
    name.push(more);
    Ok(path.with_file_name(name))
}
