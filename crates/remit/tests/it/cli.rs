//! The command line without a server: help, mistakes, exit codes.

use std::{
    io::Read as _,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
    time::Duration,
};

pub fn remit(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remit"));
    command.args(args).env("LC_ALL", "C");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REMIT_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = remit(args).current_dir(std::env::temp_dir()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Neither waited for nor read without end.
#[test]
fn pipes_and_devices_are_not_read_as_proofs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    std::fs::create_dir(at("log")).unwrap();
    for name in ["pipe", "vkey", "log/checkpoint"] {
        rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, mode, 0).unwrap();
    }
    std::fs::write(at("receipt"), "c2sp.org/tlog-proof@v1\n").unwrap();
    let key = "remit.test/log+1a2b3c4d+AZ";
    for args in [
        &["verify-receipt", &at("pipe"), "--key", key][..],
        &["verify-receipt", "/dev/zero", "--key", key],
        &["verify-receipt", &at("receipt"), "--policy", &at("pipe")],
        &["verify-receipt", &at("receipt"), "--policy", "/dev/zero"],
        &["verify", &at(""), "--key", key],
        &["verify", &at("")],
        &["verify", &at("log"), "--key", key],
        &["verify", &at("log"), "--key-file", "/dev/zero"],
    ] {
        let mut command = remit(&["log"]);
        let mut child = command
            .args(args)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (done, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            done.send(text)
        });
        let text = answer.recv_timeout(Duration::from_secs(30));
        child.kill().unwrap();
        child.wait().unwrap();
        let text = text.unwrap_or_else(|_| panic!("{args:?} waits"));
        assert!(text.contains("not a regular file"), "{args:?}: {text}");
    }
}

/// Names of files and fields come from others, too.
#[test]
fn nothing_that_others_wrote_acts_on_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let attack = "\u{1b}]0;title\u{7}\u{1b}[32mproof verified\u{1b}[0m\nerror: none\u{202e}\u{9b}2J";
    let path = folder.path().join(attack);
    std::fs::write(&path, serde_json::json!({ attack: 1 }).to_string()).unwrap();
    let path = path.to_str().unwrap();
    for args in [
        &["report", "submit", path][..],
        &["report", "submit", &format!("{path}-missing")],
        &["route", "explain", path],
        &["route", "check", path],
        &["directory", "check", path],
        &["config", "show", "--config", path],
        &["log", "verify-receipt", path, "--key", "k"],
        &["log", "verify", path],
        &["case", "list", "--data-dir", path],
        &["evidence", "upload", path],
        &["operator", "load", path],
    ] {
        for format in [&[][..], &["--json"]] {
            let (code, stdout, stderr) = run(&[args, format].concat());
            let told = format!("{stdout}{stderr}");
            assert_ne!(code, 0, "{args:?}");
            assert!(
                !told.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
                "{args:?}: {told:?}"
            );
            assert!(!told.contains("\nerror: none"), "{args:?}: {told:?}");
        }
    }
}

/// Whatever was typed, or pasted, or taken by a script from elsewhere.
#[test]
fn a_command_line_that_cannot_be_read_is_told_harmlessly_in_both_languages() {
    let attack = "\u{1b}]0;title\u{7}\u{1b}[32mproof verified\u{1b}[0m\nerror: none\u{202e}\u{9b}2J";
    let flag = format!("--{attack}");
    for (args, english, chinese) in [
        (&[attack][..], "unknown subcommand '", "不认识子命令“"),
        (&["case", attack], "unknown subcommand '", "不认识子命令“"),
        (&["case", "list", &flag], "unexpected argument '", "不认识参数“"),
        (
            &["case", "list", &format!("-{attack}")],
            "unexpected argument '",
            "不认识参数“",
        ),
        (&["case", "list", attack], "unexpected argument '", "不认识参数“"),
        (&["case", "list", "--state", attack], "invalid value '", "”无效"),
        (&["case", "list", "--limit", attack], "invalid value '", "”无效"),
        (
            &["case", "list", "--limit"],
            "a value is required for '--limit <N>'",
            "“--limit <N>”须有值",
        ),
        (
            &["case", "list", "--utc", "--utc"],
            "cannot be used multiple times",
            "不能重复使用",
        ),
        (&["case", "list", "--officer", attack], "invalid value '", "”无效"),
        (
            &["case", "show"],
            "required arguments were not given: <NAME>",
            "缺少必需的参数：<NAME>",
        ),
        (
            &["route", "explain", "x", "--facts", attack],
            "cannot be used with '",
            "不能与“",
        ),
        (
            &["directory", "locate", attack, attack, attack, attack],
            "unexpected argument '",
            "不认识参数“",
        ),
        (
            &["case", "list", "--utc=x"],
            "unexpected value 'x' for '--utc'",
            "“--utc”不再接受更多的值",
        ),
        (
            &["case", "list", "--as", "a", "--token", attack],
            "in two ways",
            "in two ways",
        ),
    ] {
        for (language, expected) in [("en", english), ("zh", chinese)] {
            let (code, stdout, told) = run(&[args, &["--lang", language]].concat());
            assert!(code == 2 && stdout.is_empty(), "{args:?}: {stdout}");
            assert!(
                !told.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
                "{args:?}: {told:?}"
            );
            assert!(!told.contains("\nerror: none"), "{args:?}: {told:?}");
            assert!(
                told.starts_with("error: ") && told.contains(expected),
                "{args:?} {language}: {told}"
            );
            let help = if language == "zh" {
                "详情见 --help"
            } else {
                "try '--help'"
            };
            assert!(told.contains(help), "{args:?}: {told}");
        }
        let (code, stdout, told) = run(&[args, &["--json"]].concat());
        assert!(code == 2 && stdout.is_empty());
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert!(
            told["error"]["message"].as_str().unwrap().contains(english),
            "{args:?}: {told}"
        );
    }
    let (_, _, told) = run(&["case", "lst", "--lang=zh"]);
    assert!(
        told.contains("提示：有相近的子命令：“list”") && told.contains("用法：remit case"),
        "{told}"
    );
    let (_, _, told) = run(&["case", "list", "--stat", "x"]);
    assert!(told.contains("a similar argument exists: '--state'"), "{told}");
    // What variables contain is not told to whoever asks for help.
    let mut asked = remit(&["case", "list", "--help"]);
    let help = asked.env("REMIT_CONTEXT", attack).output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    assert!(
        help.contains("REMIT_CONTEXT") && !help.contains("proof verified"),
        "{help}"
    );
}

#[test]
fn settings_and_keys_are_printed_as_json() {
    let (code, shown, stderr) = run(&["config", "show", "--json", "--set", "limits.concurrency=77"]);
    assert_eq!(code, 0, "{stderr}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["limits"]["concurrency"], 77);
    assert_eq!(shown["intake"]["listen"], "127.0.0.1:7301");
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("url");
    std::fs::write(&url, "postgres://u:geheim@h/d").unwrap();
    std::fs::set_permissions(&url, PermissionsExt::from_mode(0o600)).unwrap();
    let set = format!("intake.database_file={}", url.display());
    let (_, shown, _) = run(&["config", "show", "--json", "--set", &set]);
    assert!(shown.contains("intake") && !shown.contains("geheim"), "{shown}");
    let (code, checked, stderr) = run(&["config", "check", "--json"]);
    assert_eq!((code, checked.contains("\"usable\": true")), (0, true), "{stderr}");
    let (code, _, told) = run(&["config", "check", "--json", "--set", "limits.concurrency=none"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(code == 2 && told["error"]["exitCode"] == 2, "{told}");
    std::fs::write(folder.path().join("witness.vkey"), "w.example/w1+1a2b3c4d+AZ\n").unwrap();
    let (code, key, _) = run(&["witness", "key", "--dir", folder.path().to_str().unwrap(), "--json"]);
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    assert_eq!((code, &key["key"]), (0, &"w.example/w1+1a2b3c4d+AZ".into()));
}

#[test]
fn shells_and_man_know_the_commands() {
    for (shell, expected) in [
        ("bash", "_remit()"),
        ("fish", "complete -c remit"),
        ("zsh", "#compdef remit"),
    ] {
        let (code, stdout, _) = run(&["completions", shell]);
        assert!(
            code == 0 && stdout.contains(expected) && stdout.contains("evidence"),
            "{shell}"
        );
    }
    let (code, page, _) = run(&["man"]);
    assert!(code == 0 && page.contains(".TH remit 1"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    assert_eq!(run(&["man", "--dir", dir.to_str().unwrap()]).0, 0);
    for name in ["remit.1", "remit-case-list.1", "remit-token-rotate.1"] {
        assert!(dir.join(name).is_file(), "{name}");
    }
    assert!(run(&["completions", "bahs"]).2.contains("bash"));
}

#[test]
fn tokens_are_added_for_every_role_and_listed_revoked_and_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.json");
    std::fs::write(&file, "[]").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let tokens = |args: &[&str]| run(&[&["token"], args, &["--file", file.to_str().unwrap()]].concat());
    for (role, system) in [
        ("partner", "bank"),
        ("operator", "second"),
        ("auditor", "court"),
        ("service", "intake"),
    ] {
        let (code, token, stderr) = tokens(&["add", "--role", role, "--system", system]);
        assert!(code == 0 && token.trim().len() == 32, "{role}: {stderr}");
    }
    assert_eq!(tokens(&["add", "--role", "service", "--system", "other"]).0, 2);
    assert_eq!(tokens(&["add", "police-320508", "--role", "partner"]).0, 2);
    let single = [
        "add",
        "police-320508",
        "--system",
        "review",
        "--roles",
        "reviewer,inspector",
    ];
    assert_eq!(tokens(&single).0, 0);
    for (roles, system, told) in [
        ("reviewer", "nowhere", "has the role reviewer and names no agency"),
        ("auditor,operator", "all", "the role auditor, which goes with no other"),
        ("reviewers", "typo", "did you mean `reviewer`?"),
    ] {
        let (code, _, stderr) = tokens(&["add", "--roles", roles, "--system", system]);
        assert!(code == 2 && stderr.contains(told), "{stderr}");
    }
    let (_, listed, _) = tokens(&["list"]);
    for expected in [
        "bank",
        "submitter",
        "second",
        "rules-editor",
        "court",
        "auditor",
        "reviewer,inspector",
    ] {
        assert!(listed.contains(expected), "{listed}");
    }
    let content = || std::fs::read_to_string(&file).unwrap();
    let (first, (_, rotated, _)) = (content(), tokens(&["rotate", "bank"]));
    assert!(content().contains(rotated.trim()) && !first.contains(rotated.trim()));
    assert_eq!(tokens(&["revoke", "bank"]).0, 0);
    assert!(!content().contains(rotated.trim()));
    let (_, json, _) = tokens(&["list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["systems"][0]["revoked"], true, "{json}");
    // A system with two tokens, as while one replaces the other: none of them goes on.
    let one = "a".repeat(32);
    let two =
        [one.clone(), "b".repeat(32)].map(|token| format!(r#"{{"token":"{token}","system":"desk","role":"partner"}}"#));
    std::fs::write(&file, format!("[{}]", two.join(","))).unwrap();
    let (_, rotated, _) = tokens(&["rotate", "desk"]);
    assert!(
        !content().contains(&one) && !content().contains("bbbb"),
        "{}",
        content()
    );
    assert_eq!(tokens(&["revoke", "desk"]).0, 0);
    assert!(!content().contains(rotated.trim()));
    std::fs::write(&file, first).unwrap();
    let (code, _, stderr) = tokens(&["revoke", "bnak"]);
    assert!(code == 3 && stderr.contains("did you mean `bank`?"), "{stderr}");
    // For machines, errors are JSON too.
    let (_, _, error) = tokens(&["revoke", "bnak", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["exitCode"], 3, "{error}");
}

#[test]
fn changes_of_tokens_at_the_same_time_keep_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.json");
    std::fs::write(&file, "[]").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let start = |args: &[&str]| {
        let mut command = remit(&[&["token"], args, &["--file", file.to_str().unwrap()]].concat());
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let add = |system: &str| start(&["add", "--role", "partner", "--system", system]);
    assert!(add("old").wait().unwrap().success());
    let systems: Vec<_> = (0..8).map(|i| format!("bank-{i}")).collect();
    let mut running: Vec<_> = systems.iter().map(|system| add(system)).collect();
    running.push(start(&["revoke", "old"]));
    for mut command in running {
        assert!(command.wait().unwrap().success());
    }
    let tokens: Vec<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(tokens.len(), 9, "{tokens:?}");
    assert!(
        tokens
            .iter()
            .any(|token| token["system"] == "old" && token["token"] == "")
    );
}

#[test]
fn lost_tokens_are_made_anew_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, data) = (at("etc.json"), at("data"));
    let (code, told, stderr) = run(&["token", "renew", "--file", &file, "--data-dir", &data]);
    assert!(code == 0 && told.contains(&file), "{told}{stderr}");
    assert!(!folder.path().join("data").exists(), "nothing else is made");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, _, stderr) = run(&["token", "renew", "--file", &file]);
    assert!(code != 0 && stderr.contains("exists; change a token in it"), "{stderr}");
    assert_eq!(run(&["token", "renew", "--data-dir", &data]).0, 0);
    assert_eq!(
        run(&["token", "list", "--file", &file]).1,
        run(&["token", "list", "--data-dir", &data]).1
    );
}

/// Adding one would be refused: the system has an entry.
#[test]
fn who_calls_with_a_revoked_token_is_told_to_rotate_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_str().unwrap().to_owned();
    assert_eq!(run(&["token", "renew", "--data-dir", &data]).0, 0);
    assert_eq!(run(&["token", "revoke", "police-CN-desk", "--data-dir", &data]).0, 0);
    let server = ["--server", "http://127.0.0.1:9", "--data-dir", &data];
    let (code, _, stderr) = run(&[&["case", "list", "--as", "police-CN"], &server[..]].concat());
    assert!(
        code == 2 && stderr.contains("`remit token rotate police-CN-desk`"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&["token", "add", "police-CN", "--data-dir", &data]);
    assert!(
        code == 2 && stderr.contains("`remit token rotate police-CN-desk`"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&[&["case", "list", "--as", "police-XX"], &server[..]].concat());
    assert!(code == 2 && stderr.contains("remit token add police-XX"), "{stderr}");
}

#[test]
fn every_command_refuses_variables_that_nothing_reads() {
    for args in [&["config", "show"][..], &["token", "list"], &["serve", "all"]] {
        let output = remit(args).env("REMIT_INTAKE_LISTN", "1").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && stderr.contains("did you mean REMIT_INTAKE_LISTEN?"),
            "{stderr}"
        );
    }
}

#[test]
fn a_start_and_a_check_refuse_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    file("tokens.json", "[]");
    let data = folder.path().join("data");
    for (yaml, expected) in [
        ("telemetry:\n  filter: lots\n", "`telemetry.filter`"),
        ("tokens_file: tokens.json\n", "chmod 600"),
        ("files:\n  rules: missing.yaml\n", "`files.rules`"),
    ] {
        let config = file("remit.yaml", yaml);
        let checked = run(&["config", "check", "--config", &config]);
        let started = run(&[
            "serve",
            "all",
            "--config",
            &config,
            "--data-dir",
            data.to_str().unwrap(),
        ]);
        for (code, _, stderr) in [checked, started] {
            assert!(code == 2 && stderr.contains(expected), "{yaml}: {code} {stderr}");
        }
    }
    let config = file("remit.yaml", "reflection: true\n");
    assert_eq!(run(&["config", "check", "--config", &config]).0, 0);
    assert_eq!(run(&["config", "check", "intake", "--config", &config]).0, 2);
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for (args, expected) in [
        (
            &["--help"][..],
            &[
                "Exit codes",
                "5  a verification failed",
                "remit demo --serve",
                "report",
                "case",
                "log",
            ][..],
        ),
        (&["serve", "--help"], &["all", "intake", "routing", "audit"]),
        (
            &["serve", "all", "--help"],
            &["--data-dir", "--intake-listen", "--set", "--config", "Examples:"],
        ),
        (
            &["serve", "intake", "--help"],
            &["tokens_file", "receipt_key_file", "evidence.folder", "Example:"],
        ),
        (
            &["report", "submit", "--help"],
            &["--request-id", "--validate-only", "SubmitReportRequest", "Examples:"],
        ),
        (&["report", "show", "--help"], &["reports/{id}", "Example:"]),
        (
            &["evidence", "upload", "--help"],
            &["--media-type", "--request-id", "24 hours", "Example:"],
        ),
        (&["evidence", "show", "--help"], &["evidence/{id}", "Example:"]),
        (
            &["evidence", "download", "--help"],
            &["--purpose", "--justification", "--out", "Example:"],
        ),
        (
            &["report", "receipt", "--help"],
            &["--key", "REMIT_LOG_KEY", "Example:"],
        ),
        (
            &["case", "list", "--help"],
            &["--state", "awaiting-designation", "Examples:"],
        ),
        (&["case", "show", "--help"], &["Example:"]),
        (
            &["route", "explain", "--help"],
            &["--facts", "--received-by", "Examples:"],
        ),
        (&["route", "activate", "--help"], &["--without-simulation", "Examples:"]),
        (&["case", "watch", "--help"], &["--resume", "--limit", "Examples:"]),
        (
            &["case", "acknowledge", "--help"],
            &["--etag", "--request-id", "Examples:"],
        ),
        (
            &["operator", "load", "--help"],
            &[
                "--replace",
                "--validate-only",
                "--format",
                "valid_from",
                "remove",
                "Examples:",
            ],
        ),
        (
            &["operator", "lookup", "--help"],
            &["--at", "Exits with 3", "Examples:"],
        ),
        (&["operator", "list", "--help"], &["--kind", "--limit", "Examples:"]),
        (&["log", "checkpoint", "--help"], &["REMIT_AUDIT", "Example:"]),
        (&["log", "verify", "--help"], &["--key", "Exits with 5", "Examples:"]),
        (&["log", "gaps", "--help"], &["Exits", "Examples:"]),
        (
            &["log", "unfreeze", "--help"],
            &["--reason", "--tolerate-hours", "Examples:"],
        ),
        (&["demo", "--help"], &["--serve", "--examples", "Examples:"]),
        (&["config", "show", "--help"], &["REMIT_INTAKE_LISTEN", "Examples:"]),
    ] {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
        for expected in expected {
            assert!(stdout.contains(expected), "{args:?} lacks {expected}:\n{stdout}");
        }
        // Text wider than the window is not read.
        assert!(stdout.lines().all(|line| line.chars().count() <= 130), "{stdout}");
    }
}

#[test]
fn mistakes_have_exit_codes_and_messages() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let misspelt = file("misspelt.json", "{\n  \"report\": {\n    \"categroy\": \"x\"\n  }\n}\n");
    let cut = file("cut.json", "{\"report\":\n");
    let zoneless = file(
        "zoneless.json",
        r#"{"report":{"loss":{"occurTime":"2026-11-01T10:00:00"}}}"#,
    );
    let config = file("remit.yaml", "limits:\n  concurrency: many\n");
    let nowhere = folder.path().join("nowhere").display().to_string();
    let key = "remit.local/log+643a7188+AX1UnEbxThBL6ANviPlYLdxTBoD4R4cyQmBYsMKg2Yb1";
    for (args, code, expected) in [
        (
            &["report", "submit", &misspelt][..],
            2,
            &["misspelt.json:3:14: ", "categroy"][..],
        ),
        (&["report", "submit", &cut], 2, &["cut.json:2:0: ", "EOF"]),
        (
            &["report", "submit", &zoneless],
            2,
            &["zoneless.json:1:", "report.loss.occurTime: "],
        ),
        (
            &["report", "submit", "no-such-file.json"],
            2,
            &["cannot read no-such-file.json"],
        ),
        (&["report", "submit"], 2, &["<FILE>"]),
        (
            &["serve", "all", "--config", &config],
            2,
            &["remit.yaml, line 2: `limits.concurrency`"],
        ),
        (&["serve", "all", "--set", "reflection"], 2, &["KEY=VALUE"]),
        (
            &["serve", "intake"],
            2,
            &[
                "REMIT_INTAKE_DATABASE",
                "`tokens_file`",
                "`routing.address`",
                "`audit.address`",
                "`receipt_key_file`",
                "`evidence.folder`",
            ],
        ),
        (&["serve", "audit"], 2, &["`log.key_file`", "`log.checkpoint_file`"]),
        (
            &["case", "list", "--data-dir", &nowhere],
            4,
            &["no instance is serving from the data directory", "remit serve all"],
        ),
        (
            &["case", "list", "--server", "http://127.0.0.1:1", "--data-dir", &nowhere],
            2,
            &["no token to call with"],
        ),
        (
            &["case", "list", "--server", "http://127.0.0.1:1", "--token", "x"],
            4,
            &["no server answers at http://127.0.0.1:1"],
        ),
        (
            &["case", "list", "--server", "127.0.0.1:1", "--token", "x"],
            2,
            &["not a server address"],
        ),
        (
            &[
                "log",
                "verify",
                "--server",
                "http://127.0.0.1:1",
                "--token",
                "x",
                "--data-dir",
                &nowhere,
            ],
            2,
            &["no log key"],
        ),
        (
            &[
                "log",
                "verify",
                "--server",
                "http://127.0.0.1:1",
                "--token",
                "x",
                "--key",
                key,
            ],
            4,
            &["cannot read the log from http://127.0.0.1:1: nothing listens at this address"],
        ),
        (&["demo", "--data-dir", &nowhere], 4, &["no instance is serving from"]),
    ] {
        let (found, stdout, stderr) = run(args);
        assert_eq!((found, stdout.as_str()), (code, ""), "{args:?}\n{stderr}");
        for expected in expected {
            assert!(stderr.contains(expected), "{args:?} lacks {expected}:\n{stderr}");
        }
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
}

#[test]
fn the_effective_configuration_is_shown() {
    let output = remit(&["config", "show", "--set", "limits.concurrency=7"])
        .env("REMIT_ROUTING_LISTEN", "127.0.0.1:9")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "concurrency: 7",
        "listen: 127.0.0.1:9",
        "listen: 127.0.0.1:7301",
        "data_dir: data",
    ] {
        assert!(stdout.contains(expected), "{stdout}");
    }
}
