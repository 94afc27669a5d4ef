//! The configuration and its faults.

use host::config::{Config, DatabaseUrl, Override, Service, keys, unknown_variables, variable};

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
            "remit.yaml, line 3: `intake.lisen`: this key does not exist",
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
    let config = load("", &env, Vec::new()).unwrap();
    let again = Config::parse("shown", &config.to_yaml().unwrap()).unwrap();
    assert_eq!(again.to_yaml().unwrap(), config.to_yaml().unwrap());
    assert_eq!(again.audit.database, config.audit.database);
}

#[test]
fn misspelt_variables_are_reported() {
    let names = [
        "REMIT_INTAKE_LISEN",
        "REMIT_INTAKE_LISTEN",
        "REMIT_INTAKE_SERVICE_HOST",
        "REMIT_TOKEN",
        "PATH",
    ];
    assert_eq!(unknown_variables(names.map(str::to_owned)), ["REMIT_INTAKE_LISEN"]);
}
