//! The file of the callers' tokens: read by many, changed by one at a time.
//!
//! Who changes it holds the lock of `tokens.json.lock` beside it from before reading to after
//! writing, so that of two changes neither undoes the other. Readers need no lock: the file is
//! replaced whole.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use data_encoding::BASE64URL_NOPAD;
use journal::Entropy;
use rpc::{Role, Roles, Token};
use rustix::fs::FlockOperation;

use crate::{
    config::Service,
    data_dir::{AUDITOR, OPERATOR},
    input,
    secrets::private,
};

/// Maximum size of a token file.
const LIMIT: u64 = 16 << 20;

/// Time in which a change by somebody else ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interval between attempts to get the lock.
const TRY: Duration = Duration::from_millis(20);

/// A token file, held for a change until dropped.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    _lock: File,
}

impl TokenFile {
    /// Holds the file, which need not exist. Waits while somebody else does.
    ///
    /// # Errors
    ///
    /// If somebody else holds it for long, and if the lock's file cannot be made.
    pub fn hold(path: &Path) -> anyhow::Result<Self> {
        Self::hold_within(path, PATIENCE)
    }

    fn hold_within(path: &Path, patience: Duration) -> anyhow::Result<Self> {
        // A link stays one, and who comes by its target meets the same lock.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = path.file_name().context("a token file has a name")?.to_owned();
        name.push(".lock");
        let beside = path.with_file_name(name);
        let locking = || format!("locking {} for a change", path.display());
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .with_context(|| format!("opening {}", beside.display()))
            .with_context(locking)?;
        // Whose tokens they are must be able to lock them, whoever was first.
        if let (Ok(tokens), Ok(made)) = (std::fs::metadata(&path), lock.metadata())
            && tokens.uid() != made.uid()
        {
            std::os::unix::fs::fchown(&lock, Some(tokens.uid()), Some(tokens.gid())).with_context(locking)?;
        }
        let end = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(TRY),
                Err(rustix::io::Errno::WOULDBLOCK) => bail!(
                    "{} is being changed by another command or a starting server for more than {} s: nothing is \
                     changed; try again when that has ended",
                    path.display(),
                    patience.as_secs()
                ),
                Err(error) => return Err(error).with_context(locking),
            }
        }
    }

    /// The tokens as they are now; `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// As [`read`].
    pub fn read(&self) -> anyhow::Result<Option<Vec<Token>>> {
        read_if_there(&self.path)
    }

    /// Replaces the tokens. The file keeps its owner and its mode; a new one is this user's only.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or would be lost to its owner.
    pub fn write(&self, tokens: &[Token]) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(tokens)?;
        text.push('\n');
        witness::file::replace_now(&self.path, text.as_bytes(), 0o600)
            .with_context(|| format!("writing {}", self.path.display()))
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

/// Like [`read`]; `None` if there is no file. A link whose target is gone, or a folder that cannot
/// be entered, is not "none".
pub(crate) fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<Token>>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => read(path).map(Some),
    }
}

/// Adds tokens for the operator, the auditor, Remit's own services and the agencies, where their
/// systems have none, not even a revoked one. Returns whose they are.
pub(crate) fn complete(tokens: &mut Vec<Token>, agencies: &BTreeSet<String>, entropy: &dyn Entropy) -> Vec<String> {
    let known: BTreeSet<String> = tokens.iter().map(|token| token.system.clone()).collect();
    let wanted = [(OPERATOR, Roles::OPERATOR), (AUDITOR, Roles::AUDITOR)]
        .into_iter()
        .map(|(system, roles)| (system.to_owned(), None, roles))
        .chain(Service::ALL.map(|service| (service.name().to_owned(), None, Roles::SERVICE)))
        .chain(
            agencies
                .iter()
                .map(|agency| (format!("{agency}-desk"), Some(agency.clone()), Roles::AGENCY)),
        );
    let mut added = Vec::new();
    for (system, agency, roles) in wanted.filter(|(system, ..)| !known.contains(system)) {
        added.push(system.clone());
        tokens.push(Token {
            token: secret(entropy),
            system,
            agency,
            roles,
        });
    }
    added
}

/// Makes new tokens for everybody, where the file is lost.
///
/// # Errors
///
/// If the file exists: its tokens are changed one by one.
pub fn renew(path: &Path, agencies: &BTreeSet<String>, entropy: &dyn Entropy) -> anyhow::Result<Vec<Token>> {
    if std::fs::symlink_metadata(path).is_ok() {
        bail!(
            "{} exists; change a token in it with `remit token rotate`",
            path.display()
        );
    }
    let file = TokenFile::hold(path)?;
    // Made while this waited.
    if file.read()?.is_some() {
        bail!("{} was made by somebody else just now", path.display());
    }
    let mut tokens = Vec::new();
    complete(&mut tokens, agencies, entropy);
    file.write(&tokens)?;
    Ok(tokens)
}

/// Generates a token. It begins with a letter: one that began with a hyphen would be read as a flag.
pub fn secret(entropy: &dyn Entropy) -> String {
    let mut secret = [0; 24];
    entropy.fill(&mut secret);
    // The first six bits are the first character; below 32 are letters.
    secret[0] &= 0x7f;
    BASE64URL_NOPAD.encode(&secret)
}

/// The entry of a system by its name, of an agency by its id, or of the operator or the auditor:
/// one with a valid token, or one that was revoked. A name counts before what a system is for.
/// Those of Remit's own services nobody else calls with.
pub fn find_entry<'a>(tokens: &'a [Token], who: &str) -> Option<&'a Token> {
    let is_named = |token: &Token| token.system == who;
    let is_for = |token: &Token| match who {
        OPERATOR => token.roles.has(Role::Operator),
        AUDITOR => token.roles.has(Role::Auditor),
        _ => token.agency.as_deref() == Some(who),
    };
    let fits = |token: &&Token| !token.roles.is_service() && (is_named(token) || is_for(token));
    // Of an agency's systems the one with the most roles; the first of several.
    let rank = |token: &&Token| {
        let roles = std::cmp::Reverse(token.roles.iter().count());
        (token.is_revoked(), !is_named(token), roles)
    };
    tokens.iter().filter(fits).min_by_key(rank)
}

/// The valid token of an entry as [`find_entry`] finds it.
pub fn find_token<'a>(tokens: &'a [Token], who: &str) -> Option<&'a str> {
    let entry = find_entry(tokens, who).filter(|token| !token.is_revoked());
    entry.map(|token| token.token.as_str())
}

/// The token with which a service calls the others.
///
/// # Errors
///
/// Without a valid one, what makes it.
pub(crate) fn own_token(tokens: &[Token], of: Service) -> anyhow::Result<&Token> {
    let own = |token: &&Token| token.roles.is_service() && token.system == of.name();
    let found = tokens.iter().filter(|token| !token.is_revoked()).find(own);
    found.with_context(|| {
        let remedy = match tokens.iter().any(|token| token.system == of.name()) {
            true => format!("its token is revoked or of another role; make another with `remit token rotate {of}`"),
            false => format!("make one with `remit token add --role service --system {of}`"),
        };
        format!(
            "the token file has no valid token with the role service for the system `{of}`, which {of} needs for its \
             calls: {remedy}"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use journal::SystemEntropy;

    use super::*;

    /// Fills with one byte.
    #[derive(Debug)]
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_token_begins_with_a_letter() {
        for byte in 0..=u8::MAX {
            let token = secret(&Always(byte));
            assert!(token.starts_with(|first: char| first.is_ascii_alphabetic()), "{token}");
        }
    }

    fn partner(system: &str) -> Token {
        Token {
            token: secret(&SystemEntropy),
            system: system.to_owned(),
            agency: None,
            roles: Roles::PARTNER,
        }
    }

    #[test]
    fn one_change_at_a_time_and_the_wait_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let held = TokenFile::hold(&path).unwrap();
        held.write(&[partner("bank")]).unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [&path, &link] {
            let busy = TokenFile::hold_within(path, TRY).unwrap_err().to_string();
            assert!(busy.contains("tokens.json is being changed"), "{busy}");
            // Readers do not wait.
            assert_eq!(read(path).unwrap().len(), 1);
        }
        drop(held);
        let held = TokenFile::hold(&link).unwrap();
        held.write(&[]).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&path).unwrap().len(), 0);
    }

    #[test]
    fn changes_at_the_same_time_keep_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for i in 0..10 {
                        let file = TokenFile::hold(path).unwrap();
                        let mut tokens = file.read().unwrap().unwrap_or_default();
                        tokens.push(partner(&format!("{worker}-{i}")));
                        file.write(&tokens).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&path).unwrap().len(), 40);
    }

    /// Both as the owner finds them: the file that the servers read, and the lock.
    #[test]
    fn who_reads_the_tokens_still_does_after_a_change_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        TokenFile::hold(&path).unwrap().write(&[partner("bank")]).unwrap();
        std::fs::remove_file(folder.path().join("tokens.json.lock")).unwrap();
        let mut owner = std::fs::metadata(&path).unwrap().uid();
        if owner == 0 {
            owner = 12_345;
            std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
        }
        let mode = std::fs::metadata(&path).unwrap().mode();
        TokenFile::hold(&path).unwrap().write(&[]).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.mode()), (owner, mode));
        let lock = std::fs::metadata(folder.path().join("tokens.json.lock")).unwrap();
        assert_eq!((lock.uid(), lock.mode() & 0o777), (owner, 0o600));
    }

    #[test]
    fn a_service_without_a_valid_token_learns_what_makes_one() {
        let mut tokens = vec![partner("bank")];
        let told = own_token(&tokens, Service::Intake).unwrap_err().to_string();
        assert!(
            told.contains("remit token add --role service --system intake"),
            "{told}"
        );
        tokens.push(Token {
            roles: Roles::SERVICE,
            token: String::new(),
            ..partner("intake")
        });
        let told = own_token(&tokens, Service::Intake).unwrap_err().to_string();
        assert!(told.contains("remit token rotate intake"), "{told}");
        assert!(find_token(&tokens, "bank").is_some() && find_token(&tokens, "intake").is_none());
    }
}
