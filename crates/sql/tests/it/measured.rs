//! What is measured of a database.

use sql::{Db, Engine};
use testkit::{Backend, on_each_backend};

on_each_backend!(pools_are_measured_from_when_they_are_asked_to_until_they_close);

/// The numbers of a metric, by its labels.
fn numbers(metric: &str, service: &str) -> Vec<(String, f64)> {
    let text = telemetry::metrics::text().unwrap();
    let start = format!("{metric}{{");
    let lines = text
        .lines()
        .filter(|line| line.starts_with(&start) && line.contains(service));
    lines
        .map(|line| {
            let (labels, number) = line.rsplit_once(' ').unwrap();
            (labels.to_owned(), number.parse().unwrap())
        })
        .collect()
}

async fn pools_are_measured_from_when_they_are_asked_to_until_they_close(backend: Backend) {
    let db = Db::open(backend.url(), &[]).await.unwrap();
    // Both engines run in one process.
    let (service, pool) = match db.engine() {
        Engine::Sqlite => ("intake", "writer"),
        Engine::Postgres => ("audit", "shared"),
    };
    let of_pool = |metric: &str, also: &str| {
        let found = numbers(metric, service);
        let pool = format!("db_client_connection_pool_name=\"{pool}\"");
        let mut found = found
            .into_iter()
            .filter(|(labels, _)| labels.contains(&pool) && labels.contains(also));
        found.next().map(|(_, number)| number)
    };
    assert_eq!(of_pool("db_client_connection_max", ""), None);
    db.measure(service);
    // A second name changes nothing.
    db.measure("routing");
    assert!(numbers("db_client_connection_max", "routing").is_empty());
    let tx = db.begin().await.unwrap();
    assert_eq!(of_pool("db_client_connection_count", "\"used\""), Some(1.0));
    assert!(of_pool("db_client_connection_max", "").unwrap() >= 1.0);
    assert_eq!(of_pool("db_client_connection_pending_requests", ""), Some(0.0));
    tx.rollback().await;
    assert_eq!(of_pool("db_client_connection_count", "\"used\""), Some(0.0));
    assert!(of_pool("db_client_connection_wait_time_seconds_count", "").unwrap() >= 1.0);
    assert_eq!(numbers("remit_db_full", service)[0].1, 0.0);
    db.close().await;
    drop(db);
    assert_eq!(
        of_pool("db_client_connection_max", ""),
        None,
        "what is closed has no numbers"
    );
    assert!(numbers("remit_db_full", service).is_empty());
}
