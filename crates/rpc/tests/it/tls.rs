//! Servers and clients under TLS: who is believed, what is refused, and what changes while they
//! run.

use std::{sync::Arc, time::Duration};

use api::audit::RecordMarkRequest;
use rpc::{
    Authenticate, Certificate, CertificateName, Identity, Limits, Presented, Tokens,
    client::{Bearer, connect_over},
    tls::{Tls, TlsError, Trusting},
};
use testkit::tls::Issuer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Status};

use crate::fixture::{Served, serve_to, serve_under, token};

/// Years in which certificates are valid.
const NOW: std::ops::Range<i32> = 2020..2090;

fn showing(issuer: &Issuer, names: &[&str]) -> Arc<Tls> {
    let tls = Tls::new();
    let (certificate, key) = issuer.leaf(names, NOW).unwrap();
    tls.show(certificate.as_bytes(), key.as_bytes()).unwrap();
    tls
}

/// A client's, which believes these issuers.
fn believing(issuers: &[&Issuer]) -> Arc<Tls> {
    let tls = Tls::new();
    let all: String = issuers.iter().map(|issuer| issuer.pem()).collect();
    tls.believe(all.as_bytes()).unwrap();
    tls
}

/// Whether the connection was not made, or ended: what a client is told depends on how far it was.
fn is_cut_off(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
}

/// A call on a connection of its own.
async fn call(served: &Served, scheme: &str, trusting: &Trusting) -> Result<(), Status> {
    let address = format!("{scheme}://localhost:{}", served.address.port());
    let bearer = Bearer::new(&token("a")).unwrap();
    let patience = Some(Duration::from_secs(20));
    let channel = connect_over(&address, Some(trusting), &bearer, None, patience).unwrap();
    let mut client = api::audit::audit_inbound_service_client::AuditInboundServiceClient::new(channel);
    client.record_mark(RecordMarkRequest::default()).await.map(drop)
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_and_its_name() {
    let (ours, others) = (Issuer::new().unwrap(), Issuer::new().unwrap());
    let served = serve_under(Limits::default(), Some(showing(&ours, &["localhost", "audit.remit"]))).await;
    let trusting = Trusting::like(&believing(&[&ours]));
    call(&served, "https", &trusting).await.unwrap();
    call(&served, "https", &trusting.clone().named("audit.remit").unwrap())
        .await
        .unwrap();
    for (scheme, wrong) in [
        ("https", trusting.clone().named("intake.remit").unwrap()),
        ("https", Trusting::like(&believing(&[&others]))),
        // In the clear where TLS is spoken.
        ("http", trusting.clone()),
    ] {
        let refused = call(&served, scheme, &wrong).await.unwrap_err();
        assert!(is_cut_off(&refused), "{scheme} {wrong:?}: {refused}");
    }
    // Under TLS where it is not spoken.
    let plain = serve_under(Limits::default(), None).await;
    let refused = call(&plain, "https", &trusting).await.unwrap_err();
    assert!(is_cut_off(&refused), "{refused}");
    call(&plain, "http", &trusting).await.unwrap();
}

/// As long as others serve on, and for no longer than the first bytes may take.
#[tokio::test]
async fn a_handshake_that_is_not_ended_ends_with_its_time() {
    let issuer = Issuer::new().unwrap();
    let limits = Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    };
    let served = serve_under(limits, Some(showing(&issuer, &["localhost"]))).await;
    // Nothing; the beginning of a handshake; something else.
    for sent in [
        &b""[..],
        &[22, 3, 1, 2, 0, 1, 0][..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        let _ = ended.expect("the connection ends");
        call(&served, "https", &Trusting::like(&believing(&[&issuer])))
            .await
            .unwrap();
    }
}

#[test]
fn what_cannot_be_used_is_refused_and_what_was_before_stays() {
    let issuer = Issuer::new().unwrap();
    let (certificate, key) = issuer.leaf(&["a.remit"], NOW).unwrap();
    let tls = Tls::new();
    tls.show(certificate.as_bytes(), key.as_bytes()).unwrap();
    let (_, others) = issuer.leaf(&["a.remit"], NOW).unwrap();
    let (past, pasts) = issuer.leaf(&["b.remit"], 2000..2001).unwrap();
    let (future, futures) = issuer.leaf(&["b.remit"], 2090..2091).unwrap();
    let half = &certificate[..certificate.len() / 2];
    type Check = fn(&TlsError) -> bool;
    let cases: [(&str, &str, Check); 7] = [
        (&certificate, &others, |error| matches!(error, TlsError::Mismatch(_))),
        (&past, &pasts, |error| matches!(error, TlsError::Time("expired"))),
        (&future, &futures, |error| {
            matches!(error, TlsError::Time("not valid yet"))
        }),
        ("", &key, |error| matches!(error, TlsError::NoCertificate)),
        (&key, &key, |error| matches!(error, TlsError::NoCertificate)),
        (half, &key, |error| matches!(error, TlsError::Pem(_))),
        (&certificate, &certificate, |error| matches!(error, TlsError::NoKey(_))),
    ];
    for (certificate, key, is_expected) in cases {
        let error = tls.show(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        assert_eq!(tls.own_name().as_deref(), Some("a.remit"));
    }
    assert!(matches!(tls.believe(b""), Err(TlsError::NoCertificate)));
    assert!(matches!(tls.believe_callers(half.as_bytes()), Err(TlsError::Pem(_))));
    assert!(Trusting::like(&tls).named("not a name").is_err());
}

/// Knows only callers that show a certificate, and services by the name in theirs.
struct Shown(Arc<Tls>, Tokens);

impl Authenticate for Shown {
    fn authenticate(&self, presented: &Presented<'_>) -> Option<Identity> {
        let is_believed = presented.certificate.is_some_and(|shown| self.0.believes(shown));
        is_believed.then(|| self.1.authenticate(presented)).flatten()
    }

    fn admits_service(&self, own: &str, service: &str, presented: &Presented<'_>) -> bool {
        let name = CertificateName::Uri(format!("spiffe://remit.test/{own}"));
        service == "remit.audit.v1.AuditInboundService"
            && presented.certificate.is_some_and(|shown| shown.names().contains(&name))
    }

    fn believes(&self, certificate: &Certificate) -> bool {
        self.0.believes(certificate)
    }
}

async fn serve_mutual(tls: &Arc<Tls>) -> Served {
    let own = Arc::clone(tls);
    serve_to(Limits::default(), Some(Arc::clone(tls)), |tokens| {
        Arc::new(Shown(own, tokens))
    })
    .await
}

/// A process that shows a certificate for this name of `by`, and believes `all` in both directions.
fn process(by: &Issuer, name: &str, all: &[&Issuer]) -> Arc<Tls> {
    let tls = showing(by, &["localhost", name]);
    believe(&tls, all);
    tls
}

fn believe(tls: &Tls, all: &[&Issuer]) {
    let all: String = all.iter().map(|issuer| issuer.pem()).collect();
    tls.believe(all.as_bytes()).unwrap();
    tls.believe_callers(all.as_bytes()).unwrap();
}

fn show(tls: &Tls, by: &Issuer, name: &str) {
    let (certificate, key) = by.leaf(&["localhost", name], NOW).unwrap();
    tls.show(certificate.as_bytes(), key.as_bytes()).unwrap();
}

fn client_of(served: &Served, tls: &Arc<Tls>, system: &str) -> rpc::client::Caller {
    let address = format!("https://localhost:{}", served.address.port());
    let bearer = Bearer::new(&token(system)).unwrap();
    connect_over(
        &address,
        Some(&Trusting::like(tls)),
        &bearer,
        None,
        Some(Duration::from_secs(20)),
    )
    .unwrap()
}

async fn mark(channel: &rpc::client::Caller) -> Result<(), Status> {
    let mut client = api::audit::audit_inbound_service_client::AuditInboundServiceClient::new(channel.clone());
    client.record_mark(RecordMarkRequest::default()).await.map(drop)
}

#[tokio::test]
async fn a_service_is_admitted_by_the_name_in_its_certificate() {
    let (ours, others) = (Issuer::new().unwrap(), Issuer::new().unwrap());
    let audit = process(&ours, "spiffe://remit.test/audit", &[&ours]);
    let served = serve_mutual(&audit).await;
    let routing = process(&ours, "spiffe://remit.test/routing", &[&ours]);
    mark(&client_of(&served, &routing, "routing")).await.unwrap();
    // The same token over another certificate, and no certificate; a caller that is no service.
    let intake = process(&ours, "spiffe://remit.test/intake", &[&ours]);
    let refused = mark(&client_of(&served, &intake, "routing")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let none = believing(&[&ours]);
    let refused = mark(&client_of(&served, &none, "routing")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    mark(&client_of(&served, &intake, "a")).await.unwrap();
    // Of an authority that is not believed: the handshake fails.
    let stranger = process(&others, "spiffe://remit.test/routing", &[&ours]);
    let refused = mark(&client_of(&served, &stranger, "routing")).await.unwrap_err();
    assert!(is_cut_off(&refused), "{refused}");
    // Expired: likewise.
    let (past, key) = ours.leaf(&["spiffe://remit.test/routing"], 2000..2001).unwrap();
    assert!(
        none.show(past.as_bytes(), key.as_bytes()).is_err(),
        "nobody shows it by mistake"
    );
}

/// As `docs/operate.md` says it is done. One channel stays, and each call beside it has a
/// connection of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_authority_comes_in_without_a_failed_call() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let (old, new) = (Issuer::new().unwrap(), Issuer::new().unwrap());
    let audit = process(&old, "spiffe://remit.test/audit", &[&old]);
    let routing = process(&old, "spiffe://remit.test/routing", &[&old]);
    let served = Arc::new(serve_mutual(&audit).await);
    let (called, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let calling = tokio::spawn({
        let (served, routing) = (Arc::clone(&served), Arc::clone(&routing));
        let (called, ends) = (Arc::clone(&called), Arc::clone(&ends));
        async move {
            let stays = client_of(&served, &routing, "routing");
            while !ends.load(Ordering::SeqCst) {
                mark(&client_of(&served, &routing, "routing")).await?;
                mark(&stays).await?;
                called.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<_, Status>(())
        }
    });
    let several = async || {
        let until = called.load(Ordering::SeqCst) + 5;
        while called.load(Ordering::SeqCst) < until && !calling.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    several().await;
    for tls in [&audit, &routing] {
        believe(tls, &[&old, &new]);
        several().await;
    }
    for (tls, name) in [
        (&audit, "spiffe://remit.test/audit"),
        (&routing, "spiffe://remit.test/routing"),
    ] {
        show(tls, &new, name);
        several().await;
    }
    // The connection that stays was made by the old certificate: it ends by its age, before the old
    // authority goes.
    ends.store(true, Ordering::SeqCst);
    calling.await.unwrap().unwrap();
    for tls in [&routing, &audit] {
        believe(tls, &[&new]);
        mark(&client_of(&served, &routing, "routing")).await.unwrap();
    }
    let left = process(&old, "spiffe://remit.test/routing", &[&new]);
    let refused = mark(&client_of(&served, &left, "routing")).await.unwrap_err();
    assert!(is_cut_off(&refused), "{refused}");
}

/// What was believed in the handshake is not believed for ever.
#[tokio::test]
async fn a_connection_of_an_authority_that_is_gone_identifies_nobody() {
    let (old, new) = (Issuer::new().unwrap(), Issuer::new().unwrap());
    let audit = process(&old, "spiffe://remit.test/audit", &[&old]);
    let served = serve_mutual(&audit).await;
    let routing = process(&old, "spiffe://remit.test/routing", &[&old]);
    let stays = client_of(&served, &routing, "routing");
    mark(&stays).await.unwrap();
    audit.believe_callers(new.pem().as_bytes()).unwrap();
    let refused = mark(&stays).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    // It was told to go: the same client comes again, with the certificate that it has by now.
    show(&routing, &new, "spiffe://remit.test/routing");
    let again = async {
        while let Err(refused) = mark(&stays).await {
            assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(20), again).await;
    again.expect("the client connects again");
}

/// What was shown and is not looked at is not nothing: a caller by certificate would be taken for
/// one without.
#[tokio::test]
async fn a_chain_that_is_too_long_ends_the_connection_and_is_not_taken_for_none() {
    let ours = Issuer::new().unwrap();
    let served = serve_mutual(&process(&ours, "spiffe://remit.test/audit", &[&ours])).await;
    let caller = |others: usize| {
        let tls = believing(&[&ours]);
        let (certificate, key) = ours.leaf(&["spiffe://remit.test/routing"], NOW).unwrap();
        let chain = format!("{certificate}{}", ours.pem().repeat(others));
        tls.show(chain.as_bytes(), key.as_bytes()).unwrap();
        client_of(&served, &tls, "a")
    };
    mark(&caller(7)).await.unwrap();
    let refused = mark(&caller(8)).await.unwrap_err();
    assert!(is_cut_off(&refused), "{refused}");
    // Without one it is another answer.
    let none = mark(&client_of(&served, &believing(&[&ours]), "a")).await.unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated, "{none}");
}

#[test]
fn of_several_authorities_the_end_of_the_first_is_told() {
    let (issuer, tls) = (Issuer::new().unwrap(), Tls::new());
    let last = tls.believe(issuer.pem().as_bytes()).unwrap();
    let (soon, _) = issuer.leaf(&["a.remit"], 2020..2040).unwrap();
    let (past, _) = issuer.leaf(&["b.remit"], 2000..2001).unwrap();
    let first = tls.believe(soon.as_bytes()).unwrap();
    assert!(first < last, "{first} {last}");
    for all in [
        format!("{}{soon}", issuer.pem()),
        format!("{past}{soon}{}", issuer.pem()),
    ] {
        assert_eq!(tls.believe(all.as_bytes()).unwrap(), first);
        assert_eq!(tls.believe_callers(all.as_bytes()).unwrap(), first);
    }
}

/// As the command line does.
#[tokio::test]
async fn a_client_shows_a_certificate_that_it_has_for_good() {
    let ours = Issuer::new().unwrap();
    let served = serve_mutual(&process(&ours, "spiffe://remit.test/audit", &[&ours])).await;
    let (certificate, key) = ours.leaf(&["spiffe://remit.test/routing"], NOW).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for authority in rustls::pki_types::pem::PemObject::pem_slice_iter(ours.pem().as_bytes()) {
        let authority: rustls::pki_types::CertificateDer<'static> = authority.unwrap();
        roots.add(authority).unwrap();
    }
    let roots = Arc::new(roots);
    let address = format!("https://localhost:{}", served.address.port());
    let bearer = Bearer::new(&token("routing")).unwrap();
    let call = async |trusting: Trusting| {
        let channel = connect_over(&address, Some(&trusting), &bearer, None, Some(Duration::from_secs(20))).unwrap();
        mark(&channel).await
    };
    let shown = Trusting::showing(Arc::clone(&roots), certificate.as_bytes(), key.as_bytes()).unwrap();
    call(shown).await.unwrap();
    let refused = call(Trusting::roots(Arc::clone(&roots))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let (other, _) = ours.leaf(&["a.remit"], NOW).unwrap();
    assert!(Trusting::showing(roots, other.as_bytes(), key.as_bytes()).is_err());
}
