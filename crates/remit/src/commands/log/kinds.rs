//! What the kinds of changes mean, in words.

use journal::Kind;

/// A kind in words, English and Chinese; the kind itself when this version does not know it.
pub(super) fn in_words(kind: &str) -> String {
    match Kind::from_name(kind) {
        Some(known) => format!("{} · {}", known.en(), known.zh()),
        None => kind.to_owned(),
    }
}
