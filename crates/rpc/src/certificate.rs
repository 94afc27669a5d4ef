//! Certificates that peers show: what of them is looked at.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// A name in a certificate. One of one kind is never taken for one of the other: who may ask an
/// authority for a host's name may not ask it for a workload's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateName {
    /// A DNS name, in lower case.
    Dns(String),
    /// A SPIFFE URI.
    Uri(String),
}

/// The scheme of the URIs that count.
pub const SPIFFE: &str = "spiffe://";

/// A certificate whose chain was verified when its connection began.
#[derive(Debug)]
pub struct Certificate {
    names: BTreeSet<CertificateName>,
    not_after: i64,
    chain: Vec<CertificateDer<'static>>,
    /// Of the authorities that believed it last; none yet where they are 0.
    believed_by: AtomicU64,
}

impl Certificate {
    /// Of a PEM file, unverified: [`Tls::believes`](crate::tls::Tls::believes) says more.
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        Self::of(&chain.ok()?)
    }

    /// Of a chain, the first of which is the peer's own. None if that cannot be read.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (_, own) = X509Certificate::from_der(chain.first()?).ok()?;
        let names = match own.subject_alternative_name().ok()? {
            Some(names) => names.value.general_names.iter().filter_map(canonical).collect(),
            None => BTreeSet::new(),
        };
        Some(Self {
            names,
            not_after: own.validity().not_after.timestamp(),
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            believed_by: AtomicU64::new(0),
        })
    }

    /// Its DNS names and its SPIFFE URIs. The subject's common name is not one of them: no
    /// authority checks it.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<CertificateName> {
        &self.names
    }

    /// Its last moment, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Which authorities believed it last.
    pub(crate) fn believed_by(&self) -> u64 {
        self.believed_by.load(Ordering::Relaxed)
    }

    pub(crate) fn set_believed_by(&self, authorities: u64) {
        self.believed_by.store(authorities, Ordering::Relaxed);
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

fn canonical(name: &GeneralName<'_>) -> Option<CertificateName> {
    match name {
        GeneralName::DNSName(name) => Some(CertificateName::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(uri) if uri.starts_with(SPIFFE) => Some(CertificateName::Uri((*uri).to_owned())),
        _ => None,
    }
}

/// When a certificate ends, in seconds since 1970; none if it cannot be read.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Seconds since 1970 from which, and until which, a certificate is valid.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}
