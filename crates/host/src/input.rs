//! Input files, read with a size limit: the one place that decodes what people edit.
//!
//! A pipe may never end: who waits for one is told after a moment what is waited for.
//!
//! A byte order mark, which some editors write, is taken at the start of a file and nowhere else.

use std::{
    fs::File,
    io::{IsTerminal as _, Read},
    path::Path,
    sync::{OnceLock, mpsc},
    time::Duration,
};

use anyhow::Context as _;

use crate::Unusable;

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Time after which somebody is told that this waits.
const MOMENT: Duration = Duration::from_secs(2);

/// Who tells it.
static TELL: OnceLock<fn(&str)> = OnceLock::new();

/// Has what is waited for told by `tell`, instead of logged.
pub fn tell_waiting(tell: fn(&str)) {
    let _ = TELL.set(tell);
}

/// Reads, and says so if that takes longer than a moment.
fn waiting<T>(what: &str, moment: Duration, tell: impl FnOnce(&str) + Send, read: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(moment) == Err(mpsc::RecvTimeoutError::Timeout) {
                tell(what);
            }
        });
        let read = read();
        drop(done);
        read
    })
}

/// What is waited for, where that may not end: a terminal, a pipe, a device. `None` for files.
fn awaited(path: &Path) -> Option<String> {
    if path == Path::new("-") {
        return Some(match std::io::stdin().is_terminal() {
            true => "waiting for standard input: end it with Ctrl-D".to_owned(),
            false => "waiting for the end of standard input".to_owned(),
        });
    }
    let is_file = std::fs::metadata(path).map_or(true, |found| found.is_file() || found.is_dir());
    (!is_file).then(|| format!("waiting for the end of {}, which is no regular file", path.display()))
}

/// Reads a file, or standard input for `-`, of at most `limit` bytes, without its byte order mark.
///
/// # Errors
///
/// [`Unusable`] if the file does not exist or is too large.
pub fn read(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let tell = TELL.get().copied().unwrap_or(|what| tracing::warn!("{what}"));
    match awaited(path) {
        Some(what) => waiting(&what, MOMENT, tell, || read_now(path, limit)),
        None => read_now(path, limit),
    }
}

fn read_now(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let name = name(path);
    let mut bytes = Vec::new();
    let too_large = if path == Path::new("-") {
        up_to(std::io::stdin().lock(), limit, &mut bytes)
    } else {
        let file = File::open(path).map_err(|error| Unusable(format!("{name}: {error}")))?;
        match file.metadata().map(|metadata| metadata.len() > limit) {
            Ok(false) => up_to(file, limit, &mut bytes),
            answer => answer,
        }
    };
    match too_large.with_context(|| format!("reading {name}"))? {
        true => Err(Unusable(format!(
            "{name} is larger than {} MB, more than any such file: is it the right one?",
            limit / 1_000_000
        ))
        .into()),
        false => {
            if bytes.starts_with(MARK) {
                bytes.drain(..MARK.len());
            }
            Ok(bytes)
        }
    }
}

/// Reads [`read`]'s file as text.
///
/// # Errors
///
/// As [`read`], and [`Unusable`] with line and column if it is not UTF-8.
pub fn text(path: &Path, limit: u64) -> anyhow::Result<String> {
    decoded(&name(path), read(path, limit)?)
}

/// What a path is called in errors.
pub fn name(path: &Path) -> String {
    match path == Path::new("-") {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}

fn decoded(name: &str, bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let mut line = before.split(|byte| *byte == b'\n');
        let (count, last) = (line.clone().count(), line.next_back().unwrap_or_default());
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        let encoding = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16",
            _ => "a byte there is not UTF-8",
        };
        Unusable(format!("{name}:{count}:{column}: {encoding}; save it as UTF-8")).into()
    })
}

/// Reads up to `limit` bytes and returns whether there are more.
fn up_to(from: impl Read, limit: u64, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    from.take(limit + 1).read_to_end(bytes)?;
    Ok(bytes.len() as u64 > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        text(&path, 1_000).map_err(|error| error.to_string().replace(&name(&path), "file"))
    }

    #[test]
    fn a_byte_order_mark_stands_once_at_the_start() {
        assert_eq!(of(b"\xef\xbb\xbfa: 1").unwrap(), "a: 1");
        assert_eq!(of(b"a: 1").unwrap(), "a: 1");
        assert_eq!(of(b"\xef\xbb\xbf").unwrap(), "");
        // A second one is content, and whoever parses it says what it thinks of it.
        assert_eq!(of(b"\xef\xbb\xbf\xef\xbb\xbfa").unwrap(), "\u{feff}a");
        assert_eq!(of(b"a\xef\xbb\xbf").unwrap(), "a\u{feff}");
    }

    #[test]
    fn no_more_is_read_than_such_a_file_has() {
        assert_eq!(of(&[b'a'; 1_000]).unwrap().len(), 1_000);
        let refused = of(&[b'a'; 1_001]).unwrap_err();
        assert!(refused.starts_with("file is larger than"), "{refused}");
        // Has no size, and no end: only so much of it is read.
        let endless = read(Path::new("/dev/zero"), 1_000).unwrap_err().to_string();
        assert!(endless.starts_with("/dev/zero is larger than"), "{endless}");
        let mut taken = Vec::new();
        assert!(up_to(std::io::repeat(b'a'), 1_000, &mut taken).unwrap());
        assert_eq!(taken.len(), 1_001);
    }

    /// A pipe whose writer comes late is read, and who waits is told for what.
    #[test]
    fn who_waits_for_a_pipe_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let (kind, mode) = (
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        );
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        let what = awaited(&pipe).unwrap();
        let (told, hears) = mpsc::channel();
        std::thread::scope(|scope| {
            let pipe = &pipe;
            let writer = scope.spawn(move || {
                // Nothing is written before it is told.
                let said: String = hears.recv().unwrap();
                std::fs::write(pipe, "late").unwrap();
                said
            });
            let tell = move |what: &str| told.send(what.to_owned()).unwrap();
            let content = waiting(&what, Duration::from_millis(1), tell, || read_now(pipe, 100));
            assert_eq!(content.unwrap(), b"late");
            let said = writer.join().unwrap();
            assert!(
                said.contains("waiting for the end of") && said.contains("pipe"),
                "{said}"
            );
        });
        assert_eq!(awaited(folder.path()), None);
        assert_eq!(awaited(Path::new("missing")), None);
        // Who does not wait hears nothing.
        let silent = waiting("x", Duration::from_secs(600), |_| panic!("told"), || 7);
        assert_eq!(silent, 7);
    }

    #[test]
    fn another_encoding_is_told_with_its_place() {
        assert_eq!(
            of(b"\xff\xfea\0").unwrap_err(),
            "file:1:1: it is UTF-16; save it as UTF-8"
        );
        assert_eq!(
            of("一\n二三"
                .as_bytes()
                .iter()
                .copied()
                .chain([0xb9, 0xfa])
                .collect::<Vec<_>>()
                .as_slice())
            .unwrap_err(),
            "file:2:3: a byte there is not UTF-8; save it as UTF-8"
        );
    }
}
