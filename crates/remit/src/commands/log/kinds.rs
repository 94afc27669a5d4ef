//! Descriptions of the kinds of changes.

use journal::Kind;

/// A kind in English and Chinese; its name if this version does not know it.
pub(super) fn in_words(kind: &str) -> String {
    match Kind::from_name(kind) {
        Some(known) => format!("{} · {}", known.en(), known.zh()),
        None => kind.to_owned(),
    }
}
