//! A collector that accepts connections and never answers. In a process of its own, because `init`
//! works once.

use std::time::{Duration, Instant};

use telemetry::{Config, Error, FLUSH_LIMIT};
use testkit::otlp::Hanging;

telemetry::instruments! {
    /// What the test measures.
    struct Instruments {
        /// Reports taken.
        taken: telemetry::metrics::Counter<()> = ("test.taken", "{report}"),
    }
}

/// More than the queues of spans and lines hold.
const MANY: u64 = 10_000;

#[tokio::test]
async fn a_collector_that_hangs_slows_nothing() -> anyhow::Result<()> {
    let collector = Hanging::start().await?;
    let config = Config {
        endpoint: Some(collector.endpoint().to_owned()),
        filter: "off".to_owned(),
        ..Config::default()
    };
    let guard = telemetry::init(&config, "remit")?;
    let work = || {
        let begun = Instant::now();
        for _ in 0..MANY {
            tracing::info_span!("submit").in_scope(|| tracing::info!("taken"));
            Instruments::get().taken.add(1, ());
        }
        begun.elapsed()
    };
    work();
    collector.connected().await;
    // Its own time limit for one export is 10 s: had anything waited for one, it would show.
    let took = work();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let text = telemetry::metrics::text().map_err(anyhow::Error::msg)?;
    assert!(text.contains(&format!("test_taken_total {}", 2 * MANY)), "{text}");

    let begun = Instant::now();
    assert!(matches!(guard.shutdown().await, Err(Error::Flush(_))));
    assert!(
        begun.elapsed() < FLUSH_LIMIT + Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    Ok(())
}
