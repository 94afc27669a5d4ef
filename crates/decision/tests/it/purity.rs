//! Crates that the decision must not depend on, at any depth.

use std::process::Command;

#[test]
fn neither_transport_nor_runtime_nor_database_nor_randomness() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "decision"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: Vec<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains(&"places") && crates.contains(&"prost"), "{crates:?}");
    for absent in ["tonic", "hyper", "tokio", "sqlx", "sql", "journal", "rand", "getrandom"] {
        let found = crates.iter().find(|name| name.split(['-', '_']).next() == Some(absent));
        assert_eq!(found, None, "the decision is built on {absent}");
    }
}
