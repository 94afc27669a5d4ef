//! Metadata of calls: how each key is read.
//!
//! What cannot be read is refused, and never taken for nothing; a key that is sent twice has no
//! value that could be chosen. `traceparent` is the exception: W3C Trace Context has a receiver
//! begin a trace of its own when it cannot go on with the caller's.

use std::time::Duration;

use data_encoding::{BASE64, BASE64_NOPAD};
use http::{HeaderMap, HeaderValue};
use icu_normalizer::ComposingNormalizerBorrowed;

use crate::{Failure, Violation};

/// Metadata key of the acting officer, set by an authenticated system: UTF-8 bytes.
pub const OFFICER: &str = "remit-officer-bin";
/// Prefix of Remit's own keys. No other is known, and a misspelt one is no remark.
const OWN: &str = "remit-";
/// Maximum number of characters in an officer's name.
const LONGEST_OFFICER: usize = 100;

/// The officer who acts, by name or pseudonym: in Unicode NFC, with nothing in it that nobody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Officer(String);

/// A text is no officer's name. The message follows the name of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOfficer {
    /// Nothing visible.
    #[error("is blank; leave it out when no person acts")]
    Blank,
    /// Too long.
    #[error("has {0} characters, more than {LONGEST_OFFICER}")]
    Long(usize),
    /// Two names that look alike would be two officers.
    #[error("has a control or invisible character, or a space at an end")]
    Invisible,
}

impl Officer {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is blank, too long, or would look like another one.
    pub fn new(text: &str) -> Result<Self, InvalidOfficer> {
        let name = ComposingNormalizerBorrowed::new_nfc().normalize(text);
        if names::text::visible(&name).trim().is_empty() {
            return Err(InvalidOfficer::Blank);
        }
        let has_control = api::text::control(&name, api::text::Form::Line).is_some();
        if has_control || name.contains(names::text::is_invisible) || name.trim() != name {
            return Err(InvalidOfficer::Invisible);
        }
        match name.chars().count() {
            length if length > LONGEST_OFFICER => Err(InvalidOfficer::Long(length)),
            _ => Ok(Self(name.into_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses keys of which one value would have to be chosen, and keys of Remit's that it does not
/// know.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for key in [http::header::AUTHORIZATION.as_str(), OFFICER, TIMEOUT] {
        let sent = headers.get_all(key).iter().count();
        if sent > 1 {
            faults.push(Violation::new(key, format!("is sent {sent} times; send it once")));
        }
    }
    for key in headers.keys() {
        if key.as_str().starts_with(OWN) && key != OFFICER {
            let description = format!("is not known; the acting officer is sent as `{OFFICER}`");
            faults.push(Violation::new(key.as_str(), description));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Failure::InvalidInput(faults)),
    }
}

/// The acting officer that a caller names.
pub(crate) fn officer(headers: &HeaderMap) -> Result<Option<Officer>, Failure> {
    let Some(value) = headers.get(OFFICER) else {
        return Ok(None);
    };
    // gRPC's binary metadata, with or without padding. A comma would join two values.
    let encoded = value.as_bytes().trim_ascii();
    let encoding = if encoded.ends_with(b"=") { BASE64 } else { BASE64_NOPAD };
    let text = encoding.decode(encoded).ok().map(String::from_utf8);
    match text {
        Some(Ok(text)) => Officer::new(&text)
            .map(Some)
            .map_err(|invalid| Failure::invalid(OFFICER, invalid.to_string())),
        _ => Err(Failure::invalid(OFFICER, "is not one UTF-8 text as binary metadata")),
    }
}

/// Metadata key of the deadline.
pub(crate) const TIMEOUT: &str = "grpc-timeout";

/// The deadline that a request names: at most eight digits and a unit. A malformed one is an error
/// of the caller, not the absence of a deadline.
pub(crate) fn timeout(headers: &HeaderMap<HeaderValue>) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let malformed = || {
        Failure::invalid(
            TIMEOUT,
            "one to eight digits and a unit out of H, M, S, m, u, n, such as `500m`",
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(malformed)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|c| c.is_ascii_digit()) {
        return Err(malformed());
    }
    let number: u64 = number.parse().map_err(|_| malformed())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(malformed()),
    }))
}

/// The caller's trace context, when there is exactly one that can be read.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (key, value) in all {
            headers.append(*key, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn fields(checked: Result<(), Failure>) -> Vec<String> {
        match checked {
            Ok(()) => Vec::new(),
            Err(Failure::InvalidInput(faults)) => faults.into_iter().map(|fault| fault.field).collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_that_is_sent_twice_and_an_unknown_one_of_ours_are_refused() {
        for (sent, refused) in [
            (
                &[("authorization", &b"Bearer a"[..]), (OFFICER, b"YQ"), (TIMEOUT, b"1S")][..],
                &[][..],
            ),
            (
                &[("authorization", b"Bearer a"), ("authorization", b"Bearer b")],
                &["authorization"],
            ),
            (
                &[("authorization", b"Bearer a"), ("authorization", b"Bearer a")],
                &["authorization"],
            ),
            (&[(OFFICER, b"YQ"), (OFFICER, b"Yg")], &[OFFICER]),
            (&[(TIMEOUT, b"1S"), (TIMEOUT, b"2S")], &[TIMEOUT]),
            (&[("remit-officer", b"o-17")], &["remit-officer"]),
            (&[("remit-oficer-bin", b"YQ")], &["remit-oficer-bin"]),
            (&[("x-request-id", b"1"), ("x-request-id", b"2")], &[]),
        ] {
            assert_eq!(fields(check(&headers(sent))), refused, "{sent:?}");
        }
    }

    #[test]
    fn an_officer_is_read_or_refused_and_never_dropped() {
        let read = |value: &[u8]| match officer(&headers(&[(OFFICER, value)])) {
            Ok(found) => Ok(found.unwrap().as_str().to_owned()),
            Err(Failure::InvalidInput(mut faults)) => Err(faults.remove(0).description),
            Err(other) => panic!("{other:?}"),
        };
        let encoded = |text: &[u8]| BASE64_NOPAD.encode(text).into_bytes();
        for (text, expected) in [
            ("o-17", "o-17"),
            ("王警官", "王警官"),
            ("Zoe\u{308} van Dam", "Zoë van Dam"),
        ] {
            assert_eq!(read(&encoded(text.as_bytes())).as_deref(), Ok(expected));
            assert_eq!(read(BASE64.encode(text.as_bytes()).as_bytes()).as_deref(), Ok(expected));
        }
        let is_text = "is not one UTF-8 text as binary metadata";
        for (value, problem) in [
            (encoded(b""), "is blank"),
            (encoded(" \u{200b}".as_bytes()), "is blank"),
            (encoded(b"o-17 "), "has a control or invisible"),
            (encoded("o\u{200b}-17".as_bytes()), "has a control or invisible"),
            (encoded(b"o-17\n"), "has a control or invisible"),
            (encoded("王".repeat(101).as_bytes()), "has 101 characters"),
            (encoded(b"\xff\xfe"), is_text),
            (b"o-17!".to_vec(), is_text),
            ("王警官".as_bytes().to_vec(), is_text),
            (b"YQ,Yg".to_vec(), is_text),
        ] {
            let refused = read(&value).unwrap_err();
            assert!(refused.starts_with(problem), "{value:?}: {refused}");
        }
        assert_eq!(officer(&HeaderMap::new()).unwrap(), None);
        assert!(Officer::new(&"王".repeat(100)).is_ok());
    }

    #[test]
    fn deadlines_are_read_or_refused() {
        let read = |value: &str| timeout(&headers(&[(TIMEOUT, value.as_bytes())])).map_err(|_| ());
        for (value, expected) in [
            ("500m", Ok(Some(Duration::from_millis(500)))),
            ("0n", Ok(Some(Duration::ZERO))),
            ("99999999H", Ok(Some(Duration::from_secs(99_999_999 * 3_600)))),
            ("100000000S", Err(())),
            ("10", Err(())),
            ("S", Err(())),
            ("-1S", Err(())),
            ("1 S", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
        assert_eq!(timeout(&HeaderMap::new()).map_err(|_| ()), Ok(None));
    }

    #[test]
    fn a_trace_goes_on_only_from_one_caller() {
        let one = ("traceparent", &b"00-1-2-01"[..]);
        assert_eq!(traceparent(&headers(&[one])), Some("00-1-2-01"));
        assert_eq!(traceparent(&headers(&[one, one])), None);
        assert_eq!(traceparent(&headers(&[("traceparent", b"\xff")])), None);
        assert_eq!(traceparent(&HeaderMap::new()), None);
    }
}
