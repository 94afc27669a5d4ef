//! One trace from submit to route to log, across asynchronous hops, as a collector receives it.

use std::{collections::BTreeMap, time::Duration};

use api::intake::SubmitReportRequest;
use tempfile::TempDir;
use testkit::otlp::{Receiver, Span};

use tests::process::{Databases, Process, gambling};

/// A trace begun by the caller's own span.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_runs_from_submit_over_route_to_log() {
    let receiver = Receiver::start().await.unwrap();
    let folder = TempDir::with_prefix("remit-trace-").unwrap();
    let endpoint = receiver.endpoint().to_owned();
    let process = Process::start(
        folder.path(),
        &Databases::Sqlite,
        &[("REMIT_TELEMETRY_ENDPOINT", &endpoint)],
    );
    let mut request = tonic::Request::new(SubmitReportRequest { ..gambling("") });
    request
        .metadata_mut()
        .insert("traceparent", TRACEPARENT.parse().unwrap());
    process.intake("operator").submit_report(request).await.unwrap();

    let expected = [
        "remit.intake.v1.IntakeService/SubmitReport",
        "route report",
        "append",
        "record case change",
    ];
    let trace = receiver
        .wait_for(
            |spans| {
                let trace: Vec<Span> = spans
                    .iter()
                    .filter(|span| span.trace_id() == "0af7651916cd43dd8448eb211c80319c")
                    .cloned()
                    .collect();
                // Three entries are logged: accepted, opened, routed.
                let appended = trace.iter().filter(|span| span.name() == "append").count();
                (appended >= 3
                    && expected
                        .iter()
                        .all(|name| trace.iter().any(|span| span.name() == *name)))
                .then_some(trace)
            },
            Duration::from_secs(30),
        )
        .await
        .unwrap();

    let by_id: BTreeMap<String, &Span> = trace.iter().map(|span| (span.span_id().to_owned(), span)).collect();
    let submit = trace.iter().find(|span| span.name() == expected[0]).unwrap();
    assert_eq!(
        submit.parent_span_id(),
        "b7ad6b7169203331",
        "the caller's span is the parent"
    );
    let route = trace.iter().find(|span| span.name() == "route report").unwrap();
    assert_eq!(
        route.parent_span_id(),
        submit.span_id(),
        "routing continues the trace of the call to intake"
    );
    for span in &trace {
        let mut current = span;
        while let Some(parent) = by_id.get(current.parent_span_id()) {
            current = parent;
        }
        assert_eq!(
            current.span_id(),
            submit.span_id(),
            "`{}` descends from the submission",
            span.name()
        );
    }
}
