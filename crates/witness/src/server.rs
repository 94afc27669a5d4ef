//! The witness's HTTP interface: decodes, calls the book, encodes.

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
    judge::SubmissionError,
    submission::{SIZE_TYPE, Submission},
};

/// Far more than 63 hashes and a note with all its signatures.
const BODY_BYTES: usize = 64 << 10;
const TEXT: &str = "text/plain; charset=utf-8";

/// A witness on the network. Submissions and last checkpoints share one address. No tokens are
/// needed: the signature on the checkpoint decides.
#[derive(Clone, Debug)]
pub struct Server(Arc<Book>);

impl Server {
    /// A server over a witness's records.
    pub fn new(book: Book) -> Self {
        Self(Arc::new(book))
    }

    /// Serves on `listener` until `shutdown`, then completes running requests.
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
    // On a task of its own: a caller that hangs up must not leave the file written and the
    // in-memory record outdated.
    let added = tokio::spawn(async move { book.add(&submission).await }).await;
    match added {
        Ok(Ok(signature)) => text(StatusCode::OK, signature),
        Ok(Err(AddError::Refused(refusal))) => refused(refusal),
        Ok(Err(error @ AddError::Keep(_))) => {
            tracing::error!(error = &error as &dyn std::error::Error, "cosigning failed");
            text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        Err(error) => {
            tracing::error!(%error, "cosigning panicked");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error".to_owned())
        }
    }
}

fn refused(refusal: SubmissionError) -> Response {
    let status = match refusal {
        SubmissionError::Malformed | SubmissionError::Shrinks => StatusCode::BAD_REQUEST,
        SubmissionError::UnknownLog => StatusCode::NOT_FOUND,
        SubmissionError::NotSigned => StatusCode::FORBIDDEN,
        SubmissionError::Stale(seen) => {
            let size = format!("{seen}\n");
            return (StatusCode::CONFLICT, [(CONTENT_TYPE, SIZE_TYPE)], size).into_response();
        }
        SubmissionError::Forked => StatusCode::CONFLICT,
        SubmissionError::EmptyRoot | SubmissionError::Unproven => StatusCode::UNPROCESSABLE_ENTITY,
    };
    text(status, refusal.to_string())
}

async fn checkpoint(State(book): State<Arc<Book>>, Path(origin_hash): Path<String>) -> Response {
    match book.last(&origin_hash).await {
        Some(note) => text(StatusCode::OK, note),
        None => text(
            StatusCode::NOT_FOUND,
            "no checkpoint of this log has been cosigned".to_owned(),
        ),
    }
}

fn text(status: StatusCode, mut text: String) -> Response {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    (status, [(CONTENT_TYPE, TEXT)], text).into_response()
}
