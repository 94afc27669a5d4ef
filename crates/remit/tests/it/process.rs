//! A real child process, driven by the commands that people use.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sqlx::Connection as _;
use testkit::eventually;

use crate::cli::remit;

const PORTS: [&str; 6] = [
    "--intake-listen",
    "127.0.0.1:0",
    "--routing-listen",
    "127.0.0.1:0",
    "--audit-listen",
    "127.0.0.1:0",
];

/// A serving `remit serve all`; killed if the test fails.
pub struct Server {
    child: Child,
    data_dir: PathBuf,
    said: Vec<String>,
}

impl Server {
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    pub fn start_with(data_dir: &Path, more: &[&str]) -> Self {
        let mut child = remit(&["serve", "all", "--data-dir"])
            .arg(data_dir)
            .args(PORTS)
            .args(more)
            .env("REMIT_TELEMETRY_FILTER", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first output, up to the suggested commands, says that it serves.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said: Vec<_> = lines.take_while(|line| !line.starts_with("Try")).collect();
        Self {
            child,
            data_dir: data_dir.to_owned(),
            said,
        }
    }

    pub fn remit(&self, args: &[&str]) -> Command {
        let mut command = remit(args);
        command.env("REMIT_DATA_DIR", &self.data_dir);
        command
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.remit(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a token for a second system that edits directories and rule sets.
    pub fn add_second(&self) {
        self.ok(&[
            "token",
            "add",
            "--roles",
            "directory-editor,rules-editor",
            "--system",
            "second",
        ]);
        let shown = || self.remit(&["directory", "show", "--as", "second"]).output().unwrap();
        eventually("the token is not known", || shown().status.success().then_some(()));
    }

    /// Exit code and standard error of a command that must fail.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.remit(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn example(name: &str) -> String {
    format!("{}/../../deploy/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_report_goes_all_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let said = server.said.join("\n");
    for expected in [
        "intake    http://127.0.0.1:",
        "audit     http://",
        "tokens.json: of the operator, the auditor and 245 agencies",
        "log key   remit.local/log+",
    ] {
        assert!(said.contains(expected), "{said}");
    }

    let file = example("04-gambling.json");
    let valid = server.ok(&["report", "submit", &file, "--validate-only", "--as", "police-440000"]);
    assert!(valid.contains("nothing was recorded"), "{valid}");
    let submitted = server.json(&["report", "submit", &file, "--as", "police-440000", "--json"]);
    let receipt = submitted["receipt"].as_str().unwrap();
    let report = submitted["report"]["name"].as_str().unwrap();

    let followed = eventually("the report is not routed and proven", || {
        let text = server.ok(&["report", "receipt", receipt]);
        (text.matches("proof verified").count() == 2).then_some(text)
    });
    for expected in [
        "routed: assigned to an agency",
        "police-450100",
        "Nanning",
        "report.accepted",
        "report.routed",
    ] {
        assert!(followed.contains(expected), "{followed}");
    }

    let cases = server.json(&["case", "list", "--as", "police-450100", "--json"]);
    let case = cases["cases"][0]["name"].as_str().unwrap();
    let shown = server.ok(&["case", "show", case, "--as", "police-450100"]);
    for expected in [
        "assigned",
        "How it was routed",
        "450100 Nanning",
        "this gave the lead",
        "must acknowledge it by",
        report,
    ] {
        assert!(shown.contains(expected), "{expected}:\n{shown}");
    }
    let content = server.ok(&[
        "report",
        "show",
        report,
        "--purpose",
        "handle-case",
        "--as",
        "police-450100",
    ]);
    assert!(content.contains("gambling"), "{content}");

    let etag = cases["cases"][0]["etag"].as_str().unwrap();
    let (code, stderr) = server.fails(&["case", "acknowledge", case, "--etag", "0-0", "--as", "police-450100"]);
    assert_eq!((code, stderr.contains("reason: ETAG_MISMATCH")), (1, true), "{stderr}");
    let taken = server.ok(&["case", "acknowledge", case, "--etag", etag, "--as", "police-450100"]);
    assert!(taken.contains("in progress"), "{taken}");
    let watch = ["case", "watch", "--limit", "2", "--as", "police-450100"];
    let watched = server.remit(&watch).output().unwrap();
    let (stdout, stderr) = (text(&watched.stdout), text(&watched.stderr));
    let kinds = ["case.opened", "case.acknowledged"];
    assert!(kinds.iter().all(|kind| stdout.contains(kind)), "{stdout}");
    // No part of the output, which a program may read.
    let resume = "resume with: remit case watch --resume ";
    assert!(stderr.contains(resume) && !stdout.contains(resume), "{stderr}");

    // Others see none of it.
    let (code, stderr) = server.fails(&["case", "show", case, "--as", "police-110000"]);
    assert_eq!((code, stderr.contains("reason: NOT_FOUND")), (3, true), "{stderr}");
    let (code, stderr) = server.fails(&[
        "report",
        "show",
        report,
        "--purpose",
        "handle-case",
        "--as",
        "police-110000",
    ]);
    assert_eq!((code, stderr.contains("reason: NOT_FOUND")), (3, true), "{stderr}");
    let bad = folder.path().join("bad.json");
    std::fs::write(&bad, r#"{"report":{"category":"categories/none"}}"#).unwrap();
    let (code, stderr) = server.fails(&["report", "submit", bad.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("\n  report.category: ") && stderr.contains("reason: INVALID_INPUT"),
        "{stderr}"
    );

    let verified = server.json(&["log", "verify", "--json"]);
    assert!(verified["entries"].as_u64().unwrap() >= 3, "{verified}");
    let other = "remit.local/log+643a7188+AX1UnEbxThBL6ANviPlYLdxTBoD4R4cyQmBYsMKg2Yb1";
    let (code, stderr) = server.fails(&["log", "verify", "--key", other]);
    assert_eq!(code, 5, "{stderr}");
    let (code, _) = server.fails(&["log", "checkpoint", "--key", other]);
    assert_eq!(code, 5);
    let receipt_with_other_key = server.fails(&["report", "receipt", receipt, "--key", other]);
    assert_eq!(receipt_with_other_key.0, 5);

    let (code, stderr) = {
        let output = remit(&["serve", "all", "--data-dir"])
            .arg(&server.data_dir)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(code, 1);
    let holder = format!("is in use by process {}", server.child.id());
    assert!(stderr.contains(&holder), "{stderr}");

    for file in [
        "intake.db",
        "routing.db",
        "audit.db",
        "receipt.key",
        "log.key",
        "tokens.json",
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(server.data_dir.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let data_dir = server.data_dir.clone();
    server.stop();
    assert!(!data_dir.join("endpoints.json").exists());
}

#[test]
fn the_demo_shows_every_story_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    for _ in 0..2 {
        let shown = server.ok(&["demo"]);
        for expected in [
            "20 reports: 19 with the agency that should have them, 1 answered with advice, 1 recognised as repeated.",
            "Chengdu network-police desk",
            "the victim's place counts: 510100 Chengdu",
            "the operator's place counts: 350200 Xiamen",
            "The operator register is at version 1, with 10 entries.",
            "no agency: the reporter is told who can act",
            "same request id",
            "proof verified: entries ",
        ] {
            assert!(shown.contains(expected), "{expected}:\n{shown}");
        }
        assert!(!shown.contains("WRONG"), "{shown}");
    }
    server.stop();
}

#[test]
fn the_operator_register_is_loaded_queried_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let (code, stderr) = server.fails(&["operator", "lookup", "shop.example.cn"]);
    assert_eq!((code, stderr.as_str()), (3, "error: not in the operator register\n"));

    let file = example("operators.csv");
    let valid = server.ok(&["operator", "load", &file, "--validate-only"]);
    assert!(valid.contains("the file is valid; nothing was loaded"), "{valid}");
    assert!(valid.contains("would be 1, 10 entries"), "{valid}");
    let loaded = server.ok(&["operator", "load", &file, "--replace"]);
    assert!(loaded.contains("9, replacing all previous ones"), "{loaded}");
    let again = server.json(&["operator", "load", &file, "--replace", "--json"]);
    assert_eq!(again["result"]["unchanged"], true);

    let found = server.ok(&[
        "operator",
        "lookup",
        "https://x.games.hosting.example/y",
        "--as",
        "police-510100",
    ]);
    for expected in [
        "示例游戏 / Example Games",
        "440300 Shenzhen",
        "domain x.games.hosting.example: not registered",
        "domain games.hosting.example: registered: 440300",
        "register     version 1, 10 entries, loaded ",
    ] {
        assert!(found.contains(expected), "{expected}:\n{found}");
    }
    for (at, place) in [
        ("2025-12-31T23:59:59+08:00", "130100"),
        ("2026-01-01T00:00:00+08:00", "330100"),
    ] {
        let found = server.json(&["operator", "lookup", "moved-shop.example", "--at", at, "--json"]);
        assert_eq!(found["period"]["territory"], format!("territories/{place}"), "{at}");
    }

    // A change from standard input, in JSON.
    let mut change = server.remit(&["operator", "load", "-", "--format", "ndjson"]);
    let mut child = change.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = "{\"kind\":\"app\",\"key\":\"New\",\"place\":\"US\"}\n{\"kind\":\"app\",\"key\":\"示例快聊\",\"action\":\"remove\"}\n";
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && stdout.contains("1 added, 0 changed, 1 removed"),
        "{stdout}"
    );
    let apps = server.ok(&["operator", "list", "--kind", "app"]);
    assert_eq!(apps.lines().count(), 3, "{apps}");
    assert!(
        apps.contains("app       new ") && apps.contains("version 2, 10 entries"),
        "{apps}"
    );
    let two = server.json(&["operator", "list", "--limit", "2", "--json"]);
    assert_eq!(two["operators"].as_array().unwrap().len(), 2);

    // All faults are reported by line, and nothing is loaded.
    let wrong = folder.path().join("wrong.csv");
    std::fs::write(
        &wrong,
        "kind,key,place\ndomain,com.cn,350200\napp,x,999999\napp,y,US\napp,Y,JP\n",
    )
    .unwrap();
    let output = server.remit(&["operator", "load"]).arg(&wrong).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for expected in [
        "wrong.csv:2: key: `com.cn` is a public suffix",
        "wrong.csv:3: place: the tree has no territory 999999",
        "wrong.csv:5: key: app y has another entry at the same time, on line 4",
    ] {
        assert!(stdout.contains(expected), "{expected}:\n{stdout}");
    }
    assert!(stderr.ends_with("3 faults; nothing was loaded\n"), "{stderr}");
    let (code, stderr) = server.fails(&["operator", "load", "no-such-file.csv"]);
    assert!(code == 2 && stderr.contains("cannot read no-such-file.csv"), "{stderr}");
    let (code, _) = server.fails(&["operator", "load", &file, "--as", "police-510100"]);
    assert_eq!(code, 1);
    let listed = server.json(&["operator", "list", "--json"]);
    assert_eq!(listed["version"]["version"], "2");
    // Each version is logged, beside the first directory and rule set.
    eventually("the versions are not logged", || {
        let verified = server.json(&["log", "verify", "--json"]);
        (changes(&verified) == 4).then_some(())
    });
    server.stop();
}

#[test]
fn the_demo_fails_if_a_story_is_routed_differently() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let examples = folder.path().join("examples");
    std::fs::create_dir(&examples).unwrap();
    std::fs::copy(example("04-gambling.json"), examples.join("04-gambling.json")).unwrap();
    std::fs::write(
        examples.join("index.yaml"),
        "examples:\n- {file: 04-gambling.json, story: 4, title: {zh: a, en: b}, sender: police-CN, ranked: {lead: police-CN}}\n",
    )
    .unwrap();
    let output = server.remit(&["demo", "--examples"]).arg(&examples).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("expected police-CN"), "{stdout}");
    server.stop();
}

/// How many changes a verified log holds, of all producers; marks not counted.
fn changes(verified: &serde_json::Value) -> u64 {
    let producers = verified["producers"].as_object().unwrap().values();
    producers.map(|producer| producer["changes"].as_u64().unwrap()).sum()
}

#[test]
fn a_changed_log_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let server = Server::start(&data_dir);
    server.ok(&[
        "report",
        "submit",
        &example("04-gambling.json"),
        "--as",
        "police-440000",
    ]);
    server.ok(&["report", "submit", &example("07-threats.json"), "--as", "police-320000"]);
    eventually("the log does not grow", || {
        let verified = server.json(&["log", "verify", "--json"]);
        // Three for each report, and the first directory and rule set.
        (changes(&verified) == 8).then_some(())
    });
    server.stop();

    let url = format!("sqlite://{}", data_dir.join("audit.db").display());
    testkit::backend::run(async {
        let mut db = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let statement = "UPDATE entries SET entry = (SELECT entry FROM entries WHERE idx = 1) WHERE idx = 2";
        assert_eq!(
            sqlx::query(statement).execute(&mut db).await.unwrap().rows_affected(),
            1
        );
        db.close().await.unwrap();
    });

    let server = Server::start(&data_dir);
    let (code, stderr) = server.fails(&["log", "verify"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.starts_with("error: entry 2: tile/0/000.p/"), "{stderr}");
    server.stop();
}
