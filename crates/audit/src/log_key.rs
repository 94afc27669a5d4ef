//! One signing key of a log.

use std::path::Path;

use ed25519_dalek::{SignatureError, Signer as _, SigningKey};
use journal::Bytes32;
use signed_note::Signer;
use witness::Cosigner;

use crate::{Error, file};

/// Signature type of Ed25519 in C2SP signed-note.
const ED25519: u8 = 1;

/// One Ed25519 key of a log, named by the log's origin.
#[derive(Clone)]
pub(crate) struct LogKey {
    origin: String,
    id: u32,
    key: SigningKey,
    timestamper: Cosigner,
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
            timestamper: Cosigner::new(origin, seed),
        }
    }

    /// Loads the key from a file; `None` if it does not exist.
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

    /// Content of the key file.
    pub fn seed(&self) -> Bytes32 {
        self.key.to_bytes()
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The same key for timestamped signatures. The two kinds of signed messages cannot be
    /// confused.
    pub fn timestamper(&self) -> &Cosigner {
        &self.timestamper
    }

    /// The verifier key in C2SP `signed-note` format: `origin+id+key`.
    pub fn vkey(&self) -> String {
        signed_note::new_ed25519_verifier_key(&self.origin, &self.key.verifying_key())
    }
}

impl Signer for LogKey {
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
