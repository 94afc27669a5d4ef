//! The codec of all methods: Protocol Buffers, whose texts have no control characters in requests,
//! except line breaks and tabs where a text has lines.
//!
//! Terminals act on them, and what is printed line by line is not what it looks like. NUL (U+0000)
//! PostgreSQL does not even take: a transaction that has one fails whole, with everybody else's
//! changes in it. So one place refuses them, before any method sees them: here.
//!
//! A text is one line, unless [`FORMS`] says something else. Between Remit's own services only NUL
//! is refused: what they took, by rules of an older release too, they have to hand on.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    marker::PhantomData,
    sync::LazyLock,
};

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

use crate::{
    POOL,
    text::{Form, called, control},
};

/// The texts that are not simply one line.
const FORMS: &[(Form, &[&str])] = &[
    (
        Form::Lines,
        &[
            "remit.intake.v1.Report.narrative",
            "remit.intake.v1.Report.DetailsEntry.value",
            "remit.audit.v1.UnfreezeProducerRequest.reason",
            "remit.routing.v1.RuleRow.source",
            "google.type.LocalizedText.text",
        ],
    ),
    (
        Form::Trimmed,
        &[
            "remit.intake.v1.RevealReporterRequest.justification",
            "remit.intake.v1.DownloadEvidenceRequest.justification",
            "remit.routing.v1.ActivateRuleSetRequest.override_reason",
            "remit.routing.v1.OperatorSubject.host",
            "remit.routing.v1.OperatorSubject.app",
            "remit.routing.v1.OperatorSubject.platform",
        ],
    ),
    (
        Form::Lenient,
        &[
            // Refused by its kind, with all else that is wrong with the report.
            "remit.intake.v1.Subject.value",
            "remit.intake.v1.Subject.platform",
            "remit.intake.v1.CheckReceiptRequest.receipt",
        ],
    ),
];

fn form_of(full_name: &str) -> Form {
    let listed = FORMS.iter().find(|(_, fields)| fields.contains(&full_name));
    listed.map_or(Form::Line, |(form, _)| *form)
}

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
            is_internal: SHAPES.internal.contains(&U::full_name()),
            decoder: ProstCodec::<T, U>::default().decoder(),
        }
    }
}

/// Decodes messages of one type.
#[derive(Debug)]
pub struct TextDecoder<U> {
    /// `None` for answers: what a service stored, it shows.
    shape: Option<usize>,
    /// Whether it is a request between Remit's own services.
    is_internal: bool,
    decoder: ProstDecoder<U>,
}

impl<U: Message + Default> Decoder for TextDecoder<U> {
    type Error = Status;
    type Item = U;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of the message: tonic collects it before it decodes.
        let bytes = buffer.chunk();
        if let Some(shape) = self.shape
            && let Some((path, refused)) = SHAPES.refused(shape, self.is_internal, bytes)
        {
            return Err(Status::invalid_argument(format!(
                "`{path}` has {}; leave it out",
                called(refused)
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
    Text(Form),
    /// The message with this index.
    Message(usize),
    Other,
}

struct Shapes {
    indexes: HashMap<String, usize>,
    /// By index, the fields by number.
    fields: Vec<Vec<Field>>,
    names: Vec<HashMap<u32, String>>,
    /// Full names of the requests between Remit's own services.
    internal: HashSet<String>,
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
                    Kind::String => Field::Text(form_of(field.full_name())),
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
            internal: POOL
                .services()
                .filter(|service| service.name().ends_with("InboundService"))
                .flat_map(|service| service.methods().collect::<Vec<_>>())
                .map(|method| method.input().full_name().to_owned())
                .collect(),
            indexes,
        }
    }

    fn of(&self, full_name: &str) -> Option<usize> {
        self.indexes.get(full_name).copied()
    }

    /// The path of the first text with a character that it must not have, and that. Of bytes that
    /// are no message, what can be read is looked through: decoding them fails all the same.
    fn refused(&self, shape: usize, is_internal: bool, bytes: &[u8]) -> Option<(Path, char)> {
        // Most of the traffic between services, and seldom with a zero.
        if is_internal && !bytes.contains(&0) {
            return None;
        }
        self.look(shape, is_internal, bytes, DEPTH).ok().flatten()
    }

    fn look(
        &self,
        shape: usize,
        is_internal: bool,
        mut bytes: &[u8],
        depth: usize,
    ) -> Result<Option<(Path, char)>, prost::DecodeError> {
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
                Some(Field::Text(form)) => {
                    let form = if is_internal { Form::Lenient } else { *form };
                    let refused = std::str::from_utf8(content).ok().and_then(|text| control(text, form));
                    refused.map(|refused| (Path::default(), refused))
                }
                Some(Field::Message(of)) if depth > 0 => self.look(*of, is_internal, content, depth - 1)?,
                _ => None,
            };
            if let Some((mut path, refused)) = found {
                path.0.push(self.names[shape][&number].clone());
                return Ok(Some((path, refused)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::{Cardinality, DynamicMessage, MapKey, MessageDescriptor, ReflectMessage as _, Value};

    use super::*;

    /// For each text of a message, wherever it lies: its path, its form, and the message with a
    /// character in that text alone.
    fn spoiled(of: &MessageDescriptor, with: char, depth: usize) -> Vec<(String, Form, DynamicMessage)> {
        let mut all = Vec::new();
        for field in of.fields() {
            let values = match field.kind() {
                Kind::String => {
                    let text = Value::String(format!("a{with}b"));
                    vec![(field.name().to_owned(), form_of(field.full_name()), text)]
                }
                Kind::Message(inner) if depth > 0 => spoiled(&inner, with, depth - 1)
                    .into_iter()
                    .map(|(path, form, message)| {
                        let path = format!("{}.{path}", field.name());
                        (path, form, Value::Message(message))
                    })
                    .collect(),
                _ => Vec::new(),
            };
            for (path, form, value) in values {
                let mut message = DynamicMessage::new(of.clone());
                let value = match (field.is_map(), field.cardinality()) {
                    (true, _) => match entry(&value) {
                        Some(entry) => entry,
                        None => continue,
                    },
                    (false, Cardinality::Repeated) => Value::List(vec![value]),
                    _ => value,
                };
                message.set_field(&field, value);
                all.push((path, form, message));
            }
        }
        all
    }

    /// An entry of a map with texts, as reflection wants it.
    fn entry(message: &Value) -> Option<Value> {
        let message = message.as_message()?;
        let of = |name| message.get_field_by_name(name).map(std::borrow::Cow::into_owned);
        let key = MapKey::String(of("key")?.as_str()?.to_owned());
        Some(Value::Map([(key, of("value")?)].into()))
    }

    /// The texts of all requests: the method, whether it is between Remit's own services, the path,
    /// the form, and the request with a character in that text alone.
    fn texts(with: char) -> Vec<(String, bool, String, Form, DynamicMessage)> {
        let mut all = Vec::new();
        for service in POOL.services() {
            for method in service.methods() {
                let input = method.input();
                assert!(input.name().ends_with("Request"), "{}", input.name());
                let is_internal = SHAPES.internal.contains(input.full_name());
                assert_eq!(is_internal, service.name().ends_with("InboundService"));
                for (path, form, message) in spoiled(&input, with, 5) {
                    all.push((method.full_name().to_owned(), is_internal, path, form, message));
                }
            }
        }
        assert!(all.len() > 100, "{}", all.len());
        all
    }

    /// A new text is one line, and refuses all of them, until somebody lists it in [`FORMS`].
    #[test]
    fn control_characters_are_found_in_every_text_of_every_request() {
        let mut in_maps = 0;
        for refused in ['\0', '\u{1b}', '\u{7f}', '\u{9b}', '\n', '\t', '\u{2028}'] {
            for (method, is_internal, path, form, message) in texts(refused) {
                let shape = SHAPES.of(message.descriptor().full_name()).unwrap();
                let found = SHAPES.refused(shape, is_internal, &message.encode_to_vec());
                let found = found.map(|(path, refused)| (path.to_string(), refused));
                let is_refused = match form {
                    _ if refused == '\0' => true,
                    _ if is_internal => false,
                    Form::Line | Form::Trimmed => true,
                    Form::Lines => !matches!(refused, '\n' | '\t' | '\u{2028}'),
                    Form::Lenient => false,
                };
                in_maps += u32::from(path.ends_with("details.key") || path.ends_with("details.value"));
                assert_eq!(found, is_refused.then(|| (path, refused)), "{method} {form:?}");
            }
        }
        assert!(in_maps >= 2 * 7, "{in_maps}");
    }

    #[test]
    fn every_listed_text_is_a_field_of_a_request() {
        let mut fields: Vec<&str> = FORMS.iter().flat_map(|(_, fields)| *fields).copied().collect();
        let listed = fields.len();
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), listed, "one is listed twice");
        for name in fields {
            let (message, field) = name.rsplit_once('.').unwrap();
            let message = POOL.get_message_by_name(message).unwrap_or_else(|| panic!("{name}"));
            let field = message.get_field_by_name(field).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(field.kind(), Kind::String, "{name}");
        }
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
        assert!(SHAPES.refused(shape, true, &bytes).is_none());
        // Neither cut nor foreign bytes are a reason to stop early or to panic.
        for end in 0..bytes.len() {
            assert!(SHAPES.refused(shape, true, &bytes[..end]).is_none());
        }
        assert!(SHAPES.refused(shape, true, &[0; 100]).is_none());
    }
}
