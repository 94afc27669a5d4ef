//! The log as files over plain HTTP, as specified by C2SP `tlog-tiles`, for tools that know nothing
//! of Remit.
//!
//! Public files: no authentication, read-only, and only headers and commitments. They end at the
//! newest published checkpoint. A partial file stays available after the full one exists:
//! everything published once remains verifiable.

use std::{io::Write as _, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::watch;

use crate::{
    access::{CHECKPOINT, TILES},
    publisher::Published,
    store::Store,
    tiles::{Content, TilePath, put_entry},
    tree::TileId,
    vitals::Vitals,
};

const BYTES: &str = "application/octet-stream";
const GZIP: &str = "gzip";
/// Cache policy for files that never change.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Cache policy for files that change with the next entry, or may soon exist.
const FLEETING: &str = "no-store";

#[derive(Clone)]
struct Files {
    store: Arc<dyn Store>,
    published: watch::Receiver<Published>,
    vitals: Arc<Vitals>,
}

/// The routes for the log's files.
pub(crate) fn router(store: Arc<dyn Store>, published: watch::Receiver<Published>, vitals: Arc<Vitals>) -> Router {
    Router::new()
        .route(CHECKPOINT, get(checkpoint))
        .route(TILES, get(tile))
        .with_state(Files {
            store,
            published,
            vitals,
        })
}

async fn checkpoint(State(files): State<Files>) -> Response {
    let note = files.published.borrow().note.clone();
    answer(StatusCode::OK, "text/plain; charset=utf-8", FLEETING, note)
}

async fn tile(State(files): State<Files>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let Ok(path) = format!("tile/{path}").parse::<TilePath>() else {
        return plain(StatusCode::NOT_FOUND, "no such log file\n");
    };
    let size = files.published.borrow().head.size;
    if !path.is_within(size) {
        let text = format!("the published log has {size} entries, too few for this file\n");
        return plain(StatusCode::NOT_FOUND, text);
    }
    match read(&*files.store, path).await {
        // Hashes do not compress.
        Ok(bytes) if path.content == Content::Entries => bundle(bytes, takes_gzip(&headers)),
        Ok(bytes) => answer(StatusCode::OK, BYTES, IMMUTABLE, bytes),
        Err(error @ sql::Error::Damaged { .. }) => {
            // A signed entry is missing: retrying does not bring it back.
            files.vitals.halt(&error);
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the log is damaged: {error}\n"),
            )
        }
        Err(error) => {
            tracing::error!(%path, error = &error as &dyn std::error::Error, "cannot serve a file of the log");
            let mut response = plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "the log cannot be read at the moment; try again\n",
            );
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// Reads a file that the published log is large enough for.
async fn read(store: &dyn Store, path: TilePath) -> Result<Vec<u8>, sql::Error> {
    let missing = || sql::Error::Damaged {
        what: "log",
        problem: format!("{path} is missing or too short"),
    };
    match path.content {
        Content::Hashes(level) => {
            let id = TileId { level, n: path.n };
            let mut tiles = store.tiles([id].into()).await?;
            tiles.take(&id).and_then(|bytes| path.narrow(bytes)).ok_or_else(missing)
        }
        Content::Entries => {
            let start = path.start().ok_or_else(missing)?;
            let entries = store.entries(start..start + u64::from(path.width)).await?;
            let mut bundle = Vec::with_capacity(entries.iter().map(|entry| entry.len() + 2).sum());
            for entry in &entries {
                put_entry(&mut bundle, entry);
            }
            Ok(bundle)
        }
        // Paths below `tile/` never refer to details.
        Content::Details => Err(missing()),
    }
}

/// A bundle of entries, compressed if the client accepts that, as the standard recommends.
fn bundle(bytes: Vec<u8>, compress: bool) -> Response {
    let compressed = compress.then(|| gzip(&bytes)).and_then(Result::ok);
    let is_compressed = compressed.is_some();
    let mut response = answer(StatusCode::OK, BYTES, IMMUTABLE, compressed.unwrap_or(bytes));
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(GZIP));
    }
    response
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(bytes)?;
    writer.finish()
}

/// Whether a client accepts gzip with non-zero quality.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::ACCEPT_ENCODING).iter();
    offers
        .filter_map(|offers| offers.to_str().ok())
        .flat_map(|offers| offers.split(','))
        .any(|offer| {
            let (coding, weight) = offer.split_once(';').unwrap_or((offer, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
            coding.trim().eq_ignore_ascii_case(GZIP) && weight.is_some_and(|weight: f32| weight > 0.0)
        })
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    answer(status, "text/plain; charset=utf-8", FLEETING, text)
}

fn answer(status: StatusCode, content_type: &'static str, caching: &'static str, body: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, caching),
        // Any web page may verify the log.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_negotiated() {
        for (offers, expected) in [
            (&[][..], false),
            (&["identity"], false),
            (&["gzip"], true),
            (&["identity, GZip"], true),
            (&["br;q=1.0, gzip;q=0.8"], true),
            (&["br", "gzip ; q=1"], true),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000, identity"], false),
            (&["gzip;q=much"], false),
            (&["xgzip"], false),
        ] {
            let mut headers = HeaderMap::new();
            for offer in offers {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(offer));
            }
            assert_eq!(takes_gzip(&headers), expected, "{offers:?}");
        }
    }
}
