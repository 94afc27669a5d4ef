//! `remit` under TLS: certificates made by it, all three services, and the commands that call them.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    cli::remit,
    process::{Server, example},
};

fn ran(args: &[&str]) -> (i32, String) {
    let output = remit(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn set(certs: &Path, name: &str) -> Vec<String> {
    [
        ("certificate_file", format!("{name}.pem")),
        ("key_file", format!("{name}.key")),
        ("ca_file", "ca.pem".into()),
    ]
    .iter()
    .flat_map(|(key, file)| ["--set".to_owned(), format!("tls.{key}={}", certs.join(file).display())])
    .collect()
}

/// Nothing listens there: a call that is made ends otherwise.
#[test]
fn a_token_is_not_sent_off_this_machine_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let call = |address: &str, more: &[&str]| {
        let place = ["log", "checkpoint", "--token", "none", "--server", address];
        let output = remit(&[&place[..], more].concat())
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    };
    for address in ["http://remit.invalid:1", "http://remit.localhost.invalid:1"] {
        let (code, said) = call(address, &[]);
        assert!(code == 2 && said.contains("--encrypted-elsewhere"), "{code} {said}");
        let (code, said) = call(address, &["--encrypted-elsewhere"]);
        assert!(code == 4, "{code} {said}");
    }
    for address in ["http://127.0.0.1:1", "http://localhost:1", "https://remit.invalid:1"] {
        let (code, said) = call(address, &[]);
        assert!(code == 4, "{address} {code} {said}");
    }
}

#[test]
fn a_whole_instance_serves_tls_and_is_called_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, data) = (folder.path().join("certs"), folder.path().join("data"));
    let (code, said) = ran(&["dev-certs", certs.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let flags = set(&certs, "all");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_with(&data, &flags);
    let endpoints = std::fs::read_to_string(data.join("endpoints.json")).unwrap();
    assert!(endpoints.contains("https://127.0.0.1:"), "{endpoints}");
    // By the data directory, which says the authority; a report needs calls between the services.
    let file = example("01-investment-fraud.json");
    let submitted = server.json(&["report", "submit", &file, "--as", "police-440000", "--json"]);
    assert!(submitted["report"]["name"].is_string(), "{submitted}");
    server.ok(&["status"]);
    server.ok(&["log", "checkpoint"]);
    let export = folder.path().join("export");
    server.ok(&["log", "export", export.to_str().unwrap()]);

    // From elsewhere: with the authority, and not without, nor for another name, nor in the clear.
    let endpoints: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    let audit = endpoints["audit"].as_str().unwrap();
    let authority = certs.join("ca.pem");
    let authority = authority.to_str().unwrap();
    let call = |more: &[&str]| {
        let place = ["log", "checkpoint", "--server"];
        server.remit(&[&place[..], more].concat()).output().unwrap()
    };
    let elsewhere = |output: std::process::Output| {
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = elsewhere(call(&[audit, "--ca-file", authority]));
    assert_eq!(code, 0, "{said}");
    let by_name = audit.replace("127.0.0.1", "localhost");
    let (code, said) = elsewhere(call(&[&by_name, "--ca-file", authority]));
    assert_eq!(code, 0, "{said}");
    let (code, said) = elsewhere(call(&[audit, "--ca-file", authority, "--server-name", "other.remit"]));
    assert!(
        code == 4 && said.contains("the server's certificate is not for"),
        "{code} {said}"
    );
    let others = folder.path().join("others");
    assert_eq!(ran(&["dev-certs", others.to_str().unwrap()]).0, 0);
    let others = others.join("ca.pem");
    let (code, said) = elsewhere(call(&[audit, "--ca-file", others.to_str().unwrap()]));
    assert!(code == 4 && said.contains("is signed by another key"), "{code} {said}");
    let (code, said) = elsewhere(call(&[&audit.replace("https", "http")]));
    assert_eq!(code, 4, "{said}");
    server.stop();
}

/// Without a token, and with the roles that the file of callers gives it.
#[test]
fn who_shows_a_certificate_needs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, data) = (folder.path().join("certs"), folder.path().join("data"));
    let (code, said) = ran(&["dev-certs", certs.to_str().unwrap(), "--caller", "court"]);
    assert_eq!(code, 0, "{said}");
    let callers = folder.path().join("callers.yaml");
    let text = "certificates:\n  - { name: spiffe://remit.local/court, system: court, roles: [auditor] }\n";
    std::fs::write(&callers, text).unwrap();
    let key = folder.path().join("callers.key");
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut flags = set(&certs, "all");
    for (name, path) in [
        ("tls.client_ca_file", certs.join("ca.pem")),
        ("callers_file", callers),
        ("callers_key_file", key),
    ] {
        flags.extend(["--set".to_owned(), format!("{name}={}", path.display())]);
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_with(&data, &flags);
    let (certificate, key) = (certs.join("court.pem"), certs.join("court.key"));
    let shown = [
        "--client-cert",
        certificate.to_str().unwrap(),
        "--client-key",
        key.to_str().unwrap(),
    ];
    let call = |args: &[&str]| {
        let output = server.remit(args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    };
    let (code, said) = call(&[&["access", "list", "--role", "reviewer"][..], &shown].concat());
    assert!(code == 0 && said.contains("ReviewDisposition"), "{code} {said}");
    assert!(!said.contains("ProposeDisposition"), "{said}");
    let (code, said) = call(&[&["case", "list"][..], &shown].concat());
    assert!(
        code == 1 && said.contains("the roles of this caller: auditor"),
        "{code} {said}"
    );
    let (code, said) = call(&["case", "list", "--client-cert", shown[1]]);
    assert!(
        code == 2 && said.contains("both --client-cert and --client-key"),
        "{code} {said}"
    );
    let (code, said) = call(&[
        "case",
        "list",
        "--client-cert",
        shown[1],
        "--client-key",
        certs.join("ca.key").to_str().unwrap(),
    ]);
    assert!(code == 2 && said.contains("do not belong together"), "{code} {said}");
    let (code, said) = call(&["access", "list", "--role", "chief"]);
    assert!(code == 2 && said.contains("`chief` is no role"), "{code} {said}");
    server.stop();
}

#[test]
fn dev_certs_makes_an_authority_once_and_certificates_anew() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    let path = dir.to_str().unwrap();
    let (code, said) = ran(&["dev-certs", path, "--name", "intake.lan", "--caller", "desk"]);
    assert!(code == 0 && said.contains("made an authority"), "{said}");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let (authority, first) = (read("ca.pem"), read("intake.pem"));
    for name in ["ca", "all", "intake", "routing", "audit", "desk"] {
        let mode = std::fs::metadata(dir.join(format!("{name}.key"))).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (code, said) = ran(&["dev-certs", path]);
    assert!(code == 0 && said.contains("by the authority that was there"), "{said}");
    assert_eq!(read("ca.pem"), authority);
    assert_ne!(read("intake.pem"), first);
    for (args, expected) in [
        (&["--caller", "../a"][..], "1 to 63 letters"),
        (&["--caller", "ca"], "is made anyway"),
        (&["--days", "0"], "0"),
    ] {
        let (code, said) = ran(&[&["dev-certs", path], args].concat());
        assert!(code == 2 && said.contains(expected), "{args:?}: {code} {said}");
    }
    std::fs::remove_file(dir.join("ca.key")).unwrap();
    let (code, said) = ran(&["dev-certs", path]);
    assert!(code == 2 && said.contains("ca.key is missing"), "{code} {said}");
}
