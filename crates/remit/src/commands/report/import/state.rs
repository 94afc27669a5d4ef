//! What is kept of an import beside its file, so that an interrupted one goes on where it was.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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

/// Categories that are counted apart, and characters of their names. These come from the file, and
/// anything may stand there.
const CATEGORIES: usize = 500;
const CATEGORY: usize = 100;

/// A file of lines, as far as an import has written it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    /// Whether the file is there by the import's own doing: before, one that is there is another's.
    pub(super) is_begun: bool,
    pub(super) bytes: u64,
    /// SHA-256 of these bytes.
    pub(super) sha256: String,
}

impl Written {
    pub(super) fn nothing(path: PathBuf) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }
}

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
    /// Who submits.
    pub(super) caller: String,
    /// Reports from the file's beginning that have an outcome.
    pub(super) done: u64,
    pub(super) finished: bool,
    pub(super) categories: BTreeMap<String, Counts>,
    /// The file of rejects, and that of receipts, up to here.
    pub(super) rejects: Written,
    pub(super) receipts: Option<Written>,
}

impl State {
    pub(super) fn count(&mut self, category: &str, counts: Counts) {
        let is_name = category.starts_with("categories/") && category.chars().count() <= CATEGORY;
        let category = match category {
            _ if !is_name => "-",
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
            ("the same file by another caller", &earlier.caller, &self.caller),
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
        let of = |written: Option<&Written>| match written {
            Some(written) => written.path.display().to_string(),
            None => "none".to_owned(),
        };
        for (what, was, is) in [
            ("rejects", of(Some(&earlier.rejects)), of(Some(&self.rejects))),
            ("receipts", of(earlier.receipts.as_ref()), of(self.receipts.as_ref())),
        ] {
            if was != is {
                let message = format!(
                    "{name} is of an import whose file of {what} is {was}, and now it is {is}: name the same one, or \
                     another file with --progress"
                );
                return Err(Failed::Usage(message).into());
            }
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
    written: Written,
    hash: Sha256,
    file: Option<File>,
    /// The option that names another file.
    option: &'static str,
    unwritten: Vec<u8>,
}

impl Log {
    /// The file as far as an earlier import had come with it: what is behind that has no outcome
    /// yet. A new one is made with the first line, and no file that has something is written over.
    pub(super) fn resume(written: Written, option: &'static str) -> anyhow::Result<Self> {
        let mut log = Self {
            written,
            hash: Sha256::new(),
            file: None,
            option,
            unwritten: Vec::new(),
        };
        if log.written.is_begun {
            log.file = Some(log.begun()?);
        } else if log.path().symlink_metadata().is_ok() {
            log.existing()?;
        }
        Ok(log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.written.path
    }

    fn unusable(&self, problem: &str) -> anyhow::Error {
        let (name, option) = (self.path().display(), self.option);
        Failed::Usage(format!("{name} {problem}, or name another file with {option}")).into()
    }

    /// Opens a file that is there: none but a regular one, which nobody else reads.
    fn opened(&self) -> anyhow::Result<File> {
        let context = || format!("cannot write {}", self.path().display());
        // What opening would wait for, or lead elsewhere, is not opened.
        if !self.path().symlink_metadata().with_context(context)?.is_file() {
            return Err(self.unusable("is no regular file: move it away"));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path())
            .with_context(context)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(self.unusable("is no regular file: move it away"));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(self.unusable("can be read by others: make it your own with `chmod 600`"));
        }
        Ok(file)
    }

    /// A file that is there and was not begun by this import: an empty one is as good as none.
    fn existing(&self) -> anyhow::Result<File> {
        let file = self.opened()?;
        match file.metadata()?.len() {
            0 => Ok(file),
            _ => Err(self.unusable("is there already: move it away")),
        }
    }

    /// The file that this import has begun, behind what it has written.
    fn begun(&mut self) -> anyhow::Result<File> {
        let context = format!("cannot write {}", self.path().display());
        let mut file = self.opened()?;
        let (mut read, mut chunk) = (0, vec![0; 64 << 10]);
        let mut own = (&file).take(self.written.bytes);
        loop {
            let count = own.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            self.hash.update(&chunk[..count]);
            read += count as u64;
        }
        let is_the_same = HEXLOWER.encode(&self.hash.clone().finalize()) == self.written.sha256;
        if read < self.written.bytes || self.written.bytes > 0 && !is_the_same {
            let name = self.path().display();
            let message = format!(
                "{name} is not as the import left it: restore it, or begin anew with other files (--progress, {})",
                self.option
            );
            return Err(Failed::Usage(message).into());
        }
        file.set_len(self.written.bytes)
            .and_then(|()| file.seek(SeekFrom::Start(self.written.bytes)))
            .context(context)?;
        Ok(file)
    }

    /// Makes the file where there are lines for it and there is none yet. Returns whether it did:
    /// that has to be noted before anything is written.
    pub(super) fn begin(&mut self) -> anyhow::Result<bool> {
        if self.file.is_some() || self.unwritten.is_empty() {
            return Ok(false);
        }
        // It says what people reported, or has their receipts.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = match options.open(self.path()) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => self.existing()?,
            made => made.with_context(|| format!("cannot write {}", self.path().display()))?,
        };
        self.file = Some(file);
        self.written.is_begun = true;
        Ok(true)
    }

    pub(super) fn line(&mut self, value: &serde_json::Value) {
        self.unwritten.extend_from_slice(value.to_string().as_bytes());
        self.unwritten.push(b'\n');
    }

    pub(super) fn written(&self) -> &Written {
        &self.written
    }

    /// Makes all lines durable; returns the file as it is then.
    pub(super) fn sync(&mut self) -> anyhow::Result<Written> {
        self.begin()?;
        if !self.unwritten.is_empty() {
            let lines = std::mem::take(&mut self.unwritten);
            let context = format!("cannot write {}", self.path().display());
            let file = self.file.as_mut().context("it was opened")?;
            file.write_all(&lines)
                .and_then(|()| file.sync_data())
                .context(context)?;
            self.hash.update(&lines);
            self.written.bytes += lines.len() as u64;
            self.written.sha256 = HEXLOWER.encode(&self.hash.clone().finalize());
        }
        Ok(self.written.clone())
    }
}

/// Refuses two paths of one file: what is written to one would be gone in the other.
pub(super) fn apart(files: &[(&str, Option<&Path>)]) -> anyhow::Result<()> {
    let real = |path: &Path| {
        path.canonicalize().unwrap_or_else(|_| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize().unwrap_or_default();
            folder.join(path.file_name().unwrap_or_default())
        })
    };
    let files: Vec<_> = files
        .iter()
        .filter_map(|(what, path)| path.map(|path| (*what, path, real(path))))
        .collect();
    for (i, (what, path, is)) in files.iter().enumerate() {
        if let Some((other, ..)) = files[..i].iter().find(|(.., was)| was == is) {
            let name = path.display();
            return Err(Failed::Usage(format!("{name} cannot be both {other} and {what}")).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            sha256: "a".to_owned(),
            format: "csv".to_owned(),
            server: "http://here".to_owned(),
            caller: "desk".to_owned(),
            rejects: Written::nothing("rejects".into()),
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
                    caller: "another".to_owned(),
                    ..state()
                },
                "by another caller",
            ),
            (
                State {
                    rejects: Written::nothing("r".into()),
                    ..state()
                },
                "whose file of rejects is rejects, and now it is r",
            ),
            (
                State {
                    receipts: Some(Written::nothing("r".into())),
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

    fn log(written: &Written) -> anyhow::Result<Log> {
        Log::resume(written.clone(), "--rejects")
    }

    #[test]
    fn what_was_written_behind_the_state_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects");
        let mut first = log(&Written::nothing(path.clone())).unwrap();
        assert_eq!(first.sync().unwrap().bytes, 0);
        assert!(!path.exists(), "nothing to say, no file");
        first.line(&serde_json::json!(1));
        let noted = first.sync().unwrap();
        first.line(&serde_json::json!("lost"));
        first.sync().unwrap();
        let mut again = log(&noted).unwrap();
        again.line(&serde_json::json!(2));
        again.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // One that was made and then not written to is the import's own.
        let other = folder.path().join("other");
        let mut made = log(&Written::nothing(other.clone())).unwrap();
        made.line(&serde_json::json!(1));
        assert!(made.begin().unwrap());
        let noted = made.written().clone();
        made.sync().unwrap();
        log(&noted).unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "");
    }

    #[test]
    fn no_file_of_another_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects");
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let told = |written: &Written| log(written).unwrap_err().to_string();
        let nothing = Written::nothing(path.clone());
        std::fs::write(&path, "a year's work\n").unwrap();
        mode(0o600);
        let error = told(&nothing);
        assert!(error.contains("is there already: move it away, or name another file with --rejects"));
        // Likewise one that came since it was looked for.
        std::fs::remove_file(&path).unwrap();
        let mut late = log(&nothing).unwrap();
        late.line(&serde_json::json!(1));
        std::fs::write(&path, "a year's work\n").unwrap();
        mode(0o600);
        assert!(late.sync().is_err());
        // Nor one that took the place of the import's own, or that is shorter.
        for bytes in [4, 99] {
            let own = Written {
                is_begun: true,
                bytes,
                sha256: HEXLOWER.encode(&Sha256::digest(b"1\n2\n")),
                ..nothing.clone()
            };
            assert!(told(&own).contains("is not as the import left it"));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a year's work\n");
        // An empty one is as good as none, where nobody else reads it.
        std::fs::write(&path, "").unwrap();
        log(&nothing).unwrap();
        mode(0o644);
        assert!(told(&nothing).contains("chmod 600"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(told(&nothing).contains("is no regular file"));
    }

    #[test]
    fn one_file_is_not_two() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "").unwrap();
        let same = folder.path().join(".").join("a");
        let (new, also_new) = (folder.path().join("b"), folder.path().join("./b"));
        for (one, other, passes) in [(&file, &same, false), (&new, &also_new, false), (&file, &new, true)] {
            let told = apart(&[
                ("the file", Some(one)),
                ("--receipts", None),
                ("--rejects", Some(other)),
            ]);
            assert_eq!(told.is_ok(), passes);
        }
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

    #[test]
    fn what_is_no_name_of_a_category_is_counted_without_it() {
        let mut state = state();
        for name in [
            "",
            "gambling",
            &"x".repeat(1_000),
            &format!("categories/{}", "x".repeat(1_000_000)),
        ] {
            state.count(name, Counts::default());
        }
        assert_eq!(state.categories.keys().collect::<Vec<_>>(), ["-"]);
        state.count("categories/gambling", Counts::default());
        assert_eq!(state.categories.len(), 2);
    }
}
