//! Facts as a line of JSON, parsed without copying its content.
//!
//! `rpc::json` reads the same format through message descriptors, twenty times slower. A test
//! compares the two.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use api::event::ConnectingFactor;
use api::intake::{ReporterRelation, SubjectKind, VictimKind};
use api::routing::{OperatorAnswer, OperatorMatch, operator_match};
use data_encoding::BASE64;
use jiff::Timestamp;
use moment::Time;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::{Given, Situation, country, territory};
use crate::factor::Factor;

/// One line: [`api::routing::Facts`] in JSON, with field names in camel case or as in the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FactsLine<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    urgent: bool,
    #[serde(alias = "subject_kinds")]
    subject_kinds: Vec<Word<SubjectKind>>,
    #[serde(borrow)]
    places: Vec<PlaceLine<'a>>,
    #[serde(borrow, rename = "lossCurrencyCode", alias = "loss_currency_code")]
    loss_currency: Text<'a>,
    #[serde(alias = "loss_minor_units")]
    loss_minor_units: Number,
    #[serde(alias = "loss_age_seconds")]
    loss_age_seconds: Option<Number>,
    #[serde(alias = "victim_kind")]
    victim_kind: Word<VictimKind>,
    #[serde(alias = "reporter_relation")]
    reporter_relation: Word<ReporterRelation>,
    publication: bool,
    #[serde(borrow, alias = "received_by")]
    received_by: Text<'a>,
    #[serde(borrow)]
    excluded: Vec<Text<'a>>,
    #[serde(borrow)]
    details: Details<'a>,
    /// The day decides which agencies exist.
    #[serde(borrow, alias = "accept_time")]
    accept_time: Option<Text<'a>>,
    #[serde(borrow, alias = "complained_of")]
    complained_of: Text<'a>,
    #[serde(
        rename = "registerAnswer",
        alias = "register_answer",
        deserialize_with = "operator_answer"
    )]
    operator: Option<OperatorAnswer>,
}

impl Default for FactsLine<'_> {
    fn default() -> Self {
        Self {
            category: Text::default(),
            urgent: false,
            subject_kinds: Vec::new(),
            places: Vec::new(),
            loss_currency: Text::default(),
            loss_minor_units: Number(0),
            loss_age_seconds: None,
            victim_kind: Word(VictimKind::Unspecified),
            reporter_relation: Word(ReporterRelation::Unspecified),
            publication: false,
            received_by: Text::default(),
            excluded: Vec::new(),
            details: Details::default(),
            accept_time: None,
            complained_of: Text::default(),
            operator: None,
        }
    }
}

impl<'a> FactsLine<'a> {
    /// Parses a line.
    ///
    /// # Errors
    ///
    /// If the line is not facts in JSON. Unknown fields and enum values are errors, so that a
    /// misspelt one is not ignored. The error names the column.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        // serde would accept an array as the fields in order.
        match line.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => Err(Error::custom("expected an object, not a list")),
            _ => serde_json::from_slice(line),
        }
    }

    /// The facts of the line.
    #[must_use]
    pub fn situation(&self) -> Situation<'_> {
        let mut situation = Situation {
            urgent: self.urgent,
            publication: self.publication,
            subject_kinds: self.subject_kinds.iter().map(|kind| kind.0).collect(),
            loss_currency: &self.loss_currency.0,
            loss_minor_units: self.loss_minor_units.0,
            loss_age_seconds: self.loss_age_seconds.as_ref().map(|age| age.0),
            accepted: self.accept_time.as_ref().and_then(|time| accepted(&time.0)),
            victim_kind: self.victim_kind.0,
            reporter_relation: self.reporter_relation.0,
            received_by: &self.received_by.0,
            complained_of: &self.complained_of.0,
            excluded: self.excluded.iter().map(|name| &*name.0).collect(),
            details: self
                .details
                .0
                .iter()
                .map(|(path, value)| (&*path.0, &*value.0))
                .collect(),
            operator: self.operator.as_ref(),
            ..Situation::of(&self.category.0)
        };
        for place in &self.places {
            let given = match (&place.territory, &place.country) {
                (Some(name), _) => territory(&name.0),
                (None, Some(code)) => country(&code.0),
                (None, None) => Given::Absent,
            };
            situation.take_place(Factor::from_proto(place.factor.0), given);
        }
        situation
    }
}

/// An instant in JSON.
fn accepted(time: &str) -> Option<Time> {
    let moment: Timestamp = time.parse().ok()?;
    Some(Time(moment.as_microsecond()))
}

/// A place of a line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceLine<'a> {
    #[serde(default = "no_factor")]
    factor: Word<ConnectingFactor>,
    #[serde(borrow)]
    territory: Option<Text<'a>>,
    #[serde(borrow, rename = "regionCode", alias = "region_code")]
    country: Option<Text<'a>>,
}

const fn no_factor() -> Word<ConnectingFactor> {
    Word(ConnectingFactor::Unspecified)
}

/// The operator register's answer of a line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnswerLine<'a> {
    version: Number,
    #[serde(borrow)]
    digest: Text<'a>,
    #[serde(rename = "askedCount", alias = "asked_count")]
    asked: i32,
    #[serde(borrow)]
    matches: Vec<MatchLine<'a>>,
}

impl Default for AnswerLine<'_> {
    fn default() -> Self {
        Self {
            version: Number(0),
            digest: Text::default(),
            asked: 0,
            matches: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchLine<'a> {
    #[serde(borrow, default, rename = "registeredOperator", alias = "registered_operator")]
    operator: Text<'a>,
    #[serde(borrow)]
    territory: Option<Text<'a>>,
    #[serde(borrow, rename = "regionCode", alias = "region_code")]
    country: Option<Text<'a>>,
}

/// Copied, because only explanations need it, and most facts have none.
fn operator_answer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OperatorAnswer>, D::Error> {
    let Some(line) = Option::<AnswerLine<'de>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let digest = BASE64.decode(line.digest.0.as_bytes()).map_err(Error::custom)?;
    let matched = |line: MatchLine<'_>| OperatorMatch {
        registered_operator: line.operator.0.into_owned(),
        location: match (line.territory, line.country) {
            (Some(name), _) => Some(operator_match::Location::Territory(name.0.into_owned())),
            (None, Some(code)) => Some(operator_match::Location::RegionCode(code.0.into_owned())),
            (None, None) => None,
        },
    };
    Ok(Some(OperatorAnswer {
        version: line.version.0,
        digest: digest.into(),
        asked_count: line.asked,
        matches: line.matches.into_iter().map(matched).collect(),
    }))
}

/// A text, borrowed from the line unless it contains escapes.
#[derive(Debug, Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// A 64-bit integer, which protobuf JSON writes as a string.
#[derive(Debug)]
struct Number(i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                i64::try_from(number).map(Number).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// An enum value of the contract, by name or number.
#[derive(Debug)]
struct Word<T>(T);

/// An enum of the contract.
trait Enumeration: Sized {
    fn of_name(name: &str) -> Option<Self>;
    fn of_number(number: i32) -> Option<Self>;
}

macro_rules! enumerations {
    ($($name:ty),*) => {$(
        impl Enumeration for $name {
            fn of_name(name: &str) -> Option<Self> {
                Self::from_str_name(name)
            }

            fn of_number(number: i32) -> Option<Self> {
                Self::try_from(number).ok()
            }
        }
    )*};
}

enumerations!(ConnectingFactor, ReporterRelation, SubjectKind, VictimKind);

impl<'de, T: Enumeration> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<T: Enumeration> Visitor<'_> for Reader<T> {
            type Value = Word<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an enum value of the contract, such as `VICTIM_KIND_PERSON`")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Word<T>, E> {
                T::of_name(name)
                    .map(Word)
                    .ok_or_else(|| E::custom(format_args!("`{name}` is not a value of this enum")))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Word<T>, E> {
                i32::try_from(number)
                    .ok()
                    .and_then(T::of_number)
                    .map(Word)
                    .ok_or_else(|| E::custom(format_args!("{number} is not a value of this enum")))
            }
        }
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

/// Details by path, in the order of the line.
#[derive(Debug, Default)]
struct Details<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Details<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Details<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by path")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut details = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some((path, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if details
                        .iter()
                        .any(|(known, _): &(Text<'_>, Text<'_>)| known.0 == path.0)
                    {
                        return Err(M::Error::custom(format_args!("the detail `{}` occurs twice", path.0)));
                    }
                    details.push((path, value));
                }
                Ok(Details(details))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
