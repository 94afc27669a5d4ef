//! An issuer's key, and tokens that it signs.

use anyhow::{Context as _, anyhow};
use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// Signs with a key on P-256 (`ES256`).
#[derive(Debug)]
pub struct Signer(EcdsaKeyPair);

impl Signer {
    /// With a new key.
    pub fn new() -> anyhow::Result<Self> {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| anyhow!("no key"))?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random);
        Ok(Self(key.map_err(|error| anyhow!("{error}"))?))
    }

    /// Its public key.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// Its public key as one of a set (JWK), by this name.
    #[must_use]
    pub fn written(&self, name: &str) -> Value {
        let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let (x, y) = (part(&self.public()[1..33]), part(&self.public()[33..]));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": name, "x": x, "y": y })
    }

    /// A token.
    pub fn sign(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// A token of texts, whatever they are.
    pub fn sign_texts(&self, header: &str, claims: &str) -> anyhow::Result<String> {
        let message = message_of_texts(header, claims);
        let signed = self.0.sign(&SystemRandom::new(), message.as_bytes());
        let signed = signed.ok().context("not signed")?;
        Ok(format!("{message}.{}", BASE64URL_NOPAD.encode(signed.as_ref())))
    }
}

/// What of a token is signed.
#[must_use]
pub fn message(header: &Value, claims: &Value) -> String {
    message_of_texts(&header.to_string(), &claims.to_string())
}

fn message_of_texts(header: &str, claims: &str) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}", part(header), part(claims))
}
