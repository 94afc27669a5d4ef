//! What whoever starts needs: what can be reported, own reports, times and languages.

use sqlx::Connection as _;
use testkit::eventually;

use crate::process::{Server, example};

#[test]
fn what_can_be_reported_is_listed_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let listed = server.ok(&["category", "list", "--as", "police-440000"]);
    assert!(listed.lines().count() >= 29, "{listed}");
    for expected in ["fraud.investment", "Online gambling", "urgent"] {
        assert!(listed.contains(expected), "{expected}:\n{listed}");
    }
    let paged = server.json(&["category", "list", "--limit", "2", "--json"]);
    assert_eq!(paged["categories"].as_array().unwrap().len(), 2);
    for name in ["fraud.impersonation", "categories/fraud.impersonation"] {
        let shown = server.ok(&["category", "show", name, "--as", "auditor"]);
        for expected in [
            "categories/fraud.impersonation",
            "刑法 266, 279",
            "property",
            "posed_as",
            "required, one of:",
            "acquaintance  ",
            "at least 1",
            "payment.paid_at",
            "optional, a time with its zone",
        ] {
            assert!(shown.contains(expected), "{expected}:\n{shown}");
        }
    }
    let refused = server.ok(&["category", "show", "child-sexual-abuse-material"]);
    assert!(refused.contains("evidence     refused"), "{refused}");
    let json = server.json(&["category", "show", "fraud.impersonation", "--json"]);
    assert_eq!(
        json["category"]["details"][0]["kind"], "CATEGORY_DETAIL_KIND_CHOICE",
        "{json}"
    );
    let (code, stderr) = server.fails(&["category", "show", "fraud.no-such"]);
    assert_eq!((code, stderr.contains("reason: NOT_FOUND")), (3, true), "{stderr}");
    server.stop();
}

/// Deadlines are counted in the calendar's zone: people read them there, wherever their machine is.
#[test]
fn times_are_those_of_the_calendars_zone_and_show_their_offset() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = example("04-gambling.json");
    let submitted = server.json(&["report", "submit", &file, "--as", "police-440000", "--json"]);
    let receipt = submitted["receipt"].as_str().unwrap();
    let case = eventually("the case is not there", || {
        let cases = server.json(&["case", "list", "--json"]);
        cases["cases"][0]["name"].as_str().map(str::to_owned)
    });
    let offsets = |args: &[&str], zone: &str| {
        let output = server.remit(args).env("TZ", zone).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{args:?}: {text}");
        // A time is a date, a time of day and an offset.
        let words: Vec<_> = text.split_whitespace().map(|word| word.trim_end_matches(':')).collect();
        let is_time = |word: &str| word.len() == 8 && word.split(':').all(|part| part.parse::<u8>().is_ok());
        let times = words.windows(2).filter(|pair| is_time(pair[0]));
        let offsets: Vec<_> = times.map(|pair| pair[1].trim_end_matches(',').to_owned()).collect();
        assert!(!offsets.is_empty(), "{args:?}: {text}");
        offsets
    };
    for args in [
        &["case", "show", &case][..],
        &["report", "receipt", receipt],
        &["report", "list", "--as", "police-440000"],
        &["log", "verify"],
        &["directory", "versions"],
        &["route", "list"],
    ] {
        for zone in ["America/New_York", "UTC"] {
            let offsets = offsets(args, zone);
            assert!(offsets.iter().all(|offset| offset == "+08:00"), "{args:?} {offsets:?}");
        }
        let utc = offsets(&[args, &["--utc"]].concat(), "Asia/Tokyo");
        assert!(utc.iter().all(|offset| offset == "+00:00"), "{args:?} {utc:?}");
    }
    // Of a server elsewhere nobody here knows the zone: it is this machine's.
    let endpoints = std::fs::read_to_string(folder.path().join("data/endpoints.json")).unwrap();
    let endpoints: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    let tokens = std::fs::read_to_string(folder.path().join("data/tokens.json")).unwrap();
    let tokens: serde_json::Value = serde_json::from_str(&tokens).unwrap();
    let operator = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["system"] == "operator")
        .unwrap();
    let args = [
        "directory",
        "versions",
        "--data-dir",
        "/nonexistent",
        "--token",
        operator["token"].as_str().unwrap(),
        "--server",
        endpoints["routing"].as_str().unwrap(),
    ];
    assert!(offsets(&args, "Asia/Tokyo").iter().all(|offset| offset == "+09:00"));
    server.stop();
}

/// A clock that is missed hands the case up: whoever has it then reads why, in one history.
#[test]
fn p5_a_case_that_was_handed_up_shows_its_history_and_why_its_owner_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let server = Server::start(&data_dir);
    server.ok(&[
        "report",
        "submit",
        &example("04-gambling.json"),
        "--as",
        "police-440000",
    ]);
    let (case, first) = eventually("the case is not there", || {
        let case = server.json(&["case", "list", "--json"])["cases"][0].clone();
        let text = |field: &str| case[field].as_str().map(str::to_owned);
        text("name").zip(text("lead"))
    });
    let shown = server.ok(&["case", "show", &case]);
    assert!(shown.contains("came by      the route"), "{shown}");
    assert!(!shown.contains("What happened since"), "{shown}");
    server.stop();

    let url = format!("sqlite://{}", data_dir.join("routing.db").display());
    testkit::backend::run(async {
        let mut db = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let statement = "UPDATE case_clocks SET due = since + 1, next = since + 1, remind = NULL, provisional = 0 \
                         WHERE kind = 'acknowledge'";
        let missed = sqlx::query(statement).execute(&mut db).await.unwrap();
        assert_eq!(missed.rows_affected(), 1);
        db.close().await.unwrap();
    });

    let server = Server::start(&data_dir);
    let shown = eventually("the case is not handed up", || {
        let shown = server.ok(&["case", "show", &case]);
        shown.contains("What happened since").then_some(shown)
    });
    let json = server.json(&["case", "show", &case, "--json"]);
    let lead = json["currentCase"]["lead"].as_str().unwrap();
    let (first, lead) = (&first["agencies/".len()..], &lead["agencies/".len()..]);
    assert_ne!(first, lead);
    let came_by = format!("came by      being handed up: {first} missed its deadline");
    assert_eq!(shown.matches(&came_by).count(), 1, "{shown}");
    let (_, since) = shown.split_once("What happened since").unwrap();
    let history: Vec<_> = since
        .trim_start_matches(['\n', '\r'])
        .lines()
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(history.len(), 1, "{shown}");
    for expected in [
        format!(": {first} had to acknowledge it by "),
        format!("; from {first} to {lead}"),
    ] {
        assert!(history[0].contains(&expected), "{expected}: {}", history[0]);
    }
    // The new owner reads the same, and the former one, which supports from now on.
    for agency in [lead, first] {
        let shown = server.ok(&["case", "show", &case, "--as", agency]);
        assert!(
            shown.contains(&came_by) && shown.contains(history[0]),
            "{agency}: {shown}"
        );
    }
    server.stop();
}

/// The words of the everyday commands, category titles, names of places and agencies.
#[test]
fn people_read_their_own_language() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = example("04-gambling.json");
    let submitted = server.json(&["report", "submit", &file, "--as", "police-440000", "--json"]);
    let receipt = submitted["receipt"].as_str().unwrap();
    let report = submitted["report"]["name"].as_str().unwrap();
    let case = eventually("the case is not there", || {
        let cases = server.json(&["case", "list", "--json"]);
        cases["cases"][0]["name"].as_str().map(str::to_owned)
    });
    let purpose = ["--purpose", "handle-case", "--as", "police-450100"];
    let show = [&["report", "show", report][..], &purpose].concat();
    for (args, chinese, english) in [
        (
            &["report", "submit", &file, "--validate-only", "--as", "police-440000"][..],
            &["未作登记", "如现在提交", "主办", "南宁"][..],
            &["nothing was recorded", "leads", "Nanning"][..],
        ),
        (
            &show,
            &["状态", "已分派", "网络赌博"],
            &["state", "routed", "Online gambling"],
        ),
        (
            &["report", "receipt", receipt],
            &["承办单位", "南宁", "尚未签收"],
            &["agency", "Nanning", "acknowledged"],
        ),
        (&["report", "list", "--as", "police-440000"], &["已分派"], &["routed"]),
        (
            &["case", "list"],
            &["网络赌博", "南宁", "签收", "后"],
            &["Online gambling", "Nanning", "in "],
        ),
        (
            &["case", "show", &case],
            &[
                "主办单位",
                "南宁",
                "协办单位",
                "广东",
                "按规则分派",
                "分派经过",
                "据此确定主办单位",
                "须于",
            ],
            &[
                "lead",
                "Nanning",
                "supporting",
                "Guangdong",
                "the route",
                "this gave the lead",
                "must acknowledge it by",
            ],
        ),
        (
            &["route", "explain", &case, "--as", "police-450100"],
            &[
                "主办单位",
                "规则集 ranked",
                "30 日内",
                "归 police-450100 管辖",
                "运营者所在地 450100",
            ],
            &[
                "lead",
                "of the rule set ranked",
                "leads to police-450100",
                "operator's place 450100",
            ],
        ),
        (
            &["category", "show", "gambling"],
            &["网络赌博", "选填", "银行转账"],
            &["Online gambling", "Bank transfer"],
        ),
    ] {
        let zh = server.ok(&[args, &["--lang", "zh"]].concat());
        let en = server.ok(&[args, &["--lang", "en"]].concat());
        for (text, expected) in [(&zh, chinese), (&en, english)] {
            for expected in expected {
                assert!(text.contains(expected), "{args:?}: {expected}:\n{text}");
            }
        }
        for unexpected in english.iter().filter(|word| !word.contains(' ')) {
            assert!(
                !zh.lines().any(|line| line.starts_with(unexpected)),
                "{unexpected}:\n{zh}"
            );
        }
        // The locale says it where no flag does.
        let mut command = server.remit(args);
        let command = command.env_remove("LC_ALL").env("LANG", "zh_CN.UTF-8");
        let by_locale = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(by_locale.lines().next(), zh.lines().next(), "{args:?}");
    }
    server.stop();
}

/// A clerk reads how a case came, through the same door as the case: no more, and not others'.
#[test]
fn p7_clerks_explain_the_routes_of_their_own_cases_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let mut request: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(example("04-gambling.json")).unwrap()).unwrap();
    request["report"]["keepFrom"] = serde_json::json!(["agencies/police-130400"]);
    let file = folder.path().join("kept.json");
    std::fs::write(&file, request.to_string()).unwrap();
    server.ok(&["report", "submit", file.to_str().unwrap(), "--as", "police-440000"]);
    let case = eventually("the case is not there", || {
        let cases = server.json(&["case", "list", "--json"]);
        cases["cases"][0]["name"].as_str().map(str::to_owned)
    });
    let shown = server.json(&["case", "show", &case, "--json"]);
    let (lead, supporting) = (&shown["currentCase"]["lead"], &shown["currentCase"]["supporting"][0]);
    for (agency, sees_exclusions) in [(lead, true), (supporting, false)] {
        let agency = &agency.as_str().unwrap()["agencies/".len()..];
        let explained = server.ok(&["route", "explain", &case, "--as", agency]);
        assert!(explained.contains("How it was routed"), "{explained}");
        assert_eq!(
            explained.contains("police-130400"),
            sees_exclusions,
            "{agency}: {explained}"
        );
        let of_case = server.json(&["case", "show", &case, "--as", agency, "--json"]);
        let explained = server.json(&["route", "explain", &case, "--as", agency, "--json"]);
        assert_eq!(explained, of_case["currentCase"]["explanation"], "{agency}");
    }
    for other in ["police-130400", "police-110000"] {
        let (code, stderr) = server.fails(&["route", "explain", &case, "--as", other]);
        assert_eq!((code, stderr.contains("reason: NOT_FOUND")), (3, true), "{stderr}");
    }
    let (code, _) = server.fails(&["route", "explain", &case, "--rules", "ranked"]);
    assert_eq!(code, 2);
    server.stop();
}

/// No English sentence of an explanation is left, nor the id of a factor or a function: of all the
/// stories, by both rule sets.
#[test]
fn routes_are_explained_in_chinese() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples");
    let mut explained = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let path = path.to_str().unwrap();
        for rules in ["ranked", "first-receiver"] {
            let args = [
                "route",
                "explain",
                path,
                "--rules",
                rules,
                "--received-by",
                "police-440000",
                "--lang",
                "zh",
            ];
            let output = crate::cli::remit(&args).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(
                output.status.success(),
                "{path}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            // What is told to reporters stands in both languages, and sources are quoted.
            let told = text.split("分派经过").nth(1).unwrap();
            let own = told.lines().filter(|line| !line.trim_start().starts_with("依据"));
            for line in own {
                let english = line.split(|c: char| !c.is_ascii_lowercase() && c != ' ').map(str::trim);
                let sentence = english.filter(|words| words.contains(' ')).collect::<Vec<_>>();
                assert!(sentence.is_empty(), "{path} {rules}: {line}");
                for id in ["victim", "suspect", "transaction", "complained-of"] {
                    let is_id = line
                        .split_whitespace()
                        .any(|word| word == id || word == format!("{id}:"));
                    assert!(!is_id, "{path} {rules}: {line}");
                }
            }
            explained += 1;
        }
    }
    assert!(explained >= 20, "{explained}");
}
