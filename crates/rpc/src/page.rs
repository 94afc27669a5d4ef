//! Page and resume tokens: opaque, authenticated, and bound to the filter that they were made for.
//!
//! A token holds a position: a place in a list, or in the feed that everybody's changes pass through. It is sealed under a key
//! of the service's database, so that nobody reads from it how much happened to others, and nobody makes one.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use journal::{Bytes32, SystemEntropy};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sql::Db;
use tokio::sync::OnceCell;

use crate::Failure;

const DEFAULT_SIZE: u32 = 100;
const LARGEST_SIZE: u32 = 1_000;
/// Positions are padded to a multiple of this, so that the length of a token does not tell that of a number.
const BLOCK: usize = 32;

/// How many items a page has: 0 means 100, more than 1,000 means 1,000.
pub fn size(page_size: i32) -> Result<u32, Failure> {
    match u32::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(LARGEST_SIZE)),
        Err(_) => Err(Failure::invalid("page_size", "must not be negative")),
    }
}

/// Seals the tokens of a service, whose database has the key.
#[derive(Clone)]
pub struct Tokens {
    db: Db,
    seal: Arc<OnceCell<Seal>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// With the key of a database that has the journal's schema.
    pub fn of(db: &Db) -> Self {
        let (db, seal) = (db.clone(), Arc::default());
        Self { db, seal }
    }

    /// What makes and reads tokens. The key is read once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seal(&self) -> Result<Seal, Failure> {
        let read = async || {
            let db = self.db.clone();
            // A statement that is begun is ended, whoever goes away.
            let key = journal::uncancelled(async move { journal::token_key(&db, &SystemEntropy).await });
            Ok::<_, Failure>(Seal::new(&key.await?))
        };
        self.seal.get_or_try_init(read).await.cloned()
    }
}

/// Makes and reads tokens.
#[derive(Clone)]
pub struct Seal(Arc<Keys>);

struct Keys {
    cipher: LessSafeKey,
    nonces: ring::hmac::Key,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// Under a key.
    ///
    /// # Panics
    /// Never: the key is as long as the cipher's.
    pub fn new(key: &Bytes32) -> Self {
        let root = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let derived = |purpose: &str| ring::hmac::sign(&root, purpose.as_bytes());
        let cipher = UnboundKey::new(&CHACHA20_POLY1305, derived("remit-token-cipher-v1").as_ref());
        Self(Arc::new(Keys {
            cipher: LessSafeKey::new(cipher.expect("32 bytes")),
            nonces: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, derived("remit-token-nonce-v1").as_ref()),
        }))
    }

    /// A token that goes on after `cursor`, for requests with the same `filter`.
    ///
    /// # Panics
    /// Never: a cursor is far shorter than what the cipher takes.
    pub fn encode(&self, filter: &str, cursor: &str) -> String {
        let mut sealed = cursor.as_bytes().to_vec();
        sealed.push(0x80);
        sealed.resize(sealed.len().next_multiple_of(BLOCK), 0);
        // From what is sealed, so that no nonce comes twice with another text, and no randomness is needed.
        let mut hashed = ring::hmac::Context::with_key(&self.0.nonces);
        hashed.update(filter.as_bytes());
        hashed.update(&[0]);
        hashed.update(cursor.as_bytes());
        let hash = hashed.sign();
        let nonce: [u8; NONCE_LEN] = std::array::from_fn(|i| hash.as_ref()[i]);
        self.0
            .cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(filter), &mut sealed)
            .expect("short enough");
        BASE64URL_NOPAD.encode(&[&nonce[..], &sealed].concat())
    }

    /// Cuts what was found to a page, where one more than a page was looked for, and returns the token of the next page: that
    /// goes on after the `cursor` of the last item. Empty on the last page.
    pub fn cut<T>(&self, found: &mut Vec<T>, size: u32, filter: &str, cursor: impl FnOnce(&T) -> String) -> String {
        let size = size as usize;
        let more = found.len() > size;
        found.truncate(size);
        match found.last() {
            Some(last) if more => self.encode(filter, &cursor(last)),
            _ => String::new(),
        }
    }

    /// The cursor in a token; `None` when there is no token.
    pub fn decode(&self, filter: &str, token: &str) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        match self.open(filter, token) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(Failure::invalid(
                "page_token",
                "is not one that this server gave for this request; start without one",
            )),
        }
    }

    fn open(&self, filter: &str, token: &str) -> Option<String> {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .0
            .cipher
            .open_in_place(nonce, Aad::from(filter), &mut sealed)
            .ok()?;
        let end = opened.iter().rposition(|byte| *byte == 0x80)?;
        String::from_utf8(opened[..end].to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        Seal::new(&[7; 32])
    }

    #[test]
    fn a_token_fits_its_filter_its_key_and_nothing_else() {
        let token = seal().encode("cases state=2", "1795/abc");
        assert_eq!(
            seal().decode("cases state=2", &token).unwrap().as_deref(),
            Some("1795/abc")
        );
        assert_eq!(seal().decode("cases state=2", "").unwrap(), None);
        let mut forged = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
        forged[NONCE_LEN] ^= 1;
        let forged = BASE64URL_NOPAD.encode(&forged);
        for (filter, token) in [
            ("cases state=3", token.as_str()),
            ("cases state=2", forged.as_str()),
            ("cases state=2", &token[..token.len() - 1]),
            ("cases state=2", "garbage"),
            ("cases state=2", "!"),
            ("cases state=2", "AAAA"),
        ] {
            assert!(seal().decode(filter, token).is_err(), "{filter} {token}");
        }
        assert!(Seal::new(&[8; 32]).decode("cases state=2", &token).is_err());
    }

    #[test]
    fn p7_a_token_does_not_tell_its_position() {
        let token = |position: u64| {
            let token = seal().encode("WatchCases agency=police-CN", &position.to_string());
            BASE64URL_NOPAD.decode(token.as_bytes()).unwrap()
        };
        let (few, many) = (token(7), token(u64::MAX));
        assert_eq!(few.len(), many.len(), "nor how many digits it has");
        for (position, token) in [("7", &few), ("18446744073709551615", &many)] {
            assert!(!token.windows(position.len()).any(|part| part == position.as_bytes()) || position.len() == 1);
        }
        // Neighbours share nothing but their length.
        let same = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        assert!(same(&token(1_000), &token(1_001)) < 16);
    }

    #[test]
    fn what_was_found_is_cut_to_a_page() {
        let cut = |mut found: Vec<u32>| {
            let token = seal().cut(&mut found, 2, "numbers", ToString::to_string);
            (found, seal().decode("numbers", &token).unwrap())
        };
        assert_eq!(cut(vec![5, 6, 7]), (vec![5, 6], Some("6".to_owned())));
        assert_eq!(cut(vec![5, 6]), (vec![5, 6], None));
        assert_eq!(cut(vec![]), (vec![], None));
    }

    #[test]
    fn sizes_have_a_default_and_a_limit() {
        assert_eq!([0, 7, 5_000].map(|n| size(n).unwrap()), [100, 7, 1_000]);
        assert!(size(-1).is_err());
    }
}
