//! The whole path of a span, from `init` to a collector. In a process of its own, because `init`
//! works once.

use std::time::Duration;

use telemetry::{Config, Error};
use testkit::otlp::Receiver;

#[tokio::test]
async fn spans_reach_the_collector_whatever_the_log_filter() -> anyhow::Result<()> {
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
    tracing::info_span!("submit", { telemetry::SERVICE } = "intake")
        .in_scope(|| traceparent = telemetry::traceparent());
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
    Ok(())
}
