//! Evidence all the way: uploaded, attached, downloaded by those handling the case, expired,
//! reconciled; by the command line, too.

use std::path::Path;

use api::intake::{
    DownloadEvidenceRequest, DownloadPurpose, EvidenceSpec, GetEvidenceRequest, UploadEvidenceRequest,
    download_evidence_response, evidence_service_client::EvidenceServiceClient, upload_evidence_request::Part,
};
use rpc::client::Caller;
use tempfile::TempDir;
use tonic::{Code, Status};

use tests::process::{Databases, Process, gambling, program, until};

/// Uploads a file in one chunk. Returns the evidence's name.
pub async fn upload(process: &Process, who: &str, bytes: &'static [u8]) -> String {
    let spec = EvidenceSpec {
        size_bytes: i64::try_from(bytes.len()).unwrap(),
        ..EvidenceSpec::default()
    };
    let parts = [Part::Spec(spec), Part::Data(bytes.into())];
    let messages = parts.map(|part| UploadEvidenceRequest { part: Some(part) });
    let messages = tokio_stream::iter(messages);
    let response = client(process, who).upload_evidence(messages).await.unwrap();
    response.into_inner().evidence.unwrap().name
}

/// Downloads a whole file.
pub async fn download(process: &Process, who: &str, name: &str, justification: &str) -> Result<Vec<u8>, Status> {
    let request = DownloadEvidenceRequest {
        name: name.to_owned(),
        purpose: DownloadPurpose::HandleReport.into(),
        justification: justification.to_owned(),
    };
    let mut messages = client(process, who).download_evidence(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(message) = messages.message().await? {
        if let Some(download_evidence_response::Part::Data(data)) = message.part {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn client(process: &Process, who: &str) -> EvidenceServiceClient<Caller> {
    EvidenceServiceClient::new(process.channel(&process.endpoints.intake, who))
}

fn remit(process: &Process, arguments: &[&str]) -> (Option<i32>, String) {
    let output = program()
        .args(arguments)
        .arg("--data-dir")
        .arg(process.layout.folder())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The evidence files in a data directory.
fn files(process: &Process) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for folder in std::fs::read_dir(process.layout.evidence()).unwrap() {
        let folder = folder.unwrap().path();
        // Beside the folders lies the marker.
        if !folder.is_dir() {
            continue;
        }
        files.extend(std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_evidence_is_for_its_sender_and_the_lead_agency_on_sqlite() {
    given_out(&Databases::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_evidence_is_for_its_sender_and_the_lead_agency_on_postgres() {
    let Some(databases) = Databases::postgres() else { return };
    given_out(&databases).await;
}

async fn given_out(databases: &Databases) {
    let folder = TempDir::with_prefix("remit-evidence-").unwrap();
    let process = Process::start(folder.path(), databases, &[]);
    let name = upload(&process, "content-regulator-CN", b"the contract").await;
    let show = async |who: &str| {
        let request = GetEvidenceRequest { name: name.clone() };
        client(&process, who)
            .get_evidence(request)
            .await
            .map(|response| response.into_inner().evidence.unwrap())
    };
    let refused = async |who: &str| {
        // Auditors may not ask at all; for everybody else it looks like a missing file.
        let code = match who {
            "auditor" => Code::PermissionDenied,
            _ => Code::NotFound,
        };
        assert_eq!(show(who).await.unwrap_err().code(), code, "{who}");
        let denied = download(&process, who, &name, "to read the contract")
            .await
            .unwrap_err();
        assert_eq!(denied.code(), code, "{who}");
    };
    // Before it belongs to a case, only the sender sees it.
    refused("police-450100").await;
    assert_eq!(
        download(&process, "content-regulator-CN", &name, "to hold it against ours")
            .await
            .unwrap(),
        b"the contract"
    );

    let mut request = gambling("");
    request.report.as_mut().unwrap().evidence = vec![name.clone()];
    let mut intake = process.intake("content-regulator-CN");
    let report = intake
        .submit_report(request)
        .await
        .unwrap()
        .into_inner()
        .report
        .unwrap()
        .name;
    until("the desk leads the case", async || show("police-450100").await.ok()).await;
    assert_eq!(show("police-450100").await.unwrap().report, report);
    assert_eq!(
        download(&process, "police-450100", &name, "to read the contract")
            .await
            .unwrap(),
        b"the contract"
    );
    // For supporting agencies, strangers and operators, the evidence does not exist; auditors may
    // not ask.
    for who in ["police-440000", "police-510100", "operator", "auditor"] {
        refused(who).await;
    }
    let kinds = ["uploaded", "downloaded", "attached", "downloaded"].map(|kind| format!("evidence.{kind}"));
    let entries = until("all is in the published log", async || {
        let entries = process.verified_log().await;
        let of_it: Vec<_> = entries.iter().filter(|entry| entry.record == name).cloned().collect();
        (of_it.len() == kinds.len()).then_some((entries, of_it))
    });
    let (entries, of_it) = entries.await;
    assert_eq!(
        of_it.iter().map(|entry| &entry.kind).collect::<Vec<_>>(),
        kinds.iter().collect::<Vec<_>>()
    );
    let accepted = entries
        .iter()
        .find(|entry| entry.record == report && entry.sequence == 1)
        .unwrap();
    assert_eq!(of_it[2].caused_by, Some(accepted.event_id));

    // An agency that the report complains about is kept from its evidence, even if the case would
    // otherwise be its own.
    let name = upload(&process, "content-regulator-CN", b"about the desk").await;
    let mut request = gambling("");
    let complaint = request.report.as_mut().unwrap();
    complaint.evidence = vec![name.clone()];
    complaint.complained_of = "agencies/police-450100".to_owned();
    intake.submit_report(request).await.unwrap();
    let lead = until("its superior leads the case", async || {
        for who in ["police-450000", "police-CN"] {
            if download(&process, who, &name, "to read what it says").await.is_ok() {
                return Some(who);
            }
        }
        None
    });
    assert_ne!(lead.await, "police-450100");
    let denied = download(&process, "police-450100", &name, "to read what it says")
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_uploaded_and_downloaded_by_the_command_line() {
    let folder = TempDir::with_prefix("remit-evidence-cli-").unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let content: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(path("file"), &content).unwrap();
    let sender = ["--as", "police-440000"];
    let (code, text) = remit(
        &process,
        &[&["evidence", "upload", &path("file"), "--json"][..], &sender].concat(),
    );
    assert_eq!(code, Some(0), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let name = json["evidence"]["name"].as_str().unwrap().to_owned();

    for (arguments, expected, says) in [
        (&["evidence", "upload", &path("nothing")][..], 2, "cannot be uploaded"),
        (
            &["evidence", "upload", folder.path().to_str().unwrap()],
            2,
            "it is not a file",
        ),
        (
            &["evidence", "upload", &path("file"), "--media-type", "image"],
            2,
            "spec.media_type",
        ),
        (&["evidence", "show", "evidence/1"], 2, "evidence/{uuid}"),
        (
            &["evidence", "show", &name, "--as", "police-510100"],
            3,
            "no such evidence",
        ),
    ] {
        let (code, text) = remit(&process, arguments);
        assert!(
            code == Some(expected) && text.contains(says),
            "{arguments:?}: {code:?} {text}"
        );
    }

    let mut request = gambling("");
    request.report.as_mut().unwrap().evidence = vec![name.clone()];
    std::fs::write(path("report.json"), rpc::json::value(&request).unwrap().to_string()).unwrap();
    let (code, text) = remit(
        &process,
        &[&["report", "submit", &path("report.json")][..], &sender].concat(),
    );
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = remit(&process, &[&["evidence", "show", &name][..], &sender].concat());
    assert!(code == Some(0) && text.contains("attached: part of a report"), "{text}");

    let out = path("out");
    let wanted = [
        "evidence",
        "download",
        &name,
        "--purpose",
        "handle-report",
        "--justification",
        "to read what it says",
    ];
    let wanted = [&wanted[..], &["--out", &out]].concat();
    let desk = [&wanted[..], &["--as", "police-450100"]].concat();
    until("the desk leads the case", async || {
        (remit(&process, &desk).0 == Some(0)).then_some(())
    })
    .await;
    assert_eq!(std::fs::read(&out).unwrap(), content);
    let (code, text) = remit(&process, &desk);
    assert!(code == Some(2) && text.contains("already exists"), "{text}");

    // One bit of the stored file has flipped: nothing is written, and the error says so.
    let stored = files(&process);
    assert_eq!(stored.len(), 1);
    let mut damaged = content.clone();
    damaged[700_000] ^= 4;
    std::fs::write(&stored[0], damaged).unwrap();
    std::fs::remove_file(&out).unwrap();
    let (code, text) = remit(&process, &desk);
    assert!(code == Some(1) && text.contains("DATA_LOSS"), "{text}");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|file| ["data", "file", "report.json", "stderr"]
            .iter()
            .any(|known| file == known)),
        "{left:?}"
    );
    let errors = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert!(
        errors.contains("a stored file differs from the uploaded one"),
        "{errors}"
    );

    let life = until("the log has all of it", async || {
        let (code, text) = remit(&process, &["log", "show", &name]);
        (code == Some(0) && text.contains("each of the 4 changes is proven")).then_some(text)
    })
    .await;
    for words in ["evidence uploaded", "attached to a report", "given out, for a purpose"] {
        assert!(life.contains(words), "{life}");
    }
    let (code, text) = remit(&process, &["status"]);
    assert!(code == Some(0) && text.contains("0 unattached files"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_evidence_without_entry_and_entry_without_evidence_are_found() {
    let folder = TempDir::with_prefix("remit-evidence-reconcile-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    for bytes in [b"one", b"two"] {
        upload(&process, "police-440000", bytes).await;
    }
    let (code, text) = remit(&process, &["log", "reconcile"]);
    assert_eq!(code, Some(0), "{text}");
    process.kill();
    let data = process.layout.folder().to_owned();
    for (statement, undo, found) in [
        (
            "UPDATE evidence SET sequence = 2",
            "UPDATE evidence SET sequence = 1",
            "0 of the 1 in between are undelivered",
        ),
        (
            "UPDATE evidence SET id = '01900000-0000-7000-8000-000000000000' WHERE id = (SELECT min(id) FROM evidence)",
            "",
            "its state is missing",
        ),
        (
            "UPDATE evidence SET hash = zeroblob(32)",
            "",
            "differs from the service's",
        ),
    ] {
        execute(&data, statement).await;
        let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
        let (code, text) = remit(&process, &["log", "reconcile"]);
        assert!(code == Some(5) && text.contains(found), "{text}");
        process.kill();
        if !undo.is_empty() {
            execute(&data, undo).await;
        }
    }
}

async fn execute(data: &Path, statement: &'static str) {
    let url = format!("sqlite://{}", data.join("intake.db").display());
    let db = intake::Intake::open(&url).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    assert!(tx.execute(statement, Vec::new()).await.unwrap() > 0, "{statement}");
    tx.commit().await.unwrap();
    db.close().await;
}

#[test]
fn an_unwritable_folder_is_refused_at_start() {
    let folder = TempDir::with_prefix("remit-evidence-folder-").unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = program();
    command
        .args(["serve", "all", "--data-dir"])
        .arg(folder.path().join("data"));
    for service in ["INTAKE", "ROUTING", "AUDIT"] {
        command.env(format!("REMIT_{service}_LISTEN"), "127.0.0.1:0");
    }
    let output = command.env("REMIT_EVIDENCE_FOLDER", &file).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        text.contains("`evidence.folder`") && text.contains("choose another") && text.contains(file.to_str().unwrap()),
        "{text}"
    );
}
