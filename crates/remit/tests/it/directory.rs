//! `remit directory`: with files only, and with a server.

use std::{os::unix::fs::PermissionsExt, process::Output};

use testkit::eventually;

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
fn files_are_queried_and_compared_without_a_server() {
    let (code, out, err) = run(&["directory", "locate", "320504", "police", "--agencies", AGENCIES]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("police-320000 "), "{out}");
    assert!(
        out.contains("320504 is abolished, resolved to its successor 320508"),
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
    let data_dir = folder.path().join("data");
    let (configured, data_dir) = (format!("files.agencies={path}"), data_dir.to_str().unwrap());
    for args in [
        &["directory", "diff", path, "--against", AGENCIES][..],
        &["directory", "apply", path],
        &["serve", "all", "--data-dir", data_dir, "--set", &configured],
    ] {
        let (code, _, err) = run(args);
        assert!(code == 2 && err.contains("large.yaml is larger than 16 MB"), "{err}");
    }
}

#[test]
fn a_directory_is_applied_and_survives_a_restart() {
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
        code == 1 && err.contains("only callers with the role directory-editor may call ApplyDirectory"),
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

#[test]
fn p4_what_would_leave_an_open_case_without_owner_is_refused_naming_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples/04-gambling.json");
    server.ok(&["report", "submit", example]);
    let case = eventually("the report is not routed", || {
        let cases = server.json(&["case", "list", "--json"]);
        cases["cases"][0]["name"].as_str().map(str::to_owned)
    });
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ends = "put:\n  - {id: police-450100, functions: [police], territory: '450100', superior: police-450000, \
                name: {zh: 南宁, en: Nanning}, valid_to: 2027-01-01}\n";
    for changes in [
        file("removed.yaml", "remove: [police-450100]\n"),
        // It ends without a successor while it has an open case.
        file("ends.yaml", ends),
    ] {
        let (code, err) = server.fails(&["directory", "apply", &changes, "--changes"]);
        let said = format!("open cases would lose their owner: `police-450100` owns {case}");
        assert!(code == 1 && err.contains(&said), "{err}");
        let tried = server
            .remit(&["directory", "diff", &changes, "--changes"])
            .output()
            .unwrap();
        let told = String::from_utf8(tried.stdout).unwrap();
        let said = format!("{case} would be left without an owner: police-450100 owns it");
        assert!(tried.status.code() == Some(1) && told.contains(&said), "{told}");
    }
    let named = file(
        "named.yaml",
        &ends.replace("2027-01-01", "2027-01-01, successor: police-450000"),
    );
    let (code, err) = server.fails(&["directory", "apply", &named, "--changes"]);
    assert!(code == 2 && err.contains("two people put a version in force"), "{err}");
    let out = server.ok(&["directory", "apply", &named, "--changes", "--officer", "o-17"]);
    let etag = out
        .split_once("remit directory approve ")
        .and_then(|(_, rest)| rest.split_once(' '));
    let (etag, _) = etag.unwrap_or_else(|| panic!("{out}"));
    assert!(out.contains("proposed, and not in force"), "{out}");
    let (code, err) = server.fails(&["directory", "approve", etag, "--officer", "o-17"]);
    assert!(code == 1 && err.contains("another officer must"), "{err}");
    let (code, err) = server.fails(&["directory", "approve", etag, "--officer", "o-18"]);
    assert!(code == 1 && err.contains("names both officers itself"), "{err}");
    server.add_second();
    let seen = server.ok(&["directory", "approve", "--dry-run"]);
    assert!(
        seen.contains("police-450100  valid_to") && seen.contains(etag),
        "{seen}"
    );
    let out = server.ok(&["directory", "approve", etag, "--officer", "o-18", "--as", "second"]);
    assert!(out.contains(&format!("in force as {etag}")), "{out}");
    server.stop();
}

#[test]
fn an_agency_added_later_works_in_reports_trees_and_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let official = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples/09-official.json");
    let report = std::fs::read_to_string(official).unwrap();
    let report = report.replace("police-130400", "police-130499").replace("0009", "0999");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let report = file("report.json", &report.replace("/130400", "/130499"));
    let (code, err) = server.fails(&["report", "submit", &report]);
    assert_eq!(code, 2);
    for field in ["report.complained_of: ", "report.places[0].territory: "] {
        assert!(err.contains(field), "{err}");
    }

    // The tree in force, with an additional county and an agency there.
    let tree = server.ok(&["directory", "show", "--territories"]);
    let tree = tree.replace("\n130500,", "\n130499,新区,Newtown,Xin Qu,,,\n130500,");
    let tree = file("territories.csv", &tree);
    let changes = "put:\n  - {id: police-130499, functions: [police], territory: '130499', superior: police-130400, \
                   name: {zh: 新区, en: Newtown desk}}\n";
    let changes = file("changes.yaml", changes);
    let out = server.ok(&["directory", "apply", &changes, "--changes", "--territories", &tree]);
    assert!(out.contains("+ 130499") && out.contains("+ police-130499"), "{out}");
    let (code, err) = server.fails(&["directory", "tree", "130400", "--as", "police-130499"]);
    assert!(code == 2 && err.contains("remit token add police-130499"), "{err}");

    // Of an agency that no directory knows there is no token, and the file stays as it is.
    let tokens = folder.path().join("data/tokens.json");
    let before = std::fs::read_to_string(&tokens).unwrap();
    for unknown in ["police-13049", "police-130498", "police-45010"] {
        let (code, err) = server.fails(&["token", "add", unknown]);
        assert!(
            code == 2 && err.contains(&format!("no agency of the directory is `{unknown}`")),
            "{err}"
        );
    }
    assert_eq!(std::fs::read_to_string(&tokens).unwrap(), before);
    // Another deployment's file, by its agency file or, where there is none, on one's own word.
    let other = file("tokens.json", "[]");
    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o600)).unwrap();
    let agencies = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/agencies.yaml");
    let (code, _) = server.fails(&["token", "add", "police-45010", "--file", &other, "--agencies", agencies]);
    assert_eq!((code, std::fs::read_to_string(&other).unwrap().as_str()), (2, "[]"));
    server.ok(&[
        "token",
        "add",
        "police-450100",
        "--file",
        &other,
        "--agencies",
        agencies,
    ]);
    let output = server
        .remit(&["token", "add", "police-45010", "--file", &other])
        .output()
        .unwrap();
    let aside = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && aside.contains("was not checked"), "{aside}");

    let token = server.ok(&["token", "add", "police-130499"]);
    let (code, err) = server.fails(&["token", "add", "police-130499"]);
    assert!(code == 2 && err.contains("already has a token"), "{err}");
    let out = eventually("the token is not known", || {
        let arguments = [
            "directory",
            "tree",
            "130400",
            "--function",
            "police",
            "--token",
            token.trim(),
        ];
        let output = server.remit(&arguments).output().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    });
    assert_eq!(
        out,
        "130400 邯郸市 Handan\n  · police-130400 (police)\n  130499 新区 Newtown\n    · police-130499 (police)\n"
    );

    server.ok(&["report", "submit", &report]);
    let lead = eventually("the report is not routed", || {
        let cases = server.json(&["case", "list", "--json"]);
        cases["cases"][0]["lead"].as_str().map(str::to_owned)
    });
    assert_eq!(lead, "agencies/inspection-130000");
    let seen = server.json(&["case", "list", "--as", "police-130499", "--json"]);
    assert!(seen.get("cases").is_none(), "{seen}");
    server.stop();
}
