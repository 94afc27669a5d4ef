//! The client against servers with valid and invalid TLS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    net::SocketAddr,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use https::{Client, NoAnswer, Trust};
use testkit::tls::{Front, Issuer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Years in which certificates are valid.
const NOW: Range<i32> = 2020..2090;

/// A plain-text server that gives every request the same response.
struct Plain {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Plain {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let mut request = [0; 4_096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { address, asked }
    }

    async fn greeting() -> Self {
        Self::start("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await
    }
}

async fn get(url: &str, ca_file: Option<&Path>) -> Result<Response<Bytes>, NoAnswer> {
    let trust = Trust::load(ca_file, "--ca-file").unwrap();
    let client = Client::new(trust, Duration::from_secs(5));
    let request = Request::get(url).body(Default::default()).unwrap();
    client.send(request, 1_000).await
}

#[tokio::test]
async fn only_the_configured_issuer_is_trusted() {
    let plain = Plain::greeting().await;
    let (issuer, other) = (Issuer::new().unwrap(), Issuer::new().unwrap());
    let hosts = ["localhost", "127.0.0.1"];
    let front = Front::start(plain.address, &issuer, &hosts, NOW).await.unwrap();
    let port = front.address.port();
    for host in hosts {
        let url = format!("https://{host}:{port}/checkpoint");
        let answer = get(&url, Some(issuer.file())).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"hello"[..]));
        // Another issuer of the same name, and none.
        for (ca_file, said) in [
            (Some(other.file()), &["is signed by another"][..]),
            (None, &["not trusted here", "trusts no issuer"]),
        ] {
            let refused = get(&url, ca_file).await.unwrap_err();
            assert!(refused.line().contains("--ca-file"), "{refused:?}");
            assert!(said.iter().any(|said| refused.problem.contains(said)), "{refused:?}");
        }
    }
    assert_eq!(
        plain.asked.load(Ordering::SeqCst),
        2,
        "no request reached an untrusted server"
    );
    // The same client reads plain HTTP, and a file of issuers changes nothing there.
    let url = format!("http://{}/checkpoint", plain.address);
    for ca_file in [None, Some(issuer.file())] {
        assert_eq!(get(&url, ca_file).await.unwrap().body().as_ref(), b"hello");
    }
}

#[tokio::test]
async fn certificate_errors_name_problem_and_remedy() {
    let plain = Plain::greeting().await;
    let issuer = Issuer::new().unwrap();
    let renew = "must renew it, or this machine's clock is wrong";
    for (hosts, years, problem, help) in [
        (
            &["log.example", "log.test"][..],
            NOW,
            "the server's certificate is not for localhost",
            "it is for log.example, log.test: is the address correct?",
        ),
        (
            &["localhost"],
            2019..2020,
            "the server's certificate expired on 2020-01-01",
            renew,
        ),
        (
            &["localhost"],
            2089..2090,
            "the server's certificate is not valid before 2089-01-01",
            renew,
        ),
    ] {
        let front = Front::start(plain.address, &issuer, hosts, years).await.unwrap();
        let url = format!("https://localhost:{}/", front.address.port());
        let refused = get(&url, Some(issuer.file())).await.unwrap_err();
        assert_eq!(refused.problem, problem);
        assert!(
            refused.help.as_deref().is_some_and(|said| said.contains(help)),
            "{refused:?}"
        );
    }
    assert_eq!(plain.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn there_is_no_fallback_to_plain_http_and_redirects_are_not_followed() {
    let plain = Plain::greeting().await;
    let refused = get(&format!("https://{}/", plain.address), None).await.unwrap_err();
    assert_eq!(refused.problem, "the server does not speak TLS");

    let moved = "HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let plain = Plain::start(moved).await;
    let issuer = Issuer::new().unwrap();
    let front = Front::start(plain.address, &issuer, &["localhost"], NOW).await.unwrap();
    let url = format!("https://localhost:{}/", front.address.port());
    let answer = get(&url, Some(issuer.file())).await.unwrap();
    assert_eq!((answer.status().as_u16(), plain.asked.load(Ordering::SeqCst)), (301, 1));
}

#[tokio::test]
async fn a_missing_server_and_an_oversized_response_are_distinguished() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for scheme in ["http", "https"] {
        let refused = get(&format!("{scheme}://{free}/"), None).await.unwrap_err();
        assert_eq!(refused.problem, "nothing listens at this address");
    }
    let large = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned() + &"x".repeat(2_000);
    let plain = Plain::start(large.leak()).await;
    let refused = get(&format!("http://{}/", plain.address), None).await.unwrap_err();
    assert!(refused.problem.contains("truncated or too large"), "{refused:?}");
}

#[test]
fn a_file_without_issuers_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let pipe = folder.path().join("pipe");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    for (path, problem) in [
        (folder.path().join("missing.pem"), "No such file"),
        (file("empty.pem", ""), "no PEM certificate"),
        // Neither waited for nor read without end.
        (pipe, "not a regular file"),
        ("/dev/zero".into(), "not a regular file"),
        (folder.path().to_owned(), "not a regular file"),
        (file("large.pem", &"-".repeat((16 << 20) + 1)), "larger than 16 MB"),
        (file("key.pem", key), "no PEM certificate"),
        (file("garbage.pem", garbage), "invalid peer certificate"),
    ] {
        let refused = Trust::load(Some(&path), "--ca-file").unwrap_err().to_string();
        assert!(
            refused.contains(problem) && refused.contains(&path.display().to_string()),
            "{refused}"
        );
    }
}
