//! `docs/access.md` says what the tables of access say.

use std::{fmt::Write as _, path::Path};

use rpc::access::{SHARED, markdown};

const HEAD: &str = "\
# Who may call which method

One table per gRPC service, enforced before a method is called or its message is read; a method without a row is denied. What a caller
then sees of records is decided by the stores: an agency its cases, a sender its reports, nobody anything by inference.

A kind of caller is the role of its token (`remit token add`), and for Remit's own services also their name.

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
