//! Trusted certificate issuers.

use std::{
    fs::OpenOptions,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::OFlags;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Maximum size of a file of issuers: that of a machine has 0.2 MB.
const LIMIT: u64 = 16 << 20;

/// Why a file of issuers is unusable.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used as a file of certificate authorities: {problem}", path.display())]
pub struct CaFile {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    pub problem: String,
}

/// The trusted certificate issuers.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    /// The option that sets the file of further issuers.
    pub(crate) option: &'static str,
}

impl Trust {
    /// Loads the machine's trusted issuers and those of a PEM file. `option` is the flag or
    /// configuration key that sets the file; messages name it.
    ///
    /// A machine without trusted issuers is not an error until a certificate has to be checked.
    pub fn load(ca_file: Option<&Path>, option: &'static str) -> Result<Self, CaFile> {
        let mut roots = RootCertStore::empty();
        let machines = rustls_native_certs::load_native_certs();
        for error in &machines.errors {
            tracing::debug!(%error, "cannot read the machine's trusted certificates");
        }
        // Stores contain some certificates that no library can parse; the others suffice.
        roots.add_parsable_certificates(machines.certs);
        if let Some(path) = ca_file {
            add(&mut roots, path).map_err(|problem| CaFile {
                path: path.to_owned(),
                problem,
            })?;
        }
        Ok(Self {
            roots: Arc::new(roots),
            option,
        })
    }

    /// The trusted issuers, for another client.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// Whether no issuer is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth()
    }
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&content(path)?) {
        let certificate = certificate.map_err(|error| telemetry::with_causes(&error))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.len() - before {
        0 => Err("it contains no PEM certificate".to_owned()),
        _ => Ok(()),
    }
}

/// The content of a regular file of at most [`LIMIT`] bytes, without waiting for a writer.
fn content(path: &Path) -> Result<Vec<u8>, String> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(nonblocking).open(path);
    let file = file.map_err(|error| error.to_string())?;
    let is_file = file.metadata().map_err(|error| error.to_string())?.is_file();
    if !is_file {
        return Err("it is not a regular file".to_owned());
    }
    let mut content = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut content)
        .map_err(|error| error.to_string())?;
    match content.len() as u64 > LIMIT {
        true => Err(format!(
            "it is larger than {} MB, more than any such file",
            LIMIT / 1_000_000
        )),
        false => Ok(content),
    }
}
