//! Failures, and the one place where they become gRPC statuses.

use std::{borrow::Cow, io::ErrorKind, time::Duration};

use api::error::ErrorReason;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "remit.internal";

/// A reason in the form of `ErrorInfo`: the catalogue's name without its prefix.
pub fn reason(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// A violation in one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field as in the proto, such as `report.subjects[0].value`.
    pub field: String,
    /// The problem and how to fix it.
    pub description: String,
}

impl Violation {
    /// A violation in a field.
    ///
    /// Both texts are truncated to 160 characters, because parts of them are the caller's own.
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

/// Why a request failed. The variant contains what the caller may know; the cause in `Internal` is
/// only logged.
#[derive(Debug)]
pub enum Failure {
    /// All violations in the request's fields.
    InvalidInput(Vec<Violation>),
    /// The object does not exist, or is not visible to this caller.
    NotFound {
        /// The kind of object, such as `case`.
        what: &'static str,
    },
    /// The log has the entry, but no published checkpoint covers it yet.
    NotYetLogged,
    /// The log does not have the entry.
    NotLogged,
    /// The record changed since the caller read it.
    EtagMismatch,
    /// The request id was used for different content.
    RequestIdReused,
    /// The sender has another report with this external id.
    ExternalIdReused {
        /// Resource name of that report.
        report: String,
    },
    /// The record's state does not allow the request.
    WrongState {
        /// Resource name of the record.
        record: String,
        /// Its state: the name in its enum, without the prefix.
        state: &'static str,
        /// Its state in words, and the required one.
        description: String,
    },
    /// The caller is unknown.
    Unauthenticated,
    /// The caller may not do this.
    Denied {
        /// Who may.
        description: Cow<'static, str>,
        /// The calling system.
        system: String,
    },
    /// Overloaded.
    Overloaded,
    /// A stream has been open for as long as it may.
    StreamEnded,
    /// There is no room: for a file, or in the database.
    StorageFull,
    /// A caller's files take up its quota.
    QuotaReached {
        /// The quota.
        bytes: u64,
    },
    /// The deadline has passed.
    DeadlineExceeded,
    /// A required part of Remit does not respond.
    Unavailable {
        /// The part.
        what: &'static str,
    },
    /// Stored data differs from what was recorded. The cause is logged.
    Damaged {
        /// Resource name of the record.
        record: String,
    },
    /// The transport ended a request's stream, with a status of its own.
    Transport(Box<Status>),
    /// Any other failure. The cause is logged and not sent.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    /// A violation in one field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::InvalidInput(vec![Violation::new(field, description)])
    }

    /// A stream of messages was ended by the transport. Not for what another service answered.
    pub fn transport(status: Status) -> Self {
        Self::Transport(Box::new(status))
    }

    /// A file could not be written, which is logged.
    pub fn unwritten(doing: &'static str, error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                tracing::error!(%error, doing, "the disk is full");
                Self::StorageFull
            }
            _ => Self::Internal(Box::new(error)),
        }
    }

    /// The caller may not do this.
    pub fn denied(description: impl Into<Cow<'static, str>>, system: &str) -> Self {
        Self::Denied {
            description: description.into(),
            system: system.to_owned(),
        }
    }
}

/// Maximum number of violations in an error, and of fields in its message. Beyond, it gives the
/// number of the rest.
const SHOWN: usize = 40;
const NAMED: usize = 12;
/// Delay that an overloaded caller is told to wait.
const RETRY: Duration = Duration::from_millis(500);
/// Delay before room can be expected: an operator makes it.
const RETRY_FULL: Duration = Duration::from_secs(60);

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut details = ErrorDetails::new();
        let mut info = |why: ErrorReason, metadata: &[(&str, &str)]| {
            details.set_error_info(
                reason(why),
                DOMAIN,
                metadata
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect::<std::collections::HashMap<_, _>>(),
            );
        };
        let (code, message) = match failure {
            Failure::Transport(status) => return *status,
            Failure::InvalidInput(violations) => {
                info(ErrorReason::InvalidInput, &[]);
                // Details are sent in headers, whose size is limited.
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
                info(ErrorReason::NotFound, &[("what", what)]);
                (Code::NotFound, format!("no such {what}, or not visible to this caller"))
            }
            Failure::NotYetLogged => {
                info(ErrorReason::NotYetLogged, &[]);
                details.set_retry_info(Some(RETRY));
                (
                    Code::NotFound,
                    "no published checkpoint holds this entry yet".to_owned(),
                )
            }
            Failure::NotLogged => {
                info(ErrorReason::NotLogged, &[]);
                (
                    Code::NotFound,
                    "the log does not have this entry; if it is still being delivered, try again".to_owned(),
                )
            }
            Failure::EtagMismatch => {
                info(ErrorReason::EtagMismatch, &[]);
                (
                    Code::Aborted,
                    "the record changed since its etag was read; read it again".to_owned(),
                )
            }
            Failure::RequestIdReused => {
                info(ErrorReason::RequestIdReused, &[]);
                (
                    Code::AlreadyExists,
                    "the request id was used for different content; choose a new one".to_owned(),
                )
            }
            Failure::ExternalIdReused { report } => {
                info(ErrorReason::ExternalIdReused, &[("report", &report)]);
                (
                    Code::AlreadyExists,
                    format!("{report} has this external id and says something else; add to it, or choose another id"),
                )
            }
            Failure::WrongState {
                record,
                state,
                description,
            } => {
                info(ErrorReason::WrongState, &[("record", &record), ("state", state)]);
                details.add_precondition_failure_violation("STATE", &record, &description);
                (Code::FailedPrecondition, description)
            }
            Failure::Unauthenticated => {
                info(ErrorReason::Unauthenticated, &[]);
                (
                    Code::Unauthenticated,
                    "send a valid token as metadata `authorization: Bearer TOKEN`".to_owned(),
                )
            }
            Failure::Denied { description, system } => {
                info(ErrorReason::Denied, &[("system", &system)]);
                (Code::PermissionDenied, format!("`{system}`: {description}"))
            }
            Failure::Overloaded => {
                info(ErrorReason::Overloaded, &[]);
                details.set_retry_info(Some(RETRY));
                (
                    Code::ResourceExhausted,
                    "the server is overloaded; try again later".to_owned(),
                )
            }
            Failure::StreamEnded => {
                info(ErrorReason::Unavailable, &[("what", "this stream")]);
                details.set_retry_info(Some(RETRY));
                (
                    Code::Unavailable,
                    "the stream has been open for as long as it may; open it again where it ended".to_owned(),
                )
            }
            Failure::StorageFull => {
                info(ErrorReason::StorageFull, &[]);
                details.set_retry_info(Some(RETRY_FULL));
                (
                    Code::ResourceExhausted,
                    "the server has no room; try again when its operator has made some".to_owned(),
                )
            }
            Failure::QuotaReached { bytes } => {
                info(ErrorReason::StorageFull, &[]);
                details.set_retry_info(Some(RETRY_FULL));
                (
                    Code::ResourceExhausted,
                    format!(
                        "files of this system that no report names would take more than its quota of {bytes} bytes; \
                         name them in reports, or wait until they expire"
                    ),
                )
            }
            Failure::DeadlineExceeded => {
                info(ErrorReason::DeadlineExceeded, &[]);
                (
                    Code::DeadlineExceeded,
                    "the deadline has passed; repeat with the same request id".to_owned(),
                )
            }
            Failure::Unavailable { what } => {
                info(ErrorReason::Unavailable, &[("what", what)]);
                details.set_retry_info(Some(RETRY));
                (Code::Unavailable, format!("{what} does not respond; try again"))
            }
            Failure::Damaged { record } => {
                info(ErrorReason::DataLoss, &[("record", &record)]);
                (
                    Code::DataLoss,
                    format!("stored data of {record} differs from what was recorded; the operator is notified"),
                )
            }
            Failure::Internal(cause) => {
                let reference = journal::random_id(&journal::SystemEntropy).to_string();
                tracing::error!(
                    reference,
                    error = telemetry::with_causes(cause.as_ref()),
                    "internal error"
                );
                info(ErrorReason::Internal, &[("reference", &reference)]);
                (
                    Code::Internal,
                    format!("internal error; the operator can find the cause by reference {reference}"),
                )
            }
        };
        Self::with_error_details(code, message, details)
    }
}

impl From<Failure> for api::google::rpc::Status {
    /// The status of a failure, as a message: of one item of many.
    fn from(failure: Failure) -> Self {
        let status = Status::from(failure);
        // With its details, which are such a message themselves.
        let whole = Self::decode(status.details()).ok();
        whole.filter(|whole| whole.code != 0).unwrap_or_else(|| Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        })
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

/// What a caller can do about a database failure, if anything: retry later.
fn classify(error: &sql::Error) -> Option<Failure> {
    // The database logs it, once.
    if error.is_full() {
        return Some(Failure::StorageFull);
    }
    if error.is_outage() {
        tracing::warn!(error = telemetry::with_causes(error), "the database does not respond");
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
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// One failure of each kind.
    fn each() -> Vec<(Failure, ErrorReason)> {
        let io = Box::new(std::io::Error::other("password=hunter2"));
        let record = || "evidence/1".to_owned();
        vec![
            (
                Failure::invalid("report.category", "name one"),
                ErrorReason::InvalidInput,
            ),
            (Failure::NotFound { what: "case" }, ErrorReason::NotFound),
            (Failure::NotYetLogged, ErrorReason::NotYetLogged),
            (Failure::NotLogged, ErrorReason::NotLogged),
            (Failure::EtagMismatch, ErrorReason::EtagMismatch),
            (Failure::RequestIdReused, ErrorReason::RequestIdReused),
            (
                Failure::ExternalIdReused { report: record() },
                ErrorReason::ExternalIdReused,
            ),
            (
                Failure::WrongState {
                    record: record(),
                    state: "EXPIRED",
                    description: "it has expired".to_owned(),
                },
                ErrorReason::WrongState,
            ),
            (Failure::Unauthenticated, ErrorReason::Unauthenticated),
            (Failure::denied("only agencies", "x"), ErrorReason::Denied),
            (Failure::Overloaded, ErrorReason::Overloaded),
            (Failure::StorageFull, ErrorReason::StorageFull),
            (Failure::DeadlineExceeded, ErrorReason::DeadlineExceeded),
            (Failure::Unavailable { what: "routing" }, ErrorReason::Unavailable),
            (Failure::Damaged { record: record() }, ErrorReason::DataLoss),
            (Failure::Internal(io), ErrorReason::Internal),
        ]
    }

    /// Reads the catalogue: a reason's code, whether it promises a delay, and its metadata keys.
    pub(crate) fn catalogued(reason: ErrorReason) -> (i32, bool, Vec<String>) {
        let handling = api::POOL.get_extension_by_name("remit.error.v1.handling").unwrap();
        let reasons = api::POOL.get_enum_by_name("remit.error.v1.ErrorReason").unwrap();
        let options = reasons.get_value(reason.into()).unwrap().options();
        let handling = options.get_extension(&handling);
        let handling: api::error::Handling = handling.as_message().unwrap().transcode_to().unwrap();
        (
            handling.code,
            handling.retry() == api::error::Retry::AfterDelay,
            handling.metadata,
        )
    }

    /// Reads a status: its code, whether it contains a delay, and its metadata keys.
    pub(crate) fn told(status: &Status) -> (i32, bool, Vec<String>) {
        let mut keys: Vec<_> = status.get_details_error_info().unwrap().metadata.into_keys().collect();
        keys.sort();
        let retry = status
            .get_details_retry_info()
            .is_some_and(|info| info.retry_delay.is_some());
        (status.code().into(), retry, keys)
    }

    #[test]
    fn every_failure_matches_the_catalogue() {
        for (failure, expected) in each() {
            let status = Status::from(failure);
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason(expected), DOMAIN));
            assert_eq!(told(&status), catalogued(expected), "{}", info.reason);
            assert!(!status.message().contains("hunter2") && !status.details().windows(7).any(|w| w == b"hunter2"));
        }
        let each: std::collections::BTreeSet<_> = each().into_iter().map(|(_, reason)| i32::from(reason)).collect();
        let of_transport = crate::layers::REASONS.map(i32::from);
        let catalogue = api::POOL.get_enum_by_name("remit.error.v1.ErrorReason").unwrap();
        for value in catalogue.values().filter(|value| value.number() != 0) {
            let number = value.number();
            assert!(
                each.contains(&number) != of_transport.contains(&number),
                "{}",
                value.name()
            );
        }
    }

    #[test]
    fn a_full_disk_is_told_as_such_whatever_was_written_to_it() {
        let told = |failure: Failure| {
            let status = Status::from(failure);
            (
                status.code(),
                status
                    .get_details_error_info()
                    .map(|info| info.reason)
                    .unwrap_or_default(),
            )
        };
        let full = (Code::ResourceExhausted, "STORAGE_FULL".to_owned());
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert_eq!(told(Failure::unwritten("testing", kind.into())), full);
        }
        let other = told(Failure::unwritten("testing", ErrorKind::PermissionDenied.into()));
        assert_eq!(other, (Code::Internal, "INTERNAL".to_owned()));
    }

    /// A database that may not grow, as on a full disk.
    #[tokio::test]
    async fn a_database_without_room_is_told_as_such_by_every_way_of_writing() {
        let backend = testkit::Backend::sqlite();
        let db = sql::Db::open(backend.url(), &[]).await.unwrap();
        sql::transact!(&db, |tx| tx.execute("CREATE TABLE kept (content BLOB)", Vec::new())).unwrap();
        let write = async |limit: &'static str| {
            let content = vec![vec![7_u8; 1 << 20].into()];
            sql::transact!(&db, |tx| async {
                // Each time: what failed is tried on another connection.
                tx.fetch(limit, Vec::new()).await?;
                tx.execute("INSERT INTO kept (content) VALUES ($1)", content.clone())
                    .await
            })
        };
        let (full, roomy) = ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 100000");
        let reason = |failure: Failure| {
            let status = Status::from(failure);
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert!(status.get_details_retry_info().is_some());
            status.get_details_error_info().unwrap().reason
        };
        assert_eq!(reason(write(full).await.unwrap_err().into()), "STORAGE_FULL");
        let grouped = journal::CommitError::Failed(Arc::new(write(full).await.unwrap_err()));
        assert_eq!(reason(grouped.into()), "STORAGE_FULL");
        assert!(db.is_full().await);
        write(roomy).await.unwrap();
        assert!(!db.is_full().await);
    }

    #[test]
    fn all_violations_are_reported_at_once() {
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
