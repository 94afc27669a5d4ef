//! `remit dev-certs`: an authority and certificates to try TLS with.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use host::secrets::private;
use journal::{Clock as _, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::{
    client::Failed,
    output::{self, field, line},
};

/// Make an authority and certificates, to try TLS with
///
/// Writes `ca.pem` and its key, and for each service, and for a process of all three, a certificate
/// and its key that are valid for `localhost`, 127.0.0.1, ::1 and the service's own name, and as
/// `spiffe://remit.local/SERVICE`. Where the folder has an authority already, certificates are made
/// anew by it. Whoever has `ca.key` can be anybody: for trials, not for real reports.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit dev-certs certs
  remit dev-certs certs --name intake.lan --name 192.0.2.7 --days 7
  remit dev-certs certs --caller police-510100-desk
  remit serve all --set tls.certificate_file=certs/all.pem --set tls.key_file=certs/all.key --set tls.ca_file=certs/ca.pem")]
pub struct Command {
    /// The folder; made where it is missing
    dir: PathBuf,
    /// Further DNS name or IP address of the services; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// System of a caller to make a certificate for, as `spiffe://remit.local/SYSTEM`; may be
    /// repeated
    #[arg(long = "caller", value_name = "SYSTEM", value_parser = system)]
    callers: Vec<String>,
    /// Days for which certificates are valid; the authority is for ten times as many
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

/// The trust domain of all names.
const DOMAIN: &str = "spiffe://remit.local";

/// A name that is also one of a file.
fn system(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_taken = ["ca", "all", "intake", "routing", "audit"].contains(&text);
    match !text.is_empty() && text.len() <= 63 && text.chars().all(fits) && !text.starts_with(['-', '.']) {
        true if is_taken => Err(format!("`{text}.pem` is made anyway: name the system of a caller")),
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 63 letters, digits, `-`, `_` and `.`".to_owned()),
    }
}

impl Command {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let dir = &self.dir;
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let (key, is_new) = match self.authoritys_key()? {
            Some(key) => (key, false),
            None => (KeyPair::generate()?, true),
        };
        let authority = self.authority()?;
        if is_new {
            let certificate = authority.self_signed(&key)?;
            write(&dir.join("ca.key"), &key.serialize_pem(), 0o600)?;
            write(&dir.join("ca.pem"), &certificate.pem(), 0o644)?;
        }
        let issuer = Issuer::from_params(&authority, &key);
        let own = |service: &str| [service, "localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let mut made = vec![("all".to_owned(), vec!["intake", "routing", "audit"])];
        made.extend(["intake", "routing", "audit"].map(|service| (service.to_owned(), vec![service])));
        let mut files = vec![dir.join("ca.pem")];
        for (name, services) in made {
            let mut names = own(&name);
            names.extend(
                services
                    .iter()
                    .filter(|service| **service != name)
                    .map(|service| (*service).to_owned()),
            );
            names.extend(self.names.iter().cloned());
            let uris = services.iter().map(|service| (*service).to_owned());
            files.push(self.leaf(&issuer, &name, names, uris)?);
        }
        for caller in &self.callers {
            files.push(self.leaf(&issuer, caller, Vec::new(), [caller.clone()])?);
        }
        if self.json {
            return output::value(&serde_json::json!({ "authority": is_new, "files": files }));
        }
        line(match is_new {
            true => "made an authority, for trials only, and certificates by it",
            false => "made certificates by the authority that was there",
        })?;
        for file in &files {
            field("file", file.display())?;
        }
        Ok(())
    }

    /// The key of the authority that the folder has.
    fn authoritys_key(&self) -> anyhow::Result<Option<KeyPair>> {
        let (key, certificate) = (self.dir.join("ca.key"), self.dir.join("ca.pem"));
        match (key.exists(), certificate.exists()) {
            (false, false) => Ok(None),
            (true, true) => {
                private(&key)?;
                let text = host::input::text(&key, 64 << 10)?;
                let pair = KeyPair::from_pem(&text);
                Ok(Some(pair.map_err(|error| {
                    Failed::Usage(format!("{}: {error}", key.display()))
                })?))
            }
            (has_key, _) => {
                let missing = if has_key { certificate } else { key };
                Err(Failed::Usage(format!(
                    "{} is missing, and the other file of the authority is there: put it back, or name another folder",
                    missing.display()
                ))
                .into())
            }
        }
    }

    /// The same each time, so that it is made anew from its key.
    fn authority(&self) -> anyhow::Result<CertificateParams> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name = named("Remit trial authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self.limit(&mut authority, 10)?;
        Ok(authority)
    }

    fn limit(&self, params: &mut CertificateParams, times: u64) -> anyhow::Result<()> {
        let now =
            u64::try_from(SystemClock.now().0 / 1_000_000).map_err(|_| anyhow!("this machine's clock is wrong"))?;
        let (day, hour) = (24 * 3_600, 3_600);
        let at = |seconds: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        // Clocks of a few machines differ.
        params.not_before = at(now.saturating_sub(hour));
        params.not_after = at(now + u64::from(self.days) * times * day);
        Ok(())
    }

    fn leaf(
        &self,
        issuer: &Issuer<'_, &KeyPair>,
        name: &str,
        hosts: Vec<String>,
        uris: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<PathBuf> {
        let bad = |error: rcgen::Error| Failed::Usage(format!("--name: {error}"));
        let mut leaf = CertificateParams::new(hosts).map_err(bad)?;
        leaf.distinguished_name = named(name);
        for uri in uris {
            leaf.subject_alt_names
                .push(SanType::URI(format!("{DOMAIN}/{uri}").try_into()?));
        }
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        leaf.use_authority_key_identifier_extension = true;
        self.limit(&mut leaf, 1)?;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, issuer)?;
        let file = self.dir.join(format!("{name}.pem"));
        // The key first: who sees the new certificate finds its key.
        write(&self.dir.join(format!("{name}.key")), &key.serialize_pem(), 0o600)?;
        write(&file, &certificate.pem(), 0o644)?;
        Ok(file)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    witness::file::replace_now(path, text.as_bytes(), mode).with_context(|| format!("writing {}", path.display()))
}
