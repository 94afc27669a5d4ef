//! Lists of cases by state and by worklist: what is on them, in which order, and how many.

use std::collections::{BTreeMap, BTreeSet};

use api::event::CaseState;
use api::routing::{CountWorklistsRequest, Facts, ListCasesRequest, ListUndeliveredRequest, Worklist as Wire};
use routing::Routing;
use routing::case::{
    Action, Answer, AnswerAssistance, ClaimLead, Decline, Party, Reason, RecordProgress, RequestAssistance, State,
    Transfer, Worklist,
};
use routing::store::{Acted, Cursor, Listing, Read, Store as _};
use testkit::Backend;
use tonic::Code;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, HOUR, agency, agency_viewer, by, command, gambling, official, shipped};
use crate::service::{Running, refused};

testkit::on_each_backend!(
    p7_counts_equal_lists_and_both_hide_what_is_hidden,
    each_worklist_has_what_waits_for_the_agency,
    a_page_goes_on_where_the_one_before_ended,
    what_was_changed_by_others_is_unread_until_it_is_read,
    lists_are_made_anew_by_other_rules,
    p7_counts_during_a_switch_are_exact_or_not_given,
    the_service_lists_and_counts_worklists,
    p7_who_has_not_read_what_is_told_to_operators_and_to_each_agency_its_own,
);

/// All pages of a worklist, with pages of a size.
async fn pages(fixture: &Fixture, viewer: &Party, listing: Listing, size: u32) -> Vec<Uuid> {
    let (mut all, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = fixture.store.cases(viewer, Some(listing), after, size).await.unwrap();
        assert!(page.items.len() <= size as usize);
        all.extend(page.items.iter().map(|case| case.id));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn worklist(fixture: &Fixture, id: &str, worklist: Worklist) -> Vec<Uuid> {
    let listing = Listing::Worklist(worklist, fixture.now());
    pages(fixture, &agency_viewer(id), listing, 1_000).await
}

/// The worklists of an agency that are not empty, which are also counted.
async fn all(fixture: &Fixture, id: &str) -> BTreeMap<Worklist, BTreeSet<Uuid>> {
    let counts = fixture.store.count(&agency(id), fixture.now(), 1_000).await.unwrap();
    let mut lists = BTreeMap::new();
    for (worklist, count) in counts.unwrap() {
        let listed = self::worklist(fixture, id, worklist).await;
        assert_eq!(listed.len(), count as usize, "{id} {worklist:?}");
        if count > 0 {
            lists.insert(worklist, listed.into_iter().collect::<BTreeSet<_>>());
        }
    }
    // While nobody assigns anything, all that is due is in the pool.
    assert_eq!(
        lists.remove(&Worklist::Pool),
        lists.get(&Worklist::Due).cloned(),
        "{id}"
    );
    lists
}

fn of(lists: &[(Worklist, &[Uuid])]) -> BTreeMap<Worklist, BTreeSet<Uuid>> {
    let lists = lists.iter();
    lists
        .map(|(worklist, cases)| (*worklist, cases.iter().copied().collect()))
        .collect()
}

async fn done(fixture: &Fixture, case: Uuid, by: &str, action: Action) {
    let acted = fixture.act(command(case, by, action)).await;
    assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
}

async fn each_worklist_has_what_waits_for_the_agency(backend: Backend) {
    use Worklist::{Assistance, AwaitingDesignation, Claims, Due, NotAccepted, Overdue, Unread};
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), gambling(), gambling(), official()]).await;
    let [first, second, third, other] = cases[..] else {
        panic!()
    };
    let gone: &[Uuid] = &[first, second, third];
    assert_eq!(
        all(&fixture, "police-450100").await,
        of(&[(Due, gone), (NotAccepted, gone), (Unread, gone)])
    );
    assert_eq!(all(&fixture, "police-440000").await, of(&[(Unread, gone)]));
    assert_eq!(all(&fixture, "police-450000").await, of(&[]), "not even its superior");
    assert_eq!(
        all(&fixture, "inspection-130000").await,
        of(&[(Due, &[other]), (NotAccepted, &[other]), (Unread, &[other])])
    );
    assert_eq!(all(&fixture, "police-130400").await, of(&[]));
    // Taken over, then asked for help; transferred; declined.
    assert!(matches!(fixture.act(by(first, "police-450100")).await, Acted::Done(_)));
    let ask = RequestAssistance {
        of: agency("police-510100"),
    };
    done(&fixture, first, "police-450100", Action::RequestAssistance(ask)).await;
    let transfer = Transfer {
        to: agency("police-510100"),
        reason: Reason::Place,
        keep_supporting: false,
    };
    done(&fixture, second, "police-450100", Action::Transfer(transfer)).await;
    let decline = Decline {
        reason: Reason::Place,
        better: None,
    };
    done(&fixture, third, "police-450100", Action::Decline(decline)).await;
    assert_eq!(
        all(&fixture, "police-450100").await,
        of(&[(Due, &[first]), (NotAccepted, &[second])])
    );
    assert_eq!(
        all(&fixture, "police-510100").await,
        of(&[
            (Due, &[first, second]),
            (NotAccepted, &[second]),
            (Assistance, &[first]),
            (Unread, &[first, second])
        ])
    );
    assert_eq!(
        all(&fixture, "police-450000").await,
        of(&[(Due, &[third]), (AwaitingDesignation, &[third]), (Unread, &[third])])
    );
    let claim = ClaimLead { reason: Reason::Place };
    done(&fixture, first, "police-440000", Action::ClaimLead(claim)).await;
    assert_eq!(
        all(&fixture, "police-450100").await,
        of(&[
            (Due, &[first]),
            (NotAccepted, &[second]),
            (Claims, &[first]),
            (Unread, &[first])
        ])
    );
    let answer = AnswerAssistance {
        answer: Answer::Provided,
    };
    done(&fixture, first, "police-510100", Action::AnswerAssistance(answer)).await;
    fixture.assert_promises().await;
    // What has run out is overdue until Remit hands it on, and not a moment earlier.
    let due = fixture.case(second).await.case.duty().unwrap().clock.due;
    let at = |micros: i64| journal::Time(due.0 + micros);
    for (now, expected) in [(at(-1), vec![]), (at(0), vec![second])] {
        let listing = Listing::Worklist(Overdue, now);
        let listed = pages(&fixture, &agency_viewer("police-510100"), listing, 10).await;
        assert_eq!(listed, expected);
        let counts = fixture
            .store
            .count(&agency("police-510100"), now, 10)
            .await
            .unwrap()
            .unwrap();
        let count = counts.iter().find(|(worklist, _)| *worklist == Overdue).unwrap().1;
        assert_eq!(count as usize, expected.len());
    }
    fixture.clock.advance(30 * DAY);
    assert_eq!(all(&fixture, "police-510100").await[&Overdue], BTreeSet::from([second]));
    fixture.ticker(&fixture.store).step().await.unwrap();
    assert_eq!(all(&fixture, "police-510100").await.get(&Overdue), None);
    fixture.assert_promises().await;
}

async fn a_page_goes_on_where_the_one_before_ended(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut cases = Vec::new();
    // Several at one moment share a place, and are told apart by their ids.
    for opened in [3, 1, 4, 1, 5] {
        cases.extend(fixture.open(&vec![gambling(); opened]).await);
        fixture.clock.advance(HOUR);
    }
    let viewer = agency_viewer("police-450100");
    let due = Listing::Worklist(Worklist::Due, fixture.now());
    let mut dues = Vec::new();
    for case in &cases {
        dues.push((
            fixture.case(*case).await.case.duty().unwrap().clock.due,
            case.to_string(),
            *case,
        ));
    }
    dues.sort();
    let in_order: Vec<_> = dues.iter().map(|(.., case)| *case).collect();
    for size in [1, 2, 3, 5, 14, 15] {
        assert_eq!(pages(&fixture, &viewer, due, size).await, in_order, "{size}");
    }
    for viewer in [viewer, Party::Operator] {
        let assigned = Listing::State(State::ASSIGNED);
        let whole = pages(&fixture, &viewer, assigned, 100).await;
        assert_eq!(whole.iter().collect::<BTreeSet<_>>(), cases.iter().collect());
        assert_eq!(
            whole[..5].iter().collect::<BTreeSet<_>>(),
            cases[9..].iter().collect(),
            "the newest first"
        );
        for size in [1, 4, 14] {
            assert_eq!(pages(&fixture, &viewer, assigned, size).await, whole, "{size}");
        }
        assert_eq!(
            pages(&fixture, &viewer, Listing::State(State::CLOSED), 10).await,
            [] as [Uuid; 0]
        );
    }
}

async fn what_was_changed_by_others_is_unread_until_it_is_read(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let unread = async |id: &'static str| {
        let listed = !worklist(&fixture, id, Worklist::Unread).await.is_empty();
        assert_eq!(fixture.store.is_unread(&agency(id), case).await.unwrap(), listed);
        listed
    };
    let read = async |id: &str, sequence: u64| {
        let read = Read {
            case,
            agency: agency(id),
            sequence,
        };
        fixture.store.read(&[read]).await.unwrap();
    };
    assert!(unread("police-450100").await && unread("police-440000").await);
    read("police-450100", 1).await;
    assert!(
        !unread("police-450100").await && unread("police-440000").await,
        "each agency for itself"
    );
    // Who makes a change knows of it; others do not.
    assert!(matches!(fixture.act(by(case, "police-450100")).await, Acted::Done(_)));
    read("police-440000", 1).await;
    assert!(unread("police-440000").await, "what it read is of before");
    read("police-440000", 2).await;
    assert!(!unread("police-450100").await && !unread("police-440000").await);
    done(&fixture, case, "police-450100", Action::RecordProgress(RecordProgress)).await;
    assert!(!unread("police-450100").await && unread("police-440000").await);
    // What Remit does, nobody knows of.
    fixture.clock.advance(200 * DAY);
    fixture.ticker(&fixture.store).step().await.unwrap();
    assert!(unread("police-450100").await && unread("police-440000").await && unread("police-450000").await);
    // Nobody who sees nothing is told that there is something to read.
    assert!(!unread("police-CN").await && !unread("police-510100").await);
    read("police-CN", 99).await;
    fixture.assert_promises().await;
}

async fn lists_are_made_anew_by_other_rules(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), official(), gambling()]).await;
    let read = Read {
        case: cases[0],
        agency: agency("police-450100"),
        sequence: 1,
    };
    fixture.store.read(&[read]).await.unwrap();
    let agencies = ["police-450100", "police-440000", "inspection-130000"];
    let lists = async || {
        let mut lists = Vec::new();
        for id in agencies {
            lists.push(all(&fixture, id).await);
        }
        lists
    };
    let before = lists().await;
    fixture
        .execute("UPDATE case_lists_rules SET rules = 'of another release'")
        .await;
    fixture
        .execute("DELETE FROM case_lists WHERE list IN ('due', 'pool')")
        .await;
    fixture.execute("INSERT INTO case_lists SELECT case_id, agency, 'no-longer-known', 0, '' FROM case_lists WHERE list = 'not-accepted'").await;
    assert_ne!(lists().await, before);
    for _ in 0..2 {
        Routing::prepare(&fixture.db, shipped(), &*fixture.clock, &*fixture.entropy)
            .await
            .unwrap();
        assert_eq!(lists().await, before, "what was read stays read");
        fixture.assert_promises().await;
    }
}

async fn p7_counts_equal_lists_and_both_hide_what_is_hidden(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let barring = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let cases = fixture.open(&[barring.clone(), barring, gambling()]).await;
    assert_eq!(all(&fixture, "police-450100").await[&Worklist::Due].len(), 3);
    // From the switch on, and not only from the next tick.
    fixture
        .apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-450100")])
        .await;
    let left = |lists: BTreeMap<Worklist, BTreeSet<Uuid>>| lists.into_values().collect::<Vec<_>>();
    let other = BTreeSet::from([cases[2]]);
    assert_eq!(left(all(&fixture, "police-450100").await), vec![other.clone(); 3]);
    assert_eq!(left(all(&fixture, "police-440000").await)[0].len(), 3, "not for others");
    let listing = Listing::State(State::ASSIGNED);
    assert_eq!(
        pages(&fixture, &agency_viewer("police-450100"), listing, 1).await,
        [cases[2]]
    );
    // Of a list that is longer than is counted, what is hidden is not counted either.
    let counts = fixture
        .store
        .count(&agency("police-450100"), fixture.now(), 1)
        .await
        .unwrap();
    assert!(counts.unwrap().iter().all(|(_, count)| *count <= 1));
    assert_eq!(fixture.ticker(&fixture.store).succeed().await.unwrap(), 2);
    let lists = left(all(&fixture, "police-450100").await);
    assert_eq!(lists, vec![other; 3], "nor that it has lost something");
    fixture.assert_promises().await;
}

async fn p7_counts_during_a_switch_are_exact_or_not_given(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    fixture.open(&[gambling()]).await;
    let count = async || {
        fixture
            .store
            .count(&agency("police-450100"), fixture.now(), 10)
            .await
            .unwrap()
    };
    assert!(count().await.is_some());
    // More cases than can be looked through follow another directory.
    let entropy = &*fixture.entropy;
    for _ in 0..4 {
        let rows: Vec<[sql::Value; 3]> = (0..2_500)
            .map(|_| [journal::random_id(entropy).into(), "police-1".into(), [7; 32].into()])
            .collect();
        let exclusions = sql::Insert::into(
            "case_exclusions",
            &[
                ("case_id", sql::Kind::Text),
                ("agency", sql::Kind::Text),
                ("directory", sql::Kind::Bytes),
            ],
        );
        sql::transact!(fixture.db, |tx| exclusions.rows(&mut tx, rows.clone())).unwrap();
    }
    assert_eq!(count().await, None);
}

async fn the_service_lists_and_counts_worklists(backend: Backend) {
    let running = Running::start(backend).await;
    running.fixture.open(&[gambling(), gambling(), official()]).await;
    let request = |worklist: Wire, page_token: &str| ListCasesRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
        worklist: worklist.into(),
        ..ListCasesRequest::default()
    };
    let counted = async |system: &str| {
        let counts = running
            .caller(system)
            .count_worklists(CountWorklistsRequest::default())
            .await;
        let counts = counts.unwrap().into_inner().counts;
        assert!(counts.iter().all(|count| !count.more));
        let pairs = counts.iter().map(|count| (count.worklist(), count.case_count));
        pairs.collect::<Vec<_>>()
    };
    let counts = counted("nanning").await;
    assert_eq!(counts[0], (Wire::Due, 2));
    assert_eq!(counts.last(), Some(&(Wire::Unread, 2)));
    assert_eq!(counts.len(), Worklist::ROWS.len());
    let first = running
        .caller("nanning")
        .list_cases(request(Wire::Due, ""))
        .await
        .unwrap()
        .into_inner();
    let token = first.next_page_token.as_str();
    let second = running
        .caller("nanning")
        .list_cases(request(Wire::Due, token))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (first.cases.len(), second.cases.len(), second.next_page_token.as_str()),
        (1, 1, "")
    );
    assert_ne!(first.cases[0].name, second.cases[0].name);
    // A token is of its caller and its list.
    for (system, worklist) in [
        ("nanning", Wire::NotAccepted),
        ("guangdong", Wire::Due),
        ("nanning", Wire::Unspecified),
    ] {
        let answer = running.caller(system).list_cases(request(worklist, token)).await;
        refused(answer, Code::InvalidArgument, "INVALID_INPUT");
    }
    // What it has read is no longer unread, for all its systems.
    running.get("nanning-second", &first.cases[0].name).await.unwrap();
    assert_eq!(counted("nanning").await.last(), Some(&(Wire::Unread, 1)));
    assert_eq!(counted("guangdong").await.last(), Some(&(Wire::Unread, 2)));
    assert!(counted("handan").await.iter().all(|(_, count)| *count == 0));
    let operators = running.caller("operator").list_cases(request(Wire::Due, "")).await;
    refused(operators, Code::InvalidArgument, "INVALID_INPUT");
    let both = ListCasesRequest {
        state: CaseState::Assigned.into(),
        ..request(Wire::Due, "")
    };
    refused(
        running.caller("nanning").list_cases(both).await,
        Code::InvalidArgument,
        "INVALID_INPUT",
    );
    let unknown = ListCasesRequest {
        worklist: 99,
        ..ListCasesRequest::default()
    };
    let status = refused(
        running.caller("nanning").list_cases(unknown).await,
        Code::InvalidArgument,
        "INVALID_INPUT",
    );
    assert!(status.message().contains("worklist"), "{status:?}");
    running.finish().await;
}

async fn p7_who_has_not_read_what_is_told_to_operators_and_to_each_agency_its_own(backend: Backend) {
    let running = Running::start(backend).await;
    let mut cases = Vec::new();
    for facts in [gambling(), official(), gambling()] {
        cases.extend(running.fixture.open(&[facts]).await);
        running.fixture.clock.advance(HOUR);
    }
    let ask = async |system: &str, agency: &str, page_size: i32| {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListUndeliveredRequest {
                page_size,
                page_token,
                agency: agency.to_owned(),
            };
            let page = running.caller(system).list_undelivered(request).await?.into_inner();
            assert!(page.undelivered.len() <= page_size as usize);
            all.extend(
                page.undelivered
                    .into_iter()
                    .map(|of| (of.unread_case, of.agency, of.change_time)),
            );
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok::<_, tonic::Status>(all);
            }
        }
    };
    let told = async |system: &str, agency: &str| {
        let all = ask(system, agency, 100).await.unwrap();
        for size in [1, 2, 3] {
            assert_eq!(ask(system, agency, size).await.unwrap(), all, "{system} {size}");
        }
        let places = all.iter().map(|(case, agency, _)| {
            let case = cases.iter().position(|of| *case == format!("cases/{of}")).unwrap();
            (case, agency.trim_start_matches("agencies/").to_owned())
        });
        places.collect::<Vec<_>>()
    };
    let of = |pairs: &[(usize, &str)]| pairs.iter().map(|(at, of)| (*at, (*of).to_owned())).collect::<Vec<_>>();
    let (lead, support, other) = ("police-450100", "police-440000", "inspection-130000");
    let all = told("operator", "").await;
    assert_eq!(all, of(&[(0, support), (0, lead), (1, other), (2, support), (2, lead)]));
    assert_eq!(
        told("operator", "agencies/police-450100").await,
        of(&[(0, lead), (2, lead)])
    );
    // Each agency is told its own, and who has no part, nothing.
    assert_eq!(told("nanning", "").await, of(&[(0, lead), (2, lead)]));
    assert_eq!(told("inspection", "").await, of(&[(1, other)]));
    for nothing in ["handan", "guangxi"] {
        assert_eq!(told(nothing, "").await, of(&[]), "{nothing}");
    }
    // The time is that of the change.
    let first = ask("nanning", "", 1).await.unwrap();
    let changed = running.fixture.case(cases[0]).await.head.time;
    assert_eq!(first[0].2, Some(changed.to_proto()));
    // What is read is delivered.
    running.get("nanning", &format!("cases/{}", cases[0])).await.unwrap();
    assert_eq!(told("nanning", "").await, of(&[(2, lead)]));
    assert_eq!(told("operator", "").await.len(), 4);
    // What is hidden by the directory in force is told to nobody it is hidden from.
    let named = ask("nanning", "agencies/police-440000", 10).await;
    refused(named, Code::InvalidArgument, "INVALID_INPUT");
    refused(
        ask("operator", "police", 10).await,
        Code::InvalidArgument,
        "INVALID_INPUT",
    );
    for system in ["auditor", "platform", "intake"] {
        refused(ask(system, "", 10).await, Code::PermissionDenied, "DENIED");
    }
    // A token is of its caller and its filter.
    let page = async |system: &str, agency: &str, page_token: &str| {
        let request = ListUndeliveredRequest {
            page_size: 1,
            page_token: page_token.to_owned(),
            agency: agency.to_owned(),
        };
        running
            .caller(system)
            .list_undelivered(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let token = page("operator", "", "").await.unwrap().next_page_token;
    for (system, agency) in [("guangdong", ""), ("operator", "agencies/police-450100")] {
        refused(
            page(system, agency, &token).await,
            Code::InvalidArgument,
            "INVALID_INPUT",
        );
    }
    // What another service refuses is told to operators, once.
    running
        .fixture
        .execute("INSERT INTO outbox_parked (consumer, record, since, attempts, retry_time, reason) VALUES ('intake', 'cases/7', 1, 1, 9000000000000000, 'malformed'), ('audit', 'directory/versions', 1, 1, 9000000000000000, 'malformed')")
        .await;
    let first = page("operator", "", "").await.unwrap();
    let shown: Vec<_> = first
        .refused
        .iter()
        .map(|of| (of.consumer.as_str(), of.refused_case.as_str()))
        .collect();
    assert_eq!(shown, [("intake", "cases/7")]);
    assert_eq!(page("operator", "", &first.next_page_token).await.unwrap().refused, []);
    assert_eq!(page("guangdong", "", "").await.unwrap().refused, []);
    running.finish().await;
}
