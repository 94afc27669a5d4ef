//! Lists and streams of the log, and access to its details.

use api::{
    audit::{ChangeFilter, ListChangesRequest, ListGapsRequest, LoggedChange, WatchChangesRequest},
    event::{Actor, ChangeOutcome, Clock, Detail, Reading, Route, StateChange},
};
use audit::{SqlStore, Store as _};
use futures::{StreamExt as _, TryStreamExt as _};
use journal::{Chain, Opened, Opens};
use prost::Message as _;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    fixture::{Files, NOW, Producer, Served, decoded},
    store::{rows, verify},
};

testkit::on_each_backend!(
    every_filter_finds_what_fits_and_nothing_else,
    a_filter_that_few_fit_goes_on_page_by_page,
    p7_details_are_for_those_who_may_see_them,
    p7_reading_details_is_logged_with_purpose_before_anything_is_shown,
    p7_what_cannot_be_logged_is_not_shown,
    p7_readings_of_reports_are_a_services_records_and_for_auditors,
    p7_following_details_is_one_reading,
    a_stream_goes_on_where_it_ended,
);

fn detail(system: &str, agency: &str, lead: &str, owner: &str) -> Detail {
    let name = |id: &str| {
        if id.is_empty() {
            String::new()
        } else {
            format!("agencies/{id}")
        }
    };
    Detail {
        actor: Some(Actor {
            agency: name(agency),
            system: system.to_owned(),
            ..Default::default()
        }),
        route: (!lead.is_empty()).then(|| Route {
            lead: name(lead),
            supporting: vec![name("police-110000")],
            ..Default::default()
        }),
        clocks: (!owner.is_empty())
            .then(|| Clock {
                owner: name(owner),
                ..Default::default()
            })
            .into_iter()
            .collect(),
        ..Default::default()
    }
}

/// Six changes of two reports and two cases, a minute apart.
async fn story(log: &Served) -> Vec<StateChange> {
    let (mut intake, mut routing) = (Producer::intake(), Producer::new("routing", 2));
    let at = |minute: i64| NOW.plus_seconds(60 * minute);
    let changes = vec![
        intake.change("reports/a", "report.accepted", at(0), detail("hotline", "", "", "")),
        routing.change(
            "cases/a",
            "case.opened",
            at(1),
            detail("routing", "", "police-450100", "police-450100"),
        ),
        intake.change("reports/b", "report.accepted", at(2), detail("bank", "", "", "")),
        routing.change(
            "cases/b",
            "case.opened",
            at(3),
            detail("routing", "", "police-440000", "police-440000"),
        ),
        routing.change(
            "cases/a",
            "case.acknowledged",
            at(4),
            detail("desk", "police-450100", "", "police-450100"),
        ),
        intake.change("reports/a", "report.routed", at(5), detail("routing", "", "", "")),
    ];
    for change in &changes {
        log.append(std::slice::from_ref(change)).await;
    }
    log.published(6).await;
    changes
}

async fn list(log: &Served, who: &str, request: ListChangesRequest) -> Result<Vec<LoggedChange>, Status> {
    let mut found = Vec::new();
    let mut request = ListChangesRequest {
        page_size: 2,
        ..request
    };
    loop {
        let page = log.client(who).list_changes(request.clone()).await?.into_inner();
        assert!(page.changes.len() <= 2);
        found.extend(page.changes);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(found);
        }
    }
}

fn indexes(changes: &[LoggedChange]) -> Vec<i64> {
    changes.iter().map(|change| change.index).collect()
}

/// The changes of the story that a list contains.
fn of_the_story(changes: &[LoggedChange]) -> Vec<i64> {
    indexes(changes).into_iter().filter(|index| *index < 6).collect()
}

fn with_detail(filter: ChangeFilter) -> ListChangesRequest {
    ListChangesRequest {
        filter: Some(filter),
        with_detail: true,
        purpose: "inspection 2027-3".to_owned(),
        ..Default::default()
    }
}

async fn every_filter_finds_what_fits_and_nothing_else(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    story(&log).await;
    let time = |minute: i64| Some(NOW.plus_seconds(60 * minute).to_proto());
    let text = str::to_owned;
    for (filter, expected) in [
        (ChangeFilter::default(), &[0, 1, 2, 3, 4, 5][..]),
        (
            ChangeFilter {
                record: text("reports/a"),
                ..Default::default()
            },
            &[0, 5],
        ),
        (
            ChangeFilter {
                record: text("reports/none"),
                ..Default::default()
            },
            &[],
        ),
        (
            ChangeFilter {
                kind: text("case.opened"),
                ..Default::default()
            },
            &[1, 3],
        ),
        (
            ChangeFilter {
                kind: text("case"),
                ..Default::default()
            },
            &[],
        ),
        (
            ChangeFilter {
                record: text("cases/a"),
                kind: text("case.acknowledged"),
                ..Default::default()
            },
            &[4],
        ),
        (
            ChangeFilter {
                start_time: time(4),
                ..Default::default()
            },
            &[4, 5],
        ),
        (
            ChangeFilter {
                end_time: time(1),
                ..Default::default()
            },
            &[0],
        ),
        (
            ChangeFilter {
                start_time: time(1),
                end_time: time(3),
                ..Default::default()
            },
            &[1, 2],
        ),
        (
            ChangeFilter {
                actor: text("bank"),
                ..Default::default()
            },
            &[2],
        ),
        (
            ChangeFilter {
                agency: text("agencies/police-450100"),
                ..Default::default()
            },
            &[1, 4],
        ),
        (
            ChangeFilter {
                agency: text("agencies/police-110000"),
                ..Default::default()
            },
            &[1, 3],
        ),
        (
            ChangeFilter {
                agency: text("agencies/police-450100"),
                kind: text("case.acknowledged"),
                ..Default::default()
            },
            &[4],
        ),
    ] {
        // After the story come the log's entries about reading it.
        let found = list(&log, "auditor", with_detail(filter.clone())).await.unwrap();
        assert_eq!(of_the_story(&found), expected, "{filter:?}");
        let is_public = filter.kind.is_empty() || !filter.record.is_empty();
        if filter.agency.is_empty() && filter.actor.is_empty() && is_public {
            let request = ListChangesRequest {
                filter: Some(filter.clone()),
                ..Default::default()
            };
            let found = list(&log, "inspector", request).await.unwrap();
            assert_eq!(of_the_story(&found), expected, "{filter:?}");
            // Whether an entry belongs to a record is shown with its proof, or not at all.
            let opened = found
                .iter()
                .all(|change| change.chain.is_some() && change.detail.is_none());
            assert!(filter.record.is_empty() || opened, "{filter:?}");
        }
    }
    let request = ListChangesRequest {
        filter: Some(ChangeFilter {
            agency: text("agencies/police-450100"),
            actor: text("bank"),
            kind: text("case.opened"),
            start_time: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            ..Default::default()
        }),
        start_index: -1,
        ..Default::default()
    };
    let status = list(&log, "auditor", request).await.unwrap_err();
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "filter.start_time",
            "filter.kind",
            "filter.agency",
            "filter.actor",
            "start_index"
        ]
    );
    log.stop().await;
}

async fn a_filter_that_few_fit_goes_on_page_by_page(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    for _ in 0..9 {
        log.append(&intake.many(1_000)).await;
    }
    log.append(&[intake.change("reports/last", "report.withdrawn", NOW, Detail::default())])
        .await;
    log.append(&intake.many(1_000)).await;
    log.published(10_001).await;
    let filter = ChangeFilter {
        kind: "report.withdrawn".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        indexes(&list(&log, "auditor", with_detail(filter)).await.unwrap()),
        [9_000]
    );
    // A token is bound to its filter.
    let page = log
        .client("inspector")
        .list_changes(ListChangesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let request = ListChangesRequest {
        page_token: page.next_page_token,
        filter: Some(ChangeFilter {
            start_time: Some(NOW.to_proto()),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(
        list(&log, "inspector", request).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    log.stop().await;
}

async fn p7_details_are_for_those_who_may_see_them(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let changes = story(&log).await;
    let of = |record: &str| {
        with_detail(ChangeFilter {
            record: record.to_owned(),
            ..Default::default()
        })
    };
    let everything = || with_detail(ChangeFilter::default());

    let all = list(&log, "auditor", everything()).await.unwrap();
    assert_eq!(all.len(), 6);
    for (found, change) in all.iter().zip(&changes) {
        assert_eq!(
            (&found.entry, &found.chain, &found.detail),
            (&change.entry, &change.chain, &change.detail)
        );
        assert!(Opens::from(found.detail.as_ref().unwrap()).is_detail_of(&decoded(change).detail));
    }
    for record in ["cases/a", "reports/a"] {
        let found = list(&log, "police-450100", of(record)).await.unwrap();
        assert!(
            !found.is_empty() && found.iter().all(|change| change.detail.is_some()),
            "{record}"
        );
    }
    // Only those with sight of a record, auditors and operators may see which entries belong to it.
    let chain_of = |record: &str| ListChangesRequest {
        filter: Some(ChangeFilter {
            record: record.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    for who in ["auditor", "inspector", "police-450100"] {
        assert_eq!(
            indexes(&list(&log, who, chain_of("reports/a")).await.unwrap()),
            [0, 5],
            "{who}"
        );
    }
    for (who, record, code) in [
        ("intake", "reports/a", Code::PermissionDenied),
        ("police-450100", "reports/b", Code::NotFound),
        ("police-440000", "reports/a", Code::NotFound),
        // An existing record looks the same.
        ("police-440000", "reports/none", Code::NotFound),
    ] {
        let status = list(&log, who, chain_of(record)).await.unwrap_err();
        assert_eq!(status.code(), code, "{who}: {record}");
        let watched = WatchChangesRequest {
            filter: chain_of(record).filter,
            ..Default::default()
        };
        let watched = log.client(who).watch_changes(watched).await.map(drop);
        assert_eq!(watched.unwrap_err().code(), code, "{who}: {record}");
    }
    // Not unless requested.
    let plain = list(&log, "auditor", ListChangesRequest::default()).await.unwrap();
    assert!(
        plain
            .iter()
            .all(|change| change.detail.is_none() && change.chain.is_none())
    );

    for (who, request, code) in [
        ("inspector", everything(), Code::PermissionDenied),
        ("inspector", of("cases/a"), Code::PermissionDenied),
        ("intake", of("reports/a"), Code::PermissionDenied),
        ("police-450100", everything(), Code::InvalidArgument),
        ("police-450100", of("cases/b"), Code::NotFound),
        ("police-440000", of("cases/a"), Code::NotFound),
        // An existing record looks the same.
        ("police-440000", of("cases/none"), Code::NotFound),
        (
            "police-450100",
            with_detail(ChangeFilter {
                agency: "agencies/police-440000".to_owned(),
                ..Default::default()
            }),
            Code::InvalidArgument,
        ),
    ] {
        let status = list(&log, who, request.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{who}: {request:?}");
        let watched = WatchChangesRequest {
            filter: request.filter,
            with_detail: true,
            purpose: request.purpose,
            ..Default::default()
        };
        assert_eq!(
            log.client(who)
                .watch_changes(watched)
                .await
                .map(drop)
                .unwrap_err()
                .code(),
            code,
            "{who}"
        );
    }
    for purpose in [String::new(), "  ".to_owned(), "x".repeat(201)] {
        let status = list(
            &log,
            "auditor",
            ListChangesRequest {
                purpose,
                ..everything()
            },
        )
        .await
        .unwrap_err();
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "purpose");
    }
    log.stop().await;
}

/// The readings of details in the log, with their indexes.
async fn readings(backend: &Backend) -> Vec<(Opened, Detail)> {
    let rows = rows(
        backend,
        "SELECT entry, detail, chain_salt, record, kind FROM entries JOIN openings USING (idx) \
         WHERE record LIKE 'readings/%' ORDER BY idx",
    )
    .await;
    let read = |row: &sql::Row| {
        let (entry, detail): (Vec<u8>, Vec<u8>) = (row.get("entry").unwrap(), row.get("detail").unwrap());
        let chain = Chain {
            record: row.get("record").unwrap(),
            sequence: 1,
            previous: [0; 32],
            kind: row.get("kind").unwrap(),
        };
        let (salt, content) = (row.get::<Vec<u8>>("chain_salt").unwrap(), chain.encode());
        let chain = Opens {
            salt: &salt,
            content: &content,
        };
        (Opened::new(&entry, chain).unwrap(), Detail::decode(&*detail).unwrap())
    };
    rows.iter().map(read).collect()
}

async fn p7_reading_details_is_logged_with_purpose_before_anything_is_shown(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    story(&log).await;
    let mut auditor = log.client("auditor");

    // Three pages, one reading.
    let request = ListChangesRequest {
        page_size: 2,
        start_index: 1,
        ..with_detail(ChangeFilter::default())
    };
    let first = auditor.list_changes(request.clone()).await.unwrap().into_inner();
    let logged = readings(&backend).await;
    let [(entry, detail)] = &logged[..] else {
        panic!("{logged:?}")
    };
    assert_eq!(first.reading, entry.record);
    assert_eq!(
        (&*entry.source, &*entry.kind, entry.sequence),
        ("audit", "details.read", 1)
    );
    assert_eq!(detail.purpose, "inspection 2027-3");
    assert_eq!(detail.actor.as_ref().unwrap().system, "auditor");
    let expected = Reading {
        first_index: 1,
        end_index: Some(6),
        ..Default::default()
    };
    assert_eq!(detail.reading, Some(expected));
    let mut seen = indexes(&first.changes);
    let mut token = first.next_page_token.clone();
    while !token.is_empty() {
        let page = ListChangesRequest {
            page_token: token,
            ..request.clone()
        };
        let page = auditor.list_changes(page).await.unwrap().into_inner();
        assert_eq!(page.reading, first.reading);
        seen.extend(indexes(&page.changes));
        token = page.next_page_token;
    }
    // Not the reading itself: it ends where the log ended when it began.
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    assert_eq!(readings(&backend).await.len(), 1);

    // Its name allows no other reading: by nobody else, for nothing else. Invented names are
    // refused.
    let id = first.reading.strip_prefix("readings/").unwrap();
    let bound_to = format!(
        "ListChanges {}",
        "Filter { record: None, kind: None, agency: None, actor: None, start: None, end: None, with_detail: true }"
    );
    let db = sql::Db::open(backend.url(), audit::SCHEMAS).await.unwrap();
    let seal = rpc::page::Tokens::of(&db).seal().await.unwrap();
    let forged = |cursor: &str| seal.encode(&bound_to, cursor);
    let unknown = "01900000-0000-7000-8000-000000000000";
    assert_eq!(
        first.next_page_token,
        forged(&format!("3 {id}")),
        "the test knows the form"
    );
    for (cursor, purpose) in [
        (format!("3 {id}"), "curiosity"),
        (format!("0 {id}"), "inspection 2027-3"),
        (format!("6 {id}"), "inspection 2027-3"),
        (format!("3 {unknown}"), "inspection 2027-3"),
        ("3".to_owned(), "inspection 2027-3"),
        ("3 none".to_owned(), "inspection 2027-3"),
    ] {
        let request = ListChangesRequest {
            page_token: forged(&cursor),
            purpose: purpose.to_owned(),
            ..request.clone()
        };
        let status = auditor.list_changes(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{cursor} for {purpose}");
    }
    assert_eq!(readings(&backend).await.len(), 1);

    // An agency's reading counts too, and names the record. A refused one does not.
    let of = |record: &str| {
        with_detail(ChangeFilter {
            record: record.to_owned(),
            ..Default::default()
        })
    };
    let mut nanning = log.client("police-450100");
    let shown = nanning.list_changes(of("cases/a")).await.unwrap().into_inner();
    nanning.list_changes(of("cases/b")).await.unwrap_err();
    let logged = readings(&backend).await;
    let (entry, detail) = &logged[1];
    assert_eq!((logged.len(), &shown.reading), (2, &entry.record));
    assert_eq!(detail.actor.as_ref().unwrap().agency, "agencies/police-450100");
    assert_eq!(detail.reading.as_ref().unwrap().record, "cases/a");

    // Its detail is for auditors only, not even for the reader itself.
    let hidden = nanning.list_changes(of(&shown.reading)).await.unwrap_err();
    assert_eq!(hidden.code(), Code::NotFound);
    // Reading without details logs nothing.
    auditor.list_changes(ListChangesRequest::default()).await.unwrap();
    assert_eq!(readings(&backend).await.len(), 2);
    // The logged text is bounded, whatever was requested.
    let long = of(&format!("cases/{}", "a".repeat(250)));
    let status = auditor.list_changes(long).await.unwrap_err();
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "filter.record");

    // The log is no producer, and readings are no service's records.
    let note = log.published(8).await;
    assert!(note.contains("\n8\n"), "{note}");
    let listed = log.client("inspector").list_gaps(ListGapsRequest::default()).await;
    let names: Vec<_> = listed
        .unwrap()
        .into_inner()
        .producers
        .into_iter()
        .map(|producer| producer.name)
        .collect();
    assert_eq!(names, ["producers/intake", "producers/routing"]);
    let store = SqlStore::open(backend.url()).await.unwrap();
    let heads = store.record_heads("", 1_000).await.unwrap();
    let records: Vec<_> = heads.into_iter().map(|head| head.record).collect();
    assert_eq!(records, ["cases/a", "cases/b", "reports/a", "reports/b"]);
    assert_eq!(verify(&store).await, 8);
    log.stop().await;
}

/// Intake's readings are checked when its state is compared with the log; audit's own belong to no
/// service.
async fn p7_readings_of_reports_are_a_services_records_and_for_auditors(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    let reading = |detail: Detail| Detail {
        read_record: "reports/a".to_owned(),
        ..detail
    };
    let first = intake.change(
        "readings/r",
        "report.read",
        NOW,
        reading(detail("desk", "police-450100", "", "")),
    );
    assert_eq!(log.append(&[first]).await[0].outcome(), ChangeOutcome::Recorded);
    log.published(1).await;
    let of_it = with_detail(ChangeFilter {
        record: "readings/r".to_owned(),
        ..ChangeFilter::default()
    });
    let read = list(&log, "auditor", of_it.clone()).await.unwrap();
    let shown = Detail::decode(read[0].detail.clone().unwrap().content).unwrap();
    assert_eq!((indexes(&read), shown.read_record.as_str()), (vec![0], "reports/a"));
    // Agencies may see neither whose report it is nor who reads it.
    assert_eq!(
        list(&log, "police-450100", of_it).await.unwrap_err().code(),
        Code::NotFound
    );
    // An auditor finds everything that one agency has read.
    let by_agency = with_detail(ChangeFilter {
        kind: "report.read".to_owned(),
        agency: "agencies/police-450100".to_owned(),
        ..ChangeFilter::default()
    });
    assert_eq!(indexes(&list(&log, "auditor", by_agency).await.unwrap()), [0]);

    // A reading has one change, also when audit made it.
    let own = readings(&backend).await;
    assert_eq!(own.len(), 3);
    let second = intake.change("readings/r", "report.read", NOW, reading(Detail::default()));
    assert_eq!(log.append(&[second]).await[0].outcome(), ChangeOutcome::WrongSource);
    let store = SqlStore::open(backend.url()).await.unwrap();
    let heads = store.record_heads("", 1_000).await.unwrap();
    let records: Vec<_> = heads.into_iter().map(|head| head.record).collect();
    assert_eq!(records, ["readings/r"]);
    log.stop().await;
}

/// A log whose database another process has taken over can no longer log readings.
async fn p7_what_cannot_be_logged_is_not_shown(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    story(&log).await;
    let another = SqlStore::open(backend.url()).await.unwrap();
    let request = with_detail(ChangeFilter::default());
    for _ in 0..2 {
        let status = log.client("auditor").list_changes(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let watched = WatchChangesRequest {
            with_detail: true,
            purpose: request.purpose.clone(),
            ..Default::default()
        };
        let status = log
            .client("auditor")
            .watch_changes(watched)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    // Public files are still served.
    let plain = list(&log, "auditor", ListChangesRequest::default()).await.unwrap();
    assert_eq!(plain.len(), 6);
    assert_eq!(another.head().await.unwrap().size, 6);
    log.stop().await;
}

async fn p7_following_details_is_one_reading(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    story(&log).await;
    let request = WatchChangesRequest {
        start_index: 4,
        with_detail: true,
        purpose: "inspection 2027-3".to_owned(),
        ..Default::default()
    };
    let mut stream = log.client("auditor").watch_changes(request).await.unwrap().into_inner();
    let logged = readings(&backend).await;
    let [(entry, detail)] = &logged[..] else {
        panic!("{logged:?}")
    };
    let expected = Reading {
        first_index: 4,
        ..Default::default()
    };
    assert_eq!(
        (&detail.reading, &*detail.purpose),
        (&Some(expected), "inspection 2027-3")
    );
    // It reports itself like every later change; continuing is not another reading.
    let mut seen = Vec::new();
    while !seen.contains(&6) {
        let message = stream.try_next().await.unwrap().unwrap();
        assert_eq!(message.reading, entry.record);
        assert!(message.changes.iter().all(|change| change.detail.is_some()));
        seen.extend(indexes(&message.changes));
    }
    assert_eq!(seen, [4, 5, 6]);
    drop(stream);
    assert_eq!(readings(&backend).await.len(), 1);
    log.stop().await;
}

async fn a_stream_goes_on_where_it_ended(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut intake = Producer::intake();
    log.append(&intake.many(3)).await;
    log.published(3).await;
    let watch = async |start_index, start_time| {
        let filter = Some(ChangeFilter {
            start_time,
            ..Default::default()
        });
        let request = WatchChangesRequest {
            start_index,
            filter,
            ..Default::default()
        };
        log.client("inspector")
            .watch_changes(request)
            .await
            .unwrap()
            .into_inner()
    };
    let mut stream = watch(1, None).await;
    let first = stream.try_next().await.unwrap().unwrap();
    assert_eq!((indexes(&first.changes), first.next_index), (vec![1, 2], 3));
    log.append(&intake.many(2)).await;
    let second = stream.try_next().await.unwrap().unwrap();
    assert_eq!(second.changes[0].index, 3);
    drop(stream);

    log.append(&intake.many(600)).await;
    log.published(605).await;
    let (mut seen, mut next) = (Vec::new(), first.next_index);
    while next < 605 {
        // Each message on its own stream, as after a broken connection.
        let message = watch(next, None).await.next().await.unwrap().unwrap();
        assert!(message.next_index > next);
        seen.extend(indexes(&message.changes));
        next = message.next_index;
    }
    assert_eq!(seen, (3..605).collect::<Vec<_>>());

    // A change outside the filter still moves the stream's position.
    let message = watch(0, Some(NOW.plus_seconds(1).to_proto()))
        .await
        .next()
        .await
        .unwrap()
        .unwrap();
    assert_eq!((message.changes.len(), message.next_index), (0, 605));
    // A client waiting for more is released when the server stops.
    let waiting = watch(605, None).await;
    log.stop().await;
    drop(waiting);
}
