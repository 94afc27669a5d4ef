//! The whole path of spans, log lines and metrics, from `init` to a collector. In a process of its
//! own, because `init` works once.

use std::time::Duration;

use telemetry::{Config, Error};
use testkit::otlp::Receiver;

telemetry::instruments! {
    /// What the test measures.
    struct Instruments {
        /// Reports taken.
        taken: telemetry::metrics::Counter<()> = ("test.taken", "{report}"),
    }
}

#[tokio::test]
async fn everything_reaches_the_collector_and_spans_do_whatever_the_log_filter() -> anyhow::Result<()> {
    let collector = Receiver::start().await?;
    let endpoint = Some(collector.endpoint().to_owned());

    let bad = Config {
        filter: "intake=loud".to_owned(),
        ..Config::default()
    };
    assert!(matches!(telemetry::init(&bad, "remit"), Err(Error::Filter(_))));
    let bad = Config {
        endpoint: Some("not a url".to_owned()),
        ..Config::default()
    };
    assert!(matches!(telemetry::init(&bad, "remit"), Err(Error::Exporter { .. })));
    assert!(!telemetry::enabled());

    let config = Config {
        endpoint,
        filter: "error".to_owned(),
        ..Config::default()
    };
    let guard = telemetry::init(&config, "remit")?;
    assert!(telemetry::enabled());
    assert!(matches!(telemetry::init(&config, "remit"), Err(Error::Install(_))));

    let mut traceparent = String::new();
    tracing::info_span!("submit", { telemetry::SERVICE } = "intake").in_scope(|| {
        traceparent = telemetry::traceparent();
        tracing::error!("the disk is full");
        tracing::info!("below the filter");
    });
    Instruments::get().taken.add(3, ());
    guard.shutdown().await?;

    let submit = collector
        .wait_for(
            |spans| spans.iter().find(|span| span.name() == "submit").cloned(),
            Duration::from_secs(10),
        )
        .await?;
    assert_eq!(traceparent, format!("00-{}-{}-01", submit.trace_id(), submit.span_id()));
    assert_eq!(submit.parent_span_id(), "");
    assert_eq!(submit.attribute("remit.service"), Some("intake"));
    assert_eq!(submit.service_name(), "remit");
    assert!(!telemetry::enabled());

    let lines = collector.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].message, "the disk is full");
    assert_eq!(lines[0].trace_id, submit.trace_id());
    assert_eq!(lines[0].span_id, submit.span_id());
    let metrics = collector.metrics();
    assert!(metrics.contains(&"test.taken".to_owned()), "{metrics:?}");
    Ok(())
}
