//! TLS: what a process shows of itself, and whom it believes. Both can be replaced while it serves:
//! connections that begin from then on have the new ones.
//!
//! TLS 1.2 and 1.3, with `ring` for all cryptography. Sessions are not resumed: a resumed one would
//! be believed for what an earlier certificate said. Nothing here reads a file: the host does, and
//! looks for new ones.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{ResolvesClientCert, Resumption},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use crate::certificate::{self, Certificate, CertificateName};

/// The protocol of gRPC, and the one in which files are read, too.
const H2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// The longest chain of a caller: more are kept for no reason.
const LONGEST_CHAIN: usize = 8;

/// Why a certificate, a key or authorities are unusable.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate.
    #[error("it contains no PEM certificate")]
    NoCertificate,
    /// Not PEM.
    #[error("it cannot be read as PEM: {0}")]
    Pem(String),
    /// No private key.
    #[error("the key's file contains no private key in PEM (PKCS #8, PKCS #1 or SEC 1): {0}")]
    NoKey(String),
    /// A key that cannot be used, or of another certificate.
    #[error("certificate and key do not belong together: {0}")]
    Mismatch(rustls::Error),
    /// The certificate has expired, or is not valid yet.
    #[error("the certificate is {0}")]
    Time(&'static str),
    /// A certificate that is unreadable.
    #[error("a certificate cannot be read: {0}")]
    Certificate(String),
    /// The name of a server is none.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    Name(String),
}

/// The library of all cryptography of TLS.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The TLS of a process. Cheap to read: connections take what goes when they begin.
pub struct Tls {
    state: RwLock<State>,
    /// How often authorities of callers were replaced.
    generation: AtomicU64,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

#[derive(Default)]
struct State {
    own: Option<Arc<CertifiedKey>>,
    /// Of the servers that it calls.
    authorities: Option<Arc<RootCertStore>>,
    /// Of the certificates of callers.
    callers: Option<Arc<dyn ClientCertVerifier>>,
    /// For gRPC, and for gRPC and files.
    server: Option<[Arc<ServerConfig>; 2]>,
    client: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// With nothing to show yet, and nobody to believe.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::default(),
            generation: AtomicU64::new(0),
        })
    }

    /// Shows this certificate, of which `chain` has the intermediate ones, too. Returns its last
    /// moment, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`TlsError`]: what was shown before still is.
    pub fn show(&self, chain: &[u8], key: &[u8]) -> Result<i64, TlsError> {
        let (own, not_after) = own(chain, key)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.own = Some(Arc::new(own));
        state.build();
        Ok(not_after)
    }

    /// Believes servers with certificates of these authorities. Returns when the first of them
    /// ends.
    ///
    /// # Errors
    ///
    /// [`TlsError`]: those of before still go.
    pub fn believe(&self, authorities: &[u8]) -> Result<i64, TlsError> {
        let (roots, not_after) = roots(authorities)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.authorities = Some(Arc::new(roots));
        state.build();
        Ok(not_after)
    }

    /// Believes callers with certificates of these authorities. A caller need not show one.
    /// Returns when the first of them ends.
    ///
    /// # Errors
    ///
    /// [`TlsError`]: those of before still go.
    pub fn believe_callers(&self, authorities: &[u8]) -> Result<i64, TlsError> {
        let (roots, not_after) = roots(authorities)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.callers = Some(verifier);
        state.build();
        self.generation.fetch_add(1, Ordering::Release);
        Ok(not_after)
    }

    /// Whether those who believe callers as this does believe the certificate that is shown; none
    /// where nothing is shown, or no callers are believed.
    #[must_use]
    pub fn believes_itself(&self) -> Option<bool> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (own, others) = state.own.as_ref()?.cert.split_first()?;
        let callers = state.callers.as_ref()?;
        Some(callers.verify_client_cert(own, others, UnixTime::now()).is_ok())
    }

    /// The first DNS name of the certificate that is shown.
    #[must_use]
    pub fn own_name(&self) -> Option<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let own = Certificate::of(&state.own.as_ref()?.cert)?;
        own.names().iter().find_map(|name| match name {
            CertificateName::Dns(name) if !name.contains('*') => Some(name.clone()),
            _ => None,
        })
    }

    /// What a connection that begins now is served with.
    pub(crate) fn server(&self, with_files: bool) -> Option<Arc<ServerConfig>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state
            .server
            .as_ref()
            .map(|configs| Arc::clone(&configs[usize::from(with_files)]))
    }

    fn client(&self) -> Option<Arc<ClientConfig>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).client.clone()
    }

    /// Whether a caller's certificate is still valid, and of an authority that is still believed.
    /// The chain is verified again only when the authorities have changed.
    #[must_use]
    pub fn believes(&self, certificate: &Certificate) -> bool {
        let now = UnixTime::now();
        if i64::try_from(now.as_secs()).unwrap_or(i64::MAX) > certificate.not_after() {
            return false;
        }
        let authorities = self.generation.load(Ordering::Acquire);
        if authorities != 0 && certificate.believed_by() == authorities {
            return true;
        }
        let callers = self
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .callers
            .clone();
        let (Some(callers), Some((own, others))) = (callers, certificate.chain().split_first()) else {
            return false;
        };
        let is_believed = callers.verify_client_cert(own, others, now).is_ok();
        if is_believed {
            certificate.set_believed_by(authorities);
        }
        is_believed
    }
}

impl State {
    fn build(&mut self) {
        if let Some(own) = &self.own {
            let server = |protocols: &[&[u8]]| {
                let builder = ServerConfig::builder_with_provider(provider())
                    .with_safe_default_protocol_versions()
                    .expect("ring has the suites of TLS 1.2 and 1.3");
                let builder = match &self.callers {
                    Some(callers) => builder.with_client_cert_verifier(Arc::clone(callers)),
                    None => builder.with_no_client_auth(),
                };
                let mut config = builder.with_cert_resolver(Arc::new(Own(Arc::clone(own))));
                config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
                Arc::new(config)
            };
            self.server = Some([server(&[H2]), server(&[H2, HTTP_1])]);
        }
        if let Some(authorities) = &self.authorities {
            let own = self.own.as_ref().map(|own| Own(Arc::clone(own)));
            self.client = Some(Arc::new(client(Arc::clone(authorities), own)));
        }
    }
}

fn client(authorities: Arc<RootCertStore>, own: Option<Own>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(authorities);
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(own)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![H2.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// Shows the same certificate to everybody.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// How a client reaches servers over TLS.
#[derive(Clone)]
pub struct Trusting {
    source: Source,
    name: Option<ServerName<'static>>,
}

impl std::fmt::Debug for Trusting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trusting")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Source {
    Fixed(Arc<ClientConfig>),
    Followed(Arc<Tls>),
}

impl Trusting {
    /// As the process does that this is of, also after a change.
    #[must_use]
    pub fn like(tls: &Arc<Tls>) -> Self {
        Self {
            source: Source::Followed(Arc::clone(tls)),
            name: None,
        }
    }

    /// By these authorities, for good.
    #[must_use]
    pub fn roots(roots: Arc<RootCertStore>) -> Self {
        Self {
            source: Source::Fixed(Arc::new(client(roots, None))),
            name: None,
        }
    }

    /// By these authorities, showing a certificate of its own to servers that ask for one.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn showing(roots: Arc<RootCertStore>, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let (own, _) = own(chain, key)?;
        Ok(Self {
            source: Source::Fixed(Arc::new(client(roots, Some(Own(Arc::new(own)))))),
            name: None,
        })
    }

    /// Expects this name in servers' certificates, whatever the host of their address is.
    ///
    /// # Errors
    ///
    /// [`TlsError::Name`].
    pub fn named(mut self, name: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        self.name = Some(name);
        Ok(self)
    }

    /// For a connection to this host.
    pub(crate) fn config(&self, host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
        let config = match &self.source {
            Source::Fixed(config) => Some(Arc::clone(config)),
            Source::Followed(tls) => tls.client(),
        };
        let config = config.ok_or(TlsError::NoCertificate)?;
        // As it stands in an address.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let named = || ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()));
        Ok((config, self.name.clone().map_or_else(named, Ok)?))
    }
}

/// Checks what is to stand in a server's certificate.
///
/// # Errors
///
/// [`TlsError::Name`].
pub fn check_name(name: &str) -> Result<(), TlsError> {
    match ServerName::try_from(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(TlsError::Name(name.to_owned())),
    }
}

/// A certificate with its key, and its last moment.
fn own(chain: &[u8], key: &[u8]) -> Result<(CertifiedKey, i64), TlsError> {
    let chain = certificates(chain)?;
    let (not_before, not_after) =
        certificate::validity(&chain[0]).ok_or_else(|| TlsError::Certificate("it is no X.509 certificate".into()))?;
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    if now > not_after {
        return Err(TlsError::Time("expired"));
    }
    if now < not_before {
        return Err(TlsError::Time("not valid yet"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::NoKey(error.to_string()))?;
    // Refuses the key of another certificate, too.
    let own = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Mismatch)?;
    Ok((own, not_after))
}

/// The certificates of a PEM file, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| TlsError::Pem(error.to_string()))?;
    match all.is_empty() {
        true => Err(TlsError::NoCertificate),
        false => Ok(all),
    }
}

/// Authorities, and when the first of those that are valid ends: from then on somebody is believed
/// no longer, whatever the others are. Where all have ended, when the last did. One of them that is
/// unreadable is refused: it would be missed when it is needed.
fn roots(pem: &[u8]) -> Result<(RootCertStore, i64), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut ends = Vec::new();
    for certificate in certificates(pem)? {
        let unreadable = || TlsError::Certificate("an authority is no X.509 certificate".to_owned());
        ends.push(certificate::not_after(&certificate).ok_or_else(unreadable)?);
        let added = roots.add(certificate);
        added.map_err(|error| TlsError::Certificate(error.to_string()))?;
    }
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    let first = ends.iter().filter(|end| **end >= now).min();
    let end = first.or(ends.iter().max()).copied().unwrap_or(i64::MIN);
    Ok((roots, end))
}

/// The certificate that a peer showed, if it did.
///
/// # Errors
///
/// Why what it showed is not looked at.
pub(crate) fn shown(chain: Option<&[CertificateDer<'_>]>) -> Result<Option<Certificate>, &'static str> {
    match chain {
        None => Ok(None),
        Some(chain) if chain.len() > LONGEST_CHAIN => Err("the chain of the certificate is too long"),
        Some(chain) => Certificate::of(chain).map(Some).ok_or("the certificate cannot be read"),
    }
}
