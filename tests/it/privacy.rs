//! Data must not appear where it does not belong.

use std::{path::Path, time::Duration};

use api::intake::{
    CheckReceiptRequest, GetReportRequest, Loss, ReadPurpose, Reporter, RevealPurpose, RevealReporterRequest, Subject,
    SubjectKind,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use testkit::otlp::Receiver;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use tests::process::{Databases, Process, gambling, program, until};

use crate::evidence::{download, upload};

/// Values written by or about a reporter: only intake may know them.
const CANARIES: [&str; 14] = [
    "CANARY-NARRATIVE",
    "CANARY-NAME",
    "CANARY-CONTACT",
    "bet.example",
    "CANARY-ACCOUNT",
    "CANARY-PLATFORM",
    "7654321",
    "CANARY-JUSTIFICATION",
    "CANARY-DOWNLOAD",
    "13912345678",
    "canary1qwallet",
    "CANARY-ORGANISATION",
    "CANARY-SAMPLE",
    "canary-download.example",
];
/// The loss is a fact that routing decides by: routing may know it, others may not.
const LOSS: i64 = 918_273_645;
/// Content of an evidence file, which not even intake's database may contain.
const FILE: &[u8] = b"CANARY-EVIDENCE";

fn within(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Whether a file contains something. Fails if the file does not exist.
fn contains(file: &Path, what: impl AsRef<[u8]>) -> bool {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    within(&bytes, what.as_ref())
}

/// Whether any file in a folder contains something.
fn holds(folder: &Path, what: impl AsRef<[u8]> + Copy) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => holds(&path, what),
            false => contains(&path, what),
        }
    })
}

/// The file's hash in every form in which it could be written.
fn hashes() -> Vec<Vec<u8>> {
    let hash = Sha256::digest(FILE).to_vec();
    let (lower, base64) = (
        data_encoding::HEXLOWER.encode(&hash),
        data_encoding::BASE64.encode(&hash),
    );
    // As a list of numbers, the debug format of bytes.
    let numbers = format!("{hash:?}");
    let numbers = numbers.trim_matches(['[', ']']).to_owned();
    vec![
        hash,
        lower.to_uppercase().into(),
        lower.into(),
        base64.into(),
        numbers.into(),
    ]
}

/// All that the log serves without a token: the checkpoint, the entries and their tile.
async fn tile_files(address: &str) -> Vec<u8> {
    let host = address.strip_prefix("http://").unwrap();
    let mut all = Vec::new();
    let mut size = 0;
    loop {
        let path = match size {
            0 => "checkpoint".to_owned(),
            size => format!("tile/entries/000.p/{size}"),
        };
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
        all.extend_from_slice(&answer);
        if size > 0 {
            return all;
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let note = text.split_once("\r\n\r\n").unwrap().1;
        size = note.lines().nth(1).unwrap().parse::<u32>().unwrap();
        assert!(size >= 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_reporters_words_reach_neither_routing_nor_the_log_nor_the_log_lines() {
    let folder = TempDir::with_prefix("remit-privacy-").unwrap();
    let collector = Receiver::start().await.unwrap();
    let endpoint = collector.endpoint().to_owned();
    let mut process = Process::start(
        folder.path(),
        &Databases::Sqlite,
        &[
            ("REMIT_TELEMETRY_FILTER", "trace"),
            ("REMIT_TELEMETRY_ENDPOINT", &endpoint),
        ],
    );
    let mut request = gambling("");
    let report = request.report.as_mut().unwrap();
    report.reporter = Some(Reporter {
        relation: 1,
        display_name: "CANARY-NAME".to_owned(),
        contact: "CANARY-CONTACT".to_owned(),
    });
    report.subjects.push(Subject {
        kind: SubjectKind::Account.into(),
        value: "CANARY-ACCOUNT".to_owned(),
        platform: "CANARY-PLATFORM".to_owned(),
        ..Default::default()
    });
    report.subjects.push(Subject {
        kind: SubjectKind::BankAccount.into(),
        value: "6217000000007654321".to_owned(),
        platform: String::new(),
        ..Default::default()
    });
    let evidence = upload(&process, "operator", FILE).await;
    report.evidence = vec![evidence.clone()];
    let mut intake = process.intake("operator");
    // A second report with the fields that the first one lacks: other kinds of subjects, text and
    // address details, a loss.
    let mut other = gambling("");
    let report = other.report.as_mut().unwrap();
    report.category = "categories/malware".to_owned();
    report.subjects = [
        (SubjectKind::Phone, "+8613912345678"),
        (
            SubjectKind::Wallet,
            "canary1qwalletxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
        ),
        (SubjectKind::Organisation, "CANARY-ORGANISATION"),
    ]
    .map(|(kind, value)| Subject {
        kind: kind.into(),
        value: value.to_owned(),
        platform: String::new(),
        ..Default::default()
    })
    .into();
    let details = [
        ("file.sha256", "CANARY-SAMPLE"),
        ("download_url", "https://canary-download.example/a"),
    ];
    report.details = details.map(|(path, value)| (path.to_owned(), value.to_owned())).into();
    report.loss = Some(Loss {
        currency_code: "CNY".to_owned(),
        minor_units: LOSS,
        occur_time: None,
    });
    let other = intake.submit_report(other).await.unwrap().into_inner();
    let submitted = intake.submit_report(request).await.unwrap().into_inner();
    let downloaded = download(&process, "operator", &evidence, "to look for the CANARY-DOWNLOAD").await;
    assert_eq!(downloaded.unwrap(), FILE);
    let receipts = [submitted.receipt, other.receipt];
    // Intake keeps the words of its justification; nobody keeps those of refused requests.
    let mut reveal = RevealReporterRequest {
        name: submitted.report.unwrap().name,
        purpose: RevealPurpose::VerifyReport.into(),
        justification: "CANARY-JUSTIFICATION".to_owned(),
        request_id: String::new(),
    };
    let mut desk = process.intake("police-450100");
    until("the case is the desk's", async || {
        desk.reveal_reporter(reveal.clone()).await.ok()
    })
    .await;
    reveal.justification = "CANARY-REFUSED".to_owned();
    reveal.purpose = 0;
    desk.reveal_reporter(reveal.clone()).await.unwrap_err();
    // The reading is logged, its content is not.
    let read = GetReportRequest {
        name: reveal.name,
        purpose: ReadPurpose::CheckSubmission.into(),
    };
    let read = intake.get_report(read).await.unwrap().into_inner();
    assert!(read.report.unwrap().narrative.contains("CANARY-NARRATIVE"));
    until("the reading is published", async || {
        let log = process.verified_log().await;
        log.iter().any(|entry| entry.record == read.reading).then_some(())
    })
    .await;
    until("all is logged", async || {
        for (receipt, changes) in receipts.iter().zip([3, 2]) {
            let request = CheckReceiptRequest {
                receipt: receipt.clone(),
            };
            let followed = intake.check_receipt(request).await.unwrap().into_inner();
            if followed.changes.len() != changes || !followed.changes.iter().all(|change| change.logged) {
                return None;
            }
        }
        Some(())
    })
    .await;
    until("the evidence's changes are logged", async || {
        let entries = process.verified_log().await;
        (entries.iter().filter(|entry| entry.record == evidence).count() == 3).then_some(())
    })
    .await;
    let spans = collector
        .wait_for(
            |spans| {
                let appended = spans.iter().filter(|span| span.name() == "append").count();
                (appended >= 3).then(|| format!("{spans:?}"))
            },
            Duration::from_secs(30),
        )
        .await
        .unwrap();
    let entries = tile_files(&process.endpoints.audit).await;
    let loss = LOSS.to_string();
    let codes = receipts.iter().flat_map(|code| [code.clone(), code.replace('-', "")]);
    let nobody_s: Vec<String> = codes.chain(["CANARY-REFUSED".to_owned()]).collect();
    let secret = || {
        CANARIES
            .into_iter()
            .chain([&*loss])
            .chain(nobody_s.iter().map(String::as_str))
    };
    for canary in secret() {
        assert!(!spans.contains(canary), "{canary} is in a trace");
        assert!(!within(&entries, canary.as_bytes()), "{canary} is served to everybody");
    }
    for secret in hashes().iter().map(Vec::as_slice).chain([FILE]) {
        let said = String::from_utf8_lossy(secret);
        assert!(!within(spans.as_bytes(), secret), "{said} is in a trace");
        assert!(!within(&entries, secret), "{said} is served to everybody");
    }
    // Exports, with and without details, do not contain them either.
    let (plain, detailed) = (folder.path().join("plain"), folder.path().join("detailed"));
    let with_detail = ["--with-detail", "--purpose", "inspection 7", "--as", "auditor"];
    for (exported, options) in [(&plain, &[][..]), (&detailed, &with_detail)] {
        let said = program()
            .args(["log", "export"])
            .arg(exported)
            .args(options)
            .arg("--data-dir")
            .arg(process.layout.folder())
            .output()
            .unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        for canary in secret() {
            assert!(!holds(exported, canary), "{canary} is in {}", exported.display());
        }
        for secret in hashes().iter().map(Vec::as_slice).chain([FILE]) {
            assert!(
                !holds(exported, secret),
                "{} is in {}",
                String::from_utf8_lossy(secret),
                exported.display()
            );
        }
    }
    // Data that only the details contain is missing from exports without them: the actor, the
    // purpose, the owner.
    for detail in [
        "verify-report",
        "check-submission",
        "agencies/police-450100",
        "inspection 7",
    ] {
        assert!(holds(&detailed, detail), "{detail} is where it belongs");
        assert!(!holds(&plain, detail), "{detail} is in {}", plain.display());
        assert!(!holds(&detailed.join("tile"), detail), "{detail} is beside the details");
    }
    process.kill();

    // A killed database keeps its newest rows in its WAL file. Each file must exist, and so must
    // the trace lines.
    let data = process.layout.folder();
    let files = |service: &str| ["", "-wal"].map(|suffix| data.join(format!("{service}.db{suffix}")));
    let lines = [folder.path().join("stderr")];
    assert!(contains(&lines[0], "TRACE"), "logging is not at its most verbose");
    let (routing, audit) = (files("routing"), files("audit"));
    for canary in CANARIES.into_iter().chain([&*loss]) {
        assert!(
            canary == loss || files("intake").iter().any(|file| contains(file, canary)),
            "{canary} is stored where it belongs"
        );
        // Routing may know the loss.
        let places = routing.iter().filter(|_| canary != loss).chain(&audit).chain(&lines);
        for file in places {
            assert!(!contains(file, canary), "{canary} is in {}", file.display());
        }
    }
    // The file is where it belongs and nowhere else; its hash is also in intake's database, and in
    // no other.
    assert!(holds(&data.join("evidence"), FILE));
    assert!(files("intake").iter().any(|file| contains(file, &hashes()[0])));
    for secret in hashes().iter().map(Vec::as_slice).chain([FILE]) {
        let said = String::from_utf8_lossy(secret);
        for file in routing.iter().chain(&audit).chain(&lines) {
            assert!(!contains(file, secret), "{said} is in {}", file.display());
        }
    }
    assert!(files("intake").iter().all(|file| !contains(file, FILE)));
    for file in files("intake").iter().chain(&routing).chain(&audit).chain(&lines) {
        for canary in &nobody_s {
            assert!(!contains(file, canary), "{canary} is in {}", file.display());
        }
    }
}
