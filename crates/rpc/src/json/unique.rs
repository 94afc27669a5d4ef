//! Keys that stand twice in an object, of which a parser would take the last one in silence, and
//! fields that a message does not have, with the one that was probably meant.

use std::{collections::HashSet, fmt};

use handwritten::nearest;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// Reads a value and refuses objects with the same key twice. In a message, a field has two names,
/// that of JSON and that of the proto, which are one key.
#[derive(Clone)]
pub(super) struct Unique(Option<Expected>);

#[derive(Clone)]
enum Expected {
    Message(MessageDescriptor),
    /// A map, with what its values are.
    Map(Option<MessageDescriptor>),
}

impl Unique {
    pub(super) fn message(descriptor: MessageDescriptor) -> Self {
        Self(Some(Expected::Message(descriptor)))
    }

    fn field(field: &FieldDescriptor) -> Self {
        let message = |kind: Kind| kind.as_message().cloned();
        let Some(of) = message(field.kind()) else {
            return Self(None);
        };
        if field.is_map() {
            return Self(Some(Expected::Map(message(of.map_entry_value_field().kind()))));
        }
        // Those of Google have forms of their own in JSON.
        match of.full_name().starts_with("google.protobuf.") {
            true => Self(None),
            false => Self::message(of),
        }
    }
}

/// What is said of a field that the message does not have.
fn unknown(key: &str, message: &MessageDescriptor) -> String {
    let fields: Vec<_> = message.fields().collect();
    // Whoever writes the proto's names means one of those.
    let names = fields.iter().flat_map(|field| [field.json_name(), field.name()]);
    match nearest(key, names) {
        Some(meant) => format!("unknown field `{key}`; did you mean `{meant}`?"),
        None => {
            let names: Vec<_> = fields.iter().map(FieldDescriptor::json_name).collect();
            format!("unknown field `{key}`; the fields are {}", names.join(", "))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value in JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let (name, inner) = match &self.0 {
                Some(Expected::Message(message)) => {
                    let field = message
                        .get_field_by_json_name(&key)
                        .or_else(|| message.get_field_by_name(&key));
                    match field {
                        Some(field) => (field.name().to_owned(), Self::field(&field)),
                        None => return Err(A::Error::custom(unknown(&key, message))),
                    }
                }
                Some(Expected::Map(values)) => (key.clone(), Self(values.clone().map(Expected::Message))),
                None => (key.clone(), Self(None)),
            };
            if !seen.insert(name) {
                return Err(A::Error::custom(format!("`{key}` stands twice; keep one of them")));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.clone())?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}
