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
    marker::PhantomData,
    sync::LazyLock,
};

use prost::{
    Message, Name,
    bytes::Buf as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    POOL,
    cost::{self, COSTS},
    text::{Form, called, control},
};

/// The texts that are not simply one line.
const FORMS: &[(Form, &[&str])] = &[
    (
        Form::Lines,
        &[
            "remit.intake.v1.Report.narrative",
            "remit.intake.v1.Report.DetailsEntry.value",
            "remit.intake.v1.Supplement.text",
            "remit.intake.v1.AddInformationRequest.text",
            "remit.intake.v1.AnswerQuestionRequest.text",
            "remit.intake.v1.RequestReviewRequest.text",
            "remit.audit.v1.UnfreezeProducerRequest.reason",
            "remit.routing.v1.RuleRow.source",
            "remit.routing.v1.DeclineCaseRequest.note",
            "remit.routing.v1.TransferCaseRequest.note",
            "remit.routing.v1.EscalateCaseRequest.note",
            "remit.routing.v1.DispatchCaseRequest.note",
            "remit.routing.v1.DesignateAgencyRequest.note",
            "remit.routing.v1.RequestAssistanceRequest.note",
            "remit.routing.v1.AnswerAssistanceRequest.note",
            "remit.routing.v1.ClaimLeadRequest.note",
            "remit.routing.v1.AnswerClaimRequest.note",
            "remit.routing.v1.RecordProgressRequest.note",
            "remit.routing.v1.AskReporterRequest.question",
            "remit.routing.v1.AskReporterRequest.note",
            "remit.routing.v1.RecordUrgentMeasureRequest.note",
            "remit.routing.v1.ReviewDispositionRequest.note",
            "remit.routing.v1.RequestReviewRequest.note",
            "remit.routing.v1.ReopenCaseRequest.note",
            "remit.routing.v1.RecuseAgencyRequest.note",
            "remit.routing.v1.PauseClockRequest.note",
            "remit.routing.v1.ResumeClockRequest.note",
            "remit.routing.v1.SuperviseCaseRequest.note",
            "remit.routing.v1.ShareNarrativeRequest.note",
            "remit.routing.v1.SplitReportRequest.note",
            "remit.routing.v1.NotifySubjectRequest.note",
            "remit.routing.v1.NotifySubjectRequest.subject_text",
            "remit.routing.v1.AnswerStatementRequest.note",
            "remit.routing.v1.AnswerStatementRequest.subject_text",
            "remit.routing.v1.SubmitStatementRequest.text",
            "remit.routing.v1.RequestDecisionReviewRequest.text",
            "remit.routing.v1.PauseNeed.source",
            "remit.routing.v1.RecordProgressRequest.reporter_text",
            "remit.routing.v1.ProposeDispositionRequest.reasons",
            "remit.routing.v1.ProposeDispositionRequest.reporter_text",
            "remit.routing.v1.ProposeDispositionRequest.subject_text",
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
            "remit.intake.v1.AddInformationRequest.receipt",
            "remit.intake.v1.AnswerQuestionRequest.receipt",
            "remit.intake.v1.WithdrawReportRequest.receipt",
            "remit.intake.v1.RequestReviewRequest.receipt",
            "remit.routing.v1.CheckNoticeRequest.receipt",
            "remit.routing.v1.SubmitStatementRequest.receipt",
            "remit.routing.v1.RequestDecisionReviewRequest.receipt",
        ],
    ),
];

/// Requests that consist of requests, each of which is answered for itself: a text that one must
/// not have refuses no other. Whoever serves them looks at each ([`refused`]).
const OF_MANY: &[&str] = &[
    "remit.intake.v1.BatchSubmitReportsRequest",
    "remit.intake.v1.SubmitReportsRequest",
];

/// The texts of a request that have a character that they must not have: field and description.
pub fn refused<M: Message + Name>(request: &M) -> Vec<(String, String)> {
    let Some(shape) = SHAPES.of(&M::full_name()) else {
        return Vec::new();
    };
    let refused = SHAPES.refused(shape, false, &request.encode_to_vec());
    refused.into_iter().map(Refused::told).collect()
}

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
                .flatten()
                .filter(|_| !OF_MANY.contains(&U::full_name().as_str())),
            is_internal: SHAPES.internal.contains(&U::full_name()),
            costs: U::NAME
                .ends_with("Request")
                .then(|| COSTS.of(&U::full_name()))
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
    /// Whether it is a request between Remit's own services.
    is_internal: bool,
    /// `None` for answers: whoever asked for one takes it.
    costs: Option<usize>,
    decoder: ProstDecoder<U>,
}

impl<U: Message + Default> Decoder for TextDecoder<U> {
    type Error = Status;
    type Item = U;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of the message: tonic collects it before it decodes.
        let bytes = buffer.chunk();
        if let Some(message) = self.costs {
            cost::pay(message, bytes)?;
        }
        if let Some(shape) = self.shape {
            let refused = SHAPES.refused(shape, self.is_internal, bytes);
            if !refused.is_empty() {
                return Err(invalid(refused));
            }
        }
        self.decoder.decode(buffer)
    }
}

/// The refused texts by their fields. Without a reason yet: the server gives it, as to all errors
/// that are made below its methods.
fn invalid(refused: Vec<Refused>) -> Status {
    let mut details = ErrorDetails::new();
    for (field, description) in refused.into_iter().map(Refused::told) {
        details.add_bad_request_violation(field, description);
    }
    Status::with_error_details(
        Code::InvalidArgument,
        "texts have characters that they must not have",
        details,
    )
}

/// The fields of all messages, as far as texts are concerned.
static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::new);

/// As deep as messages decode.
const DEPTH: usize = 100;

/// Number of refused texts at which the search for more ends.
const ENOUGH: usize = 100;

/// A field that holds texts.
#[derive(Debug)]
struct Field {
    name: String,
    holds: Holds,
    is_list: bool,
}

#[derive(Clone, Copy, Debug)]
enum Holds {
    Text(Form),
    /// The message with this index.
    Message(usize),
    /// Entries of a map with texts as keys: the message with this index.
    Entries(usize),
}

struct Shapes {
    indexes: HashMap<String, usize>,
    /// By index, the fields by number; `None` for those that hold no text.
    fields: Vec<Vec<Option<Field>>>,
    /// Full names of the requests between Remit's own services.
    internal: HashSet<String>,
}

/// A text with a character that it must not have.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    /// Path of the text as in the proto, such as `report.subjects[0].value`.
    field: String,
    character: char,
}

impl Refused {
    fn told(self) -> (String, String) {
        (self.field, format!("has {}; leave it out", called(self.character)))
    }
}

/// One step of the path to a text.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    /// In a list, by its place.
    Item(&'a str, usize),
    /// In a map, by its key.
    Entry(&'a str, &'a [u8]),
}

impl Shapes {
    fn new() -> Self {
        let messages: Vec<_> = POOL.all_messages().collect();
        let indexes: HashMap<_, _> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| (message.full_name().to_owned(), index))
            .collect();
        let field = |field: FieldDescriptor| {
            let holds = match field.kind() {
                Kind::String => Holds::Text(form_of(field.full_name())),
                Kind::Message(of) => match of.is_map_entry() && of.map_entry_key_field().kind() == Kind::String {
                    true => Holds::Entries(indexes[of.full_name()]),
                    false => Holds::Message(indexes[of.full_name()]),
                },
                _ => return None,
            };
            Some(Field {
                name: field.name().to_owned(),
                holds,
                is_list: field.is_list(),
            })
        };
        let fields = |message: &MessageDescriptor| {
            let last = message.fields().map(|field| field.number()).max().unwrap_or(0);
            (0..=last)
                .map(|number| message.get_field(number).and_then(field))
                .collect()
        };
        Self {
            fields: messages.iter().map(fields).collect(),
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

    /// The texts with a character that they must not have, the first of each: [`ENOUGH`] of them at
    /// most. Of bytes that are no message, what can be read is looked through: decoding them fails
    /// all the same.
    fn refused(&self, shape: usize, is_internal: bool, bytes: &[u8]) -> Vec<Refused> {
        let mut search = Search {
            shapes: self,
            is_internal,
            path: Vec::new(),
            refused: Vec::new(),
        };
        // Most of the traffic between services, and seldom with a zero.
        if !is_internal || bytes.contains(&0) {
            let _unreadable = search.look(shape, bytes);
        }
        search.refused
    }
}

/// A search of a message for refused texts.
struct Search<'a> {
    shapes: &'a Shapes,
    is_internal: bool,
    /// Where the search is.
    path: Vec<Step<'a>>,
    refused: Vec<Refused>,
}

impl<'a> Search<'a> {
    fn look(&mut self, shape: usize, mut bytes: &'a [u8]) -> Result<(), prost::DecodeError> {
        let fields = &self.shapes.fields[shape];
        // How often each list has occurred: its items need not be in a row.
        let mut items = Vec::new();
        while bytes.has_remaining() && self.refused.len() < ENOUGH {
            let (number, wire) = decode_key(&mut bytes)?;
            if wire != WireType::LengthDelimited {
                skip_field(wire, number, &mut bytes, DecodeContext::default())?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
            let Some((content, rest)) = bytes.split_at_checked(length) else {
                return Ok(());
            };
            bytes = rest;
            let Some(Some(field)) = fields.get(number as usize) else {
                continue;
            };
            self.path.push(match field.holds {
                Holds::Entries(_) => Step::Entry(&field.name, key_of(content)),
                _ if field.is_list => {
                    items.resize(fields.len(), 0);
                    let item = &mut items[number as usize];
                    *item += 1;
                    Step::Item(&field.name, *item - 1)
                }
                _ => Step::Field(&field.name),
            });
            match field.holds {
                Holds::Text(form) => self.read(content, form),
                Holds::Message(of) | Holds::Entries(of) if self.path.len() <= DEPTH => self.look(of, content)?,
                _ => {}
            }
            self.path.pop();
        }
        Ok(())
    }

    fn read(&mut self, content: &[u8], form: Form) {
        let form = if self.is_internal { Form::Lenient } else { form };
        let text = std::str::from_utf8(content).ok();
        if let Some(character) = text.and_then(|text| control(text, form)) {
            let field = written(&self.path);
            self.refused.push(Refused { field, character });
        }
    }
}

/// The key of a map's entry.
fn key_of(mut entry: &[u8]) -> &[u8] {
    let mut key = || {
        let (number, _) = decode_key(&mut entry).ok()?;
        let length = usize::try_from(decode_varint(&mut entry).ok()?).ok()?;
        (number == 1).then(|| entry.get(..length)).flatten()
    };
    key().unwrap_or_default()
}

/// A path as in the proto. Without the control characters of keys, which are the caller's own.
fn written(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    let mut within_entry = false;
    for step in path {
        // An entry is named by its key; that its key or its value is meant, the map says.
        if std::mem::take(&mut within_entry) && matches!(step, Step::Field("key" | "value")) {
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        match step {
            Step::Field(name) => text.push_str(name),
            Step::Item(name, place) => text.push_str(&format!("{name}[{place}]")),
            Step::Entry(name, key) => {
                let key = String::from_utf8_lossy(key).replace(char::is_control, "\u{fffd}");
                text.push_str(&format!("{name}[{key}]"));
                within_entry = true;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prost_reflect::{Cardinality, DynamicMessage, MapKey, ReflectMessage as _, Value};

    use super::*;

    /// For each text of a message, wherever it lies: its path, its form, and the message with a
    /// character in that text alone.
    fn spoiled(of: &MessageDescriptor, with: char, depth: usize) -> Vec<(String, Form, DynamicMessage)> {
        let mut all = Vec::new();
        for field in of.fields() {
            let name = match field.is_list() {
                true => format!("{}[1]", field.name()),
                false => field.name().to_owned(),
            };
            let values = match field.kind() {
                Kind::String => {
                    let text = Value::String(format!("a{with}b"));
                    vec![(name, form_of(field.full_name()), text)]
                }
                Kind::Message(inner) if depth > 0 => spoiled(&inner, with, depth - 1)
                    .into_iter()
                    .map(|(path, form, message)| {
                        let path = match (field.is_map(), path.as_str()) {
                            (true, "key") => format!("{name}[a{}b]", shown(with)),
                            (true, "value") => format!("{name}[]"),
                            _ => format!("{name}.{path}"),
                        };
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
                    // Behind one that is as it should be.
                    (false, Cardinality::Repeated) => match &value {
                        Value::Message(item) => {
                            let good = DynamicMessage::new(item.descriptor());
                            Value::List(vec![Value::Message(good), value])
                        }
                        _ => Value::List(vec![Value::String("good".to_owned()), value]),
                    },
                    _ => value,
                };
                message.set_field(&field, value);
                all.push((path, form, message));
            }
        }
        all
    }

    fn shown(c: char) -> char {
        if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
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
                let is_refused = match form {
                    _ if refused == '\0' => true,
                    _ if is_internal => false,
                    Form::Line | Form::Trimmed => true,
                    Form::Lines => !matches!(refused, '\n' | '\t' | '\u{2028}'),
                    Form::Lenient => false,
                };
                in_maps += u32::from(path.contains("details["));
                let expected = is_refused.then_some(Refused {
                    field: path,
                    character: refused,
                });
                assert_eq!(found, Vec::from_iter(expected), "{method} {form:?}");
            }
        }
        assert!(in_maps >= 2 * 7, "{in_maps}");
    }

    #[test]
    fn all_refused_texts_of_a_message_are_found_and_a_flood_of_them_is_cut() {
        let shape = SHAPES.of("remit.intake.v1.SubmitReportRequest").unwrap();
        let subject = |platform: &str, note: &str| crate::intake::Subject {
            platform: platform.to_owned(),
            value: note.to_owned(),
            ..Default::default()
        };
        let submitted = |subjects| crate::intake::SubmitReportRequest {
            report: Some(crate::intake::Report {
                category: "a\nb".to_owned(),
                language_code: "\u{1b}".to_owned(),
                subjects,
                ..Default::default()
            }),
            request_id: "\t".to_owned(),
            ..Default::default()
        };
        let found =
            |request: crate::intake::SubmitReportRequest| SHAPES.refused(shape, false, &request.encode_to_vec());
        let fields = found(submitted(vec![subject("", ""), subject("", "\0"), subject("\0", "")]));
        let fields: Vec<_> = fields.into_iter().map(|refused| refused.field).collect();
        let mut expected = [
            "report.category",
            "report.language_code",
            "report.subjects[1].value",
            "report.subjects[2].platform",
            "request_id",
        ];
        let mut sorted = fields;
        sorted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
        assert_eq!(found(submitted(vec![subject("", "\0"); 10_000])).len(), ENOUGH);
    }

    /// Of a list whose items are not in a row, as an encoder may write it, each has its place.
    #[test]
    fn items_are_counted_wherever_they_lie() {
        let report = SHAPES.of("remit.intake.v1.Report").unwrap();
        let mut bytes = Vec::new();
        for value in ["good", "\0"] {
            let part = crate::intake::Report {
                subjects: vec![crate::intake::Subject {
                    value: value.to_owned(),
                    ..Default::default()
                }],
                narrative: "between".to_owned(),
                ..Default::default()
            };
            bytes.extend(part.encode_to_vec());
        }
        let found = SHAPES.refused(report, false, &bytes);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].field, "subjects[1].value");
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
        assert!(SHAPES.refused(shape, true, &bytes).is_empty());
        // Neither cut nor foreign bytes are a reason to stop early or to panic.
        for end in 0..bytes.len() {
            assert!(SHAPES.refused(shape, true, &bytes[..end]).is_empty());
        }
        assert!(SHAPES.refused(shape, true, &[0; 100]).is_empty());
    }
}
