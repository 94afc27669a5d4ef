//! The callers' tokens, reloaded from the token file: tokens that are added, revoked or rotated take
//! effect without a restart, also those with which Remit's own services call each other.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rpc::{Authenticate, Identity, Presented, Roles, Systems, Token, Tokens, client::Bearer};
use tokio::time::Instant;

use crate::{
    callers::refuse_shared,
    config::Service,
    token_file::{own_token, read},
};

/// Interval between checks whether the file was written.
pub const LOOK: Duration = Duration::from_secs(1);

/// Interval between log lines about a file that cannot be read.
pub const REMIND: Duration = Duration::from_secs(60);

/// Identifies a version of the file: time of the last change of content or mode, number, size. Time
/// alone does not suffice: two writes may share a clock tick.
type Writing = (i64, i64, u64, u64);

/// The tokens of a file, reloaded while this exists.
///
/// A file that vanished or cannot be read changes nothing: the last tokens that could be read stay
/// in effect, since a mount that is gone for a moment must not lock out every agency. But it alarms,
/// in the log and in every service's status, because no token can be revoked meanwhile. (`remit
/// token revoke` empties a token and keeps its entry: a start makes a token for a system that has
/// no entry.)
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    tokens: RwLock<Arc<Tokens>>,
    /// The tokens with which this process's services call.
    own: RwLock<Vec<(Service, Bearer)>>,
    trouble: RwLock<Option<String>>,
    /// What systems may that are known by more than tokens.
    others: RwLock<Systems>,
}

/// The table of tokens, none of which takes the name of one of Remit's own services.
///
/// # Errors
///
/// What is wrong with one.
pub fn table(tokens: &[Token]) -> anyhow::Result<Tokens> {
    let table = Tokens::new(tokens)?;
    let is_taken = |(system, (roles, _)): &(&String, &(Roles, Option<String>))| {
        !roles.is_service() && Service::ALL.iter().any(|own| own.name() == system.as_str())
    };
    match table.systems().iter().find(is_taken) {
        None => Ok(table),
        Some((system, _)) => bail!(
            "the token of `{system}` has the name of one of Remit's own services, which have the role service; name its \
             system otherwise"
        ),
    }
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
            tokens: RwLock::new(Arc::new(table(tokens)?)),
            own: RwLock::default(),
            trouble: RwLock::new(None),
            others: RwLock::default(),
        });
        tokio::spawn(follow(Arc::downgrade(&followed)));
        Ok(followed)
    }

    /// What a service calls with: its token of `tokens`, and after a change the one that the file
    /// has then.
    pub(crate) fn own(&self, service: Service, tokens: &[Token]) -> anyhow::Result<Bearer> {
        let bearer = Bearer::new(&own_token(tokens, service)?.token)?;
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.push((service, bearer.clone()));
        Ok(bearer)
    }

    /// The tokens that go now.
    pub(crate) fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says which systems are known by more than tokens: a token of one must be of its role.
    pub(crate) fn set_others(&self, others: Systems) {
        *self.others.write().unwrap_or_else(PoisonError::into_inner) = others;
    }

    /// The file's last change.
    fn written(&self) -> anyhow::Result<Writing> {
        let file = std::fs::metadata(&self.path).with_context(|| format!("reading {}", self.path.display()))?;
        Ok((file.ctime(), file.ctime_nsec(), file.ino(), file.len()))
    }

    /// Reloads the file.
    fn read_again(&self) -> anyhow::Result<()> {
        let list = read(&self.path)?;
        let (count, tokens) = (list.len(), table(&list)?);
        refuse_shared(
            tokens.systems(),
            &self.others.read().unwrap_or_else(PoisonError::into_inner),
        )?;
        {
            let mut known = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
            if **known != tokens {
                *known = Arc::new(tokens);
                tracing::info!(count, "reloaded the token file");
            }
        }
        for (service, bearer) in &*self.own.read().unwrap_or_else(PoisonError::into_inner) {
            let replaced =
                own_token(&list, *service).and_then(|own| bearer.replace(&own.token).map_err(anyhow::Error::from));
            if let Err(error) = replaced {
                let error = format!("{error:#}");
                tracing::error!(%service, error, "the other services will refuse this one's calls");
            }
        }
        Ok(())
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Authenticate for Followed {
    fn authenticate(&self, presented: &Presented<'_>) -> Option<Identity> {
        self.tokens().authenticate(presented)
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

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::token_file::TokenFile;

    /// Paused time advances only for awaited timers, so each wait checks the file.
    #[tokio::test(start_paused = true)]
    async fn a_service_calls_with_the_token_that_the_file_has_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let file = TokenFile::hold(&path).unwrap();
        let tokens = |own: &str| {
            ["intake", "routing"].map(|system| Token {
                token: match own {
                    "" => String::new(),
                    own => format!("{own}-token-of-{system}"),
                },
                system: system.to_owned(),
                agency: None,
                roles: Roles::SERVICE,
            })
        };
        file.write(&tokens("first")).unwrap();
        let followed = Followed::new(&path, &tokens("first")).unwrap();
        let bearer = followed.own(Service::Intake, &tokens("first")).unwrap();
        let sent = || {
            let mut metadata = MetadataMap::new();
            bearer.attach(&mut metadata);
            metadata.get("authorization").unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(sent(), "Bearer first-token-of-intake");
        file.write(&tokens("second")).unwrap();
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(sent(), "Bearer second-token-of-intake");
        // Revoked: it has no other, and the others refuse its calls, as they must.
        file.write(&tokens("")).unwrap();
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(sent(), "Bearer second-token-of-intake");
        assert_eq!(followed.trouble(), None, "the file can be read");
        file.write(&tokens("third")).unwrap();
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(sent(), "Bearer third-token-of-intake");
    }
}
