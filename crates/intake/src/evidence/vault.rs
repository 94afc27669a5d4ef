//! Storage of evidence files.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use journal::{SystemEntropy, Time, random_id};
use tokio::{
    fs::{self, File},
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
};
use uuid::Uuid;

/// Stores files unchanged under given ids.
///
/// A file exists completely or not at all. The days of [`Vault::days`] come from the times in the
/// ids, so that a search for unknown files need not visit all of them.
#[async_trait]
pub trait Vault: Send + Sync + 'static {
    /// Begins a file. It exists once it is finished; if dropped before, nothing of it remains but
    /// what was kept ([`Unfinished::keep`]).
    async fn begin(&self, id: Uuid) -> io::Result<Box<dyn Unfinished>>;

    /// Opens a file at its beginning; `None` if it does not exist.
    async fn open(&self, id: Uuid) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>>;

    /// Removes a file if it exists.
    async fn remove(&self, id: Uuid) -> io::Result<()>;

    /// Opens what was kept of an unfinished file; `None` if there is nothing.
    async fn open_kept(&self, id: Uuid) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>>;

    /// Removes what was kept of an unfinished file, if anything was.
    async fn discard(&self, id: Uuid) -> io::Result<()>;

    /// Bytes that are free for files.
    async fn free(&self) -> io::Result<u64>;

    /// The id that the storage is marked with; `None` if it has no mark.
    async fn mark(&self) -> io::Result<Option<String>>;

    /// Marks the storage, durably, unless it has a mark.
    async fn set_mark(&self, id: &str) -> io::Result<()>;

    /// Removes unfinished files without a write since `since`, but for these. Returns their number.
    async fn remove_unfinished(&self, since: Time, kept: &BTreeSet<Uuid>) -> io::Result<usize>;

    /// The days with files, such as `2026-11-22`, in no order.
    async fn days(&self) -> io::Result<Vec<String>>;

    /// The files of a day that were finished before a time.
    async fn files(&self, day: &str, before: Time) -> io::Result<Vec<Uuid>>;
}

/// A file being written.
#[async_trait]
pub trait Unfinished: Send {
    /// Appends bytes.
    async fn write(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Makes what was written durable. From then on it remains when this is dropped.
    async fn keep(&mut self) -> io::Result<()>;

    /// Makes it durable, and then there under its id.
    async fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The day of a time, as folders are named.
pub(super) fn day_of(time: Time) -> String {
    let time = jiff::Timestamp::from_microsecond(time.0).unwrap_or_default();
    time.strftime("%Y-%m-%d").to_string()
}

/// The day in a UUID version 7; `None` for other ids, which no file has.
fn day(id: Uuid) -> Option<String> {
    let (seconds, _) = id.get_timestamp()?.to_unix();
    Some(day_of(Time(i64::try_from(seconds).ok()?.checked_mul(1_000_000)?)))
}

/// Bytes of a marker that are read: more than an id has.
const MARK: u64 = 100;

/// A folder on this machine or on a mounted volume.
///
/// Files are `{day}/{id}`; unfinished ones are `incoming/{id}`. `marker` tells the folder from an
/// empty one and from another intake's.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    incoming: PathBuf,
}

/// Why a folder is unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot store evidence in {}: {doing} fails; make it a folder writable by the service's user, or choose another", .folder.display())]
pub struct FolderError {
    folder: PathBuf,
    doing: &'static str,
    #[source]
    source: io::Error,
}

impl Folder {
    /// Creates the folder if missing, for this user alone, and tests whether files can be written.
    pub async fn open(root: &Path) -> Result<Self, FolderError> {
        let incoming = root.join("incoming");
        let failed = |doing| {
            move |source| FolderError {
                folder: root.to_owned(),
                doing,
                source,
            }
        };
        let mut folders = fs::DirBuilder::new();
        folders.recursive(true).mode(0o700);
        folders.create(&incoming).await.map_err(failed("making it"))?;
        let probe = incoming.join(format!("probe-{}", std::process::id()));
        fs::write(&probe, b"probe").await.map_err(failed("writing a file"))?;
        match fs::remove_file(&probe).await {
            // Another starting replica with the same process id, as in containers, was first.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("removing a file")(error)),
            _ => {}
        }
        Ok(Self {
            root: root.to_owned(),
            incoming,
        })
    }

    /// The folder, to be read: nothing in it is created or changed.
    pub fn to_read(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            incoming: root.join("incoming"),
        }
    }

    fn marker(&self) -> PathBuf {
        self.root.join("marker")
    }

    fn path(&self, id: Uuid) -> Option<PathBuf> {
        Some(self.root.join(day(id)?).join(id.to_string()))
    }
}

/// Makes a folder's entries durable: a file's name is stored in its folder, not in the file.
async fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).await?.sync_all().await
}

struct Incoming {
    file: File,
    is_kept: bool,
    path: PathBuf,
    finished: PathBuf,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Already gone if finished. If it cannot be removed now, upkeep removes it later.
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[async_trait]
impl Unfinished for Incoming {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.file.write_all(&bytes).await
    }

    async fn keep(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_data().await?;
        if !self.is_kept {
            sync_folder(self.path.parent().ok_or(ErrorKind::InvalidInput)?).await?;
            self.is_kept = true;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let folder = self.finished.parent().ok_or(ErrorKind::InvalidInput)?;
        if !fs::try_exists(folder).await? {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
            sync_folder(folder.parent().ok_or(ErrorKind::InvalidInput)?).await?;
        }
        fs::rename(&self.path, &self.finished).await?;
        sync_folder(folder).await
    }
}

#[async_trait]
impl Vault for Folder {
    async fn begin(&self, id: Uuid) -> io::Result<Box<dyn Unfinished>> {
        let path = self.incoming.join(id.to_string());
        let finished = self.path(id).ok_or(ErrorKind::InvalidInput)?;
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .await?;
        Ok(Box::new(Incoming {
            file,
            is_kept: false,
            path,
            finished,
        }))
    }

    async fn open(&self, id: Uuid) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        let Some(path) = self.path(id) else { return Ok(None) };
        match File::open(path).await {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, id: Uuid) -> io::Result<()> {
        let Some(path) = self.path(id) else { return Ok(()) };
        match fs::remove_file(path).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn open_kept(&self, id: Uuid) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        match File::open(self.incoming.join(id.to_string())).await {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn discard(&self, id: Uuid) -> io::Result<()> {
        match fs::remove_file(self.incoming.join(id.to_string())).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn free(&self) -> io::Result<u64> {
        let root = self.root.clone();
        let found = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&root)).await??;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    async fn mark(&self) -> io::Result<Option<String>> {
        // A stranger's file may be there: no more than an id is read.
        let mut text = String::new();
        match File::open(self.marker()).await {
            Ok(file) => file.take(MARK).read_to_string(&mut text).await?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(text.trim().to_owned()))
    }

    async fn set_mark(&self, id: &str) -> io::Result<()> {
        // Whole or not there, whoever looks meanwhile, and after a crash.
        let unfinished = self.incoming.join(format!("marker-{}", random_id(&SystemEntropy)));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .await?;
        file.write_all(format!("{id}\n").as_bytes()).await?;
        file.sync_all().await?;
        let linked = fs::hard_link(&unfinished, self.marker()).await;
        fs::remove_file(&unfinished).await?;
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => {
                linked?;
                sync_folder(&self.root).await
            }
        }
    }

    async fn remove_unfinished(&self, since: Time, kept: &BTreeSet<Uuid>) -> io::Result<usize> {
        let mut removed = 0;
        for file in untouched(&self.incoming, since).await? {
            let id = file.file_name().and_then(|name| Uuid::parse_str(name.to_str()?).ok());
            if id.is_some_and(|id| kept.contains(&id)) {
                continue;
            }
            match fs::remove_file(&file).await {
                Ok(()) => removed += 1,
                // Finished, or removed by another replica.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    async fn days(&self) -> io::Result<Vec<String>> {
        let mut days = Vec::new();
        let mut entries = fs::read_dir(&self.root).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.parse::<jiff::civil::Date>().is_ok() && entry.file_type().await?.is_dir() {
                days.push(name);
            }
        }
        Ok(days)
    }

    async fn files(&self, day: &str, before: Time) -> io::Result<Vec<Uuid>> {
        let files = untouched(&self.root.join(day), before).await?;
        let id = |file: PathBuf| Uuid::parse_str(file.file_name()?.to_str()?).ok();
        // Foreign files are left alone.
        Ok(files.into_iter().filter_map(id).collect())
    }
}

/// The files in a folder last written before a time.
async fn untouched(folder: &Path, before: Time) -> io::Result<Vec<PathBuf>> {
    let before = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(before.0).unwrap_or(0));
    let mut files = Vec::new();
    let mut entries = fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let metadata = match entry.metadata().await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_file() && metadata.modified()? < before {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use journal::{SeededEntropy, ordered_id};

    use super::*;

    /// 2026-11-22 00:00 UTC.
    const NOW: Time = Time(1_795_305_600_000_000);

    async fn folder() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("evidence")).await.unwrap();
        (root, folder)
    }

    fn touch(path: &Path, time: Time) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(time.0.unsigned_abs());
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    #[tokio::test]
    async fn a_file_exists_completely_or_not_at_all() {
        let (_root, folder) = folder().await;
        let id = ordered_id(NOW, &SeededEntropy::new(1));
        assert!(folder.open(id).await.unwrap().is_none());
        for bytes in ["torn", "whole"] {
            let mut file = folder.begin(id).await.unwrap();
            file.write(Bytes::from(bytes)).await.unwrap();
            assert!(folder.open(id).await.unwrap().is_none(), "not yet");
            if bytes == "whole" {
                file.finish().await.unwrap();
            }
        }
        let mut content = String::new();
        let mut file = folder.open(id).await.unwrap().unwrap();
        file.read_to_string(&mut content).await.unwrap();
        assert_eq!(content, "whole");
        assert_eq!(std::fs::read_dir(&folder.incoming).unwrap().count(), 0);
        assert_eq!(day(id).unwrap(), "2026-11-22");
        let path = folder.root.join("2026-11-22").join(id.to_string());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        folder.remove(id).await.unwrap();
        folder.remove(id).await.unwrap();
        assert!(folder.open(id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn abandoned_uploads_are_distinguished_from_running_ones() {
        let (_root, folder) = folder().await;
        let entropy = SeededEntropy::new(1);
        let ids: Vec<_> = (0..2).map(|_| ordered_id(NOW, &entropy)).collect();
        let mut unfinished = Vec::new();
        for (id, time) in ids.iter().zip([NOW, NOW.plus_seconds(-10)]) {
            folder.begin(*id).await.unwrap().finish().await.unwrap();
            unfinished.push(folder.begin(*id).await.unwrap());
            touch(&folder.path(*id).unwrap(), time);
            touch(&folder.incoming.join(id.to_string()), time);
        }
        let before = NOW.plus_seconds(-5);
        assert_eq!(folder.days().await.unwrap(), ["2026-11-22"]);
        assert_eq!(folder.files("2026-11-22", before).await.unwrap(), [ids[1]]);
        assert_eq!(folder.remove_unfinished(before, &BTreeSet::new()).await.unwrap(), 1);
        assert!(folder.incoming.join(ids[0].to_string()).exists());
        assert!(!folder.incoming.join(ids[1].to_string()).exists());
    }

    #[tokio::test]
    async fn an_unwritable_folder_is_refused_with_its_path() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Folder::open(&file).await.unwrap_err().to_string();
        assert!(
            error.contains(&file.display().to_string()) && error.contains("choose another"),
            "{error}"
        );
    }
}
