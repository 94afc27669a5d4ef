//! Page tokens: opaque, and bound to their filter.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

use crate::Failure;

const DEFAULT_SIZE: u32 = 100;
const LARGEST_SIZE: u32 = 1_000;
const CHECK: usize = 8;

/// The page size: 0 means 100, more than 1,000 means 1,000.
pub fn size(page_size: i32) -> Result<u32, Failure> {
    match u32::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(LARGEST_SIZE)),
        Err(_) => Err(Failure::invalid("page_size", "must not be negative")),
    }
}

/// A token that continues after `cursor`, for requests with the same `filter`.
pub fn encode(filter: &str, cursor: &str) -> String {
    BASE64URL_NOPAD.encode(&[&check(filter, cursor.as_bytes()), cursor.as_bytes()].concat())
}

/// Truncates results, which include one more than a page, to a page. Returns the token of the next
/// page, which continues after the `cursor` of the last item; empty on the last page.
pub fn cut<T>(found: &mut Vec<T>, size: u32, filter: &str, cursor: impl FnOnce(&T) -> String) -> String {
    let size = size as usize;
    let more = found.len() > size;
    found.truncate(size);
    match found.last() {
        Some(last) if more => encode(filter, &cursor(last)),
        _ => String::new(),
    }
}

/// The cursor in a token; `None` without a token.
pub fn decode(filter: &str, token: &str) -> Result<Option<String>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid = || {
        Failure::invalid(
            "page_token",
            "is not a token of this server for this request; start without one",
        )
    };
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| invalid())?;
    let (sum, cursor) = bytes.split_at_checked(CHECK).ok_or_else(invalid)?;
    if sum != check(filter, cursor) {
        return Err(invalid());
    }
    String::from_utf8(cursor.to_vec()).map(Some).map_err(|_| invalid())
}

/// Ties a cursor to its filter. It keeps honest callers from mistakes; the cursor itself is no
/// secret, and what it leads to is checked like any other read.
fn check(filter: &str, cursor: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::new()
        .chain_update(b"remit-page-v1")
        .chain_update(filter)
        .chain_update([0])
        .chain_update(cursor)
        .finalize();
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_filter_only() {
        let token = encode("cases state=2", "1795/abc");
        assert_eq!(decode("cases state=2", &token).unwrap().as_deref(), Some("1795/abc"));
        assert_eq!(decode("cases state=2", "").unwrap(), None);
        for (filter, token) in [
            ("cases state=3", token.as_str()),
            ("cases state=2", "garbage"),
            ("cases state=2", "!"),
            ("cases state=2", "AAAA"),
        ] {
            assert!(decode(filter, token).is_err(), "{filter} {token}");
        }
    }

    #[test]
    fn what_was_found_is_cut_to_a_page() {
        let cut = |mut found: Vec<u32>| {
            let token = cut(&mut found, 2, "numbers", ToString::to_string);
            (found, decode("numbers", &token).unwrap())
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
