//! What superiors see of the cases below them.

use std::{collections::BTreeSet, sync::Arc};

use api::event::{CaseState, Clock, ClockKind};
use api::routing::{
    AcknowledgeCaseRequest, Case, CountWorklistsRequest, Facts, ListCasesRequest, SuperviseCaseRequest,
    Worklist as Wire,
};
use decision::directory::Directory;
use routing::{
    case::{Action, Reason, State, Transfer, Worklist},
    store::{
        Acted, Cursor, Listing, Store as _,
        versions::{Activated, Activation, Versions as _},
    },
};
use testkit::Backend;
use tonic::Code;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, agency, by, command, gambling, official, shipped};
use crate::service::{Running, refused};

testkit::on_each_backend!(
    p7_superiors_list_what_is_below_them_and_counts_equal_lists,
    p7_who_is_excluded_oversees_nothing_of_the_case,
    p7_nobody_is_shown_what_was_below_it_by_another_directory,
    p7_a_directory_that_comes_back_makes_all_rows_anew,
    p7_what_a_replica_of_an_earlier_version_changes_is_not_shown_as_it_was,
    p7_a_superior_sees_the_outline_of_a_case_and_supervises_it_from_the_list,
);

/// All cases of a list below a superior, of all or of one owner; by pages of a size.
async fn pages(
    fixture: &Fixture,
    superior: &str,
    owner: Option<&str>,
    listing: Option<Listing>,
    size: u32,
) -> Vec<Uuid> {
    let (mut all, mut after) = (Vec::new(), None::<Cursor>);
    let owner = owner.map(agency);
    loop {
        let superior = agency(superior);
        let page = fixture
            .store
            .below(&superior, owner.as_ref(), listing, after, size)
            .await;
        let page = page.unwrap().expect("they follow the directory in force");
        assert!(page.items.len() <= size as usize);
        all.extend(page.items.iter().map(|case| case.id));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn below(fixture: &Fixture, superior: &str, owner: Option<&str>) -> BTreeSet<Uuid> {
    let all = pages(fixture, superior, owner, None, 2).await;
    for size in [1, 100] {
        assert_eq!(pages(fixture, superior, owner, None, size).await, all);
    }
    all.into_iter().collect()
}

/// The worklists of what is below, which are also counted.
async fn worklists(fixture: &Fixture, superior: &str, owner: Option<&str>) -> Vec<(Worklist, BTreeSet<Uuid>)> {
    let of = owner.map(agency);
    let above = agency(superior);
    let counts = fixture.store.count_below(&above, of.as_ref(), fixture.now(), 1_000);
    let mut lists = Vec::new();
    for (worklist, count) in counts.await.unwrap().unwrap() {
        let listing = Listing::Worklist(worklist, fixture.now());
        let listed = pages(fixture, superior, owner, Some(listing), 2).await;
        assert_eq!(listed.len(), count as usize, "{superior} {owner:?} {worklist:?}");
        lists.extend((count > 0).then(|| (worklist, listed.into_iter().collect())));
    }
    lists
}

async fn overseen(fixture: &Fixture) {
    fixture.ticker(&fixture.store).oversee().await.unwrap();
}

async fn p7_superiors_list_what_is_below_them_and_counts_equal_lists(backend: Backend) {
    use Worklist::{Due, NotAccepted, Overdue};
    let fixture = Fixture::new(backend).await;
    overseen(&fixture).await;
    let cases = fixture.open(&[gambling(), gambling(), gambling(), official()]).await;
    let [first, second, third, other] = cases[..] else {
        panic!()
    };
    let set = |cases: &[Uuid]| cases.iter().copied().collect::<BTreeSet<_>>();
    let led = set(&[first, second, third]);
    for superior in ["police-450000", "police-CN"] {
        assert_eq!(below(&fixture, superior, None).await, led, "{superior}");
        assert_eq!(
            below(&fixture, superior, Some("police-450100")).await,
            led,
            "{superior}"
        );
        assert_eq!(below(&fixture, superior, Some("police-450200")).await, set(&[]));
        let lists = [(Due, led.clone()), (NotAccepted, led.clone())];
        assert_eq!(worklists(&fixture, superior, None).await, lists);
    }
    assert_eq!(below(&fixture, "inspection-CN", None).await, set(&[other]));
    // Neither the lead itself, nor who supports, nor a superior of those who support.
    for none in ["police-450100", "police-440000", "police-440600", "conference-CN"] {
        assert_eq!(below(&fixture, none, None).await, set(&[]), "{none}");
    }
    assert!(matches!(fixture.act(by(first, "police-450100")).await, Acted::Done(_)));
    let transfer = Action::Transfer(Transfer {
        to: agency("police-510100"),
        reason: Reason::Place,
        keep_supporting: false,
    });
    let moved = fixture.act(command(second, "police-450100", transfer)).await;
    assert!(matches!(moved, Acted::Done(_)), "{moved:?}");
    assert_eq!(below(&fixture, "police-450000", None).await, set(&[first, third]));
    assert_eq!(below(&fixture, "police-CN", None).await, led);
    assert_eq!(
        below(&fixture, "police-CN", Some("police-510100")).await,
        set(&[second])
    );
    let state = |state| Some(Listing::State(state));
    let listed = pages(&fixture, "police-450000", None, state(State::IN_PROGRESS), 5).await;
    assert_eq!(listed, [first]);
    let listed = pages(&fixture, "police-CN", Some("police-450100"), state(State::ASSIGNED), 5).await;
    assert_eq!(listed, [third]);
    fixture.assert_promises().await;
    // What ran out is overdue until the next tick hands it up: then the superior owns it itself.
    fixture.clock.advance(200 * DAY);
    let late = worklists(&fixture, "police-450000", Some("police-450100")).await;
    let both = set(&[first, third]);
    assert_eq!(
        late,
        [
            (Due, both.clone()),
            (Overdue, both.clone()),
            (NotAccepted, set(&[third]))
        ]
    );
    fixture.ticker(&fixture.store).step().await.unwrap();
    let up = below(&fixture, "police-450000", None).await;
    assert!(!up.contains(&third), "it is before the superior now");
    assert!(below(&fixture, "police-CN", None).await.contains(&third));
    fixture.assert_promises().await;
}

async fn p7_who_is_excluded_oversees_nothing_of_the_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    overseen(&fixture).await;
    let barring = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let cases = fixture.open(&[barring, gambling()]).await;
    let all = cases.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(below(&fixture, "police-450000", None).await, all);
    // Its superior comes to succeed who is excluded. The case goes to others at the next tick; what
    // is made anew before that leaves the superior out.
    fixture
        .apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-450000")])
        .await;
    overseen(&fixture).await;
    let other = BTreeSet::from([cases[1]]);
    assert_eq!(below(&fixture, "police-450000", None).await, other);
    let one = fixture.store.case_below(cases[0], &agency("police-450000")).await;
    assert!(one.unwrap().is_none());
    assert_eq!(below(&fixture, "police-CN", None).await, all, "not for others");
}

async fn p7_nobody_is_shown_what_was_below_it_by_another_directory(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let superior = agency("police-450000");
    // As after an update of the software: there are cases, and nothing of them is known above.
    let case = fixture.open(&[gambling()]).await[0];
    let shown = async || fixture.store.below(&superior, None, None, None, 10).await.unwrap();
    let counted = async || {
        let counts = fixture.store.count_below(&superior, None, fixture.now(), 10).await;
        counts.unwrap().is_some()
    };
    assert!(shown().await.is_none() && !counted().await);
    overseen(&fixture).await;
    assert_eq!(shown().await.unwrap().items.len(), 1);
    assert!(counted().await);
    let source = Directory::shipped().source().replace(
        "en: Nanning network-police desk}, superior: police-450000}",
        "en: Nanning network-police desk}, superior: police-CN}",
    );
    let directory = Directory::parse(&source, Directory::shipped().territories()).unwrap();
    let activation = Activation {
        seen: fixture.store.active().digests(),
        next: shipped().with_directory(Arc::new(directory)).unwrap(),
        hand: crate::fixture::first(),
        difference: Default::default(),
        purpose: String::new(),
        actor: Default::default(),
        traceparent: String::new(),
        request: None,
    };
    let activated = crate::fixture::activate(&*fixture.store, activation, fixture.now()).await;
    assert!(matches!(activated, Activated::Done(_)), "{activated:?}");
    // From the switch on.
    assert!(shown().await.is_none() && !counted().await);
    let one = async |superior: &str| fixture.store.case_below(case, &agency(superior)).await.unwrap();
    assert!(matches!(one("police-450000").await, Some(None)));
    assert!(
        one("police-440000").await.is_none(),
        "a stranger is told the same as ever"
    );
    overseen(&fixture).await;
    assert_eq!(shown().await.unwrap().items.len(), 0);
    assert!(one("police-450000").await.is_none());
    assert!(matches!(one("police-CN").await, Some(Some(_))));
    assert_eq!(below(&fixture, "police-CN", None).await, BTreeSet::from([case]));
    // It is done once.
    assert_eq!(fixture.store.oversee(None, 10).await.unwrap(), None);
}

async fn p7_a_directory_that_comes_back_makes_all_rows_anew(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let succeeds = ("police-130400", "valid_to: 2026-12-31, successor: police-450000");
    fixture.apply(&[succeeds]).await;
    let barring = Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let facts = [barring, gambling()];
    let cases = fixture.open(&facts).await;
    overseen(&fixture).await;
    let one = async |superior: &str| fixture.store.case_below(cases[0], &agency(superior)).await.unwrap();
    assert!(one("police-450000").await.is_none());
    fixture.apply(&[]).await;
    // One batch is done by the directory without the succession, by which the superior oversees
    // all.
    assert!(fixture.store.oversee(None, 1).await.unwrap().is_some());
    let forged = "INSERT INTO case_below (case_id, superior, owner, stage, runs, place, made_by) \
                  SELECT case_id, 'police-450000', 'police-450100', state, 1, 1, sequence FROM case_states";
    fixture.execute("DELETE FROM case_below").await;
    fixture.execute(forged).await;
    fixture.apply(&[succeeds]).await;
    let superior = agency("police-450000");
    let shown = async || fixture.store.below(&superior, None, None, None, 10).await.unwrap();
    assert!(shown().await.is_none(), "the rows are of the directory between");
    assert!(matches!(one("police-450000").await, Some(None)));
    overseen(&fixture).await;
    assert_eq!(below(&fixture, "police-450000", None).await, BTreeSet::from([cases[1]]));
    assert!(one("police-450000").await.is_none());
}

async fn p7_what_a_replica_of_an_earlier_version_changes_is_not_shown_as_it_was(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    overseen(&fixture).await;
    let mut cases = fixture.open(&[gambling(), gambling()]).await;
    cases.sort();
    let all = cases.iter().copied().collect::<BTreeSet<_>>();
    assert!(matches!(
        fixture.act(by(cases[0], "police-450100")).await,
        Acted::Done(_)
    ));
    assert_eq!(below(&fixture, "police-450000", None).await, all);
    // Changed, with the rows as they were.
    fixture.execute("UPDATE case_states SET sequence = sequence + 1").await;
    let superior = agency("police-450000");
    let one = async || fixture.store.case_below(cases[1], &superior).await.unwrap();
    assert_eq!(below(&fixture, "police-450000", None).await.len(), 0);
    assert_eq!(worklists(&fixture, "police-450000", None).await, []);
    assert!(one().await.is_none());
    let first = fixture.store.oversee_late(None, 1).await.unwrap();
    assert_eq!(first, Some(cases[0].to_string()));
    assert_eq!(below(&fixture, "police-450000", None).await, BTreeSet::from([cases[0]]));
    fixture.ticker(&fixture.store).oversee_late().await.unwrap();
    assert_eq!(below(&fixture, "police-450000", None).await, all);
    assert!(matches!(one().await, Some(Some(_))));
    // Opened, without any.
    fixture.execute("DELETE FROM case_below").await;
    fixture.ticker(&fixture.store).poll(&mut None).await;
    assert_eq!(below(&fixture, "police-CN", None).await, all);
}

fn listing(worklist: Wire) -> ListCasesRequest {
    ListCasesRequest {
        below: true,
        page_size: 1,
        worklist: worklist.into(),
        ..ListCasesRequest::default()
    }
}

async fn p7_a_superior_sees_the_outline_of_a_case_and_supervises_it_from_the_list(backend: Backend) {
    let running = Running::start(backend).await;
    let cases = running.fixture.open(&[gambling(), gambling(), official()]).await;
    overseen(&running.fixture).await;
    let mut client = running.caller("guangxi");
    let first = client.list_cases(listing(Wire::Due)).await.unwrap().into_inner();
    let case = first.cases[0].clone();
    let clock = case.clocks[0].clone();
    let outline = Case {
        name: case.name.clone(),
        state: CaseState::Assigned.into(),
        category: "categories/gambling".to_owned(),
        lead: "agencies/police-450100".to_owned(),
        lead_titles: case.lead_titles.clone(),
        clocks: vec![Clock {
            kind: ClockKind::Acknowledge.into(),
            owner: "agencies/police-450100".to_owned(),
            due_time: clock.due_time,
            ..Clock::default()
        }],
        ..Case::default()
    };
    assert!(clock.due_time.is_some() && !case.lead_titles.is_empty());
    assert_eq!(
        case, outline,
        "exactly these: no reports, no history, no etag, and of the clock when it ends"
    );
    assert_eq!(running.get("guangxi", &case.name).await.unwrap(), outline);
    let token = first.next_page_token;
    let next = ListCasesRequest {
        page_token: token.clone(),
        ..listing(Wire::Due)
    };
    let second = client.list_cases(next.clone()).await.unwrap().into_inner();
    assert_eq!((second.cases.len(), second.next_page_token.as_str()), (1, ""));
    // A token is of its list.
    for other in [
        ListCasesRequest {
            below: false,
            ..next.clone()
        },
        ListCasesRequest {
            lead: "agencies/police-450100".to_owned(),
            ..next.clone()
        },
    ] {
        refused(client.list_cases(other).await, Code::InvalidArgument, "INVALID_INPUT");
    }
    let of = |lead: &str| CountWorklistsRequest {
        below: true,
        lead: lead.to_owned(),
        ..CountWorklistsRequest::default()
    };
    for (lead, found) in [("", 2), ("agencies/police-450100", 2), ("agencies/police-450200", 0)] {
        let counts = client.count_worklists(of(lead)).await.unwrap().into_inner().counts;
        assert_eq!(
            (counts[0].worklist(), counts[0].case_count),
            (Wire::Due, found),
            "{lead}"
        );
        assert_eq!(counts.len(), Worklist::BELOW.len());
    }
    // Not of others, not of itself, nor of what is no list of theirs.
    for lead in [
        "agencies/police-440000",
        "agencies/police-450000",
        "agencies/none",
        "police",
    ] {
        let answer = client.count_worklists(of(lead)).await;
        refused(answer, Code::InvalidArgument, "INVALID_INPUT");
    }
    let ended = ListCasesRequest {
        worklist: 0,
        state: CaseState::Closed.into(),
        ..listing(Wire::Due)
    };
    let of_officer = ListCasesRequest {
        officer: "o-1".to_owned(),
        ..listing(Wire::Due)
    };
    let without = ListCasesRequest {
        below: false,
        lead: "agencies/police-450100".to_owned(),
        ..listing(Wire::Due)
    };
    for wrong in [ended, of_officer, without, listing(Wire::Pool), listing(Wire::Unread)] {
        let answer = client.list_cases(wrong.clone()).await;
        refused(answer, Code::InvalidArgument, "INVALID_INPUT");
    }
    let operator = running.caller("operator").list_cases(listing(Wire::Unspecified)).await;
    refused(operator, Code::InvalidArgument, "INVALID_INPUT");
    // Others are told what they were told before.
    for stranger in ["handan", "inspection"] {
        let answer = running.get(stranger, &case.name).await;
        refused(answer, Code::NotFound, "NOT_FOUND");
        let listed = running.caller(stranger).list_cases(listing(Wire::Unspecified)).await;
        assert!(listed.unwrap().into_inner().cases.is_empty(), "{stranger}");
    }
    let acknowledge = AcknowledgeCaseRequest {
        name: case.name.clone(),
        ..AcknowledgeCaseRequest::default()
    };
    let answer = client.acknowledge_case(acknowledge).await;
    let status = refused(answer, Code::PermissionDenied, "DENIED");
    assert!(status.message().contains("supervise"), "{status:?}");
    assert!(
        running.list("guangxi").await.is_empty(),
        "its own lists have nothing of it"
    );
    // From the list.
    let supervise = SuperviseCaseRequest {
        name: case.name.clone(),
        note: "report weekly".to_owned(),
        ..SuperviseCaseRequest::default()
    };
    let seen = client.supervise_case(supervise).await.unwrap().into_inner();
    let seen = seen.current_case.unwrap();
    assert!(!seen.etag.is_empty() && !seen.reports.is_empty());
    let listed = client.list_cases(listing(Wire::Due)).await.unwrap().into_inner().cases;
    let whole: Vec<_> = listed.iter().filter(|case| !case.etag.is_empty()).collect();
    assert!(whole.iter().all(|of| of.name == case.name));
    assert!(cases.iter().any(|id| case.name == format!("cases/{id}")));
    running.finish().await;
}
