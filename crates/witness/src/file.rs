//! Small files replaced atomically: after a crash, the old content or the new, never a mixture.
//!
//! A file keeps its owner, its group and its mode: who changes it need not be who reads it.

use std::{
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::foreign;

/// Reads the file; `None` if it does not exist. Only a regular file of at most
/// [`foreign::SMALL`] bytes is read: a wrong path may lead to a pipe or a device.
pub async fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || foreign::read(&path, foreign::SMALL));
    match read.await.map_err(Error::other)? {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the file's content; a new file gets `mode`. When this returns, the new content is
/// durable under the file's name.
pub async fn replace(path: &Path, bytes: Vec<u8>, mode: u32) -> Result<(), Error> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || replace_now(&path, &bytes, mode))
        .await
        .map_err(Error::other)?
}

/// [`replace`], blocking: for callers outside a runtime.
pub fn replace_now(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // A leftover of a crash may have another mode.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let old = match std::fs::metadata(path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    // Nobody else reads it before it has its owner.
    let made = if old.is_some() { 0o600 } else { mode };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(made).open(&new)?;
    let written = match &old {
        Some(old) => keep(old, path, &file),
        None => Ok(()),
    };
    let written = written
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // The error that matters is the first.
        let _ = std::fs::remove_file(&new);
        return written;
    }
    // The rename is only durable once the folder is synced.
    File::open(folder(path))?.sync_all()
}

/// Gives the new file the owner, the group and the mode of the old one.
fn keep(old: &std::fs::Metadata, path: &Path, new: &File) -> Result<(), Error> {
    let made = new.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid())).map_err(|error| {
            let message = format!(
                "it belongs to the user {} and the group {} ({}), and would be lost to them: change it as that user",
                old.uid(),
                old.gid(),
                path.display()
            );
            Error::new(error.kind(), message)
        })?;
    }
    new.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_new_content_replaces_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert_eq!(read(&path).await.unwrap(), None);
        // The state after a crash between writing and renaming.
        std::fs::write(folder.path().join("checkpoint.new"), "half").unwrap();
        for content in ["first", "second"] {
            replace(&path, content.into(), 0o644).await.unwrap();
            assert_eq!(read(&path).await.unwrap().unwrap(), content.as_bytes());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// A service that runs as another user must still read what an administrator changed.
    #[tokio::test]
    async fn a_file_keeps_its_owner_and_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        replace(&path, "first".into(), 0o600).await.unwrap();
        let of = |path: &Path| {
            let file = std::fs::metadata(path).unwrap();
            (file.mode() & 0o7777, file.uid(), file.gid())
        };
        let (_, user, group) = of(&path);
        assert_eq!(of(&path).0, 0o600);
        // Only root can give a file away.
        let owners = match user {
            0 => [(0, 0), (12_345, 54_321)].to_vec(),
            _ => [(user, group)].to_vec(),
        };
        for (user, group) in owners {
            for mode in [0o600, 0o400, 0o440] {
                std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
                replace(&path, "second".into(), 0o644).await.unwrap();
                assert_eq!(of(&path), (mode, user, group));
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
