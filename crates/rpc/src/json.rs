//! Messages in protobuf JSON.

mod unique;

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::de::DeserializeSeed as _;
use serde_path_to_error::{Path, Segment, Track};

use unique::Unique;

/// Why a text is not a message in JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text does not fit the message. The source names line and column.
    #[error("not `{message}` in JSON")]
    Malformed {
        /// The message.
        message: String,
        /// The field, such as `report.subjects[0].kind`; empty if no single field is at fault.
        field: String,
        /// The problem and its position.
        #[source]
        source: serde_json::Error,
    },
    /// The built-in contract does not contain the message.
    #[error("the contract has no message `{0}`")]
    Unknown(String),
    /// The dynamic and the generated form of the message differ.
    #[error("the message cannot be converted")]
    Convert(#[from] prost::DecodeError),
}

/// Parses a message. Unknown fields are errors, so that a misspelt one is not ignored, and so are
/// keys that stand twice.
pub fn parse<M: Message + Name + Default>(text: &str) -> Result<M, JsonError> {
    let malformed = |field, source| JsonError::Malformed {
        message: M::full_name(),
        field,
        source,
    };
    let descriptor = descriptor::<M>()?;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    if let Err(source) = Unique::message(descriptor.clone()).deserialize(tracked)
        // What is no JSON is told by the reading below.
        && source.classify() == serde_json::error::Category::Data
    {
        return Err(malformed(field(&track.path()), source));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = Track::new();
    let read = DynamicMessage::deserialize(
        descriptor,
        serde_path_to_error::Deserializer::new(&mut json, &mut track),
    );
    let message = read.map_err(|source| malformed(field(&track.path()), source))?;
    json.end().map_err(|source| malformed(String::new(), source))?;
    Ok(message.transcode_to()?)
}

/// Converts a message to JSON.
pub fn value<M: Message + Name>(message: &M) -> Result<serde_json::Value, JsonError> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic.transcode_from(message)?;
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .map_err(|source| JsonError::Malformed {
            message: M::full_name(),
            field: String::new(),
            source,
        })
}

/// The field at a path. Empty for an unknown field, which the problem itself names.
fn field(path: &Path) -> String {
    let known = path.iter().all(|segment| !matches!(segment, Segment::Unknown));
    if known && path.iter().len() > 0 {
        path.to_string()
    } else {
        String::new()
    }
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, JsonError> {
    api::POOL
        .get_message_by_name(&M::full_name())
        .ok_or_else(|| JsonError::Unknown(M::full_name()))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use api::intake::{SubjectKind, SubmitReportRequest};

    use super::*;

    #[test]
    fn a_request_reads_and_writes() {
        let text = r#"{"report":{"category":"categories/gambling","subjects":[{"kind":"SUBJECT_KIND_URL","value":"https://a.example"}],
            "loss":{"currencyCode":"CNY","minorUnits":"12800000","occurTime":"2026-11-01T10:00:00+08:00"}}}"#;
        let request: SubmitReportRequest = parse(text).unwrap();
        let report = request.report.as_ref().unwrap();
        assert_eq!(report.subjects[0].kind(), SubjectKind::Url);
        assert_eq!(
            report.loss.as_ref().unwrap().occur_time.as_ref().unwrap().seconds,
            1_793_498_400
        );
        assert_eq!(
            parse::<SubmitReportRequest>(&value(&request).unwrap().to_string()).unwrap(),
            request
        );
    }

    #[test]
    fn keys_of_a_map_are_data() {
        let text = r#"{"report":{"details":{"aB":"1","a_b":"2"}}}"#;
        let request: SubmitReportRequest = parse(text).unwrap();
        assert_eq!(request.report.unwrap().details.len(), 2);
    }

    #[test]
    fn mistakes_are_named_with_field_and_place() {
        for (text, expected, where_it_is) in [
            (
                r#"{"report":{"categroy":"x"}}"#,
                "unknown field `categroy`; did you mean `category`?",
                "report",
            ),
            (
                r#"{"requestIds":"x"}"#,
                "unknown field `requestIds`; did you mean `requestId`?",
                "",
            ),
            (r#"{"request_ids":"x"}"#, "did you mean `request_id`?", ""),
            (
                r#"{"report":{"loss":{"currency":"CNY"}}}"#,
                "unknown field `currency`; did you mean `currencyCode`?",
                "report.loss",
            ),
            (
                r#"{"report":{"subjects":[{"value":"a"},{"valued":"b"}]}}"#,
                "unknown field `valued`; did you mean `value`?",
                "report.subjects[1]",
            ),
            (r#"{"xyzzy":1}"#, "unknown field `xyzzy`; the fields are report,", ""),
            (
                r#"{"report":{"loss":{"occurTime":"2026-11-01T10:00:00"}}}"#,
                "line 1",
                "report.loss.occurTime",
            ),
            (
                r#"{"report":{"loss":{"minorUnits":"12.50"}}}"#,
                "line 1",
                "report.loss.minorUnits",
            ),
            (
                r#"{"report":{"subjects":[{"kind":"SUBJECT_KIND_URL"},{"kind":"URL"}]}}"#,
                "URL",
                "report.subjects[1].kind",
            ),
            (
                "{\"report\":{\"narrative\":\"a\",\n\"narrative\":\"b\"}}",
                "`narrative` stands twice; keep one of them at line 2",
                "report",
            ),
            (r#"{"requestId":"a","request_id":"b"}"#, "`request_id` stands twice", ""),
            (
                r#"{"report":{"details":{"a.b":"1","a.c":"1","a.b":"2"}}}"#,
                "`a.b` stands twice",
                "report.details",
            ),
            (
                r#"{"report":{"subjects":[{"value":"a"},{"value":"a","value":"b"}]}}"#,
                "`value` stands twice",
                "report.subjects[1]",
            ),
            (r#"{"report":"#, "EOF", "report"),
            ("{} {}", "trailing", ""),
            ("[]", "line 1", ""),
        ] {
            let error = parse::<SubmitReportRequest>(text).unwrap_err();
            let shown = error.source().map(ToString::to_string).unwrap_or_default();
            assert!(shown.contains(expected), "{text}: {shown}");
            let JsonError::Malformed { field, .. } = error else {
                panic!("{text}: {error}")
            };
            assert_eq!(field, where_it_is, "{text}: {shown}");
        }
    }
}
