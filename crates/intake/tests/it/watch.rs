//! A sender's feed of what became of its reports, on each backend: over gRPC, over two replicas,
//! and what an excluded sender does not learn from it.

use std::{collections::BTreeMap, time::Duration};

use api::{
    event::CaseState,
    intake::{
        ConfirmReportsRequest, ListUnconfirmedSendersRequest, ReportNews, ReportState, SubmitReportRequest,
        UnconfirmedSender, WatchReportsRequest, WatchReportsResponse,
    },
};
use intake::store::{Sender, Store as _, UnconfirmedTally};
use journal::{Clock as _, Head, Time};
use rpc::Limits;
use testkit::Backend;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::fixture::{NOW, Served, Site, acceptance, case_news, count, entropy, good, open, prepared, serve, serve_at};

testkit::on_each_backend!(
    each_outcome_comes_once_by_the_senders_own_id_and_a_token_goes_on_behind_it,
    p7_an_excluded_sender_cannot_tell_that_anything_followed,
    a_feed_goes_on_at_another_replica_without_loss_or_repeat,
    what_a_sender_has_not_confirmed_is_listed_for_operators,
    p7_a_token_is_one_senders_and_grows_old_by_itself,
    a_sender_has_so_many_open_feeds_and_no_more,
);

const DEADLINE: Duration = Duration::from_secs(20);
const DAY: i64 = 24 * 60 * 60;

async fn watch(served: &Served, system: &str, resume_token: &str) -> Result<Streaming<WatchReportsResponse>, Status> {
    let request = WatchReportsRequest {
        resume_token: resume_token.to_owned(),
    };
    // A feed is open for long, so that a caller's own deadline does not end it.
    Ok(served.client(system).watch_reports(request).await?.into_inner())
}

async fn next(feed: &mut Streaming<WatchReportsResponse>) -> (ReportNews, String) {
    let message = timeout(DEADLINE, feed.message()).await.expect("news").unwrap().unwrap();
    (message.news.expect("news"), message.resume_token)
}

async fn silent(feed: &mut Streaming<WatchReportsResponse>) {
    let heard = timeout(Duration::from_millis(1_500), feed.message()).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn submit(served: &Served, system: &str, external_id: &str) -> String {
    let mut request: SubmitReportRequest = good();
    external_id.clone_into(&mut request.report.as_mut().unwrap().external_id);
    let answer = served.client(system).submit_report(request).await.unwrap();
    answer.into_inner().report.unwrap().name
}

/// A case, as routing tells of it.
struct Case {
    name: String,
    head: Head,
    report: uuid::Uuid,
}

impl Case {
    fn of(report: &str) -> Self {
        let report = names::REPORT.id(report).unwrap();
        let (name, head) = (format!("cases/{report}"), Head::default());
        Self { name, head, report }
    }

    async fn becomes(&mut self, served: &Served, state: CaseState) {
        let news = case_news(&*entropy(), &self.name, &mut self.head, &[self.report], state);
        let request = api::intake::RecordCaseChangesRequest {
            changes: vec![news.change],
        };
        let answer = served.inbound("routing").record_case_changes(request).await.unwrap();
        assert_eq!(answer.into_inner().results.len(), 1);
    }
}

async fn each_outcome_comes_once_by_the_senders_own_id_and_a_token_goes_on_behind_it(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut feed = watch(&served, "hotline", "").await.unwrap();
    let (mine, other) = (
        submit(&served, "hotline", "desk-1").await,
        submit(&served, "platform", "").await,
    );
    let (mut case, mut others) = (Case::of(&mine), Case::of(&other));
    others.becomes(&served, CaseState::Assigned).await;
    for state in [
        CaseState::Assigned,
        CaseState::InProgress,
        CaseState::InReview,
        CaseState::Resolved,
        CaseState::Closed,
        CaseState::Assigned,
    ] {
        case.becomes(&served, state).await;
    }
    let expected = [
        (ReportState::Routed, "report.routed", false),
        // It is decided, and the report is still routed.
        (ReportState::Routed, "case.opened", true),
        (ReportState::Closed, "report.closed", true),
        (ReportState::Routed, "report.routed", false),
    ];
    let mut tokens = vec![String::new()];
    for (state, kind, decided) in expected {
        let (news, token) = next(&mut feed).await;
        assert_eq!(
            (news.report.as_str(), news.external_id.as_str()),
            (mine.as_str(), "desk-1")
        );
        assert_eq!((news.state(), news.kind.as_str()), (state, kind));
        assert_eq!(news.outcome.is_some(), decided, "{state:?}");
        assert_eq!(news.agency, "agencies/police-450100");
        assert_eq!(news.titles.len(), 2, "{news:?}");
        if let Some(outcome) = news.outcome {
            assert_eq!(outcome.text, "", "that is for the reporter");
            assert!(outcome.summaries.len() == 2 && outcome.remedies.len() == 2);
        }
        tokens.push(token);
    }
    silent(&mut feed).await;
    // From each token the rest comes, and no more; the archive is of the same agency.
    for (read, token) in tokens.iter().enumerate() {
        for system in ["hotline", "hotline-archive"] {
            let mut resumed = watch(&served, system, token).await.unwrap();
            for (state, ..) in &expected[read..] {
                assert_eq!(next(&mut resumed).await.0.state(), *state);
            }
        }
    }
    // A sender without an agency has what it sent itself.
    let mut theirs = watch(&served, "platform", "").await.unwrap();
    assert_eq!(next(&mut theirs).await.0.report, other);
    silent(&mut theirs).await;
}

/// `handan` is excluded from all that it sends, as routing says: of one report now, of the other
/// with the change. Beside it a sender of whose reports nothing became.
async fn p7_an_excluded_sender_cannot_tell_that_anything_followed(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut quiet = watch(&served, "nanning", "").await.unwrap();
    let mut excluded = watch(&served, "handan", "").await.unwrap();
    let mut honest = watch(&served, "hotline", "").await.unwrap();
    served.routing.decide(&[], &["police-130400"]);
    let mut case = Case::of(&submit(&served, "handan", "").await);
    for state in [CaseState::Assigned, CaseState::Resolved, CaseState::Closed] {
        case.becomes(&served, state).await;
    }
    // While routing does not answer all wait, and none is told that something waits.
    served.routing.is_down(true);
    let mut own = Case::of(&submit(&served, "hotline", "").await);
    own.becomes(&served, CaseState::Assigned).await;
    case.becomes(&served, CaseState::Assigned).await;
    silent(&mut excluded).await;
    silent(&mut honest).await;
    // Whatever routing says later.
    served.routing.decide(&[], &[]);
    served.routing.is_down(false);
    assert_eq!(next(&mut honest).await.0.state(), ReportState::Routed);
    // What only routing knows to be hidden.
    served.routing.decide(&[], &["content-regulator-CN", "police-130400"]);
    own.becomes(&served, CaseState::Closed).await;
    silent(&mut honest).await;
    // Every half minute, at the same time: how far it is, in as many characters.
    let mut marks = Vec::new();
    for feed in [&mut quiet, &mut excluded] {
        let mark = timeout(Duration::from_secs(40), feed.message()).await.expect("a mark");
        let mark = mark.unwrap().unwrap();
        assert_eq!(mark.news, None);
        marks.push(mark.resume_token);
    }
    assert_eq!(marks[0].len(), marks[1].len());
    assert_ne!(marks[0], marks[1]);
    // One confirms nothing, one what is hidden from it, and then nothing more: alike.
    for _ in 0..2 {
        for (system, token) in [("nanning", &marks[0]), ("handan", &marks[1])] {
            served.site.clock.advance(60);
            let request = ConfirmReportsRequest {
                resume_token: token.clone(),
            };
            let answer = served.client(system).confirm_reports(request).await.unwrap();
            let now = Some(served.site.clock.now().to_proto());
            assert_eq!(answer.into_inner().confirm_time, now, "{system}");
        }
    }
    let confirmed = "SELECT count(*) FROM report_feeds WHERE confirm_time IS NOT NULL";
    assert_eq!(count(&served.db, confirmed).await, 2, "a row is written for each");
    // Operators see neither as late: what is hidden counts as confirmed behind its token.
    let late = unconfirmed(&served).await;
    assert!(
        late.iter()
            .all(|sender| sender.agency == "agencies/content-regulator-CN"),
        "{late:?}"
    );
    let tally = served.faults.inner.unconfirmed_tally().await.unwrap();
    assert_eq!(tally, UnconfirmedTally::default());
    for (system, token) in [
        ("nanning", &marks[0]),
        ("handan", &marks[1]),
        ("handan", &String::new()),
    ] {
        let mut resumed = watch(&served, system, token).await.unwrap();
        silent(&mut resumed).await;
    }
}

async fn a_feed_goes_on_at_another_replica_without_loss_or_repeat(backend: Backend) {
    let site = Site::new(intake::evidence::Limits::default());
    let one = serve_at(backend.url(), Limits::default(), &site).await;
    let two = serve_at(backend.url(), Limits::default(), &site).await;
    const REPORTS: usize = 150;
    let entropy = entropy();
    let all: Vec<_> = (0..REPORTS).map(|_| acceptance(&*entropy, None, 1)).collect();
    one.faults.inner.accept(&prepared(&all)).await.unwrap();
    let states = [CaseState::Assigned, CaseState::Resolved, CaseState::Closed];
    // Each replica takes the changes of half of the cases, several at a time.
    let write = async |served: &Served, half: usize| {
        let mut heads = vec![Head::default(); REPORTS];
        for state in states {
            let mine: Vec<_> = (0..REPORTS).filter(|i| i % 2 == half).collect();
            for some in mine.chunks(7) {
                let news: Vec<_> = some
                    .iter()
                    .map(|i| {
                        case_news(
                            &*entropy,
                            &format!("cases/{i}"),
                            &mut heads[*i],
                            &[all[*i].report],
                            state,
                        )
                    })
                    .collect();
                served.faults.inner.record_case_changes(&news, NOW).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    };
    let read = async {
        let (mut token, mut heard) = (String::new(), BTreeMap::<String, Vec<i32>>::new());
        let (mut count, mut replicas) = (0, [&one, &two].into_iter().cycle());
        while count < 3 * REPORTS {
            let mut feed = watch(replicas.next().unwrap(), "hotline", &token).await.unwrap();
            for _ in 0..40.min(3 * REPORTS - count) {
                let (news, behind) = next(&mut feed).await;
                heard.entry(news.report).or_default().push(news.state);
                token = behind;
                count += 1;
            }
        }
        let mut feed = watch(&two, "hotline", &token).await.unwrap();
        silent(&mut feed).await;
        heard
    };
    let ((), (), heard) = tokio::join!(write(&one, 0), write(&two, 1), read);
    assert_eq!(heard.len(), REPORTS);
    let expected: Vec<i32> = [ReportState::Routed, ReportState::Routed, ReportState::Closed]
        .map(i32::from)
        .into();
    for (report, states) in heard {
        assert_eq!(states, expected, "{report}");
    }
}

async fn unconfirmed(served: &Served) -> Vec<UnconfirmedSender> {
    let request = ListUnconfirmedSendersRequest::default();
    let listed = served
        .client("operator")
        .list_unconfirmed_senders(request)
        .await
        .unwrap();
    listed.into_inner().senders
}

async fn what_a_sender_has_not_confirmed_is_listed_for_operators(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    assert_eq!(unconfirmed(&served).await, []);
    for system in ["hotline", "platform"] {
        let mut case = Case::of(&submit(&served, system, "").await);
        for state in [CaseState::Assigned, CaseState::Resolved, CaseState::Closed] {
            case.becomes(&served, state).await;
            served.site.clock.advance(60);
        }
    }
    let sender = |agency: &str, system: &str, count, since: i64, confirmed: Option<i64>| UnconfirmedSender {
        agency: agency.to_owned(),
        system: system.to_owned(),
        unconfirmed_count: count,
        unconfirmed_since_time: Some(NOW.plus_seconds(since).to_proto()),
        confirm_time: confirmed.map(|seconds| NOW.plus_seconds(seconds).to_proto()),
    };
    let content = "agencies/content-regulator-CN";
    let platform = || sender("", "platform", 3, 180, None);
    assert_eq!(
        unconfirmed(&served).await,
        [sender(content, "", 3, 0, None), platform()]
    );
    let tally = served.faults.inner.unconfirmed_tally().await.unwrap();
    assert_eq!(
        tally,
        UnconfirmedTally::default(),
        "who never confirmed is late with nothing"
    );
    let mut feed = watch(&served, "hotline", "").await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(next(&mut feed).await.1);
    }
    let confirm = async |system: &str, token: &str| {
        let request = ConfirmReportsRequest {
            resume_token: token.to_owned(),
        };
        served.client(system).confirm_reports(request).await
    };
    // The second, by another system of the agency; the first then takes nothing back.
    for (system, token, at) in [
        ("hotline-archive", &tokens[1], 360),
        ("hotline", &tokens[0], 420),
        ("hotline", &tokens[1], 480),
    ] {
        let confirmed = confirm(system, token).await.unwrap().into_inner();
        assert_eq!(confirmed.confirm_time, Some(NOW.plus_seconds(at).to_proto()));
        assert_eq!(
            unconfirmed(&served).await,
            [sender(content, "", 1, 120, Some(at)), platform()]
        );
        served.site.clock.advance(60);
    }
    let tally = served.faults.inner.unconfirmed_tally().await.unwrap();
    let since = Some(NOW.plus_seconds(120));
    assert_eq!(tally, UnconfirmedTally { senders: 1, since });
    confirm("hotline", &tokens[2]).await.unwrap();
    assert_eq!(unconfirmed(&served).await, [platform()]);
    for (system, token) in [
        ("platform", tokens[0].as_str()),
        ("hotline", ""),
        ("hotline", "garbage"),
    ] {
        let status = confirm(system, token).await.unwrap_err();
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "resume_token", "{system} {token}");
    }
    let mut hotline = served.client("hotline");
    let listed = hotline
        .list_unconfirmed_senders(ListUnconfirmedSendersRequest::default())
        .await;
    assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
    // What is forgotten is late for ever, without a number.
    served.site.clock.advance(40 * DAY);
    let now = Time(NOW.0 + 40 * DAY * 1_000_000);
    assert_eq!(served.faults.inner.forget_feeds(now, 1_000).await.unwrap(), 6);
    let left = unconfirmed(&served).await;
    assert_eq!((left[0].unconfirmed_count, left[0].unconfirmed_since_time), (0, None));
}

async fn p7_a_token_is_one_senders_and_grows_old_by_itself(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut case = Case::of(&submit(&served, "hotline", "").await);
    case.becomes(&served, CaseState::Assigned).await;
    let mut feed = watch(&served, "hotline", "").await.unwrap();
    let (_, token) = next(&mut feed).await;
    let refused = async |served: &Served, system: &str, token: &str| {
        let status = watch(served, system, token).await.unwrap_err();
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "resume_token", "{system} {token}");
    };
    for system in ["platform", "handan"] {
        refused(&served, system, &token).await;
    }
    refused(&served, "hotline", "garbage").await;
    // One of a database that went on from here and was restored.
    let seal = rpc::page::Tokens::of(&served.db).seal().await.unwrap();
    let owner = Sender {
        system: "hotline".to_owned(),
        agency: names::AgencyId::new("content-regulator-CN").ok(),
    };
    let filter = format!("WatchReports owner={:?}", owner.owner());
    let ahead = seal.encode(&filter, &format!("2/{}/x", NOW.0));
    refused(&served, "hotline", &ahead).await;
    // To the second, whether anything was deleted or not.
    served.site.clock.advance(30 * DAY);
    drop(watch(&served, "hotline", &token).await.unwrap());
    served.site.clock.advance(1);
    refused(&served, "hotline", &token).await;
    // What is kept longer is not begun with: its tokens would be old at once.
    let mut anew = watch(&served, "hotline", "").await.unwrap();
    silent(&mut anew).await;
    case.becomes(&served, CaseState::Closed).await;
    assert_eq!(next(&mut anew).await.0.state(), ReportState::Closed);
    let inner = &served.faults.inner;
    let kept = |days: i64| Time(NOW.0 + days * DAY * 1_000_000);
    assert_eq!(inner.forget_feeds(kept(0), 10).await.unwrap(), 0);
    assert_eq!(inner.forget_feeds(kept(1), 10).await.unwrap(), 1, "the oldest");
    let mut again = watch(&served, "hotline", "").await.unwrap();
    assert_eq!(next(&mut again).await.0.state(), ReportState::Closed);
}

async fn a_sender_has_so_many_open_feeds_and_no_more(backend: Backend) {
    let served = serve(backend.url(), Limits::default()).await;
    let mut feeds = Vec::new();
    for i in 0..32 {
        let system = ["hotline", "hotline-archive"][i % 2];
        feeds.push(watch(&served, system, "").await.unwrap());
    }
    assert_eq!(
        watch(&served, "hotline", "").await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    watch(&served, "platform", "").await.unwrap();
}

/// Each sender's feed is counted by itself: its positions tell nothing of others.
#[tokio::test]
async fn p7_positions_of_a_feed_count_its_own_reports() {
    let backend = Backend::sqlite();
    let (db, store, entropy) = open(backend.url()).await;
    let mut sent: Vec<_> = (0..6).map(|_| acceptance(&*entropy, None, 1)).collect();
    for (i, one) in sent.iter_mut().enumerate().filter(|(i, _)| i % 2 == 1) {
        (one.caller, one.agency) = (format!("system-{i}"), None);
    }
    store.accept(&prepared(&sent)).await.unwrap();
    let ids: Vec<_> = sent.iter().map(|one| one.report).collect();
    let news = case_news(&*entropy, "cases/1", &mut Head::default(), &ids, CaseState::Assigned);
    store.record_case_changes(&[news], NOW).await.unwrap();
    let rows = db
        .fetch("SELECT owner, position FROM report_feeds ORDER BY owner", Vec::new())
        .await
        .unwrap();
    let heads: Vec<(String, i64)> = rows
        .iter()
        .map(|row| (row.get("owner").unwrap(), row.get("position").unwrap()))
        .collect();
    let expected = [
        ("agency\ncontent-regulator-CN", 3),
        ("system\nsystem-1", 1),
        ("system\nsystem-3", 1),
        ("system\nsystem-5", 1),
    ];
    assert_eq!(heads, expected.map(|(owner, position)| (owner.to_owned(), position)));
}
