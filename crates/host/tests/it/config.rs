//! The configuration and its faults.

use std::os::unix::fs::PermissionsExt;

use host::{
    config::{Config, DatabaseUrl, Override, Service, check_environment, keys, variable},
    instance::Instance,
    running::Options,
};

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load(yaml: &str, env: &[(&str, &str)], flags: Vec<Override>) -> anyhow::Result<Config> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("remit.yaml");
    std::fs::write(&file, yaml)?;
    Config::load(Some(&file), environment(env), flags)
}

#[test]
fn defaults_then_file_then_environment_then_flags() {
    let listen = |config: &Config| config.listen(Service::Intake).to_string();
    let yaml = "intake:\n  listen: 127.0.0.1:1\n";
    assert_eq!(listen(&load("", &[], Vec::new()).unwrap()), "127.0.0.1:7301");
    assert_eq!(listen(&load("# nothing\n", &[], Vec::new()).unwrap()), "127.0.0.1:7301");
    assert_eq!(listen(&load(yaml, &[], Vec::new()).unwrap()), "127.0.0.1:1");
    let env = [("REMIT_INTAKE_LISTEN", "127.0.0.1:2")];
    assert_eq!(listen(&load(yaml, &env, Vec::new()).unwrap()), "127.0.0.1:2");
    let flag = vec![Override::flag("--intake-listen", "intake.listen", &"127.0.0.1:3")];
    assert_eq!(listen(&load(yaml, &env, flag).unwrap()), "127.0.0.1:3");
}

#[test]
fn the_checkpoint_interval_is_limited() {
    let load = |ms: &str| load("", &[("REMIT_LOG_CHECKPOINT_INTERVAL_MS", ms)], Vec::new());
    assert!(load("800").is_ok());
    for ms in ["801", "1000", "0"] {
        let error = load(ms).unwrap_err().to_string();
        assert!(error.contains("`log.checkpoint_interval_ms` is"), "{error}");
    }
}

#[test]
fn a_mistake_in_the_file_is_named_by_key_and_line() {
    for (yaml, expected) in [
        (
            "reflection: true\nintake:\n  lisen: 127.0.0.1:1\n",
            "remit.yaml, line 3: `intake.lisen`: this key does not exist; did you mean `intake.listen`?",
        ),
        (
            "audti:\n  listen: 127.0.0.1:1\n",
            "remit.yaml, line 1: `audti`: this key does not exist",
        ),
        (
            "limits:\n  concurrency: many\n",
            "remit.yaml, line 2: `limits.concurrency`: invalid type: string \"many\"",
        ),
        (
            "intake:\n  listen: localhost\n",
            "remit.yaml, line 2: `intake.listen`: invalid socket address syntax",
        ),
        (
            "intake:\n  address: intake:7301\n",
            "remit.yaml, line 2: `intake.address`: not a server address",
        ),
        (
            "audit:\n  database: mysql://x\n",
            "remit.yaml, line 2: `audit.database`: not a database URL",
        ),
        (
            "limits: 7\n",
            "remit.yaml, line 1: `limits`: it must be a section with keys",
        ),
        ("limits:\n  concurrency: 0\n", "`limits.concurrency` is 0"),
        ("telemetry:\n  fromat: json\n", "remit.yaml, line 2: `telemetry.fromat`"),
        // Two mistakes: line and key must belong together.
        (
            "reflection: maybe\naudit:\n  listen: x\n",
            "remit.yaml, line 1: `reflection`",
        ),
        // Two of a kind in one section, and keys that other keys contain.
        (
            "intake:\n  listen: 127.0.0.1:1\n  database: mysql://x\nrouting:\n  listn: 127.0.0.1:1\n",
            "remit.yaml, line 3: `intake.database`: not a database URL",
        ),
        (
            "# one\nintake: {listen: 127.0.0.1:1,\n  listn: x}\n",
            "remit.yaml, line 3: `intake.listn`: this key does not exist",
        ),
        ("a: [1\n", "remit.yaml, line "),
    ] {
        let error = format!("{:#}", load(yaml, &[], Vec::new()).unwrap_err());
        assert!(error.contains(expected), "{yaml}\n{error}");
    }
}

#[test]
fn a_mistake_elsewhere_is_named_by_its_variable_or_flag() {
    let error = load("", &[("REMIT_LIMITS_CONCURRENCY", "many")], Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("environment variable REMIT_LIMITS_CONCURRENCY: `limits.concurrency`: invalid type"),
        "{error}"
    );
    let flags = vec![Override::flag("--set", "limits.concurency", &7)];
    let error = load("", &[], flags).unwrap_err().to_string();
    assert!(
        error.starts_with("flag --set: the key `limits.concurency` does not exist"),
        "{error}"
    );
}

#[test]
fn values_are_parsed_by_the_type_of_their_key() {
    let env = [
        ("REMIT_REPLICA", "17"),
        ("REMIT_REFLECTION", "true"),
        ("REMIT_LIMITS_CONCURRENCY", "17"),
        ("REMIT_TELEMETRY_ENDPOINT", ""),
        ("REMIT_INTAKE_DATABASE", "postgres://remit@db/intake"),
        // Other variables: the client's, and an orchestrator's.
        ("REMIT_INTAKE", "http://127.0.0.1:1"),
        ("REMIT_INTAKE_PORT", "tcp://10.0.0.1:7301"),
    ];
    let config = load("", &env, Vec::new()).unwrap();
    assert_eq!(config.replica.as_deref(), Some("17"));
    assert!(config.reflection);
    assert_eq!(config.limits.concurrency, 17);
    assert_eq!(config.telemetry.endpoint.as_deref(), Some(""));
    assert_eq!(config.intake.database.unwrap().expose(), "postgres://remit@db/intake");
}

#[test]
fn every_key_has_a_variable_of_its_own() {
    let mut variables: Vec<_> = keys().iter().map(|key| variable(key)).collect();
    let all = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), all);
    // Variables of client commands have other meanings.
    for client in [
        "REMIT_INTAKE",
        "REMIT_ROUTING",
        "REMIT_AUDIT",
        "REMIT_TOKEN",
        "REMIT_TOKEN_FILE",
        "REMIT_LOG_KEY",
    ] {
        assert!(!variables.iter().any(|variable| variable == client), "{client}");
    }
}

#[test]
fn passwords_come_from_files_and_are_never_printed() {
    for url in [
        "postgres://remit:hunter2@db/intake",
        "postgres://db/intake?user=remit&password=hunter2&sslmode=require",
    ] {
        let error = load(&format!("intake:\n  database: {url}\n"), &[], Vec::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2: `intake.database`: passwords are not allowed here"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, format!("{url}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let yaml = format!("intake:\n  database_file: {}\n", file.display());
        let config = load(&yaml, &[], Vec::new()).unwrap();
        let database = config.database(Service::Intake).unwrap().unwrap();
        assert_eq!(database.expose(), url);
        assert!(!format!("{database} {database:?}").contains("hunter2"), "{database}");

        let mut shown = Config::default();
        shown.intake.database = Some(DatabaseUrl::secret(url).unwrap());
        assert!(!shown.to_yaml().unwrap().contains("hunter2"));
    }
}

#[test]
fn the_printed_configuration_round_trips() {
    let env = [
        ("REMIT_AUDIT_DATABASE", "sqlite:///var/lib/remit/audit.db"),
        ("REMIT_INTAKE_ADDRESS", "http://intake:7301"),
    ];
    for env in [
        &env[..],
        &[],
        &[
            ("REMIT_FILES_RULES", "ranked"),
            ("REMIT_ACCEPT_TIME_UP_TO", "2026-11-28T09:00:00Z"),
        ],
    ] {
        let config = load("", env, Vec::new()).unwrap();
        let shown = config.to_yaml().unwrap();
        let again = Config::parse("shown", &shown).unwrap();
        assert_eq!(again.to_yaml().unwrap(), shown);
        assert_eq!(again.audit.database, config.audit.database);
        assert_eq!(again.accept_time_up_to, config.accept_time_up_to);
        assert!(!shown.contains("null"), "{shown}");
        // Keys that are not set can be found, too.
        for key in keys() {
            let name = key.rsplit('.').next().unwrap();
            assert!(shown.contains(&format!("{name}:")), "{key}:\n{shown}");
        }
    }
}

#[test]
fn a_key_without_a_value_is_refused_with_line_and_column() {
    for (yaml, expected) in [
        (
            "intake:\n  listen:\n",
            "remit.yaml, line 2, column 3: `listen` has no value",
        ),
        ("intake:\n  listen: ~\n", "line 2, column 3: `listen` has no value"),
        ("reflection: null\n", "line 1, column 1: `reflection` has no value"),
        ("intake:\n", "line 1, column 1: `intake` has no value"),
        ("telemetry:\n  endpoint:\n", "line 2, column 3: `endpoint` has no value"),
        (
            "data_dir:\nlog:\n  origin:\n",
            "line 1, column 1: `data_dir` has no value; write one, or remove the key; line 3, column 3: `origin`",
        ),
        // Where nothing else would be wrong either.
        ("tokens_file:\nreflection: true\n", "line 1, column 1: `tokens_file`"),
    ] {
        let error = format!("{:#}", load(yaml, &[], Vec::new()).unwrap_err());
        assert!(error.contains(expected), "{yaml}\n{error}");
    }
    // A file of comments is one without keys; quotes make a value.
    for good in ["# nothing\n", "", "telemetry:\n  endpoint: ''\n"] {
        load(good, &[], Vec::new()).unwrap();
    }
}

#[test]
fn a_time_has_one_meaning_whatever_its_zone() {
    let accepted = |text: &str| load(&format!("accept_time_up_to: {text}\n"), &[], Vec::new());
    let utc = accepted("2026-11-28T09:00:00Z").unwrap().accept_time_up_to;
    assert!(utc.is_some());
    for same in ["'2026-11-28T09:00:00Z'", "2026-11-28T17:00:00+08:00"] {
        assert_eq!(accepted(same).unwrap().accept_time_up_to, utc, "{same}");
    }
    for bad in ["2026-11-28", "2026-11-28T09:00:00", "tomorrow", "1795305600", "true"] {
        let error = format!("{:#}", accepted(bad).unwrap_err());
        assert!(error.contains("line 1: `accept_time_up_to`"), "{bad}: {error}");
    }
}

fn strays(pairs: &[(&str, &str)]) -> Result<(), String> {
    let environment = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let commands = ["REMIT_TOKEN", "REMIT_INTAKE"].map(str::to_owned);
    check_environment(environment, &commands).map_err(|error| error.to_string())
}

#[test]
fn a_variable_that_nothing_reads_is_refused_with_what_was_meant() {
    for (name, meant) in [
        ("REMIT_INTAKE_LISTN", "; did you mean REMIT_INTAKE_LISTEN?"),
        ("REMIT_TELEMETRY_FILTR", "; did you mean REMIT_TELEMETRY_FILTER?"),
        ("REMIT_TOKENN", "; did you mean REMIT_TOKEN?"),
        ("REMIT_ZZZ", ""),
        // Near what an orchestrator makes, and not it.
        ("REMIT_INTAKE_PORT", ""),
        ("REMIT_AUDIT_PORTS", ""),
        ("REMIT_AUDIT_PORT_X_TCP", ""),
    ] {
        let error = strays(&[("PATH", "/bin"), (name, "1")]).unwrap_err();
        let expected = format!("nothing reads the environment variable {name}{meant}");
        assert!(error.starts_with(&expected), "{error}");
    }
    let both = strays(&[("REMIT_A_X", "1"), ("REMIT_B_X", "1")]).unwrap_err();
    assert!(both.contains("REMIT_A_X") && both.contains("REMIT_B_X"), "{both}");
    for good in [
        ("REMIT_INTAKE_LISTEN", "127.0.0.1:1"),
        ("REMIT_TOKEN", "x"),
        ("REMITTANCE", "x"),
        ("REMIT_TELEMETRY_ENDPOINT", ""),
        ("REMIT_INTAKE_SERVICE_HOST", "10.0.0.1"),
        ("REMIT_INTAKE_SERVICE_PORT", "7301"),
        ("REMIT_INTAKE_SERVICE_PORT_GRPC", "7301"),
        ("REMIT_INTAKE_PORT", "tcp://10.0.0.1:7301"),
        ("REMIT_INTAKE_PORT_7301_TCP", "tcp://10.0.0.1:7301"),
        ("REMIT_INTAKE_PORT_7301_TCP_ADDR", "10.0.0.1"),
    ] {
        strays(&[good]).unwrap();
    }
}

#[test]
fn a_variable_that_cannot_be_read_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let error = strays(&[("REMIT_INTAKE_LISTEN", "")]).unwrap_err();
    assert!(error.contains("REMIT_INTAKE_LISTEN is empty"), "{error}");
    let bytes = std::ffi::OsString::from_vec(vec![0xff]);
    let error = check_environment([("REMIT_REPLICA".into(), bytes)], &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("REMIT_REPLICA is not UTF-8"), "{error}");
}

#[test]
fn what_a_start_would_refuse_is_refused_when_it_is_read() {
    for (yaml, expected) in [
        ("telemetry:\n  filter: lots\n", "`telemetry.filter`: `lots` is no level"),
        ("tokens_file: ''\n", "`tokens_file` is empty"),
        ("reflection: true\nreflection: false\n", "duplicate"),
    ] {
        let error = format!("{:#}", load(yaml, &[], Vec::new()).unwrap_err());
        assert!(error.contains(expected), "{yaml}\n{error}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_key() {
    let config = load("\u{feff}reflection: true\n", &[], Vec::new()).unwrap();
    assert!(config.reflection);
}

#[test]
fn paths_in_a_file_start_at_its_folder_and_others_at_the_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("remit.yaml");
    let is_path =
        |key: &str| key.ends_with("_file") || key.ends_with("folder") || key.starts_with("files.") || key == "data_dir";
    let expected: Vec<_> = keys().into_iter().filter(|key| is_path(key)).collect();
    assert!(expected.len() > 14, "{expected:?}");
    for key in &expected {
        let (yaml, name) = match key.split_once('.') {
            // Of which some need others.
            Some(("tls", name)) => {
                let all = ["certificate_file", "key_file", "ca_file", "client_ca_file"];
                let all: String = all.iter().map(|name| format!("  {name}: some/path\n")).collect();
                (format!("tls:\n{all}"), name)
            }
            Some((section, name)) => (format!("{section}:\n  {name}: some/path\n"), name),
            None => (format!("{key}: some/path\n"), key.as_str()),
        };
        std::fs::write(&file, yaml).unwrap();
        let shown = Config::load(Some(&file), [], Vec::new()).unwrap().to_yaml().unwrap();
        let wanted = format!("{name}: {}", folder.path().join("some/path").display());
        assert!(shown.contains(&wanted), "{key}:\n{shown}");
        // The environment's are the working directory's.
        let environment = [(variable(key), "some/path".to_owned())];
        let shown = Config::load(Some(&file), environment, Vec::new())
            .unwrap()
            .to_yaml()
            .unwrap();
        assert!(shown.contains(&format!("{name}: some/path")), "{key}:\n{shown}");
    }
    for (yaml, wanted) in [
        ("reflection: true\n", "data_dir: data\n".to_owned()),
        (
            "files:\n  rules: first-receiver\n",
            "rules: first-receiver\n".to_owned(),
        ),
        (
            "intake:\n  database: sqlite://a%20b.db?mode=rw\n",
            format!("database: sqlite://{}/a b.db?mode=rw\n", folder.path().display()),
        ),
        (
            "intake:\n  database: sqlite:///a.db\n",
            "database: sqlite:///a.db\n".to_owned(),
        ),
        (
            "intake:\n  database: postgres://h/a\n",
            "database: postgres://h/a\n".to_owned(),
        ),
    ] {
        std::fs::write(&file, yaml).unwrap();
        let shown = Config::load(Some(&file), [], Vec::new()).unwrap().to_yaml().unwrap();
        assert!(shown.contains(&wanted), "{yaml}:\n{shown}");
    }
}

/// What `remit config check` says, and what a start says.
async fn both(config: &Config) -> (Result<(), String>, Result<(), String>) {
    let check = host::check(None, config).await.map_err(|error| format!("{error:#}"));
    let started = match Instance::start(Options::new(config.clone())).await {
        Ok(instance) => {
            instance.stop().await;
            Ok(())
        }
        Err(error) => Err(format!("{error:#}")),
    };
    (check, started)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_start_judge_alike() {
    let folder = tempfile::tempdir().unwrap();
    let private = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let good = || {
        let mut config = crate::instance::config(&folder.path().join("data"));
        config.log.origin = "example.org/log".to_owned();
        config
    };
    let policy = private("policy", "witness broken\n");
    let token = |system: &str| {
        format!(r#"{{"token":"{system}-token-of-32-characters-000","system":"{system}","role":"service"}}"#)
    };
    let tokens = |systems: &[&str]| {
        format!(
            "[{}]",
            systems.iter().map(|system| token(system)).collect::<Vec<_>>().join(",")
        )
    };
    type Change<'a> = Box<dyn Fn(&mut Config) + 'a>;
    let cases: [(&str, &str, Change<'_>); 6] = [
        ("", "", Box::new(|_| {})),
        (
            "the witness policy",
            "policy",
            Box::new(|config| config.log.witness_policy_file = Some(policy.clone())),
        ),
        (
            "the log key",
            "log.key",
            Box::new(|config| config.log.key_file = Some(private("log.key", "short"))),
        ),
        (
            "the log's name",
            "two words",
            Box::new(|config| config.log.origin = "two words".to_owned()),
        ),
        (
            "own tokens",
            "which audit needs",
            Box::new(|config| config.tokens_file = Some(private("tokens", &tokens(&["intake", "routing"])))),
        ),
        (
            "complete own tokens",
            "",
            Box::new(|config| config.tokens_file = Some(private("tokens", &tokens(&["intake", "routing", "audit"])))),
        ),
    ];
    for (what, expected, change) in cases {
        let mut config = good();
        change(&mut config);
        let (check, start) = both(&config).await;
        match expected {
            "" => assert_eq!((&check, &start), (&Ok(()), &Ok(())), "{what}"),
            expected => {
                let refusal = check.unwrap_err();
                assert!(refusal.contains(expected), "{what}: {refusal}");
                assert_eq!(start.unwrap_err(), refusal, "{what}");
            }
        }
    }
    // The certificates that a policy's witnesses are trusted by.
    let mut config = good();
    let vkey = "witness w1 witness.example/w+6f2b8f6c+BDCdu8HGhhnfg8lOOMLw9jRsXiIBtAZ5SxlKZgnrj4tX https://w.example\nquorum none\n";
    config.log.witness_policy_file = Some(private("policy", vkey));
    config.log.ca_file = Some(folder.path().join("missing.pem"));
    let (check, start) = both(&config).await;
    assert!(check.is_err() && check == start, "{check:?} {start:?}");
}

/// What goes in the clear beyond this machine is said, or not served.
#[tokio::test]
async fn plaintext_beyond_the_loopback_is_refused_unless_something_else_encrypts() {
    let all = |listen: &str, more: &str| {
        let yaml = format!("routing:\n  listen: \"{listen}\"\n{more}");
        load(&yaml, &[], Vec::new()).unwrap().refuse_plaintext(&Service::ALL)
    };
    for listen in [
        "0.0.0.0:7302",
        "[::]:7302",
        "192.0.2.7:7302",
        "[2001:db8::1]:7302",
        "[::ffff:192.0.2.7]:7302",
    ] {
        let refusal = all(listen, "").unwrap_err().to_string();
        for part in [
            "`routing.listen`",
            "`tls.certificate_file`",
            "127.0.0.1",
            "`tls.encrypted_elsewhere: true`",
        ] {
            assert!(refusal.contains(part), "{listen}: {refusal}");
        }
        all(listen, "tls:\n  encrypted_elsewhere: true\n").unwrap();
        all(listen, "tls:\n  certificate_file: a.pem\n  key_file: a.key\n").unwrap();
    }
    for listen in [
        "127.0.0.1:7302",
        "127.9.9.9:7302",
        "[::1]:7302",
        "[::ffff:127.0.0.1]:7302",
    ] {
        all(listen, "").unwrap();
    }
    // Of what is not served, nothing is asked.
    let config = load("routing:\n  listen: \"0.0.0.0:7302\"\n", &[], Vec::new()).unwrap();
    config.refuse_plaintext(&[Service::Intake, Service::Audit]).unwrap();
    // Nor are peers called so.
    for (address, is_here) in [
        ("http://audit:7303", false),
        ("http://192.0.2.7:7303", false),
        ("http://[2001:db8::1]:7303", false),
        ("http://localhost.example:7303", false),
        ("http://127.0.0.1:7303", true),
        ("http://localhost:7303", true),
        ("http://[::1]:7303", true),
        ("https://audit:7303", true),
    ] {
        let yaml = format!("audit:\n  address: \"{address}\"\ntls:\n  ca_file: ca.pem\n");
        let config = load(&yaml, &[], Vec::new()).unwrap();
        let called = config.refuse_plaintext(&[Service::Intake]);
        assert_eq!(called.is_ok(), is_here, "{address}");
        if let Err(refusal) = called {
            assert!(refusal.to_string().contains("`audit.address`"), "{refusal}");
        }
        // Its own address, or within one process.
        config.refuse_plaintext(&[Service::Audit]).unwrap();
        config.refuse_plaintext(&Service::ALL).unwrap();
        let elsewhere = format!("{yaml}  encrypted_elsewhere: true\n");
        let config = load(&elsewhere, &[], Vec::new()).unwrap();
        config.refuse_plaintext(&[Service::Intake]).unwrap();
    }
    // By the check, and by the start.
    let (check, start) = (
        host::check(Some(Service::Routing), &config).await,
        host::check(None, &config).await,
    );
    assert!(check.is_err() && start.unwrap_err().to_string().contains("`routing.listen`"));
}

#[test]
fn settings_of_tls_fit_together() {
    for (yaml, expected) in [
        ("tls:\n  certificate_file: a.pem\n", "`tls.key_file` is not"),
        ("tls:\n  key_file: a.key\n", "`tls.certificate_file` is not"),
        ("tls:\n  client_ca_file: ca.pem\n", "under TLS only"),
        ("audit:\n  address: https://audit:7303\n", "`tls.ca_file`"),
        ("audit:\n  address: https://\n", "`audit.address`"),
        ("audit:\n  server_name: not a name\n", "`audit.server_name`"),
        ("tls:\n  ca_file: \"\"\n", "`tls.ca_file` is empty"),
        ("tls:\n  encrypted_elsewhere: perhaps\n", "`tls.encrypted_elsewhere`"),
    ] {
        let error = load(yaml, &[], Vec::new()).unwrap_err().to_string();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
    load(
        "tls:\n  ca_file: ca.pem\naudit:\n  address: https://audit:7303\n  server_name: audit.remit\n",
        &[],
        Vec::new(),
    )
    .unwrap();
}
