//! Validation of requests to reveal a reporter. No I/O.

use api::{
    intake::{RevealPurpose, RevealReporterRequest},
    text::{Form, control},
};
use rpc::{Violation, Violations};
use uuid::Uuid;

use crate::reading::NO_PURPOSE;

/// Length of a justification, in characters.
const LENGTH: std::ops::RangeInclusive<usize> = 10..=500;

/// A valid request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevealRequest {
    /// Id of the report.
    pub report: Uuid,
    /// The purpose, as logged.
    pub purpose: &'static str,
    /// The reason, in words.
    pub justification: String,
    /// The id by which a repeat is known.
    pub request_id: Option<Uuid>,
}

/// Validates a request; on failure returns all violations.
pub fn check(request: &RevealReporterRequest) -> Result<RevealRequest, Vec<Violation>> {
    let mut violations = Violations::new();
    let report = violations.name("name", names::REPORT, &request.name);
    let purpose = match RevealPurpose::try_from(request.purpose) {
        Ok(RevealPurpose::ContactReporter) => Some("contact-reporter"),
        Ok(RevealPurpose::VerifyReport) => Some("verify-report"),
        Ok(RevealPurpose::ProtectReporter) => Some("protect-reporter"),
        Ok(RevealPurpose::LegalRequest) => Some("legal-request"),
        Ok(RevealPurpose::ReviewHandling) => Some("review-handling"),
        Ok(RevealPurpose::Unspecified) | Err(_) => None,
    };
    let purpose = violations.check("purpose", purpose, NO_PURPOSE);
    let justification = justification(&request.justification, &mut violations);
    let request_id = violations.request_id("request_id", &request.request_id);
    violations.finish(|| {
        Some(RevealRequest {
            request_id,
            report: report?,
            purpose: purpose?,
            justification,
        })
    })
}

/// Why something is needed, in words: the request's field `justification`.
pub(crate) fn justification(text: &str, violations: &mut Violations) -> String {
    let justification = text.trim();
    if !LENGTH.contains(&justification.chars().count()) || control(justification, Form::Line).is_some() {
        violations.add(
            "justification",
            format!("must be {} to {} characters on one line", LENGTH.start(), LENGTH.end()),
        );
    }
    justification.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_violations_are_reported_at_once() {
        let request = |name: &str, purpose, justification: &str| RevealReporterRequest {
            name: name.to_owned(),
            purpose,
            justification: justification.to_owned(),
            request_id: String::new(),
        };
        let report = "reports/0d9f8c1e-0000-7000-8000-000000000000";
        let good = check(&request(report, 1, "  to ask for the invoice ")).unwrap();
        assert_eq!(
            (good.purpose, good.justification.as_str()),
            ("contact-reporter", "to ask for the invoice")
        );
        for (name, purpose, justification, fields) in [
            ("cases/1", 0, "", &["name", "purpose", "justification"][..]),
            (report, 0, "to ask for the invoice", &["purpose"]),
            (report, 6, "to ask for the invoice", &["purpose"]),
            (report, 1, "         ", &["justification"]),
            (report, 1, "because..", &["justification"]),
            (report, 1, "two\nlines of text", &["justification"]),
            (report, 1, &"x".repeat(501), &["justification"]),
        ] {
            let violations = check(&request(name, purpose, justification)).unwrap_err();
            let found: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(found, fields, "{justification:?}");
        }
        let odd = RevealReporterRequest {
            request_id: "1".to_owned(),
            ..request(report, 1, "to ask for the invoice")
        };
        assert_eq!(check(&odd).unwrap_err()[0].field, "request_id");
        assert!(check(&request(report, 5, &"查".repeat(500))).is_ok());
    }
}
