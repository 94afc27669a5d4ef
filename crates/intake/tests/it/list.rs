//! A sender's list of its own reports: the store's contract on each backend, and over gRPC.

use api::{
    event::CaseState,
    intake::{ListReportsRequest, ListReportsResponse, ReadPurpose, Report, ReportState},
};
use intake::{
    state::State,
    store::{Sender, Sent, Store as _},
};
use journal::{Head, Time};
use prost::Message as _;
use rpc::Limits;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::{NOW, Served, acceptance, case_news, entropy, good, open, prepared, serve};

testkit::on_each_backend!(
    a_sender_is_listed_newest_first_and_from_when_it_asks,
    p7_a_list_has_the_callers_reports_only_page_by_page,
    p7_an_excluded_sender_is_told_the_same_by_the_list_as_by_the_report,
    p7_a_system_that_came_to_another_agency_takes_no_report_along,
    a_page_of_one_state_is_full_or_says_where_to_go_on,
);

async fn a_sender_is_listed_newest_first_and_from_when_it_asks(backend: Backend) {
    let (_db, store, entropy) = open(backend.url()).await;
    let mut of_agency = acceptance(&*entropy, None, 1);
    of_agency.caller = "other-desk".to_owned();
    // The same system, before it came to this agency.
    let mut formerly = acceptance(&*entropy, None, 1);
    formerly.agency = names::AgencyId::new("police-130400").ok();
    let mut alone = acceptance(&*entropy, None, 1);
    alone.agency = None;
    let mut foreign = acceptance(&*entropy, None, 1);
    (foreign.caller, foreign.agency) = ("bank".to_owned(), None);
    let own = acceptance(&*entropy, None, 1);
    let all = [of_agency, formerly, alone, foreign, own];
    store.accept(&prepared(&all)).await.unwrap();
    let mut head = Head::default();
    let news = case_news(&*entropy, "cases/1", &mut head, &[all[4].report], CaseState::Assigned);
    store.record_case_changes(&[news], NOW).await.unwrap();

    let sent_by = |system: &str, agency: Option<&str>| Sent {
        by: Sender {
            system: system.to_owned(),
            agency: agency.map(|id| names::AgencyId::new(id).unwrap()),
        },
        start: None,
        end: None,
        external_id: None,
    };
    let newest_first = |ids: &[usize]| {
        let mut ids: Vec<Uuid> = ids.iter().map(|i| all[*i].report).collect();
        ids.sort();
        ids.reverse();
        ids
    };
    let desk = sent_by("hotline", Some("content-regulator-CN"));
    let expected = newest_first(&[0, 4]);
    let listed = store.sent(&desk, None, 100).await.unwrap();
    assert_eq!(listed.iter().map(|sent| sent.report).collect::<Vec<_>>(), expected);
    for sent in &listed {
        let routed = sent.report == all[4].report;
        assert_eq!((sent.state == State::Routed, sent.case.is_some()), (routed, routed));
        assert_eq!(sent.accept_time, NOW);
    }
    // Each page goes on behind the last, without repeats and gaps.
    for size in 1..=3 {
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = store.sent(&desk, before, size).await.unwrap();
            assert!(page.len() <= size as usize);
            let Some(last) = page.last() else { break };
            before = Some(last.report);
            paged.extend(page.iter().map(|sent| sent.report));
        }
        assert_eq!(paged, expected, "{size}");
    }
    // What each owns is what it is listed.
    for (by, owned) in [
        (sent_by("hotline", Some("police-130400")), &[1][..]),
        (sent_by("other-desk", Some("content-regulator-CN")), &[0, 4]),
        (sent_by("hotline", None), &[2]),
        (sent_by("bank", None), &[3]),
        (sent_by("bank", Some("police-110000")), &[]),
        (sent_by("other-desk", None), &[]),
    ] {
        let listed = store.sent(&by, None, 100).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|sent| sent.report).collect();
        assert_eq!(listed, newest_first(owned), "{by:?}");
        for (i, acceptance) in all.iter().enumerate() {
            let sender = Sender {
                system: acceptance.caller.clone(),
                agency: acceptance.agency.clone(),
            };
            assert_eq!(by.by.owns(&sender), owned.contains(&i), "{by:?} {i}");
        }
    }
    // To the microsecond, although ids have milliseconds.
    let micros = |n: i64| Some(Time(NOW.0 + n));
    for (start, end, count) in [
        (micros(0), None, 2),
        (micros(1), None, 0),
        (None, micros(1), 2),
        (None, micros(0), 0),
        (micros(-1), micros(1), 2),
        (micros(-5_000_000), micros(-1), 0),
    ] {
        let within = Sent {
            start,
            end,
            ..desk.clone()
        };
        assert_eq!(
            store.sent(&within, None, 100).await.unwrap().len(),
            count,
            "{start:?} {end:?}"
        );
    }
}

async fn list(served: &Served, system: &str, request: ListReportsRequest) -> Result<ListReportsResponse, Status> {
    Ok(served.client(system).list_reports(request).await?.into_inner())
}

async fn all(served: &Served, system: &str) -> Vec<Report> {
    let listed = list(served, system, ListReportsRequest::default()).await.unwrap();
    assert_eq!(listed.next_page_token, "");
    listed.reports
}

async fn submit(served: &Served, system: &str) -> String {
    let answer = served.client(system).submit_report(good()).await.unwrap();
    answer.into_inner().report.unwrap().name
}

async fn p7_a_list_has_the_callers_reports_only_page_by_page(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let senders = [
        "hotline",
        "platform",
        "operator",
        "hotline-archive",
        "handan",
        "platform",
    ];
    let mut sent = Vec::new();
    for system in senders {
        sent.push((system, submit(&served, system).await));
        served.site.clock.advance(60);
    }
    let rows = served.rows().await;
    let of = |systems: &[&str]| -> Vec<String> {
        let own = sent.iter().rev().filter(|(system, _)| systems.contains(system));
        own.map(|(_, name)| name.clone()).collect()
    };
    for (system, expected) in [
        ("hotline", of(&["hotline", "hotline-archive"])),
        ("hotline-archive", of(&["hotline", "hotline-archive"])),
        ("platform", of(&["platform"])),
        ("operator", of(&["operator"])),
        ("handan", of(&["handan"])),
    ] {
        let listed = all(&served, system).await;
        assert_eq!(
            listed.iter().map(|report| &report.name).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
        for report in listed {
            let told = Report {
                name: report.name.clone(),
                state: ReportState::Accepted.into(),
                accept_time: report.accept_time,
                ..Report::default()
            };
            assert_eq!(report, told, "nothing that it says");
        }
    }
    assert_eq!(served.rows().await, rows, "a list shows nothing that is recorded");
    // A token is the caller's and the filter's.
    let first = ListReportsRequest {
        page_size: 1,
        ..Default::default()
    };
    let page = list(&served, "hotline", first.clone()).await.unwrap();
    let next = ListReportsRequest {
        page_token: page.next_page_token,
        ..first
    };
    let page = list(&served, "hotline", next.clone()).await.unwrap();
    assert_eq!(
        (page.reports[0].name.as_str(), page.next_page_token.as_str()),
        (sent[0].1.as_str(), "")
    );
    let foreign = [
        ("hotline-archive", next.clone()),
        ("handan", next.clone()),
        (
            "hotline",
            ListReportsRequest {
                state: ReportState::Accepted.into(),
                ..next.clone()
            },
        ),
        (
            "hotline",
            ListReportsRequest {
                end_time: Some(NOW.to_proto()),
                ..next
            },
        ),
    ];
    for (system, request) in foreign {
        let status = list(&served, system, request).await.unwrap_err();
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "page_token", "{system}");
    }
}

async fn p7_an_excluded_sender_is_told_the_same_by_the_list_as_by_the_report(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let name = submit(&served, "handan").await;
    let report = names::REPORT.id(&name).unwrap();
    let news = case_news(
        &*entropy(),
        "cases/1",
        &mut Head::default(),
        &[report],
        CaseState::Assigned,
    );
    served.faults.inner.record_case_changes(&[news], NOW).await.unwrap();
    let listed = async |state: ReportState| {
        let request = ListReportsRequest {
            state: state.into(),
            ..Default::default()
        };
        let listed = list(&served, "handan", request).await.unwrap();
        assert_eq!(listed.next_page_token, "");
        listed.reports
    };
    // `case_news` says that it is hidden from handan: whatever routing says now, and after.
    for hidden in [&["police-130400"][..], &[]] {
        served.routing.decide(&[], hidden);
        let told = all(&served, "handan").await;
        let read = served.get("handan", &name, ReadPurpose::CheckSubmission).await.unwrap();
        assert_eq!(told[0].state, read.report.unwrap().state);
        assert_eq!(told[0].state(), ReportState::Accepted);
        // Nor by what a filter leaves out.
        assert_eq!(listed(ReportState::Routed).await, []);
        assert_eq!(listed(ReportState::Accepted).await, told);
    }
    // One that only routing knows to be hidden.
    let other = submit(&served, "hotline").await;
    let report = names::REPORT.id(&other).unwrap();
    let news = case_news(
        &*entropy(),
        "cases/2",
        &mut Head::default(),
        &[report],
        CaseState::Closed,
    );
    served.faults.inner.record_case_changes(&[news], NOW).await.unwrap();
    assert_eq!(all(&served, "hotline").await[0].state(), ReportState::Closed);
    served.routing.decide(&[], &["content-regulator-CN"]);
    assert_eq!(all(&served, "hotline").await[0].state(), ReportState::Accepted);
    // Without routing nobody knows.
    served.routing.is_down(true);
    for system in ["handan", "hotline"] {
        let status = list(&served, system, ListReportsRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{system}");
    }
    assert_eq!(all(&served, "platform").await, []);
}

/// By no door: the list, the report, its file.
async fn p7_a_system_that_came_to_another_agency_takes_no_report_along(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let entropy = entropy();
    let before = |system: &str, agency: Option<&str>| {
        let mut sent = acceptance(&*entropy, None, 1);
        system.clone_into(&mut sent.caller);
        sent.content = good().report.unwrap().encode_to_vec();
        sent.agency = agency.map(|id| names::AgencyId::new(id).unwrap());
        sent
    };
    // As `hotline` of the content regulator, `platform` of none, and `handan` of the police are now.
    let sent = [
        before("hotline", Some("police-130400")),
        before("hotline", None),
        before("platform", Some("content-regulator-CN")),
        before("hotline", Some("content-regulator-CN")),
    ];
    served.faults.inner.accept(&prepared(&sent)).await.unwrap();
    let named = |i: usize| names::REPORT.of(sent[i].report);
    for (system, own) in [
        ("hotline", &[2, 3][..]),
        ("handan", &[0]),
        ("platform", &[]),
        ("hotline-archive", &[2, 3]),
    ] {
        let mut listed: Vec<_> = all(&served, system)
            .await
            .into_iter()
            .map(|report| report.name)
            .collect();
        listed.sort();
        let mut expected: Vec<_> = own.iter().map(|i| named(*i)).collect();
        expected.sort();
        assert_eq!(listed, expected, "{system}");
        for i in 0..sent.len() {
            let read = served.get(system, &named(i), ReadPurpose::CheckSubmission).await;
            assert_eq!(read.is_ok(), own.contains(&i), "{system} {i}");
            if let Err(status) = read {
                assert_eq!(status.code(), Code::NotFound);
            }
        }
    }
}

async fn a_page_of_one_state_is_full_or_says_where_to_go_on(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let entropy = entropy();
    let all: Vec<_> = (0..4_500).map(|_| acceptance(&*entropy, None, 1)).collect();
    for batch in all.chunks(500) {
        served.faults.inner.accept(&prepared(batch)).await.unwrap();
    }
    let mut ids: Vec<Uuid> = all.iter().map(|sent| sent.report).collect();
    ids.sort();
    ids.reverse();
    // Of the newest first: two far apart within what a page reads, one behind.
    let routed = [ids[10], ids[2_500], ids[4_400]];
    let news: Vec<_> = (0..)
        .zip(routed)
        .map(|(case, report)| {
            let name = format!("cases/{case}");
            case_news(&*entropy, &name, &mut Head::default(), &[report], CaseState::Assigned)
        })
        .collect();
    served.faults.inner.record_case_changes(&news, NOW).await.unwrap();
    let page = async |page_size, page_token: String| {
        let request = ListReportsRequest {
            page_size,
            page_token,
            state: ReportState::Routed.into(),
            ..Default::default()
        };
        let page = list(&served, "hotline", request).await.unwrap();
        let names: Vec<_> = page.reports.into_iter().map(|report| report.name).collect();
        (names, page.next_page_token)
    };
    let named = |of: &[Uuid]| of.iter().map(|id| names::REPORT.of(*id)).collect::<Vec<_>>();
    let (first, next) = page(2, String::new()).await;
    assert_eq!(first, named(&routed[..2]), "a page is full");
    let (second, end) = page(2, next).await;
    assert_eq!((second, end), (named(&routed[2..]), String::new()));
    // One by one, each behind the last.
    let (first, next) = page(1, String::new()).await;
    assert_eq!(first, named(&routed[..1]));
    let (second, _) = page(1, next).await;
    assert_eq!(second, named(&routed[1..2]));
    // More than there are: what was read is shown, and where to go on.
    let (first, next) = page(100, String::new()).await;
    assert_eq!(first, named(&routed[..2]));
    let (rest, end) = page(100, next).await;
    assert_eq!((rest, end), (named(&routed[2..]), String::new()));
}

#[tokio::test]
async fn a_bad_list_request_is_told_whole() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let out_of_range = Some(prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    let request = ListReportsRequest {
        page_size: -1,
        page_token: "garbage".to_owned(),
        state: 99,
        start_time: out_of_range,
        end_time: out_of_range,
        external_id: "\u{200b}".to_owned(),
    };
    let status = list(&served, "hotline", request).await.unwrap_err();
    let mut fields: Vec<_> = status.get_details_bad_request().unwrap().field_violations;
    fields.sort_by(|a, b| a.field.cmp(&b.field));
    let fields: Vec<_> = fields.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "end_time",
            "external_id",
            "page_size",
            "page_token",
            "start_time",
            "state"
        ]
    );
}
