//! Exports a log to a folder: incrementally, and resumably after any interruption.
//!
//! The folder contains `checkpoint`, the files of [`tiles`](crate::tiles) and `vkey`, the content
//! of a verifier key file; any web server can serve it as the log. With details it also has
//! `detail/…`, readable by the owner only.
//!
//! Only entries are fetched from the server. The tiles are computed here, from the tree of the
//! folder's own checkpoint, and their root must be the newly signed one: so a new checkpoint of the
//! folder extends the previous one. The previous one's signature does not matter: its key may have
//! been replaced or revoked since, and the new root covers the same entries. Earlier files are not
//! read again, except for the tiles and the bundle that continue; [`verify`](crate::verify) shows
//! whether they are unchanged.
//!
//! Each file is written completely or not at all; the checkpoint last, after all others are on
//! disk. An interrupted export leaves full bundles beyond the checkpoint: they are reused, and
//! deleted if they turn out not to be the log's.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io::{Error as IoError, ErrorKind, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use ::witness::foreign;
use journal::{Bytes32, Content as What, Entry, Opened, Openings, entry_hash};

use crate::{
    checkpoint::{self, CheckpointError},
    tiles::{Content, TilePath, WIDTH, put_entry, put_openings, take_entry, take_openings},
    tree::{Edge, TileId, Tiles, TreeHead},
    trust::{self, Trusted},
    verify::{Fault, Problem},
};

const CHECKPOINT: &str = "checkpoint";
const VKEY: &str = "vkey";
const DETAIL: &str = "detail";
/// Size of a hash, in bytes.
const HASH: usize = 32;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The entries are not the signed log.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: IoError,
    },
    /// Another export to this folder is running.
    #[error("another export to {} is running", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has details and this export does not, or the reverse.
    #[error("{} was exported {}: continue in the same way, or export to a new folder", path.display(), if *has { "with details" } else { "without details" })]
    Details {
        /// The folder.
        path: PathBuf,
        /// Whether the folder has details.
        has: bool,
    },
    /// The folder contains another log.
    #[error("{} contains the log `{found}`, but this is `{expected}`: export to a new folder", path.display())]
    OtherLog {
        /// The folder.
        path: PathBuf,
        /// Origin of its log.
        found: String,
        /// Origin of the log to export.
        expected: String,
    },
    /// The folder does not match its own checkpoint.
    #[error("{} is damaged: {problem}. export to a new folder", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The server has fewer entries than the folder.
    #[error(
        "the folder's checkpoint covers {folder} entries, the server's newest only {server}: the server lags, or was set back"
    )]
    Behind {
        /// Number of entries covered by the folder's checkpoint.
        folder: u64,
        /// Number of entries covered by the server's.
        server: u64,
    },
}

impl From<CheckpointError> for ExportError {
    fn from(error: CheckpointError) -> Self {
        Self::Fault(error.into())
    }
}

/// A folder during an export.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held while the folder is open.
    lock: File,
    with_detail: bool,
    vkeys: String,
    checkpoint: String,
    origin: String,
    target: TreeHead,
    /// The tree of the folder's own checkpoint.
    before: TreeHead,
    edge: Edge,
    /// Leaf hashes of entries that are not in the edge yet.
    leaves: Vec<Bytes32>,
    /// The entries of the partial bundle, and their details.
    entries: Vec<u8>,
    details: Vec<u8>,
    /// Bundles found beyond the checkpoint.
    resumed: Vec<u64>,
}

impl Folder {
    /// Opens or creates a folder, to bring it to the tree signed by `checkpoint`. `vkeys` is a
    /// verifier key or the content of a verifier key file.
    pub fn open(path: &Path, checkpoint: &str, vkeys: &str, with_detail: bool) -> Result<Self, ExportError> {
        let trusted = Trusted::parse(vkeys)?;
        let target = trusted.open(checkpoint)?;
        std::fs::create_dir_all(path).map_err(failed("making the folder", path))?;
        let lock = File::open(path).map_err(failed("opening the folder", path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ExportError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed("locking the folder", path)(source)),
        }
        let mut folder = Self {
            path: path.to_owned(),
            lock,
            with_detail,
            vkeys: vkeys.to_owned(),
            checkpoint: checkpoint.to_owned(),
            origin: trusted.origin().to_owned(),
            target,
            before: TreeHead::EMPTY,
            edge: Edge::empty(),
            leaves: Vec::new(),
            entries: Vec::new(),
            details: Vec::new(),
            resumed: Vec::new(),
        };
        folder.take_up()?;
        if with_detail && !folder.path.join(DETAIL).is_dir() {
            let detail = folder.path.join(DETAIL);
            let made = DirBuilder::new().mode(0o700).create(&detail);
            made.map_err(failed("making the folder", &detail))?;
        }
        folder.resume()?;
        Ok(folder)
    }

    /// Number of its entries, which pushed ones continue.
    pub fn size(&self) -> u64 {
        self.edge.head().size + self.leaves.len() as u64
    }

    /// The tree to bring it to.
    pub fn target(&self) -> TreeHead {
        self.target
    }

    /// Aims for the tree of another checkpoint, which must not have fewer entries.
    pub fn aim(&mut self, checkpoint: &str) -> Result<(), ExportError> {
        let target = trust::open(checkpoint, &self.vkeys)?;
        if target.size < self.target.size {
            return Err(ExportError::Behind {
                folder: self.target.size,
                server: target.size,
            });
        }
        (self.target, self.checkpoint) = (target, checkpoint.to_owned());
        Ok(())
    }

    /// Number of entries covered by its own checkpoint.
    pub fn before(&self) -> u64 {
        self.before.size
    }

    /// Takes the next entry, with its openings if the folder has details.
    pub fn push(&mut self, entry: &[u8], openings: Option<Openings<'_>>) -> Result<(), ExportError> {
        let index = self.size();
        let fault = |problem| ExportError::from(Fault::Entry { index, problem });
        let decoded = Entry::decode(entry).map_err(|error| fault(error.into()))?;
        if self.with_detail {
            if !fits(decoded, openings) {
                return Err(fault(Problem::Detail));
            }
            put_openings(&mut self.details, openings);
        }
        put_entry(&mut self.entries, entry);
        self.leaves.push(entry_hash(entry));
        if self.size().is_multiple_of(u64::from(WIDTH)) {
            self.flush()?;
        }
        Ok(())
    }

    /// Completes the export if the entries are the signed log. Otherwise the folder keeps its
    /// checkpoint, and files of an interrupted export are deleted: the next try continues from the
    /// checkpoint.
    pub fn finish(mut self) -> Result<TreeHead, ExportError> {
        self.grow()?;
        let found = self.edge.head();
        if found != self.target {
            for n in &self.resumed {
                for content in [Content::Entries, Content::Details] {
                    let file = self.path.join(full(content, *n).to_string());
                    remove(std::fs::remove_file(&file)).map_err(failed("removing", &file))?;
                }
            }
            return Err(match found.size == self.target.size {
                true => Fault::Root { size: found.size }.into(),
                false => Fault::Size {
                    found: found.size,
                    size: self.target.size,
                }
                .into(),
            });
        }
        let width = u16::try_from(found.size % u64::from(WIDTH)).unwrap_or(0);
        if width > 0 {
            let n = found.size / u64::from(WIDTH);
            let partial = |content| TilePath { content, n, width };
            self.write(partial(Content::Entries), &self.entries)?;
            if self.with_detail {
                self.write(partial(Content::Details), &self.details)?;
            }
        }
        for (id, hashes) in self.edge.tiles() {
            let width = u16::try_from(hashes.len() / HASH).unwrap_or(WIDTH);
            let content = Content::Hashes(id.level);
            self.write(
                TilePath {
                    content,
                    n: id.n,
                    width,
                },
                hashes,
            )?;
        }
        put(&self.path.join(VKEY), format!("{}\n", self.vkeys.trim_end()).as_bytes())?;
        self.sync()?;
        put(&self.path.join(CHECKPOINT), self.checkpoint.as_bytes())?;
        self.sync()?;
        self.tidy()?;
        Ok(found)
    }

    /// Loads the tree of the folder's own checkpoint.
    fn take_up(&mut self) -> Result<(), ExportError> {
        let file = self.path.join(CHECKPOINT);
        let note = match foreign::read_in(&self.path, CHECKPOINT, foreign::SMALL) {
            // Non-UTF-8 bytes do not open as a note anyway.
            Ok(Some(note)) => String::from_utf8_lossy(&note).into_owned(),
            Ok(None) => return Ok(()),
            Err(source) => return Err(failed("reading", &file)(source)),
        };
        let (origin, head) =
            checkpoint::read(&note).map_err(|_| self.damaged("its checkpoint cannot be read".to_owned()))?;
        if origin != self.origin {
            return Err(ExportError::OtherLog {
                path: self.path.clone(),
                found: origin,
                expected: self.origin.clone(),
            });
        }
        let has = self.path.join(DETAIL).is_dir();
        if has != self.with_detail && head.size > 0 {
            let path = self.path.clone();
            return Err(ExportError::Details { path, has });
        }
        if head.size > self.target.size {
            return Err(ExportError::Behind {
                folder: head.size,
                server: self.target.size,
            });
        }
        let mut tiles = Vec::new();
        for id in Edge::places(head.size) {
            let width = u16::try_from((head.size >> (8 * u32::from(id.level))) % u64::from(WIDTH)).unwrap_or(0);
            let content = Content::Hashes(id.level);
            let read = self.read(TilePath {
                content,
                n: id.n,
                width,
            })?;
            tiles.push((id, read));
        }
        let tiles: Tiles = tiles.into_iter().collect();
        self.edge = Edge::open(head, tiles)
            .map_err(|error| self.damaged(format!("its tiles do not give its root: {error}")))?;
        self.before = head;
        let width = u16::try_from(head.size % u64::from(WIDTH)).unwrap_or(0);
        if width == 0 {
            return Ok(());
        }
        let n = head.size / u64::from(WIDTH);
        self.entries = self.read(TilePath {
            content: Content::Entries,
            n,
            width,
        })?;
        let known = self
            .edge
            .tiles()
            .find(|(id, _)| *id == TileId { level: 0, n })
            .map(|(_, hashes)| hashes.to_vec());
        let (mut rest, mut found) = (&self.entries[..], Vec::new());
        while let Some(entry) = take_entry(&mut rest) {
            found.extend_from_slice(&entry_hash(entry));
        }
        if !rest.is_empty() || known.as_ref() != Some(&found) {
            return Err(self.damaged("its last entries are not those of its last tile".to_owned()));
        }
        if self.with_detail {
            self.details = self.read(TilePath {
                content: Content::Details,
                n,
                width,
            })?;
        }
        Ok(())
    }

    /// Reuses complete bundles of an interrupted export.
    fn resume(&mut self) -> Result<(), ExportError> {
        loop {
            let n = self.size() / u64::from(WIDTH);
            if (n + 1) * u64::from(WIDTH) > self.target.size {
                return Ok(());
            }
            let Some((entries, details)) = self.found(n) else {
                return Ok(());
            };
            let known = usize::try_from(self.size() % u64::from(WIDTH)).unwrap_or(0);
            let (mut entries, mut details) = (&entries[..], &details[..]);
            for at in 0..usize::from(WIDTH) {
                // Both are complete.
                let entry = take_entry(&mut entries).unwrap_or_default();
                let openings = take_openings(&mut details).flatten();
                if at >= known {
                    self.push(entry, openings)?;
                }
            }
            self.resumed.push(n);
        }
    }

    /// A full bundle of entries beyond the checkpoint with its details; `None` if it is missing or
    /// incomplete.
    fn found(&self, n: u64) -> Option<(Vec<u8>, Vec<u8>)> {
        let read = |content| self.read(full(content, n)).ok();
        let bundle = read(Content::Entries)?;
        let details = match self.with_detail {
            true => read(Content::Details)?,
            false => Vec::new(),
        };
        let (mut entries, mut openings) = (&bundle[..], &details[..]);
        for _ in 0..WIDTH {
            let entry = Entry::decode(take_entry(&mut entries)?).ok()?;
            if self.with_detail && !fits(entry, take_openings(&mut openings)?) {
                return None;
            }
        }
        (entries.is_empty() && openings.is_empty()).then_some((bundle, details))
    }

    /// Writes the bundle that has become full.
    fn flush(&mut self) -> Result<(), ExportError> {
        self.grow()?;
        let n = self.size() / u64::from(WIDTH) - 1;
        // The entries last: an existing bundle has its details.
        if self.with_detail {
            self.write(full(Content::Details, n), &self.details)?;
        }
        self.write(full(Content::Entries, n), &self.entries)?;
        self.entries.clear();
        self.details.clear();
        Ok(())
    }

    /// Grows the tree by the pushed entries, and writes full tiles.
    fn grow(&mut self) -> Result<(), ExportError> {
        let (edge, tiles) = self
            .edge
            .grow(&self.leaves)
            .map_err(|error| self.damaged(error.to_string()))?;
        for (id, hashes) in tiles {
            if hashes.len() == HASH * usize::from(WIDTH) {
                self.write(full(Content::Hashes(id.level), id.n), &hashes)?;
            }
        }
        self.edge = edge;
        self.leaves.clear();
        Ok(())
    }

    /// Removes partial files of the previous checkpoint that are full now.
    fn tidy(&self) -> Result<(), ExportError> {
        for id in Edge::places(self.before.size) {
            let mut contents = vec![Content::Hashes(id.level)];
            if id.level == 0 {
                contents.extend([Content::Entries, Content::Details]);
            }
            for content in contents {
                let file = full(content, id.n);
                if file.is_within(self.target.size) {
                    let partial = self.path.join(format!("{file}.p"));
                    remove(std::fs::remove_dir_all(&partial)).map_err(failed("removing", &partial))?;
                }
            }
        }
        Ok(())
    }

    fn read(&self, path: TilePath) -> Result<Vec<u8>, ExportError> {
        let file = self.path.join(path.to_string());
        let read = foreign::read_in(&self.path, &path.to_string(), path.max_bytes());
        let read = read.and_then(|bytes| bytes.ok_or_else(|| ErrorKind::NotFound.into()));
        read.map_err(failed("reading", &file))
    }

    fn write(&self, path: TilePath, bytes: &[u8]) -> Result<(), ExportError> {
        let file = self.path.join(path.to_string());
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed("making the folder", folder))?;
        }
        put(&file, bytes)
    }

    /// Flushes everything written to disk: one call for thousands of files.
    fn sync(&self) -> Result<(), ExportError> {
        let synced = rustix::fs::syncfs(&self.lock);
        synced.map_err(|error| failed("writing to disk", &self.path)(error.into()))
    }

    fn damaged(&self, problem: String) -> ExportError {
        ExportError::Damaged {
            path: self.path.clone(),
            problem,
        }
    }
}

/// Whether these openings match an entry's commitments; a mark has none.
fn fits(entry: Entry, openings: Option<Openings<'_>>) -> bool {
    match (entry.content, openings) {
        (What::Mark(_), None) => true,
        (What::Change { .. }, Some(Openings { chain, detail })) => {
            let opened = Opened::of(entry, Bytes32::default(), chain);
            opened.is_ok_and(|opened| detail.is_detail_of(&opened.detail))
        }
        (What::Mark(_), Some(_)) | (What::Change { .. }, None) => false,
    }
}

fn full(content: Content, n: u64) -> TilePath {
    TilePath {
        content,
        n,
        width: WIDTH,
    }
}

/// Writes a file atomically.
fn put(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let new = path.with_added_extension("new");
    let write = || {
        // A leftover of an interrupted export, or somebody's link.
        remove(std::fs::remove_file(&new))?;
        File::create_new(&new)?.write_all(bytes)?;
        std::fs::rename(&new, path)
    };
    write().map_err(failed("writing", path))
}

/// Ignores that a file to remove does not exist.
fn remove(removed: Result<(), IoError>) -> Result<(), IoError> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(IoError) -> ExportError {
    move |source| ExportError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
