//! `docs/threats.md` points at tests that exist.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Each promise names one at least, and each that is named is a function of the sources.
#[test]
fn the_tests_that_the_page_of_threats_names_exist() {
    let page = std::fs::read_to_string(root().join("docs/threats.md")).unwrap();
    let mut all = String::new();
    for folder in ["crates", "tests"] {
        sources(&root().join(folder), &mut all);
    }
    let words = all.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let functions = words.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1]);
    let known: BTreeSet<&str> = functions.collect();
    let mut named = 0;
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| promised"));
    for row in rows {
        let (promise, tests) = row.trim_matches('|').rsplit_once('|').unwrap();
        let tests: Vec<_> = tests.split(',').map(|test| test.trim().trim_matches('`')).collect();
        for test in &tests {
            assert!(
                test.len() > 10 && known.contains(test),
                "{promise}: no test is named {test}"
            );
        }
        named += tests.len();
    }
    assert!(named > 50, "{named}");
}
