//! The affected side: its notice and receipt, what it says, and the review that it asks for; in the
//! store and through the service.

use std::time::Duration;

use api::event::{
    Detail, Disposition, DispositionEffect, DispositionKind, NoticeMeans, ReviewVerdict, StateChange, StatementAnswer,
    StatementKind,
};
use api::routing::{
    AcknowledgeCaseRequest, AnswerStatementRequest, Case, CheckNoticeRequest, GetCaseRequest, ListCasesRequest, Notice,
    NoticeStanding, NotifySubjectRequest, NotifySubjectResponse, ProposeDispositionRequest,
    RequestDecisionReviewRequest, ReviewDispositionRequest, SubmitStatementRequest,
    case_service_client::CaseServiceClient, notice_service_client::NoticeServiceClient,
};
use prost::Message as _;
use routing::case::{Action, NotifySubject, Propose, State};
use routing::store::{Acted, Command, Store as _};
use rpc::{
    Officer,
    client::{Bearer, Caller, connect_for},
};
use sha2::{Digest as _, Sha256};
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, by, command, gambling, request};
use crate::service::{Running, token};

testkit::on_each_backend!(
    p1_a_repeated_notice_gives_the_first_receipt_and_no_second_notice,
    p7_a_receipt_shows_its_own_notice_and_nothing_of_the_case,
    p4_a_penalty_goes_from_notice_to_review_by_the_receipt_alone,
    p7_a_receipt_that_was_replaced_is_none,
    what_the_affected_side_sends_is_checked_and_kept_once,
    p3_neither_log_nor_database_has_a_receipt_or_the_words_of_the_affected_side_in_the_log,
);

const WORDS: &str = "The account was stolen on 1 March.\nThe platform was told.";
const FACTS: &str = "Two payments for leaving a story out are proven.";

fn penalty() -> Disposition {
    Disposition {
        kind: DispositionKind::Penalty.into(),
        effects: vec![DispositionEffect::Sanctioned.into()],
        legal_basis: "治安管理处罚法 58".to_owned(),
    }
}

/// A penalty of police-450100 in review.
async fn in_review(fixture: &Fixture) -> Uuid {
    let case = fixture.open(&[gambling()]).await[0];
    let note = api::routing::CaseNote {
        officer: "o-1".to_owned(),
        ..Default::default()
    };
    let propose = Action::Propose(Propose {
        what: penalty(),
        note: note.clone(),
    });
    for command in [by(case, "police-450100"), command(case, "police-450100", propose)] {
        let acted = fixture.act(command).await;
        assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    }
    case
}

fn notify(case: Uuid, again: Option<u64>, new_receipt: bool) -> Command {
    let action = Action::NotifySubject(NotifySubject {
        again,
        recipient: "holder of the account".to_owned(),
        means: NoticeMeans::Post,
        new_receipt,
        of_decision: false,
    });
    command(case, "police-450100", action)
}

async fn given(fixture: &Fixture, command: Command) -> (u64, String) {
    let acted = fixture.act(command).await;
    fixture.assert_promises().await;
    match acted {
        Acted::Notified(_, given) => (given.notice, given.receipt),
        other => panic!("{other:?}"),
    }
}

async fn p1_a_repeated_notice_gives_the_first_receipt_and_no_second_notice(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = in_review(&fixture).await;
    let first = given(&fixture, request(notify(case, None, false), 1, 1)).await;
    assert_eq!((first.0, first.1.len()), (1, 29));
    assert_eq!(given(&fixture, request(notify(case, None, false), 1, 1)).await, first);
    let other = fixture.act(request(notify(case, None, false), 1, 2)).await;
    assert_eq!(other, Acted::RequestIdReused);
    assert_eq!(fixture.case(case).await.case.course.notices.len(), 1);
    // Who has lost the case since gets no receipt.
    let recuse = command(case, "police-450100", Action::Recuse(routing::case::Recuse));
    assert!(matches!(fixture.act(recuse).await, Acted::Done(_)));
    let again = fixture.act(request(notify(case, None, false), 1, 1)).await;
    assert!(matches!(again, Acted::Done(_)), "{again:?}");
}

async fn p7_a_receipt_that_was_replaced_is_none(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let case = in_review(&fixture).await;
    let (_, first) = given(&fixture, notify(case, None, false)).await;
    let (_, other) = given(&fixture, notify(case, None, false)).await;
    assert_eq!(given(&fixture, notify(case, Some(1), false)).await, (1, String::new()));
    let (number, second) = given(&fixture, notify(case, Some(1), true)).await;
    assert_eq!(number, 1);
    let found = async |receipt: &str| {
        let noticed = fixture.store.notice(receipt, fixture.now()).await.unwrap();
        noticed.map(|noticed| (noticed.stored.id, noticed.notice))
    };
    assert_eq!(found(&first).await, None);
    assert_eq!(found(&second).await, Some((case, 1)));
    assert_eq!(found(&other).await, Some((case, 2)));
    let typed = second.to_lowercase().replace('-', " ");
    assert_eq!(found(&typed).await, Some((case, 1)));
    for wrong in ["", "!", &second[1..], &format!("{second}0")] {
        assert_eq!(found(wrong).await, None, "{wrong:?}");
    }
}

/// The desk of police-450100 and whoever calls for the affected side.
struct Door {
    running: Running,
    case: Uuid,
}

impl Door {
    async fn open(backend: Backend) -> Self {
        let running = Running::start(backend).await;
        let case = running.fixture.open(&[gambling()]).await[0];
        let mut desk = desk(&running, "nanning", "o-1");
        let name = format!("cases/{case}");
        let request = AcknowledgeCaseRequest {
            name: name.clone(),
            ..Default::default()
        };
        desk.acknowledge_case(request).await.unwrap();
        let request = ProposeDispositionRequest {
            name,
            disposition: Some(penalty()),
            reasons: "canary-reasons".to_owned(),
            ..Default::default()
        };
        desk.propose_disposition(request).await.unwrap();
        Self { running, case }
    }

    fn name(&self) -> String {
        format!("cases/{}", self.case)
    }

    async fn notify(&self, again: i64) -> NotifySubjectResponse {
        let of_decision = self.running.fixture.case(self.case).await.case.state() == State::RESOLVED;
        let request = NotifySubjectRequest {
            name: self.name(),
            notice_number: again,
            recipient: if again == 0 {
                "canary-recipient".to_owned()
            } else {
                String::new()
            },
            means: NoticeMeans::Post.into(),
            subject_text: FACTS.to_owned(),
            of_decision,
            note: "canary-note".to_owned(),
            ..Default::default()
        };
        let mut desk = desk(&self.running, "nanning", "o-1");
        desk.notify_subject(request).await.unwrap().into_inner()
    }

    fn notices(&self, system: &str) -> NoticeServiceClient<Caller> {
        NoticeServiceClient::new(caller(&self.running, system, None))
    }

    async fn check(&self, receipt: &str) -> Result<Notice, Status> {
        let request = CheckNoticeRequest {
            receipt: receipt.to_owned(),
        };
        let answer = self.notices("platform").check_notice(request).await?;
        Ok(answer.into_inner().notice.unwrap())
    }

    async fn say(&self, receipt: &str, kind: StatementKind, text: &str, id: &str) -> Result<Notice, Status> {
        let request = SubmitStatementRequest {
            receipt: receipt.to_owned(),
            kind: kind.into(),
            text: text.to_owned(),
            request_id: id.to_owned(),
        };
        let answer = self.notices("platform").submit_statement(request).await?;
        Ok(answer.into_inner().notice.unwrap())
    }

    async fn ask_review(&self, receipt: &str) -> Result<Notice, Status> {
        let request = RequestDecisionReviewRequest {
            receipt: receipt.to_owned(),
            text: "It was not us.".to_owned(),
            request_id: String::new(),
        };
        let answer = self.notices("platform").request_decision_review(request).await?;
        Ok(answer.into_inner().notice.unwrap())
    }

    async fn approve(&self) -> Result<Case, Status> {
        let request = ReviewDispositionRequest {
            name: self.name(),
            verdict: ReviewVerdict::Approved.into(),
            ..Default::default()
        };
        let mut desk = desk(&self.running, "nanning", "o-2");
        let answer = desk.review_disposition(request).await?;
        Ok(answer.into_inner().current_case.unwrap())
    }

    async fn seen(&self, system: &str) -> Case {
        let mut desk = desk(&self.running, system, "o-3");
        let request = GetCaseRequest { name: self.name() };
        desk.get_case(request).await.unwrap().into_inner().current_case.unwrap()
    }
}

fn caller(running: &Running, system: &str, officer: Option<&str>) -> Caller {
    let officer = officer.map(|officer| Officer::new(officer).unwrap());
    let bearer = Bearer::new(&token(system)).unwrap();
    connect_for(
        &running.address,
        &bearer,
        officer.as_ref(),
        Some(Duration::from_secs(20)),
    )
    .unwrap()
}

fn desk(running: &Running, system: &str, officer: &str) -> CaseServiceClient<Caller> {
    CaseServiceClient::new(caller(running, system, Some(officer)))
}

async fn p4_a_penalty_goes_from_notice_to_review_by_the_receipt_alone(backend: Backend) {
    let door = Door::open(backend).await;
    let refused = door.approve().await.unwrap_err();
    assert!(refused.message().contains("give notice first"), "{refused:?}");
    let given = door.notify(0).await;
    let receipt = given.receipt;
    assert_eq!(given.notice_number, 1);
    let notice = door.check(&receipt).await.unwrap();
    assert_eq!(notice.standing(), NoticeStanding::Intended);
    assert_eq!(
        (notice.agency.as_str(), notice.agency_titles.len()),
        ("agencies/police-450100", 2)
    );
    assert!(notice.respond_by_time.is_some() && notice.rights.len() == 2);
    assert_eq!((notice.steps.len(), notice.steps[0].text.as_str()), (1, FACTS));
    assert_eq!(notice.steps[0].disposition, Some(penalty()));
    assert!(!notice.steps[0].of_decision);

    let said = door
        .say(&receipt, StatementKind::HearingRequested, WORDS, "")
        .await
        .unwrap();
    assert_eq!(said.standing(), NoticeStanding::Considered);
    assert_eq!(said.steps[1].text, WORDS);
    let seen = door.seen("nanning").await;
    assert_eq!(seen.notices[0].statement(), StatementKind::HearingRequested);
    assert_eq!(seen.history.last().unwrap().note.as_ref().unwrap().text, WORDS);
    let refused = door.approve().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("not answered"), "{refused:?}");
    let request = AnswerStatementRequest {
        name: door.name(),
        notice_number: 1,
        statement_count: 1,
        answer: StatementAnswer::Heard.into(),
        subject_text: "You were heard on 5 March.".to_owned(),
        ..Default::default()
    };
    desk(&door.running, "nanning", "o-1")
        .answer_statement(request)
        .await
        .unwrap();
    let answered = door.check(&receipt).await.unwrap();
    assert_eq!(answered.steps[2].answer(), StatementAnswer::Heard);
    assert_eq!(answered.steps[2].text, "You were heard on 5 March.");
    door.approve().await.unwrap();

    // It knows of the decision when it has notice of it.
    assert_eq!(door.check(&receipt).await.unwrap().standing(), NoticeStanding::Pending);
    let refused = door.ask_review(&receipt).await.unwrap_err();
    assert!(
        refused.message().contains("no decision that you have notice of"),
        "{refused:?}"
    );
    // No refusal tells more than the notice does: neither the state of the case nor its name.
    let told = format!("{refused:?} {}", String::from_utf8_lossy(refused.details()));
    for hidden in ["RESOLVED", &door.case.to_string()] {
        assert!(!told.contains(hidden), "{told}");
    }
    // What it says now is information, as it was while nothing was decided.
    let pending = door.say(&receipt, StatementKind::Statement, WORDS, "").await.unwrap();
    assert_eq!(pending.standing(), NoticeStanding::Pending);
    let again = door.notify(1).await;
    assert_eq!((again.notice_number, again.receipt.as_str()), (1, ""));
    let decided = door.check(&receipt).await.unwrap();
    assert_eq!(decided.standing(), NoticeStanding::Decided);
    assert!(decided.steps[4].of_decision);
    let refused = door
        .say(&receipt, StatementKind::Statement, WORDS, "")
        .await
        .unwrap_err();
    assert!(refused.message().contains("you can ask for a review"), "{refused:?}");
    let reviewed = door.ask_review(&receipt).await.unwrap();
    assert_eq!(reviewed.standing(), NoticeStanding::Pending);
    assert_eq!(reviewed.agency, "agencies/police-450000");
    assert_eq!(reviewed.steps[5].text, "It was not us.");
    let kinds: Vec<_> = reviewed.steps.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "case.subject-notified",
            "case.statement-submitted",
            "case.statement-answered",
            "case.statement-submitted",
            "case.subject-notified",
            "case.review-requested"
        ]
    );
    door.running.fixture.assert_promises().await;
    door.running.finish().await;
}

async fn p7_a_receipt_shows_its_own_notice_and_nothing_of_the_case(backend: Backend) {
    let door = Door::open(backend).await;
    let first = door.notify(0).await.receipt;
    let second = door.notify(0).await.receipt;
    door.say(&first, StatementKind::Statement, WORDS, "").await.unwrap();
    let report = door.running.fixture.case(door.case).await.reports[0].to_string();
    for receipt in [&first, &second] {
        let notice = format!("{:?}", door.check(receipt).await.unwrap());
        for hidden in [
            door.case.to_string(),
            report.clone(),
            "canary".to_owned(),
            "reports/".to_owned(),
        ] {
            assert!(!notice.contains(&hidden), "{hidden}: {notice}");
        }
    }
    assert_eq!(
        door.check(&second).await.unwrap().steps.len(),
        1,
        "another's words are another's"
    );
    let unknown = door.check("0000-0000").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    // Supporting agencies read neither notices nor statements.
    let seen = door.seen("guangdong").await;
    assert!(seen.notices.is_empty());
    assert!(seen.history.iter().all(|step| step.note.is_none()));
    let mut desk = desk(&door.running, "nanning", "o-1");
    let request = ListCasesRequest {
        worklist: api::routing::Worklist::Statements.into(),
        ..Default::default()
    };
    let listed = desk.list_cases(request).await.unwrap().into_inner().cases;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].notices.is_empty(), "not in lists");
    door.running.finish().await;
}

async fn what_the_affected_side_sends_is_checked_and_kept_once(backend: Backend) {
    let door = Door::open(backend).await;
    let receipt = door.notify(0).await.receipt;
    let fields = |refused: Status| {
        let details = refused.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone());
        let fields = violations
            .unwrap_or_default()
            .into_iter()
            .map(|violation| violation.field);
        fields.collect::<Vec<_>>()
    };
    let refused = door
        .say(&receipt, StatementKind::Unspecified, " \n", "")
        .await
        .unwrap_err();
    assert_eq!(fields(refused), ["kind", "text"]);
    let long = "陈".repeat(5_001);
    let refused = door
        .say(&receipt, StatementKind::Statement, &long, "")
        .await
        .unwrap_err();
    assert_eq!(fields(refused), ["text"]);
    let refused = door
        .say(&receipt, StatementKind::Statement, WORDS, "7")
        .await
        .unwrap_err();
    assert_eq!(fields(refused), ["request_id"]);
    let id = "0d9f0e0a-3c53-4c2c-9a50-0a4c51e2f4d1";
    for _ in 0..2 {
        let said = door.say(&receipt, StatementKind::Statement, WORDS, id).await.unwrap();
        assert_eq!(said.steps.len(), 2);
    }
    let other = door
        .say(&receipt, StatementKind::Statement, "other", id)
        .await
        .unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "{other:?}");
    // After the window what is silent no longer holds anything up, and still is heard.
    let second = door.notify(0).await.receipt;
    door.running.fixture.clock.advance(8 * DAY);
    assert_eq!(door.check(&second).await.unwrap().standing(), NoticeStanding::Pending);
    let late = door.say(&second, StatementKind::Statement, WORDS, "").await.unwrap();
    assert_eq!(late.standing(), NoticeStanding::Considered);
    door.running.finish().await;
}

async fn p3_neither_log_nor_database_has_a_receipt_or_the_words_of_the_affected_side_in_the_log(backend: Backend) {
    let door = Door::open(backend).await;
    let receipt = door.notify(0).await.receipt;
    door.say(&receipt, StatementKind::Statement, WORDS, "").await.unwrap();
    let fixture = &door.running.fixture;
    let rows = fixture
        .rows("SELECT payload FROM outbox ORDER BY position", Vec::new())
        .await;
    let mut kinds = Vec::new();
    for row in &rows {
        let payload: Vec<u8> = row.get("payload").unwrap();
        let text = String::from_utf8_lossy(&payload).into_owned();
        for hidden in [receipt.as_str(), WORDS, FACTS, "canary"] {
            assert!(!text.contains(hidden), "{hidden}");
        }
        if let Ok(change) = StateChange::decode(payload.as_slice())
            && let Some(detail) = change.detail
        {
            let detail = Detail::decode(detail.content).unwrap();
            kinds.push((detail.notice_number, detail.statement, detail.content_commitment.len()));
        }
    }
    assert!(kinds.contains(&(1, StatementKind::Statement.into(), 32)), "{kinds:?}");
    let stored = fixture
        .rows("SELECT hash, case_id, notice FROM case_notices", Vec::new())
        .await;
    assert_eq!(stored.len(), 1);
    let kept: Vec<u8> = stored[0].get("hash").unwrap();
    assert_eq!(kept, Sha256::digest(receipt.replace('-', "")).to_vec());
    door.running.finish().await;
}
