//! Cases in the store: opened once, with their event, and taken over once.

use api::event::{CaseState, ClockKind, ConnectingFactor, Detail, StateChange};
use api::intake::CaseChange;
use api::routing::{Case, Facts, LeadOriginHow, case_sight};
use decision::decide::facts_digest;
use journal::{Arrival, Discontinuity, Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Refusal as Refused, State};
use routing::store::{Acted, Store as _};
use routing::view;
use testkit::Backend;

use crate::fixture::{DAY, Fixture, HOUR, by, decided, facts, gambling, news, official, request, standing};

testkit::on_each_backend!(
    p1_state_and_event_are_written_together_or_not_at_all,
    p2_the_same_change_twice_opens_one_case,
    p2_the_same_change_at_two_replicas_opens_one_case,
    p2_out_of_order_is_refused_and_neighbours_are_kept,
    ids_of_cases_sort_by_time,
    p6_a_stored_case_can_be_decided_again,
    intake_and_audit_are_told,
    an_advised_report_has_a_case_that_ended,
    only_the_lead_takes_a_case_over_and_only_once,
    a_request_id_stands_for_its_first_answer,
    a_group_answers_each_member,
);

/// Each table that a change writes to, taken away and brought back.
const TABLES: [(&str, &str); 10] = [
    (
        "ALTER TABLE case_lists RENAME TO gone",
        "ALTER TABLE gone RENAME TO case_lists",
    ),
    (
        "ALTER TABLE case_clocks RENAME TO gone",
        "ALTER TABLE gone RENAME TO case_clocks",
    ),
    (
        "ALTER TABLE case_states RENAME TO gone",
        "ALTER TABLE gone RENAME TO case_states",
    ),
    (
        "ALTER TABLE case_parties RENAME TO gone",
        "ALTER TABLE gone RENAME TO case_parties",
    ),
    (
        "ALTER TABLE case_reports RENAME TO gone",
        "ALTER TABLE gone RENAME TO case_reports",
    ),
    (
        "ALTER TABLE journal RENAME TO gone",
        "ALTER TABLE gone RENAME TO journal",
    ),
    ("ALTER TABLE outbox RENAME TO gone", "ALTER TABLE gone RENAME TO outbox"),
    ("ALTER TABLE inbox RENAME TO gone", "ALTER TABLE gone RENAME TO inbox"),
    ("ALTER TABLE feed RENAME TO gone", "ALTER TABLE gone RENAME TO feed"),
    (
        "ALTER TABLE feed_head RENAME TO gone",
        "ALTER TABLE gone RENAME TO feed_head",
    ),
];

const EVERYTHING: &str = "SELECT (SELECT count(*) FROM cases) + (SELECT count(*) FROM case_states) \
     + (SELECT count(*) FROM case_reports) + (SELECT count(*) FROM case_clocks) + (SELECT count(*) FROM case_parties) + (SELECT count(*) FROM journal WHERE record LIKE 'cases/%') \
     + (SELECT count(*) FROM outbox WHERE record LIKE 'cases/%') + (SELECT count(*) FROM inbox) + (SELECT count(*) FROM feed) + (SELECT count(*) FROM case_lists) \
     + (SELECT CAST(sum(position) AS BIGINT) FROM feed_head) + (SELECT count(*) FROM requests)";

async fn p1_state_and_event_are_written_together_or_not_at_all(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let arrival = fixture.arrival(&gambling());
    for (away, back) in TABLES {
        fixture.execute(away).await;
        assert!(
            fixture
                .store
                .open(std::slice::from_ref(&arrival), fixture.now())
                .await
                .is_err(),
            "{away}"
        );
        fixture.execute(back).await;
        assert_eq!(fixture.count(EVERYTHING).await, 0, "{away}");
    }
    let case = fixture.open(&[gambling()]).await[0];
    let opened = fixture.count(EVERYTHING).await;
    for (away, back) in TABLES.into_iter().filter(|(away, _)| {
        !["case_reports", "case_parties", "inbox"]
            .iter()
            .any(|table| away.contains(table))
    }) {
        fixture.execute(away).await;
        let command = request(by(case, "police-450100"), 1, 1);
        assert!(fixture.store.act(&[command], fixture.now()).await.is_err(), "{away}");
        fixture.execute(back).await;
        assert_eq!(fixture.count(EVERYTHING).await, opened, "{away}");
    }
    assert_eq!(fixture.case(case).await.case.state(), State::ASSIGNED);
    fixture.assert_promises().await;
}

async fn p2_the_same_change_twice_opens_one_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let arrival = fixture.arrival(&gambling());
    let both = [arrival.clone(), arrival.clone()];
    assert_eq!(
        fixture.store.open(&both, fixture.now()).await.unwrap(),
        [Arrival::New, Arrival::Repeated]
    );
    assert_eq!(
        fixture.store.open(&[arrival], fixture.now()).await.unwrap(),
        [Arrival::Repeated]
    );
    assert_eq!(fixture.count("SELECT count(*) FROM cases").await, 1);
    let changes = "SELECT count(*) FROM journal WHERE record LIKE 'cases/%'";
    assert_eq!(fixture.count(changes).await, 1);
}

async fn p2_the_same_change_at_two_replicas_opens_one_case(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let other = fixture.replica().await;
    for _ in 0..10 {
        let batch: Vec<_> = (0..8).map(|_| fixture.arrival(&gambling())).collect();
        let (one, two) = futures::join!(
            fixture.store.open(&batch, fixture.now()),
            other.open(&batch, fixture.now())
        );
        for (one, two) in one.unwrap().into_iter().zip(two.unwrap()) {
            assert!(
                matches!(
                    (one, two),
                    (Arrival::New, Arrival::Repeated) | (Arrival::Repeated, Arrival::New)
                ),
                "{one:?} {two:?}"
            );
        }
    }
    assert_eq!(fixture.count("SELECT count(*) FROM cases").await, 80);
    fixture.assert_promises().await;
}

async fn p2_out_of_order_is_refused_and_neighbours_are_kept(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let (report, first, _) = fixture.accepted(gambling());
    let second = fixture.change(report, "report.routed", &first.head);
    let third = fixture.change(report, "report.closed", &second.head);
    let forged = fixture.change(
        report,
        "report.withdrawn",
        &journal::Head {
            hash: [9; 32],
            ..first.head
        },
    );
    let neighbours = [fixture.arrival(&gambling()), fixture.arrival(&official())];
    let route = Some((gambling(), decided(&gambling())));
    let batch = [
        neighbours[0].clone(),
        news(report, &second, None),
        neighbours[1].clone(),
    ];
    assert_eq!(
        fixture.store.open(&batch, fixture.now()).await.unwrap(),
        [Arrival::New, Arrival::Refused(Discontinuity::OutOfOrder), Arrival::New]
    );
    assert_eq!(fixture.count("SELECT count(*) FROM cases").await, 2);
    let batch = [
        news(report, &first, route),
        news(report, &forged, None),
        news(report, &second, None),
        news(report, &third, None),
    ];
    assert_eq!(
        fixture.store.open(&batch, fixture.now()).await.unwrap(),
        [
            Arrival::New,
            Arrival::Refused(Discontinuity::BrokenLink),
            Arrival::New,
            Arrival::New
        ]
    );
    assert_eq!(fixture.count("SELECT count(*) FROM cases").await, 3);
    fixture.assert_promises().await;
}

async fn ids_of_cases_sort_by_time(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.extend(fixture.open(&[gambling()]).await);
        fixture.clock.advance(1);
    }
    assert!(
        ids.is_sorted() && ids.iter().all(|id| id.get_version_num() == 7),
        "{ids:?}"
    );
}

async fn p6_a_stored_case_can_be_decided_again(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[official()]).await[0];
    let rows = fixture
        .rows("SELECT facts FROM cases WHERE id = $1", vec![case.to_string().into()])
        .await;
    let bytes: Vec<u8> = rows[0].only().unwrap();
    let stored = Facts::decode(bytes.as_slice()).unwrap();
    let explanation = fixture.case(case).await.opening.unwrap().explanation;
    // What is kept commits to the facts, under a salt of its own.
    let digest = facts_digest(&stored, &explanation.facts_salt);
    assert_eq!(
        (digest.as_slice(), explanation.facts_salt.len()),
        (&*explanation.facts_digest, 32)
    );
    let without = api::routing::Explanation {
        facts_digest: Default::default(),
        facts_salt: Default::default(),
        ..explanation
    };
    assert_eq!(decided(&stored).explanation, without);
}

async fn intake_and_audit_are_told(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let arrival = fixture.arrival(&official());
    fixture
        .store
        .open(std::slice::from_ref(&arrival), fixture.now())
        .await
        .unwrap();
    let case = fixture.case_of(arrival.report).await;
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("intake", fixture.now(), 10).await.unwrap();
    let told = CaseChange::decode(told[0].payload.as_slice()).unwrap();
    assert_eq!(told.reports, [format!("reports/{}", arrival.report)]);
    assert_eq!(
        (told.lead.as_str(), told.state(), told.acknowledged),
        ("agencies/inspection-130000", CaseState::Assigned, false)
    );
    assert!(told.lead_titles[1].text.contains("Hebei") && !told.lead_titles[0].text.is_empty());
    assert_eq!(told.hidden_from, ["agencies/police-130400"]);
    let change = told.change.unwrap();
    assert!(change.detail.is_none(), "the detail is not for intake");
    let entry = journal::Opened::of_change(&change).unwrap();
    assert_eq!((entry.kind.as_str(), entry.sequence), ("case.opened", 1));

    let audited = outbox.pending("audit", fixture.now(), 10).await.unwrap();
    // Beside it, in any order, is what was logged at the same time.
    let mut audited = audited
        .iter()
        .map(|event| StateChange::decode(event.payload.as_slice()).unwrap());
    let audited = audited.find(|audited| audited.entry == change.entry).unwrap();
    let opening = audited.detail.unwrap();
    let detail = Detail::decode(opening.content.clone()).unwrap();
    assert!(journal::Opens::from(&opening).is_detail_of(&entry.detail));
    assert_eq!(detail.caused_by, arrival.entry.event_id.to_string());
    let route = detail.route.unwrap();
    let [clock] = &detail.clocks[..] else {
        panic!("{:?}", detail.clocks)
    };
    assert_eq!((detail.from_state.as_str(), detail.to_state.as_str()), ("", "ASSIGNED"));
    assert_eq!(
        (route.row.as_str(), route.factor(), route.lead.as_str()),
        (
            "official-misconduct",
            ConnectingFactor::Suspect,
            "agencies/inspection-130000"
        )
    );
    // The salt is routing's: whoever is shown the log's detail cannot try facts against the digest.
    let salt = fixture.case(case).await.opening.unwrap().explanation.facts_salt;
    assert_eq!(
        (salt.len(), &route.facts_digest[..]),
        (32, &facts_digest(&official(), &salt)[..])
    );
    assert_eq!(
        (clock.kind(), clock.generation, clock.owner.as_str()),
        (ClockKind::Acknowledge, 1, "agencies/inspection-130000")
    );

    // A unit above others takes all of them along.
    let excluded = Facts {
        excluded: vec!["agencies/police-130000".to_owned()],
        ..official()
    };
    fixture.open(&[excluded]).await;
    let told = outbox.pending("intake", fixture.now(), 10).await.unwrap();
    let mut hidden: Vec<_> = told
        .iter()
        .map(|told| CaseChange::decode(told.payload.as_slice()).unwrap().hidden_from)
        .collect();
    hidden.sort_by_key(Vec::len);
    assert_eq!(
        hidden[1],
        ["130000", "130200", "130300", "130400"].map(|code| format!("agencies/police-{code}"))
    );
}

async fn an_advised_report_has_a_case_that_ended(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let seen = Facts {
        reporter_relation: api::intake::ReporterRelation::Bystander.into(),
        ..facts("insult-defamation", &[(ConnectingFactor::Victim, "510100")])
    };
    let case = fixture.open(&[seen]).await[0];
    let stored = fixture.case(case).await;
    assert_eq!(standing(&stored), (State::ADVISED, None));
    assert_eq!(fixture.kinds(case).await, ["case.advised"]);
    assert_eq!(fixture.count("SELECT count(*) FROM case_parties").await, 0);
    let told = SqlOutbox(fixture.db.clone())
        .pending("intake", fixture.now(), 10)
        .await
        .unwrap();
    let told = CaseChange::decode(told[0].payload.as_slice()).unwrap();
    assert_eq!((told.lead.as_str(), told.state()), ("", CaseState::Advised));
    assert!(told.advice.unwrap().texts[1].text.contains("court"));
    assert_eq!(fixture.act(by(case, "police-510100")).await, Acted::NotFound);
    fixture.assert_promises().await;
}

fn not_lead() -> Acted {
    Acted::Refused(Refused::NotYours {
        description: "only the lead may take it over; now you can claim the lead, or step aside".to_owned(),
    })
}

fn superior_only() -> Acted {
    Acted::Refused(Refused::NotYours {
        description: "only the lead may take it over; now you can supervise it".to_owned(),
    })
}

fn taken_over() -> Acted {
    Acted::Refused(Refused::WrongState {
        state: State::IN_PROGRESS,
        description:
            "the case is IN_PROGRESS; to take it over it must be ASSIGNED; now you can transfer it to another agency, or hand it up to your superior, or dispatch it to a unit under your agency, or file it under another category, or ask another agency to assist, or answer a claim to lead it, or record progress, or record an urgent measure, or ask the reporter something, or propose a disposition, or step aside, or pause the time for the result, \
                      or resume the time for the result, or share what the reports say, \
                      or end the link of a joined case"
                .to_owned(),
    })
}

/// The case as an act left it for its caller.
fn shown(acted: &Acted) -> &Case {
    let Acted::Done(sight) = acted else { panic!("{acted:?}") };
    let Some(case_sight::Sight::CurrentCase(case)) = &sight.sight else {
        panic!("{sight:?}")
    };
    case
}

async fn only_the_lead_takes_a_case_over_and_only_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = fixture.open(&[gambling()]).await[0];
    fixture.clock.advance(HOUR);
    let before = view::etag(&fixture.case(case).await.head);
    for (agency, expected) in [
        ("police-440000", not_lead()),
        ("police-CN", superior_only()),
        ("police-450200", Acted::NotFound),
    ] {
        assert_eq!(fixture.act(by(case, agency)).await, expected, "{agency}");
    }
    let mut stale = by(case, "police-450100");
    stale.etag = "0-0000000000000000".to_owned();
    assert_eq!(fixture.act(stale.clone()).await, Acted::EtagMismatch);
    stale.etag = before;
    let done = fixture.act(stale.clone()).await;
    let shown = shown(&done);
    assert_eq!(shown.lead, "agencies/police-450100");
    assert_eq!(shown.lead_origin.as_ref().unwrap().how(), LeadOriginHow::Routed);
    let [clock] = &shown.clocks[..] else {
        panic!("{shown:?}")
    };
    assert_eq!((clock.kind(), clock.generation), (ClockKind::Result, 2));
    assert_eq!(fixture.act(stale.clone()).await, Acted::EtagMismatch);
    stale.etag = shown.etag.clone();
    assert_eq!(fixture.act(stale).await, taken_over());
    assert_eq!(fixture.kinds(case).await, ["case.opened", "case.acknowledged"]);
    fixture.assert_promises().await;
}

async fn a_request_id_stands_for_its_first_answer(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), gambling()]).await;
    let command = request(by(cases[0], "police-450100"), 7, 1);
    let first = fixture.act(command.clone()).await;
    assert!(matches!(first, Acted::Done(_)), "{first:?}");
    assert_eq!(fixture.act(command.clone()).await, first);
    // The case goes on; the answer stays, but for what only its owner sees.
    fixture.clock.advance(31 * DAY);
    assert_eq!(fixture.ticker(&fixture.store).step().await.unwrap(), 2);
    let again = fixture.act(command.clone()).await;
    let outline = |acted: &Acted| Case {
        explanation: None,
        ..shown(acted).clone()
    };
    assert_eq!(outline(&again), outline(&first));
    assert!(shown(&again).explanation.is_some());
    // Another caller's id is another request.
    let other = fixture.act(request(by(cases[1], "police-450000"), 7, 2)).await;
    assert_eq!(shown(&other).lead, "agencies/police-450000");
    let origin = shown(&other).lead_origin.as_ref().unwrap();
    assert_eq!(
        (origin.how(), origin.former_agency.as_str()),
        (LeadOriginHow::Escalated, "agencies/police-450100")
    );
    let reused = request(by(cases[1], "police-450100"), 7, 2);
    assert_eq!(fixture.act(reused.clone()).await, Acted::RequestIdReused);
    // After the window the id is free again.
    assert_eq!(fixture.store.forget_requests(fixture.now(), 10).await.unwrap(), 1);
    assert_eq!(fixture.act(reused).await, not_lead());
    fixture.assert_promises().await;
}

async fn a_group_answers_each_member(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let cases = fixture.open(&[gambling(), gambling(), official()]).await;
    let twice = request(by(cases[0], "police-450100"), 1, 1);
    let group = [
        twice.clone(),
        by(cases[1], "police-440000"),
        twice,
        request(by(cases[1], "police-450100"), 1, 2),
        by(cases[0], "police-450100"),
        by(cases[2], "inspection-130000"),
        by(uuid::Uuid::nil(), "inspection-130000"),
    ];
    let answers = fixture.store.act(&group, fixture.now()).await.unwrap();
    assert!(matches!(&answers[0], Acted::Done(_)));
    assert_eq!(answers[1], not_lead());
    assert_eq!(answers[2], answers[0]);
    assert_eq!(answers[3], Acted::RequestIdReused);
    assert_eq!(answers[4], taken_over());
    assert!(matches!(&answers[5], Acted::Done(_)));
    assert_eq!(answers[6], Acted::NotFound);
    fixture.assert_promises().await;
}
