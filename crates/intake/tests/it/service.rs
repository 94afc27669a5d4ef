//! The service over gRPC.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use api::{
    event::{CaseState, ChangeOutcome, Detail, StateChange},
    intake::{
        CaseChange, CheckReceiptRequest, GetReportRequest, ReadPurpose, RecordCaseChangesRequest, ReportState,
        intake_service_client::IntakeServiceClient,
    },
};
use prost::Message as _;
use rpc::Limits;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{case_news, count, entropy, good, serve};

const REQUEST_ID: &str = "5a3e0c1e-7b2d-4c1e-9b01-0000000000aa";

testkit::on_each_backend!(
    a_submitted_report_is_followed_by_its_receipt,
    a_control_character_in_any_text_is_refused_by_its_field_and_place,
    p1_a_lost_answer_is_repeated_not_doubled,
    p7_a_reading_without_a_purpose_shows_nothing_and_leaves_nothing,
    p7_a_report_is_shown_only_once_its_reading_is_durable,
    p7_readings_made_at_once_are_each_recorded,
);

async fn a_control_character_in_any_text_is_refused_by_its_field_and_place(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut client = served.client("hotline");
    let mut narrative = good();
    narrative.report.as_mut().unwrap().narrative.push('\0');
    let mut subject = good();
    subject.report.as_mut().unwrap().subjects[0].value.insert(0, '\0');
    let mut name = good();
    let named = api::intake::Reporter {
        display_name: "Wang\u{1b}]0;x\u{7} Wei".to_owned(),
        ..Default::default()
    };
    name.report.as_mut().unwrap().reporter = Some(named);
    let mut language = good();
    language.report.as_mut().unwrap().language_code = "zh\n".to_owned();
    for (spoiled, field, refused) in [
        (narrative, "report.narrative", "a NUL character (U+0000)"),
        (subject, "report.subjects[0].value", "a NUL character (U+0000)"),
        (name, "report.reporter.display_name", "a control character (U+001B)"),
        (language, "report.language_code", "a line break (U+000A)"),
    ] {
        let status = client.submit_report(spoiled).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str()),
            (Code::InvalidArgument, "INVALID_INPUT")
        );
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1);
        let described = format!("has {refused}; leave it out");
        assert_eq!(
            (violations[0].field.as_str(), &violations[0].description),
            (field, &described)
        );
    }
    // What happened has lines.
    let mut lines = good();
    lines.report.as_mut().unwrap().narrative = "First\r\n\tthen\n".to_owned();
    client.submit_report(lines).await.unwrap();
}

async fn a_submitted_report_is_followed_by_its_receipt(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut client = served.client("hotline");
    let submitted = client.submit_report(good()).await.unwrap().into_inner();
    let name = submitted.report.unwrap().name;
    assert!(name.starts_with("reports/"));

    let followed = client
        .check_receipt(CheckReceiptRequest {
            receipt: submitted.receipt.to_lowercase(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(followed.state(), ReportState::Accepted);
    assert_eq!(followed.changes.len(), 1);
    assert!(
        !followed.changes[0].logged,
        "audit does not answer here: it must not be claimed"
    );
    let first = &followed.changes[0];
    let entry = journal::Opened::new(&first.entry, first.chain.as_ref().unwrap().into()).unwrap();
    assert_eq!(
        (entry.record.as_str(), entry.event_id.to_string()),
        (name.as_str(), followed.changes[0].event_id.clone())
    );

    let read = served.get("hotline", &name, ReadPurpose::CheckSubmission).await;
    let report = read.unwrap().report.unwrap();
    assert_eq!((report.name, report.narrative), (name, "一个赌博网站".to_owned()));
}

async fn p1_a_lost_answer_is_repeated_not_doubled(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut client = served.client("hotline");
    let mut request = good();
    request.request_id = REQUEST_ID.to_owned();

    served.faults.fail_before.store(1, Ordering::SeqCst);
    let status = client.submit_report(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(
        !status.message().contains("injected"),
        "the cause stays in the log: {status}"
    );
    assert_eq!(served.rows().await, 0);

    // The transaction is durable, but the caller never learns.
    served.faults.fail_after.store(1, Ordering::SeqCst);
    client.submit_report(request.clone()).await.unwrap_err();
    let rows = served.rows().await;
    assert_ne!(rows, 0);
    let first = client.submit_report(request.clone()).await.unwrap().into_inner();
    let second = client.submit_report(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, second);
    assert_eq!(served.rows().await, rows, "repeats record nothing");

    request.report.as_mut().unwrap().narrative = "something else".to_owned();
    let status = client.submit_report(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.get_details_error_info().unwrap().reason.as_str()),
        (Code::AlreadyExists, "REQUEST_ID_REUSED")
    );
}

#[tokio::test]
async fn unknown_and_malformed_receipts_cannot_be_told_apart() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut client = served.client("hotline");
    client.submit_report(good()).await.unwrap();
    let mut answers = Vec::new();
    for receipt in [
        "0000-0000-0000-0000-0000-0000",
        "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ",
        "",
        "garbage",
        "'; DROP TABLE reports; --",
    ] {
        let status = client
            .check_receipt(CheckReceiptRequest {
                receipt: receipt.to_owned(),
            })
            .await
            .unwrap_err();
        answers.push((status.code(), status.message().to_owned(), status.details().to_vec()));
    }
    assert_eq!(answers[0].0, Code::NotFound);
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn validation_alone_records_nothing() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut request = good();
    request.validate_only = true;
    let answer = served
        .client("hotline")
        .submit_report(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.report, answer.receipt.as_str()), (None, ""));
    assert_eq!(served.rows().await, 0);
}

#[tokio::test]
async fn p7_content_is_shown_to_nobody_whom_routing_does_not_name() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let name = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner()
        .report
        .unwrap()
        .name;
    let get = async |system: &str, name: &str| served.get(system, name, ReadPurpose::ReviewHandling).await;
    get("hotline", &name).await.unwrap();
    let rows = served.rows().await;
    served.routing.is_down(true);
    // Routing does not answer: refused, not shown. A missing report gets the same answer.
    let unknown = format!("reports/{}", uuid::Uuid::nil());
    for system in [
        "handan",
        "operator",
        "platform",
        "routing",
        "audit",
        "inspector",
        "relay",
    ] {
        let expected = match system {
            "handan" => Code::Unavailable,
            // Roles that read no reports are told so, for every report.
            "routing" | "audit" | "inspector" | "relay" => Code::PermissionDenied,
            _ => Code::NotFound,
        };
        let answers = [get(system, &name).await, get(system, &unknown).await].map(|answer| {
            let status = answer.unwrap_err();
            (status.code(), status.message().to_owned(), status.details().to_vec())
        });
        assert_eq!((answers[0].0, &answers[0]), (expected, &answers[1]), "{system}");
    }
    assert_eq!(served.rows().await, rows, "who is shown nothing leaves nothing");
}

async fn p7_a_reading_without_a_purpose_shows_nothing_and_leaves_nothing(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served.client("hotline").submit_report(good()).await.unwrap();
    let name = submitted.into_inner().report.unwrap().name;
    let rows = served.rows().await;
    let unknown = format!("reports/{}", uuid::Uuid::nil());
    for system in ["hotline", "handan", "operator"] {
        for name in [&name, &unknown] {
            for purpose in [0, 6, -1] {
                let request = GetReportRequest {
                    name: name.clone(),
                    purpose,
                };
                let status = served.client(system).get_report(request).await.unwrap_err();
                assert_eq!(status.code(), Code::InvalidArgument, "{system} {purpose}");
                let violations = status.get_details_bad_request().unwrap().field_violations;
                let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
                assert_eq!(fields, ["purpose"]);
            }
        }
    }
    assert_eq!(served.rows().await, rows);
}

async fn p7_a_report_is_shown_only_once_its_reading_is_durable(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served.client("hotline").submit_report(good()).await.unwrap();
    let name = submitted.into_inner().report.unwrap().name;
    let before = served.rows().await;
    let get = async || served.get("hotline", &name, ReadPurpose::CheckSubmission).await;
    let kept_back = |status: Status| {
        assert_eq!(status.code(), Code::Internal, "{status}");
        let shown = format!("{status:?}");
        assert!(!shown.contains("赌博") && !shown.contains("bet.example"), "{shown}");
    };

    served.faults.fail_before.store(1, Ordering::SeqCst);
    kept_back(get().await.unwrap_err());
    assert_eq!(served.rows().await, before, "not recorded, and not shown");
    // Recorded although it seemed to fail: the log has it, and nothing was shown.
    served.faults.fail_after.store(1, Ordering::SeqCst);
    kept_back(get().await.unwrap_err());
    assert_eq!(served.rows().await, before + 2);

    let read = get().await.unwrap();
    assert_eq!(read.report.unwrap().narrative, "一个赌博网站");
    assert_eq!(served.rows().await, before + 4, "the change, and what audit is to get");
    let journaled = served
        .db
        .fetch(
            "SELECT entry FROM journal WHERE record = $1",
            vec![read.reading.as_str().into()],
        )
        .await
        .unwrap();
    let entry: Vec<u8> = journaled[0].get("entry").unwrap();
    let waiting = served
        .db
        .fetch(
            "SELECT consumer, payload FROM outbox WHERE record = $1",
            vec![read.reading.as_str().into()],
        )
        .await
        .unwrap();
    assert_eq!(
        (waiting.len(), waiting[0].get::<String>("consumer").unwrap().as_str()),
        (1, "audit")
    );
    let change = StateChange::decode(&*waiting[0].get::<Vec<u8>>("payload").unwrap()).unwrap();
    let opened = journal::Opened::of_change(&change).unwrap();
    assert_eq!(
        (opened.source.as_str(), opened.kind.as_str(), opened.sequence),
        ("intake", "report.read", 1)
    );
    assert_eq!(change.entry, entry);
    let detail = Detail::decode(change.detail.unwrap().content).unwrap();
    let actor = detail.actor.unwrap();
    assert_eq!(
        (
            detail.read_record,
            detail.purpose.as_str(),
            actor.agency.as_str(),
            actor.system.as_str()
        ),
        (name, "check-submission", "agencies/content-regulator-CN", "hotline")
    );
}

async fn p7_readings_made_at_once_are_each_recorded(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served.client("hotline").submit_report(good()).await.unwrap();
    let name = submitted.into_inner().report.unwrap().name;
    let get = || served.get("hotline", &name, ReadPurpose::CheckSubmission);
    let read = futures::future::join_all((0..50).map(|_| get())).await;
    let readings: BTreeSet<_> = read.into_iter().map(|read| read.unwrap().reading).collect();
    assert_eq!(readings.len(), 50);
    let journaled = count(&served.db, "SELECT count(*) FROM journal WHERE kind = 'report.read'").await;
    assert_eq!(journaled, 50);
    // The report's own chain is unchanged: it does not show that somebody read it.
    let chain = count(&served.db, "SELECT count(*) FROM journal WHERE kind <> 'report.read'").await;
    assert_eq!(chain, 1);
}

#[tokio::test]
async fn p7_an_excluded_sender_learns_nothing_of_what_followed() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served
        .client("handan")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let name = submitted.report.unwrap().name;
    let id = name.strip_prefix("reports/").unwrap().parse().unwrap();
    let follow = async |system: &str| {
        served
            .client(system)
            .check_receipt(CheckReceiptRequest {
                receipt: submitted.receipt.clone(),
            })
            .await
            .unwrap()
            .into_inner()
    };
    let before = follow("platform").await;
    assert_eq!((before.state(), before.changes.len()), (ReportState::Accepted, 1));

    let news = case_news(
        &*entropy(),
        "cases/a",
        &mut journal::Head::default(),
        &[id],
        CaseState::Assigned,
    );
    let request = RecordCaseChangesRequest {
        changes: vec![news.change],
    };
    served.inbound("routing").record_case_changes(request).await.unwrap();
    // The sender has had the receipt, and may show it through anybody: no field says more than
    // before.
    for system in ["handan", "hotline", "hotline-archive", "platform", "inspector"] {
        assert_eq!(follow(system).await, before, "{system}");
    }
    let inquiry = before.inquiry.unwrap();
    assert!(api::text_in(&inquiry.texts, "en").contains("can ask the centre"));
    assert!(!api::text_in(&inquiry.texts, "zh").is_empty());
    // The reporter asks there.
    let shown = follow("operator").await;
    assert_eq!(
        (shown.state(), shown.agency.as_str(), shown.changes.len(), shown.inquiry),
        (ReportState::Routed, "agencies/police-450100", 2, None)
    );
    let read = served.get("handan", &name, ReadPurpose::CheckSubmission).await;
    let report = read.unwrap().report.unwrap();
    assert_eq!(report.state(), ReportState::Accepted);
}

/// Routing's directory in force names a successor of an excluded agency. No change of the case has
/// told intake yet: what it last heard does not decide.
#[tokio::test]
async fn p7_a_sender_that_came_to_be_excluded_learns_nothing_of_what_followed() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submit = async || {
        served
            .client("hotline")
            .submit_report(good())
            .await
            .unwrap()
            .into_inner()
    };
    let (submitted, unrouted) = (submit().await, submit().await);
    let name = submitted.report.unwrap().name;
    let id = name.strip_prefix("reports/").unwrap().parse().unwrap();
    let follow = async |system: &str, receipt: &str| {
        let request = CheckReceiptRequest {
            receipt: receipt.to_owned(),
        };
        let answer = served.client(system).check_receipt(request).await;
        answer.map(tonic::Response::into_inner)
    };
    let read = async || {
        let read = served.get("hotline", &name, ReadPurpose::CheckSubmission).await;
        read.map(|read| read.report.unwrap().state())
    };
    let before = follow("platform", &submitted.receipt).await.unwrap();
    let news = case_news(
        &*entropy(),
        "cases/a",
        &mut journal::Head::default(),
        &[id],
        CaseState::Assigned,
    );
    let request = RecordCaseChangesRequest {
        changes: vec![news.change],
    };
    served.inbound("routing").record_case_changes(request).await.unwrap();
    for system in ["hotline", "platform"] {
        let shown = follow(system, &submitted.receipt).await.unwrap();
        assert_eq!((shown.state(), shown.changes.len()), (ReportState::Routed, 2));
    }
    assert_eq!(read().await.unwrap(), ReportState::Routed);

    served.routing.decide(&[], &["content-regulator-CN"]);
    for system in ["hotline", "hotline-archive", "handan", "platform", "inspector"] {
        assert_eq!(follow(system, &submitted.receipt).await.unwrap(), before, "{system}");
    }
    assert_eq!(read().await.unwrap(), ReportState::Accepted);
    let shown = follow("operator", &submitted.receipt).await.unwrap();
    assert_eq!(shown.state(), ReportState::Routed, "reporters ask it");

    // Without routing's answer nobody is told, whether or not anything followed.
    served.routing.is_down(true);
    for receipt in [&submitted.receipt, &unrouted.receipt] {
        for system in ["hotline", "handan", "platform"] {
            let refused = follow(system, receipt).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable, "{system}");
        }
    }
    assert_eq!(read().await.unwrap_err().code(), Code::Unavailable);
    served.routing.is_down(false);
    served.routing.decide(&[], &[]);
    assert_eq!(read().await.unwrap(), ReportState::Routed);
}

/// An excluded agency that is not the sender sees only its own; others see what followed, with its
/// proof.
#[tokio::test]
async fn p7_a_receipt_of_a_sender_that_is_not_excluded_opens_the_chain_of_its_report() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let name = submitted.report.unwrap().name;
    let id = name.strip_prefix("reports/").unwrap().parse().unwrap();
    let news = case_news(
        &*entropy(),
        "cases/a",
        &mut journal::Head::default(),
        &[id],
        CaseState::Assigned,
    );
    let request = RecordCaseChangesRequest {
        changes: vec![news.change],
    };
    served.inbound("routing").record_case_changes(request).await.unwrap();
    let follow = async |system: &str| {
        let request = CheckReceiptRequest {
            receipt: submitted.receipt.clone(),
        };
        served.client(system).check_receipt(request).await.unwrap().into_inner()
    };
    let hidden = follow("handan").await;
    assert_eq!((hidden.state(), hidden.changes.len()), (ReportState::Accepted, 1));
    let shown = follow("platform").await;
    assert_eq!((shown.state(), shown.inquiry), (ReportState::Routed, None));
    let mut before = (0, [0; 32]);
    for change in &shown.changes {
        let opened = journal::Opened::new(&change.entry, change.chain.as_ref().unwrap().into()).unwrap();
        assert_eq!(
            (&*opened.record, opened.sequence, opened.previous, &*opened.kind),
            (&*name, before.0 + 1, before.1, &*change.kind)
        );
        before = (opened.sequence, opened.hash);
    }
    assert_eq!(before.0, 2);
}

/// The reporter sees what was decided, by whom, what can be done about it and until when; and again
/// nothing of it while the case is open again.
#[tokio::test]
async fn a_receipt_tells_the_outcome_in_words_and_the_next_date() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let name = submitted.report.unwrap().name;
    let id = name.strip_prefix("reports/").unwrap().parse().unwrap();
    let mut head = journal::Head::default();
    let entropy = entropy();
    let mut follow = async |state: CaseState| {
        let news = case_news(&*entropy, "cases/a", &mut head, &[id], state);
        let request = RecordCaseChangesRequest {
            changes: vec![news.change],
        };
        served.inbound("routing").record_case_changes(request).await.unwrap();
        let request = CheckReceiptRequest {
            receipt: submitted.receipt.clone(),
        };
        // An excluded sender, which may have kept the receipt, is told nothing of it.
        let hidden = served
            .client("handan")
            .check_receipt(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!((hidden.outcome, hidden.due_time, hidden.steps), (None, None, vec![]));
        served
            .client("hotline")
            .check_receipt(request)
            .await
            .unwrap()
            .into_inner()
    };
    let assigned = follow(CaseState::Assigned).await;
    assert_eq!((assigned.outcome, assigned.due_time.is_some()), (None, true));
    let resolved = follow(CaseState::Resolved).await;
    let outcome = resolved.outcome.unwrap();
    assert_eq!(
        api::text_in(&outcome.summaries, "en"),
        "An administrative penalty was imposed; what was reported was removed."
    );
    assert_eq!(
        api::text_in(&outcome.summaries, "zh"),
        "已作出行政处罚；被举报内容已删除。"
    );
    assert!(api::text_in(&outcome.remedies, "en").contains("ask for a review by this receipt"));
    assert_eq!(
        (&*outcome.text, &*outcome.agency),
        ("The page was closed.", "agencies/police-450100")
    );
    assert!(resolved.due_time.is_some());
    let closed = follow(CaseState::Closed).await;
    assert_eq!((closed.state(), closed.due_time), (ReportState::Closed, None));
    assert!(!api::text_in(&closed.outcome.unwrap().remedies, "en").contains("ask the agency"));
    let again = follow(CaseState::Assigned).await;
    assert_eq!((again.state(), again.outcome), (ReportState::Routed, None));
    // The fixture's changes are all of one kind.
    assert_eq!(again.steps.len(), 4);
    let step = &again.steps[0];
    assert_eq!((&*step.kind, &*step.agency), ("case.opened", "agencies/police-450100"));
    assert_eq!(api::text_in(&step.titles, "zh"), "线索已建立");
    assert_eq!(step.reason(), api::event::HandOverReason::Place);
}

/// A newer routing may send states that this intake does not know: reporters must not be told that
/// an agency has the report.
#[tokio::test]
async fn a_case_in_an_unknown_state_is_refused_and_its_report_stays_as_it_was() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let name = submitted.report.unwrap().name;
    let id = name.strip_prefix("reports/").unwrap().parse().unwrap();
    let known = case_news(
        &*entropy(),
        "cases/a",
        &mut journal::Head::default(),
        &[],
        CaseState::Assigned,
    )
    .change;
    for state in [CaseState::Unspecified.into(), 8, -1] {
        let news = case_news(
            &*entropy(),
            "cases/b",
            &mut journal::Head::default(),
            &[id],
            CaseState::Assigned,
        );
        let unknown = CaseChange { state, ..news.change };
        let request = RecordCaseChangesRequest {
            changes: vec![known.clone(), unknown],
        };
        let response = served.inbound("routing").record_case_changes(request).await.unwrap();
        let outcomes: Vec<_> = response
            .into_inner()
            .results
            .into_iter()
            .map(|result| result.outcome())
            .collect();
        assert_eq!(
            outcomes,
            [ChangeOutcome::Recorded, ChangeOutcome::UnknownState],
            "{state}"
        );
    }
    let read = served.get("hotline", &name, ReadPurpose::CheckSubmission).await;
    assert_eq!(read.unwrap().report.unwrap().state(), ReportState::Accepted);
}

#[tokio::test]
async fn every_call_needs_a_caller_who_may_make_it() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut nobody = IntakeServiceClient::connect(served.address.clone()).await.unwrap();
    assert_eq!(
        nobody.submit_report(good()).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    assert_eq!(
        served
            .client("stranger")
            .submit_report(good())
            .await
            .unwrap_err()
            .code(),
        Code::Unauthenticated
    );
    assert_eq!(
        served.client("routing").submit_report(good()).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    for system in ["hotline", "operator", "audit"] {
        let status = served
            .inbound(system)
            .record_case_changes(RecordCaseChangesRequest::default())
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{system}");
    }
    assert_eq!(served.rows().await, 0);
}

#[tokio::test]
async fn health_needs_no_token() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let channel = tonic::transport::Endpoint::from_shared(served.address.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest {
        service: "remit.intake.v1.IntakeService".to_owned(),
    };
    let mut statuses = health.watch(request).await.unwrap().into_inner();
    // The first check of the database may still be running.
    while statuses.message().await.unwrap().unwrap().status()
        != tonic_health::pb::health_check_response::ServingStatus::Serving
    {}
}

#[tokio::test]
async fn more_than_the_server_takes_is_refused_with_a_time_to_come_back() {
    let backend = Backend::sqlite();
    let served = serve(
        backend.url(),
        Limits {
            concurrency: 0,
            ..Limits::default()
        },
    )
    .await;
    let status = served.client("hotline").submit_report(good()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "OVERLOADED");
    assert!(status.get_details_retry_info().is_some());
}

/// A repeat is answered and not logged again; the same id for anything else, another officer
/// included, is refused and shows nothing.
#[tokio::test]
async fn p7_a_reveal_with_a_request_id_is_recorded_once_and_for_one_asker() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submitted = served
        .client("hotline")
        .submit_report(good())
        .await
        .unwrap()
        .into_inner();
    let request = |request_id: &str| api::intake::RevealReporterRequest {
        name: submitted.report.as_ref().unwrap().name.clone(),
        purpose: api::intake::RevealPurpose::ContactReporter.into(),
        justification: "to ask when it happened".to_owned(),
        request_id: request_id.to_owned(),
    };
    let (one, two) = (
        "018f6f1d-2c3b-7a59-8687-877665544332",
        "018f6f1d-2c3b-7a59-8687-877665544333",
    );
    let recorded = async || {
        count(
            &served.db,
            "SELECT count(*) FROM journal WHERE kind = 'report.revealed'",
        )
        .await
    };
    let reveal = async |request: api::intake::RevealReporterRequest, officer: Option<&str>| {
        let mut request = tonic::Request::new(request);
        if let Some(officer) = officer {
            let officer = tonic::metadata::MetadataValue::from_bytes(officer.as_bytes());
            request.metadata_mut().insert_bin(rpc::OFFICER, officer);
        }
        served
            .client("handan")
            .reveal_reporter(request)
            .await
            .map(tonic::Response::into_inner)
    };
    // Not whoever runs the services, nor a desk whose agency does not lead.
    let operator = served
        .client("operator")
        .reveal_reporter(request(one))
        .await
        .unwrap_err();
    assert_eq!(operator.code(), Code::PermissionDenied, "{operator}");
    assert!(operator.message().contains("role desk"), "{operator}");
    let other = reveal(request(one), None).await.unwrap_err();
    assert_eq!(other.code(), Code::NotFound, "{other}");
    served.routing.decide(&["police-130400"], &[]);
    let first = reveal(request(one), Some("王警官")).await.unwrap();
    assert_eq!(reveal(request(one), Some("王警官")).await.unwrap(), first);
    assert_eq!(recorded().await, 1);
    let other_words = api::intake::RevealReporterRequest {
        justification: "to ask where it happened".to_owned(),
        ..request(one)
    };
    for (request, officer) in [
        (other_words, Some("王警官")),
        (request(one), Some("李警官")),
        (request(one), None),
    ] {
        let refused = reveal(request, officer).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists, "{officer:?}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, "REQUEST_ID_REUSED");
    }
    assert_eq!(recorded().await, 1);
    assert_ne!(reveal(request(two), Some("王警官")).await.unwrap().change, first.change);
    for _ in 0..2 {
        reveal(request(""), None).await.unwrap();
    }
    assert_eq!(recorded().await, 4, "without an id each asking is one");
}
