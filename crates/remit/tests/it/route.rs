//! `remit route` without a server, as an independent oracle would use it.

use std::process::Output;

use serde_json::Value;

use crate::cli::remit as remit_with;

fn remit(arguments: &[&str]) -> Output {
    remit_with(&["route"]).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");

/// Story 4, a line that is not facts, story 10, a code that never existed, and a country as a
/// place.
const FACTS: &str = r#"{"category":"categories/gambling","receivedBy":"agencies/police-440000","places":[{"factor":"CONNECTING_FACTOR_OPERATOR","territory":"territories/450100"},{"factor":"CONNECTING_FACTOR_SERVER","territory":"territories/440600"}]}
{"category":"categories/gambl

{"category":"categories/malware"}
{"category":"categories/drugs","places":[{"factor":"CONNECTING_FACTOR_VICTIM","territory":"territories/999999"}]}
{"category":"categories/drugs","places":[{"factor":"CONNECTING_FACTOR_SERVER","regionCode":"NL"}]}
{"category":"categories/fraud.shopping","places":[{"factor":"CONNECTING_FACTOR_VICTIM","territory":"territories/320504"}]}
{"category":"categories/drugs","colour":"red"}
{"category":"categories/insult-defamation","reporterRelation":"REPORTER_RELATION_BYSTANDER"}
"#;

fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn facts_get_one_line_each_and_garbage_is_reported_by_line() {
    let (_folder, facts) = file("facts.ndjson", FACTS);
    let rules = format!("{CONFIG}/rules/ranked.yaml");
    let output = remit(&[
        "explain",
        "--facts",
        &facts,
        "--rules",
        &rules,
        "--directory",
        CONFIG,
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(1), "the exit code says that lines were bad");
    let answers: Vec<Value> = out(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let lines: Vec<_> = answers.iter().map(|answer| answer["line"].as_u64().unwrap()).collect();
    assert_eq!(
        lines,
        [1, 2, 4, 5, 6, 7, 8, 9],
        "each line has its answer, empty ones have none"
    );
    let errors: Vec<_> = answers.iter().filter(|answer| answer.get("error").is_some()).collect();
    assert_eq!(errors.len(), 2);
    assert!(
        err(&output).contains("facts.ndjson:2: ") && err(&output).contains("facts.ndjson:8: unknown field `colour`")
    );
    let short = |answer: &Value| {
        let words = ["lead", "factor", "row"].map(|key| answer[key].as_str().unwrap().to_owned());
        (words.join(" "), answer["supporting"].clone(), answer["path"].clone())
    };
    let found: Vec<_> = answers
        .iter()
        .filter(|answer| answer.get("error").is_none())
        .map(short)
        .collect();
    let expected = serde_json::json!([
        ["police-450100 operator gambling", ["police-440000"], ["450100"]],
        ["police-CN  malware", [], []],
        ["police-CN  drugs", [], []],
        ["police-CN  drugs", ["partner-hotline-abroad"], []],
        [
            "police-320000 victim fraud",
            [],
            ["320504", "320508", "320500", "320000"]
        ],
        ["  insult-defamation-others", [], []],
    ]);
    assert_eq!(serde_json::to_value(&found).unwrap(), expected);
    assert_eq!(answers.last().unwrap()["advised"], true);
    let says = |at: usize, words: &str| answers[at]["fallbacks"].to_string().contains(words);
    assert!(says(2, "national default") && says(3, "the tree has no territory 999999"));

    let output = remit(&["explain", "--facts", &facts, "--rules", "first-receiver"]);
    assert!(out(&output).starts_with("1: police-440000 leads (server 440600 → 440000); police-450100 supports"));
    let output = remit(&["explain", "--facts", "/nowhere"]);
    assert!(err(&output).contains("cannot read /nowhere"));
}

#[test]
fn a_clerk_sees_the_reasons() {
    let report = format!("{EXAMPLES}/11-seller.json");
    let explain = |rules: &str| {
        let arguments = [
            "explain",
            &report,
            "--rules",
            rules,
            "--received-by",
            "market-regulator-330000",
        ];
        let output = remit(&arguments);
        assert!(output.status.success(), "{}", err(&output));
        out(&output)
    };
    let text = explain("ranked");
    for part in [
        "market-regulator-350000  Fujian market regulator",
        "within 7 working days",
        "row consumer-harm of the rule set ranked",
        "投诉举报办法 4, 14",
        "← this gave the lead",
        "not for this category: child-sexual-abuse-material,",
        "received first by market-regulator-330000: in this rule set that gives no right to lead",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(explain("first-receiver").contains("to which operator leads: it keeps the report"));
    let json = remit(&["explain", &report, "--rules", "ranked", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["lead"], "agencies/market-regulator-350000");
    let output = remit(&["explain", &format!("{EXAMPLES}/index.yaml"), "--rules", "ranked"]);
    assert_eq!(output.status.code(), Some(2), "no report");
}

#[test]
fn a_rule_set_is_checked_by_row_and_column() {
    for id in ["ranked", "first-receiver"] {
        let output = remit(&["check", &format!("{CONFIG}/rules/{id}.yaml"), "--directory", CONFIG]);
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(out(&output), "no findings\n");
    }
    let text = std::fs::read_to_string(format!("{CONFIG}/rules/ranked.yaml")).unwrap();
    let (_folder, bad) = file(
        "rules.yaml",
        &text.replace(
            "    category: drugs\n",
            "    category: drugs\n    when: {weather: fine}\n",
        ),
    );
    let output = remit(&["check", &bad]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        out(&output).contains("error: row `drugs`, weather: this column does not exist; remove it (line "),
        "{}",
        out(&output)
    );
    let (_folder, gap) = file(
        "rules.yaml",
        &text.replace("    category: drugs\n", "    category: weapons.sold\n"),
    );
    let output = remit(&["check", &gap, "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found = json["findings"].to_string();
    assert!(
        found.contains("the category `weapons.sold` does not exist") && found.contains("only this row covers `drugs`"),
        "{found}"
    );
}

#[test]
fn two_rule_sets_are_compared_over_a_file() {
    let (_folder, facts) = file("facts.ndjson", FACTS);
    let output = remit(&["simulate", "first-receiver", "--facts", &facts]);
    assert_eq!(output.status.code(), Some(1), "two lines were bad");
    let text = out(&output);
    assert!(
        text.contains("line 1: police-450100 (with police-440000) → police-440000 (with police-450100)  row `gambling` has a different first_receiver"),
        "{text}"
    );
    assert!(
        text.contains("6 decided, 1 differ") && text.contains("police-440000"),
        "{text}"
    );
    assert!(err(&output).contains("facts.ndjson:2: "));
    let output = remit(&["simulate", "ranked", "--facts", &facts, "--summary", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["decidedCount"], json.get("differentCount")),
        (&Value::from("6"), None),
        "{json}"
    );
}
