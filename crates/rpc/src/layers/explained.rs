//! The words of errors that have none: those that the transport and the codec make.

use std::collections::HashMap;

use api::error::ErrorReason;
use axum::{body::Body, response::Response};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{DOMAIN, Failure, Limits, failure, failure::Violation};

/// Reasons that only errors of the transport have.
#[cfg(test)]
pub(crate) const REASONS: [ErrorReason; 4] = [
    ErrorReason::MessageTooLarge,
    ErrorReason::MalformedMessage,
    ErrorReason::Unimplemented,
    ErrorReason::Transport,
];

/// Gives every error that has none the reason that errors of ours have: those that the transport
/// and the shared services make, whether they come instead of an answer or end its stream.
pub(super) fn explain(limits: Limits, response: Response) -> Response {
    if let Some(status) = without_reason(response.headers()) {
        return explained(limits, &status).into_http();
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| match frame.into_trailers() {
            Ok(trailers) => http_body::Frame::trailers(explain_trailers(limits, trailers)),
            Err(frame) => frame,
        }))
    })
}

fn explain_trailers(limits: Limits, mut trailers: HeaderMap) -> HeaderMap {
    if let Some(status) = without_reason(&trailers) {
        let mut explained_trailers = HeaderMap::new();
        // Fails only for a message that a header cannot carry; then the error goes as it is.
        if explained(limits, &status).add_header(&mut explained_trailers).is_ok() {
            trailers.extend(explained_trailers);
        }
    }
    trailers
}

/// The error in headers or trailers, when it says no reason.
fn without_reason(headers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    (status.code() != Code::Ok && status.get_details_error_info().is_none()).then_some(status)
}

fn explained(limits: Limits, status: &Status) -> Status {
    // The codec refuses texts by their fields, as methods refuse what else is wrong with them.
    if let Some(bad) = status.get_details_bad_request() {
        let violations = bad.field_violations.into_iter();
        let violations = violations.map(|bad| Violation::new(bad.field, bad.description));
        return Failure::InvalidInput(violations.collect()).into();
    }
    let limit = limits.message_bytes;
    let mut metadata = HashMap::new();
    let (code, reason, message) = match status.code() {
        Code::OutOfRange => {
            metadata.insert("limit_bytes".to_owned(), limit.to_string());
            (
                Code::InvalidArgument,
                ErrorReason::MessageTooLarge,
                format!("the message is larger than the limit of {limit} bytes"),
            )
        }
        Code::Unimplemented => (
            Code::Unimplemented,
            ErrorReason::Unimplemented,
            "this server has no such method".to_owned(),
        ),
        Code::Internal | Code::InvalidArgument => (
            Code::InvalidArgument,
            ErrorReason::MalformedMessage,
            format!("the request cannot be decoded: {}", status.message()),
        ),
        code => (code, ErrorReason::Transport, status.message().to_owned()),
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(failure::reason(reason), DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_transport_are_as_the_catalogue_says() {
        let limits = Limits::default();
        for (code, expected) in [
            (Code::OutOfRange, ErrorReason::MessageTooLarge),
            (Code::Internal, ErrorReason::MalformedMessage),
            (Code::Unimplemented, ErrorReason::Unimplemented),
            (Code::Unknown, ErrorReason::Transport),
        ] {
            let status = explained(limits, &Status::new(code, "cut"));
            let reason = status.get_details_error_info().unwrap().reason;
            assert_eq!(reason, failure::reason(expected));
            assert_eq!(
                failure::tests::told(&status),
                failure::tests::catalogued(expected),
                "{reason}"
            );
        }
    }

    /// Whether they come instead of an answer, or end a stream.
    #[test]
    fn texts_that_the_codec_refuses_are_told_by_their_fields() {
        let details = ErrorDetails::with_bad_request_violation("report.subjects[3].value", "has a line break");
        let refused = Status::with_error_details(Code::InvalidArgument, "texts", details);
        let mut trailers = HeaderMap::new();
        refused.add_header(&mut trailers).unwrap();
        for headers in [
            explain(Limits::default(), refused.into_http()).headers().clone(),
            explain_trailers(Limits::default(), trailers),
        ] {
            let status = Status::from_header_map(&headers).unwrap();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_INPUT");
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations[0].field, "report.subjects[3].value");
            assert_eq!(violations[0].description, "has a line break");
        }
    }
}
