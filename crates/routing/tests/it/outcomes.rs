//! From a proposal to a closed case, in the store and through the service: what is written stays
//! with those who may read it, what is decided is told, and who steps aside sees nothing.

use std::time::Duration;

use api::event::{
    Detail, Disposition, DispositionEffect, DispositionKind, ReopenReason, ReviewRequester, ReviewVerdict, StateChange,
};
use api::intake::CaseChange;
use api::routing::{
    Case, CaseNote, ProposeDispositionRequest, RecordProgressRequest, ReviewDispositionRequest,
    case_service_client::CaseServiceClient,
};
use journal::{Outbox as _, Pending, SqlOutbox, keyed_hash};
use prost::Message as _;
use routing::case::{
    Action, AnswerClaim, ClaimLead, Part, Propose, Reason, RecordProgress, Recuse, Reopen, RequestReview, Review, State,
};
use routing::store::{Acted, Command, Listing, Store as _};
use rpc::{
    Officer,
    client::{Bearer, connect_for},
};
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, agency, agency_viewer, by, command, gambling, request, standing};
use crate::service::{Running, token};

testkit::on_each_backend!(
    p1_a_case_is_decided_by_two_people_closed_and_told,
    p7_what_officers_write_is_read_by_owners_only,
    p3_the_log_has_a_commitment_to_what_was_written_and_nothing_of_it,
    p7_an_agency_that_stepped_aside_sees_nothing_any_more,
    p4_a_claim_is_answered_once,
    a_decided_case_goes_up_for_a_review_or_is_opened_again,
    p7_a_repeated_request_shows_nothing_that_its_caller_lost,
    p7_two_step_aside_at_once,
    p4_a_closed_case_follows_the_successor_of_who_decided,
    what_is_only_recorded_is_bounded,
    the_service_refuses_all_that_is_wrong_at_once,
    one_officer_with_two_tokens_is_one_person,
);

const REASONS: &str = "Canary: the page was live on 1 March.\nSecond line.";
const TOLD: &str = "The page was closed.";

fn crime() -> Disposition {
    Disposition {
        kind: DispositionKind::SuspectedCrime.into(),
        effects: vec![
            DispositionEffect::Unavailable.into(),
            DispositionEffect::Sanctioned.into(),
        ],
        legal_basis: "刑法 303".to_owned(),
    }
}

fn note(officer: &str) -> CaseNote {
    CaseNote {
        text: REASONS.to_owned(),
        reporter_text: TOLD.to_owned(),
        subject_text: String::new(),
        officer: officer.to_owned(),
    }
}

fn propose(case: Uuid) -> Command {
    let (what, note) = (crime(), note("o-1"));
    let action = Action::Propose(Propose {
        what,
        note: note.clone(),
    });
    Command {
        note,
        ..command(case, "police-450100", action)
    }
}

fn review(case: Uuid, approved: bool) -> Command {
    let officer = "o-2".to_owned();
    command(
        case,
        "police-450100",
        Action::Review(Review {
            approved,
            officer,
            stood_in: false,
        }),
    )
}

fn change_for_intake(told: &Pending) -> CaseChange {
    CaseChange::decode(told.payload.as_slice()).unwrap()
}

async fn done(fixture: &Fixture, command: Command) {
    let acted = fixture.act(command).await;
    assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    fixture.assert_promises().await;
}

/// A case that police-450100 leads, taken over; police-440600 or its superior supports.
async fn taken_over(fixture: &Fixture) -> Uuid {
    let case = fixture.open(&[gambling()]).await[0];
    done(fixture, by(case, "police-450100")).await;
    case
}

async fn p1_a_case_is_decided_by_two_people_closed_and_told(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    done(&fixture, propose(case)).await;
    assert_eq!(
        standing(&fixture.case(case).await),
        (State::IN_REVIEW, Some("police-450100"))
    );
    done(&fixture, review(case, false)).await;
    assert_eq!(fixture.case(case).await.case.disposition, None);
    done(&fixture, propose(case)).await;
    done(&fixture, review(case, true)).await;
    let resolved = fixture.case(case).await;
    let disposition = resolved.case.disposition.clone().unwrap();
    assert_eq!((&disposition.what, &disposition.note), (&crime(), &note("o-1")));
    assert_eq!(disposition.decided.unwrap().reviewer.as_deref(), Some("o-2"));
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.step().await.unwrap(), 0);
    fixture.clock.advance(61 * DAY);
    assert_eq!(ticker.step().await.unwrap(), 1);
    assert_eq!(ticker.step().await.unwrap(), 0, "once");
    fixture.assert_promises().await;
    let closed = fixture.case(case).await;
    assert_eq!(standing(&closed), (State::CLOSED, None));
    assert_eq!(
        fixture.kinds(case).await,
        [
            "case.opened",
            "case.acknowledged",
            "case.disposition-proposed",
            "case.disposition-returned",
            "case.disposition-proposed",
            "case.resolved",
            "case.closed",
        ]
    );
    // Who decided still finds it, reads the reports, and is told that it closed.
    let viewer = agency_viewer("police-450100");
    let listed = fixture
        .store
        .cases(&viewer, Some(Listing::State(State::CLOSED)), None, 10)
        .await
        .unwrap();
    let listed = listed.items;
    assert_eq!(listed.len(), 1);
    assert!(
        listed[0]
            .case
            .parties()
            .any(|party| party == (&agency("police-450100"), Part::Deciding))
    );
    let reads = fixture
        .store
        .sees_content(&agency("police-450100"), closed.reports[0])
        .await;
    assert!(reads.unwrap());
    let feed = fixture.feed("police-450100", 0).await;
    assert_eq!(feed.last().unwrap().kind, "case.closed");
    // Reporters learn outcome and effects when it is decided, not before, and not what is only
    // proposed.
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("intake", fixture.now(), 20).await.unwrap();
    let changes: Vec<_> = told.iter().map(change_for_intake).collect();
    let outcomes: Vec<_> = changes
        .iter()
        .map(|change| (change.outcome.clone(), change.due_time.is_some()))
        .collect();
    assert_eq!(outcomes.iter().filter(|(outcome, _)| outcome.is_some()).count(), 2);
    assert!(changes.iter().all(|change| change.reporter_text.is_empty()));
    let (outcome, has_next) = &outcomes[5];
    let outcome = outcome.as_ref().unwrap();
    assert_eq!(
        (outcome.kind(), &*outcome.text, *has_next),
        (DispositionKind::SuspectedCrime, TOLD, true)
    );
    assert_eq!(outcome.agency, "agencies/police-450100");
    assert!(outcome.reviewable, "somebody is above");
    let closed = api::intake::Outcome {
        reviewable: false,
        ..outcome.clone()
    };
    assert_eq!(outcomes[6], (Some(closed), false));
}

async fn p7_what_officers_write_is_read_by_owners_only(backend: Backend) {
    let running = Running::start(backend).await;
    let fixture = &running.fixture;
    let case = taken_over(fixture).await;
    done(fixture, propose(case)).await;
    done(fixture, review(case, true)).await;
    let name = format!("cases/{case}");
    let written = |case: &Case| {
        let text = format!("{case:?}");
        (text.contains("Canary"), text.contains("o-1"), text.contains("o-2"))
    };
    let lead = running.get("nanning", &name).await.unwrap();
    assert_eq!(written(&lead), (true, true, true));
    assert_eq!(lead.history[1].note.as_ref().unwrap().text, REASONS);
    for other in ["guangdong", "operator"] {
        let seen = running.get(other, &name).await.unwrap();
        assert_eq!(written(&seen), (false, false, false), "{other}");
        let disposition = seen.disposition.unwrap();
        assert_eq!(
            disposition.disposition,
            Some(crime()),
            "but that it is decided, and how"
        );
        assert!(disposition.decide_time.is_some());
    }
    for viewer in ["nanning", "guangdong", "operator"] {
        let listed = running.list(viewer).await;
        assert_eq!(written(&listed[0]), (false, false, false), "lists are short: {viewer}");
    }
    let mut feed = running.watch("guangdong", "").await.unwrap();
    let message = feed.message().await.unwrap().unwrap();
    assert!(!format!("{message:?}").contains("Canary"));
    drop(feed);
    running.finish().await;
}

async fn p3_the_log_has_a_commitment_to_what_was_written_and_nothing_of_it(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    done(&fixture, propose(case)).await;
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("audit", fixture.now(), 20).await.unwrap();
    let payload = &told.last().unwrap().payload;
    assert!(!payload.windows(6).any(|part| part == b"Canary" || part == b"closed"));
    let detail = StateChange::decode(payload.as_slice()).unwrap().detail.unwrap();
    let detail = Detail::decode(detail.content).unwrap();
    assert_eq!(detail.disposition, Some(crime()));
    let rows = fixture
        .rows("SELECT note, note_key FROM case_steps WHERE note IS NOT NULL", vec![])
        .await;
    let (stored, key): (Vec<u8>, [u8; 32]) = (rows[0].get("note").unwrap(), rows[0].array("note_key", "key").unwrap());
    assert_eq!(CaseNote::decode(stored.as_slice()).unwrap(), note("o-1"));
    assert_eq!(
        detail.content_commitment,
        keyed_hash(&key, "case-note-v1", &stored).to_vec()
    );
    // Where nothing is written, nothing is committed to.
    let first = StateChange::decode(told[0].payload.as_slice()).unwrap().detail.unwrap();
    assert!(Detail::decode(first.content).unwrap().content_commitment.is_empty());
}

async fn p7_an_agency_that_stepped_aside_sees_nothing_any_more(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let report = fixture.case(case).await.reports[0];
    assert!(fixture.store.excluded(&[report]).await.unwrap().is_empty());
    let acted = fixture
        .act(command(case, "police-450100", Action::Recuse(Recuse)))
        .await;
    let Acted::Done(sight) = &acted else {
        panic!("{acted:?}")
    };
    assert!(format!("{sight:?}").contains("LostCase"));
    fixture.assert_promises().await;
    assert_eq!(
        standing(&fixture.case(case).await),
        (State::AWAITING_DESIGNATION, Some("police-450000"))
    );
    let viewer = agency_viewer("police-450100");
    assert!(fixture.store.case(case, &viewer).await.unwrap().is_none());
    assert_eq!(
        fixture.store.cases(&viewer, None, None, 10).await.unwrap().items.len(),
        0
    );
    assert!(
        !fixture
            .store
            .sees_content(&agency("police-450100"), report)
            .await
            .unwrap()
    );
    let feed = fixture.feed("police-450100", 0).await;
    assert!(feed.iter().all(|item| item.case.is_none()));
    assert_eq!(fixture.act(by(case, "police-450100")).await, Acted::NotFound);
    // As if it had been excluded from the beginning: where it sent the report in, it learns no more.
    let excluded = fixture.store.excluded(&[report]).await.unwrap();
    assert!(excluded[&report].contains(&agency("police-450100")));
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("intake", fixture.now(), 20).await.unwrap();
    let change = change_for_intake(told.last().unwrap());
    assert_eq!(change.hidden_from, ["agencies/police-450100"]);
    // No way leads back to it.
    let designate = |lead: &str| {
        let lead = agency(lead);
        command(
            case,
            "police-450000",
            Action::Designate(routing::case::Designate { agency: lead }),
        )
    };
    let acted = fixture.act(designate("police-450100")).await;
    assert!(matches!(acted, Acted::Refused(_)), "{acted:?}");
    done(&fixture, designate("police-450200")).await;
    // A supporting agency steps aside, too.
    let supporting = fixture.case(case).await.case.supporting[0].agency.to_string();
    done(&fixture, command(case, &supporting, Action::Recuse(Recuse))).await;
    assert!(
        fixture
            .store
            .case(case, &agency_viewer(&supporting))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(fixture.case(case).await.case.supporting.len(), 0);
}

async fn p4_a_claim_is_answered_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let other = fixture.replica().await;
    let case = taken_over(&fixture).await;
    let supporting = fixture.case(case).await.case.supporting[0].agency.to_string();
    let claim = Action::ClaimLead(ClaimLead { reason: Reason::Place });
    done(&fixture, command(case, &supporting, claim)).await;
    let stored = fixture.case(case).await;
    assert!(stored.case.is_claimed_by(&agency(&supporting)), "kept over a restart");
    let answer = |agreed| {
        [command(
            case,
            "police-450100",
            Action::AnswerClaim(AnswerClaim { agreed }),
        )]
    };
    let (agreed, disputed) = (answer(true), answer(false));
    let now = fixture.now();
    let (first, second) = tokio::join!(fixture.store.act(&agreed, now), other.act(&disputed, now));
    let acted = [first.unwrap().remove(0), second.unwrap().remove(0)];
    let count = acted.iter().filter(|acted| matches!(acted, Acted::Done(_))).count();
    assert_eq!(count, 1, "{acted:?}");
    fixture.assert_promises().await;
}

async fn a_decided_case_goes_up_for_a_review_or_is_opened_again(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    done(&fixture, propose(case)).await;
    done(&fixture, review(case, true)).await;
    let reason = ReopenReason::NewInformation;
    let reopen = |case| command(case, "police-450100", Action::Reopen(Reopen { reason }));
    done(&fixture, reopen(case)).await;
    let again = fixture.case(case).await;
    assert_eq!(standing(&again), (State::ASSIGNED, Some("police-450100")));
    assert_eq!(again.history.last().unwrap().reopen_reason(), reason);
    done(&fixture, by(case, "police-450100")).await;
    done(&fixture, propose(case)).await;
    done(&fixture, review(case, true)).await;
    let requester = ReviewRequester::Reporter;
    let asked = command(
        case,
        "police-450100",
        Action::RequestReview(RequestReview {
            requester,
            notice: None,
        }),
    );
    let preview = fixture
        .act(Command {
            validate_only: true,
            ..asked.clone()
        })
        .await;
    let Acted::Previewed(preview) = preview else {
        panic!("{preview:?}")
    };
    assert_eq!(preview.lead, "agencies/police-450000");
    done(&fixture, request(asked.clone(), 7, 1)).await;
    let up = fixture.case(case).await;
    assert_eq!(standing(&up), (State::ASSIGNED, Some("police-450000")));
    assert_eq!(
        up.case.course.reviewed,
        [agency("police-450100")],
        "kept over a restart"
    );
    // The same request again has the first answer.
    let again = fixture.act(request(asked, 7, 1)).await;
    assert!(matches!(again, Acted::Done(_)), "{again:?}");
    assert_eq!(fixture.kinds(case).await.len(), 9);
    // Progress changes nothing but the history.
    done(&fixture, by(case, "police-450000")).await;
    let before = fixture.case(case).await.case;
    let progress = command(case, "police-450000", Action::RecordProgress(RecordProgress));
    done(
        &fixture,
        Command {
            note: note("s-1"),
            ..progress
        },
    )
    .await;
    let after = fixture.case(case).await;
    assert_eq!(after.case, before);
    assert_eq!(after.history.last().unwrap().note, Some(note("s-1")));
    // What is written for the reporter of progress is told at once.
    let outbox = SqlOutbox(fixture.db.clone());
    let told = outbox.pending("intake", fixture.now(), 30).await.unwrap();
    assert_eq!(change_for_intake(told.last().unwrap()).reporter_text, TOLD);
}

/// The answer to a repeated request is no door to a case that was lost since.
async fn p7_a_repeated_request_shows_nothing_that_its_caller_lost(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let proposal = request(propose(case), 9, 1);
    let first = fixture.act(proposal.clone()).await;
    assert!(format!("{first:?}").contains("Canary"));
    assert_eq!(
        fixture.act(proposal.clone()).await,
        first,
        "the first answer, as it was"
    );
    done(&fixture, review(case, true)).await;
    assert_eq!(fixture.act(proposal.clone()).await, first, "whatever happened since");
    // What was written is kept once, with its step.
    let kept = fixture.rows("SELECT answer FROM requests", vec![]).await;
    for row in &kept {
        let answer: Vec<u8> = row.get("answer").unwrap();
        assert!(!answer.windows(6).any(|part| part == b"Canary"));
    }
    let reason = ReopenReason::Error;
    done(
        &fixture,
        command(case, "police-450100", Action::Reopen(Reopen { reason })),
    )
    .await;
    done(&fixture, command(case, "police-450100", Action::Recuse(Recuse))).await;
    let again = fixture.act(proposal).await;
    assert!(format!("{again:?}").contains("LostCase"), "{again:?}");
}

async fn p7_two_step_aside_at_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let supporting = fixture.case(case).await.case.supporting[0].agency.to_string();
    let both = [&*supporting, "police-450100"].map(|by| command(case, by, Action::Recuse(Recuse)));
    let acted = fixture.store.act(&both, fixture.now()).await.unwrap();
    assert!(acted.iter().all(|acted| matches!(acted, Acted::Done(_))), "{acted:?}");
    fixture.assert_promises().await;
    let report = fixture.case(case).await.reports[0];
    let excluded = fixture.store.excluded(&[report]).await.unwrap();
    assert_eq!(excluded[&report].len(), 2);
}

/// The agency that decided ends: its successor finds the closed case, and may open it again.
async fn p4_a_closed_case_follows_the_successor_of_who_decided(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    done(&fixture, propose(case)).await;
    done(&fixture, review(case, true)).await;
    fixture.clock.advance(61 * DAY);
    let ticker = fixture.ticker(&fixture.store);
    assert_eq!(ticker.step().await.unwrap(), 1);
    fixture
        .apply(&[("police-450100", "valid_to: 2026-04-02, successor: police-450200")])
        .await;
    assert_eq!(ticker.succeed().await.unwrap(), 1);
    assert_eq!(ticker.succeed().await.unwrap(), 0, "once");
    let closed = fixture.case(case).await;
    let disposition = closed.case.disposition.clone().unwrap();
    assert_eq!(
        (disposition.by, disposition.holder),
        (agency("police-450100"), agency("police-450200"))
    );
    assert!(
        fixture
            .store
            .case(case, &agency_viewer("police-450200"))
            .await
            .unwrap()
            .is_some()
    );
    let reason = ReopenReason::Error;
    done(
        &fixture,
        command(case, "police-450200", Action::Reopen(Reopen { reason })),
    )
    .await;
    assert_eq!(
        standing(&fixture.case(case).await),
        (State::ASSIGNED, Some("police-450200"))
    );
}

/// A system that repeats itself does not make a case too large to be read; what moves it goes on.
async fn what_is_only_recorded_is_bounded(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = taken_over(&fixture).await;
    let long = CaseNote {
        text: "字".repeat(2_000),
        reporter_text: "字".repeat(2_000),
        ..note("o-1")
    };
    let progress = || Command {
        note: long.clone(),
        ..command(case, "police-450100", Action::RecordProgress(RecordProgress))
    };
    let mut refused = None;
    for recorded in 0..100 {
        if let Acted::Refused(refusal) = fixture.act(progress()).await {
            refused = Some((recorded, refusal));
            break;
        }
    }
    let (recorded, refusal) = refused.unwrap();
    assert_eq!(recorded, 43, "512 KiB of 12 KB each");
    let refusal = format!("{refusal:?}");
    assert!(refusal.contains("keep the rest in your own files"), "{refusal}");
    done(&fixture, propose(case)).await;
    done(&fixture, review(case, true)).await;
    let seen = fixture
        .store
        .case(case, &agency_viewer("police-450100"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.history.len(), 46);
}

fn client(running: &Running, system: &str, officer: Option<&str>) -> CaseServiceClient<rpc::client::Caller> {
    let officer = officer.map(|officer| Officer::new(officer).unwrap());
    let channel = connect_for(
        &running.address,
        &Bearer::new(&token(system)).unwrap(),
        officer.as_ref(),
        Some(Duration::from_secs(20)),
    );
    CaseServiceClient::new(channel.unwrap())
}

fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let found = details.bad_request().unwrap().field_violations.iter();
    found.map(|violation| violation.field.clone()).collect()
}

async fn the_service_refuses_all_that_is_wrong_at_once(backend: Backend) {
    let running = Running::start(backend).await;
    let case = taken_over(&running.fixture).await;
    let empty = ProposeDispositionRequest {
        name: format!("cases/{case}"),
        reporter_text: "字".repeat(2_001),
        ..Default::default()
    };
    let refused = client(&running, "nanning", None)
        .propose_disposition(empty)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        violations(&refused),
        [
            "disposition.kind",
            "disposition.effects",
            "disposition.legal_basis",
            "remit-officer-bin",
            "reasons",
            "reporter_text"
        ]
    );
    let unknown = ProposeDispositionRequest {
        name: format!("cases/{case}"),
        disposition: Some(Disposition {
            kind: 99,
            effects: vec![2, 99],
            legal_basis: "法".repeat(201),
        }),
        // Nothing that anybody sees.
        reasons: " \n\u{200b}".to_owned(),
        ..Default::default()
    };
    let refused = client(&running, "nanning", Some("o-1"))
        .propose_disposition(unknown)
        .await
        .unwrap_err();
    assert_eq!(
        violations(&refused),
        [
            "disposition.kind",
            "disposition.effects[1]",
            "disposition.legal_basis",
            "reasons"
        ]
    );
    let many = ProposeDispositionRequest {
        name: format!("cases/{case}"),
        disposition: Some(Disposition {
            effects: vec![99; 100_000],
            ..crime()
        }),
        reasons: REASONS.to_owned(),
        ..Default::default()
    };
    let refused = client(&running, "nanning", Some("o-1"))
        .propose_disposition(many)
        .await
        .unwrap_err();
    assert!(violations(&refused).len() <= 17, "{}", violations(&refused).len());
    let returned = ReviewDispositionRequest {
        name: format!("cases/{case}"),
        verdict: ReviewVerdict::Returned.into(),
        ..Default::default()
    };
    let refused = client(&running, "nanning", Some("o-2"))
        .review_disposition(returned)
        .await
        .unwrap_err();
    assert_eq!(violations(&refused), ["note"], "reasons are due to who is refused");
    let empty = RecordProgressRequest {
        name: format!("cases/{case}"),
        ..Default::default()
    };
    let refused = client(&running, "nanning", None)
        .record_progress(empty)
        .await
        .unwrap_err();
    assert_eq!(violations(&refused), ["note"]);
    assert_eq!(running.fixture.kinds(case).await.len(), 2, "nothing is left behind");
    running.finish().await;
}

/// The second person is a person: neither another token nor another way to write the name makes one.
async fn one_officer_with_two_tokens_is_one_person(backend: Backend) {
    let running = Running::start(backend).await;
    let case = taken_over(&running.fixture).await;
    let name = format!("cases/{case}");
    let proposal = ProposeDispositionRequest {
        name: name.clone(),
        disposition: Some(crime()),
        reasons: REASONS.to_owned(),
        ..Default::default()
    };
    let waiting = client(&running, "nanning", Some("王 警官"))
        .propose_disposition(proposal)
        .await
        .unwrap();
    let waiting = waiting.into_inner().current_case.unwrap();
    assert_eq!(waiting.disposition.unwrap().note.unwrap().officer, "王 警官");
    let approve = ReviewDispositionRequest {
        name,
        verdict: ReviewVerdict::Approved.into(),
        ..Default::default()
    };
    for officer in ["王 警官", "王警官"] {
        for system in ["nanning", "nanning-second"] {
            let refused = client(&running, system, Some(officer))
                .review_disposition(approve.clone())
                .await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{system} {officer}");
            assert!(refused.message().contains("another officer"), "{refused:?}");
        }
    }
    let nobody = client(&running, "nanning", None)
        .review_disposition(approve.clone())
        .await
        .unwrap_err();
    assert_eq!(violations(&nobody), ["remit-officer-bin"]);
    let approved = client(&running, "nanning", Some("李警官"))
        .review_disposition(approve)
        .await
        .unwrap();
    let approved = approved.into_inner().current_case.unwrap();
    assert_eq!(approved.state(), api::event::CaseState::Resolved);
    assert_eq!(approved.disposition.unwrap().reviewer, "李警官");
    running.finish().await;
}
