//! `remit report import`: a file of reports, whole, interrupted, and of other formats.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, process::Stdio};

use serde_json::{Value, json};
use testkit::eventually;

use crate::process::Server;

fn report(number: usize) -> Value {
    json!({
        "category": "categories/gambling",
        "subjects": [{"kind": "SUBJECT_KIND_URL", "value": format!("https://bet-{number}.example/")}],
        "places": [{"factor": "CONNECTING_FACTOR_OPERATOR", "territory": "territories/450100"}],
    })
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

fn names(server: &Server) -> BTreeSet<String> {
    let listed = server.json(&["report", "list", "--limit", "100000", "--json", "--as", "police-440000"]);
    let reports = listed["reports"].as_array().cloned().unwrap_or_default();
    reports
        .iter()
        .map(|report| report["name"].as_str().unwrap().to_owned())
        .collect()
}

fn lines(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_file_is_imported_once_and_what_is_refused_is_listed_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = path(folder.path(), "reports.ndjson");
    let mut bad = report(4);
    bad["category"] = json!("categories/nothing");
    bad["languageCode"] = json!("!");
    let mut own = report(5);
    own["externalId"] = json!("desk-5");
    let text = format!(
        "{}\n\n{{\"report\":{}}}\n{{\"categroy\":1}}\n{bad}\n{own}\n",
        report(1),
        report(2)
    );
    fs::write(&file, &text).unwrap();
    // First to see what would become of it.
    let import = ["report", "import", &file, "--as", "police-440000"];
    let dry = server.remit(&import).args(["--dry-run", "--json"]).output().unwrap();
    assert_eq!(dry.status.code(), Some(1));
    let dry: Value = serde_json::from_slice(&dry.stdout).unwrap();
    assert_eq!((&dry["accepted"], &dry["refused"]), (&json!(3), &json!(2)), "{dry}");
    assert_eq!(dry["leads"], json!({"agencies/police-450100": 3}));
    assert_eq!(names(&server).len(), 0, "nothing is recorded");
    assert!(!Path::new(&format!("{file}.import")).exists());

    let receipts = path(folder.path(), "receipts");
    let import = [
        "report",
        "import",
        &file,
        "--receipts",
        &receipts,
        "--as",
        "police-440000",
        "--json",
    ];
    let output = server.remit(&import).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["accepted"], &told["known"], &told["refused"]),
        (&json!(3), &json!(0), &json!(2))
    );
    assert_eq!(told["categories"]["categories/gambling"]["accepted"], json!(3));
    let rejects = lines(&format!("{file}.rejects.ndjson"));
    let at: Vec<_> = rejects
        .iter()
        .map(|reject| (reject["line"].as_u64().unwrap(), reject["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(at, [(4, "UNREADABLE"), (5, "INVALID_INPUT")]);
    let fields: Vec<_> = rejects[1]["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["field"].clone())
        .collect();
    assert_eq!(fields, ["report.category", "report.language_code"]);
    let receipts_file = receipts.clone();
    let receipts = lines(&receipts_file);
    let ids: Vec<_> = receipts
        .iter()
        .map(|line| line["externalId"].as_str().unwrap())
        .collect();
    assert!(
        ids[0].starts_with("import-") && ids[1].ends_with("-1") && ids[2] == "desk-5",
        "{ids:?}"
    );
    server.ok(&["report", "receipt", receipts[0]["receipt"].as_str().unwrap()]);
    assert_eq!(names(&server).len(), 3);

    // Again: it is done, and says the same. Without what says so, everything is known.
    let again = server.remit(&import).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap(), told);
    fs::remove_file(format!("{file}.import")).unwrap();
    for there in [&format!("{file}.rejects.ndjson"), &receipts_file] {
        let was = fs::read(there).unwrap();
        let (code, error) = server.fails(&import);
        assert!(code == 2 && error.contains("is there already: move it away"), "{error}");
        assert_eq!(fs::read(there).unwrap(), was);
        fs::remove_file(there).unwrap();
    }
    let again = server.remit(&import).output().unwrap();
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        (&again["accepted"], &again["known"], &again["refused"]),
        (&json!(0), &json!(3), &json!(2))
    );
    assert_eq!(names(&server).len(), 3);
    // Another file under the same name is not gone on with.
    fs::write(&file, text + "{}\n").unwrap();
    let (code, error) = server.fails(&import);
    assert_eq!(code, 2);
    assert!(error.contains("is of an import of another file"), "{error}");
    // Corrected, with a line more in front of the others, it brings in what is new.
    let corrected = path(folder.path(), "corrected.ndjson");
    fs::write(
        &corrected,
        format!("{}\n{}\n{}\n{own}\n", report(9), report(1), report(2)),
    )
    .unwrap();
    let corrected = server.json(&["report", "import", &corrected, "--as", "police-440000", "--json"]);
    assert_eq!((&corrected["accepted"], &corrected["known"]), (&json!(1), &json!(3)));
    assert_eq!(names(&server).len(), 4);
}

#[test]
fn an_import_writes_over_no_file_and_takes_no_fault_of_the_caller_for_one_of_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = path(folder.path(), "reports.ndjson");
    let text = format!(
        "{}\n{}\n{{\"category\":\"categories/nothing\"}}\n",
        report(1),
        report(2)
    );
    fs::write(&file, &text).unwrap();
    for (option, named, expected) in [
        ("--rejects", "reports.ndjson", "cannot be both the file and --rejects"),
        (
            "--receipts",
            "./reports.ndjson.import",
            "cannot be both --progress and --receipts",
        ),
    ] {
        let named = path(folder.path(), named);
        let (code, error) = server.fails(&["report", "import", &file, option, &named, "--as", "police-440000"]);
        assert!(code == 2 && error.contains(expected), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // An auditor submits no reports: that says nothing about them.
    let (_, error) = server.fails(&["report", "import", &file, "--as", "auditor"]);
    assert!(error.contains("the import stopped"), "{error}");
    let state: Value = serde_json::from_str(&fs::read_to_string(format!("{file}.import")).unwrap()).unwrap();
    assert_eq!((&state["done"], &state["finished"]), (&json!(0), &json!(false)));
    assert!(!Path::new(&format!("{file}.rejects.ndjson")).exists());
    // Who goes on with it is who began it.
    let (code, error) = server.fails(&["report", "import", &file, "--as", "police-440000"]);
    assert!(code == 2 && error.contains("by another caller"), "{error}");
}

#[test]
fn p1_an_import_that_is_killed_goes_on_without_doubles_and_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = path(folder.path(), "reports.ndjson");
    let count = 12_000;
    let mut text = String::new();
    for number in 0..count {
        match number % 100 {
            99 => writeln!(
                text,
                "{{\"category\":\"categories/nothing\",\"narrative\":\"{number}\"}}"
            )
            .unwrap(),
            _ => writeln!(text, "{}", report(number)).unwrap(),
        }
    }
    fs::write(&file, text).unwrap();
    let import = ["report", "import", &file, "--as", "police-440000", "--json"];
    for _ in 0..2 {
        let before = fs::read_to_string(format!("{file}.import")).unwrap_or_default();
        let mut child = server
            .remit(&import)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the middle: it has said how far it is, anew.
        eventually("it says how far it is", || {
            let now = fs::read_to_string(format!("{file}.import")).unwrap_or_default();
            let now = if now.contains("\"done\": 0,") {
                before.clone()
            } else {
                now
            };
            (now != before || child.try_wait().unwrap().is_some()).then_some(())
        });
        // SIGKILL.
        let _ = child.kill();
        child.wait().unwrap();
        let left: Value = serde_json::from_str(&fs::read_to_string(format!("{file}.import")).unwrap()).unwrap();
        let done = left["done"].as_u64().unwrap();
        assert_eq!(left["finished"], json!(false), "it was faster than this test");
        assert!(0 < done && done < count as u64, "{done} of {count}");
    }
    let output = server.remit(&import).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["reports"], &told["refused"]),
        (&json!(count), &json!(count / 100)),
        "{told}"
    );
    assert_eq!(names(&server).len(), count - count / 100);
    // Each is refused once, in order.
    let rejects = lines(&format!("{file}.rejects.ndjson"));
    let at: Vec<_> = rejects.iter().map(|reject| reject["line"].as_u64().unwrap()).collect();
    assert_eq!(at, (1..=count as u64 / 100).map(|n| n * 100).collect::<Vec<u64>>());
}

#[test]
fn a_table_and_xarf_messages_are_imported_with_their_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let (table, mapping) = (path(folder.path(), "table.csv"), path(folder.path(), "mapping.yaml"));
    fs::write(
        &table,
        "\u{feff}编号,网址,说明\n甲-1,https://a.example/,=1+1\n甲-2,nonsense,\"x\ny\"\n",
    )
    .unwrap();
    let columns = "columns: {编号: report.external_id, 网址: 'report.subjects[0].value', 说明: report.narrative}\n\
                   constants: {report.category: categories/gambling, 'report.subjects[0].kind': SUBJECT_KIND_URL}\n";
    fs::write(&mapping, columns).unwrap();
    let (code, error) = server.fails(&["report", "import", &table, "--as", "police-440000"]);
    assert!(code == 2 && error.contains("--mapping"), "{error}");
    let (code, error) = server.fails(&[
        "report",
        "import",
        &table,
        "--mapping",
        &mapping,
        "--as",
        "police-440000",
    ]);
    assert!(code == 1 && error.contains("rejects.ndjson"), "{error}");
    let rejects = lines(&format!("{table}.rejects.ndjson"));
    assert_eq!((rejects.len(), rejects[0]["line"].as_u64()), (1, Some(3)));
    assert_eq!(rejects[0]["violations"][0]["field"], json!("report.subjects[0].value"));
    let found = server.json(&[
        "report",
        "list",
        "--external-id",
        "甲-1",
        "--json",
        "--as",
        "police-440000",
    ]);
    let name = found["reports"][0]["name"].as_str().unwrap();
    let shown = server.ok(&[
        "report",
        "show",
        name,
        "--purpose",
        "check-submission",
        "--as",
        "police-440000",
    ]);
    assert!(shown.contains("=1+1") && shown.contains("甲-1"), "{shown}");
    // In GBK nothing is sent, nor with a quote that takes the rest of the rows along.
    for ending in [".import", ".rejects.ndjson"] {
        fs::remove_file(format!("{table}{ending}")).unwrap();
    }
    fs::write(
        &table,
        "编号,网址,说明\n甲-7,https://a.example/,x\n甲-8,https://a.example/,\"x\n甲-9,,\n",
    )
    .unwrap();
    let import = [
        "report",
        "import",
        &table,
        "--mapping",
        &mapping,
        "--as",
        "police-440000",
    ];
    let (code, error) = server.fails(&import);
    assert!(code == 2 && error.contains("line 3: a quote"), "{error}");
    assert!(!Path::new(&format!("{table}.import")).exists());
    fs::write(&table, b"\xb1\xe0\xba\xc5,\xcd\xf8\xd6\xb7\n").unwrap();
    let (code, error) = server.fails(&[
        "report",
        "import",
        &table,
        "--mapping",
        &mapping,
        "--as",
        "police-440000",
    ]);
    assert!(code == 2 && error.contains("it looks like GBK"), "{error}");

    let message = |id: &str, kind: &str, payload: &str| {
        json!({
            "xarf_version": "4.2.0", "report_id": format!("0b6f6a2c-3a55-4a0c-9b0e-5f2f3c9a7d{id}"),
            "timestamp": "2026-01-20T10:00:00Z", "category": "content", "type": kind,
            "reporter": {"org": "Bank", "contact": "abuse@bank.example", "domain": "bank.example"},
            "sender": {"org": "House", "contact": "desk@house.example", "domain": "house.example"},
            "source_identifier": "203.0.113.7", "url": "https://login.example/",
            "evidence": [{"content_type": "text/plain", "payload": payload}],
        })
    };
    let file = path(folder.path(), "messages.json");
    let messages = json!([
        message("11", "phishing", "aGVsbG8="),
        message("12", "csam", "aGVsbG8="),
        message("13", "suspicious_registration", "aGVsbG8="),
        message("14", "malware", "d29ybGQ="),
    ]);
    fs::write(&file, messages.to_string()).unwrap();
    let import = [
        "report",
        "import",
        &file,
        "--format",
        "xarf",
        "--as",
        "police-440000",
        "--json",
    ];
    let output = server.remit(&import).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["accepted"], &told["refused"]), (&json!(3), &json!(1)), "{told}");
    let evidence = |id: &str| {
        let id = format!("bank.example:0b6f6a2c-3a55-4a0c-9b0e-5f2f3c9a7d{id}");
        let found = server.json(&[
            "report",
            "list",
            "--external-id",
            &id,
            "--json",
            "--as",
            "police-440000",
        ]);
        let name = found["reports"][0]["name"].as_str().unwrap().to_owned();
        let shown = server.ok(&[
            "report",
            "show",
            &name,
            "--purpose",
            "check-submission",
            "--as",
            "police-440000",
        ]);
        shown.matches("evidence/").count()
    };
    assert_eq!(["11", "12", "14"].map(evidence), [1, 0, 1]);
    let rejects = lines(&format!("{file}.rejects.ndjson"));
    assert!(
        rejects[0]["violations"][0]["description"]
            .as_str()
            .unwrap()
            .contains("suspicious_registration")
    );
    // Again, with nothing that says that it was: known, and their files are the same. What says
    // something else under its id is refused.
    let again = |messages: &Value| {
        for ending in [".import", ".rejects.ndjson"] {
            fs::remove_file(format!("{file}{ending}")).unwrap();
        }
        fs::write(&file, messages.to_string()).unwrap();
        let output = server.remit(&import).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let reasons = lines(&format!("{file}.rejects.ndjson"));
        let reasons: Vec<_> = reasons.iter().map(|reject| reject["reason"].clone()).collect();
        (told["known"].clone(), told["accepted"].clone(), reasons)
    };
    assert_eq!(again(&messages), (json!(3), json!(0), vec![json!("UNREADABLE")]));
    let other = json!([
        message("14", "malware", "aGVsbG8="),
        message("11", "phishing", "aGVsbG8=")
    ]);
    assert_eq!(again(&other), (json!(1), json!(0), vec![json!("EXTERNAL_ID_REUSED")]));
}
