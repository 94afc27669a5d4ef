//! Failed requests: the problem and its remedy.

use std::{error::Error, io};

use hyper_util::client::legacy;
use jiff::Timestamp;
use rustls::{CertificateError, pki_types::UnixTime};

use crate::Trust;

/// Why a request got no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct NoAnswer {
    /// The problem.
    pub problem: String,
    /// The remedy, if known.
    pub help: Option<String>,
}

impl NoAnswer {
    pub(crate) fn new(error: &legacy::Error, host: &str, trust: &Trust) -> Self {
        if let Some(error) = find::<rustls::Error>(error) {
            return tls(error, host, trust.option, trust.is_empty());
        }
        let refused = find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        match refused {
            true => Self::plain("nothing listens at this address"),
            false => Self::plain(&telemetry::with_causes(error)),
        }
    }

    /// What TLS found wrong, where a call of another client failed for that. `option` sets the file
    /// of further issuers.
    #[must_use]
    pub fn of_tls(error: &(dyn Error + 'static), host: &str, option: &'static str) -> Option<Self> {
        find::<rustls::Error>(error).map(|error| tls(error, host, option, false))
    }

    pub(crate) fn cut_off(error: &(dyn Error + 'static)) -> Self {
        Self::plain(&format!(
            "the response is truncated or too large: {}",
            telemetry::with_causes(error)
        ))
    }

    fn plain(problem: &str) -> Self {
        Self {
            problem: problem.to_owned(),
            help: None,
        }
    }

    /// Problem and remedy in one line.
    pub fn line(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.problem),
            None => self.problem.clone(),
        }
    }
}

/// Finds the first error of type `E` in an error and its causes. I/O errors do not list the error
/// they wrap as a cause.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn tls(error: &rustls::Error, host: &str, option: &'static str, trusts_nobody: bool) -> NoAnswer {
    let (problem, help) = match error {
        rustls::Error::InvalidCertificate(error) => certificate(error, host, option, trusts_nobody),
        rustls::Error::InvalidMessage(_) => (
            "the server does not speak TLS".to_owned(),
            Some("does the server speak plain http:// there?".to_owned()),
        ),
        error => (format!("TLS failed: {error}"), None),
    };
    NoAnswer { problem, help }
}

fn certificate(
    error: &CertificateError,
    host: &str,
    option: &'static str,
    trusts_nobody: bool,
) -> (String, Option<String>) {
    let renew = || Some("the server's operator must renew it, or this machine's clock is wrong".to_owned());
    match error {
        CertificateError::UnknownIssuer if trusts_nobody => (
            "the server's certificate cannot be checked: this machine trusts no issuer".to_owned(),
            Some(format!(
                "install the system's CA certificates, or set a file with {option}"
            )),
        ),
        CertificateError::UnknownIssuer => (
            "the server's certificate is from an issuer that is not trusted here".to_owned(),
            Some(format!("if the issuer is your own, set its certificate with {option}")),
        ),
        CertificateError::BadSignature => (
            "the server's certificate names an issuer that is trusted here, but is signed by another key".to_owned(),
            Some(format!(
                "if that issuer has a new key, set its new certificate with {option}; otherwise somebody else answers at this address"
            )),
        ),
        CertificateError::NotValidForName => (
            format!("the server's certificate is not for {host}"),
            Some(other_host(&[])),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("the server's certificate is not for {host}"),
            Some(other_host(presented)),
        ),
        CertificateError::Expired => ("the server's certificate has expired".to_owned(), renew()),
        CertificateError::ExpiredContext { not_after, .. } => (
            format!("the server's certificate expired on {}", day(*not_after)),
            renew(),
        ),
        CertificateError::NotValidYet => ("the server's certificate is not valid yet".to_owned(), renew()),
        CertificateError::NotValidYetContext { not_before, .. } => (
            format!("the server's certificate is not valid before {}", day(*not_before)),
            renew(),
        ),
        error => (format!("the server's certificate is invalid: {error}"), None),
    }
}

fn other_host(presented: &[String]) -> String {
    // rustls writes `DnsName("log.example")`.
    let names: Vec<_> = presented
        .iter()
        .map(|name| name.split('"').nth(1).unwrap_or(name))
        .collect();
    match names.is_empty() {
        true => "is the address correct?".to_owned(),
        false => format!("it is for {}: is the address correct?", names.join(", ")),
    }
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        Err(_) => "a date outside the calendar".to_owned(),
    }
}
