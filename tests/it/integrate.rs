//! The integrator's guide, run as its readers would run it.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tests::process::{Databases, Process};

/// A fenced block of the guide.
#[derive(Debug)]
struct Block {
    /// The words after the fence, such as `python`.
    kind: String,
    text: String,
}

/// Separates the outputs of two blocks.
const END: &str = "-- end of block";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in guide.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                open = Some(Block {
                    kind: kind.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), block) => blocks.extend(block.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of the guide does not end");
    blocks
}

/// Whether printed text matches the guide, where `…` matches anything within a line.
fn fits(shown: &str, printed: &str) -> bool {
    let fits_line = |shown: &str, printed: &str| {
        let mut parts = shown.split('…');
        let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        for part in parts {
            // The last part must match the rest of the line.
            match rest.find(part) {
                Some(_) if part.is_empty() => rest = "",
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.is_empty()
    };
    shown.lines().count() == printed.lines().count()
        && shown
            .lines()
            .zip(printed.lines())
            .all(|(shown, printed)| fits_line(shown, printed))
}

#[test]
fn shown_output_has_gaps_only_where_it_says_so() {
    for (shown, printed, expected) in [
        ("a\n", "a\n", true),
        ("a\n", "ab\n", false),
        ("a\n", "a\nb\n", false),
        ("a\nb\n", "a\n", false),
        ("reports/… …\n", "reports/1 2\n", true),
        ("reports/… …\n", "cases/1 2\n", false),
        ("x - …\n", "x - anything at all\n", true),
        ("… b\n", "a c\n", false),
    ] {
        assert_eq!(fits(shown, printed), expected, "{shown:?} {printed:?}");
    }
}

/// Every library that the guide tells its readers to install is in the pinned test environment.
#[test]
fn the_guide_installs_what_it_is_tested_with() {
    let guide = std::fs::read_to_string(root().join("docs/integrate.md")).unwrap();
    let pinned = std::fs::read_to_string(root().join("tests/python/requirements.txt")).unwrap();
    let blocks = blocks(&guide);
    let install = blocks.iter().find(|block| block.kind == "sh install").unwrap();
    let (_, libraries) = install.text.split_once("pip install ").unwrap();
    for library in libraries.split_whitespace() {
        assert!(
            pinned.lines().any(|line| line.starts_with(&format!("{library}=="))),
            "{library}"
        );
    }
}

#[test]
fn the_guide_works_as_written() {
    let Some(python) = testkit::python::interpreter() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    // The reader's situation: the repository's root as working directory, a data directory and a
    // Python environment.
    let repository = root().canonicalize().unwrap();
    let client = folder.path().join("client");
    std::fs::create_dir(&client).unwrap();
    symlink(repository.join("proto"), folder.path().join("proto")).unwrap();
    let environment = python.parent().unwrap().parent().unwrap();
    for part in ["bin", "lib", "pyvenv.cfg"] {
        symlink(environment.join(part), client.join(part)).unwrap();
    }

    let guide = std::fs::read_to_string(repository.join("docs/integrate.md")).unwrap();
    let mut script = String::new();
    let mut expected = Vec::new();
    for block in blocks(&guide) {
        match block.kind.as_str() {
            "sh install" => {}
            "sh" => {
                run(
                    Command::new("bash").args(["-euo", "pipefail", "-c", &block.text]),
                    folder.path(),
                );
            }
            "python" => {
                script.push_str(&block.text);
                script.push_str(&format!("\nprint({END:?}, flush=True)\n"));
                expected.push(String::new());
            }
            "text" => expected.last_mut().unwrap().clone_from(&block.text),
            other => panic!("a block of the guide is {other:?}, of which this test knows nothing"),
        }
    }
    for (shipped, actual) in [
        ("127.0.0.1:7301", &process.endpoints.intake),
        ("127.0.0.1:7302", &process.endpoints.routing),
        ("127.0.0.1:7303", &process.endpoints.audit),
    ] {
        assert!(script.contains(shipped), "{shipped}");
        script = script.replace(shipped, actual.strip_prefix("http://").unwrap());
    }
    // Behaviour that no real server shows on demand.
    script.push_str(include_str!("../python/after_integrate.py"));
    std::fs::write(folder.path().join("client.py"), script).unwrap();

    let printed = run(Command::new(client.join("bin/python")).arg("client.py"), folder.path());
    let end = format!("{END}\n");
    let mut printed = printed.split(end.as_str());
    for shown in expected {
        let printed = printed.next().unwrap_or_default();
        assert!(
            fits(&shown, printed),
            "the guide shows\n{shown}\nbut it printed\n{printed}"
        );
    }
    assert_eq!(printed.next(), Some("checked\n"));
}

/// Runs it and returns its output.
fn run(command: &mut Command, folder: &Path) -> String {
    let output = command.current_dir(folder).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} printed\n{printed}{complaints}");
    printed
}
