//! Reads the YAML files that people write: agencies, rules, categories, calendars.
//!
//! A key without a value (`urgent:`, `victim: ~`) is refused, wherever it stands. Serde reads it as
//! an absent key, and an absent condition is a wider one: a row would take what its author kept
//! out. The same for an item of a list. Keys that occur twice are refused by the parser. A text with
//! a control character, which an escape such as `\e` makes, is refused too: what is loaded from files
//! is shown on terminals and in forms.
//!
//! `nearest` says which word was meant where one is unknown, in these files and elsewhere.
//!
//! A crate of its own, because `decision` and `intake` both read such files and neither knows the
//! other. It imports no transport and no database.

use std::fmt;

use api::text::{Form, called, control};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
pub use serde_saphyr::{Location, Spanned};

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not YAML or has a different structure. Parsing stops at the first such fault.
    #[error("{0}")]
    Shape(#[source] Box<serde_saphyr::Error>),
    /// Keys or items have no value, or one with a control character. Lists all of them, each with
    /// line and column.
    #[error("{}", .0.join("; "))]
    Empty(Vec<String>),
}

/// Of these words, the one that was probably meant.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // As near as clap wants options to be.
    words
        .into_iter()
        .map(|other| (strsim::jaro_winkler(word, other), other))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}

/// Reads a file of one document.
///
/// # Errors
/// See [`Error`].
pub fn read<'de, T: Deserialize<'de>>(yaml: &'de str) -> Result<T, Error> {
    // Without a value first: what the other fault of the line says would mislead.
    match serde_saphyr::from_str::<Spanned<Node>>(yaml) {
        Ok(whole) => filled(&[whole])?,
        Err(error) => return Err(better(serde_saphyr::from_str::<T>(yaml).err(), error)),
    }
    serde_saphyr::from_str(yaml).map_err(shape)
}

/// Reads a file of several documents, separated by `---`.
///
/// # Errors
/// See [`Error`].
pub fn read_documents<'de, T: Deserialize<'de>>(yaml: &'de str) -> Result<Vec<T>, Error> {
    match serde_saphyr::from_multiple::<Spanned<Node>>(yaml) {
        Ok(documents) => filled(&documents)?,
        Err(error) => return Err(better(serde_saphyr::from_multiple::<T>(yaml).err(), error)),
    }
    serde_saphyr::from_multiple(yaml).map_err(shape)
}

fn shape(error: serde_saphyr::Error) -> Error {
    Error::Shape(Box::new(error))
}

/// The fault as the expected structure tells it; otherwise as found without one.
fn better(typed: Option<serde_saphyr::Error>, untyped: serde_saphyr::Error) -> Error {
    shape(typed.unwrap_or(untyped))
}

fn filled(documents: &[Spanned<Node>]) -> Result<(), Error> {
    let mut faults = Vec::new();
    for document in documents {
        document.value.collect(&mut faults);
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Empty(faults)),
    }
}

/// What a file contains, as far as it matters here.
enum Node {
    Empty,
    Value,
    /// A text with a character that it must not have.
    Refused(char),
    List(Vec<Spanned<Node>>),
    Keys(Vec<(Spanned<Key>, Node)>),
}

/// A key as text; keys of other kinds are told by their place only.
struct Key(String);

impl Node {
    fn collect(&self, faults: &mut Vec<String>) {
        match self {
            Self::Empty | Self::Value | Self::Refused(_) => {}
            Self::List(items) => {
                for item in items {
                    match item.value {
                        Self::Empty => faults.push(fault(item.referenced, "an item of a list", "item")),
                        Self::Refused(c) => faults.push(refused(item.referenced, "an item of a list", c)),
                        ref node => node.collect(faults),
                    }
                }
            }
            Self::Keys(keys) => {
                for (key, node) in keys {
                    match node {
                        Self::Empty => {
                            let what = format!("`{}`", key.value.0);
                            faults.push(fault(key.referenced, &what, "key"));
                        }
                        Self::Refused(c) => {
                            let what = format!("`{}`", key.value.0);
                            faults.push(refused(key.referenced, &what, *c));
                        }
                        node => node.collect(faults),
                    }
                }
            }
        }
    }
}

/// A place in a file, as faults begin with it.
#[must_use]
pub fn place(at: Location) -> String {
    format!("line {}, column {}", at.line(), at.column())
}

fn fault(at: Location, what: &str, remove: &str) -> String {
    let at = place(at);
    format!("{at}: {what} has no value; write one, or remove the {remove}")
}

fn refused(at: Location, what: &str, c: char) -> String {
    format!("{}: {what} has {}; remove it", place(at), called(c))
}

/// Visits a scalar that is there, whatever its type.
macro_rules! scalars {
    ($value:expr; $($method:ident: $type:ty),*) => {$(
        fn $method<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok($value)
        }
    )*};
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            scalars! {
                Node::Value;
                visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64,
                visit_bytes: &[u8]
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(control(text, Form::Lines).map_or(Node::Value, Node::Refused))
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Empty)
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Empty)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut keys = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    keys.push(entry);
                }
                Ok(Node::Keys(keys))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read only to be read")]
    struct File {
        id: String,
        when: Option<BTreeMap<String, Option<bool>>>,
        #[serde(default)]
        items: Vec<Option<String>>,
    }

    #[test]
    fn a_key_or_an_item_without_a_value_is_refused_with_its_place() {
        for (yaml, faults) in [
            ("id: x\nwhen:\n", vec!["line 2, column 1: `when` has no value"]),
            ("id: x\nwhen: ~\n", vec!["line 2, column 1: `when`"]),
            ("id: x\nwhen: null\n", vec!["line 2, column 1: `when`"]),
            ("id: x\nwhen: {urgent: }\n", vec!["line 2, column 8: `urgent`"]),
            ("id: x\nwhen: {urgent: NULL}\n", vec!["line 2, column 8: `urgent`"]),
            (
                "id: x\nwhen:\n  urgent:\n  loss: true\n",
                vec!["line 3, column 3: `urgent`"],
            ),
            ("id: x\nitems: [a, ~]\n", vec!["line 2, column 12: an item of a list"]),
            ("id: x\nitems:\n  - a\n  -\n", vec!["line 4, column"]),
            (
                "id:\nwhen:\n",
                vec!["line 1, column 1: `id`", "line 2, column 1: `when`"],
            ),
            (
                "id: &a ~\nwhen: {urgent: *a}\n",
                vec!["line 1, column 1: `id`", "line 2, column 8: `urgent`"],
            ),
            ("{<<: {when: ~}, id: x}\n", vec!["`when` has no value"]),
        ] {
            let error = read::<File>(yaml).expect_err(yaml);
            assert!(matches!(error, Error::Empty(_)), "{yaml}: {error:?}");
            for fault in faults {
                assert!(error.to_string().contains(fault), "{yaml}: {error}");
            }
        }
        let documents = read_documents::<File>("id: x\n---\nid: y\nwhen:\n")
            .expect_err("the second")
            .to_string();
        assert!(documents.contains("line 4, column 1: `when`"), "{documents}");
    }

    #[test]
    fn a_text_with_a_control_character_is_refused_with_its_place() {
        for (yaml, expected) in [
            (
                "id: a\nitems:\n  - b\n  - \"c\\e[31m\"\n",
                "line 4, column 5: an item of a list has a control character (U+001B); remove it",
            ),
            (
                "id: \"a\\x9bb\"\n",
                "line 1, column 1: `id` has a control character (U+009B); remove it",
            ),
            (
                "id: \"a\\0\"\n",
                "line 1, column 1: `id` has a NUL character (U+0000); remove it",
            ),
        ] {
            let refused = read::<File>(yaml).unwrap_err().to_string();
            assert_eq!(refused, expected, "{yaml}");
        }
        // Lines are.
        read::<File>("id: |\n  first\n  \tsecond\n").unwrap();
    }

    #[test]
    fn what_has_values_is_read() {
        for yaml in [
            "id: 'null'",
            "id: \"~\"",
            "id: ''\nwhen: {urgent: true}\nitems: [a, '']",
            "id: x\nwhen: {}\nitems: []",
        ] {
            assert!(read::<File>(yaml).is_ok(), "{yaml}");
        }
        assert_eq!(read_documents::<File>("id: x\n---\nid: y\n").unwrap().len(), 2);
    }

    #[test]
    fn keys_that_occur_twice_are_refused() {
        for yaml in ["id: x\nid: y\n", "id: x\nwhen: {urgent: true, urgent: false}\n"] {
            let error = read::<File>(yaml).expect_err(yaml);
            let Error::Shape(error) = error else {
                panic!("{yaml}: {error}")
            };
            assert!(error.location().is_some(), "{yaml}: {error}");
        }
    }

    #[test]
    fn another_structure_is_told_by_what_was_expected() {
        let error = read::<File>("id: x\nmore: 1\n").expect_err("unknown").to_string();
        assert!(error.contains("more"), "{error}");
    }
}
