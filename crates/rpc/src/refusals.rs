//! Log lines about refused calls: whoever runs Remit sees who is turned away, and why, but a flood
//! of refused calls is no flood of lines. No line has content.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use names::AgencyId;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{Authenticate, access::Method};

/// Shortest time between two lines about one method and code.
const QUIET: Duration = Duration::from_secs(10);

/// The refused calls of a server.
pub(crate) struct Refusals {
    service: &'static str,
    authenticate: Arc<dyn Authenticate>,
    /// One entry per method and code: both are bounded.
    lines: Mutex<HashMap<(&'static str, i32), Line>>,
}

struct Line {
    last: Instant,
    /// Refusals since, without a line.
    unsaid: u64,
}

impl std::fmt::Debug for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refusals")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Refusals {
    pub(crate) fn new(service: &'static str, authenticate: Arc<dyn Authenticate>) -> Self {
        Self {
            service,
            authenticate,
            lines: Mutex::default(),
        }
    }

    /// Writes a line if the answer is a refusal and a line is due. `method` is unknown where the
    /// server has none of that name, which may be anything.
    pub(crate) fn note(&self, method: Option<&'static Method>, answer: &Response, token: Option<&HeaderValue>) {
        // Most answers are none, and cost nothing here.
        let Some(status) = Status::from_header_map(answer.headers()) else {
            return;
        };
        if !is_refusal(status.code()) {
            return;
        }
        let method = method.map_or("unknown", |method| method.name);
        let Some(unsaid) = self.due(method, status.code()) else {
            return;
        };
        let mut headers = HeaderMap::new();
        headers.extend(token.map(|token| (AUTHORIZATION, token.clone())));
        let caller = self.authenticate.authenticate(&headers);
        let agency = caller
            .as_ref()
            .and_then(|caller| caller.agency.as_ref())
            .map(AgencyId::as_str);
        let system = caller.as_ref().map(|caller| caller.system.as_str());
        let reason = status.get_details_error_info().map(|info| info.reason);
        tracing::info!(
            service = self.service,
            method,
            code = ?status.code(),
            reason = reason.unwrap_or_default(),
            system = system.unwrap_or("unknown"),
            agency = agency.unwrap_or_default(),
            others = unsaid,
            "refused a call"
        );
    }

    /// The refusals of this kind without a line before this one; `None` if it gets none either.
    fn due(&self, method: &'static str, code: Code) -> Option<u64> {
        let now = Instant::now();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.get_mut(&(method, i32::from(code))) {
            Some(line) if now.duration_since(line.last) < QUIET => {
                line.unsaid += 1;
                None
            }
            Some(line) => {
                line.last = now;
                Some(std::mem::take(&mut line.unsaid))
            }
            None => {
                lines.insert((method, i32::from(code)), Line { last: now, unsaid: 0 });
                Some(0)
            }
        }
    }
}

/// Not those for what a request says or asks for, which are the caller's everyday business, nor
/// internal errors, which have their own lines.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unimplemented
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Failure, Role, Token, Tokens, access::Kind};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_calls_leave_a_line_and_a_flood_of_them_few() {
        static METHOD: Method = Method::new("SubmitReport", &[Kind::Agency]);
        let token = Token {
            token: "0123456789abcdefghij".to_owned(),
            system: "desk".to_owned(),
            agency: Some("police-510100".to_owned()),
            role: Role::Agency,
        };
        let refusals = Refusals::new("intake", Arc::new(Tokens::new(&[token]).unwrap()));
        let bearer = HeaderValue::from_static("Bearer 0123456789abcdefghij");
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let answer = |failure| Status::from(failure).into_http();
        let lines = || {
            let text = std::mem::take(&mut *written.0.lock().unwrap());
            String::from_utf8(text)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };

        for _ in 0..1_000 {
            refusals.note(Some(&METHOD), &answer(Failure::Overloaded), Some(&bearer));
        }
        let first = lines();
        assert_eq!(first.len(), 1, "{first:?}");
        for expected in [
            "refused a call",
            "method=\"SubmitReport\"",
            "agency=\"police-510100\"",
            "system=\"desk\"",
            "reason=\"OVERLOADED\"",
        ] {
            assert!(first[0].contains(expected), "{expected}: {first:?}");
        }
        assert!(!first[0].contains("0123456789"), "{first:?}");
        // Another kind is not kept quiet by it.
        refusals.note(Some(&METHOD), &answer(Failure::Unauthenticated), None);
        refusals.note(None, &answer(Failure::Unauthenticated), None);
        assert_eq!(lines().len(), 2);
        tokio::time::advance(QUIET).await;
        refusals.note(Some(&METHOD), &answer(Failure::Overloaded), Some(&bearer));
        let later = lines();
        assert!(later.len() == 1 && later[0].contains("others=999"), "{later:?}");
        // Everyday answers have none.
        for failure in [
            Failure::invalid("report", "content"),
            Failure::NotFound { what: "case" },
        ] {
            refusals.note(Some(&METHOD), &answer(failure), Some(&bearer));
        }
        refusals.note(Some(&METHOD), &Response::default(), Some(&bearer));
        assert!(lines().is_empty());
    }
}
