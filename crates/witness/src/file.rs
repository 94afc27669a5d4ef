//! Small files replaced atomically: after a crash, the old content or the new, never a mixture.

use std::{
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Reads the file; `None` if it does not exist.
pub async fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the file's content. When this returns, the new content is durable under the file's
/// name.
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
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // The rename is only durable once the folder is synced.
    File::open(folder(path))?.sync_all()
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
}
