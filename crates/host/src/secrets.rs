//! Files that hold secrets or records: readable by this user only.

use std::{
    fs::OpenOptions,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::Context as _;

use crate::Unusable;

/// Refuses a secret that others on this machine can read or change. A file of another user, such as
/// a secret that an orchestrator mounts, may be readable by a group: how else could it be read?
///
/// # Errors
///
/// [`Unusable`] with the mode and the command that mends it. A missing file is no error here.
pub fn private(path: &Path) -> anyhow::Result<()> {
    // Follows links: what counts is who reads the content.
    let Ok(file) = std::fs::metadata(path) else {
        return Ok(());
    };
    let mode = file.mode() & 0o7777;
    let own = file.uid() == rustix::process::geteuid().as_raw();
    let (too_open, wanted) = match own {
        true => (mode & 0o077, "600"),
        false => (mode & 0o037, "440"),
    };
    if too_open == 0 {
        return Ok(());
    }
    let path = path.display();
    let what = match too_open & 0o022 {
        0 => "be read",
        _ => "be changed",
    };
    Err(Unusable(format!(
        "{path} can {what} by other users of this machine (its mode is {mode:04o}): run `chmod {wanted} '{path}'`, and replace \
         the secret in it if others may have read it"
    ))
    .into())
}

/// Makes an SQLite database private before it has content: SQLite gives the files beside it the
/// same mode. Refuses an existing one that is not.
pub(crate) fn private_database(path: &Path) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => private(path),
        Err(error) => Err(error).with_context(|| format!("creating the database {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(private(&path).is_ok(), "whoever needs it says that it is missing");
        std::fs::write(&path, "secret").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for mode in [0o600, 0o400, 0o700] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            private(&path).unwrap();
        }
        for (mode, does) in [
            (0o644, "be read"),
            (0o640, "be read"),
            (0o604, "be read"),
            (0o620, "be changed"),
            (0o602, "be changed"),
            (0o777, "be changed"),
        ] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            for path in [&path, &link] {
                let error = private(path).unwrap_err();
                assert!(error.is::<Unusable>());
                let text = error.to_string();
                for expected in [
                    does,
                    &format!("its mode is {mode:04o}"),
                    &format!("chmod 600 '{}'", path.display()),
                ] {
                    assert!(text.contains(expected), "{mode:o}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_new_database_is_private_whatever_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        private_database(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        private_database(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(private_database(&path).is_err());
    }
}
