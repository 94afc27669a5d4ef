//! The `remit log` commands against real processes, as operators and auditors use them.

use std::{collections::HashMap, path::Path, process::Output};

use api::intake::{CheckReceiptRequest, Reporter, RevealPurpose, RevealReporterRequest};
use tempfile::TempDir;
use testkit::tls::{Front, Issuer};

use tests::process::{Databases, Process, gambling, program, until};

/// A command's output and exit code.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    /// Asserts the exit code and that the output contains all of `parts`. Returns the output.
    #[track_caller]
    fn is(self, code: i32, parts: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for part in parts {
            assert!(self.text.contains(part), "`{part}` is not in:\n{}", self.text);
        }
        self.text
    }
}

fn log(data: &Path, arguments: &[&str]) -> Said {
    let Output { status, stdout, stderr } = program()
        .arg("log")
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    Said {
        code: status.code(),
        text,
    }
}

fn json(said: &str) -> serde_json::Value {
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Submits reports and waits until all are routed and in a published log. Returns the name and
/// receipt of the last.
async fn submit(process: &Process, reports: usize) -> (String, String) {
    let mut intake = process.intake("operator");
    let mut submissions = Vec::new();
    for _ in 0..reports {
        let mut request = gambling("");
        request.report.as_mut().unwrap().reporter = Some(Reporter {
            relation: 1,
            display_name: "a neighbour".to_owned(),
            contact: "by telephone".to_owned(),
        });
        let submitted = intake.submit_report(request).await.unwrap().into_inner();
        submissions.push((submitted.report.unwrap().name, submitted.receipt));
    }
    for (_, receipt) in &submissions {
        logged(process, receipt, 2).await;
    }
    published(process, &submissions, 2).await;
    submissions.pop().unwrap()
}

/// Waits until a published checkpoint covers that many changes of each report.
async fn published(process: &Process, submissions: &[(String, String)], changes: usize) {
    until("all is published", async || {
        let mut found: HashMap<String, usize> = HashMap::new();
        for entry in process.verified_log().await {
            *found.entry(entry.record.clone()).or_default() += 1;
        }
        let is_there = |(name, _): &(String, String)| found.get(name).is_some_and(|found| *found >= changes);
        submissions.iter().all(is_there).then_some(())
    })
    .await;
}

/// Waits until a report has that many changes, all in the log.
async fn logged(process: &Process, receipt: &str, changes: usize) {
    let mut intake = process.intake("operator");
    until("all is logged", async || {
        let request = CheckReceiptRequest {
            receipt: receipt.to_owned(),
        };
        let followed = intake.check_receipt(request).await.unwrap().into_inner();
        (followed.changes.len() == changes && followed.changes.iter().all(|change| change.logged)).then_some(())
    })
    .await;
}

async fn reveal(process: &Process, name: &str) {
    let request = RevealReporterRequest {
        name: name.to_owned(),
        purpose: RevealPurpose::VerifyReport.into(),
        justification: "the address is incomplete".to_owned(),
        request_id: String::new(),
    };
    process.intake("police-450100").reveal_reporter(request).await.unwrap();
}

/// Copies the files of a service's database to another folder.
fn copy_database(from: &Path, service: &str, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{service}.db{suffix}");
        let _ = std::fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
    let _ = std::fs::remove_file(to.join(format!("{service}.db-shm")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_an_export_grows_and_is_verified_counted_and_proven_offline() {
    let folder = TempDir::with_prefix("remit-log-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let data = process.layout.folder().to_owned();
    let (name, _) = submit(&process, 90).await;
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (plain, detailed, receipt) = (place("plain"), place("detailed"), place("r.tlog-proof"));

    // A full bundle and a partial one. Files that exist are not fetched again.
    let exported = json(&log(&data, &["export", &plain, "--json"]).is(0, &[]));
    let entries = exported["entries"].as_u64().unwrap();
    assert!(entries > 256 && exported["new"] == exported["entries"], "{exported}");
    assert_eq!(
        exported["reading"],
        serde_json::Value::Null,
        "nothing but what is public was read"
    );
    // A mark may still have come.
    let entries = until("nothing more is new", async || {
        let again = json(&log(&data, &["export", &plain, "--json"]).is(0, &[]));
        (again["new"] == 0).then(|| again["entries"].as_u64().unwrap())
    })
    .await;
    log(&data, &["export", &plain]).is(0, &["0 of them new"]);
    submit(&process, 1).await;
    let exported = json(&log(&data, &["export", &plain, "--json"]).is(0, &[]));
    assert_eq!(exported["new"], exported["entries"].as_u64().unwrap() - entries);
    log(&data, &["verify", &plain]).is(
        0,
        &[
            "the log is complete and valid",
            "intake: ",
            "only an export with details",
        ],
    );

    // An interrupted export has no checkpoint yet. It resumes, and fetches anything anew that is
    // not the log's.
    let bundle = folder.path().join("plain/tile/entries/000");
    let whole = std::fs::read(&bundle).unwrap();
    for damage in [false, true] {
        std::fs::remove_file(folder.path().join("plain/checkpoint")).unwrap();
        if damage {
            let mut bytes = whole.clone();
            bytes[100] ^= 1;
            std::fs::write(&bundle, bytes).unwrap();
        }
        log(&data, &["export", &plain]).is(0, &["exported to"]);
        assert_eq!(std::fs::read(&bundle).unwrap(), whole);
    }
    log(&data, &["verify", &plain]).is(0, &["the log is complete and valid"]);

    // With details: for auditors, for a purpose, logged. A repeated export that finds nothing new
    // reads nothing.
    let wants = |who| {
        [
            "export",
            &detailed,
            "--with-detail",
            "--purpose",
            "inspection 7",
            "--as",
            who,
        ]
    };
    log(&data, &wants("operator")).is(
        1,
        &["only callers with the role auditor, desk, reviewer, supervisor or inspector may call WatchChanges with `with_detail`"],
    );
    log(&data, &wants("auditor")[..3]).is(2, &["--purpose"]);
    let text = log(&data, &wants("auditor")).is(0, &["logged as", "with its purpose"]);
    let reading = text
        .split_whitespace()
        .find(|word| word.starts_with("readings/"))
        .unwrap();
    let reading = reading.trim_end_matches(',');
    log(&data, &["show", reading]).is(0, &["details of the log read"]);
    let own = ["show", reading, "--as", "auditor", "--purpose", "who has read"];
    log(&data, &own).is(0, &["inspection 7", "from 0 on, as they arrived", "auditor"]);
    log(&data, &["verify", &detailed]).is(
        0,
        &[
            "each matching its entry's commitment",
            "each entry the next of its record",
        ],
    );
    log(&data, &["reconcile"]).is(0, &["the services and the log agree"]);

    // Figures from the folder equal the server's, except for later readings.
    let figures = |said: Said| {
        let mut figures = json(&said.is(0, &[]));
        figures["kinds"].as_object_mut().unwrap().remove("details.read");
        (figures["kinds"].clone(), figures["agencies"].clone())
    };
    let of_folder = figures(log(&data, &["stats", &detailed, "--json"]));
    let of_server = ["stats", "--as", "auditor", "--purpose", "figures", "--json"];
    assert_eq!(of_folder, figures(log(&data, &of_server)));
    assert_eq!(of_folder.0["report.accepted"], 91);

    // A record's history, and a proof of its last change.
    log(&data, &["show", &name]).is(0, &["report accepted", "report routed", "is proven by the checkpoint"]);
    std::fs::write(&receipt, log(&data, &["receipt", &name]).is(0, &["tlog-proof@v1"])).unwrap();
    log(&data, &["gaps"]).is(0, &["nothing is missing"]);
    log(&data, &["unfreeze", "audit", "--reason", "why"]).is(2, &["producers/intake"]);
    process.kill();

    // Without the server, with only the key.
    let key = std::fs::read_to_string(data.join("log.vkey")).unwrap();
    let nowhere = folder.path().join("nowhere");
    let with_key = |arguments: &[&str]| log(&nowhere, &[arguments, &["--key", key.trim()]].concat());
    with_key(&["verify-receipt", &receipt]).is(0, &["the change is in the log", &name]);
    with_key(&["verify", &detailed]).is(0, &["the log is complete and valid"]);
    let detail = folder.path().join("detailed/detail/000");
    let mut bytes = std::fs::read(&detail).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&detail, bytes).unwrap();
    with_key(&["verify", &detailed]).is(5, &["entry "]);
    with_key(&["stats", &detailed]).is(5, &["entry "]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_read_a_log_over_tls_when_its_issuer_is_trusted() {
    let folder = TempDir::with_prefix("remit-tls-").unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let data = process.layout.folder().to_owned();
    submit(&process, 1).await;
    let audit = process
        .endpoints
        .audit
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let (issuer, stranger) = (Issuer::new().unwrap(), Issuer::new().unwrap());
    let front = Front::start(audit, &issuer, &["localhost"], 2020..2090).await.unwrap();
    let url = format!("https://localhost:{}", front.address.port());
    let (by_issuer, by_stranger) = (
        issuer.file().display().to_string(),
        stranger.file().display().to_string(),
    );
    let exported = folder.path().join("exported").display().to_string();

    log(&data, &["verify", &url, "--ca-file", &by_issuer]).is(0, &["the log is complete and valid"]);
    log(&data, &["export", &exported, "--server", &url, "--ca-file", &by_issuer]).is(0, &["exported to"]);
    log(&data, &["verify", &exported]).is(0, &["the log is complete and valid"]);
    for (arguments, said) in [
        (&["verify", &url][..], &["the server's certificate", "--ca-file"][..]),
        (
            &["verify", &url, "--ca-file", &by_stranger],
            &["is signed by another", "--ca-file"],
        ),
        (
            &["export", &exported, "--server", &url],
            &["the server's certificate", "--ca-file"],
        ),
    ] {
        log(&data, arguments).is(4, said);
    }
    let elsewhere = Front::start(audit, &issuer, &["log.example"], 2020..2090)
        .await
        .unwrap();
    let wrong = format!("https://localhost:{}", elsewhere.address.port());
    log(&data, &["verify", &wrong, "--ca-file", &by_issuer]).is(
        4,
        &["the server's certificate is not for localhost", "it is for log.example"],
    );
    log(&data, &["verify", &url, "--ca-file", &exported]).is(2, &["as a file of certificate authorities"]);
    // Calls with a token are made under TLS, too.
    log(&data, &["checkpoint", "--server", &url]).is(4, &["from an issuer that is not trusted", "--ca-file"]);
    let plain = process.endpoints.audit.clone();
    log(&data, &["verify", &plain, "--ca-file", &by_issuer]).is(0, &["the log is complete and valid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_an_older_database_is_completed_from_an_export_or_not_at_all() {
    let folder = TempDir::with_prefix("remit-recover-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let data = process.layout.folder().to_owned();
    let backup = folder.path().join("backup");
    let (plain, detailed) = (folder.path().join("plain"), folder.path().join("detailed"));
    let (plain, detailed) = (plain.display().to_string(), detailed.display().to_string());
    submit(&process, 3).await;
    process.kill();
    copy_database(&data, "audit", &backup);
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process, 3).await;
    log(&data, &["export", &plain]).is(0, &[]);
    log(&data, &["recover"]).is(1, &["is in use by process"]);
    let with_detail = [
        "export",
        &detailed,
        "--with-detail",
        "--purpose",
        "copy",
        "--as",
        "auditor",
    ];
    log(&data, &with_detail).is(0, &[]);
    process.kill();

    copy_database(&backup, "audit", &data);
    let ways = [
        "the log does not start",
        "restored from a backup",
        "remit log recover --from DIR",
    ];
    let said = log(&data, &["recover"]).is(1, &ways);
    assert!(!said.contains("error:"), "all was said: {said}");
    log(&data, &["recover", "--from", &plain]).is(5, &["it is too old"]);
    let damaged = folder.path().join("detailed/detail/000.p");
    let width = std::fs::read_dir(&damaged).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&width).unwrap();
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&width, bytes).unwrap();
    log(&data, &["recover", "--from", &detailed]).is(5, &["nothing was changed"]);
    log(&data, &["recover"]).is(1, &ways);
    std::fs::write(&width, whole).unwrap();
    log(&data, &["recover", "--from", &detailed]).is(0, &["the log matches its signed root"]);
    log(&data, &["recover"]).is(0, &["it starts"]);

    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process, 1).await;
    log(&data, &["verify"]).is(0, &["the log is complete and valid"]);
    log(&data, &["reconcile"]).is(0, &["agree"]);
    // A later export continues the earlier one.
    log(&data, &["export", &plain]).is(0, &["exported to"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_an_export_from_before_a_rotation_is_continued_and_recovered_from() {
    let folder = TempDir::with_prefix("remit-earlier-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let data = process.layout.folder().to_owned();
    let backup = folder.path().join("backup");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (plain, later, detailed) = (place("plain"), place("later"), place("detailed"));
    submit(&process, 1).await;
    log(&data, &["export", &plain]).is(0, &[]);
    process.kill();
    copy_database(&data, "audit", &backup);
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process, 1).await;
    let with_detail = [
        "export",
        &detailed,
        "--with-detail",
        "--purpose",
        "copy",
        "--as",
        "auditor",
    ];
    log(&data, &with_detail).is(0, &[]);
    process.kill();

    // The key is replaced, then the database is lost: the export signed by the replaced key has the
    // missing entries.
    log(&data, &["key", "rotate"]).is(0, &[]);
    log(&data, &["key", "rotate", "--finish"]).is(0, &["replaced"]);
    copy_database(&backup, "audit", &data);
    log(&data, &["recover"]).is(1, &["restored from a backup"]);
    log(&data, &["recover", "--from", &detailed]).is(0, &["the log matches its signed root"]);
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process, 1).await;
    log(&data, &["export", &plain]).is(0, &["exported to"]);
    log(&data, &["verify", &plain]).is(0, &["the log is complete and valid"]);
    log(&data, &["export", &later]).is(0, &[]);
    submit(&process, 1).await;
    process.kill();

    // A key is revoked. Exports that it signed up to the tree that the log stands by are continued
    // all the same.
    log(&data, &["key", "revoke", "--reason", "a laptop was stolen"]).is(0, &[]);
    let _process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    log(&data, &["verify", &later]).is(5, &["revoked"]);
    log(&data, &["export", &later]).is(0, &["exported to"]);
    log(&data, &["verify", &later]).is(0, &["the log is complete and valid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_restored_producer_is_frozen_until_it_is_examined() {
    let folder = TempDir::with_prefix("remit-frozen-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let data = process.layout.folder().to_owned();
    let backup = folder.path().join("backup");
    let (name, receipt) = submit(&process, 1).await;
    process.kill();
    copy_database(&data, "intake", &backup);
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    reveal(&process, &name).await;
    logged(&process, &receipt, 3).await;
    published(&process, &[(name.clone(), receipt)], 3).await;
    process.kill();

    // Intake forgets the report's third change and makes another.
    copy_database(&backup, "intake", &data);
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    reveal(&process, &name).await;
    let fork = format!("{name}  change 3 came again as another event");
    let gaps = until("it is noticed", async || {
        let gaps = log(&data, &["gaps"]);
        gaps.text.contains("frozen since").then_some(gaps)
    })
    .await;
    let etag = gaps.text.split("--etag ").nth(1).unwrap_or_default();
    let etag = etag.split(' ').next().unwrap().to_owned();
    gaps.is(1, &[&fork, "remit log unfreeze intake --etag "]);
    let status = program().args(["status", "--data-dir"]).arg(&data).output().unwrap();
    assert_eq!(
        status.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    let reconciled = log(&data, &["reconcile"]);
    reconciled.is(5, &["differs from the service's"]);

    log(&data, &["unfreeze", "--help"]).is(0, &["\n2. If its newest database", "\n3. If not"]);
    log(&data, &["unfreeze", "intake", "--reason", "why"]).is(2, &["add --etag from `remit log gaps`"]);
    log(&data, &["unfreeze", "intake", "--reason", "", "--etag", &etag]).is(2, &["must say what was examined"]);
    let examined = "the backup of last night; one request to show the reporter was lost";
    log(
        &data,
        &[
            "unfreeze",
            "intake",
            "--reason",
            examined,
            "--tolerate-hours",
            "1",
            "--etag",
            &etag,
        ],
    )
    .is(0, &["intake may append again"]);
    let again = log(&data, &["unfreeze", "intake", "--reason", examined]);
    again.is(0, &["intake is not frozen: nothing was changed"]);
    // The record itself stays out of the log; all others continue. The log records the examination,
    // for auditors.
    submit(&process, 1).await;
    until("it is examined", async || {
        let gaps = log(&data, &["gaps"]).text;
        (gaps.contains("(examined)") && !gaps.contains("frozen since")).then_some(())
    })
    .await;
    let show = [
        "show",
        "producers/intake",
        "--as",
        "auditor",
        "--purpose",
        "why intake stood",
    ];
    log(&data, &show).is(0, &["frozen", &name, examined]);
    log(&data, &["verify"]).is(0, &["the log is complete and valid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_reports_key_age_and_extent() {
    let folder = TempDir::with_prefix("remit-verify-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let data = process.layout.folder().to_owned();
    let nowhere = folder.path().join("nowhere");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (plain, detailed, receipt) = (place("plain"), place("detailed"), place("r.tlog-proof"));
    let old = std::fs::read_to_string(data.join("log.vkey")).unwrap();
    let (name, _) = submit(&process, 1).await;
    std::fs::write(&receipt, log(&data, &["receipt", &name]).is(0, &[])).unwrap();
    log(&data, &["export", &plain]).is(0, &[]);
    log(&data, &["checkpoint"]).is(0, &["verified; signed ", " s ago"]);

    // Which key, and since when. A folder's own key is used if no other is known.
    let verify = |data: &Path, more: &[&str]| log(data, &[&["verify", &plain], more].concat());
    verify(&data, &[]).is(0, &[" s ago"]);
    verify(&nowhere, &[]).is(0, &["compare it with the key"]);
    for (data, more, from) in [
        (&data, &[][..], "data_dir"),
        (&nowhere, &[], "folder"),
        (&nowhere, &["--key", old.trim()], "named"),
    ] {
        let verified = json(&verify(data, &[more, &["--json"]].concat()).is(0, &[]));
        assert_eq!(verified["key_from"], from);
        assert!(
            verified["signed_at"].as_str().is_some_and(|time| time.ends_with('Z')),
            "{verified}"
        );
    }
    // Another log of the same name, whose folder is consistent in itself.
    let stranger = TempDir::with_prefix("remit-stranger-").unwrap();
    let other = Process::start(stranger.path(), &Databases::Sqlite, &[]);
    submit(&other, 1).await;
    let theirs = stranger.path().join("theirs").display().to_string();
    log(other.layout.folder(), &["export", &theirs]).is(0, &[]);
    drop(other);
    log(&nowhere, &["verify", &theirs]).is(0, &["compare it with the key"]);
    log(&data, &["verify", &theirs]).is(5, &["not signed by the log's key", "set another with --key"]);
    log(&data, &["export", &theirs]).is(5, &["has a different history"]);

    // An older checkpoint in a folder that has more entries.
    let checkpoint = folder.path().join("plain/checkpoint");
    let older = std::fs::read(&checkpoint).unwrap();
    submit(&process, 1).await;
    log(&data, &["export", &plain]).is(0, &[]);
    let newer = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, older).unwrap();
    verify(&data, &[]).is(5, &["exists, but the checkpoint covers"]);
    std::fs::write(&checkpoint, newer).unwrap();
    verify(&data, &[]).is(0, &[]);

    // Another log's checkpoint and key with our files, then only its checkpoint, then none.
    let (key_file, their) = (folder.path().join("plain/vkey"), stranger.path().join("theirs"));
    let ours = [&checkpoint, &key_file].map(|file| std::fs::read(file).unwrap());
    std::fs::copy(their.join("checkpoint"), &checkpoint).unwrap();
    verify(&data, &[]).is(5, &["not signed by the log's key"]);
    verify(&nowhere, &[]).is(5, &["not signed by the log's key"]);
    std::fs::copy(their.join("vkey"), &key_file).unwrap();
    verify(&data, &[]).is(5, &["not signed by the log's key"]);
    verify(&nowhere, &[]).is(5, &[]);
    std::fs::remove_file(&checkpoint).unwrap();
    verify(&data, &[]).is(5, &["has no checkpoint"]);
    std::fs::write(&checkpoint, &ours[0]).unwrap();
    std::fs::remove_file(&key_file).unwrap();
    verify(&nowhere, &[]).is(2, &["no log key"]);
    std::fs::write(&key_file, &ours[1]).unwrap();
    verify(&nowhere, &[]).is(0, &[]);

    // With `--with-detail`, removed details are reported as missing.
    verify(&data, &["--with-detail"]).is(5, &["detail/000.p/", "is missing"]);
    let with_detail = [
        "export",
        &detailed,
        "--with-detail",
        "--purpose",
        "copy",
        "--as",
        "auditor",
    ];
    log(&data, &with_detail).is(0, &[]);
    log(&data, &["verify", &detailed, "--with-detail"]).is(0, &["each matching its entry's commitment"]);
    std::fs::remove_dir_all(folder.path().join("detailed/detail")).unwrap();
    log(&data, &["verify", &detailed, "--with-detail"]).is(5, &["is missing"]);
    log(&data, &["verify", &process.endpoints.intake]).is(4, &["cannot read the log from", "is audit running"]);
    process.kill();

    // With only the old key, verification follows it through the current file or the folder's,
    // whoever supplied it.
    let rotated = log(&data, &["key", "rotate"]).is(0, &["signs from the log's next start"]);
    assert!(!rotated.contains("  signs\n"), "{rotated}");
    log(&data, &["key", "rotate", "--finish"]).is(0, &["replaced; stops signing at the log's next start"]);
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    log(&data, &["key", "show"]).is(0, &["  signs\n", "  replaced\n"]);
    let key = json(&log(&data, &["key", "--json"]).is(0, &[]));
    assert_ne!(key["verifierKey"], old.trim());
    log(&data, &["export", &plain]).is(0, &[]);
    verify(&nowhere, &["--key", old.trim()]).is(0, &["the log is complete and valid"]);
    let current = data.join("log.vkey").display().to_string();
    let live = ["verify", &process.endpoints.audit];
    let with = |more: &[&str]| log(&nowhere, &[&live, more].concat());
    with(&["--key", old.trim()]).is(5, &["not signed by the log's key"]);
    with(&["--key", old.trim(), "--key-file", &current]).is(0, &["the log is complete and valid"]);
    with(&["--key-file", &current]).is(0, &["the log is complete and valid"]);
    with(&["--key", &current]).is(2, &["is a file; use --key-file for it"]);
    with(&[]).is(2, &["--key-file"]);
    // The statements do not lead backwards, and the message says so.
    log(&data, &["verify-receipt", &receipt]).is(5, &["which was replaced"]);
    log(&data, &["verify-receipt", &receipt, "--key", old.trim()]).is(0, &["the change is in the log"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_of_a_revoked_key_are_refused_by_those_who_know() {
    let folder = TempDir::with_prefix("remit-revoked-").unwrap();
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    let data = process.layout.folder().to_owned();
    let stolen = folder.path().join("stolen");
    let (name, _) = submit(&process, 1).await;
    let receipt = folder.path().join("r.tlog-proof").display().to_string();
    std::fs::write(&receipt, log(&data, &["receipt", &name]).is(0, &[])).unwrap();
    submit(&process, 1).await;
    process.kill();
    let old = std::fs::read_to_string(data.join("log.vkey")).unwrap();

    log(&data, &["key", "rotate", "--finish"]).is(1, &["no rotation is in progress"]);
    log(&data, &["key", "rotate"]).is(0, &["also signs, until the rotation is finished"]);
    log(&data, &["key", "rotate"]).is(1, &["a rotation is in progress"]);
    log(&data, &["key", "rotate", "--finish"]).is(0, &["replaced"]);
    // The thief has everything of this moment and continues with it. The newest key has not signed
    // anything yet.
    std::fs::create_dir(&stolen).unwrap();
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            std::fs::copy(&file, stolen.join(file.file_name().unwrap())).unwrap();
        }
    }
    log(&data, &["key", "revoke", "--reason", "a laptop was stolen"])
        .is(0, &["stands by", "revoked", "a laptop was stolen"]);
    let new = std::fs::read_to_string(data.join("log.vkey")).unwrap();

    // With the new file, the thief's checkpoints are refused and the log's accepted. With only the
    // old key and the statements, both are refused and the revocation is reported.
    let verify = |process: &Process, key: &str| log(process.layout.folder(), &["verify", "--key", key.trim()]);
    let mut process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process, 1).await;
    verify(&process, &new).is(0, &["the log is complete and valid"]);
    verify(&process, &old).is(5, &["not signed by the log's key"]);
    let (_, statements) = new.split_once("\n\n").unwrap();
    verify(&process, &format!("{}\n\n{statements}", old.trim())).is(5, &[]);
    process.kill();

    std::fs::rename(&data, folder.path().join("ours")).unwrap();
    std::fs::rename(&stolen, &data).unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    submit(&process, 1).await;
    verify(&process, &new).is(5, &["revoked"]);
    // An older receipt depends on its own key, which was replaced, not revoked.
    log(&data, &["verify-receipt", &receipt, "--key", old.trim()]).is(0, &["the change is in the log"]);
}
