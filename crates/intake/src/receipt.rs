//! Receipts: bearer codes, derived from the report's id and stored only as a keyed hash.
//!
//! A code is 120 bits of HMAC-SHA-256 under the receipt key, so a repeated request gets the same one, and nobody without
//! the key makes one. It is written in Crockford's base 32, in groups of four.

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

/// Bytes of the HMAC that a code shows.
const SHOWN: usize = 15;

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
        let code = self.alphabet.encode(&mac[..SHOWN]);
        let groups: Vec<_> = code
            .as_bytes()
            .chunks(4)
            .map(|group| String::from_utf8_lossy(group))
            .collect();
        groups.join("-")
    }

    /// What a code is stored and looked up as. Any text has a hash: a malformed code takes the same way, and the same
    /// time, as a wrong one.
    pub fn hash(&self, code: &str) -> Bytes32 {
        let normal: String = code
            .chars()
            .filter(|c| !matches!(c, '-' | ' '))
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            })
            .collect();
        keyed_hash(&self.key, "receipt-hash-v1", normal.as_bytes())
    }
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
        assert_eq!(receipts.hash(&code), receipts.hash(&sloppy));
        assert_ne!(receipts.hash(&code), Receipts::new([8; 32]).hash(&code));
        assert_ne!(code, receipts.code(Uuid::nil()));
    }
}
