//! What whoever starts needs: what can be reported, own reports, times and languages.

use crate::process::Server;

#[test]
fn what_can_be_reported_is_listed_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let listed = server.ok(&["category", "list", "--as", "police-440000"]);
    assert!(listed.lines().count() >= 29, "{listed}");
    for expected in ["fraud.investment", "Online gambling", "网络赌博", "urgent"] {
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
