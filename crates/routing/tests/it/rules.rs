//! Rule sets: the shipped one covers every category, and a bad one is told all its faults.

use api::routing::Facts;
use routing::directory::Directory;
use routing::rules::{Action, RuleSet};

/// The row that the shipped set has for a category, and its lead.
fn row(category: &str) -> (String, String) {
    let facts = Facts {
        category: category.to_owned(),
        ..Facts::default()
    };
    let row = RuleSet::shipped().row_for(&facts);
    let lead = match &row.action {
        Action::Lead(lead) => lead.function.to_string(),
        Action::Advise { .. } => "advise".to_owned(),
    };
    (row.id.clone(), lead)
}

/// Ids of the shipped categories. Read line by line: routing knows nothing of the file's shape.
fn categories() -> Vec<&'static str> {
    let file = include_str!("../../../../deploy/config/categories.yaml");
    file.lines()
        .filter_map(|line| line.strip_prefix("  - id: "))
        .map(str::trim)
        .collect()
}

#[test]
fn every_shipped_category_has_a_row_of_its_own() {
    assert!(categories().len() > 20);
    for category in categories() {
        assert_ne!(row(category).0, "catch-all", "{category}");
    }
}

#[test]
fn every_row_is_for_a_shipped_category() {
    for row in RuleSet::shipped().rows() {
        if let Some(subtree) = &row.category {
            assert!(
                categories()
                    .iter()
                    .any(|category| category.starts_with(subtree.as_str())),
                "{}",
                row.id
            );
        }
    }
}

#[test]
fn the_lead_of_each_kind() {
    for (category, lead) in [
        ("fraud.loan", "police"),
        ("extortion.threat", "police"),
        ("intrusion", "police"),
        ("platform-duty", "content-regulator"),
        ("consumer-harm", "market-regulator"),
        ("counterfeit", "market-regulator"),
        ("pyramid-selling", "market-regulator"),
        ("official-misconduct", "inspection"),
        ("insult-defamation", "advise"),
    ] {
        assert_eq!(row(category).1, lead, "{category}");
    }
}

#[test]
fn a_category_is_matched_on_its_dots() {
    assert_eq!(row("fraud").0, "fraud");
    assert_eq!(row("fraud.of.a.new.kind").0, "fraud");
    assert_eq!(row("fraudulent").0, "catch-all");
    assert_eq!(row("extortion.news").0, "extortion-news");
    assert_eq!(row("").0, "catch-all");
}

const LAST: &str = "  - {row: last, priority: 9, lead: police, factors: [victim], \
                    clocks: {acknowledge: {value: 24, unit: hours}, result: {value: 30, unit: calendar-days}}, source: ours}\n";

fn parse(rows: &str) -> Result<RuleSet, String> {
    RuleSet::parse(&format!("id: test\nrows:\n{rows}"), Directory::shipped()).map_err(|error| {
        match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    })
}

#[track_caller]
fn refused(rows: &str, parts: &[&str]) {
    let error = parse(rows).expect_err("bad");
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_minimal_set_loads_and_its_digest_is_that_of_the_bytes() {
    let set = parse(LAST).expect("good");
    assert_eq!(set.rows().count(), 1);
    assert_ne!(
        set.digest(),
        parse(&format!("{LAST}# comment\n")).expect("good").digest()
    );
}

#[test]
fn all_faults_of_rows_are_named_at_once() {
    let rows = "  - {row: A, priority: 1, category: x..y, lead: fire-brigade, factors: [moon, victim, victim], colour: red, source: ours}
  - {row: b, lead: police, advise: {zh: 一, en: b}, when: {weather: fine, reporter_relation: [cousin]}}
  - {row: c, priority: 2, category: c, advise: {zh: 一, en: ''}, source: ours}
  - {row: d, priority: 3, category: d, lead: police, clocks: {acknowledge: {value: 0, unit: moons}, decide: {value: 1, unit: hours}}, source: ours}
";
    refused(
        &format!("{rows}{LAST}"),
        &[
            "line 3, row `A`: unknown key `colour`",
            "row `A`: that is no id",
            "row `A`: `x..y` is no category",
            "row `A`: no agency has the function `fire-brigade`",
            "row `A`: `moon` is not a factor",
            "row `A`: `victim` stands twice",
            "row `A`: the clock `acknowledge` is missing",
            "row `A`: the clock `result` is missing",
            "line 4, row `b`: unknown key `weather`",
            "row `b`: `cousin` is not a relation",
            "row `b`: `priority` is missing",
            "row `b`: `source` is missing",
            "row `b`: write either `lead` or `advise`",
            "row `c`: the advice is missing",
            "row `d`: there is no clock `decide`",
            "row `d`: the clock `acknowledge` cannot be read",
            "row `d`: `factors` is missing",
        ],
    );
}

#[test]
fn faults_between_rows_are_named() {
    let row = |id: &str, priority: u32, more: &str| {
        format!(
            "  - {{row: {id}, priority: {priority}, {more}lead: police, factors: [victim], \
             clocks: {{acknowledge: {{value: 1, unit: working-days}}, result: {{value: 30, unit: calendar-days}}}}, source: ours}}\n"
        )
    };
    refused("  []\n", &["must match everything"]);
    refused(&row("a", 1, "category: fraud, "), &["must match everything"]);
    refused(
        &format!("{}{LAST}", row("a", 9, "category: fraud, ")),
        &["rows `a` and `last` have the priority 9"],
    );
    refused(
        &format!("{}{LAST}", row("last", 1, "category: fraud, ")),
        &["row `last` stands twice"],
    );
    refused(
        &format!("{}{LAST}", row("a", 10, "category: fraud, ")),
        &["row `a` is never reached: `last`"],
    );
    let both = row("a", 1, "category: fraud, ") + &row("b", 2, "category: fraud.loan, ") + LAST;
    refused(&both, &["row `b` is never reached: `a`"]);
    let victims = "category: fraud, when: {reporter_relation: [victim]}, ";
    let narrow_first = row("a", 1, victims) + &row("b", 2, "category: fraud, ") + LAST;
    assert!(parse(&narrow_first).is_ok());
}

#[test]
fn another_shape_is_refused() {
    assert!(RuleSet::parse("id: x\nrows: []\nextra: 1\n", Directory::shipped()).is_err());
    assert!(parse("  - {row: a, priority: high}\n").is_err());
}
