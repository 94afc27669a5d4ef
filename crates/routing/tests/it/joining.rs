//! Joining: cases on one subject are linked when they are opened, and nothing else about them
//! differs.

use std::collections::BTreeSet;

use api::event::{Detail, Disposition, DispositionEffect, DispositionKind, StateChange};
use api::intake::CaseChange;
use api::routing::{CaseNote, Facts};
use decision::decide::Destination;
use journal::{Arrival, Opened, Outbox as _, SqlOutbox};
use prost::Message as _;
use routing::case::{Action, Decline, Membership, Propose, Reason, Recuse, SplitReport, State};
use routing::store::{Acted, Command, Links, ReportNews, Store as _};
use testkit::Backend;
use uuid::Uuid;

use crate::fixture::{
    DAY, Fixture, HOUR, agency, agency_viewer, by, command, decided, facts, gambling, request, standing,
};

testkit::on_each_backend!(
    a_report_joins_the_open_case_on_all_its_subjects,
    p7_what_another_is_kept_from_is_not_joined,
    after_the_decision_a_new_case_has_a_reference_to_the_prior_one,
    of_many_reports_at_once_one_opens_and_the_others_join_it,
    p1_the_log_has_a_commitment_to_each_link_and_tells_none,
    p4_what_is_decided_is_decided_once_for_all_that_the_lead_has_acknowledged,
    what_is_said_of_one_report_is_not_said_of_another,
    effects_for_one_reporter_are_not_told_to_others,
    p4_what_is_handed_on_is_handed_on_together,
    p7_links_are_shown_to_who_sees_both_cases,
    p7_a_split_is_seen_by_who_reads_notes_and_ends_what_follows,
    replicas_apply_a_decision_once,
);

/// A report about these subjects, of a decision that a test may change.
pub fn about(fixture: &Fixture, facts: &Facts, subjects: &[u8]) -> ReportNews {
    let mut news = fixture.arrival(facts);
    let route = news.route.as_mut().unwrap();
    route.subject_keys = subjects.iter().map(|subject| [*subject; 32]).collect();
    news
}

impl Fixture {
    /// Opens the case of a report about these subjects.
    pub async fn open_about(&self, facts: &Facts, subjects: &[u8]) -> Uuid {
        self.open_news(about(self, facts, subjects)).await
    }

    pub async fn open_news(&self, news: ReportNews) -> Uuid {
        let report = news.report;
        let arrivals = self.store.open(&[news], self.now()).await.unwrap();
        assert_eq!(arrivals, [Arrival::New]);
        self.case_of(report).await
    }

    /// The links of a case that have not ended: their kinds and cases.
    pub async fn links(&self, case: Uuid) -> Vec<(String, Uuid)> {
        let statement = "SELECT kind, other FROM case_links WHERE case_id = $1 AND end_time IS NULL ORDER BY kind";
        let rows = self.rows(statement, vec![case.into()]).await;
        let link = |row: &sql::Row| {
            let other: String = row.get("other").unwrap();
            (row.get("kind").unwrap(), Uuid::parse_str(&other).unwrap())
        };
        rows.iter().map(link).collect()
    }

    pub async fn done(&self, command: Command) {
        let acted = self.act(command).await;
        assert!(matches!(acted, Acted::Done(_)), "{acted:?}");
    }
}

pub fn joined(main: Uuid) -> Vec<(String, Uuid)> {
    vec![("joined".to_owned(), main)]
}

fn prior(case: Uuid) -> Vec<(String, Uuid)> {
    vec![("prior".to_owned(), case)]
}

/// The lead decides, without a second person.
pub fn guidance() -> Action {
    Action::Propose(Propose {
        what: Disposition {
            kind: DispositionKind::Guidance.into(),
            effects: vec![DispositionEffect::Corrected.into()],
            legal_basis: "网络安全法 61".to_owned(),
        },
        note: CaseNote {
            text: "It was corrected.".to_owned(),
            reporter_text: "The page was corrected.".to_owned(),
            officer: "o-1".to_owned(),
            ..CaseNote::default()
        },
    })
}

const LEAD: &str = "police-450100";

async fn a_report_joins_the_open_case_on_all_its_subjects(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1, 2]).await;
    assert_eq!(fixture.links(main).await, []);
    let second = fixture.open_about(&gambling(), &[2]).await;
    let third = fixture.open_about(&gambling(), &[2, 1]).await;
    assert_eq!(fixture.links(second).await, joined(main));
    assert_eq!(
        fixture.links(third).await,
        joined(main),
        "never to one that is joined itself"
    );
    // Of what it is about besides, nobody would decide there.
    let wider = fixture.open_about(&gambling(), &[2, 3]).await;
    assert_eq!(fixture.links(wider).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[3]).await).await,
        joined(wider)
    );
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[2]).await).await,
        joined(main)
    );
    // Without a subject that can be compared, and on others.
    for subjects in [&[][..], &[4], &[1, 4]] {
        assert_eq!(fixture.links(fixture.open_about(&gambling(), subjects).await).await, []);
    }
    // With another lead; which leaves the first its own.
    let elsewhere = facts("gambling", &[(api::event::ConnectingFactor::Operator, "450200")]);
    let other = fixture.open_about(&elsewhere, &[1]).await;
    assert_ne!(standing(&fixture.case(other).await).1, Some(LEAD));
    assert_eq!(fixture.links(other).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&elsewhere, &[1]).await).await,
        joined(other)
    );
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(main)
    );
    // Each has its own clock and owner, whatever it is linked to.
    fixture.clock.advance(HOUR);
    let late = fixture.case(fixture.open_about(&gambling(), &[1]).await).await;
    assert_eq!(standing(&late), (State::ASSIGNED, Some(LEAD)));
    assert_eq!(late.open_time, fixture.now());
    assert!(late.case.duty().unwrap().clock.due > fixture.case(main).await.case.duty().unwrap().clock.due);
    // While another designates for it, nothing joins it.
    let decline = Action::Decline(Decline {
        reason: Reason::Place,
        better: None,
    });
    fixture.done(command(main, LEAD, decline)).await;
    let next = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(next).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(next)
    );
    // Who has no lead yet, joins nothing.
    let mut undecided = about(&fixture, &gambling(), &[1]);
    undecided.route.as_mut().unwrap().decision.outcome = Destination::Designate {
        superior: agency("police-CN"),
    };
    assert_eq!(fixture.links(fixture.open_news(undecided).await).await, []);
    fixture.assert_promises().await;
}

async fn p7_what_another_is_kept_from_is_not_joined(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let kept_from = |unit: &str| Facts {
        excluded: vec![format!("agencies/{unit}")],
        ..gambling()
    };
    let (away, other) = (kept_from("police-440600"), kept_from("police-440300"));
    assert!(
        [&away, &other]
            .iter()
            .all(|facts| decided(facts).outcome == decided(&gambling()).outcome)
    );
    let open = fixture.open_about(&gambling(), &[1]).await;
    let hidden = fixture.open_about(&away, &[1]).await;
    assert_eq!(fixture.links(hidden).await, [], "a part of it may see the open one");
    assert_eq!(fixture.links(fixture.open_about(&other, &[1]).await).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(open)
    );
    assert_eq!(
        fixture.links(fixture.open_about(&away, &[1]).await).await,
        joined(hidden)
    );
    // Who steps aside is out of that case only: it has a part in what joins another.
    fixture
        .done(command(open, "police-440000", Action::Recuse(Recuse)))
        .await;
    let next = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(next).await, []);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        joined(next)
    );
}

async fn after_the_decision_a_new_case_has_a_reference_to_the_prior_one(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let first = fixture.open_about(&gambling(), &[1]).await;
    fixture.done(by(first, LEAD)).await;
    let joining = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(joining).await, joined(first));
    fixture.done(command(first, LEAD, guidance())).await;
    let second = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(fixture.links(second).await, prior(first));
    assert_eq!(standing(&fixture.case(second).await), (State::ASSIGNED, Some(LEAD)));
    let third = fixture.open_about(&gambling(), &[1]).await;
    assert_eq!(
        fixture.links(third).await,
        joined(second),
        "what is open comes before what was"
    );
    fixture.done(by(second, LEAD)).await;
    fixture.done(command(second, LEAD, guidance())).await;
    fixture.clock.advance(61 * DAY);
    while fixture.ticker(&fixture.store).step().await.unwrap() > 0 {}
    assert_eq!(standing(&fixture.case(second).await).0, State::CLOSED);
    assert_eq!(
        fixture.links(fixture.open_about(&gambling(), &[1]).await).await,
        prior(second)
    );
    fixture.assert_promises().await;
}

async fn of_many_reports_at_once_one_opens_and_the_others_join_it(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    for round in 0..4 {
        let (one, other) = (round * 2 + 1, round * 2 + 2);
        let mut opening = Vec::new();
        // Some in one transaction, each in another order of its subjects.
        for replica in 0..4 {
            let store = match replica {
                0 => std::sync::Arc::clone(&fixture.store),
                _ => fixture.replica().await,
            };
            let news = [
                about(&fixture, &gambling(), &[one, other]),
                about(&fixture, &gambling(), &[other, one]),
            ];
            let now = fixture.now();
            opening.push(tokio::spawn(async move {
                store.open(&news, now).await.unwrap();
                news.map(|news| news.report)
            }));
        }
        let mut linked = Vec::new();
        for opening in opening {
            for report in opening.await.unwrap() {
                let case = fixture.case_of(report).await;
                linked.push((case, fixture.links(case).await));
            }
        }
        let mains: Vec<_> = linked.iter().filter(|(_, links)| links.is_empty()).collect();
        assert_eq!(mains.len(), 1, "{linked:?}");
        let main = mains[0].0;
        assert!(
            linked
                .iter()
                .all(|(case, links)| *case == main || *links == joined(main))
        );
    }
    fixture.assert_promises().await;
}

async fn p1_the_log_has_a_commitment_to_each_link_and_tells_none(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let joining = fixture.open_about(&gambling(), &[1]).await;
    let alone = fixture.open_about(&gambling(), &[]).await;
    let details = fixture.rows("SELECT case_id, detail FROM case_openings", vec![]).await;
    let mut commitments = BTreeSet::new();
    for row in &details {
        let detail: Vec<u8> = row.get("detail").unwrap();
        let detail = <Detail as prost::Message>::decode(detail.as_slice()).unwrap();
        assert_eq!(detail.link_commitment.len(), 32);
        assert!(!format!("{detail:?}").contains(&main.to_string()));
        if row.get::<String>("case_id").unwrap() == joining.to_string() {
            let salt = fixture.rows("SELECT salt FROM case_links", vec![]).await[0].only::<Vec<u8>>();
            let salt = salt.unwrap().try_into().unwrap();
            let link = format!("joined cases/{main}");
            let expected = journal::keyed_hash(&salt, "case-link-v1", link.as_bytes());
            assert_eq!(detail.link_commitment[..], expected);
        }
        commitments.insert(detail.link_commitment);
    }
    assert_eq!(commitments.len(), 3);
    // Nobody else is told of it: not the main case, nor the case that joined it by another change.
    for case in [main, joining, alone] {
        assert_eq!(fixture.all_kinds(case).await, ["case.opened"]);
    }
}

impl Fixture {
    /// Lets time pass until what is joined has followed, and returns how many cases changed.
    pub async fn follow(&self) -> usize {
        self.clock.advance(3 * HOUR);
        self.ticker(&self.store).follow().await.unwrap()
    }

    async fn state(&self, case: Uuid) -> State {
        self.case(case).await.case.state()
    }
}

/// A command with its note, as the service makes it.
pub fn decide(case: Uuid, action: Action) -> Command {
    let note = match &action {
        Action::Propose(propose) => propose.note.clone(),
        _ => CaseNote::default(),
    };
    Command {
        note,
        ..command(case, LEAD, action)
    }
}

async fn p4_what_is_decided_is_decided_once_for_all_that_the_lead_has_acknowledged(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let (taken, late) = (
        fixture.open_about(&gambling(), &[1]).await,
        fixture.open_about(&gambling(), &[1]).await,
    );
    for case in [main, taken] {
        fixture.done(by(case, LEAD)).await;
    }
    assert_eq!(fixture.follow().await, 0, "nothing is decided");
    fixture.done(decide(main, guidance())).await;
    // Not in the same moment: in the log, nothing stands together.
    assert_eq!(fixture.ticker(&fixture.store).follow().await.unwrap(), 0);
    assert_eq!(fixture.state(taken).await, State::IN_PROGRESS);
    assert_eq!(fixture.follow().await, 1);
    fixture.assert_promises().await;
    let (first, followed) = (fixture.case(main).await, fixture.case(taken).await);
    assert_eq!(standing(&followed), (State::RESOLVED, Some(LEAD)));
    let (decided, alike) = (first.case.disposition.unwrap(), followed.case.disposition.unwrap());
    assert_eq!(
        (&alike.what, &alike.note, &alike.by),
        (&decided.what, &decided.note, &decided.by)
    );
    assert!(alike.decided.unwrap().time > decided.decided.unwrap().time);
    assert_eq!(
        fixture.kinds(taken).await,
        ["case.opened", "case.acknowledged", "case.resolved"]
    );
    // What the lead has not acknowledged goes its own way until then.
    assert_eq!(fixture.state(late).await, State::ASSIGNED);
    fixture.done(by(late, LEAD)).await;
    assert_eq!(fixture.ticker(&fixture.store).follow().await.unwrap(), 0);
    assert_eq!(fixture.follow().await, 1);
    assert_eq!(fixture.state(late).await, State::RESOLVED);
    assert_eq!(fixture.follow().await, 0);
    // Each reporter is told once, and who decided is the lead, with nothing of the other case.
    for case in [main, taken, late] {
        let told = fixture.told(case).await;
        let outcomes: Vec<_> = told.iter().filter(|change| change.outcome.is_some()).collect();
        assert_eq!(outcomes.len(), 1, "{told:?}");
        assert_eq!(outcomes[0].outcome.as_ref().unwrap().text, "The page was corrected.");
        let detail = fixture.last_detail(case).await;
        assert_eq!(
            (detail.actor.unwrap().agency, detail.caused_by),
            (format!("agencies/{LEAD}"), String::new())
        );
    }
    // From then on each is a case of its own: one that is opened again takes no other along.
    let reason = api::event::ReopenReason::NewInformation;
    fixture
        .done(command(main, LEAD, Action::Reopen(routing::case::Reopen { reason })))
        .await;
    assert_eq!(
        (fixture.follow().await, fixture.state(taken).await),
        (0, State::RESOLVED)
    );
    fixture.assert_promises().await;
}

/// The affected side has notice of what is proposed, and has nothing to say.
async fn heard(fixture: &Fixture, case: Uuid) {
    let notify = Action::NotifySubject(routing::case::NotifySubject {
        again: None,
        recipient: "operator of the site".to_owned(),
        means: api::event::NoticeMeans::Post,
        new_receipt: false,
        of_decision: false,
    });
    let given = fixture.act(command(case, LEAD, notify)).await;
    assert!(matches!(given, Acted::Notified(..)), "{given:?}");
    let waives = Action::SubmitStatement(routing::case::SubmitStatement {
        notice: 1,
        kind: api::event::StatementKind::Waived,
        through: None,
    });
    let said = Command {
        by: routing::case::Party::Subject(1),
        ..command(case, LEAD, waives)
    };
    fixture.done(said).await;
}

/// What was returned to one was not returned to all, and one that is decided by itself stays so.
async fn effects_for_one_reporter_are_not_told_to_others(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    for (subject, effect, follows) in [
        (1, DispositionEffect::Removed, true),
        (2, DispositionEffect::MoneyReturned, false),
        (3, DispositionEffect::MoneyStopped, false),
    ] {
        let Action::Propose(mut propose) = guidance() else {
            unreachable!()
        };
        propose.what.effects = vec![effect.into()];
        let main = fixture.open_about(&gambling(), &[subject]).await;
        let other = fixture.open_about(&gambling(), &[subject]).await;
        for case in [main, other] {
            fixture.done(by(case, LEAD)).await;
        }
        fixture.done(decide(main, Action::Propose(propose))).await;
        assert_eq!(fixture.follow().await, usize::from(follows), "{effect:?}");
        if follows {
            // Opened again, it is not closed with the old decision.
            let reopen = Action::Reopen(routing::case::Reopen {
                reason: api::event::ReopenReason::NewInformation,
            });
            fixture.done(command(other, LEAD, reopen)).await;
            fixture.done(by(other, LEAD)).await;
            assert_eq!(fixture.follow().await, 0);
            assert_eq!(fixture.state(other).await, State::IN_PROGRESS);
        }
    }
}

async fn what_is_said_of_one_report_is_not_said_of_another(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let decided = |kind: DispositionKind| {
        let Action::Propose(mut propose) = guidance() else {
            unreachable!()
        };
        propose.what.kind = kind.into();
        Action::Propose(propose)
    };
    let review = || {
        Action::Review(routing::case::Review {
            approved: true,
            officer: "o-2".to_owned(),
            stood_in: false,
        })
    };
    for (subject, kind, follows) in [
        (1, DispositionKind::NoOffence, true),
        (2, DispositionKind::InsufficientInformation, false),
        (3, DispositionKind::CourtAdvised, false),
        (4, DispositionKind::Fabricated, false),
        (5, DispositionKind::Penalty, true),
    ] {
        let main = fixture.open_about(&gambling(), &[subject]).await;
        let other = fixture.open_about(&gambling(), &[subject]).await;
        for case in [main, other] {
            fixture.done(by(case, LEAD)).await;
        }
        fixture.done(decide(main, decided(kind))).await;
        if kind == DispositionKind::Penalty {
            // Whom it burdens has its say in the main case, for all.
            heard(&fixture, main).await;
        }
        if fixture.state(main).await == State::IN_REVIEW {
            fixture.done(command(main, LEAD, review())).await;
        }
        assert_eq!(fixture.follow().await, usize::from(follows), "{kind:?}");
        let other = fixture.case(other).await;
        assert_eq!(other.case.state() == State::RESOLVED, follows, "{kind:?}");
        // Two people, as for the main case.
        let reviewer = other.case.disposition.and_then(|decided| decided.decided?.reviewer);
        assert_eq!(reviewer.is_some(), kind == DispositionKind::Penalty);
    }
    // A reporter who asks to withdraw is answered for itself.
    let main = fixture.open_about(&gambling(), &[9]).await;
    let news = about(&fixture, &gambling(), &[9]);
    let (report, first) = (news.report, news.entry.clone());
    let withdrawing = fixture.open_news(news).await;
    for case in [main, withdrawing] {
        fixture.done(by(case, LEAD)).await;
    }
    let head = journal::Head {
        sequence: 1,
        hash: first.hash,
        time: fixture.now(),
    };
    let sealed = fixture.change(report, "report.withdrawal-requested", &head);
    let mut says = crate::fixture::news(report, &sealed, None);
    says.said = Some(routing::case::Said::Withdraw { ends: true });
    fixture.store.open(&[says], fixture.now()).await.unwrap();
    fixture.done(decide(main, guidance())).await;
    assert_eq!(fixture.follow().await, 0);
    assert_eq!(fixture.state(withdrawing).await, State::IN_PROGRESS);
    fixture.assert_promises().await;
}

async fn p4_what_is_handed_on_is_handed_on_together(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let (taken, new) = (
        fixture.open_about(&gambling(), &[1]).await,
        fixture.open_about(&gambling(), &[1]).await,
    );
    for case in [main, taken] {
        fixture.done(by(case, LEAD)).await;
    }
    let transfer = Action::Transfer(routing::case::Transfer {
        to: agency("police-450200"),
        reason: Reason::Place,
        keep_supporting: false,
    });
    let note = CaseNote {
        text: "The operator moved.".to_owned(),
        ..CaseNote::default()
    };
    fixture
        .done(Command {
            note: note.clone(),
            ..command(main, LEAD, transfer)
        })
        .await;
    assert_eq!(fixture.follow().await, 2);
    fixture.assert_promises().await;
    for case in [main, taken, new] {
        let stored = fixture.case(case).await;
        assert_eq!(standing(&stored), (State::ASSIGNED, Some("police-450200")));
        let step = stored.history.last().unwrap();
        assert_eq!(
            (step.kind.as_str(), step.note.as_ref()),
            ("case.transferred", Some(&note))
        );
        assert_eq!(step.reason(), api::event::HandOverReason::Place);
        // Its clock is its own, of the time when it came.
        assert!(stored.case.duty().unwrap().clock.due > fixture.now());
    }
    // The new lead works them on as one. What comes now is still another's.
    for case in [main, taken] {
        fixture.done(by(case, "police-450200")).await;
    }
    fixture.done(command(main, "police-450200", guidance())).await;
    assert_eq!(fixture.follow().await, 1);
    assert_eq!(fixture.state(taken).await, State::RESOLVED);
    assert_eq!(fixture.links(fixture.open_about(&gambling(), &[1]).await).await, []);
    // What its own way does not allow, does not follow: here it was handed on before.
    let main = fixture.open_about(&gambling(), &[2]).await;
    let apart = fixture.open_about(&gambling(), &[2]).await;
    let away = |to: &str| {
        Action::Transfer(routing::case::Transfer {
            to: agency(to),
            reason: Reason::Place,
            keep_supporting: false,
        })
    };
    fixture.done(command(apart, LEAD, away("police-450200"))).await;
    fixture.done(command(main, LEAD, away("police-440300"))).await;
    assert_eq!(fixture.follow().await, 0);
    assert_eq!(standing(&fixture.case(apart).await).1, Some("police-450200"));
    fixture.assert_promises().await;
}

async fn p7_links_are_shown_to_who_sees_both_cases(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let (one, other) = (
        fixture.open_about(&gambling(), &[1]).await,
        fixture.open_about(&gambling(), &[1]).await,
    );
    let seen = async |case: Uuid, by: &str| fixture.store.links(case, &agency(by)).await.unwrap();
    let of_main = Links {
        joined: vec![one.max(other), one.min(other)],
        ..Links::default()
    };
    assert_eq!(seen(main, LEAD).await, of_main);
    let of_one = Links {
        main: Some(main),
        ..Links::default()
    };
    assert_eq!(seen(one, LEAD).await, of_one);
    assert_eq!(seen(main, "police-440100").await, Links::default(), "it has no part");
    // Who comes to have the one alone learns nothing of the other.
    let transfer = Action::Transfer(routing::case::Transfer {
        to: agency("police-450200"),
        reason: Reason::Place,
        keep_supporting: false,
    });
    fixture.done(command(one, LEAD, transfer)).await;
    assert_eq!(seen(one, "police-450200").await, Links::default());
    fixture.done(by(one, "police-450200")).await;
    assert_eq!(
        seen(main, LEAD).await,
        Links {
            joined: vec![other],
            ..Links::default()
        }
    );
    // Nor can it end what it does not see.
    let report = fixture.case(one).await.reports[0];
    fixture.done(by(main, LEAD)).await;
    let acted = fixture.act(split(main, LEAD, report)).await;
    assert!(format!("{acted:?}").contains("is not joined to the case"), "{acted:?}");
}

async fn p7_a_split_is_seen_by_who_reads_notes_and_ends_what_follows(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let (stays, leaves) = (
        fixture.open_about(&gambling(), &[1]).await,
        fixture.open_about(&gambling(), &[1]).await,
    );
    for case in [main, stays, leaves] {
        fixture.done(by(case, LEAD)).await;
    }
    let of = async |case: Uuid| fixture.case(case).await.reports[0];
    let (own, report) = (of(main).await, of(leaves).await);
    let before = fixture.case(leaves).await;
    let refused = async |command: Command, why: &str| {
        let acted = fixture.act(command).await;
        assert!(format!("{acted:?}").contains(why), "{acted:?}");
    };
    refused(split(main, LEAD, own), "would have no report").await;
    refused(split(main, LEAD, Uuid::from_u128(1)), "is not joined").await;
    refused(split(stays, LEAD, report), "is not joined").await;
    refused(split(main, "police-440000", report), "only the lead").await;
    refused(split(main, "police-210200", report), "NotFound").await;
    let stale = Command {
        etag: "1-00".to_owned(),
        ..split(main, LEAD, report)
    };
    refused(stale, "EtagMismatch").await;
    let first = request(split(main, LEAD, report), 1, 1);
    let done = fixture.act(first.clone()).await;
    assert!(matches!(done, Acted::Done(_)), "{done:?}");
    assert_eq!(fixture.act(first).await, done, "a repeat is answered alike");
    refused(request(split(main, LEAD, report), 1, 2), "RequestIdReused").await;
    refused(split(main, LEAD, report), "is not joined").await;
    // The split case goes on as it was.
    let after = fixture.case(leaves).await;
    assert_eq!((after.case, after.head.sequence), (before.case, before.head.sequence));
    assert_eq!(fixture.links(leaves).await, []);
    assert_eq!(fixture.store.links(main, &agency(LEAD)).await.unwrap().joined, [stays]);
    // Who does not read notes sees progress, as ever.
    let directory = decision::directory::Directory::shipped();
    let stored = fixture.case(main).await;
    let step = |viewer: &str| {
        let seen = routing::view::case(&stored, &agency_viewer(viewer), directory);
        seen.history.last().unwrap().clone()
    };
    let (lead, other) = (step(LEAD), step("police-440000"));
    assert_eq!(
        (lead.kind.as_str(), other.kind.as_str()),
        ("case.progress-recorded", "case.progress-recorded")
    );
    assert_eq!(lead.split_report, format!("reports/{report}"));
    assert_eq!((other.split_report.as_str(), other.note), ("", None));
    // And in the log, too.
    let ended = fixture.last_detail(main).await;
    let salt = fixture
        .rows("SELECT salt FROM case_links WHERE case_id = $1", vec![leaves.into()])
        .await[0]
        .only::<Vec<u8>>()
        .unwrap();
    let told = format!("reports/{report}");
    let expected = journal::keyed_hash(&salt.try_into().unwrap(), "case-split-v1", told.as_bytes());
    assert_eq!(ended.link_commitment[..], expected);
    let progress = command(main, LEAD, Action::RecordProgress(routing::case::RecordProgress));
    fixture
        .done(Command {
            note: why(),
            ..progress
        })
        .await;
    let ordinary = fixture.last_detail(main).await;
    let shape = |detail: &Detail| prost::Message::encoded_len(detail);
    assert_eq!(shape(&ended), shape(&ordinary));
    // What is decided reaches the one that stayed.
    fixture.done(decide(main, guidance())).await;
    assert_eq!(fixture.follow().await, 1);
    assert_eq!(
        (fixture.state(stays).await, fixture.state(leaves).await),
        (State::RESOLVED, State::IN_PROGRESS)
    );
    fixture.assert_promises().await;
}

async fn replicas_apply_a_decision_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let main = fixture.open_about(&gambling(), &[1]).await;
    let mut members = Vec::new();
    for _ in 0..8 {
        members.push(fixture.open_about(&gambling(), &[1]).await);
    }
    for case in members.iter().chain([&main]) {
        fixture.done(by(*case, LEAD)).await;
    }
    fixture.done(decide(main, guidance())).await;
    fixture.clock.advance(3 * HOUR);
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let store = fixture.replica().await;
        let ticker = fixture.ticker(&store);
        replicas.push(tokio::spawn(async move { ticker.follow().await.unwrap() }));
    }
    let mut followed = 0;
    for replica in replicas {
        followed += replica.await.unwrap();
    }
    // What one skips because another has it locked, the next look finds.
    followed += fixture.ticker(&fixture.store).follow().await.unwrap();
    assert_eq!(followed, members.len());
    for case in members {
        assert_eq!(
            fixture.kinds(case).await,
            ["case.opened", "case.acknowledged", "case.resolved"]
        );
    }
    fixture.assert_promises().await;
}

fn why() -> CaseNote {
    CaseNote {
        text: "Another seller.".to_owned(),
        ..CaseNote::default()
    }
}

fn split(main: Uuid, by: &str, report: Uuid) -> Command {
    let action = Action::SplitReport(SplitReport {
        report,
        found: Membership::None,
    });
    Command {
        note: why(),
        ..command(main, by, action)
    }
}

impl Fixture {
    /// What intake is told of all cases, of each first to last.
    pub async fn all_told(&self) -> Vec<CaseChange> {
        let pending = SqlOutbox(self.db.clone())
            .pending("intake", self.now(), 10_000)
            .await
            .unwrap();
        let changes = pending.into_iter();
        changes
            .map(|told| CaseChange::decode(told.payload.as_slice()).unwrap())
            .collect()
    }

    /// What intake is told of a case, first to last.
    pub async fn told(&self, case: Uuid) -> Vec<CaseChange> {
        let name = format!("cases/{case}");
        let mut told = self.all_told().await;
        told.retain(|told| Opened::of_change(told.change.as_ref().unwrap()).unwrap().record == name);
        told
    }

    /// What the log is told of the last change of a case.
    pub async fn last_detail(&self, case: Uuid) -> Detail {
        let name = format!("cases/{case}");
        let pending = SqlOutbox(self.db.clone()).pending("audit", self.now(), 1_000).await;
        let mut changes = pending
            .unwrap()
            .into_iter()
            .map(|told| StateChange::decode(told.payload.as_slice()).unwrap());
        let last = changes.rfind(|told| Opened::of_change(told).unwrap().record == name);
        Detail::decode(last.unwrap().detail.unwrap().content).unwrap()
    }
}
