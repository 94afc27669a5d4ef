//! Senders' own ids of their reports: one report for each, and known to nobody else.

use api::intake::{
    GetReportRequest, ListReportsRequest, ReadPurpose, Report, SubmitReportRequest, SubmitReportResponse,
};
use futures::future::join_all;
use intake::store::{Acceptance, Accepted, External, Sender, Store as _};
use rpc::Limits;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{NOW, Served, acceptance, count, good, open, prepared, serve};

testkit::on_each_backend!(
    an_external_id_stands_for_one_report_of_its_sender,
    a_request_that_finds_its_report_keeps_nothing_of_its_own,
    senders_that_race_with_one_external_id_get_one_report,
    the_same_submitted_again_is_the_same_report_and_other_content_is_refused,
    p7_an_external_id_is_its_senders_only,
    a_report_with_evidence_is_found_by_its_external_id,
    an_honest_repeat_is_known_by_what_it_says,
);

fn sender(system: &str, agency: Option<&str>) -> Sender {
    Sender {
        system: system.to_owned(),
        agency: agency.map(|id| names::AgencyId::new(id).unwrap()),
    }
}

fn with_id(acceptance: Acceptance, id: &str, fingerprint: u8) -> Acceptance {
    let by = Sender {
        system: acceptance.caller.clone(),
        agency: acceptance.agency.clone(),
    };
    Acceptance {
        external: Some(External::new(&by, id, [fingerprint; 32])),
        ..acceptance
    }
}

fn is(acceptance: &Acceptance) -> Accepted {
    Accepted::Report {
        report: acceptance.report,
        accept_time: NOW,
    }
}

async fn an_external_id_stands_for_one_report_of_its_sender(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let new = |id: &str, fingerprint| with_id(acceptance(&*entropy, None, 1), id, fingerprint);
    let first = new("A-1", 1);
    // Also inside one batch: once the same, once other content.
    let batch = [first.clone(), new("A-1", 1), new("A-1", 2), new("A-2", 1)];
    let accepted = store.accept(&prepared(&batch)).await.unwrap();
    let reused = Accepted::ExternalIdReused { report: first.report };
    assert_eq!(accepted, [is(&first), is(&first), reused, is(&batch[3])]);
    // And later, by another system of the agency; never for another sender.
    let mut colleague = acceptance(&*entropy, None, 1);
    colleague.caller = "other-desk".to_owned();
    let colleague = with_id(colleague, "A-1", 1);
    let mut alone = acceptance(&*entropy, None, 1);
    alone.agency = None;
    let alone = with_id(alone, "A-1", 2);
    let mut elsewhere = acceptance(&*entropy, None, 1);
    elsewhere.agency = names::AgencyId::new("police-130400").ok();
    let elsewhere = with_id(elsewhere, "A-1", 3);
    let batch = [
        colleague,
        alone.clone(),
        elsewhere.clone(),
        new("A-1", 3),
        new("a-1", 3),
    ];
    let accepted = store.accept(&prepared(&batch)).await.unwrap();
    let expected = [is(&first), is(&alone), is(&elsewhere), reused, is(&batch[4])];
    assert_eq!(accepted, expected);
    assert_eq!(count(&db, "SELECT count(*) FROM reports").await, 5);
    assert_eq!(count(&db, "SELECT count(*) FROM journal").await, 5);
    assert_eq!(count(&db, "SELECT count(*) FROM outbox").await, 10);
    for (by, fingerprint, expected) in [
        (sender("any", Some("content-regulator-CN")), 1, Some(is(&first))),
        (sender("any", Some("content-regulator-CN")), 2, Some(reused)),
        (sender("hotline", None), 2, Some(is(&alone))),
        (sender("bank", None), 2, None),
    ] {
        let known = store
            .known(&External::new(&by, "A-1", [fingerprint; 32]))
            .await
            .unwrap();
        assert_eq!(known, expected, "{by:?}");
    }
}

async fn a_request_that_finds_its_report_keeps_nothing_of_its_own(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let new = |request, fingerprint| with_id(acceptance(&*entropy, Some(request), fingerprint), "A-1", fingerprint);
    let first = new(1, 1);
    store.accept(&prepared(std::slice::from_ref(&first))).await.unwrap();
    // Twice with one request id in one batch: neither may be told of a report that there is not.
    let accepted = store
        .accept(&prepared(&[new(2, 1), new(2, 1), new(3, 2)]))
        .await
        .unwrap();
    let reused = Accepted::ExternalIdReused { report: first.report };
    assert_eq!(accepted, [is(&first), is(&first), reused]);
    assert_eq!(count(&db, "SELECT count(*) FROM requests").await, 1);
    // So the ids are free for what is recorded.
    let other = with_id(acceptance(&*entropy, Some(3), 2), "A-2", 2);
    let accepted = store.accept(&prepared(std::slice::from_ref(&other))).await.unwrap();
    assert_eq!(accepted, [is(&other)]);
    // The first's own repeat is found by its request id.
    assert_eq!(store.accept(&prepared(&[new(1, 1)])).await.unwrap(), [is(&first)]);
    assert_eq!(
        store.accept(&prepared(&[new(1, 2)])).await.unwrap(),
        [Accepted::RequestIdReused]
    );
}

async fn senders_that_race_with_one_external_id_get_one_report(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let batch = |from: u128| {
        // In either order, and with request ids in the other.
        let mut batch: Vec<_> = (0..20)
            .map(|n| with_id(acceptance(&*entropy, Some(from + n), 1), &format!("A-{}", n % 10), 1))
            .collect();
        if from.is_multiple_of(2_000) {
            batch.reverse();
        }
        prepared(&batch)
    };
    let batches: Vec<_> = (1..=8).map(|n| batch(n * 1_000)).collect();
    for accepted in join_all(batches.iter().map(|batch| store.accept(batch))).await {
        accepted.unwrap();
    }
    assert_eq!(count(&db, "SELECT count(*) FROM reports").await, 10);
    assert_eq!(count(&db, "SELECT count(*) FROM requests").await, 10);
    assert_eq!(count(&db, "SELECT count(*) FROM journal").await, 10);
}

fn named(id: &str) -> SubmitReportRequest {
    let mut request = good();
    request.report.as_mut().unwrap().external_id = id.to_owned();
    request
}

async fn submit(served: &Served, system: &str, request: SubmitReportRequest) -> Result<SubmitReportResponse, Status> {
    Ok(served.client(system).submit_report(request).await?.into_inner())
}

async fn find(served: &Served, system: &str, id: &str) -> Vec<Report> {
    let request = ListReportsRequest {
        external_id: id.to_owned(),
        ..Default::default()
    };
    let listed = served.client(system).list_reports(request).await.unwrap();
    listed.into_inner().reports
}

async fn the_same_submitted_again_is_the_same_report_and_other_content_is_refused(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let first = submit(&served, "hotline", named("举报 2026/1")).await.unwrap();
    let name = first.report.as_ref().unwrap().name.clone();
    let rows = served.rows().await;
    // Days later, by any system of the agency, however it is written, and whatever the request id.
    served.site.clock.advance(90 * 86_400);
    for (system, id, request_id) in [
        ("hotline", "举报 2026/1", ""),
        (
            "hotline-archive",
            " 举报\u{a0}\u{3000}2026/1\u{200b}",
            "5a3e0c1e-7b2d-4c1e-9b01-0000000000ab",
        ),
    ] {
        let mut again = named(id);
        again.request_id = request_id.to_owned();
        assert_eq!(submit(&served, system, again).await.unwrap(), first, "{system}");
    }
    let mut other = named("举报 2026/1");
    other.report.as_mut().unwrap().narrative.push('.');
    for validate_only in [false, true] {
        other.validate_only = validate_only;
        let status = submit(&served, "hotline", other.clone()).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str(), &info.metadata["report"]),
            (Code::AlreadyExists, "EXTERNAL_ID_REUSED", &name)
        );
    }
    let mut same = named("举报 2026/1");
    same.validate_only = true;
    submit(&served, "hotline", same).await.unwrap();
    assert_eq!(served.rows().await, rows);
    // Bad ones.
    for id in [" \u{200b}\u{3000}".to_owned(), "x".repeat(129), "é".repeat(5_000)] {
        let status = submit(&served, "hotline", named(&id)).await.unwrap_err();
        let bad = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((bad.len(), bad[0].field.as_str()), (1, "report.external_id"));
    }
    // Composed, it is as long as it may be.
    submit(&served, "hotline", named(&"e\u{301}".repeat(128)))
        .await
        .unwrap();
}

async fn p7_an_external_id_is_its_senders_only(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let senders = ["hotline", "handan", "platform", "operator"];
    let mut names = Vec::new();
    // The same id and the same content: each has a report of its own.
    for system in senders {
        let submitted = submit(&served, system, named("A-1")).await.unwrap();
        names.push(submitted.report.unwrap().name);
    }
    submit(&served, "hotline", good()).await.unwrap();
    for (system, name) in senders.iter().zip(&names) {
        let found = find(&served, system, " A-1").await;
        assert_eq!(found.len(), 1, "{system}");
        assert_eq!(
            (found[0].name.as_str(), found[0].external_id.as_str()),
            (name.as_str(), "A-1")
        );
        assert_eq!(find(&served, system, "A-2").await, []);
        let read = served.get(system, name, ReadPurpose::CheckSubmission).await.unwrap();
        assert_eq!(read.report.unwrap().external_id, "A-1");
    }
    // All of one sender's, with and without.
    let listed = served
        .client("hotline")
        .list_reports(ListReportsRequest::default())
        .await
        .unwrap();
    let mut ids: Vec<_> = listed
        .into_inner()
        .reports
        .into_iter()
        .map(|report| report.external_id)
        .collect();
    ids.sort();
    assert_eq!(ids, ["", "A-1"]);
    // The lead reads the report, and not its sender's id.
    served.routing.decide(&["police-450100"], &[]);
    served
        .applied
        .names
        .lock()
        .unwrap()
        .insert("agencies/police-450100".to_owned());
    let request = GetReportRequest {
        name: names[0].clone(),
        purpose: ReadPurpose::HandleCase.into(),
    };
    let read = served.client("nanning").get_report(request).await.unwrap().into_inner();
    let read = read.report.unwrap();
    assert_eq!((read.narrative.is_empty(), read.external_id.as_str()), (false, ""));
    assert_eq!(find(&served, "nanning", "A-1").await, []);
}

async fn a_report_with_evidence_is_found_by_its_external_id(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let file = crate::evidence::upload_bytes(&served, b"a picture").await.unwrap().name;
    let mut request = named("A-1");
    request.report.as_mut().unwrap().evidence = vec![file];
    let first = submit(&served, "hotline", request.clone()).await.unwrap();
    let rows = served.rows().await;
    // The file is attached by now, to this report.
    assert_eq!(submit(&served, "hotline", request.clone()).await.unwrap(), first);
    request.validate_only = true;
    submit(&served, "hotline", request.clone()).await.unwrap();
    let mut other = request.clone();
    other.validate_only = false;
    other.report.as_mut().unwrap().evidence =
        vec![crate::evidence::upload_bytes(&served, b"another").await.unwrap().name];
    let status = submit(&served, "hotline", other).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "EXTERNAL_ID_REUSED");
    // Another file was uploaded, and nothing else recorded.
    let files = count(&served.db, "SELECT count(*) FROM evidence WHERE state = 'UPLOADED'").await;
    assert_eq!(files, 1);
    assert_eq!(
        served.rows().await,
        rows + 3,
        "the file, its change, and that on its way to the log"
    );
}

/// The fingerprint is made with a key, of a form, and of names: each may be another by then.
async fn an_honest_repeat_is_known_by_what_it_says(backend: Backend) {
    use crate::evidence::upload_bytes;

    let served = serve(backend.url(), Limits::default()).await;
    let mut with_file = good();
    let said = with_file.report.as_mut().unwrap();
    said.external_id = "with-file".to_owned();
    said.evidence = vec![upload_bytes(&served, b"a contract").await.unwrap().name];
    let mut plain = good();
    plain.report.as_mut().unwrap().external_id = "plain".to_owned();
    let submit = async |request: &SubmitReportRequest| {
        let answer = served.client("hotline").submit_report(request.clone()).await;
        answer.map(|answer| answer.into_inner().report.map(|report| report.name).unwrap_or_default())
    };
    let (first, second) = (submit(&plain).await.unwrap(), submit(&with_file).await.unwrap());
    // As if the key were another one, and what is stored had another form than today's.
    let other_form = |request: &SubmitReportRequest| {
        let mut report = request.report.clone().unwrap();
        report.subjects[0].value = "  https://bet.example/ ".to_owned();
        prost::Message::encode_to_vec(&report)
    };
    let mut tx = served.db.begin().await.unwrap();
    let changed = tx
        .execute("UPDATE reports SET fingerprint = receipt_hash", Vec::new())
        .await;
    assert_eq!(changed.unwrap(), 2);
    let values = vec![other_form(&plain).into(), names::REPORT.id(&first).unwrap().into()];
    tx.execute("UPDATE reports SET content = $1 WHERE id = $2", values)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(submit(&plain).await.unwrap(), first);
    // The file was uploaded anew, as after a day.
    let again = upload_bytes(&served, b"a contract").await.unwrap().name;
    let mut repeated = with_file.clone();
    repeated.report.as_mut().unwrap().evidence = vec![again];
    for validate_only in [true, false] {
        repeated.validate_only = validate_only;
        let found = submit(&repeated).await.unwrap();
        assert!(validate_only || found == second);
    }
    // Other bytes, another text, another's file: other content.
    let other = upload_bytes(&served, b"another contract").await.unwrap().name;
    let mut others = with_file.clone();
    others.report.as_mut().unwrap().evidence = vec![other];
    let mut reworded = plain.clone();
    reworded.report.as_mut().unwrap().narrative.push('!');
    for request in [&others, &reworded] {
        let status = submit(request).await.unwrap_err();
        assert_eq!(status.get_details_error_info().unwrap().reason, "EXTERNAL_ID_REUSED");
    }
    assert_eq!(count(&served.db, "SELECT count(*) FROM reports").await, 2);
}
