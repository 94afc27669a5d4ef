//! The HTTP interface of a witness: decodes, asks the book, encodes.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    book::{AddError, Book},
    judge::Refusal,
    submission::{SIZE_TYPE, Submission},
};

/// Far more than 63 hashes and a note with all its signatures.
const BODY_BYTES: usize = 64 << 10;
const TEXT: &str = "text/plain; charset=utf-8";

/// A witness on the network. Submissions and what was seen are at the same address; neither needs a token: what counts
/// is who signed the checkpoint.
#[derive(Clone, Debug)]
pub struct Server(Arc<Book>);

impl Server {
    /// Over its records.
    pub fn new(book: Book) -> Self {
        Self(Arc::new(book))
    }

    /// Serves on a listener that the caller bound, until `shutdown`; what is under way is answered first.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        let routes = Router::new()
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/{origin_hash}/checkpoint", get(checkpoint))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .with_state(self.0);
        axum::serve(listener, routes)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    }
}

async fn add_checkpoint(State(book): State<Arc<Book>>, body: Bytes) -> Response {
    let submission = match Submission::decode(&body) {
        Ok(submission) => submission,
        Err(malformed) => return text(StatusCode::BAD_REQUEST, malformed.to_string()),
    };
    // On a task of its own: a caller who hangs up must not leave the file written and the record of it not.
    let added = tokio::spawn(async move { book.add(&submission).await }).await;
    match added {
        Ok(Ok(signature)) => text(StatusCode::OK, signature),
        Ok(Err(AddError::Refused(refusal))) => refused(refusal),
        Ok(Err(error @ AddError::Keep(_))) => {
            tracing::error!(error = &error as &dyn std::error::Error, "nothing is cosigned");
            text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        Err(error) => {
            tracing::error!(%error, "cosigning panicked");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error".to_owned())
        }
    }
}

fn refused(refusal: Refusal) -> Response {
    let status = match refusal {
        Refusal::Malformed | Refusal::Shrinks => StatusCode::BAD_REQUEST,
        Refusal::UnknownLog => StatusCode::NOT_FOUND,
        Refusal::NotSigned => StatusCode::FORBIDDEN,
        Refusal::Stale(seen) => {
            let size = format!("{seen}\n");
            return (StatusCode::CONFLICT, [(CONTENT_TYPE, SIZE_TYPE)], size).into_response();
        }
        Refusal::Inconsistent => StatusCode::UNPROCESSABLE_ENTITY,
    };
    text(status, refusal.to_string())
}

async fn checkpoint(State(book): State<Arc<Book>>, Path(origin_hash): Path<String>) -> Response {
    match book.last(&origin_hash).await {
        Some(note) => text(StatusCode::OK, note),
        None => text(StatusCode::NOT_FOUND, "nothing was cosigned of this log".to_owned()),
    }
}

fn text(status: StatusCode, mut text: String) -> Response {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    (status, [(CONTENT_TYPE, TEXT)], text).into_response()
}
