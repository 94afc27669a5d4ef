//! A TLS proxy in front of a plain server, with certificates made in the test.

use std::{io, net::SocketAddr, ops::Range, path::Path, sync::Arc};

use anyhow::Context as _;
use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certificate issuer that no machine trusts.
#[derive(Debug)]
pub struct Issuer {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Issuer {
    /// Creates an issuer with a new key.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = NamedTempFile::new()?;
        let der = BASE64.encode(issuer.der());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n");
        std::fs::write(file.path(), pem)?;
        Ok(Self { issuer, file })
    }

    /// The file with the issuer's certificate, in PEM format.
    pub fn file(&self) -> &Path {
        self.file.path()
    }

    /// The issuer's certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these DNS names, addresses and URIs, valid as [`Issuer::server`]'s, and
    /// its key, both in PEM.
    pub fn leaf(&self, names: &[&str], years: Range<i32>) -> anyhow::Result<(String, String)> {
        let (uris, hosts): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let hosts: Vec<_> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(hosts)?;
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// A server configuration with a certificate for these host names and addresses, valid from the
    /// first day of the first year to the first day of the last.
    fn server(&self, hosts: &[&str], years: Range<i32>) -> anyhow::Result<ServerConfig> {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        Ok(config)
    }
}

/// A TLS proxy that forwards to a plain server until it is dropped.
#[derive(Debug)]
pub struct Front {
    /// Its address on this machine.
    pub address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl Front {
    /// Starts a proxy in front of `behind`, with a certificate for these host names and addresses
    /// that is valid in these years.
    pub async fn start(behind: SocketAddr, issuer: &Issuer, hosts: &[&str], years: Range<i32>) -> anyhow::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(issuer.server(hosts, years)?));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // TLS reports failures to the client.
                tokio::spawn(hand_on(acceptor.clone(), stream, behind));
            }
        });
        Ok(Self { address, accepting })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn hand_on(acceptor: TlsAcceptor, stream: TcpStream, behind: SocketAddr) -> io::Result<()> {
    let mut front = acceptor.accept(stream).await?;
    let mut back = TcpStream::connect(behind).await?;
    tokio::io::copy_bidirectional(&mut front, &mut back).await?;
    Ok(())
}
