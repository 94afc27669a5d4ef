//! The log's files over HTTP, as tools of the standard request them.

use std::io::Read as _;

use audit::tiles::{Content, TilePath, files};
use audit::verify::FilesVerifier;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use testkit::Backend;

use crate::fixture::{Files, Producer, Served, execute};

testkit::on_each_backend!(
    every_published_checkpoint_stays_verifiable,
    nothing_is_served_past_the_published_checkpoint,
    a_forged_byte_of_a_stored_tile_is_noticed,
    p2_a_deleted_entry_is_told_to_whoever_asks_and_ends_the_writing,
);

async fn ask(log: &Served, method: Method, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    ask_for(log, method, path, "identity").await
}

async fn ask_for(log: &Served, method: Method, path: &str, encoding: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    // HTTP/1.1, without a token.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", log.address))
        .header("accept-encoding", encoding)
        .body(Empty::new())
        .unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    (
        parts.status,
        parts.headers,
        body.collect().await.unwrap().to_bytes().to_vec(),
    )
}

async fn get(log: &Served, path: impl std::fmt::Display) -> Option<Vec<u8>> {
    let (status, _, body) = ask(log, Method::GET, &format!("/{path}")).await;
    (status == StatusCode::OK).then_some(body)
}

/// Verifies the log of a checkpoint by the files served now.
pub async fn verify(log: &Served, note: &str) -> Result<u64, String> {
    let mut verifier = FilesVerifier::new(note, log.audit.vkey(), false).unwrap();
    for path in verifier.files() {
        let bytes = get(log, path).await.ok_or_else(|| verifier.missing(path).to_string())?;
        verifier
            .take(path, &bytes, |_, _| ())
            .map_err(|fault| fault.to_string())?;
    }
    verifier
        .finish()
        .map(|head| head.size)
        .map_err(|fault| fault.to_string())
}

async fn every_published_checkpoint_stays_verifiable(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    let mut notes = vec![(0, String::from_utf8(get(&log, "checkpoint").await.unwrap()).unwrap())];
    for step in [1, 2, 200, 53, 1, 300] {
        log.append(&intake.many(step)).await;
        let size = notes.last().unwrap().0 + step as u64;
        let note = log.published(size).await;
        assert_eq!(get(&log, "checkpoint").await.unwrap(), note.as_bytes());
        notes.push((size, note));
    }
    assert_eq!(notes.last().unwrap().0, 557);
    for (size, note) in &notes {
        assert_eq!(verify(&log, note).await, Ok(*size));
    }
    log.stop().await;
}

async fn nothing_is_served_past_the_published_checkpoint(backend: Backend) {
    let files = Files::new();
    let mut config = files.config(backend.url());
    // The first growth is published at once, the second not before the test ends.
    config.checkpoint_interval_ms = 3_600_000;
    let log = Served::start(config).await;
    let mut intake = Producer::intake();
    log.append(&intake.many(7)).await;
    log.published(7).await;
    log.append(&intake.many(300)).await;
    for path in [
        "tile/entries/000.p/8",
        "tile/entries/000",
        "tile/0/000",
        "tile/1/000.p/1",
        "tile/0/001.p/51",
    ] {
        assert_eq!(get(&log, path).await, None, "{path}");
    }
    assert_eq!(get(&log, "tile/0/000.p/7").await.unwrap().len(), 7 * 32);
    log.stop().await;
}

/// Like a reader that authenticates tiles only along the path to the requested entry, and misses
/// the rest (CVE-2026-56865).
async fn a_forged_byte_of_a_stored_tile_is_noticed(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    log.append(&Producer::intake().many(600)).await;
    let note = log.published(600).await;
    assert_eq!(verify(&log, &note).await, Ok(600));
    let forge = "UPDATE tiles SET hashes = (SELECT hashes FROM tiles WHERE place = 0) WHERE place = 1";
    execute(backend.url(), forge).await;
    let fault = verify(&log, &note).await.unwrap_err();
    assert!(fault.starts_with("entry 256: tile/0/001 has another hash"), "{fault}");
    log.stop().await;
}

#[tokio::test]
async fn answers_have_the_form_of_the_standard() {
    let (backend, files_of_log) = (Backend::sqlite(), Files::new());
    let log = Served::start(files_of_log.config(backend.url())).await;
    let changes = Producer::intake().many(300);
    log.append(&changes).await;
    let note = log.published(300).await;

    let (status, headers, body) = ask(&log, Method::GET, "/checkpoint").await;
    assert_eq!((status, body), (StatusCode::OK, note.into_bytes()));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-store");

    let mut seen = 0;
    for path in files(300, false) {
        let (status, headers, body) = ask(&log, Method::GET, &format!("/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers["content-type"], "application/octet-stream");
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        match path.content {
            Content::Entries => {
                let mut rest = &body[..];
                while let Some((length, tail)) = rest.split_first_chunk() {
                    let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
                    assert_eq!(entry, &changes[seen].entry);
                    (rest, seen) = (tail, seen + 1);
                }
            }
            _ => assert_eq!(body.len(), usize::from(path.width) * 32),
        }
    }
    assert_eq!(seen, 300);

    // Bundles are compressed for clients that accept it; hashes, which do not shrink, are not.
    for path in files(300, false) {
        let path = format!("/{path}");
        let (_, _, plain) = ask(&log, Method::GET, &path).await;
        let (_, headers, body) = ask_for(&log, Method::GET, &path, "gzip, identity").await;
        let Some(encoding) = headers.get("content-encoding") else {
            assert!(!path.contains("entries"), "{path} is compressed");
            assert_eq!(body, plain);
            continue;
        };
        assert!(path.contains("entries") && body.len() < plain.len(), "{path}");
        assert_eq!(
            (encoding, &headers["vary"]),
            (&"gzip".parse().unwrap(), &"accept-encoding".parse().unwrap())
        );
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, plain);
    }

    let (status, _, body) = ask(&log, Method::HEAD, "/tile/0/000").await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    for (method, path, expected) in [
        (Method::GET, "/tile/0/000.p/256", StatusCode::NOT_FOUND),
        (Method::GET, "/tile/0/0", StatusCode::NOT_FOUND),
        (Method::GET, "/tile/entries/002.p/1", StatusCode::NOT_FOUND),
        (Method::GET, "/tile/63/000.p/1", StatusCode::NOT_FOUND),
        (Method::GET, "/tile/detail/000", StatusCode::NOT_FOUND),
        (Method::GET, "/tile/..%2Fcheckpoint", StatusCode::NOT_FOUND),
        (Method::GET, "/detail/000", StatusCode::NOT_FOUND),
        (Method::GET, "/", StatusCode::NOT_FOUND),
        (Method::GET, "/tile", StatusCode::NOT_FOUND),
        (
            Method::POST,
            "/remit.audit.v1.AuditService/GetCheckpoint",
            StatusCode::NOT_FOUND,
        ),
        (Method::POST, "/checkpoint", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/tile/0/000", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, headers, _) = ask(&log, method, path).await;
        assert_eq!(status, expected, "{path}");
        if status == StatusCode::NOT_FOUND {
            // Clients must not cache that a file is missing.
            assert_eq!(headers["cache-control"], "no-store", "{path}");
        }
    }
    log.stop().await;
}

/// A malformed path is refused before anything is read.
#[test]
fn the_widest_path_is_not_within_any_log() {
    let path: TilePath = "tile/7/000".parse().unwrap();
    assert!(!path.is_within(u64::MAX));
}

async fn p2_a_deleted_entry_is_told_to_whoever_asks_and_ends_the_writing(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    log.append(&Producer::intake().many(600)).await;
    log.published(600).await;
    execute(backend.url(), "DELETE FROM entries WHERE idx = 300").await;

    let (status, headers, body) = ask(&log, Method::GET, "/tile/entries/001").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!headers.contains_key("retry-after"));
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("entry 300 is missing"), "{body}");
    assert!(!log.settled(601).await);
    // Other files are still served.
    assert!(get(&log, "tile/entries/000").await.is_some());
    log.stop().await;
}
