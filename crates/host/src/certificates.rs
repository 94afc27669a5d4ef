//! The files of TLS: certificate and key, authorities. Read at the start, and again whenever they
//! change, each by itself: what cannot be used changes nothing, and alarms.
//!
//! They are looked at and not waited on: an orchestrator swaps the folder behind a link, of which
//! notices of the file system say nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rpc::{CertificateLabel, certificate_ends, certificate_is_stale, tls::Tls};
use tokio::time::Instant;

use crate::{
    config::{self, Config},
    input,
    secrets::private,
    tokens::REMIND,
};

/// Interval between looks at the files.
pub const LOOK: Duration = Duration::from_secs(2);

/// Maximum size of a file: that of all authorities of a machine has 0.2 MB.
const LIMIT: u64 = 1 << 20;

/// What one part of TLS is made of.
#[derive(Clone, Debug)]
enum Part {
    Own { certificate: PathBuf, key: PathBuf },
    Authorities(PathBuf),
    CallersAuthorities(PathBuf),
}

impl Part {
    fn label(&self) -> CertificateLabel {
        match self {
            Self::Own { .. } => CertificateLabel::Own,
            Self::Authorities(_) => CertificateLabel::Authorities,
            Self::CallersAuthorities(_) => CertificateLabel::CallersAuthorities,
        }
    }

    /// The keys that name the files.
    fn keys(&self) -> &'static str {
        match self {
            Self::Own { .. } => "`tls.certificate_file` and `tls.key_file`",
            Self::Authorities(_) => "`tls.ca_file`",
            Self::CallersAuthorities(_) => "`tls.client_ca_file`",
        }
    }

    /// The files as they are now. The content says whether they changed: a mount may give a new
    /// file an old time.
    fn read(&self) -> anyhow::Result<[Vec<u8>; 2]> {
        let read = |path: &Path| match path == Path::new("-") {
            true => anyhow::bail!("standard input cannot be read again"),
            false => input::read(path, LIMIT),
        };
        match self {
            Self::Own { certificate, key } => {
                private(key)?;
                Ok([read(certificate)?, read(key)?])
            }
            Self::Authorities(file) | Self::CallersAuthorities(file) => Ok([read(file)?, Vec::new()]),
        }
    }

    /// Takes them for what goes from now on. Returns when they end.
    fn take(&self, tls: &Tls, [first, second]: &[Vec<u8>; 2]) -> anyhow::Result<i64> {
        let taken = match self {
            Self::Own { .. } => tls.show(first, second),
            Self::Authorities(_) => tls.believe(first),
            Self::CallersAuthorities(_) => tls.believe_callers(first),
        };
        Ok(taken?)
    }

    fn file(&self) -> &Path {
        match self {
            Self::Own { certificate: file, .. } | Self::Authorities(file) | Self::CallersAuthorities(file) => file,
        }
    }
}

fn parts(config: &config::Tls) -> Vec<Part> {
    let mut parts = Vec::new();
    if let (Some(certificate), Some(key)) = (config.certificate_file.clone(), config.key_file.clone()) {
        parts.push(Part::Own { certificate, key });
    }
    parts.extend(config.ca_file.clone().map(Part::Authorities));
    let callers = config.client_ca_file.clone();
    parts.extend(callers.map(Part::CallersAuthorities));
    parts
}

/// A part, and what was read of it last.
#[derive(Debug)]
struct Followed {
    part: Part,
    last: [Vec<u8>; 2],
    told: Option<(String, Instant)>,
}

impl Followed {
    /// Reads it once, at the start.
    fn first(part: Part, tls: &Tls) -> anyhow::Result<Self> {
        let reading = || format!("{}, {}", part.keys(), part.file().display());
        let last = part.read().with_context(reading)?;
        let ends = part.take(tls, &last).with_context(reading)?;
        certificate_ends(part.label(), ends);
        Ok(Self { part, last, told: None })
    }

    /// Takes what is new. What was refused is tried at each look: the other half of a pair may
    /// come, or its time.
    fn look(&mut self, tls: &Tls) {
        let read = self.part.read();
        if read.as_ref().is_ok_and(|read| *read == self.last) {
            if self.told.take().is_some() {
                tracing::info!(files = self.part.keys(), "the files of TLS are as they were before");
                if let Ok(ends) = self.part.take(tls, &self.last) {
                    certificate_ends(self.part.label(), ends);
                }
            }
            return;
        }
        let taken = read.and_then(|read| Ok((self.part.take(tls, &read)?, read)));
        match taken {
            Ok((ends, read)) => {
                self.last = read;
                self.told = None;
                certificate_ends(self.part.label(), ends);
                let file = self.part.file().display();
                tracing::info!(files = self.part.keys(), %file, ends, "took new files of TLS");
            }
            Err(error) => {
                certificate_is_stale(self.part.label());
                let error = format!("{error:#}");
                let is_told = self
                    .told
                    .as_ref()
                    .is_some_and(|(told, when)| *told == error && when.elapsed() < REMIND);
                if !is_told {
                    let file = self.part.file().display();
                    tracing::error!(
                        files = self.part.keys(),
                        %file,
                        error,
                        "files of TLS cannot be used: what was read before still goes"
                    );
                    self.told = Some((error, Instant::now()));
                }
            }
        }
    }
}

/// The TLS that the configuration asks for, if it does, as its files are now.
///
/// # Errors
///
/// What is wrong with a file, with its key.
pub(crate) fn read(config: &Config) -> anyhow::Result<Option<Arc<Tls>>> {
    Ok(first(config)?.map(|(tls, _)| tls))
}

fn first(config: &Config) -> anyhow::Result<Option<(Arc<Tls>, Vec<Followed>)>> {
    let parts = parts(&config.tls);
    if parts.is_empty() {
        return Ok(None);
    }
    let tls = Tls::new();
    let followed: anyhow::Result<Vec<_>> = parts.into_iter().map(|part| Followed::first(part, &tls)).collect();
    let followed = followed?;
    if tls.believes_itself() == Some(false) {
        bail!("{STRANGE}");
    }
    Ok(Some((tls, followed)))
}

/// Services show their certificates to each other: one that is not believed is no connection.
const STRANGE: &str = "the authorities in `tls.client_ca_file` do not believe the certificate in \
                       `tls.certificate_file` as a caller's, and by it this process calls the other services: put its \
                       authority there, too, and let the certificate be for clients and servers";

/// Like [`read`], and follows the files as long as it is used. Call it inside a runtime.
pub(crate) fn follow(config: &Config) -> anyhow::Result<Option<Arc<Tls>>> {
    let Some((tls, followed)) = first(config)? else {
        return Ok(None);
    };
    tokio::spawn(look(Arc::downgrade(&tls), followed));
    Ok(Some(tls))
}

async fn look(tls: Weak<Tls>, mut followed: Vec<Followed>) {
    let mut believed_itself = true;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(tls) = tls.upgrade() else { return };
        for part in &mut followed {
            part.look(&tls);
        }
        let believes_itself = tls.believes_itself() != Some(false);
        if !believes_itself && believed_itself {
            tracing::error!(STRANGE);
        }
        believed_itself = believes_itself;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use testkit::tls::Issuer;

    use super::*;

    const NOW: std::ops::Range<i32> = 2020..2090;

    /// A folder with files of TLS, behind a link as an orchestrator mounts them.
    struct Mount {
        folder: tempfile::TempDir,
        issuer: Issuer,
        version: usize,
    }

    impl Mount {
        fn new() -> Self {
            let mut mount = Self {
                folder: tempfile::tempdir().unwrap(),
                issuer: Issuer::new().unwrap(),
                version: 0,
            };
            let (certificate, key) = mount.issuer.leaf(&["first.remit"], NOW).unwrap();
            mount.swap(&certificate, &key, 0o600);
            mount
        }

        fn config(&self) -> Config {
            let path = |name: &str| Some(self.folder.path().join("now").join(name));
            Config {
                tls: config::Tls {
                    certificate_file: path("tls.crt"),
                    key_file: path("tls.key"),
                    ca_file: path("ca.crt"),
                    ..config::Tls::default()
                },
                ..Config::default()
            }
        }

        fn swap(&mut self, certificate: &str, key: &str, mode: u32) {
            self.version += 1;
            let folder = self.folder.path().join(self.version.to_string());
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("tls.crt"), certificate).unwrap();
            std::fs::write(folder.join("tls.key"), key).unwrap();
            std::fs::write(folder.join("ca.crt"), self.issuer.pem()).unwrap();
            std::fs::set_permissions(folder.join("tls.key"), std::fs::Permissions::from_mode(mode)).unwrap();
            let (new, now) = (self.folder.path().join("new"), self.folder.path().join("now"));
            symlink(&folder, &new).unwrap();
            std::fs::rename(&new, &now).unwrap();
        }
    }

    fn metrics() -> String {
        telemetry::metrics::text().unwrap()
    }

    const OWN_IS_STALE: &str = "remit_tls_stale{remit_certificate=\"own\"} 1\n";

    /// Paused time advances only for awaited timers, so each wait looks at the files. At the
    /// shipped interval.
    #[tokio::test(start_paused = true)]
    async fn new_files_are_taken_and_unusable_ones_change_nothing() {
        let mut mount = Mount::new();
        let tls = follow(&mount.config()).unwrap().unwrap();
        let shown = || tls.own_name().unwrap();
        assert_eq!(shown(), "first.remit");
        assert!(metrics().contains("remit_tls_certificate_not_after_seconds{remit_certificate=\"own\"} 3786912000\n"));
        let (certificate, key) = mount.issuer.leaf(&["second.remit"], NOW).unwrap();
        mount.swap(&certificate, &key, 0o600);
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(shown(), "second.remit");

        let (third, thirds) = mount.issuer.leaf(&["third.remit"], NOW).unwrap();
        let (past, pasts) = mount.issuer.leaf(&["past.remit"], 2000..2001).unwrap();
        for (certificate, key, mode) in [
            (third.as_str(), key.as_str(), 0o600),
            (&third[..200], &thirds, 0o600),
            ("", &thirds, 0o600),
            (&third, "", 0o600),
            (&past, &pasts, 0o600),
            (&third, &thirds, 0o644),
        ] {
            mount.swap(certificate, key, mode);
            tokio::time::sleep(2 * LOOK).await;
            assert_eq!(shown(), "second.remit", "{mode:o} {certificate}");
            assert!(metrics().contains(OWN_IS_STALE), "{mode:o} {certificate}");
        }
        // Gone, and back as it was.
        let now = mount.folder.path().join("now");
        std::fs::remove_file(&now).unwrap();
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(shown(), "second.remit");
        assert!(metrics().contains(OWN_IS_STALE));
        mount.swap(&third, &thirds, 0o600);
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(shown(), "third.remit");
        assert!(!metrics().contains(OWN_IS_STALE));
    }

    #[test]
    fn a_start_is_refused_whose_certificate_its_peers_would_not_believe() {
        let mount = Mount::new();
        let mut config = mount.config();
        config.tls.client_ca_file = Some(mount.issuer.file().to_owned());
        read(&config).unwrap();
        let others = Issuer::new().unwrap();
        config.tls.client_ca_file = Some(others.file().to_owned());
        let refusal = format!("{:#}", read(&config).unwrap_err());
        assert!(refusal.contains("`tls.client_ca_file`"), "{refusal}");
    }

    #[test]
    fn a_start_is_refused_with_the_key_of_the_file() {
        let mut mount = Mount::new();
        let (certificate, key) = mount.issuer.leaf(&["a.remit"], NOW).unwrap();
        for (certificate, key, mode, expected) in [
            (
                certificate.as_str(),
                "",
                0o600,
                "`tls.certificate_file` and `tls.key_file`",
            ),
            ("no certificate", &key, 0o600, "contains no PEM certificate"),
            (&certificate, &key, 0o640, "chmod 600"),
        ] {
            mount.swap(certificate, key, mode);
            let refusal = format!("{:#}", read(&mount.config()).unwrap_err());
            assert!(refusal.contains(expected), "{refusal}");
        }
        let mut config = mount.config();
        config.tls.ca_file = Some(mount.folder.path().join("missing"));
        mount.swap(&certificate, &key, 0o600);
        let refusal = format!("{:#}", read(&config).unwrap_err());
        assert!(refusal.contains("`tls.ca_file`"), "{refusal}");
    }
}
