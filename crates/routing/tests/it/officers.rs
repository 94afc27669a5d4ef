//! Who works on a case inside an agency: for the agency alone, on its officers' lists, in the log.

use std::{collections::BTreeSet, time::Duration};

use api::event::{Detail, StateChange};
use api::routing::{
    AssignCaseRequest, AssignCaseResponse, BatchAssignCasesRequest, Case, CountWorklistsRequest, ListCasesRequest,
    Worklist as Wire, assign_case_request::Assignee as To, batched_case::Result as Became,
    case_service_client::CaseServiceClient,
};
use journal::{Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Action, Assign, Assignee, Escalate, Reason, Transfer, Worklist};
use routing::store::{Acted, Command, Listing, Read, Store as _};
use rpc::{
    Officer,
    client::{Bearer, Caller, connect_for},
};
use testkit::Backend;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::{Fixture, agency, agency_viewer, by, command, gambling, official, request};
use crate::service::{Running, refused, token};

testkit::on_each_backend!(
    p7_an_assignment_is_seen_by_its_agency_alone,
    p7_counts_of_an_officer_equal_lists,
    p1_an_assignment_is_logged_as_a_record_of_its_own,
    an_assignment_ends_with_the_part,
    one_of_two_takes_from_the_pool,
    officers_are_persons_with_names_in_one_form,
    the_cases_of_a_leaver_are_moved_in_one_act,
);

fn assign(case: Uuid, at: &str, to: Assignee) -> Command {
    let action = Action::Assign(Assign {
        to,
        former: None,
        by: "o-1".to_owned(),
        commitment: vec![7; 32],
    });
    command(case, at, action)
}

/// The same, from the officer who has it.
fn from(command: Command, officer: &str) -> Command {
    let Action::Assign(assign) = command.action else {
        panic!()
    };
    let action = Action::Assign(Assign {
        former: Some(officer.to_owned()),
        ..assign
    });
    Command { action, ..command }
}

fn to(officer: &str) -> Assignee {
    Assignee::Officer(officer.to_owned())
}

async fn done(fixture: &Fixture, command: Command) {
    let acted = fixture.act(command).await;
    assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    fixture.assert_promises().await;
}

/// The cases of an officer on a worklist, with pages of each size; counted, too.
async fn of(fixture: &Fixture, at: &str, officers: &[&str], worklist: Worklist) -> Vec<Uuid> {
    let officers: Vec<String> = officers.iter().map(|officer| (*officer).to_owned()).collect();
    let listing = Listing::Worklist(worklist, fixture.now());
    let at = agency(at);
    let mut lists = BTreeSet::new();
    for size in [1, 2, 100] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = fixture.store.cases_of_officers(&at, &officers, listing, after, size);
            let page = page.await.unwrap();
            all.extend(page.items.iter().map(|case| case.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        lists.insert(all);
    }
    assert_eq!(lists.len(), 1, "pages of each size have the same: {lists:?}");
    let listed = lists.pop_first().unwrap();
    let counts = fixture.store.count_of_officers(&at, &officers, fixture.now(), 100);
    let counts = counts.await.unwrap().unwrap();
    let count = counts.iter().find(|(of, _)| *of == worklist).unwrap().1;
    assert_eq!(count as usize, listed.len(), "{at} {officers:?} {worklist:?}");
    listed
}

async fn p7_an_assignment_is_seen_by_its_agency_alone(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    let case = fixture.open(&[gambling()]).await[0];
    let name = format!("cases/{case}");
    for at in ["police-450100", "police-440000"] {
        let read = Read {
            case,
            agency: agency(at),
            sequence: 1,
        };
        fixture.store.read(&[read]).await.unwrap();
    }
    let shown = async |system: &str| running.get(system, &name).await.unwrap();
    let before = (shown("nanning").await, shown("guangdong").await);
    let feeds = async || {
        (
            fixture.feed("police-450100", 0).await.len(),
            fixture.feed("police-440000", 0).await.len(),
        )
    };
    let fed = feeds().await;
    done(fixture, assign(case, "police-450100", to("o-2"))).await;
    for at in ["police-450100", "police-440000"] {
        assert!(!fixture.store.is_unread(&agency(at), case).await.unwrap(), "{at}");
    }
    // The agency sees it by every door.
    let own = shown("nanning").await;
    let assigned = own.assignment.clone().unwrap();
    assert_eq!((assigned.officer.as_str(), assigned.assigner.as_str()), ("o-2", "o-1"));
    assert_eq!(running.list("nanning-second").await[0].assignment, Some(assigned));
    // For everybody else nothing has changed: neither the case nor that it was read.
    assert_eq!(shown("guangdong").await, before.1);
    assert_eq!(running.list("guangdong").await[0].assignment, None);
    assert_eq!(running.list("operator").await[0].assignment, None);
    assert_eq!(running.get("operator", &name).await.unwrap().assignment, None);
    assert_eq!(feeds().await, (fed.0 + 1, fed.1));
    assert_eq!(
        Case {
            assignment: None,
            ..own
        },
        before.0,
        "not even its etag"
    );
    assert_eq!(fixture.kinds(case).await, ["case.opened"]);
    // An agency that has not read the case has still not read it since the same change.
    let other = fixture.open(&[gambling()]).await[0];
    let unread = "SELECT CAST(sum(place) AS BIGINT) FROM case_lists WHERE list = 'unread'";
    let places = fixture.count(unread).await;
    fixture.clock.advance(60);
    done(fixture, assign(other, "police-450100", to("o-2"))).await;
    assert_eq!(fixture.count(unread).await, places);
    assert_eq!(of(fixture, "police-450100", &["o-2"], Worklist::Unread).await, [other]);
    assert_eq!(
        of(fixture, "police-440000", &["o-2"], Worklist::Unread).await,
        [] as [Uuid; 0]
    );
    // Who has no part is told that there is no such case; who has one that does not assign, what is
    // so.
    for (at, acted) in [
        ("police-450200", None),
        ("police-510100", None),
        ("police-440000", Some("o-2")),
    ] {
        let assigned = fixture.act(assign(case, at, to("o-2"))).await;
        match acted {
            None => assert_eq!(assigned, Acted::NotFound, "{at}"),
            Some(officer) => {
                assert!(matches!(assigned, Acted::Done(_)), "{assigned:?}");
                let stored = fixture.case(case).await;
                assert_eq!(stored.case.officer_at(&agency(at)), Some(officer));
            }
        }
    }
    running.finish().await;
}

async fn p7_counts_of_an_officer_equal_lists(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut cases = Vec::new();
    for _ in 0..6 {
        cases.extend(fixture.open(&[gambling()]).await);
        fixture.clock.advance(60);
    }
    let desk = "police-450100";
    for (at, officer) in [(0, "o-1"), (1, "o-2"), (2, "o-1"), (4, "o-2"), (5, "o-3")] {
        done(&fixture, assign(cases[at], desk, to(officer))).await;
    }
    assert_eq!(
        of(&fixture, desk, &["o-1"], Worklist::Assigned).await,
        [cases[0], cases[2]]
    );
    assert_eq!(
        of(&fixture, desk, &["o-1", "o-2"], Worklist::Due).await,
        [cases[0], cases[1], cases[2], cases[4]]
    );
    assert_eq!(of(&fixture, desk, &["o-9"], Worklist::Due).await, [] as [Uuid; 0]);
    assert_eq!(
        of(&fixture, "police-440000", &["o-1"], Worklist::Due).await,
        [] as [Uuid; 0]
    );
    assert_eq!(of(&fixture, desk, &["o-1"], Worklist::Pool).await, [] as [Uuid; 0]);
    let listing = Listing::Worklist(Worklist::Pool, fixture.now());
    let pool = fixture
        .store
        .cases(&agency_viewer(desk), Some(listing), None, 10)
        .await
        .unwrap();
    assert_eq!(pool.items.iter().map(|case| case.id).collect::<Vec<_>>(), [cases[3]]);
    // What the directory in force hides is on no officer's list, nor counted.
    let barring = api::routing::Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    let hidden = fixture.open(&[barring]).await[0];
    done(&fixture, assign(hidden, desk, to("o-1"))).await;
    assert_eq!(of(&fixture, desk, &["o-1"], Worklist::Assigned).await.len(), 3);
    fixture
        .apply(&[("police-130400", "valid_to: 2026-12-31, successor: police-450100")])
        .await;
    assert_eq!(
        of(&fixture, desk, &["o-1"], Worklist::Assigned).await,
        [cases[0], cases[2]]
    );
    assert_eq!(
        of(&fixture, desk, &["o-2"], Worklist::Assigned).await,
        [cases[1], cases[4]]
    );
    assert_eq!(fixture.act(assign(hidden, desk, to("o-2"))).await, Acted::NotFound);
}

async fn p1_an_assignment_is_logged_as_a_record_of_its_own(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    done(&fixture, assign(case, "police-450100", to("o-2"))).await;
    done(&fixture, from(assign(case, "police-450100", Assignee::Pool), "o-2")).await;
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("audit", fixture.now(), 1_000).await.unwrap();
    let logged: Vec<_> = told
        .iter()
        .filter(|told| told.record.starts_with("assignments/"))
        .collect();
    assert_eq!(logged.len(), 2);
    assert_ne!(logged[0].record, logged[1].record, "none tells of the other");
    for told in &logged {
        let change = StateChange::decode(told.payload.as_slice()).unwrap();
        let detail = Detail::decode(change.detail.unwrap().content).unwrap();
        assert_eq!(detail.assigned_case, format!("cases/{case}"));
        assert_eq!(detail.actor.unwrap().agency, "agencies/police-450100");
        assert_eq!(detail.assignee_commitment, vec![7; 32], "as the caller made it");
        assert!(
            !told.payload.windows(3).any(|bytes| bytes == b"o-2"),
            "no name is logged"
        );
    }
    // Intake, and so reporters, are not told.
    let told = outbox.pending("intake", fixture.now(), 1_000).await.unwrap();
    assert!(told.iter().all(|told| !told.record.starts_with("assignments/")));
    // A repeat of a request has the first answer and is logged once.
    let repeated = request(assign(case, "police-450100", to("o-3")), 5, 5);
    let first = fixture.act(repeated.clone()).await;
    assert!(matches!(first, Acted::Done(_)), "{first:?}");
    assert_eq!(fixture.act(repeated).await, first);
    assert_eq!(
        fixture
            .count("SELECT count(*) FROM journal WHERE kind = 'case.assigned'")
            .await,
        3
    );
    fixture.assert_promises().await;
}

async fn an_assignment_ends_with_the_part(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), gambling()]).await;
    for case in &cases {
        done(&fixture, by(*case, "police-450100")).await;
        done(&fixture, assign(*case, "police-450100", to("o-2"))).await;
        done(&fixture, assign(*case, "police-440000", to("o-8"))).await;
    }
    let transfer = Action::Transfer(Transfer {
        to: agency("police-510100"),
        reason: Reason::Place,
        keep_supporting: false,
    });
    done(&fixture, command(cases[0], "police-450100", transfer)).await;
    let escalate = Action::Escalate(Escalate { reason: Reason::Level });
    done(&fixture, command(cases[1], "police-450100", escalate)).await;
    assert_eq!(
        of(&fixture, "police-450100", &["o-2"], Worklist::Assigned).await,
        [cases[1]],
        "it supports"
    );
    assert_eq!(
        of(&fixture, "police-510100", &["o-2"], Worklist::Assigned).await,
        [] as [Uuid; 0]
    );
    assert_eq!(
        of(&fixture, "police-440000", &["o-8"], Worklist::Assigned).await.len(),
        2
    );
    // Read by another replica as it was written.
    let other = fixture.replica().await;
    let read = other
        .case(cases[1], &agency_viewer("police-450100"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.case, fixture.case(cases[1]).await.case);
}

async fn one_of_two_takes_from_the_pool(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    let take = |officer: &str| {
        let action = Action::Assign(Assign {
            to: Assignee::Acting,
            former: None,
            by: officer.to_owned(),
            commitment: Vec::new(),
        });
        command(case, "police-450100", action)
    };
    let acted = fixture
        .store
        .act(&[take("o-1"), take("o-2")], fixture.now())
        .await
        .unwrap();
    assert!(matches!(acted[0], Acted::Done(_)), "{acted:?}");
    let told = format!("{:?}", acted[1]);
    assert!(told.contains("another officer of your agency has it"), "{told}");
    assert_eq!(
        fixture.case(case).await.case.officer_at(&agency("police-450100")),
        Some("o-1")
    );
    // In one commit with a change that is one for all: each does its own.
    let other = fixture.open(&[gambling()]).await[0];
    let both = [
        assign(other, "police-450100", to("o-2")),
        by(other, "police-450100"),
        assign(other, "police-440000", to("o-8")),
    ];
    let acted = fixture.store.act(&both, fixture.now()).await.unwrap();
    assert!(acted.iter().all(|acted| matches!(acted, Acted::Done(_))), "{acted:?}");
    fixture.assert_promises().await;
    assert_eq!(fixture.kinds(other).await, ["case.opened", "case.acknowledged"]);
    assert!(fixture.store.is_unread(&agency("police-440000"), other).await.unwrap());
    assert!(
        !fixture.store.is_unread(&agency("police-450100"), other).await.unwrap(),
        "it made the change"
    );
}

fn client(running: &Running, system: &str, officer: Option<&str>) -> CaseServiceClient<Caller> {
    let officer = officer.map(|officer| Officer::new(officer).unwrap());
    let channel = connect_for(
        &running.address,
        &Bearer::new(&token(system)).unwrap(),
        officer.as_ref(),
        Some(Duration::from_secs(20)),
    );
    CaseServiceClient::new(channel.unwrap())
}

fn asked(case: Uuid, assignee: Option<To>) -> AssignCaseRequest {
    AssignCaseRequest {
        name: format!("cases/{case}"),
        assignee,
        ..AssignCaseRequest::default()
    }
}

fn officer(answer: Result<Response<AssignCaseResponse>, Status>) -> Option<String> {
    let case = answer.unwrap().into_inner().current_case.unwrap();
    case.assignment.map(|assigned| assigned.officer)
}

async fn officers_are_persons_with_names_in_one_form(backend: Backend) {
    let running = Running::start(backend).await;
    let case = running.fixture.open(&[gambling()]).await[0];
    let fields = |status: Status| {
        let bad = status.get_details_bad_request().unwrap().field_violations;
        bad.into_iter().map(|bad| bad.field).collect::<Vec<_>>()
    };
    // A system is no person: who acts is named. All that is wrong is told at once.
    for (assignee, expected) in [
        (Some(To::ActingOfficer(true)), vec!["remit-officer-bin"]),
        (Some(To::Officer("o-2".to_owned())), vec!["remit-officer-bin"]),
        (Some(To::Pool(true)), vec!["remit-officer-bin"]),
        (None, vec!["assignee", "remit-officer-bin"]),
        (Some(To::Pool(false)), vec!["assignee", "remit-officer-bin"]),
        (Some(To::Officer(String::new())), vec!["officer", "remit-officer-bin"]),
        (
            Some(To::Officer("字".repeat(101))),
            vec!["officer", "remit-officer-bin"],
        ),
    ] {
        let status = client(&running, "nanning", None)
            .assign_case(asked(case, assignee))
            .await;
        assert_eq!(
            fields(refused(status, Code::InvalidArgument, "INVALID_INPUT")),
            expected
        );
    }
    let mut nanning = client(&running, "nanning", Some("o-1"));
    let take = || asked(case, Some(To::ActingOfficer(true)));
    assert_eq!(officer(nanning.assign_case(take()).await).as_deref(), Some("o-1"));
    // One name in two spellings is one officer: composed, and of a letter and its accent.
    let (composed, combined) = ("Ren\u{e9}", "Rene\u{301}");
    let name = |name: &str| Some(To::Officer(name.to_owned()));
    assert_eq!(
        officer(nanning.assign_case(asked(case, name(combined))).await).as_deref(),
        Some(composed)
    );
    let same = nanning.assign_case(asked(case, name(composed))).await;
    let same = refused(same, Code::InvalidArgument, "INVALID_INPUT");
    assert_eq!(fields(same), ["assignee"], "it has it already");
    for spelling in [composed, combined, "RENÉ", "Ｒené"] {
        let listed = ListCasesRequest {
            officer: spelling.to_owned(),
            ..ListCasesRequest::default()
        };
        let listed = nanning.list_cases(listed).await.unwrap().into_inner().cases;
        assert_eq!(listed.len(), 1, "{spelling:?}");
        let counted = CountWorklistsRequest {
            officer: spelling.to_owned(),
            ..CountWorklistsRequest::default()
        };
        let counts = nanning.count_worklists(counted).await.unwrap().into_inner().counts;
        let count = counts.iter().find(|count| count.worklist() == Wire::Assigned).unwrap();
        assert_eq!(count.case_count, 1);
    }
    // Another takes it only by naming who has it.
    let mut second = client(&running, "nanning-second", Some("o-5"));
    refused(
        second.assign_case(take()).await,
        Code::FailedPrecondition,
        "WRONG_STATE",
    );
    let moved = |former: &str| AssignCaseRequest {
        former_officer: former.to_owned(),
        ..asked(case, name("o-5"))
    };
    refused(
        second.assign_case(moved("o-1")).await,
        Code::FailedPrecondition,
        "WRONG_STATE",
    );
    assert_eq!(
        officer(second.assign_case(moved(combined)).await).as_deref(),
        Some("o-5")
    );
    assert_eq!(
        officer(second.assign_case(asked(case, Some(To::Pool(true)))).await),
        None
    );
    // Lists of officers are of agencies, and tokens of lists.
    let of_officer = |officer: &str, page_token: &str| ListCasesRequest {
        officer: officer.to_owned(),
        page_size: 1,
        page_token: page_token.to_owned(),
        ..ListCasesRequest::default()
    };
    let operators = running.caller("operator").list_cases(of_officer("o-5", "")).await;
    assert_eq!(
        fields(refused(operators, Code::InvalidArgument, "INVALID_INPUT")),
        ["officer"]
    );
    let blank = running.caller("nanning").list_cases(of_officer("\u{200b}", "")).await;
    refused(blank, Code::InvalidArgument, "INVALID_INPUT");
    let more = running.fixture.open(&[gambling(), gambling()]).await;
    for case in more {
        officer(second.assign_case(asked(case, name("o-7"))).await);
    }
    let first = second.list_cases(of_officer("o-7", "")).await.unwrap().into_inner();
    let token = first.next_page_token.as_str();
    assert_eq!((first.cases.len(), token.is_empty()), (1, false));
    let next = second.list_cases(of_officer("o-7", token)).await.unwrap().into_inner();
    assert_eq!((next.cases.len(), next.next_page_token.as_str()), (1, ""));
    for other in ["o-5", ""] {
        let answer = second.list_cases(of_officer(other, token)).await;
        refused(answer, Code::InvalidArgument, "INVALID_INPUT");
    }
    running.finish().await;
}

async fn the_cases_of_a_leaver_are_moved_in_one_act(backend: Backend) {
    let running = Running::start(backend).await;
    let mut facts = vec![gambling(); 5];
    facts.push(official());
    let cases = running.fixture.open(&facts).await;
    let mut nanning = client(&running, "nanning", Some("o-1"));
    let give = |case: Uuid, to: &str, former: &str| AssignCaseRequest {
        former_officer: former.to_owned(),
        ..asked(case, Some(To::Officer(to.to_owned())))
    };
    let mut run = async |requests: Vec<AssignCaseRequest>| {
        let answer = nanning.batch_assign_cases(BatchAssignCasesRequest { requests }).await;
        Ok::<_, Status>(answer?.into_inner().results)
    };
    let leaving = cases[..4].iter().map(|case| give(*case, "o-2", ""));
    let results = run(leaving.collect()).await.unwrap();
    assert!(
        results
            .iter()
            .all(|result| matches!(result.result, Some(Became::Sight(_))))
    );
    // Nobody takes one from another without knowing from whom.
    let results = run(vec![give(cases[3], "o-4", "")]).await.unwrap();
    assert!(matches!(&results[0].result, Some(Became::Error(error)) if error.message.contains("former_officer")));
    // One moved meanwhile stays; one that is not the agency's is as if it did not exist.
    run(vec![give(cases[3], "o-4", "o-2")]).await.unwrap();
    let moving = cases.iter().map(|case| give(*case, "o-3", "o-2"));
    let results = run(moving.collect()).await.unwrap();
    let codes: Vec<_> = results
        .iter()
        .map(|result| match &result.result {
            Some(Became::Error(error)) => Code::from_i32(error.code),
            _ => Code::Ok,
        })
        .collect();
    let (done, refused_one) = (Code::Ok, Code::FailedPrecondition);
    assert_eq!(codes, [done, done, done, refused_one, refused_one, Code::NotFound]);
    let fixture = &running.fixture;
    assert_eq!(
        of(fixture, "police-450100", &["o-2"], Worklist::Assigned).await,
        [] as [Uuid; 0]
    );
    let moved: BTreeSet<_> = of(fixture, "police-450100", &["o-3"], Worklist::Assigned)
        .await
        .into_iter()
        .collect();
    assert_eq!(moved, cases[..3].iter().copied().collect());
    assert_eq!(
        of(fixture, "police-450100", &["o-4"], Worklist::Assigned).await,
        [cases[3]]
    );
    let many = (0..501).map(|i| give(Uuid::from_u128(i), "o-3", "")).collect();
    refused(run(many).await, Code::InvalidArgument, "INVALID_INPUT");
    fixture.assert_promises().await;
    running.finish().await;
}
