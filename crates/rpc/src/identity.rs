//! Identity of callers.

use std::collections::HashMap;

use futures::future::BoxFuture;
use names::AgencyId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Certificate, Failure, Officer, Role, Roles, RolesError, roles};

/// The identity of a caller, known before a service sees the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The calling system, such as `police-510100-desk`.
    pub system: String,
    /// Id of its agency, such as `police-510100`.
    pub agency: Option<AgencyId>,
    /// What it may do.
    pub roles: Roles,
    /// The acting officer, if a person acts.
    pub officer: Option<Officer>,
    /// Keys the commitment to it.
    pub officer_key: OfficerKey,
    /// What says so.
    pub proof: Proof,
}

/// What says who a caller is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// A token of the token file.
    #[default]
    Token,
    /// A certificate.
    Certificate,
    /// A token that an issuer signed. The officer stands in it, and nowhere else.
    Signed {
        /// Until when, in seconds since 1970.
        until: i64,
    },
}

/// What a request brings along that may identify its caller.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its headers. Those that identify are there once.
    pub headers: &'a http::HeaderMap,
    /// The certificate that was shown and verified when its connection began.
    pub certificate: Option<&'a Certificate>,
}

impl<'a> Presented<'a> {
    /// Headers alone.
    #[must_use]
    pub fn headers(headers: &'a http::HeaderMap) -> Self {
        Self {
            headers,
            certificate: None,
        }
    }

    /// Whether it claims anything by a header.
    #[must_use]
    pub fn has_authorization(&self) -> bool {
        self.headers.contains_key(http::header::AUTHORIZATION)
    }

    /// The one bearer token. More than one is none: which counts, nobody knows.
    #[must_use]
    pub fn bearer(&self) -> Option<&'a str> {
        let mut all = self.headers.get_all(http::header::AUTHORIZATION).iter();
        let (Some(header), None) = (all.next(), all.next()) else {
            return None;
        };
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

/// Key of commitments to officers' names, derived from the caller's token. Names can be guessed,
/// and who may see a commitment knows its record; only the officer's system and Remit have the key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OfficerKey([u8; 32]);

impl OfficerKey {
    /// For a system without a token of the token file, from a secret of the installation.
    #[must_use]
    pub fn of_system(secret: &[u8; 32], system: &str) -> Self {
        Self(journal::keyed_hash(
            secret,
            "remit-officer-key-of-system-v1",
            system.as_bytes(),
        ))
    }

    fn of_token(token: &str) -> Self {
        Self(
            Sha256::new()
                .chain_update(b"remit-officer-key-v1")
                .chain_update(token)
                .finalize()
                .into(),
        )
    }
}

impl std::fmt::Debug for OfficerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OfficerKey(…)")
    }
}

impl Identity {
    /// Whether both are the same system of the same agency.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.system, &self.agency) == (&other.system, &other.agency)
    }

    /// Id of the agency for which the caller acts on cases; `None` for callers without a role that
    /// does, whatever agency they are of.
    #[must_use]
    pub fn acts_for(&self) -> Option<&AgencyId> {
        self.agency.as_ref().filter(|_| self.roles.has_any(Roles::CASEWORK))
    }

    /// Whether it has a role.
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// Whether it is one of Remit's own services.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.roles.is_service()
    }

    /// Commits to an officer's name under this caller's key. `salt`, such as the record's id, keeps
    /// commitments to one officer apart.
    #[must_use]
    pub fn officer_commitment(&self, officer: &str, salt: &[u8]) -> Vec<u8> {
        let length = u64::try_from(salt.len()).unwrap_or(u64::MAX).to_be_bytes();
        let data = [&length, salt, officer.as_bytes()].concat();
        journal::keyed_hash(&self.officer_key.0, "remit-officer-v1", &data).to_vec()
    }

    /// The actor of this caller's changes. `salt`, such as the record's id, keeps commitments to
    /// one officer apart.
    pub fn actor(&self, salt: &[u8]) -> api::event::Actor {
        let officer_commitment = self
            .officer
            .as_ref()
            .map(|officer| self.officer_commitment(officer.as_str(), salt))
            .unwrap_or_default();
        api::event::Actor {
            agency: self.agency.as_ref().map(AgencyId::resource_name).unwrap_or_default(),
            system: self.system.clone(),
            officer_commitment: officer_commitment.into(),
        }
    }
}

/// Identifies callers. The interface for tokens, certificates and identity providers.
pub trait Authenticate: Send + Sync + 'static {
    /// The caller, or `None` if unknown, or if what it presents disagrees. The acting officer is
    /// added later, where it does not stand in a signed token.
    fn authenticate(&self, presented: &Presented<'_>) -> Option<Identity>;

    /// Waits for what is missing to identify the caller, if that may be had in a moment.
    fn prepare(&self, _: &Presented<'_>) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// What would say who the caller is, and is gone: asked where nobody was identified. The call
    /// is refused like any other, but may be repeated.
    fn undecided(&self, _: &Presented<'_>) -> Option<&'static str> {
        None
    }

    /// Whether one of Remit's own services, of this name, may call this gRPC service by what it
    /// presents beside its token.
    fn admits_service(&self, _own: &str, _service: &str, _: &Presented<'_>) -> bool {
        true
    }

    /// Whether a certificate that was believed when its connection began still is.
    fn believes(&self, _: &Certificate) -> bool {
        true
    }

    /// Why callers may be identified by what is out of date, for operators; `None` normally.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// The refusal of a caller who was not identified.
pub(crate) fn unidentified(authenticate: &dyn Authenticate, presented: &Presented<'_>) -> Failure {
    match authenticate.undecided(presented) {
        Some(what) => Failure::Unavailable { what },
        None => Failure::Unauthenticated,
    }
}

/// Whether a caller may call at this path by what it presents: all but Remit's own services may.
pub(crate) fn is_admitted(
    authenticate: &dyn Authenticate,
    caller: &Identity,
    path: &str,
    presented: &Presented<'_>,
) -> bool {
    // What all servers have is guarded by its rows alone.
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    !caller.is_service() || authenticate.admits_service(&caller.system, service, presented)
}

/// The caller of a request to a method that only agencies may call.
#[derive(Clone, Copy, Debug)]
pub struct AgencyCaller<'a> {
    /// The caller.
    pub identity: &'a Identity,
    /// Id of the agency for which it acts.
    pub agency: &'a AgencyId,
}

impl<'a> AgencyCaller<'a> {
    /// Of a request.
    ///
    /// # Errors
    /// When the method's row admits others than agencies: a fault of the table, and not of the
    /// caller.
    pub fn of<T>(request: &'a tonic::Request<T>) -> Result<Self, Failure> {
        Self::from_identity(caller(request)?)
    }

    /// Of a caller. Errors as for [`AgencyCaller::of`].
    pub fn from_identity(identity: &'a Identity) -> Result<Self, Failure> {
        match identity.acts_for() {
            Some(agency) => Ok(Self { identity, agency }),
            None => Err(unlisted()),
        }
    }
}

/// A handler met a caller that the method's row should not have admitted.
pub fn unlisted() -> Failure {
    Failure::Internal("the table of access admits a caller that the method has no answer for".into())
}

/// The caller of a request.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<&Identity, Failure> {
    request.extensions().get().ok_or(Failure::Unauthenticated)
}

/// A bearer token and its owner.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Token {
    /// The secret; empty once it is revoked. The entry stays, so that nobody makes a new token for
    /// the system unasked.
    pub token: String,
    /// The calling system.
    pub system: String,
    /// Id of its agency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// What it may do.
    pub roles: Roles,
}

/// A token as a file has it: with its roles one by one, or a word for the usual ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    token: String,
    system: String,
    agency: Option<String>,
    roles: Option<Roles>,
    role: Option<String>,
}

impl TryFrom<Written> for Token {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        Ok(Self {
            token: written.token,
            system: written.system,
            agency: written.agency,
            roles: roles::of_entry(written.roles, written.role.as_deref())?,
        })
    }
}

impl Token {
    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.token.is_empty()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("system", &self.system)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// Why a token file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// Not a JSON list of tokens.
    #[error("the token file is not a JSON list of tokens")]
    Malformed(#[source] serde_json::Error),
    /// A token is too short to be a secret.
    #[error("the token of `{0}` is shorter than 20 characters")]
    Short(String),
    /// Roles that no system has together, or with an agency, or without one.
    #[error("the token of `{0}` {1}")]
    Roles(String, #[source] RolesError),
    /// A token names an agency by what cannot be an agency's id.
    #[error("the token of `{0}` names an agency whose id is malformed; write 1 to 63 letters, digits and hyphens")]
    Agency(String),
    /// Two tokens of one system differ in what they may do.
    #[error("the tokens of `{0}` name different roles or agencies; all of a system name the same")]
    Ambiguous(String),
    /// Two systems have the same token.
    #[error("the token of `{0}` is also another system's")]
    Repeated(String),
}

/// The tokens that a server accepts. Looked up by digest, so that response times reveal nothing
/// about a token.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    identities: HashMap<[u8; 32], Identity>,
    systems: Systems,
}

/// What each system may, by its name: its roles, and its agency's id.
pub type Systems = HashMap<String, (Roles, Option<String>)>;

impl Tokens {
    /// Builds the table from tokens.
    pub fn new(tokens: &[Token]) -> Result<Self, TokensError> {
        let mut identities = HashMap::with_capacity(tokens.len());
        let mut systems = Systems::new();
        for token in tokens {
            if token.token.len() < 20 && !token.is_revoked() {
                return Err(TokensError::Short(token.system.clone()));
            }
            let fit = token.roles.check(token.agency.is_some());
            fit.map_err(|error| TokensError::Roles(token.system.clone(), error))?;
            let agency = token.agency.as_deref().map(AgencyId::new).transpose();
            let agency = agency.map_err(|_| TokensError::Agency(token.system.clone()))?;
            let rights = (token.roles, token.agency.clone());
            if *systems.entry(token.system.clone()).or_insert_with(|| rights.clone()) != rights {
                return Err(TokensError::Ambiguous(token.system.clone()));
            }
            if token.is_revoked() {
                continue;
            }
            let identity = Identity {
                system: token.system.clone(),
                agency,
                roles: token.roles,
                officer: None,
                officer_key: OfficerKey::of_token(&token.token),
                proof: Proof::Token,
            };
            if identities
                .insert(Sha256::digest(&token.token).into(), identity)
                .is_some()
            {
                return Err(TokensError::Repeated(token.system.clone()));
            }
        }
        Ok(Self { identities, systems })
    }

    /// The systems that have tokens, also those whose tokens are revoked.
    #[must_use]
    pub fn systems(&self) -> &Systems {
        &self.systems
    }

    /// Parses a token file: a JSON list of [`Token`].
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let tokens: Vec<Token> = serde_json::from_str(text).map_err(TokensError::Malformed)?;
        Self::new(&tokens)
    }
}

impl Authenticate for Tokens {
    fn authenticate(&self, presented: &Presented<'_>) -> Option<Identity> {
        let digest: [u8; 32] = Sha256::digest(presented.bearer()?).into();
        self.identities.get(&digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(system: &str, token: &str, agency: Option<&str>, roles: Roles) -> Token {
        Token {
            token: token.to_owned(),
            system: system.to_owned(),
            agency: agency.map(str::to_owned),
            roles,
        }
    }

    #[test]
    fn a_bearer_token_names_its_caller() {
        let tokens = Tokens::new(&[token(
            "desk",
            "0123456789abcdefghij",
            Some("police-510100"),
            Roles::AGENCY,
        )])
        .unwrap();
        let authenticate = |value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            tokens.authenticate(&Presented::headers(&headers))
        };
        let caller = authenticate("Bearer 0123456789abcdefghij").unwrap();
        assert_eq!(caller.acts_for().map(AgencyId::as_str), Some("police-510100"));
        assert_eq!(
            authenticate("bearer 0123456789abcdefghij").map(|caller| caller.roles),
            Some(Roles::AGENCY)
        );
        assert_eq!(authenticate("Bearer 0123456789abcdefghiX"), None);
        assert_eq!(authenticate("Basic 0123456789abcdefghij"), None);
        assert_eq!(tokens.authenticate(&Presented::headers(&http::HeaderMap::new())), None);
    }

    /// A reader of the commitment knows the record and can try all names. Without the key of the
    /// officer's system, that tells nothing.
    #[test]
    fn p3_an_officers_commitment_cannot_be_tried_without_the_systems_token() {
        let of = |secret: &str| {
            let tokens = [token("desk", secret, Some("police-510100"), Roles::AGENCY)];
            let mut headers = http::HeaderMap::new();
            headers.insert("authorization", format!("Bearer {secret}").parse().unwrap());
            let caller = Tokens::new(&tokens)
                .unwrap()
                .authenticate(&Presented::headers(&headers))
                .unwrap();
            let officer = Some(Officer::new("o-17").unwrap());
            Identity { officer, ..caller }
        };
        let caller = of("0123456789abcdefghij");
        let commitment = caller.actor(b"case").officer_commitment;
        assert_eq!(commitment, caller.actor(b"case").officer_commitment);
        assert_ne!(commitment, caller.actor(b"other case").officer_commitment);
        assert_ne!(
            commitment,
            of("another-0123456789abcdef").actor(b"case").officer_commitment
        );
        let keyless = Identity {
            officer_key: OfficerKey::default(),
            ..caller.clone()
        };
        assert_ne!(commitment, keyless.actor(b"case").officer_commitment);
        let unkeyed = [&b"remit-officer-v1"[..], b"case", b"o-17"].concat();
        assert_ne!(commitment, Sha256::digest(unkeyed).to_vec());
        assert!(
            !format!("{caller:?}").contains("0123456789"),
            "no key where callers are logged"
        );
        let nobody = Identity {
            officer: None,
            ..caller
        };
        assert!(nobody.actor(b"case").officer_commitment.is_empty());
    }

    #[test]
    fn a_revoked_token_is_nobodys() {
        let revoked = token("desk", "", Some("police-510100"), Roles::AGENCY);
        let other = token("other", "", None, Roles::OPERATOR);
        let tokens = Tokens::new(&[revoked, other]).unwrap();
        for value in ["Bearer ", "Bearer", "bearer  "] {
            let mut headers = http::HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            assert_eq!(tokens.authenticate(&Presented::headers(&headers)), None, "{value:?}");
        }
    }

    #[test]
    fn unusable_tokens_are_refused() {
        for (tokens, error) in [
            (
                vec![token("a", "short", None, Roles::OPERATOR)],
                "the token of `a` is shorter than 20 characters",
            ),
            (
                vec![token("a", "0123456789abcdefghij", None, Roles::AGENCY)],
                "the token of `a` has the role desk and names no agency",
            ),
            (
                vec![token("a", "0123456789abcdefghij", Some("not an id"), Roles::AGENCY)],
                "the token of `a` names an agency whose id is malformed; write 1 to 63 letters, digits and hyphens",
            ),
            (
                vec![
                    token("a", "0123456789abcdefghij", None, Roles::OPERATOR),
                    token("a", "0123456789abcdefghik", None, Roles::PARTNER),
                ],
                "the tokens of `a` name different roles or agencies; all of a system name the same",
            ),
            (
                vec![
                    token("a", "0123456789abcdefghij", None, Roles::OPERATOR),
                    token("b", "0123456789abcdefghij", None, Roles::OPERATOR),
                ],
                "the token of `b` is also another system's",
            ),
        ] {
            assert_eq!(Tokens::new(&tokens).unwrap_err().to_string(), error);
        }
    }
}
