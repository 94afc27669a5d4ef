//! Tokens that an issuer signs (JSON Web Tokens, RFC 7519; of access tokens, RFC 9068), and what of
//! them is believed.
//!
//! Pure: keys and time are given. The key is one of the issuer's, by the name that the token gives
//! it, and never one that the token brings along; the algorithm is one that is allowed for the
//! issuer and made for that kind of key. Whatever is missing, doubled or of another type is
//! refused: a number that is a text is no number.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use sha2::{Digest as _, Sha256};

/// Longest token, in bytes. More is refused before it is looked at.
pub const LONGEST: usize = 8 << 10;
/// Most keys of an issuer.
const KEYS: usize = 64;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than any.
    #[error("the token is longer than {LONGEST} bytes")]
    Long,
    /// Not three parts of base64url with JSON of the right types.
    #[error("it is no signed token, or lacks a claim, or one is of another type")]
    Malformed,
    /// Signed by nobody, or by an algorithm that is not allowed.
    #[error("its algorithm is not allowed")]
    Algorithm,
    /// Of another kind, such as an ID token.
    #[error("it is a token of another type")]
    Type,
    /// The issuer has no such key.
    #[error("the issuer has no key of that name")]
    Key,
    /// Signed by another key, or changed.
    #[error("its signature is wrong")]
    Signature,
    /// Of another issuer.
    #[error("it is of another issuer")]
    Issuer,
    /// Made for somebody else.
    #[error("it is made for another audience")]
    Audience,
    /// Past.
    #[error("it has expired")]
    Expired,
    /// Not yet.
    #[error("it is not valid yet")]
    NotYet,
}

/// An algorithm that tokens may be signed with: no shared secrets, and never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "named as in RFC 7518 and RFC 8037")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "EdDSA" => Self::EdDSA,
            _ => return None,
        })
    }

    fn verify(self, key: &Public, message: &[u8], signed: &[u8]) -> Result<(), Refused> {
        let verified = match (self, key) {
            (Self::ES256, Public::P256(point)) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signed)
            }
            (Self::ES384, Public::P384(point)) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signed)
            }
            (Self::EdDSA, Public::Ed25519(point)) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signed)
            }
            (_, Public::Rsa { n, e }) => {
                let parameters = match self {
                    Self::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Self::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Self::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Self::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Self::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Self::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Self::ES256 | Self::ES384 | Self::EdDSA => return Err(Refused::Algorithm),
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signed)
            }
            // Of one kind, used as another.
            _ => return Err(Refused::Algorithm),
        };
        verified.map_err(|_| Refused::Signature)
    }
}

/// The public keys of an issuer, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(HashMap<String, Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    public: Public,
    /// The only algorithm that it is for, if the issuer says so.
    algorithm: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// As RFC 7517 writes it; what is for encryption, or of another kind, is passed over.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Reads a set of keys (RFC 7517). Keys without a name are passed over, since no token can name
    /// them; so are those that are not for signatures.
    ///
    /// # Errors
    ///
    /// What is wrong with it, also when no key is left.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("no set of keys: {error}"))?;
        if set.keys.len() > KEYS {
            return Err(format!("{} keys, more than {KEYS}", set.keys.len()));
        }
        let mut keys = HashMap::new();
        for key in set.keys {
            let Ok(written) = Written::deserialize(key) else {
                continue;
            };
            if written.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
                continue;
            }
            let (Some(public), Some(name)) = (public(&written), written.kid) else {
                continue;
            };
            let algorithm = written.alg;
            if keys.insert(name.clone(), Key { public, algorithm }).is_some() {
                return Err(format!("two keys have the name {name:?}"));
            }
        }
        match keys.is_empty() {
            true => Err("no key that a token can be checked by".to_owned()),
            false => Ok(Self(keys)),
        }
    }

    /// Whether there is a key of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn public(written: &Written) -> Option<Public> {
    let decoded = |text: &Option<String>| BASE64URL_NOPAD.decode(text.as_ref()?.as_bytes()).ok();
    let point = |length: usize| {
        let (x, y) = (decoded(&written.x)?, decoded(&written.y)?);
        (x.len() == length && y.len() == length).then(|| [&[4], &x[..], &y].concat())
    };
    match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", _) => {
            let (n, e) = (decoded(&written.n)?, decoded(&written.e)?);
            Some(Public::Rsa { n, e })
        }
        ("EC", Some("P-256")) => point(32).map(Public::P256),
        ("EC", Some("P-384")) => point(48).map(Public::P384),
        ("OKP", Some("Ed25519")) => decoded(&written.x).filter(|x| x.len() == 32).map(Public::Ed25519),
        _ => None,
    }
}

/// What is asked of an issuer's tokens.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The issuer.
    pub issuer: String,
    /// For whom they are made: Remit.
    pub audience: String,
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Their type, such as `at+jwt`.
    pub kind: String,
    /// Seconds by which clocks may differ.
    pub skew: i64,
    /// The claim that says which client calls.
    pub client_claim: String,
    /// The claim that says which officer acts, if one does.
    pub officer_claim: Option<String>,
    /// The names on the way to the claim that has the roles; empty where tokens say none.
    pub roles_claim: Vec<String>,
}

/// What a token says that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The client that calls.
    pub client: String,
    /// The officer who acts.
    pub officer: Option<String>,
    /// The roles that it claims, as the issuer names them; `None` where tokens say none.
    pub roles: Option<Vec<String>>,
    /// From when on, in seconds since 1970, clocks' differences included.
    pub from: i64,
    /// Until when, likewise.
    pub until: i64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// What must be understood, and is not.
    crit: Option<IgnoredAny>,
    /// Keys that the token brings along.
    jwk: Option<IgnoredAny>,
    jku: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(deserialize_with = "one_or_more")]
    aud: Vec<String>,
    exp: i64,
    nbf: i64,
    #[serde(flatten, deserialize_with = "each_once")]
    others: HashMap<String, serde_json::Value>,
}

/// Which of two claims of one name counts, nobody knows. Serde says so itself of the named ones.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashMap<String, serde_json::Value>, D::Error> {
    struct Claims;
    impl<'de> Visitor<'de> for Claims {
        type Value = HashMap<String, serde_json::Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("claims")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut claims = HashMap::new();
            while let Some((name, value)) = map.next_entry::<String, _>()? {
                if claims.insert(name, value).is_some() {
                    return Err(A::Error::custom("a claim is there twice"));
                }
            }
            Ok(claims)
        }
    }
    deserializer.deserialize_map(Claims)
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        More(Vec<String>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::One(one) => vec![one],
        Written::More(more) => more,
    })
}

/// Whether a bearer token looks like a signed one: three parts.
#[must_use]
pub fn is_signed(token: &str) -> bool {
    token.split('.').count() == 3
}

/// Whose token this claims to be, and the name of the key: to find the issuer and its key. Nothing
/// of it is believed yet.
#[must_use]
pub fn claimed(token: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    if token.len() > LONGEST {
        return None;
    }
    let mut parts = token.split('.');
    let header: Header = decoded(parts.next()?)?;
    let issuer: Issuer = decoded(parts.next()?)?;
    Some((issuer.iss, header.kid?))
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
}

/// What a token is remembered by.
#[must_use]
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Checks a token at a time, in seconds since 1970.
///
/// # Errors
///
/// Why it is not believed.
pub fn verify(token: &str, expected: &Expected, keys: &Keys, now: i64) -> Result<Said, Refused> {
    if token.len() > LONGEST {
        return Err(Refused::Long);
    }
    let (message, signed) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(Refused::Malformed)?;
    let header: Header = decoded(header).ok_or(Refused::Malformed)?;
    let algorithm = Algorithm::named(&header.alg).ok_or(Refused::Algorithm)?;
    if !expected.algorithms.contains(&algorithm) {
        return Err(Refused::Algorithm);
    }
    let brought = [&header.crit, &header.jwk, &header.jku, &header.x5u, &header.x5c];
    if brought.iter().any(|brought| brought.is_some()) {
        return Err(Refused::Malformed);
    }
    let kind = header.typ.ok_or(Refused::Type)?.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    if !kind.eq_ignore_ascii_case(&expected.kind) {
        return Err(Refused::Type);
    }
    let key = header.kid.and_then(|name| keys.0.get(&name)).ok_or(Refused::Key)?;
    if key.algorithm.as_ref().is_some_and(|only| *only != header.alg) {
        return Err(Refused::Algorithm);
    }
    let signed = BASE64URL_NOPAD
        .decode(signed.as_bytes())
        .map_err(|_| Refused::Malformed)?;
    algorithm.verify(&key.public, message.as_bytes(), &signed)?;
    let claims: Claims = decoded(claims).ok_or(Refused::Malformed)?;
    if claims.iss != expected.issuer {
        return Err(Refused::Issuer);
    }
    if !claims.aud.contains(&expected.audience) {
        return Err(Refused::Audience);
    }
    let (from, until) = (
        claims.nbf.saturating_sub(expected.skew),
        claims.exp.saturating_add(expected.skew),
    );
    if now >= until {
        return Err(Refused::Expired);
    }
    if now < from {
        return Err(Refused::NotYet);
    }
    let text = |name: &str| match claims.others.get(name) {
        None => Ok(None),
        Some(serde_json::Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(Refused::Malformed),
    };
    Ok(Said {
        client: text(&expected.client_claim)?.ok_or(Refused::Malformed)?,
        officer: expected.officer_claim.as_deref().map(text).transpose()?.flatten(),
        roles: match expected.roles_claim.split_first() {
            None => None,
            Some((name, within)) => Some(claimed_roles(claims.others.get(name), within)?),
        },
        from,
        until,
    })
}

/// The roles in a claim: a list of texts, or one text with spaces between. Without the claim, none.
fn claimed_roles(claim: Option<&serde_json::Value>, within: &[String]) -> Result<Vec<String>, Refused> {
    let mut found = claim;
    for name in within {
        found = match found {
            None => None,
            Some(serde_json::Value::Object(claims)) => claims.get(name),
            Some(_) => return Err(Refused::Malformed),
        };
    }
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).ok_or(Refused::Malformed);
    match found {
        None => Ok(Vec::new()),
        Some(serde_json::Value::String(all)) => Ok(all.split(' ').map(str::to_owned).collect()),
        Some(serde_json::Value::Array(all)) => all.iter().map(text).collect(),
        Some(_) => Err(Refused::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use ring::hmac;
    use serde_json::{Value, json};
    use testkit::jwt::{Signer, message};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn keys(all: &[Value]) -> Keys {
        Keys::parse(json!({ "keys": all }).to_string().as_bytes()).unwrap()
    }

    fn expected() -> Expected {
        Expected {
            issuer: "https://id.example".to_owned(),
            audience: "remit".to_owned(),
            algorithms: vec![Algorithm::ES256],
            kind: "at+jwt".to_owned(),
            skew: 30,
            client_claim: "client_id".to_owned(),
            officer_claim: Some("officer".to_owned()),
            roles_claim: Vec::new(),
        }
    }

    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "a", "typ": "at+jwt" })
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example", "aud": ["other", "remit"], "nbf": NOW - 10, "exp": NOW + 300,
            "client_id": "desk", "officer": "o-17", "iat": NOW - 10, "scope": "anything",
        })
    }

    fn with(mut value: Value, key: &str, new: Value) -> Value {
        match new {
            Value::Null => value.as_object_mut().unwrap().remove(key).map(drop).unwrap_or_default(),
            new => value[key] = new,
        }
        value
    }

    #[test]
    fn a_token_of_the_issuer_says_who_calls_and_until_when() {
        let signer = Signer::new().unwrap();
        let keys = keys(&[signer.written("a"), Signer::new().unwrap().written("b")]);
        let said = verify(&signer.sign(&header(), &claims()).unwrap(), &expected(), &keys, NOW).unwrap();
        let wanted = Said {
            client: "desk".to_owned(),
            officer: Some("o-17".to_owned()),
            roles: None,
            from: NOW - 40,
            until: NOW + 330,
        };
        assert_eq!(said, wanted);
        for (header, claims) in [
            (header(), with(claims(), "aud", json!("remit"))),
            (with(header(), "typ", json!("application/AT+JWT")), claims()),
            (header(), with(claims(), "officer", Value::Null)),
        ] {
            verify(&signer.sign(&header, &claims).unwrap(), &expected(), &keys, NOW).unwrap();
        }
        assert_eq!(
            claimed(&signer.sign(&header(), &claims()).unwrap()),
            Some(("https://id.example".to_owned(), "a".to_owned()))
        );
    }

    #[test]
    fn whatever_is_wrong_missing_or_of_another_type_is_refused() {
        use Refused as R;
        let signer = Signer::new().unwrap();
        let keys = keys(&[
            signer.written("a"),
            with(signer.written("rs"), "alg", json!("RS256")),
            json!({ "kty": "RSA", "kid": "rsa", "n": BASE64URL_NOPAD.encode(&[0xff; 256]), "e": "AQAB" }),
        ]);
        let refused = |token: &str| verify(token, &expected(), &keys, NOW).unwrap_err();
        for (claim, value, why) in [
            ("exp", json!(NOW - 30), R::Expired),
            ("exp", json!((NOW + 300).to_string()), R::Malformed),
            ("exp", json!(1.8e9), R::Malformed),
            ("exp", Value::Null, R::Malformed),
            ("nbf", json!(NOW + 31), R::NotYet),
            ("nbf", json!((NOW - 10).to_string()), R::Malformed),
            ("nbf", Value::Null, R::Malformed),
            ("aud", json!("others"), R::Audience),
            ("aud", json!([]), R::Audience),
            ("aud", json!({ "a": "remit" }), R::Malformed),
            ("aud", Value::Null, R::Malformed),
            ("iss", json!("https://id.example/"), R::Issuer),
            ("iss", json!(["https://id.example"]), R::Malformed),
            ("iss", Value::Null, R::Malformed),
            ("client_id", json!(["desk"]), R::Malformed),
            ("client_id", json!(""), R::Malformed),
            ("client_id", Value::Null, R::Malformed),
            ("officer", json!(17), R::Malformed),
        ] {
            let claims = with(claims(), claim, value.clone());
            assert_eq!(
                refused(&signer.sign(&header(), &claims).unwrap()),
                why,
                "{claim}: {value}"
            );
        }
        for (field, value, why) in [
            ("alg", json!("none"), R::Algorithm),
            ("alg", json!("HS256"), R::Algorithm),
            ("alg", json!("ES384"), R::Algorithm),
            ("alg", json!("RS256"), R::Algorithm),
            ("alg", json!("es256"), R::Algorithm),
            ("alg", Value::Null, R::Malformed),
            ("kid", json!("z"), R::Key),
            ("kid", json!("rs"), R::Algorithm),
            ("kid", json!("rsa"), R::Algorithm),
            ("kid", Value::Null, R::Key),
            ("typ", json!("JWT"), R::Type),
            ("typ", Value::Null, R::Type),
            ("crit", json!(["exp"]), R::Malformed),
            ("jwk", signer.written("a"), R::Malformed),
            ("jku", json!("https://id.example"), R::Malformed),
            ("x5u", json!("https://id.example"), R::Malformed),
            ("x5c", json!(["MIIB"]), R::Malformed),
        ] {
            let header = with(header(), field, value.clone());
            assert_eq!(
                refused(&signer.sign(&header, &claims()).unwrap()),
                why,
                "{field}: {value}"
            );
        }

        // Twice, of which a reader elsewhere may take the other.
        for (name, other) in [
            ("client_id", "other"),
            ("officer", "o-18"),
            ("iss", "https://other.example"),
            ("note", "b"),
        ] {
            let mut claims = claims();
            for (name, value) in [("officer", "o-17"), ("note", "a")] {
                claims[name] = json!(value);
            }
            let header = header().to_string();
            let claims = claims.to_string();
            verify(&signer.sign_texts(&header, &claims).unwrap(), &expected(), &keys, NOW).unwrap();
            let doubled = claims.replacen('{', &format!("{{\"{name}\":\"{other}\","), 1);
            let token = signer.sign_texts(&header, &doubled).unwrap();
            assert_eq!(refused(&token), R::Malformed, "{doubled}");
        }

        // Right in all but that this issuer's are signed otherwise.
        let others = Expected {
            algorithms: vec![Algorithm::RS256, Algorithm::EdDSA],
            ..expected()
        };
        let token = signer.sign(&header(), &claims()).unwrap();
        assert_eq!(verify(&token, &others, &keys, NOW), Err(R::Algorithm));
        // Signed by another, by nobody, and with the public key for a secret.
        assert_eq!(
            refused(&Signer::new().unwrap().sign(&header(), &claims()).unwrap()),
            R::Signature
        );
        let unsigned = message(&header(), &claims());
        assert_eq!(refused(&format!("{unsigned}.")), R::Signature);
        assert_eq!(refused(&unsigned), R::Malformed);
        let confused = message(&with(header(), "alg", json!("HS256")), &claims());
        let secret = hmac::Key::new(hmac::HMAC_SHA256, signer.public());
        let tag = BASE64URL_NOPAD.encode(hmac::sign(&secret, confused.as_bytes()).as_ref());
        assert_eq!(refused(&format!("{confused}.{tag}")), R::Algorithm);
        // Changed after it was signed.
        let token = signer.sign(&header(), &claims()).unwrap();
        let (_, signed) = token.rsplit_once('.').unwrap();
        let other = message(&header(), &with(claims(), "client_id", json!("other")));
        assert_eq!(refused(&format!("{other}.{signed}")), R::Signature);
        for bad in ["", "..", "a.b.c", &format!("{token}="), &format!("{token}.x")] {
            assert!(matches!(refused(bad), R::Malformed | R::Algorithm), "{bad}");
        }
        let long = "a".repeat(1 << 20);
        assert_eq!(
            refused(&signer.sign(&header(), &with(claims(), "scope", json!(long))).unwrap()),
            R::Long
        );
        // A key that is said twice: which one counts, nobody knows.
        let doubled = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(br#"{"alg":"none","alg":"ES256","kid":"a","typ":"at+jwt"}"#),
            "e30"
        );
        assert_eq!(refused(&format!("{doubled}.AA")), R::Malformed);
    }

    /// Of another type they are no roles, and not none either.
    #[test]
    fn roles_are_read_from_their_claim_or_the_token_is_refused() {
        let signer = Signer::new().unwrap();
        let keys = keys(&[signer.written("a")]);
        let roles = |way: &[&str], claim: Value| {
            let expected = Expected {
                roles_claim: way.iter().map(ToString::to_string).collect(),
                ..expected()
            };
            let token = signer.sign(&header(), &with(claims(), "roles", claim)).unwrap();
            verify(&token, &expected, &keys, NOW).map(|said| said.roles)
        };
        let both = Some(vec!["desk".to_owned(), "reviewer".to_owned()]);
        for (way, claim, expected) in [
            (&["roles"][..], json!(["desk", "reviewer"]), Ok(both.clone())),
            (&["roles"], json!("desk reviewer"), Ok(both.clone())),
            (
                &["roles", "remit", "all"],
                json!({ "remit": { "all": ["desk", "reviewer"] } }),
                Ok(both),
            ),
            (&["roles"], Value::Null, Ok(Some(Vec::new()))),
            (&["roles", "remit"], json!({ "other": ["desk"] }), Ok(Some(Vec::new()))),
            (&["roles", "remit"], json!(["desk"]), Err(Refused::Malformed)),
            (&["roles"], json!({ "desk": true }), Err(Refused::Malformed)),
            (&["roles"], json!(["desk", 7]), Err(Refused::Malformed)),
            (&["roles"], json!(7), Err(Refused::Malformed)),
            (&[], json!(["desk"]), Ok(None)),
        ] {
            assert_eq!(roles(way, claim.clone()), expected, "{way:?} {claim}");
        }
    }

    #[test]
    fn a_set_of_keys_is_read_or_refused() {
        let key = Signer::new().unwrap().written("a");
        for (set, expected) in [
            (json!([]), "no set of keys"),
            (json!({ "keys": [] }), "no key"),
            (json!({ "keys": [with(key.clone(), "kid", Value::Null)] }), "no key"),
            (json!({ "keys": [with(key.clone(), "use", json!("enc"))] }), "no key"),
            (json!({ "keys": [with(key.clone(), "x", json!("AA"))] }), "no key"),
            (
                json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }] }),
                "no key",
            ),
            (json!({ "keys": [key, key] }), "two keys"),
            (json!({ "keys": vec![key.clone(); 65] }), "65 keys"),
        ] {
            let error = Keys::parse(set.to_string().as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{set}: {error}");
        }
        // What is of no use here hinders nothing.
        let set = json!({ "keys": [{ "kty": "new" }, 7, key] });
        assert!(Keys::parse(set.to_string().as_bytes()).unwrap().has("a"));
    }
}
