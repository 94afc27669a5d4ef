//! Reads files that somebody else may have made: a receipt, a policy, a folder with a log.
//!
//! Such a file may be a pipe that nobody writes to, a device without end, larger than memory, or,
//! inside a folder, a link that leads out of it. Only regular files of a limited size are read, and
//! no link below a folder is followed. A link that the user names himself is: configuration is
//! often mounted that way.

use std::{
    fs::File,
    io::{Error, ErrorKind, Read as _},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

/// Largest size of a small file: a checkpoint, keys with their statements, a policy, a receipt.
pub const SMALL: u64 = 1 << 20;

/// Opening a pipe must not wait for a writer, nor a terminal take over the process.
const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Reads the regular file of at most `limit` bytes that the user names.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    whole(rustix::fs::openat(CWD, path, OPEN, Mode::empty())?, limit)
}

/// Reads [`read`]'s file as text.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let text = String::from_utf8(read(path, limit)?);
    let text = text.map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text: save it as UTF-8"))?;
    // A byte order mark, which some editors write, is no part of the text.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a regular file of at most `limit` bytes below a folder, following no link below it; `None`
/// if there is none of this name.
pub fn read_in(folder: &Path, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let found = rustix::fs::openat(CWD, folder, FOLDER, Mode::empty())
        .map_err(Error::from)
        .and_then(|folder| open_below(folder, Path::new(path)));
    match found {
        Ok(file) => whole(file, limit).map(Some),
        // A file where a folder should be is not the wanted one either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_below(mut folder: OwnedFd, path: &Path) -> Result<OwnedFd, Error> {
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else {
            return Err(Error::new(ErrorKind::InvalidInput, "the path leads out of the folder"));
        };
        let kind = if names.peek().is_some() { FOLDER } else { OPEN };
        folder = rustix::fs::openat(&folder, name, kind | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| {
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
            match stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink) {
                true => Error::other(format!("{} is a symbolic link: it is not followed", name.display())),
                false => error.into(),
            }
        })?;
    }
    Ok(folder)
}

fn whole(file: OwnedFd, limit: u64) -> Result<Vec<u8>, Error> {
    let stat = rustix::fs::fstat(file.as_fd())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes, so it is not the right file"),
        )),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, sync::mpsc, time::Duration};

    use super::*;

    /// The answer of a read, which must not wait for anything.
    fn at_once<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, answer) = mpsc::channel();
        std::thread::spawn(move || done.send(read()));
        answer.recv_timeout(Duration::from_secs(20)).expect("the read waits")
    }

    #[test]
    fn only_regular_files_of_a_limited_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "12345").unwrap();
        std::fs::write(at("binary"), b"\xff").unwrap();
        std::fs::write(at("sparse"), "").unwrap();
        File::options()
            .write(true)
            .open(at("sparse"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("pipe"), at("piped")).unwrap();
        assert_eq!(read(&at("file"), 5).unwrap(), b"12345");
        // Mounted configuration is a link.
        assert_eq!(read(&at("link"), 5).unwrap(), b"12345");
        assert_eq!(read_text(&at("link"), 5).unwrap(), "12345");
        for (path, expected) in [
            (at("none"), "No such file"),
            (at("sparse"), "more than 4 bytes"),
            (at("file"), "more than 4 bytes"),
            (at("folder"), "not a regular file"),
            (at("pipe"), "not a regular file"),
            (at("piped"), "not a regular file"),
            ("/dev/zero".into(), "not a regular file"),
            ("/dev/tty".into(), ""),
        ] {
            let error = at_once({
                let path = path.clone();
                move || read(&path, 4).unwrap_err().to_string()
            });
            assert!(error.contains(expected), "{}: {error}", path.display());
        }
        assert!(
            read_text(&at("binary"), 5)
                .unwrap_err()
                .to_string()
                .contains("not UTF-8")
        );
    }

    #[test]
    fn nothing_below_a_folder_leads_out_of_it() {
        let (outside, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = parent.path().join("real");
        let at = |name: &str| real.join(name);
        std::fs::create_dir_all(at("tile/0")).unwrap();
        std::fs::write(at("tile/0/000"), "hashes").unwrap();
        std::fs::write(outside.path().join("000"), "secret").unwrap();
        rustix::fs::mknodat(CWD, at("tile/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink(outside.path().join("000"), at("tile/file")).unwrap();
        symlink(outside.path(), at("tile/1")).unwrap();
        symlink("0", at("tile/2")).unwrap();
        symlink("nowhere", at("tile/3")).unwrap();
        symlink("loop", at("tile/loop")).unwrap();
        // The folder itself may be named by a link.
        let folder = parent.path().join("named");
        symlink(&real, &folder).unwrap();

        let read = |path: &'static str| {
            let folder = folder.clone();
            at_once(move || read_in(&folder, path, 6))
        };
        assert_eq!(read("tile/0/000").unwrap().unwrap(), b"hashes");
        for none in ["tile/0/001", "tile/9/000", "tile/0/000/1", "none"] {
            assert_eq!(read(none).unwrap(), None, "{none}");
        }
        for (path, expected) in [
            ("tile/file", "file is a symbolic link"),
            ("tile/1/000", "1 is a symbolic link"),
            ("tile/2/000", "2 is a symbolic link"),
            ("tile/3/000", "3 is a symbolic link"),
            ("tile/loop", "loop is a symbolic link"),
            ("tile/pipe", "not a regular file"),
            ("tile/0", "not a regular file"),
            ("../real/tile/0/000", "out of the folder"),
            ("tile/../tile/0/000", "out of the folder"),
            ("/etc/hostname", "out of the folder"),
        ] {
            let error = read(path).unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
        assert!(read_in(&folder, "tile/0/000", 5).is_err());
    }
}
