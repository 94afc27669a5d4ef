//! Page and resume tokens: opaque, authenticated, and bound to a filter.
//!
//! A token contains a position: in a list, or in the feed of everybody's changes. It is encrypted
//! under a key of the service's database, so that nobody can read from it how much happened to
//! others, or make one.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use journal::{Bytes32, SystemEntropy};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sql::Db;
use tokio::sync::OnceCell;

use crate::Failure;

const DEFAULT_SIZE: u32 = 100;
const LARGEST_SIZE: u32 = 1_000;
/// Positions are padded to a multiple of this length, which hides the number of digits.
const BLOCK: usize = 32;

/// The number of items in a page: 0 means 100, more than 1,000 means 1,000.
pub fn size(page_size: i32) -> Result<u32, Failure> {
    match u32::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(LARGEST_SIZE)),
        Err(_) => Err(Failure::invalid("page_size", "must not be negative")),
    }
}

/// The tokens of a service, under the key in its database.
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
    /// Tokens under the key of a database with the journal's schema.
    pub fn of(db: &Db) -> Self {
        let (db, seal) = (db.clone(), Arc::default());
        Self { db, seal }
    }

    /// Makes and reads tokens. The key is read once; a caller that is cancelled meanwhile leaves it
    /// to the next.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn seal(&self) -> Result<Seal, Failure> {
        let read = async || {
            let key = journal::token_key(&self.db, &SystemEntropy).await?;
            Ok::<_, Failure>(Seal::new(&key))
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
    /// Tokens under a key.
    ///
    /// # Panics
    /// Never: the key has the cipher's length.
    pub fn new(key: &Bytes32) -> Self {
        let root = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let derived = |purpose: &str| ring::hmac::sign(&root, purpose.as_bytes());
        let cipher = UnboundKey::new(&CHACHA20_POLY1305, derived("remit-token-cipher-v1").as_ref());
        Self(Arc::new(Keys {
            cipher: LessSafeKey::new(cipher.expect("32 bytes")),
            nonces: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, derived("remit-token-nonce-v1").as_ref()),
        }))
    }

    /// A token to continue after `cursor`, for requests with the same `filter`.
    ///
    /// # Panics
    /// Never: a cursor is far below the cipher's limit.
    pub fn encode(&self, filter: &str, cursor: &str) -> String {
        let mut sealed = cursor.as_bytes().to_vec();
        sealed.push(0x80);
        sealed.resize(sealed.len().next_multiple_of(BLOCK), 0);
        // Derived from the text: no nonce is used for two texts, and no randomness is needed.
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

    /// Cuts the items found to a page and returns the token of the next, which continues after the
    /// `cursor` of the last item; empty on the last page. Search for one item more than a page.
    pub fn cut<T>(&self, found: &mut Vec<T>, size: u32, filter: &str, cursor: impl FnOnce(&T) -> String) -> String {
        let size = size as usize;
        let more = found.len() > size;
        found.truncate(size);
        match found.last() {
            Some(last) if more => self.encode(filter, &cursor(last)),
            _ => String::new(),
        }
    }

    /// The cursor in a token, parsed; `None` without a token.
    ///
    /// # Errors
    /// A violation of `page_token` if it is not a token for this filter, or `parse` refuses its
    /// cursor: another release may have written that. Starting from the beginning instead would
    /// repeat pages.
    pub fn position<T>(
        &self,
        filter: &str,
        token: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let cursor = self.decode(filter, token)?;
        cursor.map(|cursor| parse(&cursor).ok_or_else(foreign)).transpose()
    }

    /// The cursor in a token; `None` without a token.
    pub fn decode(&self, filter: &str, token: &str) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        match self.open(filter, token) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(foreign()),
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

fn foreign() -> Failure {
    let description = "is not one that this server gave for this request; start without one";
    Failure::invalid("page_token", description)
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
    fn an_unreadable_position_is_refused_rather_than_taken_for_the_beginning() {
        let position = |cursor: &str| {
            let token = seal().encode("numbers", cursor);
            seal().position("numbers", &token, |text| text.parse::<u64>().ok())
        };
        assert_eq!(position("17").unwrap(), Some(17));
        assert!(matches!(position("seventeen"), Err(Failure::InvalidInput(_))));
        let none = seal().position("numbers", "", |text| text.parse::<u64>().ok());
        assert_eq!(none.unwrap(), None);
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
        // Tokens of neighbouring cursors have only their length in common.
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
