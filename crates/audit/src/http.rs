//! The log as files over plain HTTP, as C2SP `tlog-tiles` specifies: for tools that know nothing of Remit.
//!
//! Public and read-only: what is served says no more than headers and commitments. It ends where the newest published
//! checkpoint does. A partial file stays there when the full one has come: what was published once can be verified for ever.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, header};
use tokio::sync::watch;

use crate::{
    publisher::Published,
    store::Store,
    tiles::{Content, TilePath, put_entry},
    tree::TileId,
};

/// What never changes may be kept for ever.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// What changes with the next entry, and what may be there in a moment.
const FLEETING: &str = "no-store";

#[derive(Clone)]
struct Files {
    store: Arc<dyn Store>,
    published: watch::Receiver<Published>,
}

/// Serves the log's files.
pub(crate) fn router(store: Arc<dyn Store>, published: watch::Receiver<Published>) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .with_state(Files { store, published })
}

async fn checkpoint(State(files): State<Files>) -> Response {
    let note = files.published.borrow().note.clone();
    answer(StatusCode::OK, "text/plain; charset=utf-8", FLEETING, note)
}

async fn tile(State(files): State<Files>, Path(path): Path<String>) -> Response {
    let Ok(path) = format!("tile/{path}").parse::<TilePath>() else {
        return plain(StatusCode::NOT_FOUND, "no file of a log has that name\n");
    };
    let size = files.published.borrow().head.size;
    if !path.is_within(size) {
        let text = format!("the published log has {size} entries, and they do not fill that file\n");
        return plain(StatusCode::NOT_FOUND, text);
    }
    match read(&*files.store, path).await {
        Ok(bytes) => answer(StatusCode::OK, "application/octet-stream", IMMUTABLE, bytes),
        Err(error) => {
            tracing::error!(%path, error = &error as &dyn std::error::Error, "cannot serve a file of the log");
            let mut response = plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "the log cannot be read now; try again\n",
            );
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            response
        }
    }
}

/// The bytes of a file that the published log is large enough for.
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
        // No path below `tile/` names details.
        Content::Details => Err(missing()),
    }
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    answer(status, "text/plain; charset=utf-8", FLEETING, text)
}

fn answer(status: StatusCode, content_type: &'static str, caching: &'static str, body: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, caching),
        // A page of anybody's may verify the log.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body.into()).into_response()
}
