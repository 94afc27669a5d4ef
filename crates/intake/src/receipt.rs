//! Receipts: bearer codes, derived from the report's id and stored only as a keyed hash.
//!
//! A code is 120 bits: the 48 of the report's time, which its id begins with and which is no secret to who has the code,
//! and 72 of HMAC-SHA-256 under the receipt key. So a repeated request gets the same one, nobody without the key makes one,
//! and a report is found by its id's order: an index over hashes would cost every acceptance a page of its own. It is
//! written in Crockford's base 32, in groups of four.

use data_encoding::{Encoding, Specification};
use journal::{Bytes32, keyed_hash};
use uuid::Uuid;

/// Makes and looks up receipts.
pub struct Receipts {
    key: Bytes32,
    alphabet: Encoding,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipts")
    }
}

/// Bytes of the id, and of the HMAC, that a code shows.
const TIME: usize = 6;
const SHOWN: usize = 9;

impl Receipts {
    /// With the receipt key. Whoever has it can follow every report.
    pub fn new(key: Bytes32) -> Self {
        let mut crockford = Specification::new();
        crockford.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
        Self {
            key,
            alphabet: crockford
                .encoding()
                .expect("Crockford's alphabet has 32 different symbols"),
        }
    }

    /// The code of a report.
    pub fn code(&self, report: Uuid) -> String {
        let mac = keyed_hash(&self.key, "receipt-v1", report.as_bytes());
        let code = self
            .alphabet
            .encode(&[&report.as_bytes()[..TIME], &mac[..SHOWN]].concat());
        let groups: Vec<_> = code
            .as_bytes()
            .chunks(4)
            .map(|group| String::from_utf8_lossy(group))
            .collect();
        groups.join("-")
    }

    /// What a code is looked up by. Any text has that: a malformed code takes the same way, and the same time, as a wrong one.
    pub fn lookup(&self, code: &str) -> Lookup {
        let normal: String = code
            .chars()
            .filter(|c| !matches!(c, '-' | ' '))
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            })
            .collect();
        let bytes = self.alphabet.decode(normal.as_bytes()).unwrap_or_default();
        let time = bytes.first_chunk::<TIME>().copied().unwrap_or_default();
        let bound = |rest: u8| {
            let mut id = [rest; 16];
            id[..TIME].copy_from_slice(&time);
            Uuid::from_bytes(id)
        };
        Lookup {
            ids: (bound(0), bound(0xff)),
            hash: keyed_hash(&self.key, "receipt-hash-v1", normal.as_bytes()),
        }
    }
}

/// What a receipt is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The lowest and the highest id that its report can have.
    pub ids: (Uuid, Uuid),
    /// The keyed hash that is stored with the report.
    pub hash: Bytes32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_stable_and_forgiving() {
        let receipts = Receipts::new([7; 32]);
        let report = Uuid::from_u128(0x6f1d_2c3b_4a59_4687_8776_6655_4433_2211);
        let code = receipts.code(report);
        assert_eq!(code, receipts.code(report));
        assert_eq!(code.len(), 29, "{code}");
        let sloppy = code
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        let lookup = receipts.lookup(&code);
        assert_eq!(lookup, receipts.lookup(&sloppy));
        assert!(lookup.ids.0 <= report && report <= lookup.ids.1);
        assert_ne!(lookup.hash, Receipts::new([8; 32]).lookup(&code).hash);
        assert_ne!(code, receipts.code(Uuid::nil()));
    }
}
