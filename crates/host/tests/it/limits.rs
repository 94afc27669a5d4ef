//! `docs/limits.md` says what the server's table of limits and the configuration say.

use std::{fmt::Write as _, path::Path};

use host::config::{Config, keys};
use rpc::limits::{Row, TABLE};

const HEAD: &str = "\
# Limits

What a server takes at most, in all and of one caller, in every phase from the first byte of a connection to the last of a stream. All are keys of the
configuration (`remit config show`), and none can be switched off.

A caller is a system, whatever token, connection or officer it calls with. Three lanes do not meet: callers with a token, who share what the table says; Remit's own
services, who have as much again for them alone, and four times the bytes; and callers without a token (streams of health, reflection, public files), who are told apart by their address and
have a quarter together and a sixteenth each. A health check is answered whatever runs: it takes nothing of these, has a body of 1 KiB at most, and only four wait on one connection. What is refused with `OVERLOADED` has done nothing, says when to try again,
and is refused before its body is read, or in the middle of it; it is safe to repeat.

Connections are shared by the servers of a process: from the files that it may open (`ulimit -n`) 256 are kept back for databases, evidence and its own calls, and the
servers have the rest in equal parts where that is less than `limits.connections`. A listener that finds no descriptor waits and says so in its log, and in
`remit.rpc.limited` with the limit `descriptors`.

`remit.rpc.limited` counts each time, with the key's name (without its section) as the label `remit.limit`; `remit.rpc.refused` counts refused calls by the reason that
they are told. Reasons are those of [`error.proto`](../proto/remit/error/v1/error.proto).

This file is written by a test, from the table in `crates/rpc/src/limits.rs`, and that below: `UPDATE=1 cargo test -p host limits`.

";

const fn evidence(key: &'static str, unit: &'static str, about: &'static str, error: &'static str) -> Row {
    Row {
        key,
        unit,
        about,
        metric: "`remit.rpc.refused`",
        error,
    }
}

const EVIDENCE: &[Row] = &[
    evidence("evidence.file_bytes", "bytes", "of one file", "`INVALID_INPUT`"),
    evidence(
        "evidence.idle_ms",
        "ms",
        "without progress in an upload or a download",
        "`DEADLINE_EXCEEDED`",
    ),
    evidence(
        "evidence.streams",
        "uploads",
        "of a replica at once, and as many downloads",
        "`OVERLOADED`, with a time to wait",
    ),
    evidence(
        "evidence.streams_per_caller",
        "uploads",
        "of one caller at once, and as many downloads",
        "`OVERLOADED`, with a time to wait",
    ),
    evidence(
        "evidence.unattached_bytes_per_caller",
        "bytes",
        "of one caller's files that no report names yet, each counted as 64 KiB at least; they expire after a day. Uploads that run are not counted",
        "`STORAGE_FULL`, with a time to wait",
    ),
    evidence(
        "evidence.reserve_bytes",
        "bytes",
        "of the folder's disk that stay free",
        "`STORAGE_FULL`, with a time to wait",
    ),
];

#[test]
fn the_limits_are_in_the_docs() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let default = |key: &str| defaults.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
    let mut text = HEAD.to_owned();
    for (title, rows) in [("Of each server", TABLE), ("Of evidence", EVIDENCE)] {
        write!(
            text,
            "## {title}\n\n| limit | default | unit | what | metric | whoever reaches it |\n|---|---|---|---|---|---|\n"
        )
        .unwrap();
        for row in rows {
            let value = default(row.key).unwrap_or_else(|| panic!("{} is no key", row.key));
            let Row {
                key,
                unit,
                about,
                metric,
                error,
            } = row;
            writeln!(text, "| `{key}` | {value} | {unit} | {about} | {metric} | {error} |").unwrap();
        }
        text.push('\n');
    }
    let text = format!("{}\n", text.trim_end());
    // Each once, and none left out.
    let mut documented: Vec<_> = TABLE.iter().chain(EVIDENCE).map(|row| row.key.to_owned()).collect();
    documented.sort_unstable();
    let is_limit =
        |key: &String| key.starts_with("limits.") || (key.starts_with("evidence.") && key != "evidence.folder");
    let mut all: Vec<_> = keys().into_iter().filter(is_limit).collect();
    all.sort_unstable();
    assert_eq!(documented, all);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/limits.md differs from the table of limits; write it with UPDATE=1 cargo test -p host limits"
    );
}
