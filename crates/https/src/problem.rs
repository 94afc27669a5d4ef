//! What was wrong when there is no answer, and what to do.

use std::{error::Error, io};

use hyper_util::client::legacy;
use jiff::Timestamp;
use rustls::{CertificateError, pki_types::UnixTime};

use crate::Trust;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct NoAnswer {
    /// What was wrong.
    pub problem: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

impl NoAnswer {
    pub(crate) fn new(error: &legacy::Error, host: &str, trust: &Trust) -> Self {
        if let Some(error) = find::<rustls::Error>(error) {
            return tls(error, host, trust);
        }
        let refused = find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        match refused {
            true => Self::plain("nothing listens there"),
            false => Self::plain(&telemetry::with_causes(error)),
        }
    }

    pub(crate) fn cut_off(error: &(dyn Error + 'static)) -> Self {
        Self::plain(&format!(
            "the answer is cut off or too large: {}",
            telemetry::with_causes(error)
        ))
    }

    fn plain(problem: &str) -> Self {
        Self {
            problem: problem.to_owned(),
            help: None,
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.problem),
            None => self.problem.clone(),
        }
    }
}

/// The first error of a kind among an error and its causes. Errors of I/O keep what they wrap from the list of causes.
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

fn tls(error: &rustls::Error, host: &str, trust: &Trust) -> NoAnswer {
    let (problem, help) = match error {
        rustls::Error::InvalidCertificate(error) => certificate(error, host, trust),
        rustls::Error::InvalidMessage(_) => (
            "it does not speak TLS".to_owned(),
            Some("does it serve plain http:// there?".to_owned()),
        ),
        error => (format!("TLS fails: {error}"), None),
    };
    NoAnswer { problem, help }
}

fn certificate(error: &CertificateError, host: &str, trust: &Trust) -> (String, Option<String>) {
    let renew = || Some("whoever runs it must renew it, or this machine's clock is wrong".to_owned());
    match error {
        CertificateError::UnknownIssuer if trust.is_empty() => (
            "its certificate cannot be checked: this machine trusts no issuer".to_owned(),
            Some(format!(
                "install the system's package of CA certificates, or name a file with {}",
                trust.option
            )),
        ),
        CertificateError::UnknownIssuer => (
            "its certificate is by an issuer that is not trusted here".to_owned(),
            Some(format!(
                "if the issuer is one of your own, name its certificate with {}",
                trust.option
            )),
        ),
        CertificateError::BadSignature => (
            "its certificate names an issuer that is trusted here, and is signed by another".to_owned(),
            Some(format!(
                "if that issuer has a new key, name its new certificate with {}; else somebody else answers there",
                trust.option
            )),
        ),
        CertificateError::NotValidForName => (format!("its certificate is not for {host}"), Some(other_host(&[]))),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("its certificate is not for {host}"),
            Some(other_host(presented)),
        ),
        CertificateError::Expired => ("its certificate has expired".to_owned(), renew()),
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("its certificate has expired, on {}", day(*not_after)), renew())
        }
        CertificateError::NotValidYet => ("its certificate is not valid yet".to_owned(), renew()),
        CertificateError::NotValidYetContext { not_before, .. } => (
            format!("its certificate is not valid before {}", day(*not_before)),
            renew(),
        ),
        error => (format!("its certificate does not hold: {error}"), None),
    }
}

fn other_host(presented: &[String]) -> String {
    // As rustls has them: `DnsName("log.example")`.
    let names: Vec<_> = presented
        .iter()
        .map(|name| name.split('"').nth(1).unwrap_or(name))
        .collect();
    match names.is_empty() {
        true => "is that its address?".to_owned(),
        false => format!("it is for {}: is that its address?", names.join(", ")),
    }
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        Err(_) => "a day beyond the calendar".to_owned(),
    }
}
