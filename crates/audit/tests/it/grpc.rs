//! The service, over the wire.

use api::{
    audit::{
        AppendChangesRequest, GetCheckpointRequest, GetInclusionProofRequest, ListChangesRequest, ListChangesResponse,
    },
    event::ChangeOutcome,
};
use audit::{SqlStore, open_checkpoint};
use testkit::Backend;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Files, Producer, Served, altered, decoded, execute};

testkit::on_each_backend!(
    verdicts_come_in_the_order_of_the_request,
    lists_end_where_the_published_checkpoint_does,
    calls_at_the_same_time_get_every_index_once,
    a_process_that_was_taken_over_says_so_and_is_not_well,
    a_tree_that_was_tampered_with_is_neither_proven_nor_signed,
    what_cannot_be_kept_outside_of_the_database_is_not_published,
);

pub fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

pub fn fields(status: &Status) -> Vec<String> {
    status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

async fn list(log: &Served, request: ListChangesRequest) -> Result<ListChangesResponse, Status> {
    log.client("inspector")
        .list_changes(Request::new(request))
        .await
        .map(tonic::Response::into_inner)
}

async fn verdicts_come_in_the_order_of_the_request(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let (mut intake, mut routing) = (Producer::intake(), Producer::new("routing", 2));
    let a = [intake.next("reports/a"), intake.next("reports/a")];
    let mut malformed = a[0].clone();
    malformed.entry = malformed.entry.slice(1..);
    let mut uncommitted = intake.next("reports/b");
    uncommitted.detail.as_mut().unwrap().content = b"something else".to_vec().into();
    let reused = altered(&a[0], |entry| entry.kind = "report.withdrawn".to_owned());
    let unlinked = altered(&intake.next("reports/a"), |entry| entry.previous = [1; 32]);
    let changes = [
        a[1].clone(),
        a[0].clone(),
        malformed,
        routing.next("cases/1"),
        uncommitted,
        a[1].clone(),
        reused,
        unlinked,
        a[0].clone(),
    ];
    let results = log.append(&changes).await;
    let results: Vec<_> = results.iter().map(|result| (result.outcome(), result.index)).collect();
    assert_eq!(
        results,
        [
            (ChangeOutcome::OutOfOrder, 0),
            (ChangeOutcome::Recorded, 0),
            (ChangeOutcome::Malformed, 0),
            (ChangeOutcome::WrongSource, 0),
            (ChangeOutcome::CommitmentMismatch, 0),
            (ChangeOutcome::Recorded, 1),
            (ChangeOutcome::EventIdReused, 0),
            (ChangeOutcome::BrokenLink, 0),
            (ChangeOutcome::Recorded, 0),
        ]
    );
    // After the two come the two entries about the last refusals.
    assert_eq!(log.append(&[routing.next("cases/2")]).await[0].index, 4);
    log.stop().await;
}

async fn lists_end_where_the_published_checkpoint_does(backend: Backend) {
    let files = Files::new();
    let mut config = files.config(backend.url());
    // The first growth is published at once, the second not before the test ends.
    config.checkpoint_interval_ms = 3_600_000;
    let log = Served::start(config).await;
    let mut intake = Producer::intake();
    let changes = intake.many(7);
    log.append(&changes).await;
    let note = log.published(7).await;
    let late = intake.next("reports/late");
    assert_eq!(log.append(std::slice::from_ref(&late)).await[0].index, 7);

    let mut listed = Vec::new();
    let mut request = ListChangesRequest {
        page_size: 3,
        start_index: 1,
        ..Default::default()
    };
    let mut pages = 0;
    loop {
        let page = list(&log, request.clone()).await.unwrap();
        listed.extend(page.changes.into_iter().map(|change| (change.index, change.entry)));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let expected = (1..)
        .zip(changes[1..].iter().map(|change| change.entry.clone()))
        .collect::<Vec<_>>();
    assert_eq!((listed, pages), (expected, 2));
    let past = list(
        &log,
        ListChangesRequest {
            start_index: i64::MAX,
            ..Default::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(past, ListChangesResponse::default());

    let mut inspector = log.client("inspector");
    let checkpoint = inspector
        .get_checkpoint(Request::new(GetCheckpointRequest {}))
        .await
        .unwrap()
        .into_inner()
        .checkpoint;
    assert_eq!(checkpoint, note);
    assert_eq!(open_checkpoint(&checkpoint, log.audit.vkey()).unwrap().size, 7);
    let event_id = decoded(&late).event_id.to_string();
    let status = inspector
        .get_inclusion_proof(Request::new(GetInclusionProofRequest {
            event_id,
            ..Default::default()
        }))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "NOT_YET_LOGGED")
    );
    log.stop().await;
}

async fn calls_at_the_same_time_get_every_index_once(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let calls = (0..40)
        .map(|i| Producer::new("intake", i).many_from(&format!("{i}-"), 10))
        .collect::<Vec<_>>();
    let results = futures::future::join_all(calls.iter().map(|changes| log.append(changes))).await;
    let mut indexes: Vec<_> = results.into_iter().flatten().map(|result| result.index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..400).collect::<Vec<_>>());
    assert!((log.audit.health())().await);
    log.stop().await;
}

async fn a_process_that_was_taken_over_says_so_and_is_not_well(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    log.append(&intake.many(3)).await;
    log.published(3).await;

    let newer = SqlStore::open(backend.url()).await.unwrap();
    for _ in 0..2 {
        let changes = vec![intake.next("reports/more")];
        let status = log
            .inbound("intake")
            .append_changes(Request::new(AppendChangesRequest { changes }))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "UNAVAILABLE")
        );
    }
    assert!(!(log.audit.health())().await);
    // It can still be read.
    assert_eq!(
        list(&log, ListChangesRequest::default()).await.unwrap().changes.len(),
        3
    );
    log.stop().await;
    drop(newer);
}

async fn a_tree_that_was_tampered_with_is_neither_proven_nor_signed(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    let changes = intake.many(257);
    log.append(&changes).await;
    log.published(257).await;
    let prove = async |change: &api::event::StateChange| {
        let event_id = decoded(change).event_id.to_string();
        let request = Request::new(GetInclusionProofRequest {
            event_id,
            ..Default::default()
        });
        log.client("inspector").get_inclusion_proof(request).await
    };
    // The hash of the first 256 entries, which is to the left of everything later.
    // It has proven nothing before: a proof from memory would be a valid one.
    execute(
        backend.url(),
        "UPDATE tiles SET hashes = (SELECT root FROM head) WHERE place >> 56 = 1",
    )
    .await;
    assert_eq!(prove(&changes[256]).await.unwrap_err().code(), Code::Internal);
    log.append(&[intake.next("reports/more")]).await;
    assert!(!log.settled(258).await);
    assert_eq!(log.audit.published().borrow().head.size, 257);
    log.stop().await;
}

async fn what_cannot_be_kept_outside_of_the_database_is_not_published(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    log.append(&intake.many(2)).await;
    log.published(2).await;

    // A folder has the file's name.
    let obstacle = files.checkpoint().with_file_name("checkpoint.new");
    std::fs::create_dir(&obstacle).unwrap();
    log.append(&[intake.next("reports/more")]).await;
    assert!(!log.settled(3).await);
    assert_eq!(log.audit.published().borrow().head.size, 2);

    std::fs::remove_dir(&obstacle).unwrap();
    log.published(3).await;
    while !(log.audit.health())().await {
        tokio::task::yield_now().await;
    }
    log.stop().await;
}

#[tokio::test]
async fn only_the_services_append() {
    let (backend, files) = (Backend::sqlite(), Files::new());
    let log = Served::start(files.config(backend.url())).await;
    let changes = Producer::intake().many(1);
    let append = |system: &str| {
        let (mut client, request) = (
            log.inbound(system),
            AppendChangesRequest {
                changes: changes.clone(),
            },
        );
        async move {
            client
                .append_changes(Request::new(request))
                .await
                .map(|response| response.into_inner().results)
        }
    };
    let status = append("inspector").await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "DENIED")
    );
    // One service does not speak for another.
    assert_eq!(
        append("routing").await.unwrap()[0].outcome(),
        ChangeOutcome::WrongSource
    );
    assert_eq!(append("intake").await.unwrap()[0].outcome(), ChangeOutcome::Recorded);
    log.stop().await;
}

#[tokio::test]
async fn bad_input_is_refused_field_by_field() {
    let (backend, files) = (Backend::sqlite(), Files::new());
    let log = Served::start(files.config(backend.url())).await;

    for (page_size, page_token, start_index, expected) in [
        (0, "garbage", 0, &["page_token"][..]),
        (0, "!", 0, &["page_token"]),
        (-1, "AAAA", 0, &["page_size", "page_token"]),
        (-1, "", -1, &["page_size", "start_index"]),
    ] {
        let request = ListChangesRequest {
            page_size,
            page_token: page_token.to_owned(),
            start_index,
            ..Default::default()
        };
        let status = list(&log, request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "INVALID_INPUT")
        );
        assert!(
            expected
                .iter()
                .all(|field| fields(&status).contains(&(*field).to_owned())),
            "{status:?}"
        );
    }

    let (mut intake, mut inbound) = (log.client("intake"), log.inbound("intake"));
    for changes in [vec![], vec![Producer::intake().next("reports/a"); 1_001]] {
        let status = inbound
            .append_changes(Request::new(AppendChangesRequest { changes }))
            .await
            .unwrap_err();
        assert_eq!(fields(&status), ["changes"]);
    }

    for (event_id, code, expected) in [
        ("01900000-0000-7000-8000-000000000001", Code::NotFound, "NOT_LOGGED"),
        ("", Code::InvalidArgument, "INVALID_INPUT"),
        ("reports/a", Code::InvalidArgument, "INVALID_INPUT"),
    ] {
        let request = Request::new(GetInclusionProofRequest {
            event_id: event_id.to_owned(),
            ..Default::default()
        });
        let status = intake.get_inclusion_proof(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
    }
    log.stop().await;
}
