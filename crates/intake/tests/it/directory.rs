//! What reports may name: intake follows the applied directory, and waits for it only when it must.

use std::sync::atomic::Ordering;

use api::intake::{Place, SubmitReportRequest, place::Location};
use rpc::Limits;
use testkit::Backend;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::{Served, good, serve};

const AGENCY: &str = "agencies/police-320508";
const TERRITORY: &str = "territories/320599";

/// A report that names both.
fn naming() -> SubmitReportRequest {
    let mut request = good();
    let report = request.report.as_mut().unwrap();
    report.complained_of = AGENCY.to_owned();
    report.keep_from = vec![AGENCY.to_owned()];
    report.places = vec![Place {
        factor: 1,
        location: Some(Location::Territory(TERRITORY.to_owned())),
    }];
    request
}

async fn refused(served: &Served, request: SubmitReportRequest) -> (Code, Vec<String>) {
    let status = served.client("hotline").submit_report(request).await.unwrap_err();
    let fields = status.get_details_bad_request().map(|bad| bad.field_violations);
    let fields = fields.unwrap_or_default().into_iter().map(|violation| violation.field);
    (status.code(), fields.collect())
}

#[tokio::test]
async fn what_is_applied_later_may_be_named_at_once() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let fields = [
        "report.places[0].territory",
        "report.complained_of",
        "report.keep_from[0]",
    ];
    let (code, said) = refused(&served, naming()).await;
    assert_eq!(
        (code, said),
        (Code::InvalidArgument, fields.map(str::to_owned).to_vec())
    );
    assert_eq!(served.rows().await, 0);

    served
        .applied
        .names
        .lock()
        .unwrap()
        .extend([AGENCY.to_owned(), TERRITORY.to_owned()]);
    served.client("hotline").submit_report(naming()).await.unwrap();
    // From then on they are known, and routing is not asked.
    let asked = served.applied.asked.load(Ordering::SeqCst);
    served.applied.down.store(true, Ordering::SeqCst);
    served.client("hotline").submit_report(naming()).await.unwrap();
    assert_eq!(served.applied.asked.load(Ordering::SeqCst), asked);
}

#[tokio::test]
async fn only_what_names_what_nobody_here_knows_waits_for_routing() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    served.applied.down.store(true, Ordering::SeqCst);
    let mut known = good();
    known.report.as_mut().unwrap().complained_of = "agencies/police-130400".to_owned();
    served.client("hotline").submit_report(known).await.unwrap();
    let rows = served.rows().await;

    let (code, _) = refused(&served, naming()).await;
    assert_eq!(code, Code::Unavailable, "it may be right: the sender tries again");
    // Other faults are reported all the same, and malformed names are not looked up.
    let mut wrong = naming();
    wrong.report.as_mut().unwrap().category.clear();
    assert_eq!(
        refused(&served, wrong).await,
        (Code::InvalidArgument, vec!["report.category".to_owned()])
    );
    let asked = served.applied.asked.load(Ordering::SeqCst);
    let mut no_name = good();
    no_name.report.as_mut().unwrap().keep_from = vec!["police-320508".to_owned(), "agencies/a b".to_owned()];
    assert_eq!(
        refused(&served, no_name).await,
        (
            Code::InvalidArgument,
            vec!["report.keep_from[0]".to_owned(), "report.keep_from[1]".to_owned()]
        )
    );
    assert_eq!(served.applied.asked.load(Ordering::SeqCst), asked);
    assert_eq!(served.rows().await, rows);

    served.applied.down.store(false, Ordering::SeqCst);
    let (code, _) = refused(&served, naming()).await;
    assert_eq!(code, Code::InvalidArgument, "what passed unasked was not learned");
}

#[tokio::test]
async fn a_sender_whose_agency_no_directory_has_is_refused() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let submit = async |validate_only| {
        let request = SubmitReportRequest {
            validate_only,
            ..good()
        };
        let answer = served.client("nanning").submit_report(request).await;
        answer
            .map(drop)
            .map_err(|status| (status.code(), status.message().to_owned()))
    };
    for validate_only in [true, false] {
        let (code, message) = submit(validate_only).await.unwrap_err();
        assert_eq!(code, Code::PermissionDenied);
        assert!(
            message.contains("`police-450100`, is not in the directory"),
            "{message}"
        );
    }
    served.applied.down.store(true, Ordering::SeqCst);
    assert_eq!(submit(false).await.unwrap_err().0, Code::Unavailable);
    assert_eq!(served.rows().await, 0);
    // Once it is applied, the sender may submit at once, and routing is not asked again.
    served.applied.down.store(false, Ordering::SeqCst);
    served
        .applied
        .names
        .lock()
        .unwrap()
        .insert("agencies/police-450100".to_owned());
    submit(false).await.unwrap();
    served.applied.down.store(true, Ordering::SeqCst);
    submit(false).await.unwrap();
}
