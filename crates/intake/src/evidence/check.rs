//! Validation of evidence requests. No I/O.

use api::intake::{DownloadEvidenceRequest, DownloadPurpose, EvidenceSpec};
use journal::Bytes32;
use rpc::{Failure, Violation, Violations};
use uuid::Uuid;

use super::forbid;
use crate::{category::Categories, reading::NO_PURPOSE, reveal};

const MEDIA_TYPE: usize = 100;

/// The announced properties of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) size: u64,
    pub(super) media_type: String,
    pub(super) sha256: Option<Bytes32>,
    pub(super) request_id: Option<Uuid>,
    /// Bytes that have arrived before.
    pub(super) offset: u64,
}

/// A valid download request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DownloadRequest {
    pub(super) id: Uuid,
    /// The purpose, as logged.
    pub(super) purpose: &'static str,
    /// The reason, in words.
    pub(super) justification: String,
}

/// The id in the name of evidence: a request's field `name`.
pub(super) fn named(name: &str) -> Result<Uuid, Failure> {
    let mut violations = Violations::new();
    let id = violations.name("name", names::EVIDENCE, name);
    Ok(violations.finish(|| id)?)
}

/// Validates the announcement of an upload; on failure returns all violations.
pub(super) fn announced(spec: EvidenceSpec, most: u64, categories: &Categories) -> Result<Announced, Vec<Violation>> {
    let mut violations = Violations::new();
    let size = u64::try_from(spec.size_bytes)
        .ok()
        .filter(|size| (1..=most).contains(size));
    let description = format!("is {}; a file has 1 to {most} bytes", spec.size_bytes);
    let size = violations.check("spec.size_bytes", size, description);
    if !spec.media_type.is_empty() && !is_media_type(&spec.media_type) {
        violations.add(
            "spec.media_type",
            format!("must be a type and a subtype, such as `image/png`, of {MEDIA_TYPE} characters at most; or empty"),
        );
    }
    let sha256 = match &*spec.sha256 {
        [] => None,
        bytes => {
            let description = format!("has {} bytes; a SHA-256 has 32", bytes.len());
            violations.check("spec.sha256", Bytes32::try_from(bytes).ok(), description)
        }
    };
    let request_id = violations.request_id("spec.request_id", &spec.request_id);
    if !spec.category.is_empty() {
        let id = names::Collection::CATEGORIES.id(&spec.category);
        match id.and_then(|id| categories.get(id)) {
            Some(category) => {
                if let Some(refusal) = forbid::refusal("spec.category", category) {
                    violations.add_whole(refusal);
                }
            }
            None => violations.add("spec.category", "is not a category of this server"),
        }
    }
    let offset = match u64::try_from(spec.offset_bytes) {
        Ok(0) => Some(0),
        Ok(_) if spec.request_id.is_empty() => {
            violations.add(
                "spec.offset_bytes",
                "goes on with an upload that has a `request_id`; give that",
            );
            None
        }
        Ok(offset) if size.is_none_or(|size| offset <= size) => Some(offset),
        _ => {
            violations.add("spec.offset_bytes", "is no number of bytes of this file");
            None
        }
    };
    violations.finish(|| {
        Some(Announced {
            offset: offset?,
            size: size?,
            media_type: spec.media_type,
            sha256,
            request_id,
        })
    })
}

/// Whether a text is a type and a subtype without parameters, in the characters of RFC 6838,
/// section 4.2.
fn is_media_type(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c))
    };
    text.len() <= MEDIA_TYPE
        && text
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_part(kind) && is_part(subtype))
}

/// Validates a download request; on failure returns all violations.
pub(super) fn download(request: &DownloadEvidenceRequest) -> Result<DownloadRequest, Vec<Violation>> {
    let mut violations = Violations::new();
    let id = violations.name("name", names::EVIDENCE, &request.name);
    let purpose = match DownloadPurpose::try_from(request.purpose) {
        Ok(DownloadPurpose::HandleReport) => Some("handle-report"),
        Ok(DownloadPurpose::VerifyEvidence) => Some("verify-evidence"),
        Ok(DownloadPurpose::ProtectPerson) => Some("protect-person"),
        Ok(DownloadPurpose::LegalRequest) => Some("legal-request"),
        Ok(DownloadPurpose::ReviewHandling) => Some("review-handling"),
        Ok(DownloadPurpose::CheckUpload) => Some("check-upload"),
        Ok(DownloadPurpose::Unspecified) | Err(_) => None,
    };
    let purpose = violations.check("purpose", purpose, NO_PURPOSE);
    let justification = reveal::justification(&request.justification, &mut violations);
    violations.finish(|| {
        Some(DownloadRequest {
            id: id?,
            purpose: purpose?,
            justification,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = "evidence/01900000-0000-7000-8000-000000000000";

    fn fields(violations: &[Violation]) -> Vec<&str> {
        violations.iter().map(|violation| violation.field.as_str()).collect()
    }

    #[test]
    fn all_violations_of_an_announcement_are_reported_at_once() {
        let categories = Categories::shipped().unwrap();
        let spec = |size_bytes, media_type: &str, sha256: usize, request_id: &str| EvidenceSpec {
            size_bytes,
            media_type: media_type.to_owned(),
            sha256: vec![7; sha256].into(),
            request_id: request_id.to_owned(),
            ..EvidenceSpec::default()
        };
        let id = "5a3e0c1e-7b2d-4c1e-9b01-0000000000aa";
        let good = announced(spec(100, "application/vnd.ms-excel+x", 32, id), 100, &categories).unwrap();
        assert_eq!(
            (good.size, good.sha256, good.request_id),
            (100, Some([7; 32]), id.parse().ok())
        );
        assert!(announced(spec(1, "", 0, ""), 100, &categories).is_ok());
        let long = format!("text/{}", "x".repeat(96));
        for (spec, expected) in [
            (
                spec(0, "png", 31, "7"),
                &["spec.size_bytes", "spec.media_type", "spec.sha256", "spec.request_id"][..],
            ),
            (spec(-1, "", 0, ""), &["spec.size_bytes"]),
            (spec(101, "", 0, ""), &["spec.size_bytes"]),
            (spec(1, "text/plain; charset=utf-8", 0, ""), &["spec.media_type"]),
            (spec(1, "text/", 0, ""), &["spec.media_type"]),
            (spec(1, "文/字", 0, ""), &["spec.media_type"]),
            (spec(1, "a/b/c", 0, ""), &["spec.media_type"]),
            (spec(1, &long, 0, ""), &["spec.media_type"]),
            (spec(1, "", 33, ""), &["spec.sha256"]),
        ] {
            assert_eq!(
                fields(&announced(spec.clone(), 100, &categories).unwrap_err()),
                expected,
                "{spec:?}"
            );
        }
    }

    #[test]
    fn all_violations_of_a_request_are_reported_at_once() {
        let request = |name: &str, purpose, justification: &str| DownloadEvidenceRequest {
            name: name.to_owned(),
            purpose,
            justification: justification.to_owned(),
        };
        let good = download(&request(NAMED, 1, " to read the contract ")).unwrap();
        assert_eq!(
            (good.purpose, good.justification.as_str()),
            ("handle-report", "to read the contract")
        );
        for (name, purpose, justification, expected) in [
            ("reports/1", 0, "", &["name", "purpose", "justification"][..]),
            (NAMED, 0, "to read the contract", &["purpose"]),
            (NAMED, 7, "to read the contract", &["purpose"]),
            (NAMED, 1, "why not", &["justification"]),
            (NAMED, 6, "two\nlines of it", &["justification"]),
        ] {
            let violations = download(&request(name, purpose, justification)).unwrap_err();
            assert_eq!(fields(&violations), expected, "{name} {purpose} {justification:?}");
        }
    }

    #[test]
    fn a_category_that_takes_no_files_refuses_them_when_they_are_announced() {
        let categories = Categories::shipped().unwrap();
        let said = |category: &str| {
            let spec = EvidenceSpec {
                size_bytes: 1,
                category: category.to_owned(),
                ..EvidenceSpec::default()
            };
            announced(spec, 100, &categories).err()
        };
        assert!(said("categories/gambling").is_none());
        let refused = said("categories/child-sexual-abuse-material").unwrap();
        assert_eq!(fields(&refused), ["spec.category"]);
        assert!(
            refused[0].description.contains("Do not download or upload it"),
            "{refused:?}"
        );
        for unknown in ["gambling", "categories/no-such-thing", "categories/Gambling"] {
            assert_eq!(fields(&said(unknown).unwrap()), ["spec.category"], "{unknown}");
        }
    }

    #[test]
    fn a_name_is_spelt_in_one_way() {
        assert!(named(NAMED).is_ok());
        for name in [
            "",
            "evidence/",
            "evidence/1",
            "reports/01900000-0000-7000-8000-000000000000",
            "evidence/01900000000070008000000000000000",
            "evidence/{01900000-0000-7000-8000-000000000000}",
            "evidence/01900000-0000-7000-8000-00000000000A",
            "evidence/../../etc/passwd",
        ] {
            assert!(named(name).is_err(), "{name}");
        }
    }
}
