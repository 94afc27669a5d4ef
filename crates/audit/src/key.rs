//! The key that signs checkpoints, and the verifier key that outsiders check them with.

use std::path::{Path, PathBuf};

use ed25519_dalek::{SignatureError, Signer as _, SigningKey};
use journal::{Bytes32, Entropy};

use crate::{Error, file};

/// C2SP signed-note's number for Ed25519.
const ED25519: u8 = 1;
/// Nobody but this process's user.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// A log's Ed25519 key. The log's origin is its name.
#[derive(Clone)]
pub(crate) struct LogKey {
    origin: String,
    id: u32,
    key: SigningKey,
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogKey")
            .field("vkey", &self.vkey())
            .finish_non_exhaustive()
    }
}

impl LogKey {
    pub fn new(origin: &str, seed: &Bytes32) -> Self {
        let key = SigningKey::from_bytes(seed);
        let id = signed_note::key_id(origin, &[&[ED25519], &key.verifying_key().to_bytes()[..]].concat());
        Self {
            origin: origin.to_owned(),
            id,
            key,
        }
    }

    /// Makes a key and keeps its seed in a file. An existing file is never replaced.
    pub async fn create(origin: &str, path: &Path, entropy: &dyn Entropy) -> Result<Self, Error> {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        file::replace(path, seed.to_vec(), SECRET)
            .await
            .map_err(Error::file("writing the log's key", path))?;
        Ok(Self::new(origin, &seed))
    }

    /// The key whose seed is in a file; `None` when there is no file.
    pub async fn load(origin: &str, path: &Path) -> Result<Option<Self>, Error> {
        let Some(seed) = file::read(path)
            .await
            .map_err(Error::file("reading the log's key", path))?
        else {
            return Ok(None);
        };
        let seed = Bytes32::try_from(seed).map_err(|seed| Error::Key {
            path: path.to_owned(),
            bytes: seed.len(),
        })?;
        Ok(Some(Self::new(origin, &seed)))
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The verifier key, as C2SP `signed-note` writes it: `origin+id+key`.
    pub fn vkey(&self) -> String {
        signed_note::new_ed25519_verifier_key(&self.origin, &self.key.verifying_key())
    }

    /// Writes the verifier key to `log.vkey` beside the key, unless it is there.
    ///
    /// Where keys are mounted from a secret store nothing can be written beside them: that is said, and no reason not to start.
    pub async fn write_vkey(&self, key_file: &Path) {
        let path: PathBuf = key_file.with_file_name("log.vkey");
        let text = format!("{}\n", self.vkey()).into_bytes();
        let written = match file::read(&path).await {
            Ok(Some(found)) if found == text => return,
            Ok(_) => file::replace(&path, text, PUBLIC).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, vkey = self.vkey(), "cannot write the verifier key");
        }
    }
}

impl signed_note::Signer for LogKey {
    fn name(&self) -> &str {
        &self.origin
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(self.key.try_sign(text)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use journal::SeededEntropy;

    use super::*;

    #[tokio::test]
    async fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        assert!(LogKey::load("remit.test/log", &path).await.unwrap().is_none());

        let made = LogKey::create("remit.test/log", &path, &SeededEntropy::new(1))
            .await
            .unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            LogKey::load("remit.test/log", &path).await.unwrap().unwrap().vkey(),
            made.vkey()
        );

        made.write_vkey(&path).await;
        assert_eq!(
            std::fs::read_to_string(folder.path().join("log.vkey")).unwrap(),
            format!("{}\n", made.vkey())
        );

        std::fs::write(&path, "too short").unwrap();
        let error = LogKey::load("remit.test/log", &path).await.unwrap_err();
        assert!(error.to_string().contains("holds 9 bytes"), "{error}");
    }
}
