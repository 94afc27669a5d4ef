//! The keys that sign checkpoints, their verifier keys, and key rotation.
//!
//! Files beside the key file, which is `log.key` by default:
//!
//! * `log.key.old`: the previous key, while both sign.
//! * `log.keys`: the log's statements about its keys ([`crate::statement`]). Public, and only ever
//!   appended to.
//! * `log.vkey`: the public verifier key file ([`crate::trust`]): the signing keys, newest first,
//!   and the statements. Rebuilt from the others at each start.
//!
//! Changes take effect at the log's next start.

use std::path::{Path, PathBuf};

use journal::{Entropy, Time};
use signed_note::Signer;

use crate::{
    Error,
    checkpoint::CheckpointError,
    file,
    log_key::LogKey,
    statement::{Said, Statement},
    tree::TreeHead,
    trust,
};

/// File mode: only this process's user.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// The state of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The key signs.
    Signing,
    /// The key signs until the rotation is finished.
    Leaving,
    /// The key was replaced by another.
    Replaced,
    /// The key must not be trusted.
    Revoked {
        /// Size of the last tree signed with it that the log stands by.
        last: u64,
        /// The reason.
        reason: String,
    },
}

/// The keys of a log: the signing ones, and all statements about past and present keys.
#[derive(Clone, Debug)]
pub struct LogKeys {
    path: PathBuf,
    /// Newest first: one, or two during a rotation.
    signing: Vec<LogKey>,
    statements: Vec<Statement>,
}

impl LogKeys {
    /// Loads the keys from a key file and the files beside it; `None` if the key file does not
    /// exist.
    pub async fn load(origin: &str, path: &Path) -> Result<Option<Self>, Error> {
        let Some(newest) = LogKey::load(origin, path).await? else {
            return Ok(None);
        };
        let mut signing = vec![newest];
        let old = LogKey::load(origin, &beside(path, "log.key.old")).await?;
        // Equal keys: a crash interrupted a rotation between its two steps.
        signing.extend(old.filter(|old| old.key_id() != signing[0].key_id()));
        let keys = beside(path, "log.keys");
        let notes = file::read(&keys)
            .await
            .map_err(Error::file("reading the statements on the log's keys", &keys))?
            .unwrap_or_default();
        let notes = String::from_utf8_lossy(&notes);
        let mut statements = Vec::new();
        let mut blocks = notes.trim().split("\n\n").filter(|block| !block.is_empty());
        while let Some(text) = blocks.next() {
            let note = format!("{text}\n\n{}\n", blocks.next().unwrap_or_default().trim_end());
            let statement = Statement::parse(origin, &note).ok_or_else(|| Error::Statements { path: keys.clone() })?;
            statements.push(statement);
        }
        let path = path.to_owned();
        Ok(Some(Self {
            path,
            signing,
            statements,
        }))
    }

    /// Creates the first key of a log and stores its seed in a file. Call it if [`LogKeys::load`]
    /// returned `None`.
    pub async fn create(origin: &str, path: &Path, entropy: &dyn Entropy) -> Result<Self, Error> {
        let key = new_key(origin, path, entropy).await?;
        let keys = Self {
            path: path.to_owned(),
            signing: vec![key],
            statements: Vec::new(),
        };
        Ok(keys)
    }

    /// Starts replacing the signing key with a new one. Both sign until [`LogKeys::finish`].
    ///
    /// # Errors
    ///
    /// If a rotation is already in progress: with three keys, nobody could say which one a verifier
    /// has.
    pub async fn rotate(&mut self, entropy: &dyn Entropy, now: Time) -> Result<(), Error> {
        let old = match self.signing.as_slice() {
            [old] => old.clone(),
            _ => return Err(Error::Rotating),
        };
        // First the copy, then the statement about the new key, then the key: after a crash in
        // between, the old key still signs.
        let kept = beside(&self.path, "log.key.old");
        write(&kept, old.seed().to_vec(), SECRET).await?;
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        let new = LogKey::new(old.origin(), &seed);
        let said = Said::Replaced {
            old: old.vkey(),
            new: new.vkey(),
        };
        self.say(said, now, &[&old, &new]).await?;
        write(&self.path, seed.to_vec(), SECRET).await?;
        self.signing = vec![new, old];
        self.write_vkey().await
    }

    /// Ends a rotation: destroys the old key.
    ///
    /// # Errors
    ///
    /// If no rotation is in progress.
    pub async fn finish(&mut self) -> Result<(), Error> {
        if self.signing.len() < 2 {
            return Err(Error::NotRotating);
        }
        let old = beside(&self.path, "log.key.old");
        tokio::fs::remove_file(&old)
            .await
            .map_err(Error::file("removing the log's old key", &old))?;
        self.signing.truncate(1);
        self.write_vkey().await
    }

    /// Revokes all signing keys, because somebody else may have them, and creates a new one.
    ///
    /// The log stands by the tree of `last` and its extensions: holders of a checkpoint of any
    /// other tree by these keys must ask for a new one. The log must not be running.
    pub async fn revoke(
        &mut self,
        last: TreeHead,
        reason: &str,
        entropy: &dyn Entropy,
        now: Time,
    ) -> Result<(), Error> {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        let new = LogKey::new(self.origin(), &seed);
        for old in self.signing.clone() {
            let said = Said::Revoked {
                key: old.vkey(),
                last,
                reason: reason.to_owned(),
            };
            // Signed by both: for verifiers that list only the old key, and for those that list the
            // new one.
            self.say(said, now, &[&old, &new]).await?;
        }
        write(&self.path, seed.to_vec(), SECRET).await?;
        let old = beside(&self.path, "log.key.old");
        match tokio::fs::remove_file(&old).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("removing the log's old key", &old)(error));
            }
            _ => {}
        }
        self.signing = vec![new];
        self.write_vkey().await
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        self.signing[0].origin()
    }

    /// Verifier key of the newest key.
    pub fn vkey(&self) -> String {
        self.signing[0].vkey()
    }

    /// All past and present keys with their states, newest first.
    pub fn all(&self) -> Vec<(String, KeyState)> {
        let mut all: Vec<_> = self
            .signing
            .iter()
            .zip([KeyState::Signing, KeyState::Leaving])
            .map(|(key, state)| (key.vkey(), state))
            .collect();
        for statement in self.statements.iter().rev() {
            let (key, state) = match &statement.said {
                Said::Replaced { old, .. } => (old, KeyState::Replaced),
                Said::Revoked { key, last, reason } => {
                    let reason = reason.clone();
                    (
                        key,
                        KeyState::Revoked {
                            last: last.size,
                            reason,
                        },
                    )
                }
            };
            match all.iter_mut().find(|(known, _)| known == key) {
                Some((_, known)) if matches!(state, KeyState::Revoked { .. }) => *known = state,
                Some(_) => {}
                None => all.push((key.clone(), state)),
            }
        }
        all
    }

    /// Whether a revocation was interrupted: stated, but without a new key.
    pub(crate) fn signs_with_a_revoked_key(&self) -> bool {
        matches!(self.all().first(), Some((_, KeyState::Revoked { .. })))
    }

    /// The public content of `log.vkey`.
    pub fn verifier_key_file(&self) -> String {
        let keys: String = self.signing.iter().map(|key| key.vkey() + "\n").collect();
        let statements = self.statements.iter().map(Statement::note);
        statements.fold(keys, |file, note| format!("{file}\n{note}"))
    }

    /// The signing keys, newest first.
    pub(crate) fn signing(&self) -> &[LogKey] {
        &self.signing
    }

    /// Verifies a checkpoint as outsiders do, and returns its head.
    ///
    /// # Errors
    ///
    /// If no signing key signed it, or only a revoked one and for another tree than the log stands
    /// by.
    pub fn open(&self, note: &str) -> Result<TreeHead, CheckpointError> {
        trust::open(note, &self.verifier_key_file())
    }

    /// Like [`LogKeys::open`], but also accepts replaced keys.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_earlier(&self, note: &str) -> Result<TreeHead, CheckpointError> {
        let replaced = self.all().into_iter().filter(|(_, state)| *state == KeyState::Replaced);
        let listed = replaced.map(|(key, _)| key + "\n").collect::<String>();
        trust::open(note, &(listed + &self.verifier_key_file()))
    }

    /// Returns the head of our own checkpoint, signed by any of our keys. Not for checkpoints from
    /// others: it trusts revoked keys, too.
    pub(crate) fn open_own(&self, note: &str) -> Result<TreeHead, CheckpointError> {
        let keys: Vec<_> = self.all().into_iter().map(|(key, _)| key).collect();
        trust::open(note, &keys.join("\n"))
    }

    async fn say(&mut self, said: Said, now: Time, by: &[&dyn Signer]) -> Result<(), Error> {
        let time = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
        let statement = Statement::sign(self.origin(), &said, time, by).map_err(Error::Say)?;
        self.statements.push(statement);
        let notes: Vec<_> = self.statements.iter().map(Statement::note).collect();
        write(&beside(&self.path, "log.keys"), notes.join("\n").into_bytes(), PUBLIC).await
    }

    async fn write_vkey(&self) -> Result<(), Error> {
        let (path, text) = (beside(&self.path, "log.vkey"), self.verifier_key_file().into_bytes());
        match file::read(&path).await {
            Ok(Some(found)) if found == text => Ok(()),
            _ => write(&path, text, PUBLIC).await,
        }
    }

    /// Writes `log.vkey` unless it is up to date.
    ///
    /// If the key is mounted from a secret store, nothing can be written beside it: that is logged
    /// and does not prevent the start.
    pub(crate) async fn offer_vkey(&self) {
        if let Err(error) = self.write_vkey().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, vkey = self.vkey(), "cannot write the verifier key");
        }
    }
}

impl LogKeys {
    /// The files that a log keeps its keys in, with their names where the key file is `log.key`:
    /// the key file, and those beside it, which need not exist.
    #[must_use]
    pub fn files(key_file: &Path) -> [(&'static str, PathBuf); 4] {
        let beside = |name: &'static str| (name, beside(key_file, name));
        [
            ("log.key", key_file.to_owned()),
            beside("log.key.old"),
            beside("log.keys"),
            beside("log.vkey"),
        ]
    }
}

/// A file beside the key file. `log.key.old` is named after the key file, so that two logs can
/// share a folder.
fn beside(key_file: &Path, name: &str) -> PathBuf {
    match key_file.file_stem().and_then(|stem| stem.to_str()) {
        Some(stem) => key_file.with_file_name(name.replacen("log", stem, 1)),
        None => key_file.with_file_name(name),
    }
}

async fn new_key(origin: &str, path: &Path, entropy: &dyn Entropy) -> Result<LogKey, Error> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    write(path, seed.to_vec(), SECRET).await?;
    Ok(LogKey::new(origin, &seed))
}

async fn write(path: &Path, bytes: Vec<u8>, mode: u32) -> Result<(), Error> {
    file::replace(path, bytes, mode)
        .await
        .map_err(Error::file("writing", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use journal::SeededEntropy;

    use super::*;
    use crate::{checkpoint, trust::Trusted};

    const ORIGIN: &str = "remit.test/log";
    const NOW: Time = Time(1_795_305_600_000_000);
    const LAST: TreeHead = TreeHead { size: 9, root: [9; 32] };

    async fn load(path: &Path) -> LogKeys {
        LogKeys::load(ORIGIN, path).await.unwrap().unwrap()
    }

    fn vkey_file(path: &Path) -> String {
        std::fs::read_to_string(path.with_file_name("log.vkey")).unwrap()
    }

    #[tokio::test]
    async fn a_key_is_created_once_and_readable_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        assert!(LogKeys::load(ORIGIN, &path).await.unwrap().is_none());

        let made = LogKeys::create(ORIGIN, &path, &SeededEntropy::new(1)).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path).await.vkey(), made.vkey());

        made.offer_vkey().await;
        assert_eq!(vkey_file(&path), format!("{}\n", made.vkey()));

        std::fs::write(&path, "too short").unwrap();
        let error = LogKeys::load(ORIGIN, &path).await.unwrap_err();
        assert!(error.to_string().contains("has 9 bytes"), "{error}");
    }

    #[tokio::test]
    async fn during_a_rotation_either_key_verifies() {
        let (folder, entropy) = (tempfile::tempdir().unwrap(), SeededEntropy::new(1));
        let path = folder.path().join("log.key");
        let mut keys = LogKeys::create(ORIGIN, &path, &entropy).await.unwrap();
        let first = keys.verifier_key_file();
        let sign = |keys: &LogKeys| checkpoint::sign(&LAST, keys.signing(), NOW).unwrap();

        assert!(matches!(keys.finish().await, Err(Error::NotRotating)));
        keys.rotate(&entropy, NOW).await.unwrap();
        assert!(matches!(keys.rotate(&entropy, NOW).await, Err(Error::Rotating)));
        let keys_found = load(&path).await;
        assert_eq!(keys_found.all(), keys.all());
        let old = path.with_file_name("log.key.old");
        assert_eq!(std::fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);

        let second = keys.vkey();
        let file = vkey_file(&path);
        assert_eq!(
            file.lines().take(2).collect::<Vec<_>>(),
            [second.as_str(), first.trim()]
        );
        for verifier in [first.trim(), &second, &file] {
            assert_eq!(trust::open(&sign(&keys_found), verifier).unwrap(), LAST);
        }

        keys.finish().await.unwrap();
        assert!(!old.exists());
        let keys = load(&path).await;
        assert_eq!(
            keys.all(),
            [
                (second.clone(), KeyState::Signing),
                (first.trim().to_owned(), KeyState::Replaced)
            ]
        );
        let file = vkey_file(&path);
        assert_eq!(file.lines().next().unwrap(), second);
        assert_eq!(trust::open(&sign(&keys), &file).unwrap(), LAST);
        // What the first key signed is known again here, and to others by their old file only.
        let earlier = sign(&LogKeys {
            signing: keys_found.signing()[1..].to_vec(),
            ..keys_found.clone()
        });
        assert_eq!(keys.open_earlier(&earlier).unwrap(), LAST);
        assert!(keys.open(&earlier).is_err());
        // Who has the first key alone follows it through the statement, and not without.
        assert!(trust::open(&sign(&keys), &first).is_err());
        let followed = file.replacen(&second, first.trim(), 1);
        assert_eq!(trust::open(&sign(&keys), &followed).unwrap(), LAST);
    }

    #[tokio::test]
    async fn a_crash_in_a_rotation_leaves_the_old_key_signing() {
        let (folder, entropy) = (tempfile::tempdir().unwrap(), SeededEntropy::new(1));
        let path = folder.path().join("log.key");
        let first = LogKeys::create(ORIGIN, &path, &entropy).await.unwrap().vkey();
        let seed = std::fs::read(&path).unwrap();
        load(&path).await.rotate(&entropy, NOW).await.unwrap();
        // The state before the last step.
        std::fs::write(&path, seed).unwrap();
        let mut keys = load(&path).await;
        assert_eq!((keys.vkey(), keys.signing().len()), (first, 1));
        keys.rotate(&entropy, NOW).await.unwrap();
        assert_eq!(load(&path).await.signing().len(), 2);
    }

    #[tokio::test]
    async fn a_revoked_key_is_trusted_for_one_tree_only() {
        let (folder, entropy) = (tempfile::tempdir().unwrap(), SeededEntropy::new(1));
        let path = folder.path().join("log.key");
        let mut keys = LogKeys::create(ORIGIN, &path, &entropy).await.unwrap();
        keys.rotate(&entropy, NOW).await.unwrap();
        let before = keys.clone();
        keys.revoke(LAST, "the machine was stolen", &entropy, NOW)
            .await
            .unwrap();
        let (keys, file) = (load(&path).await, vkey_file(&path));
        assert_eq!(file, keys.verifier_key_file());

        let larger = TreeHead { size: 10, ..LAST };
        let sign = |keys: &LogKeys, head| checkpoint::sign(&head, keys.signing(), NOW).unwrap();
        assert_eq!(trust::open(&sign(&keys, larger), &file).unwrap(), larger);
        assert_eq!(trust::open(&sign(&before, LAST), &file).unwrap(), LAST);
        assert!(matches!(
            trust::open(&sign(&before, larger), &file),
            Err(CheckpointError::Revoked { last: 9, .. })
        ));
        let states = keys.all();
        assert!(
            states[1..]
                .iter()
                .all(|(_, state)| matches!(state, KeyState::Revoked { last: 9, .. }))
        );
        // A thief has both keys. Verifiers that trust only those learn of the revocation and are
        // not led to a key of the thief's.
        let stale = format!("{}\n\n{}", before.vkey(), file.split_once("\n\n").unwrap().1);
        assert!(Trusted::parse(&stale).unwrap().keys().is_empty());
        // The log still recognises its own files.
        assert_eq!(keys.open_own(&sign(&before, larger)).unwrap(), larger);
    }

    #[tokio::test]
    async fn malformed_statements_stop_the_start() {
        let (folder, entropy) = (tempfile::tempdir().unwrap(), SeededEntropy::new(1));
        let path = folder.path().join("log.key");
        let mut keys = LogKeys::create(ORIGIN, &path, &entropy).await.unwrap();
        keys.rotate(&entropy, NOW).await.unwrap();
        let statements = path.with_file_name("log.keys");
        let text = std::fs::read_to_string(&statements).unwrap();
        std::fs::write(&statements, &text[..text.len() - 40]).unwrap();
        assert!(matches!(
            LogKeys::load(ORIGIN, &path).await,
            Err(Error::Statements { .. })
        ));
    }
}
