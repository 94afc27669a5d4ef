//! Sources of a log's files: a server, any web server with an exported folder, or the folder
//! itself.

use std::{
    fmt,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use audit::tiles::TilePath;
use flate2::read::GzDecoder;
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderValue, StatusCode, Uri, header};
use http_body_util::Full;
use https::{Client, NoAnswer, Trust};
use witness::foreign;

use crate::client::Failed;

/// Time limit for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Time limit for a response.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of requests for a file while the server is too busy.
const TRIES: u32 = 5;
/// Number of files to read ahead.
const AHEAD: usize = 16;

/// The source of a log's files.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder.
    Folder(PathBuf),
    /// A server.
    Web(Box<Web>),
}

/// A server with a log's files.
#[derive(Clone, Debug)]
pub struct Web {
    /// The address without a trailing slash.
    prefix: String,
    client: Client,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Web(web) => f.write_str(&web.prefix),
        }
    }
}

impl Source {
    /// Parses a source: an address if it begins like one, otherwise a folder. For https://
    /// addresses, the issuers in `ca_file` are trusted, too.
    pub fn named(place: &str, ca_file: Option<&Path>) -> Result<Self, Failed> {
        if place.starts_with("http://") || place.starts_with("https://") {
            return Ok(Self::Web(Box::new(Web::at(place, ca_file)?)));
        }
        if place.contains("://") {
            return Err(Failed::Usage(format!(
                "`{place}` is not supported: use an https:// or http:// address, or a folder"
            )));
        }
        let folder = PathBuf::from(place);
        match folder.is_dir() {
            true => Ok(Self::Folder(folder)),
            false => Err(Failed::Usage(format!("the folder {place} does not exist"))),
        }
    }

    /// Reads a file of at most `limit` bytes by its path below the log; `None` if it does not
    /// exist.
    async fn read(&self, path: &str, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Web(web) => Ok(web.read(path, limit).await?),
            Self::Folder(folder) => {
                let (folder, name) = (folder.clone(), path.to_owned());
                let shown = folder.join(path);
                let read = tokio::task::spawn_blocking(move || foreign::read_in(&folder, &name, limit)).await?;
                read.with_context(|| format!("reading {}", shown.display()))
            }
        }
    }

    /// The checkpoint.
    pub async fn checkpoint(&self) -> anyhow::Result<String> {
        match self.read("checkpoint", foreign::SMALL).await? {
            // Non-UTF-8 bytes do not open as a note anyway.
            Some(note) => Ok(String::from_utf8_lossy(&note).into_owned()),
            None => Err(Failed::Unverified(format!("{self} has no checkpoint: it is not a log, or incomplete")).into()),
        }
    }

    /// Whether this is a folder exported with details.
    pub fn has_details(&self) -> bool {
        matches!(self, Self::Folder(folder) if folder.join("detail").is_dir())
    }

    /// The first file of a folder that contains, or lies above, entries beyond `size`. `None` for
    /// servers: their entries beyond the checkpoint are not published yet.
    pub fn beyond(&self, size: u64) -> anyhow::Result<Option<TilePath>> {
        let Self::Folder(root) = self else { return Ok(None) };
        let mut first: Option<TilePath> = None;
        // A link's target is not of the folder.
        let is_folder = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        let mut folders: Vec<_> = ["tile", "detail"].map(|name| root.join(name)).into();
        folders.retain(is_folder);
        while let Some(folder) = folders.pop() {
            let failed = || format!("reading the folder {}", folder.display());
            let files = match std::fs::read_dir(&folder) {
                Ok(files) => files,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(failed),
            };
            for file in files {
                let file = file.with_context(failed)?;
                let path = file.path();
                if file.file_type().with_context(failed)?.is_dir() {
                    folders.push(path);
                    continue;
                }
                // Other files are not part of a log.
                let named = path
                    .strip_prefix(root)
                    .ok()
                    .and_then(|path| path.to_str()?.parse().ok());
                let beyond = named.filter(|path: &TilePath| !path.is_within(size));
                let place = |path: &TilePath| (path.start().map_or(size, |start| start.max(size)), *path);
                first = [first, beyond].into_iter().flatten().min_by_key(place);
            }
        }
        Ok(first)
    }

    /// Reads a log file, at least as large as `path` requires: a partial file may have been
    /// replaced by the full one, which begins with it.
    pub async fn file(&self, path: TilePath) -> anyhow::Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.read(&path.to_string(), path.max_bytes()).await? {
            return Ok(Some(bytes));
        }
        if path.is_full() {
            return Ok(None);
        }
        let whole = path.full();
        let full = self.read(&whole.to_string(), whole.max_bytes()).await?;
        Ok(full.and_then(|bytes| path.narrow(bytes)))
    }

    /// Reads these files in order, ahead of use.
    pub fn files(
        &self,
        paths: impl Iterator<Item = TilePath> + Send + 'static,
    ) -> BoxStream<'static, (TilePath, anyhow::Result<Option<Vec<u8>>>)> {
        let source = self.clone();
        futures::stream::iter(paths)
            .map(move |path| {
                let source = source.clone();
                // On its own task, so that another core reads while this one verifies.
                let read = tokio::spawn(async move { source.file(path).await });
                async move { (path, read.await.unwrap_or_else(|error| Err(error.into()))) }
            })
            .buffered(AHEAD)
            .boxed()
    }
}

impl Web {
    /// The log at an address.
    pub fn at(address: &str, ca_file: Option<&Path>) -> Result<Self, Failed> {
        let prefix = address.trim_end_matches('/').to_owned();
        let is_address = prefix
            .parse::<Uri>()
            .is_ok_and(|uri| uri.host().is_some() && uri.query().is_none());
        if !is_address {
            return Err(Failed::Usage(format!(
                "`{address}` is not an address; use the form http://127.0.0.1:7303"
            )));
        }
        let trust = Trust::load(ca_file, "--ca-file").map_err(|error| Failed::Usage(error.to_string()))?;
        Ok(Self {
            prefix,
            client: Client::new(trust, CONNECT),
        })
    }

    async fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Failed> {
        let mut wait = Duration::from_millis(200);
        for _ in 1..TRIES {
            match self.try_read(path, limit).await? {
                Answer::Bytes(bytes) => return Ok(bytes),
                Answer::Busy => tokio::time::sleep(wait).await,
            }
            wait *= 2;
        }
        match self.try_read(path, limit).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            Answer::Busy => Err(self.unreachable("the server is too busy", None)),
        }
    }

    async fn try_read(&self, path: &str, limit: u64) -> Result<Answer, Failed> {
        let uri: Uri = format!("{}/{path}", self.prefix)
            .parse()
            .map_err(|error| Failed::Usage(format!("{}: {error}", self.prefix)))?;
        let asked = http::Request::get(uri)
            .header(header::ACCEPT_ENCODING, "gzip, identity")
            .body(Full::default())
            .map_err(|error| Failed::Usage(error.to_string()))?;
        // What does not get smaller by compression gets a little larger.
        let body = usize::try_from(limit + limit / 256 + 1_024).unwrap_or(usize::MAX);
        let answer = tokio::time::timeout(PATIENCE, self.client.send(asked, body)).await;
        let answer = answer.map_err(|_| self.unreachable("the server takes too long", None))?;
        let answer = answer.map_err(|NoAnswer { problem, help }| self.unreachable(&problem, help))?;
        let (status, headers) = (answer.status(), answer.headers());
        match status {
            StatusCode::OK => {
                let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
                let bytes = decoded(answer.body(), encoding, limit);
                let bytes = bytes.map_err(|problem| self.unreachable(&format!("{path} {problem}"), None))?;
                Ok(Answer::Bytes(Some(bytes)))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answer::Bytes(None)),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Ok(Answer::Busy),
            _ if status.is_redirection() => {
                let location = headers
                    .get(header::LOCATION)
                    .map(|place| String::from_utf8_lossy(place.as_bytes()));
                let elsewhere = location.unwrap_or("another place".into());
                let help = "redirects are not followed: if the log is there, use that address".to_owned();
                Err(self.unreachable(&format!("the server redirects {path} to {elsewhere}"), Some(help)))
            }
            // An entry that was signed but cannot be served is a fault of the log; a retry does not
            // help.
            StatusCode::INTERNAL_SERVER_ERROR => Err(Failed::Unverified(format!(
                "{} answers {path}: {}",
                self.prefix,
                String::from_utf8_lossy(answer.body()).trim()
            ))),
            _ => Err(self.unreachable(&format!("the server answers {path} with {status}"), None)),
        }
    }

    fn unreachable(&self, why: &str, help: Option<String>) -> Failed {
        Failed::Unreachable {
            message: format!("cannot read the log from {}: {why}", self.prefix),
            help: help.unwrap_or_else(|| "is audit running at this address?".to_owned()),
        }
    }
}

/// Decompresses a response body: a log may compress its bundles without being asked to.
fn decoded(body: &[u8], encoding: Option<&[u8]>, limit: u64) -> Result<Vec<u8>, &'static str> {
    match encoding {
        None | Some(b"identity" | b"") if body.len() as u64 > limit => Err("is larger than any such file"),
        None | Some(b"identity" | b"") => Ok(body.to_vec()),
        Some(b"gzip" | b"x-gzip") => {
            let mut bytes = Vec::new();
            // Reads at most the allowed size, plus one byte to detect more.
            let read = GzDecoder::new(body)
                .take(limit.saturating_add(1))
                .read_to_end(&mut bytes);
            match read {
                Ok(read) if read as u64 <= limit => Ok(bytes),
                Ok(_) => Err("is larger than any such file"),
                Err(_) => Err("is not valid gzip"),
            }
        }
        Some(_) => Err("has an unrequested compression"),
    }
}

enum Answer {
    /// The file, if it exists.
    Bytes(Option<Vec<u8>>),
    /// Try again later.
    Busy,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn files_beyond_a_size_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Folder(folder.path().to_owned());
        assert_eq!(source.beyond(0).unwrap(), None);
        for path in audit::tiles::files(600, true) {
            let file = folder.path().join(path.to_string());
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        // A file that is not of a log, an interrupted write of one, and a former partial file.
        for other in ["tile/entries/003.new", "tile/notes", "tile/entries/002.p/80"] {
            let file = folder.path().join(other);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        for (size, expected) in [
            (0, Some(0)),
            (1, Some(0)),
            (256, Some(256)),
            (599, Some(512)),
            (600, None),
            (u64::MAX, None),
        ] {
            let beyond = source.beyond(size).unwrap();
            assert_eq!(beyond.and_then(|path| path.start()), expected, "{size}: {beyond:?}");
        }
    }

    #[tokio::test]
    async fn what_a_stranger_put_into_a_folder_is_neither_followed_nor_waited_for() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| folder.path().join(name);
        std::fs::write(outside.path().join("checkpoint"), "somebody's").unwrap();
        let source = Source::Folder(folder.path().to_owned());
        let path: TilePath = "tile/0/000".parse().unwrap();
        let fifo = |at: &Path| {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
            rustix::fs::mknodat(rustix::fs::CWD, at, kind, mode, 0).unwrap();
        };
        fifo(&at("checkpoint"));
        let error = format!("{:#}", source.checkpoint().await.unwrap_err());
        assert!(error.contains("checkpoint: it is not a regular file"), "{error}");
        std::fs::remove_file(at("checkpoint")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("checkpoint"), at("checkpoint")).unwrap();
        let error = format!("{:#}", source.checkpoint().await.unwrap_err());
        assert!(error.contains("symbolic link"), "{error}");

        std::fs::create_dir_all(at("tile/0")).unwrap();
        std::fs::write(at("tile/0/000"), [0; 256 * 32]).unwrap();
        assert_eq!(source.file(path).await.unwrap().unwrap().len(), 256 * 32);
        std::fs::write(at("tile/0/000"), [0; 256 * 32 + 1]).unwrap();
        let error = format!("{:#}", source.file(path).await.unwrap_err());
        assert!(error.contains("more than 8192 bytes"), "{error}");
        // Nor are the files behind a link looked through.
        std::fs::rename(at("tile"), outside.path().join("tile")).unwrap();
        assert_eq!(source.beyond(0).unwrap(), None);
        std::os::unix::fs::symlink(outside.path().join("tile"), at("tile")).unwrap();
        assert_eq!(source.beyond(0).unwrap(), None);
        assert!(source.file(path).await.is_err());
    }

    #[test]
    fn compressed_files_are_read_and_bombs_are_refused() {
        const LIMIT: usize = 256 * (2 + 65_535);
        let file = b"entries ".repeat(100);
        let decoded = |body: &[u8], encoding| decoded(body, encoding, LIMIT as u64);
        let compressed = gzip(&file);
        assert_eq!(decoded(&file, None).unwrap(), file);
        assert_eq!(decoded(&file, Some(b"identity")).unwrap(), file);
        assert_eq!(decoded(&compressed, Some(b"gzip")).unwrap(), file);
        assert_eq!(decoded(&gzip(&vec![0; LIMIT]), Some(b"gzip")).unwrap().len(), LIMIT);
        for (body, encoding) in [
            (&compressed[..], &b"br"[..]),
            (&compressed[..compressed.len() - 1], b"gzip"),
            (&compressed[..20], b"gzip"),
            (&file, b"gzip"),
            (&gzip(&vec![0; LIMIT + 1]), b"gzip"),
            (&vec![0; LIMIT + 1], b"identity"),
        ] {
            assert!(decoded(body, Some(encoding)).is_err());
        }
    }
}
