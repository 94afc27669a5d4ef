//! XARF, version 4: the abuse reports that hosters, networks and clearing houses send each other
//! (<https://xarf.org>). What a report says is read by its names; those that say nothing here are
//! left out.

use std::{net::IpAddr, str::FromStr as _};

use api::intake::{Report, Reporter, ReporterRelation, Subject, SubjectKind, SubmitReportRequest};
use data_encoding::{BASE64, BASE64_MIME_PERMISSIVE, HEXLOWER_PERMISSIVE};
use journal::Time;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::source::{Attached, Fault, Found};

/// A category of messages, its types, the category here, and a detail that the message cannot say.
type Act = (
    &'static str,
    &'static [&'static str],
    &'static str,
    Option<(&'static str, &'static str)>,
);

/// Categories and types that are acts here, and which: a required detail where the message cannot
/// say it. The others are no report about an act that a category here names: unwanted messages,
/// copyright, scans, weaknesses, and lists of bad names.
const TYPES: &[Act] = &[
    (
        "content",
        &["phishing"],
        "fraud.impersonation",
        Some(("posed_as", "other")),
    ),
    ("content", &["fraud"], "fraud", None),
    ("content", &["malware"], "malware", None),
    ("content", &["csam", "csem"], "child-sexual-abuse-material", None),
    ("content", &["exposed_data", "data_leak"], "personal-data", None),
    ("content", &["brand_infringement"], "counterfeit", None),
    ("content", &["remote_compromise", "defacement"], "intrusion", None),
    (
        "connection",
        &["login_attack", "auth_failure", "sql_injection"],
        "intrusion",
        None,
    ),
    (
        "connection",
        &["ddos", "ddos_amplification", "infected_host", "bot"],
        "malware",
        None,
    ),
    ("infrastructure", &["botnet", "bot", "c2"], "malware", None),
    (
        "infrastructure",
        &["compromised_server", "compromised_account"],
        "intrusion",
        None,
    ),
];

/// Categories whose reports are taken without files.
const WITHOUT_FILES: &[&str] = &["child-sexual-abuse-material"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    xarf_version: Option<String>,
    #[serde(rename = "Version")]
    version: Option<serde_json::Value>,
    report_id: Option<String>,
    timestamp: Option<String>,
    reporter: Option<Contact>,
    sender: Option<Contact>,
    source_identifier: Option<String>,
    source_port: Option<i64>,
    category: Option<String>,
    class: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    domain: Option<String>,
    description: Option<String>,
    target_brand: Option<String>,
    evidence: Vec<Evidence>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Contact {
    org: String,
    contact: String,
    domain: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Evidence {
    content_type: String,
    description: String,
    payload: Option<String>,
    hashes: Vec<String>,
    hash: Option<String>,
}

/// The report of a message.
pub(super) fn request(text: &str) -> Result<Found, Vec<Fault>> {
    let message: Message =
        serde_json::from_str(text).map_err(|error| vec![Fault::new("", format!("is no XARF message: {error}"))])?;
    let mut faults = Vec::new();
    let version = message.xarf_version.as_deref().unwrap_or_default();
    if !is_version(version) {
        let found = match (version, &message.version) {
            ("", None) => "missing".to_owned(),
            ("", Some(version)) => format!("{version} (under `Version`)"),
            (version, _) => format!("`{}`", shown(version)),
        };
        // Of another version, the rest means something else.
        let description = format!("is {found}; version 4 is read, such as `4.2.0`");
        return Err(vec![Fault::new("xarf_version", description)]);
    }
    let mut text = |field: &str, value: &Option<String>| match value.as_deref().map(str::trim) {
        Some(value) if !value.is_empty() => Some(value.to_owned()),
        _ => {
            faults.push(Fault::new(field, "is missing"));
            None
        }
    };
    let report_id = text("report_id", &message.report_id);
    let timestamp = text("timestamp", &message.timestamp);
    let source = text("source_identifier", &message.source_identifier);
    // Drafts of version 4 called it `class`.
    let category = text("category", &message.category.clone().or(message.class.clone()));
    let kind = text("type", &message.kind);
    for (field, contact) in [("reporter", &message.reporter), ("sender", &message.sender)] {
        match contact {
            Some(contact) if !contact.org.trim().is_empty() => {}
            _ => faults.push(Fault::new(format!("{field}.org"), "is missing")),
        }
    }
    let domain = message.reporter.as_ref().map(|reporter| domain(&reporter.domain));
    if domain.as_ref().is_some_and(String::is_empty) {
        faults.push(Fault::new("reporter.domain", "is missing"));
    }
    let domain = domain.unwrap_or_default();
    let report_id = report_id.and_then(|id| match Uuid::try_parse(&id) {
        Ok(id) => Some(id),
        Err(_) => {
            faults.push(Fault::new("report_id", "must be a UUID"));
            None
        }
    });
    let observed = timestamp.and_then(|time| match jiff::Timestamp::from_str(&time) {
        Ok(time) => Some(Time(time.as_microsecond())),
        Err(_) => {
            faults.push(Fault::new("timestamp", "must be a time with its zone (RFC 3339)"));
            None
        }
    });
    let act = category.as_ref().zip(kind.as_ref()).and_then(|(category, kind)| {
        let found = TYPES
            .iter()
            .find(|(of, kinds, ..)| of == category && kinds.contains(&kind.as_str()));
        if found.is_none() {
            let known: Vec<_> = TYPES
                .iter()
                .flat_map(|(of, kinds, ..)| kinds.iter().map(move |kind| format!("{of}/{kind}")))
                .collect();
            let description = format!(
                "`{}/{}` is of no category here; those that are: {}",
                shown(category),
                shown(kind),
                known.join(", ")
            );
            faults.push(Fault::new("type", description));
        }
        found
    });
    let files = match act {
        Some((.., act, _)) if WITHOUT_FILES.contains(act) => Vec::new(),
        _ => files(&message.evidence, &domain, report_id, &mut faults),
    };
    let (Some(id), Some(observed), Some(source), Some((.., act, detail)), [], Some(reporter), Some(sender)) = (
        report_id,
        observed,
        source,
        act,
        faults.as_slice(),
        &message.reporter,
        &message.sender,
    ) else {
        return Err(faults);
    };
    let mut narrative = Vec::new();
    narrative.extend(
        message
            .description
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
    );
    narrative.extend(
        message
            .evidence
            .iter()
            .map(|file| file.description.trim().to_owned())
            .filter(|text| !text.is_empty()),
    );
    let port = message
        .source_port
        .map(|port| format!(", port {port}"))
        .unwrap_or_default();
    narrative.push(format!(
        "XARF {version} {}/{}; source {source}{port}",
        category.unwrap_or_default(),
        kind.unwrap_or_default()
    ));
    narrative.extend(message.target_brand.as_ref().map(|brand| format!("posed as {brand}")));
    if sender.org != reporter.org || sender.contact != reporter.contact {
        narrative.push(format!("sent on by {} ({})", sender.org, sender.contact));
    }
    let report = Report {
        category: format!("categories/{act}"),
        subjects: vec![subject(&message, &source, observed)],
        reporter: Some(Reporter {
            relation: ReporterRelation::Organisation.into(),
            display_name: reporter.org.clone(),
            contact: reporter.contact.clone(),
        }),
        narrative: narrative.join("\n"),
        details: detail
            .map(|(path, value)| (path.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        // Ids are unique to who gave them.
        external_id: format!("{domain}:{id}"),
        ..Report::default()
    };
    Ok(Found {
        request: SubmitReportRequest {
            report: Some(report),
            ..SubmitReportRequest::default()
        },
        files,
    })
}

/// `4.2.0` and the like.
fn is_version(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts[0] == "4" && parts.iter().all(is_number)
}

/// A domain as it is compared.
fn domain(text: &str) -> String {
    text.trim().trim_end_matches('.').to_lowercase()
}

/// What is reported: the address if there is one, for others report that, too; else where it came
/// from.
fn subject(message: &Message, source: &str, observed: Time) -> Subject {
    let observe_time = Some(observed.to_proto());
    let of = |kind: SubjectKind, value: &str| Subject {
        kind: kind.into(),
        value: value.to_owned(),
        observe_time,
        ..Subject::default()
    };
    let given = |value: &Option<String>| value.clone().filter(|value| !value.trim().is_empty());
    if let Some(url) = given(&message.url) {
        return of(SubjectKind::Url, url.trim());
    }
    if let Some(domain) = given(&message.domain) {
        return of(SubjectKind::Domain, domain.trim());
    }
    if source.parse::<IpAddr>().is_ok() {
        return Subject {
            port: message
                .source_port
                .and_then(|port| i32::try_from(port).ok())
                .unwrap_or_default(),
            ..of(SubjectKind::IpAddress, source)
        };
    }
    match source.contains("://") {
        true => of(SubjectKind::Url, source),
        false => of(SubjectKind::Domain, source.rsplit('@').next().unwrap_or(source)),
    }
}

/// The files in the message, each of the hash that it says.
fn files(evidence: &[Evidence], domain: &str, report: Option<Uuid>, faults: &mut Vec<Fault>) -> Vec<Attached> {
    let mut files = Vec::new();
    for (i, file) in evidence.iter().enumerate() {
        let Some(payload) = file.payload.as_deref().filter(|payload| !payload.is_empty()) else {
            continue;
        };
        let decoded = BASE64
            .decode(payload.as_bytes())
            .or_else(|_| BASE64_MIME_PERMISSIVE.decode(payload.as_bytes()));
        let Ok(bytes) = decoded else {
            faults.push(Fault::new(format!("evidence[{i}].payload"), "is not base 64"));
            continue;
        };
        let sha256 = Sha256::digest(&bytes);
        for hash in file.hashes.iter().chain(&file.hash) {
            let Some(hash) = hash.strip_prefix("sha256:") else {
                continue;
            };
            if HEXLOWER_PERMISSIVE
                .decode(hash.as_bytes())
                .is_ok_and(|hash| hash == sha256[..])
            {
                continue;
            }
            faults.push(Fault::new(
                format!("evidence[{i}].hashes"),
                "is not the SHA-256 of the payload",
            ));
        }
        // The same for the same file of the same report: a repeated upload is one.
        let mut name = Sha256::new()
            .chain_update(b"remit-xarf-evidence-v2")
            .chain_update(report.unwrap_or_default().as_bytes())
            .chain_update((i as u64).to_be_bytes())
            .chain_update(sha256);
        for text in [domain, &file.content_type] {
            name.update((text.len() as u64).to_be_bytes());
            name.update(text);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&name.finalize()[..16]);
        files.push(Attached {
            field: format!("evidence[{i}]"),
            media_type: file.content_type.clone(),
            request_id: uuid::Builder::from_custom_bytes(id).into_uuid(),
            bytes: bytes.into(),
        });
    }
    files
}

/// A stranger's word, as far as it fits into a sentence.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn message() -> Value {
        json!({
            "xarf_version": "4.2.0",
            "report_id": "0b6f6a2c-3a55-4a0c-9b0e-5f2f3c9a7d11",
            "timestamp": "2026-11-20T10:00:00Z",
            "reporter": {"org": "Bank of Somewhere", "contact": "abuse@bank.example", "domain": "bank.example"},
            "sender": {"org": "Clearing House", "contact": "desk@house.example", "domain": "house.example"},
            "source_identifier": "203.0.113.7",
            "source_port": 443,
            "category": "content",
            "type": "phishing",
            "url": "https://login.bank.evil.example/",
            "description": "asks for the customer's password",
            "evidence": [{
                "content_type": "text/plain",
                "description": "the page's text",
                "payload": "aGVsbG8=",
                "hashes": ["sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "md5:x"],
            }],
        })
    }

    fn faults(message: &Value) -> Vec<String> {
        let faults = request(&message.to_string()).unwrap_err();
        faults
            .into_iter()
            .map(|fault| format!("{}: {}", fault.field, fault.description))
            .collect()
    }

    fn with(changes: &[(&str, Value)]) -> Value {
        let mut message = message();
        for (field, value) in changes {
            match value {
                Value::Null => drop(message.as_object_mut().unwrap().remove(*field)),
                value => message[*field] = value.clone(),
            }
        }
        message
    }

    #[test]
    fn a_message_is_a_report_with_its_evidence_by_whom_and_through_whom() {
        let found = request(&message().to_string()).unwrap();
        let report = found.request.report.clone().unwrap();
        assert_eq!(report.category, "categories/fraud.impersonation");
        assert_eq!(report.external_id, "bank.example:0b6f6a2c-3a55-4a0c-9b0e-5f2f3c9a7d11");
        let subject = &report.subjects[0];
        assert_eq!(
            (subject.kind(), subject.value.as_str()),
            (SubjectKind::Url, "https://login.bank.evil.example/")
        );
        let reporter = report.reporter.clone().unwrap();
        assert_eq!(
            (reporter.display_name.as_str(), reporter.contact.as_str()),
            ("Bank of Somewhere", "abuse@bank.example")
        );
        assert!(
            report
                .narrative
                .contains("sent on by Clearing House (desk@house.example)")
        );
        assert!(report.narrative.contains("source 203.0.113.7, port 443"));
        assert_eq!((found.files.len(), &found.files[0].bytes[..]), (1, &b"hello"[..]));
        let again = request(&message().to_string()).unwrap();
        assert_eq!(again.files[0].request_id, found.files[0].request_id);
        // Another's report with this id is another, and so is its file, or one of another type.
        for (field, value) in [
            ("report_id", json!("0b6f6a2c-3a55-4a0c-9b0e-5f2f3c9a7d12")),
            (
                "reporter",
                json!({"org": "Bank", "contact": "a@other.example", "domain": "Other.example."}),
            ),
            (
                "evidence",
                json!([{"content_type": "text/html", "payload": "aGVsbG8="}]),
            ),
        ] {
            let other = request(&with(&[(field, value)]).to_string()).unwrap();
            assert_ne!(other.files[0].request_id, found.files[0].request_id, "{field}");
            let id = other.request.report.unwrap().external_id;
            assert_eq!(id == report.external_id, field == "evidence", "{id}");
            assert!(field != "reporter" || id.starts_with("other.example:"), "{id}");
        }
        let nameless = with(&[("reporter", json!({"org": "Bank", "contact": "a@bank.example"}))]);
        assert_eq!(faults(&nameless), ["reporter.domain: is missing"]);
    }

    #[test]
    fn every_type_with_a_category_here_is_taken_and_the_others_are_named() {
        let categories = intake::category::Categories::shipped().unwrap();
        for (category, kinds, act, detail) in TYPES {
            let known = categories.get(act).unwrap();
            let required: Vec<_> = known
                .details
                .iter()
                .filter(|detail| detail.required)
                .map(|detail| detail.path.as_str())
                .collect();
            assert_eq!(
                required,
                detail.map(|(path, _)| path).into_iter().collect::<Vec<_>>(),
                "{act}"
            );
            for kind in *kinds {
                let message = with(&[
                    ("category", json!(category)),
                    ("type", json!(kind)),
                    ("url", Value::Null),
                ]);
                let report = request(&message.to_string()).unwrap().request.report.unwrap();
                assert_eq!(report.category, format!("categories/{act}"));
                assert_eq!(
                    (report.subjects[0].kind(), report.subjects[0].port),
                    (SubjectKind::IpAddress, 443)
                );
            }
        }
        for (category, kind) in [
            ("messaging", "spam"),
            ("connection", "port_scan"),
            ("copyright", "p2p"),
            ("vulnerability", "cve"),
            ("reputation", "blocklist"),
            ("content", "suspicious_registration"),
            ("opinion", "rumour"),
        ] {
            let told = faults(&with(&[("category", json!(category)), ("type", json!(kind))]));
            assert_eq!(told.len(), 1);
            assert!(
                told[0].starts_with(&format!("type: `{category}/{kind}` is of no category here")),
                "{told:?}"
            );
        }
        // Drafts of the version say `class`.
        let draft = with(&[("category", Value::Null), ("class", json!("content"))]);
        request(&draft.to_string()).unwrap();
    }

    #[test]
    fn other_versions_are_refused_by_name_and_faults_are_told_at_once() {
        for (version, expected) in [
            (json!("3.0.0"), "is `3.0.0`; version 4 is read"),
            (json!("4"), "is `4`"),
            (json!("4.x.0"), "is `4.x.0`"),
            (json!("40.0.0"), "is `40.0.0`"),
            (Value::Null, "is missing"),
        ] {
            let told = faults(&with(&[("xarf_version", version)]));
            assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
        }
        let told = faults(&json!({"Version": "3", "ReporterInfo": {}, "Report": {}}));
        assert!(told[0].contains("\"3\" (under `Version`)"), "{told:?}");
        let told = faults(
            &json!({"xarf_version": "4.0.0", "report_id": "1", "timestamp": "yesterday",
            "evidence": [{"payload": "***"}, {"payload": "aGVsbG8=", "hash": "sha256:00"}]}),
        );
        let fields: Vec<_> = told.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "source_identifier",
                "category",
                "type",
                "reporter.org",
                "sender.org",
                "report_id",
                "timestamp",
                "evidence[0].payload",
                "evidence[1].hashes"
            ]
        );
        assert!(faults(&json!(7))[0].starts_with(": is no XARF message"));
    }

    #[test]
    fn abuse_of_children_is_reported_without_the_file() {
        let message = with(&[("type", json!("csam"))]);
        let found = request(&message.to_string()).unwrap();
        assert!(found.files.is_empty());
        assert_eq!(
            found.request.report.unwrap().category,
            "categories/child-sexual-abuse-material"
        );
    }

    #[test]
    fn what_is_reported_is_the_address_or_where_it_came_from() {
        for (source, kind, value) in [
            ("2001:db8::7", SubjectKind::IpAddress, "2001:db8::7"),
            ("https://a.example/x", SubjectKind::Url, "https://a.example/x"),
            ("a.example", SubjectKind::Domain, "a.example"),
            ("someone@a.example", SubjectKind::Domain, "a.example"),
        ] {
            let message = with(&[("url", Value::Null), ("source_identifier", json!(source))]);
            let report = request(&message.to_string()).unwrap().request.report.unwrap();
            assert_eq!(
                (report.subjects[0].kind(), report.subjects[0].value.as_str()),
                (kind, value)
            );
        }
    }
}
