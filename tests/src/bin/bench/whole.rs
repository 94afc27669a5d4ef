//! The complete path of a report: submitted, routed, logged and published, by a process of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use api::{
    audit::{WatchChangesRequest, audit_service_client::AuditServiceClient},
    event::Detail,
    intake::{SubmitReportRequest, intake_service_client::IntakeServiceClient},
};
use hdrhistogram::Histogram;
use journal::Opened;
use prost::Message as _;
use rpc::client::Caller;
use tests::process::Process;
use tokio::task::{JoinHandle, JoinSet};

use crate::load::{self, report};

/// When each report was acknowledged, by name.
type Answered = Arc<Mutex<HashMap<String, Instant>>>;

/// Results for the complete path.
pub struct Whole {
    /// Reports per second, from the first submission until the log published the last route.
    pub rate: f64,
    /// From acknowledgement to published route, in microseconds.
    pub lag: Histogram<u64>,
}

impl Whole {
    pub fn line(&self) -> String {
        let ms = |quantile| self.lag.value_at_quantile(quantile) as f64 / 1_000.0;
        format!(
            "{:>7.0}/s   answer to published route: p50 {:>6.0} ms   p99 {:>6.0} ms",
            self.rate,
            ms(0.5),
            ms(0.99)
        )
    }
}

/// Submits at a rate, or as fast as `callers` can, and waits until everything is routed and logged.
pub async fn run(process: &Process, callers: usize, rate: Option<u32>, duration: Duration) -> anyhow::Result<Whole> {
    let answered = Answered::default();
    let mut audit = process.audit();
    let from = end_of_log(&mut audit).await?;
    let auditor = AuditServiceClient::new(process.channel(&process.endpoints.audit, "auditor"));
    let tail = tail(auditor, from, Arc::clone(&answered));
    let started = Instant::now();
    let slots = Arc::new(AtomicU64::new(0));
    let mut load = JoinSet::new();
    let clients: Vec<_> = (0..4).map(|_| process.intake("operator")).collect();
    for caller in 0..callers {
        let client = clients[caller % clients.len()].clone();
        load.spawn(submit(
            client,
            Arc::clone(&slots),
            rate,
            started,
            duration,
            Arc::clone(&answered),
        ));
    }
    let mut submitted = 0;
    while let Some(count) = load.join_next().await {
        submitted += count??;
    }
    let (lag, last) = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let state = tail.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.len() >= submitted {
            break (state.0.clone(), state.1);
        }
        anyhow::ensure!(
            started.elapsed() < duration * 10,
            "only {} of {submitted} routes were logged",
            state.0.len()
        );
    };
    tail.task.abort();
    Ok(Whole {
        rate: submitted as f64 / last.duration_since(started).as_secs_f64(),
        lag,
    })
}

async fn submit(
    mut client: IntakeServiceClient<Caller>,
    slots: Arc<AtomicU64>,
    rate: Option<u32>,
    started: Instant,
    duration: Duration,
    answered: Answered,
) -> anyhow::Result<u64> {
    let mut count = 0;
    loop {
        let slot = slots.fetch_add(1, Ordering::Relaxed);
        let due = rate.map_or(started, |rate| {
            started + Duration::from_secs_f64(slot as f64 / f64::from(rate))
        });
        if due.max(Instant::now()) >= started + duration {
            return Ok(count);
        }
        tokio::time::sleep_until(due.into()).await;
        let request_id = load::ordered_request_id();
        let answer = client
            .submit_report(SubmitReportRequest { request_id, ..report() })
            .await?
            .into_inner();
        let name = answer.report.context("an answer names its report")?.name;
        answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, Instant::now());
        count += 1;
    }
}

struct Tail {
    task: JoinHandle<anyhow::Result<()>>,
    state: Arc<Mutex<(Histogram<u64>, Instant)>>,
}

/// Follows the published log and records when each route appears.
fn tail(mut audit: AuditServiceClient<Caller>, from: i64, answered: Answered) -> Tail {
    let state = Arc::new(Mutex::new((
        Histogram::new(3).expect("three digits are possible"),
        Instant::now(),
    )));
    let seen = Arc::clone(&state);
    let task = tokio::spawn(async move {
        // Records of different services arrive in any order, so each side waits for the other.
        let mut names = HashMap::new();
        let mut routed = HashMap::new();
        // Which entries are routes is in what they commit to. Following them is logged once.
        let request = WatchChangesRequest {
            start_index: from,
            with_detail: true,
            purpose: "benchmark".to_owned(),
            ..WatchChangesRequest::default()
        };
        let mut published = audit.watch_changes(request).await?.into_inner();
        loop {
            let message = published
                .message()
                .await?
                .context("the log is followed until the end")?;
            let now = Instant::now();
            for change in message.changes {
                let (Some(chain), Some(detail)) = (&change.chain, &change.detail) else {
                    continue;
                };
                let entry = Opened::new(&change.entry, chain.into())?;
                let event = match entry.kind.as_str() {
                    "report.accepted" => {
                        names.insert(entry.event_id, entry.record);
                        entry.event_id
                    }
                    "case.opened" => {
                        let cause = Detail::decode(&*detail.content)?.caused_by;
                        let cause = cause.parse().context("a case has a cause")?;
                        routed.insert(cause, now);
                        cause
                    }
                    _ => continue,
                };
                let (Some(name), Some(at)) = (names.get(&event), routed.get(&event).copied()) else {
                    continue;
                };
                // The route may be published before the submitter has read its answer.
                let answer = answered
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(name)
                    .unwrap_or(at);
                names.remove(&event);
                routed.remove(&event);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.0
                    .record(u64::try_from(at.saturating_duration_since(answer).as_micros())?)?;
                seen.1 = seen.1.max(at);
            }
        }
    });
    Tail { task, state }
}

async fn end_of_log(audit: &mut AuditServiceClient<Caller>) -> anyhow::Result<i64> {
    let checkpoint = audit
        .get_checkpoint(api::audit::GetCheckpointRequest {})
        .await?
        .into_inner()
        .checkpoint;
    Ok(checkpoint.lines().nth(1).context("a checkpoint has a size")?.parse()?)
}
