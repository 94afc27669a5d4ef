//! What is kept of an import beside its file, so that an interrupted one goes on where it was.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::client::Failed;

/// What became of the reports of one category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) known: u64,
    pub(super) refused: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.known += other.known;
        self.refused += other.refused;
    }
}

/// Categories that are counted apart. Names come from the file, and anything may stand there.
const CATEGORIES: usize = 500;

/// How far an import has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// SHA-256 of the file.
    pub(super) sha256: String,
    /// SHA-256 of the mapping; empty without one.
    pub(super) mapping_sha256: String,
    pub(super) format: String,
    pub(super) server: String,
    /// Reports from the file's beginning that have an outcome.
    pub(super) done: u64,
    pub(super) finished: bool,
    pub(super) categories: BTreeMap<String, Counts>,
    /// Bytes of the file of rejects, and of that of receipts, up to here.
    pub(super) rejects_bytes: u64,
    pub(super) receipts: Option<PathBuf>,
    pub(super) receipts_bytes: u64,
}

impl State {
    pub(super) fn count(&mut self, category: &str, counts: Counts) {
        let category = match category {
            "" => "-",
            known if self.categories.contains_key(known) || self.categories.len() < CATEGORIES => known,
            _ => "-",
        };
        self.categories.entry(category.to_owned()).or_default().add(counts);
    }

    pub(super) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.categories.values().for_each(|counts| sum.add(*counts));
        sum
    }

    /// The state of an earlier import of the same file, or this one. An import of another is not
    /// gone on with.
    pub(super) fn resumed(self, path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(self),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let name = path.display();
        let earlier: Self = serde_json::from_str(&text)
            .map_err(|error| Failed::Usage(format!("{name} does not say how far an import has come: {error}")))?;
        let same = [
            ("another file", &earlier.sha256, &self.sha256),
            (
                "the same file with another mapping",
                &earlier.mapping_sha256,
                &self.mapping_sha256,
            ),
            ("the same file in another format", &earlier.format, &self.format),
            ("the same file to another server", &earlier.server, &self.server),
        ];
        for (what, was, is) in same {
            if was != is {
                let message = format!(
                    "{name} is of an import of {what} (`{was}`, now `{is}`): go on with that one, or name another file \
                     with --progress"
                );
                return Err(Failed::Usage(message).into());
            }
        }
        if earlier.receipts != self.receipts {
            let of = |path: &Option<PathBuf>| match path {
                Some(path) => path.display().to_string(),
                None => "none".to_owned(),
            };
            let (was, is) = (of(&earlier.receipts), of(&self.receipts));
            let message = format!("{name} is of an import whose file of receipts is {was}, and now it is {is}");
            return Err(Failed::Usage(message).into());
        }
        Ok(earlier)
    }

    /// Writes it down, whole or not at all.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let context = || format!("cannot write {}", path.display());
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())
            .with_context(context)?;
        file.as_file().sync_all().with_context(context)?;
        file.persist(path).with_context(context)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

/// A file of lines that an import adds to.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    unwritten: Vec<u8>,
}

impl Log {
    /// The file at a path, up to where an earlier import had come with it: what is behind that has
    /// no outcome yet. It is made with the first line.
    pub(super) fn resume(path: PathBuf, bytes: u64) -> anyhow::Result<Self> {
        let mut log = Self {
            path,
            file: None,
            bytes,
            unwritten: Vec::new(),
        };
        if bytes > 0 {
            log.open()?;
        }
        Ok(log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(&mut self) -> anyhow::Result<&mut File> {
        let context = || format!("cannot write {}", self.path.display());
        if self.file.is_none() {
            // It says what people reported, or has their receipts.
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(&self.path).with_context(context)?;
            if file.metadata()?.len() < self.bytes {
                let name = self.path.display();
                let message =
                    format!("{name} is shorter than the import left it: restore it, or begin anew with --progress");
                return Err(Failed::Usage(message).into());
            }
            file.set_len(self.bytes).with_context(context)?;
            file.seek(SeekFrom::Start(self.bytes)).with_context(context)?;
            self.file = Some(file);
        }
        self.file.as_mut().context("it was opened")
    }

    pub(super) fn line(&mut self, value: &serde_json::Value) {
        self.unwritten.extend_from_slice(value.to_string().as_bytes());
        self.unwritten.push(b'\n');
    }

    /// Makes all lines durable; returns the bytes of the file.
    pub(super) fn sync(&mut self) -> anyhow::Result<u64> {
        if !self.unwritten.is_empty() {
            let lines = std::mem::take(&mut self.unwritten);
            let context = format!("cannot write {}", self.path.display());
            let file = self.open()?;
            file.write_all(&lines)
                .and_then(|()| file.sync_data())
                .context(context)?;
            self.bytes += lines.len() as u64;
        }
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            sha256: "a".to_owned(),
            format: "csv".to_owned(),
            server: "http://here".to_owned(),
            ..State::default()
        }
    }

    #[test]
    fn an_import_goes_on_with_its_own_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.import");
        assert_eq!(state().resumed(&path).unwrap(), state());
        let mut half = state();
        half.done = 7;
        half.count(
            "categories/gambling",
            Counts {
                accepted: 7,
                ..Counts::default()
            },
        );
        half.save(&path).unwrap();
        assert_eq!(state().resumed(&path).unwrap(), half);
        for (other, expected) in [
            (
                State {
                    sha256: "b".to_owned(),
                    ..state()
                },
                "of an import of another file",
            ),
            (
                State {
                    mapping_sha256: "b".to_owned(),
                    ..state()
                },
                "another mapping",
            ),
            (
                State {
                    format: "json".to_owned(),
                    ..state()
                },
                "another format",
            ),
            (
                State {
                    server: "http://there".to_owned(),
                    ..state()
                },
                "another server",
            ),
            (
                State {
                    receipts: Some("r".into()),
                    ..state()
                },
                "whose file of receipts is none",
            ),
        ] {
            let error = other.resumed(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        std::fs::write(&path, "{}").unwrap();
        assert!(
            state()
                .resumed(&path)
                .unwrap_err()
                .to_string()
                .contains("does not say how far")
        );
    }

    #[test]
    fn what_was_written_behind_the_state_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects");
        let mut log = Log::resume(path.clone(), 0).unwrap();
        assert_eq!(log.sync().unwrap(), 0);
        assert!(!path.exists(), "nothing to say, no file");
        log.line(&serde_json::json!(1));
        let bytes = log.sync().unwrap();
        log.line(&serde_json::json!("lost"));
        log.sync().unwrap();
        let mut log = Log::resume(path.clone(), bytes).unwrap();
        log.line(&serde_json::json!(2));
        log.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
        assert!(Log::resume(path, 99).is_err());
    }

    #[test]
    fn categories_of_a_file_are_counted_up_to_a_bound() {
        let mut state = state();
        for number in 0..10_000 {
            state.count(
                &format!("categories/{number}"),
                Counts {
                    refused: 1,
                    ..Counts::default()
                },
            );
        }
        assert!(state.categories.len() <= CATEGORIES + 1);
        assert_eq!(state.sum().refused, 10_000);
    }
}
