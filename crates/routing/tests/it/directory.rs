//! The directory: the shipped one, the climb, superiors, and what a bad file is told.

use std::collections::BTreeSet;

use places::Territories;
use routing::directory::{AgencyId, ConfigError, Directory, Function};

fn id(text: &str) -> AgencyId {
    AgencyId::new(text).expect("an id")
}

fn locate(function: &str, place: &str, excluded: &[&str]) -> (Vec<String>, Option<String>) {
    let excluded: BTreeSet<_> = excluded.iter().map(|text| id(text)).collect();
    let function = Function::new(function).expect("a name");
    let located = Directory::shipped().locate(&function, place.parse().expect("a code"), &excluded);
    let climb = located
        .via
        .iter()
        .chain(&located.climb)
        .map(ToString::to_string)
        .collect();
    (climb, located.agency.map(|agency| agency.id.to_string()))
}

#[track_caller]
fn check(function: &str, place: &str, excluded: &[&str], climb: &str, agency: Option<&str>) {
    let (climbed, found) = locate(function, place, excluded);
    assert_eq!((climbed.join(" ").as_str(), found.as_deref()), (climb, agency));
}

#[test]
fn climbs_to_the_nearest_agency_that_is_not_kept_out() {
    check("police", "450100", &[], "450100", Some("police-450100"));
    check("police", "520100", &[], "520100 520000 CN", Some("police-CN"));
    check(
        "police",
        "320504",
        &[],
        "320504 320508 320500 320000",
        Some("police-320000"),
    );
    check(
        "police",
        "450100",
        &["police-450100"],
        "450100 450000",
        Some("police-450000"),
    );
    check(
        "police",
        "450100",
        &["police-450000"],
        "450100 450000 CN",
        Some("police-CN"),
    );
    check("police", "450100", &["police-CN"], "450100 450000 CN", None);
    check("no-such", "450100", &[], "450100 450000 CN", None);
    check("police", "999999", &[], "", None);
}

#[test]
fn superiors() {
    let directory = Directory::shipped();
    let common = |a: &str, b: &str| directory.lowest_common_superior(&id(a), &id(b)).to_string();
    assert_eq!(common("police-450100", "police-450200"), "police-450000");
    assert_eq!(common("police-210200", "police-350200"), "police-CN");
    assert_eq!(common("police-450100", "police-450000"), "police-450000");
    assert_eq!(common("police-450000", "police-450100"), "police-450000");
    assert_eq!(common("police-450100", "police-450100"), "police-450000");
    assert_eq!(common("police-450100", "market-regulator-450000"), "conference-CN");
    assert_eq!(common("police-CN", "police-CN"), "conference-CN");
    assert_eq!(common("police-450100", "nobody"), "conference-CN");
    assert_eq!(
        directory.superior(&id("police-330100")).map(|above| above.id.as_str()),
        Some("police-CN")
    );
    assert!(directory.is_under(&id("police-450100"), &id("police-CN")));
    assert!(directory.is_under(&id("police-450100"), &id("police-450100")));
    assert!(!directory.is_under(&id("police-CN"), &id("police-450100")));
}

#[test]
fn the_digest_covers_both_files() {
    let header = "code,name_zh,name_en,pinyin,valid_from,valid_to,successor\n";
    let tree = |name: &str| Territories::parse(&format!("{header}CN,中国,{name},Zhongguo,,,\n")).expect("a tree");
    let agencies = |name: &str| {
        let name = format!("name: {{zh: 会, en: {name}}}");
        format!("last_resort: c\nagencies:\n  - {{id: c, functions: [conference], territory: CN, {name}}}\n")
    };
    let digest = |tree: &Territories, agencies: &str| Directory::parse(agencies, tree).expect("a directory").digest();
    let first = digest(&tree("China"), &agencies("A"));
    assert_eq!(first, digest(&tree("China"), &agencies("A")));
    assert_ne!(first, digest(&tree("Cina"), &agencies("A")));
    assert_ne!(first, digest(&tree("China"), &agencies("B")));
}

#[test]
fn all_faults_are_named_at_once() {
    let yaml = "\
last_resort: nobody
agencies:
  - {id: a, functions: [police], territory: '320000', name: {zh: 甲, en: A}, superior: b}
  - {id: b, functions: [police], territory: '320000', name: {zh: 乙, en: B}, superior: a, size: 3}
  - {id: c, functions: [], territory: '999999', name: {zh: 丙}, superior: x}
  - {id: a, functions: [police], territory: '330000', name: {zh: 丁, en: D}, superior: null}
  - {id: d d, functions: [police], territory: '320504', name: {zh: 戊, en: E}}
  - {id: e, functions: [press], territory: CN, name: {zh: 己, en: F}, superior: x}
";
    let error = Directory::parse(yaml, Territories::shipped())
        .expect_err("bad")
        .to_string();
    for part in [
        "line 4, agency `b`: unknown key `size`",
        "line 4, agency `b`: `a` has the function `police` at 320000 too",
        "line 5, agency `c`: it has no function",
        "line 5, agency `c`: a name is missing",
        "line 5, agency `c`: the tree has no territory 999999",
        "line 6, agency `a`: the id is used twice",
        "line 7, agency `d d`: `d d` is not an id",
        "territory 320504 is abolished; write its successor 320508",
        "agency `a` is above itself",
        "agency `b` is above itself",
        "agency `e`: there is no superior `x`",
        "last_resort: there is no agency `nobody`",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_file_of_another_shape_is_refused_with_its_place() {
    let error = Directory::parse("last_resort: c\nagencies: 3\n", Territories::shipped()).expect_err("bad");
    let ConfigError::Shape { source, .. } = error else {
        panic!("{error}")
    };
    assert!(source.location().is_some());
    assert!(Directory::parse("last_resort: c\nagencies: []\nmore: 1\n", Territories::shipped()).is_err());
}
