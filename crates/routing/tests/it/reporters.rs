//! What reporters say: it reaches whoever has the case, once, and moves nothing.

use api::event::{Detail, StateChange};
use api::intake::{CaseChange, Question};
use api::routing::CaseNote;
use journal::{Arrival, Head, Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Acknowledge, Action, AskReporter, Propose, Said, State};
use routing::store::{Acted, Command, ReportNews, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, agency_viewer, by, command, decided, gambling, news, official, standing};

testkit::on_each_backend!(
    p1_what_a_reporter_adds_is_a_change_of_the_case_and_in_the_feeds,
    p2_what_a_reporter_says_in_the_delivery_of_its_report_is_not_lost,
    p4_what_is_added_after_closing_reaches_who_decided_and_opens_nothing,
    p7_what_is_asked_and_said_is_told_to_those_who_may_know,
    a_question_is_open_until_it_is_answered,
    p4_a_reporter_asks_for_a_review_and_the_superior_has_the_case_once,
    p4_a_withdrawn_case_ends_unless_it_is_urgent_or_taken_over,
);

/// A report with its first change, of which nothing is delivered yet.
struct Reporter {
    report: Uuid,
    head: Head,
    first: ReportNews,
}

impl Reporter {
    fn new(fixture: &Fixture, facts: &api::routing::Facts) -> Self {
        let (report, sealed, _) = fixture.accepted(facts.clone());
        Self {
            report,
            head: sealed.head,
            first: news(report, &sealed, Some((facts.clone(), decided(facts)))),
        }
    }

    fn says(&mut self, fixture: &Fixture, said: Said) -> ReportNews {
        let sealed = fixture.change(self.report, "report.supplemented", &self.head);
        self.head = sealed.head;
        ReportNews {
            said: Some(said),
            ..news(self.report, &sealed, None)
        }
    }
}

async fn take(fixture: &Fixture, news: &[ReportNews]) -> Vec<Arrival> {
    fixture.store.open(news, fixture.now()).await.unwrap()
}

async fn done(fixture: &Fixture, command: Command) {
    let acted = fixture.act(command).await;
    assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    fixture.assert_promises().await;
}

async fn p1_what_a_reporter_adds_is_a_change_of_the_case_and_in_the_feeds(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut reporter = Reporter::new(&fixture, &gambling());
    take(&fixture, std::slice::from_ref(&reporter.first)).await;
    let case = fixture.case_of(reporter.report).await;
    let before = fixture.case(case).await;
    let said = reporter.says(&fixture, Said::More);
    let again = reporter.says(&fixture, Said::More);
    assert_eq!(take(&fixture, std::slice::from_ref(&said)).await, [Arrival::New]);
    assert_eq!(
        take(&fixture, &[said.clone(), again]).await,
        [Arrival::Repeated, Arrival::New]
    );
    assert_eq!(
        fixture.kinds(case).await,
        ["case.opened", "case.information-added", "case.information-added"]
    );
    let after = fixture.case(case).await;
    assert_eq!(after.case, before.case, "neither owner nor clock");
    assert_eq!(after.history.len(), 2);
    assert_eq!(after.history[0].told_by, format!("reports/{}", reporter.report));
    for (agency, seen) in [("police-450100", 3), ("police-440000", 3), ("police-450000", 0)] {
        let feed = fixture.feed(agency, 0).await;
        assert_eq!(feed.len(), seen, "{agency}");
    }
    fixture.assert_promises().await;
    // The log knows which event of the report caused it.
    let rows = fixture
        .rows(
            "SELECT payload FROM outbox WHERE consumer = 'audit' ORDER BY position",
            Vec::new(),
        )
        .await;
    let causes: Vec<String> = rows
        .iter()
        .map(|row| {
            let payload: Vec<u8> = row.get("payload").unwrap();
            let change = StateChange::decode(payload.as_slice()).unwrap();
            Detail::decode(change.detail.unwrap().content).unwrap().caused_by
        })
        .collect();
    assert!(causes.contains(&said.entry.event_id.to_string()), "{causes:?}");
}

/// The relay carries both changes at once: the case is opened in the same transaction.
async fn p2_what_a_reporter_says_in_the_delivery_of_its_report_is_not_lost(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut reporters = [
        Reporter::new(&fixture, &gambling()),
        Reporter::new(&fixture, &official()),
    ];
    let mut delivery = Vec::new();
    for reporter in &mut reporters {
        delivery.push(reporter.first.clone());
        delivery.push(reporter.says(&fixture, Said::More));
        delivery.push(reporter.says(&fixture, Said::Answer { number: 1 }));
    }
    let arrivals = take(&fixture, &delivery).await;
    assert!(arrivals.iter().all(|arrival| *arrival == Arrival::New), "{arrivals:?}");
    for reporter in &reporters {
        let case = fixture.case_of(reporter.report).await;
        assert_eq!(
            fixture.kinds(case).await,
            ["case.opened", "case.information-added", "case.information-added"],
            "an answer that nobody waits for is information"
        );
    }
    assert!(fixture.feed("police-130400", 0).await.is_empty(), "it is excluded");
    fixture.assert_promises().await;
}

async fn p4_a_reporter_asks_for_a_review_and_the_superior_has_the_case_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut reporter = Reporter::new(&fixture, &gambling());
    take(&fixture, std::slice::from_ref(&reporter.first)).await;
    let case = fixture.case_of(reporter.report).await;
    // Before a decision it is a word like any other.
    let early = reporter.says(&fixture, Said::Review);
    take(&fixture, &[early]).await;
    assert_eq!(standing(&fixture.case(case).await).1, Some("police-450100"));
    done(&fixture, by(case, "police-450100")).await;
    let propose = Propose {
        what: api::event::Disposition {
            kind: api::event::DispositionKind::NoOffence.into(),
            effects: vec![api::event::DispositionEffect::None.into()],
            legal_basis: "行政处罚法 57".to_owned(),
        },
        note: CaseNote::default(),
    };
    done(&fixture, command(case, "police-450100", Action::Propose(propose))).await;
    let asked = [
        reporter.says(&fixture, Said::Review),
        reporter.says(&fixture, Said::Review),
    ];
    take(&fixture, &asked).await;
    assert_eq!(
        standing(&fixture.case(case).await),
        (State::ASSIGNED, Some("police-450000"))
    );
    let kinds = fixture.kinds(case).await;
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["case.review-requested", "case.information-added"],
        "once"
    );
    let step = fixture.case(case).await.history.into_iter().rev().nth(1).unwrap();
    assert_eq!(step.review_requester(), api::event::ReviewRequester::Reporter);
    fixture.assert_promises().await;
}

async fn p4_what_is_added_after_closing_reaches_who_decided_and_opens_nothing(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut reporter = Reporter::new(&fixture, &gambling());
    take(&fixture, std::slice::from_ref(&reporter.first)).await;
    let case = fixture.case_of(reporter.report).await;
    done(&fixture, by(case, "police-450100")).await;
    let what = api::event::Disposition {
        kind: api::event::DispositionKind::Guidance.into(),
        effects: vec![api::event::DispositionEffect::Corrected.into()],
        legal_basis: "治安管理处罚法 51".to_owned(),
    };
    let propose = Propose {
        what,
        note: CaseNote::default(),
    };
    done(&fixture, command(case, "police-450100", Action::Propose(propose))).await;
    fixture.clock.advance(61 * DAY);
    fixture.ticker(&fixture.store).step().await.unwrap();
    assert_eq!(fixture.case(case).await.case.state(), State::CLOSED);
    let before = fixture.feed("police-450100", 0).await.len();
    let said = reporter.says(&fixture, Said::More);
    take(&fixture, &[said]).await;
    assert_eq!(standing(&fixture.case(case).await), (State::CLOSED, None));
    let feed = fixture.feed("police-450100", 0).await;
    assert_eq!(feed.len(), before + 1);
    assert_eq!(feed.last().unwrap().kind, "case.information-added");
    assert!(
        feed.last().unwrap().case.is_some(),
        "it sees the case, and can open it again"
    );
    fixture.assert_promises().await;
}

fn ask() -> (Action, CaseNote) {
    let action = Action::AskReporter(AskReporter {
        text: "When was it paid?".to_owned(),
        days: 7,
    });
    let note = CaseNote {
        text: "the bank asks".to_owned(),
        reporter_text: "When was it paid?".to_owned(),
        ..CaseNote::default()
    };
    (action, note)
}

async fn p7_what_is_asked_and_said_is_told_to_those_who_may_know(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut reporter = Reporter::new(&fixture, &gambling());
    take(&fixture, std::slice::from_ref(&reporter.first)).await;
    let case = fixture.case_of(reporter.report).await;
    done(
        &fixture,
        command(case, "police-450100", Action::Acknowledge(Acknowledge)),
    )
    .await;
    let (action, note) = ask();
    done(
        &fixture,
        Command {
            note,
            ..command(case, "police-450100", action)
        },
    )
    .await;
    let stored = fixture.case(case).await;
    let active = fixture.current.get();
    let shown = |agency: &str| routing::view::case(&stored, &agency_viewer(agency), &active.directory);
    let lead = shown("police-450100");
    assert_eq!(lead.question.unwrap().text, "When was it paid?");
    assert_eq!(lead.history.last().unwrap().question_number, 1);
    let supporting = shown("police-440000");
    let question = supporting.question.unwrap();
    assert_eq!((question.question_number, question.text.as_str()), (1, ""));
    assert_eq!(supporting.history.last().unwrap().note, None);
    let listed = routing::view::outline(&stored, &agency_viewer("police-450100"), &active.directory);
    assert_eq!(listed.question.unwrap().text, "");
    let said = reporter.says(&fixture, Said::Answer { number: 1 });
    take(&fixture, &[said]).await;
    assert_eq!(fixture.kinds(case).await.last().unwrap(), "case.question-answered");
    // For intake: the question with the change that asks it, and what a reporter said for that one.
    let outbox = SqlOutbox(fixture.db.clone());
    let pending = outbox.pending("intake", fixture.now(), 100).await.unwrap();
    let told: Vec<_> = pending
        .iter()
        .map(|told| CaseChange::decode(told.payload.as_slice()).unwrap())
        .collect();
    let asked: Vec<Option<i64>> = told
        .iter()
        .map(|told| {
            told.question
                .as_ref()
                .map(|question: &Question| question.question_number)
        })
        .collect();
    assert_eq!(asked, [None, None, Some(1), None]);
    assert_eq!(told[2].reporter_text, "When was it paid?");
    let of: Vec<&str> = told.iter().map(|told| told.told_report.as_str()).collect();
    assert_eq!(of, ["", "", "", &format!("reports/{}", reporter.report)]);
}

async fn a_question_is_open_until_it_is_answered(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut reporter = Reporter::new(&fixture, &gambling());
    take(&fixture, std::slice::from_ref(&reporter.first)).await;
    let case = fixture.case_of(reporter.report).await;
    done(&fixture, by(case, "police-450100")).await;
    let (action, _) = ask();
    done(&fixture, command(case, "police-450100", action.clone())).await;
    let open = fixture.case(case).await.case.course.question.clone().unwrap();
    assert_eq!(
        (open.number, open.text.as_str(), open.answer_by),
        (1, "When was it paid?", fixture.now().plus_seconds(7 * DAY)),
        "as it was stored"
    );
    let refused = fixture.act(command(case, "police-450100", action.clone())).await;
    assert!(matches!(refused, Acted::Refused(_)), "{refused:?}");
    let answer = reporter.says(&fixture, Said::Answer { number: 1 });
    let late = reporter.says(&fixture, Said::Answer { number: 1 });
    take(&fixture, &[answer, late]).await;
    let kinds = fixture.kinds(case).await;
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["case.question-answered", "case.information-added"]
    );
    done(&fixture, command(case, "police-450100", action)).await;
    let open = fixture.case(case).await.case.course.question.clone().unwrap();
    assert_eq!(open.number, 2);
    fixture.assert_promises().await;
}

async fn p4_a_withdrawn_case_ends_unless_it_is_urgent_or_taken_over(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let urgent = api::routing::Facts {
        urgent: true,
        ..gambling()
    };
    let excluding = api::routing::Facts {
        excluded: vec!["agencies/police-130400".to_owned()],
        ..gambling()
    };
    for (facts, taken, ends, expected, kind) in [
        (gambling(), false, true, State::CLOSED, "case.withdrawn"),
        (excluding, false, true, State::ASSIGNED, "case.withdrawal-requested"),
        (gambling(), true, true, State::IN_PROGRESS, "case.withdrawal-requested"),
        (urgent, false, true, State::ASSIGNED, "case.withdrawal-requested"),
    ] {
        let withdraws = Said::Withdraw { ends };
        let mut reporter = Reporter::new(&fixture, &facts);
        take(&fixture, std::slice::from_ref(&reporter.first)).await;
        let case = fixture.case_of(reporter.report).await;
        if taken {
            done(&fixture, by(case, "police-450100")).await;
        }
        let said = reporter.says(&fixture, withdraws);
        take(&fixture, &[said]).await;
        let after = fixture.case(case).await;
        assert_eq!(after.case.state(), expected, "{kind}");
        assert_eq!(fixture.kinds(case).await.last().unwrap(), kind);
        assert_eq!(fixture.feed("police-450100", 0).await.last().unwrap().kind, kind);
        assert!(after.case.course.withdrawal_requested, "as it was stored");
        fixture.assert_promises().await;
        let told = SqlOutbox(fixture.db.clone())
            .pending("intake", fixture.now(), 100)
            .await
            .unwrap();
        let told = CaseChange::decode(told.last().unwrap().payload.as_slice()).unwrap();
        let outcome = told.outcome.map(|outcome| outcome.kind());
        let expected = (expected == State::CLOSED).then_some(api::event::DispositionKind::Withdrawn);
        assert_eq!(outcome, expected);
        if expected.is_some() {
            let reopen = Action::Reopen(routing::case::Reopen {
                reason: api::event::ReopenReason::Ordered,
            });
            done(&fixture, command(case, "police-450100", reopen)).await;
        }
    }
}
