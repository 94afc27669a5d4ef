//! Receipts: bearer codes, derived from the report's id and stored only as a keyed hash.
//!
//! A code has 120 bits: 48 for the report's time, which its id begins with and which is no secret
//! to the holder, and 72 of HMAC-SHA-256 under the receipt key. So a repeated request gets the same
//! code, nobody can make one without the key, and the report is found through the order of ids: an
//! index over hashes would cost every acceptance a page of its own. Codes are written in
//! Crockford's base 32, in groups of four.

use journal::{Bytes32, keyed_hash};
use uuid::Uuid;

/// Makes and parses receipt codes.
#[derive(Clone)]
pub struct Receipts {
    key: Bytes32,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipts")
    }
}

/// Bytes of the id and of the HMAC in a code.
const TIME: usize = 6;
const SHOWN: usize = 9;

impl Receipts {
    /// Uses the receipt key. Whoever has it can follow every report.
    pub const fn new(key: Bytes32) -> Self {
        Self { key }
    }

    /// The code of a report.
    pub fn code(&self, report: Uuid) -> String {
        let mac = keyed_hash(&self.key, "receipt-v1", report.as_bytes());
        names::receipt::encode(&[&report.as_bytes()[..TIME], &mac[..SHOWN]].concat())
    }

    /// Converts a code to look-up criteria. Works for any text: a malformed code takes the same
    /// path and time as a wrong one.
    pub fn lookup(&self, code: &str) -> Lookup {
        let normal = names::receipt::normal(code);
        let bytes = names::receipt::decode(&normal);
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

/// Look-up criteria of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Lowest and highest possible id of the report.
    pub ids: (Uuid, Uuid),
    /// The keyed hash stored with the report.
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
        let lookup = receipts.lookup(&code);
        let sloppy = code.to_lowercase().replace('0', "o").replace('1', "l");
        let wide = |c: char| char::from_u32(u32::from(c) + 0xfee0).unwrap();
        for typed in [
            sloppy.replace('-', " "),
            sloppy.replace('-', ""),
            sloppy.replace('-', "\u{2013}"),
            sloppy.replace('-', "\u{a0}"),
            format!("{code}\n"),
            format!("\u{feff}{code}\u{200b}"),
            code.chars().map(wide).collect(),
        ] {
            assert_eq!(lookup, receipts.lookup(&typed), "{typed:?}");
        }
        for other in [
            format!("{code}x"),
            code[1..].to_owned(),
            format!("{code}{}1", "-".repeat(500)),
        ] {
            assert_ne!(lookup, receipts.lookup(&other), "{other:?}");
        }
        assert!(lookup.ids.0 <= report && report <= lookup.ids.1);
        assert_ne!(lookup.hash, Receipts::new([8; 32]).lookup(&code).hash);
        assert_ne!(code, receipts.code(Uuid::nil()));
    }
}
