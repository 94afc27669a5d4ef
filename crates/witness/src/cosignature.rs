//! `cosignature/v1`: a statement that, at a given time, a checkpoint is the largest one seen of its
//! log and consistent with all earlier ones (C2SP tlog-cosignature).

use data_encoding::BASE64;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use journal::{Bytes32, Time};
use signed_note::{Note, NoteError, Signature, Verifier, VerifierList};

/// Signature type of ordinary Ed25519 note signatures.
const ORDINARY: u8 = 1;
/// Signature type of timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 4;
/// Eight bytes of time and the signature.
const LENGTH: usize = 8 + ed25519_dalek::SIGNATURE_LENGTH;

/// A text that is not a cosigner's verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is expected; it looks like NAME+12345678+B… with the type 4 of tlog-cosignature",
    Self::FORM
)]
pub struct KeyError;

impl KeyError {
    const FORM: &str = "the verifier key of a cosigner";
}

/// Makes cosignatures under a name.
#[derive(Clone)]
pub struct Cosigner {
    key: CosignerKey,
    secret: SigningKey,
}

impl std::fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cosigner").field(&self.key).finish()
    }
}

impl Cosigner {
    /// A cosigner with the Ed25519 key of a seed. The name must be a C2SP key name: not empty, no
    /// spaces, no plus signs.
    pub fn new(name: &str, seed: &Bytes32) -> Self {
        let secret = SigningKey::from_bytes(seed);
        let key = CosignerKey::new(name, secret.verifying_key());
        Self { key, secret }
    }

    /// The key that verifies the cosignatures.
    pub fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// Cosigns a checkpoint's text, including its final newline. The time is truncated to whole
    /// seconds.
    pub fn sign(&self, text: &[u8], now: Time) -> Result<Signature, NoteError> {
        // A cosignature with time 0 makes a weaker statement, and the format has no times before
        // 1970.
        let time = u64::try_from(now.0 / 1_000_000).unwrap_or(0).max(1);
        let signature = self.secret.sign(&message(text, time)).to_bytes();
        let bytes = [&time.to_be_bytes()[..], &signature].concat();
        Signature::new(self.key.name.clone(), self.key.id, bytes)
    }
}

/// A verified cosignature.
#[derive(Clone, Debug, PartialEq)]
pub struct Cosignature {
    /// Time of the cosignature, in seconds since 1970.
    pub time: u64,
    /// The signature itself.
    pub signature: Signature,
}

/// The key that verifies one cosigner's cosignatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignerKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl CosignerKey {
    /// The key under a name.
    pub fn new(name: &str, key: VerifyingKey) -> Self {
        let id = signed_note::key_id(name, &[&[COSIGNATURE], &key.to_bytes()[..]].concat());
        let name = name.to_owned();
        Self { name, id, key }
    }

    /// Parses a verifier key, `name+id+base64`.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError);
        };
        let bytes = BASE64.decode(key.as_bytes()).map_err(|_| KeyError)?;
        let (&[COSIGNATURE], key) = bytes.split_at_checked(1).ok_or(KeyError)? else {
            return Err(KeyError);
        };
        let key = key.try_into().map_err(|_| KeyError)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| KeyError)?;
        let parsed = Self::new(name, key);
        match signed_note::is_key_name_valid(name) && id == format!("{:08x}", parsed.id) {
            true => Ok(parsed),
            false => Err(KeyError),
        }
    }

    /// The cosigner key of the owner of an ordinary Ed25519 note key: same name and same public
    /// key, used for timestamped signatures.
    pub fn beside(vkey: &str) -> Result<Self, KeyError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError);
        };
        let bytes = BASE64.decode(key.as_bytes()).map_err(|_| KeyError)?;
        let (&[ORDINARY], key) = bytes.split_at_checked(1).ok_or(KeyError)? else {
            return Err(KeyError);
        };
        let key = key.try_into().map_err(|_| KeyError)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| KeyError)?;
        Ok(Self::new(name, key))
    }

    /// Formats the verifier key, `name+id+base64`.
    pub fn vkey(&self) -> String {
        let key = BASE64.encode(&[&[COSIGNATURE], &self.key.to_bytes()[..]].concat());
        format!("{}+{:08x}+{key}", self.name, self.id)
    }

    /// The public key.
    pub fn public(&self) -> &VerifyingKey {
        &self.key
    }

    /// Returns this cosigner's signature on a checkpoint, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the signature does not verify: such a note is malformed, whatever else it carries.
    pub fn find(&self, note: &Note) -> Result<Option<Cosignature>, NoteError> {
        match note.verify(&VerifierList::new(vec![Box::new(self.clone())])) {
            Ok((verified, _)) => Ok(verified.into_iter().next().map(|signature| Cosignature {
                time: time(signature.signature()).unwrap_or_default(),
                signature,
            })),
            Err(NoteError::UnverifiedNote) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Verifier for CosignerKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let (Some(time), Some((_, signature))) = (time(signature), signature.split_at_checked(8)) else {
            return false;
        };
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(&message(text, time), &signature).is_ok())
    }
}

/// The time of a cosignature; `None` if the bytes cannot be one.
fn time(signature: &[u8]) -> Option<u64> {
    let time = u64::from_be_bytes(*signature.first_chunk()?);
    (signature.len() == LENGTH && time > 0 && i64::try_from(time).is_ok()).then_some(time)
}

fn message(text: &[u8], time: u64) -> Vec<u8> {
    [format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    /// The specification's example, made by independent code.
    const SPECIFIED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    fn note(signature: Signature) -> Note {
        Note::new(TEXT, &[signature]).unwrap()
    }

    #[test]
    fn a_cosignature_verifies_with_its_key_only() {
        let cosigner = Cosigner::new("witness.test/w1", &[1; 32]);
        let signature = cosigner.sign(TEXT, Time(1_679_315_147_999_999)).unwrap();
        let found = cosigner.key().find(&note(signature.clone())).unwrap().unwrap();
        assert_eq!(found.time, 1_679_315_147);
        for other in [
            Cosigner::new("witness.test/w1", &[2; 32]),
            Cosigner::new("witness.test/w2", &[1; 32]),
        ] {
            assert_eq!(other.key().find(&note(signature.clone())).unwrap(), None);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_cosignature_is_detected() {
        let cosigner = Cosigner::new("witness.test/w1", &[1; 32]);
        let good = cosigner.sign(TEXT, Time(1_679_315_147_000_000)).unwrap();
        for bit in 0..8 * LENGTH {
            let mut bytes = good.signature().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bad = Signature::new(good.name().to_owned(), good.id(), bytes).unwrap();
            assert!(cosigner.key().find(&note(bad)).is_err(), "bit {bit}");
        }
        for cut in [0, 1, 8, LENGTH - 1] {
            assert!(!cosigner.key().verify(TEXT, &good.signature()[..cut]), "{cut} bytes");
        }
    }

    #[test]
    fn keys_are_formatted_and_parsed_as_specified() {
        let key = Cosigner::new("witness.test/w1", &[1; 32]).key().clone();
        assert_eq!(CosignerKey::parse(&key.vkey()).unwrap(), key);
        // The type must be 4: an ordinary note key is refused.
        let ordinary = signed_note::new_ed25519_verifier_key("witness.test/w1", key.public());
        for wrong in [
            "",
            "a+b",
            "witness.test/w1+00000000+BA==",
            &ordinary,
            &key.vkey().replace("w1+", "w2+"),
            &key.vkey()[..60],
        ] {
            assert_eq!(CosignerKey::parse(wrong), Err(KeyError), "{wrong}");
        }
    }

    #[test]
    fn the_specification_example_verifies() {
        let note = Note::from_bytes(SPECIFIED.as_bytes()).unwrap();
        assert_eq!(note.text(), TEXT);
        let line = SPECIFIED.lines().last().unwrap();
        let signature = Signature::from_bytes(line.as_bytes()).unwrap();
        assert_eq!(time(signature.signature()), Some(1_679_315_147));
        assert_eq!(
            message(TEXT, 1_679_315_147),
            [b"cosignature/v1\ntime 1679315147\n", TEXT].concat()
        );
    }
}
