use journal::ManualClock;
use rpc::{Officer, Roles, Token};
use serde_json::json;
use testkit::{jwt::Signer, tls::Issuer as Authority};

use super::*;
use crate::{token_file::TokenFile, tokens::table};

const NOW: i64 = 1_800_000_000;
const YEARS: std::ops::Range<i32> = 2020..2090;

const SERVICES: &str = "
services:
  remit.audit.v1.AuditInboundService:
    intake: [spiffe://remit.test/intake]
    routing: [Routing.Remit.Test]
  remit.audit.v1.AuditService:
    intake: [spiffe://remit.test/intake]
    routing: [routing.remit.test]
    audit: [spiffe://remit.test/audit, audit.remit.test]
  remit.intake.v1.IntakeInboundService:
    routing: [routing.remit.test, spiffe://remit.test/routing]
  remit.routing.v1.RoutingInboundService:
    intake: [spiffe://remit.test/intake]
    audit: [spiffe://remit.test/audit]
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
    let keys = IssuersKeys::follow("http://127.0.0.1:9/keys", None, None)?;
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
            without("intake: [spiffe"),
            "`remit.audit.v1.AuditInboundService` has no names for `intake`",
        ),
        (
            SERVICES.replace("[routing.remit.test, spiffe://remit.test/routing]", "[]"),
            "`remit.intake.v1.IntakeInboundService` has no names for `routing`",
        ),
        (SERVICES.replace("[Routing.Remit.Test]", ""), "`routing` has no value"),
        (
            SERVICES.replace("    routing: [Routing.Remit.Test]", "    rooting: [Routing.Remit.Test]"),
            "did you mean `routing`?",
        ),
        (
            SERVICES.replace("    routing: [routing.remit.test, ", "    audit: [a.remit.test, "),
            "`audit` is none of Remit's services that call it",
        ),
        (
            SERVICES.replace("Routing.Remit.Test", "\"*.remit.test\""),
            "neither a DNS name nor",
        ),
        (
            SERVICES.replace("Routing.Remit.Test", "127.0.0.1"),
            "neither a DNS name nor",
        ),
        (
            SERVICES.replace("Routing.Remit.Test", "https://routing"),
            "neither a DNS name nor",
        ),
        (
            SERVICES.replace("Routing.Remit.Test", "spiffe://remit.test"),
            "neither a DNS name nor",
        ),
        (
            SERVICES.replace("Routing.Remit.Test", "spiffe:///routing"),
            "neither a DNS name nor",
        ),
        (
            SERVICES.replace("Routing.Remit.Test", "spiffe://Remit.Test/routing"),
            "in lower case",
        ),
        ("services: {}\n".to_owned(), "has no names for"),
        (String::new(), "it says nothing"),
        (
            "# services:\n#   remit.audit.v1.AuditService: {}\n".to_owned(),
            "it says nothing",
        ),
        ("{}\n".to_owned(), "it says nothing"),
        ("certificates: []\nissuers: []\n".to_owned(), "it says nothing"),
        (SERVICES[..30].to_owned(), "expected mapping start"),
        (
            CERTIFICATES.replace("system: bank", "system: routing"),
            "the name of one of Remit's own services",
        ),
        (CERTIFICATES.replace("role: partner", "role: agency"), "names no agency"),
        (CERTIFICATES.replace(", agency: police-510100", ""), "names no agency"),
        (
            CERTIFICATES.replace("role: agency", "role: operator"),
            "names an agency, and has the role operator",
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
        (
            CERTIFICATES.replace("role: partner", "roles: [submitter], role: partner"),
            "has both `role` and `roles`",
        ),
        (
            CERTIFICATES.replace(", role: partner", ""),
            "has neither `role` nor `roles`",
        ),
        (
            CERTIFICATES.replace("role: partner", "role: submitter"),
            "write single ones in `roles`",
        ),
        (CERTIFICATES.replace("role: partner", "roles: [chief]"), "chief"),
        (CERTIFICATES.replace("role: partner", "roles: []"), "has no role"),
        (
            CERTIFICATES.replace("role: partner", "roles: [submitter, reviewer]"),
            "names no agency",
        ),
        (
            ISSUERS.replace("    clients:", "    roles_claim: roles\n    clients:"),
            "both, or none",
        ),
        (
            ISSUERS.replace("    clients:", "    claimed_roles: { a: [desk] }\n    clients:"),
            "both, or none",
        ),
        (
            ISSUERS.replace(
                "    clients:",
                "    roles_claim: []\n    claimed_roles: { a: [desk] }\n    clients:",
            ),
            "names no claim",
        ),
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
    folder: tempfile::TempDir,
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
    let file = TokenFile::hold(&path).unwrap();
    let token = |token: &str, system: &str, agency: Option<&str>, roles| Token {
        token: token.to_owned(),
        system: system.to_owned(),
        agency: agency.map(str::to_owned),
        roles,
    };
    let tokens = [
        token(TOKEN, "police-desk", Some("police-510100"), Roles::AGENCY),
        token("a-token-of-the-service-routing", "routing", None, Roles::SERVICE),
    ];
    file.write(&tokens).unwrap();
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
    let callers = source.read(&Callers::default(), followed.tokens().systems()).unwrap();
    followed.set_others(callers.systems.clone());
    let identities = Arc::new(Identities {
        tokens: followed,
        tls: Some(tls),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        callers: RwLock::new(Arc::new(callers)),
        trouble: RwLock::default(),
    });
    let world = World {
        folder,
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

/// What a token claims counts at most as far as the file lets its client, and nothing is nothing.
#[tokio::test]
async fn p7_a_token_has_the_roles_that_it_claims_and_that_its_client_may_have() {
    let text = ISSUERS
        .replace(
            "    clients:",
            "    roles_claim: [access, remit]\n    claimed_roles: { work: [desk, submitter], decide: [reviewer], run: [operator] }\n    clients:",
        )
        .replace("police-desk, role: agency", "police-review, roles: [desk, reviewer]");
    let world = world(&text).await;
    let roles = |claim: serde_json::Value| {
        let header = json!({ "alg": "ES256", "kid": "a", "typ": "at+jwt" });
        let mut claims = json!({
            "iss": "https://id.police.test", "aud": "remit", "nbf": NOW - 10, "exp": NOW + 60, "client_id": "desk",
        });
        claims["access"] = claim;
        let bearer = format!("Bearer {}", world.signer.sign(&header, &claims).unwrap());
        world.caller(&[&bearer], None).map(|caller| caller.roles)
    };
    let of = |roles: &[rpc::Role]| Some(Roles::of(roles));
    use rpc::Role as R;
    for (claim, expected) in [
        (json!({ "remit": ["work"] }), of(&[R::Desk])),
        (json!({ "remit": ["work", "decide"] }), of(&[R::Desk, R::Reviewer])),
        (json!({ "remit": "decide other" }), of(&[R::Reviewer])),
        (json!({ "remit": ["run", "operator"] }), of(&[])),
        (json!({ "other": ["work"] }), of(&[])),
        (json!(["work"]), None),
        (json!({ "remit": [1] }), None),
    ] {
        assert_eq!(roles(claim.clone()), expected, "{claim}");
    }
}

/// Without keys, only the tokens of the issuer that is gone are undecided.
#[tokio::test]
async fn an_issuer_that_is_gone_is_told_from_a_token_that_is_none() {
    let world = world(ISSUERS).await;
    let undecided = |identities: &Identities, sent: &str| {
        assert!(
            identities
                .authenticate(&Presented::headers(&headers(&[sent])))
                .is_none(),
            "{sent}"
        );
        identities.undecided(&Presented::headers(&headers(&[sent])))
    };
    let unmapped = world.bearer("nobody", NOW + 60, None);
    let past = world.bearer("desk", NOW - 60, None);
    for known in [&unmapped, &past, "Bearer unknown", "Bearer a.b.c"] {
        assert_eq!(undecided(&world.identities, known), None, "{known}");
    }
    let gone = Arc::new(parsed(ISSUERS).unwrap());
    *world.identities.callers.write().unwrap() = gone;
    let bearer = world.bearer("desk", NOW + 60, None);
    assert_eq!(undecided(&world.identities, &bearer), Some("the issuer of the token"));
    assert_eq!(undecided(&world.identities, "Bearer unknown"), None);
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
        // Whoever has a certificate of several has a stolen token for nothing.
        (&[&own], Some(&of_both), None),
        (&[&desk], Some(&of_both), None),
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
async fn services_are_admitted_by_their_own_names_where_the_file_names_them() {
    let named = world(SERVICES).await;
    let admits = |world: &World, own: &str, service: &str, names: &[&str]| {
        let certificate = world.certificate(names);
        world.identities.admits_service(
            own,
            service,
            &Presented {
                headers: &http::HeaderMap::new(),
                certificate: Some(&certificate),
            },
        )
    };
    const INBOUND: &str = "remit.audit.v1.AuditInboundService";
    for (own, service, name, expected) in [
        ("routing", INBOUND, "routing.remit.test", true),
        ("intake", INBOUND, "spiffe://remit.test/intake", true),
        // The list has both; the token is the other's.
        ("intake", INBOUND, "routing.remit.test", false),
        ("routing", INBOUND, "spiffe://remit.test/intake", false),
        ("intake", INBOUND, "spiffe://remit.test/Intake", false),
        ("audit", INBOUND, "audit.remit.test", false),
        ("audit", "remit.audit.v1.AuditService", "audit.remit.test", true),
        (
            "routing",
            "remit.routing.v1.RoutingInboundService",
            "routing.remit.test",
            false,
        ),
        // What others call, too.
        (
            "intake",
            "remit.routing.v1.DirectoryService",
            "spiffe://remit.test/intake",
            true,
        ),
        (
            "audit",
            "remit.routing.v1.DirectoryService",
            "spiffe://remit.test/intake",
            false,
        ),
        ("intake", "remit.routing.v1.DirectoryService", "desk.police.test", false),
    ] {
        assert_eq!(
            admits(&named, own, service, &[name]),
            expected,
            "{own} {service} {name}"
        );
    }
    assert!(!named.identities.admits_service(
        "routing",
        INBOUND,
        &Presented {
            headers: &http::HeaderMap::new(),
            certificate: None,
        }
    ));
    // Without a list, tokens alone say it.
    let open = world(CERTIFICATES).await;
    assert!(admits(&open, "routing", INBOUND, &["anybody.test"]));
}

/// An authority that checks hosts' names may sign what looks like a workload's, and the other way.
#[tokio::test]
async fn a_name_of_one_kind_is_not_taken_for_one_of_the_other() {
    use rcgen::{CertificateParams, KeyPair, SanType};
    let written = |name: SanType| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.push(name);
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        Certificate::from_pem(pem.as_bytes()).unwrap()
    };
    let callers = parsed(CERTIFICATES).unwrap();
    let named = |name: SanType| {
        let named = Identities::by_certificate(&callers, &written(name)).unwrap();
        named.map(|caller| caller.system)
    };
    let (dns, uri) = (
        |name: &str| SanType::DnsName(name.try_into().unwrap()),
        |name: &str| SanType::URI(name.try_into().unwrap()),
    );
    assert_eq!(named(uri("spiffe://police.test/desk")).as_deref(), Some("police-desk"));
    assert_eq!(named(dns("bank.test")).as_deref(), Some("bank"));
    assert_eq!(named(dns("spiffe://police.test/desk")), None);
    assert_eq!(named(uri("bank.test")), None);
    assert!(written(uri("https://bank.test/")).names().is_empty());
}

impl World {
    fn source(&self) -> Source {
        source(self.folder.path())
    }

    fn write(&self, text: &str) {
        std::fs::write(self.source().path, text).unwrap();
    }

    fn trouble(&self) -> Option<String> {
        self.identities.trouble()
    }

    async fn look(&self) {
        tokio::time::sleep(2 * LOOK).await;
    }
}

/// Paused time advances only for awaited timers, so each wait looks at the file.
#[tokio::test(start_paused = true)]
async fn the_alarm_about_the_file_ends_when_it_is_back_as_it_was() {
    let world = world(SERVICES).await;
    tokio::spawn(follow(Arc::downgrade(&world.identities), world.source()));
    world.look().await;
    assert_eq!(world.trouble(), None);
    for broken in [Some("services: ["), Some(""), None] {
        match broken {
            Some(text) => world.write(text),
            None => std::fs::remove_file(world.source().path).unwrap(),
        }
        world.look().await;
        assert!(world.trouble().is_some(), "{broken:?}");
        world.write(SERVICES);
        world.look().await;
        assert_eq!(world.trouble(), None, "{broken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_without_the_list_of_services_is_not_taken_while_it_runs() {
    let world = world(SERVICES).await;
    tokio::spawn(follow(Arc::downgrade(&world.identities), world.source()));
    world.look().await;
    for text in [CERTIFICATES, "services: {}\n", "", "# later\n", &SERVICES[..400]] {
        world.write(text);
        world.look().await;
        assert!(
            world.trouble().unwrap().contains("the file of callers cannot be used"),
            "{text}"
        );
        assert!(world.identities.callers().services.is_some(), "{text}");
    }
    world.write(CERTIFICATES);
    world.look().await;
    assert!(world.trouble().unwrap().contains("`services` is gone"));
    world.write(&[SERVICES, CERTIFICATES].concat());
    world.look().await;
    assert_eq!(
        (world.trouble(), world.identities.callers().certificates.len()),
        (None, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_system_is_of_one_role_in_both_files() {
    let world = world(CERTIFICATES).await;
    let tokens = |system: &str, roles, agency: Option<&str>, token: &str| {
        [Token {
            token: token.to_owned(),
            system: system.to_owned(),
            agency: agency.map(str::to_owned),
            roles,
        }]
    };
    // At the start, also beside a token that is revoked.
    for token in [TOKEN, ""] {
        let held = table(&tokens("bank", Roles::OPERATOR, None, token)).unwrap();
        let refused = world.source().read(&Callers::default(), held.systems()).unwrap_err();
        assert!(refused.to_string().contains("`bank` has other roles"), "{refused}");
    }
    let refused = table(&tokens("audit", Roles::AUDITOR, None, TOKEN)).unwrap_err();
    assert!(refused.to_string().contains("Remit's own services"), "{refused}");
    // When the file of tokens changes.
    let file = TokenFile::hold(&world.folder.path().join("tokens.json")).unwrap();
    for (roles, agency) in [(Roles::OPERATOR, None), (Roles::AGENCY, Some("police-510100"))] {
        file.write(&tokens("bank", roles, agency, "another-token-of-the-bank"))
            .unwrap();
        world.look().await;
        assert!(world.trouble().unwrap().contains("`bank` has other roles"), "{roles}");
        assert_eq!(world.system(&["Bearer another-token-of-the-bank"], None), None);
    }
    file.write(&tokens("bank", Roles::PARTNER, None, "another-token-of-the-bank"))
        .unwrap();
    world.look().await;
    assert_eq!(world.trouble(), None);
    assert_eq!(
        world.system(&["Bearer another-token-of-the-bank"], None).as_deref(),
        Some("bank")
    );
    // When the file of callers does.
    tokio::spawn(follow(Arc::downgrade(&world.identities), world.source()));
    world.write(&CERTIFICATES.replace("role: partner", "role: operator"));
    world.look().await;
    assert!(world.trouble().unwrap().contains("`bank` has other roles"));
    assert_eq!(world.identities.callers().systems["bank"].0, Roles::PARTNER);
}
