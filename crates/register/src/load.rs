//! Loading a file: parsed as it arrives, sorted, validated, written and put in force, or nothing of
//! it.

use std::{io, sync::Arc};

use api::{event::Actor, routing::LoadResult};
use journal::{Bytes32, Clock, Earlier, RequestId, Time};
use places::Territories;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    checked::{Checked, Digest, Group},
    file::{Format, Mode, PROBLEMS, Problem, Reader},
    key::Key,
    sorted::Sorter,
    store::{self, Activated, Activation, Load, Store, Version},
};

/// Approximate number of entries per transaction, so that other writers get their turn.
const BATCH: usize = 4_096;

/// Parameters of a load.
#[derive(Clone, Debug)]
pub struct Request {
    /// Format of the file.
    pub format: Format,
    /// How the file is applied.
    pub mode: Mode,
    /// Whether to only report the effect.
    pub validate_only: bool,
    /// Who loads, for the log.
    pub actor: Actor,
    /// Trace context to continue.
    pub traceparent: String,
    /// The calling system and its id for the request.
    pub request_id: Option<(String, Uuid)>,
}

impl Request {
    /// The caller's id for the request with a file, if something is to be stored.
    fn id(&self, file: &Bytes32) -> Option<RequestId> {
        let (caller, id) = self.request_id.as_ref().filter(|_| !self.validate_only)?;
        let content = [&[self.format as u8, self.mode as u8], file.as_slice()].concat();
        Some(RequestId::new(caller, *id, "LoadOperators", &content))
    }
}

/// The effect of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadSummary {
    /// The register after the load, or as it would be.
    pub version: Version,
    /// Names added; all names of a replacement.
    pub added: u64,
    /// Names with changed entries.
    pub changed: u64,
    /// Names removed.
    pub removed: u64,
    /// Whether the register was already like this.
    pub unchanged: bool,
}

impl LoadSummary {
    /// Converts to a contract message.
    pub fn to_proto(&self) -> LoadResult {
        let mut version = self.version.to_proto();
        if self.version.time == Time::default() {
            version.load_time = None;
        }
        LoadResult {
            version: Some(version),
            added_count: self.added.cast_signed(),
            changed_count: self.changed.cast_signed(),
            removed_count: self.removed.cast_signed(),
            unchanged: self.unchanged,
        }
    }
}

/// Why nothing was loaded. The register is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file has faults.
    #[error("the file has {} faults", .0.len())]
    Problems(Vec<Problem>),
    /// The number of received bytes differs from the announced one.
    #[error(
        "received {came} bytes instead of the announced {announced}: the file was truncated in transit; load it again"
    )]
    Cut {
        /// Bytes received.
        came: u64,
        /// Bytes announced.
        announced: i64,
    },
    /// An earlier request has the id.
    #[error("an earlier request has the same id")]
    Earlier(Earlier),
    /// The register has a newer version than when the load began.
    #[error("another load came into force meanwhile; load again")]
    Overtaken,
    /// The service is stopping.
    #[error("the service is stopping; load again")]
    Stopping,
    /// Sorting failed: no space for temporary files, or no permission to write them.
    #[error("sorting in temporary files (TMPDIR)")]
    Sorting(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A load in progress. Dropping it leaves nothing visible.
pub struct Loader {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
    request: Request,
    bytes: u64,
    reading: Reading,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// CPU-intensive work, which runs outside the threads that serve requests.
#[derive(Debug)]
struct Reading {
    reader: Reader,
    sorter: Sorter,
    /// Of what was read.
    digest: Sha256,
}

impl Reading {
    fn feed(mut self, piece: &[u8]) -> io::Result<Self> {
        let sorter = &mut self.sorter;
        self.digest.update(piece);
        self.reader.feed(piece, &mut |row| sorter.push(row))?;
        Ok(self)
    }

    /// What was read, and its digest.
    fn finish(mut self) -> io::Result<(Reader, Checked, Bytes32)> {
        let sorter = &mut self.sorter;
        self.reader.finish(&mut |row| sorter.push(row))?;
        Ok((
            self.reader,
            Checked::new(self.sorter.merge()?),
            self.digest.finalize().into(),
        ))
    }
}

impl Loader {
    /// A loader for places of this tree.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
        territories: Territories,
        request: Request,
    ) -> Self {
        Self {
            store,
            clock,
            shutdown,
            bytes: 0,
            reading: Reading {
                reader: Reader::new(request.format, request.mode, territories),
                sorter: Sorter::default(),
                digest: Sha256::new(),
            },
            request,
        }
    }

    /// Bytes and entries read so far.
    pub fn progress(&self) -> (u64, u64) {
        (self.bytes, self.reading.reader.rows())
    }

    /// Whether there are so many faults that the rest need not be sent.
    pub fn has_enough(&self) -> bool {
        self.reading.reader.has_enough()
    }

    /// Reads a piece of the file.
    pub async fn piece(mut self, piece: impl AsRef<[u8]> + Send + 'static) -> Result<Self, LoadError> {
        self.bytes += piece.as_ref().len() as u64;
        let reading = self.reading;
        self.reading = blocking(move || reading.feed(piece.as_ref())).await?;
        Ok(self)
    }

    /// Reads the end of the file, whose size in bytes is `announced`, and puts the load in force.
    /// Reports the number of written entries to `written`.
    pub async fn end(self, announced: i64, written: &mut (dyn FnMut(u64) + Send)) -> Result<LoadSummary, LoadError> {
        let came = self.bytes;
        if !self.has_enough() && u64::try_from(announced) != Ok(came) {
            return Err(LoadError::Cut { came, announced });
        }
        let reading = self.reading;
        let (reader, checked, digest) = blocking(move || reading.finish()).await?;
        let request_id = self.request.id(&digest);
        // Before the file is checked: what it is checked against may have changed since the first
        // request.
        if let Some(id) = &request_id
            && let Some(earlier) = self.store.earlier(id).await?
        {
            return Err(LoadError::Earlier(earlier));
        }
        let problems = reader.problems().to_vec();
        let write = !self.request.validate_only && problems.is_empty();
        let load = match write {
            true => Some(self.store.begin(self.clock.now()).await?),
            false => None,
        };
        let base = match &load {
            Some(load) => load.base.clone(),
            None => self.store.version().await?,
        };
        let writing = Writing {
            store: &*self.store,
            clock: &*self.clock,
            shutdown: &self.shutdown,
            request: &self.request,
            request_id,
            load: load.as_ref(),
            tally: Tally::new(self.request.mode, base),
            problems,
        };
        let outcome = writing.run(checked, written).await;
        // A load that did not come into force is abandoned, whatever the reason.
        let in_force = outcome.as_ref().is_ok_and(|outcome| !outcome.unchanged);
        if let Some(load) = load.filter(|_| !in_force)
            && let Err(error) = self.store.abandon(&load).await
        {
            tracing::warn!(%error, load = load.id, "cannot abandon a load now; it will be swept in an hour");
        }
        outcome
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

struct Writing<'a> {
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    shutdown: &'a CancellationToken,
    request: &'a Request,
    request_id: Option<RequestId>,
    /// `None` if nothing is to be written.
    load: Option<&'a Load>,
    tally: Tally,
    problems: Vec<Problem>,
}

impl Writing<'_> {
    async fn run(mut self, checked: Checked, written: &mut (dyn FnMut(u64) + Send)) -> Result<LoadSummary, LoadError> {
        let (mut checked, mut groups) = self.next(checked).await?;
        let mut count = 0;
        while !groups.is_empty() {
            if self.shutdown.is_cancelled() {
                return Err(LoadError::Stopping);
            }
            count += groups
                .iter()
                .map(|group| group.entries.len().max(1) as u64)
                .sum::<u64>();
            let effective = self.effective(groups).await?;
            match self.load.filter(|_| self.problems.is_empty() && !effective.is_empty()) {
                Some(load) => {
                    // Read the next groups while these are written.
                    let (store, now) = (self.store, self.clock.now());
                    let (next, added) = tokio::join!(self.next(checked), store.add(load, &effective, now));
                    added?;
                    (checked, groups) = next?;
                }
                None => (checked, groups) = self.next(checked).await?,
            }
            written(count);
        }
        if !self.problems.is_empty() {
            self.problems.sort_by_key(|problem| problem.line);
            self.problems.truncate(PROBLEMS);
            return Err(LoadError::Problems(self.problems));
        }
        self.finish().await
    }

    async fn next(&mut self, mut checked: Checked) -> Result<(Checked, Vec<Group>), LoadError> {
        let next = blocking(move || {
            let mut problems = Vec::new();
            let mut groups = Vec::new();
            // A batch may contain nothing but faults.
            while groups.is_empty() && problems.len() < PROBLEMS {
                let (next, more) = checked.next_groups(BATCH, &mut problems)?;
                groups = next;
                if !more {
                    break;
                }
            }
            Ok((checked, groups, problems))
        });
        let (checked, mut groups, problems) = next.await?;
        self.problems.extend(problems);
        if self.problems.len() >= PROBLEMS {
            groups.clear();
        }
        Ok((checked, groups))
    }

    /// Counts the names and drops those that a change leaves as they are.
    async fn effective(&mut self, groups: Vec<Group>) -> Result<Vec<Group>, LoadError> {
        if self.request.mode == Mode::Replace {
            groups.iter().for_each(|group| self.tally.replace(group));
            return Ok(groups);
        }
        let keys: Vec<Key> = groups.iter().map(|group| group.key.clone()).collect();
        let before = self.store.find(keys).await?;
        let effective = groups
            .into_iter()
            .filter(|group| self.tally.change(group, before.of(&group.key)));
        Ok(effective.collect())
    }

    async fn finish(self) -> Result<LoadSummary, LoadError> {
        let mode = self.request.mode;
        let (mut outcome, digest, base) = self.tally.finish(mode);
        let now = self.clock.now();
        let Some(load) = self.load.filter(|_| !outcome.unchanged) else {
            // A repeat that comes after another load must not undo that.
            if let Some(id) = &self.request_id
                && let Some(earlier) = self.store.answer(id, &outcome, now).await?
            {
                return Err(LoadError::Earlier(earlier));
            }
            return Ok(outcome);
        };
        let activation = Activation {
            mode,
            digest,
            entries: outcome.version.entries,
            added: outcome.added,
            changed: outcome.changed,
            removed: outcome.removed,
            actor: self.request.actor.clone(),
            traceparent: self.request.traceparent.clone(),
            request_id: self.request_id,
        };
        debug_assert_eq!(base, load.base.version, "the compared version is the changed one");
        match self.store.activate(load, activation, now).await? {
            Activated::Done(version) => outcome.version = version,
            Activated::Overtaken => return Err(LoadError::Overtaken),
            Activated::Earlier(earlier) => return Err(LoadError::Earlier(earlier)),
        }
        Ok(outcome)
    }
}

/// Totals of a load.
struct Tally {
    base: Version,
    digest: Digest,
    entries: u64,
    added: u64,
    changed: u64,
    removed: u64,
}

impl Tally {
    fn new(mode: Mode, base: Version) -> Self {
        Self {
            digest: Digest::new(mode, &base.digest),
            entries: match mode {
                Mode::Replace => 0,
                Mode::Change => base.entries,
            },
            base,
            added: 0,
            changed: 0,
            removed: 0,
        }
    }

    fn replace(&mut self, group: &Group) {
        self.digest.take(group);
        self.entries += group.entries.len() as u64;
        self.added += 1;
    }

    /// Counts a change. Returns whether it changes anything.
    fn change(&mut self, group: &Group, before: &[crate::entry::Entry]) -> bool {
        if group.entries == before {
            return false;
        }
        *match (before.is_empty(), group.entries.is_empty()) {
            (true, _) => &mut self.added,
            (false, true) => &mut self.removed,
            (false, false) => &mut self.changed,
        } += 1;
        self.digest.take(group);
        // The base count already includes the existing entries.
        self.entries = (self.entries + group.entries.len() as u64).saturating_sub(before.len() as u64);
        true
    }

    /// The effect before the load comes into force, the digest, and the version it was compared
    /// with.
    fn finish(self, mode: Mode) -> (LoadSummary, Bytes32, u64) {
        let digest = self.digest.finish();
        let unchanged = match mode {
            Mode::Replace => self.base.version > 0 && digest == self.base.digest,
            Mode::Change => self.added + self.changed + self.removed == 0,
        };
        let base = self.base.version;
        let version = match unchanged {
            true => self.base,
            false => Version {
                version: base + 1,
                digest,
                entries: self.entries,
                ..Version::default()
            },
        };
        let outcome = LoadSummary {
            version,
            added: self.added,
            changed: self.changed,
            removed: self.removed,
            unchanged,
        };
        (outcome, digest, base)
    }
}
