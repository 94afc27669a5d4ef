//! What is added to a report and answered, in the store on each backend and through the service.

use std::sync::atomic::Ordering;

use api::{
    event::{Actor, CaseState, Detail},
    intake::{
        AddInformationRequest, AddInformationResponse, AnswerQuestionRequest, AnswerQuestionResponse,
        CheckReceiptRequest, Question, ReadPurpose, RecordCaseChangesRequest, Supplement, WithdrawReportRequest,
        add_information_request::Target,
    },
    routing::ReportChange,
};
use intake::{
    state::State,
    store::{
        Added, Addition, Sender, SqlStore, Store as _, Withdrawal, Withdrawn, evidence::EvidenceStore as _, supplement,
    },
};
use journal::{Head, Opened, SeededEntropy, Time, keyed_hash};
use prost::Message as _;
use rpc::Limits;
use testkit::Backend;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    evidence::upload_bytes,
    evidence_store::upload,
    fixture::{NOW, Served, acceptance, case_news, count, entropy, good, open, prepared, serve},
};

testkit::on_each_backend!(
    p1_an_addition_is_a_version_of_its_own_and_changes_nothing_that_was,
    p1_files_are_attached_with_the_addition_or_nothing_is_recorded,
    a_repeated_addition_is_recorded_once,
    additions_are_bounded_and_answers_are_not_counted,
    a_review_is_asked_for_once_there_is_a_decision_that_somebody_can_review,
    p7_nobody_takes_the_room_of_others_nor_measures_what_they_add,
    what_has_ended_takes_nothing_but_from_whom_that_is_hidden,
    a_question_is_answered_once_while_it_is_open,
    p7_what_one_reporter_says_is_told_to_no_other,
    p1_a_withdrawal_is_recorded_once_until_the_case_is_decided,
    p7_a_withdrawal_is_repeated_alike_whether_it_is_hidden_or_not,
    p7_what_is_added_is_judged_by_the_category_of_the_case,
    a_report_is_withdrawn_with_its_case_and_comes_back_with_it,
);

fn hotline() -> Sender {
    Sender {
        system: "hotline".to_owned(),
        agency: names::AgencyId::new("content-regulator-CN").ok(),
    }
}

fn addition(report: Uuid, text: &str) -> Addition {
    Addition {
        report,
        sender: hotline(),
        actor: Actor::default(),
        text: text.to_owned(),
        files: Vec::new(),
        question: None,
        asks_review: false,
        by_receipt: false,
        is_hidden: false,
        commitment_key: [5; 32],
        traceparent: String::new(),
        request: None,
    }
}

fn time_of(added: &Added) -> Time {
    match added {
        Added::Recorded { time, .. } => *time,
        other => panic!("{other:?}"),
    }
}

async fn accepted(store: &SqlStore, entropy: &SeededEntropy) -> Uuid {
    let accepted = acceptance(entropy, None, 1);
    let id = accepted.report;
    store.accept(&prepared(&[accepted])).await.unwrap();
    id
}

async fn kinds(store: &SqlStore, report: Uuid) -> Vec<String> {
    let changes = store.changes(report).await.unwrap();
    changes.into_iter().map(|change| change.kind).collect()
}

async fn p1_an_addition_is_a_version_of_its_own_and_changes_nothing_that_was(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let id = accepted(&store, &entropy).await;
    let nowhere = store.add(&addition(Uuid::from_u128(7), "more"), NOW).await.unwrap();
    assert_eq!(nowhere, Added::NotFound);
    let first = store.add(&addition(id, "He called again."), NOW).await.unwrap();
    assert_eq!(
        first,
        Added::Recorded {
            time: NOW,
            was_decided: false
        }
    );
    let second = addition(id, "And again.");
    store.add(&second, NOW.plus_seconds(9)).await.unwrap();
    let added = store.supplements(id).await.unwrap();
    let shown: Vec<Supplement> = added.iter().map(|added| added.shown().unwrap()).collect();
    assert_eq!(shown[0].text, "He called again.");
    assert_eq!(
        (shown[1].text.as_str(), shown[1].add_time),
        ("And again.", Some(NOW.plus_seconds(9).to_proto()))
    );
    assert_eq!(added[0].sender, hotline());
    let stored = store.report(id).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, stored.content.as_slice()),
        (State::Accepted, b"content".as_slice())
    );
    assert_eq!(
        kinds(&store, id).await,
        ["report.accepted", "report.supplemented", "report.supplemented"]
    );
    // For routing, which tells the desk, and for audit, with a commitment to what was said and
    // nothing of it.
    assert_eq!(count(&db, "SELECT count(*) FROM outbox").await, 6);
    let rows = db
        .fetch(
            "SELECT payload FROM outbox WHERE consumer = 'audit' ORDER BY position",
            Vec::new(),
        )
        .await
        .unwrap();
    let mut commitments = Vec::new();
    for row in &rows {
        let payload: Vec<u8> = row.get("payload").unwrap();
        assert!(!String::from_utf8_lossy(&payload).contains("again"));
        let change = api::event::StateChange::decode(payload.as_slice()).unwrap();
        let detail = Detail::decode(change.detail.unwrap().content).unwrap();
        commitments.push(detail.content_commitment.to_vec());
    }
    let expected = keyed_hash(&[5; 32], "supplement-v1", &added[1].content).to_vec();
    assert!(commitments.contains(&expected));
}

async fn p1_files_are_attached_with_the_addition_or_nothing_is_recorded(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let id = accepted(&store, &entropy).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        let upload = upload(&*entropy, None, 1);
        store.record_upload(&upload, NOW).await.unwrap();
        files.push(upload.id);
    }
    let naming = |files: &[Uuid], sender: Sender| Addition {
        files: files.iter().map(|id| (*id, Actor::default())).collect(),
        sender,
        ..addition(id, "")
    };
    let stranger = Sender {
        system: "bank".to_owned(),
        agency: None,
    };
    let rows =
        "SELECT (SELECT count(*) FROM supplements) + (SELECT count(*) FROM journal) + (SELECT count(*) FROM outbox)";
    let before = count(&db, rows).await;
    for refused in [
        naming(&[files[0], Uuid::from_u128(7)], hotline()),
        naming(&files, stranger),
    ] {
        let refused = store.add(&refused, NOW).await.unwrap();
        assert!(matches!(refused, Added::Unattachable(_)), "{refused:?}");
    }
    assert_eq!(count(&db, rows).await, before);
    time_of(&store.add(&naming(&files, hotline()), NOW).await.unwrap());
    for file in &files {
        let stored = store.evidence(*file).await.unwrap().unwrap();
        assert_eq!(stored.report, Some(id));
    }
    let shown = store.supplements(id).await.unwrap()[0].shown().unwrap();
    assert_eq!(
        shown.evidence,
        files.iter().map(|id| names::EVIDENCE.of(*id)).collect::<Vec<_>>()
    );
    let again = store.add(&naming(&files[..1], hotline()), NOW).await.unwrap();
    assert!(
        matches!(again, Added::Unattachable(_)),
        "a file is attached once: {again:?}"
    );
}

async fn a_repeated_addition_is_recorded_once(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let ids = [accepted(&store, &entropy).await, accepted(&store, &entropy).await];
    let asked = |report, fingerprint: u8| Addition {
        request: Some((Uuid::from_u128(9), [fingerprint; 32])),
        ..addition(report, "more")
    };
    let (first, later) = (asked(ids[0], 1), NOW.plus_seconds(9));
    let (once, twice) = tokio::join!(store.add(&first, NOW), store.add(&first, later));
    let once = once.unwrap();
    assert_eq!(once, twice.unwrap());
    assert_eq!(store.add(&first, NOW.plus_seconds(99)).await.unwrap(), once);
    for other in [asked(ids[0], 2), asked(ids[1], 2)] {
        assert_eq!(store.add(&other, NOW).await.unwrap(), Added::RequestIdReused);
    }
    assert_eq!(count(&db, "SELECT count(*) FROM supplements").await, 1);
}

async fn additions_are_bounded_and_answers_are_not_counted(backend: Backend) {
    let (_db, store, entropy) = open(backend.url()).await;
    let (many, long) = (accepted(&store, &entropy).await, accepted(&store, &entropy).await);
    for _ in 0..supplement::MOST {
        time_of(&store.add(&addition(many, "x"), NOW).await.unwrap());
    }
    assert_eq!(store.add(&addition(many, "x"), NOW).await.unwrap(), Added::Full);
    let tenth = "x".repeat(usize::try_from(supplement::MOST_BYTES / 10).unwrap());
    for _ in 0..10 {
        time_of(&store.add(&addition(long, &tenth), NOW).await.unwrap());
    }
    assert_eq!(store.add(&addition(long, "x"), NOW).await.unwrap(), Added::Full);
    let of_files = accepted(&store, &entropy).await;
    let files = |count: u64| Addition {
        files: (0..count)
            .map(|file| (Uuid::from_u128(u128::from(file)), Actor::default()))
            .collect(),
        ..addition(of_files, "")
    };
    let most = store.add(&files(supplement::MOST_FILES), NOW).await.unwrap();
    assert!(matches!(most, Added::Unattachable(_)), "they are not there: {most:?}");
    assert_eq!(
        store.add(&files(supplement::MOST_FILES + 1), NOW).await.unwrap(),
        Added::Full
    );
    // Who has asked is answered.
    let mut head = Head::default();
    asking(&store, &entropy, &mut head, many, &[many], 1).await;
    let answer = Addition {
        question: Some(1),
        ..addition(many, "On Monday.")
    };
    time_of(&store.add(&answer, NOW).await.unwrap());
}

/// By name or by the receipt, hidden or not.
async fn p7_nobody_takes_the_room_of_others_nor_measures_what_they_add(backend: Backend) {
    let (_db, store, entropy) = open(backend.url()).await;
    let id = accepted(&store, &entropy).await;
    let add = async |system: &str, by_receipt: bool, is_hidden: bool, bytes: u64| {
        let sender = Sender {
            system: system.to_owned(),
            agency: None,
        };
        let text = "x".repeat(usize::try_from(bytes).unwrap());
        let asked = Addition {
            sender,
            by_receipt,
            is_hidden,
            ..addition(id, &text)
        };
        store.add(&asked, NOW).await.unwrap()
    };
    let most = supplement::MOST_BYTES;
    time_of(&add("a", false, false, most).await);
    assert_eq!(add("a", false, false, 1).await, Added::Full);
    for system in ["a", "b", "c", "d"] {
        time_of(&add(system, true, false, most).await);
        assert_eq!(add(system, true, false, 1).await, Added::Full, "{system}");
    }
    time_of(&add("e", true, false, most - 1).await);
    time_of(&add("f", true, false, 1).await);
    assert_eq!(add("f", true, false, 1).await, Added::Full, "all receipts together");
    // Hidden, as if nobody had added anything.
    time_of(&add("g", true, true, most).await);
    assert_eq!(add("g", true, true, 1).await, Added::Full);
    time_of(&add("g", false, false, 1).await);
}

async fn what_has_ended_takes_nothing_but_from_whom_that_is_hidden(backend: Backend) {
    let (_db, store, entropy) = open(backend.url()).await;
    for (case, ended, decided) in [
        (CaseState::Advised, Some(State::Advised), false),
        (CaseState::Resolved, None, true),
        (CaseState::Closed, None, true),
        (CaseState::Assigned, None, false),
    ] {
        let id = accepted(&store, &entropy).await;
        let news = case_news(&*entropy, &format!("cases/{id}"), &mut Head::default(), &[id], case);
        store.record_case_changes(&[news], NOW).await.unwrap();
        let added = store.add(&addition(id, "more"), NOW).await.unwrap();
        let expected = match ended {
            Some(state) => Added::Ended(state),
            None => Added::Recorded {
                time: NOW,
                was_decided: decided,
            },
        };
        assert_eq!(added, expected, "{case:?}");
        let hidden = Addition {
            is_hidden: true,
            ..addition(id, "more")
        };
        time_of(&store.add(&hidden, NOW).await.unwrap());
    }
}

async fn a_review_is_asked_for_once_there_is_a_decision_that_somebody_can_review(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    for (case, reviewable, hidden, after, expected) in [
        (CaseState::Assigned, true, false, 0, Some(false)),
        (CaseState::Resolved, true, false, 0, None),
        (CaseState::Resolved, true, false, 86_399, None),
        (CaseState::Resolved, true, false, 86_400, Some(true)),
        (CaseState::Resolved, false, false, 0, Some(true)),
        (CaseState::Closed, true, false, 0, Some(true)),
        // As if nothing were decided.
        (CaseState::Resolved, true, true, 0, Some(false)),
    ] {
        let id = accepted(&store, &entropy).await;
        let mut news = case_news(&*entropy, &format!("cases/{id}"), &mut Head::default(), &[id], case);
        news.change.outcome = news
            .change
            .outcome
            .map(|outcome| api::intake::Outcome { reviewable, ..outcome });
        store.record_case_changes(&[news], NOW).await.unwrap();
        let asked = Addition {
            asks_review: true,
            by_receipt: true,
            is_hidden: hidden,
            ..addition(id, "The shop is still open.")
        };
        let added = store.add(&asked, NOW.plus_seconds(after)).await.unwrap();
        match expected {
            None => {
                time_of(&added);
                let supplement = store.supplements(id).await.unwrap()[0].shown().unwrap();
                assert!(supplement.review_requested);
            }
            Some(is_decided) => assert_eq!(added, Added::NotReviewable { is_decided }, "{case:?} {hidden} {after}"),
        }
    }
    let kinds = "SELECT count(*) FROM journal WHERE kind = 'report.review-requested'";
    assert_eq!(count(&db, kinds).await, 2);
}

/// Has routing tell of an open question, or of none.
async fn asking(store: &SqlStore, entropy: &SeededEntropy, head: &mut Head, case: Uuid, reports: &[Uuid], number: i64) {
    let mut news = case_news(entropy, &format!("cases/{case}"), head, reports, CaseState::InProgress);
    news.change.question = (number > 0).then(|| question(number));
    store.record_case_changes(&[news], NOW).await.unwrap();
}

fn question(number: i64) -> Question {
    Question {
        question_number: number,
        text: "When was it paid?".to_owned(),
        ask_time: Some(NOW.to_proto()),
        answer_by_time: Some(NOW.plus_seconds(99).to_proto()),
    }
}

async fn a_question_is_answered_once_while_it_is_open(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let id = accepted(&store, &entropy).await;
    let answer = |number| Addition {
        question: Some(number),
        ..addition(id, "On Monday.")
    };
    let mut head = Head::default();
    assert_eq!(store.add(&answer(1), NOW).await.unwrap(), Added::NotAsked);
    asking(&store, &entropy, &mut head, id, &[id], 1).await;
    assert_eq!(store.add(&answer(2), NOW).await.unwrap(), Added::NotAsked);
    let hidden = Addition {
        is_hidden: true,
        ..answer(1)
    };
    assert_eq!(store.add(&hidden, NOW).await.unwrap(), Added::NotAsked);
    // After its time, too.
    time_of(&store.add(&answer(1), NOW.plus_seconds(999)).await.unwrap());
    assert_eq!(store.add(&answer(1), NOW).await.unwrap(), Added::Answered);
    asking(&store, &entropy, &mut head, id, &[id], 0).await;
    assert_eq!(store.add(&answer(2), NOW).await.unwrap(), Added::NotAsked);
    assert_eq!(kinds(&store, id).await.last().unwrap(), "report.answered");
    let rows = db
        .fetch("SELECT payload FROM outbox WHERE consumer = 'routing'", Vec::new())
        .await
        .unwrap();
    let told = rows.iter().map(|row| {
        let payload: Vec<u8> = row.get("payload").unwrap();
        let change = ReportChange::decode(payload.as_slice()).unwrap();
        let entry = Opened::of_change(&change.change.unwrap()).unwrap();
        (entry.kind, change.question_number)
    });
    assert!(told.collect::<Vec<_>>().contains(&("report.answered".to_owned(), 1)));
}

async fn p7_what_one_reporter_says_is_told_to_no_other(backend: Backend) {
    let (_db, store, entropy) = open(backend.url()).await;
    let ids = [accepted(&store, &entropy).await, accepted(&store, &entropy).await];
    let (mut head, case) = (Head::default(), "cases/a");
    let opened = case_news(&*entropy, case, &mut head, &ids, CaseState::Assigned);
    let draft = journal::Draft {
        source: "routing",
        record: case,
        kind: "case.information-added",
        caused_by: None,
        detail: Detail::default(),
        traceparent: String::new(),
    };
    let change = draft.into_change(&head, NOW, &*entropy).without_detail();
    let mut said = opened.clone();
    said.entry = Opened::of_change(&change).unwrap();
    said.change.told_report = names::REPORT.of(ids[0]);
    store.record_case_changes(&[opened, said], NOW).await.unwrap();
    let mut steps = Vec::new();
    for id in ids {
        let of_one = store.steps(id).await.unwrap();
        steps.push(of_one.into_iter().map(|step| step.kind).collect::<Vec<_>>());
    }
    assert_eq!(steps[0], ["case.opened", "case.information-added"]);
    assert_eq!(steps[1], ["case.opened"]);
}

fn withdrawal(report: Uuid) -> Withdrawal {
    Withdrawal {
        report,
        sender: hotline(),
        actor: Actor::default(),
        is_hidden: false,
        traceparent: String::new(),
        request: None,
    }
}

async fn p1_a_withdrawal_is_recorded_once_until_the_case_is_decided(backend: Backend) {
    let (db, store, entropy) = open(backend.url()).await;
    let id = accepted(&store, &entropy).await;
    let asked = Withdrawal {
        request: Some((Uuid::from_u128(9), [1; 32])),
        ..withdrawal(id)
    };
    let later = NOW.plus_seconds(9);
    let (once, twice) = tokio::join!(store.withdraw(&asked, NOW), store.withdraw(&asked, later));
    let once = once.unwrap();
    assert_eq!(once, twice.unwrap());
    assert_eq!(
        store.withdraw(&withdrawal(id), later).await.unwrap(),
        once,
        "without an id, too"
    );
    assert_eq!(
        kinds(&store, id).await,
        ["report.accepted", "report.withdrawal-requested"]
    );
    let other = Withdrawal {
        request: Some((Uuid::from_u128(9), [2; 32])),
        ..withdrawal(id)
    };
    assert_eq!(store.withdraw(&other, NOW).await.unwrap(), Withdrawn::RequestIdReused);
    assert_eq!(
        store.withdraw(&withdrawal(Uuid::nil()), NOW).await.unwrap(),
        Withdrawn::NotFound
    );
    assert_eq!(count(&db, "SELECT count(*) FROM outbox").await, 4);
    for (case, ended) in [
        (CaseState::InProgress, None),
        (CaseState::Advised, Some(State::Advised)),
        (CaseState::Resolved, Some(State::Routed)),
        (CaseState::Closed, Some(State::Closed)),
    ] {
        let id = accepted(&store, &entropy).await;
        let news = case_news(&*entropy, &format!("cases/{id}"), &mut Head::default(), &[id], case);
        store.record_case_changes(&[news], NOW).await.unwrap();
        let withdrawn = store.withdraw(&withdrawal(id), NOW).await.unwrap();
        assert_eq!(
            withdrawn,
            ended.map_or(Withdrawn::Requested(NOW), Withdrawn::Ended),
            "{case:?}"
        );
        let hidden = Withdrawal {
            is_hidden: true,
            ..withdrawal(id)
        };
        assert_eq!(store.withdraw(&hidden, NOW).await.unwrap(), Withdrawn::Requested(NOW));
        let again = store.withdraw(&hidden, later).await.unwrap();
        assert_eq!(again, Withdrawn::Requested(NOW), "its own first time");
    }
}

/// Twice, hidden, is as twice, not routed yet, whoever withdrew before.
async fn p7_a_withdrawal_is_repeated_alike_whether_it_is_hidden_or_not(backend: Backend) {
    let (_db, store, entropy) = open(backend.url()).await;
    let mut told = Vec::new();
    for is_hidden in [false, true] {
        let id = accepted(&store, &entropy).await;
        if is_hidden {
            let case = format!("cases/{id}");
            let news = case_news(&*entropy, &case, &mut Head::default(), &[id], CaseState::Assigned);
            store.record_case_changes(&[news], NOW).await.unwrap();
        }
        let withdraw = async |system: &str, is_hidden: bool, seconds: i64| {
            let asked = Withdrawal {
                sender: Sender {
                    system: system.to_owned(),
                    ..hotline()
                },
                is_hidden,
                ..withdrawal(id)
            };
            store.withdraw(&asked, NOW.plus_seconds(seconds)).await.unwrap()
        };
        let reporter = withdraw("platform", false, 1).await;
        let answers = [
            withdraw("hotline", is_hidden, 2).await,
            withdraw("hotline", is_hidden, 9).await,
        ];
        assert_eq!(withdraw("platform", false, 10).await, reporter);
        let requests = kinds(&store, id).await;
        let requests = requests.iter().filter(|kind| *kind == "report.withdrawal-requested");
        assert_eq!(requests.count(), 1);
        told.push(answers);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[1][0], told[1][1]);
    assert_eq!(told[1][0], Withdrawn::Requested(NOW.plus_seconds(2)));
}

async fn a_report_is_withdrawn_with_its_case_and_comes_back_with_it(backend: Backend) {
    let (_db, store, entropy) = open(backend.url()).await;
    let id = accepted(&store, &entropy).await;
    let (mut head, case) = (Head::default(), format!("cases/{id}"));
    let mut closed = case_news(&*entropy, &case, &mut head, &[id], CaseState::Closed);
    closed.change.outcome.as_mut().unwrap().kind = api::event::DispositionKind::Withdrawn.into();
    store.record_case_changes(&[closed], NOW).await.unwrap();
    assert_eq!(
        store.add(&addition(id, "more"), NOW).await.unwrap(),
        Added::Ended(State::Withdrawn)
    );
    assert_eq!(
        store.withdraw(&withdrawal(id), NOW).await.unwrap(),
        Withdrawn::Ended(State::Withdrawn)
    );
    // Opened again, its lead asks, and the reporter answers.
    let opened = case_news(&*entropy, &case, &mut head, &[id], CaseState::Assigned);
    store.record_case_changes(&[opened], NOW).await.unwrap();
    let stored = store.report(id).await.unwrap().unwrap();
    assert_eq!(stored.state, State::Routed);
    assert_eq!(
        kinds(&store, id).await,
        ["report.accepted", "report.withdrawn", "report.routed"]
    );
    asking(&store, &entropy, &mut head, id, &[id], 1).await;
    let answer = Addition {
        question: Some(1),
        ..addition(id, "On Monday.")
    };
    time_of(&store.add(&answer, NOW).await.unwrap());
}

fn by_receipt(receipt: &str, text: &str) -> AddInformationRequest {
    AddInformationRequest {
        target: Some(Target::Receipt(receipt.to_owned())),
        text: text.to_owned(),
        evidence: Vec::new(),
        request_id: String::new(),
    }
}

async fn add(served: &Served, system: &str, request: AddInformationRequest) -> Result<AddInformationResponse, Status> {
    Ok(served.client(system).add_information(request).await?.into_inner())
}

async fn submitted(served: &Served, system: &str) -> (String, String) {
    let submitted = served.client(system).submit_report(good()).await.unwrap().into_inner();
    (submitted.report.unwrap().name, submitted.receipt)
}

fn id(name: &str) -> Uuid {
    names::REPORT.id(name).unwrap()
}

#[tokio::test]
async fn unknown_and_malformed_receipts_are_answered_alike_by_every_door() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let rows = served.rows().await;
    let mut answers = Vec::new();
    for receipt in [
        "0000-0000-0000-0000-0000-0000",
        "",
        "garbage",
        "'; DROP TABLE reports; --",
    ] {
        let receipt = receipt.to_owned();
        let check = CheckReceiptRequest {
            receipt: receipt.clone(),
        };
        answers.push(served.client("platform").check_receipt(check).await.unwrap_err());
        answers.push(
            add(&served, "platform", by_receipt(&receipt, "more"))
                .await
                .unwrap_err(),
        );
        let answer = AnswerQuestionRequest {
            receipt: receipt.clone(),
            question_number: 1,
            text: "more".to_owned(),
            ..AnswerQuestionRequest::default()
        };
        answers.push(served.client("platform").answer_question(answer).await.unwrap_err());
        let withdraw = WithdrawReportRequest {
            receipt: receipt.clone(),
            request_id: String::new(),
        };
        answers.push(served.client("platform").withdraw_report(withdraw).await.unwrap_err());
    }
    let told = answers
        .iter()
        .map(|status| (status.code(), status.message().to_owned(), status.details().to_vec()));
    let told: Vec<_> = told.collect();
    assert_eq!(told[0].0, Code::NotFound);
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    assert_eq!(served.rows().await, rows, "nothing is left behind");
}

#[tokio::test]
async fn p7_what_is_added_is_read_like_the_report() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let (name, receipt) = submitted(&served, "hotline").await;
    let evidence = upload_bytes(&served, b"a screenshot").await.unwrap().name;
    let own = AddInformationRequest {
        target: Some(Target::Name(name.clone())),
        evidence: vec![evidence.clone()],
        ..by_receipt("", "Two\nlines")
    };
    add(&served, "hotline", own).await.unwrap();
    // The reporter, elsewhere: the sender may be what the report is about.
    add(&served, "platform", by_receipt(&receipt.to_lowercase(), "He knew it."))
        .await
        .unwrap();
    let texts = async |system: &str| {
        let read = served.get(system, &name, ReadPurpose::HandleCase).await;
        let report = read.unwrap().report.unwrap();
        report
            .supplements
            .into_iter()
            .map(|added| added.text)
            .collect::<Vec<_>>()
    };
    assert_eq!(texts("hotline").await, ["Two\nlines"], "who sent it sees what it added");
    served.routing.decide(&["police-450100"], &[]);
    assert_eq!(
        texts("nanning").await,
        ["Two\nlines", "He knew it."],
        "the lead sees all of it"
    );
    served.routing.decide(&["content-regulator-CN"], &[]);
    assert_eq!(texts("hotline").await.len(), 2, "also one that sent the report");
    served.routing.decide(&["police-450100"], &[]);
    let read = served.get("nanning", &name, ReadPurpose::HandleCase).await.unwrap();
    assert_eq!(read.report.unwrap().supplements[0].evidence, [evidence]);
    // And from whom each came.
    served.routing.decide(&["police-450100"], &["content-regulator-CN"]);
    let senders = async |system: &str| {
        let read = served.get(system, &name, ReadPurpose::HandleCase).await.unwrap();
        let added = read.report.unwrap().supplements.into_iter();
        added
            .map(|added| {
                let by = (added.sender_agency, added.sender_system);
                (by, added.by_receipt, added.sender_excluded)
            })
            .collect::<Vec<_>>()
    };
    let own = ("agencies/content-regulator-CN".to_owned(), "hotline".to_owned());
    let partner = (String::new(), "platform".to_owned());
    assert_eq!(
        senders("nanning").await,
        [(own.clone(), false, true), (partner, true, false)]
    );
    assert_eq!(senders("hotline").await, [(own, false, false)], "it is not told");
    served.routing.decide(&["police-450100"], &[]);
    // By its name only who sent it adds, and by a name that is none nobody.
    let missing = "reports/01900000-0000-7000-8000-000000000000";
    let mut refused = Vec::new();
    for (system, name) in [("platform", name.as_str()), ("nanning", &name), ("hotline", missing)] {
        let request = AddInformationRequest {
            target: Some(Target::Name(name.to_owned())),
            ..by_receipt("", "more")
        };
        let status = add(&served, system, request).await.unwrap_err();
        refused.push((status.code(), status.message().to_owned()));
    }
    assert_eq!(refused[0].0, Code::NotFound);
    assert!(refused.windows(2).all(|pair| pair[0] == pair[1]), "{refused:?}");
}

/// The excluded sender adds, and is told what it would be told before anything followed.
#[tokio::test]
async fn p7_an_excluded_sender_that_adds_learns_nothing_of_what_followed() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let before = {
        let (_, receipt) = submitted(&served, "handan").await;
        add(&served, "handan", by_receipt(&receipt, "more")).await.unwrap()
    };
    let withdrawn_before = {
        let (_, receipt) = submitted(&served, "handan").await;
        let request = WithdrawReportRequest {
            receipt: receipt.clone(),
            request_id: String::new(),
        };
        let client = served.client("handan");
        let withdrawn = client.clone().withdraw_report(request).await.unwrap().into_inner();
        let shown = CheckReceiptRequest { receipt };
        let shown = client.clone().check_receipt(shown).await.unwrap().into_inner();
        assert_eq!(shown.changes.len(), 1, "as later, when it is hidden");
        withdrawn
    };
    for state in [CaseState::Assigned, CaseState::Advised, CaseState::Closed] {
        let (name, receipt) = submitted(&served, "handan").await;
        let mut news = case_news(&*entropy(), "cases/a", &mut Head::default(), &[id(&name)], state);
        news.entry.record = format!("cases/{}", state.as_str_name());
        let draft = journal::Draft {
            source: "routing",
            record: &format!("cases/{}", Uuid::from_u128(u128::from(state as u32))),
            kind: "case.opened",
            caused_by: None,
            detail: Detail::default(),
            traceparent: String::new(),
        };
        news.change.change = Some(draft.into_change(&Head::default(), NOW, &*entropy()).without_detail());
        news.change.question = Some(question(1));
        let request = RecordCaseChangesRequest {
            changes: vec![news.change],
        };
        served.inbound("routing").record_case_changes(request).await.unwrap();
        for system in ["handan", "platform"] {
            let told = add(&served, system, by_receipt(&receipt, "more")).await.unwrap();
            assert_eq!(told, before, "{state:?} {system}");
            let answer = AnswerQuestionRequest {
                receipt: receipt.clone(),
                question_number: 1,
                text: "On Monday.".to_owned(),
                ..AnswerQuestionRequest::default()
            };
            let refused = served.client(system).answer_question(answer).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{state:?} {system}");
            let withdraw = WithdrawReportRequest {
                receipt: receipt.clone(),
                request_id: String::new(),
            };
            let withdrawn = served.client(system).withdraw_report(withdraw).await.unwrap();
            assert_eq!(withdrawn.into_inner(), withdrawn_before, "{state:?} {system}");
        }
        let shown = CheckReceiptRequest { receipt };
        let shown = served
            .client("platform")
            .check_receipt(shown)
            .await
            .unwrap()
            .into_inner();
        assert_eq!((shown.question, shown.changes.len()), (None, 1), "{state:?}");
    }
    served.routing.is_down(true);
    let (_, receipt) = submitted(&served, "hotline").await;
    let refused = add(&served, "platform", by_receipt(&receipt, "more"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_question_is_shown_until_it_is_answered_and_what_follows_is_said() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let (name, receipt) = submitted(&served, "hotline").await;
    let entropy = entropy();
    let mut head = Head::default();
    let tell = async |head: &mut Head, state: CaseState, asked: Option<Question>| {
        let mut news = case_news(&*entropy, "cases/a", head, &[id(&name)], state);
        news.change.question = asked;
        let request = RecordCaseChangesRequest {
            changes: vec![news.change],
        };
        served.inbound("routing").record_case_changes(request).await.unwrap();
    };
    tell(&mut head, CaseState::InProgress, Some(question(3))).await;
    let follow = async || {
        let request = CheckReceiptRequest {
            receipt: receipt.clone(),
        };
        let answer = served.client("platform").check_receipt(request).await;
        answer.unwrap().into_inner()
    };
    assert_eq!(follow().await.question, Some(question(3)));
    let answer = async |number: i64, request_id: &str| -> Result<AnswerQuestionResponse, Status> {
        let request = AnswerQuestionRequest {
            receipt: receipt.clone(),
            question_number: number,
            text: "On Monday.".to_owned(),
            evidence: Vec::new(),
            request_id: request_id.to_owned(),
        };
        Ok(served.client("platform").answer_question(request).await?.into_inner())
    };
    let request_id = "5a3e0c1e-7b2d-4c1e-9b01-0000000000aa";
    // The transaction is durable, but the caller never learns.
    served.faults.fail_after.store(1, Ordering::SeqCst);
    answer(3, request_id).await.unwrap_err();
    let told = answer(3, request_id).await.unwrap();
    assert!(api::text_in(&told.notices, "en").contains("the agency that has the case is told"));
    assert_eq!(told, answer(3, request_id).await.unwrap(), "a repeat");
    assert_eq!(follow().await.question, None, "before routing has told of it");
    let refused = answer(3, "").await.unwrap_err();
    assert!(refused.message().contains("question_number"), "{refused}");
    let violation = &refused.get_details_bad_request().unwrap().field_violations[0];
    assert!(violation.description.contains("answered already"), "{violation:?}");
    tell(&mut head, CaseState::Closed, None).await;
    let told = add(&served, "platform", by_receipt(&receipt, "more")).await.unwrap();
    assert!(api::text_in(&told.notices, "en").contains("this alone does not"));
    assert!(api::text_in(&told.notices, "zh").contains("是否重新办理"));
}

#[tokio::test]
async fn all_that_is_wrong_with_an_addition_is_told_at_once() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let (_, receipt) = submitted(&served, "hotline").await;
    let rows = served.rows().await;
    let wrong = AddInformationRequest {
        target: None,
        text: "查".repeat(5_001),
        evidence: vec!["evidence/../x".to_owned()],
        request_id: "1".to_owned(),
    };
    let fields = |status: Status| -> Vec<String> {
        let violations = status.get_details_bad_request().unwrap().field_violations;
        violations.into_iter().map(|violation| violation.field).collect()
    };
    let refused = add(&served, "hotline", wrong).await.unwrap_err();
    assert_eq!(fields(refused), ["text", "evidence[0]", "request_id", "receipt"]);
    let many = AddInformationRequest {
        evidence: vec!["evidence/01900000-0000-7000-8000-000000000000".to_owned(); 21],
        ..by_receipt(&receipt, "")
    };
    let refused = add(&served, "hotline", many).await.unwrap_err();
    assert!(fields(refused).contains(&"evidence".to_owned()));
    let empty = add(&served, "hotline", by_receipt(&receipt, " \n")).await.unwrap_err();
    assert_eq!(fields(empty), ["text"]);
    let unnumbered = AnswerQuestionRequest {
        receipt,
        text: "x".to_owned(),
        ..AnswerQuestionRequest::default()
    };
    let refused = served.client("hotline").answer_question(unnumbered).await.unwrap_err();
    assert_eq!(fields(refused), ["question_number"]);
    assert_eq!(served.rows().await, rows);
}

/// A category that takes no files takes none later either.
#[tokio::test]
async fn what_a_category_refuses_it_refuses_later_too() {
    let backend = Backend::sqlite();
    let served = serve(backend.url(), Limits::default()).await;
    let mut report = good();
    report.report.as_mut().unwrap().category = "categories/child-sexual-abuse-material".to_owned();
    let submitted = served
        .client("hotline")
        .submit_report(report)
        .await
        .unwrap()
        .into_inner();
    let evidence = upload_bytes(&served, b"a picture").await.unwrap().name;
    let name = submitted.report.unwrap().name;
    for (target, words) in [
        (
            Target::Receipt(submitted.receipt.clone()),
            "is not accepted for this report",
        ),
        (Target::Name(name), "is not accepted for `child-sexual-abuse-material`"),
    ] {
        let with_file = AddInformationRequest {
            target: Some(target),
            evidence: vec![evidence.clone()],
            ..by_receipt("", "See this.")
        };
        let refused = add(&served, "hotline", with_file).await.unwrap_err();
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].description.starts_with(words), "{violations:?}");
    }
    add(&served, "hotline", by_receipt(&submitted.receipt, "It moved."))
        .await
        .unwrap();
}

/// How the case is filed decides, and not how the report was: except for an excluded sender, which
/// learns nothing of it.
async fn p7_what_is_added_is_judged_by_the_category_of_the_case(backend: Backend) {
    const ABUSE: &str = "categories/child-sexual-abuse-material";
    const GAMBLING: &str = "categories/gambling";
    let served = serve(backend.url(), Limits::default()).await;
    for (i, (sent, filed, is_hidden, is_taken)) in [
        (GAMBLING, ABUSE, false, false),
        (ABUSE, GAMBLING, false, true),
        (GAMBLING, ABUSE, true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut report = good();
        report.report.as_mut().unwrap().category = sent.to_owned();
        let submitted = served.client("hotline").submit_report(report).await.unwrap();
        let name = submitted.into_inner().report.unwrap().name;
        let (case, id) = (format!("cases/{i}"), names::REPORT.id(&name).unwrap());
        let mut head = Head::default();
        // The filing, and a change that says nothing of it.
        for category in [filed, ""] {
            let mut news = case_news(&*entropy(), &case, &mut head, &[id], CaseState::Assigned);
            news.change.category = category.to_owned();
            let request = RecordCaseChangesRequest {
                changes: vec![news.change],
            };
            served.inbound("routing").record_case_changes(request).await.unwrap();
        }
        if is_hidden {
            served.routing.decide(&[], &["content-regulator-CN"]);
        }
        let picture: &'static [u8] = format!("picture {i}").leak().as_bytes();
        let file = upload_bytes(&served, picture).await.unwrap().name;
        let files = served.site.files().len();
        let with_file = AddInformationRequest {
            target: Some(Target::Name(name)),
            evidence: vec![file],
            ..by_receipt("", "See this.")
        };
        let added = add(&served, "hotline", with_file).await;
        assert_eq!(added.is_ok(), is_taken, "{sent} {filed} {is_hidden}");
        assert_eq!(served.site.files().len(), files - usize::from(!is_taken));
        if let Err(status) = added {
            let fields = status.get_details_bad_request().unwrap().field_violations;
            assert!(fields.len() == 1 && fields[0].field == "evidence", "{fields:?}");
        }
    }
}
