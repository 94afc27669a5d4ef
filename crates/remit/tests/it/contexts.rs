//! Contexts: several clusters by name, and what goes before what.

use std::{path::Path, process::Command};

use crate::{cli::remit, process::Server};

/// A user with a home of their own.
struct User<'f> {
    home: &'f Path,
}

impl User<'_> {
    fn remit(&self, args: &[&str]) -> Command {
        let mut command = remit(args);
        command
            .env("HOME", self.home)
            .env_remove("XDG_CONFIG_HOME")
            .current_dir(self.home);
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.remit(args).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    }

    fn ok(&self, args: &[&str]) -> String {
        let (code, text) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {text}");
        text
    }
}

#[test]
fn contexts_are_made_used_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let user = User { home: folder.path() };
    assert!(user.ok(&["context", "list"]).contains("no contexts"));
    assert_eq!(user.run(&["context", "show"]).0, 3);
    assert_eq!(user.run(&["context", "set", "a"]).0, 2, "nothing to set");
    for wrong in [["--intake", "nowhere"], ["--utc-offset", "8"], ["--routing", ""]] {
        let (code, text) = user.run(&[&["context", "set", "a"][..], &wrong].concat());
        assert_eq!(code, 2, "{wrong:?}: {text}");
    }
    assert_eq!(user.run(&["context", "set", "a b", "--data-dir", "x"]).0, 2);

    user.ok(&[
        "context",
        "set",
        "prod",
        "--routing",
        "http://127.0.0.1:9",
        "--utc-offset",
        "+05:30",
    ]);
    user.ok(&["context", "set", "prod", "--token-file", "prod.token"]);
    user.ok(&["context", "set", "test", "--data-dir", "test-data"]);
    let shown = user.ok(&["context", "show", "prod", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    // What is set later leaves the rest, and a context is used from anywhere.
    let expected = serde_json::json!({ "name": "prod", "context": {
        "routing": "http://127.0.0.1:9", "utcOffset": "+05:30", "tokenFile": folder.path().join("prod.token"),
    }});
    assert_eq!(shown, expected);
    let shown = ["--client-cert", "own.pem", "--client-key", "own.key"];
    assert_eq!(
        user.run(&[&["context", "set", "prod"][..], &shown[..2]].concat()).0,
        2,
        "half of it"
    );
    user.ok(&[&["context", "set", "prod", "--encrypted-elsewhere", "true"][..], &shown].concat());
    let all = user.ok(&["context", "show", "prod"]);
    assert!(all.contains("own.key") && all.contains("encrypted elsewhere"), "{all}");
    user.ok(&["context", "set", "prod", "--encrypted-elsewhere", "false"]);
    let all = user.ok(&["context", "show", "prod"]);
    assert!(all.contains("own.pem") && !all.contains("encrypted elsewhere"), "{all}");
    let listed = user.ok(&["context", "use", "prod"]);
    assert!(listed.contains("* prod") && listed.contains("  test"), "{listed}");
    let (code, text) = user.run(&["context", "use", "prd"]);
    assert!(code == 2 && text.contains("did you mean `prod`?"), "{text}");
    user.ok(&["context", "remove", "prod"]);
    let listed = user.ok(&["context", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(
        listed.get("current").is_none() && listed["contexts"].get("prod").is_none(),
        "{listed}"
    );

    // What cannot be read is not taken for nothing.
    std::fs::write(folder.path().join(".config/remit/contexts.json"), "{").unwrap();
    for args in [&["context", "list"][..], &["case", "list"], &["log", "checkpoint"]] {
        let (code, text) = user.run(args);
        assert!(code == 2 && text.contains("contexts.json"), "{args:?}: {text}");
    }
    // A named data directory is an instance of its own.
    assert_eq!(user.run(&["case", "list", "--data-dir", "nowhere"]).0, 4);
}

#[test]
fn flags_go_before_variables_variables_before_contexts_and_those_before_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("there"));
    let user = User { home: folder.path() };
    let there = folder.path().join("there");
    let endpoints = std::fs::read_to_string(there.join("endpoints.json")).unwrap();
    let endpoints: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    let routing = endpoints["routing"].as_str().unwrap();
    let tokens = std::fs::read_to_string(there.join("tokens.json")).unwrap();
    let tokens: serde_json::Value = serde_json::from_str(&tokens).unwrap();
    let operator = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["system"] == "operator")
        .unwrap();
    let token = folder.path().join("operator.token");
    std::fs::write(&token, operator["token"].as_str().unwrap()).unwrap();
    let token = token.to_str().unwrap();

    let versions = ["directory", "versions"];
    let (code, text) = user.run(&versions);
    assert!(
        code == 4 && text.contains("the data directory data"),
        "the default, `data`: {text}"
    );
    user.ok(&[
        "context",
        "set",
        "good",
        "--routing",
        routing,
        "--token-file",
        token,
        "--utc-offset",
        "-03:30",
    ]);
    user.ok(&[
        "context",
        "set",
        "bad",
        "--routing",
        "http://127.0.0.1:9",
        "--token-file",
        token,
    ]);
    user.ok(&["context", "set", "local", "--data-dir", there.to_str().unwrap()]);
    user.ok(&["context", "use", "good"]);
    assert!(
        user.ok(&versions).contains("-03:30"),
        "the context in use, and its zone"
    );
    assert_eq!(
        user.run(&[&versions[..], &["--context", "bad"]].concat()).0,
        4,
        "a flag names another"
    );
    let bad = |command: &mut Command| command.env("REMIT_CONTEXT", "bad").output().unwrap().status.code();
    assert_eq!(bad(&mut user.remit(&versions)), Some(4), "a variable does, too");
    let named = [&versions[..], &["--context", "good"]].concat();
    assert_eq!(bad(&mut user.remit(&named)), Some(0), "a flag goes before the variable");
    let server_flag = [&versions[..], &["--server", routing]].concat();
    assert_eq!(
        bad(&mut user.remit(&server_flag)),
        Some(0),
        "an address goes before the context's"
    );
    let variable = user
        .remit(&versions)
        .env("REMIT_ROUTING", "http://127.0.0.1:9")
        .output()
        .unwrap();
    assert_eq!(variable.status.code(), Some(4), "also from a variable");
    assert!(
        user.ok(&[&versions[..], &["--context", "local"]].concat())
            .contains("+08:00")
    );
    // The two ways to name a place: a flag of one goes before a variable of the other.
    for (flag, variable, expected) in [
        (["--context", "good"], ("REMIT_DATA_DIR", "nowhere"), 0),
        (["--context", "bad"], ("REMIT_DATA_DIR", there.to_str().unwrap()), 4),
        (["--data-dir", there.to_str().unwrap()], ("REMIT_CONTEXT", "bad"), 0),
        (["--data-dir", "nowhere"], ("REMIT_CONTEXT", "good"), 4),
    ] {
        // Before the subcommand or after it, and with the zone of the place that counts.
        for args in [
            [&versions[..1], &flag[..], &versions[1..]].concat(),
            [&versions[..], &flag[..]].concat(),
        ] {
            let output = user.remit(&args).env(variable.0, variable.1).output().unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(expected), "{args:?} {variable:?}: {text}");
            let zone = if flag[0] == "--context" { "-03:30" } else { "+08:00" };
            assert!(expected != 0 || text.contains(zone), "{args:?}: {text}");
        }
    }
    // And of the three ways to name a caller.
    let (code, text) = user.run(
        &[
            &versions[..],
            &["--as", "police-440000", "--data-dir", there.to_str().unwrap()],
        ]
        .concat(),
    );
    assert_eq!(code, 1, "that agency is refused: {text}");
    let wrong = folder.path().join("wrong.token");
    std::fs::write(&wrong, "0123456789abcdefghij-wrong").unwrap();
    let (wrong, right) = (wrong.to_str().unwrap(), operator["token"].as_str().unwrap());
    for (flag, variable, expected) in [
        (
            &["--as", "operator"][..],
            ("REMIT_TOKEN", "0123456789abcdefghij-wrong"),
            0,
        ),
        (&["--as", "operator"], ("REMIT_TOKEN_FILE", wrong), 0),
        (&["--token", right], ("REMIT_TOKEN_FILE", wrong), 0),
        (
            &["--token-file", token],
            ("REMIT_TOKEN", "0123456789abcdefghij-wrong"),
            0,
        ),
        (&["--token-file", wrong], ("REMIT_TOKEN", right), 1),
        // Nothing of it by a flag: the variable goes before the context's, and before the default.
        (&[], ("REMIT_TOKEN_FILE", wrong), 1),
        (&[], ("REMIT_TOKEN", "0123456789abcdefghij-wrong"), 1),
    ] {
        for place in [["--context", "good"], ["--data-dir", there.to_str().unwrap()]] {
            // A context without a data directory has no other's tokens.
            if flag.first() == Some(&"--as") && place[0] == "--context" {
                continue;
            }
            let args = [&versions[..], flag, &place].concat();
            let output = user.remit(&args).env(variable.0, variable.1).output().unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(expected), "{args:?} {variable:?}: {text}");
        }
    }
    // Two of one rank: nobody knows which is meant.
    for (args, variables) in [
        (&["--as", "operator", "--token", right][..], &[][..]),
        (&["--token", right, "--token-file", token], &[]),
        (&["--context", "good", "--data-dir", "x"], &[]),
        (&[], &[("REMIT_TOKEN", right), ("REMIT_TOKEN_FILE", token)][..]),
        (&[], &[("REMIT_CONTEXT", "good"), ("REMIT_DATA_DIR", "x")]),
    ] {
        let args = [&versions[..], args].concat();
        let output = user.remit(&args).envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && text.contains("in two ways"),
            "{args:?}: {text}"
        );
    }
    // Of a receipt's key.
    let receipt = [
        "report",
        "receipt",
        "7Q2M-7Q2M-7Q2M-7Q2M",
        "--key-file",
        "nowhere",
        "--context",
        "good",
    ];
    let output = user.remit(&receipt).env("REMIT_LOG_KEY", "k").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nowhere: "), "{text}");
    // Of a configuration: a context is for those who name none.
    let config = folder.path().join("remit.yaml");
    std::fs::write(&config, "data_dir: configured\n").unwrap();
    let config = config.to_str().unwrap();
    user.ok(&["context", "set", "here", "--data-dir", "of-context"]);
    user.ok(&["context", "use", "here"]);
    for (args, variables, expected) in [
        (&[][..], &[][..], "of-context"),
        (&["--config", config], &[], "configured"),
        (&["--config", config], &[("REMIT_CONTEXT", "here")], "configured"),
        (&[], &[("REMIT_CONFIG", config)], "configured"),
        (&["--context", "here"], &[("REMIT_CONFIG", config)], "of-context"),
        (
            &["--context", "here"],
            &[("REMIT_DATA_DIR", "of-variable")],
            "of-context",
        ),
        (&[], &[("REMIT_DATA_DIR", "of-variable")], "of-variable"),
        (&["--set", "data_dir=set"], &[("REMIT_DATA_DIR", "of-variable")], "set"),
        (
            &["--data-dir", "of-flag"],
            &[("REMIT_DATA_DIR", "of-variable")],
            "of-flag",
        ),
        (&["--config", config, "--data-dir", "of-flag"], &[], "of-flag"),
        (
            &["--config", config],
            &[("REMIT_DATA_DIR", "of-variable")],
            "of-variable",
        ),
    ] {
        let args = [&["evidence", "verify"][..], args].concat();
        let output = user.remit(&args).envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains(&format!("{expected}/evidence is no folder")),
            "{args:?} {variables:?}: {text}"
        );
    }
    let both = ["evidence", "verify", "--config", config, "--context", "here"];
    assert_eq!(user.run(&both).0, 2);
    let migrate = ["migrate", "--check", "--set", "data_dir=set"];
    let output = user
        .remit(&migrate)
        .env("REMIT_DATA_DIR", "of-variable")
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains("of-variable"), "{text}");
    user.ok(&["context", "use", "good"]);
    // Who calls: the context's token, unless somebody is named.
    let (code, text) = user.run(&[&versions[..], &["--as", "police-440000"]].concat());
    assert!(
        code == 2 && text.contains("the context in use does not say this"),
        "nothing of another instance: {text}"
    );
    let (code, _) = user.run(&[&versions[..], &["--context", "local", "--as", "police-440000"]].concat());
    assert_eq!(code, 1, "that agency is refused");
    let both = [&versions[..], &["--context", "good", "--data-dir", "x"]].concat();
    assert_eq!(user.run(&both).0, 2, "one or the other");
    user.ok(&["context", "use", "--none"]);
    assert_eq!(user.run(&versions).0, 4);
    server.stop();
}
