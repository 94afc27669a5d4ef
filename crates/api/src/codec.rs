//! The codec of all methods: Protocol Buffers, whose texts have no NUL (U+0000) in requests.
//!
//! PostgreSQL takes no such text, and a transaction that has one fails whole, with everybody else's
//! changes in it. Programs in C end the text there. So one place refuses it, before any method sees
//! it: here.

use std::{collections::HashMap, fmt, marker::PhantomData, sync::LazyLock};

use prost::{
    Message, Name,
    bytes::Buf as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::Kind;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use crate::POOL;

/// Encodes a `T`, and decodes a `U`.
#[derive(Clone, Debug)]
pub struct TextCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for TextCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for TextCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Decode = U;
    type Decoder = TextDecoder<U>;
    type Encode = T;
    type Encoder = ProstEncoder<T>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        TextDecoder {
            shape: U::NAME
                .ends_with("Request")
                .then(|| SHAPES.of(&U::full_name()))
                .flatten(),
            decoder: ProstCodec::<T, U>::default().decoder(),
        }
    }
}

/// Decodes messages of one type.
#[derive(Debug)]
pub struct TextDecoder<U> {
    /// `None` for answers: what a service stored, it shows.
    shape: Option<usize>,
    decoder: ProstDecoder<U>,
}

impl<U: Message + Default> Decoder for TextDecoder<U> {
    type Error = Status;
    type Item = U;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of the message: tonic collects it before it decodes.
        let bytes = buffer.chunk();
        if let Some(shape) = self.shape
            && bytes.contains(&0)
            && let Some(path) = SHAPES.nul(shape, bytes)
        {
            return Err(Status::invalid_argument(format!(
                "`{path}` has a NUL character (U+0000); leave it out"
            )));
        }
        self.decoder.decode(buffer)
    }
}

/// The fields of all messages, as far as texts are concerned.
static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::new);

/// As deep as messages decode.
const DEPTH: usize = 100;

/// What a field can hold.
#[derive(Clone, Copy, Debug)]
enum Field {
    Text,
    /// The message with this index.
    Message(usize),
    Other,
}

struct Shapes {
    indexes: HashMap<String, usize>,
    /// By index, the fields by number.
    fields: Vec<Vec<Field>>,
    names: Vec<HashMap<u32, String>>,
}

/// The names of fields, innermost first.
#[derive(Default)]
struct Path(Vec<String>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outermost_first: Vec<_> = self.0.iter().rev().map(String::as_str).collect();
        f.write_str(&outermost_first.join("."))
    }
}

impl Shapes {
    fn new() -> Self {
        let messages: Vec<_> = POOL.all_messages().collect();
        let indexes: HashMap<_, _> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| (message.full_name().to_owned(), index))
            .collect();
        let fields = |message: &prost_reflect::MessageDescriptor| {
            let last = message.fields().map(|field| field.number()).max().unwrap_or(0);
            let mut fields = vec![Field::Other; last as usize + 1];
            for field in message.fields() {
                fields[field.number() as usize] = match field.kind() {
                    Kind::String => Field::Text,
                    Kind::Message(of) => Field::Message(indexes[of.full_name()]),
                    _ => Field::Other,
                };
            }
            fields
        };
        let names = |message: &prost_reflect::MessageDescriptor| {
            message
                .fields()
                .map(|field| (field.number(), field.name().to_owned()))
                .collect()
        };
        Self {
            fields: messages.iter().map(fields).collect(),
            names: messages.iter().map(names).collect(),
            indexes,
        }
    }

    fn of(&self, full_name: &str) -> Option<usize> {
        self.indexes.get(full_name).copied()
    }

    /// The path of the first text with a NUL. Of bytes that are no message, what can be read is
    /// looked through: decoding them fails all the same.
    fn nul(&self, shape: usize, bytes: &[u8]) -> Option<Path> {
        self.look(shape, bytes, DEPTH).ok().flatten()
    }

    fn look(&self, shape: usize, mut bytes: &[u8], depth: usize) -> Result<Option<Path>, prost::DecodeError> {
        while bytes.has_remaining() {
            let (number, wire) = decode_key(&mut bytes)?;
            if wire != WireType::LengthDelimited {
                skip_field(wire, number, &mut bytes, DecodeContext::default())?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
            let Some((content, rest)) = bytes.split_at_checked(length) else {
                return Ok(None);
            };
            bytes = rest;
            let found = match self.fields[shape].get(number as usize) {
                Some(Field::Text) if content.contains(&0) => Some(Path::default()),
                Some(Field::Message(of)) if depth > 0 => self.look(*of, content, depth - 1)?,
                _ => None,
            };
            if let Some(mut path) = found {
                path.0.push(self.names[shape][&number].clone());
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::{Cardinality, DynamicMessage, MessageDescriptor, Value};

    use super::*;

    /// For each text of a message, wherever it lies: its path, and the message with a NUL in that
    /// text alone.
    fn spoiled(of: &MessageDescriptor, depth: usize) -> Vec<(String, DynamicMessage)> {
        let mut all = Vec::new();
        for field in of.fields() {
            let values = match field.kind() {
                Kind::String => vec![(field.name().to_owned(), Value::String("a\0b".to_owned()))],
                Kind::Message(inner) if depth > 0 => spoiled(&inner, depth - 1)
                    .into_iter()
                    .map(|(path, message)| (format!("{}.{path}", field.name()), Value::Message(message)))
                    .collect(),
                _ => Vec::new(),
            };
            for (path, value) in values {
                let mut message = DynamicMessage::new(of.clone());
                let value = match field.cardinality() {
                    Cardinality::Repeated if field.is_map() => continue,
                    Cardinality::Repeated => Value::List(vec![value]),
                    _ => value,
                };
                message.set_field(&field, value);
                all.push((path, message));
            }
        }
        all
    }

    #[test]
    fn a_nul_is_found_in_every_text_of_every_request() {
        let mut texts = 0;
        for method in POOL
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
        {
            let input = method.input();
            let shape = SHAPES.of(input.full_name()).unwrap();
            assert!(input.name().ends_with("Request"), "{}", input.name());
            for (path, message) in spoiled(&input, 5) {
                let found = SHAPES.nul(shape, &message.encode_to_vec()).map(|path| path.to_string());
                assert_eq!(found, Some(path), "{}", method.full_name());
                texts += 1;
            }
        }
        assert!(texts > 100, "{texts}");
    }

    #[test]
    fn other_zeros_are_none() {
        let shape = SHAPES.of("remit.audit.v1.AppendChangesRequest").unwrap();
        let request = crate::audit::AppendChangesRequest {
            changes: vec![crate::event::StateChange {
                entry: vec![0; 90].into(),
                traceparent: "00-00".to_owned(),
                ..Default::default()
            }],
        };
        let bytes = request.encode_to_vec();
        assert!(SHAPES.nul(shape, &bytes).is_none());
        // Neither cut nor foreign bytes are a reason to stop early or to panic.
        for end in 0..bytes.len() {
            assert!(SHAPES.nul(shape, &bytes[..end]).is_none());
        }
        assert!(SHAPES.nul(shape, &[0; 100]).is_none());
    }
}
