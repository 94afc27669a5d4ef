//! Who may call, as the file of tokens says now: a token that is added or taken out counts without a restart.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use rpc::{Authenticate, Identity, Role, Token, Tokens};

use crate::data_dir::{AUDITOR, OPERATOR};

/// How often is looked whether the file was written.
pub const LOOK: Duration = Duration::from_secs(1);

/// What tells one writing of a file from another. The time alone does not: two writings may share a tick of the clock.
type Writing = (SystemTime, u64, u64);

/// The tokens of a file, followed while this is kept.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    tokens: RwLock<Arc<Tokens>>,
}

impl Followed {
    /// Begins with what was read of a file, and follows it. Within a runtime.
    ///
    /// # Errors
    /// When the tokens cannot be used.
    pub fn new(path: &Path, tokens: &[Token]) -> anyhow::Result<Arc<Self>> {
        let followed = Arc::new(Self {
            path: path.to_owned(),
            tokens: RwLock::new(Arc::new(Tokens::new(tokens)?)),
        });
        tokio::spawn(follow(Arc::downgrade(&followed)));
        Ok(followed)
    }

    /// The last writing of the file; `None` when it is not there.
    fn written(&self) -> Option<Writing> {
        let file = std::fs::metadata(&self.path).ok()?;
        Some((file.modified().ok()?, file.ino(), file.len()))
    }

    /// A file that cannot be used changes nothing: whoever has a token keeps it until the file is right.
    fn read_again(&self) {
        match read(&self.path).and_then(|tokens| Ok((tokens.len(), Tokens::new(&tokens)?))) {
            Ok((count, tokens)) => {
                let mut known = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
                if **known != tokens {
                    *known = Arc::new(tokens);
                    tracing::info!(count, "the file of tokens was read again");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "the file of tokens was written and cannot be used: the former tokens stay"
                );
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
    // What it was when it was first read is not known: it may have been written since.
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

/// Reads a file of tokens.
pub fn read(path: &Path) -> anyhow::Result<Vec<Token>> {
    std::fs::read_to_string(path)
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(serde_json::from_str(&text)?))
        .with_context(|| format!("reading the tokens in {}", path.display()))
}

/// The token of the operator or the auditor, by that word, or of an agency, by its id.
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
