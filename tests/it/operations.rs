//! Operators' tasks: checking for late or lost data, comparing services and log, rotating keys,
//! using witnesses.

use std::{
    path::Path,
    process::{Child, Output, Stdio},
};

use api::{
    audit::{AppendChangesRequest, audit_inbound_service_client::AuditInboundServiceClient},
    intake::{CheckReceiptRequest, GetReportRequest, ReadPurpose, Reporter, RevealPurpose, RevealReporterRequest},
    operations::{GetStatusRequest, ListRecordHeadsRequest, operations_service_client::OperationsServiceClient},
    routing::{CheckAccessRequest, routing_inbound_service_client::RoutingInboundServiceClient},
};
use tempfile::TempDir;
use tonic::Code;

use tests::process::{Databases, Process, gambling, program, until};

/// Runs a command against an instance.
fn remit(process: &Process, arguments: &[&str]) -> Output {
    program()
        .args(arguments)
        .arg("--data-dir")
        .arg(process.layout.folder())
        .output()
        .unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Submits a report with a named reporter and waits until it is routed and logged. Returns its name
/// and receipt.
async fn submit(process: &Process) -> (String, String) {
    let mut request = gambling("");
    request.report.as_mut().unwrap().narrative = "CANARY-NARRATIVE".to_owned();
    request.report.as_mut().unwrap().reporter = Some(Reporter {
        relation: 1,
        display_name: "CANARY-NAME".to_owned(),
        contact: "CANARY-CONTACT".to_owned(),
    });
    let mut intake = process.intake("operator");
    let submitted = intake.submit_report(request).await.unwrap().into_inner();
    logged(process, &submitted.receipt, 2).await;
    (submitted.report.unwrap().name, submitted.receipt)
}

/// Waits until a report has that many changes, all logged. Returns their kinds.
async fn logged(process: &Process, receipt: &str, changes: usize) -> Vec<String> {
    let mut intake = process.intake("operator");
    until("all is logged", async || {
        let request = CheckReceiptRequest {
            receipt: receipt.to_owned(),
        };
        let followed = intake.check_receipt(request).await.unwrap().into_inner();
        let all = followed.changes.len() == changes && followed.changes.iter().all(|change| change.logged);
        all.then(|| followed.changes.into_iter().map(|change| change.kind).collect())
    })
    .await
}

async fn execute(data: &Path, service: &str, statement: &'static str) {
    let url = format!("sqlite://{}", data.join(service).with_extension("db").display());
    let db = match service {
        "intake" => sql::Db::open(&url, &[journal::SCHEMA, intake::store::SCHEMA]).await,
        "routing" => {
            sql::Db::open(
                &url,
                &[journal::SCHEMA, routing::store::SCHEMA, register::store::SCHEMA],
            )
            .await
        }
        _ => sql::Db::open(&url, audit::SCHEMAS).await,
    };
    let db = db.unwrap();
    let mut tx = db.begin().await.unwrap();
    assert!(tx.execute(statement, Vec::new()).await.unwrap() > 0, "{statement}");
    tx.commit().await.unwrap();
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_reports_late_data_and_unreachable_services() {
    let folder = TempDir::with_prefix("remit-status-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process).await;
    let fine = remit(&process, &["status"]);
    assert_eq!(code(&fine), Some(0), "{}", text(&fine));
    assert!(text(&fine).starts_with("nothing is late or lost"), "{}", text(&fine));
    let json: serde_json::Value = serde_json::from_slice(&remit(&process, &["status", "--json"]).stdout).unwrap();
    assert_eq!(json["level"], "ok");

    // Agencies may not ask for the status.
    let agency = remit(&process, &["status", "--as", "police-450100"]);
    assert_eq!(code(&agency), Some(3), "{}", text(&agency));

    // A record is parked: the consumer refused its next change.
    execute(
        process.layout.folder(),
        "intake",
        "INSERT INTO outbox_parked (consumer, record, since, attempts, retry_time, reason) \
         VALUES ('audit', 'reports/x', 1, 1, 9000000000000000, 'BROKEN_LINK')",
    )
    .await;
    let lost = remit(&process, &["status"]);
    assert_eq!(code(&lost), Some(2), "{}", text(&lost));
    assert!(text(&lost).contains("reports/x: BROKEN_LINK"), "{}", text(&lost));

    let endpoints = std::fs::read(process.layout.folder().join("endpoints.json")).unwrap();
    process.kill();
    std::fs::write(process.layout.folder().join("endpoints.json"), endpoints).unwrap();
    let unreachable = remit(&process, &["status"]);
    assert_eq!(code(&unreachable), Some(3), "{}", text(&unreachable));
    assert!(
        text(&unreachable).contains("no server answers"),
        "{}",
        text(&unreachable)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_reconcile_finds_state_without_entry_and_entry_without_state() {
    let folder = TempDir::with_prefix("remit-reconcile-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    for _ in 0..3 {
        submit(&process).await;
    }
    let agree = remit(&process, &["log", "reconcile"]);
    assert_eq!(code(&agree), Some(0), "{}", text(&agree));
    process.kill();

    // Each inconsistency is found and named on its own.
    let data = process.layout.folder().to_owned();
    for (service, statement, undo, found) in [
        (
            "intake",
            "UPDATE report_states SET sequence = sequence + 1 WHERE report = (SELECT min(report) FROM report_states)",
            "UPDATE report_states SET sequence = sequence - 1 WHERE report = (SELECT min(report) FROM report_states)",
            "0 of the 1 in between are undelivered",
        ),
        (
            "routing",
            "UPDATE case_states SET sequence = sequence - 1 WHERE case_id = (SELECT max(case_id) FROM case_states)",
            "UPDATE case_states SET sequence = sequence + 1 WHERE case_id = (SELECT max(case_id) FROM case_states)",
            // The first change is the only one: without a sequence there is no state.
            "its state is missing",
        ),
        (
            "intake",
            "UPDATE report_states SET sequence = sequence - 1 WHERE report = (SELECT max(report) FROM report_states)",
            "UPDATE report_states SET sequence = sequence + 1 WHERE report = (SELECT max(report) FROM report_states)",
            "its database may be an older copy",
        ),
        (
            "routing",
            "DELETE FROM case_states WHERE case_id = (SELECT min(case_id) FROM case_states)",
            "",
            "its state is missing",
        ),
        (
            "intake",
            "UPDATE report_states SET hash = zeroblob(32) WHERE report = (SELECT min(report) FROM report_states)",
            "",
            "differs from the service's",
        ),
    ] {
        execute(&data, service, statement).await;
        let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
        let differ = remit(&process, &["log", "reconcile"]);
        assert_eq!(code(&differ), Some(5), "{}", text(&differ));
        assert!(text(&differ).contains(found), "{}", text(&differ));
        process.kill();
        if !undo.is_empty() {
            execute(&data, service, undo).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_calls_are_for_operators_only() {
    let folder = TempDir::with_prefix("remit-operators-").unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    for address in [
        &process.endpoints.intake,
        &process.endpoints.routing,
        &process.endpoints.audit,
    ] {
        let mut client = OperationsServiceClient::new(process.channel(address, "police-450100"));
        let denied = client.get_status(GetStatusRequest {}).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        let denied = client
            .list_record_heads(ListRecordHeadsRequest::default())
            .await
            .unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_reporter_is_revealed_only_for_a_purpose_and_that_is_logged() {
    let folder = TempDir::with_prefix("remit-reveal-").unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let (name, receipt) = submit(&process).await;
    let request = |purpose: RevealPurpose, justification: &str| RevealReporterRequest {
        name: name.clone(),
        purpose: purpose.into(),
        justification: justification.to_owned(),
        request_id: String::new(),
    };
    let good = || request(RevealPurpose::ContactReporter, "to ask for the CANARY-JUSTIFICATION");

    // For supporting agencies, the sender's peers and strangers, the report does not exist.
    for agency in ["police-440000", "content-regulator-CN", "police-510100"] {
        let denied = process.intake(agency).reveal_reporter(good()).await.unwrap_err();
        assert_eq!(denied.code(), Code::NotFound, "{agency}");
    }
    for bad in [
        request(RevealPurpose::Unspecified, "to ask for the invoice"),
        request(RevealPurpose::ContactReporter, ""),
    ] {
        let invalid = process.intake("police-450100").reveal_reporter(bad).await.unwrap_err();
        assert_eq!(invalid.code(), Code::InvalidArgument);
    }
    assert_eq!(
        logged(&process, &receipt, 2).await.len(),
        2,
        "refused requests are no changes"
    );

    let shown = process
        .intake("police-450100")
        .reveal_reporter(good())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown.reporter.unwrap().contact, "CANARY-CONTACT");
    let kinds = logged(&process, &receipt, 3).await;
    assert_eq!(kinds[2], "report.revealed", "the reporter sees it");
    until("it is in the published log", async || {
        let entries = process.verified_log().await;
        entries
            .iter()
            .any(|entry| entry.kind == kinds[2] && entry.record == name)
            .then_some(())
    })
    .await;

    // By the command line, as the lead; an operator may not, whatever the report. A missing report
    // is answered like one that the caller may not see.
    let arguments = [
        "report",
        "reveal",
        &name,
        "--purpose",
        "legal-request",
        "--because",
        "court order 17 of May",
    ];
    let denied = remit(&process, &arguments);
    assert!(text(&denied).contains("role desk"), "{}", text(&denied));
    let shown = remit(&process, &[&arguments[..], &["--as", "police-450100"]].concat());
    assert!(text(&shown).contains("CANARY-NAME"), "{}", text(&shown));
    logged(&process, &receipt, 4).await;
    let missing = RevealReporterRequest {
        name: "reports/01900000-0000-7000-8000-000000000000".to_owned(),
        ..good()
    };
    for (who, code) in [("police-450100", Code::NotFound), ("operator", Code::PermissionDenied)] {
        let denied = process.intake(who).reveal_reporter(missing.clone()).await.unwrap_err();
        assert_eq!(denied.code(), code, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_report_is_read_only_for_a_purpose_and_that_is_logged() {
    let folder = TempDir::with_prefix("remit-read-").unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let (name, receipt) = submit(&process).await;
    let unknown = "reports/01900000-0000-7000-8000-000000000000";

    // For supporting agencies, the sender's peers and strangers, an existing report looks like a
    // missing one; auditors may not ask at all.
    for (who, code) in [
        ("police-440000", Code::NotFound),
        ("content-regulator-CN", Code::NotFound),
        ("police-510100", Code::NotFound),
        ("auditor", Code::PermissionDenied),
    ] {
        let mut answers = Vec::new();
        for name in [name.as_str(), unknown] {
            let request = GetReportRequest {
                name: name.to_owned(),
                purpose: ReadPurpose::HandleCase.into(),
            };
            let status = process.intake(who).get_report(request).await.unwrap_err();
            answers.push((status.code(), status.message().to_owned(), status.details().to_vec()));
        }
        assert_eq!(answers[0].0, code, "{who}");
        assert_eq!(answers[0], answers[1], "{who}");
    }
    let show = ["report", "show", &name, "--as", "police-450100"];
    let without = remit(&process, &show);
    assert_eq!(code(&without), Some(2), "{}", text(&without));
    assert!(text(&without).contains("--purpose"), "{}", text(&without));
    let read = remit(&process, &[&show[..], &["--purpose", "handle-case"]].concat());
    let shown = text(&read);
    assert!(
        shown.contains("CANARY-NARRATIVE") && !shown.contains("CANARY-CONTACT"),
        "{shown}"
    );
    let reading = shown.split_whitespace().find(|word| word.starts_with("readings/"));
    let reading = reading.unwrap_or_else(|| panic!("{shown}"));

    // One entry. It tells neither which report was read nor by whom.
    let entries = until("the reading is published", async || {
        let entries = process.verified_log().await;
        entries.iter().any(|entry| entry.record == reading).then_some(entries)
    })
    .await;
    let readings: Vec<_> = entries.iter().filter(|entry| entry.kind == "report.read").collect();
    assert_eq!(readings.len(), 1, "refused readings leave no entry");
    let bytes = &readings[0].entry;
    let id = name.strip_prefix("reports/").unwrap();
    for secret in [id, "450100", "handle-case"] {
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{secret}"
        );
    }
    assert_eq!(
        logged(&process, &receipt, 2).await.len(),
        2,
        "the report's own chain is as it was"
    );

    // Auditors see the reading. The reader's agency may see the report, but not who else reads it.
    let told = [
        "log",
        "show",
        reading,
        "--as",
        "auditor",
        "--purpose",
        "who has read the report",
    ];
    let told = text(&remit(&process, &told));
    for part in [name.as_str(), "handle-case", "police-450100"] {
        assert!(told.contains(part), "{told}");
    }
    let agency = [
        "log",
        "show",
        reading,
        "--as",
        "police-450100",
        "--purpose",
        "who has read the report",
    ];
    let agency = remit(&process, &agency);
    assert_ne!(code(&agency), Some(0), "{}", text(&agency));

    // Intake's state and the log agree on readings; a removed reading is noticed.
    let agree = remit(&process, &["log", "reconcile"]);
    assert_eq!(code(&agree), Some(0), "{}", text(&agree));
    let figures = ["log", "stats", "--as", "auditor", "--purpose", "figures", "--json"];
    let figures: serde_json::Value = serde_json::from_slice(&remit(&process, &figures).stdout).unwrap();
    let agency = &figures["agencies"]["agencies/police-450100"];
    assert_eq!(
        (
            &figures["kinds"]["report.read"],
            &agency["readings"],
            &agency["changes"]
        ),
        (&1.into(), &1.into(), &0.into())
    );
    execute(
        process.layout.folder(),
        "intake",
        "DELETE FROM journal WHERE kind = 'report.read'",
    )
    .await;
    let differs = remit(&process, &["log", "reconcile"]);
    assert_eq!(code(&differs), Some(5), "{}", text(&differs));
    assert!(
        text(&differs).contains(reading) && text(&differs).contains("no service knows it"),
        "{}",
        text(&differs)
    );
}

/// A witness in its own process.
struct Witness {
    child: Child,
    line: String,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Witness {
    fn start(folder: &Path, vkey: &str) -> Self {
        use std::io::BufRead as _;
        let mut child = program()
            .args([
                "witness",
                "serve",
                "--name",
                "witness.test/w1",
                "--listen",
                "127.0.0.1:0",
                "--log-key",
                vkey,
            ])
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        let address = next().rsplit_once(' ').unwrap().1.to_owned();
        let key = next().split_whitespace().nth(1).unwrap().to_owned();
        let line = format!("witness w1 {key} {address}\nquorum w1\n");
        Self { child, line }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witnessed_log_rotates_keys_and_verifies_throughout() {
    let folder = TempDir::with_prefix("remit-witness-").unwrap();
    let named = ("REMIT_LOG_ORIGIN", "remit.test/log");
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[named]);
    let mistaken = remit(&process, &["log", "key"]);
    assert_eq!(code(&mistaken), Some(2));
    assert!(
        text(&mistaken).contains("--set log.origin=remit.test/log"),
        "{}",
        text(&mistaken)
    );
    let key = |process: &Process, more: &[&str]| {
        let said = remit(
            process,
            &[&["log", "key"], more, &["--set", "log.origin=remit.test/log"]].concat(),
        );
        assert!(said.status.success(), "{}", text(&said));
        text(&said).trim().to_owned()
    };
    let first = key(&process, &[]);
    process.kill();

    let witness = Witness::start(&folder.path().join("witness"), &first);
    let policy = folder.path().join("policy");
    std::fs::write(&policy, &witness.line).unwrap();
    let environment = [named, ("REMIT_LOG_WITNESS_POLICY_FILE", policy.to_str().unwrap())];
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &environment);
    let (name, _) = submit(&process).await;
    let checkpoint = text(&remit(&process, &["log", "checkpoint"]));
    assert!(checkpoint.contains("\u{2014} witness.test/w1 "), "{checkpoint}");
    // A receipt checked by policies: of the witness alone, of this log, and of another log.
    let receipt = folder.path().join("r.tlog-proof");
    let given = until("it is published", async || {
        let given = remit(&process, &["log", "receipt", &name]);
        given.status.success().then_some(given.stdout)
    })
    .await;
    std::fs::write(&receipt, given).unwrap();
    let other = "log other.example/log+faeb00c2+AZhd4kZbqcPFHEEXl4fRoFYjC3d+vGzkvSjNcFIWhrTp\n";
    for (logs, expected, says) in [
        (String::new(), 0, "cosigned by"),
        (format!("log {first}\n"), 0, "cosigned by"),
        (other.to_owned(), 5, "not signed by any log of the policy"),
        (format!("{other}log {first}\n"), 0, "cosigned by"),
    ] {
        let file = folder.path().join("verifiers");
        std::fs::write(&file, format!("{logs}{}", witness.line)).unwrap();
        let verified = program()
            .args(["log", "verify-receipt"])
            .arg(&receipt)
            .arg("--policy")
            .arg(&file)
            .arg("--data-dir")
            .arg(match logs.is_empty() {
                true => process.layout.folder(),
                // A folder in which no other key is known.
                false => folder.path(),
            })
            .output()
            .unwrap();
        assert_eq!(code(&verified), Some(expected), "{}", text(&verified));
        assert!(text(&verified).contains(says), "{}", text(&verified));
    }
    process.kill();

    key(&process, &["rotate"]);
    let second = key(&process, &[]);
    assert_ne!(first, second);
    let process = Process::start(folder.path(), &Databases::Sqlite, &environment);
    for key in [&first, &second] {
        let verified = remit(&process, &["log", "verify", "--key", key]);
        assert!(verified.status.success(), "{}", text(&verified));
    }

    // The witness disappears: nothing new is published, the status reports it as lost, and reports
    // are still accepted.
    drop(witness);
    let mut intake = process.intake("operator");
    intake.submit_report(gambling("")).await.unwrap();
    let status = until("the status says it", async || {
        let status = remit(&process, &["status"]);
        (code(&status) == Some(2)).then(|| text(&status))
    })
    .await;
    assert!(status.contains("not enough witnesses cosigned"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_the_default_name_warns_once_and_refuses_witnesses() {
    let folder = TempDir::with_prefix("remit-unnamed-").unwrap();
    let stderr = || std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    let warned = "it gets the default name and keeps it";
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let key = text(&remit(&process, &["log", "key"])).trim().to_owned();
    process.kill();
    assert_eq!(stderr().matches(warned).count(), 1, "{}", stderr());
    Process::start(folder.path(), &Databases::Sqlite, &[("RUST_LOG", "trace")]).kill();
    assert_eq!(stderr().matches(warned).count(), 1, "a second warning comes too late");
    assert!(stderr().contains("RUST_LOG has no effect"), "{}", stderr());

    let policy = folder.path().join("policy");
    std::fs::write(&policy, "quorum none\n").unwrap();
    let refused = program()
        .args(["serve", "all"])
        .args(ANYWHERE)
        .arg("--data-dir")
        .arg(process.layout.folder())
        .env("REMIT_LOG_WITNESS_POLICY_FILE", &policy)
        .output()
        .unwrap();
    assert_eq!(code(&refused), Some(1));
    assert!(text(&refused).contains("`log.origin` is not set"), "{}", text(&refused));
    let witness = program()
        .args([
            "witness",
            "serve",
            "--name",
            "witness.test/w1",
            "--listen",
            "127.0.0.1:0",
            "--log-key",
            &key,
        ])
        .arg("--dir")
        .arg(folder.path().join("witness"))
        .output()
        .unwrap();
    assert_eq!(code(&witness), Some(2));
    assert!(
        text(&witness).contains("the default name of every log"),
        "{}",
        text(&witness)
    );
    // A log with its own name gets no warning.
    let named = TempDir::with_prefix("remit-named-").unwrap();
    Process::start(
        named.path(),
        &Databases::Sqlite,
        &[("REMIT_LOG_ORIGIN", "remit.test/log")],
    )
    .kill();
    let stderr = std::fs::read_to_string(named.path().join("stderr")).unwrap();
    assert!(!stderr.contains(warned), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_deleted_rows_are_detected_and_restored_from_an_export() {
    let folder = TempDir::with_prefix("remit-deleted-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let mut intake = process.intake("operator");
    for _ in 0..40 {
        intake.submit_report(gambling("")).await.unwrap();
    }
    let (_, receipt) = submit(&process).await;
    logged(&process, &receipt, 2).await;
    until("all is in the log", async || {
        (process.verified_log().await.len() >= 120).then_some(())
    })
    .await;
    let folder = folder.path().join("export");
    let export = folder.to_str().unwrap();
    let exported = remit(
        &process,
        &[
            "log",
            "export",
            export,
            "--with-detail",
            "--purpose",
            "a copy elsewhere",
            "--as",
            "auditor",
        ],
    );
    assert_eq!(code(&exported), Some(0), "{}", text(&exported));

    // Keep the last row while the log runs, so that nothing is appended over the gap.
    const DELETE: &str = "DELETE FROM entries WHERE idx >= (SELECT max(idx) FROM entries) - 99 \
                          AND idx < (SELECT max(idx) FROM entries)";
    execute(process.layout.folder(), "audit", DELETE).await;
    let status = until("the status says it", async || {
        let status = remit(&process, &["status"]);
        (code(&status) == Some(2)).then(|| text(&status))
    })
    .await;
    assert!(status.contains("rows were deleted"), "{status}");
    let verified = remit(&process, &["log", "verify"]);
    assert_eq!(code(&verified), Some(5), "{}", text(&verified));
    assert!(text(&verified).contains("is missing"), "{}", text(&verified));

    process.kill();
    let started = remit(&process, &[&["serve", "all"][..], &ANYWHERE].concat());
    assert_eq!(code(&started), Some(1));
    assert!(text(&started).contains("rows were deleted"), "{}", text(&started));
    let recovered = remit(&process, &["log", "recover"]);
    assert_eq!(code(&recovered), Some(1), "{}", text(&recovered));
    let recovered = remit(&process, &["log", "recover", "--from", export]);
    assert_eq!(code(&recovered), Some(0), "{}", text(&recovered));
    assert!(text(&recovered).contains("99 entries restored"), "{}", text(&recovered));
    let recovered = remit(&process, &["log", "recover"]);
    assert_eq!(code(&recovered), Some(0), "{}", text(&recovered));
}

/// Options for free ports.
const ANYWHERE: [&str; 6] = [
    "--intake-listen",
    "127.0.0.1:0",
    "--routing-listen",
    "127.0.0.1:0",
    "--audit-listen",
    "127.0.0.1:0",
];

#[tokio::test(flavor = "multi_thread")]
async fn services_go_on_calling_each_other_after_their_tokens_are_rotated() {
    let folder = TempDir::new().unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process).await;
    let services = [
        ("intake", &process.endpoints.routing),
        ("routing", &process.endpoints.audit),
    ];
    let before = services.map(|(service, to)| process.channel(to, service));
    for (service, _) in services {
        let rotated = remit(&process, &["token", "rotate", service]);
        assert_eq!(code(&rotated), Some(0), "{}", text(&rotated));
    }
    let [intake, routing] = before;
    let mut routing_as_intake = RoutingInboundServiceClient::new(intake);
    until("intake's earlier token ends", async || {
        let answer = routing_as_intake.check_access(CheckAccessRequest::default()).await;
        (answer.unwrap_err().code() == Code::Unauthenticated).then_some(())
    })
    .await;
    let mut audit_as_routing = AuditInboundServiceClient::new(routing);
    until("routing's earlier token ends", async || {
        let answer = audit_as_routing.append_changes(AppendChangesRequest::default()).await;
        answer
            .is_err_and(|status| status.code() == Code::Unauthenticated)
            .then_some(())
    })
    .await;
    submit(&process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_backup_made_under_load_has_what_was_accepted_before_it_and_starts() {
    let folder = TempDir::new().unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let evidence = folder.path().join("photo");
    std::fs::write(&evidence, "a photograph").unwrap();
    let uploaded = remit(
        &process,
        &["evidence", "upload", evidence.to_str().unwrap(), "--as", "operator"],
    );
    assert_eq!(code(&uploaded), Some(0), "{}", text(&uploaded));
    let before = submit(&process).await;
    let backup = folder.path().join("backup");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut intake = process.intake("operator");
    let load = tokio::spawn(async move {
        let mut accepted = 0;
        while !*stopped.borrow() {
            accepted += usize::from(intake.submit_report(gambling("")).await.is_ok());
        }
        accepted
    });
    let made = remit(&process, &["backup", "create", backup.to_str().unwrap()]);
    assert_eq!(code(&made), Some(0), "{}", text(&made));
    stop.send(true).unwrap();
    assert!(load.await.unwrap() > 0, "nothing was submitted meanwhile");
    let verified = |folder: &Path, more: &[&str]| {
        let mut command = program();
        command.args(["backup", "verify"]).arg(folder).args(more);
        command.output().unwrap()
    };
    let verify = |expected: i32, more: &[&str], why: &str| {
        let verified = verified(&backup, more);
        let told = text(&verified);
        assert!(code(&verified) == Some(expected) && told.contains(why), "{told}");
    };
    let verify_at = |folder: &Path, expected: i32, why: &str| {
        let verified = verified(folder, &[]);
        let told = text(&verified);
        assert!(code(&verified) == Some(expected) && told.contains(why), "{told}");
    };
    let made = remit(&process, &["backup", "create", backup.to_str().unwrap()]);
    assert!(
        code(&made) == Some(2) && text(&made).contains("is a new folder"),
        "{}",
        text(&made)
    );
    let listed = verified(&backup, &["--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let digest = listed["sha256"].as_str().unwrap().to_owned();
    verify(0, &["--sha256", &digest], "whole");
    for file in ["intake.db", "receipt.key", "backup.json"] {
        let mode = std::fs::metadata(backup.join(file)).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600, "{file}");
    }

    // The log goes on: what it signs from here on, the backup does not have.
    let after = submit(&process).await;
    let export = folder.path().join("export");
    let exported = [
        "log",
        "export",
        export.to_str().unwrap(),
        "--with-detail",
        "--purpose",
        "a copy elsewhere",
        "--as",
        "auditor",
    ];
    let exported = remit(&process, &exported);
    assert_eq!(code(&exported), Some(0), "{}", text(&exported));
    let checkpoint = process.layout.checkpoint();
    let mut process = process;
    process.kill();
    let restore = |into: &Path, more: &[&str]| {
        let mut command = program();
        command
            .args(["backup", "restore"])
            .arg(&backup)
            .arg("--data-dir")
            .arg(into)
            .args(more);
        let restored = command.output().unwrap();
        (code(&restored), text(&restored))
    };
    let recover = |data: &Path, more: &[&str]| {
        let mut command = program();
        command.args(["log", "recover", "--data-dir"]).arg(data).args(more);
        let recovered = command.output().unwrap();
        (code(&recovered), text(&recovered))
    };

    // As if nothing had been signed since: its own newest checkpoint is the newest.
    let moved = folder.path().join("moved");
    let data = moved.join("data");
    let (exit, told) = restore(&data, &[]);
    assert!(exit == Some(0) && told.contains("log.checkpoint"), "{told}");
    let own = newest_checkpoint(&data.join("audit.db")).await;
    std::fs::write(data.join("log.checkpoint"), &own).unwrap();
    let restored = Process::start(&moved, &Databases::Sqlite, &[]);
    assert_eq!(logged(&restored, &before.1, 2).await.len(), 2, "{}", before.0);
    let gone = CheckReceiptRequest { receipt: after.1 };
    let gone = restored.intake("operator").check_receipt(gone).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "accepted after the backup");
    let compared = remit(&restored, &["evidence", "verify"]);
    assert!(
        code(&compared) == Some(0) && text(&compared).contains('1'),
        "{}",
        text(&compared)
    );
    // What one service has delivered, the others have: nothing was cut between them.
    until("services and log agree", async || {
        let reconciled = remit(&restored, &["log", "reconcile"]);
        (code(&reconciled) == Some(0)).then_some(())
    })
    .await;
    restored.verified_log().await;
    drop(restored);

    // A log that was signed further is not forked: it starts once it has all that was signed.
    let other = folder.path().join("other");
    let (exit, told) = restore(&other, &["--checkpoint", checkpoint.to_str().unwrap()]);
    assert_eq!(exit, Some(0), "{told}");
    let (exit, told) = recover(&other, &[]);
    assert!(exit == Some(1) && told.contains("does not start"), "{told}");
    let (exit, told) = recover(&other, &["--from", export.to_str().unwrap()]);
    assert_eq!(exit, Some(0), "{told}");
    let (exit, told) = recover(&other, &[]);
    assert!(exit == Some(0) && told.contains("it starts"), "{told}");

    // Not into records, nor beside what SQLite would take for theirs, nor with an old checkpoint.
    let refused = |into: &Path, more: &[&str], why: &str| {
        let (exit, told) = restore(into, more);
        assert!(exit == Some(2) && told.contains(why), "{told}");
    };
    refused(&data, &[], "exists");
    let beside = folder.path().join("beside");
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("audit.db-wal"), "old pages").unwrap();
    refused(&beside, &[], "audit.db-wal exists");
    let (early, nowhere) = (folder.path().join("early"), folder.path().join("nowhere"));
    let mut lines: Vec<&str> = own.lines().collect();
    lines[1] = "1";
    std::fs::write(&early, lines.join("\n")).unwrap();
    refused(
        &nowhere,
        &["--checkpoint", early.to_str().unwrap()],
        "older than the backup",
    );

    // A restore that did not end is no data directory.
    let half = folder.path().join("half");
    std::fs::create_dir_all(half.join("restoring")).unwrap();
    let (exit, told) = recover(&half, &[]);
    assert!(exit != Some(0) && told.contains("restore again"), "{told}");

    // What is damaged is not restored, and leaves nothing; nor is what was damaged with its list.
    let key = backup.join("receipt.key");
    std::fs::write(&key, [7; 32]).unwrap();
    verify(5, &[], "receipt.key has other content");
    let nothing = folder.path().join("nothing");
    assert_eq!(restore(&nothing, &[]).0, Some(5));
    assert!(!nothing.exists());
    std::fs::remove_file(&key).unwrap();
    verify(5, &[], "receipt.key is missing");
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, rustix::fs::Mode::RUSR).unwrap();
    verify(5, &[], "not a regular file");
    let list = backup.join("backup.json");
    let written = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, written.replace("receipt.key", "log.checkpoint")).unwrap();
    verify(5, &[], "receipt.key");
    std::fs::write(&list, written.replace("\"log.vkey\"", "\"log.checkpoint\"")).unwrap();
    verify(5, &[], "log.checkpoint, which no backup has");
    std::fs::write(&list, format!("{written} ")).unwrap();
    verify(5, &["--sha256", &digest], "has the digest");
    verify_at(&folder.path().join("mistyped"), 2, "is not a folder");
}

/// The checkpoint that a log signed last, as its database has it.
async fn newest_checkpoint(database: &Path) -> String {
    let url = format!("sqlite://{}", database.display());
    let db = sql::Db::open_to_read(&url, audit::SCHEMAS).await.unwrap();
    let newest = audit::newest_checkpoint(&db).await.unwrap().unwrap();
    db.close().await;
    newest
}
