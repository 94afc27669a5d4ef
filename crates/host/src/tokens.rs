//! The callers' tokens, reloaded from the token file: added and removed tokens take effect without
//! a restart.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use anyhow::Context as _;
use rpc::{Authenticate, Identity, Role, Token, Tokens};
use tokio::time::Instant;

use crate::{
    data_dir::{AUDITOR, OPERATOR},
    input,
    secrets::private,
};

/// Interval between checks whether the file was written.
pub const LOOK: Duration = Duration::from_secs(1);

/// Interval between log lines about a file that cannot be read.
pub const REMIND: Duration = Duration::from_secs(60);

/// Maximum size of a token file.
pub(crate) const LIMIT: u64 = 16 << 20;

/// Identifies a version of the file: time of the last change of content or mode, number, size. Time
/// alone does not suffice: two writes may share a clock tick.
type Writing = (i64, i64, u64, u64);

/// The tokens of a file, reloaded while this exists.
///
/// A file that vanished or cannot be read changes nothing: the last tokens that could be read stay
/// in effect, since a mount that is gone for a moment must not lock out every agency. To revoke a
/// token is to remove its entry. But it alarms, in the log and in every service's status, because
/// no token can be revoked meanwhile.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    tokens: RwLock<Arc<Tokens>>,
    trouble: RwLock<Option<String>>,
}

impl Followed {
    /// Starts with tokens already read from a file, and watches the file. Call it inside a runtime.
    ///
    /// # Errors
    ///
    /// If the tokens are invalid.
    pub fn new(path: &Path, tokens: &[Token]) -> anyhow::Result<Arc<Self>> {
        let followed = Arc::new(Self {
            path: path.to_owned(),
            tokens: RwLock::new(Arc::new(Tokens::new(tokens)?)),
            trouble: RwLock::new(None),
        });
        tokio::spawn(follow(Arc::downgrade(&followed)));
        Ok(followed)
    }

    /// The file's last change.
    fn written(&self) -> anyhow::Result<Writing> {
        let file = std::fs::metadata(&self.path).with_context(|| format!("reading {}", self.path.display()))?;
        Ok((file.ctime(), file.ctime_nsec(), file.ino(), file.len()))
    }

    /// Reloads the file.
    fn read_again(&self) -> anyhow::Result<()> {
        let tokens = read(&self.path)?;
        let (count, tokens) = (tokens.len(), Tokens::new(&tokens)?);
        let mut known = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        if **known != tokens {
            *known = Arc::new(tokens);
            tracing::info!(count, "reloaded the token file");
        }
        Ok(())
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Authenticate for Followed {
    fn authenticate(&self, headers: &http::HeaderMap) -> Option<Identity> {
        let tokens = Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner));
        tokens.authenticate(headers)
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn follow(followed: Weak<Followed>) {
    // Unknown at first: the file may have been written since it was read.
    let mut last = None;
    let mut reminded: Option<Instant> = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(followed) = followed.upgrade() else { return };
        let read = match followed.written() {
            Ok(written) if last == Some(written) => continue,
            Ok(written) => followed.read_again().map(|()| written),
            Err(error) => Err(error),
        };
        // What could not be read is tried again: a mount can come back with nothing changed.
        last = read.as_ref().ok().copied();
        match read {
            Ok(_) => {
                if reminded.take().is_some() {
                    tracing::info!(file = %followed.path.display(), "the token file can be read again");
                }
                followed.set_trouble(None);
            }
            Err(error) => {
                let error = format!("{error:#}");
                followed.set_trouble(Some(error.clone()));
                if reminded.is_none_or(|last| last.elapsed() >= REMIND) {
                    reminded = Some(Instant::now());
                    tracing::error!(
                        error,
                        "the token file cannot be read: the previous tokens stay in effect, and none can be revoked"
                    );
                }
            }
        }
    }
}

/// Reads a token file.
///
/// # Errors
///
/// Also if others on this machine can read it.
pub fn read(path: &Path) -> anyhow::Result<Vec<Token>> {
    private(path)?;
    input::text(path, LIMIT)
        .and_then(|text| {
            // Its own words quote what stands there, which may be a token.
            serde_json::from_str(&text).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                anyhow::anyhow!(
                    "line {line}, column {column}: this is no list of tokens as `remit token add` writes it"
                )
            })
        })
        .with_context(|| format!("reading the tokens in {}", path.display()))
}

/// The token of `operator`, `auditor`, or an agency by its id.
pub fn find_token<'a>(tokens: &'a [Token], who: &str) -> Option<&'a str> {
    let is_it = |token: &&Token| match token.role {
        Role::Operator => who == OPERATOR,
        Role::Auditor => who == AUDITOR,
        Role::Agency => token.agency.as_deref() == Some(who),
        Role::Partner => token.system == who,
        Role::Service => false,
    };
    tokens
        .iter()
        .filter(|token| !token.is_revoked())
        .find(is_it)
        .map(|token| token.token.as_str())
}
