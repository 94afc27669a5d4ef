//! Callers with tokens of an OIDC issuer that is not ours: `oauth2-mock-server`, which signs with
//! keys of its own and publishes them as issuers do.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use api::{
    event::ReviewVerdict,
    operations::{GetAccessTableRequest, operations_service_client::OperationsServiceClient},
    routing::{ListCasesRequest, ReviewDispositionRequest, case_service_client::CaseServiceClient},
};
use tests::process::{Databases, Process, write_secret};
use tonic::Code;

/// If set (and not to `0`), this fails where the issuer is not set up.
const REQUIRE_VARIABLE: &str = "REMIT_REQUIRE_NODE";

/// Where `make setup` installs the issuer, by a lockfile.
fn installed() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/oidc"));
    if folder.join("ready").is_file() {
        return Some(folder);
    }
    let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| !["", "0"].contains(&value.as_str()));
    assert!(
        !required,
        "{REQUIRE_VARIABLE} is set, but the issuer is not set up: run `make setup`"
    );
    let _ = writeln!(
        std::io::stderr(),
        "*** NOT TESTED WITH AN OIDC ISSUER, which `make setup` installs with npm ***"
    );
    None
}

/// The issuer, until dropped.
struct Issuer {
    child: Child,
    address: String,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Issuer {
    fn start(folder: PathBuf) -> Self {
        let mut child = Command::new("node")
            .arg("issuer.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        let address = address.trim().to_owned();
        assert!(address.starts_with("http://localhost:"), "{address}");
        Self { child, address }
    }

    /// A token by the grant for programs.
    fn token(&self, client: &str, roles: &str) -> String {
        let authority = self.address.trim_start_matches("http://");
        let form = format!(
            "grant_type=client_credentials&client_id={client}&roles={}",
            roles.replace(' ', "+")
        );
        let mut stream = TcpStream::connect(authority).unwrap();
        write!(
            stream,
            "POST /token HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-type: \
             application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let start = body.find('{').unwrap_or_else(|| panic!("{answer}"));
        let end = body.rfind('}').unwrap();
        let body: serde_json::Value = serde_json::from_str(&body[start..=end]).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn p7_a_caller_of_an_issuer_that_is_not_ours_has_the_roles_of_its_token() {
    let Some(tools) = installed() else { return };
    let issuer = Issuer::start(tools);
    let folder = tempfile::tempdir().unwrap();
    let callers = folder.path().join("callers.yaml");
    let text = format!(
        "issuers:
  - issuer: {address}
    audience: remit
    keys: {address}/jwks
    algorithms: [RS256]
    roles_claim: [realm_access, roles]
    claimed_roles: {{ work: [submitter, desk], decide: [reviewer], look: [auditor] }}
    clients:
      - {{ id: desk, system: issuers-desk, roles: [desk, reviewer], agency: police-450100 }}
      - {{ id: court, system: issuers-court, roles: [auditor] }}
",
        address = issuer.address
    );
    std::fs::write(&callers, text).unwrap();
    let key = folder.path().join("callers.key");
    write_secret(&key, &[7; 32]).unwrap();
    let environment = [
        ("REMIT_CALLERS_FILE", callers.to_str().unwrap()),
        ("REMIT_CALLERS_KEY_FILE", key.to_str().unwrap()),
    ];
    let process = Process::start(folder.path(), &Databases::Sqlite, &environment);
    let cases =
        |token: &str| CaseServiceClient::new(rpc::client::connect(&process.endpoints.routing, token, None).unwrap());
    let list = async |token: &str| {
        let answer = cases(token).list_cases(ListCasesRequest::default()).await;
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    let review = async |token: &str| {
        let request = ReviewDispositionRequest {
            name: format!("cases/{}", uuid::Uuid::from_u128(7)),
            etag: "0".to_owned(),
            verdict: ReviewVerdict::Approved.into(),
            ..ReviewDispositionRequest::default()
        };
        cases(token).review_disposition(request).await.unwrap_err()
    };
    let (work, both) = (issuer.token("desk", "work"), issuer.token("desk", "work decide other"));
    assert_eq!(list(&work).await, Code::Ok);
    let refused = review(&work).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("role reviewer") && refused.message().contains("this caller: desk"),
        "{}",
        refused.message()
    );
    assert_ne!(review(&both).await.code(), Code::PermissionDenied);
    // Claimed, and not its client's; nothing claimed; a client that nobody maps; another's
    // signature.
    assert_eq!(list(&issuer.token("desk", "look")).await, Code::PermissionDenied);
    assert_eq!(list(&issuer.token("desk", "")).await, Code::PermissionDenied);
    assert_eq!(list(&issuer.token("somebody", "work")).await, Code::Unauthenticated);
    let (head, _) = work.rsplit_once('.').unwrap();
    let (_, signature) = both.rsplit_once('.').unwrap();
    assert_eq!(list(&format!("{head}.{signature}")).await, Code::Unauthenticated);
    // An auditor reads the table of access as it is enforced.
    let court = issuer.token("court", "look");
    let channel = rpc::client::connect(&process.endpoints.routing, &court, None).unwrap();
    let table = OperationsServiceClient::new(channel)
        .get_access_table(GetAccessTableRequest {})
        .await
        .unwrap()
        .into_inner();
    let row = table.rows.iter().find(|row| row.method == "ReviewDisposition").unwrap();
    assert_eq!(row.callers, ["reviewer"]);
}
