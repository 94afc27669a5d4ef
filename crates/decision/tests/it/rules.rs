//! Rule sets: the shipped ones cover every category, and all faults of a bad one are reported.

use api::event::ConnectingFactor;
use api::routing::Facts;
use api::routing::{RuleCondition, RuleRow, RuleTable, rule_condition};
use decision::calendar::Unit;
use decision::decide::rule;
use decision::directory::{Directory, Function};
use decision::facts::Situation;
use decision::rules::check::{check, check_table, check_yaml};
use decision::rules::{Action, PauseNeed, RuleSet, SHIPPED, Severity, Taxonomy};
use prost::Message as _;

/// The shipped set's row for a category, and its lead.
fn row(category: &str) -> (String, String) {
    let facts = Facts {
        category: format!("categories/{category}"),
        ..Facts::default()
    };
    let situation = Situation::from(&facts);
    let ruling = rule(&situation, RuleSet::shipped(), Directory::shipped());
    let row = ruling.row();
    let lead = match &row.action {
        Action::Lead(lead) => lead.function.to_string(),
        Action::Advise { .. } => "advise".to_owned(),
    };
    (row.id.clone(), lead)
}

fn both() -> [&'static RuleSet; 2] {
    [RuleSet::shipped(), RuleSet::shipped_first_receiver()]
}

#[test]
fn every_shipped_category_has_a_row_of_its_own() {
    let taxonomy = Taxonomy::shipped();
    assert!(taxonomy.ids().count() > 20);
    for category in taxonomy.ids() {
        assert_ne!(row(category).0, "catch-all", "{category}");
    }
}

#[test]
fn the_shipped_sets_have_no_findings() {
    for rules in both() {
        assert_eq!(
            check(rules, Directory::shipped(), &Taxonomy::shipped()),
            [],
            "{}",
            rules.id()
        );
    }
}

#[test]
fn every_shipped_row_cites_a_law_or_says_that_it_is_ours() {
    for row in both().into_iter().flat_map(RuleSet::rows) {
        let cites = row.source.contains('法') || row.source.contains("条例") || row.source.starts_with("as threat");
        assert!(cites || row.source.contains("ours"), "{}: {}", row.id, row.source);
    }
}

#[test]
fn the_shipped_sets_differ_only_in_whether_the_first_receiver_keeps() {
    let [ranked, first] = both();
    let mut ranked = ranked.to_table();
    ranked.id = first.id().to_owned();
    for row in &mut ranked.rows {
        if let Some(api::routing::rule_row::Action::Lead(lead)) = &mut row.action {
            assert!(!lead.first_receiver_keeps);
            lead.first_receiver_keeps = row.id != "official-misconduct";
            // Of goods and consumers, the rule lets only the platform's domicile keep.
            if ["counterfeit", "consumer-harm"].contains(&row.id.as_str()) {
                lead.first_receiver_factors = vec![ConnectingFactor::Operator.into()];
            }
        }
    }
    assert_eq!(ranked, first.to_table());
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
        // Who reports is not said: it may be the victim.
        ("insult-defamation", "police"),
    ] {
        assert_eq!(row(category).1, lead, "{category}");
    }
}

#[test]
fn categories_match_at_dots() {
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
fn the_digest_depends_on_content_not_on_spelling() {
    let set = parse(LAST).expect("good");
    assert_eq!(set.rows().len(), 1);
    assert_eq!(
        set.digest(),
        parse(&format!("{LAST}# comment\n")).expect("good").digest()
    );
    let other = parse(&LAST.replace("value: 24", "value: 25")).expect("good");
    assert_ne!(set.digest(), other.digest());
    for rules in both() {
        let again = RuleSet::decode(rules.canonical(), Directory::shipped()).expect("canonical");
        assert_eq!((again.digest(), again.canonical()), (rules.digest(), rules.canonical()));
        assert_eq!(
            again.digest().as_slice(),
            <sha2::Sha256 as sha2::Digest>::digest(again.canonical()).as_slice()
        );
        // The order in a message does not matter either.
        let mut table = rules.to_table();
        table.rows.reverse();
        for row in &mut table.rows {
            row.conditions.reverse();
        }
        assert_ne!(table.encode_to_vec(), rules.canonical());
        assert_eq!(
            RuleSet::from_table(table, Directory::shipped()).expect("the same"),
            *rules
        );
    }
}

const CLOCKS: &str = "clocks: {acknowledge: {value: 1, unit: working-days}, result: {value: 30, unit: calendar-days}}";

/// A row led by the police.
fn police(id: &str, priority: u32, more: &str) -> String {
    format!("  - {{row: {id}, priority: {priority}, {more}lead: police, factors: [victim], {CLOCKS}, source: ours}}\n")
}

#[test]
fn all_faults_of_rows_are_reported_at_once_with_row_and_column() {
    let rows = "  - {row: A, priority: 1, category: x..y, lead: fire-brigade, factors: [moon, victim, victim], colour: red, source: ours}
  - {row: b, lead: police, advise: {zh: 一, en: b}, when: {weather: fine, reporter_relation: [cousin]}}
  - {row: c, priority: 2, category: c, advise: {zh: 一, en: ''}, source: ours}
  - {row: d, priority: 3, category: d, lead: police, clocks: {acknowledge: {value: 0, unit: moons}, decide: {value: 1, unit: hours}}, source: ours}
  - {row: e, priority: 4, when: {operator: {within: ['999999', '320504'], countries: [XX, CN]}, server: {}, loss: {currency: COINS, from: 5, below: 5}, loss_age: {at_most: 3, unit: days}}, advise: {zh: 一, en: b}, source: ours}
  - {row: f, priority: 5, when: {subject_kind: [], details: {Q: [], ok: []}}, advise: {zh: 一, en: b}, holds: [{}], source: ours}
  - {row: g, priority: 6, category: g, lead: police, exclude: [police], review: third, first_receiver: drops, holds: [{function: fire-brigade, value: 1, unit: minutes}, {function: police}], source: ours}
  - {row: h, priority: 7, category: h, lead: police, factors: [victim, received], first_receiver: [moon, victim, victim], place_support: some, source: ours}
  - {row: i, priority: 8, category: i, lead: police, factors: [victim, received], first_receiver: [received, server], source: ours}
";
    refused(
        &format!("{rows}{LAST}"),
        &[
            "line 3, row `A`, colour: unknown key",
            "row `A`, row: this is not an id",
            "row `A`, category: `x..y` is not a category",
            "row `A`, lead: no agency has the function `fire-brigade`",
            "row `A`, factors: `moon` is not one of",
            "row `A`, factors: `victim` occurs twice",
            "row `A`, clocks: the clock `acknowledge` is missing",
            "row `A`, clocks: the clock `result` is missing",
            "line 4, row `b`, weather: this column does not exist",
            "row `b`, reporter_relation: `cousin` is not one of",
            "row `b`, priority: missing",
            "row `b`, source: missing",
            "row `b`, lead: write either `lead` or `advise`",
            "row `c`, advise: the advice is missing",
            "row `d`, clocks: the clock `decide` does not exist",
            "row `d`, clocks: the clock `acknowledge` is malformed",
            "row `d`, factors: missing",
            "row `e`, operator: the tree has no territory 999999",
            "row `e`, operator: territory 320504 ends on 2011-12-31 and is then read as 320508; name 320508 as well, or instead",
            "row `e`, operator: `XX` is not a country code",
            "row `e`, operator: CN is the root of the tree",
            "row `e`, server: it has no condition",
            "row `e`, loss: `COINS` is not an ISO 4217 currency",
            "row `e`, loss: `below` is not greater than `from`",
            "row `e`, loss_age: `days` is not a unit of it",
            "row `f`, subject_kind: an empty list matches nothing",
            "row `f`, details.Q: this is not a path",
            "row `f`, details.ok: an empty list matches nothing",
            "row `f`, holds: a row with `advise` cannot have this",
            "row `g`, exclude: `police` leads",
            "row `g`, review: `third` is not a review",
            "row `g`, first_receiver: `drops` is unknown",
            "row `h`, first_receiver: `moon` is not one of",
            "row `h`, first_receiver: `victim` occurs twice",
            "row `h`, place_support: `some` is unknown",
            "row `i`, first_receiver: `received` connects nobody",
            "row `i`, first_receiver: `server` is not among `factors`",
            "row `g`, holds: no agency has the function `fire-brigade`",
            "row `g`, holds: its clock is malformed",
        ],
    );
    let error = RuleSet::parse(
        &format!("id: test\nlast_resort: [nobody]\nrows:\n{LAST}"),
        Directory::shipped(),
    );
    assert!(
        error
            .expect_err("bad")
            .to_string()
            .contains("last_resort: the agency `nobody` does not exist")
    );
}

#[test]
fn unknown_keys_are_reported_at_every_level() {
    let advise = "advise: {zh: 一, en: b, de: c}, source: ours}\n";
    let when = "when: {operator: {abroad: true, near: '320500'}, loss: {currency: CNY, from: 1, to: 5}, \
                loss_age: {at_most: 3, unit: hours, exactly: true}}, ";
    let row = format!("  - {{row: a, priority: 1, {when}{advise}");
    let clocks = CLOCKS.replace("value: 1,", "value: 1, grace: 2,");
    let lead = police("b", 2, "category: fraud, ").replace(CLOCKS, &clocks).replace(
        "source:",
        "holds: [{function: payment-stop, value: 1, unit: minutes, sum: 5}], source:",
    );
    refused(
        &(row + &lead + LAST),
        &[
            "row `a`, operator: unknown key `near`",
            "row `a`, loss: unknown key `to`",
            "row `a`, loss_age: unknown key `exactly`",
            "row `a`, advise: unknown key `de`",
            "row `b`, clocks: unknown key `grace`",
            "row `b`, holds: unknown key `sum`",
        ],
    );
}

#[test]
fn pauses_and_supervision_are_of_the_table() {
    let set = |of_table: &str| {
        let yaml = format!("id: test\n{of_table}\nrows:\n{LAST}");
        RuleSet::parse(&yaml, Directory::shipped()).map_err(|error| error.to_string())
    };
    let hearing = "{ground: hearing, functions: [police], at_most: {value: 3, unit: hours}, source: ours}";
    let opinion = "{ground: expert-opinion, at_most: {value: 3, unit: hours}, source: ours}";
    let read = set(&format!("pauses: [{hearing}, {opinion}]")).expect("a rule set");
    let names = |function: &str| -> Vec<_> {
        let function = Function::new(function).expect("a function");
        read.pauses(&function).map(PauseNeed::name).collect()
    };
    assert_eq!(names("police"), ["hearing", "expert-opinion"]);
    assert_eq!(names("inspection"), ["expert-opinion"]);
    assert_eq!(read.supervision(), None);
    let other = set(&format!("pauses: [{opinion}, {hearing}]")).expect("a rule set");
    assert_eq!(read.digest(), other.digest(), "their order says nothing");
    let supervised = set("supervision: {value: 5, unit: working-days}").expect("a rule set");
    assert_eq!(supervised.supervision(), Some((5, Unit::WorkingDays)));
    assert_ne!(supervised.digest(), set("").expect("a rule set").digest());

    let again = hearing.replace("police", "inspection, police");
    let everybody = hearing.replace("functions: [police], ", "");
    for (of_table, fault) in [
        (
            format!("pauses: [{hearing}, {again}]"),
            "pauses: `hearing` occurs twice for a function",
        ),
        (
            format!("pauses: [{everybody}, {hearing}]"),
            "pauses: `hearing` occurs twice for a function",
        ),
        (
            "pauses: [{}]".to_owned(),
            "pauses: `` is not one of waiting-for-reporter",
        ),
        (
            format!("pauses: [{}]", hearing.replace("hearing", "holiday")),
            "pauses: `holiday` is not one of",
        ),
        (
            format!("pauses: [{}]", hearing.replace("police", "dogs")),
            "pauses: no agency has the function `dogs`",
        ),
        (
            format!("pauses: [{}]", hearing.replace("police", "police, police")),
            "pauses: `police` occurs twice",
        ),
        (
            format!("pauses: [{}]", hearing.replace("source: ours", "source: ' '")),
            "pauses: `hearing` has no source",
        ),
        (
            format!("pauses: [{}]", hearing.replace("value: 3", "value: 0")),
            "pauses: `hearing` has no bound",
        ),
        (
            format!("pauses: [{}]", hearing.replace("value: 3", "value: 99999")),
            "pauses: `hearing` has no bound",
        ),
        (
            format!("pauses: [{}]", hearing.replace("unit: hours", "unit: moons")),
            "pauses: `hearing` has no bound",
        ),
        (
            format!("pauses: [{}]", hearing.replace("value: 3", "value: 3, or: 4")),
            "pauses: unknown key `or`",
        ),
        (
            format!("pauses: [{}]", hearing.replace("source", "until: x, source")),
            "pauses: unknown key `until`",
        ),
        ("supervision: {value: 5}".to_owned(), "supervision: it is malformed"),
        (
            "supervision: {value: 5, unit: hours, by: x}".to_owned(),
            "supervision: unknown key `by`",
        ),
    ] {
        let error = set(&of_table).expect_err(&of_table);
        assert!(error.contains(fault), "{of_table}: {error}");
    }

    // Whoever counts hours could pause day by day and use none of a bound in days.
    let in_days = hearing.replace("unit: hours", "unit: calendar-days");
    let in_hours = LAST.replace("unit: calendar-days", "unit: hours");
    assert_ne!(in_hours, LAST);
    let mixed = format!("id: test\npauses: [{in_days}]\nrows:\n{in_hours}");
    let error = RuleSet::parse(&mixed, Directory::shipped())
        .expect_err("mixed")
        .to_string();
    assert!(
        error.contains("pauses: `hearing` has a bound in days, and row `last` has its result in hours"),
        "{error}"
    );
    assert!(set(&format!("pauses: [{in_days}]")).is_ok());
}

#[test]
fn the_last_resort_always_exists() {
    let set = |directory: &Directory, last_resort: &str| {
        RuleSet::parse(
            &format!("id: test\nlast_resort: [{last_resort}]\nrows:\n{LAST}"),
            directory,
        )
        .map_err(|error| error.to_string())
    };
    assert!(set(Directory::shipped(), "inspection-CN").is_ok());
    let error = set(Directory::shipped(), "a b").expect_err("bad");
    assert!(error.contains("last_resort: `a b` is not an id"), "{error}");
    for day in ["valid_from: 2020-01-01", "valid_to: 2030-01-01"] {
        let source = Directory::shipped()
            .source()
            .replace("{id: inspection-CN,", &format!("{{id: inspection-CN2, functions: [inspection], territory: CN, except: [x], name: {{zh: 一, en: b}}}}\n  - {{id: inspection-CN, {day}, categories: [x],"))
            .replace("superior: inspection-CN}", "superior: inspection-CN2}");
        let directory = Directory::parse(&source, Directory::shipped().territories()).expect("a directory");
        let error = set(&directory, "inspection-CN").expect_err("bad");
        assert!(
            error.contains("last_resort: `inspection-CN` has a first or last day"),
            "{day}: {error}"
        );
    }
}

#[test]
fn a_lead_function_missing_at_the_nation_is_a_warning() {
    let source = Directory::shipped().source();
    let line = source
        .lines()
        .find(|line| line.contains("{id: police-CN,"))
        .expect("there");
    let moved = line.replace("functions: [police]", "functions: [night-watch]");
    let directory = Directory::parse(&source.replace(line, &moved), Directory::shipped().territories()).expect("good");
    let findings = check_yaml(&format!("id: test\nrows:\n{LAST}"), &directory, &Taxonomy::shipped()).expect("good");
    let said = "there is no `police` agency at the nation";
    assert!(
        findings
            .iter()
            .any(|finding| finding.column == "lead" && finding.message.contains(said)),
        "{findings:#?}"
    );
}

#[test]
fn a_set_without_a_catch_all_or_with_equal_priorities_is_refused() {
    refused("  []\n", &["rows: the last row must match everything"]);
    refused(
        &police("a", 1, "category: fraud, "),
        &["rows: the last row must match everything"],
    );
    refused(
        &format!("{}{LAST}", police("a", 9, "category: fraud, ")),
        &["row `a`, priority: row `last` also has 9"],
    );
    refused(
        &format!("{}{LAST}", police("last", 1, "category: fraud, ")),
        &["row `last`, row: it occurs twice"],
    );
}

#[test]
fn rows_that_can_never_match_are_refused() {
    refused(
        &format!("{}{LAST}", police("a", 10, "category: fraud, ")),
        &["row `a`, category: it is never reached: `last` cover all of it"],
    );
    let both = police("a", 1, "category: fraud, ") + &police("b", 2, "category: fraud.loan, ") + LAST;
    refused(&both, &["row `b`, category: it is never reached: `a` cover all of it"]);
    let victims = "category: fraud, when: {reporter_relation: [victim]}, ";
    let narrow_first = police("a", 1, victims) + &police("b", 2, "category: fraud, ") + LAST;
    assert!(parse(&narrow_first).is_ok());
    // Covered by two rows together, but by neither alone.
    let together = police("a", 1, "when: {urgent: true}, ")
        + &police("b", 2, "when: {urgent: false}, ")
        + &police("c", 3, "category: fraud, ")
        + LAST;
    refused(
        &together,
        &["row `c`, category: it is never reached: `a`, `b` together cover all of it"],
    );
    // Bands, places, ages, kinds and details are compared by meaning.
    for (wide, narrow) in [
        (
            "loss: {currency: CNY, from: 1}",
            "loss: {currency: CNY, from: 5, below: 9}",
        ),
        ("operator: {within: ['440000']}", "operator: {within: ['440300']}"),
        ("server: {abroad: true}", "server: {countries: [US]}"),
        (
            "loss_age: {at_most: 2, unit: hours}",
            "loss_age: {at_most: 90, unit: minutes}",
        ),
        ("subject_kind: [url, domain]", "subject_kind: [domain]"),
        ("victim_kind: [person, organisation]", "victim_kind: [person]"),
        ("details: {means: [threats, violence]}", "details: {means: threats}"),
    ] {
        let rows = |one: &str, two: &str| {
            police("a", 1, &format!("when: {{{one}}}, ")) + &police("b", 2, &format!("when: {{{two}}}, ")) + LAST
        };
        refused(&rows(wide, narrow), &["row `b`, ", "never reached: `a`"]);
        assert!(parse(&rows(narrow, wide)).is_ok(), "{narrow}");
    }
}

#[test]
fn messages_are_refused_with_row_and_column() {
    let error = |table: RuleTable| {
        RuleSet::from_table(table, Directory::shipped())
            .expect_err("bad")
            .to_string()
    };
    let table = RuleSet::shipped().to_table();

    // A column unknown to this version: its field is skipped, and the condition is empty.
    let mut newer = table.clone();
    newer.rows[2].conditions.push(RuleCondition { column: None });
    let sent = newer.encode_to_vec();
    let read = RuleSet::decode(&sent, Directory::shipped())
        .expect_err("bad")
        .to_string();
    let id = &table.rows[2].id;
    assert!(
        read.contains(&format!(
            "row `{id}`, conditions[1]: its column is missing or unknown to this version"
        )),
        "{read}"
    );
    let unknown = [&[0x12_u8, 5][..], &[0x1a, 3, 0xfa, 0x06, 0][..]].concat();
    let row = RuleRow::decode(unknown[2..].as_ref()).expect("a row whose only condition is of field 111");
    assert_eq!(row.conditions, [RuleCondition { column: None }]);

    let mut twice = table.clone();
    let condition = twice.rows[0].conditions[0].clone();
    twice.rows[0].conditions.push(condition);
    assert!(error(twice).contains("category: it occurs twice"));

    let mut words = table.clone();
    let place = |factor| api::routing::PlaceCondition {
        factor,
        abroad: true,
        ..Default::default()
    };
    let relation = api::routing::ReporterRelationCondition { relations: vec![99] };
    let flag = api::routing::FlagCondition { flag: 99, set: true };
    for column in [
        rule_condition::Column::Place(place(99)),
        rule_condition::Column::ReporterRelation(relation),
        rule_condition::Column::Flag(flag),
    ] {
        words.rows[0].conditions.push(RuleCondition { column: Some(column) });
    }
    let loss = api::routing::LossCondition {
        currency_code: "CNY".to_owned(),
        ..Default::default()
    };
    for column in [
        rule_condition::Column::Loss(loss),
        rule_condition::Column::LossAge(api::routing::LossAgeCondition::default()),
        rule_condition::Column::Category(api::routing::CategoryCondition::default()),
    ] {
        words.rows[0].conditions.push(RuleCondition { column: Some(column) });
    }
    words.id = "A set".to_owned();
    if let Some(api::routing::rule_row::Action::Lead(lead)) = &mut words.rows[1].action {
        lead.factors.push(lead.factors[0]);
        lead.supporting = vec!["inspection".to_owned(), "inspection".to_owned()];
        lead.factors.push(99);
        lead.result = None;
        lead.review = 99;
    }
    words.rows.pop();
    let all = error(words);
    for part in [
        "factor: this version",
        "reporter_relation: it has a value",
        "flag: this version",
        "factors: this version",
        "the clock `result` is missing",
        "review: it is missing, or this version",
        "loss: `from` is missing",
        "loss_age: missing",
        "category: an empty list matches nothing",
        "id: `A set` is not an id",
        "factors: `suspect` occurs twice",
        "support: `inspection` occurs twice",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let mut without = table;
    without.rows.pop();
    assert!(error(without).contains("the last row must match everything"));
    assert!(RuleSet::decode(b"no protobuf", Directory::shipped()).is_err());
}

/// Expected findings, as severity, row, column and a part of the message.
#[track_caller]
fn found(rows: &str, expected: &[(Severity, &str, &str, &str)]) {
    let yaml = format!("id: test\nrows:\n{rows}");
    let findings = check_yaml(&yaml, Directory::shipped(), &Taxonomy::shipped()).expect("a rule set");
    for (severity, row, column, part) in expected {
        let there = findings.iter().any(|finding| {
            finding.severity == *severity
                && finding.row == *row
                && finding.column == *column
                && finding.message.contains(part)
        });
        assert!(there, "{row} {column} {part}: {findings:#?}");
        let mut of_row = findings.iter().filter(|finding| finding.row == *row && !row.is_empty());
        assert!(of_row.all(|finding| finding.line.is_some()), "{findings:#?}");
    }
    // A message gives the same findings.
    if let Ok(rules) = RuleSet::parse(&yaml, Directory::shipped()) {
        let sent = check_table(rules.to_table(), Directory::shipped(), &Taxonomy::shipped());
        assert_eq!(sent.len(), findings.len());
    }
}

#[test]
fn references_missing_from_the_taxonomy_are_found() {
    found(
        &(police("a", 1, "category: piracy, ")
            + &police(
                "b",
                2,
                "category: gambling, when: {details: {deposit.channel: [seashells], no.such: [x]}}, ",
            )
            + &police("c", 3, "category: fraud, when: {details: {payment.paid_at: now}}, ")
            + &police("d", 4, "category: gambling, when: {urgent: true, publication: true}, ")
            + LAST),
        &[
            (Severity::Error, "a", "category", "the category `piracy` does not exist"),
            (
                Severity::Error,
                "b",
                "details.deposit.channel",
                "`seashells` is not a value",
            ),
            (
                Severity::Error,
                "b",
                "details.no.such",
                "none of its categories has the detail `no.such`",
            ),
            (
                Severity::Error,
                "c",
                "details.payment.paid_at",
                "not of kind choice or integer",
            ),
            (
                Severity::Error,
                "d",
                "urgent",
                "it can never match: none of its categories is urgent",
            ),
            (
                Severity::Error,
                "d",
                "publication",
                "it can never match: none of its categories is a publication",
            ),
        ],
    );
}

#[test]
fn conditions_that_can_never_hold_are_found() {
    const ABROAD: &str = "it is the place of an agency, and no agency is abroad";
    const BODIES: &str = "this place is no factor";
    let error = |column, part| Some((Severity::Error, column, part));
    let warning = |column, part| Some((Severity::Warning, column, part));
    for (conditions, expected) in [
        // A code that ended, next to the one that its places are in now.
        (
            "when: {operator: {within: ['320504', '320508']}}",
            warning("operator", "nothing matches 320504 after 2011-12-31"),
        ),
        (
            "when: {victim: {within: ['320504', '320000']}}",
            warning("victim", "nothing matches 320504"),
        ),
        ("when: {operator: {within: ['320508']}}", None),
        // The places of agencies.
        ("when: {received: {abroad: true}}", error("received", ABROAD)),
        ("when: {received: {countries: [US]}}", error("received", ABROAD)),
        ("when: {complained-of: {abroad: true}}", error("complained-of", ABROAD)),
        (
            "when: {complained-of: {countries: [US, SG]}}",
            error("complained-of", ABROAD),
        ),
        (
            "when: {received: {within: ['320000'], abroad: true}}",
            warning("received", ABROAD),
        ),
        (
            "when: {complained-of: {absent: true, countries: [US]}}",
            warning("complained-of", ABROAD),
        ),
        ("when: {received: {within: ['320000']}}", None),
        (
            "when: {received: {within: ['320115']}}",
            warning("received", "no agency of the directory is in 320115"),
        ),
        ("when: {operator: {abroad: true}}", None),
        // The places of a critic's counterpart.
        (
            "when: {publication: true, victim_kind: [organisation, public-body], victim: {within: ['320000']}}",
            error("victim", BODIES),
        ),
        (
            "category: extortion.news, when: {victim_kind: [public-body], received: {within: ['320000']}}",
            error("received", BODIES),
        ),
        (
            "when: {publication: true, victim_kind: [person, public-body], victim: {within: ['320000']}}",
            None,
        ),
        (
            "when: {publication: true, victim_kind: [organisation], victim: {absent: true}}",
            None,
        ),
        // Details.
        (
            "category: fraud.loan, when: {details: {fee.pretext: [tea]}}",
            error("details.fee.pretext", "`tea` is not a value"),
        ),
        (
            "category: fraud.investment, when: {details: {promise.return_percent: ['05']}}",
            error("details.promise.return_percent", "`05` is not a value"),
        ),
        (
            "category: fraud.investment, when: {details: {promise.return_percent: ['5', '-5']}}",
            None,
        ),
        // Each holds for a category, all of them for none.
        (
            "when: {urgent: true, publication: true}",
            error("", "none of its categories meets all"),
        ),
        (
            "when: {details: {fee.pretext: [deposit], posed_as: [bank]}}",
            error("", "none of its categories meets all"),
        ),
        ("when: {publication: true, details: {demand.what: [cash]}}", None),
    ] {
        let rows = police("a", 1, &format!("{conditions}, ")) + LAST;
        let yaml = format!("id: test\nrows:\n{rows}");
        let findings = check_yaml(&yaml, Directory::shipped(), &Taxonomy::shipped()).expect("a rule set");
        let of_row: Vec<_> = findings.iter().filter(|finding| finding.row == "a").collect();
        match expected {
            None => assert!(of_row.is_empty(), "{conditions}: {of_row:#?}"),
            Some((severity, column, part)) => {
                let there = of_row.iter().any(|finding| {
                    (finding.severity, finding.column.as_str(), finding.line) == (severity, column, Some(3))
                        && finding.message.contains(part)
                });
                assert!(there, "{conditions}: {of_row:#?}");
            }
        }
    }
}

#[test]
fn a_condition_without_a_value_is_refused_with_its_place() {
    for (written, key) in [
        ("when: {urgent: }", "urgent"),
        ("when: {victim: ~}", "victim"),
        ("when: {operator: {within: ['320000'], abroad: null}}", "abroad"),
        ("when: {subject_kind: [url, ~]}", "an item of a list"),
        ("when: {details: {means: }}", "means"),
        ("when: ", "when"),
        ("category: ~", "category"),
        ("holds: ~", "holds"),
        ("first_receiver: ~", "first_receiver"),
    ] {
        let rows = police("a", 1, &format!("{written}, ")) + LAST;
        let error = parse(&rows).expect_err(written);
        assert!(
            error.contains("line 3, column ") && error.contains(key),
            "{written}: {error}"
        );
        assert!(error.contains("has no value"), "{written}: {error}");
    }
    let rows = police("a", 1, "first_receiver: [], ") + LAST;
    refused(&rows, &["line 3, row `a`, first_receiver: the list is empty"]);
    for twice in [
        "category: fraud, category: gambling, ",
        "when: {urgent: true, urgent: false}, ",
    ] {
        assert!(parse(&(police("a", 1, twice) + LAST)).is_err(), "{twice}");
    }
}

#[test]
fn the_last_row_says_whether_others_were_for_the_category() {
    let said = |rows: &str| {
        let rules = parse(rows).expect("good");
        let facts = Facts {
            category: "categories/fraud.loan".to_owned(),
            ..Facts::default()
        };
        let ruling = rule(&Situation::from(&facts), &rules, Directory::shipped());
        ruling.decision().explanation.fallbacks.join("\n")
    };
    let none = said(&(police("a", 1, "category: gambling, ") + LAST));
    assert!(none.contains("no row is for the category `fraud.loan`"), "{none}");
    let victims = police("a", 1, "category: fraud, when: {reporter_relation: [victim]}, ");
    let fresh = police(
        "b",
        2,
        "category: fraud.loan, when: {loss_age: {at_most: 2, unit: hours}}, ",
    );
    let some = said(&(victims + &fresh + &police("c", 3, "when: {urgent: true}, ") + LAST));
    let words = "no row for the category `fraud.loan` takes this report: a (not for what the reporter is to the act), \
                 b (not for the age of the loss";
    assert!(some.contains(words), "{some}");
    assert!(!some.contains("no row is for"), "{some}");
}

#[test]
fn redundant_overlaps_and_gaps_are_found() {
    let market = police("c", 3, "category: fraud.loan, ").replace("lead: police", "lead: market-regulator");
    found(
        &(police("a", 1, "category: fraud, when: {reporter_relation: [victim]}, ")
            + &police("b", 2, "category: fraud, when: {loss: {currency: CNY, from: 100}}, ")
            + &market
            + LAST),
        &[
            (
                Severity::Warning,
                "a",
                "loss",
                "it overlaps with row `b`, which has the same result",
            ),
            (
                Severity::Warning,
                "last",
                "category",
                "only this row covers `gambling`; add",
            ),
            (
                Severity::Warning,
                "last",
                "category",
                "only this row covers `fraud` where loss is none, or less and reporter_relation is unspecified",
            ),
        ],
    );
    let yaml = format!(
        "id: test\nrows:\n{}{market}{LAST}",
        police("a", 1, "category: fraud, when: {urgent: false}, ")
    );
    let findings = check_yaml(&yaml, Directory::shipped(), &Taxonomy::shipped()).expect("a rule set");
    assert!(
        findings.iter().all(|finding| !finding.message.contains("overlaps")),
        "they say other things"
    );
    let gaps = |category: &str| {
        findings
            .iter()
            .any(|finding| finding.message.contains(&format!("`{category}`")))
    };
    assert!(gaps("fraud") && !gaps("fraud.loan") && gaps("malware"));
}

#[test]
fn faults_are_findings_and_another_structure_is_refused() {
    found(
        "  []\n",
        &[(Severity::Error, "", "rows", "the last row must match everything")],
    );
    found(
        &format!("{}{LAST}", police("a", 9, "category: fraud, ")),
        &[(Severity::Error, "a", "priority", "also has 9")],
    );
    assert!(RuleSet::parse("id: x\nrows: []\nextra: 1\n", Directory::shipped()).is_err());
    assert!(check_yaml("id: x\nrows: {}", Directory::shipped(), &Taxonomy::shipped()).is_err());
    assert!(parse("  - {row: a, priority: high}\n").is_err());
    assert_eq!(SHIPPED.map(|(id, _)| id), ["ranked", "first-receiver"]);
}

#[test]
fn facts_are_filed_under_another_category_without_what_it_does_not_have() {
    let taxonomy = Taxonomy::shipped();
    let facts = Facts {
        category: "categories/consumer-harm".to_owned(),
        details: [("filing", "clue"), ("deposit.channel", "card"), ("weapon", "none")]
            .map(|(path, value)| (path.to_owned(), value.to_owned()))
            .into(),
        excluded: vec!["agencies/police-450100".to_owned()],
        loss_minor_units: 5,
        ..Facts::default()
    };
    let refiled = taxonomy.refile(&facts, "gambling").expect("a category");
    let expected = Facts {
        category: "categories/gambling".to_owned(),
        details: [("deposit.channel".to_owned(), "card".to_owned())].into(),
        ..facts.clone()
    };
    assert_eq!(refiled, expected);
    // A value that the category does not allow is left out, too.
    let mut odd = facts.clone();
    odd.details.insert("deposit.channel".to_owned(), "salt".to_owned());
    assert!(
        taxonomy
            .refile(&odd, "gambling")
            .expect("a category")
            .details
            .is_empty()
    );
    // What the category says of each of its reports comes with it.
    let urgent = taxonomy.refile(&facts, "threat-to-person").expect("a category");
    let publication = taxonomy.refile(&facts, "insult-defamation").expect("a category");
    assert_eq!((refiled.urgent, urgent.urgent), (false, true));
    assert_eq!((refiled.publication, publication.publication), (false, true));
    assert_eq!(taxonomy.refile(&facts, "no-such"), None);
}
