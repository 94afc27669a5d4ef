//! What must not be seen where it does not belong.

use std::path::Path;

use api::intake::{CheckReceiptRequest, Reporter};
use tempfile::TempDir;

use tests::process::{Databases, Process, gambling, until};

/// Values that a reporter gave, which only intake may know.
const CANARIES: [&str; 4] = ["CANARY-NARRATIVE", "CANARY-NAME", "CANARY-CONTACT", "bet.example"];

fn contains(file: &Path, text: &str) -> bool {
    std::fs::read(file)
        .unwrap_or_default()
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_what_a_reporter_wrote_reaches_neither_routing_nor_the_log_nor_the_log_lines() {
    let folder = TempDir::with_prefix("remit-privacy-").unwrap();
    let mut process = Process::start(
        folder.path(),
        &Databases::Sqlite,
        &[("REMIT_TELEMETRY_FILTER", "trace")],
    );
    let mut request = gambling("");
    request.report.as_mut().unwrap().reporter = Some(Reporter {
        relation: 1,
        display_name: "CANARY-NAME".to_owned(),
        contact: "CANARY-CONTACT".to_owned(),
    });
    let mut intake = process.intake("operator");
    let receipt = intake.submit_report(request).await.unwrap().into_inner().receipt;
    until("all is logged", async || {
        let followed = intake
            .check_receipt(CheckReceiptRequest {
                receipt: receipt.clone(),
            })
            .await
            .unwrap()
            .into_inner();
        (followed.changes.len() == 2 && followed.changes.iter().all(|change| change.logged)).then_some(())
    })
    .await;
    process.kill();

    let data = process.layout.folder();
    let files = |service: &str| ["", "-wal"].map(|suffix| data.join(format!("{service}.db{suffix}")));
    for canary in CANARIES {
        assert!(
            files("intake").iter().any(|file| contains(file, canary)),
            "{canary} is stored where it belongs"
        );
        for file in files("routing")
            .iter()
            .chain(&files("audit"))
            .chain([&folder.path().join("stderr")])
        {
            assert!(!contains(file, canary), "{canary} is in {}", file.display());
        }
    }
    let (code, raw) = (receipt.as_str(), receipt.replace('-', ""));
    for service in ["intake", "routing", "audit"] {
        for file in files(service) {
            assert!(
                !contains(&file, code) && !contains(&file, &raw),
                "the receipt is in {}",
                file.display()
            );
        }
    }
}
