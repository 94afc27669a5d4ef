//! Checks the documents' statements about the repository.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use api::{event::CaseState, intake::ReportState};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All documents, from the root.
fn papers() -> Vec<String> {
    let mut papers = Vec::new();
    for folder in ["", "docs", "deploy", "deploy/examples"] {
        for file in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                papers.push(Path::new(folder).join(name).to_str().unwrap().to_owned());
            }
        }
    }
    assert!(papers.len() > 5, "{papers:?}");
    papers
}

/// Targets of links in Markdown.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// The anchors of a document's headings, as forges generate them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for paper in papers() {
        for link in links(&read(&paper)) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => PathBuf::from(&paper),
                file => Path::new(&paper).parent().unwrap().join(file),
            };
            assert!(root().join(&target).exists(), "{paper} links to {link}");
            if !anchor.is_empty() {
                let known = anchors(&read(target.to_str().unwrap()));
                assert!(known.contains(anchor), "{paper} links to {link}; there is {known:?}");
            }
        }
    }
}

/// Names in backquotes in the first column of the tables below a heading, up to the next heading of
/// the same level.
fn first_column(text: &str, heading: &str) -> BTreeSet<String> {
    let (_, below) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = below.split("\n## ").next().unwrap();
    let cells = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`'))
        .filter(|name| name.chars().any(char::is_alphabetic))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_readme_has_every_crate() {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let crates: BTreeSet<_> = crates
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(first_column(&read("README.md"), "## How it is built"), crates);
}

#[test]
fn the_design_has_every_state() {
    let reports = (1..).map_while(|n| ReportState::try_from(n).ok());
    let reports = reports.map(|state| state.as_str_name().trim_start_matches("REPORT_STATE_").to_owned());
    let cases = (1..).map_while(|n| CaseState::try_from(n).ok());
    let cases = cases.map(|state| state.as_str_name().trim_start_matches("CASE_STATE_").to_owned());
    let states: BTreeSet<String> = reports.chain(cases).collect();
    assert_eq!(
        first_column(&read("docs/design.md"), "## Records and their states"),
        states
    );
}

/// The error reasons and codes that the guide mentions are those of the contract.
#[test]
fn the_guide_names_errors_as_the_contract_does() {
    let catalogue = read("proto/remit/error/v1/error.proto");
    let codes = read("proto/vendor/google/rpc/code.proto");
    let guide = read("docs/integrate.md");
    let is_name = |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let names: BTreeSet<_> = guide.split('`').filter(is_name).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let known = catalogue.contains(&format!(" ERROR_REASON_{name} =")) || codes.contains(&format!(" {name} ="));
        assert!(known, "{name}");
    }
}

/// The promises have one wording, except for the design's additions.
#[test]
fn the_readme_and_the_design_make_the_same_promises() {
    let titles = |text: &str| -> Vec<String> {
        let promises = text.lines().filter_map(|line| line.split_once(". **"));
        promises
            .filter(|(number, _)| number.parse::<u8>().is_ok())
            .map(|(number, rest)| {
                let title = rest.split("**").next().unwrap_or_default();
                format!("{number} {}", title.trim_end_matches('.'))
            })
            .collect()
    };
    let section = |text: &str, heading: &str| {
        let (_, below) = text.split_once(heading).unwrap();
        titles(below.split("\n## ").next().unwrap())
    };
    let promised = section(&read("docs/design.md"), "## The promises");
    assert_eq!(promised.len(), 7);
    assert_eq!(section(&read("README.md"), "## What it promises"), promised);
}
