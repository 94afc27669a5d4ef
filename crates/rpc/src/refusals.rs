//! Log lines about refused calls: whoever runs Remit sees who is turned away, and why, but a flood
//! of refused calls is no flood of lines: of one caller, method and code a line is written at once,
//! then one with the number of the others every few seconds. No line has content. All are counted
//! by reason in `remit.rpc.refused`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use names::AgencyId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{Authenticate, Certificate, Presented, access::Method};

/// Shortest time between two lines about one kind.
const QUIET: Duration = Duration::from_secs(10);
/// Maximum number of kinds that are told apart. Further callers share a line for each method and
/// code.
const KINDS: usize = 1_024;

/// The refused calls of a server.
pub(crate) struct Refusals {
    service: &'static str,
    authenticate: Arc<dyn Authenticate>,
    lines: Mutex<HashMap<Refused, Line>>,
}

/// What shares a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Refused {
    method: &'static str,
    code: i32,
    system: String,
    agency: String,
}

struct Line {
    last: Instant,
    /// Refusals since, without a line.
    unsaid: u64,
    /// The last one's reason.
    reason: String,
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

    /// Counts the answer if it is a refusal, and writes a line if that is the first of its kind for
    /// some time. `method` is unknown where the server has none of that name, which may be anything.
    pub(crate) fn note(
        &self,
        method: Option<&'static Method>,
        answer: &Response,
        token: Option<&HeaderValue>,
        certificate: Option<&Certificate>,
    ) {
        // Most answers are none, and cost nothing here.
        let Some(status) = Status::from_header_map(answer.headers()) else {
            return;
        };
        if !is_refusal(status.code()) {
            return;
        }
        let mut headers = HeaderMap::new();
        headers.extend(token.map(|token| (AUTHORIZATION, token.clone())));
        let caller = self.authenticate.authenticate(&Presented {
            headers: &headers,
            certificate,
        });
        let agency = caller.as_ref().and_then(|caller| caller.agency.as_ref());
        let kind = Refused {
            method: method.map_or("unknown", |method| method.name),
            code: status.code().into(),
            agency: agency.map(AgencyId::to_string).unwrap_or_default(),
            system: caller.map_or_else(|| "unknown".to_owned(), |caller| caller.system),
        };
        let reason = status.get_details_error_info().map(|info| info.reason);
        let reason = reason.unwrap_or_default();
        crate::metrics::refused(self.service, &reason);
        self.count(kind, reason);
    }

    fn count(&self, kind: Refused, reason: String) {
        let now = Instant::now();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = match lines.len() < KINDS || lines.contains_key(&kind) {
            true => kind,
            false => Refused {
                system: "others".to_owned(),
                agency: String::new(),
                ..kind
            },
        };
        if let Some(line) = lines.get_mut(&kind) {
            line.unsaid += 1;
            line.reason = reason;
            return;
        }
        self.write(&kind, &reason, 0);
        let line = Line {
            last: now,
            unsaid: 0,
            reason,
        };
        lines.insert(kind, line);
    }

    /// Writes the counts of refusals until `shutdown`, and the last ones then.
    pub(crate) async fn tell(self: Arc<Self>, shutdown: CancellationToken) {
        while tokio::time::timeout(QUIET / 2, shutdown.cancelled()).await.is_err() {
            self.tell_due(Instant::now());
        }
        self.tell_due(Instant::now() + QUIET);
    }

    /// Writes what was only counted, of the kinds whose last line is old enough; forgets those of
    /// which nothing was.
    fn tell_due(&self, now: Instant) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|kind, line| {
            if now.duration_since(line.last) < QUIET {
                return true;
            }
            if line.unsaid == 0 {
                return false;
            }
            self.write(kind, &line.reason, std::mem::take(&mut line.unsaid));
            line.last = now;
            true
        });
    }

    /// Writes a line about one refusal, or about the number of them since the last line.
    fn write(&self, kind: &Refused, reason: &str, since: u64) {
        let told = match since {
            0 => "refused a call",
            _ => "refused more calls",
        };
        tracing::info!(
            service = self.service,
            method = kind.method,
            code = ?Code::from(kind.code),
            reason,
            system = kind.system,
            agency = kind.agency,
            calls = since.max(1),
            "{told}"
        );
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
    use crate::{Failure, Roles, Token, Tokens, access::DESK};

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
        static METHOD: Method = Method::new("SubmitReport", &[DESK]);
        let token = Token {
            token: "0123456789abcdefghij".to_owned(),
            system: "desk".to_owned(),
            agency: Some("police-510100".to_owned()),
            roles: Roles::AGENCY,
        };
        let hotline = Token {
            token: "abcdefghij0123456789".to_owned(),
            system: "hotline".to_owned(),
            ..token.clone()
        };
        let refusals = Refusals::new("intake", Arc::new(Tokens::new(&[token, hotline]).unwrap()));
        let other = HeaderValue::from_static("Bearer abcdefghij0123456789");
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
            refusals.note(Some(&METHOD), &answer(Failure::Overloaded), Some(&bearer), None);
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
        // Another kind is not kept quiet by it, nor another caller.
        refusals.note(Some(&METHOD), &answer(Failure::Unauthenticated), None, None);
        refusals.note(None, &answer(Failure::Unauthenticated), None, None);
        refusals.note(Some(&METHOD), &answer(Failure::Overloaded), None, None);
        refusals.note(Some(&METHOD), &answer(Failure::Overloaded), Some(&other), None);
        let others = lines();
        assert!(
            others.len() == 4 && others[3].contains("system=\"hotline\""),
            "{others:?}"
        );
        // The flood has stopped, and is counted nevertheless, once.
        tokio::time::advance(QUIET).await;
        refusals.tell_due(Instant::now());
        let later = lines();
        assert!(
            later.len() == 1 && later[0].contains("calls=999") && later[0].contains("system=\"desk\""),
            "{later:?}"
        );
        tokio::time::advance(QUIET).await;
        refusals.tell_due(Instant::now());
        assert!(lines().is_empty());
        assert!(refusals.lines.lock().unwrap().is_empty(), "what is over is forgotten");
        // Everyday answers have none.
        for failure in [
            Failure::invalid("report", "content"),
            Failure::NotFound { what: "case" },
        ] {
            refusals.note(Some(&METHOD), &answer(failure), Some(&bearer), None);
        }
        refusals.note(Some(&METHOD), &Response::default(), Some(&bearer), None);
        assert!(lines().is_empty());
    }
    /// However many callers are refused, only so many are told apart.
    #[tokio::test(start_paused = true)]
    async fn callers_beyond_a_number_share_a_line() {
        let refusals = Refusals::new("intake", Arc::new(Tokens::default()));
        for caller in 0..3 * KINDS {
            let kind = Refused {
                method: "SubmitReport",
                code: Code::ResourceExhausted.into(),
                system: caller.to_string(),
                agency: String::new(),
            };
            refusals.count(kind, "OVERLOADED".to_owned());
        }
        let lines = refusals.lines.lock().unwrap();
        assert_eq!(lines.len(), KINDS + 1);
        let others = lines.iter().find(|(kind, _)| kind.system == "others");
        assert_eq!(others.unwrap().1.unsaid, 2 * KINDS as u64 - 1);
    }

    /// A stopping server tells what it has counted.
    #[tokio::test(start_paused = true)]
    async fn the_last_counts_are_told_at_the_end() {
        let refusals = Arc::new(Refusals::new("intake", Arc::new(Tokens::default())));
        let kind = Refused {
            method: "SubmitReport",
            code: Code::ResourceExhausted.into(),
            system: "desk".to_owned(),
            agency: String::new(),
        };
        refusals.count(kind.clone(), String::new());
        refusals.count(kind.clone(), String::new());
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        Arc::clone(&refusals).tell(shutdown).await;
        assert_eq!(refusals.lines.lock().unwrap()[&kind].unsaid, 0);
    }
}
