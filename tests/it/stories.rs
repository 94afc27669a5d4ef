//! The product's stories through the program itself. The demo checks each route against its story
//! and verifies each proof, and fails on a difference.

use tempfile::TempDir;

use tests::process::{Databases, Process, program};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_runs_every_story() {
    let folder = TempDir::with_prefix("remit-stories-").unwrap();
    let process = Process::start(folder.path(), &Databases::Sqlite, &[]);
    // Twice: data of the first run must not change the second.
    for _ in 0..2 {
        let output = program()
            .args(["demo", "--data-dir"])
            .arg(process.layout.folder())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.matches("proof verified").count() >= 16, "{text}");
    }
    let verify = program()
        .args(["log", "verify", "--data-dir"])
        .arg(process.layout.folder())
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
}
