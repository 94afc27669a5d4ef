//! Evidence over gRPC, with its files.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use api::intake::{
    DownloadEvidenceRequest, DownloadHeader, DownloadPurpose, Evidence, EvidenceSpec, EvidenceState,
    GetEvidenceRequest, GetUploadRequest, SubmitReportRequest, UploadEvidenceRequest, download_evidence_response,
    upload_evidence_request::Part,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use intake::{
    evidence::{Folder, Limits, Vault as _},
    store::evidence::{Begun, EvidenceStore as _, Kept, Partial},
};
use journal::{SeededEntropy, Time, ordered_id};
use sha2::{Digest as _, Sha256};
use testkit::Backend;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{NOW, Served, Site, count, good, serve, serve_at};

testkit::on_each_backend!(
    a_file_is_uploaded_attached_and_downloaded,
    p1_of_what_is_refused_nothing_is_kept,
    p1_a_file_whose_row_was_not_written_is_removed_and_one_whose_row_was_is_kept,
    p7_a_download_is_durable_before_a_byte_is_sent,
    p1_a_file_that_no_report_named_goes_after_a_day,
    files_without_a_report_have_a_quota_for_each_caller,
    what_is_named_for_a_category_without_files_goes_at_once_by_every_door,
    what_was_refused_is_not_taken_again_and_what_others_have_stays,
    an_upload_that_breaks_off_goes_on_at_another_replica,
    an_upload_that_another_takes_over_ends_and_neither_writes_into_the_other,
    p1_what_broke_off_is_kept_for_a_day_and_no_longer,
    an_upload_beyond_those_that_are_kept_comes_to_its_end,
    what_a_stale_upload_notes_late_counts_for_nothing,
    what_cannot_be_gone_on_with_is_forgotten,
);

const ABUSE: &str = "categories/child-sexual-abuse-material";

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and more than fits into one message";

fn spec(size: usize) -> EvidenceSpec {
    EvidenceSpec {
        size_bytes: i64::try_from(size).unwrap(),
        media_type: "image/png".to_owned(),
        ..EvidenceSpec::default()
    }
}

fn first(spec: EvidenceSpec) -> UploadEvidenceRequest {
    UploadEvidenceRequest {
        part: Some(Part::Spec(spec)),
    }
}

fn data(data: &'static [u8]) -> UploadEvidenceRequest {
    UploadEvidenceRequest {
        part: Some(Part::Data(Bytes::from_static(data))),
    }
}

async fn send(served: &Served, who: &str, messages: Vec<UploadEvidenceRequest>) -> Result<Evidence, Status> {
    let response = served.evidence(who).upload_evidence(stream::iter(messages)).await?;
    Ok(response.into_inner().evidence.unwrap())
}

async fn upload(served: &Served, bytes: &'static [u8]) -> Evidence {
    let messages = [first(spec(bytes.len()))].into_iter().chain(bytes.chunks(16).map(data));
    send(served, "hotline", messages.collect()).await.unwrap()
}

pub async fn upload_bytes(served: &Served, bytes: &'static [u8]) -> Result<Evidence, Status> {
    send(served, "hotline", vec![first(spec(bytes.len())), data(bytes)]).await
}

async fn get(served: &Served, who: &str, name: &str) -> Result<Evidence, Status> {
    let request = GetEvidenceRequest { name: name.to_owned() };
    let response = served.evidence(who).get_evidence(request).await?;
    Ok(response.into_inner().evidence.unwrap())
}

fn wanted(name: &str) -> DownloadEvidenceRequest {
    DownloadEvidenceRequest {
        name: name.to_owned(),
        purpose: DownloadPurpose::CheckUpload.into(),
        justification: "to read the contract".to_owned(),
    }
}

/// The received bytes, and the error if they are not all.
async fn download(
    served: &Served,
    who: &str,
    request: DownloadEvidenceRequest,
) -> (Option<DownloadHeader>, Vec<u8>, Option<Status>) {
    let (mut header, mut bytes) = (None, Vec::new());
    let mut messages = match served.evidence(who).download_evidence(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (None, bytes, Some(status)),
    };
    while let Some(message) = messages.next().await {
        match message.map(|message| message.part.unwrap()) {
            Ok(download_evidence_response::Part::Header(first)) => {
                assert!(header.is_none() && bytes.is_empty(), "it is the first");
                header = Some(first);
            }
            Ok(download_evidence_response::Part::Data(data)) => bytes.extend_from_slice(&data),
            Err(status) => return (header, bytes, Some(status)),
        }
    }
    (header, bytes, None)
}

fn naming(evidence: &[&str]) -> SubmitReportRequest {
    let mut request = good();
    request.report.as_mut().unwrap().evidence = evidence.iter().map(|name| (*name).to_owned()).collect();
    request
}

fn fields(status: &Status) -> Vec<String> {
    let bad = status.get_details_bad_request().into_iter();
    bad.flat_map(|bad| bad.field_violations)
        .map(|violation| violation.field)
        .collect()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

/// Makes a file look unwritten for two hours.
fn age(path: &Path) {
    let time = NOW.plus_seconds(-7_200).0.unsigned_abs();
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(time);
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it becomes so");
}

async fn a_file_is_uploaded_attached_and_downloaded(backend: Backend) {
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let evidence = upload(&served, PNG).await;
    assert_eq!(evidence.state(), EvidenceState::Uploaded);
    assert_eq!(evidence.sha256, Sha256::digest(PNG).to_vec());
    assert_eq!(
        (
            evidence.size_bytes,
            evidence.media_type.as_str(),
            evidence.sniffed_media_type.as_str()
        ),
        (PNG.len() as i64, "image/png", "image/png")
    );
    assert_eq!(evidence.upload_time, Some(NOW.to_proto()));
    assert_eq!(evidence.expire_time, Some(NOW.plus_seconds(86_400).to_proto()));
    let files = served.site.files();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::read(&files[0]).unwrap(), PNG);
    assert_eq!(get(&served, "hotline", &evidence.name).await.unwrap(), evidence);

    let submitted = served
        .client("hotline")
        .submit_report(naming(&[&evidence.name]))
        .await
        .unwrap();
    let report = submitted.into_inner().report.unwrap().name;
    let attached = get(&served, "hotline", &evidence.name).await.unwrap();
    assert_eq!(attached.state(), EvidenceState::Attached);
    assert_eq!(
        (attached.report.as_str(), attached.expire_time),
        (report.as_str(), None)
    );

    let (header, bytes, end) = download(&served, "hotline", wanted(&evidence.name)).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(bytes, PNG);
    let header = header.unwrap();
    assert_eq!(header.evidence, Some(attached));
    let change = header.change.unwrap();
    // The sender must not learn how often a file was downloaded, or which entry came last.
    assert_eq!((change.kind.as_str(), change.chain), ("evidence.downloaded", None));
    let entry = journal::Entry::decode(&change.entry).unwrap();
    assert_eq!(
        (entry.id.to_string(), entry.source.as_str()),
        (change.event_id, "intake")
    );
    let chain = "SELECT max(sequence) FROM journal WHERE kind = 'evidence.downloaded'";
    assert_eq!(count(&served.db, chain).await, 3);
}

async fn p1_of_what_is_refused_nothing_is_kept(backend: Backend) {
    let site = Site::new(Limits {
        file_bytes: 100,
        ..Limits::default()
    });
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let wrong_hash = EvidenceSpec {
        sha256: vec![7; 32].into(),
        ..spec(3)
    };
    for (messages, field) in [
        (vec![], "spec"),
        (vec![data(b"abc")], "spec"),
        (vec![UploadEvidenceRequest { part: None }], "part"),
        (vec![first(spec(0))], "spec.size_bytes"),
        (vec![first(spec(101))], "spec.size_bytes"),
        (vec![first(spec(3))], "spec.size_bytes"),
        (vec![first(spec(3)), data(b"ab")], "spec.size_bytes"),
        (vec![first(spec(3)), data(b"ab"), data(b"cd")], "spec.size_bytes"),
        (vec![first(spec(3)), data(b"ab"), data(b"")], "data"),
        (vec![first(spec(3)), first(spec(3)), data(b"abc")], "spec"),
        (
            vec![first(spec(3)), data(b"ab"), UploadEvidenceRequest { part: None }],
            "part",
        ),
        (vec![first(wrong_hash), data(b"abc")], "spec.sha256"),
    ] {
        let status = send(&served, "hotline", messages.clone()).await.unwrap_err();
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec![field.to_owned()]),
            "{messages:?}"
        );
    }
    let status = send(&served, "inspector", vec![first(spec(3)), data(b"abc")])
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(served.rows().await, 0);
    assert_eq!(site.files(), Vec::<std::path::PathBuf>::new());
    // With their true hash, the same bytes are accepted.
    let right_hash = EvidenceSpec {
        sha256: Sha256::digest(b"abc").to_vec().into(),
        ..spec(3)
    };
    send(&served, "hotline", vec![first(right_hash), data(b"abc")])
        .await
        .unwrap();
}

#[tokio::test]
async fn p1_of_an_upload_that_breaks_off_or_stands_still_nothing_is_kept() {
    let backend = Backend::sqlite();
    let site = Site::new(Limits {
        idle: Duration::from_secs(2),
        streams: 1,
        ..Limits::default()
    });
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    for goes_away in [true, false] {
        let (messages, received) = mpsc::channel(4);
        messages.send(first(spec(PNG.len()))).await.unwrap();
        messages.send(data(&PNG[..20])).await.unwrap();
        let mut client = served.evidence("hotline");
        let upload = tokio::spawn(async move { client.upload_evidence(ReceiverStream::new(received)).await });
        until(async || site.files().len() == 1).await;
        if goes_away {
            // There is no room for another meanwhile.
            let status = send(&served, "hotline", vec![first(spec(3)), data(b"abc")])
                .await
                .unwrap_err();
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::ResourceExhausted, "OVERLOADED")
            );
            upload.abort();
        } else {
            let status = upload.await.unwrap().unwrap_err();
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
            );
        }
        until(async || site.files().is_empty()).await;
    }
    assert_eq!(served.rows().await, 0);
    until(async || {
        send(&served, "hotline", vec![first(spec(3)), data(b"abc")])
            .await
            .is_ok()
    })
    .await;
}

async fn files_without_a_report_have_a_quota_for_each_caller(backend: Backend) {
    let site = Site::new(Limits {
        // The first counts as 64 KiB.
        unattached_bytes_per_caller: (64 << 10) + 2,
        ..Limits::default()
    });
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let upload = async |system| send(&served, system, vec![first(spec(3)), data(b"abc")]).await;
    upload("hotline").await.unwrap();
    let refused = upload("hotline").await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "STORAGE_FULL")
    );
    assert!(
        refused.message().contains("quota of 65538 bytes"),
        "{}",
        refused.message()
    );
    assert_eq!(site.files().len(), 1, "nothing is kept of it");
    // It is nobody else's.
    upload("platform").await.unwrap();
}

#[tokio::test]
async fn a_download_that_is_not_taken_makes_room_for_others() {
    let backend = Backend::sqlite();
    let site = Site::new(Limits {
        idle: Duration::from_secs(2),
        streams: 1,
        ..Limits::default()
    });
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    // More than the transport buffers ahead of its reader.
    let bytes: &'static [u8] = vec![7; 4 << 20].leak();
    let messages = [first(spec(bytes.len()))]
        .into_iter()
        .chain(bytes.chunks(1 << 20).map(data));
    let name = send(&served, "hotline", messages.collect()).await.unwrap().name;
    let standing = served
        .evidence("hotline")
        .download_evidence(wanted(&name))
        .await
        .unwrap();
    let (_, received, end) = download(&served, "hotline", wanted(&name)).await;
    let status = end.unwrap();
    assert_eq!((received.len(), status.code()), (0, Code::ResourceExhausted));
    assert_eq!(reason(&status), "OVERLOADED");
    until(async || download(&served, "hotline", wanted(&name)).await.1 == bytes).await;
    drop(standing);
}

async fn p1_a_file_whose_row_was_not_written_is_removed_and_one_whose_row_was_is_kept(backend: Backend) {
    let site = Site::new(Limits::default());
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let again = || {
        let request_id = "5a3e0c1e-7b2d-4c1e-9b01-0000000000aa".to_owned();
        let spec = EvidenceSpec { request_id, ..spec(3) };
        send(&served, "hotline", vec![first(spec), data(b"abc")])
    };
    // The process dies between file and row, as seen from outside.
    served.faults.fail_before.store(1, Ordering::SeqCst);
    again().await.unwrap_err();
    let orphan = site.files();
    assert_eq!((orphan.len(), served.rows().await), (1, 0));
    // The row is durable, but the caller never learns.
    served.faults.fail_after.store(1, Ordering::SeqCst);
    again().await.unwrap_err();
    let rows = served.rows().await;
    assert_eq!((site.files().len(), rows), (2, 3));
    // The repeat keeps the first file, which has the row.
    let evidence = again().await.unwrap();
    assert_eq!(again().await.unwrap(), evidence);
    assert_eq!((site.files().len(), served.rows().await), (2, rows));

    // One left by an upload that the crash interrupted, and one still running.
    let folder = Folder::open(site.folder.path()).await.unwrap();
    let entropy = SeededEntropy::new(1);
    let unfinished = [0, 1].map(|_| folder.begin(ordered_id(NOW, &entropy)));
    let unfinished = futures::future::join_all(unfinished).await;
    unfinished.into_iter().for_each(|file| std::mem::forget(file.unwrap()));
    let torn = std::fs::read_dir(site.folder.path().join("incoming"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    for file in site
        .files()
        .iter()
        .filter(|file| !file.starts_with(site.folder.path().join("incoming")))
    {
        age(file);
    }
    age(&torn);
    drop(served);
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    until(async || site.files().len() == 2).await;
    assert!(!orphan[0].exists() && !torn.exists());
    let (_, bytes, end) = download(&served, "hotline", wanted(&evidence.name)).await;
    assert_eq!((bytes.as_slice(), end.is_none()), (&b"abc"[..], true));
}

async fn p7_a_download_is_durable_before_a_byte_is_sent(backend: Backend) {
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let evidence = upload(&served, PNG).await;
    let before = served.rows().await;
    for bad in [
        DownloadEvidenceRequest {
            purpose: 0,
            ..wanted(&evidence.name)
        },
        DownloadEvidenceRequest {
            justification: "because".to_owned(),
            ..wanted(&evidence.name)
        },
        wanted("evidence/1"),
    ] {
        let (header, bytes, end) = download(&served, "hotline", bad).await;
        assert_eq!(
            (header, bytes.len(), end.unwrap().code()),
            (None, 0, Code::InvalidArgument)
        );
    }
    served.faults.fail_before.store(1, Ordering::SeqCst);
    let (header, bytes, end) = download(&served, "hotline", wanted(&evidence.name)).await;
    assert_eq!((header, bytes.len(), end.unwrap().code()), (None, 0, Code::Internal));
    assert_eq!(served.rows().await, before, "nothing was recorded, and nothing sent");
    // Recorded, but the service does not learn it: nothing is sent.
    served.faults.fail_after.store(1, Ordering::SeqCst);
    let (header, bytes, end) = download(&served, "hotline", wanted(&evidence.name)).await;
    assert_eq!((header, bytes.len(), end.unwrap().code()), (None, 0, Code::Internal));
    assert_eq!(
        served.rows().await,
        before + 3,
        "the download, its entry, and what audit is to be told"
    );

    // As soon as the first byte arrives, the whole reading is on its way to the log.
    let response = served
        .evidence("hotline")
        .download_evidence(wanted(&evidence.name))
        .await
        .unwrap();
    assert_eq!(served.rows().await, before + 6);
    drop(response);
}

#[tokio::test]
async fn p7_evidence_is_shown_to_nobody_whom_routing_does_not_name() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let loose = upload(&served, PNG).await.name;
    let attached = upload(&served, PNG).await.name;
    served
        .client("hotline")
        .submit_report(naming(&[&attached]))
        .await
        .unwrap();
    let missing = "evidence/01900000-0000-7000-8000-000000000000".to_owned();
    let before = served.rows().await;
    // Callers without an agency lead no case; nor do auditors, whatever agency their token names.
    for who in ["platform", "operator", "inspector", "relay", "routing"] {
        let mut answers = Vec::new();
        for name in [&loose, &attached, &missing] {
            let (header, bytes, end) = download(&served, who, wanted(name)).await;
            assert_eq!((header, bytes.len()), (None, 0), "{who}");
            for status in [get(&served, who, name).await.unwrap_err(), end.unwrap()] {
                answers.push((status.code(), status.message().to_owned(), status.details().to_vec()));
            }
        }
        let expected = match who {
            "platform" | "operator" => Code::NotFound,
            // Roles that may never download are told so, for every file.
            _ => Code::PermissionDenied,
        };
        assert_eq!(answers[0].0, expected, "{who}");
        // For existing and missing files alike, each method gives the same answer.
        assert!(
            answers.iter().zip(&answers[2..]).all(|(one, next)| one == next),
            "{who}: {answers:?}"
        );
        assert!(
            expected != Code::NotFound || answers[0] == answers[1],
            "{who}: {answers:?}"
        );
    }
    // Routing cannot be asked: nothing is shown, not even whether the file exists.
    served.routing.is_down(true);
    for name in [&loose, &attached, &missing] {
        let (_, _, end) = download(&served, "handan", wanted(name)).await;
        for status in [get(&served, "handan", name).await.unwrap_err(), end.unwrap()] {
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::Unavailable, "UNAVAILABLE")
            );
        }
    }
    // Another system of the sender's agency sees the file's record, and gets no content.
    assert!(get(&served, "hotline-archive", &loose).await.is_ok());
    let (_, bytes, end) = download(&served, "hotline-archive", wanted(&loose)).await;
    assert_eq!((bytes.len(), end.unwrap().code()), (0, Code::Unavailable));
    assert_eq!(served.rows().await, before, "what is refused is no change");
}

#[tokio::test]
async fn a_stored_file_that_is_not_what_was_recorded_is_noticed() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let evidence = upload(&served, PNG).await;
    let path = served.site.files().remove(0);
    let flipped = |at: usize| {
        let mut bytes = PNG.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [PNG, b"x"].concat();
    for stored in [
        flipped(0),
        flipped(PNG.len() - 1),
        PNG[..PNG.len() - 1].to_vec(),
        longer,
        Vec::new(),
    ] {
        std::fs::write(&path, &stored).unwrap();
        let (_, _, end) = download(&served, "hotline", wanted(&evidence.name)).await;
        let status = end.unwrap();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::DataLoss, "DATA_LOSS"),
            "{stored:?}"
        );
    }
    // A download of a missing file is not logged.
    std::fs::remove_file(&path).unwrap();
    let before = served.rows().await;
    let (header, _, end) = download(&served, "hotline", wanted(&evidence.name)).await;
    assert_eq!((header, end.unwrap().code()), (None, Code::DataLoss));
    assert_eq!(served.rows().await, before);
    std::fs::write(&path, PNG).unwrap();
    assert!(download(&served, "hotline", wanted(&evidence.name)).await.2.is_none());
}

async fn p1_a_file_that_no_report_named_goes_after_a_day(backend: Backend) {
    let site = Site::new(Limits::default());
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let named = upload(&served, PNG).await.name;
    served.client("hotline").submit_report(naming(&[&named])).await.unwrap();
    let loose = upload(&served, PNG).await.name;
    site.clock.advance(86_399);
    drop(served);
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let mut request = naming(&[&loose]);
    request.validate_only = true;
    served
        .client("hotline")
        .submit_report(request)
        .await
        .expect("it could be attached still");
    site.clock.advance(1);
    // Due, and deleted by the next upkeep.
    let status = served
        .client("hotline")
        .submit_report(naming(&[&loose]))
        .await
        .unwrap_err();
    assert_eq!(fields(&status), ["report.evidence[0]"]);
    drop(served);
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    until(async || site.files().len() == 1).await;
    let expired = get(&served, "hotline", &loose).await.unwrap();
    assert_eq!(expired.state(), EvidenceState::Expired);
    let (header, _, end) = download(&served, "hotline", wanted(&loose)).await;
    let status = end.unwrap();
    assert_eq!(
        (header, status.code(), reason(&status).as_str()),
        (None, Code::FailedPrecondition, "WRONG_STATE")
    );
    let status = served
        .client("hotline")
        .submit_report(naming(&[&loose]))
        .await
        .unwrap_err();
    assert!(format!("{:?}", status.get_details_bad_request()).contains("has expired"));
    assert!(
        download(&served, "hotline", wanted(&named)).await.2.is_none(),
        "what was named stays"
    );
    let gone = "SELECT count(*) FROM evidence WHERE unremoved_since IS NOT NULL";
    until(async || count(&served.db, gone).await == 0).await;
}

#[tokio::test]
async fn a_report_names_evidence_that_it_can_have_or_is_not_taken() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let mine = upload(&served, PNG).await.name;
    let theirs = send(&served, "platform", vec![first(spec(3)), data(b"abc")])
        .await
        .unwrap()
        .name;
    let many: Vec<_> = (0..21)
        .map(|i| format!("evidence/01900000-0000-7000-8000-0000000000{i:02}"))
        .collect();
    let missing = many[0].clone();
    let before = served.rows().await;
    for (evidence, expected) in [
        (
            vec![mine.as_str(), &theirs, &missing],
            &["report.evidence[1]", "report.evidence[2]"][..],
        ),
        (vec![&mine, &mine], &["report.evidence[1]"]),
        (
            vec!["evidence/1", &mine, "reports/1"],
            &["report.evidence[0]", "report.evidence[2]"],
        ),
        (many.iter().map(String::as_str).collect(), &["report.evidence"]),
    ] {
        for validate_only in [true, false] {
            let mut request = naming(&evidence);
            request.validate_only = validate_only;
            let status = served.client("hotline").submit_report(request).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(fields(&status), expected);
        }
    }
    assert_eq!(served.rows().await, before, "nothing is left behind");
    // Where possession itself is the offence, files are refused and the law is named.
    let mut refused = naming(&[&mine]);
    refused.report.as_mut().unwrap().category = "categories/child-sexual-abuse-material".to_owned();
    let status = served.client("hotline").submit_report(refused).await.unwrap_err();
    let bad = status.get_details_bad_request().unwrap();
    let violation = bad
        .field_violations
        .iter()
        .find(|violation| violation.field == "report.evidence")
        .unwrap();
    assert!(
        violation.description.contains("Do not download or upload it")
            && violation.description.contains("未成年人保护法第52条"),
        "{violation:?}"
    );
    assert_eq!(
        get(&served, "hotline", &mine).await.unwrap().state(),
        EvidenceState::Refused
    );
    let mine = upload(&served, b"something else").await.name;
    served.client("hotline").submit_report(naming(&[&mine])).await.unwrap();
    let status = served
        .client("hotline")
        .submit_report(naming(&[&mine]))
        .await
        .unwrap_err();
    assert!(format!("{:?}", status.get_details_bad_request()).contains("is part of another report"));
}

/// Every way in which a report can name a file.
async fn what_is_named_for_a_category_without_files_goes_at_once_by_every_door(backend: Backend) {
    use api::intake::{
        AddInformationRequest, BatchSubmitReportsRequest, SubmitReportsRequest, add_information_request::Target,
    };

    let served = serve(backend.url(), rpc::Limits::default()).await;
    let mut without_files = good();
    without_files.report.as_mut().unwrap().category = ABUSE.to_owned();
    let submitted = served.client("hotline").submit_report(without_files).await.unwrap();
    let submitted = submitted.into_inner();
    let (report, receipt) = (submitted.report.unwrap().name, submitted.receipt);
    let of_abuse = |file: &str| {
        let mut request = naming(&[file]);
        request.report.as_mut().unwrap().category = ABUSE.to_owned();
        request
    };
    let add = async |target: Target, file: &str| {
        let request = AddInformationRequest {
            target: Some(target),
            evidence: vec![file.to_owned()],
            ..AddInformationRequest::default()
        };
        served.client("hotline").add_information(request).await.map(drop)
    };
    let doors = [
        "single",
        "preview",
        "request id",
        "external id",
        "badly",
        "batch",
        "stream",
        "name",
        "receipt",
    ];
    for (i, door) in doors.into_iter().enumerate() {
        let bytes: &'static [u8] = format!("picture {i}").leak().as_bytes();
        let file = upload(&served, bytes).await;
        let mut request = of_abuse(&file.name);
        let refused = match door {
            "batch" => {
                let requests = vec![good(), request];
                let results = served.client("hotline");
                let mut results = results;
                let batch = results
                    .batch_submit_reports(BatchSubmitReportsRequest { requests })
                    .await
                    .unwrap();
                batch.into_inner().results.len() == 2
            }
            "stream" => {
                let messages = stream::iter([SubmitReportsRequest { request: Some(request) }]);
                let answers = served
                    .client("hotline")
                    .submit_reports(messages)
                    .await
                    .unwrap()
                    .into_inner();
                answers.map(Result::unwrap).count().await == 1
            }
            "name" => add(Target::Name(report.clone()), &file.name).await.is_err(),
            "receipt" => add(Target::Receipt(receipt.clone()), &file.name).await.is_err(),
            _ => {
                request.validate_only = door == "preview";
                let said = request.report.as_mut().unwrap();
                match door {
                    "request id" => request.request_id = uuid::Uuid::from_u128(7).to_string(),
                    "external id" => said.external_id = "desk-1".to_owned(),
                    // Whatever else is wrong with it.
                    "badly" => said.language_code = "!".to_owned(),
                    _ => {}
                }
                served.client("hotline").submit_report(request).await.is_err()
            }
        };
        assert!(refused, "{door}");
        if door == "preview" {
            // It says so, and changes nothing: the category may be a slip.
            let left = get(&served, "hotline", &file.name).await.unwrap();
            assert_eq!(left, file);
            assert_eq!(served.site.files().len(), 1);
            let (_, bytes, _) = download(&served, "hotline", wanted(&file.name)).await;
            assert!(!bytes.is_empty());
            served
                .client("hotline")
                .submit_report(of_abuse(&file.name))
                .await
                .unwrap_err();
            assert_eq!(served.site.files().len(), 0);
            continue;
        }
        assert_eq!(served.site.files(), Vec::<std::path::PathBuf>::new(), "{door}");
        let left = get(&served, "hotline", &file.name).await.unwrap();
        assert_eq!(left.state(), EvidenceState::Refused, "{door}");
        assert_eq!(
            (left.sha256, left.expire_time),
            (file.sha256.clone(), None),
            "its hash stays"
        );
        let (_, bytes, status) = download(&served, "hotline", wanted(&file.name)).await;
        assert_eq!(
            (bytes.len(), status.unwrap().code()),
            (0, Code::FailedPrecondition),
            "{door}"
        );
        let status = served
            .client("hotline")
            .submit_report(naming(&[&file.name]))
            .await
            .unwrap_err();
        assert_eq!(fields(&status), ["report.evidence[0]"], "{door}");
        let kinds = journal::changes_of(&served.db, &file.name, "audit").await.unwrap();
        let kinds: Vec<_> = kinds.iter().map(|change| change.kind.as_str()).collect();
        assert_eq!(kinds, ["evidence.uploaded", "evidence.refused"], "{door}");
    }
    assert_eq!(
        count(
            &served.db,
            "SELECT count(*) FROM evidence WHERE unremoved_since IS NOT NULL"
        )
        .await,
        0
    );
    // If the database fails, the file is there, the report is not refused yet, and a repeat does
    // it.
    let file = upload(&served, b"one more").await;
    served.faults.fail_before.store(1, Ordering::SeqCst);
    let failed = served
        .client("hotline")
        .submit_report(of_abuse(&file.name))
        .await
        .unwrap_err();
    assert_ne!(failed.code(), Code::InvalidArgument);
    assert_eq!(served.site.files().len(), 1);
    let refused = served
        .client("hotline")
        .submit_report(of_abuse(&file.name))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(served.site.files().len(), 0);
}

async fn what_was_refused_is_not_taken_again_and_what_others_have_stays(backend: Backend) {
    let served = serve(backend.url(), rpc::Limits::default()).await;
    const BYTES: &[u8] = b"a picture";
    let announced = |request_id: &str, category: &str| EvidenceSpec {
        request_id: request_id.to_owned(),
        category: category.to_owned(),
        ..spec(BYTES.len())
    };
    let once = uuid::Uuid::from_u128(1).to_string();
    let put = async |who: &str, spec: EvidenceSpec| send(&served, who, vec![first(spec), data(BYTES)]).await;
    // Known for what it is: refused before a byte is kept, whoever it is from.
    for (category, fields_of) in [(ABUSE, "spec.category"), ("categories/no-such-thing", "spec.category")] {
        let status = put("platform", announced("", category)).await.unwrap_err();
        assert_eq!(fields(&status), [fields_of]);
    }
    assert_eq!((served.rows().await, served.site.files().len()), (0, 0));
    let mine = put("hotline", announced(&once, "categories/gambling")).await.unwrap();
    let copy = put("hotline-archive", announced("", "")).await.unwrap();
    let attached = put("hotline", announced("", "")).await.unwrap();
    served
        .client("hotline")
        .submit_report(naming(&[&attached.name]))
        .await
        .unwrap();
    let theirs = put("platform", announced("", "")).await.unwrap();
    let mut refused = naming(&[&mine.name, &attached.name, &theirs.name]);
    refused.report.as_mut().unwrap().category = ABUSE.to_owned();
    served.client("hotline").submit_report(refused).await.unwrap_err();
    for (who, file, state) in [
        ("hotline", &mine, EvidenceState::Refused),
        // The same bytes of the same sender, which no report named.
        ("hotline", &copy, EvidenceState::Refused),
        // Evidence of a case: nobody destroys that by naming it.
        ("hotline", &attached, EvidenceState::Attached),
        ("platform", &theirs, EvidenceState::Uploaded),
    ] {
        assert_eq!(
            get(&served, who, &file.name).await.unwrap().state(),
            state,
            "{who} {}",
            file.name
        );
    }
    assert_eq!(served.site.files().len(), 2);
    // Neither as a retry nor anew, by no system of the agency; others are told nothing by it.
    for (who, request_id) in [("hotline", once.as_str()), ("hotline", ""), ("hotline-archive", "")] {
        let status = put(who, announced(request_id, "")).await.unwrap_err();
        assert_eq!(fields(&status), ["spec.sha256"], "{who}");
    }
    assert_eq!(served.site.files().len(), 2);
    put("platform", announced("", "")).await.unwrap();
    // The request id stands for nothing.
    send(
        &served,
        "hotline",
        vec![
            first(EvidenceSpec {
                request_id: once,
                ..spec(3)
            }),
            data(b"abc"),
        ],
    )
    .await
    .unwrap();
}

fn resumable(size: usize, request_id: u128) -> EvidenceSpec {
    EvidenceSpec {
        request_id: uuid::Uuid::from_u128(request_id).to_string(),
        ..spec(size)
    }
}

async fn arrived(served: &Served, who: &str, request_id: u128) -> Result<i64, Status> {
    let request = GetUploadRequest {
        request_id: uuid::Uuid::from_u128(request_id).to_string(),
    };
    let answer = served.evidence(who).get_upload(request).await?;
    Ok(answer.into_inner().received_size_bytes)
}

/// An upload whose messages a test gives one by one.
struct Open {
    messages: mpsc::Sender<UploadEvidenceRequest>,
    call: tokio::task::JoinHandle<Result<Evidence, Status>>,
}

impl Open {
    async fn begin(served: &Served, who: &str, spec: EvidenceSpec) -> Self {
        let (messages, receiver) = mpsc::channel(4);
        messages.send(first(spec)).await.unwrap();
        let mut client = served.evidence(who);
        let call = tokio::spawn(async move {
            let response = client.upload_evidence(ReceiverStream::new(receiver)).await?;
            Ok(response.into_inner().evidence.unwrap())
        });
        Self { messages, call }
    }

    async fn send(&self, bytes: &[u8]) {
        for chunk in bytes.chunks(1 << 20) {
            let message = UploadEvidenceRequest {
                part: Some(Part::Data(Bytes::copy_from_slice(chunk))),
            };
            self.messages.send(message).await.unwrap();
        }
    }

    /// As when the sender is gone.
    async fn breaks_off(self) {
        self.call.abort();
        let _ = self.call.await;
    }
}

async fn an_upload_that_breaks_off_goes_on_at_another_replica(backend: Backend) {
    let site = Site::new(Limits::default());
    let one = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let two = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    let announced = || EvidenceSpec {
        sha256: Sha256::digest(&bytes).to_vec().into(),
        ..resumable(bytes.len(), 1)
    };
    assert_eq!(arrived(&one, "hotline", 1).await.unwrap_err().code(), Code::NotFound);
    // Twice, at one replica after the other.
    let (mut begun, mut at) = (0, [&one, &two].into_iter().cycle());
    for until_byte in [400_000, 900_000] {
        let open = Open::begin(
            at.next().unwrap(),
            "hotline",
            EvidenceSpec {
                offset_bytes: begun,
                ..announced()
            },
        )
        .await;
        open.send(&bytes[usize::try_from(begun).unwrap()..until_byte]).await;
        until(async || {
            site.files()
                .iter()
                .any(|file| file.metadata().is_ok_and(|it| it.len() == until_byte as u64))
        })
        .await;
        open.breaks_off().await;
        let expected = i64::try_from(until_byte).unwrap();
        until(async || {
            arrived(&two, "hotline", 1)
                .await
                .is_ok_and(|arrived| arrived == expected)
        })
        .await;
        // What it went on from is gone.
        until(async || site.files().len() == 1).await;
        begun = expected;
    }
    // It is the system's that began it, and no other's.
    assert_eq!(
        arrived(&one, "hotline-archive", 1).await.unwrap_err().code(),
        Code::NotFound
    );
    let missing = arrived(&one, "hotline", 2).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    for (wrong, field) in [
        (
            EvidenceSpec {
                offset_bytes: begun + 1,
                ..announced()
            },
            "spec.offset_bytes",
        ),
        (
            EvidenceSpec {
                offset_bytes: -1,
                ..announced()
            },
            "spec.offset_bytes",
        ),
        (
            EvidenceSpec {
                offset_bytes: begun,
                request_id: String::new(),
                ..announced()
            },
            "spec.offset_bytes",
        ),
        // Of another file.
        (
            EvidenceSpec {
                offset_bytes: begun,
                size_bytes: begun + 9,
                ..announced()
            },
            "spec.offset_bytes",
        ),
        (
            EvidenceSpec {
                offset_bytes: begun,
                sha256: Bytes::new(),
                ..announced()
            },
            "spec.offset_bytes",
        ),
    ] {
        let status = send(&one, "hotline", vec![first(wrong)]).await.unwrap_err();
        assert_eq!(fields(&status), [field]);
    }
    let last = Open::begin(
        &one,
        "hotline",
        EvidenceSpec {
            offset_bytes: begun,
            ..announced()
        },
    )
    .await;
    last.send(&bytes[usize::try_from(begun).unwrap()..]).await;
    drop(last.messages);
    let evidence = last.call.await.unwrap().unwrap();
    assert_eq!(evidence.sha256, Sha256::digest(&bytes).to_vec());
    assert_eq!(evidence.size_bytes, i64::try_from(bytes.len()).unwrap());
    let files = site.files();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::read(&files[0]).unwrap(), bytes);
    assert_eq!(arrived(&one, "hotline", 1).await.unwrap_err().code(), Code::NotFound);
    // A repeat from the beginning gets the first answer.
    let again = Open::begin(&two, "hotline", announced()).await;
    again.send(&bytes).await;
    drop(again.messages);
    assert_eq!(again.call.await.unwrap().unwrap(), evidence);
    assert_eq!(site.files().len(), 1);
}

async fn an_upload_that_another_takes_over_ends_and_neither_writes_into_the_other(backend: Backend) {
    let site = Site::new(Limits::default());
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let bytes: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let stale = Open::begin(&served, "hotline", resumable(bytes.len(), 1)).await;
    stale.send(&bytes[..9 << 20]).await;
    // Noted while it arrives: a process that is killed loses no more than 8 MiB.
    let noted = 8 << 20;
    until(async || {
        arrived(&served, "hotline", 1)
            .await
            .is_ok_and(|arrived| arrived == noted)
    })
    .await;
    let next = Open::begin(
        &served,
        "hotline",
        EvidenceSpec {
            offset_bytes: noted,
            ..resumable(bytes.len(), 1)
        },
    )
    .await;
    next.send(&bytes[8 << 20..17 << 20]).await;
    until(async || {
        arrived(&served, "hotline", 1)
            .await
            .is_ok_and(|arrived| arrived > noted)
    })
    .await;
    // Other bytes, which must go nowhere.
    let rest = vec![7; 8 << 20];
    for chunk in rest.chunks(1 << 20) {
        let message = UploadEvidenceRequest {
            part: Some(Part::Data(Bytes::copy_from_slice(chunk))),
        };
        if stale.messages.send(message).await.is_err() {
            break;
        }
    }
    let status = stale.call.await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Aborted, "ETAG_MISMATCH")
    );
    next.send(&bytes[17 << 20..]).await;
    drop(next.messages);
    let evidence = next.call.await.unwrap().unwrap();
    assert_eq!(evidence.sha256, Sha256::digest(&bytes).to_vec());
    let files = site.files();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(std::fs::read(&files[0]).unwrap() == bytes);
}

async fn p1_what_broke_off_is_kept_for_a_day_and_no_longer(backend: Backend) {
    let site = Site::new(Limits::default());
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let breaks_off = async |request_id, bytes: &'static [u8]| {
        let open = Open::begin(&served, "hotline", resumable(100, request_id)).await;
        open.send(bytes).await;
        let length = bytes.len() as u64;
        until(async || {
            site.files()
                .iter()
                .any(|file| file.metadata().is_ok_and(|it| it.len() == length))
        })
        .await;
        open.breaks_off().await;
        let expected = i64::try_from(length).unwrap();
        until(async || {
            arrived(&served, "hotline", request_id)
                .await
                .is_ok_and(|arrived| arrived == expected)
        })
        .await;
    };
    breaks_off(1, b"the beginning").await;
    // A sweep takes it for no leftover, beside one that is.
    let files = site.files();
    let leftover = files[0].with_file_name(uuid::Uuid::from_u128(9).to_string());
    std::fs::write(&leftover, b"torn").unwrap();
    age(&files[0]);
    age(&leftover);
    let _again = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    until(async || !leftover.exists()).await;
    assert_eq!(site.files(), files);
    // Known for what it must not be, it goes at once.
    breaks_off(2, b"a picture").await;
    let status = send(
        &served,
        "hotline",
        vec![first(EvidenceSpec {
            category: ABUSE.to_owned(),
            ..resumable(100, 2)
        })],
    )
    .await
    .unwrap_err();
    assert_eq!(fields(&status), ["spec.category"]);
    assert_eq!(arrived(&served, "hotline", 2).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(site.files(), files);
    site.clock.advance(86_399);
    assert_eq!(arrived(&served, "hotline", 1).await.unwrap(), 13);
    site.clock.advance(1);
    assert_eq!(arrived(&served, "hotline", 1).await.unwrap_err().code(), Code::NotFound);
    let _later = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    until(async || site.files().is_empty()).await;
    assert_eq!(count(&served.db, "SELECT count(*) FROM uploads").await, 0);
}

fn partial(file: u128, received: u64, begin_time: Time) -> Partial {
    Partial {
        file: uuid::Uuid::from_u128(file),
        fingerprint: [1; 32],
        received,
        begin_time,
    }
}

/// Beyond 64 nothing is kept of one; it is taken all the same, also behind the first note.
async fn an_upload_beyond_those_that_are_kept_comes_to_its_end(backend: Backend) {
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let store = &served.faults.inner;
    for i in 0..64 {
        let (id, partial) = (uuid::Uuid::from_u128(100 + i), partial(100 + i, 1, NOW));
        store.begin_partial("hotline", id, &partial).await.unwrap();
        let kept = store.keep_partial("hotline", id, &partial, NOW).await.unwrap();
        assert_eq!(kept, Kept::Noted(None));
    }
    let bytes: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_be_bytes).collect();
    for (request_id, comes_to_its_end) in [(1, false), (2, true)] {
        let open = Open::begin(&served, "hotline", resumable(bytes.len(), request_id)).await;
        open.send(&bytes[..17 << 20]).await;
        if comes_to_its_end {
            open.send(&bytes[17 << 20..]).await;
            drop(open.messages);
            let evidence = open.call.await.unwrap().unwrap();
            assert_eq!(evidence.sha256, Sha256::digest(&bytes).to_vec());
            let files = served.site.files();
            assert!(files.len() == 1 && std::fs::read(&files[0]).unwrap() == bytes);
        } else {
            open.breaks_off().await;
            until(async || served.site.files().is_empty()).await;
        }
        let missing = arrived(&served, "hotline", request_id).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
    }
    assert_eq!(count(&served.db, "SELECT count(*) FROM uploads").await, 64);
}

/// The notes come late: after another upload has begun, after that has come to its end, and after
/// it was known for what nobody may have.
async fn what_a_stale_upload_notes_late_counts_for_nothing(backend: Backend) {
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let store = &served.faults.inner;
    let id = uuid::Uuid::from_u128(1);
    let (stale, newer) = (partial(11, 30, NOW), partial(12, 20, NOW));
    let begin = async |partial: &Partial| store.begin_partial("hotline", id, partial).await.unwrap();
    let keep = async |partial: &Partial| store.keep_partial("hotline", id, partial, NOW).await.unwrap();
    let nothing = Begun::Begun {
        earlier: None,
        stale: None,
    };
    assert_eq!(begin(&stale).await, nothing);
    assert_eq!(begin(&newer).await, nothing);
    assert_eq!(keep(&stale).await, Kept::TakenOver);
    assert_eq!(keep(&newer).await, Kept::Noted(None));
    assert_eq!(keep(&stale).await, Kept::TakenOver);
    for is_useless in [true, false] {
        let given_up = store.give_up_partial("hotline", id, stale.file, is_useless).await;
        assert_eq!(given_up.unwrap(), None, "it is not its own");
    }
    assert_eq!(store.partial("hotline", id, NOW).await.unwrap(), Some(newer));
    // A third goes on with what the second noted.
    let third = partial(13, 25, NOW.plus_seconds(80_000));
    let earlier = Some(newer);
    assert_eq!(begin(&third).await, Begun::Begun { earlier, stale: None });
    assert_eq!(keep(&newer).await, Kept::TakenOver);
    // While it runs, a day since the first try does not end it.
    let day = NOW.plus_seconds(86_400);
    let none = store.forget_partials(NOW, NOW.plus_seconds(79_999)).await.unwrap();
    assert_eq!(none, Vec::<uuid::Uuid>::new());
    assert_eq!(keep(&third).await, Kept::Noted(Some(newer.file)));
    // Begun again when the day is over, it begins anew.
    let fourth = partial(14, 5, day);
    let stale_file = Some(third.file);
    assert_eq!(
        begin(&fourth).await,
        Begun::Begun {
            earlier: None,
            stale: stale_file
        }
    );
    assert_eq!(store.forget_partial("hotline", id).await.unwrap(), Some(fourth.file));
    assert_eq!(
        keep(&fourth).await,
        Kept::TakenOver,
        "it came to its end, or is forbidden"
    );
    assert_eq!(count(&served.db, "SELECT count(*) FROM uploads").await, 0);

    // So over the wire, where the last note is that of breaking off.
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    for is_forbidden in [false, true] {
        let request_id = 2 + u128::from(is_forbidden);
        let files = served.site.files().len();
        let open = Open::begin(&served, "hotline", resumable(bytes.len(), request_id)).await;
        open.send(&bytes[..500_000]).await;
        until(async || {
            let files = served.site.files();
            files
                .iter()
                .any(|file| file.metadata().is_ok_and(|it| it.len() == 500_000))
        })
        .await;
        if is_forbidden {
            let spec = EvidenceSpec {
                category: ABUSE.to_owned(),
                ..resumable(bytes.len(), request_id)
            };
            send(&served, "hotline", vec![first(spec)]).await.unwrap_err();
        } else {
            let whole = Open::begin(&served, "hotline", resumable(bytes.len(), request_id)).await;
            whole.send(&bytes).await;
            drop(whole.messages);
            whole.call.await.unwrap().unwrap();
        }
        open.breaks_off().await;
        let left = files + usize::from(!is_forbidden);
        until(async || served.site.files().len() == left).await;
        assert_eq!(count(&served.db, "SELECT count(*) FROM uploads").await, 0);
        let missing = arrived(&served, "hotline", request_id).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
    }
}

/// Bytes that are not those announced, and bytes that are gone; and what is there is not lost by a
/// shorter try.
async fn what_cannot_be_gone_on_with_is_forgotten(backend: Backend) {
    let served = serve(backend.url(), rpc::Limits::default()).await;
    let breaks_off = async |request_id, bytes: &'static [u8], arrives: i64| {
        let announced = EvidenceSpec {
            sha256: Sha256::digest(b"the whole file").to_vec().into(),
            ..resumable(14, request_id)
        };
        let open = Open::begin(&served, "hotline", announced).await;
        open.send(bytes).await;
        let length = bytes.len() as u64;
        until(async || {
            let files = served.site.files();
            files
                .iter()
                .any(|file| file.metadata().is_ok_and(|it| it.len() == length))
        })
        .await;
        open.breaks_off().await;
        until(async || {
            arrived(&served, "hotline", request_id)
                .await
                .is_ok_and(|it| it == arrives)
                && served.site.files().len() == 1
        })
        .await;
    };
    let go_on = async |request_id, from: i64, rest: &'static [u8]| {
        let announced = EvidenceSpec {
            sha256: Sha256::digest(b"the whole file").to_vec().into(),
            offset_bytes: from,
            ..resumable(14, request_id)
        };
        send(&served, "hotline", vec![first(announced), data(rest)]).await
    };
    breaks_off(1, b"another", 7).await;
    let status = go_on(1, 7, b"le file").await.unwrap_err();
    assert_eq!(fields(&status), ["spec.sha256"]);
    assert_eq!(arrived(&served, "hotline", 1).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(served.site.files(), Vec::<std::path::PathBuf>::new());
    breaks_off(1, b"the whole", 9).await;
    std::fs::remove_file(&served.site.files()[0]).unwrap();
    let status = go_on(1, 9, b" file").await.unwrap_err();
    assert_eq!(fields(&status), ["spec.offset_bytes"]);
    assert_eq!(arrived(&served, "hotline", 1).await.unwrap_err().code(), Code::NotFound);
    breaks_off(1, b"the whole", 9).await;
    breaks_off(1, b"the", 9).await;
    let evidence = go_on(1, 9, b" file").await.unwrap();
    assert_eq!(evidence.sha256, Sha256::digest(b"the whole file").to_vec());
    assert_eq!(served.site.files().len(), 1);
    assert_eq!(count(&served.db, "SELECT count(*) FROM uploads").await, 0);
}
