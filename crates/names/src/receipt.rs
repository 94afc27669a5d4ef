//! Receipt codes as people copy and type them: Crockford's base 32, in groups of four.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

use crate::text;

/// Bytes of a typed code at most; it has a few dozen letters, which people separate in many ways.
const LONGEST: usize = 500;

static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut crockford = Specification::new();
    crockford.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    crockford
        .encoding()
        .expect("Crockford's alphabet has 32 different symbols")
});

/// The code of these bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let code = CROCKFORD.encode(bytes);
    let groups: Vec<_> = code
        .as_bytes()
        .chunks(4)
        .map(|group| String::from_utf8_lossy(group))
        .collect();
    groups.join("-")
}

/// A typed code in its one form, without separators, with the letters that look like others read as
/// those. Works for any text, in the same time whether it is a code: one that is too long to be a
/// code becomes the empty one.
#[must_use]
pub fn normal(typed: &str) -> String {
    let typed = if typed.len() > LONGEST { "" } else { typed };
    text::code(typed)
        .chars()
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        })
        .collect()
}

/// The bytes of a code in its one form; none if it is no code.
#[must_use]
pub fn decode(normal: &str) -> Vec<u8> {
    CROCKFORD.decode(normal.as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = encode(&[0, 1, 2, 30, 31, 255, 16, 8, 4, 99, 7, 5, 3, 2, 1]);
        assert_eq!(code.len(), 29);
        let plain = code.replace('-', "");
        assert_eq!(normal(&code), plain);
        assert_eq!(encode(&decode(&plain)), code);
        for typed in [
            code.to_lowercase().replace('0', "o").replace('1', "i"),
            code.replace('-', " \u{2013} "),
        ] {
            assert_eq!(normal(&typed), plain, "{typed}");
        }
        assert_eq!(normal(&"-".repeat(501)), "");
        assert!(decode("!").is_empty());
    }
}
