//! Readings of reports are changes, too: logged with reader, report and purpose before anything is
//! shown. No I/O.
//!
//! Every reading is a record of its own, `readings/{id}`, with one change. As a change of the
//! report it would lengthen the report's chain and what its reporter sees of it. The public log
//! tells that intake logged something, and when. The detail, for auditors, tells which report was
//! read, by whom and for which purpose.
//!
//! Intake keeps the entry, as for every change, and nothing else: it is the reading's whole state,
//! which reconciliation compares with the log. It names neither report nor reader and is not
//! pruned.

use api::{
    event::Detail,
    intake::{GetReportRequest, ReadPurpose},
};
use journal::{Change, Draft, Entropy, Head, IntakeKind, Time, ordered_id};
use rpc::{Identity, Violation, Violations};
use uuid::Uuid;

/// The kind of the change.
const KIND: IntakeKind = IntakeKind::ReportRead;

/// A valid request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Id of the report.
    pub report: Uuid,
    /// The purpose, as logged.
    pub purpose: &'static str,
}

/// Validates a request; on failure returns all violations.
pub fn check(request: &GetReportRequest) -> Result<ReadRequest, Vec<Violation>> {
    let mut violations = Violations::new();
    let report = violations.name("name", names::REPORT, &request.name);
    let purpose = match ReadPurpose::try_from(request.purpose) {
        Ok(ReadPurpose::HandleCase) => Some("handle-case"),
        Ok(ReadPurpose::CheckSubmission) => Some("check-submission"),
        Ok(ReadPurpose::AnswerReporter) => Some("answer-reporter"),
        Ok(ReadPurpose::LegalRequest) => Some("legal-request"),
        Ok(ReadPurpose::ReviewHandling) => Some("review-handling"),
        Ok(ReadPurpose::Unspecified) | Err(_) => None,
    };
    let purpose = violations.check("purpose", purpose, NO_PURPOSE);
    violations.finish(|| {
        Some(ReadRequest {
            report: report?,
            purpose: purpose?,
        })
    })
}

/// What is said to a request without a purpose.
pub(crate) const NO_PURPOSE: &str = "must be one of those that the contract lists";

impl ReadRequest {
    /// The change to record before `caller` is shown the report.
    pub fn begin(&self, caller: &Identity, now: Time, entropy: &dyn Entropy, traceparent: String) -> Change {
        let id = ordered_id(now, entropy);
        let draft = Draft {
            source: "intake",
            record: &names::READING.of(id),
            kind: KIND.name(),
            caused_by: None,
            detail: Detail {
                actor: Some(caller.actor(id.as_bytes())),
                purpose: self.purpose.to_owned(),
                read_record: crate::store::name(self.report),
                ..Detail::default()
            },
            traceparent,
        };
        draft.into_change(&Head::default(), now, entropy)
    }
}

#[cfg(test)]
mod tests {
    use journal::{Opened, SeededEntropy};
    use prost::Message as _;
    use rpc::Roles;

    use super::*;

    const REPORT: &str = "reports/0d9f8c1e-0000-7000-8000-000000000000";

    fn request(name: &str, purpose: i32) -> GetReportRequest {
        GetReportRequest {
            name: name.to_owned(),
            purpose,
        }
    }

    #[test]
    fn p7_a_purpose_is_one_of_the_list() {
        let logged: Vec<_> = (1..=5)
            .map(|purpose| check(&request(REPORT, purpose)).unwrap().purpose)
            .collect();
        assert_eq!(
            logged,
            [
                "handle-case",
                "check-submission",
                "answer-reporter",
                "legal-request",
                "review-handling"
            ]
        );
        for (name, purpose, fields) in [
            ("cases/1", 0, &["name", "purpose"][..]),
            (REPORT, 0, &["purpose"]),
            (REPORT, 6, &["purpose"]),
            (REPORT, -1, &["purpose"]),
            ("reports/1", 1, &["name"]),
            ("", 1, &["name"]),
        ] {
            let violations = check(&request(name, purpose)).unwrap_err();
            let found: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(found, fields, "{name} {purpose}");
        }
    }

    #[test]
    fn p3_the_entry_of_a_reading_names_neither_the_report_nor_the_reader() {
        let caller = Identity {
            system: "desk".to_owned(),
            agency: names::AgencyId::new("police-450100").ok(),
            roles: Roles::AGENCY,
            officer: rpc::Officer::new("o-17").ok(),
            officer_key: rpc::OfficerKey::default(),
            proof: rpc::Proof::Token,
        };
        let wanted = check(&request(REPORT, 1)).unwrap();
        let now = Time(1_795_305_600_000_000);
        let change = wanted.begin(&caller, now, &SeededEntropy::new(1), String::new());
        let entry = Opened::of_change(&change.without_detail()).unwrap();
        assert_eq!(
            (entry.source.as_str(), entry.kind.as_str(), entry.sequence),
            ("intake", KIND.name(), 1)
        );
        assert!(entry.record.starts_with("readings/"));
        let id = wanted.report;
        let secrets = [
            id.to_string(),
            id.simple().to_string(),
            "450100".to_owned(),
            "desk".to_owned(),
            "handle".to_owned(),
        ];
        let text = String::from_utf8_lossy(&change.entry).into_owned();
        for secret in secrets {
            assert!(!text.contains(&secret), "{secret}");
        }
        assert!(!change.entry.windows(16).any(|window| window == id.as_bytes()));

        let detail = Detail::decode(change.with_detail().detail.unwrap().content).unwrap();
        let actor = detail.actor.unwrap();
        assert_eq!(
            (
                detail.read_record.as_str(),
                detail.purpose.as_str(),
                actor.agency.as_str(),
                actor.system.as_str()
            ),
            (REPORT, "handle-case", "agencies/police-450100", "desk")
        );
        assert!(!actor.officer_commitment.is_empty());
    }
}
