//! One report all the way: submitted, routed, seen, acknowledged, followed, proven.

use api::{
    audit::GetInclusionProofRequest,
    event::CaseState,
    intake::{CheckReceiptRequest, GetReportRequest, ReadPurpose, ReportState},
    routing::{AcknowledgeCaseRequest, GetCaseRequest, ListCasesRequest, WatchCasesRequest, case_sight::Sight},
};
use tempfile::TempDir;
use tonic::Code;

use tests::process::{Databases, Process, gambling, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_goes_all_the_way_on_sqlite() {
    all_the_way(&Databases::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_goes_all_the_way_on_postgres() {
    let Some(databases) = Databases::postgres() else { return };
    all_the_way(&databases).await;
}

fn reading(report: &str) -> GetReportRequest {
    GetReportRequest {
        name: report.to_owned(),
        purpose: ReadPurpose::HandleCase.into(),
    }
}

async fn all_the_way(databases: &Databases) {
    let folder = TempDir::with_prefix("remit-whole-").unwrap();
    let process = Process::start(folder.path(), databases, &[]);
    let (mut intake, mut desk) = (process.intake("content-regulator-CN"), process.routing("police-450100"));

    let mut watch = desk
        .watch_cases(WatchCasesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let submitted = intake.submit_report(gambling("")).await.unwrap().into_inner();
    let report = submitted.report.unwrap().name;

    // The desk in Nanning is notified, lists the case and sees the report; another desk does not.
    let told = watch.message().await.unwrap().unwrap();
    let Some(Sight::CurrentCase(case)) = told.sight.unwrap().sight else {
        panic!("{}", told.kind)
    };
    assert_eq!(
        (told.kind.as_str(), case.state(), case.lead.as_str()),
        ("case.opened", CaseState::Assigned, "agencies/police-450100")
    );
    assert_eq!(case.supporting, ["agencies/police-440000"]);
    assert_eq!(case.clocks.len(), 1, "a clock runs");
    let listed = desk
        .list_cases(ListCasesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .cases;
    assert_eq!(listed.iter().map(|case| &case.name).collect::<Vec<_>>(), [&case.name]);
    let read = process
        .intake("police-450100")
        .get_report(reading(&report))
        .await
        .unwrap()
        .into_inner();
    assert!(read.reading.starts_with("readings/"));
    assert!(read.report.unwrap().narrative.contains("赌博"));
    for (desk, sees_case) in [("police-440000", true), ("police-510100", false)] {
        let got = process
            .routing(desk)
            .get_case(GetCaseRequest {
                name: case.name.clone(),
            })
            .await;
        assert_eq!(got.is_ok(), sees_case, "{desk}");
        let got = process.intake(desk).get_report(reading(&report)).await;
        assert_eq!(got.unwrap_err().code(), Code::NotFound, "{desk} reads no content");
    }
    assert!(
        process
            .routing("police-510100")
            .list_cases(ListCasesRequest::default())
            .await
            .unwrap()
            .into_inner()
            .cases
            .is_empty()
    );

    // The desk acknowledges the case; the reporter sees that and verifies each change in the log
    // independently.
    let request = AcknowledgeCaseRequest {
        name: case.name.clone(),
        etag: case.etag,
        request_id: String::new(),
    };
    let taken = desk
        .acknowledge_case(request)
        .await
        .unwrap()
        .into_inner()
        .current_case
        .unwrap();
    assert_eq!(taken.state(), CaseState::InProgress);
    assert_eq!(watch.message().await.unwrap().unwrap().kind, "case.acknowledged");
    let followed = until("the reporter sees the acknowledgement", async || {
        let followed = intake
            .check_receipt(CheckReceiptRequest {
                receipt: submitted.receipt.clone(),
            })
            .await
            .unwrap()
            .into_inner();
        (followed.acknowledged && followed.changes.iter().all(|change| change.logged)).then_some(followed)
    })
    .await;
    assert_eq!(
        (followed.state(), followed.agency.as_str()),
        (ReportState::Routed, "agencies/police-450100")
    );
    assert_eq!(
        followed
            .changes
            .iter()
            .map(|change| change.kind.as_str())
            .collect::<Vec<_>>(),
        ["report.accepted", "report.routed"]
    );

    let vkey = std::fs::read_to_string(process.layout.log_vkey()).unwrap();
    for change in &followed.changes {
        let mut audit = process.audit();
        let request = GetInclusionProofRequest {
            event_id: change.event_id.clone(),
            ..GetInclusionProofRequest::default()
        };
        let proof = until("the entry is under a checkpoint", async || {
            audit.get_inclusion_proof(request.clone()).await.ok()
        })
        .await
        .into_inner();
        let path: Vec<[u8; 32]> = proof
            .path
            .iter()
            .map(|hash| hash.as_ref().try_into().unwrap())
            .collect();
        // The proof covers the reporter's own copy of the entry, not the server's.
        let verify = |entry: &[u8]| {
            audit::verify::verify_inclusion(
                entry,
                proof.index.cast_unsigned(),
                &path,
                &proof.checkpoint,
                vkey.trim(),
            )
        };
        verify(&change.entry).unwrap();
        let mut forged = change.entry.to_vec();
        forged[40] ^= 1;
        verify(&forged).unwrap_err();
    }
    process.verified_log().await;
}
