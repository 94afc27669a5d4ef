//! A folder that a log is exported to: incrementally, and so that whatever interrupts it can be gone on from.
//!
//! The folder holds `checkpoint`, the files of [`tiles`](crate::tiles) and `vkey`, the content of a verifier key file; any
//! web server that serves it serves the log. With details it also has `detail/…`, which nobody but its owner may read.
//!
//! Only entries are taken from the server. The tiles are computed here, from the tree that the folder's own checkpoint names, and their root
//! has to be the newly signed one: what gets a checkpoint in this folder extends what had one before. Who signed the one before does not
//! matter any more: its key may have been replaced or revoked since, and the new root says the same of every entry. What was exported before
//! is not read again, but for the tiles and the bundle that go on; that it is still there unchanged, [`verify`](crate::verify) says.
//!
//! Each file is written whole or not at all; the checkpoint last, when all others are on disk. What an interrupted export left behind is
//! full bundles without a checkpoint: they are used, and thrown away when they turn out not to be the log's.

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
/// Bytes of a hash.
const HASH: usize = 32;

/// Why a log is not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What was read is not the log that was signed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it was not.
        #[source]
        source: IoError,
    },
    /// Somebody else exports to this folder.
    #[error("another export to {} is under way", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has details and this export has none, or the other way round.
    #[error("{} was exported {}: go on like that, or export to a new folder", path.display(), if *has { "with details" } else { "without details" })]
    Details {
        /// The folder.
        path: PathBuf,
        /// Whether the folder has details.
        has: bool,
    },
    /// The folder has another log.
    #[error("{} has the log `{found}`, and this is `{expected}`: export to a new folder", path.display())]
    OtherLog {
        /// The folder.
        path: PathBuf,
        /// The origin of the log that it has.
        found: String,
        /// The origin of the log that is exported.
        expected: String,
    },
    /// The folder does not hold what its own checkpoint names.
    #[error("{} is damaged: {problem}. export to a new folder", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// The server has less than the folder.
    #[error(
        "the folder has a checkpoint of {folder} entries, and the server's newest has {server}: the server lags, or was set back"
    )]
    Behind {
        /// Entries that the folder's checkpoint covers.
        folder: u64,
        /// Entries that the server's covers.
        server: u64,
    },
}

impl From<CheckpointError> for ExportError {
    fn from(error: CheckpointError) -> Self {
        Self::Fault(error.into())
    }
}

/// A folder that is being exported to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held as long as the folder is open.
    lock: File,
    with_detail: bool,
    vkeys: String,
    checkpoint: String,
    origin: String,
    target: TreeHead,
    /// The tree of the folder's own checkpoint.
    before: TreeHead,
    edge: Edge,
    /// Leaf hashes of entries that the edge does not have yet.
    leaves: Vec<Bytes32>,
    /// The entries of the bundle that is not full, and their details.
    entries: Vec<u8>,
    details: Vec<u8>,
    /// Bundles that were found without a checkpoint.
    resumed: Vec<u64>,
}

impl Folder {
    /// Opens or makes a folder, to bring it to the tree that `checkpoint` signs. `vkeys` is a verifier key, or the content of a
    /// verifier key file.
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

    /// How many entries it has. What is pushed goes on from there.
    pub fn size(&self) -> u64 {
        self.edge.head().size + self.leaves.len() as u64
    }

    /// What it is brought to.
    pub fn target(&self) -> TreeHead {
        self.target
    }

    /// Brings it to the tree of another checkpoint instead, which must not have fewer entries.
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

    /// Entries that its own checkpoint covers.
    pub fn before(&self) -> u64 {
        self.before.size
    }

    /// Takes the next entry, with what it commits to when the folder has details.
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

    /// Makes what was pushed the log that the checkpoint signs. When it is not, nothing has a new checkpoint, and what an earlier export
    /// left behind is thrown away: another try goes on from the folder's own checkpoint.
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

    /// Goes on from the folder's own checkpoint.
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

    /// Takes up the bundles that an interrupted export left behind, as far as they are whole.
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
                // Both were found to be whole.
                let entry = take_entry(&mut entries).unwrap_or_default();
                let openings = take_openings(&mut details).flatten();
                if at >= known {
                    self.push(entry, openings)?;
                }
            }
            self.resumed.push(n);
        }
    }

    /// A full bundle of entries beyond the checkpoint, and what they commit to; `None` when it is not there, or not whole.
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

    /// Writes the bundle that is full now.
    fn flush(&mut self) -> Result<(), ExportError> {
        self.grow()?;
        let n = self.size() / u64::from(WIDTH) - 1;
        // The entries last: a bundle that is there has its details.
        if self.with_detail {
            self.write(full(Content::Details, n), &self.details)?;
        }
        self.write(full(Content::Entries, n), &self.entries)?;
        self.entries.clear();
        self.details.clear();
        Ok(())
    }

    /// Lets the tree grow by what was pushed, and writes the tiles that are full.
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

    /// Removes what was partial under the checkpoint before, where the full file has come.
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

    /// All that was written is on disk when this returns: one call for thousands of files.
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

/// Whether these are what an entry commits to: nothing, for a mark.
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

/// Under its name there is the whole file, or none.
fn put(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let new = path.with_added_extension("new");
    let write = || {
        // Of an interrupted export, or a link that somebody else made.
        remove(std::fs::remove_file(&new))?;
        File::create_new(&new)?.write_all(bytes)?;
        std::fs::rename(&new, path)
    };
    write().map_err(failed("writing", path))
}

/// What is not there need not be removed.
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
