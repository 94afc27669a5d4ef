//! `docs/access.md` says what the tables of access say.

use std::{fmt::Write as _, path::Path};

use rpc::access::{SHARED, markdown};

const HEAD: &str = "\
# Who may call which method

One table per gRPC service, enforced before a method is called or its message is read; a method without a row is denied. What a caller
then sees of records is decided by the stores: an agency its cases, a sender its reports, nobody anything by inference.

Callers have roles (`remit token add --roles`, or in the file of callers); a row names those of which one is enough. A running server prints its tables:
`remit access list`, for auditors and operators. A caller without one of them is told which it lacks, and refusals are logged and counted.

| role | what for | usual for |
|---|---|---|
| `submitter` | sends reports and evidence in, and sees what it sent | agencies, partners, operators |
| `desk` | works on the cases of its agency, and proposes how they end | agencies |
| `reviewer` | decides on what somebody else at its agency proposed | agencies |
| `supervisor` | acts for its agency as a superior | agencies |
| `inspector` | reads what its agency sees, and changes nothing | agencies |
| `operator` | runs the services; sees that everything moves, but no content | operators |
| `directory-editor` | changes the directory and the operator register | operators |
| `rules-editor` | makes rule sets, and puts them in force | operators |
| `auditor` | reads the log with its details; alone, with no other role | auditors |
| `service` | one of Remit's own services, known by its name; alone | the services |

The first five are an agency's: `desk` to `inspector` name one, and what opens cases opens those that their agency sees. A token's roles are those of its system;
a signed token can have fewer. Directories and rule sets take two people: the officer who proposed one cannot approve it,
nor can another name by the same system, unless an issuer signs both. Where only some callers learn cases by name, others get numbers.

This file is written by a test, from the tables in `crates/*/src/access.rs`: `UPDATE=1 cargo test -p host access`.

";

#[test]
fn p7_the_tables_of_access_are_in_the_docs() {
    let mut text = HEAD.to_owned();
    for (title, tables) in [
        ("Intake", intake::ACCESS),
        ("Routing", routing::ACCESS),
        ("Audit", audit::ACCESS),
        ("Files of audit, by HTTP GET", &[audit::FILES]),
        ("On each server", SHARED),
    ] {
        write!(text, "## {title}\n\n{}", markdown(tables)).unwrap();
    }
    let text = format!("{}\n", text.trim_end());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/access.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/access.md differs from the tables of access; write it with UPDATE=1 cargo test -p host access"
    );
}

/// Said once more, apart from the tables: who runs the services, edits what they go by, or inspects
/// them, reads no content; who has no agency, no case.
#[test]
fn p7_no_role_of_the_installation_opens_content() {
    use rpc::{Role, Roles};
    let tables = [intake::ACCESS, routing::ACCESS, audit::ACCESS].concat();
    let row = |method: &str| {
        let all = tables.iter().flat_map(|table| table.methods);
        let found: Vec<_> = all.filter(|row| row.name == method).collect();
        assert!(!found.is_empty(), "{method}");
        found
    };
    let is_open = |role: Role, method: &str| {
        let caller = rpc::Identity {
            system: "somebody".to_owned(),
            agency: None,
            roles: Roles::of(&[role]),
            officer: None,
            officer_key: rpc::OfficerKey::default(),
            proof: rpc::Proof::Token,
        };
        row(method).iter().any(|row| row.admits(Some(&caller)))
    };
    let shut = |roles: &[Role], methods: &[&str]| {
        for (role, method) in roles
            .iter()
            .flat_map(|role| methods.iter().map(move |method| (*role, *method)))
        {
            assert!(!is_open(role, method), "{role} opens {method}");
        }
    };
    let installation = [
        Role::Operator,
        Role::Auditor,
        Role::DirectoryEditor,
        Role::RulesEditor,
        Role::Service,
    ];
    shut(
        &installation,
        &[
            "GetReport",
            "ListReports",
            "DownloadEvidence",
            "WatchCases",
            "AcknowledgeCase",
        ],
    );
    shut(
        &[
            installation.as_slice(),
            &[Role::Submitter, Role::Inspector, Role::Reviewer, Role::Supervisor],
        ]
        .concat(),
        &["RevealReporter"],
    );
    shut(
        &[Role::Desk, Role::Inspector],
        &["ReviewDisposition", "SuperviseCase", "DesignateAgency"],
    );
    shut(
        &[Role::Reviewer, Role::Inspector],
        &["ProposeDisposition", "TransferCase"],
    );
    shut(
        &[Role::Operator, Role::RulesEditor],
        &["ApplyDirectory", "LoadOperators"],
    );
    shut(
        &[Role::Operator, Role::DirectoryEditor],
        &["CreateRuleSet", "ActivateRuleSet"],
    );
    assert!(is_open(Role::Desk, "RevealReporter") && is_open(Role::Auditor, "GetAccessTable"));
}
