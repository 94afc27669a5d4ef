use journal::ManualClock;
use rpc::{Officer, Token};
use serde_json::json;
use testkit::{jwt::Signer, tls::Issuer as Authority};

use super::*;

const NOW: i64 = 1_800_000_000;
const YEARS: std::ops::Range<i32> = 2020..2090;

const SERVICES: &str = "
services:
  remit.audit.v1.AuditInboundService: [spiffe://remit.test/intake, Routing.Remit.Test]
  remit.audit.v1.AuditService: [spiffe://remit.test/audit]
  remit.intake.v1.IntakeInboundService: [routing.remit.test]
  remit.routing.v1.RoutingInboundService: [spiffe://remit.test/intake]
";

const CERTIFICATES: &str = "
certificates:
  - { name: spiffe://police.test/desk, system: police-desk, role: agency, agency: police-510100 }
  - { name: Bank.Test, system: bank, role: partner }
";

const ISSUERS: &str = "
issuers:
  - issuer: https://id.police.test
    audience: remit
    keys: http://127.0.0.1:9/keys
    algorithms: [ES256]
    officer_claim: officer
    clients:
      - { id: desk, system: police-desk, role: agency, agency: police-510100 }
      - { id: bank, system: bank, role: partner }
";

fn source(folder: &Path) -> Source {
    Source {
        path: folder.join("callers.yaml"),
        key: Some([7; 32]),
        believes_callers: true,
    }
}

fn parsed(text: &str) -> anyhow::Result<Callers> {
    let keys = IssuersKeys::follow("http://127.0.0.1:9/keys", None)?;
    source(Path::new("")).parse(text, |_| Ok(Some(Arc::clone(&keys))))
}

#[tokio::test]
async fn a_file_that_says_too_little_or_too_much_is_refused_with_the_place() {
    for text in [
        SERVICES,
        CERTIFICATES,
        ISSUERS,
        &[SERVICES, CERTIFICATES, ISSUERS].concat(),
    ] {
        parsed(text).unwrap();
    }
    let without = |line: &str| {
        SERVICES
            .lines()
            .filter(|kept| !kept.contains(line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (text, expected) in [
        (
            SERVICES.replace("IntakeInbound", "IntakeInbuond"),
            "did you mean `remit.intake.v1.IntakeInboundService`?",
        ),
        (
            SERVICES.replace(
                "remit.intake.v1.IntakeInboundService",
                "remit.intake.v1.CategoryService",
            ),
            "is no gRPC service that",
        ),
        (
            without("RoutingInbound"),
            "`remit.routing.v1.RoutingInboundService` has no names",
        ),
        (
            SERVICES.replace("[routing.remit.test]", "[]"),
            "`remit.intake.v1.IntakeInboundService` has no names",
        ),
        (SERVICES.replace("[routing.remit.test]", ""), "IntakeInboundService"),
        (
            SERVICES.replace("[routing.remit.test]", "[\"*.remit.test\"]"),
            "neither a DNS name nor",
        ),
        (
            SERVICES.replace("[routing.remit.test]", "[127.0.0.1]"),
            "neither a DNS name nor",
        ),
        (
            SERVICES.replace("[routing.remit.test]", "[https://routing]"),
            "neither a DNS name nor",
        ),
        (CERTIFICATES.replace("role: partner", "role: agency"), "names no agency"),
        (CERTIFICATES.replace(", agency: police-510100", ""), "names no agency"),
        (
            CERTIFICATES.replace("role: agency", "role: operator"),
            "its role is not agency",
        ),
        (CERTIFICATES.replace("police-510100", "police/510100"), "malformed"),
        (
            CERTIFICATES.replace("role: partner", "role: service"),
            "none of Remit's own services",
        ),
        (
            CERTIFICATES.replace("Bank.Test", "spiffe://police.test/desk"),
            "is there twice",
        ),
        (
            CERTIFICATES.replace("system: bank", "system: police-desk"),
            "different roles or agencies",
        ),
        (CERTIFICATES.replace("name: Bank", "title: Bank"), "title"),
        (ISSUERS.replace("[ES256]", "[none]"), "none"),
        (ISSUERS.replace("[ES256]", "[HS256]"), "HS256"),
        (ISSUERS.replace("[ES256]", "[]"), "`algorithms` is empty"),
        (
            ISSUERS.replace("audience: remit", "audience: \"\""),
            "must say something",
        ),
        (ISSUERS.replace("    audience: remit\n", ""), "audience"),
        (
            ISSUERS.replace("audience: remit", "audience: remit\n    skew_seconds: 121"),
            "more than 120",
        ),
        (
            ISSUERS.replace(
                "id: bank, system: bank, role: partner",
                "id: a, system: audit, role: service",
            ),
            "do not call with",
        ),
        (ISSUERS.replace("id: bank", "id: desk"), "is there twice"),
        ("everybody: yes\n".to_owned(), "everybody"),
    ] {
        let error = format!("{:#}", parsed(&text).unwrap_err());
        assert!(error.contains(expected), "{expected}: {error}\n{text}");
    }
    let missing = |change: fn(&mut Source), text: &str| {
        let mut source = source(Path::new(""));
        change(&mut source);
        format!("{:#}", source.parse(text, |_| Ok(None)).unwrap_err())
    };
    assert!(missing(|source| source.key = None, CERTIFICATES).contains("`callers_key_file`"));
    assert!(missing(|source| source.believes_callers = false, SERVICES).contains("`tls.client_ca_file`"));
}

struct World {
    _folder: tempfile::TempDir,
    identities: Arc<Identities>,
    authority: Authority,
    signer: Signer,
    clock: Arc<ManualClock>,
}

const TOKEN: &str = "a-token-that-only-the-desk-knows";

/// Callers with tokens, certificates and an issuer whose key is known.
async fn world(text: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let (authority, signer) = (Authority::new().unwrap(), Signer::new().unwrap());
    let path = folder.path().join("tokens.json");
    let token = |token: &str, system: &str, agency: Option<&str>, role| Token {
        token: token.to_owned(),
        system: system.to_owned(),
        agency: agency.map(str::to_owned),
        role,
    };
    let tokens = [
        token(TOKEN, "police-desk", Some("police-510100"), Role::Agency),
        token("a-token-of-the-service-routing", "routing", None, Role::Service),
    ];
    let followed = Followed::new(&path, &tokens).unwrap();
    let tls = Tls::new();
    tls.believe_callers(authority.pem().as_bytes()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = json!({ "keys": [signer.written("a")] }).to_string();
    let address = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2_048];
            let _ = stream.read(&mut request).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                keys.len()
            );
            let _ = stream.write_all(format!("{head}{keys}").as_bytes()).await;
        }
    });
    let source = source(folder.path());
    std::fs::write(&source.path, text.replace("http://127.0.0.1:9/keys", &address)).unwrap();
    let clock = Arc::new(ManualClock::at(journal::Time(NOW * 1_000_000)));
    let callers = source.read(&Callers::default()).unwrap();
    let identities = Arc::new(Identities {
        tokens: followed,
        tls: Some(tls),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        callers: RwLock::new(Arc::new(callers)),
        trouble: RwLock::default(),
    });
    let world = World {
        _folder: folder,
        identities,
        authority,
        signer,
        clock,
    };
    // Fetched at the start; a call would wait for it.
    let bearer = world.bearer("desk", NOW + 60, None);
    if let Some(waiting) = world.identities.prepare(&Presented::headers(&headers(&[&bearer]))) {
        waiting.await;
    }
    world
}

fn headers(sent: &[&str]) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for value in sent {
        headers.append(http::header::AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

impl World {
    fn bearer(&self, client: &str, until: i64, officer: Option<&str>) -> String {
        let header = json!({ "alg": "ES256", "kid": "a", "typ": "at+jwt" });
        let mut claims = json!({
            "iss": "https://id.police.test", "aud": "remit", "nbf": NOW - 10, "exp": until, "client_id": client,
        });
        if let Some(officer) = officer {
            claims["officer"] = json!(officer);
        }
        format!("Bearer {}", self.signer.sign(&header, &claims).unwrap())
    }

    fn certificate(&self, names: &[&str]) -> Certificate {
        let (pem, _) = self.authority.leaf(names, YEARS).unwrap();
        Certificate::from_pem(pem.as_bytes()).unwrap()
    }

    fn caller(&self, sent: &[&str], certificate: Option<&Certificate>) -> Option<Identity> {
        self.identities.authenticate(&Presented {
            headers: &headers(sent),
            certificate,
        })
    }

    fn system(&self, sent: &[&str], certificate: Option<&Certificate>) -> Option<String> {
        self.caller(sent, certificate).map(|caller| caller.system)
    }
}

#[tokio::test]
async fn a_caller_is_known_by_token_by_certificate_and_by_both_if_they_agree() {
    let world = world(&[SERVICES, CERTIFICATES, ISSUERS].concat()).await;
    let own = format!("Bearer {TOKEN}");
    let (desk, bank) = (
        world.bearer("desk", NOW + 60, Some("o-17")),
        world.bearer("bank", NOW + 60, None),
    );
    let (of_desk, of_bank) = (
        world.certificate(&["spiffe://police.test/desk"]),
        world.certificate(&["other.test", "BANK.test"]),
    );
    let (of_both, of_nobody) = (
        world.certificate(&["spiffe://police.test/desk", "bank.test"]),
        world.certificate(&["mesh.test"]),
    );
    let police = Some("police-desk".to_owned());
    for (sent, certificate, expected) in [
        (&[own.as_str()][..], None, police.clone()),
        (&[&desk], None, police.clone()),
        (&[], Some(&of_desk), police.clone()),
        (&[], Some(&of_bank), Some("bank".to_owned())),
        (&[&own], Some(&of_desk), police.clone()),
        (&[&desk], Some(&of_desk), police.clone()),
        // A certificate of the mesh says nothing of the caller.
        (&[&own], Some(&of_nobody), police.clone()),
        (&[], Some(&of_nobody), None),
        (&[], Some(&of_both), None),
        // They disagree.
        (&[&own], Some(&of_bank), None),
        (&[&bank], Some(&of_desk), None),
        (&[&desk], Some(&of_bank), None),
        // A token that is none does not fall back to the certificate, and of two none counts.
        (&["Bearer unknown"], Some(&of_desk), None),
        (&["Basic abc"], Some(&of_desk), None),
        (&[&own, &desk], None, None),
        (&[&own, &own], Some(&of_desk), None),
        (&[], None, None),
    ] {
        assert_eq!(world.system(sent, certificate), expected, "{sent:?} {certificate:?}");
    }
    let caller = world.caller(&[&desk], None).unwrap();
    assert_eq!(caller.officer.as_ref().map(Officer::as_str), Some("o-17"));
    assert_eq!(caller.proof, Proof::Signed { until: NOW + 90 });
    // The same key for its commitments however it calls, and not another's.
    let by_certificate = world.caller(&[], Some(&of_desk)).unwrap();
    assert_eq!(by_certificate.officer_key, caller.officer_key);
    assert_ne!(world.caller(&[&bank], None).unwrap().officer_key, caller.officer_key);
}

#[tokio::test]
async fn rights_end_with_the_token_and_with_the_authority() {
    let world = world(&[CERTIFICATES, ISSUERS].concat()).await;
    let desk = world.bearer("desk", NOW + 60, None);
    let certificate = world.certificate(&["spiffe://police.test/desk"]);
    assert!(world.caller(&[&desk], None).is_some() && world.caller(&[], Some(&certificate)).is_some());
    for (officer, client) in [(None, "other"), (Some(" "), "desk"), (Some("a\u{200b}b"), "desk")] {
        assert_eq!(world.system(&[&world.bearer(client, NOW + 60, officer)], None), None);
    }
    world.clock.advance(90);
    assert_eq!(world.system(&[&desk], None), None, "it has expired, the skew included");
    let (past, _) = world
        .authority
        .leaf(&["spiffe://police.test/desk"], 2000..2001)
        .unwrap();
    let past = Certificate::from_pem(past.as_bytes()).unwrap();
    assert_eq!(world.system(&[], Some(&past)), None);
    let other = Authority::new().unwrap();
    world
        .identities
        .tls
        .as_ref()
        .unwrap()
        .believe_callers(other.pem().as_bytes())
        .unwrap();
    assert_eq!(world.system(&[], Some(&certificate)), None);
    assert_eq!(world.system(&[&format!("Bearer {TOKEN}")], Some(&certificate)), None);
}

#[tokio::test]
async fn services_are_admitted_by_name_where_the_file_names_them() {
    let named = world(SERVICES).await;
    let admits = |world: &World, service: &str, name: &str| {
        let certificate = world.certificate(&[name]);
        world.identities.admits_service(
            service,
            &Presented {
                headers: &http::HeaderMap::new(),
                certificate: Some(&certificate),
            },
        )
    };
    for (service, name, expected) in [
        ("remit.audit.v1.AuditInboundService", "routing.remit.test", true),
        ("remit.audit.v1.AuditInboundService", "spiffe://remit.test/intake", true),
        (
            "remit.audit.v1.AuditInboundService",
            "spiffe://remit.test/Intake",
            false,
        ),
        ("remit.audit.v1.AuditInboundService", "audit.remit.test", false),
        ("remit.routing.v1.RoutingInboundService", "routing.remit.test", false),
        ("remit.routing.v1.DirectoryService", "spiffe://remit.test/intake", true),
        ("remit.routing.v1.DirectoryService", "desk.police.test", false),
    ] {
        assert_eq!(admits(&named, service, name), expected, "{service} {name}");
    }
    assert!(!named.identities.admits_service(
        "remit.audit.v1.AuditInboundService",
        &Presented {
            headers: &http::HeaderMap::new(),
            certificate: None,
        }
    ));
    // Without a list, tokens alone say it.
    let open = world("certificates: []\n").await;
    assert!(admits(&open, "remit.audit.v1.AuditInboundService", "anybody.test"));
}
