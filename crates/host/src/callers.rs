//! Who calls: by the tokens of the token file, and by what the file of callers says of certificates
//! and of issuers of signed tokens. It says, too, which of Remit's services may call which.
//!
//! The file is read at the start, where what is wrong with it ends the start, and again when it
//! changes, where it changes nothing and alarms.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
};

use anyhow::{Context as _, anyhow, bail};
use futures::future::BoxFuture;
use journal::Clock;
use names::AgencyId;
use rpc::{
    Authenticate, Certificate, CertificateName, Identity, OfficerKey, Presented, Proof, Roles, SPIFFE, Systems,
    access::Kind,
    jwt::{self, Algorithm, Expected},
    roles,
    tls::Tls,
};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    certificates::LOOK,
    config::{Config, Service, nearest},
    data_dir::read_key,
    input,
    issuers::{Issuer, IssuersKeys, seconds},
    tokens::{Followed, REMIND},
};

/// Maximum size of the file.
const LIMIT: u64 = 4 << 20;
/// Most seconds by which clocks may differ.
const MOST_SKEW: u32 = 120;

/// The file of callers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// gRPC services that Remit's own services call of each other, and for each that may the names
    /// in its certificates. Without it, their tokens alone say it.
    services: Option<BTreeMap<String, BTreeMap<String, BTreeSet<String>>>>,
    /// Callers by a name in their certificate.
    certificates: Vec<OfCertificate>,
    /// Issuers of signed tokens.
    issuers: Vec<OfIssuer>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCertificate {
    /// A DNS name or a URI among its alternative names.
    name: String,
    system: String,
    /// Its roles, or a word for the usual ones.
    roles: Option<Roles>,
    role: Option<String>,
    agency: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfIssuer {
    /// As `iss` has it.
    issuer: String,
    /// What `aud` has to have.
    audience: String,
    /// Address of its keys (`jwks_uri`).
    keys: String,
    /// PEM file of authorities that are believed beside the machine's.
    ca_file: Option<PathBuf>,
    algorithms: Vec<Algorithm>,
    /// What `typ` has to be.
    #[serde(rename = "type", default = "access_token")]
    kind: String,
    #[serde(default = "skew")]
    skew_seconds: u32,
    /// The claim that has a client's id.
    #[serde(default = "client_id")]
    client_claim: String,
    /// The claim that has the acting officer.
    officer_claim: Option<String>,
    /// The claim that has the roles of who calls, by its name or by the names on the way to it.
    roles_claim: Option<WayTo>,
    /// What of its values stands for which roles.
    #[serde(default)]
    claimed_roles: BTreeMap<String, Roles>,
    clients: Vec<OfClient>,
}

/// A claim, or one within others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum WayTo {
    One(String),
    Within(Vec<String>),
}

fn access_token() -> String {
    "at+jwt".to_owned()
}

fn client_id() -> String {
    "client_id".to_owned()
}

fn skew() -> u32 {
    30
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfClient {
    id: String,
    system: String,
    /// Its roles, or a word for the usual ones.
    roles: Option<Roles>,
    role: Option<String>,
    agency: Option<String>,
}

/// By gRPC service, by the service that calls it: the names in its certificates.
type Listed = HashMap<String, HashMap<String, BTreeSet<CertificateName>>>;

/// What the file says, ready to be asked.
#[derive(Debug, Default)]
struct Callers {
    services: Option<Listed>,
    certificates: HashMap<CertificateName, Identity>,
    issuers: HashMap<String, Issuer>,
    /// What each system that the file names may.
    systems: Systems,
}

/// A name in a certificate, as certificates' names are compared.
fn name(text: &str) -> anyhow::Result<CertificateName> {
    let is_uri = text
        .strip_prefix(SPIFFE)
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(domain, path)| {
            let is_lower = !domain.contains(|c: char| c.is_ascii_uppercase());
            is_lower && !domain.is_empty() && !path.is_empty() && !path.contains(char::is_whitespace)
        });
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let is_dns = text.contains(|c: char| c.is_ascii_alphabetic()) && text.chars().all(fits);
    match (is_uri, is_dns && text.len() <= 253) {
        (true, _) => Ok(CertificateName::Uri(text.to_owned())),
        (_, true) => Ok(CertificateName::Dns(text.to_ascii_lowercase())),
        _ => bail!("`{text}` is neither a DNS name nor a SPIFFE URI (spiffe://DOMAIN/PATH, the domain in lower case)"),
    }
}

fn identity(
    system: &str,
    (roles, usual): (Option<Roles>, Option<&str>),
    agency: Option<&str>,
    key: &[u8; 32],
    proof: Proof,
    systems: &mut Systems,
) -> anyhow::Result<Identity> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if system.is_empty() || system.len() > 63 || !system.chars().all(fits) {
        bail!("the system `{system}` must be 1 to 63 letters, digits, `-`, `_` and `.`");
    }
    let roles = roles::of_entry(roles, usual).map_err(|error| anyhow!("`{system}`: {error}"))?;
    roles
        .check(agency.is_some())
        .map_err(|error| anyhow!("`{system}` {error}"))?;
    let is_own = Service::ALL.iter().any(|service| service.name() == system);
    if roles.is_service() && !is_own {
        bail!("`{system}` is none of Remit's own services, and has the role service");
    }
    if !roles.is_service() && is_own {
        bail!("`{system}` is the name of one of Remit's own services, which have the role service; call it otherwise");
    }
    let rights = (roles, agency.map(str::to_owned));
    if *systems.entry(system.to_owned()).or_insert_with(|| rights.clone()) != rights {
        bail!("`{system}` has different roles or agencies; all entries of a system name the same");
    }
    let agency = agency.map(AgencyId::new).transpose();
    Ok(Identity {
        system: system.to_owned(),
        agency: agency.map_err(|_| anyhow!("`{system}` names an agency whose id is malformed"))?,
        roles,
        officer: None,
        officer_key: OfficerKey::of_system(key, system),
        proof,
    })
}

/// The gRPC services that Remit's own services call, and which of these do, by the tables of
/// access.
fn called_by_services() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut called = BTreeMap::<_, BTreeSet<_>>::new();
    let tables = [intake::ACCESS, routing::ACCESS, audit::ACCESS];
    for table in tables.iter().flat_map(|tables| tables.iter()) {
        for kind in table.methods.iter().flat_map(|method| method.kinds) {
            if let Kind::Service(caller) = kind {
                called.entry(table.service).or_default().insert(*caller);
            }
        }
    }
    called
}

fn services(file: &File) -> anyhow::Result<Option<Listed>> {
    let Some(services) = &file.services else {
        return Ok(None);
    };
    let known = called_by_services();
    for (service, callers) in services {
        let meant = |word: &str, words: &mut dyn Iterator<Item = &'static str>| {
            let meant = nearest(word, words).map(|meant| format!("; did you mean `{meant}`?"));
            meant.unwrap_or_default()
        };
        let Some(may) = known.get(service.as_str()) else {
            let meant = meant(service, &mut known.keys().copied());
            bail!("`services`: `{service}` is no gRPC service that Remit's own services call{meant}");
        };
        if let Some(other) = callers.keys().find(|caller| !may.contains(caller.as_str())) {
            let meant = meant(other, &mut may.iter().copied());
            bail!("`services`, `{service}`: `{other}` is none of Remit's services that call it{meant}");
        }
    }
    let mut all = Listed::new();
    for (service, may) in known {
        let mut by_caller = HashMap::new();
        for caller in may {
            let names = services.get(service).and_then(|callers| callers.get(caller));
            let names = names.filter(|names| !names.is_empty()).with_context(|| {
                format!(
                    "`services`: `{service}` has no names for `{caller}`: list those in the certificates of {caller}"
                )
            })?;
            let names: anyhow::Result<_> = names.iter().map(|text| name(text)).collect();
            by_caller.insert(caller.to_owned(), names.context("`services`")?);
        }
        all.insert(service.to_owned(), by_caller);
    }
    Ok(Some(all))
}

/// Refuses systems that others own already, with another role or agency.
pub(crate) fn refuse_shared(systems: &Systems, others: &Systems) -> anyhow::Result<()> {
    let shared = systems
        .iter()
        .find(|(system, rights)| others.get(*system).is_some_and(|other| other != *rights));
    match shared {
        None => Ok(()),
        Some((system, _)) => bail!(
            "`{system}` has other roles or another agency in the token file than in the file of callers; all entries of a system \
             name the same"
        ),
    }
}

/// What a configuration says of callers.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    key: Option<[u8; 32]>,
    believes_callers: bool,
}

impl Source {
    fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(path) = config.callers_file.clone() else {
            return Ok(None);
        };
        let key = config.callers_key_file.as_deref().map(read_key).transpose();
        Ok(Some(Self {
            path,
            key: key.context("`callers_key_file`")?,
            believes_callers: config.tls.client_ca_file.is_some(),
        }))
    }

    fn text(&self) -> anyhow::Result<String> {
        input::text(&self.path, LIMIT)
    }

    /// Reads the file. `keys` gives the keys of an issuer's address.
    fn parse(
        &self,
        text: &str,
        mut keys: impl FnMut(&OfIssuer) -> anyhow::Result<Option<Arc<IssuersKeys>>>,
    ) -> anyhow::Result<Callers> {
        let file: File = handwritten::read(text).map_err(|error| anyhow!("{error}"))?;
        if file == File::default() {
            bail!(
                "it says nothing: no `services`, no `certificates`, no `issuers`. Without such a file, leave out `callers_file`"
            );
        }
        if !self.believes_callers && (file.services.is_some() || !file.certificates.is_empty()) {
            bail!(
                "it names certificates, and `tls.client_ca_file` does not say by which authorities they are believed"
            );
        }
        let key = match (&self.key, file.certificates.is_empty() && file.issuers.is_empty()) {
            (Some(key), _) => *key,
            (None, true) => [0; 32],
            (None, false) => bail!(
                "it names callers, and `callers_key_file` is not set: 32 random bytes, the same for all services and replicas, \
                 that commitments to officers are keyed with"
            ),
        };
        let mut systems = Systems::new();
        let mut certificates = HashMap::new();
        for of in &file.certificates {
            let name = name(&of.name).context("`certificates`")?;
            let proof = Proof::Certificate;
            let identity = identity(
                &of.system,
                (of.roles, of.role.as_deref()),
                of.agency.as_deref(),
                &key,
                proof,
                &mut systems,
            );
            if certificates.insert(name, identity.context("`certificates`")?).is_some() {
                bail!("`certificates`: `{}` is there twice", of.name);
            }
        }
        let mut issuers = HashMap::new();
        for of in &file.issuers {
            let within = || format!("`issuers`, {}", of.issuer);
            if of.algorithms.is_empty() {
                bail!("{}: `algorithms` is empty", within());
            }
            if of.skew_seconds > MOST_SKEW {
                bail!(
                    "{}: `skew_seconds` is {}, more than {MOST_SKEW}",
                    within(),
                    of.skew_seconds
                );
            }
            if of.issuer.is_empty() || of.audience.is_empty() || of.kind.is_empty() {
                bail!("{}: `issuer`, `audience` and `type` must say something", within());
            }
            let mut clients = HashMap::new();
            for client in &of.clients {
                let proof = Proof::Signed { until: 0 };
                let identity = identity(
                    &client.system,
                    (client.roles, client.role.as_deref()),
                    client.agency.as_deref(),
                    &key,
                    proof,
                    &mut systems,
                );
                let identity = identity.with_context(within)?;
                if identity.is_service() {
                    bail!("{}: Remit's own services do not call with tokens of issuers", within());
                }
                if clients.insert(client.id.clone(), identity).is_some() {
                    bail!("{}: `{}` is there twice", within(), client.id);
                }
            }
            let roles_claim = match &of.roles_claim {
                None => Vec::new(),
                Some(WayTo::One(name)) => vec![name.clone()],
                Some(WayTo::Within(names)) => names.clone(),
            };
            if of.roles_claim.is_some() && (roles_claim.is_empty() || roles_claim.iter().any(String::is_empty)) {
                bail!("{}: `roles_claim` names no claim", within());
            }
            if roles_claim.is_empty() != of.claimed_roles.is_empty() {
                bail!(
                    "{}: `roles_claim` says where a token's roles stand, `claimed_roles` what they stand for; both, or none",
                    within()
                );
            }
            let expected = Expected {
                issuer: of.issuer.clone(),
                audience: of.audience.clone(),
                algorithms: of.algorithms.clone(),
                kind: of.kind.clone(),
                skew: of.skew_seconds.into(),
                client_claim: of.client_claim.clone(),
                officer_claim: of.officer_claim.clone(),
                roles_claim,
            };
            let claimed = of.claimed_roles.clone().into_iter().collect();
            let Some(keys) = keys(of).with_context(within)? else {
                continue;
            };
            if issuers
                .insert(of.issuer.clone(), Issuer::new(expected, clients, claimed, keys))
                .is_some()
            {
                bail!("{} is there twice", within());
            }
        }
        Ok(Callers {
            services: services(&file)?,
            certificates,
            issuers,
            systems,
        })
    }

    /// Reads the file beside systems that have tokens.
    fn read(&self, before: &Callers, tokens: &Systems) -> anyhow::Result<Callers> {
        let follow = |of: &OfIssuer| {
            let known = before.issuers.get(&of.issuer).map(Issuer::keys);
            let folder = self.path.parent().unwrap_or(Path::new(""));
            let ca_file = of.ca_file.as_ref().map(|file| folder.join(file));
            if let Some(known) = known.filter(|known| known.is_of(&of.keys, ca_file.as_deref())) {
                return Ok(Some(Arc::clone(known)));
            }
            let known = known.filter(|known| known.is_at(&of.keys)).map(|known| &**known);
            IssuersKeys::follow(&of.keys, ca_file.as_deref(), known).map(Some)
        };
        let callers = self.parse(&self.text()?, follow)?;
        if before.services.is_some() && callers.services.is_none() {
            bail!("`services` is gone: any service's token would do. A restart takes that, where it is meant");
        }
        refuse_shared(&callers.systems, tokens)?;
        Ok(callers)
    }
}

/// Checks the file of callers, if there is one, beside systems that have tokens.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn check(config: &Config, tokens: &Systems) -> anyhow::Result<()> {
    let Some(source) = Source::of(config)? else {
        return Ok(());
    };
    let checked = source
        .text()
        .and_then(|text| source.parse(&text, |_| Ok(None)))
        .and_then(|callers| refuse_shared(&callers.systems, tokens));
    checked.with_context(|| format!("`callers_file`, {}", source.path.display()))?;
    Ok(())
}

/// A certificate names several callers.
#[derive(Debug)]
struct Several;

/// Identifies callers by all that there is.
pub(crate) struct Identities {
    tokens: Arc<Followed>,
    tls: Option<Arc<Tls>>,
    clock: Arc<dyn Clock>,
    callers: RwLock<Arc<Callers>>,
    trouble: RwLock<Option<String>>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identities")
    }
}

impl Identities {
    /// Starts with the file of callers as it is now, and follows it. Call it inside a runtime.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub(crate) fn new(
        config: &Config,
        tokens: Arc<Followed>,
        tls: Option<Arc<Tls>>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Arc<Self>> {
        let source = Source::of(config)?;
        let callers = match &source {
            Some(source) => source
                .read(&Callers::default(), tokens.tokens().systems())
                .with_context(|| format!("`callers_file`, {}", source.path.display()))?,
            None => Callers::default(),
        };
        tokens.set_others(callers.systems.clone());
        let this = Arc::new(Self {
            tokens,
            tls,
            clock,
            callers: RwLock::new(Arc::new(callers)),
            trouble: RwLock::default(),
        });
        if let Some(source) = source {
            let weak = Arc::downgrade(&this);
            rpc::watch_issuers(move || weak.upgrade()?.oldest_keys());
            tokio::spawn(follow(Arc::downgrade(&this), source));
        }
        Ok(this)
    }

    fn callers(&self) -> Arc<Callers> {
        Arc::clone(&self.callers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seconds since the keys of the issuer were fetched that was silent longest.
    fn oldest_keys(&self) -> Option<f64> {
        let callers = self.callers();
        let ages = callers.issuers.values().map(|issuer| issuer.keys().age());
        ages.max().map(|age| age.as_secs_f64())
    }

    /// The caller that a certificate names, if one.
    ///
    /// # Errors
    ///
    /// When it names several: then nobody knows whose it is, whatever comes with it.
    fn by_certificate(callers: &Callers, certificate: &Certificate) -> Result<Option<Identity>, Several> {
        let mut named = certificate
            .names()
            .iter()
            .filter_map(|name| callers.certificates.get(name));
        let Some(first) = named.next() else {
            return Ok(None);
        };
        match named.find(|other| other.system != first.system) {
            None => Ok(Some(first.clone())),
            Some(other) => {
                tracing::debug!(
                    one = first.system,
                    other = other.system,
                    "a certificate names several callers"
                );
                Err(Several)
            }
        }
    }

    /// The caller that an `authorization` names.
    fn by_token(&self, callers: &Callers, presented: &Presented<'_>) -> Option<Identity> {
        match presented.bearer() {
            Some(token) if jwt::is_signed(token) && !callers.issuers.is_empty() => {
                let (issuer, _) = jwt::claimed(token)?;
                callers.issuers.get(&issuer)?.caller(token, seconds(&*self.clock))
            }
            _ => self.tokens.authenticate(presented),
        }
    }
}

impl Authenticate for Identities {
    fn authenticate(&self, presented: &Presented<'_>) -> Option<Identity> {
        let callers = self.callers();
        let believed = match (presented.certificate, &self.tls) {
            (None, _) => None,
            // What was believed in the handshake may have ended since.
            (Some(certificate), Some(tls)) if tls.believes(certificate) => Some(certificate),
            (Some(_), _) => return None,
        };
        let by_certificate = match believed {
            Some(certificate) => Self::by_certificate(&callers, certificate).ok()?,
            None => None,
        };
        if !presented.has_authorization() {
            return by_certificate;
        }
        let by_token = self.by_token(&callers, presented)?;
        match by_certificate {
            Some(other) if !other.is_same(&by_token) => {
                tracing::debug!(
                    token = by_token.system,
                    certificate = other.system,
                    "they name different callers"
                );
                None
            }
            _ => Some(by_token),
        }
    }

    fn prepare(&self, presented: &Presented<'_>) -> Option<BoxFuture<'static, ()>> {
        let callers = self.callers();
        if callers.issuers.is_empty() {
            return None;
        }
        let token = presented.bearer().filter(|token| jwt::is_signed(token))?;
        let (issuer, key) = jwt::claimed(token)?;
        callers.issuers.get(&issuer)?.keys().await_key(&key)
    }

    fn undecided(&self, presented: &Presented<'_>) -> Option<&'static str> {
        let callers = self.callers();
        let token = presented.bearer().filter(|token| jwt::is_signed(token))?;
        let (issuer, key) = jwt::claimed(token)?;
        let is_undecided = callers.issuers.get(&issuer)?.is_undecided(&key);
        is_undecided.then_some("the issuer of the token")
    }

    fn admits_service(&self, own: &str, service: &str, presented: &Presented<'_>) -> bool {
        let callers = self.callers();
        let Some(services) = &callers.services else {
            return true;
        };
        let Some(certificate) = presented.certificate else {
            return false;
        };
        let is_on = |callers: &HashMap<String, BTreeSet<CertificateName>>| {
            let names = callers.get(own);
            names.is_some_and(|names| !names.is_disjoint(certificate.names()))
        };
        match services.get(service) {
            Some(callers) => is_on(callers),
            // What partners and agencies call, and services too: by any of its names.
            None => services.values().any(is_on),
        }
    }

    fn believes(&self, certificate: &Certificate) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.believes(certificate))
    }

    fn trouble(&self) -> Option<String> {
        let own = self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone();
        let callers = self.callers();
        let issuers = callers.issuers.values().filter_map(|issuer| issuer.keys().trouble());
        let all: Vec<_> = self.tokens.trouble().into_iter().chain(own).chain(issuers).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

async fn follow(identities: Weak<Identities>, source: Source) {
    let mut last: Option<String> = None;
    let mut told: Option<Instant> = None;
    // The first look reads what the start has read.
    let mut is_first = true;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(identities) = identities.upgrade() else { return };
        let text = source.text();
        if text.as_ref().is_ok_and(|text| last.as_ref() == Some(text)) {
            continue;
        }
        let read = text.and_then(|text| {
            let tokens = identities.tokens.tokens();
            Ok((source.read(&identities.callers(), tokens.systems())?, text))
        });
        let trouble = match read {
            Ok((callers, text)) => {
                identities.tokens.set_others(callers.systems.clone());
                *identities.callers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(callers);
                (last, told) = (Some(text), None);
                if !std::mem::take(&mut is_first) {
                    tracing::info!(file = %source.path.display(), "read the file of callers");
                }
                None
            }
            Err(error) => {
                // Also what it was before is read again, once it is back.
                (last, is_first) = (None, false);
                let error = format!("{error:#}");
                if told.is_none_or(|told| told.elapsed() >= REMIND) {
                    told = Some(Instant::now());
                    let file = source.path.display();
                    tracing::error!(%file, error, "the file of callers cannot be used: what it said before still goes");
                }
                Some(format!("the file of callers cannot be used: {error}"))
            }
        };
        *identities.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

#[cfg(test)]
mod tests;
