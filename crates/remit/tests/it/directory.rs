//! `remit directory`: from files alone, and at a server.

use std::process::Output;

use crate::{cli::remit, process::Server};

const AGENCIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/agencies.yaml");
const CHANGES: &str = "put:\n  - {id: police-320508, functions: [police], territory: '320508', \
                       name: {zh: 姑苏, en: Gusu desk}, superior: police-320000}\nremove: [police-320600]\n";

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = remit(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn files_are_asked_and_compared_without_a_server() {
    let (code, out, err) = run(&["directory", "locate", "320504", "police", "--agencies", AGENCIES]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("police-320000 "), "{out}");
    assert!(
        out.contains("320504 is abolished, read as 320508, its successor"),
        "{out}"
    );
    let (code, _, err) = run(&["directory", "locate", "999999", "police", "--agencies", AGENCIES]);
    assert_eq!(code, 3, "{err}");
    let (code, out, _) = run(&["directory", "locate", "US", "police", "--agencies", AGENCIES, "--json"]);
    assert!(code == 0 && out.contains("outside the tree"), "{out}");

    let folder = tempfile::tempdir().unwrap();
    let changes = folder.path().join("changes.yaml");
    std::fs::write(&changes, CHANGES).unwrap();
    let changes = changes.to_str().unwrap();
    let (code, out, err) = run(&["directory", "diff", changes, "--changes", "--against", AGENCIES]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "+ police-320508\n- police-320600\n2 differences; nothing was applied\n"
    );
    let (code, _, err) = run(&["directory", "diff", changes, "--against", AGENCIES]);
    assert!(code == 2 && err.contains("changes.yaml"), "{err}");

    let (_, out, _) = run(&[
        "directory",
        "tree",
        "320000",
        "--function",
        "police",
        "--agencies",
        AGENCIES,
    ]);
    let lines: Vec<_> = out.lines().take(3).collect();
    assert_eq!(
        lines,
        [
            "320000 江苏省 Jiangsu",
            "  · police-320000 (police)",
            "  320100 南京市 Nanjing"
        ]
    );
}

#[test]
fn a_file_of_200_megabytes_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    std::fs::File::create(&path).unwrap().set_len(200 << 20).unwrap();
    let path = path.to_str().unwrap();
    for args in [
        &["directory", "diff", path, "--against", AGENCIES][..],
        &["directory", "apply", path],
    ] {
        let (code, _, err) = run(args);
        assert!(code == 2 && err.contains("is larger than 16 MB"), "{err}");
    }
}

#[test]
fn a_directory_is_applied_at_a_server_and_stays_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let changes = folder.path().join("changes.yaml");
    std::fs::write(&changes, CHANGES).unwrap();
    let changes = changes.to_str().unwrap();
    let server = Server::start(&data_dir);
    let out = server.ok(&["directory", "apply", changes, "--changes"]);
    assert!(out.contains("2 differences; in force as "), "{out}");
    let (code, err) = server.fails(&["directory", "apply", changes, "--changes", "--as", "police-320000"]);
    assert!(
        code == 1 && err.contains("only an operator applies directories"),
        "{err}"
    );
    server.stop();

    let server = Server::start(&data_dir);
    let located = server.json(&["directory", "locate", "320504", "police", "--json"]);
    assert_eq!(located["agency"]["name"], "agencies/police-320508");
    let versions = server.json(&["directory", "versions", "--json"]);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    let shown = server.ok(&["directory", "show"]);
    assert!(shown.contains("id: police-320508,") && !shown.contains("id: police-320600,"));
    server.stop();
}
