//! `remit route` and `remit operator` with a server: simulate, activate, replay.

use serde_json::Value;
use testkit::eventually;

use crate::process::Server;

const RANKED: &str = include_str!("../../../../deploy/config/rules/ranked.yaml");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");

#[test]
fn p6_a_rule_set_is_tried_out_put_in_force_and_a_route_is_decided_again() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let server = Server::start(&data_dir);
    server.ok(&["report", "submit", &format!("{EXAMPLES}/04-gambling.json")]);
    server.ok(&["report", "submit", &format!("{EXAMPLES}/09-official.json")]);
    server.ok(&["report", "submit", &format!("{EXAMPLES}/13-csam.json")]);
    let cases = eventually("the reports are not routed", || {
        let cases = server.json(&["case", "list", "--json"])["cases"].clone();
        cases.as_array().filter(|cases| cases.len() == 3).cloned()
    });
    let gambling = cases
        .iter()
        .find(|case| case["category"] == "categories/gambling")
        .unwrap();
    let case = gambling["name"].as_str().unwrap();
    let reviewed = cases.iter().find(|case| case["urgent"] == true).unwrap();
    let reviewed = server.ok(&["case", "show", reviewed["name"].as_str().unwrap()]);
    assert!(
        reviewed.contains("a second person must review the result"),
        "{reviewed}"
    );

    // Regulators lead where police did, except for the official.
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, RANKED.replace("lead: police", "lead: content-regulator")).unwrap();
    let rules = rules.to_str().unwrap();
    let (code, err) = server.fails(&["route", "activate", rules]);
    assert_eq!(code, 1);
    assert!(
        err.contains(&format!("remit route simulate {rules}")) && err.contains("reason: WRONG_STATE"),
        "{err}"
    );
    let (code, err) = server.fails(&["route", "simulate", rules, "--as", "police-450100"]);
    assert!(code == 1 && err.contains("role rules-editor"), "{err}");

    let out = server.ok(&["route", "simulate", rules]);
    for part in [
        &format!("{case}: police-450100 (with police-440000) → content-regulator-450000"),
        "row `gambling` has a different lead",
        "3 decided, 2 differ",
        "put it in force with `remit route activate ruleSets/",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let lost = out.lines().find(|line| line.starts_with("police-450100 ")).unwrap();
    assert_eq!(lost.split_whitespace().collect::<Vec<_>>(), ["police-450100", "0", "1"]);
    let json = server.ok(&["route", "simulate", rules, "--json", "--summary"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["decidedCount"], &json["differentCount"]),
        (&"3".into(), &"2".into()),
        "{json}"
    );

    // The simulated rule set is activated; the case keeps its route and is replayed by its own rule
    // set.
    let out = server.ok(&["route", "activate", rules, "--officer", "o-17"]);
    let name = out
        .strip_prefix("proposed: ranked (")
        .and_then(|rest| rest.split_once(')'));
    let (name, next) = name.unwrap_or_else(|| panic!("{out}"));
    let next_step = format!("remit route approve {name} --officer NAME --as SYSTEM");
    assert!(next.contains(&next_step), "{next}");
    let (code, err) = server.fails(&["route", "approve", name, "--officer", "O-17"]);
    assert!(code == 1 && err.contains("another officer must"), "{err}");
    server.add_second();
    let seen = server.ok(&["route", "approve", name, "--dry-run"]);
    assert!(
        seen.contains("changed row gambling") && seen.contains("proposed: ranked"),
        "{seen}"
    );
    let out = server.ok(&["route", "approve", name, "--officer", "o-18", "--as", "second"]);
    assert!(
        out.contains(&format!("in force: ranked ({name}), by operator")),
        "{out}"
    );
    let listed = server.json(&["route", "list", "--json"]);
    let listed: Vec<bool> = listed["ruleSets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| set["active"] == true)
        .collect();
    assert_eq!(listed, [true, false], "newest first");
    let out = server.ok(&["route", "list"]);
    assert_eq!(out.matches("in force").count(), 1, "{out}");
    let explained = server.json(&["route", "explain", &format!("{EXAMPLES}/04-gambling.json"), "--json"]);
    assert_eq!(explained["lead"], "agencies/content-regulator-450000");
    let kept = server.json(&["case", "show", case, "--json"]);
    assert_eq!(kept["currentCase"]["lead"], "agencies/police-450100");
    server.stop();

    let server = Server::start(&data_dir);
    let out = server.ok(&["route", "replay", case]);
    assert!(
        out.ends_with(&format!("{case} was decided again: everything agrees\n")),
        "{out}"
    );
    assert!(!out.contains("DIFFERS"), "{out}");
    let (code, err) = server.fails(&["route", "replay", "cases/00000000-0000-7000-8000-000000000000"]);
    assert_eq!(code, 3, "{err}");

    // Back, with a reason instead of a simulation.
    let before = server.json(&["route", "list", "--json"])["ruleSets"][1]["name"].clone();
    let before = before.as_str().unwrap();
    let reason = ["--without-simulation", "as it was", "--officer", "o-17"];
    let out = server.ok(&[&["route", "activate", before][..], &reason].concat());
    assert!(out.starts_with(&format!("proposed: ranked ({before})\n")), "{out}");
    server.ok(&["route", "approve", before, "--officer", "o-18", "--as", "second"]);
    let shown = server.json(&["route", "show"]);
    assert_eq!(shown["ruleSet"]["name"], before);
    let nothing = format!("ruleSets/{}", "00".repeat(32));
    let (code, err) = server.fails(&["route", "show", &nothing]);
    assert!(code == 3 && err.contains("no such rule set"), "{err}");
    server.stop();
}

#[test]
fn the_server_refuses_rule_sets_with_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let try_out = |text: &str| {
        let path = folder.path().join("rules.yaml");
        std::fs::write(&path, text).unwrap();
        server.fails(&["route", "simulate", path.to_str().unwrap()])
    };
    let last = RANKED.rfind("  - row: ").unwrap();
    let (code, err) = try_out(&RANKED[..last]);
    assert!(code != 0 && err.contains("the last row must match everything"), "{err}");
    let (code, err) = try_out(&RANKED.replace("priority: 20\n", "priority: 15\n"));
    assert!(code != 0 && err.contains("also has 15; give each its own"), "{err}");
    let (code, err) = try_out(&RANKED.replace(
        "    category: drugs\n",
        "    category: drugs\n    when: {weather: fine}\n",
    ));
    assert!(
        code != 0 && err.contains("row `drugs`, weather: this column does not exist"),
        "{err}"
    );
    assert_eq!(
        server.json(&["route", "list", "--json"])["ruleSets"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    server.stop();
}

#[test]
fn the_register_is_listed_in_columns() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let out = server.ok(&["operator", "list"]);
    assert_eq!(out, "the register is empty: load it with `remit operator load`\n");
    server.ok(&["operator", "load", &format!("{EXAMPLES}/operators.csv")]);
    let out = server.ok(&["operator", "list"]);
    // Column of the place on a terminal, where Chinese characters are two columns wide.
    let places: Vec<usize> = out
        .lines()
        .filter_map(|line| {
            line.find("  450100 ")
                .or_else(|| line.find("  110000 "))
                .map(|at| &line[..at])
        })
        .map(remit::output::columns)
        .collect();
    assert_eq!(places.len(), 2, "{out}");
    assert_eq!(places[0], places[1], "{out}");
    server.stop();
}
