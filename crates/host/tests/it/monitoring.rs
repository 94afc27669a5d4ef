//! Alerts, their tests, the runbook and the dashboards in `deploy/monitoring` agree with each other
//! and with what the code exports. Whether the alerts fire, `make check-alerts` tries with Prometheus's
//! own tool.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use crate::metrics::ALL;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/monitoring")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All that a scraper gets: names of series.
fn exported() -> BTreeSet<String> {
    let all = ALL.iter().flat_map(|(_, instruments)| *instruments);
    all.flat_map(|instrument| {
        let name = instrument.prometheus_name();
        match instrument.buckets.is_empty() {
            true => vec![name],
            false => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).into(),
        }
    })
    .collect()
}

/// The labels of all instruments, as Prometheus has them, and its own.
fn labels() -> BTreeSet<String> {
    let all = ALL.iter().flat_map(|(_, instruments)| *instruments);
    let ours = all
        .flat_map(|instrument| instrument.labels)
        .map(|label| label.key.replace('.', "_"));
    ours.chain(["le", "instance"].map(str::to_owned)).collect()
}

/// The words of an expression that could be names: of series, labels, functions.
fn words(expression: &str) -> Vec<String> {
    let mut outside = String::new();
    for (i, part) in expression.split('"').enumerate() {
        // Not what stands between quotation marks.
        outside.push_str(if i % 2 == 0 { part } else { " " });
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = outside.split(|c| !is_part(c)).map(str::to_owned);
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .collect()
}

/// What PromQL itself reads.
const LANGUAGE: &[&str] = &[
    "absent",
    "absent_over_time",
    "and",
    "by",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "or",
    "predict_linear",
    "rate",
    "sum",
    "time",
    "vector",
];

fn check(what: &str, expression: &str, recorded: &BTreeSet<String>) {
    let (exported, labels) = (exported(), labels());
    let mut has_series = false;
    for word in words(expression) {
        has_series |= exported.contains(&word) || recorded.contains(&word);
        let is_known = exported.contains(&word)
            || recorded.contains(&word)
            || labels.contains(&word)
            || LANGUAGE.contains(&word.as_str())
            // A duration, such as the `m` of `5m`.
            || word == "__rate_interval";
        assert!(
            is_known,
            "{what}: `{word}` is no series, no label and no function: {expression}"
        );
    }
    assert!(has_series, "{what}: no series in {expression}");
}

fn rules() -> Vec<Value> {
    let file = yaml("alerts.yaml");
    let groups = file["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn recorded() -> BTreeSet<String> {
    rules()
        .iter()
        .filter_map(|rule| Some(rule.get("record")?.as_str()?.to_owned()))
        .collect()
}

#[test]
fn alerts_name_series_that_the_code_exports() {
    for rule in rules() {
        let name = rule.get("alert").or(rule.get("record")).unwrap();
        check(&name.to_string(), text(&rule, "expr"), &recorded());
    }
}

#[test]
fn each_alert_has_a_section_of_the_runbook_and_tests_in_which_it_fires_and_is_silent() {
    let (runbook, tests) = (read("runbook.md"), yaml("alerts.test.yaml"));
    let tests: Vec<_> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    let mut sections: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for rule in rules().iter().filter(|rule| rule.get("alert").is_some()) {
        let alert = text(rule, "alert");
        let place = sections.iter().position(|section| *section == alert);
        sections.remove(place.unwrap_or_else(|| panic!("runbook.md has no section {alert}")));
        let severity = text(&rule["labels"], "severity");
        assert!(["page", "ticket"].contains(&severity), "{alert}: {severity}");
        assert!(
            runbook.contains(&format!("## {alert}\n\n*{severity}.*")),
            "{alert}: the runbook has another severity"
        );
        assert_eq!(
            text(&rule["annotations"], "runbook"),
            format!("runbook.md#{}", alert.to_lowercase())
        );
        let of_alert = tests.iter().filter(|test| test["alertname"] == alert);
        let fires: Vec<_> = of_alert
            .map(|test| !test["exp_alerts"].as_array().unwrap().is_empty())
            .collect();
        assert!(fires.contains(&true) && fires.contains(&false), "{alert}: {fires:?}");
    }
    assert!(sections.is_empty(), "no alert of that name: {sections:?}");
}

#[test]
fn dashboards_name_series_that_the_code_exports() {
    let mut panels = 0;
    for file in std::fs::read_dir(folder().join("dashboards")).unwrap() {
        let path = file.unwrap().path();
        let board: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let title = format!("{}, {}", path.display(), text(panel, "title"));
            for target in panel["targets"].as_array().into_iter().flatten() {
                check(&title, text(target, "expr"), &recorded());
                panels += 1;
            }
        }
    }
    assert!(panels > 0);
}
