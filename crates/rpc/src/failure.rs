//! What went wrong, and the one place where it becomes a gRPC status.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "remit";

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field as in the proto, such as `report.subjects[0].value`.
    pub field: String,
    /// What is wrong, and what to do.
    pub description: String,
}

impl Violation {
    /// For a field.
    ///
    /// Both are cut at 160 characters: parts of them are the caller's own.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        let cut = |text: String| {
            if text.len() > 160 {
                text.chars().take(160).collect()
            } else {
                text
            }
        };
        Self {
            field: cut(field.into()),
            description: cut(description.into()),
        }
    }
}

/// Why a request was not done. What the caller may know is in the variant; what only the log may know is in `Internal`.
#[derive(Debug)]
pub enum Failure {
    /// Fields are not as they should be: all of them.
    InvalidInput(Vec<Violation>),
    /// There is no such thing, or not for this caller.
    NotFound {
        /// What was looked for, such as `case`.
        what: &'static str,
    },
    /// The log does not hold it yet, or no published checkpoint does.
    NotYetLogged,
    /// The record changed since the caller saw it.
    EtagMismatch,
    /// The request id was used for other content.
    RequestIdReused,
    /// The record's state does not allow it.
    WrongState {
        /// Resource name of the record.
        record: String,
        /// Its state, and what would be needed.
        description: String,
    },
    /// The caller is not known.
    Unauthenticated,
    /// The caller may not do this.
    Denied {
        /// Who may.
        description: &'static str,
        /// The calling system.
        system: String,
    },
    /// Too much is going on.
    Overloaded,
    /// The deadline has passed.
    DeadlineExceeded,
    /// A part of Remit that is needed does not answer.
    Unavailable {
        /// Which.
        what: &'static str,
    },
    /// What is stored is not what was recorded. Why is in the log.
    Damaged {
        /// Resource name of the record.
        record: String,
    },
    /// Anything else. The cause is logged and does not leave.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    /// One field is not as it should be.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::InvalidInput(vec![Violation::new(field, description)])
    }

    /// The caller may not do this.
    pub fn denied(description: &'static str, system: &str) -> Self {
        Self::Denied {
            description,
            system: system.to_owned(),
        }
    }
}

/// Violations that an error carries, and fields that its message names: beyond, it says how many more there are.
const SHOWN: usize = 40;
const NAMED: usize = 12;
/// When an overloaded caller should come back.
const RETRY: Duration = Duration::from_millis(500);

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut details = ErrorDetails::new();
        let mut info = |reason: &str, metadata: &[(&str, &str)]| {
            details.set_error_info(
                reason,
                DOMAIN,
                metadata
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect::<std::collections::HashMap<_, _>>(),
            );
        };
        let (code, message) = match failure {
            Failure::InvalidInput(violations) => {
                info("INVALID_INPUT", &[]);
                // Details travel in headers, which have a limit of their own.
                let fields: Vec<_> = violations
                    .iter()
                    .take(NAMED)
                    .map(|violation| violation.field.as_str())
                    .collect();
                let more = violations.len().saturating_sub(SHOWN);
                let mut message = format!(
                    "{} invalid: {}",
                    if violations.len() == 1 { "field" } else { "fields" },
                    fields.join(", ")
                );
                if violations.len() > NAMED {
                    message = format!("{message} and {} more", violations.len() - NAMED);
                }
                for violation in violations.iter().take(SHOWN) {
                    details.add_bad_request_violation(&violation.field, &violation.description);
                }
                if more > 0 {
                    details.add_bad_request_violation("", format!("and {more} more"));
                }
                (Code::InvalidArgument, message)
            }
            Failure::NotFound { what } => {
                info("NOT_FOUND", &[("what", what)]);
                (Code::NotFound, format!("no such {what}, or not for this caller"))
            }
            Failure::NotYetLogged => {
                info("NOT_YET_LOGGED", &[]);
                details.set_retry_info(Some(RETRY));
                (
                    Code::NotFound,
                    "no published checkpoint holds this entry yet".to_owned(),
                )
            }
            Failure::EtagMismatch => {
                info("ETAG_MISMATCH", &[]);
                (
                    Code::Aborted,
                    "the record changed since its etag was read; read it again".to_owned(),
                )
            }
            Failure::RequestIdReused => {
                info("REQUEST_ID_REUSED", &[]);
                (
                    Code::AlreadyExists,
                    "the request id was used for other content; choose a new one".to_owned(),
                )
            }
            Failure::WrongState { record, description } => {
                info("WRONG_STATE", &[("record", &record)]);
                details.add_precondition_failure_violation("STATE", &record, &description);
                (Code::FailedPrecondition, description)
            }
            Failure::Unauthenticated => {
                info("UNAUTHENTICATED", &[]);
                (
                    Code::Unauthenticated,
                    "send a valid token as metadata `authorization: Bearer TOKEN`".to_owned(),
                )
            }
            Failure::Denied { description, system } => {
                info("DENIED", &[("system", &system)]);
                (Code::PermissionDenied, format!("`{system}`: {description}"))
            }
            Failure::Overloaded => {
                info("OVERLOADED", &[]);
                details.set_retry_info(Some(RETRY));
                (
                    Code::ResourceExhausted,
                    "too much is going on; come back a little later".to_owned(),
                )
            }
            Failure::DeadlineExceeded => {
                info("DEADLINE_EXCEEDED", &[]);
                (
                    Code::DeadlineExceeded,
                    "the deadline has passed; repeat with the same request id".to_owned(),
                )
            }
            Failure::Unavailable { what } => {
                info("UNAVAILABLE", &[("what", what)]);
                details.set_retry_info(Some(RETRY));
                (Code::Unavailable, format!("{what} does not answer; try again"))
            }
            Failure::Damaged { record } => {
                info("DATA_LOSS", &[("record", &record)]);
                (
                    Code::DataLoss,
                    format!("what is stored of {record} is not what was recorded; the operator is told"),
                )
            }
            Failure::Internal(cause) => {
                let reference = journal::random_id(&journal::SystemEntropy).to_string();
                tracing::error!(
                    reference,
                    error = telemetry::with_causes(cause.as_ref()),
                    "internal error"
                );
                info("INTERNAL", &[("reference", &reference)]);
                (
                    Code::Internal,
                    format!("internal error; the operator finds the cause under reference {reference}"),
                )
            }
        };
        Self::with_error_details(code, message, details)
    }
}

impl From<sql::Error> for Failure {
    fn from(error: sql::Error) -> Self {
        match classify(&error) {
            Some(failure) => failure,
            None => Self::Internal(Box::new(error)),
        }
    }
}

/// What a caller can do about a failure of the database, if anything: come back later.
fn classify(error: &sql::Error) -> Option<Failure> {
    if error.is_outage() {
        tracing::warn!(error = telemetry::with_causes(error), "the database does not answer");
        return Some(Failure::Unavailable { what: "the database" });
    }
    error.is_transient().then_some(Failure::Overloaded)
}

impl From<journal::CommitError> for Failure {
    fn from(error: journal::CommitError) -> Self {
        match error {
            journal::CommitError::Overloaded => Self::Overloaded,
            journal::CommitError::Stopping => Self::Unavailable { what: "this service" },
            journal::CommitError::Failed(ref cause) => match classify(cause) {
                Some(failure) => failure,
                None => Self::Internal(Box::new(error)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_carries_its_reason() {
        let io = || Box::new(std::io::Error::other("password=hunter2"));
        for (failure, code, reason) in [
            (
                Failure::invalid("report.category", "name one"),
                Code::InvalidArgument,
                "INVALID_INPUT",
            ),
            (Failure::NotFound { what: "case" }, Code::NotFound, "NOT_FOUND"),
            (Failure::NotYetLogged, Code::NotFound, "NOT_YET_LOGGED"),
            (Failure::EtagMismatch, Code::Aborted, "ETAG_MISMATCH"),
            (Failure::RequestIdReused, Code::AlreadyExists, "REQUEST_ID_REUSED"),
            (
                Failure::WrongState {
                    record: "cases/1".to_owned(),
                    description: "it is closed".to_owned(),
                },
                Code::FailedPrecondition,
                "WRONG_STATE",
            ),
            (Failure::Unauthenticated, Code::Unauthenticated, "UNAUTHENTICATED"),
            (Failure::denied("only agencies", "x"), Code::PermissionDenied, "DENIED"),
            (Failure::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (Failure::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (
                Failure::Unavailable { what: "routing" },
                Code::Unavailable,
                "UNAVAILABLE",
            ),
            (
                Failure::Damaged {
                    record: "evidence/1".to_owned(),
                },
                Code::DataLoss,
                "DATA_LOSS",
            ),
            (Failure::Internal(io()), Code::Internal, "INTERNAL"),
        ] {
            let status = Status::from(failure);
            assert_eq!(status.code(), code);
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, DOMAIN));
            assert!(!status.message().contains("hunter2") && !status.details().windows(7).any(|w| w == b"hunter2"));
        }
    }

    #[test]
    fn all_violations_are_named_at_once() {
        let failure = Failure::InvalidInput(vec![
            Violation::new("a", "is missing"),
            Violation::new("b[1]", "is too long"),
        ]);
        let status = Status::from(failure);
        assert_eq!(status.message(), "fields invalid: a, b[1]");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(
            violations
                .iter()
                .map(|v| (v.field.as_str(), v.description.as_str()))
                .collect::<Vec<_>>(),
            [("a", "is missing"), ("b[1]", "is too long")]
        );
    }
}
