//! `docs/metrics.md` says what the declarations of instruments say.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use telemetry::metrics::{Description, Kind, RuntimeInstruments, markdown, markdown_labels};

const HEAD: &str = "\
# Metrics

Every process measures these. Prometheus scrapes them at `/metrics` of the admin listener (`admin.listen`, such as `127.0.0.1:7300`; none by default), where
`/healthz` answers 200 while every service of the process can work and 503 otherwise. With `telemetry.endpoint` they also go to an OTLP collector, with traces and
the log lines that `telemetry.filter` lets pass; `telemetry.metrics`, `telemetry.traces` and `telemetry.logs` switch each off. A collector that hangs or is gone
slows nothing.

Names are those of OpenTelemetry; its conventions for RPC and databases are followed where they have a name. Durations are in seconds. A histogram is
`…_bucket`, `…_sum` and `…_count` in Prometheus.

No metric has content or says whom or what it is about: labels have the values below and no others, whatever is asked. Agencies, systems, reports and cases are no
labels. An age grows by itself between the looks that it comes from: a look that hangs shows as an age. Where several replicas share work, only the one that does it
has the metric: take the maximum over the replicas.

This file is written by a test, from the declarations in `crates/*/src/metrics.rs`: `UPDATE=1 cargo test -p host metrics`.

";

/// All instruments, by who measures.
pub const ALL: &[(&str, &[Description])] = &[
    ("Calls", rpc::Instruments::ALL),
    ("Commits, relays and clocks of a service", journal::Instruments::ALL),
    ("The log", audit::Instruments::ALL),
    ("Databases", sql::Instruments::ALL),
    ("Intake", intake::Instruments::ALL),
    ("Routing", routing::Instruments::ALL),
    ("The process", RuntimeInstruments::ALL),
];

#[test]
fn the_instruments_are_in_the_docs() {
    let mut text = HEAD.to_owned();
    for (title, instruments) in ALL {
        write!(text, "## {title}\n\n{}\n", markdown(instruments)).unwrap();
    }
    let all: Vec<_> = ALL.iter().flat_map(|(_, instruments)| *instruments).copied().collect();
    write!(text, "## Labels\n\n{}", markdown_labels(&all)).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/metrics.md differs from the declarations; write it with UPDATE=1 cargo test -p host metrics"
    );
}

/// The labels that there may be. Think before you add one: its values must be few, and tell nothing
/// of a record, a person, an agency or a system.
const LABELS: &[&str] = &[
    "db.client.connection.pool.name",
    "db.client.connection.state",
    "error.type",
    "remit.answer",
    "remit.asked",
    "remit.category",
    "remit.certificate",
    "remit.commands",
    "remit.consumer",
    "remit.fallback",
    "remit.kind",
    "remit.level",
    "remit.limit",
    "remit.outcome",
    "remit.producer",
    "remit.publication",
    "remit.reason",
    "remit.route",
    "remit.row",
    "remit.service",
    "remit.state",
    "remit.submission",
    "remit.verdict",
    "rpc.method",
    "rpc.status_code",
    "rpc.system.name",
];

/// What a scraper or a reader would stumble over.
#[test]
fn instruments_are_well_formed() {
    let all: Vec<_> = ALL.iter().flat_map(|(_, instruments)| *instruments).collect();
    let names: BTreeSet<_> = all.iter().map(|instrument| instrument.prometheus_name()).collect();
    assert_eq!(names.len(), all.len(), "two have one name");
    for instrument in all {
        let (name, about) = (instrument.name, instrument.description());
        assert!(
            about.ends_with('.') && about.starts_with(char::is_uppercase),
            "{name}: {about}"
        );
        assert!(!about.contains('|'), "{name}: breaks the table");
        assert_eq!(
            instrument.kind == Kind::Histogram,
            !instrument.buckets.is_empty(),
            "{name}"
        );
        assert!(instrument.buckets.is_sorted(), "{name}");
        assert!(
            ["s", "By"].contains(&instrument.unit) || instrument.unit.starts_with('{'),
            "{name}"
        );
        for label in instrument.labels {
            assert!(LABELS.contains(&label.key), "{name}: `{}` is none of LABELS", label.key);
        }
    }
}
