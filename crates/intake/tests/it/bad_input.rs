//! Bad input: each kind gets an error that names the field, and leaves nothing behind.

use api::intake::{Loss, Place, Report, SubjectKind, SubmitReportRequest, place::Location};
use intake::category::Categories;
use prost_types::Timestamp;
use rpc::Limits;
use testkit::Backend;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::{NOW, good, serve};

type Spoil = fn(&mut SubmitReportRequest);

fn report(request: &mut SubmitReportRequest) -> &mut Report {
    request.report.as_mut().unwrap()
}

fn subject(request: &mut SubmitReportRequest, kind: SubjectKind, value: &str) {
    let subject = &mut report(request).subjects[0];
    subject.kind = kind.into();
    subject.value = value.to_owned();
}

fn loss(request: &mut SubmitReportRequest, currency: &str, minor_units: i64, seconds: i64) {
    report(request).loss = Some(Loss {
        currency_code: currency.to_owned(),
        minor_units,
        occur_time: Some(Timestamp { seconds, nanos: 0 }),
    });
}

fn detail(request: &mut SubmitReportRequest, path: &str, value: &str) {
    report(request).category = "categories/fraud.investment".to_owned();
    report(request).details.insert(path.to_owned(), value.to_owned());
}

const PAST: i64 = NOW.0 / 1_000_000 - 3_600;

const CASES: &[(&str, Spoil, &[&str])] = &[
    ("no report", |r| r.report = None, &["report"]),
    ("missing category", |r| report(r).category.clear(), &["report.category"]),
    (
        "unknown category",
        |r| report(r).category = "categories/rumour".to_owned(),
        &["report.category"],
    ),
    (
        "category without its prefix",
        |r| report(r).category = "gambling".to_owned(),
        &["report.category"],
    ),
    ("missing subjects", |r| report(r).subjects.clear(), &["report.subjects"]),
    (
        "too many subjects",
        |r| {
            let s = report(r).subjects[0].clone();
            report(r).subjects = vec![s; 51];
        },
        &["report.subjects"],
    ),
    (
        "subject without kind",
        |r| subject(r, SubjectKind::Unspecified, "x"),
        &["report.subjects[0].kind"],
    ),
    (
        "subject of an unknown kind",
        |r| report(r).subjects[0].kind = 99,
        &["report.subjects[0].kind"],
    ),
    (
        "subject without value",
        |r| subject(r, SubjectKind::App, " "),
        &["report.subjects[0].value"],
    ),
    (
        "malformed url",
        |r| subject(r, SubjectKind::Url, "not a url"),
        &["report.subjects[0].value"],
    ),
    (
        "url of another scheme",
        |r| subject(r, SubjectKind::Url, "javascript:alert(1)"),
        &["report.subjects[0].value"],
    ),
    (
        "malformed domain",
        |r| subject(r, SubjectKind::Domain, "https://a.example/"),
        &["report.subjects[0].value"],
    ),
    (
        "malformed phone",
        |r| subject(r, SubjectKind::Phone, "13800000000"),
        &["report.subjects[0].value"],
    ),
    (
        "malformed account",
        |r| subject(r, SubjectKind::BankAccount, "12-34"),
        &["report.subjects[0].value"],
    ),
    (
        "malformed wallet",
        |r| subject(r, SubjectKind::Wallet, "short"),
        &["report.subjects[0].value"],
    ),
    (
        "domain that the register cannot hold",
        |r| subject(r, SubjectKind::Domain, "a,b"),
        &["report.subjects[0].value"],
    ),
    (
        "url with a line break",
        |r| subject(r, SubjectKind::Url, "https://shop.\nexample/"),
        &["report.subjects[0].value"],
    ),
    (
        "app with a control character",
        |r| subject(r, SubjectKind::App, "loan\u{1b}[31m app"),
        &["report.subjects[0].value"],
    ),
    (
        "organisation of two lines",
        |r| subject(r, SubjectKind::Organisation, "a\u{2028}b"),
        &["report.subjects[0].value"],
    ),
    (
        "platform with a tab",
        |r| report(r).subjects[0].platform = "a\tb".to_owned(),
        &["report.subjects[0].platform"],
    ),
    (
        "subject that nobody sees",
        |r| subject(r, SubjectKind::App, "\u{200b}\u{feff}"),
        &["report.subjects[0].value"],
    ),
    (
        "port of what has none",
        |r| report(r).subjects[0].port = 443,
        &["report.subjects[0].port"],
    ),
    (
        "port out of range, seen in the future",
        |r| {
            subject(r, SubjectKind::IpAddress, "203.0.113.7");
            report(r).subjects[0].port = 65_536;
            report(r).subjects[0].observe_time = Some(Timestamp {
                seconds: PAST + 7_200,
                nanos: 0,
            });
        },
        &["report.subjects[0].port", "report.subjects[0].observe_time"],
    ),
    (
        "over-long narrative",
        |r| report(r).narrative = "字".repeat(20_001),
        &["report.narrative"],
    ),
    (
        "missing required narrative and details",
        |r| {
            report(r).category = "categories/official-misconduct".to_owned();
            report(r).narrative.clear();
        },
        &["report.narrative", "report.details[conduct]"],
    ),
    (
        "detail of another category",
        |r| detail(r, "made.up", "x"),
        &["report.details[made.up]"],
    ),
    (
        "detail with another choice",
        |r| detail(r, "payment.channel", "barter"),
        &["report.details[payment.channel]"],
    ),
    (
        "integer that is none",
        |r| detail(r, "promise.return_percent", "a lot"),
        &["report.details[promise.return_percent]"],
    ),
    (
        "timestamp without zone",
        |r| detail(r, "payment.paid_at", "2026-11-01T10:00:00"),
        &["report.details[payment.paid_at]"],
    ),
    (
        "timestamp in the future",
        |r| detail(r, "payment.paid_at", "2036-11-01T10:00:00Z"),
        &["report.details[payment.paid_at]"],
    ),
    (
        "blank detail, however long",
        |r| detail(r, "payment.channel", &" ".repeat(1 << 20)),
        &["report.details[payment.channel]"],
    ),
    (
        "too many details",
        |r| report(r).details = (0..51).map(|i| (format!("p{i:02}"), "x".to_owned())).collect(),
        &["report.details"],
    ),
    (
        "loss before the calendar",
        |r| loss(r, "CNY", 100, -9_223_372_036_854),
        &["report.loss.occur_time"],
    ),
    (
        "malformed amount",
        |r| loss(r, "CNY", 0, PAST),
        &["report.loss.minor_units"],
    ),
    (
        "negative amount",
        |r| loss(r, "CNY", -5, PAST),
        &["report.loss.minor_units"],
    ),
    (
        "unknown currency",
        |r| loss(r, "RMB", 100, PAST),
        &["report.loss.currency_code"],
    ),
    (
        "loss in the future",
        |r| loss(r, "CNY", 100, PAST + 7_200),
        &["report.loss.occur_time"],
    ),
    (
        "loss out of range",
        |r| loss(r, "CNY", 100, i64::MAX),
        &["report.loss.occur_time"],
    ),
    (
        "unknown territory",
        |r| report(r).places[0].location = Some(Location::Territory("territories/999999".to_owned())),
        &["report.places[0].territory"],
    ),
    (
        "territory without its prefix",
        |r| report(r).places[0].location = Some(Location::Territory("450100".to_owned())),
        &["report.places[0].territory"],
    ),
    (
        "unknown country",
        |r| report(r).places[0].location = Some(Location::RegionCode("XX".to_owned())),
        &["report.places[0].region_code"],
    ),
    (
        "place without location",
        |r| report(r).places[0].location = None,
        &["report.places[0]"],
    ),
    (
        "place without factor",
        |r| report(r).places[0].factor = 0,
        &["report.places[0].factor"],
    ),
    (
        "factor twice",
        |r| {
            let p: Place = report(r).places[0].clone();
            report(r).places.push(p);
        },
        &["report.places[1].factor"],
    ),
    (
        "unknown agency to keep out",
        |r| report(r).keep_from = vec!["agencies/police-999999".to_owned()],
        &["report.keep_from[0]"],
    ),
    (
        "unknown agency complained of",
        |r| report(r).complained_of = "police".to_owned(),
        &["report.complained_of"],
    ),
    (
        "language that is none",
        |r| report(r).language_code = "zh CN!".to_owned(),
        &["report.language_code"],
    ),
    (
        "malformed request id",
        |r| r.request_id = "1".to_owned(),
        &["request_id"],
    ),
    (
        "everything at once",
        |r| {
            r.request_id = "1".to_owned();
            report(r).category.clear();
            subject(r, SubjectKind::Phone, "0");
            report(r).places[0].factor = 0;
            loss(r, "RMB", -1, PAST + 7_200);
        },
        &[
            "request_id",
            "report.category",
            "report.subjects[0].value",
            "report.places[0].factor",
            "report.loss.currency_code",
            "report.loss.minor_units",
            "report.loss.occur_time",
        ],
    ),
];

#[tokio::test]
async fn every_offending_field_is_named_and_nothing_is_left_behind() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut client = served.client("hotline");
    for (what, spoil, fields) in CASES {
        let mut request = good();
        spoil(&mut request);
        let status = client.submit_report(request).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "INVALID_INPUT",
            "{what}"
        );
        let violations = status.get_details_bad_request().unwrap().field_violations;
        let named: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, *fields, "{what}");
        assert!(
            violations.iter().all(|violation| violation.description.len() > 5),
            "{what}"
        );
    }
    assert_eq!(served.rows().await, 0);
    client.submit_report(good()).await.unwrap();
    assert_ne!(served.rows().await, 0, "the count counts");
}

/// Accepted input, and its stored form: the one that rules and the register look up.
#[tokio::test]
async fn what_people_type_is_kept_in_one_form() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let kept = async |request: SubmitReportRequest| {
        let accepted = served
            .client("hotline")
            .submit_report(request)
            .await
            .unwrap()
            .into_inner();
        let name = accepted.report.unwrap().name;
        let read = served
            .get("hotline", &name, api::intake::ReadPurpose::CheckSubmission)
            .await;
        read.unwrap().report.unwrap()
    };
    for (path, typed, expected) in [
        ("promise.return_percent", "05", "5"),
        ("promise.return_percent", "+5", "5"),
        ("promise.return_percent", " 5\u{200b}", "5"),
        ("promise.return_percent", "-0", "0"),
        ("payment.channel", " wallet\n", "wallet"),
        (
            "payment.paid_at",
            " 2026-11-01T10:00:00+08:00 ",
            "2026-11-01T10:00:00+08:00",
        ),
    ] {
        let mut request = good();
        detail(&mut request, path, typed);
        assert_eq!(kept(request).await.details[path], expected, "{typed:?}");
    }
    let mut request = good();
    subject(&mut request, SubjectKind::IpAddress, "[2001:DB8::1] ");
    report(&mut request).subjects[0].port = 65_535;
    report(&mut request).subjects[0].observe_time = Some(Timestamp {
        seconds: PAST,
        nanos: 0,
    });
    let ip = kept(request).await.subjects.remove(0);
    assert_eq!(
        (ip.value.as_str(), ip.port, ip.observe_time.unwrap().seconds),
        ("2001:db8::1", 65_535, PAST)
    );

    // A set deadline may lie ahead; the time of a past act may not.
    let mut request = good();
    report(&mut request).category = "categories/extortion.threat".to_owned();
    let details = &mut report(&mut request).details;
    details.insert("demand.what".to_owned(), "money".to_owned());
    details.insert("demand.deadline".to_owned(), "2036-11-01T10:00:00Z".to_owned());
    assert_eq!(kept(request).await.details["demand.deadline"], "2036-11-01T10:00:00Z");
}

/// All in the first refusal, none of them cut off.
#[tokio::test]
async fn a_missing_choice_names_its_values_in_every_category() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut seen = 0;
    for category in Categories::shipped().unwrap().iter() {
        let mut request = good();
        report(&mut request).category = format!("categories/{}", category.id);
        let wanted = category
            .details
            .iter()
            .filter(|detail| detail.required && !detail.choices.is_empty());
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            continue;
        }
        let refused = served.client("hotline").submit_report(request).await.unwrap_err();
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        for detail in wanted {
            let field = format!("report.details[{}]", detail.path);
            let found = violations.iter().find(|violation| violation.field == field).unwrap();
            let values = format!("one of: {}", detail.choices.join(", "));
            assert!(
                found.description.ends_with(&values),
                "{}: {}",
                category.id,
                found.description
            );
            seen += 1;
        }
    }
    assert!(seen > 2, "{seen} required choices are shipped");
}

#[tokio::test]
async fn a_message_of_10_mb_is_refused() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut request = good();
    report(&mut request).narrative = "x".repeat(10 << 20);
    let status = served.client("hotline").submit_report(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), info.metadata["limit_bytes"].as_str()),
        ("MESSAGE_TOO_LARGE", "4194304")
    );
    assert!(status.message().contains("4194304"), "{status}");
    assert_eq!(served.rows().await, 0);
}

#[tokio::test]
async fn an_expired_or_malformed_deadline_begins_nothing() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    // An expired deadline ends the call in the client or in the server, whichever notices first.
    for (timeout, codes) in [
        ("0n", [Code::DeadlineExceeded, Code::Cancelled]),
        ("soon", [Code::InvalidArgument; 2]),
    ] {
        let mut request = tonic::Request::new(good());
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let status = served.client("hotline").submit_report(request).await.unwrap_err();
        assert!(codes.contains(&status.code()), "{timeout}: {status}");
    }
    assert_eq!(served.rows().await, 0);
}
