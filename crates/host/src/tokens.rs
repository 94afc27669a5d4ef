//! The callers' tokens, reloaded from the token file: added and removed tokens take effect without
//! a restart.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use rpc::{Authenticate, Identity, Role, Token, Tokens};

use crate::data_dir::{AUDITOR, OPERATOR};

/// Interval between checks whether the file was written.
pub const LOOK: Duration = Duration::from_secs(1);

/// Identifies a version of the file. Time alone does not suffice: two writes may share a clock
/// tick.
type Writing = (SystemTime, u64, u64);

/// The tokens of a file, reloaded while this exists.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    tokens: RwLock<Arc<Tokens>>,
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
        });
        tokio::spawn(follow(Arc::downgrade(&followed)));
        Ok(followed)
    }

    /// The file's last write; `None` if it does not exist.
    fn written(&self) -> Option<Writing> {
        let file = std::fs::metadata(&self.path).ok()?;
        Some((file.modified().ok()?, file.ino(), file.len()))
    }

    /// Reloads the file. An invalid file changes nothing: existing tokens stay valid until the file
    /// is corrected.
    fn read_again(&self) {
        match read(&self.path).and_then(|tokens| Ok((tokens.len(), Tokens::new(&tokens)?))) {
            Ok((count, tokens)) => {
                let mut known = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
                if **known != tokens {
                    *known = Arc::new(tokens);
                    tracing::info!(count, "reloaded the token file");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the token file is invalid: the previous tokens stay in effect");
            }
        }
    }
}

impl Authenticate for Followed {
    fn authenticate(&self, headers: &http::HeaderMap) -> Option<Identity> {
        let tokens = Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner));
        tokens.authenticate(headers)
    }
}

async fn follow(followed: Weak<Followed>) {
    // Unknown at first: the file may have been written since it was read.
    let mut last = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(followed) = followed.upgrade() else { return };
        let written = followed.written();
        if written.is_some() && written != last {
            followed.read_again();
            last = written;
        }
    }
}

/// Reads a token file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Token>> {
    std::fs::read_to_string(path)
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(serde_json::from_str(&text)?))
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
    tokens.iter().find(is_it).map(|token| token.token.as_str())
}
