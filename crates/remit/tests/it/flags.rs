//! Flags that every command has, or has a reason not to have.

/// Commands without `--json`, and why.
const WITHOUT_JSON: &[(&str, &str)] = &[
    ("remit serve", "runs until it is stopped; its log can be JSON"),
    ("remit witness serve", "runs until it is stopped"),
    (
        "remit health",
        "its answer is its exit code, for what restarts processes",
    ),
    ("remit demo", "a tour for people, of commands that have it"),
    ("remit completions", "prints a script"),
    ("remit man", "prints pages of the manual"),
];

/// Commands without `--request-id`, and why they need none.
const WITHOUT_REQUEST_ID: &[(&str, &[&str])] = &[
    (
        "reads",
        &[
            "access list",
            "backup verify",
            "case list",
            "case show",
            "case watch",
            "case worklists",
            "case undelivered",
            "case deputies",
            "case handover",
            "case supervisions",
            "category",
            "config",
            "context list",
            "context show",
            "directory desks",
            "directory diff",
            "directory locate",
            "directory show",
            "directory tree",
            "directory versions",
            "evidence download",
            "evidence show",
            "evidence verify",
            "health",
            "log checkpoint",
            "log export",
            "log gaps",
            "log key show",
            "log key file",
            "log receipt",
            "log reconcile",
            "log show",
            "log trace",
            "log stats",
            "log verify-receipt",
            "log verify",
            "notice show",
            "operator list",
            "operator lookup",
            "report list",
            "report receipt",
            "report show",
            "report undelivered",
            "report watch",
            "route check",
            "route explain",
            "route list",
            "route replay",
            "route show",
            "status",
            "token list",
            "witness key",
        ],
    ),
    (
        "stores a rule set, which is named by its content: stored twice it is one",
        &["route simulate"],
    ),
    ("its requests have ids of their own", &["case queue", "demo"]),
    (
        "a token is confirmed once, however often it is sent",
        &["report confirm"],
    ),
    (
        "each report has an external id, for ever: submitted twice it is one",
        &["report import"],
    ),
    (
        "changes files and databases of this machine",
        &[
            "backup create",
            "backup restore",
            "completions",
            "context remove",
            "context set",
            "context use",
            "dev-certs",
            "log key generate",
            "log key revoke",
            "log key rotate",
            "log recover",
            "man",
            "migrate",
            "token add",
            "token renew",
            "token revoke",
            "token rotate",
        ],
    ),
    (
        "a repeat does what is left: what is done is done once",
        &["case move", "case end-deputy"],
    ),
    ("serves", &["serve", "witness serve"]),
];

/// The commands without subcommands that lack a flag, and how many commands there are.
fn lacking(flag: &str) -> (Vec<String>, usize) {
    fn walk(command: &clap::Command, path: &str, flag: &str, missing: &mut Vec<String>, count: &mut usize) {
        let path = format!("{path}{}", command.get_name());
        let mut below = command
            .get_subcommands()
            .filter(|below| below.get_name() != "help")
            .peekable();
        if below.peek().is_none() {
            *count += 1;
            if !command
                .get_arguments()
                .any(|argument| argument.get_long() == Some(flag))
            {
                missing.push(path);
            }
            return;
        }
        below.for_each(|below| walk(below, &format!("{path} "), flag, missing, count));
    }
    let mut whole = <::remit::cli::Cli as clap::CommandFactory>::command();
    whole.build();
    let (mut missing, mut count) = (Vec::new(), 0);
    walk(&whole, "", flag, &mut missing, &mut count);
    assert!(count > 60, "{count}");
    (missing, count)
}

/// Neither a command without the flag and without a reason, nor a reason for nothing.
fn check(flag: &str, reasons: &[(String, &str)]) {
    let (missing, _) = lacking(flag);
    let is = |path: &str, begin: &str| path == begin || path.starts_with(&format!("{begin} "));
    let unexplained: Vec<_> = missing
        .iter()
        .filter(|path| !reasons.iter().any(|(begin, _)| is(path, begin)))
        .collect();
    assert!(unexplained.is_empty(), "no --{flag}, and no reason: {unexplained:?}");
    for (begin, why) in reasons {
        assert!(
            missing.iter().any(|path| is(path, begin)),
            "{begin} has --{flag}, or is gone: {why}"
        );
    }
}

#[test]
fn every_command_has_json_or_a_reason_to_have_none() {
    let reasons: Vec<_> = WITHOUT_JSON
        .iter()
        .map(|(begin, why)| ((*begin).to_owned(), *why))
        .collect();
    check("json", &reasons);
}

/// A change that is asked for again, because its answer was lost, must not be made twice.
#[test]
fn every_changing_command_has_a_request_id_or_a_reason_to_have_none() {
    let reasons = WITHOUT_REQUEST_ID
        .iter()
        .flat_map(|(why, commands)| commands.iter().map(|command| (format!("remit {command}"), *why)));
    check("request-id", &reasons.collect::<Vec<_>>());
}

/// The text up to where its first brace closes.
fn braced(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[..at],
            '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// Every request with an id that is sent from here has that of the flag.
#[test]
fn request_ids_are_sent_where_the_contract_has_them() {
    fn sources(folder: &std::path::Path) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            all += &match path.is_dir() {
                // A tour: it is given once, and its files have the same ids each time.
                _ if path.file_stem().is_some_and(|name| name == "demo") => continue,
                true => sources(&path),
                false => std::fs::read_to_string(path).unwrap(),
            };
        }
        all
    }
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands");
    let text = sources(&own);
    let with_id = api::POOL.all_messages().filter(|message| {
        // A report's is in its file, or set from the flag; rule sets are named by their content.
        let has_other = ["SubmitReportRequest", "CreateRuleSetRequest"].contains(&message.name());
        !has_other && message.fields().any(|field| field.name() == "request_id")
    });
    let mut sent = 0;
    for message in with_id {
        for (at, _) in text.match_indices(&format!(" {} {{", message.name())) {
            let before = &text[..at];
            let whole = braced(&text[at..]);
            let is_type = before.ends_with("for") || before.ends_with("->");
            // `request!` of `case/change.rs` adds what every change has; `..spec` has it already, and
            // what only tries needs none.
            let mut ways = ["request_id", "..spec", "validate_only: true"].into_iter();
            let has_id = before.ends_with("of =>") || ways.any(|way| whole.contains(way));
            assert!(is_type || has_id, "{whole}");
            sent += usize::from(!is_type);
        }
    }
    assert!(sent >= 13, "{sent}");
}
