//! Whose certificates hold.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Why a file of issuers cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used as a file of certificate authorities: {problem}", path.display())]
pub struct CaFile {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// The issuers whose certificates hold.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    /// What names a file of further ones.
    pub(crate) option: &'static str,
}

impl Trust {
    /// Those that the machine trusts, and those of a PEM file. `option` is what names such a file, for messages: a flag or a key of a
    /// configuration.
    ///
    /// A machine that trusts nobody is no error before somebody's certificate is needed.
    pub fn load(ca_file: Option<&Path>, option: &'static str) -> Result<Self, CaFile> {
        let mut roots = RootCertStore::empty();
        let machines = rustls_native_certs::load_native_certs();
        for error in &machines.errors {
            tracing::debug!(%error, "certificates that the machine trusts cannot be read");
        }
        // Stores have some that no library reads; those that it does read are enough.
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

    /// Whether nobody is trusted.
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
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| telemetry::with_causes(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| telemetry::with_causes(&error))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.len() - before {
        0 => Err("it holds no certificate in PEM form".to_owned()),
        _ => Ok(()),
    }
}
